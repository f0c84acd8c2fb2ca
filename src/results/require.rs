//! What a model has to reach before it is used: `accuracy>=0.9,class>=0.8,proved@2/255>=0.7`.

use super::{ModelResult, Trained, quantile};
use crate::error::{Error, Result};
use crate::norm::Norm;
use serde::{Deserialize, Serialize};

/// A list of requirements; all have to be met.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requirements(pub Vec<Requirement>);

/// One figure and its least value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    /// As it was written.
    pub text: String,
    /// What is measured.
    pub figure: Required,
    /// The value it is to reach, in the figure's unit.
    pub least: f64,
}

/// A figure that can be required, of the whole test set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Required {
    /// Share of images rightly classified under noise of this variance.
    Accuracy(f64),
    /// The same of the class of which least are.
    Class(f64),
    /// Share of the certified images that are right and proved to stay so at this delta, by the norm of the run.
    Proved(f64),
    /// Median proved delta max, by the norm of the run.
    Median,
}

/// A model set beside a requirement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The model's name.
    pub model: String,
    /// The requirement as it was written.
    pub requirement: String,
    /// The value it is to reach, in the figure's unit.
    pub least: f64,
    /// The figure of every training that was measured.
    pub values: Vec<f64>,
    /// Whether every training reaches it. False where it was not measured.
    pub met: bool,
}

const FORM: &str = "expected figures with their least values such as \
accuracy>=0.9,class>=0.8,accuracy@0.005>=0.85,proved@2/255>=0.7,median>=1/255";

impl std::str::FromStr for Requirements {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        let all: Vec<Requirement> = parts.map(requirement).collect::<std::result::Result<_, _>>()?;
        if all.is_empty() { Err(FORM.into()) } else { Ok(Requirements(all)) }
    }
}

fn requirement(text: &str) -> std::result::Result<Requirement, String> {
    let wrong = |what: &str| format!("{text:?}: {what}; {FORM}");
    let (figure, least) = text.split_once(">=").ok_or_else(|| wrong("no >= in it"))?;
    let (name, at) = match figure.split_once('@') {
        Some((name, at)) => (name.trim(), Some(at)),
        None => (figure.trim(), None),
    };
    // Euclidean lengths may be larger than 1; see `check_norm`.
    let most = |radius: bool| if radius { f64::INFINITY } else { 1.0 };
    let at =
        at.map(|at| value(at, most(name == "proved")).ok_or_else(|| wrong("what follows @ is no number from 0 to 1")));
    let at = at.transpose()?;
    let least =
        value(least, most(name == "median")).ok_or_else(|| wrong("the least value is no number from 0 to 1"))?;
    let figure = match (name, at) {
        ("accuracy", at) => Required::Accuracy(at.unwrap_or(0.0)),
        ("class", at) => Required::Class(at.unwrap_or(0.0)),
        ("proved", Some(at)) => Required::Proved(at),
        ("proved", None) => return Err(wrong("at which delta? proved@2/255>=0.7")),
        ("median", None) => Required::Median,
        ("median", Some(_)) => return Err(wrong("median takes no @")),
        _ => return Err(wrong("not a figure; there are accuracy, class, proved and median")),
    };
    Ok(Requirement { text: text.split_whitespace().collect(), figure, least })
}

/// `0.7`, `70%` or `2/255`, from 0 to `most`, and finite.
fn value(text: &str, most: f64) -> Option<f64> {
    let text = text.trim();
    let number = |t: &str| t.trim().parse::<f64>().ok();
    let value = match (text.split_once('/'), text.strip_suffix('%')) {
        (Some((above, below)), _) => number(above)? / number(below)?,
        (_, Some(percent)) => number(percent)? / 100.0,
        _ => number(text)?,
    };
    (value.is_finite() && (0.0..=most).contains(&value)).then_some(value)
}

impl Requirements {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The model beside every requirement: each of its trainings has to meet them all, so that no seed decides.
    pub fn judge(&self, model: &ModelResult) -> Vec<Judged> {
        let one = |r: &Requirement| {
            let measured: Vec<Option<f64>> = model.trained().map(|t| figure(&t, r.figure)).collect();
            let met = measured.iter().all(|v| v.is_some_and(|v| v >= r.least));
            let values = measured.into_iter().flatten().collect();
            Judged { model: model.name.clone(), requirement: r.text.clone(), least: r.least, values, met }
        };
        self.0.iter().map(one).collect()
    }

    /// Refuses radii that no image has.
    ///
    /// # Errors
    /// [`Error::Usage`] for changes of every pixel by more than from black to white.
    pub fn check_norm(&self, norm: Norm) -> Result<()> {
        let radius = |r: &Requirement| match r.figure {
            Required::Proved(delta) => delta,
            Required::Median => r.least,
            Required::Accuracy(_) | Required::Class(_) => 0.0,
        };
        match self.0.iter().find(|r| !norm.allows(radius(r))) {
            Some(r) => {
                Err(Error::usage(format!("{}: no pixel moves by more than 1; two grey levels are 2/255", r.text)))
            }
            None => Ok(()),
        }
    }

