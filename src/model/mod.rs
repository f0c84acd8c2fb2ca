//! A network as plain data: a feed-forward graph of layers over f32 weights, no device.

pub mod activation;
mod check;
pub mod cnn;
pub mod enclosure;
mod fixed;
mod layout;
pub mod onnx;
pub mod pixels;
mod prefix;
pub mod reference;
mod transform;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::tensor::Shape;
use activation::Activation;

/// Identifies a value of the graph: 0 is the model's input, `i + 1` is the output of node `i`.
pub type ValueId = usize;

/// A feed-forward network, nodes in topological order; the last node gives the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Shape of an input; values are `[channel][row][column]`.
    pub input: Shape,
    /// The layers, each after those that it reads.
    pub nodes: Vec<Node>,
    /// Names of the classes, one per logit (`"0"`, `"1"`, … when the file has none).
    pub classes: Vec<String>,
    /// Layers whose stored weights only approximate those the file defines; empty for a network of our own.
    pub folded: Vec<Folding>,
}

/// The price of constants that are not f32 (a batch normalisation folded into a convolution, a quotient, weights in 64
/// bits): output value `k` of the layer as the file defines it lies within `relative * sum |w x| + absolute` of what the
/// stored f32 weights give, `w` and `x` being the stored weights and the layer's inputs. Both parts are computed from the
/// numbers themselves, so that they hold where f32 underflows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Folding {
    /// Index into [`Model::nodes`] of a Conv, Dense, Scale or AvgPool.
    pub node: usize,
    /// Per unit of `sum |w x|`.
    pub relative: f32,
    /// In units of the output.
    pub absolute: f32,
    /// Largest sum of magnitudes of what was added up to one constant of the layer: a runtime that adds it up itself
    /// rounds in proportion to this, not to the constant.
    pub terms: f32,
    /// What the file has in place of the layer, where that can be said without rounding.
    pub origin: Option<Arc<Origin>>,
}

/// A layer, or none, and behind it for each of as many groups of consecutive values a ratio.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Before constants were folded into it.
    pub layer: Option<Layer>,
    /// What was folded.
    pub ratios: Vec<Ratio>,
}

/// `(factor x + offset) / divisor + shift`: of the divisor, which is a sum, the root if `root`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Of the value.
    pub factor: f64,
    /// Added before the division.
    pub offset: f64,
    /// The sum is not zero, and above it where it is under a root.
    pub divisor: [f64; 2],
    /// Whether it is the root that divides.
    pub root: bool,
    /// Added after the division.
    pub shift: f64,
}

impl Folding {
    /// Whether it is known what the stored weights approximate, to any number of digits.
    pub fn is_known(&self) -> bool {
        self.origin.is_some() || self.relative == 0.0 && self.absolute == 0.0
    }
}

/// One layer applied to earlier values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name, as in the ONNX file.
    pub name: String,
    /// What is done.
    pub layer: Layer,
    /// The values read: one, two for [`Layer::Add`], any number for [`Layer::Gather`].
    pub inputs: Vec<ValueId>,
    /// Shape of the output.
    pub shape: Shape,
}

/// Every kind of layer. Closed: walks match without a wildcard.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// 2-D convolution. Groups and dilation of a file are expanded to plain weights with zeros (exact); kernels leave out those
    /// between groups.
    Conv(Conv),
    /// Fully connected: `y = W x + b` over the flattened input.
    Dense(Dense),
    /// `max(x, 0)`.
    Relu,
    /// Other functions of one number: one for all values, or for as many values in a row each (per channel, or per
    /// value).
    Activation(Vec<Activation>),
    /// Largest value of each window; padding never wins.
    MaxPool(Pool),
    /// Average over the window; padding (if any) counts as zeros iff `count_include_pad`.
    AvgPool(Pool),
    /// Sum of two values of equal shape.
    Add,
    /// Elementwise `y_k = scale_k * x_k + shift_k` with constants; both vectors have one entry per value.
    Scale {
        /// `scale_k`.
        scale: Vec<f32>,
        /// `shift_k`.
        shift: Vec<f32>,
    },
    /// Pure data movement (transpose, slice, concat, zero pad, reshape that permutes): output value `k` is
    /// `inputs[source].values[index]`, or zero.
    Gather(Vec<Option<Source>>),
}

/// Where one output value of [`Layer::Gather`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Position in the node's `inputs`.
    pub input: u32,
    /// Flat `[channel, row, column]` index in that value.
    pub index: u32,
}

