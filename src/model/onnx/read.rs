//! Reading ONNX: the file's operators, one after another, become layers of a [`Model`].

use std::collections::{HashMap, HashSet};
use std::path::Path;

use prost::Message;

use super::super::{Dense, Layer, Model};
use super::build::{Builder, Live, Value, shape_of};
use super::error::{OnnxError, OnnxResult, quote};
use super::external::External;
use super::graph::{count_uses, input_dims, is_integer, needed, open_places, output};
use super::head::{self, Head};
use super::op::Op;
use super::write::CLASSES;
use super::{graph, inline, operator, proto, size, tensors};
use crate::error::{Error, Result};
use crate::tensor::Shape;
use crate::terminal::counted;

/// Largest file that is read, compressed or not: the limit of the format itself.
const MAX_BYTES: u64 = 1 << 31;

/// What a file leaves open, and how its end is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Name of the output that is read, where there are several.
    pub output: Option<String>,
    /// Height and width of the images, where the file takes any.
    pub size: Option<[usize; 2]>,
    /// Read for the class alone: a sigmoid at the end is left out as a softmax is, and one output becomes two, a zero in
    /// front of it.
    pub classifier: bool,
}

impl Choice {
    /// For images of classes, nothing else chosen.
    pub fn classifier() -> Choice {
        Choice { classifier: true, ..Choice::default() }
    }
}

/// A model read from a file, and what its user should know about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The network; its input in the order of the file.
    pub model: Model,
    /// One line each, to be shown: a softmax left out, subnormal weights, folded layers.
    pub warnings: Vec<String>,
    /// The file ends in a softmax (or, of a classifier, in a sigmoid), which was left out: outputs compare with each other
    /// as the file's do, but their values are the logits.
    pub softmax: bool,
    /// The file's images are rows, columns, channels: so is the input of the model, unless turned round by
    /// [`Model::channels_first`].
    pub channels_last: bool,
    /// The file takes integers: pixels from 0 to 255.
    pub bytes: bool,
    /// The node whose one output became two classes.
    pub binary: Option<String>,
}

/// Reads a classifier of images from an ONNX file (`.onnx`, or `.gz` of one). Its input is `[channel][row][column]`, in
/// whatever order the file takes it.
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
    load_as(path, &Choice::classifier())?.in_order(path)
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
pub fn read_unfolded(path: impl AsRef<Path>, choice: &Choice) -> Result<Model> {
    let path = path.as_ref();
    let file = understand(&bytes(path)?, folder(path), choice, false).map_err(|e| Error::input(path, e.to_string()))?;
    channels_first(path, file.model, file.channels_last)
}

fn channels_first(path: &Path, model: Model, channels_last: bool) -> Result<Model> {
    if channels_last { model.channels_first().map_err(|e| Error::input(path, e)) } else { Ok(model) }
}

/// Reads an ONNX model (`.onnx`, or `.gz` of one), its input in the flat order of the file's. The model is whole:
/// nothing that its output depends on was passed over.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Input`] naming the node and operator if it cannot be understood.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded> {
    load_as(path, &Choice::default())
}

/// [`load`] with what the file leaves open.
///
/// # Errors
/// As [`load`].
pub fn load_as(path: impl AsRef<Path>, choice: &Choice) -> Result<Loaded> {
    let path = path.as_ref();
    decode_as(&bytes(path)?, folder(path), choice).map_err(|e| Error::input(path, e.to_string()))
}

/// Whether a file takes images of any height and width, so that [`Choice::size`] has to say which.
///
/// # Errors
/// As [`load`].
pub fn takes_any_size(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    any_size(&bytes(path)?).map_err(|e| Error::input(path, e.to_string()))
}

