//! One image followed through the noise: photos, dominance, intervals against delta, the stable space.

use super::{Choice, Page, Section, choose, figure, image, level_name, levels};
use crate::report::chart::{
    Axis, Format, Lines, Mark, Range, Ranges, Series, class_color, model_color, number, percent,
};
use crate::report::figure::{Table, row};
use crate::report::findings::{both_units, list};
use crate::results::{Example, ExampleLevel, ScorePoint};
use maud::{Markup, html};

/// The main example in full; further ones by their brackets.
pub fn section(page: &mut Page) -> Option<Section> {
    let first = page.study.models.iter().find_map(|m| m.examples.first())?;
    let count = page.study.models.iter().map(|m| m.examples.len()).max().unwrap_or(0).min(IMAGES);
    let mut images = Vec::new();
    let mut options = Vec::new();
    for which in 0..count {
        let Some((_, e)) = examples(page, which).into_iter().next() else { continue };
        options.push(format!("{} #{}", page.class(e.label), e.index));
        images.push(html! {
            div data-image=(which) {
                @if count > 1 { h3 { (file(e)) ": " (page.class(e.label)) } }
                (photos(page, which))
                (dominance(page, which))
                @if let Some(c) = continuous(page, which) { (c) }
                @if let Some(c) = stable_space(page, which) { (c) }
            }
        });
    }
    let body =
        choose(&[Choice { key: "image", label: "Image", options, first: Some(0) }], html! { @for i in images { (i) } });
    let lead = if count > 1 {
        "Single test images, and what each model makes of them as noise is added.".to_string()
    } else {
        format!(
            "Test image {}, of class {}: what each model makes of it as noise is added.",
            file(first),
            page.class(first.label)
        )
    };
    Some(Section { id: "example", nav: "One image", title: "One image, step by step".into(), lead, body })
}

/// Images shown in full: each adds to the size of the page.
pub(super) const IMAGES: usize = 4;

pub(super) fn file(e: &Example) -> String {
    if e.file.is_empty() { format!("number {}", e.index) } else { e.file.clone() }
}

/// The image in the titles of its figures, where there are several: `, Shoes #12`.
fn whose(page: &Page, which: usize) -> String {
    let several = page.study.models.iter().any(|m| m.examples.len() > 1);
    let named = examples(page, which).first().map(|(_, e)| format!(", {} #{}", page.class(e.label), e.index));
    named.filter(|_| several).unwrap_or_default()
}

fn examples<'a>(page: &Page<'a>, which: usize) -> Vec<(usize, &'a Example)> {
    let all = page.study.models.iter().enumerate();
    all.filter_map(|(i, m)| m.examples.get(which).map(|e| (i, e))).collect()
}

fn photos(page: &mut Page, which: usize) -> Markup {
    let models = examples(page, which);
    let Some(&(_, first)) = models.first() else { return html! {} };
    let pictures: Vec<_> = first.levels.iter().map(|l| (l.picture.clone(), level_name(l.variance))).collect();
    page.figures.pictures("photo-under-noise", pictures.len(), &pictures);
    let body = html! {
        div.strip {
            @for (k, l) in first.levels.iter().enumerate() {
                div.shot {
                    (image(&l.picture, &format!("the example image, {}", level_name(l.variance))))
                    b { (level_name(l.variance)) }
                    @for &(i, e) in &models {
                        @if let Some(own) = e.levels.get(k) {
                            small.call.wrong[own.predicted != e.label] style={ "--k:" (model_color(i)) } {
                                (page.study.models[i].name) ": " (page.class(own.predicted))
                            }
                        }
                    }
                }
            }
        }
    };
    figure(
        "The photo under noise",
        body,
        "The image at every noise level, and what each model calls it; wrong answers in red.",
    )
}

