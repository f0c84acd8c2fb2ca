//! What commands read: a network, images, and both so that they fit each other.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::common::{DATA, SayArgs, Split, say_notes};
use crate::certify::table::Reading;
use crate::dataset::{self, Dataset, Fit, Network, Source};
use crate::error::Error;
use crate::input;
use crate::model::pixels::Pixels;
use crate::model::{Model, onnx};
use crate::tensor::Shape;

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
    /// layers say); radii stay in pixels of [0,1]
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

/// A model as its file has it, over pixels in [0,1].
pub struct ModelFile {
    pub model: Model,
    /// What its user should know about it, a line each.
    pub notes: Vec<String>,
    /// SHA-256, in hex, of the file and of what it keeps in other files.
    pub hash: String,
    /// What was chosen where the file leaves it open.
    pub reading: Reading,
    /// What errors add about its outputs.
    outputs: String,
}

impl ModelArgs {
    /// How the file is read for images of this size, where it takes any.
    fn choice(&self, size: Option<[usize; 2]>) -> onnx::Choice {
        onnx::Choice { output: self.output.clone(), size, classifier: true }
    }

    /// Reads the file: the network alone, whatever pixels it takes.
    fn load(&self, size: Option<[usize; 2]>) -> Result<ModelFile> {
        let path = &self.model;
        let hash = onnx::fingerprint(path)?;
        let loaded = onnx::load_as(path, &self.choice(size)).context("cannot use the model")?;
        if onnx::fingerprint(path)? != hash {
            bail!(Error::input(path, "was changed while it was read; run again"));
        }
        let one = |node: &String| format!(": the one output of node '{node}' tells class 0 from class 1");
        let outputs = loaded.binary.as_ref().map(one).unwrap_or_default();
        let bytes = loaded.bytes;
        let (mut model, mut notes) = loaded.in_order(path)?;
        let names = self.names(&model)?;
        if !names.is_empty() {
            model.classes.clone_from(&names);
        }
        let asked = self.input_range.is_some() || !self.mean.is_empty() || !self.std.is_empty();
        let mut pixels =
            Pixels { range: self.input_range.unwrap_or([0.0, 1.0]), mean: self.mean.clone(), std: self.std.clone() };
        if bytes && self.input_range.is_none() {
            notes.push("its input is integers: it is given pixels of 0 to 255; radii stay in pixels of [0,1]".into());
            pixels.range = Pixels::bytes().range;
        } else if let Some(layers) = model.wants_bytes().filter(|_| !asked) {
            notes.push(format!(
                "its first layers ({layers}) are made for pixels of 0 to 255, which it is given; radii stay in pixels of \
                 [0,1]; --input-range 0..1 gives it those"
            ));
            pixels = Pixels::bytes();
        }
        let pixels = (!pixels.is_plain()).then_some(pixels);
        let reading = Reading { output: self.output.clone(), pixels, names, ..Reading::default() };
        Ok(ModelFile { model, notes, hash, reading, outputs })
    }

    /// Names of the outputs, if a file gives them.
    fn names(&self, model: &Model) -> Result<Vec<String>> {
        let Some(path) = &self.classes_file else { return Ok(vec![]) };
        let text = input::read_text(path, 1 << 24)?;
        let text = text.trim_start_matches('\u{feff}');
        let names = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Array(list)) => list.iter().map(json_name).collect(),
            Ok(serde_json::Value::Object(map)) => {
                (0..map.len()).map(|k| map.get(&k.to_string()).and_then(json_name)).collect()
            }
            _ => Some(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect::<Vec<_>>()),
        };
        let bad = |problem: String| Error::input(path, problem);
        let names: Vec<String> =
            names.ok_or_else(|| bad("is JSON, but neither a list of names nor names by number".into()))?;
        if names.len() != model.outputs() {
            let (have, want) = (names.len(), model.outputs());
            bail!(bad(format!("has {have} names, the network {want} outputs; write a line for each output, in order")));
        }
        Ok(names)
    }

    /// The network for one picture, brought to its size; of a row of numbers it is taken to be a square.
    pub fn read(&self, size: Option<[usize; 2]>, say: &SayArgs) -> Result<ModelFile> {
        let file = self.load(size)?;
        let network = Network::new(file.model.input, &file.model.classes);
        let [height, width] =
            size.or(network.size([0, 0])).unwrap_or([file.model.input.height, file.model.input.width]);
        let shape = Shape::new(file.model.input.len() / (height * width).max(1), height, width);
        let file = file.over(&self.model, shape)?;
        say_notes(&self.model, &file.notes, say);
        Ok(file)
    }
}

