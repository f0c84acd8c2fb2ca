//! Brackets of a family's parameters: every image up to one end keeps the class, one at the other end has lost it.

use super::fine;
use super::leaf::{Leaf, zonotope};
use super::turn::{self, Ray};
use crate::bounds::{Bounder, Margin, Zonotope};
use crate::device::Fit;
use crate::error::{Error, Result};
use crate::model::enclosure;

pub use super::turn::{Question, Turn};

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Stop when the ends are within this share of each other.
    pub gap: f64,
    /// Boxes that are bounded at once.
    pub batch: usize,
    /// Boxes that are bounded for one bracket, at most: what is proved by then stays.
    pub boxes: usize,
}

/// Enough boxes to close nearly every bracket, also of three parameters.
pub const ENOUGH: usize = 12_000;

/// What is known of one family.
#[derive(Clone, Debug)]
pub struct Found {
    /// The class is proved for all parameters of at most this magnitude.
    pub proved: f64,
    /// The nearest image of another class that was found.
    pub broken: Option<Turn>,
    /// Parameters of magnitude `proved`: nearest to where the class is lost.
    pub edge: Vec<f64>,
    /// How many boxes were bounded.
    pub boxes: usize,
}

impl Found {
    /// Whether the ends are within this share of each other, or all that was looked at is proved.
    pub fn is_closed(&self, end: f64, gap: f64) -> bool {
        is_closed(self.proved, self.broken.as_ref().map_or(end, |b| b.scale), gap)
    }
}

/// Whether what is proved reaches up to so little below the other end.
pub(super) fn is_closed(proved: f64, end: f64, gap: f64) -> bool {
    proved >= (1.0 - gap) * end
}

/// Boxes of one family that are bounded in a round: what is cut later may never have to be.
const A_ROUND: usize = 16;
/// Pieces that a line is cut into first, the narrower the nearer its end.
const PIECES: usize = 4;

/// Boxes are looked at in f64 where what is missing is up to so many times what f32 loses to rounding.
const LOSSES: f64 = 2.0;
/// Boxes of this width are cut no more, as a share of what the ends of a bracket may be apart.
const NARROWEST: f64 = 1.0 / 128.0;

/// The search for one bracket.
struct Track<'a> {
    question: &'a Question<'a>,
    broken: Option<Turn>,
    open: Vec<Leaf>,
    /// Nothing beyond can be proved.
    stuck: f64,
    boxes: usize,
}

impl<'a> Track<'a> {
    fn new(question: &'a Question<'a>, broken: Option<Turn>, gap: f64) -> Track<'a> {
        let mut track = Track { question, broken, open: vec![], stuck: f64::INFINITY, boxes: 0 };
        let (goal, n) = (track.goal(gap), question.family.parameters());
        let place = |j: usize| goal * (1.0 - (1.0 - j as f64 / PIECES as f64).powi(2));
        track.open = match (n, question.family.both) {
            (1, false) => (0..PIECES).map(|j| Leaf(vec![[place(j), place(j + 1)]])).collect(),
            (_, both) => vec![Leaf(vec![[if both { -goal } else { 0.0 }, goal]; n])],
        };
        track
    }

    /// Up to where something is to be proved.
    fn goal(&self, gap: f64) -> f64 {
        self.broken.as_ref().map_or(self.question.family.end, |b| b.scale * (1.0 - 0.4 * gap))
    }

    /// Up to where all is proved.
    fn proved(&self, gap: f64) -> f64 {
        self.open.iter().map(Leaf::reach).fold(self.goal(gap).min(self.stuck), f64::min)
    }

    /// Leaves out what need not be proved, and all where enough is; the nearest come first.
    fn tidy(&mut self, settings: &Settings) {
        let limit = settings.boxes;
        let goal = self.goal(settings.gap).min(self.stuck);
        self.open.retain(|leaf| leaf.reach() < goal);
        self.open.sort_by(|a, b| a.reach().total_cmp(&b.reach()));
        let proved = self.proved(settings.gap);
        let near = self.broken.as_ref().is_some_and(|b| proved >= (1.0 - 0.8 * settings.gap) * b.scale);
        if near || self.boxes >= limit {
            self.stuck = proved;
            self.open.clear();
        }
    }

    /// Takes what bounds say of one of its leaves; what they leave open of it is cut.
    fn take(&mut self, leaf: &Leaf, margins: &[Margin], proved: bool, settings: &Settings) {
        self.boxes += 1;
        if proved {
            return;
        }
        let open = open_part(leaf, margins);
        if leaf.width() <= NARROWEST * self.scale(settings) {
            self.stuck = self.stuck.min(open.reach());
        } else {
            let mut parts = vec![open];
            for _ in 0..cuts(margins, self.question.family.parameters()) {
                parts = parts.iter().flat_map(Leaf::halves).collect();
            }
            self.open.extend(parts);
        }
    }

    /// What widths of boxes are measured by.
    fn scale(&self, settings: &Settings) -> f64 {
        settings.gap * self.goal(settings.gap)
    }

    fn learn(&mut self, turn: Turn, gap: f64) {
        if turn.is_better(self.broken.as_ref(), gap) {
            self.broken = Some(turn);
        }
    }

    fn found(self, gap: f64) -> Found {
        let proved = self.proved(gap);
        let way = match &self.broken {
            Some(b) => b.t.iter().map(|t| t / b.scale).collect(),
            None => vec![1.0; self.question.family.parameters()],
        };
        let edge = way.iter().map(|w: &f64| w * proved).collect();
        Found { proved, broken: self.broken, edge, boxes: self.boxes }
    }
}

