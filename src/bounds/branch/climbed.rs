//! What the climb of a batch of domains leaves: slopes and multipliers, and where to halve the domains.

use std::sync::Arc;

use super::domain::ANCHOR_STEPS;
use crate::bounds::alpha::Run;
use crate::bounds::graph;
use crate::bounds::linearised::Linearised;
use crate::error::Result;
use crate::ops::domains::{self, steps};
use crate::ops::signs::NONE;

/// A batch after its climb: domain `i` is lane `i`.
pub(super) struct Climbed {
    lanes: usize,
    /// By node, for those that rows went through.
    relus: Vec<Option<Relu>>,
    /// Anchors `[lane][input]`, if there are any.
    anchors: Option<Vec<f32>>,
}

struct Relu {
    /// Lower slopes `[lane][neuron]`, a byte each, every lane a whole number of words.
    slopes: Vec<u32>,
    /// What the dearest relaxation of each lane costs, and of which neuron it is.
    weakest: Vec<u32>,
    /// Multipliers of assumed signs, `[slot][lane]`, if there are any.
    beta: Option<Vec<u32>>,
}

impl Climbed {
    /// In one go: a device is waited for once.
    pub fn read(state: &Linearised<'_>, run: &Run) -> Result<Climbed> {
        let (net, d, lanes) = (&state.bounder().net, state.bounder().device(), state.region().lanes);
        let mut there = vec![];
        for i in graph::relus(net) {
            let (Some(above), Some(z)) = (&run.above[i], &run.values[net.model.nodes[i].inputs[0]]) else { continue };
            let lines = state.relaxations.relaxed(i);
            let slopes = d.alloc(steps(net.model.nodes[i].shape.len()) * lanes)?;
            let weakest = d.alloc(2 * lanes)?;
            domains::slopes(d, lines, &slopes, lanes)?;
            domains::weakest(d, lines, [&above.a, z], &weakest, lanes)?;
            there.push((i, [slopes, weakest], state.relaxations.signs(i).map(|s| &s.beta)));
        }
        let anchors = state.relaxations.envelope.as_ref().map(|envelope| &envelope.anchor);
        let all: Vec<_> = there.iter().flat_map(|(_, own, beta)| own.iter().chain(*beta)).chain(anchors).collect();
        let mut read = d.read_all::<u32>(&all)?.into_iter();
        let mut next = || read.next().unwrap_or_default();
        let mut relus: Vec<Option<Relu>> = net.model.nodes.iter().map(|_| None).collect();
        for (i, _, beta) in &there {
            relus[*i] = Some(Relu { slopes: next(), weakest: next(), beta: beta.map(|_| next()) });
        }
        let anchors = anchors.map(|_| bytemuck::cast_vec(next()));
        Ok(Climbed { lanes, relus, anchors })
    }

    /// The anchor of a lane, in steps.
    pub fn anchor(&self, lane: usize) -> Arc<[i8]> {
        let Some(anchors) = &self.anchors else { return Arc::default() };
        let inputs = anchors.len() / self.lanes;
        // Casts saturate.
        anchors[lane * inputs..][..inputs].iter().map(|w| (w * ANCHOR_STEPS).round() as i8).collect()
    }

    /// The lower slope of a neuron in steps; none of a ReLU that no row goes through, where nothing moved.
    pub fn slope(&self, lane: usize, (node, neuron): (usize, usize)) -> Option<u8> {
        let slopes: &[u8] = bytemuck::cast_slice(&self.relus[node].as_ref()?.slopes);
        Some(slopes[slopes.len() / self.lanes * lane + neuron])
    }

    /// The multiplier in a slot of a node; none where nothing moved.
    pub fn beta(&self, lane: usize, node: usize, slot: usize) -> Option<f32> {
        Some(f32::from_bits(self.relus[node].as_ref()?.beta.as_ref()?[slot * self.lanes + lane]))
    }

    /// For each domain the neuron whose relaxation costs most.
    pub fn weakest(&self, domains: usize) -> Vec<Option<(usize, usize)>> {
        let weakest = |lane: usize| {
            let (mut most, mut at) = (0.0f32, None);
            for (i, relu) in self.relus.iter().enumerate() {
                let Some(relu) = relu else { continue };
                let (loss, neuron) = (f32::from_bits(relu.weakest[lane]), relu.weakest[self.lanes + lane]);
                if neuron != NONE && (loss > most || at.is_none()) {
                    (most, at) = (loss, Some((i, neuron as usize)));
                }
            }
            at
        };
        (0..domains).map(weakest).collect()
    }
}
