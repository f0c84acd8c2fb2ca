//! What a data folder holds beside what is read of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::folder::walk;
use super::{picture, source};
use crate::terminal::counted;

/// The files of a data folder that a reader reads or speaks of. Whatever else is there is counted in one place,
/// [`Seen::rest`], so that no reader leaves it out in silence.
pub(super) struct Seen {
    /// Where pictures are that the reader does not see, for people.
    elsewhere: String,
    files: HashSet<PathBuf>,
    /// Folders without links, by what they were called.
    folders: HashMap<PathBuf, PathBuf>,
}

impl Seen {
    /// Nothing yet; pictures that stay unseen are those `elsewhere`, such as `beside the IDX files`.
    pub fn new(elsewhere: impl Into<String>) -> Seen {
        Seen { elsewhere: elsewhere.into(), files: HashSet::new(), folders: HashMap::new() }
    }

    /// Adds a file, as its folder lists it.
    pub fn add(&mut self, path: &Path) {
        let place = self.place(path);
        self.files.insert(place);
    }

    /// Adds a file, however it is written, and says where it is: the same for two spellings of one file.
    pub fn add_written(&mut self, path: &Path) -> PathBuf {
        // A link is a file of its own, as where folders are the classes.
        let is_link = path.symlink_metadata().is_ok_and(|m| m.is_symlink());
        let real = path.canonicalize().ok().filter(|_| !is_link);
        let place = real.unwrap_or_else(|| self.place(path));
        self.files.insert(place.clone());
        place
    }

    /// Adds the pictures below a folder that is left out; how many there are.
    pub fn leave(&mut self, folder: &Path) -> usize {
        let pictures = below(folder).filter(|(path, kind)| *kind == Kind::File && is_picture(path));
        pictures.map(|(path, _)| self.add(&path)).count()
    }

    /// The file in its folder without links.
    fn place(&mut self, path: &Path) -> PathBuf {
        let (folder, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
        if let Some(real) = self.folders.get(folder) {
            return real.join(name);
        }
        let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let real = named.canonicalize().unwrap_or_else(|_| named.to_path_buf());
        let place = real.join(name);
        self.folders.insert(folder.to_path_buf(), real);
        place
    }

    /// What there is to say of all else below the data folder, a line for each kind of file.
    pub fn rest(mut self, root: &Path) -> Vec<String> {
        let (mut met, mut pictures, mut data) = (HashSet::new(), 0, vec![]);
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for (path, kind) in below(root) {
            let place = self.place(&path);
            if self.files.contains(&place) {
                met.insert(place);
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match kind {
                Kind::File if is_picture(&path) => pictures += 1,
                Kind::File if source::is_data(&name) => {
                    data.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
                }
                Kind::File => *others.entry(ending(&name)).or_default() += 1,
                Kind::Special => *others.entry("special file".into()).or_default() += 1,
                Kind::Unreadable => *others.entry("unreadable".into()).or_default() += 1,
            }
        }
        let mut notes = vec![];
        let strange = self.files.len() - met.len();
        if strange > 0 {
            notes.push(format!(
                "{} of those named {} hidden or outside the folder",
                counted(strange, "file"),
                are(strange)
            ));
        }
        if pictures > 0 {
            let elsewhere = &self.elsewhere;
            notes.push(format!("{} {elsewhere} {} left out", counted(pictures, "picture"), are(pictures)));
        }
        if !data.is_empty() {
            notes.push(format!("{} {} left out: {}", counted(data.len(), "data file"), are(data.len()), some(&data)));
        }
        let total: usize = others.values().sum();
        if total > 0 {
            let kinds: Vec<String> = others.iter().map(|(ending, n)| format!("{n} {ending}")).collect();
            notes.push(format!("{} of other types {} left out: {}", counted(total, "file"), are(total), some(&kinds)));
        }
        notes
    }
}

/// A list for people, cut short after ten.
pub(super) fn some(list: &[String]) -> String {
    let shown = list.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    if list.len() > 10 { shown + ", …" } else { shown }
}

/// The verb of so many.
pub(super) fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

fn is_picture(path: &Path) -> bool {
    picture::is_picture(&path.to_string_lossy())
}

fn ending(name: &str) -> String {
    name.rsplit_once('.').map_or("no ending".into(), |(_, e)| format!(".{}", e.to_lowercase().escape_debug()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// A pipe or a device.
    Special,
    /// Such as a link to nothing.
    Unreadable,
}

/// Every file below a folder, whether it can be read or not.
fn below(top: &Path) -> impl Iterator<Item = (PathBuf, Kind)> {
    walk(top).filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_dir() => None,
        Ok(entry) => {
            let kind = if entry.file_type().is_file() { Kind::File } else { Kind::Special };
            Some((entry.into_path(), kind))
        }
        // What a link leads back to is met elsewhere.
        Err(e) if e.loop_ancestor().is_some() => None,
        Err(e) => e.path().map(|path| (path.to_path_buf(), Kind::Unreadable)),
    })
}
