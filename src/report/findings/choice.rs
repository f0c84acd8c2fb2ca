//! Which model to ship: one rule, stated on the page, with what speaks against it.

use super::{both_units, ends, list, robustness};
use crate::report::chart::{number, percent};
use crate::report::stats;
use crate::results::Study;
use std::cmp::Ordering;

/// A model may fall this far below the best clean accuracy and still be chosen for its robustness.
const TOLERANCE: f64 = 0.05;

/// A model that recognises less of a class than this, clean, is not chosen where another does better.
const RECOGNISED: f64 = 0.5;

/// Fewer test images than this say too little about a class to rule a model out.
const ENOUGH: f64 = 5.0;

/// The rule in words, for the page.
pub const RULE: &str = "Of the models within 5 points of the best clean accuracy, those come first that recognise at least half of every class on clean photos (classes with fewer than 5 test images aside). Of these, the one with the largest median proved delta max over the test set; where its lead over another is within the sampling error, the more accurate of the two on clean photos. Where nothing was proved, the most accurate one under the strongest noise.";

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
    let best_clean = (0..study.models.len()).filter_map(clean).fold(f64::NAN, f64::max);
    let candidates: Vec<usize> = (0..study.models.len())
        .filter(|&i| clean(i).is_some_and(|c| c >= best_clean - TOLERANCE))
        .filter(|&i| if robust.is_empty() { noisy(i).is_some() } else { median(i).is_some() })
        .collect();
    let able: Vec<usize> =
        candidates.iter().copied().filter(|&i| missed(study, i, Level::Clean, ENOUGH).is_empty()).collect();
    let fair = if able.is_empty() { &candidates } else { &able };
    let key = |i: usize| if robust.is_empty() { noisy(i) } else { median(i) }.unwrap_or(f64::NEG_INFINITY);
    let first = fair.iter().copied().max_by(|&a, &b| key(a).total_cmp(&key(b)))?;
    let tied = |a: usize, b: usize| !robust.is_empty() && within_error(study, a, b);
    let equals = fair.iter().copied().filter(|&i| i == first || tied(first, i));
    let model = equals.max_by(|&a, &b| clean(a).partial_cmp(&clean(b)).unwrap_or(Ordering::Equal))?;
    let name = |i: usize| &study.models[i].name;

    let mut why = Vec::new();
    if able.len() == 1 && candidates.len() > 1 {
        why.push("The only model that recognises at least half of every class.".to_string());
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
            cautions.push(format!("{} is more robust, but more than 5 points less accurate on clean images.", name(i)));
        } else if theirs > mine && !fair.contains(&i) {
            cautions.push(format!(
                "{} has {} median delta max, {}, but recognises only {} on clean images.",
                name(i),
                if equal { "about the same" } else { "a larger" },
                both_units(theirs),
                list(&missed(study, i, Level::Clean, ENOUGH))
            ));
        } else if fair.contains(&i) && equal {
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
    let [clean_misses, noisy_misses] = [Level::Clean, Level::Noisiest].map(|l| missed(study, model, l, 1.0));
    if !clean_misses.is_empty() {
        cautions.push(format!("Even without noise it recognises only {}.", list(&clean_misses)));
    } else if !noisy_misses.is_empty() {
        cautions.push(format!("Under the strongest noise it recognises only {}.", list(&noisy_misses)));
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

/// Classes of at least `least` images of which the model recognises less than half, with their rates: an average hides a
/// small class.
fn missed(study: &Study, model: usize, level: Level, least: f64) -> Vec<String> {
    let sweep = &study.models[model].sweep;
    let Some(found) = (if level == Level::Clean { sweep.first() } else { sweep.last() }) else { return Vec::new() };
    let judged = study.dataset.classes.iter().enumerate().filter_map(|(class, name)| {
        let images = found.confusion.get(class)?.iter().sum::<f64>() / found.draws.max(1) as f64;
        let rate = found.class_rate(class).filter(|r| *r < RECOGNISED && images >= least)?;
        Some(format!("{} of {name}", percent(rate)))
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
        let missed = choose(&two([0.02, 0.01], [9.0, 11.0])).unwrap();
        assert_eq!(missed.model, 1);
        assert!(missed.cautions.iter().any(|c| c.contains("45% of Slippers")), "{:?}", missed.cautions);
        assert_eq!(choose(&two([0.02, 0.01], [8.0, 9.0])).unwrap().model, 0, "no model recognises the class");
    }

    #[test]
    fn within_the_sampling_error_accuracy_counts() {
        let chosen = choose(&two([0.01, 0.01], [16.0, 17.0])).unwrap();
        assert_eq!(chosen.model, 1);
        assert!(chosen.cautions.iter().any(|c| c.contains("sampling error")), "{:?}", chosen.cautions);
    }
}
