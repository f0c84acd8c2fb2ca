//! Pooling on the CPU. Loops run over blocks of sixteen lanes, which stay in registers over a window.

use std::ops::Range;

use rayon::prelude::*;

use super::Params;
use crate::kernel::Call;
use crate::ops::chunk_of;
use crate::rounding::{Real, TINY, inflated, is_zero, lower, raise, settle, settle_radius};
use crate::tensor::LANE_BLOCK;
use crate::vectorise;

type Block = [f32; LANE_BLOCK];

fn blocks(x: &[f32]) -> &[Block] {
    x.as_chunks().0
}

fn blocks_mut(x: &mut [f32]) -> &mut [Block] {
    x.as_chunks_mut().0
}

impl Params {
    fn blocks(&self) -> usize {
        self.lanes as usize / LANE_BLOCK
    }

    fn output_row(&self) -> usize {
        (self.out_width * self.lanes) as usize
    }

    fn output_plane(&self) -> usize {
        self.out_height as usize * self.output_row()
    }

    fn input_plane(&self) -> usize {
        (self.in_height * self.in_width) as usize * self.lanes as usize
    }

    /// Input rows under an output row.
    fn rows(&self, output: usize) -> Range<usize> {
        window(output, self.stride_y, self.pad_y, self.kernel_height, self.in_height)
    }

    /// Input columns under an output column.
    fn columns(&self, output: usize) -> Range<usize> {
        window(output, self.stride_x, self.pad_x, self.kernel_width, self.in_width)
    }

    /// `1 / number of values` a mean is over.
    fn share(&self, rows: &Range<usize>, columns: &Range<usize>) -> f32 {
        let full = self.kernel_height * self.kernel_width;
        let count = if self.include_pad == 1 { full } else { (rows.len() * columns.len()) as u32 };
        1.0 / count as f32
    }

    /// Calls `visit` with the position, in blocks, of every value of a window in one channel's plane.
    #[inline(always)]
    fn each(&self, rows: &Range<usize>, columns: &Range<usize>, block: usize, mut visit: impl FnMut(usize)) {
        let (width, blocks) = (self.in_width as usize, self.blocks());
        for row in rows.clone() {
            for column in columns.clone() {
                visit((row * width + column) * blocks + block);
            }
        }
    }
}

#[inline(always)]
fn add(sum: &mut Block, x: &Block) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}

/// Windows that cover an input row or column.
fn windows(input: usize, stride: u32, pad: u32, kernel: u32, count: u32) -> Range<usize> {
    let end = input + pad as usize + 1;
    let first = end.saturating_sub(kernel as usize).div_ceil(stride as usize);
    first..((end - 1) / stride as usize + 1).min(count as usize)
}

fn window(output: usize, stride: u32, pad: u32, kernel: u32, size: u32) -> Range<usize> {
    let start = output * stride as usize;
    start.saturating_sub(pad as usize)..(start + kernel as usize).saturating_sub(pad as usize).min(size as usize)
}

/// Runs `row(y, plane of x, output row)` over all output rows.
fn rows_of(p: Params, y: &mut [f32], x: &[f32], row: fn(Params, &mut [f32], &[f32], usize)) {
    let unit = p.output_row();
    let task = chunk_of(unit);
    y.par_chunks_mut(task).enumerate().for_each(|(t, y)| {
        for (i, y) in y.chunks_exact_mut(unit).enumerate() {
            let index = t * (task / unit) + i;
            let (channel, oy) = (index / p.out_height as usize, index % p.out_height as usize);
            row(p, y, &x[channel * p.input_plane()..][..p.input_plane()], oy);
        }
    });
}

pub(super) fn max_forward(call: Call<'_>) {
    let p: Params = call.params();
    let ([x], [y]) = call.buffers();
    rows_of(p, y, x, max_row);
}

vectorise!(fn max_row = max_body(p: Params, y: &mut [f32], x: &[f32], oy: usize));

#[inline(always)]
fn max_body(p: Params, y: &mut [f32], x: &[f32], oy: usize) {
    let (x, y, rows) = (blocks(x), blocks_mut(y), p.rows(oy));
    for ox in 0..p.out_width as usize {
        let columns = p.columns(ox);
        for block in 0..p.blocks() {
            let mut best = [f32::MIN; LANE_BLOCK];
            p.each(&rows, &columns, block, |j| {
                for (best, x) in best.iter_mut().zip(&x[j]) {
                    *best = if *x > *best { *x } else { *best };
                }
            });
            y[ox * p.blocks() + block] = best;
        }
    }
}

