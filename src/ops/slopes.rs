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
use super::linear::places::{BLOCK, Block};
use super::optimizer::{Adam, STEEPEST, Step};
use crate::device::{Buffer, Device};
use crate::dispatch;
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::simd::{Lanes, Shared, each};

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

const fn kernel(name: &'static str, entry: &'static str, [reads, writes]: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("slopes", "adam", "flat", "lines"), name, entry, [reads, writes], twin)
}

/// Reads A, z, the relaxation table; writes the value after the ReLU.
pub static FOLLOW: Kernel = kernel("slopes_follow", "follow", [3, 1], follow_twin);
/// Reads A, z; writes the value after the ReLU, changes the relaxation table and the moments.
pub static CLIMB: Kernel = kernel("slopes_climb", "climb", [2, 4], climb_twin);

pub static KERNELS: &[&Kernel] = &[&FOLLOW, &CLIMB];

/// Runs the line that a row with coefficients `a` uses on `z`: `y`, all `[element][lane]`; `table` is
/// `[lane][element][RELAX]`.
pub fn follow(device: &Device, a: &Buffer, z: &Buffer, table: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    let params = Params { elements: (y.len() / lanes) as u32, lanes: lanes as u32, ..Params::zeroed() };
    device.run(&FOLLOW, &params, &[a, z, table], &[y], super::flat(y.len()))
}

/// [`follow`], and moves the lower slopes of unstable neurons by one step of Adam, counted from 1, up the gradient of the
/// row's bound. The moments are `[element][lane]`.
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

/// Neurons whose lines fill as many words as a block has lanes.
const TOGETHER: usize = BLOCK / RELAX;

fn follow_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, z, table], [y]) = call.buffers();
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    assert!(table.len() >= lanes * elements * RELAX);
    let share = TOGETHER * lanes;
    let rows = y.par_chunks_mut(share).zip(a.par_chunks(share).zip(z.par_chunks(share))).enumerate();
    rows.take(elements.div_ceil(TOGETHER)).with_min_len(super::groups_of(share)).for_each(|(k, (y, (a, z)))| {
        follow_lanes(&p, k * TOGETHER, table, [a, z], y);
    });
}

fn climb_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, z], [y, table, m, v]) = call.buffers();
    let (elements, lanes) = (p.elements as usize, p.lanes as usize);
    assert!(table.len() >= lanes * elements * RELAX);
    let table = Shared(table.as_mut_ptr());
    let share = TOGETHER * lanes;
    let values = a.par_chunks(share).zip(z.par_chunks(share)).take(elements.div_ceil(TOGETHER));
    let moments = m.par_chunks_mut(share).zip(v.par_chunks_mut(share));
    let rows = y.par_chunks_mut(share).zip(values).zip(moments).enumerate();
    rows.with_min_len(super::groups_of(share)).for_each(|(k, ((y, (a, z)), (m, v)))| {
        climb_lanes(&p, k * TOGETHER, table, [a, z], y, m, v);
    });
}

/// Lines of [`TOGETHER`] neighbouring neurons or fewer, for a block of lanes, `[neuron][word][lane]`. They lie far apart in the
/// table, so that all words of each lane are read at once.
struct Lines {
    /// Words of the first lane from the beginning of the table, words between two lanes, and words of each.
    first: usize,
    step: usize,
    words: usize,
    turned: [Block; BLOCK],
}

impl Lines {
    /// # Safety
    /// The table holds the lines of `there` neurons from `neuron` on in lanes `lane` to `lane + BLOCK`.
    #[inline(always)]
    unsafe fn read<L: Lanes>(p: &Params, table: *const f32, [neuron, there, lane]: [usize; 3]) -> Lines {
        let step = p.elements as usize * RELAX;
        let (first, words) = (lane * step + neuron * RELAX, there * RELAX);
        let mut lines = Lines { first, step, words, turned: [[0.0; BLOCK]; BLOCK] };
        let mut copy = [[0.0; BLOCK]; BLOCK];
        unsafe {
            let own = |i: usize| table.add(first + i * step);
            if words < BLOCK {
                let words = |i: usize| (0..words).map(move |word| (i, word));
                (0..BLOCK).flat_map(words).for_each(|(i, word)| copy[i][word] = *own(i).add(word));
            }
            let rows = each(|i| if words < BLOCK { copy[i].as_ptr() } else { own(i) });
            L::turn(&rows, lines.turned.as_mut_ptr().cast());
        }
        lines
    }

