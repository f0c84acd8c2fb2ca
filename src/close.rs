//! Closing brackets [proved, attacked] by branch and bound: proved radii grow beyond what one pass of bounds proves, and
//! broken images found on the way pull the other end down.

use crate::attack::{self, Hit};
use crate::bounds::{Ball, Bounder, Decision};
use crate::device::Fit;
use crate::error::Result;
use crate::search::Subject;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Domains that may be bounded per image.
    pub domains: usize,
    /// Stop when the ends of the bracket are within this share of each other.
    pub tolerance: f32,
}

/// A bracket.
#[derive(Clone, Debug, PartialEq)]
pub struct Bracket {
    /// Dominance is proved up to this radius.
    pub proved: f32,
    /// The nearest image of another class that is known: its distance and class.
    pub attacked: Option<(f32, usize)>,
}

/// First step beyond the proved radius, as a share of it; steps double while they succeed.
const STEP: f32 = 0.06;

/// Fewer domains are not worth a question.
const LEAST: usize = 16;

/// One bracket being closed.
struct Track<'a> {
    subject: &'a Subject,
    bracket: Bracket,
    /// The smallest radius asked for in vain.
    failed: f32,
    step: f32,
    /// Domains left.
    left: usize,
}

impl Track<'_> {
    /// No use asking for this radius or more.
    fn high(&self) -> f32 {
        self.failed.min(self.bracket.attacked.map_or(1.0, |(distance, _)| distance))
    }

    /// The next radius to ask for, and the domains to spend on it.
    fn question(&self, tolerance: f32) -> Option<(f32, usize)> {
        let (low, high) = (self.bracket.proved, self.high());
        if low <= 0.0 || high <= low * (1.0 + tolerance) || self.left < LEAST {
            return None;
        }
        let next = (low * (1.0 + self.step)).min(0.5 * (low + high));
        Some((next, (self.left / 3).max(LEAST)))
    }

    fn answer(&mut self, bounder: &Bounder, asked: f32, decision: Decision) {
        let gained = asked / self.bracket.proved - 1.0;
        match decision {
            Decision::Proved => {
                self.bracket.proved = asked;
                self.step = 2.0 * gained;
            }
            Decision::Open | Decision::Broken(_) => {
                self.failed = asked;
                self.step = 0.5 * gained;
            }
        }
        // Corners of boxes rounded outward may lie a hair outside the ball, and outside what images can be.
        let within = |(x, y): (&f32, f32)| y.clamp(x - asked, x + asked).clamp(0.0, 1.0);
        if let Decision::Broken(image) = decision
            && let image = self.subject.image.iter().zip(image).map(within).collect()
            && let Some(Hit { distance, class, .. }) =
                attack::confirm(&bounder.net, &self.subject.image, self.subject.class, image)
            && self.bracket.attacked.is_none_or(|(d, _)| distance < d)
        {
            self.bracket.attacked = Some((distance, class));
        }
    }
}

/// Closes brackets as far as the settings allow; returns them with the domains that each took.
///
/// # Errors
/// A fault of the device.
pub fn close(
    bounder: &Bounder,
    settings: &Settings,
    subjects: &[Subject],
    brackets: &[Bracket],
) -> Result<Vec<(Bracket, usize)>> {
    let track = |(subject, bracket): (_, &Bracket)| Track {
        subject,
        bracket: bracket.clone(),
        failed: f32::INFINITY,
        step: STEP,
        left: settings.domains,
    };
    let mut tracks: Vec<Track<'_>> = subjects.iter().zip(brackets).map(track).collect();
    let mut fit = Fit::new(tracks.len());
    loop {
        let asked: Vec<(usize, f32, usize)> = tracks
            .iter()
            .enumerate()
            .filter_map(|(i, t)| t.question(settings.tolerance).map(|(delta, domains)| (i, delta, domains)))
            .collect();
        if asked.is_empty() {
            return Ok(tracks.into_iter().map(|t| (t.bracket, settings.domains - t.left)).collect());
        }
        let ball = |&(i, delta, _): &(usize, f32, usize)| {
            let subject = tracks[i].subject;
            Ball { image: &subject.image, class: subject.class, delta }
        };
        let decided = fit.run(&asked, |asked| {
            let balls: Vec<Ball<'_>> = asked.iter().map(ball).collect();
            bounder.branch_balls(&balls, &asked.iter().map(|a| a.2).collect::<Vec<_>>())
        })?;
        for (&(i, delta, _), (decision, used)) in asked.iter().zip(decided) {
            // An answer without any domain cost a pass all the same.
            tracks[i].left = tracks[i].left.saturating_sub(used.max(1));
            tracks[i].answer(bounder, delta, decision);
        }
    }
}
