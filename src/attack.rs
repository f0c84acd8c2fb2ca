//! Projected gradient attacks (Madry et al. 2018) with a search for the smallest radius that breaks an image: the upper
//! end of delta max. A hit counts once an enclosure in f64 leaves no doubt that the file's network gives it another class.

use rayon::prelude::*;

use crate::error::Result;
use crate::interrupt;
use crate::model::enclosure::{self, lead};
use crate::network::{Network, largest};
use crate::tensor;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Radii tried per image.
    pub rounds: usize,
    /// Gradient steps per radius.
    pub steps: usize,
    /// First radius.
    pub guess: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { rounds: 10, steps: 12, guess: 0.05 }
    }
}

/// An image of another class near the original.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Largest change of any pixel.
    pub distance: f32,
    /// The class it is given.
    pub class: usize,
    /// `[channel][row][column]`, values in `[0,1]`.
    pub image: Vec<f32>,
}

/// One image under attack.
struct Target {
    image: Vec<f32>,
    class: usize,
    /// Where to start from before there is a hit, in turns with the image.
    corner: Option<Vec<f32>>,
    /// Current point and momentum.
    point: Vec<f32>,
    momentum: Vec<f32>,
    /// Radius being tried, and the largest that failed.
    radius: f32,
    failed: f32,
    hit_now: bool,
    /// Whether the last of `hits` is of this round.
    fresh: bool,
    /// As far as f32 can tell, each nearer than the one before; the last of each round: of [`KEPT`] the first and the latest.
    hits: Vec<Hit>,
}

/// The nearest hits lie so close to where two logits tie that only one further out may stand up to [`confirm`].
const KEPT: usize = 4;

impl Target {
    /// Keeps a hit nearer than all before, in place of one of the same round.
    fn keep(&mut self, hit: Hit) {
        if self.fresh {
            self.hits.pop();
        } else if self.hits.len() == KEPT {
            self.hits.remove(1);
        }
        self.hits.push(hit);
        self.fresh = true;
    }
}

