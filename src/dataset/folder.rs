//! What folders hold, and pictures read from them: decoded in parallel, of one shape.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::{Dataset, Source, picture, source};
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// One entry of a folder.
pub(super) struct Entry {
    pub name: String,
    pub path: PathBuf,
    pub is_dir: bool,
}

/// What a folder holds, sorted by name; what systems leave there is not seen.
pub(super) fn list(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path, "reading"))? {
        let entry = entry.map_err(Error::io(path, "reading"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !ignored(&name) {
            let path = entry.path();
            // Only links have to be followed to know.
            let kind = entry.file_type().map_err(Error::io(&path, "reading"))?;
            entries.push(Entry { name, is_dir: kind.is_dir() || (kind.is_symlink() && path.is_dir()), path });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Everything below a folder, in order, links followed; what systems leave there is not seen.
pub(super) fn walk(top: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    let visible = |e: &DirEntry| e.depth() == 0 || !ignored(&e.file_name().to_string_lossy());
    WalkDir::new(top).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible)
}

/// Hidden entries, thumbnails of file managers and system folders.
fn ignored(name: &str) -> bool {
    const SYSTEM: [&str; 9] = [
        "__MACOSX",
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "Icon\r",
    ];
    name.starts_with('.') || SYSTEM.iter().any(|s| name.eq_ignore_ascii_case(s))
}

/// A picture to be read.
pub(super) struct Item {
    /// Below the data folder.
    pub path: PathBuf,
    pub label: usize,
}

impl Item {
    /// The path for people, with `/` on every system.
    fn name(&self) -> String {
        self.path.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>().join("/")
    }
}

/// Decodes all pictures, in parallel; one shape for all listings, that of the network if they are for one, else grey if
/// every picture is grey.
pub(super) fn read_pictures<const N: usize>(
    root: &Path,
    listings: [Vec<Item>; N],
    classes: &[String],
    source: &Source,
    notes: &mut Vec<String>,
) -> Result<[Dataset; N]> {
    let files: Vec<&Item> = listings.iter().flatten().collect();
    let Some(first) = files.first() else { return Err(Error::input(root, "no images")) };
    let expected = picture::decode(&root.join(&first.path))?.dimensions();
    let natural = [expected.1 as usize, expected.0 as usize];
    let target = source.target(natural);
    let [height, width] = target.unwrap_or(natural);
    // Decoded, as pixels, and once more while they are split.
    source::check_room(root, files.len(), Shape::new(3, height, width), 3)?;
    let decoded: Vec<Result<RgbImage>> = files
        .par_iter()
        .map(|item| {
            let path = root.join(&item.path);
            let picture = picture::decode(&path)?;
            match target {
                Some([height, width]) => Ok(picture::fit(&picture, width, height, source.fit)),
                None if picture.dimensions() == expected => Ok(picture),
                None => {
                    let ((w, h), (w0, h0)) = (picture.dimensions(), expected);
                    let problem = format!("{w}x{h} pixels while {} has {w0}x{h0}", first.name());
                    Err(Error::input(path, problem + "; pass --size N or WxH to bring all to one size"))
                }
            }
        })
        .collect();
    let pictures = decoded.into_iter().collect::<Result<Vec<_>>>()?;
    let own = if pictures.par_iter().all(picture::is_grey) { 1 } else { 3 };
    let channels = source.channels([height, width]).unwrap_or(own);
    let shape = Shape::new(channels, height, width);
    let mut pictures = pictures.into_iter();
    notes.extend(source::recoloured(own, channels));
    Ok(listings.map(|listing| {
        let mut data = Dataset::empty(shape, classes.to_vec());
        data.pixels.reserve(listing.len() * shape.len());
        for (item, picture) in listing.into_iter().zip(pictures.by_ref()) {
            data.push_bytes(item.name(), item.label, picture::bytes(&picture, channels));
        }
        data
    }))
}
