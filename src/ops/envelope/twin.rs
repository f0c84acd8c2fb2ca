//! CPU twins: tasks are blocks of sixteen rows, and go through the inputs a few neurons, or through the neurons a few inputs,
//! at a time.

use rayon::prelude::*;

use super::{ARRIVED, BETWEEN, ENDS_WORDS, FARTHEST_ANCHOR, FLATTEST, MAGNITUDE, Params, STEADY, TAKEN};
use crate::dispatch;
use crate::kernel::{Call, as_u32};
use crate::ops::linear::places::{BLOCK, Block, Places, check_tables};
use crate::ops::linear::twin::{Blocked, slice_of};
use crate::ops::linear::{RELAX, SLICES};
use crate::rounding::up;
use crate::simd::{Lanes, Shared, each};

pub(super) fn point(call: Call<'_>) {
    let p: Params = call.params();
    let ([anchor, centre, radius, rows], [x]) = call.buffers();
    let (lanes, rows, elements) = (p.lanes as usize, as_u32(rows), p.elements as usize);
    for (lane, image) in rows[..lanes].iter().map(|image| *image as usize).enumerate() {
        for k in 0..elements {
            let at = image * elements + k;
            x[k * lanes + lane] = centre[at] + (anchor[at] / ARRIVED).clamp(-1.0, 1.0) * radius[at];
        }
    }
}

pub(super) fn ends(call: Call<'_>) {
    let p: Params = call.params();
    let ([weight, bias, centre, radius], [ends]) = call.buffers();
    let (neurons, elements) = (p.neurons as usize, p.elements as usize);
    assert!(weight.len() >= elements * neurons && bias.len() >= neurons);
    let images = ends.par_chunks_mut(neurons * ENDS_WORDS).zip(centre.par_chunks(elements));
    images.zip(radius.par_chunks(elements)).for_each(|((ends, centre), radius)| {
        let (mut middle, mut span) = (bias[..neurons].to_vec(), vec![0.0; neurons]);
        for block in (0..elements).step_by(p.block as usize) {
            let (mut parts, mut sizes) = (vec![0.0; neurons], vec![0.0; neurons]);
            for k in block..elements.min(block + p.block as usize) {
                let row = &weight[k * neurons..][..neurons];
                for i in 0..neurons {
                    parts[i] += row[i] * centre[k];
                    sizes[i] += row[i].abs() * radius[k];
                }
            }
            for i in 0..neurons {
                middle[i] += parts[i];
                span[i] += sizes[i];
            }
        }
        for (i, ends) in ends.chunks_exact_mut(ENDS_WORDS).enumerate() {
            ends.copy_from_slice(&[middle[i] + span[i], span[i]]);
        }
    });
}

/// Negated anchors and radii of one input of sixteen rows.
type Element = [Block; 2];

/// Neurons that are gone through side by side.
const TILE: usize = 4;

