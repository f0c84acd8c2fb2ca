//! Projected gradient descent (Madry et al. 2018) with momentum: points on their way to where an objective is low, all of
//! them through the network together. What is looked for, from where, and how often is its callers' business.

use rayon::prelude::*;

use crate::error::Result;
use crate::interrupt;
use crate::network::Network;
use crate::norm::Norm;
use crate::tensor;

/// A point on its way, and what it is under way for.
pub struct Point<T> {
    pub of: T,
    pub x: Vec<f32>,
    momentum: Vec<f32>,
}

impl<T> Point<T> {
    pub fn new(of: T, x: Vec<f32>) -> Point<T> {
        Point { of, momentum: vec![0.0; x.len()], x }
    }
}

/// The inputs that a point may take.
#[derive(Clone, Copy)]
pub enum Region<'a> {
    /// Within `radius` of a point of [0,1], and in [0,1]: a step may go as far as the radius.
    Ball { centre: &'a [f32], norm: Norm, radius: f32 },
    /// Between two ends by dimension, which may lie differently far apart: a step is a share of each half.
    Box { low: &'a [f32], high: &'a [f32] },
}

impl Region<'_> {
    /// The nearest point inside.
    pub fn pull(&self, x: &mut [f32]) {
        match *self {
            Region::Ball { centre, norm, radius } => norm.pull(x, centre, radius),
            Region::Box { low, high } => {
                x.iter_mut().zip(low.iter().zip(high)).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
            }
        }
    }

    /// How much the gradient counts in a dimension, and how far a whole step goes there.
    fn scale(&self, k: usize) -> [f32; 2] {
        match *self {
            Region::Ball { radius, .. } => [1.0, radius],
            Region::Box { low, high } => [0.5 * (high[k] - low[k]); 2],
        }
    }
}

/// What points are looking for.
pub trait Objective<T> {
    /// Where a point may go.
    fn region(&self, of: &T) -> Region<'_>;

    /// Sees the network's outputs at all points, `[point][output]`, before any moves; they are the last if there are no
    /// steps to come. Answers for each point with the weights of the outputs whose sum is to grow.
    fn look(&mut self, points: &[Point<T>], outputs: &[&[f32]], last: bool) -> Vec<Vec<f32>>;

    /// After each step: lets go of points that have nothing more to look for.
    fn after_step(&mut self, _points: &mut Vec<Point<T>>) -> Result<()> {
        Ok(())
    }
}

/// Moves a point in [0,1] so far along a direction; pixels at their ends go no further and take no part.
fn straight(x: &mut [f32], direction: &[f32], length: f32) {
    let free = |x: f32, d: f32| if x <= 0.0 && d < 0.0 || x >= 1.0 && d > 0.0 { 0.0 } else { d };
    let square: f32 = x.iter().zip(direction).map(|(x, d)| free(*x, *d).powi(2)).sum();
    let share = length / square.sqrt().max(f32::MIN_POSITIVE);
    x.iter_mut().zip(direction).for_each(|(x, d)| *x += share * free(*x, *d));
}

/// Takes `steps` steps with points that start inside their regions. `length` says how far a step goes, by its number and
/// by how far a whole step would.
pub fn descend<T: Send>(
    net: &Network,
    objective: &mut impl Objective<T>,
    mut points: Vec<Point<T>>,
    steps: usize,
    length: impl Fn(usize, f32) -> f32 + Sync,
) -> Result<()> {
    let d = &net.device;
    let (elements, count) = (net.model.input.len(), net.model.outputs());
    for step in 0..=steps {
        interrupt::check()?;
        let last = step == steps;
        let lanes = tensor::lanes(points.len());
        let x = d.upload(&tensor::interleave(points.iter().map(|p| p.x.as_slice()), elements))?;
        let values = net.forward(x, lanes, !last)?;
        let logits: Vec<f32> = d.read(values[net.model.output()].as_ref().expect("kept"))?;
        let outputs = tensor::deinterleave(&logits, count, points.len());
        let outputs: Vec<&[f32]> = outputs.chunks(count).collect();
        let uphill = objective.look(&points, &outputs, last);
        if !last {
            let seed = tensor::interleave(uphill.iter().map(Vec::as_slice), count);
            let (gradient, _) = net.backward(&values, d.upload(&seed)?, lanes, false)?;
            let gradient = tensor::deinterleave(&d.read::<f32>(&gradient)?, elements, points.len());
            let regions: Vec<Region<'_>> = points.iter().map(|p| objective.region(&p.of)).collect();
            let moves = points.par_iter_mut().zip(gradient.par_chunks(elements)).zip(regions);
            moves.for_each(|((point, gradient), region)| {
                let weighed = gradient.iter().enumerate().map(|(k, g)| g.abs() * region.scale(k)[0]);
                let size = weighed.sum::<f32>().max(f32::MIN_POSITIVE);
                for (k, g) in gradient.iter().enumerate() {
                    point.momentum[k] = 0.75 * point.momentum[k] + g * region.scale(k)[0] / size;
                }
                match region {
                    Region::Ball { norm: Norm::L2, radius, .. } => {
                        straight(&mut point.x, &point.momentum, length(step, radius));
                    }
                    Region::Ball { norm: Norm::Linf, .. } | Region::Box { .. } => {
                        for (k, (x, momentum)) in point.x.iter_mut().zip(&point.momentum).enumerate() {
                            let direction = momentum.signum() * f32::from(*momentum != 0.0);
                            *x += length(step, region.scale(k)[1]) * direction;
                        }
                    }
                }
                region.pull(&mut point.x);
            });
        }
        objective.after_step(&mut points)?;
        if points.is_empty() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::{Dense, Layer, Model, Node};
    use crate::tensor::Shape;

    /// Looks for the least of the one output, and remembers where it looked last.
    struct Least<'a> {
        regions: Vec<Region<'a>>,
        ends: Vec<Vec<f32>>,
    }

    impl Objective<usize> for Least<'_> {
        fn region(&self, of: &usize) -> Region<'_> {
            self.regions[*of]
        }

        fn look(&mut self, points: &[Point<usize>], outputs: &[&[f32]], last: bool) -> Vec<Vec<f32>> {
            if last {
                self.ends = points.iter().map(|p| p.x.clone()).collect();
            }
            outputs.iter().map(|y| vec![-1.0; y.len()]).collect()
        }
    }

    /// y = x0 - 100 x1 is least in a corner of either region, however differently far its ends lie apart.
    #[test]
    fn points_end_where_a_linear_objective_is_least() {
        let layer = Layer::Dense(Dense { weight: vec![1.0, -100.0], bias: vec![0.0] });
        let node = Node { name: "y".into(), layer, inputs: vec![0], shape: Shape::flat(1) };
        let model = Model { input: Shape::flat(2), nodes: vec![node], classes: vec!["y".into()], folded: vec![] };
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let regions = vec![
            Region::Ball { centre: &[0.25, 0.875], norm: Norm::Linf, radius: 0.25 },
            Region::Box { low: &[-1000.0, 2.0], high: &[1000.0, 2.125] },
        ];
        let starts = [vec![0.25, 0.875], vec![0.0, 2.0]];
        let points = starts.into_iter().enumerate().map(|(of, x)| Point::new(of, x)).collect();
        let mut least = Least { regions, ends: vec![] };
        descend(&net, &mut least, points, 4, |step, reach| if step == 0 { reach } else { 0.5 * reach }).unwrap();
        assert_eq!(least.ends, [[0.0, 1.0], [-1000.0, 2.125]]);
    }
}
