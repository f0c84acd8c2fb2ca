//! Where the models look.

use super::{Choice, Page, Section, choose, figure, level_name};
use crate::report::chart::{Axis, Lines, Series, model_color, percent};
use crate::report::figure::{Table, row};
use crate::report::picture;
use crate::results::{Example, ExampleLevel, RelevanceKind, RelevanceMap, RelevanceSummary, Shares, Spread, Trained};
use maud::{Markup, html};

const KINDS: [(RelevanceKind, &str, &str); 4] = [
    (RelevanceKind::IntegratedGradients, "Integrated gradients", "integrated"),
    (RelevanceKind::GradientXInput, "Gradient × input", "gradient-x-input"),
    (RelevanceKind::Gradient, "Gradient", "gradient"),
    (RelevanceKind::Certified, "Certified", "certified"),
];

/// Maps of the example image and shares over the test set.
pub fn section(page: &mut Page) -> Option<Section> {
    let count = page.study.models.iter().map(|m| m.examples.len()).max().unwrap_or(0).min(super::example::IMAGES);
    let mut options = Vec::new();
    let mut images = Vec::new();
    for which in 0..count {
        let Some(map) = maps(page, which) else { continue };
        let example = page.study.models.iter().find_map(|m| m.examples.get(which));
        options.push(example.map_or(String::new(), |e| format!("{} #{}", page.class(e.label), e.index)));
        images.push(html! { div data-image=(options.len() - 1) { (map) } });
    }
    let choice = Choice { key: "image", label: "Image", options, first: Some(0) };
    let maps = (!images.is_empty()).then(|| choose(&[choice], html! { @for i in images { (i) } }));
    let shares = shares(page);
    if maps.is_none() && shares.is_none() {
        return None;
    }
    Some(Section {
        id: "relevance",
        nav: "Relevance",
        title: "Where the models look".into(),
        lead: "Relevance says how much each pixel speaks for (red) or against (blue) the class the model chose.".into(),
        body: html! { @if let Some(m) = maps { (m) } @if let Some(s) = shares { (super::fold("Over the test set", s)) } },
    })
}

