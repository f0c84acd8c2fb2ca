//! Upsample and Resize, to the nearest value or by lines between values.

use super::super::Layer;
use super::build::{Builder, Value};
use super::copies::{LIMIT, by_axes, positions};
use super::error::OnnxResult;
use super::movement::{dims, select_live};
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use super::tensors::count;

/// Upsample, and Resize.
pub fn resize(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    let upsample = op.node.op_type == "Upsample";
    let known = [
        "mode",
        "scales",
        "coordinate_transformation_mode",
        "nearest_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
        "axes",
        "antialias",
        "keep_aspect_ratio_policy",
    ];
    op.only(if upsample { &known[..2] } else { &known })?;
    b.at_most(op, if upsample { 2 } else { 4 })?;
    let old = dims(b, op, 0)?;
    let linear = match op.text("mode", "nearest")? {
        "nearest" => false,
        "linear" => true,
        _ => {
            return op.fail(
                "only resizing to the nearest value and by lines is supported; export with mode nearest or linear",
            );
        }
    };
    if op.text("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return op.fail("keep_aspect_ratio_policy is not supported; export with sizes or scales for every axis");
    }
    // Before version 11 scales are the second input, or an attribute.
    let (scales, sizes) = if upsample || op.opset < 11 { (1, 9) } else { (2, 3) };
    let scales = match b.numbers(op, scales)? {
        Some((_, v)) if !v.is_empty() => Some(v.iter().map(|v| v.value).collect()),
        Some(_) | None => op.floats("scales")?.map(|v| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>()),
    };
    let sizes = b.ints(op, sizes)?.filter(|s| !s.is_empty()).map(<[i64]>::to_vec);
    let axes: Vec<usize> = match op.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| op.axis(a, old.len())).collect::<OnnxResult<_>>()?,
        None => (0..old.len()).collect(),
    };
    let given = sizes.as_ref().map(Vec::len).or(scales.as_ref().map(Vec::len));
    if given != Some(axes.len()) {
        return op.fail("its scales or sizes do not fit its axes; export with constant ones for every axis");
    }
    let legacy = upsample || op.opset < 11;
    let from = if legacy { "asymmetric" } else { op.text("coordinate_transformation_mode", "half_pixel")? };
    let round = if legacy { "floor" } else { op.text("nearest_mode", "round_prefer_floor")? };
    let mut resized = vec![];
    for (k, &axis) in axes.iter().enumerate() {
        let n = old[axis];
        let (out, scale) = match (&sizes, &scales) {
            (Some(sizes), _) => (sizes[k] as f64, Scale { places: sizes[k] as f64, values: n as f64 }),
            (None, Some(scales)) => ((n as f64 * scales[k]).floor(), Scale { places: scales[k], values: 1.0 }),
            (None, None) => return op.fail("has neither scales nor sizes"),
        };
        if !(1.0..=65536.0).contains(&out) {
            return op.fail(format!("would bring {n} values to {out}"));
        }
        resized.push(Axis { axis, n, out: out as usize, scale });
    }
    if linear {
        if op.int("antialias", 0)? != 0 && resized.iter().any(|a| a.out < a.n) {
            return op.fail("antialias is not supported; export without it");
        }
        return by_lines(b, op, &resized, from);
    }
    let mut places: Vec<Vec<usize>> = old.iter().map(|&n| (0..n).collect()).collect();
    for Axis { axis, n, out, scale } in resized {
        let scale = (scale.places / scale.values) as f32;
        places[axis] = (0..out)
            .map(|x| nearest(x as f32, n as f32, out as f32, scale, from, round))
            .map(|at| at.map(|at| (at.max(0.0) as usize).min(n - 1)))
            .collect::<Option<_>>()
            .ok_or_else(|| op.error(format!("coordinates {from} and rounding {round} are not supported")))?;
    }
    by_axes(b, op, &old, &places)
}

/// `places` of the result for so many `values`: a ratio of numbers that f64 holds.
#[derive(Clone, Copy)]
struct Scale {
    places: f64,
    values: f64,
}

/// An axis whose `n` values become `out`.
struct Axis {
    axis: usize,
    n: usize,
    out: usize,
    scale: Scale,
}

