//! `deltamax predict`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::common::{self, RunArgs};
use super::inputs::{DataArgs, ModelArgs, warn_of_chance};
use crate::dataset::{Dataset, Split};
use crate::interrupt;
use crate::network::{Network, largest};
use crate::progress::Progress;
use crate::terminal::counted;

/// Images classified at once.
const BATCH: usize = 256;

/// The class and logits of every image.
#[derive(Args)]
#[command(after_help = "Example: deltamax predict --model all-DA.onnx --data shoes --out scores.csv")]
pub struct PredictArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataArgs,
    /// CSV file: index, file, label, predicted, one logit per class; `-` is standard output
    #[arg(long)]
    out: PathBuf,
    /// Replace what stands there, even if it is no table of this command's
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

#[derive(Serialize)]
struct Summary {
    images: usize,
    /// Share of images whose largest logit is that of their label.
    accuracy: f64,
}

pub fn run(args: PredictArgs) -> Result<()> {
    let target = common::target(&args.out, (&args.data.data, Some(&args.model.model)), is_own, args.force, &args.run)?;
    let words = interrupt::say_nothing_written();
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    let net = Network::new(&args.run.open()?, &file.model)?;
    let mut progress = Progress::start(args.run.verbosity(), "predicting", data.len());
    let mut scores = Vec::with_capacity(data.len());
    for first in (0..data.len()).step_by(BATCH) {
        let images: Vec<_> = (first..data.len().min(first + BATCH)).map(|i| data.image(i)).collect();
        scores.extend(net.scores(&images)?);
        progress.advance(images.len());
    }
    progress.finish(&counted(data.len(), "image"));
    drop(words);
    target.write(&table(&data, &scores)?)?;
    let right = scores.iter().zip(&data.labels).filter(|(s, label)| largest(s) == **label).count();
    let summary = Summary { images: data.len(), accuracy: right as f64 / data.len() as f64 };
    warn_of_chance(summary.accuracy, data.len(), data.classes.len(), &args.run);
    args.run.say(format!("{}, accuracy {:.2} %", counted(summary.images, "image"), 100.0 * summary.accuracy));
    args.run.answer(&summary)
}

/// The columns that every table has.
const COLUMNS: [&str; 4] = ["index", "file", "label", "predicted"];

/// Whether a file that begins like this is such a table.
fn is_own(start: &[u8]) -> bool {
    start.starts_with(COLUMNS.join(",").as_bytes())
}

/// One row per image; logits with the fewest digits that give the same f32 back.
fn table(data: &Dataset, scores: &[Vec<f32>]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(COLUMNS.into_iter().chain(data.classes.iter().map(String::as_str)))?;
    for (i, scores) in scores.iter().enumerate() {
        csv.write_field(i.to_string())?;
        csv.write_field(&data.names[i])?;
        csv.write_field(&data.classes[data.labels[i]])?;
        csv.write_field(&data.classes[largest(scores)])?;
        csv.write_record(scores.iter().map(f32::to_string))?;
    }
    Ok(csv.into_inner()?)
}
