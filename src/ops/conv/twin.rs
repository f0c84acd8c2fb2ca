//! CPU twins of the convolution kernels: register tiles over lanes, rayon over lane blocks and output rows.

use std::ops::Range;

use rayon::prelude::*;

use super::tile::{Sum, Tap, product};
use super::{Params, band};
use crate::dispatch;
use crate::kernel::Call;
use crate::rounding::up;
use crate::simd::{Lanes, Shared, each};

/// Blocks of sixteen lanes per register tile.
const N: usize = 2;
/// As many where so few outputs are summed that they go one by one: one output over fewer would wait for its own sums.
const ALONE: usize = 8;
/// Outputs one task computes at a position.
const TASK_OUTPUTS: usize = 32;

/// One product over a whole activation: the geometry of [`forward`], [`interval`] or [`input_grad`] as sums over taps.
#[derive(Clone, Copy)]
struct Job<'a> {
    x: &'a [f32],
    w: &'a [f32],
    /// Second stream of the interval pass: radii, and |w| (made on the way).
    radius: Option<&'a [f32]>,
    w2: &'a [f32],
    /// The output whose weights come first in `w`.
    w_first: usize,
    bias: Option<&'a [f32]>,
    y: Shared,
    y2: Shared,
    params: &'a Params,
    /// Values per channel of the output, and outputs.
    positions: usize,
    outputs: usize,
    /// Channels summed over, and the steps of [`Sum`].
    channels: usize,
    /// Outputs and channels of a group.
    group: [usize; 2],
    x_channel: usize,
    w_channel: usize,
    w_output: usize,
}

impl Job<'_> {
    fn run(&self, taps: impl Fn(usize, &mut Vec<Tap>) + Sync) {
        if self.positions == 1 && self.w_output == 1 && self.group[1] == self.channels {
            return self.run_dense(&taps);
        }
        let magnitude: Vec<f32>;
        let mut job = *self;
        if job.radius.is_some() {
            magnitude = job.w.par_iter().with_min_len(1 << 14).map(|w| w.abs()).collect();
            job.w2 = &magnitude;
        }
        job.run_planes(&taps);
    }

    /// A dense layer reads each weight once per lane block: a task packs its outputs' weights side by side, so that the
    /// reads do not jump from line to line, and keeps them for all its lanes.
    fn run_dense(&self, taps: &(impl Fn(usize, &mut Vec<Tap>) + Sync)) {
        let lanes = self.params.lanes as usize;
        let width = 16 * N;
        let groups = self.outputs.div_ceil(TASK_OUTPUTS);
        // Groups may differ in length, and threads are to have done at the same time.
        let splits = (4 * rayon::current_num_threads()).div_ceil(groups).min(lanes.div_ceil(width));
        let share = lanes.div_ceil(width).div_ceil(splits) * width;
        let mut list = Vec::new();
        taps(0, &mut list);
        // All taps of the single position side by side: `channels` of each, as one long row.
        let products = list.len() * self.channels;
        (0..groups * splits).into_par_iter().for_each(|task| {
            let from = (task / splits) * TASK_OUTPUTS;
            let to = (from + TASK_OUTPUTS).min(self.outputs);
            let mut packed = vec![0.0f32; products * TASK_OUTPUTS];
            let mut rows = packed.chunks_mut(TASK_OUTPUTS);
            for tap in &list {
                for c in 0..self.channels {
                    let start = tap.w + c * self.w_channel + from;
                    let row = rows.next().expect("one row per product");
                    row[..to - from].copy_from_slice(&self.w[start..start + to - from]);
                }
            }
            let magnitude: Vec<f32> =
                if self.radius.is_some() { packed.iter().map(|w| w.abs()).collect() } else { vec![] };
            let taps: Vec<Tap> =
                list.iter().enumerate().map(|(i, t)| Tap { x: t.x, w: i * self.channels * TASK_OUTPUTS }).collect();
            let job = Job { w: &packed, w2: &magnitude, w_channel: TASK_OUTPUTS, w_first: from, ..*self };
            let first = (task % splits) * share;
            for lane in (first..(first + share).min(lanes)).step_by(width) {
                position_sums(&job, &taps, 0, from, to, lane, (lanes - lane).min(width) / 16);
            }
        });
    }

    fn run_planes(&self, taps: &(impl Fn(usize, &mut Vec<Tap>) + Sync)) {
        let lanes = self.params.lanes as usize;
        let width = 16 * if self.outputs < 4 { ALONE } else { N };
        let blocks = lanes.div_ceil(width);
        let groups = self.outputs.div_ceil(TASK_OUTPUTS);
        // A task keeps its lane block's window in cache: several positions, some outputs.
        let run = (self.positions / 4).clamp(1, 32);
        let runs = self.positions.div_ceil(run);
        (0..blocks * runs * groups).into_par_iter().for_each(|task| {
            let (block, rest) = (task / (runs * groups), task % (runs * groups));
            let (start, group) = ((rest / groups) * run, rest % groups);
            let outputs = group * TASK_OUTPUTS..((group + 1) * TASK_OUTPUTS).min(self.outputs);
            let mut list = Vec::new();
            for position in start..(start + run).min(self.positions) {
                list.clear();
                taps(position, &mut list);
                let lane = block * width;
                position_sums(self, &list, position, outputs.start, outputs.end, lane, (lanes - lane).min(width) / 16);
            }
        });
    }
}

