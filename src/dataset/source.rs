//! `--data`: where images come from, what is kept of them, and the split.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::classes::Choice;
use super::rest::Seen;
use super::{Dataset, Pixels, Split, cifar, folder, idx, labels, npz, picture, split, tree};
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
    /// Height and width that all images are brought to; those of the network where they are not given.
    pub size: Option<[usize; 2]>,
    /// How images of another aspect are brought there.
    pub fit: Fit,
    /// What the images are for.
    pub network: Option<Network>,
    /// The part that is wanted; the other may be left empty.
    pub only: Option<Split>,
    /// Seed of the split, where the data has none of its own.
    pub seed: u64,
    /// Share of every class that goes to the test set, where the data has no split of its own.
    pub test_share: f64,
}

impl Source {
    /// Everything at `path`, every fifth image for testing, seed 0.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (path, classes) = (path.into(), Vec::new());
        Source { path, classes, size: None, fit: Fit::Pad, network: None, only: None, seed: 0, test_share: 0.2 }
    }

    /// The size that images of `natural` size are brought to, where it is another than theirs.
    pub(super) fn target(&self, natural: [usize; 2]) -> Option<[usize; 2]> {
        let wanted = || self.network.as_ref()?.size(natural);
        self.size.or_else(wanted)
    }

    /// The number of channels that images have to have.
    pub(super) fn channels(&self, [height, width]: [usize; 2]) -> Option<usize> {
        let channels = |n: &Network| {
            if n.is_flat() { n.input.len() / (height * width).max(1) } else { n.input.channels }
        };
        self.network.as_ref().map(channels).filter(|c| [1, 3].contains(c))
    }
}

/// What a network takes and tells apart, as far as images are chosen by it.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its input. A row of numbers takes any image of as many values.
    pub input: Shape,
    /// A name for each output.
    pub classes: Vec<String>,
    /// What errors add about its outputs, such as the node they come from.
    pub outputs: String,
}

impl Network {
    /// A network with this input and these names of outputs.
    pub fn new(input: Shape, classes: &[String]) -> Network {
        Network { input, classes: classes.to_vec(), outputs: String::new() }
    }

    /// Whether the input says nothing of height and width.
    pub fn is_flat(&self) -> bool {
        self.input.height == 1 && (self.input.width == 1 || self.input.channels == 1)
    }

    /// Height and width of its images; of a row of numbers those of a square, unless images of `natural` size fill it.
    pub fn size(&self, natural: [usize; 2]) -> Option<[usize; 2]> {
        if !self.is_flat() {
            return Some([self.input.height, self.input.width]);
        }
        let values = self.input.len();
        let side = |channels: usize| {
            let side = ((values / channels) as f64).sqrt().round() as usize;
            (channels * side * side == values).then_some([side, side])
        };
        let fills = [1, 3].iter().any(|c| c * natural[0] * natural[1] == values);
        if fills { Some(natural) } else { side(1).or_else(|| side(3)) }
    }
}

/// How an image is brought to a size of another aspect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// Whole, its aspect kept; what opens at the sides takes the colour of the image's border.
    #[default]
    Pad,
    /// To the full size, its aspect lost.
    Stretch,
    /// Its aspect kept, what hangs over cut off at both sides.
    Crop,
}

impl Fit {
    /// Every way.
    pub const ALL: [Fit; 3] = [Fit::Pad, Fit::Stretch, Fit::Crop];

    /// The name for users.
    pub fn name(self) -> &'static str {
        match self {
            Fit::Pad => "pad",
            Fit::Stretch => "stretch",
            Fit::Crop => "crop",
        }
    }
}

impl std::str::FromStr for Fit {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Fit, String> {
        Fit::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| format!("knows no fit '{name}'"))
    }
}

/// Training and test images; same shape and classes.
#[derive(Clone, Debug)]
pub struct Splits {
    /// Empty if the data only has a test set.
    pub train: Dataset,
    /// Images held back.
    pub test: Dataset,
    /// What was left out or changed, a line each.
    pub notes: Vec<String>,
    /// How many images there are, where a seed chose the parts.
    pub drawn_from: Option<usize>,
}

