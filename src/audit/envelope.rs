//! Upper lines of the first ReLU over a box of inputs, a line for each row: the concave envelope of `relu(h . x + k)` over a
//! box says more than a line over the interval of `h . x + k` (Tjandraatmadja et al., "The Convex Relaxation Barrier,
//! Revisited", 2020).
//!
//! With shares `theta` in `[0,1]` of the inputs, `t = sum theta |h| r` and `u` at least `h . x + k` in the box `c ± r`,
//! `relu(h . x + k) <= relu(u - 2 t) + t + sum theta h (x - c)`: the part of the sum that shares take from the lower ends of
//! inputs on is never negative, and `relu(s + v) <= relu(s) + v` for `v >= 0`. An anchor tells the shares; any will do.

use std::sync::{Arc, OnceLock};

use super::lines::Line;
use super::rounding::up;
use super::rows::{Coefficients, LANES, Lanes, lanes};
use super::state::State;
use super::walk::Walk;
use crate::model::Model;

/// Steps of anchors from zero to one.
const STEPS: f64 = 64.0;
/// How far shifts may go, and where between the centre and a corner anchors point to.
const SHIFTS: [f64; 2] = [-2.0, 3.0];
const ARRIVED: f64 = 0.8;
/// The least share of a neuron's span that is taken for how its sum grows with the shift.
const FLATTEST: f64 = 1e-3;

/// A network's first ReLU over one box.
pub struct First {
    /// Its node.
    relu: usize,
    neurons: Vec<Neuron>,
    centre: Vec<f64>,
    radius: Vec<f64>,
}

/// A neuron is at most a form of the input, wherever in the box.
struct Neuron {
    form: Vec<f64>,
    /// At least the largest value of that,
    most: f64,
    /// about the distance from there to the one at the centre,
    span: f64,
    /// and the size of all that it is a sum of.
    size: f64,
}

/// What a box knows of it once somebody asked.
pub type Asked = OnceLock<Option<Arc<First>>>;

/// The first ReLU, if all behind it is affine.
fn first(model: &Model) -> Option<usize> {
    let relu = model.nodes.iter().position(|node| node.layer.is_relu())?;
    let mut affine = vec![true];
    for node in &model.nodes[..relu] {
        affine.push(node.layer.is_affine() && node.inputs.iter().all(|&v| affine[v]));
    }
    affine[model.nodes[relu].inputs[0]].then_some(relu)
}

impl First {
    pub fn of(state: &State<'_>) -> Option<Arc<First>> {
        state.first.get_or_init(|| First::new(state).map(Arc::new)).clone()
    }

    fn new(state: &State<'_>) -> Option<First> {
        let relu = first(state.model)?;
        let (value, input) = (state.model.nodes[relu].inputs[0], &state.values[0]);
        let centre: Vec<f64> = input.lower.iter().zip(&input.upper).map(|(l, u)| 0.5 * (l + u)).collect();
        let ends = input.lower.iter().zip(&input.upper).zip(&centre);
        let radius: Vec<f64> = ends.map(|((l, u), c)| up((u - c).max(c - l))).collect();
        let all: Vec<usize> = (0..state.model.shape(value).len()).collect();
        let mut neurons = Vec::with_capacity(all.len());
        for some in all.chunks(LANES) {
            let targets: Vec<_> = some.iter().map(|&k| vec![(k, -1.0)]).collect();
            let (c, lower) = Walk::to_the_input(state, [&state.lines; LANES], value, &targets).form();
            for (lane, below) in lower.iter().enumerate().take(some.len()) {
                let form: Vec<f64> = c.a.iter().map(|a| -a[lane]).collect();
                let (mut middle, mut span, mut size) = (-below, 0.0, below.abs());
                for (k, h) in form.iter().enumerate() {
                    middle += h * centre[k];
                    span += h.abs() * radius[k];
                    size += h.abs() * (centre[k].abs() + radius[k]);
                }
                let most = up(middle + span + 2.0 * state.charge.of(size));
                neurons.push(Neuron { form, most, span, size });
            }
        }
        Some(First { relu, neurons, centre, radius })
    }

