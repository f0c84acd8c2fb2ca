//! The case study: three classifiers trained with different augmentation, compared under noise, by relevance and
//! dominance, and by a proved delta max for every test image.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use crate::bounds::{Ball, Bounder, Method};
use crate::certify;
use crate::dataset::augment::{self, Policy};
use crate::dataset::{Dataset, Splits};
use crate::device::Device;
use crate::error::Result;
use crate::model::onnx;
use crate::network::Network;
use crate::progress::{Progress, Verbosity};
use crate::relevance::Regions;
use crate::results::{
    Augmented, CertifyRow, DataSummary, Decided, Example, ModelResult, Picture, RelevanceKind, RelevanceMap,
    RelevanceSummary, Sample, Shares, Spread, Study, Variant,
};
use crate::{attack, explain, relevance, search, sweep, train};

/// What to study.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of everything random.
    pub seed: u64,
    /// How each model is trained.
    pub train: train::Settings,
    /// Which noise the models are shown.
    pub sweep: sweep::Settings,
    /// How bounds are computed.
    pub method: Method,
    /// Clean test images to certify; all if `None`.
    pub limit: Option<usize>,
    /// Test images to certify under each noise level.
    pub noisy_limit: usize,
    /// Test images whose relevance is measured.
    pub relevance_limit: usize,
    /// Half-width of the ball of the dominance pictures.
    pub delta: f32,
    /// Name of the data for the report.
    pub name: String,
    /// Where the data came from, for the report.
    pub source: String,
    /// The command line, for the report.
    pub command: String,
    /// Whether to show progress.
    pub verbosity: Verbosity,
}

/// Runs the whole study; models and results go to `dir` as they are made.
pub fn study(device: &Device, splits: &Splits, settings: &Settings, dir: &Path) -> Result<Study> {
    let started = Instant::now();
    let mut models = Vec::new();
    // Chosen by the first model, the same for all.
    let mut examples = Vec::new();
    for (name, policy) in policies(&splits.train) {
        models.push(study_model(device, splits, settings, dir, &name, &policy, &mut examples)?);
    }
    let mut study = Study {
        title: title(settings, &splits.test.classes),
        command: settings.command.clone(),
        seed: settings.seed,
        device: device.describe(),
        versions: [("deltamax".to_string(), env!("CARGO_PKG_VERSION").to_string())].into(),
        settings: described(settings),
        dataset: summary(splits, settings),
        models,
        ..Study::default()
    };
    let shown: BTreeSet<usize> = study.extremes(8);
    let picture = |i: usize| (i, Picture::from_chw(splits.test.shape, splits.test.image(i)));
    study.dataset.pictures = shown.into_iter().map(picture).collect();
    study.seconds = Some(started.elapsed().as_secs_f64());
    Ok(study)
}

/// No augmentation, the rarest class augmented, all classes augmented.
fn policies(train: &Dataset) -> Vec<(String, Policy)> {
    let counts = train.counts();
    let rarest = (0..counts.len()).min_by_key(|&c| counts[c]).unwrap_or(0);
    let class = train.classes[rarest].to_lowercase();
    vec![
        ("no-DA".into(), Policy::None),
        (format!("DA-{class}"), Policy::Classes(vec![rarest])),
        ("all-DA".into(), Policy::All),
    ]
}

fn title(settings: &Settings, classes: &[String]) -> String {
    if settings.name == "procedural shoes" {
        return "How much noise can each shoe classifier take?".into();
    }
    let numbers = classes.iter().all(|c| c.parse::<u32>().is_ok());
    match classes {
        [head @ .., last] if (1..=4).contains(&head.len()) && !numbers => {
            format!("{} or {last}: how much noise can each classifier take?", head.join(", "))
        }
        _ => format!("{}: how much noise can each classifier take?", settings.name),
    }
}

/// Images followed through every noise level, at most.
const EXAMPLES: usize = 4;

