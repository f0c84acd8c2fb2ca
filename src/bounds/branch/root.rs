//! Boxes to branch on, kept on the host.

use std::sync::Arc;

use super::domain::{Domain, quantised};
use crate::bounds::graph;
use crate::bounds::known::KnownLane;
use crate::bounds::linearised::Linearised;
use crate::bounds::region::Inputs;
use crate::bounds::relaxation::{Line, RelaxedLane};
use crate::error::Result;
use crate::results::certificate::{Branches, Leaf};

/// What `crown` knows about one box.
pub(super) struct Root {
    pub inputs: Inputs,
    pub known: KnownLane,
    pub relaxed: RelaxedLane,
    /// Node and neuron of everything that has a lower slope to choose.
    pub unstable: Vec<(usize, usize)>,
    /// Their slopes to begin with, in steps of 1/255.
    pub slopes: Arc<[u8]>,
}

impl Root {
    /// Every box of a state.
    pub fn all(state: &Linearised<'_>) -> Result<Vec<Root>> {
        let (net, d, region) = (&state.bounder().net, state.bounder().device(), state.region());
        let relaxed = state.relaxations.lanes(d, region.lanes, region.count)?;
        let parts = region.inputs(d)?.into_iter().zip(state.known.lanes()?).zip(relaxed);
        let root = |((inputs, known), relaxed): ((Inputs, KnownLane), RelaxedLane)| {
            let (mut unstable, mut slopes) = (vec![], vec![]);
            for node in graph::relus(net) {
                let lines = relaxed.lines[node].iter().flat_map(|table| Line::all(table)).enumerate();
                for (k, line) in lines.filter(|(_, line)| line.is_unstable()) {
                    unstable.push((node, k));
                    slopes.push(quantised(line.lower));
                }
            }
            Root { inputs, known, relaxed, unstable, slopes: slopes.into() }
        };
        Ok(parts.map(root).collect())
    }

    /// Domains of this box for an auditor; `rival` tells the class by the row.
    pub fn branches(&self, leaves: &[Domain], rival: impl Fn(usize) -> usize) -> Branches {
        let leaf = |d: &Domain| Leaf { rival: rival(d.row), assumed: d.assumed.clone(), slopes: d.slopes.to_vec() };
        Branches { unstable: self.unstable.clone(), leaves: leaves.iter().map(leaf).collect() }
    }
}
