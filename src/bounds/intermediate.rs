//! Intermediate bounds: neurons bounded by rows of their own, where those start, how far they are walked, and what they
//! tell.

use rayon::prelude::*;

use super::known::Known;
use super::region::Form;
use super::relaxation::Relaxations;
use super::rows::Coefficients;
use super::walk::{Walk, is_dense_layer};
use super::{graph, not_finite};
use crate::device::Buffer;
use crate::error::Result;
use crate::model::ValueId;
use crate::network::Affine;
use crate::ops::linear::{self, Rows, SLICES, Window};
use crate::ops::scale;
use crate::rounding::{down, up};
use crate::tensor;

/// A row that bounds one neuron from below, or its negation.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub image: u32,
    pub neuron: u32,
    pub negated: bool,
}

impl Target {
    /// Where its ends stand in `[element][lane]`.
    pub fn at(&self, lanes: usize) -> usize {
        self.neuron as usize * lanes + self.image as usize
    }
}

/// A walk stops on its way to see which rows are decided only where this share of its products is still to come, and goes
/// on with the others by themselves only where this share of the rows is decided: both cost something.
const WORTHWHILE: f64 = 0.25;

/// Around images, neurons whose sign is known without rows of their own are bounded by rows all the same where more than
/// this share of their layer is not: intervals widen from layer to layer, and the next layer would know none.
const LOOSE: f64 = 1.0 / 16.0;

/// Both sides of a neuron come from one row, unless the other side of its lines makes more than this share of them.
const SLACK: f32 = 0.1;

/// Tightens the bounds of node `i`'s output by backward linear bounds of its unstable neurons, or of `every` neuron. Rows
/// that end after a few layers rest on the bounds of all neurons there, stable or not, and are cheap enough for all.
pub(super) fn refine(known: &mut Known<'_>, relaxations: &Relaxations, i: usize, every: bool) -> Result<()> {
    let (lanes, count) = (known.region.lanes, known.region.count);
    let net = &known.bounder.net;
    let [mut lower, mut upper] = known.ends(i + 1)?;
    let centre: Vec<f32> = known.bounder.device().read(known.interval(i + 1)[0])?;
    let provable = known.provable()?;
    let places = || {
        let elements = move || graph::by_place(net.model.shape(i + 1));
        let provable = &provable;
        (0..count).filter(move |image| provable[*image]).flat_map(move |image| elements().map(move |k| (image, k)))
    };
    let (walk, ends_matter) = (Walk { known, relaxations, slack: None }, every || graph::ends_matter(net, i + 1));
    let is_open = |image: usize, k: usize, [l, u]: [&[f32]; 2]| {
        let (at, zero) = (k * lanes + image, known.zero(i + 1, image, k));
        l[at] < zero && u[at] > zero
    };
    let all = ends_matter
        || match known.around() {
            None => known.bounder.depth.is_some(),
            Some(_) => {
                let open = places().filter(|&(image, k)| is_open(image, k, [&lower, &upper])).count();
                walk.may_end_early() || open as f64 > LOOSE * (count * net.model.shape(i + 1).len()) as f64
            }
        };
    let mut targets = Vec::new();
    for (image, k) in places() {
        let at = k * lanes + image;
        if is_open(image, k, [&lower, &upper]) || all && lower[at] < upper[at] {
            // The sign at the centre is the likelier one: a row that proves it makes the other needless.
            let negated = centre[at] < known.zero(i + 1, image, k);
            targets.push(Target { image: image as u32, neuron: k as u32, negated });
        }
    }
    if targets.is_empty() {
        return Ok(());
    }
    let slack = walk.bound_neurons(i, &targets, !all, &mut lower, &mut upper)?;
    let others = |(t, slack): (&Target, f32)| {
        let (at, open) = (t.at(lanes), is_open(t.image as usize, t.neuron as usize, [&lower, &upper]));
        let asked = match known.around() {
            None => all || open,
            Some(_) => open && slack > SLACK * (upper[at] - lower[at]),
        };
        asked.then_some(Target { negated: !t.negated, ..*t })
    };
    let others: Vec<Target> = targets.iter().zip(slack).filter_map(others).collect();
    walk.bound_neurons(i, &others, !all, &mut lower, &mut upper)?;
    known.narrow(i + 1, targets.iter().map(|t| t.at(lanes)), &lower, &upper)
}

