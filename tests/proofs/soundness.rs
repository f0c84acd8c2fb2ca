//! Bounds of every method contain what the network really does: random networks, random balls, many points each, and
//! the same bounds from patches as from dense rows.

use deltamax::bounds::{Ball, Bounder, Decision, Method, Zonotope};
use deltamax::device::Device;
use deltamax::model::{Layer, Model, Source, enclosure};
use deltamax::network::Network;
use deltamax::rng::Rng;
use deltamax::search;
use deltamax::tensor::Shape;

use crate::nets::{Net, image, point};

const METHODS: [Method; 4] = Method::ALL;

fn net(input: Shape, seed: u64) -> Net {
    Net::new(input, Rng::new(seed, 77))
}

fn conv_net(seed: u64) -> Model {
    let mut b = net(Shape::new(2, 9, 8), seed);
    let v = b.conv(0, 5, [3, 3], [1, 2], [1, 0]);
    let v = b.relu(v);
    let v = b.conv(v, 6, [4, 3], [2, 1], [1, 1]);
    let v = b.relu(v);
    let v = b.dense(v, 12);
    let v = b.relu(v);
    b.dense(v, 5);
    b.finish()
}

fn dense_net(seed: u64) -> Model {
    net(Shape::flat(11), seed).layers(&[20, 17, 3])
}

