//! A network as plain data: a feed-forward graph of layers over f32 weights, no device.

pub mod cnn;
pub mod onnx;

use crate::tensor::Shape;

/// Identifies a value of the graph: 0 is the model's input, `i + 1` is the output of node `i`.
pub type ValueId = usize;

/// A feed-forward network, nodes in topological order; the last node gives the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub input: Shape,
    pub nodes: Vec<Node>,
    /// Names of the classes, one per logit (`"0"`, `"1"`, … when the file has none).
    pub classes: Vec<String>,
}

/// One layer applied to earlier values.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name, as in the ONNX file.
    pub name: String,
    pub layer: Layer,
    pub inputs: Vec<ValueId>,
    /// Shape of the output.
    pub shape: Shape,
}

/// Every kind of layer. Closed: walks match without a wildcard.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// 2-D convolution. Groups and dilation of a file are expanded to plain weights with zeros (exact).
    Conv(Conv),
    /// Fully connected: `y = W x + b` over the flattened input.
    Dense(Dense),
    Relu,
    MaxPool(Pool),
    /// Average over the window; padding (if any) counts as zeros iff `count_include_pad`.
    AvgPool(Pool),
    /// Sum of two values of equal shape.
    Add,
    /// Elementwise `y_k = scale_k * x_k + shift_k` with constants; both vectors have one entry per value.
    Scale {
        scale: Vec<f32>,
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
    pub bias: Vec<f32>,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
}

/// Weights of a fully connected layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// `[out][in]`.
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Window of a pooling layer, padding as in [`Conv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    /// Average pooling only: divide by the full window even where it hangs over the border.
    pub count_include_pad: bool,
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
        self.nodes
            .iter()
            .map(|n| match &n.layer {
                Layer::Conv(c) => c.weight.len() + c.bias.len(),
                Layer::Dense(d) => d.weight.len() + d.bias.len(),
                Layer::Scale { scale, shift } => scale.len() + shift.len(),
                Layer::Relu | Layer::MaxPool(_) | Layer::AvgPool(_) | Layer::Add | Layer::Gather(_) => 0,
            })
            .sum()
    }
}
