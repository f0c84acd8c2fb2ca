//! What a device was told, in order, so that another one can be told the same: a browser, which this program cannot
//! drive itself (`tests/manual/webgpu.py`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Buffer;
use crate::kernel::Kernel;

/// One call to a device.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum Step {
    /// The first words of a buffer are overwritten.
    Write { buffer: usize, words: Vec<u32> },
    /// One dispatch; `buffers` are those read and then those written, as the kernel binds them.
    Dispatch { kernel: &'static Kernel, params: Vec<u8>, buffers: Vec<Taped>, groups: [u32; 3] },
    /// A buffer is read back.
    Read(Taped),
}

/// A buffer on the tape.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Taped {
    /// Counts the buffers in the order of their allocation.
    pub buffer: usize,
    /// In 4-byte words.
    pub len: usize,
}

#[derive(Default)]
pub(super) struct Tape {
    steps: Mutex<Vec<Step>>,
    buffers: AtomicUsize,
}

impl Tape {
    /// The number of a new buffer.
    pub(super) fn number(&self) -> usize {
        self.buffers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn write(&self, buffer: &Buffer, words: &[u32]) {
        self.push(Step::Write { buffer: buffer.number, words: words.to_vec() });
    }

    pub(super) fn dispatch(&self, kernel: &'static Kernel, params: &[u8], buffers: &[&Buffer], groups: [u32; 3]) {
        let buffers = buffers.iter().map(|b| taped(b)).collect();
        self.push(Step::Dispatch { kernel, params: params.to_vec(), buffers, groups });
    }

    pub(super) fn read(&self, buffer: &Buffer) {
        self.push(Step::Read(taped(buffer)));
    }

    fn push(&self, step: Step) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }
}

fn taped(buffer: &Buffer) -> Taped {
    Taped { buffer: buffer.number, len: buffer.len }
}
