//! Small random networks with every kind of layer.

#[path = "../../../tests/common/nets.rs"]
mod layers;

pub use layers::{Net, image};

use crate::model::{Layer, Model, Source};
use crate::rng::Rng;
use crate::tensor::Shape;

pub fn net(input: Shape, seed: u64) -> Net {
    Net::new(input, Rng::new(seed, 31))
}

pub fn dense_net(seed: u64) -> Model {
    net(Shape::flat(5), seed).layers(&[9, 7, 3])
}

pub fn conv_net(seed: u64) -> Model {
    let mut b = net(Shape::new(2, 6, 5), seed);
    let v = b.conv(0, 3, [3, 3], [1, 2], [1, 0]);
    let v = b.relu(v);
    let v = b.conv(v, 4, [4, 2], [2, 1], [1, 1]);
    let v = b.relu(v);
    let v = b.dense(v, 5);
    let v = b.relu(v);
    b.dense(v, 4);
    b.finish()
}

/// Residual additions (one of a value with itself), scaling, data movement.
fn residual_net(seed: u64) -> Model {
    let mut b = net(Shape::new(1, 5, 5), seed);
    let stem = b.conv(0, 3, [3, 3], [1, 1], [1, 1]);
    let stem = b.relu(stem);
    let v = b.conv(stem, 3, [3, 3], [1, 1], [1, 1]);
    let shape = b.shape(v);
    let v = b.same(Layer::Add, &[v, stem]);
    let v = b.relu(v);
    let (scale, shift) = (b.weights(shape.len(), 2), b.weights(shape.len(), 20));
    let v = b.same(Layer::Scale { scale, shift }, &[v]);
    let v = b.same(Layer::Add, &[v, v]);
    let w = b.conv(stem, 2, [2, 2], [2, 2], [0, 0]);
    let wide = b.shape(w).len();
    let source = |input, index| Some(Source { input, index: index as u32 });
    let mut map: Vec<_> = (0..shape.len()).rev().step_by(3).map(|k| source(0, k)).collect();
    map.push(None);
    map.extend((0..wide).map(|k| source(1, k)));
    let n = map.len();
    let v = b.push(Layer::Gather(map), &[v, w], Shape::flat(n));
    let v = b.relu(v);
    b.dense(v, 3);
    b.finish()
}

fn pooled_net(seed: u64) -> Model {
    let mut b = net(Shape::new(1, 7, 6), seed);
    let v = b.conv(0, 3, [3, 3], [1, 1], [1, 1]);
    let v = b.max_pool(v, [3, 2], [2, 2], [1, 0]);
    let v = b.relu(v);
    let v = b.conv(v, 4, [2, 2], [1, 1], [1, 1]);
    let v = b.relu(v);
    let v = b.average_pool(v, [2, 2], [1, 2], [1, 1], seed.is_multiple_of(2));
    let v = b.max_pool(v, [2, 2], [2, 1], [0, 0]);
    b.dense(v, 3);
    b.finish()
}

pub fn nets(seed: u64) -> [Model; 4] {
    [dense_net(seed), conv_net(seed), residual_net(seed), pooled_net(seed)]
}
