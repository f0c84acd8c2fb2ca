//! Gradients of convolutions, and of dense layers as their 1x1 case: of the input, the weights, the bias.
//!
//! Layouts are those of [`conv`](super::conv). The backward step of linear bounds through an affine layer is its input
//! gradient; there is no other kernel for it.

use super::conv::{CHANNELS, Geometry, Params, check, threads, twin};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};

/// Channels one GPU thread computes where there are no more.
const FEW: usize = 4;

const fn row(name: &'static str, entry: &'static str, reads: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("conv_grad", "flat", "opaque", "tile"), name, entry, [reads, 1], twin)
}

/// Vector-Jacobian product. Reads gy, w; writes gx.
pub static INPUT_GRAD: Kernel = row("conv_input_grad", "input_grad", 2, twin::input_grad);
/// [`INPUT_GRAD`] of at most `FEW` input channels.
pub static INPUT_GRAD_FEW: Kernel = row("conv_input_grad_few", "input_grad_few", 2, twin::input_grad);
/// [`INPUT_GRAD`] of one input channel.
pub static INPUT_GRAD_ONE: Kernel = row("conv_input_grad_one", "input_grad_one", 2, twin::input_grad);
/// Gradient of the weights summed over lanes. Reads x, gy; writes gw.
pub static WEIGHT_GRAD: Kernel =
    Kernel { workgroup: [16, 4, 1], ..row("conv_weight_grad", "weight_grad", 2, twin::weight_grad) };
/// Gradient of the bias summed over positions and lanes. Reads gy; writes gb.
pub static BIAS_GRAD: Kernel = row("conv_bias_grad", "bias_grad", 1, twin::bias_grad);

pub static KERNELS: &[&Kernel] = &[&INPUT_GRAD, &INPUT_GRAD_FEW, &INPUT_GRAD_ONE, &WEIGHT_GRAD, &BIAS_GRAD];

/// Which kernel, and channels of one of its threads.
pub(super) fn input_grad_kernel(g: &Geometry) -> (&'static Kernel, usize) {
    match g.input.channels {
        1 => (&INPUT_GRAD_ONE, 1),
        2..=FEW => (&INPUT_GRAD_FEW, FEW),
        _ => (&INPUT_GRAD, CHANNELS),
    }
}

/// `gx = wᵀ gy`: the vector-Jacobian product of the affine map.
pub fn input_grad(device: &Device, g: &Geometry, gy: &Buffer, w: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    check(g, lanes, &[gx], w, &[gy])?;
    let (kernel, channels) = input_grad_kernel(g);
    device.run(kernel, &Params::new(g, g.fan_out(), lanes), &[gy, w], &[gx], threads(&g.input, lanes / 8, channels))
}

/// `gw = sum over lanes and positions of gy xᵀ`, packed as the weights.
pub fn weight_grad(device: &Device, g: &Geometry, x: &Buffer, gy: &Buffer, gw: &Buffer, lanes: usize) -> Result<()> {
    check(g, lanes, &[x], gw, &[gy])?;
    // One workgroup per tap and tile of four by four channels.
    let threads = [g.output.channels.div_ceil(4) * 16, g.kernel[0] * g.kernel[1] * 4, g.input.channels.div_ceil(4)];
    device.run(&WEIGHT_GRAD, &Params::new(g, 0, lanes), &[x, gy], &[gw], threads)
}

/// `gb = sum over lanes and positions of gy`.
pub fn bias_grad(device: &Device, g: &Geometry, gy: &Buffer, gb: &Buffer, lanes: usize) -> Result<()> {
    device.run(&BIAS_GRAD, &Params::new(g, 0, lanes), &[gy], &[gb], [g.output.channels * 64, 1, 1])
}
