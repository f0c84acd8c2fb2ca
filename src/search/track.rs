//! The search for one image.

use super::{Found, Settings, Subject};
use crate::bounds::Outcome;

/// Radii below this share of the largest are not worth a search.
const LEAST: f32 = 1e-7;

/// How far apart proved and failed radii may be where margins between them are noise.
const NOISY: f32 = 1.02;

/// The search for one image: the root of the smallest margin, a smooth falling function of the radius known at zero.
pub(super) struct Track {
    pub position: usize,
    pub subject: Subject,
    /// Proved.
    pub low: f32,
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
    pub next: f32,
    rival: usize,
    probes: u32,
    pub seconds: f64,
    pub done: bool,
}

impl Track {
    /// `feel`: start with a probe at [`Settings::feeler`].
    pub fn new(position: usize, subject: Subject, feel: bool, usual: f32, settings: &Settings) -> Self {
        let most = settings.most;
        let feeler = settings.feeler * most;
        let next = if feel { feeler } else { (usual * subject.margin).clamp(LEAST * most, most) };
        let points = vec![(0.0, subject.margin)];
        let (low, ball) = (0.0, 0.0);
        let (linear, rival, probes, seconds, done) = (None, 0, 0, 0.0, false);
        Track { position, subject, low, ball, points, linear, usual, feeler, next, rival, probes, seconds, done }
    }

    /// Goes on from a radius that is proved already.
    pub fn start_from(&mut self, found: Found) {
        (self.low, self.ball, self.rival) = (found.proved, found.ball, found.rival);
        self.feeler = self.feeler.max(found.proved);
        self.next = self.feeler;
    }

    /// What is proved by now.
    pub fn found(&self) -> Found {
        let Track { low: proved, ball, rival, probes, seconds, .. } = *self;
        Found { proved, ball, rival, probes, seconds }
    }

    /// Something that radii are in proportion to.
    pub fn estimate(&self) -> f32 {
        self.linear.unwrap_or(self.subject.margin)
    }

    pub fn update(&mut self, outcome: &Outcome, settings: &Settings) {
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
    use crate::search::FEELER;

    /// Drives a track with a synthetic bound and returns (proved, probes).
    fn run(reach: Option<fn(f32) -> f32>, margin: fn(f32) -> f32, usual: f32) -> (f32, u32) {
        let (batch, in_flight, learns, growth) = (1, 1, true, f32::INFINITY);
        let settings = Settings {
            tolerance: 1e-3,
            batch,
            in_flight,
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
