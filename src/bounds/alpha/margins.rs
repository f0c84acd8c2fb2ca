//! Slopes of the margins: one row per region, its worst, climbs at a time.

use crate::bounds::evaluate::Bounds;
use crate::bounds::linearised::Linearised;
use crate::bounds::rows::Coefficients;
use crate::bounds::walk::Keep;
use crate::bounds::{Row, graph};
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::linear::{Rows, SLICES};
use crate::ops::optimizer::Adam;
use crate::ops::{signs, slopes};

/// How hard to climb.
#[derive(Clone, Copy)]
pub(in crate::bounds) struct Effort {
    /// How often the worst row is looked for and bounded.
    pub rounds: usize,
    /// Steps up its gradient each time.
    pub steps: u32,
    /// Step size, falling to [`LAST`] of it.
    pub rate: f32,
}

const LAST: f32 = 0.1;

/// How far anchors move in the first step where they are at rest, where they are not, and each time after that as a share of
/// the time before.
const ANCHORS: [f32; 2] = [0.4, 0.1];
const SLOWER: f32 = 0.5;

/// First and second moments of Adam by node, for slopes and for multipliers.
struct Moments {
    slopes: Vec<Option<[Buffer; 2]>>,
    signs: Vec<Option<[Buffer; 2]>>,
}

/// One row per region, run at the point where it is least; all `[element][lane]`.
pub(in crate::bounds) struct Run {
    /// Its coefficients above every nonlinear layer, by node.
    pub above: Vec<Option<Coefficients>>,
    /// Every value it was walked through; 0 is the point.
    pub values: Vec<Option<Buffer>>,
    /// The corner of the region where it is least, if the point is another.
    pub corner: Option<Buffer>,
}

