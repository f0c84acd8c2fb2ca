//! A made-up study with every part filled, to test and to look at the page without running anything.

use crate::results::*;
use crate::rng::Rng;
use crate::tensor::Shape;

const SIDE: usize = 48;
const VARIANCES: [f64; 4] = [0.0, 0.001, 0.005, 0.025];
const IMAGES: usize = 500;
const TOTALS: [usize; 4] = [55, 15, 300, 130];
const CLASSES: [&str; 4] = ["Sandals", "Slippers", "Shoes", "Boots"];

/// A blob that resembles a shoe: a sole and, by class, a shaft; noisy on request.
fn photo(class: usize, seed: u64, variance: f64) -> Picture {
    let mut rng = Rng::new(seed, 1);
    let hue = [rng.range(0.1, 0.7), rng.range(0.1, 0.7), rng.range(0.1, 0.7)];
    let mut values = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let inside = object(class, x, y);
            for h in hue {
                let clean = if inside { h + 0.15 * (y as f32 / SIDE as f32) } else { 1.0 };
                values.push((clean + rng.normal() * (variance as f32).sqrt()).clamp(0.0, 1.0));
            }
        }
    }
    Picture::new(SIDE, SIDE, values, 3)
}

fn object(class: usize, x: usize, y: usize) -> bool {
    let (x, y) = (x as f32 / SIDE as f32, y as f32 / SIDE as f32);
    let height = [0.10, 0.14, 0.18, 0.18][class];
    let sole = ((x - 0.5) / 0.38).powi(2) + ((y - 0.72) / height).powi(2) < 1.0;
    let shaft = class == 3 && (x - 0.3).abs() < 0.14 && y > 0.15 && y < 0.75;
    let strap = class == 0 && (x - y * 0.5 - 0.2).abs() < 0.04 && y > 0.4 && y < 0.7;
    sole || shaft || strap
}

/// Class of a test image: classes in their shares, mixed.
fn label(index: usize) -> usize {
    let mut place = (index * 7 + 3) % IMAGES;
    TOTALS
        .iter()
        .position(|&n| {
            place < n || {
                place -= n;
                false
            }
        })
        .unwrap()
}

pub fn study() -> Study {
    let counts = [110, 30, 600, 260];
    let mut rng = Rng::new(7, 0);
    let samples =
        (0..4).flat_map(|c| (0..8).map(move |i| Sample { label: c, picture: photo(c, i * 4 + c as u64, 0.0) }));
    let augmentation = (0..2).map(|c| Augmented {
        label: c,
        original: photo(c, 90, 0.0),
        variants: (0..7)
            .map(|i| Variant {
                what: format!("zoom {:.2}, turn {}°", 0.8 + 0.05 * i as f64, i * 4),
                picture: photo(c, 90 + i, 0.0),
            })
            .collect(),
    });
    let mut study = Study {
        format: FORMAT,
        title: "Which shoe classifier can take the noise?".into(),
        satisfied: Some(0.9),
        command: "deltamax study --seed 7 --device cpu".into(),
        seed: 7,
        device: "CPU backend, 2 threads".into(),
        versions: [("deltamax".to_string(), "0.1.0".to_string())].into(),
        settings: [("Epochs".to_string(), "12".to_string()), ("Noise draws".to_string(), "5".to_string())].into(),
        started: Some("2026-11-22 20:55 UTC".into()),
        seconds: Some(131.4),
        dataset: DataSummary {
            name: "procedural shoes".into(),
            source: "drawn by the program".into(),
            shape: Shape::new(3, SIDE, SIDE),
            classes: CLASSES.map(String::from).to_vec(),
            train_counts: counts.map(|c| c * 2).to_vec(),
            test_counts: counts.map(|c| c / 2).to_vec(),
            test_hash: None,
            test_labels: (0..IMAGES).map(label).collect(),
            samples: samples.collect(),
            augmentation: augmentation.collect(),
            pictures: Default::default(),
        },
        models: [
            ("no-DA", "no augmentation", 0),
            ("DA-slippers", "Slippers augmented", 1),
            ("all-DA", "all classes augmented", 2),
        ]
        .map(|(name, policy, kind)| model(name, policy, kind, &mut rng))
        .to_vec(),
        findings: Vec::new(),
        claims: Vec::new(),
        ..Study::default()
    };
    for index in study.extremes(8) {
        let label = study.models[0].certify.iter().find(|r| r.index == index).map_or(0, |r| r.label);
        study.dataset.pictures.insert(index, photo(label, 1000 + index as u64, 0.0));
    }
    study
}

