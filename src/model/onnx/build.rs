//! The model as it grows, operator by operator.

use std::collections::{HashMap, HashSet};

use super::super::check::MAX_VALUES;
use super::super::{Folding, Layer, Node, Source, ValueId};
use super::error::{OnnxError, OnnxResult, quote};
use super::external::External;
use super::near::{Charge, Near};
use super::op::Op;
use super::tensors::{Data, Tensor, count};
use crate::tensor::Shape;

/// Values that reading a file may make beyond those it holds (expanded weights, index maps, broadcasts).
const BUDGET: usize = 1 << 28;

/// A value of the ONNX graph: known now, or computed by the model.
#[derive(Clone, Debug)]
pub enum Value {
    Const(Tensor),
    Live(Live),
}

/// A value the model computes, for a batch of one: the values of `id` in flat order, seen with these dimensions.
/// Whatever only renames dimensions (Reshape, Flatten, …) leaves `id` as it is.
#[derive(Clone, Debug)]
pub struct Live {
    pub id: ValueId,
    pub dims: Vec<usize>,
    /// Nothing else reads these values, so the layer that makes them may be changed in place.
    pub sole: bool,
}

impl Live {
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Values and layers so far.
pub struct Builder<'a> {
    pub input: Shape,
    /// Constants of elementwise layers, and movement in front of a dense one, go into weights.
    pub merging: bool,
    pub external: External<'a>,
    /// The file declares the input as an image, which it stays, whatever layers see it as.
    pub input_is_image: bool,
    /// Someone relies on the input's channels, rows and columns.
    pub input_shape_used: bool,
    /// The input is turned from rows, columns, channels to channels first.
    pub input_turned: bool,
    pub nodes: Vec<Node>,
    names: HashSet<String>,
    /// Makes names unique; never reused, so that a file full of equal names costs no more than others.
    suffix: usize,
    pub folded: Vec<Folding>,
    pub values: HashMap<String, Value>,
    /// How often each name is read.
    pub uses: HashMap<String, usize>,
    pub warnings: Vec<String>,
    budget: usize,
}

impl<'a> Builder<'a> {
    pub fn new(input: Shape, merging: bool, external: External<'a>, uses: HashMap<String, usize>) -> Self {
        Builder {
            input,
            merging,
            external,
            input_is_image: false,
            input_shape_used: false,
            input_turned: false,
            nodes: vec![],
            names: HashSet::new(),
            suffix: 1,
            folded: vec![],
            values: HashMap::new(),
            uses,
            warnings: vec![],
            budget: BUDGET,
        }
    }

    /// Whether this is the input, but for the layers that treat every value by itself.
    pub fn is_input(&self, mut id: ValueId) -> bool {
        while id > 0 {
            let node = &self.nodes[id - 1];
            match &node.layer {
                Layer::Relu | Layer::Activation(_) | Layer::Scale { .. } => id = node.inputs[0],
                Layer::Conv(_)
                | Layer::Dense(_)
                | Layer::MaxPool(_)
                | Layer::AvgPool(_)
                | Layer::Add
                | Layer::Gather(_) => return false,
            }
        }
        true
    }

    /// Shape of a value of the model.
    pub fn shape(&self, id: ValueId) -> Shape {
        if id == 0 { self.input } else { self.nodes[id - 1].shape }
    }

