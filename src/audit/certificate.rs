//! Whether a certificate makes sense for a network. Any slopes in [0,1] and any multipliers from zero up give a valid
//! bound, and domains one more where they cover the ball, so that checking takes no search and believes nothing.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::model::{Model, Node};
use crate::norm::Norm;
use crate::results::certificate::{Assumed, Branches, Certificate, HalvedNeurons, NoiseCertificate};

/// # Errors
/// Names what makes no sense: a slope that is not a number in `[0,1]`, a multiplier below zero, a node that is no ReLU
/// or is listed twice, a list of the wrong length.
pub fn check(certificate: &Certificate, model: &Model, norm: Norm) -> Result<()> {
    let most = norm.largest(model.input.len());
    if certificate.ball.is_some_and(|ball| !(0.0..=most).contains(&ball)) {
        return fail(format!("the radius of its ball is not in [0,{most}]"));
    }
    for (at, s) in certificate.relu.iter().enumerate() {
        if certificate.relu[..at].iter().any(|other| other.node == s.node) {
            return fail(format!("node {} is listed twice", s.node));
        }
        check_slopes(model, s.node, "lower", &s.lower)?;
        check_slopes(model, s.node, "upper", &s.upper)?;
    }
    for (at, neurons) in certificate.inner.iter().enumerate() {
        if neurons.node >= model.nodes.len() || certificate.inner[..at].iter().any(|other| other.node == neurons.node) {
            return fail(format!("the network has no node {}, or it is listed twice", neurons.node));
        }
        for s in &neurons.relu {
            check_slopes(model, s.node, "lower", &s.lower)?;
        }
    }
    certificate.halved.iter().try_for_each(|halved| check_halved(halved, model))?;
    certificate.branches.as_ref().map_or(Ok(()), |branches| check_branches(branches, model))
}

fn check_halved(halved: &HalvedNeurons, model: &Model) -> Result<()> {
    let HalvedNeurons { node, unstable, ends } = halved;
    let Some(outputs) = model.nodes.get(*node).map(|n| n.shape.len()) else {
        return fail(format!("the network has no node {node}"));
    };
    // All that a part speaks of comes before.
    let below = |at: usize| match at < *node {
        true => Ok(()),
        false => fail(format!("node {at} is none of those below node {node}, whose neurons are bounded")),
    };
    check_neurons(unstable, model)?;
    unstable.iter().try_for_each(|at| below(at.0))?;
    for end in ends {
        let name = format!("neuron {} of node {node}", end.neuron);
        if end.neuron >= outputs {
            return fail(format!("{name} is not there"));
        }
        for part in &end.parts {
            let (have, want) = (part.slopes.len(), unstable.len());
            if have != want {
                return fail(format!("a part of {name} has {have} slopes, needs {want}"));
            }
            check_anchor(&name, &part.anchor, model)?;
            check_assumed(&name, &part.assumed, model)?;
            part.assumed.iter().try_for_each(|a| below(a.node))?;
        }
    }
    Ok(())
}

/// Whether an anchor, if there is one, has a number for every input.
fn check_anchor(name: &str, anchor: &[i8], model: &Model) -> Result<()> {
    let (have, want) = (anchor.len(), model.input.len());
    if have != 0 && have != want {
        return fail(format!("{name} has an anchor of {have} inputs, the network has {want}"));
    }
    Ok(())
}

/// Whether signs are those of neurons that there are, with multipliers that make sense.
fn check_assumed(name: &str, assumed: &[Assumed], model: &Model) -> Result<()> {
    for a in assumed {
        check_neurons(&[(a.node, a.neuron)], model)?;
        if !(a.beta >= 0.0 && a.beta.is_finite()) {
            return fail(format!("{name} has the multiplier {}, below zero or no number", a.beta));
        }
    }
    Ok(())
}

