//! Projected gradient attacks (Madry et al. 2018) with a search for the smallest radius that breaks an image: the upper
//! end of delta max. Every hit is evaluated again in f64 on the CPU before it counts.

use rayon::prelude::*;

use crate::error::Result;
use crate::model::reference;
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
    best: Option<Hit>,
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
        best: None,
    };
    let mut targets: Vec<Target> = images.iter().zip(classes).enumerate().map(target).collect();
    for round in 0..settings.rounds {
        for target in &mut targets {
            target.hit_now = false;
            target.momentum.fill(0.0);
            // Start where the last hit was, pulled into the new ball: the way out is usually the same.
            let corner = target.corner.as_ref().filter(|_| round % 2 == 0);
            let start = target.best.as_ref().map(|b| &b.image).or(corner).unwrap_or(&target.image);
            for (p, (x, start)) in target.point.iter_mut().zip(target.image.iter().zip(start)) {
                *p = start.clamp(x - target.radius, x + target.radius).clamp(0.0, 1.0);
            }
        }
        for step in 0..=settings.steps {
            advance(net, &mut targets, step, settings.steps)?;
        }
        for target in &mut targets {
            if !target.hit_now {
                target.failed = target.failed.max(target.radius);
            }
            target.radius = match &target.best {
                Some(b) => 0.5 * (target.failed.min(b.distance) + b.distance),
                None => (2.0 * target.radius).min(1.0),
            };
        }
    }
    Ok(targets.into_par_iter().map(|t| t.best.and_then(|hit| confirm(net, &t.image, t.class, hit.image))).collect())
}

/// Classifies all points, records hits, and moves every point along the sign of the gradient.
fn advance(net: &Network, targets: &mut [Target], step: usize, steps: usize) -> Result<()> {
    let d = &net.device;
    let (elements, outputs) = (net.model.input.len(), net.model.outputs());
    let lanes = tensor::lanes(targets.len());
    let x = d.upload(&tensor::interleave(targets.iter().map(|t| t.point.as_slice()), elements))?;
    let values = net.forward(x, lanes, true)?;
    let logits: Vec<f32> = d.read(values[net.model.output()].as_ref().expect("kept"))?;
    let mut seed = vec![0.0f32; outputs * lanes];
    for (lane, target) in targets.iter_mut().enumerate() {
        let scores: Vec<f32> = (0..outputs).map(|k| logits[k * lanes + lane]).collect();
        let class = largest(&scores);
        if class != target.class {
            target.hit_now = true;
            let distance = distance(&target.image, &target.point);
            if target.best.as_ref().is_none_or(|b| distance < b.distance) {
                target.best = Some(Hit { distance, class, image: target.point.clone() });
            }
        }
        let mut rivals = scores;
        rivals[target.class] = f32::NEG_INFINITY;
        seed[largest(&rivals) * lanes + lane] = 1.0;
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

/// A hit, if the network over real numbers gives `broken` another class than `class` by a clearly larger logit.
pub fn confirm(net: &Network, image: &[f32], class: usize, broken: Vec<f32>) -> Option<Hit> {
    let values = reference::forward(&net.model, &broken);
    let scores = values.last()?;
    let size = scores.iter().fold(1.0f64, |m, s| m.max(s.abs()));
    let (mut best, mut margin) = (class, 1e-9 * size);
    for (j, s) in scores.iter().enumerate().filter(|(j, _)| *j != class) {
        if s - scores[class] > margin {
            (best, margin) = (j, s - scores[class]);
        }
    }
    (best != class).then(|| Hit { distance: distance(image, &broken), class: best, image: broken })
}
