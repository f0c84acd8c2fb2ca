//! Elementwise affine map `y_k = scale_k x_k + shift_k`, the same for every lane.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::{chunk_of, groups_of};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, awkward, blank, random};
use crate::rng::Rng;
use crate::rounding::{Real, TINY, UNIT, inflated, is_subnormal, is_zero, raise, settle, settle_radius, to_f32_up};
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
    /// Relative error of the centre against `|scale| |x| + |shift|`.
    error: f32,
    /// The radius grows by this share of |centre|: the rounding charge of whoever consumes it.
    inflate: f32,
}

impl Params {
    fn new(len: usize, lanes: usize) -> Self {
        Params { elements: (len / lanes) as u32, lanes: lanes as u32, error: 0.0, inflate: 0.0 }
    }

    /// With unit roundoff `u`: one rounding of the product, one of the sum; `more` for those of a runtime.
    fn interval(self, inflate: f32, u: f64, more: f32) -> Self {
        Params { error: to_f32_up(2.001 * u + f64::from(more)), inflate, ..self }
    }
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("scale", "flat", "rounding"), name, entry, [reads, writes], twin)
}

pub static FORWARD: Kernel = row("scale_forward", "forward", 3, 1, forward_twin);
pub static BACKWARD: Kernel = row("scale_backward", "backward", 2, 1, backward_twin);
pub static INTERVAL: Kernel = row("scale_interval", "interval", 4, 2, interval_twin);

pub static KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD, &INTERVAL];

/// `y = scale x + shift`: x and y `[elements][lanes]`, scale and shift `[elements]`.
pub fn forward(device: &Device, x: &Buffer, scale: &Buffer, shift: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    device.run(&FORWARD, &Params::new(y.len(), lanes), &[x, scale, shift], &[y], super::flat(y.len() / 4))
}

/// `gx = scale gy`.
pub fn backward(device: &Device, gy: &Buffer, scale: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    device.run(&BACKWARD, &Params::new(gx.len(), lanes), &[gy, scale], &[gx], super::flat(gx.len() / 4))
}

/// Sound bounds: for every real `x` in `xc ± xr`, `scale x + shift` lies in `yc ± yr`, and `yr` holds a further
/// `inflate * |yc|`. So does what a runtime computes with an error of `error (|scale x| + |shift|)`.
#[allow(clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    xc: &Buffer,
    xr: &Buffer,
    scale: &Buffer,
    shift: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
    error: f32,
) -> Result<()> {
    let params = Params::new(yc.len(), lanes).interval(inflate, UNIT, error);
    device.run(&INTERVAL, &params, &[xc, xr, scale, shift], &[yc, yr], super::flat(yc.len() / 4))
}

fn forward_twin(call: Call<'_>) {
    let lanes = call.params::<Params>().lanes as usize;
    let ([x, scale, shift], [y]) = call.buffers();
    let (values, rows) = (chunk_of(lanes), groups_of(lanes));
    let constants = scale.par_chunks(rows).zip(shift.par_chunks(rows));
    y.par_chunks_mut(values).zip(x.par_chunks(values)).zip(constants).for_each(|((y, x), (scale, shift))| {
        forward_chunk(lanes, [scale, shift], x, y);
    });
}

vectorise!(fn forward_chunk = forward_body(lanes: usize, constants: [&[f32]; 2], x: &[f32], y: &mut [f32]));

#[inline(always)]
fn forward_body(lanes: usize, [scale, shift]: [&[f32]; 2], x: &[f32], y: &mut [f32]) {
    for k in 0..y.len() / lanes {
        let (y, x, scale, shift) = (&mut y[k * lanes..][..lanes], &x[k * lanes..][..lanes], scale[k], shift[k]);
        for i in 0..lanes {
            y[i] = scale * x[i] + shift;
        }
    }
}

fn backward_twin(call: Call<'_>) {
    let lanes = call.params::<Params>().lanes as usize;
    let ([gy, scale], [gx]) = call.buffers();
    let (values, rows) = (chunk_of(lanes), groups_of(lanes));
    let reads = gy.par_chunks(values).zip(scale.par_chunks(rows));
    gx.par_chunks_mut(values).zip(reads).for_each(|(gx, (gy, scale))| {
        for ((gx, gy), &scale) in gx.chunks_exact_mut(lanes).zip(gy.chunks_exact(lanes)).zip(scale) {
            for (gx, gy) in gx.iter_mut().zip(gy) {
                *gx = scale * gy;
            }
        }
    });
}

fn interval_twin(call: Call<'_>) {
    let params: Params = call.params();
    let lanes = params.lanes as usize;
    let ([xc, xr, scale, shift], [yc, yr]) = call.buffers();
    let (values, rows) = (chunk_of(lanes), groups_of(lanes));
    let x = xc.par_chunks(values).zip(xr.par_chunks(values));
    let y = yc.par_chunks_mut(values).zip(yr.par_chunks_mut(values));
    let constants = scale.par_chunks(rows).zip(shift.par_chunks(rows));
    y.zip(x).zip(constants).for_each(|(((yc, yr), (xc, xr)), (scale, shift))| {
        let x = xc.chunks_exact(lanes).zip(xr.chunks_exact(lanes));
        let y = yc.chunks_exact_mut(lanes).zip(yr.chunks_exact_mut(lanes));
        for ((y, x), (&scale, &shift)) in y.zip(x).zip(scale.iter().zip(shift)) {
            interval_row(params, scale, shift, [x.0, x.1], y.0, y.1);
        }
    });
}

vectorise!(fn interval_row = interval_body(
    p: Params, scale: f32, shift: f32, x: [&[f32]; 2], yc: &mut [f32], yr: &mut [f32],
));