/// [`takes_any_size`] of a file that lies in memory.
///
/// # Errors
/// As [`decode`].
pub fn any_size(content: &[u8]) -> OnnxResult<bool> {
    let file = parse(content)?;
    let Some(graph) = file.graph else { return Ok(false) };
    let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|i| !weights.contains(i.name.as_str()));
    let open = |i: &proto::ValueInfo| open_places(i).is_some_and(|(_, open)| !open.is_empty());
    Ok(inputs.map(open).next().unwrap_or(false))
}

/// The outputs of a file that can be scores, and of how many classes where it declares that.
///
/// # Errors
/// As [`load`].
pub fn scores(path: impl AsRef<Path>) -> Result<Vec<(String, Option<usize>)>> {
    let path = path.as_ref();
    scores_of(&bytes(path)?).map_err(|e| Error::input(path, e.to_string()))
}

/// [`scores`] of a file that lies in memory.
///
/// # Errors
/// As [`decode`].
pub fn scores_of(content: &[u8]) -> OnnxResult<Vec<(String, Option<usize>)>> {
    Ok(parse(content)?.graph.map_or(vec![], |graph| graph::scores(&graph)))
}

/// The bytes of an ONNX file, unpacked.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    crate::input::read_maybe_gz(path, MAX_BYTES)
}

/// Where the other files of a model lie.
pub(super) fn folder(path: &Path) -> Option<&Path> {
    path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
}

/// The messages of an ONNX file.
pub(super) fn parse(bytes: &[u8]) -> OnnxResult<proto::Model> {
    size::check(bytes)?;
    let format = |problem: &str| Err(OnnxError::Format(problem.into()));
    match bytes {
        [] => return format("the file is empty; copy it again"),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            return format("a pointer of Git LFS, the file itself was not fetched; run `git lfs pull`");
        }
        _ if bytes.starts_with(b"PK") => {
            return format("a zip archive, such as torch.save makes; export with torch.onnx.export");
        }
        _ if bytes.starts_with(b"\x89HDF") => return format("a Keras or HDF5 file; export with tf2onnx"),
        _ if bytes.get(4..8) == Some(b"TFL3") => return format("a TensorFlow Lite file; export with tf2onnx"),
        _ if bytes.starts_with(b"<") => {
            return format("a page of text, what a download that failed leaves; fetch it again");
        }
        _ => {}
    }
    let broken = |e: prost::DecodeError| OnnxError::Format(quote(&e.to_string()) + "; export the network again");
    proto::Model::decode(bytes).map_err(broken)
}

/// Reads the bytes of an ONNX file; external data is looked for in `folder`. The model is compared with that of
/// [`decode_unfolded`].
///
/// # Errors
/// Names the node and operator that cannot be understood.
pub fn decode(bytes: &[u8], folder: Option<&Path>) -> OnnxResult<Loaded> {
    decode_as(bytes, folder, &Choice::default())
}

/// [`decode`] with what the file leaves open.
///
/// # Errors
/// As [`decode`].
pub fn decode_as(bytes: &[u8], folder: Option<&Path>, choice: &Choice) -> OnnxResult<Loaded> {
    let loaded = understand(bytes, folder, choice, true)?;
    if !loaded.model.is_tried() {
        return Ok(loaded);
    }
    let unfolded = understand(bytes, folder, choice, false)?.model;
    let model = unfolded.becomes(loaded.model, <[f32]>::to_vec).map_err(OnnxError::graph)?;
    Ok(Loaded { model, ..loaded })
}

/// The file's own network, see [`read_unfolded`], its input in the flat order of the file's.
///
/// # Errors
/// As [`decode`].
pub fn decode_unfolded(bytes: &[u8], folder: Option<&Path>) -> OnnxResult<Model> {
    Ok(understand(bytes, folder, &Choice::default(), false)?.model)
}

