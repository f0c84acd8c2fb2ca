//! Small random networks with every kind of layer.

use crate::model::{Conv, Dense, Layer, Model, Node, Pool, Source};
use crate::rng::Rng;
use crate::tensor::Shape;

pub struct Builder {
    pub model: Model,
    rng: Rng,
}

impl Builder {
    pub fn new(input: Shape, seed: u64) -> Self {
        let model = Model { input, nodes: vec![], classes: vec![], folded: vec![] };
        Builder { model, rng: Rng::new(seed, 31) }
    }

    fn weights(&mut self, n: usize, fan_in: usize) -> Vec<f32> {
        let sigma = (2.0 / fan_in as f32).sqrt();
        (0..n).map(|_| sigma * self.rng.normal()).collect()
    }

    fn push(&mut self, layer: Layer, inputs: &[usize], shape: Shape) -> usize {
        let name = format!("node{}", self.model.nodes.len());
        self.model.nodes.push(Node { name, layer, inputs: inputs.to_vec(), shape });
        self.model.nodes.len()
    }

    fn window(&self, from: usize, channels: usize, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Shape {
        let x = self.model.shape(from);
        let side = |n: usize, d: usize| (n + 2 * pad[d] - kernel[d]) / stride[d] + 1;
        Shape::new(channels, side(x.height, 0), side(x.width, 1))
    }

    fn conv(&mut self, from: usize, channels: usize, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> usize {
        let shape = self.window(from, channels, kernel, stride, pad);
        let fan_in = self.model.shape(from).channels * kernel[0] * kernel[1];
        let (weight, bias) = (self.weights(channels * fan_in, fan_in), self.weights(channels, 10));
        self.push(Layer::Conv(Conv { weight, bias, kernel, stride, pad }), &[from], shape)
    }

    pub fn dense(&mut self, from: usize, outputs: usize) -> usize {
        let n = self.model.shape(from).len();
        let (weight, bias) = (self.weights(outputs * n, n), self.weights(outputs, 10));
        self.push(Layer::Dense(Dense { weight, bias }), &[from], Shape::flat(outputs))
    }

    fn relu(&mut self, from: usize) -> usize {
        let shape = self.model.shape(from);
        self.push(Layer::Relu, &[from], shape)
    }

    fn pool(&mut self, from: usize, pool: Pool, max: bool) -> usize {
        let shape = self.window(from, self.model.shape(from).channels, pool.kernel, pool.stride, pool.pad);
        self.push(if max { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) }, &[from], shape)
    }

    pub fn finish(mut self) -> Model {
        self.model.classes = (0..self.model.outputs()).map(|i| i.to_string()).collect();
        self.model.validate().unwrap();
        self.model
    }
}

pub fn dense_net(seed: u64) -> Model {
    let mut b = Builder::new(Shape::flat(5), seed);
    let v = b.dense(0, 9);
    let v = b.relu(v);
    let v = b.dense(v, 7);
    let v = b.relu(v);
    b.dense(v, 3);
    b.finish()
}

pub fn conv_net(seed: u64) -> Model {
    let mut b = Builder::new(Shape::new(2, 6, 5), seed);
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
    let mut b = Builder::new(Shape::new(1, 5, 5), seed);
    let stem = b.conv(0, 3, [3, 3], [1, 1], [1, 1]);
    let stem = b.relu(stem);
    let v = b.conv(stem, 3, [3, 3], [1, 1], [1, 1]);
    let shape = b.model.shape(v);
    let v = b.push(Layer::Add, &[v, stem], shape);
    let v = b.relu(v);
    let (scale, shift) = (b.weights(shape.len(), 2), b.weights(shape.len(), 20));
    let v = b.push(Layer::Scale { scale, shift }, &[v], shape);
    let v = b.push(Layer::Add, &[v, v], shape);
    let w = b.conv(stem, 2, [2, 2], [2, 2], [0, 0]);
    let wide = b.model.shape(w).len();
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
    let pool = |kernel, stride, pad, count_include_pad| Pool { kernel, stride, pad, count_include_pad };
    let mut b = Builder::new(Shape::new(1, 7, 6), seed);
    let v = b.conv(0, 3, [3, 3], [1, 1], [1, 1]);
    let v = b.pool(v, pool([3, 2], [2, 2], [1, 0], false), true);
    let v = b.relu(v);
    let v = b.conv(v, 4, [2, 2], [1, 1], [1, 1]);
    let v = b.relu(v);
    let v = b.pool(v, pool([2, 2], [1, 2], [1, 1], seed.is_multiple_of(2)), false);
    let v = b.pool(v, pool([2, 2], [2, 1], [0, 0], false), true);
    b.dense(v, 3);
    b.finish()
}

pub fn nets(seed: u64) -> [Model; 4] {
    [dense_net(seed), conv_net(seed), residual_net(seed), pooled_net(seed)]
}
