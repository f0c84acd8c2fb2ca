//! A network and images, read so that they fit each other: what their files leave open is chosen here, and remembered in a
//! [`Reading`], so that whoever comes back to the results reads the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dataset::{self, Dataset, Fit, Network, Source, Split};
use crate::error::{Error, Result};
use crate::input;
use crate::model::pixels::Pixels;
use crate::model::{Model, onnx};
use crate::tensor::Shape;

/// How a model and images were read, where their files leave a choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// The output of the model, if it was named.
    pub output: Option<String>,
    /// What pixels became, unless they were given as they are.
    pub pixels: Option<Pixels>,
    /// Names of the outputs, if a file gave them.
    pub names: Vec<String>,
    /// Height and width that were asked for.
    pub size: Option<[usize; 2]>,
    /// How images of another aspect were brought to it, unless padded.
    pub fit: Option<String>,
}

/// Which network, and what it takes and gives.
#[derive(Clone, Debug, Default)]
pub struct NetworkSource {
    /// ONNX file, or what errors call one that lies in memory.
    pub path: PathBuf,
    /// What stands in the file, where it lies in memory.
    pub content: Option<Arc<[u8]>>,
    /// Output with the scores of the classes, where the network has several.
    pub output: Option<String>,
    /// What the network's pixels are between black and white, before mean and deviation.
    pub input_range: Option<[f64; 2]>,
    /// Mean that is taken off before the network, one number or one per channel.
    pub mean: Vec<f64>,
    /// Deviation that is divided by before the network, one number or one per channel.
    pub std: Vec<f64>,
    /// File with the names of the network's outputs: a line each, or JSON.
    pub classes_file: Option<PathBuf>,
}

/// A model as its file has it, over pixels in `[0,1]`.
pub struct NetworkFile {
    /// The network, over channels, rows, columns.
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

/// A network and the images it is asked about.
pub struct Together {
    /// The network, for images of this shape, with the classes of the images.
    pub file: NetworkFile,
    /// The images.
    pub data: Dataset,
    /// What their user should know about the images, a line each.
    pub notes: Vec<String>,
    /// How many of how many images are in this part of the data, where a seed chose it.
    pub drawn: Option<[usize; 2]>,
}

impl NetworkSource {
    /// How the file is read for images of this size, where it takes any.
    fn choice(&self, size: Option<[usize; 2]>) -> onnx::Choice {
        onnx::Choice { output: self.output.clone(), size, classifier: true }
    }

    fn load_as(&self, choice: &onnx::Choice) -> Result<onnx::Loaded> {
        match &self.content {
            Some(content) => {
                onnx::decode_as(content, None, choice).map_err(|e| Error::input(&self.path, e.to_string()))
            }
            None => onnx::load_as(&self.path, choice),
        }
    }

    fn fingerprint(&self) -> Result<String> {
        match &self.content {
            Some(content) => Ok(onnx::fingerprint_of(content)),
            None => onnx::fingerprint(&self.path),
        }
    }

    /// Whether images may have any height and width.
    fn takes_any_size(&self) -> Result<bool> {
        match &self.content {
            Some(content) => onnx::any_size(content).map_err(|e| Error::input(&self.path, e.to_string())),
            None => onnx::takes_any_size(&self.path),
        }
    }

    /// The output that is the only one of as many scores as the images have classes, where none is named and several can be
    /// scores.
    fn scores(&self, source: &Source) -> Result<Option<String>> {
        if self.output.is_some() || !source.classes.is_empty() {
            return Ok(None);
        }
        let outputs = match &self.content {
            Some(content) => onnx::scores_of(content).map_err(|e| Error::input(&self.path, e.to_string()))?,
            None => onnx::scores(&self.path)?,
        };
        if outputs.len() < 2 {
            return Ok(None);
        }
        let classes = dataset::class_count(source)?;
        let mut fitting = outputs.into_iter().filter(|(_, n)| *n == Some(classes)).map(|(name, _)| name);
        Ok(fitting.next().filter(|_| fitting.next().is_none()))
    }

    /// Reads the file as properties mean it: the values of its own outputs over its own inputs, in their flat order.
    ///
    /// # Errors
    /// As [`onnx::load`].
    pub fn as_written(&self) -> Result<onnx::Loaded> {
        self.load_as(&onnx::Choice::default())
    }

    /// Reads the file: the network alone, whatever pixels it takes.
    fn load(&self, size: Option<[usize; 2]>) -> Result<NetworkFile> {
        let path = &self.path;
        let hash = self.fingerprint()?;
        let loaded = self.load_as(&self.choice(size))?;
        if self.fingerprint()? != hash {
            return Err(Error::input(path, "was changed while it was read; run again"));
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
        let [low, high] = pixels.range;
        if let Some(mean) = pixels.mean.iter().find(|m| **m < low || **m > high) {
            notes.push(format!("--mean {mean} is no pixel between {low} and {high}: is --input-range 0..255 missing?"));
        }
        let pixels = (!pixels.is_plain()).then_some(pixels);
        let reading = Reading { output: self.output.clone(), pixels, names, ..Reading::default() };
        Ok(NetworkFile { model, notes, hash, reading, outputs })
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
            return Err(bad(format!(
                "has {have} names, the network {want} outputs; write a line for each output, in order"
            )));
        }
        Ok(names)
    }

