//! The result folder of `certify`: `delta_max.csv` row by row, `manifest.json`, `summary.json`,
//! certificates.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::results::{CertifyRow, quantile, write_atomically, write_json};

/// Folder of the certificates inside a result folder.
pub const CERTIFICATES: &str = "certificates";

/// What follows the method of a row whose radius was proved by branch and bound.
pub const BRANCHED: &str = "+branch";

/// Columns of `delta_max.csv`.
pub const HEADER: &str =
    "index,file,label,predicted,variance,proved,attacked,rival_proved,rival_attacked,method,passes";

/// Everything needed to repeat or join a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub deltamax: String,
    pub command: String,
    pub device: String,
    pub model: String,
    /// SHA-256 of the model file.
    pub model_hash: String,
    pub data: String,
    /// The classes asked for, as given; empty if all were taken.
    #[serde(default)]
    pub chosen: Vec<String>,
    /// The side the images were resized to, if they were.
    #[serde(default)]
    pub size: Option<usize>,
    /// Seed of the split.
    #[serde(default)]
    pub split_seed: u64,
    /// SHA-256 of the images certified from.
    pub data_hash: String,
    pub classes: Vec<String>,
    pub split: String,
    pub method: String,
    pub variances: Vec<f64>,
    pub seed: u64,
    pub tolerance: f32,
    /// Domains that branch and bound may take per image.
    #[serde(default)]
    pub branch: usize,
    /// Images of the split that the whole run covers.
    pub images: usize,
    /// This part of them: shard `i` of `n`, images `start..end`.
    pub shard: [usize; 2],
    pub start: usize,
    pub end: usize,
}

impl Manifest {
    /// Whether rows made under `other` may stand beside rows made under this manifest.
    pub fn same_run(&self, other: &Manifest) -> bool {
        let key = |m: &Manifest| {
            let shards = m.shard[1];
            (m.model_hash.clone(), m.data_hash.clone(), m.method.clone(), m.variances.clone(), m.seed, m.images, shards)
        };
        key(self) == key(other) && self.tolerance == other.tolerance && self.branch == other.branch
    }
}

/// `delta_max.csv` being written.
pub struct Table {
    path: PathBuf,
    file: File,
    known: HashSet<(usize, u64)>,
}

impl Table {
    /// Starts a result folder, or continues one whose manifest describes the same run. A last row that was cut off is
    /// dropped.
    pub fn open(dir: &Path, manifest: &Manifest, resume: bool) -> Result<Table> {
        fs::create_dir_all(dir).map_err(Error::io(dir, "creating the folder"))?;
        let path = dir.join("delta_max.csv");
        let mut known = HashSet::new();
        let exists = path.exists();
        if exists && !resume {
            return Err(Error::input(&path, "exists already; add --resume to continue it, or give another --out"));
        }
        if exists {
            let before = read_manifest(dir)?;
            if !manifest.same_run(&before) || before.shard != manifest.shard {
                let problem = "belongs to a run with another model, data or settings; give another --out";
                return Err(Error::input(dir.join("manifest.json"), problem));
            }
            let rows = read_rows(&path, true)?;
            known = rows.iter().map(|r| (r.index, r.variance.to_bits())).collect();
            let mut text = format!("{HEADER}\n");
            rows.iter().for_each(|r| text.push_str(&line(r)));
            write_atomically(&path, text.as_bytes())?;
        } else {
            write_atomically(&path, format!("{HEADER}\n").as_bytes())?;
        }
        write_json(&dir.join("manifest.json"), manifest)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path, "opening"))?;
        Ok(Table { path, file, known })
    }

    /// Whether the row was there before.
    pub fn knows(&self, index: usize, variance: f64) -> bool {
        self.known.contains(&(index, variance.to_bits()))
    }

    /// Appends one row; it is in the file when this returns.
    pub fn push(&mut self, row: &CertifyRow) -> Result<()> {
        self.file.write_all(line(row).as_bytes()).map_err(Error::io(&self.path, "writing"))
    }
}

fn line(r: &CertifyRow) -> String {
    let class = |c: Option<usize>| c.map_or(String::new(), |c| c.to_string());
    let attacked = r.attacked.map_or("inf".to_string(), |a| a.to_string());
    let file = if r.file.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", r.file.replace('"', "\"\"").replace(['\n', '\r'], " "))
    } else {
        r.file.clone()
    };
    format!(
        "{},{file},{},{},{},{},{attacked},{},{},{},{}\n",
        r.index,
        r.label,
        r.predicted,
        r.variance,
        r.proved,
        class(r.rival_proved),
        class(r.rival_attacked),
        r.method,
        r.passes
    )
}

