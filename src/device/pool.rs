//! Freed device memory, kept by size for the next allocation: fresh memory costs page faults or a clearing pass.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Blocks of memory of type `T` by size. Holds at most `spare` times as much as was ever in use at once.
pub(super) struct Pool<T> {
    shelves: Mutex<Shelves<T>>,
    /// A request may be served by a block up to this many times as large: 1 is its own size only.
    slack: usize,
    spare: usize,
}

struct Shelves<T> {
    /// Of a size those given back last stand last, each with its turn.
    by_size: BTreeMap<usize, VecDeque<(u64, T)>>,
    turn: u64,
    held: usize,
    in_use: usize,
    peak: usize,
}

/// Size in words that serves a request of `len` words: at most an eighth larger, so that requests of nearly the same
/// size share blocks, and always whole cache lines.
pub(super) fn size_class(len: usize) -> usize {
    let step = (len.next_power_of_two() / 16).max(16);
    len.max(1).next_multiple_of(step)
}

impl<T> Shelves<T> {
    /// Frees the block that was given back longest ago.
    fn drop_oldest(&mut self) {
        let turns = self.by_size.iter().filter_map(|(&size, blocks)| Some((blocks.front()?.0, size)));
        let Some((_, size)) = turns.min() else { return };
        self.by_size.get_mut(&size).map(VecDeque::pop_front);
        self.held -= size;
    }
}

impl<T> Pool<T> {
    pub(super) fn new(slack: usize, spare: usize) -> Self {
        let shelves = Mutex::new(Shelves { by_size: BTreeMap::new(), turn: 0, held: 0, in_use: 0, peak: 0 });
        Pool { shelves, slack, spare }
    }

    /// A block of at least `size` words: one that was given back, else a new one from `make`.
    pub(super) fn take(&self, size: usize, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let pooled = {
            let mut shelves = self.lock();
            let near = shelves.by_size.range_mut(size..=self.slack * size);
            let block = near.filter_map(|(&own, blocks)| Some((blocks.pop_back()?.1, own))).next();
            shelves.held -= block.as_ref().map_or(0, |(_, own)| *own);
            block
        };
        let (block, own) = match pooled {
            Some(pooled) => pooled,
            None => (make()?, size),
        };
        let mut shelves = self.lock();
        shelves.in_use += own;
        shelves.peak = shelves.peak.max(shelves.in_use);
        Ok(block)
    }

    /// Returns a block, of `size` words itself, that came from [`Pool::take`].
    pub(super) fn give(&self, size: usize, block: T) {
        let mut shelves = self.lock();
        shelves.in_use -= size;
        shelves.turn += 1;
        let turn = shelves.turn;
        shelves.by_size.entry(size).or_default().push_back((turn, block));
        shelves.held += size;
        while shelves.held > self.spare * shelves.peak {
            shelves.drop_oldest();
        }
    }

    /// Words that are not held.
    pub(super) fn in_use(&self) -> usize {
        self.lock().in_use
    }

    /// Frees everything held.
    pub(super) fn clear(&self) {
        let mut shelves = self.lock();
        shelves.by_size.clear();
        shelves.held = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Shelves<T>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_the_request_and_waste_little() {
        for len in (0..5000).chain([1 << 20, (1 << 20) + 1, 7_654_321]) {
            let size = size_class(len);
            assert!(size >= len && size.is_multiple_of(16) && size <= len + (len / 8).max(16), "{len} -> {size}");
        }
    }

    #[test]
    fn a_block_is_used_again_and_old_sizes_are_let_go() {
        let pool = Pool::new(1, 1);
        let a = pool.take(32, || Ok("a")).unwrap();
        pool.give(32, a);
        assert_eq!(pool.take(32, || Ok("fresh")).unwrap(), "a");
        pool.give(32, "a");
        for size in [16, 48, 64] {
            let block = pool.take(size, || Ok("new")).unwrap();
            pool.give(size, block);
            let shelves = pool.lock();
            assert!(shelves.held <= shelves.peak);
        }
    }

    #[test]
    fn with_slack_a_larger_block_serves_but_none_that_is_far_too_large() {
        let pool = Pool::new(2, 1);
        let sizes = [(64, "large"), (48, "near"), (16, "small")];
        let blocks = sizes.map(|(size, name)| (size, pool.take(size, || Ok(name)).unwrap()));
        blocks.into_iter().for_each(|(size, block)| pool.give(size, block));
        assert_eq!(pool.take(32, || Ok("fresh")).unwrap(), "near");
        assert_eq!(pool.in_use(), 48);
        assert_eq!(pool.take(32, || Ok("fresh")).unwrap(), "large");
        assert_eq!(pool.take(32, || Ok("fresh")).unwrap(), "fresh");
        assert_eq!(pool.in_use(), 48 + 64 + 32);
    }
}
