//! Graphs that hold more than a chain of operators: several outputs, functions, branches, heads.

use super::super::{Choice, decode_as, scores_of};
use super::*;

fn classifier(g: Graph) -> super::super::Loaded {
    decode_as(&g.bytes(), None, &Choice::classifier()).unwrap()
}

fn relu() -> Graph {
    Graph::new(&[1, 3]).node("Relu", &["x"], "r", &[])
}

fn value(name: &str, size: &[i64]) -> proto::ValueInfo {
    proto::ValueInfo { name: name.into(), ty: dims(size) }
}

#[test]
fn functions_stand_for_their_nodes() {
    let node = |op: &str, input: &[&str], output: &str| Graph::new(&[1]).node(op, input, output, &[]).0.node.remove(0);
    let mut leaky = node("LeakyRelu", &["v"], "w");
    leaky.attribute.push(proto::Attribute {
        name: "alpha".into(),
        ref_attr_name: "slope".into(),
        ..Default::default()
    });
    let function = proto::Function {
        name: "Act".into(),
        domain: "my".into(),
        input: vec!["v".into()],
        output: vec!["out".into()],
        node: vec![leaky, node("Neg", &["w"], "out")],
        ..Default::default()
    };
    let mut g = Graph::new(&[1, 2]).node("Act", &["x"], "w", &[("slope", A::Float(0.5))]);
    g = g.node("Act", &["w"], "y", &[("slope", A::Float(0.25))]);
    g.0.node.iter_mut().for_each(|n| n.domain = "my".into());
    let file = |functions| {
        let opset_import = vec![proto::OperatorSet { domain: String::new(), version: 13 }];
        proto::Model { ir_version: 8, graph: Some(g.0.clone()), opset_import, functions, ..Default::default() }
    };
    let model = decode(&file(vec![function.clone()]).encode_to_vec(), None).unwrap().model;
    assert_eq!(out(&model, &[4.0, -4.0]), [1.0, -2.0]);
    let mut endless = function;
    endless.node.push(proto::Node { domain: "my".into(), ..node("Act", &["w"], "again") });
    let error = decode(&file(vec![endless]).encode_to_vec(), None).unwrap_err().to_string();
    assert!(error.contains("Act: calls itself"), "{error}");
}

#[test]
fn a_branch_whose_condition_is_known_is_taken() {
    let branch = |op: &str, name: &str| {
        let mut graph = relu().node(op, &["r"], name, &[]).0;
        graph.node.remove(0);
        graph.output[0].name = name.into();
        Some(Box::new(graph))
    };
    let attribute = |name: &str, g| proto::Attribute { name: name.into(), g, ..Default::default() };
    for (condition, expected) in [(1, -2.0), (0, 2.0)] {
        let mut g = relu().node("If", &["c"], "y", &[]);
        g.0.initializer.push(tensor("c", &[], data_type::BOOL, vec![condition]));
        g.0.node[1].attribute =
            vec![attribute("then_branch", branch("Neg", "t")), attribute("else_branch", branch("Abs", "e"))];
        assert_eq!(out(&g.read(), &[-1.0, 2.0, 0.0])[1], expected);
    }
    let mut g = relu().node("If", &["r"], "y", &[]);
    g.0.node[1].attribute = vec![attribute("then_branch", branch("Neg", "t"))];
    assert!(g.error().contains("depends on the image"));
}

#[test]
fn one_of_several_outputs_is_read() {
    let mut g = relu().node("Neg", &["r"], "y", &[]);
    g.0.output = vec![value("y", &[1, 3]), value("r", &[1, 3])];
    let error = decode_as(&g.bytes(), None, &Choice::classifier()).unwrap_err().to_string();
    assert!(error.contains("y (3), r (3)") && error.contains("--output y"), "{error}");
    let named = |name: &str| Choice { output: Some(name.into()), ..Choice::classifier() };
    assert_eq!(decode_as(&g.bytes(), None, &named("r")).unwrap().model.nodes.len(), 1);
    assert!(decode_as(&g.bytes(), None, &named("q")).unwrap_err().to_string().contains("no output 'q'"));
    g.0.output[1] = value("r", &[1, 4]);
    assert_eq!(scores_of(&g.bytes()).unwrap(), [("y".into(), Some(3)), ("r".into(), Some(4))]);
    // Only one of them is a row of scores.
    g.0.output[1] = value("r", &[1, 3, 4, 4]);
    let loaded = decode_as(&g.bytes(), None, &Choice::classifier()).unwrap();
    assert!(loaded.model.nodes.len() == 2 && loaded.warnings[0].contains("only y can be scores"));
}

