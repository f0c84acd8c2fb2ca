//! `verify` on networks whose answers are known by hand: every verdict, both forms of the command line, batches, bad files.

#[path = "verify/edges.rs"]
mod edges;
#[path = "common/nets.rs"]
mod nets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use deltamax::bounds::{Bounder, Method, Row};
use deltamax::device::Device;
use deltamax::error::Error;
use deltamax::model::{Folding, Layer, Model, enclosure, onnx};
use deltamax::network::Network;
use deltamax::rng::Rng;
use deltamax::spec::vnnlib;
use deltamax::tensor::Shape;
use deltamax::verify::{Property, Settings, Verdict, Witness, verify, verify_all};
use nets::{Net, mlp};

/// `y0 = |x0| + |x1|`, `y1 = x0`, for inputs of any size.
fn absolute() -> Model {
    let first: &[f32] = &[1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0];
    mlp(2, &[(first, &[0.0; 4]), (&[1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 0.0, 0.0], &[0.0, 0.0])])
}

fn random(inputs: usize, width: usize, outputs: usize, seed: u64) -> Model {
    Net::new(Shape::flat(inputs), Rng::new(seed, 31)).with_bias(0.3).layers(&[width, width, outputs])
}

/// A property of `inputs` values in `[low, high]` each.
fn property(ranges: &[(&str, &str)], outputs: usize, condition: &str) -> String {
    let mut text = String::new();
    (0..ranges.len()).for_each(|k| text += &format!("(declare-const X_{k} Real)\n"));
    (0..outputs).for_each(|k| text += &format!("(declare-const Y_{k} Real)\n"));
    for (k, (low, high)) in ranges.iter().enumerate() {
        text += &format!("(assert (>= X_{k} {low}))\n(assert (<= X_{k} {high}))\n");
    }
    text + &format!("(assert {condition})\n")
}

fn answer_with(model: &Model, text: &str, method: Method, seconds: f64) -> Verdict {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let spec = vnnlib::parse(text).unwrap();
    let property = Property { spec: &spec, limit: Duration::from_secs_f64(seconds) };
    let verdict = verify(&net, property, &Settings { method, seed: 1 }).unwrap();
    if let Verdict::Sat(w) = &verdict {
        assert!(
            spec.cases
                .iter()
                .any(|c| { c.disjuncts.iter().any(|d| Witness::confirm(model, c, d, &w.input, None, None).is_some()) })
        );
    }
    verdict
}

fn answer(model: &Model, text: &str) -> &'static str {
    answer_with(model, text, Method::Crown, 20.0).word()
}

const SQUARE: [(&str, &str); 2] = [("-1", "1"), ("-1", "1")];

#[test]
fn what_holds_and_what_does_not() {
    let net = absolute();
    for (condition, word) in [
        ("(>= Y_0 1.9)", "sat"),
        ("(>= Y_0 2.0001)", "unsat"),
        ("(<= Y_0 -0.0001)", "unsat"),
        ("(<= Y_0 0.01)", "sat"),
        // y0 >= |x0| >= -x0.
        ("(< (+ Y_0 Y_1) -0.0001)", "unsat"),
        ("(and (<= Y_0 0.5) (>= Y_1 0.4))", "sat"),
        ("(and (<= Y_0 0.5) (>= Y_1 0.6))", "unsat"),
        ("(or (<= Y_0 -0.1) (>= Y_0 2.1) (and (>= Y_1 0.5) (<= Y_0 0.4)))", "unsat"),
        ("(or (<= Y_0 -0.1) (>= Y_0 2.1) (and (>= Y_1 0.5) (<= Y_0 0.6)))", "sat"),
        ("(or)", "unsat"),
        ("(and)", "sat"),
    ] {
        assert_eq!(answer(&net, &property(&SQUARE, 2, condition)), word, "{condition}");
    }
}

