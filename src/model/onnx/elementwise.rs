//! Elementwise operators: Relu, and sums, differences, products and quotients with constants or of two values.

use super::super::{Layer, ValueId};
use super::activation;
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::fold;
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
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
    let c = fold::groups(b, op, c, &x.dims)?;
    let n = c.len();
    let all = |v: f32| vec![Near::from(v); n];
    let (scale, shift, merge) = match (what, reversed) {
        (Arithmetic::Add, _) => (all(1.0), c, Merge::Free),
        (Arithmetic::Sub, false) => (all(1.0), c.into_iter().map(|v| -v).collect(), Merge::Free),
        (Arithmetic::Sub, true) => (all(-1.0), c, Merge::Needed),
        (Arithmetic::Mul, _) => (c, all(0.0), Merge::Needed),
        (Arithmetic::Div, false) => {
            if c.iter().any(|v| v.value.abs() <= v.error) {
                return op.fail("divides by zero");
            }
            (c.into_iter().map(|v| Near::ONE / v).collect(), all(0.0), Merge::Needed)
        }
        (Arithmetic::Div, true) => return op.fail("division by the network's values is not supported"),
    };
    scale::apply(b, op, x, &scale, &shift, merge)
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
    activation::push(b, op, Layer::Relu)
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