pub(super) fn take(call: Call<'_>) {
    let p: Params = call.params();
    let ([weight, radius, anchor, ends, lines, rows], [a, taken]) = call.buffers();
    let (lanes, rows, neurons, elements) = (p.lanes as usize, as_u32(rows), p.neurons as usize, p.elements as usize);
    check_tables(&p.span(), rows, &[(radius.len(), 1), (anchor.len(), 1)]);
    let images = rows[..lanes].iter().max().map_or(0, |m| *m as usize + 1);
    assert!(ends.len() >= images * neurons * ENDS_WORDS && lines.len() >= images * neurons * RELAX);
    assert!(weight.len() >= elements * neurons && a.len() >= neurons * lanes && taken.len() >= TAKEN * neurons * lanes);
    let (a, taken) = (Shared(a.as_mut_ptr()), Shared(taken.as_mut_ptr()));
    (0..lanes / BLOCK).into_par_iter().for_each(|block| {
        let lane = block * BLOCK;
        let mut own = Vec::new();
        gather(&p, &Places::new(&p.span(), rows, lane), [anchor, radius], &mut own);
        // Where nothing has moved all shares are equal, and the line is the triangle's.
        let moved: [bool; BLOCK] = each(|i| own.iter().any(|[anchor, _]| anchor[i] != 0.0));
        // SAFETY: blocks have lanes of their own, and all places below are in the buffers.
        let word = |buffer: &Shared, plane: usize, neuron: usize| unsafe {
            &mut *buffer.get().add((plane * neurons + neuron) * lanes + lane).cast::<Block>()
        };
        let at = |neuron: usize, i: usize| rows[lane + i] as usize * neurons + neuron;
        let open = |neuron: usize, i: usize| {
            let (ends, line) = (&ends[at(neuron, i) * ENDS_WORDS..][..2], &lines[at(neuron, i) * RELAX..][..2]);
            word(&a, 0, neuron)[i] < 0.0 && line[1] > 0.0 && ends[0] > 0.0 && ends[1] > 0.0 && moved[i]
        };
        for plane in 0..TAKEN {
            (0..neurons).for_each(|neuron| word(&taken, plane, neuron).fill(0.0));
        }
        // Of most neurons no row asks.
        let some: Vec<usize> = (0..neurons).filter(|&neuron| (0..BLOCK).any(|i| open(neuron, i))).collect();
        let mut packed = Vec::new();
        for columns in some.chunks(TILE) {
            let mut asks = Tile::default();
            for (j, &neuron) in columns.iter().enumerate() {
                for i in 0..BLOCK {
                    let at = at(neuron, i);
                    asks.most[j][i] = ends[at * ENDS_WORDS];
                    asks.span[j][i] = ends[at * ENDS_WORDS + 1].max(f32::MIN_POSITIVE);
                    asks.line[j][i] = [lines[at * RELAX], lines[at * RELAX + 1]];
                }
            }
            pack(weight, neurons, columns, &mut packed);
            asks.solve(&own, &packed, p.block as usize);
            for (j, &neuron) in columns.iter().enumerate() {
                for i in (0..BLOCK).filter(|&i| open(neuron, i) && asks.value[j][i] < asks.triangle[j][i]) {
                    word(&taken, 0, neuron)[i] = std::mem::take(&mut word(&a, 0, neuron)[i]);
                    word(&taken, 1, neuron)[i] = asks.shift[j][i];
                    word(&taken, 2, neuron)[i] = asks.constant[j][i];
                }
            }
        }
    });
}

/// Weights of a few neurons for every input, and their magnitudes.
type Packed = [[f32; 2]; TILE];

/// A tile that is not full has zeros, and nobody looks at what it says there.
fn pack(weight: &[f32], neurons: usize, columns: &[usize], packed: &mut Vec<Packed>) {
    packed.clear();
    packed.extend(weight.chunks_exact(neurons).map(|row| {
        let mut tile = [[0.0; 2]; TILE];
        for (to, &neuron) in tile.iter_mut().zip(columns) {
            *to = [row[neuron], row[neuron].abs()];
        }
        tile
    }));
}

/// A few neurons of sixteen rows.
#[derive(Default)]
struct Tile {
    most: [Block; TILE],
    span: [Block; TILE],
    line: [[[f32; 2]; BLOCK]; TILE],
    shift: [Block; TILE],
    constant: [Block; TILE],
    /// What both lines are where the anchor points to.
    value: [Block; TILE],
    triangle: [Block; TILE],
}

/// Sums over the input of a few neurons of sixteen rows.
type Sums = [[Block; TILE]; 3];

impl Tile {
    fn solve(&mut self, own: &[Element], weight: &[Packed], block: usize) {
        let mut sums = Sums::default();
        products(own, weight, &mut sums);
        for j in 0..TILE {
            for i in 0..BLOCK {
                self.shift[j][i] = bounded(0.5 * self.most[j][i] / self.span[j][i] + sums[0][j][i] / self.span[j][i]);
            }
        }
        slants(own, weight, &self.shift, &mut sums);
        for j in 0..TILE {
            for i in 0..BLOCK {
                let by = (0.5 * self.most[j][i] - sums[0][j][i]) / sums[1][j][i].max(FLATTEST * self.span[j][i]);
                self.shift[j][i] = bounded(self.shift[j][i] + by);
            }
        }
        shares(own, weight, &self.shift, block, &mut sums);
        for j in 0..TILE {
            for i in 0..BLOCK {
                let [slope, intercept] = self.line[j][i];
                let (t, u) = (sums[0][j][i], self.most[j][i]);
                self.constant[j][i] = (u - 2.0 * t).max(0.0) + t;
                self.value[j][i] = self.constant[j][i] + sums[1][j][i];
                self.triangle[j][i] = slope * (u - self.span[j][i] + sums[2][j][i]) + intercept;
            }
        }
    }
}

/// A shift that anchors can be taken from.
fn bounded(shift: f32) -> f32 {
    shift.clamp(-FARTHEST_ANCHOR, 1.0 + FARTHEST_ANCHOR)
}

