//! A tree of pictures: a folder for each class, below folders for training and testing if there are such.

use std::path::{Path, PathBuf};

use super::classes::{Choice, composed, is_same, listed};
use super::folder::{self, Entry, Item, list, read_pictures};
use super::rest::{Seen, some};
use super::source::{Found, Images};
use super::{Source, cifar, idx, labels, picture, source};
use crate::error::{Error, Result};
use crate::terminal::counted;

/// A part of a data set, by the name of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        let arrays: Vec<String> = entries.iter().filter(|e| e.name.ends_with(".npz")).map(|e| e.name.clone()).collect();
        if arrays.len() > 1 {
            let problem = format!("holds {}; give one of them as --data", some(&arrays));
            return Err(Error::input(root, problem));
        }
        let problem = if entries.iter().any(|e| picture::is_picture(&e.name)) {
            "the images lie side by side; put those of each class into a folder of its own, or add a labels.csv"
        } else if entries.is_empty() {
            "no images here, the folder is empty; expected a folder of images for each class, or IDX, CIFAR or .npz files"
        } else {
            "no images here; expected a folder of images for each class, or IDX, CIFAR or .npz files (archives unpacked)"
        };
        return Err(Error::input(root, problem));
    }
    let found = classes(entries);
    let doubts = if source.classes.is_empty() { doubtful(root, &found)? } else { None };
    let all = distinct(root, &found)?;
    let choice = Choice::new(root, &all, source);
    if choice.is_err() || is_for_learning(source) {
        lone(root, entries, "")?;
    }
    let choice = choice?;
    let mut walk = Walk::new(root, &all, &choice);
    let listing = walk.pictures(&found)?;
    let mut notes = Vec::from_iter(doubts);
    let [images] = read_pictures(root, [listing], &choice.names, source, &mut notes)?;
    let Walk { there, seen, .. } = walk;
    let mut found = Images::Whole(images).chosen(choice, &there, seen);
    found.notes.extend(notes);
    Ok(found)
}

/// Whether images are wanted to learn from, for which one class is too few.
fn is_for_learning(source: &Source) -> bool {
    source.network.is_none() && source.only.is_none()
}

