//! Networks evaluated without any rounding, where the enclosure in f64 cannot tell on which side of an edge an output is.

use crate::model::activation::Activation;
use crate::model::reference::{Number, apply};
use crate::model::{Layer, Model};
use crate::spec::decimal::Decimal;

/// Products of larger networks take too long.
const PRODUCTS: usize = 1 << 17;

/// The outputs of the network as its file defines it, exactly; `None` if it has layers whose values no decimal holds,
/// constants that are not exact, or too many products.
pub(super) fn forward(model: &Model, input: &[Decimal]) -> Option<Vec<Decimal>> {
    if !model.folded.is_empty() || all_products(model) > PRODUCTS || !model.nodes.iter().all(|n| is_exact(&n.layer)) {
        return None;
    }
    let mut values = vec![input.to_vec()];
    for node in &model.nodes {
        let inputs: Vec<&[Decimal]> = node.inputs.iter().map(|&v| &values[v][..]).collect();
        let value = apply(&node.layer, &inputs, model.shape(node.inputs[0]), node.shape);
        if !value.iter().all(Decimal::is_moderate) {
            return None;
        }
        values.push(value);
    }
    values.pop()
}

/// Products by something other than zero, of one evaluation.
pub(super) fn all_products(model: &Model) -> usize {
    model.nodes.iter().map(|n| products(&n.layer, n.shape.len())).sum()
}

fn products(layer: &Layer, outputs: usize) -> usize {
    let used = |w: &[f32]| w.iter().filter(|w| **w != 0.0).count();
    match layer {
        Layer::Conv(c) => used(&c.weight) * (outputs / c.bias.len().max(1)),
        Layer::Dense(d) => used(&d.weight),
        Layer::AvgPool(p) => outputs * p.kernel[0] * p.kernel[1],
        Layer::Relu
        | Layer::Activation(_)
        | Layer::MaxPool(_)
        | Layer::Add
        | Layer::Scale { .. }
        | Layer::Gather(_) => outputs,
    }
}

/// Whether finite decimals stay finite decimals.
fn is_exact(layer: &Layer) -> bool {
    match layer {
        Layer::Conv(_)
        | Layer::Dense(_)
        | Layer::Relu
        | Layer::MaxPool(_)
        | Layer::Add
        | Layer::Scale { .. }
        | Layer::Gather(_) => true,
        Layer::Activation(_) | Layer::AvgPool(_) => false,
    }
}

impl Number for Decimal {
    fn constant(value: f32) -> Decimal {
        Decimal::from_f64(f64::from(value))
    }

    fn plus(&self, other: &Decimal) -> Decimal {
        self.add(other)
    }

    fn times(&self, factor: f32) -> Decimal {
        match factor {
            _ if self.is_zero() || factor == 0.0 => Decimal::ZERO,
            1.0 => self.clone(),
            -1.0 => self.neg(),
            _ => self.mul(&Decimal::from_f64(f64::from(factor))),
        }
    }

    fn larger(&self, other: &Decimal) -> Decimal {
        self.max(other).clone()
    }

    fn shared(&self, _: usize) -> Decimal {
        unreachable!("a mean is not evaluated exactly")
    }

    fn through(&self, _: &Activation) -> Decimal {
        unreachable!("an activation is not evaluated exactly")
    }
}
