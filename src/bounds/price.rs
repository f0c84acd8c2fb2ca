//! What bounds of neurons cost at least, before any of them is computed.

use super::walk::{is_spread, next_window, patch_geometry, pooled_window};
use super::{Bounder, graph};
use crate::model::ValueId;
use crate::network::Placed;
use crate::ops::linear::Window;
use crate::ops::pool;

impl Bounder {
    /// Multiply-adds of affine layers in rows that bound every neuron of one region from both sides and end after `depth`
    /// nonlinear layers, or at the input. It follows from shapes alone, and so is the same on every machine.
    pub fn price(&self, depth: Option<usize>) -> f64 {
        let net = &self.net;
        let bounded = |i: &usize| !graph::reads_the_input(net, *i) && graph::feeds_relaxation(net, i + 1);
        // Of what bends no neuron has a row of its own.
        let flat = |i: &usize| graph::bends(net, *i..i + 1) == 0;
        let nodes = (0..net.model.nodes.len()).filter(|i| bounded(i) && flat(i));
        nodes.map(|i| 2.0 * net.model.shape(i + 1).len() as f64 * self.path(i + 1, depth).0).sum()
    }

    /// Whether rows that start at elements of `from` end at the whole input, rather than a patch of it or before it.
    pub(super) fn sees_the_input(&self, from: ValueId) -> bool {
        self.path(from, self.depth).1.is_some_and(|window| window.is_dense())
    }

    /// What one row that starts at an element of `from` costs, by the windows that [`super::walk`] gives it, and that at the
    /// input if it gets there.
    fn path(&self, from: ValueId, depth: Option<usize>) -> (f64, Option<Window>) {
        let net = &self.net;
        let shape = |value: ValueId| net.model.shape(value);
        let plane = [shape(from).height, shape(from).width];
        let end = depth.map_or(0, |depth| graph::end(net, from, depth));
        let mut at: Vec<Option<Window>> = vec![None; from + 1];
        at[from] = Some(Window { layer: shape(from), size: [1, 1], step: [1, 1], offset: [0, 0] });
        let mut products = 0.0;
        for value in (end + 1..=from).rev() {
            let Some(window) = at[value] else { continue };
            let inputs = &net.model.nodes[value - 1].inputs;
            let patches = depth.is_some();
            let pooled = |g: &pool::Geometry, patches: bool| {
                pooled_window(g, &window, plane).filter(|_| patches).unwrap_or(Window::dense(g.input))
            };
            let below = match net.layer(value - 1) {
                Placed::Relu | Placed::Activation(_) | Placed::Add => window,
                Placed::Affine(affine) => {
                    let input = shape(inputs[0]);
                    let narrow = next_window(affine, &window, input);
                    let window = if is_spread(&narrow, plane) { Window::dense(window.layer) } else { window };
                    let next = next_window(affine, &window, input);
                    products += patch_geometry(&affine.geometry, &window, &next).products() as f64;
                    next
                }
                Placed::MaxPool(g) => pooled(g, patches),
                Placed::AvgPool(g) => pooled(g, patches && g.shares_are_alike()),
                Placed::Scale { .. } | Placed::Gather(_) => Window::dense(shape(inputs[0])),
            };
            for &input in inputs {
                let below = if below.layer == shape(input) { below } else { Window::dense(shape(input)) };
                let both = |other: Window| match other.around(&below).filter(|both| patches && both.fits(plane)) {
                    Some(both) => both,
                    None if other == below => below,
                    None => Window::dense(shape(input)),
                };
                at[input] = Some(at[input].map_or(below, both));
            }
        }
        (products, at[0])
    }
}