dispatch! {
    /// The inputs of sixteen rows side by side: they are gone through several times.
    fn gather = gather_lanes(p: &Params, places: &Places, tables: [&[f32]; 2], own: &mut Vec<Element>)
}

#[inline(always)]
unsafe fn gather_lanes<L: Lanes>(p: &Params, places: &Places, [anchor, radius]: [&[f32]; 2], own: &mut Vec<Element>) {
    let elements = p.elements as usize;
    own.resize(elements, [[0.0; BLOCK]; 2]);
    let (mut anchor, mut radius) = (places.entries::<1>(anchor), places.entries::<1>(radius));
    for (at, own) in places.elements(0..elements).zip(own) {
        unsafe {
            let [w] = anchor.at::<L>(at);
            let [r] = radius.at::<L>(at);
            w.mul(L::splat(-1.0)).store(own[0].as_mut_ptr());
            r.store(own[1].as_mut_ptr());
        }
    }
}

dispatch! {
    /// `sum W r anchor`.
    fn products = products_lanes(own: &[Element], weight: &[Packed], sums: &mut Sums)
}

#[inline(always)]
unsafe fn products_lanes<L: Lanes>(own: &[Element], weight: &[Packed], sums: &mut Sums) {
    unsafe {
        let mut all = [L::splat(0.0); TILE];
        for k in 0..own.len().min(weight.len()) {
            let ([turned, radius], weight) = (own.get_unchecked(k), weight.get_unchecked(k));
            let lean = L::load(turned.as_ptr()).mul(L::load(radius.as_ptr()));
            for j in 0..TILE {
                all[j] = all[j].mul_acc(L::splat(-weight[j][0]), lean);
            }
        }
        for j in 0..TILE {
            all[j].store(sums[0][j].as_mut_ptr());
        }
    }
}

/// The share of an input; `turned` is the negated anchor.
#[inline(always)]
unsafe fn share<L: Lanes>(shift: L, turned: L, w: L) -> L {
    unsafe { shift.add(turned.flip(w)).max(L::splat(0.0)).min(L::splat(1.0)) }
}

dispatch! {
    /// `sum theta |W| r`, and how that grows with the shift.
    fn slants = slants_lanes(own: &[Element], weight: &[Packed], shift: &[Block; TILE], sums: &mut Sums)
}

#[inline(always)]
unsafe fn slants_lanes<L: Lanes>(own: &[Element], weight: &[Packed], shift: &[Block; TILE], sums: &mut Sums) {
    unsafe {
        let shift: [L; TILE] = each(|j| L::load(shift[j].as_ptr()));
        let (mut held, mut slant) = ([L::splat(0.0); TILE], [L::splat(0.0); TILE]);
        let (one, minus, steep) = (L::splat(1.0), L::splat(-1.0), L::splat(BETWEEN));
        for k in 0..own.len().min(weight.len()) {
            let ([turned, radius], weight) = (own.get_unchecked(k), weight.get_unchecked(k));
            let (turned, radius) = (L::load(turned.as_ptr()), L::load(radius.as_ptr()));
            for j in 0..TILE {
                let (w, size) = (L::splat(weight[j][0]), L::splat(weight[j][1]).mul(radius));
                let theta = share(shift[j], turned, w);
                let between = theta.min(one.mul_acc(minus, theta)).mul(steep).min(one);
                held[j] = held[j].mul_acc(theta, size);
                slant[j] = slant[j].mul_acc(between, size);
            }
        }
        for j in 0..TILE {
            held[j].store(sums[0][j].as_mut_ptr());
            slant[j].store(sums[1][j].as_mut_ptr());
        }
    }
}

dispatch! {
    /// `sum theta |W| r` by blocks, and `sum theta W r x` and `sum W r x` at the corner `x` that the anchor points to.
    fn shares = shares_lanes(
        own: &[Element], weight: &[Packed], shift: &[Block; TILE], block: usize, sums: &mut Sums
    )
}

