//! Ends of neurons by branch and bound, layer by layer. Lines over single neurons lose the more the deeper they stand in dense
//! layers, and whatever signs are assumed behind them, that loss stays; solvers that look for exact answers bound neurons by
//! integer programs for that reason (Tjeng et al. 2019). The neurons of a layer are the outputs of the network that ends there,
//! so that each end is a row of that network, and is halved where its bound is least: what all halves have in common holds.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::batch::Batch;
use super::domain::Domain;
use super::root::Root;
use super::{Bounder, GROWTH, HASTY, Row, own_rows, roots};
use crate::bounds::graph;
use crate::bounds::limits::Limits;
use crate::bounds::linearised::Linearised;
use crate::bounds::region::Region;
use crate::bounds::sizes::Sizes;
use crate::error::{Error, Result};
use crate::model::ValueId;
use crate::results::certificate::{EndPart, HalvedEnd, HalvedNeurons};

/// Domains of the ends of one layer's neurons in all, at most: they wait in memory.
const WAITING: usize = 1 << 18;

/// How far the ends of neurons are halved.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Domains for each end, at most; none of them is halved where there are none. Each further doubling gains less than the one
    /// before.
    pub domains: usize,
    /// What is not halved by then stays as it is.
    pub until: Option<Instant>,
}

impl Depth {
    /// None is halved.
    pub const NONE: Depth = Depth { domains: 0, until: None };
}

/// One end of a neuron: the least of a row over a region.
struct End {
    lane: usize,
    neuron: usize,
    /// The upper end, whose row is the neuron's negation.
    above: bool,
    /// What the row is at least, as far as all of its parts are known.
    least: f32,
    /// What it is at least on parts that were let go.
    settled: f32,
    parts: BinaryHeap<Part>,
    domains: usize,
}

/// A part of a region, and what its row is there at least.
struct Part {
    least: f32,
    next: Option<(usize, usize)>,
    domain: Domain,
}

/// The part with the smallest bound is the greatest.
impl Ord for Part {
    fn cmp(&self, other: &Part) -> Ordering {
        other.least.total_cmp(&self.least)
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Part) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Part {}

impl Bounder {
    /// Limits of the regions of `state`, those of neurons behind other neurons by halving, and what proves those of a single
    /// region, if that is to be kept.
    pub(super) fn halve_neurons(
        &self,
        state: &Linearised<'_>,
        depth: Depth,
        keep: bool,
    ) -> Result<(Vec<Limits>, Vec<HalvedNeurons>)> {
        let (net, mut limits, mut halved) = (&self.net, state.known.limits()?, vec![]);
        let values: Vec<ValueId> = (1..net.model.output())
            .filter(|&v| graph::feeds_relaxation(net, v) && !graph::is_affine_in_the_input(net, v))
            .collect();
        for (at, &value) in values.iter().enumerate() {
            let now = Instant::now();
            let share = |until: Instant| now + until.saturating_duration_since(now) / (values.len() - at) as u32;
            let part = self.up_to(value, depth.until.map(share).or(self.deadline))?;
            match part.halve_outputs(state.region(), &mut limits, value, (depth.domains, keep)) {
                Err(Error::Timeout) if depth.until.is_some() => {}
                found => halved.extend(found?),
            }
        }
        Ok((limits, halved))
    }

    /// Bounds of the network that ends at a value.
    fn up_to(&self, value: ValueId, deadline: Option<Instant>) -> Result<Bounder> {
        let net = self.net.up_to(value);
        let range = Arc::new(net.range(self.peak, f64::from(GROWTH))?);
        Ok(Bounder { net, range, deadline, sizes: Sizes::default(), ..self.clone() })
    }

