//! The page of a result folder of certify: how far the images of a test set are proved stable, and which are the weakest.

use super::chart::{count, percent, plural};
use super::figure::Figures;
use super::findings::{ONE_ANSWER, Reading, reference_delta};
use super::html::{Head, document, notes};
use super::section::{Page, Section, brackets, closing, gallery, robustness};
use super::statistics::sorted;
use crate::certify::table::Manifest;
use crate::error::{Error, Result};
use crate::results::{
    CertifyRow, DataSummary, ModelResult, NoiseLevel, Picture, Spread, Study, extremes, quantile, write_atomically,
};
use crate::tensor::Shape;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::path::Path;

/// Pictures of images by index.
pub type Pictures = BTreeMap<usize, Picture>;

/// Writes `report.html` and `figures/*` into `dir`; `pictures` are asked for by the indices of the images that are shown.
///
/// # Errors
/// If no clean image was certified, or a file cannot be written.
pub fn write(
    manifest: &Manifest,
    rows: Vec<CertifyRow>,
    pictures: impl FnOnce(&[usize]) -> Pictures,
    dir: &Path,
) -> Result<()> {
    let result = result(manifest, rows, "the model");
    if result.rows_at(0.0).next().is_none() {
        return Err(Error::usage("the page shows clean images, and none was certified; add 0 to --variance"));
    }
    let (weak, strong) = extremes(&result, gallery::COUNT);
    let shown: Vec<usize> = weak.into_iter().chain(strong).map(|r| r.index).collect();
    let study = study(manifest, result, pictures(&shown));
    study.check().map_err(|problem| Error::input(dir, problem))?;
    let (page, figures) = page(manifest, &study);
    figures.write(&dir.join("figures"))?;
    write_atomically(&dir.join("report.html"), page.as_bytes())
}

/// The rows as what was measured of one model, called like its file; `unnamed` where it has no name.
pub fn result(manifest: &Manifest, rows: Vec<CertifyRow>, unnamed: &str) -> ModelResult {
    let stem = Path::new(&manifest.model).file_stem().map(|s| s.to_string_lossy().into_owned());
    let name = stem.unwrap_or_else(|| unnamed.to_string());
    let hash = Some(manifest.model_hash.clone());
    let mut result = ModelResult { name, hash, certify: rows, ..ModelResult::default() };
    let classes = manifest.classes.len();
    result.sweep = result.certified_variances().into_iter().map(|v| level(&result, v, classes)).collect();
    result
}

/// What the certified images of one noise level were called.
fn level(model: &ModelResult, variance: f64, classes: usize) -> NoiseLevel {
    let mut confusion = vec![vec![0.0; classes]; classes];
    let (mut right, mut all) = (0, 0);
    for r in model.rows_at(variance).filter(|r| r.label < classes && r.predicted < classes) {
        confusion[r.label][r.predicted] += 1.0;
        right += usize::from(r.label == r.predicted);
        all += 1;
    }
    let accuracy = Spread::exact(right as f64 / all.max(1) as f64);
    NoiseLevel { variance, draws: 1, confusion, accuracy, ..NoiseLevel::default() }
}

/// The rows as a study of one model, for the figures of the report.
fn study(manifest: &Manifest, mut result: ModelResult, pictures: Pictures) -> Study {
    let mut classes = manifest.classes.clone();
    super::name_numbers(&mut classes);
    let of_class = |c: usize| result.rows_at(0.0).filter(|r| r.label == c).count();
    let test_counts = (0..classes.len()).map(of_class).collect();
    // The page is about radii; what noise does to accuracy is told by a sweep over all images.
    result.sweep.clear();
    Study {
        command: manifest.command.clone(),
        seed: manifest.seed,
        norm: manifest.norm,
        device: manifest.device.clone(),
        versions: [("deltamax".to_string(), manifest.deltamax.clone())].into(),
        dataset: DataSummary { classes, shape: Shape::flat(0), test_counts, pictures, ..DataSummary::default() },
        models: vec![result],
        ..Study::default()
    }
}

