//! Signs assumed for neurons before a ReLU, one set per box, and their Lagrange multipliers (beta-CROWN; Wang et al.,
//! "Beta-CROWN: Efficient Bound Propagation with Per-neuron Split Constraints", 2021).
//!
//! Where `z >= 0` is assumed, `relu(z) = z` and a row may ask for `(A - beta) z` instead of `A z`, for any `beta >= 0`; where
//! `z <= 0`, for `beta z` instead of `A relu(z) = 0`. Either is at most the true value, however `beta` came about and
//! however `A - beta` was rounded, so none of this is charged. The relaxation table holds the identity for such
//! neurons. The bound changes with `beta` at the rate `-z`, or `z`, at the row's worst corner of the box.

use bytemuck::{Pod, Zeroable};

use super::linear::Rows;
use super::optimizer::{Adam, STEEPEST, Step};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{Case, Check, random, rows, words};
use crate::rng::Rng;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lanes: u32,
    boxes: u32,
    slots: u32,
    step: Step,
}

const fn kernel(name: &'static str, entry: &'static str, [reads, writes]: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("signs", "adam"), name, entry, [reads, writes], twin)
}

/// Reads rows, targets, multipliers; changes A.
pub static ASSUME: Kernel = kernel("signs_assume", "assume", [3, 1], assume_twin);
/// Reads z, targets; changes y.
pub static FOLLOW: Kernel = kernel("signs_follow", "follow", [2, 1], follow_twin);
/// Reads A, z, targets; changes y, multipliers, moments.
pub static CLIMB: Kernel = kernel("signs_climb", "climb", [3, 4], climb_twin);

pub static KERNELS: &[&Kernel] = &[&ASSUME, &FOLLOW, &CLIMB];

/// Largest multiplier, so that coefficients stay in the range that is known.
pub const MOST: f32 = 1024.0;
/// Target of an unused slot.
pub const NONE: u32 = u32::MAX;
/// Bit of a target whose neuron is assumed to be at most zero; without it, at least zero.
pub const INACTIVE: u32 = 1 << 31;

impl Params {
    fn new(lanes: usize, boxes: usize, targets: &Buffer) -> Self {
        let slots = (targets.len() / boxes) as u32;
        Params { lanes: lanes as u32, boxes: boxes as u32, slots, ..Params::zeroed() }
    }
}

/// Makes the most of assumed signs in the coefficients `a` `[element][row]` above a ReLU, whole layers each. `targets`
/// `[slot][box]` holds neurons, with [`INACTIVE`], or [`NONE`], each neuron in one slot of a box at most; `beta` their
/// multipliers, never negative.
pub fn assume(device: &Device, rows: &Rows, [targets, beta]: [&Buffer; 2], boxes: usize, a: &Buffer) -> Result<()> {
    let params = Params::new(rows.lanes, boxes, targets);
    device.run(&ASSUME, &params, &[&rows.buffer, targets, beta], &[a], [rows.lanes, 1, 1])
}

/// Corrects `y` `[element][box]`, what the neurons let through at `z`.
pub fn follow(device: &Device, z: &Buffer, y: &Buffer, targets: &Buffer, boxes: usize) -> Result<()> {
    device.run(&FOLLOW, &Params::new(boxes, boxes, targets), &[z, targets], &[y], [boxes, 1, 1])
}

/// [`follow`], and moves the multipliers by one step of Adam, counted from 1, in proportion to the coefficients `a` above the
/// ReLU. The moments are `[slot][box]`.
#[allow(clippy::too_many_arguments)]
pub fn climb(
    device: &Device,
    a: &Buffer,
    z: &Buffer,
    y: &Buffer,
    [targets, beta]: [&Buffer; 2],
    [m, v]: [&Buffer; 2],
    boxes: usize,
    adam: &Adam,
    step: u32,
) -> Result<()> {
    let params = Params { step: adam.step(step), ..Params::new(boxes, boxes, targets) };
    device.run(&CLIMB, &params, &[a, z, targets], &[y, beta, m, v], [boxes, 1, 1])
}

