//! Dominance of one image: how far its class stays ahead of every other as the noise box grows, and which values each class
//! can take.

use super::example::{examples, whose};
use super::{Choice, Page, choose, figure, level_name, levels};
use crate::report::chart::{
    Axis, Format, Lines, Mark, Range, Ranges, Series, class_color, model_color, number, percent,
};
use crate::report::figure::{Table, row};
use crate::report::findings::list;
use crate::results::{ExampleLevel, ScorePoint};
use maud::{Markup, html};

/// The delta of the bars: where some models still dominate and others do not. It lies in the widest gap between their
/// proved delta max; below that of a single model.
fn telling_delta(radii: &mut [f64]) -> Option<f64> {
    radii.sort_by(f64::total_cmp);
    let gap = radii.windows(2).max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])));
    let delta = match gap {
        Some(g) if g[1] > g[0] => (g[0] + g[1]) / 2.0,
        Some(_) | None => 0.75 * radii.first()?,
    };
    (delta > 0.0).then_some(delta)
}

/// Proved lower bounds of the margins over every rival at a point of the curve. The search for delta max bounds one ball
/// at a time and may prove more than these bounds: up to there a lead is at least zero.
fn leads_of<'a>(l: &'a ExampleLevel, p: &'a ScorePoint) -> impl Iterator<Item = (usize, f64)> + 'a {
    let least = if l.proved.is_some_and(|proved| proved >= p.delta) { 0.0 } else { f64::NEG_INFINITY };
    p.margins.iter().enumerate().filter(|(c, _)| *c != l.predicted).map(move |(c, m)| (c, m.max(least)))
}

/// The same in the noise box of any delta: those of the next larger box that was bounded, which hold here too. `None` where
/// none was.
fn leads_at(l: &ExampleLevel, delta: f64) -> Option<Vec<(usize, f64)>> {
    let point = l.continuous.iter().find(|p| p.delta >= delta && p.margins.len() == l.logits.len())?;
    let least = if l.proved.is_some_and(|p| p >= delta) { 0.0 } else { f64::NEG_INFINITY };
    Some(leads_of(l, point).map(|(c, m)| (c, m.max(least))).collect())
}

/// The lead over the nearest rival.
fn nearest(l: &ExampleLevel, p: &ScorePoint) -> Option<f64> {
    leads_of(l, p).map(|(_, m)| m).reduce(f64::min)
}

/// How far the class of the image stays ahead, by model, as the noise box grows; then rival by rival in one box.
pub(in crate::report) fn leads(page: &mut Page, which: usize) -> Option<Markup> {
    let study = page.study;
    let all = examples(page, which);
    let first = |l: &ExampleLevel| nearest(l, l.continuous.first()?);
    all.iter().flat_map(|e| &e.1.levels).find_map(first)?;
    let mut radii: Vec<f64> = all.iter().filter_map(|e| e.1.levels.first()?.proved).collect();
    let at = telling_delta(&mut radii);
    let mut table = Table::new(&["model", "variance", "delta", "rival", "lead"]);
    let mut panels = Vec::new();
    let variances: Vec<f64> = all.first().map(|e| e.1.levels.iter().map(|l| l.variance).collect()).unwrap_or_default();
    for (k, &variance) in variances.iter().enumerate() {
        let here: Vec<(usize, &ExampleLevel)> = all.iter().filter_map(|(i, e)| Some((*i, e.levels.get(k)?))).collect();
        for (i, l) in &here {
            for p in &l.continuous {
                for (c, lead) in leads_of(l, p) {
                    table.rows.push(row![study.models[*i].name.as_str(), l.variance, p.delta, page.class(c), lead]);
                }
            }
        }
        let Some(svg) = curves(page, which, k, &here, at) else { continue };
        let bars = at.map(|at| bars(page, which, &here, at));
        panels.push(html! {
            div data-level=(k) {
                h4 { (level_name(variance)) }
                (svg)
                @if let Some(b) = bars { (b) }
            }
        });
    }
    page.figures.table("leads", "How far ahead the class stays", table);
    let choice = Choice { key: "level", label: "Noise", options: levels(&variances), first: Some(0) };
    let body = choose(&[choice], html! { @for p in panels { (p) } });
    let (norm, ball) = (study.norm, study.norm.ball());
    let mut caption = format!(
        "The lead (margin) is the score of the chosen class minus that of its nearest rival, before scores are turned into shares. The lines are what is proved of it for every image of the noise {ball}: while a line is above zero, no noise of that size changes the answer. At delta max it falls below; where it runs along zero before, delta max was proved with tighter bounds than the line."
    );
    if let Some(at) = at {
        caption += &format!(
            " The bars are the proved leads over each rival when {}{}.",
            norm.moved(&norm.size(at)),
            if all.len() > 1 { ", where the models differ most" } else { "" }
        );
    }
    Some(figure(&mut page.figures, "How far ahead the class stays", body, &caption))
}

