//! Test cases of the convolution kernels: odd shapes, and shapes that do not divide the register tile.

use super::{Charge, FORWARD, FORWARD_SLICED, Geometry, INTERVAL, INTERVAL_SLICED, forward, interval, sums};
use crate::ops::case::{Case, Check, blank, random};
use crate::ops::conv_grad::{BIAS_GRAD, WEIGHT_GRAD, bias_grad, input_grad, input_grad_kernel, weight_grad};
use crate::rng::Rng;
use crate::rounding::{sum_error, up};
use crate::tensor::Shape;

fn geometries() -> Vec<(&'static str, Geometry, usize)> {
    let grouped = |groups, input: [usize; 3], output: [usize; 3], kernel, stride, pad| Geometry {
        input: Shape::new(input[0], input[1], input[2]),
        output: Shape::new(output[0], output[1], output[2]),
        kernel,
        stride,
        pad,
        groups,
    };
    let g = |input, output, kernel, stride, pad| grouped(1, input, output, kernel, stride, pad);
    vec![
        ("one channel, stride 2", g([1, 6, 6], [3, 3, 3], [4, 4], [2, 2], [1, 1]), 16),
        ("13 outputs, odd sizes", g([3, 5, 7], [13, 5, 7], [3, 3], [1, 1], [1, 1]), 80),
        ("whole tiles", g([8, 4, 4], [16, 4, 4], [3, 3], [1, 1], [1, 1]), 32),
        ("oblong kernel and stride", g([2, 7, 5], [8, 3, 5], [2, 3], [2, 1], [0, 1]), 48),
        ("stride over the kernel", g([4, 4, 4], [5, 2, 2], [1, 1], [2, 2], [0, 0]), 16),
        ("window past both edges", g([1, 2, 2], [2, 3, 3], [5, 5], [1, 1], [3, 3]), 16),
        ("one tap in the padding", g([3, 1, 1], [5, 1, 1], [1, 1], [2, 2], [1, 1]), 32),
        ("one tap, padding all around", g([2, 3, 2], [9, 5, 4], [1, 1], [1, 1], [1, 1]), 48),
        ("stride and padding over the kernel", g([3, 4, 5], [6, 3, 3], [2, 1], [4, 5], [3, 4]), 16),
        ("kernel over the input", g([2, 2, 3], [4, 1, 1], [5, 7], [1, 1], [2, 3]), 32),
        ("dense, many blocks", Geometry::dense(150, 21), 64),
        ("dense, one output", Geometry::dense(65, 1), 16),
        ("many channels", g([67, 3, 2], [9, 3, 2], [3, 3], [1, 1], [1, 1]), 48),
        ("a group each", grouped(21, [21, 5, 4], [21, 3, 2], [3, 3], [2, 2], [1, 1]), 32),
        ("a group each, of two outputs", grouped(6, [6, 3, 3], [12, 3, 3], [3, 3], [1, 1], [1, 1]), 16),
        ("groups across tiles", grouped(3, [9, 4, 4], [15, 4, 4], [3, 3], [1, 1], [1, 1]), 48),
        ("groups of whole tiles", grouped(2, [16, 3, 3], [32, 3, 3], [1, 1], [1, 1], [0, 0]), 64),
        ("groups of many channels", grouped(2, [134, 2, 2], [18, 2, 2], [3, 3], [1, 1], [1, 1]), 16),
        ("groups of one place", grouped(4, [12, 1, 1], [20, 1, 1], [3, 3], [1, 1], [1, 1]), 32),
        ("groups of an image's channels", grouped(3, [3, 6, 6], [6, 3, 3], [4, 4], [2, 2], [1, 1]), 16),
    ]
}

/// Calls `each(weight index, input value, output value)` for every product of the layer.
fn products(g: &Geometry, mut each: impl FnMut(usize, usize, usize)) {
    let (i, o) = (g.input, g.output);
    for (co, oy, ox) in places(&o) {
        for ci in 0..i.channels {
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    let y = (oy * g.stride[0] + ky).wrapping_sub(g.pad[0]);
                    let x = (ox * g.stride[1] + kx).wrapping_sub(g.pad[1]);
                    if y < i.height && x < i.width {
                        let w = ((ci * g.kernel[0] + ky) * g.kernel[1] + kx) * o.channels + co;
                        each(w, (ci * i.height + y) * i.width + x, (co * o.height + oy) * o.width + ox);
                    }
                }
            }
        }
    }
}

