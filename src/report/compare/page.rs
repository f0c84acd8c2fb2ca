//! `compare.html`: the table, medians in the order given, and the distributions over one another.

use super::{Comparison, Difference, Entry, Run, timeline};
use crate::norm::Norm;
use crate::report::chart::{Axis, Format, Lines, Range, Ranges, Series, count, model_color, number, percent, plural};
use crate::report::figure::{Figures, Table, row};
use crate::report::findings::{RULE, even_accuracy};
use crate::report::html::{Head, document, notes};
use crate::report::section::{Section, figure};
use crate::report::statistics::sorted;
use maud::{Markup, html};

/// Points of a sampled distribution.
const POINTS: usize = 120;

pub fn page(runs: &[Run], comparison: &Comparison) -> (String, Figures) {
    let mut figures = Figures::default();
    let card = html! {
        section.verdict #verdict {
            div.answer {
                p.kicker { "The answer" }
                p.why { (comparison.sentence) }
                details { summary { "How this was decided" } p { (RULE) } }
            }
            (table(comparison)) (note(comparison))
        }
    };
    figures.table("compare", "Runs side by side", file(comparison));
    let body = html! {
        @if let Some(f) = quantiles(comparison, &mut figures) { (f) }
        @if let Some(f) = differences(comparison, &mut figures) { (f) }
        @if let Some(f) = distribution(comparison.norm, runs, &mut figures) { (f) }
    };
    let proved = comparison.runs.iter().any(|r| r.proved.is_some());
    let delta_max = Section {
        id: "delta-max",
        nav: "Delta max",
        title: "Delta max, run by run".into(),
        lead: format!("For each clean test image, {} until the class is no longer proved.", comparison.norm.moves()),
        body,
    };
    let accuracy = accuracy(runs, &mut figures).map(|body| Section {
        id: "noise",
        nav: "Noise",
        title: "Accuracy under noise".into(),
        lead: "Share of test images rightly classified as Gaussian noise is added.".into(),
        body,
    });
    let course = timeline::section(comparison, &mut figures);
    let sections: Vec<Section> = course.into_iter().chain(proved.then_some(delta_max)).chain(accuracy).collect();
    let standfirst = format!(
        "{} models, each as its own run measured it. Differences are against {}.{}",
        comparison.runs.len(),
        comparison.reference,
        comparison.norm.aside()
    );
    let head = Head { kicker: "Runs side by side", title: "Which of these models to take?", standfirst };
    (document(&head, card, &sections, "compare.json"), figures)
}

fn table(c: &Comparison) -> Markup {
    let noise = c.runs.first().and_then(|r| r.noise);
    let noisy = format!("Right at variance {}", noise.map_or("–".into(), number));
    let median = |e: &Entry| e.proved.map(|p| p[2]);
    html! {
        div.scroll { table.key {
            thead { tr {
                th { "Run" } th { "Right on clean images" } @if noise.is_some() { th { (noisy) } }
                th { "Median delta max, proved" } th { "Against " (c.reference) }
            } }
            tbody { @for (i, e) in c.runs.iter().enumerate() { tr {
                th {
                    span.chip style={ "--k:" (model_color(i)) } { (e.name) }
                    @let place = if e.name.starts_with(&e.folder) { "" } else { &e.folder };
                    small { (place) @if let Some(d) = &e.date { " " (d) } }
                }
                (share("Right on clean images", e.clean_accuracy))
                @if noise.is_some() { (share(&noisy, e.noisy_accuracy)) }
                td data-label="Median delta max, proved" {
                    @if let Some(m) = median(e) {
                        (c.norm.short(m))
                        small {
                            (plural(e.certified, "image"))
                            @if e.trainings > 1 { ", " (e.trainings) " trainings" }
                            @if !e.method.is_empty() { ", " (e.method) }
                        }
                    } @else { "–" }
                }
                td data-label={ "Against " (c.reference) } {
                    @match (&e.difference, &e.apart) {
                        (Some(d), _) => (against(c.norm, d)),
                        (None, Some(why)) => small { (why) },
                        (None, None) => "–",
                    }
                }
            } } }
        } }
    }
}

fn share(label: &str, value: Option<f64>) -> Markup {
    html! { td data-label=(label) { @if let Some(v) = value { (percent(v)) } @else { "–" } } }
}

