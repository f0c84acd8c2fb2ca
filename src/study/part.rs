//! What one shard of a study found, and how shards become the study.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::error::{Error, Result};
use crate::input;
use crate::model::onnx;
use crate::progress::Verbosity;
use crate::results::{DataSummary, Repeat, Study, write_atomically};
use crate::shard::{self, Differences, Shard};

/// [`FILE`]: some of the models of a study, or of their trainings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    shard: Shard,
    /// All models of the study, in its order.
    names: Vec<String>,
    /// Trainings of each of them.
    trainings: usize,
    /// All that was chosen, as text.
    asked: String,
    /// The study with those models only whose first training is here.
    study: Study,
    /// Further trainings that are here: of which model, and which of its trainings, counted from 0.
    repeats: Vec<(String, usize, Repeat)>,
    /// Images that every model is followed by.
    examples: Vec<usize>,
}

/// Where a folder keeps its part.
pub const FILE: &str = "study_part.json";

impl shard::Part for Part {
    fn shard(&self) -> Shard {
        self.shard
    }

    fn difference(&self, other: &Part) -> Option<String> {
        let (mine, theirs) = (&self.study, &other.study);
        let words = |map: &BTreeMap<String, String>| -> String {
            map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        };
        // Pictures are of images that a part's own models chose, and every machine may have the data elsewhere.
        let data = |study: &Study| DataSummary {
            pictures: BTreeMap::new(),
            name: String::new(),
            source: String::new(),
            ..study.dataset.clone()
        };
        let mut found = Differences::default();
        found.other("version", words(&theirs.versions), words(&mine.versions));
        found.unlike(data(theirs) == data(mine), "data");
        found.other("models", other.names.join(", "), self.names.join(", "));
        found.other("--repeats", other.trainings, self.trainings);
        found.other("--seed", theirs.seed, mine.seed);
        found.other("--norm", theirs.norm, mine.norm);
        found.other("settings", words(&theirs.settings), words(&mine.settings));
        found.unlike(other.asked == self.asked || theirs.settings != mine.settings, "choice of flags");
        found.unlike(other.examples == self.examples, "choice of examples (devices of one kind agree on them)");
        found.other("--shard", format!("one of {}", other.shard.of), format!("one of {}", self.shard.of));
        found.said()
    }
}

impl Part {
    pub(super) fn new(
        shard: Shard,
        (names, trainings): (Vec<String>, usize),
        settings: &Settings,
        study: Study,
        repeats: Vec<(String, usize, Repeat)>,
        examples: Vec<usize>,
    ) -> Part {
        let [name, source, command] = [String::new(), String::new(), String::new()];
        let asked = Settings { name, source, command, verbosity: Verbosity::Normal, ..settings.clone() };
        Part { shard, names, trainings, asked: format!("{asked:?}"), study, repeats, examples }
    }

    /// The files of the models that were trained here, each with its SHA-256.
    fn files(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let trained = self.study.models.iter().filter(|m| !m.training.is_empty());
        let first = trained.map(|m| (m.file.as_deref(), m.hash.as_deref()));
        let further = self.repeats.iter().map(|(.., r)| (r.file.as_deref(), r.hash.as_deref()));
        first.chain(further).filter_map(|(file, hash)| Some((file?, hash)))
    }
}

/// The study of all these parts, which are all that it has, in any order.
///
/// # Errors
/// With the name of a model whose training is in none.
pub fn whole(parts: Vec<Part>) -> Result<Study> {
    let lacks = |name: &str| Error::failed(format!("no part has all trainings of {name}"));
    let mut parts = parts.into_iter();
    let Some(Part { names, trainings, mut study, mut repeats, .. }) = parts.next() else {
        return Err(Error::usage("nothing to merge"));
    };
    let mut devices = vec![study.device.clone()];
    for part in parts {
        let Study { models, dataset, started, seconds, device, .. } = part.study;
        study.models.extend(models);
        study.dataset.pictures.extend(dataset.pictures);
        // As text, years first.
        study.started = study.started.min(started);
        study.seconds = study.seconds.zip(seconds).map(|(a, b)| a + b);
        if !devices.contains(&device) {
            devices.push(device);
        }
        repeats.extend(part.repeats);
    }
    study.device = devices.join("; ");
    let place = |name: &str| names.iter().position(|n| n == name);
    study.models.sort_by_key(|model| place(&model.name));
    if let Some(name) = names.iter().find(|name| study.models.iter().filter(|m| m.name == **name).count() != 1) {
        return Err(lacks(name));
    }
    repeats.sort_by_key(|(name, nth, _)| (place(name), *nth));
    for model in &mut study.models {
        let own = repeats.extract_if(.., |(name, ..)| *name == model.name);
        model.repeats = own.map(|(.., repeat)| repeat).collect();
        if model.repeats.len() + 1 != trainings {
            return Err(lacks(&model.name));
        }
    }
    Ok(study)
}

fn read(dir: &Path) -> Result<Part> {
    let path = dir.join(FILE);
    let part: Option<Part> = serde_json::from_slice(&input::read(&path, 1 << 32)?).ok();
    part.filter(|part| part.shard.exists()).ok_or_else(|| {
        let problem = "is no part of a study; give folders of study --shard, and run this one again with another --out";
        Error::input(&path, problem)
    })
}

/// The study that these folders are the shards of, whose models are copied into `out`.
///
/// # Errors
/// If a shard is missing or given twice, or comes from another run, or a model is not the one that was measured.
pub fn join(dirs: &[PathBuf], out: &Path) -> Result<Study> {
    let mut parts = Vec::new();
    for dir in dirs {
        parts.push((read(dir)?, dir.as_path()));
    }
    shard::in_order(&mut parts, "study")?;
    for (part, dir) in &parts {
        for (file, hash) in part.files() {
            let path = dir.join(file);
            let content = input::read(&path, u64::MAX)?;
            if Path::new(file).file_name() != Some(file.as_ref()) || Some(&*onnx::fingerprint_of(&content)) != hash {
                return Err(Error::input(&path, "is not the model that its part measured; study this shard again"));
            }
            write_atomically(&out.join(file), &content)?;
        }
    }
    whole(parts.into_iter().map(|(part, _)| part).collect())
}
