//! Windows sliding over images: what convolution and pooling have in common, and the pooling operators.

use super::super::{Layer, Pool};
use super::build::{Builder, Value};
use super::error::OnnxResult;
use super::op::Op;
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
    if window.dilation != [1, 1] && window.taps != [1, 1] {
        return op.fail("dilated pooling is not supported");
    }
    let y = window.output(op, shape, shape.channels, op.int("ceil_mode", 0)? != 0)?;
    let padded = window.pad != [0, 0] || window.after != [0, 0];
    let count_include_pad = !max && op.int("count_include_pad", 0)? != 0;
    if count_include_pad && window.overhangs(shape, y) {
        return op.fail("ceil_mode with count_include_pad is not supported where a window hangs over the padding");
    }
    let pool = Pool {
        kernel: window.kernel,
        stride: window.stride,
        pad: window.pad,
        count_include_pad: count_include_pad && padded,
    };
    let layer = if max { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) };
    let live = b.push_shaped(op, layer, vec![from], y, dims(y, flat))?;
    b.define(op, Value::Live(live))
}

/// GlobalAveragePool and GlobalMaxPool.
pub fn global_pool(b: &mut Builder, op: &Op, max: bool) -> OnnxResult<()> {
    op.only(&[])?;
    b.at_most(op, 1)?;
    let x = b.live(op, 0)?;
    whole_image(b, op, x.clone(), max, dims(Shape::flat(x.dims.get(1).copied().unwrap_or(0)), x.dims.len() == 3))
}

/// ReduceMean over rows and columns.
pub fn reduce_mean(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    op.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
    b.at_most(op, 2)?;
    let x = b.live(op, 0)?;
    let rank = x.dims.len();
    let given = b.ints(op, 1)?.or(op.ints("axes")?).unwrap_or(&[]);
    let mut axes = given.iter().take(8).map(|&a| op.axis(a, rank)).collect::<OnnxResult<Vec<_>>>()?;
    axes.sort_unstable();
    if axes != [2, 3] || rank != 4 {
        return op.fail("only the mean over the rows and columns of an image is supported");
    }
    let keep = op.int("keepdims", 1)? != 0;
    let dims = if keep { vec![1, x.dims[1], 1, 1] } else { vec![1, x.dims[1]] };
    whole_image(b, op, x, false, dims)
}

fn whole_image(b: &mut Builder, op: &Op, x: super::build::Live, max: bool, dims: Vec<usize>) -> OnnxResult<()> {
    let (from, shape) = b.image(op, &x)?;
    let (height, width) = (shape.height, shape.width);
    let pool = Pool { kernel: [height, width], stride: [1, 1], pad: [0, 0], count_include_pad: false };
    let layer = if max { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) };
    let live = b.push_shaped(op, layer, vec![from], Shape::flat(shape.channels), dims)?;
    b.define(op, Value::Live(live))
}