/// One image of each class (the largest classes first): of those rightly classified, the one with the median proved
/// delta max, so that it is neither the weakest nor the strongest of its kind.
fn choose_examples(test: &Dataset, rows: &[CertifyRow]) -> Vec<usize> {
    let counts = test.counts();
    let mut classes: Vec<usize> = (0..counts.len()).collect();
    classes.sort_by_key(|&c| std::cmp::Reverse(counts[c]));
    let middle = |class: usize| {
        let mut of: Vec<&CertifyRow> = rows.iter().filter(|r| r.label == class).collect();
        if of.iter().any(|r| r.predicted == class) {
            of.retain(|r| r.predicted == class);
        }
        of.sort_by(|a, b| a.proved.total_cmp(&b.proved).then(a.index.cmp(&b.index)));
        of.get(of.len() / 2).map(|r| r.index)
    };
    classes.into_iter().filter_map(middle).take(EXAMPLES).collect()
}

fn study_model(
    device: &Device,
    splits: &Splits,
    settings: &Settings,
    dir: &Path,
    name: &str,
    policy: &Policy,
    examples: &mut Vec<usize>,
) -> Result<ModelResult> {
    let images = augmented(splits, policy, settings, name);
    let title = format!("{name}: training");
    let mut progress = Progress::start(settings.verbosity, &title, settings.train.epochs * images.len());
    let (model, training) = train::train(device, &images, &splits.test, &settings.train, &mut progress)?;
    let accuracy = training.last().and_then(|e| e.test_accuracy).unwrap_or(0.0);
    progress.finish(&format!("{name}: trained, {:.1} % of test images right", 100.0 * accuracy));
    let file = format!("{}.onnx", file_name(name));
    onnx::write(&model, dir.join(&file))?;
    let net = Network::new(device, &model)?;

    let passes: usize = settings.sweep.variances.iter().map(|v| if *v == 0.0 { 1 } else { settings.sweep.draws }).sum();
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: noise sweep"), passes * splits.test.len());
    let sweep = sweep::sweep(&net, &splits.test, &settings.sweep, &mut progress)?;
    progress.finish(&format!("{name}: swept {} noise levels", sweep.len()));

    let rows = delta_max(&net, &splits.test, settings, name, examples)?;
    let policy_words = match policy {
        Policy::None => "no augmentation".to_string(),
        Policy::Classes(_) => format!("augmented: {}", policy.describe(&splits.train.classes)),
        Policy::All => "all classes augmented".into(),
    };
    let augmented = match policy {
        Policy::None => vec![],
        Policy::Classes(c) => c.clone(),
        Policy::All => (0..images.classes.len()).collect(),
    };
    Ok(ModelResult {
        name: name.into(),
        policy: policy_words,
        augmented,
        train_counts: images.counts(),
        parameters: model.parameters(),
        architecture: format!("{} FC{}", settings.train.architecture, model.outputs()),
        file: Some(file),
        training,
        sweep,
        examples: followed(&net, &splits.test, settings, &rows, name, examples)?,
        relevance: relevance_summary(&net, &splits.test, settings, name)?,
        certify: rows,
    })
}

/// A model's name as that of a file; class names are the user's and may hold anything.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().take(60).map(plain).collect()
}

fn augmented(splits: &Splits, policy: &Policy, settings: &Settings, name: &str) -> Dataset {
    if *policy == Policy::None {
        return splits.train.clone();
    }
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: augmenting"), splits.train.len());
    let images = augment::augment(&splits.train, policy, settings.seed);
    progress.advance(splits.train.len());
    progress.finish(&format!("{name}: {} training images after augmentation", images.len()));
    images
}

