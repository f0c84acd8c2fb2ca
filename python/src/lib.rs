//! The compiled half of the Python package `deltamax`: arrays in, plain dictionaries of arrays out. The other half, in
//! `deltamax/`, gives them names and documentation; nothing is computed there.

mod call;
mod input;
mod jobs;

/// What `deltamax/__init__.py` calls.
#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use super::jobs::{attack, audit, certify, explain, sweep, verify};

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "its name in Python")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
