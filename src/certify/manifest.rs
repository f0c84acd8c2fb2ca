//! `manifest.json`: what the rows of a result folder were made from, by what, and how.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input;
use crate::norm::Norm;
pub use crate::reading::Reading;
use crate::results::list;
use crate::shard::{self, Differences, Part, Shard};

/// What a run asks of every image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// The largest radius.
    #[default]
    Radii,
    /// How likely noise of each variance is to change its class.
    Noise {
        /// Of noise that is measured, per image and variance at most.
        draws: usize,
        /// Of what is measured.
        confidence: f64,
        /// How often the class may change.
        risk: f64,
        /// Whether the largest noise is asked for that changes it no more often.
        search: bool,
    },
    /// How far light or lens may change it.
    Vary {
        /// In which ways: names of kinds, as they are listed.
        kinds: Vec<String>,
        /// Share of each other to which the ends of brackets are closed.
        gap: f64,
    },
}

impl Asked {
    fn is_radii(&self) -> bool {
        *self == Asked::Radii
    }

    /// What two runs asked that is not the same.
    fn differ(&self, other: &Asked, found: &mut Differences) {
        match (self, other) {
            (Asked::Radii, Asked::Radii) => {}
            (
                Asked::Noise { draws, confidence, risk, search },
                Asked::Noise { draws: d, confidence: c, risk: r, search: s },
            ) => {
                found.other("--draws", d, draws);
                found.other("--confidence", c, confidence);
                found.other("--risk", r, risk);
                found.unlike(s == search, "--search");
            }
            (Asked::Vary { kinds, gap }, Asked::Vary { kinds: k, gap: g }) => {
                found.other("--vary", k.join(","), kinds.join(","));
                found.other("--gap", g, gap);
            }
            (Asked::Radii | Asked::Noise { .. } | Asked::Vary { .. }, _) => found.unlike(false, "question"),
        }
    }
}

/// Everything needed to repeat or join a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program.
    pub deltamax: String,
    /// The command line.
    pub command: String,
    /// As [`Device::describe`](crate::device::Device::describe) says.
    pub device: String,
    /// Path of the ONNX file, as it was given.
    pub model: String,
    /// SHA-256 of the model file and of what it keeps in other files.
    pub model_hash: String,
    /// What the reader of the model said of it, a line each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Path of the images, as it was given.
    pub data: String,
    /// The classes asked for, as given; empty if all were taken.
    #[serde(default)]
    pub chosen: Vec<String>,
    /// What was chosen where files leave it open.
    #[serde(default)]
    pub reading: Reading,
    /// Seed of the split.
    #[serde(default)]
    pub split_seed: u64,
    /// SHA-256 of the images certified from.
    pub data_hash: String,
    /// Names of the classes; rows say their index.
    pub classes: Vec<String>,
    /// `train` or `test`.
    pub split: String,
    /// Name of a [`Method`](crate::bounds::Method).
    pub method: String,
    /// Of the noise added before certifying, in squared pixel units; 0 for clean images.
    pub variances: Vec<f64>,
    /// Of that noise.
    pub seed: u64,
    /// Share of the best provable radius at which the search stops.
    pub tolerance: f32,
    /// Whether images were attacked; where not, an empty `attacked` says nothing of the image.
    #[serde(default = "yes")]
    pub attack: bool,
    /// Domains that branch and bound may take per image.
    #[serde(default)]
    pub branch: usize,
    /// Nonlinear layers that rows of neurons passed at most; all where none is given.
    #[serde(default)]
    pub depth: Option<usize>,
    /// Whether balls were bounded around their images.
    #[serde(default, skip_serializing_if = "is_no")]
    pub around: bool,
    /// Which evaluations of the network the radii hold for.
    #[serde(default = "exact")]
    pub runtime: String,
    /// What radii are measured by: the name of a [`Norm`].
    #[serde(default)]
    pub norm: Norm,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Asked::is_radii")]
    pub asked: Asked,
    /// Images of the split that the whole run covers.
    pub images: usize,
    /// This part of them, images `start..end`.
    pub shard: Shard,
    /// First image of the shard.
    pub start: usize,
    /// First image after it.
    pub end: usize,
}

fn yes() -> bool {
    true
}

fn is_no(v: &bool) -> bool {
    !v
}

fn exact() -> String {
    "exact".into()
}

impl shard::Part for Manifest {
    fn shard(&self) -> Shard {
        self.shard
    }

