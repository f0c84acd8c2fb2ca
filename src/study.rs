//! The case study: classifiers trained with different augmentation, and in other ways if asked for, compared under noise,
//! by relevance and dominance, and by a proved delta max for every test image.

mod data;
mod measure;
pub mod part;
mod relevance;
mod training;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use self::measure::Measured;
use self::part::Part;
use self::training::Training;
use crate::bounds::{Bounder, Method};
use crate::dataset::augment::Policy;
use crate::dataset::{Dataset, Splits};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::network::Network;
use crate::norm::Norm;
use crate::progress::{Verbosity, duration};
use crate::results::{ModelResult, Picture, Requirements, Study};
use crate::shard::Shard;
use crate::{sweep, terminal, train};

/// What to study.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of everything random.
    pub seed: u64,
    /// Trainings of every policy, each with a seed of its own.
    pub repeats: usize,
    /// What a model has to reach.
    pub requirements: Requirements,
    /// How each model is trained, unless its recipe says otherwise.
    pub train: train::Settings,
    /// How a further model is trained, by certified training.
    pub certified: Option<train::Settings>,
    /// A further model whose training images are under Gaussian noise of this variance, in squared pixel units.
    pub noise_aug: Option<f64>,
    /// Which noise the models are shown.
    pub sweep: sweep::Settings,
    /// How bounds are computed.
    pub method: Method,
    /// What radii are measured by.
    pub norm: Norm,
    /// Clean test images to certify, the first of the test set: split by seed, they have its class balance.
    pub limit: usize,
    /// Test images to certify under each noise level.
    pub noisy_limit: usize,
    /// Test images whose relevance is measured.
    pub relevance_limit: usize,
    /// The rate at which a class is recognised well enough.
    pub satisfied: f64,
    /// Test photos of each class whose limits of noise, light and blur are found.
    pub photos: usize,
    /// Test images of each class of which it is proved how likely noise is to change what they are called.
    pub proved_noise: usize,
    /// Radius of the ball of the dominance pictures, in this norm.
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

impl Settings {
    /// The bounds of a network that the study asks.
    fn bounder(&self, net: &Network) -> Result<Bounder> {
        Ok(Bounder::new(net, self.method)?.for_norm(self.norm))
    }
}

/// A model that is there already.
pub struct Given {
    /// Unique among the models of a study.
    pub name: String,
    /// The network.
    pub model: Model,
    /// SHA-256 of its file, in hex.
    pub hash: String,
    /// Where it was read from.
    pub file: String,
}

/// How many trainings a study on these images has.
pub fn trainings(train: &Dataset, settings: &Settings) -> usize {
    settings.repeats * recipes(train, settings).len()
}

/// Trains and measures those models that belong to the shard; their files go to `dir` as they are made. [`part::whole`] makes
/// one study of all shards.
///
/// # Errors
/// Of training and measuring, and if there are fewer trainings than shards.
pub fn study(device: &Device, splits: &Splits, settings: &Settings, shard: Shard, dir: &Path) -> Result<Part> {
    let mut clock = Clock::new(settings);
    let recipes = recipes(&splits.train, settings);
    let names: Vec<String> = recipes.iter().map(|recipe| recipe.name.clone()).collect();
    let training = |nth, k: usize| {
        let (recipe, place) = (&recipes[k], [k, recipes.len()]);
        Training { device, splits, settings, dir, recipe, place, nth }
    };
    let mine = dealt(shard, trainings(&splits.train, settings), "trainings")?;
    // Chosen by the first model, the same for all.
    let mut examples = if mine[0] > 0 { training(0, 0).examples()? } else { vec![] };
    let (mut models, mut repeats) = (Vec::new(), Vec::new());
    for (i, &unit) in mine.iter().enumerate() {
        let (nth, k) = (unit / recipes.len(), unit % recipes.len());
        if nth == 0 {
            models.push(training(0, k).first(&mut examples)?);
        } else {
            repeats.push((names[k].clone(), nth, training(nth, k).repeat(&mut examples)?));
        }
        clock.tell(i + 1, mine.len(), "trainings");
    }
    let study = framed(device, splits, settings, models, &clock, true);
    Ok(Part::new(shard, (names, settings.repeats), settings, study, repeats, examples))
}

/// The same of models that are there already: nothing is trained. They take the images of `splits.test`.
///
/// # Errors
/// Of measuring, and if there are fewer models than shards.
pub fn study_given(
    device: &Device,
    splits: &Splits,
    settings: &Settings,
    given: &[Given],
    shard: Shard,
) -> Result<Part> {
    let mut clock = Clock::new(settings);
    let net = |k: usize| Network::new(device, &given[k].model);
    let label = |k: usize| measure::label(&given[k].name, [k, given.len()]);
    let mine = dealt(shard, given.len(), "models")?;
    let mut examples =
        if mine[0] > 0 { measure::examples(&net(0)?, &splits.test, settings, &label(0))? } else { vec![] };
    let mut models = Vec::new();
    for (i, &k) in mine.iter().enumerate() {
        let (one, net) = (&given[k], net(k)?);
        let of = measure::Of { label: &label(k), first: true, further: mine.len() - i - 1 };
        let measured = measure::measure(&net, &splits.test, settings, &of, &mut examples)?;
        let Measured { sweep, beyond, certify, examples, relevance, photos, risks } = measured;
        models.push(ModelResult {
            name: one.name.clone(),
            parameters: one.model.parameters(),
            file: Some(one.file.clone()),
            hash: Some(one.hash.clone()),
            sweep,
            beyond,
            certify,
            examples,
            relevance,
            photos,
            risks,
            ..ModelResult::default()
        });
        clock.tell(i + 1, mine.len(), "models");
    }
    let names = given.iter().map(|one| one.name.clone()).collect();
    let study = framed(device, splits, settings, models, &clock, false);
    Ok(Part::new(shard, (names, 1), settings, study, vec![], examples))
}

