//! Studies in which nothing is to be found, or hardly anything is there: no false sentence, no panic.

use super::*;
use crate::report::{html, sample};
use crate::results::{CertifyRow, NoiseLevel, Outcome, Repeat, RiskRow};
use crate::rng::Rng;

/// Answers and radii of one training: each image right with this probability, radii scattered around this one.
fn training(labels: &[usize], classes: usize, right: f64, radius: f64, seed: u64) -> Repeat {
    let mut rng = Rng::new(seed, 9);
    let mut answer = |label: usize, right: f64| {
        if f64::from(rng.uniform()) < right || classes == 1 {
            label
        } else {
            (label + 1 + rng.below(classes - 1)) % classes
        }
    };
    let mut level = |variance: f64, right: f64| {
        let called: Vec<usize> = labels.iter().map(|&l| answer(l, right)).collect();
        let mut confusion = vec![vec![0.0; classes]; classes];
        called.iter().zip(labels).for_each(|(&c, &l)| confusion[l][c] += 1.0);
        let hits = called.iter().zip(labels).filter(|(c, l)| c == l).count();
        let accuracy = Spread::exact(hits as f64 / labels.len() as f64);
        NoiseLevel { variance, draws: 1, confusion, accuracy, class_rates: vec![], called: vec![called] }
    };
    let sweep = vec![level(0.0, right), level(0.025, right)];
    let mut rng = Rng::new(seed, 10);
    let row = |index: usize| CertifyRow {
        index,
        label: labels[index],
        predicted: sweep[0].called[0][index],
        proved: radius * f64::from(rng.range(0.5, 1.5)),
        attacked: Some(2.0 * radius),
        rival_proved: Some((labels[index] + 1) % classes),
        method: "crown".into(),
        ..CertifyRow::default()
    };
    Repeat { seed, certify: (0..labels.len()).map(row).collect(), sweep, ..Repeat::default() }
}

/// The three models of the case study with `repeats` trainings each, images with these labels.
fn study(labels: &[usize], classes: usize, repeats: u64, quality: [(f64, f64); 3]) -> Study {
    let mut study = Study { satisfied: Some(0.9), ..Study::default() };
    study.dataset.classes = (0..classes).map(|c| format!("class {c}")).collect();
    study.dataset.test_labels = labels.to_vec();
    study.dataset.test_counts = (0..classes).map(|c| labels.iter().filter(|&&l| l == c).count()).collect();
    study.dataset.train_counts = vec![10; classes];
    let augmented = [vec![], vec![0], (0..classes).collect()];
    for (k, ((right, radius), augmented)) in quality.into_iter().zip(augmented).enumerate() {
        let of = |nth: u64| training(labels, classes, right, radius, 100 * (k as u64 + 1) + nth);
        let first = of(0);
        let risk = |r: &CertifyRow| RiskRow {
            label: r.label,
            predicted: r.predicted,
            variance: 0.001,
            draws: 300,
            changed: 3,
            risk_proved: 0.5,
            ..RiskRow::default()
        };
        study.models.push(ModelResult {
            name: ["no-DA", "one-DA", "all-DA"][k].into(),
            policy: "some".into(),
            augmented,
            risks: first.certify.iter().map(risk).collect(),
            certify: first.certify,
            sweep: first.sweep,
            repeats: (1..repeats).map(of).collect(),
            ..ModelResult::default()
        });
    }
    study
}

fn read(study: &Study) -> Reading {
    study.check().unwrap();
    let reading = Reading::of(study);
    let (page, _) = html::page(study, &reading);
    // Pictures are letters and digits, in which any word may come up.
    let words = page.split('"').filter(|part| !part.starts_with("data:image"));
    words.for_each(|part| assert!(!part.contains("NaN") && !part.contains(">inf"), "{part}"));
    let known: Vec<&str> = kinds::KINDS.iter().flat_map(|k| k.0.split(", ")).collect();
    let said = reading.findings.iter().map(|f| &f.kind).chain(reading.claims.iter().map(|c| &c.kind));
    said.for_each(|kind| assert!(known.contains(&kind.as_str()), "{kind:?} is not in the table of kinds"));
    reading
}

/// Whether nothing in words, and no bold figure, prefers one model.
fn prefers_none(study: &Study) {
    let reading = read(study);
    let clear: Vec<_> = reading.compared.all().iter().filter(|c| c.2.clear()).collect();
    assert!(clear.is_empty(), "{clear:?}");
    let c = reading.conclusion.clone().unwrap();
    assert!(!matches!(c.outcome, Outcome::Best | Outcome::EachItsOwn), "{c:?}");
    for f in &reading.findings {
        for word in
            ["is the most robust", "clearly ahead", "helps", "harms", "pulls other", " takes ", "eats into", "rise"]
        {
            assert!(!f.title.contains(word) && !f.sentence.contains(word), "{word}: {f:?}");
        }
    }
    let judged = reading
        .claims
        .iter()
        .filter(|c| !matches!(c.verdict, crate::results::Verdict::NotClear | crate::results::Verdict::NotMeasured));
    assert_eq!(judged.count(), 0, "{:?}", reading.claims);
    let (page, _) = html::page(study, &reading);
    assert!(!page.contains("class=\"best\""));
}

