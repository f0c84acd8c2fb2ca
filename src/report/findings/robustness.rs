//! Findings about delta max: which model is most robust, by how much, and whether accuracy would have told.

use super::{Told, delta, even_accuracy, finding, list, plain, ranged, share};
use crate::report::chart::{number, percent, plural};
use crate::report::statistics::{Measure, median, right_radii, share_at_least, sorted};
use crate::results::{Finding, ModelResult, Study, quantile};

/// Robustness of one model over the clean test set.
#[derive(Clone, Debug)]
pub struct Robust {
    /// Index of the model in the study.
    pub model: usize,
    /// Median proved delta max over the images: the mean over the trainings, and each.
    pub median: f64,
    pub medians: Vec<f64>,
    /// Share of images rightly classified, as certified.
    pub clean: f64,
    /// Share of images right and proved at [`reference_delta`].
    pub certified: f64,
    /// Share of images right and not broken by an attack there; `None` when no attack was run.
    pub attacked: Option<f64>,
    /// Images certified, by one training.
    pub images: usize,
}

/// The delta at which certified accuracies are compared: a round radius near the largest median.
pub fn reference_delta(study: &Study) -> f64 {
    let best = study.models.iter().map(|m| median(m.all_rows_at(0.0).map(|r| r.proved))).fold(0.0, f64::max);
    study.norm.round(best)
}

/// One entry per model with certified clean images.
pub fn robustness(study: &Study) -> Vec<Robust> {
    let at = reference_delta(study);
    let measured = |(model, m): (usize, &ModelResult)| {
        let all = m.all_rows_at(0.0).count();
        if all == 0 {
            return None;
        }
        let (proved, broken) = right_radii(m.all_rows_at(0.0));
        let tried = m.all_rows_at(0.0).any(|r| r.attacked.is_some());
        let medians: Vec<f64> = m
            .trained()
            .filter(|t| t.rows_at(0.0).next().is_some())
            .map(|t| median(t.rows_at(0.0).map(|r| r.proved)))
            .collect();
        Some(Robust {
            model,
            median: medians.iter().sum::<f64>() / medians.len() as f64,
            medians,
            clean: proved.len() as f64 / all as f64,
            certified: share_at_least(&proved, at, all),
            attacked: tried.then(|| share_at_least(&broken, at, all)),
            images: m.rows_at(0.0).count(),
        })
    };
    study.models.iter().enumerate().filter_map(measured).collect()
}

pub(super) fn findings(told: &Told) -> Vec<Finding> {
    let kept = told.kept();
    let all: Vec<Robust> = robustness(told.study).into_iter().filter(|r| kept.contains(&r.model)).collect();
    let mut out = Vec::new();
    out.extend(identical(told));
    out.extend((0..told.study.models.len()).filter_map(|m| constant(told, m).or_else(|| guesses(told, m))));
    out.extend(most_robust(told, &all));
    out.extend(rankings(told, &all));
    out.extend(rivals(told, &all));
    out.extend(gap(told, &all));
    out.extend(under_noise(told, &all));
    out
}

/// `half of 100 images`: whose figure a median is.
pub(super) fn half_of(images: usize) -> String {
    if images == 1 { "the one image".into() } else { format!("half of {}", plural(images, "image")) }
}

/// Models that are one.
fn identical(told: &Told) -> Option<Finding> {
    let groups = crate::report::statistics::twins(told.study).into_iter().filter(|g| g.len() > 1);
    let names: Vec<String> = groups.map(|g| list(&g.iter().map(|&i| told.name(i)).collect::<Vec<_>>())).collect();
    let sentence = format!(
        "{}. Such models are compared with the others once, under the first of their names, and not with each other.",
        names.iter().map(|n| format!("{n} are the same model")).collect::<Vec<_>>().join("; ")
    );
    (!names.is_empty()).then(|| finding("identical", "Some models are the same one", sentence, vec![]))
}

