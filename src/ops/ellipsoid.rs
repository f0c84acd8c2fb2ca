//! Rows of linear bounds over ellipsoids: least values, how far the sets may grow, and where rows are least.

use rayon::prelude::*;

use super::flat;
use super::linear::places::{BLOCK, Block, Places, check_tables};
use super::linear::twin::{Blocked, gather_sums};
use super::linear::{CAUTION, Params, Rows, Window};
use crate::device::{Buffer, Device};
use crate::dispatch;
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::rounding::{down, up};
use crate::simd::{Lanes, each};

const fn row(name: &'static str, entry: &'static str, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(
        shader!("ellipsoid", "flat", "opaque", "rounding", "scalars", "slices", "sums", "window"),
        name,
        entry,
        [6, 1],
        twin,
    )
}

/// Lower bounds over ellipsoids, and how far these may grow. Reads A, centres, radii, rows, sums, axes; writes result.
pub static LEAST: Kernel = row("ellipsoid_least", "ellipsoid", ellipsoid_twin);
/// Where in their ellipsoids rows are least. Reads A, centres, radii, rows, the result of [`LEAST`], axes; writes x.
pub static FARTHEST_POINT: Kernel = row("ellipsoid_farthest", "farthest", farthest_twin);

pub static KERNELS: &[&Kernel] = &[&LEAST, &FARTHEST_POINT];

/// More than what the squares of a norm lose to flushing, and enough for a square root of a normal number (2^-90).
pub(super) const SQUARES_LOST: f32 = f32::from_bits((127 - 90) << 23);
/// Reaches are no larger.
pub(super) const FARTHEST: f32 = 1e12;

/// For every row `result` `[3][lanes]`: its lower bound over the set of `x` with
/// `sum ((x_i - centre_i) / axis_i)^2 <= radius[image]^2`, where `axis_i` is the first of `axes` `[image][element][2]` for
/// values below the centre and the second above it; the largest radius at which it is proved positive; and an upper bound
/// of its norm in units of the axes it falls along.
#[allow(clippy::too_many_arguments)]
pub fn ellipsoid(
    device: &Device,
    window: &Window,
    a: &Buffer,
    [centre, axes, radius]: [&Buffer; 3],
    rows: &Rows,
    sums: &Buffer,
    result: &Buffer,
    g: f32,
    floor: f32,
) -> Result<()> {
    let params = Params { floor, ..Params::new(window, window.elements(), rows.lanes, g) };
    let reads = [a, centre, radius, &rows.buffer, sums, axes];
    device.run(&LEAST, &params, &reads, &[result], [rows.lanes, 1, 1])
}

/// Where in its ellipsoid, within `[0,1]`, each row is about least: `x` like the coefficients `a`. `result` is that of
/// [`ellipsoid()`].
pub fn farthest(
    device: &Device,
    window: &Window,
    a: &Buffer,
    [centre, axes, radius]: [&Buffer; 3],
    rows: &Rows,
    result: &Buffer,
    x: &Buffer,
) -> Result<()> {
    let reads = [a, centre, radius, &rows.buffer, result, axes];
    let n = window.elements() * rows.lanes;
    device.run(&FARTHEST_POINT, &Params::new(window, 0, rows.lanes, 0.0), &reads, &[x], flat(n))
}

fn ellipsoid_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, centre, radius, rows, sums, axes], [result]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(centre.len(), 1), (axes.len(), 2)]);
    assert!(a.len() >= (p.channels * p.size_y * p.size_x) as usize * lanes);
    let (lower, rest) = result[..3 * lanes].split_at_mut(lanes);
    let (reach, norm) = rest.split_at_mut(lanes);
    let blocks = lower.par_chunks_mut(BLOCK).zip(reach.par_chunks_mut(BLOCK)).zip(norm.par_chunks_mut(BLOCK));
    blocks.enumerate().for_each(|(block, ((lower, reach), norm))| {
        let lane = block * BLOCK;
        let places = Places::new(&p, rows, lane);
        let mut total = [[0.0; BLOCK]; 3];
        ellipsoid_sums(&p, &places, &a[lane..], [centre, axes], &mut total);
        let (constant, error) = gather_sums(&p, sums, lane);
        let [dot, size, square] = &total;
        for i in 0..BLOCK {
            let rounding = up(4.0 * p.unit * (dot[i].abs() + constant[i].abs()));
            let error = up(up(error[i] + rounding) + up(p.g * (1.0 + 2.0 * p.g) * size[i]));
            let base = down(down(dot[i] + constant[i]) - error);
            norm[i] = up((square[i] + SQUARES_LOST).sqrt() * (1.0 + p.g + 16.0 * p.unit));
            reach[i] = match base {
                base if base <= 0.0 => 0.0,
                base if base < norm[i] * FARTHEST => base * CAUTION / norm[i],
                _ => FARTHEST,
            };
            lower[i] = down(base - up(radius[rows[lane + i] as usize] * norm[i]));
        }
    });
}

