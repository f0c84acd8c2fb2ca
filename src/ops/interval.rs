//! What training through interval bounds needs beside the kernels of the layers: both ends of intervals, and weights by
//! their size and sign, which is what a radius sees of them. Nothing here is rounded outward: no proof rests on it.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::CHUNK;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    len: u32,
    share: f32,
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("interval", "flat"), name, entry, [reads, writes], twin)
}

pub static ENDS: Kernel = row("interval_ends", "ends", 2, 2, ends_twin);
pub static ABSOLUTE: Kernel = row("interval_absolute", "absolute", 1, 1, absolute_twin);
pub static TAKE_SIGNS: Kernel = row("interval_take_signs", "take_signs", 2, 1, take_signs_twin);

pub static KERNELS: &[&Kernel] = &[&ENDS, &ABSOLUTE, &TAKE_SIGNS];

/// `low = share (a - b)`, `high = share (a + b)`, `[element][lane]`: the ends of `a ± b` with a share of 1, and gradients
/// by the ends out of those by centre and radius with a half; the same step leads back.
pub fn ends(device: &Device, [a, b]: [&Buffer; 2], [low, high]: [&Buffer; 2], share: f32) -> Result<()> {
    let params = Params { len: low.len() as u32, share };
    device.run(&ENDS, &params, &[a, b], &[low, high], super::flat(low.len() / 4))
}

/// `size = |w|`, of any length.
pub fn absolute(device: &Device, w: &Buffer, size: &Buffer) -> Result<()> {
    let params = Params { len: w.len() as u32, share: 0.0 };
    device.run(&ABSOLUTE, &params, &[w], &[size], super::flat(w.len()))
}

/// `sum += sign(w) g`, as long as w: the gradient by `|w|`, taken as one by `w`.
pub fn take_signs(device: &Device, w: &Buffer, g: &Buffer, sum: &Buffer) -> Result<()> {
    let params = Params { len: w.len() as u32, share: 0.0 };
    device.run(&TAKE_SIGNS, &params, &[w, g], &[sum], super::flat(w.len()))
}

fn ends_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, b], [low, high]) = call.buffers();
    let reads = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    low.par_chunks_mut(CHUNK).zip(high.par_chunks_mut(CHUNK)).zip(reads).for_each(|((low, high), (a, b))| {
        for ((low, high), (a, b)) in low.iter_mut().zip(high).zip(a.iter().zip(b)) {
            *low = p.share * (a - b);
            *high = p.share * (a + b);
        }
    });
}

fn absolute_twin(call: Call<'_>) {
    let ([w], [size]) = call.buffers();
    size.iter_mut().zip(w).for_each(|(size, w)| *size = w.abs());
}

/// As WGSL has it: 0 at 0.
pub(super) fn sign(w: f32) -> f32 {
    f32::from(w > 0.0) - f32::from(w < 0.0)
}

fn take_signs_twin(call: Call<'_>) {
    let ([w, g], [sum]) = call.buffers();
    sum.iter_mut().zip(w.iter().zip(g)).for_each(|(sum, (w, g))| *sum += sign(*w) * g);
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(31, 0);
    let near = || Check::Value { abs: 1e-6, rel: 1e-6 };
    let mut cases = Vec::new();
    for (len, share) in [(16, 1.0), (16 * 67, 0.5)] {
        let reads = vec![random(&mut rng, len), random(&mut rng, len)];
        let writes = vec![blank(len), blank(len)];
        let label = format!("{len} values, share {share}");
        cases.push(Case::new(&ENDS, label, reads, writes, near(), move |d, r, w| {
            ends(d, [&r[0], &r[1]], [&w[0], &w[1]], share)
        }));
    }
    for len in [1, 75] {
        let [w, g, sum] = std::array::from_fn(|_| random(&mut rng, len));
        let label = format!("{len} weights");
        cases.push(Case::new(&ABSOLUTE, &label, vec![w.clone()], vec![blank(len)], Check::Exact, |d, r, w| {
            absolute(d, &r[0], &w[0])
        }));
        cases.push(Case::new(&TAKE_SIGNS, label, vec![w, g], vec![sum], near(), |d, r, w| {
            take_signs(d, &r[0], &r[1], &w[0])
        }));
    }
    cases
}