/// Weights and geometry of a convolution. `pad_top`/`pad_left` zeros come before; what is needed below and to
/// the right follows from the output shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// `[out][in][kernel row][kernel column]`, as in ONNX.
    pub weight: Vec<f32>,
    /// One per output channel.
    pub bias: Vec<f32>,
    /// Rows, columns.
    pub kernel: [usize; 2],
    /// Rows, columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows of zeros above, columns to the left.
    pub pad: [usize; 2],
}

/// Weights of a fully connected layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// `[out][in]`.
    pub weight: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
}

/// Window of a pooling layer, padding as in [`Conv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Rows, columns.
    pub kernel: [usize; 2],
    /// Rows, columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows above, columns to the left.
    pub pad: [usize; 2],
    /// Average pooling only: divide by the full window even where it hangs over the border.
    pub count_include_pad: bool,
}

impl Conv {
    /// The most groups of neighbouring channels, of which a layer of so many inputs has no weights from one into another:
    /// 1 where all channels depend on all.
    pub fn groups(&self, inputs: usize) -> usize {
        let (outputs, taps) = (self.bias.len(), self.kernel[0] * self.kernel[1]);
        let apart = |groups: &usize| {
            let own = inputs / groups * taps;
            self.weight.chunks_exact(inputs * taps).enumerate().all(|(output, row)| {
                let first = output / (outputs / groups) * own;
                row[..first].iter().chain(&row[first + own..]).all(|w| *w == 0.0)
            })
        };
        let divides = |groups: &usize| inputs.is_multiple_of(*groups) && outputs.is_multiple_of(*groups);
        (1..=inputs.min(outputs)).rev().filter(divides).find(apart).unwrap_or(1)
    }
}

impl Layer {
    /// Weights and biases, factors and shifts; nothing for layers without constants, and for activations, whose few are no
    /// weights.
    pub fn weights(&self) -> [&[f32]; 2] {
        match self {
            Layer::Conv(c) => [&c.weight, &c.bias],
            Layer::Dense(d) => [&d.weight, &d.bias],
            Layer::Scale { scale, shift } => [scale, shift],
            Layer::Relu
            | Layer::Activation(_)
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Gather(_) => [&[], &[]],
        }
    }

    /// Weights and biases of a convolution or dense layer.
    pub(super) fn affine_mut(&mut self) -> Option<[&mut Vec<f32>; 2]> {
        match self {
            Layer::Conv(c) => Some([&mut c.weight, &mut c.bias]),
            Layer::Dense(d) => Some([&mut d.weight, &mut d.bias]),
            Layer::Relu
            | Layer::Activation(_)
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Scale { .. }
            | Layer::Gather(_) => None,
        }
    }

    /// Whether it is linear up to a constant; if not, a bound replaces it by lines.
    pub fn is_affine(&self) -> bool {
        match self {
            Layer::Conv(_)
            | Layer::Dense(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Scale { .. }
            | Layer::Gather(_) => true,
            Layer::Relu | Layer::Activation(_) | Layer::MaxPool(_) => false,
        }
    }

    /// Whether it is a ReLU, the one layer with slopes and signs that a certificate may name.
    pub fn is_relu(&self) -> bool {
        match self {
            Layer::Relu => true,
            Layer::Conv(_)
            | Layer::Dense(_)
            | Layer::Activation(_)
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Scale { .. }
            | Layer::Gather(_) => false,
        }
    }

    /// Factors and shifts of a [`Layer::Scale`].
    pub fn scale(&self) -> Option<[&[f32]; 2]> {
        match self {
            Layer::Scale { scale, shift } => Some([scale, shift]),
            Layer::Conv(_)
            | Layer::Dense(_)
            | Layer::Relu
            | Layer::Activation(_)
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Gather(_) => None,
        }
    }
}

impl Model {
    /// Number of logits.
    pub fn outputs(&self) -> usize {
        self.nodes.last().map_or(self.input.len(), |n| n.shape.len())
    }

    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        if value == 0 { self.input } else { self.nodes[value - 1].shape }
    }

    /// The value that holds the logits.
    pub fn output(&self) -> ValueId {
        self.nodes.len()
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.nodes.iter().flat_map(|n| n.layer.weights()).map(<[f32]>::len).sum()
    }

    /// Multiplications of one forward pass, the measure of work.
    pub fn products(&self) -> u64 {
        let count = |n: &Node| match &n.layer {
            Layer::Conv(c) => n.shape.len() * (c.weight.len() / n.shape.channels.max(1)),
            Layer::Dense(d) => d.weight.len(),
            Layer::MaxPool(p) | Layer::AvgPool(p) => n.shape.len().saturating_mul(p.kernel[0] * p.kernel[1]),
            Layer::Relu | Layer::Activation(_) | Layer::Add | Layer::Scale { .. } | Layer::Gather(_) => n.shape.len(),
        };
        self.nodes.iter().map(|n| count(n) as u64).sum()
    }

