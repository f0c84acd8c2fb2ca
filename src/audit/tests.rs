//! The auditor against exact rational evaluation, against sampled points, and against false claims.

mod exact;
mod homes;
mod nets;

use exact::{forward_exact, rational};
use nets::{conv_net, dense_net, image, net, nets};

use super::bounds::Interval;
use super::rows::LANES;
use super::state::{Choice, State};
use super::walk::{self, Stop, Target};
use super::*;
use crate::model::reference::forward_f64;
use crate::model::{Conv, Dense, Folding, Layer};
use crate::rng::Rng;
use crate::tensor::Shape;

const METHODS: [Method; 3] = [Method::Ibp, Method::CrownIbp, Method::Crown];

/// A point of the clipped ball as f64, mostly a corner.
fn point(x: &[f32], radius: f64, rng: &mut Rng) -> Vec<f64> {
    let corner = rng.uniform() < 0.7;
    x.iter()
        .map(|&x| {
            let t = if corner { rng.below(2) as f64 * 2.0 - 1.0 } else { f64::from(rng.range(-1.0, 1.0)) };
            (f64::from(x) + 0.999_999_999 * t * radius).clamp(0.0, 1.0)
        })
        .collect()
}

fn predicted(model: &Model, x: &[f64]) -> usize {
    let y = forward_f64(model, x.to_vec()).pop().unwrap();
    (0..y.len()).max_by(|&a, &b| y[a].total_cmp(&y[b])).unwrap()
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

fn is_proved(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Proved { .. })
}

/// A certificate whose domains are changed is refused with these words.
fn refuses(model: &Model, x: &[f32], class: usize, sound: &Certificate, change: &dyn Fn(&mut Branches), what: &str) {
    let mut bad = sound.clone();
    change(bad.branches.as_mut().unwrap());
    let error = check(model, x, class, 1e-4, Method::Crown, Some(&bad)).unwrap_err().to_string();
    assert!(error.contains(what), "{error}");
}

/// The largest radius (to 1e-3) that the auditor proves.
fn reach(model: &Model, x: &[f32], class: usize, method: Method) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > 1e-3 * high && high > 1e-6 {
        let middle = 0.5 * (low + high);
        let verdict = check(model, x, class, middle, method, None).unwrap();
        if is_proved(verdict) { low = middle } else { high = middle }
    }
    low
}

#[test]
fn bounds_contain_exact_rational_values() {
    for seed in 0..3 {
        for model in nets(seed) {
            let mut rng = Rng::new(seed, 8);
            let x = image(&model, &mut rng);
            let class = predicted(&model, &doubles(&x));
            // Radius zero leaves nothing but rounding between the bounds.
            for radius in [0.0, 1e-9, 0.01, 0.2] {
                let points: Vec<_> = (0..4).map(|_| forward_exact(&model, &point(&x, radius, &mut rng))).collect();
                for method in METHODS {
                    let ball = Interval::ball(&x, Norm::Linf, radius);
                    let state = State::new(&model, ball.clone(), method, Choice::default()).unwrap();
                    let margins = state.margins(class, &ball, method);
                    for exact in &points {
                        for (value, exact) in state.values.iter().zip(exact) {
                            for (k, exact) in exact.iter().enumerate() {
                                assert!(rational(value.lower[k]) <= *exact && *exact <= rational(value.upper[k]));
                            }
                        }
                        let y = exact.last().unwrap();
                        for &(j, margin) in &margins {
                            assert!(rational(margin) <= &y[class] - &y[j], "{method:?} at {radius}");
                        }
                    }
                    if radius == 0.0 {
                        let wide = state.values.iter().flat_map(|v| v.lower.iter().zip(&v.upper));
                        wide.for_each(|(l, u)| assert!(u - l < 1e-9, "[{l}, {u}] around a point"));
                    }
                }
            }
        }
    }
}

