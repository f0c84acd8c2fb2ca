//! Linear bounds through max pooling. From below the maximum is at least any input of its window, here the one with the
//! largest centre: after a ReLU many lower bounds (Singh et al., "An Abstract Domain for Certifying Neural Networks", 2019,
//! pick the largest) are zero up to rounding. From above, with the highest input x in `[l, u]` and no other above s, it is
//! at most max(x, s), and so below that function's chord.
//!
//! A window's entry in the table is a relaxation like a ReLU's, so that `linear::relu` applies the lines; [`route`] then
//! hands each coefficient to the input that its line is over.

use std::collections::HashMap;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::{RELAX, Rows, Window};
use super::pool::{Geometry, Windows};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32, as_u32_mut};
use crate::ops::case::{Case, Check, blank, random, rows, words};
use crate::rng::Rng;
use crate::rounding::{down, up};
use crate::tensor::{LANE_BLOCK, Shape};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    windows: Windows,
    /// The plane of the layer above, and where a row's patch of it lies.
    layer_height: u32,
    layer_width: u32,
    step_y: u32,
    step_x: u32,
    offset_y: i32,
    offset_x: i32,
}

impl Params {
    /// Over whole layers.
    fn new(g: &Geometry, lanes: usize) -> Self {
        Params::of_patch(g, &Window::dense(g.output), lanes)
    }

    /// Where rows see this part of the layer above.
    fn of_patch(g: &Geometry, above: &Window, lanes: usize) -> Self {
        Params {
            windows: Windows::new(g, lanes),
            layer_height: above.layer.height as u32,
            layer_width: above.layer.width as u32,
            step_y: above.step[0] as u32,
            step_x: above.step[1] as u32,
            offset_y: above.offset[0] as i32,
            offset_x: above.offset[1] as i32,
        }
    }

    fn outputs(&self) -> usize {
        (self.channels * self.out_height * self.out_width) as usize
    }

    /// Input of output `o` under this tap, if it lies inside.
    fn input(&self, o: usize, tap: usize) -> Option<usize> {
        let (height, width) = (self.out_height as usize, self.out_width as usize);
        let (channel, row, column) = (o / (height * width), o / width % height, o % width);
        let place = |out: usize, k: usize, stride: u32, pad: u32, size: u32| {
            (out * stride as usize + k).checked_sub(pad as usize).filter(|at| *at < size as usize)
        };
        let kernel_width = self.kernel_width as usize;
        let y = place(row, tap / kernel_width, self.stride_y, self.pad_y, self.in_height)?;
        let x = place(column, tap % kernel_width, self.stride_x, self.pad_x, self.in_width)?;
        Some((channel * self.in_height as usize + y) * self.in_width as usize + x)
    }

    /// Taps and inputs of output `o`'s window.
    fn window(&self, o: usize) -> impl Iterator<Item = (usize, usize)> {
        let taps = (self.kernel_height * self.kernel_width) as usize;
        (0..taps).filter_map(move |tap| Some((tap, self.input(o, tap)?)))
    }
}

impl std::ops::Deref for Params {
    type Target = Windows;
    fn deref(&self) -> &Windows {
        &self.windows
    }
}

const fn row(name: &'static str, entry: &'static str, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("select", "flat", "lines", "rounding", "windows"), name, entry, [2, 1], twin)
}

/// Reads centre, radius; writes the relaxation table and the picks.
pub static RELAX_MAX: Kernel = Kernel { writes: 2, ..row("select_relax", "relax", relax_twin) };
/// Reads coefficients, picks, rows; writes coefficients.
pub static ROUTE: Kernel = Kernel { reads: 3, ..row("select_route", "route", route_twin) };
/// Reads values, coefficients, table, picks, rows; writes values.
pub static FORWARD: Kernel = Kernel { reads: 5, ..row("select_forward", "forward", forward_twin) };

pub static KERNELS: &[&Kernel] = &[&RELAX_MAX, &ROUTE, &FORWARD];

