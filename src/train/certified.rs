//! Certified training: what is lost in the worst case over a box around every image, by interval bounds, mixed with what
//! is lost on attacked images (MTL-IBP: De Palma et al. 2024, "Expressive losses for verified robustness via convex
//! combinations"). The boxes grow from nothing while training begins, without which it fails (Gowal et al. 2018).

use rayon::prelude::*;
use serde::Serialize;

use super::step::{self, Batch, Outcome, Pass};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::network::{Gradients, Interval, Network};
use crate::ops::ball;
use crate::rng::Rng;

/// What to learn beside the classes of the images themselves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Certified {
    /// Half-width of the box around every image, in pixel units; boxes are clipped to `[0,1]`.
    pub delta: f32,
    /// Share of the worst-case loss, in `[0,1]`; the rest is of attacked images.
    pub mix: f32,
    /// Share of the steps, below 1, in which boxes grow to `delta`.
    pub warm_up: f32,
}

impl std::fmt::Display for Certified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Certified { delta, mix, warm_up, .. } = *self;
        let warm_up = 100.0 * warm_up;
        write!(
            f,
            "boxes up to {delta} ({:.2}/255), which grow in the first {warm_up:.0} % of the steps; ",
            255.0 * delta
        )?;
        write!(f, "{mix} of the loss is of their worst case by interval bounds, the rest of attacked images")
    }
}

impl Certified {
    /// Passes over the training images that it takes to learn boxes well.
    pub const EPOCHS: usize = 40;

    /// Boxes of this half-width, growing over the first half of the steps: a tenth of the loss is of their worst case.
    pub fn new(delta: f32) -> Certified {
        Certified { delta, mix: 0.1, warm_up: 0.5 }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(self.delta > 0.0 && self.delta <= 1.0) {
            return Err(Error::usage("certified training wants a delta above 0, at most 1"));
        }
        if !(0.0..=1.0).contains(&self.mix) || !(0.0..1.0).contains(&self.warm_up) {
            return Err(Error::usage("--mix is a share from 0 to 1, and the warm-up one below 1"));
        }
        Ok(())
    }

    /// Half-width of the boxes after this share of all steps.
    pub(super) fn delta_at(&self, share: f32) -> f32 {
        if share >= self.warm_up { self.delta } else { self.delta * share / self.warm_up }
    }

    /// Gradients of one minibatch after this share of all steps. Boxes go through normalisations by the moments of the images
    /// that are learned from beside them.
    pub(super) fn step(
        &self,
        net: &Network,
        batch: &Batch,
        x: Buffer,
        [share, momentum]: [f32; 2],
        rng: Rng,
    ) -> Result<(Gradients, Outcome)> {
        let delta = self.delta_at(share);
        let learned = self.mix < 1.0;
        let shown = if learned { attacked(net, batch, &x, delta, rng)? } else { net.device.copied(&x)? };
        let pass = Pass::new(net, batch, shown, 1.0 - self.mix, momentum)?;
        let boxes = Boxes::new(net, batch, &x, delta)?;
        let (seed, worst) = step::cross_entropy(net, &boxes.logits, batch, self.mix)?;
        let gradients = net.backward_intervals(&boxes.values, &batch.labels, &seed, batch.lanes)?;
        let shown = pass.outcome;
        let gradients = if learned || net.normalises() { pass.gradients(net, batch, gradients)? } else { gradients };
        Ok((gradients, Outcome { loss: self.mixed(worst.loss, shown.loss), right: shown.right, proved: worst.right }))
    }

    fn mixed(&self, worst: f64, shown: f64) -> f64 {
        let mix = f64::from(self.mix);
        mix * worst + (1.0 - mix) * shown
    }

    /// What is lost on images that are not learned from, in boxes of their full size and as they are.
    pub(super) fn loss(&self, net: &Network, batch: &Batch, x: Buffer) -> Result<f64> {
        let boxes = Boxes::new(net, batch, &x, self.delta)?;
        let (_, worst) = step::cross_entropy(net, &boxes.logits, batch, 1.0)?;
        Ok(self.mixed(worst.loss, step::loss(net, batch, x)?.loss))
    }
}

/// The images, each moved to where the network errs more: from a random point of the box one step of 1.25 delta up the
/// gradient's signs (Wong et al. 2020).
fn attacked(net: &Network, batch: &Batch, image: &Buffer, delta: f32, mut rng: Rng) -> Result<Buffer> {
    let d = &net.device;
    net.settle()?;
    let images: Vec<f32> = d.read(image)?;
    let mut x = images.clone();
    x.iter_mut().for_each(|x| *x = (*x + rng.range(-delta, delta)).clamp(0.0, 1.0));
    let values = net.forward(d.upload(&x)?, batch.lanes, true)?;
    let logits = values[net.model.output()].as_ref().expect("kept");
    let (seed, _) = step::cross_entropy(net, logits, batch, 1.0)?;
    let gradient: Vec<f32> = d.read(&net.backward(&values, seed, batch.lanes)?)?;
    let length = 1.25 * delta;
    x.par_iter_mut().zip(&gradient).zip(&images).with_min_len(1 << 12).for_each(|((x, g), image)| {
        let up = f32::from(*g > 0.0) - f32::from(*g < 0.0);
        *x = (*x + length * up).clamp(image - delta, image + delta).clamp(0.0, 1.0);
    });
    d.upload(&x)
}

/// Interval bounds over the boxes of a minibatch.
struct Boxes {
    values: Vec<Interval>,
    /// Where each box has its worst corner, as far as intervals can tell.
    logits: Buffer,
}

impl Boxes {
    fn new(net: &Network, batch: &Batch, image: &Buffer, delta: f32) -> Result<Boxes> {
        let (d, lanes) = (&net.device, batch.lanes);
        let deltas = d.upload(&vec![delta; lanes])?;
        let x = [d.alloc(image.len())?, d.alloc(image.len())?];
        ball::clip(d, image, &deltas, [&x[0], &x[1]], lanes, 0.0)?;
        let values = net.forward_intervals(x, lanes)?;
        let logits = net.worst_logits(&values, &batch.labels, lanes)?;
        Ok(Boxes { values, logits })
    }
}
