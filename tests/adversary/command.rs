//! The program itself on a file: `certify` and then `audit`, held against the truth of the file.

use std::process::{Command, Output};

use crate::exact::{Exact, Place};
use crate::file::{Chain, npz};
use crate::truth::Line;

fn deltamax(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deltamax")).args(args).output().unwrap()
}

/// What went wrong, if anything; a refusal in one line is no fault. `dims` are those of one image in the data.
pub fn certify(chain: &Chain, dims: &[usize], image: &[f32], method: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("m.onnx"), chain.bytes()).unwrap();
    npz(&folder.path().join("d.npz"), &[&[2], dims].concat(), &image.repeat(2));
    let (model, data, out) = (at("m.onnx"), at("d.npz"), at("out"));
    let common = ["certify", "--model", &model, "--data", &data, "--out", &out, "--method", method, "--device", "cpu"];
    let done = deltamax(&[&common[..], &["--limit", "1"]].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    match done.status.code() {
        Some(0) => {}
        Some(1 | 2) => {
            println!("refused: {said}");
            return None;
        }
        code => return Some(format!("certify ended with {code:?}: {said}")),
    }
    let table = std::fs::read_to_string(folder.path().join("out/delta_max.csv")).unwrap();
    let fields: Vec<&str> = table.lines().nth(1)?.split(',').collect();
    let (class, proved) = (fields[3].parse::<usize>().unwrap(), fields[5].parse::<f64>().unwrap());
    let attacked: f64 = fields[6].parse().unwrap_or(f64::INFINITY);
    let truth = chain.truth();
    // Directions in which a class may be lost; of one pixel these are all.
    let steps: Vec<Vec<i8>> = [1i8, -1].iter().map(|s| vec![*s; image.len()]).collect();
    let lost = |step: &Vec<i8>| truth.loss(&Line { from: image, step, clip: true, until: Exact::from(1.0) }, class);
    let loss = steps.iter().filter_map(lost).min_by(Place::compare);
    let beyond = |d: f64| loss.as_ref().is_some_and(|l| l.compare(&Place::of(Exact::from(d))).is_le());
    let near = loss.as_ref().map(Place::near);
    if proved > 0.0 && beyond(proved) {
        return Some(format!("class {class} is proved up to {proved}, and lost at {near:?}"));
    }
    if image.len() == 1 && attacked.is_finite() && !beyond(attacked) {
        return Some(format!("class {class} is attacked at {attacked}, and lost at {near:?}"));
    }
    let audit = deltamax(&["audit", &out]);
    let said = String::from_utf8_lossy(&audit.stderr).into_owned();
    (audit.status.code() != Some(0)).then(|| format!("a true radius of {proved} fails the audit: {said}"))
}
