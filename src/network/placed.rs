//! Layers on a device, and what each is to whoever runs or bounds it: answered here once, for every kind.

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::model::{Layer, Model, Node};
use crate::ops::{activation, conv, gather, pool};
use crate::rounding;

/// One layer's constants on the device; same order as the model's nodes.
pub(crate) enum Placed {
    Affine(Affine),
    Relu,
    Activation(activation::Curves),
    MaxPool(pool::Geometry),
    AvgPool(pool::Geometry),
    Add,
    Scale { scale: Buffer, shift: Buffer, magnitude: [Buffer; 2] },
    Gather(Vec<Moves>),
}

/// A convolution or dense layer.
pub(crate) struct Affine {
    pub geometry: conv::Geometry,
    /// `[in][kernel row][kernel column][out]`.
    pub weight: Buffer,
    pub bias: Buffer,
    /// |weight| and |bias| as [`magnitude`] counts them, for bounds on rounding errors.
    pub magnitude: [Buffer; 2],
    /// The bias of every output value, for dot products with rows of coefficients.
    pub bias_values: Buffer,
}

/// Index maps of one input of a gather, to and fro.
pub(crate) struct Moves {
    pub forward: Buffer,
    pub backward: Buffer,
}

/// Where a layer is not linear, and so what its relaxation goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bend {
    /// Nowhere: it is walked through as it is.
    Nowhere,
    /// At zero: the signs of its inputs matter. Its lower slope may be any in [0,1], and signs may be assumed.
    AtZero,
    /// Elsewhere, or between inputs that are compared: both ends of all inputs matter.
    Elsewhere,
}

impl Placed {
    /// Copies a layer's constants to the device.
    pub(super) fn new(device: &Device, model: &Model, node: &Node) -> Result<Placed> {
        let input = model.shape(node.inputs[0]);
        let affine = |geometry: conv::Geometry, packed: Vec<f32>, bias: &[f32]| -> Result<Placed> {
            let plane = geometry.output.height * geometry.output.width;
            let abs = |v: &[f32]| device.upload(&v.iter().map(|x| magnitude(*x)).collect::<Vec<_>>());
            Ok(Placed::Affine(Affine {
                geometry,
                weight: device.upload(&packed)?,
                bias: device.upload(bias)?,
                magnitude: [abs(&packed)?, abs(bias)?],
                bias_values: device.upload(&(0..plane * bias.len()).map(|i| bias[i / plane]).collect::<Vec<_>>())?,
            }))
        };
        match &node.layer {
            Layer::Conv(c) => {
                let packed = conv::pack_conv(c, input.channels, node.shape.channels);
                affine(conv::Geometry::of(c, input, node.shape), packed, &c.bias)
            }
            Layer::Dense(d) => {
                let packed = conv::pack_dense(d, input.len(), node.shape.len());
                affine(conv::Geometry::dense(input.len(), node.shape.len()), packed, &d.bias)
            }
            Layer::Relu => Ok(Placed::Relu),
            Layer::Activation(f) => {
                let values = node.shape.len() / f.len();
                Ok(Placed::Activation(activation::Curves::new(device, f, values)?))
            }
            Layer::MaxPool(p) => Ok(Placed::MaxPool(pool::Geometry::new(p, input, node.shape))),
            Layer::AvgPool(p) => Ok(Placed::AvgPool(pool::Geometry::new(p, input, node.shape))),
            Layer::Add => Ok(Placed::Add),
            Layer::Scale { scale, shift } => {
                let abs = |v: &[f32]| device.upload(&v.iter().map(|x| magnitude(*x)).collect::<Vec<_>>());
                Ok(Placed::Scale {
                    scale: device.upload(scale)?,
                    shift: device.upload(shift)?,
                    magnitude: [abs(scale)?, abs(shift)?],
                })
            }
            Layer::Gather(sources) => {
                let moves = node.inputs.iter().enumerate().map(|(k, &v)| {
                    let mut forward = vec![gather::NOWHERE; sources.len()];
                    let mut backward = vec![gather::NOWHERE; model.shape(v).len()];
                    for (to, source) in sources.iter().enumerate() {
                        if let Some(s) = source.filter(|s| s.input as usize == k) {
                            forward[to] = s.index;
                            backward[s.index as usize] = to as u32;
                        }
                    }
                    Ok(Moves { forward: device.upload(&forward)?, backward: device.upload(&backward)? })
                });
                Ok(Placed::Gather(moves.collect::<Result<_>>()?))
            }
        }
    }

    /// The layer as one whose weights may become any: those that are zeros now count as others do.
    pub(super) fn learned(&mut self) {
        match self {
            Placed::Affine(a) => a.geometry.groups = 1,
            Placed::Relu
            | Placed::Activation(_)
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Add
            | Placed::Scale { .. }
            | Placed::Gather(_) => {}
        }
    }

    /// The layer as products with weights, if it is that.
    pub fn affine(&self) -> Option<&Affine> {
        match self {
            Placed::Affine(a) => Some(a),
            Placed::Relu
            | Placed::Activation(_)
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Add
            | Placed::Scale { .. }
            | Placed::Gather(_) => None,
        }
    }

    /// Factors, shifts and sizes of the factors, if it is an elementwise map of that kind.
    pub fn scale(&self) -> Option<[&Buffer; 3]> {
        match self {
            Placed::Scale { scale, shift, magnitude: [size, _] } => Some([scale, shift, size]),
            Placed::Affine(_)
            | Placed::Relu
            | Placed::Activation(_)
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Add
            | Placed::Gather(_) => None,
        }
    }

    /// Whether it adds two values, and hands a gradient to both.
    pub fn is_sum(&self) -> bool {
        match self {
            Placed::Add => true,
            Placed::Affine(_)
            | Placed::Relu
            | Placed::Activation(_)
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Scale { .. }
            | Placed::Gather(_) => false,
        }
    }

    /// Whether it is a function that lines only come near: how a runtime rounds it is said nowhere.
    pub fn is_curved(&self) -> bool {
        match self {
            Placed::Activation(_) => true,
            Placed::Affine(_)
            | Placed::Relu
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Add
            | Placed::Scale { .. }
            | Placed::Gather(_) => false,
        }
    }

    /// Where it is not linear.
    pub fn bend(&self) -> Bend {
        match self {
            Placed::Relu => Bend::AtZero,
            Placed::Activation(_) | Placed::MaxPool(_) => Bend::Elsewhere,
            Placed::Affine(_) | Placed::AvgPool(_) | Placed::Add | Placed::Scale { .. } | Placed::Gather(_) => {
                Bend::Nowhere
            }
        }
    }

    /// Roundings between the terms and an output value, where a runtime computes the layer in f32 with sums in any order.
    pub fn roundings(&self) -> usize {
        /// Constants of a layer may be operations of their own in its file: a batch normalisation, factors, sums.
        const MERGED: usize = 8;
        match self {
            Placed::Affine(a) => a.geometry.fan_in() + 1 + MERGED,
            Placed::AvgPool(g) => g.kernel[0] * g.kernel[1] + 2,
            Placed::Scale { .. } => 2 + MERGED,
            Placed::Add => 1,
            Placed::Relu | Placed::Activation(_) | Placed::MaxPool(_) | Placed::Gather(_) => 0,
        }
    }
}

/// What a constant counts in bounds on rounding errors: a device may read a subnormal one as zero, which no error
/// relative to its size covers, but one relative to this does.
fn magnitude(constant: f32) -> f32 {
    if constant.is_subnormal() { rounding::ETA / rounding::UNIT as f32 } else { constant.abs() }
}
