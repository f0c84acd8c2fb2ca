//! Rows of linear bounds from the outputs of affine layers to their inputs.

use super::bounds::share;
use super::rows::{Coefficients, LANES, Lanes, is_live, split};
use super::window::axes;
use crate::model::{Conv, Dense, Pool};
use crate::tensor::Shape;

/// `sum_j a_j W_jk` for every input of a convolution: one gathered sum per input.
pub fn through_conv(conv: &Conv, from: Shape, c: &Coefficients) -> Coefficients {
    let [rows, columns] = axes(conv.kernel, conv.stride, conv.pad, from, c.shape);
    let [kh, kw] = conv.kernel;
    let groups = conv.groups(from.channels);
    let of = |channels: usize, group: usize| channels / groups * group..channels / groups * (group + 1);
    let live: Vec<bool> = c.a.iter().map(is_live).collect();
    let mut below = Coefficients::zeros(from, rows.below(&c.rows), columns.below(&c.columns));
    let inside = |r: std::ops::Range<usize>, w: &std::ops::Range<usize>| r.start.max(w.start)..r.end.min(w.end);
    let mut products: Vec<(usize, usize)> = Vec::new();
    for row in below.rows.clone() {
        for (column, group) in below.columns.clone().flat_map(|column| (0..groups).map(move |group| (column, group))) {
            products.clear();
            for y in inside(rows.readers(row), &c.rows) {
                for x in inside(columns.readers(column), &c.columns) {
                    let (ky, kx) = (row + conv.pad[0] - y * conv.stride[0], column + conv.pad[1] - x * conv.stride[1]);
                    for filter in of(c.shape.channels, group) {
                        let place = c.place(filter, y, x);
                        if live[place] {
                            products.push((place, (filter * from.channels * kh + ky) * kw + kx));
                        }
                    }
                }
            }
            for channel in of(from.channels, group) {
                let mut sum = [0.0; LANES];
                for &(place, weight) in &products {
                    let (a, w) = (&c.a[place], f64::from(conv.weight[weight + channel * kh * kw]));
                    (0..LANES).for_each(|i| sum[i] += a[i] * w);
                }
                let place = below.place(channel, row, column);
                below.a[place] = sum;
            }
        }
    }
    below
}

pub fn through_dense(dense: &Dense, from: Shape, c: &Coefficients) -> Coefficients {
    let mut below = Coefficients::full(from);
    let live: Vec<(usize, &Lanes)> = c.live().collect();
    for (k, sum) in below.a.iter_mut().enumerate() {
        for (j, a) in &live {
            let w = f64::from(dense.weight[j * from.len() + k]);
            (0..LANES).for_each(|i| sum[i] += a[i] * w);
        }
    }
    below
}

pub fn averaged(p: &Pool, from: Shape, c: &Coefficients) -> Coefficients {
    let [rows, columns] = axes(p.kernel, p.stride, p.pad, from, c.shape);
    let mut below = Coefficients::zeros(from, rows.below(&c.rows), columns.below(&c.columns));
    for (k, a) in c.live() {
        let [channel, y, x] = split(c.shape, k);
        let share = share(p, rows.taps(y).len() * columns.taps(x).len());
        for row in rows.taps(y).map(|t| rows.at(y, t)) {
            for column in columns.taps(x).map(|t| columns.at(x, t)) {
                let place = below.place(channel, row, column);
                (0..LANES).for_each(|i| below.a[place][i] += a[i] * share);
            }
        }
    }
    below
}
