//! Projected gradient attacks (Madry et al. 2018) with a search for the smallest radius that breaks an image: the upper
//! end of delta max. A hit counts once an enclosure in f64 leaves no doubt that the file's network gives it another class.

pub(crate) mod descent;
pub mod nearer;

use rayon::prelude::*;

use self::descent::{Objective, Point, Region, descend};
use crate::error::Result;
use crate::model::enclosure::{self, Known, lead};
use crate::network::{Network, largest};
use crate::norm::Norm;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Radii tried per image.
    pub rounds: usize,
    /// Gradient steps per radius.
    pub steps: usize,
    /// First radius, as a share of the largest.
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
    /// From the original, in the norm of the attack.
    pub distance: f32,
    /// The class it is given.
    pub class: usize,
    /// `[channel][row][column]`, values in `[0,1]`.
    pub image: Vec<f32>,
}

/// One image under attack.
struct Target<'a> {
    image: &'a [f32],
    class: usize,
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

impl Target<'_> {
    /// Takes note of a point's scores, and names the rival to raise.
    fn judge(&mut self, norm: Norm, point: &[f32], scores: &[f32]) -> usize {
        let class = largest(scores);
        // The image itself has its class, whatever f32 says.
        let distance = if class == self.class { 0.0 } else { norm.distance(self.image, point) };
        if distance > 0.0 {
            self.hit_now = true;
            if self.hits.last().is_none_or(|b| distance < b.distance) {
                self.keep(Hit { distance, class, image: point.to_vec() });
            }
        }
        let mut rivals = scores.to_vec();
        rivals[self.class] = f32::NEG_INFINITY;
        largest(&rivals)
    }

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

/// The margin of each image's class over its nearest rival; one point for each image.
struct Margins<'a> {
    norm: Norm,
    targets: Vec<Target<'a>>,
}

impl Objective<usize> for Margins<'_> {
    fn region(&self, target: &usize) -> Region<'_> {
        let Target { image, radius, .. } = self.targets[*target];
        Region::Ball { centre: image, norm: self.norm, radius }
    }

    fn look(&mut self, points: &[Point<usize>], outputs: &[&[f32]], _last: bool) -> Vec<Vec<f32>> {
        let norm = self.norm;
        let lanes = self.targets.par_iter_mut().zip(points).zip(outputs);
        let weights = |((target, point), scores): ((&mut Target<'_>, &Point<usize>), &&[f32])| {
            let rival = target.judge(norm, &point.x, scores);
            let mut weights = vec![0.0; scores.len()];
            weights[rival] = 1.0;
            weights[target.class] = -1.0;
            weights
        };
        lanes.map(weights).collect()
    }
}

/// Attacks images whose network classes are `classes`. `corners`, one per image or none at all, are points to start from
/// in every other round until an image is broken.
pub fn attack(
    net: &Network,
    norm: Norm,
    images: &[&[f32]],
    classes: &[usize],
    corners: &[Vec<f32>],
    settings: &Settings,
) -> Result<Vec<Option<Hit>>> {
    let most = norm.largest(net.model.input.len());
    let target = |(&image, &class)| Target {
        image,
        class,
        radius: settings.guess * most,
        failed: 0.0,
        hit_now: false,
        fresh: false,
        hits: vec![],
    };
    let mut margins = Margins { norm, targets: images.iter().zip(classes).map(target).collect() };
    for round in 0..settings.rounds {
        let start = |(i, target): (usize, &mut Target<'_>)| {
            (target.hit_now, target.fresh) = (false, false);
            // Start where the last hit was, pulled into the new ball: the way out is usually the same.
            let corner = corners.get(i).filter(|_| round % 2 == 0);
            let mut x = target.hits.last().map(|b| &b.image).or(corner).map_or(target.image, Vec::as_slice).to_vec();
            Region::Ball { centre: target.image, norm, radius: target.radius }.pull(&mut x);
            Point::new(i, x)
        };
        let points = margins.targets.par_iter_mut().enumerate().map(start).collect();
        // The first step crosses the whole ball; later ones refine.
        let length = |step, radius| if step == 0 { radius } else { radius * 0.5 / (1.0 + 0.5 * step as f32).sqrt() };
        descend(net, &mut margins, points, settings.steps, length)?;
        for target in &mut margins.targets {
            if !target.hit_now {
                target.failed = target.failed.max(target.radius);
            }
            target.radius = match target.hits.last() {
                Some(b) => 0.5 * (target.failed.min(b.distance) + b.distance),
                None => (2.0 * target.radius).min(most),
            };
        }
    }
    let confirmed =
        |t: Target<'_>| t.hits.into_iter().rev().find_map(|hit| confirm(net, norm, t.image, t.class, hit.image));
    Ok(margins.targets.into_par_iter().map(confirmed).collect())
}

