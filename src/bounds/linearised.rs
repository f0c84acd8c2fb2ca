//! From a region forward: bounds of every value, relaxations of every nonlinearity, and for `crown` bounds of every
//! unstable neuron by a row of its own, before the layer that rectifies it.

use super::known::Known;
use super::limits::Limits;
use super::region::Region;
use super::relaxation::Relaxations;
use super::walk::Walk;
use super::{Bounder, graph, intermediate};
use crate::error::Result;
use crate::network::Placed;

/// A network over a batch of regions, its nonlinear layers exchanged for lines.
pub(super) struct Linearised<'a> {
    pub known: Known<'a>,
    pub relaxations: Relaxations,
    /// Lower slopes by ReLU node, `[lane][element]`, that the neurons of a node were bounded with, where `alpha` moved
    /// them; by node.
    pub inner: Vec<Vec<(usize, Vec<f32>)>>,
}

impl<'a> Linearised<'a> {
    /// The network over these regions.
    pub fn new(bounder: &'a Bounder, region: &'a Region) -> Result<Self> {
        // Where nothing was guessed there is nothing to wait for.
        let look = |state: &Self| if state.known.asks() { Ok(()) } else { state.known.provable().map(drop) };
        Ok(Self::whole(bounder, region, &[], look)?.0)
    }

    /// The network, and what `look` sees in it, which reads the verdicts on it. It is made again until there was room for the
    /// rows of all neurons. `limits` are those of the regions, if any are known. Where something is cut off, only what rows of
    /// the whole input say is bounded anew.
    pub fn whole<T>(
        bounder: &'a Bounder,
        region: &'a Region,
        limits: &[&Limits],
        look: impl Fn(&Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        loop {
            let state = Self::make(bounder, region, limits)?;
            let seen = look(&state)?;
            if state.known.is_whole() {
                return Ok((state, seen));
            }
        }
    }

    fn make(bounder: &'a Bounder, region: &'a Region, limits: &[&Limits]) -> Result<Self> {
        let net = &bounder.net;
        let nodes = net.model.nodes.len();
        let relaxes = bounder.method.relaxes();
        let (mut known, mut relaxations) = (Known::new(bounder, region)?, Relaxations::none(nodes));
        // Interval margins stop at the last nonlinearity; the layers above it are left to the backward walk.
        let frontier = if relaxes { 0 } else { graph::frontier(net) };
        for i in 0..nodes {
            bounder.check_deadline()?;
            // The logits themselves are bounded only where no walk goes below them.
            let bounded = i + 1 < nodes || frontier == nodes;
            // The box around a round set says little of what affine layers make of it; rows of their own say all.
            let cut = region.is_cut() && bounder.sees_the_input(i + 1);
            let round = (region.is_round() || cut) && graph::is_affine_in_the_input(net, i + 1);
            known.step(i, bounded, i >= frontier || round)?;
            if graph::feeds_relaxation(net, i + 1) {
                known.meet(i + 1, limits)?;
            }
            if round && bounded && graph::feeds_relaxation(net, i + 1) {
                intermediate::refine(&mut known, &relaxations, i, !bounder.method.refines())?;
            }
            if !relaxes {
                continue;
            }
            relaxations.relax(&known, i)?;
            let refines = match net.layer(i) {
                // What it lets through is bounded no better than what it reads, which has been tightened already.
                Placed::Relu | Placed::Activation(_) => false,
                Placed::Affine(_)
                | Placed::MaxPool(_)
                | Placed::AvgPool(_)
                | Placed::Add
                | Placed::Scale { .. }
                | Placed::Gather(_) => bounder.method.refines() && (cut || !region.is_cut()),
            };
            if refines && !round && !graph::reads_the_input(net, i) && graph::feeds_relaxation(net, i + 1) {
                intermediate::refine(&mut known, &relaxations, i, false)?;
            }
        }
        Ok(Linearised { known, relaxations, inner: vec![vec![]; nodes] })
    }

    pub fn bounder(&self) -> &'a Bounder {
        self.known.bounder
    }

    pub fn region(&self) -> &'a Region {
        self.known.region
    }

    pub fn walk(&self) -> Walk<'_> {
        Walk { known: &self.known, relaxations: &self.relaxations, slack: None }
    }
}
