//! Gradients of the worst case over boxes, by interval bounds, against differences of the same in f64.

use deltamax::device::Device;
use deltamax::error::Result;
use deltamax::model::activation::Activation;
use deltamax::model::reference::{Number, apply};
use deltamax::model::{Layer, Model, Node, Source};
use deltamax::network::Network;
use deltamax::ops::conv::pack;
use deltamax::ops::{ball, loss};
use deltamax::rng::Rng;
use deltamax::tensor::{Shape, interleave, lanes};

use crate::nets::{Net, image};

/// Centre and radius.
#[derive(Clone, Copy)]
pub struct Between(pub f64, pub f64);

impl Number for Between {
    fn constant(value: f32) -> Self {
        Between(value.into(), 0.0)
    }

    fn plus(&self, other: &Self) -> Self {
        Between(self.0 + other.0, self.1 + other.1)
    }

    fn times(&self, factor: f32) -> Self {
        Between(self.0 * f64::from(factor), self.1 * f64::from(factor).abs())
    }

    fn larger(&self, other: &Self) -> Self {
        let (low, high) = ((self.0 - self.1).max(other.0 - other.1), (self.0 + self.1).max(other.0 + other.1));
        Between(0.5 * (high + low), 0.5 * (high - low))
    }

    fn shared(&self, count: usize) -> Self {
        Between(self.0 / count as f64, self.1 / count as f64)
    }

    fn through(&self, _: &Activation) -> Self {
        unreachable!("there are none")
    }
}