#[test]
fn no_answer_is_wrong_at_the_edge() {
    // y0 = 2 at corners only.
    let word = |condition| answer_with(&absolute(), &property(&SQUARE, 2, condition), Method::Crown, 0.4).word();
    for condition in ["(>= Y_0 2)", "(<= Y_0 0)", "(<= (+ Y_0 (* -1 Y_1)) 0)"] {
        assert_eq!(word(condition), "sat", "{condition}");
    }
    // y0 > 2 nowhere, but no bound in f32 can tell.
    for condition in ["(> Y_0 2)", "(< Y_0 0)"] {
        assert_ne!(word(condition), "sat", "{condition}");
    }
    // At a single point f32, which loses x1, does not decide.
    let sum = mlp(2, &[(&[1e8, 0.0, 0.0, 1.0, 1e8, 0.0], &[0.0; 3]), (&[1.0, 1.0, -1.0], &[0.0])]);
    assert_eq!(answer(&sum, &property(&[("1", "1"); 2], 1, "(>= Y_0 0.5)")), "sat");
}

#[test]
fn several_boxes_and_coefficients_that_are_no_floats() {
    let text = |second: &str| {
        let boxes =
            format!("(or (and (>= X_0 0.1) (<= X_0 0.2) (>= Y_0 0.6)) (and (>= X_0 -0.9) (<= X_0 -0.8) {second}))");
        property(&[("-1", "1"), ("0", "0.3")], 2, &boxes)
    };
    let net = absolute();
    assert_eq!(answer(&net, &text("(>= Y_1 0)")), "unsat");
    assert_eq!(answer(&net, &text("(<= Y_1 -0.85)")), "sat");
    // 0.1 y0 + 0.3 y1 over x0 in [-0.9, -0.8]: at most 0.1 (0.8 + 0.3) - 0.24 = -0.13.
    assert_eq!(answer(&net, &text("(>= (+ (* 0.1 Y_0) (* 0.3 Y_1)) -0.129)")), "unsat");
    assert_eq!(answer(&net, &text("(>= (+ (* 0.1 Y_0) (* 0.3 Y_1)) -0.131)")), "sat");
    // Huge and tiny coefficients are no obstacle, absurd ones lead to no wrong answer.
    assert_eq!(answer(&net, &text("(<= (* 1e30 Y_0) 1e29)")), "unsat");
    // Such a margin is too small to be called clear: a clearer counterexample is looked for until time is over.
    assert_eq!(answer_with(&net, &text("(<= (* 1e-30 Y_0) 1e-29)"), Method::Crown, 0.5).word(), "sat");
    let absurd = text("(<= (* 1e300 Y_0) -1)");
    assert_ne!(answer_with(&net, &absurd, Method::Crown, 0.3).word(), "sat");
}

#[test]
fn contradictory_inputs_are_unsat() {
    assert_eq!(answer(&absolute(), &property(&[("1", "0"), ("0", "1")], 2, "(>= Y_0 -9)")), "unsat");
}

#[test]
fn splitting_decides_what_one_bound_cannot() {
    for seed in 0..4 {
        let model = random(3, 12, 2, seed);
        let mut rng = Rng::new(seed, 8);
        let mut low = f64::INFINITY;
        for _ in 0..20_000 {
            let x: Vec<f32> = (0..3).map(|_| rng.range(-1.0, 1.0)).collect();
            let y = enclosure::forward(&model, &x).0;
            low = low.min(y[0] - y[1]);
        }
        let ranges = [("-1", "1"); 3];
        let below = |c: f64| property(&ranges, 2, &format!("(<= (- Y_0 Y_1) {c:.6})"));
        assert_eq!(answer(&model, &below(low + 0.01)), "sat", "{seed}");
        assert_eq!(answer(&model, &below(low - 0.2)), "unsat", "{seed}");
        assert_ne!(answer_with(&model, &below(low - 0.2), Method::Ibp, 0.5).word(), "sat", "{seed}");
    }
}

