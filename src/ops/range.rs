//! Numbers that leave the range in which no sum of a bound can overflow are cleared, and their lane is marked: an
//! overflow is indeterminate in WGSL, so that nothing may rest on one, and nothing may follow from one either.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::linear::SLICES;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32_mut};
use crate::ops::case::{Case, Check};
use crate::rng::Rng;
use crate::rounding::{MAGNITUDE, up};
use crate::vectorise;

/// Magnitude up to which values and coefficients may be read by a kernel (2^40): a sum of up to 2^26 products with
/// numbers of up to 2^60 then stays below 2^127.
pub const MOST: f32 = (1u64 << 40) as f32;

/// Error of a row that lost a coefficient (2^100): more than any bound of use, small enough to be summed.
pub const LOST: f32 = (1u128 << 100) as f32;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
    /// Largest magnitude that stays.
    most: f32,
    /// Error of a row that lost a coefficient.
    lost: f32,
}

const fn row(name: &'static str, entry: &'static str, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("range", "rounding", "slices"), name, entry, [0, 2], twin)
}

/// Changes values and marks.
pub static VALUES: Kernel = row("range_values", "values", values_twin);
/// Changes coefficients and sums.
pub static ROWS: Kernel = row("range_rows", "rows", rows_twin);

pub static KERNELS: &[&Kernel] = &[&VALUES, &ROWS];

/// Clears every value of `x` `[element][lane]` beyond `most` and sets a bit of its lane's words in `marks`
/// `[SLICES][lane]`.
pub fn values(device: &Device, x: &Buffer, marks: &Buffer, lanes: usize, most: f32) -> Result<()> {
    let params = Params { elements: (x.len() / lanes) as u32, lanes: lanes as u32, most, lost: LOST };
    device.run(&VALUES, &params, &[], &[x, marks], [lanes, SLICES, 1])
}

/// Clears every coefficient of `a` `[element][row]` beyond [`MOST`] and adds [`LOST`] to the row's error in `sums` (see
/// `ops::linear`), so that it proves nothing.
pub fn rows(device: &Device, a: &Buffer, sums: &Buffer, lanes: usize) -> Result<()> {
    let params = Params { elements: (a.len() / lanes) as u32, lanes: lanes as u32, most: MOST, lost: LOST };
    device.run(&ROWS, &params, &[], &[a, sums], [lanes, SLICES, 1])
}

vectorise!(fn clear = clear_body(x: &mut [f32], lost: &mut [u32], most: f32));

/// One element of all lanes. By its bits, so that infinities and NaN count as beyond everything.
#[inline(always)]
fn clear_body(x: &mut [f32], lost: &mut [u32], most: f32) {
    let most = most.to_bits();
    for (x, lost) in x.iter_mut().zip(lost) {
        let beyond = x.to_bits() & MAGNITUDE > most;
        *lost |= u32::from(beyond);
        *x = if beyond { 0.0 } else { *x };
    }
}

/// Clears slice by slice; says by slice which lanes lost something.
fn clear_slices(p: &Params, x: &mut [f32]) -> Vec<Vec<u32>> {
    let (lanes, elements) = (p.lanes as usize, p.elements as usize);
    let share = elements.div_ceil(SLICES).max(1) * lanes;
    let one = |slice: &mut [f32]| {
        let mut lost = vec![0; lanes];
        slice.chunks_mut(lanes).for_each(|x| clear(x, &mut lost, p.most));
        lost
    };
    let x = &mut x[..elements * lanes];
    if x.len() < 4 * super::CHUNK {
        return x.chunks_mut(share).map(one).collect();
    }
    x.par_chunks_mut(share).map(one).collect()
}

fn values_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([], [x, marks]) = call.buffers();
    let lost = clear_slices(&p, x);
    for (marks, lost) in as_u32_mut(marks).chunks_mut(p.lanes as usize).zip(lost) {
        marks.iter_mut().zip(lost).for_each(|(mark, lost)| *mark |= lost);
    }
}

fn rows_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([], [a, sums]) = call.buffers();
    let lost = clear_slices(&p, a);
    for (sums, lost) in sums.chunks_mut(2 * p.lanes as usize).zip(lost) {
        let errors = &mut sums[p.lanes as usize..];
        errors.iter_mut().zip(lost).filter(|(_, lost)| *lost != 0).for_each(|(e, _)| *e = up(*e + p.lost));
    }
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(23, 0);
    let mut cases = Vec::new();
    for (elements, lanes) in [(1, 16), (37, 48)] {
        let n = elements * lanes;
        let values_of = [0.0, -1.0, 3e-40, MOST, MOST.next_up(), -1e38, f32::INFINITY, f32::NAN];
        let x: Vec<f32> =
            (0..n).map(|_| if rng.below(40) == 0 { values_of[rng.below(8)] } else { rng.range(-1.0, 1.0) }).collect();
        let label = format!("{elements} elements, {lanes} lanes");
        let writes = vec![x.clone(), vec![0.0; SLICES * lanes]];
        cases.push(Case::new(&VALUES, &*label, vec![], writes, Check::Exact, move |d, _, w| {
            values(d, &w[0], &w[1], lanes, MOST)
        }));
        let sums: Vec<f32> = (0..2 * SLICES * lanes).map(|_| rng.uniform()).collect();
        let check = Check::Value { abs: 0.0, rel: 1e-6 };
        cases.push(Case::new(&ROWS, label, vec![], vec![x, sums], check, move |d, _, w| rows(d, &w[0], &w[1], lanes)));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lanes_that_lost_something_are_marked() {
        let device = Device::cpu();
        let mut x = [1.0f32; 3 * 16];
        (x[5], x[16 + 7], x[32 + 7]) = (f32::NAN, MOST, -MOST.next_up());
        let (buffer, marks) = (device.upload(&x).unwrap(), device.upload(&[0u32; SLICES * 16]).unwrap());
        values(&device, &buffer, &marks, 16, MOST).unwrap();
        let marks: Vec<u32> = device.read(&marks).unwrap();
        let marked: Vec<usize> = (0..16).filter(|lane| (0..SLICES).any(|s| marks[s * 16 + lane] != 0)).collect();
        assert_eq!(marked, [5, 7]);
        (x[5], x[32 + 7]) = (0.0, 0.0);
        assert_eq!(device.read::<f32>(&buffer).unwrap(), x);
    }
}
