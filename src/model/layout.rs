//! Images come as channels, rows, columns. A network whose file takes rows, columns, channels is turned round here.

use std::sync::Arc;

use super::activation::function_of;
use super::{Folding, Layer, Model, Node, Origin, Source, ValueId};
use crate::tensor::Shape;

/// Where a value of a `[row][column][channel]` image, of which `old` holds the sizes in this order, stands in
/// `[channel][row][column]`.
fn moved(old: Shape, k: usize) -> usize {
    let Shape { channels: rows, height: columns, width: channels } = old;
    let (row, column, channel) = (k / channels / columns, k / channels % columns, k % channels);
    (channel * rows + row) * columns + column
}

fn permuted(old: Shape, values: &[f32]) -> Vec<f32> {
    let mut new = vec![0.0; values.len()];
    values.iter().enumerate().for_each(|(k, v)| new[moved(old, k)] = *v);
    new
}

impl Model {
    /// For a network over `[row][column][channel]`: the same network over `[channel][row][column]`, exactly. Whatever
    /// only moves data takes up the permutation, so that a transposition behind the input vanishes.
    ///
    /// # Errors
    /// If the result is not the same network, as [`Model::becomes`] sees it: a fault of this function.
    pub fn channels_first(self) -> Result<Model, String> {
        let turned = self.turned();
        let old = self.input;
        self.becomes(turned, |image| permuted(old, image))
    }

    fn turned(&self) -> Model {
        let Model { input: old, nodes, classes, folded } = self;
        let old = *old;
        let input = Shape::new(old.width, old.channels, old.height);
        let moved = |k: usize| moved(old, k);
        let permute = |values: &[f32]| permuted(old, values);
        let mut turned = Turned { nodes: vec![], names: vec![(0, true)], restored: vec![] };
        let mut charges = vec![];
        for (i, node) in nodes.iter().enumerate() {
            let (last, all) = (i + 1 == nodes.len(), node.inputs.iter().all(|&v| turned.names[v].1));
            let any = node.inputs.iter().any(|&v| turned.names[v].1);
            let (layer, order) = match &node.layer {
                layer if !any => (layer.clone(), Order::Same),
                Layer::Relu | Layer::Add if all && !last => (node.layer.clone(), Order::Turned),
                Layer::Scale { scale, shift } if !last => {
                    (Layer::Scale { scale: permute(scale), shift: permute(shift) }, Order::Turned)
                }
                Layer::Activation(f) if all && !last && f.len() == 1 => (node.layer.clone(), Order::Turned),
                Layer::Activation(f) if all && !last => {
                    let mut functions = vec![f[0]; node.shape.len()];
                    for k in 0..functions.len() {
                        functions[moved(k)] = *function_of(f, k, node.shape.len());
                    }
                    (Layer::Activation(functions), Order::Turned)
                }
                Layer::Dense(d) => {
                    let mut d = d.clone();
                    d.weight = d.weight.chunks(input.len()).flat_map(permute).collect();
                    (Layer::Dense(d), Order::Same)
                }
                Layer::Gather(map) => {
                    let turn = |s: &Source| match turned.names[node.inputs[s.input as usize]].1 {
                        true => Source { index: moved(s.index as usize) as u32, ..*s },
                        false => *s,
                    };
                    (Layer::Gather(map.iter().map(|s| s.as_ref().map(turn)).collect()), Order::Same)
                }
                Layer::Conv(_)
                | Layer::MaxPool(_)
                | Layer::AvgPool(_)
                | Layer::Relu
                | Layer::Activation(_)
                | Layer::Add
                | Layer::Scale { .. } => (node.layer.clone(), Order::Restored),
            };
            let inputs: Vec<ValueId> = node
                .inputs
                .iter()
                .map(|&v| match (order, turned.names[v]) {
                    (Order::Restored, (id, true)) => turned.restore(id, nodes, self.shape(v), &moved),
                    (_, (id, _)) => id,
                })
                .collect();
            let shape = if order == Order::Turned { input } else { node.shape };
            let same = |s: (usize, &Option<Source>)| s.1.is_some_and(|from| from.index as usize == s.0);
            let vanishes = match &layer {
                Layer::Gather(map) => {
                    let from = turned.shape(inputs[0], input);
                    !last && inputs.len() == 1 && from == shape && map.iter().enumerate().all(same)
                }
                Layer::Conv(_)
                | Layer::Dense(_)
                | Layer::Relu
                | Layer::Activation(_)
                | Layer::MaxPool(_)
                | Layer::AvgPool(_)
                | Layer::Add
                | Layer::Scale { .. } => false,
            };
            if vanishes {
                turned.names.push((inputs[0], false));
                continue;
            }
            let charged = folded.iter().filter(|f| f.node == i);
            let origin = |f: &Folding| match (&f.origin, order) {
                _ if layer == node.layer => f.origin.clone(),
                (Some(origin), Order::Turned) if origin.layer.is_none() => {
                    let mut ratios = vec![origin.ratios[0]; node.shape.len()];
                    let each = ratios.len() / origin.ratios.len();
                    (0..ratios.len()).for_each(|k| ratios[moved(k)] = origin.ratios[k / each]);
                    Some(Arc::new(Origin { layer: None, ratios }))
                }
                _ => None,
            };
            let node_at = turned.nodes.len();
            charges.extend(charged.map(|f| Folding { node: node_at, origin: origin(f), ..f.clone() }));
            turned.nodes.push(Node { name: node.name.clone(), layer, inputs, shape });
            turned.names.push((turned.nodes.len(), order == Order::Turned));
        }
        Model { input, nodes: turned.nodes, classes: classes.clone(), folded: charges }
    }
}

/// In which order a layer reads and gives its values.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// As in the file, having taken up the permutation if it reads turned values.
    Same,
    /// Channels first, elementwise.
    Turned,
    /// As in the file; what it reads has to be turned back first.
    Restored,
}

/// The network so far.
struct Turned {
    nodes: Vec<Node>,
    /// New number of every old value, and whether its values are in the new order.
    names: Vec<(ValueId, bool)>,
    /// Values that were turned back: new number before and after.
    restored: Vec<(ValueId, ValueId)>,
}

impl Turned {
    fn shape(&self, id: ValueId, input: Shape) -> Shape {
        if id == 0 { input } else { self.nodes[id - 1].shape }
    }

    /// Value `id` in the order of the file and the shape it has there.
    fn restore(&mut self, id: ValueId, file: &[Node], shape: Shape, moved: &impl Fn(usize) -> usize) -> ValueId {
        let known = self.restored.iter().find(|(before, after)| *before == id && self.nodes[after - 1].shape == shape);
        if let Some((_, after)) = known {
            return *after;
        }
        let mut name = format!("channels_last_{id}");
        while file.iter().chain(&self.nodes).any(|n| n.name == name) {
            name.push('_');
        }
        let map = (0..shape.len()).map(|k| Some(Source { input: 0, index: moved(k) as u32 })).collect();
        self.nodes.push(Node { name, layer: Layer::Gather(map), inputs: vec![id], shape });
        self.restored.push((id, self.nodes.len()));
        self.nodes.len()
    }
}
