//! How far images may change by random noise, light and lens before they are called something else.

use maud::{Markup, html};

use super::{CLASSES, Page, Section, figure, model_chip};
use crate::report::chart::{number, percent};
use crate::report::figure::{Table, row};
use crate::report::statistics::{falls_below, median};
use crate::report::stays::words;
use crate::results::{Change, ModelResult, Stays, Study};

/// What was found of one change in the photos that a model names rightly.
fn of(model: &ModelResult, change: Change) -> impl Iterator<Item = &Stays> + Clone {
    let right = model.photos.iter().filter(|p| p.predicted == p.label);
    right.flat_map(|p| &p.stays).filter(move |s| s.change == change)
}

/// A table of a column for each model and a row for each of `rows`, whose cells are made from row and model.
pub fn by_model<R>(
    study: &Study,
    models: &[(usize, &ModelResult)],
    head: &str,
    rows: &[R],
    title: impl Fn(&R) -> Markup,
    cell: impl Fn(&ModelResult, &R) -> Markup,
) -> Markup {
    html! {
        table.stays {
            thead { tr { th { (head) } @for (i, _) in models { th { (model_chip(study, *i)) } } } }
            tbody { @for row in rows {
                tr {
                    th scope="row" { (title(row)) }
                    @for (_, m) in models { td data-label=(m.name) { (cell(m, row)) } }
                }
            } }
        }
    }
}

/// Where the class was seen to be lost; the end of what was looked at where it never was.
fn lost(s: &Stays) -> f64 {
    s.lost.unwrap_or(s.end)
}

/// Tables by kind of change and model, and by class and model.
pub fn section(page: &mut Page) -> Option<Section> {
    let parts: Vec<Markup> = [satisfied(page), super::risk::part(page), photos(page)].into_iter().flatten().collect();
    let single = page.study.models.iter().any(|m| !m.photos.is_empty());
    if parts.is_empty() {
        return None;
    }
    let body = html! {
        @for part in &parts { (part) }
    };
    Some(Section {
        id: "light",
        nav: "Limits",
        title: "How much noise, and what other light".into(),
        lead: format!(
            "Up to which noise each class is recognised, and how far single images may change before they are called something else.{}",
            match single {
                true => "",
                false =>
                    " Single images were not looked at: study --photos 1 does, at some seconds an image and model.",
            }
        ),
        body,
    })
}

/// The noise up to which each class is recognised well enough, of the levels that were tried.
fn satisfied(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let least = study.satisfied?;
    let models: Vec<(usize, &ModelResult)> =
        study.models.iter().enumerate().filter(|(_, m)| m.sweep.len() > 1).collect();
    models.first()?;
    let mut table = Table::new(&["model", "class", "rate", "kept up to variance", "below at variance"]);
    let found = |m: &ModelResult, class: usize| {
        falls_below(m.sweep.iter().chain(&m.beyond).filter_map(|l| Some([l.variance, l.class_rate(class)?])), least)
    };
    for (_, m) in &models {
        for class in 0..study.dataset.classes.len() {
            let [kept, below] = found(m, class);
            table.rows.push(row![m.name.as_str(), page.class(class), least, kept, below]);
        }
    }
    page.figures.table("satisfied", "Noise up to which classes are recognised", table);
    let cell = |m: &ModelResult, class: &usize| match found(m, *class) {
        [None, Some(_)] => html! { "not even clean" },
        [Some(kept), Some(below)] => {
            html! { (super::level_name(kept)) br; small { "below at " (number(below)) } }
        }
        [Some(kept), None] => html! { (super::level_name(kept)) br; small { "and no more noise was tried" } },
        [None, None] => html! { "no images" },
    };
    let classes: Vec<usize> = (0..study.dataset.classes.len()).collect();
    let tried = "The strongest Gaussian noise of those tried up to which";
    let (body, rule) = if classes.len() <= CLASSES {
        let rule = format!(
            "{tried} at least {} of the class are recognised; below it, the first level with fewer",
            percent(least)
        );
        (by_model(study, &models, "class", &classes, |c| html! { (page.class(*c)) }, cell), rule)
    } else {
        let mut variances: Vec<f64> =
            models.iter().flat_map(|(_, m)| m.sweep.iter().chain(&m.beyond)).map(|l| l.variance).collect();
        variances.sort_by(f64::total_cmp);
        variances.dedup();
        // A class that fell once counts as fallen for all stronger noise.
        let kept = |m: &ModelResult, variance: &f64| {
            let tried = m.sweep.iter().chain(&m.beyond).any(|l| l.variance == *variance);
            let found = classes.iter().map(|c| found(m, *c)).filter(|f| *f != [None; 2]);
            let of = found.clone().count();
            let kept = found.filter(|f| f[0].is_some_and(|kept| kept >= *variance)).count();
            html! { @if tried { (kept) small { " of " (of) } } @else { "not tried" } }
        };
        let rule = format!(
            "How many classes are recognised up to each Gaussian noise that was tried: at least {} of their images; satisfied.csv has each class",
            percent(least)
        );
        let title = |v: &f64| html! { (super::level_name(*v)) };
        (by_model(study, &models, "noise", &variances, title, kept), rule)
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
