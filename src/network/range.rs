//! How large the numbers of a bound may become. Products of norms say it where they can: on most networks no value or
//! coefficient comes near the limit whatever the input. Where they cannot, as on deep networks, what is computed is
//! watched: a layer starts only with numbers up to [`range::MOST`], no layer enlarges them by more than [`GAIN`], so what
//! it computes does not overflow, and what passes the limit is cleared and marked before the next layer starts
//! (`ops::range`). By induction nothing a verdict rests on has overflowed.

use super::Network;
use crate::error::{Error, Result};
use crate::model::{Layer, Node, ValueId};
use crate::ops::range;
use crate::rounding::{ETA, to_f32_up};

/// Largest sum of |w| into an output or out of an input, and largest constant (2^80).
const GAIN: f64 = (1u128 << 80) as f64;

/// Largest magnitude `|W| |x| + |b|` that charges are taken against (2^60).
pub const MOST_IN_LAYER: f32 = (1u64 << 60) as f32;

/// A bound on magnitudes.
#[derive(Clone, Copy, Debug)]
struct Cap {
    most: f64,
    /// Whether it only holds because what is larger is cleared.
    watched: bool,
}

impl Cap {
    fn new(most: f64, limit: f32) -> Cap {
        let limit = f64::from(limit);
        // Not `most > limit`: that lets NaN pass.
        if most <= limit { Cap { most, watched: false } } else { Cap { most: limit, watched: true } }
    }
}

/// Magnitudes of everything that bounds of one network compute.
#[derive(Clone, Debug)]
pub struct Range {
    /// Centre plus radius, by value.
    values: Vec<Cap>,
    /// `|W| |x| + |b|`, by node.
    layers: Vec<Cap>,
    /// Coefficients of rows, by value.
    coefficients: Vec<Cap>,
    /// Absolute error of one row for subnormals that a device flushes on the way to the input.
    pub floor: f32,
}

impl Range {
    /// A bound on centre plus radius of a value.
    pub fn value(&self, value: ValueId) -> f64 {
        self.values[value].most
    }

    /// Whether intervals of a value must be watched.
    pub fn watches_value(&self, value: ValueId) -> bool {
        self.values[value].watched
    }

    /// Whether `|W| |x| + |b|` of a node must be watched.
    pub fn watches_layer(&self, node: usize) -> bool {
        self.layers[node].watched
    }

    /// Whether coefficients over a value must be watched.
    pub fn watches_coefficients(&self, value: ValueId) -> bool {
        self.coefficients[value].watched
    }

    /// Whether intervals or charges of any layer must be watched.
    pub fn watches_any(&self) -> bool {
        self.values.iter().chain(&self.layers).any(|c| c.watched)
    }
}

/// How much a layer can enlarge magnitudes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gain {
    /// Largest sum of |w| into one output, largest |constant|.
    forward: f64,
    constant: f64,
    /// Largest sum of |w| out of one input.
    backward: f64,
    /// Most products summed into a coefficient over one input.
    fan_out: usize,
}

impl Network {
    /// Largest sum of |w| into an output of node `i`, or out of an input.
    pub fn gain(&self, i: usize) -> f64 {
        self.gains[i].forward.max(self.gains[i].backward)
    }

    /// Largest sum of |w| out of one input of node `i`: what a walk through it may enlarge coefficients by.
    pub fn spread(&self, i: usize) -> f64 {
        self.gains[i].backward
    }

    /// Magnitudes of bounds for inputs of magnitude up to `peak` and rows that start with coefficients of up to `start`
    /// and may be given as much again at any value.
    ///
    /// # Errors
    /// [`Error::Usage`] if `peak` or the weights of a layer alone are so large that f32 could overflow.
    pub fn range(&self, peak: f64, start: f64) -> Result<Range> {
        let model = &self.model;
        let peak = peak.max(1.0);
        if !(peak <= f64::from(range::MOST)) {
            let most = range::MOST;
            return Err(Error::usage(format!(
                "inputs of magnitude {peak:.1e} are beyond {most:.1e}, which bounds in f32 can follow"
            )));
        }
        // Rounding and inflation are far below a thousandth.
        const ROOM: f64 = 1.001;
        let mut values = vec![Cap::new(peak * ROOM, range::MOST)];
        let mut layers = Vec::with_capacity(model.nodes.len());
        for (i, (node, gain)) in model.nodes.iter().zip(self.gains.iter()).enumerate() {
            let largest = gain.forward.max(gain.backward).max(gain.constant);
            if !(largest <= GAIN) {
                return Err(Error::usage(format!(
                    "node '{}': its weights add up to {largest:.1e}, so that values overflow f32; nothing can be proved about this network",
                    node.name
                )));
            }
            let folded = |f: fn(&crate::model::Folding) -> f32| -> f64 {
                model.folded.iter().filter(|r| r.node == i).map(|r| f64::from(f(r))).sum()
            };
            let input = |v: &ValueId| values[*v].most;
            let size = match &node.layer {
                Layer::Conv(_) | Layer::Dense(_) | Layer::Scale { .. } | Layer::AvgPool(_) => {
                    input(&node.inputs[0]) * gain.forward + gain.constant
                }
                Layer::Add => node.inputs.iter().map(input).sum(),
                Layer::Activation(_) => input(&node.inputs[0]) * gain.forward + gain.constant,
                Layer::Relu | Layer::MaxPool(_) | Layer::Gather(_) => node.inputs.iter().map(input).fold(0.0, f64::max),
            };
            layers.push(Cap::new(size * ROOM, MOST_IN_LAYER));
            values.push(Cap::new((size * (1.0 + folded(|r| r.relative)) + folded(|r| r.absolute)) * ROOM, range::MOST));
        }
        let mut coefficients = vec![start; values.len()];
        for (i, (node, gain)) in model.nodes.iter().zip(self.gains.iter()).enumerate().rev() {
            let above = Cap::new(coefficients[i + 1], range::MOST).most;
            node.inputs.iter().for_each(|&v| coefficients[v] += ROOM * above * gain.backward);
        }
        let coefficients: Vec<Cap> = coefficients.into_iter().map(|c| Cap::new(c, range::MOST)).collect();
        let mut range = Range { values, layers, coefficients, floor: 0.0 };
        range.floor = to_f32_up((0..model.nodes.len()).map(|i| self.flushed(&range, i)).sum());
        Ok(range)
    }

