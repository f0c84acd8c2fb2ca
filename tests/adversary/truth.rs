//! What a network really does, in exact arithmetic, at a point and along a line through its inputs.
//!
//! A network is a list of scalars, each a weighted sum, a rectifier or a maximum of earlier ones. Along a line every
//! scalar is piecewise linear: from one place on, all are linear up to the first at which a rectifier or a maximum
//! changes sides, and so on.

use std::cmp::Ordering;

use deltamax::model::activation::{Activation, function_of};
use deltamax::model::{Layer, Model, Pool};
use deltamax::tensor::Shape;

use crate::exact::{Exact, Linear, Place};

/// One value; others are named by their position in the list.
#[derive(Clone, Debug)]
pub enum Scalar {
    Input(usize),
    Sum { terms: Vec<(Exact, usize)>, constant: Exact },
    Relu(usize),
    Max(Vec<usize>),
}

#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub scalars: Vec<Scalar>,
    pub outputs: Vec<usize>,
}

/// A stretch of a line on which everything is linear.
pub struct Piece {
    pub from: Place,
    pub to: Place,
    /// The outputs.
    pub outputs: Vec<Linear>,
}

/// A line `from + t step`, clipped to [0,1] where `clip`, from `t = 0` to `until`.
pub struct Line<'a> {
    pub from: &'a [f32],
    pub step: &'a [i8],
    pub clip: bool,
    pub until: Exact,
}

/// More pieces than this are no use to anybody; lines end there.
const MOST_PIECES: usize = 2000;

impl Truth {
    pub fn of(model: &Model) -> Truth {
        let mut truth = Truth::default();
        let mut values = vec![truth.inputs(model.input.len())];
        for node in &model.nodes {
            let (x, y) = (model.shape(node.inputs[0]), node.shape);
            let inputs: Vec<&[usize]> = node.inputs.iter().map(|&v| &values[v][..]).collect();
            let value = truth.layer(&node.layer, &inputs, x, y);
            values.push(value);
        }
        truth.outputs = values.pop().expect("a layer");
        truth
    }

    pub fn inputs(&mut self, count: usize) -> Vec<usize> {
        (0..count).map(|k| self.push(Scalar::Input(k))).collect()
    }

    pub fn push(&mut self, scalar: Scalar) -> usize {
        self.scalars.push(scalar);
        self.scalars.len() - 1
    }

    /// A weighted sum; terms without weight are none.
    pub fn sum(&mut self, terms: impl IntoIterator<Item = (Exact, usize)>, constant: Exact) -> usize {
        let terms = terms.into_iter().filter(|(w, _)| !w.is_zero()).collect();
        self.push(Scalar::Sum { terms, constant })
    }

    pub fn layer(&mut self, layer: &Layer, inputs: &[&[usize]], x: Shape, y: Shape) -> Vec<usize> {
        let first = inputs[0];
        match layer {
            Layer::Dense(d) => {
                let rows = d.weight.chunks_exact(first.len()).zip(&d.bias);
                let row = |(w, b): (&[f32], &f32)| {
                    self.sum(w.iter().zip(first).map(|(w, &v)| (Exact::from(*w), v)), Exact::from(*b))
                };
                rows.map(row).collect()
            }
            Layer::Conv(c) => {
                let taps = c.kernel[0] * c.kernel[1];
                let mut out = vec![];
                for o in 0..y.channels {
                    for at in places(y) {
                        let mut terms = vec![];
                        for channel in 0..x.channels {
                            for (tap, index) in window(c.kernel, c.stride, c.pad, at, x) {
                                let w = c.weight[(o * x.channels + channel) * taps + tap];
                                terms.push((Exact::from(w), first[channel * x.height * x.width + index]));
                            }
                        }
                        out.push(self.sum(terms, Exact::from(c.bias[o])));
                    }
                }
                out
            }
            Layer::Relu => first.iter().map(|&v| self.push(Scalar::Relu(v))).collect(),
            Layer::Activation(f) => {
                first.iter().enumerate().map(|(k, &v)| self.activation(function_of(f, k, y.len()), v)).collect()
            }
            Layer::MaxPool(p) => self.pool(p, first, x, y, |truth, all| truth.push(Scalar::Max(all))),
            Layer::AvgPool(p) => self.pool(p, first, x, y, |truth, all| {
                let count = if p.count_include_pad { p.kernel[0] * p.kernel[1] } else { all.len() };
                let share = Exact::from(1.0).over(count as u64);
                truth.sum(all.into_iter().map(|v| (share.clone(), v)), Exact::zero())
            }),
            Layer::Add => {
                let one = || Exact::from(1.0);
                let pairs = first.iter().zip(inputs[1]);
                pairs.map(|(&a, &b)| self.sum([(one(), a), (one(), b)], Exact::zero())).collect()
            }
            Layer::Scale { scale, shift } => {
                let constants = scale.iter().zip(shift).zip(first);
                constants.map(|((a, b), &v)| self.sum([(Exact::from(*a), v)], Exact::from(*b))).collect()
            }
            Layer::Gather(map) => {
                let from = |s: &Option<deltamax::model::Source>| match s {
                    Some(s) => inputs[s.input as usize][s.index as usize],
                    None => self.sum([], Exact::zero()),
                };
                map.iter().map(from).collect()
            }
        }
    }

