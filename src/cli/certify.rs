//! `deltamax certify`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::common::{self, RunArgs, SayArgs, say_notes};
use super::inputs::{DataArgs, ModelArgs, warn_of_chance};
use super::noise;
use super::page;
use super::several::{self, Job};
use super::shard;
use super::vary;
use crate::bounds::{Bounder, Method, Runtime};
use crate::certify::depth::Choice;
use crate::certify::merge::merge;
use crate::certify::table::{self, Asked, Manifest, Table};
use crate::certify::{Options, Sink, certify};
use crate::dataset::{Dataset, Split};
use crate::device::Device;
use crate::error::Error;
use crate::interrupt;
use crate::network::Network;
use crate::norm::Norm;
use crate::progress::Progress;
use crate::reading::NetworkFile;
use crate::results::certificate::Certificate;
use crate::results::{CertifyRow, short, write_json};
use crate::rng::Rng;
use crate::search;
use crate::shard::Shard;
use crate::sweep::check_variances;
use crate::terminal::counted;
use crate::vary::Kind;

/// Prove a delta max for every image of a test set.
#[derive(Args)]
#[command(after_help = "Example: deltamax certify --model all-DA.onnx --data shoes --method crown --out proofs")]
pub struct CertifyArgs {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// How bounds are computed, cheapest first
    #[arg(long, value_enum, default_value_t = Method::Crown)]
    pub(super) method: Method,
    /// Noise variances added before certifying; 0 is the clean image
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, default_value = "0")]
    pub(super) variance: Vec<f64>,
    /// Folder for the table (delta_max.csv, or those of --noise and --vary), manifest.json and a summary
    #[arg(long)]
    pub(super) out: PathBuf,
    /// Which images
    #[arg(long, value_enum, default_value_t = Split::Test)]
    pub(super) split: Split,
    /// Only the first N images
    #[arg(long, value_parser = common::whole::<{ common::MANY }>)]
    pub(super) limit: Option<usize>,
    #[arg(long, value_name = "i/N", value_parser = shard::parse, help = shard::HELP)]
    pub(super) shard: Option<Shard>,
    /// Continue a run that was stopped, or one of fewer images
    #[arg(long)]
    pub(super) resume: bool,
    /// Balls probed at once; on a GPU two such batches are in flight (default: by method and device)
    #[arg(long, value_parser = common::whole::<1_000_000>)]
    pub(super) batch: Option<usize>,
    /// Stop when the radius is within this share of what the bounds can prove [default: 2e-4]
    #[arg(long)]
    tolerance: Option<f32>,
    /// Close the bracket further by splitting it into up to N domains per image, by the signs of neurons
    #[arg(long, value_name = "N", default_value_t = 0)]
    branch: usize,
    /// Close the bracket further for up to S seconds per image, search included; of a deep network, neurons are bounded
    /// through as many layers as that leaves time for
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Bound neurons through the nearest N nonlinear layers only: cheaper in deep networks (default: all of them, or what
    /// --seconds allows)
    #[arg(long, value_name = "N", value_parser = common::whole::<1_000>)]
    depth: Option<usize>,
    /// Stop closing a bracket whose ends are within this share of each other (default: 0.01)
    #[arg(long, value_name = "SHARE")]
    pub(super) gap: Option<f32>,
    /// What the radii hold for: the network in real arithmetic, or also every runtime that evaluates it in f32 with sums
    /// in any order
    #[arg(long, value_enum, default_value_t)]
    pub(super) runtime: Runtime,
    /// What radii are measured by
    #[arg(long, value_enum, default_value_t)]
    norm: Norm,
    /// MiB that the rows of one step of bounds may take (default: 4 per thread, 1024 on a GPU)
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(super) memory: Option<u32>,
    /// Keep what an audit needs to prove the rows of so many images again: N drawn by --seed, or all
    #[arg(long, value_name = "N", value_parser = certificates)]
    pub(super) certificates: Option<usize>,
    /// Do not attack: leave the upper end of the bracket empty
    #[arg(long)]
    no_attack: bool,
    /// How likely random noise of each --variance is to change the class, proved and measured, in place of radii
    #[arg(long, value_enum, value_name = "KIND", conflicts_with_all = [
        "tolerance", "branch", "seconds", "depth", "gap", "norm", "no_attack", "report",
    ])]
    pub(super) noise: Option<NoiseKind>,
    /// With --noise: also the largest noise that changes the class with probability at most --risk
    #[arg(long, requires = "noise")]
    pub(super) search: bool,
    /// With --noise: draws per image and variance, at most
    #[arg(long, requires = "noise", default_value_t = 10_000, value_parser = common::whole::<100_000_000>)]
    pub(super) draws: usize,
    /// With --noise: of what is measured
    #[arg(long, requires = "noise", default_value_t = 0.999)]
    pub(super) confidence: f64,
    /// With --noise: how often the class may change
    #[arg(long, requires = "noise", default_value_t = 0.01)]
    pub(super) risk: f64,
    /// How far each of these may change an image before its class changes, in place of radii: brackets closed to --gap
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',', conflicts_with_all = [
        "noise", "tolerance", "branch", "seconds", "depth", "norm", "certificates", "no_attack", "report",
    ])]
    pub(super) vary: Vec<Kind>,
    /// Also write a page on what was found, report.html, with its figures
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

