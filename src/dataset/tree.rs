//! A tree of pictures: a folder for each class, below folders for training and testing if there are such.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::classes::{Choice, composed, listed};
use super::folder::{Entry, Item, ignored, list, read_pictures};
use super::source::{Found, Images};
use super::{Dataset, Source, cifar, idx, labels, picture};
use crate::error::{Error, Result};
use crate::terminal::counted;

/// A part of a data set, by the name of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Train,
    Test,
    Validation,
}

/// The part that a folder is called.
fn part(name: &str) -> Option<Part> {
    let letters: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let stem = ["images", "image", "data", "set", "split"]
        .iter()
        .fold(letters.as_str(), |name, end| name.strip_suffix(end).filter(|rest| !rest.is_empty()).unwrap_or(name));
    match stem {
        "train" | "training" | "segtrain" => Some(Part::Train),
        "test" | "testing" | "segtest" => Some(Part::Test),
        "val" | "valid" | "validation" | "validate" | "dev" | "eval" | "evaluation" => Some(Part::Validation),
        _ => None,
    }
}

/// The parts among folders: those that are called one, or, where there is one for training and another, have a word in
/// their names that is one.
fn parts<'a>(folders: &[&'a Entry]) -> Vec<(Part, &'a Entry)> {
    let all = |of: fn(&str) -> Option<Part>| -> Vec<(Part, &'a Entry)> {
        folders.iter().filter_map(|e| Some((of(&e.name)?, *e))).collect()
    };
    let worded = all(|name| name.split(|c: char| !c.is_alphanumeric()).find_map(part));
    let trains = worded.iter().filter(|(p, _)| *p == Part::Train).count();
    if trains > 0 && trains < worded.len() { worded } else { all(part) }
}

/// Whether the one folder that a folder holds is itself, or leads to, something that is told by what it holds: files of a
/// data set, or a split.
pub(super) fn leads_on(path: &Path, depth: usize) -> Result<bool> {
    let entries = list(path)?;
    let told =
        |e: &Entry| !e.is_dir && (idx::is_images(&e.name) || cifar::is_batch(&e.name) || e.name == labels::LABELS);
    if entries.iter().any(told) || cifar::are_pickles(&entries) {
        return Ok(true);
    }
    let parts = parts(&entries.iter().filter(|e| e.is_dir).collect::<Vec<_>>());
    if parts.iter().any(|(p, _)| *p == Part::Train) && parts.iter().any(|(p, _)| *p != Part::Train) {
        return Ok(true);
    }
    match &entries[..] {
        [only] if only.is_dir && depth > 1 => leads_on(&only.path, depth - 1),
        _ => Ok(false),
    }
}

/// A class, and where its pictures are in the folder that was looked at.
#[derive(Clone)]
struct Class {
    name: String,
    folder: PathBuf,
}

fn classes(entries: &[Entry]) -> Vec<Class> {
    entries.iter().filter(|e| e.is_dir).map(|e| Class { name: composed(&e.name), folder: e.path.clone() }).collect()
}

fn names(classes: &[Class]) -> Vec<String> {
    classes.iter().map(|c| c.name.clone()).collect()
}

