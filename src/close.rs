//! Closing brackets [proved, attacked] by branch and bound: proved radii grow beyond what one pass of bounds proves, and
//! broken images found on the way pull the other end down.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::attack::nearer::{Effort, nearest};
use crate::attack::{self, Hit};
use crate::bounds::{Ball, Bounder, Depth, Tree};
use crate::device::Fit;
use crate::error::{Error, Result};
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

impl Bracket {
    /// Takes note of a hit.
    fn broken_at(&mut self, hit: Hit) {
        if self.attacked.is_none_or(|(distance, _)| hit.distance < distance) {
            self.attacked = Some((hit.distance, hit.class));
        }
    }
}

/// How far balls lie beyond the proved radius, as a share of it: at first, and at most.
const STEP: f32 = 0.05;
const MOST: f32 = 0.3;

/// How many times the domains before it a ball about [`STEP`] further out takes.
const GROWTH: f64 = 3.5;

/// Nearer ones are tried only where nothing is left to halve, and not below the nearest.
const NEAR: f32 = 0.01;
const NEAREST: f32 = 1e-3;

/// Fewer domains are not worth a ball.
const LEAST: usize = 16;

/// A ball on which so many times the domains before it did not suffice lies too far out: relaxations on it are loose.
const PATIENCE: usize = 3;

/// Domains for each end of the neurons behind a ball, where there is a limit of time: at first, and so many times as many
/// whenever they did not suffice.
const DEPTH: usize = 2;
const DEEPER: usize = 4;
const DEEPEST: usize = 8192;

/// Share of the time left that they may take.
const NEURONS: f64 = 0.3;

/// What the other end is brought nearer by, and the domains that a round of it costs about as much as.
const ROUNDS: usize = 24;
const STARTS: usize = 24;
const STEPS: usize = 48;
const DOMAINS_PER_ROUND: usize = 100;

/// Share of the time that it may take.
const TIME: f64 = 0.2;

/// Longer than anyone waits, and still a time that clocks can tell.
const FOREVER: f64 = 1e8;

/// One bracket being closed.
struct Track<'a> {
    subject: &'a Subject,
    bracket: Bracket,
    step: f32,
    tree: Option<Tree>,
    /// Domains before the ball that the tree is on; `None` where it is to get another.
    planted: Option<usize>,
    /// Domains for each end of the neurons behind a ball.
    depth: usize,
    /// Seconds that those of this ball took, and seconds spent when the tree began to grow on it.
    rooted: f64,
    grows_since: f64,
    seconds: f64,
    /// Seconds before the first ball.
    began: f64,
    done: bool,
}

impl Track<'_> {
    fn domains(&self) -> usize {
        self.tree.as_ref().map_or(0, Tree::domains)
    }

    /// Domains left.
    fn left(&self, settings: &Settings) -> usize {
        settings.domains.saturating_sub(self.domains())
    }

    /// How far out the next ball lies: as far as the budget should suffice for at most.
    fn step(&self, settings: &Settings) -> f32 {
        let domains = self.left(settings) as f64 / self.domains() as f64;
        let seconds = settings.seconds.map_or(f64::INFINITY, |s| (s - self.seconds) / (self.seconds - self.began));
        // Neither is a number before there was anything to go by.
        self.step.min((f64::from(STEP) * domains.min(seconds).max(0.0).ln_1p() / GROWTH.ln()) as f32)
    }

    /// Whether the bracket is closed, or its budget spent.
    fn is_over(&self, settings: &Settings, most: f32) -> bool {
        let (low, high) = (self.bracket.proved, self.high(most));
        let narrow = high <= low * (1.0 + settings.tolerance);
        let late = settings.seconds.is_some_and(|s| self.seconds >= s);
        low <= 0.0 || narrow || late || self.left(settings) < LEAST || self.step(settings) < NEAREST
    }

    /// No image of this distance is proved.
    fn high(&self, most: f32) -> f32 {
        self.bracket.attacked.map_or(most, |(distance, _)| distance)
    }

    /// Takes in what a round found.
    fn update(&mut self, bounder: &Bounder, broken: Vec<Vec<f32>>) {
        let (Some(tree), Some(before)) = (&self.tree, self.planted) else { return };
        for mut point in broken {
            // Corners of boxes rounded outward may lie a hair outside the ball, and outside what images can be.
            bounder.norm.pull(&mut point, &self.subject.image, tree.delta());
            let (image, class) = (&self.subject.image, self.subject.class);
            // An enclosure takes longer than a domain.
            if self.bracket.attacked.is_some_and(|(nearest, _)| bounder.norm.distance(image, &point) >= nearest) {
                continue;
            }
            if let Some(hit) = attack::confirm(&bounder.net, bounder.norm, image, class, point) {
                self.bracket.broken_at(hit);
            }
        }
        self.bracket.proved = self.bracket.proved.max(tree.reach());
        let spent = tree.domains() - before;
        let beyond = self.bracket.attacked.is_some_and(|(d, _)| d < tree.delta());
        // Deeper ends cost about as much again as was spent on domains.
        let grown = self.seconds - self.grows_since;
        let deeper = (1..DEEPEST).contains(&self.depth) && grown > DEEPER as f64 * self.rooted;
        if deeper {
            self.depth *= DEEPER;
        }
        if tree.is_proved() {
            if spent <= before / 2 {
                self.step = (2.0 * self.step).min(MOST);
            }
            self.planted = None;
        } else if tree.is_stuck() {
            (self.step, self.planted) = (0.5 * self.step, None);
        } else if deeper {
            self.planted = None;
        } else if self.step > NEAR && spent > PATIENCE * before.max(LEAST) && grown > self.rooted {
            (self.step, self.planted) = ((0.5 * self.step).max(NEAR), None);
        } else if beyond {
            self.planted = None;
        }
    }
}

