//! Rectifier: `y = max(x, 0)`, elementwise.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::CHUNK;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::rounding::{Real, inflated, is_zero, lower, raise, settle, settle_radius};
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Values in the buffer, a multiple of 16.
    len: u32,
    /// The radius grows by this share of |centre|: the rounding charge of whoever consumes it.
    inflate: f32,
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel {
        name,
        source: concat!(include_str!("../../shaders/relu.wgsl"), include_str!("../../shaders/lib/rounding.wgsl")),
        entry,
        workgroup: [64, 1, 1],
        params: size_of::<Params>(),
        reads,
        writes,
        twin,
    }
}

pub static FORWARD: Kernel = row("relu_forward", "forward", 1, 1, forward_twin);
pub static BACKWARD: Kernel = row("relu_backward", "backward", 2, 1, backward_twin);
pub static INTERVAL: Kernel = row("relu_interval", "interval", 2, 2, interval_twin);

pub static KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD, &INTERVAL];

/// `y = max(x, 0)`.
pub fn forward(device: &Device, x: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params { len: y.len() as u32, inflate: 0.0 };
    device.run(&FORWARD, &params, &[x], &[y], super::flat(y.len() / 4))
}

/// `gx = gy` where `x > 0`, else zero.
pub fn backward(device: &Device, x: &Buffer, gy: &Buffer, gx: &Buffer) -> Result<()> {
    let params = Params { len: gx.len() as u32, inflate: 0.0 };
    device.run(&BACKWARD, &params, &[x, gy], &[gx], super::flat(gx.len() / 4))
}

/// Sound bounds: for every real `x` in `xc ± xr`, `max(x, 0)` lies in `yc ± yr`, and `yr` holds a further
/// `inflate * |yc|`. A stably active value passes unchanged, a stably inactive one becomes exactly zero.
pub fn interval(device: &Device, xc: &Buffer, xr: &Buffer, yc: &Buffer, yr: &Buffer, inflate: f32) -> Result<()> {
    let params = Params { len: yc.len() as u32, inflate };
    device.run(&INTERVAL, &params, &[xc, xr], &[yc, yr], super::flat(yc.len() / 4))
}

fn forward_twin(call: Call<'_>) {
    let ([x], [y]) = call.buffers();
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| forward_chunk(y, x));
}

vectorise!(fn forward_chunk = forward_body(y: &mut [f32], x: &[f32]));

#[inline(always)]
fn forward_body(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x.max(0.0);
    }
}

fn backward_twin(call: Call<'_>) {
    let ([x, gy], [gx]) = call.buffers();
    let reads = x.par_chunks(CHUNK).zip(gy.par_chunks(CHUNK));
    gx.par_chunks_mut(CHUNK).zip(reads).for_each(|(gx, (x, gy))| backward_chunk(gx, x, gy));
}

vectorise!(fn backward_chunk = backward_body(gx: &mut [f32], x: &[f32], gy: &[f32]));

#[inline(always)]
fn backward_body(gx: &mut [f32], x: &[f32], gy: &[f32]) {
    for ((gx, x), gy) in gx.iter_mut().zip(x).zip(gy) {
        *gx = if *x > 0.0 { *gy } else { 0.0 };
    }
}

fn interval_twin(call: Call<'_>) {
    let inflate = call.params::<Params>().inflate;
    let ([xc, xr], [yc, yr]) = call.buffers();
    let reads = xc.par_chunks(CHUNK).zip(xr.par_chunks(CHUNK));
    let writes = yc.par_chunks_mut(CHUNK).zip(yr.par_chunks_mut(CHUNK));
    writes.zip(reads).for_each(|((yc, yr), (xc, xr))| interval_chunk(yc, yr, xc, xr, inflate));
}

vectorise!(fn interval_chunk = interval_body(yc: &mut [f32], yr: &mut [f32], xc: &[f32], xr: &[f32], inflate: f32));

#[inline(always)]
fn interval_body(yc: &mut [f32], yr: &mut [f32], xc: &[f32], xr: &[f32], inflate: f32) {
    for ((yc, yr), (xc, xr)) in yc.iter_mut().zip(yr).zip(xc.iter().zip(xr)) {
        [*yc, *yr] = interval_of(*xc, *xr, inflate);
    }
}

#[inline(always)]
fn interval_of<T: Real>(xc: T, xr: T, inflate: f32) -> [T; 2] {
    let (c, r) = (settle(xc), settle_radius(xc, xr));
    let (lo, hi) = (lower(c - r, 1), raise(c + r, 1));
    let point = is_zero(r);
    let stable = (lo.get() > 0.0) | (point & (c.get() > 0.0));
    let dead = (hi.get() <= 0.0) | (point & (c.get() <= 0.0));
    // Halving is exact, so an unstable interval is [0, hi] to the bit.
    let half = T::of(0.5) * hi;
    let zero = T::of(0.0);
    let centre = if dead { zero } else { if stable { c } else { half } };
    let radius = if dead { zero } else { if stable { r } else { half } };
    [centre, inflated(radius, centre, inflate)]
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(1, 0);
    let mut forward = |len: usize| {
        let reads = vec![random(&mut rng, len)];
        Case::new(&FORWARD, format!("{len} values"), reads, vec![blank(len)], Check::Exact, |device, r, w| {
            self::forward(device, &r[0], &w[0])
        })
    };
    vec![forward(16), forward(16 * 65)]
}
