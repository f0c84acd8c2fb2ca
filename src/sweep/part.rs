//! What one shard of a sweep found, and how shards become the sweep.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input;
use crate::reading::Reading;
use crate::results::{NoiseLevel, list};
use crate::shard::{self, Differences, Shard};

/// [`FILE`]: what the images of a shard are called, and where that comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Version of the program.
    pub deltamax: String,
    /// The command line.
    pub command: String,
    /// As [`Device::describe`](crate::device::Device::describe) says.
    pub device: String,
    /// SHA-256 of the model file and of what it keeps in other files.
    pub model_hash: String,
    /// What was chosen where files leave it open.
    pub reading: Reading,
    /// SHA-256 of the images, those of other shards included.
    pub data_hash: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Of the noise, in squared pixel units.
    pub variances: Vec<f64>,
    /// Draws per image and variance.
    pub draws: usize,
    /// Of the noise.
    pub seed: u64,
    /// Images of all shards.
    pub images: usize,
    /// Which of them these are.
    pub shard: Shard,
    /// Class of every image of the shard.
    pub labels: Vec<usize>,
    /// What they are called: `[variance][draw][image]`.
    pub called: Vec<Vec<Vec<usize>>>,
}

/// Where a folder keeps its part.
pub const FILE: &str = "sweep_part.json";

impl shard::Part for Part {
    fn shard(&self) -> Shard {
        self.shard
    }

    fn difference(&self, other: &Part) -> Option<String> {
        // A new field has to be given its place here.
        let Part {
            deltamax,
            command: _,
            device: _,
            model_hash,
            reading: Reading { output, pixels, names: _, size: _, fit: _ },
            data_hash,
            classes: _,
            variances,
            draws,
            seed,
            images,
            shard: Shard { index: _, of },
            labels: _,
            called: _,
        } = other;
        let mut found = Differences::default();
        found.other("version of deltamax", deltamax, &self.deltamax);
        found.unlike(*model_hash == self.model_hash, "model");
        found.unlike(*output == self.reading.output, "--output");
        found.unlike(*pixels == self.reading.pixels, "--mean, --std or --input-range");
        found.unlike(*data_hash == self.data_hash, "data");
        found.other("--limit", images, self.images);
        found.other("--variance", list(variances), list(&self.variances));
        found.other("--draws", draws, self.draws);
        found.other("--seed", seed, self.seed);
        found.other("--shard", format!("one of {of}"), format!("one of {}", self.shard.of));
        found.said()
    }
}

impl Part {
    /// Whether there are labels and answers for the images of the shard.
    fn fits(&self) -> bool {
        let (images, classes) = (self.shard.range(self.images).len(), self.classes.len());
        let settings = super::Settings { variances: self.variances.clone(), draws: self.draws, seed: self.seed };
        let row = |row: &Vec<usize>| row.len() == images && row.iter().all(|c| *c < classes);
        let level = |(v, draws): (&f64, &Vec<Vec<usize>>)| draws.len() == settings.draws(*v) && draws.iter().all(row);
        self.shard.exists()
            && row(&self.labels)
            && self.called.len() == self.variances.len()
            && self.variances.iter().zip(&self.called).all(level)
    }
}

fn read(dir: &Path) -> Result<Part> {
    let path = dir.join(FILE);
    let problem = "is no part of a sweep; give folders of sweep --shard, and sweep this one again with another --out";
    let part: Option<Part> = serde_json::from_slice(&input::read(&path, 1 << 32)?).ok();
    part.filter(Part::fits).ok_or_else(|| Error::input(&path, problem))
}

/// The sweep that these folders are the shards of, and the names of its classes.
///
/// # Errors
/// If a shard is missing or given twice, or comes from another run.
pub fn join(dirs: &[PathBuf]) -> Result<(Vec<NoiseLevel>, Vec<String>)> {
    let mut parts = Vec::new();
    for dir in dirs {
        parts.push((read(dir)?, dir.as_path()));
    }
    shard::in_order(&mut parts, "sweep")?;
    let (first, _) = &parts[0];
    let labels: Vec<usize> = parts.iter().flat_map(|(part, _)| part.labels.iter().copied()).collect();
    let mut called: Vec<Vec<Vec<usize>>> = first.called.iter().map(|draws| vec![vec![]; draws.len()]).collect();
    for (part, _) in &parts {
        for (whole, draws) in called.iter_mut().zip(&part.called) {
            whole.iter_mut().zip(draws).for_each(|(whole, draw)| whole.extend(draw));
        }
    }
    Ok((super::levels(&first.variances, called, &labels, first.classes.len()), first.classes.clone()))
}
