//! What certify leaves: rows, pages, names, norms and noise.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::jobs::{json, put_text};
use super::{done, folder, misused, refused};

/// Rows of a `delta_max.csv` by image and variance: proved, attacked, and the whole line.
fn rows(dir: &Path) -> BTreeMap<(usize, String), (f64, f64, String)> {
    let text = fs::read_to_string(dir.join("delta_max.csv")).expect("a table");
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    assert_eq!(header, deltamax::certify::table::HEADER);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), header.split(',').count(), "{line}");
        // Empty where nothing was attacked.
        let number = |i: usize| if cells[i].is_empty() { f64::INFINITY } else { cells[i].parse().expect("a number") };
        ((cells[0].parse().expect("an index"), cells[4].to_string()), (number(5), number(6), line.to_string()))
    };
    let rows: BTreeMap<_, _> = lines.map(row).collect();
    assert_eq!(rows.len(), text.lines().count() - 1, "a row stands twice");
    rows
}

#[test]
fn certify_resumes_where_it_was_cut() {
    let dir = folder();
    let out = dir.path().join("proofs");
    let certify =
        "certify --model MODEL --data SHOES --method ibp --variance 0,0.002 --limit 8 --device cpu --out proofs";
    let said = done(dir.path(), &format!("{certify} --json"));
    let summary: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!(summary, json(&out.join("summary.json")));
    let whole = rows(&out);
    assert_eq!(whole.len(), 16);
    assert!(whole.values().all(|(proved, attacked, _)| 0.0 <= *proved && proved < attacked));

    let table = out.join("delta_max.csv");
    let text = fs::read_to_string(&table).expect("a table");
    let cut = text.lines().take(11).map(|l| l.len() + 1).sum::<usize>() + 17;
    fs::write(&table, &text[..cut]).expect("written");
    done(dir.path(), &format!("{certify} --resume"));
    let resumed = rows(&out);
    assert!(whole.keys().eq(resumed.keys()));
    // The search starts elsewhere after a stop, so new radii agree only as closely as it looks.
    for ((proved, _, line), (again, _, kept)) in whole.values().zip(resumed.values()) {
        assert!(line == kept || (proved - again).abs() <= 0.01 * proved, "{line}\n{kept}");
    }
    assert!(text[..cut].lines().take(11).skip(1).all(|line| resumed.values().any(|(_, _, kept)| kept == line)));
    let audited = done(dir.path(), "audit proofs");
    assert!(audited.contains("checked 16 of 16 rows: all proofs hold"), "{audited}");
    // Optimised slopes can be checked with their certificates only.
    let alpha = "certify --model MODEL --data SHOES --method alpha --limit 6 --device cpu --no-attack --out alpha";
    done(dir.path(), &format!("{alpha} --certificates 4"));
    let audited = done(dir.path(), "audit alpha");
    assert!(audited.contains("checked 4 of 6 rows: all proofs hold"), "{audited}");
    // Nothing is left to do, and nothing changes.
    let before = fs::read(&table).expect("a table");
    done(dir.path(), &format!("{certify} --resume"));
    assert!(before == fs::read(&table).expect("a table"));
}

#[test]
fn branching_widens_what_bounds_prove() {
    let dir = folder();
    let certify = "certify --model MODEL --data SHOES --method crown --limit 6 --device cpu";
    done(dir.path(), &format!("{certify} --out plain"));
    done(dir.path(), &format!("{certify} --branch 60 --out wide --memory 2"));
    let (plain, wide) = (rows(&dir.path().join("plain")), rows(&dir.path().join("wide")));
    let mut widened = 0;
    for (key, (proved, attacked, line)) in &wide {
        let before = plain[key].0;
        let marked = line.contains(",crown+branch,");
        assert!(proved < attacked && if marked { *proved > before } else { *proved == before }, "{line}: {before}");
        widened += usize::from(marked);
    }
    assert!(widened >= 3, "{widened} of 6 brackets got narrower");
    // Nobody claims to have checked them without certificates.
    if widened == wide.len() {
        refused(dir.path(), "audit wide", &["delta_max.csv", "--branch"]);
    } else {
        let audited = done(dir.path(), "audit wide --json");
        let audited: Value = serde_json::from_str(audited.lines().last().expect("a line")).expect("JSON");
        assert_eq!(audited["unchecked"], widened);
    }
    done(dir.path(), &format!("{certify} --branch 60 --out kept --certificates all"));
    let kept = rows(&dir.path().join("kept"));
    assert!(kept.iter().all(|(key, row)| row.0 > 0.99 * wide[key].0 && row.0 <= wide[key].0));
    let audited = done(dir.path(), "audit kept");
    assert!(audited.contains("checked 6 of 6 rows: all proofs hold"), "{audited}");
    refused(dir.path(), &format!("{certify} --branch 61 --out wide --resume"), &["manifest.json", "--out"]);
    misused(dir.path(), "certify --model MODEL --data SHOES --method ibp --branch 9 --out no", &["--branch"]);
}

