//! CPU twins of the activation kernels; the steps are those of `shaders/activation.wgsl`.

use rayon::prelude::*;

use super::Params;
use super::table::{HALVINGS, HEAD, PIECES, SEGMENT, Segment};
use crate::kernel::{Call, as_u32};
use crate::ops::linear::RELAX;
use crate::rounding::{inflated, lower, raise, settle, settle_radius};
use crate::vectorise;

/// Slopes tried for one line, after that of the segment in the middle.
pub(in crate::ops) const STEPS: usize = 12;

/// A tangent is left for a chord that is this much lower: less is the table's own error.
pub(in crate::ops) const NEARER: f32 = 1.0 / (1 << 17) as f32;

/// One curve of the table.
#[derive(Clone, Copy)]
struct Curve<'a> {
    segments: &'a [u32],
    count: usize,
    slope_error: f32,
    steepest: f32,
    unit: f32,
}

/// Where a function less a line is highest, and how high at most.
#[derive(Clone, Copy)]
struct Top {
    height: f32,
    at: f32,
}

/// A range and the segments where it begins and ends.
#[derive(Clone, Copy)]
struct Range {
    low: f32,
    high: f32,
    from: usize,
    to: usize,
}

impl<'a> Curve<'a> {
    fn of(p: &Params, table: &'a [f32], element: usize) -> Self {
        let table = as_u32(table);
        let c = if p.curves == 1 { 0 } else { element / p.plane as usize };
        let head = &table[c * HEAD..][..HEAD];
        let heads = (p.curves as usize * HEAD).next_multiple_of(SEGMENT);
        Curve {
            segments: &table[heads + head[0] as usize * SEGMENT..],
            count: head[1] as usize,
            slope_error: f32::from_bits(head[2]),
            steepest: f32::from_bits(head[3]),
            unit: p.unit,
        }
    }

    #[inline(always)]
    fn start(&self, j: usize) -> f32 {
        f32::from_bits(self.segments[j * SEGMENT])
    }

    #[inline(always)]
    fn segment(&self, j: usize) -> Segment {
        let words = &self.segments[j * SEGMENT..][..SEGMENT];
        let [start, anchor, value, slope, below, above, bend] = std::array::from_fn(|i| f32::from_bits(words[i]));
        Segment { start, anchor, value, slope, below, above, bend, last: words[7] }
    }

    /// The last segment that begins at or before `x`.
    fn find(&self, x: f32) -> usize {
        let (mut low, mut high) = (0, self.count);
        for _ in 0..HALVINGS {
            if high - low <= 1 {
                break;
            }
            let middle = (low + high) / 2;
            if self.start(middle) <= x { low = middle } else { high = middle }
        }
        low
    }

    fn range(&self, low: f32, high: f32) -> Range {
        Range { low, high, from: self.find(low), to: self.find(high) }
    }

    /// At least `side * (f(x) - slope * x)`, `x` being in segment `j`.
    fn height(&self, j: usize, x: f32, slope: f32, side: f32) -> f32 {
        let s = self.segment(j);
        let gap = if side > 0.0 { s.above } else { s.below };
        let more = s.value.abs() + s.slope.abs() * (x.abs() + s.anchor.abs()) + (slope * x).abs() + gap;
        raise(side * (on_line(&s, x) - slope * x) + gap + 8.0 * self.unit * more, 4)
    }

    /// The highest that `side * (f(x) - slope * x)` gets for `x` in the range.
    fn highest(&self, r: Range, slope: f32, side: f32) -> Top {
        let mut top = Top { height: -3.0e38, at: r.low };
        let mut higher = |j: usize, x: f32| {
            let height = self.height(j, x, slope, side);
            if height > top.height {
                top = Top { height, at: x };
            }
        };
        higher(r.from, r.low);
        let mut j = r.from;
        for _ in 0..PIECES {
            if j > r.to {
                break;
            }
            let first = self.segment(j);
            let last = (first.last as usize).min(r.to);
            let (a, b) = (r.low.max(first.start), r.high.min(self.start(last + 1)));
            higher(j, a);
            higher(last, b);
            if first.bend * side < 0.0 {
                // Bends the other way: highest where slopes of segments pass that of the line.
                let (mut k, mut end) = (j, last + 1);
                while k < end {
                    let middle = (k + end) / 2;
                    if side * self.segment(middle).slope > side * slope { k = middle + 1 } else { end = middle }
                }
                for j in [if k == j { j } else { k - 1 }, k.min(last)] {
                    higher(j, self.start(j).clamp(a, b));
                    higher(j, self.start(j + 1).clamp(a, b));
                }
            }
            j = last + 1;
        }
        Top { height: raise(top.height + self.slope_error * (r.high - r.low), 4), at: top.at }
    }

