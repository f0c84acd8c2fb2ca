//! A network as any f32 runtime may evaluate it: every layer with a charge for what its outputs may be off by.

use crate::error::{Error, Result};
use crate::model::{Folding, Layer, Model, Node};

/// Largest relative error of one f32 operation rounded to nearest.
const UNIT: f64 = 1.0 / (1u32 << 24) as f64;

/// What an f32 operation may lose where a runtime flushes subnormal numbers.
const FLUSHED: f64 = f32::MIN_POSITIVE as f64;

/// Operations in which a layer's constants may be applied: a batch normalisation, factors and sums of its own.
const CONSTANTS: f64 = 8.0;

/// The network with charges for every runtime that computes its layers in f32, rounded to nearest, sums in any order: a
/// sum of n terms errs by at most `n u / (1 - n u)` times the sum of their magnitudes (Higham, "Accuracy and Stability
/// of Numerical Algorithms", section 3.1). A layer without constants gets one behind it that changes nothing and carries
/// the charge.
///
/// # Errors
/// If a layer's sums are too long to be bounded, or it has weights that a runtime may take for zero.
pub fn any_f32(model: &Model) -> Result<Model> {
    let mut out = Model { nodes: vec![], folded: vec![], ..model.clone() };
    // Values of the old network in the new one.
    let mut at = vec![0];
    for (i, node) in model.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|&v| at[v]).collect();
        out.nodes.push(Node { inputs, ..node.clone() });
        let mut charged = out.nodes.len() - 1;
        let (terms, constants) = match &node.layer {
            Layer::Conv(c) => (c.weight.len() / c.bias.len().max(1) + 1, &c.weight[..]),
            Layer::Dense(d) => (d.weight.len() / d.bias.len().max(1) + 1, &d.weight[..]),
            Layer::AvgPool(p) => (p.kernel[0] * p.kernel[1] + 2, &[][..]),
            Layer::Scale { scale, .. } => (2, &scale[..]),
            Layer::Add => {
                let same = Layer::Scale { scale: vec![1.0; node.shape.len()], shift: vec![0.0; node.shape.len()] };
                let (name, inputs) = (format!("{} as computed", node.name), vec![out.nodes.len()]);
                out.nodes.push(Node { name, layer: same, inputs, shape: node.shape });
                charged += 1;
                (1, &[][..])
            }
            Layer::Activation(_) => {
                let problem =
                    "is an activation, of which nothing says how runtimes round it: not to be audited for any-f32";
                return Err(Error::usage(format!("node '{}' {problem}", node.name)));
            }
            Layer::Relu | Layer::MaxPool(_) | Layer::Gather(_) => {
                at.push(out.nodes.len());
                continue;
            }
        };
        at.push(out.nodes.len());
        if constants.iter().any(|w| w.is_subnormal()) {
            let problem = "has weights below 2^-126, which runtimes may take for zero: not to be audited for any-f32";
            return Err(Error::usage(format!("node '{}' {problem}", node.name)));
        }
        let n = terms as f64 + CONSTANTS;
        if n * UNIT > 0.25 {
            return Err(Error::usage(format!("node '{}' has sums of {terms} terms, too many for any-f32", node.name)));
        }
        let relative = n * UNIT / (1.0 - n * UNIT);
        let records = || model.folded.iter().filter(|f| f.node == i);
        let terms: f64 = records().map(|f| f64::from(f.terms)).sum();
        let largest = constants.iter().fold(1.0f64, |m, w| m.max(f64::from(w.abs())));
        let up = |v: f64| ((v * (1.0 + 1e-9)) as f32).next_up();
        let own = Folding {
            node: charged,
            relative: up(relative),
            absolute: up(relative * terms + 4.0 * n * FLUSHED * largest),
            ..Folding::default()
        };
        out.folded.extend(records().map(|f| Folding { node: charged, ..f.clone() }).chain([own]));
    }
    model.becomes(out, <[f32]>::to_vec).map_err(Error::usage)
}
