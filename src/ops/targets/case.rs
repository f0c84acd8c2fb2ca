//! Test cases.

use std::sync::Arc;

use super::*;
use crate::ops::case::{Case, Check, blank, random, rows as wrapped, words};
use crate::ops::linear::NONE;
use crate::rng::Rng;

const LANES: usize = 48;
const IMAGES: usize = 41;
const ROWS: usize = 32;

/// A lane about which nothing is known.
const LOST: usize = 7;

/// Intervals of a value, a few of them points.
fn interval(rng: &mut Rng, len: usize) -> [Vec<f32>; 2] {
    let centre = random(rng, len);
    let radius = (0..len).map(|_| if rng.below(4) == 0 { 0.0 } else { 0.6 * rng.uniform() }).collect();
    [centre, radius]
}

/// Distinct neurons of a value, and rows that are about them, the last few unused.
fn neurons(rng: &mut Rng, value: Shape) -> [Vec<u32>; 3] {
    let pairs = (0..ROWS).map(|i| ((i * IMAGES / ROWS) as u32, (i * 5 % value.len()) as u32));
    let (images, neurons): (Vec<u32>, Vec<u32>) =
        pairs.map(|(image, k)| (image, k | if rng.below(2) == 0 { NEGATED } else { 0 })).unzip();
    let plane = (value.height * value.width) as u32;
    let part = |part: usize| {
        neurons.iter().enumerate().map(move |(row, k)| {
            let (channel, at) = ((k & !NEGATED) / plane, (k & !NEGATED) % plane);
            let channel = if row < ROWS - 3 { channel | k & NEGATED } else { NONE };
            [at / value.width as u32, at % value.width as u32, channel][part]
        })
    };
    let rows = images.iter().copied().chain((0..3).flat_map(part)).collect();
    [images, neurons.clone(), rows]
}

/// Where the neuron of a row stands.
fn place_of(value: Shape, rows: &[u32], row: usize) -> Option<(usize, bool)> {
    let [image, y, x, c] = [0, 1, 2, 3].map(|part| rows[part * ROWS + row]);
    let k = ((c & !NEGATED) as usize * value.height + y as usize) * value.width + x as usize;
    (c != NONE).then_some((k * LANES + image as usize, c & NEGATED != 0))
}

/// Faults where a number is not within a little above (`sign` 1) or below (-1) of what it has to reach.
fn beyond(name: &str, got: &[f32], exact: impl Fn(usize) -> f64, sign: f64) -> Vec<String> {
    let off = |i: usize| sign * (f64::from(got[i]) - exact(i));
    let bad = (0..got.len()).filter(|&i| !(0.0..=1e-5).contains(&off(i)));
    bad.map(|i| format!("{name} {i} is {}, exactly {}", got[i], exact(i))).collect()
}

/// Test cases of these kernels.
pub(in crate::ops) fn cases() -> Vec<Case> {
    let mut rng = Rng::new(47, 0);
    let values = [("a plane of places", Shape::new(3, 4, 5)), ("no places", Shape::flat(37))];
    values.into_iter().flat_map(|(label, value)| value_cases(label, value, &mut rng)).chain(margin_cases()).collect()
}

fn value_cases(label: &'static str, value: Shape, rng: &mut Rng) -> Vec<Case> {
    let len = value.len() * LANES;
    let [centre, radius] = interval(rng, len);
    let lower: Vec<f32> = centre.iter().zip(&radius).map(|(c, r)| c - r).collect();
    let upper: Vec<f32> = centre.iter().zip(&radius).map(|(c, r)| c + r).collect();
    let mut cases = vec![ends_case(label, value, [&centre, &radius])];
    let counts: Vec<u32> = (0..LANES * SLICES).map(|_| rng.below(9) as u32).collect();
    for every in [false, true] {
        let label = format!("{label}, {}", if every { "all" } else { "open signs" });
        let (reads, writes) = (vec![lower.clone(), upper.clone()], vec![blank(LANES * SLICES), blank(1)]);
        // The second kernel runs behind the first.
        cases.push(Case::new(&COUNT, &label, reads, writes, Check::Exact, move |d, r, w| {
            find(d, value, [&r[0], &r[1]], every, [&w[0], &w[1]])
        }));
        let full = len;
        for capacity in [full, 50] {
            let reads = vec![lower.clone(), upper.clone(), centre.clone()];
            // Words that no target fills stay as they were.
            let writes = vec![vec![0.0; 2 * capacity]];
            let label = format!("{label}, room for {capacity}");
            cases.push(Case::new(&LIST, label, reads, writes, Check::Exact, move |d, r, w| {
                let (offsets, total) = (d.alloc(LANES * SLICES)?, Arc::new(d.alloc(1)?));
                find(d, value, [&r[0], &r[1]], every, [&offsets, &total])?;
                let own = List { buffer: d.alloc(2 * capacity)?, total, capacity };
                d.copy(&w[0], &own.buffer)?;
                list(d, value, [&r[0], &r[1], &r[2]], every, &offsets, &own)?;
                d.copy(&own.buffer, &w[0])
            }));
        }
    }
    let params = Params::new(value, LANES);
    cases.push(Case::new(&OFFSETS, label, vec![], vec![words(&counts), blank(1)], Check::Exact, move |d, _, w| {
        d.run(&OFFSETS, &params, &[], &[&w[0], &w[1]], [1, 1, 1])
    }));
    cases.extend(row_cases(label, value, rng, [centre, radius, lower, upper]));
    cases
}

