//! The register tile that all products of the CPU twins go through: `M` outputs x `N` blocks of sixteen lanes at one
//! output position, summed over taps and channels and set aside every few products
//! (`rounding::sum_block`).

use crate::simd::{Lanes, each};

/// One kernel tap that falls inside the input: where its lane row and its weights start.
#[derive(Clone, Copy)]
pub struct Tap {
    pub x: usize,
    pub w: usize,
}

/// What is summed: for every tap and channel, weight `w[tap.w + channel * w_channel + output * w_output]` times the
/// lane row that starts at `x[(tap.x + channel * x_channel) * lanes]`.
#[derive(Clone, Copy)]
pub struct Sum<'a> {
    pub taps: &'a [Tap],
    pub channels: usize,
    pub x_channel: usize,
    pub w_channel: usize,
    pub w_output: usize,
    pub lanes: usize,
    /// Products summed before the partial sum is set aside.
    pub block: usize,
}

/// The sums of `M` outputs over `16 N` lanes.
///
/// # Safety
/// Every offset of `sum` must be valid for the pointers, and the CPU must support `L`.
#[inline(always)]
pub unsafe fn product<L: Lanes, const M: usize, const N: usize>(
    sum: &Sum<'_>,
    w: *const f32,
    x: *const f32,
) -> [[L; N]; M] {
    unsafe {
        // Weights that lie side by side are read at distances that need no register each.
        match sum.w_output {
            1 if M > 1 => summed(&Sum { w_output: 1, ..*sum }, w, x),
            _ => summed(sum, w, x),
        }
    }
}

#[inline(always)]
unsafe fn summed<L: Lanes, const M: usize, const N: usize>(sum: &Sum<'_>, w: *const f32, x: *const f32) -> [[L; N]; M] {
    unsafe {
        let zero = [[L::splat(0.0); N]; M];
        let mut total = zero;
        // Of one channel every tap is one product, too few for loops within loops.
        if sum.channels == 1 {
            for taps in sum.taps.chunks(sum.block) {
                let mut acc = zero;
                for tap in taps {
                    multiply(&mut acc, (w, tap.w), sum.w_output, (x, tap.x * sum.lanes));
                }
                add_into(&mut total, &acc);
            }
            return total;
        }
        let (mut acc, mut filled) = (zero, 0);
        let x_step = sum.x_channel * sum.lanes;
        for tap in sum.taps {
            let mut channel = 0;
            while channel < sum.channels {
                let take = (sum.block - filled).min(sum.channels - channel);
                let mut xo = tap.x * sum.lanes + channel * x_step;
                let mut wo = tap.w + channel * sum.w_channel;
                for _ in 0..take {
                    multiply(&mut acc, (w, wo), sum.w_output, (x, xo));
                    xo += x_step;
                    wo += sum.w_channel;
                }
                channel += take;
                filled += take;
                if filled == sum.block {
                    add_into(&mut total, &acc);
                    acc = zero;
                    filled = 0;
                }
            }
        }
        add_into(&mut total, &acc);
        total
    }
}

/// Adds products of one weight per output with lanes of one place. Both are offsets, so that a turn of the loop moves two
/// numbers on and not a pointer for every output.
#[inline(always)]
unsafe fn multiply<L: Lanes, const M: usize, const N: usize>(
    acc: &mut [[L; N]; M],
    (w, wo): (*const f32, usize),
    w_output: usize,
    (x, xo): (*const f32, usize),
) {
    unsafe {
        let xs: [L; N] = each(|n| L::load(x.add(xo + 16 * n)));
        for m in 0..M {
            let weight = L::splat(*w.add(wo + m * w_output));
            for n in 0..N {
                acc[m][n] = acc[m][n].mul_acc(weight, xs[n]);
            }
        }
    }
}

#[inline(always)]
unsafe fn add_into<L: Lanes, const M: usize, const N: usize>(total: &mut [[L; N]; M], acc: &[[L; N]; M]) {
    for m in 0..M {
        for n in 0..N {
            total[m][n] = unsafe { total[m][n].add(acc[m][n]) };
        }
    }
}
