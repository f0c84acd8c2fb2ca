//! The top of the page: which model to ship, and the findings.

use super::{Page, Section, model_chip};
use crate::report::chart::{Axis, Format, Range, Ranges, model_color, number, percent};
use crate::report::figure::{Table, row};
use crate::report::findings::{self, Robust};
use crate::report::stats::sorted;
use crate::results::{Finding, Study, quantile};
use maud::{Markup, html};

/// The recommendation and a row of key figures per model.
pub fn card(page: &mut Page) -> Markup {
    let study = page.study;
    let robust = findings::robustness(study);
    let choice = findings::choose(study);
    let table = key_figures(study, &robust);
    page.figures.table("key-figures", "Key figures of every model", files(study, &robust));
    let chart = spread(page);
    html! {
        section.verdict #verdict {
            @if choice.is_some() || chart.is_some() {
                div.top {
                    @if let Some(c) = &choice {
                        div.answer {
                            p.kicker { @if study.models.len() > 1 { "The model to ship" } @else { "The model" } }
                            p.winner style={ "--k:" (model_color(c.model)) } { (study.models[c.model].name) }
                            p.why { (c.why) }
                            @if !c.cautions.is_empty() {
                                ul.cautions { @for text in &c.cautions { li { (unbroken(study, text)) } } }
                            }
                            @if study.models.len() > 1 {
                                details { summary { "How this was decided" } p { (findings::RULE) } }
                            }
                        }
                    }
                    @if let Some(c) = chart { (c) }
                }
            }
            (table)
        }
    }
}

/// Quantiles of proved delta max per model.
fn spread(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let mut table = Table::new(&["model", "q05", "q25", "median", "q75", "q95"]);
    let mut rows = Vec::new();
    let mut most = 0.0f64;
    for (i, m) in study.models.iter().enumerate() {
        let all = sorted(m.rows_at(0.0).map(|r| r.proved));
        if all.is_empty() {
            continue;
        }
        let q = [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&all, q));
        table.rows.push(row![m.name.as_str(), q[0], q[1], q[2], q[3], q[4]]);
        most = most.max(q[4]);
        rows.push(Range {
            name: m.name.clone(),
            color: model_color(i),
            whole: [q[0], q[4]],
            core: Some([q[1], q[3]]),
            point: Some(q[2]),
            tip: format!("{}\nmedian {}", m.name, findings::both_units(q[2])),
            apart: true,
        });
    }
    if rows.is_empty() {
        return None;
    }
    let title = "Proved delta max of the test images, by model";
    let draw = |width: f64| {
        let x = Axis::linear("Proved delta max", 0.0, most * 1.03, Format::Delta, 4);
        Ranges { width, title: title.into(), x, rows: rows.clone(), thick: false }.draw()
    };
    let svg = page.figures.responsive("delta-max-models", title, 440.0, draw, Some(table));
    Some(super::figure(
        "Noise that provably changes nothing",
        svg,
        "Proved delta max of the test images. Dot: median; thick: middle half; thin: nine tenths. Second row: grey levels of 255.",
    ))
}

fn files(study: &Study, robust: &[Robust]) -> Table {
    let mut t = Table::new(&[
        "model",
        "clean_accuracy",
        "clean_accuracy_over_classes",
        "noisiest_variance",
        "noisiest_accuracy",
        "median_proved",
        "median_low",
        "median_high",
        "reference_delta",
        "certified_accuracy",
        "attacked_accuracy",
    ]);
    let at = findings::reference_delta(study);
    for (i, m) in study.models.iter().enumerate() {
        let r = robust.iter().find(|r| r.model == i);
        let last = m.sweep.last();
        t.rows.push(row![
            m.name.as_str(),
            m.clean_accuracy(),
            findings::even_accuracy(m),
            last.map(|l| l.variance),
            last.map(|l| l.accuracy.mean),
            r.map(|r| r.median),
            r.map(|r| r.interval[0]),
            r.map(|r| r.interval[1]),
            at,
            r.map(|r| r.certified),
            r.and_then(|r| r.attacked),
        ]);
    }
    t
}

