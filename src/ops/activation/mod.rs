//! Activations, by tables of short lines (`table`): one set of kernels serves every function.
//!
//! Whatever its slope, a line over a function is sound with an intercept that covers the function's greatest distance from
//! it. That is found by convexity: on a piece that bends like the line's side it is at an end, on one that bends the
//! other way where the slopes of segments pass that of the line. The slope is chosen so that the line comes near the
//! function in the middle of the range, which leaves least area between the two.

mod case;
pub mod table;
pub(in crate::ops) mod twin;

pub(super) use case::cases;

use bytemuck::{Pod, Zeroable};

use self::table::words;
use super::flat;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::model::activation::Activation;
use crate::ops::linear::Rows;
use crate::rounding::UNIT;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub elements: u32,
    pub lanes: u32,
    /// Curves in the table, and values that share one where there are several.
    pub curves: u32,
    pub plane: u32,
    /// The radius grows by this share of |centre|: the rounding charge of whoever consumes it.
    pub inflate: f32,
    /// Unit roundoff.
    pub unit: f32,
}

/// The functions of one layer on a device.
pub struct Curves {
    table: Buffer,
    count: usize,
    plane: usize,
}

impl Curves {
    /// One function for all values, or one for every `plane` of them.
    pub fn new(device: &Device, activations: &[Activation], plane: usize) -> Result<Curves> {
        Ok(Curves { table: device.upload(&words(activations))?, count: activations.len(), plane })
    }

    fn params(&self, len: usize, lanes: usize, inflate: f32) -> Params {
        let [elements, lanes, curves, plane] = [len / lanes, lanes, self.count, self.plane].map(|n| n as u32);
        Params { elements, lanes, curves, plane, inflate, unit: UNIT as f32 }
    }
}

const fn row(name: &'static str, entry: &'static str, reads: usize, writes: usize, twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("activation", "flat", "rounding"), name, entry, [reads, writes], twin)
}

pub static FORWARD: Kernel = row("activation_forward", "forward", 2, 1, twin::forward);
pub static BACKWARD: Kernel = row("activation_backward", "backward", 3, 1, twin::backward);
pub static INTERVAL: Kernel = row("activation_interval", "interval", 3, 2, twin::interval);
pub static RELAX: Kernel = row("activation_relax", "relax", 4, 2, twin::relax);
pub static FOLLOW: Kernel = row("activation_follow", "follow", 5, 1, twin::follow);

pub static KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD, &INTERVAL, &RELAX, &FOLLOW];

/// `y = f(x)`, `[element][lane]`.
pub fn forward(device: &Device, f: &Curves, x: &Buffer, y: &Buffer, lanes: usize) -> Result<()> {
    device.run(&FORWARD, &f.params(y.len(), lanes, 0.0), &[&f.table, x], &[y], flat(y.len()))
}

/// `gx = gy * f'(x)`, the slope being that of the segment of x.
pub fn backward(device: &Device, f: &Curves, x: &Buffer, gy: &Buffer, gx: &Buffer, lanes: usize) -> Result<()> {
    device.run(&BACKWARD, &f.params(gx.len(), lanes, 0.0), &[&f.table, x, gy], &[gx], flat(gx.len()))
}

/// Sound bounds: for every real `x` in `xc ± xr`, `f(x)` lies in `yc ± yr`, and `yr` holds a further `inflate * |yc|`.
#[allow(clippy::too_many_arguments)]
pub fn interval(
    device: &Device,
    f: &Curves,
    xc: &Buffer,
    xr: &Buffer,
    yc: &Buffer,
    yr: &Buffer,
    lanes: usize,
    inflate: f32,
) -> Result<()> {
    let params = f.params(yc.len(), lanes, inflate);
    device.run(&INTERVAL, &params, &[&f.table, xc, xr], &[yc, yr], flat(yc.len()))
}

/// The relaxation of f over `centre ± radius` `[element][lane]`: `table` `[lane][element][linear::RELAX]` gets slope and
/// intercept of a line above and the slope of one below, whose intercept goes to `feet` `[lane][element]`; the last
/// word is `magnitude` `[element][lane]`.
pub fn relax(
    device: &Device,
    f: &Curves,
    [centre, radius]: [&Buffer; 2],
    magnitude: &Buffer,
    [table, feet]: [&Buffer; 2],
    lanes: usize,
) -> Result<()> {
    let params = f.params(centre.len(), lanes, 0.0);
    device.run(&RELAX, &params, &[&f.table, centre, radius, magnitude], &[table, feet], flat(centre.len()))
}

/// `y` is the line that a row with coefficients `a` over the whole layer uses at `z`; all `[element][lane]`, tables as of
/// [`relax`], those of its image.
pub fn follow(
    device: &Device,
    a: &Buffer,
    z: &Buffer,
    [table, feet]: [&Buffer; 2],
    rows: &Rows,
    y: &Buffer,
) -> Result<()> {
    let elements = (y.len() / rows.lanes) as u32;
    let params = Params { elements, lanes: rows.lanes as u32, curves: 1, plane: 1, inflate: 0.0, unit: UNIT as f32 };
    device.run(&FOLLOW, &params, &[a, z, table, feet, &rows.buffer], &[y], flat(y.len()))
}
