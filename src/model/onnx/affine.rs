//! Affine operators: Conv, Gemm, MatMul, BatchNormalization.

use super::super::{Conv, Dense, Layer, Ratio, Source, ValueId};
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::near::{Charge, Near};
use super::op::Op;
use super::scale::{self, Merge};
use super::{movement, window};
use crate::tensor::Shape;

/// What a convolution reads, turned round or not.
pub(super) struct Operands {
    pub from: ValueId,
    pub shape: Shape,
    /// Dimensions of the input in the file.
    pub input: Vec<usize>,
    /// Over one axis rather than two.
    pub flat: bool,
    /// Of the weights: as many as the input's.
    pub dims: Vec<usize>,
    pub weight: Vec<f32>,
    pub group: usize,
    pub charge: Charge,
}

impl Operands {
    pub fn read(b: &mut Builder, op: &Op) -> OnnxResult<Operands> {
        b.at_most(op, 3)?;
        let x = b.live(op, 0)?;
        let (from, shape) = b.image(op, &x)?;
        let mut charge = Charge::default();
        let (dims, weight) = b.weights(op, 1, &mut charge)?.ok_or_else(|| op.error("has no weights"))?;
        let operands = Operands { from, shape, flat: x.dims.len() == 3, input: x.dims, dims, weight, group: 1, charge };
        if operands.dims.len() != operands.rank() + 2 {
            return operands.misfit(op);
        }
        let group = op.positive("group", &[op.int("group", 1)?], 1, 1)?[0];
        Ok(Operands { group, ..operands })
    }

    pub fn rank(&self) -> usize {
        if self.flat { 1 } else { 2 }
    }

    pub fn misfit<T>(&self, op: &Op) -> OnnxResult<T> {
        op.fail(format!("weights of dimensions {:?} for an input of {:?}", self.dims, self.input))
    }

    /// One number per output channel; zeros where there is no bias.
    pub fn bias(&mut self, b: &Builder, op: &Op, out: usize) -> OnnxResult<Vec<f32>> {
        match b.numbers(op, 2)? {
            None => Ok(vec![0.0; out]),
            Some((_, v)) if v.len() == out => scale::shifts(op, &v, &mut self.charge),
            Some((d, _)) => op.fail(format!("bias {d:?} for {out} output channels")),
        }
    }
}

pub fn conv(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    let mut operands = Operands::read(b, op)?;
    let (from, shape, flat, group) = (operands.from, operands.shape, operands.flat, operands.group);
    let dims = operands.dims.clone();
    let (out, depth) = (dims[0], dims[1]);
    if depth.checked_mul(group) != Some(shape.channels) || out % group != 0 || out == 0 {
        return op.fail(format!("weights {dims:?} in {group} groups do not fit {} input channels", shape.channels));
    }
    let window = window::read(op, &dims[2..], shape, flat)?;
    let output = window.output(op, shape, out, false)?;
    let expanded = window.kernel.iter().chain([&out, &shape.channels]).try_fold(1usize, |n, &d| n.checked_mul(d));
    let expanded = expanded.ok_or_else(|| op.error("weights are too large once expanded"))?;
    let bias = operands.bias(b, op, out)?;
    let Operands { weight, charge, .. } = operands;
    let [kh, kw] = window.taps;
    let weight = if group == 1 && window.taps == window.kernel {
        weight
    } else {
        b.spend(op, expanded)?;
        let mut full = vec![0.0; expanded];
        for (k, &w) in weight.iter().enumerate() {
            let (kx, ky, i, o) = (k % kw, k / kw % kh, k / (kw * kh) % depth, k / (kw * kh * depth));
            let channel = o / (out / group) * depth + i;
            let row = (o * shape.channels + channel) * window.kernel[0] + ky * window.dilation[0];
            full[row * window.kernel[1] + kx * window.dilation[1]] = w;
        }
        full
    };
    let layer = Conv { weight, bias, kernel: window.kernel, stride: window.stride, pad: window.pad };
    let dims = window::dims(output, flat);
    let live = b.push_shaped(op, Layer::Conv(layer), vec![from], output, dims)?;
    charge.record(b, &live);
    b.define(op, Value::Live(live))
}

