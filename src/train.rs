//! Training of a small classifier on the device: minibatches, softmax cross-entropy, Adam with a cosine schedule. On the
//! images as they are, under noise, or in whole boxes around them (`certified.rs`). Kept after every epoch, if asked for
//! (`checkpoint.rs`).

mod certified;
mod checkpoint;
mod state;
mod step;

pub use certified::Certified;
pub use checkpoint::Checkpoint;

use serde::Serialize;
use state::State;
use step::{Batch, Outcome, Shown};

use crate::dataset::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::cnn::{self, Architecture};
use crate::network::Network;
use crate::ops::noise::Noise;
use crate::ops::optimizer::Adam;
use crate::progress::Progress;
use crate::results::Epoch;
use crate::rng::Rng;

/// How to train.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The layers.
    pub architecture: Architecture,
    /// How often every image is shown.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Adam's step size at the start; falls to zero along a cosine.
    pub rate: f32,
    /// Decoupled weight decay.
    pub decay: f32,
    /// Of the first weights, the order of images and their noise.
    pub seed: u64,
    /// Variance of the Gaussian noise that every image gets whenever it is shown, clipped to `[0,1]`; in squared pixel units.
    pub noise: f64,
    /// Also learn to keep the class all over a box around every image.
    pub certified: Option<Certified>,
    /// Whether every class counts alike in what is lost, however many images it has; else every image does.
    pub balanced: bool,
    /// Ends after this many epochs in a row without a better one, by images held out.
    pub patience: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            architecture: Architecture::default(),
            epochs: 10,
            batch: 64,
            rate: 2e-3,
            decay: 1e-4,
            seed: 0,
            noise: 0.0,
            certified: None,
            balanced: false,
            patience: None,
        }
    }
}

impl Settings {
    fn check(&self, images: &Images) -> Result<()> {
        if images.train.is_empty() {
            return Err(Error::usage("there are no training images; give data with a training split"));
        }
        if self.epochs == 0 || self.batch == 0 {
            return Err(Error::usage("--epochs and --batch must be at least 1"));
        }
        if images.validation.is_some_and(Dataset::is_empty) || self.patience.is_some() && images.validation.is_none() {
            return Err(Error::usage(
                "images have to be held out to tell a better epoch by; give a --validation share",
            ));
        }
        self.certified.as_ref().map_or(Ok(()), Certified::check)
    }

    /// Adam's step size after this share of all steps: a cosine to zero, which begins once boxes are as large as they get.
    fn rate_at(&self, share: f32) -> f32 {
        let begin = self.certified.as_ref().map_or(0.0, |c| c.warm_up);
        let fallen = ((share - begin) / (1.0 - begin)).max(0.0);
        self.rate * 0.5 * (1.0 + (std::f32::consts::PI * fallen).cos())
    }

    /// By which share of the way running moments go to those of a minibatch: to the first, then a tenth; by less to one that is
    /// smaller than the others, of this share of their images.
    fn momentum(step: usize, size: f32) -> f32 {
        size * (1.0 / step as f32).max(0.1)
    }

    /// Noise on images as they are shown in this epoch.
    fn noise_in(&self, epoch: usize) -> Option<Noise> {
        let noise = Noise { seed: self.seed, draw: epoch as u32, sigma: self.noise.sqrt() as f32, clip: true };
        (self.noise > 0.0).then_some(noise)
    }

    /// How much an image of each class counts: 1, or such that all classes count alike and the mean over images is 1.
    fn class_weights(&self, train: &Dataset) -> Vec<f32> {
        let counts = train.counts();
        let present = counts.iter().filter(|n| **n > 0).count();
        let alike = |n: usize| if n == 0 { 1.0 } else { train.len() as f64 / (present * n) as f64 };
        counts.into_iter().map(|n| if self.balanced { alike(n) as f32 } else { 1.0 }).collect()
    }
}

/// The images of a training.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Learned from.
    pub train: &'a Dataset,
    /// Held out: the model is that of the epoch which loses least on them, instead of the last.
    pub validation: Option<&'a Dataset>,
    /// The accuracy on these is measured after every epoch, never used; may be empty.
    pub test: &'a Dataset,
}

/// Trains a classifier, and says how every epoch went. `progress` counts images. What the `checkpoint` has of this very
/// training is not done again.
pub fn train(
    device: &Device,
    images: &Images,
    settings: &Settings,
    checkpoint: Option<&Checkpoint>,
    progress: &mut Progress,
) -> Result<(Model, Vec<Epoch>)> {
    settings.check(images)?;
    let train = images.train;
    let mut model = cnn::cnn(train.shape, &train.classes, &settings.architecture, settings.seed)?;
    if settings.certified.is_some() {
        cnn::start_for_intervals(&mut model);
    }
    let mut state = State::new(device, &model)?;
    let kept = checkpoint.map(|c| c.of(images, settings));
    if let Some(kept) = &kept {
        kept.restore(&mut state)?;
        progress.skip(state.history.len() * train.len());
    }
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut rng = Rng::new(settings.seed, 0x7a41);
    state.history.iter().for_each(|_| rng.shuffle(&mut order));
    let weary = |state: &State| settings.patience.is_some_and(|most| state.since_best() >= most);
    while state.history.len() < settings.epochs && !weary(&state) {
        rng.shuffle(&mut order);
        let epoch = one_epoch(&mut state, images, settings, &order, progress)?;
        progress.note(&told(&epoch));
        state.history.push(epoch);
        kept.as_ref().map_or(Ok(()), |kept| kept.write(&state))?;
    }
    let model = cnn::fold(&state.model()?).map_err(|_| diverged())?;
    // The last step comes after the last loss. Weights that leave nothing to prove are no better than none.
    model.validate().map_err(|_| diverged())?;
    if Network::new(device, &model)?.range(1.0, 1.0).map_err(|_| diverged())?.watches_any() {
        return Err(diverged());
    }
    Ok((model, state.history))
}

