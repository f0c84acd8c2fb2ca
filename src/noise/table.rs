//! The result folder of a run about noise: `noise.csv`, `sigma_max.csv`, certificates, and `noise.json`, which sums them up.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use serde::Serialize;

use super::run::Sink;
use crate::certify::answers::{self, Answers, Contents, Kind};
use crate::certify::manifest::{Asked, Manifest};
use crate::certify::table::{CERTIFICATES, certificate_named, keep_certificate, lacks, quoted};
use crate::error::{Error, Result};
use crate::results::certificate::NoiseCertificate;
use crate::results::{RiskRow, SigmaRow, quantile, short, write_json};

/// `noise.csv`.
pub static RISKS: Kind = Kind {
    file: "noise.csv",
    header: "index,file,label,predicted,variance,draws,changed,risk_low,risk_high,risk_proved,method",
    key: &[4],
    variance: Some(4),
};

/// `sigma_max.csv`.
pub static SIGMAS: Kind = Kind {
    file: "sigma_max.csv",
    header: "index,file,label,predicted,risk,sigma_proved,sigma_low,sigma_high,method",
    key: &[],
    variance: None,
};

/// What a folder of such a run holds.
pub static CONTENTS: Contents = Contents { tables: &[&RISKS, &SIGMAS], others: &[CERTIFICATES, "noise.json"] };

/// What a manifest of another kind of run is refused with.
fn other() -> Error {
    Error::usage("the run of this manifest did not ask about noise")
}

/// The tables of a run, and how many rows each has for every image.
pub fn tables(run: &Manifest) -> Vec<(&'static Kind, usize)> {
    let risks = (!run.variances.is_empty()).then_some((&RISKS, run.variances.len()));
    let search = matches!(run.asked, Asked::Noise { search: true, .. });
    risks.into_iter().chain(search.then_some((&SIGMAS, 1))).collect()
}

/// The folder being written.
pub struct Table {
    answers: Answers,
    dir: PathBuf,
    /// Images whose rows are to come with what proves them.
    certificates: BTreeSet<usize>,
}

impl Table {
    /// Starts a folder, or goes on with one.
    ///
    /// # Errors
    /// As [`Answers::open`], and if rows are there without the certificates that they were to have.
    pub fn open(
        dir: &Path,
        manifest: &Manifest,
        resume: bool,
        hash: impl Fn(usize) -> String,
        certificates: BTreeSet<usize>,
    ) -> Result<Table> {
        let kinds: Vec<&'static Kind> = tables(manifest).into_iter().map(|(kind, _)| kind).collect();
        let answers = Answers::open(dir, &CONTENTS, &kinds, manifest, resume, hash)?;
        let table = Table { answers, dir: dir.into(), certificates };
        let lacking: usize = table.certificates.iter().map(|&index| table.lacking(index, &manifest.variances)).sum();
        if lacking > 0 {
            return Err(Error::input(dir.join(RISKS.file), lacks(lacking)));
        }
        if !table.certificates.is_empty() {
            let folder = dir.join(CERTIFICATES);
            std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "creating the folder"))?;
        }
        Ok(table)
    }

    /// How many rows of an image were there before without the certificate that they could have.
    fn lacking(&self, index: usize, variances: &[f64]) -> usize {
        let all = variances.iter().copied().map(Some).chain([None]);
        let proves = |variance: Option<f64>| {
            let number = |column: usize| self.row(index, variance)?.get(column)?.parse::<f64>().ok();
            if variance.is_some() { number(9).is_some_and(|p| p < 1.0) } else { number(5).is_some_and(|s| s > 0.0) }
        };
        all.filter(|v| proves(*v) && !certificate_path(&self.dir, index, *v).exists()).count()
    }

    /// The row of an image at a variance, or that of its largest noise, if it was there before.
    fn row(&self, index: usize, variance: Option<f64>) -> Option<&csv::StringRecord> {
        match variance {
            Some(variance) => self.answers.row(&RISKS, &answers::key(index, [short(variance)])),
            None => self.answers.row(&SIGMAS, &answers::key(index, [""; 0])),
        }
    }

    /// How many rows there are, also while it is lent to a run.
    pub fn rows(&self) -> Arc<AtomicUsize> {
        self.answers.rows()
    }
}

impl Sink for Table {
    fn knows(&self, index: usize, variance: Option<f64>) -> bool {
        self.row(index, variance).is_some()
    }

    fn wants_proof(&self, index: usize) -> bool {
        self.certificates.contains(&index)
    }

    fn proof(&mut self, index: usize, variance: Option<f64>, certificate: &NoiseCertificate) -> Result<()> {
        keep_certificate(&certificate_path(&self.dir, index, variance), certificate)
    }

    fn risk(&mut self, r: RiskRow) -> Result<()> {
        let who = format!("{},{},{},{}", r.index, quoted(&r.file), r.label, r.predicted);
        let measured = format!("{},{},{},{}", r.draws, r.changed, r.risk_low, r.risk_high);
        let line = format!("{who},{},{measured},{},{}\n", short(r.variance), r.risk_proved, r.method);
        self.answers.push(&RISKS, &[line])
    }