/// A tree whose first level are the classes, or parts with the classes below them.
pub(super) fn read_tree(root: &Path, entries: &[Entry], source: &Source) -> Result<Found> {
    let folders: Vec<&Entry> = entries.iter().filter(|e| e.is_dir).collect();
    // Whoever names such a folder as a class means one.
    let meant = |e: &Entry| source.classes.iter().any(|c| c.trim().eq_ignore_ascii_case(&e.name));
    let parts = parts(&folders.iter().copied().filter(|e| !meant(e)).collect::<Vec<_>>());
    if !parts.is_empty() {
        return read_parts(root, entries, &parts, source);
    }
    if folders.is_empty() {
        let problem = if entries.iter().any(|e| picture::is_picture(&e.name)) {
            "the images lie side by side; put those of each class into a folder of its own, or add a labels.csv"
        } else if entries.is_empty() {
            "no images here, the folder is empty; expected a folder of images for each class, or IDX, CIFAR or .npz files"
        } else {
            "no images here; expected a folder of images for each class, or IDX, CIFAR or .npz files (archives unpacked)"
        };
        return Err(Error::input(root, problem));
    }
    let mut rest = Rest::default();
    rest.files_beside(entries);
    let found = classes(entries);
    if source.classes.is_empty() {
        doubtful(root, &found)?;
    }
    let choice = Choice::new(root, &distinct(root, &found)?, source);
    // One class is too few to learn from.
    if choice.is_err() || source.network.is_none() {
        above(&found)?;
    }
    let choice = choice?;
    let listing = walk(root, &found, &choice, &mut rest)?;
    let [all] = read_pictures(root, [listing], &choice.names, source, &mut rest.notes)?;
    Ok(rest.said(Images::Whole(all).chosen(choice)))
}

