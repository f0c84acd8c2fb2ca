//! What each command does when all is well.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use deltamax::model::{Dense, Layer, Model, Node, onnx};
use deltamax::tensor::Shape;
use serde_json::Value;

use super::{done, files, folder, misused, refused};

pub(super) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn help_and_version() {
    let dir = folder();
    assert!(done(dir.path(), "--version").starts_with("deltamax "));
    let help = done(dir.path(), "--help");
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    for command in commands.filter_map(|l| l.split_whitespace().next()).filter(|c| *c != "help") {
        let help = done(dir.path(), &format!("{command} --help"));
        assert!(help.contains("Example") && help.contains(&format!("deltamax {command}")), "{command}\n{help}");
    }
}

#[test]
fn devices_are_listed_without_noise() {
    let dir = folder();
    let output = super::binary(dir.path(), "devices").output().expect("the binary starts");
    let (out, err) = super::text(&output);
    assert!(output.status.success() && err.is_empty(), "{err}");
    assert!(out.contains("--device auto takes: "), "{out}");
    let listed: Value = serde_json::from_str(&done(dir.path(), "devices --json")).expect("JSON");
    assert!(listed["adapters"].is_array() && listed["auto"].is_string());
}

#[test]
fn shoes_and_models_follow_from_the_seed() {
    let dir = folder();
    let at = dir.path();
    done(at, "shoes --out a --count 40 --size 12 --seed 3");
    done(at, "shoes --out b --count 40 --size 12 --seed 3");
    let tree = |name: &str| {
        let root = at.join(name);
        files(&root).into_iter().map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes)).collect()
    };
    let (a, b): (BTreeMap<_, _>, BTreeMap<_, _>) = (tree("a"), tree("b"));
    assert!(a == b && a.values().filter(|bytes| !bytes.is_empty()).count() >= 40);
    assert!(done(at, "shoes --out quiet --count 4 --size 8 --quiet").is_empty());
    let said: Value = serde_json::from_str(&done(at, "shoes --out json --count 4 --size 8 --json")).expect("JSON");
    assert_eq!(said, serde_json::json!({ "photos": 4, "folder": "json" }));
    let train = "train --data SHOES --epochs 2 --channels 4 --hidden 8 --device cpu --seed 5 --augment slippers --json";
    let out = done(at, &format!("{train} --out one.onnx"));
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    assert_eq!((last["history"].as_array().map(Vec::len), &last["model"]), (Some(2), &"one.onnx".into()));
    done(at, &format!("{train} --out two.onnx"));
    assert!(fs::read(at.join("one.onnx")).unwrap() == fs::read(at.join("two.onnx")).unwrap());
}

#[test]
fn predict_gives_logits_whose_largest_is_the_prediction() {
    let dir = folder();
    done(dir.path(), "predict --model MODEL --data SHOES --limit 7 --device cpu --out scores.csv --quiet");
    let text = fs::read_to_string(dir.path().join("scores.csv")).expect("a table");
    let header: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    assert_eq!(header[..4], ["index", "file", "label", "predicted"]);
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 7);
    for row in rows {
        let logits: Vec<f32> = row[4..].iter().map(|v| v.parse().expect("a number")).collect();
        let best = (0..logits.len()).fold(0, |b, k| if logits[k] > logits[b] { k } else { b });
        assert_eq!(row[3], header[4 + best]);
    }
}

#[test]
fn sweep_counts_every_image() {
    let dir = folder();
    let out = done(
        dir.path(),
        "sweep --model MODEL --data SHOES --variance 0,0.01 --draws 2 --limit 10 --device cpu --out s --quiet",
    );
    assert_eq!(out, "");
    let levels = json(&dir.path().join("s/sweep.json"));
    assert_eq!(levels.as_array().map(Vec::len), Some(2));
    let mut counts = [0, 0];
    for line in fs::read_to_string(dir.path().join("s/confusion.csv")).expect("a table").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        counts[usize::from(cells[0] != "0")] += cells[3..].iter().map(|c| c.parse::<usize>().unwrap()).sum::<usize>();
    }
    assert_eq!(counts, [10, 20]);
}

