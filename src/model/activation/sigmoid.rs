//! `1 / (1 + e^-x)`.

use super::{Bend, Function, Piece};

/// `1 / (1 + e^-x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sigmoid;

impl Function for Sigmoid {
    fn value(&self, x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn slope(&self, _: usize, x: f64) -> f64 {
        self.value(x) * self.value(-x)
    }

    fn steepest(&self) -> f64 {
        0.25
    }

    fn pieces(&self) -> Vec<Piece> {
        vec![
            Piece::towards(f64::NEG_INFINITY, Bend::Convex, [0.0, 0.0]),
            Piece::towards(0.0, Bend::Concave, [0.0, 1.0]),
        ]
    }

    fn constants(&self) -> Vec<f32> {
        vec![]
    }
}
