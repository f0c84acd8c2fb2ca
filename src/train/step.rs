//! One minibatch: its images on the device, and the gradients of what is lost on them.

use crate::dataset::Dataset;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::network::{Gradients, Network, Values, largest};
use crate::ops::loss;
use crate::ops::noise::{self, Noise};
use crate::tensor;

/// Keeps random starts of attacks apart from other uses of a seed.
pub const ATTACKS: u64 = 0x00A7_7AC4 << 32;

/// Images that minibatches are taken from, and how they are shown.
pub struct Shown<'a> {
    pub data: &'a Dataset,
    /// How much an image counts, by class.
    pub weights: &'a [f32],
    pub noise: Option<Noise>,
}

/// Whose images a minibatch shows.
pub struct Batch {
    /// Images on the first `count` lanes.
    pub count: usize,
    pub lanes: usize,
    /// `[lane]` of u32.
    pub labels: Buffer,
    /// How much each counts, `[lane]`.
    weights: Buffer,
    /// The labels of the images, on the host.
    known: Vec<usize>,
}

impl Batch {
    /// These images, and their pixels `[element][lane]`.
    pub fn new(device: &Device, shown: &Shown, images: &[usize]) -> Result<(Batch, Buffer)> {
        let lanes = tensor::lanes(images.len());
        let data = shown.data;
        let known: Vec<usize> = images.iter().map(|&i| data.labels[i]).collect();
        let padded = |of: &mut dyn Iterator<Item = u32>| {
            let mut words: Vec<u32> = of.collect();
            words.resize(lanes, 0);
            device.upload(&words)
        };
        let elements = data.shape.len();
        let x = device.upload(&tensor::interleave(images.iter().map(|&i| data.image(i)), elements))?;
        let labels = padded(&mut known.iter().map(|l| *l as u32))?;
        let weights = padded(&mut known.iter().map(|l| shown.weights[*l].to_bits()))?;
        let batch = Batch { count: images.len(), lanes, labels, weights, known };
        let Some(noise) = &shown.noise else { return Ok((batch, x)) };
        let names = padded(&mut images.iter().map(|i| *i as u32))?;
        let noisy = device.alloc(x.len())?;
        noise::gaussian(device, &x, &names, &noisy, elements, lanes, noise)?;
        Ok((batch, noisy))
    }
}

/// Sums over images.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub loss: f64,
    /// Images that the network took for what they are, as they were shown.
    pub right: usize,
    /// Images whose label won all over their box.
    pub proved: usize,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.loss += other.loss;
        self.right += other.right;
        self.proved += other.proved;
    }
}

/// Softmax cross-entropy of logits: what came of it, and the gradient of `share` times its mean. Labels that win count as
/// right.
pub fn cross_entropy(net: &Network, logits: &Buffer, batch: &Batch, share: f32) -> Result<(Buffer, Outcome)> {
    let (d, classes) = (&net.device, net.model.outputs());
    let (losses, seed) = (d.alloc(batch.lanes)?, d.alloc(classes * batch.lanes)?);
    let Batch { count, lanes, labels, weights, known } = batch;
    loss::softmax_cross_entropy(d, logits, labels, weights, &losses, &seed, classes, *count, *lanes, share)?;
    let losses: Vec<f32> = d.read(&losses)?;
    let scores = tensor::deinterleave(&d.read::<f32>(logits)?, classes, *count);
    let right = scores.chunks(classes).zip(known).filter(|(s, label)| largest(s) == **label).count();
    let loss = losses[..*count].iter().map(|l| f64::from(*l)).sum();
    Ok((seed, Outcome { loss, right, proved: 0 }))
}

/// What is lost on images as they are shown.
pub fn loss(net: &Network, batch: &Batch, x: Buffer) -> Result<Outcome> {
    Ok(cross_entropy(net, &net.logits(x, batch.lanes)?, batch, 1.0)?.1)
}

/// A minibatch that went through the network and is learned from: normalisations go by its moments.
pub struct Pass {
    values: Values,
    seed: Buffer,
    pub outcome: Outcome,
}

impl Pass {
    /// Of which `share` of the loss counts; running moments move by `momentum`.
    pub fn new(net: &Network, batch: &Batch, x: Buffer, share: f32, momentum: f32) -> Result<Pass> {
        let values = net.forward_learning(x, batch.lanes, batch.count, momentum)?;
        let logits = values[net.model.output()].as_ref().expect("kept");
        let (seed, outcome) = cross_entropy(net, logits, batch, share)?;
        Ok(Pass { values, seed, outcome })
    }

    /// Its gradients, added to those of all else that went through the same normalisations.
    pub fn gradients(self, net: &Network, batch: &Batch, others: Gradients) -> Result<Gradients> {
        net.learn(&self.values, self.seed, [batch.lanes, batch.count], others)
    }
}
