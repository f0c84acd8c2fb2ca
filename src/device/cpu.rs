//! The CPU backend: buffers in memory, kernels are their twins.

use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Buffer;
use crate::error::{Error, Result};
use crate::kernel::{Call, Kernel};

/// One cache line, so that every vector load of a twin is aligned.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

type Memory = Vec<Line>;

/// Freed buffers by size in lines; allocation would otherwise cost page faults on every pass.
type Pool = Arc<Mutex<std::collections::BTreeMap<usize, Vec<Memory>>>>;

pub(super) struct Cpu {
    pool: Pool,
}

pub(super) struct Storage {
    memory: RwLock<Memory>,
    pool: Pool,
}

pub(super) struct ReadGuard<'a>(RwLockReadGuard<'a, Memory>);
pub(super) struct WriteGuard<'a>(RwLockWriteGuard<'a, Memory>);

impl std::ops::Deref for ReadGuard<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl std::ops::Deref for WriteGuard<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }
}

impl std::ops::DerefMut for WriteGuard<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Storage {
    pub(super) fn read(&self) -> ReadGuard<'_> {
        ReadGuard(self.memory.read().expect("a kernel panicked"))
    }

    pub(super) fn write(&self) -> WriteGuard<'_> {
        WriteGuard(self.memory.write().expect("a kernel panicked"))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let Ok(memory) = self.memory.get_mut() else { return };
        let memory = std::mem::take(memory);
        if let Ok(mut pool) = self.pool.lock() {
            let held = pool.entry(memory.len()).or_default();
            if held.len() < 8 {
                held.push(memory);
            }
        }
    }
}

impl Cpu {
    pub(super) fn new() -> Self {
        Cpu { pool: Pool::default() }
    }

    pub(super) fn describe(&self) -> String {
        format!("built-in CPU backend, {} threads, {}", rayon::current_num_threads(), crate::simd::describe())
    }

    pub(super) fn alloc(&self, len: usize) -> Storage {
        let lines = len.div_ceil(16).max(1);
        let pooled = self.pool.lock().ok().and_then(|mut p| p.get_mut(&lines)?.pop());
        let memory = pooled.unwrap_or_else(|| vec![Line([0.0; 16]); lines]);
        Storage { memory: RwLock::new(memory), pool: self.pool.clone() }
    }

    pub(super) fn run(&self, kernel: &Kernel, params: &[u8], reads: &[&Buffer], writes: &[&Buffer]) -> Result<()> {
        let foreign = || Error::device("a buffer of another device was passed");
        let twice = || Error::device(format!("{}: one buffer is bound twice", kernel.name));
        let storage = |b: &&Buffer| match &b.storage {
            super::Storage::Cpu(s) => Ok(std::ptr::from_ref(s)),
            super::Storage::Gpu(_) => Err(foreign()),
        };
        for (i, b) in writes.iter().enumerate() {
            let p = storage(b)?;
            let clash = |o: &&Buffer| storage(o).is_ok_and(|q| q == p);
            if reads.iter().any(clash) || writes[..i].iter().any(clash) {
                return Err(twice());
            }
        }
        let mut read_guards = Vec::with_capacity(reads.len());
        for b in reads {
            let super::Storage::Cpu(s) = &b.storage else { return Err(foreign()) };
            read_guards.push((s.read(), b.len));
        }
        let mut write_guards = Vec::with_capacity(writes.len());
        for b in writes {
            let super::Storage::Cpu(s) = &b.storage else { return Err(foreign()) };
            write_guards.push((s.write(), b.len));
        }
        let reads = read_guards.iter().map(|(g, n)| &g[..*n]).collect();
        let writes = write_guards.iter_mut().map(|(g, n)| &mut g[..*n]).collect();
        (kernel.twin)(Call::new(params, reads, writes));
        Ok(())
    }
}
