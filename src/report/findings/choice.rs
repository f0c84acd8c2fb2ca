//! Which model to ship: one rule, stated on the page, with what speaks against it.

use super::{both_units, ends, list, robustness};
use crate::report::chart::{number, percent};
use crate::report::stats;
use crate::results::Study;

/// A model may fall this far below the best clean accuracy and still be chosen for its robustness.
const TOLERANCE: f64 = 0.05;

/// The rule in words, for the page.
pub const RULE: &str = "Of the models within 5 points of the best clean accuracy, the one with the largest median proved delta max over the test set; where nothing was proved, the most accurate one under the strongest noise.";

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
    let key = |&i: &usize| if robust.is_empty() { noisy(i) } else { median(i) }.unwrap_or(f64::NEG_INFINITY);
    let model = candidates.iter().copied().max_by(|a, b| key(a).total_cmp(&key(b)))?;
    let name = |i: usize| &study.models[i].name;

    let mut why = match median(model) {
        Some(m) => format!("Half of the test images are proved stable up to {} on every pixel", both_units(m)),
        None => String::new(),
    };
    if let (Some(level), Some(rate)) = (ends(&study.models[model]).map(|e| e.1), noisy(model)) {
        why += &match why.is_empty() {
            true => format!("It classifies {} rightly at noise variance {}", percent(rate), number(level.variance)),
            false => format!("; it classifies {} rightly at noise variance {}", percent(rate), number(level.variance)),
        };
    }
    why.push('.');

    let mut cautions = Vec::new();
    let runner_up = candidates.iter().copied().filter(|&i| i != model).max_by(|a, b| key(a).total_cmp(&key(b)));
    if let Some(other) = runner_up.filter(|_| !robust.is_empty()) {
        let [mine, theirs] = [model, other].map(|i| study.models[i].rows_at(0.0));
        if stats::bootstrap_ratio(&stats::proved_pairs(mine, theirs), study.seed).is_some_and(|[low, _]| low <= 1.0) {
            cautions.push(format!("Its lead over {} in delta max is within the sampling error.", name(other)));
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
    cautions.extend(missed(study, model));
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
    for i in 0..study.models.len() {
        if !candidates.contains(&i) && median(i) > median(model) {
            cautions.push(format!("{} is more robust, but more than 5 points less accurate on clean images.", name(i)));
        }
    }
    Some(Choice { model, why, cautions })
}

/// Classes of which the chosen model recognises less than half, clean: an average hides a small class.
fn missed(study: &Study, model: usize) -> Option<String> {
    let rate = |m: usize, class: usize| study.models[m].sweep.first().and_then(|l| l.class_rate(class));
    let parts: Vec<String> = (0..study.dataset.classes.len())
        .filter_map(|class| {
            let mine = rate(model, class).filter(|r| *r < 0.5)?;
            let others = (0..study.models.len()).filter(|&i| i != model).filter_map(|i| Some((rate(i, class)?, i)));
            let better = others.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|b| b.0 > mine);
            let best = better.map_or(String::new(), |(r, i)| format!(", {} {}", study.models[i].name, percent(r)));
            Some(format!("{} of the {} ({}{best})", words(mine), study.dataset.classes[class], percent(mine)))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("Even without noise it recognises {}.", list(&parts)))
}

fn words(rate: f64) -> &'static str {
    if rate == 0.0 { "none" } else { "less than half" }
}