    /// Takes from rows above node `i` what has closer lines by these anchors, none where they are empty: what that comes to over
    /// the input, in constants, and in sizes of what both are sums of.
    pub fn take(
        &self,
        state: &State<'_>,
        i: usize,
        anchors: &[&[i8]; LANES],
        lines: &[&[Line]; LANES],
        above: &mut Coefficients,
    ) -> Option<(Coefficients, Lanes, Lanes)> {
        if i != self.relu {
            return None;
        }
        let at = |lane: usize, k: usize| anchors[lane].get(k).map_or(0.0, |step| f64::from(*step) / STEPS);
        let anchor: Vec<Lanes> = (0..self.centre.len()).map(|k| lanes(|lane| at(lane, k))).collect();
        let mut own = Coefficients::full(state.model.input);
        let (mut sum, mut size) = ([0.0; LANES], [0.0; LANES]);
        for place in 0..above.a.len() {
            let k = above.index(place);
            let open = |lane: usize| {
                let (line, neuron) = (lines[lane][k], &self.neurons[k]);
                let bent = line.intercept > 0.0 && line.shift == 0.0;
                above.a[place][lane] < 0.0
                    && bent
                    && !anchors[lane].is_empty()
                    && neuron.most > 0.0
                    && neuron.span > 0.0
            };
            let open: [bool; LANES] = std::array::from_fn(open);
            if open.iter().all(|open| !open) {
                continue;
            }
            let neuron = &self.neurons[k];
            let found = neuron.line(self, &anchor);
            let above = &mut above.a[place];
            let mut taken = [0.0; LANES];
            for lane in (0..LANES).filter(|&lane| open[lane]) {
                let line = lines[lane][k];
                if found.there[lane] < line.upper * found.plain[lane] + line.intercept {
                    taken[lane] = std::mem::take(&mut above[lane]);
                    sum[lane] += taken[lane] * found.constant[lane];
                    size[lane] += taken[lane].abs() * 8.0 * neuron.size;
                }
            }
            for (k, a) in own.a.iter_mut().enumerate() {
                let (h, anchor) = (neuron.form[k], &anchor[k]);
                for lane in 0..LANES {
                    let more = taken[lane] * share(found.shift[lane], anchor[lane], h) * h;
                    a[lane] += more;
                    sum[lane] -= more * self.centre[k];
                }
            }
        }
        Some((own, sum, size))
    }
}

/// The line of a neuron for every row.
struct Found {
    shift: Lanes,
    /// Its value at the centre.
    constant: Lanes,
    /// What it is where the anchor points to, and what the neuron is at most.
    there: Lanes,
    plain: Lanes,
}

impl Neuron {
    /// Shares for which `2 t = u`, about.
    fn line(&self, box_: &First, anchor: &[Lanes]) -> Found {
        let mut lean = [0.0; LANES];
        for (k, h) in self.form.iter().enumerate() {
            (0..LANES).for_each(|i| lean[i] += h * box_.radius[k] * anchor[k][i]);
        }
        let bounded = |shift: f64| shift.clamp(SHIFTS[0], SHIFTS[1]);
        let mut shift = lanes(|i| bounded((0.5 * self.most + lean[i]) / self.span));
        let (mut held, mut slant) = ([0.0; LANES], [0.0; LANES]);
        for (k, h) in self.form.iter().enumerate() {
            let size = h.abs() * box_.radius[k];
            for i in 0..LANES {
                let theta = share(shift[i], anchor[k][i], *h);
                held[i] += theta * size;
                slant[i] += if theta > 0.0 && theta < 1.0 { size } else { 0.0 };
            }
        }
        shift = lanes(|i| bounded(shift[i] + (0.5 * self.most - held[i]) / slant[i].max(FLATTEST * self.span)));
        let (mut held, mut there, mut plain) = ([0.0; LANES], [0.0; LANES], [self.most - self.span; LANES]);
        for (k, h) in self.form.iter().enumerate() {
            let (size, radius) = (h.abs() * box_.radius[k], box_.radius[k]);
            for i in 0..LANES {
                let theta = share(shift[i], anchor[k][i], *h);
                let moved = h * radius * (anchor[k][i] / ARRIVED).clamp(-1.0, 1.0);
                held[i] += theta * size;
                there[i] += theta * moved;
                plain[i] += moved;
            }
        }
        let constant = lanes(|i| (self.most - 2.0 * held[i]).max(0.0) + held[i]);
        Found { shift, constant, there: lanes(|i| constant[i] + there[i]), plain }
    }
}

/// The share of an input.
fn share(shift: f64, anchor: f64, h: f64) -> f64 {
    (shift - if h < 0.0 { -anchor } else { anchor }).clamp(0.0, 1.0)
}
