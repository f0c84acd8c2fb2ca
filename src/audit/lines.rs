//! Linear bounds of the nonlinear layers.

use super::bounds::{Interval, windows};
use super::rounding::{down, up};
use crate::error::{Error, Result};
use crate::model::{Layer, Model, Pool};
use crate::tensor::Shape;

/// Slopes of one ReLU node, one pair per neuron.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NodeSlopes {
    /// Index into [`Model::nodes`].
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
    /// `relu(z) <= upper * z + intercept`, the intercept being the auditor's own.
    pub upper: Vec<f32>,
}

/// Lower slopes of one ReLU node, one per neuron; the upper line is the chord.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LowerSlopes {
    /// Index into [`Model::nodes`].
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
}

/// Slopes for the bounds of one node's neurons, which are tried beside the standard ones.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NeuronSlopes {
    /// Index into [`Model::nodes`].
    pub node: usize,
    pub relu: Vec<LowerSlopes>,
}

/// A certificate: slopes for the margins, and for neurons behind them, found by whatever means. Any slopes in [0,1] give a
/// valid bound, so that checking them needs no search. Nodes that are not listed get the standard slopes; stable neurons
/// need none.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Slopes {
    pub relu: Vec<NodeSlopes>,
    #[serde(default)]
    pub inner: Vec<NeuronSlopes>,
}

impl Slopes {
    /// # Errors
    /// Names the node and neuron of a slope that is not a number in [0,1], a node that is no ReLU or is listed twice,
    /// and a list of the wrong length.
    pub fn check(&self, model: &Model) -> Result<()> {
        let fail = |problem: String| Err(Error::usage(format!("certificate: {problem}")));
        for (at, s) in self.relu.iter().enumerate() {
            if self.relu[..at].iter().any(|other| other.node == s.node) {
                return fail(format!("node {} is listed twice", s.node));
            }
            check_slopes(model, s.node, "lower", &s.lower)?;
            check_slopes(model, s.node, "upper", &s.upper)?;
        }
        for (at, neurons) in self.inner.iter().enumerate() {
            if neurons.node >= model.nodes.len() || self.inner[..at].iter().any(|other| other.node == neurons.node) {
                return fail(format!("the network has no node {}, or it is listed twice", neurons.node));
            }
            for s in &neurons.relu {
                check_slopes(model, s.node, "lower", &s.lower)?;
            }
        }
        Ok(())
    }
}

/// Slopes for every neuron of a ReLU node, all in [0,1].
fn check_slopes(model: &Model, node: usize, side: &str, slopes: &[f32]) -> Result<()> {
    let fail = |problem: String| Err(Error::usage(format!("certificate: {problem}")));
    let Some(node) = model.nodes.get(node).filter(|n| matches!(n.layer, Layer::Relu)) else {
        return fail(format!("the network has no node {node}, or it is no ReLU"));
    };
    if slopes.len() != node.shape.len() {
        let (have, want) = (slopes.len(), node.shape.len());
        return fail(format!("node '{}' has {have} {side} slopes, needs {want}", node.name));
    }
    match slopes.iter().position(|s| !(0.0..=1.0).contains(s)) {
        Some(k) => fail(format!("neuron {k} of '{}' has {side} slope {}, not in [0,1]", node.name, slopes[k])),
        None => Ok(()),
    }
}

/// `lower * z <= relu(z) <= upper * z + intercept` wherever z may be.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub lower: f64,
    pub upper: f64,
    pub intercept: f64,
}

impl Line {
    /// The line through an unstable neuron with bounds `l < 0 < u` for slopes in [0,1]; the identity or zero elsewhere.
    ///
    /// ReLU is convex, so a line above it at both ends is above it between: the intercept is at least `-upper * l` and
    /// `u - upper * u` in real arithmetic. Below, `a z <= relu(z)` for every a in [0,1].
    pub fn new(l: f64, u: f64, slopes: impl FnOnce() -> [f64; 2]) -> Line {
        if u <= 0.0 {
            return Line { lower: 0.0, upper: 0.0, intercept: 0.0 };
        }
        if l >= 0.0 {
            return Line { lower: 1.0, upper: 1.0, intercept: 0.0 };
        }
        let [lower, upper] = slopes();
        let intercept = up(-upper * l).max(up(u - down(upper * u)));
        Line { lower, upper, intercept }
    }
}

/// The slopes to relax a ReLU node with.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    /// The chord above, and below the steeper of 0 and 1 by area (Zhang et al. 2018); the number moves the tie between the
    /// two, as a share of the interval.
    Standard(f64),
    /// The chord above, these below.
    Lower(&'a LowerSlopes),
    Both(&'a NodeSlopes),
}

/// Relaxes a ReLU node.
pub fn relu(x: &Interval, given: Given<'_>) -> Vec<Line> {
    let line = |k: usize| {
        let (l, u) = (x.lower[k], x.upper[k]);
        let chord = (u / (u - l)).clamp(0.0, 1.0);
        Line::new(l, u, || match given {
            Given::Standard(lean) => [f64::from(u8::from(u + l > lean * (u - l))), chord],
            Given::Lower(s) => [f64::from(s.lower[k]), chord],
            Given::Both(s) => [f64::from(s.lower[k]), f64::from(s.upper[k])],
        })
    };
    (0..x.len()).map(line).collect()
}

/// `x[low] <= max of the window <= slope * x[top] + intercept`.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    pub low: usize,
    pub top: usize,
    pub slope: f64,
    pub intercept: f64,
}

impl Peak {
    /// Below, any input of the window will do: the one with the largest centre, where its spread counts by `lean`.
    /// Above, with the highest input x in `[l, u]` and no other above s, the maximum is at most max(x, s), a convex
    /// function: a line above it at both ends is above it between. Where `s <= l` the maximum is x itself.
    fn new(window: &[usize], x: &Interval, lean: f64) -> Peak {
        let rank = |k: usize| x.lower[k] + (0.5 + lean) * (x.upper[k] - x.lower[k]);
        let first = |above: &dyn Fn(usize) -> f64| {
            window.iter().copied().reduce(|a, b| if above(b) > above(a) { b } else { a }).unwrap_or(0)
        };
        let (low, top) = (first(&rank), first(&|k| x.upper[k]));
        let (l, u) = (x.lower[top], x.upper[top]);
        let others = window.iter().filter(|&&k| k != top).map(|&k| x.upper[k]).fold(f64::NEG_INFINITY, f64::max);
        if others <= l {
            return Peak { low: top, top, slope: 1.0, intercept: 0.0 };
        }
        let slope = ((u - others) / (u - l)).clamp(0.0, 1.0);
        let intercept = up(others - down(slope * l)).max(up(u - down(slope * u)));
        Peak { low, top, slope, intercept }
    }
}

/// Relaxes a max pooling node; `lean` as in [`Given::Standard`].
pub fn peaks(p: &Pool, x: &Interval, from: Shape, to: Shape, lean: f64) -> Vec<Peak> {
    let mut peaks = Vec::with_capacity(to.len());
    windows(p, from, to, |_, window| peaks.push(Peak::new(window, x, lean)));
    peaks
}
