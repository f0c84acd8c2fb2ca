//! Activations: operators that treat every value by itself.

use super::super::Layer;
use super::super::activation::{Abs, Activation, Clip, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Tanh};
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::fold;
use super::near::Near;
use super::op::Op;

/// The activation that an operator is, if it is one.
pub fn read(b: &mut Builder, op: &Op, kind: &str) -> OnnxResult<bool> {
    let (functions, inputs) = match kind {
        "LeakyRelu" => {
            op.only(&["alpha"])?;
            (vec![Activation::LeakyRelu(LeakyRelu { slope: op.float("alpha", 0.01)? })], 1)
        }
        "PRelu" => (slopes(b, op)?, 2),
        "Clip" => match clip(b, op)? {
            Some(clip) => (vec![Activation::Clip(clip)], 3),
            None => (vec![], 3),
        },
        "Abs" => plain(op, Activation::Abs(Abs))?,
        "HardSigmoid" => {
            op.only(&["alpha", "beta"])?;
            let (alpha, beta) = (op.float("alpha", 0.2)?, op.float("beta", 0.5)?);
            (vec![Activation::HardSigmoid(HardSigmoid { alpha, beta })], 1)
        }
        "HardSwish" => plain(op, Activation::HardSwish(HardSwish))?,
        "Sigmoid" => plain(op, Activation::Sigmoid(Sigmoid))?,
        "Tanh" => plain(op, Activation::Tanh(Tanh))?,
        _ => return Ok(false),
    };
    b.at_most(op, inputs)?;
    if let Some(problem) = functions.iter().find_map(|f| f.check().err()) {
        return op.fail(problem);
    }
    let layer = if functions.is_empty() { Layer::Relu } else { Layer::Activation(functions) };
    push(b, op, layer)?;
    Ok(true)
}

/// A function without constants, and the one input of its operator.
fn plain(op: &Op, f: Activation) -> OnnxResult<(Vec<Activation>, usize)> {
    op.only(&[])?;
    Ok((vec![f], 1))
}

/// Appends a layer that treats every value of the operator's first input by itself.
pub fn push(b: &mut Builder, op: &Op, layer: Layer) -> OnnxResult<()> {
    let x: Live = b.live(op, 0)?;
    let live = b.push_shaped(op, layer, vec![x.id], b.shape(x.id), x.dims)?;
    b.define(op, Value::Live(live))
}

/// A layer of magnitudes.
pub fn magnitude() -> Layer {
    Layer::Activation(vec![Activation::Abs(Abs)])
}

/// A constant of a function, which nothing can be charged for.
pub fn exact(op: &Op, number: Near) -> OnnxResult<f32> {
    let stored = number.value as f32;
    if number.error == 0.0 && f64::from(stored) == number.value {
        Ok(stored)
    } else {
        op.fail(format!("its constant {:e} is no 32 bit float; export in 32 bits", number.value))
    }
}

/// A leaky rectifier for each slope that `PRelu` is given.
fn slopes(b: &mut Builder, op: &Op) -> OnnxResult<Vec<Activation>> {
    op.only(&[])?;
    let x = b.live(op, 0)?;
    let Some(slopes) = b.tensor(op, 1)?.cloned() else { return op.fail("has no slopes") };
    if fold::broadcast(op, &x.dims, &slopes.dims)? != x.dims {
        return op.fail("repeats the network's values to fit a larger constant, which is not supported");
    }
    let slopes = fold::groups(b, op, &slopes, &x.dims)?;
    slopes.into_iter().map(|s| Ok(Activation::LeakyRelu(LeakyRelu { slope: exact(op, s)? }))).collect()
}

/// What `Clip` does; nothing if that is a rectifier.
fn clip(b: &mut Builder, op: &Op) -> OnnxResult<Option<Clip>> {
    op.only(&["min", "max"])?;
    let bound = |k: usize, name: &str, none: f32| -> OnnxResult<f32> {
        let attribute = op.float(name, none)?;
        exact(op, b.number(op, k)?.unwrap_or(Near::from(attribute)))
    };
    let (min, max) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
    // The standard's way to say that there is no bound.
    let low = if min == f32::MIN { f32::NEG_INFINITY } else { min };
    let high = if max == f32::MAX { f32::INFINITY } else { max };
    Ok(if low == 0.0 && high == f32::INFINITY { None } else { Some(Clip { low, high }) })
}
