//! The page: sections in order, style and script inlined.

use super::chart::{PALETTE, plural};
use super::figure::Figures;
use super::findings::Reading;
use super::section::{
    Page, Section, closing, data, example, light, noise, price, relevance, robustness, training, verdict,
};
use crate::results::Study;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The whole page, and the figures to write beside it.
pub fn page(study: &Study, reading: &Reading) -> (String, Figures) {
    let mut page = Page { study, reading, figures: Figures::default() };
    let card = verdict::card(&mut page);
    let sections: Vec<Section> = [
        verdict::findings_section(&mut page),
        data::section(&mut page),
        training::section(&mut page),
        noise::section(&mut page),
        example::section(&mut page),
        relevance::section(&mut page),
        robustness::section(&mut page),
        light::section(&mut page),
        price::section(&mut page),
        closing::claims(&mut page),
        Some(closing::methods(study.norm)),
        Some(closing::reproducibility(&page)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = if study.title.is_empty() { "How much noise can this classifier take?" } else { &study.title };
    let head = Head { kicker: "Measured, attacked and proved", title, standfirst: standfirst(study) };
    (document(&head, card, &sections, "results.json"), page.figures)
}

/// What the reader of a model's file said of it; nothing where it said nothing.
pub fn notes(model: &str, notes: &[String]) -> Markup {
    html! { @for note in notes { p.note { "About the file of " (model) ": " (note) "." } } }
}

/// What stands at the top of a page.
pub struct Head<'a> {
    pub kicker: &'a str,
    pub title: &'a str,
    pub standfirst: String,
}

/// A whole page, style and script inlined; `source` is the file its figures come from.
pub fn document(head: &Head, card: Markup, sections: &[Section], source: &str) -> String {
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (head.title) }
                style { (PreEscaped(PALETTE)) (PreEscaped(STYLE)) }
            }
            body {
                nav aria-label="Sections" {
                    div {
                        a.brand href="#top" { "deltamax" }
                        div.links { @for s in sections { a href={ "#" (s.id) } { (s.nav) } } }
                        button #theme type="button" hidden title="Light or dark" aria-label="Light or dark" { "◐" }
                    }
                }
                main #top {
                    header {
                        p.kicker { (head.kicker) }
                        h1 { (head.title) }
                        p.standfirst { (head.standfirst) }
                    }
                    (card)
                    @for s in sections {
                        section id=(s.id) {
                            h2 { (s.title) }
                            p.lead { (s.lead) }
                            (s.body)
                        }
                    }
                }
                footer { p { "Made by deltamax from " code { (source) } ". This file needs no network." } }
                div #tip role="status" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    text.into_string()
}

fn standfirst(study: &Study) -> String {
    let models = match study.models.len() {
        0 => return String::new(),
        1 => "One model".to_string(),
        2 => "Two models".to_string(),
        3 => "Three models".to_string(),
        n => format!("{n} models"),
    };
    let images: usize = study.dataset.test_counts.iter().sum();
    let certified = study.models.iter().map(|m| m.rows_at(0.0).count()).max().unwrap_or(0);
    let trainings = study.models.iter().map(|m| m.trained().count()).max().unwrap_or(1);
    let shown = |n: usize| super::chart::count(n as f64);
    let trained = if trainings > 1 { format!(", each trained {trainings} times") } else { String::new() };
    let proved = match certified {
        0 => String::new(),
        n if n < images => {
            format!(
                "; for a sample of {} of them also the noise up to which its class provably cannot change",
                shown(n)
            )
        }
        _ => ", and the noise up to which its class provably cannot change".into(),
    };
    format!(
        "{models}{trained}, {}. For every image: what each model calls it as noise grows{proved}.{}",
        plural(images, "test image"),
        study.norm.aside()
    )
}
