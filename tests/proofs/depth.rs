//! Rows of neurons that end after some nonlinear layers: their bounds hold, lie between those of intervals and those of
//! whole walks, and the auditor proves what rests on them; and a time per image that is kept.

use deltamax::audit::{self, Verdict};
use deltamax::bounds::{Ball, Bounder, Method};
use deltamax::certify::depth;
use deltamax::device::Device;
use deltamax::model::{Model, reference};
use deltamax::network::Network;
use deltamax::norm::Norm;
use deltamax::rng::Rng;
use deltamax::search::{self, Found, Settings, Subject};
use deltamax::tensor::Shape;

use crate::nets::{Net, image, point};

/// A stem and three residual blocks: seven nonlinear layers, of which rows may end at four only.
fn residual(seed: u64) -> Model {
    let mut b = Net::new(Shape::new(1, 6, 6), Rng::new(seed, 21)).with_bias(0.2);
    let mut v = b.conv3x3(0, 3);
    v = b.relu(v);
    for _ in 0..3 {
        v = b.residual(v);
        v = b.relu(v);
    }
    b.dense(v, 3);
    b.finish()
}

/// Pooling of both kinds before and between residual blocks, so wide that rows keep to patches through both.
fn pooled(seed: u64) -> Model {
    let mut b = Net::new(Shape::new(1, 24, 24), Rng::new(seed, 24)).with_bias(0.2);
    let mut v = b.conv3x3(0, 2);
    v = b.relu(v);
    v = b.max_pool(v, [3, 3], [2, 2], [1, 1]);
    v = b.conv3x3(v, 2);
    v = b.relu(v);
    v = b.residual(v);
    v = b.average_pool(v, [2, 2], [2, 2], [0, 0], false);
    v = b.relu(v);
    v = b.conv(v, 2, [3, 3], [2, 2], [1, 1]);
    v = b.relu(v);
    b.dense(v, 3);
    b.finish()
}

fn bounder(net: &Network, method: Method, depth: Option<usize>) -> Bounder {
    let mut bounder = Bounder::new(net, method).unwrap();
    bounder.depth = depth;
    bounder
}

fn found(bounder: &Bounder, settings: &Settings, subjects: &[Subject]) -> Vec<Found> {
    let mut all = vec![];
    search::search(bounder, settings, subjects.to_vec(), |_, f| {
        all.push(f);
        Ok(())
    })
    .unwrap();
    all
}

/// Points of the proved ball keep their class, and the auditor proves it too.
fn check(model: &Model, subject: &Subject, found: &Found, audited: audit::Method, rng: &mut Rng, what: &str) {
    for _ in 0..20 {
        let scores = reference::forward(model, &point(&subject.image, found.proved, rng)).pop().unwrap();
        let top = scores[subject.class];
        assert!((0..3).all(|j| j == subject.class || scores[j] < top), "{what}");
    }
    let radius = f64::from(found.proved) * 0.998;
    let verdict = audit::check_ball(model, &subject.image, subject.class, Norm::Linf, radius, audited, None).unwrap();
    assert!(found.proved == 0.0 || matches!(verdict, Verdict::Proved { .. }), "{what}: {verdict:?}");
}