#[inline(always)]
fn interval_body(p: Params, scale: f32, shift: f32, [xc, xr]: [&[f32]; 2], yc: &mut [f32], yr: &mut [f32]) {
    let (yr, xc, xr) = (&mut yr[..yc.len()], &xc[..yc.len()], &xr[..yc.len()]);
    for i in 0..yc.len() {
        [yc[i], yr[i]] = interval_of(p, scale, shift, [xc[i], xr[i]]);
    }
}

#[inline(always)]
fn interval_of<T: Real>(p: Params, scale: T, shift: T, [xc, xr]: [T; 2]) -> [T; 2] {
    let (c, r) = (settle(xc), settle_radius(xc, xr));
    let (factor, offset) = (settle(scale), settle(shift));
    // What a flushed factor may miss is below 2^-126 |c|: the error share of 2^-100 |c| covers it.
    let size = if is_zero(scale) { T::of(0.0) } else { factor.abs().max(T::of(TINY)) };
    let centre = settle(factor * c + offset);
    let error = T::of(p.error) * (size * (c.abs() + r) + offset.abs());
    let radius = size * r + error + T::of(p.inflate) * centre.abs();
    let exact = (is_zero(scale) | (is_zero(c) & is_zero(r))) & !is_subnormal(shift);
    // Eight roundings of at most one unit in the last place, and flushed subnormals.
    [centre, if exact { inflated(T::of(0.0), centre, p.inflate) } else { raise(radius, 10) }]
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(3, 0);
    let mut cases = Vec::new();
    for (elements, lanes, values) in
        [(1, 16, random as fn(&mut Rng, usize) -> Vec<f32>), (33, 80, random), (64, 16, awkward)]
    {
        let (len, ordinary) = (elements * lanes, elements != 64);
        let label = if ordinary { format!("{elements} elements, {lanes} lanes") } else { "awkward values".into() };
        let (scale, shift) = (values(&mut rng, elements), values(&mut rng, elements));
        let (x, r) = (values(&mut rng, len), values(&mut rng, len).into_iter().map(f32::abs).collect::<Vec<_>>());
        if ordinary {
            let check = || Check::Value { abs: 2e-7, rel: 2e-7 };
            let reads = vec![x.clone(), scale.clone(), shift.clone()];
            cases.push(Case::new(&FORWARD, &label, reads, vec![blank(len)], check(), move |device, r, w| {
                forward(device, &r[0], &r[1], &r[2], &w[0], lanes)
            }));
            let reads = vec![x.clone(), scale.clone()];
            cases.push(Case::new(&BACKWARD, &label, reads, vec![blank(len)], check(), move |device, r, w| {
                backward(device, &r[0], &r[1], &w[0], lanes)
            }));
        }
        let ends = |i: usize| {
            let (factor, offset) = (f64::from(scale[i / lanes]), f64::from(shift[i / lanes]));
            let (centre, radius) = (factor * f64::from(x[i]) + offset, factor.abs() * f64::from(r[i]));
            [centre - radius, centre + radius]
        };
        let (exact, abs) = ((0..len).map(ends).collect(), if ordinary { 1e-5 } else { f64::INFINITY });
        let (reads, writes) = (vec![x, r, scale, shift], vec![blank(len), blank(len)]);
        let check = Check::Interval { exact, abs, rel: 0.0 };
        cases.push(Case::new(&INTERVAL, label, reads, writes, check, move |device, r, w| {
            interval(device, &r[0], &r[1], &r[2], &r[3], &w[0], &w[1], lanes, 1e-6, 0.0)
        }));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::adversary::{Wild, exact, holds};

    #[test]
    fn interval_holds_under_any_rounding() {
        let mut rng = Rng::new(3, 1);
        let [scale, shift, xc, xr] = std::array::from_fn(|_| awkward(&mut rng, 20_000));
        for i in 0..xc.len() {
            let share = if i % 2 == 0 { 0.0 } else { 1e-5 };
            let p = Params::new(16, 16).interval(share, UNIT, 0.0);
            let (s, b, c, r) = (scale[i], shift[i], xc[i], xr[i].abs());
            if s.abs() > 1e15 && c.abs().max(r) > 1e15 {
                continue; // beyond the range that is checked before a dispatch
            }
            let (centre, radius) = (exact(s) * exact(c) + exact(b), exact(s.abs()) * exact(r));
            let ends = [&centre - &radius, centre + radius];
            // A factor below TINY counts as TINY, and a subnormal input as a radius of 2 TINY.
            let least = TINY * 2f32.powi(20);
            let magnitude = s.abs().max(least) * (c.abs() + r).max(least) + b.abs();
            holds(interval_of(p, Wild(s), Wild(b), [Wild(c), Wild(r)]), ends, share, magnitude);
        }
    }

    #[test]
    fn forward_and_gradient() {
        let device = Device::cpu();
        let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let (scale, shift) = ([2.0f32, -0.5, 0.0, 1.0], [1.0f32, 0.0, 7.0, -3.0]);
        let up = |v: &[f32]| device.upload(v).unwrap();
        let (y, gx) = (device.alloc(64).unwrap(), device.alloc(64).unwrap());
        forward(&device, &up(&x), &up(&scale), &up(&shift), &y, 16).unwrap();
        backward(&device, &up(&x), &up(&scale), &gx, 16).unwrap();
        let (y, gx): (Vec<f32>, Vec<f32>) = (device.read(&y).unwrap(), device.read(&gx).unwrap());
        for i in 0..64 {
            assert_eq!(y[i], scale[i / 16] * x[i] + shift[i / 16]);
            assert_eq!(gx[i], scale[i / 16] * x[i]);
        }
    }
}
