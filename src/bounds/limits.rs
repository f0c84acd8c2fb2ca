//! What is known about values on the host, so that what is part of a set need not be bounded from nothing.

use super::known::{Ends, Known};
use super::{graph, shelf};
use crate::error::Result;
use crate::model::ValueId;
use crate::ops::targets::List;
use crate::tensor;

/// Lower and upper ends `[element]` by value, of one lane.
pub(super) type Limits = Vec<Option<[Vec<f32>; 2]>>;

impl Known<'_> {
    /// Ends of every value that shapes a relaxation, of every lane: for [`meet`](Self::meet).
    pub fn limits(&self) -> Result<Vec<Limits>> {
        let (net, d) = (&self.bounder.net, self.bounder.device());
        let (lanes, count) = (self.region.lanes, self.region.count);
        let mut all: Vec<Limits> = (0..count).map(|_| vec![None; net.model.nodes.len() + 1]).collect();
        for value in (1..=net.model.nodes.len()).filter(|&v| graph::feeds_relaxation(net, v)) {
            let ends = self.ends(value)?;
            let lower = shelf::columns(d, &ends.lower, lanes, count)?;
            let upper = shelf::columns(d, &ends.upper, lanes, count)?;
            all.iter_mut().zip(lower.into_iter().zip(upper)).for_each(|(own, (l, u))| own[value] = Some([l, u]));
        }
        Ok(all)
    }

    /// Takes in limits of a value, one per lane, where they are tighter.
    pub fn meet(&mut self, value: ValueId, limits: &[&Limits]) -> Result<()> {
        let Some(elements) = limits.iter().flat_map(|l| &l[value]).map(|[lower, _]| lower.len()).next() else {
            return Ok(());
        };
        let d = self.bounder.device();
        let side = |side: usize| {
            let own = limits.iter().map(move |l| l[value].as_ref().map_or(&[][..], |ends| &ends[side]));
            d.upload(&tensor::interleave(own, elements))
        };
        let ends = Ends { lower: side(0)?, upper: side(1)? };
        let every = || (0..limits.len() as u32).flat_map(|lane| (0..elements as u32).map(move |k| (lane, k)));
        let (images, neurons): (Vec<u32>, Vec<u32>) = every().unzip();
        self.narrow(value, &List::of(d, &images, &neurons)?, &ends, true)
    }
}
