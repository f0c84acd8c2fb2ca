//! A folder of results, built aside and put in place at the end: whoever fails or is killed leaves the earlier ones whole.
//!
//! The new files are made in [`BUILD`] inside the folder itself, so that they only have to be renamed, also where the folder
//! is a mounted volume or the one above is read-only. Once all are there, an order lists them; a run that is killed
//! while it carries out its order is finished by the next one. [`LIST`] names the files that this program made, by command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Place, STANDARD, clear_parts, lock, place, replace, write_through};
use crate::error::{Error, Result};
use crate::interrupt::{self, Registered};

/// Where new results are built.
pub const BUILD: &str = ".deltamax-build";

/// The list of what this program made in a folder.
pub const LIST: &str = ".deltamax";

/// Commands that have no `--force`.
const FORCELESS: [&str; 3] = ["man", "merge", "report"];

/// Files by command, relative to the folder, with `/` between folders.
type List = BTreeMap<String, BTreeSet<String>>;

/// What becomes of the command's part of [`LIST`].
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Listing {
    /// These are all of its files; others that it made earlier go.
    Whole,
    /// These come to the others.
    Part,
    /// They are not listed.
    Not,
}

/// What is to be put in place.
#[derive(Serialize, Deserialize)]
struct Order {
    command: String,
    /// Whether other files in the way are replaced; else they are kept under another name.
    force: bool,
    listing: Listing,
    files: Vec<String>,
}

/// A result folder that is being written, by one process at a time.
pub struct Folder {
    /// The folder itself, links followed.
    at: PathBuf,
    command: &'static str,
    /// Files that readers look for first; they are put in place last.
    main: Vec<String>,
    force: bool,
    /// Folders that were made for this run, the outermost first.
    made: Vec<PathBuf>,
    /// Where the new files go.
    files: PathBuf,
    lock: Option<File>,
    /// What a process that is ended meanwhile does and says.
    ended: Option<[Registered; 2]>,
}

impl Folder {
    /// Opens a folder for the results of a command, whose main files and folders are named. What a killed run left is
    /// finished if it was whole, else removed.
    ///
    /// # Errors
    /// If it is no folder or cannot be written, if another run is writing here, or if a main file is there already that this
    /// program did not make, unless `force` says to replace it. A link
    /// inside counts as somebody else's, since it may lead out of the folder.
    pub fn open(out: &Path, command: &'static str, main: &[&str], force: bool) -> Result<Folder> {
        let at = claim(out)?;
        let made: Vec<PathBuf> =
            at.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).map(Into::into).collect();
        let made = made.into_iter().rev().collect();
        let (files, main) = (at.join(BUILD).join("files"), main.iter().map(|m| m.to_string()).collect());
        // Who ends the process waits until it is registered what to clear.
        let _shield = interrupt::shield();
        // From here on, a failure removes what was made.
        let mut folder = Folder { at, command, main, force, made, files, lock: None, ended: None };
        fs::create_dir_all(&folder.at).map_err(Error::io(out, "creating the folder"))?;
        folder.lock = Some(own_build(&folder.at, out)?);
        finish_order(&folder.at)?;
        if folder.files.exists() {
            fs::remove_dir_all(&folder.files).map_err(Error::io(&folder.files, "clearing"))?;
        }
        let list = read_list(&folder.at);
        let taken = |name: &&String| {
            folder.at.join(name).symlink_metadata().is_ok() && !listed(&list, |file| is_or_is_below(file, name))
        };
        let link = |name: &&String| {
            let path = folder.at.join(name);
            path.is_dir() && path.symlink_metadata().is_ok_and(|m| m.is_symlink())
        };
        if let Some(name) = folder.main.iter().find(link) {
            return Err(leads_out(&out.join(name)));
        }
        if let Some(name) = folder.main.iter().find(taken).filter(|_| !force) {
            let force = if FORCELESS.contains(&command) { "" } else { ", or --force to replace it" };
            let problem = format!("is there already and was not made by this command; give another folder{force}");
            return Err(Error::input(out.join(name), problem));
        }
        fs::create_dir(&folder.files).map_err(Error::io(out, "creating the folder"))?;
        let (at, made) = (folder.at.clone(), folder.made.clone());
        folder.ended = Some([interrupt::clean(move || clear(&at, &made)), interrupt::say_nothing_written()]);
        Ok(folder)
    }

    /// Where to write the results meanwhile.
    pub fn path(&self) -> &Path {
        &self.files
    }

    /// Puts the results in place of those that the command left here earlier.
    pub fn finish(self) -> Result<()> {
        self.put(Listing::Whole)
    }

    /// Puts some of the command's files in place; the others stay.
    pub fn finish_part(self) -> Result<()> {
        self.put(Listing::Part)
    }

    /// Puts in place what will not be replaced, and needs no list.
    pub fn finish_unlisted(self) -> Result<()> {
        self.put(Listing::Not)
    }

    fn put(mut self, listing: Listing) -> Result<()> {
        let _shield = interrupt::shield();
        let mut files = Vec::new();
        walk(&self.files, "", &mut files).map_err(Error::io(&self.files, "reading"))?;
        files.sort_by_key(|file| (self.main.iter().position(|m| m == file), file.clone()));
        let order = Order { command: self.command.into(), force: self.force, listing, files };
        write_json(&order_path(&self.at), &order)?;
        // What is whole stays, whatever happens now.
        self.ended = None;
        self.made.clear();
        finish_order(&self.at)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only who holds the lock knows that nobody else is writing.
        let ordered = order_path(&self.at).exists();
        if self.lock.is_some() && !ordered {
            clear(&self.at, &self.made);
        } else {
            remove_empty(&self.made);
        }
    }
}

