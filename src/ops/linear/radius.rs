//! CPU twin of the search for the largest radius that one linear form proves.

use rayon::prelude::*;

use super::places::{BLOCK, Block, Places, check_tables};
use super::twin::{Blocked, gather_sums};
use super::{CAUTION, Params, SHRINK};
use crate::dispatch;
use crate::kernel::{Call, as_u32};
use crate::rounding::{down, up};
use crate::simd::{Lanes, each};

/// One block of sixteen rows of [`radius`].
struct Ball<'a> {
    p: &'a Params,
    a: &'a [f32],
    delta: &'a [f32],
    sums: &'a [f32],
    lane: usize,
    image: [usize; BLOCK],
    /// Its image for each row, `[element][row]`, for all the times that it is read.
    pixels: Vec<Block>,
}

pub(super) fn radius(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, x, delta, rows, sums], [result]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    let stride = (p.channels * p.height * p.width) as usize;
    check_tables(&p, rows, &[(x.len(), 1)]);
    assert!(a.len() >= stride * lanes);
    let (lowers, radii) = result.split_at_mut(lanes);
    let blocks = lowers.par_chunks_mut(BLOCK).zip(radii[..lanes].par_chunks_mut(BLOCK)).enumerate();
    blocks.for_each(|(block, (lowers, radii))| {
        let lane = block * BLOCK;
        let image: [usize; BLOCK] = each(|i| rows[lane + i] as usize);
        let places = Places::new(&p, rows, lane);
        let mut pixels = vec![[0.0; BLOCK]; stride];
        beside(&places, x, &mut pixels);
        let ball = Ball { p: &p, a, delta, sums, lane, image, pixels };
        largest_radius(&ball, lowers, radii);
    });
}

dispatch! {
    /// Entries of a table for sixteen rows, `[element][row]`.
    fn beside = beside_lanes(places: &Places, table: &[f32], to: &mut [Block])
}

#[inline(always)]
unsafe fn beside_lanes<L: Lanes>(places: &Places, table: &[f32], to: &mut [Block]) {
    let mut entries = places.entries::<1>(table);
    for (at, to) in places.elements(0..to.len()).zip(to) {
        unsafe {
            let [entry] = entries.at::<L>(at);
            entry.store(to.as_mut_ptr());
        }
    }
}

dispatch! {
    fn largest_radius = largest_radius_lanes(ball: &Ball<'_>, lowers: &mut [f32], radii: &mut [f32])
}

#[inline(always)]
unsafe fn largest_radius_lanes<L: Lanes>(ball: &Ball<'_>, lowers: &mut [f32], radii: &mut [f32]) {
    let p = ball.p;
    let (dot, size, slope) = unsafe { form_at_image::<L>(ball) };
    let (constant, error) = gather_sums(p, ball.sums, ball.lane);
    // A lower bound of the linear form at x itself.
    let base: Block = each(|i| {
        let rounding = up(4.0 * p.unit * (dot[i].abs() + constant[i].abs()));
        let error = up(up(error[i] + rounding) + up(p.g * (1.0 + 2.0 * p.g) * size[i]));
        down(down(dot[i] + constant[i]) - error)
    });
    let goal: Block = each(|i| ball.delta[ball.image[i]]);
    let (at_goal, _) = unsafe { fall::<L>(ball, &goal) };
    let mut best: Block = each(|i| {
        lowers[i] = down(base[i] - at_goal[i]);
        if lowers[i] > 0.0 { goal[i] } else { 0.0 }
    });
    // Newton's method from the left on a convex falling function: every iterate is a candidate.
    let mut d: Block = each(|i| (base[i].max(0.0) * CAUTION / slope[i].max(f32::MIN_POSITIVE)).min(1.0));
    for _ in 0..4 {
        let (fallen, active) = unsafe { fall::<L>(ball, &d) };
        for i in 0..BLOCK {
            let left = down(base[i] - fallen[i]);
            if left > 0.0 {
                best[i] = best[i].max(d[i]);
                d[i] = if active[i] > 0.0 { (d[i] + left * CAUTION / active[i]).min(1.0) } else { 1.0 };
            } else {
                d[i] *= CAUTION.min(1.0 - SHRINK * p.g);
            }
        }
    }
    radii.copy_from_slice(&best);
}

/// `sum A x` and `sum |A x|`, as far as rows are over the image, and `sum |A|`.
#[inline(always)]
unsafe fn form_at_image<L: Lanes>(ball: &Ball<'_>) -> (Block, Block, Block) {
    let lanes = ball.p.lanes as usize;
    unsafe {
        let mut sums = Blocked::<L, 3>::new(ball.p.block);
        let one = L::splat(1.0);
        for (k, pixels) in ball.pixels.iter().enumerate() {
            let c = L::load(ball.a.as_ptr().add(k * lanes + ball.lane));
            let pixel = L::load(pixels.as_ptr());
            sums.add([(c, pixel), (c.abs(), pixel.abs()), (c.abs(), one)]);
        }
        let [dots, sizes, slopes] = sums.values();
        let share = |sum: Block| each(|i| ball.p.charge * sum[i]);
        (share(dots), share(sizes), slopes)
    }
}

/// How much the form can fall within distance `d` of the image, rounded up, and its slope there.
#[inline(always)]
unsafe fn fall<L: Lanes>(ball: &Ball<'_>, d: &Block) -> (Block, Block) {
    let lanes = ball.p.lanes as usize;
    unsafe {
        let mut falls = Blocked::<L, 1>::new(ball.p.block);
        let mut active = [0.0f32; BLOCK];
        let mut rooms = [0.0f32; BLOCK];
        let mut coefficients = [0.0f32; BLOCK];
        for (k, pixels) in ball.pixels.iter().enumerate() {
            let c = L::load(ball.a.as_ptr().add(k * lanes + ball.lane));
            c.store(coefficients.as_mut_ptr());
            for i in 0..BLOCK {
                // A falling pixel has room down to 0, a rising one up to 1.
                let room = if coefficients[i] > 0.0 { pixels[i] } else { up(1.0 - pixels[i]) };
                active[i] += if room > d[i] { coefficients[i].abs() } else { 0.0 };
                rooms[i] = room.min(d[i]);
            }
            falls.add([(c.abs(), L::load(rooms.as_ptr()))]);
        }
        let [falls] = falls.values();
        (each(|i| up(falls[i] * (1.0 + 2.0 * ball.p.g))), active)
    }
}
