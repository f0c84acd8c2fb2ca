//! Counterexamples: checked against the property as written, in terms that no rounding can upset.

use std::fmt::Write;

use crate::model::{Model, enclosure};
use crate::spec::decimal::Decimal;
use crate::spec::{Case, Linear};

/// An input that violates the property.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// In the flat order of the network's input; inside the box as written.
    pub input: Vec<f32>,
    /// Outputs in f64.
    pub output: Vec<f64>,
    /// By how much the tightest constraint holds, rounding errors taken off.
    pub margin: f64,
    /// Whether the margin is so large that f32 arithmetic should not upset it either.
    pub clear: bool,
}

impl Witness {
    /// Checks that `input` lies in the box of `case` and that over real numbers all constraints of `disjunct` hold
    /// there.
    pub fn confirm(model: &Model, case: &Case, disjunct: &[Linear], input: &[f32]) -> Option<Witness> {
        if !case.contains(input) {
            return None;
        }
        let (output, errors) = enclosure::forward(model, input);
        let (mut margin, mut clear) = (f64::INFINITY, true);
        for linear in disjunct {
            let charge = |e: &dyn Fn(usize) -> f64| -> f64 {
                let sum: f64 = linear.terms.iter().map(|(k, a)| a.to_f64().abs() * e(*k)).sum();
                sum * 1.000_001
            };
            let error = charge(&|k| errors[k]);
            if !error.is_finite() || output.iter().any(|y| !y.is_finite()) {
                return None;
            }
            // The left side at its largest.
            let worst = linear.value(&output).add(&Decimal::from_f64(error));
            if !(worst.is_negative() || (worst.is_zero() && !linear.strict)) {
                return None;
            }
            let room = -worst.to_f64();
            let size = charge(&|k| output[k].abs()) + linear.constant.to_f64().abs();
            clear &= room > 1e-6 + 1e-5 * size;
            margin = margin.min(room);
        }
        Some(Witness { input: input.to_vec(), output, margin, clear })
    }

    /// The counterexample in the competition's format, inputs as exact decimals.
    pub fn text(&self) -> String {
        let mut text = String::from("(");
        for (k, x) in self.input.iter().enumerate() {
            // No f32 has more than 149 binary, hence decimal, places.
            let exact = format!("{:.149}", f64::from(*x));
            let short = exact.trim_end_matches('0').trim_end_matches('.');
            let _ =
                writeln!(text, "{}(X_{k} {})", if k > 0 { " " } else { "" }, if short == "-0" { "0" } else { short });
        }
        for (k, y) in self.output.iter().enumerate() {
            let end = if k + 1 == self.output.len() { ")" } else { "\n" };
            let _ = write!(text, " (Y_{k} {y:?}){end}");
        }
        text
    }
}
