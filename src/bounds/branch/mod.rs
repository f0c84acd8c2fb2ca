//! Branch and bound on the signs of unstable neurons (Bunel et al., "Branch and Bound for Piecewise Linear Neural Network
//! Verification", 2020), with multipliers for the assumed signs (Wang et al., "Beta-CROWN", 2021).
//!
//! A *domain* is a box with signs assumed for some neurons. Its row is bounded with the box's own bounds of neurons, made
//! once by `crown` or `alpha`; slopes and multipliers climb from where those of the domain it came from ended. A domain
//! that stays open is halved at the neuron whose relaxation costs most where the row is least. Every point of the box
//! lies in one of the two halves, so that a row holds on a box if it holds on all domains that are left.

mod batch;
mod climbed;
mod domain;
mod neurons;
mod progress;
mod root;
mod tree;

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use batch::Batch;
use climbed::Climbed;
use domain::Domain;
pub use neurons::Depth;
use progress::{Bounded, Progress};
use root::Root;
pub use tree::Tree;

use super::alpha::{self, Effort, Run};
use super::certified::Proof;
use super::evaluate::Bounds;
use super::linearised::Linearised;
use super::region::Region;
use super::shelf::Copies;
use super::{Ball, Bounder, Method, Row, graph};
use crate::error::{Error, Result};
use crate::ops::linear::RELAX;
use crate::ops::signs;
use crate::results::certificate::{Certificate, HalvedNeurons};
use crate::tensor;

/// What is known about a box of which some rows are to be positive.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// All of its rows are, everywhere in the box.
    Proved,
    /// One of them hardly is at this point, as far as f32 can tell: to be checked. The point may lie outside the box by
    /// roundings.
    Broken(Vec<f32>),
    /// The budget is spent, or the time.
    Open,
}

/// What a domain's climb may cost where a tree goes on from ball to ball, which ends the sooner the more domains there are.
const HASTY: Effort = Effort { rounds: 1, steps: 3, rate: 0.4 };

/// Likewise where all of one box is asked for: a few domains whose slopes are good prove what thousands of hasty ones leave open.
const PATIENT: Effort = Effort { rounds: 1, steps: 8, rate: 0.2 };

/// How often a domain that stays open is bounded again on what its bound leaves of it, where that pays.
const RENEWALS: usize = 1;

/// The share of the time that the neurons behind a row may take before the row itself is halved.
const NEURONS: f64 = 0.4;

/// And the domains that each end of theirs may take then.
const DEEP: usize = 256;

/// Domains that one thread bounds at once, and a GPU, where they fit.
const BATCH: [usize; 2] = [32, 1024];

/// Products of fewer read every weight for too little, whatever the memory.
const LEAST: usize = 2 * tensor::LANE_BLOCK;

/// Multipliers are elementwise at most [`signs::MOST`] where rows start with at most one: coefficients may be larger than
/// elsewhere by this factor.
const GROWTH: f32 = 2.0 * signs::MOST;

/// What is known of regions, and bounds of rows over them.
struct Deepened<'a> {
    state: Linearised<'a>,
    bounds: Bounds,
    halved: Vec<HalvedNeurons>,
}

