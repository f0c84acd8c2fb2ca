//! A network that learns: gradients by its weights, and batch normalisation (Ioffe and Szegedy 2015).
//!
//! Every [`Scale`](crate::model::Layer::Scale) of the model is a normalisation: its constants follow from what is learned, a
//! factor and a shift per channel, and from moments of its values. A pass over a minibatch makes them anew
//! ([`Network::forward_learning`]), and whatever else is learned from that minibatch, boxes above all, goes through the same
//! constants (Shi et al. 2021, "Fast certified robust training with short warmup"). So gradients by the moments have part in
//! all of that, and [`Network::learn`] comes last. Apart from minibatches running means of the moments take their place
//! ([`Network::settle`]).

use std::sync::Arc;

use super::placed::{Affine, Placed};
use super::{Gradients, Interval, Network, Values};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::model::{Model, Node};
use crate::ops::normalise::{self, Size};
use crate::ops::{add, conv_grad};

/// The normalisation of one node.
pub(super) struct Norm {
    /// Factor and shift, `[channel]` each.
    learned: [Buffer; 2],
    /// Means and variances of the last minibatch, `[2][channel]`.
    moments: Buffer,
    /// Their running means.
    running: Buffer,
    channels: usize,
    /// Positions of a channel.
    plane: usize,
}

impl Norm {
    /// Learns on from the constants that the model has, which are the same all over a channel.
    fn new(device: &Device, node: &Node) -> Result<Option<Norm>> {
        let Some([scale, shift]) = node.layer.scale() else { return Ok(None) };
        let (channels, plane) = (node.shape.channels, node.shape.height * node.shape.width);
        let first = |all: &[f32]| device.upload(&all.iter().copied().step_by(plane).collect::<Vec<_>>());
        let standard: Vec<f32> = (0..2 * channels).map(|i| f32::from(i >= channels)).collect();
        Ok(Some(Norm {
            learned: [first(scale)?, first(shift)?],
            moments: device.upload(&standard)?,
            running: device.upload(&standard)?,
            channels,
            plane,
        }))
    }

    fn size(&self, lanes: usize, count: usize) -> Size {
        Size { channels: self.channels, plane: self.plane, lanes, count }
    }
}

impl Network {
    /// A network whose weights are learned, and whose scales are normalisations.
    ///
    /// # Errors
    /// As for [`Network::new`].
    pub fn learning(device: &Device, model: &Model) -> Result<Network> {
        let norms = model.nodes.iter().map(|n| Norm::new(device, n)).collect::<Result<Vec<_>>>()?;
        let mut net = Network { norms: norms.into(), ..Network::new(device, model)? };
        Arc::get_mut(&mut net.layers).expect("nobody else has it yet").iter_mut().for_each(Placed::learned);
        net.settle()?;
        Ok(net)
    }

    fn norm(&self, i: usize) -> Option<&Norm> {
        self.norms.get(i)?.as_ref()
    }

    /// Whether there is any normalisation.
    pub fn normalises(&self) -> bool {
        self.norms.iter().any(Option::is_some)
    }

    /// What is learned, in turn what decays and what does not: weights and biases, factors and shifts of normalisations.
    pub fn parameters(&self) -> impl Iterator<Item = &Buffer> {
        (0..self.model.nodes.len()).flat_map(|i| {
            let weights = self.layers[i].affine().map(|a| [&a.weight, &a.bias]);
            weights.or(self.norm(i).map(|n| n.learned.each_ref())).into_iter().flatten()
        })
    }

    /// Running moments of normalisations.
    pub fn running(&self) -> impl Iterator<Item = &Buffer> {
        self.norms.iter().flatten().map(|n| &n.running)
    }

    /// Has all normalisations go by their running moments.
    pub fn settle(&self) -> Result<()> {
        let norms = (0..self.norms.len()).filter_map(|i| Some((i, self.norm(i)?)));
        norms.into_iter().try_for_each(|(i, n)| self.place(i, n, &n.running))
    }

    /// Has a normalisation go by these moments.
    fn place(&self, i: usize, norm: &Norm, moments: &Buffer) -> Result<()> {
        let to = self.layers[i].scale().expect("normalisations are scales");
        normalise::place(&self.device, norm.learned.each_ref(), moments, to, norm.size(1, 1))
    }

