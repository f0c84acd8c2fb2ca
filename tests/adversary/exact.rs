//! Numbers without rounding: `mantissa * 2^exponent / odd`. Closed under what networks do (products, sums, means), and
//! far cheaper than fractions in lowest terms.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_bigint::Sign;

#[derive(Clone, Debug)]
pub struct Exact {
    mantissa: BigInt,
    exponent: i64,
    /// Positive and odd; 1 unless something was divided.
    odd: u128,
}

impl Exact {
    pub fn zero() -> Exact {
        Exact::from(0.0)
    }

    /// This over `n > 0`.
    pub fn over(&self, n: u64) -> Exact {
        let twos = n.trailing_zeros();
        let odd = self.odd.checked_mul(u128::from(n >> twos)).expect("few divisions in a row");
        Exact { mantissa: self.mantissa.clone(), exponent: self.exponent - i64::from(twos), odd }
    }

    pub fn sign(&self) -> Ordering {
        match self.mantissa.sign() {
            Sign::Minus => Ordering::Less,
            Sign::NoSign => Ordering::Equal,
            Sign::Plus => Ordering::Greater,
        }
    }

    pub fn is_zero(&self) -> bool {
        self.sign().is_eq()
    }

    pub fn minus(&self, other: &Exact) -> Exact {
        self.plus(&other.negated())
    }

    pub fn negated(&self) -> Exact {
        Exact { mantissa: -&self.mantissa, ..*self }
    }

    pub fn times(&self, other: &Exact) -> Exact {
        if self.is_zero() || other.is_zero() {
            return Exact::zero();
        }
        let odd = self.odd.checked_mul(other.odd).expect("few divisions in a row");
        Exact { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent, odd }
    }

    pub fn plus(&self, other: &Exact) -> Exact {
        if self.is_zero() {
            return other.clone();
        }
        if other.is_zero() {
            return self.clone();
        }
        let exponent = self.exponent.min(other.exponent);
        let whole = |e: &Exact| &e.mantissa << (e.exponent - exponent) as u64;
        if self.odd == other.odd {
            return Exact { mantissa: whole(self) + whole(other), exponent, odd: self.odd };
        }
        let (a, b) = (self.odd, other.odd);
        let common = gcd(a, b);
        let odd = (a / common).checked_mul(b).expect("few divisions in a row");
        Exact { mantissa: whole(self) * (b / common) + whole(other) * (a / common), exponent, odd }
    }

    pub fn compare(&self, other: &Exact) -> Ordering {
        self.minus(other).sign()
    }

    /// Roughly, for messages.
    pub fn near(&self) -> f64 {
        let spare = self.mantissa.bits().saturating_sub(64);
        let top = i128::try_from(&self.mantissa >> spare).map_or(f64::NAN, |v| v as f64);
        let exponent = (self.exponent + spare as i64).clamp(-4000, 4000) as i32;
        // In two steps, for 2^exponent alone may overflow where the value does not.
        top / self.odd as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl From<f64> for Exact {
    fn from(v: f64) -> Exact {
        assert!(v.is_finite(), "{v} is no number");
        let bits = v.to_bits();
        let (field, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
        let (mantissa, exponent) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
        // Short mantissas make short products.
        let spare = if mantissa == 0 { 0 } else { mantissa.trailing_zeros() };
        let mantissa = BigInt::from(mantissa >> spare);
        let mantissa = if v < 0.0 { -mantissa } else { mantissa };
        Exact { mantissa, exponent: exponent + i64::from(spare), odd: 1 }
    }
}

impl From<f32> for Exact {
    fn from(v: f32) -> Exact {
        Exact::from(f64::from(v))
    }
}

/// A place on a line: `over / under`, `under > 0`. Quotients need no more than this: they are only compared.
#[derive(Clone, Debug)]
pub struct Place {
    over: Exact,
    under: Exact,
}

impl Place {
    pub fn of(v: Exact) -> Place {
        Place { over: v, under: Exact::from(1.0) }
    }

    /// `over / under` with `under` not zero.
    pub fn quotient(over: Exact, under: Exact) -> Place {
        if under.sign().is_lt() {
            return Place { over: over.negated(), under: under.negated() };
        }
        Place { over, under }
    }

    pub fn compare(&self, other: &Place) -> Ordering {
        self.over.times(&other.under).compare(&other.over.times(&self.under))
    }

    pub fn near(&self) -> f64 {
        self.over.near() / self.under.near()
    }
}

/// `a + b t`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub a: Exact,
    pub b: Exact,
}

impl Linear {
    pub fn constant(a: Exact) -> Linear {
        Linear { a, b: Exact::zero() }
    }

    pub fn minus(&self, other: &Linear) -> Linear {
        Linear { a: self.a.minus(&other.a), b: self.b.minus(&other.b) }
    }

    pub fn add_product(&mut self, factor: &Exact, other: &Linear) {
        self.a = self.a.plus(&factor.times(&other.a));
        self.b = self.b.plus(&factor.times(&other.b));
    }

    /// Sign at a place.
    pub fn sign(&self, t: &Place) -> Ordering {
        self.a.times(&t.under).plus(&self.b.times(&t.over)).sign()
    }

    /// Sign at a place and, if zero there, just behind it.
    pub fn sign_from(&self, t: &Place) -> Ordering {
        self.sign(t).then(self.b.sign())
    }

    /// Where it vanishes, unless it is constant.
    pub fn root(&self) -> Option<Place> {
        (!self.b.is_zero()).then(|| Place::quotient(self.a.negated(), self.b.clone()))
    }
}

#[test]
fn numbers_are_those_of_fractions_in_lowest_terms() {
    use num_rational::BigRational;
    let fraction = |v: f64| BigRational::from_float(v).unwrap();
    let numbers = [0.0, 1.0, -0.375, 1e-45, f64::from(f32::MAX), -7.25e-30, 0.1, 3.0];
    for a in numbers {
        for b in numbers {
            for n in [1u64, 2, 3, 12, 9] {
                let (x, y) = (Exact::from(a).over(n), Exact::from(b));
                let (p, q) = (fraction(a) / BigRational::from_integer(n.into()), fraction(b));
                assert_eq!(x.compare(&y), p.cmp(&q), "{a} over {n} against {b}");
                let sum = x.plus(&y).times(&x.minus(&y));
                assert_eq!(sum.compare(&Exact::from(0.0625)), ((&p + &q) * (&p - &q)).cmp(&fraction(0.0625)));
                assert_eq!(sum.minus(&x.times(&x)).plus(&y.times(&y)).sign(), Ordering::Equal);
            }
        }
        assert!((Exact::from(a).near() - a).abs() <= 1e-15 * a.abs());
    }
}
