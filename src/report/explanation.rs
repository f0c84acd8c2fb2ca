//! The page of a single image: what the model calls it, how much noise that takes, and which pixels it rests on.

use super::chart::percent;
use super::figure::Figures;
use super::findings::Reading;
use super::html::{Head, document, notes};
use super::section::{Page, Section, closing, dominance, fold, image, relevance};
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::results::{DataSummary, Example, ExampleLevel, ModelResult, Picture, Study, write_atomically};
use crate::tensor::Shape;
use maud::{Markup, html};
use std::path::Path;

/// What the page is about.
#[derive(Clone)]
pub struct Subject {
    /// File name of the image.
    pub image: String,
    /// File name of the model.
    pub model: String,
    /// What the reader of the model said of it.
    pub notes: Vec<String>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Of the image as the model takes it.
    pub shape: Shape,
    /// What was computed of it, and what its radii are measured by.
    pub level: ExampleLevel,
    /// See [`level`](Self::level).
    pub norm: Norm,
    /// The class that stops the proof.
    pub rival: usize,
    /// The nearest image of another class that was found, and its class.
    pub broken: Option<(Picture, usize)>,
    /// What a table of [`ExampleLevel::stays`] means, in a sentence.
    pub stays: String,
    /// The command line.
    pub command: String,
    /// Where it was computed.
    pub device: String,
}

/// Writes `explanation.html` and `figures/*` into `dir`.
pub fn write(subject: &Subject, dir: &Path) -> Result<()> {
    let mut subject = subject.clone();
    super::name_numbers(&mut subject.classes);
    let subject = &subject;
    let study = study(subject);
    study.check().map_err(|problem| Error::input(dir, problem))?;
    let (page, figures) = page(subject, &study);
    figures.write(&dir.join("figures"))?;
    write_atomically(&dir.join("explanation.html"), page.as_bytes())
}

/// The image as the only example of the only model, for the figures of the report.
fn study(s: &Subject) -> Study {
    let example = Example { index: 0, file: s.image.clone(), label: s.level.predicted, levels: vec![s.level.clone()] };
    Study {
        command: s.command.clone(),
        norm: s.norm,
        device: s.device.clone(),
        versions: [("deltamax".to_string(), env!("CARGO_PKG_VERSION").to_string())].into(),
        dataset: DataSummary { classes: s.classes.clone(), shape: s.shape, ..DataSummary::default() },
        models: vec![ModelResult { name: s.model.clone(), examples: vec![example], ..ModelResult::default() }],
        ..Study::default()
    }
}

fn page(s: &Subject, study: &Study) -> (String, Figures) {
    let reading = Reading::default();
    let mut page = Page { study, reading: &reading, figures: Figures::default() };
    let l = &s.level;
    let class = |c: usize| s.classes[c].as_str();
    let dominance = Section {
        id: "dominance",
        nav: "Dominance",
        title: "How far ahead the class stays".into(),
        lead: format!("Intervals proved for every change of up to {} {}.", s.norm.size(l.delta), s.norm.on()),
        body: html! {
            @if let Some(c) = dominance::leads(&mut page, 0) { (c) }
            (dominance::dominance(&mut page, 0))
            @if let Some(c) = dominance::continuous(&mut page, 0) { (fold(&format!("As the noise {} grows", s.norm.ball()), c)) }
        },
    };
    let stays = (!l.stays.is_empty()).then(|| Section {
        id: "stays",
        nav: "Stays",
        title: format!("How long it stays {}", class(l.predicted)),
        lead: s.stays.clone(),
        body: super::stays::table(&l.stays, l.predicted, &class),
    });
    let relevance = relevance::maps(&mut page, 0).map(|body| Section {
        id: "relevance",
        nav: "Relevance",
        title: "Where the model looks".into(),
        lead: format!("Which pixels speak for {} (red) and which against (blue).", class(l.predicted)),
        body,
    });
    let again = Section {
        id: "again",
        nav: "Do it again",
        title: "Do it again".into(),
        lead: "The same command gives the same figures.".into(),
        body: html! {
            pre { code { (s.command) } }
            dl.facts { div { dt { "Model" } dd { (s.model) } } div { dt { "Device" } dd { (s.device) } } }
            (notes(&s.model, &s.notes))
        },
    };
    let sections: Vec<Section> = [stays, Some(dominance), relevance, Some(closing::methods(s.norm)), Some(again)]
        .into_iter()
        .flatten()
        .collect();
    let title = format!("{}: {}", s.image, class(l.predicted));
    let head = Head { kicker: "One image, explained", title: &title, standfirst: standfirst(s) };
    let text = document(&head, card(s), &sections, "explanation.json");
    (text, page.figures)
}

