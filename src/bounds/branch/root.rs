//! What is known on a box, or on what a domain leaves of it, kept on the host: where domains begin.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::batch::{Batch, Planted};
use super::domain::Domain;
use crate::bounds::cut::Cut;
use crate::bounds::graph;
use crate::bounds::known::KnownLane;
use crate::bounds::limits::Limits;
use crate::bounds::linearised::Linearised;
use crate::bounds::region::{Inputs, Region};
use crate::bounds::relaxation::{Line, RelaxedLane};
use crate::bounds::{Bounder, Row};
use crate::error::Result;
use crate::ops::domains::step_of;
use crate::results::certificate::{Assumed, Branches, Home, Leaf};

/// A box, or the part of it that counts for one row on one domain, and what is known there.
pub(super) struct Root {
    /// No other has it.
    pub number: u64,
    pub inputs: Arc<Inputs>,
    pub cut: Option<Cut>,
    pub known: KnownLane,
    pub relaxed: RelaxedLane,
    /// Empty where nobody asks what is left of domains.
    limits: Limits,
    /// Node and neuron of everything that has a lower slope to choose.
    pub unstable: Arc<[(usize, usize)]>,
    /// Their slopes to begin with, in steps of 1/255.
    pub slopes: Arc<[u8]>,
    /// The domain that this is left of; none of whole boxes.
    origin: Option<Arc<Origin>>,
    /// Where all this is on the device, once domains of this home were bounded there.
    pub planted: Mutex<Option<Arc<Planted>>>,
}

/// The number of the next root.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A domain of which something is left, for whoever is to show it again.
struct Origin {
    within: Option<Arc<Origin>>,
    row: usize,
    assumed: Vec<Assumed>,
    slopes: Arc<[u8]>,
    anchor: Arc<[i8]>,
    unstable: Arc<[(usize, usize)]>,
    standard: Arc<[u8]>,
}

impl Root {
    /// Every box of a state.
    pub fn all(state: &Linearised<'_>) -> Result<Vec<Arc<Root>>> {
        let inputs = state.region().inputs(state.bounder().device())?.into_iter().map(Arc::new);
        Ok(Root::kept(state, inputs.map(|inputs| (inputs, None)).collect())?.into_iter().map(Arc::new).collect())
    }

    fn kept(state: &Linearised<'_>, sets: Vec<(Arc<Inputs>, Option<Cut>)>) -> Result<Vec<Root>> {
        let (net, d, region) = (&state.bounder().net, state.bounder().device(), state.region());
        let relaxed = state.relaxations.lanes(d, region.lanes, region.count)?;
        let limits = if state.bounder().renews() { state.known.limits()? } else { vec![vec![]; region.count] };
        let parts = sets.into_iter().zip(state.known.lanes()?).zip(relaxed).zip(limits);
        let root = |((((inputs, cut), known), relaxed), limits): (((_, KnownLane), RelaxedLane), Limits)| {
            let (mut unstable, mut slopes) = (vec![], vec![]);
            for node in graph::relus(net) {
                let lines = relaxed.lines[node].iter().flat_map(|table| Line::all(table)).enumerate();
                for (k, line) in lines.filter(|(_, line)| line.is_unstable()) {
                    unstable.push((node, k));
                    slopes.push(step_of(line.lower));
                }
            }
            let (unstable, slopes) = (unstable.into(), slopes.into());
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let planted = Mutex::default();
            Root { number, inputs, cut, known, relaxed, limits, unstable, slopes, origin: None, planted }
        };
        Ok(parts.map(root).collect())
    }