#[test]
fn sampled_points_never_contradict_a_proof() {
    let mut proofs = 0;
    for seed in 10..16 {
        for model in nets(seed) {
            let mut rng = Rng::new(seed, 9);
            let x = image(&model, &mut rng);
            let class = predicted(&model, &doubles(&x));
            for method in METHODS {
                for radius in [0.003, 0.02, 0.06] {
                    let Verdict::Proved { worst_margin, .. } = check(&model, &x, class, radius, method, None).unwrap()
                    else {
                        continue;
                    };
                    proofs += 1;
                    for _ in 0..100 {
                        let y = forward_f64(&model, point(&x, radius, &mut rng)).pop().unwrap();
                        let rivals = (0..y.len()).filter(|&j| j != class);
                        rivals.for_each(|j| assert!(y[class] - y[j] > worst_margin - 1e-12));
                    }
                }
            }
        }
    }
    assert!(proofs > 60, "{proofs}");
}

/// Every network whose layers are as far from the stored ones as the record allows must keep the margins.
#[test]
fn folded_layers_are_charged() {
    let mut proofs = 0;
    for seed in 16..20 {
        for mut model in nets(seed) {
            let plain = model.clone();
            let weighted =
                model.nodes.iter().enumerate().filter(|(_, n)| matches!(n.layer, Layer::Conv(_) | Layer::Dense(_)));
            model.folded = weighted
                .map(|(node, _)| Folding { node, relative: 1e-3, absolute: 1e-3, ..Folding::default() })
                .collect();
            let mut rng = Rng::new(seed, 19);
            let x = image(&model, &mut rng);
            let class = predicted(&model, &doubles(&x));
            for (method, radius) in METHODS.into_iter().flat_map(|m| [(m, 0.0), (m, 0.01)]) {
                let margin = |model: &Model| match check(model, &x, class, radius, method, None).unwrap() {
                    Verdict::Proved { worst_margin, .. } | Verdict::NotProved { worst_margin, .. } => worst_margin,
                };
                let claimed = margin(&model);
                assert!(claimed < margin(&plain) - 1e-4, "{method:?}: folding costs nothing");
                proofs += usize::from(claimed > 0.0);
                for _ in 0..30 {
                    let file = moved(&plain, 0.999e-3, &mut rng);
                    let y = forward_f64(&file, point(&x, radius, &mut rng)).pop().unwrap();
                    let rivals = (0..y.len()).filter(|&j| j != class);
                    rivals.for_each(|j| assert!(y[class] - y[j] > claimed, "{method:?}"));
                }
            }
        }
    }
    assert!(proofs > 40, "{proofs}");
}

/// Weights moved by a share, biases by a distance and a share, each up or down.
fn moved(model: &Model, by: f32, rng: &mut Rng) -> Model {
    let mut model = model.clone();
    for node in &mut model.nodes {
        if let Layer::Conv(Conv { weight, bias, .. }) | Layer::Dense(Dense { weight, bias }) = &mut node.layer {
            let mut sign = || if rng.below(2) == 0 { by } else { -by };
            weight.iter_mut().for_each(|w| *w += sign() * *w);
            bias.iter_mut().for_each(|b| *b += sign() * b.abs() + sign());
        }
    }
    model
}

#[test]
fn methods_are_ordered_and_reach_far() {
    let mut sums = [0.0; 3];
    for seed in 20..25 {
        for model in nets(seed) {
            let x = image(&model, &mut Rng::new(seed, 10));
            let class = predicted(&model, &doubles(&x));
            METHODS.iter().zip(&mut sums).for_each(|(&m, sum)| *sum += reach(&model, &x, class, m));
        }
    }
    assert!(sums[0] < sums[1] && sums[1] < sums[2], "{sums:?}");
}

