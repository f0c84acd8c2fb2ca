//! The top of the page: which model to take, and the findings.

use super::{Page, Section, model_chip};
use crate::report::chart::{Range, Ranges, model_color, number, percent, plural};
use crate::report::figure::{Table, row};
use crate::report::findings::{self, Robust};
use crate::report::statistics::{ERROR, Measure, couples, sorted};
use crate::results::{Conclusion, Finding, Judged, Outcome, Study, quantile};
use maud::{Markup, html};

/// The conclusion and a row of key figures per model.
pub fn card(page: &mut Page) -> Markup {
    let study = page.study;
    let robust = findings::robustness(study);
    let table = key_figures(page, &robust);
    let chart = spread(page);
    page.figures.table("key-figures", "Key figures of every model", files(study, &robust));
    let conclusion = page.reading.conclusion.as_ref();
    html! {
        section.verdict #verdict {
            @if conclusion.is_some() || chart.is_some() {
                div.top {
                    @if let Some(c) = conclusion { (answer(study, c)) }
                    @if let Some(c) = chart { (c) }
                }
            }
            @if let Some(c) = conclusion.filter(|c| !c.judged.is_empty()) { (requirements(study, &c.judged)) }
            (table)
            (page.figures.links("Key figures"))
        }
    }
}

fn answer(study: &Study, c: &Conclusion) -> Markup {
    let kicker = match c.outcome {
        Outcome::Best => "The model to take",
        Outcome::Tied => "Tied",
        Outcome::EachItsOwn => "No model wins in everything",
        Outcome::NoneReady => "None is ready",
        Outcome::Single => "The model",
    };
    let color = |name: &str| study.models.iter().position(|m| m.name == name).map_or("var(--ink)".into(), model_color);
    let shown = &c.models[..c.models.len().min(4)];
    html! {
        div.answer {
            p.kicker { (kicker) }
            @if shown.is_empty() { h2.winner { "No model to take" } } @else {
                h2.winner.several[shown.len() > 1] {
                    @for (k, name) in shown.iter().enumerate() {
                        @if k > 0 { ", " }
                        span style={ "color:" (color(name)) } { (unbroken(study, name)) }
                    }
                    @if c.models.len() > shown.len() { " and " (c.models.len() - shown.len()) " more" }
                }
            }
            @if !c.sentence.is_empty() { p.why { (unbroken(study, &c.sentence)) } }
            @if !c.why.is_empty() || !c.cautions.is_empty() {
                ul.cautions { @for text in c.why.iter().chain(&c.cautions) { li { (unbroken(study, text)) } } }
            }
            @if study.models.len() > 1 {
                details { summary { "How this was decided" } p { (findings::RULE) } }
            }
        }
    }
}

/// Every model beside everything that was required.
fn requirements(study: &Study, judged: &[Judged]) -> Markup {
    let of = |model: &str, requirement: &str| judged.iter().find(|j| j.model == model && j.requirement == requirement);
    let names: Vec<&str> = study.requirements.0.iter().map(|r| r.text.as_str()).collect();
    let value = |j: &Judged| {
        let write = |v: f64| {
            if j.requirement.starts_with("median") { study.norm.short(v) } else { percent(v) }
        };
        let low = j.values.iter().copied().fold(f64::INFINITY, f64::min);
        match j.values.len() {
            0 => "not measured".to_string(),
            1 => write(low),
            n => format!("{} in the worst of {n} trainings", write(low)),
        }
    };
    html! {
        div.scroll { table.plain.required {
            thead { tr { th { "Required" } @for name in &names { th { (name) } } } }
            tbody { @for (i, m) in study.models.iter().enumerate() { tr {
                th { (model_chip(study, i)) }
                @for name in &names { td { @if let Some(j) = of(&m.name, name) {
                    span.verdict-word.yes[j.met].no[!j.met] { @if j.met { "met" } @else { "not met" } } " " small { (value(j)) }
                } } }
            } } }
        } }
    }
}

