//! Batch normalisation while a network learns (Ioffe and Szegedy 2015): `gamma (x - mean) / sqrt(variance + EPSILON) + beta`
//! by channel, with the moments of the minibatch. The map itself is that of [`scale`](super::scale), whose constants are made
//! here. No proof rests on it: what is proved is proved of the network into whose weights these constants went.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::interval::sign;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::tensor::LANE_BLOCK;
use crate::vectorise;

/// Added to variances, so that constant channels have a finite factor.
pub(super) const EPSILON: f32 = 1e-5;

/// Values `[channel][position][lane]`, images on the first `count` lanes.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub channels: usize,
    /// Positions of a channel.
    pub plane: usize,
    pub lanes: usize,
    pub count: usize,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    channels: u32,
    plane: u32,
    lanes: u32,
    count: u32,
    radius: u32,
    share: f32,
}

impl Params {
    fn new(size: Size) -> Self {
        let Size { channels, plane, lanes, count } = size;
        let [channels, plane, lanes, count] = [channels, plane, lanes, count].map(|n| n as u32);
        Params { channels, plane, lanes, count, radius: 0, share: 0.0 }
    }

    fn size(self) -> Size {
        let [channels, plane, lanes, count] = [self.channels, self.plane, self.lanes, self.count].map(|n| n as usize);
        Size { channels, plane, lanes, count }
    }
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("normalise", "flat"), name, entry, [reads, writes], twin)
}

pub static MOMENTS: Kernel = row("normalise_moments", "moments", 1, 2, moments_twin);
pub static PLACE: Kernel = row("normalise_place", "place", 3, 3, place_twin);
pub static GRADIENTS: Kernel = row("normalise_gradients", "gradients", 4, 2, gradients_twin);
pub static BACKWARD: Kernel = row("normalise_backward", "backward", 6, 1, backward_twin);

pub static KERNELS: &[&Kernel] = &[&MOMENTS, &PLACE, &GRADIENTS, &BACKWARD];

/// Mean and variance of every channel of x, `[2][channel]`; `running`, as long, moves towards them by `share` of the way,
/// the variance as one of a sample.
pub fn moments(device: &Device, x: &Buffer, moments: &Buffer, running: &Buffer, size: Size, share: f32) -> Result<()> {
    let params = Params { share, ..Params::new(size) };
    device.run(&MOMENTS, &params, &[x], &[moments, running], [size.channels * 64, 1, 1])
}

/// The factor of every value, its shift, and the size of the factor, `[channel][position]` each.
pub fn place(
    device: &Device,
    [gamma, beta]: [&Buffer; 2],
    moments: &Buffer,
    [scale, shift, magnitude]: [&Buffer; 3],
    size: Size,
) -> Result<()> {
    let reads = [gamma, beta, moments];
    device.run(&PLACE, &Params::new(size), &reads, &[scale, shift, magnitude], super::flat(size.channels * size.plane))
}

/// Adds the gradients by gamma and beta to `by`, given that by the output, which is zero on lanes without an image. Where x
/// and gy are those of `radius`es, gamma counts by its size and beta not at all.
pub fn gradients(
    device: &Device,
    [gy, x]: [&Buffer; 2],
    moments: &Buffer,
    gamma: &Buffer,
    by: [&Buffer; 2],
    size: Size,
    radius: bool,
) -> Result<()> {
    let params = Params { radius: radius.into(), ..Params::new(size) };
    device.run(&GRADIENTS, &params, &[gy, x, moments, gamma], &by, [size.channels * 64, 1, 1])
}

/// The gradient by the values that the moments are of, given that by their output. Through the moments it has part in all
/// that was made with them: `by` holds the gradients by gamma and beta of all of it.
pub fn backward(
    device: &Device,
    [gy, x]: [&Buffer; 2],
    moments: &Buffer,
    gamma: &Buffer,
    by: [&Buffer; 2],
    gx: &Buffer,
    size: Size,
) -> Result<()> {
    let reads = [gy, x, moments, gamma, by[0], by[1]];
    device.run(&BACKWARD, &Params::new(size), &reads, &[gx], super::flat(gx.len() / 4))
}

/// What a variance divides by.
fn deviation(variance: f32) -> f32 {
    (variance + EPSILON).sqrt()
}

