//! Files that earlier versions wrote (`fixtures/`) are read for ever, with what they leave out filled in.

use std::path::{Path, PathBuf};

use deltamax::audit::Sample;
use deltamax::certify::audit::{Request, audit};
use deltamax::certify::table;
use deltamax::progress::Verbosity;
use deltamax::results::Study;

use super::{done, folder};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/0.1.0").join(name)
}

/// Eight radii by branch and bound, each of which only its certificate proves.
#[test]
fn an_early_result_folder_is_still_proved() {
    let dir = fixture("proofs");
    let (manifest, rows) = table::read_whole(&dir).expect("a whole folder");
    assert_eq!((manifest.deltamax.as_str(), manifest.images, rows.len()), ("0.1.0", 4, 8));
    assert_eq!((rows[0].proved, rows[0].attacked), (0.012167178094387054, Some(0.01240247581154108)));
    assert!(rows.iter().all(|r| r.method == "alpha+branch"));
    let (model, data) = (Some(fixture("model.onnx")), Some(fixture("shoes")));
    let outcome = audit(&Request { dir, model, data, sample: Sample::All }, Verbosity::Quiet).expect("an audit");
    assert_eq!((outcome.report.checked, outcome.report.accepted, outcome.unchecked), (8, 8, 0));
}

#[test]
fn early_results_of_a_study_are_still_reported() {
    let study = Study::load(&fixture("results.json")).expect("results");
    assert_eq!((study.format, study.models.len()), (1, 3));
    assert_eq!(study.models[0].certify.iter().filter(|r| r.variance == 0.0).count(), 4);
    let dir = folder();
    std::fs::create_dir(dir.path().join("study")).expect("a folder");
    std::fs::copy(fixture("results.json"), dir.path().join("study/results.json")).expect("a copy");
    done(dir.path(), "report study");
    let page = std::fs::read_to_string(dir.path().join("study/report.html")).expect("a page");
    assert!(page.contains("<svg") && dir.path().join("study/figures").is_dir());
}

/// A field with a default may be missing: what was written before it was thought of has none.
#[test]
fn fields_with_a_default_may_be_missing() {
    let text = std::fs::read_to_string(fixture("results.json")).expect("results");
    let whole: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let model = &whole["models"][0];
    let bare = serde_json::json!({
        "format": 1, "title": "t", "command": "c", "seed": 0, "device": "d",
        "dataset": {
            "name": "n", "shape": whole["dataset"]["shape"], "classes": whole["dataset"]["classes"],
            "train_counts": whole["dataset"]["train_counts"], "test_counts": whole["dataset"]["test_counts"],
        },
        "models": [{
            "name": model["name"],
            "training": [{ "epoch": 1, "loss": 0.5 }],
            "sweep": [{
                "variance": 0.0, "draws": 1,
                "confusion": model["sweep"][0]["confusion"], "accuracy": model["sweep"][0]["accuracy"],
            }],
            "certify": [{ "index": 0, "label": 0, "predicted": 0, "proved": 0.125, "method": "crown" }],
        }],
    });
    let dir = folder();
    std::fs::create_dir(dir.path().join("study")).expect("a folder");
    std::fs::write(dir.path().join("study/results.json"), bare.to_string()).expect("written");
    let study = Study::load(&dir.path().join("study/results.json")).expect("bare results");
    assert_eq!((study.models[0].certify[0].variance, study.models[0].certify[0].attacked), (0.0, None));
    done(dir.path(), "report study");
}