/// Axis by axis, each place a mean of the two values around it, weighted by how near they are.
fn by_lines(b: &mut Builder, op: &Op, axes: &[Axis], from: &str) -> OnnxResult<()> {
    let mut x = b.live(op, 0)?;
    for a in axes {
        let between = (0..a.out).map(|place| between(place, a, from)).collect::<Option<Vec<_>>>();
        let between = between.ok_or_else(|| op.error(format!("coordinates {from} are not supported")))?;
        if a.n == a.out && between.iter().enumerate().all(|(k, (low, share))| *low == k && share.is(0.0)) {
            continue;
        }
        let old = x.dims.clone();
        let mut new = old.clone();
        new[a.axis] = a.out;
        let len = count(&new, LIMIT).ok_or_else(|| op.error("its result is too large"))?;
        b.spend(op, 4 * len)?;
        let mut places: Vec<Vec<usize>> = old.iter().map(|&n| (0..n).collect()).collect();
        let inner: usize = new[a.axis + 1..].iter().product();
        let weights =
            |of: fn(Near) -> Near| -> Vec<Near> { (0..len).map(|k| of(between[k / inner % a.out].1)).collect() };
        let mut side = |b: &mut Builder, above: usize, weights: Vec<Near>| {
            places[a.axis] = between.iter().map(|(low, _)| (low + above).min(a.n - 1)).collect();
            let moved = select_live(b, op, &x, &positions(&old, &places), new.clone())?;
            scale::apply(b, op, moved, &weights, &vec![Near::ZERO; len], Merge::Needed)
        };
        let low = side(b, 0, weights(|share| Near::ONE - share))?;
        let high = side(b, 1, weights(|share| share))?;
        x = b.push(op, Layer::Add, vec![low.id, high.id], new)?;
    }
    b.define(op, Value::Live(x))
}

/// The value below where a place of the result looks, and how far it looks beyond that, as a share of the way to the next.
fn between(place: usize, a: &Axis, from: &str) -> Option<(usize, Near)> {
    let (x, n, out) = (place as f64, a.n as f64, a.out as f64);
    let Scale { places, values } = a.scale;
    // A quotient of numbers that f64 holds, so that rounding does not decide which values are meant.
    let half = ((x + 0.5) * values - 0.5 * places, places);
    let (above, below) = match from {
        "half_pixel" => half,
        "half_pixel_symmetric" => ((x + 0.5 - 0.5 * out) * values + 0.5 * (n - 1.0) * places, places),
        "pytorch_half_pixel" | "align_corners" if a.out == 1 => (0.0, 1.0),
        "pytorch_half_pixel" => half,
        "align_corners" => (x * (n - 1.0), out - 1.0),
        "asymmetric" => (x * values, places),
        _ => return None,
    };
    let mut low = (above / below).floor();
    while low * below > above {
        low -= 1.0;
    }
    while (low + 1.0) * below <= above {
        low += 1.0;
    }
    // Beyond the ends values are those at the ends.
    Some(match (low < 0.0, low >= n - 1.0) {
        (true, _) => (0, Near::ZERO),
        (_, true) => (a.n - 1, Near::ZERO),
        _ => (low as usize, Near::from(above - low * below) / Near::from(below)),
    })
}

/// Where output place `x` of `out` looks among `n` values, in f32 as runtimes calculate it.
fn nearest(x: f32, n: f32, out: f32, scale: f32, from: &str, round: &str) -> Option<f32> {
    let half = (x + 0.5) / scale - 0.5;
    let at = match from {
        "half_pixel" => half,
        "half_pixel_symmetric" => {
            let (adjusted, centre) = (out / (scale * n), n / 2.0);
            centre * (1.0 - adjusted) + half
        }
        "pytorch_half_pixel" if out <= 1.0 => 0.0,
        "pytorch_half_pixel" => half,
        "tf_half_pixel_for_nn" => (x + 0.5) / scale,
        "align_corners" if out <= 1.0 => 0.0,
        "align_corners" => x * (n - 1.0) / (out - 1.0),
        "asymmetric" => x / scale,
        _ => return None,
    };
    Some(match round {
        "round_prefer_floor" => (at - 0.5).ceil(),
        "round_prefer_ceil" => (at + 0.5).floor(),
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        _ => return None,
    })
}
