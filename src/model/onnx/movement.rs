//! Operators that only move data: what renames dimensions disappears, what permutes becomes one `Gather`.

use super::super::{Source, ValueId};
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use super::tensors::{Data, Tensor, count};

/// Same values, other dimensions.
fn rename(b: &mut Builder, op: &Op, k: usize, dims: Vec<usize>) -> OnnxResult<()> {
    let value = b.value(op, k)?.clone();
    let len = |dims: &[usize]| count(dims, 1 << 31);
    let value = match value {
        Value::Live(l) if len(&dims) == Some(l.len()) => Value::Live(Live { dims, ..l }),
        Value::Const(t) if len(&dims) == Some(t.len()) => {
            b.spend(op, t.len())?;
            Value::Const(Tensor { dims, ..t })
        }
        _ => return op.fail("the new shape does not have as many values as the old one"),
    };
    b.define(op, value)
}

pub fn dims(b: &Builder, op: &Op, k: usize) -> OnnxResult<Vec<usize>> {
    Ok(match b.value(op, k)? {
        Value::Live(l) => l.dims.clone(),
        Value::Const(t) => t.dims.clone(),
    })
}

/// Identity, and Dropout at inference.
pub fn identity(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["ratio", "seed", "is_test"])?;
    if b.ints(op, 2)?.is_some_and(|v| v.first() != Some(&0)) {
        return op.fail("training mode is not supported; export the network for inference");
    }
    let dims = dims(b, op, 0)?;
    rename(b, op, 0, dims)
}

pub fn flatten(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axis"])?;
    b.at_most(op, 1)?;
    let old = dims(b, op, 0)?;
    let axis = op.int("axis", 1)?;
    let axis = if axis == old.len() as i64 { old.len() } else { op.axis(axis, old.len())? };
    rename(b, op, 0, vec![old[..axis].iter().product(), old[axis..].iter().product()])
}

pub fn reshape(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["allowzero", "shape"])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let allow_zero = op.int("allowzero", 0)? != 0;
    let Some(wanted) = b.ints(op, 1)?.or(op.ints("shape")?) else { return op.fail("lacks a constant shape") };
    if wanted.len() > 16 {
        return op.fail("has too many axes");
    }
    let mut new = vec![];
    let mut open = None;
    for (k, &d) in wanted.iter().enumerate() {
        new.push(match (d, old.get(k)) {
            (-1, _) if open.is_none() => {
                open = Some(k);
                1
            }
            (0, Some(&same)) if !allow_zero => same,
            (d, _) if d > 0 => d as usize,
            _ => return op.fail(format!("shape {wanted:?} makes no sense for a value of {old:?}")),
        });
    }
    let total: usize = old.iter().product();
    if let Some(k) = open {
        let rest = count(&new, 1 << 31).unwrap_or(0);
        new[k] = total.checked_div(rest).unwrap_or(0);
    }
    // A batch size fixed at export that is not 1 shows here.
    if count(&new, 1 << 31) != Some(total) {
        return op.fail(format!("shape {wanted:?} makes no sense for a value of {old:?}"));
    }
    rename(b, op, 0, new)
}

fn axes<'a>(b: &'a Builder, op: &Op<'a>) -> OnnxResult<Option<&'a [i64]>> {
    match b.ints(op, 1)?.or(op.ints("axes")?) {
        Some(a) if a.len() > 16 => op.fail("has too many axes"),
        a => Ok(a),
    }
}

pub fn squeeze(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axes"])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let gone: Vec<usize> = match axes(b, op)? {
        Some(axes) => axes.iter().map(|&a| op.axis(a, old.len())).collect::<OnnxResult<_>>()?,
        None => (0..old.len()).filter(|&k| old[k] == 1).collect(),
    };
    let new = (0..old.len()).filter(|k| !gone.contains(k)).map(|k| old[k]).collect();
    rename(b, op, 0, new)
}

