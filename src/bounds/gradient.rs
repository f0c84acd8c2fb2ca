//! Bounds of the gradient of a logit over a box: an interval pass over the backward pass.
//!
//! The forward bounds say which rectifiers are open (derivative 1), shut (0) or either ([0,1]) somewhere in the box; the
//! derivative of the chosen logit is then carried back as an interval. At a kink every slope between the two sides
//! counts, so the difference quotient of two points of the box along one input lies within the bounds as well. The
//! gradient is that of the network with its stored weights (`Model::folded` is not charged).
//!
//! Where only falls from one point count (`falls`), a rectifier's slope is that of lines from its value there: the tangent
//! where the margin grows with it, since it lies below, and chords to the ends of its range otherwise.

use super::known::Known;
use super::linearised::Linearised;
use super::region::Region;
use super::{Ball, Bounder, Zonotope, not_finite};
use crate::error::{Error, Result};
use crate::model::activation::function_of;
use crate::model::enclosure;
use crate::model::{Layer, Pool};
use crate::network::{Affine, Placed};
use crate::ops::conv::Charge;
use crate::ops::{conv_grad, range};
use crate::rounding::to_f32_up;
use crate::tensor::Shape;

/// An interval of reals, ends rounded outward in f64.
type Span = [f64; 2];

/// Gradient bounds of one value for all balls: `[element][ball]`.
type Spans = Vec<Span>;

fn sum(a: Span, b: Span) -> Span {
    [(a[0] + b[0]).next_down(), (a[1] + b[1]).next_up()]
}

fn times(a: Span, factor: f64) -> Span {
    let (x, y) = (a[0] * factor, a[1] * factor);
    [x.min(y).next_down(), x.max(y).next_up()]
}

fn product(a: Span, b: Span) -> Span {
    let ends = [times(a, b[0]), times(a, b[1])];
    [ends[0][0].min(ends[1][0]), ends[0][1].max(ends[1][1])]
}

/// `a` times something between 0 and 1.
fn partly(a: Span) -> Span {
    [a[0].min(0.0), a[1].max(0.0)]
}

