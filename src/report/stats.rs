//! The few statistics the report needs.

use crate::results::{CertifyRow, quantile};
use crate::rng::Rng;
use std::collections::BTreeMap;

/// Proved radii of the images in both sets of rows.
pub fn proved_pairs<'a>(
    a: impl Iterator<Item = &'a CertifyRow>,
    b: impl Iterator<Item = &'a CertifyRow>,
) -> Vec<[f64; 2]> {
    pairs(a, b).iter().map(|pair| pair.map(|r| r.proved)).collect()
}

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

/// 95 % bootstrap interval of the median of `values`.
pub fn bootstrap_median(values: &[f64], seed: u64) -> [f64; 2] {
    bootstrap(values.len(), seed, |pick| median_of(pick.iter().map(|&i| values[i]).collect()))
}

/// 95 % bootstrap interval of `median(first) / median(second)`, drawn in pairs.
pub fn bootstrap_ratio(pairs: &[[f64; 2]], seed: u64) -> Option<[f64; 2]> {
    let interval = bootstrap(pairs.len(), seed, |pick| {
        let median = |side: usize| median_of(pick.iter().map(|&i| pairs[i][side]).collect());
        median(0) / median(1)
    });
    interval.iter().all(|v| v.is_finite()).then_some(interval)
}

/// Rows of the same image.
pub fn pairs<'a>(
    a: impl Iterator<Item = &'a CertifyRow>,
    b: impl Iterator<Item = &'a CertifyRow>,
) -> Vec<[&'a CertifyRow; 2]> {
    let theirs: BTreeMap<usize, &CertifyRow> = b.map(|r| (r.index, r)).collect();
    a.filter_map(|r| Some([r, *theirs.get(&r.index)?])).collect()
}

/// 95 % bootstrap interval of `median(first) - median(second)`, drawn in pairs.
pub fn bootstrap_difference(pairs: &[[f64; 2]], seed: u64) -> [f64; 2] {
    bootstrap(pairs.len(), seed, |pick| {
        let median = |side: usize| median_of(pick.iter().map(|&i| pairs[i][side]).collect());
        median(0) - median(1)
    })
}

fn bootstrap(n: usize, seed: u64, figure: impl Fn(&[usize]) -> f64) -> [f64; 2] {
    if n == 0 {
        return [f64::NAN; 2];
    }
    // Fewer resamples of large sets, whose intervals are narrow anyway, keep this well under a second.
    let resamples = (4_000_000 / n).clamp(200, 1000);
    let mut rng = Rng::new(seed, 0xB007);
    let mut pick = vec![0; n];
    let all = sorted((0..resamples).map(|_| {
        pick.iter_mut().for_each(|p| *p = rng.below(n));
        figure(&pick)
    }));
    [quantile(&all, 0.025), quantile(&all, 0.975)]
}

fn median_of(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survival_falls_from_one_to_zero() {
        let rising = [0.1, 0.2, 0.3, 0.4];
        let s = survival(&rising, 4, 0.5, 5);
        assert_eq!(s[0][1], 1.0);
        assert_eq!(s[5][1], 0.0);
        assert_eq!(share_at_least(&rising, 0.3, 8), 0.25);
    }

    #[test]
    fn the_bootstrap_interval_holds_the_median() {
        let values: Vec<f64> = (0..501).map(f64::from).collect();
        let [low, high] = bootstrap_median(&values, 1);
        assert!(low > 200.0 && low < 250.0 && high > 250.0 && high < 300.0, "{low} {high}");
        assert_eq!(bootstrap_median(&values, 1), [low, high]);
    }
}
