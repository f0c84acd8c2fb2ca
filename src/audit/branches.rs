//! Margins on domains: balls cut up by the signs of neurons (Bunel et al., "Branch and Bound for Piecewise Linear Neural
//! Network Verification", 2020; multipliers by Wang et al., "Beta-CROWN", 2021).

use std::collections::HashSet;

use super::bounds::Interval;
use super::certificate::fail;
use super::lines::Line;
use super::rows::LANES;
use super::state::State;
use super::walk::{self, Stop, Target};
use crate::error::Result;
use crate::results::certificate::{Assumed, Branches, Leaf};

/// Lower bounds of `logit_class - logit_j`, for all j but the class itself, on a box inside that of the state: the least
/// over the leaves of j.
///
/// # Errors
/// If the leaves of a rival leave part of the ball out.
pub fn margins(state: &State<'_>, class: usize, input: &Interval, branches: &Branches) -> Result<Vec<(usize, f64)>> {
    let rivals: Vec<usize> = (0..state.model.outputs()).filter(|&j| j != class).collect();
    for &rival in &rivals {
        if !cover(&branches.leaves.iter().filter(|l| l.rival == rival).collect::<Vec<_>>()) {
            return fail(format!("the leaves of class {rival} do not cover the ball"));
        }
    }
    let leaves: Vec<&Leaf> = branches.leaves.iter().filter(|l| rivals.contains(&l.rival)).collect();
    let bounds = bounds(state, class, input, &branches.unstable, &leaves);
    let least = |rival: usize| {
        let own = leaves.iter().zip(&bounds).filter(|(l, _)| l.rival == rival).map(|(_, b)| *b);
        // A bound that is no number proves nothing.
        own.fold(f64::INFINITY, |m, b| if b.is_nan() { f64::NEG_INFINITY } else { m.min(b) })
    };
    Ok(rivals.iter().map(|&rival| (rival, least(rival))).collect())
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
    for (&(node, k), &slope) in unstable.iter().zip(&leaf.slopes) {
        let z = &state.values[state.model.nodes[node].inputs[0]];
        if let Some(lines) = &mut lines[node] {
            let (l, u) = (z.lower[k], z.upper[k]);
            let slope = f64::from(slope) / 255.0;
            let line = Line::new(l, u, || [slope, Line::chord(l, u)]);
            lines[k] = if state.keep { line.kept(slope) } else { line };
        }
    }
    for a in &leaf.assumed {
        if let Some(lines) = &mut lines[a.node] {
            lines[a.neuron] = Line::assumed(a);
        }
    }
    lines
}

/// Node, neuron, and whether it is at least zero rather than at most.
type Sign = (usize, usize, bool);

fn sign(a: &Assumed) -> Sign {
    (a.node, a.neuron, a.active)
}

/// Leaves looked at before a list is given up: far more than halving leads to, and bounds time and memory.
const MOST_LOOKS: usize = 1 << 26;

/// Whether every choice of signs agrees with all that some leaf assumes. Every point of the ball has a sign for every
/// neuron (both for zero), so that it then lies in some leaf.
///
/// Leaves that came from halving are told in about twice as many steps as there are leaves; others may be refused.
fn cover(leaves: &[&Leaf]) -> bool {
    let mut looked_at = 0;
    // Signs chosen so far, and the leaves that agree with them.
    let mut open: Vec<(HashSet<Sign>, Vec<&Leaf>)> = vec![(HashSet::new(), leaves.to_vec())];
    for _ in 0..2 * leaves.len() {
        let Some((signs, agree)) = open.pop() else { return true };
        looked_at += agree.len();
        if looked_at > MOST_LOOKS {
            return false;
        }
        let unknown = |leaf: &Leaf| leaf.assumed.iter().map(sign).find(|s| !signs.contains(s));
        if agree.iter().any(|leaf| unknown(leaf).is_none()) {
            continue;
        }
        let Some((node, neuron, _)) = agree.first().and_then(|leaf| unknown(leaf)) else { return false };
        for active in [true, false] {
            let against = (node, neuron, !active);
            let agree = agree.iter().copied().filter(|l| l.assumed.iter().all(|a| sign(a) != against)).collect();
            open.push((signs.iter().copied().chain([(node, neuron, active)]).collect(), agree));
        }
    }
    open.is_empty()
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