/// Attacks images whose network classes are `classes`. `corners`, one per image or none at all, are points to start from
/// in every other round until an image is broken.
pub fn attack(
    net: &Network,
    images: &[&[f32]],
    classes: &[usize],
    corners: &[Vec<f32>],
    settings: &Settings,
) -> Result<Vec<Option<Hit>>> {
    let target = |(i, (image, class)): (usize, (&&'_ [f32], &usize))| Target {
        image: image.to_vec(),
        class: *class,
        corner: corners.get(i).cloned(),
        point: image.to_vec(),
        momentum: vec![0.0; image.len()],
        radius: settings.guess,
        failed: 0.0,
        hit_now: false,
        fresh: false,
        hits: vec![],
    };
    let mut targets: Vec<Target> = images.iter().zip(classes).enumerate().map(target).collect();
    for round in 0..settings.rounds {
        targets.par_iter_mut().for_each(|target| {
            (target.hit_now, target.fresh) = (false, false);
            target.momentum.fill(0.0);
            // Start where the last hit was, pulled into the new ball: the way out is usually the same.
            let corner = target.corner.as_ref().filter(|_| round % 2 == 0);
            let start = target.hits.last().map(|b| &b.image).or(corner).unwrap_or(&target.image);
            for (p, (x, start)) in target.point.iter_mut().zip(target.image.iter().zip(start)) {
                *p = start.clamp(x - target.radius, x + target.radius).clamp(0.0, 1.0);
            }
        });
        for step in 0..=settings.steps {
            advance(net, &mut targets, step, settings.steps)?;
        }
        for target in &mut targets {
            if !target.hit_now {
                target.failed = target.failed.max(target.radius);
            }
            target.radius = match target.hits.last() {
                Some(b) => 0.5 * (target.failed.min(b.distance) + b.distance),
                None => (2.0 * target.radius).min(1.0),
            };
        }
    }
    let confirmed = |t: Target| t.hits.into_iter().rev().find_map(|hit| confirm(net, &t.image, t.class, hit.image));
    Ok(targets.into_par_iter().map(confirmed).collect())
}

/// Classifies all points, records hits, and moves every point along the sign of the gradient.
fn advance(net: &Network, targets: &mut [Target], step: usize, steps: usize) -> Result<()> {
    interrupt::check()?;
    let d = &net.device;
    let (elements, outputs) = (net.model.input.len(), net.model.outputs());
    let lanes = tensor::lanes(targets.len());
    let x = d.upload(&tensor::interleave(targets.iter().map(|t| t.point.as_slice()), elements))?;
    let values = net.forward(x, lanes, true)?;
    let logits: Vec<f32> = d.read(values[net.model.output()].as_ref().expect("kept"))?;
    let judge = |(lane, target): (usize, &mut Target)| {
        let scores: Vec<f32> = (0..outputs).map(|k| logits[k * lanes + lane]).collect();
        let class = largest(&scores);
        if class != target.class {
            let distance = distance(&target.image, &target.point);
            // The image itself has its class, whatever f32 says.
            if distance > 0.0 {
                target.hit_now = true;
                if target.hits.last().is_none_or(|b| distance < b.distance) {
                    target.keep(Hit { distance, class, image: target.point.clone() });
                }
            }
        }
        let mut rivals = scores;
        rivals[target.class] = f32::NEG_INFINITY;
        largest(&rivals)
    };
    let rivals: Vec<usize> = targets.par_iter_mut().enumerate().map(judge).collect();
    let mut seed = vec![0.0f32; outputs * lanes];
    for (lane, (rival, target)) in rivals.iter().zip(&*targets).enumerate() {
        seed[rival * lanes + lane] = 1.0;
        seed[target.class * lanes + lane] = -1.0;
    }
    if step == steps {
        return Ok(());
    }
    let (gradient, _) = net.backward(&values, d.upload(&seed)?, lanes, false)?;
    let gradient = tensor::deinterleave(&d.read::<f32>(&gradient)?, elements, targets.len());
    targets.par_iter_mut().zip(gradient.par_chunks(elements)).for_each(|(t, gradient)| {
        let size: f32 = gradient.iter().map(|g| g.abs()).sum::<f32>().max(f32::MIN_POSITIVE);
        // The first step crosses the whole ball; later ones refine.
        let length = if step == 0 { t.radius } else { t.radius * 0.5 / (1.0 + 0.5 * step as f32).sqrt() };
        for (k, g) in gradient.iter().enumerate() {
            t.momentum[k] = 0.75 * t.momentum[k] + g / size;
            let x = t.image[k];
            let moved = t.point[k] + length * t.momentum[k].signum() * f32::from(t.momentum[k] != 0.0);
            t.point[k] = moved.clamp(x - t.radius, x + t.radius).clamp(0.0, 1.0);
        }
    });
    Ok(())
}

/// Largest change of any pixel, rounded up.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let exact = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
    crate::rounding::to_f32_up(exact)
}

/// A hit, if over real numbers the file's network gives some class at least as large a logit as `class` at `broken`:
/// of those the one that leads by most.
pub fn confirm(net: &Network, image: &[f32], class: usize, broken: Vec<f32>) -> Option<Hit> {
    let distance = distance(image, &broken);
    let known = enclosure::forward(&net.model, &broken);
    let leads = (0..net.model.outputs()).filter(|j| *j != class).map(|j| (j, lead(&known, j, class)));
    let (rival, _) = leads.filter(|(_, by)| *by >= 0.0).max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Hit { distance, class: rival, image: broken })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::cancelling;

    fn attacked(size: f32) -> Option<Hit> {
        let net = Network::new(&Device::cpu(), &cancelling(size)).unwrap();
        attack(&net, &[&[0.2]], &[0], &[], &Settings::default()).unwrap().remove(0)
    }

    /// No image of the other class exists; f32 sees one beyond 0.3, where it loses a one beside a number of this size.
    #[test]
    fn what_rounding_breaks_is_no_hit() {
        let f32_is_wrong = |size| {
            let net = Network::new(&Device::cpu(), &cancelling(size)).unwrap();
            largest(&net.scores(&[&[0.6]]).unwrap()[0]) == 1
        };
        // f64 is wrong as well.
        assert!(f32_is_wrong((1u64 << 60) as f32) && attacked((1u64 << 60) as f32).is_none());
        assert!(f32_is_wrong((1u64 << 30) as f32) && attacked((1u64 << 30) as f32).is_none());
    }
}
