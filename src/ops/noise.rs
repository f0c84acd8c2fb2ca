//! TODO
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
pub static KERNELS: &[&Kernel] = &[];

/// What noise to add: `y = x + sigma * N(0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    pub seed: u64,
    /// Which of several independent draws for the same image.
    pub draw: u32,
    pub sigma: f32,
    /// Clip the result to `[0, 1]`.
    pub clip: bool,
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn gaussian(
    device: &Device,
    x: &Buffer,
    ids: &Buffer,
    y: &Buffer,
    elements: usize,
    lanes: usize,
    noise: &Noise,
) -> Result<()> {
    Err(Error::device("noise::gaussian is not built yet"))
}