fn assume_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([rows, target, beta], [a]) = call.buffers();
    let (lanes, boxes, rows, target) = (p.lanes as usize, p.boxes as usize, as_u32(rows), as_u32(target));
    for slot in 0..p.slots as usize {
        for lane in 0..lanes {
            let entry = slot * boxes + rows[lane] as usize;
            if target[entry] != NONE {
                let a = &mut a[(target[entry] & !INACTIVE) as usize * lanes + lane];
                *a = if target[entry] & INACTIVE != 0 { beta[entry] } else { *a - beta[entry] };
            }
        }
    }
}

/// Element and lane of neuron `i` of the targets, and whether it is assumed to be at most zero.
fn neuron(target: u32, i: usize, boxes: usize) -> (usize, bool) {
    ((target & !INACTIVE) as usize * boxes + i % boxes, target & INACTIVE != 0)
}

fn follow_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([z, target], [y]) = call.buffers();
    for (i, &target) in as_u32(target).iter().enumerate().filter(|(_, t)| **t != NONE) {
        let (at, inactive) = neuron(target, i, p.boxes as usize);
        y[at] = if inactive { 0.0 } else { z[at] };
    }
}

fn climb_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, z, target], [y, beta, m, v]) = call.buffers();
    let boxes = p.boxes as usize;
    for (i, &target) in as_u32(target).iter().enumerate().filter(|(_, t)| **t != NONE) {
        let (at, inactive) = neuron(target, i, boxes);
        y[at] = if inactive { 0.0 } else { z[at] };
        let gradient = if inactive { z[at] } else { -z[at] }.clamp(-STEEPEST, STEEPEST);
        p.step.take(&mut m[i], &mut v[i], gradient);
        let move_by = p.step.length(p.step.rate * a[at].abs(), m[i], v[i]);
        beta[i] = (beta[i] + move_by).clamp(0.0, MOST);
    }
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    const ELEMENTS: usize = 11;
    const BOXES: usize = 32;
    const SLOTS: usize = 3;
    let mut rng = Rng::new(31, 0);
    let mut slot = |slot: usize| -> u32 {
        let sign = if rng.below(2) == 0 { INACTIVE } else { 0 };
        // Slots of a box name different neurons.
        if rng.below(4) == 0 { NONE } else { (slot + SLOTS * rng.below(ELEMENTS / SLOTS)) as u32 | sign }
    };
    let targets: Vec<u32> = (0..SLOTS * BOXES).map(|i| slot(i / BOXES)).collect();
    let targets = words(&targets);
    let mut rng = Rng::new(31, 1);
    let beta: Vec<f32> = (0..SLOTS * BOXES).map(|_| rng.uniform()).collect();
    let moments = [random(&mut rng, SLOTS * BOXES), (0..SLOTS * BOXES).map(|_| rng.uniform()).collect()];
    let place: Vec<u32> = (0..48).map(|_| rng.below(BOXES) as u32).collect();
    let adam = Adam { rate: 0.3, ..Adam::default() };
    let n = ELEMENTS * BOXES;
    let close = || Check::Value { abs: 1e-5, rel: 1e-5 };
    vec![
        Case::new(
            &ASSUME,
            "48 rows",
            vec![words(&place), targets.clone(), beta.clone()],
            vec![random(&mut rng, ELEMENTS * 48)],
            close(),
            move |d, r, w| assume(d, &rows(d, &r[0], 48)?, [&r[1], &r[2]], BOXES, &w[0]),
        ),
        Case::new(
            &FOLLOW,
            "32 boxes",
            vec![random(&mut rng, n), targets.clone()],
            vec![random(&mut rng, n)],
            close(),
            move |d, r, w| follow(d, &r[0], &w[0], &r[1], BOXES),
        ),
        Case::new(
            &CLIMB,
            "32 boxes",
            vec![random(&mut rng, n), random(&mut rng, n), targets],
            vec![random(&mut rng, n), beta, moments[0].clone(), moments[1].clone()],
            close(),
            move |d, r, w| climb(d, &r[0], &r[1], &w[0], [&r[2], &w[1]], [&w[2], &w[3]], BOXES, &adam, 3),
        ),
    ]
}