    /// An activation made of lines, as a sum of rectifiers.
    fn activation(&mut self, f: &Activation, x: usize) -> usize {
        let number = |v: f32| Exact::from(v);
        let one = || Exact::from(1.0);
        // What is above a bound.
        let over = |truth: &mut Truth, v: usize, bound: f32| {
            let rest = truth.sum([(one(), v)], number(-bound));
            truth.push(Scalar::Relu(rest))
        };
        match f {
            Activation::LeakyRelu(l) => {
                let rectified = self.push(Scalar::Relu(x));
                self.sum([(number(l.slope), x), (one().minus(&number(l.slope)), rectified)], Exact::zero())
            }
            Activation::Abs(_) => {
                let rectified = self.push(Scalar::Relu(x));
                self.sum([(number(-1.0), x), (number(2.0), rectified)], Exact::zero())
            }
            Activation::Clip(c) => {
                let (low, constant) = match c.low.is_finite() {
                    true => (over(self, x, c.low), number(c.low)),
                    false => (x, Exact::zero()),
                };
                let mut terms = vec![(one(), low)];
                if c.high.is_finite() {
                    terms.push((number(-1.0), over(self, x, c.high)));
                }
                self.sum(terms, constant)
            }
            Activation::HardSigmoid(h) => {
                let line = self.sum([(number(h.alpha), x)], number(h.beta));
                let (rectified, over) = (self.push(Scalar::Relu(line)), over(self, line, 1.0));
                self.sum([(one(), rectified), (number(-1.0), over)], Exact::zero())
            }
            Activation::HardSwish(_) | Activation::Sigmoid(_) | Activation::Tanh(_) => {
                unreachable!("not made of lines")
            }
        }
    }

    fn pool(
        &mut self,
        p: &Pool,
        input: &[usize],
        x: Shape,
        y: Shape,
        mut f: impl FnMut(&mut Truth, Vec<usize>) -> usize,
    ) -> Vec<usize> {
        let mut out = vec![];
        for plane in input.chunks_exact(x.height * x.width) {
            for at in places(y) {
                let all = window(p.kernel, p.stride, p.pad, at, x).map(|(_, k)| plane[k]).collect();
                out.push(f(self, all));
            }
        }
        out
    }

    /// Outputs at a point.
    pub fn at(&self, x: &[f32]) -> Vec<Exact> {
        let step = vec![0; x.len()];
        let line = Line { from: x, step: &step, clip: false, until: Exact::zero() };
        let mut outputs = vec![];
        self.walk(&line, |piece| {
            outputs = piece.outputs.iter().map(|l| l.a.clone()).collect();
            false
        });
        outputs
    }

    /// Goes along a line piece by piece as long as `visit` wants more.
    pub fn walk(&self, line: &Line<'_>, mut visit: impl FnMut(&Piece) -> bool) {
        let until = Place::of(line.until.clone());
        let mut from = Place::of(Exact::zero());
        for _ in 0..MOST_PIECES {
            let (outputs, mut to) = self.piece(line, &from);
            let last = to.as_ref().is_none_or(|t| t.compare(&until).is_ge());
            if last {
                to = Some(until.clone());
            }
            let piece = Piece { from, to: to.expect("set if it was open"), outputs };
            if !visit(&piece) || last {
                return;
            }
            from = piece.to;
        }
    }

