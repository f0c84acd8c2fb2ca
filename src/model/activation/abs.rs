//! `|x|`.

use super::{Bend, Function, Piece};

/// `|x|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Abs;

impl Function for Abs {
    fn value(&self, x: f64) -> f64 {
        x.abs()
    }

    fn slope(&self, piece: usize, _: f64) -> f64 {
        [-1.0, 1.0][piece]
    }

    fn steepest(&self) -> f64 {
        1.0
    }

    fn pieces(&self) -> Vec<Piece> {
        vec![Piece::new(f64::NEG_INFINITY, Bend::Line), Piece::new(0.0, Bend::Line)]
    }

    fn constants(&self) -> Vec<f32> {
        vec![]
    }
}
