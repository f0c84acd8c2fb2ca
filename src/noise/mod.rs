//! Gaussian noise on images: how likely it is to change their class, proved and measured.
//!
//! The noise is as cameras make it in low light and as studies add it: independent normal numbers of one deviation on
//! every pixel and channel, clipped to `[0,1]`, here over real numbers.
//!
//! **Proved** ([`least`], [`largest`]): bounds of a network rest on finitely many linear forms of its input, all chosen before the
//! noise is drawn. One form strays k norms below its mean with probability at most `exp(-k^2/2)` (the clipped pixels are
//! sub-Gaussian, see [`pixel`]; Weng et al., "PROVEN", 2019, for the idea). While none of the M forms behind the bounds of
//! neurons strays by k, and the form of each margin by no more than its own reach, the class stays:
//! `P(changes) <= M exp(-k^2/2) + sum over rivals of exp(-reach^2/2)`.
//!
//! **Measured** ([`measured`]): so many draws, and an interval that holds the probability with a stated confidence
//! (Clopper and Pearson 1934).

pub mod audit;
pub mod measured;
pub mod pixel;
pub mod run;
pub mod table;

use std::collections::HashMap;

use crate::bounds::{Bounder, Cloud, CloudBound};
use crate::certify::PIXEL_ROUNDING;
use crate::device::Fit;
use crate::error::Result;
use crate::results::certificate::NoiseCertificate;
use crate::rounding::to_f32_up;
use crate::search::Subject;
use pixel::{Clipped, MEAN_ERROR};

/// The largest noise that a search looks at: with it hardly anything is left of an image.
pub const LARGEST: f64 = 1.0;

/// Searches stop when the ends of their bracket are within this ratio.
const CLOSE: f64 = 1.02;

/// Where searches start.
const START: f64 = 0.03;

/// One image under noise of one deviation, in the terms of bounds.
struct Noisy {
    centre: Vec<f32>,
    axes: Vec<f32>,
    /// How far, in norms of any row, its mean may be from what is computed of the stored image.
    off: f64,
}

impl Noisy {
    fn new(image: &[f32], sigma: f64) -> Noisy {
        let mut known: HashMap<u32, Clipped> = HashMap::new();
        let mut noisy = Noisy { centre: vec![], axes: vec![], off: 0.0 };
        // The f32 image from that of the file, which moves no clipped pixel farther; means from what is computed; and f32.
        let error = f64::from(PIXEL_ROUNDING) + MEAN_ERROR + f64::from(f32::EPSILON) / 2.0;
        for &x in image {
            let c = *known.entry(x.to_bits()).or_insert_with(|| Clipped::new(f64::from(x), sigma));
            noisy.centre.push(c.mean as f32);
            let axes = [c.fall, c.rise].map(|factor| to_f32_up(factor.sqrt()));
            noisy.axes.extend(axes);
            // |a| error = (|a| axis) (error / axis), summed by Cauchy and Schwarz.
            noisy.off += (error / f64::from(axes[0].min(axes[1]))).powi(2);
        }
        noisy.off = noisy.off.sqrt() * (1.0 + 1e-9);
        noisy
    }
}

/// `exp(-k^2/2)`, from above.
fn tail(k: f64) -> f64 {
    let tail = (-0.5 * k * k).exp() * (1.0 + 1e-9);
    // What is too small for f64 is not nothing.
    if k.is_finite() { tail.clamp(f64::MIN_POSITIVE, 1.0) } else { 0.0 }
}

/// Upper bound of the probability that the class changes.
fn risk(bound: &CloudBound, k: f64, off: f64) -> f64 {
    let rivals =
        bound.reaches.iter().map(|&reach| if f64::from(reach) > off { tail(f64::from(reach) - off) } else { 1.0 });
    ((bound.rows as f64 * tail(k) + rivals.sum::<f64>()) * (1.0 + 1e-9)).min(1.0)
}

/// How far each of so many rows may stray if all of them together are to do so with this probability at most.
fn deviations(rows: usize, probability: f64) -> f64 {
    (2.0 * (rows.max(1) as f64 / probability).ln()).sqrt()
}

/// What is proved of one image under noise of one deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proved {
    /// Of the noise, in pixel units; 0 if nothing is proved of any.
    pub sigma: f64,
    /// The class changes with probability at most this.
    pub risk: f64,
    /// How far rows behind the bounds of neurons were taken to stray at most, in norms of each.
    pub deviations: f64,
}

impl Noisy {
    /// Rows that bound neurons stray by so many of their norms.
    fn cloud(&self, deviations: f64, class: usize) -> Cloud<'_> {
        Cloud { centre: &self.centre, axes: &self.axes, radius: to_f32_up(deviations + self.off), class }
    }
}

/// Images under noise, and how many rows their bounds rest on: at first as many as there could be, then as there were.
struct Proofs<'a> {
    bounder: &'a Bounder,
    subjects: &'a [&'a Subject],
    rows: Vec<usize>,
}

