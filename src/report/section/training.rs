//! Training curves.

use super::{Page, Section, figure};
use crate::report::chart::{Axis, Format, Lines, Series, model_color};
use crate::report::figure::{Table, row};
use crate::results::{Epoch, Study};
use maud::html;

const WIDE: f64 = 520.0;

/// Loss and accuracy by epoch.
pub fn section(page: &mut Page) -> Option<Section> {
    let study = page.study;
    let epochs = study.models.iter().flat_map(|m| &m.training).map(|e| e.epoch).max()?;
    let mut table = Table::new(&["model", "training", "epoch", "loss", "train_accuracy", "test_accuracy"]);
    for m in &study.models {
        for (k, t) in m.trained().enumerate() {
            let of = |e: &Epoch| row![m.name.as_str(), k + 1, e.epoch, e.loss, e.train_accuracy, e.test_accuracy];
            table.rows.extend(t.training.iter().map(of));
        }
    }
    page.figures.table("training", "Training curves", table);
    let most = study
        .models
        .iter()
        .flat_map(|m| m.trained().flat_map(|t| t.training))
        .map(|e| e.loss)
        .filter(|l| l.is_finite())
        .fold(0.0, f64::max);
    let loss_axis = Axis::linear("Loss", 0.0, most, Format::Number, 4);
    let loss = |width: f64| lines(study, width, epochs, &loss_axis, |e| Some(e.loss)).draw();
    let shown = |e: &Epoch| e.test_accuracy.or(e.train_accuracy);
    let accuracies = || study.models.iter().flat_map(|m| m.trained().flat_map(|t| t.training)).filter_map(shown);
    let lowest = accuracies().fold(1.0, f64::min);
    let tested = study.models.iter().flat_map(|m| &m.training).any(|e| e.test_accuracy.is_some());
    let name = if tested { "Accuracy on the test set" } else { "Accuracy on the training set" };
    let accuracy_axis = Axis::high_shares(name, lowest);
    let accuracy = |width: f64| lines(study, width, epochs, &accuracy_axis, shown).draw();
    let measured = accuracies().next().is_some();
    let body = html! {
        div.pair {
            div.panel { (page.figures.responsive("training-loss", "Training loss", WIDE, loss, None)) }
            @if measured { div.panel { (page.figures.responsive("training-accuracy", name, WIDE, accuracy, None)) } }
        }
        div.scroll { table.plain {
            thead { tr { th { "Model" } th { "Layers" } th.n { "Weights" } } }
            tbody { @for (i, m) in study.models.iter().enumerate() { tr {
                td { (super::model_chip(study, i)) @for f in m.trained().filter_map(|t| t.file) { br; code { (f) } } }
                td { (m.architecture) }
                td.n { (crate::report::chart::count(m.parameters as f64)) }
            } } }
        } }
    };
    let alike = study.models.windows(2).all(|m| m[0].architecture == m[1].architecture);
    let layers = if alike { "layers and optimiser" } else { "optimiser" };
    let mut caption = format!("All models have the same {layers}, and the same seeds; ");
    let certified: Vec<&str> =
        study.models.iter().filter(|m| m.training.iter().any(|e| e.delta.is_some())).map(|m| m.name.as_str()).collect();
    if certified.is_empty() {
        caption += "only their training images differ.";
    } else {
        let names = certified.join(", ");
        caption += &format!(
            "apart from {names}, only their training images differ. Certified training ({names}) goes on for more epochs{}, and also learns from the worst case in a box around every image, which grows with the epochs: its loss is of that, mixed with attacked images, and no smaller for a better model than that of the others.",
            if alike { "" } else { ", has layers of its own" }
        );
    }
    if study.models.iter().any(|m| !m.repeats.is_empty()) {
        caption += " Line: mean of the trainings, which differ in their seeds; band: from the lowest to the highest.";
    }
    if study.models.iter().any(|m| m.architecture.starts_with("Conv")) {
        caption += " Layers: ConvN(k,s2) filters with N patterns of k by k pixels in steps of 2; FCN connects everything to N neurons. Between the layers negative values become zero (ReLU).";
    }
    let body = figure(&mut page.figures, "Loss and accuracy by epoch", body, &caption);
    let body = super::fold("Loss, accuracy, layers and files", body);
    Some(Section {
        id: "training",
        nav: "Training",
        title: "How they learned".into(),
        lead: "An epoch is one pass over the training images. The loss (cross-entropy) says how far the scores are from the right answers; accuracy is the share of right ones.".into(),
        body,
    })
}

fn lines(study: &Study, width: f64, epochs: usize, y: &Axis, value: impl Fn(&Epoch) -> Option<f64>) -> Lines {
    let series = study.models.iter().enumerate().map(|(i, m)| {
        let of = |epoch: usize| -> Vec<f64> {
            let found = m.trained().flat_map(|t| t.training).filter(|e| e.epoch == epoch).filter_map(&value);
            found.filter(|v| v.is_finite()).collect()
        };
        let each: Vec<(f64, Vec<f64>)> =
            (1..=epochs).map(|e| (e as f64, of(e))).filter(|(_, values)| !values.is_empty()).collect();
        let ends = |values: &[f64]| {
            [
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ]
        };
        Series {
            name: m.name.clone(),
            color: model_color(i),
            points: each.iter().map(|(e, v)| [*e, v.iter().sum::<f64>() / v.len() as f64]).collect(),
            band: if m.repeats.is_empty() {
                vec![]
            } else {
                each.iter().map(|(e, v)| [*e, ends(v)[0], ends(v)[1]]).collect()
            },
            ..Default::default()
        }
    });
    Lines {
        width,
        height: 280.0,
        title: format!("{} by epoch", y.label),
        x: Axis::linear("Epoch", 1.0, epochs.max(2) as f64, Format::Count, epochs.min(6)),
        y: y.clone(),
        series: series.collect(),
        marks: vec![],
        legend: false,
    }
}
