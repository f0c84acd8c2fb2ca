//! Lower slopes of ReLUs for the bounds of neurons: all rows of an image share them, and they move up the gradient of a
//! weighted sum of the rows' bounds (after alpha-CROWN; Xu et al. 2021).
//!
//! Row `r` changes with the lower slope of neuron `k` at the rate `max(A_k, 0) * z_k`, where `A` are its coefficients above
//! the ReLU and `z` the values before it when the linearised network runs at the row's own worst corner of the box.
//! Rows are lanes and see windows, as in [`super::linear`]. Any slope in `[0,1]` is sound, so nothing here has to be.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::places::{BLOCK, Block, Places, check_tables};
use super::linear::{RELAX, Rows, Span, Window};
use super::optimizer::{Adam, STEEPEST, Step};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{self, Case, Check, blank, random, words};
use crate::rng::Rng;
use crate::simd::{Lanes, Shared, each};
use crate::tensor::Shape;
use crate::{dispatch, vectorise};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    span: Span,
    images: u32,
    step: Step,
}

impl Params {
    fn new(window: &Window, lanes: usize, images: usize) -> Self {
        Params { span: Span::new(window, lanes), images: images as u32, ..Params::zeroed() }
    }

    fn layer(&self) -> usize {
        (self.channels * self.height * self.width) as usize
    }

    /// Index in the layer of element `k` of the window of the neuron at `place`, if it is inside.
    fn element(&self, place: [u32; 2], k: usize) -> Option<usize> {
        if self.step_y == 0 && self.step_x == 0 {
            return Some(k);
        }
        let (size_y, size_x) = (self.size_y as usize, self.size_x as usize);
        let y = place[0] as i32 * self.step_y as i32 - self.offset_y + (k / size_x % size_y) as i32;
        let x = place[1] as i32 * self.step_x as i32 - self.offset_x + (k % size_x) as i32;
        let inside = (0..self.height as i32).contains(&y) && (0..self.width as i32).contains(&x);
        let (height, width) = (self.height as usize, self.width as usize);
        inside.then(|| ((k / (size_y * size_x)) * height + y as usize) * width + x as usize)
    }
}

impl std::ops::Deref for Params {
    type Target = Span;
    fn deref(&self) -> &Span {
        &self.span
    }
}

const fn kernel(name: &'static str, entry: &'static str, [reads, writes]: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(
        shader!("shared_slopes", "adam", "flat", "lines", "window"),
        name,
        entry,
        [reads, writes],
        twin,
    )
}

/// Reads A, centres, radii, rows; writes the corners.
pub static CORNER: Kernel = kernel("shared_slopes_corner", "corner", [4, 1], corner_twin);
/// Reads z, the relaxation table, rows, weights; writes the values after the ReLU, changes A to shares of the gradient.
pub static BEND: Kernel = kernel("shared_slopes_bend", "bend", [4, 2], bend_twin);
/// Reads shares, rows, spans; changes the gradient.
pub static COLLECT: Kernel = kernel("shared_slopes_collect", "collect", [3, 1], collect_twin);
/// Reads the gradient; changes the relaxation table and the moments.
pub static STEP: Kernel = kernel("shared_slopes_step", "step", [1, 3], step_twin);

pub static KERNELS: &[&Kernel] = &[&CORNER, &BEND, &COLLECT, &STEP];

/// Where in its image's box `centre ± radius` `[image][element]` each row is least: `x` like the coefficients `a`.
pub fn corner(
    device: &Device,
    window: &Window,
    a: &Buffer,
    [centre, radius]: [&Buffer; 2],
    rows: &Rows,
    x: &Buffer,
) -> Result<()> {
    let n = window.elements() * rows.lanes;
    device.run(&CORNER, &Params::new(window, rows.lanes, 0), &[a, centre, radius, &rows.buffer], &[x], super::flat(n))
}

