//! Sound bounds of a network over boxes of inputs; the only place that says "proved".
//!
//! A probe asks: over the ball of radius delta around an image, clipped to `[0,1]`, by how much does the logit of one
//! class exceed every other? All probes of a batch go through the same kernels, one lane each.

mod backward;
mod boxes;
mod branch;
mod domain;
mod forward;
mod gradient;
mod method;
mod neurons;
mod slopes;
mod targets;
mod watch;

pub use branch::Decision;
pub use method::{Method, Runtime};
pub use slopes::{Assumed, Branches, Certificate, InnerSlopes, Leaf, NeuronSlopes, ReluSlopes};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

pub use boxes::RowBound;

use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::{Layer, Node};
use crate::network::{Network, Placed, Range};
use crate::ops::{ball, linear, range, relax};
use crate::rounding::{self, UNIT};
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
    /// Radius in the maximum norm, in pixel units of `[0,1]`.
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
}

/// Boxes on the device, one per lane.
pub(crate) struct Boxes {
    pub count: usize,
    pub lanes: usize,
    /// Centre and radius `[element][lane]`, the radius inflated for the consumers of the input.
    pub centre: Buffer,
    pub radius: Buffer,
    /// For balls: the images `[lane][element]` and their deltas.
    pub ball: Option<(Buffer, Buffer)>,
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

impl Bounder {
    /// For inputs in `[0,1]`; refuses a network with weights so large that f32 could overflow in a single layer.
    pub fn new(net: &Network, method: Method) -> Result<Bounder> {
        Bounder::for_inputs(net, method, 1.0)
    }

    /// As [`new`](Self::new) for inputs of magnitude up to `peak`.
    pub fn for_inputs(net: &Network, method: Method, peak: f64) -> Result<Bounder> {
        let range = Arc::new(net.range(peak, 1.0)?);
        let memory = if net.device.is_gpu() { 256 << 20 } else { 4 << 20 };
        Ok(Bounder {
            net: net.clone(),
            method,
            runtime: Runtime::default(),
            memory,
            range,
            peak: peak.max(1.0),
            deadline: None,
            sound: true,
            work: Arc::default(),
        })
    }