/// A bracket as far as it was closed.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Its ends.
    pub bracket: Bracket,
    /// Domains that it took.
    pub domains: usize,
    /// How far the ends of neurons were halved.
    pub depth: Depth,
}

impl Closed {
    /// A bracket that nothing was done to.
    pub fn untouched(bracket: &Bracket) -> Closed {
        Closed { bracket: bracket.clone(), domains: 0, depth: Depth::NONE }
    }
}

/// Closes brackets as far as the settings allow, `spent` being the seconds that each took so far.
///
/// # Errors
/// A fault of the device.
pub fn close(
    bounder: &Bounder,
    settings: &Settings,
    subjects: &[Subject],
    brackets: &[Bracket],
    spent: &[f64],
) -> Result<Vec<Closed>> {
    let depth = if settings.seconds.is_some() && bounder.halves_neurons() { DEPTH } else { 0 };
    let track = |((subject, bracket), &seconds): ((_, &Bracket), &f64)| Track {
        subject,
        bracket: bracket.clone(),
        step: STEP,
        tree: None,
        planted: None,
        depth,
        rooted: 0.0,
        grows_since: 0.0,
        seconds,
        began: seconds,
        done: false,
    };
    let mut tracks: Vec<Track<'_>> = subjects.iter().zip(brackets).zip(spent).map(track).collect();
    let mut fit = Fit::new(tracks.len());
    let left = settings.seconds.map(|s| spent.iter().map(|spent| (s - spent).clamp(0.0, FOREVER)).sum::<f64>());
    let until = left.map(|left| Instant::now() + Duration::from_secs_f64(left.min(FOREVER)));
    let mut timed = bounder.clone();
    timed.deadline = until.or(bounder.deadline);
    let one = |t: &Track<'_>| Closed {
        bracket: t.bracket.clone(),
        domains: t.domains(),
        depth: Depth { domains: t.depth, until: None },
    };
    let closed = |tracks: Vec<Track<'_>>| Ok(tracks.iter().map(one).collect());
    pull_in(bounder, settings, &mut tracks)?;
    tracks.iter_mut().for_each(|track| track.began = track.seconds);
    loop {
        let started = Instant::now();
        // What was proved before the time was over stays.
        match plant(&timed, settings, &mut tracks, &mut fit) {
            Err(Error::Timeout) if until.is_some() => return closed(tracks),
            planted => planted?,
        }
        let mut open: Vec<&mut Track<'_>> = tracks.iter_mut().filter(|t| !t.done).collect();
        if open.is_empty() {
            return closed(tracks);
        }
        let most: Vec<usize> = open.iter().map(|t| t.left(settings)).collect();
        let mut trees: Vec<&mut Tree> = open.iter_mut().filter_map(|t| t.tree.as_mut()).collect();
        let broken = match Tree::grow(&mut trees, &most) {
            Err(Error::Timeout) if until.is_some() => return closed(tracks),
            broken => broken?,
        };
        let share = started.elapsed().as_secs_f64() / open.len() as f64;
        open.par_iter_mut().zip(broken).for_each(|(track, broken)| {
            track.seconds += share;
            track.update(bounder, broken);
        });
    }
}