/// Moves lower slopes, and multipliers of assumed signs, up the gradient of each region's worst row, and replaces the
/// bounds of every region whose worst row gets better. After every round `kept` is told which got better.
pub(super) fn climb(
    state: &Linearised<'_>,
    rows: &[Row],
    best: &mut Bounds,
    want_slopes: bool,
    effort: Effort,
    mut kept: impl FnMut(&Linearised<'_>, &[bool]) -> Result<()>,
) -> Result<()> {
    let (bounder, count) = (state.bounder(), state.region().count);
    if graph::relus(&bounder.net).next().is_none() {
        return Ok(());
    }
    let moments = Moments::at_rest(state)?;
    let mut worst = best.worst_rows(rows, count);
    for done in 0..effort.steps() {
        bounder.check_deadline()?;
        run(state, rows, &worst, Some((&moments, &effort.adam(done), done + 1)))?;
        if (done + 1) % effort.steps == 0 {
            let next = bounder.evaluate(state, rows, want_slopes)?;
            worst = next.worst_rows(rows, count);
            kept(state, &best.keep_better(&next, rows, count))?;
        }
    }
    Ok(())
}

/// Bounds one row for each region, in their order; moves lower slopes, and multipliers of assumed signs, up its gradient, and
/// bounds it again, with its run as it is then. Where all rows are positive at once nothing moves, and nothing is run.
pub(in crate::bounds) fn ascend(
    state: &Linearised<'_>,
    rows: &[Row],
    effort: Effort,
) -> Result<(Bounds, Option<(Bounds, Run)>)> {
    let bounder = state.bounder();
    let trace = || -> Result<Trace> {
        let (each, a, sums) = bounder.start(state, rows)?;
        let start = Coefficients::whole(a, bounder.net.model.shape(bounder.net.model.output()));
        Trace::new(state, each, start, sums)
    };
    let bounds = |trace: &Trace| {
        let least = state.walk().least(&trace.end, &trace.each, &trace.sums)?;
        bounder.read(state, rows.iter().map(|row| row.lane), &[least])
    };
    let mut at = trace()?;
    let first = bounds(&at)?;
    if first.lower.iter().all(|lower| *lower > 0.0) {
        return Ok((first, None));
    }
    let moments = Moments::at_rest(state)?;
    let far = ANCHORS[usize::from(state.relaxations.envelope.as_ref().is_some_and(|envelope| envelope.moved))];
    for done in 0..effort.steps() {
        bounder.check_deadline()?;
        state.walk().move_anchors(&at.end, &at.each, far * SLOWER.powi(done as i32))?;
        at.run(state, Some((&moments, &effort.adam(done), done + 1)))?;
        at = trace()?;
    }
    let last = bounds(&at)?;
    Ok((first, Some((last, at.run(state, None)?))))
}

/// Runs the row `worst[lane]` of every region and leaves slopes and multipliers where they are.
pub(super) fn run_each(state: &Linearised<'_>, rows: &[Row], worst: &[usize]) -> Result<Run> {
    run(state, rows, worst, None)
}

impl Effort {
    fn steps(&self) -> u32 {
        self.rounds as u32 * self.steps
    }

    /// The step after so many.
    fn adam(&self, done: u32) -> Adam {
        let share = done as f32 / self.steps() as f32;
        Adam { rate: self.rate * LAST.powf(share), beta2: 0.99, ..Adam::default() }
    }
}

impl Moments {
    fn at_rest(state: &Linearised<'_>) -> Result<Moments> {
        let (net, d) = (&state.bounder().net, state.bounder().device());
        let two = |len: usize| -> Result<_> { Ok(Some([d.zeros(len)?, d.zeros(len)?])) };
        let (mut slopes, mut signs) = (vec![], vec![]);
        for (i, node) in net.model.nodes.iter().enumerate() {
            slopes.push(if graph::is_relu(net, i) { two(node.shape.len() * state.region().lanes)? } else { None });
            signs.push(state.relaxations.signs(i).map_or(Ok(None), |s| two(s.beta.len()))?);
        }
        Ok(Moments { slopes, signs })
    }
}

/// A step of Adam, counted from 1.
type Climb<'a> = (&'a Moments, &'a Adam, u32);

/// Runs the row `worst[lane]` of every region at the point of the region where it is least, and moves slopes and
/// multipliers on the way if asked to.
fn run(state: &Linearised<'_>, rows: &[Row], worst: &[usize], climb: Option<Climb<'_>>) -> Result<Run> {
    let (each, start) = state.one_each(rows, worst)?;
    let sums = state.bounder().device().zeros(2 * SLICES * each.lanes)?;
    Trace::new(state, each, start, sums)?.run(state, climb)
}

/// One row per region, walked down to it.
struct Trace {
    each: Rows,
    sums: Buffer,
    end: Coefficients,
    keep: Keep,
}

impl Trace {
    fn new(state: &Linearised<'_>, each: Rows, start: Coefficients, sums: Buffer) -> Result<Trace> {
        let model = &state.bounder().net.model;
        let mut keep = Keep::new(model);
        // Rows that start as whole layers stay so.
        let end = state.walk().walk(model.output(), start, &each, &sums, 0, Some(&mut keep))?;
        Ok(Trace { each, sums, end, keep })
    }

    /// Runs the rows where they are least, and moves slopes and multipliers on the way if asked to.
    fn run(self, state: &Linearised<'_>, climb: Option<Climb<'_>>) -> Result<Run> {
        let (d, lanes) = (state.bounder().device(), state.region().lanes);
        let Trace { each, end, mut keep, .. } = self;
        let output = state.bounder().net.model.output();
        let corner = state.region().corner(state.bounder(), &end, &each)?;
        // A gradient is that of a corner; what lines cost is told by where the row is about least between corners.
        let between = if climb.is_none() { state.walk().point(&each)? } else { None };
        let (x, corner) = match between {
            Some(x) => (x, Some(corner)),
            None => (corner, None),
        };
        let values = state.walk().follow(output, &end, x, &each, &mut keep, |bend| {
            let (a, signs) = (&bend.above.a, state.relaxations.signs(bend.node));
            let Some((moments, adam, step)) = climb else {
                slopes::follow(d, a, bend.z, bend.lines, bend.y, lanes)?;
                return signs.map_or(Ok(()), |s| signs::follow(d, bend.z, bend.y, &s.targets, lanes));
            };
            if let Some([m, v]) = &moments.slopes[bend.node] {
                slopes::climb(d, a, bend.z, bend.y, bend.lines, [m, v], lanes, adam, step)?;
            }
            if let (Some(s), Some([m, v])) = (signs, &moments.signs[bend.node]) {
                signs::climb(d, a, bend.z, bend.y, [&s.targets, &s.beta], [m, v], lanes, adam, step)?;
            }
            Ok(())
        })?;
        Ok(Run { above: keep.above, values, corner })
    }
}

impl Linearised<'_> {
    /// The row `which[lane]` of every region, in their order, and its coefficients over the logits.
    pub(in crate::bounds) fn one_each(&self, rows: &[Row], which: &[usize]) -> Result<(Rows, Coefficients)> {
        let (d, count, lanes) = (self.bounder().device(), self.region().count, self.region().lanes);
        let model = &self.bounder().net.model;
        let images = (0..lanes).map(|lane| if lane < count { lane as u32 } else { 0 });
        let each = Rows::whole(d, count, images.collect())?;
        let mut a = vec![0.0; model.outputs() * lanes];
        for (lane, &r) in which.iter().enumerate() {
            // A network of one output has no margins, and no row.
            let coefficients = rows.get(r).map_or(&[][..], |row| &row.coefficients);
            coefficients.iter().enumerate().for_each(|(k, c)| a[k * lanes + lane] = *c);
        }
        Ok((each, Coefficients::whole(d.upload(&a)?, model.shape(model.output()))))
    }

    /// Where in its region the row `which[lane]` is least, `[element][lane]`.
    pub(in crate::bounds) fn corners(&self, rows: &[Row], which: &[usize]) -> Result<Buffer> {
        let d = self.bounder().device();
        let (each, start) = self.one_each(rows, which)?;
        let sums = d.zeros(2 * SLICES * each.lanes)?;
        let end = self.walk().walk(self.bounder().net.model.output(), start, &each, &sums, 0, None)?;
        self.region().corner(self.bounder(), &end, &each)
    }
}
