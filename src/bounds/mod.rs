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
mod cut;
mod envelope;
mod evaluate;
mod gradient;
mod graph;
mod held;
mod intermediate;
mod known;
mod limits;
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

pub use branch::{Decision, Depth, Tree};
pub use certified::Proof;
pub use cloud::{Cloud, CloudBound};
pub use method::{Method, Runtime};
pub use zonotope::{Margin, Zonotope};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::prelude::*;

use evaluate::Bounds;
use held::Held;
use limits::Limits;
use linearised::Linearised;
use region::Region;
use sizes::Sizes;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::network::{Network, Range};
use crate::norm::Norm;
use crate::rounding::UNIT;
use crate::tensor;

/// Largest relative error of one f32 operation rounded to nearest, as runtimes do.
const NEAREST: f64 = 0.5 * UNIT;

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
        let mut nodes = self.net.model.nodes.iter().enumerate();
        match (runtime, nodes.find(|&(i, _)| self.net.layer(i).is_curved())) {
            (Runtime::AnyF32, Some((_, node))) => Err(Error::usage(format!(
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
        let (mut state, mut bounds) = Linearised::whole(self, &region, &[], evaluate)?;
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
        self.bounded_within(region, rows, &[], slopes)
    }

    /// [`bounded`](Self::bounded), where limits of the regions are known.
    fn bounded_within<'a>(
        &'a self,
        region: &'a Region,
        rows: &[Row],
        limits: &[&Limits],
        slopes: bool,
    ) -> Result<(Linearised<'a>, Bounds)> {
        let look = |state: &Linearised<'_>| self.evaluate(state, rows, slopes);
        let (mut state, mut bounds) = Linearised::whole(self, region, limits, look)?;
        if self.method.optimises() {
            alpha::optimise(&mut state, rows, &mut bounds, slopes, |_, _| Ok(()))?;
        }
        Ok((state, bounds))
    }

    fn check_deadline(&self) -> Result<()> {
        self.net.check(self.deadline)
    }
}

/// Overflow is excluded beforehand, so this is a fault, never a verdict.
fn not_finite() -> Error {
    Error::device("a bound came back as infinite or not a number")
}
