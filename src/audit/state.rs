//! Everything known about one network on one box.

use super::Method;
use super::activation;
use super::bounds::{self, Cut, Interval};
use super::branches;
use super::envelope;
use super::lines::{self, Given, Line, Peak};
use super::rounding::Charge;
use super::rows::LANES;
use super::walk::{self, Stop, Target};
use crate::error::Result;
use crate::model::{Layer, Model, ValueId};
use crate::results::certificate::{Certificate, Home, LowerSlopes, NeuronRows, NeuronSlopes, NoiseCertificate};
use crate::tensor::Shape;

/// Bounds of every value and relaxations of every nonlinear layer.
pub struct State<'a> {
    pub model: &'a Model,
    pub charge: Charge,
    /// By value; 0 is the box.
    pub values: Vec<Interval>,
    /// By node: `sum |w| |x| + |b|` per output of an affine layer, else empty.
    pub sizes: Vec<Vec<f64>>,
    /// By node, for ReLUs and activations that are walked through.
    pub lines: Vec<Option<Vec<Line>>>,
    /// By node, for max pooling that is walked through.
    pub peaks: Vec<Option<Vec<Peak>>>,
    /// As [`Choice::keep`].
    pub keep: bool,
    /// Where rows of neurons end, if they have any.
    rows: Option<Stop>,
    /// How many rows were walked for neurons.
    pub forms: usize,
    /// As [`Choice::lean`].
    lean: f64,
    /// The first ReLU over the box.
    pub first: envelope::Asked,
}

/// What the slopes of a relaxation are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Given ones.
    pub certificate: Option<&'a Certificate>,
    /// Where the lower slope of a ReLU flips, and how much the spread of an input of max pooling counts beside its
    /// centre; see [`lines`].
    pub lean: f64,
    /// Whether given lower slopes count for neurons that are stable: whoever found them may have bounded those less
    /// closely, a ReLU of a ReLU for one.
    pub keep: bool,
    /// Which neurons have rows, and by which slopes, where each row counts; else all that need one.
    pub noise: Option<&'a NoiseCertificate>,
}