/// What a file says, constants put into the weights of other layers or not.
fn understand(bytes: &[u8], folder: Option<&Path>, choice: &Choice, merging: bool) -> OnnxResult<Loaded> {
    let file = parse(bytes)?;
    let Some(mut graph) = file.graph else {
        return Err(OnnxError::Format("it holds no graph; export the network again".into()));
    };
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
    graph.node = inline::inline(graph.node, &file.functions, opset)?;
    let classes = file.metadata_props.into_iter().find(|e| e.key == CLASSES).map(|e| e.value);
    read_graph(graph, opset, classes, External::new(folder), choice, merging)
}

fn read_graph(
    graph: proto::Graph,
    opset: i64,
    classes: Option<String>,
    external: External,
    choice: &Choice,
    merging: bool,
) -> OnnxResult<Loaded> {
    let mut notes = vec![];
    let output = output(&graph, choice, &mut notes)?.name.clone();
    let head = head::find(&graph, &graph.node, &output, opset, choice.classifier);
    let end = head.as_ref().map_or(&output, |h| &h.value).clone();
    // What the output does not depend on may be anything.
    let needed = needed(&graph.node, &end);
    let nodes: Vec<proto::Node> = graph.node.into_iter().zip(needed).filter(|(_, n)| *n).map(|(n, _)| n).collect();
    let mut uses: HashMap<String, usize> = HashMap::new();
    count_uses(&nodes, &mut uses);
    *uses.entry(end.clone()).or_default() += 1;

    let short = |t: &proto::Tensor| {
        let kind = t.data_type.unwrap_or(0);
        [proto::data_type::FLOAT16, proto::data_type::BFLOAT16].contains(&kind) && uses.contains_key(&t.name)
    };
    if graph.initializer.iter().any(short) {
        notes.push(
            "its weights are 16 bit floats, taken for the numbers that they are; a runtime that computes in 16 bits rounds \
             by more than radii pay for"
                .into(),
        );
    }
    let mut external = external;
    let (mut constants, mut names) = (HashMap::new(), HashSet::new());
    for tensor in graph.initializer {
        let name = tensor.name.clone();
        if uses.contains_key(&name) {
            constants.insert(name.clone(), Value::Const(tensors::read(tensor, &mut external)?));
        }
        if !names.insert(name.clone()) {
            return Err(OnnxError::tensor(&name, "exists twice"));
        }
    }
    let free: Vec<_> = graph.input.iter().filter(|i| !names.contains(&i.name)).collect();
    let read: Vec<_> = free.iter().copied().filter(|i| uses.contains_key(&i.name)).collect();
    let input = match (&read[..], &free[..]) {
        ([input], _) | ([], [input]) => *input,
        (several, _) => {
            let names: Vec<String> = several.iter().map(|i| format!("'{}'", quote(&i.name))).collect();
            return Err(OnnxError::graph(format!(
                "the network has {} inputs, {}, but images are one; export it with the others as constants",
                several.len(),
                names.join(", ")
            )));
        }
    };
    let (dims, kind) = input_dims(input, choice)?;
    let shape =
        shape_of(&dims).ok_or_else(|| OnnxError::graph(format!("an input of {dims:?} is empty or too large")))?;

    let mut b = Builder::new(shape, merging, external, uses);
    b.input_is_image = matches!(dims[..], [_, _, rows, columns] if rows > 1 && columns > 1);
    b.values = constants;
    b.warnings = notes;
    b.values.insert(input.name.clone(), Value::Live(Live { id: 0, dims: dims.clone(), sole: false }));
    operator::nodes(&mut b, &nodes, opset)?;
    let stale = graph.value_info.iter().chain(&graph.output).find_map(|info| stale(&b, info));
    b.warnings.extend(stale);
    let mut last = match b.values.get(&end) {
        Some(Value::Live(live)) => live.clone(),
        Some(Value::Const(_)) => return Err(OnnxError::graph("the network's output is a constant")),
        None => return Err(OnnxError::graph(format!("nothing computes the output '{}'", quote(&end)))),
    };
    if let Some(head) = &head {
        check_head(head, &last.dims)?;
        b.warnings.push(head.note());
    }
    let binary = choice.classifier && last.len() == 1 && last.id > 0;
    let binary = binary.then(|| head.as_ref().map_or_else(|| b.nodes[last.id - 1].name.clone(), |h| h.node.clone()));
    if binary.is_some() {
        last = two_classes(&mut b, &last)?;
    }
    let bytes = is_integer(kind);
    let loaded = finish(b, &dims, last.id, classes)?;
    Ok(Loaded { softmax: head.is_some(), bytes, binary, ..loaded })
}