/// What a reader found, and what there is to say of it.
pub(super) struct Found {
    pub images: Images,
    /// What the data calls each class.
    pub own: Vec<String>,
    pub notes: Vec<String>,
    /// Of which files that is.
    pub seen: Seen,
}

pub(super) enum Images {
    /// Images without a split.
    Whole(Dataset),
    /// The data's own split: training and test.
    Split(Dataset, Dataset),
}

impl Images {
    /// Read of the files seen, with so many images of each class there; nothing to say but what the choice of classes says.
    pub fn chosen(self, choice: Choice, there: &[usize], seen: Seen) -> Found {
        Found { images: self, notes: choice.left_out(there).into_iter().collect(), own: choice.own, seen }
    }
}

/// Reads labelled images. The format is told from what is at the path; see [`Source::path`].
///
/// # Errors
/// One line naming the file and the remedy: nothing at the path, no images, a class without images, fewer than two
/// classes, an unreadable or truncated file, counts that do not match, sizes the file cannot hold, pixels that are NaN or
/// out of range, an unknown class, images of several sizes without `size`.
pub fn load(source: &Source) -> Result<Splits> {
    if source.size.is_some_and(|s| s.iter().any(|n| !(1..=MAX_SIZE).contains(n))) {
        return Err(Error::usage(format!("--size is the side of the images in pixels, or WxH: 1 to {MAX_SIZE}")));
    }
    if !(0.0..1.0).contains(&source.test_share) {
        return Err(Error::usage("the test share is at least 0 and below 1"));
    }
    let path = &source.path;
    let Found { images, own, mut notes, seen } = find(path, source, 0)?;
    notes.extend(seen.rest(path));
    let (train, test, drawn_from) = match images {
        Images::Whole(data) => {
            check(path, &data, source)?;
            let (share, seed) = (source.test_share, source.seed);
            let Splits { train, test, .. } = split::stratified_by(path, &data, &own, share, seed, source.only)?;
            (train, test, Some(data.len()))
        }
        Images::Split(train, test) => {
            check(path, if train.is_empty() { &test } else { &train }, source)?;
            (train, test, None)
        }
    };
    let natural = test.shape;
    let size = source.target([natural.height, natural.width]).unwrap_or([natural.height, natural.width]);
    let shape = Shape::new(source.channels(size).unwrap_or(natural.channels), size[0], size[1]);
    if shape != natural {
        // Numbers, and for a moment the bytes that they come from.
        check_room(path, train.len() + test.len(), shape, 5)?;
    }
    notes.extend(recoloured(natural.channels, shape.channels));
    let [train, test] = [train, test].map(|data| resized(data, shape, source.fit));
    Ok(Splits { train, test, notes, drawn_from })
}

/// Height and width of the images as they are, or as `source` has them brought to.
///
/// # Errors
/// As [`load`].
pub fn natural_size(source: &Source) -> Result<[usize; 2]> {
    let source = Source { classes: vec![], network: None, ..source.clone() };
    let shape = match find(&source.path, &source, 0)?.images {
        Images::Whole(data) => data.shape,
        Images::Split(_, test) => test.shape,
    };
    Ok(source.size.unwrap_or([shape.height, shape.width]))
}

/// How many classes the data at `source` has.
///
/// # Errors
/// As [`load`].
pub fn class_count(source: &Source) -> Result<usize> {
    let size = source.size.or(Some([1, 1]));
    Ok(find(&source.path, &Source { network: None, size, ..source.clone() }, 0)?.own.len())
}

/// Whether [`load`] of the data at `source` reads the file that is at `path` now.
pub fn reads(source: &Path, path: &Path) -> bool {
    let (Ok(source), Ok(path)) = (source.canonicalize(), path.canonicalize()) else { return false };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    source == path || ((picture::is_picture(&name) || is_data(&name)) && path.starts_with(source))
}

/// Whether a file of this name holds images, or is part of a data set, without being a picture.
pub(super) fn is_data(name: &str) -> bool {
    idx::is_idx(name) || cifar::is_batch(name) || name == labels::LABELS || name.ends_with(".npz")
}