/// The bracket of every clean test image, and of the first images (and the examples) under noise. Chooses the examples
/// from the clean brackets where there are none yet.
fn delta_max(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    name: &str,
    examples: &mut Vec<usize>,
) -> Result<Vec<CertifyRow>> {
    let bounder = Bounder::new(net, settings.method)?;
    let clean = settings.limit.unwrap_or(test.len()).min(test.len());
    let noisy = settings.noisy_limit.min(test.len());
    let mut rows = Vec::new();
    let levels = &settings.sweep.variances;
    let total = clean + (levels.len() - 1) * (noisy + EXAMPLES);
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: proving ({})", settings.method), total);
    for &variance in levels {
        let count = if variance == 0.0 { clean } else { noisy };
        let beyond = examples.iter().filter(|e| **e >= count).map(|&e| e..e + 1);
        for range in std::iter::once(0..count).chain(beyond.collect::<Vec<_>>()) {
            let settings = certify::Settings {
                variances: vec![variance],
                seed: settings.sweep.seed,
                range,
                search: search::Settings::new(&bounder),
                attack: Some(attack::Settings::default()),
                close: None,
            };
            rows.extend(certify::collect(&bounder, test, &settings, &mut progress)?);
        }
        if examples.is_empty() {
            *examples = choose_examples(test, &rows);
        }
    }
    let mut radii: Vec<f64> = rows.iter().filter(|r| r.variance == 0.0).map(|r| r.proved).collect();
    radii.sort_by(f64::total_cmp);
    let median = crate::results::quantile(&radii, 0.5);
    progress.finish(&format!(
        "{name}: {} brackets, median proved delta max {median:.5} ({:.2}/255)",
        rows.len(),
        255.0 * median
    ));
    Ok(rows)
}

/// The examples, each at every noise level.
fn followed(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    rows: &[CertifyRow],
    name: &str,
    examples: &[usize],
) -> Result<Vec<Example>> {
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: examples"), examples.len());
    let mut all = Vec::new();
    for &index in examples {
        all.push(example_of(net, test, settings, rows, index)?);
        progress.advance(1);
    }
    progress.finish(&format!("{name}: {} images explained", all.len()));
    Ok(all)
}

/// Dominance and relevance of one image at every noise level.
fn example_of(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    rows: &[CertifyRow],
    index: usize,
) -> Result<Example> {
    let mut levels = Vec::new();
    for &variance in &settings.sweep.variances {
        let image = sweep::noisy(&Device::cpu(), test, index, 1, variance, settings.sweep.seed, 0)?;
        let row = rows.iter().find(|r| r.index == index && r.variance == variance);
        let request = explain::Request {
            image: &image,
            clean: test.image(index),
            shape: test.shape,
            variance,
            delta: settings.delta,
            class: row.map(|r| r.predicted),
            proved: row.map(|r| r.proved),
            attacked: row.and_then(|r| r.attacked),
        };
        levels.push(explain::level(net, settings.method, &request)?);
    }
    Ok(Example { index, file: test.names[index].clone(), label: test.labels[index], levels })
}

/// Integrated gradients are measured on this many images at most: each takes many gradients.
const INTEGRATED: usize = 128;

/// The sign of the influence of every pixel is proved on this many images at most.
const CERTIFIED: usize = 64;

/// Where the relevance of the predicted class lies, over the first test images, per noise level and kind.
fn relevance_summary(net: &Network, test: &Dataset, settings: &Settings, name: &str) -> Result<Vec<RelevanceSummary>> {
    let count = settings.relevance_limit.min(test.len());
    let variances = &settings.sweep.variances;
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: relevance"), count * variances.len());
    let bounder = Bounder::new(net, settings.method)?;
    let mut summaries = Vec::new();
    for &variance in variances {
        let images = sweep::noisy(&net.device, test, 0, count, variance, settings.sweep.seed, 0)?;
        let images: Vec<&[f32]> = images.chunks(test.shape.len()).collect();
        let (mut plain, mut integrated, mut certified) = (Vec::new(), Vec::new(), Vec::new());
        for (start, batch) in images.chunks(128).enumerate().map(|(b, c)| (b * 128, c)) {
            let classes: Vec<usize> = net.scores(batch)?.iter().map(|s| crate::network::largest(s)).collect();
            let regions: Vec<Regions> =
                (0..batch.len()).map(|k| Regions::of(test.shape, test.image(start + k))).collect();
            for (k, gradient) in relevance::gradients(net, batch, &classes)?.iter().enumerate() {
                plain.push(relevance::map(RelevanceKind::Gradient, test.shape, gradient, &regions[k]));
                if start + k < INTEGRATED {
                    let values = relevance::integrated(net, batch[k], test.image(start + k), classes[k])?;
                    let kind = RelevanceKind::IntegratedGradients;
                    integrated.push(relevance::map(kind, test.shape, &values, &regions[k]));
                }
                progress.advance(1);
            }
            let delta = explain::CERTIFIED_SHARE * settings.delta;
            let balls = batch.iter().zip(&classes).map(|(image, &class)| Ball { image, class, delta });
            let balls: Vec<Ball<'_>> = balls.take(CERTIFIED.saturating_sub(start)).collect();
            certified.extend(relevance::certified(&bounder, &balls, &regions)?);
        }
        summaries.extend([&integrated, &plain, &certified].into_iter().filter_map(|maps| summarized(variance, maps)));
    }
    progress.finish(&format!("{name}: relevance of {count} images at {} noise levels", variances.len()));
    Ok(summaries)
}