/// The relaxation of each window's maximum over `centre ± radius` `[input][lane]`, written as `[lane][output][RELAX]`:
/// upper slope, upper intercept, lower slope, magnitude of the inputs that the lines are over; and the taps of these
/// inputs `[lane][output]`, the upper line's in the high half of the word.
pub fn relax(
    device: &Device,
    g: &Geometry,
    [centre, radius]: [&Buffer; 2],
    [table, picks]: [&Buffer; 2],
    lanes: usize,
) -> Result<()> {
    let threads = super::flat(g.output.len() * lanes);
    device.run(&RELAX_MAX, &Params::new(g, lanes), &[centre, radius], &[table, picks], threads)
}

/// Sums into every input the coefficients `a` `[output][row]` of the windows that pick it, by the picks of each row's
/// image: `to` `[input][row]`. Outputs are those of the patch `above`, and `g` is the geometry from it to the patch below.
pub fn route(
    device: &Device,
    g: &Geometry,
    above: &Window,
    a: &Buffer,
    picks: &Buffer,
    rows: &Rows,
    to: &Buffer,
) -> Result<()> {
    let threads = super::flat(g.input.len() * rows.lanes);
    device.run(&ROUTE, &Params::of_patch(g, above, rows.lanes), &[a, picks, &rows.buffer], &[to], threads)
}

/// The lines that rows with coefficients `a` `[output][row]` above the layer use on `x` `[input][row]`: `y` `[output][row]`.
pub fn forward(
    device: &Device,
    g: &Geometry,
    [x, a]: [&Buffer; 2],
    [table, picks]: [&Buffer; 2],
    rows: &Rows,
    y: &Buffer,
) -> Result<()> {
    let threads = super::flat(g.output.len() * rows.lanes);
    device.run(&FORWARD, &Params::new(g, rows.lanes), &[x, a, table, picks, &rows.buffer], &[y], threads)
}

/// Most roundings on the way of a coefficient through [`linear::relu`](super::linear::relu) and [`route`].
pub fn roundings(g: &Geometry) -> usize {
    g.kernel[0].div_ceil(g.stride[0]) * g.kernel[1].div_ceil(g.stride[1]) + 1
}

/// Taps and inputs of output `o`'s window.
pub fn window(g: &Geometry, o: usize) -> Vec<(usize, usize)> {
    Params::new(g, LANE_BLOCK).window(o).collect()
}

/// Centre and ends of one input, and its tap.
type Input = (f32, [f32; 2], usize);

/// Below every bound that the range check lets through.
pub(super) const LOWEST: f32 = -3.0e38;

/// The entry of a window, and the taps that its lower and upper line are over.
fn lines(window: impl Iterator<Item = Input>) -> ([f32; RELAX], [usize; 2]) {
    let (mut best, mut picked) = (LOWEST, ([0.0; 2], 0));
    let (mut top, mut others) = (([LOWEST; 2], 0), LOWEST);
    for (centre, ends, k) in window {
        if centre > best {
            (best, picked) = (centre, (ends, k));
        }
        if ends[1] > top.0[1] {
            (others, top) = (top.0[1], (ends, k));
        } else {
            others = others.max(ends[1]);
        }
    }
    let [l, u] = top.0;
    let mut entry = [1.0, 0.0, 1.0, 0.0];
    if others > l {
        let slope = ((u - others) / (u - l)).clamp(0.0, 1.0);
        entry[0] = slope;
        entry[1] = up(others - down(slope * l)).max(up(u - down(slope * u)));
    } else {
        picked = top;
    }
    entry[3] = picked.0.iter().chain(&top.0).fold(0.0, |m, v| v.abs().max(m));
    (entry, [picked.1, top.1])
}