    /// SHA-256 (hex) of everything that decides what the network computes: geometry, wiring, the bits of the weights
    /// and the folding charges. Names do not count.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        let mut sizes = |values: &[usize]| {
            let mut bytes = Vec::with_capacity(values.len() * 8);
            values.iter().for_each(|&v| bytes.extend((v as u64).to_le_bytes()));
            sha.update(bytes);
        };
        let shape = |s: Shape| [s.channels, s.height, s.width];
        sizes(&shape(self.input));
        for node in &self.nodes {
            sizes(&shape(node.shape));
            sizes(&[node.inputs.len()]);
            sizes(&node.inputs);
            let (kind, geometry): (usize, Vec<usize>) = match &node.layer {
                Layer::Conv(c) => (1, [c.kernel, c.stride, c.pad].concat()),
                Layer::Dense(_) => (2, vec![]),
                Layer::Relu => (3, vec![]),
                Layer::MaxPool(p) => (4, [p.kernel, p.stride, p.pad].concat()),
                Layer::AvgPool(p) => (5, [p.kernel, p.stride, p.pad, [usize::from(p.count_include_pad), 0]].concat()),
                Layer::Add => (6, vec![]),
                Layer::Scale { .. } => (7, vec![]),
                Layer::Gather(map) => (
                    8,
                    map.iter().flat_map(|s| s.map_or([0, 0], |s| [s.input as usize + 1, s.index as usize])).collect(),
                ),
                Layer::Activation(f) => (9, f.iter().flat_map(identity).collect()),
            };
            sizes(&[kind, geometry.len()]);
            sizes(&geometry);
        }
        for node in &self.nodes {
            for values in node.layer.weights() {
                for chunk in values.chunks(4096) {
                    let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
                    sha.update(bytes);
                }
            }
        }
        for f in &self.folded {
            sha.update((f.node as u64).to_le_bytes());
            sha.update(f.relative.to_le_bytes());
            sha.update(f.absolute.to_le_bytes());
            sha.update(f.terms.to_le_bytes());
        }
        crate::input::hex(sha)
    }
}

/// What tells an activation from others.
fn identity(f: &Activation) -> Vec<usize> {
    let constants = f.function().constants();
    let name = f.operator().bytes().map(usize::from);
    name.chain(constants.iter().map(|c| c.to_bits() as usize)).collect()
}

/// Eight inputs, two hidden layers of twelve neurons, three classes.
#[cfg(test)]
pub(crate) fn dense(seed: u64) -> Model {
    let mut rng = crate::rng::Rng::new(seed, 42);
    let mut random = |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|_| scale * rng.normal()).collect() };
    let mut layers = vec![];
    for (from, to) in [(8, 12), (12, 12), (12, 3)] {
        let weight = random(from * to, (2.0 / from as f32).sqrt());
        layers.push((Layer::Dense(Dense { weight, bias: random(to, 0.3) }), to));
        layers.push((Layer::Relu, to));
    }
    layers.pop();
    let node = |(i, (layer, n))| Node { name: format!("n{i}"), layer, inputs: vec![i], shape: Shape::flat(n) };
    let nodes = layers.into_iter().enumerate().map(node).collect();
    let classes = vec!["a".into(), "b".into(), "c".into()];
    Model { input: Shape::flat(8), nodes, classes, folded: vec![] }
}

/// Of two classes the first, whose logit is 1, beats `max(x, 0) - 0.3` at every x of [0,1]: but the 1 is summed between two
/// numbers as large as `size * x`, where rounding loses it.
#[cfg(test)]
pub(crate) fn cancelling(size: f32) -> Model {
    let dense = |weight: &[f32], bias: &[f32]| Layer::Dense(Dense { weight: weight.to_vec(), bias: bias.to_vec() });
    let layers = [
        (dense(&[size, 0.0, size, 1.0], &[0.0, 1.0, 0.0, 0.0]), 4),
        (Layer::Relu, 4),
        (dense(&[1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0], &[0.0, -0.3]), 2),
    ];
    let node = |(i, (layer, n))| Node { name: format!("n{i}"), layer, inputs: vec![i], shape: Shape::flat(n) };
    let nodes = layers.into_iter().enumerate().map(node).collect();
    Model { input: Shape::flat(1), nodes, classes: vec!["0".into(), "1".into()], folded: vec![] }
}
