//! Networks and images that were not made for each other: sizes, channels, ranges, classes, outputs.

use std::fs;
use std::path::Path;

use deltamax::model::{Dense, Layer, Model, Node, Pool, onnx};
use deltamax::tensor::Shape;

use super::{binary, done, folder, refused, text};

/// Pictures of one colour each: `colour` says which, by class and number.
fn pictures(at: &Path, classes: &[&str], [width, height]: [u32; 2], colour: impl Fn(usize, u8) -> [u8; 3]) {
    for (c, class) in classes.iter().enumerate() {
        for k in 0..3 {
            let path = at.join(class).join(format!("{k}.png"));
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            image::RgbImage::from_pixel(width, height, image::Rgb(colour(c, k))).save(path).expect("written");
        }
    }
}

/// A network of the mean of each channel, after `first`, and one dense layer.
fn model(at: &Path, input: Shape, first: Option<Layer>, weight: Vec<f32>, bias: Vec<f32>) {
    let out = bias.len();
    let mut nodes = vec![];
    let mut push = |name: &str, layer, shape| {
        let inputs = vec![nodes.len()];
        nodes.push(Node { name: name.into(), layer, inputs, shape });
    };
    if let Some(layer) = first {
        push("rescaling", layer, input);
    }
    if input.height > 1 {
        let kernel = [input.height, input.width];
        let pool = Pool { kernel, stride: [1, 1], pad: [0, 0], count_include_pad: false };
        push("mean", Layer::AvgPool(pool), Shape::flat(input.channels));
    }
    push("fc", Layer::Dense(Dense { weight, bias }), Shape::flat(out));
    let classes = (0..out).map(|k| k.to_string()).collect();
    onnx::write(&Model { input, nodes, classes, folded: vec![] }, at).expect("written");
}

/// Logits of the first image of a table.
fn logits(at: &Path) -> Vec<f32> {
    let table = fs::read_to_string(at).expect("a table");
    let row = table.lines().nth(1).expect("a row");
    row.split(',').skip(4).map(|v| v.parse().expect("a number")).collect()
}

/// What is said on standard error.
fn said(at: &Path, line: &str) -> String {
    let output = binary(at, line).output().expect("the binary starts");
    let (out, err) = text(&output);
    assert_eq!(output.status.code(), Some(0), "{line}\n{out}{err}");
    err
}

#[test]
fn sizes_and_channels_follow_the_network() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("grey"), &["a", "b"], [6, 4], |c, _| [100 + 50 * c as u8; 3]);
    let predict =
        |model: &str, more: &str| format!("predict --model {model} --data grey --device cpu --out p.csv {more}");
    model(&at.join("rgb.onnx"), Shape::new(3, 8, 2), None, vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0], vec![0.0; 2]);
    let err = said(at, &predict("rgb.onnx", ""));
    assert!(err.contains("grey images for a network of three channels"), "{err}");
    let y = logits(&at.join("p.csv"));
    assert!(y[0] == y[1] && (y[0] - 100.0 / 255.0).abs() < 1e-6, "{y:?}");
    for fit in ["pad", "stretch", "crop"] {
        done(at, &predict("rgb.onnx", &format!("--fit {fit}")));
    }
    let wrong = predict("rgb.onnx", "--size 9x3");
    refused(at, &wrong, &["3x3x9", "3x8x2", "leave it out", "--size 2x8"]);
    done(at, &predict("rgb.onnx", "--size 2x8"));
    // A row of numbers: an image of as many, else a square.
    model(&at.join("row.onnx"), Shape::flat(24), None, [vec![1.0; 24], vec![0.0; 24]].concat(), vec![0.0; 2]);
    done(at, &predict("row.onnx", ""));
    assert!((logits(&at.join("p.csv"))[0] - 24.0 * 100.0 / 255.0).abs() < 1e-4);
    model(&at.join("square.onnx"), Shape::flat(25), None, vec![0.5; 50], vec![0.0; 2]);
    done(at, &predict("square.onnx", ""));
    model(&at.join("odd.onnx"), Shape::flat(35), None, vec![0.5; 70], vec![0.0; 2]);
    refused(at, &predict("odd.onnx", ""), &["a row of 35 numbers", "--size WxH"]);
    done(at, &predict("odd.onnx", "--size 7x5"));
    // What was proved of a row of numbers is proved again.
    done(at, "certify --model square.onnx --data grey --method crown --device cpu --out c --quiet");
    done(at, "audit c --quiet");
    done(at, "explain --model square.onnx --image grey/a/0.png --device cpu --out e --quiet");
}

