//! Delta max over the whole test set.

use super::{Choice, Page, Section, choose, class_legend, figure, image, model_legend};
use crate::report::chart::{
    Axis, Format, Lines, Mark, Range, Ranges, Series, Stack, class_color, count, model_color, number,
};
use crate::report::figure::{Table, row};
use crate::report::findings::{both_units, reference_delta};
use crate::report::statistics::{right_radii, sorted, survival};
use crate::results::{CertifyRow, ModelResult, Study, Trained, extremes, quantile};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Points of a sampled distribution: 10,000 images need no more to be drawn.
const POINTS: usize = 120;
/// Images in each gallery.
const GALLERY: usize = 8;

/// Distributions, curves, rivals and the images at both ends.
pub fn section(page: &mut Page) -> Option<Section> {
    let study = page.study;
    let images = study.models.iter().map(|m| m.rows_at(0.0).count()).max().filter(|&n| n > 0)?;
    let mut methods: Vec<&str> = study.models.iter().flat_map(|m| &m.certify).map(|r| r.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    let trainings = study.models.iter().map(|m| m.trained().count()).max().unwrap_or(1);
    let body = html! {
        (certified(page))
        (distribution(page))
        (quantiles(page))
        @if let Some(m) = against_noise(page) { (m) }
        @if let Some(m) = rivals(page) { (m) }
        @if let Some(m) = gallery(page) { (m) }
    };
    Some(Section {
        id: "delta-max",
        nav: "Delta max",
        title: "Delta max over the test set".into(),
        lead: format!(
            "For each of {}{}: the noise up to which its class is proved not to change (method {}), and the smallest at which an attack changed it.",
            of_sample(images, study.dataset.test_counts.iter().sum()),
            if trainings > 1 { format!(", in {trainings} trainings of every model") } else { String::new() },
            methods.join(", ")
        ),
        body,
    })
}

/// `Sandals 25, Slippers 25`: images certified by every training.
fn certified_per_class(study: &Study) -> String {
    let of = |c: usize| study.models.iter().map(|m| m.rows_at(0.0).filter(|r| r.label == c).count()).max().unwrap_or(0);
    let names = study.dataset.classes.iter().enumerate().take(12);
    names.map(|(c, name)| format!("{name} {}", of(c))).collect::<Vec<_>>().join(", ")
}

/// A thin line for each of several trainings.
fn repeated(m: &ModelResult, color: usize, points: impl Fn(&Trained<'_>) -> Vec<[f64; 2]>) -> Vec<Series> {
    let line = |(k, t): (usize, Trained<'_>)| Series {
        name: format!("{}, training {}", m.name, k + 1),
        color: model_color(color),
        points: points(&t),
        thin: true,
        unlabelled: true,
        ..Default::default()
    };
    let several = !m.repeats.is_empty();
    m.trained().enumerate().filter(|_| several).map(line).collect()
}

/// `400 test images`, or how many of them.
fn of_sample(certified: usize, all: usize) -> String {
    let [shown, total] = [certified, all].map(|n| count(n as f64));
    if certified < all {
        format!("{shown} of the {total} test images, a sample with the class balance of all")
    } else {
        format!("{shown} test images")
    }
}

/// A delta that nearly all images of all models lie below.
fn reach(page: &Page) -> f64 {
    let end = |q: f64, value: &dyn Fn(&CertifyRow) -> Option<f64>| {
        let of = |m: &ModelResult| quantile(&sorted(m.all_rows_at(0.0).filter_map(value)), q);
        page.study.models.iter().map(of).filter(|v| v.is_finite()).fold(0.0, f64::max)
    };
    let proved = end(0.995, &|r| Some(r.proved));
    let attacked = end(0.9, &|r| r.attacked);
    // An attack far beyond the proofs must not squeeze them into a corner.
    let reach = proved.max(attacked.min(proved * 4.0));
    if reach > 0.0 { reach * 1.03 } else { 1.0 / 255.0 }
}

fn certified(page: &mut Page) -> Markup {
    let study = page.study;
    let reach = reach(page);
    let mut table = Table::new(&["model", "delta", "proved_accuracy", "attacked_accuracy"]);
    let mut series = Vec::new();
    for (i, m) in study.models.iter().enumerate() {
        let total = m.all_rows_at(0.0).count();
        if total == 0 {
            continue;
        }
        let tried = m.all_rows_at(0.0).any(|r| r.attacked.is_some());
        let rows: Vec<&CertifyRow> = m.all_rows_at(0.0).collect();
        let (proved, broken) = right_radii(rows.iter().copied());
        let lower = survival(&proved, total, reach, POINTS);
        let upper = if tried { survival(&broken, total, reach, POINTS) } else { Vec::new() };
        for (k, p) in lower.iter().enumerate() {
            table.rows.push(row![m.name.as_str(), p[0], p[1], upper.get(k).map(|u| u[1])]);
        }
        series.extend(repeated(m, i, |t| {
            let own: Vec<&CertifyRow> = t.rows_at(0.0).collect();
            survival(&right_radii(own.iter().copied()).0, own.len(), reach, POINTS)
        }));
        let band = lower.iter().zip(&upper).map(|(l, u)| [l[0], l[1], u[1]]).collect();
        series.push(Series { name: m.name.clone(), color: model_color(i), points: lower, band, ..Default::default() });
        series.push(Series {
            name: format!("{} attacked", m.name),
            color: model_color(i),
            points: upper,
            dashed: true,
            unlabelled: true,
            ..Default::default()
        });
    }
    let attacked = series.iter().any(|s| s.dashed && !s.points.is_empty());
    let at = reference_delta(study);
    let draw = |width: f64| {
        let marks = vec![Mark {
            x: at,
            text: format!("{}/255", number((at * 2550.0).round() / 10.0)),
            color: "var(--faint)".into(),
            dashed: true,
        }];
        Lines {
            width,
            height: if width > 600.0 { 460.0 } else { 380.0 },
            title: "Certified accuracy against delta, by model".into(),
            x: Axis::linear(
                "Delta: how far every pixel may move",
                0.0,
                reach,
                Format::Delta,
                if width > 600.0 { 8 } else { 5 },
            ),
            y: Axis::share("Test images right and stable"),
            series: series.clone(),
            marks: if at <= reach { marks } else { vec![] },
            legend: true,
        }
        .draw()
    };
    let chart =
        page.figures.responsive("certified-accuracy", "Certified accuracy against delta", 980.0, draw, Some(table));
    let caption = if attacked {
        "At delta 0 the lines start at clean accuracy. Solid: share of test images that are rightly classified and proved to stay so. Dashed: share that no attack could change. The truth lies in the shaded band between. Thin: each of several trainings. Second row of the axis: grey levels of 255."
    } else {
        "At delta 0 the lines start at clean accuracy; then the share of test images that are rightly classified and proved to stay so. Second row of the axis: grey levels of 255."
    };
    figure("Certified accuracy", chart, caption)
}

fn ecdf(values: &[f64], reach: f64) -> Vec<[f64; 2]> {
    (0..=POINTS)
        .map(|i| {
            let x = reach * i as f64 / POINTS as f64;
            [x, values.partition_point(|&v| v <= x) as f64 / values.len().max(1) as f64]
        })
        .collect()
}

fn distribution(page: &mut Page) -> Markup {
    let study = page.study;
    let reach = study.models.iter().flat_map(|m| m.all_rows_at(0.0)).map(|r| r.proved).fold(0.0, f64::max).max(1e-6);
    let mut table = Table::new(&["model", "class", "delta", "share_of_images_at_most"]);
    let mut panels = Vec::new();
    let mut overall = Vec::new();
    let classes = &study.dataset.classes;
    for (i, m) in study.models.iter().enumerate() {
        let all = sorted(m.all_rows_at(0.0).map(|r| r.proved));
        if all.is_empty() {
            continue;
        }
        let points = ecdf(&all, reach);
        table.rows.extend(points.iter().map(|p| row![m.name.as_str(), "all", p[0], p[1]]));
        overall.extend(repeated(m, i, |t| ecdf(&sorted(t.rows_at(0.0).map(|r| r.proved)), reach)));
        overall.push(Series { name: m.name.clone(), color: model_color(i), points, ..Default::default() });
        let mut series = Vec::new();
        for (c, name) in classes.iter().enumerate() {
            let of = sorted(m.all_rows_at(0.0).filter(|r| r.label == c).map(|r| r.proved));
            if of.is_empty() {
                continue;
            }
            let points = ecdf(&of, reach);
            table.rows.extend(points.iter().map(|p| row![m.name.as_str(), name.as_str(), p[0], p[1]]));
            series.push(Series { name: name.clone(), color: class_color(c), points, ..Default::default() });
        }
        panels.push((m.name.clone(), format!("{}, by class", m.name), series));
    }
    panels.insert(0, ("all models".into(), "All models".into(), overall));
    let panels: Vec<Markup> = panels
        .into_iter()
        .map(|(id, name, series)| {
            let title = format!("Distribution of proved delta max: {name}");
            let draw = |width: f64| {
                Lines {
                    width,
                    height: 320.0,
                    title: title.clone(),
                    x: Axis::linear("Proved delta max", 0.0, reach, Format::Delta, 4),
                    y: Axis::share("Share of images"),
                    series: series.clone(),
                    marks: vec![],
                    legend: true,
                }
                .draw()
            };
            let svg = page.figures.responsive(&format!("distribution-{id}"), &title, 520.0, draw, None);
            html! { div.panel { h4 { (name) } (svg) } }
        })
        .collect();
    page.figures.table("distribution", "Distribution of proved delta max", table);
    figure(
        "How delta max is distributed",
        html! { div.grid.two { @for p in panels { (p) } } },
        "Share of test images whose proved delta max is at most the value below, right and wrong decisions alike: a line further to the right is a more stable model or class.",
    )
}

fn quantiles(page: &mut Page) -> Markup {
    let study = page.study;
    let mut table = Table::new(&["class", "model", "images", "q05", "q25", "median", "q75", "q95"]);
    let mut rows = Vec::new();
    let mut most = 0.0f64;
    for (c, class) in study.dataset.classes.iter().enumerate() {
        for (i, m) in study.models.iter().enumerate() {
            let all = sorted(m.all_rows_at(0.0).filter(|r| r.label == c).map(|r| r.proved));
            if all.is_empty() {
                continue;
            }
            let q = [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&all, q));
            table.rows.push(row![class.as_str(), m.name.as_str(), all.len(), q[0], q[1], q[2], q[3], q[4]]);
            most = most.max(q[4]);
            rows.push(Range {
                name: format!("{class} · {}", m.name),
                color: model_color(i),
                whole: [q[0], q[4]],
                core: Some([q[1], q[3]]),
                point: Some(q[2]),
                tip: format!(
                    "{class}, {} ({} brackets)\nmedian {}\nmiddle half {} to {}",
                    m.name,
                    all.len(),
                    both_units(q[2]),
                    number(q[1]),
                    number(q[3])
                ),
                apart: rows.is_empty() || i == 0,
                each: if m.repeats.is_empty() {
                    vec![]
                } else {
                    let of = |t: Trained<'_>| {
                        quantile(&sorted(t.rows_at(0.0).filter(|r| r.label == c).map(|r| r.proved)), 0.5)
                    };
                    m.trained().map(of).filter(|v| v.is_finite()).collect()
                },
            });
        }
    }
    let draw = |width: f64| {
        Ranges {
            width,
            title: "Quantiles of proved delta max by class and model".into(),
            x: Axis::linear("Proved delta max", 0.0, most * 1.03, Format::Delta, if width > 600.0 { 8 } else { 5 }),
            rows: rows.clone(),
            thick: false,
        }
        .draw()
    };
    let chart =
        page.figures.responsive("quantiles", "Quantiles of delta max by class and model", 980.0, draw, Some(table));
    let caption = format!(
        "Dot: median. Thick: the middle half of the images. Thin: nine tenths of them. Ring: the median of each of several trainings. Images certified of each class: {}.",
        certified_per_class(study)
    );
    figure("Class by class", html! { (model_legend(study)) (chart) }, &caption)
}

