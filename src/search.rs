//! Delta max: the largest radius at which dominance is proved, for a stream of images.
//!
//! Robust at d implies robust at every smaller d, so the largest proved radius ever seen is valid whatever path the
//! search takes. Every probe proves something (its free radius), and interpolation of a smooth scalar takes the place of
//! bisection. Finished images leave the batch and waiting ones take their lanes.
//!
//! Linear bounds start with a probe of a ball so small that hardly any neuron is unstable in it, which costs little: it
//! tells how fast the margin falls at the image.

use std::time::{Duration, Instant};

use crate::bounds::{Ball, Bounder, Method, Outcome};
use crate::device::Fit;
use crate::error::{Error, Result};
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
    /// Share of the first estimate of a radius that is usually proved; used until enough images are finished to tell.
    pub usual: f32,
    /// Whether finished images tell where to look first for others. That saves probes, and within the tolerance radii then
    /// depend on which images came before.
    pub learns: bool,
    /// Radius of the first probe by linear bounds, as a share of the largest.
    pub feeler: f32,
    /// No radius is larger.
    pub most: f32,
    /// Radii grow by this factor at most from probe to probe, until one fails: bounds of deep networks cost the more the
    /// larger the ball, and explode.
    pub growth: f32,
    /// Seconds per image, those of a batch shared by its images; what was proved by then stays. Of a deep network that is
    /// never less than what `crown-ibp` proves, whose few seconds come first.
    pub seconds: Option<f64>,
}

/// Radius of the first probe by linear bounds, as a share of the largest; around images, where a small ball costs as much
/// as a larger one.
const FEELER: f32 = 1e-6;
const AROUND: f32 = 3e-5;

/// Longer than anyone waits, and still a time that clocks can tell.
const FOREVER: f64 = 1e8;

/// Radii below this share of the largest are not worth a search.
const LEAST: f32 = 1e-7;

/// Networks of more nonlinear layers are deep, and what radii of theirs grow by; around images, where every probe is dear.
const DEEP: usize = 6;
const CAREFUL: f32 = 8.0;
const MORE_CAREFUL: f32 = 4.0;

/// How far apart proved and failed radii may be where margins between them are noise.
const NOISY: f32 = 1.02;

impl Settings {
    /// Settings that suit a method on this device.
    pub fn new(bounder: &Bounder) -> Self {
        let gpu = bounder.net.device.is_gpu();
        let threads = rayon::current_num_threads();
        // Fine enough that radii of different devices agree within a thousandth; probes of intervals cost next to nothing.
        let (batch, usual, tolerance) = match bounder.method {
            Method::Ibp => (if gpu { 4096 } else { 128 * threads }, 3e-4, 1e-4),
            Method::CrownIbp => (if gpu { 1024 } else { 64 * threads }, 0.2, 2e-4),
            Method::Crown => (if gpu { 512 } else { 32 * threads }, 0.37, 2e-4),
            Method::Alpha => (if gpu { 512 } else { 32 * threads }, 0.4, 2e-4),
        };
        let most = bounder.norm.largest(bounder.net.model.input.len());
        let (feeler, growth) = match (is_deep(bounder), bounder.goes_around()) {
            (true, true) => (AROUND, MORE_CAREFUL),
            (true, false) => (FEELER, CAREFUL),
            (false, _) => (FEELER, f32::INFINITY),
        };
        Settings { tolerance, batch, max_probes: 30, usual, learns: true, feeler, most, growth, seconds: None }
    }
}

/// Whether bounds of its neurons may take minutes.
pub fn is_deep(bounder: &Bounder) -> bool {
    bounder.method.refines() && bounder.nonlinear_layers() > DEEP
}