    /// # Safety
    /// As for [`read`](Self::read), and no other task has these lines.
    #[inline(always)]
    unsafe fn write<L: Lanes>(&self, table: *mut f32) {
        let mut back = [[0.0; BLOCK]; BLOCK];
        unsafe {
            L::turn(&each(|i| self.turned[i].as_ptr()), back.as_mut_ptr().cast());
            for (i, back) in back.iter().enumerate() {
                let own = table.add(self.first + i * self.step);
                match self.words {
                    BLOCK => L::load(back.as_ptr()).store(own),
                    words => (0..words).for_each(|word| *own.add(word) = back[word]),
                }
            }
        }
    }

    /// Upper slope, intercept and lower slope of one of the neurons.
    #[inline(always)]
    fn of(&self, neuron: usize) -> [Block; 3] {
        each(|word| self.turned[neuron * RELAX + word])
    }
}

/// The line that a row with these coefficients uses on `z`.
#[inline(always)]
fn line_at([upper, intercept, lower]: &[Block; 3], a: &Block, z: &Block) -> Block {
    each(|i| if a[i] < 0.0 { upper[i] * z[i] + intercept[i] } else { lower[i] * z[i] })
}

dispatch! {
    fn follow_lanes = follow_neurons(p: &Params, first: usize, table: &[f32], values: [&[f32]; 2], y: &mut [f32])
}

#[inline(always)]
unsafe fn follow_neurons<L: Lanes>(p: &Params, first: usize, table: &[f32], [a, z]: [&[f32]; 2], y: &mut [f32]) {
    let lanes = p.lanes as usize;
    let there = y.len() / lanes;
    for lane in (0..lanes).step_by(BLOCK) {
        let lines = unsafe { Lines::read::<L>(p, table.as_ptr(), [first, there, lane]) };
        for k in 0..there {
            let at = k * lanes + lane;
            y[at..at + BLOCK].copy_from_slice(&line_at(&lines.of(k), &block(a, at), &block(z, at)));
        }
    }
}

/// A copy on the stack, which nothing else is known to point at: loops over it take a whole register at a time.
#[inline(always)]
fn block(of: &[f32], at: usize) -> Block {
    let of = &of[at..at + BLOCK];
    each(|i| of[i])
}

dispatch! {
    fn climb_lanes = climb_neurons(
        p: &Params, first: usize, table: Shared, values: [&[f32]; 2], y: &mut [f32], m: &mut [f32], v: &mut [f32]
    )
}

#[inline(always)]
unsafe fn climb_neurons<L: Lanes>(
    p: &Params,
    first: usize,
    table: Shared,
    [a, z]: [&[f32]; 2],
    y: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let lanes = p.lanes as usize;
    let there = y.len() / lanes;
    for lane in (0..lanes).step_by(BLOCK) {
        // SAFETY: within the table, and this task's alone.
        let mut lines = unsafe { Lines::read::<L>(p, table.get(), [first, there, lane]) };
        let mut moved = false;
        for k in 0..there {
            let at = k * lanes + lane;
            let (own, a, z) = (lines.of(k), block(a, at), block(z, at));
            y[at..at + BLOCK].copy_from_slice(&line_at(&own, &a, &z));
            let [_, intercept, lower] = own;
            // Only an unstable neuron has an intercept.
            if intercept.iter().all(|i| !(*i > 0.0)) {
                continue;
            }
            moved = true;
            let (mut means, mut squares, mut next) = (block(m, at), block(v, at), lower);
            for i in 0..BLOCK {
                let (mut mean, mut square) = (means[i], squares[i]);
                p.step.take(&mut mean, &mut square, (a[i].max(0.0) * z[i]).clamp(-STEEPEST, STEEPEST));
                let slope = (lower[i] + p.step.length(p.step.rate, mean, square)).clamp(0.0, 1.0);
                let unstable = intercept[i] > 0.0;
                means[i] = if unstable { mean } else { means[i] };
                squares[i] = if unstable { square } else { squares[i] };
                next[i] = if unstable { slope } else { lower[i] };
            }
            m[at..at + BLOCK].copy_from_slice(&means);
            v[at..at + BLOCK].copy_from_slice(&squares);
            lines.turned[k * RELAX + 2] = next;
        }
        if moved {
            // SAFETY: as above.
            unsafe { lines.write::<L>(table.get()) };
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
        let writes = vec![blank(n), table.clone(), moments[0].clone(), moments[1].clone()];
        let adam = Adam { rate: 0.3, ..Adam::default() };
        cases.push(Case::new(
            &FOLLOW,
            &*label,
            vec![a.clone(), z.clone(), table.clone()],
            vec![blank(n)],
            Check::Value { abs: 1e-5, rel: 1e-5 },
            move |d, r, w| follow(d, &r[0], &r[1], &r[2], &w[0], lanes),
        ));
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