/// Packed weights with zeros between groups.
pub(super) fn within_groups(g: &Geometry, mut w: Vec<f32>) -> Vec<f32> {
    let (inputs, outputs) = (g.input.channels / g.groups, g.output.channels / g.groups);
    for (i, w) in w.iter_mut().enumerate() {
        let (channel, output) = (i / g.output.channels / (g.kernel[0] * g.kernel[1]), i % g.output.channels);
        if channel / inputs != output / outputs {
            *w = 0.0;
        }
    }
    w
}

fn places(s: &Shape) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
    let Shape { channels, height, width } = *s;
    (0..channels).flat_map(move |c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
}

/// Test cases of the convolution kernels.
pub(in crate::ops) fn cases() -> Vec<Case> {
    geometries().into_iter().enumerate().flat_map(|(seed, (label, g, lanes))| layer(seed, label, g, lanes)).collect()
}

fn layer(seed: usize, label: &str, g: Geometry, lanes: usize) -> Vec<Case> {
    let mut rng = Rng::new(seed as u64, 0);
    let (inputs, outputs) = (g.input.len() * lanes, g.output.len() * lanes);
    let weights = g.weights();
    let x = random(&mut rng, inputs);
    let gy = random(&mut rng, outputs);
    let w = within_groups(&g, random(&mut rng, weights));
    let b = random(&mut rng, g.output.channels);
    let sum = |n: usize| Check::Value { abs: 1e-6 * n as f32, rel: 1e-6 };
    let everywhere = g.output.height * g.output.width * lanes;
    vec![
        Case::new(
            sums(&g, lanes / 8, &FORWARD, &FORWARD_SLICED).0,
            label,
            vec![x.clone(), w.clone(), b.clone()],
            vec![blank(outputs)],
            sum(g.fan_in()),
            move |device, r, o| forward(device, &g, &r[0], &r[1], &r[2], &o[0], lanes),
        ),
        bounds(&mut rng, label, g, lanes, [&x, &w, &b]),
        Case::new(
            input_grad_kernel(&g).0,
            label,
            vec![gy.clone(), w],
            vec![blank(inputs)],
            sum(g.fan_out()),
            move |device, r, o| input_grad(device, &g, &r[0], &r[1], &o[0], lanes),
        ),
        Case::new(
            &WEIGHT_GRAD,
            label,
            vec![x, gy.clone()],
            vec![blank(weights)],
            sum(everywhere),
            move |device, r, o| weight_grad(device, &g, &r[0], &r[1], &o[0], lanes),
        ),
        Case::new(&BIAS_GRAD, label, vec![gy], vec![blank(g.output.channels)], sum(everywhere), move |device, r, o| {
            bias_grad(device, &g, &r[0], &o[0], lanes)
        }),
    ]
}

/// Exact ranges come from f64 sums of f32 products, whose errors lie far below the slack that is charged.
fn bounds(rng: &mut Rng, label: &str, g: Geometry, lanes: usize, [c, w, b]: [&Vec<f32>; 3]) -> Case {
    let inflate = 1.001 * sum_error(g.fan_in());
    let radius: Vec<f32> = c.iter().map(|_| 1e-3 * rng.uniform()).collect();
    let charged = radius.iter().zip(c).map(|(r, c)| up(up(r + up(inflate * c.abs())))).collect();
    let plane = g.output.height * g.output.width * lanes;
    let mut exact: Vec<[f64; 2]> = (0..g.output.len() * lanes).map(|i| [f64::from(b[i / plane]); 2]).collect();
    products(&g, |wi, from, to| {
        for lane in 0..lanes {
            let (w, at) = (f64::from(w[wi]), from * lanes + lane);
            let (centre, spread) = (w * f64::from(c[at]), w.abs() * f64::from(radius[at]));
            let range = &mut exact[to * lanes + lane];
            *range = [range[0] + centre - spread, range[1] + centre + spread];
        }
    });
    let len = exact.len();
    Case::new(
        sums(&g, lanes / 4, &INTERVAL, &INTERVAL_SLICED).0,
        label,
        vec![c.clone(), charged, w.clone(), b.clone()],
        vec![blank(len), blank(len)],
        Check::Interval { exact, abs: 1e-5, rel: 0.04 },
        move |device, r, o| {
            let charge = Charge::new(g.fan_in(), 1.0);
            interval(device, &g, [&r[0], &r[1]], &r[2], &r[3], [&o[0], &o[1]], lanes, charge, 0.0)
        },
    )
}
