//! Neurons bounded around images by rows of their own. Which they are, and what becomes of their bounds, is seen to on the
//! host, where the references are; the rows walk where all others do.

use rayon::prelude::*;

use super::super::graph;
use super::super::intermediate::Target;
use super::super::known::{Ends, Known};
use super::super::not_finite;
use super::super::relaxation::Relaxations;
use super::super::rows::Coefficients;
use super::super::walk::Walk;
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::linear::{Rows, SLICES};
use crate::ops::scale;
use crate::rounding::{down, up};

/// Neurons whose sign is known without rows of their own are bounded by rows all the same where more than this share of
/// their layer is not: intervals widen from layer to layer, and the next layer would know none.
const LOOSE: f64 = 1.0 / 16.0;

/// Both sides of a neuron come from one row, unless the other side of its lines makes more than this share of them.
const SLACK: f32 = 0.1;

/// [`refine`](super::super::intermediate::refine) around images.
pub(in crate::bounds) fn refine(known: &mut Known<'_>, relaxations: &Relaxations, i: usize, every: bool) -> Result<()> {
    let (lanes, count, d) = (known.region.lanes, known.region.count, known.bounder.device());
    let (net, value) = (&known.bounder.net, i + 1);
    let ends = known.ends(value)?;
    let (mut lower, mut upper): (Vec<f32>, Vec<f32>) = (d.read(&ends.lower)?, d.read(&ends.upper)?);
    let centre: Vec<f32> = d.read(known.interval(value)[0])?;
    let provable = known.provable()?;
    let places = || {
        let elements = move || graph::by_place(net.model.shape(value));
        let provable = &provable;
        (0..count).filter(move |image| provable[*image]).flat_map(move |image| elements().map(move |k| (image, k)))
    };
    let walk = Walk { known, relaxations, slack: None };
    let is_open = |image: usize, k: usize, [l, u]: [&[f32]; 2]| {
        let (at, zero) = (k * lanes + image, known.zero(value, image, k));
        l[at] < zero && u[at] > zero
    };
    let all = every || graph::ends_matter(net, value) || walk.may_end_early() || {
        let open = places().filter(|&(image, k)| is_open(image, k, [&lower, &upper])).count();
        open as f64 > LOOSE * (count * net.model.shape(value).len()) as f64
    };
    let mut targets = Vec::new();
    for (image, k) in places() {
        let at = k * lanes + image;
        if is_open(image, k, [&lower, &upper]) || all && lower[at] < upper[at] {
            let negated = centre[at] < known.zero(value, image, k);
            targets.push(Target { image: image as u32, neuron: k as u32, negated });
        }
    }
    if targets.is_empty() {
        return Ok(());
    }
    let slack = walk.bound_deviations(i, &targets, &mut lower, &mut upper)?;
    let others: Vec<Target> = (targets.iter().zip(slack))
        .filter(|(t, slack)| {
            let at = t.at(lanes);
            is_open(t.image as usize, t.neuron as usize, [&lower, &upper]) && *slack > SLACK * (upper[at] - lower[at])
        })
        .map(|(t, _)| Target { negated: !t.negated, ..*t })
        .collect();
    walk.bound_deviations(i, &others, &mut lower, &mut upper)?;
    let (list, ends) = (Target::list(d, &targets)?, Ends { lower: d.upload(&lower)?, upper: d.upload(&upper)? });
    known.narrow(value, &list, &ends, false)
}

