//! CPU twins of the linear-bound kernels: tasks are (slice of elements) x (block of sixteen rows).

use rayon::prelude::*;

use super::linear::{NEGATED, Params, RELAX, SLICES};
use crate::kernel::{Call, as_u32};
use crate::rounding::{SUM_BLOCK, down, up};
use crate::simd::{Lanes, Shared};
use crate::{dispatch, vectorise};

pub(super) const BLOCK: usize = 16;
pub(super) type Block = [f32; BLOCK];

/// Sixteen neighbouring rows: where in its image's table each element of their windows lies.
struct Places {
    /// Per place of the window: index of its channel-0 entry for each row; a valid one where the place is outside.
    index: Vec<[i32; BLOCK]>,
    /// Per place: 1 inside the layer, 0 outside; empty if every place is inside.
    keep: Vec<Block>,
    /// First entry of each row's image.
    first: [i32; BLOCK],
    /// Table entries per channel.
    plane: i32,
    /// The first entry of the image, if all rows see the whole layer of one image.
    uniform: Option<usize>,
    window: usize,
}

impl Places {
    fn new(p: &Params, rows: &[u32], lane: usize) -> Self {
        let lanes = p.lanes as usize;
        let (h, w) = (p.height as usize, p.width as usize);
        let stride = p.channels as usize * h * w;
        let window = (p.size_y * p.size_x) as usize;
        let image: [usize; BLOCK] = std::array::from_fn(|i| rows[lane + i] as usize);
        let dense = p.step_y == 0 && p.step_x == 0;
        let plane = (h * w) as i32;
        let first = image.map(|i| (i * stride) as i32);
        if dense && image.iter().all(|&i| i == image[0]) {
            return Places { index: vec![], keep: vec![], first, plane, uniform: Some(image[0] * stride), window };
        }
        let mut places = Places {
            index: vec![[0; BLOCK]; window],
            keep: vec![[1.0; BLOCK]; window],
            first,
            plane,
            uniform: None,
            window,
        };
        let corner = |i: usize| -> [i32; 2] {
            let place = rows[lanes + lane + i];
            let top = (place >> 16) as i32 * p.step_y as i32 - p.offset_y;
            [top, (place & 0xffff) as i32 * p.step_x as i32 - p.offset_x]
        };
        let corners: [[i32; 2]; BLOCK] = std::array::from_fn(corner);
        fill_places(p, &mut places, &corners);
        if places.keep.iter().all(|k| *k == [1.0; BLOCK]) {
            places.keep = vec![];
        }
        places
    }

    /// Looks up `table[index * scale + part]` of window element `k` for all rows.
    ///
    /// # Safety
    /// The table holds `scale` words per element of every image.
    #[inline(always)]
    unsafe fn look_up<L: Lanes, const PARTS: usize>(&self, table: *const f32, scale: usize, k: usize) -> [L; PARTS] {
        unsafe {
            if let Some(first) = self.uniform {
                return std::array::from_fn(|part| L::splat(*table.add((first + k) * scale + part)));
            }
            let base = &self.index[k % self.window];
            let channel = (k / self.window) as i32 * self.plane;
            let index: [i32; BLOCK] = std::array::from_fn(|i| (base[i] + channel) * scale as i32);
            std::array::from_fn(|part| L::gather(table.add(part), &index))
        }
    }

    /// The element's coefficients with those outside the layer cleared.
    #[inline(always)]
    unsafe fn clip<L: Lanes>(&self, coefficients: L, k: usize) -> L {
        if self.keep.is_empty() {
            coefficients
        } else {
            unsafe { coefficients.mul(L::load(self.keep[k % self.window].as_ptr())) }
        }
    }
}

vectorise! {
    fn fill_places = fill_places_body(p: &Params, places: &mut Places, corners: &[[i32; 2]; BLOCK])
}

#[inline(always)]
fn fill_places_body(p: &Params, places: &mut Places, corners: &[[i32; 2]; BLOCK]) {
    let (h, w) = (p.height as i32, p.width as i32);
    let top: [i32; BLOCK] = std::array::from_fn(|i| corners[i][0]);
    let left: [i32; BLOCK] = std::array::from_fn(|i| corners[i][1]);
    let first = places.first;
    let mut entries = places.index.iter_mut().zip(&mut places.keep);
    for dy in 0..p.size_y as i32 {
        for dx in 0..p.size_x as i32 {
            let Some((index, keep)) = entries.next() else { return };
            for i in 0..BLOCK {
                let (y, x) = (top[i] + dy, left[i] + dx);
                let inside = (y >= 0) & (y < h) & (x >= 0) & (x < w);
                index[i] = first[i] + if inside { y * w + x } else { 0 };
                keep[i] = if inside { 1.0 } else { 0.0 };
            }
        }
    }
}