const SAME: [(f64, f64); 3] = [(0.8, 0.01); 3];

fn labels(n: usize, classes: usize) -> Vec<usize> {
    (0..n).map(|i| i % classes).collect()
}

#[test]
fn equal_models_are_tied() {
    for repeats in [1, 3] {
        let study = study(&labels(200, 4), 4, repeats, SAME);
        prefers_none(&study);
        let c = read(&study).conclusion.unwrap();
        assert_eq!((c.outcome, c.models.len()), (Outcome::Tied, 3));
        assert!(c.sentence.contains("no-DA, one-DA and all-DA are tied"), "{}", c.sentence);
    }
}

/// One answer to everything is proved at any distance, and is no robustness.
#[test]
fn one_answer_to_all_is_told_and_not_preferred() {
    let mut study = study(&labels(200, 4), 4, 2, [(0.9, 0.01), (0.9, 0.01), (0.9, 0.01)]);
    let spoil = |sweep: &mut Vec<NoiseLevel>, rows: &mut Vec<CertifyRow>| {
        for level in sweep {
            level.called[0].fill(2);
            level.confusion.iter_mut().for_each(|row| *row = vec![0.0, 0.0, row.iter().sum(), 0.0]);
            level.accuracy = Spread::exact(0.25);
        }
        rows.iter_mut().for_each(|r| (r.predicted, r.proved, r.attacked) = (2, 1.0, None));
    };
    let repeat = &mut study.models[2].repeats[0];
    spoil(&mut repeat.sweep, &mut repeat.certify);
    let reading = read(&study);
    let found = reading.findings.iter().find(|f| f.kind == "constant").unwrap();
    assert!(found.sentence.contains("all-DA calls all 200 clean test images class 2 in 1 of 2 trainings"), "{found:?}");
    assert!(found.sentence.contains("more images"), "{found:?}");
    let c = reading.conclusion.unwrap();
    assert_eq!((c.outcome, c.models), (Outcome::Tied, vec!["no-DA".to_string(), "one-DA".to_string()]));
    assert!(c.cautions.iter().any(|t| t.starts_with("all-DA gives one answer")), "{:?}", c.cautions);
    assert!(reading.findings.iter().filter(|f| f.kind != "constant").all(|f| !f.title.contains("all-DA")));
    // With nothing but such models nothing is preferred, and boxes are what to change.
    for model in &mut study.models {
        spoil(&mut model.sweep, &mut model.certify);
        model.training = vec![crate::results::Epoch { delta: Some(0.1), ..Default::default() }];
    }
    let reading = read(&study);
    let told = reading.findings.iter().filter(|f| f.kind == "constant" && f.sentence.contains("--certified"));
    assert_eq!(told.count(), 3);
    assert!(!reading.findings.iter().any(|f| f.title.contains("most robust")));
    assert!(!matches!(reading.conclusion.unwrap().outcome, Outcome::Best));
}

#[test]
fn identical_models_are_one() {
    let mut study = study(&labels(200, 4), 4, 1, [(0.9, 0.02), (0.9, 0.02), (0.5, 0.002)]);
    for hashes in [[None, None, None], [Some("a"), Some("a"), Some("b")]] {
        study.models[1].sweep = study.models[0].sweep.clone();
        study.models[1].certify = study.models[0].certify.clone();
        study.models.iter_mut().zip(hashes).for_each(|(m, h)| m.hash = h.map(String::from));
        let reading = read(&study);
        let c = reading.conclusion.unwrap();
        assert_eq!((c.outcome, c.models), (Outcome::Best, vec!["no-DA".to_string()]));
        assert_eq!(c.identical, [["no-DA", "one-DA"]]);
        assert!(reading.findings.iter().any(|f| f.kind == "identical") && reading.claims.is_empty());
        assert!(reading.compared.models(0, 1, Measure::Radius(0.0)).is_none());
    }
    study.models.truncate(2);
    let c = read(&study).conclusion.unwrap();
    assert_eq!((c.outcome, c.sentence.as_str()), (Outcome::Single, "no-DA and one-DA are one and the same model."));
}

#[test]
fn a_handful_of_images_shows_nothing() {
    // However different the models are.
    let quality = [(1.0, 0.001), (0.5, 0.01), (0.0, 0.1)];
    for (n, classes) in [(1, 2), (2, 2), (5, 4), (1, 1), (4, 1)] {
        for repeats in [1, 3] {
            prefers_none(&study(&labels(n, classes), classes, repeats, quality));
        }
    }
}