/// Quantiles of proved delta max per model, over all trainings, and the median of each.
fn spread(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let mut table = Table::new(&["model", "trainings", "q05", "q25", "median", "q75", "q95"]);
    let mut rows = Vec::new();
    let mut most = 0.0f64;
    let robust = findings::robustness(study);
    for (i, m) in study.models.iter().enumerate() {
        let all = sorted(m.all_rows_at(0.0).map(|r| r.proved));
        let Some(medians) = robust.iter().find(|r| r.model == i).map(|r| r.medians.clone()) else { continue };
        let q = [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&all, q));
        table.rows.push(row![m.name.as_str(), medians.len(), q[0], q[1], q[2], q[3], q[4]]);
        most = most.max(q[4]);
        rows.push(Range {
            name: m.name.clone(),
            color: model_color(i),
            whole: [q[0], q[4]],
            core: Some([q[1], q[3]]),
            point: Some(q[2]),
            each: if medians.len() > 1 { medians } else { vec![] },
            tip: format!("{}\nmedian {}", m.name, study.norm.size(q[2])),
            apart: true,
        });
    }
    if rows.is_empty() {
        return None;
    }
    let images = study.models.iter().map(|m| m.rows_at(0.0).count()).max().unwrap_or(0);
    let trainings = study.models.iter().map(|m| m.trained().count()).max().unwrap_or(1);
    let title = "Proved delta max of the test images, by model";
    let draw = |width: f64| {
        let x = study.norm.axis("Proved delta max", [0.0, most * 1.03], 4);
        Ranges { width, title: title.into(), x, rows: rows.clone(), thick: false }.draw()
    };
    let svg = page.figures.responsive("delta-max-models", title, 440.0, draw, Some(table));
    let of_trainings =
        if trainings > 1 { format!(" of {trainings} trainings; ring: the median of each") } else { String::new() };
    Some(super::figure(
        &mut page.figures,
        "Noise that provably changes nothing",
        svg,
        &format!(
            "Proved delta max of {}{of_trainings}. Dot: median; thick: middle half; thin: nine tenths.{}",
            plural(images, "test image"),
            study.norm.second_row().map_or(String::new(), |row| format!(" Second row: {row}."))
        ),
    ))
}

