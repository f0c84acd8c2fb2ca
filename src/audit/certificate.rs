//! What a result may bring along to be proved by: slopes and domains, found by whatever means. Any slopes in [0,1] and any
//! multipliers from zero up give a valid bound, and domains one more where they cover the ball, so that checking takes no
//! search.

use crate::error::{Error, Result};
use crate::model::{Layer, Model, Node};

/// Slopes of one ReLU node, one pair per neuron.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NodeSlopes {
    /// Index into [`Model::nodes`].
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
    /// `relu(z) <= upper * z + intercept`, the intercept being the auditor's own.
    pub upper: Vec<f32>,
}

/// Lower slopes of one ReLU node, one per neuron; the upper line is the chord.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LowerSlopes {
    /// Index into [`Model::nodes`].
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
}

/// Slopes for the bounds of one node's neurons, which are tried beside the standard ones.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NeuronSlopes {
    /// Index into [`Model::nodes`].
    pub node: usize,
    /// Of the ReLUs that walks from these neurons pass.
    pub relu: Vec<LowerSlopes>,
}

/// Nodes that are not listed get the standard slopes; stable neurons need none.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Certificate {
    /// Radius of the ball on which neurons are bounded, if larger than the one claimed.
    #[serde(default)]
    pub ball: Option<f32>,
    /// For the margins.
    pub relu: Vec<NodeSlopes>,
    /// For the neurons behind them.
    #[serde(default)]
    pub inner: Vec<NeuronSlopes>,
    /// For the margins, where the ball is halved.
    #[serde(default)]
    pub branches: Option<Branches>,
}

/// Domains of a ball, which for each rival of the class together are to cover it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Branches {
    /// Node and neuron of those that leaves have slopes for.
    pub unstable: Vec<(usize, usize)>,
    /// In no order; the auditor shows that they cover the ball.
    pub leaves: Vec<Leaf>,
}

/// One domain, on which the margin over one rival is to be proved.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Leaf {
    /// The class whose margin is proved here.
    pub rival: usize,
    /// Signs that make this part of the ball.
    pub assumed: Vec<Assumed>,
    /// Lower slopes of the unstable neurons, in steps of 1/255.
    pub slopes: Vec<u8>,
}

/// A neuron whose sign is assumed.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Assumed {
    /// Index of its ReLU in [`Model::nodes`].
    pub node: usize,
    /// Flat `[channel][row][column]` index.
    pub neuron: usize,
    /// At least zero, rather than at most.
    pub active: bool,
    /// Multiplier of the assumption.
    pub beta: f32,
}

impl Certificate {
    /// # Errors
    /// Names what makes no sense: a slope that is not a number in `[0,1]`, a multiplier below zero, a node that is no ReLU
    /// or is listed twice, a list of the wrong length.
    pub fn check(&self, model: &Model) -> Result<()> {
        if self.ball.is_some_and(|ball| !(0.0..=1.0).contains(&ball)) {
            return fail("the radius of its ball is not in [0,1]".into());
        }
        for (at, s) in self.relu.iter().enumerate() {
            if self.relu[..at].iter().any(|other| other.node == s.node) {
                return fail(format!("node {} is listed twice", s.node));
            }
            check_slopes(model, s.node, "lower", &s.lower)?;
            check_slopes(model, s.node, "upper", &s.upper)?;
        }
        for (at, neurons) in self.inner.iter().enumerate() {
            if neurons.node >= model.nodes.len() || self.inner[..at].iter().any(|other| other.node == neurons.node) {
                return fail(format!("the network has no node {}, or it is listed twice", neurons.node));
            }
            for s in &neurons.relu {
                check_slopes(model, s.node, "lower", &s.lower)?;
            }
        }
        self.branches.as_ref().map_or(Ok(()), |branches| branches.check(model))
    }
}

impl Branches {
    fn check(&self, model: &Model) -> Result<()> {
        let relu = |(node, neuron): (usize, usize)| relu_node(model, node).is_some_and(|n| neuron < n.shape.len());
        if let Some((node, neuron)) = self.unstable.iter().find(|at| !relu(**at)) {
            return fail(format!("no ReLU has the node {node} and the neuron {neuron}"));
        }
        for (at, leaf) in self.leaves.iter().enumerate() {
            if leaf.slopes.len() != self.unstable.len() {
                let (have, want) = (leaf.slopes.len(), self.unstable.len());
                return fail(format!("leaf {at} has {have} slopes, needs {want}"));
            }
            for a in &leaf.assumed {
                if !relu((a.node, a.neuron)) {
                    return fail(format!("no ReLU has the node {} and the neuron {}", a.node, a.neuron));
                }
                if !(a.beta >= 0.0 && a.beta.is_finite()) {
                    return fail(format!("leaf {at} has the multiplier {}, below zero or no number", a.beta));
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a certificate.
pub fn fail<T>(problem: String) -> Result<T> {
    Err(Error::usage(format!("certificate: {problem}")))
}

fn relu_node(model: &Model, node: usize) -> Option<&Node> {
    model.nodes.get(node).filter(|n| matches!(n.layer, Layer::Relu))
}

/// Slopes for every neuron of a ReLU node, all in [0,1].
fn check_slopes(model: &Model, node: usize, side: &str, slopes: &[f32]) -> Result<()> {
    let Some(node) = relu_node(model, node) else {
        return fail(format!("the network has no node {node}, or it is no ReLU"));
    };
    if slopes.len() != node.shape.len() {
        let (have, want) = (slopes.len(), node.shape.len());
        return fail(format!("node '{}' has {have} {side} slopes, needs {want}", node.name));
    }
    match slopes.iter().position(|s| !(0.0..=1.0).contains(s)) {
        Some(k) => fail(format!("neuron {k} of '{}' has {side} slope {}, not in [0,1]", node.name, slopes[k])),
        None => Ok(()),
    }
}
