//! CPU twins of the linear-bound kernels: tasks are (slice of elements) x (block of sixteen rows).

use rayon::prelude::*;

use super::linear::{NEGATED, Params, RELAX, SLICES};
use crate::kernel::{Call, as_u32};
use crate::rounding::{SUM_BLOCK, down, up};
use crate::simd::Shared;

const BLOCK: usize = 16;
type Block = [f32; BLOCK];

/// Sixteen neighbouring rows: where each one's window lies and which image it belongs to.
struct Lanes {
    image: [usize; BLOCK],
    y: [isize; BLOCK],
    x: [isize; BLOCK],
    /// All rows see the same place of the same image.
    uniform: bool,
    dense: bool,
}

impl Lanes {
    fn new(p: &Params, rows: &[u32], lane: usize) -> Self {
        let lanes = p.lanes as usize;
        let mut l = Lanes {
            image: [0; BLOCK],
            y: [0; BLOCK],
            x: [0; BLOCK],
            uniform: true,
            dense: p.step_y == 0 && p.step_x == 0,
        };
        for i in 0..BLOCK {
            let place = rows[lanes + lane + i];
            l.image[i] = rows[lane + i] as usize;
            l.y[i] = (place >> 16) as isize * p.step_y as isize - p.offset_y as isize;
            l.x[i] = (place & 0xffff) as isize * p.step_x as isize - p.offset_x as isize;
        }
        l.uniform = l.dense && l.image.iter().all(|&i| i == l.image[0]);
        l
    }

    /// Index of window element `(c, y, x)` in each row's image table; `None` outside the layer.
    #[inline(always)]
    fn index(&self, p: &Params, c: usize, y: usize, x: usize, i: usize) -> Option<usize> {
        let (ay, ax) = (self.y[i] + y as isize, self.x[i] + x as isize);
        let inside = (ay as usize) < p.height as usize && (ax as usize) < p.width as usize;
        inside.then(|| (c * p.height as usize + ay as usize) * p.width as usize + ax as usize)
    }
}

/// Elements of slice `s`, as `(k, channel, window row, window column)`.
fn slice_elements(p: &Params, s: usize) -> std::ops::Range<usize> {
    let n = (p.channels * p.size_y * p.size_x) as usize;
    let share = n.div_ceil(SLICES);
    (s * share).min(n)..((s + 1) * share).min(n)
}

#[inline(always)]
fn split(p: &Params, k: usize) -> (usize, usize, usize) {
    let (sy, sx) = (p.size_y as usize, p.size_x as usize);
    (k / (sy * sx), k / sx % sy, k % sx)
}

/// A sum set aside every [`SUM_BLOCK`] terms.
#[derive(Clone, Copy)]
struct Blocked {
    total: Block,
    part: Block,
    filled: usize,
}

impl Blocked {
    fn new() -> Self {
        Blocked { total: [0.0; BLOCK], part: [0.0; BLOCK], filled: 0 }
    }

    #[inline(always)]
    fn add(&mut self, term: Block) {
        for i in 0..BLOCK {
            self.part[i] += term[i];
        }
        self.filled += 1;
        if self.filled == SUM_BLOCK {
            self.total = self.value();
            self.part = [0.0; BLOCK];
            self.filled = 0;
        }
    }

    fn value(&self) -> Block {
        std::array::from_fn(|i| self.total[i] + self.part[i])
    }
}

/// Runs `task(slice, first lane)` for all blocks in parallel.
fn for_blocks(lanes: usize, task: impl Fn(usize, usize) + Sync) {
    (0..lanes / BLOCK * SLICES).into_par_iter().for_each(|t| task(t % SLICES, t / SLICES * BLOCK));
}

/// Adds one slice's sums: `constant += p`, `error += e`, plus the rounding of the first addition.
///
/// # Safety
/// `sums` holds `2 * SLICES * lanes` words and no other task has this slice and lane block.
unsafe fn settle(p: &Params, sums: Shared, slice: usize, lane: usize, constant: Block, error: Block) {
    let lanes = p.lanes as usize;
    for i in 0..BLOCK {
        unsafe {
            let c = sums.get().add(2 * slice * lanes + lane + i);
            let e = sums.get().add((2 * slice + 1) * lanes + lane + i);
            *c += constant[i];
            *e = up(up(*e + error[i]) + 2.0 * p.unit * (*c).abs());
        }
    }
}

