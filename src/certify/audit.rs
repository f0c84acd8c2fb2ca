//! A result folder proved again: what its manifest names is found, and the auditor is asked about every row.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use serde::de::DeserializeOwned;

use super::again::{Again, same};
use super::manifest::Manifest;
use super::{PIXEL_ROUNDING, table};
use crate::audit::{self, Certificate, Claim, Forms, Method, Report, Sample};
use crate::dataset::Dataset;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::input;
use crate::model::{Model, onnx};
use crate::progress::{Progress, Verbosity};
use crate::reading::{self, NetworkFile, Together};
use crate::results::CertifyRow;
use crate::terminal::counted;
use crate::{interrupt, sweep, terminal};

/// What to prove again.
pub struct Request {
    /// Folder written by certify or merge.
    pub dir: PathBuf,
    /// Model and images, where they no longer are where the manifest says.
    pub model: Option<PathBuf>,
    /// Its images, likewise.
    pub data: Option<PathBuf>,
    /// Which rows.
    pub sample: Sample,
}

/// What came of it.
pub struct Outcome {
    /// What the auditor found.
    pub report: Report,
    /// Rows of the table.
    pub rows: usize,
    /// Rows that only a certificate could prove, and have none.
    pub unchecked: usize,
    /// Where they stand.
    pub table: PathBuf,
}

impl Outcome {
    /// Refuses results of which a row is not proved.
    ///
    /// # Errors
    /// [`Error::Input`] with their number.
    pub fn check(&self) -> Result<()> {
        let (failed, checked) = (self.report.failures.len(), self.report.checked);
        if failed == 0 {
            return Ok(());
        }
        let problem = format!("{failed} of {checked} checked rows are not proved; do not rely on them");
        Err(Error::input(&self.table, problem))
    }
}

/// What rows are about: the file's own network, and the images.
pub(crate) struct Subject {
    pub file: Model,
    /// Which nodes of it certificates mean.
    pub forms: Forms,
    pub data: Dataset,
}

/// Reads what a manifest names.
///
/// # Errors
/// If the model or the images cannot be read or are not those of the results.
pub(crate) fn subject(request: &Request, manifest: &Manifest, verbosity: Verbosity) -> Result<Subject> {
    let dir = &request.dir;
    let reading = &manifest.reading;
    let Again { network, source, split } = Again::of(dir, manifest, request.model.clone(), request.data.clone())?;
    let model_path = network.path.clone();
    let hash = onnx::fingerprint(&model_path).map_err(|e| {
        Error::failed(format!("an audit reads the model that was certified, or the one given as --model: {e}"))
    })?;
    same("model", &model_path, &hash, &manifest.model_hash)?;
    let Together { file: NetworkFile { model, hash, notes, .. }, data, notes: said, .. } =
        reading::together(&network, &source, &reading.names, split, Some(manifest.images))?;
    if verbosity == Verbosity::Normal {
        notes.iter().for_each(|note| terminal::note(format_args!("{}: {note}", model_path.display())));
        said.iter().for_each(|note| terminal::note(format_args!("{}: {note}", source.path.display())));
    }
    same("model", &model_path, &hash, &manifest.model_hash)?;
    // What was certified may have constants folded into its weights; what is proved here is the file's own.
    let file = reading::unfolded(&network, reading, data.shape)?;
    same("model", &model_path, &onnx::fingerprint(&model_path)?, &manifest.model_hash)?;
    let file = match manifest.runtime.as_str() {
        "exact" => file,
        "any-f32" => audit::any_f32(&file).map_err(|e| e.about(&model_path))?,
        other => {
            let problem = format!("knows no runtime '{other}'; it was altered, certify again");
            return Err(Error::input(dir.join("manifest.json"), problem));
        }
    };
    let forms = Forms::new(&model, &file).map_err(|e| e.about(&model_path))?;
    if manifest.deltamax != env!("CARGO_PKG_VERSION") && verbosity == Verbosity::Normal {
        terminal::note(format_args!(
            "{}: made by deltamax {}; what holds is said by {}",
            dir.join("manifest.json").display(),
            manifest.deltamax,
            env!("CARGO_PKG_VERSION")
        ));
    }
    same("data", &source.path, &data.hash(), &manifest.data_hash)?;
    if manifest.classes != data.classes {
        let problem = format!("names the classes {}, not {}", manifest.classes.join(", "), data.classes.join(", "));
        return Err(Error::input(dir.join("manifest.json"), problem + "; it was altered, certify again"));
    }
    Ok(Subject { file, forms, data })
}

