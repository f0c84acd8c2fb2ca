//! Method `alpha` behind the margins: lower slopes for the bounds of neurons, shared by all rows of an image, moved up the
//! gradient of the worst margin (Xu et al. 2021; there every neuron has slopes of its own).
//!
//! The margin depends on the bounds of a neuron through its upper line. Where a row takes that line with coefficient
//! `A < 0` at the value `z`, the ends `l` and `u` of the neuron move it at the rates `A u (z - u) / (u - l)^2` and
//! `A l (l - z) / (u - l)^2`: what is at stake. A layer's slopes then climb the sum of its neurons' bounds, weighted by
//! their stakes. Old bounds stay where new ones are looser.

use super::margins::{Run, run_each};
use crate::bounds::intermediate::Target;
use crate::bounds::linearised::Linearised;
use crate::bounds::relaxation::Line;
use crate::bounds::walk::{Keep, Walk};
use crate::bounds::{Row, graph};
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::linear::RELAX;
use crate::ops::optimizer::Adam;
use crate::ops::shared_slopes;

/// Steps of the climb, and their size, falling to [`LAST`] of it.
const STEPS: u32 = 4;
const RATE: f32 = 0.5;
const LAST: f32 = 0.3;

/// Stakes below this share of the image's largest are left alone: many rows for little.
const LEAST: f32 = 1e-3;

/// Tightens the bounds of those neurons that the worst row of each region depends on.
pub(super) fn improve(state: &mut Linearised<'_>, rows: &[Row], worst: &[usize]) -> Result<()> {
    let run = run_each(state, rows, worst)?;
    let net = &state.bounder().net;
    let relus: Vec<usize> = graph::relus(net).collect();
    let reads = |i: usize| net.model.nodes[i].inputs[0];
    for (at, &i) in relus.iter().enumerate() {
        // Through a single layer over the box, interval bounds are as tight as any; a value is climbed for once.
        let Some(producer) = reads(i).checked_sub(1) else { continue };
        if graph::reads_the_input(net, producer) || relus[..at].iter().any(|&other| reads(other) == reads(i)) {
            continue;
        }
        let (targets, weights) = stakes(state, i, &run)?;
        if !targets.is_empty() {
            climb_neurons(state, producer, &targets, &weights)?;
            let again = relus.iter().filter(|&&other| reads(other) == reads(i));
            again.copied().try_for_each(|other| state.relaxations.relax_again(&state.known, other))?;
        }
    }
    Ok(())
}

/// The ends of the inputs of ReLU node `i` that the worst rows of `run` depend on, and how much.
fn stakes(state: &Linearised<'_>, i: usize, run: &Run) -> Result<(Vec<Target>, Vec<f32>)> {
    let (d, lanes) = (state.bounder().device(), state.region().lanes);
    let model = &state.bounder().net.model;
    let value = model.nodes[i].inputs[0];
    let (Some(above), Some(z)) = (&run.above[i], &run.values[value]) else { return Ok((vec![], vec![])) };
    let ends = state.known.ends(value)?;
    let read = d.read_all::<f32>(&[&above.a, z, &ends.lower, &ends.upper])?;
    let [above, z, lower, upper] = [0, 1, 2, 3].map(|k| &read[k]);
    let (mut targets, mut weights) = (vec![], vec![]);
    for image in 0..state.region().count {
        let stake = |k: usize| -> [f32; 2] {
            let at = k * lanes + image;
            let (a, l, u) = (above[at], lower[at], upper[at]);
            if !(a < 0.0 && l < 0.0 && u > 0.0) {
                return [0.0; 2];
            }
            let (z, span) = (z[at].clamp(l, u), u - l);
            [-a * (u / span) * ((u - z) / span), a * (l / span) * ((z - l) / span)]
        };
        let first = targets.len();
        for k in graph::by_place(model.shape(value)) {
            for (weight, negated) in stake(k).into_iter().zip([false, true]) {
                if weight > 0.0 && weight.is_finite() {
                    targets.push(Target { image: image as u32, neuron: k as u32, negated });
                    weights.push(weight);
                }
            }
        }
        let least = LEAST * weights[first..].iter().fold(0.0, |m: f32, w| m.max(*w));
        let mut kept = first;
        for t in first..targets.len() {
            if weights[t] >= least {
                (targets[kept], weights[kept]) = (targets[t], weights[t]);
                kept += 1;
            }
        }
        targets.truncate(kept);
        weights.truncate(kept);
    }
    Ok((targets, weights))
}