/// Why a model that says one thing is no robust one.
pub const ONE_ANSWER: &str =
    "One answer to everything holds at any distance, so that its delta max is large and means nothing";

/// A model that has learned to say one thing.
fn constant(told: &Told, model: usize) -> Option<Finding> {
    let m = &told.study.models[model];
    let trainings = told.constant(model).count();
    let answers: Vec<usize> = told.constant(model).flatten().collect();
    let mut classes = answers.clone();
    classes.sort_unstable();
    classes.dedup();
    let classes: Vec<&str> = classes.into_iter().map(|c| told.class(c)).collect();
    let images = m.sweep.first()?.confusion.iter().flatten().sum::<f64>() / m.sweep.first()?.draws.max(1) as f64;
    let of = if trainings > 1 { format!(" in {} of {trainings} trainings", answers.len()) } else { String::new() };
    let remedy = match m.training.iter().any(|e| e.delta.is_some()) {
        true => "Train it again in smaller boxes (--certified), or for more --epochs",
        false => "Train it again for more --epochs, or on more images",
    };
    let sentence = format!(
        "{} calls all {images} clean test images {}{of}. {ONE_ANSWER}; it is left out of the comparisons in words. {remedy}.",
        m.name,
        list(&classes)
    );
    let title = format!("{} gives one answer to all", m.name);
    let figures = vec![plain(format!("{}, trainings with one answer", m.name), answers.len() as f64)];
    (!answers.is_empty()).then(|| finding("constant", title, sentence, figures))
}

/// A model whose right answers may be luck.
fn guesses(told: &Told, model: usize) -> Option<Finding> {
    let m = &told.study.models[model];
    let labels = &told.study.dataset.test_labels;
    let classes = labels.iter().collect::<std::collections::BTreeSet<_>>().len();
    let clean = m.trained().filter_map(|t| t.sweep.first().and_then(even_accuracy));
    let (trainings, worst) = clean.fold((0, f64::INFINITY), |(n, worst), rate| (n + 1, worst.min(rate)));
    let of = if trainings > 1 { format!(" in the worst of {trainings} trainings") } else { String::new() };
    let remedy = match m.training.is_empty() {
        true => "Does it expect other input (--mean, --std, --input-range), or other names of classes?",
        false => "Train it for more --epochs, or on more images.",
    };
    let sentence = format!(
        "Averaged over the classes {} names {} of the clean images rightly{of}; guessing among the {classes} classes gives {}. Of {} that may be chance. What is proved of such answers is of little use; it is left out of the comparisons in words. {remedy}",
        m.name,
        percent(worst),
        percent(1.0 / classes as f64),
        plural(labels.len(), "test image"),
    );
    let title = format!("{} may as well guess", m.name);
    let figures = vec![share(format!("{}, accuracy over the classes", m.name), worst)];
    told.guesses(model).then(|| finding("guessing", title, sentence, figures))
}

