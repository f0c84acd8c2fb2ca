//! Operators that only shape arithmetic needs: comparisons, choices and roundings of constants.

use super::super::Source;
use super::build::{Builder, Value};
use super::copies::repeated;
use super::error::OnnxResult;
use super::fold;
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use super::tensors::{Data, Tensor, count};

/// Comparisons and logic of two constants: 1 where it holds, else 0.
pub fn compare(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["fmod"])?;
    b.at_most(op, 2)?;
    let (x, y) = (known(b, op, 0)?, known(b, op, 1)?);
    let holds = |order: std::cmp::Ordering| match op.node.op_type.as_str() {
        "Equal" => order.is_eq(),
        "Less" => order.is_lt(),
        "LessOrEqual" => order.is_le(),
        "Greater" => order.is_gt(),
        _ => order.is_ge(),
    };
    let ints = |a: i64, b: i64| match op.node.op_type.as_str() {
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        "Xor" => Some(i64::from((a != 0) != (b != 0))),
        "Mod" if b == 0 => None,
        "Mod" if op.int("fmod", 0).unwrap_or(0) != 0 => a.checked_rem(b),
        "Mod" => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        _ => Some(i64::from(holds(a.cmp(&b)))),
    };
    let floats = &mut |a: Near, b: Near| {
        let order = a.value.partial_cmp(&b.value).filter(|_| a.error == 0.0 && b.error == 0.0);
        let order = order.ok_or_else(|| op.error("compares constants that are not known exactly"))?;
        Ok(Near::from(if holds(order) { 1.0 } else { 0.0f64 }))
    };
    let mut result = fold::combine(b, op, &x, &y, &ints, floats)?;
    if let Data::Float(v) = &result.data {
        result.data = Data::Int(v.iter().map(|&v| v as i64).collect());
    }
    b.define(op, Value::Const(result))
}

fn known(b: &Builder, op: &Op, k: usize) -> OnnxResult<Tensor> {
    b.constant(op, k)?.cloned().ok_or_else(|| op.error(format!("lacks input {k}")))
}

/// Functions of one constant.
pub fn unary(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 1)?;
    let Tensor { dims, data } = known(b, op, 0)?;
    let kind = op.node.op_type.as_str();
    let whole = |v: Near, f: fn(f64) -> f64| {
        let (low, high) = (f(v.value - v.error), f(v.value + v.error));
        (low == high).then_some(Near::from(low))
    };
    let data = match data {
        Data::Int(v) => Data::Int(
            v.into_iter()
                .map(|v| match kind {
                    "Not" => Some(i64::from(v == 0)),
                    "Abs" => v.checked_abs(),
                    "Neg" => v.checked_neg(),
                    _ => None,
                })
                .collect::<Option<_>>()
                .ok_or_else(|| op.error("of integers is not supported"))?,
        ),
        floats => {
            let t = Tensor { dims: dims.clone(), data: floats };
            b.spend(op, 8 * t.len())?;
            let values = t.select(op, 0..t.len())?;
            let f = |v: Near| match kind {
                "Floor" => whole(v, f64::floor),
                "Ceil" => whole(v, f64::ceil),
                "Sqrt" => Some(v.sqrt()).filter(|v| v.is_finite()),
                "Reciprocal" => Some(Near::ONE / v).filter(|v| v.is_finite()),
                "Neg" => Some(-v),
                "Abs" => (v.error <= v.value.abs()).then_some(if v.value < 0.0 { -v } else { v }),
                _ => None,
            };
            let values: Option<Vec<Near>> = values.into_iter().map(f).collect();
            values.ok_or_else(|| op.error("of this constant is not supported"))?.into_iter().collect()
        }
    };
    b.define(op, Value::Const(Tensor { dims, data }))
}

