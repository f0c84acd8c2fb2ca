//! Projected gradient descent (Madry et al. 2018) with momentum: points on their way to where an objective is low, all of
//! them through the network together and none of them through the host. What is looked for, from where, and how often is
//! its callers' business.

use std::slice::from_ref;

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::interrupt;
use crate::network::Network;
use crate::norm::Norm;
use crate::ops::descent::{self, Stride};
use crate::ops::linear::{self, NONE};
use crate::tensor;

/// The inputs that each point may take, all of one kind; by value `[element][lane]`.
#[derive(Clone, Copy)]
pub enum Region<'a> {
    /// Within a `radius` `[lane]` of a point of [0,1], and in [0,1]: a step is a share of the radius. `distance`
    /// `[lane]` is told how far points are from their centres.
    Ball { norm: Norm, centre: &'a Buffer, radius: &'a Buffer, distance: &'a Buffer },
    /// Between two ends by dimension, which may lie differently far apart: a step is a share of each half.
    Box { low: &'a Buffer, high: &'a Buffer },
}

/// What points are looking for.
pub trait Objective {
    /// Where points may go.
    fn region(&self) -> Region<'_>;

    /// Sees the network's outputs `[output][lane]` at all points before any moves; they are the last if there are no
    /// steps to come. Answers with the weights `[output][lane]` of the outputs whose sum is to grow.
    fn look(&mut self, x: &Buffer, outputs: &Buffer, step: usize, last: bool) -> Result<Buffer>;

    /// After each step: may change points, or keep but some lanes of them. Ends the descent where it says no.
    fn after_step(&mut self, _points: &mut Points) -> Result<bool> {
        Ok(true)
    }
}

/// Points on their way.
pub struct Points {
    /// `[element][lane]`, like the momentum.
    pub x: Buffer,
    momentum: Buffer,
    pub lanes: usize,
}

impl Points {
    /// Goes on with these lanes only, in this order.
    pub fn keep(&mut self, net: &Network, lanes: &[usize]) -> Result<()> {
        let wanted: Vec<(usize, usize)> = lanes.iter().map(|lane| (*lane, 0)).collect();
        for values in [&mut self.x, &mut self.momentum] {
            *values = pick(&net.device, from_ref(values), self.lanes, &wanted)?;
        }
        self.lanes = tensor::lanes(lanes.len());
        Ok(())
    }
}

/// Lanes of some of these values `[element][lane]`, each named by its lane and whose it is.
pub fn pick(d: &Device, from: &[Buffer], lanes: usize, wanted: &[(usize, usize)]) -> Result<Buffer> {
    let width = tensor::lanes(wanted.len());
    let to = d.zeros(from[0].len() / lanes * width)?;
    for (k, from) in from.iter().enumerate().filter(|(k, _)| wanted.iter().any(|(_, own)| own == k)) {
        let mut source: Vec<u32> =
            wanted.iter().map(|&(lane, own)| if own == k { lane as u32 } else { NONE }).collect();
        source.resize(width, NONE);
        linear::pick(d, from, &d.upload(&source)?, &to, [lanes, width])?;
    }
    Ok(to)
}

/// The same on the host, one after the other.
pub fn read(d: &Device, from: &[Buffer], lanes: usize, wanted: &[(usize, usize)]) -> Result<Vec<Vec<f32>>> {
    if wanted.is_empty() {
        return Ok(vec![]);
    }
    let elements = from[0].len() / lanes;
    let points = tensor::deinterleave(&d.read::<f32>(&pick(d, from, lanes, wanted)?)?, elements, wanted.len());
    Ok(points.chunks(elements).map(<[f32]>::to_vec).collect())
}