pub(super) fn seed(call: Call<'_>) {
    let p: Params = call.params();
    let ([w, b, target], [a, sums]) = call.buffers();
    let (lanes, outputs, target) = (p.lanes as usize, p.step_y as usize, as_u32(target));
    sums[..2 * SLICES * lanes].fill(0.0);
    let sign = |t: u32| if t & NEGATED != 0 { -1.0f32 } else { 1.0 };
    for (lane, &t) in target.iter().enumerate().filter(|(_, t)| **t != u32::MAX) {
        sums[lane] = sign(t) * b[(t & !NEGATED) as usize];
    }
    let picks: Vec<(usize, f32)> =
        target.iter().map(|&t| if t == u32::MAX { (0, 0.0) } else { ((t & !NEGATED) as usize, sign(t)) }).collect();
    let elements = (p.channels * p.size_y * p.size_x) as usize;
    a[..elements * lanes].par_chunks_mut(lanes).enumerate().for_each(|(k, row)| {
        let w = &w[k * outputs..(k + 1) * outputs];
        for (a, &(o, sign)) in row.iter_mut().zip(&picks) {
            *a = sign * w[o];
        }
    });
}

pub(super) fn relu(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, rows], [a, sums]) = call.buffers();
    let (lanes, stride) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    let (rows, a, sums) = (as_u32(rows), Shared(a.as_mut_ptr()), Shared(sums.as_mut_ptr()));
    for_blocks(lanes, |slice, lane| {
        let at = Lanes::new(&p, rows, lane);
        let mut intercepts = Blocked::new();
        for k in slice_elements(&p, slice) {
            // SAFETY: element k of lanes lane..lane+16 belongs to this task alone.
            let coefficients = unsafe { &mut *a.get().add(k * lanes + lane).cast::<Block>() };
            let (mut upper, mut intercept, mut lower) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
            if at.uniform {
                let entry = &table[(at.image[0] * stride + k) * RELAX..][..RELAX];
                (upper, intercept, lower) = ([entry[0]; BLOCK], [entry[1]; BLOCK], [entry[2]; BLOCK]);
            } else {
                let (c, y, x) = split(&p, k);
                for i in 0..BLOCK {
                    if let Some(index) = at.index(&p, c, y, x, i) {
                        let entry = &table[(at.image[i] * stride + index) * RELAX..][..RELAX];
                        (upper[i], intercept[i], lower[i]) = (entry[0], entry[1], entry[2]);
                    }
                }
            }
            let mut term = [0.0; BLOCK];
            for i in 0..BLOCK {
                let c = coefficients[i];
                coefficients[i] = c * if c < 0.0 { upper[i] } else { lower[i] };
                term[i] = c.min(0.0) * intercept[i];
            }
            intercepts.add(term);
        }
        let constant = intercepts.value();
        let error = constant.map(|c| up(p.g * c.abs()));
        // SAFETY: this slice and lane block belong to this task alone.
        unsafe { settle(&p, sums, slice, lane, constant, error) };
    });
}

