//! The comparison itself: two sides measured on the same images, each by one or more trainings.

use crate::results::quantile;
use crate::rng::Rng;
use serde::Serialize;
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

/// What is compared of a side: this figure over the images, averaged over the trainings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Mean,
    Median,
}

/// What a comparison found. Nothing else may be said of a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Paired {
    /// The figure of either side.
    pub figures: [f64; 2],
    /// The first minus the second.
    pub effect: f64,
    /// 95 % interval of the effect, for this comparison alone.
    pub interval: [f64; 2],
    /// Chance of a difference this clear where there is none, for this comparison alone.
    pub p: f64,
    /// Images in pairs, and those among them on which the sides differ.
    pub images: usize,
    pub differing: usize,
    /// Trainings of either side.
    pub trainings: [usize; 2],
}

/// Compares two sides, each `[training][image]`, on the same images. Two tests have to agree, and the larger p counts:
///
/// - a sign test over images, each with one vote; for a single training and answers right or wrong it is McNemar's exact
///   test (McNemar 1947). It needs no assumption, and a handful of images cannot pass it.
/// - a t test (Welch 1947) of the effect. Its variance is that of drawing other images (in pairs: of the mean difference, or
///   of the difference of medians by bootstrap, Efron 1979) plus that of training again with other seeds.
///
/// `same` says that training k of one side is training k of the other, as for one model clean and under noise. `None`
/// without images or trainings.
pub fn paired(first: &[Vec<f64>], second: &[Vec<f64>], over: Over, same: bool, seed: u64) -> Option<Paired> {
    let images = first.iter().chain(second).map(Vec::len).min().filter(|&n| n > 0)?;
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let figure = |values: &[f64]| match over {
        Over::Mean => mean(values),
        Over::Median => median(values.to_vec()),
    };
    let [a, b] = [first, second].map(|side| side.iter().map(|v| figure(v)).collect::<Vec<f64>>());
    let figures = [mean(&a), mean(&b)];
    let average = |side: &[Vec<f64>], i: usize| side.iter().map(|v| v[i]).sum::<f64>() / side.len() as f64;
    let differences: Vec<f64> = (0..images).map(|i| average(first, i) - average(second, i)).collect();

    // (variance, degrees of freedom) of each source of chance.
    let of_images = match over {
        Over::Mean => variance(&differences) / images as f64,
        Over::Median => bootstrap(images, seed, |pick| {
            let of = |side: &[Vec<f64>]| {
                mean(&side.iter().map(|v| median(pick.iter().map(|&i| v[i]).collect())).collect::<Vec<_>>())
            };
            of(first) - of(second)
        }),
    };
    let mut sources = vec![(of_images, images as f64 - 1.0)];
    let mut trained =
        |figures: &[f64]| sources.push((variance(figures) / figures.len() as f64, figures.len() as f64 - 1.0));
    if same {
        trained(&a.iter().zip(&b).map(|(a, b)| a - b).collect::<Vec<_>>());
    } else {
        trained(&a);
        trained(&b);
    }

    let effect = figures[0] - figures[1];
    let wins = differences.iter().filter(|d| **d > 0.0).count();
    let losses = differences.iter().filter(|d| **d < 0.0).count();
    let (by_t, half) = student(effect, &sources);
    Some(Paired {
        figures,
        effect,
        interval: [effect - half, effect + half],
        p: by_t.max(sign(if effect > 0.0 { [wins, losses] } else { [losses, wins] })),
        images,
        differing: wins + losses,
        trainings: [first.len(), second.len()],
    })
}

/// Two-sided p of the effect, and half the width of its 95 % interval. Degrees of freedom by Welch and Satterthwaite.
fn student(effect: f64, sources: &[(f64, f64)]) -> (f64, f64) {
    let total: f64 = sources.iter().map(|s| s.0).sum();
    if total.is_nan() || total <= 0.0 {
        return (if effect == 0.0 { 1.0 } else { 0.0 }, 0.0);
    }
    let shares: f64 = sources.iter().filter(|s| s.0 > 0.0).map(|(v, freedom)| v * v / freedom).sum();
    let Ok(t) = StudentsT::new(0.0, 1.0, (total * total / shares).clamp(1.0, 1e6)) else { return (1.0, f64::INFINITY) };
    let error = total.sqrt();
    ((2.0 * t.cdf(-(effect / error).abs())).min(1.0), t.inverse_cdf(0.975) * error)
}

/// Two-sided p of `[for, against]` votes; 1 where the votes go against the effect, or are none.
fn sign([with, against]: [usize; 2]) -> f64 {
    let votes = (with + against) as u64;
    if with <= against {
        return 1.0;
    }
    Binomial::new(0.5, votes).map_or(1.0, |b| (2.0 * b.cdf(against as u64)).min(1.0))
}