#[test]
fn box_bounds_hold_with_folding_charged() {
    let device = Device::cpu();
    let mut rng = Rng::new(2, 9);
    for seed in 0..3 {
        let mut model = random(4, 9, 3, seed);
        // The network of the file: every weight up to one percent larger or smaller, every bias off by up to 0.02.
        model.folded =
            [0, 2, 4].map(|node| Folding { node, relative: 0.01, absolute: 0.02, ..Folding::default() }).to_vec();
        let mut file = Model { folded: vec![], ..model.clone() };
        for node in &mut file.nodes {
            if let Layer::Dense(d) = &mut node.layer {
                d.weight.iter_mut().for_each(|w| *w *= 1.0 + rng.range(-0.00999, 0.00999));
                d.bias.iter_mut().for_each(|b| *b += rng.range(-0.01999, 0.01999));
            }
        }
        let net = Network::new(&device, &model).unwrap();
        let lower: Vec<f32> = (0..4).map(|_| rng.range(-3.0, 3.0)).collect();
        let upper: Vec<f32> = lower.iter().enumerate().map(|(k, l)| l + 0.1 * k as f32).collect();
        let rows: Vec<Row> = (0..4)
            .map(|_| Row { lane: 0, coefficients: (0..3).map(|_| rng.range(-1.0, 1.0)).collect(), constant: 0.5 })
            .collect();
        for method in Method::ALL {
            let bounder = Bounder::for_inputs(&net, method, 4.0).unwrap();
            let bounds = bounder.box_bounds(&[(&lower, &upper)], &rows, true).unwrap();
            for _ in 0..300 {
                let t = rng.range(0.0, 1.0);
                let x: Vec<f32> =
                    lower.iter().zip(&upper).map(|(l, u)| (l + t.round() * (u - l)).clamp(*l, *u)).collect();
                let exact = enclosure::forward(&file, &x).0;
                for (row, bound) in rows.iter().zip(&bounds) {
                    let value: f64 = row.coefficients.iter().zip(&exact).map(|(a, y)| f64::from(*a) * y).sum();
                    assert!(f64::from(bound.lower) <= value + 0.5, "{method}: {} > {}", bound.lower, value + 0.5);
                }
                let (y, e) = enclosure::forward(&model, &x);
                assert!(exact.iter().zip(y.iter().zip(&e)).all(|(v, (y, e))| (v - y).abs() <= *e));
            }
            // A box beyond the magnitude that was announced is refused.
            assert!(bounder.box_bounds(&[(&[0.0; 4], &[5.0; 4])], &rows, false).is_err());
        }
    }
}

#[test]
fn time_is_kept() {
    let model = random(8, 64, 2, 3);
    let ranges = [("-100", "100"); 8];
    let start = Instant::now();
    let verdict = answer_with(&model, &property(&ranges, 2, "(<= (- Y_0 Y_1) -1e5)"), Method::Crown, 0.3);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?} after {:?}", verdict, start.elapsed());
    assert_ne!(verdict.word(), "sat");
}

/// Asks about several properties at once: answers and times in the order of the properties, positions in that of the
/// answers.
fn together(
    model: &Model,
    texts: &[String],
    limits: &[f64],
    method: Method,
) -> (Vec<Result<Verdict, String>>, Vec<Duration>, Vec<usize>) {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let specs: Vec<_> = texts.iter().map(|t| vnnlib::parse(t).unwrap()).collect();
    let limits = limits.iter().map(|s| Duration::from_secs_f64(*s));
    let properties: Vec<_> = specs.iter().zip(limits).map(|(spec, limit)| Property { spec, limit }).collect();
    let mut answers = vec![None; texts.len()];
    let mut order = vec![];
    let start = Instant::now();
    verify_all(&net, &properties, &Settings { method, seed: 1 }, &mut |i, verdict, used| {
        assert!(answers[i].is_none(), "two answers to property {i}");
        answers[i] = Some((verdict.map_err(|e| e.to_string()), used));
        order.push(i);
        Ok(())
    })
    .unwrap();
    let wall = start.elapsed();
    let (verdicts, used): (Vec<_>, Vec<_>) = answers.into_iter().map(|a| a.expect("an answer")).unzip();
    assert!(used.iter().sum::<Duration>() <= wall, "{used:?} of {wall:?}");
    (verdicts, used, order)
}

fn words(verdicts: &[Result<Verdict, String>]) -> Vec<&str> {
    verdicts.iter().map(|v| v.as_ref().map_or("error", Verdict::word)).collect()
}

