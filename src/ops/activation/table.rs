//! An activation as a table of short lines that kernels can bound it by with sums and products alone, which every device
//! computes alike; `exp` and its kind are up to the driver.
//!
//! A segment says that from `start` to the next one's the function lies within `[-below, above]` of `value + slope * (x - anchor)`,
//! over real numbers. Segments of one piece stand together: the function is convex there, or concave, or a line.

use crate::model::activation::{Activation, Bend, ROUNDING};
use crate::rounding::to_f32_up;

/// Words of one segment: start, anchor, value, slope, below, above, bend (-1, 0 or 1), last segment of its piece (u32).
pub const SEGMENT: usize = 8;

/// Words of one curve's head: first segment and number of segments (u32), how far slopes are from those of the chords between
/// the ends of segments, the largest slope.
pub const HEAD: usize = 4;

/// Most segments of one curve; what kernels search in so many halvings.
pub const HALVINGS: usize = 16;

/// Most pieces of one curve, with those in between.
pub const PIECES: usize = 16;

/// Largest distance of a curved function from its segments.
const TOLERANCE: f64 = 1.0 / (1 << 18) as f64;

/// Distance from its far line where a function's last segment begins.
const FAR: f64 = 1e-7;

/// Slopes and values this small are stored as zero, since a device may read them so.
const TINY: f64 = 1e-30;

#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub start: f32,
    pub anchor: f32,
    pub value: f32,
    pub slope: f32,
    pub below: f32,
    pub above: f32,
    pub bend: f32,
    pub last: u32,
}

/// One function as segments.
#[derive(Clone, Debug)]
pub struct Curve {
    pub segments: Vec<Segment>,
    /// How far stored slopes are from those of the function's chords.
    pub slope_error: f32,
    pub steepest: f32,
}

/// Zero in place of what may be read as such.
fn stored(x: f64) -> f32 {
    if x.abs() < TINY { 0.0 } else { x as f32 }
}

fn charge(x: f64) -> f32 {
    if x < 1e-40 { 0.0 } else { to_f32_up(x).max(TINY as f32) }
}

impl Curve {
    pub fn new(activation: &Activation) -> Curve {
        let f = activation.function();
        let mut curve = Curve { segments: vec![], slope_error: 0.0, steepest: to_f32_up(f.steepest()) };
        let pieces = f.pieces();
        let mut start = f32::MIN;
        for (i, piece) in pieces.iter().enumerate() {
            let next = pieces.get(i + 1).map(|p| around(p.from));
            let end = next.map_or(f32::MAX, |n| n[0]);
            if end > start {
                curve.piece(activation, i, piece.bend, piece.far, [start, end]);
            }
            if let Some([low, high]) = next {
                if low < high {
                    curve.joint(activation, [low, high]);
                }
                start = high;
            }
        }
        assert!(curve.segments.len() < 1 << HALVINGS, "{activation:?} has too many segments");
        curve
    }

    /// A short way around the end of a piece that is no f32.
    fn joint(&mut self, activation: &Activation, [low, high]: [f32; 2]) {
        let value = stored(activation.value(f64::from(low)));
        let reach = 2.0 * activation.function().steepest() * (f64::from(high) - f64::from(low));
        let off = (activation.value(f64::from(low)) - f64::from(value)).abs() + activation.error(f64::from(low));
        let gap = charge(off + reach);
        self.push(&[Segment {
            start: low,
            anchor: low,
            value,
            slope: 0.0,
            below: gap,
            above: gap,
            bend: 0.0,
            last: 0,
        }]);
    }

    fn push(&mut self, piece: &[Segment]) {
        let last = (self.segments.len() + piece.len() - 1) as u32;
        self.segments.extend(piece.iter().map(|s| Segment { last, ..*s }));
    }

    fn piece(&mut self, f: &Activation, i: usize, bend: Bend, far: Option<[f64; 2]>, [start, end]: [f32; 2]) {
        let (open_left, open_right) = (start == f32::MIN, end == f32::MAX);
        let sign = match bend {
            Bend::Line => {
                let anchor = if !open_left {
                    start
                } else if !open_right {
                    end
                } else {
                    0.0
                };
                let inside = if open_left { f64::from(anchor) - 1.0 } else { f64::from(anchor) + 1.0 };
                return self.line(f, f.function().slope(i, inside), anchor, start);
            }
            Bend::Convex => 1.0,
            Bend::Concave => -1.0,
        };
        let (mut from, mut to) = (start, end);
        let far_away = |direction: f32| {
            let [slope, constant] = far.expect("a curved piece without end has a far line");
            let distance = |x: f32| (f.value(f64::from(x)) - slope * f64::from(x) - constant).abs();
            let mut x = direction;
            while distance(x) > FAR {
                x *= 2.0;
            }
            x
        };
        if open_left {
            from = far_away(-1.0);
            self.far(f, far, from, f32::MIN);
        }
        if open_right {
            to = far_away(1.0);
        }
        let mut segments = Vec::new();
        self.split(f, i, sign, [from, to], &mut segments);
        self.push(&segments);
        if open_right {
            self.far(f, far, to, to);
        }
    }

    /// A line that is one exactly.
    fn line(&mut self, f: &Activation, slope: f64, anchor: f32, start: f32) {
        let exact = f.value(f64::from(anchor));
        let value = stored(exact);
        let gap =
            charge((exact - f64::from(value)).abs() + if exact == 0.0 { 0.0 } else { f.error(f64::from(anchor)) });
        assert_eq!(f64::from(slope as f32), slope, "{f:?} has a line whose slope is no f32");
        let slope = slope as f32;
        self.push(&[Segment { start, anchor, value, slope, below: gap, above: gap, bend: 0.0, last: 0 }]);
    }

