//! Rectifier: `y = max(x, 0)`, elementwise.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::CHUNK;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, awkward, blank, random};
use crate::rng::Rng;
use crate::rounding::{Real, TINY, inflated, is_zero, raise, settle, settle_radius};
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Values in the buffer, a multiple of 16.
    len: u32,
    /// The radius grows by this share of |centre|: the rounding charge of whoever consumes it.
    inflate: f32,
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("relu", "flat", "rounding"), name, entry, [reads, writes], twin)
}

pub static FORWARD: Kernel = row("relu_forward", "forward", 1, 1, forward_twin);
pub static BACKWARD: Kernel = row("relu_backward", "backward", 2, 1, backward_twin);
pub static INTERVAL: Kernel = row("relu_interval", "interval", 2, 2, interval_twin);

pub static KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD, &INTERVAL];

/// `y = max(x, 0)`.
pub fn forward(device: &Device, x: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params { len: y.len() as u32, inflate: 0.0 };
    device.run(&FORWARD, &params, &[x], &[y], super::flat(y.len() / 4))
}

/// `gx = gy` where `x > 0`, else zero.
pub fn backward(device: &Device, x: &Buffer, gy: &Buffer, gx: &Buffer) -> Result<()> {
    let params = Params { len: gx.len() as u32, inflate: 0.0 };
    device.run(&BACKWARD, &params, &[x, gy], &[gx], super::flat(gx.len() / 4))
}

/// Sound bounds: for every real `x` in `xc ± xr`, `max(x, 0)` lies in `yc ± yr`, and `yr` holds a further
/// `inflate * |yc|`. A stably active value passes unchanged, a stably inactive one becomes exactly zero.
pub fn interval(device: &Device, xc: &Buffer, xr: &Buffer, yc: &Buffer, yr: &Buffer, inflate: f32) -> Result<()> {
    let params = Params { len: yc.len() as u32, inflate };
    device.run(&INTERVAL, &params, &[xc, xr], &[yc, yr], super::flat(yc.len() / 4))
}

fn forward_twin(call: Call<'_>) {
    let ([x], [y]) = call.buffers();
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| forward_chunk(y, x));
}

vectorise!(fn forward_chunk = forward_body(y: &mut [f32], x: &[f32]));

#[inline(always)]
fn forward_body(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x.max(0.0);
    }
}

fn backward_twin(call: Call<'_>) {
    let ([x, gy], [gx]) = call.buffers();
    let reads = x.par_chunks(CHUNK).zip(gy.par_chunks(CHUNK));
    gx.par_chunks_mut(CHUNK).zip(reads).for_each(|(gx, (x, gy))| backward_chunk(gx, x, gy));
}

vectorise!(fn backward_chunk = backward_body(gx: &mut [f32], x: &[f32], gy: &[f32]));

#[inline(always)]
fn backward_body(gx: &mut [f32], x: &[f32], gy: &[f32]) {
    for ((gx, x), gy) in gx.iter_mut().zip(x).zip(gy) {
        *gx = if *x > 0.0 { *gy } else { 0.0 };
    }
}

fn interval_twin(call: Call<'_>) {
    let inflate = call.params::<Params>().inflate;
    let ([xc, xr], [yc, yr]) = call.buffers();
    let reads = xc.par_chunks(CHUNK).zip(xr.par_chunks(CHUNK));
    let writes = yc.par_chunks_mut(CHUNK).zip(yr.par_chunks_mut(CHUNK));
    writes.zip(reads).for_each(|((yc, yr), (xc, xr))| interval_chunk(yc, yr, xc, xr, inflate));
}

vectorise!(fn interval_chunk = interval_body(yc: &mut [f32], yr: &mut [f32], xc: &[f32], xr: &[f32], inflate: f32));

#[inline(always)]
fn interval_body(yc: &mut [f32], yr: &mut [f32], xc: &[f32], xr: &[f32], inflate: f32) {
    let (yr, xc, xr) = (&mut yr[..yc.len()], &xc[..yc.len()], &xr[..yc.len()]);
    for i in 0..yc.len() {
        [yc[i], yr[i]] = interval_of(xc[i], xr[i], inflate);
    }
}