    /// The network for one picture, brought to its size; of a row of numbers it is taken to be a square.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is no network of images, or not of this size.
    pub fn read(&self, size: Option<[usize; 2]>) -> Result<NetworkFile> {
        let file = self.load(size)?;
        let network = Network::new(file.model.input, &file.model.classes);
        let [height, width] =
            size.or(network.size([0, 0])).unwrap_or([file.model.input.height, file.model.input.width]);
        let shape = Shape::new(file.model.input.len() / (height * width).max(1), height, width);
        file.over(&self.path, shape)
    }

    /// The network for images that are at hand and stay as they are, all of this shape.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is no network of images, or of others.
    pub fn read_for(&self, images: Shape) -> Result<NetworkFile> {
        let size = self.takes_any_size()?.then_some([images.height, images.width]);
        let file = self.load(size)?;
        let input = file.model.input;
        if images != input && !(Network::new(input, &[]).is_flat() && images.len() == input.len()) {
            let problem = format!("images are {images} but the model takes {input} (channels x rows x columns)");
            return Err(Error::input(&self.path, problem));
        }
        file.over(&self.path, images)
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

impl NetworkFile {
    /// The model over images of this shape, in [0,1].
    fn over(mut self, path: &Path, images: Shape) -> Result<NetworkFile> {
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

/// The network and the first `limit` images of one part of the data, brought to what it takes. `names` are those of its
/// outputs, if there are any, in place of those that a file gives.
///
/// # Errors
/// As those of the readers; where images and network do not fit, with what to do.
pub fn together(
    network: &NetworkSource,
    source: &Source,
    names: &[String],
    split: Split,
    limit: Option<usize>,
) -> Result<Together> {
    let source = &Source { only: Some(split), ..source.clone() };
    let scores = network.scores(source)?;
    let network = &NetworkSource { output: network.output.clone().or(scores.clone()), ..network.clone() };
    let open = network.takes_any_size()?;
    let size = match (open, source.size) {
        (false, _) => None,
        (true, Some(size)) => Some(size),
        (true, None) => Some(dataset::natural_size(source)?),
    };
    let mut file = network.load(size)?;
    if names.len() == file.model.outputs() {
        file.model.classes = names.to_vec();
    }
    let mut taken = Network::new(file.model.input, &file.model.classes);
    taken.outputs.clone_from(&file.outputs);
    let flat = taken.is_flat();
    let splits = dataset::load(&Source { network: Some(taken), ..source.clone() })?;
    let mut notes = splits.notes;
    notes.extend(scores.map(|name| {
        format!("it has as many classes as the network's output {name}, which is read; --output NAME takes another")
    }));
    let data = if split == Split::Train { splits.train } else { splits.test };
    let drawn = splits.drawn_from.filter(|all| *all > data.len()).map(|all| [data.len(), all]);
    let input = file.model.input;
    if data.shape != input && !(flat && data.shape.len() == input.len()) {
        return Err(Error::input(&source.path, misfit(data.shape, input, flat, source.size.is_some())));
    }
    if flat && data.shape.channels > 1 {
        notes.push("the network takes a row of numbers: it is given all of red, then green, then blue".into());
    }
    if data.is_empty() {
        return Err(Error::input(&source.path, format!("has no {split} images of the model's classes")));
    }
    let mut file = file.over(&network.path, data.shape)?;
    file.model.classes.clone_from(&data.classes);
    file.reading.size = source.size;
    file.reading.fit = (source.fit != Fit::default()).then(|| source.fit.name().into());
    let data = match limit {
        Some(limit) if limit < data.len() => data.take(limit),
        Some(_) | None => data,
    };
    Ok(Together { file, data, notes, drawn })
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

/// The file's own network where [`together`] gave one with constants folded, for the same images.
///
/// # Errors
/// As [`onnx::read_unfolded`].
pub fn unfolded(network: &NetworkSource, reading: &Reading, images: Shape) -> Result<Model> {
    let path = &network.path;
    let bad = |problem: String| Error::input(path, problem);
    let size = onnx::takes_any_size(path)?.then_some([images.height, images.width]);
    let mut file = onnx::read_unfolded(path, &network.choice(size))?;
    if file.input != images {
        file = file.over_images(images).map_err(bad)?;
    }
    match &reading.pixels {
        Some(pixels) => Ok(file.over_pixels(pixels).map_err(bad)?),
        None => Ok(file),
    }
}
