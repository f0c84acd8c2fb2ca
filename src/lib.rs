//! deltamax: how much noise an image classifier can take: measured, attacked and proved.
//!
//! See `ARCHITECTURE.md` for the map and the invariants.

pub mod attack;
pub mod audit;
pub mod bench;
pub mod bounds;
pub mod certify;
pub mod cli;
pub mod close;
pub mod dataset;
pub mod device;
pub mod error;
pub mod explain;
pub mod input;
pub mod interrupt;
pub mod kernel;
pub mod model;
pub mod network;
pub mod ops;
pub mod output;
pub mod progress;
pub mod relevance;
pub mod report;
pub mod results;
pub mod rng;
pub mod rounding;
pub mod search;
pub mod simd;
pub mod spec;
pub mod study;
pub mod sweep;
pub mod tensor;
pub mod terminal;
pub mod train;
pub mod verify;
