//! Which model to take: one rule, stated on the page, with what speaks against it.

use super::{Told, half_of, list, over_trainings, ranged};
use crate::report::chart::{number, percent, plural};
use crate::report::statistics::{Answer, Measure, deciding, median, twins};
use crate::results::{Conclusion, Judged, ModelResult, NoiseLevel, Outcome, Trained};

/// Of a class recognised less than this the page warns.
const HALF: f64 = 0.5;

/// The rule in words, for the page.
pub const RULE: &str = "Models are compared two by two in three figures: accuracy on clean images and under the strongest noise, both averaged over the classes so that a small class counts as much as a large one, and the median proved delta max. One is ahead of another if it is clearly better in one of the three and clearly worse in none. The model that no other is ahead of is the one to take; several that differ clearly in nothing are tied. Clearly means: more than the choice of the test images and the seeds of the trainings explain, with all comparisons of this page counted together. Where requirements were given (--require), only models that meet all of them in every training take part. A model that may as well guess takes no part.";

/// Applies [`RULE`]; `None` when nothing was measured that it needs.
pub fn conclude(told: &Told) -> Option<Conclusion> {
    let study = told.study;
    let groups = twins(study);
    // Whoever gives one answer to all is proved at any distance, and is no model to take.
    if !groups.iter().any(|g| measured(&study.models[g[0]])) {
        return None;
    }
    let kept: Vec<usize> = told.kept().into_iter().filter(|&i| measured(&study.models[i])).collect();
    let judged: Vec<Judged> = study.models.iter().flat_map(|m| study.requirements.judge(m)).collect();
    let meets = |i: usize| judged.iter().filter(|j| j.model == study.models[i].name).all(|j| j.met);
    let ready: Vec<usize> = kept.iter().copied().filter(|&i| meets(i)).collect();
    let required = !study.requirements.is_empty();

    let ahead = |a: usize, b: usize| is_ahead(told, a, b);
    let free: Vec<usize> = ready.iter().copied().filter(|&i| !ready.iter().any(|&j| ahead(j, i))).collect();
    let remain = if free.is_empty() { ready.clone() } else { free };
    let behind: Vec<usize> = ready.iter().copied().filter(|i| !remain.contains(i)).collect();
    let (outcome, sentence) = match remain[..] {
        [] if kept.is_empty() => (Outcome::NoneReady, all_guess(told, &groups)),
        [] => (Outcome::NoneReady, none_ready(told, &judged)),
        [one] if study.models.len() == 1 => {
            let name = told.name(one);
            let text = if required { format!("{name} meets everything that was required.") } else { String::new() };
            (Outcome::Single, text)
        }
        [_] if groups.len() == 1 => {
            (Outcome::Single, format!("{} are one and the same model.", names(told, &groups[0])))
        }
        [_] if kept.len() == 1 => (Outcome::Single, String::new()),
        [one] if behind.is_empty() => {
            (Outcome::Best, format!("Only {} meets everything that was required.", told.name(one)))
        }
        [one] => (Outcome::Best, best(told, one, &behind)),
        _ if differ(told, &remain) => (Outcome::EachItsOwn, each_its_own(told, &remain, &behind)),
        _ => (Outcome::Tied, tied(told, &remain, &behind)),
    };
    let shown = &remain[..remain.len().min(4)];
    let aside = (0..study.models.len()).filter(|&i| !kept.is_empty() && told.guesses(i)).map(|i| {
        let does =
            if told.constant(i).any(|a| a.is_some()) { "gives one answer to all images" } else { "may as well guess" };
        format!("{} {does}, and takes no part.", told.name(i))
    });
    Some(Conclusion {
        outcome,
        models: remain.iter().map(|&i| told.name(i).to_string()).collect(),
        sentence,
        why: shown.iter().map(|&i| figures(told, i)).collect(),
        cautions: shown.iter().flat_map(|&i| cautions(told, i)).chain(aside).collect(),
        identical: groups
            .iter()
            .filter(|g| g.len() > 1)
            .map(|g| g.iter().map(|&i| told.name(i).to_string()).collect())
            .collect(),
        judged,
    })
}

/// Whether there is anything to judge a model by.
fn measured(m: &ModelResult) -> bool {
    !m.certify.is_empty() || !m.sweep.is_empty()
}

