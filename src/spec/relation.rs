//! Linear constraints among the inputs of a property.

use super::Linear;
use super::case::Range;
use super::decimal::Decimal;
use crate::rounding::{to_f32_down, to_f32_up};

/// `sum a_k x_k + constant <= 0` over inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Halfspace {
    /// Input and coefficient, an input once at most, no coefficient zero.
    pub terms: Vec<(usize, f64)>,
    /// Added to the sum.
    pub constant: f64,
}

/// A constraint among inputs as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    exact: Linear,
    /// Its numbers to the nearest f64.
    near: Halfspace,
}

impl Halfspace {
    /// Narrows a box, whose ends may be infinite, to what this leaves of it, rounded outward; whether anything is left.
    /// Holds for all half-spaces whose numbers have these as their nearest f64.
    pub fn narrow(&self, lower: &mut [f32], upper: &mut [f32]) -> bool {
        let least =
            |k: usize, a: f64, lower: &[f32], upper: &[f32]| a * f64::from(if a > 0.0 { lower[k] } else { upper[k] });
        let (mut sum, mut size, mut endless) = (self.constant, self.constant.abs(), None);
        for &(k, a) in &self.terms {
            let value = least(k, a, lower, upper);
            match (value.is_finite(), endless) {
                (true, _) => (sum, size) = (sum + value, size + value.abs()),
                (false, None) => endless = Some(k),
                // Nothing follows for anyone.
                (false, Some(_)) => return true,
            }
        }
        // Roundings of coefficients, products and sums: 2^-53 each, and as much again.
        let slack = size * (self.terms.len() + 8) as f64 * f64::EPSILON;
        if endless.is_none() && sum - slack > 0.0 {
            return false;
        }
        // Of each input one end is counted and the other narrowed.
        for &(k, a) in &self.terms {
            if endless.is_some_and(|e| e != k) {
                continue;
            }
            let own = if endless.is_some() { 0.0 } else { least(k, a, lower, upper) };
            let end = (own - sum + slack) / a;
            let room = 4.0 * f64::EPSILON * end.abs();
            if a > 0.0 {
                upper[k] = upper[k].min(to_f32_up(end + room));
            } else {
                lower[k] = lower[k].max(to_f32_down(end - room));
            }
            if lower[k] > upper[k] {
                return false;
            }
        }
        true
    }

    /// Moves `x` the shortest way to where this holds, as far as the box allows.
    pub fn pull(&self, x: &mut [f32], lower: &[f32], upper: &[f32]) {
        // Inputs that meet an end leave the rest of the way to others.
        for _ in 0..4 {
            let (mut value, mut size, mut square) = (self.constant, self.constant.abs(), 0.0);
            let moves = |k: usize, a: f64, x: &[f32]| if a > 0.0 { x[k] > lower[k] } else { x[k] < upper[k] };
            for &(k, a) in &self.terms {
                let term = a * f64::from(x[k]);
                (value, size) = (value + term, size + term.abs());
                square += if moves(k, a, x) { a * a } else { 0.0 };
            }
            if value <= 0.0 || square == 0.0 {
                return;
            }
            // A little further, for what is lost in f32.
            let share = (value + 1e-7 * size) / square;
            for &(k, a) in self.terms.iter() {
                if moves(k, a, x) {
                    x[k] = ((f64::from(x[k]) - share * a) as f32).clamp(lower[k], upper[k]);
                }
            }
        }
    }
}

impl Relation {
    /// `None` if a number is so large or small that f64 is no good for it.
    pub fn new(exact: Linear) -> Option<Relation> {
        let terms: Vec<(usize, f64)> = exact.terms.iter().map(|(k, a)| (*k, a.to_f64())).collect();
        let constant = exact.constant.to_f64();
        let usable = terms.iter().all(|(_, a)| (1e-100..1e100).contains(&a.abs())) && constant.abs() < 1e100;
        usable.then_some(Relation { exact, near: Halfspace { terms, constant } })
    }

