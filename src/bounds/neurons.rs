//! Method `alpha` behind the margins: lower slopes for the bounds of neurons, shared by all rows of an image, moved up the
//! gradient of the worst margin (Xu et al. 2021; there every neuron has slopes of its own).
//!
//! The margin depends on the bounds of a neuron through its upper line. Where a row takes that line with coefficient
//! `A < 0` at the value `z`, the ends `l` and `u` of the neuron move it at the rates `A u (z - u) / (u - l)^2` and
//! `A l (l - z) / (u - l)^2`: what is at stake. A layer's slopes then climb the sum of its neurons' bounds, weighted by
//! their stakes. Old bounds stay where new ones are looser.

use super::Row;
use super::backward::{Keep, patch_geometry};
use super::forward::State;
use super::slopes::Run;
use super::targets::Target;
use super::watch::Watch;
use crate::device::Buffer;
use crate::error::Result;
use crate::model::ValueId;
use crate::network::Placed;
use crate::ops::conv;
use crate::ops::linear::RELAX;
use crate::ops::optimizer::Adam;
use crate::ops::{activation, range, relax, select, shared_slopes};

/// Steps of the climb, and their size, falling to [`LAST`] of it.
const STEPS: u32 = 4;
const RATE: f32 = 0.5;
const LAST: f32 = 0.3;

/// Stakes below this share of the image's largest are left alone: many rows for little.
const LEAST: f32 = 1e-3;

/// Lower slopes `[lane][element]` of a ReLU node.
pub(super) type LowerSlopes = (usize, Vec<f32>);

