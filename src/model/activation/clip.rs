//! `x` kept between two bounds, either of which may be missing: ReLU6, HardTanh.

use super::{Bend, Function, Piece};

/// `low < high`; a bound that is missing is infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Least value; -inf for none.
    pub low: f32,
    /// Largest value; inf for none.
    pub high: f32,
}

impl Clip {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.low < self.high && (self.low.is_finite() || self.high.is_finite()) {
            Ok(())
        } else {
            Err(format!("Clip to [{}, {}] makes no sense", self.low, self.high))
        }
    }
}

impl Function for Clip {
    fn value(&self, x: f64) -> f64 {
        x.max(f64::from(self.low)).min(f64::from(self.high))
    }

    fn slope(&self, piece: usize, _: f64) -> f64 {
        // The line between the bounds comes first where there is no lower one.
        let middle = usize::from(self.low.is_finite());
        f64::from(u8::from(piece == middle))
    }

    fn steepest(&self) -> f64 {
        1.0
    }

    fn pieces(&self) -> Vec<Piece> {
        let ends = [self.low, self.high].into_iter().filter(|c| c.is_finite());
        let from = std::iter::once(f64::NEG_INFINITY).chain(ends.map(f64::from));
        from.map(|from| Piece::new(from, Bend::Line)).collect()
    }

    fn constants(&self) -> Vec<f32> {
        vec![self.low, self.high]
    }
}
