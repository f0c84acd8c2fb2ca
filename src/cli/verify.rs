//! `deltamax verify`: one property, or a folder of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::common::RunArgs;
use crate::bounds::Method;
use crate::device::Device;
use crate::error::Error;
use crate::model::onnx;
use crate::network::Network;
use crate::progress::Progress;
use crate::spec::{Spec, vnnlib};
use crate::terminal;
use crate::verify::batch::{Instance, Results, locate, read_instances};
use crate::verify::{Settings, Verdict, check_fit, verify};

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
    /// Answer every line (network, property, seconds) of a competition's instances.csv; paths are relative to its folder
    #[arg(long, value_name = "CSV", conflicts_with = "files")]
    batch: Option<PathBuf>,
    /// Where --batch writes its answers [default: results.csv beside the instances]
    #[arg(long, requires = "batch")]
    out: Option<PathBuf>,
    /// Folder for the counterexamples of --batch
    #[arg(long, requires = "batch", value_name = "DIR")]
    witnesses: Option<PathBuf>,
    /// Continue a batch that was stopped
    #[arg(long, requires = "batch")]
    resume: bool,
    /// Seconds before giving up [default: 300; of a batch, what its lines say, at most this]
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
        return run_batch(&args, batch);
    }
    let (name, net, spec) = match (&args.files[..], &args.network) {
        ([net, spec], None) => (None, net, spec),
        ([spec], Some((name, net))) => (Some(name), net, spec),
        _ => {
            bail!(Error::usage("verify takes NET.onnx SPEC.vnnlib, or SPEC.vnnlib --network NAME=NET.onnx, or --batch"))
        }
    };
    let deadline = start + Duration::from_secs_f64(args.timeout.unwrap_or(300.0));
    let property = vnnlib::read(spec)?;
    if let (Some(given), Some(own)) = (name, &property.network)
        && given != own
    {
        bail!(Error::input(spec, format!("its network is called '{own}', not '{given}'; give --network {own}=FILE")));
    }
    let network = Loaded::read(&args.run.open()?, net)?;
    if !args.run.quiet {
        network.warnings.iter().for_each(|w| terminal::note(format_args!("{}: {w}", net.display())));
    }
    let verdict = network.answer(&property, net, spec, &args, deadline)?;
    terminal::line(match &verdict {
        Verdict::Sat(w) => format!("sat\n{}", w.text()),
        Verdict::Unsat | Verdict::Unknown | Verdict::Timeout => verdict.word().to_string(),
    });
    let counterexample = if let Verdict::Sat(w) = &verdict { Some(w.input.clone()) } else { None };
    args.run.answer(&Answer { result: verdict.word(), seconds: start.elapsed().as_secs_f64(), counterexample })
}

/// A network on the device.
struct Loaded {
    net: Network,
    warnings: Vec<String>,
    softmax: bool,
}

impl Loaded {
    fn read(device: &Device, path: &Path) -> Result<Loaded> {
        let loaded = onnx::load(path)?;
        Ok(Loaded { net: Network::new(device, &loaded.model)?, warnings: loaded.warnings, softmax: loaded.softmax })
    }

    fn answer(
        &self,
        property: &Spec,
        net: &Path,
        spec: &Path,
        args: &VerifyArgs,
        deadline: Instant,
    ) -> Result<Verdict> {
        check_fit(&self.net, property).map_err(|e| Error::input(spec, e.to_string()))?;
        if self.softmax && !property.only_compares() {
            let problem =
                "ends in a softmax, whose values the property asks for; only comparisons of its outputs are supported";
            bail!(Error::input(net, problem));
        }
        let settings = Settings { deadline, method: args.method, seed: args.run.seed };
        let refused = |e| match e {
            Error::Usage(problem) => Error::input(net, problem),
            other => other,
        };
        Ok(verify(&self.net, property, &settings).map_err(refused)?)
    }
}

fn run_batch(args: &VerifyArgs, list: &Path) -> Result<()> {
    let instances = read_instances(list)?;
    let folder = list.parent().unwrap_or(Path::new(""));
    let out = args.out.clone().unwrap_or_else(|| folder.join("results.csv"));
    let mut results = Results::open(&out, args.resume)?;
    if let Some(dir) = &args.witnesses {
        std::fs::create_dir_all(dir).map_err(Error::io(dir, "creating"))?;
    }
    let device = args.run.open()?;
    let mut progress = Progress::start(args.run.verbosity(), "verify", instances.len());
    // Lists name one network many times in a row.
    let mut last: Option<(String, Loaded)> = None;
    let mut failed = 0;
    for instance in &instances {
        if !results.has(instance) {
            let start = Instant::now();
            let word = match answer_instance(args, &device, folder, instance, &mut last, start) {
                Ok(verdict) => verdict.word(),
                Err(error) => {
                    terminal::note(format_args!("{error:#}"));
                    failed += 1;
                    "error"
                }
            };
            results.add(instance, word, start.elapsed().as_secs_f64())?;
        }
        progress.advance(1);
    }
    progress.finish(&format!("{} answers in {}", instances.len(), out.display()));
    if failed > 0 {
        bail!(Error::input(list, format!("{failed} of {} instances could not be read or run", instances.len())));
    }
    Ok(())
}

fn answer_instance(
    args: &VerifyArgs,
    device: &Device,
    folder: &Path,
    instance: &Instance,
    last: &mut Option<(String, Loaded)>,
    start: Instant,
) -> Result<Verdict> {
    let limit = args.timeout.map_or(instance.timeout, |t| instance.timeout.min(Duration::from_secs_f64(t)));
    let (net, spec) = (locate(folder, &instance.onnx), locate(folder, &instance.vnnlib));
    let property = vnnlib::read(&spec)?;
    if last.as_ref().is_none_or(|(name, _)| *name != instance.onnx) {
        *last = None;
        *last = Some((instance.onnx.clone(), Loaded::read(device, &net)?));
    }
    let Some((_, loaded)) = last else { bail!(Error::input(&net, "was not loaded")) };
    let verdict = loaded.answer(&property, &net, &spec, args, start + limit)?;
    if let (Verdict::Sat(witness), Some(dir)) = (&verdict, &args.witnesses) {
        let stem = |p: &Path| {
            let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let plain = name.trim_end_matches(".gz").to_string();
            plain.rsplit_once('.').map_or(plain.clone(), |(stem, _)| stem.to_string())
        };
        let path = dir.join(format!("{}__{}.counterexample", stem(&net), stem(&spec)));
        std::fs::write(&path, format!("sat\n{}\n", witness.text())).map_err(Error::io(&path, "writing"))?;
    }
    Ok(verdict)
}
