//! Runs side by side: models of one study, of several, or certified on their own, at whatever dates.

mod page;
mod read;

pub use read::read;

use super::stats;
use crate::error::{Error, Result};
use crate::results::{CertifyRow, Spread, quantile, write_atomically};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// One model as one run measured it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Unique among the runs compared: the model's name, with its folder where needed.
    pub name: String,
    /// Folder it was read from, and its date where known.
    pub folder: String,
    /// When it was made, as text.
    pub date: Option<String>,
    /// Name of the bounds.
    pub method: String,
    /// Version of the program that made it, where known.
    pub version: Option<String>,
    /// What the reader of the model's file said of it.
    pub notes: Vec<String>,
    /// SHA-256 of the test images, and their number.
    pub data: Option<String>,
    /// Number of test images.
    pub images: usize,
    /// Accuracy by rising variance.
    pub accuracy: Vec<(f64, Spread)>,
    /// Clean rows.
    pub rows: Vec<CertifyRow>,
}

/// What [`compare`] found; `compare.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Differences are against this run.
    pub reference: String,
    /// The reference first, the others as they were given.
    pub runs: Vec<Entry>,
}

/// One run in figures. Deltas are in pixel units of `[0,1]`.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// As [`Run::name`].
    pub name: String,
    /// As [`Run::folder`].
    pub folder: String,
    /// When it was made, where known.
    pub date: Option<String>,
    /// Name of the bounds.
    pub method: String,
    /// Version of the program that made it, where known.
    pub version: Option<String>,
    /// What the reader of the model's file said of it.
    pub notes: Vec<String>,
    /// Clean test images with a bracket.
    pub certified: usize,
    /// Share of clean test images rightly classified.
    pub clean_accuracy: Option<f64>,
    /// The strongest noise that every run measured.
    pub noise: Option<f64>,
    /// The same at [`Entry::noise`].
    pub noisy_accuracy: Option<f64>,
    /// Quantiles 5 %, 25 %, 50 %, 75 %, 95 % of proved delta max.
    pub proved: Option<[f64; 5]>,
    /// Median over the images an attack broke or not; `None` where more than half withstood.
    pub attacked_median: Option<f64>,
    /// Against the reference, on the images both certified.
    pub difference: Option<Difference>,
}

/// A paired difference of medians.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Images both runs certified.
    pub images: usize,
    /// Those among them with the very same proved delta max.
    pub equal: usize,
    /// Median proved delta max minus the reference's, on those images.
    pub median: f64,
    /// 95 % bootstrap interval, images drawn in pairs.
    pub interval: [f64; 2],
}

impl Difference {
    /// Whether every image has the same proved delta max in both runs.
    pub fn none(&self) -> bool {
        self.equal == self.images
    }

    /// Whether the interval leaves zero out.
    pub fn clear(&self) -> bool {
        self.interval[0] > 0.0 || self.interval[1] < 0.0
    }
}

/// Compares every run with the first.
///
/// # Errors
/// If there are fewer than two runs.
pub fn compare(runs: &[Run]) -> Result<Comparison> {
    let [reference, _, ..] = runs else {
        return Err(Error::usage("comparing takes at least two models; give more folders"));
    };
    let shared = |v: f64| runs.iter().all(|r| r.accuracy.iter().any(|a| a.0 == v));
    let noise = reference.accuracy.iter().map(|a| a.0).filter(|&v| v > 0.0 && shared(v)).reduce(f64::max);
    let entry = |r: &Run| {
        let proved = stats::sorted(r.rows.iter().map(|r| r.proved));
        let attacked = stats::median(r.rows.iter().map(|r| r.attacked.unwrap_or(f64::INFINITY)));
        let accuracy = |at: f64| r.accuracy.iter().find(|a| a.0 == at).map(|a| a.1.mean);
        Entry {
            name: r.name.clone(),
            folder: r.folder.clone(),
            date: r.date.clone(),
            method: r.method.clone(),
            version: r.version.clone(),
            notes: r.notes.clone(),
            certified: proved.len(),
            clean_accuracy: accuracy(0.0),
            noise,
            noisy_accuracy: noise.and_then(accuracy),
            proved: (!proved.is_empty()).then(|| [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&proved, q))),
            attacked_median: Some(attacked).filter(|a| a.is_finite()),
            difference: if std::ptr::eq(r, reference) { None } else { difference(r, reference) },
        }
    };
    Ok(Comparison { reference: reference.name.clone(), runs: runs.iter().map(entry).collect() })
}

