//! Reading ONNX: the file's operators, one after another, become layers of a [`Model`].

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::super::Model;
use super::build::{Builder, Live, Value, shape_of};
use super::elementwise::{self, Arithmetic};
use super::error::{OnnxError, OnnxResult, quote};
use super::external::External;
use super::op::Op;
use super::tensors;
use super::write::CLASSES;
use super::{activation, affine, fold, movement, proto, size, window};
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// Largest file that is read, compressed or not: the limit of the format itself.
const MAX_BYTES: u64 = 1 << 31;

/// A model read from a file, and what its user should know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The network; its input in the order of the file.
    pub model: Model,
    /// One line each, to be shown: a softmax left out, subnormal weights, folded layers.
    pub warnings: Vec<String>,
    /// The file ends in a softmax, which was left out: outputs compare with each other as the file's do, but their
    /// values are the logits.
    pub softmax: bool,
    /// The file's images are rows, columns, channels: so is the input of the model, unless turned round by
    /// [`Model::channels_first`].
    pub channels_last: bool,
}

/// Reads an ONNX model (`.onnx`, or `.gz` of one) of images. Its input is `[channel][row][column]`, in whatever order the
/// file takes it. See [`load`].
///
/// # Errors
/// As [`load`].
pub fn read(path: impl AsRef<Path>) -> Result<Model> {
    Ok(read_noted(path)?.0)
}

/// [`read`] with what the user of the model should know about it, one line each.
///
/// # Errors
/// As [`load`].
pub fn read_noted(path: impl AsRef<Path>) -> Result<(Model, Vec<String>)> {
    let path = path.as_ref();
    load(path)?.in_order(path)
}

impl Loaded {
    /// The model over channels, rows, columns, and what its user should know about it. Errors name `path`.
    ///
    /// # Errors
    /// If turning its channels round changes what it computes: a fault of this program.
    pub fn in_order(self, path: &Path) -> Result<(Model, Vec<String>)> {
        Ok((channels_first(path, self.model, self.channels_last)?, self.warnings))
    }
}

/// The file's own network, in the order of [`read`]: every batch normalisation, product, quotient and sum with constants
/// is a [`Layer::Scale`](crate::model::Layer::Scale) of its own, nothing was put into the weights of another layer. Its nonlinear layers are those of
/// [`read`], in the same order. Charges are left only for constants that are no f32 (`gamma / sqrt(variance + epsilon)`,
/// weights in 64 bits). For whoever checks what was said of the model that is used.
///
/// # Errors
/// As [`load`].
pub fn read_unfolded(path: impl AsRef<Path>) -> Result<Model> {
    let path = path.as_ref();
    let file = understand(&bytes(path)?, folder(path), false).map_err(|e| Error::input(path, e.to_string()))?;
    channels_first(path, file.model, file.channels_last)
}

fn channels_first(path: &Path, model: Model, channels_last: bool) -> Result<Model> {
    if channels_last { model.channels_first().map_err(|e| Error::input(path, e)) } else { Ok(model) }
}

/// Reads an ONNX model (`.onnx`, or `.gz` of one), its input in the flat order of the file's. The model is whole:
/// nothing in the file was passed over.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Input`] naming the node and operator if it cannot be understood.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded> {
    let path = path.as_ref();
    decode(&bytes(path)?, folder(path)).map_err(|e| Error::input(path, e.to_string()))
}

/// The bytes of an ONNX file, unpacked.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    crate::spec::read_maybe_gz(path, MAX_BYTES)
}

/// Where the other files of a model lie.
pub(super) fn folder(path: &Path) -> Option<&Path> {
    path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
}

/// The messages of an ONNX file.
pub(super) fn parse(bytes: &[u8]) -> OnnxResult<proto::Model> {
    size::check(bytes)?;
    if bytes.is_empty() {
        return Err(OnnxError::Format("the file is empty".into()));
    }
    proto::Model::decode(bytes).map_err(|e| OnnxError::Format(quote(&e.to_string())))
}

/// Reads the bytes of an ONNX file; external data is looked for in `folder`. The model is compared with that of
/// [`decode_unfolded`].
///
/// # Errors
/// Names the node and operator that cannot be understood.
pub fn decode(bytes: &[u8], folder: Option<&Path>) -> OnnxResult<Loaded> {
    let loaded = understand(bytes, folder, true)?;
    if !loaded.model.is_tried() {
        return Ok(loaded);
    }
    let unfolded = decode_unfolded(bytes, folder)?;
    let model = unfolded.becomes(loaded.model, <[f32]>::to_vec).map_err(OnnxError::graph)?;
    Ok(Loaded { model, ..loaded })
}

/// The file's own network, see [`read_unfolded`], its input in the flat order of the file's.
///
/// # Errors
/// As [`decode`].
pub fn decode_unfolded(bytes: &[u8], folder: Option<&Path>) -> OnnxResult<Model> {
    Ok(understand(bytes, folder, false)?.model)
}