/// The least margin of a box.
fn worst(margins: &[Margin]) -> &Margin {
    margins.iter().min_by(|a, b| a.lower.total_cmp(&b.lower)).expect("a model has classes")
}

/// How often a box is cut before its parts are bounded: once along each parameter where so much is missing that it would be
/// if the margin did not change over the box at all, so that halves would hardly be proved.
fn cuts(margins: &[Margin], parameters: usize) -> usize {
    let hopeless = |m: &Margin| {
        let change: f64 = m.slopes.iter().map(|[low, high]| low.abs().max(high.abs())).sum();
        -f64::from(m.lower) > change
    };
    if margins.iter().any(hopeless) { parameters } else { 1 }
}

/// The least box around what is left of a leaf where margins may not be positive.
fn open_part(leaf: &Leaf, margins: &[Margin]) -> Leaf {
    let hull = |k: usize| {
        let open = margins.iter().filter(|m| !(m.lower > 0.0)).map(|m| m.open(k));
        open.reduce(|[a, b], [c, d]| [a.min(c), b.max(d)]).unwrap_or([-1.0, 1.0])
    };
    leaf.part(&(0..leaf.0.len()).map(hull).collect::<Vec<_>>())
}

/// The bracket of every question, in order.
///
/// # Errors
/// A fault of the device, or what shows one: a class lost where it was proved.
pub fn brackets(bounder: &Bounder, questions: &[Question<'_>], settings: &Settings) -> Result<Vec<Found>> {
    let turns = turn::search(&bounder.net, questions, settings.gap)?;
    let mut tracks: Vec<Track<'_>> =
        questions.iter().zip(turns).map(|(q, turn)| Track::new(q, turn, settings.gap)).collect();
    let mut fit = Fit::new(settings.batch);
    let losses = fit.run(questions, |part| fine::losses(bounder, part))?;
    loop {
        let mut asked: Vec<(usize, Leaf)> = vec![];
        for (i, track) in tracks.iter_mut().enumerate() {
            track.tidy(settings);
            let rest = track.open.split_off(track.open.len().min(A_ROUND));
            asked.extend(std::mem::replace(&mut track.open, rest).into_iter().map(|leaf| (i, leaf)));
        }
        if asked.is_empty() {
            break;
        }
        // Boxes of as many parameters go together.
        let parameters = |(i, _): &(usize, Leaf)| questions[*i].family.parameters();
        asked.sort_by_key(parameters);
        let mut margins = vec![];
        for alike in asked.chunk_by(|a, b| parameters(a) == parameters(b)) {
            margins.extend(fit.run(alike, |part| {
                let zonotopes: Vec<Zonotope> = part
                    .iter()
                    .map(|(i, leaf)| zonotope(&questions[*i].family, leaf, questions[*i].subject.class))
                    .collect();
                bounder.zonotopes(&zonotopes)
            })?);
        }
        let mut proved: Vec<bool> = margins.iter().map(|own: &Vec<Margin>| worst(own).lower > 0.0).collect();
        // Where little is missing, f64 may know better.
        let close = |k: &usize| {
            let missing = -f64::from(worst(&margins[*k]).lower);
            missing >= 0.0 && missing <= LOSSES * losses[asked[*k].0]
        };
        let narrow: Vec<usize> = (0..asked.len()).filter(close).collect();
        let open = |k: &usize| {
            let rivals = margins[*k].iter().enumerate().filter(|(_, m)| !(m.lower > 0.0)).map(|(rival, _)| rival);
            (&questions[asked[*k].0], &asked[*k].1, rivals.collect())
        };
        let fine = fit.run(&narrow, |part| fine::proved(bounder, &part.iter().map(open).collect::<Vec<_>>()))?;
        narrow.iter().zip(fine).for_each(|(&k, fine)| proved[k] = fine);
        // Where nothing is proved, the class may be lost.
        let failed = asked.iter().zip(&margins).zip(&proved).filter(|(_, proved)| !**proved);
        let rays = failed.flat_map(|(((i, leaf), margins), _)| {
            let points = leaf.points(&worst(margins).slopes);
            points.into_iter().filter_map(|t| Ray::through(*i, &t, leaf.reach()))
        });
        let turns = turn::nearest(&bounder.net, questions, rays.collect(), settings.gap)?;
        tracks
            .iter_mut()
            .zip(turns)
            .filter_map(|(t, turn)| Some((t, turn?)))
            .for_each(|(t, turn)| t.learn(turn, settings.gap));
        for (((i, leaf), margins), proved) in asked.iter().zip(&margins).zip(proved) {
            tracks[*i].take(leaf, margins, proved, settings);
        }
    }
    let found: Vec<Found> = tracks.into_iter().map(|t| t.found(settings.gap)).collect();
    for (question, found) in questions.iter().zip(&found) {
        check(bounder, question, found)?;
    }
    Ok(found)
}

/// Whether the image at the proved end has its class still, as far as an enclosure can tell.
fn check(bounder: &Bounder, question: &Question<'_>, found: &Found) -> Result<()> {
    if found.proved == 0.0 {
        return Ok(());
    }
    let known = enclosure::forward(&bounder.net.model, &question.family.image(&found.edge));
    match enclosure::largest(&known) {
        Some((class, _)) if class != question.subject.class => Err(Error::device(format!(
            "{} proved up to {}, where the class is another; the device miscomputes",
            question.family.kind, found.proved
        ))),
        Some(_) | None => Ok(()),
    }
}
