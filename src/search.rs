//! Delta max: the largest radius at which dominance is proved, for a stream of images.
//!
//! Robust at d implies robust at every smaller d, so the largest proved radius ever seen is valid whatever path the
//! search takes. Every probe proves something (its free radius), and a secant step on a smooth scalar takes the place of
//! bisection. Finished images leave the batch and waiting ones take their lanes.

use crate::bounds::{Ball, Bounder, Method, Outcome};
use crate::error::Result;
use crate::network::{Network, largest};

/// How hard to search.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Stop when the proved radius is within this share of what the bounds can prove.
    pub tolerance: f32,
    /// Balls probed at once.
    pub batch: usize,
    /// Give up after this many probes of one image (what was proved stays).
    pub max_probes: usize,
    /// Guess for the first images; later ones start from what was found so far.
    pub guess: f32,
}

impl Settings {
    /// Settings that suit a method on this device.
    pub fn new(bounder: &Bounder) -> Self {
        let gpu = bounder.net.device.is_gpu();
        let (batch, guess) = match bounder.method {
            Method::Ibp => (if gpu { 4096 } else { 256 }, 0.002),
            Method::CrownIbp => (if gpu { 1024 } else { 128 }, 0.005),
            Method::Crown => (if gpu { 512 } else { 64 }, 0.01),
        };
        Settings { tolerance: 1e-3, batch, max_probes: 30, guess }
    }
}

/// One image to search.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Values in [0,1].
    pub image: Vec<f32>,
    /// The predicted class, whose dominance is to be proved.
    pub class: usize,
    /// Smallest margin at the image itself, as computed in f32.
    pub margin: f32,
}

impl Subject {
    /// The images with the classes the network gives them.
    pub fn classify(net: &Network, images: &[&[f32]]) -> Result<Vec<Subject>> {
        let subject = |(image, scores): (&&[f32], Vec<f32>)| {
            let class = largest(&scores);
            let rivals = scores.iter().enumerate().filter(|(j, _)| *j != class).map(|(_, s)| scores[class] - s);
            Subject { image: image.to_vec(), class, margin: rivals.fold(f32::INFINITY, f32::min) }
        };
        Ok(images.iter().zip(net.scores(images)?).map(subject).collect())
    }
}

/// What the search proved about one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Dominance is proved on the clipped ball of this radius (0: nothing is proved).
    pub proved: f32,
    /// The rival with the smallest margin where the search ended.
    pub rival: usize,
    pub probes: u32,
}

/// Searches all subjects and hands over each result with its position, in the order of the subjects.
pub fn search(
    bounder: &Bounder,
    settings: &Settings,
    subjects: impl IntoIterator<Item = Subject>,
    mut emit: impl FnMut(usize, Found) -> Result<()>,
) -> Result<()> {
    let mut waiting = subjects.into_iter().enumerate();
    let mut active: Vec<Track> = Vec::new();
    let mut finished = std::collections::BTreeMap::new();
    let (mut next_out, mut recent) = (0, Vec::new());
    loop {
        while active.len() < settings.batch {
            let Some((position, subject)) = waiting.next() else { break };
            // Radii grow with the margin at the image: start from the usual ratio of the two.
            let guess = median(&recent).map_or(settings.guess, |ratio| ratio * subject.margin);
            active.push(Track::new(position, subject, guess));
        }
        if active.is_empty() {
            return Ok(());
        }
        let balls: Vec<Ball<'_>> =
            active.iter().map(|t| Ball { image: &t.subject.image, class: t.subject.class, delta: t.next }).collect();
        let outcomes = bounder.probe(&balls)?;
        for (track, outcome) in active.iter_mut().zip(&outcomes) {
            track.update(outcome, settings);
        }
        active.retain(|t| {
            if t.done {
                finished.insert(t.position, Found { proved: t.low, rival: t.rival, probes: t.probes });
                recent.push(t.low / t.subject.margin.max(f32::MIN_POSITIVE));
            }
            !t.done
        });
        if recent.len() > 512 {
            recent.drain(..256);
        }
        while let Some(found) = finished.remove(&next_out) {
            emit(next_out, found)?;
            next_out += 1;
        }
    }
}

fn median(values: &[f32]) -> Option<f32> {
    let mut positive: Vec<f32> = values.iter().copied().filter(|v| *v > 0.0).collect();
    positive.sort_by(f32::total_cmp);
    positive.get(positive.len() / 2).copied()
}

/// The search for one image: the root of the smallest margin, a smooth falling function of the radius known at zero.
struct Track {
    position: usize,
    subject: Subject,
    /// Proved.
    low: f32,
    /// Margins by radius, rising.
    points: Vec<(f32, f32)>,
    next: f32,
    rival: usize,
    probes: u32,
    done: bool,
}

impl Track {
    fn new(position: usize, subject: Subject, guess: f32) -> Self {
        let points = vec![(0.0, subject.margin)];
        Track { position, subject, low: 0.0, points, next: guess.clamp(1e-7, 1.0), rival: 0, probes: 0, done: false }
    }

    fn update(&mut self, outcome: &Outcome, settings: &Settings) {
        let d = self.next;
        let (margin, rival) = outcome.worst();
        self.rival = rival;
        self.probes += 1;
        self.low = self.low.max(outcome.radius);
        let at = self.points.partition_point(|p| p.0 < d);
        self.points.insert(at, (d, margin));
        let t = settings.tolerance;
        let root = self.root();
        let near = |a: f32, b: f32| b.is_finite() && (a - b).abs() <= t * b;
        let high = self.high();
        self.done = self.low >= 1.0
            || self.probes as usize >= settings.max_probes
            || near(outcome.reach, d)
            || near(self.low, high)
            || (self.low > 0.0 && near(root, self.low))
            || high < 1e-7;
        // Aim a little low: a success just below the root ends the search, a failure just above does not.
        let aim = root * (1.0 - 0.4 * t);
        self.next = if aim > self.low { aim } else { self.low * (1.0 + 0.6 * t) }.min(1.0);
    }

