//! What the climb of a batch of domains leaves on the device: slopes and multipliers, and where to halve the domains.

use rayon::prelude::*;

use crate::bounds::alpha::Run;
use crate::bounds::graph;
use crate::bounds::linearised::Linearised;
use crate::bounds::relaxation::Line;
use crate::error::Result;
use crate::ops::linear::RELAX;

/// A batch after its climb: domain `i` is lane `i`.
pub(super) struct Climbed {
    lanes: usize,
    /// By node, for those that rows went through.
    relus: Vec<Option<Relu>>,
}

struct Relu {
    /// Coefficients above it and values before it, `[element][lane]`.
    above: Vec<f32>,
    z: Vec<f32>,
    /// `[lane][element][RELAX]`.
    lines: Vec<f32>,
    /// Multipliers of assumed signs, `[slot][lane]`, if there are any.
    beta: Option<Vec<f32>>,
}

impl Climbed {
    /// In one go: a device is waited for once.
    pub fn read(state: &Linearised<'_>, run: &Run) -> Result<Climbed> {
        let net = &state.bounder().net;
        let buffers = |i: usize| {
            let (above, z) = (run.above[i].as_ref()?, run.values[net.model.nodes[i].inputs[0]].as_ref()?);
            Some((i, [&above.a, z, state.relaxations.relaxed(i)], state.relaxations.signs(i).map(|s| &s.beta)))
        };
        let there: Vec<_> = graph::relus(net).filter_map(buffers).collect();
        let all: Vec<_> = there.iter().flat_map(|(_, own, beta)| own.iter().copied().chain(*beta)).collect();
        let mut read = state.bounder().device().read_all::<f32>(&all)?.into_iter();
        let mut next = || read.next().unwrap_or_default();
        let mut relus: Vec<Option<Relu>> = net.model.nodes.iter().map(|_| None).collect();
        for (i, _, beta) in &there {
            relus[*i] = Some(Relu { above: next(), z: next(), lines: next(), beta: beta.map(|_| next()) });
        }
        Ok(Climbed { lanes: state.region().lanes, relus })
    }

    /// The lower slope of a neuron; none of a ReLU that no row goes through, where nothing moved.
    pub fn slope(&self, lane: usize, (node, neuron): (usize, usize)) -> Option<f32> {
        let relu = self.relus[node].as_ref()?;
        Some(relu.lines(lane, self.lanes)[neuron * RELAX + 2])
    }

    /// The multiplier in a slot of a node; none where nothing moved.
    pub fn beta(&self, lane: usize, node: usize, slot: usize) -> Option<f32> {
        Some(self.relus[node].as_ref()?.beta.as_ref()?[slot * self.lanes + lane])
    }

    /// For each domain the neuron whose relaxation costs most: its intercept, or, where the row takes the lower line, the
    /// distance from it at the point where the row is least.
    pub fn weakest(&self, domains: usize) -> Vec<Option<(usize, usize)>> {
        let lanes = self.lanes;
        let mut best: Vec<(f32, Option<(usize, usize)>)> = vec![(0.0, None); domains];
        for (i, relu) in self.relus.iter().enumerate() {
            let Some(relu) = relu else { continue };
            best.par_iter_mut().enumerate().for_each(|(lane, best)| {
                let lines = Line::all(relu.lines(lane, lanes)).enumerate();
                for (k, line) in lines.filter(|(_, line)| line.is_unstable()) {
                    let (a, z) = (relu.above[k * lanes + lane], relu.z[k * lanes + lane]);
                    let loss = if a < 0.0 { -a * line.intercept } else { a * (z.max(0.0) - line.lower * z) };
                    if loss > best.0 || best.1.is_none() {
                        *best = (loss, Some((i, k)));
                    }
                }
            });
        }
        best.into_iter().map(|(_, at)| at).collect()
    }
}

impl Relu {
    /// Those of one lane.
    fn lines(&self, lane: usize, lanes: usize) -> &[f32] {
        let words = self.lines.len() / lanes;
        &self.lines[lane * words..][..words]
    }
}
