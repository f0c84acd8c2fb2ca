//! Small graphs written by hand as protobuf messages: what each operator must become, and what no file may do.

mod channels_last;
mod external;
mod folding;
mod operators;
mod structure;

use proptest::prelude::*;
use prost::Message;

use super::super::{Conv, Dense, Folding, Layer, Model, Node, Pool, Source, reference};
use super::proto::{self, data_type};
use super::{decode, encode};
use crate::rng::Rng;
use crate::tensor::Shape;

/// A graph under construction.
struct Graph(proto::Graph);

#[derive(Clone)]
enum A {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

fn dims(values: &[i64]) -> Option<proto::Type> {
    let dim = values.iter().map(|&v| proto::Dimension { value: (v > 0).then_some(v), param: None }).collect();
    let shape = Some(proto::TensorShape { dim });
    Some(proto::Type { tensor: Some(proto::TensorType { elem_type: Some(data_type::FLOAT), shape }) })
}

impl Graph {
    fn new(input: &[i64]) -> Self {
        Graph(proto::Graph {
            input: vec![proto::ValueInfo { name: "x".into(), ty: dims(input) }],
            output: vec![proto::ValueInfo { name: "y".into(), ty: None }],
            ..Default::default()
        })
    }

    fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.initializer.push(tensor(name, dims, data_type::FLOAT, raw));
        self
    }

    fn ints(self, name: &str, values: &[i64]) -> Self {
        self.ints_of(name, &[values.len() as i64], values)
    }

    fn ints_of(mut self, name: &str, dims: &[i64], values: &[i64]) -> Self {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.0.initializer.push(tensor(name, dims, data_type::INT64, raw));
        self
    }

    fn node(mut self, op: &str, input: &[&str], output: &str, attributes: &[(&str, A)]) -> Self {
        let attribute = |(name, value): &(&str, A)| {
            let mut a = proto::Attribute { name: name.to_string(), ..Default::default() };
            match value.clone() {
                A::Int(i) => a.i = Some(i),
                A::Ints(v) => a.ints = v,
                A::Float(f) => a.f = Some(f),
                A::Text(s) => a.s = Some(s.into()),
            }
            a
        };
        self.0.node.push(proto::Node {
            input: input.iter().map(|s| s.to_string()).collect(),
            output: vec![output.into()],
            name: format!("{op}_{}", self.0.node.len()),
            op_type: op.into(),
            attribute: attributes.iter().map(attribute).collect(),
            ..Default::default()
        });
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let opset_import = vec![proto::OperatorSet { domain: String::new(), version: 13 }];
        proto::Model { ir_version: 8, graph: Some(self.0.clone()), opset_import, ..Default::default() }.encode_to_vec()
    }

    fn read(self) -> Model {
        decode(&self.bytes(), None).unwrap().model
    }

    fn error(self) -> String {
        let error = decode(&self.bytes(), None).unwrap_err().to_string();
        assert!(!error.contains('\n'));
        error
    }
}

fn tensor(name: &str, dims: &[i64], kind: i32, raw: Vec<u8>) -> proto::Tensor {
    let (name, dims) = (name.into(), dims.to_vec());
    proto::Tensor { name, dims, data_type: Some(kind), raw_data: Some(raw), ..Default::default() }
}

fn out(model: &Model, x: &[f32]) -> Vec<f64> {
    reference::forward(model, x).pop().unwrap()
}

fn counting(n: usize) -> Vec<f32> {
    (1..=n).map(|v| v as f32).collect()
}

