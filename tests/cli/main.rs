//! The binary as a user runs it, on made-up shoes of 16 pixels: the jobs, the folders they leave, the streams they write
//! to, what they never destroy, how they end early, and everything that must be refused.

mod certify;
mod folders;
mod foreign;
mod formats;
mod identity;
mod inputs;
mod jobs;
mod outputs;
mod refusals;
mod shards;
mod stops;
mod streams;
mod train;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

/// The program.
const BINARY: &str = env!("CARGO_BIN_EXE_deltamax");

/// Shoes and a model that all tests read and none changes.
struct World {
    dir: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder");
    done(dir.path(), "shoes --out shoes --count 100 --size 16");
    done(dir.path(), "train --data shoes --epochs 1 --channels 4 --hidden 8 --device cpu --out model.onnx");
    World { dir }
});

impl World {
    fn path(name: &str) -> String {
        WORLD.dir.path().join(name).display().to_string()
    }
}

/// A folder of one test's own, from which the binary is run.
fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Words of a command line; `SHOES` and `MODEL` stand for those of the [`World`].
fn words(line: &str) -> Vec<String> {
    let word = |w: &str| match w {
        "SHOES" => World::path("shoes"),
        "MODEL" => World::path("model.onnx"),
        w => w.to_string(),
    };
    line.split_whitespace().map(word).collect()
}

/// The binary, as on a machine without a display server.
fn binary(dir: &Path, line: &str) -> Command {
    let mut command = plain(dir, line);
    command.stdin(Stdio::null());
    command
}

/// The same with standard streams for the test to choose.
fn plain(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(dir).args(words(line)).env_remove("NODEVICE_SELECT").env_remove("XDG_RUNTIME_DIR");
    command
}

/// Runs a command that must succeed; its standard output.
fn done(dir: &Path, line: &str) -> String {
    let output = binary(dir, line).output().expect("the binary starts");
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(0), "{line}\n{out}{err}");
    out
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a command that must fail: exit code 1, one line on standard error with all of `hints`, and no file anywhere
/// below `dir` made, changed or lost.
fn refused(dir: &Path, line: &str, hints: &[&str]) {
    fails(dir, binary(dir, line), 1, line, hints);
}

/// As [`refused`], for what the command line itself gets wrong: exit code 2.
fn misused(dir: &Path, line: &str, hints: &[&str]) {
    fails(dir, binary(dir, line), 2, line, hints);
}

fn fails(dir: &Path, mut command: Command, code: i32, line: &str, hints: &[&str]) {
    let before = files(dir);
    let output = command.output().expect("the binary starts");
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(code), "{line}\n{out}{err}");
    // Where the flags do not parse, usage follows after an empty line.
    let parsed = !err.starts_with("error: ");
    if parsed {
        assert!(err.starts_with("deltamax: ") && err.ends_with('\n'), "{line}\n{err}");
        assert_eq!(err.lines().count(), 1, "{line}\n{err}");
        assert_eq!(err.matches("os error").count(), err.contains("os error") as usize, "{line}\n{err}");
    }
    for hint in hints {
        assert!(err.contains(hint), "{line}\nno {hint:?} in: {err}");
    }
    assert_eq!(files(dir), before, "{line}\n{err}");
}

/// Every file and folder below `dir`, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let content = fs::read(&path).unwrap_or_default();
            found.insert(path, content);
        }
    }
    found
}
