//! Figures that describe one set of values.

use crate::results::{CertifyRow, quantile};

/// Values in rising order.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Median; NaN for none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// Of levels `[noise, rate]` by rising noise: the last before the rate falls below `least`, and the one where it does.
pub fn falls_below(levels: impl Iterator<Item = [f64; 2]>, least: f64) -> [Option<f64>; 2] {
    let mut last = None;
    for [noise, rate] in levels {
        if rate < least {
            return [last, Some(noise)];
        }
        last = Some(noise);
    }
    [last, None]
}

/// The share of `total` values (given in rising order; the rest count as below) that are at least `at`.
pub fn share_at_least(rising: &[f64], at: f64, total: usize) -> f64 {
    let below = rising.partition_point(|&v| v < at);
    (rising.len() - below) as f64 / total.max(1) as f64
}

/// `[x, share of values at least x]` on `points` evenly spaced x in `[0, max]`.
pub fn survival(rising: &[f64], total: usize, max: f64, points: usize) -> Vec<[f64; 2]> {
    (0..=points)
        .map(|i| {
            let x = max * i as f64 / points as f64;
            [x, share_at_least(rising, x, total)]
        })
        .collect()
}

/// Proved and attacked radii of the rightly classified images, rising; an image no attack broke counts as infinite.
pub fn right_radii<'a>(rows: impl Iterator<Item = &'a CertifyRow> + Clone) -> (Vec<f64>, Vec<f64>) {
    let right = rows.filter(|r| r.label == r.predicted);
    let proved = sorted(right.clone().map(|r| r.proved));
    (proved, sorted(right.map(|r| r.attacked.unwrap_or(f64::INFINITY))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_falls_below_once() {
        let levels = |rates: [f64; 3]| [0.0, 0.1, 0.2].into_iter().zip(rates).map(|(n, r)| [n, r]);
        assert_eq!(falls_below(levels([0.99, 0.9, 0.95]), 0.9), [Some(0.2), None]);
        assert_eq!(falls_below(levels([0.99, 0.89, 0.95]), 0.9), [Some(0.0), Some(0.1)]);
        assert_eq!(falls_below(levels([0.5, 0.9, 0.9]), 0.9), [None, Some(0.0)]);
    }

    #[test]
    fn survival_falls_from_one_to_zero() {
        let rising = [0.1, 0.2, 0.3, 0.4];
        let s = survival(&rising, 4, 0.5, 5);
        assert_eq!(s[0][1], 1.0);
        assert_eq!(s[5][1], 0.0);
        assert_eq!(share_at_least(&rising, 0.3, 8), 0.25);
    }
}