/// A name in JSON: text, or a list of an identifier and a name, as in ImageNet's class index.
fn json_name(value: &serde_json::Value) -> Option<String> {
    let text = |v: &serde_json::Value| v.as_str().map(String::from);
    match value {
        serde_json::Value::Array(parts) => Some(parts.iter().map(text).collect::<Option<Vec<_>>>()?.join(", ")),
        other => text(other),
    }
}

impl ModelFile {
    /// The model over images of this shape, in [0,1].
    fn over(mut self, path: &Path, images: Shape) -> Result<ModelFile> {
        let bad = |problem: String| Error::input(path, problem);
        if self.model.input != images {
            self.model = self.model.over_images(images).map_err(bad)?;
        }
        if let Some(pixels) = &self.reading.pixels {
            self.model = self.model.over_pixels(pixels).map_err(|e| Error::input(path, e))?;
        }
        Ok(self)
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
    fn source(&self, network: Option<Network>) -> Source {
        let (classes, size, fit, seed) = (self.classes.clone(), self.size, self.fit, self.split_seed);
        Source { classes, size, fit, network, seed, ..Source::new(&self.data) }
    }

    /// Everything, for whoever has no network yet.
    pub fn load(&self, say: &SayArgs) -> Result<dataset::Splits> {
        let splits = dataset::load(&self.source(None))?;
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
    ) -> Result<(ModelFile, Dataset)> {
        self.load_named(args, &[], split, limit, say)
    }

    /// [`DataArgs::load_with`] with names of the outputs, if there are any, in place of those that a file gives.
    pub fn load_named(
        &self,
        args: &ModelArgs,
        names: &[String],
        split: Split,
        limit: Option<usize>,
        say: &SayArgs,
    ) -> Result<(ModelFile, Dataset)> {
        let open = onnx::takes_any_size(&args.model)?;
        let size = match (open, self.size) {
            (false, _) => None,
            (true, Some(size)) => Some(size),
            (true, None) => Some(dataset::natural_size(&self.source(None))?),
        };
        let mut file = args.load(size)?;
        if names.len() == file.model.outputs() {
            file.model.classes = names.to_vec();
        }
        let mut network = Network::new(file.model.input, &file.model.classes);
        network.outputs.clone_from(&file.outputs);
        let flat = network.is_flat();
        let splits = dataset::load(&self.source(Some(network)))?;
        let mut notes = splits.notes;
        let data = if split == Split::Train { splits.train } else { splits.test };
        let input = file.model.input;
        if data.shape != input && !(flat && data.shape.len() == input.len()) {
            bail!(Error::input(&self.data, misfit(data.shape, input, flat, self.size.is_some())));
        }
        if flat && data.shape.channels > 1 {
            notes.push("the network takes a row of numbers: it is given all of red, then green, then blue".into());
        }
        if data.is_empty() {
            bail!(Error::input(&self.data, format!("has no {split} images of the model's classes")));
        }
        let mut file = file.over(&args.model, data.shape)?;
        file.model.classes.clone_from(&data.classes);
        file.reading.size = self.size;
        file.reading.fit = (self.fit != Fit::default()).then(|| self.fit.name().into());
        say_notes(&args.model, &file.notes, say);
        say_notes(&self.data, &notes, say);
        let data = limit.map_or_else(|| data.clone(), |n| data.take(n));
        Ok((file, data))
    }
}

/// Why images do not fit a network, and what to do.
fn misfit(images: Shape, input: Shape, flat: bool, sized: bool) -> String {
    let (height, width) = (input.height, input.width);
    if flat {
        let n = input.len();
        return format!(
            "images are {images} but the model takes a row of {n} numbers; give --size WxH with {n} pixels"
        );
    }
    if ![1, 3].contains(&input.channels) {
        return format!(
            "the model takes {input}, but images have one channel or three; export one for grey or RGB images"
        );
    }
    let size = if height == width { height.to_string() } else { format!("{width}x{height}") };
    if sized {
        format!("--size makes images of {images} but the model takes {input}; leave it out, or give --size {size}")
    } else {
        format!("images are {images} but the model takes {input}; give --size {size}")
    }
}

/// The file's own network where [`DataArgs::load_with`] gave one with constants folded, for the same images.
///
/// # Errors
/// As [`onnx::read_unfolded`].
pub fn unfolded(args: &ModelArgs, reading: &Reading, images: Shape) -> Result<Model> {
    let path = &args.model;
    let bad = |problem: String| Error::input(path, problem);
    let size = onnx::takes_any_size(path)?.then_some([images.height, images.width]);
    let mut file = onnx::read_unfolded(path, &args.choice(size))?;
    if file.input != images {
        file = file.over_images(images).map_err(bad)?;
    }
    match &reading.pixels {
        Some(pixels) => Ok(file.over_pixels(pixels).map_err(bad)?),
        None => Ok(file),
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
