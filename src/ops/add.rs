//! TODO
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
pub static KERNELS: &[&Kernel] = &[];
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn forward(device: &Device, a: &Buffer, b: &Buffer, y: &Buffer) -> Result<()> {
    Err(Error::device("add::forward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn accumulate(device: &Device, x: &Buffer, y: &Buffer) -> Result<()> {
    Err(Error::device("add::accumulate is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    ac: &Buffer,
    ar: &Buffer,
    bc: &Buffer,
    br: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    inflate: f32,
) -> Result<()> {
    Err(Error::device("add::interval is not built yet"))
}
