//! Which model to ship: one rule, stated on the page, with what speaks against it.

use super::{both_units, ends, list, robustness};
use crate::report::chart::{number, percent};
use crate::report::stats;
use crate::results::{ModelResult, Study};
use std::cmp::Ordering;

/// A model may fall this far below the best clean accuracy and still be chosen for its robustness.
const TOLERANCE: f64 = 0.05;

/// Of a class recognised less than this the page warns.
const HALF: f64 = 0.5;

/// The rule in words, for the page.
pub const RULE: &str = "Accuracy on clean photos is averaged over the classes, so that a small class counts as much as a large one. Of the models within 5 points of the best in that, the one with the largest median proved delta max over the test set; where its lead over another is within the sampling error, the more accurate of the two. Where nothing was proved, the most accurate one under the strongest noise.";

/// The recommended model.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Index in the study.
    pub model: usize,
    pub why: String,
    /// What speaks against it.
    pub cautions: Vec<String>,
}

/// Applies [`RULE`]; `None` when nothing was measured that it needs.
pub fn choose(study: &Study) -> Option<Choice> {
    let robust = robustness(study);
    let median = |i: usize| robust.iter().find(|r| r.model == i).map(|r| r.median);
    let noisy = |i: usize| ends(&study.models[i]).map(|e| e.1.accuracy.mean);
    let clean =
        |i: usize| study.models[i].clean_accuracy().or_else(|| robust.iter().find(|r| r.model == i).map(|r| r.clean));
    let even = |i: usize| even_accuracy(&study.models[i]).or_else(|| clean(i));
    let best = (0..study.models.len()).filter_map(even).fold(f64::NAN, f64::max);
    let candidates: Vec<usize> = (0..study.models.len())
        .filter(|&i| even(i).is_some_and(|c| c >= best - TOLERANCE))
        .filter(|&i| if robust.is_empty() { noisy(i).is_some() } else { median(i).is_some() })
        .collect();
    let key = |i: usize| if robust.is_empty() { noisy(i) } else { median(i) }.unwrap_or(f64::NEG_INFINITY);
    let first = candidates.iter().copied().max_by(|&a, &b| key(a).total_cmp(&key(b)))?;
    let tied = |a: usize, b: usize| !robust.is_empty() && within_error(study, a, b);
    let equals = candidates.iter().copied().filter(|&i| i == first || tied(first, i));
    let model = equals.max_by(|&a, &b| even(a).partial_cmp(&even(b)).unwrap_or(Ordering::Equal))?;
    let name = |i: usize| &study.models[i].name;

    let mut why = Vec::new();
    if let (Some(mine), Some((class, rate))) = (even_accuracy(&study.models[model]), weakest(study, model)) {
        why.push(format!(
            "Averaged over the classes it recognises {} of clean photos; the weakest class is {class} with {}.",
            percent(mine),
            percent(rate)
        ));
    }
    if let Some(m) = median(model) {
        why.push(format!(
            "For half of the test images no noise of up to {} on every pixel can change its answer: proved.",
            both_units(m)
        ));
    }
    if let (Some(level), Some(rate)) = (ends(&study.models[model]).map(|e| e.1), noisy(model)) {
        why.push(format!("It classifies {} rightly at noise variance {}.", percent(rate), number(level.variance)));
    }

    let mut cautions = Vec::new();
    for i in (0..study.models.len()).filter(|&i| i != model) {
        let (Some(mine), Some(theirs)) = (median(model), median(i)) else { continue };
        let equal = tied(if theirs > mine { i } else { model }, if theirs > mine { model } else { i });
        if theirs > mine && !candidates.contains(&i) {
            let but = match (even_accuracy(&study.models[i]), weakest(study, i)) {
                (Some(rate), Some((class, least))) => format!(
                    "recognises {} averaged over the classes and {} of {class}",
                    percent(rate),
                    if least > 0.0 { format!("only {}", percent(least)) } else { "none".into() }
                ),
                _ => "is more than 5 points less accurate on clean images".into(),
            };
            let much = if equal { "about the same" } else { "a larger" };
            cautions.push(format!("{} has {much} median delta max, {}, but {but}.", name(i), both_units(theirs)));
        } else if candidates.contains(&i) && equal {
            cautions.push(format!("In delta max it and {} differ by less than the sampling error.", name(i)));
        }
    }
    let rival = (0..study.models.len()).filter(|&i| i != model).filter_map(|i| Some((clean(i)?, i)));
    let rival = rival.max_by(|a, b| a.0.total_cmp(&b.0));
    if let (Some(mine), Some((best, i))) = (clean(model), rival)
        && best - mine > 0.001
    {
        cautions.push(format!(
            "{} is more accurate on clean images ({} against {}).",
            name(i),
            percent(best),
            percent(mine)
        ));
    }
    let [clean_misses, noisy_misses] = [Level::Clean, Level::Noisiest].map(|l| missed(study, model, l));
    if !clean_misses.is_empty() {
        cautions.push(format!("Even without noise it recognises {}.", list(&clean_misses)));
    } else if !noisy_misses.is_empty() {
        cautions.push(format!("Under the strongest noise it recognises {}.", list(&noisy_misses)));
    }
    if let Some(mine) = noisy(model) {
        let rival = (0..study.models.len()).filter_map(|i| Some((noisy(i)?, i))).max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((rate, i)) = rival.filter(|r| r.0 > mine + 0.01) {
            cautions.push(format!(
                "{} is more accurate under the strongest noise ({} against {}).",
                name(i),
                percent(rate),
                percent(mine)
            ));
        }
    }
    Some(Choice { model, why: why.join(" "), cautions })
}

