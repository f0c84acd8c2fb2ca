//! One image followed through the noise: photos and the stable space.

use super::dominance::{continuous, dominance, leads};
use super::{Choice, Page, Section, choose, figure, image, level_name};
use crate::report::chart::{Axis, Lines, Series, model_color};
use crate::report::figure::{Table, row};
use crate::results::{Example, ExampleLevel};
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
                @if let Some(c) = leads(page, which) { (c) }
                @if let Some(c) = stable_space(page, which) { (c) }
                (super::fold("The proved interval of every class", html! {
                    (dominance(page, which))
                    @if let Some(c) = continuous(page, which) { (c) }
                }))
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
pub(super) fn whose(page: &Page, which: usize) -> String {
    let several = page.study.models.iter().any(|m| m.examples.len() > 1);
    let named = examples(page, which).first().map(|(_, e)| format!(", {} #{}", page.class(e.label), e.index));
    named.filter(|_| several).unwrap_or_default()
}

pub(super) fn examples<'a>(page: &Page<'a>, which: usize) -> Vec<(usize, &'a Example)> {
    let all = page.study.models.iter().enumerate();
    all.filter_map(|(i, m)| m.examples.get(which).map(|e| (i, e))).collect()
}

fn photos(page: &mut Page, which: usize) -> Markup {
    let models = examples(page, which);
    let Some(&(_, first)) = models.first() else { return html! {} };
    let pictures: Vec<_> = first.levels.iter().map(|l| (l.picture.clone(), level_name(l.variance))).collect();
    page.figures.pictures("image-under-noise", "The image under noise", pictures.len(), &pictures);
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
        &mut page.figures,
        "The image under noise",
        body,
        "The image at every noise level, and what each model calls it; wrong answers in red.",
    )
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
            y: study.norm.axis("Delta max", [0.0, most * 1.05], 5),
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
        &mut page.figures,
        "Stable space of the example",
        chart,
        "Delta max of the example image at every noise level. Solid: proved, no change of class is possible below. Dashed: an attack changed the class here. The exact threshold lies between the two, on the upright bar. Thin: proved of further trainings.",
    ))
}
