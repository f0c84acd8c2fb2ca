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
    /// First guess for the first images; later ones start from the median found so far.
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
            active.push(Track::new(position, subject, median(&recent).unwrap_or(settings.guess)));
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
                recent.push(t.low);
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

/// The search for one image.
struct Track {
    position: usize,
    subject: Subject,
    /// Proved.
    low: f32,
    /// Smallest radius that a probe failed to prove.
    high: f32,
    /// Previous probe: radius and the scalar whose root is sought.
    previous: Option<(f32, f32)>,
    next: f32,
    rival: usize,
    probes: u32,
    done: bool,
}

impl Track {
    fn new(position: usize, subject: Subject, guess: f32) -> Self {
        Track {
            position,
            subject,
            low: 0.0,
            high: f32::INFINITY,
            previous: None,
            next: guess.min(1.0),
            rival: 0,
            probes: 0,
            done: false,
        }
    }

    fn update(&mut self, outcome: &Outcome, settings: &Settings) {
        let d = self.next;
        let (margin, rival) = outcome.worst();
        self.rival = rival;
        self.probes += 1;
        self.low = self.low.max(outcome.radius);
        if outcome.radius < d {
            self.high = self.high.min(d);
        }
        // Where the reach is known its fixed point is sought; otherwise the root of the margin, known at zero.
        let linear = outcome.reach.is_finite();
        let y = if linear { outcome.reach - d } else { margin };
        if !linear && self.previous.is_none() {
            self.previous = Some((0.0, self.subject.margin));
        }
        let t = settings.tolerance;
        let root = match self.previous {
            Some((d0, y0)) if (y0 - y) * (d - d0) > 0.0 => d - y * (d - d0) / (y - y0),
            _ if linear => d + 0.5 * y,
            _ => f32::NAN,
        };
        self.previous = Some((d, y));
        let converged = if linear { y.abs() <= t * d } else { y > 0.0 && root - d <= t * d };
        if converged
            || self.low >= 1.0
            || (self.high.is_finite() && self.high - self.low <= t * self.high)
            || self.probes as usize >= settings.max_probes
        {
            self.done = true;
            return;
        }
        self.next = self.choose(root, linear, t).min(1.0);
    }

    /// The next radius: the estimated root if it is useful, else a step that shrinks or grows the bracket.
    fn choose(&self, root: f32, linear: bool, t: f32) -> f32 {
        // Aim a little low: a success just below the root ends the search, a failure just above does not.
        let aim = root * (1.0 - if linear { 0.1 * t } else { 0.4 * t });
        if self.high.is_infinite() {
            return if aim.is_finite() && aim > self.low { aim.min(8.0 * self.low.max(1e-6)) } else { 2.0 * self.low };
        }
        if self.low == 0.0 {
            let inside = aim.is_finite() && aim > 0.02 * self.high && aim < 0.9 * self.high;
            return if inside { aim } else { 0.25 * self.high };
        }
        let (low, high) = (self.low * (1.0 + 0.3 * t), self.high * (1.0 - 0.3 * t));
        if aim.is_finite() && aim > low && aim < high { aim } else { 0.5 * (self.low + self.high) }
    }
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
        let (proved, probes) = run(Some(reach), |d| 0.02 - d, 0.01);
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
