//! The network in rational arithmetic.

use num_rational::BigRational;

use crate::model::{Layer, Model, Pool};

pub fn rational(x: f64) -> BigRational {
    BigRational::from_float(x).expect("finite")
}

/// Every value of the graph, exactly.
pub fn forward_exact(model: &Model, input: &[f64]) -> Vec<Vec<BigRational>> {
    let zero = || BigRational::from_integer(0.into());
    let mut values: Vec<Vec<BigRational>> = vec![input.iter().map(|&v| rational(v)).collect()];
    for node in &model.nodes {
        let (from, to) = (model.shape(node.inputs[0]), node.shape);
        let x = &values[node.inputs[0]];
        let affine = |bias: &dyn Fn(usize) -> f32, entries: &dyn Fn(usize) -> Vec<(usize, f32)>| -> Vec<BigRational> {
            let output = |k: usize| {
                entries(k)
                    .iter()
                    .fold(rational(f64::from(bias(k))), |sum, &(i, w)| sum + rational(f64::from(w)) * &x[i])
            };
            (0..to.len()).map(output).collect()
        };
        let inside = |k: usize, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]| -> Vec<[usize; 3]> {
            let (row, column) = (k % (to.height * to.width) / to.width, k % to.width);
            let mut taps = Vec::new();
            for ky in 0..kernel[0] {
                for kx in 0..kernel[1] {
                    let (y, x) =
                        ((row * stride[0] + ky).checked_sub(pad[0]), (column * stride[1] + kx).checked_sub(pad[1]));
                    if let (Some(y), Some(x)) = (y.filter(|y| *y < from.height), x.filter(|x| *x < from.width)) {
                        taps.push([ky * kernel[1] + kx, y, x]);
                    }
                }
            }
            taps
        };
        let window = |k: usize, p: &Pool| -> Vec<usize> {
            let base = k / (to.height * to.width) * from.height;
            inside(k, p.kernel, p.stride, p.pad).iter().map(|[_, y, x]| (base + y) * from.width + x).collect()
        };
        let value: Vec<BigRational> = match &node.layer {
            Layer::Conv(c) => affine(&|k| c.bias[k / (to.height * to.width)], &|k| {
                let filter = k / (to.height * to.width);
                let taps = inside(k, c.kernel, c.stride, c.pad);
                let area = c.kernel[0] * c.kernel[1];
                (0..from.channels)
                    .flat_map(|i| {
                        taps.iter().map(move |[t, y, x]| {
                            ((i * from.height + y) * from.width + x, (filter * from.channels + i) * area + t)
                        })
                    })
                    .map(|(at, w)| (at, c.weight[w]))
                    .collect()
            }),
            Layer::Dense(d) => {
                affine(&|k| d.bias[k], &|k| (0..x.len()).map(|i| (i, d.weight[k * x.len() + i])).collect())
            }
            Layer::Scale { scale, shift } => affine(&|k| shift[k], &|k| vec![(k, scale[k])]),
            Layer::Relu => x.iter().map(|v| v.clone().max(zero())).collect(),
            Layer::Activation(_) => unreachable!("the networks of these tests have none"),
            Layer::Add => x.iter().zip(&values[node.inputs[1]]).map(|(a, b)| a + b).collect(),
            Layer::MaxPool(p) => {
                (0..to.len()).map(|k| window(k, p).into_iter().map(|i| x[i].clone()).max().unwrap()).collect()
            }
            Layer::AvgPool(p) => (0..to.len())
                .map(|k| {
                    let window = window(k, p);
                    let count = if p.count_include_pad { p.kernel[0] * p.kernel[1] } else { window.len() };
                    window.iter().fold(zero(), |sum, &i| sum + &x[i]) / BigRational::from_integer(count.into())
                })
                .collect(),
            Layer::Gather(map) => map
                .iter()
                .map(|s| s.map_or(zero(), |s| values[node.inputs[s.input as usize]][s.index as usize].clone()))
                .collect(),
        };
        values.push(value);
    }
    values
}
