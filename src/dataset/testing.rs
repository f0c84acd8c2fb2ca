//! What tests of several readers share.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::{Source, load};

/// Writes a small picture at `below` and the folders above it.
pub fn put(root: &Path, below: &str, side: u32, colour: [u8; 3]) {
    let path = root.join(below);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(side, side, |x, _| if x == 0 { Rgb([255; 3]) } else { Rgb(colour) }).save(path).unwrap();
}

/// Why a folder is refused: one line.
pub fn error(path: &Path) -> String {
    let message = load(&Source::new(path)).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}
