//! Method `alpha`: lower slopes of ReLUs moved up the gradient of the worst margin (see `ops::slopes`).
//!
//! The slopes of an image serve all its margins; the bounds of its neurons have slopes of their own (`neurons.rs`).

use super::forward::State;
use super::watch::Watch;
use super::{Ball, Bounder, Bounds, Row};
use crate::device::Buffer;
use crate::error::Result;
use crate::network::Placed;
use crate::ops::linear::{self, Rows};
use crate::ops::optimizer::Adam;
use crate::ops::{activation, range, select, signs, slopes};
use crate::tensor;

/// How hard to climb.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// How often the worst row is looked for and bounded.
    pub rounds: usize,
    /// Steps up its gradient each time.
    pub steps: u32,
    /// Step size, falling to [`LAST`] of it.
    pub rate: f32,
}

/// What `alpha` spends on the margins.
const MARGINS: Effort = Effort { rounds: 3, steps: 7, rate: 0.3 };

/// And once more when the neurons behind them are bounded better.
const AGAIN: Effort = Effort { rounds: 1, steps: 7, rate: 0.1 };

const LAST: f32 = 0.1;

/// First and second moments of Adam by node.
#[derive(Default)]
pub(super) struct Moments {
    slopes: Vec<Option<[Buffer; 2]>>,
    signs: Vec<Option<[Buffer; 2]>>,
}

/// One row per box, linearised: its coefficients above every nonlinear layer, by node, and every value where it is least, all
/// `[element][lane]`.
pub(super) struct Run {
    pub above: Vec<Option<Buffer>>,
    /// By value; 0 is the point in the box.
    pub values: Vec<Buffer>,
}

/// Slopes of one ReLU node, by neuron.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ReluSlopes {
    /// Index into the model's nodes.
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
    /// `relu(z) <= upper * z + intercept`.
    pub upper: Vec<f32>,
}

/// Lower slopes of one ReLU node, by neuron.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct InnerSlopes {
    /// Index into the model's nodes.
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
}

/// Slopes that the output neurons of one node were bounded with, beside the standard ones.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NeuronSlopes {
    /// Index into the model's nodes.
    pub node: usize,
    /// Of the ReLUs that walks from these neurons pass.
    pub relu: Vec<InnerSlopes>,
}

/// What an auditor needs to prove the margins of one ball again: the lines of the margins' walk, and the lower slopes of
/// the walks from neurons where they are not the standard ones.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Certificate {
    /// What these lines prove.
    #[serde(skip)]
    pub radius: f32,
    /// Radius of the ball on which neurons are bounded, at least the one that is proved.
    pub ball: f32,
    /// For the margins.
    pub relu: Vec<ReluSlopes>,
    /// For the neurons behind them.
    pub inner: Vec<NeuronSlopes>,
    /// For radii found by branch and bound, in place of `relu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branches: Option<Branches>,
}

/// Domains that together cover a ball for each rival of the class.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Branches {
    /// Node and neuron of those that leaves have slopes for.
    pub unstable: Vec<(usize, usize)>,
    /// In no order.
    pub leaves: Vec<Leaf>,
}

/// One domain, and how the margin over one rival is proved on it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Leaf {
    /// The class whose margin is proved here.
    pub rival: usize,
    /// Signs that make this part of the ball.
    pub assumed: Vec<Assumed>,
    /// Lower slopes, in steps of 1/255.
    pub slopes: Vec<u8>,
}

/// A neuron whose sign is assumed.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Assumed {
    /// Index of its ReLU in the model's nodes.
    pub node: usize,
    /// Flat `[channel][row][column]` index.
    pub neuron: usize,
    /// At least zero, rather than at most.
    pub active: bool,
    /// Multiplier of the assumption.
    pub beta: f32,
}

