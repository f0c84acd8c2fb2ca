//! Known hits brought nearer: descents from many places towards all classes, in balls that shrink where another class is
//! found in them and grow where it is not (Pintor et al. 2021), then back along the line to the image.

use std::slice::from_ref;
use std::time::Instant;

use rayon::prelude::*;

use super::descent::pick;
use super::hunt::{Hunt, Try};
use super::{Hit, confirm};
use crate::device::Buffer;
use crate::error::Result;
use crate::network::{Network, largest};
use crate::norm::Norm;
use crate::rng::Rng;
use crate::tensor;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Descents, one after the other.
    pub rounds: usize,
    /// Places to start from in each.
    pub starts: usize,
    /// Gradient steps of each start.
    pub steps: usize,
    /// No step is taken later.
    pub until: Option<Instant>,
}

/// Classes that starts head for in turn: at first that of the hit and those with the largest logits at the image, then
/// those to which the ways were the shortest.
const GOALS: [usize; 2] = [9, 3];

/// How far a step goes, and by which share a ball changes with it: at first, and at last.
const STRIDE: [f32; 2] = [0.5, 0.01];
const PACE: [f32; 2] = [0.5, 0.001];

/// Brackets this narrow, as a share, are closed.
const CLOSED: f32 = 0.002;

/// Points looked at along a line, between two of which the border of the class lies; and how often.
const PLACES: usize = 16;
const LOOKS: usize = 3;

/// One image, and how near an image of another class is known to be.
struct Target<'a> {
    image: &'a [f32],
    class: usize,
    /// No image of another class is nearer: what was proved.
    floor: f32,
    hit: Hit,
    /// Classes to head for, and how near the nearest image that was found on the way to each is.
    goals: Vec<(usize, f32)>,
    /// The nearest of this round, as far as f32 can tell.
    found: Option<(f32, Vec<f32>)>,
}

impl Target<'_> {
    /// Takes note of a point on the line, and says whether its class is another.
    fn judge(&mut self, norm: Norm, point: &[f32], scores: &[f32]) -> bool {
        let other = largest(scores) != self.class;
        if other {
            let distance = norm.distance(self.image, point);
            if self.found.as_ref().is_none_or(|(nearest, _)| distance < *nearest) {
                self.found = Some((distance, point.to_vec()));
            }
        }
        other
    }
}

/// A place to start from.
struct Start {
    target: usize,
    /// The class to head for.
    goal: usize,
    x: Vec<f32>,
}

struct Goals<'a> {
    net: &'a Network,
    norm: Norm,
    targets: Vec<Target<'a>>,
    /// `[element][target]`, on the device.
    images: Buffer,
}

/// Hits of these images, as [`super::attack`] finds them and brought nearer; `floors` are the radii proved.
///
/// # Errors
/// A fault of the device, or a wish to stop.
pub fn nearest(
    net: &Network,
    norm: Norm,
    images: &[&[f32]],
    classes: &[usize],
    floors: &[f32],
    effort: &Effort,
) -> Result<Vec<Option<Hit>>> {
    let hits = super::attack(net, norm, images, classes, &[], &super::Settings::default())?;
    let scores = net.scores(images)?;
    let (mut targets, mut places) = (vec![], vec![]);
    for (i, (hit, scores)) in hits.iter().zip(scores).enumerate() {
        let Some(hit) = hit.clone() else { continue };
        let (image, class) = (images[i], classes[i]);
        let mut order: Vec<usize> = (0..scores.len()).filter(|j| *j != class && *j != hit.class).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        let goals = std::iter::once(hit.class).chain(order).take(GOALS[0]).map(|goal| (goal, f32::MAX)).collect();
        targets.push(Target { image, class, floor: floors[i], hit, goals, found: None });
        places.push(i);
    }
    let images = net.device.upload(&tensor::interleave(targets.iter().map(|t| t.image), net.model.input.len()))?;
    let mut goals = Goals { net, norm, targets, images };
    for round in 0..effort.rounds {
        let starts = goals.starts(effort.starts, round);
        if starts.is_empty() || effort.until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        goals.follow(starts, effort)?;
        goals.walk_back()?;
        goals.settle();
    }
    let mut best = hits;
    places.into_iter().zip(goals.targets).for_each(|(i, target)| best[i] = Some(target.hit));
    Ok(best)
}