/// A dense network spelled as convolutions must give the same bounds: windows against whole layers.
#[test]
fn windows_bound_as_whole_layers_do() {
    for seed in 30..33 {
        let conv = conv_net(seed);
        let mut dense = conv.clone();
        for i in 0..dense.nodes.len() {
            let Layer::Conv(c) = &conv.nodes[i].layer else { continue };
            let (from, to) = (conv.shape(conv.nodes[i].inputs[0]), conv.nodes[i].shape);
            let plane = to.height * to.width;
            let mut weight = vec![0.0; from.len() * to.len()];
            for k in 0..from.len() {
                let mut unit = vec![0.0; from.len()];
                unit[k] = 1.0;
                let free = Layer::Conv(Conv { bias: vec![0.0; to.channels], ..c.clone() });
                let column = crate::model::reference::apply(&free, &[&unit], from, to);
                column.iter().enumerate().for_each(|(j, w)| weight[j * from.len() + k] = *w as f32);
            }
            let bias = (0..to.len()).map(|j| c.bias[j / plane]).collect();
            dense.nodes[i].layer = Layer::Dense(Dense { weight, bias });
        }
        let x = image(&conv, &mut Rng::new(seed, 11));
        for method in METHODS {
            let ball = Interval::ball(&x, Norm::Linf, 0.05);
            let margins = [&conv, &dense]
                .map(|m| State::new(m, ball.clone(), method, Choice::default()).unwrap().margins(0, &ball, method));
            for (a, b) in margins[0].iter().zip(&margins[1]) {
                assert!((a.1 - b.1).abs() < 1e-10 * (1.0 + a.1.abs()), "{method:?}: {a:?} {b:?}");
            }
        }
    }
}

/// Neuron bounds of several rows at once, whatever their number and order.
#[test]
fn rows_do_not_disturb_each_other() {
    let model = conv_net(3);
    let x = image(&model, &mut Rng::new(3, 12));
    let state = State::new(&model, Interval::ball(&x, Norm::Linf, 0.05), Method::Crown, Choice::default()).unwrap();
    let value = 3;
    let targets: Vec<Target> = (0..LANES).map(|k| vec![(3 * k % model.shape(value).len(), 1.0)]).collect();
    let together = walk::bound(&state, value, &targets, Stop::Input, &state.values[0]);
    for (target, both) in targets.iter().zip(together) {
        let alone = walk::bound(&state, value, std::slice::from_ref(target), Stop::Input, &state.values[0])[0];
        assert!((alone - both).abs() < 1e-11 && alone <= state.values[value].upper[target[0].0]);
    }
}

#[test]
fn a_linear_network_is_judged_exactly() {
    let mut b = net(Shape::flat(6), 4);
    b.dense(0, 2);
    let model = b.finish();
    let Layer::Dense(d) = &model.nodes[0].layer else { unreachable!() };
    let x = vec![0.5f32; 6];
    let y = forward_f64(&model, doubles(&x)).pop().unwrap();
    let class = usize::from(y[1] > y[0]);
    let slope: f64 = (0..6).map(|k| (f64::from(d.weight[k]) - f64::from(d.weight[6 + k])).abs()).sum();
    let radius = (y[class] - y[1 - class]) / slope;
    assert!(radius < 0.33, "the ball stays inside [0,1]");
    for method in METHODS {
        let verdict = |factor: f64| check(&model, &x, class, factor * radius, method, None).unwrap();
        assert!(is_proved(verdict(1.0 - 1e-9)));
        assert!(!is_proved(verdict(1.0 + 1e-9)) && !is_proved(verdict(1.5)));
    }
}

/// The auditor's own reach, and a real counterexample a little beyond.
#[test]
fn a_radius_with_a_counterexample_is_rejected() {
    let mut found = 0;
    for seed in 40..48 {
        let model = dense_net(seed);
        let mut rng = Rng::new(seed, 13);
        let x = image(&model, &mut rng);
        let class = predicted(&model, &doubles(&x));
        // The smallest radius at which one of many corners has another class.
        let flips = |radius: f64, rng: &mut Rng| (0..300).any(|_| predicted(&model, &point(&x, radius, rng)) != class);
        let Some(broken) = (1..60).map(|i| 0.01 * f64::from(i)).find(|&r| flips(r, &mut rng)) else { continue };
        found += 1;
        for method in METHODS {
            let proved = reach(&model, &x, class, method);
            assert!(proved < broken);
            assert!(!is_proved(check(&model, &x, class, broken, method, None).unwrap()));
            assert!(!is_proved(check(&model, &x, class, 1.5 * broken, method, None).unwrap()));
        }
    }
    assert!(found >= 3, "{found}");
}

fn claims(model: &Model, images: &[Vec<f32>], method: Method) -> Vec<Claim> {
    let claim = |(index, x): (usize, &Vec<f32>)| {
        let class = predicted(model, &doubles(x));
        let radius = (reach(model, x, class, method) - 1e-6).max(0.0);
        Claim { index, variance: 0.0, class, radius, method, certificate: None }
    };
    images.iter().enumerate().map(claim).collect()
}

