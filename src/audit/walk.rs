//! Linear lower bounds, from some value backward to the box.
//!
//! The invariant of a walk, for every row and every point of the box: the row's target is at least
//! `sum over pending values of a . value + constant - error` in real arithmetic, where `a`, `constant` and `error` are
//! the f64 numbers as stored. Every step replaces a value by a linear bound over its inputs, computed in f64, and adds to
//! `error` what its rounding can change: coefficients off by `da` change the bound by at most `|da| |x|`, and for a sum
//! of products that is at most g times `sum_j |a_j| sum_k |w_jk| |x_k|`, the inner sum being the size of
//! [`super::bounds::step`]. A layer whose weights were folded is charged `sum_j |a_j| d_j` more, `d_j` being how far its
//! output may be from that of the file.

use super::bounds::{Cut, Fold, Interval, Round};
use super::envelope::First;
use super::lines::Line;
use super::rounding::{down, up};
use super::rows::{Coefficients, LANES, Lanes, is_live, lanes, split};
use super::state::State;
use super::transposed::{averaged, through_conv, through_dense};
use crate::model::{Layer, ValueId};
use crate::tensor::Shape;

/// Where a walk exchanges a value for its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the outputs of nonlinear layers, as interval propagation does.
    Nonlinear,
    /// Only at the box.
    Input,
    /// At the output of the first nonlinear layer that every path passes once so many others are passed.
    After(usize),
}

/// A target: coefficients by element of the value where a walk starts.
pub type Target = Vec<(usize, f64)>;

/// Lines of the ReLUs and activations that a row walks through, by node.
pub type Lines = [Option<Vec<Line>>];

pub(super) struct Walk<'a> {
    state: &'a State<'a>,
    /// By row.
    lines: [&'a Lines; LANES],
    /// Of upper lines of the first ReLU, by row; none where it has only those.
    anchors: [&'a [i8]; LANES],
    /// Pending coefficients by value.
    at: Vec<Option<Coefficients>>,
    constant: Lanes,
    error: Lanes,
}

/// Lower bounds of targets over `from`, at most [`LANES`] of them, on the box `input` (inside the box of `state`).
/// A bound may be infinite if numbers overflow.
pub fn bound(state: &State<'_>, from: ValueId, targets: &[Target], stop: Stop, input: &Interval) -> Lanes {
    bound_by(state, ([&state.lines; LANES], [&[]; LANES]), from, targets, stop, input)
}

/// The same by lines of each row's own, and anchors.
pub fn bound_by<'a>(
    state: &'a State<'_>,
    (lines, anchors): ([&'a Lines; LANES], [&'a [i8]; LANES]),
    from: ValueId,
    targets: &[Target],
    stop: Stop,
    input: &Interval,
) -> Lanes {
    let model = state.model;
    let mut walk = Walk { anchors, ..Walk::new(state, lines, from, targets) };
    let mut best = [f64::NEG_INFINITY; LANES];
    let mut passed = 0;
    for value in (1..=from).rev() {
        let Some(c) = walk.at[value].take() else { continue };
        let nonlinear = !model.nodes[value - 1].layer.is_affine();
        // Where every path passes here, the bounds of this value give one more lower bound; a certifier may rely on it.
        if nonlinear && stop != Stop::Nonlinear && value < from && walk.at.iter().all(Option::is_none) {
            let before = (walk.constant, walk.error);
            walk.concretize(&c, &state.values[value]);
            let here = walk.lower();
            // max passes over NaN.
            best = lanes(|i| best[i].max(here[i]));
            if matches!(stop, Stop::After(depth) if passed >= depth) {
                return best;
            }
            (walk.constant, walk.error) = before;
        }
        if nonlinear && stop == Stop::Nonlinear {
            walk.concretize(&c, &state.values[value]);
        } else {
            passed += usize::from(nonlinear);
            walk.step(value - 1, c);
        }
    }
    if let Some(c) = walk.at[0].take() {
        walk.concretize(&c, input);
    }
    let end = walk.lower();
    lanes(|i| best[i].max(end[i]))
}

