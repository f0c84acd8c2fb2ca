//! Is a [`Model`] whole? Wiring, shapes, weights: everything a walk over the graph may then rely on.

use std::collections::HashSet;

use super::activation::Activation;
use super::{Layer, Model, Node, Pool};
use crate::tensor::Shape;

/// No activation may have more values than this; keeps every index within u32, with bits to spare for marks, and every
/// buffer addressable.
pub const MAX_VALUES: usize = 1 << 28;

/// Positions of windows, padding included, stay below this, so that they and their differences fit 32-bit words.
const MAX_EXTENT: usize = 1 << 30;

impl Model {
    /// Checks the whole graph: inputs come before their use, shapes fit, weights have the right number and are
    /// finite, every input value of a [`Layer::Gather`] moves at most once, names are unique.
    ///
    /// # Errors
    /// One line that names the node.
    pub fn validate(&self) -> Result<(), String> {
        if self.nodes.is_empty() {
            return Err("the network has no layers".into());
        }
        check_size(self.input).map_err(|e| format!("input: {e}"))?;
        let mut names = HashSet::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let fail = |problem: String| Err(format!("node '{}': {problem}", node.name));
            if !names.insert(node.name.as_str()) {
                return fail("its name is used twice".into());
            }
            if let Some(v) = node.inputs.iter().find(|&&v| v > i) {
                return fail(format!("uses value {v} before it is computed"));
            }
            if let Err(e) = check_size(node.shape).and_then(|()| self.check_layer(node)) {
                return fail(e);
            }
        }
        if self.classes.len() != self.outputs() {
            return Err(format!("{} class names for {} outputs", self.classes.len(), self.outputs()));
        }
        for f in &self.folded {
            let affine = self.nodes.get(f.node).is_some_and(|n| match &n.layer {
                Layer::Conv(_) | Layer::Dense(_) | Layer::Scale { .. } | Layer::AvgPool(_) => true,
                Layer::Relu | Layer::Activation(_) | Layer::MaxPool(_) | Layer::Add | Layer::Gather(_) => false,
            });
            let sane = |v: f32| (0.0..f32::INFINITY).contains(&v);
            let charges = (0.0..1.0).contains(&f.relative) && sane(f.absolute) && sane(f.terms);
            if !(affine && charges) {
                return Err(format!("the folding record of node {} makes no sense", f.node));
            }
        }
        Ok(())
    }

    fn check_layer(&self, node: &Node) -> Result<(), String> {
        let arity = match &node.layer {
            Layer::Add => 2,
            Layer::Gather(_) => node.inputs.len().max(1),
            Layer::Conv(_) | Layer::Dense(_) | Layer::Relu | Layer::MaxPool(_) | Layer::AvgPool(_) => 1,
            Layer::Activation(_) | Layer::Scale { .. } => 1,
        };
        if node.inputs.len() != arity {
            return Err(format!("has {} inputs, needs {arity}", node.inputs.len()));
        }
        let (x, y) = (self.shape(node.inputs[0]), node.shape);
        match &node.layer {
            Layer::Conv(c) => {
                check_window(c.kernel, c.stride)?;
                check_extent(c.kernel, c.stride, c.pad, y)?;
                let sizes = [y.channels, x.channels, c.kernel[0], c.kernel[1]];
                check_weights(&c.weight, sizes.into_iter().fold(1, usize::saturating_mul), "weights")?;
                check_weights(&c.bias, y.channels, "biases")
            }
            Layer::Dense(d) => {
                check_weights(&d.weight, x.len() * y.len(), "weights")?;
                check_weights(&d.bias, y.len(), "biases")
            }
            Layer::Relu => same_len(x, y),
            Layer::Activation(f) => {
                same_len(x, y)?;
                if f.is_empty() || y.len() % f.len() != 0 {
                    return Err(format!("has {} functions for {} values", f.len(), y.len()));
                }
                f.iter().try_for_each(Activation::check)
            }
            Layer::MaxPool(p) => check_pool(p, x, y).and_then(|()| check_taps(p)),
            Layer::AvgPool(p) => check_pool(p, x, y).and_then(|()| check_area(p)),
            Layer::Add => {
                same_len(x, y)?;
                same_len(self.shape(node.inputs[1]), y)
            }
            Layer::Scale { scale, shift } => {
                same_len(x, y)?;
                check_weights(scale, y.len(), "factors")?;
                check_weights(shift, y.len(), "shifts")
            }
            Layer::Gather(map) => {
                if map.len() != y.len() {
                    return Err(format!("moves {} values into {}", map.len(), y.len()));
                }
                let mut used: Vec<Vec<bool>> = node.inputs.iter().map(|&v| vec![false; self.shape(v).len()]).collect();
                for s in map.iter().flatten() {
                    match used.get_mut(s.input as usize).and_then(|u| u.get_mut(s.index as usize)) {
                        None => return Err("moves a value that does not exist".into()),
                        Some(true) => return Err("uses an input value twice".into()),
                        Some(seen) => *seen = true,
                    }
                }
                Ok(())
            }
        }
    }
}

