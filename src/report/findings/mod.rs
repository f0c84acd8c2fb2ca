//! What the figures say, in sentences: computed from a [`Study`], never typed in. A sentence on a difference rests on an
//! answer of [`Compared`]; `docs/findings.md` lists every kind with the statistic behind it.

mod choice;
mod claims;
#[cfg(test)]
mod kinds;
mod noise;
mod relevance;
mod robustness;

#[cfg(test)]
mod tests;

pub use choice::{RULE, even_accuracy};
pub use claims::published_classes;
pub use relevance::relevance_kind;
use robustness::half_of;
pub use robustness::{ONE_ANSWER, Robust, reference_delta, robustness};

use crate::report::chart::{number, percent};
use crate::report::statistics::{Answer, Compared, ERROR, Measure, guessing};
use crate::results::{Claim, Conclusion, Figure, Finding, ModelResult, NoiseLevel, Spread, Study};

/// All that a page says in words.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub compared: Compared,
    pub conclusion: Option<Conclusion>,
    pub findings: Vec<Finding>,
    pub claims: Vec<Claim>,
    /// Indices of the models that may as well guess.
    pub guessing: Vec<usize>,
}

impl Reading {
    pub fn of(study: &Study) -> Reading {
        let compared = Compared::of(study);
        let told = Told::of(study, &compared);
        let conclusion = choice::conclude(&told);
        let mut findings = robustness::findings(&told);
        findings.extend(noise::findings(&told));
        findings.extend(relevance::findings(&told));
        let claims = claims::claims(&told);
        let guessing = told.guessing;
        Reading { guessing, conclusion, findings, claims, compared }
    }

    /// Only which model to take.
    pub fn conclude(study: &Study, compared: &Compared) -> Option<Conclusion> {
        choice::conclude(&Told::of(study, compared))
    }
}

/// A study and what its comparisons found.
pub(super) struct Told<'a> {
    pub study: &'a Study,
    pub compared: &'a Compared,
    /// Indices of the models with a training whose clean answers are not clearly better than guesses, as far as the test
    /// images tell.
    guessing: Vec<usize>,
}

impl<'a> Told<'a> {
    fn of(study: &'a Study, compared: &'a Compared) -> Told<'a> {
        // Results of before may not know what each image was called, but whether all were called the same.
        let chance = |level: &NoiseLevel| {
            let called = level.called.first().and_then(|c| guessing(&study.dataset.test_labels, c, study.seed));
            called.or_else(|| level.only_answer().map(|_| 1.0))
        };
        let guesses = |&m: &usize| clean(&study.models[m]).flatten().any(|l| chance(l).is_some_and(|p| p >= ERROR));
        Told { study, compared, guessing: (0..study.models.len()).filter(guesses).collect() }
    }

    fn guesses(&self, model: usize) -> bool {
        self.guessing.contains(&model)
    }

    fn name(&self, model: usize) -> &str {
        &self.study.models[model].name
    }

    fn class(&self, class: usize) -> &str {
        &self.study.dataset.classes[class]
    }

    /// Indices of models that are not the same as one before, and do not guess.
    fn kept(&self) -> Vec<usize> {
        let first = crate::report::statistics::twins(self.study).into_iter().map(|group| group[0]);
        first.filter(|&i| !self.guesses(i)).collect()
    }

    /// By training of a model, the class that all clean test images are called, if it is one for all.
    fn constant(&self, model: usize) -> impl Iterator<Item = Option<usize>> {
        clean(&self.study.models[model]).map(|level| level?.only_answer())
    }

    /// The strongest noise at which a model's answers were taken.
    fn noisiest(&self, model: usize) -> Option<f64> {
        self.study.models[model].sweep.last().map(|l| l.variance).filter(|v| *v > 0.0)
    }

    /// An effect with its interval: `+3.2 points (95%: +1.1 to +5.3)`, or of radii `+0.4/255 (95%: +0.1 to +0.7)`; and whether
    /// it is more than chance.
    fn effect(&self, measure: Measure, answer: &Answer) -> String {
        format!("{}{}", self.size(measure, answer), if answer.clear() { "" } else { ", which may be chance" })
    }

    /// As [`effect`](Self::effect), without the judgement.
    fn size(&self, measure: Measure, answer: &Answer) -> String {
        let p = &answer.paired;
        match measure {
            Measure::Radius(_) => {
                let (norm, unit) = (self.study.norm, self.study.norm.unit().2);
                let [effect, low, high] = [p.effect, p.interval[0], p.interval[1]].map(|v| norm.signed(v));
                format!("{effect}{unit} (95%: {low} to {high})")
            }
            _ => {
                let short = |v: f64| signed((v * 1000.0).round() / 10.0);
                format!("{} (95%: {} to {})", points(p.effect), short(p.interval[0]), short(p.interval[1]))
            }
        }
    }

    /// What a deciding measure is called.
    fn measure(&self, measure: Measure) -> String {
        match measure {
            Measure::Accuracy(0.0) => "accuracy on clean images".into(),
            Measure::Accuracy(v) => format!("accuracy at noise variance {}", number(v)),
            Measure::Radius(_) => "proved delta max".into(),
            Measure::Proved(delta) => format!("share right and proved at {}", self.study.norm.plain(delta)),
            other => format!("{other:?}"),
        }
    }

    /// A model under its strongest noise against itself without.
    fn against_clean(&self, model: usize, measure: impl Fn(f64) -> Measure) -> Option<Answer> {
        let of = |v: f64| crate::report::statistics::Of { model, measure: measure(v) };
        self.compared.get(of(self.noisiest(model)?), of(0.0))
    }
}