#[test]
fn properties_asked_together_are_answered_as_alone() {
    let mut rng = Rng::new(5, 11);
    for seed in 0..3 {
        // Few inputs are halved at once, more of them after signs.
        let (inputs, outputs) = (if seed == 0 { 3 } else { 14 }, 3);
        let model = random(inputs, 10, outputs, seed);
        let texts: Vec<String> = (0..24)
            .map(|_| {
                let size = [0.02, 0.2, 1.0][rng.below(3)];
                let ends: Vec<(String, String)> = (0..inputs)
                    .map(|_| {
                        let c = rng.range(-1.0, 1.0);
                        (format!("{:.6}", c - size), format!("{:.6}", c + size))
                    })
                    .collect();
                let ranges: Vec<(&str, &str)> = ends.iter().map(|(l, u)| (&l[..], &u[..])).collect();
                let c = rng.range(-1.5, 1.5);
                property(&ranges, outputs, &format!("(or (<= (- Y_0 Y_1) {c:.3}) (and (<= Y_2 {c:.3}) (>= Y_0 0.3)))"))
            })
            .collect();
        let method = if seed == 2 { Method::CrownIbp } else { Method::Crown };
        let (verdicts, _, _) = together(&model, &texts, &[20.0; 24], method);
        let alone: Vec<_> = texts.iter().map(|t| answer_with(&model, t, method, 20.0).word()).collect();
        assert_eq!(words(&verdicts), alone, "{seed}");
        for word in ["sat", "unsat"] {
            assert!(alone.contains(&word), "{seed}: no {word}");
        }
        for (text, verdict) in texts.iter().zip(verdicts) {
            let Ok(Verdict::Sat(w)) = verdict else { continue };
            let spec = vnnlib::parse(text).unwrap();
            let holds = |d| Witness::confirm(&model, &spec.cases[0], d, &w.input, None, None).is_some();
            assert!(spec.cases[0].disjuncts.iter().any(|d| holds(d)), "a counterexample to another property");
        }
    }
}

#[test]
fn what_cannot_be_asked_stops_nobody_else() {
    let texts = [
        property(&SQUARE, 2, "(>= Y_0 1.5)"),
        property(&[("0", "1")], 2, "(>= Y_0 1)"),
        property(&[("-1e30", "1e30"), ("0", "1")], 2, "(>= Y_0 1)"),
        property(&SQUARE, 2, "(>= Y_0 2.5)"),
        property(&[("1", "0"), ("0", "1")], 2, "(>= Y_0 1)"),
    ];
    let (verdicts, _, order) = together(&absolute(), &texts, &[20.0; 5], Method::Crown);
    assert_eq!(words(&verdicts), ["sat", "error", "error", "unsat", "unsat"]);
    assert!(verdicts[1].as_ref().unwrap_err().contains("1 input") && verdicts[2].is_err());
    // As soon as it is known: errors and what needs no thought first, proofs after counterexamples.
    assert_eq!(order, [1, 2, 4, 0, 3]);
}

#[test]
fn time_is_shared_and_nobody_uses_more_than_its_own() {
    let model = random(12, 64, 2, 3);
    let mut rng = Rng::new(1, 12);
    let mut sample = || -> f64 {
        let x: Vec<f32> = (0..12).map(|_| rng.range(-100.0, 100.0)).collect();
        let y = enclosure::forward(&model, &x).0;
        y[0] - y[1]
    };
    // Far below what samples reach, far above what bounds prove: it would take thousands of boxes.
    let low = (0..2000).map(|_| sample()).fold(f64::INFINITY, f64::min);
    let hard = |c: f64| property(&[("-100", "100"); 12], 2, &format!("(<= (- Y_0 Y_1) {c:.6})"));
    let texts = [hard(2.0 * low), hard(2.1 * low), hard(0.0), hard(2.2 * low)];
    let (verdicts, used, _) = together(&model, &texts, &[0.3, 1e-9, 20.0, 0.6], Method::Crown);
    assert_eq!(words(&verdicts)[..3], ["timeout", "timeout", "sat"]);
    assert_eq!(verdicts[3].as_ref().unwrap().word(), "timeout");
    // Up to the step in progress.
    for (used, limit) in used.iter().zip([0.3, 0.0, 1.0, 0.6]) {
        assert!(used.as_secs_f64() < limit + 1.0, "{used:?} of {limit}");
    }
    assert!(used[3] > used[0] && used[0] > used[1]);
}

