//! Everything a study measures, as plain data: what `results.json` holds and the report is drawn from.
//!
//! Every field marked with `#[serde(default)]` may stay empty: the report leaves out what was not measured. Classes
//! are numbers everywhere; their names are in [`DataSummary::classes`]. Deltas are in the norm of the study
//! ([`Study::norm`]) with pixels in `[0,1]`, variances are of the Gaussian noise added to such pixels.

pub mod certificate;
mod file;
mod picture;
mod relevance;
mod require;
mod risk;
mod spread;
mod stays;
mod trained;
mod words;

pub use file::write_json;
pub use picture::{Picture, base64};
pub use relevance::{Decided, RelevanceKind, RelevanceMap, RelevanceSummary, Shares};
pub use require::{Judged, Requirement, Requirements};
pub use risk::{RiskRow, SigmaRow};
pub use spread::{Spread, list, quantile, short};
pub use stays::{Change, Photo, Stays};
pub use trained::{Repeat, Trained};
pub use words::{Claim, Conclusion, Figure, Finding, Outcome, Verdict};

use crate::norm::Norm;
pub(crate) use crate::output::write_atomically;
use crate::tensor::Shape;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What data made of our own drawings alone is called.
pub const DRAWN: &str = "procedural shoes";

/// Version of the layout of `results.json`; a reader refuses a newer one.
pub const FORMAT: u32 = 2;

/// One run of the case study: the data, the models, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// [`FORMAT`] of the file.
    pub format: u32,
    /// Heading of the page.
    pub title: String,
    /// The command line that produces these results again.
    pub command: String,
    /// Of everything random.
    pub seed: u64,
    /// What all radii are measured by.
    #[serde(default)]
    pub norm: Norm,
    /// The device in words, e.g. `CPU backend, 2 threads`.
    pub device: String,
    /// Names and versions of the software, e.g. `deltamax` -> `0.1.0`.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Any further settings worth repeating, in words: `epochs` -> `12`.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// When the run began, as text (`2026-11-22 20:55 UTC`).
    #[serde(default)]
    pub started: Option<String>,
    /// Wall-clock seconds of the whole run.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// The images.
    pub dataset: DataSummary,
    /// In the order of the study: the model without augmentation first.
    pub models: Vec<ModelResult>,
    /// Written by the report from the rest.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The published study's claims, re-examined on these results.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// What a model has to reach to be ready, as the user gave it.
    #[serde(default)]
    pub requirements: Requirements,
    /// The rate at which a class is recognised well enough, for the noise up to which it is.
    #[serde(default)]
    pub satisfied: Option<f64>,
    /// Which model to take, written by the report from the rest.
    #[serde(default)]
    pub conclusion: Option<Conclusion>,
}

/// What the images are, with enough pictures to show them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// What the data is called, e.g. `procedural shoes`.
    pub name: String,
    /// Where it came from, in words or as a path.
    #[serde(default)]
    pub source: String,
    /// Shape of one image as the models see it.
    pub shape: Shape,
    /// Names, in the order of labels.
    pub classes: Vec<String>,
    /// Images per class, before augmentation.
    pub train_counts: Vec<usize>,
    /// Test images per class.
    pub test_counts: Vec<usize>,
    /// SHA-256 of the test images and their names.
    #[serde(default)]
    pub test_hash: Option<String>,
    /// Class of every test image, in order.
    #[serde(default)]
    pub test_labels: Vec<usize>,
    /// A few training images of every class.
    #[serde(default)]
    pub samples: Vec<Sample>,
    /// Images beside their augmented variants.
    #[serde(default)]
    pub augmentation: Vec<Augmented>,
    /// Pictures of test images by index: those of [`Study::extremes`], for the thumbnails of the report.
    #[serde(default)]
    pub pictures: BTreeMap<usize, Picture>,
}

impl DataSummary {
    /// Whether the program drew the images: they are called drawings then, not photos.
    pub fn drawn(&self) -> bool {
        self.name == DRAWN
    }
}

impl Default for DataSummary {
    fn default() -> Self {
        DataSummary {
            name: String::new(),
            source: String::new(),
            shape: Shape::flat(0),
            classes: Vec::new(),
            train_counts: Vec::new(),
            test_counts: Vec::new(),
            test_hash: None,
            test_labels: Vec::new(),
            samples: Vec::new(),
            augmentation: Vec::new(),
            pictures: BTreeMap::new(),
        }
    }
}

/// One labelled picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its class.
    pub label: usize,
    /// The image.
    pub picture: Picture,
}

/// An image and what augmentation made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmented {
    /// Its class.
    pub label: usize,
    /// The image before.
    pub original: Picture,
    /// What became of it.
    pub variants: Vec<Variant>,
}

/// One augmented image and the transformation in words (`zoom out 0.8, rotation 12°`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The transformation in words.
    pub what: String,
    /// Its result.
    pub picture: Picture,
}

