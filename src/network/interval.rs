//! Interval bounds as a function to be learned from: centres and radii forward, and the gradient of the worst case.
//!
//! A centre goes through W and a radius through |W|. What does not fall passes each end of an interval on its own, and so
//! do the gradients by the ends. No rounding is charged: what is proved of a trained network, bounds prove afterwards.

use super::{Gradients, Network, Placed};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::ops::conv::{self, Charge};
use crate::ops::worst::{self, Size};
use crate::ops::{add, conv_grad, gather, interval, pool, relu, scale};

/// Centre and radius, `[element][lane]`.
pub type Interval = [Buffer; 2];

impl Network {
    /// The intervals of the image and of every value after it, but those of the logits: [`Network::worst_logits`] has the
    /// last layer. Index = [`crate::model::ValueId`].
    ///
    /// # Errors
    /// A layer that intervals cannot be learned through.
    pub fn forward_intervals(&self, x: Interval, lanes: usize) -> Result<Vec<Interval>> {
        let d = &self.device;
        let mut values = vec![x];
        let layers = self.model.nodes.len().saturating_sub(1);
        for (i, node) in self.model.nodes.iter().enumerate().take(layers) {
            let len = node.shape.len() * lanes;
            let y = [d.alloc(len)?, d.alloc(len)?];
            let ([c, r], to) = (&values[node.inputs[0]], [&y[0], &y[1]]);
            match &self.layers[i] {
                Placed::Affine(a) => {
                    conv::interval(d, &a.geometry, [c, r], &a.weight, &a.bias, to, lanes, Charge::none(), 0.0)?;
                }
                Placed::Relu => relu::interval(d, c, r, to[0], to[1], 0.0)?,
                Placed::MaxPool(g) => pool::max_interval(d, g, c, r, to[0], to[1], lanes, 0.0)?,
                Placed::AvgPool(g) => {
                    pool::average_forward(d, g, c, to[0], lanes)?;
                    pool::average_forward(d, g, r, to[1], lanes)?;
                }
                Placed::Add => {
                    let [c2, r2] = &values[node.inputs[1]];
                    add::forward(d, c, c2, to[0])?;
                    add::forward(d, r, r2, to[1])?;
                }
                Placed::Scale { scale, shift, magnitude: [size, _] } => {
                    scale::forward(d, c, scale, shift, to[0], lanes)?;
                    scale::backward(d, r, size, to[1], lanes)?;
                }
                Placed::Gather(moves) => {
                    for (k, m) in moves.iter().enumerate() {
                        let from = &values[node.inputs[k]];
                        gather::forward(d, &from[0], &m.forward, to[0], lanes, k > 0)?;
                        gather::forward(d, &from[1], &m.forward, to[1], lanes, k > 0)?;
                    }
                }
                Placed::Activation(_) => return Err(self.unlearnable(i)),
            }
            values.push(y);
        }
        Ok(values)
    }

    fn unlearnable(&self, i: usize) -> Error {
        let name = &self.model.nodes[i].name;
        Error::usage(format!(
            "layer {name}: certified training wants ReLU between the layers, and a dense one at the end"
        ))
    }

    /// The last layer, which has to be dense.
    fn head(&self) -> Result<(usize, &super::Affine, Size)> {
        let last = self.model.nodes.len() - 1;
        let head = self.layers[last].affine().filter(|a| a.geometry.output.height * a.geometry.output.width == 1);
        let a = head.filter(|a| a.geometry.kernel == [1, 1]).ok_or_else(|| self.unlearnable(last))?;
        Ok((last, a, Size { inputs: a.geometry.fan_in(), classes: self.model.outputs(), lanes: 0 }))
    }

    /// Logits `[class][lane]` of which the label's is as far below every other as the intervals allow; `labels` `[lane]` of
    /// u32. The label wins all over the box where it wins here.
    pub fn worst_logits(&self, values: &[Interval], labels: &Buffer, lanes: usize) -> Result<Buffer> {
        let (last, a, size) = self.head()?;
        let d = &self.device;
        let [c, r] = &values[self.model.nodes[last].inputs[0]];
        let (z, v) = (d.alloc(size.classes * lanes)?, d.alloc(size.classes * lanes)?);
        conv::forward(d, &a.geometry, c, &a.weight, &a.bias, &z, lanes)?;
        worst::raise_rivals(d, [&z, r], &a.weight, labels, &v, Size { lanes, ..size })?;
        Ok(v)
    }