#[test]
fn an_answer_that_cannot_be_kept_stops_the_run() {
    let net = Network::new(&Device::cpu(), &absolute()).unwrap();
    let spec = vnnlib::parse(&property(&SQUARE, 2, "(>= Y_0 1.5)")).unwrap();
    let property = Property { spec: &spec, limit: Duration::from_secs(9) };
    let mut calls = 0;
    let run = verify_all(&net, &[property; 2], &Settings { method: Method::Crown, seed: 1 }, &mut |_, _, _| {
        calls += 1;
        Err(Error::usage("the disk is full"))
    });
    assert!(run.unwrap_err().to_string().contains("full") && calls == 1);
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        onnx::write(&absolute(), folder.path("net.onnx")).unwrap();
        folder.write("sat.vnnlib", &property(&SQUARE, 2, "(>= Y_0 1.5)"));
        folder.write("unsat.vnnlib", &property(&SQUARE, 2, "(>= Y_0 2.5)"));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltamax"));
        command.current_dir(self.0.path()).arg("verify").args(["--device", "cpu"]).args(args).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn both_forms_of_the_command_line() {
    let folder = Folder::new();
    let out = folder.run(&["net.onnx", "unsat.vnnlib"]);
    assert!(out.status.success() && text(&out.stdout) == "unsat\n", "{out:?}");
    let out = folder.run(&["sat.vnnlib", "--network", "f=net.onnx", "--timeout", "20"]);
    assert!(out.status.success());
    let lines: Vec<&str> = text(&out.stdout).lines().collect();
    assert_eq!((lines[0], lines.len()), ("sat", 5));
    assert!(lines[1].starts_with("((X_0 ") && lines[3].starts_with(" (Y_0 ") && lines[4].ends_with("))"));
    let number = |line: &str| line.trim_matches([' ', '(', ')']).split(' ').nth(1).unwrap().parse::<f64>().unwrap();
    let (x, y) = ([number(lines[1]), number(lines[2])], number(lines[3]));
    assert!(x.iter().all(|x| x.abs() <= 1.0) && y >= 1.5 && (x[0].abs() + x[1].abs() - y).abs() < 1e-9);
    let out = folder.run(&["net.onnx", "unsat.vnnlib", "--json"]);
    assert!(text(&out.stdout).lines().last().unwrap().contains("\"result\":\"unsat\""));
    folder.write(
        "two.vnnlib",
        "(vnnlib-version <2.0>)(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [1,2]))
         (assert (and (>= X[0,0] 0) (<= X[0,0] 1) (== X[0,1] 0.25) (>= Y[0,0] 1.3)))",
    );
    let out = folder.run(&["two.vnnlib", "--network", "f=net.onnx"]);
    assert!(text(&out.stdout).starts_with("unsat"), "{out:?}");
    let out = folder.run(&["two.vnnlib", "--network", "g=net.onnx"]);
    assert!(!out.status.success() && text(&out.stderr).contains("called 'f'"));
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let folder = Folder::new();
    folder.write("broken.vnnlib", "(declare-const X_0 Real)\n(assert (<= X_0");
    folder.write("small.vnnlib", &property(&[("0", "1")], 2, "(>= Y_0 1)"));
    folder.write("foreign.onnx", "this is no network");
    let whole = std::fs::read(folder.path("net.onnx")).unwrap();
    std::fs::write(folder.path("cut.onnx"), &whole[..whole.len() / 2]).unwrap();
    for (net, spec, part) in [
        ("net.onnx", "broken.vnnlib", "broken.vnnlib: line 2"),
        ("net.onnx", "small.vnnlib", "1 input and 2 outputs, the network 2 and 2"),
        ("net.onnx", "nowhere.vnnlib", "nowhere.vnnlib"),
        ("foreign.onnx", "sat.vnnlib", "foreign.onnx"),
        ("cut.onnx", "sat.vnnlib", "cut.onnx"),
        ("nowhere.onnx", "sat.vnnlib", "nowhere.onnx"),
        ("sat.vnnlib", "net.onnx", "net.onnx"),
    ] {
        let out = folder.run(&[net, spec]);
        let err = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{net} {spec}: {err}");
        assert!(out.stdout.is_empty() && err.lines().count() == 1 && err.contains(part), "{net} {spec}: {err}");
    }
    assert_eq!(folder.run(&["net.onnx"]).status.code(), Some(2));
    assert_eq!(folder.run(&["net.onnx", "sat.vnnlib", "--timeout", "-1"]).status.code(), Some(2));
}

#[test]
fn batches_are_answered_and_resumed() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("list")).unwrap();
    pack(&folder.path("unsat.vnnlib"), &folder.path("list/unsat.vnnlib.gz"));
    pack(&folder.path("net.onnx"), &folder.path("list/net.onnx.gz"));
    let rows = "net.onnx,../sat.vnnlib,20\nnet.onnx,unsat.vnnlib,20\n";
    folder.write("list/instances.csv", rows);
    let batch = ["--batch", "list/instances.csv", "--out", "results.csv", "--witnesses", "points"];
    let out = folder.run(&batch);
    assert!(out.status.success(), "{out:?}");
    let results = || std::fs::read_to_string(folder.path("results.csv")).unwrap();
    let words = || results().lines().skip(1).map(|l| l.split(',').nth(2).unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(words(), ["sat", "unsat"]);
    let point = std::fs::read_to_string(folder.path("points/net__sat.counterexample")).unwrap();
    assert!(point.starts_with("sat\n((X_0 "));
    assert_eq!(folder.run(&batch).status.code(), Some(1));
    // One more line, one that cannot be read.
    folder.write("list/instances.csv", &(rows.to_string() + "net.onnx,gone.vnnlib,5\n../net.onnx,../unsat.vnnlib,5\n"));
    let out = folder.run(&[&batch[..], &["--resume"]].concat());
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("gone.vnnlib"), "{out:?}");
    assert_eq!(words(), ["sat", "unsat", "error", "unsat"]);
}

