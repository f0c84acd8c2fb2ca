//! Delta max: the largest radius at which dominance is proved, for a stream of images.
//!
//! Robust at d implies robust at every smaller d, so the largest proved radius ever seen is valid whatever path the
//! search takes. Every probe proves something (its free radius), and interpolation of a smooth scalar takes the place of
//! bisection. Finished images leave the batch and waiting ones take their lanes.
//!
//! Linear bounds start with a probe of a ball so small that hardly any neuron is unstable in it, which costs little: it
//! tells how fast the margin falls at the image.

mod flight;
mod track;

use std::collections::BTreeMap;

use self::flight::Flights;
use crate::bounds::{Bounder, Method};
use crate::error::Result;
use crate::network::{Network, largest};

/// How hard to search.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Stop when the proved radius is within this share of what the bounds can prove.
    pub tolerance: f32,
    /// Balls probed at once.
    pub batch: usize,
    /// Batches in flight, each in a thread of its own, where there are images for more than one and nothing tells how long
    /// they may take.
    pub in_flight: usize,
    /// Give up after this many probes of one image (what was proved stays).
    pub max_probes: usize,
    /// Share of the first estimate of a radius that is usually proved; used until enough images are finished to tell.
    pub usual: f32,
    /// Whether finished images tell where to look first for others. That saves probes, and within the tolerance radii then
    /// depend on which images came before, in the same flight.
    pub learns: bool,
    /// Radius of the first probe by linear bounds, as a share of the largest.
    pub feeler: f32,
    /// No radius is larger.
    pub most: f32,
    /// Radii grow by this factor at most from probe to probe, until one fails: bounds of deep networks cost the more the
    /// larger the ball, and explode.
    pub growth: f32,
    /// Seconds per image, those of a batch shared by its images; what was proved by then stays. Of a deep network that is
    /// never less than what `crown-ibp` proves, whose few seconds come first.
    pub seconds: Option<f64>,
}

/// Fine enough that radii of different devices agree within a thousandth.
const TOLERANCE: f32 = 2e-4;

/// Radius of the first probe by linear bounds, as a share of the largest; around images, where a small ball costs as much
/// as a larger one.
const FEELER: f32 = 1e-6;
const AROUND: f32 = 3e-5;

/// Batches in flight on a GPU: the host works on one while the device bounds the other.
const IN_FLIGHT: usize = 2;

/// Networks of more nonlinear layers are deep, and what radii of theirs grow by; around images, where every probe is dear.
const DEEP: usize = 6;
const CAREFUL: f32 = 8.0;
const MORE_CAREFUL: f32 = 4.0;

impl Settings {
    /// Settings that suit a method on this device.
    pub fn new(bounder: &Bounder) -> Self {
        let gpu = bounder.net.device.is_gpu();
        let threads = rayon::current_num_threads();
        let (batch, usual) = match bounder.method {
            Method::Ibp => (if gpu { 4096 } else { 64 * threads }, 3e-4),
            Method::CrownIbp => (if gpu { 1024 } else { 64 * threads }, 0.2),
            Method::Crown => (if gpu { 512 } else { 32 * threads }, 0.37),
            Method::Alpha => (if gpu { 512 } else { 32 * threads }, 0.4),
        };
        let most = bounder.norm.largest(bounder.net.model.input.len());
        let (feeler, growth) = match (is_deep(bounder), bounder.goes_around()) {
            (true, true) => (AROUND, MORE_CAREFUL),
            (true, false) => (FEELER, CAREFUL),
            (false, _) => (FEELER, f32::INFINITY),
        };
        let in_flight = if gpu { IN_FLIGHT } else { 1 };
        Settings {
            tolerance: TOLERANCE,
            batch,
            in_flight,
            max_probes: 30,
            usual,
            learns: true,
            feeler,
            most,
            growth,
            seconds: None,
        }
    }
}

/// Whether bounds of its neurons may take minutes.
pub fn is_deep(bounder: &Bounder) -> bool {
    bounder.method.refines() && bounder.nonlinear_layers() > DEEP
}

/// One image to search.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Values in `[0,1]`.
    pub image: Vec<f32>,
    /// The predicted class, whose dominance is to be proved.
    pub class: usize,
    /// Smallest margin at the image itself, as computed in f32.
    pub margin: f32,
}

impl Subject {
    /// The images with the classes the network gives them.
    pub fn classify<T: AsRef<[f32]> + Sync>(net: &Network, images: &[T]) -> Result<Vec<Subject>> {
        let subject = |(image, scores): (&T, Vec<f32>)| {
            let class = largest(&scores);
            let rivals = scores.iter().enumerate().filter(|(j, _)| *j != class).map(|(_, s)| scores[class] - s);
            Subject { image: image.as_ref().to_vec(), class, margin: rivals.fold(f32::INFINITY, f32::min) }
        };
        Ok(images.iter().zip(net.scores(images)?).map(subject).collect())
    }
}

/// What the search proved about one image.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Dominance is proved on the clipped ball of this radius (0: nothing is proved).
    pub proved: f32,
    /// Radius of the ball whose relaxations proved it: that one or larger.
    pub ball: f32,
    /// The rival with the smallest margin where the search ended.
    pub rival: usize,
    /// Bound evaluations spent.
    pub probes: u32,
    /// Seconds spent, its share of what batches took.
    pub seconds: f64,
}

/// Searches all subjects and hands over each result with its position, in the order of the subjects.
pub fn search(
    bounder: &Bounder,
    settings: &Settings,
    subjects: impl IntoIterator<Item = Subject, IntoIter: Send>,
    mut emit: impl FnMut(usize, Found) -> Result<()>,
) -> Result<()> {
    let (mut finished, mut next_out) = (BTreeMap::new(), 0);
    Flights { bounder, settings, probe: &Bounder::probe }.run(subjects.into_iter().enumerate(), |found| {
        finished.extend(found);
        while let Some(found) = finished.remove(&next_out) {
            emit(next_out, found)?;
            next_out += 1;
        }
        Ok(())
    })
}
