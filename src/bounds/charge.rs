//! What a bounder charges for roundings: relative errors of sums, the absolute floor for flushed subnormals, and what
//! other runtimes may be off by. Zero where charges are off.

use super::method::Runtime;
use super::{Bounder, NEAREST};
use crate::model::ValueId;
use crate::network::Placed;
use crate::rounding::{self, UNIT, to_f32_up};

impl Bounder {
    /// Relative error of a sum of `products` terms.
    pub(super) fn sum_error(&self, products: usize) -> f32 {
        if self.sound { rounding::sum_error(products) } else { 0.0 }
    }

    /// Absolute error of a row for flushed subnormals.
    pub(super) fn floor(&self) -> f32 {
        if self.sound { self.range.floor } else { 0.0 }
    }

    /// Relative error of a sum of `terms` in one go.
    pub(super) fn chain_error(&self, terms: usize) -> f32 {
        if self.sound { to_f32_up(rounding::gamma(terms + 8, UNIT)) } else { 0.0 }
    }

    /// Relative error of node `i` in the runtimes that proofs are to hold for, against `|W| |x| + |b|`.
    pub(super) fn deployed(&self, i: usize) -> f32 {
        match self.runtime {
            Runtime::AnyF32 if self.sound => to_f32_up(rounding::gamma(self.net.layer(i).roundings(), NEAREST)),
            Runtime::AnyF32 | Runtime::Exact => 0.0,
        }
    }

    /// Rounding charge that the consumers of `value` want in its radius, as a share of |centre|.
    pub(super) fn inflation(&self, value: ValueId) -> f32 {
        let nodes = self.net.model.nodes.iter().enumerate();
        let shares = nodes.filter(|(_, n)| n.inputs.contains(&value)).map(|(i, _)| match self.net.layer(i) {
            Placed::Affine(a) => {
                let g = self.sum_error(a.geometry.fan_in());
                to_f32_up(1.001 * f64::from(g) + 1.001 * f64::from(self.deployed(i)))
            }
            // Data movement hands the value on unchanged.
            Placed::Gather(_) => self.inflation(i + 1),
            Placed::Relu
            | Placed::Activation(_)
            | Placed::MaxPool(_)
            | Placed::AvgPool(_)
            | Placed::Add
            | Placed::Scale { .. } => 0.0,
        });
        shares.fold(0.0, f32::max)
    }
}
