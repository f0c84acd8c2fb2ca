//! Test cases of the pooling kernels, and their windows written out plainly in f64.

use super::*;
use crate::ops::case::{Case, Check, awkward, blank, random};
use crate::rng::Rng;
use crate::tensor::Shape;

fn geometries() -> Vec<(Geometry, usize)> {
    let plain = Geometry {
        input: Shape::new(2, 6, 8),
        output: Shape::new(2, 3, 4),
        kernel: [2, 2],
        stride: [2, 2],
        pad: [0, 0],
        count_include_pad: false,
    };
    let overlapping = Geometry {
        input: Shape::new(3, 7, 5),
        output: Shape::new(3, 4, 3),
        kernel: [3, 3],
        stride: [2, 2],
        pad: [1, 1],
        ..plain
    };
    // Windows of the last column hang over a border that has no padding.
    let ragged = Geometry {
        input: Shape::new(1, 5, 4),
        output: Shape::new(1, 5, 2),
        kernel: [2, 3],
        stride: [1, 2],
        pad: [1, 0],
        count_include_pad: true,
    };
    let global = Geometry { output: Shape::new(2, 1, 1), kernel: [6, 8], stride: [1, 1], ..plain };
    vec![
        (plain, 16),
        (overlapping, 80),
        (ragged, 16),
        (Geometry { count_include_pad: true, ..overlapping }, 16),
        (global, 32),
    ]
}

/// Flat input positions under an output value, with the divisor of the mean.
fn window(g: &Geometry, output: usize) -> (Vec<usize>, f64) {
    let (ox, rest) = (output % g.output.width, output / g.output.width);
    let (oy, channel) = (rest % g.output.height, rest / g.output.height);
    let mut inside = Vec::new();
    for ky in 0..g.kernel[0] {
        for kx in 0..g.kernel[1] {
            let (y, x) = (oy * g.stride[0] + ky, ox * g.stride[1] + kx);
            let (Some(y), Some(x)) = (y.checked_sub(g.pad[0]), x.checked_sub(g.pad[1])) else { continue };
            if y < g.input.height && x < g.input.width {
                inside.push((channel * g.input.height + y) * g.input.width + x);
            }
        }
    }
    let count = if g.count_include_pad { g.kernel[0] * g.kernel[1] } else { inside.len() };
    (inside, count as f64)
}

/// Ends of the exact interval of every output value, `[element][lane]`.
fn exact(g: &Geometry, lanes: usize, max: bool, c: &[f32], r: &[f32]) -> Vec<[f64; 2]> {
    let mut ends = Vec::new();
    for output in 0..g.output.len() {
        let (inside, count) = window(g, output);
        for lane in 0..lanes {
            ends.push([-1.0, 1.0].map(|side| {
                let end = inside.iter().map(|k| k * lanes + lane).map(|j| f64::from(c[j]) + side * f64::from(r[j]));
                if max { end.fold(f64::MIN, f64::max) } else { end.sum::<f64>() / count }
            }));
        }
    }
    ends
}

