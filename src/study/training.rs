//! One training by one recipe, from its images to its figures.

use std::path::Path;
use std::time::Instant;

use super::measure::{self, Measured, measure};
use super::{Recipe, Settings};
use crate::dataset::augment::{self, Policy};
use crate::dataset::{Dataset, Splits};
use crate::device::Device;
use crate::error::Result;
use crate::model::onnx;
use crate::network::Network;
use crate::progress::Progress;
use crate::results::{Epoch, ModelResult, Repeat};
use crate::train;

/// One training by one recipe.
pub struct Training<'a> {
    pub device: &'a Device,
    pub splits: &'a Splits,
    pub settings: &'a Settings,
    pub dir: &'a Path,
    pub recipe: &'a Recipe,
    /// Which of how many recipes, counted from 0.
    pub place: [usize; 2],
    /// Counted from 0, the one that the page shows.
    pub nth: usize,
}

impl Training<'_> {
    /// For people: `model 3 of 3 (all-DA), training 2 of 3`.
    fn label(&self) -> String {
        let model = measure::label(&self.recipe.name, self.place);
        match self.settings.repeats {
            1 => model,
            n => format!("{model}, training {} of {n}", self.nth + 1),
        }
    }

    /// Trainings that come after this one.
    fn further(&self) -> usize {
        let [k, recipes] = self.place;
        recipes * self.settings.repeats - (self.nth * recipes + k) - 1
    }

    /// Far from the seeds that people give, so that studies of neighbouring seeds have no training in common.
    fn seed(&self) -> u64 {
        self.settings.seed.wrapping_add(1_000_003 * self.nth as u64)
    }

    /// How it is trained, for people.
    fn policy(&self) -> String {
        let Recipe { policy, train, .. } = self.recipe;
        let images = match policy {
            Policy::None => "no augmentation".to_string(),
            Policy::Classes(_) => format!("augmented: {}", policy.describe(&self.splits.train.classes)),
            Policy::All => "all classes augmented".into(),
        };
        match &train.certified {
            Some(c) => format!("certified training in boxes up to {:.2}/255; {images}", 255.0 * c.delta),
            None if train.noise > 0.0 => format!("Gaussian noise of variance {} on all", train.noise),
            None => images,
        }
    }

    /// Trains.
    fn learned(&self) -> Result<Learned> {
        let (settings, label) = (self.settings, self.label());
        let images = augmented(self.splits, &self.recipe.policy, settings, self.seed(), &label);
        let title = format!("{label}: learning");
        let mut progress = Progress::start(settings.verbosity, &title, self.recipe.train.epochs * images.len());
        let train = train::Settings { seed: self.seed(), ..self.recipe.train.clone() };
        let shown = train::Images { train: &images, validation: None, test: &self.splits.test };
        let started = Instant::now();
        let (model, epochs) = train::train(self.device, &shown, &train, None, &mut progress)?;
        let seconds = started.elapsed().as_secs_f64();
        let accuracy = epochs.last().and_then(|e| e.test_accuracy).unwrap_or(0.0);
        progress.finish(&format!("{label}: trained, {:.1} % of test images right", 100.0 * accuracy));
        Ok(Learned { net: Network::new(self.device, &model)?, epochs, seconds, images: images.counts() })
    }

    /// The examples that this training chooses for all models. Its model is not kept: it is made, and measured, elsewhere.
    pub fn examples(&self) -> Result<Vec<usize>> {
        measure::examples(&self.learned()?.net, &self.splits.test, self.settings, &self.label())
    }

    /// Trains, writes the model, and measures it.
    fn done(&self, examples: &mut Vec<usize>) -> Result<Done> {
        let learned = self.learned()?;
        let suffix = if self.nth == 0 { String::new() } else { format!("-{}", self.nth + 1) };
        let file = format!("{}{suffix}.onnx", file_name(&self.recipe.name));
        let path = self.dir.join(&file);
        onnx::write(&learned.net.model, &path)?;
        let of = measure::Of { label: &self.label(), first: self.nth == 0, further: self.further() };
        let measured = measure(&learned.net, &self.splits.test, self.settings, &of, examples)?;
        Ok(Done { hash: onnx::fingerprint(&path)?, file, learned, measured })
    }

    /// A training beyond the first, which the page does not show on its own.
    pub fn repeat(&self, examples: &mut Vec<usize>) -> Result<Repeat> {
        let Done { file, hash, learned, measured } = self.done(examples)?;
        let Learned { epochs, seconds, .. } = learned;
        let Measured { sweep, certify, relevance, .. } = measured;
        Ok(Repeat {
            seed: self.seed(),
            file: Some(file),
            hash: Some(hash),
            training: epochs,
            sweep,
            certify,
            relevance,
            seconds: Some(seconds),
        })
    }

    /// The first training, as the model of the page.
    pub fn first(&self, examples: &mut Vec<usize>) -> Result<ModelResult> {
        let Done { file, hash, learned, measured } = self.done(examples)?;
        let Learned { net, epochs, seconds, images } = learned;
        let classes = &self.splits.train.classes;
        let Measured { sweep, beyond, certify, examples, relevance, photos, risks } = measured;
        Ok(ModelResult {
            name: self.recipe.name.clone(),
            policy: self.policy(),
            augmented: match &self.recipe.policy {
                Policy::None => vec![],
                Policy::Classes(c) => c.clone(),
                Policy::All => (0..classes.len()).collect(),
            },
            train_counts: images,
            parameters: net.model.parameters(),
            architecture: format!("{} FC{}", self.recipe.train.architecture, classes.len()),
            file: Some(file),
            hash: Some(hash),
            training: epochs,
            sweep,
            beyond,
            certify,
            examples,
            relevance,
            photos,
            risks,
            seconds: Some(seconds),
            repeats: Vec::new(),
        })
    }
}

/// What came of a training.
struct Learned {
    net: Network,
    epochs: Vec<Epoch>,
    seconds: f64,
    /// Training images per class.
    images: Vec<usize>,
}

/// A training, its model's file, and its figures.
struct Done {
    file: String,
    hash: String,
    learned: Learned,
    measured: Measured,
}

/// A model's name as that of a file; class names are the user's and may hold anything.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().take(60).map(plain).collect()
}

fn augmented(splits: &Splits, policy: &Policy, settings: &Settings, seed: u64, name: &str) -> Dataset {
    if *policy == Policy::None {
        return splits.train.clone();
    }
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: augmenting"), splits.train.len());
    let images = augment::augment(&splits.train, policy, seed);
    progress.advance(splits.train.len());
    progress.finish(&format!("{name}: {} training images after augmentation", images.len()));
    images
}
