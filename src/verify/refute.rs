//! Refuting alternatives: a conjunction of output constraints is impossible on a box if one of them is.

use rayon::prelude::*;

use super::attack::Alternative;
use super::joint;
use super::query::Query;
use crate::bounds::{Bounder, Method, Row};
use crate::error::Result;
use crate::rounding::{ETA, to_f32_down};
use crate::spec::decimal::Decimal;
use crate::spec::{Linear, Spec};
use crate::tensor::LANE_BLOCK;

/// A constraint `a y + b <= 0` made ready for bounds in f32: scaled by a power of two so that the largest coefficient
/// is at most one, coefficients rounded to nearest and the constant down.
#[derive(Clone, Debug)]
pub(super) struct Test {
    pub coefficients: Vec<f32>,
    pub constant: f32,
    /// Outputs whose coefficient is no f32, with a bound on how far it is off.
    errors: Vec<(usize, f64)>,
}

/// A box with the alternatives not yet refuted there.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The property it belongs to.
    pub query: usize,
    /// Position in [`Spec::cases`].
    pub case: usize,
    pub lower: Vec<f32>,
    pub upper: Vec<f32>,
    /// Positions in the case's disjuncts.
    pub open: Vec<usize>,
}

impl Part {
    /// The boxes of a property with all their alternatives.
    pub fn whole(query: usize, spec: &Spec) -> Vec<Part> {
        let cases = spec.cases.iter().enumerate();
        cases
            .map(|(case, c)| Part {
                query,
                case,
                lower: c.lower.clone(),
                upper: c.upper.clone(),
                open: (0..c.disjuncts.len()).collect(),
            })
            .filter(|p| !p.open.is_empty())
            .collect()
    }

    /// One of its alternatives, by its position among the case's.
    pub fn alternative(&self, disjunct: usize) -> Alternative {
        Alternative { query: self.query, case: self.case, disjunct }
    }
}

/// What is left of a part.
pub(super) struct Rest {
    /// None if every alternative is refuted. Its box is narrowed to where linear bounds leave alternatives open.
    pub part: Option<Part>,
    /// Slope of each open alternative's best bound with respect to the inputs; empty for interval bounds.
    pub slopes: Vec<Vec<f32>>,
    /// The least of the open alternatives' best bounds.
    pub bound: f32,
    /// For each open alternative a row that refutes it where it is positive; lane 0.
    pub rows: Vec<Row>,
}

/// Tests `[case][disjunct][term]`. A term that f32 cannot hold at all is left out: it is never refuted.
pub(super) fn tests(spec: &Spec, outputs: usize) -> Vec<Vec<Vec<Test>>> {
    let disjunct = |d: &Vec<Linear>| d.iter().filter_map(|l| Test::new(l, outputs)).collect();
    spec.cases.iter().map(|c| c.disjuncts.iter().map(disjunct).collect()).collect()
}

/// Boxes bounded at once: as many as keep the device busy, fewer where the network has very many values.
pub(super) fn batch(bounder: &Bounder) -> usize {
    let model = &bounder.net.model;
    let values: usize = (0..=model.output()).map(|v| model.shape(v).len()).sum();
    let (memory, most) = match (bounder.net.device.is_gpu(), bounder.method) {
        (true, Method::Ibp) => (1 << 28, 4096),
        (true, Method::CrownIbp | Method::Crown | Method::Alpha) => (1 << 26, 1024),
        (false, Method::Ibp) => (1 << 24, 256),
        (false, Method::CrownIbp | Method::Crown | Method::Alpha) => (1 << 23, 64),
    };
    (memory / values.max(1) / LANE_BLOCK * LANE_BLOCK).clamp(LANE_BLOCK, most)
}

