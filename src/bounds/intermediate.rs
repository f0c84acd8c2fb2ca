//! Intermediate bounds: neurons bounded by rows of their own, where those start, how far they are walked, and what they
//! tell.

use std::ops::Range;

use rayon::prelude::*;

use super::around::rows;
use super::graph;
use super::known::{Ends, Known};
use super::region::Form;
use super::relaxation::Relaxations;
use super::rows::Coefficients;
use super::walk::{Walk, is_dense_layer};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::model::ValueId;
use crate::network::Affine;
use crate::ops::linear::{self, NEGATED, NONE, Rows, SLICES, Window};
use crate::ops::targets::{self, List};
use crate::tensor;

/// A row that bounds one neuron from below, or its negation.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub image: u32,
    pub neuron: u32,
    pub negated: bool,
}

impl Target {
    /// Where its neuron stands among values `[neuron][lane]`.
    pub fn at(self, lanes: usize) -> usize {
        self.neuron as usize * lanes + self.image as usize
    }

    /// On the device.
    pub fn list(d: &Device, targets: &[Target]) -> Result<List> {
        let images: Vec<u32> = targets.iter().map(|t| t.image).collect();
        let neurons = targets.iter().map(|t| t.neuron | if t.negated { NEGATED } else { 0 });
        List::of(d, &images, &neurons.collect::<Vec<_>>())
    }
}

/// A walk stops on its way to see which rows are decided only where this share of its products is still to come, and goes
/// on with the others by themselves only where this share of the rows is decided: both cost something. Where the host does
/// not ask ([`Known::asks`]) it goes on with all.
const WORTHWHILE: f64 = 0.25;

/// Tightens the bounds of node `i`'s output by backward linear bounds of its unstable neurons, or of `every` neuron. Rows
/// that end after a few layers rest on the bounds of all neurons there, stable or not, and are cheap enough for all.
pub(super) fn refine(known: &mut Known<'_>, relaxations: &Relaxations, i: usize, every: bool) -> Result<()> {
    if known.around().is_some() {
        return rows::refine(known, relaxations, i, every);
    }
    let value = i + 1;
    let all = every || graph::ends_matter(&known.bounder.net, value) || known.bounder.depth.is_some();
    let ends = known.ends(value)?;
    let first = known.open(value, &ends, all, false)?;
    Walk { known, relaxations, slack: None }.bound_neurons(i, &first, false, !all, &ends)?;
    // From the other side, what the first row of each did not settle.
    let rest = if all { None } else { Some(known.open(value, &ends, false, true)?) };
    Walk { known, relaxations, slack: None }.bound_neurons(i, rest.as_ref().unwrap_or(&first), true, !all, &ends)?;
    known.narrow(value, &first, &ends, false)
}

