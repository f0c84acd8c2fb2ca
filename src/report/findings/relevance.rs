//! Findings about where the models look.

use super::{Told, finding, list, share, spread};
use crate::report::chart::{number, percent, plural};
use crate::report::statistics::{Answer, Measure};
use crate::results::{Decided, Finding, ModelResult, RelevanceKind, Spread};

pub(super) fn findings(told: &Told) -> Vec<Finding> {
    [background(told), certified(told)].into_iter().flatten().collect()
}

/// The kind of relevance in which models are compared.
pub fn relevance_kind(m: &ModelResult) -> Option<RelevanceKind> {
    const PREFERRED: [RelevanceKind; 4] = [
        RelevanceKind::IntegratedGradients,
        RelevanceKind::GradientXInput,
        RelevanceKind::Gradient,
        RelevanceKind::Certified,
    ];
    PREFERRED.into_iter().find(|&k| m.relevance.iter().any(|r| r.kind == k))
}

/// Whether relevance moves to the background as noise grows.
fn background(told: &Told) -> Option<Finding> {
    let noise = |m: usize| told.noisiest(m).unwrap_or(0.0);
    let of = |kind: &dyn Fn(&ModelResult) -> Option<RelevanceKind>| -> Vec<(usize, Answer)> {
        let answer = |m: usize| {
            let kind = kind(&told.study.models[m])?;
            Some((m, told.against_clean(m, |v| Measure::Background(kind, v))?))
        };
        told.kept().into_iter().filter_map(answer).collect()
    };
    let found = of(&relevance_kind);
    let kind = relevance_kind(&told.study.models[found.first()?.0])?;
    let words = |found: &[(usize, Answer)], kind: RelevanceKind| {
        let word = |(m, x): &(usize, Answer)| {
            let [after, before] = x.paired.figures.map(percent);
            format!("{} {before} → {after}, {}", told.name(*m), told.effect(Measure::Background(kind, noise(*m)), x))
        };
        found.iter().map(word).collect::<Vec<_>>().join("; ")
    };
    let mut sentence = format!(
        "Share of relevance on the background, clean → variance {}, over {}: {}.",
        number(noise(found[0].0)),
        plural(found[0].1.paired.images, "test image"),
        words(&found, kind)
    );
    // Relevance that is measured against the background cannot lie on a clean one.
    let gradient = of(&|_| Some(RelevanceKind::Gradient));
    let relative = kind != RelevanceKind::Gradient && !gradient.is_empty();
    if relative {
        sentence += &format!(
            " A clean background counts for nothing in that figure, whatever the model. The plain gradient, which asks where a change would matter, has this share there: {}.",
            words(&gradient, RelevanceKind::Gradient)
        );
    }
    let judged = if relative { &gradient } else { &found };
    let turned: Vec<&str> = judged.iter().filter(|f| f.1.more()).map(|f| told.name(f.0)).collect();
    let title = match turned.len() {
        0 if !found.iter().any(|f| f.1.more()) => {
            "Noise does not clearly draw the models to the background".to_string()
        }
        0 => "Noise on the background counts, but the models do not clearly turn to it".into(),
        n if n == told.kept().len() => "Under noise the models turn to the background".into(),
        n => format!("Under noise {} turn{} to the background", list(&turned), if n == 1 { "s" } else { "" }),
    };
    let figures = found.iter().flat_map(|(m, x)| {
        let [after, before] = x.paired.figures;
        let name = told.name(*m);
        [share(format!("{name}, background, clean"), before), share(format!("{name}, background, noisiest"), after)]
    });
    Some(finding("background", title, sentence, figures.collect()))
}

/// How much of the relevance of clean images is proved: shares, without a comparison.
fn certified(told: &Told) -> Option<Finding> {
    let clean = |m: usize| {
        let found = told.study.models[m].relevance.iter().find(|r| r.variance == 0.0 && r.decided.is_some())?;
        Some((told.name(m).to_string(), found.decided.clone()?, found.background))
    };
    let found: Vec<(String, Decided, Spread)> = told.kept().into_iter().filter_map(clean).collect();
    let (_, first, _) = found.first()?;
    let part = |(name, decided, background): &(String, Decided, Spread)| {
        format!("{} for {name} ({} of them on the background)", spread(&decided.share), percent(background.mean))
    };
    let parts: Vec<String> = found.iter().map(part).collect();
    let sentence = format!(
        "Share of the pixels that are proved to speak for the class, or against it, in every image within {} of this one; mean ± spread over {} clean test images: {}.",
        told.study.norm.size(first.delta),
        first.images,
        list(&parts)
    );
    let figures = found.iter().map(|f| share(format!("{}, proved sign", f.0), f.1.share.mean)).collect();
    let title = match found.iter().map(|f| f.1.share.mean).fold(0.0, f64::max) {
        most if most < 0.05 => "Where the models look is hardly ever proved at this noise",
        _ => "How much of where the models look is proved",
    };
    Some(finding("certified-relevance", title, sentence, figures))
}
