//! `deltamax study` and `deltamax report`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::common::{self, RunArgs};
use crate::bounds::Method;
use crate::dataset::{self, Source, Splits, shoes, split};
use crate::error::Error;
use crate::progress::Progress;
use crate::report;
use crate::study::{Settings, study};
use crate::{sweep, train};

/// The whole case study: train three models, sweep them with noise, prove a delta max for every test image, report.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax study            (procedural shoes, built in)\n         deltamax study --data zappos --size 32 --out study-zappos"
)]
pub struct StudyArgs {
    /// Class-per-folder tree, folder of IDX or CIFAR files, or .npz; without it, made-up shoe photos
    #[arg(long)]
    data: Option<PathBuf>,
    /// Classes to keep, by name or number, in this order
    #[arg(long, value_delimiter = ',')]
    classes: Vec<String>,
    /// Side of the images in pixels [default: 32 for shoes, else as they are]
    #[arg(long)]
    size: Option<usize>,
    /// Made-up shoe photos to draw
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// Folder for report.html, the models and all figures
    #[arg(long, default_value = "study")]
    out: PathBuf,
    /// A small version, for a first look
    #[arg(long)]
    quick: bool,
    /// Passes over the training images [default: 12, quick 5]
    #[arg(long)]
    epochs: Option<usize>,
    /// Noise variances, in squared pixel units of [0,1]; the first must be 0
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, default_value = "0,0.001,0.005,0.025")]
    variance: Vec<f64>,
    /// How bounds are computed
    #[arg(long, value_enum, default_value_t = Method::Crown)]
    method: Method,
    /// Certify only the first N clean test images [default: all, quick 60]
    #[arg(long)]
    limit: Option<usize>,
    /// Test images to certify under each noise level [default: 60, quick 20]
    #[arg(long)]
    noisy: Option<usize>,
    /// Half-width of the noise box of the dominance pictures
    #[arg(long, default_value_t = 1.0 / 255.0)]
    delta: f32,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: StudyArgs) -> Result<()> {
    common::check_variances(&args.variance)?;
    if args.variance[0] != 0.0 {
        anyhow::bail!(Error::usage("the first --variance must be 0, the clean images"));
    }
    let quick = args.quick;
    let (splits, name, source) = load(&args)?;
    args.run.say(format!("train  {}", splits.train.counts_line()));
    args.run.say(format!("test   {}", splits.test.counts_line()));
    let device = args.run.open()?;
    common::make_folder(&args.out)?;
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
    let study = study(&device, &splits, &settings, &args.out)?;
    report::write(&study, &args.out)?;
    let page = args.out.join("report.html");
    args.run.say(format!("{}  ({:.0} s on {})", page.display(), study.seconds.unwrap_or(0.0), study.device));
    args.run.answer(&serde_json::json!({ "report": page, "seconds": study.seconds }))
}

fn load(args: &StudyArgs) -> Result<(Splits, String, String)> {
    let Some(path) = &args.data else {
        let count = if args.quick { args.count.min(900) } else { args.count };
        let mut progress = Progress::start(args.run.verbosity(), "drawing shoes", count);
        let data = shoes::dataset(count, args.size.unwrap_or(32), args.run.seed);
        progress.advance(count);
        progress.finish(&format!("{count} shoe photos drawn"));
        let splits = split::stratified(std::path::Path::new("shoes"), &data, 0.2, args.run.seed)?;
        return Ok((splits, "procedural shoes".into(), format!("{count} pictures drawn by deltamax")));
    };
    let source = Source { classes: args.classes.clone(), size: args.size, seed: args.run.seed, ..Source::new(path) };
    let progress = Progress::start(args.run.verbosity(), "reading images", 0);
    let mut splits = dataset::load(&source)?;
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
}

pub fn rebuild(args: ReportArgs) -> Result<()> {
    report::write(&report::load(&args.dir)?, &args.dir)?;
    println!("{}", args.dir.join("report.html").display());
    Ok(())
}
