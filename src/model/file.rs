//! A model together with what identifies its file.

use std::path::Path;

use super::{Model, onnx};
use crate::error::{Error, Result};

/// A model as its file has it.
pub struct ModelFile {
    /// The network, over channels, rows, columns.
    pub model: Model,
    /// What its user should know about it, a line each.
    pub notes: Vec<String>,
    /// SHA-256, in hex, of the file and of what it keeps in other files.
    pub hash: String,
}

impl ModelFile {
    /// Reads an ONNX file and whatever it keeps in other files.
    ///
    /// # Errors
    /// As [`onnx::load`], and if the file is changed meanwhile.
    pub fn read(path: &Path) -> Result<ModelFile> {
        let hash = onnx::fingerprint(path)?;
        let (model, notes) = onnx::read_noted(path)?;
        if onnx::fingerprint(path)? != hash {
            return Err(Error::input(path, "was changed while it was read; run again"));
        }
        Ok(ModelFile { model, notes, hash })
    }
}