/// Lead over the nearest rival against delta, a line per model.
fn curves(page: &mut Page, which: usize, k: usize, here: &[(usize, &ExampleLevel)], at: Option<f64>) -> Option<Markup> {
    let study = page.study;
    let line = |l: &ExampleLevel| -> Vec<[f64; 2]> {
        l.continuous.iter().filter_map(|p| Some([p.delta, nearest(l, p)?])).collect()
    };
    let lines: Vec<(usize, Vec<[f64; 2]>)> = here.iter().map(|(i, l)| (*i, line(l))).collect();
    let top = lines.iter().filter_map(|l| Some(l.1.first()?[1])).fold(0.0, f64::max);
    if top <= 0.0 {
        return None;
    }
    // Far below zero nothing is to be seen any more.
    let bottom = -0.4 * top;
    let series = lines.into_iter().map(|(i, points)| Series {
        name: study.models[i].name.clone(),
        color: model_color(i),
        points: above(&points, bottom),
        ..Default::default()
    });
    let series: Vec<Series> = series.filter(|s| !s.points.is_empty()).collect();
    let most = series.iter().flat_map(|s| &s.points).map(|p| p[0]).fold(0.0, f64::max);
    let level = here.first().map(|h| h.1.variance)?;
    let (ball, of) = (study.norm.ball(), format!("{}{}", level_name(level), whose(page, which)));
    let title = format!("Proved lead over the nearest rival as the noise {ball} grows, {of}");
    let mark = |x: f64| Mark { x, text: "bars below".into(), color: "var(--faint)".into(), dashed: true };
    let draw = |width: f64| {
        let large = width > 600.0;
        Lines {
            width,
            height: if large { 330.0 } else { 290.0 },
            title: title.clone(),
            x: study.norm.axis_of_moves(most, if large { 8 } else { 4 }),
            y: Axis::linear("Proved lead over the nearest rival", bottom, top * 1.05, Format::Number, 5),
            series: series.clone(),
            marks: at.filter(|at| *at < most).map(mark).into_iter().collect(),
            legend: true,
        }
        .draw()
    };
    Some(page.figures.responsive(&format!("leads-{level}-{k}-{which}"), &title, 980.0, draw, None))
}

/// The points down to `bottom`, with the one where the line gets there.
fn above(points: &[[f64; 2]], bottom: f64) -> Vec<[f64; 2]> {
    let kept = points.iter().take_while(|p| p[1] >= bottom).count();
    let mut out = points[..kept].to_vec();
    if let (Some(a), Some(b)) = (kept.checked_sub(1).map(|i| points[i]), points.get(kept)) {
        out.push([a[0] + (b[0] - a[0]) * (a[1] - bottom) / (a[1] - b[1]), bottom]);
    }
    out
}

