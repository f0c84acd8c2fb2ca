//! ONNX, the only model format: read and written.

mod proto;
mod write;

pub use write::{CLASSES, INPUT, OUTPUT, encode, write};
