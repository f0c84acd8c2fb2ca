//! Gaussian noise: what is proved of it is never beyond what is measured, and is exact enough to be of use.

use deltamax::audit;
use deltamax::bounds::{Bounder, Method};
use deltamax::device::Device;
use deltamax::model::{Layer, Model, reference};
use deltamax::network::Network;
use deltamax::noise::measured::{self, Settings};
use deltamax::noise::{Proved, certificate, largest, least};
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
                    let p = p.risk;
                    let m = measured::measure(&net, subject, i as u32, variance.sqrt(), &settings).unwrap();
                    assert!(m.low <= p, "{method} at {variance}: proved {p}, measured {m:?}");
                    proved += usize::from(p <= 0.01);
                }
            }
            kept.push(proved);
            for (subject, found) in all.iter().zip(largest(&bounder, &all, 0.01).unwrap()) {
                if found.sigma > 0.0 {
                    assert!(
                        measured::measure(&net, subject, 7, found.sigma, &settings).unwrap().low <= 0.01,
                        "{method}"
                    );
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
    let proved = least(&bounder, &[&subjects[0]], sigma).unwrap()[0].risk;
    let tail = (-0.5 * reach * reach).exp();
    assert!(proved >= tail && proved <= tail * 1.05 + 1e-9, "{proved} against {tail}, {reach} deviations");
    let risk = 0.01f64;
    let found = largest(&bounder, &[&subjects[0]], risk).unwrap()[0].sigma;
    let exact = reach * sigma / (2.0 * (1.0 / risk).ln()).sqrt();
    assert!(found <= exact && found > 0.95 * exact || exact > 0.12, "{found} of {exact}");
}

/// Max pooling between two rows of neurons.
fn pooled(seed: u64) -> Model {
    let mut b = Net { gain: 1.5, ..Net::new(Shape::new(1, 6, 6), Rng::new(seed, 5)) }.with_bias(0.3);
    let v = b.conv3x3(0, 3);
    let v = b.same(Layer::Relu, &[v]);
    let v = b.max_pool(v, [2, 2], [2, 2], [0, 0]);
    let v = b.dense(v, 8);
    let v = b.same(Layer::Relu, &[v]);
    b.dense(v, 3);
    b.finish()
}

#[test]
fn the_auditor_proves_probabilities_again_and_nothing_that_was_altered() {
    let images = images(8);
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let (mut proved_again, mut refused, mut altered) = (0, 0, 0);
    for model in [network(0), network(1), pooled(2)] {
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let subjects = Subject::classify(&net, &refs).unwrap();
        let all: Vec<&Subject> = subjects.iter().collect();
        for method in [Method::CrownIbp, Method::Crown, Method::Alpha] {
            let bounder = Bounder::new(&net, method).unwrap();
            let rows = [1e-4f64, 1e-3].map(|variance| least(&bounder, &all, variance.sqrt()).unwrap()).concat();
            let rows = rows.into_iter().chain(largest(&bounder, &all, 0.01).unwrap()).enumerate();
            for (i, row) in rows.filter(|(_, row)| row.risk < 1.0 && row.sigma > 0.0).map(|(i, row)| (i % 8, row)) {
                let (risk, found) = certificate(&bounder, all[i], &row).unwrap();
                assert_eq!(risk, row.risk, "{method}: the same twice");
                // Through the file's format.
                let found: audit::NoiseCertificate =
                    serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
                let ask = |image: usize, class: usize, sigma: f64, certificate: &audit::NoiseCertificate| {
                    let method = method.to_string().parse().unwrap();
                    audit::risk(&model, &images[image], class, [sigma, 6e-8], method, certificate, risk).unwrap()
                };
                let class = all[i].class;
                let again = ask(i, class, row.sigma, &found);
                assert!(again <= risk, "{method} at {}: {again} beyond {risk}", row.sigma);
                // It is about as good, and not by chance: what the auditor saves are shares of roundings.
                assert!(again > 0.5 * risk - 1e-12, "{method} at {}: {again} far below {risk}", row.sigma);
                proved_again += 1;
                // Other noise, another image, another class, rows that stray less or are left out.
                altered += 5;
                let less = audit::NoiseCertificate { deviations: 0.9 * found.deviations, ..found.clone() };
                let none = audit::NoiseCertificate { rows: vec![], again: vec![], ..found.clone() };
                refused += usize::from(ask(i, class, 1.2 * row.sigma, &found) > risk);
                refused += usize::from(ask((i + 1) % 8, class, row.sigma, &found) > risk);
                refused += usize::from(ask(i, (class + 1) % 3, row.sigma, &found) > risk);
                refused += usize::from(ask(i, class, row.sigma, &less) > risk);
                refused += usize::from(ask(i, class, row.sigma, &none) > risk);
            }
        }
    }
    assert!(proved_again > 60 && refused > altered * 8 / 10, "{refused} of {altered} refused, {proved_again} proved");
    // What makes no sense is an error.
    let model = network(0);
    let ask = |certificate: &audit::NoiseCertificate, sigma: f64| {
        audit::risk(&model, &images[0], 0, [sigma, 0.0], audit::Method::Crown, certificate, 1.0)
    };
    let rows = vec![audit::NeuronRows { node: 0, below: vec![9999], above: vec![] }];
    let wrong = audit::NoiseCertificate { rows, ..Default::default() };
    assert!(ask(&wrong, 0.1).unwrap_err().to_string().contains("no neuron 9999"));
    let wrong = audit::NoiseCertificate { deviations: f64::NAN, ..Default::default() };
    assert!(ask(&wrong, 0.1).unwrap_err().to_string().contains("stray"));
    assert!(ask(&Default::default(), 0.0).unwrap_err().to_string().contains("no deviation"));
    let nothing = Proved { sigma: 0.0, risk: 1.0, deviations: 0.0 };
    assert!(nothing.risk >= ask(&Default::default(), 0.1).unwrap());
}