fn ends_case(label: &'static str, value: Shape, [centre, radius]: [&Vec<f32>; 2]) -> Case {
    let mut marks = vec![0u32; SLICES * LANES];
    marks[3 * LANES + LOST] = 1;
    let (c, r) = (centre.clone(), radius.clone());
    let judge = move |out: &[Vec<f32>]| {
        let known = |i: usize| f64::from(u8::from(i % LANES < IMAGES && i % LANES != LOST));
        let end = |i: usize, sign: f64| known(i) * (f64::from(c[i]) + sign * f64::from(r[i]));
        [beyond("lower", &out[0], |i| end(i, -1.0), -1.0), beyond("upper", &out[1], |i| end(i, 1.0), 1.0)].concat()
    };
    let reads = vec![centre.clone(), radius.clone(), words(&marks)];
    let writes = vec![blank(value.len() * LANES), blank(value.len() * LANES)];
    Case::new(&ENDS, label, reads, writes, Check::Holds(Box::new(judge)), move |d, r, w| {
        ends(d, [&r[0], &r[1]], &r[2], [&w[0], &w[1]], IMAGES)
    })
}

fn row_cases(
    label: &'static str,
    value: Shape,
    rng: &mut Rng,
    [centre, radius, lower, upper]: [Vec<f32>; 4],
) -> Vec<Case> {
    let [images, neurons, rows] = neurons(rng, value);
    let mut bounds: Vec<f32> = random(rng, ROWS);
    bounds[2] = f32::NAN;
    let mut cases = vec![];
    for (first, flip) in [(0, false), (ROWS - 12, true)] {
        let reads = vec![words(&[&images[..], &neurons].concat()), words(&[ROWS as u32])];
        let label = format!("{label}, from {first}");
        cases.push(Case::new(&PLACE, label, reads, vec![blank(4 * ROWS)], Check::Exact, move |d, r, w| {
            let buffer = d.upload(&d.read::<u32>(&r[0])?)?;
            let own = List { buffer, total: Arc::new(d.upload(&d.read::<u32>(&r[1])?)?), capacity: ROWS };
            let rows = Rows { count: ROWS - 3, ..wrapped(d, &w[0], ROWS)? };
            place(d, value, &own, first, flip, &rows)?;
            d.copy(&rows.buffer, &w[0])
        }));
    }
    let a = vec![blank(value.channels * ROWS)];
    cases.push(Case::new(&UNIT, label, vec![words(&rows)], a, Check::Exact, move |d, r, w| {
        unit(d, value.channels, &wrapped(d, &r[0], ROWS)?, &w[0])
    }));
    let reads = vec![bounds.clone(), words(&rows)];
    let writes = vec![lower.clone(), upper.clone(), words(&[0])];
    cases.push(Case::new(&PUT, label, reads.clone(), writes, Check::Exact, move |d, r, w| {
        put(d, value, &r[0], &wrapped(d, &r[1], ROWS)?, [&w[0], &w[1]], &w[2])
    }));
    cases.push(Case::new(&UNDECIDED, label, reads, vec![vec![0.0; ROWS], blank(1)], Check::Exact, move |d, r, w| {
        undecided(d, &r[0], &wrapped(d, &r[1], ROWS)?, [&w[0], &w[1]])
    }));
    cases.push(Case::new(&MOST, label, vec![bounds.clone()], vec![random(rng, ROWS)], Check::Exact, |d, r, w| {
        most(d, &r[0], &w[0])
    }));
    bounds[2] = 0.25;
    let magnitude: Vec<f32> = (0..lower.len()).map(|_| rng.uniform()).collect();
    let (before, sizes, own) = (bounds.clone(), magnitude.clone(), rows.clone());
    let judge = move |out: &[Vec<f32>]| {
        let share = |row: usize| place_of(value, &own, row).map_or(0.0, |(at, _)| 0.125 * f64::from(sizes[at]));
        beyond("bound", &out[0], |row| f64::from(before[row]) - share(row), -1.0)
    };
    let reads = vec![words(&rows), magnitude];
    cases.push(Case::new(&LESS, label, reads, vec![bounds], Check::Holds(Box::new(judge)), move |d, r, w| {
        less(d, value, &wrapped(d, &r[0], ROWS)?, &r[1], 0.125, &w[0])
    }));
    // Ends that were moved inward.
    let mut moved = [lower, upper];
    let listed: Vec<usize> =
        images.iter().zip(&neurons).map(|(i, k)| (k & !NEGATED) as usize * LANES + *i as usize).collect();
    for &at in &listed[1..] {
        let third = (moved[1][at] - moved[0][at]) / 3.0;
        (moved[0][at], moved[1][at]) = (moved[0][at] + third, moved[1][at] - third);
    }
    for tighter in [false, true] {
        let (c, r, [l, u], at) = (centre.clone(), radius.clone(), moved.clone(), listed.clone());
        let judge = move |out: &[Vec<f32>]| {
            let good = |&i: &usize| {
                let same = out[0][i].to_bits() == c[i].to_bits() && out[1][i].to_bits() == r[i].to_bits();
                let [middle, around, low, high] = [out[0][i], out[1][i], l[i], u[i]].map(f64::from);
                let covers = middle - around <= low && high <= middle + around;
                let tight = 2.0 * around <= (high - low) + 0.125 * middle.abs() + 1e-6;
                if at.contains(&i) { covers && tight || tighter && same } else { same }
            };
            let bad = (0..c.len()).filter(|i| !good(i));
            bad.map(|i| format!("{i}: {} ± {} for {} to {}", out[0][i], out[1][i], l[i], u[i])).collect()
        };
        let reads =
            vec![words(&[&images[..], &neurons].concat()), words(&[ROWS as u32]), moved[0].clone(), moved[1].clone()];
        let writes = vec![centre.clone(), radius.clone(), words(&[0])];
        let label = format!("{label}, {}", if tighter { "tighter ones" } else { "all" });
        cases.push(Case::new(&NARROW, label, reads, writes, Check::Holds(Box::new(judge)), move |d, r, w| {
            let buffer = d.upload(&d.read::<u32>(&r[0])?)?;
            let own = List { buffer, total: Arc::new(d.upload(&d.read::<u32>(&r[1])?)?), capacity: ROWS };
            narrow(d, &own, [&r[2], &r[3]], [&w[0], &w[1]], &w[2], LANES, (tighter, 0.0625))
        }));
    }
    cases
}

