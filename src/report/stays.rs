//! How far one photo may change, in plain words, with pictures.

use maud::{Markup, html};

use super::radius::pixels;
use super::section::image;
use crate::results::{Change, Stays};

/// In per cent; fine enough to tell the ends of a bracket apart.
fn share(value: f64) -> String {
    let percent = 100.0 * value;
    if percent < 100.0 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// The change itself, and one of its size.
pub(super) fn words(change: Change) -> (&'static str, fn(f64) -> String) {
    match change {
        Change::Pixels => ("Any change of every pixel", pixels),
        Change::Length => ("Any change of this Euclidean length", |v| format!("{v:.3}")),
        Change::Noise => ("Gaussian noise of this deviation", pixels),
        Change::BrightnessDown => ("Every pixel darker by the same", pixels),
        Change::BrightnessUp => ("Every pixel brighter by the same", pixels),
        Change::ContrastDown => ("Less contrast", share),
        Change::ContrastUp => ("More contrast", share),
        Change::LightDown => ("Less light", share),
        Change::LightUp => ("More light", share),
        Change::WhiteBalance => ("The light of each colour off, either way", share),
        Change::Defocus => ("Out of focus: share of the blurred picture", share),
        Change::MotionBlur => ("Shaken sideways: share of the blurred picture", share),
    }
}

/// The table for an image of class `of`; `class` names classes.
pub(super) fn table<'a>(all: &[Stays], of: usize, class: &impl Fn(usize) -> &'a str) -> Markup {
    let heads = [format!("stays {} up to", class(of)), "is lost at".into(), "still".into(), "no more".into()];
    html! {
        table.stays {
            thead { tr { th { "change" } @for head in &heads { th { (head) } } } }
            tbody { @for s in all {
                @let (what, size) = words(s.change);
                tr {
                    th scope="row" { (what) }
                    td data-label=(heads[0]) { (kept(s, size)) }
                    td data-label=(heads[1]) { (lost(s, size, class)) }
                    td data-label=(heads[2]) {
                        @if let Some(p) = &s.kept { (image(p, "the image, changed as far as it keeps its class")) }
                    }
                    td data-label=(heads[3]) {
                        @if let Some((p, c)) = &s.other { (image(p, &format!("the image, changed until it is {}", class(*c)))) }
                    }
                }
            } }
        }
    }
}

fn kept(s: &Stays, size: fn(f64) -> String) -> Markup {
    html! {
        @if s.proved >= s.end { (size(s.end)) ", all that was looked at" }
        @else if s.proved > 0.0 { (size(s.proved)) }
        @else { "nothing proved" }
        @if s.proved > 0.0 { small { " proved" } }
        @if let Some(m) = s.measured.filter(|m| *m > s.proved) { br; (size(m)) small { " measured" } }
    }
}

fn lost<'a>(s: &Stays, size: fn(f64) -> String, class: &impl Fn(usize) -> &'a str) -> Markup {
    html! {
        @match s.lost {
            Some(v) => { (size(v)) @if let Some((_, c)) = &s.other { br; small { (class(*c)) } } }
            None => { @if s.proved >= s.end { "never" } @else { "not found" } }
        }
    }
}
