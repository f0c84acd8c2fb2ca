//! Light and lens: the class stays wherever it is proved to, and is lost where it is said to be.

use deltamax::bounds::{Bounder, Method, Zonotope};
use deltamax::device::Device;
use deltamax::model::{Layer, Model, enclosure};
use deltamax::network::Network;
use deltamax::rng::Rng;
use deltamax::search::Subject;
use deltamax::tensor::Shape;
use deltamax::vary::bracket::{Found, Question, Settings, brackets};
use deltamax::vary::{Direction, Family, Kind};

use crate::nets::{Net, mlp};

const SETTINGS: Settings = Settings { gap: 0.01, batch: 64, boxes: 2000 };

fn network(shape: Shape, seed: u64) -> Model {
    let mut b = Net { gain: 1.5, ..Net::new(shape, Rng::new(seed, 5)) }.with_bias(0.3);
    let v = b.conv3x3(0, 4);
    let v = b.same(Layer::Relu, &[v]);
    let v = b.dense(v, 12);
    let v = b.same(Layer::Relu, &[v]);
    b.dense(v, 4);
    b.finish()
}

/// Soft shapes, some of them clipped at both ends.
fn photos(shape: Shape, count: usize) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(9, 6);
    let photo = |_| (0..shape.len()).map(|_| rng.range(-0.3, 1.3).clamp(0.0, 1.0)).collect();
    (0..count).map(photo).collect()
}

/// Every bracket, by photo and family, of all kinds that images of the shape have.
fn all(net: &Network, method: Method, photos: &[Vec<f32>]) -> Vec<(Subject, Family, Found)> {
    let shape = net.model.input;
    let refs: Vec<&[f32]> = photos.iter().map(Vec::as_slice).collect();
    let subjects = Subject::classify(net, &refs).unwrap();
    let kinds = || Kind::ALL.into_iter().filter(|k| k.fits(shape));
    let families = |s: &Subject| kinds().flat_map(|k| Family::of(k, shape, &s.image)).collect::<Vec<_>>();
    let questions: Vec<Question<'_>> = subjects
        .iter()
        .flat_map(|subject| families(subject).into_iter().map(move |family| Question { subject, family }))
        .collect();
    let found = brackets(&Bounder::new(net, method).unwrap(), &questions, &SETTINGS).unwrap();
    questions.into_iter().zip(found).map(|(q, f)| (q.subject.clone(), q.family, f)).collect()
}

fn class_at(net: &Network, image: &[f32]) -> Option<usize> {
    enclosure::largest(&enclosure::forward(&net.model, image)).map(|(class, _)| class)
}

#[test]
fn the_class_stays_up_to_one_end_and_is_lost_at_the_other() {
    let mut rng = Rng::new(1, 3);
    let (mut broken, mut clear, mut proved) = (0, 0, 0);
    for (shape, count) in [(Shape::new(1, 6, 6), 4), (Shape::new(3, 5, 4), 2)] {
        for seed in 0..2 {
            let net = Network::new(&Device::cpu(), &network(shape, seed)).unwrap();
            let found = all(&net, Method::Crown, &photos(shape, count));
            for (subject, family, f) in &found {
                let what = format!("{} {} {seed}: {f:?}", family.kind, family.direction);
                if let Some(turn) = &f.broken {
                    assert!(f.proved < turn.scale && turn.scale <= family.end, "{what}");
                    assert_eq!(class_at(&net, &family.image(&turn.t)), Some(turn.class), "{what}");
                    assert_ne!(turn.class, subject.class, "{what}");
                    // Where that is clear, f32 sees it.
                    let scores = net.scores(&[&family.image(&turn.t)]).unwrap().remove(0);
                    assert!(!turn.clear || scores[turn.class] > scores[subject.class], "{what}");
                    clear += usize::from(turn.clear);
                }
                assert!(f.is_closed(family.end, 0.01), "{what}");
                for i in 0..60 {
                    // The edge, the far end in every parameter, and anything in between.
                    let t: Vec<f64> = match i {
                        0 => f.edge.clone(),
                        _ => f
                            .edge
                            .iter()
                            .map(|_| f.proved * f64::from(rng.range(if family.both { -1.0 } else { 0.0 }, 1.0)))
                            .collect(),
                    };
                    let mut image = family.image(&t);
                    if i > 30 {
                        let off = 0.9 * family.kind.slack() as f32;
                        image.iter_mut().for_each(|v| *v = (*v + rng.range(-off, off)).clamp(0.0, 1.0));
                    }
                    let class = class_at(&net, &image);
                    assert!(class.is_none_or(|c| c == subject.class), "{what}: {class:?} at {t:?}");
                }
            }
            broken += found.iter().filter(|(_, _, f)| f.broken.is_some()).count();
            proved += found.iter().filter(|(_, _, f)| f.proved > 0.0).count();
            // Every way is met.
            let ways: std::collections::BTreeSet<(Kind, Direction)> =
                found.iter().map(|(_, f, _)| (f.kind, f.direction)).collect();
            assert_eq!(ways.len(), if shape.channels > 1 { 9 } else { 8 });
        }
    }
    assert!(broken >= 10 && clear == broken && proved > 50, "{broken} {clear} {proved}");
}