impl Bounder {
    /// For every ball and every input element (`[channel][row][column]`): bounds `[low, high]` of the derivative of the
    /// ball's class logit anywhere in the ball.
    pub fn gradient_bounds(&self, balls: &[Ball<'_>]) -> Result<Vec<Vec<Span>>> {
        let rows: Vec<Vec<(usize, f64)>> = balls.iter().map(|ball| vec![(ball.class, 1.0)]).collect();
        self.gradients(&Region::balls(self, balls)?, &rows, &[])
    }

    /// For every zonotope and every input element `[low, high]` such that the margin of its class over a rival at any `x` of
    /// it is at least that at a point `x'` of it plus `sum_i g_i (x_i - x'_i)` for some `g_i` between them. Of each point
    /// [every value](crate::model::enclosure::values_near) is given.
    ///
    /// # Errors
    /// A fault of the device, or numbers beyond what f32 can follow.
    pub fn falls(
        &self,
        zonotopes: &[Zonotope],
        rivals: &[usize],
        points: &[&[enclosure::Known]],
    ) -> Result<Vec<Vec<Span>>> {
        let row = |(z, &rival): (&Zonotope, &usize)| vec![(z.class, 1.0), (rival, -1.0)];
        let rows: Vec<Vec<(usize, f64)>> = zonotopes.iter().zip(rivals).map(row).collect();
        self.gradients(&Region::zonotopes(self, zonotopes)?, &rows, points)
    }

    /// Bounds of the gradients of rows over the logits, one for each lane of a region, or of how they fall from points.
    fn gradients(
        &self,
        region: &Region,
        rows: &[Vec<(usize, f64)>],
        points: &[&[enclosure::Known]],
    ) -> Result<Vec<Vec<Span>>> {
        let known = Linearised::new(self, region)?.known;
        if known.provable()?.contains(&false) {
            return Err(out_of_range());
        }
        let model = &self.net.model;
        let count = rows.len();
        let mut spans: Vec<Option<Spans>> = vec![None; model.nodes.len() + 1];
        let mut seed = vec![[0.0; 2]; model.outputs() * count];
        for (b, row) in rows.iter().enumerate() {
            row.iter().for_each(|&(class, coefficient)| seed[class * count + b] = [coefficient; 2]);
        }
        spans[model.output()] = Some(seed);
        for (i, node) in model.nodes.iter().enumerate().rev() {
            let Some(above) = spans[i + 1].take() else { continue };
            let input = model.shape(node.inputs[0]);
            let below: Vec<Spans> = match (&node.layer, self.net.layer(i)) {
                (_, Placed::Affine(affine)) => vec![self.through_affine(i, affine, &above, region.lanes)?],
                (Layer::Relu, _) => {
                    let z = values(&known, node.inputs[0], count)?;
                    let point = |k: usize| {
                        let (values, errors) = &points.get(k % count)?[node.inputs[0]];
                        Some((values[k / count], errors[k / count]))
                    };
                    vec![above.iter().zip(z).enumerate().map(|(k, (&g, z))| through_relu(g, z, point(k))).collect()]
                }
                (Layer::Activation(f), _) => {
                    let z = values(&known, node.inputs[0], count)?;
                    let slopes = |k: usize, z: Span| function_of(f, k / count, node.shape.len()).slopes(z[0], z[1]);
                    vec![above.iter().zip(z).enumerate().map(|(k, (&g, z))| product(g, slopes(k, z))).collect()]
                }
                (Layer::MaxPool(p), _) => {
                    let x = values(&known, node.inputs[0], count)?;
                    vec![through_max_pool(p, &above, &x, input, node.shape)]
                }
                (Layer::AvgPool(p), _) => vec![through_average_pool(p, &above, input, node.shape)],
                (Layer::Add, _) => vec![above.clone(), above],
                (Layer::Scale { scale, .. }, _) => {
                    vec![above.iter().enumerate().map(|(k, &g)| times(g, f64::from(scale[k / count]))).collect()]
                }
                (Layer::Gather(map), _) => {
                    let sizes = node.inputs.iter().map(|&v| model.shape(v).len());
                    let mut below: Vec<Spans> = sizes.map(|n| vec![[0.0; 2]; n * count]).collect();
                    for (to, from) in map.iter().enumerate().filter_map(|(k, s)| Some((k, (*s)?))) {
                        for b in 0..count {
                            let at = &mut below[from.input as usize][from.index as usize * count + b];
                            *at = sum(*at, above[to * count + b]);
                        }
                    }
                    below
                }
                (Layer::Conv(_) | Layer::Dense(_), _) => unreachable!("placed as affine"),
            };
            for (&value, part) in node.inputs.iter().zip(below) {
                match &mut spans[value] {
                    Some(all) => all.iter_mut().zip(part).for_each(|(a, p)| *a = sum(*a, p)),
                    empty => *empty = Some(part),
                }
            }
        }
        let elements = model.input.len();
        let bounds = spans[0].take().unwrap_or_else(|| vec![[0.0; 2]; elements * count]);
        if bounds.iter().flatten().any(|v| !v.is_finite()) {
            return Err(not_finite());
        }
        Ok((0..count).map(|b| (0..elements).map(|k| bounds[k * count + b]).collect()).collect())
    }

    /// Wᵀ of an interval as centre and radius: two products on the device, the rounding of both charged to the radius.
    fn through_affine(&self, i: usize, affine: &Affine, above: &[Span], lanes: usize) -> Result<Spans> {
        let d = self.device();
        let geometry = &affine.geometry;
        let largest = above.iter().flatten().fold(1.0f64, |m, v| m.max(v.abs()));
        if !(largest <= f64::from(range::MOST)) {
            return Err(out_of_range());
        }
        let operands = largest.max(self.net.gain(i));
        let charge = if self.sound { Charge::new(geometry.fan_out(), operands) } else { Charge::none() };
        let (g, floor) = (f64::from(charge.g), f64::from(charge.floor));
        let count = above.len() / geometry.output.len();
        let mut centre = vec![0.0f32; geometry.output.len() * lanes];
        let mut radius = centre.clone();
        for (k, &[low, high]) in above.iter().enumerate() {
            let at = k / count * lanes + k % count;
            let c = (0.5 * (low + high)) as f32;
            centre[at] = c;
            let wide = (high - f64::from(c)).max(f64::from(c) - low).max(0.0);
            // Room for the rounding of the first product, and of this line.
            radius[at] = to_f32_up(wide * (1.0 + 1e-12) + 1.001 * g * f64::from(c.abs()));
        }
        let product = |x: &[f32], w| -> Result<Vec<f32>> {
            let y = d.alloc(geometry.input.len() * lanes)?;
            conv_grad::input_grad(d, geometry, &d.upload(x)?, w, &y, lanes)?;
            d.read(&y)
        };
        let (c, r) = (product(&centre, &affine.weight)?, product(&radius, &affine.magnitude[0])?);
        let span = |k: usize| {
            let at = k / count * lanes + k % count;
            let centre = f64::from(c[at]);
            let radius = ((f64::from(r[at]) + floor) * (1.0 + 2.0 * g) + floor) * (1.0 + 1e-12);
            [(centre - radius).next_down(), (centre + radius).next_up()]
        };
        Ok((0..geometry.input.len() * count).map(span).collect())
    }
}

fn out_of_range() -> Error {
    Error::usage("gradients of this network are beyond what f32 can follow on so large a ball; give a smaller --delta")
}

/// Bounds of a value over every ball, `[element][ball]`.
fn values(known: &Known<'_>, value: usize, count: usize) -> Result<Spans> {
    let d = known.bounder.device();
    let [c, r] = known.interval(value);
    let (c, r): (Vec<f32>, Vec<f32>) = (d.read(c)?, d.read(r)?);
    let lanes = known.region.lanes;
    let span = |k: usize| {
        let at = k / count * lanes + k % count;
        sum([f64::from(c[at]); 2], [-f64::from(r[at]), f64::from(r[at])])
    };
    Ok((0..c.len() / lanes * count).map(span).collect())
}

/// With a point within an error of a number, if falls from there are meant.
fn through_relu(gradient: Span, z: Span, point: Option<(f64, f64)>) -> Span {
    let side = point.map(|(at, error)| [(at - error).next_down(), (at + error).next_up()]);
    match (z, side) {
        ([low, _], _) if low > 0.0 => gradient,
        ([_, high], _) if high < 0.0 => [0.0; 2],
        // The tangent at the point lies below; a chord from it to the far end of the other side is the flattest.
        (_, Some([at, _])) if at > 0.0 && gradient[0] >= 0.0 => gradient,
        ([low, _], Some([at, _])) if at > 0.0 => {
            product(gradient, [(at / (at - low).next_up()).next_down().max(0.0), 1.0])
        }
        (_, Some([_, at])) if at < 0.0 && gradient[0] >= 0.0 => [0.0; 2],
        ([_, high], Some([_, at])) if at < 0.0 => {
            product(gradient, [0.0, (high / (high - at).next_down()).next_up().min(1.0)])
        }
        _ => partly(gradient),
    }
}

/// The input elements under output `(row, column)` of a channel.
fn window(p: &Pool, [row, column]: [usize; 2], channel: usize, x: Shape) -> impl Iterator<Item = usize> {
    let inside = |at: usize, d: usize, size: usize| {
        let first = at * p.stride[d];
        (first..first + p.kernel[d]).filter_map(move |k| k.checked_sub(p.pad[d]).filter(|&k| k < size))
    };
    let columns: Vec<usize> = inside(column, 1, x.width).collect();
    let rows = inside(row, 0, x.height).collect::<Vec<_>>().into_iter();
    rows.flat_map(move |r| columns.clone().into_iter().map(move |c| (channel * x.height + r) * x.width + c))
}

/// Calls `f` with every output and the input elements under it.
fn for_windows(p: &Pool, x: Shape, y: Shape, mut f: impl FnMut(usize, &[usize])) {
    for out in 0..y.len() {
        let (channel, at) = (out / (y.height * y.width), out % (y.height * y.width));
        f(out, &window(p, [at / y.width, at % y.width], channel, x).collect::<Vec<_>>());
    }
}

fn through_max_pool(p: &Pool, above: &[Span], values: &[Span], x: Shape, y: Shape) -> Spans {
    let count = above.len() / y.len();
    let mut below = vec![[0.0; 2]; x.len() * count];
    for_windows(p, x, y, |out, under| {
        for b in 0..count {
            let gradient = above[out * count + b];
            for &k in under {
                let mine = values[k * count + b];
                let mut others = under.iter().filter(|&&j| j != k).map(|&j| values[j * count + b]);
                let largest = others.clone().all(|o| o[1] < mine[0]);
                if !largest && others.any(|o| o[0] > mine[1]) {
                    continue;
                }
                let at = &mut below[k * count + b];
                *at = sum(*at, if largest { gradient } else { partly(gradient) });
            }
        }
    });
    below
}

fn through_average_pool(p: &Pool, above: &[Span], x: Shape, y: Shape) -> Spans {
    let count = above.len() / y.len();
    let mut below = vec![[0.0; 2]; x.len() * count];
    for_windows(p, x, y, |out, under| {
        let area = if p.count_include_pad { p.kernel[0] * p.kernel[1] } else { under.len() };
        for b in 0..count {
            let [low, high] = above[out * count + b];
            let part = [(low / area as f64).next_down(), (high / area as f64).next_up()];
            under.iter().for_each(|&k| below[k * count + b] = sum(below[k * count + b], part));
        }
    });
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Whatever a coefficient in the bounds makes of a change from the point is at least what some slope makes of it; and one
    /// slope where the sign is known.
    #[test]
    fn rectifiers_fall_along_tangents_and_chords() {
        let mut rng = Rng::new(4, 1);
        let mut number = |from: f32, to: f32| f64::from(rng.range(from, to));
        for _ in 0..5000 {
            let (low, high, a, b) = (number(-1.0, 0.1), number(-0.1, 1.0), number(-1.0, 1.0), number(-1.0, 1.0));
            if low > high {
                continue;
            }
            let at = low + (high - low) * number(0.0, 1.0);
            let gradient = [a.min(b), a.max(b)];
            let slopes = through_relu(gradient, [low, high], Some((at, 0.0)));
            let wide = through_relu(gradient, [low, high], None);
            assert!(wide[0] <= slopes[0] + 1e-12 && slopes[1] <= wide[1] + 1e-12, "{slopes:?} in {wide:?}");
            for k in 0..=20 {
                let z = low + (high - low) * f64::from(k) / 20.0;
                for c in gradient {
                    let change = c * (z.max(0.0) - at.max(0.0));
                    let said = slopes.map(|s| s * (z - at)).into_iter().fold(f64::INFINITY, f64::min);
                    assert!(change >= said - 1e-12, "{c} {z} from {at}: {change} below {said}");
                }
            }
        }
        assert_eq!(through_relu([0.5, 1.0], [-1.0, 1.0], Some((0.5, 0.1))), [0.5, 1.0]);
        assert_eq!(through_relu([0.5, 1.0], [-1.0, 1.0], Some((-0.5, 0.1))), [0.0, 0.0]);
        let [steep, flat] = through_relu([-1.0, -1.0], [-1.0, 1.0], Some((0.5, 0.0)));
        assert!((steep + 1.0).abs() < 1e-9 && (flat + 1.0 / 3.0).abs() < 1e-9, "{steep} {flat}");
        // A point that may be on either side says nothing.
        assert_eq!(through_relu([-1.0, 1.0], [-1.0, 1.0], Some((0.0, 0.1))), [-1.0, 1.0]);
    }
}
