//! The images at both ends of a distribution, with their pictures and brackets.

use super::{Choice, Page, choose, figure, image};
use crate::norm::Norm;
use crate::report::figure::{Table, row};
use crate::results::{CertifyRow, ModelResult, Picture, extremes};
use maud::{Markup, html};

/// Images at each end.
pub const COUNT: usize = 8;

/// The weakest and the strongest images of every model. Pictures that are not there are left out, their brackets are not.
pub fn gallery(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let ends = |m: &ModelResult| -> [Vec<CertifyRow>; 2] {
        let (weak, strong) = extremes(m, COUNT);
        [weak, strong].map(|rows| rows.into_iter().cloned().collect())
    };
    let all: Vec<(usize, [Vec<CertifyRow>; 2])> = study.models.iter().map(ends).enumerate().collect();
    let shown = || all.iter().flat_map(|(i, both)| both.iter().flatten().map(move |r| (*i, r)));
    let most = shown().map(|(_, r)| r.attacked.unwrap_or(r.proved).max(r.proved)).fold(f64::MIN_POSITIVE, f64::max);
    let mut table = Table::new(&["model", "end", "index", "file", "label", "rival", "proved", "attacked"]);
    let mut sheet: Vec<(Picture, String)> = Vec::new();
    for (i, both) in &all {
        for (end, rows) in ["weakest", "strongest"].iter().zip(both) {
            for r in rows {
                let rival = rival(r).map(|c| page.class(c));
                let (model, class) = (study.models[*i].name.as_str(), page.class(r.label));
                table.rows.push(row![model, *end, r.index, r.file.as_str(), class, rival, r.proved, r.attacked]);
                let picture = study.dataset.pictures.get(&r.index);
                sheet.extend(picture.map(|p| (p.clone(), written(study.norm, r))));
            }
        }
    }
    shown().next()?;
    page.figures.table("weakest-and-strongest", "The weakest and the strongest images", table);
    if !sheet.is_empty() {
        page.figures.pictures("weakest-and-strongest", "The weakest and the strongest images", COUNT, &sheet);
    }
    let row = |page: &Page, rows: &[CertifyRow]| {
        html! { div.row { @for r in rows { (shot(page, r, most)) } } }
    };
    let panels = html! {
        @for (i, [weak, strong]) in all.iter().filter(|a| !a.1[0].is_empty()) {
            div.ends data-model=(i) {
                h4 { (super::model_chip(study, *i)) }
                p.note { "Weakest" } (row(page, weak))
                @if !strong.is_empty() { p.note { "Strongest" } (row(page, strong)) }
            }
        }
    };
    let models = study.models.iter().map(|m| m.name.clone()).collect();
    let body = choose(&[Choice { key: "model", label: "Model", options: models, first: Some(0) }], panels);
    Some(figure(
        &mut page.figures,
        "The weakest and the strongest images",
        body,
        &format!(
            "Rightly classified images at both ends. The bar is the bracket of delta max on one scale: green is proved stable, striped lies between proof and attack. Under it the class, the class it turns into, and the bracket in {}.",
            study.norm.second_row().unwrap_or("Euclidean lengths")
        ),
    ))
}

/// The class that an image turns into, or may.
fn rival(r: &CertifyRow) -> Option<usize> {
    r.rival_attacked.or(r.rival_proved)
}

/// `0.4–1.2/255`.
fn written(norm: Norm, r: &CertifyRow) -> String {
    let attacked = r.attacked.map_or(String::new(), |a| format!("–{}", norm.bare(a)));
    format!("{}{attacked}{}", norm.bare(r.proved), norm.unit().2)
}

fn shot(page: &Page, r: &CertifyRow, most: f64) -> Markup {
    let name = if r.file.is_empty() { format!("test image {}", r.index) } else { r.file.clone() };
    html! {
        div.shot title=(name) {
            @if let Some(p) = page.study.dataset.pictures.get(&r.index) { (image(p, page.class(r.label))) } @else { small { (name) } }
            (bracket(r, most))
            small { b { (page.class(r.label)) } @if let Some(t) = rival(r) { " → " (page.class(t)) } }
            small { (written(page.study.norm, r)) }
        }
    }
}

/// The bracket `[proved, attacked]` as a bar.
fn bracket(r: &CertifyRow, most: f64) -> Markup {
    let proved = (r.proved / most * 100.0).clamp(0.0, 100.0);
    let open = r.attacked.map_or(0.0, |a| (a / most * 100.0).clamp(proved, 100.0) - proved);
    html! {
        div.bracket { i.p style=(format!("width:{proved:.1}%")) {} i.a style=(format!("width:{open:.1}%")) {} }
    }
}
