//! ConvTranspose: a convolution over the image with zeros between its values.

use super::super::{Conv, Layer, Source};
use super::affine::Operands;
use super::build::{Builder, Value};
use super::error::OnnxResult;
use super::op::Op;
use super::window;
use crate::tensor::Shape;

/// One axis of the geometry.
struct Axis {
    values: usize,
    out: usize,
    stride: usize,
    /// Extent of the kernel with dilation.
    reach: usize,
    /// Zeros in front of the first value; cut off instead where negative.
    lead: i64,
}

impl Axis {
    /// The value at place `k` of the line that the kernel slides over.
    fn source(&self, k: usize) -> Option<usize> {
        let at = usize::try_from(k as i64 - self.lead).ok()?;
        (at.is_multiple_of(self.stride) && at / self.stride < self.values).then_some(at / self.stride)
    }

    fn line(&self) -> usize {
        self.out + self.reach - 1
    }
}

pub fn conv_transpose(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    let known = ["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"];
    op.only(&known)?;
    let mut operands = Operands::read(b, op)?;
    let (from, shape, flat, rank) = (operands.from, operands.shape, operands.flat, operands.rank());
    let (dims, group) = (operands.dims.clone(), operands.group);
    if dims[0] != shape.channels {
        return operands.misfit(op);
    }
    let (depth, each) = (shape.channels / group, dims[1]);
    if shape.channels % group != 0 || each == 0 {
        return op.fail(format!("weights {dims:?} in {group} groups do not fit {} input channels", shape.channels));
    }
    let out = each.checked_mul(group).ok_or_else(|| op.error("weights are too large once expanded"))?;
    let two = |v: &[usize], row: usize| if flat { [row, v[0]] } else { [v[0], v[1]] };
    let taps = two(&dims[2..], 1);
    let dilation = two(&op.sizes("dilations", rank)?, 1);
    let axes = axes(op, shape, taps, dilation, rank)?;
    let kernel = [axes[0].reach, axes[1].reach];
    let expanded = kernel.iter().chain([&out, &shape.channels]).try_fold(1usize, |n, &d| n.checked_mul(d));
    b.spend(op, expanded.ok_or_else(|| op.error("weights are too large once expanded"))?)?;
    let mut full = vec![0.0; expanded.unwrap_or(0)];
    let [kh, kw] = taps;
    for (k, &w) in operands.weight.iter().enumerate() {
        let (kx, ky, o, i) = (k % kw, k / kw % kh, k / (kw * kh) % each, k / (kw * kh * each));
        let output = i / depth * each + o;
        // The kernel of the convolution is that of the file, turned round.
        let row = (output * shape.channels + i) * kernel[0] + kernel[0] - 1 - ky * dilation[0];
        full[row * kernel[1] + kernel[1] - 1 - kx * dilation[1]] = w;
    }
    let bias = operands.bias(b, op, out)?;
    let output = Shape::new(out, axes[0].out, axes[1].out);
    b.checked_shape(op, &[1, out, axes[0].out, axes[1].out])?;
    let plain = axes.iter().all(|a| a.stride == 1 && a.lead >= 0);
    let (from, pad) = if plain {
        (from, [axes[0].lead as usize, axes[1].lead as usize])
    } else {
        let wide = [1, shape.channels, axes[0].line(), axes[1].line()];
        let len = b.checked_shape(op, &wide)?.len();
        b.spend(op, len)?;
        let mut map = Vec::with_capacity(len);
        for c in 0..shape.channels {
            for row in (0..wide[2]).map(|r| axes[0].source(r)) {
                for column in (0..wide[3]).map(|k| axes[1].source(k)) {
                    let index = row.zip(column).map(|(r, k)| (c * shape.height + r) * shape.width + k);
                    map.push(index.map(|index| Source { input: 0, index: index as u32 }));
                }
            }
        }
        (b.gather(op, map, vec![from], wide.to_vec())?.id, [0, 0])
    };
    let layer = Conv { weight: full, bias, kernel, stride: [1, 1], pad };
    let live = b.push_shaped(op, Layer::Conv(layer), vec![from], output, window::dims(output, flat))?;
    operands.charge.record(b, &live);
    b.define(op, Value::Live(live))
}

fn axes(op: &Op, x: Shape, taps: [usize; 2], dilation: [usize; 2], rank: usize) -> OnnxResult<[Axis; 2]> {
    let flat = rank == 1;
    let two = |v: &[usize], row: usize| if flat { [row, v[0]] } else { [v[0], v[1]] };
    if taps.contains(&0) || taps.iter().any(|&t| t > 1 << 16) {
        return op.fail(format!("a kernel of {taps:?} makes no sense"));
    }
    let stride = two(&op.sizes("strides", rank)?, 1);
    let list = |name: &str, n: usize, least| op.ints(name)?.map(|l| op.positive(name, l, n, least)).transpose();
    let extra = list("output_padding", rank, 0)?.map_or([0; 2], |v| two(&v, 0));
    let wanted = list("output_shape", rank, 1)?.map(|v| two(&v, 1));
    let pads = list("pads", 2 * rank, 0)?.map_or([[0; 2]; 2], |v| [two(&v[..rank], 0), two(&v[rank..], 0)]);
    let auto = op.text("auto_pad", "NOTSET")?;
    let same = ["SAME_UPPER", "SAME_LOWER"].contains(&auto);
    if !same && !["NOTSET", "VALID"].contains(&auto) {
        return op.fail("auto_pad is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER");
    }
    let mut found = vec![];
    for (k, values) in [x.height, x.width].into_iter().enumerate() {
        let reach = (taps[k] - 1) * dilation[k] + 1;
        let whole = stride[k] * (values - 1) + extra[k] + reach;
        let target = match wanted {
            Some(sizes) => Some(sizes[k]),
            None => (same && !(flat && k == 0)).then_some(values * stride[k]),
        };
        let (before, out) = match target {
            Some(out) => {
                let total = whole.saturating_sub(out);
                (if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 }, out)
            }
            None => match whole.checked_sub(pads[0][k] + pads[1][k]).filter(|&n| n > 0) {
                Some(out) => (pads[0][k], out),
                None => return op.fail("its padding leaves no output"),
            },
        };
        found.push(Axis { values, out, stride: stride[k], reach, lead: reach as i64 - 1 - before as i64 });
    }
    found.try_into().map_err(|_| op.error("has no two axes"))
}
