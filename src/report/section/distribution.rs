//! How delta max is distributed: over all images, class by class, and which rivals end the proofs.

use super::robustness::{POINTS, repeated};
use super::{Page, class_legend, figure, model_legend};
use crate::report::chart::{Axis, Lines, Range, Ranges, Series, Stack, class_color, count, model_color, number};
use crate::report::figure::{Table, row};
use crate::report::statistics::sorted;
use crate::results::{Study, Trained, quantile};
use maud::{Markup, html};

/// `Sandals 25, Slippers 25`: images certified by every training.
fn certified_per_class(study: &Study) -> String {
    let of = |c: usize| study.models.iter().map(|m| m.rows_at(0.0).filter(|r| r.label == c).count()).max().unwrap_or(0);
    let names = fragile(study).into_iter().map(|c| (c, &study.dataset.classes[c]));
    names.map(|(c, name)| format!("{name} {}", of(c))).collect::<Vec<_>>().join(", ")
}

/// The classes that are drawn, in their order: of many those whose images have the smallest median, over all models.
fn fragile(study: &Study) -> Vec<usize> {
    super::shown(study.dataset.classes.len(), |c| {
        let rows = study.models.iter().flat_map(|m| m.all_rows_at(0.0));
        let median = quantile(&sorted(rows.filter(|r| r.label == c).map(|r| r.proved)), 0.5);
        median.is_finite().then_some(-median)
    })
}

/// What a caption says where those are not all.
fn of_fragile(study: &Study, table: &str) -> String {
    super::of_many(study, "with the smallest median are drawn", table)
}

fn ecdf(values: &[f64], reach: f64) -> Vec<[f64; 2]> {
    (0..=POINTS)
        .map(|i| {
            let x = reach * i as f64 / POINTS as f64;
            [x, values.partition_point(|&v| v <= x) as f64 / values.len().max(1) as f64]
        })
        .collect()
}

pub fn distribution(page: &mut Page) -> Markup {
    let study = page.study;
    let reach = study.models.iter().flat_map(|m| m.all_rows_at(0.0)).map(|r| r.proved).fold(0.0, f64::max).max(1e-6);
    let mut table = Table::new(&["model", "class", "delta", "share_of_images_at_most"]);
    let mut panels = Vec::new();
    let mut overall = Vec::new();
    let (classes, drawn) = (&study.dataset.classes, fragile(study));
    for (i, m) in study.models.iter().enumerate() {
        let all = sorted(m.all_rows_at(0.0).map(|r| r.proved));
        if all.is_empty() {
            continue;
        }
        let points = ecdf(&all, reach);
        table.rows.extend(points.iter().map(|p| row![m.name.as_str(), "all", p[0], p[1]]));
        overall.extend(repeated(m, i, |t| ecdf(&sorted(t.rows_at(0.0).map(|r| r.proved)), reach)));
        let name = format!("{} ({})", m.name, count(m.rows_at(0.0).count() as f64));
        overall.push(Series { name, color: model_color(i), points, ..Default::default() });
        let mut series = Vec::new();
        for (c, name) in classes.iter().enumerate() {
            let of = sorted(m.all_rows_at(0.0).filter(|r| r.label == c).map(|r| r.proved));
            if of.is_empty() {
                continue;
            }
            let points = ecdf(&of, reach);
            table.rows.extend(points.iter().map(|p| row![m.name.as_str(), name.as_str(), p[0], p[1]]));
            let name = format!("{name} ({})", count(m.rows_at(0.0).filter(|r| r.label == c).count() as f64));
            if drawn.contains(&c) {
                series.push(Series { name, color: class_color(c), points, ..Default::default() });
            }
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
                    x: study.norm.axis("Proved delta max", [0.0, reach], 4),
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
        &mut page.figures,
        "How delta max is distributed",
        html! { div.grid.two { @for p in panels { (p) } } },
        &format!(
            "Share of images whose proved delta max is at most the value below, right and wrong decisions alike: a line further to the right is a more stable model or class. In brackets the number of images.{}",
            of_fragile(study, "distribution")
        ),
    )
}

pub fn quantiles(page: &mut Page) -> Markup {
    let study = page.study;
    let mut table = Table::new(&["class", "model", "images", "q05", "q25", "median", "q75", "q95"]);
    let mut rows = Vec::new();
    let mut most = 0.0f64;
    let drawn = fragile(study);
    for (c, class) in study.dataset.classes.iter().enumerate() {
        for (i, m) in study.models.iter().enumerate() {
            let all = sorted(m.all_rows_at(0.0).filter(|r| r.label == c).map(|r| r.proved));
            if all.is_empty() {
                continue;
            }
            let q = [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&all, q));
            table.rows.push(row![class.as_str(), m.name.as_str(), all.len(), q[0], q[1], q[2], q[3], q[4]]);
            if !drawn.contains(&c) {
                continue;
            }
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
                    study.norm.size(q[2]),
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
            x: study.norm.axis("Proved delta max", [0.0, most * 1.03], if width > 600.0 { 8 } else { 5 }),
            rows: rows.clone(),
            thick: false,
        }
        .draw()
    };
    let chart =
        page.figures.responsive("quantiles", "Quantiles of delta max by class and model", 980.0, draw, Some(table));
    let caption = format!(
        "Dot: median. Thick: the middle half of the images. Thin: nine tenths of them.{} Images certified of each class: {}.{}",
        if study.models.iter().any(|m| !m.repeats.is_empty()) {
            " Ring: the median of each of several trainings."
        } else {
            ""
        },
        certified_per_class(study),
        of_fragile(study, "quantiles")
    );
    figure(&mut page.figures, "Class by class", html! { (model_legend(study)) (chart) }, &caption)
}

pub fn rivals(page: &mut Page) -> Option<Markup> {
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
        // Of many classes those that the model chose most often.
        let chosen = |c: usize| counts[c].iter().sum::<f64>();
        let columns = super::shown(classes.len(), |c| Some(chosen(c)));
        let shares = columns.iter().map(|&p| {
            let total = chosen(p);
            counts[p].iter().map(|c| if total > 0.0 { c / total } else { 0.0 }).collect()
        });
        let stack = Stack {
            width: 340.0,
            height: 230.0,
            title: format!("Rivals that end the proofs of {}", m.name),
            columns: columns.iter().map(|&c| classes[c].clone()).collect(),
            shares: shares.collect(),
            parts: &parts,
            first: usize::MAX,
            sizes: columns.iter().map(|&c| chosen(c) as usize).collect(),
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
        &mut page.figures,
        "Which rival ends the proof",
        body,
        &format!(
            "For the images each model puts in a class: the rival class that stops the proof, in percent. These are the confusions to expect first. Under each class the number of proofs.{}",
            super::of_many(study, "that each model chose most often", "rivals")
        ),
    ))
}