pub(in crate::report) fn dominance(page: &mut Page, which: usize) -> Markup {
    let study = page.study;
    let mut table = Table::new(&[
        "model",
        "variance",
        "delta",
        "class",
        "predicted",
        "logit",
        "logit_low",
        "logit_high",
        "score_low",
        "score_high",
        "best_margin",
        "dominant",
    ]);
    let mut panels = Vec::new();
    let all = examples(page, which);
    // Logits have no natural ends: one range for all panels, so that they compare.
    let logits = || {
        all.iter().flat_map(|e| &e.1.levels).flat_map(|l| &l.logit_bounds).flatten().copied().filter(|v| v.is_finite())
    };
    let reach = [logits().fold(0.0, f64::min), logits().fold(0.0, f64::max)];
    let count = all.iter().map(|e| e.1.levels.len()).max().unwrap_or(0);
    for k in 0..count {
        for &(i, e) in &all {
            let Some(l) = e.levels.get(k) else { continue };
            for (c, name) in study.dataset.classes.iter().enumerate() {
                let score = l.score_bounds.get(c);
                table.rows.push(row![
                    study.models[i].name.as_str(),
                    l.variance,
                    l.delta,
                    name.as_str(),
                    page.class(l.predicted),
                    l.logits[c],
                    l.logit_bounds[c][0],
                    l.logit_bounds[c][1],
                    score.map(|s| s[0]),
                    score.map(|s| s[1]),
                    best_margin(l, c),
                    if l.dominant { "yes" } else { "not proved" },
                ]);
            }
            let title =
                format!("Dominance of {}, {}{}", study.models[i].name, level_name(l.variance), whose(page, which));
            let svg = page.figures.add(
                &format!("dominance-{}-{}", study.models[i].name, l.variance),
                &title,
                &ranges(page, l, reach, &title).draw(),
                None,
            );
            let overlaps = l
                .logit_bounds
                .iter()
                .enumerate()
                .any(|(c, b)| c != l.predicted && b[1] >= l.logit_bounds[l.predicted][0]);
            panels.push(html! {
                div.panel data-model=(i) data-level=(k) {
                    h4 { (super::model_chip(study, i)) small { (level_name(l.variance)) } }
                    p.badge.yes[l.dominant].no[!l.dominant] {
                        (page.class(l.predicted)) @if l.dominant { " dominates: proved" } @else { ": dominance not proved" }
                    }
                    (svg)
                    @if let Some(text) = weakest(page, l) { p.note { (text) @if l.dominant && overlaps { " The intervals overlap all the same." } } }
                }
            });
        }
    }
    page.figures.table("dominance", "Dominance of the example image", table);
    let variances: Vec<f64> = all.first().map(|e| e.1.levels.iter().map(|l| l.variance).collect()).unwrap_or_default();
    let models = study.models.iter().map(|m| m.name.clone()).collect();
    let delta = all.first().and_then(|e| e.1.levels.first()).map_or(0.0, |l| l.delta);
    let body = choose(
        &[
            Choice { key: "level", label: "Noise", options: levels(&variances), first: None },
            Choice { key: "model", label: "Model", options: models, first: None },
        ],
        html! { div class=(if panels.len() < 3 { "grid two" } else { "grid" }) { @for p in panels { (p) } } },
    );
    let caption = format!(
        "Every value each class can take when any pixel moves by up to {}: the bar is the proved interval, the dot the value at the image itself. The chosen class is green when it is proved to stay first, amber when not. Intervals may overlap without dominance being lost: the proof compares classes pair by pair, and a pixel cannot be at two values at once.",
        both_units(delta)
    );
    figure("Dominance", body, &caption)
}

fn ranges(page: &Page, l: &ExampleLevel, reach: [f64; 2], title: &str) -> Ranges {
    let scored = !l.score_bounds.is_empty();
    let bounds = if scored { &l.score_bounds } else { &l.logit_bounds };
    let scores = softmax(&l.logits);
    let mut order: Vec<usize> = (0..l.logits.len()).collect();
    order.sort_by(|&a, &b| (b == l.predicted).cmp(&(a == l.predicted)).then(l.logits[b].total_cmp(&l.logits[a])));
    let rows = order.into_iter().map(|c| {
        let color = match (c == l.predicted, l.dominant) {
            (true, true) => "var(--good)",
            (true, false) => "var(--warn)",
            (false, _) => "var(--c0)",
        };
        let value = if scored { scores[c] } else { l.logits[c] };
        let write = |v: f64| if scored { percent(v) } else { number(v) };
        Range {
            name: page.class(c).to_string(),
            color: color.into(),
            whole: bounds[c],
            core: None,
            point: Some(value),
            tip: format!(
                "{}\n{} to {}, at the image {}",
                page.class(c),
                write(bounds[c][0]),
                write(bounds[c][1]),
                write(value)
            ),
            apart: false,
            ..Range::default()
        }
    });
    let x = if scored {
        Axis::linear("Softmax score", 0.0, 1.0, Format::Percent, 4)
    } else {
        Axis::linear("Logit", reach[0], reach[1], Format::Number, 4)
    };
    Ranges { width: 330.0, title: title.into(), x, rows: rows.collect(), thick: true }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let all: Vec<f64> = logits.iter().map(|l| (l - most).exp()).collect();
    let sum: f64 = all.iter().sum();
    all.into_iter().map(|v| v / sum).collect()
}

fn best_margin(l: &ExampleLevel, rival: usize) -> Option<f64> {
    l.margins.iter().filter(|m| m.rival == rival).map(|m| m.lower).reduce(f64::max)
}