    /// Smallest radius whose margin is not positive.
    fn high(&self) -> f32 {
        self.points.iter().find(|p| p.1 <= 0.0).map_or(f32::INFINITY, |p| p.0)
    }

    /// Where the margin is estimated to vanish.
    fn root(&self) -> f32 {
        let split = self.points.iter().position(|p| p.1 <= 0.0);
        let Some(split) = split.filter(|s| *s > 0) else {
            if split.is_some() {
                return 0.0;
            }
            // All positive so far: follow the last chord, but not too far.
            let [.., (d0, y0), (d1, y1)] = self.points[..] else { return 1.0 };
            let chord = if y1 < y0 { d1 + y1 * (d1 - d0) / (y0 - y1) } else { f32::INFINITY };
            return chord.min(8.0 * d1);
        };
        let (inner, outer) = (self.points[split - 1], self.points[split]);
        let chord = inner.0 + inner.1 * (outer.0 - inner.0) / (inner.1 - outer.1);
        // A parabola through the nearest third point.
        let mut third: Vec<(f32, f32)> = Vec::new();
        third.extend(split.checked_sub(2).map(|i| self.points[i]));
        third.extend(self.points.get(split + 1));
        third.sort_by(|a, b| (a.0 - chord).abs().total_cmp(&(b.0 - chord).abs()));
        let curved = third.first().and_then(|t| parabola_root(inner, outer, *t));
        let estimate = curved.unwrap_or(chord);
        // Far outside points say little: a margin falls ever faster, so halve long brackets from outside.
        let width = outer.0 - inner.0;
        if self.probes > 12 && self.probes.is_multiple_of(2) {
            return inner.0 + 0.5 * width;
        }
        estimate.clamp(inner.0 + 1e-3 * width, outer.0 - 1e-3 * width)
    }
}

/// The root between `inner` and `outer` of the parabola through three points.
fn parabola_root(inner: (f32, f32), outer: (f32, f32), third: (f32, f32)) -> Option<f32> {
    let (x0, x1, x2) = (f64::from(inner.0), f64::from(outer.0), f64::from(third.0));
    let (y0, y1, y2) = (f64::from(inner.1), f64::from(outer.1), f64::from(third.1));
    let slope = (y1 - y0) / (x1 - x0);
    let curve = ((y2 - y0) / (x2 - x0) - slope) / (x2 - x1);
    // y = y0 + b t + curve t^2 with t = x - x0.
    let b = slope - curve * (x1 - x0);
    let root = b * b - 4.0 * curve * y0;
    if root < 0.0 {
        return None;
    }
    let q = -0.5 * (b - root.sqrt());
    let t = if b < 0.0 && q != 0.0 { y0 / q } else { return None };
    let x = (x0 + t) as f32;
    (x > inner.0 && x < outer.0).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drives a track with a synthetic bound and returns (proved, probes).
    fn run(reach: Option<fn(f32) -> f32>, margin: fn(f32) -> f32, guess: f32) -> (f32, u32) {
        let settings = Settings { tolerance: 1e-3, batch: 1, max_probes: 30, guess };
        let subject = Subject { image: vec![], class: 0, margin: margin(0.0) };
        let mut track = Track::new(0, subject, guess);
        while !track.done {
            let d = track.next;
            let (m, r) = (margin(d), reach.map_or(f32::INFINITY, |f| f(d)));
            let radius = if r.is_finite() {
                r.min(d).max(0.0)
            } else if m > 0.0 {
                d
            } else {
                0.0
            };
            track.update(&Outcome { margins: vec![f32::INFINITY, m], radius, reach: r }, &settings);
        }
        (track.low, track.probes)
    }

    #[test]
    fn margins_alone_find_the_root_in_a_few_probes() {
        for (root, guess) in [(0.0017f32, 0.002), (0.3, 0.002), (1e-4, 0.002), (0.0021, 0.002)] {
            // A margin that falls ever faster, as interval bounds do; the closure cannot capture, so roots are matched.
            let margin: fn(f32) -> f32 = match root {
                0.0017 => |d| 1.0 - d / 0.0017 * (0.5 + 0.5 * d / 0.0017),
                0.3 => |d| 1.0 - d / 0.3 * (0.5 + 0.5 * d / 0.3),
                1e-4 => |d| 1.0 - d / 1e-4 * (0.5 + 0.5 * d / 1e-4),
                _ => |d| 1.0 - d / 0.0021 * (0.5 + 0.5 * d / 0.0021),
            };
            let (proved, probes) = run(None, margin, guess);
            assert!(proved <= root && proved >= root * 0.998, "root {root}: {proved}");
            assert!(probes <= 14, "root {root}: {probes} probes");
        }
    }

    #[test]
    fn the_fixed_point_of_the_reach_is_found_in_fewer() {
        let reach: fn(f32) -> f32 = |d| 0.03 - 0.5 * d - 4.0 * d * d;
        let (proved, probes) = run(Some(reach), |d| 0.03 - 1.5 * d - 4.0 * d * d, 0.01);
        let root = (-1.5 + (1.5f32 * 1.5 + 16.0 * 0.03).sqrt()) / 8.0;
        assert!((proved - root).abs() <= 2e-3 * root && proved <= root, "{proved} against {root}");
        assert!(probes <= 5, "{probes} probes");
    }

    #[test]
    fn nothing_provable_ends_with_zero() {
        let (proved, _) = run(Some(|_| 0.0), |_| -1.0, 0.01);
        assert_eq!(proved, 0.0);
    }
}
