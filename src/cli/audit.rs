//! `deltamax audit`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::common::SayArgs;
use crate::audit::{Report, Sample};
use crate::certify::audit::{Outcome, Request};
use crate::noise;
use crate::results::short;
use crate::terminal::{self, counted};

/// Prove certified radii, and probabilities of --noise, again: CPU, f64 rounded outward, none of the code that proved them
/// first.
#[derive(Args)]
#[command(after_help = "Example: deltamax audit proofs --sample 100

Every radius is proved for the real image u8/255, of which a file of results speaks, not for the nearest f32. Slopes and domains are taken from \
DIR/certificates/INDEX_VARIANCE.json.gz where there is such a file (certify --certificates); rows made by alpha or --branch, \
and all of --noise, need it.")]
pub struct AuditArgs {
    /// Folder written by certify or merge
    dir: PathBuf,
    /// ONNX file (default: where the manifest says)
    #[arg(long)]
    model: Option<PathBuf>,
    /// The images (default: where the manifest says)
    #[arg(long)]
    data: Option<PathBuf>,
    /// How many rows to check: a number, or all
    #[arg(long, default_value = "all", value_parser = sample)]
    sample: Sample,
    /// Seed of the sample
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: SayArgs,
}

fn sample(text: &str) -> Result<Sample, String> {
    match text.parse() {
        Ok(0) => Err("nothing would be checked".into()),
        Ok(count) => Ok(Sample::Some { count, seed: 0 }),
        Err(_) if text == "all" => Ok(Sample::All),
        Err(_) => Err("expected a number or all".into()),
    }
}

/// Failures that are printed one by one.
const SHOWN: usize = 20;

/// The result as JSON.
#[derive(serde::Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// Rows that only a certificate could prove, and have none.
    unchecked: usize,
}

pub fn run(args: AuditArgs) -> Result<()> {
    let sample = match args.sample {
        Sample::All => Sample::All,
        Sample::Some { count, .. } => Sample::Some { count, seed: args.seed },
    };
    let request = Request { dir: args.dir, model: args.model, data: args.data, sample };
    let verbosity = args.output.verbosity();
    let outcome = noise::audit::folder(&request, verbosity)?;
    let Outcome { report, rows, unchecked, .. } = &outcome;
    for f in report.failures.iter().take(SHOWN) {
        terminal::note(format_args!("image {} at variance {}: {}", f.index, short(f.variance), f.reason));
    }
    args.output.answer(&Answer { report, unchecked: *unchecked })?;
    if report.failures.is_empty() {
        let zero =
            if report.zero > 0 { format!(" ({} without a claim)", counted(report.zero, "row")) } else { String::new() };
        args.output.say(format!("checked {} of {}: all proofs hold{zero}", report.checked, counted(*rows, "row")));
    }
    if *unchecked > 0 && !args.output.quiet {
        terminal::note(format_args!(
            "not checked, for want of the certificate that noise, alpha and --branch need: {}",
            counted(*unchecked, "row")
        ));
    }
    Ok(outcome.check()?)
}
