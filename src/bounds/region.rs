//! The sets of inputs that bounds speak of: balls in the maximum norm, clipped to [0,1], and boxes.
//!
//! A region knows what it is to each step of a bound: the interval that the first layers read, the least value of a row
//! over the set, how far a ball may grow until that value is zero, and the point where a row is least.

use std::sync::OnceLock;

use super::rows::Coefficients;
use super::shelf;
use super::{Ball, Bounder};
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::ops::linear::{self, Rows};
use crate::ops::{ball, relax, shared_slopes};
use crate::rounding::{ETA, to_f32_up};
use crate::tensor;

/// Sets of inputs on the device, one per lane.
pub(crate) struct Region {
    pub count: usize,
    pub lanes: usize,
    /// The boxes around the sets `[element][lane]`, the radius inflated for the consumers of the input.
    centre: Buffer,
    radius: Buffer,
    /// Where rows are walked down to balls: the images `[lane][element]` and their deltas.
    ball: Option<(Buffer, Buffer)>,
    /// Centre and radius `[lane][element]`, once they were asked for.
    tables: OnceLock<[Buffer; 2]>,
}

/// One lane of a [`Region`], on the host.
pub(super) struct Inputs {
    centre: Vec<f32>,
    radius: Vec<f32>,
    /// Image and delta.
    ball: Option<(Vec<f32>, f32)>,
}

