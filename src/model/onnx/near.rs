//! Constants that the reader computes: f64 numbers that carry how far they may be from the real ones, and what storing
//! them as f32 costs.

use std::sync::Arc;

use super::super::{Folding, Origin};
use super::build::{Builder, Live};
use crate::rounding::to_f32_up;

/// A real number within `error` of `value`. A stored constant has no error, and what is computed from such constants has
/// none where f64 holds the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub value: f64,
    pub error: f64,
    /// At least the sum of the magnitudes of the terms that were added up to it: who adds them in few bits errs in
    /// proportion to this.
    pub size: f64,
}

/// Half the distance of an f64 from the next, relative to it.
const HALF: f64 = f64::EPSILON / 2.0;

/// An upper bound from a handful of f64 operations on numbers from zero up. Zero stays zero: nothing was rounded.
fn ample(error: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error * (1.0 + 1e-9) + f64::MIN_POSITIVE }
}

/// A product of numbers from zero up, which is zero only if one of them is.
fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { (a * b).max(f64::MIN_POSITIVE) }
}

/// Whether an f32 holds it: two of these make a product that an f64 holds.
fn short(v: f64) -> bool {
    f64::from(v as f32) == v
}

impl From<f32> for Near {
    fn from(value: f32) -> Near {
        Near::from(f64::from(value))
    }
}

impl From<f64> for Near {
    fn from(value: f64) -> Near {
        Near { value, error: 0.0, size: value.abs() }
    }
}

impl std::ops::Neg for Near {
    type Output = Near;
    fn neg(self) -> Near {
        Near { value: -self.value, ..self }
    }
}

impl std::ops::Add for Near {
    type Output = Near;
    fn add(self, other: Near) -> Near {
        let (a, b) = (self.value, other.value);
        let value = a + b;
        // What the sum of two f64 loses is itself an f64 (Knuth's two-sum).
        let rest = value - a;
        let lost = (a - (value - rest)) + (b - rest);
        Near { value, error: ample(lost.abs() + self.error + other.error), size: ample(self.size + other.size) }
    }
}

impl std::ops::Sub for Near {
    type Output = Near;
    fn sub(self, other: Near) -> Near {
        self + -other
    }
}

impl std::ops::Mul for Near {
    type Output = Near;
    fn mul(self, other: Near) -> Near {
        let (a, b) = (self.value, other.value);
        let value = a * b;
        let lost = if short(a) && short(b) || a == 0.0 || b == 0.0 { 0.0 } else { times(value.abs(), HALF) };
        // A product of f64 numbers may be lost below the smallest.
        let lost = if lost == 0.0 && value == 0.0 && a != 0.0 && b != 0.0 { f64::MIN_POSITIVE } else { lost };
        let carried = times(a.abs(), other.error) + times(b.abs(), self.error) + times(self.error, other.error);
        Near { value, error: ample(lost + carried), size: ample(times(self.size, other.size)) }
    }
}

impl std::ops::Div for Near {
    type Output = Near;
    /// A divisor that may be zero gives an infinite error.
    fn div(self, other: Near) -> Near {
        let (a, b) = (self.value, other.value);
        let value = a / b;
        if self.is(0.0) && b.abs() > other.error {
            return Near { value, error: 0.0, size: 0.0 };
        }
        let least = (b.abs() - other.error) * (1.0 - 1e-9);
        if !(least > 0.0 && value.is_finite()) {
            return Near { value, error: f64::INFINITY, size: f64::INFINITY };
        }
        let exact = short(value) && short(b) && value * b == a;
        let lost = if exact { 0.0 } else { times(value.abs(), HALF).max(f64::MIN_POSITIVE) };
        let carried = self.error + times(value.abs(), other.error);
        let carried = if carried == 0.0 { 0.0 } else { (carried / least).max(f64::MIN_POSITIVE) };
        // A divisor that was itself added up errs by a share of its size, and the quotient with it.
        let size = ample(self.size / least * (other.size / least).max(1.0));
        Near { value, error: ample(lost + carried), size }
    }
}

