//! Bounds around images. Every value is written as a reference, what f64 makes of the image, plus a deviation, and bounds
//! are over deviations: in a small ball these are small, and so are the roundings of whatever is multiplied with them.
//!
//! Affine layers lose their constants; what f64 rounded in the reference of a layer, and what folding may have changed in
//! it, is charged there as a distance from the file's layer. A ReLU is `max(c + e, 0) - max(c, 0)` and max pooling the
//! largest `c_k + e_k` less the largest `c_k`, both exact; their lines are made here in f64 and rounded outward, from
//! numbers no larger than deviations, since a neuron that may have either sign has a reference within their reach.

pub(super) mod rows;

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::region::Region;
use super::{Ball, Bounder, Row, not_finite};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::model::{Model, ValueId, enclosure};
use crate::ops::{pool, range, select};
use crate::rounding::{to_f32_down, to_f32_up};

/// The references of a batch of images.
pub(super) struct Around {
    lanes: Vec<Arc<Reference>>,
    /// Lanes of buffers, padding included.
    width: usize,
}

/// A network's values at one image.
pub(super) struct Reference {
    model: Arc<Model>,
    image: Vec<f32>,
    /// By value.
    values: Vec<Vec<f64>>,
    /// By node: how far its layer, as the file defines it, may be from the reference if it reads references.
    residuals: Vec<Vec<f32>>,
    /// Whether all of this is in the range of what bounds can follow. Nothing is proved about other images.
    known: bool,
}

/// References of the batch before, which most often is of the same images.
pub(super) type Seen = Arc<Mutex<Vec<Arc<Reference>>>>;

/// Deviations of one value, `[element][lane]`.
pub(super) struct Deviations {
    pub centre: Vec<f32>,
    pub radius: Vec<f32>,
}

/// Lines of one nonlinear layer over deviations, in the forms of [`super::relaxation`].
pub(super) struct Lines {
    /// `[lane][element][RELAX]`.
    pub table: Vec<f32>,
    /// `[lane][element]`.
    pub feet: Vec<f32>,
    /// How far the function may be from either line on its other side, `[lane][element]`.
    pub gaps: Vec<f32>,
    /// Of max pooling, `[lane][element]`.
    pub picks: Vec<u32>,
}

/// One entry of [`Lines`].
struct Line {
    upper: f32,
    intercept: f32,
    lower: f32,
    foot: f32,
    gap: f64,
    magnitude: f32,
    picks: u32,
}

/// More than what a few operations of f64 lose of numbers that add up to one.
const LOST: f64 = 4.0 * f64::EPSILON;

impl Bounder {
    /// Whether bounds can be taken around images at all: of networks that bend at zero and between inputs only, of lines
    /// that are not moved, and for no runtime, whose roundings do not shrink with the ball.
    pub fn can_go_around(&self) -> bool {
        let deployed = (0..self.net.model.nodes.len()).any(|i| self.deployed(i) > 0.0);
        let curved = (0..self.net.model.nodes.len()).any(|i| self.net.layer(i).is_curved());
        self.method.relaxes() && !self.method.optimises() && !deployed && !curved
    }

    /// Whether they are.
    pub fn goes_around(&self) -> bool {
        self.around && self.can_go_around()
    }

