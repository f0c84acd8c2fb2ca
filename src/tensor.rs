//! Shapes, and the one memory layout of activations on a device: `[channel, row, column, lane]`, images innermost.

use rayon::prelude::*;

/// Lanes (images, draws, probes or rows) are padded to a multiple of this, so that no kernel has a ragged vector.
pub const LANE_BLOCK: usize = 16;

/// Number of lanes that hold `count` items: rounded up to [`LANE_BLOCK`].
pub fn lanes(count: usize) -> usize {
    count.max(1).next_multiple_of(LANE_BLOCK)
}

/// Channels, height and width of one image or activation. A vector of `n` values is `n x 1 x 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Colours of an image, maps of an activation.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// In the order of memory, outermost first.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Shape { channels, height, width }
    }

    /// A plain vector of `n` values.
    pub const fn flat(n: usize) -> Self {
        Shape::new(n, 1, 1)
    }

    /// Number of values.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether there are no values.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Whether memory for so many numbers of four bytes can be had; if not, their size in GiB.
pub fn check_room(numbers: u64) -> std::result::Result<(), f64> {
    let gib = numbers as f64 * 4.0 / f64::from(1u32 << 30);
    let room = usize::try_from(numbers).map_err(|_| gib)?;
    Vec::<f32>::new().try_reserve_exact(room).map_err(|_| gib)
}

/// Values of one item that are moved at a time: a cache line, since lanes lie far apart.
const LINE: usize = 16;

/// Interleaves `items` (each `elements` values long) into `[element][lane]` order, unused lanes zero.
pub fn interleave<T: AsRef<[f32]> + Sync>(items: impl ExactSizeIterator<Item = T>, elements: usize) -> Vec<f32> {
    let items: Vec<T> = items.collect();
    interleave_in(&items, elements, lanes(items.len()))
}

/// [`interleave`] with so many lanes.
pub fn interleave_in(items: &[impl AsRef<[f32]> + Sync], elements: usize, lanes: usize) -> Vec<f32> {
    assert!(items.iter().all(|i| i.as_ref().len() == elements), "every item has the same number of values");
    let mut out = vec![0.0; elements * lanes];
    out.par_chunks_mut((LINE * lanes).max(1)).with_min_len(TASK.div_ceil(LINE * lanes)).enumerate().for_each(
        |(c, out)| {
            for (lane, item) in items.iter().enumerate() {
                let values = item.as_ref()[c * LINE..].iter().take(LINE);
                values.enumerate().for_each(|(k, &v)| out[k * lanes + lane] = v);
            }
        },
    );
    out
}

/// The inverse of [`interleave`]: values of the first `count` lanes, one item after another.
pub fn deinterleave(data: &[f32], elements: usize, count: usize) -> Vec<f32> {
    let lanes = data.len() / elements.max(1);
    let mut out = vec![0.0; elements * count];
    if elements == 0 {
        return out;
    }
    out.par_chunks_mut(LINE * elements).with_min_len(TASK.div_ceil(LINE * elements)).enumerate().for_each(
        |(c, out)| {
            let items = out.len() / elements;
            for k in 0..elements {
                let values = &data[k * lanes + c * LINE..][..items];
                values.iter().enumerate().for_each(|(i, &v)| out[i * elements + k] = v);
            }
        },
    );
    out
}

/// Values that are worth a task of their own.
const TASK: usize = 1 << 14;
