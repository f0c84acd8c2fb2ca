//! Bounds around images: they hold for the network of the file, also where its constants were folded, say what plain bounds
//! say where those work, and prove small balls where roundings of f32 hide the margin from plain ones.

use std::fs;

use deltamax::audit::{self, Verdict};
use deltamax::bounds::{Ball, Bounder, Method, Row, Runtime};
use deltamax::certify::depth;
use deltamax::device::Device;
use deltamax::model::{Folding, Layer, Model, Source, enclosure, onnx};
use deltamax::network::Network;
use deltamax::norm::Norm;
use deltamax::rng::Rng;
use deltamax::search::{self, Found, Settings, Subject};
use deltamax::tensor::Shape;

use crate::audit::{deltamax, idx, path};
use crate::nets::{Net, image, point};

/// Every kind of layer that bounds go around images of: joins, pooling of both kinds, factors, values that are moved.
fn mixed(seed: u64, bias: f32) -> Model {
    let mut b = Net::new(Shape::new(2, 10, 10), Rng::new(seed, 51)).with_bias(bias);
    let mut v = b.conv3x3(0, 3);
    v = b.relu(v);
    v = b.max_pool(v, [3, 3], [2, 2], [1, 1]);
    for _ in 0..2 {
        let mut inside = b.conv3x3(v, 3);
        let n = b.shape(inside).len();
        let (scale, shift) = (b.weights(n, 4), b.biases(n));
        inside = b.same(Layer::Scale { scale, shift }, &[inside]);
        inside = b.relu(inside);
        inside = b.conv3x3(inside, 3);
        v = b.same(Layer::Add, &[inside, v]);
        v = b.relu(v);
    }
    let n = b.shape(v).len();
    let turned = (0..n as u32).map(|k| (k % 7 != 3).then_some(Source { input: 0, index: n as u32 - 1 - k })).collect();
    v = b.same(Layer::Gather(turned), &[v]);
    v = b.max_pool(v, [2, 2], [1, 1], [0, 0]);
    v = b.average_pool(v, [2, 2], [2, 2], [0, 0], false);
    v = b.dense(v, 8);
    v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

/// A stem and five residual blocks.
fn deep(seed: u64) -> Model {
    let mut b = Net::new(Shape::new(1, 8, 8), Rng::new(seed, 52)).with_bias(0.3);
    let mut v = b.conv3x3(0, 6);
    v = b.relu(v);
    v = b.max_pool(v, [2, 2], [2, 2], [0, 0]);
    for _ in 0..5 {
        v = b.residual(v);
        v = b.relu(v);
    }
    b.dense(v, 3);
    b.finish()
}

/// The model with folded constants, and a network that its file may have held.
fn folded(mut model: Model, rng: &mut Rng) -> [Model; 2] {
    const RELATIVE: f32 = 1e-6;
    const ABSOLUTE: f32 = 1e-5;
    let mut file = model.clone();
    for (node, own) in file.nodes.iter_mut().enumerate() {
        let (weight, bias) = match &mut own.layer {
            Layer::Conv(c) => (&mut c.weight, &mut c.bias),
            Layer::Dense(d) => (&mut d.weight, &mut d.bias),
            Layer::Scale { scale, shift } => (scale, shift),
            Layer::Relu
            | Layer::Activation(_)
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::Add
            | Layer::Gather(_) => continue,
        };
        // To the edge of what the charge allows.
        let mut sign = || 0.9 * [-1.0, 1.0][rng.below(2)];
        weight.iter_mut().for_each(|w| *w *= 1.0 + sign() * RELATIVE);
        bias.iter_mut().for_each(|b| *b += sign() * ABSOLUTE);
        model.folded.push(Folding { node, relative: RELATIVE, absolute: ABSOLUTE, ..Folding::default() });
    }
    [model, file]
}

fn bounder(net: &Network, method: Method, depth: Option<usize>, norm: Norm) -> Bounder {
    let mut bounder = Bounder::new(net, method).unwrap().for_norm(norm);
    (bounder.depth, bounder.around) = (depth, true);
    assert!(bounder.goes_around());
    bounder
}

fn plain(bounder: &Bounder) -> Bounder {
    let mut plain = bounder.clone();
    plain.around = false;
    plain
}

fn subject(net: &Network, pixels: &[f32]) -> Subject {
    Subject::classify(net, &[pixels]).unwrap().remove(0)
}

fn found(bounder: &Bounder, subject: &Subject) -> Found {
    let mut all = vec![];
    search::search(bounder, &Settings::new(bounder), [subject.clone()], |_, f| {
        all.push(f);
        Ok(())
    })
    .unwrap();
    all.remove(0)
}

/// By how much a class leads another at a point, at most.
fn lead(file: &Model, x: &[f32], class: usize, rival: usize) -> f64 {
    -enclosure::lead(&enclosure::forward(file, x), rival, class)
}

/// Bends the last layer so that the class of this image leads by `margin`.
fn with_margin(model: &mut Model, pixels: &[f32], margin: f64) {
    let (scores, _) = enclosure::forward(model, pixels);
    let class = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    let second = (0..scores.len()).filter(|j| *j != class).map(|j| scores[j]).fold(f64::MIN, f64::max);
    let Some(Layer::Dense(d)) = model.nodes.last_mut().map(|n| &mut n.layer) else { panic!("ends in a dense layer") };
    d.bias[class] -= (scores[class] - second - margin) as f32;
}

#[test]
fn bounds_around_images_hold_for_the_network_of_the_file() {
    let kinds = [(Method::CrownIbp, None), (Method::Crown, Some(1)), (Method::Crown, Some(3)), (Method::Crown, None)];
    for seed in 0..6 {
        let mut rng = Rng::new(seed, 53);
        // Large constants make large roundings of little that matters.
        let [model, file] = match seed % 3 {
            0 => [mixed(seed, 0.2), mixed(seed, 0.2)],
            1 => [mixed(seed, 100.0), mixed(seed, 100.0)],
            _ => folded(mixed(seed, 0.2), &mut rng),
        };
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let images: Vec<Vec<f32>> = (0..2).map(|_| image(&model, &mut rng)).collect();
        let subjects: Vec<Subject> = images.iter().map(|x| subject(&net, x)).collect();
        for (norm, (method, depth)) in [Norm::Linf, Norm::L2].into_iter().flat_map(|n| kinds.map(|k| (n, k))) {
            let bounder = bounder(&net, method, depth, norm);
            for delta in [0.0, 1e-7, 1e-4, 0.02] {
                let ball = |s: &'_ Subject| (s.image.clone(), s.class);
                let own: Vec<(Vec<f32>, usize)> = subjects.iter().map(ball).collect();
                let balls: Vec<Ball<'_>> =
                    own.iter().map(|(image, class)| Ball { image, class: *class, delta }).collect();
                let outcomes = bounder.probe(&balls).unwrap();
                let corners = plain(&bounder).corners(&balls).unwrap();
                for ((subject, outcome), corner) in subjects.iter().zip(&outcomes).zip(corners) {
                    let drawn = (0..12).map(|_| point(&subject.image, delta, &mut rng));
                    for mut x in drawn.chain([subject.image.clone(), corner]) {
                        norm.pull(&mut x, &subject.image, delta);
                        for (j, &margin) in outcome.margins.iter().enumerate().filter(|(j, _)| *j != subject.class) {
                            let most = lead(&file, &x, subject.class, j);
                            assert!(
                                f64::from(margin) <= most,
                                "{seed} {method} {depth:?} {norm} {delta}: {margin} {most}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_rounding_costs_shrinks_with_the_ball() {
    for seed in 0..4 {
        let model = mixed(seed, 100.0);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let pixels = image(&model, &mut Rng::new(seed, 54));
        let class = subject(&net, &pixels).class;
        let around = bounder(&net, Method::Crown, None, Norm::Linf);
        let worst = |bounder: &Bounder, delta: f32| {
            let outcome = bounder.probe(&[Ball { image: &pixels, class, delta }]).unwrap().remove(0);
            f64::from(outcome.worst().0)
        };
        let exact = enclosure::forward(&model, &pixels).0;
        let margin = (0..4).filter(|j| *j != class).map(|j| exact[class] - exact[j]).fold(f64::MAX, f64::min);
        // To a few roundings of the margin itself, where plain bounds lose a share of every value.
        let lost = [0.0, 1e-4, 1e-3].map(|delta| margin - worst(&around, delta));
        assert!(lost[0] >= 0.0 && lost[0] <= 3e-5 * margin, "{seed}: {lost:?} of {margin}");
        assert!(lost[2] - lost[0] < 12.0 * (lost[1] - lost[0]), "{seed}: {lost:?} of {margin}");
        let else_lost = margin - worst(&plain(&around), 0.0);
        assert!(else_lost > 2.0 * lost[0], "{seed}: {else_lost} else, {lost:?} of {margin}");
    }
}

#[test]
fn radii_are_those_of_plain_bounds_where_these_work() {
    let (mut all, mut compared) = ([0.0; 2], 0);
    for seed in 0..6 {
        let model = mixed(seed, 0.2);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let subject = subject(&net, &image(&model, &mut Rng::new(seed, 55)));
        for norm in [Norm::Linf, Norm::L2] {
            let around = bounder(&net, Method::Crown, None, norm);
            let [new, old] = [&around, &plain(&around)].map(|b| f64::from(found(b, &subject).proved));
            assert!(new > 0.7 * old && new < 2.0 * old, "{seed} {norm}: {new} around, {old} else");
            (all, compared) = ([all[0] + new.ln(), all[1] + old.ln()], compared + 1);
        }
    }
    let ratio = ((all[0] - all[1]) / f64::from(compared)).exp();
    assert!((0.85..1.3).contains(&ratio), "{ratio}");
}

#[test]
fn a_margin_hidden_by_roundings_is_proved_around_the_image_and_audited() {
    for seed in 0..4 {
        let mut model = deep(seed);
        let pixels = image(&model, &mut Rng::new(seed, 56));
        with_margin(&mut model, &pixels, 1e-4);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let exact = enclosure::forward(&model, &pixels);
        let (class, _) = enclosure::largest(&exact).unwrap();
        let subject = Subject { class, ..subject(&net, &pixels) };
        for (method, depth) in [(audit::Method::Crown, None), (audit::Method::CrownNearest(11), Some(11))] {
            let around = bounder(&net, Method::Crown, depth, Norm::Linf);
            assert_eq!(found(&plain(&around), &subject).proved, 0.0, "{seed}");
            assert!(depth::calls_for_around(&plain(&around), &subject).unwrap(), "{seed}");
            let proved = found(&around, &subject).proved;
            assert!(proved > 1e-7, "{seed} {depth:?}: {proved}");
            let radius = 0.99 * f64::from(proved);
            let verdict = audit::check_ball(&model, &pixels, class, Norm::Linf, radius, method, None).unwrap();
            assert!(matches!(verdict, Verdict::Proved { .. }), "{seed} {depth:?} {proved}: {verdict:?}");
            // The lines of a certificate are those of plain bounds.
            let ball = Ball { image: &pixels, class, delta: found(&around, &subject).ball };
            let proof = around.proofs(&[ball]).unwrap().remove(0);
            let certificate = Some(&proof.certificate);
            let radius = 0.99 * f64::from(proof.radius);
            let verdict = audit::check_ball(&model, &pixels, class, Norm::Linf, radius, method, certificate).unwrap();
            assert!(proof.radius > 0.0 && matches!(verdict, Verdict::Proved { .. }), "{seed} {depth:?}: {verdict:?}");
        }
    }
}

#[test]
fn a_network_with_a_margin_in_sight_is_left_to_plain_bounds() {
    let model = deep(1);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let mut bounder = Bounder::new(&net, Method::Crown).unwrap();
    let subject = subject(&net, &image(&model, &mut Rng::new(1, 57)));
    assert!(search::is_deep(&bounder) && !depth::calls_for_around(&bounder, &subject).unwrap());
    // Nor are methods or runtimes for which there are no such bounds.
    bounder.around = true;
    assert!(bounder.goes_around());
    let mut moved = bounder.clone();
    moved.method = Method::Alpha;
    assert!(!moved.goes_around());
    assert!(!bounder.clone().for_runtime(Runtime::AnyF32).unwrap().goes_around());
    let choice = depth::choose(&bounder, &subject, 1e4).unwrap();
    assert_eq!(choice.depth, Some(bounder.nonlinear_layers()));
}

#[test]
fn nothing_is_proved_where_values_leave_the_range_of_bounds() {
    let mut b = Net::new(Shape::flat(2), Rng::new(1, 58));
    let mut v = 0;
    for scale in [1e9, 1e9, 1.0] {
        v = b.push(crate::nets::dense(&[scale, 0.0, 0.0, scale], &[0.0, 1.0]), &[v], Shape::flat(2));
        v = b.relu(v);
    }
    b.push(crate::nets::dense(&[1.0, 0.0, 0.0, 1.0], &[0.0, 0.0]), &[v], Shape::flat(2));
    let model = b.finish();
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let around = bounder(&net, Method::Crown, None, Norm::Linf);
    let ball = Ball { image: &[0.9, 0.1], class: 0, delta: 1e-6 };
    let outcome = around.probe(&[ball]).unwrap().remove(0);
    assert!(outcome.radius == 0.0 && outcome.worst().0 < 0.0, "{outcome:?}");
    // Of other rows neither.
    let row = Row { lane: 0, coefficients: vec![1.0, 0.0], constant: 5.0 };
    assert!(around.row_bounds(&[ball], &[row]).unwrap()[0] < 0.0);
}

#[test]
fn certify_goes_around_by_itself_and_its_folder_is_audited_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut rng = Rng::new(7, 59);
    let bytes: Vec<u8> = (0..3 * 64).map(|_| rng.below(256) as u8).collect();
    fs::create_dir(at("data")).unwrap();
    idx(&at("data/t10k-images-idx3-ubyte"), &[3, 8, 8], &bytes);
    idx(&at("data/t10k-labels-idx1-ubyte"), &[3], &[0, 1, 2]);
    let pixels: Vec<f32> = bytes[..64].iter().map(|b| f32::from(*b) / 255.0).collect();
    let (mut model, out) = (deep(7), at("out"));
    let run = |model: &Model, more: &[&str]| {
        onnx::write(model, at("model.onnx")).unwrap();
        let (model, data) = (at("model.onnx"), at("data"));
        let usual =
            ["certify", "--model", path(&model), "--data", path(&data), "--out", path(&out), "--classes", "0,1,2"];
        let done = deltamax(&[&usual[..], &["--limit", "1", "--device", "cpu", "--no-attack"], more].concat());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        (said, fs::read_to_string(out.join("manifest.json")).unwrap())
    };
    with_margin(&mut model, &pixels, 5.0);
    let (said, manifest) = run(&model, &["--seconds", "2"]);
    assert!(!said.contains("around its image") && !manifest.contains("around"), "{said}");
    fs::remove_dir_all(&out).unwrap();

    with_margin(&mut model, &pixels, 1e-4);
    for more in [&["--seconds", "2"][..], &["--seconds", "2", "--resume"]] {
        let (said, manifest) = run(&model, more);
        assert!(said.contains("around its image") && manifest.contains("\"around\": true"), "{said}");
        let table = fs::read_to_string(out.join("delta_max.csv")).unwrap();
        let proved: f64 = table.lines().nth(1).and_then(|row| row.split(',').nth(5)).unwrap().parse().unwrap();
        assert!(proved > 0.0 && table.lines().count() == 2, "{table}");
    }
    let done = deltamax(&["audit", path(&out)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