fn check_size(s: Shape) -> Result<(), String> {
    let len = s.channels.checked_mul(s.height).and_then(|n| n.checked_mul(s.width));
    match len {
        Some(n) if (1..=MAX_VALUES).contains(&n) => Ok(()),
        _ => Err(format!("shape {}x{}x{} is empty or too large", s.channels, s.height, s.width)),
    }
}

fn same_len(x: Shape, y: Shape) -> Result<(), String> {
    if x.len() == y.len() { Ok(()) } else { Err(format!("shapes {x} and {y} differ")) }
}

fn check_weights(values: &[f32], expected: usize, what: &str) -> Result<(), String> {
    if values.len() != expected {
        return Err(format!("has {} {what}, needs {expected}", values.len()));
    }
    match values.iter().find(|v| !v.is_finite()) {
        Some(v) => Err(format!("{v} among its {what}; train or export the model again")),
        None => Ok(()),
    }
}

fn check_window(kernel: [usize; 2], stride: [usize; 2]) -> Result<(), String> {
    let sane = |v: usize| (1..=1 << 16).contains(&v);
    if kernel.into_iter().chain(stride).all(sane) {
        Ok(())
    } else {
        Err(format!("kernel {kernel:?} with stride {stride:?} makes no sense"))
    }
}

/// The windows of a convolution, and the padding they reach into.
fn check_extent(kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2], y: Shape) -> Result<(), String> {
    let end = |axis: usize, out: usize| (out - 1) * stride[axis] + kernel[axis];
    if pad.into_iter().chain([end(0, y.height), end(1, y.width)]).all(|at| at <= MAX_EXTENT) {
        Ok(())
    } else {
        Err(format!("padding {pad:?} and stride {stride:?} reach too far"))
    }
}

/// A mean divides by the number of places in its window.
fn check_area(p: &Pool) -> Result<(), String> {
    match p.kernel[0] * p.kernel[1] {
        area if area <= MAX_VALUES => Ok(()),
        area => Err(format!("a mean over {area} places; {MAX_VALUES} at most")),
    }
}

/// Bounds keep two taps of a window in one word.
fn check_taps(p: &Pool) -> Result<(), String> {
    match p.kernel[0] * p.kernel[1] {
        taps if taps <= 1 << 16 => Ok(()),
        taps => Err(format!("a maximum over {taps} values; 65,536 at most")),
    }
}

