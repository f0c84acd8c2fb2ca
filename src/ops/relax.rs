//! Tables that rows of linear bounds look up, one row of the table per image: linear relaxations of ReLUs, and plain
//! transposes `[element][lane] -> [image][element]`.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::RELAX;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::rounding::{down, up};
use crate::simd::Shared;
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
}

const SOURCE: &str = shader!("relax", "flat", "rounding");

const fn kernel(name: &'static str, entry: &'static str, reads: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel { name, source: SOURCE, entry, workgroup: [16, 16, 1], params: size_of::<Params>(), reads, writes: 1, twin }
}

/// Reads centre, radius, magnitude; writes the relaxation table.
pub static RELU: Kernel = kernel("relax_relu", "relu", 3, relu_twin);
/// Reads `[element][lane]`; writes `[lane][element]`.
pub static TRANSPOSE: Kernel = kernel("relax_transpose", "transpose_lanes", 1, transpose_twin);
/// Reads centre, radius; writes a bound on |value|.
pub static MAGNITUDE: Kernel =
    Kernel { workgroup: [64, 1, 1], ..kernel("relax_magnitude", "magnitude", 2, magnitude_twin) };

pub static KERNELS: &[&Kernel] = &[&RELU, &TRANSPOSE, &MAGNITUDE];

/// The relaxation of `max(z, 0)` for every `z` in `centre ± radius` `[element][lane]`, written as
/// `[lane][element][RELAX]`: upper line `slope z + intercept` through the ends of the interval (any slope is fine
/// because the intercept is rounded up to suit it), lower line `slope z` with the slope 0 or 1 that leaves less area.
/// `magnitude` `[element][lane]` goes to the last word.
pub fn relu(
    device: &Device,
    [centre, radius]: [&Buffer; 2],
    magnitude: &Buffer,
    table: &Buffer,
    lanes: usize,
) -> Result<()> {
    let params = Params { elements: (centre.len() / lanes) as u32, lanes: lanes as u32 };
    device.run(&RELU, &params, &[centre, radius, magnitude], &[table], [lanes, centre.len() / lanes, 1])
}

/// `to[lane][element] = from[element][lane]`.
pub fn transpose(device: &Device, from: &Buffer, to: &Buffer, lanes: usize) -> Result<()> {
    let params = Params { elements: (from.len() / lanes) as u32, lanes: lanes as u32 };
    device.run(&TRANSPOSE, &params, &[from], &[to], [lanes, from.len() / lanes, 1])
}

/// `to >= |z|` for every `z` in `centre ± radius`, same layout.
pub fn magnitude(device: &Device, centre: &Buffer, radius: &Buffer, to: &Buffer) -> Result<()> {
    let params = Params { elements: centre.len() as u32, lanes: 1 };
    device.run(&MAGNITUDE, &params, &[centre, radius], &[to], super::flat(centre.len()))
}

/// Upper slope, upper intercept, lower slope of ReLU over `[lower, upper]`.
#[inline(always)]
pub fn relu_lines(lower: f32, upper: f32) -> [f32; 3] {
    let slope = (upper / (upper - lower)).clamp(0.0, 1.0);
    let intercept = up(-slope * lower).max(up(upper - down(slope * upper)));
    let unstable = [slope, intercept, if upper > -lower { 1.0 } else { 0.0 }];
    // All three are computed and one is chosen, so that loops over lanes have no branches.
    let stable = if upper <= 0.0 { 0.0 } else { 1.0 };
    if (upper <= 0.0) | (lower >= 0.0) { [stable, 0.0, stable] } else { unstable }
}

fn relu_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([centre, radius, magnitude], [table]) = call.buffers();
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    let values = [centre, radius, magnitude].map(|v| &v[..elements * lanes]);
    let tables = Shared(table[..lanes * elements * RELAX].as_mut_ptr());
    let runs = elements.div_ceil(RUN);
    (0..lanes / 16 * runs).into_par_iter().for_each(|task| {
        let from = task % runs * RUN;
        relu_block(values, tables, [elements, lanes], task / runs * 16, from, (from + RUN).min(elements));
    });
}

/// Elements that one task of [`relu_twin`] takes, of sixteen lanes.
const RUN: usize = 256;