/// Whether a folder holds nothing, but perhaps what a killed run left.
pub fn is_empty(dir: &Path) -> bool {
    let foreign = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|e| e.file_name() != BUILD);
    !fs::read_dir(dir).is_ok_and(|entries| entries.into_iter().any(foreign))
}

/// The folder that a path means, there or not.
fn claim(out: &Path) -> Result<PathBuf> {
    if out == Path::new(STANDARD) {
        return Err(Error::usage("--out -: standard output takes one file, this command writes a folder; name one"));
    }
    match place(out).map_err(|e| in_the_way(out, e))? {
        Place::Folder(at) | Place::Free(at) => Ok(at),
        Place::File(_) | Place::Stream => Err(Error::io(out, "creating the folder")(ErrorKind::NotADirectory.into())),
    }
}

/// A file where a folder above should be is the same refusal as one in the folder's place.
fn in_the_way(out: &Path, error: Error) -> Error {
    match error {
        Error::Io { cause, .. } => Error::io(out, "creating the folder")(cause),
        other => other,
    }
}

/// Makes the place where results are built and locks it.
fn own_build(at: &Path, out: &Path) -> Result<File> {
    let build = at.join(BUILD);
    let path = build.join("lock");
    loop {
        match fs::create_dir(&build) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Error::io(out, "creating the folder")(e)),
            Ok(()) | Err(_) => {}
        }
        if !build.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Error::input(&build, "is no folder of this program's; remove it"));
        }
        let file = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
            // The run before has just ended and taken it away.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            opened => opened.map_err(Error::io(&path, "writing"))?,
        };
        lock(out, &file)?;
        if path.exists() {
            return Ok(file);
        }
    }
}

fn order_path(at: &Path) -> PathBuf {
    at.join(BUILD).join("order.json")
}

/// Removes what was built and what was made for it.
fn clear(at: &Path, made: &[PathBuf]) {
    let _ = fs::remove_dir_all(at.join(BUILD));
    remove_empty(made);
}

fn remove_empty(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        let _ = fs::remove_dir(dir);
    }
}