pub fn gemm(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["alpha", "beta", "transA", "transB"])?;
    b.at_most(op, 3)?;
    let (alpha, beta) = (op.float("alpha", 1.0)?, Near::from(op.float("beta", 1.0)?));
    let (trans_a, trans_b) = (op.int("transA", 0)? != 0, op.int("transB", 0)? != 0);
    // Either factor may be the constant: y = x W or y = W x.
    let right = matches!(b.value(op, 1)?, Value::Const(_));
    let (live, constant) = if right { (b.live(op, 0)?, 1) } else { (b.live(op, 1)?, 0) };
    let (trans_x, trans_w) = if right { (trans_a, trans_b) } else { (trans_b, trans_a) };
    let mut charge = Charge::default();
    let (dims, weight) = b.weights(op, constant, &mut charge)?.ok_or_else(|| op.error("has no weights"))?;
    let [rows, columns] = dims[..] else {
        return op.fail(format!("weights of dimensions {dims:?}, a matrix is needed"));
    };
    // `inner` is the length of x; the other axis of the weights gives the outputs.
    let inner_first = trans_w != right;
    let (inner, out) = if inner_first { (rows, columns) } else { (columns, rows) };
    let x_dims = if trans_x != right { [1, inner] } else { [inner, 1] };
    if live.dims != x_dims {
        return op.fail(format!("input of dimensions {:?}, the weights need {x_dims:?}", live.dims));
    }
    b.checked_shape(op, &[out])?;
    let y_dims = if right { vec![1, out] } else { vec![out, 1] };
    let weight = if inner_first { transpose(&weight, rows, columns) } else { weight };
    let mut bias = vec![Near::ZERO; out];
    if let Some((dims, c)) = b.numbers(op, 2)? {
        let per_output = match (right, &dims[..]) {
            (_, []) | (_, [1]) | (_, [1, 1]) => false,
            (true, [n]) | (true, [1, n]) | (false, [n, 1]) if *n == out => true,
            _ => return op.fail(format!("bias of dimensions {dims:?} for outputs {y_dims:?}")),
        };
        let scaled = |o: usize| c.get(if per_output { o } else { 0 }).map_or(Near::ZERO, |&c| c * beta);
        bias = (0..out).map(scaled).collect();
    }
    let live = if alpha == 1.0 {
        let bias = scale::shifts(op, &bias, &mut charge)?;
        dense(b, op, &live, Dense { weight, bias }, charge, y_dims)?
    } else {
        let plain = dense(b, op, &live, Dense { weight, bias: vec![0.0; out] }, charge, y_dims)?;
        scale::apply(b, op, plain, &vec![Near::from(alpha); out], &bias, Merge::Always)?
    };
    b.define(op, Value::Live(live))
}

pub fn matmul(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 2)?;
    let right = matches!(b.value(op, 1)?, Value::Const(_));
    if !right && matches!(b.value(op, 0)?, Value::Live(_)) {
        return op.fail("products of two computed values are not supported; export a network without attention");
    }
    let (live, constant) = if right { (b.live(op, 0)?, 1) } else { (b.live(op, 1)?, 0) };
    let mut charge = Charge::default();
    let (dims, weight) = b.weights(op, constant, &mut charge)?.ok_or_else(|| op.error("has no weights"))?;
    let leading = dims.iter().take_while(|&&d| d == 1).count().min(dims.len().saturating_sub(2));
    let [rows, columns] = dims[leading..] else {
        return op.fail(format!("weights of dimensions {dims:?}, a matrix is needed"));
    };
    let (inner, out) = if right { (rows, columns) } else { (columns, rows) };
    // The axis of the input that is summed over.
    let rank = live.dims.len();
    let axis = if right || rank == 1 { rank.checked_sub(1) } else { rank.checked_sub(2) };
    let Some(axis) = axis.filter(|&a| live.dims[a] == inner) else {
        return op.fail(format!("values of {:?} do not fit weights of {dims:?}", live.dims));
    };
    let weight = if right { transpose(&weight, rows, columns) } else { weight };
    let mut y_dims = live.dims.clone();
    y_dims[axis] = out;
    // More axes of the weights than of the input come in front.
    y_dims.splice(0..0, std::iter::repeat_n(1, dims.len().saturating_sub(rank.max(2))));
    b.checked_shape(op, &y_dims)?;
    let layer = Dense { weight, bias: vec![0.0; out] };
    let live = if live.len() == inner {
        dense(b, op, &live, layer, charge, y_dims)?
    } else {
        per_vector(b, op, &live, layer, charge, axis, y_dims)?
    };
    b.define(op, Value::Live(live))
}