/// Refuses folders that may be anything but classes: all of them hold parts of a data set, or they are numbered and hold the
/// same folders.
fn doubtful(root: &Path, found: &[Class]) -> Result<()> {
    let mut below = found.iter().map(|c| Ok(names(&classes(&list(&c.folder)?))));
    let Some(first) = below.next().transpose()?.filter(|first| first.len() > 1 && found.len() > 1) else {
        return Ok(());
    };
    for other in below {
        if other? != first {
            return Ok(());
        }
    }
    let (all, inner) = (names(found), listed(&first));
    let (outer, meant) = (listed(&all), all.join(","));
    let unnumbered = |name: &String| -> String { name.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let problem = if first.iter().any(|name| part(name) == Some(Part::Train)) {
        format!(
            "each of {outer} holds {inner}, which may be parts of a data set; put the classes below the parts, or, to take \
             all that they hold, give --classes {meant}"
        )
    } else if all.iter().all(|name| unnumbered(name) == unnumbered(&all[0])) {
        format!(
            "each of {outer} holds {inner}; if those are the classes, give one of the folders as --data, or put them \
             together; if not, give --classes {meant}"
        )
    } else {
        return Ok(());
    };
    Err(Error::input(root, problem))
}

/// Refuses a single class that is a folder of folders: they may be the classes.
fn above(found: &[Class]) -> Result<()> {
    let [only] = found else { return Ok(()) };
    let below = names(&classes(&list(&only.folder)?));
    if below.len() < 2 {
        return Ok(());
    }
    let problem =
        format!("is the only folder and holds {}; if those are the classes, give it as --data", listed(&below));
    Err(Error::input(&only.folder, problem))
}

/// Folders of parts: those for training and for testing are read, or the one there is.
fn read_parts(root: &Path, entries: &[Entry], parts: &[(Part, &Entry)], source: &Source) -> Result<Found> {
    let refuse = |problem: String| Err(Error::input(root, problem));
    let named = |e: &&Entry| e.is_dir && !parts.iter().any(|(_, p)| p.name == e.name);
    let others: Vec<String> = entries.iter().filter(named).map(|e| e.name.clone()).collect();
    let split = listed(&parts.iter().map(|(_, e)| e.name.clone()).collect::<Vec<_>>());
    if !others.is_empty() {
        let all: Vec<String> = entries.iter().filter(|e| e.is_dir).map(|e| e.name.clone()).collect();
        return refuse(format!(
            "{split} may be parts of a data set, beside them is {}, which is none; move one or the other away, or, if all \
             are classes, give --classes {}",
            listed(&others),
            all.join(",")
        ));
    }
    let of = |wanted: Part| -> Result<Option<&Entry>> {
        let mut found = parts.iter().filter(|(p, _)| *p == wanted).map(|(_, e)| *e);
        match (found.next(), found.next()) {
            (Some(a), Some(b)) => {
                let problem =
                    format!("{} and {} may be the same part of a data set; move one of them away", a.name, b.name);
                Err(Error::input(root, problem))
            }
            (one, _) => Ok(one),
        }
    };
    let (mut train, mut test, validation) = (of(Part::Train)?, of(Part::Test)?, of(Part::Validation)?);
    let mut rest = Rest::default();
    rest.files_beside(entries);
    let mut notes = vec![];
    // Pictures that lie side by side have no classes.
    let mut labelled = |e: Option<&Entry>| -> Result<bool> {
        let Some(entry) = e else { return Ok(false) };
        let whole = list(&entry.path)?.iter().any(|e| e.is_dir);
        if !whole {
            notes.push(format!(
                "{}: left out for want of class folders: {}",
                entry.name,
                counted(count_pictures(&entry.path)?, "picture")
            ));
        }
        Ok(whole)
    };
    let have = [labelled(train)?, labelled(test)?, labelled(validation)?];
    if have == [false; 3] {
        let all: Vec<String> = parts.iter().map(|(_, e)| e.name.clone()).collect();
        return refuse(format!(
            "{split} look like parts of a data set, but hold no class folders; put a folder for each class into them, or, if \
             they are classes, give --classes {}",
            all.join(",")
        ));
    }
    (train, test) = (train.filter(|_| have[0]), test.filter(|_| have[1]));
    let validation = validation.filter(|_| have[2]);
    match (test, validation) {
        (None, Some(_)) => test = validation,
        (Some(_), Some(left)) => notes.push(format!(
            "{}: {} left out, for testing those of {} are used",
            left.name,
            counted(count_pictures(&left.path)?, "picture"),
            test.map_or("", |t| &t.name)
        )),
        (_, None) => {}
    }
    let below = |part: &Entry, rest: &mut Rest| -> Result<Vec<Class>> {
        let entries = list(&part.path)?;
        // A part that is wrapped in another folder of its name.
        if let [only] = &entries[..]
            && only.is_dir
            && only.name == part.name
        {
            return Ok(classes(&list(&only.path)?));
        }
        rest.files_beside(&entries);
        Ok(classes(&entries))
    };
    let images = match (train, test) {
        (Some(train), Some(test)) => {
            let (a, b) = (below(train, &mut rest)?, below(test, &mut rest)?);
            let (of_train, of_test) = (distinct(&train.path, &a)?, distinct(&test.path, &b)?);
            let mut all = of_train.clone();
            all.extend(of_test.iter().filter(|n| !of_train.contains(n)).cloned());
            all.sort();
            let choice = Choice::new(root, &all, source)?;
            let kept = |n: &&String| choice.label(all.iter().position(|a| a == *n).unwrap_or(0)).is_some();
            let only = |some: &[String], others: &[String]| -> Vec<String> {
                some.iter().filter(kept).filter(|n| !others.contains(n)).cloned().collect()
            };
            let (more, less) = (only(&of_train, &of_test), only(&of_test, &of_train));
            if !more.is_empty() || !less.is_empty() {
                let both: Vec<String> = of_train.iter().filter(|n| of_test.contains(n)).cloned().collect();
                let side = |name: &str, list: &[String]| {
                    if list.is_empty() { String::new() } else { format!(" {name} alone has {};", listed(list)) }
                };
                let remedy = match &both[..] {
                    [] => "give them the same names, or move one of the two parts away".to_string(),
                    both => format!("keep those of both with --classes {}", both.join(",")),
                };
                return refuse(format!(
                    "{} and {} do not hold the same class folders:{}{} {remedy}",
                    train.name,
                    test.name,
                    side(&train.name, &more),
                    side(&test.name, &less),
                ));
            }
            // Labels follow the order of all classes.
            let ordered = |classes: &[Class]| -> Vec<Class> {
                all.iter().filter_map(|n| classes.iter().find(|c| c.name == *n).cloned()).collect()
            };
            let (a, b) = (ordered(&a), ordered(&b));
            let listings = [walk_of(root, &a, &all, &choice, &mut rest)?, walk_of(root, &b, &all, &choice, &mut rest)?];
            let [train, test] = read_pictures(root, listings, &choice.names, source, &mut rest.notes)?;
            Images::Split(train, test).chosen(choice)
        }
        (Some(one), None) | (None, Some(one)) => {
            let found = below(one, &mut rest)?;
            let choice = Choice::new(&one.path, &distinct(&one.path, &found)?, source)?;
            let listing = walk(root, &found, &choice, &mut rest)?;
            let [all] = read_pictures(root, [listing], &choice.names, source, &mut rest.notes)?;
            if train.is_some() {
                Images::Whole(all).chosen(choice)
            } else {
                Images::Split(Dataset::empty(all.shape, choice.names.clone()), all).chosen(choice)
            }
        }
        (None, None) => return refuse("holds no part with class folders".into()),
    };
    let mut found = rest.said(images);
    found.notes.extend(notes);
    Ok(found)
}

/// The names of classes, each of which there is once.
fn distinct(path: &Path, classes: &[Class]) -> Result<Vec<String>> {
    let all = names(classes);
    let mut sorted: Vec<&String> = all.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(Error::input(
            path,
            format!("two folders are called {}, their accents written differently; join them", w[0]),
        )),
        None => Ok(all),
    }
}

