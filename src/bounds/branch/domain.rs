//! Domains: parts of a box, and the batches in which they are bounded.

use std::sync::Arc;

use rayon::prelude::*;

use super::root::Root;
use crate::bounds::known::Known;
use crate::bounds::linearised::Linearised;
use crate::bounds::region::Region;
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
    /// Lower slopes of the root's unstable neurons, in steps of 1/255.
    pub slopes: Arc<[u8]>,
}

impl Domain {
    /// The whole box.
    pub fn whole(row: usize, root: &Root) -> Domain {
        Domain { row, assumed: vec![], slopes: root.slopes.clone() }
    }

    /// What it takes on the host.
    pub fn bytes(&self) -> usize {
        size_of::<Domain>() + self.slopes.len() + self.assumed.capacity() * size_of::<Assumed>()
    }

    /// The two halves, by the sign of one neuron.
    pub fn halves(&self, node: usize, neuron: usize) -> [Domain; 2] {
        [true, false].map(|active| {
            let mut half = self.clone();
            half.assumed.push(Assumed { node, neuron, active, beta: 0.0 });
            half
        })
    }

    /// The same signs on another ball around the image, whose root is `root`; `unstable` are the neurons that its slopes
    /// are of. Those of others are the root's.
    pub fn moved(self, unstable: &[(usize, usize)], root: &Root) -> Domain {
        let mut slopes: Vec<u8> = root.slopes.to_vec();
        let mut at = 0;
        // Both lists are in order.
        for (to, place) in root.unstable.iter().enumerate() {
            while at < unstable.len() && unstable[at] < *place {
                at += 1;
            }
            if unstable.get(at) == Some(place) {
                slopes[to] = self.slopes[at];
            }
        }
        Domain { slopes: slopes.into(), ..self }
    }

    /// The boxes of these roots, one per lane.
    pub fn region(bounder: &Bounder, home: &[&Root]) -> Result<Region> {
        Region::place(bounder, &home.iter().map(|r| &r.inputs).collect::<Vec<_>>())
    }

    /// Domains with what is known about their boxes: domain `i` is lane `i`.
    pub fn state<'a>(
        bounder: &'a Bounder,
        region: &'a Region,
        home: &[&Root],
        domains: &[Domain],
    ) -> Result<Linearised<'a>> {
        let (d, lanes, nodes) = (bounder.device(), region.lanes, bounder.net.model.nodes.len());
        let relaxed: Vec<_> = home.iter().map(|r| &r.relaxed).collect();
        let mut tables: Vec<Option<Vec<f32>>> = (0..nodes)
            .map(|node| {
                let own = relaxed.iter().map(|r| r.lines[node].as_deref());
                own.clone().any(|t| t.is_some()).then(|| shelf::by_lane(lanes, own))
            })
            .collect();
        for (lane, (domain, root)) in domains.iter().zip(home).enumerate() {
            let mut entry = |node: usize, k: usize, change: &dyn Fn(&mut Line)| {
                if let Some(table) = &mut tables[node] {
                    let elements = table.len() / lanes / RELAX;
                    Line::change(table, lane * elements + k, change);
                }
            };
            for (&(node, k), &slope) in root.unstable.iter().zip(domain.slopes.iter()) {
                entry(node, k, &|line| line.lower = f32::from(slope) / 255.0);
            }
            for a in &domain.assumed {
                entry(a.node, a.neuron, &|line| (line.upper, line.intercept, line.lower) = (1.0, 0.0, 1.0));
            }
        }
        let signs = (0..nodes).map(|node| signs(bounder, lanes, domains, node)).collect::<Result<_>>()?;
        Ok(Linearised {
            known: Known::place(bounder, region, &home.iter().map(|r| &r.known).collect::<Vec<_>>())?,
            relaxations: Relaxations::place(d, lanes, &relaxed, tables, signs)?,
            inner: vec![vec![]; nodes],
        })
    }

    /// The domains with the slopes and multipliers that `state` has now.
    pub fn after(state: &Linearised<'_>, home: &[&Root], domains: &[Domain]) -> Result<Vec<Domain>> {
        let (d, lanes) = (state.bounder().device(), state.region().lanes);
        let nodes = 0..state.bounder().net.model.nodes.len();
        let tables = nodes.clone().map(|i| state.relaxations.lines(i).map(|t| d.read::<f32>(t)).transpose());
        let tables: Vec<Option<Vec<f32>>> = tables.collect::<Result<_>>()?;
        let betas = nodes.map(|i| state.relaxations.signs(i).map(|s| d.read::<f32>(&s.beta)).transpose());
        let betas: Vec<Option<Vec<f32>>> = betas.collect::<Result<_>>()?;
        let after = |(lane, domain): (usize, &Domain)| {
            let slope = |&(node, k): &(usize, usize)| {
                let table = tables[node].as_deref().unwrap_or_default();
                quantised(table[(lane * (table.len() / lanes / RELAX) + k) * RELAX + 2])
            };
            let mut slots = vec![0; tables.len()];
            let assumed = domain.assumed.iter().map(|a| {
                let beta = betas[a.node].as_ref().map_or(0.0, |b| b[slots[a.node] * lanes + lane]);
                slots[a.node] += 1;
                Assumed { beta, ..*a }
            });
            Domain {
                row: domain.row,
                assumed: assumed.collect(),
                slopes: home[lane].unstable.iter().map(slope).collect(),
            }
        };
        Ok(domains.par_iter().enumerate().map(after).collect())
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
