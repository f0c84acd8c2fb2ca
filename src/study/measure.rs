//! What is measured of a model, however it was made: accuracy under noise, brackets, examples, relevance.

use std::ops::Range;

use super::{Settings, relevance};
use crate::bounds::Bounder;
use crate::dataset::Dataset;
use crate::device::Device;
use crate::error::Result;
use crate::network::Network;
use crate::noise::measured::Settings as Draws;
use crate::progress::Progress;
use crate::results::{CertifyRow, Example, NoiseLevel, Photo, RelevanceSummary, RiskRow};
use crate::search::Subject;
use crate::terminal::counted;
use crate::vary::Kind;
use crate::{attack, certify, explain, noise, search, sweep};
use rayon::prelude::*;

/// What was measured of one model.
pub struct Measured {
    pub sweep: Vec<NoiseLevel>,
    pub certify: Vec<CertifyRow>,
    /// Stronger noise, only of the `first` of several trainings.
    pub beyond: Vec<NoiseLevel>,
    /// Likewise of the first.
    pub examples: Vec<Example>,
    pub relevance: Vec<RelevanceSummary>,
    /// Likewise of the first.
    pub photos: Vec<Photo>,
    /// Likewise.
    pub risks: Vec<RiskRow>,
}

/// What a measurement is of.
pub struct Of<'a> {
    /// What it is called on the way.
    pub label: &'a str,
    /// Whether it is the first of several trainings, which the page shows in full.
    pub first: bool,
    /// Models and trainings that are measured after it.
    pub further: usize,
}

/// `model 2 of 3 (all-DA)`; the name alone where there is one model.
pub fn label(name: &str, [k, of]: [usize; 2]) -> String {
    if of > 1 { format!("model {} of {of} ({name})", k + 1) } else { name.into() }
}

/// Measures a model. `examples` are images to follow through every noise level, chosen here where there are none yet.
pub fn measure(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    of: &Of<'_>,
    examples: &mut Vec<usize>,
) -> Result<Measured> {
    let Of { label, first, .. } = *of;
    let passes = settings.sweep.passes() * test.len();
    let mut progress = Progress::start(settings.verbosity, &format!("{label}: noise sweep"), passes);
    let sweep = sweep::sweep(net, test, &settings.sweep, &mut progress)?;
    progress.finish(&format!("{label}: swept {} noise levels", sweep.len()));
    let beyond = if first { beyond(net, test, settings, label, &sweep)? } else { Vec::new() };
    let certify = delta_max(net, test, settings, of, examples)?;
    let examples = if first { followed(net, test, settings, &certify, label, examples)? } else { Vec::new() };
    let relevance = relevance::summary(net, test, settings, label, !first)?;
    let photos = if first { photos(net, test, settings, label)? } else { Vec::new() };
    let risks = if first { risks(net, test, settings, label)? } else { Vec::new() };
    Ok(Measured { sweep, beyond, certify, examples, relevance, photos, risks })
}

/// Draws per image and variance.
const DRAWS: usize = 300;

/// How likely noise is to change what the first images of every class are called, proved and measured: with the least noise
/// of the sweep, and with a tenth of its variance, where bounds say more.
fn risks(net: &Network, test: &Dataset, settings: &Settings, name: &str) -> Result<Vec<RiskRow>> {
    let images = first_of_each(test, settings.proved_noise);
    let least = settings.sweep.variances.iter().copied().find(|v| *v > 0.0);
    let (Some(least), false) = (least, images.is_empty()) else { return Ok(vec![]) };
    let bounder = settings.bounder(net)?;
    let draws = Draws { draws: DRAWS, confidence: explain::CONFIDENCE, risk: None, seed: settings.sweep.seed };
    let batch = search::Settings::new(&bounder).batch;
    let asked = noise::run::Settings { variances: vec![least / 10.0, least], search: None, draws, images, batch };
    let title = format!("{name}: random noise");
    let mut progress = Progress::start(settings.verbosity, &title, asked.variances.len() * asked.images.len());
    let mut rows = Vec::new();
    noise::run::run(&bounder, test, &asked, &mut rows, &mut progress)?;
    progress.finish(&format!("{name}: {} under random noise", counted(asked.images.len(), "image")));
    Ok(rows)
}

/// The first so many images of every class.
fn first_of_each(test: &Dataset, count: usize) -> Vec<usize> {
    let of = |class| (0..test.len()).filter(move |i| test.labels[*i] == class).take(count);
    (0..test.classes.len()).flat_map(of).collect()
}