    /// Why rows made under `other` may not stand beside rows made under this manifest, if they may not. Shards of one run
    /// may.
    ///
    /// Where a run was made is no part of what its rows say: noise is the same everywhere, and any device's proof is one.
    fn difference(&self, other: &Manifest) -> Option<String> {
        // A new field has to be given its place here.
        let Manifest {
            deltamax,
            command: _,
            device: _,
            model: _,
            model_hash,
            notes: _,
            data: _,
            // How the images were chosen shows in their hash, which covers shape, classes, names, labels, order and pixels.
            chosen: _,
            reading: Reading { output, pixels, names: _, size: _, fit: _ },
            split_seed: _,
            data_hash,
            classes: _,
            split: _,
            method,
            variances,
            seed,
            tolerance,
            attack,
            branch,
            depth,
            around,
            runtime,
            norm,
            asked,
            images,
            shard: Shard { index: _, of: shards },
            start: _,
            end: _,
        } = other;
        if *deltamax != self.deltamax {
            return Some(format!("its run was made by deltamax {deltamax}, not {}", self.deltamax));
        }
        let layers = |depth: Option<usize>| depth.map_or("all".into(), |depth: usize| depth.to_string());
        let mut found = Differences::default();
        found.unlike(*model_hash == self.model_hash, "model");
        found.unlike(*output == self.reading.output, "--output");
        found.unlike(*pixels == self.reading.pixels, "--mean, --std or --input-range");
        found.unlike(*data_hash == self.data_hash, "data");
        found.other("--limit", images, self.images);
        found.other("--method", method, &self.method);
        found.other("--variance", list(variances), list(&self.variances));
        found.other("--seed", seed, self.seed);
        found.other("--tolerance", tolerance, self.tolerance);
        found.unlike(*attack == self.attack, "--no-attack");
        found.other("--branch", branch, self.branch);
        found.other("--depth", layers(*depth), layers(self.depth));
        found.unlike(*around == self.around, "choice of bounds");
        found.other("--runtime", runtime, &self.runtime);
        found.other("--norm", norm, self.norm);
        self.asked.differ(asked, &mut found);
        found.other("--shard", format!("one of {shards}"), format!("one of {}", self.shard.of));
        found.said()
    }
}

impl Manifest {
    /// Rows of a finished run.
    pub fn expected(&self) -> usize {
        (self.end - self.start) * self.variances.len()
    }

    /// Whether the numbers of images fit each other.
    fn check(&self) -> std::result::Result<(), String> {
        let Manifest { shard, start, end, images, .. } = self;
        if shard.exists() && shard.range(*images) == (*start..*end) {
            return Ok(());
        }
        Err(format!("images {start}..{end} are not shard {shard} of {images}"))
    }
}

/// The manifest of results that a run may go on from: `manifest` describes the same run, or one of more images, the first of
/// which are those that `dir` is about; `hash` is that of the first so many.
///
/// # Errors
/// If the results there belong to another run.
pub fn continued(dir: &Path, manifest: &Manifest, hash: impl Fn(usize) -> String) -> Result<Manifest> {
    let before = read_manifest(dir)?;
    let other_shard = (before.shard != manifest.shard).then(|| "its run had another --shard".into());
    let whole_set = [&before, manifest].map(|m| m.shard) == [Shard::WHOLE; 2];
    let longer = whole_set && before.images < manifest.images && hash(before.images) == before.data_hash;
    let asked = Manifest {
        images: if longer { before.images } else { manifest.images },
        data_hash: if longer { before.data_hash.clone() } else { manifest.data_hash.clone() },
        ..manifest.clone()
    };
    match asked.difference(&before).or(other_shard) {
        Some(problem) => Err(Error::input(dir.join("manifest.json"), problem + "; give another --out")),
        None => Ok(before),
    }
}

/// The shards of one run, in order, and the manifest of the whole.
///
/// # Errors
/// If one has no manifest, is missing, given twice, or of another run.
pub(super) fn of_shards(dirs: &[PathBuf]) -> Result<(Vec<(Manifest, &Path)>, Manifest)> {
    let mut parts = Vec::new();
    for dir in dirs {
        parts.push((read_manifest(dir)?, dir.as_path()));
    }
    shard::in_order(&mut parts, "certify")?;
    let first = &parts[0].0;
    let whole = Manifest { shard: Shard::WHOLE, start: 0, end: first.images, ..first.clone() };
    Ok((parts, whole))
}

/// The manifest of a result folder.
///
/// # Errors
/// If it is missing, cut off or no manifest of certify.
pub fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join("manifest.json");
    let bad = |why: String| {
        Error::input(&path, format!("is not a manifest of certify ({why}); certify again with another --out"))
    };
    if dir.is_dir() && !path.exists() {
        return Err(bad("it is missing".into()));
    }
    let text = input::read(&path, 1 << 26)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    manifest.check().map_err(bad)?;
    Ok(manifest)
}