    /// Beyond `at`, where the function comes ever closer to its far line.
    fn far(&mut self, f: &Activation, far: Option<[f64; 2]>, at: f32, start: f32) {
        let [slope, constant] = far.expect("a curved piece without end has a far line");
        let x = f64::from(at);
        let line = slope * x + constant;
        let value = stored(line);
        let off = (f.value(x) - line).abs() + (line - f64::from(value)).abs() + f.error(x) + 4.0 * ROUNDING;
        let (gap, slope) = (charge(off), slope as f32);
        self.push(&[Segment { start, anchor: at, value, slope, below: gap, above: gap, bend: 0.0, last: 0 }]);
    }

    /// Segments of a piece, halved until they are close enough.
    fn split(&mut self, f: &Activation, i: usize, sign: f64, [from, to]: [f32; 2], into: &mut Vec<Segment>) {
        let (segment, slope_error) = chord(f, i, sign, [from, to]);
        let middle = (0.5 * (f64::from(from) + f64::from(to))) as f32;
        if f64::from(segment.below.max(segment.above)) > TOLERANCE && from < middle && middle < to {
            self.split(f, i, sign, [from, middle], into);
            self.split(f, i, sign, [middle, to], into);
        } else {
            self.slope_error = self.slope_error.max(slope_error);
            into.push(segment);
        }
    }
}

/// The f32 on either side of `x`, or `x` twice.
fn around(x: f64) -> [f32; 2] {
    let near = x as f32;
    if f64::from(near) == x {
        [near; 2]
    } else if f64::from(near) < x {
        [near, near.next_up()]
    } else {
        [near.next_down(), near]
    }
}

/// The segment between two places of a piece that bends up (`sign` 1) or down (-1), and how far its slope may be from the chord's.
fn chord(f: &Activation, i: usize, sign: f64, [from, to]: [f32; 2]) -> (Segment, f32) {
    let (a, b) = (f64::from(from), f64::from(to));
    let (ya, yb) = (f.value(a), f.value(b));
    let error = f.error(a).max(f.error(b));
    let exact = (yb - ya) / (b - a);
    let (value, slope) = (stored(ya), stored(exact));
    let distance = |x: f64| f.value(x) - (f64::from(value) + f64::from(slope) * (x - a));
    // The distance bends as the function does: it is most at an end, and least where slopes agree, found by halving.
    let (mut low, mut high) = (a, b);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if sign * (f.function().slope(i, middle) - f64::from(slope)) > 0.0 { high = middle } else { low = middle }
    }
    let [least, most] = f.slopes(low, high);
    let stray = (least - f64::from(slope)).abs().max((most - f64::from(slope)).abs()) * (b - a);
    let ends = [distance(a), distance(b)].map(|d| sign * d);
    let outer = ends[0].max(ends[1]).max(0.0) + error;
    let inner = (-sign * distance(low)).max(-ends[0].min(ends[1])).max(0.0) + stray + error;
    let (below, above) = if sign > 0.0 { (inner, outer) } else { (outer, inner) };
    // What is computed here in f64 is itself rounded.
    let room = ROUNDING * (1.0 + ya.abs() + exact.abs() * (a.abs() + b.abs()));
    let (below, above) = (charge(below + room), charge(above + room));
    let segment = Segment { start: from, anchor: from, value, slope, below, above, bend: sign as f32, last: 0 };
    (segment, charge((exact - f64::from(slope)).abs() + (2.0 * error + room) / (b - a)))
}

/// The table of several curves, as kernels read it.
pub fn words(activations: &[Activation]) -> Vec<u32> {
    let curves: Vec<Curve> = activations.iter().map(Curve::new).collect();
    let mut words = Vec::new();
    let mut first = 0;
    for c in &curves {
        words.extend([first, c.segments.len() as u32, c.slope_error.to_bits(), c.steepest.to_bits()]);
        // One more, where the last one ends.
        first += c.segments.len() as u32 + 1;
    }
    words.resize(words.len().next_multiple_of(SEGMENT), 0);
    for c in &curves {
        for s in &c.segments {
            words.extend([s.start, s.anchor, s.value, s.slope, s.below, s.above, s.bend].map(f32::to_bits));
            words.push(s.last);
        }
        words.extend([f32::MAX.to_bits(), 0, 0, 0, 0, 0, 0, 0]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::activation::tests::all;

    #[test]
    fn segments_contain_the_function_and_are_close() {
        for activation in all() {
            let curve = Curve::new(&activation);
            assert!(curve.slope_error < 1e-6, "{activation:?}: {}", curve.slope_error);
            assert_eq!(curve.segments[0].start, f32::MIN);
            for (i, s) in curve.segments.iter().enumerate() {
                let end = curve.segments.get(i + 1).map_or(1e4, |n| f64::from(n.start)).min(1e4);
                let start = f64::from(s.start).max(-1e4);
                assert!(start < end && f64::from(s.below.max(s.above)) < 2.0 * TOLERANCE, "{activation:?}: {s:?}");
                for t in 0..=8 {
                    let x = start + (end - start) * f64::from(t) / 8.0;
                    let y = f64::from(s.value) + f64::from(s.slope) * (x - f64::from(s.anchor));
                    let off = activation.value(x) - y;
                    let slack = 1e-15 * (1.0 + x.abs());
                    let holds = -f64::from(s.below) - slack <= off && off <= f64::from(s.above) + slack;
                    assert!(holds, "{activation:?} at {x}: {off:e} {s:?}");
                }
                let next = curve.segments.get(i + 1).filter(|n| n.last == s.last);
                assert!(next.is_none_or(|n| s.bend * (n.slope - s.slope) >= 0.0), "{activation:?}: {s:?}");
            }
        }
    }
}
