//! Outward rounding by integer steps, and the error constants of sums (see `ARCHITECTURE.md`, "Soundness").

/// Smallest positive normal f32; every operation may lose this much to flushing.
pub const ETA: f32 = f32::MIN_POSITIVE;

/// Products summed before the partial sum is set aside; kernels and error constants share it.
pub const SUM_BLOCK: usize = 64;

/// A value at least `x` plus one rounding error in either direction: replaces subnormals by `ETA`, then steps once.
pub fn up(x: f32) -> f32 {
    if x.abs() < ETA { ETA } else { x.next_up() }
}

/// Mirror image of [`up`].
pub fn down(x: f32) -> f32 {
    -up(-x)
}

/// `n u / (1 - n u)`, Higham's bound on the relative error of `n` chained roundings with unit roundoff `u`.
pub fn gamma(n: usize, u: f64) -> f64 {
    let nu = n as f64 * u;
    assert!(nu < 0.5, "a sum of {n} products is too long to bound");
    nu / (1.0 - nu)
}

/// Relative error, against the sum of absolute products, of a sum of `n` products computed in blocks of
/// [`SUM_BLOCK`], any order and fusion inside a block, with room for the elementwise tail. Rounded up to f32.
pub fn sum_error(n: usize, u: f64) -> f32 {
    let inner = gamma(n.min(SUM_BLOCK) + 8, u);
    let outer = if n > SUM_BLOCK { gamma(n.div_ceil(SUM_BLOCK) + 8, u) } else { 0.0 };
    to_f32_up(inner + outer + inner * outer)
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
