//! Rows made from one model, by one program, in one way are never joined with others; what says so can be carried out.

use std::fs;
use std::path::Path;

use super::{binary, done, folder, refused, text as text_of};

const CERTIFY: &str = "certify --model m.onnx --data SHOES --method crown --limit 4 --device cpu --quiet";

/// One field of a protocol buffer: its number, and bytes that follow their length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

fn whole(number: u8, value: u16) -> Vec<u8> {
    vec![number << 3, value as u8 | 128, (value >> 7) as u8]
}

/// An ONNX file of a linear network on the shoes, whose weights are in `w.bin` beside it.
fn outside() -> Vec<u8> {
    file(false)
}

fn with_softmax() -> Vec<u8> {
    file(true)
}

fn file(softmax: bool) -> Vec<u8> {
    let value = |name: &str, dims: &[u16]| {
        let dims = dims.iter().flat_map(|&d| field(1, &whole(1, d))).collect::<Vec<_>>();
        let tensor = [whole(1, 1), field(2, &dims)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    };
    let node = |kind: &str, inputs: &[&str], output: &str| {
        let inputs = inputs.iter().flat_map(|i| field(1, i.as_bytes())).collect::<Vec<_>>();
        [inputs, field(2, output.as_bytes()), field(3, output.as_bytes()), field(4, kind.as_bytes())].concat()
    };
    let location = [field(1, b"location"), field(2, b"w.bin")].concat();
    let dims = [whole(1, 768), whole(1, 4)].concat();
    let weights = [dims, whole(2, 1), field(8, b"w"), field(13, &location), whole(14, 1)].concat();
    let graph = [
        field(1, &node("Flatten", &["x"], "flat")),
        field(1, &node("MatMul", &["flat", "w"], if softmax { "z" } else { "y" })),
        if softmax { field(1, &node("Softmax", &["z"], "y")) } else { vec![] },
        field(2, b"g"),
        field(5, &weights),
        field(11, &value("x", &[1, 3, 16, 16])),
        field(12, &value("y", &[1, 4])),
    ];
    [whole(1, 8), field(7, &graph.concat()), field(8, &[field(1, b""), whole(2, 13)].concat())].concat()
}

/// Weights that tell the classes apart by a few pixels each.
fn weights(sign: f32) -> Vec<u8> {
    let weight = |k: usize| sign * ((k % 4 + 1) as f32 * ((k / 4) as f32 * 0.7).sin());
    (0..768 * 4).flat_map(|k| weight(k).to_le_bytes()).collect()
}

fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("written");
}

/// Leaves so many rows of a table.
fn cut(table: &Path, rows: usize) {
    let text = fs::read_to_string(table).expect("a table");
    put(table, text.lines().take(rows + 1).map(|l| format!("{l}\n")).collect::<String>());
}

fn change(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{text}");
    put(path, text.replace(from, to));
}

#[test]
fn weights_in_another_file_are_part_of_the_model() {
    let dir = folder();
    let at = dir.path();
    put(at.join("m.onnx"), outside());
    put(at.join("w.bin"), weights(1.0));
    done(at, &format!("{CERTIFY} --out o"));
    done(at, &format!("{CERTIFY} --shard 0/2 --out a"));
    assert!(done(at, "audit o").contains("checked 4 of 4 rows"));
    cut(&at.join("o/delta_max.csv"), 2);
    put(at.join("w.bin"), weights(-1.0));
    refused(at, &format!("{CERTIFY} --out o --resume"), &["o/manifest.json", "another model", "another --out"]);
    done(at, &format!("{CERTIFY} --shard 1/2 --out b"));
    refused(at, "merge a b --out c", &["b: its run had another model", "certify this shard again as a was"]);
    refused(at, "audit a", &["m.onnx", "not the model"]);
    // What was said to do can be done.
    put(at.join("w.bin"), weights(1.0));
    done(at, &format!("{CERTIFY} --out o --resume"));
    done(at, &format!("{CERTIFY} --shard 1/2 --out again"));
    done(at, "merge a again --out c");
}

