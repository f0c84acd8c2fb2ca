//! The result folder of a run that asks of every image something else than its radius: tables of answers that grow row by row,
//! their [`manifest`](super::manifest), and how shards become one folder.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use csv::StringRecord;
use serde::de::DeserializeOwned;

use super::manifest::{Asked, Manifest, continued, of_shards};
use super::table::{check_certificates, check_names};
use crate::error::{Error, Result};
use crate::input;
use crate::output::{Folder, Growing, whole_lines};
use crate::results::{write_atomically, write_json};
use crate::terminal::counted;

/// A table of answers.
pub struct Kind {
    /// Its file.
    pub file: &'static str,
    /// Its columns, of which the first is the index of the image.
    pub header: &'static str,
    /// Further columns that tell a row from the others of its image.
    pub key: &'static [usize],
    /// The column, if any, by whose place among the variances of the manifest rows come first.
    pub variance: Option<usize>,
}

/// What a result folder may hold.
pub struct Contents {
    /// Its tables; not every run has all.
    pub tables: &'static [&'static Kind],
    /// Further files, and folders, which have no dot in their names.
    pub others: &'static [&'static str],
}

impl Contents {
    fn files(&self) -> Vec<&'static str> {
        let tables = self.tables.iter().map(|t| t.file);
        self.others.iter().copied().chain(["manifest.json"]).chain(tables).collect()
    }

    /// Refuses a folder in which a run that asks this would write over what is not its own.
    fn check_place(&self, dir: &Path, asked: &Asked) -> Result<()> {
        let tables: Vec<&str> = self.tables.iter().map(|t| t.file).collect();
        let same = |other: &Asked| std::mem::discriminant(other) == std::mem::discriminant(asked);
        check_names(dir, &self.files(), &tables, same)
    }

    /// A table that is there.
    fn there(&self, dir: &Path) -> Option<PathBuf> {
        self.tables.iter().map(|t| dir.join(t.file)).find(|path| path.symlink_metadata().is_ok())
    }
}

/// A table being written, and the rows that were there before, by their key.
struct OneTable {
    kind: &'static Kind,
    file: Growing,
    known: HashMap<String, StringRecord>,
}

/// Tables being written, locked for as long as this lives.
pub struct Answers {
    tables: Vec<OneTable>,
    /// What the manifest becomes when the first row of further images comes.
    longer: Option<(PathBuf, Manifest)>,
    rows: Arc<AtomicUsize>,
}

/// What tells a row of an image from its others: the fields of its key.
pub fn key<D: std::fmt::Display>(index: impl std::fmt::Display, more: impl IntoIterator<Item = D>) -> String {
    more.into_iter().fold(index.to_string(), |key, field| format!("{key},{field}"))
}