impl Bounder {
    /// Whether each class dominates on its ball, and the domains it took to tell: no more for each ball than its budget.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn branch_balls(&self, balls: &[Ball<'_>], budgets: &[usize]) -> Result<Vec<(Decision, usize)>> {
        self.branch(&Region::balls(self, balls)?, &self.margins(balls.iter().map(|b| b.class)).0, budgets)
    }

    /// Whether all rows of each box are positive on it, and the domains it took to tell: no more for each box than its
    /// budget. Boxes as in [`box_bounds`](Self::box_bounds).
    ///
    /// # Errors
    /// As [`box_bounds`](Self::box_bounds).
    pub fn branch_boxes(
        &self,
        boxes: &[(&[f32], &[f32])],
        rows: &[Row],
        budgets: &[usize],
    ) -> Result<Vec<(Decision, usize)>> {
        self.branch(&Region::boxes(self, boxes)?, rows, budgets)
    }

    /// The domains by which [`branch_balls`](Self::branch_balls) proves a ball within a budget, if it does, with the
    /// radius that they prove: the ball's, or a hair less. The ends of neurons are halved as deep as said.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn branch_proof(&self, ball: &Ball<'_>, budget: usize, depth: Depth) -> Result<Option<Proof>> {
        let balls = std::slice::from_ref(ball);
        let (region, (rows, _)) = (Region::balls(self, balls)?, self.margins(balls.iter().map(|b| b.class)));
        let crown = self.for_domains(depth);
        let Deepened { state, bounds, halved } = crown.deepened(&region, &rows, depth, true)?;
        if state.known.provable()?.contains(&false) {
            return Ok(None);
        }
        let lines = state.certificates(1)?.remove(0);
        let Some((roomy, roots)) = roots(state)? else { return Ok(None) };
        let mut progress = Progress::new(&rows, &bounds.lower, &[budget]).keeping_leaves();
        roomy.explore(&roots, &rows, &bounds.lower, &mut progress)?;
        let leaves = progress.take_leaves();
        if progress.finish()[0].0 != Decision::Proved {
            return Ok(None);
        }
        let mut radius = ball.delta;
        for part in leaves.chunks(roomy.domains_at_once()) {
            let (batch, own) = (Batch::new(&roomy, part)?, own_rows(&rows, part));
            let bounds = roomy.evaluate(&batch.state(&roomy)?, &own, false)?;
            radius = bounds.reach.iter().flatten().fold(radius, |m, r| m.min(*r));
        }
        let rival = |row: usize| rows[row].coefficients.iter().position(|c| *c < 0.0).unwrap_or(ball.class);
        let branches = Some(roots[0].branches(&leaves, rival, roomy.renewed()));
        let certificate = Certificate { ball: Some(ball.delta), relu: vec![], halved, branches, ..lines };
        Ok(Some(Proof { radius, certificate }))
    }

    fn branch(&self, region: &Region, rows: &[Row], budgets: &[usize]) -> Result<Vec<(Decision, usize)>> {
        let crown = self.at_least_crown();
        let now = Instant::now();
        let until = self.deadline.map(|deadline| now + deadline.saturating_duration_since(now).mul_f64(NEURONS));
        // Without a limit of time it is domains that count.
        let depth = Depth { domains: until.map_or(0, |_| DEEP), until };
        let Deepened { state, bounds, .. } = crown.deepened(region, rows, depth, false)?;
        let mut progress = Progress::new(rows, &bounds.lower, budgets);
        for (decision, _) in
            progress.decisions.iter_mut().zip(state.known.provable()?).filter(|(_, provable)| !provable)
        {
            *decision = Some(Decision::Open);
        }
        let undecided = (0..region.count).any(|b| progress.decisions[b].is_none());
        if undecided && let Some((roomy, roots)) = roots(state)? {
            roomy.explore(&roots, rows, &bounds.lower, &mut progress)?;
        }
        Ok(progress.finish())
    }

    /// What is known of regions, and bounds of rows over them, the ends of neurons halved as deep as said where that pays; and what
    /// proves those, if it is to be kept of a single region.
    fn deepened<'a>(&'a self, region: &'a Region, rows: &[Row], depth: Depth, keep: bool) -> Result<Deepened<'a>> {
        let (state, bounds) = self.bounded(region, rows, false)?;
        // Where rows see patches, halves of their neurons tell little.
        let pays = depth.domains > 1 && self.renews() && bounds.lower.iter().any(|lower| !(*lower > 0.0));
        if !pays || state.known.provable()?.contains(&false) {
            return Ok(Deepened { state, bounds, halved: vec![] });
        }
        let (limits, halved) = self.halve_neurons(&state, depth, keep)?;
        let (state, bounds) = self.bounded_within(region, rows, &limits.iter().collect::<Vec<_>>(), false)?;
        Ok(Deepened { state, bounds, halved })
    }

    /// Where the ends of neurons are halved, slopes that climb before tell little more.
    fn for_domains(&self, depth: Depth) -> Bounder {
        let crown = self.at_least_crown();
        if depth.domains > 1 && self.renews() { Bounder { method: Method::Crown, ..crown } } else { crown }
    }

    fn at_least_crown(&self) -> Bounder {
        Bounder { method: self.method.max(Method::Crown), ..self.clone() }
    }

    /// Bounds domains until all boxes are decided, or budgets or the time are spent. `lower` are the rows' bounds on
    /// whole boxes.
    fn explore(&self, roots: &[Arc<Root>], rows: &[Row], lower: &[f32], progress: &mut Progress) -> Result<()> {
        for (r, row) in rows.iter().enumerate() {
            let whole = Domain::whole(r, &roots[row.lane]);
            if lower[r] > 0.0 { progress.keep(&whole) } else { progress.queue.push(whole) }
        }
        let gpu = self.device().is_gpu();
        let share = self.domains_at_once();
        loop {
            let batch = progress.take(if gpu { share } else { share * rayon::current_num_threads() });
            if batch.is_empty() {
                return Ok(());
            }
            let bound = |part: &[Domain]| self.bound(rows, part, PATIENT, RENEWALS);
            let parts = batch.par_chunks(share).map(bound);
            let parts: Vec<Result<Vec<Bounded>>> = parts.collect();
            let mut late = false;
            for part in parts {
                match part {
                    // What was proved until then stays.
                    Err(Error::Timeout) => late = true,
                    other => other?.into_iter().for_each(|bounded| progress.settle(bounded)),
                }
            }
            if late {
                return Ok(());
            }
        }
    }

    /// Whether the ends of neurons are worth halving: not where their rows see patches, of which that tells little.
    pub fn halves_neurons(&self) -> bool {
        self.renews() && !self.goes_around()
    }

    /// Whether neurons are bounded anew on what a row leaves of its domain. That tells much of rows that see the whole input, and
    /// nothing of those that see a patch, of which there are many: it pays where there are none.
    fn renews(&self) -> bool {
        let net = &self.net;
        graph::relus(net).all(|relu| self.sees_the_input(net.model.nodes[relu].inputs[0]))
    }

    /// Nodes whose neurons are bounded anew where something is cut off.
    fn renewed(&self) -> Vec<usize> {
        let all = (0..self.net.model.nodes.len()).filter(|_| self.renews());
        all.filter(|i| graph::feeds_relaxation(&self.net, i + 1) && self.sees_the_input(i + 1)).collect()
    }

    /// As many as a thread's share of memory or the device's largest buffer holds.
    fn domains_at_once(&self) -> usize {
        let model = &self.net.model;
        let sizes = || (0..=model.output()).map(|v| model.shape(v).len());
        // Tables, coefficients and values of every layer; four shares, since there are no other rows beside them.
        let words = 10 * sizes().sum::<usize>();
        let fit = (4 * self.memory / (4 * words.max(1))).max(LEAST);
        let buffer = self.device().max_buffer() / (RELAX * sizes().max().unwrap_or(1));
        let most = BATCH[usize::from(self.device().is_gpu())];
        (fit.min(buffer) / tensor::LANE_BLOCK * tensor::LANE_BLOCK).clamp(tensor::LANE_BLOCK, most)
    }

    /// Bounds each domain's row, and again on what that leaves of the domain.
    fn bound(&self, rows: &[Row], domains: &[Domain], climb: Effort, renewals: usize) -> Result<Vec<Bounded>> {
        let (mut bounded, run) = self.climbed(rows, domains, climb)?;
        if let Some(run) = run {
            let points = self.broken(&own_rows(rows, domains), run)?;
            bounded.iter_mut().zip(points).for_each(|(bounded, point)| bounded.point = point);
        }
        let open = |b: &Bounded| !(b.lower > 0.0) && b.next.is_some() && b.domain.home.inputs.can_be_cut();
        let open: Vec<usize> = (0..bounded.len()).filter(|&i| open(&bounded[i])).collect();
        if renewals == 0 || open.is_empty() || !self.renews() {
            return Ok(bounded);
        }
        let due: Vec<Domain> = open.iter().map(|&i| bounded[i].domain.clone()).collect();
        let left = open.into_iter().zip(Root::left(self, &own_rows(rows, &due), &due)?);
        let left: Vec<(usize, Arc<Root>)> = left.filter_map(|(i, root)| Some((i, root?))).collect();
        let again: Vec<Domain> = left.iter().map(|(i, root)| bounded[*i].domain.moved(root)).collect();
        if again.is_empty() {
            return Ok(bounded);
        }
        for ((i, _), next) in left.into_iter().zip(self.bound(rows, &again, climb, renewals - 1)?) {
            let before = &mut bounded[i];
            let (lower, reach) = (before.lower.max(next.lower), before.reach.max(next.reach));
            *before = Bounded { lower, reach, point: before.point.take().or(next.point), ..next };
        }
        Ok(bounded)
    }

    /// Bounds each domain's row, and runs those rows as their slopes and multipliers are in the end, unless all are positive at
    /// once.
    fn climbed(&self, rows: &[Row], domains: &[Domain], climb: Effort) -> Result<(Vec<Bounded>, Option<Run>)> {
        let own = own_rows(rows, domains);
        let batch = Batch::new(self, domains)?;
        let state = batch.state(self)?;
        let (mut bounds, climbed) = alpha::ascend(&state, &own, climb)?;
        let at_once: Vec<bool> = bounds.lower.iter().map(|b| *b > 0.0).collect();
        let (mut next, mut after, mut run) = (vec![None; domains.len()], None, None);
        if let Some((better, last)) = climbed {
            bounds.keep_better(&better, &own, domains.len());
            let climbed = Climbed::read(&state, &last)?;
            next = climbed.weakest(domains.len());
            (after, run) = (Some(climbed), Some(last));
        }
        // What proved a domain is what it came with, or what it climbed to.
        let after = |(lane, domain): (usize, &Domain)| match &after {
            Some(climbed) if !at_once[lane] => domain.after(lane, climbed),
            Some(_) | None => domain.clone(),
        };
        let after: Vec<Domain> = domains.par_iter().enumerate().map(after).collect();
        let reach = bounds.reach.unwrap_or_else(|| vec![0.0; domains.len()]);
        let bounded = bounds.lower.into_iter().zip(reach).zip(after).zip(next);
        let bounded =
            bounded.map(|(((lower, reach), domain), next)| Bounded { lower, reach, domain, next, point: None });
        Ok((bounded.collect(), run))
    }

    /// For each row the point where its linear bound is least, if the row itself is not positive there.
    fn broken(&self, rows: &[Row], run: Run) -> Result<Vec<Option<Vec<f32>>>> {
        let Some(x) = run.corner.or(run.values.into_iter().next().flatten()) else { return Ok(vec![]) };
        let d = self.device();
        let (lanes, elements) = (tensor::lanes(rows.len()), self.net.model.input.len());
        // All values are kept, so that the points are there still.
        let values = self.net.forward(x, lanes, true)?;
        let [Some(points), .., Some(logits)] = &values[..] else { return Ok(vec![None; rows.len()]) };
        let logits: Vec<f32> = d.read(logits)?;
        let value = |row: &Row| {
            let terms = row.coefficients.iter().enumerate().filter(|(_, c)| **c != 0.0);
            terms.fold(row.constant, |sum, (k, c)| sum + c * logits[k * lanes + row.lane])
        };
        // Hardly ever is any, and of those alone the points are read.
        let broken: Vec<usize> = (0..rows.len()).filter(|&r| value(&rows[r]) <= 0.0).collect();
        let mut all = vec![None; rows.len()];
        if !broken.is_empty() {
            let copies = Copies::new(d, lanes, broken.iter().map(|&r| r as u32).collect())?;
            let few: Vec<f32> = d.read(&copies.columns(d, points)?)?;
            let few = tensor::deinterleave(&few, elements, broken.len());
            few.chunks(elements).zip(broken).for_each(|(point, r)| all[r] = Some(point.to_vec()));
        }
        Ok(all)
    }
}

/// Boxes to branch on, and a bounder with room for multipliers; none where no slopes can move.
fn roots(state: Linearised<'_>) -> Result<Option<(Bounder, Vec<Arc<Root>>)>> {
    let bounder = state.bounder();
    if graph::relus(&bounder.net).next().is_none() {
        return Ok(None);
    }
    let range = Arc::new(bounder.net.range(bounder.peak, f64::from(GROWTH))?);
    Ok(Some((Bounder { range, ..bounder.clone() }, Root::all(&state)?)))
}

/// The row of every domain, on the domain's lane.
fn own_rows(rows: &[Row], domains: &[Domain]) -> Vec<Row> {
    domains.iter().enumerate().map(|(lane, d)| Row { lane, ..rows[d.row].clone() }).collect()
}
