//! The last layer over intervals of its inputs, folded with the question which class wins (Gowal et al. 2018): a rival's
//! logit as far above the label's as the inputs allow. Bounds of the two logits apart would each count the same input.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::interval::sign;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{Case, Check, blank, random, words};
use crate::rng::Rng;

/// Sizes of a dense layer and of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub inputs: usize,
    pub classes: usize,
    pub lanes: usize,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    inputs: u32,
    classes: u32,
    lanes: u32,
}

impl Params {
    fn new(size: Size) -> Self {
        Params { inputs: size.inputs as u32, classes: size.classes as u32, lanes: size.lanes as u32 }
    }
}

const fn row(name: &'static str, entry: &'static str, reads: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("worst", "flat"), name, entry, [reads, 1], twin)
}

pub static RAISE_RIVALS: Kernel = row("worst_raise_rivals", "raise_rivals", 4, raise_rivals_twin);
pub static RADIUS_GRAD: Kernel = row("worst_radius_grad", "radius_grad", 3, radius_grad_twin);
pub static WEIGHT_GRAD: Kernel = row("worst_weight_grad", "weight_grad", 4, weight_grad_twin);

pub static KERNELS: &[&Kernel] = &[&RAISE_RIVALS, &RADIUS_GRAD, &WEIGHT_GRAD];

/// `v_k = z_k + sum_i |w_ik - w_iy| r_i`, y being the lane's label: by how much the label wins in the worst case is
/// `v_y - v_k`. z and v `[class][lane]`, r `[input][lane]`, w `[input][class]`, labels `[lane]` of u32 below `classes`.
pub fn raise_rivals(
    device: &Device,
    [z, r]: [&Buffer; 2],
    w: &Buffer,
    labels: &Buffer,
    v: &Buffer,
    size: Size,
) -> Result<()> {
    device.run(&RAISE_RIVALS, &Params::new(size), &[z, r, w, labels], &[v], super::flat(size.classes * size.lanes))
}

/// The gradient by r, given that by v in `g`.
pub fn radius_grad(device: &Device, g: &Buffer, w: &Buffer, labels: &Buffer, gr: &Buffer, size: Size) -> Result<()> {
    device.run(&RADIUS_GRAD, &Params::new(size), &[g, w, labels], &[gr], super::flat(size.inputs * size.lanes))
}

/// Adds the gradient by w through the sums (not through z) to `gw`, given that by v in `g`.
pub fn weight_grad(
    device: &Device,
    [g, r]: [&Buffer; 2],
    w: &Buffer,
    labels: &Buffer,
    gw: &Buffer,
    size: Size,
) -> Result<()> {
    device.run(&WEIGHT_GRAD, &Params::new(size), &[g, r, w, labels], &[gw], super::flat(size.inputs * size.classes))
}

fn raise_rivals_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([z, r, w, labels], [v]) = call.buffers();
    let (lanes, classes) = (p.lanes as usize, p.classes as usize);
    let labels = &as_u32(labels)[..lanes];
    v.par_chunks_mut(lanes).zip(z.par_chunks(lanes)).enumerate().for_each(|(class, (v, z))| {
        let mut sums = vec![0.0; lanes];
        for (row, r) in w.chunks(classes).zip(r.chunks(lanes)) {
            for ((sum, r), label) in sums.iter_mut().zip(r).zip(labels) {
                *sum += (row[class] - row[*label as usize]).abs() * r;
            }
        }
        v.iter_mut().zip(z.iter().zip(sums)).for_each(|(v, (z, sum))| *v = z + sum);
    });
}

fn radius_grad_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([g, w, labels], [gr]) = call.buffers();
    let (lanes, classes) = (p.lanes as usize, p.classes as usize);
    let labels = &as_u32(labels)[..lanes];
    gr.par_chunks_mut(lanes).zip(w.par_chunks(classes)).for_each(|(gr, row)| {
        gr.fill(0.0);
        for (g, weight) in g.chunks(lanes).zip(row) {
            for ((gr, g), label) in gr.iter_mut().zip(g).zip(labels) {
                *gr += g * (weight - row[*label as usize]).abs();
            }
        }
    });
}

fn weight_grad_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([g, r, w, labels], [gw]) = call.buffers();
    let (lanes, classes) = (p.lanes as usize, p.classes as usize);
    let labels = &as_u32(labels)[..lanes];
    gw.par_chunks_mut(classes).zip(w.par_chunks(classes)).zip(r.par_chunks(lanes)).for_each(|((gw, row), r)| {
        let mut sums = vec![0.0; classes];
        for (k, g) in g.chunks(lanes).enumerate() {
            for ((g, r), label) in g.iter().zip(r).zip(labels) {
                let label = *label as usize;
                let share = g * sign(row[k] - row[label]) * r;
                sums[k] += share;
                sums[label] -= share;
            }
        }
        gw.iter_mut().zip(sums).for_each(|(gw, sum)| *gw += sum);
    });
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(32, 0);
    let mut cases = Vec::new();
    for (inputs, classes, lanes) in [(1, 2, 16), (37, 5, 48)] {
        let size = Size { inputs, classes, lanes };
        let labels = words(&(0..lanes).map(|_| rng.below(classes) as u32).collect::<Vec<_>>());
        let mut of = |n: usize| random(&mut rng, n);
        let (z, g, w) = (of(classes * lanes), of(classes * lanes), of(inputs * classes));
        let (r, gw) = (of(inputs * lanes).into_iter().map(f32::abs).collect::<Vec<_>>(), of(inputs * classes));
        let label = format!("{inputs} inputs, {classes} classes, {lanes} lanes");
        let near = || Check::Value { abs: 2e-5, rel: 1e-5 };
        let reads = vec![z, r.clone(), w.clone(), labels.clone()];
        let writes = vec![blank(classes * lanes)];
        cases.push(Case::new(&RAISE_RIVALS, &label, reads, writes, near(), move |d, r, w| {
            raise_rivals(d, [&r[0], &r[1]], &r[2], &r[3], &w[0], size)
        }));
        let (reads, writes) = (vec![g.clone(), w.clone(), labels.clone()], vec![blank(inputs * lanes)]);
        cases.push(Case::new(&RADIUS_GRAD, &label, reads, writes, near(), move |d, r, w| {
            radius_grad(d, &r[0], &r[1], &r[2], &w[0], size)
        }));
        let reads = vec![g, r, w, labels];
        cases.push(Case::new(&WEIGHT_GRAD, label, reads, vec![gw], near(), move |d, r, w| {
            weight_grad(d, [&r[0], &r[1]], &r[2], &r[3], &w[0], size)
        }));
    }
    cases
}