    /// Moves the limits of neurons that are open, the outputs of this network, by so many domains each.
    fn halve_outputs(
        &self,
        region: &Region,
        limits: &mut [Limits],
        value: ValueId,
        (domains, keep): (usize, bool),
    ) -> Result<Option<HalvedNeurons>> {
        let outputs = self.net.model.outputs();
        let mut ends = vec![];
        for (lane, limits) in limits.iter().enumerate() {
            let Some([lower, upper]) = &limits[value] else { continue };
            for neuron in (0..outputs).filter(|&k| lower[k] < 0.0 && upper[k] > 0.0) {
                for (above, least) in [(false, lower[neuron]), (true, -upper[neuron])] {
                    let (settled, parts) = (f32::INFINITY, BinaryHeap::new());
                    ends.push(End { lane, neuron, above, least, settled, parts, domains: 0 });
                }
            }
        }
        let row = |end: &End| {
            let mut coefficients = vec![0.0; outputs];
            coefficients[end.neuron] = if end.above { -1.0 } else { 1.0 };
            Row { lane: end.lane, coefficients, constant: 0.0 }
        };
        let rows: Vec<Row> = ends.iter().map(row).collect();
        let known: Vec<&Limits> = limits.iter().collect();
        let (state, provable) = Linearised::whole(self, region, &known, |state| state.known.provable())?;
        let Some((roomy, roots)) = roots(state)?.filter(|_| !rows.is_empty() && !provable.contains(&false)) else {
            return Ok(None);
        };
        let domains = domains.min(WAITING / rows.len());
        let known: Vec<f32> = ends.iter().map(|end| end.least).collect();
        let done = roomy.halve_ends(&rows, &roots, &mut ends, (domains, keep));
        if keep {
            roomy.bound_parts(&rows, &known, &mut ends)?;
        }
        for end in &ends {
            let [lower, upper] = limits[end.lane][value].as_mut().expect("its neurons were open");
            match end.above {
                false => lower[end.neuron] = lower[end.neuron].max(end.least),
                true => upper[end.neuron] = upper[end.neuron].min(-end.least),
            }
        }
        done?;
        let kept = |end: End| HalvedEnd {
            neuron: end.neuron,
            above: end.above,
            parts: end.parts.into_iter().map(|part| part.domain.into()).collect(),
        };
        let (node, unstable) = (value - 1, roots[0].unstable.to_vec());
        Ok(keep.then(|| HalvedNeurons { node, unstable, ends: ends.into_iter().map(kept).collect() }))
    }

    /// Halves the part of every end where its row is least, until its sign is known.
    fn halve_ends(
        &self,
        rows: &[Row],
        roots: &[Arc<Root>],
        ends: &mut [End],
        (domains, keep): (usize, bool),
    ) -> Result<()> {
        let whole = |(r, end): (usize, &End)| (r, Domain::whole(r, &roots[end.lane]), end.least);
        let mut due: Vec<(usize, Domain, f32)> = ends.iter().enumerate().map(whole).collect();
        while !due.is_empty() {
            let bound = |part: &[(usize, Domain, f32)]| {
                let domains: Vec<Domain> = part.iter().map(|(_, domain, _)| domain.clone()).collect();
                self.climbed(rows, &domains, HASTY).map(|(bounded, _)| bounded)
            };
            let bounded = self.by_parts(&due, bound)?;
            for ((r, _, least), bounded) in due.drain(..).zip(bounded) {
                let (end, least) = (&mut ends[r], bounded.lower.max(least));
                end.domains += 1;
                if least >= 0.0 && !keep {
                    end.settled = end.settled.min(least);
                } else {
                    end.parts.push(Part { least, next: bounded.next, domain: bounded.domain });
                }
            }
            for (r, end) in ends.iter_mut().enumerate() {
                let weakest = end.parts.peek();
                end.least = end.least.max(weakest.map_or(f32::INFINITY, |part| part.least).min(end.settled));
                let open = weakest.filter(|_| end.least < 0.0 && end.domains + 2 <= domains);
                if let Some((part, (node, neuron))) = open.and_then(|part| Some((part, part.next?))) {
                    due.extend(part.domain.halves(node, neuron).map(|half| (r, half, part.least)));
                    end.parts.pop();
                }
            }
        }
        Ok(())
    }

    /// What `bound` says of all, of as many at once as there is room for: of a GPU nobody waits in several threads.
    fn by_parts<T: Sync, B: Send>(
        &self,
        all: &[T],
        bound: impl Fn(&[T]) -> Result<Vec<B>> + Sync + Send,
    ) -> Result<Vec<B>> {
        let share = self.domains_at_once();
        let parts: Vec<Vec<B>> = if self.device().is_gpu() {
            all.chunks(share).map(bound).collect::<Result<_>>()?
        } else {
            let share = share.min(all.len().div_ceil(rayon::current_num_threads())).max(1);
            all.par_chunks(share).map(bound).collect::<Result<_>>()?
        };
        Ok(parts.into_iter().flatten().collect())
    }

