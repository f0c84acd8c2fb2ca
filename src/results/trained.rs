//! The trainings of one model: the one shown, and its repeats with other seeds.

use super::{CertifyRow, Epoch, ModelResult, NoiseLevel, RelevanceSummary, Spread};
use serde::{Deserialize, Serialize};

/// A further training of the same policy with another seed. Everything else is as in [`ModelResult`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Seed of the training.
    pub seed: u64,
    /// Its ONNX file, below the folder of the study.
    #[serde(default)]
    pub file: Option<String>,
    /// SHA-256 of that file, in hex.
    #[serde(default)]
    pub hash: Option<String>,
    /// One entry per epoch.
    #[serde(default)]
    pub training: Vec<Epoch>,
    /// Accuracy by noise level.
    #[serde(default)]
    pub sweep: Vec<NoiseLevel>,
    /// Brackets of delta max, in pixel units.
    #[serde(default)]
    pub certify: Vec<CertifyRow>,
    /// Where relevance lies.
    #[serde(default)]
    pub relevance: Vec<RelevanceSummary>,
    /// Wall-clock seconds that it learned for.
    #[serde(default)]
    pub seconds: Option<f64>,
}

/// One training of a model, whichever it is.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// Its ONNX file, below the folder of the study.
    pub file: Option<&'a str>,
    /// SHA-256 of that file, in hex.
    pub hash: Option<&'a str>,
    /// One entry per epoch.
    pub training: &'a [Epoch],
    /// Accuracy by noise level.
    pub sweep: &'a [NoiseLevel],
    /// Brackets of delta max, in pixel units.
    pub certify: &'a [CertifyRow],
    /// Where relevance lies.
    pub relevance: &'a [RelevanceSummary],
    /// Wall-clock seconds that it learned for.
    pub seconds: Option<f64>,
}

impl<'a> Trained<'a> {
    /// The rows certified at `variance`.
    pub fn rows_at(&self, variance: f64) -> impl Iterator<Item = &'a CertifyRow> + Clone + use<'a> {
        self.certify.iter().filter(move |r| r.variance == variance)
    }
}

impl ModelResult {
    /// Every training, the one shown first.
    pub fn trained(&self) -> impl Iterator<Item = Trained<'_>> + Clone {
        let first = Trained {
            file: self.file.as_deref(),
            hash: self.hash.as_deref(),
            training: &self.training,
            sweep: &self.sweep,
            certify: &self.certify,
            relevance: &self.relevance,
            seconds: self.seconds,
        };
        let further = self.repeats.iter().map(|r| Trained {
            file: r.file.as_deref(),
            hash: r.hash.as_deref(),
            training: &r.training,
            sweep: &r.sweep,
            certify: &r.certify,
            relevance: &r.relevance,
            seconds: r.seconds,
        });
        std::iter::once(first).chain(further)
    }

    /// The rows of all trainings certified at `variance`.
    pub fn all_rows_at(&self, variance: f64) -> impl Iterator<Item = &CertifyRow> + Clone {
        self.trained().flat_map(move |t| t.rows_at(variance))
    }

    /// The sweep over all trainings: counts summed, rates averaged, their spread over draws and trainings.
    pub fn levels(&self) -> Vec<NoiseLevel> {
        let same = |level: &NoiseLevel| -> Vec<&NoiseLevel> {
            self.trained().filter_map(|t| t.sweep.iter().find(|l| l.variance == level.variance)).collect()
        };
        self.sweep.iter().map(|level| pooled(&same(level))).collect()
    }
}

/// One level as several trainings measured it. What each image was called stays with the trainings.
fn pooled(levels: &[&NoiseLevel]) -> NoiseLevel {
    let [first, rest @ ..] = levels else { return NoiseLevel::default() };
    let mut whole = NoiseLevel { called: Vec::new(), ..(*first).clone() };
    for level in rest {
        whole.draws += level.draws;
        for (sums, counts) in whole.confusion.iter_mut().zip(&level.confusion) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    whole.accuracy = spread(&levels.iter().map(|l| l.accuracy).collect::<Vec<_>>());
    let rates =
        |class: usize| -> Vec<Spread> { levels.iter().filter_map(|l| l.class_rates.get(class).copied()).collect() };
    whole.class_rates = (0..first.class_rates.len()).map(|class| spread(&rates(class))).collect();
    whole
}

/// Spreads of the trainings as one: from the lowest to the highest.
fn spread(each: &[Spread]) -> Spread {
    let [one] = each else {
        let means = Spread::of(&each.iter().map(|s| s.mean).collect::<Vec<_>>());
        let low = each.iter().map(|s| s.low).fold(f64::INFINITY, f64::min);
        let high = each.iter().map(|s| s.high).fold(f64::NEG_INFINITY, f64::max);
        return if each.is_empty() { Spread::default() } else { Spread { low, high, ..means } };
    };
    *one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(right: f64, total: f64) -> NoiseLevel {
        NoiseLevel {
            variance: 0.01,
            draws: 2,
            confusion: vec![vec![right, total - right]],
            accuracy: Spread::of(&[right / total, right / total - 0.1]),
            ..NoiseLevel::default()
        }
    }

    #[test]
    fn trainings_are_pooled_and_their_spread_kept() {
        let repeat = Repeat { sweep: vec![level(6.0, 10.0)], ..Repeat::default() };
        let model = ModelResult { sweep: vec![level(8.0, 10.0)], repeats: vec![repeat], ..ModelResult::default() };
        let pooled = &model.levels()[0];
        assert_eq!((pooled.draws, &pooled.confusion), (4, &vec![vec![14.0, 6.0]]));
        assert!((pooled.accuracy.mean - 0.65).abs() < 1e-12, "{:?}", pooled.accuracy);
        assert!(pooled.accuracy.low < 0.51 && pooled.accuracy.high > 0.79, "{:?}", pooled.accuracy);
        let alone = ModelResult { repeats: vec![], ..model };
        assert_eq!(alone.levels(), alone.sweep);
    }
}
