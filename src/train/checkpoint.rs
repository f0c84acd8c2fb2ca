//! A training kept in a file after every epoch, so that the same training goes on from there: to the bit, on the CPU.
//!
//! The file: a line that names its kind, a line of JSON that says what it was made of and what came of its epochs, and the
//! numbers of the device as f32, least byte first.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::state::State;
use super::{Images, Settings};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::output::{Place, STANDARD, Target, is_standard_output, place};
use crate::results::Epoch;

const KIND: &[u8] = b"deltamax checkpoint\n";

/// No network that can be trained has more numbers.
const LONGEST: u64 = 1 << 36;

/// Where a training is kept.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    target: Target,
}

/// The line of JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Settings, data and version, by name.
    made: Value,
    history: Vec<Epoch>,
    /// The epoch that did best on images held out, and what was lost there.
    best: Option<(usize, f64)>,
    /// SHA-256 of the numbers, in hex.
    hash: String,
}

impl Checkpoint {
    /// Settled before hours are spent on what goes into it. What is kept there already is gone on with if `resume`.
    ///
    /// # Errors
    /// If something else stands there, a training that is not to be resumed, or nothing can be written there.
    pub fn open(path: &Path, resume: bool) -> Result<Checkpoint> {
        let other = |what: &str| Err(Error::input(path, format!("{what}; give another --checkpoint")));
        if path == Path::new(STANDARD) || is_standard_output(path) {
            return other("standard output cannot be read again");
        }
        match place(path)? {
            Place::Folder(_) => return other("is a folder"),
            Place::Stream => return other("is a pipe or a device"),
            Place::File(_) => {
                let mut start = Vec::new();
                let file = crate::input::open(path)?;
                file.take(KIND.len() as u64).read_to_end(&mut start).map_err(Error::io(path, "reading"))?;
                if !start.is_empty() && start != KIND {
                    return other("is there already and is no checkpoint");
                }
                if !start.is_empty() && !resume {
                    return Err(Error::input(
                        path,
                        "exists already; add --resume to continue it, or give another --checkpoint",
                    ));
                }
            }
            Place::Free(_) => {}
        }
        Ok(Checkpoint { path: path.into(), target: Target::choose(path, |_| true, true)? })
    }

    /// For the training of these images by these settings.
    pub(super) fn of(&self, images: &Images, settings: &Settings) -> Kept<'_> {
        // By way of text, numbers of 32 bits look as people write them.
        let text = serde_json::to_string(settings).expect("plain values");
        let mut made: Value = serde_json::from_str(&text).expect("JSON of our own");
        made["version"] = env!("CARGO_PKG_VERSION").into();
        made["training images"] = images.train.hash().into();
        made["images held out"] = images.validation.map(Dataset::hash).into();
        made["test images"] = images.test.hash().into();
        Kept { at: self, made }
    }
}

/// One training and where it is kept.
pub(super) struct Kept<'a> {
    at: &'a Checkpoint,
    /// What it is made of, by name.
    made: Value,
}

impl Kept<'_> {
    /// Puts the state to where the file left it, if there is a file.
    ///
    /// # Errors
    /// If it is of another training, or damaged.
    pub fn restore(&self, state: &mut State) -> Result<()> {
        let path = &self.at.path;
        if !path.try_exists().map_err(Error::io(path, "reading"))? {
            return Ok(());
        }
        let damaged =
            || Error::input(path, "is no checkpoint, or a damaged one; remove it, or give another --checkpoint");
        let bytes = crate::input::read(path, LONGEST)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let rest = bytes.strip_prefix(KIND).ok_or_else(damaged)?;
        let end = rest.iter().position(|&b| b == b'\n').ok_or_else(damaged)?;
        let (line, numbers) = (&rest[..end], &rest[end + 1..]);
        let head: Head = serde_json::from_slice(line).map_err(|_| damaged())?;
        if let Some(what) = difference("", &head.made, &self.made) {
            let remedy = "give the same again, or another --checkpoint";
            return Err(Error::input(path, format!("is of another training ({what}); {remedy}")));
        }
        if head.hash != crate::input::hex(Sha256::new_with_prefix(numbers)) || numbers.len() % 4 != 0 {
            return Err(damaged());
        }
        let numbers: Vec<f32> = numbers.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if state.restore(head.history, head.best, &numbers)? { Ok(()) } else { Err(damaged()) }
    }

    pub fn write(&self, state: &State) -> Result<()> {
        let numbers: Vec<u8> = state.numbers()?.iter().flat_map(|x| x.to_le_bytes()).collect();
        let head = Head {
            made: self.made.clone(),
            history: state.history.clone(),
            best: state.best.as_ref().map(|b| (b.epoch, b.loss)),
            hash: crate::input::hex(Sha256::new_with_prefix(&numbers)),
        };
        let line = serde_json::to_vec(&head).map_err(|e| Error::failed(e.to_string()))?;
        self.at.target.write(&[KIND, &line, b"\n", &numbers].concat())
    }
}

/// The first thing in which two trainings differ, in words.
fn difference(name: &str, kept: &Value, own: &Value) -> Option<String> {
    if let (Value::Object(kept), Value::Object(own)) = (kept, own) {
        let names = own.keys().chain(kept.keys());
        let missing = Value::Null;
        return names
            .into_iter()
            .find_map(|name| difference(name, kept.get(name).unwrap_or(&missing), own.get(name).unwrap_or(&missing)));
    }
    let short = |v: &Value| if v.is_null() { "none".to_string() } else { v.to_string() };
    match name {
        _ if kept == own => None,
        "training images" | "images held out" | "test images" => Some(format!("{name} differ")),
        _ => Some(format!("{name} {} there, {} here", short(kept), short(own))),
    }
}