    /// The function's slope at `x` in segment `j`, between those of the segments around it: lines follow ranges smoothly.
    fn slope_at(&self, j: usize, x: f32) -> f32 {
        let s = self.segment(j);
        let middle = 0.5 * s.start + 0.5 * self.start(j + 1);
        if x < middle && j > 0 && self.segment(j - 1).last == s.last {
            let before = self.segment(j - 1);
            let m = 0.5 * before.start + 0.5 * s.start;
            return before.slope + (s.slope - before.slope) * ((x - m) / (middle - m));
        }
        if x >= middle && j < s.last as usize {
            let end = self.segment(j + 1);
            let m = 0.5 * end.start + 0.5 * self.start(j + 2);
            return s.slope + (end.slope - s.slope) * ((x - middle) / (m - middle));
        }
        s.slope
    }

    /// Slope and constant of a line on this side of the function over the range, near it in the middle.
    fn line_over(&self, r: Range, side: f32) -> [f32; 2] {
        let middle = (0.5 * r.low + 0.5 * r.high).clamp(r.low, r.high);
        let (first, tangent) = (self.segment(r.from), self.slope_at(self.find(middle), middle));
        let alone = first.last == self.segment(r.to).last;
        if r.from == r.to || alone && first.bend * side < 0.0 {
            return [tangent, side * self.highest(r, tangent, side).height];
        }
        let point = |j: usize, x: f32| [x, on_line(&self.segment(j), x)];
        let (mut left, mut right) = (point(r.from, r.low), point(r.to, r.high));
        let (mut best, mut least) = ([0.0; 2], 3.0e38);
        for i in 0..=STEPS {
            let chord = (right[1] - left[1]) / (right[0] - left[0]);
            let slope = if i == 0 { tangent } else { chord.clamp(-self.steepest, self.steepest) };
            let top = self.highest(r, slope, side);
            let there = top.height + side * slope * middle;
            if there < least {
                least = there - if i == 0 { NEARER } else { 0.0 };
                best = [slope, side * top.height];
            }
            if i > 0 {
                if !(top.at > left[0] && top.at < right[0]) {
                    break;
                }
                let point = point(self.find(top.at), top.at);
                if top.at < middle { left = point } else { right = point }
            }
        }
        best
    }
}

#[inline(always)]
fn on_line(s: &Segment, x: f32) -> f32 {
    s.value + s.slope * (x - s.anchor)
}

/// The ends of an interval.
fn ends(c: f32, r: f32) -> [f32; 2] {
    let (centre, radius) = (settle(c), settle_radius(c, r));
    if radius == 0.0 { [centre; 2] } else { [lower(centre - radius, 1), raise(centre + radius, 1)] }
}

pub(super) fn forward(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, x], [y]) = call.buffers();
    let lanes = p.lanes as usize;
    y.par_chunks_mut(lanes).zip(x.par_chunks(lanes)).enumerate().for_each(|(k, (y, x))| {
        let curve = Curve::of(&p, table, k);
        if curve.count <= FEW && lanes.is_multiple_of(BLOCK) {
            return values(&curve, x, y);
        }
        y.iter_mut().zip(x).for_each(|(y, x)| *y = on_line(&curve.segment(curve.find(*x)), *x));
    });
}

/// So many segments are looked through one by one: that takes the same steps for all lanes, as the rectifiers of mobile
/// networks deserve.
const FEW: usize = 8;
const BLOCK: usize = 16;

/// Anchor, value and slope of the segment of each `x`.
#[inline(always)]
fn few(curve: &Curve<'_>, x: &[f32; BLOCK]) -> [[f32; BLOCK]; 3] {
    let first = curve.segment(0);
    let mut found = [[first.anchor; BLOCK], [first.value; BLOCK], [first.slope; BLOCK]];
    for j in 1..curve.count {
        let s = curve.segment(j);
        for (part, word) in [s.anchor, s.value, s.slope].into_iter().enumerate() {
            for i in 0..BLOCK {
                found[part][i] = if s.start <= x[i] { word } else { found[part][i] };
            }
        }
    }
    found
}

