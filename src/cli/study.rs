//! `deltamax study` and `deltamax report`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::common::{self, RunArgs, SayArgs};
use crate::bounds::Method;
use crate::dataset::{self, Source, Splits, shoes, split};
use crate::error::Error;
use crate::output::Folder;
use crate::progress::Progress;
use crate::report;
use crate::study::{Settings, study};
use crate::{sweep, tensor, train};

/// The whole case study: train three models, sweep them with noise, prove a delta max for every test image, report.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax study            (procedural shoes, built in)\n         deltamax study --data zappos --size 32 --out study-zappos"
)]
pub struct StudyArgs {
    #[arg(long, help = format!("{}; without it, made-up shoe photos", common::DATA))]
    data: Option<PathBuf>,
    /// Classes to keep, by name or number, in this order
    #[arg(long, value_delimiter = ',', requires = "data")]
    classes: Vec<String>,
    /// Side of the images in pixels [default: 32 for shoes, else as they are]
    #[arg(long, value_parser = common::whole::<{ dataset::MAX_SIZE }>)]
    size: Option<usize>,
    /// Made-up shoe photos to draw [default: 2000, quick 900]
    // Fewer leave a class without a picture for testing.
    #[arg(long, conflicts_with = "data", value_parser = clap::value_parser!(u32).range(67..=1_000_000))]
    count: Option<u32>,
    /// Folder for report.html, the models and all figures; an earlier study there is replaced when this one is whole
    #[arg(long, default_value = "study")]
    out: PathBuf,
    /// Replace what stands there, whoever wrote it
    #[arg(long)]
    force: bool,
    /// A small version, for a first look
    #[arg(long)]
    quick: bool,
    /// Passes over the training images [default: 12, quick 5]
    #[arg(long, value_parser = common::whole::<1_000_000>)]
    epochs: Option<usize>,
    /// Noise variances, in squared pixel units of [0,1]; the first must be 0
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, default_value = "0,0.001,0.005,0.025")]
    variance: Vec<f64>,
    /// How bounds are computed
    #[arg(long, value_enum, default_value_t = Method::Crown)]
    method: Method,
    /// Certify only the first N clean test images [default: all, quick 60]
    #[arg(long, value_parser = common::whole::<{ common::MANY }>)]
    limit: Option<usize>,
    /// Test images to certify under each noise level [default: 60, quick 20]
    #[arg(long)]
    noisy: Option<usize>,
    /// Half-width of the noise box of the dominance pictures
    #[arg(long, default_value_t = 1.0 / 255.0, value_parser = common::delta, allow_negative_numbers = true)]
    delta: f32,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: StudyArgs) -> Result<()> {
    sweep::check_variances(&args.variance)?;
    if args.variance[0] != 0.0 {
        anyhow::bail!(Error::usage("the first --variance must be 0, the clean images"));
    }
    let folder = open(&args.out, args.force || report::load(&args.out).is_ok())?;
    let quick = args.quick;
    let (splits, name, source) = load(&args)?;
    args.run.say(format!("train  {}", splits.train.counts_line()));
    args.run.say(format!("test   {}", splits.test.counts_line()));
    let device = args.run.open()?;
    let settings = Settings {
        seed: args.run.seed,
        train: train::Settings {
            epochs: args.epochs.unwrap_or(if quick { 5 } else { 12 }),
            seed: args.run.seed,
            ..train::Settings::default()
        },
        sweep: sweep::Settings { variances: args.variance, draws: if quick { 1 } else { 3 }, seed: args.run.seed },
        method: args.method,
        limit: args.limit.or(quick.then_some(60)),
        noisy_limit: args.noisy.unwrap_or(if quick { 20 } else { 60 }),
        relevance_limit: if quick { 64 } else { 512 },
        delta: args.delta,
        name,
        source,
        command: common::command_line(),
        verbosity: args.run.verbosity(),
    };
    let study = study(&device, &splits, &settings, folder.path())?;
    report::write(&study, folder.path())?;
    folder.finish()?;
    let page = args.out.join("report.html");
    args.run.say(format!("{}  ({:.0} s on {})", page.display(), study.seconds.unwrap_or(0.0), study.device));
    args.run.answer(&serde_json::json!({ "report": page, "seconds": study.seconds }))
}

/// The folder of a study; `known` where another may be replaced that has no list of its files.
fn open(out: &Path, known: bool) -> crate::error::Result<Folder> {
    Folder::open(out, "study", &["figures", "no-DA.onnx", "all-DA.onnx", "report.html", "results.json"], known)
}

fn load(args: &StudyArgs) -> Result<(Splits, String, String)> {
    let Some(path) = &args.data else {
        let count = args.count.map_or(if args.quick { 900 } else { 2000 }, |count| count as usize);
        let side = args.size.unwrap_or(32);
        if !shoes::SIDES.contains(&side) {
            let (low, high) = (shoes::SIDES.start(), shoes::SIDES.end());
            anyhow::bail!(Error::usage(format!("--size of made-up shoes is {low} to {high} pixels")));
        }
        // Bytes as they are drawn, then numbers; training and test images are copied out of them.
        tensor::check_room((count * side * side) as u64 * 8).map_err(|gib| {
            Error::usage(format!(
                "the photos take {gib:.1} GiB, more than can be had; give a smaller --count or --size"
            ))
        })?;
        let mut progress = Progress::start(args.run.verbosity(), "drawing shoes", count);
        let data = shoes::dataset(count, side, args.run.seed);
        progress.advance(count);
        progress.finish(&format!("{count} shoe photos drawn"));
        let splits = split::stratified(std::path::Path::new("shoes"), &data, 0.2, args.run.seed)?;
        return Ok((splits, "procedural shoes".into(), format!("{count} pictures drawn by deltamax")));
    };
    let source = Source {
        classes: args.classes.clone(),
        size: args.size.map(|n| [n, n]),
        seed: args.run.seed,
        ..Source::new(path)
    };
    let progress = Progress::start(args.run.verbosity(), "reading images", 0);
    let mut splits = dataset::load(&source)?;
    common::check_train(path, &splits)?;
    progress.finish(&format!("{} images read from {}", splits.train.len() + splits.test.len(), path.display()));
    if args.quick {
        (splits.train, splits.test) = (splits.train.take(2000), splits.test.take(500));
    }
    let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    Ok((splits, name, path.display().to_string()))
}

/// Rebuild report.html from results.json.
#[derive(Args)]
#[command(after_help = "Example: deltamax report study")]
pub struct ReportArgs {
    /// Folder with results.json
    dir: PathBuf,
    #[command(flatten)]
    output: SayArgs,
}

pub fn rebuild(args: ReportArgs) -> Result<()> {
    // First, since it finishes what a killed study left.
    let folder = open(&args.dir, true)?;
    let study = report::load(&args.dir)?;
    report::write(&study, folder.path())?;
    folder.finish_part()?;
    let page = args.dir.join("report.html");
    args.output.say(page.display());
    args.output.answer(&serde_json::json!({ "report": page }))
}
