//! Data movement: `y_k = x_index[k]` for every lane. Serves values, centres, radii and, with the inverse index,
//! gradients.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::chunk_of;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};

/// Index of a value that comes from nowhere.
pub const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
    keep: u32,
}

pub static FORWARD: Kernel = Kernel {
    name: "gather_forward",
    source: include_str!("../../shaders/gather.wgsl"),
    entry: "forward",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 2,
    writes: 1,
    twin: forward_twin,
};

pub static KERNELS: &[&Kernel] = &[&FORWARD];

/// `y[k] = x[index[k]]`: x `[sources][lanes]`, index `[elements]` of u32 below `sources` or [`NOWHERE`], y
/// `[elements][lanes]`. What comes from nowhere is zero, or left as it is with `keep`.
pub fn forward(device: &Device, x: &Buffer, index: &Buffer, y: &Buffer, lanes: usize, keep: bool) -> Result<()> {
    let params = Params { elements: (y.len() / lanes) as u32, lanes: lanes as u32, keep: u32::from(keep) };
    device.run(&FORWARD, &params, &[x, index], &[y], super::flat(y.len() / 4))
}

fn forward_twin(call: Call<'_>) {
    let params: Params = call.params();
    let lanes = params.lanes as usize;
    let ([x, index], [y]) = call.buffers();
    let values = chunk_of(lanes);
    y.par_chunks_mut(values).zip(as_u32(index).par_chunks(values / lanes)).for_each(|(y, index)| {
        for (y, &source) in y.chunks_exact_mut(lanes).zip(index) {
            if source != NOWHERE {
                y.copy_from_slice(&x[source as usize * lanes..][..lanes]);
            } else if params.keep == 0 {
                y.fill(0.0);
            }
        }
    });
}
