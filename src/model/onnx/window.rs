//! Windows sliding over images: what convolution and pooling have in common, and the pooling operators.

use super::super::{Layer, Pool, Source};
use super::build::{Builder, Live, Value};
use super::error::OnnxResult;
use super::near::Near;
use super::op::Op;
use super::scale::{self, Merge};
use crate::tensor::Shape;

/// Geometry of a window over rows and columns. A window over one axis only has one row.
pub struct Window {
    /// Taps as stored in the file.
    pub taps: [usize; 2],
    pub dilation: [usize; 2],
    /// Extent with dilation.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Zeros before and after.
    pub pad: [usize; 2],
    pub after: [usize; 2],
}

/// Reads the window attributes of an operator whose kernel has the sizes `kernel`, over an image of shape `x`;
/// `flat` for windows over one axis.
pub fn read(op: &Op, kernel: &[usize], x: Shape, flat: bool) -> OnnxResult<Window> {
    let n = kernel.len();
    if op.attribute("kernel_shape").is_some() && op.sizes("kernel_shape", n)? != kernel {
        return op.fail(format!("kernel_shape differs from the weights' {kernel:?}"));
    }
    let signed: Vec<i64> = kernel.iter().map(|&k| k as i64).collect();
    op.positive("kernel", &signed, n, 1)?;
    let two = |v: &[usize], row: usize| if flat { [row, v[0]] } else { [v[0], v[1]] };
    let (taps, stride) = (two(kernel, 1), two(&op.sizes("strides", n)?, 1));
    let dilation = two(&op.sizes("dilations", n)?, 1);
    let mut kernel = taps;
    for axis in 0..2 {
        kernel[axis] = (taps[axis] - 1) * dilation[axis] + 1;
    }
    let mut window = Window { taps, dilation, kernel, stride, pad: [0; 2], after: [0; 2] };
    let auto = op.text("auto_pad", "NOTSET")?;
    match auto {
        "NOTSET" => {
            if let Some(pads) = op.ints("pads")? {
                let pads = op.positive("pads", pads, 2 * n, 0)?;
                (window.pad, window.after) = (two(&pads[..n], 0), two(&pads[n..], 0));
            }
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for (axis, size) in [(0, x.height), (1, x.width)] {
                let out = size.div_ceil(stride[axis]);
                let reach = (out - 1) * stride[axis] + kernel[axis];
                // Convolution starts at the border then; of pooling, runtimes make this or that, or refuse it.
                if reach < size && op.node.op_type != "Conv" {
                    return op.fail(format!(
                        "{auto} of a window of {} with stride {} over {size} values would pad by less than nothing; \
                         export with pads",
                        kernel[axis], stride[axis]
                    ));
                }
                let total = reach.saturating_sub(size);
                let small = total / 2;
                window.pad[axis] = if auto == "SAME_UPPER" { small } else { total - small };
                window.after[axis] = total - window.pad[axis];
            }
        }
        _ => return op.fail("auto_pad is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER"),
    }
    Ok(window)
}

impl Window {
    /// Shape of the output with `channels` channels; `ceil` lets the last window hang over the border.
    pub fn output(&self, op: &Op, x: Shape, channels: usize, ceil: bool) -> OnnxResult<Shape> {
        let mut out = [0; 2];
        for (axis, n) in [(0, x.height), (1, x.width)] {
            let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
            let padded = n + self.pad[axis] + self.after[axis];
            let Some(room) = padded.checked_sub(kernel) else {
                return op.fail(format!("a window of {kernel} does not fit into {padded} values"));
            };
            out[axis] = room / stride + 1;
            // A last window that would start in the padding after the values is left out.
            if ceil && room % stride != 0 && out[axis] * stride < n + self.pad[axis] {
                out[axis] += 1;
            }
        }
        b_shape(op, channels, out)
    }

    /// For each output along an axis the places of its taps, where there is a value.
    fn places(&self, axis: usize, [x, y]: [Shape; 2]) -> Vec<Option<usize>> {
        let (n, out) = [(x.height, y.height), (x.width, y.width)][axis];
        let tap = |k: usize| {
            let (at, tap) = (k / self.taps[axis] * self.stride[axis], k % self.taps[axis] * self.dilation[axis]);
            (at + tap).checked_sub(self.pad[axis]).filter(|&p| p < n)
        };
        (0..out * self.taps[axis]).map(tap).collect()
    }

    /// For each output along an axis the number of its taps on values, or with `pad` on values and padding.
    fn counted(&self, axis: usize, [x, y]: [Shape; 2], pad: bool) -> Vec<usize> {
        let (n, out) = [(x.height, y.height), (x.width, y.width)][axis];
        let (first, end) =
            if pad { (0, self.pad[axis] + n + self.after[axis]) } else { (self.pad[axis], self.pad[axis] + n) };
        let at = |o: usize, k: usize| o * self.stride[axis] + k * self.dilation[axis];
        (0..out).map(|o| (0..self.taps[axis]).filter(|&k| (first..end).contains(&at(o, k))).count()).collect()
    }

    /// Does a window reach beyond the padding?
    fn overhangs(&self, x: Shape, y: Shape) -> bool {
        [(0, x.height, y.height), (1, x.width, y.width)].into_iter().any(|(axis, n, out)| {
            (out - 1) * self.stride[axis] + self.kernel[axis] > n + self.pad[axis] + self.after[axis]
        })
    }
}

