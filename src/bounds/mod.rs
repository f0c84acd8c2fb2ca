//! Sound bounds of a network over boxes of inputs; the only place that says "proved".
//!
//! A probe asks: over the ball of radius delta around an image, clipped to `[0,1]`, by how much does the logit of one
//! class exceed every other? All probes of a batch go through the same kernels, one lane each.

mod alpha;
mod around;
mod branch;
mod certified;
mod charge;
mod cloud;
mod gradient;
mod graph;
mod held;
mod intermediate;
mod known;
mod linearised;
mod method;
mod price;
mod region;
mod relaxation;
mod replay;
mod rows;
mod shelf;
mod sizes;
mod walk;
mod watch;
mod zonotope;

pub use branch::{Decision, Tree};
pub use certified::Proof;
pub use cloud::{Cloud, CloudBound};
pub use method::{Method, Runtime};
pub use zonotope::Zonotope;

use std::ops::Range as Indices;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::prelude::*;

use held::Held;
use linearised::Linearised;
use region::Region;
use sizes::Sizes;

use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::Layer;
use crate::network::{Network, Range};
use crate::norm::Norm;
use crate::ops::{linear, range, targets};
use crate::rounding::UNIT;
use crate::tensor;

/// Largest relative error of one f32 operation rounded to nearest, as runtimes do.
const NEAREST: f64 = 0.5 * UNIT;

/// Rows of a chunk, whatever the memory, if the device has buffers for them.
const LEAST_ROWS: usize = 4 * tensor::LANE_BLOCK;

/// One question: does `class` dominate on the ball of radius `delta` around `image`, clipped to `[0,1]`?
#[derive(Clone, Copy, Debug)]
pub struct Ball<'a> {
    /// `[channel][row][column]`, values in `[0,1]`.
    pub image: &'a [f32],
    /// The class that is to dominate.
    pub class: usize,
    /// Radius in the bounder's norm, in pixel units of `[0,1]`.
    pub delta: f32,
}

/// What is proved about one [`Ball`].
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Lower bound of `logit_class - logit_j` over the ball, per class j; infinite for the class itself.
    pub margins: Vec<f32>,
    /// Dominance is proved up to this radius, at most `delta`; 0 if nothing is proved.
    pub radius: f32,
    /// Where the bounds of this probe would cross zero if they held beyond delta: a guess for the next probe. Infinite
    /// for methods that cannot tell.
    pub reach: f32,
}

impl Outcome {
    /// The smallest margin and the class it is against.
    pub fn worst(&self) -> (f32, usize) {
        let mut worst = (f32::INFINITY, 0);
        for (j, &m) in self.margins.iter().enumerate() {
            if m < worst.0 {
                worst = (m, j);
            }
        }
        worst
    }
}

/// A linear function of the logits whose lower bound is wanted over one lane's box.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which of the boxes.
    pub lane: usize,
    /// One coefficient per logit, and a constant.
    pub coefficients: Vec<f32>,
    /// Added to the sum.
    pub constant: f32,
}

/// Computes bounds of one network by one method.
#[derive(Clone)]
pub struct Bounder {
    /// The network whose outputs are bounded.
    pub net: Network,
    /// How.
    pub method: Method,
    /// Which evaluations of the network the bounds hold for.
    pub runtime: Runtime,
    /// What the radii of balls are measured by.
    pub norm: Norm,
    /// How many nonlinear layers the rows that bound neurons pass on their way to the input, before interval bounds take
    /// over (Singh et al. 2019 and GPUPoly stop theirs likewise); `None`: all. Rows of margins pass all of them always.
    pub depth: Option<usize>,
    /// Balls are bounded around their images, where [`can_go_around`](Self::can_go_around): what rounding costs then shrinks
    /// with the ball. For radii and their proofs; branch and bound, gradients and corners stay as they are.
    pub around: bool,
    /// Bytes that rows of coefficients may take at a time.
    pub memory: usize,
    /// How large numbers may become.
    range: Arc<Range>,
    /// Largest magnitude of an input.
    peak: f64,
    /// When to give up with [`Error::Timeout`]; checked every now and then.
    pub deadline: Option<Instant>,
    /// Rounding charges on; off only to measure what they cost.
    sound: bool,
    /// See [`products`](Self::products).
    work: Arc<AtomicU64>,
    /// Of rows, as last counted.
    sizes: Sizes,
    /// Images of the last batch.
    held: Arc<Mutex<Held>>,
    /// Of images that balls were bounded around.
    seen: around::Seen,
}

