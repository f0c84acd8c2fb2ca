//! CPU twins. Sums of a point's values are taken in their order, so that a point does what it would do alone.

use std::ops::Range;

use rayon::prelude::*;

use super::{LEAST, NONE, Params, WITHIN};
use crate::kernel::{Call, as_u32, as_u32_mut};
use crate::ops::{CHUNK, chunk_of};
use crate::rounding::to_f32_up;
use crate::simd::{Shared, each};
use crate::tensor::LANE_BLOCK;
use crate::vectorise;

impl Params {
    /// Neighbouring lanes for each thread, unless there is little to do.
    fn by_lanes(&self, task: impl Fn(Range<usize>) + Sync) {
        let (lanes, least) = (self.lanes as usize, CHUNK / self.elements.max(1) as usize);
        let share = lanes.div_ceil(rayon::current_num_threads()).max(least).next_multiple_of(LANE_BLOCK);
        let tasks = lanes.div_ceil(share);
        (0..tasks).into_par_iter().for_each(|t| task(t * share..lanes.min((t + 1) * share)));
    }

    /// Some lanes of an element.
    #[inline(always)]
    fn row<'a>(&self, values: &'a [f32], element: usize, lanes: &Range<usize>) -> &'a [f32] {
        &values[element * self.lanes as usize..][lanes.clone()]
    }

    /// # Safety
    /// `values` is `[element][lane]`, and no other task has these lanes.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    unsafe fn row_mut(&self, values: &Shared, element: usize, lanes: &Range<usize>) -> &mut [f32] {
        let first = element * self.lanes as usize + lanes.start;
        unsafe { std::slice::from_raw_parts_mut(values.get().add(first), lanes.len()) }
    }

    fn words(&self) -> usize {
        self.elements as usize * self.lanes as usize
    }
}

