//! Training of a small classifier on the device: minibatches, softmax cross-entropy, Adam with a cosine schedule. On the
//! images as they are, under noise, or in whole boxes around them (`certified.rs`).

mod certified;
mod step;

pub use certified::Certified;

use step::{Batch, Outcome};

use crate::dataset::Dataset;
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::cnn::{self, Architecture};
use crate::network::{Gradients, Network};
use crate::ops::optimizer::{self, Adam};
use crate::progress::Progress;
use crate::results::Epoch;
use crate::rng::Rng;

/// How to train.
#[derive(Clone, Debug)]
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
        }
    }
}

impl Settings {
    /// Adam's step size after this share of all steps: a cosine to zero, which begins once boxes are as large as they get.
    fn rate_at(&self, share: f32) -> f32 {
        let begin = self.certified.as_ref().map_or(0.0, |c| c.warm_up);
        let fallen = ((share - begin) / (1.0 - begin)).max(0.0);
        self.rate * 0.5 * (1.0 + (std::f32::consts::PI * fallen).cos())
    }
}

/// Trains on `train`; the accuracy on `test` is measured after every epoch, never used. `progress` counts images.
pub fn train(
    device: &Device,
    train: &Dataset,
    test: &Dataset,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(Model, Vec<Epoch>)> {
    if train.is_empty() {
        return Err(Error::usage("there are no training images; give data with a training split"));
    }
    if settings.epochs == 0 || settings.batch == 0 {
        return Err(Error::usage("--epochs and --batch must be at least 1"));
    }
    if let Some(c) = &settings.certified {
        c.check()?;
    }
    let mut model = cnn::cnn(train.shape, &train.classes, &settings.architecture, settings.seed)?;
    if settings.certified.is_some() {
        cnn::start_for_intervals(&mut model);
    }
    let net = Network::new(device, &model)?;
    let moments = Moments::new(&net)?;
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut rng = Rng::new(settings.seed, 0x7a41);
    let steps = settings.epochs * train.len().div_ceil(settings.batch);
    let mut history = Vec::new();
    let mut step = 0;
    for epoch in 1..=settings.epochs {
        rng.shuffle(&mut order);
        let mut sum = Outcome::default();
        for batch in order.chunks(settings.batch) {
            let share = step as f32 / steps as f32;
            let adam = Adam { rate: settings.rate_at(share), decay: settings.decay, ..Adam::default() };
            let (batch, x) = Batch::new(device, train, batch, settings, epoch as u32)?;
            step += 1;
            let (gradients, outcome) = match &settings.certified {
                None => step::shown(&net, &batch, x, 1.0)?,
                Some(c) => c.step(&net, &batch, x, share, Rng::new(settings.seed, step::ATTACKS + step as u64))?,
            };
            moments.step(&net, &gradients, &adam, step as u32)?;
            sum.add(&outcome);
            progress.advance(batch.count);
        }
        let mean = |sum: f64| sum / train.len() as f64;
        let (loss, train_accuracy) = (mean(sum.loss), mean(sum.right as f64));
        if !loss.is_finite() {
            return Err(diverged());
        }
        let test_accuracy = if test.is_empty() { None } else { Some(accuracy(&net, test)?) };
        let delta = settings.certified.as_ref().map(|c| f64::from(c.delta_at(step as f32 / steps as f32)));
        let train_proved = delta.map(|_| mean(sum.proved as f64));
        let boxes = delta.zip(train_proved).map(|(d, p)| format!(", {:.1} % proved up to delta {d:.4}", 100.0 * p));
        let boxes = boxes.unwrap_or_default();
        progress.note(&format!("epoch {epoch}: loss {loss:.3}, accuracy {:.1} %{boxes}", 100.0 * train_accuracy));
        history.push(Epoch { epoch, loss, train_accuracy: Some(train_accuracy), test_accuracy, delta, train_proved });
    }
    let model = net.download()?;
    // The last step comes after the last loss. Weights that leave nothing to prove are no better than none.
    model.validate().map_err(|_| diverged())?;
    if Network::new(device, &model)?.range(1.0, 1.0).map_err(|_| diverged())?.watches_any() {
        return Err(diverged());
    }
    Ok((model, history))
}

fn diverged() -> Error {
    Error::failed("training diverged (loss or weights beyond all bounds); use a smaller --rate")
}

/// Share of images whose largest logit is their label's.
pub fn accuracy(net: &Network, data: &Dataset) -> Result<f64> {
    let mut right = 0;
    for start in (0..data.len()).step_by(256) {
        let end = (start + 256).min(data.len());
        let images: Vec<&[f32]> = (start..end).map(|i| data.image(i)).collect();
        let scores = net.scores(&images)?;
        right += scores.iter().zip(&data.labels[start..end]).filter(|(s, l)| crate::network::largest(s) == **l).count();
    }
    Ok(right as f64 / data.len().max(1) as f64)
}

/// Adam's running moments of every weight and bias.
struct Moments(Vec<Option<[[Buffer; 2]; 2]>>);

impl Moments {
    fn new(net: &Network) -> Result<Self> {
        let moments = (0..net.model.nodes.len()).map(|i| {
            let Some(a) = net.layer(i).affine() else { return Ok(None) };
            let pair = |n: usize| Ok::<_, Error>([net.device.zeros(n)?, net.device.zeros(n)?]);
            Ok(Some([pair(a.weight.len())?, pair(a.bias.len())?]))
        });
        Ok(Moments(moments.collect::<Result<_>>()?))
    }

    /// One step of Adam, counted from 1, over all weights and biases.
    fn step(&self, net: &Network, gradients: &Gradients, adam: &Adam, step: u32) -> Result<()> {
        let d = &net.device;
        for (i, gradient) in gradients.iter().enumerate() {
            let (Some(a), Some(g), Some(m)) = (net.layer(i).affine(), gradient, &self.0[i]) else { continue };
            optimizer::adam(d, &g[0], &a.weight, &m[0][0], &m[0][1], adam, step)?;
            optimizer::adam(d, &g[1], &a.bias, &m[1][0], &m[1][1], &Adam { decay: 0.0, ..*adam }, step)?;
        }
        Ok(())
    }
}
