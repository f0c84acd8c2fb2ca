//! CPU twins of the linear-bound kernels: tasks are (slice of elements) x (block of sixteen rows).

use rayon::prelude::*;

use super::places::{BLOCK, Block, Places, check_tables};
use super::{NEGATED, NONE, Params, RELAX, SLICES};
use crate::dispatch;
use crate::kernel::{Call, as_u32};
use crate::rounding::{down, up};
use crate::simd::{Lanes, Shared, each};

/// Elements of slice `s`.
fn slice_elements(p: &Params, s: usize) -> std::ops::Range<usize> {
    slice_of((p.channels * p.size_y * p.size_x) as usize, s)
}

/// What of so many is in slice `s`.
pub(in crate::ops) fn slice_of(n: usize, s: usize) -> std::ops::Range<usize> {
    let share = n.div_ceil(SLICES);
    (s * share).min(n)..((s + 1) * share).min(n)
}

/// Sums side by side, set aside every `block` terms.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Blocked<L, const N: usize> {
    total: [L; N],
    part: [L; N],
    filled: u32,
    block: u32,
}

impl<L: Lanes, const N: usize> Blocked<L, N> {
    #[inline(always)]
    pub(in crate::ops) unsafe fn new(block: u32) -> Self {
        let zero = [unsafe { L::splat(0.0) }; N];
        Blocked { total: zero, part: zero, filled: 0, block }
    }

    /// Adds a product to each.
    #[inline(always)]
    pub(in crate::ops) unsafe fn add(&mut self, products: [(L, L); N]) {
        unsafe {
            for (part, (a, b)) in self.part.iter_mut().zip(products) {
                *part = part.mul_acc(a, b);
            }
            self.filled += 1;
            if self.filled == self.block {
                self.total = each(|i| self.total[i].add(self.part[i]));
                self.part = [L::splat(0.0); N];
                self.filled = 0;
            }
        }
    }

