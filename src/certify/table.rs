//! The result folder of `certify`: `delta_max.csv` row by row, `summary.json`, certificates, and the
//! [`manifest`](super::manifest).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::manifest::continued;
pub use super::manifest::{Asked, Manifest, Reading, read_manifest};
use crate::error::{Error, Result};
use crate::input;
use crate::output::{Growing, clear_locked, whole_lines};
use crate::results::{CertifyRow, quantile, short, write_atomically, write_json};
use crate::shard::Part;
use crate::terminal::counted;

/// Folder of the certificates inside a result folder.
pub const CERTIFICATES: &str = "certificates";

/// What follows the method of a row whose radius was proved by branch and bound.
pub const BRANCHED: &str = "+branch";

/// Files and folders of a result folder; where the last one is, the others are.
pub const FILES: [&str; 4] = [CERTIFICATES, "summary.json", "manifest.json", "delta_max.csv"];

/// Columns of `delta_max.csv`. Classes are numbers, with their names in the last columns.
pub const HEADER: &str = "index,file,label,predicted,variance,proved,attacked,rival_proved,rival_attacked,method,passes,\
                          label_name,predicted_name,rival_proved_name,rival_attacked_name";

/// Columns of tables that were written before names stood in them.
const NAMELESS: usize = 11;

/// Whether these are the columns of a table, and whether classes are named in it.
fn named(header: &str) -> Option<bool> {
    match header {
        HEADER => Some(true),
        _ => (HEADER.split(',').take(NAMELESS).eq(header.split(','))).then_some(false),
    }
}

/// `delta_max.csv` being written, locked for as long as this lives.
pub struct Table {
    file: Growing,
    /// What the manifest becomes when the first row of further images comes.
    longer: Option<(PathBuf, Manifest)>,
    attack: bool,
    /// Names of the classes, for a table that has columns for them.
    names: Option<Vec<String>>,
    /// Rows that were there before, and whether lines can be kept for them: of some radius, and not proved part by part.
    rows: HashMap<(usize, u64), bool>,
}

impl Table {
    /// Starts a result folder.
    ///
    /// # Errors
    /// If there are results already, certificates of others, or another run is writing here.
    pub fn create(dir: &Path, manifest: &Manifest) -> Result<Table> {
        check_place(dir)?;
        check_certificates(dir)?;
        let file = Growing::create(dir, TABLE)?;
        let names = Some(manifest.classes.clone());
        let table = Table { file, longer: None, attack: manifest.attack, names, rows: HashMap::new() };
        // Nobody shall have to resume what has not begun.
        table.start(dir, manifest).inspect_err(|_| drop(fs::remove_file(table_path(dir))))
    }