/// What a file says, constants put into the weights of other layers or not.
fn understand(bytes: &[u8], folder: Option<&Path>, merging: bool) -> OnnxResult<Loaded> {
    let file = parse(bytes)?;
    let Some(graph) = file.graph else { return Err(OnnxError::Format("it holds no graph".into())) };
    let standard = |o: &&proto::OperatorSet| o.domain.is_empty() || o.domain == "ai.onnx";
    let opset = match file.opset_import.iter().find(standard) {
        Some(o) if o.version >= 7 => o.version,
        Some(o) => {
            return Err(OnnxError::graph(format!("opset {} is too old; export with opset 7 or newer", o.version)));
        }
        None => return Err(OnnxError::graph("the file names no operator set; export the network again")),
    };
    if !graph.sparse_initializer.is_empty() {
        return Err(OnnxError::graph("sparse weights are not supported; export them dense"));
    }
    let classes = file.metadata_props.into_iter().find(|e| e.key == CLASSES).map(|e| e.value);
    read_graph(graph, opset, classes, External::new(folder), merging)
}

fn read_graph(
    graph: proto::Graph,
    opset: i64,
    classes: Option<String>,
    mut external: External,
    merging: bool,
) -> OnnxResult<Loaded> {
    let mut constants = HashMap::new();
    for tensor in graph.initializer {
        let name = tensor.name.clone();
        let value = Value::Const(tensors::read(tensor, &mut external)?);
        if constants.insert(name.clone(), value).is_some() {
            return Err(OnnxError::tensor(&name, "exists twice"));
        }
    }
    let inputs: Vec<_> = graph.input.iter().filter(|i| !constants.contains_key(&i.name)).collect();
    let [input] = inputs[..] else {
        return Err(OnnxError::graph(format!("the network has {} inputs, one is needed", inputs.len())));
    };
    let [output] = &graph.output[..] else {
        return Err(OnnxError::graph(format!("the network has {} outputs, one is needed", graph.output.len())));
    };
    let dims = input_dims(input)?;
    let shape =
        shape_of(&dims).ok_or_else(|| OnnxError::graph(format!("an input of {dims:?} is empty or too large")))?;

    let mut uses: HashMap<String, usize> = HashMap::new();
    let read_names = graph.node.iter().flat_map(|n| &n.input).chain([&output.name]);
    for name in read_names.filter(|n| !n.is_empty()) {
        *uses.entry(name.clone()).or_default() += 1;
    }
    let declared: HashMap<&str, &proto::ValueInfo> =
        graph.value_info.iter().chain(&graph.output).map(|v| (v.name.as_str(), v)).collect();
    let mut b = Builder::new(shape, merging, external, uses);
    b.values = constants;
    b.values.insert(input.name.clone(), Value::Live(Live { id: 0, dims: dims.clone(), sole: false }));
    for node in &graph.node {
        let op = Op { node, opset };
        operator(&mut b, &op, &output.name)?;
        for name in &node.output {
            if let (Some(info), Some(Value::Live(live))) = (declared.get(name.as_str()), b.values.get(name)) {
                check_declared(&op, info, &live.dims)?;
            }
        }
    }
    let last = match b.values.get(&output.name) {
        Some(Value::Live(live)) => live.id,
        Some(Value::Const(_)) => return Err(OnnxError::graph("the network's output is a constant")),
        None => return Err(OnnxError::graph(format!("nothing computes the output '{}'", quote(&output.name)))),
    };
    finish(b, &dims, last, classes)
}

/// Dimensions of the input for a batch of one.
fn input_dims(input: &proto::ValueInfo) -> OnnxResult<Vec<usize>> {
    let fail = |problem: String| Err(OnnxError::graph(format!("input '{}': {problem}", quote(&input.name))));
    let tensor = input.ty.as_ref().and_then(|t| t.tensor.as_ref());
    let Some(tensor) = tensor else { return fail("has no tensor type".into()) };
    use proto::data_type::{DOUBLE, FLOAT};
    if !matches!(tensor.elem_type, Some(FLOAT | DOUBLE)) {
        return fail("is not a tensor of 32 bit floats".into());
    }
    let Some(shape) = &tensor.shape else { return fail("has no shape; export with fixed sizes".into()) };
    let mut dims = vec![];
    for (k, d) in shape.dim.iter().enumerate() {
        dims.push(match d.value {
            Some(v) if v > 1 && k == 0 && shape.dim.len() > 1 => {
                return fail(format!("has a fixed batch of {v}; export with a batch of 1 or a dynamic one"));
            }
            Some(v) if v > 0 => usize::try_from(v).unwrap_or(usize::MAX),
            _ if k == 0 && shape.dim.len() > 1 => 1,
            _ => return fail(format!("dimension {k} has no fixed size; export with fixed sizes")),
        });
    }
    if dims.is_empty() { fail("is a single number".into()) } else { Ok(dims) }
}

