//! The test set under Gaussian noise: accuracy, per-class rates, confusion matrices, who turns into whom.

use super::{Choice, Page, Section, choose, class_legend, figure, level_name, levels};
use crate::report::chart::{Axis, Heat, Lines, Series, Stack, class_color, model_color, number, percent, plural};
use crate::report::figure::{Table, row};
use crate::results::{ModelResult, NoiseLevel, Study};
use maud::{Markup, html};

/// Everything the sweep measured.
pub fn section(page: &mut Page) -> Option<Section> {
    let study = page.study;
    let variances: Vec<f64> =
        study.models.iter().max_by_key(|m| m.sweep.len())?.sweep.iter().map(|l| l.variance).collect();
    if variances.is_empty() {
        return None;
    }
    let draws = study.models.iter().flat_map(|m| &m.sweep).map(|l| l.draws).max().unwrap_or(1);
    let trainings = study.models.iter().map(|m| m.trained().count()).max().unwrap_or(1);
    let images: usize = study.dataset.test_counts.iter().sum();
    let body = html! {
        @if variances.len() > 1 { (accuracy(page, &variances)) }
        (matrices(page, &variances))
        @if variances.len() > 1 { (super::fold("Class by class: which fall, and who turns into whom", html! { (rates(page, &variances)) (turning(page)) })) }
    };
    Some(Section {
        id: "noise",
        nav: "Noise",
        title: "What noise does to the whole test set".into(),
        lead: format!(
            "Gaussian noise, as from a dim photo studio, is added to each of the {}{}; the same noise for every model.{}",
            plural(images, "test image"),
            if draws > 1 { format!(", {draws} draws per level") } else { String::new() },
            if trainings > 1 {
                format!(" Figures are over {trainings} trainings of every model with different seeds.")
            } else {
                String::new()
            }
        ),
        body,
    })
}

fn accuracy(page: &mut Page, variances: &[f64]) -> Markup {
    let study = page.study;
    let beyond = || study.models.iter().flat_map(|m| m.beyond.iter().map(move |l| (m, 1, l.clone())));
    let levels = || all_levels(study).map(|(m, l)| (m, m.trained().count(), l)).chain(beyond());
    let mut table = Table::new(&["model", "trainings", "variance", "accuracy", "deviation", "low", "high"]);
    for (m, trainings, l) in levels() {
        let a = l.accuracy;
        table.rows.push(row![m.name.as_str(), trainings, l.variance, a.mean, a.deviation, a.low, a.high]);
    }
    let mut tried = variances.to_vec();
    tried.extend(beyond().map(|(.., l)| l.variance));
    tried.sort_by(f64::total_cmp);
    tried.dedup();
    let series: Vec<Series> = study
        .models
        .iter()
        .enumerate()
        .map(|(i, m)| (i, m, m.levels()))
        .map(|(i, m, levels)| Series {
            name: m.name.clone(),
            color: model_color(i),
            points: levels.iter().chain(&m.beyond).map(|l| [l.variance, l.accuracy.mean]).collect(),
            band: levels.iter().map(|l| [l.variance, l.accuracy.low, l.accuracy.high]).collect(),
            dots: true,
            ..Default::default()
        })
        .collect();
    let lowest = all_levels(study).map(|(_, l)| l.accuracy.low.min(l.accuracy.mean));
    let lowest = lowest.chain(beyond().map(|(.., l)| l.accuracy.mean)).fold(1.0, f64::min);
    let images: usize = study.dataset.test_counts.iter().sum();
    let y = Axis::high_shares(&format!("Rightly classified of {}", plural(images, "test image")), lowest);
    let caption = format!(
        "Share of test images rightly classified as the noise grows; upright bars go from the lowest to the highest of the draws and trainings. The axis along the bottom is spaced by the noise's standard deviation{}.{}",
        if y.min > 0.0 { format!(", the other starts at {}", percent(y.min)) } else { String::new() },
        if beyond().next().is_none() {
            String::new()
        } else {
            let last = variances.iter().copied().fold(0.0, f64::max);
            format!(
                " Beyond a variance of {} the noise was made stronger until a model's accuracy had fallen by ten points, or to a variance of 1, in its first training.",
                number(last)
            )
        }
    );
    let draw = |width: f64| {
        Lines {
            width,
            height: if width > 600.0 { 360.0 } else { 280.0 },
            title: "Accuracy against noise variance, by model".into(),
            x: Axis::variance(&tried),
            y: y.clone(),
            series: series.clone(),
            marks: vec![],
            legend: false,
        }
        .draw()
    };
    let chart = page.figures.responsive("accuracy-noise", "Accuracy against noise", 980.0, draw, Some(table));
    figure(&mut page.figures, "Accuracy under noise", chart, &caption)
}