/// Takes `steps` steps from points `x` `[element][lane]`, which are pulled into their balls; those in boxes start
/// inside. `stride` says how far a step goes, by its number.
pub fn descend(
    net: &Network,
    objective: &mut impl Objective,
    x: Buffer,
    steps: usize,
    stride: impl Fn(usize) -> Stride,
) -> Result<()> {
    let d = &net.device;
    let lanes = x.len() / net.model.input.len();
    let mut points = Points { momentum: d.zeros(x.len())?, x, lanes };
    pull(d, &objective.region(), &points.x)?;
    for step in 0..=steps {
        interrupt::check()?;
        let last = step == steps;
        let Points { x, momentum, lanes } = points;
        let mut values = net.forward(x, lanes, true)?;
        let value = |v: usize| values[v].as_ref().expect("kept");
        let uphill = objective.look(value(0), value(net.model.output()), step, last)?;
        let gradient = if last { None } else { Some(net.backward(&values, uphill, lanes)?) };
        let x = values[0].take().expect("kept");
        drop(values);
        if let Some(gradient) = gradient {
            let region = objective.region();
            let moved = [&momentum, &x];
            match region {
                Region::Ball { norm, radius, .. } => {
                    descent::step_in_balls(d, norm, &gradient, radius, moved, stride(step))?;
                }
                Region::Box { low, high } => {
                    descent::step_in_boxes(d, &gradient, [low, high], moved, lanes, stride(step))?;
                }
            }
            pull(d, &region, &x)?;
        }
        points = Points { x, momentum, lanes };
        if !objective.after_step(&mut points)? {
            break;
        }
    }
    Ok(())
}

/// Points back into their balls; a step in a box ends inside.
fn pull(d: &Device, region: &Region<'_>, x: &Buffer) -> Result<()> {
    match *region {
        Region::Ball { norm, centre, radius, distance } => descent::pull(d, norm, [centre, radius], [x, distance]),
        Region::Box { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Dense, Layer, Model, Node};
    use crate::tensor::Shape;

    /// Looks for the least of the one output, and remembers where it looked last.
    struct Least<'a> {
        region: Region<'a>,
        d: Device,
        end: Vec<Vec<f32>>,
    }

    impl Objective for Least<'_> {
        fn region(&self) -> Region<'_> {
            self.region
        }

        fn look(&mut self, x: &Buffer, outputs: &Buffer, _step: usize, last: bool) -> Result<Buffer> {
            if last {
                self.end = read(&self.d, from_ref(x), outputs.len(), &[(0, 0)])?;
            }
            self.d.upload(&vec![-1.0f32; outputs.len()])
        }
    }

    /// y = x0 - 100 x1 is least in a corner of either region, however differently far its ends lie apart.
    #[test]
    fn points_end_where_a_linear_objective_is_least() {
        let layer = Layer::Dense(Dense { weight: vec![1.0, -100.0], bias: vec![0.0] });
        let node = Node { name: "y".into(), layer, inputs: vec![0], shape: Shape::flat(1) };
        let model = Model { input: Shape::flat(2), nodes: vec![node], classes: vec!["y".into()], folded: vec![] };
        let d = Device::cpu();
        let net = Network::new(&d, &model).unwrap();
        let placed = |x: [f32; 2]| d.upload(&tensor::interleave([&x[..]].into_iter(), 2)).unwrap();
        let (centre, low, high) = (placed([0.25, 0.875]), placed([-1000.0, 2.0]), placed([1000.0, 2.125]));
        let (radius, distance) = (d.upload(&[0.25f32; 16]).unwrap(), d.alloc(16).unwrap());
        let ball = Region::Ball { norm: Norm::Linf, centre: &centre, radius: &radius, distance: &distance };
        let within = Region::Box { low: &low, high: &high };
        for (region, start, end) in [(ball, [0.25, 0.875], [0.0, 1.0]), (within, [0.0, 2.0], [-1000.0, 2.125])] {
            let mut least = Least { region, d: d.clone(), end: vec![] };
            descend(&net, &mut least, placed(start), 4, |step| [if step == 0 { 1.0 } else { 0.5 }, 1.0]).unwrap();
            assert_eq!(least.end, [end]);
        }
    }
}