#[test]
fn what_keeps_the_order_of_the_classes_is_left_out() {
    let one = |g: Graph| g.floats("one", &[], &[1.0]);
    let softmax = relu().node("Softmax", &["r"], "s", &[("axis", A::Int(1))]).node("Identity", &["s"], "y", &[]);
    let spelled =
        relu().node("ReduceMax", &["r"], "m", &[("axes", A::Ints(vec![1]))]).node("Sub", &["r", "m"], "d", &[]);
    let spelled = spelled.node("Exp", &["d"], "e", &[]).node("ReduceSum", &["e"], "n", &[("axes", A::Ints(vec![1]))]);
    let spelled = spelled.node("Div", &["e", "n"], "y", &[]);
    let sigmoid = relu().node("Sigmoid", &["r"], "y", &[]);
    let parts =
        one(relu()).node("Neg", &["r"], "n", &[]).node("Exp", &["n"], "e", &[]).node("Add", &["one", "e"], "a", &[]);
    let logistic = parts.node("Div", &["one", "a"], "y", &[]);
    for g in [softmax, spelled, sigmoid, logistic] {
        let loaded = classifier(g);
        assert_eq!((loaded.model.nodes.len(), loaded.softmax), (1, true));
        assert!(loaded.warnings[0].contains("is left out"), "{:?}", loaded.warnings);
    }
    // Who asks for values gets them.
    assert_eq!(relu().node("Sigmoid", &["r"], "y", &[]).read().nodes.len(), 2);
    let wrong = Graph::new(&[1, 2, 2, 1]).node("Softmax", &["x"], "y", &[("axis", A::Int(1))]);
    assert!(wrong.error().contains("over the classes"));
}

#[test]
fn one_output_tells_two_classes_apart() {
    let g = || Graph::new(&[1, 2]).floats("w", &[2, 1], &[1.0, -1.0]).node("MatMul", &["x", "w"], "z", &[]);
    let probability = g().node("Sigmoid", &["z"], "y", &[]);
    let both = g().floats("one", &[], &[1.0]).node("Sigmoid", &["z"], "s", &[]).node("Sub", &["one", "s"], "o", &[]);
    let both = both.node("Concat", &["o", "s"], "y", &[("axis", A::Int(1))]);
    for g in [g().node("Identity", &["z"], "y", &[]), probability, both] {
        let loaded = classifier(g);
        assert!(loaded.binary.is_some() && loaded.warnings.iter().any(|w| w.contains("two classes apart")));
        assert_eq!(out(&loaded.model, &[3.0, 1.0]), [0.0, 2.0]);
    }
    assert_eq!(g().node("Identity", &["z"], "y", &[]).read().outputs(), 1);
}

#[test]
fn open_sizes_and_other_types_of_input() {
    let any = || Graph::new(&[1, 1, 0, 0]).node("GlobalMaxPool", &["x"], "y", &[]);
    let error = decode_as(&any().bytes(), None, &Choice::classifier()).unwrap_err().to_string();
    assert!(error.contains("--size"), "{error}");
    let sized = Choice { size: Some([2, 3]), ..Choice::classifier() };
    assert_eq!(decode_as(&any().bytes(), None, &sized).unwrap().model.input, Shape::new(1, 2, 3));
    let typed = |kind| {
        let mut g = Graph::new(&[1, 2]).node("Cast", &["x"], "f", &[("to", A::Int(1))]).node("Relu", &["f"], "y", &[]);
        g.0.input[0].ty.as_mut().unwrap().tensor.as_mut().unwrap().elem_type = Some(kind);
        g
    };
    assert!(classifier(typed(data_type::UINT8)).bytes);
    assert!(!classifier(typed(data_type::FLOAT16)).bytes);
    assert!(typed(data_type::UINT8).error().contains("float input"));
}
