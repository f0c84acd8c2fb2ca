//! What is left of domains where rows may not be positive, and certificates that speak of it.

use super::nets::{conv_net, dense_net, image};
use super::*;
use crate::audit::branches;

/// Whatever slopes and signs a home has: a point of the ball that lies in it and has the rival ahead is in what is left, with
/// all of its values, and no leaf is said to be proved that holds it.
#[test]
fn a_point_that_is_lost_is_in_what_is_left() {
    let radius = 0.3;
    let (mut inside, mut empty) = (0, 0);
    for (seed, model) in (0..8).flat_map(|seed| [(seed, conv_net(190 + seed)), (seed, dense_net(190 + seed))]) {
        let mut rng = Rng::new(190 + seed, 18);
        let x = image(&model, &mut rng);
        let class = predicted(&model, &doubles(&x));
        let ball = Interval::ball(&x, Norm::Linf, radius);
        let state = State::new(&model, ball.clone(), Method::Crown, Choice::default()).unwrap();
        let reads = |node: usize| model.nodes[node].inputs[0];
        let relus = (0..model.nodes.len()).filter(|&i| matches!(model.nodes[i].layer, Layer::Relu));
        let unstable: Vec<(usize, usize)> =
            relus.flat_map(|i| (0..model.nodes[i].shape.len()).map(move |k| (i, k))).collect();
        let renewed: Vec<usize> = unstable.iter().map(|at| reads(at.0) - 1).collect();
        for rival in (0..model.outputs()).filter(|&j| j != class) {
            for _ in 0..6 {
                let assumed = (0..rng.below(3)).map(|_| {
                    let (node, neuron) = unstable[rng.below(unstable.len())];
                    let beta = if rng.below(3) == 0 { 0.0 } else { 0.3 * rng.uniform() };
                    Assumed { node, neuron, active: rng.below(2) == 0, beta }
                });
                let assumed: Vec<Assumed> = assumed.collect();
                let anchors = [(); 3].map(|()| anchor(&model, &mut rng));
                let [leaf_anchor, home_anchors @ ..] = anchors;
                let mut home_anchors = home_anchors.into_iter();
                let mut slopes = || -> Vec<u8> { unstable.iter().map(|_| rng.below(256) as u8).collect() };
                let home = |within| Home {
                    within,
                    rival,
                    assumed: assumed.clone(),
                    slopes: vec![],
                    anchor: vec![],
                    unstable: unstable.clone(),
                    standard: vec![],
                };
                // One within the other.
                let homes = [None, Some(0)].map(|within| {
                    let anchor = home_anchors.next().unwrap();
                    Home { slopes: slopes(), standard: slopes(), anchor, ..home(within) }
                });
                let own = (assumed.clone(), slopes());
                let leaf = Leaf { rival, home: Some(1), assumed: own.0, slopes: own.1, anchor: leaf_anchor };
                let branches = Branches {
                    unstable: unstable.clone(),
                    leaves: vec![leaf],
                    homes: homes.to_vec(),
                    renewed: renewed.clone(),
                };
                let first = branches::left(&state, class, &unstable, &homes[0], &renewed).unwrap();
                let second =
                    first.as_ref().map(|first| branches::left(first, class, &unstable, &homes[1], &renewed).unwrap());
                let bound = branches::leasts(&state, class, &ball, &branches).unwrap()[rival];
                for _ in 0..60 {
                    let point = point(&x, radius, &mut rng);
                    let values = forward_f64(&model, point);
                    let agrees = |a: &Assumed| {
                        let z = values[reads(a.node)][a.neuron];
                        if a.active { z >= 0.0 } else { z <= 0.0 }
                    };
                    let margin = values[model.output()][class] - values[model.output()][rival];
                    if margin > 0.0 || !assumed.iter().all(agrees) {
                        continue;
                    }
                    inside += 1;
                    let states = [first.as_ref(), second.as_ref().and_then(Option::as_ref)];
                    for state in states {
                        let state = state.expect("something is left");
                        for (own, known) in values.iter().zip(&state.values) {
                            for (k, z) in own.iter().enumerate() {
                                assert!(known.lower[k] <= z + 1e-12 && z - 1e-12 <= known.upper[k]);
                            }
                        }
                    }
                    assert!(bound <= margin + 1e-12, "{bound} of a margin of {margin}");
                }
                let nothing = first.is_none() || second.as_ref().is_some_and(Option::is_none);
                assert!(!nothing || bound > 0.0 && bound.is_finite(), "{bound} of nothing");
                empty += usize::from(nothing);
            }
        }
    }
    assert!(inside > 150 && empty > 10, "{inside} points, {empty} homes with nothing left");
}

#[test]
fn homes_that_make_no_sense_are_refused() {
    let model = dense_net(200);
    let x = image(&model, &mut Rng::new(200, 19));
    let class = predicted(&model, &doubles(&x));
    let unstable = vec![(1, 0), (1, 2), (3, 1)];
    let sign = |node, neuron, active| Assumed { node, neuron, active, beta: 0.1 };
    let rivals = (0..model.outputs()).filter(|&j| j != class);
    let home = |within, rival, assumed| Home {
        within,
        rival,
        assumed,
        slopes: vec![9; 3],
        anchor: vec![],
        unstable: unstable.clone(),
        standard: vec![255; 3],
    };
    let leaf = |home, rival, assumed| Leaf { rival, home, assumed, slopes: vec![7; 3], anchor: vec![] };
    let (mut homes, mut leaves) = (vec![], vec![]);
    for rival in rivals {
        let at = homes.len();
        homes.push(home(None, rival, vec![]));
        homes.push(home(Some(at), rival, vec![sign(1, 2, true)]));
        leaves.push(leaf(Some(at), rival, vec![sign(1, 2, false)]));
        leaves.push(leaf(Some(at + 1), rival, vec![sign(1, 2, true)]));
    }
    let branches = Some(Branches { unstable: unstable.clone(), leaves, homes, renewed: vec![0, 2] });
    let sound = Certificate { branches, ..Certificate::default() };
    check(&model, &x, class, 1e-4, Method::Crown, Some(&sound)).unwrap();
    let refused = |change: &dyn Fn(&mut Branches), what: &str| refuses(&model, &x, class, &sound, change, what);
    let other = sound.branches.as_ref().unwrap().homes[2].rival;
    refused(&|b| b.homes[1].within = Some(1), "does not come before it");
    refused(&|b| b.homes[0].rival = model.outputs(), "is over no class");
    refused(&|b| b.homes[0].assumed.push(sign(1, 0, true)), "is not part of its home");
    refused(&|b| b.homes[1].rival = other, "is not part of its home");
    refused(&|b| b.leaves[1].assumed[0].active = false, "is not part of its home");
    refused(&|b| b.leaves[0].home = Some(9), "a home that is not there");
    refused(&|b| _ = b.homes[1].slopes.pop(), "has 2 slopes, needs 3");
    refused(&|b| _ = b.homes[0].standard.pop(), "has 2 standard slopes");
    refused(&|b| b.homes[1].unstable[0].1 = 99, "the neuron 99");
    refused(&|b| b.renewed[0] = 50, "no node 50");
}
