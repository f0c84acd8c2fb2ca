//! How far images may change by random noise, light and lens before they are called something else.

use maud::{Markup, html};

use super::{CLASSES, Page, Section, by_model, figure};
use crate::report::chart::{number, percent};
use crate::report::figure::{Table, row};
use crate::report::statistics::{falls_below, median};
use crate::report::stays::words;
use crate::results::{Change, ModelResult, NoiseLevel, Stays};

/// What was found of one change in the photos that a model names rightly.
pub(super) fn of(model: &ModelResult, change: Change) -> impl Iterator<Item = &Stays> + Clone {
    let right = model.photos.iter().filter(|p| p.predicted == p.label);
    right.flat_map(|p| &p.stays).filter(move |s| s.change == change)
}

/// Where the class was seen to be lost; the end of what was looked at where it never was.
fn lost(s: &Stays) -> f64 {
    s.lost.unwrap_or(s.end)
}

/// Tables by kind of change and model, and by class and model.
pub fn section(page: &mut Page) -> Option<Section> {
    let parts: Vec<Markup> = [satisfied(page), super::risk::part(page), photos(page)].into_iter().flatten().collect();
    if parts.is_empty() {
        return None;
    }
    let body = html! {
        @for part in &parts { (part) }
    };
    let lead = "Up to which noise each class is recognised, and how far single images may change before they are called something else.";
    let single = page.study.models.iter().any(|m| !m.photos.is_empty());
    let missing = if single {
        ""
    } else {
        " Single images were not looked at: study --photos 1 does, at some seconds an image and model."
    };
    let title = "How much noise, and what other light".into();
    Some(Section { id: "light", nav: "Limits", title, lead: format!("{lead}{missing}"), body })
}

/// All noise that was tried, rising.
fn tried(model: &ModelResult) -> impl Iterator<Item = &NoiseLevel> {
    model.sweep.iter().chain(&model.beyond)
}

/// The last noise up to which enough of a class is recognised, and the first at which it is not.
fn recognised(model: &ModelResult, class: usize, least: f64) -> [Option<f64>; 2] {
    falls_below(tried(model).filter_map(|l| Some([l.variance, l.class_rate(class)?])), least)
}

/// The noise up to which each class is recognised well enough, of the levels that were tried; of many classes how many are.
fn satisfied(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let least = study.satisfied?;
    let models: Vec<(usize, &ModelResult)> =
        study.models.iter().enumerate().filter(|(_, m)| m.sweep.len() > 1).collect();
    models.first()?;
    let classes: Vec<usize> = (0..study.dataset.classes.len()).collect();
    let mut table = Table::new(&["model", "class", "rate", "kept up to variance", "below at variance"]);
    for (_, m) in &models {
        for &class in &classes {
            let [kept, below] = recognised(m, class, least);
            table.rows.push(row![m.name.as_str(), page.class(class), least, kept, below]);
        }
    }
    page.figures.table("satisfied", "Noise up to which classes are recognised", table);
    let level = |m: &ModelResult, class: &usize| match recognised(m, *class, least) {
        [None, Some(_)] => html! { "not even clean" },
        [Some(kept), Some(below)] => {
            html! { (super::level_name(kept)) br; small { "below at " (number(below)) } }
        }
        [Some(kept), None] => html! { (super::level_name(kept)) br; small { "and no more noise was tried" } },
        [None, None] => html! { "no images" },
    };
    // A class that fell once counts as fallen for all stronger noise.
    let number_of = |m: &ModelResult, variance: &f64| {
        let found = classes.iter().map(|c| recognised(m, *c, least)).filter(|f| *f != [None; 2]);
        let of = found.clone().count();
        let kept = found.filter(|f| f[0].is_some_and(|kept| kept >= *variance)).count();
        let known = tried(m).any(|l| l.variance == *variance);
        html! { @if known { (kept) small { " of " (of) } } @else { "not tried" } }
    };
    let least = percent(least);
    let (body, rule) = if classes.len() <= CLASSES {
        (
            by_model(study, &models, "class", &classes, |c| html! { (page.class(*c)) }, level),
            format!(
                "The strongest Gaussian noise of those tried up to which at least {least} of the class are recognised; below it, the first level with fewer"
            ),
        )
    } else {
        let mut variances: Vec<f64> = models.iter().flat_map(|(_, m)| tried(m)).map(|l| l.variance).collect();
        variances.sort_by(f64::total_cmp);
        variances.dedup();
        (
            by_model(study, &models, "noise", &variances, |v| html! { (super::level_name(*v)) }, number_of),
            format!(
                "How many classes are recognised up to each Gaussian noise that was tried: at least {least} of their images; satisfied.csv has each class"
            ),
        )
    };
    let caption = format!(
        "{rule}. On average over draws, in the first training of each model. Measured on the whole test set, not proved."
    );
    Some(figure(&mut page.figures, "Noise up to which classes are recognised", body, &caption))
}

/// Medians over photos of what each may change, by kind of change and model.
fn photos(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let models: Vec<(usize, &ModelResult)> =
        study.models.iter().enumerate().filter(|(_, m)| !m.photos.is_empty()).collect();
    let changes: Vec<Change> = models.first()?.1.photos.first()?.stays.iter().map(|s| s.change).collect();
    let mut table =
        Table::new(&["model", "index", "label", "predicted", "change", "proved", "measured", "lost", "end"]);
    for (_, m) in &models {
        for p in &m.photos {
            for s in &p.stays {
                let (label, predicted) = (page.class(p.label), page.class(p.predicted));
                table.rows.push(row![
                    m.name.as_str(),
                    p.index,
                    label,
                    predicted,
                    words(s.change).0,
                    s.proved,
                    s.measured,
                    s.lost,
                    s.end
                ]);
            }
        }
    }
    page.figures.table("light", "How far images may change", table);
    let cell = |m: &ModelResult, change: &Change| {
        let size = words(*change).1;
        let found: Vec<&Stays> = of(m, *change).collect();
        let never = found.iter().filter(|s| s.proved >= s.end).count();
        let (proved, lost) = (median(found.iter().map(|s| s.proved)), median(found.iter().map(|s| lost(s))));
        html! {
            @if found.is_empty() { "no image is named rightly" }
            @else if 2 * never > found.len() { "any" small { " up to " (size(found[0].end)) } }
            @else { (size(proved)) br; small { "lost at " (size(lost)) } }
        }
    };
    let body = by_model(study, &models, "change", &changes, |c| html! { (words(*c).0) }, cell);
    let photos = models.iter().map(|(_, m)| m.photos.len()).max().unwrap_or(0);
    let caption = format!(
        "{photos} test images, the first of every class: too few to compare models by. Medians over those named rightly when clean: proved up to the first figure, another class found at the second. Of noise: the deviation with which the class is proved to change in at most one of 100 draws, and the one with which it was measured to change more often (confidence 99.9%, image by image)."
    );
    Some(figure(&mut page.figures, "How far images may change", body, &caption))
}
