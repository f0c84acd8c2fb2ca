//! Pooling over windows of one channel: largest value and mean, with gradients and sound intervals.

mod case;
mod twin;

pub(super) use case::cases;

use bytemuck::{Pod, Zeroable};

use super::flat;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::model::Pool;
use crate::rounding::{blocked_error, to_f32_up};
use crate::tensor::Shape;

/// Window and shapes of one pooling layer. `pad` places come before the input; what is needed below and to the right
/// follows from the output shape. Every window holds at least one input value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub input: Shape,
    pub output: Shape,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    /// Average only: divide by the full window even where it hangs over the border.
    pub count_include_pad: bool,
}

impl Geometry {
    /// Geometry of a pooling node.
    pub fn new(pool: &Pool, input: Shape, output: Shape) -> Self {
        let Pool { kernel, stride, pad, count_include_pad } = *pool;
        Geometry { input, output, kernel, stride, pad, count_include_pad }
    }

    /// Whether every mean divides by the same number, wherever its window lies.
    pub fn shares_are_alike(&self) -> bool {
        let hangs = |d: usize, [input, output]: [usize; 2]| {
            self.pad[d] > 0 || (output - 1) * self.stride[d] + self.kernel[d] > input
        };
        let (i, o) = (self.input, self.output);
        self.count_include_pad || !(hangs(0, [i.height, o.height]) || hangs(1, [i.width, o.width]))
    }

    /// Relative error of a mean against the mean of magnitudes. A window is summed row by row, each row by itself; the room
    /// for the tail covers one reciprocal (2.5 units in the last place by the WGSL specification) and one product. Below
    /// one percent for whatever fits a model.
    pub fn mean_error(&self) -> f64 {
        blocked_error(self.kernel[1].min(self.input.width), self.kernel[0].min(self.input.height))
    }

    /// As [`mean_error`](Self::mean_error), for [`average_backward`], whose sums run over the windows on an input.
    pub fn share_error(&self) -> f64 {
        let windows = |d: usize, count: usize| self.kernel[d].div_ceil(self.stride[d]).min(count);
        blocked_error(windows(1, self.output.width), windows(0, self.output.height))
    }
}

/// What kernels are told of the windows, in this order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Windows {
    pub channels: u32,
    pub in_height: u32,
    pub in_width: u32,
    pub out_height: u32,
    pub out_width: u32,
    pub kernel_height: u32,
    pub kernel_width: u32,
    pub stride_y: u32,
    pub stride_x: u32,
    pub pad_y: u32,
    pub pad_x: u32,
    pub lanes: u32,
}

impl Windows {
    pub fn new(g: &Geometry, lanes: usize) -> Self {
        Windows {
            channels: g.input.channels as u32,
            in_height: g.input.height as u32,
            in_width: g.input.width as u32,
            out_height: g.output.height as u32,
            out_width: g.output.width as u32,
            kernel_height: g.kernel[0] as u32,
            kernel_width: g.kernel[1] as u32,
            stride_y: g.stride[0] as u32,
            stride_x: g.stride[1] as u32,
            pad_y: g.pad[0] as u32,
            pad_x: g.pad[1] as u32,
            lanes: lanes as u32,
        }
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    windows: Windows,
    /// 1: the mean divides by the full window even where it hangs over the border.
    pub include_pad: u32,
    /// Always zero: makes the border between rows of a sum opaque.
    pub zero: u32,
    /// Relative error of a mean against the mean of magnitudes.
    pub error: f32,
    /// The radius grows by this share of |centre|: the rounding charge of whoever consumes it.
    pub inflate: f32,
}

impl Params {
    pub fn new(g: &Geometry, lanes: usize) -> Self {
        Params {
            windows: Windows::new(g, lanes),
            include_pad: u32::from(g.count_include_pad),
            zero: 0,
            error: 0.0,
            inflate: 0.0,
        }
    }
}

impl std::ops::Deref for Params {
    type Target = Windows;
    fn deref(&self) -> &Windows {
        &self.windows
    }
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("pool", "flat", "opaque", "rounding", "windows"), name, entry, [reads, writes], twin)
}

pub static MAX_FORWARD: Kernel = row("pool_max_forward", "max_forward", 1, 1, twin::max_forward);
pub static MAX_BACKWARD: Kernel = row("pool_max_backward", "max_backward", 2, 1, twin::max_backward);
pub static MAX_INTERVAL: Kernel = row("pool_max_interval", "max_interval", 2, 2, twin::max_interval);
pub static AVERAGE_FORWARD: Kernel = row("pool_average_forward", "average_forward", 1, 1, twin::average_forward);
pub static AVERAGE_BACKWARD: Kernel = row("pool_average_backward", "average_backward", 1, 1, twin::average_backward);
pub static AVERAGE_INTERVAL: Kernel = row("pool_average_interval", "average_interval", 2, 2, twin::average_interval);

pub static KERNELS: &[&Kernel] =
    &[&MAX_FORWARD, &MAX_BACKWARD, &MAX_INTERVAL, &AVERAGE_FORWARD, &AVERAGE_BACKWARD, &AVERAGE_INTERVAL];

/// Largest value of each window; padding is left out.
pub fn max_forward(device: &Device, g: &Geometry, x: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    device.run(&MAX_FORWARD, &Params::new(g, lanes), &[x], &[y], flat(y.len() / 4))
}

/// Gradient of [`max_forward`]: each window hands its gradient to its first maximum in row-major order.
pub fn max_backward(device: &Device, g: &Geometry, x: &Buffer, gy: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    device.run(&MAX_BACKWARD, &Params::new(g, lanes), &[x, gy], &[gx], flat(gx.len() / 4))
}

/// Sound bounds: for all reals in `xc ± xr`, the largest of each window lies in `yc ± yr`, and `yr` holds a further
/// `inflate * |yc|`.
#[allow(clippy::too_many_arguments)]
pub fn max_interval(
    device: &Device,
    g: &Geometry,
    xc: &Buffer,
    xr: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
) -> Result<()> {
    let params = Params { inflate, ..Params::new(g, lanes) };
    device.run(&MAX_INTERVAL, &params, &[xc, xr], &[yc, yr], flat(yc.len() / 4))
}

/// Mean of each window.
pub fn average_forward(device: &Device, g: &Geometry, x: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    device.run(&AVERAGE_FORWARD, &Params::new(g, lanes), &[x], &[y], flat(y.len() / 4))
}

/// Gradient of [`average_forward`].
pub fn average_backward(device: &Device, g: &Geometry, gy: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    device.run(&AVERAGE_BACKWARD, &Params::new(g, lanes), &[gy], &[gx], flat(gx.len() / 4))
}

/// Sound bounds: for all reals in `xc ± xr`, the mean of each window lies in `yc ± yr`, and `yr` holds a further
/// `inflate * |yc|`. So does what a runtime computes with a relative `error` against the mean of magnitudes.
#[allow(clippy::too_many_arguments)]
pub fn average_interval(
    device: &Device,
    g: &Geometry,
    xc: &Buffer,
    xr: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
    error: f32,
) -> Result<()> {
    let error = to_f32_up(g.mean_error() + f64::from(error));
    let params = Params { error, inflate, ..Params::new(g, lanes) };
    device.run(&AVERAGE_INTERVAL, &params, &[xc, xr], &[yc, yr], flat(yc.len() / 4))
}
