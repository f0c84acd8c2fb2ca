//! Runs side by side: models of one study, of several, or certified on their own, at whatever dates.

mod page;
mod read;
mod timeline;

pub use read::read;

use super::findings::{Reading, even_accuracy};
use super::statistics::{self as stats, Answer, Compared, Measure};
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::results::{CertifyRow, Conclusion, DataSummary, ModelResult, Study, quantile, write_atomically};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// One model as one run measured it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What was measured; its name is unique among the runs compared, with its folder where needed.
    pub result: ModelResult,
    /// Name of the model in its own folder.
    pub model: String,
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
    /// What its radii are measured by: the same for all runs that are compared.
    pub norm: Norm,
    /// Names by number.
    pub classes: Vec<String>,
    /// SHA-256 of the test images, and their number and classes.
    pub data: Option<String>,
    /// Number of test images.
    pub images: usize,
    /// Class of each test image.
    pub labels: Vec<usize>,
}

/// What [`compare`] found; `compare.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What all radii are measured by.
    pub norm: Norm,
    /// Differences are against this run.
    pub reference: String,
    /// The reference first, the others as they were given.
    pub runs: Vec<Entry>,
    /// Which run to take; `None` where no two were measured on the same images.
    pub conclusion: Option<Conclusion>,
    /// The answer in one sentence.
    pub sentence: String,
}

/// One run in figures. Deltas are in [`Comparison::norm`], pixels in `[0,1]`; of several trainings, figures are over all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What the run is called.
    pub name: String,
    /// Its model.
    pub model: String,
    /// Where it lies.
    pub folder: String,
    /// When it was made, where known.
    pub date: Option<String>,
    /// Name of the bounds.
    pub method: String,
    /// Version of the program that made it, where known.
    pub version: Option<String>,
    /// What the reader of the model's file said of it.
    pub notes: Vec<String>,
    /// Trainings whose figures these are.
    pub trainings: usize,
    /// Clean test images with a bracket.
    pub certified: usize,
    /// Accuracies averaged over the classes.
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
    /// Why there is none, where the images are others.
    pub apart: Option<String>,
}

/// A paired difference of median proved delta max.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Images both runs certified.
    pub images: usize,
    /// Those among them with the very same proved delta max.
    pub equal: usize,
    /// Median proved delta max minus the reference's, on those images.
    pub median: f64,
    /// 95 % interval, of this comparison alone.
    pub interval: [f64; 2],
    /// p of all comparisons of the page together.
    pub adjusted: f64,
    /// Whether it is more than chance.
    pub clear: bool,
}

impl Difference {
    fn of(x: &Answer) -> Difference {
        Difference {
            images: x.paired.images,
            equal: x.paired.images - x.paired.differing,
            median: x.paired.effect,
            interval: x.paired.interval,
            adjusted: x.adjusted,
            clear: x.clear(),
        }
    }

    /// Whether every image has the same proved delta max in both runs.
    pub fn none(&self) -> bool {
        self.equal == self.images
    }
}

