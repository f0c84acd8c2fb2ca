//! What of a graph is read: one output, what it depends on, and one input.

use std::collections::HashMap;

use super::error::{OnnxError, OnnxResult, quote};
use super::proto;
use super::read::Choice;

/// The output that is read: the one asked for, the only one, or the only one that can be scores.
pub fn output<'g>(
    graph: &'g proto::Graph,
    choice: &Choice,
    notes: &mut Vec<String>,
) -> OnnxResult<&'g proto::ValueInfo> {
    let listed = || {
        let shown = |o: &proto::ValueInfo| {
            let dims = o.ty.as_ref().and_then(|t| t.tensor.as_ref()).and_then(|t| t.shape.as_ref());
            let size = |d: &proto::Dimension| d.value.map_or("?".into(), |v| v.to_string());
            let sizes: Vec<String> = dims.iter().flat_map(|s| &s.dim).skip(1).take(8).map(size).collect();
            format!("{} ({})", quote(&o.name), if sizes.is_empty() { "?".into() } else { sizes.join("x") })
        };
        graph.output.iter().take(16).map(shown).collect::<Vec<_>>().join(", ")
    };
    if let Some(name) = &choice.output {
        let found = graph.output.iter().find(|o| o.name == *name);
        let problem = || OnnxError::graph(format!("has no output '{}'; there are {}", quote(name), listed()));
        return found.ok_or_else(problem);
    }
    if let [only] = &graph.output[..] {
        return Ok(only);
    }
    let mut scores = graph.output.iter().filter(|o| choice.classifier && may_be_scores(o));
    match (scores.next(), scores.next()) {
        (Some(one), None) => {
            notes.push(format!(
                "of its outputs {} only {} can be scores: it is read; --output NAME takes another",
                listed(),
                quote(&one.name)
            ));
            Ok(one)
        }
        (Some(one), Some(_)) => Err(OnnxError::graph(format!(
            "the network has the outputs {}; choose the scores of the classes, as in --output {}",
            listed(),
            quote(&one.name)
        ))),
        (None, _) => Err(OnnxError::graph(format!("the network has {} outputs, one is needed", graph.output.len()))),
    }
}

/// The outputs that can be scores, and of how many classes where the file declares it.
pub fn scores(graph: &proto::Graph) -> Vec<(String, Option<usize>)> {
    let size = |o: &proto::ValueInfo| -> Option<usize> {
        let dims = &o.ty.as_ref()?.tensor.as_ref()?.shape.as_ref()?.dim;
        dims.iter().skip(1).map(|d| usize::try_from(d.value?).ok()).product()
    };
    graph.output.iter().filter(|o| may_be_scores(o)).map(|o| (o.name.clone(), size(o))).collect()
}

/// Whether a value may be one score per class: a row of floats.
fn may_be_scores(value: &proto::ValueInfo) -> bool {
    use proto::data_type::{BFLOAT16, DOUBLE, FLOAT, FLOAT16};
    let Some(tensor) = value.ty.as_ref().and_then(|t| t.tensor.as_ref()) else { return value.ty.is_none() };
    let float = tensor.elem_type.is_none_or(|t| [FLOAT, DOUBLE, FLOAT16, BFLOAT16].contains(&t));
    let row = tensor.shape.as_ref().is_none_or(|s| s.dim.iter().skip(1).filter(|d| d.value != Some(1)).count() <= 1);
    float && row
}

/// Which nodes `end` depends on.
pub fn needed(nodes: &[proto::Node], end: &str) -> Vec<bool> {
    let mut makers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        node.output.iter().filter(|o| !o.is_empty()).for_each(|o| makers.entry(o).or_default().push(i));
    }
    let mut needed = vec![false; nodes.len()];
    let mut open = vec![end];
    while let Some(name) = open.pop() {
        for &i in makers.get(name).into_iter().flatten() {
            if !std::mem::replace(&mut needed[i], true) {
                read_by(&nodes[i], &mut |name| open.push(name));
            }
        }
    }
    needed
}

/// Every name that a node reads, in its branches too.
fn read_by<'n>(node: &'n proto::Node, found: &mut impl FnMut(&'n str)) {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        node.input.iter().filter(|n| !n.is_empty()).for_each(|n| found(n));
        for graph in node.attribute.iter().filter_map(|a| a.g.as_deref()) {
            graph.output.iter().for_each(|o| found(&o.name));
            open.extend(&graph.node);
        }
    }
}

pub fn count_uses(nodes: &[proto::Node], uses: &mut HashMap<String, usize>) {
    nodes.iter().for_each(|node| read_by(node, &mut |name| *uses.entry(name.into()).or_default() += 1));
}

/// The axes of an input, and those whose size is left open, if it is an image whose height and width may be any.
pub fn open_places(input: &proto::ValueInfo) -> Option<(&[proto::Dimension], Vec<usize>)> {
    let shape = input.ty.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    let open = |k: usize| shape.dim[k].value.is_none_or(|v| v <= 0);
    let places = match shape.dim[..] {
        [_, _, _, _] if !open(1) => vec![2, 3],
        [_, _, _, _] if !open(3) => vec![1, 2],
        _ => vec![],
    };
    Some((&shape.dim, places.into_iter().filter(|&k| open(k)).collect()))
}

/// Dimensions of the input for a batch of one, and its data type.
pub fn input_dims(input: &proto::ValueInfo, choice: &Choice) -> OnnxResult<(Vec<usize>, i32)> {
    let fail = |problem: String| Err(OnnxError::graph(format!("input '{}': {problem}", quote(&input.name))));
    let tensor = input.ty.as_ref().and_then(|t| t.tensor.as_ref());
    let Some(tensor) = tensor else { return fail("has no tensor type".into()) };
    use proto::data_type::{BFLOAT16, DOUBLE, FLOAT, FLOAT16};
    let kind = tensor.elem_type.unwrap_or(0);
    let floats = [FLOAT, DOUBLE, FLOAT16, BFLOAT16].contains(&kind);
    if !(floats || choice.classifier && is_integer(kind)) {
        return fail("is not a tensor of floats; export the network with a float input".into());
    }
    let Some(shape) = &tensor.shape else { return fail("has no shape; export with fixed sizes".into()) };
    let open = open_places(input).map_or(vec![], |(_, open)| open);
    let mut dims = vec![];
    for (k, d) in shape.dim.iter().enumerate() {
        dims.push(match d.value {
            Some(v) if v > 1 && k == 0 && shape.dim.len() > 1 => {
                return fail(format!("has a fixed batch of {v}; export with a batch of 1 or a dynamic one"));
            }
            Some(v) if v > 0 => usize::try_from(v).unwrap_or(usize::MAX),
            _ if k == 0 && shape.dim.len() > 1 => 1,
            _ if open.contains(&k) => match choice.size {
                // Rows come before columns, whether channels come first or last.
                Some([height, width]) => {
                    if k + 2 == shape.dim.len() || k == 1 {
                        height
                    } else {
                        width
                    }
                }
                None if choice.classifier => return fail("takes any height and width; give --size WxH".into()),
                None => return fail("takes any height and width; export with fixed sizes".into()),
            },
            _ => return fail(format!("dimension {k} has no fixed size; export with fixed sizes")),
        });
    }
    if dims.is_empty() { fail("is a single number".into()) } else { Ok((dims, kind)) }
}

pub fn is_integer(kind: i32) -> bool {
    use proto::data_type::{INT32, INT64, UINT8};
    [UINT8, INT32, INT64].contains(&kind)
}
