//! Boxes and domains kept on the host, and placed on the device again in any selection.

use std::sync::Arc;

use bytemuck::Pod;
use rayon::prelude::*;

use super::forward::{Interval, Signs, State};
use super::slopes::{Assumed, Branches, Leaf};
use super::{Bounder, Boxes};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::network::Placed;
use crate::ops::linear::RELAX;
use crate::ops::signs::{INACTIVE, NONE};
use crate::tensor;

/// What `crown` knows about one box.
pub(super) struct Root {
    centre: Vec<f32>,
    radius: Vec<f32>,
    /// Image and delta of a ball.
    ball: Option<(Vec<f32>, f32)>,
    /// Tables by node, as in [`State`], without their lanes.
    relaxations: Vec<Option<Vec<f32>>>,
    feet: Vec<Option<Vec<f32>>>,
    picks: Vec<Option<Vec<u32>>>,
    magnitudes: Vec<Option<Vec<f32>>>,
    foldings: Vec<Option<Vec<f32>>>,
    /// Bounds of values that several nodes read, where walks charge for joining, and of sums, where runtimes round.
    joins: Vec<Option<[Vec<f32>; 2]>>,
    /// Node and neuron of everything that has a lower slope to choose.
    unstable: Vec<(usize, usize)>,
    /// Their slopes to begin with, in steps of 1/255.
    slopes: Arc<[u8]>,
}

/// A box, one of its rows, and signs assumed for some neurons.
#[derive(Clone)]
pub(super) struct Domain {
    pub row: usize,
    assumed: Vec<Assumed>,
    /// Lower slopes of the root's unstable neurons, in steps of 1/255.
    slopes: Arc<[u8]>,
}

impl Root {
    /// Every box of a state.
    pub fn all(state: &State<'_>) -> Result<Vec<Root>> {
        let (net, d, boxes) = (&state.bounder.net, state.bounder.device(), state.boxes);
        let by_element = |buffer: &Buffer| -> Result<Vec<Vec<f32>>> {
            let elements = buffer.len() / boxes.lanes;
            let values = tensor::deinterleave(&d.read::<f32>(buffer)?, elements, boxes.count);
            Ok(values.chunks(elements).map(<[f32]>::to_vec).collect())
        };
        let mut relaxations = tables::<f32>(state, &state.relaxations)?;
        let mut feet = tables::<f32>(state, &state.feet)?;
        let mut picks = tables::<u32>(state, &state.picks)?;
        let mut magnitudes = tables::<f32>(state, &state.magnitudes)?;
        let mut foldings = tables::<f32>(state, &state.foldings)?;
        let readers = |v: usize| net.model.nodes.iter().flat_map(|n| &n.inputs).filter(|&&i| i == v).count();
        let is_sum = |v: usize| v > 0 && matches!(net.layer(v - 1), Placed::Add);
        let mut joins = Vec::new();
        for (value, interval) in state.intervals.iter().enumerate() {
            joins.push(match interval {
                Some(i) if readers(value) > 1 || is_sum(value) => {
                    Some([by_element(&i.centre)?, by_element(&i.radius)?])
                }
                _ => None,
            });
        }
        let (mut centres, mut radii) = (by_element(&boxes.centre)?, by_element(&boxes.radius)?);
        let mut balls = match &boxes.ball {
            Some((images, delta)) => Some((table::<f32>(state, images)?, d.read::<f32>(delta)?)),
            None => None,
        };
        let roots = (0..boxes.count).map(|lane| {
            let mut root = Root {
                centre: std::mem::take(&mut centres[lane]),
                radius: std::mem::take(&mut radii[lane]),
                ball: balls.as_mut().map(|(images, delta)| (std::mem::take(&mut images[lane]), delta[lane])),
                relaxations: take(&mut relaxations, lane),
                feet: take(&mut feet, lane),
                picks: take(&mut picks, lane),
                magnitudes: take(&mut magnitudes, lane),
                foldings: take(&mut foldings, lane),
                joins: joins
                    .iter_mut()
                    .map(|j| j.as_mut().map(|j| j.each_mut().map(|j| std::mem::take(&mut j[lane]))))
                    .collect(),
                unstable: vec![],
                slopes: Arc::new([]),
            };
            for (node, table) in root.relaxations.iter().enumerate() {
                let (Placed::Relu, Some(table)) = (net.layer(node), table) else { continue };
                // Only an unstable neuron has an intercept.
                let unstable = table.chunks(RELAX).enumerate().filter(|(_, lines)| lines[1] > 0.0);
                root.unstable.extend(unstable.map(|(k, _)| (node, k)));
            }
            let slope = |&(node, k): &(usize, usize)| root.relaxations[node].as_ref().map_or(0.0, |t| t[k * RELAX + 2]);
            root.slopes = root.unstable.iter().map(|at| quantised(slope(at))).collect();
            root
        });
        Ok(roots.collect())
    }

