//! Gaussian noise: what is proved of it is never beyond what is measured, and is exact enough to be of use.

use deltamax::bounds::{Bounder, Method};
use deltamax::device::Device;
use deltamax::model::{Layer, Model, reference};
use deltamax::network::Network;
use deltamax::noise::measured::{self, Settings};
use deltamax::noise::{largest, least};
use deltamax::rng::Rng;
use deltamax::search::Subject;
use deltamax::tensor::Shape;

use crate::nets::{Net, mlp};

fn network(seed: u64) -> Model {
    let mut b = Net { gain: 1.5, ..Net::new(Shape::new(1, 6, 6), Rng::new(seed, 5)) }.with_bias(0.3);
    let v = b.conv3x3(0, 4);
    let v = b.same(Layer::Relu, &[v]);
    let v = b.dense(v, 10);
    let v = b.same(Layer::Relu, &[v]);
    b.dense(v, 3);
    b.finish()
}

/// Pixels at their ends among others: those are clipped.
fn images(count: usize) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(9, 6);
    (0..count).map(|_| (0..36).map(|_| rng.range(-0.5, 1.5).clamp(0.0, 1.0)).collect()).collect()
}

#[test]
fn draws_never_contradict_what_is_proved() {
    let images = images(8);
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let settings = Settings { draws: 4000, confidence: 0.9999, risk: None, seed: 1 };
    for seed in 0..2 {
        let net = Network::new(&Device::cpu(), &network(seed)).unwrap();
        let subjects = Subject::classify(&net, &refs).unwrap();
        let all: Vec<&Subject> = subjects.iter().collect();
        let mut kept = vec![];
        for method in Method::ALL {
            let bounder = Bounder::new(&net, method).unwrap();
            let mut proved = 0;
            for variance in [1e-4f64, 1e-3, 1e-2] {
                for (i, (subject, p)) in all.iter().zip(least(&bounder, &all, variance.sqrt()).unwrap()).enumerate() {
                    let m = measured::measure(&net, subject, i as u32, variance.sqrt(), &settings).unwrap();
                    assert!(m.low <= p, "{method} at {variance}: proved {p}, measured {m:?}");
                    proved += usize::from(p <= 0.01);
                }
            }
            kept.push(proved);
            for (subject, sigma) in all.iter().zip(largest(&bounder, &all, 0.01).unwrap()) {
                if sigma > 0.0 {
                    assert!(measured::measure(&net, subject, 7, sigma, &settings).unwrap().low <= 0.01, "{method}");
                }
            }
        }
        assert!(kept[2] >= 8 && kept.is_sorted() && kept[3] < 24, "{kept:?}");
    }
}

/// With one linear form and pixels far from their ends the truth is a normal tail.
#[test]
fn one_form_is_bounded_by_its_tail() {
    let mut rng = Rng::new(4, 1);
    let weights: Vec<f32> = (0..40).map(|_| rng.normal()).collect();
    let model = mlp(20, &[(&weights, &[0.3, -0.2])]);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let image = vec![0.5f32; 20];
    let subjects = Subject::classify(&net, &[&image]).unwrap();
    let scores = reference::forward(&model, &image).pop().unwrap();
    let class = subjects[0].class;
    let norm: f64 = (0..20).map(|k| f64::from(weights[k] - weights[20 + k]).powi(2)).sum::<f64>().sqrt();
    let sigma = 0.05;
    let reach = (scores[class] - scores[1 - class]) / (norm * sigma);
    let bounder = Bounder::new(&net, Method::Crown).unwrap();
    let proved = least(&bounder, &[&subjects[0]], sigma).unwrap()[0];
    let tail = (-0.5 * reach * reach).exp();
    assert!(proved >= tail && proved <= tail * 1.05 + 1e-9, "{proved} against {tail}, {reach} deviations");
    let risk = 0.01f64;
    let found = largest(&bounder, &[&subjects[0]], risk).unwrap()[0];
    let exact = reach * sigma / (2.0 * (1.0 / risk).ln()).sqrt();
    assert!(found <= exact && found > 0.95 * exact || exact > 0.12, "{found} of {exact}");
}
