//! `deltamax study`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::common::{self, RunArgs, SayArgs};
use super::inputs::{DataArgs, ModelArgs};
use super::several::{self, Job};
use super::shard;
use crate::bounds::Method;
use crate::dataset::{self, Dataset, Fit, Source, Split, Splits, shoes};
use crate::error::Error;
use crate::model::cnn::{Architecture, Named};
use crate::norm::Norm;
use crate::output::Folder;
use crate::progress::Progress;
use crate::reading::NetworkFile;
use crate::report;
use crate::results::{self, Requirements, Study, write_json};
use crate::shard::Shard;
use crate::study::{Given, Settings, part, study, study_given, trainings};
use crate::terminal::counted;
use crate::{explain, sweep, tensor, train};

/// The whole case study: train three models, sweep them with noise, prove a delta max for every test image, report.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax study            (procedural shoes, built in)\n         deltamax study --data zappos --size 32 --out study-zappos\n         deltamax study --models a.onnx b.onnx --data photos --out ours"
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
    /// Study these ONNX models on the test images of --data, instead of training any
    #[arg(long, num_args = 1.., value_name = "ONNX", requires = "data", conflicts_with_all = ["repeats", "epochs", "count"])]
    models: Vec<PathBuf>,
    /// Made-up shoes to draw for training; 100 of every class are drawn for testing beside them [default: 1600, quick 700]
    // Fewer leave a class without two pictures.
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
    /// Train all models of this architecture, with batch normalisation while they learn [default: two convolutions and 100
    /// neurons, without; cnn5 for --certified]
    #[arg(long, value_enum, conflicts_with = "models")]
    arch: Option<Named>,
    /// Also train a model by certified training in boxes of this half-width, such as 2/255: larger radii can be proved of it
    #[arg(long, value_name = "DELTA", conflicts_with = "models", value_parser = common::share_of_white, allow_hyphen_values = true)]
    certified: Option<f32>,
    /// Of certified training, the share of what is lost in the worst case of a box [default: 0.03]
    #[arg(long, value_name = "SHARE", requires = "certified", value_parser = common::share, allow_negative_numbers = true)]
    mix: Option<f32>,
    /// Also train a model on images under Gaussian noise, of variance 0.005 or --noise-aug=VARIANCE
    #[arg(long, value_name = "VARIANCE", conflicts_with = "models", num_args = 0..=1, require_equals = true,
          default_missing_value = "0.005", value_parser = common::variance)]
    noise_aug: Option<f64>,
    /// Noise variances, in squared pixel units of [0,1]; the first must be 0
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, default_value = "0,0.001,0.005,0.025")]
    variance: Vec<f64>,
    /// How bounds are computed
    #[arg(long, value_enum, default_value_t = Method::Crown)]
    method: Method,
    /// Trainings of every policy, each with its own seed: their spread is in every figure [default: 3, quick 2]
    #[arg(long, value_parser = common::whole::<100>)]
    repeats: Option<usize>,
    /// What a model has to reach, in every training, to be ready: accuracy>=0.9,class>=0.8,accuracy@0.005>=0.85 (at a
    /// variance), proved@2/255>=0.7, median>=1/255
    #[arg(long, value_name = "LIST")]
    require: Option<Requirements>,
    /// Clean test images to certify, a sample with the class balance of the test set; or all [default: 100, quick 28]
    #[arg(long, value_name = "N", value_parser = sample)]
    limit: Option<usize>,
    /// Test images to certify under each noise level [default: 16, quick 4]
    #[arg(long)]
    noisy: Option<usize>,
    /// The share of a class that has to be recognised: up to which noise it is
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    satisfied: f64,
    /// Test photos of each class for which it is found how far noise, light and blur may go: seconds a photo and model
    /// [default: 1 of the built-in drawings, none of --data or with --quick]
    #[arg(long, value_name = "N")]
    photos: Option<usize>,
    /// Test images of each class of which it is proved how likely noise is to change what they are called [default: 6,
    /// quick 0]
    #[arg(long, value_name = "N")]
    proved_noise: Option<usize>,
    /// What radii are measured by
    #[arg(long, value_enum, default_value_t)]
    norm: Norm,
    /// Radius of the noise box of the dominance pictures [default: 1/255, with --norm l2 the length of that on every pixel]
    #[arg(long, value_parser = common::length, allow_negative_numbers = true)]
    delta: Option<f32>,
    // Trainings, or models of --models.
    #[arg(long, value_name = "i/N", value_parser = shard::parse, help = shard::HELP)]
    shard: Option<Shard>,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: StudyArgs) -> Result<()> {
    sweep::check_variances(&args.variance)?;
    if args.variance[0] != 0.0 {
        anyhow::bail!(Error::usage("the first --variance must be 0, the clean images"));
    }
    if !(args.satisfied > 0.0 && args.satisfied <= 1.0) {
        anyhow::bail!(Error::usage("--satisfied is a share above 0, at most 1"));
    }
    let requirements = args.require.clone().unwrap_or_default();
    requirements.check_variances(&args.variance)?;
    requirements.check_norm(args.norm)?;
    common::check_delta(args.delta, args.norm)?;
    let folder = open(&args.out, args.force || report::load(&args.out).is_ok())?;
    let quick = args.quick;
    let (given, (splits, name, source)) = match &args.data {
        Some(data) if !args.models.is_empty() => given(&args, data)?,
        Some(_) | None => (vec![], load(&args)?),
    };
    if given.is_empty() {
        args.run.say(format!("train  {}", splits.train.counts_line()));
    }
    args.run.say(format!("test   {}", splits.test.counts_line()));
    let usual = train::Settings {
        epochs: args.epochs.unwrap_or(if quick { 5 } else { 12 }),
        seed: args.run.seed,
        architecture: args.arch.map_or_else(Architecture::default, Architecture::from),
        ..train::Settings::default()
    };
    let settings = Settings {
        seed: args.run.seed,
        repeats: args.repeats.unwrap_or(if quick { 2 } else { 3 }),
        requirements,
        certified: args.certified.map(|delta| train::Settings {
            epochs: args.epochs.unwrap_or(if quick { 15 } else { train::Certified::EPOCHS }),
            architecture: args.arch.unwrap_or(Named::Cnn5).into(),
            certified: Some(train::Certified { mix: args.mix.unwrap_or(MIX), ..train::Certified::new(delta) }),
            ..usual.clone()
        }),
        train: usual,
        noise_aug: args.noise_aug,
        sweep: sweep::Settings { variances: args.variance, draws: if quick { 1 } else { 3 }, seed: args.run.seed },
        method: args.method,
        norm: args.norm,
        limit: args.limit.unwrap_or(if quick { 28 } else { 100 }),
        noisy_limit: args.noisy.unwrap_or(if quick { 4 } else { 16 }),
        relevance_limit: if quick { 24 } else { 512 },
        satisfied: args.satisfied,
        photos: args.photos.unwrap_or(usize::from(!quick && args.data.is_none())),
        proved_noise: args.proved_noise.unwrap_or(if quick { 0 } else { 6 }),
        delta: args.delta.unwrap_or(explain::usual_delta(args.norm, splits.test.shape)),
        name,
        source,
        command: common::command_without(&["--shard"]),
        verbosity: args.run.verbosity(),
    };
    if args.run.device.len() > 1 {
        let all = if given.is_empty() { trainings(&splits.train, &settings) } else { given.len() };
        // Every part but the one with the first model works for the choice of examples once more: one for each device.
        let items = all.min(args.run.device.len());
        let (run, out, shard) = (&args.run, &*args.out, args.shard);
        let job = Job { run, out, ending: "", items, shard, resume: None, goes_on: false };
        return several::run(&job, |parts| page(part::join(parts, folder.path())?, folder, out, run));
    }
    let device = args.run.open()?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let found = match &given[..] {
        [] => study(&device, &splits, &settings, shard, folder.path())?,
        _ => study_given(&device, &splits, &settings, &given, shard)?,
    };
    if args.shard.is_none() {
        return page(part::whole(vec![found])?, folder, &args.out, &args.run);
    }
    write_json(&folder.path().join(part::FILE), &found)?;
    folder.finish()?;
    args.run.say(format!("{}, part {shard}; merge joins all", args.out.display()));
    args.run.answer(&serde_json::json!({ "part": args.out }))
}