impl State<'_> {
    /// Tightens the bounds of those neurons that the worst row of each box depends on.
    pub fn improve(&mut self, rows: &[Row], worst: &[usize]) -> Result<()> {
        let run = self.run(rows, worst, None)?;
        let nodes = &self.bounder.net.model.nodes;
        let relu = |&i: &usize| matches!(self.bounder.net.layer(i), Placed::Relu);
        let relus: Vec<usize> = (0..nodes.len()).filter(relu).collect();
        let reads = |i: &usize| nodes[*i].inputs[0];
        for (at, i) in relus.iter().enumerate() {
            // Through a single layer over the box, interval bounds are as tight as any; a value is climbed for once.
            let Some(producer) = reads(i).checked_sub(1) else { continue };
            let exact = nodes[producer].inputs.iter().all(|&v| v == 0);
            if exact || relus[..at].iter().any(|other| reads(other) == reads(i)) {
                continue;
            }
            let (targets, weights) = self.stakes(*i, &run)?;
            if !targets.is_empty() {
                self.climb_neurons(producer, &targets, &weights)?;
                relus.iter().filter(|other| reads(other) == reads(i)).try_for_each(|&other| self.relax_again(other))?;
            }
        }
        Ok(())
    }

    /// The ends of the inputs of ReLU node `i` that the worst rows of `run` depend on, and how much.
    fn stakes(&self, i: usize, run: &Run) -> Result<(Vec<Target>, Vec<f32>)> {
        let (d, lanes) = (self.bounder.device(), self.boxes.lanes);
        let value = self.bounder.net.model.nodes[i].inputs[0];
        let Some(above) = &run.above[i] else { return Ok((vec![], vec![])) };
        let (above, z): (Vec<f32>, Vec<f32>) = (d.read(above)?, d.read(&run.values[value])?);
        let [lower, upper] = self.ends(value)?;
        let provable = self.provable()?;
        let (mut targets, mut weights) = (vec![], vec![]);
        for image in (0..self.boxes.count).filter(|image| provable[*image]) {
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
            for k in self.by_place(value) {
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
    fn climb_neurons(&mut self, i: usize, targets: &[Target], weights: &[f32]) -> Result<()> {
        let d = self.bounder.device();
        let tables = |state: &Self| -> Result<Vec<Option<Vec<f32>>>> {
            let relaxed = state.relaxations[..i].iter().enumerate();
            let relus = relaxed.map(|(j, t)| t.as_ref().filter(|_| matches!(state.bounder.net.layer(j), Placed::Relu)));
            relus.map(|t| t.map(|t| d.read(t)).transpose()).collect()
        };
        let before = tables(self)?;
        let zeros = || -> Result<Vec<Option<Buffer>>> {
            before.iter().map(|t| t.as_ref().map(|t| d.zeros(t.len() / RELAX)).transpose()).collect()
        };
        let (m, v) = (zeros()?, zeros()?);
        let spread = !self.is_chain(i);
        // A row keeps its values and coefficients on the whole way.
        let kept = (0..=i).map(|v| self.bounder.net.model.shape(v).len()).sum();
        let chunk = self.bounder.rows_per_chunk(kept);
        for step in 0..STEPS {
            let gradients = zeros()?;
            for (targets, weights) in targets.chunks(chunk).zip(weights.chunks(chunk)) {
                self.bounder.check_deadline()?;
                self.collect_gradient(i, targets, weights, spread, &gradients)?;
            }
            let share = step as f32 / STEPS as f32;
            let adam = Adam { rate: RATE * LAST.powf(share), beta2: 0.99, ..Adam::default() };
            for (j, gradient) in gradients.iter().enumerate() {
                let (Some(gradient), Some(table), Some(m), Some(v)) = (gradient, &self.relaxations[j], &m[j], &v[j])
                else {
                    continue;
                };
                shared_slopes::step(d, gradient, table, [m, v], &adam, step + 1)?;
            }
        }
        let [mut lower, mut upper] = self.ends(i + 1)?;
        let old = [lower.clone(), upper.clone()];
        self.refine_by(i, targets, true, &mut lower, &mut upper)?;
        let at = |t: &Target| t.neuron as usize * self.boxes.lanes + t.image as usize;
        let tighter = |t: &&Target| lower[at(t)] > old[0][at(t)] || upper[at(t)] < old[1][at(t)];
        let better: Vec<Target> = targets.iter().filter(tighter).copied().collect();
        self.narrow(i + 1, &better, &lower, &upper)?;
        let word = |table: &Vec<f32>| table.chunks(RELAX).map(|lines| lines[2]).collect();
        let climbed = tables(self)?;
        self.inner[i] = climbed.iter().enumerate().filter_map(|(j, t)| Some((j, word(t.as_ref()?)))).collect();
        for (table, before) in self.relaxations.iter().zip(&before) {
            if let (Some(table), Some(before)) = (table, before) {
                d.write(table, before)?;
            }
        }
        Ok(())
    }

    /// Relaxes ReLU node `i` anew over its tighter inputs, with the lower slopes that it has.
    fn relax_again(&mut self, i: usize) -> Result<()> {
        let (d, lanes) = (self.bounder.device(), self.boxes.lanes);
        let Some(old) = &self.relaxations[i] else { return Ok(()) };
        let [c, r] = self.interval(self.bounder.net.model.nodes[i].inputs[0]);
        let table = d.alloc(old.len())?;
        relax::relu(d, [c, r], &self.relaxation_magnitude(i)?, &table, lanes)?;
        let (old, mut new): (Vec<f32>, Vec<f32>) = (d.read(old)?, d.read(&table)?);
        for (new, old) in new.chunks_mut(RELAX).zip(old.chunks(RELAX)) {
            // Only an unstable neuron has an intercept.
            if new[1] > 0.0 {
                new[2] = old[2];
            }
        }
        d.write(&table, &new)?;
        self.relaxations[i] = Some(table);
        Ok(())
    }

    /// Whether all nodes up to `i` stand in one row, affine layers and ReLUs in turn, no ReLU in another shape than what it
    /// reads: then rows may keep to their windows.
    fn is_chain(&self, i: usize) -> bool {
        let net = &self.bounder.net;
        (0..=i).all(|m| {
            let relu = matches!(net.layer(m), Placed::Relu) && net.model.shape(m) == net.model.shape(m + 1);
            let affine = matches!(net.layer(m), Placed::Affine(_));
            let after_relu = m == 0 || matches!(net.layer(m - 1), Placed::Relu);
            net.model.nodes[m].inputs == [m] && (relu && !after_relu || affine && after_relu)
        })
    }

    /// Adds what the targets, neurons of node `i`, ask of the slopes below to `gradients`, by node.
    fn collect_gradient(
        &self,
        i: usize,
        targets: &[Target],
        weights: &[f32],
        spread: bool,
        gradients: &[Option<Buffer>],
    ) -> Result<()> {
        let (net, d) = (&self.bounder.net, self.bounder.device());
        let (rows, channels) = self.place_targets(i, targets)?;
        let mut weights = weights.to_vec();
        weights.resize(rows.lanes, 0.0);
        let weight = d.upload(&weights)?;
        let span = d.upload(&spans(targets, self.boxes.lanes))?;
        let (from, start, sums) = self.start(i, &rows, &channels)?;
        let start = if spread { self.densify(start, &rows)? } else { start };
        let mut keep = Keep::new(&net.model);
        let end = self.walk(from, start, &rows, &sums, 0, Some(&mut keep))?;
        let x = d.alloc(end.a.len())?;
        let [centre, radius] = self.tables(0)?;
        shared_slopes::corner(d, &end.window, &end.a, [centre, radius], &rows, &x)?;
        keep.windows[0] = Some(end.window);
        let mut values: Vec<Option<Buffer>> = vec![Some(x)];
        let watch = Watch::new(self.bounder, rows.lanes)?;
        for m in 0..from {
            let Some(window) = &keep.windows[m + 1] else {
                values.push(None);
                continue;
            };
            let y = d.alloc(window.elements() * rows.lanes)?;
            let inputs = &net.model.nodes[m].inputs;
            let read = |v: ValueId| values[v].as_ref().expect("walked through");
            match (net.layer(m), &keep.above[m], &self.relaxations[m], gradients.get(m).and_then(Option::as_ref)) {
                (Placed::Relu, Some(a), Some(table), Some(gradient)) => {
                    shared_slopes::bend(d, window, read(inputs[0]), table, &rows, &weight, &y, &a.a)?;
                    shared_slopes::collect(d, window, &a.a, &rows, &span, gradient)?;
                }
                (Placed::Activation(_), Some(a), Some(table), _) => {
                    activation::follow(d, &a.a, read(inputs[0]), [table, self.feet(m)], &rows, &y)?;
                }
                (Placed::MaxPool(g), Some(a), ..) => {
                    select::forward(d, g, [read(inputs[0]), &a.a], self.peaks(m), &rows, &y)?;
                }
                (Placed::Affine(affine), ..) if !window.is_dense() => {
                    let below = keep.windows[inputs[0]].as_ref().expect("walked through");
                    let geometry = patch_geometry(&affine.geometry, window, below);
                    self.bounder.count(geometry.products() * rows.count);
                    conv::forward(d, &geometry, read(inputs[0]), &affine.weight, &affine.bias, &y, rows.lanes)?;
                }
                (layer, ..) => {
                    if let Placed::Affine(affine) = layer {
                        self.bounder.count(affine.geometry.products() * rows.count);
                    }
                    let inputs: Vec<&Buffer> = inputs.iter().map(|&v| read(v)).collect();
                    net.forward_layer(m, &inputs, &y, rows.lanes)?;
                }
            }
            watch.clear(self.bounder, &y, rows.lanes, range::MOST)?;
            values.push(Some(y));
        }
        Ok(())
    }
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
