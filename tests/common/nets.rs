//! Small networks for tests, layer by layer, with random weights where none are given; images for them, and points around
//! those.

#![allow(dead_code, reason = "every program of tests uses its part")]

use deltamax::model::{Conv, Dense, Layer, Model, Node, Pool};
use deltamax::rng::Rng;
use deltamax::tensor::Shape;

/// No layers yet.
pub fn model(input: Shape) -> Model {
    Model { input, nodes: vec![], classes: vec![], folded: vec![] }
}

/// Appends a layer; returns the number of its value.
pub fn push(model: &mut Model, layer: Layer, inputs: &[usize], shape: Shape) -> usize {
    let name = format!("n{}", model.nodes.len());
    model.nodes.push(Node { name, layer, inputs: inputs.to_vec(), shape });
    model.nodes.len()
}

/// Names the classes and checks the whole.
pub fn finish(mut model: Model) -> Model {
    model.classes = (0..model.outputs()).map(|i| i.to_string()).collect();
    model.validate().unwrap_or_else(|e| panic!("{e}"));
    model
}

/// `y = W x + b`, `weight` as `[out][in]`.
pub fn dense(weight: &[f32], bias: &[f32]) -> Layer {
    Layer::Dense(Dense { weight: weight.to_vec(), bias: bias.to_vec() })
}

/// Dense layers `(weights, biases)` with rectifiers between them.
pub fn mlp(inputs: usize, layers: &[(&[f32], &[f32])]) -> Model {
    let mut model = model(Shape::flat(inputs));
    for (i, (weight, bias)) in layers.iter().enumerate() {
        let (shape, last) = (Shape::flat(bias.len()), model.nodes.len());
        let value = push(&mut model, dense(weight, bias), &[last], shape);
        if i + 1 < layers.len() {
            push(&mut model, Layer::Relu, &[value], shape);
        }
    }
    finish(model)
}

/// [`mlp`] of layers that were computed.
pub fn mlp_of(inputs: usize, layers: &[(Vec<f32>, Vec<f32>)]) -> Model {
    mlp(inputs, &layers.iter().map(|(weight, bias)| (&weight[..], &bias[..])).collect::<Vec<_>>())
}

/// Normal, as suits weights of sums over `fan_in` inputs: values keep their size through rectifiers (He et al. 2015).
pub fn weights(rng: &mut Rng, n: usize, fan_in: usize) -> Vec<f32> {
    normal(rng, n, (2.0 / fan_in as f32).sqrt())
}

fn normal(rng: &mut Rng, n: usize, deviation: f32) -> Vec<f32> {
    (0..n).map(|_| deviation * rng.normal()).collect()
}

/// A network in the making. Every layer returns the number of its value; the input is 0.
pub struct Net {
    pub model: Model,
    pub rng: Rng,
    /// Variance of weights, times the number of inputs; 2 for [`weights`].
    pub gain: f32,
    /// Standard deviation of biases.
    pub bias: f32,
}

impl Net {
    pub fn new(input: Shape, rng: Rng) -> Net {
        Net { model: model(input), rng, gain: 2.0, bias: (2.0f32 / 10.0).sqrt() }
    }

    /// With biases of this standard deviation.
    pub fn with_bias(self, bias: f32) -> Net {
        Net { bias, ..self }
    }

    pub fn weights(&mut self, n: usize, fan_in: usize) -> Vec<f32> {
        normal(&mut self.rng, n, (self.gain / fan_in as f32).sqrt())
    }

    pub fn biases(&mut self, n: usize) -> Vec<f32> {
        normal(&mut self.rng, n, self.bias)
    }

    /// Dense layers of these widths, one after the other, with rectifiers between them.
    pub fn layers(mut self, widths: &[usize]) -> Model {
        let mut value = 0;
        for (i, &width) in widths.iter().enumerate() {
            value = if i > 0 { self.relu(value) } else { value };
            value = self.dense(value, width);
        }
        self.finish()
    }

    pub fn shape(&self, value: usize) -> Shape {
        self.model.shape(value)
    }

