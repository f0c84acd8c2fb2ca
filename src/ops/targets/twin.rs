//! CPU twins. None but [`ends`] and [`count`] runs on several threads: chunks of rows, each a task, put their bounds into
//! the same buffers, and a task that waits inside a kernel may take up another one that wants them.

use rayon::prelude::*;

use super::{CROSSED, INFINITE, NOT_FINITE, Params};
use crate::kernel::{Call, as_u32, as_u32_mut};
use crate::ops::linear::{NEGATED, NONE, SLICES};
use crate::ops::{CHUNK, chunk_of};
use crate::rounding::{down, up};
use crate::tensor::lanes;
use crate::vectorise;

impl Params {
    fn plane(&self) -> usize {
        (self.height * self.width) as usize
    }

    fn elements(&self) -> usize {
        self.channels as usize * self.plane()
    }

    /// Elements of a slice, in the order of targets.
    fn slice(&self, slice: usize) -> impl Iterator<Item = usize> {
        let (n, plane, channels) = (self.elements(), self.plane(), self.channels as usize);
        let share = n.div_ceil(SLICES);
        let all = (slice * share).min(n)..((slice + 1) * share).min(n);
        // Divisions would cost more than all else that is done with an element.
        let (mut place, mut channel) = (all.start / channels, all.start % channels);
        all.map(move |_| {
            let element = channel * plane + place;
            channel += 1;
            if channel == channels {
                (place, channel) = (place + 1, 0);
            }
            element
        })
    }

    /// Where the neuron of a row stands, and which of its ends is bounded.
    fn neuron(&self, rows: &[u32], row: usize) -> Option<(usize, bool)> {
        let [image, y, x, channel] = [0, 1, 2, 3].map(|part| rows[part * self.rows as usize + row]);
        let element = ((channel & !NEGATED) * self.height + y) * self.width + x;
        (channel != NONE).then_some((element as usize * self.lanes as usize + image as usize, channel & NEGATED != 0))
    }
}

pub(super) fn ends(call: Call<'_>) {
    let p: Params = call.params();
    let ([centre, radius, marks], [lower, upper]) = call.buffers();
    let (lanes, marks) = (p.lanes as usize, as_u32(marks));
    let known: Vec<f32> = (0..lanes)
        .map(|lane| f32::from(lane < p.images as usize && (0..SLICES).all(|s| marks[s * lanes + lane] == 0)))
        .collect();
    let chunk = chunk_of(lanes);
    let reads = centre.par_chunks(chunk).zip(radius.par_chunks(chunk));
    lower.par_chunks_mut(chunk).zip(upper.par_chunks_mut(chunk)).zip(reads).for_each(|((lower, upper), (c, r))| {
        ends_chunk(&known, c, r, lower, upper);
    });
}

vectorise!(fn ends_chunk = ends_body(known: &[f32], c: &[f32], r: &[f32], lower: &mut [f32], upper: &mut [f32]));

#[inline(always)]
fn ends_body(known: &[f32], c: &[f32], r: &[f32], lower: &mut [f32], upper: &mut [f32]) {
    let lanes = known.len();
    for k in 0..lower.len() / lanes {
        let (lower, upper) = (&mut lower[k * lanes..][..lanes], &mut upper[k * lanes..][..lanes]);
        let (c, r) = (&c[k * lanes..][..lanes], &r[k * lanes..][..lanes]);
        for lane in 0..lanes {
            lower[lane] = if known[lane] > 0.0 { down(c[lane] - r[lane]) } else { 0.0 };
            upper[lane] = if known[lane] > 0.0 { up(c[lane] + r[lane]) } else { 0.0 };
        }
    }
}