/// Puts in place what an order says, if there is one, as far as that has not been done.
fn finish_order(at: &Path) -> Result<()> {
    let path = order_path(at);
    let Ok(text) = fs::read(&path) else { return Ok(()) };
    let bad = |e: serde_json::Error| Error::input(&path, format!("is no list of results ({e}); remove {BUILD}"));
    let order: Order = serde_json::from_slice(&text).map_err(bad)?;
    let (files, old) = (at.join(BUILD).join("files"), read_list(at));
    // A folder that is not there yet comes as a whole.
    for entry in fs::read_dir(&files).into_iter().flatten().flatten() {
        let to = at.join(entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) && to.symlink_metadata().is_err() {
            fs::rename(entry.path(), &to).map_err(Error::io(&to, "writing"))?;
        }
    }
    for name in order.files.iter().filter(|name| is_inside(name) && files.join(name).exists()) {
        let to = at.join(name);
        make_above(at, name)?;
        if !order.force && !listed(&old, |file| file == name) {
            keep_aside(&to).map_err(Error::io(&to, "writing"))?;
        }
        put(&files.join(name), &to)?;
    }
    if order.listing != Listing::Not {
        let mut list = old.clone();
        let own = list.entry(order.command.clone()).or_default();
        if order.listing == Listing::Whole {
            own.clear();
        }
        own.extend(order.files);
        for name in old.get(&order.command).into_iter().flatten() {
            if is_inside(name) && !listed(&list, |file| file == name) {
                remove_listed(at, name);
            }
        }
        write_json(&at.join(LIST), &list)?;
    }
    fs::remove_file(&path).map_err(Error::io(&path, "clearing"))?;
    // What is left there is in nobody's way.
    let _ = fs::remove_dir_all(at.join(BUILD).join("files"));
    Ok(())
}

/// Puts one file in its place.
fn put(from: &Path, to: &Path) -> Result<()> {
    match to.symlink_metadata() {
        Ok(m) if m.is_dir() => {
            Err(Error::input(to, "is a folder where a file of the results goes; remove or rename it"))
        }
        Ok(m) if !m.is_file() && !m.is_symlink() => {
            write_through(to, &fs::read(from).map_err(Error::io(from, "reading"))?)
        }
        Ok(_) | Err(_) => fs::rename(from, to).map_err(Error::io(to, "writing")),
    }
}

/// Makes the folders that a listed file stands in. A link among them could lead out of the results.
fn make_above(at: &Path, name: &str) -> Result<()> {
    let mut folder = at.to_path_buf();
    for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match folder.symlink_metadata() {
            Ok(m) if m.is_symlink() => return Err(leads_out(&folder)),
            Ok(_) => {}
            Err(_) => fs::create_dir(&folder).map_err(Error::io(&folder, "creating the folder"))?,
        }
    }
    Ok(())
}

fn leads_out(link: &Path) -> Error {
    Error::input(link, "is a link where a folder of the results goes; remove it, or give another --out")
}

/// Renames what somebody else put in the way meanwhile.
fn keep_aside(path: &Path) -> io::Result<()> {
    if !path.symlink_metadata().is_ok_and(|m| m.is_file() || m.is_symlink()) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut others = (1..).map(|n| path.with_file_name(format!("{name}.old{n}")));
    match others.find(|other| other.symlink_metadata().is_err()) {
        Some(free) => fs::rename(path, free),
        None => Ok(()),
    }
}

/// Removes a file of an earlier run that the new one does not have, and its folder if that is empty then.
fn remove_listed(at: &Path, name: &str) {
    let folders = Path::new(name).ancestors().skip(1).map(|folder| at.join(folder));
    if folders.into_iter().all(|folder| folder == at || folder.symlink_metadata().is_ok_and(|m| m.is_dir())) {
        let path = at.join(name);
        let _ = fs::remove_file(&path);
        let _ = path.parent().filter(|folder| *folder != at).map(fs::remove_dir);
    }
}

/// Every file below `dir`.
fn walk(dir: &Path, above: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}

/// Longest list that is read.
const LONGEST: u64 = 1 << 26;

/// What this program made in a folder; nothing where there is no list, or no readable one.
fn read_list(at: &Path) -> List {
    let mut text = Vec::new();
    let read = File::open(at.join(LIST)).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn listed(list: &List, is: impl Fn(&str) -> bool) -> bool {
    list.values().flatten().any(|file| is(file))
}

fn is_or_is_below(file: &str, name: &str) -> bool {
    file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a name from a list leads nowhere but into the folder.
fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| Error::input(path, e.to_string()))?;
    replace(path, &text).map_err(Error::io(path, "writing"))
}

/// Removes the unfinished files that a killed run left in a folder that the caller has locked.
pub fn clear_locked(dir: &Path) {
    clear_parts(dir, Duration::ZERO);
}