/// Moves slopes for the output neurons of node `i`, bounds the targets with the last ones and puts the old ones back.
fn climb_neurons(state: &mut Linearised<'_>, i: usize, targets: &[Target], weights: &[f32]) -> Result<()> {
    let bounder = state.bounder();
    let d = bounder.device();
    let relus: Vec<usize> = graph::relus(&bounder.net).take_while(|&j| j < i).collect();
    let before: Vec<Buffer> = relus.iter().map(|&j| d.copied(state.relaxations.relaxed(j))).collect::<Result<_>>()?;
    let zeros = || -> Result<Vec<Buffer>> { before.iter().map(|t| d.zeros(t.len() / RELAX)).collect() };
    let (m, v) = (zeros()?, zeros()?);
    let whole = !graph::is_chain(&bounder.net, i);
    // A row keeps its values and coefficients on the whole way.
    let kept = (0..=i).map(|v| bounder.net.model.shape(v).len()).sum();
    let chunk = bounder.rows_per_chunk(kept);
    for step in 0..STEPS {
        let gradients = zeros()?;
        for (targets, weights) in targets.chunks(chunk).zip(weights.chunks(chunk)) {
            bounder.check_deadline()?;
            let gradient = |node: usize| relus.iter().position(|&j| j == node).map(|at| &gradients[at]);
            collect_gradient(&state.walk(), i, targets, weights, whole, gradient)?;
        }
        let share = step as f32 / STEPS as f32;
        let adam = Adam { rate: RATE * LAST.powf(share), beta2: 0.99, ..Adam::default() };
        for (at, &j) in relus.iter().enumerate() {
            let table = state.relaxations.relaxed(j);
            shared_slopes::step(d, &gradients[at], table, [&m[at], &v[at]], &adam, step + 1)?;
        }
    }
    let (list, ends) = (Target::list(d, targets)?, state.known.ends(i + 1)?);
    state.walk().bound_neurons(i, &list, false, true, &ends)?;
    state.known.narrow(i + 1, &list, &ends, true)?;
    let climbed: Vec<&Buffer> = relus.iter().map(|&j| state.relaxations.relaxed(j)).collect();
    let lower_slopes = |table: &Vec<f32>| Line::all(table).map(|line| line.lower).collect();
    state.inner[i] = relus.iter().zip(&d.read_all::<f32>(&climbed)?).map(|(&j, t)| (j, lower_slopes(t))).collect();
    for (&j, before) in relus.iter().zip(&before) {
        d.copy(before, state.relaxations.relaxed(j))?;
    }
    Ok(())
}

/// Adds what the targets, neurons of node `i`, ask of the slopes of the ReLUs below to `gradient` by node.
fn collect_gradient<'g>(
    walk: &Walk<'_>,
    i: usize,
    targets: &[Target],
    weights: &[f32],
    whole: bool,
    gradient: impl Fn(usize) -> Option<&'g Buffer>,
) -> Result<()> {
    let d = walk.device();
    let rows = walk.place(i, &Target::list(d, targets)?, 0..targets.len(), false)?;
    let mut weights = weights.to_vec();
    weights.resize(rows.lanes, 0.0);
    let weight = d.upload(&weights)?;
    let span = d.upload(&spans(targets, walk.known.region.lanes))?;
    let (from, start, sums) = walk.start(i, &rows)?;
    let start = if whole { start.densify(d, &rows)? } else { start };
    walk.replay(from, start, &rows, &sums, &mut Keep::new(&walk.net().model), |bend| {
        let (window, a) = (&bend.above.window, &bend.above.a);
        shared_slopes::bend(d, window, bend.z, bend.lines, &rows, &weight, bend.y, a)?;
        gradient(bend.node).map_or(Ok(()), |sum| shared_slopes::collect(d, window, a, &rows, &span, sum))
    })?;
    Ok(())
}

/// First lane of every image and the one after its last, for targets that stand by image.
fn spans(targets: &[Target], images: usize) -> Vec<u32> {
    let mut span = vec![0; 2 * images];
    for (lane, target) in targets.iter().enumerate() {
        let image = target.image as usize;
        if span[images + image] == 0 {
            span[image] = lane as u32;
        }
        span[images + image] = lane as u32 + 1;
    }
    span
}