#[test]
fn every_method_proves_some_of_it() {
    let shape = Shape::new(1, 6, 6);
    let net = Network::new(&Device::cpu(), &network(shape, 1)).unwrap();
    let photos = photos(shape, 1);
    for method in Method::ALL {
        for (_, family, f) in all(&net, method, &photos) {
            assert!(f.proved > 0.0 && f.broken.is_none_or(|b| f.proved < b.scale), "{method} {}", family.kind);
        }
    }
}

/// Logits of a thousand, whose places in f32 are as far apart as the classes: a runtime may see one or the other.
#[test]
fn leads_that_f32_loses_are_not_clear() {
    let model = mlp(2, &[(&[5e-5, 5e-5, 0.0, 0.0], &[1000.0, 1000.0 + 6.2e-5])]);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let found = all(&net, Method::Crown, &[vec![0.9, 0.9]]);
    let darker = |f: &Family| (f.kind, f.direction) == (Kind::Brightness, Direction::Darker);
    let turn = found.iter().find(|(_, f, _)| darker(f)).and_then(|(_, _, f)| f.broken.clone()).expect("lost in f64");
    assert!(turn.class == 1 && !turn.clear, "{turn:?}");
}

/// The logits are the mean of two pixels and one half: the class is lost where the mean falls to that.
#[test]
fn brackets_hold_what_can_be_worked_out() {
    let model = mlp(2, &[(&[0.5, 0.5, 0.0, 0.0], &[0.0, 0.5])]);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let found = all(&net, Method::Crown, &[vec![0.9, 0.7]]);
    let of = |kind: Kind, direction: Direction| {
        found.iter().find(|(_, f, _)| (f.kind, f.direction) == (kind, direction)).map(|(_, _, f)| f).expect("asked for")
    };
    let near = |found: &Found, t: f64| {
        let broken = found.broken.as_ref().expect("lost").scale;
        assert!(found.proved < t && t <= broken * (1.0 + 1e-6) && broken < 1.001 * t, "{t}: {found:?}");
        assert!(found.broken.as_ref().is_some_and(|b| b.clear), "{t}: {found:?}");
    };
    near(of(Kind::Brightness, Direction::Darker), 0.3);
    near(of(Kind::Darken, Direction::Darker), 0.375);
    for (kind, direction) in [(Kind::Brightness, Direction::Brighter), (Kind::Contrast, Direction::More)] {
        let f = of(kind, direction);
        assert!(f.broken.is_none() && f.proved == if kind == Kind::Contrast { 3.0 } else { 1.0 }, "{f:?}");
    }
}

/// A margin over a box is at least what is said of it at every place, and positive wherever a generator leaves nothing open.
#[test]
fn margins_fall_along_generators_as_is_said() {
    let shape = Shape::new(1, 3, 3);
    let net = Network::new(&Device::cpu(), &network(shape, 0)).unwrap();
    let mut rng = Rng::new(4, 8);
    let (mut cut, mut tight) = (0, 0);
    for method in [Method::Ibp, Method::Crown] {
        let bounder = Bounder::new(&net, method).unwrap();
        let mut some = |low: f32, high: f32| -> Vec<f32> { (0..shape.len()).map(|_| rng.range(low, high)).collect() };
        let mut one = || {
            let centre = some(0.45, 0.55);
            let class = class_at(&net, &centre).expect("a lead");
            let generators = vec![some(-0.4, 0.4), some(-0.04, 0.04)];
            let (error, lower, upper) = (some(1e-6, 1e-5), vec![0.0; shape.len()], vec![1.0; shape.len()]);
            Zonotope { centre, generators, error, lower, upper, class }
        };
        let zonotopes: Vec<Zonotope> = (0..40).map(|_| one()).collect();
        for (z, margins) in zonotopes.iter().zip(bounder.zonotopes(&zonotopes).unwrap()) {
            assert_eq!(margins[z.class].lower, f32::INFINITY);
            let rivals: Vec<usize> = (0..margins.len()).filter(|rival| *rival != z.class).collect();
            for _ in 0..50 {
                let s: Vec<f32> = z.generators.iter().map(|_| rng.range(-1.0, 1.0)).collect();
                let x: Vec<f32> = (0..shape.len())
                    .map(|i| z.centre[i] + s.iter().zip(&z.generators).map(|(s, g)| s * g[i]).sum::<f32>())
                    .collect();
                let known = enclosure::forward(&net.model, &x);
                for &rival in &rivals {
                    let (margin, lead) = (&margins[rival], -enclosure::lead(&known, rival, z.class));
                    assert!(margin.slopes.is_empty() == (method == Method::Ibp), "{method}");
                    let least = |(s, [low, high]): (&f32, &[f64; 2])| {
                        let at = |c: f64| c.abs() + f64::from(*s) * c;
                        at(*low).min(at(*high)).min(if *low <= 0.0 && 0.0 <= *high { 0.0 } else { f64::INFINITY })
                    };
                    let said = f64::from(margin.lower) + s.iter().zip(&margin.slopes).map(least).sum::<f64>();
                    assert!(lead >= said, "{method}: {lead} below {said} at {s:?}");
                    tight += usize::from(lead - said < 0.05 * lead.abs());
                    let outside = (0..s.len()).any(|k| {
                        let [from, to] = margin.open(k);
                        !(from..=to).contains(&f64::from(s[k]))
                    });
                    assert!(lead > 0.0 || !outside, "{method}: {lead} at {s:?}");
                    cut += usize::from(outside && margin.lower <= 0.0);
                }
            }
        }
    }
    assert!(cut > 100 && tight > 100, "{cut} {tight}");
}
