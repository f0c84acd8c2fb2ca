//! Networks of unusual shape: layers too wide for sixteen bits, steps too long for thirty-two, every kind of layer
//! as the last, values read in another shape than they have,
//! windows in the padding, means over millions of places.

use std::time::Duration;

use deltamax::bounds::{Ball, Bounder, Decision, Method};
use deltamax::device::Device;
use deltamax::model::{Conv, Layer, Model, Pool, Source, reference};
use deltamax::network::Network;
use deltamax::rng::Rng;
use deltamax::spec::vnnlib;
use deltamax::tensor::Shape;
use deltamax::verify::{Property, Settings, Verdict, verify};

use crate::nets::{Net, dense, point};

fn net(input: Shape, seed: u64) -> Net {
    Net::new(input, Rng::new(seed, 16))
}

/// One channel to one channel, with one row of weights.
fn row(b: &mut Net, from: usize, weight: &[f32], bias: f32, [stride, pad]: [usize; 2], shape: Shape) -> usize {
    let (kernel, pad) = ([1, weight.len()], [0, pad]);
    let (weight, bias) = (weight.to_vec(), vec![bias]);
    b.push(Layer::Conv(Conv { weight, bias, kernel, stride: [stride; 2], pad }), &[from], shape)
}

/// Logits of these weights and biases.
fn logits(b: &mut Net, from: usize, weight: &[f32], bias: &[f32]) {
    b.push(dense(weight, bias), &[from], Shape::flat(bias.len()));
}

/// Class 0 has the score 1, class 1 a thousand times `relu(relu(x - 0.5) - 0.25)` of the input value `k`, which begins at
/// 0.4: the radius is 0.351. The methods must prove 0.34, and neither they nor branching 0.36.
fn one_value_decides(model: &Model, k: usize, methods: &[Method]) {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let mut image = vec![0.0; model.input.len()];
    image[k] = 0.4;
    let mut other = image.clone();
    other[k] = 0.7515;
    let y = reference::forward(model, &other).pop().unwrap();
    assert!(y[1] > y[0], "{y:?}");
    for &method in methods {
        let bounder = Bounder::new(&net, method).unwrap();
        for (delta, holds) in [(0.34, true), (0.36, false)] {
            let ball = Ball { image: &image, class: 0, delta };
            let outcome = bounder.probe(&[ball]).unwrap().remove(0);
            assert_eq!(outcome.radius == delta, holds, "{method} at {delta}: {outcome:?}");
            assert!(outcome.radius < 0.3511, "{method} at {delta}: {outcome:?}");
        }
    }
    let ball = Ball { image: &image, class: 0, delta: 0.36 };
    let bounder = Bounder::new(&net, methods[0]).unwrap();
    let (decision, _) = bounder.branch_balls(&[ball], &[3]).unwrap().remove(0);
    assert_ne!(decision, Decision::Proved);
}

#[test]
fn neurons_have_places_beyond_sixteen_bits() {
    const SIDE: usize = 65_541;
    let wide: (_, &[Method]) = (Shape::new(1, 1, SIDE), &[Method::Crown, Method::Alpha]);
    for (input, methods) in [wide, (Shape::new(1, SIDE, 1), &[Method::Crown])] {
        let mut b = net(input, 0);
        let v = row(&mut b, 0, &[1.0], -0.5, [1, 0], input);
        let v = b.relu(v);
        let v = row(&mut b, v, &[1.0], -0.25, [1, 0], input);
        let v = b.relu(v);
        let mut weight = vec![0.0; 2 * SIDE];
        weight[2 * SIDE - 1] = 1000.0;
        logits(&mut b, v, &weight, &[1.0, 0.0]);
        one_value_decides(&b.finish(), SIDE - 1, methods);
    }
}

/// Two strides of 2^16 are a step of 2^32, which in a word of 32 bits is none.
#[test]
fn steps_of_windows_do_not_wrap_around() {
    let input = Shape::new(1, 1, 65_540);
    let mut b = net(input, 0);
    let v = row(&mut b, 0, &[1.0], -0.5, [1, 0], input);
    let v = b.relu(v);
    let v = row(&mut b, v, &[0.0, 1.0, 0.0], 0.0, [1 << 16, 1], Shape::new(1, 1, 2));
    let v = b.relu(v);
    let v = row(&mut b, v, &[1.0], -0.25, [1 << 16, 0], Shape::flat(1));
    let v = b.relu(v);
    logits(&mut b, v, &[0.0, 1000.0], &[1.0, 0.0]);
    one_value_decides(&b.finish(), 0, &[Method::Crown, Method::Alpha]);
}

