//! Every bracket of a test set, and how many of them are closed.

use super::{Page, figure};
use crate::report::chart::{Axis, Format, Lines, Series, count, model_color, percent};
use crate::report::figure::{Table, row};
use crate::results::CertifyRow;
use maud::{Markup, html};

/// Ends of a closed bracket lie within this share of each other.
pub const GAP: f64 = 0.01;

/// Images drawn of a larger test set.
const POINTS: usize = 240;

/// Brackets whose ends meet, of all that an attack gave an upper end.
pub fn closed<'a>(rows: impl Iterator<Item = &'a CertifyRow>) -> [usize; 2] {
    rows.filter_map(|r| Some((r.proved, r.attacked?))).fold([0, 0], |[closed, all], (proved, attacked)| {
        [closed + usize::from(attacked <= proved * (1.0 + GAP)), all + 1]
    })
}

/// The brackets of every model from the weakest image to the strongest.
pub fn brackets(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let finite = study.models.iter().flat_map(|m| m.rows_at(0.0)).flat_map(|r| [Some(r.proved), r.attacked]).flatten();
    let top = finite.fold(0.0, f64::max);
    let tried = study.models.iter().flat_map(|m| m.rows_at(0.0)).any(|r| r.attacked.is_some());
    if top <= 0.0 || !tried {
        return None;
    }
    let mut table = Table::new(&["model", "images", "attacked", "closed"]);
    let mut panels = Vec::new();
    for (i, m) in study.models.iter().enumerate() {
        let mut rows: Vec<&CertifyRow> = m.rows_at(0.0).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by(|a, b| a.proved.total_cmp(&b.proved).then(a.index.cmp(&b.index)));
        let [ends, all] = closed(rows.iter().copied());
        table.rows.push(row![m.name.as_str(), rows.len(), all, ends]);
        let last = (rows.len() - 1).max(1);
        let shown: Vec<(f64, &CertifyRow)> = (0..=POINTS.min(last))
            .map(|k| k * (rows.len() - 1) / POINTS.min(last))
            .map(|at| (at as f64 / last as f64, rows[at]))
            .collect();
        let color = model_color(i);
        let proved = Series {
            name: format!("proved ({})", count(rows.len() as f64)),
            color: color.clone(),
            points: shown.iter().map(|(x, r)| [*x, r.proved]).collect(),
            band: shown.iter().map(|(x, r)| [*x, r.proved, r.attacked.unwrap_or(top)]).collect(),
            ..Default::default()
        };
        let attacked = Series {
            name: "attacked".into(),
            color,
            points: shown.iter().filter_map(|(x, r)| Some([*x, r.attacked?])).collect(),
            dashed: true,
            unlabelled: true,
            ..Default::default()
        };
        let title = format!("Brackets of delta max, {}", m.name);
        let draw = |width: f64| {
            Lines {
                width,
                height: if width > 600.0 { 360.0 } else { 280.0 },
                title: title.clone(),
                x: Axis::linear("Images, from the weakest to the strongest", 0.0, 1.0, Format::Percent, 5),
                y: study.norm.axis("Delta max", [0.0, top * 1.03], 5),
                series: vec![proved.clone(), attacked.clone()],
                marks: vec![],
                legend: true,
            }
            .draw()
        };
        let wide = if study.models.len() == 1 { 980.0 } else { 520.0 };
        let svg = page.figures.responsive(&format!("brackets-{}", m.name), &title, wide, draw, None);
        let share = match all {
            0 => "No attack succeeded.".to_string(),
            n => format!(
                "{} of {} closed to {} ({}).",
                count(ends as f64),
                count(n as f64),
                percent(GAP),
                percent(ends as f64 / n as f64)
            ),
        };
        panels.push(html! {
            div.panel { @if study.models.len() > 1 { h4 { (super::model_chip(study, i)) } } (svg) p.note { (share) } }
        });
    }
    page.figures.table("brackets", "Brackets and how many are closed", table);
    let body = if study.models.len() == 1 {
        html! { @for p in panels { (p) } }
    } else {
        html! { div.grid.two { @for p in panels { (p) } } }
    };
    Some(figure(
        &mut page.figures,
        "Every bracket",
        body,
        "Images in the order of their proved delta max. Solid: proved, below it no change of class is possible. Dashed: the smallest noise at which an attack changed the class; the exact threshold lies between. Where the area reaches the top, no attack succeeded. certify --branch or --seconds closes brackets further.",
    ))
}
