//! Training curves.

use super::{Page, Section, figure};
use crate::report::chart::{Axis, Format, Lines, Series, model_color};
use crate::report::figure::{Table, row};
use crate::results::{Epoch, Study};
use maud::html;

/// Loss and accuracy by epoch.
pub fn section(page: &mut Page) -> Option<Section> {
    let study = page.study;
    let epochs = study.models.iter().flat_map(|m| &m.training).map(|e| e.epoch).max()?;
    let mut table = Table::new(&["model", "epoch", "loss", "train_accuracy", "test_accuracy"]);
    for m in &study.models {
        for e in &m.training {
            table.rows.push(row![m.name.as_str(), e.epoch, e.loss, e.train_accuracy, e.test_accuracy]);
        }
    }
    page.figures.table("training", "Training curves", table);
    let most =
        study.models.iter().flat_map(|m| &m.training).map(|e| e.loss).filter(|l| l.is_finite()).fold(0.0, f64::max);
    let loss = lines(study, epochs, Axis::linear("Loss", 0.0, most, Format::Number, 4), |e| Some(e.loss));
    let shown = |e: &Epoch| e.test_accuracy.or(e.train_accuracy);
    let accuracies = || study.models.iter().flat_map(|m| &m.training).filter_map(shown);
    let lowest = accuracies().fold(1.0, f64::min);
    let floor = if lowest > 0.55 { 0.5 } else { 0.0 };
    let tested = study.models.iter().flat_map(|m| &m.training).any(|e| e.test_accuracy.is_some());
    let name = if tested { "Accuracy on the test set" } else { "Accuracy on the training set" };
    let accuracy = lines(study, epochs, Axis::linear(name, floor, 1.0, Format::Percent, 5), shown);
    let measured = accuracies().next().is_some();
    let body = html! {
        div.pair {
            div.panel { (page.figures.add("training-loss", "Training loss", &loss.draw(), None)) }
            @if measured { div.panel { (page.figures.add("training-accuracy", name, &accuracy.draw(), None)) } }
        }
        div.scroll { table.plain {
            thead { tr { th { "Model" } th { "Layers" } th.n { "Weights" } th { "File" } } }
            tbody { @for (i, m) in study.models.iter().enumerate() { tr {
                td { (super::model_chip(study, i)) }
                td { (m.architecture) }
                td.n { (crate::report::chart::count(m.parameters as f64)) }
                td { @if let Some(f) = &m.file { code { (f) } } @else { "–" } }
            } } }
        } }
    };
    let body = figure(
        "Loss and accuracy by epoch",
        body,
        "All models have the same layers, optimiser and seed; only their training images differ.",
    );
    Some(Section {
        id: "training",
        nav: "Training",
        title: "How they learned".into(),
        lead: "Cross-entropy on the (augmented) training images, and accuracy after each epoch.".into(),
        body,
    })
}

fn lines(study: &Study, epochs: usize, y: Axis, value: impl Fn(&Epoch) -> Option<f64>) -> Lines {
    let series = study.models.iter().enumerate().map(|(i, m)| Series {
        name: m.name.clone(),
        color: model_color(i),
        points: m
            .training
            .iter()
            .filter_map(|e| Some([e.epoch as f64, value(e)?]))
            .filter(|p| p[1].is_finite())
            .collect(),
        ..Default::default()
    });
    Lines {
        width: 440.0,
        height: 270.0,
        title: format!("{} by epoch", y.label),
        x: Axis::linear("Epoch", 1.0, epochs.max(2) as f64, Format::Count, epochs.min(6)),
        y,
        series: series.collect(),
        marks: vec![],
        legend: false,
    }
}
