//! Bounds over boxes that are no balls around images: the questions of property files.

use super::{Bounder, Boxes, Row};
use crate::error::{Error, Result};
use crate::rounding::{ETA, to_f32_up};
use crate::tensor;

/// What is proved about one [`Row`].
#[derive(Clone, Debug)]
pub struct RowBound {
    /// Lower bound of the row over its box.
    pub lower: f32,
    /// Slope of the linear bound with respect to each input: where to split a box. Empty unless asked for, and for
    /// interval bounds, which have none.
    pub slopes: Vec<f32>,
}

impl Bounder {
    /// Lower bounds of linear functions of the logits; row `r` speaks of box `r.lane`, given by its lower and upper
    /// ends `[channel][row][column]`. `slopes` asks for [`RowBound::slopes`].
    ///
    /// # Errors
    /// [`Error::Usage`] if a box reaches beyond the magnitude this bounder was made for, [`Error::Timeout`], or a fault
    /// of the device.
    pub fn box_bounds(&self, boxes: &[(&[f32], &[f32])], rows: &[Row], slopes: bool) -> Result<Vec<RowBound>> {
        let bounds = self.lower_bounds_with(&self.boxes(boxes)?, rows, slopes)?;
        let n = self.net.model.input.len();
        let slopes = |r: usize| bounds.slopes.get(r * n..(r + 1) * n).unwrap_or_default().to_vec();
        Ok(bounds.lower.iter().enumerate().map(|(r, &lower)| RowBound { lower, slopes: slopes(r) }).collect())
    }

    /// Places boxes on the device, rounded outward.
    pub(crate) fn boxes(&self, boxes: &[(&[f32], &[f32])]) -> Result<Boxes> {
        let elements = self.net.model.input.len();
        let inflate = f64::from(self.inflation(0));
        let mut centres = Vec::with_capacity(boxes.len());
        let mut radii = Vec::with_capacity(boxes.len());
        for (lower, upper) in boxes {
            assert!(lower.len() == elements && upper.len() == elements, "a box has an end for every input");
            let (mut centre, mut radius) = (Vec::with_capacity(elements), Vec::with_capacity(elements));
            for (&l, &u) in lower.iter().zip(*upper) {
                let peak = f64::from(l.abs().max(u.abs()));
                if l > u || peak > self.peak || !peak.is_finite() {
                    return Err(Error::usage(format!("an input range [{l}, {u}] is empty or beyond {}", self.peak)));
                }
                let (c, r) = around(l, u, inflate);
                centre.push(c);
                radius.push(r);
            }
            centres.push(centre);
            radii.push(radius);
        }
        let place = |v: &[Vec<f32>]| self.device().upload(&tensor::interleave(v.iter().map(Vec::as_slice), elements));
        let (centre, radius) = (place(&centres)?, place(&radii)?);
        Ok(Boxes { count: boxes.len(), lanes: tensor::lanes(boxes.len()), centre, radius, ball: None })
    }
}

/// Centre and radius of `[lower, upper]`, the radius inflated by a share of |centre|; never subnormal.
fn around(lower: f32, upper: f32, inflate: f64) -> (f32, f32) {
    let (l, u) = (f64::from(lower), f64::from(upper));
    let middle = (0.5 * (l + u)) as f32;
    let centre = if middle.is_subnormal() { 0.0 } else { middle };
    let c = f64::from(centre);
    let radius = (u - c).max(c - l) + inflate * c.abs();
    // A few roundings of f64, each far below one unit in the last place of f32.
    let radius = to_f32_up(radius * (1.0 + 4.0 * f64::EPSILON));
    (centre, if radius > 0.0 { radius.max(ETA) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn centre_and_radius_cover_the_range() {
        let mut rng = Rng::new(9, 1);
        for _ in 0..20_000 {
            let scale = 10f32.powf(rng.range(-40.0, 10.0));
            let (a, b) =
                (rng.range(-1.0, 1.0) * scale, rng.range(-1.0, 1.0) * 10f32.powf(rng.range(-8.0, 0.0)) * scale);
            let (l, u) = (a.min(b), a.max(b));
            let (c, r) = around(l, u, 1e-5);
            let (c, r) = (f64::from(c), f64::from(r));
            assert!(c - r <= f64::from(l) && f64::from(u) <= c + r, "[{l}, {u}]: {c} ± {r}");
        }
        assert_eq!(around(0.25, 0.25, 0.0), (0.25, 0.0));
    }
}