/// Mean and spread of the shares of maps of one kind; `None` without any relevance.
fn summarized(variance: f64, maps: &[RelevanceMap]) -> Option<RelevanceSummary> {
    let found: Vec<Shares> = maps.iter().filter_map(|m| m.shares).collect();
    let spread = |value: fn(&Shares) -> f64| Spread::of(&found.iter().map(value).collect::<Vec<_>>());
    let concentration: Vec<f64> = maps.iter().filter_map(|m| m.gini).collect();
    let signs = |counts: fn(&f32) -> bool| {
        let share = |m: &RelevanceMap| m.values.iter().filter(|v| counts(v)).count() as f64 / m.values.len() as f64;
        Spread::of(&maps.iter().map(share).collect::<Vec<_>>())
    };
    let decided =
        |delta: f64| Decided { delta, images: maps.len(), share: signs(|v| *v != 0.0), positive: signs(|v| *v > 0.0) };
    (!found.is_empty()).then(|| RelevanceSummary {
        variance,
        kind: maps[0].kind,
        images: found.len(),
        object: spread(|m| m.object),
        contour: spread(|m| m.contour),
        background: spread(|m| m.background),
        gini: (!concentration.is_empty()).then(|| Spread::of(&concentration)),
        decided: maps[0].delta.map(decided),
    })
}

/// The data in pictures: a few of every class, and what augmentation does to one of each.
fn summary(splits: &Splits, settings: &Settings) -> DataSummary {
    let data = &splits.train;
    let picture = |pixels: &[f32]| Picture::from_chw(data.shape, pixels);
    let samples = (0..data.classes.len())
        .flat_map(|class| {
            let of_class = (0..data.len()).filter(move |&i| data.labels[i] == class).take(8);
            of_class.map(move |i| Sample { label: class, picture: picture(data.image(i)) })
        })
        .collect();
    let examples = augment::examples(data, settings.seed);
    let per_class = examples.len() / data.classes.len().max(1);
    let augmentation = examples
        .chunks(per_class.max(1))
        .filter_map(|views| {
            let (first, rest) = views.split_first()?;
            let label = data.classes.iter().position(|c| *c == first.0)?;
            let variant =
                |(what, pixels): &(String, Vec<f32>)| Variant { what: what.clone(), picture: picture(pixels) };
            Some(Augmented { label, original: picture(&first.1), variants: rest.iter().map(variant).collect() })
        })
        .collect();
    DataSummary {
        name: settings.name.clone(),
        source: settings.source.clone(),
        shape: data.shape,
        classes: data.classes.clone(),
        train_counts: data.counts(),
        test_counts: splits.test.counts(),
        test_hash: Some(splits.test.hash()),
        samples,
        augmentation,
        ..DataSummary::default()
    }
}

fn described(settings: &Settings) -> std::collections::BTreeMap<String, String> {
    let t = &settings.train;
    [
        ("Epochs", t.epochs.to_string()),
        ("Images per training batch", t.batch.to_string()),
        ("Learning rate", t.rate.to_string()),
        ("Noise draws", settings.sweep.draws.to_string()),
        ("Method of the bounds", settings.method.to_string()),
        ("Images certified under noise", format!("first {} and the examples", settings.noisy_limit)),
    ]
    .map(|(k, v)| (k.to_string(), v))
    .into()
}