/// One image to search.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Values in `[0,1]`.
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
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Dominance is proved on the clipped ball of this radius (0: nothing is proved).
    pub proved: f32,
    /// Radius of the ball whose relaxations proved it: that one or larger.
    pub ball: f32,
    /// The rival with the smallest margin where the search ended.
    pub rival: usize,
    /// Bound evaluations spent.
    pub probes: u32,
    /// Seconds spent, its share of what batches took.
    pub seconds: f64,
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
    let mut fit = Fit::new(settings.batch);
    loop {
        while active.len() < settings.batch {
            let Some((position, subject)) = waiting.next() else { break };
            let usual = median(&recent).filter(|_| settings.learns).unwrap_or(settings.usual);
            let started = Instant::now();
            let floor = if settings.seconds.is_some() { floor(bounder, &subject)? } else { None };
            let mut track = Track::new(position, subject, bounder.method.relaxes(), usual, settings);
            if let Some(floor) = floor {
                track.start_from(floor);
            }
            track.seconds = started.elapsed().as_secs_f64();
            active.push(track);
        }
        if active.is_empty() {
            return Ok(());
        }
        let balls: Vec<Ball<'_>> =
            active.iter().map(|t| Ball { image: &t.subject.image, class: t.subject.class, delta: t.next }).collect();
        let started = Instant::now();
        let left = settings.seconds.map(|s| active.iter().map(|t| s - t.seconds).sum::<f64>());
        let own = left.map(|left| started + Duration::from_secs_f64(left.clamp(0.0, FOREVER)));
        let mut timed = bounder.clone();
        timed.deadline = own.or(bounder.deadline);
        let outcomes = match fit.run(&balls, |balls| timed.probe(balls)) {
            Err(Error::Timeout) if own.is_some() => None,
            outcomes => Some(outcomes?),
        };
        let share = started.elapsed().as_secs_f64() / active.len() as f64;
        for (i, track) in active.iter_mut().enumerate() {
            track.seconds += share;
            match &outcomes {
                Some(outcomes) => track.update(&outcomes[i], settings),
                None => track.done = true,
            }
            track.done |= settings.seconds.is_some_and(|s| track.seconds >= s);
        }
        active.retain(|t| {
            if t.done {
                let Track { low: proved, ball, rival, probes, seconds, .. } = *t;
                finished.insert(t.position, Found { proved, ball, rival, probes, seconds });
                recent.push(t.low / t.estimate().max(f32::MIN_POSITIVE));
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

/// What bounds prove of a deep network that cost next to nothing.
fn floor(bounder: &Bounder, subject: &Subject) -> Result<Option<Found>> {
    if !is_deep(bounder) {
        return Ok(None);
    }
    let mut cheap = bounder.clone();
    (cheap.method, cheap.depth) = (Method::CrownIbp, None);
    let mut proved = None;
    search(&cheap, &Settings::new(&cheap), [subject.clone()], |_, found| {
        proved = Some(found).filter(|f| f.proved > 0.0);
        Ok(())
    })?;
    Ok(proved)
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
    /// On which ball.
    ball: f32,
    /// Margins by radius, rising.
    points: Vec<(f32, f32)>,
    /// Where the margin would vanish if the network were linear around the image.
    linear: Option<f32>,
    /// The usual share of [`estimate`](Self::estimate) that is proved.
    usual: f32,
    /// Radius of the first probe.
    feeler: f32,
    next: f32,
    rival: usize,
    probes: u32,
    seconds: f64,
    done: bool,
}

impl Track {
    /// `feel`: start with a probe at [`Settings::feeler`].
    fn new(position: usize, subject: Subject, feel: bool, usual: f32, settings: &Settings) -> Self {
        let most = settings.most;
        let feeler = settings.feeler * most;
        let next = if feel { feeler } else { (usual * subject.margin).clamp(LEAST * most, most) };
        let points = vec![(0.0, subject.margin)];
        let (low, ball) = (0.0, 0.0);
        let (linear, rival, probes, seconds, done) = (None, 0, 0, 0.0, false);
        Track { position, subject, low, ball, points, linear, usual, feeler, next, rival, probes, seconds, done }
    }

    /// Goes on from a radius that is proved already.
    fn start_from(&mut self, found: Found) {
        (self.low, self.ball, self.rival) = (found.proved, found.ball, found.rival);
        self.feeler = self.feeler.max(found.proved);
        self.next = self.feeler;
    }

    /// Something that radii are in proportion to.
    fn estimate(&self) -> f32 {
        self.linear.unwrap_or(self.subject.margin)
    }

    fn update(&mut self, outcome: &Outcome, settings: &Settings) {
        let d = self.next;
        let (margin, rival) = outcome.worst();
        self.rival = rival;
        self.probes += 1;
        if outcome.radius > self.low {
            (self.low, self.ball) = (outcome.radius, d);
        }
        let feeler = self.feeler;
        if self.probes == 1 && d == feeler && margin > 0.0 && outcome.reach.is_finite() {
            self.linear = Some(outcome.reach);
            // Bounds pay for rounding even at the image itself.
            self.points[0].1 = margin;
            self.next = (self.usual * outcome.reach).max(2.0 * feeler).min(settings.most.min(settings.growth * feeler));
            return;
        }
        let at = self.points.partition_point(|p| p.0 < d);
        self.points.insert(at, (d, margin));
        let t = settings.tolerance;
        let ceiling = self.ceiling();
        self.done = self.low >= settings.most
            || self.probes as usize >= settings.max_probes
            || (outcome.reach - d).abs() <= t * d
            || (self.low > 0.0 && ceiling <= self.low * (1.0 + t))
            || ceiling < LEAST * settings.most
            || self.lost_in_noise();
        let mut root = self.cautious(self.root(settings.most)).min(ceiling);
        if self.split() == self.points.len() {
            root = root.min(settings.growth * d);
        }
        // Aim a little low: a success just below the root ends the search, a failure just above does not.
        let aim = root * (1.0 - 0.4 * t);
        self.next = if aim > self.low { aim } else { self.low * (1.0 + 0.6 * t) }.min(settings.most);
    }

    /// How many of the points come before the first that failed.
    fn split(&self) -> usize {
        self.points.iter().position(|p| p.1 <= 0.0).unwrap_or(self.points.len())
    }

    /// No more can be proved than this: a failed radius, or where the last chord before it leads, for margins fall ever
    /// faster.
    fn ceiling(&self) -> f32 {
        let split = self.split();
        let failed = self.points.get(split).map_or(f32::INFINITY, |p| p.0);
        match self.points[..split] {
            [.., (d0, y0), (d1, y1)] if y1 < y0 => failed.min(d1 + y1 * (d1 - d0) / (y0 - y1)),
            _ => failed,
        }
    }

    /// Whether no more is to be learned between the proved radius and the failed one. Bounds choose (a slope, the rows to
    /// refine), so that margins may rise a little with the radius: where both ends lie within such a rise, they are noise.
    fn lost_in_noise(&self) -> bool {
        let split = self.split();
        let (Some(inner), Some(failed)) = (split.checked_sub(1).map(|i| self.points[i]), self.points.get(split)) else {
            return false;
        };
        let (mut least, mut noise) = (f32::INFINITY, 0.0f32);
        for p in &self.points[1..] {
            noise = noise.max(p.1 - least);
            least = least.min(p.1);
        }
        failed.0 <= inner.0 * NOISY && inner.1.max(-failed.1) <= noise
    }

    /// The estimate, where the failed radius tells something. Bounds of deep networks explode: where a margin fell far
    /// below zero at many times the proved radius, the middle of the two, by factors, leads on faster.
    fn cautious(&self, estimate: f32) -> f32 {
        const FAR: f32 = 8.0;
        let split = self.split();
        match self.points.get(split) {
            Some(&(failed, y)) if self.low > 0.0 && y < -FAR * self.points[0].1 && failed > FAR * self.low => {
                (failed * self.low).sqrt()
            }
            _ => estimate,
        }
    }

    /// Where the margin is estimated to vanish.
    fn root(&self, most: f32) -> f32 {
        let margin = f64::from(self.points[0].1);
        let split = self.split();
        let Some(inner) = split.checked_sub(1).map(|i| self.points[i].0) else { return 0.0 };
        // All positive so far: do not go too far at once.
        let outer = self.points.get(split).map_or((8.0 * inner).clamp(f32::MIN_POSITIVE, most), |p| p.0);
        let (low, high) = (f64::from(inner), f64::from(outer));
        if self.probes > 12 && self.probes.is_multiple_of(2) {
            return (0.5 * (low + high)) as f32;
        }
        // The mean slope from 0 to d rises like an exponential: interpolate its logarithm by a parabola.
        let slope = |&(d, y): &(f32, f32)| {
            let slope = (margin - f64::from(y)) / f64::from(d);
            (f64::from(d), slope.max(f64::from(f32::MIN_POSITIVE)).ln())
        };
        let mut samples: Vec<(f64, f64)> = self.points[1..].iter().map(slope).collect();
        // Slopes at the image itself say little about those at the root where intervals play a part.
        if samples.len() < 2 {
            samples.extend(self.linear.map(|l| (0.0, (margin / f64::from(l)).ln())));
        }
        // The ends of the bracket come first.
        let bracketed = split < self.points.len();
        let away = |s: &(f64, f64)| (low - s.0).max(s.0 - high);
        samples.sort_by(|a, b| away(a).total_cmp(&away(b)));
        samples.truncate(if bracketed && inner > 0.0 { 3 } else { 2 });
        if samples.is_empty() {
            return outer;
        }
        let left = |d: f64| margin - d * interpolate(&samples, d).exp();
        // The first place where the interpolant has used up the margin.
        const STEPS: u32 = 64;
        let place = |i: u32| low + (high - low) * (f64::from(i) / f64::from(STEPS)).powi(2);
        let step = (1..STEPS).find(|&i| left(place(i)) <= 0.0).unwrap_or(STEPS);
        let (mut a, mut b) = (place(step - 1), place(step));
        for _ in 0..40 {
            let middle = 0.5 * (a + b);
            if left(middle) > 0.0 { a = middle } else { b = middle }
        }
        let apart = if bracketed { 1e-3 * (high - low) } else { 0.0 };
        a.clamp(low + apart, high - apart) as f32
    }
}

/// The polynomial through all samples, at `x` (Lagrange).
fn interpolate(samples: &[(f64, f64)], x: f64) -> f64 {
    let weight = |i: usize| -> f64 {
        let others = samples.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, s)| (x - s.0) / (samples[i].0 - s.0)).product()
    };
    samples.iter().enumerate().map(|(i, s)| s.1 * weight(i)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drives a track with a synthetic bound and returns (proved, probes).
    fn run(reach: Option<fn(f32) -> f32>, margin: fn(f32) -> f32, usual: f32) -> (f32, u32) {
        let (batch, learns, growth) = (1, true, f32::INFINITY);
        let settings = Settings {
            tolerance: 1e-3,
            batch,
            max_probes: 30,
            usual,
            learns,
            feeler: FEELER,
            most: 1.0,
            growth,
            seconds: None,
        };
        let subject = Subject { image: vec![], class: 0, margin: margin(0.0) };
        let mut track = Track::new(0, subject, reach.is_some(), usual, &settings);
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
    fn a_first_guess_far_too_high_costs_two_probes() {
        // As a deep network's: nearly linear at the image, steep from close by, exploding further out.
        let margin: fn(f32) -> f32 = |d| 0.012 - 14.0 * d - 450.0 * (d - 1e-6).max(0.0) - 3e7 * d * d;
        let (proved, probes) = run(Some(|d| if d <= 1e-6 { 0.00085 } else { f32::INFINITY }), margin, 0.37);
        assert!((1.404e-5..1.406e-5).contains(&proved) && probes <= 7, "{proved:e} after {probes}");
    }

    #[test]
    fn a_cliff_many_orders_below_the_first_guess_is_found() {
        // As of a network nearly constant at the image: flat, and then a wall.
        let margin: fn(f32) -> f32 = |d| 0.0116 - 1e-3 * d - 0.0116 * (d / 0.00991).powi(20).min(1e9);
        let (proved, probes) = run(Some(|d| if d <= 1e-6 { 1.0 } else { f32::INFINITY }), margin, 0.37);
        assert!((0.0098..0.00992).contains(&proved) && probes <= 12, "{proved:e} after {probes}");
    }

    #[test]
    fn noise_is_not_searched_for_a_root() {
        let noisy: fn(f32) -> f32 = |d| 0.012 - 480.0 * d + 5e-4 * (2e7 * d).sin();
        let (proved, probes) = run(Some(|d| if d <= 1e-6 { 0.00085 } else { f32::INFINITY }), noisy, 0.03);
        assert!(proved > 2.4e-5 && probes <= 9, "{proved:e} after {probes}");
    }

    #[test]
    fn nothing_provable_ends_with_zero() {
        let (proved, _) = run(Some(|_| 0.0), |_| -1.0, 0.01);
        assert_eq!(proved, 0.0);
    }
}