/// The sum of `of` two values over all positions and images of a channel: lanes in f32, positions in f64.
#[inline(always)]
fn total([a, b]: [&[f32]; 2], lanes: usize, count: usize, of: impl Fn(f32, f32) -> f32) -> f64 {
    let rows = a.chunks_exact(lanes).zip(b.chunks_exact(lanes)).map(|(a, b)| {
        let mut sums = [0.0f32; LANE_BLOCK];
        let blocks = a.chunks_exact(LANE_BLOCK).zip(b.chunks_exact(LANE_BLOCK));
        for (block, (a, b)) in blocks.enumerate() {
            for k in 0..LANE_BLOCK {
                let used = block * LANE_BLOCK + k < count;
                sums[k] += if used { of(a[k], b[k]) } else { 0.0 };
            }
        }
        f64::from(sums.iter().sum::<f32>())
    });
    rows.sum()
}

fn moments_twin(call: Call<'_>) {
    let p: Params = call.params();
    let Size { channels, plane, lanes, count } = p.size();
    let ([x], [moments, running]) = call.buffers();
    let number = (plane * count) as f32;
    let (means, variances) = moments[..2 * channels].split_at_mut(channels);
    let each = means.par_iter_mut().zip(variances).zip(x.par_chunks(plane * lanes));
    each.for_each(|((mean, variance), x)| channel_moments(x, lanes, count, number, mean, variance));
    let sample = number / (number - 1.0).max(1.0);
    for (i, (running, moment)) in running.iter_mut().zip(&*moments).enumerate() {
        let moment = if i < channels { *moment } else { moment * sample };
        *running += p.share * (moment - *running);
    }
}

vectorise!(fn channel_moments = channel_moments_body(
    x: &[f32], lanes: usize, count: usize, number: f32, mean: &mut f32, variance: &mut f32,
));

#[inline(always)]
fn channel_moments_body(x: &[f32], lanes: usize, count: usize, number: f32, mean: &mut f32, variance: &mut f32) {
    let centre = total([x, x], lanes, count, |x, _| x) as f32 / number;
    *mean = centre;
    *variance = total([x, x], lanes, count, |x, _| (x - centre) * (x - centre)) as f32 / number;
}

fn place_twin(call: Call<'_>) {
    let Size { channels, plane, .. } = call.params::<Params>().size();
    let ([gamma, beta, moments], [scale, shift, magnitude]) = call.buffers();
    for channel in 0..channels {
        let values = channel * plane..(channel + 1) * plane;
        let factor = gamma[channel] / deviation(moments[channels + channel]);
        scale[values.clone()].fill(factor);
        shift[values.clone()].fill(beta[channel] - moments[channel] * factor);
        magnitude[values].fill(factor.abs());
    }
}

fn gradients_twin(call: Call<'_>) {
    let p: Params = call.params();
    let Size { channels, plane, lanes, .. } = p.size();
    let ([gy, x, moments, gamma], [by_gamma, by_beta]) = call.buffers();
    let values = gy.par_chunks(plane * lanes).zip(x.par_chunks(plane * lanes));
    let by = by_gamma[..channels].par_iter_mut().zip(&mut by_beta[..channels]);
    by.zip(values).enumerate().for_each(|(channel, ((by_gamma, by_beta), (gy, x)))| {
        let mean = if p.radius > 0 { 0.0 } else { moments[channel] };
        let (mut plain, mut weighted) = (0.0, 0.0);
        channel_gradients(gy, x, lanes, mean, &mut plain, &mut weighted);
        weighted /= deviation(moments[channels + channel]);
        if p.radius > 0 {
            *by_gamma += sign(gamma[channel]) * weighted;
        } else {
            *by_gamma += weighted;
            *by_beta += plain;
        }
    });
}

vectorise!(fn channel_gradients = channel_gradients_body(
    gy: &[f32], x: &[f32], lanes: usize, mean: f32, plain: &mut f32, weighted: &mut f32,
));

#[inline(always)]
fn channel_gradients_body(gy: &[f32], x: &[f32], lanes: usize, mean: f32, plain: &mut f32, weighted: &mut f32) {
    *plain = total([gy, gy], lanes, lanes, |g, _| g) as f32;
    *weighted = total([gy, x], lanes, lanes, |g, x| g * (x - mean)) as f32;
}

fn backward_twin(call: Call<'_>) {
    let Size { channels, plane, lanes, count } = call.params::<Params>().size();
    let ([gy, x, moments, gamma, by_gamma, by_beta], [gx]) = call.buffers();
    let values = gy.par_chunks(plane * lanes).zip(x.par_chunks(plane * lanes));
    gx.par_chunks_mut(plane * lanes).zip(values).enumerate().for_each(|(channel, (gx, (gy, x)))| {
        let steep = 1.0 / deviation(moments[channels + channel]);
        let number = (plane * count) as f32;
        let all = [by_beta[channel], by_gamma[channel]];
        channel_backward([gy, x], lanes, count, [moments[channel], steep, gamma[channel]], all, number, gx);
    });
}

