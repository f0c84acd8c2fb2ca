//! Branch and bound over the signs of neurons, where the input has too many dimensions to be halved.

use std::time::Instant;

use super::attack::{self, Start};
use super::query::{Queries, members};
use super::refute::{Part, batch, refute};
use crate::bounds::{Bounder, Decision, Row};
use crate::error::{Error, Result};

/// Domains that one box may take.
const DOMAINS: usize = 1 << 24;

/// Splits the parts until they are refuted, a counterexample turns up, or a share of the time left is over: what is left of
/// them, and whether it was for want of time.
pub(super) fn branch(
    bounder: &Bounder,
    queries: &mut Queries<'_>,
    parts: Vec<Part>,
    share: f64,
) -> Result<(Vec<Part>, bool)> {
    let (mut rest, mut late) = (vec![], false);
    for parts in parts.chunks(batch(bounder)) {
        let parts: Vec<Part> = parts.iter().filter(|p| queries.is_open(p.query)).cloned().collect();
        let who = members(parts.iter().map(|p| p.query));
        if who.is_empty() {
            continue;
        }
        let (mut bounder, now) = (bounder.clone(), Instant::now());
        let left = queries.deadline(&who).saturating_duration_since(now);
        bounder.deadline = Some(now + left.mul_f64(share));
        let decisions = match decide(&bounder, queries, &parts) {
            Err(Error::Timeout) => vec![Decision::Open; parts.len()],
            other => other?,
        };
        late |= bounder.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut starts = vec![];
        for (part, decision) in parts.into_iter().zip(decisions) {
            match decision {
                Decision::Proved => queries.get(part.query).refuted(),
                Decision::Broken(x) => {
                    let start = |&disjunct| Start { of: part.alternative(disjunct), x: x.clone() };
                    starts.extend(part.open.iter().map(start));
                    rest.push(part);
                }
                Decision::Open => rest.push(part),
            }
        }
        queries.charge(&who)?;
        attack::points(&bounder.net, queries, starts.into_iter())?;
    }
    rest.retain(|p| queries.is_open(p.query));
    Ok((rest, late))
}

fn decide(bounder: &Bounder, queries: &Queries<'_>, parts: &[Part]) -> Result<Vec<Decision>> {
    let rests = refute(bounder, queries.all(), parts)?;
    let boxes: Vec<(&[f32], &[f32])> = parts.iter().map(|p| (&p.lower[..], &p.upper[..])).collect();
    let rows =
        rests.into_iter().enumerate().flat_map(|(lane, rest)| rest.rows.into_iter().map(move |r| Row { lane, ..r }));
    let rows: Vec<Row> = rows.collect();
    let decisions = bounder.branch_boxes(&boxes, &rows, &vec![DOMAINS; parts.len()])?;
    Ok(decisions.into_iter().map(|(decision, _)| decision).collect())
}
