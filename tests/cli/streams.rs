//! Standard output and standard error that are closed, full, or short of memory: never a panic.

use std::fs::{self, File};
use std::process::{Output, Stdio};

use super::{done, folder, plain, text};

/// Runs a command with this standard output.
fn run(line: &str, out: Stdio, err: Stdio) -> Output {
    let dir = folder();
    plain(dir.path(), line).stdout(out).stderr(err).output().expect("the binary starts")
}

const LINES: [&str; 5] = [
    "--help",
    "devices",
    "predict --model MODEL --data SHOES --limit 3 --device cpu --out scores.csv",
    "sweep --model MODEL --data SHOES --variance 0 --limit 3 --device cpu --out sweep --json",
    "certify --model MODEL --data SHOES --method ibp --limit 3 --device cpu --out proofs",
];

#[test]
fn a_reader_that_went_away_is_no_fault() {
    for line in LINES {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = run(line, writer.into(), Stdio::piped());
        let (_, err) = text(&output);
        assert_eq!(output.status.code(), Some(0), "{line}\n{err}");
        assert!(!err.contains("panicked") && !err.contains("deltamax: "), "{line}\n{err}");
    }
}

#[test]
fn a_full_disk_behind_the_output_is_said_once() {
    let Ok(full) = File::create("/dev/full") else { return };
    for line in LINES {
        let output = run(line, full.try_clone().expect("a handle").into(), Stdio::piped());
        let (_, err) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{line}\n{err}");
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("deltamax: standard output: writing failed"), "{line}\n{err}");
        assert!(!err.contains("panicked"), "{line}\n{err}");
        let output = run(line, Stdio::piped(), full.try_clone().expect("a handle").into());
        assert_eq!(output.status.code(), Some(0), "{line} with standard error full");
    }
    let output = run("audit nowhere -v", Stdio::piped(), full.into());
    assert_eq!(output.status.code(), Some(1));
}

/// A network that does not fit is refused before anything is allocated.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_is_not_there() {
    let dir = folder();
    done(dir.path(), "shoes --out shoes --count 100 --size 16 --quiet");
    let binary = super::BINARY;
    let train = "train --data shoes --epochs 1 --channels 4 --hidden 1000000 --device cpu --quiet --out m.onnx";
    let line = format!("ulimit -v 8000000; exec '{binary}' {train}");
    let output =
        std::process::Command::new("sh").current_dir(dir.path()).args(["-c", &line]).output().expect("a shell");
    let (_, err) = text(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.lines().count() == 1 && err.contains("GiB") && err.contains("--hidden"), "{err}");
    assert!(fs::metadata(dir.path().join("m.onnx")).is_err());
}
