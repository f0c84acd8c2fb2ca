//! Data movement: `y_k = x_index[k]` for every lane. Serves values, centres, radii and, with the inverse index,
//! gradients.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::chunk_of;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;

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
    source: shader!("gather", "flat"),
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

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(4, 0);
    let mut case = |sources: usize, elements: usize, lanes: usize, keep: bool| {
        let index: Vec<u32> =
            (0..elements).map(|_| if rng.below(4) == 0 { NOWHERE } else { rng.below(sources) as u32 }).collect();
        let reads = vec![random(&mut rng, sources * lanes), bytemuck::cast_slice(&index).to_vec()];
        let before = if keep { random(&mut rng, elements * lanes) } else { blank(elements * lanes) };
        let label = format!("{elements} of {sources}, {lanes} lanes, keep {keep}");
        Case::new(&FORWARD, label, reads, vec![before], Check::Exact, move |device, r, w| {
            forward(device, &r[0], &r[1], &w[0], lanes, keep)
        })
    };
    vec![case(1, 1, 16, false), case(10, 37, 80, false), case(37, 10, 48, true)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_zeroes_and_keeps() {
        let device = Device::cpu();
        let x: Vec<f32> = (0..48).map(|i| i as f32 + 1.0).collect();
        for (keep, left) in [(false, 0.0), (true, -1.0)] {
            let y = device.upload(&[-1.0f32; 64]).unwrap();
            let index = device.upload(&[2, NOWHERE, 0, 2]).unwrap();
            forward(&device, &device.upload(&x).unwrap(), &index, &y, 16, keep).unwrap();
            let y: Vec<f32> = device.read(&y).unwrap();
            assert_eq!((&y[..16], &y[32..48], &y[48..]), (&x[32..], &x[..16], &x[32..]));
            assert_eq!(y[16..32], [left; 16]);
        }
    }
}
