//! Batches of domains on the device. What is known of their homes is there once, however many domains have them, and stays
//! for batches to come; of each domain only its signs and the steps of its slopes go there.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::domain::{ANCHOR_STEPS, Domain};
use super::root::Root;
use crate::bounds::cut::Cut;
use crate::bounds::envelope::Envelope;
use crate::bounds::known::{Known, KnownLanes};
use crate::bounds::linearised::Linearised;
use crate::bounds::region::{Inputs, Region};
use crate::bounds::relaxation::{Relaxations, Signs};
use crate::bounds::shelf::Copies;
use crate::bounds::{Bounder, graph};
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::domains::steps;
use crate::ops::signs::{INACTIVE, NONE};
use crate::results::certificate::Assumed;
use crate::tensor;

/// What is known of some homes, on the device.
pub(super) struct Planted {
    /// Numbers of the homes, by lane.
    homes: HashMap<u64, u32>,
    region: Region,
    known: KnownLanes,
    relaxations: Relaxations,
    /// What the boxes make of the first ReLU's neurons, as in `ops::envelope`.
    ends: Option<Buffer>,
}

impl Planted {
    /// The homes of these domains, and maybe others.
    fn of(bounder: &Bounder, domains: &[Domain]) -> Result<Arc<Planted>> {
        let mut homes: HashMap<u64, u32> = HashMap::new();
        let mut distinct: Vec<&Root> = vec![];
        for domain in domains {
            homes.entry(domain.home.number).or_insert_with(|| {
                distinct.push(&domain.home);
                distinct.len() as u32 - 1
            });
        }
        let there = distinct[0].planted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(there) = there.filter(|there| homes.keys().all(|number| there.homes.contains_key(number))) {
            return Ok(there);
        }
        let (d, lanes) = (bounder.device(), tensor::lanes(distinct.len()));
        let inputs: Vec<&Inputs> = distinct.iter().map(|home| &*home.inputs).collect();
        let cuts: Vec<Option<&Cut>> = distinct.iter().map(|home| home.cut.as_ref()).collect();
        let region = Region::place(bounder, &inputs)?;
        let known: Vec<_> = distinct.iter().map(|home| &home.known).collect();
        let relaxed: Vec<_> = distinct.iter().map(|home| &home.relaxed).collect();
        let region = if cuts.iter().all(Option::is_none) { region } else { region.cut(bounder, &inputs, &cuts)? };
        let planted = Arc::new(Planted {
            homes,
            ends: Inputs::all_ends(bounder, lanes, &inputs)?,
            region,
            known: KnownLanes::upload(bounder, lanes, &known)?,
            relaxations: Relaxations::place(d, lanes, &relaxed)?,
        });
        // Those of one domain each are hardly asked for again.
        if distinct.len() < domains.len() {
            for home in distinct {
                *home.planted.lock().unwrap_or_else(PoisonError::into_inner) = Some(planted.clone());
            }
        }
        Ok(planted)
    }
}

/// Domains that are bounded together: domain `i` is lane `i`.
pub(super) struct Batch<'a> {
    domains: &'a [Domain],
    planted: Arc<Planted>,
    copies: Copies,
    /// The sets that they are parts of.
    region: Region,
}

impl<'a> Batch<'a> {
    pub fn new(bounder: &Bounder, domains: &'a [Domain]) -> Result<Batch<'a>> {
        let (d, planted) = (bounder.device(), Planted::of(bounder, domains)?);
        let homes = domains.iter().map(|domain| planted.homes[&domain.home.number]).collect();
        let copies = Copies::new(d, planted.region.lanes, homes)?;
        let region = planted.region.copied(d, &copies, domains.len())?;
        Ok(Batch { domains, planted, copies, region })
    }

    /// The domains with what is known about their homes.
    pub fn state<'b>(&'b self, bounder: &'b Bounder) -> Result<Linearised<'b>> {
        let (d, nodes) = (bounder.device(), bounder.net.model.nodes.len());
        let signs: Vec<Option<Signs>> = (0..nodes).map(|node| self.signs(bounder, node)).collect::<Result<_>>()?;
        let known = self.planted.known.copied(d, &self.copies)?;
        let slopes = |node: usize| graph::is_relu(&bounder.net, node).then(|| self.slopes(bounder, node));
        let envelope = self.planted.ends.as_ref().map(|ends| -> Result<_> {
            let moved = self.domains.iter().any(|domain| !domain.anchor.is_empty());
            Ok(Envelope { anchor: d.upload(&self.anchors(bounder))?, ends: self.copies.table(d, ends)?, moved })
        });
        let mut relaxations = self.planted.relaxations.copied(d, &self.copies, slopes, signs)?;
        relaxations.envelope = envelope.transpose()?;
        Ok(Linearised { known: Known::place(bounder, &self.region, known)?, relaxations, inner: vec![vec![]; nodes] })
    }

    /// Lower slopes of a ReLU's neurons, a byte each, every lane a whole number of words.
    fn slopes(&self, bounder: &Bounder, node: usize) -> Vec<u32> {
        let words = steps(bounder.net.model.nodes[node].shape.len());
        let mut all = vec![0u32; words * self.copies.lanes()];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut all);
        for (domain, bytes) in self.domains.iter().zip(bytes.chunks_exact_mut(4 * words)) {
            let own = &domain.home.unstable;
            let (from, to) = (own.partition_point(|at| at.0 < node), own.partition_point(|at| at.0 <= node));
            own[from..to].iter().zip(&domain.slopes[from..to]).for_each(|((_, k), step)| bytes[*k] = *step);
        }
        all
    }

    /// `[lane][input]`.
    fn anchors(&self, bounder: &Bounder) -> Vec<f32> {
        let inputs = bounder.net.model.input.len();
        let mut all = vec![0.0; inputs * self.copies.lanes()];
        for (domain, own) in self.domains.iter().zip(all.chunks_exact_mut(inputs)) {
            own.iter_mut().zip(domain.anchor.iter()).for_each(|(own, step)| *own = f32::from(*step) / ANCHOR_STEPS);
        }
        all
    }

    /// Signs that the domains assume at one node; a domain's own go to its slots in their order.
    fn signs(&self, bounder: &Bounder, node: usize) -> Result<Option<Signs>> {
        let (d, lanes) = (bounder.device(), self.copies.lanes());
        let own = |domain: &Domain| domain.assumed.iter().filter(|a| a.node == node).copied().collect::<Vec<_>>();
        let own: Vec<Vec<Assumed>> = self.domains.iter().map(own).collect();
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
        Ok(Some(Signs { targets: d.upload(&targets)?, beta: d.upload(&beta)? }))
    }
}