/// # Errors
/// Names what makes no sense: besides what [`check`] looks at, a node or neuron that is not there, or a number of norms that
/// is none.
pub fn check_noise(certificate: &NoiseCertificate, model: &Model) -> Result<()> {
    check(&certificate.lines, model, Norm::Linf)?;
    if !(certificate.deviations >= 0.0 && certificate.deviations.is_finite()) {
        return fail(format!("rows stray by {} norms, no number from zero up", certificate.deviations));
    }
    for s in &certificate.standard {
        check_slopes(model, s.node, "lower", &s.lower)?;
    }
    for rows in certificate.rows.iter().chain(&certificate.again) {
        let Some(node) = model.nodes.get(rows.node) else {
            return fail(format!("the network has no node {}", rows.node));
        };
        if let Some(k) = rows.below.iter().chain(&rows.above).find(|k| **k >= node.shape.len()) {
            return fail(format!("node '{}' has no neuron {k}", node.name));
        }
    }
    Ok(())
}

fn check_branches(branches: &Branches, model: &Model) -> Result<()> {
    check_neurons(&branches.unstable, model)?;
    for (at, home) in branches.homes.iter().enumerate() {
        let name = format!("home {at}");
        if home.within.is_some_and(|within| within >= at) || home.rival >= model.outputs() {
            return fail(format!("{name} is over no class, or in one that does not come before it"));
        }
        check_neurons(&home.unstable, model)?;
        if home.standard.len() != home.unstable.len() {
            let (have, want) = (home.standard.len(), home.unstable.len());
            return fail(format!("{name} has {have} standard slopes, needs {want}"));
        }
        check_anchor(&name, &home.anchor, model)?;
        check_domain(branches, model, &name, home.within, home.rival, &home.assumed, &home.slopes)?;
    }
    for (at, leaf) in branches.leaves.iter().enumerate() {
        let name = format!("leaf {at}");
        if leaf.home.is_some_and(|home| home >= branches.homes.len()) {
            return fail(format!("{name} is in a home that is not there"));
        }
        check_anchor(&name, &leaf.anchor, model)?;
        check_domain(branches, model, &name, leaf.home, leaf.rival, &leaf.assumed, &leaf.slopes)?;
    }
    match branches.renewed.iter().find(|node| **node >= model.nodes.len()) {
        Some(node) => fail(format!("the network has no node {node}")),
        None => Ok(()),
    }
}

fn check_neurons(neurons: &[(usize, usize)], model: &Model) -> Result<()> {
    let relu = |(node, neuron): (usize, usize)| relu_node(model, node).is_some_and(|n| neuron < n.shape.len());
    match neurons.iter().find(|at| !relu(**at)) {
        Some((node, neuron)) => fail(format!("no ReLU has the node {node} and the neuron {neuron}")),
        None => Ok(()),
    }
}

/// Whether a domain is part of its home, and has slopes for what is unstable there.
fn check_domain(
    branches: &Branches,
    model: &Model,
    name: &str,
    home: Option<usize>,
    rival: usize,
    assumed: &[Assumed],
    slopes: &[u8],
) -> Result<()> {
    let home = home.map(|home| &branches.homes[home]);
    let (have, want) = (slopes.len(), home.map_or(&branches.unstable, |home| &home.unstable).len());
    if have != want {
        return fail(format!("{name} has {have} slopes, needs {want}"));
    }
    check_assumed(name, assumed, model)?;
    let sign = |a: &Assumed| (a.node, a.neuron, a.active);
    let own: HashSet<_> = assumed.iter().map(sign).collect();
    if home.is_some_and(|home| home.rival != rival || !home.assumed.iter().all(|a| own.contains(&sign(a)))) {
        return fail(format!("{name} is not part of its home"));
    }
    Ok(())
}

/// What is wrong with a certificate.
pub fn fail<T>(problem: String) -> Result<T> {
    Err(Error::usage(format!("certificate: {problem}")))
}

fn relu_node(model: &Model, node: usize) -> Option<&Node> {
    model.nodes.get(node).filter(|n| n.layer.is_relu())
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
