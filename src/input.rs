//! Files from anywhere: only regular ones are opened, and only so much of them is read. A pipe keeps a reader waiting for
//! ever, a device has no end.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Opens a file for reading.
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] for what is a folder, a pipe or a device.
pub fn open(path: &Path) -> Result<File> {
    regular(path)?;
    File::open(path).map_err(Error::io(path, "reading"))
}

/// Whether a file of content is there, by itself or behind a link.
///
/// # Errors
/// As [`open`].
pub fn regular(path: &Path) -> Result<()> {
    let kind = std::fs::metadata(path).map_err(Error::io(path, "reading"))?;
    if kind.is_file() {
        return Ok(());
    }
    let problem =
        if kind.is_dir() { "is a folder; name a file" } else { "is a pipe or a device; put a plain file in its place" };
    Err(Error::input(path, problem))
}

/// A hash of content as people write it.
pub fn hex(sha: Sha256) -> String {
    sha.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The content of a file of at most `limit` bytes.
///
/// # Errors
/// As [`open`], and [`Error::Input`] for a longer one.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path, "reading"))?;
    if bytes.len() as u64 > limit {
        return Err(Error::input(
            path,
            format!("is longer than {limit} bytes, too long for what it should be; replace it"),
        ));
    }
    Ok(bytes)
}

/// [`read`] for text.
///
/// # Errors
/// As [`read`], and [`Error::Input`] for what is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let damaged = |_| Error::input(path, "is not a text file; write it again, or remove it");
    String::from_utf8(read(path, limit)?).map_err(damaged)
}

/// The content of a file, unpacked if it is gzip (whatever its name says).
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] if the content is longer than `limit` bytes or the compression is damaged.
pub fn read_maybe_gz(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "opening"))?;
    let mut bytes = vec![];
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "reading"))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = vec![];
        let room = room(bytes.len() as u64).min(limit);
        let unpacked = flate2::read::MultiGzDecoder::new(&bytes[..]).take(room + 1).read_to_end(&mut plain);
        unpacked.map_err(|e| Error::input(path, format!("damaged gzip file ({e}); copy it again")))?;
        if room < limit && plain.len() as u64 > room {
            return Err(Error::input(path, "unpacks to 200 times its size and more; unpack it, if that is right"));
        }
        bytes = plain;
    }
    if bytes.len() as u64 > limit {
        return Err(Error::input(path, format!("is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// The text of bytes in UTF-16 that begin with its mark; `None` for others.
pub fn utf16(bytes: &[u8]) -> Option<String> {
    let of: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, left) = bytes[2..].as_chunks();
    let units: Vec<u16> = pairs.iter().map(|&b| of(b)).collect();
    String::from_utf16(&units).ok().filter(|_| left.is_empty())
}

/// Bytes that a compressed file of `stored` bytes is taken to hold at most. Only repetition shrinks by more than this
/// factor; a small file that unpacks to very much is a trap.
pub fn room(stored: u64) -> u64 {
    stored.saturating_mul(200).max(64 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_bounded_length_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "text");
        assert!(read(&path, 3).unwrap_err().to_string().contains("longer than 3 bytes"));
        std::fs::write(&path, [0xFF]).unwrap();
        assert!(read_text(&path, 4).unwrap_err().to_string().contains("not a text file"));
        assert!(read(dir.path(), 9).unwrap_err().to_string().contains("a folder"));
        assert!(read(&dir.path().join("b"), 9).unwrap_err().to_string().contains("check the path"));
    }
}
