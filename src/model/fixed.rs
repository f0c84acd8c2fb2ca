//! Numbers in fixed point, of as many digits as a network asks for. Where magnitudes along a deep network outgrow what
//! cancels in it, an enclosure in f64 knows nothing of its outputs, and one in enough of these still does.

use std::cmp::Ordering;

use super::activation::{Activation, hard_swish};
use super::reference::Number;

/// A signed number of `N` words, the lowest first, two of which stand before the point. Operations lose less than
/// [`Fixed::LAST`] each, as long as magnitudes stay below [`MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fixed<const N: usize>([u64; N]);

/// What values may be as large as: times a constant of an activation, or summed 2^40 times, they still fit.
pub(super) const MOST: f64 = (1u128 << 80) as f64;

/// Exactly `2^exponent`, for exponents of normal numbers.
const fn power(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

impl<const N: usize> Fixed<N> {
    /// Bits behind the point.
    const POINT: i32 = 64 * (N as i32 - 2);

    /// What the last of them stands for.
    pub const LAST: f64 = power(-Self::POINT);

    const ZERO: Self = Fixed([0; N]);

    /// A number below [`MOST`], cut off behind the last bit.
    pub fn of(value: f64) -> Self {
        let bits = value.to_bits();
        let exponent = ((bits >> 52 & 0x7ff) as i32).max(1);
        let mantissa = bits & ((1 << 52) - 1) | u64::from(value.is_normal()) << 52;
        let at = exponent - 1075 + Self::POINT;
        let wide = if at < 0 {
            mantissa.checked_shr(-at as u32).unwrap_or(0).into()
        } else {
            u128::from(mantissa) << (at % 64)
        };
        let mut words = [0; N];
        for (k, word) in [wide as u64, (wide >> 64) as u64].into_iter().enumerate() {
            if let Some(place) = words.get_mut(at.max(0) as usize / 64 + k) {
                *place = word;
            }
        }
        Fixed(words).signed(value < 0.0)
    }

    /// The number to the digits of f64: within 2^-51 of it.
    pub fn near(&self) -> f64 {
        let Fixed(words) = self.magnitude();
        let Some(top) = words.iter().rposition(|w| *w != 0) else { return 0.0 };
        let part = |k: usize| words[k] as f64 * power(64 * k as i32 - Self::POINT);
        let size = part(top) + top.checked_sub(1).map_or(0.0, part);
        if self.is_negative() { -size } else { size }
    }

    fn is_negative(&self) -> bool {
        self.0[N - 1] >> 63 == 1
    }

    fn signed(self, negative: bool) -> Self {
        if !negative {
            return self;
        }
        let mut carry = true;
        Fixed(self.0.map(|w| {
            let (word, over) = (!w).overflowing_add(carry.into());
            carry = over;
            word
        }))
    }

    fn magnitude(&self) -> Self {
        self.signed(self.is_negative())
    }

    fn order(&self, other: &Self) -> Ordering {
        let top = |n: &Self| n.0[N - 1] as i64;
        top(self).cmp(&top(other)).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn smaller(&self, other: &Self) -> Self {
        if self.order(other).is_le() { *self } else { *other }
    }

    /// `self * other`.
    pub fn product(&self, other: &Self) -> Self {
        let (Fixed(a), Fixed(b)) = (self.magnitude(), other.magnitude());
        let mut words = [[0; N]; 2];
        let words = words.as_flattened_mut();
        for (i, &x) in b.iter().enumerate().filter(|(_, x)| **x != 0) {
            let mut carry = 0;
            for (j, &y) in a.iter().enumerate() {
                let sum = u128::from(x) * u128::from(y) + u128::from(words[i + j]) + carry;
                (words[i + j], carry) = (sum as u64, sum >> 64);
            }
            words[i + N] = carry as u64;
        }
        let behind = words[N - 2..].first_chunk().expect("the product is twice as long");
        Fixed(*behind).signed(self.is_negative() != other.is_negative())
    }

    /// One over a sum, or over its root, and how far that may be off.
    pub fn inverse(divisor: [f64; 2], root: bool) -> (Self, f64) {
        let [large, small] = divisor.map(Self::of);
        let (d, divisor) = (large.plus(&small), divisor[0] + divisor[1]);
        let first = if root { divisor.sqrt().recip() } else { divisor.recip() };
        if !(divisor.abs() < 1e12 && first.abs() < 1e12) {
            return (Self::ZERO, f64::INFINITY);
        }
        let one = Self::of(1.0);
        let missing = |r: &Self| {
            let whole = if root { d.product(&r.product(r)) } else { d.product(r) };
            one.plus(&whole.signed(true))
        };
        let mut r = Self::of(first);
        // Newton's steps, each of which doubles the digits.
        for _ in 0..5 {
            let step = r.product(&missing(&r));
            r = r.plus(&if root { step.times(0.5) } else { step });
        }
        let size = r.near().abs();
        let share =
            missing(&r).near().abs() * 1.000_001 + 2.0 * Self::LAST * (2.0 + divisor.abs() + 2.0 * size + size * size);
        // What is missing is less than twice as large over the real result.
        (r, if share < 0.25 { 2.0 * size * share } else { f64::INFINITY })
    }
}

impl<const N: usize> Number for Fixed<N> {
    fn constant(value: f32) -> Self {
        Self::of(value.into())
    }

    fn plus(&self, other: &Self) -> Self {
        let (mut words, mut carry) = ([0; N], 0u128);
        for (k, word) in words.iter_mut().enumerate() {
            let sum = u128::from(self.0[k]) + u128::from(other.0[k]) + carry;
            (*word, carry) = (sum as u64, sum >> 64);
        }
        Fixed(words)
    }

    fn times(&self, factor: f32) -> Self {
        let (mantissa, by) = parts(factor);
        let (mut words, mut carry) = ([0; N], 0u128);
        for (word, &own) in words.iter_mut().zip(&self.0) {
            let product = u128::from(own) * u128::from(mantissa) + carry;
            (*word, carry) = (product as u64, product >> 64);
        }
        // A negative number was taken for 2^(64 N) more.
        let top = (carry as u64).wrapping_sub(if self.is_negative() { mantissa } else { 0 });
        shifted(words, top, by).signed(factor < 0.0)
    }

    /// In one pass, where most of the time goes.
    fn add(&mut self, value: &Self, factor: f32) {
        let (mantissa, by) = parts(factor);
        if !(1..64).contains(&by) {
            *self = self.plus(&value.times(factor));
            return;
        }
        let scaled = |k: usize, carry: u64| u128::from(value.0[k]) * u128::from(mantissa) + u128::from(carry);
        // A number is taken off by adding its complement and one.
        let (flip, mut carry) = if factor < 0.0 { (u64::MAX, 1) } else { (0, 0u128) };
        let mut product = scaled(0, 0);
        for k in 0..N {
            let next = match k + 1 < N {
                true => scaled(k + 1, (product >> 64) as u64),
                false => (product >> 64).wrapping_sub(if value.is_negative() { mantissa.into() } else { 0 }),
            };
            let part = product as u64 >> by | (next as u64) << (64 - by);
            let sum = u128::from(self.0[k]) + u128::from(part ^ flip) + carry;
            (self.0[k], carry, product) = (sum as u64, sum >> 64, next);
        }
    }

    fn larger(&self, other: &Self) -> Self {
        if self.order(other).is_ge() { *self } else { *other }
    }

    fn shared(&self, count: usize) -> Self {
        let (Fixed(mut words), mut rest) = (self.magnitude(), 0u128);
        for word in words.iter_mut().rev() {
            let both = rest << 64 | u128::from(*word);
            (*word, rest) = ((both / count as u128) as u64, both % count as u128);
        }
        Fixed(words).signed(self.is_negative())
    }

    /// Exponentials to the digits of f64 only, see [`Activation::is_arithmetic`].
    fn through(&self, activation: &Activation) -> Self {
        let kept = |x: Self, low: f32, high: f32| {
            let x = if low.is_finite() { x.larger(&Self::constant(low)) } else { x };
            if high.is_finite() { x.smaller(&Self::constant(high)) } else { x }
        };
        let line = |slope: f32, constant: f32| self.times(slope).plus(&Self::constant(constant));
        match activation {
            Activation::LeakyRelu(f) if self.is_negative() => self.times(f.slope),
            Activation::LeakyRelu(_) => *self,
            Activation::Clip(f) => kept(*self, f.low, f.high),
            Activation::Abs(_) => self.magnitude(),
            Activation::HardSigmoid(f) => kept(line(f.alpha, f.beta), 0.0, 1.0),
            Activation::HardSwish(_) => kept(line(hard_swish::ALPHA, 0.5), 0.0, 1.0).product(self),
            Activation::Sigmoid(_) | Activation::Tanh(_) => Self::of(activation.value(self.near())),
        }
    }
}

/// Mantissa and shift of the magnitude `mantissa * 2^-by`.
fn parts(factor: f32) -> (u64, i32) {
    let bits = factor.to_bits();
    let exponent = (bits >> 23 & 0xff).max(1) as i32;
    (u64::from(bits & 0x7f_ffff | u32::from(factor.is_normal()) << 23), 150 - exponent)
}

/// A number of one word more, `top`, times `2^-by`.
fn shifted<const N: usize>(words: [u64; N], top: u64, by: i32) -> Fixed<N> {
    let mut out = [0; N];
    if (1..64).contains(&by) {
        for (k, word) in out.iter_mut().enumerate() {
            *word = words[k] >> by | words.get(k + 1).unwrap_or(&top) << (64 - by);
        }
        return Fixed(out);
    }
    let sign = ((top as i64) >> 63) as u64;
    let word = |k: i32| match usize::try_from(k) {
        Ok(k) if k < N => words[k],
        Ok(k) => {
            if k == N {
                top
            } else {
                sign
            }
        }
        Err(_) => 0,
    };
    let (whole, bits) = (by.div_euclid(64), by.rem_euclid(64));
    for (k, out) in out.iter_mut().enumerate() {
        let both = u128::from(word(k as i32 + whole)) | u128::from(word(k as i32 + whole + 1)) << 64;
        *out = (both >> bits) as u64;
    }
    Fixed(out)
}

#[cfg(test)]
mod tests {
    use num_rational::BigRational;
    use num_traits::Signed;

    use super::super::activation::tests::all;
    use super::*;
    use crate::rng::Rng;

    fn exact(v: f64) -> BigRational {
        BigRational::from_float(v).unwrap()
    }

    fn value<const N: usize>(v: Fixed<N>) -> BigRational {
        let word = |w: &u64| BigRational::from_integer((*w).into());
        let whole = exact(power(64));
        let size = v.magnitude().0.iter().rev().fold(exact(0.0), |sum, w| sum * &whole + word(w));
        let size = size * exact(power(-Fixed::<N>::POINT));
        if v.is_negative() { -size } else { size }
    }

    /// A number of either sign and of many sizes, and what it is.
    fn draw(rng: &mut Rng) -> f64 {
        let size = 2f64.powi(rng.below(100) as i32 - 60);
        (f64::from(rng.range(-1.0, 1.0)) + f64::from(rng.range(-1e-8, 1e-8))) * size
    }

    fn operations_lose_less_than_the_last_bit<const N: usize>() {
        let mut rng = Rng::new(17, N as u64);
        let last = exact(Fixed::<N>::LAST);
        let within = |got: Fixed<N>, want: BigRational, units: f64| {
            assert!((value(got) - &want).abs() <= &last * exact(units), "{got:?} {want}");
        };
        for i in 0..600 {
            let (x, y, count) = (draw(&mut rng), draw(&mut rng), 1 + rng.below(50_000));
            within(Fixed::of(x), exact(x), 1.0);
            let (a, b) = (Fixed::of(x), Fixed::of(y));
            // Digits beyond those of f64.
            let (a, b) = (a.product(&b).plus(&a), b.shared(7));
            let (x, y) = (value(a), value(b));
            assert!((exact(a.near()) - &x).abs() <= x.abs() * exact(power(-51)));
            let factor = match i % 4 {
                0 => rng.range(-3.0, 3.0),
                1 => -(2f32.powi(rng.below(30) as i32)),
                2 => rng.range(-1.0, 1.0) * 2f32.powi(-(rng.below(149) as i32)),
                _ => rng.range(-1e9, 1e9),
            };
            within(a.plus(&b), &x + &y, 0.0);
            within(a.times(factor), &x * exact(factor.into()), 1.0);
            let mut sum = b;
            sum.add(&a, factor);
            within(sum, &y + &x * exact(factor.into()), 1.0);
            within(a.shared(count), &x / exact(count as f64), 1.0);
            within(a.product(&b), &x * &y, 1.0);
            within(a.larger(&b), x.clone().max(y.clone()), 0.0);
            within(a.smaller(&b), x.min(y), 0.0);
        }
    }

    #[test]
    fn operations_of_few_words_and_of_many() {
        operations_lose_less_than_the_last_bit::<3>();
        operations_lose_less_than_the_last_bit::<5>();
        operations_lose_less_than_the_last_bit::<9>();
    }

    #[test]
    fn inverses_are_as_near_as_they_say() {
        let mut rng = Rng::new(3, 5);
        for i in 0..200 {
            let d = draw(&mut rng).abs().max(1e-11);
            let (r, off) = Fixed::<9>::inverse([d, 0.0], false);
            assert!((value(r) - exact(d).recip()).abs() <= exact(off) && off < 1e-90, "{d} {off}");
            let (r, off) = Fixed::<9>::inverse([0.0, d], true);
            let (low, high) = (value(r) - exact(off), value(r) + exact(off));
            assert!(
                &low * &low * exact(d) <= exact(1.0) && &high * &high * exact(d) >= exact(1.0) && off < 1e-90,
                "{i} {d}"
            );
        }
        assert!([0.0, -1.0, f64::NAN, 1e-30].iter().all(|d| Fixed::<5>::inverse([*d, 0.0], true).1 == f64::INFINITY));
    }

    #[test]
    fn activations_are_those_of_f64() {
        for f in all() {
            for t in -80..=80 {
                let x = f64::from(t) * 0.093;
                let off = (Fixed::<5>::of(x).through(&f).near() - f.value(x)).abs();
                assert!(off <= f.error(x) + 1e-15 * x.abs(), "{f:?} at {x}: {off}");
            }
        }
    }
}