    /// Gradients of `sum(seed * worst logits)` with respect to every weight and bias. `values` are those of
    /// [`Network::forward_intervals`], labels as for [`Network::worst_logits`].
    pub fn backward_intervals(
        &self,
        values: &[Interval],
        labels: &Buffer,
        seed: &Buffer,
        lanes: usize,
    ) -> Result<Gradients> {
        let d = &self.device;
        let (last, a, size) = self.head()?;
        let size = Size { lanes, ..size };
        let mut weight_grads: Gradients = (0..=last).map(|_| None).collect();
        let mut grads: Vec<Option<Interval>> = (0..=last).map(|_| None).collect();
        let below = self.model.nodes[last].inputs[0];
        let [c, r] = &values[below];
        let gradients = self.weight_gradients(last, a, c, seed, lanes)?;
        worst::weight_grad(d, [seed, r], &a.weight, labels, &gradients[0], size)?;
        weight_grads[last] = Some(gradients);
        let gx = [d.alloc(size.inputs * lanes)?, d.alloc(size.inputs * lanes)?];
        conv_grad::input_grad(d, &a.geometry, seed, &a.weight, &gx[0], lanes)?;
        worst::radius_grad(d, seed, &a.weight, labels, &gx[1], size)?;
        grads[below] = Some(gx);
        for (i, node) in self.model.nodes.iter().enumerate().take(last).rev() {
            let Some(gy) = grads[i + 1].take() else { continue };
            if let Some(a) = self.layers[i].affine() {
                let [c, r] = &values[node.inputs[0]];
                let gradients = self.weight_gradients(i, a, c, &gy[0], lanes)?;
                let by_size = d.alloc(a.weight.len())?;
                conv_grad::weight_grad(d, &a.geometry, r, &gy[1], &by_size, lanes)?;
                interval::take_signs(d, &a.weight, &by_size, &gradients[0])?;
                weight_grads[i] = Some(gradients);
            }
            if let Some(gradients) = self.norm_gradients(i, &values[node.inputs[0]], &gy, lanes)? {
                weight_grads[i] = Some(gradients);
            }
            for (k, &input) in node.inputs.iter().enumerate().filter(|(_, input)| **input > 0) {
                let gx = self.interval_gradient(i, k, &values[input], &gy, lanes)?;
                match &grads[input] {
                    Some(sum) => gx.iter().zip(sum).try_for_each(|(g, sum)| add::accumulate(d, g, sum))?,
                    None => grads[input] = Some(gx),
                }
            }
        }
        Ok(weight_grads)
    }

    /// The gradient by centre and radius of the `k`th input of node `i`, whose interval is `x`, given that by its output's.
    fn interval_gradient(&self, i: usize, k: usize, x: &Interval, gy: &Interval, lanes: usize) -> Result<Interval> {
        let d = &self.device;
        let len = x[0].len();
        let two = |len: usize| -> Result<Interval> { Ok([d.alloc(len)?, d.alloc(len)?]) };
        let gx = two(len)?;
        // What does not fall: each end on its own.
        let by_ends = |step: &dyn Fn(&Buffer, &Buffer, &Buffer) -> Result<()>| -> Result<()> {
            let (ends, outer, inner) = (two(len)?, two(gy[0].len())?, two(len)?);
            interval::ends(d, [&x[0], &x[1]], [&ends[0], &ends[1]], 1.0)?;
            interval::ends(d, [&gy[0], &gy[1]], [&outer[0], &outer[1]], 0.5)?;
            for ((end, outer), inner) in ends.iter().zip(&outer).zip(&inner) {
                step(end, outer, inner)?;
            }
            interval::ends(d, [&inner[1], &inner[0]], [&gx[1], &gx[0]], 1.0)
        };
        match &self.layers[i] {
            Placed::Affine(a) => {
                let size = d.alloc(a.weight.len())?;
                interval::absolute(d, &a.weight, &size)?;
                conv_grad::input_grad(d, &a.geometry, &gy[0], &a.weight, &gx[0], lanes)?;
                conv_grad::input_grad(d, &a.geometry, &gy[1], &size, &gx[1], lanes)?;
            }
            Placed::Relu => by_ends(&|x, gy, gx| relu::backward(d, x, gy, gx))?,
            Placed::MaxPool(g) => by_ends(&|x, gy, gx| pool::max_backward(d, g, x, gy, gx, lanes))?,
            Placed::AvgPool(g) => {
                pool::average_backward(d, g, &gy[0], &gx[0], lanes)?;
                pool::average_backward(d, g, &gy[1], &gx[1], lanes)?;
            }
            Placed::Add => {
                d.copy(&gy[0], &gx[0])?;
                d.copy(&gy[1], &gx[1])?;
            }
            Placed::Scale { scale, magnitude: [size, _], .. } => {
                scale::backward(d, &gy[0], scale, &gx[0], lanes)?;
                scale::backward(d, &gy[1], size, &gx[1], lanes)?;
            }
            Placed::Gather(moves) => {
                gather::forward(d, &gy[0], &moves[k].backward, &gx[0], lanes, false)?;
                gather::forward(d, &gy[1], &moves[k].backward, &gx[1], lanes, false)?;
            }
            Placed::Activation(_) => return Err(self.unlearnable(i)),
        }
        Ok(gx)
    }
}
