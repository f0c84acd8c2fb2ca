//! `--data`: where images come from, what is kept of them, and the split.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Dataset, cifar, folder, idx, npz, picture, split};
use crate::error::{Error, Result};
use crate::tensor::{self, Shape};

/// Largest side that images can be brought to.
pub const MAX_SIZE: usize = 4096;

/// What to load and how.
#[derive(Clone, Debug)]
pub struct Source {
    /// A class-per-folder tree, a folder with IDX files, CIFAR binary files or `labels.csv`, or an `.npz` file.
    pub path: PathBuf,
    /// Classes to keep, by name or number, in this order (they become labels 0, 1, …); empty keeps all.
    pub classes: Vec<String>,
    /// Side of the square all images are brought to. Aspect is kept; what opens takes the colour of the image's border.
    pub size: Option<usize>,
    /// Seed of the split, where the data has none of its own.
    pub seed: u64,
    /// Share of every class that goes to the test set, where the data has no split of its own.
    pub test_share: f64,
}

impl Source {
    /// Everything at `path`, every fifth image for testing, seed 0.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Source { path: path.into(), classes: Vec::new(), size: None, seed: 0, test_share: 0.2 }
    }
}

/// Training and test images; same shape and classes.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Empty if the data only has a test set.
    pub train: Dataset,
    /// Images held back.
    pub test: Dataset,
}

/// What a reader found.
pub(super) enum Found {
    /// Images without a split.
    Whole(Dataset),
    /// The data's own split.
    Split(Splits),
}

/// Reads labelled images. The format is told from what is at the path; see [`Source::path`].
///
/// # Errors
/// One line naming the file and the remedy: nothing at the path, no images, a class without images, fewer than two
/// classes, an unreadable or truncated file, counts that do not match, sizes the file cannot hold, pixels that are NaN or
/// out of range, an unknown class, images of several sizes without `size`.
pub fn load(source: &Source) -> Result<Splits> {
    if source.size == Some(0) || source.size > Some(MAX_SIZE) {
        return Err(Error::usage(format!("--size is the side of the images in pixels: 1 to {MAX_SIZE}")));
    }
    if !(0.0..1.0).contains(&source.test_share) {
        return Err(Error::usage("the test share is at least 0 and below 1"));
    }
    let path = &source.path;
    let splits = match find(source)? {
        Found::Whole(data) => {
            check(path, &data)?;
            split::stratified(path, &data, source.test_share, source.seed)?
        }
        Found::Split(splits) => {
            let filled = if splits.train.is_empty() { &splits.test } else { &splits.train };
            check(path, filled)?;
            splits
        }
    };
    let Some(size) = source.size else { return Ok(splits) };
    let shape = Shape::new(splits.test.shape.channels, size, size);
    if splits.test.shape != shape {
        check_room(path, splits.train.len() + splits.test.len(), shape)?;
    }
    Ok(Splits { train: resized(splits.train, shape), test: resized(splits.test, shape) })
}

/// Whether [`load`] of the data at `source` reads the file that is at `path` now.
pub fn reads(source: &Path, path: &Path) -> bool {
    let (Ok(source), Ok(path)) = (source.canonicalize(), path.canonicalize()) else { return false };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_data = picture::is_picture(&name)
        || idx::is_idx(&name)
        || cifar::is_batch(&name)
        || name == folder::LABELS
        || name.ends_with(".npz");
    source == path || (is_data && path.starts_with(source))
}

fn find(source: &Source) -> Result<Found> {
    let path = &source.path;
    let meta = std::fs::metadata(path)
        .map_err(|_| Error::input(path, "there is nothing here that can be read; check the path given as --data"))?;
    if !meta.is_dir() {
        if meta.is_file() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
            return npz::read(path, source);
        }
        return Err(Error::input(
            path,
            "not a data set; give the folder that holds the images (or IDX or CIFAR files), or an .npz file",
        ));
    }
    let entries = folder::list(path)?;
    let named = |test: fn(&str) -> bool| entries.iter().any(|e| !e.is_dir && test(&e.name));
    if named(idx::is_images) {
        idx::read(path, &entries, source)
    } else if named(cifar::is_batch) {
        cifar::read(path, &entries, source)
    } else if named(|name| name == folder::LABELS) {
        folder::read_labelled(path, source)
    } else {
        let arrays: Vec<_> = entries.iter().filter(|e| !e.is_dir && e.name.ends_with(".npz")).collect();
        match arrays[..] {
            [one] if entries.iter().all(|e| !e.is_dir) => npz::read(&path.join(&one.name), source),
            _ => folder::read_tree(path, &entries, source),
        }
    }
}

/// At least two classes, none of them empty.
fn check(path: &Path, data: &Dataset) -> Result<()> {
    if data.classes.len() < 2 {
        let only = data.classes.first().map_or("no class".to_string(), |c| format!("only the class {c}"));
        return Err(Error::input(path, format!("{only} was found; a classifier needs two classes or more")));
    }
    match data.counts().iter().position(|&n| n == 0) {
        Some(empty) => Err(Error::input(
            path,
            format!(
                "class {} has no images; add some, or name the classes to keep with --classes",
                data.classes[empty]
            ),
        )),
        None => Ok(()),
    }
}

/// Refuses more images than there is memory for: as numbers, once more while they are split or brought to a size, and the
/// bytes they come from.
pub(super) fn check_room(path: &Path, images: usize, shape: Shape) -> Result<()> {
    let numbers = images as u64 * shape.len() as u64;
    tensor::check_room(numbers * 9 / 4).map_err(|gib| {
        let problem = format!("{images} images of {shape} take {gib:.1} GiB, more than can be had");
        Error::input(path, problem + "; give a smaller --size, or fewer images")
    })
}

/// Brings every image to this shape.
fn resized(data: Dataset, shape: Shape) -> Dataset {
    if data.shape == shape {
        return data;
    }
    let images: Vec<Vec<f32>> =
        (0..data.len()).into_par_iter().map(|i| picture::fit_values(data.image(i), data.shape, shape)).collect();
    Dataset { shape, pixels: images.concat(), ..data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_and_a_foreign_file_are_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let missing = load(&Source::new(dir.path().join("nowhere"))).unwrap_err().to_string();
        assert!(missing.contains("nowhere") && missing.contains("--data") && !missing.contains('\n'), "{missing}");
        let file = dir.path().join("notes.txt");
        std::fs::write(&file, "hello").unwrap();
        assert!(load(&Source::new(&file)).unwrap_err().to_string().contains("not a data set"));
        assert!(reads(&file, &file) && !reads(dir.path(), &file) && !reads(dir.path(), &dir.path().join("a.png")));
        std::fs::write(dir.path().join("a.png"), "").unwrap();
        assert!(reads(dir.path(), &dir.path().join("./a.png")));
        std::fs::remove_file(dir.path().join("a.png")).unwrap();
        assert!(load(&Source::new(dir.path())).unwrap_err().to_string().contains("no images"));
    }
}
