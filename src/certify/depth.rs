//! How far rows of neurons walk back in deep networks: as far as the time per image allows.

use std::time::{Duration, Instant};

use crate::bounds::{Ball, Bounder, Method};
use crate::error::{Error, Result};
use crate::search::{self, Subject};

/// Products that affine layers do in a second. A nominal rate rather than a measured one: the same settings have to choose
/// the same depth everywhere, or shards would not fit each other.
const RATE: f64 = 1.5e10;
const GPU_RATE: f64 = 5e11;

/// A search takes about so many probes as dear as that of a ball of this radius, as a share of the largest. Rows that end
/// early bound all neurons and cost the same in any ball.
const SEARCH: f64 = 6.0;
const TRIAL: f32 = 1e-4;

/// Whole walks are tried where their price, which counts all neurons, is at most so many times what fits: most neurons may
/// be stable, and need none. The trial ends after this share of the time.
const WORTH_TRYING: f64 = 4.0;
const TRIAL_SHARE: f64 = 0.1;

/// Around images one row bounds a neuron from both sides, and two or three probes tell what there is to tell: a search takes
/// this share of what it would take elsewhere.
const AROUND: f64 = 1.0 / 12.0;

/// What a time per image allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// For [`Bounder::depth`]; 0: neurons are bounded by intervals alone.
    pub depth: Option<usize>,
    /// Seconds that a search is expected to take.
    pub expected: f64,
}

impl Choice {
    /// By the products of a probe.
    fn new(bounder: &Bounder, depth: Option<usize>, products: f64) -> Choice {
        let rate = if bounder.net.device.is_gpu() { GPU_RATE } else { RATE };
        Choice { depth, expected: SEARCH * products / rate }
    }

    /// By the price of rows.
    fn priced(bounder: &Bounder, depth: Option<usize>) -> Choice {
        let share = if bounder.goes_around() { AROUND } else { 1.0 };
        Choice::new(bounder, depth, share * bounder.price(depth))
    }
}

/// Whether roundings of f32, charged in every layer of a deep network, hide from linear bounds that this image has its
/// class, be the ball as small as it may, and bounds around images would not be hidden from.
///
/// # Errors
/// A fault of the device.
pub fn calls_for_around(bounder: &Bounder, subject: &Subject) -> Result<bool> {
    if !search::is_deep(bounder) || !bounder.can_go_around() {
        return Ok(false);
    }
    let mut cheap = bounder.clone();
    (cheap.method, cheap.depth, cheap.around) = (Method::CrownIbp, None, false);
    let ball = Ball { image: &subject.image, class: subject.class, delta: 0.0 };
    Ok(!(cheap.probe(&[ball])?[0].worst().0 > 0.0))
}

/// The largest depth at which the search of an image such as this one is expected to be over in `seconds`: 1 where none is.
/// Of rows that end early the price is known beforehand; only whole walks, whose price depends on the image, are tried.
///
/// # Errors
/// A fault of the device.
pub fn choose(bounder: &Bounder, subject: &Subject, seconds: f64) -> Result<Choice> {
    let fits = |choice: &Choice| choice.expected <= seconds;
    if bounder.goes_around() {
        return Ok(nearest(bounder, seconds));
    }
    let whole = Choice::priced(bounder, None);
    if fits(&whole) {
        return Ok(whole);
    }
    if whole.expected <= WORTH_TRYING * seconds {
        let mut trial = bounder.clone();
        trial.deadline = Some(Instant::now() + Duration::from_secs_f64((TRIAL_SHARE * seconds).min(1e6)));
        let delta = TRIAL * bounder.norm.largest(subject.image.len());
        let before = trial.products();
        match trial.probe(&[Ball { image: &subject.image, class: subject.class, delta }]) {
            Err(Error::Timeout) => {}
            outcome => {
                drop(outcome?);
                let tried = Choice::new(bounder, None, (trial.products() - before) as f64);
                if fits(&tried) {
                    return Ok(tried);
                }
            }
        }
    }
    Ok(nearest(bounder, seconds))
}

/// What is chosen where nothing is asked for: a depth that takes five minutes an image, if whole walks would take
/// several times as long, and none at all where the nearest layers take longer too, as in blocks whose layers read all
/// before them, unless there have to be `rows`; `None` if whole walks do not.
pub fn unasked(bounder: &Bounder, rows: bool) -> Option<Choice> {
    let whole = Choice::priced(bounder, bounder.goes_around().then(|| bounder.nonlinear_layers()));
    let intervals = Choice { depth: Some(0), expected: 0.0 };
    let near =
        || Some(nearest(bounder, PATIENCE)).filter(|near| rows || near.expected <= PATIENCE).unwrap_or(intervals);
    (whole.expected > WORTH_TRYING * PATIENCE).then(near)
}

/// Seconds that an image may take where nobody said.
const PATIENCE: f64 = 300.0;

/// The largest depth at which rows that end early fit.
fn nearest(bounder: &Bounder, seconds: f64) -> Choice {
    let most = bounder.nonlinear_layers() - usize::from(!bounder.goes_around());
    let near = |depth: usize| Choice::priced(bounder, Some(depth));
    let fits = |choice: &Choice| choice.expected <= seconds;
    (1..=most).map(near).take_while(fits).last().unwrap_or_else(|| near(1))
}