#[test]
fn a_folder_of_claims_is_accepted_and_tampering_is_named() {
    let model = conv_net(50);
    let mut rng = Rng::new(50, 14);
    let images: Vec<Vec<f32>> = (0..8).map(|_| image(&model, &mut rng)).collect();
    let mut claims = claims(&model, &images, Method::Crown);
    claims.push(Claim { radius: 0.0, ..claims[0].clone() });
    let audit = |model: &Model, claims: &[Claim], sample| {
        folder(claims.to_vec(), model, Norm::Linf, |i, _| Ok(images[i].clone()), 2f64.powi(-24), sample, || {}).unwrap()
    };
    let report = audit(&model, &claims, Sample::All);
    assert_eq!((report.rows, report.zero, report.checked, report.accepted), (9, 1, 8, 8), "{:?}", report.failures);
    let report = audit(&model, &claims, Sample::Some { count: 3, seed: 1 });
    assert_eq!((report.checked, report.accepted), (3, 3));
    // One enlarged radius, one wrong class, radii that are none.
    for (tamper, reason) in [
        (Claim { radius: 1.5 * claims[2].radius, ..claims[2].clone() }, "not proved"),
        (Claim { class: (claims[2].class + 1) % 4, ..claims[2].clone() }, "not proved"),
        (Claim { radius: f64::NAN, ..claims[2].clone() }, "no radius"),
        (Claim { radius: -0.5, ..claims[2].clone() }, "no radius"),
        (Claim { class: 9, ..claims[2].clone() }, "class 9"),
    ] {
        let mut claims = claims.clone();
        claims[2] = tamper;
        let report = audit(&model, &claims, Sample::All);
        let indices: Vec<usize> = report.failures.iter().map(|f| f.index).collect();
        assert_eq!(indices, [2], "{reason}");
        assert!(report.failures[0].reason.contains(reason), "{}", report.failures[0].reason);
    }
    // A bias of the logits moved against the class of one image.
    let mut changed = model.clone();
    let Some(Layer::Dense(d)) = changed.nodes.last_mut().map(|n| &mut n.layer) else { unreachable!() };
    d.bias[claims[0].class] -= 3.0;
    let report = audit(&changed, &claims, Sample::All);
    assert!(report.failures.iter().any(|f| f.index == 0), "{report:?}");
    // A single weight of the first layer, by enough to matter.
    let mut changed = model.clone();
    let Layer::Conv(c) = &mut changed.nodes[0].layer else { unreachable!() };
    c.weight[4] += 1.0;
    assert!(!audit(&changed, &claims, Sample::All).failures.is_empty());
}