fn page(manifest: &Manifest, study: &Study) -> (String, Figures) {
    let reading = Reading::default();
    let mut page = Page { study, reading: &reading, figures: Figures::default() };
    let model = &study.models[0];
    let card = card(study);
    let again = Section {
        id: "again",
        nav: "Do it again",
        title: "Do it again".into(),
        lead: "The same command gives the same figures.".into(),
        body: html! {
            pre { code { (manifest.command) } }
            dl.facts {
                div { dt { "Model" } dd { (manifest.model) } }
                div { dt { "Images" } dd { (manifest.data) ", " (manifest.split) " set" } }
                div { dt { "Method of the bounds" } dd { (manifest.method) } }
                div { dt { "Radii hold for" } dd { @if manifest.runtime == "exact" { "the network in real arithmetic" } @else { "the runtime " (manifest.runtime) } } }
                div { dt { "Device" } dd { (manifest.device) } }
                div { dt { "deltamax" } dd { (manifest.deltamax) } }
            }
            (notes(&model.name, &manifest.notes))
            p.note { "Beside this page: " code { "delta_max.csv" } " has a row per image, " code { "manifest.json" } " says what it was made from. To have the radii proved a second time, by separate code on the CPU, run " code { "deltamax audit" } " on this folder." }
        },
    };
    let sections: Vec<Section> = [robustness::section(&mut page), Some(closing::methods(study.norm)), Some(again)]
        .into_iter()
        .flatten()
        .collect();
    let title = format!("How much noise can {} take?", model.name);
    let head =
        Head { kicker: "Attacked and proved, image by image", title: &title, standfirst: standfirst(manifest, study) };
    (document(&head, card, &sections, "delta_max.csv"), page.figures)
}

fn standfirst(manifest: &Manifest, study: &Study) -> String {
    let images = study.models[0].rows_at(0.0).count();
    let part = match manifest.images {
        all if all > images => format!("{} of {}", count(images as f64), plural(all, "image")),
        _ => plural(images, "image"),
    };
    let set = if manifest.split == "train" { "training set" } else { "test set" };
    format!(
        "{part} of the {set}. For each: the noise up to which its class provably cannot change{}.{}",
        if manifest.attack { ", and the smallest at which an attack changed it" } else { "" },
        manifest.norm.aside()
    )
}