/// Refuses folders that may be anything but classes: all of them hold parts of a data set, or they are numbered and hold the
/// same folders. What is said where only some do.
fn doubtful(root: &Path, found: &[Class]) -> Result<Option<String>> {
    let all = names(found);
    let below = found.iter().map(|c| Ok(names(&classes(&list(&c.folder)?)))).collect::<Result<Vec<_>>>()?;
    let Some((first, others)) = below.split_first().filter(|(_, others)| !others.is_empty()) else { return Ok(None) };
    let are_same = first.len() > 1 && others.iter().all(|other| other == first);
    let unnumbered = |name: &String| -> String { name.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let are_numbered = all.iter().all(|name| unnumbered(name) == unnumbered(&all[0]));
    let common = match are_same {
        true => first.clone(),
        false if are_numbered => first.iter().filter(|f| others.iter().all(|o| o.contains(f))).cloned().collect(),
        false => vec![],
    };
    let (outer, inner, meant) = (listed(&all), listed(&common), all.join(","));
    let has = |folders: &[String], is: fn(Part) -> bool| folders.iter().any(|name| part(name).is_some_and(is));
    let is_split = |folders: &Vec<String>| has(folders, |p| p == Part::Train) && has(folders, |p| p != Part::Train);
    let problem = if are_same && has(first, |p| p == Part::Train) {
        format!(
            "each of {outer} holds {inner}, which may be parts of a data set; put the classes below the parts, or, to take \
             all that they hold, give --classes {meant}"
        )
    } else if are_same && are_numbered {
        format!(
            "each of {outer} holds {inner}; if those are the classes, give one of the folders as --data, or put them \
             together; if not, give --classes {meant}"
        )
    } else {
        let folds = (!are_same && common.len() > 1).then(|| {
            format!("{outer} are the classes, and each holds {inner}: if those are, give one of the folders as --data")
        });
        let split = below.iter().position(is_split).map(|k| {
            let (name, inner) = (&all[k], listed(&below[k]));
            format!("{name} is a class, and holds {inner}: if those are parts of a data set, give it as --data")
        });
        return Ok(folds.or(split));
    };
    Err(Error::input(root, problem))
}

/// Refuses a single folder that may be no class: of folders that may be the classes, or of pictures that a list names.
/// `or` is another remedy than to read that folder alone.
fn lone(root: &Path, entries: &[Entry], or: &str) -> Result<()> {
    let listed_so = |e: &&Entry| !e.is_dir && e.name.eq_ignore_ascii_case(labels::LABELS);
    let (mut folder, mut inside) = (root.to_path_buf(), None);
    // Deeper is no wrapper.
    for depth in 0..2 * source::DEEPEST {
        let entries = inside.as_deref().unwrap_or(entries);
        let folders: Vec<&Entry> = entries.iter().filter(|e| e.is_dir).collect();
        let problem = match (entries.iter().find(listed_so), &folders[..]) {
            (Some(list), _) if list.name == labels::LABELS => format!("holds {}; give it as --data", list.name),
            (Some(list), [_]) => format!("{} is not read by this name; call it {}", list.name, labels::LABELS),
            // Pictures make it a class.
            _ if entries.iter().any(|e| !e.is_dir && picture::is_picture(&e.name)) => break,
            (_, [only]) => {
                folder.clone_from(&only.path);
                inside = Some(list(&folder)?);
                continue;
            }
            (_, [_, _, ..]) if depth > 0 => {
                let below: Vec<String> = folders.iter().map(|e| e.name.clone()).collect();
                let below = listed(&below);
                format!(
                    "is the only folder and holds {below}; if those are classes or parts of a data set, give it as --data{or}"
                )
            }
            _ => break,
        };
        return Err(Error::input(&folder, problem));
    }
    Ok(())
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
    // Pictures that lie side by side have no classes.
    let has_classes = |e: Option<&Entry>| e.map_or(Ok(false), |e| Ok(list(&e.path)?.iter().any(|e| e.is_dir)));
    let have = [has_classes(train)?, has_classes(test)?, has_classes(validation)?];
    if have == [false; 3] {
        holding_files(root, parts)?;
        let all: Vec<String> = parts.iter().map(|(_, e)| e.name.clone()).collect();
        return refuse(format!(
            "{split} look like parts of a data set, but hold no class folders; put a folder for each class into them, or list \
             their pictures in a {} beside them, or, if they are classes, give --classes {}",
            labels::LABELS,
            all.join(",")
        ));
    }
    let unlabelled: Vec<&Entry> =
        [train, test, validation].into_iter().zip(have).filter_map(|(e, have)| e.filter(|_| !have)).collect();
    (train, test) = (train.filter(|_| have[0]), test.filter(|_| have[1]));
    let mut unused = validation.filter(|_| have[2]);
    if test.is_none() {
        test = unused.take();
    }
    let read: Vec<&Entry> = train.into_iter().chain(test).collect();
    let found = read.iter().map(|part| classes_below(part)).collect::<Result<Vec<_>>>()?;
    let of_each =
        read.iter().zip(&found).map(|(part, found)| distinct(&part.path, found)).collect::<Result<Vec<_>>>()?;
    let (at, mut all) = (if read.len() > 1 { root } else { &read[0].path }, of_each[0].clone());
    if let [_, of_test] = &of_each[..] {
        all.extend(of_test.iter().filter(|n| !of_each[0].contains(n)).cloned());
        all.sort();
    }
    let choice = Choice::new(at, &all, source);
    if let ([train, test], [of_train, of_test]) = (&read[..], &of_each[..]) {
        let kept = |n: &&String| match &choice {
            Ok(choice) => choice.label(all.iter().position(|a| a == *n).unwrap_or(0)).is_some(),
            // What the network does not take may be what one part alone has.
            Err(_) => source.classes.is_empty(),
        };
        let only = |some: &[String], others: &[String]| -> Vec<String> {
            some.iter().filter(kept).filter(|n| !others.contains(n)).cloned().collect()
        };
        let (more, less) = (only(of_train, of_test), only(of_test, of_train));
        if let Some((a, b)) = more.iter().find_map(|a| Some((a, less.iter().find(|b| is_same(a, b))?))) {
            return refuse(format!("{a} of {} is {b} in {}; rename one to the other", train.name, test.name));
        }
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
    }
    if all.len() == 1 && (choice.is_err() || is_for_learning(source)) {
        holding_files(root, parts)?;
        let both = match &read[..] {
            [train, test] => format!(", or move them up into {} and {}", train.name, test.name),
            _ => String::new(),
        };
        lone(&read[0].path, &list(&read[0].path)?, &both)?;
    }
    let choice = choice?;
    let mut walk = Walk::new(root, &all, &choice);
    // Labels follow the order of all classes.
    let mut listings = [vec![], vec![]];
    for (listing, classes) in listings.iter_mut().zip(&found) {
        let ordered = all.iter().filter_map(|n| classes.iter().find(|c| c.name == *n).cloned());
        *listing = walk.pictures(&ordered.collect::<Vec<_>>())?;
    }
    let mut notes = vec![];
    let [first, second] = read_pictures(root, listings, &choice.names, source, &mut notes)?;
    for part in unlabelled {
        let (name, n) = (&part.name, walk.seen.leave(&part.path));
        notes.extend((n > 0).then(|| format!("{name}: left out for want of class folders: {}", counted(n, "picture"))));
    }
    if let Some(part) = unused {
        let (name, n, used) = (&part.name, walk.seen.leave(&part.path), test.map_or("", |t| &t.name));
        let pictures = counted(n, "picture");
        notes.extend((n > 0).then(|| format!("{name}: {pictures} left out, for testing those of {used} are used")));
    }
    let images = match (train, test) {
        (Some(_), Some(_)) => Images::Split(first, second),
        (Some(_), None) => Images::Whole(first),
        (None, _) => Images::Split(second, first),
    };
    let Walk { there, seen, .. } = walk;
    let mut found = images.chosen(choice, &there, seen);
    found.notes.extend(notes);
    Ok(found)
}

/// The class folders of a part, which may be wrapped in another folder of its name.
fn classes_below(part: &Entry) -> Result<Vec<Class>> {
    let entries = list(&part.path)?;
    Ok(match &entries[..] {
        [only] if only.is_dir && only.name == part.name => classes(&list(&only.path)?),
        _ => classes(&entries),
    })
}

/// Refuses parts that hold files of data sets, where they hold no classes.
fn holding_files(root: &Path, parts: &[(Part, &Entry)]) -> Result<()> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|(part, _)| *part);
    for (_, part) in parts {
        let Some(file) = list(&part.path)?.into_iter().find(|e| !e.is_dir && source::is_data(&e.name)) else {
            continue;
        };
        let remedy = if file.name == labels::LABELS {
            "give that folder as --data, or list the pictures of all parts in one such file beside them"
        } else if file.name.ends_with(".npz") {
            "give that file as --data"
        } else {
            "put such files of all parts side by side into one folder"
        };
        return Err(Error::input(root, format!("{} holds {}; {remedy}", part.name, file.name)));
    }
    Ok(())
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

