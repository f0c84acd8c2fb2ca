//! Ends of neurons by branch and bound, layer by layer. Lines over single neurons lose the more the deeper they stand in dense
//! layers, and whatever signs are assumed behind them, that loss stays; solvers that look for exact answers bound neurons by
//! integer programs for that reason (Tjeng et al. 2019). The neurons of a layer are the outputs of the network that ends there,
//! so that each end is a row of that network, and is halved where its bound is least: what all halves have in common holds.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::domain::Domain;
use super::progress::Bounded;
use super::root::Root;
use super::{Bounder, GROWTH, HASTY, Row, roots};
use crate::bounds::graph;
use crate::bounds::limits::Limits;
use crate::bounds::linearised::Linearised;
use crate::bounds::region::Region;
use crate::error::{Error, Result};
use crate::model::ValueId;

/// Domains of one end, at most: each further doubling gains less than the one before.
const DOMAINS: usize = 128;

/// One end of a neuron: the least of a row over a region.
struct End {
    lane: usize,
    neuron: usize,
    /// The row is that of the neuron's negation.
    negated: bool,
    /// What the row is at least, as far as all of its parts are known.
    least: f32,
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
    /// Limits of the regions of `state`, those of neurons behind other neurons by halving, until `until`: what is not reached by
    /// then stays as it is.
    pub(super) fn halve_neurons(&self, state: &Linearised<'_>, until: Instant) -> Result<Vec<Limits>> {
        let (net, mut limits) = (&self.net, state.known.limits()?);
        let values: Vec<ValueId> = (1..net.model.output())
            .filter(|&v| graph::feeds_relaxation(net, v) && !graph::is_affine_in_the_input(net, v))
            .collect();
        for (at, &value) in values.iter().enumerate() {
            let now = Instant::now();
            let share = until.saturating_duration_since(now) / (values.len() - at) as u32;
            let part = self.up_to(value, now + share)?;
            match part.halve_outputs(state.region(), &mut limits, value) {
                Err(Error::Timeout) => {}
                other => other?,
            }
        }
        Ok(limits)
    }

    /// Bounds of the network that ends at a value, until then.
    fn up_to(&self, value: ValueId, deadline: Instant) -> Result<Bounder> {
        let net = self.net.up_to(value);
        let range = Arc::new(net.range(self.peak, f64::from(GROWTH))?);
        Ok(Bounder { net, range, deadline: Some(deadline), ..self.clone() })
    }

    /// Moves the limits of neurons that are open, the outputs of this network.
    fn halve_outputs(&self, region: &Region, limits: &mut [Limits], value: ValueId) -> Result<()> {
        let outputs = self.net.model.outputs();
        let mut ends = vec![];
        for (lane, limits) in limits.iter().enumerate() {
            let Some([lower, upper]) = &limits[value] else { continue };
            for neuron in (0..outputs).filter(|&k| lower[k] < 0.0 && upper[k] > 0.0) {
                for (negated, least) in [(false, lower[neuron]), (true, -upper[neuron])] {
                    ends.push(End { lane, neuron, negated, least, parts: BinaryHeap::new(), domains: 0 });
                }
            }
        }
        let row = |end: &End| {
            let mut coefficients = vec![0.0; outputs];
            coefficients[end.neuron] = if end.negated { -1.0 } else { 1.0 };
            Row { lane: end.lane, coefficients, constant: 0.0 }
        };
        let rows: Vec<Row> = ends.iter().map(row).collect();
        let known: Vec<&Limits> = limits.iter().collect();
        let (state, provable) = Linearised::whole(self, region, &known, |state| state.known.provable())?;
        let Some((roomy, roots)) = roots(state)?.filter(|_| !provable.contains(&false)) else { return Ok(()) };
        let halved = roomy.halve_ends(&rows, &roots, &mut ends);
        for end in &ends {
            let [lower, upper] = limits[end.lane][value].as_mut().expect("its neurons were open");
            match end.negated {
                false => lower[end.neuron] = lower[end.neuron].max(end.least),
                true => upper[end.neuron] = upper[end.neuron].min(-end.least),
            }
        }
        halved
    }

    /// Halves the part of every end where its row is least, until its sign is known or time is over.
    fn halve_ends(&self, rows: &[Row], roots: &[Arc<Root>], ends: &mut [End]) -> Result<()> {
        let whole = |(r, end): (usize, &End)| (r, Domain::whole(r, &roots[end.lane]), end.least);
        let mut due: Vec<(usize, Domain, f32)> = ends.iter().enumerate().map(whole).collect();
        while !due.is_empty() {
            let share = self.domains_at_once().min(due.len().div_ceil(rayon::current_num_threads()));
            let bound = |part: &[(usize, Domain, f32)]| {
                let domains: Vec<Domain> = part.iter().map(|(_, domain, _)| domain.clone()).collect();
                self.climbed(rows, &domains, HASTY).map(|(bounded, _)| bounded)
            };
            let bounded: Vec<Vec<Bounded>> = due.par_chunks(share).map(bound).collect::<Result<_>>()?;
            for ((r, _, least), bounded) in due.iter().zip(bounded.into_iter().flatten()) {
                let Bounded { lower, domain, next, .. } = bounded;
                ends[*r].parts.push(Part { least: lower.max(*least), next, domain });
                ends[*r].domains += 1;
            }
            due.clear();
            for (r, end) in ends.iter_mut().enumerate() {
                let Some(weakest) = end.parts.peek() else { continue };
                end.least = end.least.max(weakest.least);
                let Some((node, neuron)) = weakest.next.filter(|_| end.least < 0.0 && end.domains < DOMAINS) else {
                    continue;
                };
                let least = weakest.least;
                due.extend(weakest.domain.halves(node, neuron).map(|half| (r, half, least)));
                end.parts.pop();
            }
        }
        Ok(())
    }
}