    #[inline(always)]
    pub(in crate::ops) unsafe fn values(&self) -> [Block; N] {
        each(|i| {
            let mut out = [0.0; BLOCK];
            unsafe { self.total[i].add(self.part[i]).store(out.as_mut_ptr()) };
            out
        })
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

/// Elements of all rows that one task seeds.
const SEEDED: usize = 64;

pub(super) fn seed(call: Call<'_>) {
    let p: Params = call.params();
    let ([w, b, rows], [a, sums]) = call.buffers();
    let (lanes, outputs) = (p.lanes as usize, p.step_y as usize);
    let target = &as_u32(rows)[3 * lanes..4 * lanes];
    sums[..2 * SLICES * lanes].fill(0.0);
    let sign = |t: u32| if t & NEGATED != 0 { -1.0f32 } else { 1.0 };
    for (lane, &t) in target.iter().enumerate().filter(|(_, t)| **t != NONE) {
        sums[lane] = sign(t) * b[(t & !NEGATED) as usize];
    }
    let elements = (p.channels * p.size_y * p.size_x) as usize;
    assert!(w.len() >= elements * outputs && target.iter().all(|&t| t == NONE || (t & !NEGATED) < outputs as u32));
    // A few elements of all rows at a time, so that weights and coefficients are both read in order.
    a[..elements * lanes].par_chunks_mut(SEEDED * lanes).zip(w.par_chunks(SEEDED * outputs)).for_each(|(a, w)| {
        for lane in (0..lanes).step_by(BLOCK) {
            let target = &target[lane..lane + BLOCK];
            let unused = |i: usize| target[i] == NONE;
            let output = each(|i| if unused(i) { 0 } else { (target[i] & !NEGATED) as i32 });
            let sign = each(|i| if unused(i) { 0.0 } else { sign(target[i]) });
            seed_rows(a, w, [lanes, outputs, lane], &output, &sign);
        }
    });
}

dispatch! {
    /// `a[k][row] = sign[row] * w[k][output[row]]` for sixteen rows from `lane` on; every output is one of `w`'s.
    fn seed_rows = seed_rows_lanes(
        a: &mut [f32], w: &[f32], sizes: [usize; 3], output: &[i32; BLOCK], sign: &Block
    )
}

#[inline(always)]
unsafe fn seed_rows_lanes<L: Lanes>(
    a: &mut [f32],
    w: &[f32],
    [lanes, outputs, lane]: [usize; 3],
    output: &[i32; BLOCK],
    sign: &Block,
) {
    let elements = a.len() / lanes;
    assert!(lane + BLOCK <= lanes && w.len() >= elements * outputs);
    unsafe {
        let sign = L::load(sign.as_ptr());
        // Plain indices: iterators of pieces are no part of a function for wide registers.
        for k in 0..elements {
            let row = L::choose(w.as_ptr().add(k * outputs), outputs, output);
            row.mul(sign).store(a.as_mut_ptr().add(k * lanes + lane));
        }
    }
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

pub(super) fn relu(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, bias, rows], [a, sums]) = call.buffers();
    assert!(bias.len() >= (p.channels * p.height * p.width) as usize);
    for_tasks(&p, as_u32(rows), a, sums, &[(table.len(), RELAX)], |task| relu_task(task, table, bias));
}

dispatch! {
    fn relu_task = relu_lanes(task: &Task<'_>, table: &[f32], bias: &[f32])
}

#[inline(always)]
unsafe fn relu_lanes<L: Lanes>(task: &Task<'_>, table: &[f32], bias: &[f32]) {
    let (p, lanes, places) = (task.p, task.p.lanes as usize, task.places);
    unsafe {
        let mut sums = Blocked::<L, 4>::new(p.block);
        let zero = L::splat(0.0);
        let mut table = places.entries::<RELAX>(table);
        for at in places.elements(task.elements.clone()) {
            let pointer = task.a.get().add(at.element * lanes + task.lane);
            let above = places.clip(L::load(pointer), at);
            let [upper, intercept, lower, magnitude] = table.at::<L>(at);
            let (rise, fall) = (above.max(zero), above.min(zero));
            // One of the two products is exactly zero.
            let c = rise.mul(lower).mul_acc(fall, upper);
            c.store(pointer);
            // Intercepts of max pooling have either sign, so that their sum says nothing of its own error.
            let (bend, constant) = ((fall.abs(), intercept.abs()), (c, places.look_up_shared(bias.as_ptr(), at)));
            sums.add([(fall, intercept), bend, constant, (c.abs(), magnitude)]);
        }
        let [intercepts, bends, constants, sizes] = sums.values();
        settle(p, task.sums, task.slice, task.lane, intercepts, charged(&bends, p.g));
        settle(p, task.sums, task.slice, task.lane, constants, charged(&sizes, p.charge));
    }
}

/// `g` times sums that are themselves wrong by a share of `g`.
#[inline(always)]
fn charged(sizes: &Block, g: f32) -> Block {
    each(|i| up(up(g * sizes[i]) * (1.0 + 2.0 * g)))
}

pub(super) fn lift(call: Call<'_>) {
    let p: Params = call.params();
    let ([feet, rows, a], [sums]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(feet.len(), 1)]);
    assert!(a.len() >= (p.channels * p.size_y * p.size_x) as usize * lanes && sums.len() >= 2 * SLICES * lanes);
    let sums = Shared(sums.as_mut_ptr());
    (0..lanes / BLOCK).into_par_iter().for_each(|block| {
        let lane = block * BLOCK;
        let places = Places::new(&p, rows, lane);
        for slice in 0..SLICES {
            let (mut constant, mut size) = ([0.0; BLOCK], [0.0; BLOCK]);
            lift_sums(&p, &places, slice, &a[lane..], feet, &mut constant, &mut size);
            // SAFETY: this task alone has this block of lanes.
            unsafe { settle(&p, sums, slice, lane, constant, charged(&size, p.g)) };
        }
    });
}

dispatch! {
    /// `sum max(A, 0) foot` and `sum |max(A, 0) foot|` of one slice of sixteen rows.
    fn lift_sums = lift_sums_lanes(
        p: &Params, places: &Places, slice: usize, a: &[f32], feet: &[f32], constant: &mut Block, size: &mut Block
    )
}

#[inline(always)]
unsafe fn lift_sums_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    slice: usize,
    a: &[f32],
    feet: &[f32],
    constant: &mut Block,
    size: &mut Block,
) {
    let lanes = p.lanes as usize;
    unsafe {
        let mut sums = Blocked::<L, 2>::new(p.block);
        let zero = L::splat(0.0);
        let mut feet = places.entries::<1>(feet);
        for at in places.elements(slice_elements(p, slice)) {
            let above = places.clip(L::load(a.as_ptr().add(at.element * lanes)), at).max(zero);
            let [foot] = feet.at::<L>(at);
            sums.add([(above, foot), (above, foot.abs())]);
        }
        [*constant, *size] = sums.values();
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
    let (p, lanes, places) = (task.p, task.p.lanes as usize, task.places);
    unsafe {
        let mut sums = Blocked::<L, 2>::new(p.block);
        let mut magnitude = places.entries::<1>(magnitude);
        for at in places.elements(task.elements.clone()) {
            let pointer = task.a.get().add(at.element * lanes + task.lane);
            let c = places.clip(L::load(pointer), at);
            c.store(pointer);
            let [m] = magnitude.at::<L>(at);
            sums.add([(c, places.look_up_shared(bias.as_ptr(), at)), (c.abs(), m)]);
        }
        let [constants, sizes] = sums.values();
        settle(p, task.sums, task.slice, task.lane, constants, charged(&sizes, p.g));
    }
}

/// Sum of constants, and the bound on all errors so far including that of the sum, for sixteen rows.
pub(in crate::ops) fn gather_sums(p: &Params, sums: &[f32], lane: usize) -> (Block, Block) {
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
        let mut sums = Blocked::<L, 2>::new(p.block);
        let g = L::splat(p.g);
        let (mut centre, mut radius) = (places.entries::<1>(centre), places.entries::<1>(radius));
        for at in places.elements(0..elements) {
            let coefficients = places.clip(L::load(a.as_ptr().add(at.element * lanes)), at);
            let [c] = centre.at::<L>(at);
            let [r] = radius.at::<L>(at);
            sums.add([(coefficients, c), (coefficients.abs(), r.mul_acc(g, c.abs()))]);
        }
        [*dot, *span] = sums.values();
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
        let element = |row: u32, column: u32| {
            let wy = y - (row as isize * p.step_y as isize - p.offset_y as isize);
            let wx = x - (column as isize * p.step_x as isize - p.offset_x as isize);
            let inside = (wy as usize) < sy && (wx as usize) < sx;
            inside.then(|| ((c * sy + wy as usize) * sx + wx as usize) * lanes)
        };
        if p.step_y == 0 && p.step_x == 0 {
            // All rows see the same part.
            match element(0, 0) {
                Some(from) => dense.copy_from_slice(&a[from..from + lanes]),
                None => dense.fill(0.0),
            }
            return;
        }
        for (lane, value) in dense.iter_mut().enumerate() {
            *value = element(rows[lanes + lane], rows[2 * lanes + lane]).map_or(0.0, |from| a[from + lane]);
        }
    });
}

pub(super) fn pick(call: Call<'_>) {
    let p: Params = call.params();
    let ([from, source], [to]) = call.buffers();
    let (old, source) = (p.width as usize, as_u32(source));
    to.par_chunks_mut(p.lanes as usize).zip(from.par_chunks(old)).with_min_len(64).for_each(|(to, from)| {
        let used = to.iter_mut().zip(source).filter(|(_, lane)| **lane != NONE);
        used.for_each(|(to, &lane)| *to = from[lane as usize]);
    });
}
