//! TODO
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
pub static KERNELS: &[&Kernel] = &[];

/// Step size and decay rates of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    pub rate: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    /// Decoupled weight decay (Loshchilov & Hutter 2019): `param` shrinks by `rate * decay` per step.
    pub decay: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.0 }
    }
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn adam(
    device: &Device,
    grad: &Buffer,
    param: &Buffer,
    m: &Buffer,
    v: &Buffer,
    adam: &Adam,
    step: u32,
) -> Result<()> {
    Err(Error::device("optimizer::adam is not built yet"))
}