pub(super) fn average_forward(call: Call<'_>) {
    let p: Params = call.params();
    let ([x], [y]) = call.buffers();
    rows_of(p, y, x, average_row);
}

vectorise!(fn average_row = average_body(p: Params, y: &mut [f32], x: &[f32], oy: usize));

#[inline(always)]
fn average_body(p: Params, y: &mut [f32], x: &[f32], oy: usize) {
    let (x, y, rows) = (blocks(x), blocks_mut(y), p.rows(oy));
    for ox in 0..p.out_width as usize {
        let columns = p.columns(ox);
        let share = p.share(&rows, &columns);
        for block in 0..p.blocks() {
            let mut sum = [0.0; LANE_BLOCK];
            for row in rows.clone() {
                let mut part = [0.0; LANE_BLOCK];
                p.each(&(row..row + 1), &columns, block, |j| add(&mut part, &x[j]));
                add(&mut sum, &part);
            }
            y[ox * p.blocks() + block] = sum.map(|s| s * share);
        }
    }
}

pub(super) fn max_backward(call: Call<'_>) {
    let p: Params = call.params();
    let ([x, gy], [gx]) = call.buffers();
    let reads = x.par_chunks(p.input_plane()).zip(gy.par_chunks(p.output_plane()));
    gx.par_chunks_mut(p.input_plane()).zip(reads).for_each(|(gx, (x, gy))| max_plane(p, gx, x, gy));
}

vectorise!(fn max_plane = max_backward_body(p: Params, gx: &mut [f32], x: &[f32], gy: &[f32]));

/// Scatters within one channel, in the order in which the shader gathers.
#[inline(always)]
fn max_backward_body(p: Params, gx: &mut [f32], x: &[f32], gy: &[f32]) {
    let (x, gy, gx) = (blocks(x), blocks(gy), blocks_mut(gx));
    gx.fill([0.0; LANE_BLOCK]);
    for output in 0..(p.out_height * p.out_width) as usize {
        let (oy, ox) = (output / p.out_width as usize, output % p.out_width as usize);
        let (rows, columns) = (p.rows(oy), p.columns(ox));
        for block in 0..p.blocks() {
            let mut best = [f32::MIN; LANE_BLOCK];
            let mut first = [u32::MAX; LANE_BLOCK];
            p.each(&rows, &columns, block, |j| {
                for ((best, first), x) in best.iter_mut().zip(&mut first).zip(&x[j]) {
                    let wins = (*x > *best) | (*first == u32::MAX);
                    *best = if wins { *x } else { *best };
                    *first = if wins { j as u32 } else { *first };
                }
            });
            let gy = &gy[output * p.blocks() + block];
            p.each(&rows, &columns, block, |j| {
                for ((gx, first), gy) in gx[j].iter_mut().zip(&first).zip(gy) {
                    *gx += if *first == j as u32 { *gy } else { 0.0 };
                }
            });
        }
    }
}

pub(super) fn average_backward(call: Call<'_>) {
    let p: Params = call.params();
    let ([gy], [gx]) = call.buffers();
    let reads = gy.par_chunks(p.output_plane());
    gx.par_chunks_mut(p.input_plane()).zip(reads).for_each(|(gx, gy)| average_plane(p, gx, gy));
}

vectorise!(fn average_plane = average_backward_body(p: Params, gx: &mut [f32], gy: &[f32]));

#[inline(always)]
fn average_backward_body(p: Params, gx: &mut [f32], gy: &[f32]) {
    let (gy, gx) = (blocks(gy), blocks_mut(gx));
    let (height, width) = (p.out_height as usize, p.out_width as usize);
    let shares: Vec<f32> = (0..height * width).map(|o| p.share(&p.rows(o / width), &p.columns(o % width))).collect();
    for input in 0..(p.in_height * p.in_width) as usize {
        let (y, x) = (input / p.in_width as usize, input % p.in_width as usize);
        let over_rows = windows(y, p.stride_y, p.pad_y, p.kernel_height, p.out_height);
        let over_columns = windows(x, p.stride_x, p.pad_x, p.kernel_width, p.out_width);
        for block in 0..p.blocks() {
            let mut sum = [0.0; LANE_BLOCK];
            for oy in over_rows.clone() {
                let mut part = [0.0; LANE_BLOCK];
                for o in oy * width + over_columns.start..oy * width + over_columns.end {
                    add(&mut part, &gy[o * p.blocks() + block].map(|g| g * shares[o]));
                }
                add(&mut sum, &part);
            }
            gx[input * p.blocks() + block] = sum;
        }
    }
}

