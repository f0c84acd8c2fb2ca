//! The only place that writes to standard output and standard error. Neither is worth a panic or an hour's work: a reader
//! that went away is no fault, and what else goes wrong is kept for [`finish`], after the files are written.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// What has become of standard output.
enum Output {
    Open,
    /// Nobody reads it any more.
    Closed,
    Failed(std::io::Error),
}

static OUTPUT: Mutex<Output> = Mutex::new(Output::Open);

/// Writes a line to standard output.
pub fn line(text: impl std::fmt::Display) {
    write(|out| writeln!(out, "{text}"));
}

/// Hands on to the reader what is still held back.
///
/// # Errors
/// If any line could not be written, for another reason than that the reader went away.
pub fn finish() -> Result<()> {
    write(|out| out.flush());
    match std::mem::replace(&mut *OUTPUT.lock().unwrap_or_else(PoisonError::into_inner), Output::Closed) {
        Output::Open | Output::Closed => Ok(()),
        Output::Failed(cause) => Err(Error::io("standard output", "writing")(cause)),
    }
}

fn write(action: impl FnOnce(&mut std::io::StdoutLock<'static>) -> std::io::Result<()>) {
    let mut output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(*output, Output::Open) {
        return;
    }
    match action(&mut std::io::stdout().lock()) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => *output = Output::Closed,
        Err(e) => *output = Output::Failed(e),
    }
}

/// Writes a line to standard error. Where that cannot be written, there is nobody left to tell.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