/// Runs the lines that rows with coefficients `a` above a ReLU use on `z`; `a` becomes what every neuron of the window
/// adds to the gradient, `weight` `[lane]` being how much each row counts.
#[allow(clippy::too_many_arguments)]
pub fn bend(
    device: &Device,
    window: &Window,
    z: &Buffer,
    table: &Buffer,
    rows: &Rows,
    weight: &Buffer,
    y: &Buffer,
    a: &Buffer,
) -> Result<()> {
    let n = window.elements() * rows.lanes;
    let params = Params::new(window, rows.lanes, 0);
    device.run(&BEND, &params, &[z, table, &rows.buffer, weight], &[y, a], super::flat(n))
}

/// Adds the shares of every image's rows to `gradient` `[image][element]`; `span` `[2][image]` holds the first lane of
/// each image and the one after its last.
pub fn collect(
    device: &Device,
    window: &Window,
    share: &Buffer,
    rows: &Rows,
    span: &Buffer,
    gradient: &Buffer,
) -> Result<()> {
    let params = Params::new(window, rows.lanes, span.len() / 2);
    device.run(&COLLECT, &params, &[share, &rows.buffer, span], &[gradient], super::flat(gradient.len()))
}

/// Moves the lower slopes of unstable neurons in `table` `[image][element][RELAX]` by one step of Adam, counted from 1.
pub fn step(
    device: &Device,
    gradient: &Buffer,
    table: &Buffer,
    [m, v]: [&Buffer; 2],
    adam: &Adam,
    step: u32,
) -> Result<()> {
    let flat = Params::new(&Window::dense(Shape::flat(gradient.len())), 0, 1);
    let params = Params { step: adam.step(step), ..flat };
    device.run(&STEP, &params, &[gradient], &[table, m, v], super::flat(gradient.len()))
}

/// Neighbouring lanes that look at the same place of the same image, as rows for neurons mostly do.
struct Run {
    lanes: std::ops::Range<usize>,
    image: usize,
    place: [u32; 2],
}

impl Run {
    /// Whether its lanes take less time than a call.
    fn is_short(&self) -> bool {
        self.lanes.len() < 16
    }
}

fn runs(p: &Params, rows: &[u32]) -> Vec<Run> {
    let lanes = p.lanes as usize;
    let mut runs: Vec<Run> = vec![];
    for (lane, &image) in rows[..lanes].iter().enumerate() {
        // Rows for whole layers look at the same place everywhere.
        let whole = p.step_y == 0 && p.step_x == 0;
        let place = if whole { [0; 2] } else { [rows[lanes + lane], rows[2 * lanes + lane]] };
        match runs.last_mut() {
            Some(run) if (run.image, run.place) == (image as usize, place) => run.lanes.end = lane + 1,
            Some(_) | None => runs.push(Run { lanes: lane..lane + 1, image: image as usize, place }),
        }
    }
    runs
}

fn corner_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, centre, radius, rows], [x]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(centre.len(), 1), (radius.len(), 1)]);
    let elements = (p.channels * p.size_y * p.size_x) as usize;
    assert!(a.len() >= elements * lanes && x.len() >= elements * lanes);
    let x = Shared(x.as_mut_ptr());
    (0..lanes).into_par_iter().step_by(BLOCK).for_each(|lane| {
        corners(&Places::new(&p, rows, lane), a, [centre, radius], [elements, lanes, lane], x);
    });
}

dispatch! {
    /// Sixteen rows from `lane` on; zero outside the layer.
    fn corners = corners_lanes(places: &Places, a: &[f32], tables: [&[f32]; 2], sizes: [usize; 3], x: Shared)
}

#[inline(always)]
unsafe fn corners_lanes<L: Lanes>(
    places: &Places,
    a: &[f32],
    [centre, radius]: [&[f32]; 2],
    [elements, lanes, lane]: [usize; 3],
    x: Shared,
) {
    let (mut centre, mut radius) = (places.entries::<1>(centre), places.entries::<1>(radius));
    unsafe {
        let minus = L::splat(-1.0);
        for at in places.elements(0..elements) {
            let own = at.element * lanes + lane;
            let ([c], [r]) = (centre.at::<L>(at), radius.at::<L>(at));
            let [mut coefficients, mut low, mut high] = [[0.0f32; BLOCK]; 3];
            L::load(a.as_ptr().add(own)).store(coefficients.as_mut_ptr());
            places.clip(c.mul_acc(r, minus), at).store(low.as_mut_ptr());
            places.clip(c.add(r), at).store(high.as_mut_ptr());
            let least: Block = each(|i| if coefficients[i] > 0.0 { low[i] } else { high[i] });
            // SAFETY: checked by the caller, and this task's lanes alone.
            L::load(least.as_ptr()).store(x.get().add(own));
        }
    }
}

