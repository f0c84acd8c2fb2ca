//! What other programs wrote (`fixtures/`): networks whose scores are known, images in every binary format, properties.

use std::path::{Path, PathBuf};

use deltamax::dataset::{Dataset, Source, Split, load};

use super::{done, folder};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The cells of a table without quotes.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn networks_of_other_exporters_have_their_scores_and_are_proved() {
    let normalised = "--mean 0.5 --std 0.25";
    let networks =
        [("pytorch", "pytorch", normalised), ("pytorch-dynamo", "pytorch", normalised), ("keras", "keras", "")];
    for (network, scores, flags) in networks {
        let dir = folder();
        let of = fixture(&format!("foreign/{network}.onnx")).display().to_string();
        let on = fixture("images/images.npz").display().to_string();
        let given = format!("--model {of} --data {on} --device cpu {flags}");
        done(dir.path(), &format!("predict {given} --split test --out scores.csv"));
        let found = std::fs::read_to_string(dir.path().join("scores.csv")).expect("scores");
        let expected = std::fs::read_to_string(fixture(&format!("foreign/{scores}.csv"))).expect("scores");
        let (found, expected) = (cells(&found), cells(&expected));
        assert_eq!((found.len(), expected.len()), (21, 20), "{network}");
        for (found, expected) in found[1..].iter().map(|row| &row[4..]).zip(&expected) {
            assert_eq!((found.len(), expected.len()), (10, 10), "{network}");
            for (found, expected) in found.iter().zip(expected) {
                let [found, expected] = [found, expected].map(|cell| cell.parse::<f64>().expect("a number"));
                assert!((found - expected).abs() < 1e-5, "{network}: {found} is {expected} there");
            }
        }
        done(dir.path(), &format!("certify {given} --limit 3 --no-attack --out proofs"));
        let said = done(dir.path(), "audit proofs");
        assert!(said.contains("3 of 3"), "{network}: {said}");
    }
}

#[test]
fn images_are_the_same_in_every_format() {
    let test = |below: &str| -> Dataset {
        let source = Source { only: Some(Split::Test), ..Source::new(fixture(below)) };
        load(&source).unwrap_or_else(|e| panic!("{e}")).test
    };
    let [cifar, npz, idx] = ["images/cifar", "images/images.npz", "images/idx"].map(test);
    assert_eq!(cifar.labels, (0..20).map(|i| i % 10).collect::<Vec<_>>());
    assert_eq!((&cifar.labels, &cifar.labels), (&npz.labels, &idx.labels));
    assert_eq!((cifar.shape, cifar.len(), cifar.pixels == npz.pixels), (npz.shape, 20, true));
    assert_eq!(idx.shape.channels, 1);
    assert!((0..20).all(|i| idx.image(i)[..] == cifar.image(i)[1024..2048]), "their green");
}

/// Their names say the answer.
#[test]
fn properties_of_both_versions_are_decided() {
    let dir = folder();
    let list = fixture("properties/instances.csv");
    done(dir.path(), &format!("verify --batch {} --out answers.csv --device cpu --seed 1", list.display()));
    let answers = std::fs::read_to_string(dir.path().join("answers.csv")).expect("answers");
    let mut seen = 0;
    for row in cells(&answers).iter().filter(|row| row[1].ends_with(".vnnlib")) {
        assert!(row.contains(&row[1].split(['-', '.']).next().expect("a name")), "{row:?}");
        seen += 1;
    }
    assert_eq!(seen, 4, "{answers}");
}