fn files(study: &Study, robust: &[Robust]) -> Table {
    let mut t = Table::new(&[
        "model",
        "trainings",
        "clean_accuracy",
        "clean_accuracy_over_classes",
        "noisiest_variance",
        "noisiest_accuracy_over_classes",
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
        let levels = m.levels();
        let (first, last) = (levels.first().filter(|l| l.variance == 0.0), levels.last());
        let ends = r.map(|r| sorted(r.medians.iter().copied()));
        t.rows.push(row![
            m.name.as_str(),
            m.trained().count(),
            first.map(|l| l.accuracy.mean),
            first.and_then(findings::even_accuracy),
            last.map(|l| l.variance),
            last.and_then(findings::even_accuracy),
            r.map(|r| r.median),
            ends.as_ref().and_then(|e| e.first().copied()),
            ends.as_ref().and_then(|e| e.last().copied()),
            at,
            r.map(|r| r.certified),
            r.and_then(|r| r.attacked),
        ]);
    }
    t
}

/// An entry of the key figures: as shown, and a note.
type Entry = Option<(String, String)>;

fn key_figures(page: &Page, robust: &[Robust]) -> Markup {
    let study = page.study;
    let noisiest = study.models.iter().filter_map(|m| m.sweep.last()).map(|l| l.variance).fold(0.0, f64::max);
    let at = findings::reference_delta(study);
    let find = |i: usize| robust.iter().find(|r| r.model == i);
    let each = |f: &dyn Fn(usize) -> Entry| (0..study.models.len()).map(f).collect::<Vec<Entry>>();
    // The mean over the trainings, and from where to where they go.
    let ranged = |values: Vec<f64>, write: &dyn Fn(f64) -> String| -> Entry {
        let rising = sorted(values.into_iter());
        let (low, high) = (*rising.first()?, *rising.last()?);
        let note =
            if rising.len() > 1 { format!("trainings: {} to {}", write(low), write(high)) } else { String::new() };
        Some((write(rising.iter().sum::<f64>() / rising.len() as f64), note))
    };
    let even = |i: usize, v: f64| -> Vec<f64> {
        let level = |t: crate::results::Trained| findings::even_accuracy(t.sweep.iter().find(|l| l.variance == v)?);
        study.models[i].trained().filter_map(level).collect()
    };
    let mut columns: Vec<(Measure, String, Vec<Entry>)> =
        vec![(Measure::Accuracy(0.0), "Right on clean images".into(), each(&|i| ranged(even(i, 0.0), &percent)))];
    if noisiest > 0.0 {
        let name = format!("Right at noise variance {}", number(noisiest));
        columns.push((Measure::Accuracy(noisiest), name, each(&|i| ranged(even(i, noisiest), &percent))));
    }
    let text = |v: f64| study.norm.short(v);
    columns.push((
        Measure::Radius(0.0),
        "Noise that provably changes nothing (median)".into(),
        each(&|i| ranged(find(i)?.medians.clone(), &text)),
    ));
    columns.push((
        Measure::Proved(at),
        format!("Right and proved at {}", study.norm.mark(at)),
        each(&|i| {
            let r = find(i)?;
            Some((
                percent(r.certified),
                r.attacked.map(|a| format!("at most {}: an attack changed the rest", percent(a))).unwrap_or_default(),
            ))
        }),
    ));
    columns.retain(|c| c.2.iter().any(Option::is_some));
    // Of models that are one, the first stands for all.
    let mut kept: std::collections::BTreeSet<usize> = couples(study).into_iter().flat_map(|(a, b)| [a, b]).collect();
    kept.retain(|i| !page.reading.guessing.contains(i));
    let best = |i: usize, m: Measure| {
        let mut others = kept.iter().filter(|&&j| j != i).peekable();
        kept.contains(&i)
            && others.peek().is_some()
            && others.all(|&j| page.reading.compared.models(i, j, m).is_some_and(|x| x.more()))
    };
    let any_best = columns.iter().any(|(m, ..)| (0..study.models.len()).any(|i| best(i, *m)));
    let averaged = study.dataset.classes.len() > 1 && columns.iter().any(|c| matches!(c.0, Measure::Accuracy(_)));
    html! {
        @if !columns.is_empty() {
            div {
                div.scroll { table.key {
                    thead { tr { th { "Model" } @for (_, name, _) in &columns { th { (name) } } } }
                    tbody {
                        @for i in 0..study.models.len() {
                            tr {
                                th { (model_chip(study, i)) @if !study.models[i].policy.is_empty() { small { (study.models[i].policy) } } }
                                @for (measure, name, entries) in &columns {
                                    td data-label=(name) {
                                        @if let Some((text, note)) = &entries[i] {
                                            span.best[best(i, *measure)] { (text) }
                                            @if !note.is_empty() { small { (note) } }
                                        } @else { "–" }
                                    }
                                }
                            }
                        }
                    }
                } }
                p.note {
                    @if averaged { "Right: averaged over the classes, so that each counts as much. " }
                    @if study.models.len() > 1 && page.reading.compared.len() > 0 {
                        @if any_best { "Bold: clearly better than every other model" @if !page.reading.guessing.is_empty() { " that takes part" } "." } @else { "No figure is bold: none is clearly better than that of every other model." }
                    }
                }
            }
        }
    }
}

/// Findings that are not folded away.
const FIRST: usize = 3;

/// The findings as cards.
pub fn findings_section(page: &mut Page) -> Option<Section> {
    let (study, reading) = (page.study, page.reading);
    if reading.findings.is_empty() {
        return None;
    }
    page.figures.table("comparisons", "Every comparison of this page", comparisons(page));
    let cards = |shown: &[Finding]| {
        html! {
            div.findings {
                @for f in shown {
                    article { h3 { (unbroken(study, &f.title)) } p { (unbroken(study, &f.sentence)) } }
                }
            }
        }
    };
    let (first, rest) = reading.findings.split_at(reading.findings.len().min(FIRST));
    let body = html! {
        (cards(first))
        @if !rest.is_empty() { (super::fold(&format!("{} more", plural(rest.len(), "finding")), cards(rest))) }
        (page.figures.links("Every comparison of this page"))
    };
    let asked = reading.compared.len();
    let judged = match asked {
        0 => String::new(),
        n => format!(
            " What is called clear, or more than chance, was judged together with all {n} comparisons of this page, which errs in any of them in at most {} of cases.",
            percent(ERROR)
        ),
    };
    let lead = format!("Written by the program from the figures below.{judged}");
    Some(Section { id: "findings", nav: "Findings", title: "What was found".into(), lead, body })
}

/// Every question of the page with its answer.
fn comparisons(page: &Page) -> Table {
    let mut t = Table::new(&[
        "first",
        "second",
        "measure",
        "of_second",
        "images",
        "differing",
        "trainings_first",
        "trainings_second",
        "figure_first",
        "figure_second",
        "effect",
        "low",
        "high",
        "p",
        "p_adjusted",
        "clear",
    ]);
    let name = |i: usize| page.study.models[i].name.as_str();
    for (a, b, x) in page.reading.compared.all() {
        let p = &x.paired;
        let [first, second] = [a.measure, b.measure].map(|m| m.describe(&page.study.dataset.classes));
        t.rows.push(row![
            name(a.model),
            name(b.model),
            first.as_str(),
            second.as_str(),
            p.images,
            p.differing,
            p.trainings[0],
            p.trainings[1],
            p.figures[0],
            p.figures[1],
            p.effect,
            p.interval[0],
            p.interval[1],
            p.p,
            x.adjusted,
            if x.clear() { "yes" } else { "no" },
        ]);
    }
    t
}

/// Model names with hyphens at which no line breaks.
fn unbroken(study: &Study, text: &str) -> String {
    study
        .models
        .iter()
        .filter(|m| m.name.contains('-'))
        .fold(text.to_string(), |text, m| text.replace(&m.name, &m.name.replace('-', "\u{2011}")))
}