/// By how much accuracy is to fall at last, so that its curve shows where it breaks.
const FALL: f64 = 0.1;

/// Each stronger noise has so many times the variance of the one before.
const STRONGER: f64 = 4.0;

/// Noise beyond that of the sweep, stronger and stronger until accuracy has fallen by [`FALL`], or the variance is 1. None
/// for a model that cannot fall so far: it is hardly better than guessing.
fn beyond(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    label: &str,
    sweep: &[NoiseLevel],
) -> Result<Vec<NoiseLevel>> {
    let (Some(clean), Some(last)) = (sweep.first(), sweep.last()) else { return Ok(vec![]) };
    let (mut variance, mut accuracy, mut all) = (last.variance, last.accuracy.mean, Vec::new());
    if clean.accuracy.mean - FALL < 1.0 / test.classes.len() as f64 {
        return Ok(all);
    }
    while variance > 0.0 && variance < 1.0 && accuracy > clean.accuracy.mean - FALL {
        variance = (STRONGER * variance).min(1.0);
        let stronger = sweep::Settings { variances: vec![variance], ..settings.sweep.clone() };
        let title = format!("{label}: noise of variance {variance:.3}");
        let mut progress = Progress::start(settings.verbosity, &title, stronger.passes() * test.len());
        let level = sweep::sweep(net, test, &stronger, &mut progress)?.remove(0);
        accuracy = level.accuracy.mean;
        progress.finish(&format!("{title}: {:.1} % right", 100.0 * accuracy));
        all.push(NoiseLevel { called: Vec::new(), ..level });
    }
    Ok(all)
}

/// Light and lens that take a second or two a photo: brackets of the three parameters of white balance take as long as all
/// others, and what `darken` adds to brightness and contrast is not worth a third of the time.
const KINDS: [Kind; 4] = [Kind::Brightness, Kind::Contrast, Kind::Defocus, Kind::MotionBlur];

/// How far the first photos of every class may change.
fn photos(net: &Network, test: &Dataset, settings: &Settings, name: &str) -> Result<Vec<Photo>> {
    let chosen = first_of_each(test, settings.photos);
    if chosen.is_empty() {
        return Ok(vec![]);
    }
    let bounder = settings.bounder(net)?;
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: noise, light and lens"), chosen.len());
    let images: Vec<_> = chosen.iter().map(|&i| test.image(i)).collect();
    let subjects = certify::classify(&bounder, &images)?;
    let limits = |(index, subject): &(usize, Subject)| {
        let index = *index;
        let mut stays = explain::noise_and_light(&bounder, subject, index as u32, settings.sweep.seed, &KINDS)?;
        stays.iter_mut().for_each(|s| (s.kept, s.other) = (None, None));
        Ok(Photo { index, label: test.labels[index], predicted: subject.class, stays })
    };
    let chosen: Vec<(usize, Subject)> = chosen.into_iter().zip(subjects).collect();
    let all = side_by_side(&net.device, &chosen, &mut progress, limits)?;
    progress.finish(&format!("{name}: {} under noise, other light and blur", counted(all.len(), "photo")));
    Ok(all)
}

/// Asks for each of some images by itself, as many side by side as the device takes.
fn side_by_side<T: Sync, R: Send>(
    device: &Device,
    images: &[T],
    progress: &mut Progress,
    ask: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let mut all = Vec::with_capacity(images.len());
    for block in images.chunks(device.side_by_side()) {
        all.extend(block.par_iter().map(&ask).collect::<Result<Vec<R>>>()?);
        progress.advance(block.len());
    }
    Ok(all)
}

/// Images followed through every noise level, at most.
const EXAMPLES: usize = 4;

/// One image of each class (the largest classes first): of those rightly classified, the one with the median proved
/// delta max, so that it is neither the weakest nor the strongest of its kind. If it can be one of the first `early` images,
/// which are certified under noise too, it is.
fn choose_examples(test: &Dataset, rows: &[CertifyRow], early: usize) -> Vec<usize> {
    let counts = test.counts();
    let mut classes: Vec<usize> = (0..counts.len()).collect();
    classes.sort_by_key(|&c| std::cmp::Reverse(counts[c]));
    let middle = |class: usize| {
        let mut of: Vec<&CertifyRow> = rows.iter().filter(|r| r.label == class).collect();
        let prefer = |of: &mut Vec<&CertifyRow>, test: &dyn Fn(&CertifyRow) -> bool| {
            if of.iter().any(|r| test(r)) {
                of.retain(|r| test(r));
            }
        };
        prefer(&mut of, &|r| r.predicted == class);
        prefer(&mut of, &|r| r.index < early);
        of.sort_by(|a, b| a.proved.total_cmp(&b.proved).then(a.index.cmp(&b.index)));
        of.get(of.len() / 2).map(|r| r.index)
    };
    classes.into_iter().filter_map(middle).take(EXAMPLES).collect()
}