/// What there is to say if the shape that the file declares for a value is not the one its layers give. Runtimes go by the
/// layers.
fn stale(b: &Builder, info: &proto::ValueInfo) -> Option<String> {
    let Value::Live(Live { dims, .. }) = b.values.get(&info.name)? else { return None };
    let shape = info.ty.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    let declared: Vec<i64> = shape.dim.iter().map(|d| d.value.unwrap_or(0)).take(32).collect();
    let fits = declared.len() == dims.len()
        && declared.iter().zip(dims).all(|(&want, &have)| want <= 0 || usize::try_from(want) == Ok(have));
    let note = || {
        format!(
            "the file declares {declared:?} for '{}' where its layers give {dims:?}; as in runtimes, the layers count",
            quote(&info.name)
        )
    };
    (!fits).then(note)
}

/// A function at the end has to be over the classes to keep their order.
fn check_head(head: &Head, dims: &[usize]) -> OnnxResult<()> {
    let len: usize = dims.iter().product();
    let fail = |problem: &str| Err(OnnxError::graph(format!("node '{}' ({}): {problem}", head.node, head.kind)));
    if head.complement && len != 1 {
        return fail("makes two probabilities of each of several scores, which is not supported");
    }
    let Some(axis) = head.axis.filter(|_| head.kind != "Sigmoid") else { return Ok(()) };
    let rank = dims.len() as i64;
    if !(-rank..rank).contains(&axis) {
        return fail("its axis is not there");
    }
    // Before version 13 everything from the axis on is one row.
    let axis = axis.rem_euclid(rank) as usize;
    if dims[axis] == len || (head.rows && dims[axis..].iter().product::<usize>() == len) {
        Ok(())
    } else {
        fail(head::ELSEWHERE)
    }
}

/// The one output as that of the second of two classes, whose rival has a zero.
fn two_classes(b: &mut Builder, last: &Live) -> OnnxResult<Live> {
    let node = proto::Node { name: "two_classes".into(), op_type: "Dense".into(), ..Default::default() };
    let op = Op { node: &node, opset: 0, second: None };
    b.warnings.push(
        "its one output tells two classes apart: class 1 where the logit is above 0, class 0 where it is below".into(),
    );
    let layer = Layer::Dense(Dense { weight: vec![0.0, 1.0], bias: vec![0.0; 2] });
    b.push(&op, layer, vec![last.id], vec![1, 2])
}

fn finish(mut b: Builder, dims: &[usize], last: usize, classes: Option<String>) -> OnnxResult<Loaded> {
    let channels_last = is_channels_last(&b, dims);
    let mut warnings = std::mem::take(&mut b.warnings);
    let input = b.input;
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
        let (weights, are) = (counted(tiny, "weight"), if tiny == 1 { "is" } else { "are" });
        warnings
            .push(format!("{weights} {are} below 2^-126, which devices may take for zero; bounds allow for either"));
    }
    let n = model.folded.iter().filter(|f| f.relative > 0.0 || f.absolute > 0.0).count();
    if n > 0 {
        let (layers, hold) = (counted(n, "layer"), if n == 1 { "holds" } else { "hold" });
        warnings.push(format!(
            "{layers} {hold} constants that are no 32 bit floats; the bounds of certify and verify are charged for the \
             difference"
        ));
    }
    model.validate().map_err(OnnxError::graph)?;
    Ok(Loaded { model, warnings, softmax: false, channels_last, bytes: false, binary: None })
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
