//! `deltamax sweep`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::common::{self, RunArgs};
use super::inputs::{DataArgs, ModelArgs};
use crate::dataset::Split;
use crate::network::Network;
use crate::output::Folder;
use crate::progress::Progress;
use crate::results::{NoiseLevel, short, write_atomically, write_json};
use crate::sweep::{Settings, check_variances, sweep};

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
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: SweepArgs) -> Result<()> {
    check_variances(&args.variance)?;
    let folder = Folder::open(&args.out, "sweep", &["confusion.csv", "sweep.json"], args.force)?;
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    let net = Network::new(&args.run.open()?, &file.model)?;
    let settings = Settings { variances: args.variance, draws: args.draws, seed: args.run.seed };
    let passes: usize = settings.variances.iter().map(|v| if *v == 0.0 { 1 } else { args.draws }).sum();
    let mut progress = Progress::start(args.run.verbosity(), "noise sweep", passes * data.len());
    let levels = sweep(&net, &data, &settings, &mut progress)?;
    progress.finish(&format!("{} images, {passes} passes", data.len()));
    write_atomically(&folder.path().join("confusion.csv"), confusion_csv(&levels, &data.classes).as_bytes())?;
    write_json(&folder.path().join("sweep.json"), &levels)?;
    folder.finish()?;
    for level in &levels {
        let rates: Vec<String> =
            level.class_rates.iter().zip(&data.classes).map(|(r, c)| format!("{c} {:.1} %", 100.0 * r.mean)).collect();
        args.run.say(format!(
            "variance {:<6} accuracy {:.2} %   {}",
            short(level.variance),
            100.0 * level.accuracy.mean,
            rates.join(", ")
        ));
    }
    args.run.answer(&levels)
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
