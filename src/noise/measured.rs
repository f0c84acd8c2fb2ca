//! How often noise changes a class: draws on the device.

use statrs::distribution::{Beta, ContinuousCDF};

use super::Bracket;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::network::{Network, largest};
use crate::ops::noise::{self, Noise};
use crate::search::Subject;
use crate::tensor;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Draws per image and deviation, at most.
    pub draws: usize,
    /// With which the probability lies in the interval that is said.
    pub confidence: f64,
    /// Drawing ends as soon as the interval lies on one side of this; `None`: when all draws are done.
    pub risk: Option<f64>,
    /// Of the noise.
    pub seed: u64,
}

/// What draws say of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Made.
    pub draws: usize,
    /// Of which another class was given.
    pub changed: usize,
    /// The probability that the class changes is at least this,
    pub low: f64,
    /// and at most this, with the confidence of the settings.
    pub high: f64,
}

/// Draws after which one looks whether it is decided, growing tenfold.
const FIRST_LOOK: usize = 100;

/// Draws through the network at once.
const BATCH: usize = 1024;

/// Draws of an image are told from those of sweeps by the seed.
const STREAM: u64 = 0x0D2A_575E_ED00_0001;

impl Settings {
    /// Numbers of draws at which the interval is looked at.
    fn looks(&self) -> Vec<usize> {
        let mut looks = vec![];
        let mut at = FIRST_LOOK;
        while self.risk.is_some() && at < self.draws {
            looks.push(at);
            at *= 10;
        }
        looks.push(self.draws);
        looks
    }
}

/// The two-sided interval of Clopper and Pearson for `changed` of `draws`, which misses with probability at most `alpha`.
///
/// # Errors
/// If the numbers make no distribution.
pub fn interval(changed: usize, draws: usize, alpha: f64) -> Result<[f64; 2]> {
    // Where a beta distribution reaches a probability, from below and above.
    let around = |a: f64, b: f64, p: f64| -> Result<[f64; 2]> {
        let beta = Beta::new(a, b).map_err(|e| Error::usage(format!("{changed} of {draws} draws: {e}")))?;
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if beta.cdf(middle) < p { low = middle } else { high = middle }
        }
        Ok([low, high])
    };
    let (c, n) = (changed as f64, draws as f64);
    let low = if changed == 0 { 0.0 } else { around(c, n - c + 1.0, 0.5 * alpha)?[0] };
    let high = if changed == draws { 1.0 } else { around(c + 1.0, n - c, 1.0 - 0.5 * alpha)?[1] };
    Ok([low, high])
}

/// Draws noise of deviation `sigma` on an image; `id` names its stream of numbers, which is the same on every device.
///
/// # Errors
/// A fault of the device.
pub fn measure(net: &Network, subject: &Subject, id: u32, sigma: f64, settings: &Settings) -> Result<Measured> {
    let looks = settings.looks();
    // What is looked at several times may mislead each time: the looks share what may go wrong.
    let alpha = (1.0 - settings.confidence) / looks.len() as f64;
    let (mut draws, mut changed, mut found) = (0, 0, [0.0, 1.0]);
    for look in looks {
        while draws < look {
            let count = BATCH.min(look - draws);
            changed += changes(net, subject, id, sigma, settings.seed, draws..draws + count)?;
            draws += count;
        }
        let [low, high] = interval(changed, draws, alpha)?;
        found = [f64::max(found[0], low), f64::min(found[1], high)];
        if settings.risk.is_some_and(|risk| found[0] > risk || found[1] <= risk) {
            break;
        }
    }
    Ok(Measured { draws, changed, low: found[0], high: found[1].max(found[0]) })
}

/// How many of some draws change the class.
fn changes(
    net: &Network,
    subject: &Subject,
    id: u32,
    sigma: f64,
    seed: u64,
    draws: std::ops::Range<usize>,
) -> Result<usize> {
    interrupt::check()?;
    let (d, elements, lanes) = (&net.device, subject.image.len(), tensor::lanes(draws.len()));
    let x: Vec<f32> = subject.image.iter().flat_map(|x| std::iter::repeat_n(*x, lanes)).collect();
    let ids: Vec<u32> = (0..lanes).map(|lane| (draws.start + lane) as u32).collect();
    let y = d.alloc(x.len())?;
    let noise = Noise { seed: seed ^ STREAM, draw: id, sigma: sigma as f32, clip: true };
    noise::gaussian(d, &d.upload(&x)?, &d.upload(&ids)?, &y, elements, lanes, &noise)?;
    let logits: Vec<f32> = d.read(&net.logits(y, lanes)?)?;
    let scores = tensor::deinterleave(&logits, net.model.outputs(), draws.len());
    Ok(scores.chunks(net.model.outputs()).filter(|scores| largest(scores) != subject.class).count())
}

/// Deviations at which it is decided whether the class changes with probability at most the risk of the settings: the largest
/// found at which it surely does not change more often, 0 if none, and the smallest above it at which it surely does,
/// infinite if none.
///
/// # Errors
/// A fault of the device.
pub fn search(net: &Network, subject: &Subject, id: u32, start: f64, settings: &Settings) -> Result<[f64; 2]> {
    let risk = settings.risk.unwrap_or(0.01);
    let mut bracket = Bracket::new(start);
    while let Some(sigma) = bracket.next {
        let m = measure(net, subject, id, sigma, settings)?;
        bracket.update(if m.high <= risk {
            Some(true)
        } else if m.low > risk {
            Some(false)
        } else {
            None
        });
    }
    Ok([bracket.low, bracket.high])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against quantiles of the beta distribution by scipy.stats.
    #[test]
    fn intervals_are_those_of_clopper_and_pearson() {
        for (changed, draws, level, low, high) in [
            (0, 100, 0.95, 0.0, 0.036_216_7),
            (7, 100, 0.95, 0.028_605_3, 0.138_919_7),
            (100, 100, 0.95, 0.963_783_3, 1.0),
        ] {
            let [l, h] = interval(changed, draws, 1.0 - level).unwrap();
            assert!((l - low).abs() < 2e-6 && (h - high).abs() < 2e-6, "{changed} of {draws}: [{l}, {h}]");
        }
        // A hundred thousand clean draws: at most 7e-5 at 99.9 %, one-sided.
        assert!(interval(0, 100_000, 0.002).unwrap()[1] < 7e-5);
    }

    #[test]
    fn looks_end_at_all_draws() {
        let settings = Settings { draws: 5000, confidence: 0.999, risk: Some(0.01), seed: 0 };
        assert_eq!(settings.looks(), [100, 1000, 5000]);
        assert_eq!(Settings { risk: None, ..settings }.looks(), [5000]);
    }
}