/// What is proved about one [`Row`].
#[derive(Clone, Debug)]
pub struct RowBound {
    /// Lower bound of the row over its box.
    pub lower: f32,
    /// Slope of the linear bound with respect to each input: where to split a box. Empty unless asked for, and for
    /// interval bounds, which have none.
    pub slopes: Vec<f32>,
}

/// Bounds of rows, in order.
#[derive(Default)]
struct Bounds {
    lower: Vec<f32>,
    /// For balls walked down to the input.
    reach: Option<Vec<f32>>,
    /// `[row][input]`, if asked for.
    slopes: Vec<f32>,
}

impl Bounds {
    /// For each of the regions the row with the smallest bound; the first row for those without any.
    fn worst_rows(&self, rows: &[Row], regions: usize) -> Vec<usize> {
        let mut worst: Vec<Option<usize>> = vec![None; regions];
        for (r, row) in rows.iter().enumerate() {
            let at = &mut worst[row.lane];
            if at.is_none_or(|w| self.lower[r] < self.lower[w]) {
                *at = Some(r);
            }
        }
        worst.into_iter().map(|w| w.unwrap_or(0)).collect()
    }

    /// Takes over the rows of every region whose smallest radius, or bound where there are no radii, has grown; says which.
    fn keep_better(&mut self, next: &Bounds, rows: &[Row], regions: usize) -> Vec<bool> {
        let measure = |bounds: &Bounds| {
            let values = bounds.reach.as_ref().unwrap_or(&bounds.lower);
            let mut least = vec![(f32::INFINITY, f32::INFINITY); regions];
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

impl Bounder {
    /// For inputs in `[0,1]`; refuses a network with weights so large that f32 could overflow in a single layer.
    pub fn new(net: &Network, method: Method) -> Result<Bounder> {
        Bounder::for_inputs(net, method, 1.0)
    }

    /// As [`new`](Self::new) for inputs of magnitude up to `peak`.
    pub fn for_inputs(net: &Network, method: Method, peak: f64) -> Result<Bounder> {
        let range = Arc::new(net.range(peak, 1.0)?);
        let memory = net.device.room_for_rows();
        Ok(Bounder {
            net: net.clone(),
            method,
            runtime: Runtime::default(),
            norm: Norm::default(),
            depth: None,
            around: false,
            memory,
            range,
            peak: peak.max(1.0),
            deadline: None,
            sound: true,
            work: Arc::default(),
            sizes: Sizes::default(),
            held: Arc::default(),
            seen: around::Seen::default(),
        })
    }

    /// The same bounds for other evaluations of the network.
    ///
    /// # Errors
    /// [`Error::Usage`] where nothing says how they round a layer.
    pub fn for_runtime(mut self, runtime: Runtime) -> Result<Self> {
        match (runtime, self.net.model.nodes.iter().find(|node| is_curved(&node.layer))) {
            (Runtime::AnyF32, Some(node)) => Err(Error::usage(format!(
                "node '{}' is an activation, of which nothing says how runtimes round it; leave out --runtime any-f32",
                node.name
            ))),
            (Runtime::AnyF32, None) | (Runtime::Exact, _) => {
                self.runtime = runtime;
                Ok(self)
            }
        }
    }

    /// The same bounds over balls of another norm.
    pub fn for_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// How many nonlinear layers the network has.
    pub fn nonlinear_layers(&self) -> usize {
        graph::bends(&self.net, 0..self.net.model.nodes.len())
    }

    /// The same bounds with every rounding charge set to zero: *unsound*, to measure the price of soundness.
    pub fn without_charges(mut self) -> Self {
        self.sound = false;
        self
    }

    /// Multiply-adds that this bounder and its clones have asked of affine layers so far: what its bounds cost at least.
    pub fn products(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    fn count(&self, products: usize) {
        self.work.fetch_add(products as u64, Ordering::Relaxed);
    }

    fn device(&self) -> &Device {
        &self.net.device
    }

    /// Bounds for a batch of balls, in order.
    pub fn probe(&self, balls: &[Ball<'_>]) -> Result<Vec<Outcome>> {
        self.in_parts(balls, |part| self.probe_part(part))
    }

    /// What `bound` says of sets, in order. Kernels alone are too small to keep all cores of a CPU busy; batches are
    /// independent. What waits for a GPU does not do so in a thread that others need.
    fn in_parts<S: Sync, B: Clone + Send>(
        &self,
        sets: &[S],
        bound: impl Fn(&[S]) -> Result<Vec<B>> + Sync + Send,
    ) -> Result<Vec<B>> {
        if self.device().is_gpu() && !sets.is_empty() {
            return bound(sets);
        }
        let share = sets.len().div_ceil(2 * rayon::current_num_threads());
        let parts = sets.par_chunks(share.max(tensor::LANE_BLOCK)).map(bound);
        Ok(parts.collect::<Result<Vec<_>>>()?.concat())
    }

    fn probe_part(&self, balls: &[Ball<'_>]) -> Result<Vec<Outcome>> {
        let classes = self.net.model.outputs();
        let region = self.region(balls)?;
        let rows = || self.margins(balls.iter().map(|b| b.class)).0;
        let own: Vec<u32> = balls.iter().map(|b| b.class as u32).collect();
        // Around images rows have constants, which the host knows.
        let evaluate = |state: &Linearised<'_>| match state.known.around() {
            Some(_) => self.evaluate(state, &rows(), false),
            None => self.evaluate_margins(state, &own),
        };
        let (mut state, mut bounds) = Linearised::whole(self, &region, evaluate)?;
        if self.method.optimises() {
            alpha::optimise(&mut state, &rows(), &mut bounds, false, |_, _| Ok(()))?;
        }
        let Bounds { lower, reach, .. } = bounds;
        let outcome =
            |b: &Ball<'_>| Outcome { margins: vec![f32::INFINITY; classes], radius: b.delta, reach: f32::INFINITY };
        let mut outcomes: Vec<Outcome> = balls.iter().map(outcome).collect();
        for (r, &lower) in lower.iter().enumerate() {
            let (outcome, rival) = (&mut outcomes[r / (classes - 1)], r % (classes - 1));
            let class = balls[r / (classes - 1)].class;
            outcome.margins[rival + usize::from(rival >= class)] = lower;
            if let Some(reach) = &reach {
                outcome.reach = outcome.reach.min(reach[r]);
                outcome.radius = outcome.radius.min(reach[r]);
            } else if lower <= 0.0 {
                outcome.radius = 0.0;
            }
        }
        Ok(outcomes)
    }

    /// The rows of all margins of these classes, one per lane, and the rival of each.
    fn margins(&self, of: impl ExactSizeIterator<Item = usize>) -> (Vec<Row>, Vec<usize>) {
        let classes = self.net.model.outputs();
        let mut rows = Vec::with_capacity(of.len() * classes);
        let mut rivals = Vec::with_capacity(of.len() * classes);
        for (lane, class) in of.enumerate() {
            for j in (0..classes).filter(|&j| j != class) {
                let mut coefficients = vec![0.0; classes];
                coefficients[class] = 1.0;
                coefficients[j] = -1.0;
                rows.push(Row { lane, coefficients, constant: 0.0 });
                rivals.push(j);
            }
        }
        (rows, rivals)
    }

    /// Lower bounds of linear functions of the logits, each over the ball at its row's `lane`.
    pub fn row_bounds(&self, balls: &[Ball<'_>], rows: &[Row]) -> Result<Vec<f32>> {
        Ok(self.lower_bounds(&self.region(balls)?, rows, false)?.lower)
    }

    /// Lower bounds of linear functions of the logits; row `r` speaks of box `r.lane`, given by its lower and upper
    /// ends `[channel][row][column]`. `slopes` asks for [`RowBound::slopes`].
    ///
    /// # Errors
    /// [`Error::Usage`] if a box reaches beyond the magnitude this bounder was made for, [`Error::Timeout`], or a fault
    /// of the device.
    pub fn box_bounds(&self, boxes: &[(&[f32], &[f32])], rows: &[Row], slopes: bool) -> Result<Vec<RowBound>> {
        let bounds = self.lower_bounds(&Region::boxes(self, boxes)?, rows, slopes)?;
        let n = self.net.model.input.len();
        let slopes = |r: usize| bounds.slopes.get(r * n..(r + 1) * n).unwrap_or_default().to_vec();
        Ok(bounds.lower.iter().enumerate().map(|(r, &lower)| RowBound { lower, slopes: slopes(r) }).collect())
    }

    /// Lower bound of every row over its lane's region and, for balls bounded down to the input, the largest radius at
    /// which the row's linear form stays positive; the slopes of the linear bounds if asked for.
    fn lower_bounds(&self, region: &Region, rows: &[Row], slopes: bool) -> Result<Bounds> {
        Ok(self.bounded(region, rows, slopes)?.1)
    }

    /// What is known about regions, and [`lower_bounds`](Self::lower_bounds) of rows over them.
    fn bounded<'a>(&'a self, region: &'a Region, rows: &[Row], slopes: bool) -> Result<(Linearised<'a>, Bounds)> {
        let (mut state, mut bounds) = Linearised::whole(self, region, |state| self.evaluate(state, rows, slopes))?;
        if self.method.optimises() {
            alpha::optimise(&mut state, rows, &mut bounds, slopes, |_, _| Ok(()))?;
        }
        Ok((state, bounds))
    }

    /// Walks all rows down with the lines that `state` has now.
    fn evaluate(&self, state: &Linearised<'_>, rows: &[Row], slopes: bool) -> Result<Bounds> {
        let (d, outputs) = (self.device(), self.net.model.outputs());
        let start = |part: Indices<usize>| {
            let (rows, lanes) = (&rows[part.clone()], tensor::lanes(part.len()));
            let mut a = vec![0.0; outputs * lanes];
            let mut sums = vec![0.0; 2 * linear::SLICES * lanes];
            let mut images = vec![0u32; lanes];
            for (i, row) in rows.iter().enumerate() {
                row.coefficients.iter().enumerate().for_each(|(k, c)| a[k * lanes + i] = *c);
                let constant = state.known.around().map_or(row.constant, |around| around.constant(row));
                // Less is sound, and so large a negative one proves nothing either way.
                sums[i] = constant.clamp(-range::LOST, range::LOST);
                images[i] = row.lane as u32;
            }
            Ok((linear::Rows::whole(d, rows.len(), images)?, d.upload(&a)?, d.upload(&sums)?))
        };
        self.walk_all(state, rows.iter().map(|row| row.lane), slopes, start)
    }

    /// [`evaluate`](Self::evaluate) of the rows of all margins of these classes, one per lane, in the order of
    /// [`margins`](Self::margins); they are made where they are walked.
    fn evaluate_margins(&self, state: &Linearised<'_>, classes: &[u32]) -> Result<Bounds> {
        let (d, outputs) = (self.device(), self.net.model.outputs());
        let class = d.upload(classes)?;
        let start = |part: Indices<usize>| {
            let lanes = tensor::lanes(part.len());
            let rows = linear::Rows { count: part.len(), lanes, plane: [1, 1], buffer: d.alloc(3 * lanes)? };
            let a = d.alloc(outputs * lanes)?;
            targets::margins(d, outputs, &class, part.start, &a, &rows)?;
            Ok((rows, a, d.zeros(2 * linear::SLICES * lanes)?))
        };
        let rivals = outputs - 1;
        self.walk_all(state, (0..classes.len() * rivals).map(|r| r / rivals), false, start)
    }

    /// Walks as many rows down as there are `regions`, of which each speaks of one, and reads all that there is to know of
    /// them in one go. `start` gives some of them with their coefficients over the logits and their sums.
    fn walk_all(
        &self,
        state: &Linearised<'_>,
        regions: impl ExactSizeIterator<Item = usize>,
        slopes: bool,
        start: impl Fn(Indices<usize>) -> Result<(linear::Rows, Buffer, Buffer)>,
    ) -> Result<Bounds> {
        let (d, count) = (self.device(), regions.len());
        let per_chunk = self.rows_per_chunk(graph::widest(&self.net, self.net.model.output()));
        let mut parts = Vec::with_capacity(count.div_ceil(per_chunk));
        for first in (0..count).step_by(per_chunk) {
            self.check_deadline()?;
            let (rows, a, sums) = start(first..count.min(first + per_chunk))?;
            parts.push((state.walk().finish(a, &rows, &sums, slopes)?, rows));
        }
        let verdicts = state.known.verdicts();
        let ends = parts.iter().flat_map(|(part, _)| std::iter::once(&part.lower).chain(&part.slopes));
        let mut read = d.read_all::<u32>(&verdicts.iter().copied().chain(ends).collect::<Vec<_>>())?.into_iter();
        let provable = state.known.provable_by(&read.by_ref().take(verdicts.len()).collect::<Vec<_>>())?;
        let mut all = Bounds::default();
        for (part, rows) in &parts {
            let mut read = || bytemuck::cast_vec::<u32, f32>(read.next().unwrap_or_default());
            let lower = read();
            all.lower.extend_from_slice(&lower[..rows.count]);
            if let Some(reach) = lower.get(rows.lanes..).filter(|reach| !reach.is_empty()) {
                all.reach.get_or_insert_default().extend_from_slice(&reach[..rows.count]);
            }
            if part.slopes.is_some() {
                all.slopes.extend(tensor::deinterleave(&read(), self.net.model.input.len(), rows.count));
            }
        }
        if all.lower.iter().chain(all.reach.iter().flatten()).any(|b| !b.is_finite()) {
            return Err(not_finite());
        }
        // What was said of rows over regions that were marked is taken back.
        for (r, _) in regions.enumerate().filter(|(_, region)| !provable[*region]) {
            all.lower[r] = -range::LOST;
            if let Some(reach) = &mut all.reach {
                reach[r] = 0.0;
            }
        }
        Ok(all)
    }

    fn check_deadline(&self) -> Result<()> {
        self.net.check(self.deadline)
    }

    /// Rows that fit the memory budget when the widest step of their walk has `elements` coefficients.
    fn rows_per_chunk(&self, elements: usize) -> usize {
        let fit = self.memory / (2 * 4 * elements.max(1));
        let device = self.device().max_buffer() / elements.max(1);
        // Products over fewer rows read every weight for too little.
        (fit.max(LEAST_ROWS).min(device) / tensor::LANE_BLOCK).max(1) * tensor::LANE_BLOCK
    }
}

/// Overflow is excluded beforehand, so this is a fault, never a verdict.
/// Whether a layer is a function that no line or kink makes up.
fn is_curved(layer: &Layer) -> bool {
    match layer {
        Layer::Activation(_) => true,
        Layer::Conv(_)
        | Layer::Dense(_)
        | Layer::Relu
        | Layer::MaxPool(_)
        | Layer::AvgPool(_)
        | Layer::Add
        | Layer::Scale { .. }
        | Layer::Gather(_) => false,
    }
}

fn not_finite() -> Error {
    Error::device("a bound came back as infinite or not a number")
}