#[inline(always)]
unsafe fn shares_lanes<L: Lanes>(
    own: &[Element],
    weight: &[Packed],
    shift: &[Block; TILE],
    block: usize,
    sums: &mut Sums,
) {
    unsafe {
        let shift: [L; TILE] = each(|j| L::load(shift[j].as_ptr()));
        let zero = [L::splat(0.0); TILE];
        let (one, minus, arrived) = (L::splat(1.0), L::splat(-1.0), L::splat(-1.0 / ARRIVED));
        let (mut held, mut there, mut plain) = (zero, zero, zero);
        let (mut k, inputs) = (0, own.len().min(weight.len()));
        while k < inputs {
            let end = inputs.min(k + block);
            let mut part = zero;
            while k < end {
                let ([turned, radius], weight) = (own.get_unchecked(k), weight.get_unchecked(k));
                let (turned, radius) = (L::load(turned.as_ptr()), L::load(radius.as_ptr()));
                let x = turned.mul(arrived).max(minus).min(one).mul(radius);
                for j in 0..TILE {
                    let w = L::splat(weight[j][0]);
                    let (theta, moved) = (share(shift[j], turned, w), w.mul(x));
                    part[j] = part[j].mul_acc(theta, L::splat(weight[j][1]).mul(radius));
                    there[j] = there[j].mul_acc(theta, moved);
                    plain[j] = plain[j].add(moved);
                }
                k += 1;
            }
            for j in 0..TILE {
                held[j] = held[j].add(part[j]);
            }
        }
        for j in 0..TILE {
            held[j].store(sums[0][j].as_mut_ptr());
            there[j].store(sums[1][j].as_mut_ptr());
            plain[j].store(sums[2][j].as_mut_ptr());
        }
    }
}

pub(super) fn through(call: Call<'_>) {
    let p: Params = call.params();
    let ([taken, weight, anchor, rows], [own]) = call.buffers();
    let (lanes, rows, neurons, elements) = (p.lanes as usize, as_u32(rows), p.neurons as usize, p.elements as usize);
    check_tables(&p.span(), rows, &[(anchor.len(), 1)]);
    assert!(weight.len() >= elements * neurons && taken.len() >= 2 * neurons * lanes && own.len() >= elements * lanes);
    let own = Shared(own.as_mut_ptr());
    (0..lanes / BLOCK).into_par_iter().for_each(|block| {
        let lane = block * BLOCK;
        let places = Places::new(&p.span(), rows, lane);
        let plane =
            |plane: usize, neuron: usize| -> Block { each(|i| taken[(plane * neurons + neuron) * lanes + lane + i]) };
        // Most neurons are nobody's, and their weights are not read.
        let some: Vec<(usize, [Block; 2])> = (0..neurons)
            .map(|neuron| (neuron, [plane(0, neuron), plane(1, neuron)]))
            .filter(|(_, [coefficient, _])| coefficient.iter().any(|c| *c != 0.0))
            .collect();
        coefficients(&p, &places, anchor, &some, weight, (own, lane));
    });
}

dispatch! {
    /// `sum A theta W` of sixteen rows, for every input.
    fn coefficients = coefficients_lanes(
        p: &Params, places: &Places, anchor: &[f32], some: &[(usize, [Block; 2])], weight: &[f32], own: (Shared, usize)
    )
}

#[inline(always)]
unsafe fn coefficients_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    anchor: &[f32],
    some: &[(usize, [Block; 2])],
    weight: &[f32],
    (own, lane): (Shared, usize),
) {
    let (lanes, neurons, elements, block) =
        (p.lanes as usize, p.neurons as usize, p.elements as usize, p.neuron_block as usize);
    unsafe {
        let mut anchor = places.entries::<1>(anchor);
        let mut tile = [L::splat(0.0); TILE];
        let mut waiting = 0;
        for at in places.elements(0..elements) {
            let [w] = anchor.at::<L>(at);
            tile[waiting] = w.mul(L::splat(-1.0));
            waiting += 1;
            if waiting < TILE && at.element + 1 < elements {
                continue;
            }
            let first = at.element + 1 - waiting;
            let mut total = [L::splat(0.0); TILE];
            let mut n = 0;
            while n < some.len() {
                let end = some.len().min(n + block);
                let mut part = [L::splat(0.0); TILE];
                while n < end {
                    let (neuron, [coefficient, shift]) = some.get_unchecked(n);
                    let (coefficient, shift) = (L::load(coefficient.as_ptr()), L::load(shift.as_ptr()));
                    for j in 0..TILE {
                        let element = (first + j).min(elements - 1);
                        let w = L::splat(*weight.get_unchecked(element * neurons + neuron));
                        part[j] = part[j].mul_acc(share(shift, tile[j], w).mul(w), coefficient);
                    }
                    n += 1;
                }
                for j in 0..TILE {
                    total[j] = total[j].add(part[j]);
                }
            }
            for (j, total) in total.iter().enumerate().take(waiting) {
                total.store(own.get().add((first + j) * lanes + lane));
            }
            waiting = 0;
        }
    }
}

