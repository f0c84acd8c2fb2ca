//! Projected gradient descent on the largest left side of an alternative's constraints (Madry et al. 2018): where it
//! falls to zero the alternative holds. All points of a round go through the network together.

use std::slice::from_ref;

use rayon::prelude::*;

use super::query::{Queries, Query, members};
use super::refute::Part;
use crate::attack::descent::{Objective, Points, Region, descend, read};
use crate::device::Buffer;
use crate::error::Result;
use crate::network::Network;
use crate::tensor;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// From the middle and one random point.
    Quick,
    /// From a handful of random points and corners.
    Normal,
    /// Many times over, for half of the time that is left.
    Thorough,
}

/// Where to look for a counterexample to one alternative.
pub(super) struct Start {
    pub of: Alternative,
    pub x: Vec<f32>,
}

/// What a point is to make hold.
#[derive(Clone, Copy)]
pub(super) struct Alternative {
    pub query: usize,
    pub case: usize,
    pub disjunct: usize,
}

/// Points looked at for each start of an attack on a box of few dimensions.
const SCATTER: usize = 256;
/// A box of more varying inputs is too large to scatter points over.
const SCATTERED: usize = 16;

/// Looks for a clear counterexample to any open alternative.
pub(super) fn run(net: &Network, queries: &mut Queries<'_>, open: &[Part], effort: Effort) -> Result<()> {
    let (rounds, steps) = match effort {
        Effort::Quick => (2, 20),
        Effort::Normal => (4, 40),
        Effort::Thorough => (200, 60),
    };
    let most = lanes(net);
    let half: Vec<_> = queries.all().iter().map(|q| q.left() / 2).collect();
    for round in 0..rounds {
        let first = effort == Effort::Quick && round == 0;
        let over = |queries: &Queries<'_>, i: usize| effort == Effort::Thorough && queries.all()[i].left() < half[i];
        let parts: Vec<&Part> = open.iter().filter(|p| queries.is_open(p.query) && !over(queries, p.query)).collect();
        let mut rest = &parts[..];
        while let Some((&part, _)) = rest.split_first() {
            // As many parts as fit the device together; at least one.
            let size = |p: &Part| tries(p, first).max(p.open.len());
            let (mut n, mut filled) = (1, size(part));
            while n < rest.len() && filled + size(rest[n]) <= most {
                filled += size(rest[n]);
                n += 1;
            }
            let mut points = starts(net, queries, &rest[..n], first)?;
            rest = &rest[n..];
            while !points.is_empty() {
                let later = points.split_off(points.len().min(most));
                follow(net, queries, points, steps, 1.0)?;
                points = later;
            }
        }
    }
    Ok(())
}

/// Points to draw in a part.
fn tries(part: &Part, first: bool) -> usize {
    let varying = part.lower.iter().zip(&part.upper).filter(|(l, u)| l < u).count();
    if varying <= SCATTERED && !first { SCATTER } else { 1 }
}

/// Where to start for every open alternative of these parts.
fn starts(net: &Network, queries: &mut Queries<'_>, parts: &[&Part], first: bool) -> Result<Vec<Start>> {
    let mut points = vec![];
    let mut drawn = Vec::with_capacity(parts.len());
    for part in parts {
        let (query, tries) = (queries.get(part.query), tries(part, first));
        if tries > 1 {
            drawn.push((*part, (0..tries).map(|_| start(query, part.case, false)).collect::<Vec<_>>()));
            continue;
        }
        // Without scattered points every alternative gets a start of its own.
        for &disjunct in &part.open {
            let x = start(query, part.case, first);
            points.push(Start { of: part.alternative(disjunct), x });
        }
    }
    let scattered: Vec<&[f32]> = drawn.iter().flat_map(|(_, xs)| xs.iter().map(Vec::as_slice)).collect();
    if scattered.is_empty() {
        return Ok(points);
    }
    let who = members(parts.iter().map(|p| p.query));
    let Some(scores) = queries.in_time(net, &who, |net, _| net.scores(&scattered))? else { return Ok(vec![]) };
    let mut scores = &scores[..];
    for (part, xs) in &drawn {
        let (own, later) = scores.split_at(xs.len());
        scores = later;
        for &disjunct in &part.open {
            let tests = &queries.all()[part.query].tests[part.case][disjunct];
            let value = |y: &Vec<f32>| tests.iter().map(|t| t.value(|k| y[k])).fold(f32::NEG_INFINITY, f32::max);
            let values: Vec<f32> = own.iter().map(value).collect();
            let best = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]));
            points.extend(best.map(|b| Start { of: part.alternative(disjunct), x: xs[b].clone() }));
        }
    }
    points.sort_by_key(|p| p.of.query);
    queries.charge(&who)?;
    points.retain(|p| queries.is_open(p.of.query));
    Ok(points)
}