pub(super) fn affine(call: Call<'_>) {
    let p: Params = call.params();
    let ([bias, magnitude, rows], [a, sums]) = call.buffers();
    let (lanes, stride) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    let (rows, a, sums) = (as_u32(rows), Shared(a.as_mut_ptr()), Shared(sums.as_mut_ptr()));
    for_blocks(lanes, |slice, lane| {
        let at = Lanes::new(&p, rows, lane);
        let (mut constants, mut sizes) = (Blocked::new(), Blocked::new());
        for k in slice_elements(&p, slice) {
            // SAFETY: element k of lanes lane..lane+16 belongs to this task alone.
            let coefficients = unsafe { &mut *a.get().add(k * lanes + lane).cast::<Block>() };
            let (mut b, mut m) = ([0.0; BLOCK], [0.0; BLOCK]);
            if at.uniform {
                (b, m) = ([bias[k]; BLOCK], [magnitude[at.image[0] * stride + k]; BLOCK]);
            } else {
                let (c, y, x) = split(&p, k);
                for i in 0..BLOCK {
                    match at.index(&p, c, y, x, i) {
                        Some(index) => {
                            b[i] = bias[index];
                            m[i] = magnitude[at.image[i] * stride + index];
                        }
                        None => coefficients[i] = 0.0,
                    }
                }
            }
            constants.add(std::array::from_fn(|i| coefficients[i] * b[i]));
            sizes.add(std::array::from_fn(|i| coefficients[i].abs() * m[i]));
        }
        let error = sizes.value().map(|s| up(up(p.g * s) * (1.0 + 2.0 * p.g)));
        // SAFETY: this slice and lane block belong to this task alone.
        unsafe { settle(&p, sums, slice, lane, constants.value(), error) };
    });
}

/// Sum of constants, and the bound on all errors so far including that of the sum, for sixteen rows.
fn gather_sums(p: &Params, sums: &[f32], lane: usize) -> (Block, Block) {
    let lanes = p.lanes as usize;
    let (mut constant, mut size, mut error) = ([0.0f32; BLOCK], [0.0f32; BLOCK], [p.floor; BLOCK]);
    for s in 0..SLICES {
        for i in 0..BLOCK {
            let c = sums[2 * s * lanes + lane + i];
            constant[i] += c;
            size[i] += c.abs();
            error[i] = up(error[i] + sums[(2 * s + 1) * lanes + lane + i]);
        }
    }
    for i in 0..BLOCK {
        error[i] = up(error[i] + up(2.0 * (SLICES + 2) as f32 * p.unit * size[i]));
    }
    (constant, error)
}

pub(super) fn concretize(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, centre, radius, rows, sums], [lower]) = call.buffers();
    let (lanes, stride) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    let rows = as_u32(rows);
    let elements = (p.channels * p.size_y * p.size_x) as usize;
    lower[..lanes].par_chunks_mut(BLOCK).enumerate().for_each(|(block, lower)| {
        let lane = block * BLOCK;
        let at = Lanes::new(&p, rows, lane);
        let (mut dots, mut spans) = (Blocked::new(), Blocked::new());
        for k in 0..elements {
            let coefficients = &a[k * lanes + lane..][..BLOCK];
            let (mut c, mut r) = ([0.0; BLOCK], [0.0; BLOCK]);
            if at.uniform {
                let index = at.image[0] * stride + k;
                (c, r) = ([centre[index]; BLOCK], [radius[index]; BLOCK]);
            } else {
                let (channel, y, x) = split(&p, k);
                for i in 0..BLOCK {
                    if let Some(index) = at.index(&p, channel, y, x, i) {
                        (c[i], r[i]) = (centre[at.image[i] * stride + index], radius[at.image[i] * stride + index]);
                    }
                }
            }
            dots.add(std::array::from_fn(|i| coefficients[i] * c[i]));
            spans.add(std::array::from_fn(|i| coefficients[i].abs() * (r[i] + p.g * c[i].abs())));
        }
        let (constant, error) = gather_sums(&p, sums, lane);
        let (dot, span) = (dots.value(), spans.value());
        for i in 0..BLOCK {
            let span = up(span[i] * (1.0 + 3.0 * p.g));
            let rounding = up(4.0 * p.unit * (dot[i].abs() + constant[i].abs()));
            lower[i] = down(down(dot[i] + constant[i]) - up(up(span + error[i]) + rounding));
        }
    });
}