fn residual_net(seed: u64) -> Model {
    let mut b = net(Shape::new(1, 8, 8), seed);
    let stem = b.conv3x3(0, 4);
    let stem = b.relu(stem);
    let v = b.conv3x3(stem, 4);
    let v = b.relu(v);
    let v = b.conv3x3(v, 4);
    let sum = b.same(Layer::Add, &[v, stem]);
    let v = b.relu(sum);
    let n = b.shape(v).len();
    let (scale, shift) = (b.weights(n, 2), b.weights(n, 20));
    let v = b.same(Layer::Scale { scale, shift }, &[v]);
    let v = b.conv(v, 3, [2, 2], [2, 2], [0, 0]);
    let v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

/// Pooling with and without overlap, before and after a rectifier.
fn pooled_net(seed: u64) -> Model {
    let mut b = net(Shape::new(2, 9, 9), seed);
    let v = b.conv3x3(0, 4);
    let v = b.relu(v);
    let v = b.max_pool(v, [3, 3], [2, 2], [1, 1]);
    let v = b.conv(v, 5, [2, 2], [1, 1], [0, 0]);
    let v = b.max_pool(v, [2, 2], [2, 2], [0, 0]);
    let v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

/// Average pooling and data movement.
fn averaged_net(seed: u64) -> Model {
    let mut b = net(Shape::new(2, 8, 8), seed);
    let v = b.conv3x3(0, 4);
    let v = b.relu(v);
    let v = b.max_pool(v, [2, 2], [2, 2], [0, 0]);
    let v = b.conv3x3(v, 5);
    let v = b.average_pool(v, [3, 3], [2, 2], [1, 1], false);
    let turned = (0..20).map(|k| Some(Source { input: 0, index: 19 - k })).collect();
    let v = b.push(Layer::Gather(turned), &[v], Shape::flat(20));
    let v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

/// Every method's margins lie below every sampled margin, and proved radii are never contradicted.
fn check(model: &Model, device: &Device, seed: u64) {
    let net = Network::new(device, model).unwrap();
    let mut rng = Rng::new(seed, 5);
    let images: Vec<Vec<f32>> = (0..5).map(|_| image(model, &mut rng)).collect();
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let scores = net.scores(&refs).unwrap();
    for delta in [0.001f32, 0.01, 0.05, 0.2] {
        let balls: Vec<Ball> = images
            .iter()
            .zip(&scores)
            .map(|(image, s)| Ball { image, class: deltamax::network::largest(s), delta })
            .collect();
        let mut tightest = vec![f32::NEG_INFINITY; balls.len()];
        let mut proved = vec![0.0f32; balls.len()];
        for method in METHODS {
            let outcomes = Bounder::new(&net, method).unwrap().probe(&balls).unwrap();
            for (i, (ball, outcome)) in balls.iter().zip(&outcomes).enumerate() {
                for _ in 0..200 {
                    // Half of the points test the margins at delta, half the radius that is claimed.
                    let claimed = rng.below(2) == 0;
                    let d = if claimed { outcome.radius } else { delta };
                    let y = deltamax::model::reference::forward(model, &point(ball.image, d, &mut rng)).pop().unwrap();
                    for j in (0..y.len()).filter(|&j| j != ball.class) {
                        let margin = y[ball.class] - y[j];
                        if claimed {
                            assert!(outcome.radius == 0.0 || margin > 0.0, "{method} {delta}: radius {d} is refuted");
                        } else {
                            let bound = f64::from(outcome.margins[j]);
                            assert!(bound <= margin, "{method} at {delta}: {bound} > {margin}");
                        }
                    }
                }
                let (worst, _) = outcome.worst();
                if method == Method::Crown {
                    // Intersected with interval bounds inside, so never much looser than crown-ibp.
                    assert!(worst >= tightest[i] - 0.05 * tightest[i].abs() - 0.05, "{delta}: {worst} {}", tightest[i]);
                }
                if method == Method::Alpha {
                    assert!(
                        outcome.radius >= proved[i],
                        "{delta}: radius {} of alpha, {} of crown",
                        outcome.radius,
                        proved[i]
                    );
                }
                (tightest[i], proved[i]) = (worst, outcome.radius);
            }
        }
    }
}

#[test]
fn bounds_contain_sampled_margins() {
    let device = Device::cpu();
    for seed in 0..6 {
        for model in [conv_net(seed), dense_net(seed), residual_net(seed), pooled_net(seed)] {
            check(&model, &device, seed);
        }
    }
}

/// A point of the clipped ball pushed to both ends along one element: the difference quotient is a mean of gradients in
/// the ball, so it lies within their bounds.
fn check_gradient(model: &Model, device: &Device, seed: u64) {
    let net = Network::new(device, model).unwrap();
    let mut rng = Rng::new(seed, 6);
    let images: Vec<Vec<f32>> = (0..3).map(|_| image(model, &mut rng)).collect();
    for delta in [0.0005f32, 0.01, 0.1] {
        let ball = |(i, image)| Ball { image, class: i % model.outputs(), delta };
        let balls: Vec<Ball> = images.iter().map(Vec::as_slice).enumerate().map(ball).collect();
        for method in METHODS {
            let bounds = Bounder::new(&net, method).unwrap().gradient_bounds(&balls).unwrap();
            for (ball, bounds) in balls.iter().zip(&bounds) {
                for _ in 0..25 {
                    let k = rng.below(model.input.len());
                    let mut ends = [0, 1].map(|_| Vec::new());
                    let at = point(ball.image, delta, &mut rng);
                    let sides = [(ball.image[k] - 0.99 * delta).max(0.0), (ball.image[k] + 0.99 * delta).min(1.0)];
                    for side in 0..2 {
                        let mut x = at.clone();
                        x[k] = sides[side];
                        ends[side] = deltamax::model::reference::forward(model, &x).pop().unwrap();
                    }
                    let rise = ends[1][ball.class] - ends[0][ball.class];
                    let quotient = rise / (f64::from(sides[1]) - f64::from(sides[0]));
                    let [low, high] = bounds[k];
                    let slack = 1e-9;
                    assert!(
                        low - slack <= quotient && quotient <= high + slack,
                        "{method} {delta}: {quotient} {low} {high}"
                    );
                }
            }
        }
    }
}

#[test]
fn gradient_bounds_contain_difference_quotients() {
    let device = Device::cpu();
    for seed in 0..3 {
        for model in [conv_net(seed), dense_net(seed), residual_net(seed), pooled_net(seed), averaged_net(seed)] {
            check_gradient(&model, &device, seed);
        }
    }
}

/// From the middle of a zonotope a margin falls no further than its slopes say, wherever in it, and what they say is little
/// more where the zonotope is narrow.
#[test]
fn margins_fall_no_further_than_slopes_say() {
    let device = Device::cpu();
    let (mut fallen, mut said) = (0.0, 0.0);
    for seed in 0..4 {
        for model in [conv_net(seed), dense_net(seed), residual_net(seed), pooled_net(seed), averaged_net(seed)] {
            let bounder = Bounder::new(&Network::new(&device, &model).unwrap(), Method::Crown).unwrap();
            let mut rng = Rng::new(seed, 9);
            for half in [0.002f32, 0.02, 0.1] {
                let centre: Vec<f32> = image(&model, &mut rng).iter().map(|v| v.clamp(half, 1.0 - half)).collect();
                let generator: Vec<f32> = centre.iter().map(|_| half * rng.range(-1.0, 1.0)).collect();
                let along = |s: f32| centre.iter().zip(&generator).map(|(c, g)| c + s * g).collect::<Vec<f32>>();
                let widest = |sign: f32| centre.iter().zip(&generator).map(|(c, g)| c + sign * g.abs()).collect();
                let set = Zonotope {
                    centre: centre.clone(),
                    generators: vec![generator.clone()],
                    error: vec![1e-6; centre.len()],
                    lower: widest(-1.0),
                    upper: widest(1.0),
                    class: 0,
                };
                let middle: Vec<f64> = centre.iter().map(|&v| f64::from(v)).collect();
                let values = enclosure::values_near(&model, middle, vec![0.0; centre.len()]);
                let slopes = bounder.falls(&[set], &[1], &[&values]).unwrap().remove(0);
                let margin = |x: &[f32]| {
                    let y = deltamax::model::reference::forward(&model, x).pop().unwrap();
                    y[0] - y[1]
                };
                for k in -20..=20i8 {
                    let x = along(f32::from(k) / 20.0);
                    let steps = x.iter().zip(&centre).map(|(a, b)| f64::from(*a) - f64::from(*b));
                    let fall: f64 = steps.zip(&slopes).map(|(d, [low, high])| (d * low).min(d * high)).sum();
                    let fell = margin(&x) - margin(&centre);
                    assert!(fell >= fall - 1e-9, "{seed} {half} {k}: {fell} below {fall}");
                    if half < 0.01 && k.abs() == 20 {
                        fallen += fell;
                        said += fall;
                    }
                }
            }
        }
    }
    assert!(said < fallen && said > fallen - 0.05, "{said} against {fallen}");
}

/// In a ball without width the bounds close in on the gradient itself.
#[test]
fn gradient_bounds_of_a_point_are_tight() {
    let device = Device::cpu();
    for model in [conv_net(3), residual_net(3), pooled_net(3), averaged_net(3)] {
        let net = Network::new(&device, &model).unwrap();
        let x = image(&model, &mut Rng::new(3, 8));
        let gradient = deltamax::relevance::gradients(&net, &[&x], &[1]).unwrap().remove(0);
        let ball = Ball { image: &x, class: 1, delta: 0.0 };
        let bounds = Bounder::new(&net, Method::Ibp).unwrap().gradient_bounds(&[ball]).unwrap().remove(0);
        for (g, [low, high]) in gradient.iter().zip(bounds) {
            let near = |v: f64| (v - f64::from(*g)).abs() < 1e-3;
            assert!(near(low) && near(high), "{g}: {low} {high}");
        }
    }
}

/// Branch and bound proves balls that one pass of bounds does not, and none that holds a sampled point or a corner of
/// another class; what it calls broken is.
#[test]
fn branching_proves_more_and_nothing_false() {
    let device = Device::cpu();
    let (mut more, mut broken) = (0, 0);
    for seed in 0..4 {
        for model in [conv_net(seed), dense_net(seed), residual_net(seed), pooled_net(seed)] {
            let net = Network::new(&device, &model).unwrap();
            let bounder = Bounder::new(&net, Method::Crown).unwrap();
            let mut rng = Rng::new(seed, 8);
            let images: Vec<Vec<f32>> = (0..6).map(|_| image(&model, &mut rng)).collect();
            let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
            let subjects = search::Subject::classify(&net, &refs).unwrap();
            let mut radii = vec![];
            let settings = search::Settings::new(&bounder);
            search::search(&bounder, &settings, subjects.clone(), |_, found| {
                radii.push(found.proved);
                Ok(())
            })
            .unwrap();
            for factor in [1.05f32, 1.2, 1.5, 2.5] {
                let ball = |(s, r): (&'_ search::Subject, &f32)| (s.class, (r * factor).min(1.0));
                let asked: Vec<(usize, f32)> = subjects.iter().zip(&radii).map(ball).collect();
                let balls = images.iter().zip(&asked);
                let balls: Vec<Ball> = balls.map(|(image, &(class, delta))| Ball { image, class, delta }).collect();
                for (ball, (decision, used)) in balls.iter().zip(bounder.branch_balls(&balls, &[200; 6]).unwrap()) {
                    assert!(used <= 200);
                    let lead = |x: &[f32]| {
                        let y = deltamax::model::reference::forward(&model, x).pop().unwrap();
                        let rivals = (0..y.len()).filter(|&j| j != ball.class).map(|j| y[j]);
                        y[ball.class] - rivals.fold(f64::NEG_INFINITY, f64::max)
                    };
                    match decision {
                        Decision::Proved => {
                            more += usize::from(used > 0);
                            for _ in 0..300 {
                                let x = point(ball.image, ball.delta, &mut rng);
                                assert!(lead(&x) > 0.0, "{factor} times {}: {}", ball.delta / factor, lead(&x));
                            }
                        }
                        Decision::Broken(x) => {
                            broken += 1;
                            let far = x.iter().zip(ball.image).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                            assert!(lead(&x) < 1e-4 && far <= ball.delta * 1.001 + 1e-5, "{} at {far}", lead(&x));
                        }
                        Decision::Open => {}
                    }
                }
            }
        }
    }
    assert!(more > 30 && broken > 5, "{more} balls proved by branching, {broken} broken");
}
