//! Writing ONNX: IR 8, opset 17, one node per layer, so that onnxruntime runs it and Netron shows it as it is.

use std::collections::HashSet;
use std::path::Path;

use prost::Message;

use super::super::activation::{Activation, function_of};
use super::super::{Layer, Model, Node, Source};
use super::proto::{self, attribute_type, data_type};
use crate::error::{Error, Result};
use crate::output::write_atomically;
use crate::tensor::Shape;

/// Name of the graph's input, `[N,C,H,W]` (or `[N,n]` for a plain vector).
pub const INPUT: &str = "input";
/// Name of the graph's output, `[N,classes]`.
pub const OUTPUT: &str = "logits";
/// Metadata key under which the class names stand, a JSON list.
pub const CLASSES: &str = "classes";

/// Writes `model` as ONNX. The file appears under its name only when it is complete.
///
/// # Errors
/// [`Error::Usage`] if the model is not whole; [`Error::Io`].
pub fn write(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = encode(model).map_err(|e| Error::usage(format!("cannot write {}: {e}", path.display())))?;
    write_atomically(path, &bytes)
}

/// Whether a file that begins like this was written by [`write()`]: IR version, then the producer's name.
pub fn is_own(start: &[u8]) -> bool {
    start.len() >= 12 && start[0] == 0x08 && start[2..].starts_with(b"\x12\x08deltamax")
}

/// The bytes of the file [`write()`] writes.
pub fn encode(model: &Model) -> std::result::Result<Vec<u8>, String> {
    model.validate()?;
    let windowed = |n: &Node| matches!(n.layer, Layer::Conv(_) | Layer::MaxPool(_) | Layer::AvgPool(_));
    let image =
        model.input.height * model.input.width > 1 || model.nodes.iter().any(|n| n.inputs[0] == 0 && windowed(n));
    let input = Value { name: INPUT.into(), flat: !image };
    let (inputs, values) = (vec![value_info(&input, model.input)], vec![input]);
    let mut writer = Writer { model, nodes: vec![], tensors: vec![], values, converted: HashSet::new() };
    for (i, node) in model.nodes.iter().enumerate() {
        writer.node(node, i + 1 == model.nodes.len()).map_err(|e| format!("node '{}': {e}", node.name))?;
    }
    let output = value_info(&writer.values[model.output()], model.shape(model.output()));
    let classes = serde_json::to_string(&model.classes).map_err(|e| e.to_string())?;
    let graph = proto::Graph {
        name: "classifier".into(),
        node: writer.nodes,
        initializer: writer.tensors,
        input: inputs,
        output: vec![output],
        ..Default::default()
    };
    let file = proto::Model {
        ir_version: 8,
        producer_name: "deltamax".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: 17 }],
        metadata_props: vec![proto::Entry { key: CLASSES.into(), value: classes }],
        functions: vec![],
    };
    Ok(file.encode_to_vec())
}

/// A value of the ONNX graph.
#[derive(Clone)]
struct Value {
    name: String,
    /// `[N,n]` rather than `[N,C,H,W]`.
    flat: bool,
}

