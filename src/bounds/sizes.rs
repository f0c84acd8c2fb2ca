//! How many rows to make room for where the host does not wait to hear how many there are: about as many as earlier regions
//! of that size had.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::Buffer;

/// Which rows: those that bound neurons of a value for the first or the second time.
pub(super) type Kind = (usize, bool);

/// Room beyond what is expected, as a share and in rows: what is wasted each time, against doing all of it again now and then.
const ROOM: (f64, f64) = (1.08, 16.0);

/// Sizes this close count as one.
const NEAR: f64 = 1.1;

/// Further than this from any size that was seen nothing can be told.
const FAR: f64 = 4.0;

/// Sizes of regions, rising, and the rows that each had.
type Seen = Vec<(f64, f64)>;

/// Rows per region, by kind and by the size of regions, as last counted.
#[derive(Clone, Default)]
pub(super) struct Sizes(Arc<Mutex<HashMap<Kind, Seen>>>);

impl Sizes {
    /// Rows per region of a size.
    fn rate(&self, kind: Kind, size: f64) -> f64 {
        let rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = rates.get(&kind).map_or(&[][..], |seen| seen);
        let above = seen.partition_point(|(s, _)| *s < size);
        match (above.checked_sub(1).map(|below| seen[below]), seen.get(above)) {
            (Some((s0, r0)), Some(&(s1, r1))) => r0 + (r1 - r0) * (size - s0) / (s1 - s0),
            (None, Some(&(s, r))) if size * FAR > s => r,
            // No more than in proportion: neurons become open ever more slowly.
            (Some((s, r)), None) if size < FAR * s => r * size / s,
            (None | Some(_), None | Some(_)) => 0.0,
        }
    }

    fn keep(&self, kind: Kind, size: f64, rate: f64) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = rates.entry(kind).or_default();
        seen.retain(|(s, _)| *s > NEAR * size || *s * NEAR < size);
        seen.insert(seen.partition_point(|(s, _)| *s < size), (size, rate));
    }
}

/// What rows were given room, on the way forward over so many regions of a size.
pub(super) struct Ledger {
    sizes: Sizes,
    regions: usize,
    size: f64,
    entries: Vec<Entry>,
    overflown: AtomicBool,
}

struct Entry {
    kind: Kind,
    capacity: usize,
    total: Arc<Buffer>,
}

impl Ledger {
    pub fn new(sizes: &Sizes, regions: usize, size: f64) -> Ledger {
        Ledger { sizes: sizes.clone(), regions, size, entries: vec![], overflown: AtomicBool::new(false) }
    }

    /// Room for rows of a kind, of which there will be `total`, at most so many per region.
    pub fn guess(&mut self, kind: Kind, total: &Arc<Buffer>, most: usize) -> usize {
        let rate = self.sizes.rate(kind, self.size);
        let expected = rate * self.regions as f64;
        let room = if expected > 0.0 { ROOM.0 * expected + ROOM.1 } else { 0.0 };
        let capacity = (room.ceil() as usize).min(most * self.regions);
        self.entries.push(Entry { kind, capacity, total: total.clone() });
        capacity
    }

    /// How many there were, a word each, for [`compare`](Self::compare).
    pub fn totals(&self) -> impl Iterator<Item = &Buffer> {
        self.entries.iter().map(|e| &*e.total)
    }

    /// Keeps the totals for the next time.
    pub fn compare(&self, totals: &[Vec<u32>]) {
        for (entry, total) in self.entries.iter().zip(totals.iter().map(|words| words[0])) {
            self.sizes.keep(entry.kind, self.size, f64::from(total) / self.regions as f64);
            self.overflown.fetch_or(total as usize > entry.capacity, Ordering::Relaxed);
        }
    }

    /// Whether there was room for all, as far as totals were compared.
    pub fn had_room(&self) -> bool {
        !self.overflown.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[test]
    fn room_follows_what_was_counted_at_sizes_around() {
        let (d, sizes) = (Device::cpu(), Sizes::default());
        let total = Arc::new(d.zeros(1).unwrap());
        let room = |size: f64, regions: usize| {
            let mut ledger = Ledger::new(&sizes, regions, size);
            (ledger.guess((3, false), &total, 50), ledger)
        };
        let counted = |size: f64, words: u32| {
            let (_, ledger) = room(size, 10);
            ledger.compare(&[vec![words]]);
            ledger.had_room()
        };
        assert_eq!(room(0.1, 10).0, 0);
        assert!(!counted(0.1, 100) && counted(0.1, 100) && counted(0.1, 116));
        assert!(!counted(0.2, 300) && counted(0.1, 141));
        // Between two sizes, in proportion beyond, half the regions; never more than there are neurons.
        assert_eq!([0.15, 0.4].map(|size| room(size, 10).0), [255, 500]);
        assert_eq!(room(0.15, 5).0, 136);
        assert_eq!([0.9, 1e-6].map(|size| room(size, 10).0), [0, 0]);
    }
}
