//! Rectifier: `y = max(x, 0)`, elementwise.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;

/// Elements one CPU task handles.
const CHUNK: usize = 1 << 14;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Values in the buffer, a multiple of 16.
    len: u32,
    /// The radius grows by this share of |centre|: the rounding charge of whoever consumes it.
    inflate: f32,
}

const SOURCE: &str = include_str!("../../shaders/relu.wgsl");

pub static FORWARD: Kernel = Kernel {
    name: "relu_forward",
    source: SOURCE,
    entry: "forward",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 1,
    writes: 1,
    twin: forward_twin,
};

pub static KERNELS: &[&Kernel] = &[&FORWARD];

/// `y = max(x, 0)`.
pub fn forward(device: &Device, x: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params { len: x.len() as u32, inflate: 0.0 };
    device.run(&FORWARD, &params, &[x], &[y], crate::ops::flat(x.len() / 4))
}

#[allow(unused_variables)]
pub fn backward(device: &Device, x: &Buffer, gy: &Buffer, gx: &Buffer) -> Result<()> {
    Err(crate::error::Error::device("relu::backward is not built yet"))
}

#[allow(unused_variables)]
pub fn interval(device: &Device, xc: &Buffer, xr: &Buffer, yc: &Buffer, yr: &Buffer, inflate: f32) -> Result<()> {
    Err(crate::error::Error::device("relu::interval is not built yet"))
}

fn forward_twin(call: Call<'_>) {
    let ([x], [y]) = call.buffers();
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x.max(0.0);
        }
    });
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(1, 0);
    let mut forward = |len: usize| {
        let params = Params { len: len as u32, inflate: 0.0 };
        let threads = crate::ops::flat(len / 4);
        let reads = vec![random(&mut rng, len)];
        Case::new(&FORWARD, format!("{len} values"), &params, reads, vec![blank(len)], threads, Check::Exact)
    };
    vec![forward(16), forward(16 * 65)]
}