fn is_ahead(told: &Told, a: usize, b: usize) -> bool {
    let answers = || deciding(told.study).into_iter().filter_map(move |m| told.compared.models(a, b, m));
    answers().any(|x| x.more()) && !answers().any(|x| x.less())
}

fn differ(told: &Told, models: &[usize]) -> bool {
    let clear = |a: usize, b: usize| {
        deciding(told.study).into_iter().filter_map(|m| told.compared.models(a, b, m)).any(|x| x.clear())
    };
    models.iter().any(|&a| models.iter().any(|&b| a != b && clear(a, b)))
}

fn names(told: &Told, models: &[usize]) -> String {
    list(&models.iter().map(|&i| told.name(i)).collect::<Vec<_>>())
}

/// What `a` is clearly better in than `b`.
fn strengths(told: &Told, a: usize, b: usize) -> Vec<String> {
    let better = deciding(told.study).into_iter().filter_map(|m| Some((m, told.compared.models(a, b, m)?)));
    better.filter(|(_, x)| x.more()).map(|(m, x)| format!("{} ({})", told.measure(m), told.size(m, &x))).collect()
}

fn best(told: &Told, one: usize, behind: &[usize]) -> String {
    let parts = behind.iter().map(|&b| {
        let found = strengths(told, one, b);
        // Behind one that is itself behind.
        if found.is_empty() {
            format!("{} is behind another", told.name(b))
        } else {
            format!("ahead of {} in {}", told.name(b), list(&found))
        }
    });
    format!("{} is {}, and clearly worse in nothing.", told.name(one), list(&parts.collect::<Vec<_>>()))
}

/// How many images and trainings a comparison rests on, in words.
fn basis(told: &Told, models: &[usize]) -> String {
    let any = |m: Measure| -> Option<Answer> { told.compared.models(models[0], models[1], m) };
    let answers: Vec<Answer> = deciding(told.study).into_iter().filter_map(any).collect();
    let images = answers.iter().map(|a| a.paired.images);
    let (least, most) = (images.clone().min().unwrap_or(0), images.max().unwrap_or(0));
    let trainings = answers.iter().map(|a| a.paired.trainings[0]).max().unwrap_or(1);
    let images = plural(most, "test image");
    let images = if least == most { images } else { format!("{least} to {images}") };
    match trainings {
        1 => format!("{images} and one training each"),
        n => format!("{images} and {n} trainings each"),
    }
}

fn tied(told: &Told, remain: &[usize], behind: &[usize]) -> String {
    let rest = match behind {
        [] => String::new(),
        _ => format!(
            " {} {} clearly behind one of them.",
            names(told, behind),
            if behind.len() == 1 { "is" } else { "are" }
        ),
    };
    format!(
        "{} are tied: over {} no difference between them in accuracy or in proved delta max is more than chance.{rest}",
        names(told, remain),
        basis(told, remain)
    )
}

fn each_its_own(told: &Told, remain: &[usize], behind: &[usize]) -> String {
    let mut parts = Vec::new();
    for &a in remain {
        for &b in remain.iter().filter(|&&b| b != a) {
            let found = strengths(told, a, b);
            if !found.is_empty() {
                parts.push(format!("{} is better than {} in {}", told.name(a), told.name(b), list(&found)));
            }
        }
    }
    parts.truncate(4);
    let rest = if behind.is_empty() { String::new() } else { format!(" Clearly behind: {}.", names(told, behind)) };
    format!(
        "No model wins in everything: {}.{rest} What counts more is yours to say (--require of study and gate).",
        parts.join("; ")
    )
}

fn none_ready(told: &Told, judged: &[Judged]) -> String {
    let missed = |m: &ModelResult| {
        let of = judged.iter().filter(|j| j.model == m.name && !j.met);
        let each = of.map(|j| match &j.values[..] {
            [] => format!("{} was not measured", j.requirement),
            values => {
                let worst = values.iter().copied().fold(f64::INFINITY, f64::min);
                let where_ = if values.len() > 1 { " in its worst training" } else { "" };
                format!("{} ({}{where_})", j.requirement, plainly(told, &j.requirement, worst))
            }
        });
        format!("{} misses {}", m.name, list(&each.collect::<Vec<_>>()))
    };
    let parts: Vec<String> = told.study.models.iter().take(4).map(missed).collect();
    format!("No model meets everything that was required: {}.", parts.join("; "))
}

