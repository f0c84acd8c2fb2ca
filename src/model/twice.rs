//! Numbers of twice the digits of f64: an unevaluated sum of two (Dekker 1971). Where magnitudes along a deep network
//! outgrow what cancels in it, an enclosure in f64 knows nothing of its outputs, and one in these still does.

use super::activation::Activation;
use super::reference::Number;

/// `high + low`, the first being the sum rounded to f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Twice {
    pub high: f64,
    pub low: f64,
}

/// What each operation may lose of its result, as a share: 3u² for a sum (Joldes, Muller and Popescu 2017, theorem 3.1), less
/// than 4u² for a product by an f32, with u = 2^-53.
pub(super) const UNIT: f64 = f64::EPSILON * f64::EPSILON;

impl From<f64> for Twice {
    fn from(high: f64) -> Twice {
        Twice { high, low: 0.0 }
    }
}

/// Exactly `a + b` (Knuth).
fn sum(a: f64, b: f64) -> Twice {
    let high = a + b;
    let of_b = high - a;
    Twice { high, low: (a - (high - of_b)) + (b - of_b) }
}

/// Exactly `a + b`, where `a` is zero or no smaller (Dekker).
fn ordered(a: f64, b: f64) -> Twice {
    let high = a + b;
    Twice { high, low: b - (high - a) }
}

/// Exactly `a * b`: halves of 26 and 27 digits times 24 fit f64.
fn product(a: f64, b: f32) -> Twice {
    let head = f64::from_bits(a.to_bits() & !((1 << 27) - 1));
    ordered(head * f64::from(b), (a - head) * f64::from(b))
}

impl Number for Twice {
    fn constant(value: f32) -> Twice {
        f64::from(value).into()
    }

    fn plus(&self, other: &Twice) -> Twice {
        let (high, low) = (sum(self.high, other.high), sum(self.low, other.low));
        let near = ordered(high.high, high.low + low.high);
        ordered(near.high, low.low + near.low)
    }

    fn times(&self, factor: f32) -> Twice {
        let high = product(self.high, factor);
        ordered(high.high, high.low + self.low * f64::from(factor))
    }

    fn larger(&self, other: &Twice) -> Twice {
        let less = self.high < other.high || self.high == other.high && self.low < other.low;
        if less || self.high.is_nan() { *other } else { *self }
    }

    /// Counts of windows are f32s, of their inverses the two parts make up all but 2^-104.
    fn shared(&self, count: usize) -> Twice {
        let first = self.high / count as f64;
        let back = product(first, count as f32);
        let rest = (self.high - back.high) - back.low + self.low;
        ordered(first, rest / count as f64)
    }

    /// To the digits of f64 only.
    fn through(&self, activation: &Activation) -> Twice {
        activation.value(self.high).into()
    }
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use num_traits::Signed;

    use super::*;
    use crate::rng::Rng;

    fn exact(v: f64) -> BigRational {
        BigRational::from_float(v).unwrap()
    }

    fn value(v: Twice) -> BigRational {
        exact(v.high) + exact(v.low)
    }

    /// Numbers of either sign over many sizes, most of them with a low part.
    fn draw(rng: &mut Rng) -> Twice {
        let size = 2f64.powi(rng.below(80) as i32 - 40);
        sum(f64::from(rng.range(-1.0, 1.0)) * size / 3.0, f64::from(rng.range(-1.0, 1.0)) * size * 2f64.powi(-54) / 7.0)
    }

    #[test]
    fn operations_lose_no_more_than_they_say() {
        let mut rng = Rng::new(17, 0);
        let within = |got: Twice, want: BigRational| {
            assert!(got.high == got.high + got.low, "{got:?} is in order");
            assert!((value(got) - &want).abs() <= want.abs() * exact(UNIT), "{got:?}");
        };
        for i in 0..2000 {
            let (a, factor, count) = (draw(&mut rng), rng.range(-3.0, 3.0), 1 + rng.below(50_000));
            // Every other sum cancels nearly all.
            let near =
                Twice { high: -a.high * (1.0 + f64::EPSILON * (i % 7) as f64), low: draw(&mut rng).low.min(a.low) };
            let b = if i % 2 == 0 { draw(&mut rng) } else { sum(near.high, near.low * f64::EPSILON) };
            within(a.plus(&b), value(a) + value(b));
            within(a.times(factor), value(a) * exact(f64::from(factor)));
            within(a.shared(count), value(a) / exact(count as f64));
            assert_eq!(value(a.larger(&b)), value(a).max(value(b)));
        }
    }
}
