//! A model placed on a device: forward, backward and one interval step per layer.

mod interval;
mod learn;
mod placed;
mod range;

pub use interval::Interval;
pub(crate) use placed::{Affine, Bend, Placed};
pub use range::{MOST_IN_LAYER, Range};

use std::sync::Arc;
use std::time::Instant;

use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::{Layer, Model, ValueId};
use crate::ops::{activation, add, conv, conv_grad, gather, pool, relu, scale};
use crate::tensor::{self, Shape};

/// A network on a device. Weights are shared by clones.
#[derive(Clone)]
pub struct Network {
    /// Where the weights lie.
    pub device: Device,
    /// What was placed.
    pub model: Arc<Model>,
    /// When passes give up with [`Error::Timeout`], between two layers.
    pub deadline: Option<Instant>,
    layers: Arc<Vec<Placed>>,
    gains: Arc<Vec<range::Gain>>,
    /// By node; empty where nothing is learned.
    norms: Arc<[Option<learn::Norm>]>,
}

/// Values of a forward pass; index = [`ValueId`]. Those no longer needed are `None`.
pub type Values = Vec<Option<Buffer>>;

/// Gradients of the weights and biases of trainable layers, by node; padded with zeros to whole groups of four.
pub type Gradients = Vec<Option<[Buffer; 2]>>;

impl Network {
    /// Copies the model's weights to the device.
    ///
    /// # Errors
    /// [`Error::Usage`] if the model is not whole, on which every kernel relies; a fault of the device.
    pub fn new(device: &Device, model: &Model) -> Result<Network> {
        model.validate().map_err(Error::usage)?;
        let layers = model.nodes.iter().map(|n| Placed::new(device, model, n)).collect::<Result<_>>()?;
        let gains = model.nodes.iter().map(range::gain).collect();
        Ok(Network {
            device: device.clone(),
            model: Arc::new(model.clone()),
            deadline: None,
            layers: Arc::new(layers),
            gains: Arc::new(gains),
            norms: Arc::new([]),
        })
    }

    /// The same, whose passes give up at `deadline`.
    pub fn until(&self, deadline: Instant) -> Network {
        Network { deadline: Some(deadline), ..self.clone() }
    }

    /// The network that ends at a value, the same weights on the same device: its logits are what this one has there.
    pub(crate) fn up_to(&self, value: ValueId) -> Network {
        Network { model: Arc::new(self.model.up_to(value)), norms: Arc::new([]), ..self.clone() }
    }

    /// Says [`Error::Timeout`] once the deadline, if any, is over.
    pub(crate) fn check(&self, deadline: Option<Instant>) -> Result<()> {
        let Some(deadline) = deadline else { return Ok(()) };
        // The time of what was only asked for is still to come.
        self.device.sync()?;
        if Instant::now() >= deadline { Err(Error::Timeout) } else { Ok(()) }
    }

    /// The placed form of node `i`.
    pub(crate) fn layer(&self, i: usize) -> &Placed {
        &self.layers[i]
    }

    /// Values of every node for `x` `[element][lane]`; keeps what `keep` says, else frees values after their last use.
    pub fn forward(&self, x: Buffer, lanes: usize, keep: bool) -> Result<Values> {
        self.forward_with(x, lanes, keep, |_, _| Ok(()))
    }

    /// [`Network::forward`], with something to do before each node, given its first input.
    fn forward_with(
        &self,
        x: Buffer,
        lanes: usize,
        keep: bool,
        before: impl Fn(usize, &Buffer) -> Result<()>,
    ) -> Result<Values> {
        let last = self.last_uses();
        let mut values: Values = vec![Some(x)];
        for (i, node) in self.model.nodes.iter().enumerate() {
            self.check(self.deadline)?;
            let y = self.device.alloc(node.shape.len() * lanes)?;
            let inputs: Vec<&Buffer> = node.inputs.iter().map(|&v| values[v].as_ref().expect("value in use")).collect();
            before(i, inputs[0])?;
            self.forward_layer(i, &inputs, &y, lanes)?;
            values.push(Some(y));
            if !keep {
                free(&mut values, &last, i);
            }
        }
        Ok(values)
    }

