//! Work away from the interpreter: its lock released, Ctrl-C heard, errors as exceptions of one line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Result;
use deltamax::error::Error;
use deltamax::interrupt;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;

/// How often Python is asked whether Ctrl-C was pressed.
const TICK: Duration = Duration::from_millis(50);

/// What work that was told to stop gets to do so, before the exception is raised in any case.
const GRACE: Duration = Duration::from_secs(1);

/// Does `work` in a thread of its own. Only the main thread of Python hears signals, and it hears them while it waits here;
/// work that is interrupted ends between two of its batches.
///
/// # Errors
/// What `work` fails with, or `KeyboardInterrupt`.
pub fn away<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send + 'static) -> PyResult<T> {
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, mut hear) = mpsc::channel();
    let heed = stop.clone();
    let worker = move || {
        interrupt::heed(heed);
        // Where nobody waits any more, the result is nobody's.
        let _ = tell.send(work());
    };
    std::thread::Builder::new().name("deltamax".into()).spawn(worker)?;
    loop {
        let heard;
        (heard, hear) = py.detach(move || (hear.recv_timeout(TICK), hear));
        match heard {
            Ok(done) => return done.map_err(|error| exception(&error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the work panicked, as standard error says; please report it"));
            }
        }
        if let Err(interrupted) = py.check_signals() {
            stop.store(true, Ordering::Relaxed);
            py.detach(move || drop(hear.recv_timeout(GRACE)));
            return Err(interrupted);
        }
    }
}

/// The line that the command line prints, as the exception that fits.
pub fn exception(error: &anyhow::Error) -> PyErr {
    let line = format!("{error:#}").replace('\n', " ");
    match error.downcast_ref::<Error>() {
        Some(Error::Usage(_) | Error::Input { .. }) => PyValueError::new_err(without_dashes(&line)),
        // Chooses the class, such as `FileNotFoundError`, by the kind.
        Some(Error::Io { cause, .. }) => std::io::Error::new(cause.kind(), line).into(),
        Some(Error::Device(_) | Error::Memory(_)) => PyRuntimeError::new_err(without_dashes(&line)),
        Some(Error::Timeout) => PyTimeoutError::new_err(line),
        Some(Error::Failed(_)) | None => PyRuntimeError::new_err(line),
    }
}

/// Flags that are arguments of functions here. Others belong to commands that a line says to run.
const ARGUMENTS: &[&str] = &[
    "batch",
    "branch",
    "depth",
    "device",
    "gap",
    "input-range",
    "mean",
    "method",
    "norm",
    "output",
    "runtime",
    "seconds",
    "std",
    "tolerance",
    "variance",
];

/// Arguments have the names of flags, as Python writes them.
pub fn without_dashes(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let Some(flag) = word.strip_prefix("--") else { return word.to_string() };
        let name = flag.trim_end_matches([',', ';', ':', '.', ')']);
        if ARGUMENTS.contains(&name) { flag.replace('-', "_") } else { word.to_string() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A mistake in the arguments.
pub fn misuse(problem: impl Into<String>) -> PyErr {
    exception(&Error::usage(problem).into())
}
