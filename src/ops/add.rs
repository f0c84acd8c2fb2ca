//! Sum of two values of equal shape (residual connections), and accumulation of gradients.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::CHUNK;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, awkward, blank, random};
use crate::rng::Rng;
use crate::rounding::{Real, UNIT, inflated, is_zero, raise, settle, settle_radius, to_f32_up};
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Values in the buffer, a multiple of 16.
    len: u32,
    /// Share of |centre|: rounding of the centre plus the charge of its consumer.
    inflate: f32,
    /// The charge of the consumer alone.
    consumer: f32,
}

impl Params {
    /// With unit roundoff `u` the centre errs by at most u times the exact sum, so by a little over u times itself.
    fn new(len: usize, inflate: f32, u: f64) -> Self {
        Params { len: len as u32, inflate: to_f32_up(f64::from(inflate) + 1.001 * u), consumer: inflate }
    }
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("add", "flat", "rounding"), name, entry, [reads, writes], twin)
}

pub static FORWARD: Kernel = row("add_forward", "forward", 2, 1, forward_twin);
pub static ACCUMULATE: Kernel = row("add_accumulate", "accumulate", 1, 1, accumulate_twin);
pub static INTERVAL: Kernel = row("add_interval", "interval", 4, 2, interval_twin);

pub static KERNELS: &[&Kernel] = &[&FORWARD, &ACCUMULATE, &INTERVAL];

/// `y = a + b`.
pub fn forward(device: &Device, a: &Buffer, b: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params::new(y.len(), 0.0, UNIT);
    device.run(&FORWARD, &params, &[a, b], &[y], super::flat(y.len() / 4))
}

/// `y += x`.
pub fn accumulate(device: &Device, x: &Buffer, y: &Buffer) -> Result<()> {
    let params = Params::new(y.len(), 0.0, UNIT);
    device.run(&ACCUMULATE, &params, &[x], &[y], super::flat(y.len() / 4))
}

/// Sound bounds: for all reals `a` in `ac ± ar` and `b` in `bc ± br`, `a + b` lies in `yc ± yr`, and `yr` holds a
/// further `inflate * |yc|`. So does a sum that a runtime computes with a relative `error`, at most 2^-23.
#[allow(clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    ac: &Buffer,
    ar: &Buffer,
    bc: &Buffer,
    br: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    inflate: f32,
    error: f32,
) -> Result<()> {
    let params = Params::new(yc.len(), inflate, UNIT + f64::from(error));
    device.run(&INTERVAL, &params, &[ac, ar, bc, br], &[yc, yr], super::flat(yc.len() / 4))
}

fn forward_twin(call: Call<'_>) {
    let ([a, b], [y]) = call.buffers();
    let reads = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    // Memory is what takes time; wider registers take an eighth more of it.
    y.par_chunks_mut(CHUNK).zip(reads).for_each(|(y, (a, b))| {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    });
}

fn accumulate_twin(call: Call<'_>) {
    let ([x], [y]) = call.buffers();
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    });
}

fn interval_twin(call: Call<'_>) {
    let params: Params = call.params();
    let ([ac, ar, bc, br], [yc, yr]) = call.buffers();
    let a = ac.par_chunks(CHUNK).zip(ar.par_chunks(CHUNK));
    let b = bc.par_chunks(CHUNK).zip(br.par_chunks(CHUNK));
    let y = yc.par_chunks_mut(CHUNK).zip(yr.par_chunks_mut(CHUNK));
    y.zip(a.zip(b)).for_each(|((yc, yr), (a, b))| interval_chunk(params, [a.0, a.1], [b.0, b.1], yc, yr));
}

vectorise!(fn interval_chunk = interval_body(p: Params, a: [&[f32]; 2], b: [&[f32]; 2], yc: &mut [f32], yr: &mut [f32]));

#[inline(always)]
fn interval_body(p: Params, [ac, ar]: [&[f32]; 2], [bc, br]: [&[f32]; 2], yc: &mut [f32], yr: &mut [f32]) {
    let n = yc.len();
    let (yr, ac, ar, bc, br) = (&mut yr[..n], &ac[..n], &ar[..n], &bc[..n], &br[..n]);
    for i in 0..n {
        [yc[i], yr[i]] = interval_of(p, [ac[i], ar[i]], [bc[i], br[i]]);
    }
}