fn against(norm: Norm, d: &Difference) -> Markup {
    let images = count(d.images as f64);
    html! {
        @if d.none() { span { "no difference" } small { "the same on all " (images) " images in pairs" } } @else {
        span.best[d.clear] { (norm.signed(d.median)) (norm.unit().2) }
        small { "95%: " (norm.signed(d.interval[0])) " to " (norm.signed(d.interval[1])) ", " (images) " images in pairs" }
        }
    }
}

fn note(c: &Comparison) -> Markup {
    let unclear = c.runs.iter().filter_map(|r| r.difference).any(|d| !d.clear && !d.none());
    html! {
        p.note {
            "Accuracies are averaged over the classes. Differences are of median proved delta max over the test images that both runs certified; bold: more than chance, with all comparisons of this page counted together."
            @if unclear { " The others may be chance." }
            @if let Some(versions) = c.versions() { " " (versions) }
        }
        @for e in &c.runs { (notes(&e.name, &e.notes)) }
    }
}

fn file(c: &Comparison) -> Table {
    let mut t = Table::new(&[
        "run",
        "folder",
        "date",
        "method",
        "certified",
        "clean_accuracy",
        "noise",
        "noisy_accuracy",
        "median_proved",
        "median_attacked",
        "difference",
        "difference_low",
        "difference_high",
        "paired_images",
    ]);
    for e in &c.runs {
        t.rows.push(row![
            e.name.as_str(),
            e.folder.as_str(),
            e.date.as_deref(),
            e.method.as_str(),
            e.certified,
            e.clean_accuracy,
            e.noise,
            e.noisy_accuracy,
            e.proved.map(|p| p[2]),
            e.attacked_median,
            e.difference.map(|d| d.median),
            e.difference.map(|d| d.interval[0]),
            e.difference.map(|d| d.interval[1]),
            e.difference.map(|d| d.images),
        ]);
    }
    t
}

fn quantiles(c: &Comparison, figures: &mut Figures) -> Option<Markup> {
    let known: Vec<(usize, &Entry, [f64; 5])> =
        c.runs.iter().enumerate().filter_map(|(i, e)| Some((i, e, e.proved?))).collect();
    let most = known.iter().map(|k| k.2[4]).reduce(f64::max)?;
    let row = |&(i, e, q): &(usize, &Entry, [f64; 5])| Range {
        name: e.name.clone(),
        color: model_color(i),
        whole: [q[0], q[4]],
        core: Some([q[1], q[3]]),
        point: Some(q[2]),
        tip: format!("{}\nmedian {}", e.name, c.norm.size(q[2])),
        apart: false,
        ..Range::default()
    };
    let rows: Vec<Range> = known.iter().map(row).collect();
    let draw = |width: f64| {
        let x = c.norm.axis("Proved delta max", [0.0, most * 1.03], if width > 600.0 { 8 } else { 4 });
        Ranges { width, title: "Proved delta max, run by run".into(), x, rows: rows.clone(), thick: false }.draw()
    };
    let svg = figures.responsive("compare-quantiles", "Proved delta max, run by run", 980.0, draw, None);
    Some(figure(
        figures,
        "Run by run",
        svg,
        &format!(
            "In the order given. Dot: median. Thick: the middle half of the images. Thin: nine tenths of them.{}",
            c.norm.second_row().map_or(String::new(), |row| format!(" Second row of the axis: {row}."))
        ),
    ))
}

fn differences(c: &Comparison, figures: &mut Figures) -> Option<Markup> {
    let known: Vec<(usize, &Entry, Difference)> =
        c.runs.iter().enumerate().filter_map(|(i, e)| Some((i, e, e.difference?))).collect();
    let low = known.iter().map(|k| k.2.interval[0]).reduce(f64::min)?.min(0.0);
    let high = known.iter().map(|k| k.2.interval[1]).reduce(f64::max)?.max(0.0);
    let room = ((high - low) * 0.06).max(1e-6);
    let row = |&(i, e, d): &(usize, &Entry, Difference)| Range {
        name: e.name.clone(),
        color: model_color(i),
        whole: d.interval,
        core: Some(d.interval),
        point: Some(d.median),
        tip: format!(
            "{}\n{}{}, 95%: {} to {}",
            e.name,
            c.norm.signed(d.median),
            c.norm.unit().2,
            c.norm.signed(d.interval[0]),
            c.norm.signed(d.interval[1])
        ),
        apart: false,
        ..Range::default()
    };
    let rows: Vec<Range> = known.iter().map(row).collect();
    let label = format!("Median delta max minus that of {}", c.reference);
    let draw = |width: f64| {
        let x = c.norm.axis(&label, [low - room, high + room], if width > 600.0 { 8 } else { 4 });
        Ranges { width, title: label.clone(), x, rows: rows.clone(), thick: false }.draw()
    };
    let svg = figures.responsive("compare-differences", &label, 980.0, draw, None);
    Some(figure(
        figures,
        &format!("Against {}", c.reference),
        svg,
        "Difference of the median proved delta max on the same images, with its 95% interval.",
    ))
}

