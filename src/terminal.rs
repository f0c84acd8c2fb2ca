//! The only place that writes to standard output and standard error. Neither is worth a panic or an hour's work: a reader
//! that went away is no fault, and what else goes wrong is kept for [`finish`], after the files are written.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Whether standard output belongs to [`data`].
static RESERVED: AtomicBool = AtomicBool::new(false);

/// Keeps standard output for [`data`]: lines go to standard error from here on.
pub fn reserve() {
    RESERVED.store(true, Ordering::Relaxed);
}

/// Writes a line to standard output, or beside it where that is reserved for data.
pub fn line(text: impl std::fmt::Display) {
    if RESERVED.load(Ordering::Relaxed) {
        return note(text);
    }
    write(|out| writeln!(out, "{text}"));
}

/// Writes the content of a file to standard output.
pub fn data(bytes: &[u8]) {
    write(|out| out.write_all(bytes));
}

/// So many of what is called this.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
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

/// Writes a line to standard error in place of a progress bar that stands there.
pub fn over_progress(text: impl std::fmt::Display) {
    let mut err = std::io::stderr().lock();
    let clear = if err.is_terminal() { "\r\x1b[K" } else { "" };
    let _ = writeln!(err, "{clear}{text}");
}

/// A word for a POSIX shell: in quotes where it holds what a shell would take for its own.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(all(test, unix))]
mod tests {
    use super::shell_word;

    #[test]
    fn words_can_be_pasted_into_a_shell() {
        for word in ["--size=32", "a,b", "", "my shoes", "it's", "$HOME", "accuracy>=0.9", "a\\b", "näh"] {
            let shell =
                std::process::Command::new("sh").args(["-c", &format!("printf %s {}", shell_word(word))]).output();
            assert!(shell.is_ok_and(|o| o.stdout == word.as_bytes()), "{word}");
        }
        assert_eq!(shell_word("shoes/a.png"), "shoes/a.png");
    }
}
