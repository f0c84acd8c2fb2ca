//! Networks with activations other than the rectifier: bounds by every method hold at points of the ball, grow with the
//! method, are accepted by the auditor, and come back from ONNX as they were.

use deltamax::audit::{self, Verdict};
use deltamax::bounds::{Ball, Bounder, Decision, Method, Runtime};
use deltamax::device::Device;
use deltamax::model::activation::{Abs, Activation, Clip, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Tanh};
use deltamax::model::{Conv, Dense, Layer, Model, Node, onnx, reference};
use deltamax::network::{Network, largest};
use deltamax::rng::Rng;
use deltamax::search::{self, Settings, Subject};
use deltamax::tensor::Shape;

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
    let mut rng = Rng::new(seed, 5);
    let mut normal =
        |n: usize, fan_in: f32| -> Vec<f32> { (0..n).map(|_| rng.normal() * (2.5 / fan_in).sqrt()).collect() };
    let plane = Shape::new(4, 5, 5);
    let mut conv = |inputs: usize| {
        let weight = normal(4 * inputs * 9, 9.0 * inputs as f32);
        Layer::Conv(Conv { weight, bias: normal(4, 20.0), kernel: [3, 3], stride: [1, 1], pad: [1, 1] })
    };
    let (first, second) = (conv(1), conv(4));
    let mut dense =
        |from: usize, to: usize| Layer::Dense(Dense { weight: normal(to * from, from as f32), bias: normal(to, 20.0) });
    let (hidden, last) = (dense(plane.len(), 8), dense(8, 3));
    let activation = || Layer::Activation(f.to_vec());
    let nodes = [
        (first, vec![0], plane),
        (activation(), vec![1], plane),
        (second, vec![2], plane),
        (if rectifier { Layer::Relu } else { activation() }, vec![3], plane),
        (Layer::Add, vec![4, 2], plane),
        (hidden, vec![5], Shape::flat(8)),
        (Layer::Activation(vec![f[0]]), vec![6], Shape::flat(8)),
        (last, vec![7], Shape::flat(3)),
    ];
    let node = |(i, (layer, inputs, shape))| Node { name: format!("n{i}"), layer, inputs, shape };
    let nodes = nodes.into_iter().enumerate().map(node).collect();
    let classes = (0..3).map(|i| i.to_string()).collect();
    let model = Model { input: Shape::new(1, 5, 5), nodes, classes, folded: vec![] };
    model.validate().unwrap();
    model
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

/// Points of the ball, corners among them.
fn points(image: &[f32], radius: f32, rng: &mut Rng) -> Vec<f32> {
    let corner = rng.below(2) == 0;
    let step = |rng: &mut Rng| if corner { [-1.0, 1.0][rng.below(2)] } else { rng.range(-1.0, 1.0) };
    image.iter().map(|x| (x + radius * 0.999_999 * step(rng)).clamp(0.0, 1.0)).collect()
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
                        let scores = reference::forward(&model, &points(image, radius, &mut rng)).pop().unwrap();
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
                let scores = reference::forward(&model, &points(image, ball.delta, &mut rng)).pop().unwrap();
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
