//! `deltamax train`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::common::{self, RunArgs};
use super::inputs::DataArgs;
use crate::dataset::augment::{self, Policy};
use crate::dataset::{self, split};
use crate::error::Error;
use crate::interrupt;
use crate::model::cnn::{self, Architecture, Named};
use crate::model::onnx;
use crate::network;
use crate::progress::Progress;
use crate::train::{self, Certified, Checkpoint, Images, Settings};

/// Train a small convolutional classifier and write it as ONNX.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax train --data shoes --augment all --out all-DA.onnx\n         deltamax train --data shoes --certified 2/255 --out certified.onnx"
)]
pub struct TrainArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Where the model goes; `-` is standard output
    #[arg(long)]
    out: PathBuf,
    /// Replace what stands there, even if it is no model of this command's
    #[arg(long)]
    force: bool,
    /// Augmentation: none, all, or names of classes to fill up
    #[arg(long, default_value = "none")]
    augment: String,
    /// Show every image under Gaussian noise of this variance, another in every epoch, clipped to [0,1]; in squared pixel
    /// units
    #[arg(long, value_name = "VARIANCE", value_parser = common::variance, allow_negative_numbers = true)]
    noise: Option<f64>,
    /// Certified training: learn to keep the class all over a box of this half-width around every image, such as 2/255, by
    /// interval bounds, so that much larger radii can be proved
    #[arg(long, value_name = "DELTA", value_parser = common::share_of_white, allow_hyphen_values = true)]
    certified: Option<f32>,
    /// Of certified training, the share of what is lost in the worst case of a box; the rest is of attacked images. More
    /// proves more and costs clean accuracy [default: 0.1]
    #[arg(long, value_name = "SHARE", requires = "certified", value_parser = common::share, allow_negative_numbers = true)]
    mix: Option<f32>,
    /// Passes over the training images [default: 10, with --certified 40: boxes grow to DELTA in the first half]
    #[arg(long, value_parser = common::whole::<1_000_000>)]
    epochs: Option<usize>,
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = common::whole::<1_000_000>)]
    batch: usize,
    /// Adam's step size at the start
    #[arg(long, default_value_t = 2e-3, value_parser = rate, allow_negative_numbers = true)]
    rate: f32,
    /// By which share weights shrink per step, times the step size
    #[arg(long, value_name = "SHARE", default_value_t = 1e-4, value_parser = decay, allow_negative_numbers = true)]
    weight_decay: f32,
    /// Let every class count alike in what is lost, however few images it has
    #[arg(long)]
    balance: bool,
    /// Hold out this share of every class of the training images, and write the model of the epoch that loses least on them,
    /// not of the last
    #[arg(long, value_name = "SHARE", value_parser = part, allow_negative_numbers = true)]
    validation: Option<f64>,
    /// End after so many epochs in a row without a better one
    #[arg(long, value_name = "EPOCHS", requires = "validation", value_parser = common::whole::<1_000_000>)]
    patience: Option<usize>,
    /// Keep the training in this file after every epoch
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Continue the training that the checkpoint keeps
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// An architecture by its name, with batch normalisation while it learns
    #[arg(long, value_enum, conflicts_with_all = ["channels", "hidden"])]
    arch: Option<Named>,
    /// Output channels of the strided 4x4 convolutions
    #[arg(long, value_delimiter = ',', default_value = "16,32", value_parser = common::whole::<{ cnn::WIDEST }>)]
    channels: Vec<usize>,
    /// Width of the hidden dense layer
    #[arg(long, default_value_t = 100, value_parser = common::whole::<{ cnn::WIDEST }>)]
    hidden: usize,
    #[command(flatten)]
    run: RunArgs,
}

fn rate(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|r: &f32| *r > 0.0 && r.is_finite());
    number.ok_or_else(|| "expected a number above 0".into())
}

fn decay(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|r: &f32| *r >= 0.0 && r.is_finite());
    number.ok_or_else(|| "expected a number, at least 0".into())
}

/// What is left has to be learned from.
fn part(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|s| *s > 0.0 && *s < 1.0);
    number.ok_or_else(|| "expected a share above 0, below 1".into())
}

