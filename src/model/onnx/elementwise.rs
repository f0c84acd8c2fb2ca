//! Elementwise operators: Relu, and sums, differences, products and quotients with constants or of two values.

use super::super::{Layer, ValueId};
use super::affine::Charge;
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::fold;
use super::op::Op;
use super::tensors::Tensor;

/// The four operations of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

pub fn arithmetic(b: &mut Builder, op: &Op, what: Arithmetic) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 2)?;
    let (left, right) = (b.value(op, 0)?.clone(), b.value(op, 1)?.clone());
    let live = match (left, right) {
        (Value::Const(x), Value::Const(y)) => {
            let folded = fold::arithmetic(b, op, what, &x, &y)?;
            return b.define(op, Value::Const(folded));
        }
        (Value::Live(x), Value::Const(c)) => with_constant(b, op, what, x, &c, false)?,
        (Value::Const(c), Value::Live(x)) => with_constant(b, op, what, x, &c, true)?,
        (Value::Live(x), Value::Live(y)) => of_two(b, op, what, &x, y)?,
    };
    b.define(op, Value::Live(live))
}

/// `x op c`, or `c op x` if `reversed`.
fn with_constant(b: &mut Builder, op: &Op, what: Arithmetic, x: Live, c: &Tensor, reversed: bool) -> OnnxResult<Live> {
    let dims = fold::broadcast(op, &x.dims, &c.dims)?;
    let x = Live { dims, ..x };
    if x.len() != b.shape(x.id).len() {
        return op.fail("repeats the network's values to fit a larger constant, which is not supported");
    }
    b.spend(op, 2 * x.len())?;
    let c = fold::expand(op, c, &x.dims)?;
    let n = c.len();
    let mut charge = Charge::default();
    let (scale, shift) = match (what, reversed) {
        (Arithmetic::Add, _) => (vec![1.0; n], c),
        (Arithmetic::Sub, false) => (vec![1.0; n], c.iter().map(|v| -v).collect()),
        (Arithmetic::Sub, true) => (vec![-1.0; n], c),
        (Arithmetic::Mul, _) => (c, vec![0.0; n]),
        (Arithmetic::Div, false) => {
            if c.contains(&0.0) {
                return op.fail("divides by zero");
            }
            let inverse: Vec<f32> = c.iter().map(|&v| (1.0 / f64::from(v)) as f32).collect();
            // The product of two f32 is exact in f64.
            if inverse.iter().zip(&c).any(|(&i, &v)| f64::from(i) * f64::from(v) != 1.0) {
                charge = Charge::rounded();
            }
            (inverse, vec![0.0; n])
        }
        (Arithmetic::Div, true) => return op.fail("division by the network's values is not supported"),
    };
    if scale.iter().all(|&s| s == 1.0) && (shift.iter().all(|&s| s == 0.0) || absorbed(b, &x, &shift)) {
        return Ok(x);
    }
    let live = b.push(op, Layer::Scale { scale, shift }, vec![x.id], x.dims.clone())?;
    charge.record(b, &live);
    Ok(live)
}

/// Takes `shift` as the bias of the layer that makes `x`, if that is exact.
fn absorbed(b: &mut Builder, x: &Live, shift: &[f32]) -> bool {
    if !x.sole || x.id == 0 {
        return false;
    }
    let node = &mut b.nodes[x.id - 1];
    let bias = match &mut node.layer {
        Layer::Dense(d) => &mut d.bias,
        Layer::Conv(c) => &mut c.bias,
        Layer::Relu | Layer::MaxPool(_) | Layer::AvgPool(_) | Layer::Add | Layer::Scale { .. } | Layer::Gather(_) => {
            return false;
        }
    };
    let each = shift.len() / bias.len();
    let per_channel = shift.chunks_exact(each).all(|c| c.iter().all(|v| *v == c[0]));
    if !per_channel || bias.iter().any(|&v| v != 0.0) {
        return false;
    }
    for (v, c) in bias.iter_mut().zip(shift.chunks_exact(each)) {
        *v = c[0];
    }
    true
}

fn of_two(b: &mut Builder, op: &Op, what: Arithmetic, x: &Live, y: Live) -> OnnxResult<Live> {
    let dims = fold::broadcast(op, &x.dims, &y.dims)?;
    let len: usize = dims.iter().product();
    if x.len() != len || y.len() != len {
        return op.fail(format!("repeats values of {:?} and {:?} to fit each other, not supported", x.dims, y.dims));
    }
    let second: ValueId = match what {
        Arithmetic::Add => y.id,
        Arithmetic::Sub => negated(b, op, &y)?.id,
        Arithmetic::Mul | Arithmetic::Div => return op.fail("products of two computed values are not supported"),
    };
    b.push(op, Layer::Add, vec![x.id, second], dims)
}

fn negated(b: &mut Builder, op: &Op, x: &Live) -> OnnxResult<Live> {
    b.spend(op, 2 * x.len())?;
    let layer = Layer::Scale { scale: vec![-1.0; x.len()], shift: vec![0.0; x.len()] };
    b.push(op, layer, vec![x.id], x.dims.clone())
}

pub fn negate(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 1)?;
    let x = b.live(op, 0)?;
    let live = negated(b, op, &x)?;
    b.define(op, Value::Live(live))
}

pub fn relu(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 1)?;
    push_relu(b, op)
}

fn push_relu(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    let x = b.live(op, 0)?;
    let live = b.push_shaped(op, Layer::Relu, vec![x.id], b.shape(x.id), x.dims)?;
    b.define(op, Value::Live(live))
}

/// Clip to `[0, inf)`, as some exporters write a rectifier.
pub fn clip(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["min", "max"])?;
    b.at_most(op, 3)?;
    let bound = |k: usize, name: &str, none: f32| -> OnnxResult<f32> {
        let attribute = op.float(name, none)?;
        Ok(b.floats(op, k)?.and_then(|(_, v)| v.first().copied()).unwrap_or(attribute))
    };
    if bound(1, "min", f32::MIN)? != 0.0 || bound(2, "max", f32::MAX)? < f32::MAX {
        return op.fail("only a Clip at zero from below is supported");
    }
    push_relu(b, op)
}

/// Softmax at the very end: dropped, since it keeps the order of the classes.
pub fn softmax(b: &mut Builder, op: &Op, output: &str) -> OnnxResult<()> {
    op.only(&["axis"])?;
    b.at_most(op, 1)?;
    let x = b.live(op, 0)?;
    let axis = op.axis(op.int("axis", if op.opset < 13 { 1 } else { -1 })?, x.dims.len())?;
    let last = op.node.output.first().is_some_and(|o| o == output && b.uses.get(o) == Some(&1));
    if !last || x.dims[axis..].iter().product::<usize>() != x.len() || (op.opset >= 13 && x.dims[axis] != x.len()) {
        return op.fail("supported only as the last layer, over the classes");
    }
    b.softmax = true;
    b.warnings.push(format!(
        "the final {} is left out: the outputs are its inputs, the logits, in the same order",
        op.node.op_type
    ));
    b.define(op, Value::Live(x))
}