    /// Balls as they are to be bounded.
    pub(super) fn region(&self, balls: &[Ball<'_>]) -> Result<Region> {
        if self.goes_around() { Region::around(self, balls) } else { Region::balls(self, balls) }
    }
}

impl Reference {
    fn new(model: &Arc<Model>, image: &[f32]) -> Reference {
        let most = f64::from(range::MOST);
        let layers = enclosure::layer_by_layer(model, image);
        let known = layers.iter().all(|(v, e)| v.iter().chain(e).all(|x| x.abs() <= most));
        let (values, errors): (Vec<Vec<f64>>, Vec<Vec<f64>>) = layers.into_iter().unzip();
        let kept = |v: Vec<f64>| if known { v } else { vec![0.0; v.len()] };
        let up = |e: Vec<f64>| kept(e).into_iter().map(to_f32_up).collect();
        Reference {
            model: model.clone(),
            image: image.to_vec(),
            values: values.into_iter().map(kept).collect(),
            residuals: errors.into_iter().skip(1).map(up).collect(),
            known,
        }
    }
}

impl Around {
    pub fn new(bounder: &Bounder, images: &[&[f32]], width: usize) -> Around {
        let lock = || bounder.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lock().clone();
        let reference = |image: &&[f32]| {
            let model = &bounder.net.model;
            let old = before.iter().find(|r| Arc::ptr_eq(&r.model, model) && r.image == **image);
            old.cloned().unwrap_or_else(|| Arc::new(Reference::new(model, image)))
        };
        let lanes: Vec<Arc<Reference>> = images.par_iter().map(reference).collect();
        lock().clone_from(&lanes);
        Around { lanes, width }
    }

    /// Whether anything can be proved about the image of a lane.
    pub fn is_known(&self, lane: usize) -> bool {
        self.lanes[lane].known
    }

    /// The reference of one element.
    pub fn value(&self, value: ValueId, lane: usize, element: usize) -> f64 {
        self.lanes[lane].values[value][element]
    }

    /// How far the layer of node `i` may be from its reference, `[element][lane]`, if it may be.
    pub fn residual(&self, i: usize) -> Option<Vec<f32>> {
        let lanes: Vec<&[f32]> = self.lanes.iter().map(|r| &r.residuals[i][..]).collect();
        if lanes.iter().all(|r| r.iter().all(|e| *e == 0.0)) {
            return None;
        }
        let mut all = vec![0.0; lanes.first().map_or(0, |r| r.len()) * self.width];
        for (lane, own) in lanes.iter().enumerate() {
            own.iter().enumerate().for_each(|(k, e)| all[k * self.width + lane] = *e);
        }
        Some(all)
    }

    /// At most what a row is worth at the references of the logits.
    pub fn constant(&self, row: &Row) -> f32 {
        let logits = self.lanes[row.lane].values.last().expect("the input at least");
        let terms = || row.coefficients.iter().zip(logits).map(|(a, z)| f64::from(*a) * z);
        let (mut sum, mut size) = (f64::from(row.constant), f64::from(row.constant).abs());
        terms().for_each(|t| (sum, size) = (sum + t, size + t.abs()));
        to_f32_down(sum - LOST * (logits.len() + 2) as f64 * size)
    }

    /// Deviations after a ReLU that reads `value`.
    pub fn relu(&self, value: ValueId, before: &Deviations, inflate: f32) -> Deviations {
        self.each(before.centre.len() / self.width, inflate, |lane, k| {
            relu_ends(self.value(value, lane, k), before.ends(k * self.width + lane))
        })
    }

    /// Lines of a ReLU that reads `value`; `magnitude` `[element][lane]` is what walks are charged against.
    pub fn relu_lines(&self, value: ValueId, before: &Deviations, magnitude: &[f32]) -> Lines {
        self.lines(before.centre.len() / self.width, |lane, k| {
            let at = k * self.width + lane;
            Line { magnitude: magnitude[at], ..relu_line(self.value(value, lane, k), before.ends(at)) }
        })
    }

    /// Deviations after max pooling that reads `value`.
    pub fn max(&self, g: &pool::Geometry, value: ValueId, before: &Deviations, inflate: f32) -> Deviations {
        self.each(g.output.len(), inflate, |lane, o| {
            let ends = self.window(g, value, before, lane, o).map(|input| input.ends);
            ends.fold([f64::NEG_INFINITY; 2], |[l, u], [low, high]| [l.max(low), u.max(high)])
        })
    }

    /// Lines of max pooling that reads `value`, as [`select::relax`] makes them of values.
    pub fn max_lines(&self, g: &pool::Geometry, value: ValueId, before: &Deviations) -> Lines {
        self.lines(g.output.len(), |lane, o| max_line(&self.window(g, value, before, lane, o).collect::<Vec<_>>()))
    }

