//! Boxes that no f32 cuts: evaluated in f64, which sees more of them than bounds in f32, and without rounding where they are
//! single points.

use super::exact;
use super::query::{Queries, Query};
use super::refute::Part;
use super::split::middle;
use super::witness::Outputs;
use crate::error::Result;
use crate::model::{Model, enclosure};
use crate::network::Network;
use crate::spec::decimal::Decimal;
use crate::spec::{Case, Linear};

/// Tries all parts that no f32 cuts; those that are left open.
pub(super) fn run(net: &Network, queries: &mut Queries<'_>, open: Vec<Part>) -> Result<Vec<Part>> {
    let mut left = vec![];
    for part in open {
        let refuted = is_thin(&part) && close(&net.model, queries.get(part.query), &part);
        if refuted {
            queries.charge(&[part.query])?;
        } else {
            left.push(part);
        }
    }
    Ok(left)
}

/// Whether an evaluation in f64 costs next to nothing.
pub(super) fn is_cheap(model: &Model) -> bool {
    exact::all_products(model) < 1 << 20
}

fn is_thin(part: &Part) -> bool {
    let cut = |(l, u): (&f32, &f32)| {
        let middle = middle(*l, *u);
        *l < middle && middle < *u
    };
    !part.lower.iter().zip(&part.upper).any(cut)
}

/// Refutes a part if every alternative that is open there is refuted in f64; whether it was.
pub(super) fn close(model: &Model, query: &mut Query<'_>, part: &Part) -> bool {
    let case = &query.spec.cases[part.case];
    let mut outputs = over(model, case, part);
    let mut refuted = |linear: &Linear| match outputs.least(linear) {
        Some(least) if !linear.allows(&least) => true,
        _ if outputs.exact.is_none() => {
            // A single point as written has one value.
            outputs.exact = single(case).and_then(|point| exact::forward(model, &point));
            outputs.exact.is_some() && outputs.least(linear).is_some_and(|least| !linear.allows(&least))
        }
        _ => false,
    };
    let all = part.open.iter().all(|&d| case.disjuncts[d].iter().any(&mut refuted));
    if all {
        query.refuted();
    }
    all
}

/// What the outputs may be over the part of the box as written that lies in `part`.
fn over(model: &Model, case: &Case, part: &Part) -> Outputs {
    let ends = case.exact.iter().zip(part.lower.iter().zip(&part.upper)).map(|(range, (l, u))| {
        let lower = range.lower.value.to_f64().next_down().max(f64::from(*l));
        (lower, range.upper.value.to_f64().next_up().min(f64::from(*u)))
    });
    let around = |(lower, upper): (f64, f64)| {
        let centre = 0.5 * lower + 0.5 * upper;
        (centre, (upper - centre).max(centre - lower).max(0.0).next_up())
    };
    let (centre, radius) = ends.map(around).unzip();
    Outputs::new(enclosure::forward_near(model, centre, radius))
}

fn single(case: &Case) -> Option<Vec<Decimal>> {
    case.exact.iter().map(|r| (r.lower.value == r.upper.value).then(|| r.lower.value.clone())).collect()
}
