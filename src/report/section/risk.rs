//! How accurate each model stays under random noise: proved, beside what draws say.

use maud::{Markup, html};

use super::{CLASSES, Page, by_model, figure};
use crate::report::chart::percent;
use crate::report::figure::{Table, row};
use crate::results::{ModelResult, RiskRow};

/// Mean shares, over images, of noise that leaves them rightly named: as drawn, and at least, as proved.
fn shares<'a>(rows: impl Iterator<Item = &'a RiskRow>) -> Option<[f64; 2]> {
    let (mut sums, mut images) = ([0.0; 2], 0.0);
    for row in rows {
        images += 1.0;
        if row.predicted == row.label {
            sums[0] += 1.0 - row.changed as f64 / row.draws.max(1) as f64;
            sums[1] += 1.0 - row.risk_proved;
        }
    }
    (images > 0.0).then(|| sums.map(|sum| sum / images))
}

/// To a tenth of a percent, from below: what is said to be proved is no more than that.
fn down(share: f64) -> f64 {
    (1000.0 * share).floor() / 1000.0
}

/// A table by variance, class and model.
pub fn part(page: &mut Page) -> Option<Markup> {
    let study = page.study;
    let models: Vec<(usize, &ModelResult)> =
        study.models.iter().enumerate().filter(|(_, m)| !m.risks.is_empty()).collect();
    let mut variances: Vec<f64> = models.first()?.1.risks.iter().map(|r| r.variance).collect();
    variances.dedup();
    let draws = models[0].1.risks.iter().map(|r| r.draws).max().unwrap_or(0);
    let classes = study.dataset.classes.len();
    let of = |m: &ModelResult, variance: f64, class: Option<usize>| {
        shares(m.risks.iter().filter(|r| r.variance == variance && class.is_none_or(|c| r.label == c)))
    };
    let mut table = Table::new(&["model", "variance", "class", "images", "measured", "proved"]);
    for (_, m) in &models {
        for &variance in &variances {
            for class in 0..classes {
                let images = m.risks.iter().filter(|r| r.variance == variance && r.label == class).count();
                let [measured, proved] = of(m, variance, Some(class)).map_or([None; 2], |s| s.map(Some));
                table.rows.push(row![m.name.as_str(), variance, page.class(class), images, measured, proved]);
            }
        }
    }
    page.figures.table("risk", "Accuracy under noise, proved", table);
    // All classes together, and each where they are few.
    let each = if classes <= CLASSES { 0..classes } else { 0..0 };
    let rows: Vec<(f64, Option<usize>)> = variances
        .iter()
        .flat_map(|&v| std::iter::once((v, None)).chain(each.clone().map(move |c| (v, Some(c)))))
        .collect();
    let title = |(variance, class): &(f64, Option<usize>)| {
        let name = class.map_or("all classes", |c| page.class(c));
        html! { (name) br; small { (super::level_name(*variance)) } }
    };
    let cell = |m: &ModelResult, (variance, class): &(f64, Option<usize>)| {
        let Some([measured, proved]) = of(m, *variance, *class) else { return html! { "no images" } };
        html! { "at least " (percent(down(proved))) br; small { "measured " (percent(measured)) } }
    };
    let body = by_model(study, &models, "class and noise", &rows, title, cell);
    let most = (0..classes).filter_map(|class| {
        let images = models[0].1.risks.iter().filter(|r| r.label == class && r.variance == variances[0]).count();
        (images > 0).then_some(images)
    });
    let (least, most) = (most.clone().min().unwrap_or(0), most.max().unwrap_or(0));
    let images = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let caption = format!(
        "Average share of Gaussian noise under which the first {images} test images of each class are rightly named, in the first training of each model. Proved: no less over all noise, whatever is drawn; where bounds say nothing of an image it counts as 0%. Measured: {draws} draws an image. These few images stand for themselves, not for the test set."
    );
    Some(figure(&mut page.figures, "Accuracy under noise, proved", body, &caption))
}
