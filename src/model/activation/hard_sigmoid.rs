//! `alpha x + beta` kept between 0 and 1 (Courbariaux et al., "BinaryConnect", 2015).

use super::{Bend, Function, Piece};

/// `alpha` is not zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardSigmoid {
    /// Slope of the line.
    pub alpha: f32,
    /// Its value at 0.
    pub beta: f32,
}

impl HardSigmoid {
    fn line(&self, x: f64) -> f64 {
        f64::from(self.alpha) * x + f64::from(self.beta)
    }
}

impl Function for HardSigmoid {
    fn value(&self, x: f64) -> f64 {
        self.line(x).clamp(0.0, 1.0)
    }

    fn size(&self, x: f64) -> f64 {
        // Far out it is 0 or 1 whatever the rounding.
        if (self.line(x) - 0.5).abs() > 1.0 {
            0.0
        } else {
            (f64::from(self.alpha) * x).abs() + f64::from(self.beta.abs())
        }
    }

    fn slope(&self, piece: usize, _: f64) -> f64 {
        if piece == 1 { f64::from(self.alpha) } else { 0.0 }
    }

    fn steepest(&self) -> f64 {
        f64::from(self.alpha.abs())
    }

    fn pieces(&self) -> Vec<Piece> {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        let ends = [-beta / alpha, (1.0 - beta) / alpha];
        let from = [f64::NEG_INFINITY, ends[0].min(ends[1]), ends[0].max(ends[1])];
        from.map(|from| Piece::new(from, Bend::Line)).to_vec()
    }

    fn constants(&self) -> Vec<f32> {
        vec![self.alpha, self.beta]
    }
}
