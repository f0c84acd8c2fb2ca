//! Projected gradient attacks (Madry et al. 2018) with a search for the smallest radius that breaks an image: the upper
//! end of delta max. A hit counts once an enclosure in f64 leaves no doubt that the file's network gives it another class.

pub(crate) mod descent;
mod hunt;
pub mod nearer;

use rayon::prelude::*;

use self::hunt::{Found, Hunt, Try};
use crate::error::Result;
use crate::model::Folding;
use crate::model::enclosure::{self, Known, lead};
use crate::network::Network;
use crate::norm::Norm;
use crate::tensor;

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
struct Target {
    /// Radius being tried, and the largest that failed.
    radius: f32,
    failed: f32,
    /// As far as f32 can tell, each nearer than the one before; the last of each round: of [`KEPT`] the first and the
    /// latest.
    hits: Vec<Kept>,
}

/// A hit that is on the device.
#[derive(Clone, Copy)]
struct Kept {
    distance: f32,
    slot: usize,
}

/// The nearest hits lie so close to where two logits tie that only one further out may stand up to [`confirm`].
const KEPT: usize = 4;

impl Target {
    /// Where the next hit is kept: in place of the second where there is no other room.
    fn room(&self) -> usize {
        if self.hits.len() < KEPT { self.hits.len() } else { self.hits[1].slot }
    }

    /// Takes in what the last round found, and says what the next one tries.
    fn settle(&mut self, found: Found, most: f32) {
        let slot = self.room();
        if let Some((distance, _)) = found.nearer {
            if self.hits.len() == KEPT {
                self.hits.remove(1);
            }
            self.hits.push(Kept { distance, slot });
        }
        if !found.hit {
            self.failed = self.failed.max(self.radius);
        }
        self.radius = match self.hits.last() {
            Some(b) => 0.5 * (self.failed.min(b.distance) + b.distance),
            None => (2.0 * self.radius).min(most),
        };
    }
}

/// Where to start far from an image, by round: black, white, the farthest image, grey.
fn far_from(image: &[f32], round: usize) -> Vec<f32> {
    let value = |v: &f32| match round % 4 {
        0 => 0.0,
        1 => 1.0,
        2 => f32::from(*v < 0.5),
        _ => 0.5,
    };
    image.iter().map(value).collect()
}

