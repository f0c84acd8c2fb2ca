//! One pixel under Gaussian noise, clipped to `[0,1]`: its mean, and how fast its tails fall.
//!
//! With `X = min(max(x + sigma z, 0), 1)`, z standard normal and m its mean, a factor of the lower side is any v with
//! `K(t) := log E exp(-t (X - m)) <= v t^2 / 2` for all `t > 0`. Then `P(a (X - m) <= -s) <= exp(-s^2 / (2 a^2 v))` for
//! `a > 0`, and independent X add their `a^2 v` (Chernoff). K is convex with `K(0) = 0` and `K'(0) = 0`.

/// Tails of normal numbers, and sums and products of a few of them, are off by less than this share. They are made of
/// sums of positive terms below a hundred, each rounded once, and of exponentials, which every libm has to a unit or two.
const ERROR: f64 = 1e-12;

/// A variance, which is a difference of numbers up to 1, is off by less than this.
const VARIANCE_ERROR: f64 = 1e-13;

/// As is a mean.
pub const MEAN_ERROR: f64 = 1e-12;

/// Where the grid of [`factor`] starts, in units of `1 / sigma`, and the ratio of its steps.
const START: f64 = 0.01;
const STEP: f64 = 1.02;

/// Logarithm of the density of a standard normal number.
fn log_density(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * (2.0 * std::f64::consts::PI).ln()
}

/// Logarithm of the probability that a standard normal number is above z.
fn log_above(z: f64) -> f64 {
    if z < -1.0 {
        return (-log_above(-z).exp()).ln_1p();
    }
    if z <= 1.0 {
        // Half less density(z) (z + z^3 / 3 + z^5 / (3 * 5) + ...), whose terms have one sign.
        let (mut sum, mut term, mut n) = (0.0, z, 1.0);
        while sum + term != sum {
            sum += term;
            n += 2.0;
            term *= z * z / n;
        }
        return (0.5 - log_density(z).exp() * sum).ln();
    }
    // Density times 1 / (z + 1 / (z + 2 / (z + 3 / ...))) (Laplace).
    let mut below = z;
    for n in (1..=(20.0 + 300.0 / z) as usize).rev() {
        below = z + n as f64 / below;
    }
    log_density(z) - below.ln()
}

/// Logarithm of the probability that it lies between the two, which are at least 1 apart.
fn log_between(low: f64, high: f64) -> f64 {
    if low > 0.0 {
        let near = log_above(low);
        return near + (-(log_above(high) - near).exp()).ln_1p();
    }
    if high < 0.0 {
        return log_between(-high, -low);
    }
    (-log_above(high).exp() - log_above(-low).exp()).ln_1p()
}

/// Mean of the clipped pixel, to [`MEAN_ERROR`], and upper bounds of its factors towards smaller and towards larger values.
/// `x` lies in `[0,1]`, `sigma` above 0 and at most 1.
pub fn clipped(x: f64, sigma: f64) -> (f64, [f64; 2]) {
    let (low, high) = (-x / sigma, (1.0 - x) / sigma);
    let (inside, white) = (log_between(low, high).exp(), log_above(high).exp());
    let [at_low, at_high] = [low, high].map(|z| log_density(z).exp());
    let mean = x * inside + sigma * (at_low - at_high) + white;
    let square = (x * x + sigma * sigma) * inside
        + 2.0 * x * sigma * (at_low - at_high)
        + sigma * sigma * (low * at_low - high * at_high)
        + white;
    let variance = (square - mean * mean).max(0.0) + VARIANCE_ERROR;
    // Normal numbers have the factor sigma^2, and so has whatever moves no faster than they do (Gaussian concentration); any
    // number in [0,1] has 1/4 (Hoeffding).
    let most = (sigma * sigma * (1.0 + ERROR)).min(0.25);
    let side = |x: f64, mean: f64| factor(x, mean, variance, sigma, most);
    (mean, [side(x, mean), side(1.0 - x, 1.0 - mean)])
}