/// Relevance of one example image, all models and noise levels.
pub(in crate::report) fn maps(page: &mut Page, which: usize) -> Option<Markup> {
    let study = page.study;
    let examples: Vec<(usize, &Example)> =
        study.models.iter().enumerate().filter_map(|(i, m)| Some((i, m.examples.get(which)?))).collect();
    let of_kind = |kind: RelevanceKind| {
        examples.iter().flat_map(|e| &e.1.levels).flat_map(|l| &l.relevance).filter(move |r| r.kind == kind)
    };
    let kinds: Vec<_> = KINDS.into_iter().filter(|k| of_kind(k.0).next().is_some()).collect();
    if kinds.is_empty() {
        return None;
    }
    let several = examples.len() > 1 || examples[0].1.levels.len() > 1;
    let mut table = Table::new(&["model", "variance", "kind", "object", "contour", "background", "gini", "predicted"]);
    let mut panels = Vec::new();
    // One model and one noise level: the methods side by side.
    let mut single = Vec::new();
    let photo =
        |l: &ExampleLevel, name: String| html! { div.shot { (super::image(&l.picture, &name)) small { (name) } } };
    for (k, &(kind, name, key)) in kinds.iter().enumerate() {
        let scale = picture::common_scale(of_kind(kind));
        let mut pictures = Vec::new();
        for (at, first) in examples[0].1.levels.iter().enumerate() {
            let mut cells = Vec::new();
            for &(i, e) in &examples {
                let Some(l) = e.levels.get(at) else { continue };
                let Some(map) = l.relevance.iter().find(|r| r.kind == kind) else { continue };
                let (model, s) = (&study.models[i].name, map.shares);
                table.rows.push(row![
                    model.as_str(),
                    l.variance,
                    key,
                    s.map(|s| s.object),
                    s.map(|s| s.contour),
                    s.map(|s| s.background),
                    map.gini,
                    page.class(l.predicted),
                ]);
                let wrong = l.predicted != e.label;
                let painted = picture::overlay(map, &l.picture, scale);
                let alt = format!("{name} of {model}, {}", level_name(l.variance));
                cells.push(html! {
                    div.shot {
                        img src=(picture::uri(&painted)) alt=(alt) width=(map.width) height=(map.height);
                        @if let Some(s) = s { (split(s)) }
                        @if several { (super::model_chip(study, i)) } @else { b { (name) } }
                        small.wrong[wrong] { (page.class(l.predicted)) @if wrong { " (wrong)" } }
                        @if kind == RelevanceKind::Certified { small { (decided(map)) " of the pixels decided" } }
                    }
                });
                pictures.push((painted, format!("{model} {}", crate::report::chart::number(l.variance))));
            }
            single.extend(cells.first().cloned());
            panels.push(html! {
                div.row data-kind=(k) data-level=(at) { (photo(first, format!("The image, {}", level_name(first.variance)))) @for c in cells { (c) } }
            });
        }
        page.figures.pictures(
            &format!("relevance-maps-{key}"),
            &format!("Relevance, {name}"),
            examples.len(),
            &pictures,
        );
    }
    page.figures.table("relevance-example", "Relevance of the example image", table);
    let options = kinds.iter().map(|k| k.1.to_string()).collect();
    let variances: Vec<f64> = examples[0].1.levels.iter().map(|l| l.variance).collect();
    let choices = [
        Choice { key: "kind", label: "Method", options, first: Some(0) },
        Choice { key: "level", label: "Noise", options: super::levels(&variances), first: Some(0) },
    ];
    let body = html! {
        p.legend {
            span.chip style="--k:#c81026" { "speaks for the class" } span.chip style="--k:#1652c8" { "speaks against it" }
            span.sep {} "bars: "
            span.chip style="--k:var(--good)" { "object" } span.chip style="--k:var(--warn)" { "contour" }
            span.chip style="--k:var(--faint)" { "background" }
        }
        @if several { (choose(&choices, html! { div.maps { @for p in panels { (p) } } })) } @else {
            div.maps { div.row { (photo(&examples[0].1.levels[0], "The image".into())) @for c in single { (c) } } }
        }
    };
    let caption = format!(
        "{} Under {} the share of relevance on the object, its contour and the background, and what the model calls it{}.{}",
        if several {
            "The image, and beside it the relevance laid over the same image in grey, a picture per model; all models and noise levels of a method are on one colour scale."
        } else {
            "The image, and beside it the relevance laid over the same image in grey."
        },
        if several { "each picture" } else { "the picture" },
        if several { " (red when wrong)" } else { "" },
        of_kind(RelevanceKind::Certified).find_map(|m| m.delta).map_or(String::new(), |d| format!(
            " Certified relevance colours a pixel only where the sign of its influence is proved for every image within {} of this one.",
            study.norm.size(d)
        ))
    );
    let name = examples[0].1;
    let title = format!("Relevance of {}", super::example::file(name));
    Some(figure(&mut page.figures, &title, body, &caption))
}

/// Share of the pixels whose sign is proved.
fn decided(map: &RelevanceMap) -> String {
    let proved = map.values.iter().filter(|v| **v != 0.0).count();
    percent((proved as f64 / map.values.len().max(1) as f64 * 100.0).round() / 100.0)
}

/// A bar of the three shares.
fn split(s: Shares) -> Markup {
    let tip =
        format!("object {}, contour {}, background {}", percent(s.object), percent(s.contour), percent(s.background));
    let part = |share: f64, color: &str| format!("width:{:.1}%;background:var(--{color})", share * 100.0);
    html! {
        div.split title=(tip) {
            i style=(part(s.object, "good")) {} i style=(part(s.contour, "warn")) {} i style=(part(s.background, "faint")) {}
        }
    }
}

