//! Findings about accuracy under noise: who falls, who turns into whom, where the models look.

use super::{Roles, both_units, ends, finding, list, plain, points, pull, rate, share, spread};
use crate::report::chart::{number, percent};
use crate::results::{Decided, Finding, ModelResult, NoiseLevel, RelevanceKind, RelevanceSummary, Spread, Study};

/// A class's fall counts from this many points below its clean rate.
const FALL: f64 = 0.10;

/// A confusion counts when its share grew by this much,
const GROWTH: f64 = 0.05;

/// and by more than this many images: one of a small class is chance.
const FEW: f64 = 1.5;

pub(super) fn findings(study: &Study) -> Vec<Finding> {
    let mut out = Vec::new();
    out.extend(accuracy(study));
    out.extend(drift(study));
    for m in &study.models {
        if let (Some(mut turned), Some(fallen)) = (confusions(study, m), falls(study, m)) {
            turned.sentence = format!("{} {}", turned.sentence, fallen.sentence);
            turned.figures.extend(fallen.figures);
            out.push(turned);
        }
    }
    out.extend(relevance(study));
    out.extend(certified_relevance(study));
    out
}

/// Whether augmentation helped accuracy, clean and noisy.
fn accuracy(study: &Study) -> Option<Finding> {
    let base = Roles::of(study).none?;
    let (clean, noisy) = ends(base)?;
    let mut parts = Vec::new();
    let mut figures = vec![
        share(format!("{}, clean", base.name), clean.accuracy.mean),
        share(format!("{}, noisiest", base.name), noisy.accuracy.mean),
    ];
    let mut gains = Vec::new();
    for m in study.models.iter().filter(|m| !m.augmented.is_empty()) {
        let Some((c, n)) = ends(m) else { continue };
        let (dc, dn) = (c.accuracy.mean - clean.accuracy.mean, n.accuracy.mean - noisy.accuracy.mean);
        parts.push(format!(
            "{} changes clean accuracy by {} and accuracy at variance {} by {}",
            m.name,
            points(dc),
            number(n.variance),
            points(dn)
        ));
        figures.push(share(format!("{}, clean", m.name), c.accuracy.mean));
        figures.push(share(format!("{}, noisiest", m.name), n.accuracy.mean));
        gains.push(dn);
    }
    if parts.is_empty() {
        return None;
    }
    let title = if gains.iter().all(|&g| g > 0.005) {
        "Augmentation helps under noise"
    } else if gains.iter().all(|&g| g <= 0.005) {
        "Augmentation does not help under noise"
    } else {
        "Augmentation helps under noise for some models only"
    };
    let sentence = format!(
        "Against {} ({} clean, {} at variance {}), {}.",
        base.name,
        rate(clean),
        rate(noisy),
        number(noisy.variance),
        list(&parts)
    );
    Some(finding(title, sentence, figures))
}

/// Drift toward the augmented class.
fn drift(study: &Study) -> Option<Finding> {
    let roles = Roles::of(study);
    let one = roles.one?;
    let (clean, noisy) = ends(one)?;
    let &class = one.augmented.first()?;
    let name = &study.dataset.classes[class];
    let (before, after) = (pull(clean, class), pull(noisy, class));
    let mut figures =
        vec![share(format!("{}, clean", one.name), before), share(format!("{}, noisiest", one.name), after)];
    let mut sentence = format!(
        "{} saw extra images of {name}. It calls {} of all other images {name} when clean and {} at variance {}",
        one.name,
        percent(before),
        percent(after),
        number(noisy.variance)
    );
    if let Some((_, n)) = roles.none.and_then(ends) {
        sentence += &format!("; the model without augmentation does so with {} at that level", percent(pull(n, class)));
        figures.push(share("without augmentation, noisiest", pull(n, class)));
    }
    sentence.push('.');
    let base = roles.none.and_then(ends).map_or(0.0, |e| pull(e.1, class));
    let title = if after - before > 0.05 {
        format!("Augmenting {name} alone pulls other classes toward it")
    } else if after - base > 0.05 {
        format!("Augmenting {name} alone pulls other classes toward it, noise or not")
    } else {
        format!("No drift toward {name}, the augmented class")
    };
    Some(finding(title, sentence, figures))
}