fn bend_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([z, table, rows, weight], [y, a]) = call.buffers();
    let (lanes, layer, runs) = (p.lanes as usize, p.layer(), runs(&p, as_u32(rows)));
    let elements = y.par_chunks_mut(lanes).zip(a.par_chunks_mut(lanes)).zip(z.par_chunks(lanes));
    elements.enumerate().with_min_len(super::groups_of(lanes)).for_each(|(k, ((y, a), z))| {
        for run in &runs {
            let own = run.lanes.clone();
            let lines = p.element(run.place, k).map_or([0.0; 3], |at| {
                let entry = (run.image * layer + at) * RELAX;
                [table[entry], table[entry + 1], table[entry + 2]]
            });
            let (y, a, z, weight) = (&mut y[own.clone()], &mut a[own.clone()], &z[own.clone()], &weight[own]);
            if run.is_short() {
                bend_run_body(y, a, z, weight, lines);
            } else {
                bend_run(y, a, z, weight, lines);
            }
        }
    });
}

vectorise! {
    fn bend_run = bend_run_body(y: &mut [f32], a: &mut [f32], z: &[f32], weight: &[f32], lines: [f32; 3])
}

#[inline(always)]
fn bend_run_body(y: &mut [f32], a: &mut [f32], z: &[f32], weight: &[f32], lines: [f32; 3]) {
    let [upper, intercept, lower] = lines;
    // Only an unstable neuron has an intercept.
    let share = if intercept > 0.0 { 1.0 } else { 0.0 };
    let (a, z, weight) = (&mut a[..y.len()], &z[..y.len()], &weight[..y.len()]);
    for i in 0..y.len() {
        y[i] = if a[i] < 0.0 { upper * z[i] + intercept } else { lower * z[i] };
        a[i] = share * weight[i] * a[i].max(0.0) * z[i];
    }
}

fn collect_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([share, rows, span], [gradient]) = call.buffers();
    let (lanes, layer, runs) = (p.lanes as usize, p.layer(), runs(&p, as_u32(rows)));
    let (first, end) = as_u32(span).split_at(p.images as usize);
    gradient.par_chunks_mut(layer).enumerate().for_each(|(image, gradient)| {
        let own = first[image] as usize..end[image] as usize;
        let runs = runs.iter().filter(|run| run.image == image);
        let clipped = runs.map(|run| (run.place, run.lanes.start.max(own.start)..run.lanes.end.min(own.end)));
        let clipped: Vec<_> = clipped.filter(|(_, lanes)| !lanes.is_empty()).collect();
        for (k, share) in share.chunks_exact(lanes).enumerate() {
            for (place, lanes) in &clipped {
                if let Some(at) = p.element(*place, k) {
                    gradient[at] += total(&share[lanes.clone()]);
                }
            }
        }
    });
}

/// The sum, in sixteen parts.
fn total(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut parts = [0.0; 16];
    for chunk in chunks {
        for i in 0..16 {
            parts[i] += chunk[i];
        }
    }
    rest.iter().fold(parts.iter().sum(), |sum, value| sum + value)
}

