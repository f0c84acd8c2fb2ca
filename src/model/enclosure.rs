//! The forward pass in f64 with a bound on how far it may be from the network over real numbers as its file defines
//! it: roundings of f64 and folding errors included. Counterexamples rest on it.

use std::time::Instant;

use rayon::prelude::*;

use super::activation::{Activation, function_of};
use super::fixed::{self, Fixed};
use super::reference::{Number, apply};
use super::{Conv, Dense, Layer, Model, Origin, Ratio};
use crate::rounding::{ETA, gamma, to_f32_up};
use crate::tensor::Shape;

/// Outputs, and for each how far the exact one may be away.
pub type Known = (Vec<f64>, Vec<f64>);

/// What is known of the network's outputs at an input.
///
/// # Panics
/// If `input` does not have the model's size, or the model does not pass [`Model::validate`].
pub fn forward(model: &Model, input: &[f32]) -> Known {
    forward_near(model, input.iter().map(|&v| f64::from(v)).collect(), vec![0.0; input.len()])
}

/// [`forward`] in as many digits as outputs ask for of which [`forward`] knows no more than `coarse`, for ten to a hundred
/// times the time: tells them apart where the layers of a deep network enlarge magnitudes so often that f64 cannot. Of
/// constants that were folded it takes what the file has, as far as [`origin`](super::Folding::origin) says.
///
/// # Panics
/// As [`forward`].
pub fn forward_finely(model: &Model, input: &[f32], coarse: &Known) -> Known {
    let most = coarse.1.iter().fold(0.0f64, |m, e| m.max(*e));
    // Errors shrink as the last bit does; a billionth of one is left.
    match most.log2() + 53.0 + 30.0 {
        bits if bits <= 192.0 => in_fixed::<5>(model, input),
        bits if bits <= 448.0 => in_fixed::<9>(model, input),
        _ => in_fixed::<17>(model, input),
    }
}

fn in_fixed<const N: usize>(model: &Model, input: &[f32]) -> Known {
    let errors = input.iter().map(|&v| known::<Fixed<N>>(v.into(), Fixed::<N>::LAST)).collect();
    let (values, errors) = enclose(model, input.iter().map(|&v| Fixed::<N>::constant(v)).collect(), errors, 0.0, None);
    values.iter().zip(errors).map(|(v, e)| (v.near(), v.reach(e))).unzip()
}

/// [`forward`], and for each output how far a runtime that computes in f32 may be away, sums in any order, functions to a
/// few units in the last place.
///
/// # Panics
/// As [`forward`].
pub fn forward_in_f32(model: &Model, input: &[f32]) -> Known {
    let input: Vec<f64> = input.iter().map(|&v| f64::from(v)).collect();
    let errors = vec![0.0; input.len()];
    enclose(model, input, errors, UNIT, None)
}

/// [`forward`] from an input that may be off by as much as `errors`, value by value: what is returned holds for every
/// input within.
///
/// # Panics
/// As [`forward`].
pub fn forward_near(model: &Model, input: Vec<f64>, errors: Vec<f64>) -> Known {
    enclose(model, input, errors, 0.0, None)
}

/// Every value of [`forward_near`], by [`ValueId`](super::ValueId): the input first, the outputs last.
///
/// # Panics
/// As [`forward`].
pub fn values_near(model: &Model, input: Vec<f64>, errors: Vec<f64>) -> Vec<Known> {
    all(model, input, errors, 0.0, None).expect("there is no deadline")
}

/// [`forward_near`], which knows nothing of the outputs where it is not over by a deadline.
///
/// # Panics
/// As [`forward`].
pub fn forward_until(model: &Model, input: Vec<f64>, errors: Vec<f64>, deadline: Option<Instant>) -> Known {
    enclose(model, input, errors, 0.0, deadline)
}

/// Unit roundoff of f32.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Values, and for each how far it may be off.
type Enclosed<N> = (Vec<N>, Vec<f64>);