impl Near {
    pub const ONE: Near = Near { value: 1.0, error: 0.0, size: 1.0 };
    pub const ZERO: Near = Near { value: 0.0, error: 0.0, size: 0.0 };

    /// The square root; of what may be zero or less, one of infinite error.
    pub fn sqrt(self) -> Near {
        let (value, least) = (self.value.sqrt(), (self.value - self.error) * (1.0 - 1e-9));
        if !(least > 0.0 && value.is_finite()) {
            return Near { value, error: f64::INFINITY, size: f64::INFINITY };
        }
        let lost = if short(value) && value * value == self.value { 0.0 } else { times(value, HALF) };
        let carried = if self.error == 0.0 { 0.0 } else { (self.error / least.sqrt()).max(f64::MIN_POSITIVE) };
        Near { value, error: ample(lost + carried), size: ample(value * (self.size / least).max(1.0)) }
    }

    /// This very number, and no other.
    pub fn is(self, value: f64) -> bool {
        self.value == value && self.error == 0.0
    }

    pub fn is_finite(self) -> bool {
        self.value.is_finite() && self.error.is_finite()
    }

    /// The f32 that is this very number, if there is one.
    pub fn as_f32(self) -> Option<f32> {
        let short = self.value as f32;
        (self.error == 0.0 && f64::from(short) == self.value).then_some(short)
    }

    /// How far the number may be from `stored`, an f32 near it.
    fn off(self, stored: f32) -> f64 {
        let apart = self.value - f64::from(stored);
        ample(apart.abs() + times(apart.abs(), HALF) + self.error)
    }
}

/// Weights further from their numbers than this share are not worth having.
const MOST: f64 = 1.0 / (1u32 << 20) as f64;

/// What storing the constants of one layer as f32 costs, gathered from what is stored and what should be; see [`Folding`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charge {
    pub relative: f64,
    pub absolute: f64,
    pub terms: f64,
}

impl Charge {
    /// Whether what is stored is the very network of the file.
    pub fn is_free(&self) -> bool {
        self.relative == 0.0 && self.absolute == 0.0
    }

    /// The f32 for a factor of the layer's inputs. None if there is none whose distance is a small share of it: out of
    /// the normal range no share covers what is lost.
    pub fn weight(&mut self, exact: Near) -> Option<f32> {
        if let Some(stored) = exact.as_f32() {
            return Some(stored);
        }
        let stored = exact.value as f32;
        let share = exact.off(stored) / f64::from(stored.abs());
        if !stored.is_normal() || !(share < MOST) {
            return None;
        }
        self.relative = self.relative.max(ample(share));
        Some(stored)
    }

    /// The f32 for a number that is added. None if it is too large for one.
    pub fn shift(&mut self, exact: Near) -> Option<f32> {
        let stored = exact.value as f32;
        // Terms of one sign are as large as their sum, which is in the layer.
        if exact.size.is_finite() && exact.size > exact.value.abs() * (1.0 + 1e-6) {
            self.terms = self.terms.max(exact.size);
        }
        // Numbers that are none stay what they are, to be refused as such.
        if exact.as_f32().is_some() || exact.value.is_nan() {
            return Some(stored);
        }
        let off = exact.off(stored);
        if !(stored.is_finite() && off.is_finite()) {
            return None;
        }
        self.absolute = self.absolute.max(off);
        Some(stored)
    }

    /// The charge as that of a node, if there is one; `origin` is what the file has there.
    pub fn folding(self, node: usize, origin: Option<Origin>) -> Option<Folding> {
        // Devices flush what is smaller.
        let rounded = |v: f64| if v == 0.0 { 0.0 } else { to_f32_up(v).max(f32::MIN_POSITIVE) };
        let (relative, absolute, terms) = (rounded(self.relative), rounded(self.absolute), rounded(self.terms));
        let origin = origin.filter(|_| !self.is_free()).map(Arc::new);
        (!self.is_free() || self.terms > 0.0).then_some(Folding { node, relative, absolute, terms, origin })
    }

