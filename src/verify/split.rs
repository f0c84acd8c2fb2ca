//! Branch and bound over the input: boxes that no bound refutes are halved where the linear bound says it helps most
//! (Wang et al., "Formal Security Analysis of Neural Networks using Symbolic Intervals", 2018).

use super::Verdict;
use super::attack::Attack;
use super::refute::{Part, Rest, Test, batch, refute};
use crate::bounds::Bounder;
use crate::error::Result;

/// Splits until every part is refuted, a counterexample turns up, or time is over.
pub(super) fn split(
    bounder: &Bounder,
    tests: &[Vec<Vec<Test>>],
    open: Vec<Part>,
    attack: &mut Attack,
) -> Result<Verdict> {
    let mut work = open;
    let mut stuck = false;
    // Depth first: the list stays short, and siblings are bounded together.
    while !work.is_empty() {
        let parts = work.split_off(work.len().saturating_sub(batch(bounder)));
        let rests = refute(bounder, tests, &parts, true)?;
        let open: Vec<Rest> = rests.into_iter().filter(|r| r.part.is_some()).collect();
        if let Some(found) = attack.points(&candidates(&open))? {
            return Ok(Verdict::Sat(Box::new(found)));
        }
        for Rest { part, slopes } in open {
            let Some(part) = part else { continue };
            match halves(&part, &slopes) {
                Some(halves) => work.extend(halves),
                None => stuck = true,
            }
        }
    }
    Ok(if stuck { Verdict::Unknown } else { Verdict::Unsat })
}

/// Where a counterexample is likely: the middle, and the corner where the linear bound is smallest.
pub(super) fn candidates(open: &[Rest]) -> Vec<(usize, usize, Vec<f32>)> {
    let mut points = vec![];
    for Rest { part, slopes } in open {
        let Some(part) = part else { continue };
        let middle: Vec<f32> = part.lower.iter().zip(&part.upper).map(|(l, u)| middle(*l, *u)).collect();
        for (&d, slopes) in part.open.iter().zip(slopes) {
            if slopes.len() == middle.len() {
                let corner = (0..middle.len()).map(|k| if slopes[k] > 0.0 { part.lower[k] } else { part.upper[k] });
                points.push((part.case, d, corner.collect()));
            }
            points.push((part.case, d, middle.clone()));
        }
    }
    points
}

fn middle(lower: f32, upper: f32) -> f32 {
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
