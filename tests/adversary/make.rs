//! Small networks of every kind of layer, wired in every way, with weights that hurt: made from a list of words, so that
//! a shorter list of smaller words makes a simpler network.

use deltamax::model::activation::{Abs, Activation, Clip, HardSigmoid, LeakyRelu};
use deltamax::model::{Conv, Dense, Layer, Model, Pool, Source, reference};
use deltamax::tensor::Shape;

use crate::nets::{finish, model, push};

/// Decisions read off a list of words; zero, the simplest, when it is used up.
pub struct Choices<'a> {
    words: &'a [u32],
    at: usize,
}

impl<'a> Choices<'a> {
    pub fn new(words: &'a [u32]) -> Self {
        Choices { words, at: 0 }
    }

    fn word(&mut self) -> u32 {
        self.at += 1;
        self.words.get(self.at - 1).copied().unwrap_or(0)
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.word()) * n as u64) >> 32) as usize
    }

    /// In [0,1), with all the bits an f32 has.
    pub fn unit(&mut self) -> f32 {
        (self.word() >> 8) as f32 / (1 << 24) as f32
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        // Zero is the simple answer: no.
        self.below(100) >= 100 - percent
    }
}

/// What is nasty about a network's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    Ordinary,
    /// Layers shrink and grow values by powers of two.
    Ladder,
    /// Weights come in pairs that all but cancel.
    Cancelling,
    /// Large biases whose opposite twins follow.
    Twins,
    /// Some weights are subnormal, some zero.
    Tiny,
    /// Everything at once.
    Mixed,
}

const STYLES: [Style; 6] = [Style::Ordinary, Style::Ladder, Style::Cancelling, Style::Twins, Style::Tiny, Style::Mixed];

/// A network and images for it.
#[derive(Clone, Debug)]
pub struct Made {
    pub style: Style,
    pub model: Model,
    pub images: Vec<Vec<f32>>,
}

struct Maker<'a, 'b> {
    c: &'b mut Choices<'a>,
    style: Style,
    model: Model,
    /// By value: one image's values, to place kinks where they matter.
    sample: Vec<Vec<f64>>,
    /// Most values that a layer has.
    widest: usize,
}

/// How many inputs a network has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// All that may happen lies on one line.
    Pixel,
    Few,
    /// So many that a convolution's neurons see only a patch of them.
    Plane,
}

/// A network and four images.
pub fn network(c: &mut Choices<'_>, input: Input) -> Made {
    let style = STYLES[c.below(STYLES.len())];
    let shapes =
        [Shape::new(1, 1, 3), Shape::new(1, 2, 2), Shape::new(2, 1, 2), Shape::new(1, 3, 3), Shape::new(2, 2, 3)];
    let widest = if input == Input::Plane { 160 } else { 24 };
    let input = match input {
        Input::Pixel => Shape::new(1, 1, 1),
        Input::Few => shapes[c.below(shapes.len())],
        Input::Plane => [Shape::new(1, 8, 8), Shape::new(2, 7, 6)][c.below(2)],
    };
    let mut images: Vec<Vec<f32>> = vec![];
    for _ in 0..4 {
        let pixel = |c: &mut Choices<'_>| match c.below(6) {
            0..=3 => c.unit(),
            4 => 1.0,
            _ => 0.0,
        };
        images.push((0..input.len()).map(|_| pixel(c)).collect());
    }
    let sample = vec![images[0].iter().map(|v| f64::from(*v)).collect()];
    let mut maker = Maker { c, style, model: model(input), sample, widest };
    let layers = 2 + maker.c.below(6);
    // Nothing comes of a lone pixel that is only rectified and moved.
    if input.len() == 1 {
        maker.affine(0);
    }
    for _ in 0..layers {
        let from = maker.operand();
        maker.any(from);
    }
    maker.end();
    let model = finish(pruned(maker.model));
    Made { style, model, images }
}

