//! Projected gradient descent on the largest left side of an alternative's constraints (Madry et al. 2018): where it
//! falls to zero the alternative holds. All points of a round go through the network together.

use rayon::prelude::*;

use super::query::{Queries, Query, members};
use super::refute::Part;
use crate::attack::descent::{Objective, Point, Region, descend};
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
    pub query: usize,
    pub case: usize,
    pub disjunct: usize,
    pub x: Vec<f32>,
}

/// Points looked at for each start of an attack on a box of few dimensions.
const SCATTER: usize = 256;
/// A box of more varying inputs is too large to scatter points over.
const SCATTERED: usize = 16;

impl Start {
    /// On its way, by the alternative that it is to make hold.
    fn point(self) -> Point<Alternative> {
        let Start { query, case, disjunct, x } = self;
        Point::new(Alternative { query, case, disjunct }, x)
    }
}

/// What a point is to make hold.
#[derive(Clone, Copy)]
struct Alternative {
    query: usize,
    case: usize,
    disjunct: usize,
}

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
fn starts(net: &Network, queries: &mut Queries<'_>, parts: &[&Part], first: bool) -> Result<Vec<Point<Alternative>>> {
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
            points.push(Start { query: part.query, case: part.case, disjunct, x }.point());
        }
    }
    let scattered: Vec<&[f32]> = drawn.iter().flat_map(|(_, xs)| xs.iter().map(Vec::as_slice)).collect();
    if scattered.is_empty() {
        return Ok(points);
    }
    let scores = net.scores(&scattered)?;
    let mut scores = &scores[..];
    for (part, xs) in &drawn {
        let (own, later) = scores.split_at(xs.len());
        scores = later;
        for &disjunct in &part.open {
            let tests = &queries.all()[part.query].tests[part.case][disjunct];
            let value = |y: &Vec<f32>| tests.iter().map(|t| t.value(|k| y[k])).fold(f32::NEG_INFINITY, f32::max);
            let values: Vec<f32> = own.iter().map(value).collect();
            let best = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]));
            let start = |b: usize| Start { query: part.query, case: part.case, disjunct, x: xs[b].clone() };
            points.extend(best.map(|b| start(b).point()));
        }
    }
    points.sort_by_key(|p| p.of.query);
    queries.charge(&members(parts.iter().map(|p| p.query)))?;
    points.retain(|p| queries.is_open(p.of.query));
    Ok(points)
}

/// Tries these points, pulled into their boxes as written, and what lies a little way down the slope from them.
pub(super) fn points(net: &Network, queries: &mut Queries<'_>, mut starts: impl Iterator<Item = Start>) -> Result<()> {
    loop {
        let pulled = |mut s: Start| {
            let query = &queries.all()[s.query];
            query.pull(s.case, &mut s.x);
            query.is_open().then(|| s.point())
        };
        let points: Vec<Point<Alternative>> = starts.by_ref().filter_map(pulled).take(lanes(net)).collect();
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
fn follow(
    net: &Network,
    queries: &mut Queries<'_>,
    points: Vec<Point<Alternative>>,
    steps: usize,
    reach: f32,
) -> Result<()> {
    let length = |step: usize, half: f32| {
        let left = 1.0 - step as f32 / steps as f32;
        // The first step crosses the whole box; later ones refine.
        reach * if step == 0 { 1.0 } else { 0.5 * left.powf(1.5) + 0.002 } * half
    };
    descend(net, &mut Violations { net, queries }, points, steps, length)
}

/// The constraint of each alternative that is furthest from holding.
struct Violations<'a, 'q> {
    net: &'a Network,
    queries: &'a mut Queries<'q>,
}

impl Objective<Alternative> for Violations<'_, '_> {
    fn region(&self, of: &Alternative) -> Region<'_> {
        let (low, high) = &self.queries.all()[of.query].inner[of.case];
        Region::Box { low, high }
    }

    /// Confirms the best point of each property if it looks like a counterexample.
    fn look(&mut self, points: &[Point<Alternative>], outputs: &[&[f32]], last: bool) -> Vec<Vec<f32>> {
        let worst = |(p, y): (&Point<Alternative>, &&[f32])| {
            let mut worst = (f32::NEG_INFINITY, vec![0.0; y.len()]);
            for test in &self.queries.all()[p.of.query].tests[p.of.case][p.of.disjunct] {
                let value = test.value(|k| y[k]);
                if value > worst.0 {
                    worst = (value, test.coefficients.iter().map(|a| -a).collect());
                }
            }
            worst
        };
        let (values, weights): (Vec<f32>, Vec<Vec<f32>>) = points.iter().zip(outputs).map(worst).unzip();
        let mut first = 0;
        for own in points.chunk_by(|a, b| a.of.query == b.of.query) {
            let values = &values[first..][..own.len()];
            first += own.len();
            let Some(best) = (0..own.len()).min_by(|&a, &b| values[a].total_cmp(&values[b])) else { continue };
            let Point { of, x, .. } = &own[best];
            let at = first - own.len() + best;
            // Where points end, f32 may be what keeps a condition from holding at its very edge.
            let edge = if last { self.queries.all()[of.query].edge(of.case, of.disjunct, outputs[at]) } else { 0.0 };
            if values[best] <= edge {
                self.queries.get(of.query).examine(&self.net.model, of.case, of.disjunct, x, outputs[at]);
            }
        }
        weights
    }

    /// Points keep to the relations among their inputs; those whose property is decided or out of time drop out.
    fn after_step(&mut self, points: &mut Vec<Point<Alternative>>) -> Result<()> {
        let queries = self.queries.all();
        points.par_iter_mut().for_each(|p| queries[p.of.query].pull(p.of.case, &mut p.x));
        self.queries.charge(&members(points.iter().map(|p| p.of.query)))?;
        points.retain(|p| self.queries.is_open(p.of.query));
        Ok(())
    }
}