    /// Continues a result folder whose manifest describes the same run, and keeps that manifest; starts one where there
    /// are no results. A last row that was cut off is dropped. The run may have more images now, if those that it had are
    /// its first: `hash` is that of the first so many images. The manifest is then the new one.
    ///
    /// # Errors
    /// If the results there belong to another run, or another run is writing here.
    pub fn resume(dir: &Path, manifest: &Manifest, hash: impl Fn(usize) -> String) -> Result<Table> {
        let path = table_path(dir);
        if !path.exists() {
            return Table::create(dir, manifest);
        }
        check_place(dir)?;
        let (file, text) = Growing::open(dir, TABLE)?;
        clear_locked(&dir.join(CERTIFICATES));
        let names = Some(manifest.classes.clone());
        let mut table = Table { file, longer: None, attack: manifest.attack, names, rows: HashMap::new() };
        let whole = whole_lines(&text);
        if whole == 0 && HEADER.as_bytes().starts_with(&text) {
            if read_manifest(dir).is_ok_and(|before| manifest.difference(&before).is_none()) {
                drop_certificates(dir, manifest, &[])?;
            }
            check_certificates(dir)?;
            return table.start(dir, manifest);
        }
        let before = continued(dir, manifest, hash)?;
        let rows = parse(&path, &text[..whole])?;
        check_rows(&path, &before, &rows)?;
        drop_certificates(dir, &before, &rows)?;
        let header = text.split(|b| *b == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
        if header.map(str::trim_end).and_then(named) != Some(true) {
            table.names = None;
        }
        if before.images < manifest.images {
            table.longer = Some((dir.join("manifest.json"), manifest.clone()));
        }
        let certifiable = |r: &CertifyRow| r.proved > 0.0 && !r.method.ends_with(BRANCHED);
        table.rows = rows.iter().map(|r| ((r.index, r.variance.to_bits()), certifiable(r))).collect();
        table.file.cut(whole as u64)?;
        Ok(table)
    }

    /// Manifest and header of a run without rows.
    fn start(mut self, dir: &Path, manifest: &Manifest) -> Result<Table> {
        write_json(&dir.join("manifest.json"), manifest)?;
        self.file.cut(0)?;
        self.file.push(&format!("{HEADER}\n"))?;
        Ok(self)
    }

    /// How many rows were there before.
    pub fn known(&self) -> usize {
        self.rows.len()
    }

    /// Whether the row was there before.
    pub fn knows(&self, index: usize, variance: f64) -> bool {
        self.rows.contains_key(&(index, variance.to_bits()))
    }

    /// How many rows of these images were there before without the certificate that they could have.
    pub fn lacks_certificates(&self, dir: &Path, wanted: &BTreeSet<usize>) -> usize {
        let rows = self.rows.iter().filter(|((index, _), certifiable)| **certifiable && wanted.contains(index));
        rows.filter(|((i, variance), _)| !certificate_path(dir, *i, f64::from_bits(*variance)).exists()).count()
    }

    /// Appends one row; it is in the file when this returns, or nothing of it is.
    pub fn push(&mut self, row: &CertifyRow) -> Result<()> {
        if let Some((path, manifest)) = self.longer.take() {
            write_json(&path, &manifest)?;
        }
        self.file.push(&line(row, self.attack, self.names.as_deref()))
    }
}

/// Refuses a folder in which a run would write over what is not certify's. Links are not followed: they may lead out of it.
pub(super) fn check_place(dir: &Path) -> Result<()> {
    check_names(dir, &FILES, &[TABLE], |asked| *asked == Asked::Radii)
}

/// The same for a folder of these files and folders, of which some are tables, and what its manifest says was asked.
pub(super) fn check_names(dir: &Path, files: &[&str], tables: &[&str], is_own: impl Fn(&Asked) -> bool) -> Result<()> {
    let foreign = |name: &&&str| {
        let kind = dir.join(name).symlink_metadata();
        kind.is_ok_and(|m| m.is_dir() == name.contains('.') || !(m.is_dir() || m.is_file()))
    };
    if let Some(name) = files.iter().find(foreign) {
        return Err(Error::input(dir.join(name), "was not made by certify; give another --out"));
    }
    let Some(name) = files.iter().find(|name| dir.join(name).exists()) else { return Ok(()) };
    match read_manifest(dir) {
        Ok(other) if !is_own(&other.asked) => {
            Err(Error::input(dir.join("manifest.json"), "is of a run that asked something else; give another --out"))
        }
        Err(_) if !tables.iter().any(|table| dir.join(table).exists()) => {
            Err(Error::input(dir.join(name), "is there already and was not made by certify; give another --out"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The name of the table.
const TABLE: &str = "delta_max.csv";

/// The table of a result folder.
pub fn table_path(dir: &Path) -> PathBuf {
    dir.join(TABLE)
}

/// Refuses a folder without rows that holds certificates all the same: an audit would take them for those of new rows.
pub(super) fn check_certificates(dir: &Path) -> Result<()> {
    let folder = dir.join(CERTIFICATES);
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let problem = "holds certificates of a run whose rows are gone; remove it, or give another --out";
        return Err(Error::input(folder, problem));
    }
    Ok(())
}

/// Removes certificates that a run which was cut off wrote just before their rows.
fn drop_certificates(dir: &Path, run: &Manifest, rows: &[CertifyRow]) -> Result<()> {
    let path = |index, variance| certificate_path(dir, index, variance);
    let all = (run.start..run.end).flat_map(|i| run.variances.iter().map(move |&v| (i, v)));
    let mut open: HashSet<PathBuf> = all.map(|(i, v)| path(i, v)).collect();
    for r in rows {
        open.remove(&path(r.index, r.variance));
    }
    let Ok(entries) = fs::read_dir(dir.join(CERTIFICATES)) else { return Ok(()) };
    for path in entries.flatten().map(|e| e.path()).filter(|p| open.contains(p)) {
        fs::remove_file(&path).map_err(Error::io(&path, "removing"))?;
    }
    Ok(())
}

/// A row of the table; `attack`: whether the image was attacked; `names`: those of the classes, if they stand in it.
fn line(r: &CertifyRow, attack: bool, names: Option<&[String]>) -> String {
    let class = |c: Option<usize>| c.map_or(String::new(), |c| c.to_string());
    let attacked = r.attacked.map_or(if attack { "inf".to_string() } else { String::new() }, |a| a.to_string());
    let named = |names: &[String]| {
        let classes = [Some(r.label), Some(r.predicted), r.rival_proved, r.rival_attacked];
        let name = |c: Option<usize>| c.and_then(|c| names.get(c)).map_or(String::new(), |n| quoted(n));
        classes.map(|c| format!(",{}", name(c))).concat()
    };
    format!(
        "{},{},{},{},{},{},{attacked},{},{},{},{}{}\n",
        r.index,
        quoted(&r.file),
        r.label,
        r.predicted,
        short(r.variance),
        r.proved,
        class(r.rival_proved),
        class(r.rival_attacked),
        r.method,
        r.passes,
        names.map_or(String::new(), named)
    )
}

/// A field of a table, on one line.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"").replace(['\n', '\r'], " "))
    } else {
        text.into()
    }
}

/// Reads the manifest and the rows of a result folder.
///
/// # Errors
/// If the run is not finished, or the rows are not those of the manifest, each once, `attacked` above `proved`.
pub fn read_whole(dir: &Path) -> Result<(Manifest, Vec<CertifyRow>)> {
    let manifest = read_manifest(dir)?;
    let path = table_path(dir);
    let text = input::read(&path, 1 << 32)?;
    // A row that was cut off may still read as one.
    let whole = whole_lines(&text);
    let rows = if whole == 0 { vec![] } else { parse(&path, &text[..whole])? };
    check_rows(&path, &manifest, &rows)?;
    if rows.len() != manifest.expected() || whole != text.len() {
        let (have, want) = (rows.len(), manifest.expected());
        return Err(Error::input(&path, format!("{have} of {}; finish it with --resume", counted(want, "row"))));
    }
    Ok((manifest, rows))
}

/// Refuses rows that are not those of the manifest, each at most once, `attacked` above `proved`.
fn check_rows(path: &Path, manifest: &Manifest, rows: &[CertifyRow]) -> Result<()> {
    let bad = |r: &CertifyRow, problem: &str| {
        Err(Error::input(path, format!("image {} at variance {}: {problem}", r.index, r.variance)))
    };
    let mut seen = HashSet::new();
    for row in rows {
        if !(manifest.start..manifest.end).contains(&row.index) || !manifest.variances.contains(&row.variance) {
            return bad(
                row,
                "the run of the manifest has no such row; the file was altered, certify again with another --out",
            );
        }
        if !seen.insert((row.index, row.variance.to_bits())) {
            return bad(row, "stands in two rows; remove one of them");
        }
        if row.attacked.is_some_and(|a| !(a > row.proved)) {
            return bad(row, "attacked within what is proved; the file was altered, certify again with another --out");
        }
    }
    Ok(())
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<CertifyRow>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text);
    let bad =
        |row: usize, what: &str| Error::input(path, format!("row {row}: {what}; certify again with another --out"));
    if named(&reader.headers().map(|h| h.iter().collect::<Vec<_>>().join(",")).unwrap_or_default()).is_none() {
        return Err(bad(0, "the columns are not those of certify"));
    }
    let mut rows = Vec::new();
    for (n, record) in reader.records().enumerate() {
        let record = record.map_err(|e| bad(n + 1, &e.to_string()))?;
        let int = |i: usize| record[i].parse::<usize>().map_err(|_| bad(n + 1, "a number is missing"));
        let real = |i: usize| record[i].parse::<f64>().map_err(|_| bad(n + 1, "a number is missing"));
        let class = |i: usize| if record[i].is_empty() { Ok(None) } else { int(i).map(Some) };
        rows.push(CertifyRow {
            index: int(0)?,
            file: record[1].to_string(),
            label: int(2)?,
            predicted: int(3)?,
            variance: real(4)?,
            proved: real(5)?,
            attacked: if record[6].is_empty() { None } else { Some(real(6)?).filter(|a| *a != f64::INFINITY) },
            rival_proved: class(7)?,
            rival_attacked: class(8)?,
            method: record[9].to_string(),
            passes: int(10)?,
        });
    }
    Ok(rows)
}

/// What rows are refused with that were to have a certificate.
pub(crate) fn lacks(rows: usize) -> String {
    format!(
        "{rows} rows were proved without --certificates, which cannot be made afterwards; certify with another --out"
    )
}

/// Where a result folder keeps the certificate of a row.
pub fn certificate_path(dir: &Path, index: usize, variance: f64) -> PathBuf {
    certificate_named(dir, &format!("{index}_{}", short(variance)))
}

/// Where a result folder keeps a certificate of this name: zipped, or as earlier versions did.
pub(crate) fn certificate_named(dir: &Path, name: &str) -> PathBuf {
    let folder = dir.join(CERTIFICATES);
    let plain = folder.join(format!("{name}.json"));
    if plain.exists() { plain } else { folder.join(format!("{name}.json.gz")) }
}

/// Writes a certificate. What stands in it is up to those who make and audit it: the report reads this table, and knows no
/// bound.
pub fn keep_certificate(path: &Path, certificate: &impl Serialize) -> Result<()> {
    let mut zip = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut zip, certificate).map_err(|e| Error::input(path, e.to_string()))?;
    write_atomically(path, &zip.finish().map_err(Error::io(path, "zipping"))?)
}

/// What a run found, per variance.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Noise added before certifying.
    pub variance: f64,
    /// Rows of that variance.
    pub images: usize,
    /// Share of images whose predicted class is their label.
    pub accuracy: f64,
    /// Share of images with a proved radius above zero.
    pub proved_share: f64,
    /// Quantiles 5 %, 25 %, 50 %, 75 %, 95 % of the proved radius.
    pub proved_quantiles: [f64; 5],
    /// Bound evaluations per image.
    pub mean_passes: f64,
}

/// Sums rows up, one summary per variance.
pub fn summarize(rows: &[CertifyRow]) -> Vec<Summary> {
    let mut variances: Vec<f64> = rows.iter().map(|r| r.variance).collect();
    variances.sort_by(f64::total_cmp);
    variances.dedup();
    let summary = |variance: f64| {
        let rows: Vec<&CertifyRow> = rows.iter().filter(|r| r.variance == variance).collect();
        let n = rows.len() as f64;
        let share = |f: &dyn Fn(&CertifyRow) -> bool| rows.iter().filter(|r| f(r)).count() as f64 / n;
        let mut proved: Vec<f64> = rows.iter().map(|r| r.proved).collect();
        proved.sort_by(f64::total_cmp);
        Summary {
            variance,
            images: rows.len(),
            accuracy: share(&|r| r.label == r.predicted),
            proved_share: share(&|r| r.proved > 0.0),
            proved_quantiles: [0.05, 0.25, 0.5, 0.75, 0.95].map(|q| quantile(&proved, q)),
            mean_passes: rows.iter().map(|r| r.passes as f64).sum::<f64>() / n,
        }
    };
    variances.into_iter().map(summary).collect()
}