/// Variance of a figure over images drawn again with replacement.
fn bootstrap(images: usize, seed: u64, figure: impl Fn(&[usize]) -> f64) -> f64 {
    // Fewer resamples of large sets keep this well under a second; the error of their variance is a few percent.
    let resamples = (2_000_000 / images).clamp(200, 1000);
    let mut rng = Rng::new(seed, 0xB007);
    let mut pick = vec![0; images];
    let all: Vec<f64> = (0..resamples)
        .map(|_| {
            pick.iter_mut().for_each(|p| *p = rng.below(images));
            figure(&pick)
        })
        .collect();
    variance(&all)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Unbiased; 0 for a single value, of which none is known.
fn variance(values: &[f64]) -> f64 {
    let middle = mean(values);
    values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    quantile(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 where the image is right.
    fn answers(n: usize, right: impl Fn(usize) -> bool) -> Vec<f64> {
        (0..n).map(|i| f64::from(u8::from(right(i)))).collect()
    }

    #[test]
    fn single_answers_are_judged_by_mcnemars_exact_test() {
        let [a, b] = [answers(400, |i| i >= 3), answers(400, |i| i < 390)];
        // 10 images only a has right, 3 only b: two-sided binomial 2 * P(X <= 3 of 13).
        let found = paired(&[a], &[b], Over::Mean, false, 0).unwrap();
        assert!((found.p - 0.092_285).abs() < 1e-5, "{found:?}");
        assert_eq!((found.images, found.differing), (400, 13));
        assert!((found.effect - 7.0 / 400.0).abs() < 1e-12 && found.interval[0] < 0.0, "{found:?}");
    }

    #[test]
    fn a_handful_of_images_shows_nothing_and_equal_sides_have_no_difference() {
        for n in 1..6 {
            let found = paired(&[vec![1.0; n]], &[vec![0.0; n]], Over::Mean, false, 0).unwrap();
            assert!(found.p > 0.05, "{n}: {found:?}");
        }
        let radii: Vec<f64> = (0..50).map(|i| f64::from(i) * 1e-3).collect();
        for over in [Over::Mean, Over::Median] {
            let found = paired(std::slice::from_ref(&radii), std::slice::from_ref(&radii), over, false, 0).unwrap();
            assert_eq!((found.effect, found.p, found.interval, found.differing), (0.0, 1.0, [0.0; 2], 0));
        }
        assert_eq!(paired(&[], &[radii], Over::Mean, false, 0), None);
        assert_eq!(paired(&[vec![]], &[vec![]], Over::Mean, false, 0), None);
    }

    #[test]
    fn radii_larger_on_all_images_are_clear_unless_trainings_scatter_as_much() {
        let radii = |scale: f64| -> Vec<f64> { (0..200).map(|i| scale * (0.01 + f64::from(i) * 1e-4)).collect() };
        let clear = paired(&[radii(1.1)], &[radii(1.0)], Over::Median, false, 3).unwrap();
        assert!(clear.p < 1e-3 && clear.interval[0] > 0.0, "{clear:?}");
        assert_eq!(clear, paired(&[radii(1.1)], &[radii(1.0)], Over::Median, false, 3).unwrap());
        let [first, second] = [[1.1, 0.9, 1.3], [1.0, 1.2, 0.8]].map(|s| s.map(radii).to_vec());
        let scattered = paired(&first, &second, Over::Median, false, 3).unwrap();
        assert!(scattered.p > 0.05 && scattered.interval[0] < 0.0 && scattered.effect > 0.0, "{scattered:?}");
        // The same three trainings, each a little better under the first condition than under the second.
        let better: Vec<Vec<f64>> = [1.1, 1.3, 0.9].map(|s| radii(s * 1.05)).to_vec();
        let base: Vec<Vec<f64>> = [1.1, 1.3, 0.9].map(radii).to_vec();
        assert!(paired(&better, &base, Over::Median, true, 3).unwrap().p < 0.05);
        assert!(paired(&better, &base, Over::Median, false, 3).unwrap().p > 0.05);
    }

    #[test]
    fn among_equal_models_few_comparisons_come_out_as_clear() {
        let mut rng = Rng::new(1, 1);
        let mut sides = || -> Vec<Vec<f64>> {
            (0..3).map(|_| (0..60).map(|_| f64::from(u8::from(rng.uniform() < 0.8))).collect()).collect()
        };
        let hits =
            (0..400).filter(|&seed| paired(&sides(), &sides(), Over::Mean, false, seed).unwrap().p < 0.05).count();
        assert!(hits <= 20, "{hits} of 400");
    }
}