#[test]
fn shells_and_man_know_every_command() {
    let dir = folder();
    let at = dir.path();
    let help = done(at, "--help");
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let commands: Vec<&str> = commands.filter_map(|l| l.split_whitespace().next()).filter(|c| *c != "help").collect();
    for shell in ["bash", "zsh", "fish"] {
        let script = done(at, &format!("completions {shell}"));
        assert!(commands.iter().all(|c| script.contains(c)) && script.contains("certificates"), "{shell}");
    }
    assert!(done(at, "man").contains(".TH deltamax 1"));
    done(at, "man pages");
    done(at, "man pages");
    for command in commands {
        let page = fs::read_to_string(at.join(format!("pages/deltamax-{command}.1"))).expect("a page");
        assert!(page.contains("Example") && page.contains("\\-\\-help"), "{command}");
    }
    put_text(&at.join("own.1"), "mine");
    fs::create_dir(at.join("own")).expect("a folder");
    fs::rename(at.join("own.1"), at.join("own/deltamax.1")).expect("moved");
    refused(at, "man own", &["own/deltamax.1"]);
}

pub(super) fn put_text(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

#[test]
fn explain_one_picture() {
    let dir = folder();
    let image = files(Path::new(&super::World::path("shoes"))).into_keys().find(|p| p.is_file()).expect("a picture");
    let said = done(
        dir.path(),
        &format!(
            "explain --model MODEL --image {} --delta 1/1000 --device cpu --out e",
            image_link(dir.path(), &image)
        ),
    );
    assert!(said.contains("dominate") && said.contains("score"), "{said}");
    assert_eq!(json(&dir.path().join("e/explanation.json"))["logits"].as_array().map(Vec::len), Some(4));
    // Pixels, length, noise, two ways each of brightness, contrast and light, white balance and two blurs.
    let stays = json(&dir.path().join("e/explanation.json"))["stays"].as_array().cloned().expect("a table");
    assert_eq!(stays.len(), 12);
    for s in &stays {
        let number = |name: &str| s[name].as_f64();
        assert!(number("lost").is_none_or(|lost| number("proved").is_some_and(|p| p < lost)), "{}", s["change"]);
    }
    let page = fs::read_to_string(dir.path().join("e/explanation.html")).expect("a page");
    assert!(page.contains("id=\"stays\"") && page.contains("Less contrast"));
    done(dir.path(), "explain --model MODEL --image shoe.png --radius-only --device cpu --out f --quiet");
    assert!(!fs::read_to_string(dir.path().join("f/explanation.html")).expect("a page").contains("id=\"stays\""));
}

#[test]
fn explain_one_picture_by_length() {
    let dir = folder();
    let image = files(Path::new(&super::World::path("shoes"))).into_keys().find(|p| p.is_file()).expect("a picture");
    let explain =
        format!("explain --model MODEL --image {} --radius-only --device cpu", image_link(dir.path(), &image));
    let said = done(dir.path(), &format!("{explain} --norm l2 --out e"));
    assert!(said.contains("(Euclidean)") && !said.contains("/255"), "{said}");
    done(dir.path(), &format!("{explain} --quiet --out f"));
    let [length, pixels] = ["e", "f"].map(|out| json(&dir.path().join(out).join("explanation.json")));
    assert_eq!((&length["norm"], &pixels["norm"]), (&"l2".into(), &"linf".into()));
    let number = |of: &serde_json::Value, name: &str| of[name].as_f64().expect("a number");
    assert!(
        number(&length, "proved") > number(&pixels, "proved") && number(&length, "delta") > number(&pixels, "delta")
    );
    let page = fs::read_to_string(dir.path().join("e/explanation.html")).expect("a page");
    assert!(page.contains("in Euclidean length makes it another class") && !page.contains("every pixel may"));
}

/// A copy under a name without spaces, which the words of a command line cannot hold.
fn image_link(dir: &Path, image: &Path) -> String {
    fs::copy(image, dir.join("shoe.png")).expect("copied");
    "shoe.png".into()
}

/// A folder tree has its classes in alphabetical order; the model's order counts.
#[test]
fn data_takes_the_order_of_the_models_classes() {
    let dir = folder();
    let at = dir.path();
    done(
        at,
        "train --data SHOES --classes Shoes,Slippers,Boots,Sandals --epochs 4 --channels 4 --hidden 8 --device cpu --out m.onnx",
    );
    let sweep = "sweep --model m.onnx --data SHOES --variance 0 --device cpu --json";
    let same = done(at, &format!("{sweep} --out a"));
    assert_eq!(same, done(at, &format!("{sweep} --classes Shoes,Slippers,Boots,Sandals --out b")));
    assert_eq!(same, done(at, &format!("{sweep} --classes Boots,Sandals,Shoes,Slippers --out c")), "in any order");
    let header = fs::read_to_string(at.join("a/confusion.csv")).expect("a table");
    assert!(header.starts_with("variance,draws,label,\"Shoes\",\"Slippers\",\"Boots\",\"Sandals\"\n"));
    // A model of two classes finds its images among those of four.
    done(
        at,
        "train --data SHOES --classes Shoes,Boots --epochs 2 --channels 4 --hidden 8 --device cpu --out two.onnx --quiet",
    );
    let sweep = "sweep --model two.onnx --data SHOES --variance 0 --device cpu --json";
    assert_eq!(done(at, &format!("{sweep} --out d")), done(at, &format!("{sweep} --classes Boots,Shoes --out e")));
    done(at, "certify --model two.onnx --data SHOES --method ibp --limit 3 --device cpu --out f --quiet");
    assert!(done(at, "audit f").contains("checked 3 of 3 rows"));
}

#[test]
fn a_whole_study_and_its_page_again() {
    let dir = folder();
    let at = dir.path();
    done(
        at,
        "study --count 120 --size 16 --epochs 1 --repeats 2 --variance 0,0.005 --method crown-ibp --limit 6 --noisy 2 --photos 0 --device cpu --out s --quiet",
    );
    for file in [
        "report.html",
        "results.json",
        "no-DA.onnx",
        "all-DA-2.onnx",
        "figures/confusion.csv",
        "figures/comparisons.csv",
    ] {
        assert!(at.join("s").join(file).is_file(), "{file}");
    }
    assert!(!at.join("s/figures/price.csv").exists(), "nothing was paid");
    assert!(files(at).keys().all(|p| p.extension().is_none_or(|e| e != "tmp" && e != "part")));
    let page = fs::read(at.join("s/report.html")).expect("a page");
    fs::remove_file(at.join("s/report.html")).expect("removed");
    assert!(done(at, "report s --quiet").is_empty());
    assert!(page == fs::read(at.join("s/report.html")).expect("a page"), "the page differs");

    let passed = done(at, "gate s --require accuracy>=0,median>=0 --junit gate.xml");
    assert!(passed.contains("ready: no-DA, DA-slippers, all-DA"), "{passed}");
    assert!(fs::read_to_string(at.join("gate.xml")).expect("a report").contains("failures=\"0\""));
    // It fails, and its report is written all the same.
    let shut = super::binary(at, "gate s --require proved@1>=1 --junit gate.xml").output().expect("the binary starts");
    let said = String::from_utf8_lossy(&shut.stderr);
    assert!(shut.status.code() == Some(1) && said.lines().count() == 1, "{said}");
    assert!(["gate", "proved@1>=1", "0 in the worst of 2 trainings"].iter().all(|hint| said.contains(hint)), "{said}");
    assert!(fs::read_to_string(at.join("gate.xml")).expect("a report").contains("failures=\"3\""));
    refused(at, "gate s --require accuracy>=0 --model none", &["no model none", "all-DA"]);
    refused(at, "gate . --require accuracy>=0", &["neither results.json"]);
    misused(at, "gate s --require speed>=1", &["--require", "accuracy>=0.9"]);
    misused(at, "study --require accuracy@0.5>=1 --device cpu", &["0.5 is not measured"]);
    fs::write(at.join("mine.xml"), "keep").expect("written");
    refused(at, "gate s --require accuracy>=0 --junit mine.xml", &["mine.xml", "--force"]);
}

/// It has layers of its own, and the page says what it costs.
#[test]
fn a_study_with_a_certified_model() {
    let dir = folder();
    let at = dir.path();
    done(
        at,
        "study --certified 1/255 --mix 0.5 --count 67 --size 8 --epochs 1 --repeats 1 --variance 0 --method ibp --limit 4 --noisy 1 --photos 0 --proved-noise 0 --device cpu --out s --quiet",
    );
    let results = json(&at.join("s/results.json"));
    let models = results["models"].as_array().expect("models");
    assert_eq!((models.len(), &models[3]["name"]), (4, &"certified".into()));
    for (model, layers) in models[2..].iter().zip(["Conv16(4,s2)", "Conv32(3,s1)"]) {
        assert!(model["architecture"].as_str().is_some_and(|a| a.starts_with(layers)), "{layers}");
        assert!(model["seconds"].as_f64().is_some_and(|s| s > 0.0));
    }
    let delta = models[3]["training"][0]["delta"].as_f64().expect("boxes");
    assert!((delta - 1.0 / 255.0).abs() < 1e-6 && models[2]["training"][0].get("delta").is_none());
    assert!(results["settings"]["Certified training"].as_str().is_some_and(|s| s.contains("0.5 of the loss")));
    let price = fs::read_to_string(at.join("s/figures/price.csv")).expect("a table");
    assert!(price.contains("certified,Right and proved at 1/255,1,") && !price.contains("took"), "{price}");
}

#[test]
fn a_study_by_length_compares_with_its_like_alone() {
    let dir = folder();
    let at = dir.path();
    fs::copy(super::World::path("model.onnx"), at.join("twin.onnx")).expect("copied");
    let study = "study --models MODEL twin.onnx --data SHOES --variance 0,0.005 --limit 3 --noisy 1 --method crown-ibp --device cpu --quiet";
    done(at, &format!("{study} --norm l2 --require proved@1.5>=0 --out lengths"));
    done(at, &format!("{study} --out pixels"));
    let [lengths, pixels] = ["lengths", "pixels"].map(|s| json(&at.join(s).join("results.json")));
    assert_eq!((&lengths["norm"], &pixels["norm"]), (&"l2".into(), &"linf".into()));
    let rows = |s: &serde_json::Value| s["models"][0]["certify"].as_array().cloned().expect("rows");
    for (l, p) in rows(&lengths).iter().zip(rows(&pixels)) {
        assert!(l["proved"].as_f64() > p["proved"].as_f64(), "{l} is no length beside {p}");
    }
    let page = fs::read(at.join("lengths/report.html")).expect("a page");
    assert!(String::from_utf8_lossy(&page).contains("Radii are Euclidean lengths"));
    done(at, "report lengths --quiet");
    assert!(page == fs::read(at.join("lengths/report.html")).expect("a page"), "the page differs");
    refused(at, "compare lengths pixels --out c", &["lengths", "pixels", "of one norm"]);
    done(
        at,
        "certify --model MODEL --data SHOES --norm l2 --limit 3 --method crown-ibp --device cpu --quiet --out rows",
    );
    done(at, "compare lengths rows --out c --quiet");
    misused(at, &format!("{study} --delta 2 --out x"), &["--delta", "1/255"]);
    misused(at, &format!("{study} --require median>=2 --out x"), &["median>=2", "2/255"]);
}

#[test]
fn models_that_are_there_are_studied_without_training() {
    let dir = folder();
    let at = dir.path();
    fs::copy(super::World::path("model.onnx"), at.join("twin.onnx")).expect("copied");
    let said = done(
        at,
        "study --models MODEL twin.onnx --data SHOES --variance 0,0.005 --method ibp --limit 4 --noisy 2 --device cpu --out s",
    );
    assert!(said.contains("report.html"), "{said}");
    let results = fs::read_to_string(at.join("s/results.json")).expect("results");
    assert!(results.contains("model and twin are one and the same model.") && !results.contains("is the most robust"));
    misused(at, "study --models MODEL", &["--data"]);
    misused(at, "study --models MODEL --data SHOES --epochs 2", &["--epochs"]);
    refused(at, "study --models MODEL MODEL --data SHOES --device cpu --out t", &["named twice"]);
}

#[test]
fn lists_of_properties_are_verified_together() {
    let dir = folder();
    let at = dir.path();
    let model = onnx::read(super::World::path("model.onnx")).expect("a model");
    let property = |threshold: f64| {
        let mut text = String::new();
        for k in 0..model.input.len() {
            text += &format!("(declare-const X_{k} Real)(assert (>= X_{k} 0.499))(assert (<= X_{k} 0.501))\n");
        }
        (0..model.outputs()).for_each(|k| text += &format!("(declare-const Y_{k} Real)\n"));
        text + &format!("(assert (>= Y_0 {threshold}))\n")
    };
    for (name, threshold) in [("low", -1e3), ("high", 1e3), ("lower", -2e3), ("higher", 2e3)] {
        fs::write(at.join(format!("{name}.vnnlib")), property(threshold)).expect("written");
    }
    fs::write(at.join("broken.vnnlib"), "(assert").expect("written");
    let names = ["high", "low", "broken", "higher", "lower"];
    let list: String = names.iter().map(|n| format!("{},{n}.vnnlib,60\n", super::World::path("model.onnx"))).collect();
    fs::write(at.join("list.csv"), list).expect("written");
    let output =
        super::binary(at, "verify --batch list.csv --witnesses points --device cpu").output().expect("it runs");
    let (_, err) = super::text(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("broken.vnnlib") && err.contains("1 of 5 instances"), "{err}");
    let results = fs::read_to_string(at.join("results.csv")).expect("results");
    let answers: Vec<(&str, &str)> = results
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect::<Vec<_>>())
        .map(|cells| (cells[1].trim_end_matches(".vnnlib"), cells[2]))
        .collect();
    // The unreadable one at once, counterexamples before proofs.
    let expected = [("broken", "error"), ("low", "sat"), ("lower", "sat"), ("high", "unsat"), ("higher", "unsat")];
    assert_eq!(answers, expected);
    assert_eq!(fs::read_dir(at.join("points")).expect("a folder").count(), 2);
}