    fn sigma(&mut self, r: SigmaRow) -> Result<()> {
        let who = format!("{},{},{},{}", r.index, quoted(&r.file), r.label, r.predicted);
        let SigmaRow { risk, sigma_proved, sigma_low, sigma_high, method, .. } = r;
        let line = format!("{who},{risk},{sigma_proved},{sigma_low},{sigma_high},{method}\n");
        self.answers.push(&SIGMAS, &[line])
    }
}

/// Where a folder keeps what proves the row of an image at a variance, or that of its largest noise.
pub fn certificate_path(dir: &Path, index: usize, variance: Option<f64>) -> PathBuf {
    let of = variance.map_or("sigma".into(), short);
    certificate_named(dir, &format!("{index}_{of}"))
}

/// The rows of a finished run.
///
/// # Errors
/// If rows are missing, or are not those of the manifest.
pub fn read_whole(dir: &Path, run: &Manifest) -> Result<(Vec<RiskRow>, Vec<SigmaRow>)> {
    let (mut risks, mut sigmas) = (vec![], vec![]);
    for (kind, each) in tables(run) {
        if kind.file == RISKS.file {
            risks = answers::read_whole(dir, kind, run, each)?;
        } else {
            sigmas = answers::read_whole(dir, kind, run, each)?;
        }
    }
    Ok((risks, sigmas))
}

/// What was found at one variance.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    /// Of the noise.
    pub variance: f64,
    /// All of them.
    pub images: usize,
    /// Of the clean images.
    pub accuracy: f64,
    /// Mean share of draws that get the label, over all images.
    pub accuracy_measured: f64,
    /// The average accuracy over noise and images is at least this.
    pub accuracy_proved: f64,
    /// Share of rightly classified images whose class is proved to change with probability at most `risk`.
    pub risk_proved: f64,
    /// Share of them of which as much is measured.
    pub risk_measured: f64,
}

/// The largest noise, over rightly classified images.
#[derive(Clone, Debug, Serialize)]
pub struct Threshold {
    /// How often the class may change.
    pub risk: f64,
    /// Median of the largest deviation at which that is proved.
    pub sigma_proved: f64,
    /// And at which it was measured.
    pub sigma_low: f64,
}

/// `noise.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    draws: usize,
    confidence: f64,
    risk: f64,
    method: String,
    /// By variance.
    pub levels: Vec<Level>,
    /// With `--search`.
    pub threshold: Option<Threshold>,
}

/// Sums a finished run up, and keeps that in its folder.
///
/// # Errors
/// If the rows are not those of the manifest, or the file cannot be written.
pub fn sum_up(dir: &Path, run: &Manifest) -> Result<Summary> {
    let Asked::Noise { draws, confidence, risk, .. } = run.asked else { return Err(other()) };
    let (risks, sigmas) = read_whole(dir, run)?;
    let summary = Summary {
        draws,
        confidence,
        risk,
        method: run.method.clone(),
        levels: run.variances.iter().map(|v| level(*v, &risks, risk)).collect(),
        threshold: (!sigmas.is_empty()).then(|| threshold(&sigmas, risk)),
    };
    write_json(&dir.join("noise.json"), &summary)?;
    Ok(summary)
}

/// Joins the shards of one run.
///
/// # Errors
/// As [`answers::merge`].
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<usize> {
    answers::merge(dirs, out, &CONTENTS, tables, |dir, run| sum_up(dir, run).map(drop))
}

fn level(variance: f64, rows: &[RiskRow], risk: f64) -> Level {
    let mut rows: Vec<&RiskRow> = rows.iter().filter(|r| r.variance == variance).collect();
    // Sums of the same numbers are the same in one order only.
    rows.sort_by_key(|r| r.index);
    let right: Vec<&&RiskRow> = rows.iter().filter(|r| r.predicted == r.label).collect();
    let n = rows.len().max(1) as f64;
    let share =
        |of: &dyn Fn(&RiskRow) -> bool| right.iter().filter(|r| of(r)).count() as f64 / right.len().max(1) as f64;
    let kept = |r: &RiskRow| 1.0 - r.changed as f64 / r.draws.max(1) as f64;
    Level {
        variance,
        images: rows.len(),
        accuracy: right.len() as f64 / n,
        accuracy_measured: right.iter().map(|r| kept(r)).sum::<f64>() / n,
        accuracy_proved: right.iter().map(|r| 1.0 - r.risk_proved).sum::<f64>() / n,
        risk_proved: share(&|r| r.risk_proved <= risk),
        risk_measured: share(&|r| r.risk_high <= risk),
    }
}

fn threshold(rows: &[SigmaRow], risk: f64) -> Threshold {
    let median = |side: &dyn Fn(&SigmaRow) -> f64| {
        let mut values: Vec<f64> = rows.iter().filter(|r| r.predicted == r.label).map(side).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    Threshold { risk, sigma_proved: median(&|r| r.sigma_proved), sigma_low: median(&|r| r.sigma_low) }
}