/// The page of certify, of a resumed run and of joined shards: pictures where the images can be read, none elsewhere.
#[test]
fn certified_folders_have_a_page() {
    let dir = folder();
    let at = dir.path();
    let certify = "certify --model MODEL --data SHOES --method ibp --limit 11 --device cpu";
    misused(at, &format!("{certify} --variance 0.01 --report --out x"), &["--report", "add 0 to --variance"]);
    let said = done(at, &format!("{certify} --limit 5 --report --out whole").replace("--limit 11 ", ""));
    assert!(said.ends_with("whole/report.html\n"), "{said}");
    let page = |folder: &str| fs::read_to_string(at.join(folder).join("report.html")).expect("a page");
    let text = page("whole");
    assert!(text.contains("Delta max of 5 images") && text.contains("<img src=\"data:image/png"));
    done(at, &format!("{certify} --report --resume --out whole"));
    assert!(page("whole").contains("Delta max of 11 images"));
    (0..2).for_each(|i| drop(done(at, &format!("{certify} --shard {i}/2 --out part{i}"))));
    done(at, "merge part0 part1 --report --out joined");
    assert!(page("joined").contains("Delta max of 11 images") && page("joined").contains("<img src=\"data:image/png"));
    // The same page from what lies in the folder, and without the images that it names.
    fs::remove_file(at.join("joined/report.html")).expect("removed");
    assert_eq!(done(at, "report joined"), "joined/report.html\n");
    let facts = at.join("joined/manifest.json");
    let words = fs::read_to_string(&facts).expect("a manifest");
    put_text(&facts, &words.replace(&super::World::path("shoes"), "/nowhere"));
    done(at, "report joined");
    assert!(!page("joined").contains("<img src=\"data:image/png"));
    refused(at, "report joined --data nothing", &["nothing"]);
    done(at, "report joined --data SHOES");
    assert!(page("joined").contains("<img src=\"data:image/png"));
    // Nothing of others is replaced.
    fs::create_dir(at.join("own")).expect("a folder");
    put_text(&at.join("own/report.html"), "mine");
    refused(at, &format!("{certify} --report --out own"), &["own/report.html", "another folder"]);
}

#[test]
fn classes_are_named_beside_their_numbers() {
    let dir = folder();
    done(dir.path(), "certify --model MODEL --data SHOES --method ibp --limit 5 --device cpu --out out --quiet");
    let names = json(&dir.path().join("out/manifest.json"))["classes"].clone();
    let text = fs::read_to_string(dir.path().join("out/delta_max.csv")).expect("a table");
    let header: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    for row in text.lines().skip(1).map(|l| l.split(',').collect::<Vec<_>>()) {
        for class in ["label", "predicted", "rival_proved", "rival_attacked"] {
            let cell = |name: &str| row[header.iter().position(|h| *h == name).expect("a column")];
            let name = cell(class).parse::<usize>().map_or("", |c| names[c].as_str().expect("a name"));
            assert_eq!(cell(&format!("{class}_name")), name, "{row:?}");
        }
    }
}

#[test]
fn radii_are_measured_by_either_norm() {
    let dir = folder();
    let at = dir.path();
    let certify = "certify --model MODEL --data SHOES --limit 4 --device cpu --quiet";
    done(at, &format!("{certify} --out pixels"));
    done(at, &format!("{certify} --norm l2 --certificates all --out lengths"));
    let (pixels, lengths) = (rows(&at.join("pixels")), rows(&at.join("lengths")));
    for (key, (proved, attacked, _)) in &lengths {
        // Every change of at most d in each pixel is one of that length in all, and more.
        assert!(*proved > pixels[key].0 && proved < attacked, "{key:?}");
    }
    assert!(done(at, "audit lengths").contains("all proofs hold"));
    refused(
        at,
        &format!("{certify} --norm l2 --resume --out pixels"),
        &["another --norm (linf, not l2)", "another --out"],
    );
    refused(at, "compare pixels lengths --out c", &["lengths", "pixels", "--norm l2", "--norm linf", "of one norm"]);
    let said = done(at, "compare lengths lengths --out c");
    assert!(said.contains("one and the same model") && !said.contains("/255"), "{said}");
    assert_eq!(json(&at.join("c/compare.json"))["norm"], "l2");
    done(at, "report lengths --quiet");
    let page = fs::read_to_string(at.join("lengths/report.html")).expect("a page");
    assert!(page.contains("Radii are Euclidean lengths") && !page.contains("every pixel may"));
    done(at, "gate lengths --require median>=0,proved@1.5>=0");
    misused(at, "gate pixels --require proved@1.5>=0", &["proved@1.5", "2/255"]);
    // Lengths are no radii of the other norm, and the auditor sees it.
    let manifest = at.join("lengths/manifest.json");
    let words = fs::read_to_string(&manifest).expect("a manifest");
    assert!(words.contains("\"l2\""));
    put_text(&manifest, &words.replace("\"l2\"", "\"linf\""));
    let output = super::binary(at, "audit lengths").output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1), "{}", super::text(&output).0);
}

