//! ONNX, the only model format: read and written.
//!
//! The reader turns each operator into layers over plain f32 weights, for a batch of one. What only moves data becomes
//! one `Gather` or disappears; what cannot be represented is refused by name. No content of a file makes it panic, loop
//! or allocate without bound.

mod activation;
mod affine;
mod build;
mod elementwise;
mod error;
mod external;
mod fold;
mod movement;
mod near;
mod op;
mod proto;
mod read;
mod scale;
mod size;
mod tensors;
mod window;
mod write;

pub use error::{OnnxError, OnnxResult};
pub use external::fingerprint;
pub use read::{Loaded, decode, decode_unfolded, load, read, read_noted, read_unfolded};
pub use write::{CLASSES, INPUT, OUTPUT, encode, is_own, write};

#[cfg(test)]
mod tests;
