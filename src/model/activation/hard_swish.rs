//! `x` times the hard sigmoid of slope 1/6 (Howard et al., "Searching for MobileNetV3", 2019). ONNX defines it by the
//! f32 nearest to a sixth.

use super::{Bend, Function, Piece};

/// `x * clamp(x / 6 + 1/2, 0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardSwish;

/// The slope of the hard sigmoid.
pub(in super::super) const ALPHA: f32 = 1.0 / 6.0;
const SLOPE: f64 = ALPHA as f64;
const ENDS: [f64; 2] = [-0.5 / SLOPE, 0.5 / SLOPE];

impl Function for HardSwish {
    fn value(&self, x: f64) -> f64 {
        x * (SLOPE * x + 0.5).clamp(0.0, 1.0)
    }

    fn size(&self, x: f64) -> f64 {
        if x < 2.0 * ENDS[0] { 0.0 } else { x.abs() * (x.abs() * SLOPE + 0.5).min(2.0) }
    }

    fn slope(&self, piece: usize, x: f64) -> f64 {
        [0.0, 2.0 * SLOPE * x + 0.5, 1.0][piece]
    }

    fn steepest(&self) -> f64 {
        1.5
    }

    fn pieces(&self) -> Vec<Piece> {
        vec![
            Piece::new(f64::NEG_INFINITY, Bend::Line),
            Piece::new(ENDS[0], Bend::Convex),
            Piece::new(ENDS[1], Bend::Line),
        ]
    }

    fn constants(&self) -> Vec<f32> {
        vec![]
    }
}