/// Every layer there is, a residual connection, odd padding.
fn sample() -> Model {
    let mut rng = Rng::new(7, 0);
    let mut random = |n: usize| (0..n).map(|_| rng.range(-1.0, 1.0)).collect::<Vec<f32>>();
    let pool = |kernel, stride, pad| Pool { kernel, stride, pad, count_include_pad: true };
    let node =
        |name: &str, layer, inputs: &[usize], shape| Node { name: name.into(), layer, inputs: inputs.to_vec(), shape };
    let conv = |weight, bias, kernel, stride, pad| Layer::Conv(Conv { weight, bias, kernel, stride, pad });
    let permuted = (0..27).map(|k| (k != 4).then_some(Source { input: 0, index: (k * 2 % 27) as u32 })).collect();
    let nodes = vec![
        node("conv1", conv(random(54), random(3), [3, 3], [2, 2], [1, 0]), &[0], Shape::new(3, 4, 3)),
        node("relu1", Layer::Relu, &[1], Shape::new(3, 4, 3)),
        node("conv2", conv(random(81), random(3), [3, 3], [1, 1], [1, 1]), &[2], Shape::new(3, 4, 3)),
        node("add", Layer::Add, &[3, 2], Shape::new(3, 4, 3)),
        node("max", Layer::MaxPool(pool([2, 1], [1, 1], [0, 0])), &[4], Shape::new(3, 3, 3)),
        node("move", Layer::Gather(permuted), &[5], Shape::new(3, 3, 3)),
        node("avg", Layer::AvgPool(pool([2, 2], [1, 1], [1, 0])), &[6], Shape::new(3, 3, 2)),
        node("scale", Layer::Scale { scale: random(18), shift: random(18) }, &[7], Shape::new(3, 3, 2)),
        node("fc", Layer::Dense(Dense { weight: random(90), bias: random(5) }), &[8], Shape::flat(5)),
    ];
    let classes = ["a", "b", "c", "d", "é"].map(String::from).to_vec();
    Model { input: Shape::new(2, 7, 7), nodes, classes, folded: vec![] }
}

#[test]
fn what_is_written_reads_back_the_same() {
    let mut model = sample();
    for Node { layer, .. } in &mut model.nodes {
        if let Layer::MaxPool(p) = layer {
            p.count_include_pad = false;
        }
    }
    let back = decode(&encode(&model).unwrap(), None).unwrap();
    assert_eq!(back.warnings, Vec::<String>::new());
    assert_eq!((&back.model.classes, back.model.input), (&model.classes, model.input));
    let x: Vec<f32> = (0..98).map(|k| (k as f32 * 0.37).sin()).collect();
    assert_eq!(out(&back.model, &x), out(&model, &x));
    // A plain chain comes back layer by layer, names included.
    model.nodes.truncate(5);
    let dense = Layer::Dense(Dense { weight: vec![0.25; 54], bias: vec![0.0; 2] });
    model.nodes.push(Node { name: "fc".into(), layer: dense, inputs: vec![5], shape: Shape::flat(2) });
    model.classes.truncate(2);
    assert_eq!(decode(&encode(&model).unwrap(), None).unwrap().model, model);
}