/// The nearest value between two ends; unlike `clamp`, it never looks whether there is one.
#[inline(always)]
fn between(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// Which way to go; nowhere without momentum.
#[inline(always)]
fn direction(momentum: f32) -> f32 {
    momentum.signum() * f32::from(momentum != 0.0)
}

/// How far a pixel takes part in a direction.
#[inline(always)]
fn free(x: f32, d: f32) -> f32 {
    if (x <= 0.0) & (d < 0.0) | (x >= 1.0) & (d > 0.0) { 0.0 } else { d }
}

pub(super) fn ball(call: Call<'_>) {
    let p: Params = call.params();
    let ([gradient, radius], [momentum, x]) = call.buffers();
    assert!(momentum.len() >= p.words() && x.len() >= p.words());
    let (momentum, x) = (Shared(momentum.as_mut_ptr()), Shared(x.as_mut_ptr()));
    p.by_lanes(|lanes| ball_lanes(p, lanes, gradient, radius, momentum, x));
}

vectorise!(fn ball_lanes = ball_body(
    p: Params, lanes: Range<usize>, gradient: &[f32], radius: &[f32], momentum: Shared, x: Shared
));

#[inline(always)]
fn ball_body(p: Params, lanes: Range<usize>, gradient: &[f32], radius: &[f32], momentum: Shared, x: Shared) {
    let n = lanes.len();
    let [size, length, square] = &mut [vec![0.0f32; n], vec![0.0f32; n], vec![0.0f32; n]];
    let (size, length, square) = (&mut size[..n], &mut length[..n], &mut square[..n]);
    for k in 0..p.elements as usize {
        let g = &p.row(gradient, k, &lanes)[..n];
        for i in 0..n {
            size[i] += g[i].abs();
        }
    }
    for (i, r) in radius[lanes.clone()].iter().enumerate() {
        (size[i], length[i]) = (size[i].max(f32::MIN_POSITIVE), r * p.share / p.over);
    }
    for k in 0..p.elements as usize {
        // SAFETY: these lanes are this task's.
        let (m, x) = unsafe { (&mut p.row_mut(&momentum, k, &lanes)[..n], &mut p.row_mut(&x, k, &lanes)[..n]) };
        let g = &p.row(gradient, k, &lanes)[..n];
        for i in 0..n {
            m[i] = 0.75 * m[i] + g[i] / size[i];
        }
        if p.euclidean == 0 {
            for i in 0..n {
                x[i] += length[i] * direction(m[i]);
            }
        } else {
            for i in 0..n {
                square[i] += free(x[i], m[i]) * free(x[i], m[i]);
            }
        }
    }
    if p.euclidean == 1 {
        for i in 0..n {
            length[i] /= square[i].sqrt().max(LEAST);
        }
        for k in 0..p.elements as usize {
            // SAFETY: as above.
            let (m, x) = unsafe { (&p.row_mut(&momentum, k, &lanes)[..n], &mut p.row_mut(&x, k, &lanes)[..n]) };
            for i in 0..n {
                x[i] += length[i] * free(x[i], m[i]);
            }
        }
    }
}

pub(super) fn pull(call: Call<'_>) {
    let p: Params = call.params();
    let ([centre, radius], [x, distance]) = call.buffers();
    assert!(x.len() >= p.words() && distance.len() >= p.lanes as usize);
    let (x, distance) = (Shared(x.as_mut_ptr()), Shared(distance.as_mut_ptr()));
    p.by_lanes(|lanes| pull_lanes(p, lanes, centre, radius, x, distance));
}

vectorise!(fn pull_lanes = pull_body(
    p: Params, lanes: Range<usize>, centre: &[f32], radius: &[f32], x: Shared, distance: Shared
));

#[inline(always)]
fn pull_body(p: Params, lanes: Range<usize>, centre: &[f32], radius: &[f32], x: Shared, distance: Shared) {
    let n = lanes.len();
    let radius = &radius[lanes.clone()][..n];
    let (far, share) = (&mut vec![0.0f64; n][..n], &mut vec![1.0f32; n][..n]);
    if p.euclidean == 1 {
        for k in 0..p.elements as usize {
            // SAFETY: these lanes are this task's.
            let (x, c) = (unsafe { &p.row_mut(&x, k, &lanes)[..n] }, &p.row(centre, k, &lanes)[..n]);
            for i in 0..n {
                far[i] += square(x[i], c[i]);
            }
        }
        for i in 0..n {
            share[i] = (radius[i] / euclidean(far[i]).max(f32::MIN_POSITIVE)).min(1.0);
            far[i] = 0.0;
        }
    }
    for k in 0..p.elements as usize {
        // SAFETY: as above.
        let (x, c) = (unsafe { &mut p.row_mut(&x, k, &lanes)[..n] }, &p.row(centre, k, &lanes)[..n]);
        if p.euclidean == 0 {
            for i in 0..n {
                x[i] = between(between(x[i], c[i] - radius[i], c[i] + radius[i]), 0.0, 1.0);
                let change = (f64::from(x[i]) - f64::from(c[i])).abs();
                far[i] = if change > far[i] { change } else { far[i] };
            }
        } else {
            for i in 0..n {
                x[i] = between(c[i] + share[i] * (x[i] - c[i]), 0.0, 1.0);
                far[i] += square(x[i], c[i]);
            }
        }
    }
    // SAFETY: as above.
    let distance = unsafe { &mut p.row_mut(&distance, 0, &lanes)[..n] };
    for i in 0..n {
        distance[i] = if p.euclidean == 1 { euclidean(far[i]) } else { to_f32_up(far[i]) };
    }
}

#[inline(always)]
fn square(a: f32, b: f32) -> f64 {
    let change = f64::from(a) - f64::from(b);
    change * change
}

/// The length of so large a square, as [`Norm::distance`](crate::norm::Norm::distance) rounds it.
#[inline(always)]
fn euclidean(square: f64) -> f32 {
    to_f32_up(square.sqrt() * (1.0 + 1e-9))
}

pub(super) fn within(call: Call<'_>) {
    let p: Params = call.params();
    let ([gradient, low, high], [momentum, x]) = call.buffers();
    assert!(momentum.len() >= p.words() && x.len() >= p.words());
    let (momentum, x) = (Shared(momentum.as_mut_ptr()), Shared(x.as_mut_ptr()));
    p.by_lanes(|lanes| within_lanes(p, lanes, gradient, low, high, momentum, x));
}

vectorise!(fn within_lanes = within_body(
    p: Params, lanes: Range<usize>, gradient: &[f32], low: &[f32], high: &[f32], momentum: Shared, x: Shared
));

#[inline(always)]
fn within_body(
    p: Params,
    lanes: Range<usize>,
    gradient: &[f32],
    low: &[f32],
    high: &[f32],
    momentum: Shared,
    x: Shared,
) {
    let n = lanes.len();
    let size = &mut vec![0.0f32; n][..n];
    for k in 0..p.elements as usize {
        let [g, l, h]: [&[f32]; 3] = each(|i| &p.row([gradient, low, high][i], k, &lanes)[..n]);
        for i in 0..n {
            size[i] += g[i].abs() * (0.5 * (h[i] - l[i]));
        }
    }
    for size in &mut *size {
        *size = size.max(f32::MIN_POSITIVE);
    }
    for k in 0..p.elements as usize {
        // SAFETY: these lanes are this task's.
        let (m, x) = unsafe { (&mut p.row_mut(&momentum, k, &lanes)[..n], &mut p.row_mut(&x, k, &lanes)[..n]) };
        let [g, l, h]: [&[f32]; 3] = each(|i| &p.row([gradient, low, high][i], k, &lanes)[..n]);
        for i in 0..n {
            let half = 0.5 * (h[i] - l[i]);
            m[i] = 0.75 * m[i] + g[i] * half / size[i];
            x[i] = between(x[i] + half * p.share / p.over * direction(m[i]), l[i], h[i]);
        }
    }
}

pub(super) fn judge(call: Call<'_>) {
    let p: Params = call.params();
    let ([logits, classes, distance, slot], [seed, found, which]) = call.buffers();
    let lanes = p.lanes as usize;
    let (classes, slot, found, which) = (as_u32(classes), as_u32(slot), as_u32_mut(found), as_u32_mut(which));
    seed.fill(0.0);
    for lane in 0..lanes {
        let at = |k: usize| k * lanes + lane;
        let (own, goal) = (classes[lane], classes[lanes + lane]);
        let [mut largest, mut rival] = [0, usize::from(own == 0).min(p.elements as usize - 1)];
        for k in 0..p.elements as usize {
            largest = if logits[at(k)] > logits[at(largest)] { k } else { largest };
            rival = if k as u32 != own && logits[at(k)] > logits[at(rival)] { k } else { rival };
        }
        rival = if goal == NONE { rival } else { goal as usize };
        seed[at(rival)] = 1.0;
        seed[at(own as usize)] = -1.0;
        // The centre itself has its class, whatever f32 says.
        let hit = largest as u32 != own && distance[lane] > 0.0;
        let nearer = hit && distance[lane] < f32::from_bits(found[lane]);
        if nearer {
            (found[lane], found[lanes + lane]) = (distance[lane].to_bits(), p.number);
        }
        found[2 * lanes + lane] |= u32::from(hit);
        which[lane] = if nearer { slot[lane] } else { NONE };
    }
}

pub(super) fn take(call: Call<'_>) {
    let p: Params = call.params();
    let ([from, which], [to]) = call.buffers();
    let which = as_u32(which);
    if which.contains(&p.number) {
        let chunk = chunk_of(p.lanes as usize);
        to.par_chunks_mut(chunk).zip(from.par_chunks(chunk)).for_each(|(to, from)| take_chunk(p, which, from, to));
    }
}

vectorise!(fn take_chunk = take_body(p: Params, which: &[u32], from: &[f32], to: &mut [f32]));

#[inline(always)]
fn take_body(p: Params, which: &[u32], from: &[f32], to: &mut [f32]) {
    let lanes = which.len();
    for row in 0..to.len() / lanes {
        let (to, from) = (&mut to[row * lanes..][..lanes], &from[row * lanes..][..lanes]);
        for i in 0..lanes {
            to[i] = if which[i] == p.number { from[i] } else { to[i] };
        }
    }
}

pub(super) fn resize(call: Call<'_>) {
    let p: Params = call.params();
    let ([which, nearest], [radius]) = call.buffers();
    for ((radius, which), nearest) in radius.iter_mut().zip(as_u32(which)).zip(nearest) {
        let larger = (*radius * (1.0 + p.share)).min(nearest * WITHIN);
        *radius = if *which == NONE { larger } else { nearest * (1.0 - p.share) };
    }
}
