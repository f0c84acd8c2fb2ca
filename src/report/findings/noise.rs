//! Findings about accuracy under noise: who falls, who turns into whom.

use super::{Roles, Told, finding, list, share};
use crate::report::chart::{number, percent};
use crate::report::statistics::{Answer, Measure};
use crate::results::Finding;

/// Confusions named on one card.
const NAMED: usize = 3;

pub(super) fn findings(told: &Told) -> Vec<Finding> {
    let mut out = Vec::new();
    out.extend(accuracy(told));
    out.extend(drift(told));
    out.extend(told.kept().into_iter().filter_map(|m| confusions(told, m)));
    out
}

/// Whether augmentation changed accuracy, clean and noisy.
fn accuracy(told: &Told) -> Option<Finding> {
    let base = Roles::of(told.study).none?;
    let noise = told.noisiest(base)?;
    let [clean, noisy] = [0.0, noise].map(Measure::Accuracy);
    let against = |m: usize| Some((m, told.compared.models(m, base, clean)?, told.compared.models(m, base, noisy)?));
    let found: Vec<(usize, Answer, Answer)> = told
        .kept()
        .into_iter()
        .filter(|&m| m != base && !told.study.models[m].augmented.is_empty())
        .filter_map(against)
        .collect();
    let &(_, first, first_noisy) = found.first()?;
    let parts: Vec<String> = found
        .iter()
        .map(|(m, x, y)| {
            format!(
                "{} {} clean and {} at variance {}",
                told.name(*m),
                told.effect(clean, x),
                told.effect(noisy, y),
                number(noise)
            )
        })
        .collect();
    let named = |test: fn(&Answer) -> bool| -> Vec<&str> {
        found.iter().filter(|(_, _, y)| test(y)).map(|(m, ..)| told.name(*m)).collect()
    };
    let (helped, harmed) = (named(Answer::more), named(Answer::less));
    let title = match (helped.len(), harmed.len()) {
        (0, 0) => "Whether augmentation changes accuracy under noise is not clear".to_string(),
        (n, 0) if n == found.len() => "Augmentation helps under noise".into(),
        (0, n) if n == found.len() => "Augmentation harms under noise".into(),
        (_, 0) => format!("Under noise, augmentation clearly helped {}", list(&helped)),
        (0, _) => format!("Under noise, augmentation clearly harmed {}", list(&harmed)),
        _ => format!("Under noise, augmentation helped {} and harmed {}", list(&helped), list(&harmed)),
    };
    let sentence = format!(
        "Against {} ({} clean, {} at variance {}; averaged over the classes): {}.",
        told.name(base),
        percent(first.paired.figures[1]),
        percent(first_noisy.paired.figures[1]),
        number(noise),
        list(&parts)
    );
    let mut figures = vec![
        share(format!("{}, clean", told.name(base)), first.paired.figures[1]),
        share(format!("{}, noisiest", told.name(base)), first_noisy.paired.figures[1]),
    ];
    for (m, x, y) in &found {
        figures.push(share(format!("{}, clean", told.name(*m)), x.paired.figures[0]));
        figures.push(share(format!("{}, noisiest", told.name(*m)), y.paired.figures[0]));
    }
    Some(finding("accuracy", title, sentence, figures))
}

/// Drift toward the augmented class.
fn drift(told: &Told) -> Option<Finding> {
    let roles = Roles::of(told.study);
    let one = roles.one?;
    let &class = told.study.models[one].augmented.first()?;
    let name = told.class(class);
    let noise = told.noisiest(one)?;
    let pull = Measure::Pull(class, noise);
    let own = told.against_clean(one, |v| Measure::Pull(class, v))?;
    let base = roles.none.and_then(|none| told.compared.models(one, none, pull));
    let [after, before] = own.paired.figures;
    let mut sentence = format!(
        "{} saw extra images of {name}. Of the {} test images of other classes it calls {} {name} when clean and {} at variance {}: {}",
        told.name(one),
        own.paired.images,
        percent(before),
        percent(after),
        number(noise),
        told.effect(pull, &own)
    );
    let mut figures = vec![
        share(format!("{}, clean", told.name(one)), before),
        share(format!("{}, noisiest", told.name(one)), after),
    ];
    if let Some(x) = &base {
        let theirs = x.paired.figures[1];
        sentence += &format!(
            ". The model without augmentation calls {} so at that level: a difference of {}",
            percent(theirs),
            told.effect(pull, x)
        );
        figures.push(share("without augmentation, noisiest", theirs));
    }
    sentence.push('.');
    let title = match (own.more(), base.map(|x| x.more())) {
        (true, Some(true)) => format!("Under noise, augmenting {name} alone pulls other classes toward it"),
        (true, _) => format!("Under noise {} turns other classes into {name}", told.name(one)),
        (false, Some(true)) => format!("Augmenting {name} alone pulls other classes toward it"),
        (false, _) => format!("No drift toward {name}, the augmented class, beyond chance"),
    };
    Some(finding("drift", title, sentence, figures))
}

