//! What the page of a study may ask: all of it counts when many comparisons are judged together.

use super::{Measure, Of};
use crate::report::findings::{Roles, reference_delta, relevance_kind};
use crate::results::{ModelResult, RelevanceKind, Study};

/// Whether `first` differs from `second`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    pub first: Of,
    pub second: Of,
    /// Share of the page's error that it is given.
    pub weight: f64,
}

/// Classes of which every pair is asked after.
const PAIRED: usize = 12;

/// Half of the page's error goes to the questions that decide which model to take, half to all others.
pub fn questions(study: &Study) -> Vec<Question> {
    let mut all = choice(study);
    all.extend(weighed(others(study)));
    all
}

/// What decides between the models.
pub fn choice(study: &Study) -> Vec<Question> {
    let of = |model, measure| Of { model, measure };
    let couples = couples(study);
    weighed(deciding(study).into_iter().flat_map(|m| couples.iter().map(move |&(a, b)| (of(a, m), of(b, m)))).collect())
}

/// All of these together weigh one half.
fn weighed(pairs: Vec<(Of, Of)>) -> Vec<Question> {
    let weight = 0.5 / pairs.len().max(1) as f64;
    pairs.into_iter().map(|(first, second)| Question { first, second, weight }).collect()
}

/// The strongest noise of the study; `None` where there is none.
fn noisiest(study: &Study) -> Option<f64> {
    study.models.iter().filter_map(|m| m.sweep.last()).map(|l| l.variance).filter(|v| *v > 0.0).reduce(f64::max)
}

/// What models are compared in when one is to be taken.
pub fn deciding(study: &Study) -> Vec<Measure> {
    let mut all = vec![Measure::Accuracy(0.0)];
    all.extend(noisiest(study).map(Measure::Accuracy));
    all.push(Measure::Radius(0.0));
    all
}

/// Every two models that are not the same one.
pub fn couples(study: &Study) -> Vec<(usize, usize)> {
    let kept: Vec<usize> = twins(study).into_iter().map(|group| group[0]).collect();
    kept.iter().enumerate().flat_map(|(k, &a)| kept[k + 1..].iter().map(move |&b| (a, b))).collect()
}

fn others(study: &Study) -> Vec<(Of, Of)> {
    let of = |model, measure| Of { model, measure };
    let mut all = Vec::new();
    let at = reference_delta(study);
    all.extend(couples(study).into_iter().map(|(a, b)| (of(a, Measure::Proved(at)), of(b, Measure::Proved(at)))));
    let classes = study.dataset.classes.len();
    let kept: Vec<usize> = twins(study).into_iter().map(|group| group[0]).collect();
    for &model in &kept {
        let m = &study.models[model];
        let mut against_clean = |measure: &dyn Fn(f64) -> Measure, noise: f64| {
            all.push((of(model, measure(noise)), of(model, measure(0.0))));
        };
        if let Some(noise) = m.sweep.last().map(|l| l.variance).filter(|v| *v > 0.0) {
            for class in 0..classes {
                against_clean(&|v| Measure::Class(class, v), noise);
                // What becomes of each class is not asked of many: its square of questions would leave none an answer.
                (0..classes)
                    .filter(|&to| to != class && classes <= PAIRED)
                    .for_each(|to| against_clean(&|v| Measure::Called(class, to, v), noise));
            }
            let gradient = Some(RelevanceKind::Gradient).filter(|g| relevance_kind(m) != Some(*g));
            for kind in relevance_kind(m).into_iter().chain(gradient) {
                against_clean(&|v| Measure::Background(kind, v), noise);
            }
            m.augmented
                .iter()
                .filter(|_| m.augmented.len() < classes)
                .for_each(|&c| against_clean(&|v| Measure::Pull(c, v), noise));
        }
        if let Some(&noise) = m.certified_variances().last().filter(|v| **v > 0.0) {
            against_clean(&Measure::Radius, noise);
        }
    }
    all.extend(of_roles(study));
    all
}

/// What the claims of the published study ask of its three models.
fn of_roles(study: &Study) -> Vec<(Of, Of)> {
    let roles = Roles::of(study);
    let (Some(none), Some(one), Some(all)) = (roles.none, roles.one, roles.all) else { return Vec::new() };
    let of = |model, measure| Of { model, measure };
    let class = study.models[one].augmented[0];
    let mut found = vec![
        (of(one, Measure::Class(class, 0.0)), of(none, Measure::Class(class, 0.0))),
        (of(all, Measure::Class(class, 0.0)), of(none, Measure::Class(class, 0.0))),
    ];
    let noise = noisiest(study);
    found.extend(noise.map(|v| (of(one, Measure::Pull(class, v)), of(none, Measure::Pull(class, v)))));
    if let Some(kind) = relevance_kind(&study.models[all]) {
        found.extend(
            [none, one].map(|other| (of(all, Measure::Contour(kind, 0.0)), of(other, Measure::Contour(kind, 0.0)))),
        );
        let turned = noise.map(|v| Measure::Turned(kind, v));
        found.extend(turned.into_iter().flat_map(|m| [none, one].map(|other| (of(all, m), of(other, m)))));
    }
    let kept: Vec<usize> = twins(study).into_iter().map(|group| group[0]).collect();
    found.retain(|(a, b)| kept.contains(&a.model) && kept.contains(&b.model));
    found
}

/// Models in groups of the same one, each by its first: the same files, or the same answers and radii throughout.
pub fn twins(study: &Study) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, m) in study.models.iter().enumerate() {
        match groups.iter_mut().find(|g| identical(&study.models[g[0]], m)) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

fn identical(a: &ModelResult, b: &ModelResult) -> bool {
    let hashes = |m: &ModelResult| m.trained().map(|t| t.hash.map(str::to_string)).collect::<Option<Vec<String>>>();
    match (hashes(a), hashes(b)) {
        (Some(a), Some(b)) => a == b,
        _ => {
            let measured = !a.certify.is_empty() || a.sweep.iter().any(|l| !l.called.is_empty());
            let same = |(x, y): (crate::results::Trained, crate::results::Trained)| {
                x.sweep == y.sweep && x.certify == y.certify
            };
            measured && a.repeats.len() == b.repeats.len() && a.trained().zip(b.trained()).all(same)
        }
    }
}