#[test]
fn noise_has_tables_of_its_own() {
    let dir = folder();
    let at = dir.path();
    let certify = "certify --noise gaussian --model MODEL --data SHOES --limit 3 --draws 300 --device cpu --quiet";
    done(at, &format!("{certify} --variance 0.0001,0.01 --search --out out"));
    let table = |name: &str| -> Vec<Vec<String>> {
        let text = fs::read_to_string(at.join("out").join(name)).expect("a table");
        text.lines().skip(1).map(|l| l.split(',').map(String::from).collect()).collect()
    };
    let rows = table("noise.csv");
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let number = |i: usize| row[i].parse::<f64>().expect("a number");
        assert!(row[5] == "300" && number(7) <= number(8) && number(7) <= number(9) && number(9) <= 1.0, "{row:?}");
    }
    // Hardly any noise: some image is proved to keep its class.
    assert!(rows[..3].iter().any(|r| r[9].parse::<f64>().is_ok_and(|p| p < 0.01)), "{rows:?}");
    for row in table("sigma_max.csv") {
        let number = |i: usize| row[i].parse::<f64>().expect("a number");
        assert!(number(5) <= number(6) && number(6) < number(7), "{row:?}");
    }
    assert_eq!(json(&at.join("out/noise.json"))["levels"].as_array().map(Vec::len), Some(2));
    misused(at, &format!("{certify} --out x"), &["--noise", "--variance", "--search"]);
    misused(at, &format!("{certify} --variance 0.01 --risk 0 --out x"), &["--risk"]);
    misused(at, &format!("{certify} --variance 0.01 --branch 9 --out x"), &["--branch"]);
    misused(at, &format!("{certify} --variance 0.01 --method ibp --certificates all --out x"), &["--certificates"]);
    misused(at, "certify --model MODEL --data SHOES --draws 9 --out x", &["--noise"]);
}

#[test]
fn light_and_lens_have_a_table_of_their_own() {
    let dir = folder();
    let at = dir.path();
    let certify = "certify --vary white-balance,brightness --model MODEL --data SHOES --limit 2 --device cpu --quiet";
    done(at, &format!("{certify} --out out"));
    let text = fs::read_to_string(at.join("out/vary.csv")).expect("a table");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|l| l.split(',').collect()).collect();
    let ways: Vec<String> = rows.iter().map(|r| format!("{} {} {}", r[0], r[4], r[5])).collect();
    let expected = ["brightness darker", "brightness brighter", "white-balance any"];
    assert_eq!(ways, [0, 1].map(|i| expected.map(|w| format!("{i} {w}"))).concat());
    for row in &rows {
        let number = |i: usize| row[i].parse::<f64>().expect("a number");
        assert!(number(6) > 0.0 && number(6) < number(7), "{row:?}");
        // All parameters of the broken end, if there is one.
        let turn: Vec<f64> = row[9].split_whitespace().map(|t| t.parse().expect("a number")).collect();
        let far = turn.iter().map(|t| t.abs()).reduce(f64::max).unwrap_or(f64::INFINITY);
        let parameters = if row[4] == "white-balance" { 3 } else { 1 };
        assert_eq!((turn.len(), far), (if far.is_finite() { parameters } else { 0 }, number(7)), "{row:?}");
    }
    assert_eq!(json(&at.join("out/vary.json"))["ways"].as_array().map(Vec::len), Some(3));
    assert!(at.join("out/pictures/1.png").is_file());
    misused(at, &format!("{certify} --variance 0.01 --out x"), &["--vary", "--variance"]);
    misused(at, &format!("{certify} --gap 1 --out x"), &["--gap"]);
    misused(at, &format!("{certify} --noise gaussian --out x"), &["--noise", "--vary"]);
    misused(at, "certify --vary fog --model MODEL --data SHOES --out x", &["fog", "defocus"]);
}