impl Walk<'_> {
    /// Moves the ends of node `i`'s output by backward bounds of the listed neurons, all of the other sign if `flip`. Where
    /// `signs` are all that matters, a row that is proved positive is not bounded any better.
    pub fn bound_neurons(&self, i: usize, list: &List, flip: bool, signs: bool, ends: &Ends) -> Result<()> {
        let share = self.bounder().rows_per_chunk(graph::widest(self.net(), i + 1));
        let bound = |first: usize| {
            self.bounder().check_deadline()?;
            let rows = self.place(i, list, first..list.capacity.min(first + share), flip)?;
            self.bound_rows(i, rows, signs, ends)
        };
        let chunks = list.capacity.div_ceil(share);
        // Chunks are independent, and kernels over one of them too small to keep all cores of a CPU busy.
        if self.device().is_gpu() {
            (0..chunks).try_for_each(|k| bound(k * share))
        } else {
            (0..chunks).into_par_iter().try_for_each(|k| bound(k * share))
        }
    }

    /// Moves ends by the rows of output neurons of node `i`.
    fn bound_rows(&self, i: usize, mut rows: Rows, signs: bool, ends: &Ends) -> Result<()> {
        let (mut from, mut c, mut sums) = self.start(i, &rows)?;
        // A row that starts below its layer has passed by the error that runtimes make in it.
        let deployed = if from <= i { self.deployed(i)? } else { None };
        let least = |at: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer| -> Result<Buffer> {
            let bounds = self.known.concretise(at, c, rows, sums)?;
            if let Some((magnitude, share)) = &deployed {
                targets::less(self.device(), self.net().model.shape(i + 1), rows, magnitude, *share, &bounds)?;
            }
            self.known.put(i + 1, &bounds, rows, ends)?;
            Ok(bounds)
        };
        let end = self.bounder().depth.map_or(0, |depth| graph::end(self.net(), from, depth));
        let looks = signs && self.known.asks();
        for cut in graph::cuts(self.net(), from, WORTHWHILE).into_iter().filter(|&cut| looks && cut > end) {
            c = self.walk(from, c, &rows, &sums, cut, None)?;
            from = cut;
            let bounds = least(cut, &c, &rows, &sums)?;
            let (which, total) = (self.device().alloc(rows.lanes)?, self.device().alloc(1)?);
            targets::undecided(self.device(), &bounds, &rows, [&which, &total])?;
            let undecided = self.device().read::<u32>(&total)?[0] as usize;
            if undecided == 0 {
                return Ok(());
            }
            // Of random inputs a row whose sign is known before it reaches them had better not rest on them.
            let worthwhile = (undecided as f64) < (1.0 - WORTHWHILE) * rows.count as f64;
            if worthwhile || self.known.region.is_random() && undecided < rows.count {
                (c, rows, sums) = self.pick(&c, &rows, &sums, &which, undecided)?;
            }
        }
        let c = self.walk(from, c, &rows, &sums, end, None)?;
        least(end, &c, &rows, &sums)?;
        if end == 0 && self.known.region.is_random() { self.note(i, &rows) } else { Ok(()) }
    }

    /// Takes note of what rows of node `i` rest on, which reached the input.
    fn note(&self, i: usize, rows: &Rows) -> Result<()> {
        let shape = self.net().model.shape(i + 1);
        let words: Vec<u32> = self.device().read(&rows.buffer)?;
        for row in 0..rows.count {
            let [image, y, x, channel] = [0, 1, 2, 3].map(|part| words[part * rows.lanes + row]);
            let neuron = |c: u32| (c as usize * shape.height + y as usize) * shape.width + x as usize;
            if channel != NONE {
                let form = Form { node: i, negated: channel & NEGATED != 0, neuron: neuron(channel & !NEGATED) };
                self.known.region.note(image as usize, form);
            }
        }
        Ok(())
    }

    /// What runtimes may be off by in the outputs of affine node `i`, if proofs are to hold for them: a share of these
    /// magnitudes `[element][lane]`.
    fn deployed(&self, i: usize) -> Result<Option<(Buffer, f32)>> {
        // The magnitudes come rounded to nearest; one percent covers it.
        let share = 1.01 * self.bounder().deployed(i);
        let magnitude = if share == 0.0 { None } else { self.known.magnitude_values(i)? };
        Ok(magnitude.map(|magnitude| (magnitude, share)))
    }

    /// Some of the rows by themselves, in this order.
    fn pick(
        &self,
        c: &Coefficients,
        rows: &Rows,
        sums: &Buffer,
        which: &Buffer,
        count: usize,
    ) -> Result<(Coefficients, Rows, Buffer)> {
        let (d, lanes) = (self.device(), tensor::lanes(count));
        let picked = |from: &Buffer| -> Result<Buffer> {
            let to = d.alloc(from.len() / rows.lanes * lanes)?;
            linear::pick(d, from, which, &to, [rows.lanes, lanes])?;
            Ok(to)
        };
        let own = Rows { count, lanes, plane: rows.plane, buffer: picked(&rows.buffer)? };
        Ok((Coefficients { a: picked(&c.a)?, window: c.window }, own, picked(sums)?))
    }

    /// Rows for some of the listed output neurons of node `i`.
    pub fn place(&self, i: usize, list: &List, part: Range<usize>, flip: bool) -> Result<Rows> {
        let (d, shape, lanes) = (self.device(), self.net().model.shape(i + 1), tensor::lanes(part.len()));
        let plane = [shape.height, shape.width];
        let rows = Rows { count: part.len(), lanes, plane, buffer: d.alloc(4 * lanes)? };
        targets::place(d, shape, list, part.start, flip, &rows)?;
        Ok(rows)
    }

    /// Rows of output neurons of node `i` where they start: value, coefficients, sums.
    pub fn start(&self, i: usize, rows: &Rows) -> Result<(ValueId, Coefficients, Buffer)> {
        let d = self.device();
        let node = &self.net().model.nodes[i];
        let lanes = rows.lanes;
        // The charge for folding is taken where a walk passes the layer, so that a walk may not start below it.
        let affine = self.net().layer(i).affine().filter(|_| !self.known.starts_above(i));
        let seeded = affine.map(|affine| (affine, self.seed_window(affine, node.inputs[0])));
        Ok(if let Some((affine, window)) = seeded.filter(|(_, window)| window.fits(rows.plane)) {
            let (a, sums) = (d.alloc(window.elements() * lanes)?, d.alloc(2 * SLICES * lanes)?);
            let outputs = affine.geometry.output.channels;
            let bias = self.known.constants(&affine.bias)?;
            linear::seed(d, &window, outputs, &affine.weight, &bias, rows, &a, &sums)?;
            (node.inputs[0], Coefficients { a, window }, sums)
        } else {
            let window = Window { layer: node.shape, size: [1, 1], step: [1, 1], offset: [0, 0] };
            let (a, sums) = (d.alloc(node.shape.channels * lanes)?, d.zeros(2 * SLICES * lanes)?);
            targets::unit(d, node.shape.channels, rows, &a)?;
            (i + 1, Coefficients { a, window }, sums)
        })
    }

    /// What one neuron of an affine layer sees of its input.
    fn seed_window(&self, affine: &Affine, input: ValueId) -> Window {
        let g = &affine.geometry;
        if is_dense_layer(g) {
            return Window::dense(self.net().model.shape(input));
        }
        Window { layer: g.input, size: g.kernel, step: g.stride, offset: [g.pad[0] as isize, g.pad[1] as isize] }
    }
}
