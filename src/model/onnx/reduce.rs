//! Sums, means and maxima along axes: pooling over windows that hold the whole of them.

use super::super::{Layer, Pool};
use super::activation;
use super::build::{Builder, Live, Value};
use super::elementwise::negated;
use super::error::OnnxResult;
use super::movement::{select_live, strides, view};
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use super::tensors::{Data, Tensor};
use crate::tensor::Shape;

/// What becomes of the values along the axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    /// Of constants only.
    Product,
    /// The sum of magnitudes.
    Norm,
}

pub fn reduce(b: &mut Builder, op: &Op, what: Reduce) -> OnnxResult<()> {
    op.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
    b.at_most(op, 2)?;
    let value = b.value(op, 0)?.clone();
    let old = match &value {
        Value::Live(x) => x.dims.clone(),
        Value::Const(t) => t.dims.clone(),
    };
    let given = match b.ints(op, 1)?.or(op.ints("axes")?) {
        Some(a) if a.len() > 16 => return op.fail("has too many axes"),
        Some(a) => a.iter().map(|&a| op.axis(a, old.len())).collect::<OnnxResult<Vec<_>>>()?,
        None => vec![],
    };
    let keep = op.int("keepdims", 1)? != 0;
    let none = given.is_empty() && op.int("noop_with_empty_axes", 0)? != 0;
    let gone = |k: usize| !none && (given.is_empty() || given.contains(&k));
    let kept: Vec<usize> = (0..old.len()).filter(|&k| !gone(k)).collect();
    let reduced: Vec<usize> = (0..old.len()).filter(|&k| gone(k)).collect();
    let new: Vec<usize> =
        (0..old.len()).filter(|&k| keep || !gone(k)).map(|k| if gone(k) { 1 } else { old[k] }).collect();
    let value = match value {
        Value::Const(t) => Value::Const(of_constant(b, op, what, &t, &kept, &reduced, new)?),
        Value::Live(x) => Value::Live(of_live(b, op, what, x, &kept, &reduced, new)?),
    };
    b.define(op, value)
}

/// Where the values stand in the order of the axes `kept`, then `reduced`; the length of each.
fn ordered(old: &[usize], kept: &[usize], reduced: &[usize]) -> (Vec<usize>, usize, usize) {
    let all = strides(old);
    let order: Vec<usize> = [kept, reduced].concat();
    let sizes: Vec<usize> = order.iter().map(|&k| old[k]).collect();
    let each = reduced.iter().map(|&k| old[k]).product();
    let positions = view(0, &sizes, &order.iter().map(|&k| all[k]).collect::<Vec<_>>());
    (positions, kept.iter().map(|&k| old[k]).product(), each)
}

fn of_constant(
    b: &mut Builder,
    op: &Op,
    what: Reduce,
    t: &Tensor,
    kept: &[usize],
    reduced: &[usize],
    dims: Vec<usize>,
) -> OnnxResult<Tensor> {
    b.spend(op, 2 * t.len())?;
    let (positions, groups, each) = ordered(&t.dims, kept, reduced);
    if t.len() == 0 || each == 0 {
        return op.fail("reduces an empty constant");
    }
    let mixed = || op.error("of constants of this type is not supported");
    let data = match &t.data {
        Data::Int(v) => {
            let fold = |group: &[usize]| {
                let mut values = group.iter().map(|&k| v[k]);
                match what {
                    Reduce::Sum => values.try_fold(0i64, i64::checked_add),
                    Reduce::Product => values.try_fold(1i64, i64::checked_mul),
                    Reduce::Max => values.max(),
                    Reduce::Min => values.min(),
                    Reduce::Mean | Reduce::Norm => None,
                }
            };
            Data::Int(positions.chunks(each).map(fold).collect::<Option<_>>().ok_or_else(mixed)?)
        }
        Data::Float(_) | Data::Near(_) => {
            let values = t.select(op, positions.into_iter())?;
            let fold = |group: &[Near]| {
                let sum = || group.iter().fold(Near::ZERO, |sum, &v| sum + v);
                match what {
                    Reduce::Sum => Some(sum()),
                    Reduce::Mean => Some(sum() / Near::from(each as f64)),
                    Reduce::Product => Some(group.iter().fold(Near::ONE, |product, &v| product * v)),
                    Reduce::Max | Reduce::Min | Reduce::Norm => None,
                }
            };
            values.chunks(each).map(fold).collect::<Option<Vec<Near>>>().ok_or_else(mixed)?.into_iter().collect()
        }
    };
    debug_assert_eq!(dims.iter().product::<usize>(), groups);
    Ok(Tensor { dims, data })
}

fn of_live(
    b: &mut Builder,
    op: &Op,
    what: Reduce,
    mut x: Live,
    kept: &[usize],
    reduced: &[usize],
    dims: Vec<usize>,
) -> OnnxResult<Live> {
    if what == Reduce::Product {
        return op.fail("products of computed values are not supported; export the network without it");
    }
    if what == Reduce::Norm {
        x = b.push_shaped(op, activation::magnitude(), vec![x.id], b.shape(x.id), x.dims)?;
    }
    let old = x.dims.clone();
    let each: usize = reduced.iter().map(|&k| old[k]).product();
    if each == 1 {
        return Ok(Live { dims, ..x });
    }
    // Rows and columns of an image are one window; other axes are brought to the end, into one row.
    let image = matches!(old[..], [1, _, _, _]) && reduced.iter().filter(|&&k| old[k] > 1).all(|&k| k >= 2);
    let plane = image && kept.iter().all(|&k| k < 2 || old[k] == 1);
    let shape = if plane {
        Shape::new(old[1], old[2], old[3])
    } else {
        let (positions, groups, _) = ordered(&old, kept, reduced);
        b.spend(op, 2 * positions.len())?;
        let moved = positions.iter().enumerate().any(|(k, &from)| k != from);
        if moved {
            x = select_live(b, op, &x, &positions, vec![1, groups, 1, each])?;
        }
        Shape::new(groups, 1, each)
    };
    if what == Reduce::Min {
        x = negated(b, op, &x)?;
    }
    let from = if plane { b.image(op, &x)?.0 } else { b.seen_as(op, &x, shape)? };
    let pool = Pool { kernel: [shape.height, shape.width], stride: [1, 1], pad: [0, 0], count_include_pad: false };
    let layer = match what {
        Reduce::Max | Reduce::Min => Layer::MaxPool(pool),
        Reduce::Sum | Reduce::Mean | Reduce::Norm | Reduce::Product => Layer::AvgPool(pool),
    };
    let live = b.push_shaped(op, layer, vec![from], Shape::flat(shape.channels), dims)?;
    match what {
        Reduce::Min => negated(b, op, &live),
        Reduce::Sum | Reduce::Norm => {
            scale::apply(b, op, live, &[Near::from(each as f64)], &[Near::ZERO], Merge::Needed)
        }
        Reduce::Mean | Reduce::Max | Reduce::Product => Ok(live),
    }
}
