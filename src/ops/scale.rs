//! TODO
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
pub static KERNELS: &[&Kernel] = &[];
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn forward(device: &Device, x: &Buffer, scale: &Buffer, shift: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    Err(Error::device("scale::forward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn backward(device: &Device, gy: &Buffer, scale: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    Err(Error::device("scale::backward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    xc: &Buffer,
    xr: &Buffer,
    scale: &Buffer,
    shift: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
) -> Result<()> {
    Err(Error::device("scale::interval is not built yet"))
}
