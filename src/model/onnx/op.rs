//! One operator of the file: its attributes, checked so that nothing the standard gives a meaning is passed over.

use super::error::{OnnxError, OnnxResult, quote};
use super::proto;

/// An operator with its name for messages and the operator set it is written against.
#[derive(Clone, Copy)]
pub struct Op<'a> {
    pub node: &'a proto::Node,
    pub opset: i64,
    /// An output after the first that something reads.
    pub second: Option<&'a str>,
}

impl<'a> Op<'a> {
    /// The node's name, or the name of its first output.
    pub fn name(&self) -> &'a str {
        let output = self.node.output.first().map_or("", String::as_str);
        if self.node.name.is_empty() { output } else { &self.node.name }
    }

    pub fn fail<T>(&self, problem: impl Into<String>) -> OnnxResult<T> {
        Err(self.error(problem))
    }

    pub fn error(&self, problem: impl Into<String>) -> OnnxError {
        let (node, operator) = (quote(self.name()), quote(&self.node.op_type));
        OnnxError::Node { node, operator, problem: problem.into() }
    }

    /// Refuses attributes other than `known`, and outputs after the first that are read.
    pub fn only(&self, known: &[&str]) -> OnnxResult<()> {
        self.only_attributes(known)?;
        match self.second {
            Some(o) => self.fail(format!("its second output '{}' is read, which is not supported", quote(o))),
            None => Ok(()),
        }
    }

    /// Refuses attributes other than `known`.
    pub fn only_attributes(&self, known: &[&str]) -> OnnxResult<()> {
        match self.node.attribute.iter().find(|a| !known.contains(&a.name.as_str())) {
            Some(a) => self.fail(format!("attribute '{}' is not supported", quote(&a.name))),
            None => Ok(()),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    fn typed<T>(&self, name: &str, get: impl Fn(&'a proto::Attribute) -> Option<T>) -> OnnxResult<Option<T>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(a) => match get(a) {
                None => self.fail(format!("attribute '{name}' has the wrong type")),
                value => Ok(value),
            },
        }
    }

    pub fn int(&self, name: &str, default: i64) -> OnnxResult<i64> {
        Ok(self.typed(name, |a| a.i)?.unwrap_or(default))
    }

    pub fn float(&self, name: &str, default: f32) -> OnnxResult<f32> {
        Ok(self.typed(name, |a| a.f)?.unwrap_or(default))
    }

    pub fn text(&self, name: &str, default: &'a str) -> OnnxResult<&'a str> {
        let text = self.typed(name, |a| a.s.as_deref().and_then(|s| std::str::from_utf8(s).ok()))?;
        Ok(text.unwrap_or(default))
    }

    pub fn tensor(&self, name: &str) -> OnnxResult<Option<proto::Tensor>> {
        self.typed(name, |a| a.t.clone())
    }

    /// A list of floats; an empty one is as good as absent.
    pub fn floats(&self, name: &str) -> OnnxResult<Option<&'a [f32]>> {
        let wrong = |a: &proto::Attribute| a.i.is_some() || a.f.is_some() || a.s.is_some() || a.t.is_some();
        let list = self.typed(name, |a| (!wrong(a)).then_some(a.floats.as_slice()))?;
        Ok(list.filter(|l| !l.is_empty()))
    }

    /// A list of integers; an empty one is as good as absent.
    pub fn ints(&self, name: &str) -> OnnxResult<Option<&'a [i64]>> {
        let wrong = |a: &proto::Attribute| a.i.is_some() || a.f.is_some() || a.s.is_some() || a.t.is_some();
        let list = self.typed(name, |a| (!wrong(a)).then_some(a.ints.as_slice()))?;
        Ok(list.filter(|l| !l.is_empty()))
    }

    /// A list of `n` positive sizes, ones by default.
    pub fn sizes(&self, name: &str, n: usize) -> OnnxResult<Vec<usize>> {
        match self.ints(name)? {
            None => Ok(vec![1; n]),
            Some(list) => self.positive(name, list, n, 1),
        }
    }

    /// Checks that `list` has `n` entries, each in `least..=65536`.
    pub fn positive(&self, name: &str, list: &[i64], n: usize, least: i64) -> OnnxResult<Vec<usize>> {
        if list.len() != n || list.iter().any(|v| !(least..=1 << 16).contains(v)) {
            return self.fail(format!("{name} {:?} makes no sense here", &list[..list.len().min(8)]));
        }
        Ok(list.iter().map(|&v| v as usize).collect())
    }

    /// An axis of a tensor of this rank; negative ones count from the end.
    pub fn axis(&self, axis: i64, rank: usize) -> OnnxResult<usize> {
        let rank = rank as i64;
        if (-rank..rank).contains(&axis) {
            Ok(axis.rem_euclid(rank) as usize)
        } else {
            self.fail(format!("axis {axis} of a tensor of rank {rank}"))
        }
    }
}