impl Test {
    fn new(linear: &Linear, outputs: usize) -> Option<Test> {
        let largest = linear.terms.iter().map(|(_, a)| a.abs().to_f64()).fold(0.0, f64::max);
        if !(1e-200..1e200).contains(&largest) {
            return None;
        }
        let scale = Decimal::from_f64((-(largest.log2().ceil())).exp2());
        let mut test = Test { coefficients: vec![0.0; outputs], constant: 0.0, errors: vec![] };
        for (k, a) in &linear.terms {
            let exact = a.mul(&scale);
            let near = exact.to_f64() as f32;
            let near = if near.is_subnormal() { 0.0 } else { near };
            test.coefficients[*k] = near;
            let error = exact.sub(&Decimal::from_f64(f64::from(near)));
            if !error.is_zero() {
                test.errors.push((*k, error.abs().to_f64().next_up()));
            }
        }
        let constant = linear.constant.mul(&scale).to_f32_down();
        test.constant = match constant.is_subnormal() {
            true if constant < 0.0 => -ETA,
            true => 0.0,
            false => constant,
        };
        (constant.abs() < 1e20).then_some(test)
    }

    /// Value of the (scaled) left side at f32 outputs, for attacks.
    pub fn value(&self, y: impl Fn(usize) -> f32) -> f32 {
        let terms = self.coefficients.iter().enumerate().filter(|(_, a)| **a != 0.0);
        terms.fold(self.constant, |sum, (k, a)| sum + a * y(k))
    }

    /// Sum of the sizes of what makes up the left side at these outputs.
    pub fn size(&self, y: &[f32]) -> f32 {
        self.coefficients.iter().zip(y).map(|(a, y)| (a * y).abs()).sum::<f32>() + self.constant.abs()
    }

    /// Rows for box `lane`: the test itself, and bounds on the outputs whose coefficient is not exact.
    fn rows(&self, lane: usize, rows: &mut Vec<Row>) {
        rows.push(Row { lane, coefficients: self.coefficients.clone(), constant: self.constant });
        for (k, _) in &self.errors {
            for sign in [1.0, -1.0] {
                let mut coefficients = vec![0.0; self.coefficients.len()];
                coefficients[*k] = sign;
                rows.push(Row { lane, coefficients, constant: 0.0 });
            }
        }
    }

    /// How far the left side may be below what the rounded coefficients make of it, from the bounds of the rows.
    fn error(&self, bounds: &[f32]) -> f64 {
        let pairs = self.errors.iter().zip(bounds[1..].chunks(2));
        // Sums of non-negative terms in f64.
        let error: f64 = pairs.map(|((_, e), b)| e * f64::from((-b[0]).max(-b[1])).max(0.0)).sum();
        if error == 0.0 { 0.0 } else { error * (1.0 + 1e-12) + f64::from(ETA) }
    }

    /// Lower bound of the exact left side from those of the rows.
    fn lower(&self, bounds: &[f32]) -> f32 {
        less(bounds[0], self.error(bounds))
    }

    /// A row whose bounds hold for the exact left side, on the box of the bounds.
    fn row(&self, bounds: &[f32]) -> Row {
        let constant = less(self.constant, self.error(bounds));
        Row { lane: 0, coefficients: self.coefficients.clone(), constant }
    }
}

/// `x - error`, rounded down.
fn less(x: f32, error: f64) -> f32 {
    if error == 0.0 { x } else { to_f32_down(f64::from(x) - error) }
}