    pub fn record(self, b: &mut Builder, live: &Live) {
        b.folded.extend(self.folding(live.id - 1, None));
    }
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use num_traits::Signed;
    use proptest::prelude::*;

    use super::*;

    fn rational(v: f64) -> BigRational {
        BigRational::from_float(v).unwrap()
    }

    /// Finite numbers of every magnitude, subnormal ones among them.
    fn number() -> impl Strategy<Value = f64> {
        let f32s = any::<u32>().prop_map(|bits| f64::from(f32::from_bits(bits)));
        let f64s = (any::<f64>(), -300i32..300).prop_map(|(v, e)| (v % 2.0) * 2f64.powi(e));
        prop_oneof![f32s, f64s, Just(0.0), Just(1e-320), Just(3.0)].prop_filter("finite", |v| v.is_finite())
    }

    fn holds(near: Near, exact: &BigRational) -> bool {
        !near.is_finite() || (rational(near.value) - exact).abs() <= rational(near.error)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn errors_hold_the_real_results(a in number(), b in number(), c in number()) {
            let (x, y, z) = (Near::from(a), Near::from(b), Near::from(c));
            let [p, q, r] = [a, b, c].map(rational);
            prop_assert!(holds(x + y, &(&p + &q)) && holds(x - y, &(&p - &q)) && holds(x * y, &(&p * &q)));
            prop_assert!(holds((x + y) * z, &((&p + &q) * &r)) && holds((x * y) * (z - x), &(&p * &q * (&r - &p))));
            if b != 0.0 && c != 0.0 {
                prop_assert!(holds(x / y, &(&p / &q)) && holds((x + z) / (y / z), &((&p + &r) / (&q / &r))));
            }
            let root = y.sqrt();
            if root.is_finite() {
                let low = rational(root.value) - rational(root.error);
                let high = rational(root.value) + rational(root.error);
                prop_assert!((low.is_negative() || &low * &low <= q) && &high * &high >= q);
            }
        }

        #[test]
        fn charges_hold_what_is_stored(a in number(), b in number()) {
            let product = Near::from(a) * Near::from(b);
            let exact = rational(a) * rational(b);
            let mut charge = Charge::default();
            if let Some(w) = charge.weight(product) {
                let allowed = rational(charge.relative) * rational(f64::from(w)).abs();
                prop_assert!((rational(f64::from(w)) - &exact).abs() <= allowed);
            }
            if let Some(v) = charge.shift(product) {
                prop_assert!((rational(f64::from(v)) - exact).abs() <= rational(charge.absolute));
            }
        }
    }

    #[test]
    fn what_f32_holds_costs_nothing_and_what_it_loses_is_not_stored() {
        let mut charge = Charge::default();
        assert_eq!(charge.weight(Near::from(1e-39f32)), Some(1e-39));
        assert_eq!(charge.weight(Near::from(3.0f32) / Near::from(4.0f32)), Some(0.75));
        assert_eq!(charge.weight(Near::from(4.0f64).sqrt()), Some(2.0));
        assert!(charge.is_free());
        for lost in [1e-39f64, 1e-50, 1e39, f64::NAN] {
            assert_eq!(charge.weight(Near::from(lost)), None);
        }
        assert_eq!(charge.shift(Near::from(1e-50f64)), Some(0.0));
        assert!(charge.absolute >= 1e-50 && charge.relative == 0.0);
        assert_eq!(charge.shift(Near::from(1e39f64)), None);
        assert_eq!(charge.weight(Near::from(0.1f64)), Some(0.1));
        assert!(charge.relative > 1e-9 && charge.relative < 2f64.powi(-24));
    }
}