/// A file that is neither the model nor one of the images.
fn open_checkpoint(path: &Path, args: &TrainArgs) -> crate::error::Result<Checkpoint> {
    let checkpoint = Checkpoint::open(path, args.resume)?;
    if path == args.out || dataset::reads(&args.data.data, path) {
        return Err(Error::input(path, "is used by this very command; give another --checkpoint"));
    }
    Ok(checkpoint)
}

/// What to say when a training is ended that is kept in a file.
fn kept(path: &Path) -> String {
    match path.exists() {
        true => format!("every whole epoch is kept in {}; add --resume to continue", path.display()),
        false => "no epoch is done yet, and nothing was written; run the command again".into(),
    }
}

pub fn run(args: TrainArgs) -> Result<()> {
    let target = common::target(&args.out, (&args.data.data, None), onnx::is_own, args.force, &args.run)?;
    let checkpoint = args.checkpoint.as_deref().map(|path| open_checkpoint(path, &args)).transpose()?;
    let words = match args.checkpoint.clone() {
        None => interrupt::say_nothing_written(),
        Some(path) => interrupt::say(move || kept(&path)),
    };
    let splits = args.data.load(&args.run)?;
    common::check_train(&args.data.data, &splits)?;
    let policy = Policy::parse(&args.augment, &splits.train.classes)?;
    args.run.say(format!("train  {}", splits.train.counts_line()));
    args.run.say(format!("test   {}", splits.test.counts_line()));
    // Before images are augmented: variants of one that is learned from would tell nothing.
    let (learned, held_out) = match args.validation {
        None => (splits.train, None),
        Some(share) => {
            let parts = split::stratified(&args.data.data, &splits.train, share, args.run.seed)?;
            (parts.train, Some(parts.test))
        }
    };
    if let Some(held_out) = &held_out {
        args.run.say(format!("held out  {}", held_out.counts_line()));
    }
    let images = augment::augment(&learned, &policy, args.run.seed);
    if images.len() != learned.len() {
        args.run.say(format!("augmented  {}", images.counts_line()));
    }
    let device = args.run.open()?;
    let settings = Settings {
        architecture: args.arch.map_or_else(|| Architecture::strided(&args.channels, args.hidden), Architecture::from),
        epochs: args.epochs.unwrap_or(if args.certified.is_some() { Certified::EPOCHS } else { 10 }),
        batch: args.batch,
        rate: args.rate,
        decay: args.weight_decay,
        seed: args.run.seed,
        noise: args.noise.unwrap_or(0.0),
        certified: args.certified.map(|delta| {
            let usual = Certified::new(delta);
            Certified { mix: args.mix.unwrap_or(usual.mix), ..usual }
        }),
        balanced: args.balance,
        patience: args.patience,
    };
    if let Some(c) = &settings.certified {
        args.run.say(format!("certified  {c}"));
    }
    if settings.noise > 0.0 {
        args.run.say(format!("noise  variance {}", settings.noise));
    }
    let mut progress = Progress::start(args.run.verbosity(), "training", settings.epochs * images.len());
    let images = Images { train: &images, validation: held_out.as_ref(), test: &splits.test };
    let (model, history) = train::train(&device, &images, &settings, checkpoint.as_ref(), &mut progress)?;
    progress.finish(&format!("trained on {}", device.describe()));
    drop(words);
    target.write(&onnx::encode(&model).map_err(Error::failed)?)?;
    let judged = history.iter().filter_map(|e| Some((e, e.validation_loss?)));
    let best = judged.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(epoch, _)| epoch);
    let last = best.or(history.last()).expect("at least one epoch");
    let percent = |a: Option<f64>| a.map_or("-".into(), |a| format!("{:.1} %", 100.0 * a));
    args.run.say(format!(
        "{}: {}; loss {:.4}, accuracy {} on training images, {} on test images",
        args.out.display(),
        network::describe(&model),
        last.loss,
        percent(last.train_accuracy),
        percent(last.test_accuracy)
    ));
    args.run.answer(&serde_json::json!({ "model": args.out, "parameters": model.parameters(), "history": history }))
}
