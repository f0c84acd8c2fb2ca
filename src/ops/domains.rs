//! Tables of domains, made on the device from those of the boxes that they are parts of, and what a climb of their slopes
//! leaves: what passes between host and device of a domain is one byte for each of its neurons, either way.
//!
//! A *home* is a lane of the tables read, such as a box; many domains have the same.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::RELAX;
use super::signs::{INACTIVE, NONE};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32, as_u32_mut};
use crate::ops::case::{Case, Check, blank, random, words};
use crate::rng::Rng;
use crate::tensor::LANE_BLOCK;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Words or neurons of a lane.
    elements: u32,
    lanes: u32,
    slots: u32,
}

const fn kernel(name: &'static str, entry: &'static str, [reads, writes]: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("domains", "flat"), name, entry, [reads, writes], twin)
}

/// Reads words, homes; writes words.
pub static SPREAD: Kernel = kernel("domains_spread", "spread", [2, 1], spread_twin);
/// Reads lines, homes, slopes; writes lines.
pub static LINES: Kernel = kernel("domains_lines", "lines", [3, 1], lines_twin);
/// Reads targets; changes lines.
pub static ASSUME: Kernel = kernel("domains_assume", "assume", [1, 1], assume_twin);
/// Reads lines; writes slopes.
pub static SLOPES: Kernel = kernel("domains_slopes", "slopes", [1, 1], slopes_twin);
/// Reads lines, A, z; writes the loss and the neuron.
pub static WEAKEST: Kernel = kernel("domains_weakest", "weakest", [3, 1], weakest_twin);

pub static KERNELS: &[&Kernel] = &[&SPREAD, &LINES, &ASSUME, &SLOPES, &WEAKEST];

impl Params {
    fn new(elements: usize, lanes: usize) -> Self {
        Params { elements: elements as u32, lanes: lanes as u32, slots: 0 }
    }

    /// Words that hold a byte for each of a lane's neurons.
    fn fours(&self) -> usize {
        steps(self.elements as usize)
    }
}

/// Words that hold one byte for each of so many neurons.
pub fn steps(neurons: usize) -> usize {
    neurons.div_ceil(4)
}

/// A slope from zero to one in steps of 1/255.
pub fn step_of(slope: f32) -> u8 {
    (slope * 255.0).round() as u8
}

/// The slope of so many steps.
fn slope_of(step: u8) -> f32 {
    f32::from(step) / 255.0
}

/// `to[lane] = from[home[lane]]`, whole tables `[home][word]`; zeros where the home is [`NONE`].
pub fn spread(device: &Device, from: &Buffer, home: &Buffer, to: &Buffer) -> Result<()> {
    let params = Params::new(to.len() / home.len(), home.len());
    device.run(&SPREAD, &params, &[from, home], &[to], super::flat(to.len()))
}

/// Relaxation tables `to` `[lane][neuron][RELAX]` from those of the homes: the lower slopes of neurons that may have either
/// sign are `slopes` `[lane][neuron]`, a byte each in steps of 1/255, and what lanes start with for every lane a whole number
/// of words. Zeros where the home is [`NONE`].
pub fn lines(device: &Device, from: &Buffer, [home, slopes]: [&Buffer; 2], to: &Buffer) -> Result<()> {
    let lanes = home.len();
    let params = Params::new(to.len() / RELAX / lanes, lanes);
    device.run(&LINES, &params, &[from, home, slopes], &[to], super::flat(to.len() / RELAX))
}

/// The identity in place of the lines of neurons for which a sign is assumed: `targets` `[slot][lane]` as in
/// [`signs`](super::signs), lines `[lane][neuron][RELAX]`.
pub fn assume(device: &Device, targets: &Buffer, lines: &Buffer, lanes: usize) -> Result<()> {
    let elements = lines.len() / RELAX / lanes;
    let params = Params { slots: (targets.len() / lanes) as u32, ..Params::new(elements, lanes) };
    device.run(&ASSUME, &params, &[targets], &[lines], super::flat(targets.len()))
}

