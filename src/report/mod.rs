//! Results to a page: one self-contained HTML file, with every figure as SVG, PNG, CSV and JSON beside it. Knows no device.

pub mod certified;
mod chart;
pub mod compare;
pub mod explanation;
mod figure;
mod findings;
mod font;
mod html;
pub mod junit;
mod outline;
mod picture;
mod radius;
mod raster;
#[cfg(test)]
mod sample;
mod section;
pub mod sheet;
mod statistics;
mod stays;

use crate::error::{Error, Result};
use crate::results::{FORMAT, Study, write_atomically};
use std::path::Path;

/// Writes `report.html`, `results.json` and `figures/*` into `dir`, each file whole or not at all. The findings and
/// claims are computed anew from the figures.
pub fn write(study: &Study, dir: &Path) -> Result<()> {
    study.check().map_err(|problem| Error::input(dir, problem))?;
    std::fs::create_dir_all(dir).map_err(Error::io(dir, "creating"))?;
    let mut study = study.clone();
    study.format = FORMAT;
    let mut shown = study.clone();
    name_numbers(&mut shown.dataset.classes);
    let reading = findings::Reading::of(&shown);
    study.findings.clone_from(&reading.findings);
    study.claims.clone_from(&reading.claims);
    study.conclusion.clone_from(&reading.conclusion);
    study.save(&dir.join("results.json"))?;
    let (page, figures) = html::page(&shown, &reading);
    figures.write(&dir.join("figures"))?;
    write_atomically(&dir.join("report.html"), page.as_bytes())
}

/// Classes that are only known by number are called `Class 5`: a sentence about 5 says little.
fn name_numbers(classes: &mut [String]) {
    if classes.iter().all(|c| c.parse::<u32>().is_ok()) {
        classes.iter_mut().for_each(|c| *c = format!("Class {c}"));
    }
}

