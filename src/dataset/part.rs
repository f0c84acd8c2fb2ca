//! The images that a model is asked about: one part of a data set, in the order of the model's classes.

use std::str::FromStr;

use super::{Dataset, Source, load};
use crate::error::{Error, Result};
use crate::model::Model;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Images that models are trained on.
    Train,
    /// Images held back.
    Test,
}

impl Split {
    /// Both parts.
    pub const ALL: [Split; 2] = [Split::Train, Split::Test];

    /// Its name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Split, String> {
        Split::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| format!("knows no split '{name}'"))
    }
}

/// The first `limit` images of one part of the data, labelled in the order of the model's classes; images of other classes
/// are left out.
///
/// # Errors
/// As [`load`]; and if the images have another shape than the model takes, if their classes are not the model's, or if no
/// image is left.
pub fn load_for(source: &Source, model: &Model, split: Split, limit: Option<usize>) -> Result<Dataset> {
    let splits = load(source)?;
    let mut data = match split {
        Split::Train => splits.train,
        Split::Test => splits.test,
    };
    if data.shape != model.input {
        let hint = "give --size, or train a model on this data";
        let problem = format!("images are {} but the model takes {}; {hint}", data.shape, model.input);
        return Err(Error::input(&source.path, problem));
    }
    let known = data.in_class_order(&model.classes);
    if data.classes.len() != model.outputs() {
        let hint = "choose the model's classes with --classes";
        let (have, want) = (data.classes.len(), model.outputs());
        return Err(Error::input(&source.path, format!("has {have} classes but the model knows {want}; {hint}")));
    }
    if source.classes.is_empty() && !known {
        let hint = format!("to take them in this order, give --classes {}", data.classes.join(","));
        let (have, want) = (data.classes.join(", "), model.classes.join(", "));
        return Err(Error::input(&source.path, format!("has the classes {have} but the model knows {want}; {hint}")));
    }
    if data.is_empty() {
        return Err(Error::input(&source.path, format!("has no {split} images of the model's classes")));
    }
    Ok(match limit {
        Some(n) => data.take(n),
        None => data,
    })
}