/// Pictures of class folders.
struct Walk<'a> {
    root: &'a Path,
    /// Classes, in the order of labels.
    all: &'a [String],
    choice: &'a Choice,
    seen: Seen,
    /// How many of each class there are.
    there: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path, all: &'a [String], choice: &'a Choice) -> Walk<'a> {
        Walk { root, all, choice, seen: Seen::new("beside the class folders"), there: vec![0; all.len()] }
    }

    /// Every picture below the chosen class folders, sorted by class folder and path.
    fn pictures(&mut self, classes: &[Class]) -> Result<Vec<Item>> {
        let mut listing = Vec::new();
        for Class { name, folder } in classes {
            let Some(class) = self.all.iter().position(|n| n == name) else { continue };
            let Some(label) = self.choice.label(class) else {
                self.there[class] += self.seen.leave(folder);
                continue;
            };
            let before = listing.len();
            for path in files(folder)?.into_iter().filter(|p| picture::is_picture(&p.to_string_lossy())) {
                self.seen.add(&path);
                listing.push(Item { path: path.strip_prefix(self.root).unwrap_or(&path).to_path_buf(), label });
            }
            if listing.len() == before {
                let problem =
                    "no pictures below this class folder; add images, remove it, or leave it out with --classes";
                return Err(Error::input(folder, problem));
            }
            self.there[class] += listing.len() - before;
        }
        Ok(listing)
    }
}