    /// What a window compares.
    fn window<'w>(
        &'w self,
        g: &'w pool::Geometry,
        value: ValueId,
        before: &'w Deviations,
        lane: usize,
        o: usize,
    ) -> impl Iterator<Item = Input> + use<'w> {
        let values = &self.lanes[lane].values[value];
        let window = select::window(g, o);
        let largest = window.iter().fold(f64::NEG_INFINITY, |m, (_, i)| m.max(values[*i]));
        window.into_iter().map(move |(tap, i)| {
            let (at, behind) = (i * self.width + lane, values[i] - largest);
            let deviation = before.ends(at);
            let lost = |e: f64| LOST * (behind.abs() + e.abs());
            let [l, u] = deviation;
            let ends = [behind + l - lost(l), behind + u + lost(u)];
            Input { tap, behind, deviation, ends, centre: behind + f64::from(before.centre[at]) }
        })
    }

    /// Deviations between these ends.
    fn each(&self, elements: usize, inflate: f32, ends: impl Fn(usize, usize) -> [f64; 2] + Sync) -> Deviations {
        let width = self.width;
        let (mut centre, mut radius) = (vec![0.0; elements * width], vec![0.0; elements * width]);
        let places = centre.par_chunks_mut(width).zip(radius.par_chunks_mut(width)).enumerate();
        places.for_each(|(k, (centre, radius))| {
            for lane in 0..self.lanes.len() {
                let [l, u] = ends(lane, k);
                (centre[lane], radius[lane]) = super::region::around(l, u, f64::from(inflate));
            }
        });
        Deviations { centre, radius }
    }

    fn lines(&self, elements: usize, line: impl Fn(usize, usize) -> Line + Sync) -> Lines {
        let all = self.width * elements;
        let places = (0..self.lanes.len() * elements).into_par_iter().with_min_len(1024);
        let mut lines: Vec<Line> = places.map(|at| line(at / elements, at % elements)).collect();
        lines.resize_with(all, || Line::flat(0.0));
        Lines {
            table: lines.iter().flat_map(|l| [l.upper, l.intercept, l.lower, l.magnitude]).collect(),
            feet: lines.iter().map(|l| l.foot).collect(),
            gaps: lines.iter().map(|l| to_f32_up(l.gap)).collect(),
            picks: lines.iter().map(|l| l.picks).collect(),
        }
    }
}

impl Line {
    /// A line that the function is.
    fn flat(slope: f32) -> Line {
        Line { upper: slope, intercept: 0.0, lower: slope, foot: 0.0, gap: 0.0, magnitude: 0.0, picks: 0 }
    }
}

impl Deviations {
    /// Fails where one is no number: comparisons would pass over it.
    pub fn checked(self) -> Result<Deviations> {
        let finite = self.centre.par_iter().chain(&self.radius).all(|v| v.is_finite());
        if finite { Ok(self) } else { Err(not_finite()) }
    }

    /// To the device, as an interval.
    pub fn write(&self, d: &Device, to: [&Buffer; 2]) -> Result<()> {
        d.write(to[0], &self.centre)?;
        d.write(to[1], &self.radius)
    }

    /// Lower and upper end at one place.
    fn ends(&self, at: usize) -> [f64; 2] {
        let (c, r) = (f64::from(self.centre[at]), f64::from(self.radius[at]));
        [(c - r).next_down(), (c + r).next_up()]
    }
}

/// Ends of `max(c + e, 0) - max(c, 0)`.
fn relu_ends(c: f64, [l, u]: [f64; 2]) -> [f64; 2] {
    if is_active(c, l) {
        return [l, u];
    }
    if is_dead(c, u) {
        return [0.0; 2];
    }
    let bent = |e: f64| (c + e).max(0.0) - c.max(0.0);
    let lost = |e: f64| LOST * (c.abs() + e.abs());
    [bent(l) - lost(l), bent(u) + lost(u)]
}