/// The images of `range` at one noise level, each with its bracket.
fn brackets(
    bounder: &Bounder,
    test: &Dataset,
    settings: &Settings,
    variance: f64,
    range: Range<usize>,
    progress: &mut Progress,
) -> Result<Vec<CertifyRow>> {
    let asked = certify::Settings {
        variances: vec![variance],
        seed: settings.sweep.seed,
        range,
        search: search::Settings::new(bounder),
        attack: Some(attack::Settings::default()),
        close: None,
    };
    certify::collect(bounder, test, &asked, progress)
}

/// The examples that a model chooses, from nothing but what is measured for it, where others are measured elsewhere.
pub fn examples(net: &Network, test: &Dataset, settings: &Settings, label: &str) -> Result<Vec<usize>> {
    let clean = settings.limit.min(test.len());
    let mut progress = Progress::start(settings.verbosity, &format!("{label}: choosing examples"), clean);
    let rows = brackets(&settings.bounder(net)?, test, settings, 0.0, 0..clean, &mut progress)?;
    progress.finish(&format!("{label}: examples chosen for all models"));
    Ok(choose_examples(test, &rows, settings.noisy_limit.min(test.len())))
}

/// The bracket of every clean test image, and of the first images (and the examples) under noise. Chooses the examples
/// from the clean brackets where there are none yet.
fn delta_max(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    of: &Of<'_>,
    examples: &mut Vec<usize>,
) -> Result<Vec<CertifyRow>> {
    let name = of.label;
    let bounder = settings.bounder(net)?;
    let clean = settings.limit.min(test.len());
    let noisy = settings.noisy_limit.min(test.len());
    let mut rows = Vec::new();
    let levels = &settings.sweep.variances;
    let total = clean + (levels.len() - 1) * (noisy + EXAMPLES);
    let title = format!("{name}: proving ({})", settings.method);
    let mut progress = Progress::start(settings.verbosity, &title, total).again(of.further);
    for &variance in levels {
        let count = if variance == 0.0 { clean } else { noisy };
        let beyond = examples.iter().filter(|e| **e >= count).map(|&e| e..e + 1);
        for range in std::iter::once(0..count).chain(beyond.collect::<Vec<_>>()) {
            rows.extend(brackets(&bounder, test, settings, variance, range, &mut progress)?);
        }
        if examples.is_empty() {
            *examples = choose_examples(test, &rows, noisy);
        }
    }
    let mut radii: Vec<f64> = rows.iter().filter(|r| r.variance == 0.0).map(|r| r.proved).collect();
    radii.sort_by(f64::total_cmp);
    let median = crate::results::quantile(&radii, 0.5);
    progress.finish(&format!(
        "{name}: {} brackets, median proved delta max {}",
        rows.len(),
        settings.norm.text(median)
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
    let explained = |index: &usize| example_of(net, test, settings, rows, *index);
    let all = side_by_side(&net.device, examples, &mut progress, explained)?;
    progress.finish(&format!("{name}: {} explained", counted(all.len(), "image")));
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
    let bounder = settings.bounder(net)?;
    let mut levels = Vec::new();
    for &variance in &settings.sweep.variances {
        let image = sweep::noisy(&Device::cpu(), test, index, 1, variance, settings.sweep.seed, 0)?;
        let row = rows.iter().find(|r| r.index == index && r.variance == variance);
        let request = explain::Request {
            image: &image,
            clean: &test.image(index),
            shape: test.shape,
            variance,
            delta: settings.delta,
            class: row.map(|r| r.predicted),
            proved: row.map(|r| r.proved),
            attacked: row.and_then(|r| r.attacked),
        };
        levels.push(explain::level(&bounder, &request)?);
    }
    Ok(Example { index, file: test.names[index].clone(), label: test.labels[index], levels })
}
