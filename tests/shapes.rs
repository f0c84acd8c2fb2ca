//! Networks of unusual shape: layers too wide for sixteen bits, steps too long for thirty-two.

use deltamax::bounds::{Ball, Bounder, Decision, Method};
use deltamax::device::Device;
use deltamax::model::{Conv, Dense, Layer, Model, Node, reference};
use deltamax::network::Network;
use deltamax::tensor::Shape;

/// A model in the making; every layer reads the values it is given and names its own shape.
struct Builder(Model);

impl Builder {
    fn new(input: Shape) -> Builder {
        Builder(Model { input, nodes: vec![], classes: vec![], folded: vec![] })
    }

    fn push(&mut self, layer: Layer, inputs: &[usize], shape: Shape) -> usize {
        let name = format!("node{}", self.0.nodes.len());
        self.0.nodes.push(Node { name, layer, inputs: inputs.to_vec(), shape });
        self.0.nodes.len()
    }

    fn relu(&mut self, from: usize) -> usize {
        let shape = self.0.shape(from);
        self.push(Layer::Relu, &[from], shape)
    }

    /// One channel to one channel, with one column or row of weights.
    fn conv(&mut self, from: usize, weight: &[f32], bias: f32, [stride, pad]: [usize; 2], shape: Shape) -> usize {
        let (kernel, pad) = ([1, weight.len()], [0, pad]);
        let (weight, bias) = (weight.to_vec(), vec![bias]);
        self.push(Layer::Conv(Conv { weight, bias, kernel, stride: [stride; 2], pad }), &[from], shape)
    }

    fn dense(&mut self, from: usize, weight: Vec<f32>, bias: Vec<f32>) -> usize {
        let outputs = bias.len();
        self.push(Layer::Dense(Dense { weight, bias }), &[from], Shape::flat(outputs))
    }

    fn finish(mut self) -> Model {
        self.0.classes = (0..self.0.outputs()).map(|k| k.to_string()).collect();
        self.0.validate().unwrap();
        self.0
    }
}

/// Class 0 has the score 1, class 1 a thousand times `relu(relu(x - 0.5) - 0.25)` of the input value `k`, which begins at
/// 0.4: the radius is 0.351. All methods and branching must prove 0.34, and none 0.36.
fn one_value_decides(model: &Model, k: usize) {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let mut image = vec![0.0; model.input.len()];
    image[k] = 0.4;
    let mut other = image.clone();
    other[k] = 0.7515;
    let y = reference::forward(model, &other).pop().unwrap();
    assert!(y[1] > y[0], "{y:?}");
    for method in Method::ALL {
        let bounder = Bounder::new(&net, method).unwrap();
        for (delta, holds) in [(0.34, true), (0.36, false)] {
            let ball = Ball { image: &image, class: 0, delta };
            let outcome = bounder.probe(&[ball]).unwrap().remove(0);
            assert_eq!(outcome.radius == delta, holds, "{method} at {delta}: {outcome:?}");
            assert!(outcome.radius < 0.3511, "{method} at {delta}: {outcome:?}");
        }
        let ball = Ball { image: &image, class: 0, delta: 0.36 };
        let (decision, _) = bounder.branch_balls(&[ball], &[50]).unwrap().remove(0);
        assert_ne!(decision, Decision::Proved, "{method}");
    }
}

#[test]
fn neurons_have_places_beyond_sixteen_bits() {
    const SIDE: usize = 65_541;
    for input in [Shape::new(1, 1, SIDE), Shape::new(1, SIDE, 1)] {
        let mut b = Builder::new(input);
        let v = b.conv(0, &[1.0], -0.5, [1, 0], input);
        let v = b.relu(v);
        let v = b.conv(v, &[1.0], -0.25, [1, 0], input);
        let v = b.relu(v);
        let weight = (0..2 * SIDE).map(|i| if i == 2 * SIDE - 1 { 1000.0 } else { 0.0 }).collect();
        b.dense(v, weight, vec![1.0, 0.0]);
        one_value_decides(&b.finish(), SIDE - 1);
    }
}

/// Two strides of 2^16 are a step of 2^32, which in a word of 32 bits is none.
#[test]
fn steps_of_windows_do_not_wrap_around() {
    let input = Shape::new(1, 1, 12);
    let mut b = Builder::new(input);
    let v = b.conv(0, &[1.0], -0.5, [1, 0], input);
    let v = b.relu(v);
    let v = b.conv(v, &[0.0, 1.0, 0.0], 0.0, [1 << 16, 1], Shape::flat(1));
    let v = b.relu(v);
    let v = b.conv(v, &[1.0], -0.25, [1 << 16, 0], Shape::flat(1));
    let v = b.relu(v);
    b.dense(v, vec![0.0, 1000.0], vec![1.0, 0.0]);
    one_value_decides(&b.finish(), 0);
}
