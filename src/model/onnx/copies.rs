//! Operators that repeat or rearrange values: Expand, Tile, Resize to the nearest value, blocks of space and depth.

use super::build::Builder;
use super::error::OnnxResult;
use super::fold;
use super::movement::{dims, select, strides, view};
use super::op::Op;
use super::tensors::count;

/// Largest result of one of these.
const LIMIT: usize = 1 << 28;

/// Expand: repeats a value to fit a shape.
pub fn expand(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let wanted = b.ints(op, 1)?.ok_or_else(|| op.error("lacks a constant shape"))?;
    let wanted: Option<Vec<usize>> = wanted.iter().map(|&d| usize::try_from(d).ok().filter(|&d| d > 0)).collect();
    let wanted = wanted.ok_or_else(|| op.error("has a shape with a size below 1"))?;
    let new = fold::broadcast(op, &old, &wanted)?;
    repeated(b, op, &old, new)
}

/// Tile: repeats a value along its axes.
pub fn tile(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let repeats = b.ints(op, 1)?.ok_or_else(|| op.error("lacks constant repeats"))?;
    let repeats = op.positive("repeats", repeats, old.len(), 1)?;
    let new: Vec<usize> = old.iter().zip(&repeats).map(|(d, r)| d.saturating_mul(*r)).collect();
    let axes: Vec<Vec<usize>> = new.iter().zip(&old).map(|(&n, &d)| (0..n).map(|k| k % d).collect()).collect();
    by_axes(b, op, &old, &axes)
}

/// Input 0 with as many values along each axis as `axes` has places there, from those places.
fn by_axes(b: &mut Builder, op: &Op, old: &[usize], axes: &[Vec<usize>]) -> OnnxResult<()> {
    let new: Vec<usize> = axes.iter().map(Vec::len).collect();
    let len = count(&new, LIMIT).filter(|&n| n > 0).ok_or_else(|| op.error("its result is empty or too large"))?;
    b.spend(op, len)?;
    let mut positions = vec![0];
    for (places, &size) in axes.iter().zip(old) {
        positions = positions.iter().flat_map(|at| places.iter().map(move |k| at * size + k)).collect();
    }
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}

/// Input 0 repeated to dimensions that it broadcasts to.
pub fn repeated(b: &mut Builder, op: &Op, old: &[usize], new: Vec<usize>) -> OnnxResult<()> {
    let len = count(&new, LIMIT).ok_or_else(|| op.error("its result is too large"))?;
    b.spend(op, len)?;
    let positions: Vec<usize> = fold::sources(old, &new).collect();
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}

/// Upsample, and Resize, to the nearest value.
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
    if op.text("mode", "nearest")? != "nearest" {
        return op.fail("only resizing to the nearest value is supported; export with mode nearest");
    }
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
    let mut places: Vec<Vec<usize>> = old.iter().map(|&n| (0..n).collect()).collect();
    for (k, &axis) in axes.iter().enumerate() {
        let n = old[axis];
        let (out, scale) = match (&sizes, &scales) {
            (Some(sizes), _) => (sizes[k] as f64, sizes[k] as f64 / n as f64),
            (None, Some(scales)) => ((n as f64 * scales[k]).floor(), scales[k]),
            (None, None) => return op.fail("has neither scales nor sizes"),
        };
        if !(1.0..=65536.0).contains(&out) {
            return op.fail(format!("would bring {n} values to {out}"));
        }
        places[axis] = (0..out as usize)
            .map(|x| nearest(x as f32, n as f32, out as f32, scale as f32, from, round))
            .map(|at| at.map(|at| (at.max(0.0) as usize).min(n - 1)))
            .collect::<Option<_>>()
            .ok_or_else(|| op.error(format!("coordinates {from} and rounding {round} are not supported")))?;
    }
    by_axes(b, op, &old, &places)
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

/// DepthToSpace (`true`) and SpaceToDepth: blocks of an image become channels, or come from them.
pub fn blocks(b: &mut Builder, op: &Op, to_space: bool) -> OnnxResult<()> {
    op.only(if to_space { &["blocksize", "mode"] } else { &["blocksize"] })?;
    b.at_most(op, 1)?;
    let side = op.positive("blocksize", &[op.int("blocksize", 0)?], 1, 1)?[0];
    let old = dims(b, op, 0)?;
    let [batch, c, h, w] = old[..] else { return op.fail(format!("needs an image, not dimensions {old:?}")) };
    // The image as six axes, and the order in which they make the result.
    let (split, order, new) = if to_space {
        if c % (side * side) != 0 {
            return op.fail(format!("{c} channels are no blocks of {side} by {side}"));
        }
        let depth = c / side / side;
        let new = vec![batch, depth, h * side, w * side];
        match op.text("mode", "DCR")? {
            "DCR" => ([batch, side, side, depth, h, w], [0, 3, 4, 1, 5, 2], new),
            "CRD" => ([batch, depth, side, side, h, w], [0, 1, 4, 2, 5, 3], new),
            _ => return op.fail("its mode is neither DCR nor CRD"),
        }
    } else {
        if h % side != 0 || w % side != 0 {
            return op.fail(format!("an image of {h}x{w} is no blocks of {side} by {side}"));
        }
        let new = vec![batch, c * side * side, h / side, w / side];
        ([batch, c, h / side, side, w / side, side], [0, 3, 5, 1, 2, 4], new)
    };
    let all = strides(&split);
    b.spend(op, split.iter().product())?;
    let positions = view(0, &order.map(|k| split[k]), &order.map(|k| all[k]));
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}
