//! Margins on domains: balls cut up by the signs of neurons (Bunel et al., "Branch and Bound for Piecewise Linear Neural
//! Network Verification", 2020; multipliers by Wang et al., "Beta-CROWN", 2021).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::bounds::Interval;
use super::certificate::fail;
use super::lines::Line;
use super::rows::LANES;
use super::state::State;
use super::walk::{self, Stop, Target};
use crate::error::Result;
use crate::model::ValueId;
use crate::results::certificate::{Assumed, Branches, EndPart, HalvedEnd, HalvedNeurons, Home, Leaf};

/// Lower bounds of `logit_class - logit_j`, for all j but the class itself, on a box inside that of the state: the least
/// over the leaves of j.
///
/// # Errors
/// If the leaves of a rival leave part of the ball out.
pub fn margins(state: &State<'_>, class: usize, input: &Interval, branches: &Branches) -> Result<Vec<(usize, f64)>> {
    let rivals: Vec<usize> = (0..state.model.outputs()).filter(|&j| j != class).collect();
    for &rival in &rivals {
        let own = branches.leaves.iter().filter(|l| l.rival == rival);
        if !cover(&own.map(|l| &l.assumed[..]).collect::<Vec<_>>()) {
            return fail(format!("the leaves of class {rival} do not cover the ball"));
        }
    }
    let least = leasts(state, class, input, branches)?;
    Ok(rivals.iter().map(|&rival| (rival, least[rival])).collect())
}

/// By class, the least bound of its leaves.
pub fn leasts(state: &State<'_>, class: usize, input: &Interval, branches: &Branches) -> Result<Vec<f64>> {
    let least = Mutex::new(vec![f64::INFINITY; state.model.outputs()]);
    let note = |rival: usize, bound: f64| {
        let least = &mut least.lock().unwrap_or_else(PoisonError::into_inner)[rival];
        // A bound that is no number proves nothing.
        *least = if bound.is_nan() { f64::NEG_INFINITY } else { least.min(bound) };
    };
    let failed = || least.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|least| !(*least > 0.0));
    Tree { class, input, branches, note: &note, failed: &failed }.descend(state, None)?;
    Ok(least.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What is left of a home of the box, or part of it, that `state` is about, in which `unstable` are the neurons with slopes;
/// none where nothing is.
pub fn left<'a>(
    state: &State<'a>,
    class: usize,
    unstable: &[(usize, usize)],
    home: &Home,
    renewed: &[usize],
) -> Result<Option<State<'a>>> {
    let lines = bent(whole(state), state, unstable, &home.slopes, &home.assumed);
    let target = vec![(class, 1.0), (home.rival, -1.0)];
    let cut = walk::forms(state, [&lines; LANES], &home.anchor, &[target]).remove(0);
    state.left(cut, home, renewed)
}

/// Lower bounds of outputs of a node below which all is known, or of their negations where the upper ends are meant: with neuron
/// and side, each the least over parts of the box that `state` is about.
///
/// # Errors
/// If the parts of one leave some of the box out.
pub fn ends(state: &State<'_>, halved: &HalvedNeurons) -> Result<Vec<(usize, bool, f64)>> {
    halved.ends.par_iter().try_for_each(|end: &HalvedEnd| {
        if cover(&end.parts.iter().map(|part| &part.assumed[..]).collect::<Vec<_>>()) {
            return Ok(());
        }
        let side = if end.above { "upper" } else { "lower" };
        fail(format!("the parts of the {side} end of neuron {} do not cover the ball", end.neuron))
    })?;
    let mut domains = vec![];
    for end in &halved.ends {
        let sign = if end.above { -1.0 } else { 1.0 };
        for EndPart { assumed, slopes, anchor } in &end.parts {
            domains.push(Domain { target: vec![(end.neuron, sign)], slopes, anchor, assumed });
        }
    }
    // A bound that is no number proves nothing.
    let known = |bound: f64| if bound.is_nan() { f64::NEG_INFINITY } else { bound };
    let bounds = bounds_of(state, halved.node + 1, &state.values[0], &halved.unstable, &domains);
    let mut bounds = bounds.into_iter().map(known);
    let mut least = |end: &HalvedEnd| bounds.by_ref().take(end.parts.len()).fold(f64::INFINITY, f64::min);
    Ok(halved.ends.iter().map(|end| (end.neuron, end.above, least(end))).collect())
}

/// Homes and leaves on their way to bounds.
struct Tree<'a> {
    class: usize,
    input: &'a Interval,
    branches: &'a Branches,
    /// Takes the bound of a leaf of a rival.
    note: &'a (dyn Fn(usize, f64) + Sync),
    /// Whether one is not above zero.
    failed: &'a (dyn Fn() -> bool + Sync),
}

