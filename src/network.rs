//! A model placed on a device: forward, backward and one interval step per layer.

use std::sync::Arc;

use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::{Layer, Model, Node, ValueId};
use crate::ops::conv;
use crate::ops::{add, gather, pool, relu, scale};
use crate::rounding;
use crate::tensor::{self, Shape};

/// Largest magnitude any intermediate may reach (WGSL leaves overflow indeterminate, and flushed subnormals are
/// charged in proportion).
pub(crate) const LARGEST: f64 = (1u128 << 80) as f64;

/// A network on a device. Weights are shared by clones.
#[derive(Clone)]
pub struct Network {
    pub device: Device,
    pub model: Arc<Model>,
    layers: Arc<Vec<Placed>>,
    gains: Arc<Vec<Gain>>,
}

/// One layer's constants on the device; same order as the model's nodes.
pub enum Placed {
    Affine(Affine),
    Relu,
    MaxPool(pool::Geometry),
    AvgPool(pool::Geometry),
    Add,
    Scale { scale: Buffer, shift: Buffer, magnitude: [Buffer; 2] },
    Gather(Vec<Moves>),
}

/// A convolution or dense layer.
pub struct Affine {
    pub geometry: conv::Geometry,
    /// `[in][kernel row][kernel column][out]`.
    pub weight: Buffer,
    pub bias: Buffer,
    /// |weight| and |bias|, for bounds on rounding errors.
    pub magnitude: [Buffer; 2],
    /// The bias of every output value, for dot products with rows of coefficients.
    pub bias_values: Buffer,
}

/// Index maps of one input of a gather, to and fro.
pub struct Moves {
    pub forward: Buffer,
    pub backward: Buffer,
}

/// How much a layer can enlarge magnitudes.
#[derive(Clone, Copy, Debug, Default)]
struct Gain {
    /// Largest sum of |w| into one output, largest |constant|.
    forward: f64,
    constant: f64,
    /// Largest sum of |w| out of one input.
    backward: f64,
}

/// Values of a forward pass; index = [`ValueId`]. Those no longer needed are `None`.
pub type Values = Vec<Option<Buffer>>;

/// Gradients of the trainable layers, by node.
pub type Gradients = Vec<Option<[Buffer; 2]>>;

impl Network {
    /// Copies the model's weights to the device.
    ///
    /// # Errors
    /// [`Error::Usage`] if the model is not whole, on which every kernel relies; a fault of the device.
    pub fn new(device: &Device, model: &Model) -> Result<Network> {
        model.validate().map_err(Error::usage)?;
        let layers = model.nodes.iter().map(|n| place(device, model, n)).collect::<Result<_>>()?;
        let gains = model.nodes.iter().map(gain).collect();
        Ok(Network {
            device: device.clone(),
            model: Arc::new(model.clone()),
            layers: Arc::new(layers),
            gains: Arc::new(gains),
        })
    }

    /// The placed form of node `i`.
    pub fn layer(&self, i: usize) -> &Placed {
        &self.layers[i]
    }

    /// Bounds every intermediate of a bound for inputs of magnitude up to `peak`; refuses what could overflow.
    pub fn check_range(&self, peak: f64) -> Result<f64> {
        let mut peaks = vec![peak.max(1.0)];
        for (node, gain) in self.model.nodes.iter().zip(self.gains.iter()) {
            let input: f64 = node.inputs.iter().map(|&v| peaks[v]).sum();
            peaks.push(match &node.layer {
                Layer::Conv(_) | Layer::Dense(_) | Layer::Scale { .. } => input * gain.forward + gain.constant,
                Layer::Add | Layer::Relu | Layer::MaxPool(_) | Layer::AvgPool(_) | Layer::Gather(_) => input,
            });
        }
        // Largest coefficients over each value of rows that start with ones at any later value.
        let mut coefficients = vec![1.0f64; peaks.len()];
        for (i, (node, gain)) in self.model.nodes.iter().zip(self.gains.iter()).enumerate().rev() {
            for &v in &node.inputs {
                coefficients[v] += coefficients[i + 1] * gain.backward;
            }
        }
        let worst = peaks.iter().zip(&coefficients).map(|(p, c)| p * c).fold(0.0, f64::max);
        if worst.is_finite() && worst < LARGEST {
            Ok(worst)
        } else {
            Err(Error::usage(format!(
                "the weights are so large that intermediate values may reach {worst:.1e}; nothing can be proved about this network in f32"
            )))
        }
    }