impl<'a> Proofs<'a> {
    fn new(bounder: &'a Bounder, subjects: &'a [&'a Subject]) -> Proofs<'a> {
        let all = 2 * bounder.net.model.nodes.iter().map(|n| n.shape.len()).sum::<usize>();
        Proofs { bounder, subjects, rows: vec![all; subjects.len()] }
    }

    /// For each of some images what is proved of noise of a deviation. All rows behind the bounds of neurons together may
    /// stray with about half of `target`.
    fn prove(&mut self, asked: &[(usize, f64)], target: f64) -> Result<Vec<Proved>> {
        // A few rows more than the last time.
        let k: Vec<f64> =
            asked.iter().map(|(i, _)| deviations(self.rows[*i] + self.rows[*i] / 50, 0.5 * target)).collect();
        let noisy: Vec<Noisy> = asked.iter().map(|(i, sigma)| Noisy::new(&self.subjects[*i].image, *sigma)).collect();
        let of = |((i, _), (n, k)): (&(usize, f64), (_, &f64))| Noisy::cloud(n, *k, self.subjects[*i].class);
        let clouds: Vec<Cloud<'_>> = asked.iter().zip(noisy.iter().zip(&k)).map(of).collect();
        let bounds = Fit::new(clouds.len().max(1)).run(&clouds, |part| self.bounder.clouds(part))?;
        asked.iter().zip(&bounds).for_each(|((i, _), bound)| self.rows[*i] = bound.rows);
        let all = asked.iter().zip(&bounds).zip(noisy.iter().zip(&k));
        let proved = all.map(|(((_, sigma), bound), (n, k))| Proved {
            sigma: *sigma,
            risk: risk(bound, *k, n.off),
            deviations: *k,
        });
        Ok(proved.collect())
    }
}

/// For every image what is proved of noise of deviation `sigma`: the least of a few bounds of the probability that it
/// changes the class.
///
/// # Errors
/// A fault of the device.
pub fn least(bounder: &Bounder, subjects: &[&Subject], sigma: f64) -> Result<Vec<Proved>> {
    // Twice the first, for it begins with the most rows that there could be. Rows that may stray further prove less often,
    // and smaller probabilities where they do.
    const TARGETS: [f64; 4] = [1e-2, 1e-2, 1e-4, 1e-7];
    let mut best = vec![Proved { sigma, risk: 1.0, deviations: 0.0 }; subjects.len()];
    let mut proofs = Proofs::new(bounder, subjects);
    for (round, target) in TARGETS.into_iter().enumerate() {
        let useful = |p: f64| if round < 2 { p > 0.5 * target } else { p < 1.0 && p > 0.5 * target };
        let open: Vec<(usize, f64)> = (0..best.len()).filter(|&i| useful(best[i].risk)).map(|i| (i, sigma)).collect();
        for ((i, _), proved) in open.iter().zip(proofs.prove(&open, target)?) {
            if proved.risk < best[*i].risk {
                best[*i] = proved;
            }
        }
    }
    Ok(best)
}

/// For every image the largest deviation found at which it is proved that the class changes with probability at most `risk`.
/// The bound need not rise with the noise: the promise is for the deviation given.
///
/// # Errors
/// A fault of the device.
pub fn largest(bounder: &Bounder, subjects: &[&Subject], risk: f64) -> Result<Vec<Proved>> {
    let mut best = vec![Proved { sigma: 0.0, risk: 0.0, deviations: 0.0 }; subjects.len()];
    let mut brackets = vec![Bracket::new(START); subjects.len()];
    let mut proofs = Proofs::new(bounder, subjects);
    loop {
        let asked: Vec<(usize, f64)> =
            brackets.iter().enumerate().filter_map(|(i, b)| b.next.map(|sigma| (i, sigma))).collect();
        if asked.is_empty() {
            return Ok(best);
        }
        for ((i, _), proved) in asked.iter().zip(proofs.prove(&asked, risk)?) {
            brackets[*i].update(Some(proved.risk <= risk));
            if proved.risk <= risk {
                best[*i] = proved;
            }
        }
    }
}

/// What an auditor needs to prove the same again, and the probability that it proves: that of `proved`, as long as the
/// device computes the same twice.
///
/// # Errors
/// A fault of the device.
pub fn certificate(bounder: &Bounder, subject: &Subject, proved: &Proved) -> Result<(f64, NoiseCertificate)> {
    let noisy = Noisy::new(&subject.image, proved.sigma);
    let (bound, certificate) = bounder.cloud_proof(&noisy.cloud(proved.deviations, subject.class))?;
    let certificate = NoiseCertificate { deviations: proved.deviations, ..certificate };
    Ok((risk(&bound, proved.deviations, noisy.off), certificate))
}

/// The search for a deviation, by factors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bracket {
    /// Kept what was asked; 0 if nothing did.
    pub low: f64,
    /// Did not; infinite if nothing was asked in vain.
    pub high: f64,
    /// To be asked.
    pub next: Option<f64>,
}

impl Bracket {
    pub fn new(start: f64) -> Bracket {
        Bracket { low: 0.0, high: f64::INFINITY, next: Some(start.clamp(LEAST, LARGEST)) }
    }

    /// Takes the answer for `next`; none leaves the bracket as it is and ends the search.
    pub fn update(&mut self, kept: Option<bool>) {
        let Some(asked) = self.next else { return };
        match kept {
            Some(true) => self.low = asked,
            Some(false) => self.high = asked,
            None => {
                self.next = None;
                return;
            }
        }
        let next = match (self.low, self.high) {
            (low, f64::INFINITY) => (2.0 * low).min(LARGEST),
            (0.0, high) => 0.5 * high,
            (low, high) => (low * high).sqrt(),
        };
        let done = self.low >= LARGEST || self.high <= LEAST || self.low > 0.0 && self.high <= self.low * CLOSE;
        self.next = (!done).then_some(next.max(LEAST));
    }
}

/// Noise below this is none.
const LEAST: f64 = 1e-5;