/// Proved leads over each rival in one noise box, a panel per model.
fn bars(page: &mut Page, which: usize, here: &[(usize, &ExampleLevel)], at: f64) -> Markup {
    const SHOWN: usize = 9;
    let study = page.study;
    let known: Vec<_> = here.iter().filter_map(|(i, l)| Some((*i, *l, leads_at(l, at)?))).collect();
    let values = || known.iter().flat_map(|k| &k.2).map(|v| v.1);
    let [low, high] = [values().fold(0.0, f64::min), values().fold(0.0, f64::max)];
    let mut panels = Vec::new();
    for (i, l, mut rivals) in known.clone() {
        rivals.sort_by(|a, b| a.1.total_cmp(&b.1));
        let dominates = l.proved.map_or(rivals.iter().all(|r| r.1 > 0.0), |p| p >= at);
        let rows = rivals.iter().take(SHOWN).map(|&(c, lead)| Range {
            name: format!("over {}", page.class(c)),
            color: if lead > 0.0 || dominates { "var(--good)".into() } else { "var(--warn)".into() },
            whole: [lead.min(0.0), lead.max(0.0)],
            tip: format!("{} over {}: at least {}", page.class(l.predicted), page.class(c), number(lead)),
            ..Range::default()
        });
        let name = &study.models[i].name;
        let title = format!(
            "Proved leads of {name} at {}, {}{}",
            study.norm.size(at),
            level_name(l.variance),
            whose(page, which)
        );
        let x = Axis::linear("Proved lead", low, high, Format::Number, 3);
        let chart = Ranges { width: 330.0, title: title.clone(), x, rows: rows.collect(), thick: true };
        let svg = page.figures.add(&format!("leads-{name}-{}", l.variance), &title, &chart.draw(), None);
        let more = rivals.len().saturating_sub(SHOWN);
        panels.push(html! {
            div.panel {
                h4 { (super::model_chip(study, i)) }
                p.badge.yes[dominates].no[!dominates] {
                    (page.class(l.predicted)) @if dominates { " stays ahead: proved" } @else { ": not proved to stay ahead" }
                }
                (svg)
                @if more > 0 { p.note { "The nearest " (SHOWN) " of " (rivals.len()) " rivals." } }
            }
        });
    }
    let class = if panels.len() < 3 { "below grid two" } else { "below grid" };
    html! { div class=(class) { @for p in panels { (p) } } }
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
    let classes = study.dataset.classes.len();
    let drawn = if classes > DRAWN { format!("the {DRAWN} nearest of {classes} classes") } else { "each class".into() };
    let caption = format!(
        "Every value {drawn} can take when {}: the bar is the proved interval, the dot the value at the image itself. The chosen class is green when it is proved to stay first, amber when not. Intervals may overlap without dominance being lost: the proof compares classes pair by pair, and a pixel cannot be at two values at once.",
        study.norm.moved(&study.norm.size(delta))
    );
    figure(&mut page.figures, "Dominance", body, &caption)
}

/// Classes of which a picture of dominance has a line, the nearest to the image.
const DRAWN: usize = 10;

fn ranges(page: &Page, l: &ExampleLevel, reach: [f64; 2], title: &str) -> Ranges {
    let scored = !l.score_bounds.is_empty();
    let bounds = if scored { &l.score_bounds } else { &l.logit_bounds };
    let scores = softmax(&l.logits);
    let mut order: Vec<usize> = (0..l.logits.len()).collect();
    order.sort_by(|&a, &b| (b == l.predicted).cmp(&(a == l.predicted)).then(l.logits[b].total_cmp(&l.logits[a])));
    order.truncate(DRAWN);
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
                x: study.norm.axis("Delta", [0.0, most], 4),
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
    let ball = study.norm.ball();
    let caption = format!(
        "Between its two lines each class can take any value as far as is proved. Left of “proved” no image in the {ball} changes class; at “attacked” one that does was found.{overlap}"
    );
    Some(figure(&mut page.figures, &format!("Score intervals as the noise {ball} grows"), body, &caption))
}

/// Whether another class's interval reaches that of the chosen class while its dominance is still proved.
fn overlaps_early(l: &ExampleLevel) -> bool {
    let reaches = |p: &&ScorePoint| {
        let own = p.scores[l.predicted][0];
        p.scores.iter().enumerate().any(|(c, s)| c != l.predicted && s[1] >= own)
    };
    l.continuous.iter().find(reaches).is_some_and(|p| Some(p.delta) < l.proved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_where_the_models_differ() {
        assert_eq!(telling_delta(&mut [0.5, 0.1, 0.2]), Some(0.35));
        assert_eq!(telling_delta(&mut [0.4]), Some(0.4 * 0.75));
        assert_eq!(telling_delta(&mut [0.4, 0.4]), Some(0.4 * 0.75));
        assert_eq!((telling_delta(&mut []), telling_delta(&mut [0.0])), (None, None));
    }

    #[test]
    fn lines_end_at_the_bottom_of_the_chart() {
        assert_eq!(above(&[[0.0, 2.0], [1.0, 0.0], [2.0, -2.0]], -1.0), [[0.0, 2.0], [1.0, 0.0], [1.5, -1.0]]);
        assert_eq!(above(&[[0.0, 2.0]], -1.0), [[0.0, 2.0]]);
    }

    #[test]
    fn leads_in_a_box_are_those_of_the_next_larger_one() {
        let sample = crate::report::sample::study();
        let l = &sample.models[0].examples[0].levels[0];
        let (a, b) = (&l.continuous[10], &l.continuous[11]);
        let own = l.predicted;
        let at = leads_at(l, (a.delta + b.delta) / 2.0).unwrap();
        assert!(at.iter().all(|(c, lead)| *c != own && (*lead == b.margins[*c] || *lead == 0.0)));
        assert!(leads_at(l, 1.0).is_none());
    }
}