/// Numbers that networks are enclosed in.
trait Digits: Number {
    /// What an operation may lose of its result, as a share.
    const UNIT: f64;
    /// Of magnitudes from here on nothing is known.
    const MOST: f64;
    /// The number to the digits of f64.
    fn near(&self) -> f64;
    /// How far it may be from there, being off by as much as `error`.
    fn reach(&self, error: f64) -> f64;
    /// What a layer may lose beside shares of its sums, which are of so many terms.
    fn floor(terms: usize) -> f64;
    /// How far an activation of this number may be from that of one within `error`.
    fn drift(&self, activation: &Activation, error: f64) -> f64;
    /// What ratios make of what stands before them, if these numbers have more digits than stored constants.
    fn divided(ratios: &[Ratio], before: impl FnOnce() -> Enclosed<Self>) -> Option<Enclosed<Self>>;
}

impl Digits for f64 {
    const UNIT: f64 = f64::EPSILON;
    const MOST: f64 = f64::INFINITY;

    fn near(&self) -> f64 {
        *self
    }

    fn reach(&self, error: f64) -> f64 {
        error
    }

    fn floor(_: usize) -> f64 {
        ETA.into()
    }

    fn drift(&self, activation: &Activation, error: f64) -> f64 {
        activation.drift(*self, error)
    }

    fn divided(_: &[Ratio], _: impl FnOnce() -> Enclosed<f64>) -> Option<Enclosed<f64>> {
        None
    }
}

impl<const N: usize> Digits for Fixed<N> {
    const UNIT: f64 = 0.0;
    const MOST: f64 = fixed::MOST;

    fn near(&self) -> f64 {
        self.near()
    }

    fn reach(&self, error: f64) -> f64 {
        self.near().abs() * f64::EPSILON * 2.0 + error
    }

    fn floor(terms: usize) -> f64 {
        2.0 * terms as f64 * Self::LAST
    }

    fn drift(&self, activation: &Activation, error: f64) -> f64 {
        let (near, reach) = (self.near(), self.reach(error));
        let exact = activation.is_arithmetic();
        if exact { activation.steepest(near, reach) * error } else { activation.drift(near, reach) }
    }

    fn divided(ratios: &[Ratio], before: impl FnOnce() -> Enclosed<Self>) -> Option<Enclosed<Self>> {
        let (values, errors) = before();
        let each = values.len() / ratios.len();
        let group = |(ratio, (values, errors)): (&Ratio, (&[Self], &[f64]))| {
            let [factor, offset, shift] = [ratio.factor, ratio.offset, ratio.shift].map(Self::of);
            let (inverse, off) = Self::inverse(ratio.divisor, ratio.root);
            let size = inverse.near().abs() + off;
            let one = |(x, &error): (&Self, &f64)| {
                let above = x.product(&factor).plus(&offset);
                let large = (x.near() * ratio.factor).abs() + ratio.offset.abs();
                let lost = ratio.factor.abs() * error + Self::LAST * (x.near().abs() + 4.0);
                let error = 1.000_000_01 * (lost * size + large * off) + 4.0 * Self::LAST;
                let held = large.max(large * size) + ratio.shift.abs() < Self::MOST;
                (above.product(&inverse).plus(&shift), if held { error } else { f64::INFINITY })
            };
            values.iter().zip(errors).map(one).collect::<Vec<_>>()
        };
        let groups = values.par_chunks_exact(each).zip(errors.par_chunks_exact(each));
        Some(ratios.par_iter().zip(groups).flat_map_iter(group).unzip())
    }
}

/// The last of [`all`]; nothing is known of the outputs where it is not over by a deadline.
fn enclose<N: Digits>(
    model: &Model,
    input: Vec<N>,
    errors: Vec<f64>,
    unit: f64,
    deadline: Option<Instant>,
) -> Enclosed<N> {
    let unknown = || (vec![N::constant(0.0); model.outputs()], vec![f64::INFINITY; model.outputs()]);
    all(model, input, errors, unit, deadline).and_then(|mut values| values.pop()).unwrap_or_else(unknown)
}