fn against_noise(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let mut variances: Vec<f64> = study.models.iter().flat_map(|m| m.certified_variances()).collect();
    variances.sort_by(f64::total_cmp);
    variances.dedup();
    if variances.len() < 2 {
        return None;
    }
    let mut table = Table::new(&["model", "variance", "images", "q25", "median", "q75", "median_attacked"]);
    let mut series = Vec::new();
    let (mut most, mut images) = (0.0f64, vec![]);
    for (i, m) in study.models.iter().enumerate() {
        let (mut points, mut band) = (Vec::new(), Vec::new());
        let levels = m.certified_variances();
        // Levels may cover different parts of the test set; only images of all of them can be compared.
        let of = |v: f64| m.all_rows_at(v).map(|r| r.index).collect::<BTreeSet<usize>>();
        let common = levels.iter().map(|&v| of(v)).reduce(|a, b| &a & &b).unwrap_or_default();
        images.push(common.len());
        for v in levels {
            let rows = m.all_rows_at(v).filter(|r| common.contains(&r.index));
            let all = sorted(rows.clone().map(|r| r.proved));
            let attacked = sorted(rows.map(|r| r.attacked.unwrap_or(f64::INFINITY)));
            let q = [0.25, 0.5, 0.75].map(|q| quantile(&all, q));
            table.rows.push(row![m.name.as_str(), v, all.len(), q[0], q[1], q[2], quantile(&attacked, 0.5)]);
            most = most.max(q[2]);
            points.push([v, q[1]]);
            band.push([v, q[0], q[2]]);
        }
        series.extend(repeated(m, i, |t| {
            let median = |v: &f64| {
                let of = t.rows_at(*v).filter(|r| common.contains(&r.index));
                Some([*v, quantile(&sorted(of.map(|r| r.proved)), 0.5)]).filter(|p| p[1].is_finite())
            };
            m.certified_variances().iter().filter_map(median).collect()
        }));
        series.push(Series {
            name: m.name.clone(),
            color: model_color(i),
            points,
            band,
            dots: true,
            ..Default::default()
        });
    }
    let draw = |width: f64| {
        Lines {
            width,
            height: if width > 600.0 { 400.0 } else { 320.0 },
            title: "Proved delta max of the test set against noise".into(),
            x: Axis::variance(&variances),
            y: Axis::linear("Proved delta max", 0.0, most * 1.05, Format::Delta, 5),
            series: series.clone(),
            marks: vec![],
            legend: false,
        }
        .draw()
    };
    let chart =
        page.figures.responsive("delta-max-noise", "Delta max of the test set against noise", 980.0, draw, Some(table));
    let images = match (images.iter().min(), images.iter().max()) {
        (Some(least), Some(most)) if least == most => most.to_string(),
        (Some(least), Some(most)) => format!("{least} to {most}"),
        _ => return None,
    };
    let caption = format!(
        "Median proved delta max of the same {images} test images at every noise level; the band holds the middle half of them. Thin: each of several trainings."
    );
    Some(figure("Stable space of the test set", chart, &caption))
}

