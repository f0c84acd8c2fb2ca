//! Operators that repeat or rearrange values: Expand, Tile, blocks of space and depth.

use super::build::Builder;
use super::error::OnnxResult;
use super::fold;
use super::movement::{dims, select, strides, view};
use super::op::Op;
use super::tensors::count;

/// Largest result of one of these.
pub const LIMIT: usize = 1 << 28;

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
pub fn by_axes(b: &mut Builder, op: &Op, old: &[usize], axes: &[Vec<usize>]) -> OnnxResult<()> {
    let new: Vec<usize> = axes.iter().map(Vec::len).collect();
    let len = count(&new, LIMIT).filter(|&n| n > 0).ok_or_else(|| op.error("its result is empty or too large"))?;
    b.spend(op, len)?;
    let value = select(b, op, &positions(old, axes), new)?;
    b.define(op, value)
}

/// Positions among values of dimensions `old`, of those at the given places along each axis.
pub fn positions(old: &[usize], axes: &[Vec<usize>]) -> Vec<usize> {
    axes.iter().zip(old).fold(vec![0], |all, (places, &size)| {
        all.iter().flat_map(|at| places.iter().map(move |k| at * size + k)).collect()
    })
}

/// Input 0 repeated to dimensions that it broadcasts to.
pub fn repeated(b: &mut Builder, op: &Op, old: &[usize], new: Vec<usize>) -> OnnxResult<()> {
    let len = count(&new, LIMIT).ok_or_else(|| op.error("its result is too large"))?;
    b.spend(op, len)?;
    let positions: Vec<usize> = fold::sources(old, &new).collect();
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
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
