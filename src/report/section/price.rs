//! What certified training costs and what it brings: the figures of every model side by side.

use maud::{Markup, html};

use super::closing::duration;
use super::light::of;
use super::{Page, Section, by_model, figure};
use crate::norm::Norm;
use crate::report::chart::percent;
use crate::report::figure::{Table, row};
use crate::report::findings::even_accuracy;
use crate::report::statistics::{median, right_radii, share_at_least};
use crate::report::stays::words;
use crate::results::{Change, ModelResult, Trained};

/// A figure of a model, one by training.
type ByTraining = dyn Fn(&ModelResult) -> Vec<f64>;

/// One figure of every model.
struct Row {
    name: String,
    of: Box<ByTraining>,
    write: Box<dyn Fn(f64) -> String>,
}

impl Row {
    /// A figure of every training.
    fn new(
        name: impl Into<String>,
        write: impl Fn(f64) -> String + 'static,
        of: impl Fn(Trained) -> Option<f64> + 'static,
    ) -> Row {
        let of = move |m: &ModelResult| m.trained().filter_map(&of).collect();
        Row { name: name.into(), of: Box::new(of), write: Box::new(write) }
    }

    /// How far the photos may change for which it is proved, the middle one; of the first training.
    fn change(change: Change) -> Row {
        let (name, write) = words(change);
        let of = move |m: &ModelResult| {
            let middle = median(of(m, change).map(|s| s.proved));
            if middle.is_finite() { vec![middle] } else { vec![] }
        };
        Row { name: name.into(), of: Box::new(of), write: Box::new(write) }
    }
}

/// Share of the certified images that are right and proved to stay so.
fn proved_at(t: Trained, delta: f64) -> Option<f64> {
    let rows = t.rows_at(0.0);
    let all = rows.clone().count();
    (all > 0).then(|| share_at_least(&right_radii(rows).0, delta, all))
}

/// A table of all models, where one of them learned from boxes.
pub fn section(page: &mut Page) -> Option<Section> {
    let study = page.study;
    study.models.iter().find(|m| m.training.iter().any(|e| e.delta.is_some()))?;
    let models: Vec<(usize, &ModelResult)> = study.models.iter().enumerate().collect();
    let clean = |t: Trained| even_accuracy(t.sweep.iter().find(|l| l.variance == 0.0)?);
    let mut rows = vec![Row::new("Right on clean images, classes alike", percent, clean)];
    if study.norm == Norm::Linf {
        for grey in [1, 2, 4, 8] {
            let at = move |t: Trained| proved_at(t, f64::from(grey) / 255.0);
            rows.push(Row::new(format!("Right and proved at {grey}/255"), percent, at));
        }
    }
    let norm = study.norm;
    let middle = |t: Trained| Some(median(t.rows_at(0.0).map(|r| r.proved))).filter(|m| m.is_finite());
    rows.push(Row::new("Median proved delta max", move |v| norm.short(v), middle));
    let changes = study.models.iter().find_map(|m| m.photos.first());
    rows.extend(changes.iter().flat_map(|p| &p.stays).map(|s| Row::change(s.change)));
    let ends = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        [values.iter().sum::<f64>() / values.len() as f64, low, high]
    };
    let mut table = Table::new(&["model", "figure", "trainings", "mean", "low", "high"]);
    for (_, m) in &models {
        for row in &rows {
            let values = (row.of)(m);
            let [mean, low, high] = ends(&values);
            table.rows.push(row![m.name.as_str(), row.name.as_str(), values.len(), mean, low, high]);
        }
    }
    page.figures.table("price", "What certified training costs and brings", table);
    // Seconds are never twice the same, as files are to be.
    rows.push(Row::new("Training took", duration, |t| t.seconds));
    let cell = |m: &ModelResult, row: &Row| -> Markup {
        let values = (row.of)(m);
        let [mean, low, high] = ends(&values).map(|v| (row.write)(v));
        html! {
            @if values.is_empty() { "–" } @else { (mean) }
            @if values.len() > 1 { br; small { (low) " to " (high) } }
        }
    };
    let body = by_model(study, &models, "figure", &rows, |r| html! { (r.name) }, cell);
    let photos = changes.map_or("", |_| {
        " How far images may change is proved, the median over the first test images of every class that are named rightly, in the first training; of noise the deviation with which the class changes in at most one of 100 draws."
    });
    let trainings = if study.models.iter().any(|m| !m.repeats.is_empty()) {
        " Means over the trainings; below them, from the lowest to the highest."
    } else {
        ""
    };
    let caption = format!("Every model's price and gain.{trainings}{photos}");
    let body = figure(&mut page.figures, "Price and gain", body, &caption);
    Some(Section {
        id: "price",
        nav: "Price",
        title: "What certified training costs and brings".into(),
        lead: "It learns from the worst case in a box around every image, so that more can be proved; clean accuracy, other kinds of change and time are the price.".into(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figure::Figures;
    use crate::report::findings::Reading;
    use crate::report::sample;
    use crate::results::Study;

    #[test]
    fn a_price_is_told_where_boxes_were_learned_from() {
        let reading = Reading::default();
        let body = |study: &Study| {
            let mut page = Page { study, reading: &reading, figures: Figures::default() };
            section(&mut page).map(|s| s.body.into_string())
        };
        let mut study = sample::study();
        assert!(body(&study).is_none());
        study.models[2].training[0].delta = Some(0.01);
        study.models[2].seconds = Some(65.0);
        let told = body(&study).expect("a section");
        for part in ["proved at 8/255", "Median proved delta max", "Gaussian noise", "Out of focus", "65 s"] {
            assert!(told.contains(part), "{part}");
        }
        study.norm = Norm::L2;
        assert!(!body(&study).expect("a section").contains("proved at"));
    }

    #[test]
    fn wrong_answers_are_proved_nowhere() {
        let mut model = sample::study().models.swap_remove(0);
        model.certify.truncate(4);
        for (k, row) in model.certify.iter_mut().enumerate() {
            (row.variance, row.label, row.predicted) = (0.0, 1, usize::from(k > 0));
            row.proved = [0.5, 0.5, 0.01, 0.001][k];
        }
        let at = |delta: f64| proved_at(model.trained().next().expect("a training"), delta);
        assert_eq!([at(0.0), at(0.01), at(0.1)], [0.75, 0.5, 0.25].map(Some));
    }
}