impl CertifyArgs {
    fn options(&self) -> Options {
        Options {
            method: self.method,
            runtime: self.runtime,
            norm: self.norm,
            depth: self.depth,
            tolerance: self.tolerance,
            batch: self.batch,
            memory: self.memory.map(|mib| (mib as usize) << 20),
            branch: self.branch,
            seconds: self.seconds,
            gap: self.gap,
            attack: !self.no_attack,
        }
    }

    /// The bounds that the flags ask for.
    pub(super) fn bounder(&self, net: &Network) -> Result<Bounder> {
        Ok(self.options().bounder(net).map_err(|e| e.about(&self.model.model))?)
    }

    /// What the rows of a run are made from, and what is asked.
    pub(super) fn manifest(&self, device: &Device, file: &NetworkFile, data: &Dataset, asked: Asked) -> Manifest {
        let shard = self.shard.unwrap_or(Shard::WHOLE);
        let range = shard.range(data.len());
        Manifest {
            deltamax: env!("CARGO_PKG_VERSION").into(),
            command: common::command_line(),
            device: device.describe(),
            model: self.model.model.display().to_string(),
            model_hash: file.hash.clone(),
            notes: file.notes.clone(),
            data: self.data.data.display().to_string(),
            chosen: self.data.classes.clone(),
            reading: file.reading.clone(),
            split_seed: self.data.split_seed,
            data_hash: data.hash(),
            classes: data.classes.clone(),
            split: self.split.to_string(),
            method: self.method.to_string(),
            variances: self.variance.clone(),
            seed: self.run.seed,
            tolerance: 0.0,
            attack: false,
            branch: self.branch,
            depth: None,
            around: false,
            runtime: self.runtime.to_string(),
            norm: self.norm,
            asked,
            images: data.len(),
            shard,
            start: range.start,
            end: range.end,
        }
    }

    /// What several devices share, if several are named.
    pub(super) fn several(&self, data: &Dataset) -> Option<Result<Job<'_>>> {
        let job = Job {
            run: &self.run,
            out: &self.out,
            ending: "",
            items: data.len(),
            shard: self.shard,
            resume: Some(self.resume),
            goes_on: false,
        };
        let whole = self.out.join("manifest.json");
        let problem = if self.resume {
            "is of a run in one piece, which one --device goes on with"
        } else {
            "exists already; give another --out"
        };
        (self.run.device.len() > 1)
            .then(|| if whole.exists() { Err(Error::input(whole, problem).into()) } else { Ok(job) })
    }

    /// Images whose rows are to come with certificates.
    pub(super) fn certified(&self, images: usize) -> BTreeSet<usize> {
        let mut all: Vec<usize> = (0..images).collect();
        Rng::new(self.run.seed, 0xCE27).shuffle(&mut all);
        all.into_iter().take(self.certificates.unwrap_or(0)).collect()
    }
}