/// The proved lead over the nearest rival by each method, the best first; methods that prove none are named only.
fn weakest(page: &Page, l: &ExampleLevel) -> Option<String> {
    let mut methods: Vec<&str> = l.margins.iter().map(|m| m.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    let worst = |method: &str| {
        let of = l.margins.iter().filter(|m| m.method == method && m.rival != l.predicted);
        of.min_by(|a, b| a.lower.total_cmp(&b.lower))
    };
    let mut found: Vec<_> = methods.into_iter().filter_map(worst).collect();
    found.sort_by(|a, b| b.lower.total_cmp(&a.lower));
    let (proved, none): (Vec<_>, Vec<_>) = found.into_iter().partition(|m| m.lower > 0.0);
    let leads: Vec<String> =
        proved.iter().map(|m| format!("{} over {} by {}", number(m.lower), page.class(m.rival), m.method)).collect();
    let names: Vec<String> = none.iter().map(|m| m.method.clone()).collect();
    let verb = if names.len() == 1 { "proves" } else { "prove" };
    match (leads.is_empty(), names.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("Proved lead: {}.", leads.join(", "))),
        (false, false) => Some(format!("Proved lead: {}; {} {verb} none.", leads.join(", "), list(&names))),
        (true, false) => Some(format!("No lead is proved by {}.", list(&names))),
    }
}

/// Chart points kept per curve.
const POINTS: usize = 60;

pub(in crate::report) fn continuous(page: &mut Page, which: usize) -> Option<Markup> {
    let study = page.study;
    let all = examples(page, which);
    all.iter().flat_map(|e| &e.1.levels).find(|l| !l.continuous.is_empty())?;
    let mut table =
        Table::new(&["model", "variance", "delta", "class", "score_low", "score_high", "proved", "attacked"]);
    let mut panels = Vec::new();
    for &(i, e) in &all {
        for (k, l) in e.levels.iter().enumerate().filter(|l| !l.1.continuous.is_empty()) {
            for p in &l.continuous {
                for (c, s) in p.scores.iter().enumerate() {
                    table.rows.push(row![
                        study.models[i].name.as_str(),
                        l.variance,
                        p.delta,
                        page.class(c),
                        s[0],
                        s[1],
                        l.proved,
                        l.attacked
                    ]);
                }
            }
            // Far beyond the attacked end every interval is everything.
            let end = l.attacked.or(l.proved).map_or(f64::INFINITY, |d| d * 1.3);
            let shown: Vec<_> = l.continuous.iter().filter(|p| p.delta <= end).collect();
            let kept: Vec<_> = shown.iter().step_by(shown.len().div_ceil(POINTS).max(1)).collect();
            let most = kept.iter().map(|p| p.delta).fold(0.0, f64::max);
            let mut order: Vec<usize> = (0..study.dataset.classes.len()).collect();
            order.sort_by(|&a, &b| l.logits[b].total_cmp(&l.logits[a]));
            let shown = order.into_iter().take(5);
            let series = shown.flat_map(|c| {
                let color = class_color(c);
                let edge = |side: usize, suffix: &str| Series {
                    name: format!("{} {suffix}", page.class(c)),
                    color: color.clone(),
                    points: kept.iter().map(|p| [p.delta, p.scores[c][side]]).collect(),
                    unlabelled: true,
                    ..Default::default()
                };
                let band = Series {
                    name: page.class(c).into(),
                    color: color.clone(),
                    band: kept.iter().map(|p| [p.delta, p.scores[c][0], p.scores[c][1]]).collect(),
                    ..Default::default()
                };
                [band, edge(0, "at least"), edge(1, "at most")]
            });
            let mark = |x: Option<f64>, text: &str, dashed, color: &str| {
                x.filter(|x| *x <= most).map(|x| Mark { x, text: text.into(), color: color.into(), dashed })
            };
            let marks =
                [mark(l.proved, "proved", false, "var(--good)"), mark(l.attacked, "attacked", true, "var(--bad)")];
            let chart = Lines {
                width: 400.0,
                height: 270.0,
                title: format!(
                    "Score intervals of {} as delta grows, {}{}",
                    study.models[i].name,
                    level_name(l.variance),
                    whose(page, which)
                ),
                x: Axis::linear("Delta", 0.0, most, Format::Delta, 4),
                y: Axis::share("Softmax score"),
                series: series.collect(),
                marks: marks.into_iter().flatten().collect(),
                legend: true,
            };
            let svg = page.figures.add(
                &format!("score-intervals-{}-{}", study.models[i].name, l.variance),
                &chart.title,
                &chart.draw(),
                None,
            );
            panels.push(html! { div.panel data-model=(i) data-level=(k) { h4 { (super::model_chip(study, i)) small { (level_name(l.variance)) } } (svg) } });
        }
    }
    page.figures.table("score-intervals", "Score intervals as delta grows", table);
    let variances: Vec<f64> = all[0].1.levels.iter().map(|l| l.variance).collect();
    let body = choose(
        &[Choice { key: "level", label: "Noise", options: levels(&variances), first: Some(0) }],
        html! { div class=(if panels.len() < 3 { "grid two" } else { "grid" }) { @for p in panels { (p) } } },
    );
    let known = || all.iter().flat_map(|e| &e.1.levels).filter(|l| !l.continuous.is_empty() && l.proved.is_some());
    let (early, pictures) = (known().filter(|l| overlaps_early(l)).count(), known().count());
    let overlap = match (early, pictures) {
        (_, 0) => String::new(),
        (0, 1) => " The intervals stay apart until dominance is lost.".into(),
        (1, 1) => " The intervals overlap before dominance is lost.".into(),
        (0, _) => {
            format!(" The intervals stay apart until dominance is lost in all {pictures} such pictures of this image.")
        }
        _ => format!(
            " In {early} of {pictures} such pictures of this image the intervals overlap before dominance is lost."
        ),
    };
    let caption = format!(
        "Between its two lines each class can take any value as far as is proved. Left of “proved” no image in the box changes class; at “attacked” one that does was found.{overlap}"
    );
    Some(figure("Score intervals as the noise box grows", body, &caption))
}

