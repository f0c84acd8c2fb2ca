//! IDX files (MNIST, Fashion-MNIST, EMNIST, …), plain or gzipped: `…images-idx3-ubyte` with `…labels-idx1-ubyte`.

use std::io::{BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::classes::{Choice, tally};
use super::folder::Entry;
use super::rest::Seen;
use super::source::{Found, Images};
use super::{Dataset, Source, Split};
use crate::error::{Error, Result};
use crate::input;
use crate::tensor::Shape;

/// What a name and a label take beside the pixels of an image.
pub(super) const PER_IMAGE: u64 = 64;

/// Whether a file name is that of an IDX file of images.
pub(super) fn is_images(name: &str) -> bool {
    name.contains("images") && name.contains("idx3")
}

/// Whether a file name is that of an IDX file of images or labels.
pub(super) fn is_idx(name: &str) -> bool {
    is_images(name) || (name.contains("labels") && name.contains("idx1"))
}

/// Images and labels of one part, as in the files; without pixels where they are not wanted.
struct Part {
    prefix: String,
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

/// A folder with `train-*`, `t10k-*` (or `*test*`), or both: both are a split, in file order.
pub(super) fn read(folder: &Path, entries: &[Entry], source: &Source) -> Result<Found> {
    let is_test = |name: &str| name.contains("t10k") || name.contains("test");
    let (mut train, mut test) = (None, None);
    for entry in entries.iter().filter(|e| !e.is_dir && is_images(&e.name)) {
        // Sorted by name: a plain file comes before its gzipped twin and wins.
        let slot = if is_test(&entry.name) { &mut test } else { &mut train };
        match slot {
            None => *slot = Some(entry.name.as_str()),
            Some(first) if entry.name.strip_suffix(".gz") == Some(first) => {}
            Some(first) => {
                let problem = format!("both {first} and {} are here; keep one set of files per folder", entry.name);
                return Err(Error::input(folder, problem));
            }
        }
    }
    let mut seen = Seen::new("beside the IDX files");
    for images in train.iter().chain(&test) {
        // A gzipped twin is the same file.
        let is_its = |name: &str| [plain(images), &labels_of(images)].contains(&plain(name));
        entries.iter().filter(|e| !e.is_dir && is_its(&e.name)).for_each(|e| seen.add(&e.path));
    }
    // What is one part only is split later.
    let only = source.only.filter(|_| train.is_some() && test.is_some());
    let read_part = |name: Option<&str>, part: Split| {
        name.map(|images| read_part(folder, images, entries, only.is_none_or(|only| only == part))).transpose()
    };
    let (train, test) = (read_part(train, Split::Train)?, read_part(test, Split::Test)?);
    let parts: Vec<&Part> = train.iter().chain(&test).collect();
    let (height, width) = (parts[0].height, parts[0].width);
    if let Some(other) = parts.iter().find(|p| (p.height, p.width) != (height, width)) {
        return Err(Error::input(
            folder,
            format!("the training images are {height}x{width}, the test images {}x{}", other.height, other.width),
        ));
    }
    let labels: Vec<usize> = parts.iter().flat_map(|p| &p.labels).map(|&l| l.into()).collect();
    let choice = Choice::of_numbers(folder, &labels, source)?;
    let shape = Shape::new(1, height, width);
    let convert = |part: Option<Part>| match part {
        Some(part) => part.into_dataset(shape, &choice),
        None => Dataset::empty(shape, choice.names.clone()),
    };
    let images = match (train, test) {
        (Some(train), None) => Images::Whole(train.into_dataset(shape, &choice)),
        (train, test) => Images::Split(convert(train), convert(test)),
    };
    Ok(images.chosen(choice, &tally(labels), seen))
}

impl Part {
    fn into_dataset(self, shape: Shape, choice: &Choice) -> Dataset {
        let mut data = Dataset::empty(shape, choice.names.clone());
        for (i, (bytes, &class)) in self.pixels.chunks(shape.len()).zip(&self.labels).enumerate() {
            if let Some(label) = choice.label(usize::from(class)) {
                data.push_bytes(format!("{}{i:05}", self.prefix), label, bytes.iter().copied());
            }
        }
        data
    }
}

/// The name of a file without what compression adds.
fn plain(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

/// What the file with the labels of these images is called.
fn labels_of(images: &str) -> String {
    plain(images).replace("images", "labels").replace("idx3", "idx1")
}

fn read_part(folder: &Path, images: &str, entries: &[Entry], wanted: bool) -> Result<Part> {
    let stem = labels_of(images);
    let labels = entries.iter().map(|e| e.name.as_str()).find(|n| plain(n) == stem);
    let images_path = folder.join(images);
    let Some(labels) = labels else {
        return Err(Error::input(&images_path, format!("its labels are missing; put {stem} (or .gz) beside it")));
    };
    let (dims, pixels) = read_idx::<3>(&images_path, wanted)?;
    let (count, labels) = read_idx::<1>(&folder.join(labels), true)?;
    if count[0] != dims[0] {
        let problem = format!("{} images, but {} labels in {stem}; fetch both files again", dims[0], count[0]);
        return Err(Error::input(&images_path, problem));
    }
    if dims.contains(&0) {
        return Err(Error::input(&images_path, "no images in this file"));
    }
    let prefix = images.split("images").next().unwrap_or_default().to_string();
    Ok(Part { prefix, height: dims[1], width: dims[2], pixels, labels })
}

/// Dimensions of an IDX file of `N` dimensions, and its bytes where they are wanted.
fn read_idx<const N: usize>(path: &Path, wanted: bool) -> Result<([usize; N], Vec<u8>)> {
    let file = input::open(path)?;
    let stored = file.metadata().map_err(Error::io(path, "reading"))?.len();
    let mut file = BufReader::new(file);
    let zipped = std::io::BufRead::fill_buf(&mut file).map_err(Error::io(path, "reading"))?.starts_with(&[0x1F, 0x8B]);
    let mut stream: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let short = |_| Error::input(path, "the file is cut short or damaged; fetch it again");

    let mut word = [0; 4];
    stream.read_exact(&mut word).map_err(short)?;
    if word != [0, 0, 8, N as u8] {
        return Err(Error::input(
            path,
            format!("not an IDX file of {N} dimensions (it starts with {word:02x?}, not [00, 00, 08, {N:02x}])"),
        ));
    }
    let mut dims = [0; N];
    for dim in &mut dims {
        stream.read_exact(&mut word).map_err(short)?;
        *dim = u32::from_be_bytes(word) as usize;
    }
    // The header decides how much is allocated, so it must be believable first.
    let total = dims.iter().try_fold(1u64, |t, &d| t.checked_mul(d as u64)).unwrap_or(u64::MAX);
    let kept = total.saturating_add(PER_IMAGE.saturating_mul(dims[0] as u64));
    if if zipped { kept > input::room(stored) } else { total > stored } {
        let problem = format!("declares {dims:?} bytes, more than the file can hold; fetch it again");
        return Err(Error::input(path, problem));
    }
    if !wanted {
        return Ok((dims, vec![]));
    }
    let mut bytes = Vec::new();
    stream.take(total + 1).read_to_end(&mut bytes).map_err(short)?;
    match (bytes.len() as u64).cmp(&total) {
        std::cmp::Ordering::Less => Err(short(std::io::ErrorKind::UnexpectedEof.into())),
        std::cmp::Ordering::Equal => Ok((dims, bytes)),
        std::cmp::Ordering::Greater => {
            Err(Error::input(path, format!("more bytes than the {total} it declares; fetch it again")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::load;
    use super::super::testing::{error, put};
    use super::*;

    fn idx(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|d| out.extend(d.to_be_bytes()));
        out.extend(bytes);
        out
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    const LABELS: [u8; 6] = [2, 0, 1, 2, 1, 0];

    /// Six 2x3 training images and a gzipped test pair.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..36).map(|v| v * 7).collect();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        put("train-images-idx3-ubyte", &idx(&[6, 2, 3], &pixels));
        put("train-labels-idx1-ubyte", &idx(&[6], &LABELS));
        put("t10k-images-idx3-ubyte.gz", &gz(&idx(&[6, 2, 3], &pixels)));
        put("t10k-labels-idx1-ubyte.gz", &gz(&idx(&[6], &LABELS)));
        dir
    }

    #[test]
    fn both_pairs_are_the_split_in_file_order() {
        let dir = folder();
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!(splits.test.labels, LABELS.map(usize::from));
        assert_eq!(splits.train.shape, Shape::new(1, 2, 3));
        assert_eq!(splits.test.image(1)[0], 42.0 / 255.0);
        assert_eq!(splits.test.names[5], "t10k-00005");
        let mut source = Source::new(dir.path());
        source.classes = vec!["2".into(), "1".into()];
        let splits = load(&source).unwrap();
        assert_eq!((splits.test.labels, splits.test.names[1].as_str()), (vec![0, 1, 0, 1], "t10k-00002"));
        assert_eq!(splits.notes, ["4 images of class 0 are left out"]);
        source.size = Some([4, 4]);
        assert_eq!(load(&source).unwrap().train.shape, Shape::new(1, 4, 4));
    }

    #[test]
    fn one_pair_alone() {
        let dir = folder();
        for part in ["images-idx3", "labels-idx1"] {
            std::fs::remove_file(dir.path().join(format!("train-{part}-ubyte"))).unwrap();
        }
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (0, 6));
        let dir = folder();
        for part in ["images-idx3", "labels-idx1"] {
            std::fs::remove_file(dir.path().join(format!("t10k-{part}-ubyte.gz"))).unwrap();
        }
        assert_eq!(load(&Source::new(dir.path())).unwrap().test.counts(), [1, 1, 1]);
    }

    #[test]
    fn whatever_else_is_there_is_counted() {
        let dir = folder();
        ["loose.png", "cat/1.png"].into_iter().for_each(|name| put(dir.path(), name, 3, [1; 3]));
        std::fs::write(dir.path().join("notes.txt"), "").unwrap();
        // The same file twice is none too many; labels without images are.
        std::fs::write(dir.path().join("train-images-idx3-ubyte.gz"), "").unwrap();
        std::fs::remove_file(dir.path().join("t10k-images-idx3-ubyte.gz")).unwrap();
        let pictures = "2 pictures beside the IDX files are left out";
        let data = "1 data file is left out: t10k-labels-idx1-ubyte.gz";
        let others = "1 file of other types is left out: 1 .txt";
        assert_eq!(load(&Source::new(dir.path())).unwrap().notes, [pictures, data, others]);
    }

    #[test]
    fn parts_side_by_side() {
        let (dir, whole) = (tempfile::tempdir().unwrap(), folder());
        let to = |part: &str| {
            std::fs::create_dir(dir.path().join(part)).unwrap();
            let files = std::fs::read_dir(whole.path()).unwrap().map(|e| e.unwrap());
            let its = files.filter(|e| e.file_name().to_string_lossy().contains("t10k") == (part == "test"));
            its.for_each(|e| std::fs::rename(e.path(), dir.path().join(part).join(e.file_name())).unwrap());
        };
        ["train", "test"].into_iter().for_each(to);
        let message = error(dir.path());
        assert!(message.contains("train holds train-images-idx3-ubyte; put such files of all parts side by side"));
    }

    #[test]
    fn of_the_other_part_only_its_size_and_classes_are_read() {
        let dir = folder();
        let train = dir.path().join("train-images-idx3-ubyte");
        let whole = std::fs::read(&train).unwrap();
        std::fs::write(&train, &whole[..whole.len() - 1]).unwrap();
        assert!(error(dir.path()).contains("train-images"));
        let only = |part| load(&Source { only: Some(part), ..Source::new(dir.path()) });
        assert!(only(Split::Train).is_err());
        let splits = only(Split::Test).unwrap();
        assert_eq!((splits.train.len(), splits.test.counts()), (0, vec![2, 2, 2]));
        std::fs::write(&train, &whole[..10]).unwrap();
        assert!(only(Split::Test).is_err());
    }

    #[test]
    fn damaged_files_are_named() {
        let dir = folder();
        let images = dir.path().join("t10k-images-idx3-ubyte.gz");
        let whole = std::fs::read(&images).unwrap();
        for keep in [0, 3, 12, whole.len() / 2, whole.len() - 3] {
            std::fs::write(&images, &whole[..keep]).unwrap();
            let message = error(dir.path());
            assert!(message.contains("t10k-images"), "{message}");
        }
        std::fs::write(&images, gz(&idx(&[u32::MAX, u32::MAX, u32::MAX], &[]))).unwrap();
        assert!(error(dir.path()).contains("more than the file can hold"));
        std::fs::write(&images, gz(&idx(&[1 << 20, 28, 28], &[]))).unwrap();
        assert!(error(dir.path()).contains("more than the file can hold"));
        std::fs::write(&images, gz(b"PK\x03\x04 something else")).unwrap();
        assert!(error(dir.path()).contains("not an IDX file"));
        std::fs::write(&images, gz(&idx(&[5, 2, 3], &[0; 30]))).unwrap();
        assert!(error(dir.path()).contains("5 images, but 6 labels"));
        std::fs::write(&images, gz(&idx(&[6, 2, 3], &[0; 37]))).unwrap();
        assert!(error(dir.path()).contains("more bytes"));
        std::fs::remove_file(dir.path().join("train-labels-idx1-ubyte")).unwrap();
        assert!(error(dir.path()).contains("labels are missing"));
    }
}
