//! `x` where it is at least zero, `slope * x` elsewhere (Maas et al., "Rectifier Nonlinearities Improve Neural Network
//! Acoustic Models", 2013); PRelu is one of these per channel.

use super::{Bend, Function, Piece};

/// A rectifier that lets some through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRelu {
    /// Below zero; of any sign.
    pub slope: f32,
}

impl Function for LeakyRelu {
    fn value(&self, x: f64) -> f64 {
        if x < 0.0 { f64::from(self.slope) * x } else { x }
    }

    fn slope(&self, piece: usize, _: f64) -> f64 {
        [f64::from(self.slope), 1.0][piece]
    }

    fn steepest(&self) -> f64 {
        f64::from(self.slope.abs()).max(1.0)
    }

    fn pieces(&self) -> Vec<Piece> {
        vec![Piece::new(f64::NEG_INFINITY, Bend::Line), Piece::new(0.0, Bend::Line)]
    }

    fn constants(&self) -> Vec<f32> {
        vec![self.slope]
    }
}
