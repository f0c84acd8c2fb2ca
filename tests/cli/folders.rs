//! Result folders of certify: one writer at a time, whole or refused, and what a second run may do with them.

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

use super::{binary, done, folder, refused, text as text_of};

const CERTIFY: &str =
    "certify --model MODEL --data SHOES --method ibp --variance 0,0.002 --limit 3 --device cpu --out out --quiet";

fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

fn manifest(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn one_run_writes_at_a_time() {
    let dir = folder();
    done(dir.path(), CERTIFY);
    let table = File::open(dir.path().join("out/delta_max.csv")).expect("a table");
    table.lock().expect("a lock");
    let resume = format!("{CERTIFY} --resume");
    refused(dir.path(), &resume, &["out", "another run is writing here"]);
    drop(table);
    done(dir.path(), &resume);
}

/// Everything that makes a folder another than the one that certify left.
#[test]
fn altered_results_are_not_called_whole() {
    let dir = folder();
    let at = dir.path();
    done(at, CERTIFY);
    let (table, facts) = (at.join("out/delta_max.csv"), at.join("out/manifest.json"));
    let (text, words) = (fs::read_to_string(&table).expect("a table"), fs::read_to_string(&facts).expect("a manifest"));
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let cell = |row: usize, column: usize, value: &str| {
        let mut cells: Vec<&str> = lines[row].split(',').collect();
        cells[column] = value;
        let changed = cells.join(",");
        let mut all = lines.clone();
        all[row] = &changed;
        join(&all)
    };
    let refuse = |text: &str, hints: &[&str]| {
        put(&table, text);
        refused(at, "audit out", hints);
        refused(at, "audit out --sample 1", hints);
    };
    let unfinished = |n: usize| [format!("{n} of 6 rows"), "delta_max.csv".into(), "finish it with --resume".into()];
    for (n, text) in
        [(0, join(&lines[..1])), (0, String::new()), (5, join(&lines[..6])), (5, text.trim_end().to_string())]
    {
        let hints = unfinished(n);
        refuse(&text, &hints.each_ref().map(String::as_str));
        refused(at, "compare out out --out c", &hints.each_ref().map(String::as_str));
    }
    refuse(&format!("{text}{}\n", lines[1]), &["image 0 at variance 0", "two rows", "remove one"]);
    refuse(&join(&[&lines[..6], &[lines[1]]].concat()), &["image 0 at variance 0", "two rows"]);
    refuse(&cell(2, 6, "1e-9"), &["image 1 at variance 0", "attacked within what is proved"]);
    refuse(&cell(2, 1, "Boots/x.png"), &["image 1", "Boots/x.png", "altered"]);
    let label = if lines[2].split(',').nth(2) == Some("0") { "1" } else { "0" };
    refuse(&cell(2, 2, label), &["image 1", "altered"]);
    refuse(&cell(2, 0, "7"), &["image 7", "no such row"]);
    refuse(&cell(2, 4, "0.5"), &["variance 0.5", "no such row"]);
    // Nor is a run done that ends with other rows than its own.
    put(&table, &cell(2, 0, "7"));
    let output = binary(at, &format!("{CERTIFY} --resume")).output().expect("the binary starts");
    let (_, err) = text_of(&output);
    assert!(output.status.code() == Some(1) && err.contains("image 7") && err.contains("no such row"), "{err}");
    put(&table, &join(&lines[..3]));
    for (from, to) in [("\"end\": 3", "\"end\": 2"), ("\"start\": 0", "\"start\": 1")] {
        assert!(words.contains(from));
        put(&facts, &words.replace(from, to));
        refused(at, "audit out", &["manifest.json", "not a manifest"]);
    }
    put(&table, &text);
    put(&facts, &words.replace("\"Boots\"", "\"Hats\""));
    refused(at, "audit out", &["manifest.json", "Hats", "altered"]);
    put(&facts, &words);
    assert!(done(at, "audit out --sample 2").contains("checked 2 of 6 rows"));
}

#[test]
fn runs_without_attacks_say_so() {
    let dir = folder();
    let at = dir.path();
    done(at, &format!("{CERTIFY} --no-attack"));
    let text = fs::read_to_string(at.join("out/delta_max.csv")).expect("a table");
    assert!(text.lines().skip(1).all(|row| row.split(',').nth(6) == Some("")), "{text}");
    assert_eq!(manifest(&at.join("out/manifest.json"))["attack"], false);
    refused(at, &format!("{CERTIFY} --resume"), &["manifest.json", "another --no-attack"]);
    assert!(done(at, "audit out").contains("checked 6 of 6 rows"));
    done(at, &CERTIFY.replace("--out out", "--shard 0/2 --out a"));
    done(at, &CERTIFY.replace("--out out", "--shard 1/2 --no-attack --out b"));
    refused(at, "merge a b --out c", &["b", "another --no-attack"]);
}

#[test]
fn a_resumed_run_keeps_what_the_first_one_said() {
    let dir = folder();
    let at = dir.path();
    let (table, facts) = (at.join("out/delta_max.csv"), at.join("out/manifest.json"));
    done(at, CERTIFY);
    let first = fs::read(&facts).expect("a manifest");
    let text = fs::read_to_string(&table).expect("a table");
    put(&table, &text[..text.len() - 9]);
    done(at, &format!("{CERTIFY} --resume"));
    assert!(fs::read(&facts).expect("a manifest") == first);
    // Nothing whole is left: as if there had been no run.
    put(&table, "index,fi");
    fs::remove_file(&facts).expect("removed");
    done(at, &format!("{CERTIFY} --resume"));
    assert_eq!(fs::read_to_string(&table).expect("a table").lines().count(), 7);
    let said = manifest(&facts)["command"].to_string();
    assert!(said.contains("--resume"), "{said}");
}

#[test]
fn a_run_goes_on_with_more_images() {
    let dir = folder();
    let at = dir.path();
    let (table, facts) = (at.join("out/delta_max.csv"), at.join("out/manifest.json"));
    done(at, CERTIFY);
    let first = fs::read_to_string(&table).expect("a table");
    let more = CERTIFY.replace("--limit 3", "--limit 5");
    refused(at, &more, &["--resume"]);
    done(at, &format!("{more} --resume"));
    let both = fs::read_to_string(&table).expect("a table");
    assert!(both.starts_with(&first) && both.lines().count() == 11, "{both}");
    assert_eq!(manifest(&facts)["images"], 5);
    assert!(done(at, "audit out").contains("checked 10 of 10 rows"));
    done(at, &more.replace("--out out", "--out at-once"));
    let sorted = |text: &str| {
        let mut rows: Vec<String> = text.lines().map(String::from).collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(&both), sorted(&fs::read_to_string(at.join("at-once/delta_max.csv")).expect("a table")));
    // Fewer, or other ones, are another run.
    refused(at, &format!("{CERTIFY} --resume"), &["manifest.json", "another --limit (5, not 3)", "another --out"]);
    let others = more.replace("--limit 5", "--limit 7 --split train");
    refused(at, &format!("{others} --resume"), &["manifest.json", "another data"]);
    let method = more.replace("ibp", "crown-ibp");
    refused(at, &format!("{method} --resume"), &["another --method (ibp, not crown-ibp)"]);
}

/// Tables of earlier versions have no names of classes, and get none.
#[test]
fn an_earlier_table_goes_on_as_it_was() {
    let dir = folder();
    let at = dir.path();
    done(at, CERTIFY);
    let table = at.join("out/delta_max.csv");
    let text = fs::read_to_string(&table).expect("a table");
    let nameless = |line: &str| line.split(',').take(11).collect::<Vec<_>>().join(",") + "\n";
    let earlier: Vec<String> = text.lines().map(nameless).collect();
    put(&table, &earlier[..4].concat());
    done(at, &format!("{CERTIFY} --resume"));
    assert_eq!(fs::read_to_string(&table).expect("a table"), earlier.concat());
    assert!(done(at, "audit out").contains("checked 6 of 6 rows"));
}

#[test]
fn certificates_cannot_be_made_afterwards() {
    let dir = folder();
    let at = dir.path();
    let crown = CERTIFY.replace("--method ibp", "--method crown");
    done(at, &crown);
    let table = "out/delta_max.csv";
    refused(at, &format!("{crown} --resume --certificates all"), &[table, "6 rows", "another --out"]);
    let more = crown.replace("--limit 3", "--limit 4");
    refused(at, &format!("{more} --resume --certificates all"), &[table, "6 rows", "another --out"]);
    let kept = crown.replace("--out out", "--out kept --certificates all");
    done(at, &kept);
    done(at, &format!("{kept} --resume"));
}

/// A variance of many digits neither fills a line nor makes a name too long for a file.
#[test]
fn small_variances() {
    let dir = folder();
    let line = CERTIFY.replace("0,0.002", "1e-300").replace("ibp", "crown-ibp").replace("--quiet", "--certificates 1");
    let said = done(dir.path(), &line);
    assert!(said.contains("variance 1e-300 3 images"), "{said}");
    assert!(done(dir.path(), "audit out").contains("checked 3 of 3 rows"));
}