/// Without the layers that nothing reads.
fn pruned(old: Model) -> Model {
    let mut needed = vec![false; old.nodes.len() + 1];
    needed[old.nodes.len()] = true;
    for (i, node) in old.nodes.iter().enumerate().rev() {
        if needed[i + 1] {
            node.inputs.iter().for_each(|&v| needed[v] = true);
        }
    }
    let mut new = vec![0; old.nodes.len() + 1];
    let mut model = model(old.input);
    for (i, node) in old.nodes.into_iter().enumerate().filter(|(i, _)| needed[i + 1]) {
        let inputs: Vec<usize> = node.inputs.iter().map(|&v| new[v]).collect();
        new[i + 1] = push(&mut model, node.layer, &inputs, node.shape);
    }
    model
}

impl Maker<'_, '_> {
    fn add(&mut self, layer: Layer, inputs: &[usize], shape: Shape) -> usize {
        let values: Vec<&[f64]> = inputs.iter().map(|&v| &self.sample[v][..]).collect();
        let value = reference::apply(&layer, &values, self.model.shape(inputs[0]), shape);
        self.sample.push(value);
        push(&mut self.model, layer, inputs, shape)
    }

    /// The last value, or any.
    fn operand(&mut self) -> usize {
        let last = self.model.nodes.len();
        if self.c.chance(35) { self.c.below(last + 1) } else { last }
    }

    fn is(&mut self, style: Style, percent: usize) -> bool {
        (self.style == style || self.style == Style::Mixed) && self.c.chance(percent)
    }

    fn any(&mut self, from: usize) -> usize {
        let x = self.model.shape(from);
        match self.c.below(14) {
            0 | 1 => self.relu(from),
            11 | 12 => self.activation(from),
            2..=4 => self.affine(from),
            5 => self.pool(from, true),
            6 => self.pool(from, false),
            7 => {
                let same = |v: &usize| self.model.shape(*v).len() == x.len();
                let others: Vec<usize> = (0..=self.model.nodes.len()).filter(same).collect();
                let other = others[self.c.below(others.len())];
                let shape = self.reshaped(x);
                self.add(Layer::Add, &[from, other], shape)
            }
            8 => {
                let sign = self.c.chance(30);
                let one = |n: usize| vec![-1.0; n];
                let (scale, shift) = if sign {
                    (one(x.len()), vec![0.0; x.len()])
                } else {
                    (self.weights(x.len(), 1), self.weights(x.len(), 1))
                };
                let shape = self.reshaped(x);
                self.add(Layer::Scale { scale, shift }, &[from], shape)
            }
            9 | 10 => self.concat(from),
            _ => self.moved(from),
        }
    }

    /// The same shape, or flat.
    fn reshaped(&mut self, x: Shape) -> Shape {
        if self.c.chance(25) { Shape::flat(x.len()) } else { x }
    }

    fn relu(&mut self, from: usize) -> usize {
        let x = self.model.shape(from);
        let shape = self.reshaped(x);
        self.add(Layer::Relu, &[from], shape)
    }

