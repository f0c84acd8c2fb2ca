//! Networks with activations other than the rectifier: bounds by every method hold at points of the ball, grow with the
//! method, are accepted by the auditor, and come back from ONNX as they were.

use deltamax::audit::{self, Verdict};
use deltamax::bounds::{Ball, Bounder, Decision, Method, Runtime};
use deltamax::device::Device;
use deltamax::model::activation::{Abs, Activation, Clip, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Tanh};
use deltamax::model::{Layer, Model, onnx, reference};
use deltamax::network::{Network, largest};
use deltamax::rng::Rng;
use deltamax::search::{self, Settings, Subject};
use deltamax::tensor::Shape;

use crate::nets::{Net, point};

fn leaky(slope: f32) -> Activation {
    Activation::LeakyRelu(LeakyRelu { slope })
}

/// Functions of a layer of four channels.
fn functions() -> Vec<(&'static str, Vec<Activation>)> {
    vec![
        ("leaky", vec![leaky(0.1)]),
        ("prelu", vec![leaky(0.25), leaky(-0.3), leaky(0.0), leaky(1.2)]),
        ("relu6", vec![Activation::Clip(Clip { low: 0.0, high: 6.0 })]),
        ("hardtanh", vec![Activation::Clip(Clip { low: -1.0, high: 1.0 })]),
        ("abs", vec![Activation::Abs(Abs)]),
        ("hard sigmoid", vec![Activation::HardSigmoid(HardSigmoid { alpha: 0.2, beta: 0.5 })]),
        ("hard swish", vec![Activation::HardSwish(HardSwish)]),
        ("sigmoid", vec![Activation::Sigmoid(Sigmoid)]),
        ("tanh", vec![Activation::Tanh(Tanh)]),
    ]
}

/// Convolution, activation, convolution, rectifier or activation, sum with what came before, dense, activation, logits.
fn network(f: &[Activation], rectifier: bool, seed: u64) -> Model {
    let mut b = Net { gain: 2.5, ..Net::new(Shape::new(1, 5, 5), Rng::new(seed, 5)) }.with_bias((2.5f32 / 20.0).sqrt());
    let activation = || Layer::Activation(f.to_vec());
    let v = b.conv3x3(0, 4);
    let first = b.same(activation(), &[v]);
    let v = b.conv3x3(first, 4);
    let v = b.same(if rectifier { Layer::Relu } else { activation() }, &[v]);
    let v = b.same(Layer::Add, &[v, first]);
    let v = b.dense(v, 8);
    let v = b.same(Layer::Activation(vec![f[0]]), &[v]);
    b.dense(v, 3);
    b.finish()
}

fn images(seed: u64, count: usize) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(seed, 6);
    (0..count).map(|_| (0..25).map(|_| rng.uniform()).collect()).collect()
}

/// Radii that a method proves, with the classes.
fn radii(bounder: &Bounder, images: &[Vec<f32>]) -> Vec<(usize, f32)> {
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let subjects = Subject::classify(&bounder.net, &refs).unwrap();
    let mut found: Vec<(usize, f32)> = subjects.iter().map(|s| (s.class, 0.0)).collect();
    search::search(bounder, &Settings::new(bounder), subjects, |i, f| {
        found[i].1 = f.proved;
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn every_method_proves_what_holds_and_the_auditor_agrees() {
    let images = images(3, 6);
    for (seed, (name, f)) in functions().into_iter().enumerate() {
        for rectifier in [false, true] {
            let model = network(&f, rectifier, seed as u64);
            let net = Network::new(&Device::cpu(), &model).unwrap();
            let mut medians = vec![];
            for method in Method::ALL {
                let bounder = Bounder::new(&net, method).unwrap();
                let found = radii(&bounder, &images);
                let mut rng = Rng::new(seed as u64, 7);
                for (image, &(class, radius)) in images.iter().zip(&found).filter(|(_, f)| f.1 > 0.0) {
                    for _ in 0..200 {
                        let scores = reference::forward(&model, &point(image, radius, &mut rng)).pop().unwrap();
                        let best = scores.iter().enumerate().all(|(j, s)| j == class || *s < scores[class]);
                        assert!(best, "{name} {method}: {scores:?} within {radius}");
                    }
                    if method != Method::Alpha {
                        let asked = method.to_string().parse().unwrap();
                        let verdict = audit::check(&model, image, class, radius.into(), asked, None);
                        assert!(
                            matches!(verdict, Ok(Verdict::Proved { .. })),
                            "{name} {method}: {verdict:?} of {radius}"
                        );
                        let far = audit::check(&model, image, class, (1.6 * radius).into(), asked, None);
                        assert!(
                            radius > 0.5 || !matches!(far, Ok(Verdict::Proved { .. })),
                            "{name} {method}: {radius}"
                        );
                    }
                }
                let mut all: Vec<f32> = found.iter().map(|f| f.1).collect();
                all.sort_by(f32::total_cmp);
                medians.push(all[3]);
            }
            assert!(medians[0] > 0.0 && medians.windows(2).all(|m| m[1] >= 0.98 * m[0]), "{name}: {medians:?}");
            assert!(medians[2] > 1.3 * medians[0], "{name}: {medians:?}");
        }
    }
}

/// A ball that `crown` cannot prove may be proved by the signs of its rectifiers, never falsely.
#[test]
fn branching_stands_beside_activations() {
    let images = images(9, 4);
    for (name, f) in functions() {
        let model = network(&f, true, 21);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let bounder = Bounder::new(&net, Method::Crown).unwrap();
        for (image, (class, radius)) in images.iter().zip(radii(&bounder, &images)).filter(|(_, f)| f.1 > 0.0) {
            let ball = Ball { image, class, delta: (1.05 * radius).min(1.0) };
            let (decision, _) = bounder.branch_balls(&[ball], &[60]).unwrap().remove(0);
            let mut rng = Rng::new(2, 8);
            for _ in 0..200 * usize::from(matches!(decision, Decision::Proved)) {
                let scores = reference::forward(&model, &point(image, ball.delta, &mut rng)).pop().unwrap();
                assert!(scores.iter().enumerate().all(|(j, s)| j == class || *s < scores[class]), "{name}: {scores:?}");
            }
        }
    }
}

#[test]
fn activations_survive_onnx() {
    let folder = tempfile::tempdir().unwrap();
    for (k, (name, f)) in functions().into_iter().enumerate() {
        let model = network(&f, k % 2 == 0, 30 + k as u64);
        let path = folder.path().join("model.onnx");
        onnx::write(&model, &path).unwrap();
        let read = onnx::read(&path).unwrap();
        assert_eq!(read.input, model.input, "{name}");
        for image in images(4, 3) {
            let (a, b) = (reference::forward(&model, &image), reference::forward(&read, &image));
            assert_eq!(a.last(), b.last(), "{name}");
        }
    }
}

/// Devices follow the function closely, and nothing is said of runtimes that may not.
#[test]
fn forward_is_close_and_other_runtimes_are_refused() {
    for (name, f) in functions() {
        let model = network(&f, false, 40);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        for image in images(5, 4) {
            let exact = reference::forward(&model, &image).pop().unwrap();
            let scores = net.scores(&[&image]).unwrap().remove(0);
            let off = scores.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-3, "{name}: {scores:?} for {exact:?}");
            assert!(largest(&scores) < 3);
        }
        let bounder = Bounder::new(&net, Method::Crown).unwrap();
        let refused = bounder.for_runtime(Runtime::AnyF32).map(drop).unwrap_err().to_string();
        assert!(refused.contains("n1") && refused.contains("leave out --runtime any-f32"), "{refused}");
    }
}
