//! `deltamax verify`: one property, or a folder of them.

mod batch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::common::{RunArgs, say_notes};
use super::shard;
use crate::bounds::Method;
use crate::error::Error;
use crate::model::onnx;
use crate::shard::Shard;
use crate::spec::vnnlib;
use crate::verify::{Loaded, Property, Settings, Verdict, verify};
use crate::{interrupt, terminal};

/// Prove or refute a VNN-LIB property of an ONNX network.
#[derive(Args)]
#[command(after_help = "Examples:
  deltamax verify net.onnx property.vnnlib --timeout 60
  deltamax verify property.vnnlib --network f=net.onnx --timeout 60
  deltamax verify --batch instances.csv --out results.csv

The first line is sat (the property is violated; a counterexample follows), unsat (proved), unknown or timeout.")]
pub struct VerifyArgs {
    /// NET.onnx SPEC.vnnlib, or SPEC.vnnlib alone with --network; gzip is accepted
    #[arg(num_args = 0..=2, value_names = ["NET", "SPEC"])]
    files: Vec<PathBuf>,
    /// The network by the name that the property gives it
    #[arg(long, value_name = "NAME=FILE", value_parser = named, conflicts_with = "batch")]
    network: Option<(String, PathBuf)>,
    /// Answer every line (network, property, seconds) of a competition's instances.csv; paths are relative to its
    /// folder. Properties of one network are attacked and bounded together
    #[arg(long, value_name = "CSV", conflicts_with = "files")]
    batch: Option<PathBuf>,
    /// Where --batch writes its answers; `-` is standard output [default: results.csv beside the instances]
    #[arg(long, requires = "batch")]
    out: Option<PathBuf>,
    /// Replace the answers that are there, or what else stands in their place
    #[arg(long, requires = "batch", conflicts_with = "resume")]
    force: bool,
    /// Folder for the counterexamples of --batch
    #[arg(long, requires = "batch", value_name = "DIR")]
    witnesses: Option<PathBuf>,
    #[arg(long, value_name = "i/N", value_parser = shard::parse, requires_all = ["batch", "out"], help = shard::HELP)]
    shard: Option<Shard>,
    /// Continue a batch that was stopped
    #[arg(long, requires = "batch")]
    resume: bool,
    /// Seconds before giving up [default: 300; of a batch, what its lines say, at most this]. Of a step over several
    /// properties each uses an equal share
    #[arg(long, value_name = "S", value_parser = seconds)]
    timeout: Option<f64>,
    /// The costliest bounds to try
    #[arg(long, value_enum, default_value_t = Method::Crown)]
    method: Method,
    #[command(flatten)]
    run: RunArgs,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.into(), file.into())),
        _ => Err("expected NAME=FILE".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|s| *s > 0.0 && *s < 1e9);
    value.ok_or_else(|| "expected a positive number of seconds".into())
}

impl VerifyArgs {
    fn settings(&self) -> Settings {
        Settings { method: self.method, seed: self.run.seed }
    }
}

/// The result as JSON.
#[derive(serde::Serialize)]
struct Answer {
    result: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterexample: Option<Vec<f32>>,
}

pub fn run(args: VerifyArgs) -> Result<()> {
    let start = Instant::now();
    if let Some(batch) = &args.batch {
        return batch::run(&args, batch);
    }
    let (name, net, spec) = match (&args.files[..], &args.network) {
        ([net, spec], None) => (None, net, spec),
        ([spec], Some((name, net))) => (Some(name), net, spec),
        _ => {
            bail!(Error::usage("verify takes NET.onnx SPEC.vnnlib, or SPEC.vnnlib --network NAME=NET.onnx, or --batch"))
        }
    };
    let _words =
        interrupt::say(|| "there is no answer yet; run the command again, with --timeout to stop earlier".into());
    let timeout = Duration::from_secs_f64(args.timeout.unwrap_or(300.0));
    let property = vnnlib::read(spec)?;
    if let (Some(given), Some(own)) = (name, &property.network)
        && given != own
    {
        bail!(Error::input(spec, format!("its network is called '{own}', not '{given}'; give --network {own}=FILE")));
    }
    let network = Loaded::new(&args.run.open()?, onnx::load(net)?)?;
    say_notes(net, &network.warnings, &args.run);
    network.check(&property, net, spec)?;
    let asked = Property { spec: &property, limit: timeout.saturating_sub(start.elapsed()) };
    let verdict = verify(&network.net, asked, &args.settings()).map_err(|e| blame(net, e))?;
    terminal::line(match &verdict {
        Verdict::Sat(w) => format!("sat\n{}", w.text()),
        Verdict::Unsat | Verdict::Unknown | Verdict::Timeout => verdict.word().to_string(),
    });
    let counterexample = if let Verdict::Sat(w) = &verdict { Some(w.input.clone()) } else { None };
    args.run.answer(&Answer { result: verdict.word(), seconds: start.elapsed().as_secs_f64(), counterexample })
}

/// What a network cannot be asked, said of its file.
fn blame(net: &Path, error: Error) -> Error {
    match error {
        Error::Usage(problem) => Error::input(net, problem),
        other => other,
    }
}
