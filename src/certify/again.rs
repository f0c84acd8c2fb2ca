//! What a manifest names, found again: the model and the images of a run that is done.

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use crate::dataset::{Dataset, Fit, Source, Split};
use crate::error::{Error, Result};
use crate::reading::{self, NetworkSource};

/// How a run read its model and images.
pub struct Again {
    /// Its model.
    pub network: NetworkSource,
    /// Its images.
    pub source: Source,
    /// Which of them.
    pub split: Split,
}

impl Again {
    /// As the manifest of `dir` says, but for what lies elsewhere now.
    ///
    /// # Errors
    /// If the manifest says what this program knows nothing of.
    pub fn of(dir: &Path, manifest: &Manifest, model: Option<PathBuf>, data: Option<PathBuf>) -> Result<Again> {
        let reading = &manifest.reading;
        let pixels = reading.pixels.clone().unwrap_or_default();
        let altered = |problem: String| Error::input(dir.join("manifest.json"), problem);
        let network = NetworkSource {
            path: model.unwrap_or_else(|| PathBuf::from(&manifest.model)),
            output: reading.output.clone(),
            input_range: Some(pixels.range),
            mean: pixels.mean,
            std: pixels.std,
            ..NetworkSource::default()
        };
        let source = Source {
            classes: manifest.chosen.clone(),
            size: reading.size,
            fit: reading.fit.as_deref().map_or(Ok(Fit::default()), str::parse).map_err(altered)?,
            seed: manifest.split_seed,
            ..Source::new(data.unwrap_or_else(|| PathBuf::from(&manifest.data)))
        };
        Ok(Again { network, source, split: manifest.split.parse().map_err(altered)? })
    }
}

/// The images of a run, to show them.
///
/// # Errors
/// If model or images cannot be read, or the images are not those of the run.
pub fn images(dir: &Path, manifest: &Manifest, model: Option<PathBuf>, data: Option<PathBuf>) -> Result<Dataset> {
    let Again { network, source, split } = Again::of(dir, manifest, model, data)?;
    let read = reading::together(&network, &source, &manifest.reading.names, split, Some(manifest.images))?;
    same("data", &source.path, &read.data.hash(), &manifest.data_hash)?;
    Ok(read.data)
}

/// Refuses a file other than the one the results were made from.
pub(super) fn same(what: &str, path: &Path, found: &str, expected: &str) -> Result<()> {
    if found != expected {
        let problem = format!(
            "is not the {what} of the manifest: its SHA-256 is {found}, the manifest's {expected}; give the right one as --{what}"
        );
        return Err(Error::input(path, problem));
    }
    Ok(())
}