/// One model over ten classes with longer names, without augmentation, relevance or attacks.
pub fn ten_classes() -> Study {
    let mut s = study();
    let names =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
    s.title = "How much noise can a fashion classifier take?".into();
    s.dataset.name = "Fashion-MNIST".into();
    s.dataset.classes = names.map(String::from).to_vec();
    s.dataset.train_counts = vec![6000; 10];
    s.dataset.test_counts = vec![1000; 10];
    s.dataset.augmentation.clear();
    s.models.truncate(1);
    let m = &mut s.models[0];
    m.train_counts.clear();
    m.relevance.clear();
    m.examples.clear();
    for (k, level) in m.sweep.iter_mut().enumerate() {
        let lost = [0.1, 0.13, 0.2, 0.45][k];
        level.confusion = (0..10)
            .map(|t| {
                (0..10)
                    .map(|p| {
                        if t == p {
                            1000.0 * (1.0 - lost)
                        } else {
                            1000.0 * lost * f64::from((t * 7 + p * 3) as u8 % 5) / 18.0
                        }
                    })
                    .collect()
            })
            .collect();
        level.class_rates.clear();
        level.called.clear();
    }
    s.dataset.test_labels.clear();
    for (i, r) in m.certify.iter_mut().enumerate() {
        (r.label, r.predicted, r.attacked, r.rival_attacked) = (i % 10, i % 10, None, None);
        r.rival_proved = Some((i % 10 + 1 + i % 3) % 10);
    }
    s
}

fn model(name: &str, policy: &str, kind: usize, rng: &mut Rng) -> ModelResult {
    let stays = [Change::Noise, Change::BrightnessDown, Change::Defocus].map(|change| Stays {
        change,
        proved: if change == Change::Defocus { 1.0 } else { 0.1 },
        measured: (change == Change::Noise).then_some(0.12),
        lost: (change != Change::Defocus).then_some(0.13),
        end: 1.0,
        kept: None,
        other: None,
    });
    let risks = [0.0001, 0.001].into_iter().flat_map(|variance| {
        (0..4).map(move |class| RiskRow {
            index: class,
            file: format!("{class}.png"),
            label: class,
            predicted: class,
            variance,
            draws: 300,
            changed: class,
            risk_low: 0.0,
            risk_high: 0.05,
            risk_proved: 10.0 * variance * (1 + class) as f64 + 0.1,
            method: "crown".into(),
        })
    });
    ModelResult {
        risks: risks.collect(),
        photos: vec![Photo { index: 17, label: 2, predicted: 2, stays: stays.to_vec() }],
        name: name.into(),
        policy: policy.into(),
        augmented: [vec![], vec![1], vec![0, 1, 2, 3]][kind].clone(),
        train_counts: [vec![220, 60, 1200, 520], vec![220, 1200, 1200, 520], vec![1200; 4]][kind].clone(),
        parameters: 58_404,
        architecture: "Conv16(4,s2) Conv32(4,s2) FC100 FC4".into(),
        file: Some(format!("{name}.onnx")),
        training: (1..=12)
            .map(|e| Epoch {
                epoch: e,
                loss: 1.2 / (e as f64).powf(0.8) + 0.05 * kind as f64,
                train_accuracy: Some(1.0 - 0.4 / e as f64),
                test_accuracy: Some(0.955 - 0.012 * kind as f64 - 0.35 / e as f64 + 0.01 * f64::from(rng.uniform())),
                ..Epoch::default()
            })
            .collect(),
        sweep: VARIANCES.iter().enumerate().map(|(k, &v)| level(v, k, kind)).collect(),
        beyond: if kind == 2 { vec![level(0.1, 3, kind)] } else { vec![] },
        certify: VARIANCES.iter().enumerate().flat_map(|(k, &v)| rows(v, k, kind)).collect(),
        examples: [(17, "Shoes/Oxfords/0017.jpg"), (23, "Shoes/Sneakers/0023.jpg")]
            .map(|(index, file)| Example {
                index,
                file: file.into(),
                label: 2,
                levels: VARIANCES.iter().enumerate().map(|(k, &v)| example(v, k, kind)).collect(),
            })
            .to_vec(),
        relevance: VARIANCES.iter().enumerate().flat_map(|(k, &v)| summaries(v, k, kind)).collect(),
        ..ModelResult::default()
    }
}