/// Tries these points, pulled into their boxes as written, and what lies a little way down the slope from them.
pub(super) fn points(net: &Network, queries: &mut Queries<'_>, mut starts: impl Iterator<Item = Start>) -> Result<()> {
    loop {
        let pulled = |mut s: Start| {
            let query = &queries.all()[s.of.query];
            query.pull(s.of.case, &mut s.x);
            query.is_open().then_some(s)
        };
        let points: Vec<Start> = starts.by_ref().filter_map(pulled).take(lanes(net)).collect();
        if points.is_empty() {
            return Ok(());
        }
        follow(net, queries, points, 10, 0.2)?;
    }
}

/// Points that fit the device at once.
fn lanes(net: &Network) -> usize {
    let widest = (0..=net.model.output()).map(|v| net.model.shape(v).len()).sum::<usize>();
    let budget = if net.device.is_gpu() { 1 << 26 } else { 1 << 23 };
    (budget / widest.max(1) / tensor::LANE_BLOCK).clamp(1, 256) * tensor::LANE_BLOCK
}

/// The middle of the box, or a random point of it, every third time a random corner.
fn start(query: &mut Query<'_>, case: usize, middle: bool) -> Vec<f32> {
    let Query { inner, rng, .. } = query;
    let (low, high) = &inner[case];
    let corner = rng.below(3) == 0;
    let pick = |(l, u): (&f32, &f32)| {
        let t = match (middle, corner) {
            (true, _) => 0.5,
            (false, true) => rng.below(2) as f32,
            (false, false) => rng.uniform(),
        };
        (l + t * (u - l)).clamp(*l, *u)
    };
    let mut x = low.iter().zip(high).map(pick).collect::<Vec<f32>>();
    query.pull(case, &mut x);
    x
}

/// `steps` steps; `reach` scales their length.
fn follow(net: &Network, queries: &mut Queries<'_>, points: Vec<Start>, steps: usize, reach: f32) -> Result<()> {
    let stride = |step: usize| {
        let left = 1.0 - step as f32 / steps as f32;
        // The first step crosses the whole box; later ones refine.
        [reach * if step == 0 { 1.0 } else { 0.5 * left.powf(1.5) + 0.002 }, 1.0]
    };
    let (of, starts): (Vec<Alternative>, Vec<Vec<f32>>) = points.into_iter().map(|p| (p.of, p.x)).unzip();
    let x = placed(net, starts.iter().map(Vec::as_slice))?;
    let (who, ends) = (members(of.iter().map(|of| of.query)), ends(net, queries, &of)?);
    let found = queries
        .in_time(net, &who, |net, queries| descend(net, &mut Violations { net, queries, of, ends }, x, steps, stride));
    found.map(|_| ())
}

/// Inputs by lane.
fn placed<'a>(net: &Network, inputs: impl ExactSizeIterator<Item = &'a [f32]>) -> Result<Buffer> {
    net.device.upload(&tensor::interleave(inputs, net.model.input.len()))
}