/// Every model at every level, over its trainings.
fn all_levels(study: &Study) -> impl Iterator<Item = (&ModelResult, NoiseLevel)> {
    study.models.iter().flat_map(|m| m.levels().into_iter().map(move |l| (m, l)))
}

fn rates(page: &mut Page, variances: &[f64]) -> Markup {
    let study = page.study;
    let classes = &study.dataset.classes;
    let mut table = Table::new(&["model", "variance", "class", "rate", "low", "high"]);
    for (m, l) in all_levels(study) {
        for (c, name) in classes.iter().enumerate() {
            let spread = l.class_rates.get(c);
            let rate = l.class_rate(c);
            table.rows.push(row![
                m.name.as_str(),
                l.variance,
                name.as_str(),
                rate,
                spread.map(|s| s.low),
                spread.map(|s| s.high)
            ]);
        }
    }
    page.figures.table("class-rates", "Rates per class against noise", table);
    let mut panels = Vec::new();
    let falling = falling(study);
    for m in &study.models {
        let levels = m.levels();
        let sizes = &study.dataset.test_counts;
        let series = falling.iter().map(|&c| (c, &classes[c])).map(|(c, name)| Series {
            name: sizes.get(c).map_or(name.clone(), |n| format!("{name} ({n})")),
            color: class_color(c),
            points: levels.iter().filter_map(|l| Some([l.variance, l.class_rate(c)?])).collect(),
            band: levels.iter().filter_map(|l| l.class_rates.get(c).map(|s| [l.variance, s.low, s.high])).collect(),
            dots: true,
            ..Default::default()
        });
        let chart = Lines {
            width: 380.0,
            height: 280.0,
            title: format!("Rate of each class against noise variance, {}", m.name),
            x: Axis::variance(variances),
            y: Axis::share("Rightly classified"),
            series: series.collect(),
            marks: vec![],
            legend: false,
        };
        let svg = page.figures.add(&format!("class-rates-{}", m.name), &chart.title, &chart.draw(), None);
        panels.push(html! { div.panel { h4 { (m.name) } (svg) } });
    }
    figure(
        &mut page.figures,
        "Which classes fall",
        html! { div class=(super::grid(study)) { @for p in panels { (p) } } },
        &format!(
            "Share of each class rightly classified, one panel per model, in brackets the number of test images{}. Upright bars as above.",
            if falling.len() < classes.len() {
                "; of all classes those that fall most, class-rates.csv has all"
            } else {
                ""
            }
        ),
    )
}

fn matrices(page: &mut Page, variances: &[f64]) -> Markup {
    let study = page.study;
    let classes = &study.dataset.classes;
    let mut table = Table::new(&["model", "variance", "true", "predicted", "count", "share"]);
    let (mut panels, mut named) = (Vec::new(), true);
    for (k, &v) in variances.iter().enumerate() {
        for (i, m) in study.models.iter().enumerate() {
            let Some(l) = m.levels().into_iter().find(|l| l.variance == v) else { continue };
            for (t, row) in l.confusion.iter().enumerate() {
                for (p, &n) in row.iter().enumerate() {
                    table.rows.push(row![
                        m.name.as_str(),
                        v,
                        classes[t].as_str(),
                        classes[p].as_str(),
                        n,
                        l.share(t, p)
                    ]);
                }
            }
            let title = format!("Confusion matrix of {}, {}", m.name, level_name(v));
            let width = if classes.len() > 6 { 440.0 } else { 330.0 };
            let sizes = &study.dataset.test_counts;
            let heat = Heat { width, title: title.clone(), classes, sizes, counts: &l.confusion };
            named &= heat.named();
            let svg = page.figures.add(&format!("confusion-{}-{v}", m.name), &title, &heat.draw(), None);
            panels.push(html! {
                div.panel data-level=(k) data-model=(i) {
                    h4 { (super::model_chip(study, i)) small { (level_name(v)) } }
                    (svg)
                }
            });
        }
    }
    page.figures.table("confusion", "Confusion matrices", table);
    let body = choose(
        &[Choice {
            key: "level",
            label: "Noise",
            options: levels(variances),
            first: (study.models.len() > 1).then_some(variances.len() - 1),
        }],
        html! { div class=(super::grid(study)) { @for p in panels { (p) } } },
    );
    figure(
        &mut page.figures,
        "Confusion matrices",
        body,
        &format!(
            "Rows are the true classes{}; columns are what the model called them, in {}. Green is right, red is wrong; small errors are drawn stronger than their share so that they can be seen. Counts in the file are summed over draws and trainings.",
            if named { ", with the number of test images in brackets" } else { "" },
            if named { "percent of the row" } else { "the same order: point at a cell to see the names" },
        ),
    )
}