impl Goals<'_> {
    /// Places to start from, of targets that are not closed: the hit, and others at random, the same for an image whoever
    /// else is attacked.
    fn starts(&mut self, count: usize, round: usize) -> Vec<Start> {
        let mut starts = vec![];
        for (t, target) in self.targets.iter_mut().enumerate() {
            let distance = target.hit.distance;
            if target.floor >= distance * (1.0 - CLOSED) {
                continue;
            }
            let likely = target.goals.len().min(GOALS[usize::from(round > 0)]);
            let mut rng = Rng::new(round as u64, 0xa77a);
            for s in 0..count {
                let mut x = target.hit.image.clone();
                if s > 0 {
                    let far = distance * rng.uniform();
                    for (x, centre) in x.iter_mut().zip(target.image) {
                        *x = centre
                            + match self.norm {
                                Norm::Linf => far * rng.range(-1.0, 1.0).signum(),
                                Norm::L2 => far * rng.normal(),
                            };
                    }
                }
                starts.push(Start { target: t, goal: target.goals[s % likely].0, x });
            }
        }
        starts
    }

    /// What is nearest of all that starts of a target find.
    fn follow(&mut self, starts: Vec<Start>, effort: &Effort) -> Result<()> {
        let d = &self.net.device;
        let points: Vec<&[f32]> = starts.iter().map(|s| s.x.as_slice()).collect();
        let x = d.upload(&tensor::interleave(points.into_iter(), self.net.model.input.len()))?;
        let owners: Vec<(usize, usize)> = starts.iter().map(|s| (s.target, 0)).collect();
        let centre = pick(d, from_ref(&self.images), tensor::lanes(self.targets.len()), &owners)?;
        let towards: Vec<_> = starts.iter().map(|s| (self.targets[s.target].class, Some(s.goal))).collect();
        let mut hunt = Hunt::new(self.net, self.norm, centre, &towards)?;
        let tries =
            starts.iter().map(|s| Try { radius: self.targets[s.target].hit.distance, nearest: f32::MAX, slot: 0 });
        let falling = |[first, last]: [f32; 2], step| first * (last / first).powf(step as f32 / effort.steps as f32);
        hunt.pace = (0..effort.steps).map(|step| falling(PACE, step)).collect();
        hunt.until = effort.until;
        let found = hunt.run(x, &tries.collect::<Vec<_>>(), effort.steps, |step| [falling(STRIDE, step), 1.0])?;
        let mut first: Vec<Option<(f32, u32, usize)>> = vec![None; self.targets.len()];
        for (lane, (start, found)) in starts.iter().zip(found).enumerate() {
            let (t, found) = (start.target, found.nearer.map(|(distance, step)| (distance, step, lane)));
            // Distances are above zero, so that their bits are in their order.
            first[t] = [first[t], found].into_iter().flatten().min_by_key(|f| (f.0.to_bits(), f.1, f.2));
            let goal = self.targets[t].goals.iter_mut().find(|(goal, _)| *goal == start.goal);
            goal.into_iter().for_each(|goal| goal.1 = found.map_or(goal.1, |found| goal.1.min(found.0)));
        }
        let owners: Vec<usize> = (0..first.len()).filter(|t| first[*t].is_some()).collect();
        let lanes: Vec<(usize, usize)> = first.into_iter().flatten().map(|(_, _, lane)| (lane, 0)).collect();
        for (t, x) in owners.into_iter().zip(hunt.hits(&lanes)?) {
            let target = &mut self.targets[t];
            target.found = Some((self.norm.distance(target.image, &x), x));
        }
        Ok(())
    }

    /// From what was found along the line to the image, as far as the class stays another.
    fn walk_back(&mut self) -> Result<()> {
        let mut lines: Vec<(usize, Vec<f32>, [f32; 2])> = vec![];
        for (t, target) in self.targets.iter().enumerate() {
            lines.extend(target.found.as_ref().map(|(_, end)| (t, end.clone(), [0.0, 1.0])));
        }
        if lines.is_empty() {
            return Ok(());
        }
        for _ in 0..LOOKS {
            let share = |[near, far]: [f32; 2], k: usize| near + (far - near) * (k + 1) as f32 / (PLACES + 1) as f32;
            let at = |(t, end, ends): &(usize, Vec<f32>, [f32; 2]), k: usize| -> Vec<f32> {
                let image = self.targets[*t].image;
                image.iter().zip(end).map(|(x, y)| x + share(*ends, k) * (y - x)).collect()
            };
            let points: Vec<Vec<f32>> = lines.iter().flat_map(|line| (0..PLACES).map(move |k| at(line, k))).collect();
            let scores = self.net.scores(&points.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            for (l, (t, _, ends)) in lines.iter_mut().enumerate() {
                let own = l * PLACES..(l + 1) * PLACES;
                let target = &mut self.targets[*t];
                let looks = points[own.clone()].iter().zip(&scores[own]);
                let other: Vec<bool> = looks.map(|(x, scores)| target.judge(self.norm, x, scores)).collect();
                // The border next to the end that was found.
                let last = other.iter().rposition(|other| !other);
                let shares: Vec<f32> = (0..PLACES).map(|k| share(*ends, k)).collect();
                let far = last.map_or(shares[0], |k| shares.get(k + 1).copied().unwrap_or(ends[1]));
                *ends = [last.map_or(ends[0], |k| shares[k]), far];
            }
        }
        Ok(())
    }

    /// Keeps what stands up to the enclosure. The classes to head for next are those that were nearest.
    fn settle(&mut self) {
        let (net, norm) = (self.net, self.norm);
        self.targets.par_iter_mut().for_each(|target| {
            let nearer = target.found.take().filter(|(distance, _)| *distance < target.hit.distance);
            let confirmed = nearer.and_then(|(_, x)| confirm(net, norm, target.image, target.class, x));
            if let Some(hit) = confirmed.filter(|hit| hit.distance < target.hit.distance) {
                target.hit = hit;
            }
            target.goals.sort_by(|a, b| a.1.total_cmp(&b.1));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::{Settings, attack};
    use crate::device::Device;
    use crate::model::cnn::{Architecture, cnn};
    use crate::model::{Dense, Layer, Model, Node, reference};
    use crate::tensor::Shape;

    /// On networks without training one descent ends wherever it ends; many end nearer.
    #[test]
    fn hits_come_nearer_and_are_hits() {
        let (shape, classes) = (Shape::new(1, 8, 8), ["a", "b", "c", "d"].map(String::from));
        let model = cnn(shape, &classes, &Architecture::strided(&[4, 8], 16), 2).unwrap();
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let mut rng = Rng::new(3, 3);
        let images: Vec<Vec<f32>> = (0..12).map(|_| (0..64).map(|_| rng.uniform()).collect()).collect();
        let views: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        let classes: Vec<usize> = net.scores(&views).unwrap().iter().map(|s| largest(s)).collect();
        for norm in Norm::ALL {
            let before = attack(&net, norm, &views, &classes, &[], &Settings::default()).unwrap();
            let effort = Effort { rounds: 4, starts: 12, steps: 48, until: None };
            let found = |floors: &[f32]| nearest(&net, norm, &views, &classes, floors, &effort).unwrap();
            let after = found(&[0.0; 12]);
            let mut nearer = 0;
            for (i, (before, after)) in before.iter().zip(&after).enumerate() {
                let (Some(before), Some(after)) = (before, after) else {
                    assert_eq!(before, after);
                    continue;
                };
                let scores = reference::forward(&model, &after.image).pop().unwrap();
                assert!(scores[after.class] >= scores[classes[i]], "{norm} {i}: {scores:?}");
                assert!(norm.distance(views[i], &after.image) == after.distance && after.distance <= before.distance);
                nearer += usize::from(after.distance < before.distance * 0.999);
            }
            assert!(nearer >= 10, "{norm}: {nearer} of 12");
            // What is closed is left alone.
            let closed: Vec<f32> = before.iter().map(|hit| hit.as_ref().map_or(0.0, |h| h.distance)).collect();
            assert_eq!(found(&closed), before);
        }
    }

    /// The other class that is likelier at the image begins far away; the nearer one is flat there, so that no gradient
    /// tells of it: its logit is `20 relu(x0 - x1 + x2 - x3 - 0.5) - 2`, that of the former `x0 + x1 + x2 + x3 - 3`.
    #[test]
    fn what_no_gradient_at_the_image_tells_of_is_found() {
        let dense = |weight: &[f32], bias: &[f32]| Layer::Dense(Dense { weight: weight.into(), bias: bias.into() });
        let node =
            |name: &str, layer, input, n| Node { name: name.into(), layer, inputs: vec![input], shape: Shape::flat(n) };
        let nodes = vec![
            node("sums", dense(&[1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0], &[-0.5, 0.0]), 0, 2),
            node("relu", Layer::Relu, 1, 2),
            node("y", dense(&[0.0, 0.0, 0.0, 1.0, 20.0, 0.0], &[0.0, -3.0, -2.0]), 2, 3),
        ];
        let classes = ["own", "far", "near"].map(String::from).to_vec();
        let model = Model { input: Shape::flat(4), nodes, classes, folded: vec![] };
        let net = Network::new(&Device::cpu(), &model).unwrap();
        for (norm, [near, far]) in [(Norm::Linf, [0.15, 0.25]), (Norm::L2, [0.3, 0.5])] {
            let effort = Effort { rounds: 4, starts: 24, steps: 48, until: None };
            let found =
                |effort: &Effort| nearest(&net, norm, &[&[0.5; 4]], &[0], &[0.0], effort).unwrap().remove(0).unwrap();
            let hit = found(&effort);
            assert!(hit.class == 2 && (near..near * 1.0005).contains(&hit.distance), "{norm}: {hit:?}");
            // What it begins with, and all there is without time.
            let hit = found(&Effort { rounds: 0, ..effort });
            assert!(hit.class == 1 && hit.distance >= far * 0.9999, "{norm}: {hit:?}");
            assert_eq!(found(&Effort { until: Some(Instant::now()), ..effort }), hit);
        }
    }
}
