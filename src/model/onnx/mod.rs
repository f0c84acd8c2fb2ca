//! ONNX, the only model format: read and written.
//!
//! The reader turns each operator into layers over plain f32 weights, for a batch of one. What only moves data becomes
//! one `Gather` or disappears; what cannot be represented is refused by name. No content of a file makes it panic, loop
//! or allocate without bound.

mod activation;
mod affine;
mod build;
mod copies;
mod elementwise;
mod error;
mod external;
mod extremes;
mod fold;
mod graph;
mod head;
mod inline;
mod logic;
mod movement;
mod moves;
pub(super) mod near;
mod op;
mod operator;
mod pad;
mod proto;
mod read;
mod reduce;
mod resize;
mod scale;
mod size;
mod tensors;
mod transposed;
mod window;
mod write;

pub use error::{OnnxError, OnnxResult};
pub use external::{fingerprint, fingerprint_of};
pub use read::{
    Choice, Loaded, any_size, decode, decode_as, decode_unfolded, load, load_as, read, read_noted, read_unfolded,
    scores, scores_of, takes_any_size,
};
pub use write::{CLASSES, INPUT, OUTPUT, encode, is_own, write};

#[cfg(test)]
mod tests;
