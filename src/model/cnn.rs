//! The classifiers `train` builds: convolutions, residual blocks, dense layers, ReLU between; and what becomes of batch
//! normalisation, which they have only while they learn.

use super::{Conv, Dense, Folding, Layer, Model, Node, Pool, ValueId};
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::tensor::{self, Shape};

/// Most channels or neurons of one layer.
pub const WIDEST: usize = 1 << 20;

/// The layers of a classifier, but those that give the logits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Architecture {
    /// From the image on.
    pub blocks: Vec<Block>,
    /// Width of a dense layer behind them.
    pub hidden: Option<usize>,
    /// Whether batch normalisation stands before every ReLU while the network learns.
    pub normalised: bool,
}

/// Layers that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Block {
    /// A convolution and a ReLU.
    Conv(Filter),
    /// Two 3x3 convolutions beside a shortcut (He et al. 2016, "Deep residual learning for image recognition"), which is a
    /// 1x1 convolution where channels or size change.
    Residual {
        /// Output channels.
        channels: usize,
        /// Of the first convolution.
        stride: usize,
    },
    /// The mean of every channel.
    Mean,
}

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filter {
    /// Output channels.
    pub channels: usize,
    /// Rows and columns of a window.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
    /// Zeros around the image.
    pub pad: usize,
}

impl Filter {
    const fn new(channels: usize, kernel: usize, stride: usize, pad: usize) -> Filter {
        Filter { channels, kernel, stride, pad }
    }
}

/// Architectures with a name, all with batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Two strided convolutions of 16 and 32 channels, the logits.
    Cnn3,
    /// Three convolutions of 32, 32 and 64 channels, 256 neurons, the logits.
    Cnn5,
    /// The seven layers of certified training: five convolutions of 64 and 128 channels, 512 neurons, the logits (Shi et al.
    /// 2021).
    Cnn7,
    /// A convolution, three residual blocks of 16, 32 and 64 channels, means, the logits (He et al. 2016).
    Resnet8,
}

impl Named {
    /// All, as they are listed.
    pub const ALL: [Named; 4] = [Named::Cnn3, Named::Cnn5, Named::Cnn7, Named::Resnet8];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Named::Cnn3 => "cnn3",
            Named::Cnn5 => "cnn5",
            Named::Cnn7 => "cnn7",
            Named::Resnet8 => "resnet8",
        }
    }
}

impl From<Named> for Architecture {
    fn from(name: Named) -> Architecture {
        let convs = |filters: &[[usize; 4]]| -> Vec<Block> {
            filters.iter().map(|&[c, k, s, p]| Block::Conv(Filter::new(c, k, s, p))).collect()
        };
        let (blocks, hidden) = match name {
            Named::Cnn3 => (convs(&[[16, 4, 2, 1], [32, 4, 2, 1]]), None),
            Named::Cnn5 => (convs(&[[32, 3, 1, 1], [32, 4, 2, 1], [64, 4, 2, 1]]), Some(256)),
            Named::Cnn7 => {
                let filters = [[64, 3, 1, 1], [64, 3, 1, 1], [128, 3, 2, 1], [128, 3, 1, 1], [128, 3, 1, 1]];
                (convs(&filters), Some(512))
            }
            Named::Resnet8 => {
                let residual = [(16, 1), (32, 2), (64, 2)];
                let residual = residual.into_iter().map(|(channels, stride)| Block::Residual { channels, stride });
                (convs(&[[16, 3, 1, 1]]).into_iter().chain(residual).chain([Block::Mean]).collect(), None)
            }
        };
        Architecture { blocks, hidden, normalised: true }
    }
}

impl Architecture {
    /// Convolutions of so many channels, each of which halves the image (4x4 kernel, stride 2, padding 1), and a dense layer;
    /// without normalisation.
    pub fn strided(channels: &[usize], hidden: usize) -> Architecture {
        let blocks = channels.iter().map(|&channels| Block::Conv(Filter::new(channels, 4, 2, 1))).collect();
        Architecture { blocks, hidden: Some(hidden), normalised: false }
    }
}