#[test]
fn networks_of_channels_last_see_the_same_images() {
    let dir = folder();
    let at = dir.path();
    // Weights that tell every pixel and channel apart.
    let last = Shape::new(16, 16, 3);
    let classes = onnx::read(super::World::path("model.onnx")).expect("a model").classes;
    let n = classes.len();
    let weight = (0..n * last.len()).map(|k| ((k * 7919) % 1009) as f32 / 1009.0 - 0.5).collect();
    let node =
        |name: &str, layer, input: usize| Node { name: name.into(), layer, inputs: vec![input], shape: Shape::flat(n) };
    let model = Model {
        input: last,
        nodes: vec![node("dense", Layer::Dense(Dense { weight, bias: vec![0.0; n] }), 0), node("relu", Layer::Relu, 1)],
        classes,
        folded: vec![],
    };
    onnx::write(&model, at.join("last.onnx")).expect("written");
    onnx::write(&model.channels_first().expect("turned"), at.join("first.onnx")).expect("written");
    assert_eq!(onnx::load(at.join("last.onnx")).expect("a model").model.input, last);
    for name in ["last", "first"] {
        done(at, &format!("predict --model {name}.onnx --data SHOES --device cpu --out {name}.csv"));
    }
    let table = |name: &str| fs::read_to_string(at.join(name)).expect("a table");
    assert_eq!(table("last.csv"), table("first.csv"));
}