    /// Domains of this box for an auditor; `rival` tells the class by the row.
    pub fn branches(&self, leaves: &[Domain], rival: impl Fn(usize) -> usize) -> Branches {
        let leaf = |d: &Domain| Leaf { rival: rival(d.row), assumed: d.assumed.clone(), slopes: d.slopes.to_vec() };
        Branches { unstable: self.unstable.clone(), leaves: leaves.iter().map(leaf).collect() }
    }

    /// One lane for each of these, repeated as they may be.
    pub fn boxes(bounder: &Bounder, roots: &[&Root]) -> Result<Boxes> {
        let (d, elements, lanes) = (bounder.device(), bounder.net.model.input.len(), tensor::lanes(roots.len()));
        let place = |of: fn(&Root) -> &[f32]| d.upload(&tensor::interleave(roots.iter().map(|r| of(r)), elements));
        let balls: Option<Vec<_>> = roots.iter().map(|r| r.ball.as_ref()).collect();
        let ball = match balls {
            Some(balls) if !balls.is_empty() => {
                let images = by_lane(lanes, balls.iter().map(|b| Some(&b.0[..])));
                let mut deltas: Vec<f32> = balls.iter().map(|b| b.1).collect();
                deltas.resize(lanes, 0.0);
                Some((d.upload(&images)?, d.upload(&deltas)?))
            }
            _ => None,
        };
        Ok(Boxes { count: roots.len(), lanes, centre: place(|r| &r.centre)?, radius: place(|r| &r.radius)?, ball })
    }
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

    /// Domains with what is known about their boxes: domain `i` is lane `i`.
    pub fn state<'a>(bounder: &'a Bounder, boxes: &'a Boxes, home: &[&Root], domains: &[Domain]) -> Result<State<'a>> {
        let (d, lanes, nodes) = (bounder.device(), boxes.lanes, &bounder.net.model.nodes);
        let mut state = State::blank(bounder, boxes);
        let mut tables: Vec<Option<Vec<f32>>> = (0..nodes.len())
            .map(|node| {
                let known = home.iter().any(|r| r.relaxations[node].is_some());
                known.then(|| by_lane(lanes, home.iter().map(|r| r.relaxations[node].as_deref())))
            })
            .collect();
        for (lane, (domain, root)) in domains.iter().zip(home).enumerate() {
            let mut entry = |node: usize, k: usize, change: &dyn Fn(&mut [f32])| {
                if let Some(table) = &mut tables[node] {
                    let elements = table.len() / lanes / RELAX;
                    change(&mut table[(lane * elements + k) * RELAX..][..3]);
                }
            };
            for (&(node, k), &slope) in root.unstable.iter().zip(domain.slopes.iter()) {
                entry(node, k, &|lines| lines[2] = f32::from(slope) / 255.0);
            }
            for a in &domain.assumed {
                entry(a.node, a.neuron, &|lines| lines.copy_from_slice(&[1.0, 0.0, 1.0]));
            }
        }
        for (node, table) in tables.into_iter().enumerate() {
            state.relaxations[node] = table.map(|t| d.upload(&t)).transpose()?;
            state.feet[node] = place(d, lanes, home.iter().map(|r| r.feet[node].as_deref()))?;
            state.picks[node] = place(d, lanes, home.iter().map(|r| r.picks[node].as_deref()))?;
            state.magnitudes[node] = place(d, lanes, home.iter().map(|r| r.magnitudes[node].as_deref()))?;
            state.foldings[node] = place(d, lanes, home.iter().map(|r| r.foldings[node].as_deref()))?;
            state.signs[node] = signs(bounder, lanes, domains, node)?;
        }
        for (value, interval) in
            state.intervals.iter_mut().enumerate().filter(|(v, _)| home.iter().any(|r| r.joins[*v].is_some()))
        {
            let elements = bounder.net.model.shape(value).len();
            let side = |side: usize| {
                d.upload(&tensor::interleave(
                    home.iter().map(|r| r.joins[value].as_ref().map_or(&[][..], |j| &j[side])),
                    elements,
                ))
            };
            *interval = Some(Interval { centre: side(0)?, radius: side(1)? });
        }
        Ok(state)
    }