fn shares(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let kinds: Vec<_> =
        KINDS.into_iter().filter(|k| study.models.iter().flat_map(|m| &m.relevance).any(|r| r.kind == k.0)).collect();
    let variances =
        crate::report::statistics::sorted(study.models.iter().flat_map(|m| &m.relevance).map(|r| r.variance));
    let mut variances = variances;
    variances.dedup();
    study.models.iter().flat_map(|m| &m.relevance).next()?;
    let mut table = Table::new(&["model", "kind", "variance", "part", "mean", "deviation", "low", "high", "images"]);
    let mut panels = Vec::new();
    type Part = (&'static str, &'static str, fn(&RelevanceSummary) -> Option<Spread>);
    let parts: [Part; 6] = [
        ("Decided", "Share of pixels", |r| Some(r.decided.as_ref()?.share)),
        ("Proved to speak for the class", "Share of pixels", |r| Some(r.decided.as_ref()?.positive)),
        ("Object", "Share of relevance", |r| Some(r.object)),
        ("Contour", "Share of relevance", |r| Some(r.contour)),
        ("Background", "Share of relevance", |r| Some(r.background)),
        ("Concentration", "Gini coefficient", |r| r.gini),
    ];
    for (k, &(kind, name, key)) in kinds.iter().enumerate() {
        let of_kind = study.models.iter().flat_map(|m| &m.relevance).filter(|r| r.kind == kind);
        let images = of_kind.clone().map(|r| r.images).max().unwrap_or(0);
        for (part, label, value) in parts.into_iter().filter(|p| of_kind.clone().any(|r| p.2(r).is_some())) {
            let series = study.models.iter().enumerate().map(|(i, m)| {
                let of = m.relevance.iter().filter(|r| r.kind == kind);
                let of: Vec<_> = of.filter_map(|r| Some((r, value(r)?))).collect();
                // The mean of every training that has it, rising.
                let trainings = |v: f64| -> Vec<f64> {
                    let found =
                        |t: Trained<'_>| t.relevance.iter().find(|r| r.kind == kind && r.variance == v).and_then(value);
                    crate::report::statistics::sorted(m.trained().filter_map(found).map(|s| s.mean))
                };
                let middle = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
                for (r, s) in &of {
                    table.rows.push(row![
                        m.name.as_str(),
                        key,
                        r.variance,
                        part,
                        s.mean,
                        s.deviation,
                        s.low,
                        s.high,
                        r.images
                    ]);
                }
                Series {
                    name: m.name.clone(),
                    color: model_color(i),
                    points: of.iter().map(|(r, _)| [r.variance, middle(&trainings(r.variance))]).collect(),
                    band: of
                        .iter()
                        .map(|(r, s)| {
                            let all = trainings(r.variance);
                            let [low, high] = match all.len() {
                                // Shares lie between 0 and 1, whatever their deviation.
                                1 => [(s.mean - s.deviation).max(0.0), (s.mean + s.deviation).min(1.0)],
                                _ => [all[0], all[all.len() - 1]],
                            };
                            [r.variance, low, high]
                        })
                        .collect(),
                    dots: true,
                    ..Default::default()
                }
            });
            let series: Vec<Series> = series.collect();
            let title = format!("{part}, {name}, against noise");
            let draw = |width: f64| {
                Lines {
                    width,
                    height: 270.0,
                    title: title.clone(),
                    x: Axis::variance(&variances),
                    y: Axis::share(&format!("{label}, {images} images")),
                    series: series.clone(),
                    marks: vec![],
                    legend: false,
                }
                .draw()
            };
            let svg = page.figures.responsive(&format!("relevance-{key}-{part}"), &title, 520.0, draw, None);
            panels.push(html! { div.panel data-kind=(k) { h4 { (part) small { (name) } } (svg) } });
        }
    }
    page.figures.table("relevance-shares", "Where relevance lies over the test set", table);
    let options = kinds.iter().map(|k| k.1.to_string()).collect();
    let body = choose(
        &[Choice { key: "kind", label: "Method", options, first: Some(0) }],
        html! { div.grid.two { @for p in panels { (p) } } },
    );
    let decided = study.models.iter().flat_map(|m| &m.relevance).find_map(|r| r.decided.as_ref());
    let caption = format!(
        "Share of absolute relevance on the object, on its contour and on the background, and how concentrated it is (its Gini coefficient: 0% if all pixels count alike, 100% if one counts alone): mean over the first test images{}.{}",
        if study.models.iter().any(|m| !m.repeats.is_empty()) {
            " and over the trainings; upright bars go from the lowest to the highest training, or where only one was measured are one standard deviation over the images to either side"
        } else {
            "; upright bars are one standard deviation to either side"
        },
        decided.map_or(String::new(), |d| format!(
            " Certified: pixels whose influence has a proved sign for every image within {}, and where on the picture those pixels lie.",
            study.norm.size(d.delta)
        ))
    );
    Some(figure(&mut page.figures, "Over the test set", body, &caption))
}
