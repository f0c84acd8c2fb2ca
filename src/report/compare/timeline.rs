//! The course of accuracy and delta max over runs of different dates.

use super::{Comparison, Entry};
use crate::report::chart::{Axis, Format, Lines, Series, model_color};
use crate::report::figure::{Figures, Table, row};
use crate::report::section::{Section, figure};
use maud::html;

/// Median proved delta max and accuracy, run after run; `None` for fewer than three. Folders are in the order of their
/// dates, or of the command line where a date is missing; a model that several have is one line.
pub fn section(c: &Comparison, figures: &mut Figures) -> Option<Section> {
    let mut folders: Vec<(&str, Option<&str>)> = Vec::new();
    for e in &c.runs {
        if !folders.iter().any(|f| f.0 == e.folder) {
            folders.push((&e.folder, e.date.as_deref()));
        }
    }
    if folders.len() < 3 {
        return None;
    }
    let dated = folders.iter().all(|f| f.1.is_some());
    if dated {
        folders.sort_by_key(|f| f.1);
    }
    let mut models: Vec<&str> = Vec::new();
    c.runs.iter().for_each(|e| {
        if !models.contains(&e.model.as_str()) {
            models.push(&e.model)
        }
    });
    // Where no model comes back, the runs are one line of different models.
    let one_line = c.runs.len() == folders.len() && models.len() == folders.len();
    let at = |e: &Entry| folders.iter().position(|f| f.0 == e.folder).unwrap_or(0) as f64;
    let lines = |value: &dyn Fn(&Entry) -> Option<f64>| -> Vec<Series> {
        let line = |name: &str, color: usize, of: &dyn Fn(&Entry) -> bool| {
            let mut points: Vec<[f64; 2]> =
                c.runs.iter().filter(|e| of(e)).filter_map(|e| Some([at(e), value(e)?])).collect();
            points.sort_by(|a, b| a[0].total_cmp(&b[0]));
            Series { name: name.into(), color: model_color(color), points, dots: true, ..Series::default() }
        };
        if one_line {
            return vec![line("all runs", 0, &|_| true)];
        }
        models.iter().enumerate().map(|(i, m)| line(m, i, &|e| e.model == *m)).collect()
    };
    let median = |e: &Entry| e.proved.map(|p| p[2]);
    let mut table = Table::new(&["run", "folder", "date", "clean_accuracy", "noisy_accuracy", "median_proved"]);
    for e in &c.runs {
        table.rows.push(row![
            e.name.as_str(),
            e.folder.as_str(),
            e.date.as_deref(),
            e.clean_accuracy,
            e.noisy_accuracy,
            median(e)
        ]);
    }
    figures.table("timeline", "Run after run", table);
    let last = (folders.len() - 1) as f64;
    let axis = || {
        let mut x =
            Axis::linear(if dated { "Runs by date" } else { "Runs in the order given" }, 0.0, last, Format::Count, 2);
        let day = |f: &(&str, Option<&str>)| f.1.map(|d| d.split(' ').next().unwrap_or(d).to_string());
        // Days only where they tell the runs apart.
        let days: std::collections::BTreeSet<_> = folders.iter().filter_map(day).collect();
        let apart = days.len() == folders.len();
        let name = |f: &(&str, Option<&str>)| day(f).filter(|_| apart).unwrap_or_else(|| f.0.to_string());
        x.ticks = folders.iter().enumerate().map(|(i, f)| (i as f64, name(f))).collect();
        x
    };
    let most = c.runs.iter().filter_map(median).fold(0.0, f64::max);
    let draw = |title: &str, width: f64, y: Axis, series: Vec<Series>| {
        Lines { width, height: 300.0, title: title.into(), x: axis(), y, series, marks: vec![], legend: true }.draw()
    };
    let radii = |width: f64| {
        let y = c.norm.axis("Median proved delta max", [0.0, most * 1.05], 4);
        draw("Median proved delta max, run after run", width, y, lines(&median))
    };
    let rates = |width: f64| {
        draw("Accuracy, run after run", width, Axis::share("Right on clean images"), lines(&|e| e.clean_accuracy))
    };
    let body = html! {
        div.pair {
            @if most > 0.0 { div.panel { (figures.responsive("timeline-delta-max", "Median proved delta max, run after run", 520.0, radii, None)) } }
            @if c.runs.iter().any(|e| e.clean_accuracy.is_some()) { div.panel { (figures.responsive("timeline-accuracy", "Accuracy, run after run", 520.0, rates, None)) } }
        }
    };
    let order = if dated { "in the order of their dates" } else { "in the order given, since not all have a date" };
    let body = figure(
        figures,
        "Median proved delta max and accuracy",
        body,
        &format!(
            "One point per run, {order}. Whether two points differ by more than chance is said in the table above, not by the eye; runs on other images stand here too."
        ),
    );
    Some(Section {
        id: "course",
        nav: "Over time",
        title: "Run after run".into(),
        lead: format!("{} folders of results.", folders.len()),
        body,
    })
}
