//! TODO
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::model::Pool;
use crate::tensor::Shape;
pub static KERNELS: &[&Kernel] = &[];

/// Window and shapes of one pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub input: Shape,
    pub output: Shape,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: [usize; 2],
    /// Average only: divide by the full window even where it hangs over the border.
    pub count_include_pad: bool,
}

impl Geometry {
    pub fn new(pool: &Pool, input: Shape, output: Shape) -> Self {
        Geometry {
            input,
            output,
            kernel: pool.kernel,
            stride: pool.stride,
            pad: pool.pad,
            count_include_pad: pool.count_include_pad,
        }
    }
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn max_forward(device: &Device, g: &Geometry, x: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    Err(Error::device("pool::max_forward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn max_backward(device: &Device, g: &Geometry, x: &Buffer, gy: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    Err(Error::device("pool::max_backward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn max_interval(
    device: &Device,
    g: &Geometry,
    xc: &Buffer,
    xr: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
) -> Result<()> {
    Err(Error::device("pool::max_interval is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn average_forward(device: &Device, g: &Geometry, x: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    Err(Error::device("pool::average_forward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn average_backward(device: &Device, g: &Geometry, gy: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    Err(Error::device("pool::average_backward is not built yet"))
}
#[allow(unused_variables, clippy::too_many_arguments)]
pub fn average_interval(
    device: &Device,
    g: &Geometry,
    xc: &Buffer,
    xr: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
) -> Result<()> {
    Err(Error::device("pool::average_interval is not built yet"))
}