impl<'a> State<'a> {
    /// Bounds every value of the network on a box.
    ///
    /// # Errors
    /// If numbers leave the range in which rounding is accounted for.
    pub fn new(model: &'a Model, input: Interval, method: Method, choice: Choice<'_>) -> Result<State<'a>> {
        let charge = Charge::new(model)?;
        let (values, keep) = (vec![input], choice.keep);
        let rows = match method {
            Method::Ibp | Method::CrownIbp => None,
            Method::Crown => Some(Stop::Input),
            Method::CrownNearest(depth) => Some(Stop::After(depth)),
        };
        let (sizes, lines, peaks) = (Vec::new(), Vec::new(), Vec::new());
        let lean = choice.lean;
        let first = envelope::Asked::new();
        let mut state = State { model, charge, values, sizes, lines, peaks, keep, rows, forms: 0, lean, first };
        let standard = |node: usize| choice.noise.and_then(|n| n.standard.iter().find(|s| s.node == node));
        // By value: whether every path from the input is affine.
        let mut straight = vec![true];
        for (i, node) in model.nodes.iter().enumerate() {
            let (value, sizes) = bounds::step(model, i, &state.values, charge);
            value.check(node)?;
            state.values.push(value);
            state.sizes.push(sizes);
            if method == Method::Ibp {
                state.lines.push(None);
                state.peaks.push(None);
            } else {
                state.relax(i, standard(i));
            }
            // Of one layer over a box intervals say all there is to say; of affine layers over a ball rows do, which are
            // as cheap there as anything else.
            straight.push(node.layer.is_affine() && node.inputs.iter().all(|&v| straight[v]));
            if let Some(noise) = choice.noise {
                noise.rows.iter().filter(|r| r.node == i).try_for_each(|r| state.refine_listed(r))?;
            } else if straight[i + 1] && state.values[0].round.is_some() {
                let all: Vec<usize> = (0..state.values[i + 1].len()).collect();
                state.refine_some(i + 1, &all)?;
            } else if rows.is_some() && node.inputs.iter().any(|&v| v != 0) {
                state.refine(i + 1)?;
            }
            for halved in choice.certificate.iter().flat_map(|c| &c.halved).filter(|h| h.node == i && rows.is_some()) {
                for (neuron, above, end) in branches::ends(&state, halved)? {
                    let (lower, upper) = if above { (f64::NEG_INFINITY, -end) } else { (end, f64::INFINITY) };
                    state.values[i + 1].meet(neuron, lower, upper);
                }
                state.values[i + 1].check(node)?;
            }
        }
        // Beside the bounds so far, never in their place: tighter inputs may flip a standard slope for the worse.
        let given = choice.certificate.iter().flat_map(|s| &s.inner).filter(|_| rows.is_some());
        let mut inner: Vec<&NeuronSlopes> = given.collect();
        inner.sort_by_key(|n| n.node);
        for given in inner {
            state.refine_with(given.node + 1, given, choice.noise.map(|n| &n.again[..]))?;
        }
        // Neurons are bounded by now; these are for the margins.
        for given in choice.certificate.iter().flat_map(|s| &s.relu) {
            if let Some(Some(line)) = state.lines.get_mut(given.node) {
                *line = lines::relu(&state.values[model.nodes[given.node].inputs[0]], Given::Both(given), keep);
            }
        }
        Ok(state)
    }

    /// Relaxes node `i`, whose inputs are bounded, by the standard slopes or given ones.
    fn relax(&mut self, i: usize, given: Option<&LowerSlopes>) {
        let node = &self.model.nodes[i];
        let x = &self.values[node.inputs[0]];
        let (mut line, mut peak) = (None, None);
        match &node.layer {
            Layer::Relu => {
                let given = given.map_or(Given::Standard(self.lean), Given::Lower);
                line = Some(lines::relu(x, given, self.keep));
            }
            Layer::Activation(f) => line = Some(activation::lines(f, x)),
            Layer::MaxPool(p) => {
                peak = Some(lines::peaks(p, x, self.model.shape(node.inputs[0]), node.shape, self.lean));
            }
            Layer::Conv(_)
            | Layer::Dense(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Scale { .. }
            | Layer::Gather(_) => {}
        }
        self.lines.push(line);
        self.peaks.push(peak);
    }

    /// The part of the box on which a row may not be positive, where `cut` says that, and where neurons have the signs that a home
    /// assumes; neurons of the listed nodes are bounded anew. None where nothing is left.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn left(&self, cut: Cut, home: &Home, renewed: &[usize]) -> Result<Option<State<'a>>> {
        let model = self.model;
        let input = Interval { cut: Some(cut), ..self.values[0].clone() };
        let (sizes, lines, peaks) = (Vec::new(), Vec::new(), Vec::new());
        let first = self.first.clone();
        let mut state = State { values: vec![input], sizes, lines, peaks, first, ..*self };
        for (i, known) in self.values[1..].iter().enumerate() {
            let (mut value, sizes) = bounds::step(model, i, &state.values, self.charge);
            (0..value.len()).for_each(|k| value.meet(k, known.lower[k], known.upper[k]));
            for a in home.assumed.iter().filter(|a| model.nodes[a.node].inputs[0] == i + 1) {
                let (lower, upper) = if a.active { (0.0, f64::INFINITY) } else { (f64::NEG_INFINITY, 0.0) };
                value.meet(a.neuron, lower, upper);
            }
            if value.is_empty() {
                return Ok(None);
            }
            state.values.push(value);
            state.sizes.push(sizes);
            state.relax(i, None);
            state.bend(i, home);
            if renewed.contains(&i) {
                let unstable = state.unstable(i + 1);
                state.bound_rows(i + 1, &both_sides(&unstable));
                if state.values[i + 1].is_empty() {
                    return Ok(None);
                }
            }
            state.values[i + 1].check(&model.nodes[i])?;
        }
        Ok(Some(state))
    }

    /// Gives neurons of node `i` the lower slopes that a home has for them.
    fn bend(&mut self, i: usize, home: &Home) {
        let (Some(Some(lines)), z) = (self.lines.get_mut(i), &self.values[self.model.nodes[i].inputs[0]]) else {
            return;
        };
        for (&(_, k), &slope) in home.unstable.iter().zip(&home.standard).filter(|(at, _)| at.0 == i) {
            let (l, u) = (z.lower[k], z.upper[k]);
            lines[k] = Line::new(l, u, || [f64::from(slope) / 255.0, Line::chord(l, u)]);
        }
    }

    /// [`refine`](Self::refine) with given slopes, or only those that are listed.
    fn refine_with(&mut self, value: ValueId, given: &NeuronSlopes, only: Option<&[NeuronRows]>) -> Result<()> {
        let standard = self.lines.clone();
        for slopes in &given.relu {
            if let Some(Some(line)) = self.lines.get_mut(slopes.node) {
                *line =
                    lines::relu(&self.values[self.model.nodes[slopes.node].inputs[0]], Given::Lower(slopes), self.keep);
            }
        }
        let refined = match only {
            None => self.refine(value),
            Some(only) => only.iter().filter(|r| r.node + 1 == value).try_for_each(|r| self.refine_listed(r)),
        };
        self.lines = standard;
        refined
    }

    /// Tightens the bounds of a value that a nonlinear layer reads, where that layer is not yet linear.
    fn refine(&mut self, value: ValueId) -> Result<()> {
        let unstable = self.unstable(value);
        self.refine_some(value, &unstable)
    }

    fn refine_some(&mut self, value: ValueId, which: &[usize]) -> Result<()> {
        self.refine_rows(value, &both_sides(which))
    }

    /// Bounds elements of a value from below, or from above where the sign is negative.
    fn refine_rows(&mut self, value: ValueId, rows: &[(usize, f64)]) -> Result<()> {
        self.bound_rows(value, rows);
        self.values[value].check(&self.model.nodes[value - 1])
    }

    fn bound_rows(&mut self, value: ValueId, rows: &[(usize, f64)]) {
        self.forms += rows.len();
        for chunk in rows.chunks(LANES) {
            let targets: Vec<Target> = chunk.iter().map(|&row| vec![row]).collect();
            let bounds = walk::bound(self, value, &targets, self.rows.unwrap_or(Stop::Input), &self.values[0]);
            let known = &mut self.values[value];
            for (&(k, sign), bound) in chunk.iter().zip(bounds) {
                let (lower, upper) = if sign > 0.0 { (bound, f64::INFINITY) } else { (f64::NEG_INFINITY, -bound) };
                known.meet(k, lower, upper);
            }
        }
    }

    /// Elements of a value that decide a relaxation, or that rows may end at, neighbours together.
    fn unstable(&self, value: ValueId) -> Vec<usize> {
        let x = &self.values[value];
        let ends = matches!(self.rows, Some(Stop::After(_)));
        let mut wanted = vec![false; x.len()];
        for node in self.model.nodes.iter().filter(|n| n.inputs.contains(&value)) {
            match &node.layer {
                Layer::Relu if !ends => {
                    wanted.iter_mut().enumerate().for_each(|(k, w)| *w |= x.lower[k] < 0.0 && x.upper[k] > 0.0)
                }
                Layer::MaxPool(p) if !ends => bounds::windows(p, self.model.shape(value), node.shape, |_, window| {
                    let best = window.iter().map(|&k| x.lower[k]).fold(f64::NEG_INFINITY, f64::max);
                    let open = |k: usize| x.upper[k] > best;
                    if window.iter().filter(|&&k| open(k)).count() > 1 {
                        window.iter().filter(|&&k| open(k)).for_each(|&k| wanted[k] = true);
                    }
                }),
                Layer::Relu | Layer::MaxPool(_) | Layer::Activation(_) => {
                    wanted.iter_mut().enumerate().for_each(|(k, w)| *w |= x.lower[k] < x.upper[k]);
                }
                Layer::Conv(_)
                | Layer::Dense(_)
                | Layer::AvgPool(_)
                | Layer::Add
                | Layer::Scale { .. }
                | Layer::Gather(_) => {}
            }
        }
        let mut found: Vec<usize> = (0..x.len()).filter(|&k| wanted[k]).collect();
        found.sort_by_key(|&k| place(self.model.shape(value), k));
        found
    }

    /// Bounds the elements of a value that are listed, neighbours together.
    fn refine_listed(&mut self, rows: &NeuronRows) -> Result<()> {
        let sides = [(&rows.below, 1.0), (&rows.above, -1.0)];
        let mut all: Vec<_> = sides.into_iter().flat_map(|(side, sign)| side.iter().map(move |&k| (k, sign))).collect();
        let shape = self.model.shape(rows.node + 1);
        all.sort_by_key(|&(k, _)| place(shape, k));
        self.refine_rows(rows.node + 1, &all)
    }

    /// For every class but this one, by how many norms of its form the margin over it is above zero at the mean.
    pub fn reaches(&self, class: usize) -> Vec<f64> {
        let rivals: Vec<usize> = (0..self.model.outputs()).filter(|&j| j != class).collect();
        let chunk = |chunk: &[usize]| {
            let targets: Vec<Target> = chunk.iter().map(|&j| vec![(class, 1.0), (j, -1.0)]).collect();
            walk::reaches(self, &targets)[..chunk.len()].to_vec()
        };
        rivals.chunks(LANES).flat_map(chunk).collect()
    }

    /// Lower bounds of `logit_class - logit_j` on a box inside that of the state, for all j but the class itself.
    pub fn margins(&self, class: usize, input: &Interval, method: Method) -> Vec<(usize, f64)> {
        let stop = if method == Method::Ibp { Stop::Nonlinear } else { Stop::Input };
        let rivals: Vec<usize> = (0..self.model.outputs()).filter(|&j| j != class).collect();
        let mut margins = Vec::with_capacity(rivals.len());
        for chunk in rivals.chunks(LANES) {
            let targets: Vec<Target> = chunk.iter().map(|&j| vec![(class, 1.0), (j, -1.0)]).collect();
            let bounds = walk::bound(self, self.model.output(), &targets, stop, input);
            margins.extend(chunk.iter().copied().zip(bounds));
        }
        margins
    }
}

/// Rows that bound these elements from both sides.
fn both_sides(which: &[usize]) -> Vec<(usize, f64)> {
    which.iter().flat_map(|&k| [(k, 1.0), (k, -1.0)]).collect()
}

/// Elements in this order have their neighbours beside them.
fn place(shape: Shape, k: usize) -> (usize, usize) {
    let plane = shape.height * shape.width;
    (k % plane, k / plane)
}