/// What classes are called: most of a class already without noise, and the confusions that grow most with it.
fn confusions(study: &Study, m: &ModelResult) -> Option<Finding> {
    let (clean, noisy) = ends(m)?;
    let classes = study.dataset.classes.len();
    let name = |c: usize| &study.dataset.classes[c];
    let images = |c: usize| clean.confusion[c].iter().sum::<f64>() / clean.draws.max(1) as f64;
    let pairs = || (0..classes).flat_map(|from| (0..classes).filter(move |&to| to != from).map(move |to| (from, to)));
    let mut lost: Vec<(usize, usize)> = pairs().filter(|&(f, t)| clean.share(f, t) > 0.5).collect();
    lost.sort_by(|a, b| clean.share(b.0, b.1).total_cmp(&clean.share(a.0, a.1)));
    let mut grown: Vec<(f64, usize, usize)> = pairs()
        .map(|(from, to)| (noisy.share(from, to) - clean.share(from, to), from, to))
        .filter(|&(g, from, _)| g >= GROWTH && g * images(from) >= FEW)
        .collect();
    grown.sort_by(|a, b| b.0.total_cmp(&a.0));
    let title = match (grown.first(), lost.first()) {
        (Some(&(_, from, to)), _) => format!("Under noise {} takes {} for {}", m.name, name(from), name(to)),
        (None, Some(&(from, to))) => {
            format!("{} takes most {} for {}, noise or not", m.name, name(from), name(to))
        }
        (None, None) => format!("Under noise {} mixes up no more classes", m.name),
    };
    let called = |f: usize, t: usize, level: &NoiseLevel| {
        format!("{} of the {} images of {} are called {}", percent(level.share(f, t)), images(f), name(f), name(t))
    };
    let mut sentence = String::new();
    if !lost.is_empty() {
        let parts: Vec<String> = lost.iter().map(|&(f, t)| called(f, t, clean)).collect();
        sentence += &format!("Without noise, {}. ", list(&parts));
    }
    let shown = &grown[..grown.len().min(3)];
    if shown.is_empty() {
        sentence += &format!("Up to variance {} noise adds no confusion worth naming.", number(noisy.variance));
    } else {
        let part = |&(_, f, t): &(f64, usize, usize)| {
            format!("{} (clean: {})", called(f, t, noisy), percent(clean.share(f, t)))
        };
        let parts: Vec<String> = shown.iter().map(part).collect();
        sentence += &format!("At variance {}, {}.", number(noisy.variance), list(&parts));
    }
    let named = lost.iter().copied().chain(shown.iter().map(|g| (g.1, g.2))).collect::<std::collections::BTreeSet<_>>();
    let figures = named
        .into_iter()
        .flat_map(|(f, t)| {
            let pair = format!("{} → {}", name(f), name(t));
            [share(format!("{pair}, clean"), clean.share(f, t)), share(format!("{pair}, noisiest"), noisy.share(f, t))]
        })
        .collect();
    Some(finding(title, sentence, figures))
}

/// The noise level at which each class's rate has fallen by ten points.
fn falls(study: &Study, m: &ModelResult) -> Option<Finding> {
    let (clean, noisy) = ends(m)?;
    let mut fallen = Vec::new();
    let mut steady = Vec::new();
    let mut figures = Vec::new();
    for (c, name) in study.dataset.classes.iter().enumerate() {
        let Some(before) = clean.class_rate(c) else { continue };
        let level = m.sweep.iter().find(|l| l.class_rate(c).is_some_and(|r| before - r >= FALL));
        match level {
            Some(l) => {
                let after = l.class_rate(c).unwrap_or(0.0);
                fallen.push((
                    l.variance,
                    format!("{name} at {} ({} → {})", number(l.variance), percent(before), percent(after)),
                ));
                figures.push(plain(format!("{name}: variance of a fall by 10 points"), l.variance));
            }
            None => steady.push(name.clone()),
        }
    }
    fallen.sort_by(|a, b| a.0.total_cmp(&b.0));
    let texts: Vec<String> = fallen.into_iter().map(|f| f.1).collect();
    let sentence = if texts.is_empty() {
        format!("No class falls 10 points below its clean rate up to variance {}.", number(noisy.variance))
    } else {
        let rest = match steady.len() {
            0 => "every class falls that far".to_string(),
            _ => format!("not up to variance {}: {}", number(noisy.variance), list(&steady)),
        };
        format!("First variance at which a class is 10 points below its clean rate: {}; {rest}.", list(&texts))
    };
    Some(finding("", sentence, figures))
}

/// The relevance summaries of a model to compare: one kind, by variance.
pub(super) fn relevance_of(m: &ModelResult) -> Vec<&RelevanceSummary> {
    const PREFERRED: [RelevanceKind; 4] = [
        RelevanceKind::IntegratedGradients,
        RelevanceKind::GradientXInput,
        RelevanceKind::Gradient,
        RelevanceKind::Certified,
    ];
    let kind = PREFERRED.into_iter().find(|&k| m.relevance.iter().any(|r| r.kind == k));
    kind.map_or(vec![], |k| of_kind(m, k))
}