type IntervalRow = fn(Params, [&mut [f32]; 2], [&[f32]; 2], usize);

/// As [`rows_of`], for centre and radius.
fn interval_rows(call: Call<'_>, row: IntervalRow) {
    let p: Params = call.params();
    let ([xc, xr], [yc, yr]) = call.buffers();
    let unit = p.output_row();
    let task = chunk_of(unit);
    yc.par_chunks_mut(task).zip(yr.par_chunks_mut(task)).enumerate().for_each(|(t, (yc, yr))| {
        for (i, (yc, yr)) in yc.chunks_exact_mut(unit).zip(yr.chunks_exact_mut(unit)).enumerate() {
            let index = t * (task / unit) + i;
            let (channel, oy) = (index / p.out_height as usize, index % p.out_height as usize);
            let plane = channel * p.input_plane()..(channel + 1) * p.input_plane();
            row(p, [yc, yr], [&xc[plane.clone()], &xr[plane]], oy);
        }
    });
}

pub(super) fn max_interval(call: Call<'_>) {
    interval_rows(call, max_interval_row);
}

vectorise!(fn max_interval_row = max_interval_body(p: Params, y: [&mut [f32]; 2], x: [&[f32]; 2], oy: usize));

#[inline(always)]
fn max_interval_body(p: Params, [yc, yr]: [&mut [f32]; 2], [xc, xr]: [&[f32]; 2], oy: usize) {
    let (yc, yr, xc, xr) = (blocks_mut(yc), blocks_mut(yr), blocks(xc), blocks(xr));
    let rows = p.rows(oy);
    for ox in 0..p.out_width as usize {
        let columns = p.columns(ox);
        for block in 0..p.blocks() {
            let (mut lo, mut hi) = ([LOWEST; LANE_BLOCK], [LOWEST; LANE_BLOCK]);
            p.each(&rows, &columns, block, |j| {
                for ((lo, hi), (c, r)) in lo.iter_mut().zip(&mut hi).zip(xc[j].iter().zip(&xr[j])) {
                    [*lo, *hi] = max_ends([*lo, *hi], *c, *r);
                }
            });
            let at = ox * p.blocks() + block;
            for ((yc, yr), (lo, hi)) in yc[at].iter_mut().zip(&mut yr[at]).zip(lo.iter().zip(&hi)) {
                [*yc, *yr] = max_of_ends([*lo, *hi], p.inflate);
            }
        }
    }
}

/// Below every bound that the range check lets through.
const LOWEST: f32 = f32::MIN / 2.0;

/// Ends of the interval that holds the maximum so far and one more value.
#[inline(always)]
fn max_ends<T: Real>([lo, hi]: [T; 2], c: T, r: T) -> [T; 2] {
    let (c, r) = (settle(c), settle_radius(c, r));
    let point = is_zero(r);
    let (l, u) = (lower(c - r, 1), raise(c + r, 1));
    [lo.max(if point { c } else { l }), hi.max(if point { c } else { u })]
}

#[inline(always)]
fn max_of_ends<T: Real>([lo, hi]: [T; 2], inflate: f32) -> [T; 2] {
    let half = T::of(0.5);
    let point = lo.get() == hi.get();
    let centre = if point { hi } else { settle(half * lo + half * hi) };
    let radius = raise((hi - centre).max(centre - lo), 2);
    [centre, inflated(if point { T::of(0.0) } else { radius }, centre, inflate)]
}

pub(super) fn average_interval(call: Call<'_>) {
    interval_rows(call, average_interval_row);
}

vectorise!(fn average_interval_row = average_interval_body(p: Params, y: [&mut [f32]; 2], x: [&[f32]; 2], oy: usize));

