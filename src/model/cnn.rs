//! The classifier `train` builds: strided convolutions, one hidden dense layer, ReLU between.

use super::{Conv, Dense, Layer, Model, Node};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::tensor::{self, Shape};

/// Most channels or neurons of one layer.
pub const WIDEST: usize = 1 << 20;

/// Sizes of the classifier: every convolution has a 4x4 kernel, stride 2 and padding 1, so that it halves the image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Architecture {
    /// Output channels of each convolution.
    pub channels: Vec<usize>,
    /// Width of the hidden dense layer.
    pub hidden: usize,
}

impl Default for Architecture {
    fn default() -> Self {
        Architecture { channels: vec![16, 32], hidden: 100 }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in &self.channels {
            write!(f, "Conv{c}(4,s2) ")?;
        }
        write!(f, "FC{}", self.hidden)
    }
}

/// Weights, magnitudes, gradients, moments and the copies that come and go: numbers kept for each weight in training.
const COPIES: u64 = 10;

/// A network with random weights (He et al. 2015) for images of this shape.
///
/// # Errors
/// If the images are too small to be halved by every convolution, or a size is zero.
pub fn cnn(input: Shape, classes: &[String], architecture: &Architecture, seed: u64) -> Result<Model> {
    let widths = || architecture.channels.iter().chain([&architecture.hidden]);
    if widths().any(|w| !(1..=WIDEST).contains(w)) {
        return Err(Error::usage(format!("layers have 1 to {WIDEST} channels or neurons")));
    }
    check_size(input, classes.len(), architecture)?;
    let mut rng = Rng::new(seed, 0x1217);
    let mut model = Model { input, nodes: Vec::new(), classes: classes.to_vec(), folded: Vec::new() };
    let mut shape = input;
    for (i, &channels) in architecture.channels.iter().enumerate() {
        let fan_in = shape.channels * 16;
        let conv = Conv {
            weight: normal(&mut rng, channels * fan_in, fan_in),
            bias: vec![0.0; channels],
            kernel: [4, 4],
            stride: [2, 2],
            pad: [1, 1],
        };
        shape = Shape::new(channels, shape.height / 2, shape.width / 2);
        push(&mut model, &format!("conv{}", i + 1), Layer::Conv(conv), shape);
        push(&mut model, &format!("relu{}", i + 1), Layer::Relu, shape);
    }
    for (name, width, relu) in [("hidden", architecture.hidden, true), ("logits", classes.len(), false)] {
        let dense = Dense { weight: normal(&mut rng, width * shape.len(), shape.len()), bias: vec![0.0; width] };
        shape = Shape::flat(width);
        push(&mut model, name, Layer::Dense(dense), shape);
        if relu {
            push(&mut model, "relu_hidden", Layer::Relu, shape);
        }
    }
    Ok(model)
}

/// Narrows the weights to a deviation of `sqrt(2 pi) / fan-in`, with which intervals are about as wide behind a layer as
/// before it (Shi et al. 2021, "Fast certified robust training with short warmup").
pub fn start_for_intervals(model: &mut Model) {
    for node in &mut model.nodes {
        let (weight, outputs) = match &mut node.layer {
            Layer::Conv(c) => (&mut c.weight, node.shape.channels),
            Layer::Dense(d) => (&mut d.weight, node.shape.len()),
            Layer::Relu
            | Layer::Activation(_)
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Scale { .. }
            | Layer::Gather(_) => continue,
        };
        let fan_in = (weight.len() / outputs) as f32;
        let share = (std::f32::consts::PI / fan_in).sqrt();
        weight.iter_mut().for_each(|w| *w *= share);
    }
}

/// Refuses what cannot be built: images too small to be halved so often, and more weights than there is memory for.
fn check_size(input: Shape, classes: usize, architecture: &Architecture) -> Result<()> {
    let (mut shape, mut weights, mut values) = (input, 0u64, input.len());
    for &channels in &architecture.channels {
        if shape.height < 2 || shape.width < 2 {
            let count = architecture.channels.len();
            return Err(Error::usage(format!(
                "images of {input} are too small for {count} convolutions; give fewer --channels, or a larger --size"
            )));
        }
        weights = weights.saturating_add((shape.channels * 16 * channels) as u64);
        shape = Shape::new(channels, shape.height / 2, shape.width / 2);
        values = values.saturating_add(shape.len());
    }
    let dense = (shape.len() as u64).saturating_mul(architecture.hidden as u64);
    weights = weights.saturating_add(dense).saturating_add((architecture.hidden * classes) as u64);
    tensor::check_room(weights.saturating_mul(COPIES).saturating_add(values as u64 * tensor::LANE_BLOCK as u64)).map_err(
        |gib| {
            Error::usage(format!(
                "a network of {weights} weights takes {gib:.1} GiB to train, more than can be had; give fewer --channels or --hidden"
            ))
        },
    )
}

fn push(model: &mut Model, name: &str, layer: Layer, shape: Shape) {
    let input = model.nodes.len();
    model.nodes.push(Node { name: name.into(), layer, inputs: vec![input], shape });
}

fn normal(rng: &mut Rng, count: usize, fan_in: usize) -> Vec<f32> {
    let sigma = (2.0 / fan_in as f32).sqrt();
    (0..count).map(|_| sigma * rng.normal()).collect()
}