impl Default for Architecture {
    fn default() -> Self {
        Architecture::strided(&[16, 32], 100)
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blocks = self.blocks.iter().map(|b| match b {
            Block::Conv(Filter { channels, kernel, stride, .. }) => format!("Conv{channels}({kernel},s{stride})"),
            Block::Residual { channels, stride } => format!("Residual{channels}(s{stride})"),
            Block::Mean => "Mean".into(),
        });
        let all: Vec<String> = blocks.chain(self.hidden.map(|n| format!("FC{n}"))).collect();
        f.write_str(&all.join(" "))
    }
}

/// Weights, magnitudes, gradients, moments and the copies that come and go: numbers kept for each weight in training.
const COPIES: u64 = 10;

/// A network with random weights (He et al. 2015) for images of this shape. A normalisation is a [`Layer::Scale`], which
/// changes nothing yet.
///
/// # Errors
/// If the images are too small for the convolutions, a size is zero, or there are more weights than there is memory for.
pub fn cnn(input: Shape, classes: &[String], architecture: &Architecture, seed: u64) -> Result<Model> {
    let model = || Model { input, nodes: Vec::new(), classes: classes.to_vec(), folded: Vec::new() };
    let mut trial = Builder { model: model(), rng: None, weights: 0 };
    trial.build(architecture)?;
    let values: u64 = trial.model.nodes.iter().map(|n| n.shape.len() as u64).sum();
    let numbers = trial.weights.saturating_mul(COPIES).saturating_add(values * tensor::LANE_BLOCK as u64);
    tensor::check_room(numbers).map_err(|gib| {
        let weights = trial.weights;
        Error::usage(format!(
            "a network of {weights} weights takes {gib:.1} GiB to train, more than can be had; give fewer --channels or --hidden"
        ))
    })?;
    let mut builder = Builder { model: model(), rng: Some(Rng::new(seed, 0x1217)), weights: 0 };
    builder.build(architecture)?;
    Ok(builder.model)
}

/// Narrows the weights to a deviation of `sqrt(2 pi) / fan-in`, with which intervals are about as wide behind a layer as
/// before it (Shi et al. 2021, "Fast certified robust training with short warmup").
pub fn start_for_intervals(model: &mut Model) {
    for [weight, bias] in model.nodes.iter_mut().filter_map(|n| n.layer.affine_mut()) {
        let fan_in = (weight.len() / bias.len()) as f32;
        let share = (std::f32::consts::PI / fan_in).sqrt();
        weight.iter_mut().for_each(|w| *w *= share);
    }
}

/// Puts every [`Layer::Scale`] into the weights of the layer before it, which rounds them: the network that a training ends
/// with.
///
/// # Errors
/// One line, if a scale follows no layer with weights, or what comes out computes something else.
pub fn fold(model: &Model) -> std::result::Result<Model, String> {
    let mut after = Model { nodes: Vec::new(), folded: Vec::new(), ..model.clone() };
    // Where the values of `model` are.
    let mut values: Vec<ValueId> = vec![0];
    for node in &model.nodes {
        let from = values[node.inputs[0]];
        if let Some([scale, shift]) = node.layer.scale() {
            let before = from.checked_sub(1).map(|i| &mut after.nodes[i]);
            let weights = before.and_then(|n| Some((n.shape.len(), n.layer.affine_mut()?)));
            let (len, [weight, bias]) =
                weights.ok_or_else(|| format!("{}: follows no layer with weights", node.name))?;
            let outputs = bias.len();
            let (fan_in, plane) = (weight.len() / outputs, len / outputs);
            let mut largest = 0f64;
            for (k, bias) in bias.iter_mut().enumerate() {
                let (factor, shift) = (f64::from(scale[k * plane]), f64::from(shift[k * plane]));
                let row = &mut weight[k * fan_in..(k + 1) * fan_in];
                row.iter_mut().for_each(|w| *w = (factor * f64::from(*w)) as f32);
                let product = factor * f64::from(*bias);
                largest = largest.max(product.abs() + shift.abs());
                *bias = (product + shift) as f32;
            }
            let (relative, absolute) = (f32::EPSILON, 2.0 * f32::EPSILON * largest as f32);
            after.folded.push(Folding { node: from - 1, relative, absolute, terms: 0.0, origin: None });
            values.push(from);
        } else {
            let inputs = node.inputs.iter().map(|&v| values[v]).collect();
            after.nodes.push(Node { inputs, ..node.clone() });
            values.push(after.nodes.len());
        }
    }
    let after = model.becomes(after, <[f32]>::to_vec)?;
    // A network of its own from here on.
    Ok(Model { folded: Vec::new(), ..after })
}

