//! The one place where a page learns whether two figures differ. Every question a page may ask is put here beforehand, all
//! are answered by [`paired()`] and adjusted together by [`holm()`]: what a sentence says of a difference comes from an
//! [`Answer`], and where there is none it says nothing.

mod describe;
mod guessing;
mod holm;
mod measure;
mod paired;
mod questions;

pub use describe::{falls_below, median, right_radii, share_at_least, sorted, survival};
pub use guessing::guessing;
pub use holm::holm;
pub use measure::{Measure, Of};
pub use paired::{Over, Paired, paired};
pub use questions::{couples, deciding, twins};

use crate::results::Study;
use measure::Key;
use questions::Question;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A page errs in calling any of its differences clear in at most this share of cases.
pub const ERROR: f64 = 0.05;

/// What a page found of one question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub paired: Paired,
    /// p adjusted for all questions of the page.
    pub adjusted: f64,
}

impl Answer {
    /// Whether the sides differ by more than chance.
    pub fn clear(&self) -> bool {
        self.adjusted < ERROR
    }

    /// Whether the first is clearly larger.
    pub fn more(&self) -> bool {
        self.clear() && self.paired.effect > 0.0
    }

    /// Whether the first is clearly smaller.
    pub fn less(&self) -> bool {
        self.clear() && self.paired.effect < 0.0
    }

    fn turned(mut self) -> Answer {
        let p = &mut self.paired;
        p.effect = -p.effect;
        p.interval = [-p.interval[1], -p.interval[0]];
        p.figures.reverse();
        p.trainings.reverse();
        self
    }
}

/// Every question of a page with its answer.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    answers: Vec<(Of, Of, Answer)>,
    /// Where the answer of two sides stands.
    at: HashMap<(Key, Key), usize>,
}

impl Compared {
    /// All that the page of a study may ask.
    pub fn of(study: &Study) -> Compared {
        Compared::ask(study, questions::questions(study))
    }

    /// Only what decides between the models.
    pub fn of_models(study: &Study) -> Compared {
        Compared::ask(study, questions::choice(study))
    }

    fn ask(study: &Study, questions: Vec<Question>) -> Compared {
        let found: Vec<(Question, Paired)> =
            questions.into_par_iter().filter_map(|q| Some((q, ask(study, &q)?))).collect();
        let tests: Vec<(f64, f64)> = found.iter().map(|(q, found)| (found.p, q.weight)).collect();
        let adjusted = holm(&tests);
        let answers = found.into_iter().zip(adjusted);
        let answers: Vec<_> =
            answers.map(|((q, paired), adjusted)| (q.first, q.second, Answer { paired, adjusted })).collect();
        let at = answers.iter().enumerate().map(|(i, (a, b, _))| ((a.key(), b.key()), i)).collect();
        Compared { answers, at }
    }

    /// The first against the second; `None` where it was not measured on images that both have.
    pub fn get(&self, first: Of, second: Of) -> Option<Answer> {
        let (a, b) = (first.key(), second.key());
        match (self.at.get(&(a, b)), self.at.get(&(b, a))) {
            (Some(&i), _) => Some(self.answers[i].2),
            (None, Some(&i)) => Some(self.answers[i].2.turned()),
            (None, None) => None,
        }
    }

    /// How one model compares with another in the same measure.
    pub fn models(&self, first: usize, second: usize, measure: Measure) -> Option<Answer> {
        self.get(Of { model: first, measure }, Of { model: second, measure })
    }

    /// Questions that could be answered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Every question and answer, for the file beside the page.
    pub fn all(&self) -> &[(Of, Of, Answer)] {
        &self.answers
    }
}

fn ask(study: &Study, q: &Question) -> Option<Paired> {
    let [first, second] = [q.first, q.second].map(|of| measure::values(study, of));
    let common = first.iter().chain(&second).map(|t| t.keys().copied().collect::<BTreeSet<usize>>());
    let images = common.reduce(|a, b| &a & &b)?;
    let side = |trainings: &[BTreeMap<usize, f64>]| -> Vec<Vec<f64>> {
        trainings.iter().map(|t| images.iter().map(|i| t[i]).collect()).collect()
    };
    let same = q.first.model == q.second.model && first.len() == second.len();
    paired(&side(&first), &side(&second), q.first.measure.over(), same, study.seed)
}