pub fn unsqueeze(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axes"])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let Some(axes) = axes(b, op)? else { return op.fail("lacks axes") };
    let rank = old.len() + axes.len();
    let new_axes = axes.iter().map(|&a| op.axis(a, rank)).collect::<OnnxResult<Vec<_>>>()?;
    let mut rest = old.iter();
    let new: Vec<usize> =
        (0..rank).filter_map(|k| if new_axes.contains(&k) { Some(1) } else { rest.next().copied() }).collect();
    rename(b, op, 0, new)
}

/// Row-major positions over a view of a tensor: start, dimensions and strides of the view.
pub fn view(start: isize, dims: &[usize], strides: &[isize]) -> Vec<usize> {
    let mut out = vec![start];
    for (&d, &s) in dims.iter().zip(strides) {
        out = out.iter().flat_map(|&at| (0..d as isize).map(move |k| at + k * s)).collect();
    }
    out.into_iter().map(|at| at as usize).collect()
}

pub fn strides(dims: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; dims.len()];
    for k in (1..dims.len()).rev() {
        strides[k - 1] = strides[k] * dims[k] as isize;
    }
    strides
}

/// The values of input 0 at these positions, with these dimensions.
pub fn select(b: &mut Builder, op: &Op, positions: &[usize], dims: Vec<usize>) -> OnnxResult<Value> {
    match b.value(op, 0)?.clone() {
        Value::Live(l) => Ok(Value::Live(select_live(b, op, &l, positions, dims)?)),
        Value::Const(t) => {
            b.spend(op, positions.len())?;
            let data = match &t.data {
                Data::Float(v) => Data::Float(positions.iter().map(|&k| v[k]).collect()),
                Data::Near(v) => Data::Near(positions.iter().map(|&k| v[k]).collect()),
                Data::Int(v) => Data::Int(positions.iter().map(|&k| v[k]).collect()),
            };
            Ok(Value::Const(Tensor { dims, data }))
        }
    }
}

/// The values of `live` at these positions, with these dimensions.
pub fn select_live(b: &mut Builder, op: &Op, live: &Live, positions: &[usize], dims: Vec<usize>) -> OnnxResult<Live> {
    b.spend(op, positions.len())?;
    let map = positions.iter().map(|&k| Some(Source { input: 0, index: k as u32 })).collect();
    b.gather(op, map, vec![live.id], dims)
}

pub fn transpose(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["perm"])?;
    b.at_most(op, 1)?;
    let old = dims(b, op, 0)?;
    let perm: Vec<usize> = match op.ints("perm")? {
        None => (0..old.len()).rev().collect(),
        Some(p) if p.len() == old.len() => p.iter().map(|&a| op.axis(a, old.len())).collect::<OnnxResult<_>>()?,
        Some(_) => return op.fail(format!("its permutation does not fit a value of {old:?}")),
    };
    if (0..old.len()).any(|k| !perm.contains(&k)) {
        return op.fail("its permutation repeats an axis");
    }
    let new: Vec<usize> = perm.iter().map(|&k| old[k]).collect();
    let moved: Vec<usize> = perm.iter().copied().filter(|&k| old[k] != 1).collect();
    if moved.is_sorted() {
        return rename(b, op, 0, new);
    }
    if let Value::Live(live) = b.value(op, 0)?
        && perm == [0, 3, 1, 2]
        && b.is_input(live.id)
    {
        b.input_turned = true;
    }
    let (all, len) = (strides(&old), old.iter().product());
    b.spend(op, len)?;
    let positions = view(0, &new, &perm.iter().map(|&k| all[k]).collect::<Vec<_>>());
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}

