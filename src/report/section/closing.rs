//! The study's claims, the methods, and how to do it again.

use super::{Page, Section};
use crate::norm::Norm;
use crate::report::chart::{count, number};
use crate::report::figure::{Table, row};
use crate::report::findings::published_classes;
use crate::results::Verdict;
use maud::{Markup, html};

/// The published study's claims beside what was found here.
pub fn claims(page: &mut Page) -> Option<Section> {
    let claims = &page.reading.claims;
    if claims.is_empty() {
        return None;
    }
    let mut table = Table::new(&["claim", "verdict", "evidence"]);
    for c in claims {
        table.rows.push(row![c.claim.as_str(), word(c.verdict).0, c.evidence.as_str()]);
    }
    page.figures.table("claims", "The published study's claims, re-examined", table);
    let held = claims.iter().filter(|c| c.verdict == Verdict::Holds).count();
    let body = html! {
        div.claims { @for c in claims {
            @let (text, class) = word(c.verdict);
            article { p class={ "verdict-word " (class) } { (text) } div { h3 { (c.claim) } p { (c.evidence) } } }
        } }
        (page.figures.links("The published study's claims"))
    };
    let measured = claims.iter().filter(|c| c.verdict != Verdict::NotMeasured).count();
    let counted = format!(
        "Of {measured} claims that were measured here, {held} hold{} fully on these data. Not clear means that the choice of test images and of training seeds could explain the difference.",
        if held == 1 { "s" } else { "" }
    );
    let drawn = if page.study.dataset.drawn() {
        " Its classes are those of this page, its images were photos, where these are drawings."
    } else {
        ""
    };
    let (title, lead) = if published_classes(page.study) {
        let lead = format!(
            "The study this one follows (Saimple case study on shoe photos, 2023) looked at relevance, dominance and delta max of a single image.{drawn} {counted}"
        );
        ("The published claims, re-examined", lead)
    } else {
        let lead = format!(
            "The study this one follows (Saimple case study, 2023) was on shoe photos. These are other classes, so nothing here confirms or refutes it: its claims are asked of these data by analogy, the class with the fewest training images in the place of Slippers. {counted}"
        );
        ("Analogous claims on these data", lead)
    };
    Some(Section { id: "claims", nav: "Claims", title: title.into(), lead, body })
}

fn word(v: Verdict) -> (&'static str, &'static str) {
    match v {
        Verdict::Holds => ("Holds", "yes"),
        Verdict::Partly => ("In part", "part"),
        Verdict::DoesNotHold => ("Does not hold", "no"),
        Verdict::NotClear => ("Not clear", "none"),
        Verdict::NotMeasured => ("Not measured", "none"),
    }
}

