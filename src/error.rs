//! One error type for the library: every message is one line that names the file (or device) and the remedy.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong. `Display` is always a single line fit for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be used as it is.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The operating system refused to read or write.
    // The cause is part of the line; as a `source` it would be printed a second time.
    #[error("{}: {action} failed: {cause}{}", path.display(), remedy(cause))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done: `reading`, `writing`.
        action: &'static str,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The device failed or cannot do what was asked. Never a verdict.
    #[error("device: {0}")]
    Device(String),
    /// The device's memory does not hold what was asked: fewer images at once may fit.
    #[error("device: {0}; use a smaller --batch")]
    Memory(String),
    /// The work itself came to nothing.
    #[error("{0}")]
    Failed(String),
    /// A request that makes no sense with these inputs.
    #[error("{0}")]
    Usage(String),
    /// A time limit passed before there was an answer.
    #[error("the time limit has passed; give it more time")]
    Timeout,
}

impl Error {
    /// Bad content of `path`; `problem` says what is wrong and what to do.
    pub fn input(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Error::Input { path: path.as_ref().to_path_buf(), problem: problem.into() }
    }

    /// Wraps an I/O error with the path and what was being done (`"reading"`, `"writing"`).
    pub fn io(path: impl AsRef<Path>, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |cause| Error::Io { path, action, cause }
    }

    /// A request that cannot be carried out.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::Usage(message.into())
    }

    /// Work that came to nothing.
    pub fn failed(message: impl Into<String>) -> Self {
        Error::Failed(message.into())
    }

    /// The same with the file that is to blame, where only the request was blamed.
    pub fn about(self, path: impl AsRef<Path>) -> Self {
        match self {
            Error::Usage(problem) | Error::Failed(problem) => Error::input(path, problem),
            named @ (Error::Input { .. } | Error::Io { .. } | Error::Device(_) | Error::Memory(_) | Error::Timeout) => {
                named
            }
        }
    }

    /// A fault of the device.
    pub fn device(message: impl Into<String>) -> Self {
        Error::Device(message.into())
    }
}

/// What a user can do about the commonest refusals.
fn remedy(cause: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match cause.kind() {
        ErrorKind::NotFound => "; check the path",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; check who may write there, or name another place"
        }
        ErrorKind::IsADirectory => "; this is a folder, name a file",
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "; a file is in the way, name another place",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space and run again",
        _ => "",
    }
}