/// No sampled point of a ball has a margin below its bound, or another class within the radius, by any method; branching
/// and the bounds of gradients answer.
fn bounds_hold(model: &Model, what: &str) {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let mut rng = Rng::new(3, 17);
    let image: Vec<f32> = (0..model.input.len()).map(|_| rng.uniform()).collect();
    let exact = |x: &[f32]| reference::forward(model, x).pop().unwrap();
    let y = exact(&image);
    let class = (0..y.len()).max_by(|&i, &j| y[i].total_cmp(&y[j])).unwrap();
    for (method, delta) in Method::ALL.into_iter().flat_map(|m| [(m, 0.02), (m, 0.3)]) {
        let bounder = Bounder::new(&net, method).unwrap();
        let ball = Ball { image: &image, class, delta };
        let outcome = bounder.probe(&[ball]).unwrap().remove(0);
        let (decision, _) = bounder.branch_balls(&[ball], &[20]).unwrap().remove(0);
        assert_eq!(bounder.gradient_bounds(&[ball]).unwrap()[0].len(), image.len());
        for i in 0..300 {
            let d = if i % 2 == 0 { delta } else { outcome.radius };
            let y = exact(&point(&image, d, &mut rng));
            for rival in (0..y.len()).filter(|&j| j != class) {
                let margin = y[class] - y[rival];
                assert!(
                    f64::from(outcome.margins[rival]) <= margin,
                    "{what}, {method} at {delta}: {margin} {outcome:?}"
                );
                let proved = i % 2 == 0 && decision == Decision::Proved || i % 2 == 1 && outcome.radius > 0.0;
                assert!(margin > 0.0 || !proved, "{what}, {method} at {delta}: {margin} within {d}");
            }
        }
    }
}

/// A network of two branches whose last layer is `last` of them, an image of two channels each.
fn with_last(layer: Layer, both: bool, shape: Shape) -> Model {
    let mut b = net(Shape::new(1, 3, 3), 5);
    let first = b.conv(0, 2, [2, 2], [1, 1], [0, 0]);
    let first = b.relu(first);
    let first = b.conv(first, 2, [1, 1], [1, 1], [0, 0]);
    let second = b.conv(0, 2, [2, 2], [1, 1], [0, 0]);
    let second = b.relu(second);
    if both {
        b.push(layer, &[first, second], shape);
    } else {
        let sum = b.same(Layer::Add, &[first, second]);
        b.push(layer, &[sum], shape);
    }
    b.finish()
}

#[test]
fn any_kind_of_layer_may_be_the_last() {
    let image = Shape::new(2, 2, 2);
    let mut b = net(image, 6);
    let pool = Pool { kernel: [2, 1], stride: [1, 1], pad: [0, 0], count_include_pad: false };
    let pooled = Shape::new(2, 1, 2);
    let moved =
        |inputs: u32| (0..8 * inputs).map(|k| Some(Source { input: k % inputs, index: 7 - k / inputs })).collect();
    let (weight, bias) = (b.weights(24, 8), b.biases(3));
    let conv = Conv { weight, bias, kernel: [2, 2], stride: [1, 1], pad: [0, 0] };
    let dense = dense(&b.weights(24, 8), &b.biases(3));
    let scale = Layer::Scale { scale: b.weights(8, 8), shift: b.biases(8) };
    let mut few: Vec<Option<Source>> = moved(2);
    few[3] = None;
    let lasts = [
        ("dense", dense, false, Shape::flat(3)),
        ("convolution", Layer::Conv(conv), false, Shape::flat(3)),
        ("relu", Layer::Relu, false, image),
        ("max pool", Layer::MaxPool(pool), false, pooled),
        ("average pool", Layer::AvgPool(pool), false, pooled),
        ("scale", scale, false, image),
        ("move", Layer::Gather(moved(1)), false, Shape::flat(8)),
        ("concatenation", Layer::Gather(few), true, Shape::flat(16)),
        ("sum", Layer::Add, true, image),
    ];
    for (what, layer, both, shape) in lasts {
        let model = with_last(layer, both, shape);
        bounds_hold(&model, what);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        for (condition, expected) in [("(<= Y_0 -1000)", "unsat"), ("(>= Y_0 -1000)", "sat")] {
            let mut text: String = (0..shape.len()).map(|k| format!("(declare-const Y_{k} Real)\n")).collect();
            for k in 0..9 {
                text += &format!("(declare-const X_{k} Real)\n(assert (>= X_{k} 0))\n(assert (<= X_{k} 1))\n");
            }
            let spec = vnnlib::parse(&(text + &format!("(assert {condition})\n"))).unwrap();
            let property = Property { spec: &spec, limit: Duration::from_secs(20) };
            let settings = Settings { method: Method::Alpha, seed: 1 };
            let verdict: Verdict = verify(&net, property, &settings).unwrap();
            assert_eq!(verdict.word(), expected, "{what}: {condition}");
        }
    }
}

/// Two convolutions joined, rectified and convolved again, with `flat` in one dimension from the first to the last of
/// these.
fn joined(flat: bool) -> Model {
    let mut b = net(Shape::new(1, 7, 7), 8);
    let image = Shape::new(3, 7, 7);
    let between = if flat { Shape::flat(image.len()) } else { image };
    let stem = b.conv3x3(0, 3);
    let stem = b.relu(stem);
    let [left, right] = [0, 1].map(|_| b.conv3x3(stem, 3));
    let sum = b.push(Layer::Add, &[left, right], between);
    let bent = b.push(Layer::Relu, &[sum], between);
    let same = (0..image.len() as u32).map(|index| Some(Source { input: 0, index })).collect();
    let v = b.push(Layer::Gather(same), &[bent], image);
    let v = b.conv(v, 2, [3, 3], [2, 2], [1, 1]);
    let v = b.push(Layer::Relu, &[v], if flat { Shape::flat(32) } else { Shape::new(2, 4, 4) });
    b.dense(v, 3);
    b.finish()
}