fn distribution(norm: Norm, runs: &[Run], figures: &mut Figures) -> Option<Markup> {
    let reach =
        runs.iter().flat_map(|r| r.result.all_rows_at(0.0)).map(|r| r.proved).reduce(f64::max).filter(|&m| m > 0.0)?;
    let mut table = Table::new(&["run", "delta", "share_of_images_at_most"]);
    let mut series = Vec::new();
    for (i, r) in runs.iter().enumerate().filter(|r| r.1.result.rows_at(0.0).next().is_some()) {
        let all = sorted(r.result.all_rows_at(0.0).map(|r| r.proved));
        let at = |k: usize| {
            let x = reach * k as f64 / POINTS as f64;
            [x, all.partition_point(|&v| v <= x) as f64 / all.len() as f64]
        };
        let points: Vec<[f64; 2]> = (0..=POINTS).map(at).collect();
        table.rows.extend(points.iter().map(|p| row![r.result.name.as_str(), p[0], p[1]]));
        series.push(Series { name: r.result.name.clone(), color: model_color(i), points, ..Series::default() });
    }
    let draw = |width: f64| {
        Lines {
            width,
            height: if width > 600.0 { 440.0 } else { 380.0 },
            title: "Distribution of proved delta max, run by run".into(),
            x: norm.axis("Proved delta max", [0.0, reach], if width > 600.0 { 8 } else { 4 }),
            y: Axis::share("Share of images"),
            series: series.clone(),
            marks: vec![],
            legend: true,
        }
        .draw()
    };
    let svg = figures.responsive("compare-distribution", "Distribution of proved delta max", 980.0, draw, Some(table));
    Some(figure(
        figures,
        "All images",
        svg,
        "Share of test images whose proved delta max is at most the value below: a line further to the right is a more stable run.",
    ))
}

fn accuracy(runs: &[Run], figures: &mut Figures) -> Option<Markup> {
    let mut variances = sorted(runs.iter().flat_map(|r| &r.result.sweep).map(|l| l.variance));
    variances.dedup();
    if variances.len() < 2 {
        return None;
    }
    let mut table = Table::new(&["run", "variance", "accuracy"]);
    let mut series = Vec::new();
    for (i, r) in runs.iter().enumerate() {
        let levels = r.result.levels();
        let rates: Vec<[f64; 2]> = levels.iter().filter_map(|l| Some([l.variance, even_accuracy(l)?])).collect();
        table.rows.extend(rates.iter().map(|[v, a]| row![r.result.name.as_str(), *v, *a]));
        series.push(Series {
            name: r.result.name.clone(),
            color: model_color(i),
            points: rates,
            dots: true,
            ..Series::default()
        });
    }
    let lowest = series.iter().flat_map(|s| &s.points).map(|p| p[1]).fold(1.0, f64::min);
    let floor = if lowest > 0.55 { 0.5 } else { 0.0 };
    let draw = |width: f64| {
        Lines {
            width,
            height: if width > 600.0 { 400.0 } else { 340.0 },
            title: "Accuracy against noise, run by run".into(),
            x: Axis::variance(&variances),
            y: Axis::linear("Rightly classified", floor, 1.0, Format::Percent, 5),
            series: series.clone(),
            marks: vec![],
            legend: true,
        }
        .draw()
    };
    let svg = figures.responsive("compare-accuracy", "Accuracy against noise", 980.0, draw, Some(table));
    Some(figure(
        figures,
        "Accuracy by noise level",
        svg,
        "Averaged over the classes. The axis is spaced by the noise's standard deviation.",
    ))
}
