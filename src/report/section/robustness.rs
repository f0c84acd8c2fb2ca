//! Delta max over the whole test set.

use super::brackets::brackets;
use super::distribution::{distribution, quantiles, rivals};
use super::gallery::gallery;
use super::{Page, Section, figure};
use crate::report::chart::{Axis, Lines, Mark, Series, count, model_color, plural};
use crate::report::figure::{Table, row};
use crate::report::findings::reference_delta;
use crate::report::statistics::{right_radii, sorted, survival};
use crate::results::{CertifyRow, ModelResult, Study, Trained, quantile};
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Points of a sampled distribution: 10,000 images need no more to be drawn.
pub const POINTS: usize = 120;

/// Distributions, curves, rivals and the images at both ends.
pub fn section(page: &mut Page) -> Option<Section> {
    let study = page.study;
    let images = study.models.iter().map(|m| m.rows_at(0.0).count()).max().filter(|&n| n > 0)?;
    let mut methods: Vec<&str> = study.models.iter().flat_map(|m| &m.certify).map(|r| r.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    let trainings = study.models.iter().map(|m| m.trained().count()).max().unwrap_or(1);
    // Of one model there is room for all brackets.
    let alone = study.models.len() == 1;
    let more = if alone { "Classes, noise and rivals" } else { "Brackets, distributions, classes, noise and rivals" };
    let (curves, ends) = (certified(page), gallery(page));
    let spread = html! { @if let Some(m) = brackets(page) { (m) } (distribution(page)) };
    let body = html! {
        (curves)
        @if let Some(m) = ends { (m) }
        @if alone { (spread) }
        (super::fold(more, html! {
            @if !alone { (spread) }
            (quantiles(page))
            @if let Some(m) = against_noise(page) { (m) }
            @if let Some(m) = rivals(page) { (m) }
        }))
    };
    Some(Section {
        id: "delta-max",
        nav: "Delta max",
        title: format!("Delta max of {}", counted(images, study.dataset.test_counts.iter().sum())),
        lead: format!(
            "For each of {}{}: the noise up to which its class is proved not to change (method {}), and the smallest at which an attack changed it.",
            of_sample(images, study.dataset.test_counts.iter().sum()),
            if trainings > 1 { format!(", in {trainings} trainings of every model") } else { String::new() },
            methods.join(", ")
        ),
        body,
    })
}

/// A thin line for each of several trainings.
pub fn repeated(m: &ModelResult, color: usize, points: impl Fn(&Trained<'_>) -> Vec<[f64; 2]>) -> Vec<Series> {
    let line = |(k, t): (usize, Trained<'_>)| Series {
        name: format!("{}, training {}", m.name, k + 1),
        color: model_color(color),
        points: points(&t),
        thin: true,
        unlabelled: true,
        ..Default::default()
    };
    let several = !m.repeats.is_empty();
    m.trained().enumerate().filter(|_| several).map(line).collect()
}

/// `400 images` or `100 of 400 images`.
pub fn counted(certified: usize, all: usize) -> String {
    let total = plural(all, "image");
    if certified < all { format!("{} of {total}", count(certified as f64)) } else { total }
}

/// `400 images`, or how many of them.
fn of_sample(certified: usize, all: usize) -> String {
    if certified < all {
        let [shown, total] = [certified, all].map(|n| count(n as f64));
        format!("{shown} of the {total} test images, a sample with the class balance of all")
    } else {
        plural(all, "image")
    }
}

/// A delta that nearly all images of all models lie below.
fn reach(page: &Page) -> f64 {
    let end = |q: f64, value: &dyn Fn(&CertifyRow) -> Option<f64>| {
        let of = |m: &ModelResult| quantile(&sorted(m.all_rows_at(0.0).filter_map(value)), q);
        page.study.models.iter().map(of).filter(|v| v.is_finite()).fold(0.0, f64::max)
    };
    let proved = end(0.995, &|r| Some(r.proved));
    let attacked = end(0.9, &|r| r.attacked);
    // An attack far beyond the proofs must not squeeze them into a corner.
    let reach = proved.max(attacked.min(proved * 4.0));
    if reach > 0.0 { reach * 1.03 } else { 1.0 / 255.0 }
}

/// Certified accuracy of one model, over all its trainings.
struct Curve {
    model: usize,
    images: usize,
    /// `[delta, share]` of images that are right and proved to stay so.
    proved: Vec<[f64; 2]>,
    /// The same of images that no attack could change; empty where none was tried.
    unbroken: Vec<[f64; 2]>,
}

impl Curve {
    fn of(study: &Study, model: usize, reach: f64) -> Option<Curve> {
        let rows: Vec<&CertifyRow> = study.models[model].all_rows_at(0.0).collect();
        let (proved, broken) = right_radii(rows.iter().copied());
        let tried = rows.iter().any(|r| r.attacked.is_some());
        let curve = |radii: &[f64]| survival(radii, rows.len(), reach, POINTS);
        (!rows.is_empty()).then(|| Curve {
            model,
            images: study.models[model].rows_at(0.0).count(),
            proved: curve(&proved),
            unbroken: if tried { curve(&broken) } else { vec![] },
        })
    }

    fn proved_line(&self, study: &Study) -> Series {
        let (name, color) = (study.models[self.model].name.clone(), model_color(self.model));
        Series { name, color, points: self.proved.clone(), ..Default::default() }
    }

    /// The line, the one of the attack, and what lies between them.
    fn bracket(&self, study: &Study) -> [Series; 2] {
        let line = self.proved_line(study);
        let band = self.proved.iter().zip(&self.unbroken).map(|(l, u)| [l[0], l[1], u[1]]).collect();
        let attacked = Series {
            name: format!("{} attacked", line.name),
            points: self.unbroken.clone(),
            dashed: true,
            unlabelled: true,
            ..line.clone()
        };
        [Series { band, ..line }, attacked]
    }
}

pub fn certified(page: &mut Page) -> Markup {
    let study = page.study;
    let reach = reach(page);
    let mut table = Table::new(&["model", "delta", "proved_accuracy", "attacked_accuracy"]);
    let curves: Vec<Curve> = (0..study.models.len()).filter_map(|i| Curve::of(study, i, reach)).collect();
    for c in &curves {
        for (k, p) in c.proved.iter().enumerate() {
            let name = study.models[c.model].name.as_str();
            table.rows.push(row![name, p[0], p[1], c.unbroken.get(k).map(|u| u[1])]);
        }
    }
    let attacked = curves.iter().any(|c| !c.unbroken.is_empty());
    let alone = curves.len() == 1;
    let mut series = Vec::new();
    for c in &curves {
        series.extend(repeated(&study.models[c.model], c.model, |t| {
            let own: Vec<&CertifyRow> = t.rows_at(0.0).collect();
            survival(&right_radii(own.iter().copied()).0, own.len(), reach, POINTS)
        }));
        if alone { series.extend(c.bracket(study)) } else { series.push(c.proved_line(study)) }
    }
    let at = reference_delta(study);
    let images = curves.iter().map(|c| c.images).max().unwrap_or(0);
    let lines = |width: f64, title: String, images: usize, series: Vec<Series>| {
        let large = width > 600.0;
        let mark = Mark { x: at, text: study.norm.mark(at), color: "var(--faint)".into(), dashed: true };
        Lines {
            width,
            height: if large { 460.0 } else { 380.0 },
            title,
            x: study.norm.axis_of_moves(reach, if large { 8 } else { 5 }),
            y: Axis::share(&format!("Right and stable, of {}", plural(images, "image"))),
            series,
            marks: if at <= reach { vec![mark] } else { vec![] },
            legend: true,
        }
    };
    let title = "Certified accuracy against delta";
    let draw = |width: f64| lines(width, format!("{title}, by model"), images, series.clone()).draw();
    let chart = page.figures.responsive("certified-accuracy", title, 980.0, draw, Some(table));
    let mut panels = Vec::new();
    // Areas of several models over one another would hide what they say.
    for c in curves.iter().filter(|c| !alone && !c.unbroken.is_empty()) {
        let pale = |other: &Curve| Series { thin: true, unlabelled: true, ..other.proved_line(study) };
        let mut series: Vec<Series> = curves.iter().filter(|o| o.model != c.model).map(pale).collect();
        series.extend(c.bracket(study));
        let name = &study.models[c.model].name;
        let chart = lines(380.0, format!("{title}, {name}, proved and attacked"), c.images, series);
        let svg = page.figures.add(&format!("certified-accuracy-{name}"), &chart.title, &chart.draw(), None);
        panels.push(html! { div.panel { (svg) } });
    }
    let mut caption = format!(
        "At delta 0 the lines start at accuracy on the images as they are. From there on a line is the share of images that are rightly classified and proved to stay so, whatever noise moves their pixels {}.",
        study.norm.by("delta")
    );
    if attacked && alone {
        caption += " Dashed: the share that no attack could change. The truth lies in the shaded band between.";
    } else if attacked {
        caption += " Below, each model alone. Dashed: the share that no attack could change. The truth lies in the shaded band between; the other models are drawn thin.";
    }
    if study.models.iter().any(|m| !m.repeats.is_empty()) {
        caption += " Thin lines above: each of several trainings.";
    }
    caption += &study.norm.second_row().map_or(String::new(), |row| format!(" Second row of the axis: {row}."));
    let body = html! { (chart) @if !panels.is_empty() { div.grid.below { @for p in panels { (p) } } } };
    figure(&mut page.figures, "Certified accuracy", body, &caption)
}

fn against_noise(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let mut variances: Vec<f64> = study.models.iter().flat_map(|m| m.certified_variances()).collect();
    variances.sort_by(f64::total_cmp);
    variances.dedup();
    if variances.len() < 2 {
        return None;
    }
    let mut table = Table::new(&["model", "variance", "images", "q25", "median", "q75", "median_attacked"]);
    let mut series = Vec::new();
    let (mut most, mut images) = (0.0f64, vec![]);
    for (i, m) in study.models.iter().enumerate() {
        let (mut points, mut band) = (Vec::new(), Vec::new());
        let levels = m.certified_variances();
        // Levels may cover different parts of the test set; only images of all of them can be compared.
        let of = |v: f64| m.all_rows_at(v).map(|r| r.index).collect::<BTreeSet<usize>>();
        let common = levels.iter().map(|&v| of(v)).reduce(|a, b| &a & &b).unwrap_or_default();
        images.push(common.len());
        for v in levels {
            let rows = m.all_rows_at(v).filter(|r| common.contains(&r.index));
            let all = sorted(rows.clone().map(|r| r.proved));
            let attacked = sorted(rows.map(|r| r.attacked.unwrap_or(f64::INFINITY)));
            let q = [0.25, 0.5, 0.75].map(|q| quantile(&all, q));
            table.rows.push(row![m.name.as_str(), v, all.len(), q[0], q[1], q[2], quantile(&attacked, 0.5)]);
            most = most.max(q[2]);
            points.push([v, q[1]]);
            band.push([v, q[0], q[2]]);
        }
        series.extend(repeated(m, i, |t| {
            let median = |v: &f64| {
                let of = t.rows_at(*v).filter(|r| common.contains(&r.index));
                Some([*v, quantile(&sorted(of.map(|r| r.proved)), 0.5)]).filter(|p| p[1].is_finite())
            };
            m.certified_variances().iter().filter_map(median).collect()
        }));
        series.push(Series {
            name: m.name.clone(),
            color: model_color(i),
            points,
            band,
            dots: true,
            ..Default::default()
        });
    }
    let images = match (images.iter().min(), images.iter().max()) {
        (Some(least), Some(most)) if least == most => plural(*most, "image"),
        (Some(least), Some(most)) => format!("{least} to {}", plural(*most, "image")),
        _ => return None,
    };
    let label = format!("Median proved delta max of {images}");
    let draw = |width: f64| {
        Lines {
            width,
            height: if width > 600.0 { 400.0 } else { 320.0 },
            title: "Proved delta max of the images against noise".into(),
            x: Axis::variance(&variances),
            y: study.norm.axis(&label, [0.0, most * 1.05], 5),
            series: series.clone(),
            marks: vec![],
            legend: false,
        }
        .draw()
    };
    let chart =
        page.figures.responsive("delta-max-noise", "Delta max of the images against noise", 980.0, draw, Some(table));
    let caption = format!(
        "Median proved delta max of the same {images} at every noise level; upright bars hold the middle half of them.{}",
        if study.models.iter().any(|m| !m.repeats.is_empty()) { " Thin: each of several trainings." } else { "" }
    );
    Some(figure(&mut page.figures, "Stable space of the images", chart, &caption))
}
