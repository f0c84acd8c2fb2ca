//! Where results go. Files appear whole or not at all, links are followed, devices and fifos are written through, and what
//! others wrote is not replaced unasked.

mod folder;
mod growing;
mod place;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use folder::{Folder, clear_locked, is_empty};
pub use growing::{Growing, whole_lines};
pub use place::{Place, is_standard_output, place};

use crate::error::{Error, Result};
use crate::{interrupt, terminal};

/// The name that means standard output.
pub const STANDARD: &str = "-";

/// How the name of a file that is being written begins and ends; between them stand the process and a number.
const PART: [&str; 2] = [".deltamax-", ".part"];

/// Writes a file whole or not at all: beside the final place first, then renamed. A link of that name is replaced, not
/// followed: inside a folder of results it may lead anywhere.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let _shield = interrupt::shield();
    replace(path, content).map_err(Error::io(path, "writing"))
}

/// Writes into a device or a fifo. Not shielded: it may wait for a reader for ever.
fn write_through(path: &Path, content: &[u8]) -> Result<()> {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut stream| stream.write_all(content));
    written.map_err(Error::io(path, "writing"))
}

/// Puts a file in place of what is there, with the permissions of that.
fn replace(at: &Path, content: &[u8]) -> io::Result<()> {
    let (part, mut file) = new_part(at)?;
    let permissions = fs::metadata(at).map(|m| m.permissions());
    let written = file
        .write_all(content)
        .and_then(|()| permissions.map_or(Ok(()), |p| fs::set_permissions(&part, p)))
        .and_then(|()| fs::rename(&part, at));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// A new file beside this one, under a name that nobody else has.
fn new_part(at: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = at.with_file_name(format!("{}{}-{number}{}", PART[0], std::process::id(), PART[1]));
        match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => return Ok((part, file)),
            // Of a killed process that had the same number.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// Removes from a folder the unfinished files of killed runs that are older than `age`.
pub fn clear_parts(dir: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with(PART[0]) && n.ends_with(PART[1]));
        let old = || entry.metadata().ok().filter(fs::Metadata::is_file)?.modified().ok()?.elapsed().ok();
        if ours && old().is_some_and(|since| since >= age) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Appends to a file of whole lines: all of them or nothing, where the disk is full.
pub fn append(file: &mut File, lines: &[u8]) -> io::Result<()> {
    let before = file.stream_position()?;
    file.write_all(lines).inspect_err(|_| {
        let _ = file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before)));
    })
}

/// Locks a file for one writer, for as long as it is open: the system lets go of it when the process ends, however it ends.
///
/// # Errors
/// If another process holds it; `shown` is what that process writes.
pub fn lock(shown: &Path, file: &File) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Error::input(shown, "another run is writing here; wait for it, or give another --out"))
        }
        // Not every file system knows locks. What a second run would destroy is missed when the first one ends.
        Err(TryLockError::Error(cause)) => {
            tracing::warn!(%cause, "cannot lock {}", shown.display());
            Ok(())
        }
    }
}

/// Where the one file of a command goes, settled before hours are spent on its content.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Standard,
    File(PathBuf),
}

impl Target {
    /// What `--out` means. `own` knows the first bytes of a file that this command wrote; a file of another kind is
    /// replaced with `force` only.
    ///
    /// # Errors
    /// If it is a folder, or another's file, or cannot be written.
    pub fn choose(path: &Path, own: impl Fn(&[u8]) -> bool, force: bool) -> Result<Target> {
        if path == Path::new(STANDARD) || is_standard_output(path) {
            return Ok(Target::Standard);
        }
        let at = match place(path)? {
            Place::Folder(_) => return Err(Error::input(path, "is a folder; name a file")),
            Place::Stream => return Ok(Target::File(path.into())),
            Place::File(at) => {
                if !force {
                    check_own(path, own)?;
                }
                at
            }
            Place::Free(at) => at,
        };
        let (part, _) = new_part(&at).map_err(Error::io(path, "writing"))?;
        fs::remove_file(&part).map_err(Error::io(path, "writing"))?;
        if let Some(folder) = at.parent() {
            // Younger ones may be another run's.
            clear_parts(if folder == Path::new("") { Path::new(".") } else { folder }, Duration::from_secs(3600));
        }
        Ok(Target::File(path.into()))
    }

    pub fn is_standard(&self) -> bool {
        *self == Target::Standard
    }

    /// Writes the content: a file whole or not at all, and where a link leads.
    pub fn write(&self, content: &[u8]) -> Result<()> {
        let Target::File(path) = self else {
            terminal::data(content);
            return Ok(());
        };
        match place(path)? {
            Place::Folder(_) => Err(Error::input(path, "is a folder; name a file")),
            Place::Stream => write_through(path, content),
            Place::Free(at) | Place::File(at) => {
                let _shield = interrupt::shield();
                replace(&at, content).map_err(Error::io(path, "writing"))
            }
        }
    }
}

/// Refuses to replace a file with other content, or one that was made read-only. An empty one holds nothing to lose.
pub fn check_own(path: &Path, own: impl Fn(&[u8]) -> bool) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path, "reading"))?;
    if file.metadata().is_ok_and(|m| m.permissions().readonly()) {
        return Err(Error::input(path, "is read-only; give another --out, or --force to replace it"));
    }
    let mut start = Vec::new();
    file.take(256).read_to_end(&mut start).map_err(Error::io(path, "reading"))?;
    if start.is_empty() || own(&start) {
        return Ok(());
    }
    let problem = "is there already and was not written by this command; give another --out, or --force to replace it";
    Err(Error::input(path, problem))
}

#[cfg(test)]
mod tests;