/// The lower slopes of `lines` `[lane][neuron][RELAX]`, packed as [`lines`] reads them.
pub fn slopes(device: &Device, lines: &Buffer, to: &Buffer, lanes: usize) -> Result<()> {
    device.run(&SLOPES, &Params::new(lines.len() / RELAX / lanes, lanes), &[lines], &[to], super::flat(to.len()))
}

/// For each lane the neuron whose relaxation costs the row of coefficients `a` above it most, at the values `z` before it,
/// both `[neuron][lane]`: the upper line's intercept, or, where the row takes the lower line, the distance from it. `found`
/// gets `[lane]` losses and `[lane]` neurons; [`NONE`] where all have their signs.
pub fn weakest(device: &Device, lines: &Buffer, [a, z]: [&Buffer; 2], found: &Buffer, lanes: usize) -> Result<()> {
    let params = Params::new(lines.len() / RELAX / lanes, lanes);
    device.run(&WEAKEST, &params, &[lines, a, z], &[found], [64 * lanes, 1, 1])
}

fn spread_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([from, home], [to]) = call.buffers();
    let elements = p.elements as usize;
    to.par_chunks_mut(elements.max(1)).zip(as_u32(home)).for_each(|(to, &home)| match home {
        NONE => to.fill(0.0),
        _ => to.copy_from_slice(&from[home as usize * elements..][..elements]),
    });
}

fn lines_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([from, home, slopes], [to]) = call.buffers();
    let (words, homes) = (p.elements as usize * RELAX, as_u32(home));
    let lanes = to.par_chunks_mut(words.max(1)).zip(slopes.par_chunks(p.fours().max(1))).zip(homes);
    lanes.for_each(|((to, slopes), &home)| {
        if home == NONE {
            return to.fill(0.0);
        }
        to.copy_from_slice(&from[home as usize * words..][..words]);
        let slopes: &[u8] = bytemuck::cast_slice(slopes);
        for (line, &step) in to.as_chunks_mut::<RELAX>().0.iter_mut().zip(slopes) {
            if line[1] > 0.0 {
                line[2] = slope_of(step);
            }
        }
    });
}

fn assume_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([targets], [lines]) = call.buffers();
    for (i, &target) in as_u32(targets).iter().enumerate().filter(|(_, t)| **t != NONE) {
        let at = i % p.lanes as usize * p.elements as usize + (target & !INACTIVE) as usize;
        lines[at * RELAX..][..3].copy_from_slice(&[1.0, 0.0, 1.0]);
    }
}

fn slopes_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([lines], [to]) = call.buffers();
    let words = p.elements as usize * RELAX;
    to.par_chunks_mut(p.fours().max(1)).zip(lines.par_chunks(words.max(1))).for_each(|(to, lines)| {
        let to: &mut [u8] = bytemuck::cast_slice_mut(to);
        to[p.elements as usize..].fill(0);
        for (step, line) in to.iter_mut().zip(lines.as_chunks::<RELAX>().0) {
            *step = step_of(line[2]);
        }
    });
}