vectorise!(fn channel_backward = channel_backward_body(
    values: [&[f32]; 2], lanes: usize, count: usize, constants: [f32; 3], by: [f32; 2], number: f32, gx: &mut [f32],
));

#[inline(always)]
fn channel_backward_body(
    [gy, x]: [&[f32]; 2],
    lanes: usize,
    count: usize,
    [mean, steep, gamma]: [f32; 3],
    [by_beta, by_gamma]: [f32; 2],
    number: f32,
    gx: &mut [f32],
) {
    for k in 0..gx.len() / lanes {
        let gx = &mut gx[k * lanes..][..lanes];
        let (gy, x) = (&gy[k * lanes..][..lanes], &x[k * lanes..][..lanes]);
        for i in 0..lanes {
            let through = (by_beta + steep * (x[i] - mean) * by_gamma) / number;
            gx[i] = if i < count { steep * gamma * (gy[i] - through) } else { 0.0 };
        }
    }
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(37, 0);
    let mut cases = Vec::new();
    for (channels, plane, count) in [(1, 1, 1), (5, 9, 19), (3, 1, 64), (2, 70, 33)] {
        let lanes = crate::tensor::lanes(count);
        let size = Size { channels, plane, lanes, count };
        let (values, elements) = (channels * plane * lanes, channels * plane);
        let label = format!("{channels} channels of {plane} positions, {count} images");
        let near = || Check::Value { abs: 2e-5, rel: 1e-4 };
        let [x, gy] = std::array::from_fn(|_| random(&mut rng, values));
        let [gamma, beta, by_gamma, by_beta] = std::array::from_fn(|_| random(&mut rng, channels));
        let [running, mut moment] = std::array::from_fn(|_| random(&mut rng, 2 * channels));
        moment[channels..].iter_mut().for_each(|v| *v = v.abs() + 0.1);
        let writes = vec![blank(2 * channels), running];
        cases.push(Case::new(&MOMENTS, &label, vec![x.clone()], writes, near(), move |d, r, w| {
            moments(d, &r[0], &w[0], &w[1], size, 0.1)
        }));
        let reads = vec![gamma.clone(), beta, moment.clone()];
        let writes = vec![blank(elements), blank(elements), blank(elements)];
        cases.push(Case::new(&PLACE, &label, reads, writes, near(), move |d, r, w| {
            place(d, [&r[0], &r[1]], &r[2], [&w[0], &w[1], &w[2]], size)
        }));
        for radius in [false, true] {
            let reads = vec![gy.clone(), x.clone(), moment.clone(), gamma.clone()];
            let writes = vec![by_gamma.clone(), by_beta.clone()];
            let label = format!("{label}{}", if radius { ", radii" } else { "" });
            cases.push(Case::new(&GRADIENTS, label, reads, writes, near(), move |d, r, w| {
                gradients(d, [&r[0], &r[1]], &r[2], &r[3], [&w[0], &w[1]], size, radius)
            }));
        }
        let reads = vec![gy, x, moment, gamma, by_gamma, by_beta];
        cases.push(Case::new(&BACKWARD, label, reads, vec![blank(values)], near(), move |d, r, w| {
            backward(d, [&r[0], &r[1]], &r[2], &r[3], [&r[4], &r[5]], &w[0], size)
        }));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas as printed in the paper, in f64, of what the first 19 of 32 lanes hold.
    #[test]
    fn moments_are_those_of_the_images() {
        let (channels, plane, lanes, count) = (3, 7, 32, 19);
        let device = Device::cpu();
        let x: Vec<f32> = random(&mut Rng::new(5, 0), channels * plane * lanes);
        let (found, running) = (device.zeros(6).unwrap(), device.zeros(6).unwrap());
        let size = Size { channels, plane, lanes, count };
        moments(&device, &device.upload(&x).unwrap(), &found, &running, size, 0.25).unwrap();
        let (found, running): (Vec<f32>, Vec<f32>) = (device.read(&found).unwrap(), device.read(&running).unwrap());
        for channel in 0..channels {
            let rows = x[channel * plane * lanes..(channel + 1) * plane * lanes].chunks(lanes);
            let used: Vec<f64> = rows.flat_map(|row| &row[..count]).map(|x| f64::from(*x)).collect();
            let number = used.len() as f64;
            let mean = used.iter().sum::<f64>() / number;
            let squares: f64 = used.iter().map(|x| (x - mean) * (x - mean)).sum();
            let near = |got: f32, expected: f64| assert!((f64::from(got) - expected).abs() < 1e-6, "{got} {expected}");
            near(found[channel], mean);
            near(found[channels + channel], squares / number);
            near(running[channel], 0.25 * mean);
            near(running[channels + channel], 0.25 * squares / (number - 1.0));
        }
    }
}