/// Writes the page of a study beside its models.
fn page(study: Study, folder: Folder, out: &Path, say: &SayArgs) -> Result<()> {
    report::write(&study, folder.path())?;
    folder.finish()?;
    let page = out.join("report.html");
    say.say(format!("{}  ({:.0} s on {})", page.display(), study.seconds.unwrap_or(0.0), study.device));
    say.answer(&serde_json::json!({ "report": page, "seconds": study.seconds }))
}

/// Joins the shards of a study, and writes its page.
pub fn join(parts: &[PathBuf], out: &Path, say: &SayArgs) -> Result<()> {
    let folder = open(out, report::load(out).is_ok())?;
    let study = part::join(parts, folder.path())?;
    page(study, folder, out, say)
}

/// Share of worst cases in certified training: what proves most of made-up shoes at no loss of accuracy.
const MIX: f32 = 0.03;

/// A number of images, or all there are.
fn sample(text: &str) -> Result<usize, String> {
    if text == "all" { Ok(usize::MAX) } else { common::whole::<{ common::MANY }>(text) }
}

/// The folder of a study; `known` where another may be replaced that has no list of its files.
fn open(out: &Path, known: bool) -> crate::error::Result<Folder> {
    Folder::open(
        out,
        "study",
        &["figures", "no-DA.onnx", "all-DA.onnx", "report.html", "results.json", part::FILE],
        known,
    )
}