#[test]
fn programs_of_different_versions_do_not_share_rows() {
    let dir = folder();
    let at = dir.path();
    let certify = CERTIFY.replace("m.onnx", "MODEL");
    (0..2).for_each(|i| drop(done(at, &format!("{certify} --shard {i}/2 --out part{i}"))));
    let facts = at.join("part1/manifest.json");
    let version = |v: &str| format!("\"deltamax\": \"{v}\"");
    let now = env!("CARGO_PKG_VERSION");
    change(&facts, &version(now), &version("0.0.1"));
    let resume = format!("{certify} --shard 1/2 --out part1 --resume");
    refused(at, &resume, &["part1/manifest.json", "deltamax 0.0.1", now, "another --out"]);
    refused(at, "merge part0 part1 --out c", &["part1", "deltamax 0.0.1", "certify this shard again as part0 was"]);
    // Old results can be proved by a new auditor, and compared, which is said.
    let (out, err) = text_of(&binary(at, "audit part1").output().expect("the binary starts"));
    assert!(out.contains("checked 2 of 2 rows") && err.contains("made by deltamax 0.0.1"), "{out}{err}");
    assert!(done(at, "compare part0 part1 --out c").contains("different versions of deltamax"));
}

/// Every way a folder can be out of order, and that what the refusal says helps.
#[test]
fn folders_out_of_order() {
    let dir = folder();
    let at = dir.path();
    let certify = CERTIFY.replace("m.onnx", "MODEL") + " --certificates all --out o";
    done(at, &certify);
    let (table, facts) = (at.join("o/delta_max.csv"), at.join("o/manifest.json"));
    let (rows, words) = (fs::read(&table).expect("a table"), fs::read_to_string(&facts).expect("a manifest"));
    let resume = format!("{certify} --resume");
    let elsewhere = |name: &str| drop(done(at, &certify.replace("--out o", &format!("--out {name}"))));

    for (content, problem) in [(None, "it is missing"), (Some(&words[..words.len() / 2]), "EOF")] {
        fs::remove_file(&facts).expect("removed");
        content.iter().for_each(|text| put(&facts, text));
        cut(&table, 2);
        for line in [&resume, "audit o", "merge o --out c", "compare o o --out c"] {
            refused(at, line, &["o/manifest.json", problem, "certify again with another --out"]);
        }
        put(&facts, &words);
    }
    elsewhere("p");

    put(&table, String::from_utf8_lossy(&rows).replacen("passes", "probes", 1));
    for line in [&resume, "audit o"] {
        refused(at, line, &["o/delta_max.csv", "columns are not those of certify", "another --out"]);
    }
    put(&table, &rows);

    // Rows that are not the run's are found before any other is made.
    put(&table, String::from_utf8_lossy(&rows).replacen("\n1,", "\n9,", 1));
    refused(at, &resume, &["o/delta_max.csv", "image 9", "no such row", "another --out"]);

    // A run that was killed between a certificate and its row leaves neither behind.
    put(&table, &rows);
    cut(&table, 2);
    let kept = |i: usize| at.join(format!("o/certificates/{i}_0.json.gz"));
    put(kept(3), "{\"relu\":[");
    done(at, &resume.replace("--certificates all", ""));
    assert!(kept(0).exists() && kept(1).exists() && !kept(2).exists() && !kept(3).exists());
    assert!(done(at, "audit o").contains("checked 4 of 4 rows"));

    // Certificates of rows that are gone would be taken for those of new rows.
    fs::remove_file(&table).expect("removed");
    for line in [&certify, &resume] {
        refused(at, line, &["o/certificates", "remove it, or give another --out"]);
    }
    fs::rename(at.join("o"), at.join("c")).expect("moved");
    refused(at, "merge p --out c", &["c/certificates", "another --out"]);
    done(at, "merge p --out d");
    assert!(done(at, "audit d").contains("checked 4 of 4 rows"));
}

#[test]
fn what_the_reader_says_goes_with_the_results() {
    let dir = folder();
    let at = dir.path();
    put(at.join("m.onnx"), with_softmax());
    put(at.join("w.bin"), weights(1.0));
    let loud = CERTIFY.replace(" --quiet", "");
    let (_, err) = text_of(&binary(at, &format!("{loud} --out o")).output().expect("the binary starts"));
    assert!(err.lines().any(|l| l.starts_with("m.onnx: ") && l.contains("Softmax")), "{err}");
    let facts = fs::read_to_string(at.join("o/manifest.json")).expect("a manifest");
    assert!(facts.contains("\"notes\": [") && facts.contains("Softmax"), "{facts}");
    assert!(done(at, "compare o o --out c").contains("Softmax"));
    assert!(fs::read_to_string(at.join("c/compare.html")).expect("a page").contains("Softmax"));
    let (_, err) = text_of(&binary(at, "audit o").output().expect("the binary starts"));
    assert!(err.contains("m.onnx: ") && err.contains("Softmax"), "{err}");
    let predict = "predict --model m.onnx --data SHOES --device cpu --out p.csv";
    assert!(text_of(&binary(at, predict).output().expect("the binary starts")).1.contains("Softmax"));
}
