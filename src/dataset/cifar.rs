//! CIFAR-10 and CIFAR-100 binary files: records of label byte(s) and 3072 bytes, planes of 32x32.

use std::path::Path;

use super::classes::{Choice, numbered};
use super::folder::Entry;
use super::rest::Seen;
use super::source::{Found, Images};
use super::{Dataset, Source};
use crate::error::{Error, Result};
use crate::input;
use crate::tensor::Shape;

const SHAPE: Shape = Shape::new(3, 32, 32);

/// Whether a file name is that of a CIFAR file.
pub(super) fn is_batch(name: &str) -> bool {
    matches!(name, "train.bin" | "test.bin" | "test_batch.bin") || is_cifar10_train(name)
}

/// Whether a folder holds CIFAR as Python wrote it.
pub(super) fn are_pickles(entries: &[Entry]) -> bool {
    let has = |name: &str| entries.iter().any(|e| !e.is_dir && e.name == name);
    has("data_batch_1") || has("test_batch") || (has("train") && has("test") && has("meta"))
}

fn is_cifar10_train(name: &str) -> bool {
    name.starts_with("data_batch_") && name.ends_with(".bin")
}

/// Whether a file name is that of what comes with CIFAR files: names of classes, and a page about them.
fn is_beside(name: &str) -> bool {
    matches!(name, "batches.meta.txt" | "fine_label_names.txt" | "coarse_label_names.txt" | "readme.html")
}

/// CIFAR-10 (`data_batch_*.bin`, `test_batch.bin`, `batches.meta.txt`) or CIFAR-100 (`train.bin`, `test.bin`,
/// `fine_label_names.txt`; fine labels). Training and test files are the split, in file order.
pub(super) fn read(folder: &Path, entries: &[Entry], source: &Source) -> Result<Found> {
    let ten = entries.iter().any(|e| is_cifar10_train(&e.name) || e.name == "test_batch.bin");
    // CIFAR-100 has the coarse label first.
    let (label_bytes, classes, names) =
        if ten { (1, 10, "batches.meta.txt") } else { (2, 100, "fine_label_names.txt") };
    let mut seen = Seen::new("beside the CIFAR files");
    entries.iter().filter(|e| !e.is_dir && is_beside(&e.name)).for_each(|e| seen.add(&e.path));
    let names = class_names(&folder.join(names), classes)?;
    let choice = Choice::new(folder, &names, source)?;
    let (mut train, mut test) =
        (Dataset::empty(SHAPE, choice.names.clone()), Dataset::empty(SHAPE, choice.names.clone()));
    let mut there = vec![0; classes];
    for entry in entries.iter().filter(|e| !e.is_dir && is_batch(&e.name)) {
        let path = folder.join(&entry.name);
        seen.add(&path);
        let bytes = input::read(&path, 1 << 32)?;
        let record = label_bytes + SHAPE.len();
        if bytes.is_empty() || bytes.len() % record != 0 {
            let problem = format!("{} bytes are not whole records of {record}; fetch the file again", bytes.len());
            return Err(Error::input(path, problem));
        }
        let part = if entry.name.starts_with("test") { &mut test } else { &mut train };
        let stem = entry.name.trim_end_matches(".bin");
        for (i, record) in bytes.chunks(record).enumerate() {
            let class = usize::from(record[label_bytes - 1]);
            if class >= classes {
                let problem =
                    format!("label {class} in record {i}, but there are {classes} classes; not a CIFAR-{classes} file");
                return Err(Error::input(path, problem));
            }
            there[class] += 1;
            if let Some(label) = choice.label(class) {
                part.push_bytes(format!("{stem}-{i:05}"), label, record[label_bytes..].iter().copied());
            }
        }
    }
    let images = if test.is_empty() { Images::Whole(train) } else { Images::Split(train, test) };
    Ok(images.chosen(choice, &there, seen))
}

/// One name a line; numbers where the file is missing.
fn class_names(path: &Path, count: usize) -> Result<Vec<String>> {
    if !path.exists() {
        return Ok(numbered(count - 1));
    }
    let text = input::read_text(path, 1 << 20)?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    if names.len() == count {
        Ok(names)
    } else {
        Err(Error::input(path, format!("{} class names, expected {count}; remove it or fetch it again", names.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn records(labels: &[u8], coarse: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for &label in labels {
            out.extend(std::iter::repeat_n(7, usize::from(coarse)));
            out.push(label);
            out.extend((0..SHAPE.len()).map(|k| ((k / 1024) as u8 * 100).wrapping_add(label)));
        }
        out
    }

    #[test]
    fn cifar_10_and_100() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        put("data_batch_1.bin", &records(&[0, 1, 2, 3, 4], false));
        put("data_batch_2.bin", &records(&[5, 6, 7, 8, 9], false));
        put("test_batch.bin", &records(&[9, 0], false));
        put("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!((splits.train.len(), splits.test.labels.clone()), (10, vec![9, 0]));
        assert_eq!(splits.test.image(0)[1024], 109.0 / 255.0);
        assert_eq!(splits.train.classes[9], "j");
        let mut source = Source::new(dir.path());
        source.classes = vec!["j".into(), "0".into()];
        assert_eq!(load(&source).unwrap().test.labels, [0, 1]);
        ["readme.html", "data_batch_3.bin.part"].into_iter().for_each(|name| put(name, b""));
        super::super::testing::put(dir.path(), "cats/1.png", 3, [1; 3]);
        let classes = "8 images of b, c, d, e, f, g, h, i are left out";
        let pictures = "1 picture beside the CIFAR files is left out";
        let others = "1 file of other types is left out: 1 .part";
        assert_eq!(load(&source).unwrap().notes, [classes, pictures, others]);
        put("test_batch.bin", &records(&[10], false));
        assert!(load(&source).unwrap_err().to_string().contains("label 10"));
        put("test_batch.bin", &records(&[9], false)[..3000]);
        assert!(load(&source).unwrap_err().to_string().contains("test_batch.bin"));

        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.bin"), records(&(0..100).collect::<Vec<u8>>(), true)).unwrap();
        std::fs::write(dir.path().join("test.bin"), records(&[42], true)).unwrap();
        assert_eq!(load(&Source::new(dir.path())).unwrap().test.labels, [42]);
    }
}
