//! Pixels of many images, in as little memory as holds them exactly.

use std::borrow::Cow;
use std::ops::Range;

/// Values in `[0,1]`, one after another. While each of them is that of a byte (`b / 255`, as f32), which those of photos are,
/// they are held as bytes, a quarter of what numbers take.
#[derive(Clone, Debug)]
pub struct Pixels(Held);

#[derive(Clone, Debug)]
enum Held {
    Bytes(Vec<u8>),
    Values(Vec<f32>),
}

impl Pixels {
    /// None yet.
    pub const fn new() -> Pixels {
        Pixels(Held::Bytes(Vec::new()))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Held::Bytes(bytes) => bytes.len(),
            Held::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `more` values that are those of bytes.
    pub fn reserve(&mut self, more: usize) {
        match &mut self.0 {
            Held::Bytes(bytes) => bytes.reserve_exact(more),
            Held::Values(values) => values.reserve_exact(more),
        }
    }

    /// The values of a range, which has to lie within them.
    pub fn range(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        match &self.0 {
            Held::Bytes(bytes) => Cow::Owned(bytes[range].iter().map(|&b| value(b)).collect()),
            Held::Values(values) => Cow::Borrowed(&values[range]),
        }
    }

    /// Appends values.
    pub fn extend(&mut self, values: &[f32]) {
        if let Held::Bytes(bytes) = &mut self.0 {
            let there = bytes.len();
            bytes.extend(values.iter().map_while(|&v| byte(v)));
            if bytes.len() - there == values.len() {
                return;
            }
            bytes.truncate(there);
        }
        self.values().extend_from_slice(values);
    }

    /// Appends the values of bytes.
    pub fn extend_bytes(&mut self, more: impl IntoIterator<Item = u8>) {
        match &mut self.0 {
            Held::Bytes(bytes) => bytes.extend(more),
            Held::Values(values) => values.extend(more.into_iter().map(value)),
        }
    }

    /// Appends a range of others, as they are held.
    pub fn extend_from(&mut self, other: &Pixels, range: Range<usize>) {
        match (&mut self.0, &other.0) {
            (Held::Bytes(bytes), Held::Bytes(more)) => bytes.extend_from_slice(&more[range]),
            _ => self.extend(&other.range(range)),
        }
    }

    /// All of them as numbers from now on.
    fn values(&mut self) -> &mut Vec<f32> {
        if let Held::Bytes(bytes) = &self.0 {
            self.0 = Held::Values(bytes.iter().map(|&b| value(b)).collect());
        }
        match &mut self.0 {
            Held::Values(values) => values,
            Held::Bytes(_) => unreachable!("they were made numbers above"),
        }
    }
}

impl Default for Pixels {
    fn default() -> Pixels {
        Pixels::new()
    }
}

impl From<Vec<f32>> for Pixels {
    fn from(values: Vec<f32>) -> Pixels {
        match values.iter().map(|&v| byte(v)).collect() {
            Some(bytes) => Pixels(Held::Bytes(bytes)),
            None => Pixels(Held::Values(values)),
        }
    }
}

/// However they are held.
impl PartialEq for Pixels {
    fn eq(&self, other: &Pixels) -> bool {
        self.len() == other.len() && self.range(0..self.len()) == other.range(0..other.len())
    }
}

/// The pixel that a byte stands for.
pub fn value(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// The byte that this is the value of, bit for bit: a zero below zero is that of none.
fn byte(v: f32) -> Option<u8> {
    let byte = (v * 255.0).round() as u8;
    (value(byte).to_bits() == v.to_bits()).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_bytes_are_held_as_bytes_and_all_others_bit_for_bit() {
        let all: Vec<f32> = (0..=255).map(value).collect();
        let mut held = Pixels::from(all.clone());
        assert!(matches!(held.0, Held::Bytes(_)));
        held.extend(&[0.5f32.next_up(), 0.0]);
        assert!(matches!(held.0, Held::Values(_)));
        for other in [-0.0f32, f32::NAN, 1.0f32.next_up(), value(7).next_down(), f32::MIN_POSITIVE / 2.0, -1.0] {
            let mut odd = Pixels::new();
            odd.extend(&[0.0, other]);
            let back = odd.range(0..2);
            assert_eq!((odd.len(), back[0].to_bits(), back[1].to_bits()), (2, 0, other.to_bits()));
        }
        // Whatever comes in whatever order, as numbers would hold it.
        held.extend_bytes([3, 255]);
        let mut wanted = all.clone();
        wanted.extend([0.5f32.next_up(), 0.0, value(3), 1.0]);
        assert_eq!(held.range(0..260), wanted);
        let mut part = Pixels::new();
        part.extend_from(&held, 0..256);
        assert!(matches!(part.0, Held::Bytes(_)) && part == Pixels::from(all));
        part.extend_from(&held, 256..258);
        assert_eq!(part.range(255..258)[..], wanted[255..258]);
        assert_ne!(part, held);
    }
}