#[test]
fn a_tiny_class_and_a_hundred_classes() {
    let mut few = labels(200, 2);
    few.extend([2, 2, 3]);
    prefers_none(&study(&few, 4, 2, SAME));
    let hundred = study(&labels(300, 100), 100, 1, SAME);
    prefers_none(&hundred);
    let reading = read(&hundred);
    let questions = reading.compared.all().len();
    assert!(questions < 500, "{questions} questions leave none an answer");
    let (page, _) = html::page(&hundred, &reading);
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    let longest = page.split("<table").skip(1).map(|t| t.split("</table").next().unwrap().matches("<tr").count()).max();
    assert!(longest < Some(40), "a table of {longest:?} rows is not read");
    prefers_none(&study(&labels(40, 1), 1, 2, SAME));
}

#[test]
fn what_is_there_is_found_and_said() {
    let study = study(&labels(300, 4), 4, 3, [(0.6, 0.005), (0.6, 0.005), (0.95, 0.02)]);
    let reading = read(&study);
    let c = reading.conclusion.as_ref().unwrap();
    assert_eq!((c.outcome, c.models.clone()), (Outcome::Best, vec!["all-DA".to_string()]));
    let titles: Vec<&str> = reading.findings.iter().map(|f| f.title.as_str()).collect();
    assert!(titles.contains(&"all-DA is the most robust model"), "{titles:?}");
    let (page, _) = html::page(&study, &reading);
    assert!(page.matches("class=\"best\"").count() == 4 && page.contains("Analogous claims on these data"));
    let mut published = study.clone();
    published.dataset.classes = ["Sandals", "Slippers", "Shoes", "Boots"].map(String::from).to_vec();
    assert!(html::page(&published, &Reading::of(&published)).0.contains("The published claims, re-examined"));
}

#[test]
fn what_may_be_guessed_is_no_model_to_take() {
    // The second is proved furthest, and right as often as by chance.
    let some = study(&labels(200, 4), 4, 1, [(0.9, 0.005), (0.25, 0.02), (0.8, 0.005)]);
    let reading = read(&some);
    assert_eq!(reading.guessing, [1]);
    let c = reading.conclusion.as_ref().unwrap();
    assert!(!c.models.contains(&"one-DA".to_string()), "{c:?}");
    assert!(c.cautions.contains(&"one-DA may as well guess, and takes no part.".into()), "{c:?}");
    assert!(reading.findings.iter().any(|f| f.title == "one-DA may as well guess"));
    let (page, _) = html::page(&some, &reading);
    let bold = page.split("class=\"best\">").skip(1).filter_map(|b| b.split_once("/255")?.0.parse::<f64>().ok());
    assert!(bold.into_iter().all(|grey| grey < 3.0), "a guess has the bold figure");
    let known = Study { models: some.models.iter().filter(|m| m.name != "no-DA").cloned().collect(), ..some.clone() };
    let answer = read(&known).compared.models(0, 1, Measure::Radius(0.0)).unwrap();
    assert!(answer.more(), "its figure would be bold: {answer:?}");
    let all = study(&labels(200, 4), 4, 1, [(0.25, 0.005), (0.25, 0.02), (0.25, 0.005)]);
    let c = read(&all).conclusion.unwrap();
    assert_eq!(c.outcome, Outcome::NoneReady);
    assert_eq!(c.sentence, "No model is clearly better than guessing: 200 test images do not show more.");
}

#[test]
fn requirements_come_first() {
    let mut study = study(&labels(300, 4), 4, 2, [(0.6, 0.005), (0.6, 0.005), (0.95, 0.02)]);
    let conclude = |study: &Study| read(study).conclusion.unwrap();
    study.requirements = "accuracy>=0.5,class>=0.99".parse().unwrap();
    let none = conclude(&study);
    assert!(none.outcome == Outcome::NoneReady && none.models.is_empty() && none.judged.len() == 6, "{none:?}");
    assert!(
        none.sentence.contains("misses class>=0.99") && none.sentence.contains("worst training"),
        "{}",
        none.sentence
    );
    study.requirements = "accuracy>=0.8".parse().unwrap();
    let one = conclude(&study);
    assert_eq!(
        (one.outcome, one.sentence.as_str()),
        (Outcome::Best, "Only all-DA meets everything that was required.")
    );
}

#[test]
fn each_best_in_something_is_no_winner() {
    let study = study(&labels(300, 4), 4, 3, [(0.95, 0.005), (0.6, 0.02), (0.5, 0.004)]);
    let c = read(&study).conclusion.unwrap();
    assert_eq!((c.outcome, c.models.len()), (Outcome::EachItsOwn, 2));
    assert!(
        c.sentence.contains("no-DA is better than one-DA in accuracy") && c.sentence.contains("Clearly behind: all-DA"),
        "{}",
        c.sentence
    );
}

#[test]
fn every_sentence_of_the_sample_is_in_the_table() {
    let reading = read(&sample::study());
    assert!(reading.findings.len() >= 9 && reading.claims.len() == 11);
}
