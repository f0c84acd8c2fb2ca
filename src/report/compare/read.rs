//! Result folders to runs.

use super::Run;
use crate::certify::table::read_whole;
use crate::error::{Error, Result};
use crate::report::certified;
use crate::results::{ModelResult, Study};
use std::path::{Path, PathBuf};

/// Every model found in the folders: studies hold several, certified results one.
///
/// # Errors
/// If a folder holds neither, or a run that is not finished, or radii of another norm than the first.
pub fn read(dirs: &[PathBuf]) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for dir in dirs {
        let own = runs.len();
        if dir.join("results.json").is_file() {
            runs.extend(of_study(dir)?);
        } else if dir.join("delta_max.csv").is_file() {
            runs.push(of_certify(dir)?);
        } else {
            let problem = "holds neither results.json of a study nor delta_max.csv of certify";
            return Err(Error::input(dir, problem));
        }
        if let (Some(first), Some(other)) = (runs.first(), runs.get(own).filter(|run| run.norm != runs[0].norm)) {
            let problem = format!(
                "holds radii of --norm {}, {} those of --norm {}, which do not compare; compare folders of one norm",
                other.norm,
                dirs[0].display(),
                first.norm
            );
            return Err(Error::input(dir, problem));
        }
    }
    let names: Vec<String> = runs.iter().map(|r| r.model.clone()).collect();
    for (run, name) in runs.iter_mut().zip(&names) {
        if names.iter().filter(|n| *n == name).count() > 1 {
            run.result.name = format!("{}/{name}", run.folder);
        }
    }
    Ok(runs)
}

fn folder(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    whole.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn of_study(dir: &Path) -> Result<Vec<Run>> {
    let study = Study::load(&dir.join("results.json"))?;
    let run = |m: &ModelResult| Run {
        result: m.clone(),
        model: m.name.clone(),
        folder: folder(dir),
        date: study.started.clone(),
        method: m.certify.first().map_or(String::new(), |r| r.method.clone()),
        version: study.versions.get("deltamax").cloned(),
        notes: vec![],
        norm: study.norm,
        classes: study.dataset.classes.clone(),
        data: study.dataset.test_hash.clone(),
        images: study.dataset.test_counts.iter().sum(),
        labels: study.dataset.test_labels.clone(),
    };
    Ok(study.models.iter().map(run).collect())
}

fn of_certify(dir: &Path) -> Result<Run> {
    let (manifest, rows) = read_whole(dir)?;
    let result = certified::result(&manifest, rows, &folder(dir));
    let name = result.name.clone();
    Ok(Run {
        result,
        model: name,
        folder: folder(dir),
        date: None,
        method: manifest.method,
        version: Some(manifest.deltamax),
        notes: manifest.notes,
        norm: manifest.norm,
        classes: manifest.classes,
        data: Some(manifest.data_hash),
        images: manifest.images,
        labels: vec![],
    })
}