impl Walk<'_> {
    /// Raises `lower` and cuts `upper` `[neuron][lane]` by backward bounds of the targets. Returns by how much each bound on
    /// the other side may be weaker than that of a row of its own.
    fn bound_deviations(&self, i: usize, targets: &[Target], lower: &mut [f32], upper: &mut [f32]) -> Result<Vec<f32>> {
        let bound = |chunk: &[Target]| {
            self.bounder().check_deadline()?;
            self.both_bounds(i, chunk)
        };
        let share = self.bounder().rows_per_chunk(graph::widest(self.net(), i + 1));
        // Chunks are independent, and kernels over one of them too small to keep all cores of a CPU busy.
        let bounds: Vec<Vec<[f32; 3]>> = if self.device().is_gpu() {
            targets.chunks(share).map(bound).collect::<Result<_>>()?
        } else {
            targets.par_chunks(share).map(bound).collect::<Result<_>>()?
        };
        let mut weaker = Vec::with_capacity(targets.len());
        for (target, [bound, opposite, slack]) in targets.iter().zip(bounds.into_iter().flatten()) {
            if !(bound.is_finite() && opposite.is_finite()) {
                return Err(not_finite());
            }
            let at = target.at(self.known.region.lanes);
            let [low, high] = if target.negated { [opposite, bound] } else { [bound, opposite] };
            (lower[at], upper[at]) = (lower[at].max(low), upper[at].min(-high));
            weaker.push(slack);
        }
        Ok(weaker)
    }

    /// Whether rows may end before the input, on bounds of neurons.
    fn may_end_early(&self) -> bool {
        self.bounder().depth.is_some_and(|depth| depth < graph::bends(self.net(), 0..self.net().model.nodes.len()))
    }

    /// Lower bounds of (negated) output neurons of node `i` and of their opposites from one row each, and the slack of the
    /// latter: where nearly all neurons are stable, one row says nearly as much of both sides as two would.
    fn both_bounds(&self, i: usize, targets: &[Target]) -> Result<Vec<[f32; 3]>> {
        let d = self.device();
        let rows = self.place(i, &Target::list(d, targets)?, 0..targets.len(), false)?;
        let (from, c, sums) = self.start(i, &rows)?;
        let slack = d.zeros(2 * SLICES * rows.lanes)?;
        let end = self.bounder().depth.map_or(0, |depth| graph::end(self.net(), from, depth));
        let c = Walk { slack: Some(&slack), ..*self }.walk(from, c, &rows, &sums, end, None)?;
        let lower: Vec<f32> = d.read(&self.known.concretise(end, &c, &rows, &sums)?)?;
        let (c, sums) = self.opposite(&c, &rows, &sums, &slack)?;
        let opposite: Vec<f32> = d.read(&self.known.concretise(end, &c, &rows, &sums)?)?;
        // Rows that start below the layer have passed by its distance from the reference.
        let places = || targets.iter().map(|t| (t.image as usize, t.neuron as usize));
        let passed = if from <= i { self.known.folding_at(i, places())? } else { None };
        let less = |bound: f32, t: usize| passed.as_ref().map_or(bound, |error| down(bound - error[t]));
        let slack: Vec<f32> = d.read(&slack)?;
        let slack = |t: usize| slack.iter().skip(t).step_by(rows.lanes).sum::<f32>();
        Ok((0..targets.len()).map(|t| [less(lower[t], t), less(opposite[t], t), slack(t)]).collect())
    }

    /// The rows below the negations of what these are below: as coefficients may be other ones on the other side of lines,
    /// errors grow by `slack`.
    fn opposite(&self, c: &Coefficients, rows: &Rows, sums: &Buffer, slack: &Buffer) -> Result<(Coefficients, Buffer)> {
        let (d, elements) = (self.device(), c.window.elements());
        let a = d.alloc(c.a.len())?;
        scale::backward(d, &c.a, &d.upload(&vec![-1.0f32; elements])?, &a, rows.lanes)?;
        let (mut own, more): (Vec<f32>, Vec<f32>) = (d.read(sums)?, d.read(slack)?);
        for (part, (own, more)) in own.chunks_mut(rows.lanes).zip(more.chunks(rows.lanes)).enumerate() {
            let each = own.iter_mut().zip(more);
            if part % 2 == 0 {
                each.for_each(|(constant, _)| *constant = -*constant);
            } else {
                each.for_each(|(error, more)| *error = up(*error + more));
            }
        }
        Ok((Coefficients { a, window: c.window }, d.upload(&own)?))
    }
}