fn walk(root: &Path, classes: &[Class], choice: &Choice, rest: &mut Rest) -> Result<Vec<Item>> {
    walk_of(root, classes, &names(classes), choice, rest)
}

/// Every picture below the chosen class folders, sorted by class folder and path. The labels are those of `all`.
fn walk_of(root: &Path, classes: &[Class], all: &[String], choice: &Choice, rest: &mut Rest) -> Result<Vec<Item>> {
    let mut listing = Vec::new();
    for class in classes {
        let place = all.iter().position(|n| *n == class.name).and_then(|k| choice.label(k));
        let Some(label) = place else { continue };
        let (before, top) = (listing.len(), &class.folder);
        for path in files(top)? {
            if picture::is_picture(&path.to_string_lossy()) {
                listing.push(Item { path: path.strip_prefix(root).unwrap_or(&path).to_path_buf(), label });
            } else {
                rest.count(&path.to_string_lossy());
            }
        }
        if listing.len() == before {
            let problem = "no pictures below this class folder; add images, remove it, or leave it out with --classes";
            return Err(Error::input(top, problem));
        }
    }
    Ok(listing)
}

/// Every file below a folder, sorted.
fn files(top: &Path) -> Result<Vec<PathBuf>> {
    let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !ignored(&e.file_name().to_string_lossy());
    let mut found = Vec::new();
    for entry in WalkDir::new(top).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible) {
        let entry = entry.map_err(|e| {
            let why = e.io_error().map_or_else(|| e.to_string(), |cause| cause.to_string());
            Error::input(e.path().unwrap_or(top), format!("cannot be read ({why}); repair or remove it"))
        })?;
        if entry.file_type().is_file() {
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

/// Pictures below a folder.
pub(super) fn count_pictures(path: &Path) -> Result<usize> {
    Ok(files(path)?.iter().filter(|p| picture::is_picture(&p.to_string_lossy())).count())
}

/// Files that were left out, by their ending, and whatever else there is to say.
#[derive(Default)]
struct Rest {
    notes: Vec<String>,
    others: BTreeMap<String, usize>,
    /// Pictures beside class folders.
    beside: usize,
}

impl Rest {
    fn count(&mut self, name: &str) {
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let ending = name.rsplit_once('.').map_or("no ending".into(), |(_, e)| format!(".{}", e.to_lowercase()));
        *self.others.entry(ending).or_default() += 1;
    }

    fn files_beside(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|e| !e.is_dir) {
            if picture::is_picture(&entry.name) {
                self.beside += 1;
            } else {
                self.count(&entry.name);
            }
        }
    }

    /// What was found, with what was left out added to what there is to say.
    fn said(self, mut found: Found) -> Found {
        found.notes.extend(self.notes);
        if self.beside > 0 {
            found.notes.push(match self.beside {
                1 => "1 picture beside the class folders is left out".into(),
                n => format!("{n} pictures beside the class folders are left out"),
            });
        }
        let total: usize = self.others.values().sum();
        if total > 0 {
            let kinds: Vec<String> = self.others.iter().map(|(ending, n)| format!("{n} {ending}")).collect();
            let (files, are) = if total == 1 { ("file", "is") } else { ("files", "are") };
            found.notes.push(format!("{total} {files} of other types {are} left out: {}", kinds.join(", ")));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::super::load;
    use super::super::testing::{error, put};
    use super::*;
    use crate::tensor::Shape;

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
        source.size = Some([2, 2]);
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

    /// What is said of a folder whose pictures can be read.
    fn notes(path: &Path) -> String {
        load(&Source::new(path)).unwrap().notes.join("\n")
    }

    #[test]
    fn parts_are_never_classes() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let fill = |part: &str| {
            for name in ["a/1.png", "a/2.png", "b/1.png", "b/2.png"] {
                put(at, &format!("{part}/{name}"), 3, [7, 8, 9]);
            }
        };
        fill("Training_set");
        assert_eq!(load(&Source::new(at)).unwrap().test.counts(), [1, 1]);
        fill("valid");
        assert!(load(&Source::new(at)).unwrap().test.names[0].starts_with("valid/"));
        fill("test");
        let splits = load(&Source::new(at)).unwrap();
        assert!(splits.test.names[0].starts_with("test/") && splits.train.classes == ["a", "b"]);
        assert!(splits.notes[0].contains("valid: 4 pictures left out"), "{:?}", splits.notes);
        fill("extra");
        let message = error(at);
        assert!(
            message.contains("beside them is extra") && message.contains("--classes Training_set,extra,test,valid")
        );
        let all = ["Training_set", "extra", "test", "valid"].map(String::from).to_vec();
        let classes = load(&Source { classes: all.clone(), ..Source::new(at) }).unwrap();
        assert_eq!(classes.train.classes, all, "whoever names them all means classes");
        std::fs::remove_dir_all(at.join("extra")).unwrap();
        std::fs::remove_dir_all(at.join("test/b")).unwrap();
        put(at, "test/c/1.png", 3, [1; 3]);
        let message = error(at);
        assert!(message.contains("Training_set alone has b; test alone has c;") && message.contains("--classes a"));
        // Without classes there is nothing to compare with.
        std::fs::remove_dir_all(at.join("test")).unwrap();
        put(at, "test/1.png", 3, [1; 3]);
        assert!(notes(at).contains("test: left out for want of class folders: 1 picture"));
        let flat = tempfile::tempdir().unwrap();
        put(flat.path(), "train/1.png", 3, [1; 3]);
        put(flat.path(), "test/1.png", 3, [1; 3]);
        assert!(error(flat.path()).contains("hold no class folders"));
        // A wrapper around all of it.
        let wrapped = tempfile::tempdir().unwrap();
        std::fs::rename(at, wrapped.path().join("set")).unwrap();
        std::fs::create_dir(at).unwrap();
        assert!(notes(wrapped.path()).contains("read from"));
    }

    #[test]
    fn folders_that_may_be_no_classes_are_asked_about() {
        let of = |folders: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            folders.iter().for_each(|f| (0..2).for_each(|i| put(dir.path(), &format!("{f}/{i}.png"), 3, [1; 3])));
            dir
        };
        let folds = of(&["fold1/a", "fold1/b", "fold2/a", "fold2/b"]);
        let message = error(folds.path());
        assert!(message.contains("each of fold1, fold2 holds a, b;") && message.contains("--classes fold1,fold2"));
        let classes = ["fold1", "fold2"].map(String::from).to_vec();
        assert_eq!(load(&Source { classes, ..Source::new(folds.path()) }).unwrap().test.counts(), [1, 1]);
        let inside = of(&["a/train", "a/test", "b/train", "b/test"]);
        assert!(error(inside.path()).contains("each of a, b holds test, train, which may be parts"));
        let views = of(&["a/left", "a/right", "b/left", "b/right"]);
        assert_eq!(load(&Source::new(views.path())).unwrap().test.counts(), [1, 1]);
        let worded = of(&["fruit train v2/a", "fruit train v2/b", "fruit test v2/a", "fruit test v2/b"]);
        assert_eq!(load(&Source::new(worded.path())).unwrap().test.counts(), [2, 2]);
        let vehicles = of(&["freight train", "car"]);
        assert_eq!(load(&Source::new(vehicles.path())).unwrap().train.classes, ["car", "freight train"]);
        let alone = of(&["train/a", "train/b", "test/unknown"]);
        assert!(error(alone.path()).contains("give them the same names"));
    }

    #[test]
    fn whatever_is_left_out_is_counted() {
        let dir = tree();
        for name in ["Boots/a.heic", "Boots/b.HEIC", "Shoes/c.txt", "README", "Shoes/Thumbs.db", "Boots/@eaDir/1.png"] {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), "nothing").unwrap();
        }
        put(dir.path(), "loose.png", 4, [1; 3]);
        let said = notes(dir.path());
        assert!(said.contains("4 files of other types are left out: 2 .heic, 1 .txt, 1 no ending"), "{said}");
        assert!(said.contains("1 picture beside the class folders is left out"), "{said}");
    }

    #[test]
    fn pictures_of_every_format() {
        let dir = tempfile::tempdir().unwrap();
        for ending in ["png", "jpg", "webp", "bmp", "tif", "gif"] {
            for class in ["a", "b"] {
                put(dir.path(), &format!("{class}/1.{ending}"), 4, [200, 30, 40]);
            }
        }
        let splits = load(&Source { test_share: 0.0, ..Source::new(dir.path()) }).unwrap();
        assert_eq!((splits.train.counts(), splits.notes.len()), (vec![6, 6], 0));
        let red = |i: usize| splits.train.image(i)[5];
        assert!((0..12).all(|i| (red(i) - 200.0 / 255.0).abs() < 0.1), "{:?}", (0..12).map(red).collect::<Vec<_>>());
    }

    #[cfg(unix)]
    #[test]
    fn names_in_any_encoding() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        for (part, accent) in [("train", "\u{e9}"), ("test", "e\u{301}")] {
            for class in [accent, "b"] {
                put(dir.path(), &format!("{part}/{class}/1.png"), 3, [1, 2, 3]);
            }
        }
        let latin = dir.path().join("test/b").join(std::ffi::OsStr::from_bytes(b"caf\xe9.png"));
        RgbImage::new(3, 3).save_with_format(latin, image::ImageFormat::Png).unwrap();
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!((splits.train.classes, splits.test.labels), (vec!["b".into(), "\u{e9}".into()], vec![0, 0, 1]));
    }

    #[test]
    fn sizes_follow_the_network() {
        let dir = tempfile::tempdir().unwrap();
        for (i, side) in [3, 4, 5, 6].into_iter().enumerate() {
            put(dir.path(), &format!("{}/{i}.png", ["a", "b"][i % 2]), side, [9; 3]);
        }
        let load_for = |input: Shape| {
            let classes = ["0", "1"].map(String::from);
            let network = Some(super::super::Network::new(input, &classes));
            load(&Source { network, test_share: 0.5, ..Source::new(dir.path()) }).unwrap()
        };
        let colour = load_for(Shape::new(3, 4, 8)).test;
        assert_eq!((colour.shape, colour.classes), (Shape::new(3, 4, 8), vec!["a".into(), "b".into()]));
        // A row of numbers is a square image.
        assert_eq!(load_for(Shape::flat(49)).test.shape, Shape::new(1, 7, 7));
        assert_eq!(load_for(Shape::flat(75)).test.shape, Shape::new(3, 5, 5));
        assert_eq!(load_for(Shape::new(1, 1, 9)).test.shape, Shape::new(1, 3, 3));
    }
}