fn most_robust(told: &Told, all: &[Robust]) -> Option<Finding> {
    let radius = Measure::Radius(0.0);
    let mut order: Vec<&Robust> = all.iter().collect();
    order.sort_by(|a, b| b.median.total_cmp(&a.median));
    let (best, rest) = order.split_first()?;
    let name = |r: &Robust| told.name(r.model);
    let figures: Vec<_> =
        order.iter().map(|r| delta(format!("{}, median proved delta max", name(r)), r.median)).collect();
    let half = |r: &Robust| format!("{} for {}", ranged(&r.medians, |v| told.study.norm.plain(v)), name(r));
    let trainings = best.medians.len();
    let in_brackets =
        if trainings > 1 { format!(" (in brackets the range over {trainings} trainings)") } else { String::new() };
    let mut sentence = format!(
        "Proved for {} certified: no noise up to this much {} changes the class{in_brackets}: {}.",
        half_of(best.images),
        told.study.norm.per(),
        list(&order.iter().map(|r| half(r)).collect::<Vec<_>>())
    );
    let answers: Vec<_> =
        rest.iter().filter_map(|r| Some((*r, told.compared.models(best.model, r.model, radius)?))).collect();
    let against = |clear: bool| {
        let of = answers.iter().filter(|(_, x)| x.more() == clear);
        of.map(|(r, x)| format!("{} by {}", name(r), told.size(radius, x))).collect::<Vec<_>>()
    };
    let (clear, close) = (against(true), against(false));
    if !clear.is_empty() {
        sentence += &format!(" {} is clearly ahead of {}.", name(best), list(&clear));
    }
    if !close.is_empty() {
        sentence += &format!(" {} leads {}, which may be chance.", name(best), list(&close));
    }
    let near: Vec<&str> = answers.iter().filter(|(_, x)| !x.more()).map(|(r, _)| name(r)).collect();
    let title = match (rest.len(), near.len()) {
        (0, _) => format!("How far {} is proved", name(best)),
        (n, 0) if answers.len() == n => format!("{} is the most robust model", name(best)),
        _ if answers.is_empty() => "Robustness of the models was not compared".to_string(),
        _ => {
            let all: Vec<&str> = std::iter::once(name(best)).chain(near).collect();
            format!("{} are too close to call on robustness", list(&all))
        }
    };
    Some(finding("robustness", title, sentence, figures))
}

/// Whether accuracy and robustness put the models in the same order.
fn rankings(told: &Told, all: &[Robust]) -> Option<Finding> {
    if all.len() < 2 {
        return None;
    }
    let [accuracy, radius] = [Measure::Accuracy(0.0), Measure::Radius(0.0)];
    let couples: Vec<_> = all
        .iter()
        .enumerate()
        .flat_map(|(k, a)| all[k + 1..].iter().map(move |b| (a.model, b.model)))
        .filter_map(|(a, b)| Some((a, b, told.compared.models(a, b, accuracy)?, told.compared.models(a, b, radius)?)))
        .collect();
    if couples.is_empty() {
        return None;
    }
    let clear = |which: usize| -> Vec<String> {
        let of = couples.iter().filter_map(|(a, b, x, y)| {
            let x = [x, y][which];
            let (first, second) = if x.paired.effect > 0.0 { (a, b) } else { (b, a) };
            x.clear().then(|| format!("{} above {}", told.name(*first), told.name(*second)))
        });
        of.collect()
    };
    let [by_accuracy, by_radius] = [0, 1].map(clear);
    let contrary: Vec<String> = couples
        .iter()
        .filter(|(_, _, x, y)| x.more() && y.less() || x.less() && y.more())
        .map(|(a, b, ..)| format!("{} and {}", told.name(*a), told.name(*b)))
        .collect();
    let title = match (by_accuracy.is_empty(), by_radius.is_empty()) {
        _ if !contrary.is_empty() => {
            format!("Accuracy and robustness rank {} in opposite order", contrary.join(", and "))
        }
        (true, true) => "Neither clean accuracy nor robustness tells the models apart".into(),
        (true, false) => "Clean accuracy does not tell the models apart; robustness does".into(),
        (false, true) => "Clean accuracy tells models apart; robustness does not".into(),
        (false, false) => "Where accuracy and robustness tell models apart, they do not contradict each other".into(),
    };
    let words = |measure: Measure, found: &[String]| match found {
        [] => format!("In {} no two models differ by more than chance.", told.measure(measure)),
        _ => format!("Clearly apart in {}: {}.", told.measure(measure), list(found)),
    };
    let sentence = format!("{} {}", words(accuracy, &by_accuracy), words(radius, &by_radius));
    let figures = all
        .iter()
        .map(|r| share(format!("{}, right among the images certified", told.name(r.model)), r.clean))
        .collect();
    Some(finding("rankings", title, sentence, figures))
}