impl Region {
    pub fn balls(bounder: &Bounder, balls: &[Ball<'_>]) -> Result<Region> {
        let (d, elements) = (bounder.device(), bounder.net.model.input.len());
        let lanes = tensor::lanes(balls.len());
        let x = d.upload(&tensor::interleave(balls.iter().map(|b| b.image), elements))?;
        let mut deltas = vec![0.0; lanes];
        balls.iter().zip(&mut deltas).for_each(|(b, d)| *d = b.delta);
        let delta = d.upload(&deltas)?;
        let (centre, radius) = (d.alloc(x.len())?, d.alloc(x.len())?);
        ball::clip(d, &x, &delta, [&centre, &radius], lanes, bounder.inflation(0))?;
        let ball = if bounder.method.relaxes() {
            let images = d.alloc(x.len())?;
            relax::transpose(d, &x, &images, lanes)?;
            Some((images, delta))
        } else {
            None
        };
        Ok(Region { count: balls.len(), lanes, centre, radius, ball, tables: OnceLock::new() })
    }

    /// Boxes by their ends `[channel][row][column]`, rounded outward.
    ///
    /// # Errors
    /// [`Error::Usage`] for a box that reaches beyond the magnitude the bounder was made for.
    pub fn boxes(bounder: &Bounder, boxes: &[(&[f32], &[f32])]) -> Result<Region> {
        let elements = bounder.net.model.input.len();
        let inflate = f64::from(bounder.inflation(0));
        let mut inputs = Vec::with_capacity(boxes.len());
        for (lower, upper) in boxes {
            assert!(lower.len() == elements && upper.len() == elements, "a box has an end for every input");
            let (mut centre, mut radius) = (Vec::with_capacity(elements), Vec::with_capacity(elements));
            for (&l, &u) in lower.iter().zip(*upper) {
                let peak = f64::from(l.abs().max(u.abs()));
                if l > u || peak > bounder.peak || !peak.is_finite() {
                    return Err(Error::usage(format!("an input range [{l}, {u}] is empty or beyond {}", bounder.peak)));
                }
                let (c, r) = around(l, u, inflate);
                centre.push(c);
                radius.push(r);
            }
            inputs.push(Inputs { centre, radius, ball: None });
        }
        Region::place(bounder, &inputs.iter().collect::<Vec<_>>())
    }

    /// One lane for each of these, repeated as they may be.
    pub fn place(bounder: &Bounder, inputs: &[&Inputs]) -> Result<Region> {
        let (d, elements, lanes) = (bounder.device(), bounder.net.model.input.len(), tensor::lanes(inputs.len()));
        let place = |of: fn(&Inputs) -> &[f32]| d.upload(&tensor::interleave(inputs.iter().map(|i| of(i)), elements));
        let balls: Option<Vec<_>> = inputs.iter().map(|i| i.ball.as_ref()).collect();
        let ball = match balls {
            Some(balls) if !balls.is_empty() => {
                let images = shelf::by_lane(lanes, balls.iter().map(|b| Some(&b.0[..])));
                let mut deltas: Vec<f32> = balls.iter().map(|b| b.1).collect();
                deltas.resize(lanes, 0.0);
                Some((d.upload(&images)?, d.upload(&deltas)?))
            }
            _ => None,
        };
        let (centre, radius) = (place(|i| &i.centre)?, place(|i| &i.radius)?);
        Ok(Region { count: inputs.len(), lanes, centre, radius, ball, tables: OnceLock::new() })
    }

    /// Every lane, for [`place`](Self::place).
    pub fn inputs(&self, d: &Device) -> Result<Vec<Inputs>> {
        let balls = match &self.ball {
            Some((images, delta)) => Some((shelf::lanes(d, images, self.lanes, self.count)?, d.read::<f32>(delta)?)),
            None => None,
        };
        let mut balls = balls.map(|(images, delta)| images.into_iter().zip(delta));
        let sides = [&self.centre, &self.radius].map(|side| shelf::columns(d, side, self.lanes, self.count));
        let [centre, radius] = sides;
        let inputs = centre?.into_iter().zip(radius?);
        Ok(inputs
            .map(|(centre, radius)| Inputs { centre, radius, ball: balls.as_mut().and_then(Iterator::next) })
            .collect())
    }

    /// Centre and radius of the boxes around the sets, `[element][lane]`.
    pub fn interval(&self) -> [&Buffer; 2] {
        [&self.centre, &self.radius]
    }

    /// [`interval`](Self::interval) as tables `[lane][element]`.
    pub fn tables(&self, d: &Device) -> Result<&[Buffer; 2]> {
        shelf::transposed(d, &self.tables, self.interval(), self.lanes)
    }

    /// Least values of rows over their sets.
    pub fn concretise(&self, bounder: &Bounder, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Vec<f32>> {
        concretise(bounder, self.tables(bounder.device())?, c, rows, sums)
    }

    /// Least values of rows over their balls, and the radius at which each would be zero; nothing where the sets do not
    /// grow by one number.
    pub fn reach(
        &self,
        bounder: &Bounder,
        c: &Coefficients,
        rows: &Rows,
        sums: &Buffer,
    ) -> Result<Option<[Vec<f32>; 2]>> {
        let Some((images, delta)) = &self.ball else { return Ok(None) };
        let d = bounder.device();
        let g = bounder.sum_error(c.window.elements());
        let result = d.alloc(2 * rows.lanes)?;
        linear::radius(d, c.window.layer, &c.a, images, delta, rows, sums, &result, g, bounder.floor())?;
        let mut lower: Vec<f32> = d.read(&result)?;
        let reach = lower.split_off(rows.lanes);
        Ok(Some([lower, reach]))
    }

    /// Where in its set each row is least, like its coefficients.
    pub fn corner(&self, d: &Device, c: &Coefficients, rows: &Rows) -> Result<Buffer> {
        let x = d.alloc(c.a.len())?;
        let [centre, radius] = self.tables(d)?;
        shared_slopes::corner(d, &c.window, &c.a, [centre, radius], rows, &x)?;
        Ok(x)
    }
}

/// Least values of rows over boxes `[lane][element]` of any value.
pub(super) fn concretise(
    bounder: &Bounder,
    [centre, radius]: &[Buffer; 2],
    c: &Coefficients,
    rows: &Rows,
    sums: &Buffer,
) -> Result<Vec<f32>> {
    let d = bounder.device();
    let lower = d.alloc(rows.lanes)?;
    let g = bounder.sum_error(c.window.elements());
    linear::concretize(d, &c.window, &c.a, [centre, radius], rows, sums, &lower, g, bounder.floor())?;
    d.read(&lower)
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