/// The figures that a reader asks for first.
fn card(study: &Study) -> Markup {
    let (norm, model) = (study.norm, &study.models[0]);
    let rows: Vec<&CertifyRow> = model.rows_at(0.0).collect();
    let share = |n: usize, of: usize| {
        format!("{} of {} ({})", count(n as f64), count(of as f64), percent(n as f64 / of.max(1) as f64))
    };
    let many = |test: &dyn Fn(&CertifyRow) -> bool| share(rows.iter().filter(|r| test(r)).count(), rows.len());
    let proved = sorted(rows.iter().map(|r| r.proved));
    let attacked = sorted(rows.iter().map(|r| r.attacked.unwrap_or(f64::INFINITY)));
    let median = quantile(&attacked, 0.5);
    let at = reference_delta(study);
    let [closed, bracketed] = brackets::closed(rows.iter().copied());
    let tried = bracketed > 0;
    let classes = &study.dataset.classes;
    let only = level(model, 0.0, classes.len()).only_answer();
    html! {
        section.verdict #verdict {
            dl.facts.large {
                div { dt { "Half of the images are proved stable up to" } dd { (norm.size(quantile(&proved, 0.5))) } }
                @if tried { div { dt { "Half were changed by an attack of at most" } dd {
                    @if median.is_finite() { (norm.size(median)) } @else { "more than half withstood" }
                } } }
                div { dt { "Rightly classified" } dd { (many(&|r| r.label == r.predicted)) } }
                div { dt { "Right and proved at " (norm.mark(at)) } dd { (many(&|r| r.label == r.predicted && r.proved >= at)) } }
                div { dt { "Nothing is proved of" } dd { (many(&|r| r.proved <= 0.0)) } }
                @if tried { div { dt { "Brackets closed to " (percent(brackets::GAP)) } dd { (share(closed, bracketed)) } } }
            }
            @if let Some(class) = only {
                p.note { "All " (count(rows.len() as f64)) " images are called " (classes[class]) ". " (ONE_ANSWER) "." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::Norm;

    fn manifest(images: usize) -> Manifest {
        let facts = serde_json::json!({
            "deltamax": "0.1.0", "command": "deltamax certify", "device": "CPU", "model": "nets/<boots>.onnx",
            "model_hash": "00", "notes": ["batch normalisation was folded"], "data": "shoes", "data_hash": "00",
            "classes": ["0", "1", "2"], "split": "test", "method": "crown", "variances": [0.0], "seed": 0,
            "tolerance": 1e-4, "images": images, "shard": [0, 1], "start": 0, "end": images,
        });
        serde_json::from_value(facts).unwrap()
    }

    fn row(index: usize, proved: f64, attacked: Option<f64>) -> CertifyRow {
        let method = "crown".to_string();
        CertifyRow {
            index,
            label: index % 2,
            predicted: 0,
            proved,
            attacked,
            rival_proved: Some(1),
            method,
            ..CertifyRow::default()
        }
    }

    #[test]
    fn one_answer_to_all_is_told() {
        let one = |n: usize| (0..n).map(|i| row(i, 1.0, None)).collect::<Vec<_>>();
        assert!(text(one(6)).contains(ONE_ANSWER));
        // Of one class, or with another answer, nothing is known of it.
        assert!(!text(one(1)).contains(ONE_ANSWER));
        let mut two = one(6);
        two[3].predicted = 1;
        assert!(!text(two).contains(ONE_ANSWER));
    }

    fn text(rows: Vec<CertifyRow>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let picture = Picture { width: 1, height: 1, channels: 1, bytes: vec![9] };
        let pictures = |shown: &[usize]| shown.iter().map(|&i| (i, picture.clone())).collect();
        write(&manifest(rows.len()), rows, pictures, dir.path()).unwrap();
        assert!(
            dir.path().join("figures/brackets.csv").is_file() || dir.path().join("figures/distribution.csv").is_file()
        );
        std::fs::read_to_string(dir.path().join("report.html")).unwrap()
    }

    #[test]
    fn the_page_says_how_many_images_and_how_tight() {
        let page = text(vec![
            row(0, 0.01, Some(0.01005)),
            row(1, 0.02, Some(0.03)),
            row(2, 0.03, None),
            row(3, 0.0, Some(0.1)),
        ]);
        for part in [
            "4 images of the test set",
            "Class 1",
            "&lt;boots&gt;",
            "was folded",
            "1 of 3 (33.3%)",
            "1 of 4 (25%)",
            "Delta max of 4 images",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<boots>") && !page.contains("NaN"));
    }

    #[test]
    fn lengths_are_told_as_such() {
        let manifest = Manifest { norm: Norm::L2, ..manifest(2) };
        let dir = tempfile::tempdir().unwrap();
        write(&manifest, vec![row(0, 0.3, Some(0.4)), row(1, 0.2, None)], |_| Pictures::new(), dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
        assert!(page.contains("Radii are Euclidean lengths") && page.contains("Right and proved at 0.25"));
        // The script knows grey levels by any norm.
        let words = page.split("<script").next().unwrap();
        assert!(!words.contains("/255") && !words.contains("every pixel may"));
    }

    #[test]
    fn few_images_and_no_attack_are_no_hindrance() {
        for rows in [vec![row(0, 0.01, None)], vec![row(0, 0.0, Some(0.5))], vec![row(1, 0.0, None), row(3, 0.0, None)]]
        {
            let page = text(rows);
            assert!(!page.contains("NaN") && !page.contains(">inf"));
        }
        let noisy = CertifyRow { variance: 0.01, ..row(0, 0.1, None) };
        let dir = tempfile::tempdir().unwrap();
        let error = write(&manifest(1), vec![noisy], |_| Pictures::new(), dir.path()).unwrap_err();
        assert!(error.to_string().contains("--variance"), "{error}");
    }
}
