//! Pictures in folders: one folder per class (any depth below it), or one list `labels.csv`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::classes::{Choice, numbered};
use super::source::Found;
use super::{Dataset, Source, Splits, picture, source};
use crate::error::{Error, Result};
use crate::input;
use crate::tensor::Shape;

/// Name of the list of labels: rows `file,label`, paths relative to the folder, a header if you like.
pub(super) const LABELS: &str = "labels.csv";

/// One entry of a folder.
pub(super) struct Entry {
    pub name: String,
    pub is_dir: bool,
}

/// What a folder holds, sorted by name; hidden entries and archive leftovers are not seen.
pub(super) fn list(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path, "reading"))? {
        let entry = entry.map_err(Error::io(path, "reading"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !ignored(&name) {
            entries.push(Entry { name, is_dir: entry.path().is_dir() });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn ignored(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}

/// Pictures to be read: name below the data folder, and label.
type Listing = Vec<(String, usize)>;

/// A tree whose first level are the classes; `train` and `test` above them are a split.
pub(super) fn read_tree(root: &Path, entries: &[Entry], source: &Source) -> Result<Found> {
    let folders: Vec<&str> = entries.iter().filter(|e| e.is_dir).map(|e| e.name.as_str()).collect();
    let part = |words: &[&str]| folders.iter().copied().find(|f| words.iter().any(|w| f.eq_ignore_ascii_case(w)));
    let (train, test) = (part(&["train", "training"]), part(&["test", "testing", "val", "validation"]));
    if let (Some(train), Some(test), 2) = (train, test, folders.len()) {
        let classes = |below: &str| -> Result<Vec<String>> {
            Ok(list(&root.join(below))?.into_iter().filter(|e| e.is_dir).map(|e| e.name).collect())
        };
        let available = classes(train)?;
        if available != classes(test)? {
            return Err(Error::input(root, format!("{train} and {test} do not hold the same class folders")));
        }
        let choice = Choice::new(root, &available, &source.classes)?;
        let listings = [walk(root, Some(train), &available, &choice)?, walk(root, Some(test), &available, &choice)?];
        let [train, test] = read_pictures(root, listings, &choice.names, source.size)?;
        return Ok(Found::Split(Splits { train, test }));
    }
    if folders.is_empty() {
        let problem = if entries.iter().any(|e| picture::is_picture(&e.name)) {
            "the images lie side by side; put those of each class into a folder of its own, or add a labels.csv"
        } else {
            "no images here; expected a folder of images for each class, or IDX, CIFAR or .npz files"
        };
        return Err(Error::input(root, problem));
    }
    let available: Vec<String> = folders.iter().map(|f| f.to_string()).collect();
    let choice = Choice::new(root, &available, &source.classes)?;
    let listing = walk(root, None, &available, &choice)?;
    let [all] = read_pictures(root, [listing], &choice.names, source.size)?;
    Ok(Found::Whole(all))
}

/// Every picture below the chosen class folders, sorted by class folder and path.
fn walk(root: &Path, part: Option<&str>, available: &[String], choice: &Choice) -> Result<Listing> {
    let mut listing = Vec::new();
    for (class, folder) in available.iter().enumerate() {
        let Some(label) = choice.label(class) else { continue };
        let top = part.map_or(root.to_path_buf(), |p| root.join(p)).join(folder);
        let before = listing.len();
        let visible = |e: &walkdir::DirEntry| !ignored(&e.file_name().to_string_lossy());
        for entry in WalkDir::new(&top).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible) {
            let entry = entry.map_err(|e| {
                let why = e.io_error().map_or_else(|| e.to_string(), |cause| cause.to_string());
                Error::input(e.path().unwrap_or(&top), format!("cannot be read ({why}); repair or remove it"))
            })?;
            if entry.file_type().is_file() && picture::is_picture(&entry.file_name().to_string_lossy()) {
                let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
                let parts: Vec<_> = below.iter().map(|p| p.to_string_lossy()).collect();
                listing.push((parts.join("/"), label));
            }
        }
        if listing.len() == before {
            return Err(Error::input(
                &top,
                "no .jpg or .png below this class folder; add images, remove it, or leave it out with --classes",
            ));
        }
    }
    Ok(listing)
}

/// A folder with pictures and [`LABELS`].
pub(super) fn read_labelled(root: &Path, source: &Source) -> Result<Found> {
    let path = root.join(LABELS);
    let broken = |problem: String| Error::input(&path, problem);
    let text = input::read(&path, 1 << 28)?;
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(&text[..]);
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut lines = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| broken(format!("not a CSV file: {e}").replace('\n', " ")))?;
        let line = record.position().map_or(0, |p| p.line());
        let (Some(file), Some(label)) = (record.get(0), record.get(1)) else {
            return Err(broken(format!("line {line} is not of the form file,label")));
        };
        let file = file.trim_start_matches('\u{feff}').replace('\\', "/").trim_start_matches("./").to_string();
        if rows.is_empty() && !picture::is_picture(&file) && !root.join(&file).is_file() {
            continue; // the header
        }
        if label.is_empty() {
            return Err(broken(format!("line {line} names no class; write one, or remove the line")));
        }
        if let Some(first) = lines.insert(file.clone(), line) {
            return Err(broken(format!("line {line} names {file}, as line {first} does; remove one of them")));
        }
        rows.push((file, label.to_string()));
    }
    if rows.is_empty() {
        return Err(broken("lists no images; write one line file,label for each".into()));
    }
    let numbers: Option<Vec<usize>> = rows.iter().map(|r| r.1.parse().ok().filter(|&n| n < 100_000)).collect();
    let (available, labels) = match numbers {
        Some(numbers) => (numbered(numbers.iter().copied().max().unwrap_or(0)), numbers),
        None => {
            let names: BTreeSet<&String> = rows.iter().map(|r| &r.1).collect();
            let names: Vec<String> = names.into_iter().cloned().collect();
            let labels = rows.iter().map(|r| names.binary_search(&r.1).unwrap_or(0)).collect();
            (names, labels)
        }
    };
    let choice = Choice::new(&path, &available, &source.classes)?;
    let listing: Listing =
        rows.into_iter().zip(labels).filter_map(|((file, _), class)| Some((file, choice.label(class)?))).collect();
    if let Some((missing, _)) = listing.iter().find(|(file, _)| !root.join(file).is_file()) {
        return Err(broken(format!("names {missing}, which is not there; correct the line or add the file")));
    }
    let [all] = read_pictures(root, [listing], &choice.names, source.size)?;
    Ok(Found::Whole(all))
}

/// Decodes all pictures, in parallel; one shape for all listings, grey if every picture is grey.
fn read_pictures<const N: usize>(
    root: &Path,
    listings: [Listing; N],
    classes: &[String],
    size: Option<usize>,
) -> Result<[Dataset; N]> {
    let files: Vec<&(String, usize)> = listings.iter().flatten().collect();
    let Some(first) = files.first() else { return Err(Error::input(root, "no images")) };
    let expected = picture::decode(&root.join(&first.0))?.dimensions();
    let (width, height) = size.map_or((expected.0 as usize, expected.1 as usize), |side| (side, side));
    source::check_room(root, files.len(), Shape::new(3, height, width))?;
    let decoded: Vec<Result<RgbImage>> = files
        .par_iter()
        .map(|(name, _)| {
            let path = root.join(name);
            let picture = picture::decode(&path)?;
            match size {
                Some(side) => Ok(picture::fit(&picture, side, side)),
                None if picture.dimensions() == expected => Ok(picture),
                None => {
                    let ((w, h), (w0, h0)) = (picture.dimensions(), expected);
                    Err(Error::input(
                        path,
                        format!(
                            "{w}x{h} pixels while {} has {w0}x{h0}; pass --size N to bring all to one size",
                            first.0
                        ),
                    ))
                }
            }
        })
        .collect();
    let pictures = decoded.into_iter().collect::<Result<Vec<_>>>()?;
    let channels = if pictures.par_iter().all(picture::is_grey) { 1 } else { 3 };
    let shape = Shape::new(channels, height, width);
    let mut pictures = pictures.into_iter();
    Ok(listings.map(|listing| {
        let mut data = Dataset::empty(shape, classes.to_vec());
        data.pixels.reserve_exact(listing.len() * shape.len());
        for ((name, label), picture) in listing.into_iter().zip(pictures.by_ref()) {
            data.push(name, label, &picture::values(&picture, channels));
        }
        data
    }))
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::super::load;
    use super::*;

    /// Writes a small picture at `below` and the folders above it.
    fn put(root: &Path, below: &str, side: u32, colour: [u8; 3]) {
        let path = root.join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(side, side, |x, _| if x == 0 { Rgb([255; 3]) } else { Rgb(colour) }).save(path).unwrap();
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..5 {
            put(dir.path(), &format!("Boots/Ankle/Maker/{i}.png"), 4, [90, 40, 10]);
            put(dir.path(), &format!("Shoes/Oxford/Maker {i}/{i}.jpg"), 4, [10, 40, 90]);
        }
        put(dir.path(), "Shoes/loose.PNG", 4, [1, 2, 3]);
        std::fs::write(dir.path().join("Shoes/Thumbs.db"), "no picture").unwrap();
        std::fs::create_dir(dir.path().join(".cache")).unwrap();
        dir
    }

    fn error(path: &Path) -> String {
        let message = load(&Source::new(path)).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn a_tree_of_any_depth() {
        let dir = tree();
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!(splits.train.classes, ["Boots", "Shoes"]);
        assert_eq!(splits.train.shape, Shape::new(3, 4, 4));
        assert_eq!((splits.train.counts(), splits.test.counts()), (vec![4, 5], vec![1, 1]));
        assert!(splits.train.names.iter().all(|n| n.starts_with("Boots/Ankle/") || n.starts_with("Shoes/")));
        let mut source = Source::new(dir.path());
        source.classes = vec!["Shoes".into(), "Boots".into()];
        source.size = Some(2);
        let other = load(&source).unwrap();
        assert_eq!((other.train.counts(), other.train.shape), (vec![5, 4], Shape::new(3, 2, 2)));
    }

    #[test]
    fn grey_pictures_have_one_channel() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/1.png", "a/2.png", "b/1.png", "b/2.png"] {
            put(dir.path(), name, 3, [7; 3]);
        }
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!(splits.test.shape, Shape::new(1, 3, 3));
        assert_eq!(splits.test.image(0)[..2], [1.0, 7.0 / 255.0]);
    }

    #[test]
    fn a_tree_with_its_own_split() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["train/a/1.png", "train/b/1.png", "train/b/2.png", "test/a/9.png", "test/b/9.png"] {
            put(dir.path(), name, 3, [7, 8, 9]);
        }
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!(
            (splits.train.counts(), splits.test.names),
            (vec![1, 2], vec!["test/a/9.png".into(), "test/b/9.png".into()])
        );
    }

    #[test]
    fn bad_trees_are_named() {
        let dir = tree();
        std::fs::create_dir(dir.path().join("Clogs")).unwrap();
        assert!(error(dir.path()).contains("Clogs"));
        std::fs::remove_dir(dir.path().join("Clogs")).unwrap();
        #[cfg(unix)]
        {
            let link = dir.path().join("Shoes/lost.png");
            std::os::unix::fs::symlink("nowhere.png", &link).unwrap();
            let message = error(dir.path());
            assert!(message.contains("lost.png") && message.contains("remove it"), "{message}");
            std::fs::remove_file(link).unwrap();
        }
        put(dir.path(), "Shoes/large.png", 6, [0; 3]);
        let message = error(dir.path());
        assert!(message.contains("large.png") && message.contains("--size"), "{message}");
        std::fs::write(dir.path().join("Shoes/large.png"), b"\x89PNG\r\n\x1a\nrubbish").unwrap();
        assert!(error(dir.path()).contains("large.png"));
        std::fs::remove_dir_all(dir.path().join("Boots")).unwrap();
        std::fs::remove_file(dir.path().join("Shoes/large.png")).unwrap();
        assert!(error(dir.path()).contains("only the class Shoes"));
        assert!(error(&dir.path().join("Shoes/Oxford/Maker 0")).contains("side by side"));
    }

    #[test]
    fn a_list_of_labels() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..4 {
            put(dir.path(), &format!("img/{i}.png"), 3, [i as u8, 8, 9]);
        }
        let csv = dir.path().join(LABELS);
        std::fs::write(&csv, "file,label\nimg/0.png,cat\nimg/1.png,ant\nimg/2.png,cat\nimg/3.png,ant\n").unwrap();
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!(
            (splits.train.classes.clone(), splits.train.counts()),
            (vec!["ant".into(), "cat".into()], vec![1, 1])
        );
        std::fs::write(&csv, "img/0.png,0\nimg/1.png,2\nimg/2.png,0\n").unwrap();
        assert!(error(dir.path()).contains("class 1 has no images"));
        std::fs::write(&csv, "img/0.png,0\nimg/7.png,1\n").unwrap();
        assert!(error(dir.path()).contains("img/7.png"));
        std::fs::write(&csv, "img/0.png,0\nimg/1.png\n").unwrap();
        assert!(error(dir.path()).contains("line 2"));
        std::fs::write(&csv, "file,label\nimg/0.png,0\nimg/1.png,\n").unwrap();
        assert!(error(dir.path()).contains("line 3 names no class"));
        std::fs::write(&csv, "img/0.png,0\nimg/1.png,1\n./img/0.png,1\n").unwrap();
        assert!(error(dir.path()).contains("line 3 names img/0.png, as line 1"));
    }
}
