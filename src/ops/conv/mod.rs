//! Convolution, and dense layers as its 1x1 case: forward, and sound interval. `conv_grad` has their gradients.
//!
//! Activations are `[channel][row][column][lane]`, weights `[in][kernel row][kernel column][out]`. The backward step of
//! linear bounds through a convolution is its input gradient.

pub(super) mod case;
mod tile;
pub(super) mod twin;

pub(super) use case::cases;

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::flat;
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::model::{Conv, Dense};
use crate::rounding::{self, ETA};
use crate::tensor::Shape;

/// Channels one GPU thread computes.
pub(super) const CHANNELS: usize = 8;

/// Threads that share the input channels of one sum, where there are so many channels at least, and where all sums together
/// are too few threads to keep a large GPU busy. Each share is at least a block, so that there are no more roundings than
/// [`rounding::sum_error`] charges.
pub(super) const SHARES: usize = 8;
const MANY: usize = 64;
const BUSY: usize = 1 << 15;

/// Shapes and window of one convolution. Zeros are padded above/left by `pad`; below and to the right by whatever the
/// output shape needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub input: Shape,
    pub output: Shape,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    /// Groups of neighbouring channels: weights from one into another are zeros, and left out of sums.
    pub groups: usize,
}

/// Channels on the other side of a convolution that `count` neighbours from `first` on have products with, where a group
/// has so many channels on this side and on the other.
fn band(first: usize, count: usize, [own, other]: [usize; 2]) -> Range<usize> {
    first / own * other..((first + count - 1) / own + 1) * other
}

impl Geometry {
    /// Geometry of a convolution node.
    pub fn of(conv: &Conv, input: Shape, output: Shape) -> Self {
        let groups = conv.groups(input.channels);
        Geometry { input, output, kernel: conv.kernel, stride: conv.stride, pad: conv.pad, groups }
    }

    /// A dense layer is a 1x1 convolution over flattened values.
    pub fn dense(inputs: usize, outputs: usize) -> Self {
        Geometry {
            input: Shape::flat(inputs),
            output: Shape::flat(outputs),
            kernel: [1, 1],
            stride: [1, 1],
            pad: [0, 0],
            groups: 1,
        }
    }

    /// Weights, zeros between groups included.
    pub fn weights(&self) -> usize {
        self.input.channels * self.kernel[0] * self.kernel[1] * self.output.channels
    }

    /// Products summed into one output value, at most: all that its thread does for eight outputs.
    pub fn fan_in(&self) -> usize {
        let (channels, sides) = (self.output.channels, [self.output.channels, self.input.channels]);
        let read = self.bands(channels, sides).map(|band| band.len());
        read.max().unwrap_or(0) * self.kernel[0] * self.kernel[1]
    }

    /// Products summed into one value of the input gradient, at most, counting outputs four at a time.
    pub fn fan_out(&self) -> usize {
        let (channels, sides) = (self.input.channels, [self.input.channels, self.output.channels]);
        let read = self.bands(channels, sides).map(|band| band.end.next_multiple_of(4) - band.start / 4 * 4);
        read.max().unwrap_or(0) * self.kernel[0].div_ceil(self.stride[0]) * self.kernel[1].div_ceil(self.stride[1])
    }

    /// What threads for eight neighbours each of so many channels read.
    fn bands(&self, channels: usize, sides: [usize; 2]) -> impl Iterator<Item = Range<usize>> {
        let group = sides.map(|side| side / self.groups);
        (0..channels).step_by(CHANNELS).map(move |first| band(first, CHANNELS.min(channels - first), group))
    }

    /// Multiply-adds of one forward pass of one lane (border clipping not subtracted).
    pub fn products(&self) -> usize {
        self.fan_in() * self.output.len()
    }
}

/// Packs ONNX-ordered convolution weights `[out][in][kernel]` as `[in][kernel][out]`.
pub fn pack_conv(conv: &Conv, inputs: usize, outputs: usize) -> Vec<f32> {
    let taps = conv.kernel[0] * conv.kernel[1];
    pack(&conv.weight, inputs * taps, outputs)
}

