//! What each operator becomes, and what is said of those that are not read.

use super::build::Builder;
use super::elementwise::{self, Arithmetic};
use super::error::{OnnxError, OnnxResult, quote};
use super::op::Op;
use super::proto;
use super::reduce::{self, Reduce};
use super::{
    activation, affine, copies, extremes, fold, head, logic, movement, pad, resize, tensors, transposed, window,
};

/// Reads nodes one after another.
pub fn nodes(b: &mut Builder, nodes: &[proto::Node], opset: i64) -> OnnxResult<()> {
    for node in nodes {
        let second = node.output.iter().skip(1).find(|o| b.uses.contains_key(o.as_str())).map(String::as_str);
        let op = Op { node, opset, second };
        operator(b, &op)?;
    }
    Ok(())
}

fn operator(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    let domain = op.node.domain.as_str();
    let kind = if domain.is_empty() || domain == "ai.onnx" { op.node.op_type.as_str() } else { "" };
    let known = || op.node.input.iter().all(|n| b.is_constant(n));
    match kind {
        "Conv" => affine::conv(b, op),
        "ConvTranspose" => transposed::conv_transpose(b, op),
        "Gemm" => affine::gemm(b, op),
        "MatMul" => affine::matmul(b, op),
        "BatchNormalization" => affine::batch_norm(b, op),
        "Relu" => elementwise::relu(b, op),
        "Add" => elementwise::arithmetic(b, op, Arithmetic::Add),
        "Sub" => elementwise::arithmetic(b, op, Arithmetic::Sub),
        "Mul" => elementwise::arithmetic(b, op, Arithmetic::Mul),
        "Div" => elementwise::arithmetic(b, op, Arithmetic::Div),
        "Sum" => elementwise::sum(b, op, false),
        "Mean" => elementwise::sum(b, op, true),
        "Max" => extremes::extreme(b, op, true),
        "Min" => extremes::extreme(b, op, false),
        "Neg" | "Abs" | "Floor" | "Ceil" | "Sqrt" | "Reciprocal" | "Not" if known() => logic::unary(b, op),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Mod" if known() => {
            logic::compare(b, op)
        }
        "Where" => logic::choose(b, op),
        "Range" => logic::range(b, op),
        "Neg" => elementwise::negate(b, op),
        "Softmax" | "LogSoftmax" => op.fail(head::ELSEWHERE),
        "MaxPool" => window::pool(b, op, true),
        "AveragePool" => window::pool(b, op, false),
        "GlobalMaxPool" => window::global_pool(b, op, true),
        "GlobalAveragePool" => window::global_pool(b, op, false),
        "ReduceMean" => reduce::reduce(b, op, Reduce::Mean),
        "ReduceSum" => reduce::reduce(b, op, Reduce::Sum),
        "ReduceMax" => reduce::reduce(b, op, Reduce::Max),
        "ReduceMin" => reduce::reduce(b, op, Reduce::Min),
        "ReduceProd" => reduce::reduce(b, op, Reduce::Product),
        "ReduceL1" => reduce::reduce(b, op, Reduce::Norm),
        "Identity" | "Dropout" => movement::identity(b, op),
        "Flatten" => movement::flatten(b, op),
        "Reshape" => movement::reshape(b, op),
        "Squeeze" => movement::squeeze(b, op),
        "Unsqueeze" => movement::unsqueeze(b, op),
        "Transpose" => movement::transpose(b, op),
        "Slice" => movement::slice(b, op),
        "Split" => movement::split(b, op),
        "Gather" => movement::gather(b, op),
        "GatherND" => movement::gather_nd(b, op),
        "Concat" => movement::concat(b, op),
        "Pad" => pad::pad(b, op),
        "Expand" => copies::expand(b, op),
        "Tile" => copies::tile(b, op),
        "Resize" | "Upsample" => resize::resize(b, op),
        "DepthToSpace" => copies::blocks(b, op, true),
        "SpaceToDepth" => copies::blocks(b, op, false),
        "Constant" => fold::constant(b, op),
        "ConstantOfShape" => fold::constant_of_shape(b, op),
        "Shape" => fold::shape(b, op),
        "Size" => fold::size(b, op),
        "Cast" => fold::cast(b, op),
        "DequantizeLinear" => fold::dequantize(b, op),
        "If" => branch(b, op),
        _ if activation::read(b, op, kind)? => Ok(()),
        _ => Err(unsupported(op)),
    }
}

/// `If`, whose condition is known: the nodes of one branch stand in its place.
fn branch(b: &mut Builder, op: &Op) -> OnnxResult<()> {
    b.at_most(op, 1)?;
    if !b.is_constant(op.node.input.first().map_or("", String::as_str)) {
        return op.fail("depends on the image; export a network that does the same for all");
    }
    let condition = match b.ints(op, 0)? {
        Some(&[condition]) => condition != 0,
        _ => return op.fail("its condition is no single truth value"),
    };
    let name = if condition { "then_branch" } else { "else_branch" };
    let graph = op.attribute(name).and_then(|a| a.g.as_deref()).ok_or_else(|| op.error(format!("has no {name}")))?;
    if graph.output.len() != op.node.output.len() || !graph.sparse_initializer.is_empty() {
        return op.fail("its branch does not fit it; export the network again");
    }
    for tensor in &graph.initializer {
        let value = super::build::Value::Const(tensors::read(tensor.clone(), &mut b.external)?);
        if b.values.insert(tensor.name.clone(), value).is_some() {
            return Err(OnnxError::tensor(&tensor.name, "exists twice"));
        }
    }
    nodes(b, &graph.node, op.opset)?;
    for (k, output) in graph.output.iter().enumerate() {
        let value = b.values.get(&output.name).cloned();
        let value = value.ok_or_else(|| op.error(format!("its branch does not compute '{}'", quote(&output.name))))?;
        b.define_output(op, k, value)?;
    }
    Ok(())
}

/// What its user can do about an operator that is not read.
fn unsupported(op: &Op) -> OnnxError {
    let (domain, kind) = (op.node.domain.as_str(), op.node.op_type.as_str());
    let operator = if domain.is_empty() { quote(kind) } else { quote(&format!("{domain}.{kind}")) };
    let quantised = ["Quantize", "QLinear", "Integer", "DynamicQuantize"];
    let remedy = if quantised.iter().any(|q| kind.contains(q)) {
        "export the float network, before it was quantised"
    } else if domain == "ai.onnx.ml" {
        "only neural networks are read; choose an output before it with --output"
    } else if ["LSTM", "GRU", "RNN", "Loop", "Scan"].contains(&kind) {
        "only feed-forward networks are read; export one without it"
    } else if ["LayerNormalization", "InstanceNormalization", "GroupNormalization", "LRN"].contains(&kind) {
        "train with batch normalisation in its place"
    } else if ["Erf", "Gelu", "Elu", "Selu", "Celu", "Softplus", "Mish", "Exp", "Pow"].contains(&kind) {
        "of activations those of docs/models.md are read; train with one of them"
    } else {
        "export the network without it; docs/models.md lists what is read"
    };
    OnnxError::Unsupported { node: quote(op.name()), operator, remedy }
}