fn rivals(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let classes = &study.dataset.classes;
    let parts: Vec<(String, String)> = classes.iter().enumerate().map(|(c, n)| (n.clone(), class_color(c))).collect();
    let mut table = Table::new(&["model", "predicted", "rival", "images"]);
    let mut panels = Vec::new();
    for m in &study.models {
        let mut counts = vec![vec![0.0f64; classes.len()]; classes.len()];
        for r in m.all_rows_at(0.0) {
            if let Some(rival) = r.rival_proved {
                counts[r.predicted][rival] += 1.0;
            }
        }
        if counts.iter().flatten().all(|&c| c == 0.0) {
            continue;
        }
        for (p, row) in counts.iter().enumerate() {
            for (r, &n) in row.iter().enumerate().filter(|(r, _)| *r != p) {
                table.rows.push(row![m.name.as_str(), classes[p].as_str(), classes[r].as_str(), n]);
            }
        }
        let shares = counts.iter().map(|row| {
            let total: f64 = row.iter().sum();
            row.iter().map(|c| if total > 0.0 { c / total } else { 0.0 }).collect()
        });
        let stack = Stack {
            width: 340.0,
            height: 230.0,
            title: format!("Rivals that end the proofs of {}", m.name),
            columns: classes.clone(),
            shares: shares.collect(),
            parts: &parts,
            first: usize::MAX,
            label: "class the model chose".into(),
        };
        let svg = page.figures.add(&format!("rivals-{}", m.name), &stack.title, &stack.draw(), None);
        panels.push(html! { div.panel { h4 { (m.name) } (svg) } });
    }
    if panels.is_empty() {
        return None;
    }
    page.figures.table("rivals", "Rivals that end the proofs", table);
    let body = html! { (class_legend(study)) div.grid { @for p in panels { (p) } } };
    Some(figure(
        "Which rival ends the proof",
        body,
        "For the images each model puts in a class: the rival class that stops the proof, in percent. These are the confusions to expect first.",
    ))
}