    /// What flushed subnormals may cost a row on its way through node `i`, including that it may end above or below it.
    ///
    /// A number read as zero costs up to [`ETA`] times what it is multiplied with: coefficients `A` above meet lines,
    /// intercepts, constants, magnitudes and bounds of values (of the size of `x`, `y` or `v = |W| |x| + |b|`); lines,
    /// factors and biases meet `A` and then `x`. Weights are not among them: [`super::magnitude`] makes the rounding
    /// charge pay for those. A coefficient below is a sum of `fan_out` products, each flushed on its own, and meets `x`.
    fn flushed(&self, range: &Range, i: usize) -> f64 {
        let (model, node) = (&self.model, &self.model.nodes[i]);
        let x = node.inputs.iter().map(|&v| range.value(v)).fold(0.0, f64::max);
        let (y, v, a) = (range.value(i + 1), range.layers[i].most, range.coefficients[i + 1].most);
        // What a runtime may flush in an output meets `A` as well.
        let deployed = 3.0 * self.layers[i].roundings() as f64 + self.gains[i].forward;
        let above = node.shape.len() as f64 * (4.0 + x + y + v + a * (x + 2.0 + deployed));
        let below = node.inputs.iter().map(|&v| {
            let a = range.coefficients[v].most;
            model.shape(v).len() as f64 * ((1.0 + x) * (4.0 + self.gains[i].fan_out as f64) + a)
        });
        // A handful of operations each.
        8.0 * f64::from(ETA) * (above + below.sum::<f64>())
    }
}

pub(super) fn gain(node: &Node) -> Gain {
    let peak = |v: &[f32]| v.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    match &node.layer {
        Layer::Conv(c) => {
            let taps = c.kernel[0] * c.kernel[1];
            let (forward, backward) = sums(&c.weight, c.bias.len(), taps);
            Gain { forward, backward, constant: peak(&c.bias), fan_out: c.bias.len() * taps }
        }
        Layer::Dense(d) => {
            let (forward, backward) = sums(&d.weight, d.bias.len(), 1);
            Gain { forward, backward, constant: peak(&d.bias), fan_out: d.bias.len() }
        }
        Layer::Scale { scale, shift } => {
            Gain { forward: peak(scale), backward: peak(scale), constant: peak(shift), fan_out: 1 }
        }
        Layer::MaxPool(p) | Layer::AvgPool(p) => {
            let area = p.kernel[0] * p.kernel[1];
            Gain { forward: 1.0, backward: area as f64, constant: 0.0, fan_out: area }
        }
        Layer::Activation(f) => {
            let steepest = f.iter().map(|f| f.function().steepest()).fold(0.0, f64::max);
            let constant = f.iter().map(|f| f.value(0.0).abs() + f.error(0.0)).fold(0.0, f64::max);
            Gain { forward: steepest, backward: steepest, constant, fan_out: 1 }
        }
        Layer::Add | Layer::Relu | Layer::Gather(_) => Gain { forward: 1.0, backward: 1.0, constant: 0.0, fan_out: 1 },
    }
}

/// Largest sums of |w| into an output and out of an input, of weights `[out][in][group]`.
fn sums(weight: &[f32], outputs: usize, group: usize) -> (f64, f64) {
    let inputs = weight.len() / outputs.max(1);
    let mut into = vec![0f64; outputs];
    let mut out_of = vec![0f64; inputs / group];
    for o in 0..outputs {
        for i in 0..inputs {
            let w = f64::from(weight[o * inputs + i].abs());
            into[o] += w;
            out_of[i / group] += w;
        }
    }
    // NaN must not vanish in a maximum.
    let largest = |v: &[f64]| v.iter().copied().fold(0.0, |m: f64, x| if x > m || x.is_nan() { x } else { m });
    (largest(&into), largest(&out_of))
}
