//! The result folder of a run about light and lens: `vary.csv`, pictures, and `vary.json`, which sums it up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use serde::{Deserialize, Serialize};

use super::Kind as Change;
use crate::certify::answers::{self, Answers, Contents, Kind, key};
use crate::certify::manifest::{Asked, Manifest};
use crate::certify::table::quoted;
use crate::error::{Error, Result};
use crate::results::{quantile, write_atomically, write_json};

/// How far one image may change in one way, as in `vary.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Of the image.
    pub index: usize,
    /// What it is called.
    pub file: String,
    /// Its class.
    pub label: usize,
    /// The class that the network gives it.
    pub predicted: usize,
    /// Name of a [`Kind`](super::Kind).
    pub kind: String,
    /// Name of a [`Direction`](super::Direction).
    pub direction: String,
    /// The class is proved up to this parameter.
    pub proved: f64,
    /// It is lost at this one; infinite where no such place was found.
    pub broken: f64,
    /// Whether every f32 runtime sees it lost there, see [`Turn`](super::bracket::Turn).
    pub clear: bool,
    /// All parameters there, separated by spaces; empty where no such place was found.
    pub at: String,
}

/// `vary.csv`.
pub static VARY: Kind = Kind {
    file: "vary.csv",
    header: "index,file,label,predicted,kind,direction,proved,broken,clear,at",
    key: &[4, 5],
    variance: None,
};

const PICTURES: &str = "pictures";

/// What a folder of such a run holds.
pub static CONTENTS: Contents = Contents { tables: &[&VARY], others: &[PICTURES, "vary.json"] };

/// The kinds that a run asked about.
fn kinds(run: &Manifest) -> Vec<Change> {
    let Asked::Vary { kinds, .. } = &run.asked else { return vec![] };
    Change::ALL.into_iter().filter(|kind| kinds.iter().any(|name| name == kind.name())).collect()
}

/// Kind, direction and end of every way that a run asked about, in the order of its rows.
fn ways(run: &Manifest) -> Vec<(Change, &'static str, f64)> {
    let of = |kind: Change| kind.directions().iter().map(move |(direction, end)| (kind, direction.name(), *end));
    kinds(run).into_iter().flat_map(of).collect()
}

fn tables(run: &Manifest) -> Vec<(&'static Kind, usize)> {
    vec![(&VARY, ways(run).len())]
}

/// The folder being written.
pub struct Table {
    answers: Answers,
    dir: PathBuf,
    ways: Vec<(Change, &'static str, f64)>,
}

impl Table {
    /// Starts a folder, or goes on with one.
    ///
    /// # Errors
    /// As [`Answers::open`].
    pub fn open(dir: &Path, manifest: &Manifest, resume: bool, hash: impl Fn(usize) -> String) -> Result<Table> {
        let answers = Answers::open(dir, &CONTENTS, &[&VARY], manifest, resume, hash)?;
        let pictures = dir.join(PICTURES);
        std::fs::create_dir_all(&pictures).map_err(Error::io(&pictures, "creating the folder"))?;
        Ok(Table { answers, dir: dir.into(), ways: ways(manifest) })
    }

    /// How many rows there are, also while it is lent to a run.
    pub fn rows(&self) -> Arc<AtomicUsize> {
        self.answers.rows()
    }

    /// How many rows an image has.
    pub fn each(&self) -> usize {
        self.ways.len()
    }

    /// Whether all rows of an image were there before.
    pub fn knows(&self, index: usize) -> bool {
        self.ways.iter().all(|(kind, direction, _)| self.has(index, kind.name(), direction))
    }

    fn has(&self, index: usize, kind: &str, direction: &str) -> bool {
        self.answers.row(&VARY, &key(index, [kind, direction])).is_some()
    }

    /// Keeps the picture of an image, before its rows come.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn picture(&self, index: usize, png: &[u8]) -> Result<()> {
        write_atomically(&self.dir.join(PICTURES).join(format!("{index}.png")), png)
    }

    /// Appends the rows of an image, but those that were there when a run was killed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, rows: &[Row]) -> Result<()> {
        let line = |r: &Row| {
            let who = format!("{},{},{},{}", r.index, quoted(&r.file), r.label, r.predicted);
            format!("{who},{},{},{},{},{},{}\n", r.kind, r.direction, r.proved, r.broken, r.clear, r.at)
        };
        let new = rows.iter().filter(|r| !self.has(r.index, &r.kind, &r.direction));
        let lines: Vec<String> = new.map(line).collect();
        self.answers.push(&VARY, &lines)
    }
}

/// What was found of one kind and direction.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// Name of a kind,
    pub kind: String,
    /// and of a direction.
    pub direction: String,
    /// Parameters were looked at up to this.
    pub end: f64,
    /// All of them.
    pub images: usize,
    /// Share of brackets with ends within the gap of each other, or proved up to the end.
    pub closed: f64,
    /// Median over images that are right when clean of what is proved.
    pub proved: f64,
    /// And of where the class is lost; the end where it never is.
    pub broken: f64,
    /// Share of those images whose class is proved up to the end.
    pub never: f64,
    /// Broken ends, of all images, at which a runtime in f32 might still see the class if its roundings add up.
    pub unclear: usize,
}

/// `vary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    method: String,
    runtime: String,
    gap: f64,
    /// By kind and direction.
    pub ways: Vec<Way>,
}

/// Sums a finished run up, and keeps that in its folder.
///
/// # Errors
/// If the rows are not those of the manifest, or the file cannot be written.
pub fn sum_up(dir: &Path, run: &Manifest) -> Result<Summary> {
    let Asked::Vary { gap, .. } = run.asked else {
        return Err(Error::usage("the run of this manifest did not ask about light and lens"));
    };
    let ways = ways(run);
    let rows: Vec<Row> = answers::read_whole(dir, &VARY, run, ways.len())?;
    let of = |(kind, direction, end): &(Change, &str, f64)| {
        let own: Vec<&Row> = rows.iter().filter(|r| r.kind == kind.name() && r.direction == *direction).collect();
        way(kind.name(), direction, *end, &own, gap)
    };
    let (method, runtime) = (run.method.clone(), run.runtime.clone());
    let summary = Summary { method, runtime, gap, ways: ways.iter().map(of).collect() };
    write_json(&dir.join("vary.json"), &summary)?;
    Ok(summary)
}

/// Joins the shards of one run.
///
/// # Errors
/// As [`answers::merge`].
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<usize> {
    answers::merge(dirs, out, &CONTENTS, tables, |dir, run| sum_up(dir, run).map(drop))
}

fn way(kind: &str, direction: &str, end: f64, rows: &[&Row], gap: f64) -> Way {
    let right: Vec<&&Row> = rows.iter().filter(|r| r.predicted == r.label).collect();
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let median = |value: &dyn Fn(&Row) -> f64| {
        let mut values: Vec<f64> = right.iter().map(|r| value(r)).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    let closed = |r: &Row| super::bracket::is_closed(r.proved, r.broken.min(end), gap);
    Way {
        kind: kind.into(),
        direction: direction.into(),
        end,
        images: rows.len(),
        closed: share(rows.iter().filter(|r| closed(r)).count(), rows.len()),
        proved: median(&|r| r.proved),
        broken: median(&|r| r.broken.min(end)),
        unclear: rows.iter().filter(|r| r.broken.is_finite() && !r.clear).count(),
        never: share(right.iter().filter(|r| r.proved >= end).count(), right.len()),
    }
}
