//! Proofs for any f32 runtime: a network whose class real arithmetic keeps and f32 loses, and evaluations with sums in
//! many orders inside proved balls ("No Soundness in the Real World", arXiv 2506.01054, shows the difference).

use deltamax::audit;
use deltamax::bounds::{Ball, Bounder, Method, Runtime};
use deltamax::device::Device;
use deltamax::model::{Layer, Model, Node};
use deltamax::network::{Network, largest};
use deltamax::rng::Rng;
use deltamax::tensor::Shape;

use crate::nets::{mlp_of, weights};

/// Logit 0 is `h + n t - h` with `h = 1 + x`, each `t` less than half a unit in the last place of `h`; logit 1 is half
/// of `n t`.
fn absorbing(n: usize) -> Model {
    let t = 0.49 * f32::EPSILON;
    let mut first = (vec![0.0; n + 2], vec![1.0; n + 2]);
    (first.0[0], first.0[n + 1]) = (1.0, 1.0);
    let mut last = vec![t; n + 2];
    (last[0], last[n + 1]) = (1.0, -1.0);
    last.extend(vec![0.0; n + 2]);
    let bias = vec![0.0, 0.5 * n as f32 * t];
    mlp_of(1, &[first, (last, bias)])
}

/// The logits in f32, every sum in an order of its own; the first time in the order of the weights.
fn evaluate(model: &Model, image: &[f32], rng: &mut Rng, in_order: bool) -> Vec<f32> {
    let mut x = image.to_vec();
    for node in &model.nodes {
        x = match &node.layer {
            Layer::Dense(d) => d
                .weight
                .chunks(x.len())
                .zip(&d.bias)
                .map(|(row, bias)| {
                    let mut terms: Vec<f32> = row.iter().zip(&x).map(|(w, x)| w * x).chain([*bias]).collect();
                    if !in_order {
                        rng.shuffle(&mut terms);
                    }
                    terms.into_iter().fold(0.0, |sum, term| sum + term)
                })
                .collect(),
            Layer::Relu => x.iter().map(|v| v.max(0.0)).collect(),
            other => panic!("no {other:?} in these networks"),
        };
    }
    x
}

fn bounder(model: &Model, runtime: Runtime) -> Bounder {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let mut bounder = Bounder::new(&net, Method::Crown).unwrap();
    bounder.runtime = runtime;
    bounder
}

#[test]
fn a_class_that_real_arithmetic_keeps_and_f32_loses_is_proved_for_the_one_only() {
    let model = absorbing(4096);
    let image = [0.3];
    let ball = Ball { image: &image, class: 0, delta: 0.2 };
    let exact = &bounder(&model, Runtime::Exact).probe(&[ball]).unwrap()[0];
    assert_eq!(exact.radius, 0.2, "in real arithmetic the pixel does not matter");
    let logits = evaluate(&model, &image, &mut Rng::new(1, 1), true);
    assert_eq!(largest(&logits), 1, "f32 in the order of the weights absorbs every small term: {logits:?}");
    let any = &bounder(&model, Runtime::AnyF32).probe(&[ball]).unwrap()[0];
    assert_eq!(any.radius, 0.0);
    let audited = |model: &Model| audit::check(model, &image, 0, 0.2, audit::Method::Crown, None).unwrap();
    assert!(matches!(audited(&model), audit::Verdict::Proved { .. }));
    assert!(matches!(audited(&audit::any_f32(&model).unwrap()), audit::Verdict::NotProved { .. }));
}

#[test]
fn the_auditor_charges_sums_of_two_values() {
    let mut model = absorbing(1);
    model.nodes.push(Node { name: "sum".into(), layer: Layer::Add, inputs: vec![3, 3], shape: Shape::flat(2) });
    let deployed = audit::any_f32(&model).unwrap();
    deployed.validate().unwrap();
    assert_eq!(deployed.nodes.len(), model.nodes.len() + 1);
    assert_eq!(deployed.folded.iter().map(|f| f.node).collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn no_order_of_summation_loses_a_class_that_is_proved_for_all() {
    let mut rng = Rng::new(5, 2);
    let mut proved = 0;
    for _ in 0..30 {
        let sizes = [(30, 6), (20, 30), (3, 20)];
        let model = mlp_of(
            6,
            &sizes
                .map(|(outputs, inputs)| (weights(&mut rng, outputs * inputs, inputs), weights(&mut rng, outputs, 10))),
        );
        let image: Vec<f32> = (0..6).map(|_| rng.uniform()).collect();
        let class = largest(&evaluate(&model, &image, &mut rng, true));
        let ball = Ball { image: &image, class, delta: 0.1 };
        let radius = bounder(&model, Runtime::AnyF32).probe(&[ball]).unwrap()[0].radius;
        assert!(radius <= bounder(&model, Runtime::Exact).probe(&[ball]).unwrap()[0].radius);
        proved += usize::from(radius > 0.0);
        for _ in 0..200 {
            let point: Vec<f32> = image
                .iter()
                .map(|x| {
                    (x + if rng.below(2) == 0 { radius } else { -radius })
                        .clamp((x - radius).max(0.0), (x + radius).min(1.0))
                })
                .collect();
            assert!(radius == 0.0 || largest(&evaluate(&model, &point, &mut rng, false)) == class);
        }
    }
    assert!(proved >= 20, "only {proved} of 30 networks have anything proved");
}