/// What is said of a run that is stopped: how many rows are kept of so many, and where.
pub(super) fn kept(rows: &Arc<AtomicUsize>, of: usize, table: PathBuf) -> impl Fn() -> String + Clone + Send + 'static {
    let rows = rows.clone();
    move || {
        let rows = rows.load(Ordering::Relaxed);
        format!("{rows} of {of} rows are kept in {}; add --resume to continue", table.display())
    }
}

/// Says how a deep network is bounded, how far rows of neurons walk, and what that may cost.
fn say_depth(path: &Path, bounder: &Bounder, options: &Options, chosen: Option<Choice>, say: &SayArgs) {
    let layers = bounder.nonlinear_layers();
    let around =
        "roundings of f32 in so many layers hide the margin of the first image: each is bounded around its image";
    let depth = match (options.seconds, chosen) {
        (Some(seconds), Some(Choice { depth: Some(depth), .. })) if depth < layers => format!(
            "--seconds {seconds}: neurons are bounded through the nearest {depth} of {layers} nonlinear layers (--depth {depth})"
        ),
        (Some(seconds), Some(_)) => {
            format!("--seconds {seconds}: neurons are bounded through all {layers} nonlinear layers")
        }
        (None, Some(Choice { depth: Some(0), .. })) => format!(
            "rows of neurons would take many minutes an image even through the nearest of {layers} nonlinear layers: they are \
             bounded as by --method crown-ibp; --seconds S tries for S seconds, --depth N as long as it takes"
        ),
        (None, Some(Choice { depth: Some(depth), .. })) if depth < layers => format!(
            "neurons are bounded through the nearest {depth} of {layers} nonlinear layers, which takes minutes an image; --seconds \
             S keeps to another time, --depth {layers} goes through all"
        ),
        (None, _) if options.depth.is_none() && search::is_deep(bounder) => format!(
            "neurons are bounded through {layers} nonlinear layers, which may take minutes an image and more; --seconds S keeps \
             to a time, --depth N to the nearest layers"
        ),
        _ => String::new(),
    };
    let notes = [if bounder.goes_around() { around.into() } else { String::new() }, depth];
    say_notes(path, &notes.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>(), say);
}

/// Why a whole run may have proved nothing, and what may prove more.
fn nothing_proved(options: &Options) -> String {
    let why = match options.method {
        Method::Ibp | Method::CrownIbp => {
            format!(
                "intervals of {} widen with every layer; --method crown proves more, kept to a time by --seconds S",
                options.method
            )
        }
        Method::Crown | Method::Alpha => match options.seconds {
            Some(_) => "more --seconds may prove more".into(),
            None => "the margins are within what roundings or the bounds of so many layers leave open".into(),
        },
    };
    format!("nothing is proved of any image: {why}")
}

/// Kinds of random noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NoiseKind {
    /// Independent normal numbers of one variance on every pixel and channel, clipped to [0,1]
    Gaussian,
}

fn certificates(text: &str) -> Result<usize, String> {
    if text == "all" { Ok(usize::MAX) } else { text.parse().map_err(|_| "expected a number or all".into()) }
}

pub fn run(args: CertifyArgs) -> Result<()> {
    check_variances(&args.variance)?;
    if args.noise.is_some() {
        return noise::run(args);
    }
    if !args.vary.is_empty() {
        return vary::run(args);
    }
    let options = args.options();
    options.check()?;
    if args.certificates.is_some() && !args.method.relaxes() {
        bail!(Error::usage("--certificates: interval bounds have no lines to keep; audit needs none for them"));
    }
    if args.report {
        page::check(&args.out, &args.variance)?;
    }
    common::check_folder(&args.out)?;
    if !args.resume && table::table_path(&args.out).exists() {
        let problem = "exists already; add --resume to continue it, or give another --out";
        bail!(Error::input(table::table_path(&args.out), problem));
    }
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    match args.several(&data) {
        Some(job) => several::run(&job?, |parts| Ok(merge(parts, &args.out).map(drop)?))?,
        None => prove(&args, &options, &file, &data)?,
    }
    sum_up(&args, &options, &data)
}