fn step_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([gradient], [table, m, v]) = call.buffers();
    let entries = table.par_chunks_mut(RELAX).zip(m.par_iter_mut().zip(v)).zip(gradient);
    entries.with_min_len(4096).for_each(|((lines, (m, v)), gradient)| {
        let gradient = gradient.clamp(-STEEPEST, STEEPEST);
        p.step.take(m, v, gradient);
        if lines[1] > 0.0 {
            lines[2] = (lines[2] + p.step.length(p.step.rate, *m, *v)).clamp(0.0, 1.0);
        }
    });
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    const LANES: usize = 32;
    const IMAGES: usize = 3;
    let mut rng = Rng::new(41, 0);
    let close = || Check::Value { abs: 1e-5, rel: 1e-5 };
    let dense = Window::dense(Shape::new(2, 3, 4));
    let patch = Window { layer: Shape::new(2, 5, 4), size: [3, 2], step: [2, 1], offset: [1, 1] };
    let mut cases = Vec::new();
    // Every row of whole layers has an image of its own.
    let [apart, centre, radius] = [0, 1, 2].map(|_| random(&mut rng, 30 * LANES));
    let own = words(&[(0..LANES as u32).collect(), vec![0; 2 * LANES]].concat());
    let whole = Window::dense(Shape::new(2, 3, 5));
    cases.push(Case::new(
        &CORNER,
        "whole layer, an image for every row",
        vec![apart, centre, radius.iter().map(|r| r.abs()).collect(), own],
        vec![blank(30 * LANES)],
        close(),
        move |d, r, w| corner(d, &whole, &r[0], [&r[1], &r[2]], &case::rows(d, &r[3], LANES)?, &w[0]),
    ));
    // Neurons at the far end of a layer too wide for sixteen bits.
    let wide = Window { layer: Shape::new(1, 1, 65_540), size: [1, 3], step: [1, 1], offset: [0, 1] };
    for (label, window, first) in
        [("whole layer", dense, 0), ("patch over the edge", patch, 0), ("patch of a wide layer", wide, 65_537)]
    {
        let (n, layer) = (window.elements() * LANES, window.layer.len());
        // Rows of an image are neighbours; the second image has none.
        let image = |lane: usize| if lane < 11 { 0 } else { 2 };
        let mut rows: Vec<u32> = (0..LANES).map(image).collect();
        rows.extend((0..LANES).map(|_| rng.below(3.min(window.layer.height)) as u32));
        rows.extend((0..LANES).map(|_| (first + rng.below(4)) as u32));
        let span: [u32; 2 * IMAGES] = [0, 11, 11, 11, 11, 30];
        let place = words(&rows);
        let mut entry = || {
            let intercept = if rng.below(3) == 0 { 0.0 } else { 0.3 };
            [rng.uniform(), intercept, rng.uniform(), 2.0]
        };
        let table: Vec<f32> = (0..IMAGES * layer).flat_map(|_| entry()).collect();
        let [a, z] = [0, 1].map(|_| random(&mut rng, n));
        let [centre, gradient, m] = [0, 1, 2].map(|_| random(&mut rng, IMAGES * layer));
        let [radius, v]: [Vec<f32>; 2] = [0, 1].map(|_| (0..IMAGES * layer).map(|_| rng.uniform()).collect());
        let weight: Vec<f32> = (0..LANES).map(|_| rng.uniform()).collect();
        let adam = Adam { rate: 0.3, ..Adam::default() };
        cases.extend([
            Case::new(
                &CORNER,
                label,
                vec![a.clone(), centre, radius, place.clone()],
                vec![blank(n)],
                close(),
                move |d, r, w| corner(d, &window, &r[0], [&r[1], &r[2]], &case::rows(d, &r[3], LANES)?, &w[0]),
            ),
            Case::new(
                &BEND,
                label,
                vec![z, table.clone(), place.clone(), weight],
                vec![blank(n), a.clone()],
                close(),
                move |d, r, w| bend(d, &window, &r[0], &r[1], &case::rows(d, &r[2], LANES)?, &r[3], &w[0], &w[1]),
            ),
            Case::new(
                &COLLECT,
                label,
                vec![a, place, words(&span)],
                vec![gradient.clone()],
                close(),
                move |d, r, w| {
                    let span = d.upload(&d.read::<u32>(&r[2])?)?;
                    collect(d, &window, &r[0], &case::rows(d, &r[1], LANES)?, &span, &w[0])
                },
            ),
            Case::new(&STEP, label, vec![gradient], vec![table, m, v], close(), move |d, r, w| {
                step(d, &r[0], &w[0], [&w[1], &w[2]], &adam, 3)
            }),
        ]);
    }
    cases
}