fn standfirst(s: &Subject) -> String {
    let stable = match s.level.proved.filter(|p| *p > 0.0) {
        Some(p) => {
            format!("No change of up to {} {} makes it another class: proved.", s.norm.size(p), s.norm.on())
        }
        None => format!("No noise {} around it is proved to keep the class.", s.norm.ball()),
    };
    format!("{} calls this image {}. {stable}", s.model, s.classes[s.level.predicted])
}

/// The photo, the photo that breaks it, and the bracket in figures.
fn card(s: &Subject) -> Markup {
    let (norm, l) = (s.norm, &s.level);
    let class = |c: usize| s.classes[c].as_str();
    let most = l.logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let score = 1.0 / l.logits.iter().map(|v| (v - most).exp()).sum::<f64>();
    html! {
        section.verdict #verdict {
            div.strip {
                div.shot { (image(&l.picture, "the image")) b { (class(l.predicted)) } small { "score " (percent(score)) } }
                @if let Some((picture, to)) = &s.broken {
                    div.shot {
                        (image(picture, "the nearest image of another class that was found"))
                        b { (class(*to)) }
                        small { "found by attack" @if let Some(a) = l.attacked { ", a change of up to " (norm.size(a)) " " (norm.on()) } }
                    }
                }
            }
            dl.facts {
                div { dt { "Proved stable" } dd { "up to " (norm.size(l.proved.unwrap_or(0.0))) } }
                div { dt { "Broken by attack" } dd {
                    @match l.attacked { Some(a) => { "at " (norm.size(a)) }, None => { "not found" } }
                } }
                div { dt { "Class that ends the proof" } dd { (class(s.rival)) } }
                div { dt { "Within " (norm.size(l.delta)) } dd {
                    @if l.dominant { (class(l.predicted)) " dominates: proved" } @else { "dominance not proved" }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Change, Stays};

    #[test]
    fn the_page_of_one_image_stands_alone() {
        let sample = crate::report::sample::study();
        let level = sample.models[0].examples[0].levels[0].clone();
        let mut level = level;
        level.stays = vec![Stays {
            change: Change::ContrastDown,
            proved: 0.123,
            measured: None,
            lost: Some(0.4),
            end: 1.0,
            kept: Some(level.picture.clone()),
            other: Some((level.picture.clone(), 1)),
        }];
        let subject = Subject {
            image: "<boot>.jpg".into(),
            model: "m.onnx".into(),
            notes: vec!["batch normalisation was folded".into()],
            classes: sample.dataset.classes.clone(),
            shape: sample.dataset.shape,
            broken: Some((level.picture.clone(), 1)),
            level,
            norm: Norm::Linf,
            rival: 1,
            stays: "so far".into(),
            command: "deltamax explain".into(),
            device: "CPU".into(),
        };
        let dir = tempfile::tempdir().unwrap();
        write(&subject, dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("explanation.html")).unwrap();
        for part in [
            "id=\"dominance\"",
            "id=\"relevance\"",
            "&lt;boot&gt;.jpg",
            "found by attack",
            "was folded",
            "id=\"stays\"",
            "12.3%",
            "40.0%",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<boot>") && !text.contains("NaN"));
    }
}