    /// An activation made of lines, with its ends near the sample image.
    fn activation(&mut self, from: usize) -> usize {
        let x = self.model.shape(from);
        let there = self.sample[from][self.c.below(x.len())] as f32;
        let there = if there.abs() < 1e6 { there } else { 0.5 };
        // No constants that the reader would refuse.
        let sane = |v: f32| if v.abs() < 1e-20 { 0.0 } else { v };
        let slope = |c: &mut Choices<'_>| match c.below(4) {
            0 => 0.01,
            1 => 1.0 - 2f32.powi(-20),
            _ => sane(2.5 * c.unit() - 1.0),
        };
        let f = match self.c.below(5) {
            0 => vec![Activation::LeakyRelu(LeakyRelu { slope: slope(self.c) })],
            1 => (0..x.channels).map(|_| Activation::LeakyRelu(LeakyRelu { slope: slope(self.c) })).collect(),
            2 => {
                let low = sane(there - self.c.unit());
                let high = [low + 0.5 + self.c.unit(), f32::INFINITY][self.c.below(2)];
                vec![Activation::Clip(Clip { low, high })]
            }
            3 => vec![Activation::Abs(Abs)],
            _ => {
                let alpha = sane(2.4 * self.c.unit() - 1.2);
                let alpha = if alpha == 0.0 { 0.2 } else { alpha };
                vec![Activation::HardSigmoid(HardSigmoid { alpha, beta: sane(0.5 * self.c.unit() - alpha * there) })]
            }
        };
        // Functions go by channels.
        let shape = if f.len() == 1 { self.reshaped(x) } else { x };
        self.add(Layer::Activation(f), &[from], shape)
    }

    fn affine(&mut self, from: usize) -> usize {
        let x = self.model.shape(from);
        if x.height * x.width > 1 && self.c.chance(60) { self.conv(from) } else { self.dense(from, None) }
    }

    fn weights(&mut self, n: usize, fan_in: usize) -> Vec<f32> {
        let size = (2.0 / fan_in as f32).sqrt();
        let mut w: Vec<f32> = vec![];
        while w.len() < n {
            let pair = w.len() % 2 == 1 && self.is(Style::Cancelling, 60);
            let v = match (pair, w.last()) {
                (true, Some(before)) => {
                    let steps = self.c.below(9) as i32 - 4;
                    -f32::from_bits((before.to_bits() as i32 + steps).max(0) as u32)
                }
                _ if self.is(Style::Tiny, 25) => match self.c.below(3) {
                    0 => 0.0,
                    1 => f32::from_bits(1 + self.c.below(1 << 22) as u32),
                    _ => -1e-40,
                },
                _ => size * (2.4 * self.c.unit() - 1.2),
            };
            w.push(if v == 0.0 || v.is_finite() { v } else { 1.0 });
        }
        w
    }

    /// Weights and biases of a layer, and how much they are to be grown by.
    fn grown(&mut self, n: usize, outputs: usize, fan_in: usize) -> (Vec<f32>, Vec<f32>) {
        let mut weight = self.weights(n, fan_in);
        let power = if self.is(Style::Ladder, 70) { [-60, -40, -20, -8, 8, 20, 40, 60][self.c.below(8)] } else { 0 };
        let grow = if self.is(Style::Twins, 50) { 2f32.powi(10 + self.c.below(20) as i32) } else { 1.0 };
        weight.iter_mut().for_each(|w| *w *= 2f32.powi(power) * grow);
        (weight, vec![0.0; outputs])
    }

    /// Biases that put the kinks near the sample image: the opposite of what is there, and a little.
    fn biases(&mut self, layer: impl Fn(Vec<f32>) -> Layer, from: usize, outputs: usize, shape: Shape) -> Layer {
        let zero = layer(vec![0.0; outputs]);
        let x = self.model.shape(from);
        let there = reference::apply(&zero, &[&self.sample[from]], x, shape);
        let plane = shape.len() / outputs;
        let mut biases = vec![];
        for o in 0..outputs {
            let at = there[o * plane..][..plane]
                .iter()
                .copied()
                .fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
            let size = at.abs().clamp(1e-30, 1e30) as f32;
            let bias = match self.c.below(4) {
                0 => self.c.unit() - 0.5,
                1 => -at as f32 + 0.6 * size * (self.c.unit() - 0.5),
                2 => -at as f32,
                _ => size * (self.c.unit() - 0.5),
            };
            biases.push(if bias.is_finite() { bias } else { 0.0 });
        }
        layer(biases)
    }

    fn dense(&mut self, from: usize, outputs: Option<usize>) -> usize {
        let inputs = self.model.shape(from).len();
        let outputs = outputs.unwrap_or_else(|| 1 + self.c.below(4));
        let (weight, _) = self.grown(inputs * outputs, outputs, inputs);
        let shape = Shape::flat(outputs);
        let layer = self.biases(|bias| Layer::Dense(Dense { weight: weight.clone(), bias }), from, outputs, shape);
        self.add(layer, &[from], shape)
    }

    /// Kernel, stride, padding and the shape that comes of them.
    fn geometry(&mut self, x: Shape, channels: usize) -> ([usize; 2], [usize; 2], [usize; 2], Shape) {
        let sides = [x.height, x.width];
        let kernel = sides.map(|n| 1 + self.c.below(n.min(3)));
        let pad = kernel.map(|k| self.c.below(k));
        let stride = [1 + self.c.below(3), 1 + self.c.below(3)];
        let side = |d: usize| (sides[d] + 2 * pad[d] - kernel[d]) / stride[d] + 1;
        // A window beyond the last value would be all padding.
        let fit = |d: usize| side(d).min((sides[d] + pad[d] - 1) / stride[d] + 1);
        (kernel, stride, pad, Shape::new(channels, fit(0), fit(1)))
    }

    fn conv(&mut self, from: usize) -> usize {
        let x = self.model.shape(from);
        let channels = 1 + self.c.below(2);
        let (kernel, stride, pad, shape) = self.geometry(x, channels);
        if shape.len() > self.widest {
            return self.relu(from);
        }
        let fan_in = x.channels * kernel[0] * kernel[1];
        let (weight, _) = self.grown(channels * fan_in, channels, fan_in);
        let conv = |bias| Layer::Conv(Conv { weight: weight.clone(), bias, kernel, stride, pad });
        let layer = self.biases(conv, from, channels, shape);
        self.add(layer, &[from], shape)
    }

    fn pool(&mut self, from: usize, most: bool) -> usize {
        let x = self.model.shape(from);
        // A plain vector is pooled as an image that it may well be.
        if x.len() > 1 && x.height * x.width == 1 {
            let map = (0..x.len()).map(|k| Some(Source { input: 0, index: k as u32 })).collect();
            let row = self.add(Layer::Gather(map), &[from], Shape::new(1, 1, x.len()));
            return self.pool(row, most);
        }
        let (kernel, stride, pad, shape) = self.geometry(x, x.channels);
        if shape.len() > self.widest {
            return self.relu(from);
        }
        let pool = Pool { kernel, stride, pad, count_include_pad: !most && self.c.chance(50) };
        self.add(if most { Layer::MaxPool(pool) } else { Layer::AvgPool(pool) }, &[from], shape)
    }

    fn concat(&mut self, from: usize) -> usize {
        let mut inputs = vec![from];
        for _ in 0..=self.c.below(2) {
            let total: usize = inputs.iter().map(|&v| self.model.shape(v).len()).sum();
            let other = self.c.below(self.model.nodes.len() + 1);
            if total + self.model.shape(other).len() <= self.widest {
                inputs.push(other);
            }
        }
        let lengths: Vec<usize> = inputs.iter().map(|&v| self.model.shape(v).len()).collect();
        let part = |(k, n): (usize, &usize)| (0..*n).map(move |i| Some(Source { input: k as u32, index: i as u32 }));
        let map: Vec<Option<Source>> = lengths.iter().enumerate().flat_map(part).collect();
        let shape = Shape::flat(map.len());
        self.add(Layer::Gather(map), &inputs, shape)
    }

    /// A slice, a permutation, or zeros around.
    fn moved(&mut self, from: usize) -> usize {
        let n = self.model.shape(from).len();
        let source = |k: usize| Some(Source { input: 0, index: k as u32 });
        let map: Vec<Option<Source>> = match self.c.below(3) {
            0 => (self.c.below(n)..n).map(source).collect(),
            1 => (0..n).rev().map(source).collect(),
            _ => std::iter::once(None).chain((0..n).map(source)).chain([None]).collect(),
        };
        if map.len() > self.widest {
            return self.relu(from);
        }
        let shape = if self.c.chance(50) { Shape::new(1, 1, map.len()) } else { Shape::flat(map.len()) };
        self.add(Layer::Gather(map), &[from], shape)
    }

    /// Classes: the last value as it is, or a dense layer over it.
    fn end(&mut self) {
        let last = self.model.nodes.len();
        let n = self.model.shape(last).len();
        let live = last > 0 && self.sample[last].iter().any(|v| *v != 0.0);
        if (2..=6).contains(&n) && live && self.c.chance(45) {
            return;
        }
        let classes = 2 + self.c.below(2);
        self.dense(last, Some(classes));
        let last = self.model.nodes.len();
        // Values as large as the layers made them, brought near one.
        if self.is(Style::Ladder, 50) {
            let size = self.sample[last].iter().fold(1e-30f64, |m, v| m.max(v.abs()));
            let n = self.model.shape(last).len();
            let scale = vec![2f32.powi(-(size.log2() as i32).clamp(-90, 90)); n];
            let layer = Layer::Scale { scale, shift: vec![0.0; n] };
            self.add(layer, &[last], Shape::flat(n));
        }
    }
}
