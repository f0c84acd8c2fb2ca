//! A plain forward pass, written to be read rather than to be fast: tests, load checks and the re-evaluation of
//! counterexamples compare against it. In f64, or over whatever numbers are asked for.

use rayon::prelude::*;

use super::activation::{Activation, function_of};
use super::{Conv, Layer, Model, Pool, Source};
use crate::tensor::Shape;

/// All values of the graph for one input, indexed by [`super::ValueId`]: the input itself, then every node's output.
/// The logits are the last. Each value is in `[channel][row][column]` order.
///
/// # Panics
/// If `input` does not have the model's size, or the model does not pass [`Model::validate`].
pub fn forward(model: &Model, input: &[f32]) -> Vec<Vec<f64>> {
    forward_f64(model, input.iter().map(|&v| f64::from(v)).collect())
}

/// [`forward`] from an f64 input.
pub fn forward_f64(model: &Model, input: Vec<f64>) -> Vec<Vec<f64>> {
    assert_eq!(input.len(), model.input.len(), "the input has the model's size");
    let mut values = vec![input];
    for node in &model.nodes {
        let inputs: Vec<&[f64]> = node.inputs.iter().map(|&v| values[v].as_slice()).collect();
        values.push(apply(&node.layer, &inputs, model.shape(node.inputs[0]), node.shape));
    }
    values
}

/// Products that are worth a task of their own: with fewer, handing it over takes longer.
const TASK: usize = 1 << 15;

/// What a layer can be evaluated over.
pub trait Number: Clone + Send + Sync {
    /// A constant of the network.
    fn constant(value: f32) -> Self;
    /// `self + other`.
    fn plus(&self, other: &Self) -> Self;
    /// `self * factor`.
    fn times(&self, factor: f32) -> Self;
    /// `self + value * factor`, in place.
    fn add(&mut self, value: &Self, factor: f32) {
        *self = self.plus(&value.times(factor));
    }
    /// The larger of the two.
    fn larger(&self, other: &Self) -> Self;
    /// `self / count`.
    fn shared(&self, count: usize) -> Self;
    /// An activation's value.
    fn through(&self, activation: &Activation) -> Self;
}

impl Number for f64 {
    fn constant(value: f32) -> f64 {
        value.into()
    }

    fn plus(&self, other: &f64) -> f64 {
        self + other
    }

    fn times(&self, factor: f32) -> f64 {
        f64::from(factor) * self
    }

    fn larger(&self, other: &f64) -> f64 {
        self.max(*other)
    }

    fn shared(&self, count: usize) -> f64 {
        self / count as f64
    }

    fn through(&self, activation: &Activation) -> f64 {
        activation.value(*self)
    }
}

/// One layer: `x` is the shape of its first input, `y` that of its output.
pub fn apply<N: Number>(layer: &Layer, inputs: &[&[N]], x: Shape, y: Shape) -> Vec<N> {
    let first = inputs[0];
    match layer {
        Layer::Conv(c) => conv(c, first, x, y),
        Layer::Dense(d) => {
            let rows = d.weight.par_chunks_exact(x.len()).with_min_len(TASK.div_ceil(x.len())).zip(&d.bias);
            let terms = |row: &[f32]| {
                let mut sum = N::constant(0.0);
                row.iter().zip(first).for_each(|(&w, v)| sum.add(v, w));
                sum
            };
            rows.map(|(row, &b)| N::constant(b).plus(&terms(row))).collect()
        }
        Layer::Relu => first.iter().map(|v| v.larger(&N::constant(0.0))).collect(),
        Layer::Activation(f) => first.iter().enumerate().map(|(k, v)| v.through(function_of(f, k, y.len()))).collect(),
        Layer::MaxPool(p) => {
            pool(p, first, x, y, |window| window[1..].iter().fold(window[0].clone(), |largest, v| largest.larger(v)))
        }
        Layer::AvgPool(p) => pool(p, first, x, y, |window| {
            let count = if p.count_include_pad { p.kernel[0] * p.kernel[1] } else { window.len() };
            window.iter().fold(N::constant(0.0), |sum, v| sum.plus(v)).shared(count)
        }),
        Layer::Add => first.iter().zip(inputs[1]).map(|(a, b)| a.plus(b)).collect(),
        Layer::Scale { scale, shift } => {
            let constants = scale.iter().zip(shift);
            first.iter().zip(constants).map(|(v, (&a, &b))| v.times(a).plus(&N::constant(b))).collect()
        }
        Layer::Gather(map) => {
            let value = |s: &Source| inputs[s.input as usize][s.index as usize].clone();
            map.iter().map(|s| s.as_ref().map_or(N::constant(0.0), value)).collect()
        }
    }
}

