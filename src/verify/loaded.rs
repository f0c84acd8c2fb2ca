//! A network of which properties are asked.

use std::path::Path;

use super::check_fit;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::onnx;
use crate::network::Network;
use crate::spec::Spec;

/// A network on the device, its input in the flat order of its file's, as properties count it.
pub struct Loaded {
    /// The network, placed.
    pub net: Network,
    /// What its user should know about it, a line each.
    pub warnings: Vec<String>,
    softmax: bool,
}

impl Loaded {
    /// Places what was read from a file.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn new(device: &Device, file: onnx::Loaded) -> Result<Loaded> {
        Ok(Loaded { net: Network::new(device, &file.model)?, warnings: file.warnings, softmax: file.softmax })
    }

    /// Refuses a property, read from `spec`, that cannot be asked of this network, read from `net`.
    ///
    /// # Errors
    /// [`Error::Input`] if sizes do not fit, or values are asked for that a softmax, which was left out, would give.
    pub fn check(&self, property: &Spec, net: &Path, spec: &Path) -> Result<()> {
        check_fit(&self.net, property).map_err(|e| Error::input(spec, e.to_string()))?;
        if self.softmax && !property.only_compares() {
            let problem =
                "ends in a softmax, whose values the property asks for; only comparisons of its outputs are supported";
            return Err(Error::input(net, problem));
        }
        Ok(())
    }
}