    /// What is left of domains where the bound of the row of each, as it comes with its slopes and multipliers, is not positive;
    /// none where nothing is known of that.
    pub fn left(bounder: &Bounder, rows: &[Row], domains: &[Domain]) -> Result<Vec<Option<Arc<Root>>>> {
        let inputs: Vec<&Inputs> = domains.iter().map(|d| &*d.home.inputs).collect();
        let cuts = Batch::new(bounder, domains)?.state(bounder)?.cuts(rows, &inputs)?;
        let limits: Vec<Limits> = domains.iter().map(|d| d.home.limits(bounder, &d.assumed)).collect();
        let forms: Vec<Option<&Cut>> = cuts.iter().map(Option::as_ref).collect();
        let region = Region::place(bounder, &inputs)?.cut(bounder, &inputs, &forms)?;
        let limits: Vec<&Limits> = limits.iter().collect();
        let (state, provable) = Linearised::whole(bounder, &region, &limits, |state| state.known.provable())?;
        let sets = domains.iter().map(|d| d.home.inputs.clone()).zip(cuts).collect();
        let known = Root::kept(&state, sets)?.into_iter().zip(provable).zip(domains);
        let root = |((root, provable), domain): ((Root, bool), &Domain)| {
            let Domain { row, assumed, home, slopes, anchor } = domain.clone();
            let (within, unstable, standard) = (home.origin.clone(), root.unstable.clone(), root.slopes.clone());
            let origin = Some(Arc::new(Origin { within, row, assumed, slopes, anchor, unstable, standard }));
            (provable && root.cut.is_some()).then(|| Arc::new(Root { origin, ..root }))
        };
        Ok(known.map(root).collect())
    }

    /// What is known where signs are assumed.
    fn limits(&self, bounder: &Bounder, assumed: &[Assumed]) -> Limits {
        let mut limits = self.limits.clone();
        for a in assumed {
            if let Some([lower, upper]) = &mut limits[bounder.net.model.nodes[a.node].inputs[0]] {
                let end = if a.active { &mut lower[a.neuron] } else { &mut upper[a.neuron] };
                *end = if a.active { end.max(0.0) } else { end.min(0.0) };
            }
        }
        limits
    }

    /// What it takes on the host, about.
    pub fn bytes(&self) -> usize {
        let limits = self.limits.iter().flatten().map(|ends| 2 * size_of_val(&ends[0][..])).sum::<usize>();
        let tables = self.relaxed.lines.iter().flatten().map(|t| size_of_val(&t[..])).sum::<usize>();
        let own = self.cut.as_ref().map_or(self.inputs.bytes(), Cut::bytes);
        // Magnitudes and what else is known take about as much as lines.
        own + limits + 2 * tables + self.unstable.len() * size_of::<(usize, usize)>()
    }

    /// Domains of this box for an auditor; `rival` tells the class by the row, `renewed` the nodes whose neurons are bounded
    /// anew in what is left of domains.
    pub fn branches(&self, leaves: &[Domain], rival: impl Fn(usize) -> usize, renewed: Vec<usize>) -> Branches {
        let mut homes = Homes { rival, all: vec![], known: HashMap::new() };
        let mut leaf = |d: &Domain| Leaf {
            rival: (homes.rival)(d.row),
            home: d.home.origin.as_ref().map(|origin| homes.place(origin)),
            assumed: d.assumed.clone(),
            slopes: d.slopes.to_vec(),
            anchor: d.anchor.to_vec(),
        };
        let leaves = leaves.iter().map(&mut leaf).collect();
        Branches { unstable: self.unstable.to_vec(), leaves, homes: homes.all, renewed }
    }
}

/// Homes of leaves in the making, each after the one it is in.
struct Homes<R> {
    rival: R,
    all: Vec<Home>,
    known: HashMap<*const Origin, usize>,
}

impl<R: Fn(usize) -> usize> Homes<R> {
    /// Where a home stands, with those that it is in.
    fn place(&mut self, origin: &Arc<Origin>) -> usize {
        if let Some(&at) = self.known.get(&Arc::as_ptr(origin)) {
            return at;
        }
        let within = origin.within.as_ref().map(|within| self.place(within));
        self.all.push(Home {
            within,
            rival: (self.rival)(origin.row),
            assumed: origin.assumed.clone(),
            slopes: origin.slopes.to_vec(),
            anchor: origin.anchor.to_vec(),
            unstable: origin.unstable.to_vec(),
            standard: origin.standard.to_vec(),
        });
        self.known.insert(Arc::as_ptr(origin), self.all.len() - 1);
        self.all.len() - 1
    }
}