/// A network in the making.
struct Builder {
    model: Model,
    /// Without it sizes alone are tried: weights are left out.
    rng: Option<Rng>,
    weights: u64,
}

impl Builder {
    fn build(&mut self, architecture: &Architecture) -> Result<()> {
        let normalised = architecture.normalised;
        let mut value = 0;
        for (i, block) in architecture.blocks.iter().enumerate() {
            let i = i + 1;
            value = match *block {
                Block::Conv(filter) => {
                    let conv = self.conv(&format!("conv{i}"), value, filter, normalised)?;
                    self.same(&format!("relu{i}"), Layer::Relu, &[conv])
                }
                Block::Residual { channels, stride } => {
                    let [first, second] = [stride, 1].map(|stride| Filter::new(channels, 3, stride, 1));
                    let v = self.conv(&format!("conv{i}a"), value, first, normalised)?;
                    let v = self.same(&format!("relu{i}a"), Layer::Relu, &[v]);
                    let v = self.conv(&format!("conv{i}b"), v, second, normalised)?;
                    let other = if self.model.shape(value) == self.model.shape(v) {
                        value
                    } else {
                        self.conv(&format!("shortcut{i}"), value, Filter::new(channels, 1, stride, 0), normalised)?
                    };
                    let sum = self.same(&format!("add{i}"), Layer::Add, &[v, other]);
                    self.same(&format!("relu{i}b"), Layer::Relu, &[sum])
                }
                Block::Mean => {
                    let Shape { channels, height, width } = self.model.shape(value);
                    let pool = Pool { kernel: [height, width], stride: [1, 1], pad: [0, 0], count_include_pad: false };
                    self.push("mean", Layer::AvgPool(pool), &[value], Shape::new(channels, 1, 1))
                }
            };
        }
        if let Some(width) = architecture.hidden {
            value = self.dense("hidden", value, width)?;
            value = if normalised { self.norm("norm_hidden", value) } else { value };
            value = self.same("relu_hidden", Layer::Relu, &[value]);
        }
        self.dense("logits", value, self.model.classes.len()).map(drop)
    }

    fn conv(&mut self, name: &str, from: ValueId, filter: Filter, normalised: bool) -> Result<ValueId> {
        let Filter { channels, kernel, stride, pad } = filter;
        let x = self.model.shape(from);
        let input = self.model.input;
        let fitting = |n: usize| (n + 2 * pad).checked_sub(kernel).map(|rest| rest / stride + 1);
        let (Some(height), Some(width)) = (fitting(x.height), fitting(x.width)) else {
            return Err(Error::usage(format!(
                "images of {input} are too small for so many convolutions; give fewer --channels, another --arch, or a larger --size"
            )));
        };
        let (weight, bias) = self.random(channels, x.channels * kernel * kernel)?;
        let conv = Conv { weight, bias, kernel: [kernel; 2], stride: [stride; 2], pad: [pad; 2] };
        let value = self.push(name, Layer::Conv(conv), &[from], Shape::new(channels, height, width));
        Ok(if normalised { self.norm(&format!("norm_{name}"), value) } else { value })
    }

    fn dense(&mut self, name: &str, from: ValueId, width: usize) -> Result<ValueId> {
        let (weight, bias) = self.random(width, self.model.shape(from).len())?;
        Ok(self.push(name, Layer::Dense(Dense { weight, bias }), &[from], Shape::flat(width)))
    }

