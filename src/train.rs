//! Training of a small classifier on the device: minibatches, softmax cross-entropy, Adam with a cosine schedule.

use crate::dataset::Dataset;
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::cnn::{self, Architecture};
use crate::network::Network;
use crate::ops::optimizer::Adam;
use crate::ops::{loss, optimizer};
use crate::progress::Progress;
use crate::results::Epoch;
use crate::rng::Rng;
use crate::tensor;

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
    /// Of the first weights and the order of images.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { architecture: Architecture::default(), epochs: 10, batch: 64, rate: 2e-3, decay: 1e-4, seed: 0 }
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
    let model = cnn::cnn(train.shape, &train.classes, &settings.architecture, settings.seed)?;
    let net = Network::new(device, &model)?;
    let mut moments = Moments::new(&net)?;
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut rng = Rng::new(settings.seed, 0x7a41);
    let steps = settings.epochs * train.len().div_ceil(settings.batch);
    let mut history = Vec::new();
    let mut step = 0;
    for epoch in 1..=settings.epochs {
        rng.shuffle(&mut order);
        let (mut loss, mut right) = (0.0, 0);
        for batch in order.chunks(settings.batch) {
            let share = step as f32 / steps as f32;
            let rate = settings.rate * 0.5 * (1.0 + (std::f32::consts::PI * share).cos());
            let adam = Adam { rate, decay: settings.decay, ..Adam::default() };
            step += 1;
            let (sum, hits) = train_step(&net, train, batch, &mut moments, &adam, step as u32)?;
            loss += sum;
            right += hits;
            progress.advance(batch.len());
        }
        let loss = loss / train.len() as f64;
        if !loss.is_finite() {
            return Err(diverged());
        }
        let test_accuracy = if test.is_empty() { None } else { Some(accuracy(&net, test)?) };
        let train_accuracy = right as f64 / train.len() as f64;
        history.push(Epoch { epoch, loss, train_accuracy: Some(train_accuracy), test_accuracy });
        progress.note(&format!("epoch {epoch}: loss {loss:.3}, accuracy {:.1} %", 100.0 * train_accuracy));
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
}

/// One minibatch: summed loss and number of images classified correctly.
fn train_step(
    net: &Network,
    data: &Dataset,
    batch: &[usize],
    moments: &mut Moments,
    adam: &Adam,
    step: u32,
) -> Result<(f64, usize)> {
    let d = &net.device;
    let lanes = tensor::lanes(batch.len());
    let classes = net.model.outputs();
    let mut labels = vec![0u32; lanes];
    batch.iter().zip(&mut labels).for_each(|(&i, l)| *l = data.labels[i] as u32);
    let x = d.upload(&tensor::interleave(batch.iter().map(|&i| data.image(i)), data.shape.len()))?;
    let values = net.forward(x, lanes, true)?;
    let logits = values[net.model.output()].as_ref().expect("kept");
    let (losses, seed) = (d.alloc(lanes)?, d.alloc(classes * lanes)?);
    loss::softmax_cross_entropy(d, logits, &d.upload(&labels)?, &losses, &seed, classes, batch.len(), lanes)?;
    let (_, gradients) = net.backward(&values, seed, lanes, true)?;
    for (i, gradient) in gradients.iter().enumerate() {
        let (Some(a), Some(g), Some(m)) = (net.layer(i).affine(), gradient, &moments.0[i]) else { continue };
        optimizer::adam(d, &g[0], &a.weight, &m[0][0], &m[0][1], adam, step)?;
        optimizer::adam(d, &g[1], &a.bias, &m[1][0], &m[1][1], &Adam { decay: 0.0, ..*adam }, step)?;
    }
    let losses: Vec<f32> = d.read(&losses)?;
    let scores = tensor::deinterleave(&d.read::<f32>(logits)?, classes, batch.len());
    let right =
        scores.chunks(classes).zip(batch).filter(|(s, i)| crate::network::largest(s) == data.labels[**i]).count();
    Ok((losses[..batch.len()].iter().map(|l| f64::from(*l)).sum(), right))
}