#[test]
fn what_the_reader_has_to_say_is_said_by_every_command() {
    let dir = folder();
    let at = dir.path();
    let mut model = onnx::read(super::World::path("model.onnx")).expect("a model");
    let Some(Layer::Dense(dense)) = model.nodes.last_mut().map(|n| &mut n.layer) else { panic!("a dense layer last") };
    dense.weight[0] = 1e-40;
    onnx::write(&model, at.join("m.onnx")).expect("written");
    for line in [
        "predict --model m.onnx --data SHOES --device cpu --limit 2 --out p.csv",
        "sweep --model m.onnx --data SHOES --device cpu --limit 2 --variance 0 --out s",
        "certify --model m.onnx --data SHOES --device cpu --limit 2 --method ibp --out c",
        "audit c",
    ] {
        for (quiet, said) in [("", 1), (" --quiet", 0)] {
            let _ = fs::remove_dir_all(at.join("s"));
            if line.starts_with("certify") {
                let _ = fs::remove_dir_all(at.join("c"));
            }
            let output = super::binary(at, &format!("{line}{quiet}")).output().expect("the binary starts");
            let (out, err) = super::text(&output);
            assert_eq!(output.status.code(), Some(0), "{line}\n{out}{err}");
            let note = "m.onnx: 1 weight is below 2^-126";
            assert_eq!((err.matches(note).count(), out.matches(note).count()), (said, 0), "{line}\n{err}");
        }
    }
}