/// Every kind of layer that intervals are learned through, a value that two layers read among them.
fn model() -> Model {
    let mut b = Net::new(Shape::new(2, 7, 6), Rng::new(41, 0)).with_bias(0.2);
    let first = b.conv3x3(0, 4);
    let scale = Layer::Scale {
        scale: (0..168).map(|i| if i % 3 == 0 { -0.8 } else { 1.2 }).collect(),
        shift: (0..168).map(|i| 0.01 * (i % 7) as f32).collect(),
    };
    let scaled = b.same(scale, &[first]);
    let v = b.relu(scaled);
    let second = b.conv3x3(v, 4);
    let sum = b.same(Layer::Add, &[second, scaled]);
    let v = b.max_pool(sum, [3, 2], [2, 2], [1, 0]);
    let v = b.average_pool(v, [2, 2], [1, 1], [0, 0], false);
    let n = b.shape(v).len() as u32;
    let turned = (0..n).map(|i| (i % 5 != 0).then_some(Source { input: 0, index: n - 1 - i })).collect();
    let v = b.push(Layer::Gather(turned), &[v], Shape::flat(n as usize));
    let v = b.dense(v, 9);
    let v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

pub const DELTA: f32 = 0.03;

/// Images, their labels.
pub fn batch(model: &Model) -> (Vec<Vec<f32>>, Vec<usize>) {
    let mut rng = Rng::new(43, 0);
    ((0..19).map(|_| image(model, &mut rng)).collect(), (0..19).map(|i| i % 4).collect())
}

/// What a pixel may be.
pub fn clipped(x: &f32) -> Between {
    let (low, high) = (f64::from(x - DELTA).max(0.0), f64::from(x + DELTA).min(1.0));
    Between(0.5 * (low + high), 0.5 * (high - low))
}

/// How far each class can be above the label's by the last layer, given its inputs: one row, whose worst corner counts each
/// input once.
pub fn worst_margins<'a>(last: &'a Node, x: &'a [Between], label: usize) -> impl Iterator<Item = f64> + 'a {
    let Layer::Dense(d) = &last.layer else { unreachable!("the last layer is dense") };
    let row = move |k: usize| d.weight[k * x.len()..(k + 1) * x.len()].iter().map(|w| f64::from(*w));
    (0..d.bias.len()).map(move |k| {
        let rows = row(k).zip(row(label)).map(|(a, b)| a - b).zip(x);
        f64::from(d.bias[k]) - f64::from(d.bias[label]) + rows.map(|(w, x)| w * x.0 + w.abs() * x.1).sum::<f64>()
    })
}

/// Mean cross-entropy of the worst case in f64.
fn expected(model: &Model, images: &[Vec<f32>], labels: &[usize]) -> f64 {
    let loss = |image: &[f32], label: usize| {
        let mut values: Vec<Vec<Between>> = vec![image.iter().map(clipped).collect()];
        let (last, below) = model.nodes.split_last().expect("layers");
        for node in below {
            let inputs: Vec<&[Between]> = node.inputs.iter().map(|&v| values[v].as_slice()).collect();
            values.push(apply(&node.layer, &inputs, model.shape(node.inputs[0]), node.shape));
        }
        worst_margins(last, &values[last.inputs[0]], label).map(f64::exp).sum::<f64>().ln()
    };
    images.iter().zip(labels).map(|(x, l)| loss(x, *l)).sum::<f64>() / images.len() as f64
}

/// Mean loss, and the gradients by node: weights in the order of the model, biases.
type Gradients = Vec<Option<[Vec<f32>; 2]>>;

fn found(device: &Device, model: &Model, images: &[Vec<f32>], labels: &[usize]) -> Result<(f64, Gradients)> {
    let net = Network::new(device, model)?;
    let (lanes, count, classes) = (lanes(images.len()), images.len(), model.outputs());
    let image = device.upload(&interleave(images.iter().map(Vec::as_slice), model.input.len()))?;
    let mut words: Vec<u32> = labels.iter().map(|l| *l as u32).collect();
    words.resize(lanes, 0);
    let labels = device.upload(&words)?;
    let x = [device.alloc(image.len())?, device.alloc(image.len())?];
    ball::clip(device, &image, &device.upload(&vec![DELTA; lanes])?, [&x[0], &x[1]], lanes, 0.0)?;
    let values = net.forward_intervals(x, lanes)?;
    let logits = net.worst_logits(&values, &labels, lanes)?;
    let (losses, seed) = (device.alloc(lanes)?, device.alloc(classes * lanes)?);
    let weights = device.upload(&vec![1f32; lanes])?;
    loss::softmax_cross_entropy(device, &logits, &labels, &weights, &losses, &seed, classes, count, lanes, 1.0)?;
    let losses: Vec<f32> = device.read(&losses)?;
    let gradients = net.backward_intervals(&values, &labels, &seed, lanes)?;
    let read = |(i, g): (usize, Option<[deltamax::device::Buffer; 2]>)| {
        let Some([weights, biases]) = g else { return Ok(None) };
        let outputs = match &model.nodes[i].layer {
            Layer::Dense(d) => d.bias.len(),
            Layer::Conv(c) => c.bias.len(),
            _ => unreachable!("weights are of affine layers"),
        };
        let (weights, biases): (Vec<f32>, Vec<f32>) = (device.read(&weights)?, device.read(&biases)?);
        let inputs = weights.len() / outputs;
        Ok(Some([pack(&weights[..inputs * outputs], outputs, inputs), biases]))
    };
    let gradients = gradients.into_iter().enumerate().map(read).collect::<Result<_>>()?;
    Ok((losses[..count].iter().map(|l| f64::from(*l)).sum::<f64>() / count as f64, gradients))
}

/// Weights, or biases, of a node.
fn parameters(model: &mut Model, node: usize, biases: bool) -> &mut Vec<f32> {
    let [weight, bias] = match &mut model.nodes[node].layer {
        Layer::Dense(d) => [&mut d.weight, &mut d.bias],
        Layer::Conv(c) => [&mut c.weight, &mut c.bias],
        _ => unreachable!("weights are of affine layers"),
    };
    if biases { bias } else { weight }
}

/// The loss, and its gradient by every bias and a choice of weights of every layer.
pub fn gradients(device: &Device) -> std::result::Result<(), String> {
    let mut model = model();
    let (images, labels) = batch(&model);
    let (loss, gradients) = found(device, &model, &images, &labels).map_err(|e| e.to_string())?;
    let whole = expected(&model, &images, &labels);
    if (loss - whole).abs() > 1e-5 * whole {
        return Err(format!("the loss is {loss}, in f64 {whole}"));
    }
    let mut asked = 0;
    for (node, gradients) in gradients.iter().enumerate() {
        let Some(gradients) = gradients else { continue };
        for (biases, gradients) in [(false, &gradients[0]), (true, &gradients[1])] {
            let count = parameters(&mut model, node, biases).len();
            for k in (0..count).step_by(if biases { 1 } else { 5 }) {
                let before = parameters(&mut model, node, biases)[k];
                let mut at = |value: f32| {
                    parameters(&mut model, node, biases)[k] = value;
                    (f64::from(value), expected(&model, &images, &labels))
                };
                let ((x, low), (y, high)) = (at(before - 3e-5), at(before + 3e-5));
                at(before);
                let slope = (high - low) / (y - x);
                if (f64::from(gradients[k]) - slope).abs() > 2e-4 + 2e-3 * slope.abs() {
                    let name = if biases { "bias" } else { "weight" };
                    return Err(format!("node {node}, {name} {k}: {} against {slope}", gradients[k]));
                }
                asked += 1;
            }
        }
    }
    if asked < 100 {
        return Err(format!("only {asked} gradients were asked for"));
    }
    Ok(())
}