    /// Logits `[class][lane]` of `x`.
    pub fn logits(&self, x: Buffer, lanes: usize) -> Result<Buffer> {
        let mut values = self.forward(x, lanes, false)?;
        Ok(values.pop().flatten().expect("the last value is kept"))
    }

    /// Logits of every image, `images[i]` `[channel][row][column]`.
    pub fn scores(&self, images: &[impl AsRef<[f32]> + Sync]) -> Result<Vec<Vec<f32>>> {
        let elements = self.model.input.len();
        let lanes = tensor::lanes(images.len());
        let x = self.device.upload(&tensor::interleave(images.iter(), elements))?;
        let logits: Vec<f32> = self.device.read(&self.logits(x, lanes)?)?;
        let classes = self.model.outputs();
        Ok(tensor::deinterleave(&logits, classes, images.len()).chunks(classes).map(<[f32]>::to_vec).collect())
    }

    /// One layer's values.
    pub(crate) fn forward_layer(&self, i: usize, inputs: &[&Buffer], y: &Buffer, lanes: usize) -> Result<()> {
        let d = &self.device;
        match &self.layers[i] {
            Placed::Affine(a) => conv::forward(d, &a.geometry, inputs[0], &a.weight, &a.bias, y, lanes),
            Placed::Relu => relu::forward(d, inputs[0], y),
            Placed::Activation(f) => activation::forward(d, f, inputs[0], y, lanes),
            Placed::MaxPool(g) => pool::max_forward(d, g, inputs[0], y, lanes),
            Placed::AvgPool(g) => pool::average_forward(d, g, inputs[0], y, lanes),
            Placed::Add => add::forward(d, inputs[0], inputs[1], y),
            Placed::Scale { scale, shift, .. } => scale::forward(d, inputs[0], scale, shift, y, lanes),
            Placed::Gather(moves) => {
                for (k, m) in moves.iter().enumerate() {
                    gather::forward(d, inputs[k], &m.forward, y, lanes, k > 0)?;
                }
                Ok(())
            }
        }
    }

    /// The gradient of `sum(seed * logits)` by the input. `values` must come from a forward pass with `keep`.
    pub fn backward(&self, values: &Values, seed: Buffer, lanes: usize) -> Result<Buffer> {
        let gradient = self.walk_back(values, seed, lanes, true, |_, _, _| Ok(None))?;
        gradient.map_or_else(|| self.device.zeros(self.model.input.len() * lanes), Ok)
    }