/// Pairs images by name and label, by index where they have no names; `None` where the test sets differ or share nothing.
fn difference(run: &Run, reference: &Run) -> Option<Difference> {
    let same_size = run.images == reference.images;
    if same_size && run.data.is_some() && reference.data.is_some() && run.data != reference.data {
        return None;
    }
    let same = run.data.is_some() && run.data == reference.data;
    let key = |r: &CertifyRow| {
        let by_name = !r.file.is_empty();
        (by_name || same).then(|| (r.file.clone(), if by_name { 0 } else { r.index }, r.label))
    };
    let theirs: HashMap<_, f64> = reference.rows.iter().filter_map(|r| Some((key(r)?, r.proved))).collect();
    let pairs: Vec<[f64; 2]> = run.rows.iter().filter_map(|r| Some([r.proved, *theirs.get(&key(r)?)?])).collect();
    if pairs.is_empty() {
        return None;
    }
    let median = |side: usize| stats::median(pairs.iter().map(|p| p[side]));
    Some(Difference {
        images: pairs.len(),
        equal: pairs.iter().filter(|[a, b]| a == b).count(),
        median: median(0) - median(1),
        interval: stats::bootstrap_difference(&pairs, 0),
    })
}

impl Comparison {
    /// The versions of the program that made the runs, as a sentence, where they are not one.
    pub fn versions(&self) -> Option<String> {
        let known = |e: &Entry| e.version.as_ref().map(|v| format!("{} by {v}", e.name));
        let versions: BTreeSet<&String> = self.runs.iter().filter_map(|e| e.version.as_ref()).collect();
        let each: Vec<String> = self.runs.iter().filter_map(known).collect();
        (versions.len() > 1).then(|| format!("Made by different versions of deltamax: {}.", each.join(", ")))
    }
}

/// Writes `compare.html`, `compare.json` and `figures/*` into `dir`.
pub fn write(runs: &[Run], comparison: &Comparison, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::io(dir, "creating"))?;
    let path = dir.join("compare.json");
    let text = serde_json::to_string_pretty(comparison).map_err(|e| Error::input(&path, e.to_string()))?;
    write_atomically(&path, (text + "\n").as_bytes())?;
    let (page, figures) = page::page(runs, comparison);
    figures.write(&dir.join("figures"))?;
    write_atomically(&dir.join("compare.html"), page.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, data: &str, proved: impl Fn(usize) -> f64) -> Run {
        let row = |i: usize| CertifyRow { index: i, file: format!("{i:03}"), proved: proved(i), ..Default::default() };
        let rows: Vec<CertifyRow> = (0..100).map(row).collect();
        let accuracy = vec![(0.0, Spread::of(&[0.9])), (0.01, Spread::of(&[0.8]))];
        Run { name: name.into(), data: Some(data.into()), images: 100, accuracy, rows, ..Run::default() }
    }

    #[test]
    fn differences_are_paired_on_the_same_images_only() {
        let runs = [
            run("a", "x", |i| i as f64 * 1e-4),
            run("b", "x", |i| i as f64 * 1e-4 + 1e-3),
            run("c", "other images", |i| i as f64),
        ];
        let found = compare(&runs).unwrap();
        let b = found.runs[1].difference.unwrap();
        assert!(b.clear() && (b.median - 1e-3).abs() < 1e-9 && b.images == 100, "{b:?}");
        assert!(b.interval[0] > 0.999e-3 && b.interval[1] < 1.001e-3, "pairs leave no spread: {b:?}");
        assert!(found.runs[2].difference.is_none() && found.runs[0].difference.is_none());
        assert_eq!((found.runs[0].noise, found.runs[0].noisy_accuracy), (Some(0.01), Some(0.8)));
        assert!(compare(&runs[..1]).is_err());
    }

    #[test]
    fn equal_runs_have_no_difference_and_names_pair_where_nothing_else_does() {
        let radius = |i: usize| 1e-3 + i as f64 * 1e-5;
        let mut half = run("half", "x", radius);
        half.rows.truncate(50);
        (half.images, half.data) = (50, None);
        let [mut a, mut b] = ["a", "b"].map(|name| run(name, "x", radius));
        (a.version, b.version) = (Some("1.0".into()), Some("1.0".into()));
        assert_eq!(compare(&[a.clone(), b.clone()]).unwrap().versions(), None);
        b.version = Some("1.1".into());
        b.notes = vec!["a softmax was left out".into()];
        let found = compare(&[a, b, half]).unwrap();
        assert!(found.versions().unwrap().contains("a by 1.0, b by 1.1"));
        assert!(page::page(&[], &found).0.contains("About the file of b: a softmax was left out."));
        for (entry, images) in found.runs[1..].iter().zip([100, 50]) {
            let d = entry.difference.unwrap();
            assert!(d.none() && !d.clear(), "{d:?}");
            assert_eq!((d.images, d.equal, d.median, d.interval), (images, images, 0.0, [0.0; 2]));
        }
    }

    #[test]
    fn a_study_is_read_and_its_page_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut study = crate::report::sample::study();
        study.models[0].name = "<evil>".into();
        crate::report::write(&study, dir.path()).unwrap();
        let runs = read(&[dir.path().to_path_buf()]).unwrap();
        assert_eq!(runs.len(), 3);
        let out = dir.path().join("out");
        write(&runs, &compare(&runs).unwrap(), &out).unwrap();
        let text = std::fs::read_to_string(out.join("compare.html")).unwrap();
        assert!(!text.contains("<evil>") && !text.contains("NaN") && text.contains("id=\"delta-max\""));
        assert!(read(&[dir.path().join("nothing")]).is_err());
    }
}
