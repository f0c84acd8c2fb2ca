//! Half-spaces cut off sets of inputs: where a row is to be shown positive, only inputs count at which a lower bound of it is
//! not. Of a ball little larger than what is proved, such a bound leaves the surroundings of one corner, on which neurons
//! are bounded far more closely, and so the row again (Kotha et al. 2023 cut by outputs; Clip-and-Verify 2025 by domains).

use super::Row;
use super::linearised::Linearised;
use super::region::Inputs;
use crate::device::Device;
use crate::error::Result;
use crate::ops::cut::{Forms, WORDS};
use crate::ops::linear::SLICES;
use crate::rounding::to_f32_down;
use crate::tensor;

/// Only inputs `x` with `form . x + constant <= 0` count.
pub(super) struct Cut {
    /// Scaled so that the largest is in `[1,2)`.
    form: Vec<f32>,
    constant: f32,
}

/// Constants beyond this share of what a form can come to cut nothing off, or everything.
const MOST: f64 = 1e6;

impl Cut {
    /// By a row that is at least `coefficients . x + constant`, over inputs of these sizes; none where it says nothing.
    fn new(coefficients: &[f32], constant: f64, size: impl Iterator<Item = f64>) -> Option<Cut> {
        let largest = coefficients.iter().fold(0.0, |m: f32, c| m.max(c.abs()));
        if !(largest > 0.0 && largest.is_finite()) {
            return None;
        }
        let scale = (-f64::from(largest).log2().floor()).exp2();
        let form: Vec<f32> = coefficients.iter().map(|c| (f64::from(*c) * scale) as f32).collect();
        // A power of two changes nothing but what becomes too small.
        let lost = |((c, h), size): ((&f32, &f32), f64)| (f64::from(*c) * scale - f64::from(*h)).abs() * size;
        let lost: f64 = coefficients.iter().zip(&form).zip(size).map(lost).sum();
        let constant = constant * scale - 1.01 * lost;
        (constant.abs() <= MOST * form.len() as f64).then(|| Cut { form, constant: to_f32_down(constant) })
    }

    pub fn bytes(&self) -> usize {
        size_of::<Cut>() + size_of_val(&self.form[..])
    }

    /// These on a device, one per lane, over boxes of this centre and radius.
    pub fn place<'a>(
        d: &Device,
        lanes: usize,
        cuts: impl ExactSizeIterator<Item = (Option<&'a Cut>, [&'a [f32]; 2])> + Clone,
    ) -> Result<Forms> {
        let elements = cuts.clone().next().map_or(0, |(_, [centre, _])| centre.len());
        let (mut form, mut words) = (vec![0.0; elements * lanes], vec![0.0; WORDS * lanes]);
        for (lane, (cut, [centre, radius])) in cuts.enumerate() {
            let Some(cut) = cut else { continue };
            form[lane * elements..][..elements].copy_from_slice(&cut.form);
            let sum = |of: &[f32], size: fn(f32) -> f32| -> f64 {
                cut.form.iter().zip(of).map(|(h, x)| f64::from(size(*h)) * f64::from(*x)).sum()
            };
            let middle = sum(centre, |h| h) + f64::from(cut.constant);
            words[lane * WORDS..][..WORDS].copy_from_slice(&[
                cut.constant,
                middle as f32,
                sum(radius, f32::abs) as f32,
            ]);
        }
        Ok(Forms { form: d.upload(&form)?, words: d.upload(&words)? })
    }
}