pub(super) fn join(call: Call<'_>) {
    let p: Params = call.params();
    let ([taken, own, centre, radius, lines, rows], [a, sums]) = call.buffers();
    let (lanes, rows, neurons, elements) = (p.lanes as usize, as_u32(rows), p.neurons as usize, p.elements as usize);
    check_tables(&p.span(), rows, &[(centre.len(), 1), (radius.len(), 1)]);
    assert!(a.len() >= elements * lanes && own.len() >= elements * lanes && sums.len() >= 2 * SLICES * lanes);
    let images = rows[..lanes].iter().max().map_or(0, |m| *m as usize + 1);
    assert!(taken.len() >= TAKEN * neurons * lanes && lines.len() >= images * neurons * RELAX);
    let (a, sums) = (Shared(a.as_mut_ptr()), Shared(sums.as_mut_ptr()));
    (0..lanes / BLOCK).into_par_iter().for_each(|block| {
        let lane = block * BLOCK;
        let places = Places::new(&p.span(), rows, lane);
        for slice in 0..SLICES {
            let (mut constant, mut error) = ([0.0; BLOCK], [0.0; BLOCK]);
            added(&p, &places, slice_of(elements, slice), own, [centre, radius], (a, lane), &mut constant, &mut error);
            let of = |plane: usize, neuron: usize| (plane * neurons + neuron) * lanes + lane;
            for neuron in slice_of(neurons, slice) {
                for i in 0..BLOCK {
                    let coefficient = taken[of(0, neuron) + i];
                    let magnitude = lines[(rows[lane + i] as usize * neurons + neuron) * RELAX + MAGNITUDE];
                    constant[i] += coefficient * taken[of(2, neuron) + i];
                    error[i] += up(p.charge * (coefficient.abs() * magnitude));
                }
            }
            for i in 0..BLOCK {
                // SAFETY: blocks have lanes of their own.
                unsafe {
                    let c = sums.get().add(2 * slice * lanes + lane + i);
                    let e = sums.get().add((2 * slice + 1) * lanes + lane + i);
                    *c += constant[i];
                    *e = up(up(*e + up(1.01 * error[i])) + up(2.0 * p.unit * (*c).abs()));
                }
            }
        }
    });
}

dispatch! {
    /// The sum of both coefficients of a slice of sixteen rows, minus `sum A c` of what is added, and what rounds.
    fn added = added_lanes(
        p: &Params, places: &Places, slice: std::ops::Range<usize>, own: &[f32], tables: [&[f32]; 2], a: (Shared, usize),
        constant: &mut Block, error: &mut Block
    )
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn added_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    slice: std::ops::Range<usize>,
    own: &[f32],
    [centre, radius]: [&[f32]; 2],
    (a, lane): (Shared, usize),
    constant: &mut Block,
    error: &mut Block,
) {
    let lanes = p.lanes as usize;
    unsafe {
        let (mut centre, mut radius) = (places.entries::<1>(centre), places.entries::<1>(radius));
        let (mut sums, mut off) = (Blocked::<L, 1>::new(p.block), L::splat(0.0));
        for at in places.elements(slice) {
            let [c] = centre.at::<L>(at);
            let [r] = radius.at::<L>(at);
            let more = L::load(own.as_ptr().add(at.element * lanes + lane));
            let to = a.get().add(at.element * lanes + lane);
            let sum = L::load(to).add(more);
            sum.store(to);
            sums.add([(more.mul(L::splat(-1.0)), c)]);
            off = off.mul_acc(sum.abs(), c.abs().add(r));
        }
        [*constant] = sums.values();
        off.mul(L::splat(2.0 * p.unit)).store(error.as_mut_ptr());
    }
}

pub(super) fn move_anchor(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, radius, rows], [anchor]) = call.buffers();
    let (lanes, rows, elements, count) = (p.lanes as usize, as_u32(rows), p.elements as usize, p.count as usize);
    for (lane, image) in rows[..count].iter().map(|image| *image as usize).enumerate() {
        let (anchor, radius) = (&mut anchor[image * elements..][..elements], &radius[image * elements..][..elements]);
        let fall = |k: usize| a[k * lanes + lane] * radius[k];
        let mean = (0..elements).map(|k| fall(k).abs()).sum::<f32>() / elements as f32;
        if !(mean > 0.0) {
            continue;
        }
        for (k, anchor) in anchor.iter_mut().enumerate() {
            let by = (fall(k) / (STEADY * mean)).clamp(-1.0, 1.0);
            *anchor = (*anchor - p.rate * by).clamp(-FARTHEST_ANCHOR, FARTHEST_ANCHOR);
        }
    }
}