    /// The same bounds for other evaluations of the network.
    ///
    /// # Errors
    /// [`Error::Usage`] where nothing says how they round a layer.
    pub fn for_runtime(mut self, runtime: Runtime) -> Result<Self> {
        let unknown = |n: &&Node| match &n.layer {
            Layer::Activation(_) => true,
            Layer::Conv(_)
            | Layer::Dense(_)
            | Layer::Relu
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Scale { .. }
            | Layer::Gather(_) => false,
        };
        match (runtime, self.net.model.nodes.iter().find(unknown)) {
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

    /// Relative error of a sum of `products` terms, or zero when charges are off.
    fn sum_error(&self, products: usize) -> f32 {
        if self.sound { rounding::sum_error(products) } else { 0.0 }
    }

    /// Absolute error of a row for flushed subnormals.
    fn floor(&self) -> f32 {
        if self.sound { self.range.floor } else { 0.0 }
    }

    /// Relative error of a sum of `terms` in one go.
    fn chain_error(&self, terms: usize) -> f32 {
        if self.sound { rounding::to_f32_up(rounding::gamma(terms + 8, UNIT)) } else { 0.0 }
    }

    /// Relative error of node `i` in the runtimes that proofs are to hold for, against `|W| |x| + |b|`.
    fn deployed(&self, i: usize) -> f32 {
        match self.runtime {
            Runtime::AnyF32 if self.sound => rounding::to_f32_up(rounding::gamma(self.net.roundings(i), NEAREST)),
            Runtime::AnyF32 | Runtime::Exact => 0.0,
        }
    }

    /// Rounding charge that the consumers of `value` want in its radius, as a share of |centre|.
    fn inflation(&self, value: usize) -> f32 {
        let nodes = self.net.model.nodes.iter().enumerate();
        let shares = nodes.filter(|(_, n)| n.inputs.contains(&value)).map(|(i, _)| match self.net.layer(i) {
            Placed::Affine(a) => {
                let g = self.sum_error(a.geometry.fan_in());
                rounding::to_f32_up(1.001 * f64::from(g) + 1.001 * f64::from(self.deployed(i)))
            }
            // Data movement hands the value on unchanged.
            Placed::Gather(_) => self.inflation(i + 1),
            Placed::Relu
            | Placed::Activation(_)
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Add
            | Placed::Scale { .. } => 0.0,
        });
        shares.fold(0.0, f32::max)
    }

    /// Bounds for a batch of balls, in order.
    pub fn probe(&self, balls: &[Ball<'_>]) -> Result<Vec<Outcome>> {
        // Kernels alone are too small to keep all cores of a CPU busy; batches are independent.
        let share =
            if self.device().is_gpu() { balls.len() } else { balls.len().div_ceil(2 * rayon::current_num_threads()) };
        let parts = balls.par_chunks(share.max(tensor::LANE_BLOCK)).map(|part| self.probe_part(part));
        Ok(parts.collect::<Result<Vec<_>>>()?.concat())
    }

    fn probe_part(&self, balls: &[Ball<'_>]) -> Result<Vec<Outcome>> {
        let classes = self.net.model.outputs();
        let (rows, rivals) = self.margins(balls);
        let (lower, reach) = self.lower_bounds(&self.balls(balls)?, &rows)?;
        let outcome =
            |b: &Ball<'_>| Outcome { margins: vec![f32::INFINITY; classes], radius: b.delta, reach: f32::INFINITY };
        let mut outcomes: Vec<Outcome> = balls.iter().map(outcome).collect();
        for (r, (row, &j)) in rows.iter().zip(&rivals).enumerate() {
            let outcome = &mut outcomes[row.lane];
            outcome.margins[j] = lower[r];
            if let Some(reach) = &reach {
                outcome.reach = outcome.reach.min(reach[r]);
                outcome.radius = outcome.radius.min(reach[r]);
            } else if lower[r] <= 0.0 {
                outcome.radius = 0.0;
            }
        }
        Ok(outcomes)
    }

    /// The rows of all margins, and the rival of each.
    fn margins(&self, balls: &[Ball<'_>]) -> (Vec<Row>, Vec<usize>) {
        let classes = self.net.model.outputs();
        let mut rows = Vec::with_capacity(balls.len() * classes);
        let mut rivals = Vec::with_capacity(balls.len() * classes);
        for (lane, ball) in balls.iter().enumerate() {
            for j in (0..classes).filter(|&j| j != ball.class) {
                let mut coefficients = vec![0.0; classes];
                coefficients[ball.class] = 1.0;
                coefficients[j] = -1.0;
                rows.push(Row { lane, coefficients, constant: 0.0 });
                rivals.push(j);
            }
        }
        (rows, rivals)
    }

    /// Lower bounds of linear functions of the logits, each over the ball at its row's `lane`.
    pub fn row_bounds(&self, balls: &[Ball<'_>], rows: &[Row]) -> Result<Vec<f32>> {
        Ok(self.lower_bounds(&self.balls(balls)?, rows)?.0)
    }

    fn balls(&self, balls: &[Ball<'_>]) -> Result<Boxes> {
        let (d, elements) = (self.device(), self.net.model.input.len());
        let lanes = tensor::lanes(balls.len());
        let x = d.upload(&tensor::interleave(balls.iter().map(|b| b.image), elements))?;
        let mut deltas = vec![0.0; lanes];
        balls.iter().zip(&mut deltas).for_each(|(b, d)| *d = b.delta);
        let delta = d.upload(&deltas)?;
        let (centre, radius) = (d.alloc(x.len())?, d.alloc(x.len())?);
        ball::clip(d, &x, &delta, [&centre, &radius], lanes, self.inflation(0))?;
        let ball = if !self.method.relaxes() {
            None
        } else {
            let images = d.alloc(x.len())?;
            relax::transpose(d, &x, &images, lanes)?;
            Some((images, delta))
        };
        Ok(Boxes { count: balls.len(), lanes, centre, radius, ball })
    }

    /// Lower bound of every row over its lane's box and, for balls bounded down to the input, the largest radius at
    /// which the row's linear form stays positive.
    pub(crate) fn lower_bounds(&self, boxes: &Boxes, rows: &[Row]) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let bounds = self.lower_bounds_with(boxes, rows, false)?;
        Ok((bounds.lower, bounds.reach))
    }

    /// [`lower_bounds`](Self::lower_bounds), with the slopes of the linear bounds if asked for.
    fn lower_bounds_with(&self, boxes: &Boxes, rows: &[Row], slopes: bool) -> Result<Bounds> {
        let mut state = forward::State::new(self, boxes)?;
        let mut bounds = self.evaluate(&state, rows, slopes)?;
        if self.method.optimises() {
            state.optimise(rows, &mut bounds, slopes, |_, _| Ok(()))?;
        }
        Ok(bounds)
    }

    /// Walks all rows down with the lines that `state` has now.
    fn evaluate(&self, state: &forward::State<'_>, rows: &[Row], slopes: bool) -> Result<Bounds> {
        let outputs = self.net.model.outputs();
        let per_chunk = self.rows_per_chunk(state.widest(self.net.model.output()));
        let mut all = Bounds::default();
        for chunk in rows.chunks(per_chunk) {
            self.check_deadline()?;
            let lanes = tensor::lanes(chunk.len());
            let mut a = vec![0.0; outputs * lanes];
            let mut sums = vec![0.0; 2 * linear::SLICES * lanes];
            let mut images = vec![0u32; lanes];
            for (i, row) in chunk.iter().enumerate() {
                row.coefficients.iter().enumerate().for_each(|(k, c)| a[k * lanes + i] = *c);
                // Less is sound, and so large a negative one proves nothing either way.
                sums[i] = row.constant.clamp(-range::LOST, range::LOST);
                images[i] = row.lane as u32;
            }
            let d = self.device();
            let rows = linear::Rows::whole(d, chunk.len(), images)?;
            let part = state.finish(d.upload(&a)?, &rows, &d.upload(&sums)?, slopes)?;
            all.lower.extend_from_slice(&part.lower[..chunk.len()]);
            all.slopes.extend_from_slice(&part.slopes);
            if let Some(r) = part.reach {
                all.reach.get_or_insert_default().extend_from_slice(&r[..chunk.len()]);
            }
        }
        if all.lower.iter().chain(all.reach.iter().flatten()).any(|b| !b.is_finite()) {
            return Err(not_finite());
        }
        state.withdraw(rows, &mut all)?;
        Ok(all)
    }

    fn check_deadline(&self) -> Result<()> {
        if self.deadline.is_some_and(|d| Instant::now() >= d) { Err(Error::Timeout) } else { Ok(()) }
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
fn not_finite() -> Error {
    Error::device("a bound came back as infinite or not a number")
}