/// Packs `[out][in]` as `[in][out]`.
pub fn pack_dense(dense: &Dense, inputs: usize, outputs: usize) -> Vec<f32> {
    pack(&dense.weight, inputs, outputs)
}

/// Transposes `[rows_out][rows_in]` weights into the device's order.
pub fn pack(weight: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    (0..inputs * outputs).map(|i| weight[(i % outputs) * inputs + i / outputs]).collect()
}

/// The inverse of [`pack`].
pub fn unpack(packed: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    pack(packed, outputs, inputs)
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub in_channels: u32,
    pub in_height: u32,
    pub in_width: u32,
    pub out_channels: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub kernel_height: u32,
    pub kernel_width: u32,
    pub stride_y: u32,
    pub stride_x: u32,
    pub pad_y: u32,
    pub pad_x: u32,
    /// Channels of a group.
    pub in_group: u32,
    pub out_group: u32,
    pub lanes: u32,
    /// Always zero: the run-time value that makes the border between blocks of a sum opaque.
    pub zero: u32,
    /// Products summed before the partial sum is set aside.
    pub block: u32,
    /// Interval: factor on the summed radius, `1 + 2 g`.
    pub scale: f32,
    /// Interval: factor on |bias|.
    pub bias_error: f32,
    /// Interval: absolute error of flushed subnormals.
    pub floor: f32,
    /// Interval: the output radius grows by this share of |centre|, the rounding charge of its consumers.
    pub inflate: f32,
}

impl Params {
    /// For sums of `products`.
    pub fn new(g: &Geometry, products: usize, lanes: usize) -> Self {
        Params {
            in_channels: g.input.channels as u32,
            in_height: g.input.height as u32,
            in_width: g.input.width as u32,
            out_channels: g.output.channels as u32,
            out_height: g.output.height as u32,
            out_width: g.output.width as u32,
            kernel_height: g.kernel[0] as u32,
            kernel_width: g.kernel[1] as u32,
            stride_y: g.stride[0] as u32,
            stride_x: g.stride[1] as u32,
            pad_y: g.pad[0] as u32,
            pad_x: g.pad[1] as u32,
            in_group: (g.input.channels / g.groups) as u32,
            out_group: (g.output.channels / g.groups) as u32,
            lanes: lanes as u32,
            zero: 0,
            block: rounding::sum_block(products) as u32,
            scale: 0.0,
            bias_error: 0.0,
            floor: 0.0,
            inflate: 0.0,
        }
    }
}

const SOURCE: &str = shader!("conv", "flat", "opaque", "rounding", "tile");

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize) -> Kernel {
    Kernel::of::<Params>(SOURCE, name, entry, [reads, writes], twin::forward)
}

/// `y = w * x + b`. Reads x, w, b; writes y.
pub static FORWARD: Kernel = row("conv_forward", "forward", 3, 1);
/// Centre and radius of `w * x + b`. Reads centre, w, b, radius; writes centre, radius.
pub static INTERVAL: Kernel = Kernel { twin: twin::interval, ..row("conv_interval", "interval", 4, 2) };
/// [`FORWARD`] by several threads per sum.
pub static FORWARD_SLICED: Kernel = row("conv_forward_sliced", "forward_sliced", 3, 1);
/// [`INTERVAL`] by several threads per sum.
pub static INTERVAL_SLICED: Kernel =
    Kernel { twin: twin::interval, ..row("conv_interval_sliced", "interval_sliced", 4, 2) };
pub static KERNELS: &[&Kernel] = &[&FORWARD, &FORWARD_SLICED, &INTERVAL, &INTERVAL_SLICED];

/// Grid over `columns` threads per position of a value, so many `channels` each.
pub(super) fn threads(shape: &Shape, columns: usize, channels: usize) -> [usize; 3] {
    let [x, y, _] = flat(shape.height * shape.width * columns);
    [x, y, shape.channels.div_ceil(channels)]
}

