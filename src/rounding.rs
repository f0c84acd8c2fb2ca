//! Outward rounding by integer steps, and the error constants of sums (see `ARCHITECTURE.md`, "Soundness").

/// Smallest positive normal f32; every operation may lose this much to flushing.
pub const ETA: f32 = f32::MIN_POSITIVE;

/// Largest relative error of one f32 `+ - *`. WGSL lets each go to either neighbour; the CPU rounds to nearest but pays
/// the same, so that every device proves the same radii.
pub const UNIT: f64 = 1.0 / (1u32 << 23) as f64;

/// Room for the rounding of sums in f64 of at most 2^26 terms, as a share of their magnitudes.
pub const ROOM: f64 = 1e-8;

/// Products summed before the partial sum is set aside, for a sum of `n`: near the root of `n`, where the error is
/// least, and a multiple of four, which is what kernels take at a time. Kernels and error constants share it.
pub fn sum_block(n: usize) -> usize {
    n.isqrt().next_multiple_of(4).max(8)
}

/// A value at least `x` plus one rounding error in either direction: replaces subnormals by `ETA`, then steps once.
///
/// Written without branches so that loops over lanes vectorise; infinity becomes NaN, which callers refuse as a fault.
#[inline(always)]
pub fn up(x: f32) -> f32 {
    let bits = x.to_bits() as i32;
    // One step away from zero for positive values, toward zero for negative ones.
    let next = f32::from_bits(bits.wrapping_add(1 | (bits >> 31)) as u32);
    if x.abs() < ETA { ETA } else { next }
}

/// Mirror image of [`up`].
#[inline(always)]
pub fn down(x: f32) -> f32 {
    -up(-x)
}

/// Magnitudes below this are replaced by twice it when rounding outward (2^-100): above it one unit in the last place is
/// worth several [`ETA`], so a step also pays for subnormals that an operation flushed.
pub const TINY: f32 = f32::from_bits(0x0d80_0000);

/// What [`raise`] and [`lower`] make of such a magnitude, before signs.
pub const RAISED: f32 = 2.0 * TINY;

/// All bits but the sign.
pub const MAGNITUDE: u32 = 0x7fff_ffff;

/// Bits of the largest magnitude that devices may flush.
pub const LARGEST_SUBNORMAL: u32 = 0x7f_ffff;

// In the last place a raised number has several units of what flushing takes.
const _: () = assert!(TINY.to_bits() == (127 - 100) << 23 && ETA.to_bits() == LARGEST_SUBNORMAL + 1);

/// Arithmetic of interval formulas: f32 itself, or in tests one that rounds either way and flushes at random.
pub trait Real:
    Copy + std::ops::Add<Output = Self> + std::ops::Sub<Output = Self> + std::ops::Mul<Output = Self>
{
    fn of(x: f32) -> Self;
    fn get(self) -> f32;
    #[inline(always)]
    fn abs(self) -> Self {
        Self::of(self.get().abs())
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self.get() > other.get() { self } else { other }
    }
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }
}

/// At least `x` plus `steps` units in the last place. Mirrors `shaders/lib/rounding.wgsl`; free of branches. Not for
/// infinities, which the range check before a dispatch excludes.
#[inline(always)]
pub fn raise<T: Real>(x: T, steps: u32) -> T {
    let bits = x.get().to_bits();
    let moved = if bits > MAGNITUDE { bits.wrapping_sub(steps) } else { bits.wrapping_add(steps) };
    T::of(f32::from_bits(if bits & MAGNITUDE < TINY.to_bits() { RAISED.to_bits() } else { moved }))
}

/// Mirror image of [`raise`].
#[inline(always)]
pub fn lower<T: Real>(x: T, steps: u32) -> T {
    T::of(-raise(-x.get(), steps))
}

#[inline(always)]
pub fn is_zero<T: Real>(x: T) -> bool {
    x.get().to_bits() & MAGNITUDE == 0
}

#[inline(always)]
pub fn is_subnormal<T: Real>(x: T) -> bool {
    (x.get().to_bits() & MAGNITUDE).wrapping_sub(1) < LARGEST_SUBNORMAL
}

/// `x`, or zero where it is subnormal: what every device agrees to read.
#[inline(always)]
pub fn settle<T: Real>(x: T) -> T {
    if is_subnormal(x) { T::of(0.0) } else { x }
}

/// Radius around `settle(centre)` that still covers `centre ± radius`; never subnormal.
#[inline(always)]
pub fn settle_radius<T: Real>(centre: T, radius: T) -> T {
    if is_subnormal(centre) | is_subnormal(radius) { raise(radius, 1) } else { radius }
}

/// `radius + share * |centre|`, rounded up; exactly `radius` where there is nothing to add.
#[inline(always)]
pub fn inflated<T: Real>(radius: T, centre: T, share: f32) -> T {
    let sum = raise(radius + T::of(share) * centre.abs(), 3);
    if is_zero(centre) | is_zero(share) { radius } else { sum }
}

/// `n u / (1 - n u)`, a bound on the relative error of `n` chained roundings with unit roundoff `u` (Higham, "Accuracy
/// and Stability of Numerical Algorithms", lemma 3.1).
pub fn gamma(n: usize, u: f64) -> f64 {
    let nu = n as f64 * u;
    assert!(nu < 0.5, "a sum of {n} products is too long to bound");
    nu / (1.0 - nu)
}

/// Relative error, against the sum of absolute products, of a sum of `n` products computed in blocks of
/// [`sum_block`], any order and fusion inside a block, with room for the elementwise tail. Rounded up to f32.
pub fn sum_error(n: usize) -> f32 {
    let block = sum_block(n);
    to_f32_up(blocked_error(n.min(block), n.div_ceil(block)))
}

/// As [`sum_error`], for `blocks` partial sums of at most `block` products each.
pub fn blocked_error(block: usize, blocks: usize) -> f64 {
    let inner = gamma(block + 8, UNIT);
    let outer = if blocks > 1 { gamma(blocks, UNIT) } else { 0.0 };
    inner + outer + inner * outer
}

/// Smallest f32 that is at least `x`.
pub fn to_f32_up(x: f64) -> f32 {
    let y = x as f32;
    if f64::from(y) < x { y.next_up() } else { y }
}

/// Largest f32 that is at most `x`.
pub fn to_f32_down(x: f64) -> f32 {
    -to_f32_up(-x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down_step_over_subnormals_and_zero() {
        assert_eq!(up(0.0), ETA);
        assert_eq!(down(0.0), -ETA);
        assert_eq!(up(-1e-40), ETA);
        assert!(up(1.0) > 1.0 && down(-1.0) < -1.0);
    }

    #[test]
    fn conversion_is_outward() {
        assert!(f64::from(to_f32_up(0.1)) >= 0.1 && f64::from(to_f32_down(0.1)) <= 0.1);
        assert_eq!(to_f32_up(0.5), 0.5);
    }
}