/// Compares every run with the first, and all with each other to say which to take.
///
/// # Errors
/// If there are fewer than two runs.
pub fn compare(runs: &[Run]) -> Result<Comparison> {
    let [reference, _, ..] = runs else {
        return Err(Error::usage("comparing takes at least two models; give more folders"));
    };
    let shared = |v: f64| runs.iter().all(|r| r.result.sweep.iter().any(|l| l.variance == v));
    let noise = reference.result.sweep.iter().map(|l| l.variance).filter(|&v| v > 0.0 && shared(v)).reduce(f64::max);
    let (study, apart) = together(runs, noise);
    let compared = Compared::of_models(&study);
    let found: Vec<Option<Difference>> = (0..runs.len())
        .map(|i| compared.models(i, 0, Measure::Radius(0.0)).filter(|_| i > 0).map(|x| Difference::of(&x)))
        .collect();
    // A run that is the reference's very model has no comparison.
    let twin = |i: usize| stats::twins(&study).iter().any(|g| g[0] == 0 && i > 0 && g.contains(&i));
    let conclusion = (compared.len() > 0 || twin(1)).then(|| Reading::conclude(&study, &compared)).flatten();
    let measured = apart.iter().filter(|a| a.is_none()).count();
    let sentence = match &conclusion {
        Some(c) if measured == runs.len() => c.sentence.clone(),
        Some(c) => format!("Of the {measured} runs on the same images: {}", c.sentence),
        None => "These runs share no test images with the first: their figures stand side by side, and say nothing about which is better.".into(),
    };
    let entry = |(i, r): (usize, &Run)| {
        let m = &r.result;
        let proved = stats::sorted(m.all_rows_at(0.0).map(|r| r.proved));
        let attacked = stats::median(m.all_rows_at(0.0).map(|r| r.attacked.unwrap_or(f64::INFINITY)));
        let levels = m.levels();
        let accuracy = |at: f64| levels.iter().find(|l| l.variance == at).and_then(even_accuracy);
        Entry {
            name: m.name.clone(),
            model: r.model.clone(),
            folder: r.folder.clone(),
            date: r.date.clone(),
            method: r.method.clone(),
            version: r.version.clone(),
            notes: r.notes.clone(),
            trainings: m.trained().count(),
            certified: m.rows_at(0.0).count(),
            clean_accuracy: accuracy(0.0),
            noise,
            noisy_accuracy: noise.and_then(accuracy),
            proved: (!proved.is_empty()).then(|| [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&proved, q))),
            attacked_median: Some(attacked).filter(|a| a.is_finite()),
            difference: found[i].or_else(|| twin(i).then(|| same(r))),
            apart: apart[i].clone(),
        }
    };
    Ok(Comparison {
        norm: reference.norm,
        reference: reference.result.name.clone(),
        runs: runs.iter().enumerate().map(entry).collect(),
        conclusion,
        sentence,
    })
}

/// The reference's own model again.
fn same(run: &Run) -> Difference {
    let images = run.result.rows_at(0.0).count();
    Difference { images, equal: images, median: 0.0, interval: [0.0; 2], adjusted: 1.0, clear: false }
}

/// The runs as models of one study on the images of the first, up to the noise that all measured; and why a run is none
/// of them. Images are the same where the test sets are, else where names and labels are.
fn together(runs: &[Run], noise: Option<f64>) -> (Study, Vec<Option<String>>) {
    let reference = &runs[0];
    let mut study = Study {
        norm: reference.norm,
        dataset: DataSummary {
            classes: reference.classes.clone(),
            test_labels: reference.labels.clone(),
            ..DataSummary::default()
        },
        ..Study::default()
    };
    let mut apart = Vec::new();
    for run in runs {
        let (mut model, why) = on_images_of(run, reference);
        model.policy.clear();
        // The same file may have been measured in two ways; runs are one where all that was measured is.
        model.hash = None;
        model.repeats.iter_mut().for_each(|r| r.hash = None);
        let kept = |v: f64| v == 0.0 || noise.is_some_and(|n| v <= n);
        model.sweep.retain(|l| kept(l.variance));
        model.repeats.iter_mut().for_each(|r| r.sweep.retain(|l| kept(l.variance)));
        study.models.push(model);
        apart.push(why);
    }
    (study, apart)
}

