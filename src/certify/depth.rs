//! How far rows of neurons walk back in deep networks: as far as the time per image allows.

use std::time::{Duration, Instant};

use crate::bounds::{Ball, Bounder};
use crate::error::{Error, Result};
use crate::search::Subject;

/// Products that affine layers do in a second. A nominal rate rather than a measured one: the same settings have to choose
/// the same depth everywhere, or shards would not fit each other.
const RATE: f64 = 1.5e10;
const GPU_RATE: f64 = 5e11;

/// A search takes about so many probes as dear as that of a ball of this radius, as a share of the largest. Rows that end
/// early bound all neurons and cost the same in any ball.
const SEARCH: f64 = 6.0;
const TRIAL: f32 = 1e-4;

/// From one depth that is tried to the next, a probe gets dearer by this factor at least.
const DEARER: f64 = 1.5;

/// What a time per image allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// For [`Bounder::depth`].
    pub depth: Option<usize>,
    /// Seconds that a search is expected to take.
    pub expected: f64,
}

/// The largest depth at which the search of this image is expected to be over in `seconds`: 1 where none is. Depths are
/// tried from the nearest layers on, by the products of a probe.
///
/// # Errors
/// A fault of the device.
pub fn choose(bounder: &Bounder, subject: &Subject, seconds: f64) -> Result<Choice> {
    let rate = if bounder.net.device.is_gpu() { GPU_RATE } else { RATE };
    let delta = TRIAL * bounder.norm.largest(subject.image.len());
    let ball = Ball { image: &subject.image, class: subject.class, delta };
    let all = bounder.nonlinear_layers();
    let steps = std::iter::successors(Some((1, 2)), |&(d, next)| Some((next, d + next)));
    let depths = steps.map(|(d, _)| d).take_while(|&d| d < all).map(Some).chain([None]);
    // Whoever waits so long for a probe has no time for the search that it is about.
    let deadline = Instant::now() + Duration::from_secs_f64((0.5 * seconds).min(1e6));
    let mut best = Choice { depth: Some(1), expected: seconds };
    for depth in depths {
        let mut trial = bounder.clone();
        (trial.depth, trial.deadline) = (depth, Some(deadline));
        let before = trial.products();
        match trial.probe(&[ball]) {
            Err(Error::Timeout) => break,
            outcome => drop(outcome?),
        }
        let expected = SEARCH * (trial.products() - before) as f64 / rate;
        if expected > seconds {
            break;
        }
        best = Choice { depth, expected };
        if DEARER * expected > seconds {
            break;
        }
    }
    Ok(best)
}
