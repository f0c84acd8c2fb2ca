//! Max and Min: with constants a function of one number each, of several values a maximum over a window.

use super::super::activation::{Activation, Clip};
use super::super::{Layer, Pool, Source};
use super::activation::exact;
use super::build::{Builder, Live, Value};
use super::elementwise::{self, broadcast_live};
use super::error::OnnxResult;
use super::fold;
use super::near::Near;
use super::op::Op;
use super::tensors::Tensor;
use crate::tensor::Shape;

pub fn extreme(b: &mut Builder, op: &Op, max: bool) -> OnnxResult<()> {
    op.only(&[])?;
    let (mut constant, mut lives): (Option<Tensor>, Vec<Live>) = (None, vec![]);
    for k in 0..op.node.input.len() {
        match b.value(op, k)?.clone() {
            Value::Live(x) if lives.iter().any(|y| y.id == x.id && y.dims == x.dims) => {}
            Value::Live(x) => lives.push(x),
            Value::Const(t) => {
                constant = Some(match constant {
                    None => t,
                    Some(other) => {
                        let ints = |x: i64, y: i64| Some(if max { x.max(y) } else { x.min(y) });
                        fold::combine(b, op, &other, &t, &ints, &mut |x, y| larger(op, x, y, max))?
                    }
                });
            }
        }
    }
    let value = match (lives.is_empty(), constant) {
        (true, Some(t)) => Value::Const(t),
        (true, None) => return op.fail("has no inputs"),
        (false, constant) => {
            let mut live = of_several(b, op, lives, max)?;
            if let Some(t) = constant {
                live = with_constant(b, op, live, &t, max)?;
            }
            Value::Live(live)
        }
    };
    b.define(op, value)
}

/// The larger of two constants, or the smaller; their order must be beyond doubt.
fn larger(op: &Op, x: Near, y: Near, max: bool) -> OnnxResult<Near> {
    let doubt = (x.value - y.value).abs() <= (x.error + y.error) * 1.001;
    if doubt && !(x.error == 0.0 && y.error == 0.0) {
        return op.fail("compares constants that are too close to each other; export in 32 bits");
    }
    Ok(if (x.value > y.value) == max { x } else { y })
}

fn with_constant(b: &mut Builder, op: &Op, x: Live, c: &Tensor, max: bool) -> OnnxResult<Live> {
    let dims = fold::broadcast(op, &x.dims, &c.dims)?;
    let x = broadcast_live(b, op, x, &dims)?;
    let functions: Vec<Clip> = fold::groups(b, op, c, &dims)?
        .into_iter()
        .map(|c| {
            let c = exact(op, c)?;
            Ok(if max { Clip { low: c, high: f32::INFINITY } } else { Clip { low: f32::NEG_INFINITY, high: c } })
        })
        .collect::<OnnxResult<_>>()?;
    let layer = if max && functions.iter().all(|f| f.low == 0.0) {
        Layer::Relu
    } else {
        Layer::Activation(functions.into_iter().map(Activation::Clip).collect())
    };
    b.push_shaped(op, layer, vec![x.id], b.shape(x.id), dims)
}

/// The values stand side by side in one row, so that each window holds one of each.
fn of_several(b: &mut Builder, op: &Op, mut lives: Vec<Live>, max: bool) -> OnnxResult<Live> {
    if lives.len() == 1 {
        return Ok(lives.remove(0));
    }
    let mut dims = vec![];
    for x in &lives {
        dims = fold::broadcast(op, &dims, &x.dims)?;
    }
    let mut ids = vec![];
    for x in lives {
        let mut x = broadcast_live(b, op, x, &dims)?;
        if !max {
            x = elementwise::negated(b, op, &x)?;
        }
        ids.push(x.id);
    }
    let shape = b.checked_shape(op, &dims)?;
    let n = ids.len();
    b.spend(op, n.saturating_mul(shape.len()))?;
    let map = (0..n * shape.len()).map(|k| Some(Source { input: (k % n) as u32, index: (k / n) as u32 })).collect();
    let wide = Shape::new(shape.channels, shape.height, shape.width * n);
    let beside = b.gather(op, map, ids, vec![1, wide.channels, wide.height, wide.width])?;
    let pool = Pool { kernel: [1, n], stride: [1, n], pad: [0, 0], count_include_pad: false };
    let live = b.push_shaped(op, Layer::MaxPool(pool), vec![beside.id], shape, dims)?;
    if max { Ok(live) } else { elementwise::negated(b, op, &live) }
}