impl Walk<'_> {
    /// Raises `lower` and cuts `upper` `[neuron][lane]` by backward bounds of the targets. Where `signs` are all that
    /// matters, a row that is proved positive is not bounded any better. Returns by how much each bound on the other side
    /// may be weaker than that of a row of its own, where there is one.
    pub fn bound_neurons(
        &self,
        i: usize,
        targets: &[Target],
        signs: bool,
        lower: &mut [f32],
        upper: &mut [f32],
    ) -> Result<Vec<f32>> {
        let bound = |chunk: &[Target]| {
            self.bounder().check_deadline()?;
            match self.known.around() {
                Some(_) => self.both_bounds(i, chunk),
                None => Ok(self.neuron_bounds(i, chunk, signs)?.into_iter().map(|b| [b, f32::MIN, 0.0]).collect()),
            }
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
        let (rows, channels) = self.place_targets(i, targets)?;
        let (from, c, sums) = self.start(i, &rows, &channels)?;
        let slack = d.zeros(2 * SLICES * rows.lanes)?;
        let end = self.bounder().depth.map_or(0, |depth| graph::end(self.net(), from, depth));
        let c = Walk { slack: Some(&slack), ..*self }.walk(from, c, &rows, &sums, end, None)?;
        let lower = self.known.concretise(end, &c, &rows, &sums)?;
        let (c, sums) = self.opposite(&c, &rows, &sums, &slack)?;
        let opposite = self.known.concretise(end, &c, &rows, &sums)?;
        let passed = if from <= i { self.passed(i, targets)? } else { None };
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

    /// Lower bounds of (negated) output neurons of node `i`, one per target.
    fn neuron_bounds(&self, i: usize, targets: &[Target], signs: bool) -> Result<Vec<f32>> {
        let (mut rows, channels) = self.place_targets(i, targets)?;
        let (mut from, mut c, mut sums) = self.start(i, &rows, &channels)?;
        let passed = if from <= i { self.passed(i, targets)? } else { None };
        let less = |bound: f32, t: usize| passed.as_ref().map_or(bound, |error| down(bound - error[t]));
        // Of random inputs a row whose sign is known before it reaches them had better not rest on them.
        let settled = |bound: f32| self.known.region.is_random() && bound > 0.0;
        let mut bounds = vec![f32::NEG_INFINITY; targets.len()];
        let mut open: Vec<usize> = (0..targets.len()).collect();
        let end = self.bounder().depth.map_or(0, |depth| graph::end(self.net(), from, depth));
        for cut in graph::cuts(self.net(), from, WORTHWHILE).into_iter().filter(|&cut| signs && cut > end) {
            c = self.walk(from, c, &rows, &sums, cut, None)?;
            from = cut;
            let mut here = self.known.concretise(cut, &c, &rows, &sums)?;
            open.iter().zip(&mut here).for_each(|(&t, bound)| *bound = less(*bound, t));
            let undecided: Vec<usize> =
                (0..open.len()).filter(|&r| !(here[r] > 0.0 || settled(bounds[open[r]]))).collect();
            for (&t, &bound) in open.iter().zip(&here) {
                if !bound.is_finite() {
                    return Err(not_finite());
                }
                if !settled(bounds[t]) {
                    bounds[t] = bounds[t].max(bound);
                }
            }
            if undecided.is_empty() {
                return Ok(bounds);
            }
            if (undecided.len() as f64) < (1.0 - WORTHWHILE) * open.len() as f64 {
                open = undecided.iter().map(|&r| open[r]).collect();
                (c, rows, sums) = self.pick(&c, &rows, &sums, &undecided)?;
            }
        }
        let c = self.walk(from, c, &rows, &sums, end, None)?;
        for (&t, bound) in open.iter().zip(self.known.concretise(end, &c, &rows, &sums)?) {
            if settled(bounds[t]) && bound.is_finite() {
                continue;
            }
            if end == 0 {
                let Target { image, neuron, negated, .. } = targets[t];
                self.known.region.note(image as usize, Form { node: i, negated, neuron: neuron as usize });
            }
            let bound = less(bound, t);
            // NaN must not hide behind an earlier bound.
            bounds[t] = if bound.is_nan() { bound } else { bound.max(bounds[t]) };
        }
        Ok(bounds)
    }

    /// What rows of affine node `i` that start below it have passed by: the errors that runtimes make in it, if proofs are
    /// to hold for them, and around images the distance from their reference.
    fn passed(&self, i: usize, targets: &[Target]) -> Result<Option<Vec<f32>>> {
        if self.known.around().is_some() {
            return self.known.folding_at(i, targets.iter().map(|t| (t.image as usize, t.neuron as usize)));
        }
        let relative = self.bounder().deployed(i);
        if relative == 0.0 {
            return Ok(None);
        }
        let Some(magnitude) = self.known.magnitude_values(i)? else { return Ok(None) };
        let size: Vec<f32> = self.device().read(&magnitude)?;
        // The magnitudes come rounded to nearest; one percent covers it.
        let error = |t: &Target| up(1.01 * relative * size[t.at(self.known.region.lanes)]);
        Ok(Some(targets.iter().map(error).collect()))
    }

    /// Some of the rows by themselves, in this order.
    fn pick(
        &self,
        c: &Coefficients,
        rows: &Rows,
        sums: &Buffer,
        which: &[usize],
    ) -> Result<(Coefficients, Rows, Buffer)> {
        let d = self.device();
        let lanes = tensor::lanes(which.len());
        // Unused lanes repeat the last row.
        let source: Vec<u32> = (0..lanes).map(|l| which[l.min(which.len() - 1)] as u32).collect();
        let place: Vec<u32> = d.read(&rows.buffer)?;
        let picked: Vec<u32> = (0..3)
            .flat_map(|part| source.iter().map(move |&s| (part, s as usize)))
            .map(|(part, s)| place[part * rows.lanes + s])
            .collect();
        let source = d.upload(&source)?;
        let a = d.alloc(c.window.elements() * lanes)?;
        linear::pick(d, &c.a, &source, &a, [rows.lanes, lanes])?;
        let own = d.alloc(2 * SLICES * lanes)?;
        linear::pick(d, sums, &source, &own, [rows.lanes, lanes])?;
        let rows = Rows { count: which.len(), lanes, plane: rows.plane, buffer: d.upload(&picked)? };
        Ok((Coefficients { a, window: c.window }, rows, own))
    }

    /// One row for each output neuron of node `i`, and its channel, with [`linear::NEGATED`].
    pub fn place_targets(&self, i: usize, targets: &[Target]) -> Result<(Rows, Vec<u32>)> {
        let d = self.device();
        let shape = self.net().model.nodes[i].shape;
        let plane = shape.height * shape.width;
        let lanes = tensor::lanes(targets.len());
        let mut place = vec![0; 3 * lanes];
        let mut channels = vec![u32::MAX; lanes];
        for lane in 0..lanes {
            // Unused lanes repeat the last row's place, so that their block stays uniform.
            let Some(target) = targets.get(lane).or(targets.last()) else { continue };
            let (channel, at) = (target.neuron as usize / plane, target.neuron as usize % plane);
            place[lane] = target.image;
            place[lanes + lane] = (at / shape.width) as u32;
            place[2 * lanes + lane] = (at % shape.width) as u32;
            if lane < targets.len() {
                channels[lane] = channel as u32 | if target.negated { linear::NEGATED } else { 0 };
            }
        }
        let plane = [shape.height, shape.width];
        Ok((Rows { count: targets.len(), lanes, plane, buffer: d.upload(&place)? }, channels))
    }

    /// Rows of output neurons of node `i` where they start: value, coefficients, sums.
    pub fn start(&self, i: usize, rows: &Rows, channels: &[u32]) -> Result<(ValueId, Coefficients, Buffer)> {
        let d = self.device();
        let node = &self.net().model.nodes[i];
        let lanes = rows.lanes;
        // The charge for folding is taken where a walk passes the layer, so that a walk may not start below it.
        let affine = self.net().layer(i).affine().filter(|_| !self.known.starts_above(i));
        let seeded = affine.map(|affine| (affine, self.seed_window(affine, node.inputs[0])));
        Ok(if let Some((affine, window)) = seeded.filter(|(_, window)| window.fits(rows.plane)) {
            let sums = d.alloc(2 * SLICES * lanes)?;
            let a = d.alloc(window.elements() * lanes)?;
            let target = d.upload(channels)?;
            let outputs = affine.geometry.output.channels;
            let bias = self.known.constants(&affine.bias)?;
            linear::seed(d, &window, outputs, &affine.weight, &bias, &target, &a, &sums, lanes)?;
            (node.inputs[0], Coefficients { a, window }, sums)
        } else {
            let window = Window { layer: node.shape, size: [1, 1], step: [1, 1], offset: [0, 0] };
            let mut a = vec![0.0f32; node.shape.channels * lanes];
            for (lane, &c) in channels.iter().enumerate().filter(|(_, c)| **c != u32::MAX) {
                let sign = if c & linear::NEGATED != 0 { -1.0 } else { 1.0 };
                a[(c & !linear::NEGATED) as usize * lanes + lane] = sign;
            }
            (i + 1, Coefficients { a: d.upload(&a)?, window }, d.zeros(2 * SLICES * lanes)?)
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
