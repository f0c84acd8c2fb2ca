//! Gradients of a minibatch that is learned from by its images and by boxes around them, through batch normalisation by the
//! moments of the images, against differences of the same in f64.

use deltamax::device::{Buffer, Device};
use deltamax::error::Result;
use deltamax::model::reference::apply;
use deltamax::model::{Layer, Model};
use deltamax::network::Network;
use deltamax::ops::conv::pack;
use deltamax::ops::{ball, loss};
use deltamax::rng::Rng;
use deltamax::tensor::{Shape, interleave, lanes};

use crate::nets::Net;
use crate::worst::{Between, DELTA, batch, clipped, worst_margins};

/// Share of the loss that is of boxes.
const MIX: f32 = 0.3;

/// Normalisations behind a convolution, on both sides of a sum, and behind a dense layer; a factor below zero among them.
fn model() -> Model {
    let mut b = Net::new(Shape::new(2, 6, 5), Rng::new(47, 0)).with_bias(0.2);
    let first = b.conv3x3(0, 4);
    let first = norm(&mut b, first);
    let v = b.relu(first);
    let second = b.conv3x3(v, 4);
    let second = norm(&mut b, second);
    let sum = b.same(Layer::Add, &[second, v]);
    let v = b.relu(sum);
    let v = b.average_pool(v, [2, 2], [2, 2], [0, 0], false);
    let v = b.dense(v, 7);
    let v = norm(&mut b, v);
    let v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

fn norm(b: &mut Net, from: usize) -> usize {
    let Shape { channels, height, width } = b.shape(from);
    let plane = height * width;
    let each = |of: fn(usize) -> f32| (0..channels * plane).map(|i| of(i / plane)).collect();
    let scale = each(|channel| [0.9, -0.7, 1.3, 0.6][channel % 4]);
    b.same(Layer::Scale { scale, shift: each(|channel| 0.1 * (channel % 3) as f32) }, &[from])
}

/// Factor and shift of every channel by the moments of these values, image by image.
fn constants(scale: &[f32], shift: &[f32], shape: Shape, images: &[Vec<f64>]) -> Vec<[f64; 2]> {
    let plane = shape.height * shape.width;
    let of = |channel: usize| {
        let values = || images.iter().flat_map(move |x| &x[channel * plane..(channel + 1) * plane]);
        let number = (images.len() * plane) as f64;
        let mean = values().sum::<f64>() / number;
        let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / number;
        let factor = f64::from(scale[channel * plane]) / (variance + 1e-5).sqrt();
        [factor, f64::from(shift[channel * plane]) - mean * factor]
    };
    (0..shape.channels).map(of).collect()
}

/// Mean cross-entropy in f64: `MIX` times that of the worst case, the rest of the images.
fn expected(model: &Model, images: &[Vec<f32>], labels: &[usize]) -> f64 {
    let mut values: Vec<Vec<Vec<f64>>> =
        images.iter().map(|x| vec![x.iter().map(|x| f64::from(*x)).collect()]).collect();
    let mut boxes: Vec<Vec<Vec<Between>>> = images.iter().map(|x| vec![x.iter().map(clipped).collect()]).collect();
    for node in &model.nodes {
        let (shape, from) = (node.shape, node.inputs[0]);
        if let Some([scale, shift]) = node.layer.scale() {
            let before: Vec<Vec<f64>> = values.iter().map(|v| v[from].clone()).collect();
            let constants = constants(scale, shift, shape, &before);
            let at = |i: usize| constants[i / (shape.height * shape.width)];
            for (v, b) in values.iter_mut().zip(&mut boxes) {
                v.push(v[from].iter().enumerate().map(|(i, x)| at(i)[0] * x + at(i)[1]).collect());
                let through =
                    |(i, Between(c, r)): (usize, &Between)| Between(at(i)[0] * c + at(i)[1], at(i)[0].abs() * r);
                b.push(b[from].iter().enumerate().map(through).collect());
            }
            continue;
        }
        for (v, b) in values.iter_mut().zip(&mut boxes) {
            let inputs: Vec<&[f64]> = node.inputs.iter().map(|&k| v[k].as_slice()).collect();
            v.push(apply(&node.layer, &inputs, model.shape(from), shape));
            let inputs: Vec<&[Between]> = node.inputs.iter().map(|&k| b[k].as_slice()).collect();
            b.push(apply(&node.layer, &inputs, model.shape(from), shape));
        }
    }
    let last = model.nodes.last().expect("layers");
    let entropy = |above: &mut dyn Iterator<Item = f64>| above.map(f64::exp).sum::<f64>().ln();
    let each = values.iter().zip(&boxes).zip(labels).map(|((v, b), &label)| {
        let logits = &v[v.len() - 1];
        let shown = entropy(&mut logits.iter().map(|z| z - logits[label]));
        let worst = entropy(&mut worst_margins(last, &b[last.inputs[0]], label));
        f64::from(MIX) * worst + (1.0 - f64::from(MIX)) * shown
    });
    each.sum::<f64>() / images.len() as f64
}

/// Mean loss, and the gradients by parameter, in the order of the network's.
fn found(device: &Device, model: &Model, images: &[Vec<f32>], labels: &[usize]) -> Result<(f64, Vec<Vec<f32>>)> {
    let net = Network::learning(device, model)?;
    let (lanes, count, classes) = (lanes(images.len()), images.len(), model.outputs());
    let upload = || device.upload(&interleave(images.iter().map(Vec::as_slice), model.input.len()));
    let mut words: Vec<u32> = labels.iter().map(|l| *l as u32).collect();
    words.resize(lanes, 0);
    let (labels, weights) = (device.upload(&words)?, device.upload(&vec![1f32; lanes])?);
    let lost = |logits: &Buffer, share: f32| -> Result<(Buffer, f64)> {
        let (losses, seed) = (device.alloc(lanes)?, device.alloc(classes * lanes)?);
        loss::softmax_cross_entropy(device, logits, &labels, &weights, &losses, &seed, classes, count, lanes, share)?;
        let losses: Vec<f32> = device.read(&losses)?;
        Ok((seed, losses[..count].iter().map(|l| f64::from(*l)).sum::<f64>() / count as f64))
    };
    let values = net.forward_learning(upload()?, lanes, count, 0.5)?;
    let (seed, shown) = lost(values[model.nodes.len()].as_ref().expect("kept"), 1.0 - MIX)?;
    let image = upload()?;
    let x = [device.alloc(image.len())?, device.alloc(image.len())?];
    ball::clip(device, &image, &device.upload(&vec![DELTA; lanes])?, [&x[0], &x[1]], lanes, 0.0)?;
    let boxes = net.forward_intervals(x, lanes)?;
    let (worst_seed, worst) = lost(&net.worst_logits(&boxes, &labels, lanes)?, MIX)?;
    let gradients = net.backward_intervals(&boxes, &labels, &worst_seed, lanes)?;
    let gradients = net.learn(&values, seed, [lanes, count], gradients)?;
    let read = gradients.iter().flatten().flatten().map(|g| device.read(g)).collect::<Result<_>>()?;
    Ok((f64::from(MIX) * worst + f64::from(1.0 - MIX) * shown, read))
}

/// Sets one number of a layer: `[0]` weights or the factor of a channel, `[1]` biases or its shift. What it was.
fn set(layer: &mut Layer, plane: usize, which: usize, k: usize, value: f32) -> f32 {
    let spread = |all: &mut Vec<f32>| {
        let before = all[k * plane];
        all[k * plane..(k + 1) * plane].fill(value);
        before
    };
    match (layer, which) {
        (Layer::Scale { scale, .. }, 0) => spread(scale),
        (Layer::Scale { shift, .. }, _) => spread(shift),
        (Layer::Conv(c), 0) => std::mem::replace(&mut c.weight[k], value),
        (Layer::Conv(c), _) => std::mem::replace(&mut c.bias[k], value),
        (Layer::Dense(d), 0) => std::mem::replace(&mut d.weight[k], value),
        (Layer::Dense(d), _) => std::mem::replace(&mut d.bias[k], value),
        _ => unreachable!("nothing else is learned"),
    }
}

/// The loss, and its gradient by every bias, factor and shift and a choice of weights of every layer.
pub fn gradients(device: &Device) -> std::result::Result<(), String> {
    let mut model = model();
    let (images, labels) = batch(&model);
    let (loss, gradients) = found(device, &model, &images, &labels).map_err(|e| e.to_string())?;
    let whole = expected(&model, &images, &labels);
    if (loss - whole).abs() > 1e-5 * whole {
        return Err(format!("the loss is {loss}, in f64 {whole}"));
    }
    let learned: Vec<usize> =
        (0..model.nodes.len()).filter(|&i| !model.nodes[i].layer.weights()[0].is_empty()).collect();
    let mut asked = 0;
    for (&node, gradients) in learned.iter().zip(gradients.chunks(2)) {
        let shape = model.nodes[node].shape;
        let (plane, scales) = (shape.height * shape.width, model.nodes[node].layer.scale().is_some());
        for which in [0, 1] {
            let numbers = model.nodes[node].layer.weights()[which].len();
            let count = if scales { shape.channels } else { numbers };
            let outputs = model.nodes[node].layer.weights()[1].len();
            let found = match which {
                0 if !scales => pack(&gradients[0][..count], outputs, count / outputs),
                _ => gradients[which][..count].to_vec(),
            };
            for k in (0..count).step_by(if which == 1 || scales { 1 } else { 5 }) {
                let before = set(&mut model.nodes[node].layer, plane, which, k, 0.0);
                let mut at = |value: f32| {
                    set(&mut model.nodes[node].layer, plane, which, k, value);
                    (f64::from(value), expected(&model, &images, &labels))
                };
                let ((x, low), (y, high)) = (at(before - 3e-5), at(before + 3e-5));
                at(before);
                let slope = (high - low) / (y - x);
                if (f64::from(found[k]) - slope).abs() > 2e-4 + 2e-3 * slope.abs() {
                    return Err(format!("node {node}, {which}, number {k}: {} against {slope}", found[k]));
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