/// What targets over the logits are at least, as forms of the input: at least `form . x + constant`, wherever in the input of
/// the state. Their lines are `lines`, and by `anchor`.
pub fn forms<'a>(state: &'a State<'_>, lines: [&'a Lines; LANES], anchor: &'a [i8], targets: &[Target]) -> Vec<Cut> {
    let start = Walk { anchors: [anchor; LANES], ..Walk::new(state, lines, state.model.output(), targets) };
    let mut walk = start.down();
    let input = &state.values[0];
    let c = walk.at[0].take().unwrap_or_else(|| Coefficients::full(state.model.input));
    let c = match &input.cut {
        Some(cut) => walk.lean(c, input, cut),
        None => c.spread_whole(),
    };
    let lower = walk.lower();
    let form = |lane: usize| Cut { form: c.a.iter().map(|a| a[lane]).collect(), constant: lower[lane] };
    (0..targets.len()).map(form).collect()
}

fn seed(shape: Shape, targets: &[Target]) -> Coefficients {
    let mut c = Coefficients::zeros(shape, 0..0, 0..0);
    for &(k, _) in targets.iter().flatten() {
        let [_, row, column] = split(shape, k);
        let (rows, columns) = (row..row + 1, column..column + 1);
        if c.a.is_empty() {
            c = Coefficients::zeros(shape, rows, columns);
        } else {
            c = c.widened(&rows, &columns);
        }
    }
    for (lane, target) in targets.iter().enumerate() {
        for &(k, coefficient) in target {
            let [channel, row, column] = split(shape, k);
            let place = c.place(channel, row, column);
            c.a[place][lane] = coefficient;
        }
    }
    c
}