/// Test cases of the pooling kernels.
pub(in crate::ops) fn cases() -> Vec<Case> {
    let mut rng = Rng::new(5, 0);
    let mut cases = Vec::new();
    for (g, lanes) in geometries() {
        let (inputs, outputs) = (g.input.len() * lanes, g.output.len() * lanes);
        let label = &format!("{} to {}, window {:?}, {lanes} lanes", g.input, g.output, g.kernel);
        // Few distinct values, so that windows have several maxima.
        let x: Vec<f32> = (0..inputs).map(|_| rng.below(5) as f32 - 2.0).collect();
        let gy = random(&mut rng, outputs);
        let (x_like, y_like) = (vec![blank(inputs)], vec![blank(outputs)]);
        let close = || Check::Value { abs: 1e-6, rel: 1e-6 };
        cases.extend([
            Case::new(&MAX_FORWARD, label, vec![x.clone()], y_like.clone(), Check::Exact, move |device, r, w| {
                max_forward(device, &g, &r[0], &w[0], lanes)
            }),
            Case::new(
                &MAX_BACKWARD,
                label,
                vec![x.clone(), gy.clone()],
                x_like.clone(),
                close(),
                move |device, r, w| max_backward(device, &g, &r[0], &r[1], &w[0], lanes),
            ),
            Case::new(&AVERAGE_FORWARD, label, vec![x], y_like, close(), move |device, r, w| {
                average_forward(device, &g, &r[0], &w[0], lanes)
            }),
            Case::new(&AVERAGE_BACKWARD, label, vec![gy], x_like, close(), move |device, r, w| {
                average_backward(device, &g, &r[0], &w[0], lanes)
            }),
        ]);
        for (values, abs) in [(random as fn(&mut Rng, usize) -> Vec<f32>, 5e-5), (awkward, f64::INFINITY)] {
            let (c, r) = (values(&mut rng, inputs), values(&mut rng, inputs));
            let r: Vec<f32> = r.into_iter().map(f32::abs).collect();
            let writes = vec![blank(outputs), blank(outputs)];
            let check = |max: bool| Check::Interval { exact: exact(&g, lanes, max, &c, &r), abs, rel: 0.0 };
            let reads = vec![c.clone(), r.clone()];
            cases.push(Case::new(&MAX_INTERVAL, label, reads, writes.clone(), check(true), move |device, r, w| {
                max_interval(device, &g, &r[0], &r[1], &w[0], &w[1], lanes, 1e-6)
            }));
            let reads = vec![c.clone(), r.clone()];
            cases.push(Case::new(&AVERAGE_INTERVAL, label, reads, writes, check(false), move |device, r, w| {
                average_interval(device, &g, &r[0], &r[1], &w[0], &w[1], lanes, 1e-6, 0.0)
            }));
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Buffer, Device};

    fn run(outputs: usize, dispatch: impl FnOnce(&Device, &Buffer) -> crate::error::Result<()>) -> Vec<f32> {
        let device = Device::cpu();
        let y = device.alloc(outputs).unwrap();
        dispatch(&device, &y).unwrap();
        device.read(&y).unwrap()
    }

    #[test]
    fn values_are_those_of_the_windows() {
        let mut rng = Rng::new(5, 1);
        for (g, lanes) in geometries() {
            let x = random(&mut rng, g.input.len() * lanes);
            let zeros = vec![0.0; x.len()];
            let forward = |max: bool| {
                run(g.output.len() * lanes, |d, y| {
                    let x = d.upload(&x)?;
                    if max { max_forward(d, &g, &x, y, lanes) } else { average_forward(d, &g, &x, y, lanes) }
                })
            };
            for max in [false, true] {
                for (got, expected) in forward(max).into_iter().zip(exact(&g, lanes, max, &x, &zeros)) {
                    assert!((f64::from(got) - expected[0]).abs() < 1e-6, "{got} {expected:?} {g:?}");
                }
            }
        }
    }

    /// The maps are piecewise linear, so differences over a step that changes no maximum are exact.
    #[test]
    fn gradients_are_finite_differences() {
        let mut rng = Rng::new(5, 2);
        for (g, lanes) in geometries() {
            // Distinct values, at least two steps apart.
            let mut order: Vec<usize> = (0..g.input.len() * lanes).collect();
            rng.shuffle(&mut order);
            let x: Vec<f32> = order.iter().map(|&i| i as f32).collect();
            let gy = random(&mut rng, g.output.len() * lanes);
            let total = |x: &[f32], lane: usize, max: bool| -> f64 {
                let ends = exact(&g, lanes, max, x, &vec![0.0; x.len()]);
                let terms = ends.iter().zip(&gy).enumerate().filter(|(i, _)| i % lanes == lane);
                terms.map(|(_, (y, g))| y[0] * f64::from(*g)).sum()
            };
            for max in [false, true] {
                let gx = run(x.len(), |d, gx| {
                    let (x, gy) = (d.upload(&x)?, d.upload(&gy)?);
                    match max {
                        true => max_backward(d, &g, &x, &gy, gx, lanes),
                        false => average_backward(d, &g, &gy, gx, lanes),
                    }
                });
                for _ in 0..40 {
                    let i = rng.below(x.len());
                    let shifted = |h: f32| {
                        let mut x = x.clone();
                        x[i] += h;
                        total(&x, i % lanes, max)
                    };
                    let slope = (shifted(0.25) - shifted(-0.25)) / 0.5;
                    assert!((f64::from(gx[i]) - slope).abs() < 1e-5, "{i}: {} {slope} {g:?} {max}", gx[i]);
                }
            }
        }
    }

    #[test]
    fn a_gradient_goes_to_the_first_of_equal_maxima() {
        let (g, lanes) = geometries()[0];
        let (x, gy) = (vec![1.0f32; g.input.len() * lanes], vec![1.0f32; g.output.len() * lanes]);
        let gx = run(x.len(), |d, gx| max_backward(d, &g, &d.upload(&x)?, &d.upload(&gy)?, gx, lanes));
        for (i, v) in gx.iter().enumerate() {
            let pixel = i / lanes % (g.input.height * g.input.width);
            let first = pixel / g.input.width % 2 == 0 && pixel % 2 == 0;
            assert_eq!(*v, f32::from(u8::from(first)));
        }
    }
}