#[test]
fn deeper_rows_prove_more_at_a_higher_price_and_the_auditor_agrees() {
    let (mut radii, mut work) = ([0.0f64; 5], [0u64; 5]);
    for seed in 0..4 {
        let model = residual(seed);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let mut rng = Rng::new(seed, 22);
        let images: Vec<Vec<f32>> = (0..4).map(|_| image(&model, &mut rng)).collect();
        let views: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        let subjects = Subject::classify(&net, &views).unwrap();
        let kinds = [
            (Method::CrownIbp, None, audit::Method::CrownIbp),
            (Method::Crown, Some(1), audit::Method::CrownNearest(1)),
            (Method::Crown, Some(3), audit::Method::CrownNearest(3)),
            (Method::Crown, Some(5), audit::Method::CrownNearest(5)),
            (Method::Crown, None, audit::Method::Crown),
        ];
        for (at, (method, depth, audited)) in kinds.into_iter().enumerate() {
            let bounder = bounder(&net, method, depth);
            let all = found(&bounder, &Settings::new(&bounder), &subjects);
            work[at] += bounder.products();
            for (found, subject) in all.iter().zip(&subjects) {
                radii[at] += f64::from(found.proved).max(1e-6).ln();
                check(&model, subject, found, audited, &mut rng, &format!("{seed} {method} {depth:?}"));
            }
        }
    }
    assert!(radii.windows(2).all(|r| r[0] < r[1]), "{radii:?}");
    // From one row per neuron on, the price rises with the layers.
    assert!(work[1] > work[0] && work[2] > work[1] && work[3] > work[2], "{work:?}");
}

#[test]
fn rows_that_keep_to_patches_through_pooling_prove_what_holds_at_the_price_expected() {
    let mut proved = 0;
    for seed in 0..3 {
        let model = pooled(seed);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let mut rng = Rng::new(seed, 25);
        let pixels = image(&model, &mut rng);
        let subject = Subject::classify(&net, &[&pixels]).unwrap().remove(0);
        for depth in [1, 2, 4] {
            let bounder = bounder(&net, Method::Crown, Some(depth));
            let found = found(&bounder, &Settings::new(&bounder), std::slice::from_ref(&subject)).remove(0);
            let each = bounder.products() as f64 / f64::from(found.probes) / bounder.price(Some(depth));
            assert!((0.6..1.4).contains(&each), "{seed} {depth}: {each} of what was expected");
            let audited = audit::Method::CrownNearest(depth);
            check(&model, &subject, &found, audited, &mut rng, &format!("{seed} {depth}"));
            proved += usize::from(found.proved > 1e-4);
        }
    }
    assert!(proved >= 6, "{proved}");
}

#[test]
fn a_time_per_image_chooses_the_depth_and_ends_the_search() {
    let model = residual(1);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let pixels = image(&model, &mut Rng::new(1, 23));
    let subject = Subject::classify(&net, &[&pixels]).unwrap().remove(0);
    let bounder = bounder(&net, Method::Crown, None);
    assert!(search::is_deep(&bounder) && bounder.nonlinear_layers() == 7);
    let depth = |seconds: f64| depth::choose(&bounder, &subject, seconds).unwrap();
    assert_eq!(depth(1e-9).depth, Some(1));
    let all = depth(1e4);
    assert!(all.depth.is_none() && all.expected > 0.0);

    // Out of time at once: what is cheapest is proved, and that is no fault.
    let settings = Settings { seconds: Some(1e-9), ..Settings::new(&bounder) };
    let short = found(&bounder, &settings, &[subject.clone(), subject.clone()]);
    let cheap = self::bounder(&net, Method::CrownIbp, None);
    let least = found(&cheap, &Settings::new(&cheap), std::slice::from_ref(&subject)).remove(0).proved;
    assert!(least > 0.0 && short.len() == 2);
    assert!(short.iter().all(|f| f.proved == least && f.probes == 0), "{short:?}");
    let long = found(&bounder, &Settings { seconds: Some(1e3), ..settings }, std::slice::from_ref(&subject)).remove(0);
    let free = found(&bounder, &Settings::new(&bounder), std::slice::from_ref(&subject)).remove(0);
    // It starts from another ball, and ends within the tolerance of the same radius.
    assert!((long.proved - free.proved).abs() <= 1e-3 * free.proved, "{long:?} {free:?}");
    assert!(long.proved > least && long.seconds > 0.0, "{long:?}");
    let outcome = bounder.probe(&[Ball { image: &pixels, class: subject.class, delta: long.ball }]).unwrap().remove(0);
    assert_eq!(outcome.radius, long.proved);
}
