//! Runs that are ended in the middle: by Ctrl-C, which says what is kept, or without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{done, files, folder, plain};

const CERTIFY: &str = "certify --model MODEL --data SHOES --method crown --variance 0,0.001,0.002 --limit 20 --batch 4 \
                       --certificates all --device cpu --out out";

/// Starts the binary and waits until `ready` says so, or until it has ended.
fn start(dir: &Path, line: &str, ready: impl Fn() -> bool) -> Child {
    let mut child = plain(dir, line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let patience = Instant::now();
    while !ready() && child.try_wait().expect("a state").is_none() {
        assert!(patience.elapsed() < Duration::from_secs(120), "{line} does not get there");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// Whole rows of a table.
fn rows(table: &Path) -> Vec<String> {
    let text = fs::read_to_string(table).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().skip(1).map(String::from).collect()
}

/// Image and variance, and the proved radius.
fn proved(rows: &[String]) -> BTreeMap<(String, String), f64> {
    let row = |row: &String| {
        let cells: Vec<&str> = row.split(',').collect();
        ((cells[0].to_string(), cells[4].to_string()), cells[5].parse().expect("a number"))
    };
    rows.iter().map(row).collect()
}

fn unfinished(dir: &Path) -> Vec<String> {
    let names = files(dir).into_keys().map(|p| p.display().to_string());
    names.filter(|name| name.contains("deltamax-")).collect()
}

#[test]
#[cfg(unix)]
fn an_end_on_request_says_what_is_kept() {
    let dir = folder();
    let at = dir.path();
    let table = at.join("out/delta_max.csv");
    let wait = |child: Child, signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().is_ok_and(|s| s.success()));
        let output = child.wait_with_output().expect("an end");
        let (_, err) = super::text(&output);
        assert_eq!(output.status.code(), Some(130), "{err}");
        assert_eq!(err.lines().filter(|line| line.starts_with("deltamax: stopped; ")).count(), 1, "{err}");
        err
    };
    // Long enough for the signal to come in the middle, however busy the machine is.
    let certify = format!("{CERTIFY} --branch 400 --gap 0.001 --quiet");
    let child = start(at, &certify, || rows(&table).len() >= 3);
    let err = wait(child, "-INT");
    let kept = rows(&table);
    assert!(err.contains(&format!("{} of 60 rows are kept in out/delta_max.csv", kept.len())), "{err}");
    assert!(err.contains("--resume") && kept.len() < 60, "{err}");
    assert!(fs::read(&table).expect("a table").ends_with(b"\n") && unfinished(at).is_empty());
    done(at, &format!("{certify} --resume"));
    assert_eq!(proved(&rows(&table)).len(), 60);

    // Nothing is left of what only counts as a whole.
    let before = files(at);
    for (line, signal) in [
        ("sweep --model MODEL --data SHOES --draws 1000000 --device cpu --quiet --out new/s", "-TERM"),
        ("study --device cpu --quiet --out new/s", "-INT"),
        ("explain --model MODEL --image nowhere --device cpu --quiet --out new/s", ""),
    ] {
        let child = start(at, line, || at.join("new/s/.deltamax-build/files").exists());
        if signal.is_empty() {
            assert_eq!(child.wait_with_output().expect("an end").status.code(), Some(1));
        } else {
            assert!(wait(child, signal).contains("nothing was written"));
        }
        assert!(files(at) == before, "{line}");
    }
    let train = "train --data SHOES --epochs 1000000 --device cpu --out m.onnx";
    let mut child = plain(at, train).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(wait(child, "-INT").contains("nothing was written") && files(at) == before);
    let child = start(at, &format!("{train} --checkpoint kept --quiet"), || at.join("kept").exists());
    let err = wait(child, "-INT");
    assert!(err.contains("kept in kept") && err.contains("--resume") && !at.join("m.onnx").exists(), "{err}");
}

/// As for a job in the background of a script, or under nohup.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_is_to_be_ignored_stays_ignored() {
    let dir = folder();
    let table = dir.path().join("out/delta_max.csv");
    let command = plain(dir.path(), &format!("{CERTIFY} --quiet"));
    let words = command.get_args().map(|word| format!("'{}'", word.to_string_lossy()));
    let words = words.collect::<Vec<_>>().join(" ");
    let line = format!("trap '' INT; exec '{}' {words}", command.get_program().to_string_lossy());
    let mut child = Command::new("sh").current_dir(dir.path()).args(["-c", &line]).spawn().expect("a shell");
    while rows(&table).is_empty() && child.try_wait().expect("a state").is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(child.wait().is_ok_and(|status| status.success()) && rows(&table).len() == 60);
}

/// Nothing that was finished is lost, and nothing half is taken for whole.
#[test]
fn killed_runs_go_on() {
    let dir = folder();
    let at = dir.path();
    done(at, &format!("{CERTIFY} --quiet").replace("--out out", "--out undisturbed"));
    let truth = proved(&rows(&at.join("undisturbed/delta_max.csv")));
    let table = at.join("out/delta_max.csv");
    for kill in 0..3 {
        let before = rows(&table);
        let resume = if kill == 0 { "" } else { "--resume" };
        let mut child = start(at, &format!("{CERTIFY} --quiet {resume}"), || rows(&table).len() > before.len() + 7);
        child.kill().expect("killed");
        child.wait().expect("an end");
        let after = rows(&table);
        assert!(after.starts_with(&before), "rows were lost");
    }
    done(at, &format!("{CERTIFY} --quiet --resume"));
    let found = rows(&table);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 60);
    assert!(truth.keys().eq(proved(&found).keys()) && unfinished(at).is_empty());
    // The search starts elsewhere after a stop.
    for (key, radius) in proved(&found) {
        assert!((radius - truth[&key]).abs() <= 1e-3 * radius, "{key:?}: {radius} and {}", truth[&key]);
    }
    assert!(done(at, "audit out --sample 20").contains("all proofs hold"));

    let shard = CERTIFY.replace("--variance 0,0.001,0.002", "--method ibp").replace("--method crown", "");
    let shard = shard.replace("--certificates all", "").replace("--out out", "");
    for i in 0..2 {
        done(at, &format!("{shard} --quiet --shard {i}/2 --out part{i}"));
    }
    let build = at.join("whole/.deltamax-build/files");
    let mut child = start(at, "merge part0 part1 --out whole", || build.join("delta_max.csv").exists());
    let _ = child.kill();
    child.wait().expect("an end");
    // Whole, or as if there had been no merge; the next one puts in place what is whole, and then finds it there.
    let next = super::binary(at, "merge part0 part1 --out whole").output().expect("the binary starts");
    assert!(next.status.success() || super::text(&next).1.contains("exists already"), "{next:?}");
    assert_eq!(rows(&at.join("whole/delta_max.csv")).len(), 20);
    assert!(unfinished(&at.join("whole")).is_empty() && done(at, "audit whole").contains("20 of 20 rows"));
}
