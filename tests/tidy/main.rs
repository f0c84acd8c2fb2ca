//! The invariants of `ARCHITECTURE.md` that can be checked by reading the sources.

mod floors;
mod layers;
mod shaders;
mod source;

use source::{Source, files, rust};

/// Longest source file, its unit tests aside; beyond it a file has more than one subject.
const MOST_LINES: usize = 500;

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn only_the_gpu_backend_names_wgpu() {
    let mut faults = Vec::new();
    for source in rust().iter().filter(|s| s.below != "device/gpu.rs") {
        let hits = source.lines().filter(|(_, l)| l.contains("wgpu::"));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} names wgpu", source.path.display())));
    }
    report(faults);
}

/// A model is made by training, by reading, by turning its channels round, by charging it for runtimes and by ending it early. Whatever else
/// makes one out of another has to go through `Model::becomes`, and is named here once it does.
#[test]
fn models_are_made_where_they_are_tried() {
    let makers = ["audit/deployed.rs", "model/cnn.rs", "model/layout.rs", "model/onnx/read.rs", "model/prefix.rs"];
    let mut faults = Vec::new();
    for source in rust().iter().filter(|s| !s.is_test && !makers.contains(&s.below.as_str())) {
        let made = |l: &str| {
            let before = l.split(" Model {").next().filter(|b| b.len() < l.len()).map(str::trim_end);
            let other = |b: &str| ["impl", "struct", "->", "let", "for"].iter().any(|w| b.ends_with(w));
            l.trim_start().starts_with("Model {") || before.is_some_and(|b| !other(b))
        };
        let hits = source.lines().filter(|(_, l)| made(l));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} makes a model", source.path.display())));
    }
    report(faults);
}

#[test]
fn files_have_one_subject() {
    let sources = [("src", "rs"), ("tests", "rs"), ("shaders", "wgsl")].map(|(folder, ext)| files(folder, ext));
    let length = |s: &Source| s.text.lines().count() - s.test_lines;
    let long = sources.iter().flatten().filter(|s| length(s) > MOST_LINES);
    report(long.map(|s| format!("{} has {} lines", s.path.display(), length(s))).collect());
}

/// `println!` panics where standard output is closed or full.
#[test]
fn lines_are_written_in_one_place() {
    let mut faults = Vec::new();
    for source in rust().iter().filter(|s| s.module != "terminal") {
        let hits = source.lines().filter(|(_, l)| l.contains("print!(") || l.contains("println!("));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} prints; use crate::terminal", source.path.display())));
    }
    report(faults);
}

/// What is written elsewhere may be half written, or replace what is not ours.
#[test]
fn files_are_written_in_one_place() {
    let ways = ["fs::write(", "File::create(", "fs::rename(", "fs::copy("];
    let mut faults = Vec::new();
    for source in rust().iter().filter(|s| s.module != "output" && !s.is_test) {
        let hits = source.lines().filter(|(_, l)| ways.iter().any(|way| l.contains(way)));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} writes a file; use crate::output", source.path.display())));
    }
    report(faults);
}