/// Brings the other ends nearer before anything is split, at about what a share of the domains costs.
fn pull_in(bounder: &Bounder, settings: &Settings, tracks: &mut [Track<'_>]) -> Result<()> {
    let most = bounder.norm.largest(bounder.net.model.input.len());
    let rounds = (settings.domains / DOMAINS_PER_ROUND).min(ROUNDS);
    let open: Vec<&mut Track<'_>> =
        tracks.iter_mut().filter(|t| t.bracket.attacked.is_some() && !t.is_over(settings, most)).collect();
    if rounds == 0 || open.is_empty() {
        return Ok(());
    }
    let started = Instant::now();
    let share = |seconds: f64| Duration::from_secs_f64((TIME * seconds * open.len() as f64).min(FOREVER));
    let until = settings.seconds.map(|seconds| started + share(seconds));
    let effort = Effort { rounds, starts: STARTS, steps: STEPS, until };
    let (images, classes): (Vec<&[f32]>, Vec<usize>) =
        open.iter().map(|t| (t.subject.image.as_slice(), t.subject.class)).unzip();
    let floors: Vec<f32> = open.iter().map(|t| t.bracket.proved).collect();
    let hits = nearest(&bounder.net, bounder.norm, &images, &classes, &floors, &effort)?;
    let share = started.elapsed().as_secs_f64() / open.len() as f64;
    for (track, hit) in open.into_iter().zip(hits) {
        track.seconds += share;
        if let Some(hit) = hit {
            track.bracket.broken_at(hit);
        }
    }
    Ok(())
}

/// Balls for those that need another; tracks are done where that is the end.
fn plant(bounder: &Bounder, settings: &Settings, tracks: &mut [Track<'_>], fit: &mut Fit) -> Result<()> {
    let most = bounder.norm.largest(bounder.net.model.input.len());
    let mut asked: Vec<(usize, f32)> = vec![];
    for (i, track) in tracks.iter_mut().enumerate().filter(|(_, t)| !t.done) {
        track.done = track.is_over(settings, most);
        if !track.done && track.planted.is_none() {
            asked.push((i, (track.bracket.proved * (1.0 + track.step(settings))).min(track.high(most))));
        }
    }
    let planted = fit.run(&asked, |asked| {
        let ball = |&(i, delta): &(usize, f32)| {
            let subject = tracks[i].subject;
            Ball { image: &subject.image, class: subject.class, delta }
        };
        let deep = |at: &(usize, f32)| -> Result<_> {
            let (track, started) = (&tracks[at.0], Instant::now());
            let share = settings.seconds.map_or(0.0, |s| NEURONS * (s - track.seconds).clamp(0.0, FOREVER));
            let depth = Depth { domains: track.depth, until: Some(started + Duration::from_secs_f64(share)) };
            let tree = bounder.plant_deep(&[ball(at)], depth)?.remove(0);
            Ok((tree, started.elapsed().as_secs_f64()))
        };
        if asked.iter().any(|(i, _)| tracks[*i].depth > 0) {
            return asked.iter().map(deep).collect();
        }
        Ok(bounder.plant(&asked.iter().map(ball).collect::<Vec<_>>())?.into_iter().map(|tree| (tree, 0.0)).collect())
    })?;
    for ((i, _), (new, rooted)) in asked.into_iter().zip(planted) {
        let track = &mut tracks[i];
        track.planted = Some(track.domains());
        (track.rooted, track.grows_since) = (rooted, track.seconds + rooted);
        match (&mut track.tree, new) {
            (_, None) => track.done = true,
            (Some(tree), Some(new)) => tree.replant(new),
            (empty, new) => *empty = new,
        }
    }
    Ok(())
}