impl<'a> Walk<'a> {
    fn new(state: &'a State<'a>, lines: [&'a Lines; LANES], from: ValueId, targets: &[Target]) -> Walk<'a> {
        let mut at: Vec<Option<Coefficients>> = (0..=from).map(|_| None).collect();
        at[from] = Some(seed(state.model.shape(from), targets));
        Walk { state, lines, anchors: [&[]; LANES], at, constant: [0.0; LANES], error: [0.0; LANES] }
    }

    /// Targets walked down until nothing but the input is pending.
    pub fn to_the_input(
        state: &'a State<'a>,
        lines: [&'a Lines; LANES],
        from: ValueId,
        targets: &[Target],
    ) -> Walk<'a> {
        Walk::new(state, lines, from, targets).down()
    }

    fn down(mut self) -> Walk<'a> {
        for value in (1..self.at.len()).rev() {
            if let Some(c) = self.at[value].take() {
                self.step(value - 1, c);
            }
        }
        self
    }

    /// Rows of which nothing but the input is pending: their coefficients, and what else they are at least.
    pub fn form(mut self) -> (Coefficients, Lanes) {
        let c = self.at[0].take().unwrap_or_else(|| Coefficients::full(self.state.model.input));
        (c.spread_whole(), self.lower())
    }

    /// What the rows are proved to be once nothing is pending.
    fn lower(&self) -> Lanes {
        lanes(|i| down(self.constant[i] - self.error[i]))
    }

    fn step(&mut self, i: usize, c: Coefficients) {
        let model = self.state.model;
        let node = &model.nodes[i];
        let inputs = &node.inputs;
        let from = model.shape(inputs[0]);
        match &node.layer {
            Layer::Conv(conv) => {
                self.affine(i, &c, |k| f64::from(conv.bias[k / (c.shape.height * c.shape.width)]));
                self.deposit(inputs[0], through_conv(conv, from, &c));
            }
            Layer::Dense(dense) => {
                self.affine(i, &c, |k| f64::from(dense.bias[k]));
                self.deposit(inputs[0], through_dense(dense, from, &c));
            }
            Layer::AvgPool(p) => {
                self.affine(i, &c, |_| 0.0);
                self.deposit(inputs[0], averaged(p, from, &c));
            }
            Layer::Scale { scale, shift } => {
                self.affine(i, &c, |k| f64::from(shift[k]));
                let mut c = c;
                for at in 0..c.a.len() {
                    let factor = f64::from(scale[c.index(at)]);
                    c.a[at].iter_mut().for_each(|a| *a *= factor);
                }
                self.deposit(inputs[0], c.spread(from));
            }
            Layer::Relu | Layer::Activation(_) => {
                let c = self.relu(i, c);
                self.deposit(inputs[0], c.spread(from));
            }
            Layer::MaxPool(_) => {
                let c = self.max_pool(i, from, &c);
                self.deposit(inputs[0], c);
            }
            Layer::Add => {
                self.deposit(inputs[0], c.clone().spread(from));
                self.deposit(inputs[1], c.spread(model.shape(inputs[1])));
            }
            Layer::Gather(map) => {
                let mut below: Vec<_> = inputs.iter().map(|&v| Coefficients::full(model.shape(v))).collect();
                for (k, a) in c.live() {
                    if let Some(s) = map[k] {
                        below[s.input as usize].a[s.index as usize] = *a;
                    }
                }
                inputs.iter().zip(below).for_each(|(&v, c)| self.deposit(v, c));
            }
        }
    }

    /// Adds `terms` to the constants; `size` is the sum of their magnitudes and of whatever else is to be charged.
    fn settle(&mut self, terms: &Lanes, size: &Lanes) {
        for i in 0..LANES {
            let charge = self.state.charge.of(self.constant[i].abs() + size[i]);
            self.error[i] = up(self.error[i] + charge);
            self.constant[i] += terms[i];
        }
    }

    /// Constants of an affine node, the charge for the products with its weights and that for their folding.
    fn affine(&mut self, i: usize, c: &Coefficients, bias: impl Fn(usize) -> f64) {
        let sizes = &self.state.sizes[i];
        let fold = Fold::new(self.state.model, i);
        let (mut sum, mut size, mut folded) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (k, a) in c.live() {
            let (bias, weight, distance) = (bias(k), sizes[k], fold.of(sizes[k]));
            for i in 0..LANES {
                sum[i] += a[i] * bias;
                size[i] += a[i].abs() * weight;
                folded[i] += a[i].abs() * distance;
            }
        }
        self.settle(&sum, &size);
        for (error, folded) in self.error.iter_mut().zip(folded).filter(|(_, folded)| *folded > 0.0) {
            *error = up(up(*error + folded) + self.state.charge.of(folded));
        }
    }

    fn relu(&mut self, i: usize, mut c: Coefficients) -> Coefficients {
        let lines = self.lines.map(|lines| lines[i].as_deref().expect("relaxed before it is walked through"));
        self.envelop(i, &lines, &mut c);
        let z = &self.state.values[self.state.model.nodes[i].inputs[0]];
        let (mut sum, mut size) = ([0.0; LANES], [0.0; LANES]);
        for at in 0..c.a.len() {
            let k = c.index(at);
            if !is_live(&c.a[at]) && lines.iter().all(|lines| lines[k].shift == 0.0) {
                continue;
            }
            let weight = z.size(k);
            for (i, a) in c.a[at].iter_mut().enumerate() {
                let line = lines[i][k];
                // From below for positive coefficients, from above for the others.
                let constant = *a * if *a >= 0.0 { line.floor } else { line.intercept };
                *a = *a * if *a >= 0.0 { line.lower } else { line.upper } + line.shift;
                sum[i] += constant;
                size[i] += constant.abs() + a.abs() * weight;
            }
        }
        self.settle(&sum, &size);
        c
    }

    /// Takes to the input what has closer lines there by the rows' anchors.
    fn envelop(&mut self, i: usize, lines: &[&[Line]; LANES], c: &mut Coefficients) {
        if self.anchors.iter().all(|anchor| anchor.is_empty()) {
            return;
        }
        let taken = First::of(self.state).and_then(|first| first.take(self.state, i, &self.anchors, lines, c));
        if let Some((own, sum, size)) = taken {
            self.settle(&sum, &size);
            self.deposit(0, own);
        }
    }

    fn max_pool(&mut self, i: usize, from: Shape, c: &Coefficients) -> Coefficients {
        let peaks = self.state.peaks[i].as_deref().expect("relaxed before it is walked through");
        let x = &self.state.values[self.state.model.nodes[i].inputs[0]];
        let mut below = Coefficients::full(from);
        let (mut sum, mut size) = ([0.0; LANES], [0.0; LANES]);
        for (k, a) in c.live() {
            let peak = peaks[k];
            let weight = x.size(peak.low).max(x.size(peak.top));
            for i in 0..LANES {
                let (to, share, constant) = if a[i] >= 0.0 {
                    (peak.low, a[i], 0.0)
                } else {
                    (peak.top, a[i] * peak.slope, a[i] * peak.intercept)
                };
                below.a[to][i] += share;
                sum[i] += constant;
                size[i] += constant.abs() + share.abs() * weight;
            }
        }
        self.settle(&sum, &size);
        below
    }

    /// Adds to every row as much of a form that is at most zero wherever it counts as makes it about the largest where it is
    /// least: any multiple from zero up will do.
    fn lean(&mut self, c: Coefficients, bounds: &Interval, cut: &Cut) -> Coefficients {
        let mut c = c.spread_whole();
        let weights = weights(&c, bounds, cut);
        let (mut sum, mut size) = ([0.0; LANES], [0.0; LANES]);
        for (k, a) in c.a.iter_mut().enumerate() {
            let largest = bounds.size(k);
            for i in 0..LANES {
                let more = weights[i] * cut.form[k];
                a[i] += more;
                size[i] += (a[i].abs() + more.abs()) * largest;
            }
        }
        for i in 0..LANES {
            sum[i] = weights[i] * cut.constant;
            size[i] += sum[i].abs();
        }
        self.settle(&sum, &size);
        c
    }

    /// Exchanges a value for its bounds.
    fn concretize(&mut self, c: &Coefficients, bounds: &Interval) {
        if let Some(cut) = &bounds.cut {
            let c = self.lean(c.clone(), bounds, cut);
            return self.exchange(&c, bounds);
        }
        self.exchange(c, bounds);
    }

    fn exchange(&mut self, c: &Coefficients, bounds: &Interval) {
        let (mut sum, mut size) = ([0.0; LANES], [0.0; LANES]);
        for (k, a) in c.live() {
            let (lower, upper, weight) = (bounds.lower[k], bounds.upper[k], bounds.size(k));
            for i in 0..LANES {
                sum[i] += a[i] * if a[i] >= 0.0 { lower } else { upper };
                size[i] += a[i].abs() * weight;
            }
        }
        if let Some(round) = &bounds.round {
            let Form { value, size: spread, norm } = over_round(c, round);
            for i in 0..LANES {
                let fall = round.radius * norm[i];
                // Also where it is no number.
                if !(value[i] - fall < sum[i]) {
                    (sum[i], size[i]) = (value[i] - fall, spread[i] + fall);
                }
            }
        }
        self.settle(&sum, &size);
    }

    /// Adds coefficients to what is already pending for `value`.
    fn deposit(&mut self, value: ValueId, c: Coefficients) {
        let Some(other) = self.at[value].take() else {
            self.at[value] = Some(c);
            return;
        };
        let mut sum = other.widened(&c.rows, &c.columns);
        let mut size = [0.0; LANES];
        let bounds = &self.state.values[value];
        for (k, a) in c.live() {
            let [channel, row, column] = split(c.shape, k);
            let place = sum.place(channel, row, column);
            let weight = bounds.size(k);
            for i in 0..LANES {
                sum.a[place][i] += a[i];
                size[i] += sum.a[place][i].abs() * weight;
            }
        }
        self.settle(&[0.0; LANES], &size);
        self.at[value] = Some(sum);
    }
}

/// Steps on the way to a weight: from a first guess up or between those that are too small and too large.
const STEPS: usize = 12;

/// How much of a form rows want: where the sum of both, at its least, begins to fall. Nothing rests on it.
fn weights(c: &Coefficients, bounds: &Interval, cut: &Cut) -> Lanes {
    let spread = |k: usize| bounds.upper[k] - bounds.lower[k];
    let fall: f64 = cut.form.iter().enumerate().map(|(k, h)| h.abs() * spread(k)).sum();
    let mut own = [0.0; LANES];
    for (k, a) in c.a.iter().enumerate() {
        (0..LANES).for_each(|i| own[i] += a[i].abs() * spread(k));
    }
    let (mut low, mut high): (Lanes, Lanes) = ([0.0; LANES], [f64::INFINITY; LANES]);
    for _ in 0..STEPS {
        let next = |i: usize| match (low[i], high[i]) {
            (low, high) if high.is_finite() => 0.5 * (low + high),
            (0.0, _) => own[i] / fall / 16.0,
            (low, _) => 4.0 * low,
        };
        let try_: Lanes = lanes(next);
        // The form where the sum of both is least.
        let mut there = [cut.constant; LANES];
        for (k, (a, h)) in c.a.iter().zip(&cut.form).enumerate() {
            for i in 0..LANES {
                there[i] += h * if a[i] + try_[i] * h > 0.0 { bounds.lower[k] } else { bounds.upper[k] };
            }
        }
        for i in 0..LANES {
            if there[i] > 0.0 { low[i] = try_[i] } else { high[i] = try_[i] }
        }
    }
    lanes(|i| if low[i].is_finite() { low[i] } else { 0.0 })
}

/// Rows as forms of the input.
struct Form {
    /// At least the value at the centre, in real arithmetic over the stored one,
    value: Lanes,
    /// the sizes of the terms that it is a sum of,
    size: Lanes,
    /// and the norm, up to the same share of itself as the sum of its size.
    norm: Lanes,
}

fn over_round(c: &Coefficients, round: &Round) -> Form {
    /// Squares below 2^-1074 are lost: less than 2^-500 of the norm of any row.
    const LOST: f64 = f64::from_bits((1023 - 500) << 52);
    let (mut value, mut size, mut square) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for (k, a) in c.live() {
        let (centre, fall, rise) = (round.centre[k], round.fall[k], round.rise[k]);
        for i in 0..LANES {
            let off = a[i].abs() * round.off;
            value[i] += a[i] * centre - off;
            size[i] += (a[i] * centre).abs() + off;
            // What is no number has both.
            let down = if a[i] <= 0.0 { 0.0 } else { a[i] * fall };
            let up = if a[i] >= 0.0 { 0.0 } else { a[i] * rise };
            square[i] += down * down + up * up;
        }
    }
    Form { value, size, norm: square.map(|s| s.sqrt() + LOST) }
}

/// Of targets over the logits: by how many norms of its form of the input, at least, each is above zero at the centre of the
/// round set that the state is about; 0 where it is not.
pub fn reaches(state: &State<'_>, targets: &[Target]) -> Lanes {
    let mut walk = Walk::to_the_input(state, [&state.lines; LANES], state.model.output(), targets);
    let (Some(c), Some(round)) = (walk.at[0].take(), &state.values[0].round) else {
        // Constants do not stray.
        return walk.lower().map(|v| if v > 0.0 { f64::INFINITY } else { 0.0 });
    };
    let Form { value, size, norm } = over_round(&c, round);
    walk.settle(&value, &size);
    let lower = walk.lower();
    // Norms err by no more than sums of as many terms as the charge is made for.
    let longest = |i: usize| up(norm[i] + state.charge.of(norm[i]));
    lanes(|i| if lower[i] > 0.0 { down(lower[i] / longest(i)) } else { 0.0 })
}