/// Elements of slice `s`.
fn slice_elements(p: &Params, s: usize) -> std::ops::Range<usize> {
    let n = (p.channels * p.size_y * p.size_x) as usize;
    let share = n.div_ceil(SLICES);
    (s * share).min(n)..((s + 1) * share).min(n)
}

/// A sum set aside every [`SUM_BLOCK`] terms.
#[derive(Clone, Copy)]
pub(super) struct Blocked<L> {
    total: L,
    part: L,
    filled: usize,
}

impl<L: Lanes> Blocked<L> {
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        let zero = unsafe { L::splat(0.0) };
        Blocked { total: zero, part: zero, filled: 0 }
    }

    /// Adds `a * b`.
    #[inline(always)]
    pub(super) unsafe fn add(&mut self, a: L, b: L) {
        unsafe {
            self.part = self.part.mul_acc(a, b);
            self.filled += 1;
            if self.filled == SUM_BLOCK {
                self.total = self.total.add(self.part);
                self.part = L::splat(0.0);
                self.filled = 0;
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn value(&self) -> Block {
        let mut out = [0.0; BLOCK];
        unsafe { self.total.add(self.part).store(out.as_mut_ptr()) };
        out
    }
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

/// One task of a kernel that changes coefficients: a slice of elements of sixteen rows.
struct Task<'a> {
    p: &'a Params,
    places: &'a Places,
    elements: std::ops::Range<usize>,
    lane: usize,
    a: Shared,
    sums: Shared,
    slice: usize,
}

/// Runs `each` over all tasks; the tables must hold `words` per element of every image that `rows` names.
fn for_tasks(
    p: &Params,
    rows: &[u32],
    a: &mut [f32],
    sums: &mut [f32],
    words: &[(usize, usize)],
    each: impl Fn(&Task) + Sync,
) {
    let lanes = p.lanes as usize;
    check_tables(p, rows, words);
    assert!(a.len() >= (p.channels * p.size_y * p.size_x) as usize * lanes && sums.len() >= 2 * SLICES * lanes);
    let (a, sums) = (Shared(a.as_mut_ptr()), Shared(sums.as_mut_ptr()));
    (0..lanes / BLOCK).into_par_iter().for_each(|block| {
        let lane = block * BLOCK;
        let places = Places::new(p, rows, lane);
        for slice in 0..SLICES {
            each(&Task { p, places: &places, elements: slice_elements(p, slice), lane, a, sums, slice });
        }
    });
}

/// Lookups are unchecked: every table must cover every image. `words` are (table length, words per element).
pub(super) fn check_tables(p: &Params, rows: &[u32], words: &[(usize, usize)]) {
    let images = rows[..p.lanes as usize].iter().max().map_or(0, |m| *m as usize + 1);
    let elements = images * (p.channels * p.height * p.width) as usize;
    for (len, scale) in words {
        assert!(*len >= elements * scale && elements * scale < i32::MAX as usize, "a table is too small");
    }
}

pub(super) fn relu(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, rows], [a, sums]) = call.buffers();
    for_tasks(&p, as_u32(rows), a, sums, &[(table.len(), RELAX)], |task| relu_task(task, table));
}