/// Every value with the roundings of a runtime of this unit roundoff, beside those of the numbers that it is computed with
/// here; none where it is not over by a deadline.
fn all<N: Digits>(
    model: &Model,
    input: Vec<N>,
    errors: Vec<f64>,
    unit: f64,
    deadline: Option<Instant>,
) -> Option<Vec<Enclosed<N>>> {
    assert!(input.len() == model.input.len() && errors.len() == input.len(), "the input has the model's size");
    let errors = input.iter().zip(errors).map(|(v, e)| known::<N>(v.near(), e)).collect::<Vec<f64>>();
    let mut values = vec![(input, errors)];
    for (i, node) in model.nodes.iter().enumerate() {
        if deadline.is_some_and(|end| Instant::now() >= end) {
            return None;
        }
        let inputs: Vec<&[N]> = node.inputs.iter().map(|&v| &values[v].0[..]).collect();
        let errors: Vec<&[f64]> = node.inputs.iter().map(|&v| &values[v].1[..]).collect();
        values.push(step(model, i, &inputs, &errors, unit));
    }
    Some(values)
}

/// The values of all layers in f64, by [`ValueId`](super::ValueId), and for each how far the layer as the file defines it
/// may be from it, applied to the values that stand before it: what one layer rounds, where [`forward`] adds up all.
///
/// # Panics
/// As [`forward`].
pub fn layer_by_layer(model: &Model, input: &[f32]) -> Vec<(Vec<f64>, Vec<f64>)> {
    assert!(input.len() == model.input.len(), "the input has the model's size");
    let mut values = vec![(input.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>(), vec![0.0; input.len()])];
    for (i, node) in model.nodes.iter().enumerate() {
        let inputs: Vec<&[f64]> = node.inputs.iter().map(|&v| &values[v].0[..]).collect();
        let exact: Vec<Vec<f64>> = inputs.iter().map(|x| vec![0.0; x.len()]).collect();
        let value = step(model, i, &inputs, &exact.iter().map(|e| &e[..]).collect::<Vec<_>>(), 0.0);
        values.push(value);
    }
    values
}

/// The error of a value: where it is no number nothing is known of it, and its error says so from then on, since maxima
/// pass over NaN.
fn known<N: Digits>(value: f64, error: f64) -> f64 {
    if value.abs() < N::MOST && error.is_finite() { error } else { f64::INFINITY }
}

/// What node `i` makes of its inputs, and how far that may be from what it makes of any within `errors` of them.
fn step<N: Digits>(model: &Model, i: usize, inputs: &[&[N]], errors: &[&[f64]], unit: f64) -> Enclosed<N> {
    let node = &model.nodes[i];
    let shapes = [model.shape(node.inputs[0]), node.shape];
    let folded = || model.folded.iter().filter(|f| f.node == i);
    let before = |origin: &Origin| match &origin.layer {
        Some(layer) => of_layer(layer, shapes, inputs, errors, [0.0, 0.0, unit]),
        None => (inputs[0].to_vec(), errors[0].to_vec()),
    };
    let stored = folded().find_map(|f| f.origin.as_deref());
    if let Some(exact) = stored.and_then(|origin| N::divided(&origin.ratios, || before(origin))) {
        return exact;
    }
    let relative: f64 = folded().map(|f| f64::from(f.relative)).sum();
    let absolute: f64 = folded().map(|f| f64::from(f.absolute)).sum();
    of_layer(&node.layer, shapes, inputs, errors, [relative, absolute, unit])
}