/// Columns for as many panels as there are classes: one row per model, or several full ones.
fn columns(classes: usize) -> usize {
    const MOST: usize = 6;
    classes.div_ceil(classes.div_ceil(MOST).max(1)).max(2)
}

/// The classes whose rates fall most from the first noise level to the last, over all models; in their order.
fn falling(study: &Study) -> Vec<usize> {
    let fall = |c: usize| {
        let of = |m: &ModelResult| {
            let levels = m.levels();
            Some(levels.first()?.class_rate(c)? - levels.last()?.class_rate(c)?)
        };
        study.models.iter().filter_map(of).sum::<f64>()
    };
    super::shown(study.dataset.classes.len(), |c| Some(fall(c)))
}

fn turning(page: &mut Page) -> Markup {
    let study = page.study;
    let classes = &study.dataset.classes;
    let parts: Vec<(String, String)> = classes.iter().enumerate().map(|(c, n)| (n.clone(), class_color(c))).collect();
    let mut panels = Vec::new();
    let falling = falling(study);
    for (i, m) in study.models.iter().enumerate() {
        let levels = m.levels();
        for (k, (c, name)) in falling.iter().map(|&c| (c, &classes[c])).enumerate() {
            if levels.first().and_then(|l| l.class_rate(c)).is_none() {
                continue;
            }
            let stack = Stack {
                width: 220.0,
                height: 160.0,
                title: format!("What {} calls {name} as noise grows", m.name),
                columns: levels
                    .iter()
                    .map(|l| if l.variance == 0.0 { "clean".into() } else { crate::report::chart::number(l.variance) })
                    .collect(),
                shares: levels.iter().map(|l| (0..classes.len()).map(|p| l.share(c, p)).collect()).collect(),
                parts: &parts,
                first: c,
                sizes: vec![],
                label: String::new(),
            };
            let svg = page.figures.add(&format!("turning-{}-{name}", m.name), &stack.title, &stack.draw(), None);
            panels.push(html! {
                div.panel data-model=(i) data-class=(k) {
                    h4 { (name) small { (m.name) @if let Some(n) = study.dataset.test_counts.get(c) { ", " (n) " images" } } }
                    (svg)
                }
            });
        }
    }
    let models = study.models.iter().map(|m| m.name.clone()).collect();
    let first = if classes.len() > 4 { Some(0) } else { None };
    // Classes without test images have no panel.
    let shown = panels.len() / study.models.len().max(1);
    let body = html! {
        (class_legend(study))
        (choose(
            &[
                Choice { key: "model", label: "Model", options: models, first },
                Choice { key: "class", label: "Class", options: falling.iter().map(|&c| classes[c].clone()).collect(), first: None },
            ],
            html! { div.grid.columns style={ "--columns:" (columns(shown)) } { @for p in panels { (p) } } },
        ))
    };
    let caption = format!(
        "What images of each class are called as the noise grows, in percent. The pale part at the bottom is rightly classified; strong colours are the classes the others turn into.{}",
        super::of_many(study, "that fall most", "confusion")
    );
    figure(&mut page.figures, "Who turns into whom", body, &caption)
}