    /// Outputs from a place on, and where the next piece begins.
    fn piece(&self, line: &Line<'_>, from: &Place) -> (Vec<Linear>, Option<Place>) {
        let mut next: Option<Place> = None;
        let mut turn = |at: Option<Place>| {
            let Some(at) = at.filter(|at| at.compare(from).is_gt()) else { return };
            if next.as_ref().is_none_or(|n| at.compare(n).is_lt()) {
                next = Some(at);
            }
        };
        let mut values: Vec<Linear> = Vec::with_capacity(self.scalars.len());
        for scalar in &self.scalars {
            let value = match scalar {
                Scalar::Input(k) => {
                    let x = Linear { a: Exact::from(line.from[*k]), b: Exact::from(f64::from(line.step[*k])) };
                    let wall = Linear::constant(Exact::from(if line.step[*k] > 0 { 1.0 } else { 0.0 }));
                    let room = x.minus(&wall);
                    if !line.clip || x.b.is_zero() {
                        x
                    } else if room.sign_from(from) == x.b.sign() {
                        wall
                    } else {
                        turn(room.root());
                        x
                    }
                }
                Scalar::Sum { terms, constant } => {
                    let mut sum = Linear::constant(constant.clone());
                    terms.iter().for_each(|(w, v)| sum.add_product(w, &values[*v]));
                    sum
                }
                Scalar::Relu(v) => {
                    let z = &values[*v];
                    turn(z.root());
                    if z.sign_from(from).is_gt() { z.clone() } else { Linear::constant(Exact::zero()) }
                }
                Scalar::Max(all) => {
                    let mut most = &values[all[0]];
                    for v in &all[1..] {
                        if values[*v].minus(most).sign_from(from).is_gt() {
                            most = &values[*v];
                        }
                    }
                    let most = most.clone();
                    all.iter().for_each(|v| turn(values[*v].minus(&most).root()));
                    most
                }
            };
            values.push(value);
        }
        (self.outputs.iter().map(|&v| values[v].clone()).collect(), next)
    }

    /// The first place on the line at which `class` does not exceed every other class.
    pub fn loss(&self, line: &Line<'_>, class: usize) -> Option<Place> {
        let mut found: Option<Place> = None;
        self.walk(line, |piece| {
            for (_, other) in piece.outputs.iter().enumerate().filter(|(j, _)| *j != class) {
                let lead = piece.outputs[class].minus(other);
                let lost = if lead.sign(&piece.from).is_le() {
                    Some(piece.from.clone())
                } else if lead.sign(&piece.to).is_le() {
                    lead.root()
                } else {
                    None
                };
                if let Some(lost) = lost.filter(|l| found.as_ref().is_none_or(|f| l.compare(f) == Ordering::Less)) {
                    found = Some(lost);
                }
            }
            found.is_none()
        });
        found
    }

    /// Whether somewhere on the line all of these sums of outputs, `sum c_j y_j + constant`, are at most zero.
    pub fn meets(&self, line: &Line<'_>, conditions: &[(Vec<Exact>, Exact)]) -> bool {
        let mut met = false;
        self.walk(line, |piece| {
            let (mut low, mut high) = (piece.from.clone(), piece.to.clone());
            let possible = conditions.iter().all(|(coefficients, constant)| {
                let mut sum = Linear::constant(constant.clone());
                coefficients.iter().zip(&piece.outputs).for_each(|(c, y)| sum.add_product(c, y));
                let Some(root) = sum.root() else { return sum.a.sign().is_le() };
                let end = if sum.b.sign().is_gt() { &mut high } else { &mut low };
                if root.compare(end) == sum.b.sign().reverse() {
                    *end = root;
                }
                true
            });
            met = possible && low.compare(&high).is_le();
            !met
        });
        met
    }
}

fn places(y: Shape) -> impl Iterator<Item = [usize; 2]> {
    (0..y.height).flat_map(move |row| (0..y.width).map(move |column| [row, column]))
}

/// Taps of the window at an output place that lie inside: the tap's number, and the position within the plane.
fn window(
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    at: [usize; 2],
    x: Shape,
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel[0] * kernel[1]).filter_map(move |tap| {
        let row = (at[0] * stride[0] + tap / kernel[1]).checked_sub(pad[0]).filter(|r| *r < x.height)?;
        let column = (at[1] * stride[1] + tap % kernel[1]).checked_sub(pad[1]).filter(|c| *c < x.width)?;
        Some((tap, row * x.width + column))
    })
}