    /// Values of every node for `x` `[element][lane]`; keeps what `keep` says, else frees values after their last use.
    pub fn forward(&self, x: Buffer, lanes: usize, keep: bool) -> Result<Values> {
        let last = self.last_uses();
        let mut values: Values = vec![Some(x)];
        for (i, node) in self.model.nodes.iter().enumerate() {
            let y = self.device.alloc(node.shape.len() * lanes)?;
            let inputs: Vec<&Buffer> = node.inputs.iter().map(|&v| values[v].as_ref().expect("value in use")).collect();
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
    pub fn scores(&self, images: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let elements = self.model.input.len();
        let lanes = tensor::lanes(images.len());
        let x = self.device.upload(&tensor::interleave(images.iter().copied(), elements))?;
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

    /// Gradients of `sum(seed * logits)` with respect to the input and, if `weights`, to every weight and bias.
    /// `values` must come from a forward pass with `keep`.
    pub fn backward(&self, values: &Values, seed: Buffer, lanes: usize, weights: bool) -> Result<(Buffer, Gradients)> {
        let d = &self.device;
        let mut grads: Values = (0..values.len()).map(|_| None).collect();
        let mut weight_grads: Gradients = (0..self.model.nodes.len()).map(|_| None).collect();
        grads[self.model.output()] = Some(seed);
        for (i, node) in self.model.nodes.iter().enumerate().rev() {
            let Some(gy) = grads[i + 1].take() else { continue };
            let x = |k: usize| values[node.inputs[k]].as_ref().expect("kept by the forward pass");
            let elements = |k: usize| self.model.shape(node.inputs[k]).len() * lanes;
            if let (true, Placed::Affine(a)) = (weights, &self.layers[i]) {
                let (gw, gb) = (d.alloc(a.weight.len())?, d.alloc(a.bias.len())?);
                conv::weight_grad(d, &a.geometry, x(0), &gy, &gw, lanes)?;
                conv::bias_grad(d, &a.geometry, &gy, &gb, lanes)?;
                weight_grads[i] = Some([gw, gb]);
                if node.inputs[0] == 0 {
                    // Training never uses the gradient of the images.
                    continue;
                }
            }
            if let Placed::Add = self.layers[i] {
                let copy = d.alloc(gy.len())?;
                self.copy(&gy, &copy, lanes)?;
                self.merge(&mut grads, node.inputs[0], copy)?;
                self.merge(&mut grads, node.inputs[1], gy)?;
                continue;
            }
            for k in 0..node.inputs.len() {
                let gx = d.alloc(elements(k))?;
                match &self.layers[i] {
                    Placed::Affine(a) => conv::input_grad(d, &a.geometry, &gy, &a.weight, &gx, lanes)?,
                    Placed::Relu => relu::backward(d, x(0), &gy, &gx)?,
                    Placed::MaxPool(g) => pool::max_backward(d, g, x(0), &gy, &gx, lanes)?,
                    Placed::AvgPool(g) => pool::average_backward(d, g, &gy, &gx, lanes)?,
                    Placed::Add => unreachable!("handled above"),
                    Placed::Scale { scale, .. } => scale::backward(d, &gy, scale, &gx, lanes)?,
                    Placed::Gather(moves) => gather::forward(d, &gy, &moves[k].backward, &gx, lanes, false)?,
                }
                self.merge(&mut grads, node.inputs[k], gx)?;
            }
        }
        let input = match grads[0].take() {
            Some(g) => g,
            None => d.zeros(self.model.input.len() * lanes)?,
        };
        Ok((input, weight_grads))
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
        let affine = |l: &Placed| if let Placed::Affine(a) = l { a.geometry.products() } else { 0 };
        self.layers.iter().map(affine).sum()
    }

    /// Copies a buffer on the device.
    pub fn copy(&self, from: &Buffer, to: &Buffer, lanes: usize) -> Result<()> {
        let identity: Vec<u32> = (0..(from.len() / lanes) as u32).collect();
        gather::forward(&self.device, from, &self.device.upload(&identity)?, to, lanes, false)
    }

    /// The model with the weights now on the device.
    pub fn download(&self) -> Result<Model> {
        let mut model = (*self.model).clone();
        for (i, layer) in self.layers.iter().enumerate() {
            let Placed::Affine(a) = layer else { continue };
            let outputs = a.geometry.output.channels;
            let packed: Vec<f32> = self.device.read(&a.weight)?;
            let unpacked = conv::unpack(&packed, packed.len() / outputs, outputs);
            let bias = self.device.read(&a.bias)?;
            match &mut model.nodes[i].layer {
                Layer::Conv(c) => (c.weight, c.bias) = (unpacked, bias),
                Layer::Dense(d) => (d.weight, d.bias) = (unpacked, bias),
                Layer::Relu
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

    /// Rounding charge the consumers of `value` want in its radius, as a share of |centre|.
    pub fn inflation(&self, value: ValueId) -> f32 {
        let consumers = self.model.nodes.iter().enumerate().filter(|(_, n)| n.inputs.contains(&value));
        consumers
            .map(|(i, _)| match &self.layers[i] {
                Placed::Affine(a) => {
                    let g = rounding::sum_error(a.geometry.fan_in());
                    rounding::to_f32_up(1.001 * f64::from(g))
                }
                // Data movement hands the value on unchanged.
                Placed::Gather(_) => self.inflation(i + 1),
                Placed::Relu | Placed::MaxPool(_) | Placed::AvgPool(_) | Placed::Add | Placed::Scale { .. } => 0.0,
            })
            .fold(0.0, f32::max)
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

fn place(device: &Device, model: &Model, node: &Node) -> Result<Placed> {
    let input = model.shape(node.inputs[0]);
    let affine = |geometry: conv::Geometry, packed: Vec<f32>, bias: &[f32]| -> Result<Placed> {
        let plane = geometry.output.height * geometry.output.width;
        let abs = |v: &[f32]| device.upload(&v.iter().map(|x| x.abs()).collect::<Vec<_>>());
        Ok(Placed::Affine(Affine {
            geometry,
            weight: device.upload(&packed)?,
            bias: device.upload(bias)?,
            magnitude: [abs(&packed)?, abs(bias)?],
            bias_values: device.upload(&(0..plane * bias.len()).map(|i| bias[i / plane]).collect::<Vec<_>>())?,
        }))
    };
    match &node.layer {
        Layer::Conv(c) => {
            let packed = conv::pack_conv(c, input.channels, node.shape.channels);
            affine(conv::Geometry::of(c, input, node.shape), packed, &c.bias)
        }
        Layer::Dense(d) => {
            let packed = conv::pack_dense(d, input.len(), node.shape.len());
            affine(conv::Geometry::dense(input.len(), node.shape.len()), packed, &d.bias)
        }
        Layer::Relu => Ok(Placed::Relu),
        Layer::MaxPool(p) => Ok(Placed::MaxPool(pool::Geometry::new(p, input, node.shape))),
        Layer::AvgPool(p) => Ok(Placed::AvgPool(pool::Geometry::new(p, input, node.shape))),
        Layer::Add => Ok(Placed::Add),
        Layer::Scale { scale, shift } => {
            let abs = |v: &[f32]| device.upload(&v.iter().map(|x| x.abs()).collect::<Vec<_>>());
            Ok(Placed::Scale {
                scale: device.upload(scale)?,
                shift: device.upload(shift)?,
                magnitude: [abs(scale)?, abs(shift)?],
            })
        }
        Layer::Gather(sources) => {
            let moves = node.inputs.iter().enumerate().map(|(k, &v)| {
                let mut forward = vec![u32::MAX; sources.len()];
                let mut backward = vec![u32::MAX; model.shape(v).len()];
                for (to, source) in sources.iter().enumerate() {
                    if let Some(s) = source.filter(|s| s.input as usize == k) {
                        forward[to] = s.index;
                        backward[s.index as usize] = to as u32;
                    }
                }
                Ok(Moves { forward: device.upload(&forward)?, backward: device.upload(&backward)? })
            });
            Ok(Placed::Gather(moves.collect::<Result<_>>()?))
        }
    }
}

fn gain(node: &Node) -> Gain {
    let sums = |weight: &[f32], outputs: usize, group: usize| {
        let inputs = weight.len() / outputs.max(1);
        let mut into = vec![0f64; outputs];
        let mut out_of = vec![0f64; inputs / group];
        for o in 0..outputs {
            for i in 0..inputs {
                let w = f64::from(weight[o * inputs + i].abs());
                into[o] += w;
                out_of[i / group] += w;
            }
        }
        let largest = |v: &[f64]| v.iter().copied().fold(0.0, f64::max);
        (largest(&into), largest(&out_of))
    };
    let peak = |v: &[f32]| v.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    let (forward, backward, constant) = match &node.layer {
        Layer::Conv(c) => {
            let (f, b) = sums(&c.weight, c.bias.len(), c.kernel[0] * c.kernel[1]);
            (f, b, peak(&c.bias))
        }
        Layer::Dense(d) => {
            let (f, b) = sums(&d.weight, d.bias.len(), 1);
            (f, b, peak(&d.bias))
        }
        Layer::Scale { scale, shift } => (peak(scale), peak(scale), peak(shift)),
        Layer::Add => (1.0, 1.0, 0.0),
        Layer::MaxPool(p) | Layer::AvgPool(p) => (1.0, (p.kernel[0] * p.kernel[1]) as f64, 0.0),
        Layer::Relu | Layer::Gather(_) => (1.0, 1.0, 0.0),
    };
    Gain { forward, backward, constant }
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
