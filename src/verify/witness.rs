//! Counterexamples: checked against the property as written, in terms that no rounding can upset.

use std::fmt::Write;
use std::time::Instant;

use super::exact;
use crate::model::{Model, enclosure};
use crate::spec::decimal::Decimal;
use crate::spec::{Case, Linear};

/// An input that violates the property.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// In the flat order of the network's input, to the nearest f32.
    pub input: Vec<f32>,
    /// The input itself, as written by the property or, where that allows any, an f32.
    pub exact: Vec<Decimal>,
    /// Outputs in f64.
    pub output: Vec<f64>,
    /// By how much the tightest constraint holds, rounding errors taken off.
    pub margin: f64,
    /// Whether the margin is so large that f32 arithmetic should not upset it either.
    pub clear: bool,
}

/// What is known of the outputs at one input, or of those at several.
pub(super) struct Outputs {
    near: Vec<f64>,
    errors: Vec<f64>,
    /// Without any error, where that was worth its time.
    pub exact: Option<Vec<Decimal>>,
}

impl Witness {
    /// Checks that what `input` stands for lies in `case` as written, and that over real numbers all constraints of
    /// `disjunct` hold there. `seen` are the outputs that f32 arithmetic gave. A check that is not over by the deadline finds
    /// nothing.
    pub fn confirm(
        model: &Model,
        case: &Case,
        disjunct: &[Linear],
        input: &[f32],
        seen: Option<&[f32]>,
        deadline: Option<Instant>,
    ) -> Option<Witness> {
        let plain = case.point(input, false);
        let found = plain.as_ref().and_then(|point| Witness::at(model, case, disjunct, point, seen, deadline));
        if found.as_ref().is_some_and(|w| w.clear) {
            return found;
        }
        let ends = case.point(input, true).filter(|point| plain.as_ref() != Some(point));
        let better = ends.and_then(|point| Witness::at(model, case, disjunct, &point, seen, deadline));
        found.into_iter().chain(better).max_by(|a, b| a.clear.cmp(&b.clear).then(a.margin.total_cmp(&b.margin)))
    }

    /// As [`confirm`](Self::confirm), at exactly this point.
    fn at(
        model: &Model,
        case: &Case,
        disjunct: &[Linear],
        point: &[Decimal],
        seen: Option<&[f32]>,
        deadline: Option<Instant>,
    ) -> Option<Witness> {
        if !case.contains(point) {
            return None;
        }
        let mut outputs = Outputs::at(model, point, deadline);
        if disjunct.iter().any(|l| outputs.leaves_open(l)) {
            outputs.exact = exact::forward(model, point);
        }
        let (mut margin, mut clear) = (f64::INFINITY, true);
        for linear in disjunct {
            let worst = outputs.largest(linear)?;
            if !linear.allows(&worst) {
                return None;
            }
            let room = -worst.to_f64();
            let size = outputs.size(linear) + linear.constant.to_f64().abs();
            clear &= room > 1e-6 + 1e-5 * size;
            margin = margin.min(room);
        }
        // Where f32 arithmetic gives the exact outputs, it has not rounded them.
        let same = |y: &f32, exact: &Decimal| y.is_finite() && exact.cmp_f64(f64::from(*y)).is_eq();
        clear |= match (seen, &outputs.exact) {
            (Some(seen), Some(exact)) => seen.iter().zip(exact).all(|(y, e)| same(y, e)),
            (Some(seen), None) => {
                let sure = outputs.near.iter().zip(&outputs.errors);
                sure.zip(seen).all(|((v, e), y)| *e == 0.0 && *v == f64::from(*y))
            }
            (None, _) => false,
        };
        let input = point.iter().map(|x| x.to_f64() as f32).collect();
        Some(Witness { input, exact: point.to_vec(), output: outputs.near, margin, clear })
    }

    /// The counterexample in the competition's format, inputs as exact decimals.
    pub fn text(&self) -> String {
        let mut text = String::from("(");
        for (k, x) in self.exact.iter().enumerate() {
            let _ = writeln!(text, "{}(X_{k} {})", if k > 0 { " " } else { "" }, x.plain());
        }
        for (k, y) in self.output.iter().enumerate() {
            let end = if k + 1 == self.output.len() { ")" } else { "\n" };
            let _ = write!(text, " (Y_{k} {y:?}){end}");
        }
        text
    }
}

impl Outputs {
    /// From outputs and errors as of the enclosure.
    pub fn new((near, errors): (Vec<f64>, Vec<f64>)) -> Outputs {
        Outputs { near, errors, exact: None }
    }

    fn at(model: &Model, point: &[Decimal], deadline: Option<Instant>) -> Outputs {
        let input: Vec<f64> = point.iter().map(Decimal::to_f64).collect();
        let off = |(x, near): (&Decimal, &f64)| match x.cmp_f64(*near).is_eq() {
            true => 0.0,
            false => x.sub(&Decimal::from_f64(*near)).abs().to_f64().next_up(),
        };
        let errors = point.iter().zip(&input).map(off).collect();
        Outputs::new(enclosure::forward_until(model, input, errors, deadline))
    }

    /// Sum of the terms' sizes where output `k` is of size `of(k)`.
    fn sum(linear: &Linear, of: impl Fn(usize) -> f64) -> f64 {
        1.000_000_001 * linear.terms.iter().map(|(k, a)| a.to_f64().abs() * of(*k)).sum::<f64>()
    }

    fn size(&self, linear: &Linear) -> f64 {
        Outputs::sum(linear, |k| self.near[k].abs())
    }

    /// The left side at its largest; `None` where nothing is known of it.
    fn largest(&self, linear: &Linear) -> Option<Decimal> {
        self.end(linear, |error| error)
    }

    /// The left side at its least, likewise.
    pub fn least(&self, linear: &Linear) -> Option<Decimal> {
        self.end(linear, |error| -error)
    }

    fn end(&self, linear: &Linear, side: fn(f64) -> f64) -> Option<Decimal> {
        if let Some(exact) = &self.exact {
            return Some(linear.of(|k| exact[k].clone()));
        }
        let error = Outputs::sum(linear, |k| self.errors[k]);
        let known = error.is_finite() && self.near.iter().all(|y| y.is_finite());
        known.then(|| linear.value(&self.near).add(&Decimal::from_f64(side(error))))
    }

    /// Whether the error bound is all that keeps the constraint from holding, or from not holding.
    fn leaves_open(&self, linear: &Linear) -> bool {
        let allows = |end: Option<Decimal>| end.map(|value| linear.allows(&value));
        allows(self.least(linear)) == Some(true) && allows(self.largest(linear)) == Some(false)
    }
}