pub(super) fn radius(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, x, delta, rows, sums], [result]) = call.buffers();
    let (lanes, stride) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    let rows = as_u32(rows);
    let (lowers, radii) = result.split_at_mut(lanes);
    lowers.par_chunks_mut(BLOCK).zip(radii[..lanes].par_chunks_mut(BLOCK)).enumerate().for_each(
        |(block, (lowers, radii))| {
            let lane = block * BLOCK;
            let image: [usize; BLOCK] = std::array::from_fn(|i| rows[lane + i] as usize);
            let (mut dots, mut sizes, mut slopes) = (Blocked::new(), Blocked::new(), Blocked::new());
            for k in 0..stride {
                let c = &a[k * lanes + lane..][..BLOCK];
                let pixel: Block = std::array::from_fn(|i| x[image[i] * stride + k]);
                dots.add(std::array::from_fn(|i| c[i] * pixel[i]));
                sizes.add(std::array::from_fn(|i| c[i].abs() * pixel[i].abs()));
                slopes.add(std::array::from_fn(|i| c[i].abs()));
            }
            let (constant, error) = gather_sums(&p, sums, lane);
            let (dot, size, slope) = (dots.value(), sizes.value(), slopes.value());
            // A lower bound of the linear form at x itself.
            let base: Block = std::array::from_fn(|i| {
                let rounding = up(4.0 * p.unit * (dot[i].abs() + constant[i].abs()));
                let error = up(up(error[i] + rounding) + up(p.g * (1.0 + 2.0 * p.g) * size[i]));
                down(down(dot[i] + constant[i]) - error)
            });
            // How much the form can fall within distance d, rounded up, and its slope there.
            let fall = |d: Block| {
                let (mut falls, mut active) = (Blocked::new(), [0.0f32; BLOCK]);
                for k in 0..stride {
                    let c = &a[k * lanes + lane..][..BLOCK];
                    let mut term = [0.0; BLOCK];
                    for i in 0..BLOCK {
                        let pixel = x[image[i] * stride + k];
                        let room = if c[i] > 0.0 { pixel } else { up(1.0 - pixel) };
                        term[i] = c[i].abs() * room.min(d[i]);
                        active[i] += if room > d[i] { c[i].abs() } else { 0.0 };
                    }
                    falls.add(term);
                }
                (falls.value().map(|f| up(f * (1.0 + 2.0 * p.g))), active)
            };
            let goal: Block = std::array::from_fn(|i| delta[image[i]]);
            let (at_goal, _) = fall(goal);
            let mut best: Block = std::array::from_fn(|i| {
                lowers[i] = down(base[i] - at_goal[i]);
                if lowers[i] > 0.0 { goal[i] } else { 0.0 }
            });
            // Newton's method from the left on a convex falling function: every iterate is a candidate.
            const CAUTION: f32 = 1.0 - 1e-5;
            let mut d: Block =
                std::array::from_fn(|i| (base[i].max(0.0) * CAUTION / slope[i].max(f32::MIN_POSITIVE)).min(1.0));
            for _ in 0..4 {
                let (fallen, active) = fall(d);
                for i in 0..BLOCK {
                    let left = down(base[i] - fallen[i]);
                    if left > 0.0 {
                        best[i] = best[i].max(d[i]);
                        if active[i] > 0.0 {
                            d[i] = (d[i] + left * CAUTION / active[i]).min(1.0);
                        } else {
                            d[i] = 1.0;
                        }
                    } else {
                        d[i] *= CAUTION;
                    }
                }
            }
            radii.copy_from_slice(&best);
        },
    );
}

pub(super) fn densify(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, rows], [dense]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    let (h, w) = (p.height as usize, p.width as usize);
    let (sy, sx) = (p.size_y as usize, p.size_x as usize);
    dense[..p.channels as usize * h * w * lanes].par_chunks_mut(lanes).enumerate().for_each(|(k, dense)| {
        let (c, y, x) = (k / (h * w), (k / w % h) as isize, (k % w) as isize);
        for (lane, value) in dense.iter_mut().enumerate() {
            let place = rows[lanes + lane];
            let wy = y - ((place >> 16) as isize * p.step_y as isize - p.offset_y as isize);
            let wx = x - ((place & 0xffff) as isize * p.step_x as isize - p.offset_x as isize);
            let inside = (wy as usize) < sy && (wx as usize) < sx;
            *value = if inside { a[((c * sy + wy as usize) * sx + wx as usize) * lanes + lane] } else { 0.0 };
        }
    });
}