/// Bounds every open alternative of every part and drops the refuted ones.
pub(super) fn refute(bounder: &Bounder, queries: &[Query<'_>], parts: &[Part]) -> Result<Vec<Rest>> {
    // Kernels alone are too small to keep all cores of a CPU busy; parts are independent.
    let share =
        if bounder.net.device.is_gpu() { parts.len() } else { parts.len().div_ceil(rayon::current_num_threads()) };
    let shares = parts.par_chunks(share.max(LANE_BLOCK)).map(|share| refute_share(bounder, queries, share));
    Ok(shares.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn refute_share(bounder: &Bounder, queries: &[Query<'_>], parts: &[Part]) -> Result<Vec<Rest>> {
    let outputs = bounder.net.model.outputs();
    let tests = |part: &Part, disjunct: usize| &queries[part.query].tests[part.case][disjunct];
    let boxes: Vec<(&[f32], &[f32])> = parts.iter().map(|p| (&p.lower[..], &p.upper[..])).collect();
    let mut rows = vec![];
    for (lane, part) in parts.iter().enumerate() {
        part.open.iter().flat_map(|&d| tests(part, d)).for_each(|t| t.rows(lane, &mut rows));
    }
    let bounds = if rows.is_empty() { vec![] } else { bounder.box_bounds(&boxes, &rows, true)? };
    let mut next = 0;
    let mut rests = Vec::with_capacity(parts.len());
    for part in parts {
        let mut rest = Rest { part: None, slopes: vec![], bound: f32::INFINITY, rows: vec![] };
        let mut open = vec![];
        let mut hull: Option<(Vec<f32>, Vec<f32>)> = None;
        let relations = &queries[part.query].spec.cases[part.case].relations;
        for &d in &part.open {
            // The largest bound is the nearest to a refutation; without any test there is none.
            let mut best =
                (f32::NEG_INFINITY, &[][..], Row { lane: 0, coefficients: vec![0.0; outputs], constant: -1.0 });
            let mut cuts = vec![];
            for test in tests(part, d) {
                let n = 1 + 2 * test.errors.len();
                let own: Vec<f32> = bounds[next..next + n].iter().map(|b| b.lower).collect();
                let (lower, slopes) = (test.lower(&own), &bounds[next].slopes[..]);
                if !slopes.is_empty() && lower.is_finite() {
                    cuts.push(joint::zero_or_below(lower, slopes, &part.lower, &part.upper));
                }
                if lower > best.0 {
                    best = (lower, slopes, test.row(&own));
                }
                next += n;
            }
            if best.0 > 0.0 {
                continue;
            }
            let Some((lower, upper)) = joint::left(&cuts, relations, &part.lower, &part.upper) else { continue };
            hull = Some(match hull {
                None => (lower, upper),
                Some((l, u)) => {
                    let least = l.iter().zip(&lower).map(|(a, b)| a.min(*b)).collect();
                    (least, u.iter().zip(&upper).map(|(a, b)| a.max(*b)).collect())
                }
            });
            open.push(d);
            rest.bound = rest.bound.min(best.0);
            rest.slopes.push(best.1.to_vec());
            rest.rows.push(best.2);
        }
        rest.part = hull.map(|(lower, upper)| Part { open, lower, upper, ..*part });
        rests.push(rest);
    }
    Ok(rests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(a: &[(usize, &str)], b: &str) -> Linear {
        let d = |t: &str| Decimal::parse(t).unwrap();
        Linear { terms: a.iter().map(|(k, a)| (*k, d(a))).collect(), constant: d(b), strict: false }
    }

    #[test]
    fn tests_are_scaled_and_rounded_on_the_safe_side() {
        let t = Test::new(&linear(&[(0, "8"), (2, "-3")], "0.1"), 3).unwrap();
        assert_eq!((t.coefficients, t.errors.len()), (vec![1.0, 0.0, -0.375], 0));
        assert!(f64::from(t.constant) <= 0.0125 && t.constant > 0.01249);
        let t = Test::new(&linear(&[(0, "0.1")], "0"), 1).unwrap();
        assert!(t.coefficients[0] <= 1.0 && t.coefficients[0] > 0.5);
        let off = (f64::from(t.coefficients[0]) - 0.8 * 2.0).abs().min((f64::from(t.coefficients[0]) - 0.8).abs());
        assert!(t.errors[0].1 >= off && t.errors[0].1 < 1e-7);
        // y in [2, 3] at most 3 errors are lost.
        let lower = t.lower(&[1.0, 2.0, -3.0]);
        assert!(f64::from(lower) <= 1.0 - 3.0 * t.errors[0].1 && lower > 0.999);
        assert!(Test::new(&linear(&[(0, "1e-300")], "0"), 1).is_none());
        assert!(Test::new(&linear(&[(0, "1")], "1e60"), 1).is_none());
    }
}