    /// Refuses requirements on noise that is not measured.
    ///
    /// # Errors
    /// [`Error::Usage`] with the variances that are.
    pub fn check_variances(&self, measured: &[f64]) -> Result<()> {
        for r in &self.0 {
            let (Required::Accuracy(v) | Required::Class(v)) = r.figure else { continue };
            if !measured.contains(&v) {
                let known: Vec<String> = measured.iter().map(f64::to_string).collect();
                let problem = format!("{}: noise of variance {v} is not measured, only {}", r.text, known.join(", "));
                return Err(Error::usage(problem));
            }
        }
        Ok(())
    }
}

/// The figure of one training; `None` where it was not measured.
fn figure(trained: &Trained<'_>, figure: Required) -> Option<f64> {
    let level = |v: f64| trained.sweep.iter().find(|l| l.variance == v);
    let rows = |v: f64| trained.rows_at(v);
    let share = |hits: usize, of: usize| (of > 0).then(|| hits as f64 / of as f64);
    match figure {
        Required::Accuracy(v) => level(v)
            .map(|l| l.accuracy.mean)
            .or_else(|| share(rows(v).filter(|r| r.label == r.predicted).count(), rows(v).count())),
        Required::Class(v) => match level(v) {
            Some(l) => (0..l.confusion.len()).filter_map(|c| l.class_rate(c)).reduce(f64::min),
            None => {
                let classes: std::collections::BTreeSet<usize> = rows(v).map(|r| r.label).collect();
                let rate = |c: &usize| {
                    let of = rows(v).filter(|r| r.label == *c);
                    share(of.clone().filter(|r| r.predicted == *c).count(), of.count())
                };
                classes.iter().filter_map(rate).reduce(f64::min)
            }
        },
        Required::Proved(delta) => {
            let stable = rows(0.0).filter(|r| r.label == r.predicted && r.proved >= delta).count();
            share(stable, rows(0.0).count())
        }
        Required::Median => {
            let mut radii: Vec<f64> = rows(0.0).map(|r| r.proved).collect();
            radii.sort_by(f64::total_cmp);
            Some(quantile(&radii, 0.5)).filter(|m| m.is_finite())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{CertifyRow, Repeat};

    #[test]
    fn requirements_are_read_and_refused_with_the_form() {
        let all: Requirements =
            "accuracy >= 0.9, class>=80%, proved@2/255>=0.7,accuracy@0.005>=1,median>=1/255".parse().unwrap();
        let figures: Vec<Required> = all.0.iter().map(|r| r.figure).collect();
        let expected = [
            Required::Accuracy(0.0),
            Required::Class(0.0),
            Required::Proved(2.0 / 255.0),
            Required::Accuracy(0.005),
            Required::Median,
        ];
        assert_eq!(figures, expected);
        assert_eq!((all.0[0].text.as_str(), all.0[1].least), ("accuracy>=0.9", 0.8));
        for wrong in
            ["", "accuracy", "accuracy>0.9", "speed>=1", "proved>=0.5", "accuracy>=2", "accuracy>=x", "median@1>=0"]
        {
            let said = wrong.parse::<Requirements>().unwrap_err();
            assert!(said.contains("accuracy>=0.9,class>=0.8"), "{wrong}: {said}");
        }
        let long: Requirements = "proved@2>=0.5,median>=1.5".parse().unwrap();
        assert!(long.check_norm(Norm::L2).is_ok() && all.check_norm(Norm::Linf).is_ok());
        assert!(long.check_norm(Norm::Linf).unwrap_err().to_string().contains("2/255"));
        assert!(all.check_variances(&[0.0]).unwrap_err().to_string().contains("0.005"));
    }

    #[test]
    fn every_training_has_to_meet_it() {
        let rows = |proved: f64| {
            let row = |i: usize| CertifyRow { label: i % 2, predicted: 0, proved, ..CertifyRow::default() };
            (0..10).map(row).collect::<Vec<_>>()
        };
        let repeat = Repeat { certify: rows(0.01), ..Repeat::default() };
        let model = ModelResult { certify: rows(0.1), repeats: vec![repeat], ..ModelResult::default() };
        let judged = |text: &str| text.parse::<Requirements>().unwrap().judge(&model).remove(0);
        assert_eq!(judged("proved@0.01>=0.5").values, [0.5, 0.5]);
        assert!(judged("proved@0.01>=0.5").met && judged("accuracy>=0.5").met);
        assert_eq!((judged("proved@0.05>=0.5").values, judged("proved@0.05>=0.5").met), (vec![0.5, 0.0], false));
        assert_eq!((judged("class>=0.1").values, judged("median>=0.01").met), (vec![0.0, 0.0], true));
        assert_eq!((judged("accuracy@0.1>=0").values, judged("accuracy@0.1>=0").met), (vec![], false));
    }
}
