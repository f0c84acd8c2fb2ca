//! Closing brackets [proved, attacked] by branch and bound: proved radii grow beyond what one pass of bounds proves, and
//! broken images found on the way pull the other end down.

use std::time::Instant;

use crate::attack::{self, Hit};
use crate::bounds::{Ball, Bounder, Tree};
use crate::device::Fit;
use crate::error::Result;
use crate::search::Subject;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Domains that may be bounded per image.
    pub domains: usize,
    /// Seconds that may be spent per image, search included; those of a round are shared by the images in it.
    pub seconds: Option<f64>,
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

/// Share of what is left of the budget that one question may take.
const PART: f64 = 1.0 / 3.0;

/// One bracket being closed.
struct Track<'a> {
    subject: &'a Subject,
    bracket: Bracket,
    /// The smallest radius asked for in vain.
    failed: f32,
    step: f32,
    tree: Option<Tree>,
    /// While a radius is asked for: when to give up, in domains and seconds spent so far.
    until: Option<(usize, f64)>,
    seconds: f64,
    done: bool,
}

impl Track<'_> {
    /// No use asking for this radius or more.
    fn high(&self, most: f32) -> f32 {
        self.failed.min(self.bracket.attacked.map_or(most, |(distance, _)| distance))
    }

    fn domains(&self) -> usize {
        self.tree.as_ref().map_or(0, Tree::domains)
    }

    /// Seconds left.
    fn time(&self, settings: &Settings) -> f64 {
        settings.seconds.map_or(f64::INFINITY, |s| s - self.seconds)
    }

    /// The next radius to ask for, if any.
    fn question(&mut self, settings: &Settings, most: f32) -> Option<f32> {
        let (low, high) = (self.bracket.proved, self.high(most));
        let left = settings.domains.saturating_sub(self.domains());
        let narrow = high <= low * (1.0 + settings.tolerance);
        if low <= 0.0 || narrow || left < LEAST || self.time(settings) <= 0.0 {
            self.done = true;
            return None;
        }
        let domains = ((left as f64 * PART) as usize).max(LEAST);
        self.until = Some((self.domains().saturating_add(domains), self.seconds + PART * self.time(settings)));
        Some((low * (1.0 + self.step)).min(0.5 * (low + high)))
    }

    /// Takes in what a round found, and the answer if there is one.
    fn update(&mut self, bounder: &Bounder, broken: Vec<Vec<f32>>) {
        let (Some(tree), Some((domains, seconds))) = (&self.tree, self.until) else { return };
        let asked = tree.delta();
        let mut lost = false;
        for mut point in broken {
            // Corners of boxes rounded outward may lie a hair outside the ball, and outside what images can be.
            bounder.norm.pull(&mut point, &self.subject.image, asked);
            if let Some(Hit { distance, class, .. }) =
                attack::confirm(&bounder.net, bounder.norm, &self.subject.image, self.subject.class, point)
            {
                lost = true;
                if self.bracket.attacked.is_none_or(|(d, _)| distance < d) {
                    self.bracket.attacked = Some((distance, class));
                }
            }
        }
        let gained = asked / self.bracket.proved - 1.0;
        if tree.is_proved() {
            self.bracket.proved = asked;
            (self.step, self.until) = (2.0 * gained, None);
        } else if lost || tree.is_stuck() || tree.domains() >= domains || self.seconds >= seconds {
            self.failed = asked;
            (self.step, self.until) = (0.5 * gained, None);
        }
    }
}

/// Closes brackets as far as the settings allow, `spent` being the seconds that each took so far; returns them with the
/// domains that each took.
///
/// # Errors
/// A fault of the device.
pub fn close(
    bounder: &Bounder,
    settings: &Settings,
    subjects: &[Subject],
    brackets: &[Bracket],
    spent: &[f64],
) -> Result<Vec<(Bracket, usize)>> {
    let track = |((subject, bracket), &seconds): ((_, &Bracket), &f64)| Track {
        subject,
        bracket: bracket.clone(),
        failed: f32::INFINITY,
        step: STEP,
        tree: None,
        until: None,
        seconds,
        done: false,
    };
    let mut tracks: Vec<Track<'_>> = subjects.iter().zip(brackets).zip(spent).map(track).collect();
    let mut fit = Fit::new(tracks.len());
    loop {
        let started = Instant::now();
        plant(bounder, settings, &mut tracks, &mut fit)?;
        let mut open: Vec<&mut Track<'_>> = tracks.iter_mut().filter(|t| !t.done).collect();
        if open.is_empty() {
            return Ok(tracks.into_iter().map(|t| (t.bracket.clone(), t.domains())).collect());
        }
        let left = |t: &&mut Track<'_>| t.until.map_or(0, |(domains, _)| domains.saturating_sub(t.domains()));
        let most: Vec<usize> = open.iter().map(left).collect();
        let mut trees: Vec<&mut Tree> = open.iter_mut().filter_map(|t| t.tree.as_mut()).collect();
        let broken = Tree::grow(&mut trees, &most)?;
        let share = started.elapsed().as_secs_f64() / open.len() as f64;
        for (track, broken) in open.iter_mut().zip(broken) {
            track.seconds += share;
            track.update(bounder, broken);
        }
    }
}

/// Balls for those that wait for a question; they are done where there is none.
fn plant(bounder: &Bounder, settings: &Settings, tracks: &mut [Track<'_>], fit: &mut Fit) -> Result<()> {
    let most = bounder.norm.largest(bounder.net.model.input.len());
    let waiting = tracks.iter_mut().enumerate().filter(|(_, t)| !t.done && t.until.is_none());
    let asked: Vec<(usize, f32)> =
        waiting.filter_map(|(i, t)| t.question(settings, most).map(|delta| (i, delta))).collect();
    let planted = fit.run(&asked, |asked| {
        let ball = |&(i, delta): &(usize, f32)| {
            let subject = tracks[i].subject;
            Ball { image: &subject.image, class: subject.class, delta }
        };
        bounder.plant(&asked.iter().map(ball).collect::<Vec<_>>())
    })?;
    for ((i, _), new) in asked.into_iter().zip(planted) {
        let track = &mut tracks[i];
        match (&mut track.tree, new) {
            (_, None) => track.done = true,
            (Some(tree), Some(new)) => tree.replant(new),
            (empty, new) => *empty = new,
        }
    }
    Ok(())
}