#[test]
fn pixels_in_the_range_that_the_network_takes() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d"), &["a", "b"], [2, 2], |c, k| [[90 + k, 10, 20], [10, 20, 90 + k]][c]);
    let weight = vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let scale = Layer::Scale { scale: vec![1.0 / 64.0; 12], shift: vec![-1.0; 12] };
    model(&at.join("bytes.onnx"), Shape::new(3, 2, 2), Some(scale), weight.clone(), vec![0.0; 2]);
    model(&at.join("plain.onnx"), Shape::new(3, 2, 2), None, weight, vec![0.0; 2]);
    let predict = |model: &str, more: &str| format!("predict --model {model} --data d --device cpu --out p.csv {more}");
    let first = |more: &str, model: &str| {
        done(at, &predict(model, more));
        f64::from(logits(&at.join("p.csv"))[0])
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} {b}");
    let red = |more: &str| (0..3).find(|k| (first(more, "plain.onnx") - f64::from(90 + k) / 255.0).abs() < 1e-6);
    let red = f64::from(90 + red("").expect("the red of an image of class a"));
    let err = said(at, &predict("bytes.onnx", ""));
    assert!(err.contains("0 to 255") && err.contains("rescaling") && err.contains("--input-range 0..1"), "{err}");
    near(first("", "bytes.onnx"), red / 64.0 - 1.0);
    near(first("--input-range 0..1", "bytes.onnx"), red / 255.0 / 64.0 - 1.0);
    near(first("--input-range -1..1", "plain.onnx"), red / 127.5 - 1.0);
    near(first("--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", "plain.onnx"), (red / 255.0 - 0.485) / 0.229);
    near(first("--input-range 0..255 --mean 100 --std 50", "plain.onnx"), (red - 100.0) / 50.0);
    assert!(said(at, &predict("plain.onnx", "--mean 100")).contains("is --input-range 0..255 missing"));
    refused(at, &predict("plain.onnx", "--mean 1,2"), &["--mean has 2 numbers for 3 channels"]);
    // Radii are in pixels of [0,1] whatever the network takes: the larger of two channels wins until they meet.
    for (model, more) in [("plain", ""), ("plain", "--input-range 0..255"), ("plain", "--std 0.1"), ("bytes", "")] {
        let out = format!("c-{model}-{}", more.len());
        done(at, &format!("certify --model {model}.onnx --data d --device cpu --out {out} --limit 1 --quiet {more}"));
        let table = fs::read_to_string(at.join(&out).join("delta_max.csv")).expect("a table");
        let proved: f64 =
            table.lines().nth(1).expect("a row").split(',').nth(5).expect("proved").parse().expect("a number");
        assert!((proved - (red - 20.0) / 2.0 / 255.0).abs() < 2e-4, "{out}: {proved}");
        done(at, &format!("audit {out} --quiet"));
    }
    let resumed =
        "certify --model plain.onnx --data d --device cpu --out c-plain-0 --limit 1 --quiet --std 0.2 --resume";
    refused(at, resumed, &["--mean, --std or --input-range"]);
}

#[test]
fn classes_of_a_network_that_knows_more() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d"), &["cat", "dog"], [2, 2], |c, _| [[200, 10, 10], [10, 10, 200]][c]);
    // Output 1 is red, output 3 is blue, and 4 is almost as good at red, with some green.
    let rows = [[0.0; 3], [1.0, 0.0, 0.0], [0.0; 3], [0.0, 0.0, 1.0], [0.9, 0.3, 0.0]];
    model(&at.join("m.onnx"), Shape::new(3, 2, 2), None, rows.concat(), vec![0.0; 5]);
    let predict = |more: &str| format!("predict --model m.onnx --data d --device cpu --out p.csv --split train {more}");
    refused(at, &predict(""), &["2 classes, cat, dog", "5 apart", "--classes", "--classes-file"]);
    assert!(done(at, &predict("--classes 1,3")).contains("accuracy 100.00 %"));
    fs::write(at.join("names.txt"), "ant\ncat\nbee\ndog\nfox\n").expect("written");
    assert!(done(at, &predict("--classes-file names.txt")).contains("accuracy 100.00 %"));
    fs::write(
        at.join("index.json"),
        r#"{"0":["n0","x"],"1":["n1","cat"],"2":["n2","y"],"3":["n3","dog"],"4":["n4","z"]}"#,
    )
    .expect("written");
    assert!(done(at, &predict("--classes-file index.json")).contains("accuracy 100.00 %"));
    fs::write(at.join("short.txt"), "cat\ndog\n").expect("written");
    refused(at, &predict("--classes-file short.txt"), &["2 names", "5 outputs"]);
    // All outputs are rivals, also those of no class of the folder.
    done(at, "certify --model m.onnx --data d --classes-file names.txt --device cpu --out c --limit 2 --quiet");
    let table = fs::read_to_string(at.join("c/delta_max.csv")).expect("a table");
    let cat = table.lines().find(|l| l.contains("cat/")).expect("a row");
    assert_eq!(cat.split(',').nth(7), Some("4"), "{cat}");
    done(at, "audit c --quiet");
}