/// Every window must hold at least one real value, so that a maximum and an average exist.
fn check_pool(p: &Pool, x: Shape, y: Shape) -> Result<(), String> {
    check_window(p.kernel, p.stride)?;
    let fits = |axis: usize, n: usize, out: usize| {
        p.pad[axis] < p.kernel[axis] && (out - 1) * p.stride[axis] < n + p.pad[axis]
    };
    if x.channels != y.channels || !fits(0, x.height, y.height) || !fits(1, x.width, y.width) {
        return Err(format!("pooling {x} to {y} leaves a window empty"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Conv, Dense, Source};
    use super::*;

    fn dense(n: usize, m: usize) -> Layer {
        Layer::Dense(Dense { weight: vec![0.5; n * m], bias: vec![0.0; m] })
    }

    fn conv(kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Layer {
        Layer::Conv(Conv { weight: vec![0.0; 1], bias: vec![0.0], kernel, stride, pad })
    }

    fn model(layer: Layer, shape: Shape) -> Model {
        let classes = (0..shape.len().min(9)).map(|c| c.to_string()).collect();
        let node = Node { name: "a".into(), layer, inputs: vec![0], shape };
        Model { input: Shape::new(1, 2, 2), nodes: vec![node], classes, folded: vec![] }
    }

    #[test]
    fn whole_models_pass_and_broken_ones_name_the_node() {
        assert_eq!(model(dense(4, 3), Shape::flat(3)).validate(), Ok(()));
        let broken = [
            model(dense(4, 2), Shape::flat(3)),
            model(Layer::Dense(Dense { weight: vec![f32::NAN; 12], bias: vec![0.0; 3] }), Shape::flat(3)),
            model(Layer::Add, Shape::new(1, 2, 2)),
            model(Layer::Relu, Shape::flat(3)),
            model(Layer::Gather(vec![Some(Source { input: 0, index: 1 }); 2]), Shape::flat(2)),
            model(Layer::Gather(vec![Some(Source { input: 0, index: 4 }); 1]), Shape::flat(1)),
            model(
                Layer::Conv(Conv {
                    weight: vec![0.0; 4],
                    bias: vec![0.0],
                    kernel: [2, 2],
                    stride: [0, 1],
                    pad: [0, 0],
                }),
                Shape::flat(1),
            ),
            model(
                Layer::MaxPool(Pool { kernel: [1, 1], stride: [5, 1], pad: [0, 0], count_include_pad: false }),
                Shape::new(1, 2, 2),
            ),
            // Numbers that would leave the words of kernels.
            model(conv([1 << 16, 1 << 16], [1, 1], [0, 0]), Shape::new(1 << 28, 1, 1)),
            model(conv([1, 1], [1, 1], [1 << 32, 0]), Shape::flat(1)),
            model(conv([1, 1], [1, 1 << 16], [0, 0]), Shape::new(1, 1, 1 << 15)),
            model(
                Layer::AvgPool(Pool {
                    kernel: [1 << 16; 2],
                    stride: [1, 1],
                    pad: [(1 << 16) - 1; 2],
                    count_include_pad: true,
                }),
                Shape::flat(1),
            ),
        ];
        for m in broken {
            let e = m.validate().unwrap_err();
            assert!(e.starts_with("node 'a'") && !e.contains('\n'), "{e}");
        }
        let mut twice = model(dense(4, 4), Shape::flat(4));
        twice.nodes.push(twice.nodes[0].clone());
        assert!(twice.validate().unwrap_err().contains("twice"));
        let mut early = model(Layer::Relu, Shape::new(1, 2, 2));
        early.nodes[0].inputs = vec![1];
        assert!(early.validate().unwrap_err().contains("before"));
        let mut names = model(dense(4, 3), Shape::flat(3));
        names.classes.pop();
        assert!(names.validate().is_err());
    }

    #[test]
    fn the_hash_sees_a_single_bit_but_no_name() {
        let a = model(dense(4, 3), Shape::flat(3));
        let mut renamed = a.clone();
        renamed.nodes[0].name = "b".into();
        assert_eq!(a.hash(), renamed.hash());
        assert_eq!(a.hash().len(), 64);
        let mut touched = a.clone();
        if let Layer::Dense(d) = &mut touched.nodes[0].layer {
            d.bias[0] = -0.0;
        }
        assert_ne!(a.hash(), touched.hash());
    }
}