dispatch! {
    /// All sums of one position for outputs `from..to` and `blocks` blocks of lanes from `lane` on.
    fn position_sums = position_sums_lanes(
        job: &Job<'_>, taps: &[Tap], position: usize, from: usize, to: usize, lane: usize, blocks: usize
    )
}

#[inline(always)]
unsafe fn position_sums_lanes<L: Lanes>(
    job: &Job<'_>,
    taps: &[Tap],
    position: usize,
    from: usize,
    to: usize,
    lane: usize,
    blocks: usize,
) {
    // First all centres, then all radii: what the outputs of one stream read stays in the nearest cache.
    unsafe {
        stream::<L, false>(job, taps, position, from..to, lane, blocks);
        if job.radius.is_some() {
            stream::<L, true>(job, taps, position, from..to, lane, blocks);
        }
    }
}

/// Sums of values with weights, or of radii with the weights' magnitudes.
#[inline(always)]
unsafe fn stream<L: Lanes, const RADII: bool>(
    job: &Job<'_>,
    taps: &[Tap],
    position: usize,
    of: Range<usize>,
    lane: usize,
    blocks: usize,
) {
    unsafe {
        match blocks {
            N if L::WIDE => return outputs::<L, 8, N, RADII>(job, taps, position, of, lane),
            ALONE if L::WIDE => return outputs::<L, 1, ALONE, RADII>(job, taps, position, of, lane),
            _ => {}
        }
        for block in 0..blocks {
            let lane = lane + 16 * block;
            // Registers of eight lanes hold no more sums than these.
            match L::WIDE {
                true => outputs::<L, 8, 1, RADII>(job, taps, position, of.clone(), lane),
                false => outputs::<L, 4, 1, RADII>(job, taps, position, of.clone(), lane),
            }
        }
    }
}