#[test]
fn any_slopes_in_range_are_sound_and_others_are_rejected() {
    let model = conv_net(60);
    let mut rng = Rng::new(60, 15);
    let x = image(&model, &mut rng);
    let class = predicted(&model, &doubles(&x));
    let ball = Interval::ball(&x, Norm::Linf, 0.05);
    let relu: Vec<usize> = (0..model.nodes.len()).filter(|&i| matches!(model.nodes[i].layer, Layer::Relu)).collect();
    for keep in [false, true, false, true] {
        let mut side = |n: usize| (0..n).map(|_| rng.uniform()).collect::<Vec<f32>>();
        let lists = relu.iter().map(|&node| {
            let n = model.nodes[node].shape.len();
            NodeSlopes { node, lower: side(n), upper: side(n) }
        });
        let relu_slopes: Vec<NodeSlopes> = lists.collect();
        // For the neurons of every layer that a ReLU reads, other slopes of the ReLUs below.
        let inner = relu.iter().skip(1).map(|&reader| {
            let lower = |&node: &usize| LowerSlopes { node, lower: side(model.nodes[node].shape.len()) };
            let below = relu.iter().filter(|&&node| node < reader - 1).map(lower);
            NeuronSlopes { node: reader - 1, relu: below.collect() }
        });
        let slopes = Certificate { relu: relu_slopes, inner: inner.collect(), ..Certificate::default() };
        super::certificate::check(&slopes, &model, Norm::Linf).unwrap();
        let state = State::new(
            &model,
            ball.clone(),
            Method::Crown,
            Choice { certificate: Some(&slopes), keep, ..Choice::default() },
        )
        .unwrap();
        let margins = state.margins(class, &ball, Method::Crown);
        for _ in 0..100 {
            let y = forward_f64(&model, point(&x, 0.05, &mut rng)).pop().unwrap();
            margins.iter().for_each(|&(j, m)| assert!(m <= y[class] - y[j]));
        }
        let text = serde_json::to_string(&slopes).unwrap();
        assert_eq!(serde_json::from_str::<Certificate>(&text).unwrap(), slopes);
        let refused = |change: &dyn Fn(&mut Certificate), what: &str| {
            let mut bad = slopes.clone();
            change(&mut bad);
            let error = check(&model, &x, class, 1e-4, Method::Crown, Some(&bad)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        // Interval bounds have no lines to exchange.
        check(&model, &x, class, 1e-4, Method::Ibp, Some(&slopes)).unwrap();
        refused(&|s| s.relu[1].lower[7] = 1.0001, "neuron 7 of 'n3'");
        refused(&|s| s.relu[0].upper[2] = -1e-6, "neuron 2 of 'n1'");
        refused(&|s| s.relu[0].upper[2] = f32::NAN, "neuron 2 of 'n1'");
        refused(&|s| s.relu[2].node = 4, "no ReLU");
        refused(&|s| s.relu[2].node = 99, "no node 99");
        refused(&|s| _ = s.relu[2].upper.pop(), "upper slopes");
        refused(&|s| s.inner[1].relu[0].lower[3] = 1.5, "neuron 3 of 'n1'");
        refused(&|s| s.inner[1].node = s.inner[0].node, "listed twice");
    }
}

/// Whatever the slopes and multipliers, the bound of a domain holds at every point of the ball that lies in it.
/// None, or any numbers.
fn anchor(model: &Model, rng: &mut Rng) -> Vec<i8> {
    let inputs = if rng.below(3) == 0 { 0 } else { model.input.len() };
    (0..inputs).map(|_| rng.below(256) as u8 as i8).collect()
}

#[test]
fn domains_with_any_multipliers_are_sound_and_others_are_rejected() {
    let radius = 0.15;
    let mut inside = 0;
    for (seed, model) in (0..4).flat_map(|seed| [(seed, conv_net(90 + seed)), (seed, dense_net(90 + seed))]) {
        let mut rng = Rng::new(90 + seed, 17);
        let x = image(&model, &mut rng);
        let class = predicted(&model, &doubles(&x));
        let ball = Interval::ball(&x, Norm::Linf, radius);
        // Slopes for stable neurons as well.
        let keep = seed % 2 == 1;
        let state = State::new(&model, ball.clone(), Method::Crown, Choice { keep, ..Choice::default() }).unwrap();
        let reads = |node: usize| model.nodes[node].inputs[0];
        let relus = (0..model.nodes.len()).filter(|&i| matches!(model.nodes[i].layer, Layer::Relu));
        let neurons = relus.flat_map(|i| (0..model.nodes[i].shape.len()).map(move |k| (i, k)));
        let crossed =
            |&(i, k): &(usize, usize)| state.values[reads(i)].lower[k] < 0.0 && state.values[reads(i)].upper[k] > 0.0;
        let unstable: Vec<(usize, usize)> = neurons.filter(|at| keep || crossed(at)).collect();
        let tries = if unstable.is_empty() { 0 } else { 20 };
        for _ in 0..tries {
            let assumed = (0..1 + rng.below(3)).map(|_| {
                let (node, neuron) = unstable[rng.below(unstable.len())];
                let beta = if rng.below(3) == 0 { 0.0 } else { 0.3 * rng.uniform() };
                Assumed { node, neuron, active: rng.below(2) == 0, beta }
            });
            let assumed: Vec<Assumed> = assumed.collect();
            let slopes = unstable.iter().map(|_| rng.below(256) as u8).collect();
            let rival = (class + 1) % model.outputs();
            let leaf = Leaf { rival, home: None, assumed, slopes, anchor: anchor(&model, &mut rng) };
            let bound = branches::bounds(&state, class, &ball, &unstable, &[&leaf])[0];
            assert!(bound.is_finite());
            for _ in 0..60 {
                let values = forward_f64(&model, point(&x, radius, &mut rng));
                let agrees = |a: &Assumed| {
                    let z = values[reads(a.node)][a.neuron];
                    if a.active { z >= 0.0 } else { z <= 0.0 }
                };
                if leaf.assumed.iter().all(agrees) {
                    inside += 1;
                    let y = &values[model.output()];
                    assert!(bound <= y[class] - y[leaf.rival]);
                }
            }
            let whole = |rival| Leaf { rival, assumed: vec![], ..leaf.clone() };
            let leaves = (0..model.outputs()).map(whole).collect();
            let branches = Some(Branches { unstable: unstable.clone(), leaves, homes: vec![], renewed: vec![] });
            let sound = Certificate { branches, ..Certificate::default() };
            check(&model, &x, class, 1e-4, Method::Crown, Some(&sound)).unwrap();
            let refused = |change: &dyn Fn(&mut Branches), what: &str| refuses(&model, &x, class, &sound, change, what);
            let (last, first) = (model.outputs() - 1, usize::from(class == 0));
            refused(
                &|b| b.leaves[last].assumed = leaf.assumed.iter().map(|a| Assumed { beta: -0.1, ..*a }).collect(),
                "multiplier -0.1",
            );
            refused(&|b| b.leaves[first].assumed.push(leaf.assumed[0]), &format!("class {first} do not cover"));
            refused(&|b| _ = b.leaves.remove(first), &format!("class {first} do not cover"));
            refused(&|b| _ = b.leaves[last].slopes.pop(), "slopes, needs");
            refused(&|b| b.leaves[last].anchor = vec![1], "an anchor of 1 inputs");
            refused(&|b| b.unstable[0].0 = 0, "no ReLU has the node 0");
        }
    }
    assert!(inside > 500, "{inside} points lay in a domain");
}

/// The standard slopes, given as a certificate, prove what the auditor proves on its own.
#[test]
fn standard_slopes_as_a_certificate_change_little() {
    let model = dense_net(70);
    let x = image(&model, &mut Rng::new(70, 16));
    let class = predicted(&model, &doubles(&x));
    let radius = 0.99 * reach(&model, &x, class, Method::Crown);
    let state = State::new(&model, Interval::ball(&x, Norm::Linf, radius), Method::Crown, Choice::default()).unwrap();
    let lists = state.lines.iter().enumerate().filter_map(|(node, lines)| {
        let lines = lines.as_ref()?;
        let side = |f: fn(&super::lines::Line) -> f64| lines.iter().map(|l| f(l) as f32).collect();
        Some(NodeSlopes { node, lower: side(|l| l.lower), upper: side(|l| l.upper) })
    });
    let slopes = Certificate { relu: lists.collect(), ..Certificate::default() };
    assert!(is_proved(check(&model, &x, class, radius, Method::Crown, Some(&slopes)).unwrap()));
}

#[test]
fn nonsense_and_overflow_are_errors() {
    let mut model = dense_net(80);
    let x = vec![0.5f32; 5];
    let ask = |model: &Model, x: &[f32], radius| check(model, x, 0, radius, Method::Crown, None);
    assert!(ask(&model, &x[..4], 0.1).is_err());
    assert!(ask(&model, &[0.5, 0.5, 0.5, 0.5, 1.5], 0.1).is_err());
    assert!(ask(&model, &[0.5, 0.5, 0.5, 0.5, f32::NAN], 0.1).is_err());
    for radius in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(ask(&model, &x, radius).is_err());
    }
    let Layer::Dense(d) = &mut model.nodes[0].layer else { unreachable!() };
    d.weight[0] = f32::NAN;
    assert!(ask(&model, &x, 0.1).is_err());
    let mut b = net(Shape::flat(5), 81);
    let mut v = 0;
    for _ in 0..3 {
        v = b.dense(v, 5);
        let Layer::Dense(d) = &mut b.model.nodes[v - 1].layer else { unreachable!() };
        d.weight.iter_mut().for_each(|w| *w = 3e38);
    }
    let error = ask(&b.finish(), &x, 0.1).unwrap_err().to_string();
    assert!(error.contains("n1") && error.contains("cannot be audited"), "{error}");
}