struct Writer<'a> {
    model: &'a Model,
    nodes: Vec<proto::Node>,
    tensors: Vec<proto::Tensor>,
    values: Vec<Value>,
    /// Values brought into the other form already, by the name of the result.
    converted: HashSet<String>,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node, last: bool) -> std::result::Result<(), String> {
        let (x, y) = (self.model.shape(node.inputs[0]), node.shape);
        let output = if last { OUTPUT.to_string() } else { format!("{}.out", node.name) };
        let first = self.values[node.inputs[0]].clone();
        let flat = match &node.layer {
            Layer::Conv(c) => {
                let geometry = window(c.kernel, c.stride, c.pad, x, y)?;
                let input = self.image(first, x);
                let weight =
                    self.floats(node, "weight", &[y.channels, x.channels, c.kernel[0], c.kernel[1]], &c.weight);
                let bias = self.floats(node, "bias", &[c.bias.len()], &c.bias);
                self.push(&node.name, "Conv", vec![input, weight, bias], &output, geometry);
                false
            }
            Layer::Dense(d) => {
                let input = self.flat(first);
                let weight = self.floats(node, "weight", &[y.len(), x.len()], &d.weight);
                let bias = self.floats(node, "bias", &[d.bias.len()], &d.bias);
                self.push(&node.name, "Gemm", vec![input, weight, bias], &output, vec![int("transB", 1)]);
                true
            }
            Layer::Relu => {
                self.push(&node.name, "Relu", vec![first.name], &output, vec![]);
                first.flat
            }
            Layer::Activation(f) => {
                self.activation(node, f, &first, &output)?;
                first.flat
            }
            Layer::MaxPool(p) => {
                let geometry = window(p.kernel, p.stride, p.pad, x, y)?;
                let input = self.image(first, x);
                self.push(&node.name, "MaxPool", vec![input], &output, geometry);
                false
            }
            Layer::AvgPool(p) => {
                let mut geometry = window(p.kernel, p.stride, p.pad, x, y)?;
                geometry.push(int("count_include_pad", i64::from(p.count_include_pad)));
                let input = self.image(first, x);
                self.push(&node.name, "AveragePool", vec![input], &output, geometry);
                false
            }
            Layer::Add => {
                let second = self.values[node.inputs[1]].clone();
                let second = if first.flat { self.flat(second) } else { self.image(second, x) };
                self.push(&node.name, "Add", vec![first.name, second], &output, vec![]);
                first.flat
            }
            Layer::Scale { scale, shift } => {
                let dims = if first.flat { vec![1, x.len()] } else { vec![1, x.channels, x.height, x.width] };
                let scale = self.floats(node, "scale", &dims, scale);
                let shift = self.floats(node, "shift", &dims, shift);
                let product = format!("{}.product", node.name);
                self.push(&product, "Mul", vec![first.name, scale], &product, vec![]);
                self.push(&node.name, "Add", vec![product.clone(), shift], &output, vec![]);
                first.flat
            }
            Layer::Gather(map) => {
                self.gather(node, map, &output);
                true
            }
        };
        self.values.push(Value { name: output, flat });
        Ok(())
    }

    fn activation(
        &mut self,
        node: &Node,
        functions: &[Activation],
        x: &Value,
        output: &str,
    ) -> std::result::Result<(), String> {
        let mut inputs = vec![x.name.clone()];
        let mut attributes = vec![];
        let operator = match functions {
            [f] => {
                match f {
                    Activation::LeakyRelu(l) => attributes.push(float("alpha", l.slope)),
                    Activation::HardSigmoid(h) => attributes.extend([float("alpha", h.alpha), float("beta", h.beta)]),
                    Activation::Clip(c) => {
                        for (what, bound) in [("min", c.low), ("max", c.high)] {
                            // A bound that is missing has an empty name.
                            let name =
                                if bound.is_finite() { self.floats(node, what, &[], &[bound]) } else { String::new() };
                            inputs.push(name);
                        }
                    }
                    Activation::Abs(_) | Activation::HardSwish(_) | Activation::Sigmoid(_) | Activation::Tanh(_) => {}
                }
                f.operator()
            }
            several => {
                let slopes: Option<Vec<f32>> = (0..node.shape.len())
                    .map(|k| match function_of(several, k, node.shape.len()) {
                        Activation::LeakyRelu(l) => Some(l.slope),
                        Activation::Clip(_)
                        | Activation::Abs(_)
                        | Activation::HardSigmoid(_)
                        | Activation::HardSwish(_)
                        | Activation::Sigmoid(_)
                        | Activation::Tanh(_) => None,
                    })
                    .collect();
                let slopes = slopes.ok_or("ONNX has no operator for several functions of these kinds")?;
                let Shape { channels, height, width } = node.shape;
                let dims = if x.flat { vec![node.shape.len()] } else { vec![channels, height, width] };
                inputs.push(self.floats(node, "slope", &dims, &slopes));
                "PRelu"
            }
        };
        self.push(&node.name, operator, inputs, output, attributes);
        Ok(())
    }

    /// The inputs side by side, a zero after them, and then one ONNX `Gather`.
    fn gather(&mut self, node: &Node, map: &[Option<Source>], output: &str) {
        let inputs: Vec<String> = node.inputs.iter().map(|&v| self.flat(self.values[v].clone())).collect();
        let mut starts = vec![0];
        for &v in &node.inputs {
            starts.push(starts[starts.len() - 1] + self.model.shape(v).len() as i64);
        }
        let all = format!("{}.all", node.name);
        self.push(&all, "Concat", inputs, &all, vec![int("axis", 1)]);
        let pads = self.integers(&format!("{}.pads", node.name), &[0, 0, 0, 1]);
        let padded = format!("{}.padded", node.name);
        self.push(&padded, "Pad", vec![all, pads], &padded, vec![]);
        let zero = starts[node.inputs.len()];
        let at = |s: &Option<Source>| s.map_or(zero, |s| starts[s.input as usize] + i64::from(s.index));
        let indices: Vec<i64> = map.iter().map(at).collect();
        let indices = self.integers(&format!("{}.indices", node.name), &indices);
        self.push(&node.name, "Gather", vec![padded, indices], output, vec![int("axis", 1)]);
    }

    /// `value` as `[N,n]`.
    fn flat(&mut self, value: Value) -> String {
        if value.flat {
            return value.name;
        }
        let flat = format!("{}.flat", value.name);
        if self.converted.insert(flat.clone()) {
            self.push(&flat, "Flatten", vec![value.name], &flat, vec![int("axis", 1)]);
        }
        flat
    }

    /// `value` as `[N,C,H,W]`.
    fn image(&mut self, value: Value, shape: Shape) -> String {
        if !value.flat {
            return value.name;
        }
        let image = format!("{}.image", value.name);
        if self.converted.insert(image.clone()) {
            let dims = [-1, shape.channels as i64, shape.height as i64, shape.width as i64];
            let dims = self.integers(&format!("{image}.shape"), &dims);
            self.push(&image, "Reshape", vec![value.name, dims], &image, vec![]);
        }
        image
    }

    fn push(&mut self, name: &str, op: &str, input: Vec<String>, output: &str, attribute: Vec<proto::Attribute>) {
        let output = vec![output.to_string()];
        let node =
            proto::Node { input, output, name: name.into(), op_type: op.into(), attribute, ..Default::default() };
        self.nodes.push(node);
    }

    fn floats(&mut self, node: &Node, what: &str, dims: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(format!("{}.{what}", node.name), dims, data_type::FLOAT, raw)
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name.into(), &[values.len()], data_type::INT64, raw)
    }

    fn tensor(&mut self, name: String, dims: &[usize], kind: i32, raw: Vec<u8>) -> String {
        self.tensors.push(proto::Tensor {
            name: name.clone(),
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: Some(kind),
            raw_data: Some(raw),
            ..Default::default()
        });
        name
    }
}