    /// From the logits back to the input, and as far as its gradient if `to_input`. At each node `at` sees the first input and
    /// the gradient by the output, and may have that by the input itself.
    fn walk_back(
        &self,
        values: &Values,
        seed: Buffer,
        lanes: usize,
        to_input: bool,
        mut at: impl FnMut(usize, &Buffer, &Buffer) -> Result<Option<Buffer>>,
    ) -> Result<Option<Buffer>> {
        let d = &self.device;
        let mut grads: Values = (0..values.len()).map(|_| None).collect();
        grads[self.model.output()] = Some(seed);
        for (i, node) in self.model.nodes.iter().enumerate().rev() {
            self.check(self.deadline)?;
            let Some(gy) = grads[i + 1].take() else { continue };
            let x = |k: usize| values[node.inputs[k]].as_ref().expect("kept by the forward pass");
            let elements = |k: usize| self.model.shape(node.inputs[k]).len() * lanes;
            if let Some(gx) = at(i, x(0), &gy)? {
                self.merge(&mut grads, node.inputs[0], gx)?;
                continue;
            }
            if self.layers[i].is_sum() {
                self.merge(&mut grads, node.inputs[0], d.copied(&gy)?)?;
                self.merge(&mut grads, node.inputs[1], gy)?;
                continue;
            }
            for k in (0..node.inputs.len()).filter(|&k| to_input || node.inputs[k] > 0) {
                let gx = d.alloc(elements(k))?;
                match &self.layers[i] {
                    Placed::Affine(a) => conv_grad::input_grad(d, &a.geometry, &gy, &a.weight, &gx, lanes)?,
                    Placed::Relu => relu::backward(d, x(0), &gy, &gx)?,
                    Placed::Activation(f) => activation::backward(d, f, x(0), &gy, &gx, lanes)?,
                    Placed::MaxPool(g) => pool::max_backward(d, g, x(0), &gy, &gx, lanes)?,
                    Placed::AvgPool(g) => pool::average_backward(d, g, &gy, &gx, lanes)?,
                    Placed::Add => unreachable!("handled above"),
                    Placed::Scale { scale, .. } => scale::backward(d, &gy, scale, &gx, lanes)?,
                    Placed::Gather(moves) => gather::forward(d, &gy, &moves[k].backward, &gx, lanes, false)?,
                }
                self.merge(&mut grads, node.inputs[k], gx)?;
            }
        }
        Ok(grads[0].take())
    }

    fn merge(&self, grads: &mut Values, value: ValueId, gradient: Buffer) -> Result<()> {
        match &grads[value] {
            Some(sum) => add::accumulate(&self.device, &gradient, sum),
            None => {
                grads[value] = Some(gradient);
                Ok(())
            }
        }
    }

    /// Multiply-adds of one forward pass of one image.
    pub fn products(&self) -> usize {
        self.layers.iter().filter_map(Placed::affine).map(|a| a.geometry.products()).sum()
    }

    /// The model with the weights now on the device.
    pub fn download(&self) -> Result<Model> {
        let mut model = (*self.model).clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if let Some([scale, shift, _]) = layer.scale() {
                let (scale, shift) = (self.device.read(scale)?, self.device.read(shift)?);
                model.nodes[i].layer = Layer::Scale { scale, shift };
            }
            let Some(a) = layer.affine() else { continue };
            let outputs = a.geometry.output.channels;
            let packed: Vec<f32> = self.device.read(&a.weight)?;
            let unpacked = conv::unpack(&packed, packed.len() / outputs, outputs);
            let bias = self.device.read(&a.bias)?;
            match &mut model.nodes[i].layer {
                Layer::Conv(c) => (c.weight, c.bias) = (unpacked, bias),
                Layer::Dense(d) => (d.weight, d.bias) = (unpacked, bias),
                Layer::Relu
                | Layer::Activation(_)
                | Layer::MaxPool(_)
                | Layer::AvgPool(_)
                | Layer::Add
                | Layer::Scale { .. }
                | Layer::Gather(_) => unreachable!("only convolutions and dense layers are placed as affine"),
            }
        }
        Ok(model)
    }

    /// Index of the last node that reads each value; the output is never freed.
    pub fn last_uses(&self) -> Vec<usize> {
        let mut last = vec![usize::MAX; self.model.nodes.len() + 1];
        for (i, node) in self.model.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&v| last[v] = i);
        }
        last
    }
}

/// Frees the values whose last use is node `i`.
pub fn free<T>(values: &mut [Option<T>], last: &[usize], i: usize) {
    for (v, value) in values.iter_mut().enumerate() {
        if last[v] == i {
            *value = None;
        }
    }
}

/// Shapes of one image and its class scores, for messages.
pub fn describe(model: &Model) -> String {
    let shape: Shape = model.input;
    format!("{shape} -> {} classes, {} parameters", model.outputs(), model.parameters())
}

/// Index of the largest score; the first of equals.
pub fn largest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, s) in scores.iter().enumerate() {
        if *s > scores[best] {
            best = i;
        }
    }
    best
}
