//! Arithmetic on constants, mostly of shapes, and the broadcasting rules of ONNX.

use super::build::{Builder, Value};
use super::elementwise::Arithmetic;
use super::error::OnnxResult;
use super::near::Near;
use super::op::Op;
use super::tensors::{self, Data, Tensor, count};

/// Constants made up by folding may not be larger than this.
const LIMIT: usize = 1 << 26;

/// Dimensions of the elementwise combination of two tensors.
pub fn broadcast(op: &Op, a: &[usize], b: &[usize]) -> OnnxResult<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], k: usize| (k + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let dims: Option<Vec<usize>> = (0..rank)
        .map(|k| match (at(a, k), at(b, k)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect();
    match dims {
        Some(dims) if count(&dims, 1 << 28).is_some() => Ok(dims),
        _ => op.fail(format!("dimensions {a:?} and {b:?} do not fit each other")),
    }
}

/// Where each value of a tensor of dimensions `to` comes from in one of dimensions `from` (which broadcasts to it).
pub fn sources(from: &[usize], to: &[usize]) -> impl Iterator<Item = usize> {
    let lead = to.len() - from.len();
    let mut strides = vec![0; to.len()];
    let mut stride = 1;
    for k in (0..from.len()).rev() {
        if from[k] != 1 {
            strides[lead + k] = stride;
        }
        stride *= from[k];
    }
    let to = to.to_vec();
    (0..to.iter().product()).map(move |mut k| {
        let mut at = 0;
        for axis in (0..to.len()).rev() {
            at += k % to[axis] * strides[axis];
            k /= to[axis];
        }
        at
    })
}

/// The numbers of `t` where it is combined with values of dimensions `dims`, to which it broadcasts: one for each run of
/// as many consecutive values.
pub fn groups(b: &mut Builder, op: &Op, t: &Tensor, dims: &[usize]) -> OnnxResult<Vec<Near>> {
    let trailing = t.dims.iter().rev().take_while(|d| **d == 1).count();
    // Along the axes after the last that `t` has, nothing changes.
    let (own, outer) = (&t.dims[..t.dims.len() - trailing], &dims[..dims.len() - trailing.min(dims.len())]);
    let outer = if own.is_empty() { &[][..] } else { outer };
    // A number that carries its error is as large as four of f32.
    b.spend(op, outer.iter().product::<usize>().saturating_mul(8))?;
    t.select(op, sources(own, outer))
}

/// Two constants, value by value: integers by `ints`, where that has a result, floats by `floats`.
pub fn combine(
    b: &mut Builder,
    op: &Op,
    x: &Tensor,
    y: &Tensor,
    ints: &dyn Fn(i64, i64) -> Option<i64>,
    floats: &mut dyn FnMut(Near, Near) -> OnnxResult<Near>,
) -> OnnxResult<Tensor> {
    let dims = broadcast(op, &x.dims, &y.dims)?;
    let len = count(&dims, LIMIT).ok_or_else(|| op.error("makes a constant that is too large"))?;
    b.spend(op, 8 * len)?;
    let data = match (&x.data, &y.data) {
        (Data::Int(a), Data::Int(b)) => {
            let places = sources(&x.dims, &dims).zip(sources(&y.dims, &dims));
            let result: Option<Vec<i64>> = places.map(|(i, j)| ints(a[i], b[j])).collect();
            Data::Int(result.ok_or_else(|| op.error("divides by zero or overflows"))?)
        }
        (Data::Int(_), _) | (_, Data::Int(_)) => return op.fail("mixes floats and integers"),
        (Data::Float(_) | Data::Near(_), Data::Float(_) | Data::Near(_)) => {
            let x = x.select(op, sources(&x.dims, &dims))?;
            let y = y.select(op, sources(&y.dims, &dims))?;
            x.into_iter().zip(y).map(|(x, y)| floats(x, y)).collect::<OnnxResult<Vec<_>>>()?.into_iter().collect()
        }
    };
    Ok(Tensor { dims, data })
}

/// `x op y` of two constants.
pub fn arithmetic(b: &mut Builder, op: &Op, what: Arithmetic, x: &Tensor, y: &Tensor) -> OnnxResult<Tensor> {
    let ints = |a: i64, b: i64| match what {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Sub => a.checked_sub(b),
        Arithmetic::Mul => a.checked_mul(b),
        Arithmetic::Div => a.checked_div(b),
    };
    let floats = &mut |x: Near, y: Near| {
        Ok(match what {
            Arithmetic::Add => x + y,
            Arithmetic::Sub => x - y,
            Arithmetic::Mul => x * y,
            Arithmetic::Div => x / y,
        })
    };
    combine(b, op, x, y, &ints, floats)
}

/// DequantizeLinear of constants: `(x - zero point) scale`, per tensor or along one axis.
pub fn dequantize(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axis", "block_size", "output_dtype"])?;
    b.at_most(op, 3)?;
    let stored = match b.value(op, 0)? {
        Value::Const(Tensor { dims, data: Data::Int(v) }) => {
            Tensor { dims: dims.clone(), data: v.iter().map(|&v| Near::from(v as f64)).collect() }
        }
        Value::Const(_) => return op.fail("its input is no integer"),
        Value::Live(_) => {
            return op.fail("8 bit arithmetic on computed values is not supported; export the float network");
        }
    };
    if op.int("block_size", 0)? != 0 {
        return op.fail("scales for blocks are not supported; export the float network");
    }
    let scale = b.tensor(op, 1)?.cloned().ok_or_else(|| op.error("has no scale"))?;
    let zero = match b.constant(op, 2)? {
        Some(Tensor { dims, data: Data::Int(v) }) => {
            Some(Tensor { dims: dims.clone(), data: v.iter().map(|&v| Near::from(v as f64)).collect() })
        }
        Some(_) => return op.fail("its zero point is no integer"),
        None => None,
    };
    // One number for each place along the axis.
    let rank = stored.dims.len();
    let aligned = |t: Tensor| -> OnnxResult<Tensor> {
        if t.len() == 1 {
            return Ok(Tensor { dims: vec![], ..t });
        }
        let axis = op.axis(op.int("axis", 1)?, rank)?;
        let mut dims = vec![1; rank];
        dims[axis] = t.len();
        Ok(Tensor { dims, ..t })
    };
    let (scale, zero) = (aligned(scale)?, zero.map(aligned).transpose()?);
    let moved = match zero {
        Some(zero) => arithmetic(b, op, Arithmetic::Sub, &stored, &zero)?,
        None => stored.clone(),
    };
    let result = arithmetic(b, op, Arithmetic::Mul, &moved, &scale)?;
    if result.dims != stored.dims {
        return op.fail("its scale does not fit its input");
    }
    b.define(op, Value::Const(result))
}

/// Constant: one of the attributes that may hold its value.
pub fn constant(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["value", "value_float", "value_floats", "value_int", "value_ints"])?;
    b.at_most(op, 0)?;
    let [attribute] = &op.node.attribute[..] else { return op.fail("needs exactly one value") };
    let tensor = match attribute.name.as_str() {
        "value" => match op.tensor("value")? {
            Some(t) => tensors::read(t, &mut b.external)?,
            None => return op.fail("has no value"),
        },
        "value_float" => Tensor { dims: vec![], data: Data::Float(vec![op.float("value_float", 0.0)?]) },
        "value_int" => Tensor { dims: vec![], data: Data::Int(vec![op.int("value_int", 0)?]) },
        "value_floats" => Tensor { dims: vec![attribute.floats.len()], data: Data::Float(attribute.floats.clone()) },
        _ => Tensor::ints(attribute.ints.clone()),
    };
    b.define(op, Value::Const(tensor))
}

/// ConstantOfShape: one value, repeated.
pub fn constant_of_shape(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["value"])?;
    b.at_most(op, 1)?;
    let dims = b.ints(op, 0)?.ok_or_else(|| op.error("lacks a shape"))?;
    let dims: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let dims = dims.ok_or_else(|| op.error("has a negative dimension"))?;
    let n = count(&dims, LIMIT).ok_or_else(|| op.error("makes a constant that is too large"))?;
    b.spend(op, n)?;
    let data = match op.tensor("value")? {
        None => Data::Float(vec![0.0; n]),
        Some(t) => match tensors::read(t, &mut b.external)?.data {
            Data::Float(v) if v.len() == 1 => Data::Float(vec![v[0]; n]),
            Data::Near(v) if v.len() == 1 => {
                b.spend(op, 4 * n)?;
                Data::Near(vec![v[0]; n])
            }
            Data::Int(v) if v.len() == 1 => Data::Int(vec![v[0]; n]),
            _ => return op.fail("needs a single value"),
        },
    };
    b.define(op, Value::Const(Tensor { dims, data }))
}

