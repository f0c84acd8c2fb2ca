//! The noise sweep: accuracy and confusion matrices of a model under Gaussian noise of several variances.

pub mod part;

use std::ops::Range;

use crate::dataset::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::network::{Network, largest};
use crate::ops::noise::{self, Noise};
use crate::progress::Progress;
use crate::results::{NoiseLevel, Spread};
use crate::tensor;

/// Images noised and classified at once.
const BATCH: usize = 256;

/// What noise to apply.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Variances of the noise, in squared pixel units of `[0,1]`.
    pub variances: Vec<f64>,
    /// Independent draws per image and variance (variance 0 needs one).
    pub draws: usize,
    /// Of the noise.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { variances: vec![0.0, 0.001, 0.005, 0.025], draws: 3, seed: 0 }
    }
}

impl Settings {
    /// Passes over the images at this variance.
    pub fn draws(&self, variance: f64) -> usize {
        if variance == 0.0 { 1 } else { self.draws.max(1) }
    }

    /// Passes over the images in all.
    pub fn passes(&self) -> usize {
        self.variances.iter().map(|v| self.draws(*v)).sum()
    }
}

/// The images `first..first + count` with noise of this variance, clipped to `[0,1]`; the same for a seed, image and draw
/// on every device and in every batch.
pub fn noisy(
    device: &Device,
    data: &Dataset,
    first: usize,
    count: usize,
    variance: f64,
    seed: u64,
    draw: u32,
) -> Result<Vec<f32>> {
    let (elements, images) = (data.shape.len(), data.images(first..first + count));
    if variance == 0.0 {
        return Ok(images.into_owned());
    }
    let lanes = tensor::lanes(count);
    let x = device.upload(&tensor::interleave(images.chunks(elements), elements))?;
    let ids: Vec<u32> = (0..lanes).map(|i| (first + i) as u32).collect();
    let y = device.alloc(x.len())?;
    let noise = Noise { seed, draw, sigma: variance.sqrt() as f32, clip: true };
    noise::gaussian(device, &x, &device.upload(&ids)?, &y, elements, lanes, &noise)?;
    Ok(tensor::deinterleave(&device.read::<f32>(&y)?, elements, count))
}

/// Confusion matrices and rates per variance. `progress` counts classified images.
///
/// # Errors
/// A fault of the device.
pub fn sweep(net: &Network, data: &Dataset, settings: &Settings, progress: &mut Progress) -> Result<Vec<NoiseLevel>> {
    let called = called(net, data, settings, 0..data.len(), progress)?;
    Ok(levels(&settings.variances, called, &data.labels, data.classes.len()))
}

/// What the images of the range are called, `[variance][draw][image]`: the same whatever other images there are.
///
/// # Errors
/// A fault of the device.
pub fn called(
    net: &Network,
    data: &Dataset,
    settings: &Settings,
    range: Range<usize>,
    progress: &mut Progress,
) -> Result<Vec<Vec<Vec<usize>>>> {
    let level = |&variance: &f64| {
        let draws = 0..settings.draws(variance) as u32;
        draws.map(|draw| answers(net, data, &range, (variance, settings.seed, draw), progress)).collect()
    };
    settings.variances.iter().map(level).collect()
}

/// Confusion matrices and rates per variance of what images with these labels are called, `[variance][draw][image]`.
pub fn levels(variances: &[f64], called: Vec<Vec<Vec<usize>>>, labels: &[usize], classes: usize) -> Vec<NoiseLevel> {
    let level = |(&variance, called): (&f64, Vec<Vec<usize>>)| {
        let mut confusion = vec![vec![0.0; classes]; classes];
        let (mut accuracies, mut rates) = (Vec::new(), vec![Vec::new(); classes]);
        for found in &called {
            let mut counts = vec![vec![0.0; classes]; classes];
            found.iter().zip(labels).for_each(|(&c, &label)| counts[label][c] += 1.0);
            let diagonal: f64 = (0..classes).map(|c| counts[c][c]).sum();
            accuracies.push(diagonal / labels.len() as f64);
            for c in 0..classes {
                let total: f64 = counts[c].iter().sum();
                if total > 0.0 {
                    rates[c].push(counts[c][c] / total);
                }
                (0..classes).for_each(|j| confusion[c][j] += counts[c][j]);
            }
        }
        NoiseLevel {
            variance,
            draws: called.len(),
            confusion,
            accuracy: Spread::of(&accuracies),
            class_rates: rates.iter().map(|r| Spread::of(r)).collect(),
            called,
        }
    };
    variances.iter().zip(called).map(level).collect()
}

/// Refuses lists of noise variances that make no sense.
///
/// # Errors
/// [`Error::Usage`] with the flag.
pub fn check_variances(variances: &[f64]) -> Result<()> {
    if variances.is_empty() || variances.iter().any(|v| !(0.0..=1.0).contains(v)) {
        return Err(Error::usage("--variance takes numbers from 0 to 1, in squared pixel units"));
    }
    let mut sorted = variances.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.windows(2).any(|w| w[0] == w[1]) {
        return Err(Error::usage("--variance names one value twice"));
    }
    Ok(())
}

/// What every image of the range is called in one draw; `noise`: variance, seed, draw.
fn answers(
    net: &Network,
    data: &Dataset,
    range: &Range<usize>,
    noise: (f64, u64, u32),
    progress: &mut Progress,
) -> Result<Vec<usize>> {
    let (variance, seed, draw) = noise;
    let mut called = Vec::with_capacity(range.len());
    for first in range.clone().step_by(BATCH) {
        interrupt::check()?;
        let count = BATCH.min(range.end - first);
        let images = noisy(&net.device, data, first, count, variance, seed, draw)?;
        let images: Vec<&[f32]> = images.chunks(data.shape.len()).collect();
        called.extend(net.scores(&images)?.iter().map(|scores| largest(scores)));
        progress.advance(count);
    }
    Ok(called)
}