    /// The domains with the slopes and multipliers that `state` has now.
    pub fn after(state: &State<'_>, home: &[&Root], domains: &[Domain]) -> Result<Vec<Domain>> {
        let (d, lanes) = (state.bounder.device(), state.boxes.lanes);
        let tables = state.relaxations.iter().map(|t| t.as_ref().map(|t| d.read::<f32>(t)).transpose());
        let tables: Vec<Option<Vec<f32>>> = tables.collect::<Result<_>>()?;
        let betas = state.signs.iter().map(|s| s.as_ref().map(|s| d.read::<f32>(&s.beta)).transpose());
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

/// One table per lane of a buffer `[lane][element]`.
fn table<T: Pod>(state: &State<'_>, buffer: &Buffer) -> Result<Vec<Vec<T>>> {
    let boxes = state.boxes;
    let values: Vec<T> = state.bounder.device().read(buffer)?;
    Ok(values.chunks(values.len() / boxes.lanes).take(boxes.count).map(<[T]>::to_vec).collect())
}

/// The same of every node that has one.
fn tables<T: Pod>(state: &State<'_>, buffers: &[Option<Buffer>]) -> Result<Vec<Option<Vec<Vec<T>>>>> {
    buffers.iter().map(|t| t.as_ref().map(|t| table(state, t)).transpose()).collect()
}

/// The tables of one lane, by node.
fn take<T>(tables: &mut [Option<Vec<Vec<T>>>], lane: usize) -> Vec<Option<Vec<T>>> {
    tables.iter_mut().map(|t| t.as_mut().map(|t| std::mem::take(&mut t[lane]))).collect()
}

/// `[lane][element]` of one table per lane, zero for lanes beyond them.
fn by_lane<'a, T: Pod>(lanes: usize, tables: impl ExactSizeIterator<Item = Option<&'a [T]>> + Clone) -> Vec<T> {
    let elements = tables.clone().flatten().map(<[T]>::len).next().unwrap_or(0);
    let mut all = Vec::with_capacity(lanes * elements);
    for table in tables {
        all.extend_from_slice(table.unwrap_or_default());
    }
    all.resize(lanes * elements, T::zeroed());
    all
}

/// [`by_lane`] on the device, if there are any.
fn place<'a, T: Pod>(
    device: &Device,
    lanes: usize,
    tables: impl ExactSizeIterator<Item = Option<&'a [T]>> + Clone,
) -> Result<Option<Buffer>> {
    if tables.clone().all(|t| t.is_none()) {
        return Ok(None);
    }
    device.upload(&by_lane(lanes, tables)).map(Some)
}

fn quantised(slope: f32) -> u8 {
    (slope * 255.0).round() as u8
}