fn margin_cases() -> Vec<Case> {
    let class: Vec<u32> = (0..9).map(|i| i * 2 % 5).collect();
    let case = |first: usize| {
        let writes = vec![blank(5 * ROWS), blank(3 * ROWS)];
        Case::new(&MARGINS, format!("from {first}"), vec![words(&class)], writes, Check::Exact, move |d, r, w| {
            let rows = Rows { count: 36 - first.max(6), ..wrapped(d, &w[1], ROWS)? };
            margins(d, 5, &r[0], first, &w[0], &rows)?;
            d.copy(&rows.buffer, &w[1])
        })
    };
    [0, 8].map(case).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neurons_of_open_sign_are_listed_by_image_and_place() {
        let (d, value, mut rng) = (Device::cpu(), Shape::new(2, 3, 3), Rng::new(48, 0));
        let [centre, radius] = interval(&mut rng, value.len() * LANES);
        let [c, r] = [d.upload(&centre).unwrap(), d.upload(&radius).unwrap()];
        let [lower, upper] = [0, 1].map(|_| d.alloc(c.len()).unwrap());
        ends(&d, [&c, &r], &d.zeros(SLICES * LANES).unwrap(), [&lower, &upper], IMAGES).unwrap();
        let (offsets, total) = (d.alloc(LANES * SLICES).unwrap(), Arc::new(d.alloc(1).unwrap()));
        find(&d, value, [&lower, &upper], false, [&offsets, &total]).unwrap();
        let capacity = d.read::<u32>(&total).unwrap()[0] as usize;
        let found = List { buffer: d.alloc(2 * capacity).unwrap(), total, capacity };
        list(&d, value, [&lower, &upper, &c], false, &offsets, &found).unwrap();
        let mut wanted = [vec![], vec![]];
        for image in 0..IMAGES {
            for (p, channel) in (0..9).flat_map(|p| (0..2).map(move |channel| (p, channel))) {
                let at = (channel * 9 + p) * LANES + image;
                if radius[at] >= centre[at].abs() {
                    wanted[0].push(image as u32);
                    wanted[1].push((channel * 9 + p) as u32 | if centre[at] < 0.0 { NEGATED } else { 0 });
                }
            }
        }
        assert!(wanted[0].len() > 50);
        assert_eq!(d.read::<u32>(&found.buffer).unwrap(), wanted.concat());
    }
}
