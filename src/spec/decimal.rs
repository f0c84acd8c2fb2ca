//! Decimal numbers as written in a property, exactly: `0.1` is one tenth, not the nearest float.

use std::cmp::Ordering;

use crate::rounding::{to_f32_down, to_f32_up};

/// Room for the exact expansion of any f64.
const MAX_DIGITS: usize = 1400;
/// Largest power of ten a number may be written with.
const MAX_POWER: i64 = 400;

/// `± digits * 10^exponent`, digits most significant first, none of them leading or trailing zeros; zero has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    /// Nought.
    pub const ZERO: Decimal = Decimal { negative: false, digits: Vec::new(), exponent: 0 };

    /// One.
    pub fn one() -> Self {
        Decimal { negative: false, digits: vec![1], exponent: 0 }
    }

    /// One half.
    pub fn half() -> Self {
        Decimal { negative: false, digits: vec![5], exponent: -1 }
    }

    /// A little: a billionth.
    pub fn tiny() -> Self {
        Decimal { negative: false, digits: vec![1], exponent: -9 }
    }

    /// Reads `-1`, `0.25`, `.5`, `3e-4`, …; `None` if it is no number or has absurdly many digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, power) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.len() + fraction.len();
        if digits == 0 || digits > MAX_DIGITS || power.unsigned_abs() > MAX_POWER as u64 {
            return None;
        }
        let digits: Option<Vec<u8>> =
            whole.bytes().chain(fraction.bytes()).map(|b| b.is_ascii_digit().then(|| b - b'0')).collect();
        Some(Self::normal(negative, digits?, power - fraction.len() as i64))
    }

    /// The exact value of a finite float.
    ///
    /// # Panics
    /// If `x` is infinite or not a number.
    pub fn from_f64(x: f64) -> Self {
        assert!(x.is_finite(), "only finite numbers have decimals");
        // As many decimal places as there are binary ones, from the last bit that is set.
        let (bits, exponent) = (x.to_bits() << 12 >> 12, (x.to_bits() >> 52 & 0x7ff) as i32);
        let last = exponent.max(1) - 1075 + (bits | 1 << 52).trailing_zeros() as i32;
        Self::parse(&format!("{x:.*}", (-last).max(0) as usize)).unwrap_or(Self::ZERO)
    }

    fn normal(negative: bool, mut digits: Vec<u8>, mut exponent: i64) -> Self {
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        let zeros = digits.iter().take_while(|&&d| d == 0).count();
        digits.drain(..zeros);
        if digits.is_empty() {
            return Self::ZERO;
        }
        Decimal { negative, digits, exponent: exponent as i32 }
    }

    /// Small enough to calculate with: true of every number read and of their products, but not of long products.
    pub fn is_moderate(&self) -> bool {
        let reach = 4 * MAX_DIGITS;
        self.digits.len() <= reach && self.exponent.unsigned_abs() as usize <= reach
    }

    /// Whether it is nought.
    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Whether it is below nought.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// `-self`.
    pub fn neg(&self) -> Self {
        Decimal { negative: !self.negative && !self.is_zero(), ..self.clone() }
    }

    /// `|self|`.
    pub fn abs(&self) -> Self {
        Decimal { negative: false, ..self.clone() }
    }

    /// `self + other`, exactly.
    pub fn add(&self, other: &Self) -> Self {
        if self.is_zero() || other.is_zero() {
            return if self.is_zero() { other.clone() } else { self.clone() };
        }
        let exponent = self.exponent.min(other.exponent);
        let aligned = |d: &Self| {
            let mut digits = d.digits.clone();
            digits.resize(digits.len() + (d.exponent - exponent) as usize, 0);
            digits.reverse();
            digits
        };
        let (mut a, mut b) = (aligned(self), aligned(other));
        let mut negative = self.negative;
        if a.len() < b.len() || (a.len() == b.len() && a.iter().rev().lt(b.iter().rev())) {
            std::mem::swap(&mut a, &mut b);
            negative = other.negative;
        }
        // |a| >= |b|; digits are least significant first.
        let sign = if self.negative == other.negative { 1i8 } else { -1 };
        let mut carry = 0i8;
        for (k, digit) in a.iter_mut().enumerate() {
            let sum = *digit as i8 + sign * b.get(k).map_or(0, |&d| d as i8) + carry;
            carry = sum.div_euclid(10);
            *digit = sum.rem_euclid(10) as u8;
        }
        if carry > 0 {
            a.push(carry as u8);
        }
        a.reverse();
        Self::normal(negative, a, i64::from(exponent))
    }

    /// `self - other`, exactly.
    pub fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }

    /// `self * other`, exactly.
    pub fn mul(&self, other: &Self) -> Self {
        let mut digits = vec![0u32; self.digits.len() + other.digits.len()];
        for (i, &a) in self.digits.iter().rev().enumerate() {
            let mut carry = 0;
            for (j, &b) in other.digits.iter().rev().enumerate() {
                let sum = digits[i + j] + u32::from(a) * u32::from(b) + carry;
                (digits[i + j], carry) = (sum % 10, sum / 10);
            }
            digits[i + other.digits.len()] += carry;
        }
        let digits = digits.iter().rev().map(|&d| d as u8).collect();
        let exponent = i64::from(self.exponent) + i64::from(other.exponent);
        Self::normal(self.negative != other.negative, digits, exponent)
    }

    /// `self / other`, exactly or, after 40 digits, rounded away from zero.
    ///
    /// # Panics
    /// If `other` is zero.
    pub fn quotient(&self, other: &Self) -> Self {
        assert!(!other.is_zero(), "nothing is divided by zero");
        let order = |d: &Self| d.exponent + d.digits.len() as i32;
        let (mut rest, divisor) = (self.abs(), other.abs());
        let mut unit = Decimal { negative: false, digits: vec![1], exponent: order(self) - order(other) };
        let mut sum = Self::ZERO;
        for _ in 0..40 {
            let step = divisor.mul(&unit);
            while rest >= step {
                rest = rest.sub(&step);
                sum = sum.add(&unit);
            }
            if rest.is_zero() {
                break;
            }
            unit.exponent -= 1;
        }
        if !rest.is_zero() {
            unit.exponent += 1;
            sum = sum.add(&unit);
        }
        if self.negative == other.negative { sum } else { sum.neg() }
    }

    /// In full, without a power of ten.
    pub fn plain(&self) -> String {
        let digits: String = self.digits.iter().map(|&d| char::from(b'0' + d)).collect();
        let (sign, point) = (if self.negative { "-" } else { "" }, self.digits.len() as i32 + self.exponent);
        match point {
            _ if self.is_zero() => "0".into(),
            ..=0 => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
            _ if self.exponent >= 0 => format!("{sign}{digits}{}", "0".repeat(self.exponent as usize)),
            _ => format!("{sign}{}.{}", &digits[..point as usize], &digits[point as usize..]),
        }
    }

    /// The nearest f64.
    pub fn to_f64(&self) -> f64 {
        // The standard library's parser rounds correctly.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Compares with a finite float, exactly.
    pub fn cmp_f64(&self, x: f64) -> Ordering {
        // Rounding to nearest keeps the order, so only a tie needs the long way.
        match self.to_f64().partial_cmp(&x) {
            Some(Ordering::Equal) | None => self.cmp(&Self::from_f64(x)),
            Some(order) => order,
        }
    }

    /// Largest f32 that is at most this number (infinite if there is none).
    pub fn to_f32_down(&self) -> f32 {
        let near = self.to_f64();
        if !near.is_finite() {
            return if self.negative { f32::NEG_INFINITY } else { f32::MAX };
        }
        let low = if self.cmp_f64(near) == Ordering::Less { near.next_down() } else { near };
        to_f32_down(low)
    }

    /// Smallest f32 that is at least this number (infinite if there is none).
    pub fn to_f32_up(&self) -> f32 {
        let near = self.to_f64();
        if !near.is_finite() {
            return if self.negative { f32::MIN } else { f32::INFINITY };
        }
        let high = if self.cmp_f64(near) == Ordering::Greater { near.next_up() } else { near };
        to_f32_up(high)
    }

    /// This number as an f32, if it is one.
    pub fn exact_f32(&self) -> Option<f32> {
        let near = self.to_f64() as f32;
        (near.is_finite() && self.cmp_f64(f64::from(near)) == Ordering::Equal).then_some(near)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let difference = self.sub(other);
        match (difference.is_zero(), difference.negative) {
            (true, _) => Ordering::Equal,
            (false, true) => Ordering::Less,
            (false, false) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let digits: String = self.digits.iter().map(|&d| char::from(b'0' + d)).collect();
        write!(f, "{}{digits}e{}", if self.negative { "-" } else { "" }, self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_read_in_every_spelling() {
        for same in ["0.25", "+.25", "25e-2", "0.0025E2", "00.2500"] {
            assert_eq!(d(same), d("0.25"));
        }
        assert_eq!(d("-0"), Decimal::ZERO);
        for wrong in ["", "-", ".", "e5", "1e", "1.2.3", "0x1", "1e99999", "nan", "inf", "--1", "1_000", "1e5e5"] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Decimal::parse(&"1".repeat(5000)), None);
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(d("0.1").add(&d("0.2")), d("0.3"));
        assert_eq!(d("1e-30").add(&d("1")).sub(&d("1")), d("1e-30"));
        assert_eq!(d("-1.5").mul(&d("0.004")), d("-0.006"));
        assert_eq!(d("999").mul(&d("999")), d("998001"));
        assert_eq!(d("5").sub(&d("5")), Decimal::ZERO);
        assert!(d("-2") < d("-1.9") && d("10") > d("9.99") && d("-1") < d("0"));
    }

    #[test]
    fn quotients_are_exact_or_a_little_large() {
        assert_eq!(d("1").quotient(&d("8")), d("0.125"));
        assert_eq!(d("-0.3").quotient(&d("3")), d("-0.1"));
        assert_eq!(d("990").quotient(&d("0.99")), d("1000"));
        let third = d("1").quotient(&d("3"));
        assert!(third.mul(&d("3")) > d("1") && third.mul(&d("3")) < d("1").add(&d("1e-38")));
        assert_eq!(Decimal::ZERO.quotient(&d("7")), Decimal::ZERO);
    }

    #[test]
    fn numbers_are_written_in_full() {
        for text in ["0", "-0.001", "1200", "12.5", "-0.5", "7"] {
            assert_eq!(d(text).plain(), text);
        }
    }

    #[test]
    fn rounding_is_outward_and_tight() {
        for text in ["0.1", "-0.1", "0.5", "0.679857769", "1e-50", "-1e-50", "0.02999999932944774627685546875", "0"] {
            let (x, low, high) = (d(text), d(text).to_f32_down(), d(text).to_f32_up());
            assert!(x.cmp_f64(f64::from(low)) != Ordering::Less && x.cmp_f64(f64::from(high)) != Ordering::Greater);
            assert!(low == high || low.next_up() == high, "{text}: {low} {high}");
            assert_eq!(low == high, x.exact_f32().is_some());
        }
        assert_eq!((d("1e39").to_f32_up(), d("1e39").to_f32_down()), (f32::INFINITY, f32::MAX));
        assert_eq!((d("-1e400").to_f32_up(), d("-1e400").to_f32_down()), (f32::MIN, f32::NEG_INFINITY));
    }

    #[test]
    fn a_tie_with_the_nearest_float_is_seen() {
        // The nearest double to 0.1 is a little more than 0.1.
        assert_eq!(d("0.1").cmp_f64(0.1), Ordering::Less);
        assert_eq!(Decimal::from_f64(0.1).cmp_f64(0.1), Ordering::Equal);
        assert_eq!(Decimal::from_f64(0.1), d("0.1000000000000000055511151231257827021181583404541015625"));
    }

    proptest! {
        #[test]
        fn sums_and_products_of_integers(a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000) {
            let (x, y) = (d(&a.to_string()), d(&b.to_string()));
            prop_assert_eq!(x.add(&y), d(&(a + b).to_string()));
            prop_assert_eq!(x.mul(&y), d(&(i128::from(a) * i128::from(b)).to_string()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn every_f32_is_itself(bits: u32) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            let exact = Decimal::from_f64(f64::from(x));
            prop_assert_eq!(exact.to_f32_down(), x);
            prop_assert_eq!(exact.to_f32_up(), x);
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = Decimal::parse(&text);
        }
    }
}