/// Proves what is asked on one device.
fn prove(args: &CertifyArgs, options: &Options, file: &NetworkFile, data: &Dataset) -> Result<()> {
    let device = args.run.open()?;
    let net = Network::new(&device, &file.model)?;
    let mut bounder = args.bounder(&net)?;
    let chosen = options.fit(&mut bounder, data)?;
    say_depth(&args.model.model, &bounder, options, chosen, &args.run);
    let range = args.shard.unwrap_or(Shard::WHOLE).range(data.len());
    let mut settings = options.settings(&bounder, chosen, args.variance.clone(), args.run.seed, range.clone());
    // However the images are cut into shards, and wherever one of them was stopped, rows are the same.
    settings.search.learns = args.shard.is_none();
    let manifest = Manifest {
        tolerance: settings.search.tolerance,
        attack: options.attack,
        depth: bounder.depth,
        around: bounder.goes_around(),
        ..args.manifest(&device, file, data, Asked::Radii)
    };
    let table = match args.resume {
        true => Table::resume(&args.out, &manifest, |first| data.take(first).hash())?,
        false => Table::create(&args.out, &manifest)?,
    };
    let certificates = match args.certificates {
        Some(_) => {
            let images = args.certified(data.len());
            let lacking = table.lacks_certificates(&args.out, &images);
            if lacking > 0 {
                bail!(Error::input(table::table_path(&args.out), table::lacks(lacking)));
            }
            common::make_folder(&args.out.join(table::CERTIFICATES))?;
            images
        }
        None => BTreeSet::new(),
    };
    let rows = Arc::new(AtomicUsize::new(table.known()));
    let kept = kept(&rows, manifest.expected(), table::table_path(&args.out));
    let _words = interrupt::say(kept.clone());
    let mut folder = Folder { table, out: &args.out, certificates, rows: &rows };
    let how = if options.closes() { table::BRANCHED } else { "" };
    let title = format!("proving ({}{how})", args.method);
    let mut progress = Progress::start(args.run.verbosity(), &title, range.len() * settings.variances.len());
    let started = Instant::now();
    certify(&bounder, data, &settings, &mut folder, &mut progress).with_context(kept)?;
    progress.finish(&format!(
        "{} in {:.1} s on {}",
        counted(range.len(), "image"),
        started.elapsed().as_secs_f64(),
        device.describe()
    ));
    Ok(())
}

/// Says what the rows of a whole run come to.
fn sum_up(args: &CertifyArgs, options: &Options, data: &Dataset) -> Result<()> {
    let (_, rows) = table::read_whole(&args.out)?;
    let summary = table::summarize(&rows);
    write_json(&args.out.join("summary.json"), &summary)?;
    let probes = if options.closes() { "probes and domains" } else { "probes" };
    for s in &summary {
        if s.variance == 0.0 {
            warn_of_chance(s.accuracy, s.images, data.classes.len(), &args.run);
        }
        let median = args.norm.text(s.proved_quantiles[2]);
        args.run.say(format!(
            "variance {:<6} {}, accuracy {:.2} %, proved > 0 for {:.2} %; median delta max {median}, {:.1} {probes} each",
            short(s.variance),
            counted(s.images, "image"),
            100.0 * s.accuracy,
            100.0 * s.proved_share,
            s.mean_passes
        ));
    }
    if summary.iter().all(|s| s.images > 0 && s.proved_share == 0.0) {
        say_notes(&args.out, &[nothing_proved(options)], &args.run);
    }
    if args.report {
        args.run.say(page::write(&args.out, data)?.display());
    }
    args.run.answer(&summary)
}

/// A result folder that rows go to.
struct Folder<'a> {
    table: Table,
    out: &'a Path,
    /// Images whose radii are to come with what proves them.
    certificates: BTreeSet<usize>,
    /// Rows in the table.
    rows: &'a AtomicUsize,
}

impl Sink for Folder<'_> {
    fn knows(&self, index: usize, variance: f64) -> bool {
        self.table.knows(index, variance)
    }

    fn wants_proof(&self, index: usize) -> bool {
        self.certificates.contains(&index)
    }

    fn proof(&mut self, index: usize, variance: f64, certificate: &Certificate) -> crate::error::Result<()> {
        table::keep_certificate(&table::certificate_path(self.out, index, variance), certificate)
    }

    fn row(&mut self, row: CertifyRow) -> crate::error::Result<()> {
        self.table.push(&row)?;
        self.rows.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
