//! What a path leads to.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What stands where a path leads, links followed.
#[derive(Debug, PartialEq)]
pub enum Place {
    /// Nothing yet; a file made here is found under the path.
    Free(PathBuf),
    /// A regular file, by its own name.
    File(PathBuf),
    /// A folder, by its own name.
    Folder(PathBuf),
    /// A device, a fifo, or what else takes bytes and keeps no file.
    Stream,
}

/// Links to links, at most.
const LINKS: usize = 40;

/// Follows a path.
///
/// # Errors
/// If it cannot be followed: links in a circle, a file where a folder should be.
pub fn place(path: &Path) -> Result<Place> {
    let mut at = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::metadata(&at) {
            Ok(found) => {
                // A file without a name, reached through /proc, is only there to be written into.
                let named = fs::canonicalize(&at).ok().filter(|name| name.exists());
                return Ok(match named {
                    Some(name) if found.is_dir() => Place::Folder(name),
                    Some(name) if found.is_file() => Place::File(name),
                    Some(_) | None => Place::Stream,
                });
            }
            Err(e) if e.kind() == ErrorKind::NotFound => match fs::read_link(&at) {
                // A link to what is not there yet.
                Ok(to) => at = at.parent().unwrap_or(Path::new("")).join(to),
                Err(_) => return Ok(Place::Free(at)),
            },
            Err(e) => return Err(Error::io(path, "writing")(e)),
        }
    }
    Err(Error::input(path, "is a link that leads to itself; remove it, or name another place"))
}

/// Whether a path leads to the pipe or file that standard output is, as `/dev/stdout` may.
#[cfg(unix)]
pub fn is_standard_output(path: &Path) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let output = std::io::stdout().as_fd().try_clone_to_owned().map(fs::File::from);
    let (Ok(output), Ok(found)) = (output.and_then(|f| f.metadata()), fs::metadata(path)) else { return false };
    // Devices take from two sides what they are given.
    !found.file_type().is_char_device() && (output.dev(), output.ino()) == (found.dev(), found.ino())
}

#[cfg(not(unix))]
pub fn is_standard_output(_: &Path) -> bool {
    false
}