fn is_active(c: f64, lower: f64) -> bool {
    c >= 0.0 && (c + lower).next_down() >= 0.0
}

fn is_dead(c: f64, upper: f64) -> bool {
    c <= 0.0 && (c + upper).next_up() <= 0.0
}

/// Lines around `max(c + e, 0) - max(c, 0)`.
fn relu_line(c: f64, [l, u]: [f64; 2]) -> Line {
    if is_active(c, l) {
        return Line::flat(1.0);
    }
    if is_dead(c, u) {
        return Line::flat(0.0);
    }
    let (low, high) = (c + l, c + u);
    let upper = if high > 0.0 { (high / (high - low.min(0.0))).min(1.0) } else { 0.0 } as f32;
    let lower = if high > -low { 1.0 } else { 0.0 };
    // What is convex is largest at an end, and least where it bends.
    let above = |slope: f32, e: f64| (c + e).max(0.0) - c.max(0.0) - f64::from(slope) * e + LOST * (c.abs() + e.abs());
    let most = |slope: f32| above(slope, l).max(above(slope, u));
    let least = |slope: f32| f64::from(slope) * c - c.max(0.0) - LOST * c.abs();
    let intercept = to_f32_up(most(upper));
    // Slopes of 0 and 1 round nothing.
    let foot = to_f32_down(if lower > 0.0 { c.min(0.0) } else { -c.max(0.0) });
    let gap = (f64::from(intercept) - least(upper)).max(most(lower) - f64::from(foot));
    Line { upper, intercept, lower, foot, gap: gap.next_up(), ..Line::flat(0.0) }
}

/// One input of a window: its reference less the largest, its deviation, and the ends and centre of their sum.
struct Input {
    tap: usize,
    behind: f64,
    deviation: [f64; 2],
    ends: [f64; 2],
    centre: f64,
}

