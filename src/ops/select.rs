//! Linear bounds through max pooling: from below by the input of each window with the largest lower bound, from above
//! by the same input where it exceeds all others, else by the largest upper bound (Boopathy et al., "CNN-Cert", 2019,
//! with constant upper lines).
//!
//! A window's entry in the table is a relaxation like a ReLU's of the input it picks, so that `linear::relu` applies
//! the lines; [`route`] then hands each coefficient to the picked input.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::{RELAX, Rows};
use super::pool::Geometry;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::rounding::{down, up};
use crate::tensor::Shape;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    channels: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    lanes: u32,
}

impl Params {
    fn new(g: &Geometry, lanes: usize) -> Self {
        Params {
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

    /// Taps of output row or column `out` that lie inside the input: (tap, position).
    fn taps(out: usize, kernel: u32, stride: u32, pad: u32, size: u32) -> impl Iterator<Item = (usize, usize)> {
        (0..kernel as usize).filter_map(move |k| {
            let at = (out * stride as usize + k).checked_sub(pad as usize)?;
            (at < size as usize).then_some((k, at))
        })
    }
}

const fn row(name: &'static str, entry: &'static str, twin: fn(Call<'_>)) -> Kernel {
    Kernel {
        name,
        source: concat!(include_str!("../../shaders/select.wgsl"), include_str!("../../shaders/lib/rounding.wgsl")),
        entry,
        workgroup: [64, 1, 1],
        params: size_of::<Params>(),
        reads: 2,
        writes: 1,
        twin,
    }
}

/// Reads centre, radius; writes the relaxation table.
pub static RELAX_MAX: Kernel = row("select_relax", "relax", relax_twin);
/// Reads coefficients, table, rows; writes coefficients.
pub static ROUTE: Kernel = Kernel { reads: 3, ..row("select_route", "route", route_twin) };

pub static KERNELS: &[&Kernel] = &[&RELAX_MAX, &ROUTE];

/// The relaxation of each window's maximum over `centre ± radius` `[input][lane]`, written as `[lane][output][RELAX]`:
/// upper slope, upper intercept, lower slope, and which tap of the window is picked.
pub fn relax(
    device: &Device,
    g: &Geometry,
    [centre, radius]: [&Buffer; 2],
    table: &Buffer,
    lanes: usize,
) -> Result<()> {
    let threads = super::flat(g.output.len() * lanes);
    device.run(&RELAX_MAX, &Params::new(g, lanes), &[centre, radius], &[table], threads)
}

/// Sums into every input the coefficients `a` `[output][row]` of the windows that pick it, by the entries of each row's
/// image: `to` `[input][row]`.
pub fn route(device: &Device, g: &Geometry, a: &Buffer, table: &Buffer, rows: &Rows, to: &Buffer) -> Result<()> {
    let threads = super::flat(g.input.len() * rows.lanes);
    device.run(&ROUTE, &Params::new(g, rows.lanes), &[a, table, &rows.buffer], &[to], threads)
}

/// Most coefficients that [`route`] adds up.
pub fn overlap(g: &Geometry) -> usize {
    g.kernel[0].div_ceil(g.stride[0]) * g.kernel[1].div_ceil(g.stride[1])
}

fn relax_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([centre, radius], [table]) = call.buffers();
    let (lanes, ih, iw) = (p.lanes as usize, p.in_height as usize, p.in_width as usize);
    let (oh, ow) = (p.out_height as usize, p.out_width as usize);
    let elements = p.channels as usize * oh * ow;
    table[..lanes * elements * RELAX].par_chunks_mut(elements * RELAX).enumerate().for_each(|(lane, table)| {
        for (o, entry) in table.chunks_mut(RELAX).enumerate() {
            let (c, oy, ox) = (o / (oh * ow), o / ow % oh, o % ow);
            let (mut best, mut tap) = (f32::MIN, 0);
            // The largest upper bound, and the second largest or as large.
            let (mut first, mut second, mut first_tap) = (f32::MIN, f32::MIN, 0);
            for (ky, y) in Params::taps(oy, p.kernel_height, p.stride_y, p.pad_y, p.in_height) {
                for (kx, x) in Params::taps(ox, p.kernel_width, p.stride_x, p.pad_x, p.in_width) {
                    let i = ((c * ih + y) * iw + x) * lanes + lane;
                    let (low, high) = (down(centre[i] - radius[i]), up(centre[i] + radius[i]));
                    let k = ky * p.kernel_width as usize + kx;
                    if low > best {
                        (best, tap) = (low, k);
                    }
                    if high > first {
                        (second, first, first_tap) = (first, high, k);
                    } else {
                        second = second.max(high);
                    }
                }
            }
            let others = if tap == first_tap { second } else { first };
            let dominates = best >= others;
            entry[0] = f32::from(dominates);
            entry[1] = if dominates { 0.0 } else { first };
            entry[2] = 1.0;
            entry[3] = tap as f32;
        }
    });
}

fn route_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, table, rows], [to]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    let (ih, iw) = (p.in_height as usize, p.in_width as usize);
    let (oh, ow) = (p.out_height as usize, p.out_width as usize);
    let elements = p.channels as usize * oh * ow;
    // Windows over input row or column `i`: (window, tap).
    let covering = |i: usize, kernel: u32, stride: u32, pad: u32, count: usize| {
        let at = i + pad as usize;
        let first = (at + 1).saturating_sub(kernel as usize).div_ceil(stride as usize);
        (first..(at / stride as usize + 1).min(count)).map(move |o| (o, at - o * stride as usize))
    };
    to[..p.channels as usize * ih * iw * lanes].par_chunks_mut(lanes).enumerate().for_each(|(i, to)| {
        let (c, y, x) = (i / (ih * iw), i / iw % ih, i % iw);
        to.fill(0.0);
        for (oy, ky) in covering(y, p.kernel_height, p.stride_y, p.pad_y, oh) {
            for (ox, kx) in covering(x, p.kernel_width, p.stride_x, p.pad_x, ow) {
                let o = (c * oh + oy) * ow + ox;
                let tap = (ky * p.kernel_width as usize + kx) as f32;
                for (lane, to) in to.iter_mut().enumerate() {
                    if table[(rows[lane] as usize * elements + o) * RELAX + 3] == tap {
                        *to += a[o * lanes + lane];
                    }
                }
            }
        }
    });
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(12, 0);
    let plain = Geometry {
        input: Shape::new(2, 6, 8),
        output: Shape::new(2, 3, 4),
        kernel: [2, 2],
        stride: [2, 2],
        pad: [0, 0],
        count_include_pad: false,
    };
    let overlapping =
        Geometry { input: Shape::new(3, 7, 5), output: Shape::new(3, 4, 3), kernel: [3, 3], pad: [1, 1], ..plain };
    let mut cases = Vec::new();
    for (label, g, lanes) in [("disjoint windows", plain, 16), ("overlapping windows, padding", overlapping, 48)] {
        let n = g.output.len();
        let centre = random(&mut rng, g.input.len() * lanes);
        let radius: Vec<f32> = random(&mut rng, g.input.len() * lanes).into_iter().map(|r| 0.5 * r.abs()).collect();
        let reads = vec![centre, radius];
        let close = || Check::Value { abs: 1e-6, rel: 1e-6 };
        cases.push(Case::new(&RELAX_MAX, label, reads, vec![blank(n * lanes * RELAX)], close(), move |d, r, w| {
            relax(d, &g, [&r[0], &r[1]], &w[0], lanes)
        }));
        // Taps that hang over the border route nowhere.
        let table: Vec<f32> = (0..lanes * n * RELAX).map(|_| rng.below(g.kernel[0] * g.kernel[1]) as f32).collect();
        let images: Vec<u32> = (0..2 * lanes).map(|i| (i % 3) as u32).collect();
        let reads = vec![random(&mut rng, n * lanes), table, bytemuck::cast_slice(&images).to_vec()];
        cases.push(Case::new(&ROUTE, label, reads, vec![blank(g.input.len() * lanes)], close(), move |d, r, w| {
            let rows = Rows { count: lanes, lanes, buffer: d.upload(&d.read::<u32>(&r[2])?)? };
            route(d, &g, &r[0], &r[1], &rows, &w[0])
        }));
    }
    cases
}