/// Sums of some outputs at one position, `M` of them at a time while there are so many.
#[inline(always)]
unsafe fn outputs<L: Lanes, const M: usize, const B: usize, const RADII: bool>(
    job: &Job<'_>,
    taps: &[Tap],
    position: usize,
    outputs: Range<usize>,
    lane: usize,
) {
    let mut o = outputs.start;
    // Outputs that share few channels are summed one by one.
    let alone = job.group[0] < 4;
    unsafe {
        while !alone && o + M <= outputs.end {
            tile::<L, M, B, RADII>(job, taps, (position, o, lane));
            o += M;
        }
        while M > 4 && !alone && o + 4 <= outputs.end {
            tile::<L, 4, B, RADII>(job, taps, (position, o, lane));
            o += 4;
        }
        while o < outputs.end {
            tile::<L, 1, B, RADII>(job, taps, (position, o, lane));
            o += 1;
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, const M: usize, const B: usize, const RADII: bool>(
    job: &Job<'_>,
    taps: &[Tap],
    (position, output, lane): (usize, usize, usize),
) {
    let lanes = job.params.lanes as usize;
    // Divisions would show where sums are short.
    let band = if job.group[1] == job.channels { 0..job.channels } else { band(output, M, job.group) };
    let sum = Sum {
        taps,
        channels: band.len(),
        x_channel: job.x_channel,
        w_channel: job.w_channel,
        w_output: job.w_output,
        lanes,
        block: job.params.block as usize,
    };
    let w_start = (output - job.w_first) * job.w_output + band.start * job.w_channel;
    let x_start = band.start * job.x_channel * lanes + lane;
    unsafe {
        let (w, x) = if RADII { (job.w2, job.radius.unwrap_or(&[])) } else { (job.w, job.x) };
        let total = product::<L, M, B>(&sum, w.as_ptr().wrapping_add(w_start), x.as_ptr().wrapping_add(x_start));
        for m in 0..M {
            let bias = job.bias.map_or(0.0, |b| b[output + m]);
            let start = ((output + m) * job.positions + position) * lanes + lane;
            for n in 0..B {
                let y = job.y.get().add(start + 16 * n);
                if RADII {
                    let p = job.params;
                    let fixed = up(p.bias_error * bias.abs() + p.floor);
                    let y2 = job.y2.get().add(start + 16 * n);
                    total[m][n].store(y2);
                    for lane in 0..16 {
                        let radius = up(*y2.add(lane) * p.scale + fixed);
                        *y2.add(lane) = up(radius + p.inflate * (*y.add(lane)).abs());
                    }
                } else {
                    total[m][n].add(L::splat(bias)).store(y);
                }
            }
        }
    }
}

/// Taps of the output position `(oy, ox)` in the input plane.
fn forward_taps(p: &Params, position: usize, taps: &mut Vec<Tap>) {
    let (oy, ox) = (position / p.out_width as usize, position % p.out_width as usize);
    for ky in 0..p.kernel_height as usize {
        let y = (oy * p.stride_y as usize + ky).wrapping_sub(p.pad_y as usize);
        if y >= p.in_height as usize {
            continue;
        }
        for kx in 0..p.kernel_width as usize {
            let x = (ox * p.stride_x as usize + kx).wrapping_sub(p.pad_x as usize);
            if x < p.in_width as usize {
                let tap = ky * p.kernel_width as usize + kx;
                taps.push(Tap { x: y * p.in_width as usize + x, w: tap * p.out_channels as usize });
            }
        }
    }
}

/// Taps of the input position `(y, x)` in the output plane: every kernel tap that reads it.
fn input_taps(p: &Params, position: usize, taps: &mut Vec<Tap>) {
    let (y, x) = (position / p.in_width as usize + p.pad_y as usize, position % p.in_width as usize + p.pad_x as usize);
    let along_y = readers(y, [p.kernel_height, p.stride_y, p.out_height]);
    let along_x = readers(x, [p.kernel_width, p.stride_x, p.out_width]);
    // From the last output on, so that taps rise.
    for oy in along_y.rev() {
        let first = (y - oy * p.stride_y as usize) * p.kernel_width as usize;
        for ox in along_x.clone().rev() {
            let tap = first + x - ox * p.stride_x as usize;
            taps.push(Tap { x: oy * p.out_width as usize + ox, w: tap * p.out_channels as usize });
        }
    }
}

/// Along one axis, the outputs that read padded place `at`.
fn readers(at: usize, [kernel, stride, outputs]: [u32; 3]) -> Range<usize> {
    let (kernel, stride) = (kernel as usize, stride as usize);
    (at + 1).saturating_sub(kernel).div_ceil(stride)..(at / stride + 1).min(outputs as usize)
}

fn forward_job<'a>(p: &'a Params, x: &'a [f32], w: &'a [f32], y: &mut [f32]) -> Job<'a> {
    Job {
        x,
        w,
        radius: None,
        w2: &[],
        w_first: 0,
        bias: None,
        y: Shared(y.as_mut_ptr()),
        y2: Shared(std::ptr::null_mut()),
        params: p,
        positions: (p.out_height * p.out_width) as usize,
        outputs: p.out_channels as usize,
        channels: p.in_channels as usize,
        group: [p.out_group, p.in_group].map(|n| n as usize),
        x_channel: (p.in_height * p.in_width) as usize,
        w_channel: (p.kernel_height * p.kernel_width * p.out_channels) as usize,
        w_output: 1,
    }
}

pub(super) fn forward(call: Call<'_>) {
    let p: Params = call.params();
    let ([x, w, b], [y]) = call.buffers();
    let job = Job { bias: Some(b), ..forward_job(&p, x, w, y) };
    check(&p, x.len(), w.len(), y.len());
    job.run(|position, taps| forward_taps(&p, position, taps));
}

pub(super) fn interval(call: Call<'_>) {
    let p: Params = call.params();
    let ([xc, w, b, xr], [yc, yr]) = call.buffers();
    check(&p, xc.len().min(xr.len()), w.len(), yc.len().min(yr.len()));
    let job = Job { radius: Some(xr), bias: Some(b), y2: Shared(yr.as_mut_ptr()), ..forward_job(&p, xc, w, yc) };
    job.run(|position, taps| forward_taps(&p, position, taps));
}

pub(in crate::ops) fn input_grad(call: Call<'_>) {
    let p: Params = call.params();
    let ([gy, w], [gx]) = call.buffers();
    check(&p, gx.len(), w.len(), gy.len());
    let job = Job {
        x: gy,
        w,
        radius: None,
        w2: &[],
        w_first: 0,
        bias: None,
        y: Shared(gx.as_mut_ptr()),
        y2: Shared(std::ptr::null_mut()),
        params: &p,
        positions: (p.in_height * p.in_width) as usize,
        outputs: p.in_channels as usize,
        channels: p.out_channels as usize,
        group: [p.in_group, p.out_group].map(|n| n as usize),
        x_channel: (p.out_height * p.out_width) as usize,
        w_channel: 1,
        w_output: (p.kernel_height * p.kernel_width * p.out_channels) as usize,
    };
    job.run(|position, taps| input_taps(&p, position, taps));
}

/// The tiles write through raw pointers: sizes are checked once here.
fn check(p: &Params, inputs: usize, weights: usize, outputs: usize) {
    let lanes = p.lanes as usize;
    assert_eq!(lanes % 16, 0);
    assert!(p.in_channels / p.in_group == p.out_channels / p.out_group);
    assert!(inputs >= (p.in_channels * p.in_height * p.in_width) as usize * lanes);
    assert!(outputs >= (p.out_channels * p.out_height * p.out_width) as usize * lanes);
    assert!(weights >= (p.in_channels * p.kernel_height * p.kernel_width * p.out_channels) as usize);
}

/// Input channels whose gradients of one tap are summed together: what they read of `gy` is the same.
const TOGETHER: usize = 4;

pub(in crate::ops) fn weight_grad(call: Call<'_>) {
    let p: Params = call.params();
    let ([x, gy], [gw]) = call.buffers();
    check(&p, x.len(), gw.len(), gy.len());
    let (channels, taps) = (p.in_channels as usize, (p.kernel_height * p.kernel_width) as usize);
    let gw = Shared(gw.as_mut_ptr());
    (0..channels.div_ceil(TOGETHER) * taps).into_par_iter().for_each(|task| {
        let (first, tap) = (task / taps * TOGETHER, task % taps);
        let pairs = weight_pairs(&p, tap);
        weight_rows(&p, &pairs, first..(first + TOGETHER).min(channels), tap, x, gy, gw);
    });
}

/// Lane rows (in the planes of x and of gy) that meet at this tap.
fn weight_pairs(p: &Params, tap: usize) -> Vec<(usize, usize)> {
    let (ky, kx) = (tap / p.kernel_width as usize, tap % p.kernel_width as usize);
    let mut pairs = Vec::with_capacity((p.out_height * p.out_width) as usize);
    for oy in 0..p.out_height as usize {
        let y = (oy * p.stride_y as usize + ky).wrapping_sub(p.pad_y as usize);
        if y >= p.in_height as usize {
            continue;
        }
        for ox in 0..p.out_width as usize {
            let x = (ox * p.stride_x as usize + kx).wrapping_sub(p.pad_x as usize);
            if x < p.in_width as usize {
                pairs.push((y * p.in_width as usize + x, oy * p.out_width as usize + ox));
            }
        }
    }
    pairs
}

dispatch! {
    /// Rows `[out]` of the weight gradient, of one tap and some input channels.
    fn weight_rows = weight_rows_lanes(
        p: &Params, pairs: &[(usize, usize)], channels: Range<usize>, tap: usize, x: &[f32], gy: &[f32], gw: Shared
    )
}

#[inline(always)]
unsafe fn weight_rows_lanes<L: Lanes>(
    p: &Params,
    pairs: &[(usize, usize)],
    channels: Range<usize>,
    tap: usize,
    x: &[f32],
    gy: &[f32],
    gw: Shared,
) {
    let outputs = p.out_channels as usize;
    let (mut c, taps) = (channels.start, (p.kernel_height * p.kernel_width) as usize);
    let at = |c: usize, o: usize| ((c * taps + tap) * outputs + o, c, o);
    unsafe {
        while L::WIDE && c + TOGETHER <= channels.end {
            let mut o = 0;
            while o + 4 <= outputs {
                weight_tile::<L, TOGETHER, 4>(p, pairs, at(c, o), x, gy, gw);
                o += 4;
            }
            (o..outputs).for_each(|o| weight_tile::<L, TOGETHER, 1>(p, pairs, at(c, o), x, gy, gw));
            c += TOGETHER;
        }
        // Registers of eight lanes hold no more sums than these.
        while !L::WIDE && c + 2 <= channels.end {
            let mut o = 0;
            while o + 2 <= outputs {
                weight_tile::<L, 2, 2>(p, pairs, at(c, o), x, gy, gw);
                o += 2;
            }
            (o..outputs).for_each(|o| weight_tile::<L, 2, 1>(p, pairs, at(c, o), x, gy, gw));
            c += 2;
        }
        for c in c..channels.end {
            let mut o = 0;
            while o + 8 <= outputs {
                weight_tile::<L, 1, 8>(p, pairs, at(c, o), x, gy, gw);
                o += 8;
            }
            (o..outputs).for_each(|o| weight_tile::<L, 1, 1>(p, pairs, at(c, o), x, gy, gw));
        }
    }
}

/// The gradient of `C` input channels' and `M` outputs' weights of one tap, the first of which is at `start` of `gw`.
#[inline(always)]
unsafe fn weight_tile<L: Lanes, const C: usize, const M: usize>(
    p: &Params,
    pairs: &[(usize, usize)],
    (start, channel, output): (usize, usize, usize),
    x: &[f32],
    gy: &[f32],
    gw: Shared,
) {
    let lanes = p.lanes as usize;
    let of_input = (p.in_height * p.in_width) as usize * lanes;
    let of_output = (p.out_height * p.out_width) as usize * lanes;
    let next = (p.kernel_height * p.kernel_width * p.out_channels) as usize;
    unsafe {
        let (x, gy) = (x.as_ptr().add(channel * of_input), gy.as_ptr().add(output * of_output));
        let mut acc = [[L::splat(0.0); M]; C];
        for &(from, to) in pairs {
            for lane in (0..lanes).step_by(16) {
                let xs: [L; C] = each(|c| L::load(x.add(c * of_input + from * lanes + lane)));
                for m in 0..M {
                    let g = L::load(gy.add(m * of_output + to * lanes + lane));
                    for c in 0..C {
                        acc[c][m] = acc[c][m].mul_acc(xs[c], g);
                    }
                }
            }
        }
        for (c, acc) in acc.iter().enumerate() {
            for (m, sum) in acc.iter().enumerate() {
                let mut spread = [0.0f32; 16];
                sum.store(spread.as_mut_ptr());
                *gw.get().add(start + c * next + m) = spread.iter().sum();
            }
        }
    }
}

pub(in crate::ops) fn bias_grad(call: Call<'_>) {
    let p: Params = call.params();
    let ([gy], [gb]) = call.buffers();
    let plane = (p.out_height * p.out_width * p.lanes) as usize;
    for (o, gb) in gb.iter_mut().enumerate().take(p.out_channels as usize) {
        *gb = gy[o * plane..(o + 1) * plane].chunks(64).map(|c| c.iter().sum::<f32>()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::within_groups;
    use super::super::{self as conv, Charge, Geometry};
    use crate::device::Device;
    use crate::ops::conv_grad;
    use crate::rng::Rng;
    use crate::tensor::Shape;

    fn random(rng: &mut Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.range(-1.0, 1.0)).collect()
    }

    fn geometries() -> Vec<Geometry> {
        let g = |ci, h, w, co, k: [usize; 2], s: [usize; 2], p: [usize; 2], oh, ow| Geometry {
            input: Shape::new(ci, h, w),
            output: Shape::new(co, oh, ow),
            kernel: k,
            stride: s,
            pad: p,
            groups: 1,
        };
        vec![
            g(1, 6, 6, 3, [4, 4], [2, 2], [1, 1], 3, 3),
            g(3, 5, 7, 13, [3, 3], [1, 1], [1, 1], 5, 7),
            g(2, 7, 5, 8, [2, 3], [2, 1], [0, 1], 3, 5),
            g(4, 4, 4, 5, [1, 1], [2, 2], [0, 0], 2, 2),
            Geometry::dense(150, 21),
            Geometry { groups: 5, ..g(10, 4, 4, 15, [3, 3], [1, 1], [1, 1], 4, 4) },
        ]
    }

    /// `each(weight index, input index, output index)` for every product of the layer.
    fn products(g: &Geometry, mut each: impl FnMut(usize, usize, usize)) {
        let (i, o) = (g.input, g.output);
        for co in 0..o.channels {
            for oy in 0..o.height {
                for ox in 0..o.width {
                    for ci in 0..i.channels {
                        for ky in 0..g.kernel[0] {
                            for kx in 0..g.kernel[1] {
                                let y = (oy * g.stride[0] + ky) as isize - g.pad[0] as isize;
                                let x = (ox * g.stride[1] + kx) as isize - g.pad[1] as isize;
                                if y >= 0 && x >= 0 && (y as usize) < i.height && (x as usize) < i.width {
                                    let w = ((ci * g.kernel[0] + ky) * g.kernel[1] + kx) * o.channels + co;
                                    let from = (ci * i.height + y as usize) * i.width + x as usize;
                                    each(w, from, (co * o.height + oy) * o.width + ox);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn value_kernels_agree_with_f64() {
        let device = Device::cpu();
        for (case, g) in geometries().iter().enumerate() {
            for lanes in [16, 48, 80, 144] {
                let mut rng = Rng::new(case as u64, lanes as u64);
                let x = random(&mut rng, g.input.len() * lanes);
                let w = within_groups(g, random(&mut rng, g.weights()));
                let b = random(&mut rng, g.output.channels);
                let gy = random(&mut rng, g.output.len() * lanes);
                let mut y: Vec<f64> = (0..g.output.len() * lanes)
                    .map(|i| f64::from(b[i / lanes / (g.output.height * g.output.width)]))
                    .collect();
                let mut gx = vec![0f64; x.len()];
                let mut gw = vec![0f64; w.len()];
                products(g, |wi, from, to| {
                    for l in 0..lanes {
                        let (xv, gv) = (f64::from(x[from * lanes + l]), f64::from(gy[to * lanes + l]));
                        y[to * lanes + l] += f64::from(w[wi]) * xv;
                        gx[from * lanes + l] += f64::from(w[wi]) * gv;
                        gw[wi] += xv * gv;
                    }
                });
                let [xb, wb, bb, gyb] = [&x, &w, &b, &gy].map(|v| device.upload(v).unwrap());
                let near = |name: &str, buffer: &crate::device::Buffer, expected: &[f64]| {
                    let got: Vec<f32> = device.read(buffer).unwrap();
                    for (i, (got, want)) in got.iter().zip(expected).enumerate() {
                        assert!((f64::from(*got) - want).abs() < 1e-4, "{name} of {g:?}: [{i}] {got} against {want}");
                    }
                };
                let out = device.alloc(y.len()).unwrap();
                conv::forward(&device, g, &xb, &wb, &bb, &out, lanes).unwrap();
                near("forward", &out, &y);
                let out = device.alloc(gx.len()).unwrap();
                conv_grad::input_grad(&device, g, &gyb, &wb, &out, lanes).unwrap();
                near("input_grad", &out, &gx);
                let out = device.alloc(gw.len()).unwrap();
                conv_grad::weight_grad(&device, g, &xb, &gyb, &out, lanes).unwrap();
                near("weight_grad", &out, &gw);
            }
        }
    }

    #[test]
    fn interval_contains_the_exact_range() {
        let device = Device::cpu();
        for (case, g) in geometries().iter().enumerate() {
            let lanes = 48;
            let mut rng = Rng::new(case as u64, 9);
            let charge = Charge::new(g.fan_in(), 1.0);
            let c = random(&mut rng, g.input.len() * lanes);
            let true_radius: Vec<f32> = c.iter().map(|_| rng.uniform() * 1e-3).collect();
            let r: Vec<f32> =
                true_radius.iter().zip(&c).map(|(r, c)| crate::rounding::up(r + 1.001 * charge.g * c.abs())).collect();
            let w = within_groups(g, random(&mut rng, g.weights()));
            let b = random(&mut rng, g.output.channels);
            // f64 sums of f32 products err by less than 1e-12 here, far below the slack that is checked.
            let mut centre: Vec<f64> = (0..g.output.len() * lanes)
                .map(|i| f64::from(b[i / lanes / (g.output.height * g.output.width)]))
                .collect();
            let mut radius = vec![0f64; centre.len()];
            products(g, |wi, from, to| {
                for l in 0..lanes {
                    centre[to * lanes + l] += f64::from(w[wi]) * f64::from(c[from * lanes + l]);
                    radius[to * lanes + l] += f64::from(w[wi].abs()) * f64::from(true_radius[from * lanes + l]);
                }
            });
            let [cb, rb, wb, bb] = [&c, &r, &w, &b].map(|v| device.upload(v).unwrap());
            let (yc, yr) = (device.alloc(centre.len()).unwrap(), device.alloc(centre.len()).unwrap());
            conv::interval(&device, g, [&cb, &rb], &wb, &bb, [&yc, &yr], lanes, charge, 0.0).unwrap();
            let (yc, yr): (Vec<f32>, Vec<f32>) = (device.read(&yc).unwrap(), device.read(&yr).unwrap());
            for i in 0..centre.len() {
                let (c, r) = (f64::from(yc[i]), f64::from(yr[i]));
                assert!(c - r <= centre[i] - radius[i] && centre[i] + radius[i] <= c + r, "{g:?} at {i}");
                assert!(r <= radius[i] * 1.02 + 1e-5, "{g:?} at {i}: {r} is loose against {}", radius[i]);
            }
        }
    }
}