fn level(variance: f64, k: usize, kind: usize) -> NoiseLevel {
    let worst = [[0.05, 0.25, 0.10, 0.47], [0.5, 0.0, 0.45, 0.55], [0.09, 0.05, 0.06, 0.12]][kind];
    let draws = if k == 0 { 1 } else { 5 };
    let shares: Vec<Vec<f64>> = (0..4)
        .map(|c| {
            let lost = 0.05 + worst[c] * [0.0, 0.1, 0.3, 1.0][k];
            let toward = if c == 1 { 2 } else { 1 };
            let mut row = vec![0.0; 4];
            row[c] = 1.0 - lost;
            row[toward] += lost * 0.8;
            row[(0..4).find(|&o| o != c && o != toward).unwrap()] += lost * 0.2;
            row
        })
        .collect();
    let mut rng = Rng::new(5, (kind * 8 + k) as u64);
    let mut call = |index: usize| {
        let mut at = f64::from(rng.uniform());
        shares[label(index)]
            .iter()
            .position(|s| {
                at < *s || {
                    at -= s;
                    false
                }
            })
            .unwrap_or(label(index))
    };
    let called: Vec<Vec<usize>> = (0..draws).map(|_| (0..IMAGES).map(&mut call).collect()).collect();
    let mut confusion = vec![vec![0.0; 4]; 4];
    called.iter().flat_map(|c| c.iter().enumerate()).for_each(|(i, &c)| confusion[label(i)][c] += 1.0);
    let right: f64 = (0..4).map(|c| confusion[c][c]).sum();
    let total: f64 = confusion.iter().flatten().sum();
    let spread = |mean: f64, by: f64| Spread { mean, deviation: by / 2.0, low: mean - by, high: (mean + by).min(1.0) };
    let class_rates =
        (0..4).map(|c| spread(confusion[c][c] / confusion[c].iter().sum::<f64>(), 0.01 * k as f64)).collect();
    let accuracy = spread(right / total, 0.006 * k as f64);
    NoiseLevel { variance, draws, accuracy, class_rates, confusion, called }
}

fn rows(variance: f64, k: usize, kind: usize) -> Vec<CertifyRow> {
    let mut rng = Rng::new(3, (kind * 8 + k) as u64);
    (0..IMAGES)
        .map(|index| {
            let label = label(index);
            let wrong = rng.uniform() < 0.06;
            let predicted = if wrong { (label + 1) % 4 } else { label };
            let scale = [0.012, 0.014, 0.02][kind] * (1.0 - 0.18 * k as f64) * (1.0 + 0.2 * label as f64);
            let proved = scale * (f64::from(rng.normal()) * 0.5).exp() * if wrong { 0.4 } else { 1.0 };
            let rival = (predicted + 1 + rng.below(100) / 60) % 4;
            let attacked = (index % 37 != 0).then(|| proved * (1.2 + 0.5 * f64::from(rng.uniform())));
            CertifyRow {
                index,
                file: format!("img{index}.jpg"),
                label,
                predicted,
                variance,
                proved,
                attacked,
                rival_proved: Some(rival),
                rival_attacked: attacked.map(|_| rival),
                method: "crown".into(),
                passes: 9,
            }
        })
        .collect()
}

