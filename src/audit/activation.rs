//! Bounds of activations from their own convexity, in f64: nothing is shared with the tables that kernels read.

use super::bounds::Interval;
use super::lines::Line;
use super::rounding::{down, up};
use crate::model::activation::{Activation, Bend, ROUNDING, function_of, overlap};

/// Relative error of the few operations between a value and a height, with room.
const FEW: f64 = 1.0 / (1u64 << 48) as f64;

/// A certifier with tables leaves a tangent for a chord that is this much lower: near to where the two change over, lines
/// had better be alike.
const NEARER: f64 = 1.0 / (1 << 17) as f64;

/// Slopes tried for one line.
const TRIES: usize = 24;

/// At least `side * (f(x) - slope * x)` for every x of `[low, high]`, and where it is about that.
///
/// A function that bends like the side is highest at an end of a piece. One that bends the other way lies, on this side,
/// within any of its tangents: that at a place where its slope is about that of the line leaves least.
fn top(f: &Activation, [low, high]: [f64; 2], slope: f64, side: f64) -> (f64, f64) {
    let function = f.function();
    let height = |x: f64| {
        let y = f.value(x);
        up(side * (y - slope * x) + f.error(x) + FEW * (y.abs() + (slope * x).abs()))
    };
    let mut best = (height(low), low);
    let mut keep = |h: f64, x: f64| {
        // Not `h > best`: that loses NaN.
        if !(h <= best.0) {
            best = (h, x);
        }
    };
    keep(height(high), high);
    for (i, [a, b], bend) in overlap(&function.pieces(), low, high) {
        keep(height(a), a);
        keep(height(b), b);
        let turns = match bend {
            Bend::Line => false,
            Bend::Convex => side < 0.0,
            Bend::Concave => side > 0.0,
        };
        if turns {
            let (mut left, mut right) = (a, b);
            for _ in 0..80 {
                let middle = 0.5 * (left + right);
                if side * (function.slope(i, middle) - slope) > 0.0 { left = middle } else { right = middle }
            }
            let (rise, off) = (side * (function.slope(i, left) - slope), 2.0 * ROUNDING * function.steepest());
            let beyond = ((rise + off) * (b - left)).max((off - rise) * (left - a)).max(0.0);
            keep(up(height(left) + up(beyond)), left);
        }
    }
    best
}

/// Bounds of the function over `[low, high]`.
pub fn range(f: &Activation, ends: [f64; 2]) -> (f64, f64) {
    (-top(f, ends, 0.0, -1.0).0, top(f, ends, 0.0, 1.0).0)
}

/// Slope and constant of a line on this side of the function that is nearest to it in the middle of the range.
fn line(f: &Activation, [low, high]: [f64; 2], side: f64) -> [f64; 2] {
    let middle = 0.5 * (low + high);
    let there = |slope: f64| {
        let (height, at) = top(f, [low, high], slope, side);
        (height + side * slope * middle, slope, height, at)
    };
    let [steep, flat] = f.slopes(middle, middle);
    let mut best = there(0.5 * (steep + flat));
    best.0 -= NEARER;
    let (mut left, mut right) = ((low, f.value(low)), (high, f.value(high)));
    for _ in 0..TRIES {
        let slope = (right.1 - left.1) / (right.0 - left.0);
        if !slope.is_finite() {
            break;
        }
        let next = there(slope);
        if next.0 < best.0 {
            best = next;
        }
        let at = next.3;
        if !(at > left.0 && at < right.0) {
            break;
        }
        let point = (at, f.value(at));
        if at < middle { left = point } else { right = point }
    }
    [best.1, side * best.2]
}

/// Relaxes an activation node.
pub fn lines(functions: &[Activation], x: &Interval) -> Vec<Line> {
    let line = |k: usize| {
        let (f, ends) = (function_of(functions, k, x.len()), [x.lower[k], x.upper[k]]);
        let ([upper, intercept], [lower, floor]) = (line(f, ends, 1.0), line(f, ends, -1.0));
        Line { lower, floor, upper, intercept, shift: 0.0 }
    };
    (0..x.len()).map(line).collect()
}

/// The outputs of an activation node.
pub fn step(functions: &[Activation], x: &Interval, y: &mut Interval) {
    for k in 0..x.len() {
        let (low, high) = range(function_of(functions, k, x.len()), [x.lower[k], x.upper[k]]);
        y.push(down(low), up(high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::activation::tests::all;
    use crate::rng::Rng;

    #[test]
    fn lines_and_ranges_hold_and_are_close() {
        let mut rng = Rng::new(5, 0);
        for f in all() {
            for _ in 0..400 {
                let c = f64::from(rng.range(-1.0, 1.0) * 10f32.powf(rng.range(-2.0, 1.5)));
                let r = f64::from(10f32.powf(rng.range(-6.0, 1.5)));
                let ends = [c - r, c + r];
                let (low, high) = range(&f, ends);
                let (over, under) = (line(&f, ends, 1.0), line(&f, ends, -1.0));
                let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
                for t in 0..=100 {
                    let x = ends[0] + (ends[1] - ends[0]) * f64::from(t) / 100.0;
                    let y = f.value(x);
                    (least, most) = (least.min(y), most.max(y));
                    assert!(low <= y && y <= high, "{f:?} over {ends:?}: {y} outside [{low}, {high}]");
                    assert!(under[0] * x + under[1] <= y && y <= over[0] * x + over[1], "{f:?} over {ends:?} at {x}");
                }
                let room = 1e-9 * (1.0 + c.abs() + r);
                assert!(high - low <= 1.02 * (most - least) + 0.02 * r.min(1.0) + room, "{f:?} over {ends:?}");
                let gap = (over[0] * c + over[1]) - (under[0] * c + under[1]);
                assert!(gap <= 1.02 * (most - least) + room, "{f:?} over {ends:?}: {gap}");
            }
        }
    }
}
