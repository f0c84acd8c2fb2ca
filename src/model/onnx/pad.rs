//! Padding: by a constant, by the border, by reflection, or around; negative pads cut off.

use super::super::Source;
use super::build::{Builder, Value};
use super::error::OnnxResult;
use super::movement::dims;
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use super::tensors::count;

pub fn pad(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["mode", "pads", "value", "paddings"])?;
    b.at_most(op, 4)?;
    let old = dims(b, op, 0)?;
    let mode = op.text("mode", "constant")?;
    let rank = old.len();
    let Some(given) = b.ints(op, 1)?.or(op.ints("pads")?) else { return op.fail("lacks constant pads") };
    let axes = match b.ints(op, 3)? {
        Some(a) if a.len() <= rank => a.iter().map(|&a| op.axis(a, rank)).collect::<OnnxResult<Vec<_>>>()?,
        Some(_) => return op.fail("pads more axes than there are"),
        None => (0..rank).collect(),
    };
    if given.len() != 2 * axes.len() || given.iter().any(|p| p.unsigned_abs() > 1 << 16) {
        return op.fail(format!("pads {:?} make no sense for {old:?}", &given[..given.len().min(16)]));
    }
    let (mut before, mut new) = (vec![0i64; rank], old.clone());
    for (k, &axis) in axes.iter().enumerate() {
        before[axis] = given[k];
        let size = new[axis] as i64 + given[k] + given[axes.len() + k];
        new[axis] = usize::try_from(size).unwrap_or(0);
    }
    let value = match b.number(op, 2)? {
        Some(value) => value,
        None => Near::from(op.float("value", 0.0)?),
    };
    let len = count(&new, 1 << 28).filter(|&n| n > 0).ok_or_else(|| op.error("its result is empty or too large"))?;
    b.spend(op, len)?;
    let mut map: Vec<Option<u32>> = vec![Some(0)];
    for axis in 0..rank {
        let places: Vec<Option<u32>> = (0..new[axis] as i64)
            .map(|k| place(op, mode, k - before[axis], old[axis] as i64))
            .collect::<OnnxResult<_>>()?;
        let size = old[axis] as u32;
        map = map.iter().flat_map(|&at| places.iter().map(move |&k| Some(at? * size + k?))).collect();
    }
    if let Value::Const(t) = b.value(op, 0)? {
        let places: Option<Vec<usize>> = map.iter().map(|at| at.map(|k| k as usize)).collect();
        let Some(places) = places else { return op.fail("pads a constant, which is not supported") };
        let data = t.select(op, places.into_iter())?.into_iter().collect();
        return b.define(op, Value::Const(super::tensors::Tensor { dims: new, data }));
    }
    let x = b.live(op, 0)?;
    let shift = |at: &Option<u32>| if at.is_none() { value } else { Near::ZERO };
    let shifts: Vec<Near> = if value.is(0.0) { vec![] } else { map.iter().map(shift).collect() };
    let map = map.into_iter().map(|at| at.map(|index| Source { input: 0, index })).collect();
    let mut live = b.gather(op, map, vec![x.id], new)?;
    if !shifts.is_empty() {
        b.spend(op, 8 * len)?;
        live = scale::apply(b, op, live, &vec![Near::ONE; len], &shifts, Merge::Free)?;
    }
    b.define(op, Value::Live(live))
}

/// Which of `n` values stands `k` after the first one.
fn place(op: &Op, mode: &str, k: i64, n: i64) -> OnnxResult<Option<u32>> {
    let inside = (0..n).contains(&k);
    let at = match mode {
        "constant" => return Ok(inside.then_some(k as u32)),
        "edge" => k.clamp(0, n - 1),
        "reflect" if inside => k,
        // The border itself is not repeated; what reaches beyond the other border comes back again.
        "reflect" if n > 1 => {
            let round = k.rem_euclid(2 * (n - 1));
            if round < n { round } else { 2 * (n - 1) - round }
        }
        "wrap" => k.rem_euclid(n),
        _ => return op.fail(format!("padding by {mode} of {n} values is not supported")),
    };
    Ok(Some(at as u32))
}
