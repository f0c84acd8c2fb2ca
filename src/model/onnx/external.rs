//! Values that an ONNX file keeps in other files: read where they may lie, and part of what a model is.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::error::{OnnxError, OnnxResult, quote};
use super::{proto, read, tensors};
use crate::error::{Error, Result};
use crate::input;

/// The value of `data_location` that means another file.
const EXTERNAL: i32 = 1;

/// Whether the values are in another file.
pub fn is_external(tensor: &proto::Tensor) -> bool {
    tensor.data_location == Some(EXTERNAL)
}

/// Most bytes that one model takes from other files: a few tensors may name one large file many times.
const MOST: usize = 1 << 32;

/// The other files of a model.
pub struct External<'a> {
    folder: Option<&'a Path>,
    left: usize,
}

impl<'a> External<'a> {
    /// Of a model in this folder.
    pub fn new(folder: Option<&'a Path>) -> External<'a> {
        External { folder, left: MOST }
    }

    /// The bytes of a tensor, of which its shape needs `expected`.
    pub fn bytes(&mut self, tensor: &proto::Tensor, expected: usize) -> std::result::Result<Vec<u8>, String> {
        let (mut file, shown) = open(tensor, expected, self.folder)?;
        self.left = self
            .left
            .checked_sub(expected)
            .ok_or_else(|| format!("the network has over {MOST} bytes of external data; export a smaller one"))?;
        let mut bytes = vec![0; expected];
        file.read_exact(&mut bytes).map_err(|e| unreadable(&shown, &e))?;
        Ok(bytes)
    }
}

/// Identity of a model: SHA-256 (hex) of the file's bytes as they are on disk, followed by every region of other files
/// that it refers to, in the order of its tensors (initialisers, then attributes of nodes, then of functions). Without such regions it is
/// the plain hash of the file; with one whole file of weights that of the two, one after the other.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Input`] if it is no ONNX model or its other files are not as it
/// says, as for [`super::load`].
pub fn fingerprint(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let bytes = input::read(path, u64::MAX)?;
    let mut sha = Sha256::new();
    sha.update(&bytes);
    drop(bytes);
    let bytes = read::bytes(path)?;
    let model = read::parse(&bytes).map_err(|e| Error::input(path, e.to_string()))?;
    let folder = read::folder(path);
    let mut tensors = Vec::new();
    model.graph.iter().for_each(|graph| tensors_of(graph, &mut tensors));
    model.functions.iter().for_each(|f| tensors_of_nodes(&f.node, &mut tensors));
    for tensor in tensors.into_iter().filter(|t| is_external(t)) {
        add(&mut sha, tensor, folder).map_err(|e| Error::input(path, e.to_string()))?;
    }
    Ok(input::hex(sha))
}

/// [`fingerprint`] of a file that lies in memory, and refers to no others.
pub fn fingerprint_of(content: &[u8]) -> String {
    input::hex(Sha256::new_with_prefix(content))
}

fn tensors_of<'a>(graph: &'a proto::Graph, found: &mut Vec<&'a proto::Tensor>) {
    found.extend(&graph.initializer);
    tensors_of_nodes(&graph.node, found);
}

fn tensors_of_nodes<'a>(nodes: &'a [proto::Node], found: &mut Vec<&'a proto::Tensor>) {
    for attribute in nodes.iter().flat_map(|n| &n.attribute) {
        found.extend(&attribute.t);
        attribute.g.iter().for_each(|graph| tensors_of(graph, found));
    }
}

fn add(sha: &mut Sha256, tensor: &proto::Tensor, folder: Option<&Path>) -> OnnxResult<()> {
    let fail = |problem: String| OnnxError::tensor(&tensor.name, problem);
    let mut left = tensors::Layout::of(tensor)?.bytes();
    let (mut file, shown) = open(tensor, left, folder).map_err(&fail)?;
    let mut chunk = vec![0; left.min(1 << 16)];
    while left > 0 {
        let part = &mut chunk[..left.min(1 << 16)];
        file.read_exact(part).map_err(|e| fail(unreadable(&shown, &e)))?;
        sha.update(&*part);
        left -= part.len();
    }
    Ok(())
}

fn unreadable(shown: &str, cause: &std::io::Error) -> String {
    format!("external data '{shown}' cannot be read: {cause}")
}

/// The other file at the place where the tensor's values start, and its name for messages. It lies inside the model's
/// folder, links followed, and holds `expected` bytes from there.
fn open(tensor: &proto::Tensor, expected: usize, folder: Option<&Path>) -> std::result::Result<(File, String), String> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let location = entry("location").ok_or("external data without a location; export the network again")?;
    let shown = quote(location);
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(v) => {
            let bad = |_| format!("external data '{shown}' with {key} '{}'; export the network again", quote(v));
            v.parse::<u64>().map(Some).map_err(bad)
        }
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length.filter(|&l| l != expected as u64) {
        return Err(format!("external data '{shown}' of {length} bytes, its shape needs {expected}"));
    }
    let outside = || format!("external data '{shown}' is outside the model's folder; put it there");
    let relative = Path::new(location);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let folder = folder.ok_or_else(|| format!("external data '{shown}' cannot be found without the model's folder"))?;
    let failed = |e: std::io::Error| unreadable(&shown, &e);
    let folder = folder.canonicalize().map_err(failed)?;
    let file = folder.join(relative).canonicalize().map_err(failed)?;
    if !file.starts_with(&folder) {
        return Err(outside());
    }
    let meta = file.metadata().map_err(failed)?;
    // Opening a pipe would wait for whoever writes into it.
    if !meta.is_file() {
        return Err(format!("external data '{shown}' is not a file; copy the whole model again"));
    }
    if offset.checked_add(expected as u64).is_none_or(|end| end > meta.len()) {
        return Err(format!("external data '{shown}' is too short; copy the whole model again"));
    }
    let mut file = File::open(file).map_err(failed)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    Ok((file, shown))
}