pub(super) fn count(call: Call<'_>) {
    let p: Params = call.params();
    let ([lower, upper], [counts]) = call.buffers();
    let (lanes, counts) = (p.lanes as usize, as_u32_mut(counts));
    let one = |slice: usize| {
        let mut found = vec![0u32; lanes];
        p.slice(slice).for_each(|k| count_row(&lower[k * lanes..], &upper[k * lanes..], p.every == 1, &mut found));
        found
    };
    let slices: Vec<Vec<u32>> = if lower.len() < 4 * CHUNK {
        (0..SLICES).map(one).collect()
    } else {
        (0..SLICES).into_par_iter().map(one).collect()
    };
    for (slice, found) in slices.iter().enumerate() {
        found.iter().enumerate().for_each(|(lane, n)| counts[lane * SLICES + slice] = *n);
    }
}

/// Free of branches, so that loops over lanes vectorise.
#[inline(always)]
fn wanted(lower: f32, upper: f32, every: bool) -> bool {
    (lower < 0.0) & (upper > 0.0) | every & (lower < upper)
}

vectorise!(fn count_row = count_row_body(lower: &[f32], upper: &[f32], every: bool, found: &mut [u32]));

#[inline(always)]
fn count_row_body(lower: &[f32], upper: &[f32], every: bool, found: &mut [u32]) {
    let ends = lower.iter().zip(upper);
    found.iter_mut().zip(ends).for_each(|(n, (l, u))| *n += u32::from(wanted(*l, *u, every)));
}

pub(super) fn offsets(call: Call<'_>) {
    let p: Params = call.params();
    let ([], [offsets, total]) = call.buffers();
    let mut sum = 0;
    for n in &mut as_u32_mut(offsets)[..p.lanes as usize * SLICES] {
        sum += std::mem::replace(n, sum);
    }
    as_u32_mut(total)[0] = sum;
}

pub(super) fn list(call: Call<'_>) {
    let p: Params = call.params();
    let ([lower, upper, centre, offsets], [list]) = call.buffers();
    let (lanes, offsets) = (p.lanes as usize, as_u32(offsets));
    let (images, neurons) = as_u32_mut(list).split_at_mut(p.capacity as usize);
    for slice in 0..SLICES {
        let mut next: Vec<u32> = (0..lanes).map(|lane| offsets[lane * SLICES + slice]).collect();
        for k in p.slice(slice) {
            let ends = lower[k * lanes..].iter().zip(&upper[k * lanes..]);
            for (lane, (next, (l, u))) in next.iter_mut().zip(ends).enumerate() {
                if !wanted(*l, *u, p.every == 1) {
                    continue;
                }
                if let Some(image) = images.get_mut(*next as usize) {
                    *image = lane as u32;
                    neurons[*next as usize] = k as u32 | if centre[k * lanes + lane] < 0.0 { NEGATED } else { 0 };
                }
                *next += 1;
            }
        }
    }
}

pub(super) fn place(call: Call<'_>) {
    let p: Params = call.params();
    let ([list, total], [rows]) = call.buffers();
    let (images, neurons) = as_u32(list).split_at(p.capacity as usize);
    let (n, lanes, rows) = (as_u32(total)[0].min(p.capacity), p.rows as usize, as_u32_mut(rows));
    for row in 0..lanes {
        let t = p.first + row as u32;
        let last = n.checked_sub(1).map(|last| t.min(last) as usize);
        let (image, neuron) = last.map_or((0, 0), |t| (images[t], neurons[t]));
        let (channel, at) = ((neuron & !NEGATED) / p.plane() as u32, (neuron & !NEGATED) % p.plane() as u32);
        let channel = if t < n && row < p.count as usize { channel | neuron & NEGATED ^ p.flip } else { NONE };
        let place = [image, at / p.width, at % p.width, channel];
        place.into_iter().enumerate().for_each(|(part, word)| rows[part * lanes + row] = word);
    }
}