#[inline(always)]
fn interval_of<T: Real>(p: Params, [ac, ar]: [T; 2], [bc, br]: [T; 2]) -> [T; 2] {
    let (ca, ra) = (settle(ac), settle_radius(ac, ar));
    let (cb, rb) = (settle(bc), settle_radius(bc, br));
    let centre = settle(ca + cb);
    // Four roundings of at most one unit in the last place, flushed subnormals, and a runtime's share of the radii.
    let radius = raise(ra + rb + T::of(p.inflate) * centre.abs(), 6);
    let exact = is_zero(ra) & is_zero(rb) & (is_zero(ca) | is_zero(cb));
    [centre, if exact { inflated(T::of(0.0), centre, p.consumer) } else { radius }]
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(2, 0);
    let mut cases = Vec::new();
    for (len, values) in [(16, random as fn(&mut Rng, usize) -> Vec<f32>), (16 * 65, random), (512, awkward)] {
        let ordinary = len != 512;
        let label = if ordinary { format!("{len} values") } else { "awkward values".into() };
        let [ac, bc, ar, br] = std::array::from_fn(|_| values(&mut rng, len));
        let [ar, br] = [ar, br].map(|r| r.into_iter().map(f32::abs).collect::<Vec<_>>());
        if ordinary {
            let check = || Check::Value { abs: 0.0, rel: 1.3e-7 };
            let reads = vec![ac.clone(), bc.clone()];
            cases.push(Case::new(&FORWARD, &label, reads, vec![blank(len)], check(), |device, r, w| {
                forward(device, &r[0], &r[1], &w[0])
            }));
            let writes = vec![bc.clone()];
            cases.push(Case::new(&ACCUMULATE, &label, vec![ac.clone()], writes, check(), |device, r, w| {
                accumulate(device, &r[0], &w[0])
            }));
        }
        let ends = |i: usize| {
            let (centre, radius) = (f64::from(ac[i]) + f64::from(bc[i]), f64::from(ar[i]) + f64::from(br[i]));
            [centre - radius, centre + radius]
        };
        let (exact, abs) = ((0..len).map(ends).collect(), if ordinary { 1e-5 } else { f64::INFINITY });
        let (reads, writes) = (vec![ac, ar, bc, br], vec![blank(len), blank(len)]);
        let check = Check::Interval { exact, abs, rel: 0.0 };
        cases.push(Case::new(&INTERVAL, label, reads, writes, check, |device, r, w| {
            interval(device, &r[0], &r[1], &r[2], &r[3], &w[0], &w[1], 1e-6, 0.0)
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
        let mut rng = Rng::new(2, 1);
        let [ac, ar, bc, br] = std::array::from_fn(|_| awkward(&mut rng, 20_000));
        for i in 0..ac.len() {
            let share = if i % 2 == 0 { 0.0 } else { 1e-5 };
            let p = Params::new(0, share, UNIT);
            let (a, b) = ([ac[i], ar[i].abs()], [if i % 8 == 0 { -ac[i].next_up() } else { bc[i] }, br[i].abs()]);
            let (centre, radius) = (exact(a[0]) + exact(b[0]), exact(a[1]) + exact(b[1]));
            let magnitude = a[0].abs() + a[1] + b[0].abs() + b[1];
            let ends = [&centre - &radius, centre + radius];
            holds(interval_of(p, a.map(Wild), b.map(Wild)), ends, share, magnitude);
        }
    }

    #[test]
    fn dead_values_stay_exactly_zero() {
        let p = Params::new(0, 1e-5, UNIT);
        assert_eq!(interval_of(p, [0.0f32, 0.0], [0.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn sums_and_accumulates() {
        let device = Device::cpu();
        let (a, b) = (device.upload(&[1.5f32; 16]).unwrap(), device.upload(&[-4.0f32; 16]).unwrap());
        let y = device.alloc(16).unwrap();
        forward(&device, &a, &b, &y).unwrap();
        accumulate(&device, &a, &y).unwrap();
        assert_eq!(device.read::<f32>(&y).unwrap(), [-1.0; 16]);
    }
}