/// The class that most often ends the proof: counts, without a comparison.
fn rivals(told: &Told, all: &[Robust]) -> Option<Finding> {
    let mut parts = Vec::new();
    let mut figures = Vec::new();
    for r in all {
        let mut counts = vec![0usize; told.study.dataset.classes.len()];
        told.study.models[r.model].all_rows_at(0.0).filter_map(|r| r.rival_proved).for_each(|r| counts[r] += 1);
        let total: usize = counts.iter().sum();
        let Some((rival, &count)) = counts.iter().enumerate().rev().max_by_key(|c| c.1).filter(|_| total > 0) else {
            continue;
        };
        let value = count as f64 / total as f64;
        parts.push(format!(
            "{} for {} ({} of {})",
            told.class(rival),
            told.name(r.model),
            percent(value),
            plural(total, "proof")
        ));
        figures.push(share(format!("{}: {}", told.name(r.model), told.class(rival)), value));
    }
    let sentence = format!(
        "The class that would take over first, counted over the images certified: most often {}.",
        list(&parts)
    );
    (!parts.is_empty()).then(|| finding("rivals", "What most often ends a proof", sentence, figures))
}

/// How much is left between proof and attack.
fn gap(told: &Told, all: &[Robust]) -> Option<Finding> {
    let mut parts = Vec::new();
    let mut figures = Vec::new();
    for r in all {
        let rows = told.study.models[r.model].all_rows_at(0.0).filter(|r| r.proved > 0.0);
        let ratios = sorted(rows.filter_map(|r| Some(r.attacked? / r.proved)));
        let middle = quantile(&ratios, 0.5);
        if middle.is_finite() {
            parts.push(format!("{} for {}", number(middle), told.name(r.model)));
            figures.push(plain(format!("{}, median attacked / proved", told.name(r.model)), middle));
        }
    }
    let sentence = format!(
        "The smallest noise that an attack found to change the class is this many times the proved one, at the median of the images that an attack changed: {}. The exact threshold lies between the two.",
        list(&parts)
    );
    (!parts.is_empty()).then(|| finding("gap", "How tight the brackets are", sentence, figures))
}

/// Delta max of noisy images against that of the same images clean.
fn under_noise(told: &Told, all: &[Robust]) -> Option<Finding> {
    let mut parts = Vec::new();
    let mut figures = Vec::new();
    let mut signs = Vec::new();
    let mut levels = Vec::new();
    for r in all {
        let of = |v: f64| crate::report::statistics::Of { model: r.model, measure: Measure::Radius(v) };
        let noise = told.study.models[r.model].certified_variances().last().copied().filter(|v| *v > 0.0);
        let Some((noise, x)) = noise.and_then(|v| Some((v, told.compared.get(of(v), of(0.0))?))) else { continue };
        let [after, before] = x.paired.figures;
        parts.push(format!(
            "{} {} → {} on {} images, {}{}",
            told.name(r.model),
            told.study.norm.size(before),
            told.study.norm.size(after),
            x.paired.images,
            told.size(Measure::Radius(noise), &x),
            if x.clear() { "" } else { ", which may be chance" }
        ));
        figures.push(delta(format!("{}, clean", told.name(r.model)), before));
        figures.push(delta(format!("{}, noisiest", told.name(r.model)), after));
        signs.push((x.less(), x.more()));
        levels.push(noise);
    }
    let &noise = levels.first()?;
    let title = match () {
        () if signs.iter().all(|s| s.0) => "Noise already in the image eats into delta max",
        () if signs.iter().all(|s| s.1) => "Delta max is larger where noise is already in the image",
        () if signs.iter().all(|s| !s.0 && !s.1) => "Whether noise already in the image moves delta max is not clear",
        () => "What noise already in the image does to delta max depends on the model",
    };
    let sentence = format!(
        "Median proved delta max of the same images clean and at variance {}: {}. Images that the noise turned to another class count with the radius of that class.",
        number(noise),
        parts.join("; ")
    );
    Some(finding("under-noise", title, sentence, figures))
}