/// The shape the file declares for a value must be the one our layers give.
fn check_declared(op: &Op, info: &proto::ValueInfo, dims: &[usize]) -> OnnxResult<()> {
    let Some(shape) = info.ty.as_ref().and_then(|t| t.tensor.as_ref()).and_then(|t| t.shape.as_ref()) else {
        return Ok(());
    };
    let declared: Vec<i64> = shape.dim.iter().map(|d| d.value.unwrap_or(0)).take(32).collect();
    let fits = declared.len() == dims.len()
        && declared.iter().zip(dims).all(|(&want, &have)| want <= 0 || usize::try_from(want) == Ok(have));
    if fits {
        return Ok(());
    }
    op.fail(format!("the file declares {declared:?} for '{}', its layers give {dims:?}", quote(&info.name)))
}

fn operator(b: &mut Builder, op: &Op, output: &str) -> OnnxResult<()> {
    let domain = op.node.domain.as_str();
    let kind = if domain.is_empty() || domain == "ai.onnx" { op.node.op_type.as_str() } else { "" };
    match kind {
        "Conv" => affine::conv(b, op),
        "Gemm" => affine::gemm(b, op),
        "MatMul" => affine::matmul(b, op),
        "BatchNormalization" => affine::batch_norm(b, op),
        "Relu" => elementwise::relu(b, op),
        "Add" => elementwise::arithmetic(b, op, Arithmetic::Add),
        "Sub" => elementwise::arithmetic(b, op, Arithmetic::Sub),
        "Mul" => elementwise::arithmetic(b, op, Arithmetic::Mul),
        "Div" => elementwise::arithmetic(b, op, Arithmetic::Div),
        "Neg" => elementwise::negate(b, op),
        "Softmax" | "LogSoftmax" => elementwise::softmax(b, op, output),
        "MaxPool" => window::pool(b, op, true),
        "AveragePool" => window::pool(b, op, false),
        "GlobalMaxPool" => window::global_pool(b, op, true),
        "GlobalAveragePool" => window::global_pool(b, op, false),
        "ReduceMean" => window::reduce_mean(b, op),
        "Identity" | "Dropout" => movement::identity(b, op),
        "Flatten" => movement::flatten(b, op),
        "Reshape" => movement::reshape(b, op),
        "Squeeze" => movement::squeeze(b, op),
        "Unsqueeze" => movement::unsqueeze(b, op),
        "Transpose" => movement::transpose(b, op),
        "Slice" => movement::slice(b, op),
        "Split" => movement::split(b, op),
        "Gather" => movement::gather(b, op),
        "Concat" => movement::concat(b, op),
        "Pad" => movement::pad(b, op),
        "Constant" => fold::constant(b, op),
        "ConstantOfShape" => fold::constant_of_shape(b, op),
        "Shape" => fold::shape(b, op),
        "Cast" => fold::cast(b, op),
        _ if activation::read(b, op, kind)? => Ok(()),
        _ => {
            let operator = if domain.is_empty() {
                quote(&op.node.op_type)
            } else {
                quote(&format!("{domain}.{}", op.node.op_type))
            };
            Err(OnnxError::Unsupported { node: quote(op.name()), operator })
        }
    }
}

fn finish(mut b: Builder, dims: &[usize], last: usize, classes: Option<String>) -> OnnxResult<Loaded> {
    let channels_last = is_channels_last(&b, dims);
    let mut warnings = std::mem::take(&mut b.warnings);
    let (input, softmax) = (b.input, b.softmax);
    b.values.clear();
    let (nodes, folded) = b.prune(last)?;
    let mut model = Model { input, nodes, classes: vec![], folded };
    let names = classes.and_then(|c| serde_json::from_str::<Vec<String>>(&c).ok());
    model.classes = match names.filter(|n| n.len() == model.outputs()) {
        Some(names) => names,
        None => (0..model.outputs()).map(|k| k.to_string()).collect(),
    };
    let tiny = subnormal(&model);
    if tiny > 0 {
        warnings
            .push(format!("{tiny} weights are below 2^-126, which devices may take for zero; bounds allow for either"));
    }
    let n = model.folded.iter().filter(|f| f.relative > 0.0 || f.absolute > 0.0).count();
    if n > 0 {
        warnings.push(format!(
            "{n} layers hold constants that are no 32 bit floats; the bounds of certify and verify are charged for the \
             difference"
        ));
    }
    model.validate().map_err(OnnxError::graph)?;
    Ok(Loaded { model, warnings, softmax, channels_last })
}

/// Whether the input is an image with its channels last: it says so by turning them to the front, or, where it makes no
/// difference to any layer, by having one or three values on its last axis and many more on the others.
fn is_channels_last(b: &Builder, dims: &[usize]) -> bool {
    let [_, rows, columns, channels] = *dims else { return false };
    let plain = matches!(channels, 1 | 3) && rows.min(columns) > 4;
    b.input == Shape::new(rows, columns, channels) && (b.input_turned || (plain && !b.input_shape_used))
}

/// Number of weights that devices may flush.
fn subnormal(model: &Model) -> usize {
    model.nodes.iter().flat_map(|n| n.layer.weights()).flatten().filter(|w| w.is_subnormal()).count()
}
