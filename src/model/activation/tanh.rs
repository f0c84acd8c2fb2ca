//! The hyperbolic tangent.

use super::{Bend, Function, Piece};

/// `tanh(x)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tanh;

impl Function for Tanh {
    fn value(&self, x: f64) -> f64 {
        x.tanh()
    }

    fn slope(&self, _: usize, x: f64) -> f64 {
        // Not 1 - tanh(x)^2, which loses everything far out.
        x.cosh().powi(-2)
    }

    fn steepest(&self) -> f64 {
        1.0
    }

    fn pieces(&self) -> Vec<Piece> {
        vec![
            Piece::towards(f64::NEG_INFINITY, Bend::Convex, [0.0, -1.0]),
            Piece::towards(0.0, Bend::Concave, [0.0, 1.0]),
        ]
    }

    fn constants(&self) -> Vec<f32> {
        vec![]
    }
}
