//! The classifier `train` builds: strided convolutions, one hidden dense layer, ReLU between.

use super::{Conv, Dense, Layer, Model, Node};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::tensor::Shape;

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

/// A network with random weights (He et al. 2015) for images of this shape.
///
/// # Errors
/// If the images are too small to be halved by every convolution, or a size is zero.
pub fn cnn(input: Shape, classes: &[String], architecture: &Architecture, seed: u64) -> Result<Model> {
    if architecture.hidden == 0 || architecture.channels.contains(&0) {
        return Err(Error::usage("layers need at least one channel or neuron"));
    }
    let mut rng = Rng::new(seed, 0x1217);
    let mut model = Model { input, nodes: Vec::new(), classes: classes.to_vec(), folded: Vec::new() };
    let mut shape = input;
    for (i, &channels) in architecture.channels.iter().enumerate() {
        if shape.height < 2 || shape.width < 2 {
            return Err(Error::usage(format!("images of {input} are too small for {} convolutions", i + 1)));
        }
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

fn push(model: &mut Model, name: &str, layer: Layer, shape: Shape) {
    let input = model.nodes.len();
    model.nodes.push(Node { name: name.into(), layer, inputs: vec![input], shape });
}

fn normal(rng: &mut Rng, count: usize, fan_in: usize) -> Vec<f32> {
    let sigma = (2.0 / fan_in as f32).sqrt();
    (0..count).map(|_| sigma * rng.normal()).collect()
}