/// One figure of one model: text, what it is worth (for marking the best), a second line.
type Entry = Option<(String, f64, String)>;

fn key_figures(study: &Study, robust: &[Robust]) -> Markup {
    let at = findings::reference_delta(study);
    let noisiest = study.models.iter().filter_map(|m| m.sweep.last()).map(|l| l.variance).fold(0.0, f64::max);
    let grey = number((at * 2550.0).round() / 10.0);
    let find = |i: usize| robust.iter().find(|r| r.model == i);
    let share = |v: f64| (percent(v), v, String::new());
    let columns: Vec<(String, Vec<Entry>)> = vec![
        (
            "Right on clean photos".into(),
            each(study, |i| {
                let clean = study.models[i].clean_accuracy()?;
                let even = findings::even_accuracy(&study.models[i]);
                let note = even.map_or(String::new(), |v| format!("classes weighed alike: {}", percent(v)));
                Some((percent(clean), clean, note))
            }),
        ),
        (
            format!("Right at noise variance {}", number(noisiest)),
            each(study, |i| {
                let last = study.models[i].sweep.last().filter(|l| l.variance == noisiest && noisiest > 0.0)?;
                Some(share(last.accuracy.mean))
            }),
        ),
        (
            "Median delta max, proved".into(),
            each(study, |i| {
                let r = find(i)?;
                let [low, high] = r.interval.map(|v| number((v * 25500.0).round() / 100.0));
                let text = format!("{}/255", number((r.median * 25500.0).round() / 100.0));
                Some((text, r.median, format!("95%: {low} to {high}")))
            }),
        ),
        (
            format!("Right and proved at {grey}/255"),
            each(study, |i| {
                let r = find(i)?;
                let note = r.attacked.map(|a| format!("attack leaves {}", percent(a))).unwrap_or_default();
                Some((percent(r.certified), r.certified, note))
            }),
        ),
    ];
    let columns: Vec<_> = columns.into_iter().filter(|c| c.1.iter().any(Option::is_some)).collect();
    html! {
        @if !columns.is_empty() {
            div.scroll { table.key {
                thead { tr { th { "Model" } @for (name, _) in &columns { th { (name) } } } }
                tbody {
                    @for i in 0..study.models.len() {
                        tr {
                            th { (model_chip(study, i)) @if !study.models[i].policy.is_empty() { small { (study.models[i].policy) } } }
                            @for (name, entries) in &columns {
                                @let best = entries.iter().flatten().map(|e| e.1).fold(f64::NEG_INFINITY, f64::max);
                                td data-label=(name) {
                                    @if let Some((text, worth, note)) = &entries[i] {
                                        span.best[*worth == best && entries.len() > 1] { (text) }
                                        @if !note.is_empty() { small { (note) } }
                                    } @else { "–" }
                                }
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn each(study: &Study, f: impl Fn(usize) -> Entry) -> Vec<Entry> {
    (0..study.models.len()).map(f).collect()
}

/// The findings as cards.
pub fn findings_section(page: &Page, findings: &[Finding]) -> Option<Section> {
    if findings.is_empty() {
        return None;
    }
    let body = html! {
        div.findings {
            @for f in findings {
                article { h3 { (unbroken(page.study, &f.title)) } p { (unbroken(page.study, &f.sentence)) } }
            }
        }
    };
    let lead = format!(
        "Written by the program from the figures below, over {} test images.",
        crate::report::chart::count(page.study.dataset.test_counts.iter().sum::<usize>() as f64)
    );
    Some(Section { id: "findings", nav: "Findings", title: "What was found".into(), lead, body })
}

/// Model names with hyphens at which no line breaks.
fn unbroken(study: &Study, text: &str) -> String {
    study
        .models
        .iter()
        .filter(|m| m.name.contains('-'))
        .fold(text.to_string(), |text, m| text.replace(&m.name, &m.name.replace('-', "\u{2011}")))
}