fn value_info(value: &Value, shape: Shape) -> proto::ValueInfo {
    let dims = if value.flat { vec![shape.len()] } else { vec![shape.channels, shape.height, shape.width] };
    let batch = proto::Dimension { value: None, param: Some("N".into()) };
    let rest = dims.into_iter().map(|d| proto::Dimension { value: Some(d as i64), param: None });
    let shape = Some(proto::TensorShape { dim: std::iter::once(batch).chain(rest).collect() });
    let tensor = Some(proto::TensorType { elem_type: Some(data_type::FLOAT), shape });
    proto::ValueInfo { name: value.name.clone(), ty: Some(proto::Type { tensor }) }
}

fn int(name: &str, value: i64) -> proto::Attribute {
    proto::Attribute { name: name.into(), i: Some(value), kind: Some(attribute_type::INT), ..Default::default() }
}

fn float(name: &str, value: f32) -> proto::Attribute {
    proto::Attribute { name: name.into(), f: Some(value), kind: Some(attribute_type::FLOAT), ..Default::default() }
}

fn ints(name: &str, values: &[usize]) -> proto::Attribute {
    let ints = values.iter().map(|&v| v as i64).collect();
    proto::Attribute { name: name.into(), ints, kind: Some(attribute_type::INTS), ..Default::default() }
}

/// Kernel, stride and pads; the pads below and to the right are what the output's size needs.
fn window(
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    x: Shape,
    y: Shape,
) -> std::result::Result<Vec<proto::Attribute>, String> {
    let mut pads = [pad[0], pad[1], 0, 0];
    for (axis, n, out) in [(0, x.height, y.height), (1, x.width, y.width)] {
        let after = ((out - 1) * stride[axis] + kernel[axis]).saturating_sub(n + pad[axis]);
        if (n + pad[axis] + after - kernel[axis]) / stride[axis] + 1 != out {
            return Err(format!("windows of {kernel:?} over {x} do not end at {y}"));
        }
        pads[2 + axis] = after;
    }
    Ok(vec![ints("kernel_shape", &kernel), ints("strides", &stride), ints("pads", &pads)])
}
