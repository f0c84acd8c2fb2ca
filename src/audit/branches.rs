//! Margins on domains: balls cut up by the signs of neurons (Bunel et al., "Branch and Bound for Piecewise Linear Neural
//! Network Verification", 2020; multipliers by Wang et al., "Beta-CROWN", 2021).

use std::collections::HashSet;

use super::bounds::Interval;
use super::certificate::{Assumed, Branches, Leaf};
use super::lines::Line;
use super::rows::LANES;
use super::state::State;
use super::walk::{self, Stop, Target};
use crate::error::{Error, Result};

/// Lower bounds of `logit_class - logit_j`, for all j but the class itself, on a box inside that of the state: the least
/// over the leaves of j.
///
/// # Errors
/// If the leaves of a rival leave part of the ball out.
pub fn margins(state: &State<'_>, class: usize, input: &Interval, branches: &Branches) -> Result<Vec<(usize, f64)>> {
    let mut margins = Vec::new();
    for rival in (0..state.model.outputs()).filter(|&j| j != class) {
        let leaves: Vec<&Leaf> = branches.leaves.iter().filter(|l| l.rival == rival).collect();
        if !cover(&leaves) {
            return Err(Error::usage(format!("certificate: the leaves of class {rival} do not cover the ball")));
        }
        let bounds = bounds(state, class, input, &branches.unstable, &leaves);
        // A bound that is no number proves nothing.
        let least = |m: f64, b: f64| if b.is_nan() { f64::NEG_INFINITY } else { m.min(b) };
        margins.push((rival, bounds.into_iter().fold(f64::INFINITY, least)));
    }
    Ok(margins)
}

/// Of each leaf by itself.
pub fn bounds(
    state: &State<'_>,
    class: usize,
    input: &Interval,
    unstable: &[(usize, usize)],
    leaves: &[&Leaf],
) -> Vec<f64> {
    let whole = whole(state);
    let mut bounds = Vec::with_capacity(leaves.len());
    for leaves in leaves.chunks(LANES) {
        let bent = |leaf: &&Leaf| bent(whole.clone(), state, unstable, leaf);
        let lines: Vec<Vec<Option<Vec<Line>>>> = leaves.iter().map(bent).collect();
        // Unused lanes repeat the last leaf.
        let own = std::array::from_fn(|lane| &lines[lane.min(lines.len() - 1)][..]);
        let targets: Vec<Target> = leaves.iter().map(|leaf| vec![(class, 1.0), (leaf.rival, -1.0)]).collect();
        let lower = walk::bound_by(state, own, state.model.output(), &targets, Stop::Input, input);
        bounds.extend_from_slice(&lower[..leaves.len()]);
    }
    bounds
}

/// The lines of every ReLU on the whole ball: standard lower slopes, over all that is known about its inputs.
fn whole(state: &State<'_>) -> Vec<Option<Vec<Line>>> {
    let relu = |(node, lines): (usize, &Option<Vec<Line>>)| {
        let z = &state.values[state.model.nodes[node].inputs[0]];
        let line = |(k, old): (usize, &Line)| {
            let (l, u) = (z.lower[k], z.upper[k]);
            Line::new(l, u, || [old.lower, Line::chord(l, u)])
        };
        lines.as_ref().map(|lines| lines.iter().enumerate().map(line).collect())
    };
    state.lines.iter().enumerate().map(relu).collect()
}

/// The same with a leaf's slopes and signs.
fn bent(
    mut lines: Vec<Option<Vec<Line>>>,
    state: &State<'_>,
    unstable: &[(usize, usize)],
    leaf: &Leaf,
) -> Vec<Option<Vec<Line>>> {
    let mut set = |node: usize, k: usize, new: &dyn Fn(f64, f64) -> Line| {
        let z = &state.values[state.model.nodes[node].inputs[0]];
        if let Some(lines) = &mut lines[node] {
            lines[k] = new(z.lower[k], z.upper[k]);
        }
    };
    for (&(node, k), &slope) in unstable.iter().zip(&leaf.slopes) {
        set(node, k, &|l, u| Line::new(l, u, || [f64::from(slope) / 255.0, Line::chord(l, u)]));
    }
    leaf.assumed.iter().for_each(|a| set(a.node, a.neuron, &|_, _| Line::assumed(a)));
    lines
}

/// Node, neuron, and whether it is at least zero rather than at most.
type Sign = (usize, usize, bool);

/// Whether every choice of signs agrees with all that some leaf assumes. Every point of the ball has a sign for every
/// neuron (both for zero), so that it then lies in some leaf.
///
/// Leaves that came from halving are told in about twice as many steps as there are leaves; others may be refused.
fn cover(leaves: &[&Leaf]) -> bool {
    let mut signs: HashSet<Sign> = HashSet::new();
    let mut steps = 2 * leaves.len() + 1;
    // Leaves that agree with the signs assumed so far, and how many of those signs there are.
    let mut open: Vec<(Vec<&Leaf>, Vec<Sign>)> = vec![(leaves.to_vec(), vec![])];
    while let Some((agree, path)) = open.pop() {
        steps -= usize::from(steps > 0);
        let Some(first) = agree.first().filter(|_| steps > 0) else { return false };
        signs.clear();
        signs.extend(&path);
        let known = |a: &Assumed| signs.contains(&(a.node, a.neuron, a.active));
        if agree.iter().any(|leaf| leaf.assumed.iter().all(known)) {
            continue;
        }
        // Some leaf assumes more than is known, so the first does, or it would have been enough.
        let Some(next) = first.assumed.iter().find(|a| !known(a)) else { return false };
        for active in [true, false] {
            let against = |leaf: &Leaf| {
                leaf.assumed.iter().any(|a| (a.node, a.neuron, a.active) == (next.node, next.neuron, !active))
            };
            let agree = agree.iter().copied().filter(|leaf| !against(leaf)).collect();
            let path = path.iter().copied().chain([(next.node, next.neuron, active)]).collect();
            open.push((agree, path));
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves by their signs: 3 is neuron 3 at least zero, -3 at most.
    fn covered(leaves: &[&[i32]]) -> bool {
        let assumed = |&s: &i32| Assumed { node: 1, neuron: s.unsigned_abs() as usize, active: s > 0, beta: 0.0 };
        let leaf = |signs: &&[i32]| Leaf { rival: 0, assumed: signs.iter().map(assumed).collect(), slopes: vec![] };
        let leaves: Vec<Leaf> = leaves.iter().map(leaf).collect();
        cover(&leaves.iter().collect::<Vec<_>>())
    }

    #[test]
    fn leaves_cover_a_ball_or_do_not() {
        assert!(covered(&[&[]]) && covered(&[&[1], &[-1]]) && covered(&[&[-1, 2], &[1], &[-1, -2]]));
        // Halved by different neurons on either side, in any order; one leaf too many.
        let halved: [&[i32]; 6] = [&[1, 2], &[1, -2, 5], &[1, -2, -5], &[-1, 3], &[-1, -3], &[-1, -3, 7]];
        assert!(covered(&halved));
        assert!((0..5).all(|k| !covered(&[&halved[..k], &halved[k + 1..5]].concat())));
        assert!(!covered(&[]) && !covered(&[&[1]]) && !covered(&[&[1, 2], &[-1, -2]]));
        // What no point can be covers nothing.
        assert!(!covered(&[&[1, -1]]) && !covered(&[&[1, -1], &[1], &[-1, 2]]));
        // A contradiction among leaves that do.
        assert!(covered(&[&[1], &[-1], &[2, -2]]));
    }
}
