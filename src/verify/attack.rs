//! Projected gradient descent on the largest left side of an alternative's constraints (Madry et al. 2018): where it
//! falls to zero the alternative holds. All points of a round go through the network together.

use rayon::prelude::*;

use super::query::{Queries, Query, members};
use super::refute::Part;
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

/// One point on its way.
struct Point {
    query: usize,
    case: usize,
    disjunct: usize,
    x: Vec<f32>,
    momentum: Vec<f32>,
    value: f32,
}

/// Points looked at for each start of an attack on a box of few dimensions.
const SCATTER: usize = 256;
/// A box of more varying inputs is too large to scatter points over.
const SCATTERED: usize = 16;

impl Point {
    fn new(start: Start) -> Point {
        let Start { query, case, disjunct, x } = start;
        Point { query, case, disjunct, momentum: vec![0.0; x.len()], x, value: f32::INFINITY }
    }
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
                descend(net, queries, points, steps, 1.0)?;
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
fn starts(net: &Network, queries: &mut Queries<'_>, parts: &[&Part], first: bool) -> Result<Vec<Point>> {
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
            points.push(Point::new(Start { query: part.query, case: part.case, disjunct, x }));
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
            points.extend(best.map(|b| Point::new(start(b))));
        }
    }
    points.sort_by_key(|p| p.query);
    queries.charge(&members(parts.iter().map(|p| p.query)))?;
    points.retain(|p| queries.is_open(p.query));
    Ok(points)
}

/// Tries these points, pulled into their boxes as written, and what lies a little way down the slope from them.
pub(super) fn points(net: &Network, queries: &mut Queries<'_>, mut starts: impl Iterator<Item = Start>) -> Result<()> {
    loop {
        let pulled = |mut s: Start| {
            let query = &queries.all()[s.query];
            query.pull(s.case, &mut s.x);
            query.is_open().then(|| Point::new(s))
        };
        let points: Vec<Point> = starts.by_ref().filter_map(pulled).take(lanes(net)).collect();
        if points.is_empty() {
            return Ok(());
        }
        descend(net, queries, points, 10, 0.2)?;
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

/// `steps` steps down the gradient; `reach` scales their length. Points whose property is decided or out of time drop
/// out.
fn descend(net: &Network, queries: &mut Queries<'_>, mut points: Vec<Point>, steps: usize, reach: f32) -> Result<()> {
    for step in 0..=steps {
        let left = 1.0 - step as f32 / steps as f32;
        // The first step crosses the whole box; later ones refine.
        let share = if step == 0 { 1.0 } else { 0.5 * left.powf(1.5) + 0.002 };
        advance(net, queries, &mut points, (step < steps).then_some(reach * share))?;
        queries.charge(&members(points.iter().map(|p| p.query)))?;
        points.retain(|p| queries.is_open(p.query));
        if points.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Evaluates all points, confirms the best of each property if it looks like a counterexample, and moves the points
/// down the gradient by a share of half their box.
fn advance(net: &Network, queries: &mut Queries<'_>, points: &mut [Point], share: Option<f32>) -> Result<()> {
    let d = &net.device;
    let (elements, outputs) = (net.model.input.len(), net.model.outputs());
    let lanes = tensor::lanes(points.len());
    let x = d.upload(&tensor::interleave(points.iter().map(|p| p.x.as_slice()), elements))?;
    let values = net.forward(x, lanes, share.is_some())?;
    let logits: Vec<f32> = d.read(values[net.model.output()].as_ref().expect("kept"))?;
    let mut seed = vec![0.0f32; outputs * lanes];
    let output = |lane: usize| (0..outputs).map(|k| logits[k * lanes + lane]).collect::<Vec<f32>>();
    for (lane, p) in points.iter_mut().enumerate() {
        // The constraint furthest from holding is the one to work on.
        let mut worst = (f32::NEG_INFINITY, None);
        for test in &queries.all()[p.query].tests[p.case][p.disjunct] {
            let value = test.value(|k| logits[k * lanes + lane]);
            if value > worst.0 {
                worst = (value, Some(test));
            }
        }
        p.value = worst.0;
        for (k, a) in worst.1.iter().flat_map(|t| t.coefficients.iter().enumerate()) {
            seed[k * lanes + lane] = -a;
        }
    }
    let mut first = 0;
    for own in points.chunk_by(|a, b| a.query == b.query) {
        let lane = first + (0..own.len()).min_by(|&a, &b| own[a].value.total_cmp(&own[b].value)).unwrap_or(0);
        first += own.len();
        let (best, outputs) = (&points[lane], output(lane));
        // Where points end, f32 may be what keeps a condition from holding at its very edge.
        let edge =
            if share.is_none() { queries.all()[best.query].edge(best.case, best.disjunct, &outputs) } else { 0.0 };
        if best.value <= edge {
            queries.get(best.query).examine(&net.model, best.case, best.disjunct, &best.x, &outputs);
        }
    }
    let Some(share) = share else { return Ok(()) };
    let (gradient, _) = net.backward(&values, d.upload(&seed)?, lanes, false)?;
    let gradient = tensor::deinterleave(&d.read::<f32>(&gradient)?, elements, points.len());
    let queries = queries.all();
    points.par_iter_mut().zip(gradient.par_chunks(elements)).for_each(|(p, gradient)| {
        let query = &queries[p.query];
        let (low, high) = &query.inner[p.case];
        // Inputs may have very different ranges: a step is a share of each.
        let size = gradient.iter().zip(low.iter().zip(high)).map(|(g, (l, u))| g.abs() * (u - l)).sum::<f32>();
        for k in 0..elements {
            let half = 0.5 * (high[k] - low[k]);
            p.momentum[k] = 0.75 * p.momentum[k] + gradient[k] * half / size.max(f32::MIN_POSITIVE);
            let direction = p.momentum[k].signum() * f32::from(p.momentum[k] != 0.0);
            p.x[k] = (p.x[k] + share * half * direction).clamp(low[k], high[k]);
        }
        query.pull(p.case, &mut p.x);
    });
    Ok(())
}