/// One trained model and everything measured on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelResult {
    /// `no-DA`, `DA-slippers`, `all-DA`, or any other name.
    pub name: String,
    /// The augmentation policy in words.
    #[serde(default)]
    pub policy: String,
    /// Classes that were augmented in training; empty when none was.
    #[serde(default)]
    pub augmented: Vec<usize>,
    /// Training images per class after augmentation.
    #[serde(default)]
    pub train_counts: Vec<usize>,
    /// Number of weights and biases.
    #[serde(default)]
    pub parameters: usize,
    /// The layers in words, e.g. `Conv16(4,s2) Conv32(4,s2) FC100 FC4`.
    #[serde(default)]
    pub architecture: String,
    /// File of the model, relative to the results.
    #[serde(default)]
    pub file: Option<String>,
    /// SHA-256 of that file, in hex.
    #[serde(default)]
    pub hash: Option<String>,
    /// One entry per epoch.
    #[serde(default)]
    pub training: Vec<Epoch>,
    /// Test set under Gaussian noise, by rising variance; variance 0 is the clean test set.
    #[serde(default)]
    pub sweep: Vec<NoiseLevel>,
    /// Stronger noise than that, until accuracy has fallen far enough to show where it breaks; of the first training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<NoiseLevel>,
    /// One row per test image and variance.
    #[serde(default)]
    pub certify: Vec<CertifyRow>,
    /// The example images, the main one first; the same images for every model.
    #[serde(default)]
    pub examples: Vec<Example>,
    /// Where relevance lies over the test set, one per variance and kind.
    #[serde(default)]
    pub relevance: Vec<RelevanceSummary>,
    /// How far some photos of every class may change before they are called something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub photos: Vec<Photo>,
    /// How likely noise is to change what some images of every class are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<RiskRow>,
    /// Wall-clock seconds of its training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Further trainings with other seeds; what stands above is of the first.
    #[serde(default)]
    pub repeats: Vec<Repeat>,
}

/// One epoch of training. Accuracies in `[0,1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy over the training images.
    pub loss: f64,
    /// On the training images, while they were learned from.
    #[serde(default)]
    pub train_accuracy: Option<f64>,
    /// On the test images, afterwards.
    #[serde(default)]
    pub test_accuracy: Option<f64>,
    /// Mean cross-entropy over images held out, by which the best epoch is known; none without such images, and while boxes
    /// grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Half-width of the boxes around the images that were learned from, at the end of the epoch; none without
    /// certified training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Share of the training images whose label won all over their box, by interval bounds, while they were learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_proved: Option<f64>,
}

/// The test set at one noise variance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseLevel {
    /// Of the noise, in squared pixel units.
    pub variance: f64,
    /// Noise draws per image (1 for the clean set).
    pub draws: usize,
    /// `[true class][predicted class]`, images summed over draws.
    pub confusion: Vec<Vec<f64>>,
    /// Accuracy over the draws.
    pub accuracy: Spread,
    /// Per class: share rightly classified, over the draws. May be empty: then taken from `confusion`.
    #[serde(default)]
    pub class_rates: Vec<Spread>,
    /// What every test image was called: `[draw][image]`.
    #[serde(default)]
    pub called: Vec<Vec<usize>>,
}

/// The bracket of one image: stable up to `proved`, broken at `attacked`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CertifyRow {
    /// Index in the test set.
    pub index: usize,
    /// Name of the image.
    #[serde(default)]
    pub file: String,
    /// Its class in the data.
    pub label: usize,
    /// Its class by the network: the one that is proved and attacked.
    pub predicted: usize,
    /// Noise added before certifying; 0 for the clean image.
    #[serde(default)]
    pub variance: f64,
    /// Every image within this distance (in the norm of the run, clipped to `[0,1]`) keeps the predicted class: proved.
    pub proved: f64,
    /// The smallest distance at which an attack changed the class; `None` when no attack succeeded or none was run.
    #[serde(default)]
    pub attacked: Option<f64>,
    /// The class that stops the proof.
    #[serde(default)]
    pub rival_proved: Option<usize>,
    /// The class the attack reached.
    #[serde(default)]
    pub rival_attacked: Option<usize>,
    /// Name of the bounds, with `+branch` where branch and bound widened the radius.
    pub method: String,
    /// Bound evaluations spent.
    #[serde(default)]
    pub passes: usize,
}

/// One image followed through every noise level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Index in the test set.
    pub index: usize,
    /// Name of the image.
    #[serde(default)]
    pub file: String,
    /// Its class in the data.
    pub label: usize,
    /// By rising variance, the clean image first.
    pub levels: Vec<ExampleLevel>,
}

