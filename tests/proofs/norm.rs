//! Euclidean balls: radii hold on the sphere, are exact where the network is linear, grow by branching, stay below what an
//! attack reaches, and are accepted by the auditor.

use deltamax::attack;
use deltamax::audit::{self, Verdict};
use deltamax::bounds::{Bounder, Method};
use deltamax::close::{self, Bracket};
use deltamax::device::Device;
use deltamax::model::{Layer, Model, reference};
use deltamax::network::Network;
use deltamax::norm::Norm;
use deltamax::rng::Rng;
use deltamax::search::{self, Found, Settings, Subject};
use deltamax::tensor::Shape;

use crate::nets::{Net, mlp};

/// Two convolutions joined by a sum, a pooling, two dense layers.
fn network(seed: u64) -> Model {
    let mut b = Net { gain: 2.5, ..Net::new(Shape::new(1, 6, 6), Rng::new(seed, 5)) }.with_bias(0.3);
    let first = b.conv3x3(0, 4);
    let v = b.same(Layer::Relu, &[first]);
    let v = b.conv3x3(v, 4);
    let v = b.same(Layer::Add, &[v, first]);
    let v = b.same(Layer::Relu, &[v]);
    let v = b.dense(v, 10);
    let v = b.same(Layer::Relu, &[v]);
    b.dense(v, 3);
    b.finish()
}

/// Some pixels at their ends, which go one way only.
fn images(count: usize) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(8, 6);
    (0..count).map(|_| (0..36).map(|_| rng.range(-0.3, 1.3).clamp(0.0, 1.0)).collect()).collect()
}

fn found(bounder: &Bounder, subjects: &[Subject]) -> Vec<Found> {
    let mut all = vec![];
    search::search(bounder, &Settings::new(bounder), subjects.to_vec(), |_, f| {
        all.push(f);
        Ok(())
    })
    .unwrap();
    all
}

fn keeps(model: &Model, image: &[f32], class: usize) -> bool {
    let scores = reference::forward(model, image).pop().unwrap();
    scores.iter().enumerate().all(|(j, s)| j == class || *s < scores[class])
}

/// On the sphere around an image, or inside where pixels were stopped.
fn on_sphere(image: &[f32], radius: f32, rng: &mut Rng) -> Vec<f32> {
    let mut x: Vec<f32> = image.iter().map(|x| x + rng.normal()).collect();
    Norm::L2.pull(&mut x, image, radius * (1.0 - 1e-6));
    x
}

#[test]
fn radii_hold_by_every_method_and_the_auditor_agrees() {
    let images = images(6);
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    for seed in 0..3 {
        let model = network(seed);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let subjects = Subject::classify(&net, &refs).unwrap();
        let classes: Vec<usize> = subjects.iter().map(|s| s.class).collect();
        let hits = attack::attack(&net, Norm::L2, &refs, &classes, &[], &attack::Settings::default()).unwrap();
        let mut medians = vec![];
        for method in Method::ALL {
            let bounder = Bounder::new(&net, method).unwrap().for_norm(Norm::L2);
            let found = found(&bounder, &subjects);
            let mut rng = Rng::new(seed, 7);
            for ((subject, found), hit) in subjects.iter().zip(&found).zip(&hits) {
                let (image, class, radius) = (&subject.image, subject.class, found.proved);
                assert!(radius > 0.0, "{method}");
                for _ in 0..200 {
                    assert!(
                        keeps(&model, &on_sphere(image, radius, &mut rng), class),
                        "{method}: lost within {radius}"
                    );
                }
                if let Some(hit) = hit {
                    assert!(hit.distance > radius && !keeps(&model, &hit.image, class), "{method}");
                    assert!(Norm::L2.distance(&hit.image, image) <= hit.distance);
                }
                if method != Method::Alpha {
                    let ask = |radius: f32| {
                        let method = method.to_string().parse().unwrap();
                        audit::check_ball(&model, image, class, Norm::L2, radius.into(), method, None)
                    };
                    assert!(
                        matches!(ask(radius), Ok(Verdict::Proved { .. })),
                        "{method}: {:?} of {radius}",
                        ask(radius)
                    );
                    assert!(!matches!(ask(1.5 * radius), Ok(Verdict::Proved { .. })), "{method}: {radius}");
                }
            }
            let mut all: Vec<f32> = found.iter().map(|f| f.proved).collect();
            all.sort_by(f32::total_cmp);
            medians.push(all[3]);
        }
        assert!(hits.iter().flatten().count() >= 3 && medians.windows(2).all(|m| m[1] >= 0.98 * m[0]), "{medians:?}");
        assert!(medians[2] > 1.3 * medians[0], "{medians:?}");
    }
}

/// The distance to a plane.
#[test]
fn linear_networks_are_bounded_exactly() {
    let mut rng = Rng::new(4, 1);
    let weights: Vec<f32> = (0..40).map(|_| rng.normal()).collect();
    let model = mlp(20, &[(&weights, &[0.3, -0.2])]);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let image: Vec<f32> = (0..20).map(|_| rng.range(0.4, 0.6)).collect();
    let subjects = Subject::classify(&net, &[&image]).unwrap();
    let (class, rival) = (subjects[0].class, 1 - subjects[0].class);
    let normal: f64 = (0..20).map(|k| f64::from(weights[class * 20 + k] - weights[rival * 20 + k]).powi(2)).sum();
    let scores = reference::forward(&model, &image).pop().unwrap();
    let exact = (scores[class] - scores[rival]) / normal.sqrt();
    assert!(exact < 0.4, "the ball is inside of what pixels can be");
    for method in Method::ALL {
        let bounder = Bounder::new(&net, method).unwrap().for_norm(Norm::L2);
        let proved = f64::from(found(&bounder, &subjects)[0].proved);
        assert!(proved <= exact && proved >= 0.999 * exact, "{method}: {proved} of {exact}");
    }
}

#[test]
fn branching_goes_on_from_there() {
    let images = images(4);
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let model = network(7);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let bounder = Bounder::new(&net, Method::Crown).unwrap().for_norm(Norm::L2);
    let subjects = Subject::classify(&net, &refs).unwrap();
    let bracket = |f: &Found| Bracket { proved: f.proved, attacked: None };
    let before: Vec<Bracket> = found(&bounder, &subjects).iter().map(bracket).collect();
    let settings = close::Settings { domains: 600, seconds: None, tolerance: 0.01 };
    let closed = close::close(&bounder, &settings, &subjects, &before, &vec![0.0; subjects.len()]).unwrap();
    let mut rng = Rng::new(3, 7);
    let mut gained = 0;
    for ((subject, old), close::Closed { bracket: new, .. }) in subjects.iter().zip(&before).zip(&closed) {
        gained += usize::from(new.proved > 1.05 * old.proved);
        assert!(new.proved >= old.proved && new.attacked.is_none_or(|(distance, _)| distance > new.proved));
        for _ in 0..500 {
            assert!(keeps(&model, &on_sphere(&subject.image, new.proved, &mut rng), subject.class));
        }
    }
    assert!(gained >= 2, "{before:?} {closed:?}");
}
