//! What commands read: a network, images, and both so that they fit each other.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::common::{DATA, SayArgs, say_notes};
use crate::dataset::{self, Dataset, Fit, Source, Split};
use crate::reading::{self, NetworkFile, NetworkSource, Together};
use crate::terminal::counted;

/// Which network, and what it takes and gives.
#[derive(Args, Clone, Debug, Default)]
pub struct ModelArgs {
    /// ONNX file
    #[arg(long)]
    pub model: PathBuf,
    /// Output with the scores of the classes, where the network has several
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// What the network's pixels are between black and white, before --mean and --std (default: 0..1, or what its first
    /// layers say); radii stay in pixels from 0 to 1
    #[arg(long, value_name = "LOW..HIGH", value_parser = range, allow_hyphen_values = true)]
    pub input_range: Option<[f64; 2]>,
    /// Mean that is taken off before the network, one number or one per channel
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "LIST")]
    pub mean: Vec<f64>,
    /// Deviation that is divided by before the network, one number or one per channel
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_name = "LIST")]
    pub std: Vec<f64>,
    /// Names of the network's outputs: a line each, or JSON
    #[arg(long, value_name = "FILE")]
    pub classes_file: Option<PathBuf>,
}

/// Two numbers with two points between them.
fn range(text: &str) -> Result<[f64; 2], String> {
    let parts = text.split_once("..").and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    parts.filter(|[a, b]: &[f64; 2]| a < b).ok_or_else(|| "expected LOW..HIGH, such as 0..255 or -1..1".into())
}

/// A side in pixels, or two.
pub fn sides(text: &str) -> Result<[usize; 2], String> {
    let side = |t: &str| t.trim().parse().ok().filter(|n| (1..=dataset::MAX_SIZE).contains(n));
    let sizes = match text.split_once(['x', 'X']) {
        Some((width, height)) => side(height).zip(side(width)).map(|(h, w)| [h, w]),
        None => side(text).map(|n| [n, n]),
    };
    sizes
        .ok_or_else(|| format!("expected a side, or WIDTHxHEIGHT, each a whole number from 1 to {}", dataset::MAX_SIZE))
}

impl ModelArgs {
    fn source(&self) -> NetworkSource {
        NetworkSource {
            path: self.model.clone(),
            content: None,
            output: self.output.clone(),
            input_range: self.input_range,
            mean: self.mean.clone(),
            std: self.std.clone(),
            classes_file: self.classes_file.clone(),
        }
    }

    /// The network for one picture, brought to its size; of a row of numbers it is taken to be a square.
    pub fn read(&self, size: Option<[usize; 2]>, say: &SayArgs) -> Result<NetworkFile> {
        let file = self.source().read(size).context("cannot use the model")?;
        say_notes(&self.model, &file.notes, say);
        Ok(file)
    }
}

/// Which images.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    #[arg(long, help = DATA)]
    pub data: PathBuf,
    /// Classes to keep, by name or number, in this order; for a network of more outputs, the number of an output for each
    /// class
    #[arg(long, value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Resize images to this side in pixels, or to WIDTHxHEIGHT (default: what the network takes)
    #[arg(long, value_parser = sides, value_name = "N|WxH")]
    pub size: Option<[usize; 2]>,
    /// How images of another aspect are brought there
    #[arg(long, value_enum, default_value_t)]
    pub fit: Fit,
    /// Seed of the split for data that has none of its own
    #[arg(long, default_value_t = 0)]
    pub split_seed: u64,
}

impl DataArgs {
    fn source(&self) -> Source {
        let (classes, size, fit, seed) = (self.classes.clone(), self.size, self.fit, self.split_seed);
        Source { classes, size, fit, seed, ..Source::new(&self.data) }
    }

    /// Everything, for whoever has no network yet.
    pub fn load(&self, say: &SayArgs) -> Result<dataset::Splits> {
        let splits = dataset::load(&self.source())?;
        say_notes(&self.data, &splits.notes, say);
        Ok(splits)
    }

    /// The network and the first `limit` images of one split, brought to what it takes.
    pub fn load_with(
        &self,
        args: &ModelArgs,
        split: Split,
        limit: Option<usize>,
        say: &SayArgs,
    ) -> Result<(NetworkFile, Dataset)> {
        let Together { file, data, notes, drawn } =
            reading::together(&args.source(), &self.source(), &[], split, limit)?;
        say_notes(&args.model, &file.notes, say);
        say_notes(&self.data, &notes, say);
        if let Some([taken, all]) = drawn {
            let all = counted(all, "image");
            say.say(format!("{taken} of {all} are taken, the {split} part of a split (--split, --split-seed)"));
        }
        Ok((file, data))
    }
}

/// Warns where the network does no better than guessing.
pub fn warn_of_chance(accuracy: f64, images: usize, classes: usize, say: &SayArgs) {
    const FEW: usize = 10;
    if !say.quiet && images >= FEW && accuracy * classes as f64 <= 1.5 {
        crate::terminal::note(format_args!(
            "accuracy {:.1} % with {classes} classes is near chance: does the network expect normalised input (--mean, \
             --std, --input-range), or its classes in another order (--classes)?",
            100.0 * accuracy
        ));
    }
}