/// The boxes of these points.
fn ends(net: &Network, queries: &Queries<'_>, of: &[Alternative]) -> Result<[Buffer; 2]> {
    let inner = |of: &Alternative| &queries.all()[of.query].inner[of.case];
    let low = placed(net, of.iter().map(|of| inner(of).0.as_slice()))?;
    Ok([low, placed(net, of.iter().map(|of| inner(of).1.as_slice()))?])
}

/// The constraint of each alternative that is furthest from holding.
struct Violations<'a, 'q> {
    net: &'a Network,
    queries: &'a mut Queries<'q>,
    /// Of each point, those of a query side by side.
    of: Vec<Alternative>,
    ends: [Buffer; 2],
}

impl Objective for Violations<'_, '_> {
    fn region(&self) -> Region<'_> {
        let [low, high] = &self.ends;
        Region::Box { low, high }
    }

    /// Confirms the best point of each property if it looks like a counterexample.
    fn look(&mut self, x: &Buffer, outputs: &Buffer, _step: usize, last: bool) -> Result<Buffer> {
        let (d, count) = (&self.net.device, self.net.model.outputs());
        let lanes = outputs.len() / count;
        let outputs = tensor::deinterleave(&d.read::<f32>(outputs)?, count, self.of.len());
        let outputs: Vec<&[f32]> = outputs.chunks(count).collect();
        let worst = |(of, y): (&Alternative, &&[f32])| {
            let mut worst = (f32::NEG_INFINITY, vec![0.0; y.len()]);
            for test in &self.queries.all()[of.query].tests[of.case][of.disjunct] {
                let value = test.value(|k| y[k]);
                if value > worst.0 {
                    worst = (value, test.coefficients.iter().map(|a| -a).collect());
                }
            }
            worst
        };
        let (values, weights): (Vec<f32>, Vec<Vec<f32>>) = self.of.iter().zip(&outputs).map(worst).unzip();
        let (mut first, mut looked) = (0, vec![]);
        for own in self.of.chunk_by(|a, b| a.query == b.query) {
            let all = first..first + own.len();
            first = all.end;
            let Some(best) = all.min_by(|&a, &b| values[a].total_cmp(&values[b])) else { continue };
            let of = self.of[best];
            // Where points end, f32 may be what keeps a condition from holding at its very edge.
            let edge = if last { self.queries.all()[of.query].edge(of.case, of.disjunct, outputs[best]) } else { 0.0 };
            if values[best] <= edge {
                looked.push((best, 0));
            }
        }
        for (&(best, _), x) in looked.iter().zip(read(d, from_ref(x), lanes, &looked)?) {
            let of = self.of[best];
            self.queries.get(of.query).examine(self.net, of.case, of.disjunct, &x, outputs[best]);
        }
        d.upload(&tensor::interleave(weights.iter().map(Vec::as_slice), count))
    }

    /// Points keep to the relations among their inputs; those whose property is decided or out of time drop out.
    fn after_step(&mut self, points: &mut Points) -> Result<bool> {
        let (d, elements, queries) = (&self.net.device, self.net.model.input.len(), self.queries.all());
        let is_related = |of: &Alternative| !queries[of.query].spec.cases[of.case].relations.is_empty();
        if self.of.iter().any(is_related) {
            let mut moved = tensor::deinterleave(&d.read::<f32>(&points.x)?, elements, self.of.len());
            let pull = |(x, of): (&mut [f32], &Alternative)| queries[of.query].pull(of.case, x);
            moved.par_chunks_mut(elements).zip(&self.of).for_each(pull);
            d.write(&points.x, &tensor::interleave(moved.chunks(elements), elements))?;
        }
        self.queries.charge(&members(self.of.iter().map(|of| of.query)))?;
        let open: Vec<usize> = (0..self.of.len()).filter(|&i| self.queries.is_open(self.of[i].query)).collect();
        if open.len() < self.of.len() && !open.is_empty() {
            points.keep(self.net, &open)?;
            self.of = open.iter().map(|&i| self.of[i]).collect();
            self.ends = ends(self.net, self.queries, &self.of)?;
        }
        Ok(!open.is_empty())
    }
}