pub fn slice(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axes", "starts", "ends"])?;
    b.at_most(op, 5)?;
    let old = dims(b, op, 0)?;
    let list = |k: usize, name: &str| -> OnnxResult<Option<Vec<i64>>> {
        Ok(b.ints(op, k)?.or(op.ints(name)?).map(<[i64]>::to_vec))
    };
    let (Some(starts), Some(ends)) = (list(1, "starts")?, list(2, "ends")?) else {
        return op.fail("lacks constant starts and ends");
    };
    let axes = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = b.ints(op, 4)?.map_or_else(|| vec![1; starts.len()], <[i64]>::to_vec);
    if starts.len() > old.len() || [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return op.fail("its starts, ends, axes and steps do not fit together");
    }
    let (mut new, mut by, mut first) = (old.clone(), strides(&old), 0isize);
    let base = by.clone();
    for (k, &a) in axes.iter().enumerate() {
        let axis = op.axis(a, old.len())?;
        let (n, step) = (old[axis] as i64, steps[k]);
        if step == 0 || step.unsigned_abs() > 1 << 31 {
            return op.fail("its step makes no sense");
        }
        let from_end = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let start = from_end(starts[k]).clamp(low.max(0), high.max(0));
        let end = from_end(ends[k]).clamp(low, high);
        let size = if step > 0 { (end - start + step - 1) / step } else { (start - end - step - 1) / -step };
        if size < 1 {
            return op.fail("selects nothing");
        }
        new[axis] = size as usize;
        first += start as isize * base[axis];
        by[axis] = base[axis] * step as isize;
    }
    b.spend(op, new.iter().product())?;
    let positions = view(first, &new, &by);
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}

/// Split into consecutive parts along one axis.
pub fn split(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only_attributes(&["axis", "split", "num_outputs"])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let axis = op.axis(op.int("axis", 0)?, old.len())?;
    let parts = op.node.output.len();
    if parts == 0 || parts > old[axis] {
        return op.fail(format!("cannot split {old:?} into {parts} parts"));
    }
    let each = old[axis].div_ceil(parts);
    let equal = (0..parts).map(|k| each.min(old[axis].saturating_sub(k * each))).collect();
    let sizes: Vec<usize> = match b.ints(op, 1)?.or(op.ints("split")?) {
        Some(s) => op.positive("split", s, parts, 1)?,
        None => equal,
    };
    if sizes.iter().sum::<usize>() != old[axis] || sizes.contains(&0) {
        return op.fail(format!("parts {sizes:?} do not make up {old:?}"));
    }
    let (by, mut start) = (strides(&old), 0);
    for (k, &size) in sizes.iter().enumerate() {
        let mut new = old.clone();
        new[axis] = size;
        b.spend(op, new.iter().product())?;
        let positions = view(start as isize * by[axis], &new, &by);
        start += size;
        let value = select(b, op, &positions, new)?;
        b.define_output(op, k, value)?;
    }
    Ok(())
}

/// Gather with constant indices; a scalar index drops the axis.
pub fn gather(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axis"])?;
    b.at_most(op, 2)?;
    let old = dims(b, op, 0)?;
    let axis = op.axis(op.int("axis", 0)?, old.len())?;
    let Some(Tensor { dims: index_dims, data: Data::Int(indices) }) = b.constant(op, 1)?.cloned() else {
        return op.fail("lacks constant integer indices");
    };
    let n = old[axis] as i64;
    if indices.is_empty() || indices.iter().any(|i| !(-n..n).contains(i)) {
        return op.fail(format!("an index is outside 0..{n}"));
    }
    let new = [&old[..axis], &index_dims, &old[axis + 1..]].concat();
    let Some(len) = count(&new, 1 << 28) else { return op.fail("its result is too large") };
    b.spend(op, len)?;
    let inner: usize = old[axis + 1..].iter().product();
    let outer: usize = old[..axis].iter().product();
    let mut positions = Vec::with_capacity(len);
    for o in 0..outer {
        for &i in &indices {
            let start = (o * old[axis] + i.rem_euclid(n) as usize) * inner;
            positions.extend(start..start + inner);
        }
    }
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}

