//! What the graph of a network says about walks: who reads a value, how far interval bounds go, where a walk may stop.

use std::ops::Range;

use super::walk::is_dense_layer;
use crate::model::ValueId;
use crate::network::{Affine, Bend, Network, Placed};
use crate::tensor::Shape;

/// The value from which every layer up to the logits is affine with one input.
pub(super) fn frontier(net: &Network) -> ValueId {
    let mut value = net.model.output();
    while value > 0 {
        let inputs = &net.model.nodes[value - 1].inputs;
        match net.layer(value - 1) {
            Placed::Affine(_) | Placed::AvgPool(_) | Placed::Scale { .. } => value = inputs[0],
            Placed::Gather(_) if inputs.len() == 1 => value = inputs[0],
            Placed::Gather(_) | Placed::Relu | Placed::Activation(_) | Placed::MaxPool(_) | Placed::Add => break,
        }
    }
    value
}

/// Most coefficients per row on the way from `value` to the input.
pub(super) fn widest(net: &Network, value: ValueId) -> usize {
    (0..=value).map(|v| net.model.shape(v).len()).max().unwrap_or(1)
}

/// Nodes that are ReLUs: those with slopes to choose, and signs to assume.
pub(super) fn relus(net: &Network) -> impl DoubleEndedIterator<Item = usize> + '_ {
    (0..net.model.nodes.len()).filter(|&i| is_relu(net, i))
}

pub(super) fn is_relu(net: &Network, i: usize) -> bool {
    net.layer(i).bend() == Bend::AtZero
}

/// The affine layer that gives `value`, and its node.
pub(super) fn affine_behind(net: &Network, value: ValueId) -> Option<(usize, &Affine)> {
    let i = value.checked_sub(1)?;
    net.layer(i).affine().map(|a| (i, a))
}

/// The first ReLU, if it stands behind a dense layer over the whole input, and that layer: its neurons have closer lines than
/// their intervals tell (`ops::envelope`).
pub(super) fn enveloped(net: &Network) -> Option<(usize, usize, &Affine)> {
    let relu = relus(net).next()?;
    let (i, affine) = affine_behind(net, net.model.nodes[relu].inputs[0])?;
    let whole = reads_the_input(net, i) && is_dense_layer(&affine.geometry) && charged_above(net, i);
    whole.then_some((relu, i, affine))
}

/// How many times nodes read `value`.
pub(super) fn readers(net: &Network, value: ValueId) -> usize {
    net.model.nodes.iter().flat_map(|n| &n.inputs).filter(|&&v| v == value).count()
}

fn is_read(net: &Network, value: ValueId, by: impl Fn(Bend) -> bool) -> bool {
    net.model.nodes.iter().enumerate().any(|(i, n)| n.inputs.contains(&value) && by(net.layer(i).bend()))
}

/// Whether a nonlinear layer reads `value`, so that its bounds shape a relaxation.
pub(super) fn feeds_relaxation(net: &Network, value: ValueId) -> bool {
    is_read(net, value, |bend| bend != Bend::Nowhere)
}

/// Max pooling compares its inputs, and activations bend anywhere: both ends of all inputs matter, not their signs.
pub(super) fn ends_matter(net: &Network, value: ValueId) -> bool {
    is_read(net, value, |bend| bend == Bend::Elsewhere)
}

/// Whether every path from the input to `value` is made of affine layers alone.
pub(super) fn is_affine_in_the_input(net: &Network, value: ValueId) -> bool {
    let mut affine = vec![true];
    for i in 0..value {
        let mut inputs = net.model.nodes[i].inputs.iter();
        affine.push(net.layer(i).bend() == Bend::Nowhere && inputs.all(|&v| affine[v]));
    }
    affine[value]
}

/// Whether node `i` reads nothing but the input: interval bounds of its outputs are then as tight as any.
pub(super) fn reads_the_input(net: &Network, i: usize) -> bool {
    net.model.nodes[i].inputs.iter().all(|&v| v == 0)
}

/// Whether constants and charges of affine node `i` are taken on the way through the ReLU above: where nothing else reads
/// the node.
pub(super) fn charged_above(net: &Network, i: usize) -> bool {
    let mut readers = net.model.nodes.iter().enumerate().filter(|(_, n)| n.inputs.contains(&(i + 1)));
    let relu = readers.next().is_some_and(|(r, _)| is_relu(net, r));
    relu && readers.next().is_none() && net.layer(i).affine().is_some()
}

/// Whether all nodes up to `i` stand in one row, affine layers and ReLUs in turn, no ReLU in another shape than what it
/// reads: then rows may keep to their windows.
pub(super) fn is_chain(net: &Network, i: usize) -> bool {
    (0..=i).all(|m| {
        let relu = is_relu(net, m) && net.model.shape(m) == net.model.shape(m + 1);
        let affine = net.layer(m).affine().is_some();
        let after_relu = m == 0 || is_relu(net, m - 1);
        net.model.nodes[m].inputs == [m] && (relu && !after_relu || affine && after_relu)
    })
}

/// Outputs of ReLUs, from the top down, that every path from `from` to the input passes with at least `share` of the
/// products of the way left. At `from` itself a row is worth no more than the interval bounds it is to improve.
pub(super) fn cuts(net: &Network, from: ValueId, share: f64) -> Vec<ValueId> {
    let products = |i: usize| net.layer(i).affine().map_or(0, |a| a.geometry.products());
    let below = |value: ValueId| (0..value).map(products).sum::<usize>() as f64;
    let all = below(from);
    (1..from).rev().filter(|&v| is_relu(net, v - 1) && is_passed(net, from, v) && below(v) >= share * all).collect()
}

/// Nonlinear layers among these nodes.
pub(super) fn bends(net: &Network, nodes: Range<usize>) -> usize {
    nodes.filter(|&i| net.layer(i).bend() != Bend::Nowhere).count()
}

/// Where rows from `from` end that have passed `depth` nonlinear layers: at the output of the next that every path passes,
/// or at the input.
pub(super) fn end(net: &Network, from: ValueId, depth: usize) -> ValueId {
    let here = |v: ValueId| net.layer(v - 1).bend() != Bend::Nowhere && is_passed(net, from, v);
    (1..from).rev().find(|&v| here(v) && bends(net, v..from) >= depth).unwrap_or(0)
}

/// Whether every path from `from` to the input passes `value`.
fn is_passed(net: &Network, from: ValueId, value: ValueId) -> bool {
    net.model.nodes[value..from].iter().flat_map(|n| &n.inputs).all(|&v| v >= value)
}

/// Elements of a layer, those of one place side by side: their rows look up the same entries.
pub(super) fn by_place(shape: Shape) -> impl Iterator<Item = usize> {
    let plane = shape.height * shape.width;
    (0..plane).flat_map(move |p| (0..shape.channels).map(move |channel| channel * plane + p))
}