    /// A normalisation.
    fn norm(&mut self, name: &str, from: ValueId) -> ValueId {
        let constant = |c: f32| if self.rng.is_some() { vec![c; self.model.shape(from).len()] } else { vec![] };
        self.same(name, Layer::Scale { scale: constant(1.0), shift: constant(0.0) }, &[from])
    }

    fn same(&mut self, name: &str, layer: Layer, inputs: &[ValueId]) -> ValueId {
        self.push(name, layer, inputs, self.model.shape(inputs[0]))
    }

    fn push(&mut self, name: &str, layer: Layer, inputs: &[ValueId], shape: Shape) -> ValueId {
        self.model.nodes.push(Node { name: name.into(), layer, inputs: inputs.to_vec(), shape });
        self.model.nodes.len()
    }

    /// Weights of so many outputs, and biases of zero.
    fn random(&mut self, outputs: usize, fan_in: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        if !(1..=WIDEST).contains(&outputs) {
            return Err(Error::usage(format!("layers have 1 to {WIDEST} channels or neurons")));
        }
        self.weights = self.weights.saturating_add((outputs as u64).saturating_mul(fan_in as u64));
        let Some(rng) = &mut self.rng else { return Ok((vec![], vec![])) };
        let sigma = (2.0 / fan_in as f32).sqrt();
        Ok(((0..outputs * fan_in).map(|_| sigma * rng.normal()).collect(), vec![0.0; outputs]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    fn model(architecture: &Architecture, side: usize) -> Result<Model> {
        cnn(Shape::new(3, side, side), &["a".into(), "b".into()], architecture, 5)
    }

    #[test]
    fn every_architecture_is_whole_and_folds() {
        for name in Named::ALL {
            let mut model = model(&name.into(), 8).unwrap();
            model.validate().unwrap();
            let mut rng = Rng::new(2, 0);
            for node in &mut model.nodes {
                let (channels, plane) = (node.shape.channels, node.shape.height * node.shape.width);
                if node.layer.scale().is_some() {
                    let mut spread = |most: f32| {
                        let each: Vec<f32> = (0..channels).map(|_| rng.range(-most, most)).collect();
                        each.iter().flat_map(|c| vec![*c; plane]).collect()
                    };
                    node.layer = Layer::Scale { scale: spread(2.0), shift: spread(1.0) };
                }
            }
            let folded = fold(&model).unwrap();
            assert!(folded.nodes.iter().all(|n| n.layer.scale().is_none()) && folded.folded.is_empty());
            let x: Vec<f32> = (0..model.input.len()).map(|_| rng.range(0.0, 1.0)).collect();
            let last = |m: &Model| reference::forward(m, &x).pop().unwrap();
            let (before, after) = (last(&model), last(&folded));
            let size = before.iter().fold(0.0, |m: f64, b| m.max(b.abs()));
            assert!(
                before.iter().zip(&after).all(|(b, a)| (b - a).abs() < 1e-5 * size),
                "{name:?} {before:?} {after:?}"
            );
        }
    }

    #[test]
    fn seven_layers_as_published() {
        let model = model(&Named::Cnn7.into(), 32).unwrap();
        // 5 convolutions, 128 channels of 16x16, 512 neurons.
        let weights = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 2 * 128 * 128) + 128 * 256 * 512 + 512 * 2;
        assert_eq!(fold(&model).unwrap().parameters(), weights + 2 * 64 + 3 * 128 + 512 + 2);
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let said = |architecture: Architecture, side| model(&architecture, side).unwrap_err().to_string();
        assert!(said(Architecture::strided(&[4, 4, 4], 8), 7).contains("too small"));
        assert!(said(Architecture::strided(&[0], 8), 8).contains("1 to"));
        assert!(said(Architecture::strided(&[4], 0), 8).contains("1 to"));
        assert!(said(Architecture::strided(&[WIDEST, WIDEST], WIDEST), 1 << 8).contains("GiB"));
    }
}
