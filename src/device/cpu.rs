//! The CPU backend: buffers in memory, kernels are their twins.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Buffer;
use super::pool::{Pool, size_class};
use crate::error::{Error, Result};
use crate::kernel::{Call, Kernel};

/// One cache line, so that every vector load of a twin is aligned.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// A block of the pool. Large ones, wherever the allocator puts them, start at different lines of a page: the same places
/// of two that began at the same line would share a set of a cache, which a kernel that reads both (centres and radii)
/// would keep overwriting.
#[derive(Default)]
struct Memory {
    lines: Vec<Line>,
    /// Lines that are skipped.
    skip: usize,
}

/// Lines of a page.
const PAGE: usize = 64;

pub(super) struct Cpu {
    pool: Arc<Pool<Memory>>,
    /// Words that may be in use at once.
    memory: usize,
    /// Blocks made so far.
    made: AtomicUsize,
}

impl Memory {
    /// `lines` cleared, the `number`-th block. Fresh pages come cleared, and only when they are touched.
    fn new(lines: usize, number: usize) -> Option<Memory> {
        let spare = if lines < 4 * PAGE { 0 } else { PAGE };
        let mut block: Vec<Line> = bytemuck::allocation::try_zeroed_slice_box(lines + spare).ok()?.into_vec();
        // A step prime to the page, far enough from its neighbours; two lines at a time, since caches fetch them in pairs.
        let wanted = number.wrapping_mul(2 * 13);
        let skip = if spare == 0 { 0 } else { wanted.wrapping_sub(block.as_ptr().addr() / size_of::<Line>()) % PAGE };
        block.truncate(skip + lines);
        Some(Memory { lines: block, skip })
    }

    fn len(&self) -> usize {
        self.lines.len() - self.skip
    }

    fn words(&self) -> &[f32] {
        bytemuck::cast_slice(&self.lines[self.skip..])
    }

    fn words_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.lines[self.skip..])
    }
}

pub(super) struct Storage {
    memory: RwLock<Memory>,
    pool: Arc<Pool<Memory>>,
}

pub(super) struct ReadGuard<'a>(RwLockReadGuard<'a, Memory>);
pub(super) struct WriteGuard<'a>(RwLockWriteGuard<'a, Memory>);

impl std::ops::Deref for ReadGuard<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        self.0.words()
    }
}

impl std::ops::Deref for WriteGuard<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        self.0.words()
    }
}

impl std::ops::DerefMut for WriteGuard<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.0.words_mut()
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
        let memory = std::mem::take(self.memory.get_mut().unwrap_or_else(|e| e.into_inner()));
        self.pool.give(memory.len() * 16, memory);
    }
}

impl Cpu {
    pub(super) fn new(memory: usize) -> Self {
        Cpu { pool: Arc::new(Pool::new(1, 1)), memory, made: AtomicUsize::new(0) }
    }

    pub(super) fn describe(&self) -> String {
        format!("built-in CPU backend, {} threads, {}", rayon::current_num_threads(), crate::simd::describe())
    }

    pub(super) fn alloc(&self, len: usize) -> Result<Storage> {
        let size = size_class(len);
        let full = || Error::Memory(format!("out of memory at a buffer of {} MiB", size.div_ceil(1 << 18)));
        if self.pool.in_use().saturating_add(size) > self.memory {
            return Err(full());
        }
        let number = || self.made.fetch_add(1, Ordering::Relaxed);
        let memory = self.pool.take(size, || Memory::new(size / 16, number()).ok_or_else(full))?;
        Ok(Storage { memory: RwLock::new(memory), pool: self.pool.clone() })
    }

    pub(super) fn run(&self, kernel: &Kernel, params: &[u8], reads: &[&Buffer], writes: &[&Buffer]) -> Result<()> {
        let foreign = || Error::device("a buffer of another device was passed");
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