#[test]
fn one_output_is_two_classes() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d"), &["dark", "light"], [2, 2], |c, k| [40 + 150 * c as u8 + k; 3]);
    pictures(&at.join("more"), &["dark", "light", "none"], [2, 2], |c, _| [40 * c as u8; 3]);
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![1.0], vec![-0.5]);
    let predict = |data: &str| format!("predict --model m.onnx --data {data} --device cpu --out p.csv");
    let err = said(at, &predict("d"));
    assert!(err.contains("two classes apart"), "{err}");
    assert!(done(at, &predict("d")).contains("accuracy 100.00 %"));
    refused(at, &predict("more"), &["3 classes", "'fc'", "--classes dark,light"]);
    done(at, &format!("{} --classes dark,light", predict("more")));
    done(at, "certify --model m.onnx --data d --device cpu --out c --limit 2 --quiet");
    done(at, "audit c --quiet");
}

#[test]
fn what_a_split_leaves_is_counted() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d"), &["a", "b"], [2, 2], |c, _| [90 * c as u8; 3]);
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![1.0; 2], vec![0.0, 1.0]);
    let predict = |more: &str| format!("predict --model m.onnx --data d --device cpu --out p.csv {more}");
    assert!(done(at, &predict("")).contains("2 of 6 images are taken, the test part of a split (--split"));
    assert!(done(at, &predict("--split train")).contains("4 of 6 images are taken, the train part"));
    // One photo of each is enough to ask about.
    for class in ["a", "b"] {
        [1, 2].iter().for_each(|k| fs::remove_file(at.join(format!("d/{class}/{k}.png"))).expect("removed"));
    }
    assert!(!done(at, &predict("")).contains("are taken"));
    refused(at, "train --data d --out t.onnx --epochs 1 --device cpu", &["class a has one image", "train and test"]);
}

#[test]
fn guessing_is_noticed() {
    let dir = folder();
    let at = dir.path();
    let classes = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    pictures(&at.join("d"), &classes, [2, 2], |_, _| [9; 3]);
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![0.0; 10], (0..10).map(|k| k as f32).collect());
    let err = said(at, "predict --model m.onnx --data d --device cpu --out p.csv");
    assert!(err.contains("near chance") && err.contains("--mean"), "{err}");
}

#[test]
fn a_run_that_proves_nothing_says_what_may() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d"), &["a", "b"], [2, 2], |_, _| [9; 3]);
    // Two scores that are always the same.
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![1.0; 2], vec![0.0; 2]);
    let certify = |more: &str| format!("certify --model m.onnx --data d --device cpu --no-attack --limit 1 {more}");
    let err = said(at, &certify("--method ibp --out ibp"));
    assert!(err.contains("nothing is proved") && err.contains("--method crown"), "{err}");
    let err = said(at, &certify("--method crown --seconds 1 --out crown"));
    assert!(err.contains("nothing is proved") && err.contains("more --seconds"), "{err}");
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![1.0; 2], vec![0.0, 1.0]);
    assert!(!said(at, &certify("--method ibp --out clear")).contains("nothing is proved"));
}

#[test]
fn folders_above_the_classes_are_named() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d/images"), &["a", "b"], [2, 2], |c, _| [90 * c as u8; 3]);
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![1.0; 2], vec![0.0, 1.0]);
    let predict = |data: &str| format!("predict --model m.onnx --data {data} --device cpu --out p.csv");
    for line in [predict("d"), "train --data d --out t.onnx --epochs 1 --device cpu".into()] {
        refused(at, &line, &["d/images", "the only folder", "holds a, b", "give it as --data"]);
    }
    done(at, &predict("d/images"));
    // However deep they are, and where a single output is asked about.
    fs::create_dir(at.join("w")).expect("made");
    fs::rename(at.join("d"), at.join("w/My Data (1)")).expect("moved");
    let train = "train --data w --out t.onnx --epochs 1 --device cpu";
    for line in [predict("w"), train.into()] {
        refused(at, &line, &["w/My Data (1)/images", "holds a, b", "give it as --data"]);
    }
}

#[test]
fn images_of_classes_that_are_left_out_are_counted() {
    let dir = folder();
    let at = dir.path();
    pictures(&at.join("d"), &["a", "b", "owl"], [2, 2], |c, _| [90 * c as u8; 3]);
    fs::write(at.join("d/owl/notes.txt"), "").expect("written");
    model(&at.join("m.onnx"), Shape::new(1, 2, 2), None, vec![1.0; 2], vec![0.0, 1.0]);
    fs::write(at.join("names.txt"), "a\nb\n").expect("written");
    let predict = |more: &str| said(at, &format!("predict --model m.onnx --data d --device cpu --out p.csv {more}"));
    let others = "d: 1 file of other types is left out: 1 .txt\n";
    assert!(predict("--classes a,b").contains(&format!("d: 3 images of owl are left out\n{others}")));
    let known = "d: 3 images of owl are left out: the network knows a, b\n";
    assert!(predict("--classes-file names.txt").contains(&format!("{known}{others}")));
}