vectorise!(fn relu_block = relu_body(
    values: [&[f32]; 3], tables: Shared, sizes: [usize; 2], lane: usize, from: usize, to: usize
));

/// The entries of lanes `lane..lane + 16` for elements `from..to`.
#[inline(always)]
fn relu_body(
    [centre, radius, magnitude]: [&[f32]; 3],
    tables: Shared,
    [elements, lanes]: [usize; 2],
    lane: usize,
    from: usize,
    to: usize,
) {
    for k in from..to {
        let at = k * lanes + lane;
        let (centre, radius, magnitude) = (&centre[at..at + 16], &radius[at..at + 16], &magnitude[at..at + 16]);
        let mut lines = [[0.0; 16]; 3];
        for i in 0..16 {
            let [slope, intercept, below] = relu_lines(down(centre[i] - radius[i]), up(centre[i] + radius[i]));
            lines[0][i] = slope;
            lines[1][i] = intercept;
            lines[2][i] = below;
        }
        for i in 0..16 {
            let entry = [lines[0][i], lines[1][i], lines[2][i], magnitude[i]];
            // SAFETY: entries of other lanes and elements are other tasks'.
            unsafe { tables.get().add(((lane + i) * elements + k) * RELAX).cast::<[f32; RELAX]>().write(entry) };
        }
    }
}

fn transpose_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([from], [to]) = call.buffers();
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    to[..lanes * elements].par_chunks_mut(elements).enumerate().for_each(|(lane, to)| {
        for (k, to) in to.iter_mut().enumerate() {
            *to = from[k * lanes + lane];
        }
    });
}

fn magnitude_twin(call: Call<'_>) {
    let ([centre, radius], [to]) = call.buffers();
    to.par_chunks_mut(1 << 14).zip(centre.par_chunks(1 << 14)).zip(radius.par_chunks(1 << 14)).for_each(
        |((to, centre), radius)| {
            for ((to, c), r) in to.iter_mut().zip(centre).zip(radius) {
                *to = up(c.abs() + r);
            }
        },
    );
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(5, 0);
    let mut cases = Vec::new();
    for (elements, lanes) in [(1, 16), (35, 48)] {
        let n = elements * lanes;
        let label = format!("{elements} elements, {lanes} lanes");
        let centre = random(&mut rng, n);
        let radius: Vec<f32> = random(&mut rng, n).into_iter().map(f32::abs).collect();
        // Slopes and intercepts within a few units in the last place; that they bound is a property of the formula.
        let close = || Check::Value { abs: 1e-6, rel: 1e-6 };
        let both = || vec![centre.clone(), radius.clone()];
        let three = || vec![centre.clone(), radius.clone(), centre.clone()];
        cases.extend([
            Case::new(&RELU, &*label, three(), vec![blank(n * RELAX)], close(), move |device, r, w| {
                relu(device, [&r[0], &r[1]], &r[2], &w[0], lanes)
            }),
            Case::new(&TRANSPOSE, &*label, vec![centre.clone()], vec![blank(n)], Check::Exact, move |device, r, w| {
                transpose(device, &r[0], &w[0], lanes)
            }),
            Case::new(&MAGNITUDE, &*label, both(), vec![blank(n)], close(), |device, r, w| {
                magnitude(device, &r[0], &r[1], &w[0])
            }),
        ]);
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_bound_the_relu() {
        let mut rng = Rng::new(3, 0);
        for _ in 0..10_000 {
            let scale = 10f32.powf(rng.range(-30.0, 10.0));
            let (a, b) = (rng.range(-1.0, 1.0) * scale, rng.range(-1.0, 1.0) * scale);
            let (l, u) = (a.min(b), a.max(b));
            let [s, mu, lower] = relu_lines(l, u).map(f64::from);
            for t in 0..=10 {
                let z = f64::from(l) + (f64::from(u) - f64::from(l)) * f64::from(t) / 10.0;
                let y = z.max(0.0);
                // The end points carry the claim; between them f64 interpolation may stray by its own rounding.
                let slack = 1e-15 * f64::from(scale);
                assert!(lower * z <= y + slack && y <= s * z + mu + slack, "[{l}, {u}] at {z}");
            }
        }
    }
}