/// GatherND with constant indices: along the last axis of theirs stands where a part of the value begins.
pub fn gather_nd(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["batch_dims"])?;
    b.at_most(op, 2)?;
    if op.int("batch_dims", 0)? != 0 {
        return op.fail("with batch_dims is not supported");
    }
    let old = dims(b, op, 0)?;
    let Some(Tensor { dims: index_dims, data: Data::Int(indices) }) = b.constant(op, 1)?.cloned() else {
        return op.fail("lacks constant integer indices");
    };
    let Some((&depth, outer)) = index_dims.split_last().filter(|(d, _)| (1..=old.len()).contains(*d)) else {
        return op.fail(format!("indices of {index_dims:?} do not fit a value of {old:?}"));
    };
    let new = [outer, &old[depth..]].concat();
    let Some(len) = count(&new, 1 << 28).filter(|&n| n > 0) else { return op.fail("its result is empty or too large") };
    b.spend(op, len)?;
    let part: usize = old[depth..].iter().product();
    let mut positions = Vec::with_capacity(len);
    for index in indices.chunks(depth) {
        let mut at = 0;
        for (&i, &n) in index.iter().zip(&old) {
            if !(-(n as i64)..n as i64).contains(&i) {
                return op.fail(format!("an index is outside 0..{n}"));
            }
            at = at * n + i.rem_euclid(n as i64) as usize;
        }
        positions.extend(at * part..(at + 1) * part);
    }
    let value = select(b, op, &positions, new)?;
    b.define(op, value)
}

pub fn concat(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axis"])?;
    let inputs = op.node.input.len();
    let first = dims(b, op, 0)?;
    let axis = op.axis(op.int("axis", 0)?, first.len())?;
    let mut new = first.clone();
    new[axis] = 0;
    let mut widths = vec![];
    for k in 0..inputs {
        let d = dims(b, op, k)?;
        if d.len() != first.len() || (0..d.len()).any(|i| i != axis && d[i] != first[i]) {
            return op.fail(format!("inputs of {first:?} and {d:?} do not fit together"));
        }
        new[axis] += d[axis];
        widths.push(d[axis..].iter().product::<usize>());
    }
    let Some(len) = count(&new, 1 << 28) else { return op.fail("its result is too large") };
    b.spend(op, len)?;
    let outer: usize = first[..axis].iter().product();
    let values = (0..inputs).map(|k| b.value(op, k)).collect::<OnnxResult<Vec<_>>>()?;
    if values.iter().all(|v| matches!(v, Value::Const(_))) {
        let joined = join_constants(op, &values, &widths, outer)?;
        return b.define(op, Value::Const(Tensor { dims: new, data: joined }));
    }
    let mut ids: Vec<ValueId> = vec![];
    // Constants are added where nothing was moved to.
    let mut sources: Vec<(Option<u32>, Vec<Near>)> = vec![];
    for v in values {
        sources.push(match v {
            Value::Live(l) => {
                ids.push(l.id);
                (Some(ids.len() as u32 - 1), vec![])
            }
            Value::Const(t) => (None, t.select(op, 0..t.len())?),
        });
    }
    let constants = sources.iter().any(|(_, v)| v.iter().any(|v| !v.is(0.0)));
    let (mut map, mut shift) = (Vec::with_capacity(len), vec![]);
    b.spend(op, if constants { 8 * len } else { 0 })?;
    for o in 0..outer {
        for ((source, values), &width) in sources.iter().zip(&widths) {
            let part = o * width..(o + 1) * width;
            map.extend(part.clone().map(|k| source.map(|input| Source { input, index: k as u32 })));
            match source {
                _ if !constants => {}
                Some(_) => shift.resize(shift.len() + width, Near::ZERO),
                None => shift.extend_from_slice(&values[part]),
            }
        }
    }
    let mut live = b.gather(op, map, ids, new)?;
    if constants {
        live = scale::apply(b, op, live, &vec![Near::ONE; len], &shift, Merge::Free)?;
    }
    b.define(op, Value::Live(live))
}

fn join_constants(op: &Op, values: &[&Value], widths: &[usize], outer: usize) -> OnnxResult<Data> {
    let (mut numbers, mut ints) = (vec![], vec![]);
    for o in 0..outer {
        for (v, &width) in values.iter().zip(widths) {
            let part = o * width..(o + 1) * width;
            match v {
                Value::Const(Tensor { data: Data::Int(v), .. }) => ints.extend_from_slice(&v[part]),
                Value::Const(t) => numbers.extend(t.select(op, part)?),
                Value::Live(_) => {}
            }
        }
    }
    match (numbers.is_empty(), ints.is_empty()) {
        (_, true) => Ok(numbers.into_iter().collect()),
        (true, false) => Ok(Data::Int(ints)),
        (false, false) => op.fail("joins floats and integers"),
    }
}
