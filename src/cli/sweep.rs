//! `deltamax sweep`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::common::{self, RunArgs, SayArgs};
use super::inputs::{DataArgs, ModelArgs};
use super::several::{self, Job};
use super::shard;
use crate::dataset::Split;
use crate::network::Network;
use crate::output::Folder;
use crate::progress::Progress;
use crate::results::{NoiseLevel, short, write_atomically, write_json};
use crate::shard::Shard;
use crate::sweep::part::{self, Part};
use crate::sweep::{self, Settings, check_variances};
use crate::terminal::counted;

/// Accuracy, per-class rates and confusion matrices under Gaussian noise.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax sweep --model all-DA.onnx --data shoes --variance 0,0.001,0.005,0.025 --out sweep"
)]
pub struct SweepArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Noise variances, in squared pixel units of [0,1]
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, default_value = "0,0.001,0.005,0.025")]
    variance: Vec<f64>,
    /// Independent draws per image and variance
    #[arg(long, default_value_t = 3, value_parser = common::whole::<1_000_000>)]
    draws: usize,
    /// Folder for confusion.csv and sweep.json
    #[arg(long)]
    out: PathBuf,
    /// Replace what stands there, whoever wrote it
    #[arg(long)]
    force: bool,
    /// Which images
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// Only the first N images
    #[arg(long, value_parser = common::whole::<{ common::MANY }>)]
    limit: Option<usize>,
    #[arg(long, value_name = "i/N", value_parser = shard::parse, help = shard::HELP)]
    shard: Option<Shard>,
    #[command(flatten)]
    run: RunArgs,
}

/// The file with rates and answers.
pub const RATES: &str = "sweep.json";

/// What a sweep writes, and in place of it a shard.
pub const FILES: [&str; 3] = ["confusion.csv", RATES, part::FILE];

pub fn run(args: SweepArgs) -> Result<()> {
    check_variances(&args.variance)?;
    let folder = Folder::open(&args.out, "sweep", &FILES, args.force)?;
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    if args.run.device.len() > 1 {
        let items = data.len();
        let job =
            Job { run: &args.run, out: &args.out, ending: "", items, shard: args.shard, resume: None, goes_on: false };
        return several::run(&job, |parts| {
            let (levels, classes) = part::join(parts)?;
            write(folder.path(), &levels, &classes)?;
            folder.finish()?;
            say(&levels, &classes, &args.run);
            args.run.answer(&levels)
        });
    }
    let device = args.run.open()?;
    let net = Network::new(&device, &file.model)?;
    let settings = Settings { variances: args.variance, draws: args.draws, seed: args.run.seed };
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let (range, passes) = (shard.range(data.len()), settings.passes());
    let mut progress = Progress::start(args.run.verbosity(), "noise sweep", passes * range.len());
    let called = sweep::called(&net, &data, &settings, range.clone(), &mut progress)?;
    progress.finish(&format!("{}, {passes} passes", counted(range.len(), "image")));
    if args.shard.is_none() {
        let levels = sweep::levels(&settings.variances, called, &data.labels, data.classes.len());
        write(folder.path(), &levels, &data.classes)?;
        folder.finish()?;
        say(&levels, &data.classes, &args.run);
        return args.run.answer(&levels);
    }
    let part = Part {
        deltamax: env!("CARGO_PKG_VERSION").into(),
        command: common::command_line(),
        device: device.describe(),
        model_hash: file.hash,
        reading: file.reading,
        data_hash: data.hash(),
        classes: data.classes.clone(),
        variances: settings.variances,
        draws: settings.draws,
        seed: settings.seed,
        images: data.len(),
        shard,
        labels: data.labels[range].to_vec(),
        called,
    };
    write_json(&folder.path().join(part::FILE), &part)?;
    folder.finish()?;
    args.run.say(format!("shard {shard} in {}; deltamax merge joins all {}", args.out.display(), shard.of));
    args.run.answer(&part)
}

/// Writes counts and rates.
pub fn write(dir: &Path, levels: &[NoiseLevel], classes: &[String]) -> Result<()> {
    write_atomically(&dir.join(FILES[0]), confusion_csv(levels, classes).as_bytes())?;
    Ok(write_json(&dir.join(RATES), &levels)?)
}

/// Says accuracy and rates per class.
pub fn say(levels: &[NoiseLevel], classes: &[String], output: &SayArgs) {
    for level in levels {
        let rates: Vec<String> =
            level.class_rates.iter().zip(classes).map(|(r, c)| format!("{c} {:.1} %", 100.0 * r.mean)).collect();
        let (variance, accuracy) = (short(level.variance), 100.0 * level.accuracy.mean);
        output.say(format!("variance {variance:<6} accuracy {accuracy:.2} %   {}", rates.join(", ")));
    }
}

/// Counts summed over draws: variance, label, one column per predicted class.
fn confusion_csv(levels: &[NoiseLevel], classes: &[String]) -> String {
    let quote = |c: &String| format!("\"{}\"", c.replace('"', "\"\""));
    let mut text = format!("variance,draws,label,{}\n", classes.iter().map(quote).collect::<Vec<_>>().join(","));
    for level in levels {
        for (row, class) in level.confusion.iter().zip(classes) {
            let counts: Vec<String> = row.iter().map(|n| n.to_string()).collect();
            text += &format!("{},{},{},{}\n", short(level.variance), level.draws, quote(class), counts.join(","));
        }
    }
    text
}