/// Shape: the dimensions of a value for a batch of one.
pub fn shape(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["start", "end"])?;
    b.at_most(op, 1)?;
    let dims = match b.value(op, 0)? {
        Value::Live(l) => &l.dims,
        Value::Const(t) => &t.dims,
    };
    let rank = dims.len() as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clamp(op.int("start", 0)?), clamp(op.int("end", i64::MAX)?));
    let part = dims.get(start..end.max(start)).unwrap_or(&[]).iter().map(|&d| d as i64).collect();
    b.define(op, Value::Const(Tensor::ints(part)))
}

/// Size: the number of values, for a batch of one.
pub fn size(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 1)?;
    let len = match b.value(op, 0)? {
        Value::Live(l) => l.len(),
        Value::Const(t) => t.len(),
    };
    b.define(op, Value::Const(Tensor { dims: vec![], data: Data::Int(vec![len as i64]) }))
}

/// Cast: free where no value changes; constants may change between floats and integers.
pub fn cast(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    use super::proto::data_type::{BFLOAT16, BOOL, DOUBLE, FLOAT, FLOAT16, INT32, INT64};
    op.only(&["to", "saturate"])?;
    b.at_most(op, 1)?;
    let to = op.int("to", 0)?;
    let to = i32::try_from(to).unwrap_or(0);
    let value = b.value(op, 0)?.clone();
    if let Value::Const(t) = &value {
        b.spend(op, t.len())?;
    }
    let value = match (value, to) {
        // Over real numbers, nothing is lost in fewer bits.
        (Value::Live(l), FLOAT | DOUBLE | FLOAT16 | BFLOAT16) => Value::Live(l),
        (Value::Const(Tensor { dims, data: Data::Float(v) }), FLOAT16 | BFLOAT16) => {
            let round =
                |v: f32| if to == FLOAT16 { half::f16::from_f32(v).to_f32() } else { half::bf16::from_f32(v).to_f32() };
            Value::Const(Tensor { dims, data: Data::Float(v.into_iter().map(round).collect()) })
        }
        (Value::Const(Tensor { dims, data }), FLOAT | DOUBLE) => {
            // Rounding is what the file asks for here; a number that is not known exactly stays as it is.
            let narrow = |v: Near| if to == FLOAT && v.error == 0.0 { Near::from(v.value as f32) } else { v };
            let wide = |v: i64| Near::from(v as f64) + Near::from((i128::from(v) - (v as f64) as i128) as f64);
            let data = match data {
                Data::Float(v) => Data::Float(v),
                Data::Near(v) => v.into_iter().map(narrow).collect(),
                Data::Int(v) if to == FLOAT => Data::Float(v.iter().map(|&v| v as f32).collect()),
                Data::Int(v) => v.into_iter().map(wide).collect(),
            };
            Value::Const(Tensor { dims, data })
        }
        (Value::Const(Tensor { dims, data }), INT64 | INT32) => {
            let cut = |v: &Near| whole(*v).ok_or_else(|| op.error(format!("{:e} is no integer once cut", v.value)));
            let data = match data {
                Data::Float(v) => v.into_iter().map(|v| cut(&Near::from(v))).collect::<OnnxResult<_>>()?,
                Data::Near(v) => v.iter().map(cut).collect::<OnnxResult<_>>()?,
                Data::Int(v) => v,
            };
            if to == INT32 && data.iter().any(|&v| i32::try_from(v).is_err()) {
                return op.fail("an integer does not fit into 32 bits");
            }
            Value::Const(Tensor { dims, data: Data::Int(data) })
        }
        (Value::Const(Tensor { dims, data: Data::Int(v) }), BOOL) => {
            Value::Const(Tensor { dims, data: Data::Int(v.iter().map(|&v| i64::from(v != 0)).collect()) })
        }
        _ => return op.fail(format!("a change to data type {to} is not supported")),
    };
    b.define(op, value)
}

/// The integer that is left of a number once what is behind the point is cut off, if there is no doubt about it.
fn whole(v: Near) -> Option<i64> {
    let (low, high) = ((v.value - v.error).trunc(), (v.value + v.error).trunc());
    (low == high && low.abs() < i64::MAX as f64).then_some(low as i64)
}
