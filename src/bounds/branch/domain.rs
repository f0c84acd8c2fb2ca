//! Domains: parts of a box.

use std::collections::HashMap;
use std::sync::Arc;

use super::climbed::Climbed;
use super::root::Root;
use crate::results::certificate::Assumed;

/// A box, one of its rows, and signs assumed for some neurons.
#[derive(Clone)]
pub(super) struct Domain {
    pub row: usize,
    pub assumed: Vec<Assumed>,
    /// What is known there.
    pub home: Arc<Root>,
    /// Lower slopes of its home's unstable neurons, in steps of 1/255.
    pub slopes: Arc<[u8]>,
    /// Of the lines of the first ReLU, in steps of 1/[`ANCHOR_STEPS`]; none where it is zero.
    pub anchor: Arc<[i8]>,
}

/// Steps of anchors from zero to one.
pub(super) const ANCHOR_STEPS: f32 = 64.0;

impl Domain {
    /// The whole box.
    pub fn whole(row: usize, root: &Arc<Root>) -> Domain {
        Domain { row, assumed: vec![], home: root.clone(), slopes: root.slopes.clone(), anchor: Arc::default() }
    }

    /// What it takes on the host.
    pub fn bytes(&self) -> usize {
        let own = size_of::<Domain>()
            + self.slopes.len()
            + self.anchor.len()
            + self.assumed.capacity() * size_of::<Assumed>();
        own + self.home.bytes() / Arc::strong_count(&self.home)
    }

    /// The two halves, by the sign of one neuron.
    pub fn halves(&self, node: usize, neuron: usize) -> [Domain; 2] {
        [true, false].map(|active| {
            let mut half = self.clone();
            half.assumed.push(Assumed { node, neuron, active, beta: 0.0 });
            half
        })
    }

    /// The same signs where something else is known: on another ball around the image, or on what is left of this one. Slopes
    /// of neurons that were stable are those to begin with.
    pub fn moved(&self, home: &Arc<Root>) -> Domain {
        let (mut slopes, unstable): (Vec<u8>, _) = (home.slopes.to_vec(), &self.home.unstable);
        let mut at = 0;
        // Both lists are in order.
        for (to, place) in home.unstable.iter().enumerate() {
            while at < unstable.len() && unstable[at] < *place {
                at += 1;
            }
            if unstable.get(at) == Some(place) {
                slopes[to] = self.slopes[at];
            }
        }
        let (assumed, anchor) = (self.assumed.clone(), self.anchor.clone());
        Domain { row: self.row, assumed, home: home.clone(), slopes: slopes.into(), anchor }
    }

    /// The domain with the slopes and multipliers that its climb ended with.
    pub fn after(&self, lane: usize, climbed: &Climbed) -> Domain {
        let slope = |(&at, &before): (&(usize, usize), &u8)| climbed.slope(lane, at).unwrap_or(before);
        let mut slots = HashMap::new();
        let assumed = self.assumed.iter().map(|a| {
            let slot: &mut usize = slots.entry(a.node).or_default();
            let beta = climbed.beta(lane, a.node, *slot).unwrap_or(a.beta);
            *slot += 1;
            Assumed { beta, ..*a }
        });
        Domain {
            row: self.row,
            assumed: assumed.collect(),
            home: self.home.clone(),
            slopes: self.home.unstable.iter().zip(self.slopes.iter()).map(slope).collect(),
            anchor: climbed.anchor(lane),
        }
    }
}
