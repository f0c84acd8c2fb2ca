//! Better lower lines of ReLUs for one row per image (alpha-CROWN; Xu et al., "Fast and Complete: Enabling Complete
//! Verification with Rapid and Massively Parallel Incomplete Verifiers", 2021).
//!
//! Lane `i` is image `i` and the row that bounds it worst. The bound changes with the lower slope of neuron `k` at the
//! rate `max(A_k, 0) * z_k`, where `A` are the row's coefficients above the ReLU and `z` are the values before it when
//! the linearised network runs at the row's worst corner of the box. Any slope in `[0,1]` is sound, so nothing here has to
//! be.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::RELAX;
use super::optimizer::{Adam, STEEPEST, Step};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::simd::Shared;
use crate::vectorise;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
    step: Step,
}

impl Params {
    fn new(len: usize, lanes: usize, adam: &Adam, step: u32) -> Self {
        let elements = (len / lanes) as u32;
        Params { elements, lanes: lanes as u32, step: adam.step(step) }
    }
}

/// Reads A, z; writes the value after the ReLU, changes the relaxation table and the moments.
pub static CLIMB: Kernel = Kernel {
    name: "slopes_climb",
    source: shader!("slopes", "adam", "flat", "lines"),
    entry: "climb",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 2,
    writes: 4,
    twin: climb_twin,
};

pub static KERNELS: &[&Kernel] = &[&CLIMB];

/// Runs the line that a row with coefficients `a` uses on `z`, and moves the lower slopes of unstable neurons by one
/// step of Adam, counted from 1, up the gradient of the row's bound. `a`, `z`, `y` and the moments are
/// `[element][lane]`, `table` is `[lane][element][RELAX]`.
#[allow(clippy::too_many_arguments)]
pub fn climb(
    device: &Device,
    a: &Buffer,
    z: &Buffer,
    y: &Buffer,
    table: &Buffer,
    [m, v]: [&Buffer; 2],
    lanes: usize,
    adam: &Adam,
    step: u32,
) -> Result<()> {
    device.run(&CLIMB, &Params::new(y.len(), lanes, adam, step), &[a, z], &[y, table, m, v], super::flat(y.len()))
}

fn climb_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, z], [y, table, m, v]) = call.buffers();
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    assert!(table.len() >= lanes * elements * RELAX);
    let table = Shared(table.as_mut_ptr());
    let values = a.par_chunks(lanes).zip(z.par_chunks(lanes)).take(elements);
    let moments = m.par_chunks_mut(lanes).zip(v.par_chunks_mut(lanes));
    let rows = y.par_chunks_mut(lanes).zip(values).zip(moments).enumerate();
    rows.with_min_len(super::groups_of(lanes)).for_each(|(k, ((y, (a, z)), (m, v)))| {
        climb_lanes(&p, Neuron { k, table }, [a, z], y, m, v);
    });
}

/// The lines of one neuron, in every lane's table.
struct Neuron {
    k: usize,
    /// `lanes * elements * RELAX` words, of which no other task has those of this neuron.
    table: Shared,
}

vectorise! {
    fn climb_lanes = climb_body(p: &Params, neuron: Neuron, values: [&[f32]; 2], y: &mut [f32], m: &mut [f32], v: &mut [f32])
}

#[inline(always)]
fn climb_body(p: &Params, neuron: Neuron, [a, z]: [&[f32]; 2], y: &mut [f32], m: &mut [f32], v: &mut [f32]) {
    let lanes = y.len();
    let (a, z, m, v) = (&a[..lanes], &z[..lanes], &mut m[..lanes], &mut v[..lanes]);
    for lane in 0..lanes {
        let gradient = (a[lane].max(0.0) * z[lane]).clamp(-STEEPEST, STEEPEST);
        p.step.take(&mut m[lane], &mut v[lane], gradient);
    }
    for lane in 0..lanes {
        let at = (lane * p.elements as usize + neuron.k) * RELAX;
        // SAFETY: within the table, and this task's alone.
        let lines = unsafe { std::slice::from_raw_parts_mut(neuron.table.get().add(at), 3) };
        y[lane] = if a[lane] < 0.0 { lines[0] * z[lane] + lines[1] } else { lines[2] * z[lane] };
        // Only an unstable neuron has an intercept.
        if lines[1] > 0.0 {
            lines[2] = (lines[2] + p.step.length(p.step.rate, m[lane], v[lane])).clamp(0.0, 1.0);
        }
    }
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(21, 0);
    let mut cases = Vec::new();
    for (elements, lanes) in [(1, 16), (37, 48)] {
        let n = elements * lanes;
        let label = format!("{elements} elements, {lanes} lanes");
        let [a, z] = std::array::from_fn(|_| random(&mut rng, n));
        // Stable neurons among them keep their slopes.
        let table: Vec<f32> = (0..n)
            .flat_map(
                |_| if rng.below(3) == 0 { [1.0, 0.0, 1.0, 2.0] } else { [rng.uniform(), 0.3, rng.uniform(), 2.0] },
            )
            .collect();
        let moments = [random(&mut rng, n), (0..n).map(|_| rng.uniform()).collect()];
        let writes = vec![blank(n), table, moments[0].clone(), moments[1].clone()];
        let adam = Adam { rate: 0.3, ..Adam::default() };
        cases.push(Case::new(
            &CLIMB,
            &*label,
            vec![a, z],
            writes,
            Check::Value { abs: 1e-5, rel: 1e-5 },
            move |d, r, w| climb(d, &r[0], &r[1], &w[0], &w[1], [&w[2], &w[3]], lanes, &adam, 3),
        ));
    }
    cases
}