/// A hit, if over real numbers the file's network gives some class at least as large a logit as `class` at `broken`:
/// of those the one that leads by most.
pub fn confirm(net: &Network, norm: Norm, image: &[f32], class: usize, broken: Vec<f32>) -> Option<Hit> {
    let others = || (0..net.model.outputs()).filter(|j| *j != class);
    let ahead = |known: &Known| {
        let leads = others().map(|j| (j, lead(known, j, class)));
        leads.filter(|(_, by)| *by >= 0.0).max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let known = enclosure::forward(&net.model, &broken);
    let stands = others().all(|j| lead(&known, class, j) > 0.0);
    // Of what folding may have changed more digits tell nothing.
    let more = || ahead(&enclosure::forward_twice(&net.model, &broken));
    let open = !stands && net.model.folded.is_empty();
    let (rival, _) = ahead(&known).or_else(|| open.then(more).flatten())?;
    Some(Hit { distance: norm.distance(image, &broken), class: rival, image: broken })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::{Dense, Layer, Model, Node, cancelling};
    use crate::tensor::Shape;

    fn attacked(size: f32) -> Option<Hit> {
        let net = Network::new(&Device::cpu(), &cancelling(size)).unwrap();
        attack(&net, Norm::Linf, &[&[0.2]], &[0], &[], &Settings::default()).unwrap().remove(0)
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

    /// (1/2, x) turned by an eighth and mirrored 160 times, which leaves it what it was while magnitudes grow by 2^80: f64
    /// knows nothing of the outputs, and images of the other class begin at 1/2.
    #[test]
    fn what_a_deep_network_breaks_is_a_hit() {
        let dense = |weight: Vec<f32>, bias: [f32; 2]| Layer::Dense(Dense { weight, bias: bias.to_vec() });
        let c = std::f32::consts::FRAC_1_SQRT_2;
        let turns = (0..160).map(|_| dense(vec![c, c, c, -c], [0.0; 2]));
        let layers = std::iter::once(dense(vec![0.0, 1.0], [0.5, 0.0])).chain(turns);
        let node = |(i, layer)| Node { name: format!("n{i}"), layer, inputs: vec![i], shape: Shape::flat(2) };
        let nodes = layers.enumerate().map(node).collect();
        let classes = vec!["0".into(), "1".into()];
        let net =
            Network::new(&Device::cpu(), &Model { input: Shape::flat(1), nodes, classes, folded: vec![] }).unwrap();
        let hit = attack(&net, Norm::Linf, &[&[0.2]], &[0], &[], &Settings::default()).unwrap().remove(0).unwrap();
        assert!(hit.class == 1 && (0.3..0.31).contains(&hit.distance), "{hit:?}");
        assert!(enclosure::forward(&net.model, &hit.image).1[0] > 1.0);
        // What is none is none in more digits too.
        assert!(confirm(&net, Norm::Linf, &[0.2], 0, vec![0.45]).is_none());
    }
}