/// Whether another class's interval reaches that of the chosen class while its dominance is still proved.
fn overlaps_early(l: &ExampleLevel) -> bool {
    let reaches = |p: &&ScorePoint| {
        let own = p.scores[l.predicted][0];
        p.scores.iter().enumerate().any(|(c, s)| c != l.predicted && s[1] >= own)
    };
    l.continuous.iter().find(reaches).is_some_and(|p| Some(p.delta) < l.proved)
}

fn stable_space(page: &mut Page, which: usize) -> Option<Markup> {
    let study = page.study;
    let all = examples(page, which);
    let mut table = Table::new(&["model", "variance", "proved", "attacked"]);
    let mut variances = Vec::new();
    let mut series = Vec::new();
    let mut most = 0.0f64;
    for &(i, e) in &all {
        let known: Vec<_> = e.levels.iter().filter_map(|l| Some((l, l.proved?))).collect();
        for (l, proved) in &known {
            table.rows.push(row![study.models[i].name.as_str(), l.variance, *proved, l.attacked]);
            variances.push(l.variance);
            most = most.max(*proved).max(l.attacked.unwrap_or(0.0));
        }
        let index = e.index;
        for (k, r) in study.models[i].repeats.iter().enumerate() {
            let of = |l: &ExampleLevel| {
                let row = r.certify.iter().find(|r| r.index == index && r.variance == l.variance)?;
                Some([l.variance, row.proved])
            };
            let points: Vec<[f64; 2]> = e.levels.iter().filter_map(of).collect();
            most = points.iter().map(|p| p[1]).fold(most, f64::max);
            let name = format!("{}, training {}", study.models[i].name, k + 2);
            series.push(Series {
                name,
                color: model_color(i),
                points,
                thin: true,
                unlabelled: true,
                ..Default::default()
            });
        }
        let band: Vec<[f64; 3]> = known.iter().filter_map(|(l, p)| Some([l.variance, *p, l.attacked?])).collect();
        let upper = band.iter().map(|b| [b[0], b[2]]).collect();
        let name = &study.models[i].name;
        series.push(Series {
            name: format!("{name} attacked"),
            color: model_color(i),
            points: upper,
            dashed: true,
            unlabelled: true,
            ..Default::default()
        });
        series.push(Series {
            name: name.clone(),
            color: model_color(i),
            points: known.iter().map(|(l, p)| [l.variance, *p]).collect(),
            band,
            dots: true,
            ..Default::default()
        });
    }
    if variances.is_empty() {
        return None;
    }
    variances.sort_by(f64::total_cmp);
    variances.dedup();
    let title = format!("Delta max of the example image against noise, by model{}", whose(page, which));
    let draw = |width: f64| {
        Lines {
            width,
            height: if width > 600.0 { 400.0 } else { 320.0 },
            title: title.clone(),
            x: Axis::variance(&variances),
            y: Axis::linear("Delta max", 0.0, most * 1.05, Format::Delta, 5),
            series: series.clone(),
            marks: vec![],
            legend: false,
        }
        .draw()
    };
    let chart = page.figures.responsive(
        "stable-space",
        "Delta max of the example image against noise",
        980.0,
        draw,
        Some(table),
    );
    Some(figure(
        "Stable space of the example",
        chart,
        "Delta max of the example image at every noise level. Solid: proved, no change of class is possible below. Dashed: an attack changed the class here. The exact threshold lies in the shaded band. Thin: proved of further trainings.",
    ))
}
