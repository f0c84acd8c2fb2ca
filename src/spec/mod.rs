//! Properties of networks as plain data, and the files they come in.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The content of a file, unpacked if it is gzip (whatever its name says).
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] if the content is longer than `limit` bytes or the compression is damaged.
pub fn read_maybe_gz(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(Error::io(path, "opening"))?;
    let mut bytes = vec![];
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "reading"))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = vec![];
        let unpacked = flate2::read::MultiGzDecoder::new(&bytes[..]).take(limit + 1).read_to_end(&mut plain);
        unpacked.map_err(|e| Error::input(path, format!("damaged gzip file ({e}); copy it again")))?;
        bytes = plain;
    }
    if bytes.len() as u64 > limit {
        return Err(Error::input(path, format!("is longer than {limit} bytes")));
    }
    Ok(bytes)
}