/// Reads the results that [`write()`] left in `dir`.
pub fn load(dir: &Path) -> Result<Study> {
    Study::load(&dir.join("results.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(study: &Study) -> String {
        html::page(study, &findings::Reading::of(study)).0
    }

    /// Whether the text names a figure that is not a number, pictures aside.
    fn has_non_numbers(text: &str) -> bool {
        text.split('"')
            .filter(|part| !part.starts_with("data:image"))
            .any(|part| part.contains("NaN") || part.contains(">inf"))
    }

    #[test]
    fn the_page_stands_alone_and_has_every_section() {
        let text = page(&sample::study());
        for id in [
            "findings",
            "data",
            "training",
            "noise",
            "example",
            "relevance",
            "delta-max",
            "light",
            "claims",
            "methods",
            "again",
        ] {
            assert!(text.contains(&format!("id=\"{id}\"")), "section {id} is missing");
        }
        assert!(text.contains("until a model's accuracy had fallen by ten points"));
        for outside in ["src=\"http", "href=\"http", "url(http", "@import", "<link"] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert!(!has_non_numbers(&text));
    }

    #[test]
    fn writing_and_loading_back() {
        let dir = tempfile::tempdir().unwrap();
        let study = sample::study();
        write(&study, dir.path()).unwrap();
        let back = load(dir.path()).unwrap();
        assert!(!back.findings.is_empty() && !back.claims.is_empty());
        assert!(back.models == study.models, "models differ");
        write(&back, dir.path()).unwrap();
        for name in ["certified-accuracy.svg", "certified-accuracy.csv", "certified-accuracy.json", "confusion.csv"] {
            assert!(dir.path().join("figures").join(name).is_file(), "{name}");
        }
        assert!(
            !std::fs::read_dir(dir.path()).unwrap().any(|f| f.unwrap().path().extension().is_some_and(|e| e == "tmp"))
        );
    }

    #[test]
    fn results_of_the_first_format_are_read() {
        fn strip(value: &mut serde_json::Value) {
            const LATER: [&str; 8] =
                ["called", "repeats", "hash", "each", "test_labels", "conclusion", "requirements", "started"];
            match value {
                serde_json::Value::Object(fields) => {
                    LATER.iter().for_each(|key| drop(fields.remove(*key)));
                    fields.values_mut().for_each(strip);
                }
                serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
                _ => {}
            }
        }
        let mut old = serde_json::to_value(sample::study()).unwrap();
        strip(&mut old);
        old["format"] = 1.into();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("results.json"), old.to_string()).unwrap();
        let study = load(dir.path()).unwrap();
        assert!(study.models.iter().all(|m| m.repeats.is_empty() && m.trained().count() == 1));
        write(&study, dir.path()).unwrap();
        let again = load(dir.path()).unwrap();
        assert!(again.format == FORMAT && again.conclusion.is_some() && !again.findings.is_empty());
    }

    #[test]
    fn numbers_become_names_only_where_all_classes_are_numbers() {
        let named = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
            name_numbers(&mut names);
            names
        };
        assert_eq!(named(&["5", "7"]), ["Class 5", "Class 7"]);
        assert_eq!(named(&["5", "Boot"]), ["5", "Boot"]);
    }

    /// Words of the other norm's radii. Noise, light and blur are in pixels by any norm, and are not asked for here.
    const OF_PIXELS: [&str; 7] =
        ["/255", "every pixel may", "any pixel moves", "per pixel", "grey levels of 255", "noise box", " boxes"];

    #[test]
    fn lengths_are_not_spoken_of_as_changes_of_pixels() {
        let mut study = sample::study();
        // The script knows grey levels by any norm.
        let words = |text: &str| text.split("<script").next().unwrap_or_default().to_string();
        let usual = words(&page(&study));
        assert!(OF_PIXELS[..6].iter().all(|w| usual.contains(w)) && !usual.contains("Euclid"));
        study.norm = crate::norm::Norm::L2;
        study.models.iter_mut().for_each(|m| m.photos.clear());
        let dir = tempfile::tempdir().unwrap();
        write(&study, dir.path()).unwrap();
        let text = words(&std::fs::read_to_string(dir.path().join("report.html")).unwrap());
        for phrase in OF_PIXELS {
            assert!(!text.contains(phrase), "{phrase}");
        }
        for phrase in
            ["Radii are Euclidean lengths", "noise ball", "(Euclidean length)", "this much in Euclidean length"]
        {
            assert!(text.contains(phrase), "{phrase}");
        }
        assert_eq!(load(dir.path()).unwrap().norm, study.norm);
        // Two such studies side by side.
        let runs = compare::read(&[dir.path().to_path_buf()]).unwrap();
        let out = dir.path().join("out");
        compare::write(&runs, &compare::compare(&runs).unwrap(), &out).unwrap();
        let text = words(&std::fs::read_to_string(out.join("compare.html")).unwrap());
        assert!(OF_PIXELS.iter().all(|w| !text.contains(w)) && text.contains("Radii are Euclidean lengths"));
    }

    #[test]
    fn names_from_outside_cannot_break_the_page() {
        let mut study = sample::study();
        let evil = "</script><b onload=\"x\">'&";
        study.dataset.classes[1] = evil.into();
        study.models[0].name = evil.into();
        study.title = evil.into();
        let text = page(&study);
        assert!(!text.contains("<b onload"));
        assert_eq!(text.matches("</script>").count(), 1);
    }

    #[test]
    fn any_part_may_be_missing() {
        let whole = sample::study();
        page(&Study::default());
        let prunes: [fn(&mut Study); 8] = [
            |s| s.models.iter_mut().for_each(|m| m.certify.clear()),
            |s| s.models.iter_mut().for_each(|m| m.sweep.clear()),
            |s| s.models.iter_mut().for_each(|m| m.sweep.truncate(1)),
            |s| s.models.iter_mut().for_each(|m| m.examples.clear()),
            |s| s.models.iter_mut().for_each(|m| m.training.clear()),
            |s| {
                s.models.iter_mut().flat_map(|m| &mut m.certify).for_each(|r| {
                    (r.attacked, r.rival_proved, r.rival_attacked, r.variance) = (None, None, None, 0.0);
                })
            },
            |s| {
                s.models.iter_mut().flat_map(|m| &mut m.examples).flat_map(|e| &mut e.levels).for_each(|l| {
                    l.score_bounds.clear();
                    l.margins.clear();
                    l.continuous.clear();
                    l.relevance.clear();
                    l.proved = None;
                })
            },
            |s| s.models.truncate(1),
        ];
        for prune in prunes {
            let mut study = whole.clone();
            prune(&mut study);
            let text = page(&study);
            assert!(!has_non_numbers(&text));
        }
    }

    #[test]
    fn ten_thousand_images_stay_a_small_page() {
        let mut study = sample::study();
        for m in &mut study.models {
            let rows = m.certify.clone();
            m.certify = (0..10_000)
                .map(|i| crate::results::CertifyRow { index: i, variance: 0.0, ..rows[i % rows.len()].clone() })
                .collect();
        }
        let size = page(&study).len();
        assert!(size < 5_000_000, "{size} bytes");
    }

    #[test]
    fn ten_classes_and_one_model() {
        let text = page(&sample::ten_classes());
        assert!(!has_non_numbers(&text) && text.contains("Ankle boot") && !text.contains("id=\"claims\""));
    }

    /// Writes the sample study where a person can look at it: `cargo test --release --lib report_preview -- --ignored`.
    #[test]
    #[ignore = "writes target/report-preview for a person to look at"]
    fn report_preview() {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        write(&sample::study(), &target.join("report-preview")).unwrap();
        write(&sample::ten_classes(), &target.join("report-preview-ten")).unwrap();
    }
}