/// Whether the lead of `ahead` over `behind` in median proved delta max may be chance.
fn within_error(study: &Study, ahead: usize, behind: usize) -> bool {
    let [first, second] = [ahead, behind].map(|i| study.models[i].rows_at(0.0));
    stats::bootstrap_ratio(&stats::proved_pairs(first, second), study.seed).is_some_and(|[low, _]| low <= 1.0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Clean,
    Noisiest,
}

/// Accuracy on clean images, averaged over the classes.
pub fn even_accuracy(model: &ModelResult) -> Option<f64> {
    let clean = model.sweep.first().filter(|l| l.variance == 0.0)?;
    let rates: Vec<f64> = (0..clean.confusion.len()).filter_map(|c| clean.class_rate(c)).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

/// The class of which the model recognises least, clean, and its rate.
fn weakest(study: &Study, model: usize) -> Option<(&str, f64)> {
    let clean = study.models[model].sweep.first()?;
    let rates =
        study.dataset.classes.iter().enumerate().filter_map(|(c, name)| Some((name.as_str(), clean.class_rate(c)?)));
    rates.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Classes of which the model recognises less than half, with their rates: an average hides a small class.
fn missed(study: &Study, model: usize, level: Level) -> Vec<String> {
    let sweep = &study.models[model].sweep;
    let Some(found) = (if level == Level::Clean { sweep.first() } else { sweep.last() }) else { return Vec::new() };
    let judged = study.dataset.classes.iter().enumerate().filter_map(|(class, name)| {
        let rate = found.class_rate(class).filter(|r| *r < HALF)?;
        Some(if rate > 0.0 { format!("only {} of {name}", percent(rate)) } else { format!("none of {name}") })
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::results::CertifyRow;

    /// Radii of all images of a model, each a little larger than the last.
    fn certified(radius: f64) -> Vec<CertifyRow> {
        let row = |index| CertifyRow { index, proved: radius * (1.0 + 1e-3 * index as f64), ..Default::default() };
        (0..100).map(row).collect()
    }

    /// Two models: the first with the larger radii, and with these rates of the class of 20 images among 100.
    fn two(radii: [f64; 2], small: [f64; 2]) -> Study {
        let mut study = sample::study();
        study.dataset.classes.truncate(2);
        study.models.truncate(2);
        for (m, (radius, right)) in study.models.iter_mut().zip(radii.into_iter().zip(small)) {
            m.certify = certified(radius);
            m.sweep.truncate(1);
            m.sweep[0].draws = 1;
            m.sweep[0].confusion = vec![vec![80.0, 0.0], vec![20.0 - right, right]];
            m.sweep[0].accuracy.mean = (80.0 + right) / 100.0;
        }
        study
    }

    #[test]
    fn the_larger_radius_counts_unless_a_class_is_missed() {
        assert_eq!(choose(&two([0.02, 0.01], [16.0, 17.0])).unwrap().model, 0);
        let missed = choose(&two([0.02, 0.01], [9.0, 16.0])).unwrap();
        assert_eq!(missed.model, 1);
        assert!(missed.cautions.iter().any(|c| c.contains("only 45% of Slippers")), "{:?}", missed.cautions);
    }

    #[test]
    fn within_the_sampling_error_accuracy_counts() {
        let chosen = choose(&two([0.01, 0.01], [16.0, 17.0])).unwrap();
        assert_eq!(chosen.model, 1);
        assert!(chosen.cautions.iter().any(|c| c.contains("sampling error")), "{:?}", chosen.cautions);
    }
}