    /// What ends are at least by their parts as these are kept, their slopes in steps, and by what was known before.
    fn bound_parts(&self, rows: &[Row], known: &[f32], ends: &mut [End]) -> Result<()> {
        let parts: Vec<Domain> = ends.iter().flat_map(|end| &end.parts).map(|part| part.domain.clone()).collect();
        let bound = |parts: &[Domain]| -> Result<Vec<f32>> {
            let batch = Batch::new(self, parts)?;
            Ok(self.evaluate(&batch.state(self)?, &own_rows(rows, parts), false)?.lower)
        };
        let bounds = self.by_parts(&parts, bound)?;
        ends.iter_mut().for_each(|end| end.least = f32::INFINITY);
        for (part, bound) in parts.iter().zip(bounds) {
            ends[part.row].least = ends[part.row].least.min(bound);
        }
        ends.iter_mut().zip(known).for_each(|(end, known)| end.least = end.least.max(*known));
        Ok(())
    }
}

impl From<Domain> for EndPart {
    fn from(domain: Domain) -> EndPart {
        EndPart { assumed: domain.assumed, slopes: domain.slopes.to_vec(), anchor: domain.anchor.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{Ball, Method};
    use crate::device::Device;
    use crate::model::{dense, reference::forward};
    use crate::network::Network;
    use crate::rng::Rng;

    /// Limits of neurons, halved to the end and nearly so, hold all values of a ball, and reach up to some of them.
    #[test]
    fn halved_ends_hold_every_value_and_come_near_to_some() {
        let (mut before, mut after, mut seen) = (0.0f32, 0.0f32, 0.0f32);
        for seed in 0..12 {
            let mut rng = Rng::new(seed, 43);
            let model = dense(seed);
            let network = Network::new(&Device::cpu(), &model).unwrap();
            let bounder = Bounder::new(&network, Method::Crown).unwrap();
            let image: Vec<f32> = (0..8).map(|_| rng.range(0.3, 0.7)).collect();
            let region = Region::balls(&bounder, &[Ball { image: &image, class: 0, delta: 0.25 }]).unwrap();
            let state = Linearised::new(&bounder, &region).unwrap();
            let whole = state.known.limits().unwrap().remove(0);
            let depth = Depth { domains: 256, until: None };
            let (limits, halved) = bounder.halve_neurons(&state, depth, true).unwrap();
            assert_eq!(halved.len(), 1);
            let mut hull: Vec<[f32; 2]> = vec![[f32::INFINITY, f32::NEG_INFINITY]; 12];
            for _ in 0..2000 {
                let side = |x: &f32| (x + if rng.below(2) == 0 { 0.25 } else { -0.25 }).clamp(0.0, 1.0);
                let values = forward(&model, &image.iter().map(side).collect::<Vec<f32>>());
                for (value, ends) in limits[0].iter().enumerate() {
                    let Some([lower, upper]) = ends else { continue };
                    for (k, &z) in values[value].iter().enumerate() {
                        assert!(f64::from(lower[k]) <= z && z <= f64::from(upper[k]), "seed {seed}, value {value}");
                        // Value 3 is that of the second layer.
                        if value == 3 {
                            hull[k] = [hull[k][0].min(z as f32), hull[k][1].max(z as f32)];
                        }
                    }
                }
            }
            let width = |ends: &Option<[Vec<f32>; 2]>| -> f32 {
                let [lower, upper] = ends.as_ref().unwrap();
                lower.iter().zip(upper).map(|(l, u)| if *l < 0.0 && *u > 0.0 { u - l } else { 0.0 }).sum()
            };
            (before, after) = (before + width(&whole[3]), after + width(&limits[0][3]));
            seen += hull.iter().map(|[l, u]| if *l < 0.0 && *u > 0.0 { u - l } else { 0.0 }).sum::<f32>();
        }
        // Corners by chance do not reach all that there is.
        assert!(after < 0.9 * before && after < 1.3 * seen, "{before} {after} {seen}");
    }

    /// What is not reached in time stays as it was.
    #[test]
    fn no_time_leaves_limits_as_they_are() {
        let network = Network::new(&Device::cpu(), &dense(1)).unwrap();
        let bounder = Bounder::new(&network, Method::Crown).unwrap();
        let ball = Ball { image: &[0.5; 8], class: 0, delta: 0.25 };
        let region = Region::balls(&bounder, &[ball]).unwrap();
        let state = Linearised::new(&bounder, &region).unwrap();
        let depth = Depth { domains: 256, until: Some(Instant::now()) };
        let (limits, halved) = bounder.halve_neurons(&state, depth, false).unwrap();
        assert!(limits == state.known.limits().unwrap() && halved.is_empty());
    }
}
