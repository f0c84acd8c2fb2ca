//! What the figures say, in sentences: computed from a [`Study`], never typed in.

mod choice;
mod claims;
mod noise;
mod robustness;

pub use choice::{RULE, choose, even_accuracy};
pub use claims::claims;
pub use robustness::{Robust, reference_delta, robustness};

use crate::report::chart::{number, percent};
use crate::results::{Figure, Finding, ModelResult, NoiseLevel, Spread, Study};

/// All findings that the study's figures support, the most telling first.
pub fn findings(study: &Study) -> Vec<Finding> {
    let mut all = robustness::findings(study);
    all.extend(noise::findings(study));
    all
}

/// The three models of the case study, found by what they augmented rather than by name.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'a> {
    pub none: Option<&'a ModelResult>,
    pub one: Option<&'a ModelResult>,
    pub all: Option<&'a ModelResult>,
}

impl<'a> Roles<'a> {
    pub fn of(study: &'a Study) -> Roles<'a> {
        let classes = study.dataset.classes.len();
        let find = |test: &dyn Fn(usize) -> bool| study.models.iter().find(|m| test(m.augmented.len()));
        Roles { none: find(&|n| n == 0), one: find(&|n| n > 0 && n < classes), all: find(&|n| n > 0 && n == classes) }
    }
}

/// The clean and the noisiest level of a sweep, when they differ.
pub(super) fn ends(model: &ModelResult) -> Option<(&NoiseLevel, &NoiseLevel)> {
    let (first, last) = (model.sweep.first()?, model.sweep.last()?);
    (first.variance == 0.0 && last.variance > 0.0).then_some((first, last))
}

/// Share of all images, of classes other than `class`, that are called `class`.
pub(super) fn pull(level: &NoiseLevel, class: usize) -> f64 {
    let others = || level.confusion.iter().enumerate().filter(move |(c, _)| *c != class).map(|(_, row)| row);
    let total: f64 = others().flatten().sum();
    let taken: f64 = others().filter_map(|row| row.get(class)).sum();
    if total > 0.0 { taken / total } else { 0.0 }
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

pub(super) fn finding(title: impl Into<String>, sentence: impl Into<String>, figures: Vec<Figure>) -> Finding {
    Finding { title: title.into(), sentence: sentence.into(), figures }
}

/// `0.0217 (5.5/255)`; below one grey level with a second decimal.
pub fn both_units(delta: f64) -> String {
    let grey = delta * 255.0;
    let step = if grey.abs() < 1.0 { 100.0 } else { 10.0 };
    format!("{} ({}/255)", number(delta), number((grey * step).round() / step))
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
    let sign = if p > 0.0 { "+" } else { "" };
    format!("{sign}{} point{}", number(p), if p.abs() == 1.0 { "" } else { "s" })
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

/// Rates of a level in words: `93.1%`.
pub(super) fn rate(level: &NoiseLevel) -> String {
    percent(level.accuracy.mean)
}
