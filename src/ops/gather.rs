//! TODO
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
pub static KERNELS: &[&Kernel] = &[];
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn forward(device: &Device, x: &Buffer, index: &Buffer, y: &Buffer, lanes: usize, keep: bool) -> Result<()> {
    Err(Error::device("gather::forward is not built yet"))
}