fn example(variance: f64, k: usize, kind: usize) -> ExampleLevel {
    let strength = [2.2, 3.0, 4.4][kind] - 0.9 * k as f64 * [1.0, 0.8, 0.5][kind];
    let logits = vec![-1.5, 0.3 + 0.1 * k as f64, strength, -0.4];
    let predicted = if logits[1] > logits[2] { 1 } else { 2 };
    let delta = 2.0 / 255.0;
    let reach = |delta: f64| 120.0 * delta;
    let bounds = |delta: f64| logits.iter().map(|l| [l - reach(delta), l + reach(delta)]).collect::<Vec<_>>();
    let scores = |delta: f64| -> Vec<[f64; 2]> {
        let b = bounds(delta);
        let score = |c: usize, own: usize, other: usize| {
            let rest: f64 = (0..4).filter(|&o| o != c).map(|o| b[o][other].exp()).sum();
            b[c][own].exp() / (b[c][own].exp() + rest)
        };
        (0..4).map(|c| [score(c, 0, 1), score(c, 1, 0)]).collect()
    };
    let gap = (logits[predicted] - logits[3 - predicted]).abs();
    let proved = gap / 150.0;
    let leads = |delta: f64| -> Vec<f64> {
        (0..4).map(|r| if r == predicted { 0.0 } else { logits[predicted] - logits[r] - 150.0 * delta }).collect()
    };
    let margins = (0..4)
        .filter(|&r| r != predicted)
        .flat_map(|rival| {
            [("ibp", 220.0), ("crown", 150.0)].map(|(method, slope)| Margin {
                rival,
                method: method.into(),
                lower: logits[predicted] - logits[rival] - slope * delta,
            })
        })
        .collect();
    ExampleLevel {
        variance,
        picture: photo(2, 17, variance),
        predicted,
        logit_bounds: bounds(delta),
        score_bounds: scores(delta),
        margins,
        dominant: proved > delta,
        proved: Some(proved),
        attacked: Some(proved * 1.35),
        continuous: (0..50)
            .map(|i| i as f64 * proved * 1.8 / 49.0)
            .map(|delta| ScorePoint { delta, scores: scores(delta), margins: leads(delta) })
            .collect(),
        relevance: [RelevanceKind::Gradient, RelevanceKind::IntegratedGradients, RelevanceKind::Certified]
            .map(|r| map(r, k, kind))
            .to_vec(),
        logits,
        delta,
        stays: vec![],
    }
}

fn map(kind: RelevanceKind, k: usize, model: usize) -> RelevanceMap {
    let mut rng = Rng::new(11, (k * 3 + model) as u64);
    let values = (0..SIDE * SIDE)
        .map(|p| {
            let on = object(2, p % SIDE, p / SIDE);
            let strength = if on { 1.0 } else { 0.05 + 0.25 * k as f32 / (1.0 + model as f32) };
            let v = (rng.normal() + if on { 0.5 } else { 0.0 }) * strength;
            if kind == RelevanceKind::Certified { if v.abs() > 0.8 { v.signum() } else { 0.0 } } else { v }
        })
        .collect();
    let background = 0.1 + 0.12 * k as f64 / (1.0 + model as f64);
    let shares = Shares { object: 0.65 - background * 0.5, contour: 0.35 - background * 0.5, background };
    RelevanceMap {
        kind,
        height: SIDE,
        width: SIDE,
        values,
        delta: (kind == RelevanceKind::Certified).then_some(0.5 / 255.0),
        shares: Some(shares),
        gini: Some(0.6 - 0.05 * k as f64),
    }
}

fn summaries(variance: f64, k: usize, model: usize) -> Vec<RelevanceSummary> {
    let spread = |mean: f64| Spread { mean, deviation: 0.04, low: mean - 0.07, high: mean + 0.07 };
    let background = 0.1 + 0.12 * k as f64 / (1.0 + model as f64);
    let decided = Decided { delta: 0.5 / 255.0, images: 64, share: spread(0.5), positive: spread(0.3) };
    [RelevanceKind::IntegratedGradients, RelevanceKind::Gradient, RelevanceKind::Certified]
        .map(|kind| RelevanceSummary {
            variance,
            kind,
            images: 500,
            object: spread(0.6 - background * 0.5 - 0.03 * model as f64),
            contour: spread(0.4 - background * 0.5 + 0.03 * model as f64),
            background: spread(background),
            gini: (kind != RelevanceKind::Certified).then(|| spread(0.62 - 0.06 * k as f64)),
            decided: (kind == RelevanceKind::Certified).then(|| decided.clone()),
            each: (0..64)
                .map(|i| {
                    let background = background + 0.001 * (i % 9) as f64;
                    let contour = 0.4 - background * 0.5 + 0.03 * model as f64;
                    (i, Shares { object: 1.0 - contour - background, contour, background })
                })
                .collect(),
        })
        .to_vec()
}