pub(super) fn unit(call: Call<'_>) {
    let p: Params = call.params();
    let ([rows], [a]) = call.buffers();
    let lanes = p.rows as usize;
    let a = &mut a[..p.channels as usize * lanes];
    a.fill(0.0);
    for (row, &c) in as_u32(rows)[3 * lanes..4 * lanes].iter().enumerate().filter(|(_, c)| **c != NONE) {
        a[(c & !NEGATED) as usize * lanes + row] = if c & NEGATED != 0 { -1.0 } else { 1.0 };
    }
}

pub(super) fn put(call: Call<'_>) {
    let p: Params = call.params();
    let ([bounds, rows], [lower, upper, faults]) = call.buffers();
    for (row, &bound) in bounds[..p.count as usize].iter().enumerate() {
        let Some((at, negated)) = p.neuron(as_u32(rows), row) else { continue };
        if !bound.is_finite() {
            as_u32_mut(faults)[0] |= NOT_FINITE;
        } else if negated {
            upper[at] = upper[at].min(-bound);
        } else {
            lower[at] = lower[at].max(bound);
        }
    }
}

pub(super) fn undecided(call: Call<'_>) {
    let p: Params = call.params();
    let ([bounds, rows], [which, total]) = call.buffers();
    let mut n = 0;
    for (row, bound) in bounds[..p.count as usize].iter().enumerate() {
        // NaN is not above zero.
        if p.neuron(as_u32(rows), row).is_some() && !(*bound > 0.0) {
            as_u32_mut(which)[n] = row as u32;
            n += 1;
        }
    }
    as_u32_mut(total)[0] = n as u32;
    if let Some(last) = n.checked_sub(1) {
        let last = as_u32(which)[last];
        as_u32_mut(which)[n..lanes(n)].fill(last);
    }
}

pub(super) fn narrow(call: Call<'_>) {
    let p: Params = call.params();
    let ([list, total, lower, upper], [centre, radius, faults]) = call.buffers();
    let (images, neurons) = as_u32(list).split_at(p.capacity as usize);
    for (image, neuron) in images.iter().zip(neurons).take(as_u32(total)[0] as usize) {
        let at = (neuron & !NEGATED) as usize * p.lanes as usize + *image as usize;
        let (l, u, c, r) = (lower[at], upper[at], centre[at], radius[at]);
        if p.every == 0 && l <= down(c - r) && u >= up(c + r) {
            continue;
        }
        if l > u {
            as_u32_mut(faults)[0] |= CROSSED;
            continue;
        }
        let c = 0.5 * (l + u);
        centre[at] = c;
        radius[at] = up(up((u - c).max(c - l)) + p.share * c.abs());
    }
}

pub(super) fn less(call: Call<'_>) {
    let p: Params = call.params();
    let ([rows, magnitude], [bounds]) = call.buffers();
    for (row, bound) in bounds[..p.count as usize].iter_mut().enumerate() {
        if let Some((at, _)) = p.neuron(as_u32(rows), row) {
            *bound = down(*bound - up(p.share * magnitude[at]));
        }
    }
}

pub(super) fn most(call: Call<'_>) {
    let ([other], [bounds]) = call.buffers();
    for (bound, &other) in bounds.iter_mut().zip(other) {
        if other > *bound || other.to_bits() & INFINITE == INFINITE {
            *bound = other;
        }
    }
}

pub(super) fn margins(call: Call<'_>) {
    let p: Params = call.params();
    let ([classes], [a, rows]) = call.buffers();
    let (lanes, outputs) = (p.rows as usize, p.channels as usize);
    let (a, rows) = (&mut a[..outputs * lanes], &mut as_u32_mut(rows)[..3 * lanes]);
    a.fill(0.0);
    rows.fill(0);
    for row in 0..p.count as usize {
        let number = p.first as usize + row;
        let (image, rival) = (number / (outputs - 1), number % (outputs - 1));
        let class = as_u32(classes)[image] as usize;
        a[class * lanes + row] = 1.0;
        a[(rival + usize::from(rival >= class)) * lanes + row] = -1.0;
        rows[row] = image as u32;
    }
}