    /// As written.
    pub fn exact(&self) -> &Linear {
        &self.exact
    }

    /// Its numbers to the nearest f64.
    pub fn near(&self) -> &Halfspace {
        &self.near
    }

    /// Does it hold, exactly?
    pub fn holds(&self, x: &[Decimal]) -> bool {
        self.exact.allows(&self.exact.of(|k| x[k].clone()))
    }

    /// Moves exact numbers until this holds, inputs of large coefficients first, as far as their ranges allow.
    pub(super) fn settle(&self, x: &mut [Decimal], ranges: &[Range]) {
        let mut terms: Vec<&(usize, Decimal)> = self.exact.terms.iter().collect();
        terms.sort_by_key(|(_, a)| std::cmp::Reverse(a.abs()));
        for (k, a) in terms {
            let value = self.exact.of(|k| x[k].clone());
            if self.exact.allows(&value) {
                return;
            }
            // Strictly below zero takes a little more.
            let more =
                if self.exact.strict { value.abs().add(&Decimal::one()).mul(&Decimal::tiny()) } else { Decimal::ZERO };
            let moved = x[*k].sub(&value.add(&more).quotient(a));
            let range = &ranges[*k];
            let (low, high) = (&range.lower, &range.upper);
            x[*k] = if range.holds(&moved) {
                moved
            } else if a.is_negative() && !high.strict {
                high.value.clone()
            } else if !a.is_negative() && !low.strict {
                low.value.clone()
            } else {
                continue;
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Bound;
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn relation(terms: &[(usize, &str)], constant: &str, strict: bool) -> Relation {
        let terms = terms.iter().map(|(k, a)| (*k, d(a))).collect();
        Relation::new(Linear { terms, constant: d(constant), strict }).unwrap()
    }

    #[test]
    fn boxes_are_narrowed_outward() {
        // x0 + 2 x1 <= 0.3
        let r = relation(&[(0, "1"), (1, "2")], "-0.3", false);
        let (mut lower, mut upper) = ([0.0f32, 0.05], [1.0f32, 1.0]);
        assert!(r.near.narrow(&mut lower, &mut upper));
        assert_eq!(lower, [0.0, 0.05]);
        assert!(
            f64::from(upper[0]) >= 0.2 && upper[0] < 0.200_001 && f64::from(upper[1]) >= 0.15 && upper[1] < 0.150_001
        );
        assert!(!r.near.narrow(&mut [0.2, 0.06], &mut [1.0, 1.0]));
        // The one end that is missing follows from the others.
        let (mut lower, mut upper) = ([f32::NEG_INFINITY, 0.0], [f32::INFINITY, 1.0]);
        assert!(r.near.narrow(&mut lower, &mut upper));
        assert_eq!((lower[0], upper[1]), (f32::NEG_INFINITY, 1.0));
        let mut lower = [0.0, f32::NEG_INFINITY];
        assert!(r.near.narrow(&mut lower, &mut upper) && upper[1] >= 0.15);
    }

    #[test]
    fn points_are_moved_to_where_relations_hold() {
        let r = relation(&[(0, "1"), (1, "-1")], "0.1", false);
        let mut x = [0.9f32, 0.2];
        r.near.pull(&mut x, &[0.0; 2], &[1.0; 2]);
        assert!(x[0] + 0.1 <= x[1] && (x[0] - 0.5).abs() < 1e-3, "{x:?}");
        let ends = |v| Bound { value: d(v), strict: false };
        let unit = || Range { lower: ends("0"), upper: ends("1") };
        let mut x = [d("0.9"), d("0.2")];
        r.settle(&mut x, &[unit(), unit()]);
        assert!(r.holds(&x));
        let strict = relation(&[(0, "3"), (1, "-1")], "0.1", true);
        let mut x = [d("0.7"), d("0.7")];
        strict.settle(&mut x, &[unit(), unit()]);
        assert!(strict.holds(&x));
    }
}
