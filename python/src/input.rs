//! What Python hands over: models, images and choices by name.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use deltamax::bounds::{Method, Runtime};
use deltamax::dataset::Dataset;
use deltamax::device::{Choice, Device};
use deltamax::error::Error;
use deltamax::network::Network;
use deltamax::norm::Norm;
use deltamax::reading::{NetworkFile, NetworkSource};
use deltamax::tensor::Shape;
use numpy::{PyReadonlyArray1, PyReadonlyArray4, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::call::{misuse, without_dashes};

/// The path of a file, or what stands in it.
#[derive(FromPyObject)]
pub enum Content {
    Bytes(PyBackedBytes),
    Path(PathBuf),
}

/// A model as `deltamax/_arrays.py` hands it over: its file, output, input range, mean and deviation.
#[derive(FromPyObject)]
pub struct Source(Content, Option<String>, Option<[f64; 2]>, Vec<f64>, Vec<f64>);

impl Source {
    /// As the library reads it; a file that lies in memory is called `model`.
    pub fn network(self) -> NetworkSource {
        let Source(content, output, input_range, mean, std) = self;
        let (path, content) = match content {
            Content::Bytes(bytes) => (PathBuf::from("model"), Some(Arc::from(&bytes[..]))),
            Content::Path(path) => (path, None),
        };
        NetworkSource { path, content, output, input_range, mean, std, classes_file: None }
    }
}

/// A model on its device, with what its user should know of it, a line each.
pub struct Placed {
    pub net: Network,
    pub notes: Vec<String>,
}

impl Placed {
    /// Reads a model for images of this shape, or for those that are brought to its own, before a device is opened.
    pub fn new(source: &NetworkSource, device: &Choice, images: Option<Shape>) -> Result<Placed> {
        let file = match images {
            Some(images) => source.read_for(images),
            None => source.read(None),
        };
        let NetworkFile { model, notes, .. } = file.context("cannot use the model")?;
        let notes = notes_on(source, &notes);
        Ok(Placed { net: Network::new(&Device::open(device)?, &model)?, notes })
    }

    /// Images with the classes of this model, and their labels, of which there are none or one per image.
    pub fn data(&self, images: Images, labels: Option<Vec<i64>>) -> Result<Dataset> {
        let (classes, shape) = (self.net.model.classes.clone(), images.shape);
        let count = images.pixels.len() / shape.len();
        let labels = match labels {
            None => vec![0; count],
            Some(labels) if labels.len() == count => labels
                .iter()
                .enumerate()
                .map(|(i, &label)| usize::try_from(label).ok().filter(|l| *l < classes.len()).ok_or((i, label)))
                .collect::<std::result::Result<_, _>>()
                .map_err(|(i, label)| {
                    let last = classes.len() - 1;
                    Error::usage(format!("labels[{i}] is {label}; the model's classes are 0 to {last}"))
                })?,
            Some(labels) => {
                return Err(Error::usage(format!("{} labels for {count} images", labels.len())).into());
            }
        };
        let names = (0..count).map(|i| i.to_string()).collect();
        Ok(Dataset { shape, classes, names, labels, pixels: images.pixels.into() })
    }
}

/// What the user of a model should know about it, by the names of arguments.
pub fn notes_on(source: &NetworkSource, notes: &[String]) -> Vec<String> {
    notes.iter().map(|note| without_dashes(&format!("{}: {note}", source.path.display()))).collect()
}

/// Images as models take them.
pub struct Images {
    pub shape: Shape,
    /// `[image][channel][row][column]`, in [0,1].
    pub pixels: Vec<f32>,
}

/// Pixels in the order of memory, as `deltamax/_arrays.py` hands them over.
#[derive(FromPyObject)]
pub enum Pixels<'py> {
    Bytes(PyReadonlyArray4<'py, u8>),
    Floats(PyReadonlyArray4<'py, f32>),
}

impl Pixels<'_> {
    /// Copies them, bytes divided by 255 as readers of image files do.
    ///
    /// # Errors
    /// `ValueError` that names the first pixel which is no number of [0,1].
    pub fn images(&self) -> PyResult<Images> {
        let (dims, pixels) = match self {
            Pixels::Bytes(array) => {
                (array.shape(), array.as_slice()?.iter().map(|&v| f32::from(v) / 255.0).collect::<Vec<f32>>())
            }
            Pixels::Floats(array) => (array.shape(), array.as_slice()?.to_vec()),
        };
        let &[count, channels, height, width] = dims else { return Err(misuse("images are [n, c, h, w]")) };
        let shape = Shape::new(channels, height, width);
        if count == 0 || shape.is_empty() {
            return Err(misuse(format!("images of shape {dims:?} hold no pixels")));
        }
        if let Some(at) = pixels.iter().position(|x| !(0.0..=1.0).contains(x)) {
            let (image, at) = (at / shape.len(), at % shape.len());
            let (channel, row, column) = (at / (height * width), at / width % height, at % width);
            return Err(misuse(format!(
                "images[{image}, {channel}, {row}, {column}] is {}; pixels lie in [0,1], or are bytes (uint8) up to 255",
                pixels[image * shape.len() + at]
            )));
        }
        Ok(Images { shape, pixels })
    }
}

/// Class numbers, as `deltamax/_arrays.py` hands them over.
pub fn labels(labels: Option<PyReadonlyArray1<'_, i64>>) -> PyResult<Option<Vec<i64>>> {
    Ok(labels.map(|labels| labels.as_slice().map(<[i64]>::to_vec)).transpose()?)
}

/// One of several choices by the name that it has on the command line.
fn choice<T: Copy>(argument: &str, asked: &str, all: &[T], name: fn(T) -> &'static str) -> PyResult<T> {
    all.iter().copied().find(|&one| name(one) == asked).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&one| name(one)).collect();
        misuse(format!("{argument} is '{asked}'; it is one of {}", names.join(", ")))
    })
}

pub fn method(name: &str) -> PyResult<Method> {
    choice("method", name, &Method::ALL, Method::name)
}

pub fn runtime(name: &str) -> PyResult<Runtime> {
    choice("runtime", name, &Runtime::ALL, Runtime::name)
}

pub fn norm(name: &str) -> PyResult<Norm> {
    choice("norm", name, &Norm::ALL, Norm::name)
}

pub fn device(name: &str) -> PyResult<Choice> {
    name.parse().map_err(|problem| misuse(format!("device is '{name}': {problem}")))
}