/// Behind what delta is; of balls in the maximum norm, which are boxes.
const TERMS: [(&str, &str); 12] = [
    (
        "Logit and softmax score",
        "What the network computes for each class, and the same turned into shares that add up to 1. The class with the largest is the decision.",
    ),
    (
        "Margin",
        "The logit of the chosen class minus that of a rival. While all margins are positive the decision stands.",
    ),
    (
        "Dominance",
        "The chosen class dominates over a noise box when all its margins are proved positive there: no image in the box, seen or not, gets another class. Intervals of single classes may overlap all the same, since a class and its rival depend on the same pixels.",
    ),
    (
        "Delta max",
        "The largest delta for which a class dominates. It is given as a bracket: proved, up to where no change is possible, and attacked, where an image with another class was found. The exact threshold lies between.",
    ),
    (
        "Proved",
        "By bounds that are charged for every rounding of the device that computed them: a statement about every image in the box, not a sample. It is about the network with its stored float32 weights, read as exact arithmetic; a program that runs the network rounds a little on its own.",
    ),
    (
        "ibp, crown-ibp, crown, alpha",
        "Four ways to bound what a network can do over a noise box, each tighter and slower than the one before. ibp carries an interval through every layer; crown carries straight lines that lie below and above each layer and remembers which pixels they come from; crown-ibp mixes the two; alpha also turns the lines to where they prove most. All four are proofs: a looser one proves less, never more.",
    ),
    (
        "Certified accuracy",
        "Share of test images that are rightly classified and proved to stay so at a given delta. Wrong decisions count as not certified, however stable.",
    ),
    (
        "Gaussian noise",
        "Independent noise on every pixel and channel, clipped to black and white; its variance is on pixels from 0 to 1. Unlike a noise box it has no hard limit, so it is measured, not proved.",
    ),
    (
        "Relevance",
        "How the logit of the chosen class responds to each pixel: its gradient, the gradient times the pixel, or the gradient averaged on the way from a blank image (integrated gradients). Object, contour and background are told apart by the plain background of the image without noise.",
    ),
    (
        "Certified relevance",
        "Bounds of the gradient over the whole noise box: a pixel is red or blue only where the sign of its influence is proved for every image in the box, and blank where it is undecided.",
    ),
    (
        "Clear, more than chance",
        "Every difference on this page is judged in one way. The sides are compared on the same test images. Two tests have to agree: a sign test over the images (McNemar's, for answers right or wrong), and a t test whose error holds both the choice of the images (for medians by drawing them again, the bootstrap) and the seeds of the trainings. Since a page makes many comparisons, all are counted together (Holm): clear is what remains below 5% then. Half of that is kept for the choice of the model.",
    ),
    (
        "95% interval",
        "Where the difference would lie in 95 of 100 repetitions with other images and seeds. It is that of one comparison alone, so that it may leave out zero where the page still says that the difference may be chance.",
    ),
];

/// Every term in plain words.
pub fn methods(norm: Norm) -> Section {
    let body = html! { (super::fold("All words", terms(norm))) };
    Section {
        id: "methods",
        nav: "Methods",
        title: "Methods and terms".into(),
        lead: "What the words on this page mean.".into(),
        body,
    }
}

fn terms(norm: Norm) -> Markup {
    let ball = norm.ball();
    html! { dl.terms {
        div { dt { "Noise " (ball) ", delta" } dd { (norm.meaning()) } }
        @for (term, text) in TERMS { div { dt { (term) } dd { (text.replace("box", ball)) } } }
    } }
}

/// Command, seed, device, versions.
pub fn reproducibility(page: &Page) -> Section {
    let s = page.study;
    let chosen = page.reading.conclusion.as_ref().and_then(|c| s.models.iter().find(|m| c.models.contains(&m.name)));
    let model = chosen.or(s.models.first()).and_then(|m| m.file.as_deref()).unwrap_or("MODEL.onnx");
    let body = html! {
        @if !s.command.is_empty() { pre { code { (s.command) } } }
        dl.facts {
            div { dt { "Seed" } dd { (s.seed) } }
            @if !s.device.is_empty() { div { dt { "Device" } dd { (s.device) } } }
            @if let Some(t) = &s.started { div { dt { "Started" } dd { (t) } } }
            @if let Some(t) = s.seconds { div { dt { "Took" } dd { (duration(t)) } } }
            @if !s.dataset.source.is_empty() { div { dt { "Data" } dd { (s.dataset.source) } } }
            @for (name, version) in &s.versions { div { dt { (name) } dd { (version) } } }
            @for (name, value) in &s.settings { div { dt { (name) } dd { (value) } } }
        }
        p.note {
            "Beside this page: " code { "results.json" } " holds everything measured, and " code { "figures/" }
            " every figure as SVG and PNG with its numbers as CSV and JSON. " code { "deltamax report" } " draws this page again from the results. "
            "To have radii proved a second time, by separate code on the CPU: " code { "deltamax certify --model " (crate::terminal::shell_word(model)) " --data PHOTOS" (s.norm.flag()) " --out proofs" }
            ", then " code { "deltamax audit proofs" } "."
        }
    };
    Section {
        id: "again",
        nav: "Do it again",
        title: "Do it again".into(),
        lead: "The same command with the same seed gives the same figures.".into(),
        body,
    }
}

pub(super) fn duration(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{} s", number(seconds))
    } else {
        format!("{} min {:.0} s", count((seconds / 60.0).floor()), seconds % 60.0)
    }
}
