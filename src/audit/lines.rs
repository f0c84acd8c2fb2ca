//! Linear bounds of the nonlinear layers.

use super::bounds::{Interval, windows};
use super::rounding::{down, up};
use crate::model::Pool;
use crate::results::certificate::{Assumed, LowerSlopes, NodeSlopes};
use crate::tensor::Shape;

/// `lower * z + floor <= f(z) <= upper * z + intercept` wherever z may be, and whatever its coefficient, a row may have `shift`
/// more of z.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub lower: f64,
    /// Zero for ReLUs.
    pub floor: f64,
    pub upper: f64,
    pub intercept: f64,
    /// Only under an assumed sign of z: `shift * z <= 0`.
    pub shift: f64,
}

impl Line {
    /// The line through an unstable neuron with bounds `l < 0 < u` for slopes in [0,1]; the identity or zero elsewhere.
    ///
    /// ReLU is convex, so a line above it at both ends is above it between: the intercept is at least `-upper * l` and
    /// `u - upper * u` in real arithmetic. Below, `a z <= relu(z)` for every a in [0,1].
    pub fn new(l: f64, u: f64, slopes: impl FnOnce() -> [f64; 2]) -> Line {
        if u <= 0.0 {
            return Line { lower: 0.0, floor: 0.0, upper: 0.0, intercept: 0.0, shift: 0.0 };
        }
        if l >= 0.0 {
            return Line { lower: 1.0, floor: 0.0, upper: 1.0, intercept: 0.0, shift: 0.0 };
        }
        let [lower, upper] = slopes();
        let intercept = up(-upper * l).max(up(u - down(upper * u)));
        Line { lower, floor: 0.0, upper, intercept, shift: 0.0 }
    }

    /// With this lower slope wherever z lies: `a z <= relu(z)` for every z and every a in [0,1]. A stable neuron has a closer
    /// line, but further down coefficients of another size may prove less.
    pub fn kept(self, lower: f64) -> Line {
        Line { lower, ..self }
    }

    /// Slope of the line through both ends of an unstable neuron.
    pub fn chord(l: f64, u: f64) -> f64 {
        (u / (u - l)).clamp(0.0, 1.0)
    }

    /// Under an assumed sign the ReLU is the identity or zero. Its multiplier gives what the assumption is worth: with
    /// `beta >= 0`, `-beta * z <= 0` where `z >= 0`, and `beta * z <= 0` where `z <= 0`.
    pub fn assumed(a: &Assumed) -> Line {
        let (slope, sign) = if a.active { (1.0, -1.0) } else { (0.0, 1.0) };
        Line { lower: slope, floor: 0.0, upper: slope, intercept: 0.0, shift: sign * f64::from(a.beta) }
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

/// Relaxes a ReLU node; `keep`: with the lower slopes given for stable neurons too.
pub fn relu(x: &Interval, given: Given<'_>, keep: bool) -> Vec<Line> {
    let line = |k: usize| {
        let (l, u) = (x.lower[k], x.upper[k]);
        let line = Line::new(l, u, || match given {
            Given::Standard(lean) => [f64::from(u8::from(u + l > lean * (u - l))), Line::chord(l, u)],
            Given::Lower(s) => [f64::from(s.lower[k]), Line::chord(l, u)],
            Given::Both(s) => [f64::from(s.lower[k]), f64::from(s.upper[k])],
        });
        match given {
            Given::Lower(LowerSlopes { lower, .. }) | Given::Both(NodeSlopes { lower, .. }) if keep => {
                line.kept(f64::from(lower[k]))
            }
            Given::Standard(_) | Given::Lower(_) | Given::Both(_) => line,
        }
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
