//! Test cases of steps of gradient descent, and points moved one by one.

use super::*;
use crate::ops::case::{Case, Check, blank, random, words};
use crate::rng::Rng;

const LANES: usize = 32;

/// Values in [0,1], some at the ends.
fn pixels(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| [0.0, 1.0, rng.uniform(), rng.uniform()][rng.below(4)]).collect()
}

/// Radii of all sizes, zero among them.
fn radii(rng: &mut Rng) -> Vec<f32> {
    (0..LANES).map(|lane| if lane == 0 { 0.0 } else { 0.2 * rng.uniform() }).collect()
}

pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(54, 0);
    let mut cases = vec![];
    let close = || Check::Value { abs: 1e-5, rel: 1e-5 };
    for elements in [5, 37] {
        let n = elements * LANES;
        for norm in Norm::ALL {
            let label = format!("{elements} values, {norm}");
            let reads = vec![random(&mut rng, n), radii(&mut rng)];
            let writes = vec![random(&mut rng, n), pixels(&mut rng, n)];
            cases.push(Case::new(&BALL, &label, reads, writes, close(), move |d, r, w| {
                step_in_balls(d, norm, &r[0], &r[1], [&w[0], &w[1]], [0.5, 1.5])
            }));
            let reads = vec![pixels(&mut rng, n), radii(&mut rng)];
            let writes = vec![random(&mut rng, n), blank(LANES)];
            cases.push(Case::new(&PULL, &label, reads, writes, close(), move |d, r, w| {
                pull(d, norm, [&r[0], &r[1]], [&w[0], &w[1]])
            }));
        }
        let (low, width) = (random(&mut rng, n), pixels(&mut rng, n));
        let high = low.iter().zip(width).map(|(l, w)| l + w).collect();
        let (reads, writes) = (vec![random(&mut rng, n), low.clone(), high], vec![random(&mut rng, n), low]);
        cases.push(Case::new(&BOX, format!("{elements} values"), reads, writes, close(), move |d, r, w| {
            step_in_boxes(d, &r[0], [&r[1], &r[2]], [&w[0], &w[1]], LANES, [0.5, 1.0])
        }));
    }
    let outputs = 4;
    let mut some = |below: usize| if rng.below(3) == 0 { NONE } else { rng.below(below) as u32 };
    let slot: Vec<u32> = (0..LANES).map(|_| some(3)).collect();
    let goals: Vec<u32> = (0..LANES).map(|_| some(outputs)).collect();
    let classes: Vec<u32> = (0..LANES).map(|_| rng.below(outputs) as u32).collect();
    let found: Vec<u32> =
        (0..3 * LANES).map(|i| if i < LANES { rng.uniform().to_bits() } else { rng.below(2) as u32 }).collect();
    let reads = vec![
        random(&mut rng, outputs * LANES),
        words(&[classes, goals].concat()),
        pixels(&mut rng, LANES),
        words(&slot),
    ];
    let writes = vec![blank(outputs * LANES), words(&found), blank(LANES)];
    cases.push(Case::new(&JUDGE, "32 points", reads, writes, Check::Exact, |d, r, w| {
        judge(d, 7, &r[0], [&r[1], &r[2], &r[3]], [&w[0], &w[1], &w[2]])
    }));
    let (from, to) = (random(&mut rng, 11 * LANES), random(&mut rng, 11 * LANES));
    cases.push(Case::new(&TAKE, "11 values", vec![from, words(&slot)], vec![to], Check::Exact, |d, r, w| {
        take(d, 2, &r[0], &r[1], &w[0])
    }));
    let reads = vec![words(&slot), words(&found)];
    cases.push(Case::new(&RESIZE, "32 balls", reads, vec![radii(&mut rng)], close(), |d, r, w| {
        resize(d, 0.25, [&r[0], &r[1]], &w[0])
    }));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{deinterleave, interleave};

    const ELEMENTS: usize = 300;

    /// A point of [0,1] some way along a direction, pixels at their ends left where they are.
    fn straight(x: &mut [f32], direction: &[f32], length: f32) {
        let free = |x: f32, d: f32| if x <= 0.0 && d < 0.0 || x >= 1.0 && d > 0.0 { 0.0 } else { d };
        let square: f32 = x.iter().zip(direction).map(|(x, d)| free(*x, *d).powi(2)).sum();
        let share = length / square.sqrt().max(f32::MIN_POSITIVE);
        x.iter_mut().zip(direction).for_each(|(x, d)| *x += share * free(*x, *d));
    }

    /// Twins do bit for bit what is done to one point after the other in the order of its values.
    #[test]
    fn every_point_moves_as_it_would_alone() {
        let (d, mut rng) = (Device::cpu(), Rng::new(55, 0));
        let mut points = |of: &mut dyn FnMut(&mut Rng) -> f32| -> Vec<Vec<f32>> {
            (0..LANES).map(|_| (0..ELEMENTS).map(|_| of(&mut rng)).collect()).collect()
        };
        let gradient = points(&mut |rng| rng.range(-1.0, 1.0));
        let before = points(&mut |rng| if rng.below(4) == 0 { 0.0 } else { rng.range(-1.0, 1.0) });
        let [starts, centres] = [0, 1].map(|_| points(&mut |rng| [0.0, 1.0, rng.uniform()][rng.below(3)]));
        let radii = radii(&mut Rng::new(56, 0));
        let placed = |all: &[Vec<f32>]| d.upload(&interleave(all.iter().map(Vec::as_slice), ELEMENTS)).unwrap();
        let host = |b: &Buffer| deinterleave(&d.read::<f32>(b).unwrap(), ELEMENTS, LANES);
        let (g, c, r) = (placed(&gradient), placed(&centres), d.upload(&radii).unwrap());
        let sums = |lane: usize, weight: &dyn Fn(usize) -> f32| {
            let size: f32 = gradient[lane].iter().enumerate().map(|(k, g)| g.abs() * weight(k)).sum();
            let size = size.max(f32::MIN_POSITIVE);
            (0..ELEMENTS).map(|k| 0.75 * before[lane][k] + gradient[lane][k] * weight(k) / size).collect::<Vec<f32>>()
        };
        let signed = |m: f32| m.signum() * f32::from(m != 0.0);
        for norm in Norm::ALL {
            let (momentum, x, distance) = (placed(&before), placed(&starts), d.alloc(LANES).unwrap());
            step_in_balls(&d, norm, &g, &r, [&momentum, &x], [0.5, 1.25]).unwrap();
            pull(&d, norm, [&c, &r], [&x, &distance]).unwrap();
            let mut wanted = starts.clone();
            for (lane, x) in wanted.iter_mut().enumerate() {
                let (m, length) = (sums(lane, &|_| 1.0), 0.5 * radii[lane] / 1.25);
                match norm {
                    Norm::Linf => x.iter_mut().zip(&m).for_each(|(x, m)| *x += length * signed(*m)),
                    Norm::L2 => straight(x, &m, length),
                }
                norm.pull(x, &centres[lane], radii[lane]);
            }
            assert_eq!(host(&x), wanted.concat(), "{norm}");
            let far = wanted.iter().zip(&centres).map(|(x, c)| norm.distance(c, x)).collect::<Vec<_>>();
            assert_eq!(d.read::<f32>(&distance).unwrap(), far, "{norm}");
        }
        let ends =
            |sign: f32| starts.iter().map(|x| x.iter().map(|x| x + sign * 0.1).collect()).collect::<Vec<Vec<f32>>>();
        let [low, high] = [-1.0, 2.0].map(ends);
        let (momentum, x) = (placed(&before), placed(&starts));
        step_in_boxes(&d, &g, [&placed(&low), &placed(&high)], [&momentum, &x], LANES, [0.75, 1.0]).unwrap();
        let mut wanted = starts.clone();
        for (lane, x) in wanted.iter_mut().enumerate() {
            let half = |k: usize| 0.5 * (high[lane][k] - low[lane][k]);
            for (k, m) in sums(lane, &half).into_iter().enumerate() {
                x[k] = (x[k] + 0.75 * half(k) * signed(m)).clamp(low[lane][k], high[lane][k]);
            }
        }
        assert_eq!(host(&x), wanted.concat());
    }

    /// A ball whose point has just hit, one whose point has not, one that would outgrow the nearest hit, one without a hit.
    #[test]
    fn balls_follow_what_is_found_in_them() {
        let d = Device::cpu();
        let lanes = |words: [u32; 4]| d.upload(&[&words[..], &[0; 12]].concat()).unwrap();
        let floats = |values: [f32; 4]| lanes(values.map(f32::to_bits));
        let (which, found) = (lanes([2, NONE, NONE, NONE]), floats([0.25, 1.0, 0.5, f32::MAX]));
        let radius = floats([0.3125, 0.5, 0.5, 0.5]);
        resize(&d, 0.25, [&which, &found], &radius).unwrap();
        assert_eq!(d.read::<f32>(&radius).unwrap()[..4], [0.1875, 0.625, 0.5 * WITHIN, 0.625]);
    }

    /// Three points of class 1: one that is right, one that is wrong and farther than what is known, and one that is nearer.
    #[test]
    fn rivals_are_raised_and_nearer_hits_kept() {
        let d = Device::cpu();
        let lanes = |words: [u32; 3]| d.upload(&[&words[..], &[NONE; 13]].concat()).unwrap();
        let floats = |values: [f32; 3]| lanes(values.map(f32::to_bits));
        let mut logits = [0.0f32; 3 * 16];
        for (lane, own) in [[0.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]].iter().enumerate() {
            own.iter().enumerate().for_each(|(k, logit)| logits[k * 16 + lane] = *logit);
        }
        let mut classes = [1u32; 32];
        classes[16..].fill(NONE);
        classes[16 + 2] = 0;
        let mut found = [0u32; 48];
        found[..3].fill(0.25f32.to_bits());
        let (seed, found, which) = (d.alloc(48).unwrap(), d.upload(&found).unwrap(), d.alloc(16).unwrap());
        let reads = [&d.upload(&classes).unwrap(), &floats([0.125, 0.5, 0.125]), &lanes([2, 2, 2])];
        judge(&d, 5, &d.upload(&logits).unwrap(), reads, [&seed, &found, &which]).unwrap();
        let of = |b: &Buffer, part: usize| d.read::<u32>(b).unwrap()[16 * part..][..3].to_vec();
        let uphill = [0, 1, 2].map(|k| of(&seed, k).into_iter().map(f32::from_bits).collect::<Vec<_>>());
        // The last heads for class 0, whatever else is larger.
        assert_eq!(uphill, [[0.0, 1.0, 1.0], [-1.0; 3], [1.0, 0.0, 0.0]]);
        assert_eq!(of(&found, 0).into_iter().map(f32::from_bits).collect::<Vec<_>>(), [0.25, 0.25, 0.125]);
        assert_eq!([of(&found, 1), of(&found, 2), of(&which, 0)], [[0, 0, 5], [0, 1, 1], [NONE, NONE, 2]]);
    }
}