fn relax_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([centre, radius], [table, picks]) = call.buffers();
    let (lanes, elements) = (p.lanes as usize, p.outputs());
    let tables = table[..lanes * elements * RELAX].par_chunks_mut(elements * RELAX);
    tables.zip(as_u32_mut(picks).par_chunks_mut(elements)).enumerate().for_each(|(lane, (table, picks))| {
        for (o, (entry, picks)) in table.chunks_mut(RELAX).zip(picks).enumerate() {
            let input = |(k, i)| {
                let (c, r) = (centre[i * lanes + lane], radius[i * lanes + lane]);
                (c, [down(c - r), up(c + r)], k)
            };
            let (lines, [lower, upper]) = lines(p.window(o).map(input));
            entry.copy_from_slice(&lines);
            *picks = (lower | upper << 16) as u32;
        }
    });
}

/// The taps that the lines below and above are over.
fn split(picks: u32) -> [u32; 2] {
    [picks & 0xffff, picks >> 16]
}

/// The tap that the line of a coefficient of this sign is over.
fn pick(picks: u32, coefficient: f32) -> usize {
    split(picks)[usize::from(coefficient < 0.0)] as usize
}

fn forward_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([x, a, table, picks, rows], [y]) = call.buffers();
    let (lanes, rows, picks) = (p.lanes as usize, as_u32(rows), as_u32(picks));
    let elements = p.outputs();
    y[..elements * lanes].par_chunks_mut(lanes).enumerate().for_each(|(o, y)| {
        for (lane, y) in y.iter_mut().enumerate() {
            let (entry, a) = (rows[lane] as usize * elements + o, a[o * lanes + lane]);
            let input = p.input(o, pick(picks[entry], a)).expect("a picked input is inside");
            let x = x[input * lanes + lane];
            let lines = &table[entry * RELAX..][..3];
            *y = if a < 0.0 { lines[0] * x + lines[1] } else { lines[2] * x };
        }
    });
}

fn route_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, picks, rows], [to]) = call.buffers();
    let (lanes, rows, picks) = (p.lanes as usize, as_u32(rows), as_u32(picks));
    let (ih, iw) = (p.in_height as usize, p.in_width as usize);
    let (oh, ow) = (p.out_height as usize, p.out_width as usize);
    let seen: Vec<Seen> = (0..lanes).map(|lane| Seen::of(&p, rows, lane)).collect();
    // Most blocks hold rows that look at one place of one image.
    let alike: Vec<bool> = seen.chunks(LANE_BLOCK).map(|block| block.iter().all(|s| *s == block[0])).collect();
    // Windows over input row or column `i`: (window, tap).
    let covering = |i: usize, kernel: u32, stride: u32, pad: u32, count: usize| {
        let at = i + pad as usize;
        let first = (at + 1).saturating_sub(kernel as usize).div_ceil(stride as usize);
        (first..(at / stride as usize + 1).min(count)).map(move |o| (o, at - o * stride as usize))
    };
    to[..p.channels as usize * ih * iw * lanes].par_chunks_mut(lanes).enumerate().for_each(|(i, to)| {
        let (c, y, x) = (i / (ih * iw), i / iw % ih, i % iw);
        to.fill(0.0);
        for (oy, ky) in covering(y, p.kernel_height, p.stride_y, p.pad_y, oh) {
            for (ox, kx) in covering(x, p.kernel_width, p.stride_x, p.pad_x, ow) {
                let tap = (ky * p.kernel_width as usize + kx) as u32;
                let a = a[((c * oh + oy) * ow + ox) * lanes..][..lanes].chunks(LANE_BLOCK);
                for (block, (to, a)) in to.chunks_mut(LANE_BLOCK).zip(a).enumerate() {
                    let seen = &seen[block * LANE_BLOCK..][..to.len()];
                    if alike[block] {
                        let taps = seen[0].entry(&p, picks, c, [oy, ox]).map(split);
                        let [low, high] = taps.map_or([false; 2], |taps| taps.map(|t| t == tap));
                        if low || high {
                            to.iter_mut()
                                .zip(a)
                                .for_each(|(to, a)| *to += if [low, high][usize::from(*a < 0.0)] { *a } else { 0.0 });
                        }
                        continue;
                    }
                    for (seen, (to, a)) in seen.iter().zip(to.iter_mut().zip(a)) {
                        if seen.entry(&p, picks, c, [oy, ox]).is_some_and(|picks| pick(picks, *a) == tap as usize) {
                            *to += a;
                        }
                    }
                }
            }
        }
    });
}

