//! Steps of projected gradient descent (Madry et al. 2018) where the points are: along the gradient with momentum, back
//! into the region of each point, and what was found on the way. Lanes are points. Nothing here has to be exact: what
//! counts is confirmed in f64.

mod case;
mod twin;

pub(super) use case::cases;

use bytemuck::{Pod, Zeroable};

use super::flat;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::norm::Norm;
use crate::tensor::LANE_BLOCK;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Of a point; of a judgement, outputs.
    elements: u32,
    lanes: u32,
    /// Whether balls are Euclidean.
    euclidean: u32,
    /// Of the step, or of the slot.
    number: u32,
    /// How far a step goes, of the size of the region; of balls, by how much they change.
    share: f32,
    over: f32,
}

const fn row(name: &'static str, entry: &'static str, [reads, writes]: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("descent", "flat"), name, entry, [reads, writes], twin)
}

/// Sixteen points by sixteen parts of their elements, which are summed up.
const fn summed(kernel: Kernel) -> Kernel {
    Kernel { workgroup: [LANE_BLOCK as u32, PARTS as u32, 1], ..kernel }
}

/// Reads gradient, radius; changes momentum, x.
pub static BALL: Kernel = summed(row("descent_ball", "step_in_ball", [2, 2], twin::ball));
/// Reads centre, radius; changes x, writes distance.
pub static PULL: Kernel = summed(row("descent_pull", "pull", [2, 2], twin::pull));
/// Reads gradient, low, high; changes momentum, x.
pub static BOX: Kernel = summed(row("descent_box", "step_in_box", [3, 2], twin::within));
/// Reads logits, classes, distance, slot; writes seed, changes found, writes which.
pub static JUDGE: Kernel = row("descent_judge", "judge", [4, 3], twin::judge);
/// Reads from, which; changes to.
pub static TAKE: Kernel = row("descent_take", "take", [2, 1], twin::take);
/// Reads which, found; changes radius.
pub static RESIZE: Kernel = row("descent_resize", "resize", [2, 1], twin::resize);

pub static KERNELS: &[&Kernel] = &[&BALL, &PULL, &BOX, &JUDGE, &TAKE, &RESIZE];

const PARTS: usize = 16;
/// Lengths below are none: less than the root of any number above zero (2^-100).
pub(super) const LEAST: f32 = f32::from_bits((127 - 100) << 23);
/// Balls stay smaller than the distance of the nearest hit times this (1 - 2^-13).
pub(super) const WITHIN: f32 = f32::from_bits(0x3f7f_f800);
/// No class, slot or step.
pub const NONE: u32 = u32::MAX;

/// How far a step goes: the size of the point's region times the first over the second.
pub type Stride = [f32; 2];

/// Adds gradients to 0.75 times the momentum, each divided by the sum of its magnitudes, and moves points in `[0,1]`
/// along it: in the maximum norm every value by its sign, in the Euclidean so far in all, where values at their ends go
/// no further and take no part. The size of a ball is its `radius` `[lane]`; others are `[element][lane]`.
pub fn step_in_balls(
    device: &Device,
    norm: Norm,
    gradient: &Buffer,
    radius: &Buffer,
    [momentum, x]: [&Buffer; 2],
    stride: Stride,
) -> Result<()> {
    let params = Params { euclidean: u32::from(norm == Norm::L2), ..Params::new(x, radius.len(), 0, stride) };
    device.run(&BALL, &params, &[gradient, radius], &[momentum, x], [radius.len(), PARTS, 1])
}

/// Pulls points into the ball around their centres and into `[0,1]`, as [`Norm::pull`] does, and says how far they are from
/// there: `distance` `[lane]`, of a twin as [`Norm::distance`].
pub fn pull(device: &Device, norm: Norm, [centre, radius]: [&Buffer; 2], [x, distance]: [&Buffer; 2]) -> Result<()> {
    let params = Params { euclidean: u32::from(norm == Norm::L2), ..Params::new(x, radius.len(), 0, [0.0; 2]) };
    device.run(&PULL, &params, &[centre, radius], &[x, distance], [radius.len(), PARTS, 1])
}

/// The same between two ends `[element][lane]`, which may lie differently far apart: gradients count by half of that,
/// which is also the size of the region in each dimension. Points end inside.
pub fn step_in_boxes(
    device: &Device,
    gradient: &Buffer,
    [low, high]: [&Buffer; 2],
    [momentum, x]: [&Buffer; 2],
    lanes: usize,
    stride: Stride,
) -> Result<()> {
    device.run(&BOX, &Params::new(x, lanes, 0, stride), &[gradient, low, high], &[momentum, x], [lanes, PARTS, 1])
}

/// What points see and are to do next. `logits` are `[output][lane]`; `classes` `[2][lane]` hold a point's class and
/// the one that it heads for, [`NONE`] for that with the largest logit of all others. `seed` gets 1 there and -1 at the
/// class. Where another class has the largest logit and `distance` is above zero, a point has hit: `found` `[3][lane]`
/// holds the distance of its nearest hit, the step that it was found in, and whether there was any. `which` `[lane]` is
/// the point's `slot` where this hit is nearer than what was found before, else [`NONE`].
pub fn judge(
    device: &Device,
    step: usize,
    logits: &Buffer,
    [classes, distance, slot]: [&Buffer; 3],
    [seed, found, which]: [&Buffer; 3],
) -> Result<()> {
    let lanes = distance.len();
    let params = Params::new(logits, lanes, step, [0.0; 2]);
    device.run(&JUDGE, &params, &[logits, classes, distance, slot], &[seed, found, which], [lanes, 1, 1])
}

/// Balls of another `radius` `[lane]`, by what [`judge`] found: smaller by a `share` than the distance of a hit just made,
/// else larger by it, and always small enough that any hit in them is the nearest (Pintor et al. 2021).
pub fn resize(device: &Device, share: f32, [which, found]: [&Buffer; 2], radius: &Buffer) -> Result<()> {
    let lanes = radius.len();
    device.run(&RESIZE, &Params::new(radius, lanes, 0, [share, 1.0]), &[which, found], &[radius], [lanes, 1, 1])
}

/// Copies lanes of `from` `[element][lane]` that `which` `[lane]` says are of this slot.
pub fn take(device: &Device, slot: usize, from: &Buffer, which: &Buffer, to: &Buffer) -> Result<()> {
    device.run(&TAKE, &Params::new(to, which.len(), slot, [0.0; 2]), &[from, which], &[to], flat(to.len()))
}

impl Params {
    fn new(values: &Buffer, lanes: usize, number: usize, [share, over]: Stride) -> Self {
        let elements = (values.len() / lanes) as u32;
        Params { elements, lanes: lanes as u32, euclidean: 0, number: number as u32, share, over }
    }
}