vectorise!(fn values = values_body(curve: &Curve<'_>, x: &[f32], y: &mut [f32]));

#[inline(always)]
fn values_body(curve: &Curve<'_>, x: &[f32], y: &mut [f32]) {
    let (y, x) = (y.as_chunks_mut::<BLOCK>().0, x.as_chunks::<BLOCK>().0);
    for k in 0..y.len() {
        let ([anchor, value, slope], x) = (few(curve, &x[k]), &x[k]);
        for i in 0..BLOCK {
            y[k][i] = value[i] + slope[i] * (x[i] - anchor[i]);
        }
    }
}

vectorise!(fn gradients = gradients_body(curve: &Curve<'_>, x: &[f32], gy: &[f32], gx: &mut [f32]));

#[inline(always)]
fn gradients_body(curve: &Curve<'_>, x: &[f32], gy: &[f32], gx: &mut [f32]) {
    let (x, gy) = (x.as_chunks::<BLOCK>().0, gy.as_chunks::<BLOCK>().0);
    let gx = gx.as_chunks_mut::<BLOCK>().0;
    for k in 0..gx.len() {
        let [_, _, slope] = few(curve, &x[k]);
        for i in 0..BLOCK {
            gx[k][i] = gy[k][i] * slope[i];
        }
    }
}

pub(super) fn backward(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, x, gy], [gx]) = call.buffers();
    let lanes = p.lanes as usize;
    gx.par_chunks_mut(lanes).zip(x.par_chunks(lanes)).zip(gy.par_chunks(lanes)).enumerate().for_each(
        |(k, ((gx, x), gy))| {
            let curve = Curve::of(&p, table, k);
            if curve.count <= FEW && lanes.is_multiple_of(BLOCK) {
                return gradients(&curve, x, gy, gx);
            }
            for ((gx, x), gy) in gx.iter_mut().zip(x).zip(gy) {
                *gx = gy * curve.segment(curve.find(*x)).slope;
            }
        },
    );
}

pub(super) fn interval(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, xc, xr], [yc, yr]) = call.buffers();
    let lanes = p.lanes as usize;
    yc.par_chunks_mut(lanes).zip(yr.par_chunks_mut(lanes)).enumerate().for_each(|(k, (yc, yr))| {
        let curve = Curve::of(&p, table, k);
        for lane in 0..lanes {
            let [low, high] = ends(xc[k * lanes + lane], xr[k * lanes + lane]);
            let range = curve.range(low, high);
            let (high, low) = (curve.highest(range, 0.0, 1.0).height, -curve.highest(range, 0.0, -1.0).height);
            let centre = settle(0.5 * low + 0.5 * high);
            yc[lane] = centre;
            yr[lane] = inflated(raise((high - centre).max(centre - low), 3), centre, p.inflate);
        }
    });
}

pub(super) fn relax(call: Call<'_>) {
    let p: Params = call.params();
    let ([table, xc, xr, size], [lines, feet]) = call.buffers();
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    let tables = lines.par_chunks_mut(elements * RELAX).zip(feet.par_chunks_mut(elements));
    tables.take(lanes).enumerate().for_each(|(lane, (lines, feet))| {
        for (k, (line, foot)) in lines.chunks_mut(RELAX).zip(feet).enumerate() {
            let at = k * lanes + lane;
            let curve = Curve::of(&p, table, k);
            let [low, high] = ends(xc[at], xr[at]);
            let range = curve.range(low, high);
            let (above, below) = (curve.line_over(range, 1.0), curve.line_over(range, -1.0));
            line.copy_from_slice(&[above[0], above[1], below[0], size[at]]);
            *foot = below[1];
        }
    });
}

pub(super) fn follow(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, z, lines, feet, rows], [y]) = call.buffers();
    let images = as_u32(rows);
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    y.par_chunks_mut(lanes).take(elements).enumerate().for_each(|(k, y)| {
        for (lane, y) in y.iter_mut().enumerate() {
            let (at, i) = (images[lane] as usize * elements + k, k * lanes + lane);
            let line = &lines[at * RELAX..][..RELAX];
            *y = if a[i] < 0.0 { line[0] * z[i] + line[1] } else { line[2] * z[i] + feet[at] };
        }
    });
}