fn weakest_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([lines, a, z], [found]) = call.buffers();
    let (lanes, words) = (p.lanes as usize, p.elements as usize * RELAX);
    let (losses, neurons) = as_u32_mut(found).split_at_mut(lanes);
    let all = losses.par_iter_mut().zip(neurons).zip(lines.par_chunks(words.max(1))).enumerate();
    all.for_each(|(lane, ((loss, neuron), lines))| {
        let (mut most, mut at) = (0.0f32, NONE);
        for (k, &[_, intercept, lower, _]) in lines.as_chunks::<RELAX>().0.iter().enumerate() {
            if intercept > 0.0 {
                let (a, z) = (a[k * lanes + lane], z[k * lanes + lane]);
                let own = if a < 0.0 { -a * intercept } else { a * (z.max(0.0) - lower * z) };
                if own > most || at == NONE {
                    (most, at) = (own, k as u32);
                }
            }
        }
        (*loss, *neuron) = (most.to_bits(), at);
    });
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    const HOMES: usize = 5;
    const LANES: usize = 2 * LANE_BLOCK;
    let mut cases = Vec::new();
    for neurons in [1, 7, 150] {
        let mut rng = Rng::new(43, neurons as u64);
        let label = format!("{neurons} neurons");
        let own: Vec<u32> = (0..LANES).map(|i| if i % 9 == 8 { NONE } else { rng.below(HOMES) as u32 }).collect();
        let own = words(&own);
        let table = |lanes: usize, rng: &mut Rng| -> Vec<f32> {
            let line = |rng: &mut Rng| {
                // Every third has its sign.
                let intercept = if rng.below(3) == 0 { 0.0 } else { 0.1 + rng.uniform() };
                [rng.uniform(), intercept, rng.uniform(), rng.uniform()]
            };
            (0..lanes * neurons).flat_map(|_| line(rng)).collect()
        };
        let bytes: Vec<u32> = (0..LANES * steps(neurons)).map(|_| rng.next_u32()).collect();
        let sign = |rng: &mut Rng| if rng.below(2) == 0 { INACTIVE } else { 0 };
        let target = |rng: &mut Rng| if rng.below(3) == 0 { NONE } else { rng.below(neurons) as u32 | sign(rng) };
        let targets: Vec<u32> = (0..2 * LANES).map(|_| target(&mut rng)).collect();
        let from = table(HOMES, &mut rng);
        cases.push(Case::new(
            &SPREAD,
            &label,
            vec![from.clone(), own.clone()],
            vec![blank(LANES * neurons * RELAX)],
            Check::Exact,
            |d, r, w| spread(d, &r[0], &r[1], &w[0]),
        ));
        cases.push(Case::new(
            &LINES,
            &label,
            vec![from, own, words(&bytes)],
            vec![blank(LANES * neurons * RELAX)],
            Check::Value { abs: 1e-6, rel: 0.0 },
            |d, r, w| lines(d, &r[0], [&r[1], &r[2]], &w[0]),
        ));
        let lanes = table(LANES, &mut rng);
        cases.push(Case::new(&ASSUME, &label, vec![words(&targets)], vec![lanes.clone()], Check::Exact, |d, r, w| {
            assume(d, &r[0], &w[0], LANES)
        }));
        cases.push(Case::new(
            &SLOPES,
            &label,
            vec![lanes.clone()],
            vec![blank(LANES * steps(neurons))],
            Check::Exact,
            |d, r, w| slopes(d, &r[0], &w[0], LANES),
        ));
        let [a, z] = [0, 1].map(|_| random(&mut rng, neurons * LANES));
        let judge = {
            let (lanes, a, z) = (lanes.clone(), a.clone(), z.clone());
            move |written: &[Vec<f32>]| weakest_faults(&lanes, [&a, &z], as_u32(&written[0]), LANES)
        };
        cases.push(Case::new(
            &WEAKEST,
            &label,
            vec![lanes, a, z],
            vec![blank(2 * LANES)],
            Check::Holds(Box::new(judge)),
            |d, r, w| weakest(d, &r[0], [&r[1], &r[2]], &w[0], LANES),
        ));
    }
    cases
}

/// What is wrong with these neurons: each is to cost as much as the dearest of its lane, but for roundings.
fn weakest_faults(lines: &[f32], [a, z]: [&[f32]; 2], found: &[u32], lanes: usize) -> Vec<String> {
    let elements = lines.len() / RELAX / lanes;
    let loss = |lane: usize, k: usize| {
        let [_, intercept, lower, _] = lines.as_chunks::<RELAX>().0[lane * elements + k].map(f64::from);
        let [a, z] = [a, z].map(|of| f64::from(of[k * lanes + lane]));
        (intercept > 0.0).then_some(if a < 0.0 { -a * intercept } else { a * (z.max(0.0) - lower * z) })
    };
    let fault = |lane: usize| {
        let most = (0..elements).filter_map(|k| loss(lane, k)).reduce(f64::max);
        let (said, neuron) = (f64::from(f32::from_bits(found[lane])), found[lanes + lane]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-5;
        let fine = match most {
            None => neuron == NONE,
            Some(most) => {
                let own = (neuron as usize) < elements && loss(lane, neuron as usize).is_some_and(|l| near(l, most));
                own && near(said, most)
            }
        };
        (!fine).then(|| format!("lane {lane}: neuron {neuron} of loss {said}, where the dearest costs {most:?}"))
    };
    (0..lanes).filter_map(fault).collect()
}
