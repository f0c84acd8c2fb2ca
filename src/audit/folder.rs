//! Many claims of one network, checked in parallel.

use rayon::prelude::*;

use super::{Certificate, Method, NoiseCertificate, Verdict, check_ball, risk};
use crate::error::Result;
use crate::model::Model;
use crate::norm::Norm;
use crate::rng::Rng;

/// One row of a result: `class` dominates on the ball of `radius` around an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Index of the image.
    pub index: usize,
    /// Noise added to the image; 0 for the clean one.
    pub variance: f64,
    /// The class that is said to dominate.
    pub class: usize,
    /// As claimed; 0 claims nothing.
    pub radius: f64,
    /// The bounds that proved it.
    pub method: Method,
    /// What to prove it by in place of the standard slopes.
    pub certificate: Option<Certificate>,
}

/// One row about noise: `class` changes with probability at most `risk`.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseClaim {
    /// Index of the image, a clean one.
    pub index: usize,
    /// The class that the network gives it.
    pub class: usize,
    /// Of the noise, in squared pixel units.
    pub variance: f64,
    /// As claimed; 1 and more claim nothing.
    pub risk: f64,
    /// The bounds that proved it.
    pub method: Method,
    /// What to prove it by.
    pub certificate: NoiseCertificate,
}

/// A claim that could not be proved again.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Failure {
    /// Index of the image.
    pub index: usize,
    /// Noise added to it; 0 for the clean one.
    pub variance: f64,
    /// One line for people.
    pub reason: String,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// Claims given.
    pub rows: usize,
    /// Claims of radius 0 among them, which hold trivially.
    pub zero: usize,
    /// Claims checked.
    pub checked: usize,
    /// Claims proved again.
    pub accepted: usize,
    /// Those that were not, in the order of the claims.
    pub failures: Vec<Failure>,
}

/// Which claims to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Every claim.
    All,
    /// So many of those with a radius above 0, drawn with this seed.
    Some {
        /// How many.
        count: usize,
        /// Of the draw.
        seed: u64,
    },
}

/// Checks claims about one network, radii in this norm. `images` gives the (noisy) image of an index and variance; every radius is enlarged
/// by `slack`, the distance by which those images may differ from the ones the claims are about. `done` is called
/// after every check.
///
/// # Errors
/// If an image cannot be had. A claim that cannot be proved, for whatever reason, is a [`Failure`].
pub fn folder(
    claims: impl IntoIterator<Item = Claim>,
    model: &Model,
    norm: Norm,
    images: impl Fn(usize, f64) -> Result<Vec<f32>> + Sync,
    slack: f64,
    sample: Sample,
    done: impl Fn() + Sync,
) -> Result<Report> {
    // A radius that is no number is not zero: it is checked, and fails.
    let is_empty = |claim: &Claim| claim.radius == 0.0;
    let refusal = |claim: &Claim| Ok(refusal(claim, model, norm, &images(claim.index, claim.variance)?, slack));
    judge(claims, is_empty, |claim| (claim.index, claim.variance), refusal, sample, done)
}

/// The same for claims about noise on clean images.
///
/// # Errors
/// As [`folder`].
pub fn noise_folder(
    claims: impl IntoIterator<Item = NoiseClaim>,
    model: &Model,
    images: impl Fn(usize) -> Result<Vec<f32>> + Sync,
    slack: f64,
    sample: Sample,
    done: impl Fn() + Sync,
) -> Result<Report> {
    let refusal = |claim: &NoiseClaim| {
        let NoiseClaim { index, class, variance, risk: claimed, method, certificate } = claim;
        let image = images(*index)?;
        Ok(match risk(model, &image, *class, [variance.sqrt(), slack], *method, certificate, *claimed) {
            Ok(found) if found <= *claimed => None,
            Ok(found) => Some(format!("a probability of {claimed:e} is not proved, only {found:e}")),
            Err(error) => Some(error.to_string()),
        })
    };
    judge(claims, |claim| claim.risk >= 1.0, |claim| (claim.index, claim.variance), refusal, sample, done)
}

/// Judges claims, or some of those that claim anything, in parallel.
fn judge<C: Send + Sync>(
    claims: impl IntoIterator<Item = C>,
    is_empty: impl Fn(&C) -> bool,
    place: impl Fn(&C) -> (usize, f64) + Sync,
    refusal: impl Fn(&C) -> Result<Option<String>> + Sync,
    sample: Sample,
    done: impl Fn() + Sync,
) -> Result<Report> {
    let claims: Vec<C> = claims.into_iter().collect();
    let rows = claims.len();
    let mut claims: Vec<C> = claims.into_iter().filter(|c| !is_empty(c)).collect();
    let zero = rows - claims.len();
    if let Sample::Some { count, seed } = sample {
        Rng::new(seed, 0xA0D1).shuffle(&mut claims);
        claims.truncate(count);
        claims.sort_by(|a, b| {
            let ((i, u), (j, v)) = (place(a), place(b));
            u.total_cmp(&v).then(i.cmp(&j))
        });
    }
    let outcome = |claim: &C| -> Result<Option<Failure>> {
        let (index, variance) = place(claim);
        let reason = refusal(claim)?;
        done();
        Ok(reason.map(|reason| Failure { index, variance, reason }))
    };
    let outcomes: Vec<Option<Failure>> = claims.par_iter().map(outcome).collect::<Result<_>>()?;
    let failures: Vec<Failure> = outcomes.into_iter().flatten().collect();
    Ok(Report { rows, zero, checked: claims.len(), accepted: claims.len() - failures.len(), failures })
}

/// Why a claim is not accepted.
fn refusal(claim: &Claim, model: &Model, norm: Norm, image: &[f32], slack: f64) -> Option<String> {
    let radius = claim.radius;
    let most = norm.largest(model.input.len());
    if !(radius > 0.0 && radius <= f64::from(most)) {
        return Some(format!("{radius} is no radius between 0 and {most}"));
    }
    let enlarged = (radius + slack).next_up();
    match check_ball(model, image, claim.class, norm, enlarged, claim.method, claim.certificate.as_ref()) {
        Ok(Verdict::Proved { .. }) => None,
        Ok(Verdict::NotProved { worst_margin, rival }) => {
            Some(format!("radius {radius} is not proved: the margin over class {rival} is {worst_margin:.3e}"))
        }
        Err(error) => Some(error.to_string()),
    }
}