impl Tree<'_> {
    /// Bounds all leaves in a home, or the ball, that `state` is about.
    fn descend(&self, state: &State<'_>, home: Option<usize>) -> Result<()> {
        // One leaf that is not proved says enough.
        if (self.failed)() {
            return Ok(());
        }
        let Branches { homes, leaves, renewed, .. } = self.branches;
        let is_rival = |rival: usize| rival != self.class && rival < state.model.outputs();
        let own: Vec<&Leaf> = leaves.iter().filter(|l| l.home == home && is_rival(l.rival)).collect();
        let unstable = home.map_or(&self.branches.unstable, |home| &homes[home].unstable);
        // What is cut off is so for the smaller ball as well.
        let input = Interval { cut: state.values[0].cut.clone(), ..self.input.clone() };
        for (leaf, bound) in own.iter().zip(bounds(state, self.class, &input, unstable, &own)) {
            (self.note)(leaf.rival, bound);
        }
        let inner: Vec<(usize, &Home)> = homes.iter().enumerate().filter(|(_, h)| h.within == home).collect();
        inner.par_iter().try_for_each(|&(at, inner)| {
            match left(state, self.class, unstable, inner, renewed)? {
                Some(left) => self.descend(&left, Some(at))?,
                // All of its leaves are proved, by whatever margin.
                None => (self.note)(inner.rival, f64::MAX),
            }
            Ok(())
        })
    }
}

/// Of each leaf by itself.
pub fn bounds(
    state: &State<'_>,
    class: usize,
    input: &Interval,
    unstable: &[(usize, usize)],
    leaves: &[&Leaf],
) -> Vec<f64> {
    let mut domains = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let target = vec![(class, 1.0), (leaf.rival, -1.0)];
        domains.push(Domain { target, slopes: &leaf.slopes, anchor: &leaf.anchor, assumed: &leaf.assumed });
    }
    bounds_of(state, state.model.output(), input, unstable, &domains)
}

/// A row, and the part of a box on which it is bounded.
struct Domain<'a> {
    target: Target,
    slopes: &'a [u8],
    anchor: &'a [i8],
    assumed: &'a [Assumed],
}

/// Of each row over elements of the value `from` by itself.
fn bounds_of(
    state: &State<'_>,
    from: ValueId,
    input: &Interval,
    unstable: &[(usize, usize)],
    domains: &[Domain<'_>],
) -> Vec<f64> {
    let whole = whole(state);
    let some = |domains: &[Domain<'_>]| {
        let bent = |domain: &Domain<'_>| bent(whole.clone(), state, unstable, domain.slopes, domain.assumed);
        let lines: Vec<Vec<Option<Vec<Line>>>> = domains.iter().map(bent).collect();
        // Unused lanes repeat the last domain.
        let own = std::array::from_fn(|lane| &lines[lane.min(lines.len() - 1)][..]);
        let targets: Vec<Target> = domains.iter().map(|domain| domain.target.clone()).collect();
        let anchors = std::array::from_fn(|lane| domains[lane.min(domains.len() - 1)].anchor);
        let lower = walk::bound_by(state, (own, anchors), from, &targets, Stop::Input, input);
        lower[..domains.len()].to_vec()
    };
    domains.par_chunks(LANES).flat_map_iter(some).collect()
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

/// The same with a domain's slopes and signs.
fn bent(
    mut lines: Vec<Option<Vec<Line>>>,
    state: &State<'_>,
    unstable: &[(usize, usize)],
    slopes: &[u8],
    assumed: &[Assumed],
) -> Vec<Option<Vec<Line>>> {
    for (&(node, k), &slope) in unstable.iter().zip(slopes) {
        let z = &state.values[state.model.nodes[node].inputs[0]];
        if let Some(lines) = &mut lines[node] {
            let (l, u) = (z.lower[k], z.upper[k]);
            let slope = f64::from(slope) / 255.0;
            let line = Line::new(l, u, || [slope, Line::chord(l, u)]);
            lines[k] = if state.keep { line.kept(slope) } else { line };
        }
    }
    for a in assumed {
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
fn cover(leaves: &[&[Assumed]]) -> bool {
    let mut looked_at = 0;
    // Signs chosen so far, and the leaves that agree with them.
    let mut open: Vec<(HashSet<Sign>, Vec<&[Assumed]>)> = vec![(HashSet::new(), leaves.to_vec())];
    for _ in 0..2 * leaves.len() {
        let Some((signs, agree)) = open.pop() else { return true };
        looked_at += agree.len();
        if looked_at > MOST_LOOKS {
            return false;
        }
        let unknown = |leaf: &[Assumed]| leaf.iter().map(sign).find(|s| !signs.contains(s));
        if agree.iter().any(|leaf| unknown(leaf).is_none()) {
            continue;
        }
        let Some((node, neuron, _)) = agree.first().and_then(|leaf| unknown(leaf)) else { return false };
        for active in [true, false] {
            let against = (node, neuron, !active);
            let agree = agree.iter().copied().filter(|l| l.iter().all(|a| sign(a) != against)).collect();
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
        let leaves: Vec<Vec<Assumed>> = leaves.iter().map(|signs| signs.iter().map(assumed).collect()).collect();
        cover(&leaves.iter().map(|leaf| &leaf[..]).collect::<Vec<_>>())
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