/// By rising variance.
fn of_kind(m: &ModelResult, kind: RelevanceKind) -> Vec<&RelevanceSummary> {
    let mut all: Vec<_> = m.relevance.iter().filter(|r| r.kind == kind).collect();
    all.sort_by(|a, b| a.variance.total_cmp(&b.variance));
    all
}

/// Share of relevance on the background, clean and at the strongest noise, of every model that has both.
fn background<'a>(
    study: &'a Study,
    of: impl Fn(&'a ModelResult) -> Vec<&'a RelevanceSummary>,
) -> Vec<(&'a str, [Spread; 2])> {
    let ends = |m: &'a ModelResult| {
        let all = of(m);
        let (first, last) = (*all.first()?, *all.last()?);
        (first.variance < last.variance).then_some((m.name.as_str(), [first.background, last.background]))
    };
    study.models.iter().filter_map(ends).collect()
}

/// Where relevance moves as noise grows.
fn relevance(study: &Study) -> Option<Finding> {
    const MOVED: f64 = 0.03;
    let found = background(study, relevance_of);
    let kind = study.models.iter().find_map(|m| relevance_of(m).first().map(|r| r.kind))?;
    if found.is_empty() {
        return None;
    }
    let moved = |found: &[(&str, [Spread; 2])]| -> Vec<String> {
        let far = found.iter().filter(|(_, [a, b])| b.mean - a.mean > MOVED);
        far.map(|f| f.0.to_string()).collect()
    };
    let words = |found: &[(&str, [Spread; 2])], show: &dyn Fn(&Spread) -> String| {
        let word = |(name, [a, b]): &(&str, [Spread; 2])| format!("{name} {} → {}", show(a), show(b));
        list(&found.iter().map(word).collect::<Vec<_>>())
    };
    let mut sentence = format!(
        "Share of relevance on the background, clean → noisiest, mean ± spread over the test images: {}.",
        words(&found, &|s| spread(s))
    );
    // Relevance that is measured against the background cannot lie on a clean one.
    let gradient = background(study, |m| of_kind(m, RelevanceKind::Gradient));
    let relative = kind != RelevanceKind::Gradient && !gradient.is_empty();
    if relative {
        sentence += &format!(
            " A clean background counts for nothing in that figure, whatever the model. The plain gradient, which asks where a change would matter, has this share there: {}.",
            words(&gradient, &|s| percent(s.mean))
        );
    }
    let turned = moved(if relative { &gradient } else { &found });
    let title = match turned.len() {
        0 if moved(&found).is_empty() => "Noise does not draw the models to the background".to_string(),
        0 => "Noise on the background counts, but the models do not turn to it".into(),
        n if n == study.models.len() => "Under noise the models turn to the background".into(),
        _ => format!("Under noise {} turns to the background", turned.join(" as well as ")),
    };
    let figures = found.iter().flat_map(|(name, [a, b])| {
        [share(format!("{name}, background, clean"), a.mean), share(format!("{name}, background, noisiest"), b.mean)]
    });
    Some(finding(title, sentence, figures.collect()))
}

/// How much of the relevance of clean images is proved.
fn certified_relevance(study: &Study) -> Option<Finding> {
    let clean = |m: &'_ ModelResult| {
        let found = m.relevance.iter().find(|r| r.variance == 0.0 && r.decided.is_some())?;
        Some((m.name.clone(), found.decided.clone()?, found.background))
    };
    let found: Vec<_> = study.models.iter().filter_map(clean).collect();
    let (_, first, _) = found.first()?;
    let part = |(name, decided, background): &(String, Decided, Spread)| {
        format!("{} for {name} ({} of them on the background)", spread(&decided.share), percent(background.mean))
    };
    let parts: Vec<String> = found.iter().map(part).collect();
    let sentence = format!(
        "Share of the pixels that are proved to speak for the class, or against it, in every image within {} of the photo; mean ± spread over {} clean test images: {}.",
        both_units(first.delta),
        first.images,
        list(&parts)
    );
    let figures = found.iter().map(|f| share(format!("{}, proved sign", f.0), f.1.share.mean)).collect();
    let title = match found.iter().map(|f| f.1.share.mean).fold(0.0, f64::max) {
        most if most < 0.05 => "Where the models look is hardly ever proved at this noise",
        _ => "How much of where the models look is proved",
    };
    Some(finding(title, sentence, figures))
}