/// Reads the rows of a `delta_max.csv`; `cut` forgives a last line without its end.
pub fn read_rows(path: &Path, cut: bool) -> Result<Vec<CertifyRow>> {
    let file = File::open(path).map_err(Error::io(path, "reading"))?;
    let mut text = String::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::io(path, "reading"))?;
        text.push_str(&String::from_utf8_lossy(&line));
        text.push('\n');
    }
    let whole = fs::read(path).map_err(Error::io(path, "reading"))?;
    if !whole.ends_with(b"\n") && cut {
        text.truncate(text.trim_end_matches('\n').rfind('\n').map_or(0, |i| i + 1));
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let bad =
        |row: usize, what: &str| Error::input(path, format!("row {row}: {what}; the file was not written by certify"));
    if reader.headers().map(|h| h.iter().collect::<Vec<_>>().join(",")).unwrap_or_default() != HEADER {
        return Err(bad(0, "unexpected columns"));
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
            attacked: Some(real(6)?).filter(|a| a.is_finite()),
            rival_proved: class(7)?,
            rival_attacked: class(8)?,
            method: record[9].to_string(),
            passes: int(10)?,
        });
    }
    Ok(rows)
}

/// The manifest of a result folder.
pub fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join("manifest.json");
    let text = fs::read_to_string(&path).map_err(Error::io(&path, "reading"))?;
    serde_json::from_str(&text).map_err(|e| Error::input(&path, format!("is not a manifest of certify ({e})")))
}

/// Where a result folder keeps the certificate of a row.
pub fn certificate_path(dir: &Path, index: usize, variance: f64) -> PathBuf {
    dir.join(CERTIFICATES).join(format!("{index}_{variance}.json"))
}

/// What a run found, per variance.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub variance: f64,
    pub images: usize,
    /// Share of images whose predicted class is their label.
    pub accuracy: f64,
    /// Share of images with a proved radius above zero.
    pub proved_share: f64,
    /// Quantiles 5 %, 25 %, 50 %, 75 %, 95 % of the proved radius.
    pub proved_quantiles: [f64; 5],
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

/// Joins the shards of one run into `out`, with their certificates.
///
/// # Errors
/// If a shard is missing, given twice or unfinished, or comes from another run.
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<usize> {
    let mut parts = Vec::new();
    for dir in dirs {
        parts.push((read_manifest(dir)?, dir));
    }
    parts.sort_by_key(|(m, _)| m.shard[0]);
    let Some((first, _)) = parts.first() else { return Err(Error::usage("nothing to merge")) };
    let mut whole = first.clone();
    (whole.shard, whole.start, whole.end) = ([0, 1], 0, first.images);
    let (mut rows, mut certificates) = (Vec::new(), Vec::new());
    for (i, (manifest, dir)) in parts.iter().enumerate() {
        let problem = |p: String| Err(Error::input(dir, p));
        if !manifest.same_run(first) {
            return problem("comes from a run with another model, data or settings".into());
        }
        if manifest.shard[0] < i {
            return problem(format!("shard {}/{} is given twice", manifest.shard[0], manifest.shard[1]));
        }
        if manifest.shard[0] > i {
            return problem(format!("shard {i}/{} is missing", manifest.shard[1]));
        }
        let found = read_rows(&dir.join("delta_max.csv"), false)?;
        let expected = (manifest.end - manifest.start) * manifest.variances.len();
        let distinct: HashSet<_> = found.iter().map(|r| (r.index, r.variance.to_bits())).collect();
        if distinct.len() != found.len() || found.len() != expected {
            return problem(format!("has {} of {expected} rows; finish it with --resume", distinct.len()));
        }
        let certificate = |r: &CertifyRow| certificate_path(dir, r.index, r.variance);
        certificates.extend(found.iter().map(|r| (certificate(r), r.index, r.variance)).filter(|c| c.0.exists()));
        rows.extend(found);
    }
    if parts.len() != first.shard[1] {
        return Err(Error::usage(format!("{} of {} shards are given", parts.len(), first.shard[1])));
    }
    rows.sort_by(|a, b| a.variance.total_cmp(&b.variance).then(a.index.cmp(&b.index)));
    let mut table = Table::open(out, &whole, false)?;
    for row in &rows {
        table.push(row)?;
    }
    if !certificates.is_empty() {
        let folder = out.join(CERTIFICATES);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "creating the folder"))?;
    }
    for (path, index, variance) in &certificates {
        let content = fs::read(path).map_err(Error::io(path, "reading"))?;
        write_atomically(&certificate_path(out, *index, *variance), &content)?;
    }
    write_json(&out.join("summary.json"), &summarize(&rows))?;
    Ok(rows.len())
}
