//! Tables that grow while a run goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{append, clear_locked, lock};
use crate::error::{Error, Result};
use crate::{input, interrupt};

/// A file of lines that grows, locked for one writer as long as this lives: whoever is stopped leaves whole lines, but perhaps
/// the last.
pub struct Growing {
    path: PathBuf,
    file: File,
}

impl Growing {
    /// A new file in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// If it is there already, or another run is writing in the folder.
    pub fn create(dir: &Path, name: &str) -> Result<Growing> {
        fs::create_dir_all(dir).map_err(Error::io(dir, "creating the folder"))?;
        let path = dir.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => Error::input(&path, "exists already; give another --out"),
            _ => Error::io(&path, "creating")(e),
        })?;
        lock(dir, &file)?;
        Ok(Growing { path, file })
    }

    /// A file that is there, and what stands in it. What a killed run left beside it is cleared.
    ///
    /// # Errors
    /// If it cannot be read, or another run is writing in the folder.
    pub fn open(dir: &Path, name: &str) -> Result<(Growing, Vec<u8>)> {
        let path = dir.join(name);
        input::regular(&path)?;
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(Error::io(&path, "opening"))?;
        lock(dir, &file)?;
        clear_locked(dir);
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(Error::io(&path, "reading"))?;
        Ok((Growing { path, file }, text))
    }

    /// Drops everything after this many bytes, and writes on from there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn cut(&mut self, length: u64) -> Result<()> {
        let cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        cut.map(drop).map_err(Error::io(&self.path, "writing"))
    }

    /// Appends lines; they are in the file when this returns, or nothing of them is.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, lines: &str) -> Result<()> {
        let _shield = interrupt::shield();
        append(&mut self.file, lines.as_bytes()).map_err(Error::io(&self.path, "writing"))
    }
}

/// How much of a text is whole lines.
pub fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1)
}
