//! Sum of two values of equal shape (residual connections), and accumulation of gradients.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::CHUNK;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::rounding::{Real, inflated, is_zero, raise, settle, settle_radius, to_f32_up};
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Values in the buffer, a multiple of 16.
    len: u32,
    /// Share of |centre|: rounding of the centre plus the charge of its consumer.
    inflate: f32,
    /// The charge of the consumer alone.
    consumer: f32,
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel {
        name,
        source: concat!(include_str!("../../shaders/add.wgsl"), include_str!("../../shaders/lib/rounding.wgsl")),
        entry,
        workgroup: [64, 1, 1],
        params: size_of::<Params>(),
        reads,
        writes,
        twin,
    }
}

pub static FORWARD: Kernel = row("add_forward", "forward", 2, 1, forward_twin);
pub static ACCUMULATE: Kernel = row("add_accumulate", "accumulate", 1, 1, accumulate_twin);
pub static INTERVAL: Kernel = row("add_interval", "interval", 4, 2, interval_twin);

pub static KERNELS: &[&Kernel] = &[&FORWARD, &ACCUMULATE, &INTERVAL];

/// `y = a + b`.
pub fn forward(device: &Device, a: &Buffer, b: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params { len: y.len() as u32, inflate: 0.0, consumer: 0.0 };
    device.run(&FORWARD, &params, &[a, b], &[y], super::flat(y.len() / 4))
}

/// `y += x`.
pub fn accumulate(device: &Device, x: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params { len: y.len() as u32, inflate: 0.0, consumer: 0.0 };
    device.run(&ACCUMULATE, &params, &[x], &[y], super::flat(y.len() / 4))
}

/// Sound bounds: for all reals `a` in `ac ± ar` and `b` in `bc ± br`, `a + b` lies in `yc ± yr`, and `yr` holds a
/// further `inflate * |yc|`.
#[allow(clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    ac: &Buffer,
    ar: &Buffer,
    bc: &Buffer,
    br: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    inflate: f32,
) -> Result<()> {
    // The centre errs by at most u times the exact sum, so by a little over u times itself.
    let total = to_f32_up(f64::from(inflate) + 1.001 * device.unit_roundoff());
    let params = Params { len: yc.len() as u32, inflate: total, consumer: inflate };
    device.run(&INTERVAL, &params, &[ac, ar, bc, br], &[yc, yr], super::flat(yc.len() / 4))
}

fn forward_twin(call: Call<'_>) {
    let ([a, b], [y]) = call.buffers();
    let reads = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(reads).for_each(|(y, (a, b))| {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    });
}

fn accumulate_twin(call: Call<'_>) {
    let ([x], [y]) = call.buffers();
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    });
}

fn interval_twin(call: Call<'_>) {
    let params: Params = call.params();
    let ([ac, ar, bc, br], [yc, yr]) = call.buffers();
    let a = ac.par_chunks(CHUNK).zip(ar.par_chunks(CHUNK));
    let b = bc.par_chunks(CHUNK).zip(br.par_chunks(CHUNK));
    let y = yc.par_chunks_mut(CHUNK).zip(yr.par_chunks_mut(CHUNK));
    y.zip(a.zip(b)).for_each(|((yc, yr), (a, b))| interval_chunk(params, [a.0, a.1], [b.0, b.1], yc, yr));
}

vectorise!(fn interval_chunk = interval_body(p: Params, a: [&[f32]; 2], b: [&[f32]; 2], yc: &mut [f32], yr: &mut [f32]));

#[inline(always)]
fn interval_body(p: Params, [ac, ar]: [&[f32]; 2], [bc, br]: [&[f32]; 2], yc: &mut [f32], yr: &mut [f32]) {
    let reads = ac.iter().zip(ar).zip(bc.iter().zip(br));
    for ((yc, yr), ((ac, ar), (bc, br))) in yc.iter_mut().zip(yr).zip(reads) {
        [*yc, *yr] = interval_of(p, [*ac, *ar], [*bc, *br]);
    }
}

#[inline(always)]
fn interval_of<T: Real>(p: Params, [ac, ar]: [T; 2], [bc, br]: [T; 2]) -> [T; 2] {
    let (ca, ra) = (settle(ac), settle_radius(ac, ar));
    let (cb, rb) = (settle(bc), settle_radius(bc, br));
    let centre = settle(ca + cb);
    // Four roundings of at most one unit in the last place, and flushed subnormals.
    let radius = raise(ra + rb + T::of(p.inflate) * centre.abs(), 6);
    let exact = is_zero(ra) & is_zero(rb) & (is_zero(ca) | is_zero(cb));
    [centre, if exact { inflated(T::of(0.0), centre, p.consumer) } else { radius }]
}
