//! Branch and bound over the input: boxes that no bound refutes are halved where the linear bound says it helps most
//! (Wang et al., "Formal Security Analysis of Neural Networks using Symbolic Intervals", 2018).

use super::attack::{self, Start};
use super::query::{Queries, members};
use super::refute::{Part, Rest, batch, refute};
use super::thin;
use crate::bounds::Bounder;
use crate::error::{Error, Result};

/// Bounds of scaled conditions nearer to zero than this may be lost to roundings.
const NEAR: f32 = 1e-4;

/// Splits the parts of one property until every one is refuted, a counterexample turns up, or time is over.
pub(super) fn split(bounder: &Bounder, queries: &mut Queries<'_>, open: Vec<Part>) -> Result<()> {
    let mut work = open;
    // Depth first: the list stays short, and siblings are bounded together.
    while !work.is_empty() {
        let parts = work.split_off(work.len().saturating_sub(batch(bounder)));
        for Rest { part, slopes, .. } in bound(bounder, queries, parts)? {
            let Some(part) = part else { continue };
            if let Some(halves) = halves(&part, &slopes) {
                queries.get(part.query).halved();
                work.extend(halves);
            } else {
                thin::close(&bounder.net.model, queries.get(part.query), &part);
            }
        }
        work.retain(|p| queries.is_open(p.query));
    }
    Ok(())
}

/// Bounds the parts of properties that are still open, and tries where their linear bounds are smallest; what is left.
pub(super) fn bound(bounder: &Bounder, queries: &mut Queries<'_>, mut parts: Vec<Part>) -> Result<Vec<Rest>> {
    let (who, mut rests) = loop {
        parts.retain(|p| queries.is_open(p.query));
        let who = members(parts.iter().map(|p| p.query));
        let mut bounder = bounder.clone();
        bounder.deadline = Some(queries.deadline(&who));
        let rests = refute(&bounder, queries.all(), &parts);
        match rests {
            // Somebody is out of time; the others go on without.
            Err(Error::Timeout) => queries.charge(&who)?,
            Err(error) => return Err(error),
            Ok(rests) => {
                let refuted = parts.iter().zip(&rests).filter(|(_, r)| r.part.is_none());
                refuted.for_each(|(p, _)| queries.get(p.query).refuted());
                queries.charge(&who)?;
                break (who, rests);
            }
        }
    };
    // Where only what bounds pay for roundings in f32 may be missing, f64 has a try.
    let model = &bounder.net.model;
    let closed = |r: &Rest, queries: &mut Queries<'_>| {
        let part = r.part.as_ref().filter(|_| r.bound > -NEAR && thin::is_cheap(model));
        part.is_some_and(|p| thin::close(model, queries.get(p.query), p))
    };
    rests.retain(|r| !closed(r, queries));
    queries.charge(&who)?;
    rests.retain(|r| r.part.as_ref().is_some_and(|p| queries.is_open(p.query)));
    if bounder.method.relaxes() {
        attack::points(&bounder.net, queries, candidates(&rests))?;
        rests.retain(|r| r.part.as_ref().is_some_and(|p| queries.is_open(p.query)));
    }
    Ok(rests)
}

/// Where a counterexample is likely: the middle, and the corner where the linear bound is smallest.
fn candidates(rests: &[Rest]) -> impl Iterator<Item = Start> {
    let alternatives = rests.iter().filter_map(|r| Some((r.part.as_ref()?, &r.slopes)));
    let alternatives = alternatives.flat_map(|(p, slopes)| p.open.iter().zip(slopes).map(move |(d, s)| (p, *d, s)));
    alternatives.flat_map(|(part, disjunct, slopes)| {
        let lower = |k: usize| slopes.get(k).is_some_and(|s| *s > 0.0);
        let corner = (0..part.lower.len()).map(|k| if lower(k) { part.lower[k] } else { part.upper[k] }).collect();
        let middle = part.lower.iter().zip(&part.upper).map(|(l, u)| middle(*l, *u)).collect();
        [corner, middle].map(|x| Start { of: part.alternative(disjunct), x })
    })
}

pub(super) fn middle(lower: f32, upper: f32) -> f32 {
    (0.5 * (f64::from(lower) + f64::from(upper))) as f32
}

/// The part cut in two across the input that moves the bounds most; `None` if no input can be cut.
fn halves(part: &Part, slopes: &[Vec<f32>]) -> Option<[Part; 2]> {
    let mut best = (f32::NEG_INFINITY, None);
    for k in 0..part.lower.len() {
        let (l, u) = (part.lower[k], part.upper[k]);
        let cut = middle(l, u);
        if !(l < cut && cut < u) {
            continue;
        }
        let influence: f32 = slopes.iter().map(|s| s.get(k).map_or(0.0, |a| a.abs())).sum();
        // A little of the width alone, so that dead directions are cut at last.
        let score = (u - l) * (influence + 1e-3 * peak(slopes) + f32::MIN_POSITIVE);
        if score > best.0 {
            best = (score, Some((k, cut)));
        }
    }
    let (k, cut) = best.1?;
    let mut halves = [part.clone(), part.clone()];
    halves[0].upper[k] = cut;
    halves[1].lower[k] = cut;
    Some(halves)
}

fn peak(slopes: &[Vec<f32>]) -> f32 {
    slopes.iter().flatten().fold(0.0, |m: f32, a| m.max(a.abs()))
}