/// Where a row sees the layer above: the corner of its patch, and its image.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    corner: [i64; 2],
    image: usize,
}

impl Seen {
    fn of(p: &Params, rows: &[u32], lane: usize) -> Seen {
        let corner = |part: usize, step: u32, offset: i32| {
            // Rows that see whole layers have no place.
            let place = if step == 0 { 0 } else { rows[part * p.lanes as usize + lane] };
            i64::from(place) * i64::from(step) - i64::from(offset)
        };
        let corner = [corner(1, p.step_y, p.offset_y), corner(2, p.step_x, p.offset_x)];
        Seen { corner, image: rows[lane] as usize }
    }

    /// The picks of an output of the row's patch, if it lies in the layer.
    fn entry(&self, p: &Params, picks: &[u32], channel: usize, at: [usize; 2]) -> Option<u32> {
        let [height, width] = [p.layer_height as usize, p.layer_width as usize];
        let place = |d: usize, size: usize| usize::try_from(self.corner[d] + at[d] as i64).ok().filter(|at| *at < size);
        let (y, x) = (place(0, height)?, place(1, width)?);
        Some(picks[((self.image * p.channels as usize + channel) * height + y) * width + x])
    }
}

/// What is wrong with the entries of all windows over the ends `[input][lane]`.
fn judge(g: &Geometry, ends: &[[f32; 2]], lanes: usize, table: &[f32], picks: &[u32]) -> Vec<String> {
    let p = Params::new(g, lanes);
    let n = g.output.len();
    let mut faults = vec![];
    for (lane, o) in (0..lanes).flat_map(|lane| (0..n).map(move |o| (lane, o))) {
        let window: HashMap<usize, [f64; 2]> =
            p.window(o).map(|(tap, input)| (tap, ends[input * lanes + lane].map(f64::from))).collect();
        let [slope, intercept, lower, size] = [0, 1, 2, 3].map(|w| f64::from(table[(lane * n + o) * RELAX + w]));
        let taps = [picks[lane * n + o] & 0xffff, picks[lane * n + o] >> 16].map(|tap| tap as usize);
        let [Some(low), Some(top)] = taps.map(|tap| window.get(&tap)) else {
            faults.push(format!("lane {lane}, window {o}: taps {taps:?} are not in it"));
            continue;
        };
        let centre = |[l, u]: &[f64; 2]| 0.5 * (l + u);
        let most = window.values().map(centre).fold(f64::MIN, f64::max);
        let others = window.iter().filter(|(tap, _)| **tap != taps[1]).map(|(_, x)| x[1]).fold(f64::MIN, f64::max);
        // The chord at both ends of the highest input, and how far it may be above.
        let gap = [0, 1].map(|end| slope * top[end] + intercept - top[end].max(others));
        let bounds = gap.iter().all(|gap| *gap >= 0.0) && lower == 1.0 && (0.0..=1.0).contains(&slope);
        let tight = gap.iter().all(|gap| *gap <= 1e-6) && centre(low) >= most - 1e-6;
        let sized = size >= [low, top].iter().flat_map(|x| x.iter()).fold(0.0, |m: f64, v| m.max(v.abs()));
        if !(bounds && tight && sized) {
            faults.push(format!("lane {lane}, window {o}: {gap:?} above, {low:?} of {window:?}, size {size}"));
        }
    }
    faults
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(12, 0);
    let plain = Geometry {
        input: Shape::new(2, 6, 8),
        output: Shape::new(2, 3, 4),
        kernel: [2, 2],
        stride: [2, 2],
        pad: [0, 0],
        count_include_pad: false,
    };
    let overlapping =
        Geometry { input: Shape::new(3, 7, 5), output: Shape::new(3, 4, 3), kernel: [3, 3], pad: [1, 1], ..plain };
    let mut cases = Vec::new();
    for (label, g, lanes) in [("disjoint windows", plain, 16), ("overlapping windows, padding", overlapping, 48)] {
        let n = g.output.len();
        let centre = random(&mut rng, g.input.len() * lanes);
        let radius: Vec<f32> = random(&mut rng, g.input.len() * lanes).into_iter().map(|r| 0.5 * r.abs()).collect();
        let ends = centre.iter().zip(&radius).map(|(c, r)| [c - r, c + r]).collect::<Vec<_>>();
        let sound = Check::Holds(Box::new(move |outputs: &[Vec<f32>]| {
            judge(&g, &ends, lanes, &outputs[0], bytemuck::cast_slice(&outputs[1]))
        }));
        let blanks = vec![blank(n * lanes * RELAX), blank(n * lanes)];
        cases.push(Case::new(&RELAX_MAX, label, vec![centre, radius], blanks, sound, move |d, r, w| {
            relax(d, &g, [&r[0], &r[1]], [&w[0], &w[1]], lanes)
        }));
        let close = || Check::Value { abs: 1e-6, rel: 1e-6 };
        // Images, then places in a plane, those of the first sixteen rows alike.
        let place = |i: usize| if i % lanes < LANE_BLOCK { 1 } else { (i % 3) as u32 };
        let images: Vec<u32> = (0..3 * lanes).map(place).collect();
        let images = words(&images);
        // Taps that hang over the border route nowhere.
        let mut tap = || rng.below(g.kernel[0] * g.kernel[1]) as u32;
        let anywhere: Vec<u32> = (0..3 * n).map(|_| tap() | tap() << 16).collect();
        let a = random(&mut rng, n * lanes);
        // The whole layer, and a patch that hangs over its upper and right edges for some rows.
        let patch = Window { layer: g.output, size: [2, 3], step: [1, 1], offset: [1, 0] };
        let below = patch.below(g.input, g.kernel, g.stride, g.pad).size;
        let over = |s: [usize; 2]| Shape::new(g.input.channels, s[0], s[1]);
        let narrow = Geometry { input: over(below), output: over(patch.size), pad: [0, 0], ..g };
        for (what, g, above) in [("", g, Window::dense(g.output)), (", patches", narrow, patch)] {
            let reads = vec![a[..g.output.len() * lanes].to_vec(), words(&anywhere), images.clone()];
            let blanks = vec![blank(g.input.len() * lanes)];
            cases.push(Case::new(&ROUTE, format!("{label}{what}"), reads, blanks, close(), move |d, r, w| {
                route(d, &g, &above, &r[0], &d.upload(&d.read::<u32>(&r[1])?)?, &rows(d, &r[2], lanes)?, &w[0])
            }));
        }
        // Values are read only from where there are some.
        let p = Params::new(&g, lanes);
        let mut tap = |o: usize| {
            let taps: Vec<usize> = p.window(o).map(|(tap, _)| tap).collect();
            taps[rng.below(taps.len())] as u32
        };
        let inside: Vec<u32> = (0..3 * n).map(|o| tap(o % n) | tap(o % n) << 16).collect();
        let reads =
            vec![random(&mut rng, g.input.len() * lanes), a, random(&mut rng, 3 * n * RELAX), words(&inside), images];
        cases.push(Case::new(&FORWARD, label, reads, vec![blank(n * lanes)], close(), move |d, r, w| {
            let picks = d.upload(&d.read::<u32>(&r[3])?)?;
            forward(d, &g, [&r[0], &r[1]], [&r[2], &picks], &rows(d, &r[4], lanes)?, &w[0])
        }));
    }
    cases
}