#[inline(always)]
fn average_interval_body(p: Params, [yc, yr]: [&mut [f32]; 2], [xc, xr]: [&[f32]; 2], oy: usize) {
    let (yc, yr, xc, xr) = (blocks_mut(yc), blocks_mut(yr), blocks(xc), blocks(xr));
    let rows = p.rows(oy);
    for ox in 0..p.out_width as usize {
        let columns = p.columns(ox);
        let share = p.share(&rows, &columns);
        for block in 0..p.blocks() {
            let mut sums = [[0.0; LANE_BLOCK]; 3];
            for row in rows.clone() {
                let mut part = [[0.0; LANE_BLOCK]; 3];
                p.each(&(row..row + 1), &columns, block, |j| {
                    for lane in 0..LANE_BLOCK {
                        let so_far = [part[0][lane], part[1][lane], part[2][lane]];
                        let next = average_sums(so_far, xc[j][lane], xr[j][lane]);
                        (part[0][lane], part[1][lane], part[2][lane]) = (next[0], next[1], next[2]);
                    }
                });
                sums.iter_mut().zip(&part).for_each(|(sum, part)| add(sum, part));
            }
            let at = ox * p.blocks() + block;
            for lane in 0..LANE_BLOCK {
                let sums = [sums[0][lane], sums[1][lane], sums[2][lane]];
                [yc[at][lane], yr[at][lane]] = average_of_sums(sums, share, p.error, p.inflate);
            }
        }
    }
}

/// Sums of centres, of their magnitudes and of radii, with one more value.
#[inline(always)]
fn average_sums<T: Real>([sum, size, spread]: [T; 3], c: T, r: T) -> [T; 3] {
    let (settled, r) = (settle(c), settle_radius(c, r));
    [sum + settled, size + settled.abs(), spread + r]
}

#[inline(always)]
fn average_of_sums<T: Real>([sum, size, spread]: [T; 3], share: T, error: f32, inflate: f32) -> [T; 2] {
    let centre = settle(sum * share);
    // The sums behind the radius may themselves be short by the error share: hence once more.
    let radius = (spread + T::of(error) * size) * share;
    let once_more = T::of(2.0 * error) * radius;
    let grown = raise(radius + once_more + T::of(inflate) * centre.abs() + T::of(TINY), 8);
    [centre, if is_zero(size) & is_zero(spread) { T::of(0.0) } else { grown }]
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;

    use super::*;
    use crate::ops::adversary::{Wild, exact, holds};
    use crate::ops::case::awkward;
    use crate::rng::Rng;

    /// Random windows of up to twelve awkward intervals.
    fn windows(stream: u64, mut check: impl FnMut(&mut Rng, Vec<[f32; 2]>, f32)) {
        let mut rng = Rng::new(5, stream);
        for i in 0..4000 {
            let count = 1 + rng.below(12);
            let (c, r) = (awkward(&mut rng, count), awkward(&mut rng, count));
            let points = rng.below(4) == 0;
            let window = c.iter().zip(r).map(|(&c, r)| [c, if points { 0.0 } else { r.abs() }]).collect();
            check(&mut rng, window, if i % 2 == 0 { 0.0 } else { 1e-5 });
        }
    }

    #[test]
    fn maximum_holds_under_any_rounding() {
        windows(3, |_, window, share| {
            let lowest = [Wild(LOWEST); 2];
            let ends = window.iter().fold(lowest, |ends, &[c, r]| max_ends(ends, Wild(c), Wild(r)));
            let largest = |end: fn(&[f32; 2]) -> BigRational| window.iter().map(end).max().unwrap();
            let exact_ends = [largest(|x| exact(x[0]) - exact(x[1])), largest(|x| exact(x[0]) + exact(x[1]))];
            let magnitude = window.iter().map(|[c, r]| c.abs() + r).fold(0.0, f32::max);
            holds(max_of_ends(ends, share), exact_ends, share, magnitude);
        });
        assert_eq!(max_of_ends(max_ends([LOWEST; 2], 0.0, 0.0), 0.1), [0.0, 0.0]);
    }

    #[test]
    fn mean_holds_under_any_rounding() {
        windows(4, |rng, window, share| {
            let none = [Wild(0.0); 3];
            let sums = window.iter().fold(none, |sums, &[c, r]| average_sums(sums, Wild(c), Wild(r)));
            let count = window.len();
            let mut part = 1.0 / count as f32;
            for _ in 0..rng.below(3) {
                part = part.next_down();
            }
            let error = crate::rounding::to_f32_up(crate::rounding::gamma(count + 8, crate::rounding::UNIT));
            let got = average_of_sums(sums, Wild(part), error, share);
            let mean = |j: usize| window.iter().map(|x| exact(x[j])).sum::<BigRational>() / exact(count as f32);
            let magnitude = 8.0 * window.iter().map(|[c, r]| c.abs() + r).sum::<f32>();
            holds(got, [mean(0) - mean(1), mean(0) + mean(1)], share, magnitude);
        });
    }
}