/// Which of two kernels that sum over input channels, and its grid: a thread for each sum, or several.
fn sums(
    g: &Geometry,
    columns: usize,
    whole: &'static Kernel,
    sliced: &'static Kernel,
) -> (&'static Kernel, [usize; 3]) {
    let few = g.output.height * g.output.width * columns * g.output.channels.div_ceil(CHANNELS) < BUSY;
    match few && g.fan_in() >= MANY * g.kernel[0] * g.kernel[1] {
        true => (sliced, threads(&g.output, SHARES * columns, CHANNELS)),
        false => (whole, threads(&g.output, columns, CHANNELS)),
    }
}

/// Whether inputs, weights and outputs are as long as the geometry says. A GPU reads and writes short buffers without a
/// word.
pub(super) fn check(g: &Geometry, lanes: usize, inputs: &[&Buffer], w: &Buffer, outputs: &[&Buffer]) -> Result<()> {
    let hold = |buffers: &[&Buffer], shape: &Shape| buffers.iter().all(|b| b.len() >= shape.len() * lanes);
    if hold(inputs, &g.input) && hold(outputs, &g.output) && w.len() >= g.weights() {
        return Ok(());
    }
    Err(Error::device(format!("values of a layer from {} to {} are not as long as it says", g.input, g.output)))
}

/// `y = w * x + b`: x `[in][lanes]`, y `[out][lanes]`.
pub fn forward(
    device: &Device,
    g: &Geometry,
    x: &Buffer,
    w: &Buffer,
    b: &Buffer,
    y: &Buffer,
    lanes: usize,
) -> Result<()> {
    check(g, lanes, &[x], w, &[y])?;
    let (kernel, threads) = sums(g, lanes / 8, &FORWARD, &FORWARD_SLICED);
    device.run(kernel, &Params::new(g, g.fan_in(), lanes), &[x, w, b], &[y], threads)
}

/// Rounding constants of one affine layer, see [`interval`].
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    /// Relative error of a sum of `fan_in` products against the sum of their magnitudes, rounded up.
    pub g: f32,
    /// Share of |centre| by which the *input's* radius must already have been inflated: at least `g`.
    pub floor: f32,
}

impl Charge {
    /// Charges for sums of `products` terms of magnitude up to `largest`. A flushed operand costs up to `ETA` times the
    /// other operand.
    pub fn new(products: usize, largest: f64) -> Self {
        let g = rounding::sum_error(products);
        let flushed = 3.0 * (products as f64 + 16.0) * f64::from(ETA) * largest.max(1.0);
        Charge { g, floor: rounding::to_f32_up(flushed) }
    }

    /// With `error` more of the same kind: that of a runtime, which may flush as well.
    pub fn and(self, error: f32) -> Self {
        if error == 0.0 {
            return self;
        }
        Charge { g: rounding::to_f32_up(f64::from(self.g) + f64::from(error)), floor: 2.0 * self.floor }
    }

    /// No charge at all: unsound, to measure the price of soundness.
    pub fn none() -> Self {
        Charge { g: 0.0, floor: 0.0 }
    }
}

/// Bounds of `w * x + b`: inputs lie in `xc ± xr`, where `xr` has already been inflated by `charge.g * |xc|` by its
/// producer; outputs lie in `yc ± yr`, and `yr` is inflated by `inflate * |yc|` (`ARCHITECTURE.md`,
/// "Soundness", intervals).
#[allow(clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    g: &Geometry,
    [xc, xr]: [&Buffer; 2],
    w: &Buffer,
    b: &Buffer,
    [yc, yr]: [&Buffer; 2],
    lanes: usize,
    charge: Charge,
    inflate: f32,
) -> Result<()> {
    check(g, lanes, &[xc, xr], w, &[yc, yr])?;
    let params = Params {
        scale: rounding::to_f32_up(1.0 + 2.0 * f64::from(charge.g)),
        bias_error: rounding::to_f32_up(f64::from(charge.g) * 1.001),
        floor: charge.floor,
        inflate,
        ..Params::new(g, g.fan_in(), lanes)
    };
    let (kernel, threads) = sums(g, lanes / 4, &INTERVAL, &INTERVAL_SLICED);
    device.run(kernel, &params, &[xc, w, b, xr], &[yc, yr], threads)
}
