//! How much noise an image classifier can take: measured, attacked and proved.
//!
//! The largest change of every pixel (delta, in units of pixels in `[0,1]`) under which an image provably keeps its class:
//!
//! ```
//! use deltamax::bounds::{Bounder, Method};
//! use deltamax::device::{Choice, Device};
//! use deltamax::model::onnx;
//! use deltamax::network::Network;
//! use deltamax::search::{Settings, Subject, search};
//!
//! # use deltamax::model::cnn::{Architecture, cnn};
//! # let folder = std::env::temp_dir().join(format!("deltamax-doctest-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("model.onnx");
//! # let classes = ["boot", "shoe"].map(String::from);
//! # let shape = deltamax::tensor::Shape::new(1, 8, 8);
//! # onnx::write(&cnn(shape, &classes, &Architecture::strided(&[4], 8), 1)?, &path)?;
//! // A network, on a GPU if there is one (here: on the CPU), and an image as [channel][row][column].
//! let model = onnx::read(&path)?;
//! let device = Device::open(&Choice::Cpu)?;
//! let net = Network::new(&device, &model)?;
//! let image: Vec<f32> = (0..model.input.len()).map(|k| k as f32 / 64.0).collect();
//!
//! // Linear bounds by CROWN, and the largest radius that they prove.
//! let bounder = Bounder::new(&net, Method::Crown)?;
//! let subjects = Subject::classify(&net, &[&image])?;
//! search(&bounder, &Settings::new(&bounder), subjects, |_, found| {
//!     println!("no pixel change up to {} changes the class", found.proved);
//!     assert!(found.proved > 0.0 && found.proved < 1.0);
//!     Ok(())
//! })?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From the bottom up: [`model`] is a network as plain data, read from ONNX by [`model::onnx`]; [`device`] runs kernels, on a
//! GPU through wgpu or on the built-in CPU backend; [`network`] is a model on a device; [`bounds`] are sound bounds of its
//! outputs over a ball of images; [`search`] turns them into the largest proved radius, [`attack`] looks for the smallest
//! that breaks, [`close`] narrows the bracket by branch and bound; [`certify`] does all of it for a data set, [`verify`]
//! answers properties in VNN-LIB, [`audit`] proves radii again by code that shares nothing with the bounds.
//!
//! What a proved radius promises is in the README; how rounding, flushing and folding are accounted for, and where each
//! thing lives, in `ARCHITECTURE.md`.
//!
//! # Features
//!
//! All are on by default; a program that embeds the library needs none of them (`default-features = false`).
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` | the program `deltamax`, and progress as a bar; takes the other two with it |
//! | `report` | `report`: results as a page, SVG, PNG, CSV and JSON |
//! | `study` | `study`, the case study, and `dataset::shoes`, the photos that it draws |

#![warn(missing_docs)]

// Networks of tests (`tests/common/nets.rs`) name the crate as programs do, also where unit tests take them.
#[cfg(test)]
extern crate self as deltamax;

pub mod attack;
pub mod audit;
pub mod bounds;
pub mod certify;
pub mod close;
pub mod dataset;
pub mod device;
pub mod error;
pub mod explain;
pub mod interrupt;
pub mod model;
pub mod network;
pub mod noise;
pub mod norm;
pub mod progress;
pub mod reading;
pub mod relevance;
#[cfg(feature = "report")]
pub mod report;
pub mod results;
pub mod search;
pub mod shard;
pub mod spec;
#[cfg(feature = "study")]
pub mod study;
pub mod sweep;
pub mod tensor;
pub mod train;
pub mod vary;
pub mod verify;

// No part of the library: the program, benchmarks and the tests of kernels reach these from outside.
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod ops;
#[doc(hidden)]
pub mod rng;

mod input;
#[cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "files named on the command line"))]
mod output;
mod rounding;
mod simd;
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only a program has a standard output"))]
mod terminal;