/// What each training of a model said without noise.
fn clean(model: &ModelResult) -> impl Iterator<Item = Option<&NoiseLevel>> {
    model.trained().map(|t| t.sweep.first().filter(|l| l.variance == 0.0))
}

/// The three models of the case study, found by what they augmented rather than by name; indices in the study.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    pub none: Option<usize>,
    pub one: Option<usize>,
    pub all: Option<usize>,
}

impl Roles {
    pub fn of(study: &Study) -> Roles {
        let classes = study.dataset.classes.len();
        let find = |test: &dyn Fn(&ModelResult) -> bool| study.models.iter().position(test);
        let trained = |m: &ModelResult| !m.policy.is_empty();
        Roles {
            none: find(&|m| trained(m) && m.augmented.is_empty()),
            one: find(&|m| !m.augmented.is_empty() && m.augmented.len() < classes),
            all: find(&|m| !m.augmented.is_empty() && m.augmented.len() == classes),
        }
    }
}

pub(super) fn share(name: impl Into<String>, value: f64) -> Figure {
    Figure { name: name.into(), value, unit: "%".into() }
}

pub(super) fn delta(name: impl Into<String>, value: f64) -> Figure {
    Figure { name: name.into(), value, unit: "delta".into() }
}

pub(super) fn plain(name: impl Into<String>, value: f64) -> Figure {
    Figure { name: name.into(), value, unit: String::new() }
}

pub(super) fn finding(
    kind: &str,
    title: impl Into<String>,
    sentence: impl Into<String>,
    figures: Vec<Figure>,
) -> Finding {
    Finding { kind: kind.into(), title: title.into(), sentence: sentence.into(), figures }
}

/// A share over the test images: `15.6 ± 7.3%`; without the spread where it rounds to nothing.
pub(super) fn spread(s: &Spread) -> String {
    let deviation = percent(s.deviation);
    match deviation.as_str() {
        "0%" => percent(s.mean),
        _ => format!("{} ± {deviation}", percent(s.mean).trim_end_matches('%')),
    }
}

/// A difference of shares in points: `+3.2 points`.
pub(super) fn points(difference: f64) -> String {
    let p = (difference * 1000.0).round() / 10.0;
    format!("{} point{}", signed(p), if p.abs() == 1.0 { "" } else { "s" })
}

fn signed(value: f64) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, number(value))
}

/// `3 trainings`; nothing for one.
pub(super) fn over_trainings(count: usize) -> String {
    if count > 1 { format!(" over {count} trainings") } else { String::new() }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_string(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", head.join(", "), last.as_ref())
        }
    }
}

/// `0.93`, or the range over trainings: `93% (91% to 95%)`.
pub(super) fn ranged(values: &[f64], write: impl Fn(f64) -> String) -> String {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() < 2 { write(mean) } else { format!("{} ({} to {})", write(mean), write(low), write(high)) }
}