/// What noise does to each class of one model, and what its images are called instead.
fn confusions(told: &Told, model: usize) -> Option<Finding> {
    let noise = told.noisiest(model)?;
    let classes = told.study.dataset.classes.len();
    let rates: Vec<(usize, Answer)> =
        (0..classes).filter_map(|c| Some((c, told.against_clean(model, |v| Measure::Class(c, v))?))).collect();
    let &(_, any) = rates.first()?;
    let mut grown: Vec<(usize, usize, Answer)> = (0..classes)
        .flat_map(|from| (0..classes).filter(move |&to| to != from).map(move |to| (from, to)))
        .filter_map(|(f, t)| Some((f, t, told.against_clean(model, |v| Measure::Called(f, t, v))?)))
        .filter(|g| g.2.more())
        .collect();
    grown.sort_by(|a, b| b.2.paired.effect.total_cmp(&a.2.paired.effect));
    let mut fallen: Vec<&(usize, Answer)> = rates.iter().filter(|r| r.1.less()).collect();
    fallen.sort_by(|a, b| a.1.paired.effect.total_cmp(&b.1.paired.effect));
    let steady: Vec<&str> = rates.iter().filter(|r| !r.1.clear()).map(|r| told.class(r.0)).collect();
    let risen: Vec<&str> = rates.iter().filter(|r| r.1.more()).map(|r| told.class(r.0)).collect();
    let from_to = |x: &Answer| format!("{} → {}", percent(x.paired.figures[1]), percent(x.paired.figures[0]));

    let name = told.name(model);
    let title = match (grown.first(), fallen.first()) {
        (Some(&(f, t, _)), _) => format!("Under noise {name} takes {} for {}", told.class(f), told.class(t)),
        (None, Some((c, _))) => format!("Under noise {name} loses {}", told.class(*c)),
        (None, None) => format!("Noise does no clear harm to any class of {name}"),
    };
    let trainings = any.paired.trainings[0];
    let mut sentence =
        format!("Rightly classified, clean → variance {}{}: ", number(noise), super::over_trainings(trainings));
    let each: Vec<String> = fallen
        .iter()
        .take(4)
        .map(|(c, x)| format!("{} {} of {} images", told.class(*c), from_to(x), x.paired.images))
        .collect();
    sentence += &match each.len() {
        0 => "no class falls by more than chance".to_string(),
        _ => list(&each),
    };
    sentence.push('.');
    if !risen.is_empty() {
        sentence += &format!(" {} rise{}.", list(&risen), if risen.len() == 1 { "s" } else { "" });
    }
    if !steady.is_empty() && steady.len() <= 6 && !fallen.is_empty() {
        sentence += &format!(" No clear change of {}.", list(&steady));
    }
    let part =
        |(f, t, x): &(usize, usize, Answer)| format!("{} called {} {}", told.class(*f), told.class(*t), from_to(x));
    let parts: Vec<String> = grown.iter().take(NAMED).map(part).collect();
    if !parts.is_empty() {
        sentence += &format!(" What grows: {}.", list(&parts));
    }
    let figures = fallen
        .iter()
        .flat_map(|(c, x)| {
            let [after, before] = x.paired.figures;
            [share(format!("{}, clean", told.class(*c)), before), share(format!("{}, noisiest", told.class(*c)), after)]
        })
        .collect();
    Some(finding("confusions", title, sentence, figures))
}