/// Every file below a folder, sorted.
fn files(top: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in folder::walk(top) {
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
        let others = "4 files of other types are left out: 2 .heic, 1 .txt, 1 no ending";
        let said = notes(dir.path());
        assert_eq!(said, format!("1 picture beside the class folders is left out\n{others}"));
        // Also below classes that are not asked for, where a list and arrays are data of their own.
        put(dir.path(), "Clogs/1.png", 4, [1; 3]);
        for name in ["Clogs/labels.csv", "all.npz"] {
            std::fs::write(dir.path().join(name), "nothing").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("nowhere.png", dir.path().join("Clogs/lost.png")).unwrap();
        let classes = ["Boots", "Shoes"].map(String::from).to_vec();
        let said = load(&Source { classes, ..Source::new(dir.path()) }).unwrap().notes;
        let data = "2 data files are left out: Clogs/labels.csv, all.npz";
        assert_eq!(
            said[..3],
            ["1 image of Clogs is left out", "1 picture beside the class folders is left out", data].map(String::from)
        );
        #[cfg(unix)]
        assert!(said[3].ends_with(", 1 unreadable") && said[3].starts_with("5 files of other types"), "{said:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_no_picture() {
        let dir = tree();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("Shoes/pipe.png")).unwrap();
        assert_eq!(notes(dir.path()), "1 file of other types is left out: 1 special file");
    }

    #[test]
    fn parts_that_are_left_out_are_counted_with_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for name in ["train/a", "train/b", "train/c", "test/a", "test/b", "val/a", "val/b"] {
            put(at, &format!("{name}/1.png"), 3, [7, 8, 9]);
        }
        let said = |classes: &[&str]| {
            let classes = classes.iter().map(|c| c.to_string()).collect();
            load(&Source { classes, ..Source::new(at) }).map(|splits| splits.notes).map_err(|e| e.to_string())
        };
        ["val/a/2.heic", "val/notes.txt"]
            .into_iter()
            .for_each(|name| std::fs::write(at.join(name), "nothing").unwrap());
        let lines = said(&["a", "b"]).unwrap();
        assert_eq!(lines[0], "1 image of c is left out");
        assert_eq!(lines[1], "val: 2 pictures left out, for testing those of test are used");
        assert_eq!((lines[2].as_str(), lines.len()), ("2 files of other types are left out: 1 .heic, 1 .txt", 3));
        // For a network of two outputs too, the parts are compared before the outputs are counted.
        let network = Some(super::super::Network::new(Shape::new(3, 3, 3), &["0", "1"].map(String::from)));
        let asked = load(&Source { network, ..Source::new(at) }).unwrap_err().to_string();
        assert!(asked.contains("train alone has c; keep those of both with --classes a,b"), "{asked}");
        std::fs::rename(at.join("train/c"), at.join("train/Owl")).unwrap();
        put(at, "test/owl/1.png", 3, [1; 3]);
        assert!(said(&[]).unwrap_err().contains("Owl of train is owl in test; rename one"));
        assert_eq!(said(&["a", "b"]).unwrap()[0], "2 images of Owl, owl are left out");
    }

    #[test]
    fn what_may_be_no_class_is_said() {
        let of = |folders: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            folders.iter().for_each(|f| (0..2).for_each(|i| put(dir.path(), &format!("{f}/{i}.png"), 3, [1; 3])));
            dir
        };
        let uneven = of(&["fold1/a", "fold1/b", "fold2/a", "fold2/b", "fold2/c"]);
        assert!(notes(uneven.path()).contains("fold1, fold2 are the classes, and each holds a, b"));
        let beside = of(&["data/train/a", "data/test/a", "models/a"]);
        assert!(notes(beside.path()).contains("data is a class, and holds test, train"));
        assert_eq!(notes(of(&["x/left", "x/right", "y/left", "y/right", "y/top"]).path()), "");
    }

    /// Whoever does what a refusal says is not refused again.
    #[test]
    fn remedies_work() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let refused = |hint: &str| {
            let message = error(at);
            assert!(message.contains(hint), "{message}");
        };
        for part in ["train", "test"] {
            ["a/1.png", "b/1.png"].into_iter().for_each(|name| put(at, &format!("{part}/images/{name}"), 3, [7, 8, 9]));
        }
        refused(
            "holds a, b; if those are classes or parts of a data set, give it as --data, or move them up into train and test",
        );
        put(&at.join("train/images"), "a/2.png", 3, [7, 8, 9]);
        put(&at.join("train/images"), "b/2.png", 3, [7, 8, 9]);
        assert_eq!(load(&Source::new(at.join("train/images"))).unwrap().test.len(), 2);
        for part in ["train", "test"] {
            ["a", "b"].into_iter().for_each(|name| {
                std::fs::rename(at.join(part).join("images").join(name), at.join(part).join(name)).unwrap();
            });
            std::fs::remove_dir(at.join(part).join("images")).unwrap();
        }
        assert_eq!(load(&Source::new(at)).unwrap().test.len(), 2);
        // Lists in the parts.
        for part in ["train", "test"] {
            let list = "img/a/1.png,a\nimg/b/1.png,b\nimg/a/2.png,a\nimg/b/2.png,b\n";
            std::fs::create_dir(at.join(part).join("img")).unwrap();
            ["a", "b"]
                .into_iter()
                .for_each(|c| std::fs::rename(at.join(part).join(c), at.join(part).join("img").join(c)).unwrap());
            ["a/2.png", "b/2.png"].into_iter().for_each(|name| put(&at.join(part).join("img"), name, 3, [7, 8, 9]));
            std::fs::write(at.join(part).join(labels::LABELS), list).unwrap();
        }
        refused("train holds labels.csv; give that folder as --data");
        assert_eq!(load(&Source::new(at.join("train"))).unwrap().test.len(), 2);
        // A list of another name, and a wrapper around it.
        let list = at.join("test").join(labels::LABELS);
        std::fs::rename(&list, at.join("test/Labels.CSV")).unwrap();
        let message = error(&at.join("test"));
        assert!(message.contains("Labels.CSV is not read by this name; call it labels.csv"), "{message}");
        std::fs::remove_dir_all(at.join("train")).unwrap();
        std::fs::create_dir(at.join("w")).unwrap();
        std::fs::rename(at.join("test"), at.join("w/set")).unwrap();
        std::fs::rename(at.join("w/set/img"), at.join("w/set/dogs")).unwrap();
        std::fs::remove_file(at.join("w/set/Labels.CSV")).unwrap();
        std::fs::write(at.join("README"), "").unwrap();
        let message = error(at);
        assert!(message.contains("dogs: is the only folder and holds a, b"), "{message}");
        assert_eq!(load(&Source::new(at.join("w/set/dogs"))).unwrap().test.len(), 2);
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