/// [`step`] of a layer between values of these shapes, its charges and the unit roundoff of a runtime given.
fn of_layer<N: Digits>(
    layer: &Layer,
    [x, y]: [Shape; 2],
    inputs: &[&[N]],
    errors: &[&[f64]],
    [relative, absolute, unit]: [f64; 3],
) -> Enclosed<N> {
    let value = apply(layer, inputs, x, y);
    // What each input contributes: its own error, and its share of roundings and folding.
    let roundings = terms(layer, x.len()) + 8;
    // Of sums so long that f32 loses all of them nothing is known.
    let runtime = if roundings as f64 * unit < 0.5 { gamma(roundings, unit) } else { f64::INFINITY };
    let share = gamma(roundings, N::UNIT) + relative + runtime;
    let charged = || -> Vec<f64> { inputs[0].iter().zip(errors[0]).map(|(v, e)| e + share * v.near().abs()).collect() };
    let error = match magnitudes(layer, share) {
        Some(layer) => apply(&layer, &[&charged()], x, y),
        None => match layer {
            // Zero for certain where the value is below zero for certain.
            Layer::Relu => {
                let off = |(v, e): (&N, &f64)| if v.near() + v.reach(*e) <= 0.0 { 0.0 } else { *e };
                inputs[0].iter().zip(errors[0]).map(off).collect()
            }
            Layer::MaxPool(_) | Layer::Gather(_) => apply(layer, errors, x, y),
            Layer::Activation(f) => {
                let each = inputs[0].iter().zip(errors[0]).enumerate();
                let drift = each.map(|(k, (v, e))| v.drift(function_of(f, k, y.len()), *e));
                drift.zip(&value).map(|(e, v)| e + runtime * v.near().abs()).collect()
            }
            Layer::AvgPool(_) => apply(layer, &[&charged()], x, y),
            Layer::Add => {
                value.iter().zip(apply(layer, errors, x, y)).map(|(v, e)| e + share * v.near().abs()).collect()
            }
            Layer::Conv(_) | Layer::Dense(_) | Layer::Scale { .. } => unreachable!("has magnitudes"),
        },
    };
    // The bounds are themselves sums in f64, of up to 2^26 terms: one part in 10^8 is more than they lose.
    // Nothing is rounded where a value is only chosen.
    let exact = relative == 0.0 && absolute == 0.0 && chooses(layer);
    let floor = if exact { 0.0 } else { absolute + N::floor(roundings) };
    let charged = error.into_iter().map(|e| 1.000_000_01 * e + floor);
    let mut error: Vec<f64> = value.iter().zip(charged).map(|(v, e)| known::<N>(v.near(), e)).collect();
    // What is added up may be too large where the sum is not.
    if let Some(layer) = magnitudes(layer, 1.0).filter(|_| N::MOST.is_finite()) {
        let inputs: Vec<f64> = inputs[0].iter().map(|v| v.near().abs()).collect();
        let sizes: Vec<f64> = apply(&layer, &[&inputs], x, y);
        error.iter_mut().zip(sizes).for_each(|(e, size)| *e = known::<N>(1.01 * size, *e));
    }
    (value, error)
}

/// By how much output `a` exceeds output `b` at least, given outputs and errors as of [`forward`]; not a number where
/// they overflow.
pub fn lead((outputs, errors): &Known, a: usize, b: usize) -> f64 {
    let error = (errors[a] + errors[b]).next_up();
    ((outputs[a] - outputs[b]).next_down() - error).next_down()
}

/// The output that exceeds every other, if that is certain, and by how much at least.
pub fn largest(known: &Known) -> Option<(usize, f64)> {
    let least = |a: usize| {
        let leads = (0..known.0.len()).filter(|b| *b != a).map(|b| lead(known, a, b));
        // A lead that is no number is none.
        leads.fold(f64::INFINITY, |m, l| if l.is_nan() { f64::NEG_INFINITY } else { m.min(l) })
    };
    (0..known.0.len()).map(|a| (a, least(a))).find(|(_, lead)| *lead > 0.0)
}

/// Whether every output is one of the inputs, or zero.
fn chooses(layer: &Layer) -> bool {
    match layer {
        Layer::Relu | Layer::MaxPool(_) | Layer::Gather(_) => true,
        Layer::Conv(_)
        | Layer::Dense(_)
        | Layer::Activation(_)
        | Layer::AvgPool(_)
        | Layer::Add
        | Layer::Scale { .. } => false,
    }
}

