//! What classifiers end in: a softmax or a sigmoid keeps the order of the scores, so that its inputs, the logits, stand
//! for them.

use std::collections::HashMap;

use super::error::quote;
use super::proto::{Graph, Node, Tensor, data_type};

/// What a softmax is refused with that is no such end.
pub const ELSEWHERE: &str = "supported only as the last layer, over the classes; export the scores before it";

/// A function at the end of a network that was left out.
#[derive(Clone, Debug)]
pub struct Head {
    /// The operator, or what its parts make together.
    pub kind: &'static str,
    /// Name of its last node.
    pub node: String,
    /// The value it is computed from.
    pub value: String,
    /// The axis it sums over, if it says so.
    pub axis: Option<i64>,
    /// It sums over everything from the axis on.
    pub rows: bool,
    /// One score is the other's complement: both come from one logit.
    pub complement: bool,
}

impl Head {
    /// What its user should know.
    pub fn note(&self) -> String {
        let order = if self.kind == "Sigmoid" { "the class is that of the largest" } else { "in the same order" };
        format!("the final {} is left out: the outputs are its inputs, the logits, {order}", self.kind)
    }
}

/// The function that the value `output` ends in, whatever only renames dimensions after it; with `sigmoid` also one that
/// treats every score by itself.
pub fn find(graph: &Graph, nodes: &[Node], output: &str, opset: i64, sigmoid: bool) -> Option<Head> {
    let made_by = nodes.iter().flat_map(|n| n.output.first().map(|o| (o.as_str(), n))).collect();
    let constants = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let search = Search { made_by, constants, opset };
    let mut name = output;
    // Names may go in a circle.
    for _ in 0..nodes.len() {
        let Some(node) = search.made_by.get(name) else { break };
        let renames = ["Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Dropout"];
        if !renames.contains(&node.op_type.as_str()) && !search.widens(node) {
            break;
        }
        name = node.input.first()?;
    }
    let head = search.head(name)?;
    (sigmoid || head.kind != "Sigmoid").then_some(head)
}

struct Search<'a> {
    made_by: HashMap<&'a str, &'a Node>,
    constants: HashMap<&'a str, &'a Tensor>,
    opset: i64,
}

impl<'a> Search<'a> {
    fn by(&self, name: &str, op: &str) -> Option<&'a Node> {
        self.made_by.get(name).copied().filter(|n| n.op_type == op && n.domain.is_empty())
    }

    fn widens(&self, node: &Node) -> bool {
        let to = node.attribute.iter().find(|a| a.name == "to").and_then(|a| a.i);
        let floats = [data_type::FLOAT, data_type::DOUBLE, data_type::FLOAT16, data_type::BFLOAT16];
        node.op_type == "Cast" && to.is_some_and(|to| floats.iter().any(|&f| i64::from(f) == to))
    }

    fn head(&self, name: &str) -> Option<Head> {
        let node = *self.made_by.get(name)?;
        let input = |k: usize| node.input.get(k).map(String::as_str);
        let found = |kind, value: &str, axis| {
            let label = if node.name.is_empty() { name } else { &node.name };
            Some(Head { kind, node: quote(label), value: value.into(), axis, rows: self.opset < 13, complement: false })
        };
        let axis = || {
            let given = node.attribute.iter().find(|a| a.name == "axis").and_then(|a| a.i);
            Some(given.unwrap_or(if self.opset < 13 { 1 } else { -1 }))
        };
        match node.op_type.as_str() {
            _ if !node.domain.is_empty() => None,
            "Softmax" => found("Softmax", input(0)?, axis()),
            "LogSoftmax" => found("LogSoftmax", input(0)?, axis()),
            "Log" => self.head(input(0)?).filter(|h| h.kind == "Softmax"),
            "Sigmoid" => found("Sigmoid", input(0)?, None),
            "Reciprocal" => found("Sigmoid", self.one_and_exp(input(0)?)?, None),
            "Div" if self.is_one(input(0)?) => found("Sigmoid", self.one_and_exp(input(1)?)?, None),
            "Div" => {
                let (powers, sum) = (self.by(input(0)?, "Exp")?, self.by(input(1)?, "ReduceSum")?);
                let same = sum.input.first()? == input(0)?;
                same.then(|| found("Softmax", self.unshifted(powers.input.first()?), self.axis(sum)))?
            }
            "Sub" => {
                let sum = self.by(self.by(input(1)?, "Log")?.input.first()?, "ReduceSum")?;
                let powers = self.by(sum.input.first()?, "Exp")?;
                let same = powers.input.first()? == input(0)?;
                same.then(|| found("LogSoftmax", self.unshifted(input(0)?), self.axis(sum)))?
            }
            "Concat" => {
                // The two probabilities of a binary classifier.
                let (rest, one) = (self.by(input(0)?, "Sub")?, input(1)?);
                let complement = self.is_one(rest.input.first()?) && rest.input.get(1)? == one && node.input.len() == 2;
                let head = self.head(one).filter(|h| h.kind == "Sigmoid" && complement)?;
                Some(Head { complement: true, ..head })
            }
            _ => None,
        }
    }

    /// `x` of `1 + exp(-x)`.
    fn one_and_exp(&self, name: &str) -> Option<&'a str> {
        let sum = self.by(name, "Add")?;
        let (a, b) = (sum.input.first()?, sum.input.get(1)?);
        let power = if self.is_one(a) { b } else { self.is_one(b).then_some(a)? };
        let negative = self.by(self.by(power, "Exp")?.input.first()?, "Neg")?;
        negative.input.first().map(String::as_str)
    }

    /// The value before its maximum was taken off, which changes no softmax.
    fn unshifted(&self, name: &'a str) -> &'a str {
        let shifted = || {
            let node = self.by(name, "Sub")?;
            let (x, most) = (node.input.first()?, self.by(node.input.get(1)?, "ReduceMax")?);
            (most.input.first()? == x).then_some(x.as_str())
        };
        shifted().unwrap_or(name)
    }

    /// The only axis that a sum names.
    fn axis(&self, sum: &Node) -> Option<i64> {
        let attribute = sum.attribute.iter().find(|a| a.name == "axes").and_then(|a| a.ints.first().copied());
        attribute.or_else(|| {
            let bytes = self.constants.get(sum.input.get(1)?.as_str())?;
            let raw = bytes.raw_data.as_ref().and_then(|r| Some(i64::from_le_bytes(*r.first_chunk()?)));
            raw.or_else(|| bytes.int64_data.first().copied())
        })
    }

    fn is_one(&self, name: &str) -> bool {
        let constant = || {
            let attribute = || self.by(name, "Constant")?.attribute.iter().find_map(|a| a.t.as_ref());
            let tensor = self.constants.get(name).copied().or_else(attribute)?;
            let raw = tensor.raw_data.as_deref();
            let value = match tensor.data_type? {
                data_type::FLOAT => tensor.float_data.first().copied().or(raw.and_then(|r| match r {
                    &[a, b, c, d] => Some(f32::from_le_bytes([a, b, c, d])),
                    _ => None,
                }))?,
                data_type::DOUBLE => {
                    tensor.double_data.first().copied().or(raw.and_then(|r| match r.first_chunk() {
                        Some(bytes) if r.len() == 8 => Some(f64::from_le_bytes(*bytes)),
                        Some(_) | None => None,
                    }))? as f32
                }
                _ => return None,
            };
            Some(value)
        };
        constant() == Some(1.0)
    }
}