/// A dense layer, rectified into an image or in one dimension, convolved and rectified again.
fn unflattened(flat: bool) -> Model {
    let mut b = net(Shape::flat(6), 9);
    let image = Shape::new(2, 8, 8);
    let v = b.dense(0, image.len());
    let v = b.push(Layer::Relu, &[v], image);
    let v = b.conv3x3(v, 2);
    let v = b.push(Layer::Relu, &[v], if flat { Shape::flat(image.len()) } else { image });
    b.dense(v, 3);
    b.finish()
}

/// An elementwise layer may read its values in another shape than they have; bounds are those of equal shapes.
#[test]
fn shapes_of_elementwise_layers_may_differ() {
    let image: Vec<f32> = (0..49).map(|k| (k % 7) as f32 / 7.0).collect();
    for (what, make) in [("joined", joined as fn(bool) -> Model), ("unflattened", unflattened)] {
        let [flat, plain] = [true, false].map(make);
        bounds_hold(&flat, what);
        let image = &image[..flat.input.len()];
        for method in Method::ALL {
            let outcomes = [&flat, &plain].map(|model| {
                let net = Network::new(&Device::cpu(), model).unwrap();
                let ball = Ball { image, class: 1, delta: 0.03 };
                Bounder::new(&net, method).unwrap().probe(&[ball]).unwrap().remove(0)
            });
            let [a, b] = outcomes.map(|o| o.margins);
            for (a, b) in a.iter().zip(&b).filter(|(a, _)| a.is_finite()) {
                assert!((a - b).abs() <= 1e-2 * b.abs() + 1e-2, "{what}, {method}: {a} in one dimension, {b} in three");
            }
        }
    }
}

/// The second convolution looks at nothing but padding: class 1 is ahead by a half everywhere.
#[test]
fn one_tap_in_the_padding_sees_nothing() {
    let one = Shape::flat(1);
    let mut b = net(one, 0);
    let v = row(&mut b, 0, &[1.0], 0.5, [1, 0], one);
    let v = b.relu(v);
    let weight = vec![1.0];
    let v =
        b.push(Layer::Conv(Conv { weight, bias: vec![0.0], kernel: [1; 2], stride: [2; 2], pad: [1; 2] }), &[v], one);
    let v = b.relu(v);
    logits(&mut b, v, &[1.0, 0.0], &[0.0, 0.5]);
    let model = b.finish();
    bounds_hold(&model, "one tap");
    let net = Network::new(&Device::cpu(), &model).unwrap();
    for method in Method::ALL {
        let ball = Ball { image: &[0.5], class: 1, delta: 1.0 };
        let outcome = Bounder::new(&net, method).unwrap().probe(&[ball]).unwrap().remove(0);
        assert_eq!(outcome.radius, 1.0, "{method}: {outcome:?}");
    }
}

/// Taps, strides and padding larger than each other and than the layer they look at.
#[test]
fn windows_may_miss_their_layer() {
    for (kernel, stride, pad) in [(1, 1, 1), (1, 2, 1), (1, 3, 2), (2, 3, 4), (5, 1, 3), (7, 2, 3), (3, 5, 6)] {
        let mut b = net(Shape::new(1, 3, 3), (kernel * 100 + stride * 10 + pad) as u64);
        let mut v = 0;
        for _ in 0..3 {
            v = b.conv(v, 2, [kernel; 2], [stride; 2], [pad; 2]);
            v = b.relu(v);
        }
        b.dense(v, 3);
        bounds_hold(&b.finish(), &format!("kernel {kernel}, stride {stride}, padding {pad}"));
    }
}

/// A mean over more places than one sum in f32 can be bounded for.
#[test]
fn means_over_millions_of_places_are_bounded() {
    for (kernel, pad, output) in
        [([2048; 2], [2046; 2], Shape::flat(1)), ([4096, 2048], [4090, 2045], Shape::new(1, 3, 2))]
    {
        for count_include_pad in [false, true] {
            let mut b = net(Shape::new(1, 2, 2), 0);
            let v = row(&mut b, 0, &[1.0], 0.1, [1, 0], Shape::new(1, 2, 2));
            let v = b.relu(v);
            let pool = Pool { kernel, stride: [1, 1], pad, count_include_pad };
            let v = b.push(Layer::AvgPool(pool), &[v], output);
            let weight: Vec<f32> = (0..2 * output.len()).map(|k| k as f32 - 3.0).collect();
            logits(&mut b, v, &weight, &[0.0, 0.5]);
            bounds_hold(&b.finish(), &format!("{kernel:?}"));
        }
    }
}
