//! Elementwise operators: Relu, and sums, differences, products and quotients with constants or of two values.

use super::super::{Layer, Ratio, ValueId};
use super::activation;
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::fold;
use super::movement;
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use super::tensors::{Data, Tensor};

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
        (Value::Live(x), Value::Live(y)) => of_two(b, op, what, x, y)?,
    };
    b.define(op, Value::Live(live))
}

/// `x op c`, or `c op x` if `reversed`.
fn with_constant(b: &mut Builder, op: &Op, what: Arithmetic, x: Live, c: &Tensor, reversed: bool) -> OnnxResult<Live> {
    let dims = fold::broadcast(op, &x.dims, &c.dims)?;
    let x = broadcast_live(b, op, x, &dims)?;
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
            let ratio = |v: &Near| {
                let exact = v.error == 0.0;
                exact.then_some(Ratio { factor: 1.0, offset: 0.0, divisor: [v.value, 0.0], root: false, shift: 0.0 })
            };
            let (ratios, inverse) =
                (c.iter().map(ratio).collect(), c.iter().map(|&v| Near::ONE / v).collect::<Vec<_>>());
            return scale::apply_ratios(b, op, x, [&inverse, &all(0.0)], ratios, Merge::Needed);
        }
        (Arithmetic::Div, true) => return op.fail("division by the network's values is not supported"),
    };
    scale::apply(b, op, x, &scale, &shift, merge)
}

fn of_two(b: &mut Builder, op: &Op, what: Arithmetic, x: Live, y: Live) -> OnnxResult<Live> {
    let dims = fold::broadcast(op, &x.dims, &y.dims)?;
    let (x, y) = (broadcast_live(b, op, x, &dims)?, broadcast_live(b, op, y, &dims)?);
    let second: ValueId = match what {
        Arithmetic::Add => y.id,
        Arithmetic::Sub => negated(b, op, &y)?.id,
        Arithmetic::Mul | Arithmetic::Div => {
            return op.fail(
                "products and quotients of two computed values are not supported; export a network without them",
            );
        }
    };
    b.push(op, Layer::Add, vec![x.id, second], dims)
}

/// `x` with these dimensions, repeated where they are larger.
pub fn broadcast_live(b: &mut Builder, op: &Op, x: Live, dims: &[usize]) -> OnnxResult<Live> {
    if x.len() == dims.iter().product::<usize>() {
        return Ok(Live { dims: dims.to_vec(), ..x });
    }
    b.spend(op, dims.iter().product())?;
    let positions: Vec<usize> = fold::sources(&x.dims, dims).collect();
    movement::select_live(b, op, &x, &positions, dims.to_vec())
}

/// Sum and Mean of any number of values.
pub fn sum(b: &mut Builder, op: &Op, mean: bool) -> OnnxResult<()> {
    op.only(&[])?;
    let n = op.node.input.len();
    let mut total = b.value(op, 0)?.clone();
    for k in 1..n {
        let next = b.value(op, k)?.clone();
        total = match (total, next) {
            (Value::Const(x), Value::Const(y)) => Value::Const(fold::arithmetic(b, op, Arithmetic::Add, &x, &y)?),
            (Value::Live(x), Value::Const(c)) | (Value::Const(c), Value::Live(x)) => {
                Value::Live(with_constant(b, op, Arithmetic::Add, x, &c, false)?)
            }
            (Value::Live(x), Value::Live(y)) => Value::Live(of_two(b, op, Arithmetic::Add, x, y)?),
        };
    }
    let count = Tensor { dims: vec![], data: Data::Float(vec![n as f32]) };
    let total = match total {
        total if !mean => total,
        Value::Live(x) => Value::Live(with_constant(b, op, Arithmetic::Div, x, &count, false)?),
        Value::Const(x) => Value::Const(fold::arithmetic(b, op, Arithmetic::Div, &x, &count)?),
    };
    b.define(op, total)
}

pub fn negated(b: &mut Builder, op: &Op, x: &Live) -> OnnxResult<Live> {
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
