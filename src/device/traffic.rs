//! What passes between host and device, counted: how much of a run is waiting can be judged where no GPU is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Totals since a device was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Traffic {
    /// Bytes written by the host into buffers, parameters of kernels apart.
    pub uploaded: u64,
    /// Bytes read back.
    pub downloaded: u64,
    /// How often the host waited for the device, and how long.
    pub waits: u64,
    /// Seconds of those waits.
    pub waited_seconds: f64,
    /// Batches of commands sent; none where kernels run at once.
    pub submissions: u64,
    /// Kernels started.
    pub dispatches: u64,
    /// Bytes of the buffers they were given: what kernels read and write that touch every word once.
    #[serde(default)]
    pub bound: u64,
}

impl Traffic {
    /// What came after `before`.
    pub fn since(&self, before: &Traffic) -> Traffic {
        Traffic {
            uploaded: self.uploaded - before.uploaded,
            downloaded: self.downloaded - before.downloaded,
            waits: self.waits - before.waits,
            waited_seconds: self.waited_seconds - before.waited_seconds,
            submissions: self.submissions - before.submissions,
            dispatches: self.dispatches - before.dispatches,
            bound: self.bound - before.bound,
        }
    }
}

#[derive(Default)]
pub(super) struct Counters {
    uploaded: AtomicU64,
    downloaded: AtomicU64,
    waits: AtomicU64,
    waited_nanoseconds: AtomicU64,
    submissions: AtomicU64,
    dispatches: AtomicU64,
    bound: AtomicU64,
}

impl Counters {
    pub fn uploaded(&self, bytes: usize) {
        self.uploaded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn downloaded(&self, bytes: usize) {
        self.downloaded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn submitted(&self) {
        self.submissions.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a kernel with buffers of so many words.
    pub fn dispatched(&self, words: usize) {
        self.dispatches.fetch_add(1, Ordering::Relaxed);
        self.bound.fetch_add(4 * words as u64, Ordering::Relaxed);
    }

    /// Counts a wait and its time.
    pub fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = wait();
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.waited_nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    pub fn totals(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            uploaded: of(&self.uploaded),
            downloaded: of(&self.downloaded),
            waits: of(&self.waits),
            waited_seconds: of(&self.waited_nanoseconds) as f64 / 1e9,
            submissions: of(&self.submissions),
            dispatches: of(&self.dispatches),
            bound: of(&self.bound),
        }
    }
}
