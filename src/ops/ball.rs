//! The box around an image: `[x - delta, x + delta]` clipped to `[0,1]`, as centre and radius; and where a ball has room.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank};
use crate::rng::Rng;
use crate::rounding::{raise, up};
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
    /// The radius grows by this share of |centre|.
    inflate: f32,
    /// Always zero, which the shader cannot know.
    zero: u32,
}

/// Reads x `[element][lane]`, delta `[lane]`; writes centre, radius.
pub static BALL: Kernel = Kernel {
    name: "ball_clip",
    source: shader!("ball", "flat", "opaque", "rounding"),
    entry: "clip",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 2,
    writes: 2,
    twin,
};

/// Reads x; writes axes.
pub static AXES: Kernel = Kernel { name: "ball_axes", entry: "axes_at", reads: 1, writes: 1, twin: axes_twin, ..BALL };

pub static KERNELS: &[&Kernel] = &[&BALL, &AXES];

/// Every real `x'` in `[0,1]` with `|x' - x| <= delta[lane]` lies in `centre ± radius`; the radius is inflated by
/// `inflate * |centre|` for the consumer's rounding. `x` must lie in `[0,1]`.
pub fn clip(
    device: &Device,
    x: &Buffer,
    delta: &Buffer,
    [centre, radius]: [&Buffer; 2],
    lanes: usize,
    inflate: f32,
) -> Result<()> {
    let params = Params { elements: (x.len() / lanes) as u32, lanes: lanes as u32, inflate, zero: 0 };
    device.run(&BALL, &params, &[x, delta], &[centre, radius], super::flat(x.len() / 4))
}

/// For each value of `x` in `[0,1]` a pair: 1, or 0 where it goes no further towards zero, and the same towards one.
pub fn axes(device: &Device, x: &Buffer, axes: &Buffer) -> Result<()> {
    let params = Params { elements: x.len() as u32, lanes: 0, inflate: 0.0, zero: 0 };
    device.run(&AXES, &params, &[x], &[axes], super::flat(x.len()))
}

fn axes_twin(call: Call<'_>) {
    let ([x], [axes]) = call.buffers();
    for (x, axes) in x.iter().zip(axes.chunks_exact_mut(2)) {
        axes.copy_from_slice(&[f32::from(*x > 0.0), f32::from(*x < 1.0)]);
    }
}

/// Centre and radius of the clipped interval around one pixel. Sums are of distances from the pixel, so that a small
/// ball is not blurred by the rounding of a pixel near one.
#[inline(always)]
pub fn around(x: f32, delta: f32) -> (f32, f32) {
    // From one half on the room above is exact.
    let above = if x < 0.5 { up(1.0 - x) } else { 1.0 - x };
    let (fall, rise) = (x.min(delta), above.min(delta));
    let centre = x + 0.5 * (rise - fall);
    let shift = centre - x;
    // Two roundings of up to two units in the last place each.
    (centre, raise((fall + shift).max(rise - shift), 5))
}

fn twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([x, delta], [centre, radius]) = call.buffers();
    let lanes = p.lanes as usize;
    let chunk = lanes * 64;
    centre.par_chunks_mut(chunk).zip(radius.par_chunks_mut(chunk)).zip(x.par_chunks(chunk)).for_each(
        |((centre, radius), x)| {
            clip_chunk(p, x, delta, centre, radius);
        },
    );
}

vectorise!(fn clip_chunk = clip_body(p: Params, x: &[f32], delta: &[f32], centre: &mut [f32], radius: &mut [f32]));

#[inline(always)]
fn clip_body(p: Params, x: &[f32], delta: &[f32], centre: &mut [f32], radius: &mut [f32]) {
    let (lanes, rows) = (p.lanes as usize, x.len() / p.lanes as usize);
    let delta = &delta[..lanes];
    for row in 0..rows {
        let at = row * lanes..(row + 1) * lanes;
        let (x, centre, radius) = (&x[at.clone()], &mut centre[at.clone()], &mut radius[at]);
        for lane in 0..lanes {
            let (c, r) = around(x[lane], delta[lane]);
            centre[lane] = c;
            radius[lane] = raise(r + p.inflate * c.abs(), 3);
        }
    }
}

/// Test cases of this kernel.
pub fn cases() -> Vec<Case> {
    let (mut rng, lanes, elements) = (Rng::new(4, 0), 48, 33);
    let n = elements * lanes;
    // Black and white pixels are clipped; a delta of zero and one beyond every pixel are among the balls.
    let x: Vec<f32> = (0..n).map(|_| [0.0, 1.0, rng.uniform(), rng.uniform()][rng.below(4)]).collect();
    let delta: Vec<f32> = (0..lanes).map(|lane| [0.0, 2.0, 0.1 * rng.uniform()][lane.min(2)]).collect();
    let range = |i: usize| {
        let (x, d) = (f64::from(x[i]), f64::from(delta[i % lanes]));
        [(x - d).max(0.0), (x + d).min(1.0)]
    };
    let check = Check::Interval { exact: (0..n).map(range).collect(), abs: 1e-6, rel: 1e-5 };
    let dispatch = move |d: &Device, r: &[Buffer], w: &[Buffer]| clip(d, &r[0], &r[1], [&w[0], &w[1]], lanes, 0.0);
    let reads = vec![x.clone(), delta];
    vec![
        Case::new(&BALL, "clipped and empty balls", reads, vec![blank(n), blank(n)], check, dispatch),
        Case::new(&AXES, "pixels at their ends", vec![x], vec![blank(2 * n)], Check::Exact, |d, r, w| {
            axes(d, &r[0], &w[0])
        }),
    ]
}