fn b_shape(op: &Op, channels: usize, [height, width]: [usize; 2]) -> OnnxResult<Shape> {
    super::build::shape_of(&[1, channels, height, width])
        .ok_or_else(|| op.error(format!("an output of {channels}x{height}x{width} is empty or too large")))
}

/// ONNX dimensions of an image.
pub fn dims(s: Shape, flat: bool) -> Vec<usize> {
    if flat { vec![1, s.channels, s.width] } else { vec![1, s.channels, s.height, s.width] }
}

pub fn pool(b: &mut Builder, op: &Op, max: bool) -> OnnxResult<()> {
    let extra = if max { "storage_order" } else { "count_include_pad" };
    op.only(&["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides", extra])?;
    b.at_most(op, 1)?;
    let x = b.live(op, 0)?;
    let (from, shape) = b.image(op, &x)?;
    let flat = x.dims.len() == 3;
    let kernel = match op.ints("kernel_shape")? {
        Some(k) => op.positive("kernel_shape", k, if flat { 1 } else { 2 }, 1)?,
        None => return op.fail("has no kernel_shape"),
    };
    let window = read(op, &kernel, shape, flat)?;
    let y = window.output(op, shape, shape.channels, op.int("ceil_mode", 0)? != 0)?;
    let padded = window.pad != [0, 0] || window.after != [0, 0];
    let count_include_pad = !max && op.int("count_include_pad", 0)? != 0;
    let dilated = window.dilation != [1, 1] && window.taps != [1, 1];
    let dims = dims(y, flat);
    // Of a window that hangs over the padding, what lies beyond counts nowhere.
    let uneven = count_include_pad && window.overhangs(shape, y);
    let live = if dilated {
        let side = unrolled(b, op, from, &window, [shape, y], max)?;
        let width = window.taps[0] * window.taps[1];
        let pool = Pool { kernel: [1, width], stride: [1, width], pad: [0, 0], count_include_pad: false };
        let layer = if max { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) };
        b.push_shaped(op, layer, vec![side.id], y, dims)?
    } else {
        let pool = Pool {
            kernel: window.kernel,
            stride: window.stride,
            pad: window.pad,
            count_include_pad: count_include_pad && (padded || uneven),
        };
        let layer = if max { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) };
        b.push_shaped(op, layer, vec![from], y, dims)?
    };
    let live = if !max && (dilated || uneven) {
        recounted(b, op, live, &window, [shape, y], count_include_pad)?
    } else {
        live
    };
    b.define(op, Value::Live(live))
}

/// The values under each window side by side, one row of them per window, zero where there is none. For a maximum, another
/// value of the same window stands there.
fn unrolled(b: &mut Builder, op: &Op, from: usize, window: &Window, [x, y]: [Shape; 2], max: bool) -> OnnxResult<Live> {
    let [rows, columns] = [0, 1].map(|axis| window.places(axis, [x, y]));
    let taps = window.taps[0] * window.taps[1];
    b.spend(op, 2 * y.len().saturating_mul(taps))?;
    let mut map = Vec::with_capacity(y.len() * taps);
    for c in 0..x.channels {
        for row in rows.chunks_exact(window.taps[0]) {
            for column in columns.chunks_exact(window.taps[1]) {
                let at = |r: &Option<usize>, k: &Option<usize>| Some((c * x.height + (*r)?) * x.width + (*k)?);
                let places: Vec<Option<usize>> =
                    row.iter().flat_map(|r| column.iter().map(move |k| at(r, k))).collect();
                let Some(first) = places.iter().copied().find(Option::is_some) else {
                    return op.fail("leaves a window without a value");
                };
                let filled = places.into_iter().map(|p| if max { p.or(first) } else { p });
                map.extend(filled.map(|p| p.map(|index| Source { input: 0, index: index as u32 })));
            }
        }
    }
    let dims = vec![1, y.channels, y.height, y.width * taps];
    b.gather(op, map, vec![from], dims)
}

/// An average over all taps of a window made one over those that count.
fn recounted(
    b: &mut Builder,
    op: &Op,
    live: Live,
    window: &Window,
    [x, y]: [Shape; 2],
    include_pad: bool,
) -> OnnxResult<Live> {
    let [rows, columns] = [0, 1].map(|axis| window.counted(axis, [x, y], include_pad));
    let taps = (window.taps[0] * window.taps[1]) as f64;
    b.spend(op, 8 * y.len())?;
    let plane = rows.iter().flat_map(|r| columns.iter().map(move |c| r * c));
    let factor = |n: usize| Near::from(taps) / Near::from(n as f64);
    let plane: Vec<Near> = plane.map(factor).collect();
    let factors: Vec<Near> = (0..y.channels).flat_map(|_| plane.iter().copied()).collect();
    scale::apply(b, op, live, &factors, &vec![Near::ZERO; y.len()], Merge::Needed)
}

/// GlobalAveragePool and GlobalMaxPool.
pub fn global_pool(b: &mut Builder, op: &Op, max: bool) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 1)?;
    let x = b.live(op, 0)?;
    let (from, shape) = b.image(op, &x)?;
    let pool = Pool { kernel: [shape.height, shape.width], stride: [1, 1], pad: [0, 0], count_include_pad: false };
    let layer = if max { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) };
    let y = Shape::flat(shape.channels);
    let live = b.push_shaped(op, layer, vec![from], y, dims(y, x.dims.len() == 3))?;
    b.define(op, Value::Live(live))
}