/// Shows how far `work` is, which is told what to call for each of so many rows.
///
/// # Errors
/// What the work returns.
pub(crate) fn watched(
    rows: usize,
    sample: Sample,
    verbosity: Verbosity,
    work: impl FnOnce(&(dyn Fn() + Sync)) -> Result<Report>,
) -> Result<Report> {
    let total = if let Sample::Some { count, .. } = sample { rows.min(count) } else { rows };
    let progress = Mutex::new(Progress::start(verbosity, "auditing", total));
    let started = Instant::now();
    let report = work(&|| {
        if let Ok(mut progress) = progress.lock() {
            progress.advance(1);
        }
    })?;
    if let Ok(progress) = progress.into_inner() {
        progress.finish(&format!("{} in {:.1} s", counted(report.checked, "row"), started.elapsed().as_secs_f64()));
    }
    Ok(report)
}

/// Proves the radii of a result folder again, as far as what is there allows.
///
/// # Errors
/// If the folder, the model or the images cannot be read or are not those of the results. Rows that are not proved are no
/// error: see [`Outcome::check`].
pub fn audit(request: &Request, verbosity: Verbosity) -> Result<Outcome> {
    let dir = &request.dir;
    let (manifest, rows) = table::read_whole(dir)?;
    let path = table::table_path(dir);
    let Subject { file, forms, data } = subject(request, &manifest, verbosity)?;
    let mut claims: Vec<Claim> = rows.iter().map(|row| claim(dir, &path, row, &data, &forms)).collect::<Result<_>>()?;
    if let Some(depth) = manifest.depth {
        let rowed = claims.iter_mut().filter(|c| c.method == Method::Crown);
        rowed.for_each(|c| c.method = Method::CrownNearest(depth));
    }
    // Optimised slopes and domains cannot be guessed.
    let guessed = |row: &CertifyRow| row.method != "alpha" && !row.method.ends_with(table::BRANCHED);
    let missing = |(c, row): (&Claim, &CertifyRow)| c.certificate.is_none() && c.radius != 0.0 && !guessed(row);
    let without: Vec<bool> = claims.iter().zip(&rows).map(missing).collect();
    let unchecked = without.iter().filter(|w| **w).count();
    if unchecked == claims.len() && unchecked > 0 {
        return Err(Error::input(
            &path,
            "rows made by alpha or --branch can be checked with certificates only; certify with --certificates",
        ));
    }
    let mut without = without.into_iter();
    claims.retain(|_| !without.next().expect("one per claim"));
    let total = claims.iter().filter(|c| c.radius != 0.0).count();
    let device = Device::cpu();
    let go_on = interrupt::checker();
    let image = |index, variance| {
        go_on()?;
        sweep::noisy(&device, &data, index, 1, variance, manifest.seed, 0)
    };
    let norm = manifest.norm;
    let slack = f64::from(norm.spread(PIXEL_ROUNDING, file.input.len()));
    let report = watched(total, request.sample, verbosity, |done| {
        audit::folder(claims, &file, norm, image, slack, request.sample, done)
    })?;
    Ok(Outcome { report, rows: rows.len(), unchecked, table: path })
}

/// Refuses a row that names its image otherwise than the data do.
pub(crate) fn check_image(table: &Path, index: usize, file: &str, label: usize, data: &Dataset) -> Result<()> {
    // The table holds a name on one line.
    let name = data.names.get(index).map(|n| n.replace(['\n', '\r'], " "));
    if name.as_deref() == Some(file) && data.labels.get(index) == Some(&label) {
        return Ok(());
    }
    let (name, own) = (name.unwrap_or_default(), data.labels.get(index).copied().unwrap_or_default());
    let problem = format!("file and label are '{file}' and {label}, in the data '{name}' and {own}");
    Err(Error::input(table, format!("image {index}: {problem}; the file was altered, certify again")))
}

/// The certificate in a file, if there is one; `without` says what can be done without.
pub(crate) fn read_certificate<C: DeserializeOwned>(path: &Path, without: &str) -> Result<Option<C>> {
    if !path.exists() {
        return Ok(None);
    }
    input::regular(path)?;
    let text = input::read_maybe_gz(path, 1 << 30)?;
    let bad = |e| Error::input(path, format!("is not a certificate ({e}); {without}"));
    serde_json::from_slice(&text).map(Some).map_err(bad)
}

/// What a row claims, with its certificate if there is one.
fn claim(dir: &Path, table: &Path, row: &CertifyRow, data: &Dataset, forms: &Forms) -> Result<Claim> {
    let (index, variance) = (row.index, row.variance);
    let bad = |problem: String| Error::input(table, format!("image {index}: {problem}"));
    check_image(table, index, &row.file, row.label, data)?;
    let method: Method = row.method.trim_end_matches(table::BRANCHED).parse().map_err(bad)?;
    let path = table::certificate_path(dir, index, variance);
    let certificate: Option<Certificate> = read_certificate(&path, "remove it to use standard slopes")?;
    let certificate = certificate.map(|c| forms.carry(c));
    Ok(Claim { index, variance, class: row.predicted, radius: row.proved, method, certificate })
}