    /// The operator's `k`-th input, if it has one.
    pub fn optional(&self, op: &Op, k: usize) -> OnnxResult<Option<&Value>> {
        match op.node.input.get(k).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(name) => match self.values.get(name) {
                Some(v) => Ok(Some(v)),
                None => op.fail(format!(
                    "reads '{}', which nothing before it computes (a cycle, or a file cut short)",
                    quote(name)
                )),
            },
        }
    }

    /// Whether a name is that of a constant, or of nothing.
    pub fn is_constant(&self, name: &str) -> bool {
        name.is_empty() || matches!(self.values.get(name), Some(Value::Const(_)))
    }

    pub fn value(&self, op: &Op, k: usize) -> OnnxResult<&Value> {
        self.optional(op, k)?.ok_or_else(|| op.error(format!("lacks input {k}")))
    }

    /// Input `k`, which the model computes.
    pub fn live(&self, op: &Op, k: usize) -> OnnxResult<Live> {
        match self.value(op, k)? {
            Value::Live(l) => Ok(l.clone()),
            Value::Const(_) => op.fail(format!("input {k} is a constant")),
        }
    }

    /// Input `k`, which must be a constant if it is there.
    pub fn constant(&self, op: &Op, k: usize) -> OnnxResult<Option<&Tensor>> {
        match self.optional(op, k)? {
            None => Ok(None),
            Some(Value::Const(t)) => Ok(Some(t)),
            Some(Value::Live(_)) => {
                op.fail(format!("input {k} is computed by the network, only a constant is supported"))
            }
        }
    }

    /// Constant `k`, not of integers.
    pub fn tensor(&self, op: &Op, k: usize) -> OnnxResult<Option<&Tensor>> {
        match self.constant(op, k)? {
            Some(Tensor { data: Data::Int(_), .. }) => op.fail(format!("input {k} holds integers, not floats")),
            tensor => Ok(tensor),
        }
    }

    /// The numbers of constant `k` with its dimensions.
    pub fn numbers(&self, op: &Op, k: usize) -> OnnxResult<Option<(Vec<usize>, Vec<Near>)>> {
        let numbers = |t: &Tensor| Ok((t.dims.clone(), t.select(op, 0..t.len())?));
        self.tensor(op, k)?.map(numbers).transpose()
    }

    /// The only number of constant `k`.
    pub fn number(&self, op: &Op, k: usize) -> OnnxResult<Option<Near>> {
        self.tensor(op, k)?.map(|t| t.single(op)).transpose()
    }

    /// Constant `k` as the weights of a layer, with its dimensions, and what that costs.
    pub fn weights(&self, op: &Op, k: usize, charge: &mut Charge) -> OnnxResult<Option<(Vec<usize>, Vec<f32>)>> {
        let mut stored = |&w: &Near| {
            let problem = || format!("no 32 bit float comes near its weight {:e}; export in 32 bits", w.value);
            charge.weight(w).ok_or_else(|| op.error(problem()))
        };
        Ok(match self.tensor(op, k)? {
            None => None,
            Some(t) => Some((
                t.dims.clone(),
                match &t.data {
                    Data::Float(v) => v.clone(),
                    Data::Near(v) => v.iter().map(&mut stored).collect::<OnnxResult<_>>()?,
                    Data::Int(_) => unreachable!("refused as integers"),
                },
            )),
        })
    }

    /// Integer constant `k`, its dimensions ignored.
    pub fn ints(&self, op: &Op, k: usize) -> OnnxResult<Option<&[i64]>> {
        match self.constant(op, k)? {
            None => Ok(None),
            Some(Tensor { data: Data::Int(v), .. }) => Ok(Some(v)),
            Some(Tensor { data: Data::Float(_) | Data::Near(_), .. }) => {
                op.fail(format!("input {k} holds floats, not integers"))
            }
        }
    }

    /// Refuses more than `most` inputs.
    pub fn at_most(&self, op: &Op, most: usize) -> OnnxResult<()> {
        match op.node.input.get(most..).and_then(|rest| rest.iter().find(|n| !n.is_empty())) {
            Some(name) => op.fail(format!("input '{}' is one too many", quote(name))),
            None => Ok(()),
        }
    }

    /// Accounts for `n` values about to be made.
    pub fn spend(&mut self, op: &Op, n: usize) -> OnnxResult<()> {
        match self.budget.checked_sub(n) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => op.fail("the network is too large once expanded"),
        }
    }

    /// Appends a layer over `inputs`; its output has these ONNX dimensions.
    pub fn push(&mut self, op: &Op, layer: Layer, inputs: Vec<ValueId>, dims: Vec<usize>) -> OnnxResult<Live> {
        let shape = self.checked_shape(op, &dims)?;
        self.push_shaped(op, layer, inputs, shape, dims)
    }

    pub fn push_shaped(
        &mut self,
        op: &Op,
        layer: Layer,
        inputs: Vec<ValueId>,
        shape: Shape,
        dims: Vec<usize>,
    ) -> OnnxResult<Live> {
        self.spend(op, 1)?;
        let base = quote(if op.name().is_empty() { &op.node.op_type } else { op.name() });
        let mut name = base.clone();
        while self.names.contains(&name) {
            self.suffix += 1;
            name = format!("{base}#{}", self.suffix);
        }
        self.names.insert(name.clone());
        self.nodes.push(Node { name, layer, inputs, shape });
        Ok(Live { id: self.nodes.len(), dims, sole: true })
    }

    /// Channels, rows and columns for these dimensions.
    pub fn checked_shape(&self, op: &Op, dims: &[usize]) -> OnnxResult<Shape> {
        shape_of(dims).ok_or_else(|| op.error(format!("a value of dimensions {dims:?} is empty or too large")))
    }

    /// `live` as an image: rank 4 `[1,C,H,W]`, or rank 3 `[1,C,L]` as one row. Inserts a layer only where the same
    /// values are already known under another shape.
    pub fn image(&mut self, op: &Op, live: &Live) -> OnnxResult<(ValueId, Shape)> {
        let shape = match live.dims[..] {
            [1, c, h, w] => Shape::new(c, h, w),
            [1, c, l] => Shape::new(c, 1, l),
            _ => return op.fail(format!("needs an image [1,C,H,W], not dimensions {:?}", live.dims)),
        };
        if live.id == 0 && !self.input_is_image && !self.input_shape_used {
            self.input = shape;
        }
        Ok((self.seen_as(op, live, shape)?, shape))
    }

    /// The values of `live` in this shape, whatever they are elsewhere: the input stays the image that it is.
    pub fn seen_as(&mut self, op: &Op, live: &Live, shape: Shape) -> OnnxResult<ValueId> {
        if self.shape(live.id) == shape {
            self.input_shape_used |= live.id == 0;
            return Ok(live.id);
        }
        self.spend(op, shape.len())?;
        let map = (0..shape.len() as u32).map(|index| Some(Source { input: 0, index })).collect();
        let same = self.push_shaped(op, Layer::Gather(map), vec![live.id], shape, live.dims.clone())?;
        Ok(same.id)
    }

    /// Stores the operator's first output.
    pub fn define(&mut self, op: &Op, value: Value) -> OnnxResult<()> {
        self.define_output(op, 0, value)
    }

    /// Stores the operator's `k`-th output.
    pub fn define_output(&mut self, op: &Op, k: usize, mut value: Value) -> OnnxResult<()> {
        let Some(name) = op.node.output.get(k).filter(|n| !n.is_empty()) else {
            return if k == 0 { op.fail("has no output") } else { Ok(()) };
        };
        let uses = self.uses.get(name).copied().unwrap_or(0);
        if let Value::Live(live) = &mut value {
            live.sole &= uses == 1;
        }
        if self.values.insert(name.clone(), value).is_some() {
            return op.fail(format!("its output '{}' exists already", quote(name)));
        }
        Ok(())
    }

    /// The layers `output` depends on, in order, renumbered; charges follow their layers.
    pub fn prune(self, output: ValueId) -> OnnxResult<(Vec<Node>, Vec<Folding>)> {
        if output == 0 {
            return Err(OnnxError::graph("the network's output is its input: there are no layers"));
        }
        let mut needed = vec![false; self.nodes.len() + 1];
        needed[output] = true;
        for id in (1..=output).rev() {
            if needed[id] {
                self.nodes[id - 1].inputs.iter().for_each(|&v| needed[v] = true);
            }
        }
        let mut new = vec![0; self.nodes.len() + 1];
        let mut nodes: Vec<Node> = vec![];
        for (i, mut node) in self.nodes.into_iter().enumerate() {
            if needed[i + 1] {
                node.inputs.iter_mut().for_each(|v| *v = new[*v]);
                nodes.push(node);
                new[i + 1] = nodes.len();
            }
        }
        let folded = self.folded.iter().filter(|f| needed[f.node + 1]);
        Ok((nodes, folded.map(|f| Folding { node: new[f.node + 1] - 1, ..f.clone() }).collect()))
    }
}

/// Shape of one item of these ONNX dimensions (batch first, unless there is only one dimension). Rank 3 is one channel
/// of rows and columns; higher ranks than 4 are plain vectors.
pub fn shape_of(dims: &[usize]) -> Option<Shape> {
    let n = count(dims, MAX_VALUES).filter(|&n| n > 0)?;
    Some(match *dims {
        [1, c, h, w] => Shape::new(c, h, w),
        [1, h, w] if w > 1 => Shape::new(1, h, w),
        _ => Shape::flat(n),
    })
}