/// K(t) from above: logarithms of the three parts of the expectation, below, inside and above `[0,1]`.
fn cumulant(x: f64, mean: f64, sigma: f64, t: f64) -> f64 {
    let (low, high, s) = (-x / sigma, (1.0 - x) / sigma, t * sigma);
    let parts = [log_above(-low), log_between(low + s, high + s) - t * x + 0.5 * s * s, log_above(high) - t];
    let largest = parts.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let rest: f64 = parts.into_iter().map(|p| (p - largest).exp()).sum();
    // Logarithms of tails are as large as squares of what they are tails of.
    let size = 1.0 + t + low * low + (low + s) * (low + s) + s * s;
    largest + rest.ln() + t * mean + ERROR * size
}

/// At least `2 K(t) / t^2` for every `t > 0`, but no more than `most`, which is known to be a factor.
///
/// Up to the start of a grid, `exp(u) <= 1 + u + u^2 / 2 exp(max(u, 0))` with `u = -t (X - m) <= t m`. Between two places K
/// lies below its chord `c + s t`, and `2 (c + s t) / t^2` is largest at an end or at `t = -2 c / s`. Far out `K <= t m`.
fn factor(x: f64, mean: f64, variance: f64, sigma: f64, most: f64) -> f64 {
    let mut t = START / sigma;
    let mut worst = variance * (t * mean).exp() * (1.0 + ERROR);
    let mut k = cumulant(x, mean, sigma, t);
    while worst < most && t * variance < 2.0 * mean {
        let next = t * STEP;
        let k_next = cumulant(x, mean, sigma, next);
        let s = (k_next - k) / (next - t);
        let c = k - s * t;
        let turn = (-2.0 * c / s).clamp(t, next);
        for at in [t, next, if turn.is_finite() { turn } else { t }] {
            worst = worst.max(2.0 * (c + s * at) / (at * at) * (1.0 + ERROR));
        }
        (t, k) = (next, k_next);
    }
    worst.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against mpmath's erfc(z / sqrt 2) / 2 in 40 digits.
    #[test]
    fn tails_are_those_of_the_normal_distribution() {
        for (z, log) in [
            (-5.0, -2.866_516_129_637_636e-7),
            (-1.0, -0.172_753_779_023_449_88),
            (0.0, -std::f64::consts::LN_2),
            (0.5, -1.175_911_761_593_618_6),
            (1.0, -1.841_021_645_009_263_5),
            (1.001, -1.842_547_180_756_077),
            (3.0, -6.607_726_221_510_349),
            (40.0, -804.608_442_013_754_3),
        ] {
            let found = log_above(z);
            assert!((found - log).abs() <= 1e-13 * log.abs(), "{z}: {found} against {log}");
        }
    }

    #[test]
    fn factors_hold_for_the_density_itself() {
        // Midpoint rule.
        let expectation = |x: f64, sigma: f64, f: &dyn Fn(f64) -> f64| -> f64 {
            let step = 18.0 / 100_000.0;
            let z = (0..100_000).map(|i| -9.0 + (f64::from(i) + 0.5) * step);
            z.map(|z| f((x + sigma * z).clamp(0.0, 1.0)) * log_density(z).exp() * step).sum()
        };
        for sigma in [0.01, 0.05, 0.3] {
            for x in [0.0, 0.01, 0.1, 0.5, 0.97, 1.0] {
                let (mean, factors) = clipped(x, sigma);
                assert!((mean - expectation(x, sigma, &|v| v)).abs() < 1e-7, "{x} {sigma}: {mean}");
                for (factor, sign) in factors.into_iter().zip([-1.0, 1.0]) {
                    assert!(factor <= sigma * sigma * 1.000_001);
                    for t in [0.2, 1.0, 2.0, 5.0].map(|t: f64| t / sigma) {
                        let seen = 2.0 / (t * t) * expectation(x, sigma, &|v| (sign * t * (v - mean)).exp()).ln();
                        assert!(factor >= seen * (1.0 - 1e-4), "{x} {sigma} {sign}: {factor} below {seen}");
                    }
                }
            }
        }
        let black = clipped(0.0, 0.03).1;
        assert!(black[0] < 0.36 * 0.0009 && black[1] > 0.9 * 0.0009, "{black:?}");
    }
}
