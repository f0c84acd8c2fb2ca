//! The GPU backend through wgpu; the only file that names it.

use super::{Adapter, Buffer};
use crate::error::{Error, Result};
use crate::kernel::Kernel;

pub(super) struct Gpu;
pub(super) struct Storage;

pub(super) fn adapters() -> Vec<Adapter> {
    Vec::new()
}

impl Gpu {
    pub(super) fn open(_index: usize) -> Result<Gpu> {
        Err(Error::device("no GPU adapter found; install a Vulkan driver or use --device cpu"))
    }
    pub(super) fn describe(&self) -> String {
        String::new()
    }
    pub(super) fn max_buffer(&self) -> usize {
        0
    }
    pub(super) fn alloc(&self, _len: usize) -> Result<Storage> {
        Err(Error::device("no GPU"))
    }
    pub(super) fn clear(&self, _s: &Storage) -> Result<()> {
        Ok(())
    }
    pub(super) fn write(&self, _s: &Storage, _data: &[u8]) -> Result<()> {
        Ok(())
    }
    pub(super) fn read(&self, _s: &Storage, _out: &mut [u8]) -> Result<()> {
        Ok(())
    }
    pub(super) fn sync(&self) -> Result<()> {
        Ok(())
    }
    pub(super) fn run(
        &self,
        _k: &'static Kernel,
        _p: &[u8],
        _r: &[&Buffer],
        _w: &[&Buffer],
        _g: [u32; 3],
    ) -> Result<()> {
        Ok(())
    }
}