impl Answers {
    /// Starts a result folder with these tables, or goes on with one of the same run, as
    /// [`Table::resume`](super::table::Table::resume) does; `hash` is that of the first so many images.
    ///
    /// # Errors
    /// If there are results of another run, or of this one and it is not to be resumed, or another run is writing here.
    pub fn open(
        dir: &Path,
        contents: &Contents,
        kinds: &[&'static Kind],
        manifest: &Manifest,
        resume: bool,
        hash: impl Fn(usize) -> String,
    ) -> Result<Answers> {
        contents.check_place(dir, &manifest.asked)?;
        match contents.there(dir) {
            Some(path) if !resume => {
                Err(Error::input(path, "exists already; add --resume to continue it, or give another --out"))
            }
            Some(_) => Answers::resume(dir, kinds, manifest, hash),
            None => {
                check_certificates(dir)?;
                let start = |kind: &&'static Kind| Answers::start(dir, kind);
                let tables: Result<Vec<_>> = kinds.iter().map(start).collect();
                let begun = tables.and_then(|tables| {
                    write_json(&dir.join("manifest.json"), manifest)?;
                    Ok(Answers { tables, longer: None, rows: Arc::default() })
                });
                // Nobody shall have to resume what has not begun.
                begun.inspect_err(|_| kinds.iter().for_each(|kind| drop(fs::remove_file(dir.join(kind.file)))))
            }
        }
    }

    fn start(dir: &Path, kind: &'static Kind) -> Result<OneTable> {
        let mut file = Growing::create(dir, kind.file)?;
        file.push(&format!("{}\n", kind.header))?;
        Ok(OneTable { kind, file, known: HashMap::new() })
    }

    fn resume(
        dir: &Path,
        kinds: &[&'static Kind],
        manifest: &Manifest,
        hash: impl Fn(usize) -> String,
    ) -> Result<Answers> {
        let (mut before, mut tables) = (None, vec![]);
        for &kind in kinds {
            let path = dir.join(kind.file);
            if !path.exists() {
                tables.push(Answers::start(dir, kind)?);
                continue;
            }
            let (mut file, text) = Growing::open(dir, kind.file)?;
            let run = match &before {
                Some(run) => run,
                // A run that was killed before it had a manifest had no row either.
                None if whole_lines(&text) <= kind.header.len() + 1 && !dir.join("manifest.json").exists() => {
                    before.insert(manifest.clone())
                }
                None => before.insert(continued(dir, manifest, &hash)?),
            };
            let whole = whole_lines(&text);
            let records = if whole == 0 { vec![] } else { records(&path, kind, &text[..whole])? };
            let known = check(&path, kind, run, records)?;
            file.cut(whole as u64)?;
            if whole == 0 {
                file.push(&format!("{}\n", kind.header))?;
            }
            tables.push(OneTable { kind, file, known });
        }
        let path = dir.join("manifest.json");
        let longer = before.is_some_and(|before| before.images < manifest.images);
        if !path.exists() {
            write_json(&path, manifest)?;
        }
        let rows = AtomicUsize::new(tables.iter().map(|t: &OneTable| t.known.len()).sum());
        Ok(Answers { tables, longer: longer.then(|| (path, manifest.clone())), rows: Arc::new(rows) })
    }

    /// How many rows there are, also while they grow.
    pub fn rows(&self) -> Arc<AtomicUsize> {
        self.rows.clone()
    }

    /// A row that was there before.
    pub fn row(&self, kind: &Kind, key: &str) -> Option<&StringRecord> {
        self.tables.iter().find(|t| t.kind.file == kind.file)?.known.get(key)
    }

    /// Appends rows to a table, a line each.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn push(&mut self, kind: &Kind, lines: &[String]) -> Result<()> {
        if let Some((path, manifest)) = self.longer.take() {
            write_json(&path, &manifest)?;
        }
        if let Some(table) = self.tables.iter_mut().find(|t| t.kind.file == kind.file) {
            table.file.push(&lines.concat())?;
            self.rows.fetch_add(lines.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The rows of a table, given its whole lines.
fn records(path: &Path, kind: &Kind, text: &[u8]) -> Result<Vec<StringRecord>> {
    let bad = |what: &str| Error::input(path, format!("{what}; certify again with another --out"));
    let mut reader = csv::ReaderBuilder::new().from_reader(text);
    if reader.headers().ok().is_none_or(|h| !h.iter().eq(kind.header.split(','))) {
        return Err(bad("the columns are not those of certify"));
    }
    reader.records().collect::<std::result::Result<_, _>>().map_err(|e| bad(&e.to_string()))
}

fn index(record: &StringRecord) -> Option<usize> {
    record.get(0)?.parse().ok()
}

/// Refuses rows of other images than the run's, and any that stands twice; gives their keys.
fn check(
    path: &Path,
    kind: &Kind,
    run: &Manifest,
    records: Vec<StringRecord>,
) -> Result<HashMap<String, StringRecord>> {
    let mut known = HashMap::new();
    for record in records {
        let key = key(&record[0], kind.key.iter().map(|&column| &record[column]));
        let bad = |problem: &str| Err(Error::input(path, format!("row {key}: {problem}")));
        let variance = kind.variance.map(|column| record[column].parse::<f64>());
        let asked = variance.is_none_or(|v| v.is_ok_and(|v| run.variances.contains(&v)));
        if !asked || !index(&record).is_some_and(|i| (run.start..run.end).contains(&i)) {
            return bad(
                "the run of the manifest has no such row; the file was altered, certify again with another --out",
            );
        }
        if known.contains_key(&key) {
            return bad("stands in two rows; remove one of them");
        }
        known.insert(key, record);
    }
    Ok(known)
}

/// The rows of a table of a finished run, and their lines.
fn read_lines(dir: &Path, kind: &Kind, run: &Manifest, each: usize) -> Result<(Vec<StringRecord>, Vec<String>)> {
    let path = dir.join(kind.file);
    let text = input::read(&path, 1 << 32)?;
    let whole = whole_lines(&text);
    let records = if whole == 0 { vec![] } else { records(&path, kind, &text[..whole])? };
    check(&path, kind, run, records.clone())?;
    let expected = (run.end - run.start) * each;
    if records.len() != expected || whole != text.len() {
        let have = records.len();
        return Err(Error::input(&path, format!("{have} of {}; finish it with --resume", counted(expected, "row"))));
    }
    let lines = String::from_utf8_lossy(&text).lines().skip(1).map(String::from).collect();
    Ok((records, lines))
}

/// The rows of a table of a finished run, which has `each` of them for every image.
///
/// # Errors
/// If rows are missing, or are not those of the manifest.
pub fn read_whole<R: DeserializeOwned>(dir: &Path, kind: &Kind, run: &Manifest, each: usize) -> Result<Vec<R>> {
    let path = dir.join(kind.file);
    let (records, _) = read_lines(dir, kind, run, each)?;
    let row = |(n, r): (usize, &StringRecord)| {
        let problem = |e: csv::Error| format!("row {}: {e}; certify again with another --out", n + 1);
        r.deserialize(None).map_err(|e| Error::input(&path, problem(e)))
    };
    records.iter().enumerate().map(row).collect()
}

/// Joins the shards of one run into `out`, the rows in the order of a run in one piece. `tables` says which tables a run
/// has, and how many rows for every image; `sum_up` writes what is said of all rows into the folder, by its manifest.
///
/// # Errors
/// If a shard is missing, given twice or unfinished, or comes from another run.
pub fn merge(
    dirs: &[PathBuf],
    out: &Path,
    contents: &Contents,
    tables: impl Fn(&Manifest) -> Vec<(&'static Kind, usize)>,
    sum_up: impl Fn(&Path, &Manifest) -> Result<()>,
) -> Result<usize> {
    let files = contents.files();
    let folder = Folder::open(out, "merge", &files, true)?;
    // Now, since opening finishes a merge that was killed when it was whole.
    if let Some(path) = contents.there(out) {
        return Err(Error::input(path, "exists already; give another --out"));
    }
    let (parts, whole) = of_shards(dirs)?;
    contents.check_place(out, &whole.asked)?;
    check_certificates(out)?;
    let mut rows = 0;
    for (kind, each) in tables(&whole) {
        let mut all = Vec::new();
        for (part, dir) in &parts {
            let (records, lines) = read_lines(dir, kind, part, each)?;
            all.extend(records.into_iter().zip(lines));
        }
        let level = |r: &StringRecord| {
            let variance: Option<f64> = kind.variance.and_then(|column| r[column].parse().ok());
            whole.variances.iter().position(|v| Some(*v) == variance)
        };
        all.sort_by_key(|(record, _)| (level(record), index(record)));
        rows += all.len();
        let lines = std::iter::once(kind.header).chain(all.iter().map(|(_, line)| line.as_str()));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        write_atomically(&folder.path().join(kind.file), text.as_bytes())?;
    }
    for name in contents.others.iter().filter(|name| !name.contains('.')) {
        for (_, dir) in &parts {
            copy(&dir.join(name), &folder.path().join(name))?;
        }
    }
    write_json(&folder.path().join("manifest.json"), &whole)?;
    sum_up(folder.path(), &whole)?;
    folder.finish_unlisted()?;
    Ok(rows)
}

/// Copies the files of a folder, if it is there.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    fs::create_dir_all(to).map_err(Error::io(to, "creating the folder"))?;
    for path in entries.flatten().map(|e| e.path()).filter(|path| path.is_file()) {
        let content = fs::read(&path).map_err(Error::io(&path, "reading"))?;
        write_atomically(&to.join(path.file_name().unwrap_or_default()), &content)?;
    }
    Ok(())
}
