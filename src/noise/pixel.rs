//! One pixel under Gaussian noise, clipped to what pixels can be: its mean, and how fast its tails fall.

use statrs::function::erf::erfc;

/// The clipped pixel `X = min(max(x + sigma z, 0), 1)`, z standard normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clipped {
    /// Of X, to [`MEAN_ERROR`].
    pub mean: f64,
    /// Upper bounds of the sub-Gaussian factors of both sides:
    /// `E exp(-t (X - mean)) <= exp(t^2 fall / 2)` and `E exp(t (X - mean)) <= exp(t^2 rise / 2)` for all `t >= 0`.
    pub fall: f64,
    /// See [`fall`](Self::fall).
    pub rise: f64,
}

/// What means may be off by: f64 rounding of a few operations on numbers below 2.
pub const MEAN_ERROR: f64 = 1e-12;

/// What an expectation of numbers up to `e^700` may be off by, relatively, and absolutely beside one.
const ERROR: f64 = 1e-12;

/// Grid of [`factor`]: smallest and next `t`, in units of 1/sigma and as a ratio.
const FIRST: f64 = 0.02;
const RATIO: f64 = 1.05;

fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Probability that a standard normal number is above z.
fn above(z: f64) -> f64 {
    0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Probability that it is between the two.
fn between(low: f64, high: f64) -> f64 {
    // Differences of small tails, not of numbers near one.
    if low > 0.0 { above(low) - above(high) } else { above(-high) - above(-low) }
}

impl Clipped {
    /// `x` in `[0,1]`, `sigma` above 0.
    pub fn new(x: f64, sigma: f64) -> Clipped {
        let (low, high) = (-x / sigma, (1.0 - x) / sigma);
        let inside = between(low, high);
        let mean = x * inside + sigma * (density(low) - density(high)) + above(high);
        let square = (x * x + sigma * sigma) * inside
            + 2.0 * x * sigma * (density(low) - density(high))
            + sigma * sigma * (low * density(low) - high * density(high))
            + above(high);
        let variance = (square - mean * mean).max(0.0) + ERROR;
        // Clipping brings points no farther apart, so that sigma^2 always serves (Gaussian concentration), as does 1/4 for
        // whatever lies in [0,1] (Hoeffding).
        let most = (sigma * sigma).min(0.25);
        let fall = factor(x, mean, variance, sigma).min(most);
        let rise = factor(1.0 - x, 1.0 - mean, variance, sigma).min(most);
        Clipped { mean, fall, rise }
    }
}

/// Logarithm of `E exp(-t (X - mean))`, from above.
fn cumulant(x: f64, mean: f64, sigma: f64, t: f64) -> f64 {
    let (low, high) = (-x / sigma, (1.0 - x) / sigma);
    let shift = t * sigma;
    // Completing the square; in logarithms, for the factor may be beyond f64 where its probability is below.
    let middle = between(low + shift, high + shift).ln() - t * x + 0.5 * shift * shift;
    let parts = [above(-low).ln(), middle, above(high).ln() - t];
    let largest = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = parts.iter().map(|p| (p - largest).exp()).sum();
    largest + sum.ln() + t * mean + ERROR * (1.0 + t + largest.abs())
}

/// Upper bound of `2 / t^2 log E exp(-t (X - mean))` over all `t > 0`.
///
/// The logarithm K is convex with `K(0) = 0`. Up to the first t of a grid, `exp(u) <= 1 + u + u^2/2 exp(max(u, 0))` with
/// `u = -t (X - mean) <= t mean` gives `variance exp(t mean)`. Between two t of the grid K lies below its chord, whose
/// quotient by t^2 is greatest at an end or where its derivative vanishes. From `2 mean / variance` on, `K <= t mean` gives
/// less than the variance.
fn factor(x: f64, mean: f64, variance: f64, sigma: f64) -> f64 {
    let first = FIRST / sigma;
    let mut worst = variance * (first * mean).exp();
    let last = 2.0 * mean / variance;
    let (mut t, mut k) = (first, cumulant(x, mean, sigma, first));
    while t < last {
        let next = t * RATIO;
        let k_next = cumulant(x, mean, sigma, next);
        let slope = (k_next - k) / (next - t);
        let intercept = k - slope * t;
        let quotient = |t: f64| 2.0 * (intercept + slope * t) / (t * t);
        worst = worst.max(quotient(t)).max(quotient(next));
        let turn = -2.0 * intercept / slope;
        if turn > t && turn < next {
            worst = worst.max(quotient(turn));
        }
        // Nothing beyond would be taken.
        if worst >= sigma * sigma {
            return worst;
        }
        (t, k) = (next, k_next);
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Midpoint rule over the density, ends apart.
    fn expectation(x: f64, sigma: f64, f: impl Fn(f64) -> f64) -> f64 {
        let n = 200_000;
        let (low, high) = (-9.0, 9.0);
        let step = (high - low) / f64::from(n);
        (0..n)
            .map(|i| {
                let z = low + (f64::from(i) + 0.5) * step;
                f((x + sigma * z).clamp(0.0, 1.0)) * density(z) * step
            })
            .sum()
    }

    #[test]
    fn means_and_factors_are_those_of_the_clipped_pixel() {
        for sigma in [0.01, 0.0316, 0.1, 0.3] {
            for x in [0.0, 0.004, 0.02, 0.1, 0.5, 0.97, 1.0] {
                let c = Clipped::new(x, sigma);
                let mean = expectation(x, sigma, |v| v);
                assert!((c.mean - mean).abs() < 1e-7, "{x} {sigma}: {} {mean}", c.mean);
                for (side, sign) in [(c.fall, -1.0), (c.rise, 1.0)] {
                    let quotient =
                        |t: f64| 2.0 / (t * t) * expectation(x, sigma, |v| (sign * t * (v - mean)).exp()).ln();
                    let seen = [0.3, 1.0, 2.0, 4.0].map(|t| quotient(t / sigma)).into_iter().fold(0.0, f64::max);
                    assert!(side >= seen * (1.0 - 1e-4), "{x} {sigma} {sign}: {side} below {seen}");
                    assert!(side <= sigma * sigma);
                }
            }
        }
        // A black pixel cannot fall below zero: its lower tail is hardly heavier than its variance, a third of sigma^2.
        let black = Clipped::new(0.0, 0.03);
        assert!(black.fall < 0.36 * 0.0009 && black.rise > 0.9 * 0.0009, "{black:?}");
        assert_eq!(Clipped::new(0.5, 0.03).fall, 0.0009);
    }
}