/// Drawings of every class for testing: enough to say something of the rare one.
const TESTED: usize = 100;

/// Images, the name of the data, and where it comes from in words.
type Data = (Splits, String, String);

/// The models as the study takes them, and the test images that all of them are asked about.
fn given(args: &StudyArgs, data: &Path) -> Result<(Vec<Given>, Data)> {
    let source = DataArgs {
        data: data.into(),
        classes: args.classes.clone(),
        size: args.size.map(|n| [n; 2]),
        fit: Fit::default(),
        split_seed: args.run.seed,
    };
    let mut images: Option<Dataset> = None;
    let mut all: Vec<Given> = Vec::new();
    for path in &args.models {
        let network = ModelArgs { model: path.clone(), ..ModelArgs::default() };
        let (NetworkFile { model, hash, .. }, own) = source.load_with(&network, Split::Test, None, &args.run)?;
        if let Some(first) = &images {
            if first.classes != own.classes {
                let (mine, theirs) = (own.classes.join(", "), first.classes.join(", "));
                let problem = format!("knows the classes {mine}, the first model {theirs}");
                anyhow::bail!(Error::input(path, problem + "; models of one study need the same, in one order"));
            }
            if first.shape != own.shape {
                let problem = format!("takes images of {}, the first model {}", own.shape, first.shape);
                anyhow::bail!(Error::input(path, problem + "; models of one study need the same"));
            }
        }
        images.get_or_insert(own);
        let stem = path.file_stem().map_or_else(|| path.display().to_string(), |s| s.to_string_lossy().into_owned());
        let name = if all.iter().any(|g| g.name == stem) { path.display().to_string() } else { stem };
        if all.iter().any(|g| g.file == path.display().to_string()) {
            anyhow::bail!(Error::input(path, "is named twice"));
        }
        all.push(Given { name, model, hash, file: path.display().to_string() });
    }
    let test = images.expect("at least one model");
    let test = if args.quick { test.take(500) } else { test };
    let splits = Splits { train: test.subset(&[]), test, notes: vec![], drawn_from: None };
    Ok((all, (splits, name_of(data), data.display().to_string())))
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// The images to train and test on.
fn load(args: &StudyArgs) -> Result<Data> {
    let Some(path) = &args.data else {
        let count = args.count.map_or(if args.quick { 700 } else { 1600 }, |count| count as usize);
        let side = args.size.unwrap_or(32);
        if !shoes::SIDES.contains(&side) {
            let (low, high) = (shoes::SIDES.start(), shoes::SIDES.end());
            anyhow::bail!(Error::usage(format!("--size of made-up shoes is {low} to {high} pixels")));
        }
        let tested = TESTED * shoes::Kind::ALL.len();
        // Bytes as they are drawn, then numbers.
        tensor::check_room(((count + tested) * side * side) as u64 * 8).map_err(|gib| {
            Error::usage(format!(
                "the photos take {gib:.1} GiB, more than can be had; give a smaller --count or --size"
            ))
        })?;
        let mut progress = Progress::start(args.run.verbosity(), "drawing shoes", count + tested);
        let splits = Splits {
            train: shoes::dataset(count, side, args.run.seed),
            test: shoes::balanced(TESTED, side, args.run.seed),
            notes: vec![],
            drawn_from: None,
        };
        progress.advance(count + tested);
        progress.finish(&format!("{count} shoes drawn for training, {TESTED} of every class for testing"));
        return Ok((splits, results::DRAWN.into(), format!("{} drawings made by deltamax, no photos", count + tested)));
    };
    let size = args.size.map(|n| [n; 2]);
    let source = Source { classes: args.classes.clone(), size, seed: args.run.seed, ..Source::new(path) };
    let progress = Progress::start(args.run.verbosity(), "reading images", 0);
    let mut splits = dataset::load(&source)?;
    common::check_train(path, &splits)?;
    common::say_notes(path, &splits.notes, &args.run);
    progress.finish(&format!(
        "{} read from {}",
        counted(splits.train.len() + splits.test.len(), "image"),
        path.display()
    ));
    if args.quick {
        (splits.train, splits.test) = (splits.train.take(2000), splits.test.take(500));
    }
    Ok((splits, name_of(path), path.display().to_string()))
}

/// Writes the page of a study again from its results.
pub fn rebuild(dir: &Path) -> Result<PathBuf> {
    // First, since it finishes what a killed study left.
    let folder = open(dir, true)?;
    let study = report::load(dir)?;
    report::write(&study, folder.path())?;
    folder.finish_part()?;
    Ok(dir.join("report.html"))
}