#[test]
fn lists_of_several_networks_in_any_order() {
    let folder = Folder::new();
    onnx::write(&mlp(2, &[(&[1.0, 1.0, 1.0, -1.0], &[0.0, 0.0])]), folder.path("sum.onnx")).unwrap();
    folder.write("three.vnnlib", &property(&[("0", "1"); 3], 2, "(>= Y_0 1)"));
    folder.write("broken.vnnlib", "(assert (<= X_0");
    folder.write("edge.vnnlib", &property(&SQUARE, 2, "(> Y_0 2)"));
    let rows: Vec<String> = ["net", "sum", "gone"]
        .iter()
        .flat_map(|net| {
            ["sat", "broken", "unsat", "three", "nowhere", "edge"].map(|p| format!("{net}.onnx,{p}.vnnlib,1"))
        })
        .collect();
    // Networks by turns: every seventh line of the list, modulo its length.
    let mixed: Vec<&str> = (0..rows.len()).map(|k| &rows[k * 7 % rows.len()][..]).collect();
    folder.write("instances.csv", &(mixed.join("\n") + "\n"));
    let out = folder.run(&["--batch", "instances.csv", "-q"]);
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{err}");
    assert!(err.contains("12 of 18 instances could not be read or run"), "{err}");
    let results = std::fs::read_to_string(folder.path("results.csv")).unwrap();
    let answers: BTreeMap<(&str, &str), (&str, f64)> = results
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect::<Vec<_>>())
        .map(|f| ((f[0], f[1]), (f[2], f[3].parse().unwrap())))
        .collect();
    assert_eq!((answers.len(), results.lines().count()), (18, 19));
    for net in ["net.onnx", "sum.onnx", "gone.onnx"] {
        for spec in ["sat", "broken", "unsat", "three", "nowhere", "edge"] {
            let name = format!("{spec}.vnnlib");
            let (word, seconds) = answers[&(net, &name[..])];
            let alone = folder.run(&[net, &name, "--timeout", "1"]);
            let known = if alone.status.success() { text(&alone.stdout).lines().next().unwrap() } else { "error" };
            // Which of these two it is depends on the time.
            let kind = |w| if w == "timeout" { "unknown".to_string() } else { String::from(w) };
            assert_eq!(kind(word), kind(known), "{net} {spec}");
            assert!(seconds < 2.0, "{net} {spec}: {seconds}");
        }
    }
    // A run that was stopped after a few rows, in the middle of one.
    let kept: String = results.lines().take(7).map(|l| format!("{l}\n")).collect();
    folder.write("results.csv", &(kept.clone() + "net.onnx,sa"));
    folder.run(&["--batch", "instances.csv", "-q", "--resume"]);
    let again = std::fs::read_to_string(folder.path("results.csv")).unwrap();
    let keys = |t: &str| {
        let of = |l: &str| l.split(',').take(2).map(String::from).collect::<Vec<_>>();
        t.lines().map(of).collect::<BTreeSet<_>>()
    };
    assert!(again.starts_with(&kept) && again.lines().count() == 19 && keys(&again) == keys(&results), "{again}");
}

fn pack(from: &Path, to: &Path) {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(std::fs::File::create(to).unwrap(), flate2::Compression::fast());
    gz.write_all(&std::fs::read(from).unwrap()).unwrap();
    gz.finish().unwrap();
}