/// One pass over the training images in this order.
fn one_epoch(
    state: &mut State,
    images: &Images,
    settings: &Settings,
    order: &[usize],
    progress: &mut Progress,
) -> Result<Epoch> {
    let (epoch, train) = (state.history.len() + 1, images.train);
    let per_epoch = train.len().div_ceil(settings.batch);
    let share_at = |step: usize| step as f32 / (settings.epochs * per_epoch) as f32;
    let weights = settings.class_weights(train);
    let shown = Shown { data: train, weights: &weights, noise: settings.noise_in(epoch) };
    let net = &state.net;
    let mut sum = Outcome::default();
    for (k, batch) in order.chunks(settings.batch).enumerate() {
        // Counted from 1.
        let step = (epoch - 1) * per_epoch + k + 1;
        let share = share_at(step - 1);
        let adam = Adam { rate: settings.rate_at(share), decay: settings.decay, ..Adam::default() };
        let (batch, x) = Batch::new(&net.device, &shown, batch)?;
        let momentum = Settings::momentum(step, batch.count as f32 / settings.batch.min(train.len()) as f32);
        let (gradients, outcome) = match &settings.certified {
            None => {
                let pass = step::Pass::new(net, &batch, x, 1.0, momentum)?;
                let outcome = pass.outcome;
                (pass.gradients(net, &batch, net.no_gradients())?, outcome)
            }
            Some(c) => {
                let rng = Rng::new(settings.seed, step::ATTACKS + step as u64);
                c.step(net, &batch, x, [share, momentum], rng)?
            }
        };
        state.step(&gradients, &adam, step as u32)?;
        sum.add(&outcome);
        progress.advance(batch.count);
    }
    let mean = |sum: f64| sum / train.len() as f64;
    let (loss, share) = (mean(sum.loss), share_at(epoch * per_epoch));
    net.settle()?;
    if !loss.is_finite() {
        return Err(diverged());
    }
    // While boxes grow, no epoch is comparable with the next.
    let judged = images.validation.filter(|_| settings.certified.as_ref().is_none_or(|c| share >= c.warm_up));
    let validation_loss = judged.map(|held_out| held_out_loss(net, held_out, settings, &weights)).transpose()?;
    if let Some(lost) = validation_loss {
        state.judge(epoch, lost)?;
    }
    Ok(Epoch {
        epoch,
        loss,
        train_accuracy: Some(mean(sum.right as f64)),
        test_accuracy: if images.test.is_empty() { None } else { Some(accuracy(&state.net, images.test)?) },
        validation_loss,
        delta: settings.certified.as_ref().map(|c| f64::from(c.delta_at(share))),
        train_proved: settings.certified.as_ref().map(|_| mean(sum.proved as f64)),
    })
}

/// What is lost on images held out, as they are; in certified training also in the worst case of their boxes.
fn held_out_loss(net: &Network, held_out: &Dataset, settings: &Settings, weights: &[f32]) -> Result<f64> {
    let shown = Shown { data: held_out, weights, noise: None };
    let indices: Vec<usize> = (0..held_out.len()).collect();
    let mut sum = 0.0;
    for batch in indices.chunks(settings.batch) {
        let (batch, x) = Batch::new(&net.device, &shown, batch)?;
        sum += match &settings.certified {
            None => step::loss(net, &batch, x)?.loss,
            Some(c) => c.loss(net, &batch, x)?,
        };
    }
    Ok(sum / held_out.len() as f64)
}

/// How an epoch went, for people.
fn told(e: &Epoch) -> String {
    let accuracy = e.train_accuracy.map_or(String::new(), |a| format!(", accuracy {:.1} %", 100.0 * a));
    let boxes = e.delta.zip(e.train_proved).map(|(d, p)| format!(", {:.1} % proved up to delta {d:.4}", 100.0 * p));
    let held_out = e.validation_loss.map(|l| format!(", loss {l:.3} on images held out"));
    let parts = [boxes, held_out].map(Option::unwrap_or_default).concat();
    format!("epoch {}: loss {:.3}{accuracy}{parts}", e.epoch, e.loss)
}

fn diverged() -> Error {
    Error::failed("training diverged (loss or weights beyond all bounds); use a smaller --rate")
}

/// Share of images whose largest logit is their label's.
pub fn accuracy(net: &Network, data: &Dataset) -> Result<f64> {
    let mut right = 0;
    for start in (0..data.len()).step_by(256) {
        let end = (start + 256).min(data.len());
        let images: Vec<_> = (start..end).map(|i| data.image(i)).collect();
        let scores = net.scores(&images)?;
        right += scores.iter().zip(&data.labels[start..end]).filter(|(s, l)| crate::network::largest(s) == **l).count();
    }
    Ok(right as f64 / data.len().max(1) as f64)
}