/// The example image at one noise level. Vectors indexed by class have one entry per class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExampleLevel {
    /// Of the noise.
    pub variance: f64,
    /// The noisy photo.
    pub picture: Picture,
    /// The class of the noisy photo.
    pub predicted: usize,
    /// Logits at the image itself.
    pub logits: Vec<f64>,
    /// Radius of the ball of the dominance picture.
    pub delta: f64,
    /// `[low, high]` of every logit over that ball.
    pub logit_bounds: Vec<[f64; 2]>,
    /// `[low, high]` of every softmax score over that ball.
    #[serde(default)]
    pub score_bounds: Vec<[f64; 2]>,
    /// Proved lower bounds of `logit(predicted) - logit(rival)` over that ball, per rival and method.
    #[serde(default)]
    pub margins: Vec<Margin>,
    /// Whether the predicted class is proved to stay first over the ball.
    pub dominant: bool,
    /// Delta max of this image: proved end and, where an attack succeeded, the attacked end.
    #[serde(default)]
    pub proved: Option<f64>,
    /// The attacked end.
    #[serde(default)]
    pub attacked: Option<f64>,
    /// Score intervals as delta grows.
    #[serde(default)]
    pub continuous: Vec<ScorePoint>,
    /// One map per kind.
    #[serde(default)]
    pub relevance: Vec<RelevanceMap>,
    /// How far the photo may change, where that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stays>,
}

/// A proved pairwise margin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// The other class.
    pub rival: usize,
    /// Name of the bounds.
    pub method: String,
    /// Lower bound; positive proves that the rival never wins.
    pub lower: f64,
}

/// Score intervals at one delta.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorePoint {
    /// Radius of the ball.
    pub delta: f64,
    /// `[low, high]` softmax score per class.
    pub scores: Vec<[f64; 2]>,
    /// Proved lower bounds of `logit(predicted) - logit(class)` per class; 0 for the predicted one. Results of earlier
    /// versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub margins: Vec<f64>,
}

impl NoiseLevel {
    /// Share of `class` rightly classified, over all draws; `None` for a class without images.
    pub fn class_rate(&self, class: usize) -> Option<f64> {
        let row = self.confusion.get(class)?;
        let total: f64 = row.iter().sum();
        (total > 0.0).then(|| row.get(class).copied().unwrap_or(0.0) / total)
    }

    /// The class that all images are called, if they are of several classes and it is one for all.
    pub fn only_answer(&self) -> Option<usize> {
        let classes = self.confusion.iter().filter(|row| row.iter().any(|n| *n > 0.0)).count();
        let called = |to: usize| self.confusion.iter().any(|row| row.get(to).is_some_and(|n| *n > 0.0));
        let mut answers = (0..self.confusion.len()).filter(|&to| called(to));
        let only = answers.next().filter(|_| classes > 1)?;
        answers.next().is_none().then_some(only)
    }

    /// Share of images of class `from` that are called `to`.
    pub fn share(&self, from: usize, to: usize) -> f64 {
        let Some(row) = self.confusion.get(from) else { return 0.0 };
        let total: f64 = row.iter().sum();
        if total > 0.0 { row.get(to).copied().unwrap_or(0.0) / total } else { 0.0 }
    }
}

impl ModelResult {
    /// The rows certified at `variance`.
    pub fn rows_at(&self, variance: f64) -> impl Iterator<Item = &CertifyRow> + Clone {
        self.certify.iter().filter(move |r| r.variance == variance)
    }

    /// The variances at which test images were certified, rising.
    pub fn certified_variances(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self.certify.iter().map(|r| r.variance).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        all
    }

    /// Accuracy on the clean test set, where it was measured.
    pub fn clean_accuracy(&self) -> Option<f64> {
        self.sweep.iter().find(|l| l.variance == 0.0).map(|l| l.accuracy.mean)
    }
}

impl Study {
    /// Indices of the `count` weakest and `count` strongest clean test images of every model, by proved delta max:
    /// the images whose pictures belong in [`DataSummary::pictures`].
    pub fn extremes(&self, count: usize) -> BTreeSet<usize> {
        let mut picked = BTreeSet::new();
        for model in &self.models {
            let (weak, strong) = extremes(model, count);
            picked.extend(weak.into_iter().chain(strong).map(|r| r.index));
        }
        picked
    }
}

/// The `count` weakest (rising) and strongest (falling) clean images of a model, rightly classified ones only.
pub fn extremes(model: &ModelResult, count: usize) -> (Vec<&CertifyRow>, Vec<&CertifyRow>) {
    let mut rows: Vec<&CertifyRow> = model.rows_at(0.0).filter(|r| r.label == r.predicted).collect();
    rows.sort_by(|a, b| a.proved.total_cmp(&b.proved).then(a.index.cmp(&b.index)));
    let weak: Vec<_> = rows.iter().take(count).copied().collect();
    let strong = rows.iter().skip(weak.len()).rev().take(count).copied().collect();
    (weak, strong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: usize, proved: f64, label: usize) -> CertifyRow {
        CertifyRow { index, label, predicted: 0, proved, method: "ibp".into(), ..Default::default() }
    }

    #[test]
    fn extremes_are_disjoint_and_rightly_classified() {
        let certify = vec![row(0, 0.3, 0), row(1, 0.1, 0), row(2, 0.0, 1), row(3, 0.2, 0)];
        let model = ModelResult { certify, ..Default::default() };
        let (weak, strong) = extremes(&model, 2);
        assert_eq!(weak.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(strong.iter().map(|r| r.index).collect::<Vec<_>>(), [0]);
    }
}
