//! From the box forward: intervals of every value in f64, rounded outward, and the sizes that rounding is charged by.

use super::activation;
use super::rounding::{Charge, LARGEST, down, up};
use super::window::{Axis, axes};
use crate::error::{Error, Result};
use crate::model::{Conv, Layer, Model, Node, Pool};
use crate::norm::Norm;
use crate::tensor::Shape;

/// Every element of a value lies in `[lower, upper]`.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
    /// Of an input: what more is known of it.
    pub round: Option<Round>,
    /// Of an input: which part of it counts.
    pub cut: Option<Cut>,
}

/// Only inputs `x` with `form . x + constant <= 0` count.
#[derive(Clone, Debug)]
pub struct Cut {
    pub form: Vec<f64>,
    pub constant: f64,
}

/// Inputs of which a linear form falls below its value at a centre by no more than `radius` times its norm, in units of
/// `fall` where the form falls with the input and of `rise` where it rises.
#[derive(Clone, Debug)]
pub struct Round {
    pub centre: Vec<f64>,
    /// How far the true centre may be off.
    pub off: f64,
    /// A unit towards smaller values of each element,
    pub fall: Vec<f64>,
    /// and towards larger ones.
    pub rise: Vec<f64>,
    pub radius: f64,
}

impl Round {
    /// The part in [0,1] of the Euclidean ball around an image: a value at its end goes no further.
    fn ball(image: &[f32], radius: f64) -> Round {
        let unit = |free: &dyn Fn(f32) -> bool| image.iter().map(|&x| f64::from(u8::from(free(x)))).collect();
        let centre = image.iter().map(|&x| f64::from(x)).collect();
        Round { centre, off: 0.0, fall: unit(&|x| x > 0.0), rise: unit(&|x| x < 1.0), radius }
    }
}

impl Interval {
    /// The ball of this radius around an image, clipped to [0,1].
    pub fn ball(image: &[f32], norm: Norm, radius: f64) -> Interval {
        let round = match norm {
            Norm::Linf => None,
            Norm::L2 => Some(Round::ball(image, radius)),
        };
        let lower = image.iter().map(|&x| down(f64::from(x) - radius).max(0.0)).collect();
        let upper = image.iter().map(|&x| up(f64::from(x) + radius).min(1.0)).collect();
        Interval { lower, upper, round, cut: None }
    }

    pub fn len(&self) -> usize {
        self.lower.len()
    }

    /// The largest magnitude of element `k`.
    pub fn size(&self, k: usize) -> f64 {
        self.lower[k].abs().max(self.upper[k].abs())
    }

    pub fn push(&mut self, lower: f64, upper: f64) {
        self.lower.push(lower);
        self.upper.push(upper);
    }

    /// Whether an element has no value left. Of a set of which something is cut off that may be; of any other it is a fault.
    pub fn is_empty(&self) -> bool {
        (0..self.len()).any(|k| self.lower[k] > self.upper[k])
    }

    /// What is known of an element, if more, and in the same place if not.
    pub fn meet(&mut self, k: usize, lower: f64, upper: f64) {
        // max and min pass over NaN.
        self.lower[k] = self.lower[k].max(lower);
        self.upper[k] = self.upper[k].min(upper);
    }

    /// # Errors
    /// If a bound is not finite, too large for the proof of [`super::rounding`], or empty.
    pub fn check(&self, node: &Node) -> Result<()> {
        let sane = |k: usize| self.lower[k] <= self.upper[k] && self.size(k) <= LARGEST;
        match (0..self.len()).find(|&k| !sane(k)) {
            Some(k) => Err(Error::usage(format!(
                "value {k} of node '{}' has bounds [{}, {}], which cannot be audited",
                node.name, self.lower[k], self.upper[k]
            ))),
            None => Ok(()),
        }
    }
}

/// Centre, radius and size of every element of an interval: what sums of products are made of.
struct Centred {
    centre: Vec<f64>,
    radius: Vec<f64>,
    size: Vec<f64>,
}

impl Centred {
    fn new(x: &Interval) -> Centred {
        // The halved sum lies between the bounds, whatever its rounding.
        let centre: Vec<f64> = x.lower.iter().zip(&x.upper).map(|(l, u)| 0.5 * (l + u)).collect();
        let radius = (0..x.len()).map(|k| up((x.upper[k] - centre[k]).max(centre[k] - x.lower[k]))).collect();
        Centred { centre, radius, size: (0..x.len()).map(|k| x.size(k)).collect() }
    }
}

/// A sum of products in the making.
#[derive(Clone, Copy, Default)]
struct Sum {
    centre: f64,
    radius: f64,
    size: f64,
}

impl Sum {
    fn new(bias: f32) -> Sum {
        Sum { centre: f64::from(bias), radius: 0.0, size: f64::from(bias).abs() }
    }

    fn add(&mut self, weight: f64, x: &Centred, k: usize) {
        self.centre += weight * x.centre[k];
        self.radius += weight.abs() * x.radius[k];
        self.size += weight.abs() * x.size[k];
    }

    /// Stores the bounds and the size.
    fn finish(self, charge: Charge, to: &mut Interval, sizes: &mut Vec<f64>) {
        // The radius is no larger than about twice the size; both sums are charged.
        let spread = up(self.radius + charge.of(self.size + self.radius));
        to.push(down(self.centre - spread), up(self.centre + spread));
        sizes.push(up(self.size + charge.of(self.size)));
    }
}

/// How far each output of a layer with folded weights may be from that of the layer its file defines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fold {
    relative: f64,
    absolute: f64,
}