/// Where no model answers clearly better than by chance.
fn all_guess(told: &Told, groups: &[Vec<usize>]) -> String {
    let images = told.study.dataset.test_labels.len();
    let who = match groups {
        [only] if only.len() == 1 => format!("{} is not", told.name(0)),
        [only] => format!("{} are one and the same model. It is not", names(told, only)),
        _ => "No model is".into(),
    };
    format!("{who} clearly better than guessing: {} do not show more.", plural(images, "test image"))
}

/// The value of a requirement as it is best read.
fn plainly(told: &Told, requirement: &str, value: f64) -> String {
    if requirement.starts_with("median") { told.study.norm.size(value) } else { percent(value) }
}

/// A model's figures in a sentence, as ranges over its trainings.
fn figures(told: &Told, model: usize) -> String {
    let study = told.study;
    let m = &study.models[model];
    let each = |f: &dyn Fn(&Trained) -> Option<f64>| m.trained().filter_map(|t| f(&t)).collect::<Vec<f64>>();
    let mut parts = Vec::new();
    let clean = each(&|t| even_accuracy(t.sweep.first().filter(|l| l.variance == 0.0)?));
    if !clean.is_empty() {
        parts.push(format!("{} of clean images right", ranged(&clean, percent)));
    }
    if let Some(noise) = told.noisiest(model) {
        let noisy = each(&|t| even_accuracy(t.sweep.last()?));
        parts.push(format!("{} at noise variance {}", ranged(&noisy, percent), number(noise)));
    }
    let medians = each(&|t| Some(median(t.rows_at(0.0).map(|r| r.proved))).filter(|m| m.is_finite()));
    if !medians.is_empty() {
        parts.push(format!(
            "for {} no noise of up to {} {} can change the answer, proved",
            half_of(m.rows_at(0.0).count()),
            ranged(&medians, |v| study.norm.short(v)),
            study.norm.on()
        ));
    }
    let count = m.trained().count();
    format!("{}{}: {}.", m.name, over_trainings(count), list(&parts))
}

fn cautions(told: &Told, model: usize) -> Vec<String> {
    let m = &told.study.models[model];
    let levels = m.levels();
    let mut all = Vec::new();
    for level in [levels.first(), levels.last().filter(|_| levels.len() > 1)].into_iter().flatten() {
        let missed = missed(told, level);
        if !missed.is_empty() {
            let when = if level.variance == 0.0 {
                "Even without noise".into()
            } else {
                format!("At noise variance {}", number(level.variance))
            };
            all.push(format!("{when} {} recognises {}.", m.name, list(&missed)));
            break;
        }
    }
    all
}

/// Accuracy averaged over the classes.
pub fn even_accuracy(level: &NoiseLevel) -> Option<f64> {
    let rates: Vec<f64> = (0..level.confusion.len()).filter_map(|c| level.class_rate(c)).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

/// Classes of which less than half is recognised, with their rates and numbers: an average hides a small class. Of many,
/// the worst.
fn missed(told: &Told, level: &NoiseLevel) -> Vec<String> {
    const NAMED: usize = 5;
    let classes = &told.study.dataset.classes;
    let rates = (0..classes.len()).filter_map(|class| Some((class, level.class_rate(class).filter(|r| *r < HALF)?)));
    let mut missed: Vec<(usize, f64)> = rates.collect();
    if missed.len() > NAMED {
        missed.sort_by(|a, b| a.1.total_cmp(&b.1));
    }
    let judged = missed.iter().take(NAMED).map(|&(class, rate)| {
        let name = &classes[class];
        let images = told.study.dataset.test_counts.get(class).copied().unwrap_or(0);
        let of = format!("{name} ({})", plural(images, "image"));
        if rate > 0.0 { format!("only {} of {of}", percent(rate)) } else { format!("none of {of}") }
    });
    let mut said: Vec<String> = judged.collect();
    match missed.len().saturating_sub(NAMED) {
        0 => {}
        1 => said.push("less than half of one class more".into()),
        more => said.push(format!("less than half of {more} classes more")),
    }
    said
}