/// Which of so many trainings or models are a shard's: dealt out in turn, since the first training of each model takes longest.
fn dealt(shard: Shard, of: usize, what: &str) -> Result<Vec<usize>> {
    if shard.of > of {
        return Err(Error::usage(format!("a study of {of} {what} has so many shards at most, not {}", shard.of)));
    }
    Ok((shard.index..of).step_by(shard.of).collect())
}

/// The results with all that surrounds them.
fn framed(
    device: &Device,
    splits: &Splits,
    settings: &Settings,
    models: Vec<ModelResult>,
    clock: &Clock,
    trained: bool,
) -> Study {
    let mut study = Study {
        title: title(settings, &splits.test.classes),
        command: settings.command.clone(),
        seed: settings.seed,
        norm: settings.norm,
        device: device.describe(),
        versions: [("deltamax".to_string(), env!("CARGO_PKG_VERSION").to_string())].into(),
        settings: described(settings, splits.test.len(), trained),
        started: clock.date.clone(),
        dataset: data::summary(splits, settings),
        models,
        requirements: settings.requirements.clone(),
        satisfied: Some(settings.satisfied),
        ..Study::default()
    };
    let shown: BTreeSet<usize> = study.extremes(8);
    let picture = |i: usize| (i, Picture::from_chw(splits.test.shape, &splits.test.image(i)));
    study.dataset.pictures = shown.into_iter().map(picture).collect();
    study.seconds = Some(clock.started.elapsed().as_secs_f64());
    study
}

/// How long a study takes.
struct Clock {
    started: Instant,
    date: Option<String>,
    verbosity: Verbosity,
}

impl Clock {
    fn new(settings: &Settings) -> Clock {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let date = now.ok().map(|d| date(d.as_secs()));
        Clock { started: Instant::now(), date, verbosity: settings.verbosity }
    }

    /// Says how far it is and about how long it takes yet.
    fn tell(&mut self, done: usize, total: usize, what: &str) {
        let left = self.started.elapsed().as_secs_f64() / done as f64 * (total - done) as f64;
        if self.verbosity == Verbosity::Normal && done < total {
            // The first is slower than the others: it has the examples.
            let about = if done > 1 { format!(", about {} left", duration(left)) } else { String::new() };
            terminal::note(format_args!("{done} of {total} {what} done{about}"));
        }
    }
}

/// `2026-11-22 20:55 UTC` of seconds since 1970 (civil calendar by Hinnant, "chrono-compatible low-level date algorithms").
fn date(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era_day = days.rem_euclid(146_097);
    let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + days.div_euclid(146_097) * 400 + later;
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60)
}

/// One way to train that a study compares.
struct Recipe {
    /// Of the model, in the report and in the name of its file.
    name: String,
    /// Which classes are augmented.
    policy: Policy,
    /// What is learned from them.
    train: train::Settings,
}

/// No augmentation, the rarest class augmented, all classes augmented; then what was asked for beyond the case study.
fn recipes(train: &Dataset, settings: &Settings) -> Vec<Recipe> {
    let counts = train.counts();
    let rarest = (0..counts.len()).min_by_key(|&c| counts[c]).unwrap_or(0);
    let class = train.classes[rarest].to_lowercase();
    let usual = || settings.train.clone();
    let noise = settings.noise_aug.map(|noise| ("noise-DA".into(), Policy::None, train::Settings { noise, ..usual() }));
    // A rare class is what worst cases give up first: the images of all-DA.
    let certified = settings.certified.clone().map(|train| ("certified".into(), Policy::All, train));
    let study = [
        ("no-DA".into(), Policy::None, usual()),
        (format!("DA-{class}"), Policy::Classes(vec![rarest]), usual()),
        ("all-DA".into(), Policy::All, usual()),
    ];
    let all = study.into_iter().chain(noise).chain(certified);
    all.map(|(name, policy, train)| Recipe { name, policy, train }).collect()
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

fn described(settings: &Settings, test: usize, trained: bool) -> std::collections::BTreeMap<String, String> {
    let t = &settings.train;
    let first =
        |n: usize| if n < test { format!("the first {n} of {test}, and the examples") } else { format!("all {test}") };
    let training = [
        ("Trainings of every policy", settings.repeats.to_string()),
        ("Epochs", t.epochs.to_string()),
        ("Images per training batch", t.batch.to_string()),
        ("Learning rate", t.rate.to_string()),
    ];
    let measuring = [
        ("Noise draws", settings.sweep.draws.to_string()),
        ("Method of the bounds", settings.method.to_string()),
        ("Test images certified", first(settings.limit)),
        ("Test images certified under noise", first(settings.noisy_limit)),
    ];
    let further = [
        (
            "Certified training",
            settings.certified.as_ref().and_then(|t| Some(format!("{} epochs; {}", t.epochs, t.certified?))),
        ),
        ("Noise augmentation", settings.noise_aug.map(|v| format!("Gaussian, variance {v}, clipped to [0,1]"))),
    ];
    let further = further.into_iter().filter_map(|(k, v)| Some((k, v?)));
    let all = training.into_iter().chain(further).filter(|_| trained).chain(measuring);
    all.map(|(k, v)| (k.to_string(), v)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_826_140, "2000-02-29 12:09 UTC"),
            (1_767_225_599, "2025-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(super::date(seconds), text);
        }
    }
}