fn conv<N: Number>(c: &Conv, input: &[N], x: Shape, y: Shape) -> Vec<N> {
    let [kh, kw] = c.kernel;
    let stride = c.stride[1];
    // By kernel column, the sums whose tap is no padding: the first of them, what it reads, and how many there are.
    let columns = (0..kw).map(|kx| {
        let first = c.pad[1].saturating_sub(kx).div_ceil(stride);
        let from = first * stride + kx - c.pad[1];
        (first, from, x.width.saturating_sub(from).div_ceil(stride).min(y.width.saturating_sub(first)))
    });
    let columns: Vec<(usize, usize, usize)> = columns.collect();
    let mut out = vec![N::constant(0.0); y.len()];
    // Sums of one row grow side by side, each in the order of its weights: none waits for its own last addition.
    let group = [y.channels, x.channels].map(|channels| channels / c.groups(x.channels));
    let products = y.width * group[1] * kh * kw;
    out.par_chunks_mut(y.width).with_min_len(TASK.div_ceil(products)).enumerate().for_each(|(line, sums)| {
        let (o, row) = (line / y.height, line % y.height);
        sums.fill(N::constant(c.bias[o]));
        let planes = input.chunks_exact(x.height * x.width).enumerate();
        for (i, plane) in planes.skip(o / group[0] * group[1]).take(group[1]) {
            let taps = &c.weight[(o * x.channels + i) * kh * kw..][..kh * kw];
            for (ky, r) in inside(row, kh, c.stride[0], c.pad[0], x.height) {
                let values = &plane[r * x.width..][..x.width];
                for (&tap, &(first, from, count)) in taps[ky * kw..].iter().zip(&columns) {
                    // Most are zeros where kernels are dilated.
                    if tap != 0.0 && count > 0 {
                        let (sums, read) = (&mut sums[first..first + count], &values[from..]);
                        match stride {
                            1 => sums.iter_mut().zip(read).for_each(|(sum, value)| sum.add(value, tap)),
                            _ => sums.iter_mut().zip(read.iter().step_by(stride)).for_each(|(sum, v)| sum.add(v, tap)),
                        }
                    }
                }
            }
        }
    });
    out
}

/// Applies `f` to the real (not padding) values of each window.
fn pool<N: Number>(p: &Pool, input: &[N], x: Shape, y: Shape, f: impl Fn(&[N]) -> N) -> Vec<N> {
    let mut out = Vec::with_capacity(y.len());
    let mut window = Vec::new();
    for plane in input.chunks_exact(x.height * x.width) {
        for row in 0..y.height {
            for col in 0..y.width {
                window.clear();
                for (_, r) in inside(row, p.kernel[0], p.stride[0], p.pad[0], x.height) {
                    let columns = inside(col, p.kernel[1], p.stride[1], p.pad[1], x.width);
                    window.extend(columns.map(|(_, q)| plane[r * x.width + q].clone()));
                }
                out.push(f(&window));
            }
        }
    }
    out
}

/// The taps of output position `out` that fall inside `0..size`: (tap, position).
fn inside(out: usize, kernel: usize, stride: usize, pad: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel).filter_map(move |k| {
        let at = (out * stride + k).checked_sub(pad)?;
        (at < size).then_some((k, at))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Dense, Node};
    use super::*;

    #[test]
    fn convolution_by_hand() {
        let c = Conv { weight: vec![1.0, 2.0, 3.0, 4.0], bias: vec![0.5], kernel: [2, 2], stride: [2, 1], pad: [1, 0] };
        let y = apply(&Layer::Conv(c), &[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], Shape::new(1, 2, 3), Shape::new(1, 2, 2));
        assert_eq!(y, [11.5, 18.5, 14.5, 17.5]);
    }

    #[test]
    fn pools_by_hand() {
        let p = |count_include_pad| Pool { kernel: [2, 2], stride: [2, 2], pad: [1, 1], count_include_pad };
        let x = [-1.0, -2.0, -3.0, -4.0];
        let (a, b) = (Shape::new(1, 2, 2), Shape::new(1, 2, 2));
        assert_eq!(apply(&Layer::MaxPool(p(false)), &[&x], a, b), x);
        assert_eq!(apply(&Layer::AvgPool(p(false)), &[&x], a, b), x);
        assert_eq!(apply(&Layer::AvgPool(p(true)), &[&x], a, b), [-0.25, -0.5, -0.75, -1.0]);
    }

    #[test]
    fn a_residual_graph_by_hand() {
        let node = |name: &str, layer, inputs: &[usize], n| Node {
            name: name.into(),
            layer,
            inputs: inputs.to_vec(),
            shape: Shape::flat(n),
        };
        let source = |input, index| Some(Source { input, index });
        let model = Model {
            input: Shape::flat(2),
            nodes: vec![
                node("d", Layer::Dense(Dense { weight: vec![1.0, -1.0, 2.0, 0.0], bias: vec![0.0, -3.0] }), &[0], 2),
                node("r", Layer::Relu, &[1], 2),
                node("a", Layer::Add, &[2, 0], 2),
                node("s", Layer::Scale { scale: vec![2.0, 3.0], shift: vec![0.0, 1.0] }, &[3], 2),
                node("g", Layer::Gather(vec![source(1, 1), None, source(0, 0)]), &[4, 0], 3),
            ],
            classes: vec!["0".into(), "1".into(), "2".into()],
            folded: vec![],
        };
        model.validate().unwrap();
        assert_eq!(forward(&model, &[5.0, 2.0])[5], [2.0, 0.0, 16.0]);
    }
}
