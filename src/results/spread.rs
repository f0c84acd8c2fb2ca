//! A measured figure with its spread.

use serde::{Deserialize, Serialize};

/// Mean, standard deviation and the 5 % and 95 % quantiles of repeated measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of a sample (n - 1).
    pub deviation: f64,
    /// Quantile 5 %.
    pub low: f64,
    /// Quantile 95 %.
    pub high: f64,
}

impl Spread {
    /// Of the values given; all zero for none.
    pub fn of(values: &[f64]) -> Spread {
        if values.is_empty() {
            return Spread::default();
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Spread {
            mean,
            deviation: (square / (n - 1.0).max(1.0)).sqrt(),
            low: quantile(&sorted, 0.05),
            high: quantile(&sorted, 0.95),
        }
    }

    /// A single measurement: no spread.
    pub fn exact(value: f64) -> Spread {
        Spread { mean: value, deviation: 0.0, low: value, high: value }
    }
}

/// A number for people and file names: in powers of ten where its digits would fill a line.
pub fn short(value: f64) -> String {
    let plain = value.to_string();
    if plain.len() > 20 { format!("{value:e}") } else { plain }
}

/// Numbers as [`short`] has them, as flags take them.
pub fn list(values: &[f64]) -> String {
    values.iter().map(|v| short(*v)).collect::<Vec<_>>().join(",")
}

/// Quantile `q` of values in rising order, linear between neighbours; NaN for none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    let t = at - below as f64;
    if t == 0.0 { sorted[below] } else { sorted[below] * (1.0 - t) + sorted[above] * t }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_one_to_five() {
        let s = Spread::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((s.mean, s.high), (3.0, 4.8));
        assert!((s.low - 1.2).abs() < 1e-12);
        assert!((s.deviation - 2.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(&[2.0]), Spread::exact(2.0));
    }

    #[test]
    fn long_numbers_are_cut_short_and_read_back() {
        for (value, text) in [(0.0, "0"), (0.001, "0.001"), (0.1 + 0.2, "0.30000000000000004"), (1e-300, "1e-300")] {
            assert_eq!(short(value), text);
            assert_eq!(text.parse(), Ok(value));
        }
    }

    #[test]
    fn quantiles_of_infinite_values_are_not_nan() {
        assert_eq!(quantile(&[1.0, f64::INFINITY], 0.0), 1.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
