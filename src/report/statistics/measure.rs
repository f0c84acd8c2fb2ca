//! What can be compared, and its value for every image.

use super::Over;
use crate::results::{NoiseLevel, RelevanceKind, Shares, Study, Trained};
use std::collections::BTreeMap;

/// A figure of a model over the test images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Of {
    /// Index in the study.
    pub model: usize,
    pub measure: Measure,
}

/// What is measured. Noise is named by its variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Accuracy averaged over the classes.
    Accuracy(f64),
    /// Share of a class rightly classified.
    Class(usize, f64),
    /// Share of the images of a class that are called another.
    Called(usize, usize, f64),
    /// Share of the images of all other classes that are called this one.
    Pull(usize, f64),
    /// Proved delta max, the median over the images.
    Radius(f64),
    /// Share of images right and proved to stay so at this delta.
    Proved(f64),
    /// Share of relevance on the contour.
    Contour(RelevanceKind, f64),
    /// Share of relevance on the background.
    Background(RelevanceKind, f64),
    /// How much larger the share on the background is under noise of this variance than without.
    Turned(RelevanceKind, f64),
}

/// An [`Of`] to look up: numbers in place of a variance.
pub(super) type Key = (usize, u8, usize, usize, u64);

impl Of {
    pub(super) fn key(self) -> Key {
        let (tag, a, b, at) = match self.measure {
            Measure::Accuracy(v) => (0, 0, 0, v),
            Measure::Class(c, v) => (1, c, 0, v),
            Measure::Called(from, to, v) => (2, from, to, v),
            Measure::Pull(c, v) => (3, c, 0, v),
            Measure::Radius(v) => (4, 0, 0, v),
            Measure::Proved(delta) => (5, 0, 0, delta),
            Measure::Contour(kind, v) => (6, kind as usize, 0, v),
            Measure::Background(kind, v) => (7, kind as usize, 0, v),
            Measure::Turned(kind, v) => (8, kind as usize, 0, v),
        };
        (self.model, tag, a, b, at.to_bits())
    }
}

impl Measure {
    /// For the file of all comparisons.
    pub fn describe(self, classes: &[String]) -> String {
        let class = |c: usize| classes.get(c).map_or("?", String::as_str);
        match self {
            Measure::Accuracy(v) => format!("accuracy over the classes at variance {v}"),
            Measure::Class(c, v) => format!("{} right at variance {v}", class(c)),
            Measure::Called(from, to, v) => format!("{} called {} at variance {v}", class(from), class(to)),
            Measure::Pull(c, v) => format!("others called {} at variance {v}", class(c)),
            Measure::Radius(v) => format!("median proved delta max at variance {v}"),
            Measure::Proved(delta) => format!("right and proved at {delta}"),
            Measure::Contour(kind, v) => format!("relevance ({kind:?}) on the contour at variance {v}"),
            Measure::Background(kind, v) => format!("relevance ({kind:?}) on the background at variance {v}"),
            Measure::Turned(kind, v) => format!("relevance ({kind:?}) moved to the background at variance {v}"),
        }
    }

    pub fn over(self) -> Over {
        match self {
            Measure::Radius(_) => Over::Median,
            _ => Over::Mean,
        }
    }
}

/// The measure of every image, training by training; trainings without it are left out.
pub fn values(study: &Study, of: Of) -> Vec<BTreeMap<usize, f64>> {
    let Some(model) = study.models.get(of.model) else { return Vec::new() };
    let each = model.trained().map(|t| of_training(study, &t, of.measure));
    each.filter(|values| !values.is_empty()).collect()
}

fn of_training(study: &Study, t: &Trained<'_>, measure: Measure) -> BTreeMap<usize, f64> {
    match measure {
        Measure::Accuracy(v) => {
            let right = answers(study, t, v, None, |label, called| label == called);
            let labels = labels(study, t, v);
            let mut counts = vec![0.0f64; study.dataset.classes.len()];
            right.keys().for_each(|i| counts[labels[i]] += 1.0);
            let known = counts.iter().filter(|n| **n > 0.0).count() as f64;
            let all = right.len() as f64;
            // The mean of these is the mean of the classes' rates.
            right.into_iter().map(|(i, r)| (i, r * all / (known * counts[labels[&i]]))).collect()
        }
        Measure::Class(class, v) => answers(study, t, v, Some(class), |label, called| label == called),
        Measure::Called(from, to, v) => answers(study, t, v, Some(from), |_, called| called == to),
        Measure::Pull(class, v) => {
            let labels = labels(study, t, v);
            let mut all = answers(study, t, v, None, |_, called| called == class);
            all.retain(|i, _| labels[i] != class);
            all
        }
        Measure::Radius(v) => t.rows_at(v).map(|r| (r.index, r.proved)).collect(),
        Measure::Proved(delta) => {
            let right = |stable: bool| f64::from(u8::from(stable));
            t.rows_at(0.0).map(|r| (r.index, right(r.label == r.predicted && r.proved >= delta))).collect()
        }
        Measure::Contour(kind, v) => shares(t, kind, v, |s| s.contour),
        Measure::Background(kind, v) => shares(t, kind, v, |s| s.background),
        Measure::Turned(kind, v) => {
            let clean = shares(t, kind, 0.0, |s| s.background);
            let noisy = shares(t, kind, v, |s| s.background);
            noisy.into_iter().filter_map(|(i, s)| Some((i, s - clean.get(&i)?))).collect()
        }
    }
}

/// Share of the noise draws in which what an image was called passes `test`. Without answers of the sweep, of the images
/// certified.
fn answers(
    study: &Study,
    t: &Trained<'_>,
    variance: f64,
    class: Option<usize>,
    test: impl Fn(usize, usize) -> bool,
) -> BTreeMap<usize, f64> {
    let wanted = |label: usize| class.is_none_or(|c| c == label);
    let score = |label, called| f64::from(u8::from(test(label, called)));
    match level(t, variance) {
        Some(l) => {
            let draws = l.called.len() as f64;
            let of = |i: usize, label: usize| l.called.iter().map(|c| score(label, c[i])).sum::<f64>() / draws;
            let labels = study.dataset.test_labels.iter().copied().enumerate();
            labels.filter(|(_, label)| wanted(*label)).map(|(i, label)| (i, of(i, label))).collect()
        }
        None => {
            let rows = t.rows_at(variance).filter(|r| wanted(r.label));
            rows.map(|r| (r.index, score(r.label, r.predicted))).collect()
        }
    }
}

/// The class of every image that [`answers`] knows.
fn labels(study: &Study, t: &Trained<'_>, variance: f64) -> BTreeMap<usize, usize> {
    match level(t, variance) {
        Some(_) => study.dataset.test_labels.iter().copied().enumerate().collect(),
        None => t.rows_at(variance).map(|r| (r.index, r.label)).collect(),
    }
}

/// The noise level, where it kept what every image was called.
fn level<'a>(t: &Trained<'a>, variance: f64) -> Option<&'a NoiseLevel> {
    t.sweep.iter().find(|l| l.variance == variance && !l.called.is_empty())
}

fn shares(t: &Trained<'_>, kind: RelevanceKind, variance: f64, of: fn(&Shares) -> f64) -> BTreeMap<usize, f64> {
    let found = t.relevance.iter().find(|r| r.kind == kind && r.variance == variance);
    found.map_or_else(BTreeMap::new, |r| r.each.iter().map(|(i, s)| (*i, of(s))).collect())
}