/// Most terms that one output sums.
fn terms(layer: &Layer, inputs: usize) -> usize {
    match layer {
        Layer::Conv(c) => c.weight.len() / c.bias.len().max(1) + 1,
        Layer::Dense(_) => inputs + 1,
        Layer::AvgPool(p) => p.kernel[0] * p.kernel[1],
        Layer::Relu
        | Layer::Activation(_)
        | Layer::MaxPool(_)
        | Layer::Add
        | Layer::Scale { .. }
        | Layer::Gather(_) => 2,
    }
}

/// The layer with absolute weights, and for biases what `share` of them costs.
fn magnitudes(layer: &Layer, share: f64) -> Option<Layer> {
    let abs = |v: &[f32]| v.iter().map(|w| w.abs()).collect::<Vec<f32>>();
    let part = |v: &[f32]| v.iter().map(|b| to_f32_up(share * f64::from(b.abs()))).collect::<Vec<f32>>();
    match layer {
        Layer::Conv(c) => Some(Layer::Conv(Conv { weight: abs(&c.weight), bias: part(&c.bias), ..*c })),
        Layer::Dense(d) => Some(Layer::Dense(Dense { weight: abs(&d.weight), bias: part(&d.bias) })),
        Layer::Scale { scale, shift } => Some(Layer::Scale { scale: abs(scale), shift: part(shift) }),
        Layer::Relu | Layer::Activation(_) | Layer::MaxPool(_) | Layer::AvgPool(_) | Layer::Add | Layer::Gather(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Folding, Node};
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn errors_are_small_and_folding_is_in_them() {
        let dense = Layer::Dense(Dense { weight: vec![1.0, -2.0, 0.5, 0.25], bias: vec![0.1, 0.0] });
        let node = |name: &str, layer, input: usize| Node {
            name: name.into(),
            layer,
            inputs: vec![input],
            shape: Shape::flat(2),
        };
        let mut model = Model {
            input: Shape::flat(2),
            nodes: vec![node("d", dense, 0), node("r", Layer::Relu, 1)],
            classes: vec!["0".into(), "1".into()],
            folded: vec![],
        };
        let (y, e) = forward(&model, &[3.0, 1.0]);
        assert_eq!(y, [1.0 + f64::from(0.1f32), 1.75]);
        // Two products and a bias round in f32 as they may.
        let (same, f32s) = forward_in_f32(&model, &[3.0, 1.0]);
        assert!(same == y && f32s.iter().all(|e| (1e-7..1e-5).contains(e)), "{f32s:?}");
        assert!(e.iter().all(|e| *e > 0.0 && *e < 1e-13), "{e:?}");
        model.folded = vec![Folding { relative: 0.01, absolute: 0.5, ..Folding::default() }];
        let (_, e) = forward(&model, &[3.0, 1.0]);
        assert!(e[0] >= 0.5 + 0.01 * 5.0 && e[0] < 0.56, "{e:?}");
        // For inputs that are not known exactly, and nothing is lost of a zero.
        model.folded.clear();
        let (y, e) = forward_near(&model, vec![3.0, 1.0], vec![0.25, 0.0]);
        assert!(y[0] - e[0] <= 0.75 + f64::from(0.1f32) && e[0] < 0.2501, "{e:?}");
        assert_eq!(forward(&model, &[-3.0, 1.0]).1[0], 0.0);
        // A rectifier makes a number of NaN, of which nothing is known.
        let lost = forward(&model, &[f32::NAN, 1.0]);
        assert_eq!((&lost.0[..], &lost.1[..]), (&[0.0; 2][..], &[f64::INFINITY; 2][..]));
        assert!(largest(&lost).is_none() && !(lead(&lost, 0, 1) >= 0.0));
    }
}