#[test]
fn a_written_file_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    super::write(&sample(), &path).unwrap();
    assert_eq!(out(&super::read(&path).unwrap(), &[0.5; 98]), out(&sample(), &[0.5; 98]));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let mut broken = sample();
    broken.nodes[0].shape.channels = 9;
    assert!(super::write(&broken, dir.path().join("n.onnx")).is_err());
    assert!(super::write(&sample(), dir.path().join("none/m.onnx")).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn dense_layers_in_every_spelling() {
    let x = [1.0, 2.0];
    let gemm = |trans_a, trans_b, alpha| {
        let (input, w) = (if trans_a == 1 { [2, 1] } else { [1, 2] }, if trans_b == 1 { [3, 2] } else { [2, 3] });
        let attributes = [("transA", A::Int(trans_a)), ("transB", A::Int(trans_b)), ("alpha", A::Float(alpha))];
        let g = Graph::new(&[2]).ints("s", &input).node("Reshape", &["x", "s"], "r", &[]);
        let g = g.floats("w", &w, &counting(6)).floats("b", &[3], &[0.5, 0.0, 0.0]);
        g.node("Gemm", &["r", "w", "b"], "y", &attributes).read()
    };
    assert_eq!(out(&gemm(0, 0, 1.0), &x), [9.5, 12.0, 15.0]);
    assert_eq!(out(&gemm(1, 1, 1.0), &x), [5.5, 11.0, 17.0]);
    assert_eq!(out(&gemm(0, 1, 2.0), &x), [10.5, 22.0, 34.0]);
    assert!(gemm(0, 0, 2.0).folded.is_empty() && !gemm(0, 0, 0.1).folded.is_empty());
    let left = Graph::new(&[2]).floats("w", &[3, 2], &counting(6)).node("MatMul", &["w", "x"], "y", &[]).read();
    assert_eq!(out(&left, &x), [5.0, 11.0, 17.0]);
    // MatMul and Add make one layer.
    let g = Graph::new(&[1, 2]).floats("w", &[2, 3], &counting(6)).floats("b", &[3], &[1.0, 2.0, 3.0]);
    let model = g.node("MatMul", &["x", "w"], "m", &[]).node("Add", &["b", "m"], "y", &[]).read();
    assert_eq!((model.nodes.len(), out(&model, &x)), (1, vec![10.0, 14.0, 18.0]));
}

#[test]
fn arithmetic_with_constants_and_of_two_values() {
    let unary = |op: &str, reversed, c: f32| {
        let inputs = if reversed { ["c", "x"] } else { ["x", "c"] };
        Graph::new(&[1, 2]).floats("c", &[1], &[c]).node(op, &inputs, "y", &[]).read()
    };
    for (op, reversed, y) in [("Add", false, 7.0), ("Sub", false, 3.0), ("Sub", true, -3.0), ("Mul", true, 10.0)] {
        assert_eq!(out(&unary(op, reversed, 2.0), &[5.0, 5.0]), [y; 2], "{op}");
    }
    assert!(unary("Div", false, 4.0).folded.is_empty());
    let third = unary("Div", false, 3.0);
    let Folding { relative, absolute, .. } = third.folded[0];
    let third = out(&third, &[1.0, 0.0])[0];
    assert!(absolute == 0.0 && (third - 1.0 / 3.0).abs() <= f64::from(relative) * third && relative < 1e-7);
    let two = Graph::new(&[1, 2]).node("Relu", &["x"], "r", &[]).node("Sub", &["r", "x"], "y", &[]).read();
    assert_eq!(out(&two, &[5.0, -2.0]), [0.0, 2.0]);
    let zero = Graph::new(&[1, 2]).floats("c", &[2], &[1.0, 0.0]).node("Div", &["x", "c"], "y", &[]).error();
    assert!(zero.contains("Div_0") && zero.contains("by zero"));
}

#[test]
fn groups_and_dilation_become_plain_weights() {
    let g = Graph::new(&[1, 2, 1, 3]).floats("w", &[2, 1, 1, 2], &counting(4));
    let attributes = [("group", A::Int(2)), ("dilations", A::Ints(vec![1, 2]))];
    let model = g.node("Conv", &["x", "w"], "y", &attributes).read();
    let Layer::Conv(c) = &model.nodes[0].layer else { panic!("a convolution") };
    assert_eq!(c.weight, [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0]);
    assert_eq!((c.groups(2), out(&model, &counting(6))), (2, vec![7.0, 36.0]));
}

#[test]
fn an_image_stays_one_whatever_layers_see_it_as() {
    let rows = |input: &[i64], shape: &[i64]| {
        let g = Graph::new(input).floats("w", &[1, 2, 1], &[1.0, 10.0]).ints("s", shape);
        g.node("Reshape", &["x", "s"], "r", &[]).node("Conv", &["r", "w"], "y", &[]).read()
    };
    let (image, row) = (rows(&[1, 1, 2, 3], &[1, 2, 3]), rows(&[1, 6], &[1, 2, 3]));
    assert_eq!((image.input, row.input), (Shape::new(1, 2, 3), Shape::new(2, 1, 3)));
    assert_eq!(out(&image, &counting(6)), [41.0, 52.0, 63.0]);
    assert_eq!(out(&row, &counting(6)), out(&image, &counting(6)));
}

#[test]
fn automatic_padding() {
    for (mode, expected) in [("SAME_UPPER", [3.0, 3.0]), ("SAME_LOWER", [1.0, 5.0])] {
        let g = Graph::new(&[1, 1, 1, 3]).floats("w", &[1, 1, 1, 2], &[1.0, 1.0]);
        let attributes = [("auto_pad", A::Text(mode)), ("strides", A::Ints(vec![1, 2]))];
        let model = g.node("Conv", &["x", "w"], "y", &attributes).read();
        assert_eq!(out(&model, &counting(3)), expected, "{mode}");
    }
}

#[test]
fn pooling_that_would_pad_by_less_than_nothing_is_refused() {
    let padded = |op: &str, mode, columns, stride| {
        let attributes =
            [("auto_pad", A::Text(mode)), ("strides", A::Ints(vec![1, stride])), ("kernel_shape", A::Ints(vec![1, 2]))];
        let g = Graph::new(&[1, 1, 1, columns]).floats("w", &[1, 1, 1, 2], &[1.0, 1.0]);
        let inputs = if op == "Conv" { &["x", "w"][..] } else { &["x"] };
        g.node(op, inputs, "y", &attributes)
    };
    for mode in ["SAME_UPPER", "SAME_LOWER"] {
        for op in ["AveragePool", "MaxPool"] {
            let error = padded(op, mode, 4, 5).error();
            assert!(error.contains(op) && error.contains(mode) && error.contains("less than nothing"), "{error}");
            // The last window ends with the values.
            assert_eq!(out(&padded(op, mode, 7, 5).read(), &counting(7)).len(), 2);
        }
        assert_eq!(out(&padded("Conv", mode, 4, 5).read(), &counting(4)), [3.0]);
    }
}

#[test]
fn batch_normalisation_folds_within_its_charge() {
    let statistics = |g: Graph| {
        g.floats("g", &[2], &[1.1, -0.3]).floats("b", &[2], &[0.7, 0.1]).floats("m", &[2], &[0.3, 2.0]).floats(
            "v",
            &[2],
            &[0.9, 1.7],
        )
    };
    let exact = |c: usize, x: f64| {
        let [g, b, m, v] = [[1.1f32, -0.3], [0.7, 0.1], [0.3, 2.0], [0.9, 1.7]].map(|p| f64::from(p[c]));
        (x - m) * g / (v + f64::from(1e-5f32)).sqrt() + b
    };
    let inputs = ["z", "g", "b", "m", "v"];
    let g = statistics(Graph::new(&[1, 1, 1, 2])).floats("w", &[2, 1, 1, 1], &[0.37, -1.9]);
    let model = g.node("Conv", &["x", "w"], "z", &[]).node("BatchNormalization", &inputs, "y", &[]).read();
    assert_eq!(model.nodes.len(), 1);
    let charge = &model.folded[0];
    let x = [0.3f32, 5.0];
    for (k, y) in out(&model, &x).into_iter().enumerate() {
        let (c, x) = (k / 2, f64::from(x[k % 2]));
        let Layer::Conv(conv) = &model.nodes[0].layer else { panic!("a convolution") };
        let allowed = f64::from(charge.relative) * (f64::from(conv.weight[c]) * x).abs() + f64::from(charge.absolute);
        let error = (y - exact(c, [0.37f32, -1.9].map(f64::from)[c] * x)).abs();
        assert!(error <= allowed && allowed < 1e-6, "{error} {allowed}");
    }
    // A value that is read elsewhere too must stay as it is.
    let g = statistics(Graph::new(&[1, 2, 1, 1])).floats("w", &[2, 2, 1, 1], &counting(4));
    let g = g.node("Conv", &["x", "w"], "z", &[]).node("BatchNormalization", &inputs, "n", &[]);
    let model = g.node("Add", &["n", "z"], "y", &[]).read();
    assert_eq!(model.nodes.len(), 3);
    let z = [1.0 * 3.0 + 2.0 * 5.0, 3.0 * 3.0 + 4.0 * 5.0];
    for (k, y) in out(&model, &[3.0, 5.0]).into_iter().enumerate() {
        assert!((y - z[k] - exact(k, z[k])).abs() < 1e-5);
    }
}

#[test]
fn movement_is_joined_or_vanishes() {
    // Channels last, as exported from Keras: move, pool, move back, flatten.
    let g = Graph::new(&[0, 2, 2, 3]).node("Transpose", &["x"], "t", &[("perm", A::Ints(vec![0, 3, 1, 2]))]);
    let g = g.node("GlobalMaxPool", &["t"], "p", &[]).node("Flatten", &["p"], "y", &[]);
    let model = g.read();
    assert_eq!(out(&model, &counting(12)), [10.0, 11.0, 12.0]);
    let g = Graph::new(&[0, 2, 2, 3]).node("Transpose", &["x"], "t", &[("perm", A::Ints(vec![0, 3, 1, 2]))]);
    let g = g.node("Transpose", &["t"], "u", &[("perm", A::Ints(vec![0, 2, 3, 1]))]).node("Relu", &["u"], "y", &[]);
    assert_eq!(g.read().nodes.len(), 1);
    // In front of a dense layer movement goes into the weights.
    let g = Graph::new(&[0, 2, 2]).node("Transpose", &["x"], "t", &[("perm", A::Ints(vec![0, 2, 1]))]);
    let g = g.node("Flatten", &["t"], "f", &[]).floats("w", &[4, 1], &[1.0, 10.0, 100.0, 1000.0]);
    let model = g.node("MatMul", &["f", "w"], "y", &[]).read();
    assert_eq!((model.nodes.len(), out(&model, &counting(4))), (1, vec![4231.0]));
}

#[test]
fn slices_pads_and_concatenation() {
    let g = Graph::new(&[1, 6]).ints("s", &[4]).ints("e", &[-7]).ints("a", &[1]).ints("p", &[-2]);
    let model = g.node("Slice", &["x", "s", "e", "a", "p"], "y", &[]).read();
    assert_eq!(out(&model, &counting(6)), [5.0, 3.0, 1.0]);
    let g = Graph::new(&[1, 1, 2, 2]).ints("p", &[0, 0, 1, -1, 0, 0, 0, 1]);
    assert_eq!(out(&g.node("Pad", &["x", "p"], "y", &[]).read(), &counting(4)), [0.0, 0.0, 2.0, 0.0, 4.0, 0.0]);
    let g = Graph::new(&[1, 2]).node("Relu", &["x"], "r", &[]).floats("z", &[1, 1], &[0.0]);
    let model = g.node("Concat", &["x", "z", "r"], "y", &[("axis", A::Int(-1))]).read();
    assert_eq!(out(&model, &[-1.0, 2.0]), [-1.0, 2.0, 0.0, 0.0, 2.0]);
}

#[test]
fn shapes_are_calculated_at_load() {
    // x.view(x.shape[0], -1) as PyTorch writes it.
    let g = Graph::new(&[0, 2, 3, 1]).node("Shape", &["x"], "s", &[]).ints("zero", &[0]).ints("rest", &[-1]);
    let g = g.node("Gather", &["s", "zero"], "n", &[]).node("Concat", &["n", "rest"], "shape", &[("axis", A::Int(0))]);
    let model = g.node("Reshape", &["x", "shape"], "f", &[]).node("Relu", &["f"], "y", &[]).read();
    assert_eq!((model.nodes.len(), model.outputs()), (1, 6));
}

#[test]
fn a_last_softmax_is_dropped_with_a_note() {
    let g = Graph::new(&[1, 2]).node("Relu", &["x"], "r", &[]).node("Softmax", &["r"], "y", &[]);
    let loaded = decode(&g.bytes(), None).unwrap();
    assert_eq!((loaded.model.nodes.len(), loaded.warnings.len()), (1, 1));
    let g = Graph::new(&[1, 2]).node("Softmax", &["x"], "s", &[]).node("Relu", &["s"], "y", &[]);
    assert!(g.error().contains("only as the last layer"));
}

#[test]
fn nothing_is_passed_over() {
    let g = || Graph::new(&[1, 1, 4, 4]);
    let relu = |g: Graph| g.node("Relu", &["x"], "y", &[]);
    assert!(g().node("Erf", &["x"], "y", &[]).error().contains("operator Erf of node 'Erf_0'"));
    assert!(g().node("Relu", &["x"], "y", &[("alpha", A::Int(1))]).error().contains("'alpha' is not supported"));
    assert!(g().node("Relu", &["q"], "y", &[]).error().contains("a cycle"));
    assert!(g().node("Relu", &["x"], "z", &[]).error().contains("nothing computes the output"));
    assert!(relu(relu(g())).error().contains("exists already"));
    // What the output does not depend on is not read.
    let dead = relu(g().node("Erf", &["x"], "z", &[])).ints("x2", &[1]);
    assert_eq!(dead.read().nodes.len(), 1);
    let wrong = [("kernel_shape", A::Int(2))];
    assert!(g().node("MaxPool", &["x"], "y", &wrong).error().contains("wrong type"));
    assert!(relu(Graph::new(&[8, 3])).error().contains("fixed batch of 8"));
    let mut two = Graph::new(&[1, 3]).node("Add", &["x", "meta"], "y", &[]);
    let meta = two.0.input[0].clone();
    two.0.input.push(proto::ValueInfo { name: "meta".into(), ..meta });
    assert!(two.error().contains("2 inputs, 'x', 'meta', but images are one; export it with the others as constants"));
    assert!(relu(Graph::new(&[1, 0])).error().contains("no fixed size"));
    assert!(relu(Graph::new(&[1, i64::MAX, i64::MAX])).error().contains("too large"));
    let nan = g().floats("c", &[1], &[f32::NAN]).node("Add", &["x", "c"], "y", &[]);
    assert!(nan.error().contains("NaN among its shifts"));
    let mut declared = relu(g());
    declared.0.output[0].ty = dims(&[1, 5]);
    assert!(decode(&declared.bytes(), None).unwrap().warnings[0].contains("declares [1, 5]"), "as in runtimes");
    let mut foreign = relu(g());
    foreign.0.node[0].domain = "com.example".into();
    assert!(foreign.error().contains("com.example.Relu"));
    let mut newline = relu(g());
    newline.0.node[0].input[0] = "a\nb".into();
    newline.error();
    for bytes in [&b""[..], b"hello", b"\x1f\x8b", &[0x08, 0x08]] {
        assert!(decode(bytes, None).is_err());
    }
}

#[test]
fn small_files_do_not_make_large_networks() {
    let huge = [("pads", A::Ints(vec![60_000; 4])), ("kernel_shape", A::Ints(vec![1, 1]))];
    let g = Graph::new(&[1, 1, 4, 4]).floats("w", &[1, 1, 1, 1], &[1.0]);
    assert!(g.node("Conv", &["x", "w"], "y", &huge).error().contains("too large"));
    let g = Graph::new(&[1, 4]).ints("s", &[1 << 20, 1 << 20]).node("ConstantOfShape", &["s"], "c", &[]);
    assert!(g.node("Add", &["x", "c"], "y", &[]).error().contains("too large"));
    let mut g = Graph::new(&[1, 1 << 14]).floats("c", &[1], &[1.5]).node("Add", &["x", "c"], "0", &[]);
    for k in 0..10_000 {
        g = g.node("Add", &[&k.to_string(), "c"], &(k + 1).to_string(), &[]);
    }
    assert!(g.node("Relu", &["10000"], "y", &[]).error().contains("too large once expanded"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_never_panic(at in 0usize..10_000, bit in 0u8..8, cut in 0usize..10_000, more in 0usize..10_000) {
        let bytes = encode(&sample()).unwrap();
        let _ = decode(&bytes[..cut % bytes.len()], None);
        let mut flipped = bytes.clone();
        flipped[at % bytes.len()] ^= 1 << bit;
        let _ = decode(&flipped, None);
        flipped[more % bytes.len()] = at as u8;
        let _ = decode(&flipped, None);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, None);
    }

    #[test]
    fn operators_with_random_attributes_never_panic(
        op in prop::sample::select(vec![
            "Conv", "MaxPool", "AveragePool", "Reshape", "Transpose", "Slice", "Pad", "Gather", "Concat", "Split",
            "Squeeze", "Unsqueeze", "Flatten", "ReduceMean", "Gemm", "MatMul", "Add", "Div", "Cast", "Shape", "Softmax",
            "ConstantOfShape", "BatchNormalization", "Constant", "Dropout", "Clip", "GlobalAveragePool", "Sum", "Mean", "Max",
            "Min", "ReduceSum", "ReduceMax", "ReduceProd", "Expand", "Tile", "Resize", "Upsample", "DepthToSpace",
            "SpaceToDepth", "ConvTranspose", "Where", "Range", "Mod", "Equal", "Sqrt", "DequantizeLinear", "If", "Size",
        ]),
        input in prop::sample::select(vec![vec![1i64, 2, 3, 3], vec![1, 4], vec![4], vec![0, 2, 5], vec![1, 1, 2, 2, 2]]),
        name in prop::sample::select(vec!["axis", "axes", "pads", "kernel_shape", "strides", "perm", "to", "split", "starts",
            "blocksize", "mode", "scales", "output_shape", "output_padding"]),
        list in proptest::collection::vec(prop_oneof![-3i64..5, any::<i64>()], 0..6),
        numbers in proptest::collection::vec(prop_oneof![-3i64..5, any::<i64>()], 0..6),
        weights in prop::sample::select(vec![vec![2i64, 2, 1, 1], vec![4, 4], vec![2], vec![]]),
        as_list: bool,
    ) {
        let n = weights.iter().product::<i64>() as usize;
        let mut attributes = vec![(name, if as_list { A::Ints(list.clone()) } else { A::Int(list.len() as i64) })];
        if name != "kernel_shape" && op.ends_with("Pool") {
            attributes.push(("kernel_shape", A::Ints(vec![2, 2])));
        }
        for second in ["c", "i"] {
            for first in ["x", "i"] {
                let g = Graph::new(&input).floats("c", &weights, &counting(n)).ints("i", &numbers);
                let bytes = g.node(op, &[first, second], "y", &attributes).bytes();
                let _ = decode(&bytes, None);
            }
        }
    }
}