impl Fold {
    /// What [`Model::folded`] says of node `i`.
    pub fn new(model: &Model, i: usize) -> Fold {
        let records = model.folded.iter().filter(|f| f.node == i);
        records.fold(Fold::default(), |sum, f| Fold {
            relative: up(sum.relative + f64::from(f.relative)),
            absolute: up(sum.absolute + f64::from(f.absolute)),
        })
    }

    /// The distance of an output of this size, which is zero for weights as in the file.
    pub fn of(self, size: f64) -> f64 {
        if self.relative > 0.0 || self.absolute > 0.0 { up(up(self.relative * size) + self.absolute) } else { 0.0 }
    }
}

/// Interval of the output of node `i`, as its file defines it, and, for nodes with sums of products, `sum |w| |x| + |b|` per output (elsewhere
/// empty). `values` holds the intervals of all earlier values.
pub fn step(model: &Model, i: usize, values: &[Interval], charge: Charge) -> (Interval, Vec<f64>) {
    let node = &model.nodes[i];
    let x = &values[node.inputs[0]];
    let (from, to) = (model.shape(node.inputs[0]), node.shape);
    let (mut y, mut sizes) = (Interval::default(), Vec::new());
    match &node.layer {
        Layer::Conv(c) => conv(c, &Centred::new(x), from, to, |s| s.finish(charge, &mut y, &mut sizes)),
        Layer::Dense(d) => {
            let centred = Centred::new(x);
            for (row, &bias) in d.weight.chunks_exact(x.len()).zip(&d.bias) {
                let mut sum = Sum::new(bias);
                row.iter().enumerate().for_each(|(k, &w)| sum.add(f64::from(w), &centred, k));
                sum.finish(charge, &mut y, &mut sizes);
            }
        }
        Layer::AvgPool(p) => {
            let centred = Centred::new(x);
            windows(p, from, to, |_, window| {
                let share = share(p, window.len());
                let mut sum = Sum::default();
                window.iter().for_each(|&k| sum.add(share, &centred, k));
                sum.finish(charge, &mut y, &mut sizes);
            });
        }
        Layer::MaxPool(p) => windows(p, from, to, |_, window| {
            let most = |v: &[f64]| window.iter().map(|&k| v[k]).fold(f64::NEG_INFINITY, f64::max);
            y.push(most(&x.lower), most(&x.upper));
        }),
        Layer::Scale { scale, shift } => {
            let centred = Centred::new(x);
            for (k, (&scale, &shift)) in scale.iter().zip(shift).enumerate() {
                let mut sum = Sum::new(shift);
                sum.add(f64::from(scale), &centred, k);
                sum.finish(charge, &mut y, &mut sizes);
            }
        }
        Layer::Activation(f) => activation::step(f, x, &mut y),
        Layer::Relu => (0..x.len()).for_each(|k| y.push(x.lower[k].max(0.0), x.upper[k].max(0.0))),
        Layer::Add => {
            let z = &values[node.inputs[1]];
            (0..x.len()).for_each(|k| y.push(down(x.lower[k] + z.lower[k]), up(x.upper[k] + z.upper[k])));
        }
        Layer::Gather(map) => {
            for source in map {
                let bounds = source.map_or((0.0, 0.0), |s| {
                    let (x, k) = (&values[node.inputs[s.input as usize]], s.index as usize);
                    (x.lower[k], x.upper[k])
                });
                y.push(bounds.0, bounds.1);
            }
        }
    }
    let fold = Fold::new(model, i);
    for (k, &size) in sizes.iter().enumerate() {
        let distance = fold.of(size);
        if distance > 0.0 {
            (y.lower[k], y.upper[k]) = (down(y.lower[k] - distance), up(y.upper[k] + distance));
        }
    }
    (y, sizes)
}

/// The weight of one value in an average of `real` values, as an f64: two roundings at most separate it from the real
/// quotient, which the charges of the sums include.
pub fn share(p: &Pool, real: usize) -> f64 {
    1.0 / if p.count_include_pad { (p.kernel[0] * p.kernel[1]) as f64 } else { real as f64 }
}

fn conv(c: &Conv, x: &Centred, from: Shape, to: Shape, mut emit: impl FnMut(Sum)) {
    let [rows, columns] = axes(c.kernel, c.stride, c.pad, from, to);
    let [kh, kw] = c.kernel;
    let [filters, channels] = [to.channels, from.channels].map(|n| n / c.groups(from.channels));
    for (k, (filter, &bias)) in c.weight.chunks_exact(from.channels * kh * kw).zip(&c.bias).enumerate() {
        for row in 0..to.height {
            for column in 0..to.width {
                let mut sum = Sum::new(bias);
                let taps = filter.chunks_exact(kh * kw).enumerate();
                for (channel, taps) in taps.skip(k / filters * channels).take(channels) {
                    for ky in rows.taps(row) {
                        let line = (channel * from.height + rows.at(row, ky)) * from.width;
                        for kx in columns.taps(column) {
                            sum.add(f64::from(taps[ky * kw + kx]), x, line + columns.at(column, kx));
                        }
                    }
                }
                emit(sum);
            }
        }
    }
}

/// Calls `f` with every output index of a pooling layer, in order, and the input indices under its window.
pub fn windows(p: &Pool, from: Shape, to: Shape, mut f: impl FnMut(usize, &[usize])) {
    let [rows, columns]: [Axis; 2] = axes(p.kernel, p.stride, p.pad, from, to);
    let (mut index, mut window) = (0, Vec::new());
    for channel in 0..to.channels {
        for row in 0..to.height {
            for column in 0..to.width {
                window.clear();
                for ky in rows.taps(row) {
                    let line = (channel * from.height + rows.at(row, ky)) * from.width;
                    window.extend(columns.taps(column).map(|kx| line + columns.at(column, kx)));
                }
                f(index, &window);
                index += 1;
            }
        }
    }
}