impl Bounder {
    /// Bounds balls as [`probe`](Bounder::probe) does and hands over the lines used. Interval bounds have none.
    pub fn certificates(&self, balls: &[Ball<'_>]) -> Result<Vec<Certificate>> {
        let boxes = self.balls(balls)?;
        let (rows, _) = self.margins(balls);
        let mut state = State::new(self, &boxes)?;
        let mut bounds = self.evaluate(&state, &rows, false)?;
        let mut lines = state.lines(balls.len())?;
        if self.method.optimises() {
            state.optimise(&rows, &mut bounds, false, |state, better| {
                for (lane, new) in state.lines(balls.len())?.into_iter().enumerate().filter(|(l, _)| better[*l]) {
                    lines[lane] = new;
                }
                Ok(())
            })?;
        }
        let mut radii: Vec<f32> = balls.iter().map(|b| b.delta).collect();
        for (r, row) in rows.iter().enumerate() {
            let proved =
                bounds.reach.as_ref().map_or(if bounds.lower[r] > 0.0 { f32::INFINITY } else { 0.0 }, |v| v[r]);
            radii[row.lane] = radii[row.lane].min(proved);
        }
        let balls = balls.iter().map(|b| b.delta);
        let lines = lines.into_iter().zip(radii).zip(balls);
        Ok(lines.map(|((lines, radius), ball)| Certificate { radius, ball, ..lines }).collect())
    }

    /// For every ball the point `[channel][row][column]` where the linear bound of its worst margin is least: a place to
    /// start an attack from. Interval bounds have none to offer.
    pub fn corners(&self, balls: &[Ball<'_>]) -> Result<Vec<Vec<f32>>> {
        let boxes = self.balls(balls)?;
        let (rows, _) = self.margins(balls);
        let state = State::new(self, &boxes)?;
        let bounds = self.evaluate(&state, &rows, false)?;
        let (_, x) = state.corner(&rows, &state.worst_rows(&rows, &bounds.lower), &state.one_each()?)?;
        let elements = self.net.model.input.len();
        let x = tensor::deinterleave(&self.net.device.read::<f32>(&x)?, elements, balls.len());
        Ok(x.chunks(elements).map(<[f32]>::to_vec).collect())
    }
}

impl State<'_> {
    /// Method `alpha`: slopes of the margins first, then those of the neurons behind them, then those of the margins again.
    /// Replaces the bounds of every box that gets better, and after every round tells `kept` which did.
    pub fn optimise(
        &mut self,
        rows: &[Row],
        best: &mut Bounds,
        want_slopes: bool,
        mut kept: impl FnMut(&Self, &[bool]) -> Result<()>,
    ) -> Result<()> {
        if rows.is_empty() || !self.can_climb() {
            return Ok(());
        }
        self.climb(rows, best, want_slopes, MARGINS, &mut kept)?;
        let worst = self.worst_rows(rows, &best.lower);
        self.improve(rows, &worst)?;
        let next = self.bounder.evaluate(self, rows, want_slopes)?;
        kept(self, &best.keep_better(&next, rows, self.boxes.count))?;
        self.climb(rows, best, want_slopes, AGAIN, &mut kept)
    }

    /// Whether there are slopes to move.
    pub fn can_climb(&self) -> bool {
        let net = &self.bounder.net;
        (0..net.model.nodes.len()).any(|i| matches!(net.layer(i), Placed::Relu))
    }

    /// Moves lower slopes, and multipliers of assumed signs, up the gradient of each box's worst row, and replaces the
    /// bounds of every box whose worst row gets better. After every round `kept` is told which boxes got better.
    pub fn climb(
        &self,
        rows: &[Row],
        best: &mut Bounds,
        want_slopes: bool,
        effort: Effort,
        mut kept: impl FnMut(&Self, &[bool]) -> Result<()>,
    ) -> Result<()> {
        if !self.can_climb() {
            return Ok(());
        }
        let moments = self.moments()?;
        let mut worst = self.worst_rows(rows, &best.lower);
        let all = effort.rounds as u32 * effort.steps;
        for done in 0..all {
            self.bounder.check_deadline()?;
            let share = done as f32 / all as f32;
            let adam = Adam { rate: effort.rate * LAST.powf(share), beta2: 0.99, ..Adam::default() };
            self.run(rows, &worst, Some((&moments, &adam, done + 1)))?;
            if (done + 1) % effort.steps == 0 {
                let next = self.bounder.evaluate(self, rows, want_slopes)?;
                worst = self.worst_rows(rows, &next.lower);
                kept(self, &best.keep_better(&next, rows, self.boxes.count))?;
            }
        }
        Ok(())
    }

    /// Moments at rest.
    fn moments(&self) -> Result<Moments> {
        let (net, d) = (&self.bounder.net, self.bounder.device());
        let two = |len: usize| -> Result<_> { Ok(Some([d.zeros(len)?, d.zeros(len)?])) };
        let mut moments = Moments::default();
        for (i, node) in net.model.nodes.iter().enumerate() {
            let relu = matches!(net.layer(i), Placed::Relu);
            moments.slopes.push(if relu { two(node.shape.len() * self.boxes.lanes)? } else { None });
            moments.signs.push(self.signs[i].as_ref().map_or(Ok(None), |s| two(s.beta.len()))?);
        }
        Ok(moments)
    }

    /// The lines of all ReLUs now, for the first `count` boxes.
    pub fn lines(&self, count: usize) -> Result<Vec<Certificate>> {
        let net = &self.bounder.net;
        let none = Certificate { radius: 0.0, ball: 0.0, relu: vec![], inner: vec![], branches: None };
        let mut lines = vec![none; count];
        for (node, table) in self.relaxations.iter().enumerate() {
            let (Placed::Relu, Some(table)) = (net.layer(node), table) else { continue };
            let table: Vec<f32> = self.bounder.device().read(table)?;
            let elements = net.model.nodes[node].shape.len();
            for (lines, table) in lines.iter_mut().zip(table.chunks(elements * linear::RELAX)) {
                let side = |word: usize| table.chunks(linear::RELAX).map(|entry| entry[word]).collect();
                lines.relu.push(ReluSlopes { node, lower: side(2), upper: side(0) });
            }
        }
        for (node, slopes) in self.inner.iter().enumerate().filter(|(_, slopes)| !slopes.is_empty()) {
            for (lane, lines) in lines.iter_mut().enumerate() {
                let own = slopes.iter().map(|(relu, lower)| {
                    let elements = net.model.nodes[*relu].shape.len();
                    InnerSlopes { node: *relu, lower: lower[lane * elements..][..elements].to_vec() }
                });
                lines.inner.push(NeuronSlopes { node, relu: own.collect() });
            }
        }
        Ok(lines)
    }

    /// For each box the row with the smallest bound; the first row for boxes without any.
    fn worst_rows(&self, rows: &[Row], lower: &[f32]) -> Vec<usize> {
        let mut worst: Vec<Option<usize>> = vec![None; self.boxes.count];
        for (r, row) in rows.iter().enumerate() {
            let at = &mut worst[row.lane];
            if at.is_none_or(|w| lower[r] < lower[w]) {
                *at = Some(r);
            }
        }
        worst.into_iter().map(|w| w.unwrap_or(0)).collect()
    }

    /// One row for each box, in their order.
    fn one_each(&self) -> Result<Rows> {
        let (count, lanes) = (self.boxes.count, self.boxes.lanes);
        let images = (0..lanes).map(|lane| if lane < count { lane as u32 } else { 0 });
        Rows::whole(self.bounder.device(), count, images.collect())
    }

    /// Coefficients of every box's worst row above every nonlinear layer, by node, and where in the box that row is least;
    /// all `[element][lane]`.
    fn corner(&self, rows: &[Row], worst: &[usize], each: &Rows) -> Result<(Vec<Option<Buffer>>, Buffer)> {
        let (d, lanes) = (self.bounder.device(), self.boxes.lanes);
        let outputs = self.bounder.net.model.outputs();
        let mut a = vec![0.0; outputs * lanes];
        for (lane, &r) in worst.iter().enumerate() {
            // A network of one output has no margins, and no row.
            let coefficients = rows.get(r).map_or(&[][..], |row| &row.coefficients);
            coefficients.iter().enumerate().for_each(|(k, c)| a[k * lanes + lane] = *c);
        }
        let (above, end) = self.walk_and_keep(d.upload(&a)?, each, &d.zeros(2 * linear::SLICES * lanes)?)?;
        let x = d.alloc(end.len())?;
        slopes::corner(d, &end, self.interval(0), &x, lanes)?;
        Ok((above, x))
    }

    /// Runs the row `worst[lane]` of every box at the point of the box where it is least; on the way moves slopes and
    /// multipliers, if asked to.
    pub fn run(&self, rows: &[Row], worst: &[usize], climb: Option<(&Moments, &Adam, u32)>) -> Result<Run> {
        let (net, d, lanes) = (&self.bounder.net, self.bounder.device(), self.boxes.lanes);
        let each = self.one_each()?;
        let (above, x) = self.corner(rows, worst, &each)?;
        let mut values = vec![x];
        let (rest, still);
        let (moments, adam, step) = match climb {
            Some(climb) => climb,
            None => {
                (rest, still) = (self.moments()?, Adam { rate: 0.0, ..Adam::default() });
                (&rest, &still, 1)
            }
        };
        // Values of the linearised network may lie outside the bounds of the network's own; slopes may be any, but numbers.
        let watch = Watch::new(self.bounder, lanes)?;
        for (i, node) in net.model.nodes.iter().enumerate() {
            let y = d.alloc(node.shape.len() * lanes)?;
            let inputs: Vec<&Buffer> = node.inputs.iter().map(|&v| &values[v]).collect();
            match (net.layer(i), &above[i], &self.relaxations[i], &moments.slopes[i]) {
                (Placed::MaxPool(g), Some(a), ..) => {
                    select::forward(d, g, [inputs[0], a], self.peaks(i), &each, &y)?;
                }
                (Placed::Activation(_), Some(a), Some(table), _) => {
                    activation::follow(d, a, inputs[0], [table, self.feet(i)], &each, &y)?;
                }
                (Placed::Relu, Some(a), Some(table), Some([m, v])) => {
                    slopes::climb(d, a, inputs[0], &y, table, [m, v], lanes, adam, step)?;
                    if let (Some(s), Some([m, v])) = (&self.signs[i], &moments.signs[i]) {
                        signs::climb(d, a, inputs[0], &y, [&s.targets, &s.beta], [m, v], lanes, adam, step)?;
                    }
                }
                (layer, ..) => {
                    if let Placed::Affine(affine) = layer {
                        self.bounder.count(affine.geometry.products() * self.boxes.count);
                    }
                    net.forward_layer(i, &inputs, &y, lanes)?;
                }
            }
            watch.clear(self.bounder, &y, lanes, range::MOST)?;
            values.push(y);
        }
        Ok(Run { above, values })
    }
}

impl Bounds {
    /// Takes over the rows of every box whose smallest radius, or bound where there are no radii, has grown; says which.
    fn keep_better(&mut self, next: &Bounds, rows: &[Row], boxes: usize) -> Vec<bool> {
        let measure = |bounds: &Bounds| {
            let values = bounds.reach.as_ref().unwrap_or(&bounds.lower);
            let mut least = vec![(f32::INFINITY, f32::INFINITY); boxes];
            for (r, row) in rows.iter().enumerate() {
                let (value, lower) = &mut least[row.lane];
                (*value, *lower) = (value.min(values[r]), lower.min(bounds.lower[r]));
            }
            least
        };
        let (old, new) = (measure(self), measure(next));
        let better: Vec<bool> = new.iter().zip(&old).map(|(new, old)| new > old).collect();
        let inputs = next.slopes.len() / rows.len().max(1);
        for (r, _) in rows.iter().enumerate().filter(|(_, row)| better[row.lane]) {
            self.lower[r] = next.lower[r];
            if let (Some(mine), Some(theirs)) = (&mut self.reach, &next.reach) {
                mine[r] = theirs[r];
            }
            let at = r * inputs..(r + 1) * inputs;
            self.slopes[at.clone()].copy_from_slice(&next.slopes[at]);
        }
        better
    }
}
