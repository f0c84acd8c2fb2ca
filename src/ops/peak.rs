//! Multiply-adds that never leave the registers: the device's f32 peak, the yardstick of `bench`.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::device::{Buffer, Device};
use crate::dispatch;
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank};
use crate::simd::{Lanes, each};

/// Independent chains per thread, each of four lanes.
pub const CHAINS: usize = 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    rounds: u32,
    factor: f32,
    addend: f32,
}

/// Reads nothing of use; writes one value per lane so that nothing is optimised away.
pub static PEAK: Kernel = Kernel {
    name: "peak_multiply_add",
    source: shader!("peak"),
    entry: "multiply_add",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 0,
    writes: 1,
    twin,
};

pub static KERNELS: &[&Kernel] = &[&PEAK];

/// Runs `rounds` multiply-adds on each of [`CHAINS`] chains for every lane of `out`; returns the operations done (two
/// per multiply-add).
pub fn multiply_add(device: &Device, out: &Buffer, rounds: u32) -> Result<f64> {
    let params = Params { rounds, factor: 0.999, addend: 0.001 };
    device.run(&PEAK, &params, &[], &[out], [out.len() / 4, 1, 1])?;
    Ok(2.0 * f64::from(rounds) * CHAINS as f64 * out.len() as f64)
}

/// A few rounds; the order of the final sum is free.
pub fn cases() -> Vec<Case> {
    let dispatch = |d: &Device, _: &[Buffer], w: &[Buffer]| multiply_add(d, &w[0], 5).map(drop);
    let check = Check::Value { abs: 1e-4, rel: 1e-5 };
    vec![Case::new(&PEAK, "five rounds", vec![], vec![blank(48)], check, dispatch)]
}

fn twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([], [out]) = call.buffers();
    out.par_chunks_mut(16).for_each(|out| chains(out, p.rounds, p.factor, p.addend));
}

dispatch! {
    fn chains = chains_lanes(out: &mut [f32], rounds: u32, factor: f32, addend: f32)
}

#[inline(always)]
unsafe fn chains_lanes<L: Lanes>(out: &mut [f32], rounds: u32, factor: f32, addend: f32) {
    unsafe {
        let (factor, addend) = (L::splat(factor), L::splat(addend));
        let mut chain: [L; CHAINS] = each(|i| L::splat(i as f32));
        for _ in 0..rounds {
            for c in &mut chain {
                *c = addend.mul_acc(*c, factor);
            }
        }
        let mut sum = L::splat(0.0);
        for c in chain {
            sum = sum.add(c);
        }
        let mut spread = [0.0f32; 16];
        sum.store(spread.as_mut_ptr());
        out.copy_from_slice(&spread[..out.len()]);
    }
}
