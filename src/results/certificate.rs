//! What proves a radius: slopes and domains, one JSON file per radius in `certificates/`, zipped.

use serde::{Deserialize, Serialize};

/// What an auditor needs to prove the margins of one ball again: the lines of the margins' walk, and the lower slopes of
/// the walks from neurons. Nodes that are not listed get the standard slopes; stable neurons need none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Radius of the ball on which neurons are bounded, if larger than the one claimed.
    #[serde(default)]
    pub ball: Option<f32>,
    /// For the margins.
    pub relu: Vec<NodeSlopes>,
    /// For the neurons behind them.
    #[serde(default)]
    pub inner: Vec<NeuronSlopes>,
    /// For neurons whose ends are bounded by halving, in the order of their nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub halved: Vec<HalvedNeurons>,
    /// For the margins of a ball that is halved, in place of `relu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Branches>,
}

/// Slopes of one ReLU node, one pair per neuron.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeSlopes {
    /// Index into the model's nodes.
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
    /// `relu(z) <= upper * z + intercept`, the intercept being the auditor's own.
    pub upper: Vec<f32>,
}

/// Lower slopes of one ReLU node, one per neuron; the upper line is the chord.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowerSlopes {
    /// Index into the model's nodes.
    pub node: usize,
    /// `lower * z <= relu(z)` for unstable neurons.
    pub lower: Vec<f32>,
}

/// Slopes for the bounds of one node's neurons, which are tried beside the standard ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeuronSlopes {
    /// Index into the model's nodes.
    pub node: usize,
    /// Of the ReLUs that walks from these neurons pass.
    pub relu: Vec<LowerSlopes>,
}

/// What an auditor needs to prove again that noise changes a class with a small probability only: the rows that the proof
/// rests on, none of which depends on the noise that is drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseCertificate {
    /// How far rows that bound neurons are taken to fall below their means at most, in norms of each.
    pub deviations: f64,
    /// Neurons that have such rows.
    pub rows: Vec<NeuronRows>,
    /// Lower slopes of the ReLUs that these rows pass; the upper line is the chord.
    pub standard: Vec<LowerSlopes>,
    /// Neurons that have another row by the slopes of their node in [`Certificate::inner`].
    #[serde(default)]
    pub again: Vec<NeuronRows>,
    /// Lines of the margins.
    pub lines: Certificate,
}

/// Outputs of one node that have a row of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeuronRows {
    /// Index into the model's nodes.
    pub node: usize,
    /// Flat `[channel][row][column]` indices of those that are bounded from below,
    pub below: Vec<usize>,
    /// and from above.
    pub above: Vec<usize>,
}

/// Ends of outputs of one node, each the least over parts that cover the ball.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalvedNeurons {
    /// Index into the model's nodes.
    pub node: usize,
    /// Node and neuron of those that parts have slopes for, all below `node`.
    pub unstable: Vec<(usize, usize)>,
    /// In no order.
    pub ends: Vec<HalvedEnd>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalvedEnd {
    /// Flat `[channel][row][column]` index.
    pub neuron: usize,
    /// The upper end, rather than the lower.
    pub above: bool,
    /// In no order; the auditor shows that they cover the ball.
    pub parts: Vec<EndPart>,
}

/// A part of the ball, on which the end is bounded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndPart {
    /// Signs that make this part of the ball.
    pub assumed: Vec<Assumed>,
    /// Lower slopes of the unstable neurons, in steps of 1/255.
    pub slopes: Vec<u8>,
    /// Of the upper lines of the first ReLU, by input, in steps of 1/64: how much less of a share each takes that already stands
    /// where the row is least. None: these are the triangles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchor: Vec<i8>,
}

/// Domains of a ball, which for each rival of the class together are to cover it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Branches {
    /// Node and neuron of those that leaves have slopes for.
    pub unstable: Vec<(usize, usize)>,
    /// In no order; the auditor shows that they cover the ball.
    pub leaves: Vec<Leaf>,
    /// Domains on which neurons were bounded anew, each after the one that it is part of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub homes: Vec<Home>,
    /// Nodes whose neurons were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renewed: Vec<usize>,
}

/// A domain on which the margin over one rival has a lower bound, so that its neurons are bounded anew where that is not above
/// zero: nowhere else in it can the margin be lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Home {
    /// The home that it is part of; none: the ball.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<usize>,
    /// The class that the margin is over.
    pub rival: usize,
    /// Signs that make this part of the ball, with the multipliers of the bound.
    pub assumed: Vec<Assumed>,
    /// Lower slopes of the bound, of the neurons that are unstable in `within`, in steps of 1/255.
    pub slopes: Vec<u8>,
    /// As in [`EndPart`]: of the upper lines of the first ReLU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchor: Vec<i8>,
    /// Node and neuron of those that leaves in this home have slopes for.
    pub unstable: Vec<(usize, usize)>,
    /// Their lower slopes for the bounds of neurons here, in steps of 1/255: which of two is the closer line is told by so little
    /// that another arithmetic may choose otherwise.
    pub standard: Vec<u8>,
}

/// One domain, on which the margin over one rival is to be proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaf {
    /// The class whose margin is proved here.
    pub rival: usize,
    /// The home that it is part of; none: the ball.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<usize>,
    /// Signs that make this part of the ball.
    pub assumed: Vec<Assumed>,
    /// Lower slopes of the neurons that are unstable in its home, in steps of 1/255.
    pub slopes: Vec<u8>,
    /// As in [`EndPart`]: of the upper lines of the first ReLU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchor: Vec<i8>,
}

/// A neuron whose sign is assumed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assumed {
    /// Index of its ReLU in the model's nodes.
    pub node: usize,
    /// Flat `[channel][row][column]` index.
    pub neuron: usize,
    /// At least zero, rather than at most.
    pub active: bool,
    /// Multiplier of the assumption.
    pub beta: f32,
}