/// Folders that hold nothing but one other are looked through so deep.
pub(super) const DEEPEST: usize = 3;

fn find(path: &Path, source: &Source, depth: usize) -> Result<Found> {
    let meta = std::fs::metadata(path)
        .map_err(|_| Error::input(path, "there is nothing here that can be read; check the path given as --data"))?;
    if !meta.is_dir() {
        if meta.is_file() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
            return npz::read(path, source);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let packed = [".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"].iter().any(|e| name.ends_with(e));
        return Err(Error::input(
            path,
            if packed {
                "an archive; unpack it and give the folder"
            } else {
                "not a data set; give the folder that holds the images (or IDX or CIFAR files), or an .npz file"
            },
        ));
    }
    let entries = folder::list(path)?;
    let named = |test: fn(&str) -> bool| entries.iter().any(|e| !e.is_dir && test(&e.name));
    if named(idx::is_images) {
        idx::read(path, &entries, source)
    } else if named(cifar::is_batch) {
        cifar::read(path, &entries, source)
    } else if cifar::are_pickles(&entries) {
        let problem = "CIFAR as pickles of Python, which are not read; take the binary version, or save an .npz of images and labels";
        Err(Error::input(path, problem))
    } else if named(|name| name == labels::LABELS) {
        labels::read(path, source)
    } else {
        let arrays: Vec<_> = entries.iter().filter(|e| !e.is_dir && e.name.ends_with(".npz")).collect();
        match (&arrays[..], &entries[..]) {
            ([one], _) if entries.iter().all(|e| !e.is_dir) => npz::read(&path.join(&one.name), source),
            // What archives unpack to, such as MNIST/raw.
            (_, [only])
                if only.is_dir && depth < DEEPEST && tree::leads_on(&path.join(&only.name), DEEPEST - depth)? =>
            {
                let inner = path.join(&only.name);
                let mut found = find(&inner, source, depth + 1)?;
                if depth == 0 {
                    found.notes.push(format!("read from {}", inner.display()));
                }
                Ok(found)
            }
            _ => tree::read_tree(path, &entries, source),
        }
    }
}

/// At least two classes, none of them empty; for a network it is enough that there are images.
fn check(path: &Path, data: &Dataset, source: &Source) -> Result<()> {
    if source.network.is_some() {
        return if data.is_empty() {
            Err(Error::input(path, "has no images of the network's classes"))
        } else {
            Ok(())
        };
    }
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

/// Refuses more images than there is memory for, at so many bytes for each value.
pub(super) fn check_room(path: &Path, images: usize, shape: Shape, bytes: u64) -> Result<()> {
    let values = images as u64 * shape.len() as u64;
    tensor::check_room((values * bytes).div_ceil(4)).map_err(|gib| {
        let problem = format!("{images} images of {shape} take {gib:.1} GiB, more than can be had");
        Error::input(path, problem + "; give a smaller --size, or fewer images")
    })
}

/// What there is to say where images of one number of channels become those of another.
pub(super) fn recoloured(from: usize, to: usize) -> Option<String> {
    match (from, to) {
        (1, 3) => Some("grey images for a network of three channels: each of them is given the grey".into()),
        (3, 1) => Some("colour images for a network of one channel: it is given their luminance".into()),
        _ => None,
    }
}

/// Brings every image to this shape.
fn resized(data: Dataset, shape: Shape, fit: Fit) -> Dataset {
    if data.shape == shape {
        return data;
    }
    let own = Shape { channels: shape.channels, ..data.shape };
    let image = |i: usize| {
        let pixels = picture::in_channels(&data.image(i), data.shape.channels, shape.channels);
        if own == shape { pixels } else { picture::fit_values(&pixels, own, shape, fit) }
    };
    const PART: usize = 256;
    let mut pixels = Pixels::new();
    for from in (0..data.len()).step_by(PART) {
        let images: Vec<Vec<f32>> = (from..data.len().min(from + PART)).into_par_iter().map(image).collect();
        images.iter().for_each(|image| pixels.extend(image));
    }
    Dataset { shape, pixels, ..data }
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