/// The smallest distance found at which each of these images gets another class, with the image; `None` where none was
/// found. `images` are `[channel][row][column]`, their classes are `classes`. `corners`, one per image or none at all,
/// are points to start from in every other round until an image is broken. Once a ball of all images failed, others are.
pub fn attack(
    net: &Network,
    norm: Norm,
    images: &[&[f32]],
    classes: &[usize],
    corners: &[Vec<f32>],
    settings: &Settings,
) -> Result<Vec<Option<Hit>>> {
    let elements = net.model.input.len();
    let most = norm.largest(elements);
    let target = |_| Target { radius: settings.guess * most, failed: 0.0, hits: vec![] };
    let mut targets: Vec<Target> = (0..images.len()).map(target).collect();
    let centre = net.device.upload(&tensor::interleave(images.iter().copied(), elements))?;
    let towards: Vec<_> = classes.iter().map(|class| (*class, None)).collect();
    let mut hunt = Hunt::new(net, norm, centre, &towards)?;
    // The first step crosses the whole ball; later ones refine.
    let stride = |step| if step == 0 { [1.0, 1.0] } else { [0.5, (1.0 + 0.5 * step as f32).sqrt()] };
    for round in 0..settings.rounds {
        // Start where the last hit was, pulled into the new ball: the way out is usually the same.
        let slots: Vec<_> = targets.iter().map(|t| t.hits.last().map(|hit| hit.slot)).collect();
        let start = |(i, t): (usize, &Target)| match corners.get(i).filter(|_| round % 2 == 0) {
            _ if !t.hits.is_empty() => None,
            // From where it stands all images have been tried.
            _ if t.failed >= most => Some((i, far_from(images[i], round))),
            corner => Some((i, corner?.clone())),
        };
        let starts: Vec<(usize, Vec<f32>)> = targets.iter().enumerate().filter_map(start).collect();
        let x = hunt.start(&slots, &starts.iter().map(|(i, start)| (*i, start.as_slice())).collect::<Vec<_>>())?;
        let nearest = |t: &Target| t.hits.last().map_or(f32::MAX, |hit| hit.distance);
        let tries = targets.iter().map(|t| Try { radius: t.radius, nearest: nearest(t), slot: t.room() });
        let found = hunt.run(x, &tries.collect::<Vec<_>>(), settings.steps, stride)?;
        targets.iter_mut().zip(found).for_each(|(target, found)| target.settle(found, most));
    }
    // The nearest of each image first.
    let mut hits = vec![None; images.len()];
    loop {
        let next = |(i, t): (usize, &mut Target)| t.hits.pop().filter(|_| hits[i].is_none()).map(|hit| (i, hit.slot));
        let wanted: Vec<(usize, usize)> = targets.iter_mut().enumerate().filter_map(next).collect();
        if wanted.is_empty() {
            return Ok(hits);
        }
        let points = hunt.hits(&wanted)?;
        let confirmed: Vec<Option<Hit>> = wanted
            .par_iter()
            .zip(points)
            .map(|(&(i, _), point)| confirm(net, norm, images[i], classes[i], point))
            .collect();
        wanted.into_iter().zip(confirmed).for_each(|((i, _), hit)| hits[i] = hit);
    }
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
    let more = || ahead(&enclosure::forward_finely(&net.model, &broken, &known));
    let open = !stands && net.model.folded.iter().all(Folding::is_known);
    let (rival, _) = ahead(&known).or_else(|| open.then(more).flatten())?;
    Some(Hit { distance: norm.distance(image, &broken), class: rival, image: broken })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::Device;
    use crate::model::{Dense, Layer, Model, Node, Origin, Pool, Ratio, cancelling};
    use crate::network::largest;
    use crate::tensor::Shape;

    fn attacked(size: f32) -> Option<Hit> {
        let net = Network::new(&Device::cpu(), &cancelling(size)).unwrap();
        attack(&net, Norm::Linf, &[&[0.2]], &[0], &[], &Settings::default()).unwrap().remove(0)
    }

    /// The largest of many pixels: gradients lower one at a time.
    #[test]
    fn images_far_away_are_tried() {
        let pool = Pool { kernel: [8, 8], stride: [1, 1], pad: [0, 0], count_include_pad: false };
        let dense = Layer::Dense(Dense { weight: vec![1.0, 0.0], bias: vec![0.0, 0.5] });
        let node =
            |name: &str, layer, input, n| Node { name: name.into(), layer, inputs: vec![input], shape: Shape::flat(n) };
        let nodes = vec![node("max", Layer::MaxPool(pool), 0, 1), node("d", dense, 1, 2)];
        let model = Model { input: Shape::new(1, 8, 8), nodes, classes: vec!["0".into(), "1".into()], folded: vec![] };
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let image: Vec<f32> = (0..64).map(|k| 0.9 + 0.001 * k as f32).collect();
        let hit = attack(&net, Norm::Linf, &[&image], &[0], &[], &Settings::default()).unwrap().remove(0).unwrap();
        assert!(hit.class == 1 && hit.distance > 0.46, "{hit:?}");
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
        // Where constants were folded, it takes to know which.
        let ratios = vec![Ratio { factor: 1.0, offset: 0.0, divisor: [3.0, 1.0], root: true, shift: 0.0 }];
        let layer = Some(net.model.nodes[160].layer.clone());
        let origin = |ratios| Some(Arc::new(Origin { layer, ratios }));
        let charge = |origin| Folding { node: 160, relative: 1e-7, origin, ..Folding::default() };
        for (origin, found) in [(None, false), (origin(ratios), true)] {
            let model = Model { folded: vec![charge(origin)], ..(*net.model).clone() };
            let net = Network::new(&Device::cpu(), &model).unwrap();
            assert_eq!(confirm(&net, Norm::Linf, &[0.2], 0, hit.image.clone()).is_some(), found);
        }
    }
}
