//! Domains: parts of a box, and the batches in which they are bounded.

use std::collections::HashMap;
use std::sync::Arc;

use super::climbed::Climbed;
use super::root::Root;
use crate::bounds::cut::Cut;
use crate::bounds::known::Known;
use crate::bounds::linearised::Linearised;
use crate::bounds::region::{Inputs, Region};
use crate::bounds::relaxation::{Line, Relaxations, Signs};
use crate::bounds::{Bounder, shelf};
use crate::error::Result;
use crate::ops::linear::RELAX;
use crate::ops::signs::{INACTIVE, NONE};
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
}

impl Domain {
    /// The whole box.
    pub fn whole(row: usize, root: &Arc<Root>) -> Domain {
        Domain { row, assumed: vec![], home: root.clone(), slopes: root.slopes.clone() }
    }

    /// What it takes on the host.
    pub fn bytes(&self) -> usize {
        let own = size_of::<Domain>() + self.slopes.len() + self.assumed.capacity() * size_of::<Assumed>();
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
        Domain { row: self.row, assumed: self.assumed.clone(), home: home.clone(), slopes: slopes.into() }
    }

    /// The sets that these domains are parts of, one per lane.
    pub fn region(bounder: &Bounder, domains: &[Domain]) -> Result<Region> {
        let inputs: Vec<&Inputs> = domains.iter().map(|d| &*d.home.inputs).collect();
        let cuts: Vec<Option<&Cut>> = domains.iter().map(|d| d.home.cut.as_ref()).collect();
        let region = Region::place(bounder, &inputs)?;
        if cuts.iter().all(Option::is_none) { Ok(region) } else { region.cut(bounder, &inputs, &cuts) }
    }

    /// Domains with what is known about their boxes: domain `i` is lane `i`.
    pub fn state<'a>(bounder: &'a Bounder, region: &'a Region, domains: &[Domain]) -> Result<Linearised<'a>> {
        let (d, lanes, nodes) = (bounder.device(), region.lanes, bounder.net.model.nodes.len());
        let relaxed: Vec<_> = domains.iter().map(|d| &d.home.relaxed).collect();
        let mut tables: Vec<Option<Vec<f32>>> = (0..nodes)
            .map(|node| {
                let own = relaxed.iter().map(|r| r.lines[node].as_deref());
                own.clone().any(|t| t.is_some()).then(|| shelf::by_lane(lanes, own))
            })
            .collect();
        for (lane, domain) in domains.iter().enumerate() {
            let mut entry = |node: usize, k: usize, change: &dyn Fn(&mut Line)| {
                if let Some(table) = &mut tables[node] {
                    let elements = table.len() / lanes / RELAX;
                    Line::change(table, lane * elements + k, change);
                }
            };
            for (&(node, k), &slope) in domain.home.unstable.iter().zip(domain.slopes.iter()) {
                entry(node, k, &|line| line.lower = f32::from(slope) / 255.0);
            }
            for a in &domain.assumed {
                entry(a.node, a.neuron, &|line| (line.upper, line.intercept, line.lower) = (1.0, 0.0, 1.0));
            }
        }
        let signs = (0..nodes).map(|node| signs(bounder, lanes, domains, node)).collect::<Result<_>>()?;
        Ok(Linearised {
            known: Known::place(bounder, region, &domains.iter().map(|d| &d.home.known).collect::<Vec<_>>())?,
            relaxations: Relaxations::place(d, lanes, &relaxed, tables, signs)?,
            inner: vec![vec![]; nodes],
        })
    }

    /// The domain with the slopes and multipliers that its climb ended with.
    pub fn after(&self, lane: usize, climbed: &Climbed) -> Domain {
        let slope = |(&at, &before): (&(usize, usize), &u8)| climbed.slope(lane, at).map_or(before, quantised);
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
        }
    }
}

/// Signs that the domains assume at one node; a domain's own go to its slots in their order.
fn signs(bounder: &Bounder, lanes: usize, domains: &[Domain], node: usize) -> Result<Option<Signs>> {
    let own = |domain: &Domain| domain.assumed.iter().filter(|a| a.node == node).copied().collect::<Vec<_>>();
    let own: Vec<Vec<Assumed>> = domains.iter().map(own).collect();
    let slots = own.iter().map(Vec::len).max().unwrap_or(0);
    if slots == 0 {
        return Ok(None);
    }
    let (mut targets, mut beta) = (vec![NONE; slots * lanes], vec![0.0f32; slots * lanes]);
    for (lane, own) in own.iter().enumerate() {
        for (slot, a) in own.iter().enumerate() {
            targets[slot * lanes + lane] = a.neuron as u32 | if a.active { 0 } else { INACTIVE };
            beta[slot * lanes + lane] = a.beta;
        }
    }
    let d = bounder.device();
    Ok(Some(Signs { targets: d.upload(&targets)?, beta: d.upload(&beta)? }))
}

pub(super) fn quantised(slope: f32) -> u8 {
    (slope * 255.0).round() as u8
}