fn gallery(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let mut panels = Vec::new();
    let ends = |count: usize| {
        study.models.iter().flat_map(move |m| {
            let (weak, strong) = extremes(m, count);
            weak.into_iter().chain(strong)
        })
    };
    let most = ends(GALLERY).map(|r| r.attacked.unwrap_or(r.proved).max(r.proved)).fold(f64::MIN_POSITIVE, f64::max);
    for (i, m) in study.models.iter().enumerate() {
        let (weak, strong) = extremes(m, GALLERY);
        let shown = |rows: Vec<&CertifyRow>| -> Vec<Markup> {
            rows.into_iter()
                .filter_map(|r| study.dataset.pictures.get(&r.index).map(|p| (r, p)))
                .map(|(r, picture)| {
                    let to = r.rival_attacked.or(r.rival_proved);
                    html! {
                        div.shot title=(if r.file.is_empty() { format!("test image {}", r.index) } else { r.file.clone() }) {
                            (image(picture, page.class(r.label)))
                            (bracket(r, most))
                            small { b { (page.class(r.label)) } @if let Some(t) = to { " → " (page.class(t)) } }
                            small { (number((r.proved * 25500.0).round() / 100.0)) @if let Some(a) = r.attacked { "–" (number((a * 25500.0).round() / 100.0)) } "/255" }
                        }
                    }
                })
                .collect()
        };
        let (weak, strong) = (shown(weak), shown(strong));
        if weak.is_empty() && strong.is_empty() {
            continue;
        }
        panels.push(html! {
            div.ends data-model=(i) {
                h4 { (super::model_chip(study, i)) }
                p.note { "Weakest" } div.row { @for s in weak { (s) } }
                p.note { "Strongest" } div.row { @for s in strong { (s) } }
            }
        });
    }
    if panels.is_empty() {
        return None;
    }
    let models = study.models.iter().map(|m| m.name.clone()).collect();
    let body = choose(
        &[Choice { key: "model", label: "Model", options: models, first: None }],
        html! { @for p in panels { (p) } },
    );
    Some(figure(
        "The weakest and the strongest images",
        body,
        "Rightly classified images at both ends. The bar is the bracket of delta max on one scale: green is proved stable, striped lies between proof and attack. Under it the class, the class it turns into, and the bracket in grey levels.",
    ))
}

/// The bracket `[proved, attacked]` as a bar.
fn bracket(r: &CertifyRow, most: f64) -> Markup {
    let proved = (r.proved / most * 100.0).clamp(0.0, 100.0);
    let open = r.attacked.map_or(0.0, |a| (a / most * 100.0).clamp(proved, 100.0) - proved);
    html! {
        div.bracket { i.p style=(format!("width:{proved:.1}%")) {} i.a style=(format!("width:{open:.1}%")) {} }
    }
}