impl Linearised<'_> {
    /// Of every region what the row `rows[lane]` leaves of it, if that may be less.
    pub fn cuts(&self, rows: &[Row], inputs: &[&Inputs]) -> Result<Vec<Option<Cut>>> {
        let (bounder, region) = (self.bounder(), self.region());
        let d = bounder.device();
        let (each, start) = self.one_each(rows, &(0..rows.len()).collect::<Vec<_>>())?;
        let sums = d.zeros(2 * SLICES * each.lanes)?;
        let end = self.walk().walk(bounder.net.model.output(), start, &each, &sums, 0, None)?.densify(d, &each)?;
        let leant = region.lean(bounder, &end, &each, &sums)?;
        let (end, sums) = leant.as_ref().map_or((&end, &sums), |(end, sums)| (end, sums));
        let elements = bounder.net.model.input.len();
        let a = tensor::deinterleave(&d.read::<f32>(&end.a)?, elements, region.count);
        let sums: Vec<f32> = d.read(sums)?;
        let cut = |lane: usize| {
            let word = |part: usize| f64::from(sums[part * each.lanes + lane]);
            let own = f64::from(rows[lane].constant);
            let parts = |of: usize| (0..SLICES).map(move |s| 2 * s + of);
            let sizes = parts(0).map(|p| word(p).abs()).sum::<f64>() + own.abs();
            let errors = parts(1).map(word).sum::<f64>() + f64::from(bounder.floor());
            // f64 adds so few numbers with far smaller errors.
            let constant = own + parts(0).map(word).sum::<f64>() - errors * (1.0 + 1e-12) - 1e-12 * sizes;
            Cut::new(&a[lane * elements..][..elements], constant, inputs[lane].sizes())
        };
        Ok((0..region.count).map(cut).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::super::region::Region;
    use super::super::{Ball, Bounder, Method};
    use super::*;
    use crate::model::dense;
    use crate::model::reference::forward;
    use crate::network::Network;
    use crate::rng::Rng;

    /// A ball too large to be proved: neurons are bounded more closely on what a row leaves of it, and every image of the ball
    /// at which the row is not positive is in there.
    #[test]
    fn what_a_row_leaves_holds_every_image_that_counts() {
        let (mut seen, mut narrower) = (0, 0);
        for seed in 0..24 {
            let mut rng = Rng::new(seed, 41);
            let model = dense(seed);
            let network = Network::new(&Device::cpu(), &model).unwrap();
            let bounder = Bounder::new(&network, Method::Crown).unwrap();
            let image: Vec<f32> = (0..8).map(|_| rng.range(0.3, 0.7)).collect();
            let logits = forward(&model, &image).pop().unwrap();
            let class = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
            let ball = Ball { image: &image, class, delta: 0.2 };
            let region = Region::balls(&bounder, &[ball]).unwrap();
            let whole = Linearised::new(&bounder, &region).unwrap();
            let limits = whole.known.limits().unwrap().remove(0);
            let inputs = region.inputs(&network.device).unwrap().remove(0);
            for row in bounder.margins([class].into_iter()).0 {
                let Some(cut) = whole.cuts(std::slice::from_ref(&row), &[&inputs]).unwrap().remove(0) else { continue };
                let cut_region = Region::place(&bounder, &[&inputs]).unwrap();
                let cut_region = cut_region.cut(&bounder, &[&inputs], &[Some(&cut)]).unwrap();
                let (left, _) = Linearised::whole(&bounder, &cut_region, &[&limits], |_| Ok(())).unwrap();
                let closer: Limits = left.known.limits().unwrap().remove(0);
                let width = |limits: &Limits| -> f32 {
                    limits.iter().flatten().map(|[l, u]| l.iter().zip(u).map(|(l, u)| u - l).sum::<f32>()).sum()
                };
                assert!(width(&closer) <= 1.0001 * width(&limits));
                narrower += usize::from(width(&closer) < 0.95 * width(&limits));
                for _ in 0..300 {
                    let corner = |x: &f32| {
                        (x + if rng.below(2) == 0 { 0.2 } else { -0.2 } * rng.uniform().sqrt()).clamp(0.0, 1.0)
                    };
                    let point: Vec<f32> = image.iter().map(corner).collect();
                    let values = forward(&model, &point);
                    let margin: f64 =
                        row.coefficients.iter().zip(values.last().unwrap()).map(|(c, z)| f64::from(*c) * z).sum();
                    let form: f64 = cut.form.iter().zip(&point).map(|(h, x)| f64::from(*h) * f64::from(*x)).sum();
                    if margin > 0.0 {
                        continue;
                    }
                    seen += 1;
                    assert!(form + f64::from(cut.constant) <= 0.0);
                    for (value, ends) in closer.iter().enumerate() {
                        let Some([lower, upper]) = ends else { continue };
                        for (k, z) in values[value].iter().enumerate() {
                            assert!(
                                f64::from(lower[k]) <= *z && *z <= f64::from(upper[k]),
                                "seed {seed}, value {value}"
                            );
                        }
                    }
                }
            }
        }
        assert!(seen > 100 && narrower > 3, "{seen} images, {narrower} rows");
    }
}