dispatch! {
    fn relu_task = relu_lanes(task: &Task<'_>, table: &[f32])
}

#[inline(always)]
unsafe fn relu_lanes<L: Lanes>(task: &Task<'_>, table: &[f32]) {
    let (p, lanes) = (task.p, task.p.lanes as usize);
    unsafe {
        let mut intercepts = Blocked::<L>::new();
        let zero = L::splat(0.0);
        for k in task.elements.clone() {
            let at = task.a.get().add(k * lanes + task.lane);
            let c = task.places.clip(L::load(at), k);
            let [upper, intercept, lower] = task.places.look_up::<L, 3>(table.as_ptr(), RELAX, k);
            let (rise, fall) = (c.max(zero), c.min(zero));
            // One of the two products is exactly zero.
            rise.mul(lower).mul_acc(fall, upper).store(at);
            intercepts.add(fall, intercept);
        }
        let constant = intercepts.value();
        settle(p, task.sums, task.slice, task.lane, constant, constant.map(|c| up(p.g * c.abs())));
    }
}

pub(super) fn affine(call: Call<'_>) {
    let p: Params = call.params();
    let ([bias, magnitude, rows], [a, sums]) = call.buffers();
    assert!(bias.len() >= (p.channels * p.height * p.width) as usize);
    for_tasks(&p, as_u32(rows), a, sums, &[(magnitude.len(), 1)], |task| affine_task(task, bias, magnitude));
}

dispatch! {
    fn affine_task = affine_lanes(task: &Task<'_>, bias: &[f32], magnitude: &[f32])
}

#[inline(always)]
unsafe fn affine_lanes<L: Lanes>(task: &Task<'_>, bias: &[f32], magnitude: &[f32]) {
    let (p, lanes) = (task.p, task.p.lanes as usize);
    let uniform = task.places.uniform.is_some();
    unsafe {
        let (mut constants, mut sizes) = (Blocked::<L>::new(), Blocked::<L>::new());
        for k in task.elements.clone() {
            let at = task.a.get().add(k * lanes + task.lane);
            let mut c = L::load(at);
            let b = if uniform {
                L::splat(bias[k])
            } else {
                c = task.places.clip(c, k);
                c.store(at);
                let base = &task.places.index[k % task.places.window];
                let channel = (k / task.places.window) as i32 * task.places.plane;
                // The bias has one entry per element, the same for every image.
                let index: [i32; BLOCK] = std::array::from_fn(|i| base[i] + channel - task.places.first[i]);
                L::gather(bias.as_ptr(), &index)
            };
            let [m] = task.places.look_up::<L, 1>(magnitude.as_ptr(), 1, k);
            constants.add(c, b);
            sizes.add(c.abs(), m);
        }
        let error = sizes.value().map(|s| up(up(p.g * s) * (1.0 + 2.0 * p.g)));
        settle(p, task.sums, task.slice, task.lane, constants.value(), error);
    }
}

/// Sum of constants, and the bound on all errors so far including that of the sum, for sixteen rows.
pub(super) fn gather_sums(p: &Params, sums: &[f32], lane: usize) -> (Block, Block) {
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
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(centre.len(), 1), (radius.len(), 1)]);
    assert!(a.len() >= (p.channels * p.size_y * p.size_x) as usize * lanes);
    lower[..lanes].par_chunks_mut(BLOCK).enumerate().for_each(|(block, lower)| {
        let lane = block * BLOCK;
        let places = Places::new(&p, rows, lane);
        let (mut dot, mut span) = ([0.0; BLOCK], [0.0; BLOCK]);
        box_sums(&p, &places, &a[lane..], [centre, radius], &mut dot, &mut span);
        let (constant, error) = gather_sums(&p, sums, lane);
        for i in 0..BLOCK {
            let span = up(span[i] * (1.0 + 3.0 * p.g));
            let rounding = up(4.0 * p.unit * (dot[i].abs() + constant[i].abs()));
            lower[i] = down(down(dot[i] + constant[i]) - up(up(span + error[i]) + rounding));
        }
    });
}

dispatch! {
    /// `sum A c` and `sum |A| (r + g |c|)` of sixteen rows.
    fn box_sums = box_sums_lanes(
        p: &Params, places: &Places, a: &[f32], tables: [&[f32]; 2], dot: &mut Block, span: &mut Block
    )
}

#[inline(always)]
unsafe fn box_sums_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    a: &[f32],
    [centre, radius]: [&[f32]; 2],
    dot: &mut Block,
    span: &mut Block,
) {
    let (lanes, elements) = (p.lanes as usize, (p.channels * p.size_y * p.size_x) as usize);
    unsafe {
        let (mut dots, mut spans) = (Blocked::<L>::new(), Blocked::<L>::new());
        let g = L::splat(p.g);
        for k in 0..elements {
            let coefficients = places.clip(L::load(a.as_ptr().add(k * lanes)), k);
            let [c] = places.look_up::<L, 1>(centre.as_ptr(), 1, k);
            let [r] = places.look_up::<L, 1>(radius.as_ptr(), 1, k);
            dots.add(coefficients, c);
            spans.add(coefficients.abs(), r.mul_acc(g, c.abs()));
        }
        *dot = dots.value();
        *span = spans.value();
    }
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