#[inline(always)]
fn interval_of<T: Real>(xc: T, xr: T, inflate: f32) -> [T; 2] {
    let (c, r) = (settle(xc), settle_radius(xc, xr));
    let (lo, hi) = (c - r, c + r);
    let point = is_zero(r);
    // Where `lower(lo, 1) > 0`, and `raise(hi, 1) <= 0`.
    let stable = (lo.get() >= TINY) | (point & (c.get() > 0.0));
    let dead = (hi.get() <= -TINY) | (point & (c.get() <= 0.0));
    // Halving is exact, so an unstable interval is [0, hi] to the bit.
    let half = T::of(0.5) * raise(hi, 1);
    let zero = T::of(0.0);
    let centre = if dead { zero } else { if stable { c } else { half } };
    let radius = if dead { zero } else { if stable { r } else { half } };
    [centre, inflated(radius, centre, inflate)]
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(1, 0);
    let mut cases = Vec::new();
    for len in [16, 16 * 65] {
        let label = format!("{len} values");
        let (x, gy, writes) = (random(&mut rng, len), random(&mut rng, len), vec![blank(len)]);
        cases.push(Case::new(&FORWARD, &label, vec![x.clone()], writes.clone(), Check::Exact, |device, r, w| {
            forward(device, &r[0], &w[0])
        }));
        cases.push(Case::new(&BACKWARD, &label, vec![x, gy], writes, Check::Exact, |device, r, w| {
            backward(device, &r[0], &r[1], &w[0])
        }));
        cases.push(bounds(&label, random(&mut rng, len), random(&mut rng, len), 0.0, 1e-6));
        cases.push(bounds("awkward values", awkward(&mut rng, len), awkward(&mut rng, len), 1e-5, f64::INFINITY));
    }
    cases
}

fn bounds(label: &str, c: Vec<f32>, r: Vec<f32>, inflate: f32, abs: f64) -> Case {
    let r: Vec<f32> = r.into_iter().map(f32::abs).collect();
    let check = Check::Interval { exact: exact(&c, &r), abs, rel: 0.0 };
    let writes = vec![blank(c.len()), blank(c.len())];
    Case::new(&INTERVAL, label, vec![c, r], writes, check, move |device, r, w| {
        interval(device, &r[0], &r[1], &w[0], &w[1], inflate)
    })
}

fn exact(c: &[f32], r: &[f32]) -> Vec<[f64; 2]> {
    let ends = |(&c, &r): (&f32, &f32)| [-1.0, 1.0].map(|side| (f64::from(c) + side * f64::from(r)).max(0.0));
    c.iter().zip(r).map(ends).collect()
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;

    use super::*;
    use crate::ops::adversary::{Wild, exact, holds};

    #[test]
    fn interval_holds_under_any_rounding() {
        let mut rng = Rng::new(1, 1);
        let (c, r) = (awkward(&mut rng, 20_000), awkward(&mut rng, 20_000));
        for (i, (&c, &r)) in c.iter().zip(&r).enumerate() {
            // A quarter of the intervals ends next to zero.
            let r = if i % 4 == 0 { f32::from_bits(c.abs().to_bits() + rng.below(2) as u32) } else { r.abs() };
            let share = if i % 2 == 0 { 0.0 } else { 1e-5 };
            let zero = BigRational::default();
            let ends = [(exact(c) - exact(r)).max(zero.clone()), (exact(c) + exact(r)).max(zero)];
            holds(interval_of(Wild(c), Wild(r), share), ends, share, c.abs() + r);
        }
    }

    #[test]
    fn dead_values_are_exactly_zero_and_stable_ones_unchanged() {
        assert_eq!(interval_of(-2.0f32, 1.5, 0.1), [0.0, 0.0]);
        assert_eq!(interval_of(0.0f32, 0.0, 0.1), [0.0, 0.0]);
        assert_eq!(interval_of(2.0f32, 1.5, 0.0), [2.0, 1.5]);
        assert_eq!(interval_of(-1.0f32, 3.0, 0.0), [1.0f32.next_up(), 1.0f32.next_up()]);
    }

    #[test]
    fn gradient_is_the_slope() {
        let device = Device::cpu();
        let x: Vec<f32> = (0..32).map(|i| (i as f32 - 15.5) / 4.0).collect();
        let run = |x: &[f32]| -> Vec<f32> {
            let (x, y) = (device.upload(x).unwrap(), device.alloc(x.len()).unwrap());
            forward(&device, &x, &y).unwrap();
            device.read(&y).unwrap()
        };
        let gx = device.alloc(32).unwrap();
        backward(&device, &device.upload(&x).unwrap(), &device.upload(&[2.0f32; 32]).unwrap(), &gx).unwrap();
        let shifted = |h: f32| run(&x.iter().map(|x| x + h).collect::<Vec<_>>());
        let slopes = shifted(1.0 / 32.0).into_iter().zip(shifted(-1.0 / 32.0)).map(|(a, b)| (a - b) * 32.0);
        assert_eq!(device.read::<f32>(&gx).unwrap(), slopes.collect::<Vec<_>>());
    }
}