    pub fn push(&mut self, layer: Layer, inputs: &[usize], shape: Shape) -> usize {
        push(&mut self.model, layer, inputs, shape)
    }

    /// A layer that keeps the shape of its inputs.
    pub fn same(&mut self, layer: Layer, inputs: &[usize]) -> usize {
        let shape = self.shape(inputs[0]);
        self.push(layer, inputs, shape)
    }

    pub fn relu(&mut self, from: usize) -> usize {
        self.same(Layer::Relu, &[from])
    }

    fn window(&self, from: usize, channels: usize, [kernel, stride, pad]: [[usize; 2]; 3]) -> Shape {
        let x = self.shape(from);
        let side = |n: usize, d: usize| (n + 2 * pad[d] - kernel[d]) / stride[d] + 1;
        Shape::new(channels, side(x.height, 0), side(x.width, 1))
    }

    pub fn conv(
        &mut self,
        from: usize,
        channels: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    ) -> usize {
        let shape = self.window(from, channels, [kernel, stride, pad]);
        let fan_in = self.shape(from).channels * kernel[0] * kernel[1];
        let (weight, bias) = (self.weights(channels * fan_in, fan_in), self.biases(channels));
        self.push(Layer::Conv(Conv { weight, bias, kernel, stride, pad }), &[from], shape)
    }

    /// A convolution of 3 by 3 that keeps rows and columns.
    pub fn conv3x3(&mut self, from: usize, channels: usize) -> usize {
        self.conv(from, channels, [3, 3], [1, 1], [1, 1])
    }

    /// Two convolutions of 3 by 3 with a rectifier between them, beside what they read.
    pub fn residual(&mut self, from: usize) -> usize {
        let channels = self.shape(from).channels;
        let mut inside = self.conv3x3(from, channels);
        inside = self.relu(inside);
        inside = self.conv3x3(inside, channels);
        self.same(Layer::Add, &[inside, from])
    }

    pub fn dense(&mut self, from: usize, outputs: usize) -> usize {
        let inputs = self.shape(from).len();
        let (weight, bias) = (self.weights(outputs * inputs, inputs), self.biases(outputs));
        self.push(Layer::Dense(Dense { weight, bias }), &[from], Shape::flat(outputs))
    }

    fn pool(&mut self, from: usize, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> (Pool, Shape) {
        let shape = self.window(from, self.shape(from).channels, [kernel, stride, pad]);
        (Pool { kernel, stride, pad, count_include_pad: false }, shape)
    }

    pub fn max_pool(&mut self, from: usize, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> usize {
        let (pool, shape) = self.pool(from, kernel, stride, pad);
        self.push(Layer::MaxPool(pool), &[from], shape)
    }

    /// `padded`: whether padding counts.
    pub fn average_pool(
        &mut self,
        from: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        padded: bool,
    ) -> usize {
        let (pool, shape) = self.pool(from, kernel, stride, pad);
        self.push(Layer::AvgPool(Pool { count_include_pad: padded, ..pool }), &[from], shape)
    }

    pub fn finish(self) -> Model {
        finish(self.model)
    }
}

/// An image. Saturated pixels exercise the clipping of the ball.
pub fn image(model: &Model, rng: &mut Rng) -> Vec<f32> {
    (0..model.input.len()).map(|_| (1.4 * rng.uniform() - 0.2).clamp(0.0, 1.0)).collect()
}

/// A point of the clipped ball, often a corner.
pub fn point(image: &[f32], delta: f32, rng: &mut Rng) -> Vec<f32> {
    let corner = rng.uniform() < 0.7;
    let mut moved = |&x: &f32| {
        let t = if corner { (rng.below(2) as f32).mul_add(2.0, -1.0) } else { rng.range(-1.0, 1.0) };
        let (low, high) = ((x - delta).max(0.0), (x + delta).min(1.0));
        (x + t * delta * 0.999_999).clamp(low, high)
    };
    image.iter().map(&mut moved).collect()
}
