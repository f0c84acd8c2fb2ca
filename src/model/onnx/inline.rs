//! Functions that a file defines itself are put in place of the nodes that call them.

use std::collections::HashMap;

use super::error::{OnnxError, OnnxResult, quote};
use super::proto::{Attribute, Function, Graph, Node};

/// Functions that call each other deeper than this call themselves.
const DEEPEST: usize = 32;

/// Nodes that calls may grow to: a function that calls another twice, and so on, doubles with every level.
const MOST: usize = 1 << 18;

/// The nodes with every call of one of `functions` replaced by what the function does, branches included.
///
/// # Errors
/// Names a function that calls itself, is written against another operator set than `opset`, or grows without end.
pub fn inline(nodes: Vec<Node>, functions: &[Function], opset: i64) -> OnnxResult<Vec<Node>> {
    if functions.is_empty() {
        return Ok(nodes);
    }
    let mut inliner = Inliner { functions, opset, calls: 0, made: 0 };
    let mut out = Vec::new();
    inliner.expand(nodes, 0, &mut out)?;
    Ok(out)
}

struct Inliner<'f> {
    functions: &'f [Function],
    opset: i64,
    /// Calls so far: names inside each get its number.
    calls: usize,
    made: usize,
}

impl Inliner<'_> {
    fn expand(&mut self, nodes: Vec<Node>, depth: usize, out: &mut Vec<Node>) -> OnnxResult<()> {
        for mut node in nodes {
            self.made += 1;
            if self.made > MOST {
                return Err(OnnxError::graph("its functions make too many nodes; export without functions"));
            }
            for graph in node.attribute.iter_mut().filter_map(|a| a.g.as_mut()) {
                let mut inner = Vec::new();
                self.expand(std::mem::take(&mut graph.node), depth, &mut inner)?;
                graph.node = inner;
            }
            let called =
                |f: &&Function| f.name == node.op_type && f.domain == node.domain && f.overload == node.overload;
            match self.functions.iter().find(called) {
                None => out.push(node),
                Some(function) => self.call(&node, function, depth, out)?,
            }
        }
        Ok(())
    }

    fn call(&mut self, node: &Node, function: &Function, depth: usize, out: &mut Vec<Node>) -> OnnxResult<()> {
        let fail = |problem: &str| Err(OnnxError::graph(format!("function {}: {problem}", quote(&function.name))));
        if depth == DEEPEST {
            return fail("calls itself; export without functions");
        }
        let standard = |d: &str| d.is_empty() || d == "ai.onnx";
        if function.opset_import.iter().any(|o| standard(&o.domain) && o.version != self.opset) {
            return fail("is written against another operator set than the file; export without functions");
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return fail("is called with more inputs or outputs than it has");
        }
        self.calls += 1;
        let prefix = format!("{}({})/", function.name, self.calls);
        let given = |k: usize| node.input.get(k).cloned().unwrap_or_default();
        let mut names: HashMap<&str, String> =
            function.input.iter().enumerate().map(|(k, name)| (name.as_str(), given(k))).collect();
        let outputs = function.output.iter().zip(&node.output).filter(|(_, given)| !given.is_empty());
        let mut handed_on = Vec::new();
        for (name, given) in outputs {
            // An input that is handed on as an output, or a value handed on twice, keeps its name and gets another.
            match names.get(name.as_str()) {
                Some(source) => handed_on.push((source.clone(), given.clone())),
                None => drop(names.insert(name, given.clone())),
            }
        }
        let scope = Scope { names, prefix, called: node, defaults: &function.attribute_proto };
        let body: Vec<Node> = function.node.iter().map(|n| scope.node(n)).collect();
        self.expand(body, depth + 1, out)?;
        out.extend(handed_on.into_iter().map(|(source, given)| Node {
            input: vec![source],
            name: format!("{}{given}", scope.prefix),
            output: vec![given],
            op_type: "Identity".into(),
            ..Default::default()
        }));
        Ok(())
    }
}

/// What the names and attributes of a function's body mean at one call.
struct Scope<'a> {
    names: HashMap<&'a str, String>,
    /// Makes all other names those of this call.
    prefix: String,
    called: &'a Node,
    defaults: &'a [Attribute],
}

impl Scope<'_> {
    fn name(&self, name: &str) -> String {
        match self.names.get(name) {
            _ if name.is_empty() => String::new(),
            Some(given) => given.clone(),
            None => format!("{}{name}", self.prefix),
        }
    }

    fn node(&self, node: &Node) -> Node {
        Node {
            input: node.input.iter().map(|n| self.name(n)).collect(),
            output: node.output.iter().map(|n| self.name(n)).collect(),
            name: format!("{}{}", self.prefix, node.name),
            attribute: node.attribute.iter().filter_map(|a| self.attribute(a)).collect(),
            ..node.clone()
        }
    }

    /// The attribute, its value that of the call if it refers to one; nothing if that has none.
    fn attribute(&self, attribute: &Attribute) -> Option<Attribute> {
        if !attribute.ref_attr_name.is_empty() {
            let wanted = |a: &&Attribute| a.name == attribute.ref_attr_name;
            let value = self.called.attribute.iter().find(wanted).or_else(|| self.defaults.iter().find(wanted))?;
            return Some(Attribute { name: attribute.name.clone(), ..value.clone() });
        }
        let graph = attribute.g.as_ref().map(|g| Box::new(self.graph(g)));
        Some(Attribute { g: graph, ..attribute.clone() })
    }

    fn graph(&self, graph: &Graph) -> Graph {
        let mut graph = graph.clone();
        graph.node = graph.node.iter().map(|n| self.node(n)).collect();
        graph.initializer.iter_mut().for_each(|t| t.name = self.name(&t.name));
        graph.input.iter_mut().chain(&mut graph.output).for_each(|v| v.name = self.name(&v.name));
        graph
    }
}