/// The run's model with its rows numbered as the reference numbers its images; emptied where they share none.
fn on_images_of(run: &Run, reference: &Run) -> (ModelResult, Option<String>) {
    let mut model = run.result.clone();
    let nothing = |mut model: ModelResult, why: String| {
        model.certify.clear();
        model.sweep.clear();
        model.repeats.clear();
        (model, Some(why))
    };
    let known = |c: &[String]| !c.is_empty();
    if known(&run.classes) && known(&reference.classes) && run.classes != reference.classes {
        return nothing(model, format!("other classes: {}", run.classes.join(", ")));
    }
    if run.data.is_some() && run.data == reference.data {
        return (model, None);
    }
    let key = |r: &CertifyRow| (!r.file.is_empty()).then(|| (r.file.clone(), r.label));
    let theirs: HashMap<_, usize> = reference.result.certify.iter().filter_map(|r| Some((key(r)?, r.index))).collect();
    let same_size = run.images == reference.images && run.data.is_some() && reference.data.is_some();
    let mut matched = BTreeSet::new();
    let mut renumber = |rows: &mut Vec<CertifyRow>| {
        rows.retain_mut(|r| {
            let index = key(r).and_then(|k| theirs.get(&k).copied());
            if let Some(i) = index {
                r.index = i;
                matched.insert(i);
            }
            index.is_some()
        });
    };
    renumber(&mut model.certify);
    model.repeats.iter_mut().for_each(|r| renumber(&mut r.certify));
    if same_size || matched.is_empty() {
        let count = |n: usize| if n > 0 { format!("{n} test images") } else { "its test images".into() };
        return nothing(model, format!("other images: {} that the first run does not have", count(run.images)));
    }
    // What the sweep called the images is by their places in another test set.
    model.sweep.iter_mut().for_each(|l| l.called.clear());
    model.repeats.iter_mut().flat_map(|r| &mut r.sweep).for_each(|l| l.called.clear());
    (model, None)
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
    use crate::results::{NoiseLevel, Spread};

    fn run(name: &str, data: &str, proved: impl Fn(usize) -> f64) -> Run {
        let row = |i: usize| CertifyRow { index: i, file: format!("{i:03}"), proved: proved(i), ..Default::default() };
        let level = |variance: f64, right: f64| NoiseLevel {
            variance,
            draws: 1,
            confusion: vec![vec![right, 100.0 - right], vec![0.0, 0.0]],
            accuracy: Spread::of(&[right / 100.0]),
            ..Default::default()
        };
        let result = ModelResult {
            name: name.into(),
            certify: (0..100).map(row).collect(),
            sweep: vec![level(0.0, 90.0), level(0.01, 80.0)],
            ..Default::default()
        };
        Run {
            result,
            model: name.into(),
            data: Some(data.into()),
            images: 100,
            classes: vec!["a".into(), "b".into()],
            ..Run::default()
        }
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
        assert!(b.clear && (b.median - 1e-3).abs() < 1e-9 && b.images == 100, "{b:?}");
        assert!(b.interval[0] > 0.999e-3 && b.interval[1] < 1.001e-3, "pairs leave no spread: {b:?}");
        assert!(found.runs[2].difference.is_none() && found.runs[0].difference.is_none());
        assert!(found.runs[2].apart.as_ref().unwrap().contains("other images: 100"), "{:?}", found.runs[2].apart);
        assert!(found.sentence.starts_with("Of the 2 runs on the same images: b is ahead of a"), "{}", found.sentence);
        assert_eq!((found.runs[0].noise, found.runs[0].noisy_accuracy), (Some(0.01), Some(0.8)));
        assert!(compare(&runs[..1]).is_err());
        let strangers = compare(&[runs[0].clone(), runs[2].clone()]).unwrap();
        assert!(strangers.conclusion.is_none() && strangers.sentence.contains("share no test images"));
        let mut third = runs[1].clone();
        third.classes = vec!["a".into(), "c".into()];
        assert!(compare(&[runs[0].clone(), third]).unwrap().runs[1].apart.as_ref().unwrap().contains("other classes"));
    }

    #[test]
    fn equal_runs_have_no_difference_and_names_pair_where_nothing_else_does() {
        let radius = |i: usize| 1e-3 + i as f64 * 1e-5;
        let mut half = run("half", "x", radius);
        half.result.certify.truncate(50);
        half.result.certify.iter_mut().for_each(|r| r.index += 7);
        (half.images, half.data) = (50, None);
        let [mut a, mut b] = ["a", "b"].map(|name| run(name, "x", radius));
        (a.version, b.version) = (Some("1.0".into()), Some("1.0".into()));
        let equal = compare(&[a.clone(), b.clone()]).unwrap();
        assert_eq!((equal.versions(), equal.sentence.as_str()), (None, "a and b are one and the same model."));
        b.version = Some("1.1".into());
        b.notes = vec!["a softmax was left out".into()];
        let found = compare(&[a, b, half]).unwrap();
        assert!(found.versions().unwrap().contains("a by 1.0, b by 1.1"));
        assert!(page::page(&[], &found).0.contains("About the file of b: a softmax was left out."));
        for (entry, images) in found.runs[1..].iter().zip([100, 50]) {
            let d = entry.difference.unwrap();
            assert!(d.none() && !d.clear, "{d:?}");
            assert_eq!((d.images, d.equal, d.median, d.interval), (images, images, 0.0, [0.0; 2]));
        }
        assert!(found.sentence.contains("tied"), "{}", found.sentence);
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