/// Where with a constant condition.
pub fn choose(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 3)?;
    let Tensor { dims: when, data: Data::Int(condition) } = known(b, op, 0)? else {
        return op.fail("its condition is no truth value");
    };
    let dims_of = |v: &Value| match v {
        Value::Live(x) => x.dims.clone(),
        Value::Const(t) => t.dims.clone(),
    };
    let (yes, no) = (b.value(op, 1)?.clone(), b.value(op, 2)?.clone());
    let dims = fold::broadcast(op, &fold::broadcast(op, &when, &dims_of(&yes))?, &dims_of(&no))?;
    if let (Value::Const(yes), Value::Const(no)) = (&yes, &no) {
        b.spend(op, 8 * dims.iter().product::<usize>())?;
        let places =
            || fold::sources(&when, &dims).zip(fold::sources(&yes.dims, &dims)).zip(fold::sources(&no.dims, &dims));
        let data = match (&yes.data, &no.data) {
            (Data::Int(y), Data::Int(n)) => {
                Data::Int(places().map(|((c, i), k)| if condition[c] != 0 { y[i] } else { n[k] }).collect())
            }
            (Data::Int(_), _) | (_, Data::Int(_)) => return op.fail("mixes floats and integers"),
            (Data::Float(_) | Data::Near(_), Data::Float(_) | Data::Near(_)) => {
                let (y, n) = (yes.select(op, 0..yes.len())?, no.select(op, 0..no.len())?);
                places().map(|((c, i), k)| if condition[c] != 0 { y[i] } else { n[k] }).collect()
            }
        };
        return b.define(op, Value::Const(Tensor { dims, data }));
    }
    let chosen = match condition.first() {
        Some(&first) if condition.iter().all(|&c| (c != 0) == (first != 0)) => {
            if first != 0 {
                yes
            } else {
                no
            }
        }
        Some(_) => return one_by_one(b, op, (&when, &condition), [yes, no], dims),
        None => return op.fail("chooses nothing"),
    };
    let old = dims_of(&chosen);
    // `repeated` takes the operator's first input.
    let node = super::proto::Node {
        input: vec![op.node.input[if condition[0] != 0 { 1 } else { 2 }].clone()],
        ..op.node.clone()
    };
    repeated(b, &Op { node: &node, ..*op }, &old, dims)
}

/// A value of which each number comes from one of `sides`: from the first where `condition` holds.
fn one_by_one(
    b: &mut Builder,
    op: &Op,
    (when, condition): (&[usize], &[i64]),
    sides: [Value; 2],
    dims: Vec<usize>,
) -> OnnxResult<()> {
    let len = count(&dims, 1 << 28).ok_or_else(|| op.error("its result is too large"))?;
    b.spend(op, 8 * len)?;
    let (mut map, mut shifts, mut inputs) = (vec![None; len], vec![Near::ZERO; len], vec![]);
    for (side, value) in sides.into_iter().enumerate() {
        let places = |of: &[usize]| -> Vec<(usize, usize)> {
            let chosen = fold::sources(when, &dims).map(|c| usize::from(condition[c] == 0) == side);
            let all = fold::sources(of, &dims).enumerate().zip(chosen);
            all.filter_map(|(place, chosen)| chosen.then_some(place)).collect()
        };
        match value {
            Value::Live(x) => {
                let input = inputs.len() as u32;
                places(&x.dims).iter().for_each(|&(to, from)| map[to] = Some(Source { input, index: from as u32 }));
                inputs.push(x.id);
            }
            Value::Const(t) => {
                let values: Vec<Near> = t.select(op, 0..t.len())?;
                places(&t.dims).iter().for_each(|&(to, from)| shifts[to] = values[from]);
            }
        }
    }
    let live = b.gather(op, map, inputs, dims)?;
    let live = scale::apply(b, op, live, &vec![Near::ONE; len], &shifts, Merge::Free)?;
    b.define(op, Value::Live(live))
}

/// Range: integers from a start to a limit.
pub fn range(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 3)?;
    let number = |k: usize| match known(b, op, k)?.data {
        Data::Int(v) if v.len() == 1 => Ok(v[0]),
        _ => op.fail("of anything but integers is not supported"),
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    let span = limit.checked_sub(start).filter(|_| step != 0).ok_or_else(|| op.error("makes no sense"))?;
    let n = if (span > 0) == (step > 0) { span.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
    let n = usize::try_from(n).ok().filter(|&n| n <= 1 << 20).ok_or_else(|| op.error("is too long"))?;
    b.spend(op, n)?;
    b.define(op, Value::Const(Tensor::ints((0..n as i64).map(|k| start + k * step).collect())))
}