    /// [`Network::forward`] of the `count` images of a minibatch, all values kept: normalisations go by the moments of these
    /// values from here on, and their running moments move towards them by `share` of the way.
    pub fn forward_learning(&self, x: Buffer, lanes: usize, count: usize, share: f32) -> Result<Values> {
        self.forward_with(x, lanes, true, |i, x| {
            let Some(norm) = self.norm(i) else { return Ok(()) };
            normalise::moments(&self.device, x, &norm.moments, &norm.running, norm.size(lanes, count), share)?;
            self.place(i, norm, &norm.moments)
        })
    }

    /// Adds the gradients of `sum(seed * logits)` by all that is learned to `gradients`, which have those of all else that went
    /// through the same normalisations. `values` are those of [`Network::forward_learning`], the last there was.
    pub fn learn(
        &self,
        values: &Values,
        seed: Buffer,
        [lanes, count]: [usize; 2],
        mut gradients: Gradients,
    ) -> Result<Gradients> {
        let d = &self.device;
        self.walk_back(values, seed, lanes, false, |i, x, gy| {
            if let Some(a) = self.layers[i].affine() {
                let own = self.weight_gradients(i, a, x, gy, lanes)?;
                match &gradients[i] {
                    Some(sums) => own.iter().zip(sums).try_for_each(|(g, sum)| add::accumulate(d, g, sum))?,
                    None => gradients[i] = Some(own),
                }
            }
            let Some(n) = self.norm(i) else { return Ok(None) };
            let by = match gradients[i].take() {
                Some(sums) => sums,
                None => self.zeros_like(n.learned.each_ref())?,
            };
            let (size, gx, by_each) = (n.size(lanes, count), d.alloc(gy.len())?, by.each_ref());
            normalise::gradients(d, [gy, x], &n.moments, &n.learned[0], by_each, size, false)?;
            normalise::backward(d, [gy, x], &n.moments, &n.learned[0], by_each, &gx, size)?;
            gradients[i] = Some(by);
            Ok(Some(gx))
        })?;
        Ok(gradients)
    }

    /// No gradients yet, of every node.
    pub fn no_gradients(&self) -> Gradients {
        self.model.nodes.iter().map(|_| None).collect()
    }

    /// Gradients by factor and shift of a normalisation, by centres and radii, if node `i` is one.
    pub(super) fn norm_gradients(
        &self,
        i: usize,
        x: &Interval,
        gy: &Interval,
        lanes: usize,
    ) -> Result<Option<[Buffer; 2]>> {
        let Some(n) = self.norm(i) else { return Ok(None) };
        let by = self.zeros_like(n.learned.each_ref())?;
        for (k, radius) in [false, true].into_iter().enumerate() {
            let values = [&gy[k], &x[k]];
            let size = n.size(lanes, lanes);
            normalise::gradients(&self.device, values, &n.moments, &n.learned[0], by.each_ref(), size, radius)?;
        }
        Ok(Some(by))
    }

    /// Gradients by weights and biases of node `i`. Where a normalisation follows it takes every bias off again.
    pub(super) fn weight_gradients(
        &self,
        i: usize,
        a: &Affine,
        x: &Buffer,
        gy: &Buffer,
        lanes: usize,
    ) -> Result<[Buffer; 2]> {
        let d = &self.device;
        let [by_weight, by_bias] = self.zeros_like([&a.weight, &a.bias])?;
        conv_grad::weight_grad(d, &a.geometry, x, gy, &by_weight, lanes)?;
        let mut readers = self.model.nodes.iter().enumerate().filter(|(_, n)| n.inputs.contains(&(i + 1)));
        if !readers.any(|(k, _)| self.norm(k).is_some()) {
            conv_grad::bias_grad(d, &a.geometry, gy, &by_bias, lanes)?;
        }
        Ok([by_weight, by_bias])
    }

    /// Room for gradients, up to whole groups of four so that they can be added.
    fn zeros_like(&self, [a, b]: [&Buffer; 2]) -> Result<[Buffer; 2]> {
        let room = |b: &Buffer| self.device.zeros(b.len().next_multiple_of(4));
        Ok([room(a)?, room(b)?])
    }
}