dispatch! {
    fn ellipsoid_sums = ellipsoid_sums_lanes(
        p: &Params, places: &Places, a: &[f32], tables: [&[f32]; 2], total: &mut [Block; 3]
    )
}

/// `sum A c`, `sum |A c|` and the sum of `(A axis)^2`.
#[inline(always)]
unsafe fn ellipsoid_sums_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    a: &[f32],
    [centre, axes]: [&[f32]; 2],
    total: &mut [Block; 3],
) {
    let (lanes, elements) = (p.lanes as usize, (p.channels * p.size_y * p.size_x) as usize);
    unsafe {
        let mut sums = Blocked::<L, 3>::new(p.block);
        let (zero, negative) = (L::splat(0.0), L::splat(-1.0));
        let (mut centre, mut axes) = (places.entries::<1>(centre), places.entries::<2>(axes));
        for at in places.elements(0..elements) {
            let coefficients = places.clip(L::load(a.as_ptr().add(at.element * lanes)), at);
            let [c] = centre.at::<L>(at);
            let [fall, rise] = axes.at::<L>(at);
            // One of the two products is zero.
            let step = coefficients.max(zero).mul(fall).mul_acc(coefficients.mul(negative).max(zero), rise);
            sums.add([(coefficients, c), (coefficients.abs(), c.abs()), (step, step)]);
        }
        *total = sums.values();
    }
}

fn farthest_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, centre, radius, rows, form, axes], [x]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(centre.len(), 1), (axes.len(), 2)]);
    let elements = (p.channels * p.size_y * p.size_x) as usize;
    assert!(a.len() >= elements * lanes && x.len() >= elements * lanes);
    for lane in (0..lanes).step_by(BLOCK) {
        let share: Block = each(|i| radius[rows[lane + i] as usize] / form[2 * lanes + lane + i]);
        farthest_block(&p, &Places::new(&p, rows, lane), &a[lane..], [centre, axes], &share, &mut x[lane..]);
    }
}

dispatch! {
    fn farthest_block = farthest_block_lanes(
        p: &Params, places: &Places, a: &[f32], tables: [&[f32]; 2], share: &Block, x: &mut [f32]
    )
}

/// Sixteen rows: `c - share * axis^2 * A`, within `[0,1]`; zero outside the layer.
#[inline(always)]
unsafe fn farthest_block_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    a: &[f32],
    [centre, axes]: [&[f32]; 2],
    share: &Block,
    x: &mut [f32],
) {
    let (lanes, elements) = (p.lanes as usize, (p.channels * p.size_y * p.size_x) as usize);
    unsafe {
        let (zero, one, negative) = (L::splat(0.0), L::splat(1.0), L::splat(-1.0));
        let share = L::load(share.as_ptr()).mul(negative);
        let (mut centre, mut axes) = (places.entries::<1>(centre), places.entries::<2>(axes));
        for at in places.elements(0..elements) {
            let coefficients = L::load(a.as_ptr().add(at.element * lanes));
            let [c] = centre.at::<L>(at);
            let [fall, rise] = axes.at::<L>(at);
            let down = coefficients.max(zero).mul(fall).mul(fall);
            let up = coefficients.min(zero).mul(rise).mul(rise);
            let point = c.mul_acc(share, down.add(up)).max(zero).min(one);
            places.clip(point, at).store(x.as_mut_ptr().add(at.element * lanes));
        }
    }
}