/// A dense layer of every vector along `axis`: a convolution of one place, the axis made channels.
fn per_vector(
    b: &mut Builder,
    op: &Op,
    live: &Live,
    layer: Dense,
    charge: Charge,
    axis: usize,
    dims: Vec<usize>,
) -> OnnxResult<Live> {
    let old = &live.dims;
    let (before, inner, after): (usize, usize, usize) =
        (old[..axis].iter().product(), old[axis], old[axis + 1..].iter().product());
    let (out, each) = (layer.bias.len(), before * after);
    // From [before, inner, after] to [inner, before, after], and back.
    let turned = |b: &mut Builder, x: &Live, [first, second]: [usize; 2], dims: Vec<usize>| {
        b.spend(op, x.len())?;
        let positions = movement::view(0, &[second, first, after], &[after, second * after, 1].map(|s| s as isize));
        movement::select_live(b, op, x, &positions, dims)
    };
    let image = turned(b, live, [before, inner], vec![1, inner, 1, each])?;
    let from = b.seen_as(op, &image, Shape::new(inner, 1, each))?;
    let conv = Conv { weight: layer.weight, bias: layer.bias, kernel: [1, 1], stride: [1, 1], pad: [0, 0] };
    let y = b.push(op, Layer::Conv(conv), vec![from], vec![1, out, 1, each])?;
    charge.record(b, &y);
    let back = turned(b, &y, [out, before], dims)?;
    // Nothing else reads the convolution: where nothing was moved, what follows may go into it.
    Ok(if back.id == y.id { Live { sole: true, ..back } } else { back })
}

/// Adds a dense layer. Data movement in front of it is absorbed by moving the columns of the weights, where layers are
/// merged.
fn dense(
    b: &mut Builder,
    op: &Op,
    live: &Live,
    mut dense: Dense,
    charge: Charge,
    dims: Vec<usize>,
) -> OnnxResult<Live> {
    let mut from = live.id;
    if b.merging
        && from > 0
        && let node = &b.nodes[from - 1]
        && let (Layer::Gather(map), &[source]) = (&node.layer, &node.inputs[..])
        && 2 * map.len() >= b.shape(source).len()
    {
        let (inner, wide) = (map.len(), b.shape(source).len());
        let columns: Vec<Option<Source>> = map.clone();
        b.spend(op, wide.saturating_mul(dense.bias.len()))?;
        let mut weight = vec![0.0; wide * dense.bias.len()];
        for (row, moved) in dense.weight.chunks_exact(inner).zip(weight.chunks_exact_mut(wide)) {
            for (w, s) in row.iter().zip(&columns) {
                if let Some(s) = s {
                    moved[s.index as usize] = *w;
                }
            }
        }
        (dense.weight, from) = (weight, source);
    }
    let live = b.push(op, Layer::Dense(dense), vec![from], dims)?;
    charge.record(b, &live);
    Ok(live)
}

fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(matrix.len());
    for c in 0..columns {
        out.extend((0..rows).map(|r| matrix[r * columns + c]));
    }
    out
}

/// `y = scale x + shift` per channel with the statistics of training.
pub fn batch_norm(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    if op.int("training_mode", 0)? != 0 {
        return op.fail("is in training mode; call model.eval() before the export");
    }
    op.only(&["epsilon", "momentum", "spatial", "training_mode", "is_test"])?;
    b.at_most(op, 5)?;
    if op.int("spatial", 1)? != 1 {
        return op.fail("statistics per place are not supported; export with opset 9 or newer");
    }
    let epsilon = Near::from(op.float("epsilon", 1e-5)?);
    let x = b.live(op, 0)?;
    let &[1, channels, ..] = &x.dims[..] else {
        return op.fail(format!("needs channels on the second axis of {:?}", x.dims));
    };
    let mut vectors: Vec<Vec<Near>> = vec![];
    for k in 1..5 {
        let (dims, v) = b.numbers(op, k)?.ok_or_else(|| op.error(format!("lacks input {k}")))?;
        if v.len() != channels {
            return op.fail(format!("input {k} of dimensions {dims:?} for {channels} channels"));
        }
        vectors.push(v);
    }
    let [gamma, beta, mean, variance] = &vectors[..] else { unreachable!("four vectors were pushed") };
    let scale: Vec<Near> = gamma.iter().zip(variance).map(|(&g, &v)| g / (v + epsilon).sqrt()).collect();
    if scale.iter().any(|s| !s.is_finite()) {
        return op.fail("a variance is zero, negative or not a number; export the network again");
    }
    let shift: Vec<Near> = (0..channels).map(|c| beta[c] - mean[c] * scale[c]).collect();
    let ratio = |c: usize| {
        let offset = -mean[c] * gamma[c];
        let exact = [gamma[c], beta[c], offset, variance[c], epsilon].iter().all(|v| v.error == 0.0);
        let [factor, shift] = [gamma[c].value, beta[c].value];
        let divisor = [variance[c].value, epsilon.value];
        exact.then_some(Ratio { factor, offset: offset.value, divisor, root: true, shift })
    };
    let ratios = (0..channels).map(ratio).collect();
    let live = scale::apply_ratios(b, op, x, [&scale, &shift], ratios, Merge::Always)?;
    b.define(op, Value::Live(live))
}
