//! How likely Gaussian noise is to change a class at most: proved again from the rows that a certificate names.
//!
//! Every form `a . x + b` that is fixed before the noise is drawn falls below its mean by k norms with probability at most
//! `exp(-k^2 / 2)`, a norm being the root of the sum of `a_i^2 v_i` with the pixels' factors v ([`pixel`](super::pixel)). The
//! bounds of neurons rest on M such forms, each taken to fall by at most k; where they hold, a margin is positive unless its
//! own form falls by the `r_j` norms that its mean is above zero. So the class changes with probability at most
//! `M exp(-k^2 / 2) + sum over rivals of exp(-r_j^2 / 2)`, whatever rows, slopes and k the certificate chose.

use std::collections::HashMap;

use super::bounds::{Interval, Round};
use super::certificate;
use super::pixel::{MEAN_ERROR, clipped};
use super::rounding::up;
use super::state::{Choice, State};
use super::{Method, check_image};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::results::certificate::NoiseCertificate;

/// The lean of [`lines::peaks`](super::lines::peaks), and whether slopes given for stable neurons count: what a certifier in
/// f32 may have chosen otherwise.
const ATTEMPTS: [(f64, bool); 6] =
    [(0.0, false), (0.0, true), (1e-5, false), (-1e-5, false), (1e-3, false), (-1e-3, false)];

/// Exponentials are off by less than this share.
const ERROR: f64 = 1e-13;

/// `exp(-k^2 / 2)`, from above.
fn tail(k: f64) -> f64 {
    if k == f64::INFINITY {
        return 0.0;
    }
    let tail = up((-0.5 * k * k).exp() * (1.0 + ERROR * (1.0 + k * k)));
    // Also where k is no number.
    if k >= 0.0 && tail < 1.0 { tail } else { 1.0 }
}

/// The mean of the noisy image, and in units of its rows how far it strays; each value may be `slack` off.
fn cloud(image: &[f32], sigma: f64, slack: f64, radius: f64) -> Interval {
    let n = image.len();
    let mut round = Round { centre: vec![], off: up(slack + MEAN_ERROR), fall: vec![], rise: vec![], radius };
    let mut known = HashMap::new();
    for &x in image {
        let (mean, factors) = *known.entry(x.to_bits()).or_insert_with(|| clipped(f64::from(x), sigma));
        let [fall, rise] = factors.map(|factor: f64| up(factor.sqrt()));
        round.centre.push(mean);
        round.fall.push(fall);
        round.rise.push(rise);
    }
    Interval { lower: vec![0.0; n], upper: vec![1.0; n], round: Some(round), cut: None }
}

/// An upper bound of the probability that noise of deviation `sigma`, added to an image and clipped to `[0,1]`, makes the
/// network prefer another class to `class`, or neither strictly: the first attempt's that is at most `enough`, or the
/// least. The image is known but for `slack` in each value.
///
/// # Errors
/// As [`check_ball`](super::check_ball).
pub fn risk(
    model: &Model,
    image: &[f32],
    class: usize,
    [sigma, slack]: [f64; 2],
    method: Method,
    given: &NoiseCertificate,
    enough: f64,
) -> Result<f64> {
    check_image(model, image, class)?;
    if !(sigma > 0.0 && sigma <= 1.0) {
        return Err(Error::usage(format!("{sigma} is no deviation of noise above 0, at most 1")));
    }
    certificate::check_noise(given, model)?;
    if method == Method::Ibp {
        return Err(Error::usage("interval bounds have no certificate to prove a probability from"));
    }
    let cloud = cloud(image, sigma, slack, given.deviations);
    let mut least = 1.0f64;
    for (lean, keep) in ATTEMPTS {
        let choice = Choice { certificate: Some(&given.lines), lean, keep, noise: Some(given) };
        let state = State::new(model, cloud.clone(), method, choice)?;
        let rivals = state.reaches(class).into_iter().map(tail);
        let sum = rivals.fold(up(state.forms as f64 * tail(given.deviations)), |sum, p| up(sum + p));
        // min passes over NaN.
        least = least.min(sum);
        if least <= enough {
            break;
        }
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_rounded_up() {
        assert!(tail(0.0) == 1.0 && tail(-1.0) == 1.0 && tail(f64::NAN) == 1.0 && tail(f64::INFINITY) == 0.0);
        assert!(tail(2.0) >= (-2.0f64).exp() && tail(2.0) < 1.000_001 * (-2.0f64).exp() && tail(1e6) > 0.0);
    }
}
