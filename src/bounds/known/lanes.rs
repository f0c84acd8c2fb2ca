//! What is known of lanes, kept on the host and placed on a device again, in any selection and as often as it takes.

use super::{Interval, Known};
use crate::bounds::region::Region;
use crate::bounds::shelf::{self, Copies, Tables};
use crate::bounds::watch::Watch;
use crate::bounds::{Bounder, graph};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::model::ValueId;
use crate::tensor;

/// What walks from the logits read of one lane, on the host.
pub(in crate::bounds) struct KnownLane {
    magnitudes: Tables,
    foldings: Tables,
    /// Bounds of values that several nodes read, where walks charge for joining, and of sums, where runtimes round.
    joins: Vec<Option<[Vec<f32>; 2]>>,
}

/// [`KnownLane`]s on the device.
pub(in crate::bounds) struct KnownLanes {
    magnitudes: Vec<Option<Buffer>>,
    foldings: Vec<Option<Buffer>>,
    /// `[element][lane]`.
    joins: Vec<Option<[Buffer; 2]>>,
}

impl KnownLanes {
    /// `width` lanes, of which these are the first.
    pub fn upload(bounder: &Bounder, width: usize, lanes: &[&KnownLane]) -> Result<KnownLanes> {
        let d = bounder.device();
        let join = |value: ValueId| -> Result<Option<[Buffer; 2]>> {
            if lanes.iter().all(|l| l.joins[value].is_none()) {
                return Ok(None);
            }
            let elements = bounder.net.model.shape(value).len();
            let join = |side: usize| lanes.iter().map(move |l| l.joins[value].as_ref().map_or(&[][..], |j| &j[side]));
            let side = |side: usize| d.upload(&tensor::interleave(join(side), elements));
            Ok(Some([side(0)?, side(1)?]))
        };
        Ok(KnownLanes {
            magnitudes: shelf::place(d, width, lanes.iter().map(|l| &l.magnitudes))?,
            foldings: shelf::place(d, width, lanes.iter().map(|l| &l.foldings))?,
            joins: (0..=bounder.net.model.nodes.len()).map(join).collect::<Result<_>>()?,
        })
    }

    /// Copies of these.
    pub fn copied(&self, d: &Device, copies: &Copies) -> Result<KnownLanes> {
        let join = |join: &Option<[Buffer; 2]>| -> Result<Option<[Buffer; 2]>> {
            let Some([centre, radius]) = join else { return Ok(None) };
            Ok(Some([copies.columns(d, centre)?, copies.columns(d, radius)?]))
        };
        Ok(KnownLanes {
            magnitudes: copies.tables(d, &self.magnitudes)?,
            foldings: copies.tables(d, &self.foldings)?,
            joins: self.joins.iter().map(join).collect::<Result<_>>()?,
        })
    }
}

impl<'a> Known<'a> {
    /// What was known about these lanes; nothing is watched, since lanes that were marked are not kept.
    pub fn place(bounder: &'a Bounder, region: &'a Region, lanes: KnownLanes) -> Result<Self> {
        let KnownLanes { magnitudes, foldings, joins } = lanes;
        let intervals =
            joins.into_iter().map(|join| join.map(|[centre, radius]| Interval { centre, radius })).collect();
        Ok(Known { intervals, magnitudes, foldings, watch: Watch::default(), ..Known::new(bounder, region)? })
    }

    /// Every lane, for [`KnownLanes::upload`].
    pub fn lanes(&self) -> Result<Vec<KnownLane>> {
        let (net, d) = (&self.bounder.net, self.bounder.device());
        let (lanes, count) = (self.region.lanes, self.region.count);
        let is_sum = |v: ValueId| v > 0 && net.layer(v - 1).is_sum();
        let mut joins: Vec<Vec<Option<[Vec<f32>; 2]>>> = (0..count).map(|_| vec![]).collect();
        for (value, interval) in self.intervals.iter().enumerate() {
            match interval {
                Some(i) if graph::readers(net, value) > 1 || is_sum(value) => {
                    let (c, r) =
                        (shelf::columns(d, &i.centre, lanes, count)?, shelf::columns(d, &i.radius, lanes, count)?);
                    joins.iter_mut().zip(c.into_iter().zip(r)).for_each(|(own, (c, r))| own.push(Some([c, r])));
                }
                Some(_) | None => joins.iter_mut().for_each(|own| own.push(None)),
            }
        }
        let tables = |of: &[Option<Buffer>]| shelf::all_lanes(d, of, lanes, count);
        let known = tables(&self.magnitudes)?.into_iter().zip(tables(&self.foldings)?).zip(joins);
        Ok(known.map(|((magnitudes, foldings), joins)| KnownLane { magnitudes, foldings, joins }).collect())
    }
}
