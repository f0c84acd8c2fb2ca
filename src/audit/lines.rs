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

/// A certificate: slopes for the margins, found by whatever means. Any slopes in [0,1] give a valid bound, so that
/// checking them needs no search. Nodes that are not listed get the standard slopes; stable neurons need none.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Slopes {
    pub relu: Vec<NodeSlopes>,
}

impl Slopes {
    /// # Errors
    /// Names the node and neuron of a slope that is not a number in [0,1], a node that is no ReLU or is listed twice,
    /// and a list of the wrong length.
    pub fn check(&self, model: &Model) -> Result<()> {
        for (at, s) in self.relu.iter().enumerate() {
            let fail = |problem: String| Err(Error::usage(format!("certificate: {problem}")));
            let Some(node) = model.nodes.get(s.node) else {
                return fail(format!("the network has no node {}", s.node));
            };
            if !matches!(node.layer, Layer::Relu) || self.relu[..at].iter().any(|other| other.node == s.node) {
                return fail(format!("node '{}' is no ReLU, or is listed twice", node.name));
            }
            for (side, slopes) in [("lower", &s.lower), ("upper", &s.upper)] {
                if slopes.len() != node.shape.len() {
                    let (have, want) = (slopes.len(), node.shape.len());
                    return fail(format!("node '{}' has {have} {side} slopes, needs {want}", node.name));
                }
                if let Some(k) = slopes.iter().position(|s| !(0.0..=1.0).contains(s)) {
                    let slope = slopes[k];
                    return fail(format!("neuron {k} of '{}' has {side} slope {slope}, not in [0,1]", node.name));
                }
            }
        }
        Ok(())
    }

    pub fn of(&self, node: usize) -> Option<&NodeSlopes> {
        self.relu.iter().find(|s| s.node == node)
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

/// Relaxes a ReLU node. Without given slopes: the chord above, and below the steeper of 0 and 1 by area (Zhang et al.
/// 2018); `lean` moves the tie between the two, as a share of the interval.
pub fn relu(x: &Interval, given: Option<&NodeSlopes>, lean: f64) -> Vec<Line> {
    let line = |k: usize| {
        let (l, u) = (x.lower[k], x.upper[k]);
        Line::new(l, u, || match given {
            Some(s) => [f64::from(s.lower[k]), f64::from(s.upper[k])],
            None => [f64::from(u8::from(u + l > lean * (u - l))), (u / (u - l)).clamp(0.0, 1.0)],
        })
    };
    (0..x.len()).map(line).collect()
}

/// `x[best] <= max of the window <= ceiling`.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    pub best: usize,
    pub ceiling: f64,
    /// The maximum *is* `x[best]`: no other value of the window can exceed it.
    pub decided: bool,
}

/// Relaxes a max pooling node.
pub fn peaks(p: &Pool, x: &Interval, from: Shape, to: Shape) -> Vec<Peak> {
    let mut peaks = Vec::with_capacity(to.len());
    windows(p, from, to, |_, window| {
        let best = window.iter().copied().max_by(|&a, &b| x.lower[a].total_cmp(&x.lower[b])).unwrap_or(0);
        let ceiling = window.iter().map(|&k| x.upper[k]).fold(f64::NEG_INFINITY, f64::max);
        let decided = window.iter().all(|&k| k == best || x.upper[k] <= x.lower[best]);
        peaks.push(Peak { best, ceiling, decided });
    });
    peaks
}