/// Lines around the largest of a window, as `ops::select` chooses them.
fn max_line(window: &[Input]) -> Line {
    let by = |key: fn(&Input) -> f64| window.iter().max_by(|a, b| key(a).total_cmp(&key(b))).expect("holds an input");
    let without =
        |tap: usize| window.iter().filter(move |i| i.tap != tap).fold(f64::NEG_INFINITY, |m, i| m.max(i.ends[1]));
    let (best, top) = (by(|i| i.centre), by(|i| i.ends[1]));
    let ([l, u], [low, high], others) = (top.deviation, top.ends, without(top.tap));
    let foot = |picked: &Input| to_f32_down(picked.behind.next_down());
    let lines = |picked: &Input, upper: f32, intercept: f32, gap: f64| {
        let size = picked.deviation.iter().chain(&top.deviation).fold(0.0, |m: f64, v| v.abs().max(m));
        let (magnitude, picks) = (to_f32_up(size), (picked.tap | top.tap << 16) as u32);
        Line { upper, intercept, lower: 1.0, foot: foot(picked), gap: gap.next_up(), magnitude, picks }
    };
    if others <= low {
        let intercept = to_f32_up(top.behind.next_up());
        return lines(top, 1.0, intercept, f64::from(intercept) - f64::from(foot(top)));
    }
    let slope = ((high - others) / (high - low)).clamp(0.0, 1.0) as f32;
    let lost = LOST * (top.behind.abs() + l.abs() + u.abs() + others.abs());
    let above = |e: f64| (top.behind + e).max(others) - f64::from(slope) * e + lost;
    let intercept = to_f32_up(above(l).max(above(u)));
    // It is never below its highest input, and above any by no more than ends are apart.
    let least = top.behind + (1.0 - f64::from(slope)) * l - lost;
    let most = best.behind.next_up().max(without(best.tap) - best.deviation[0] + lost);
    let gap = (f64::from(intercept) - least).max(most - f64::from(foot(best)));
    lines(best, slope, intercept, gap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Ends of deviations of any size about references of any other, with zero inside or not.
    fn deviation(rng: &mut Rng) -> (f64, [f64; 2]) {
        let mut number = || f64::from(rng.range(-1.0, 1.0)) * 10f64.powf(f64::from(rng.range(-9.0, 1.0)));
        let (c, a, b) = (number(), number(), number());
        (c, [a.min(b), a.max(b)])
    }

    /// More than this test itself may lose.
    fn slack(sizes: &[f64]) -> f64 {
        1e-15 * sizes.iter().map(|v| v.abs()).sum::<f64>()
    }

    /// Whether lines hold at `y` over `e`, from both sides and no further off than their gap.
    fn holds(line: &Line, y: f64, [below, above]: [f64; 2], slack: f64) -> bool {
        let low = f64::from(line.lower) * below + f64::from(line.foot);
        let high = f64::from(line.upper) * above + f64::from(line.intercept);
        let near = |line_at: f64| (y - line_at).abs() <= line.gap + slack;
        low <= y + slack && y <= high + slack && near(low) && near(high)
    }

    #[test]
    fn lines_and_ends_hold_of_rectified_deviations() {
        let mut rng = Rng::new(61, 0);
        let mut bent = 0;
        for _ in 0..50_000 {
            let (c, [l, u]) = deviation(&mut rng);
            let (line, ends) = (relu_line(c, [l, u]), relu_ends(c, [l, u]));
            bent += usize::from(line.gap > 0.0);
            for t in 0..=8 {
                let e = l + (u - l) * f64::from(t) / 8.0;
                let (y, slack) = ((c + e).max(0.0) - c.max(0.0), slack(&[c, l, u]));
                assert!(ends[0] <= y + slack && y <= ends[1] + slack, "{c} [{l}, {u}] at {e}: {ends:?}");
                assert!(holds(&line, y, [e, e], slack), "{c} [{l}, {u}] at {e}: {y}");
            }
            // Where the interval holds the image, nothing is larger than the deviations.
            if l <= 0.0 && u >= 0.0 {
                let reach = 1.000_001 * (u - l) + slack(&[c]);
                assert!(line.gap <= reach && f64::from(line.intercept.abs().max(line.foot.abs())) <= reach);
            }
        }
        assert!(bent > 5_000, "{bent}");
    }

    #[test]
    fn lines_hold_of_the_largest_of_a_window() {
        let mut rng = Rng::new(62, 0);
        for _ in 0..20_000 {
            let inputs: Vec<(f64, [f64; 2])> = (0..1 + rng.below(4)).map(|_| deviation(&mut rng)).collect();
            let largest = inputs.iter().map(|i| i.0).fold(f64::NEG_INFINITY, f64::max);
            let input = |(tap, &(c, deviation)): (usize, &(f64, [f64; 2]))| {
                let (behind, lost) = (c - largest, LOST * (c.abs() + largest.abs() + 10.0));
                let [l, u] = deviation;
                let ends = [behind + l - lost, behind + u + lost];
                Input { tap, behind, deviation, ends, centre: behind + 0.5 * (l + u) }
            };
            let window: Vec<Input> = inputs.iter().enumerate().map(input).collect();
            let line = max_line(&window);
            let [low, top] = [line.picks & 0xffff, line.picks >> 16].map(|tap| tap as usize);
            for _ in 0..8 {
                let share = |[l, u]: [f64; 2], t: f64| l + (u - l) * t;
                let e: Vec<f64> =
                    inputs.iter().map(|i| share(i.1, f64::from(rng.range(-0.3, 1.3)).clamp(0.0, 1.0))).collect();
                let y = inputs.iter().zip(&e).map(|(i, e)| i.0 + e).fold(f64::NEG_INFINITY, f64::max) - largest;
                let sizes: Vec<f64> = inputs.iter().flat_map(|i| [i.0, i.1[0], i.1[1]]).collect();
                assert!(holds(&line, y, [e[low], e[top]], slack(&sizes)), "{inputs:?} at {e:?}: {y}");
                assert!(f64::from(line.magnitude) >= e[low].abs().max(e[top].abs()) * (1.0 - 1e-9));
            }
        }
    }
}
