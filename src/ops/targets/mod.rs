//! Which neurons have rows of linear bounds of their own, and what becomes of the bounds of those: neurons of open sign are
//! counted, listed and placed in rows where they are, and their intervals are narrowed there. All that a host needs of it
//! is how many there are, so that it knows how much to ask for.
//!
//! Targets stand by image, those of an image by place and then channel: neighbouring rows look up the same entries.

mod case;
mod twin;

pub(super) use case::cases;

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::flat;
use super::linear::{NEGATED, Rows, SLICES};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::tensor::Shape;

#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Params {
    channels: u32,
    height: u32,
    width: u32,
    /// Of the regions.
    lanes: u32,
    /// Lanes that hold a region.
    images: u32,
    /// Targets that the list has room for.
    capacity: u32,
    /// Number of the first row.
    first: u32,
    /// Lanes of the rows.
    rows: u32,
    /// Lanes that hold a row.
    count: u32,
    /// Whether neurons are wanted whatever their sign.
    every: u32,
    /// What becomes of targets' sign.
    flip: u32,
    /// Of magnitudes.
    share: f32,
}

impl Params {
    fn new(value: Shape, lanes: usize) -> Self {
        let [channels, height, width] = [value.channels, value.height, value.width].map(|n| n as u32);
        Params { channels, height, width, lanes: lanes as u32, ..Params::default() }
    }

    fn of_rows(self, rows: &Rows) -> Self {
        Params { rows: rows.lanes as u32, count: rows.count as u32, ..self }
    }
}

const fn row(name: &'static str, entry: &'static str, [reads, writes]: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("targets", "flat", "rounding", "slices"), name, entry, [reads, writes], twin)
}

/// Reads centre, radius, marks; writes lower and upper ends.
pub static ENDS: Kernel = row("targets_ends", "ends_of", [3, 2], twin::ends);
/// Reads ends; writes counts.
pub static COUNT: Kernel = row("targets_count", "count", [2, 1], twin::count);
/// Changes counts to offsets, writes their total. One workgroup.
pub static OFFSETS: Kernel =
    Kernel { workgroup: [256, 1, 1], ..row("targets_offsets", "offsets_of", [0, 2], twin::offsets) };
/// Reads ends, centre, offsets; writes the list.
pub static LIST: Kernel = row("targets_list", "list_of", [4, 1], twin::list);
/// Reads list, total; writes rows.
pub static PLACE: Kernel = row("targets_place", "place", [2, 1], twin::place);
/// Reads rows; writes coefficients.
pub static UNIT: Kernel = row("targets_unit", "unit", [1, 1], twin::unit);
/// Reads bounds, rows; changes ends and faults.
pub static PUT: Kernel = row("targets_put", "put", [2, 3], twin::put);
/// Reads bounds, rows; writes which are undecided and how many. One workgroup.
pub static UNDECIDED: Kernel =
    Kernel { workgroup: [256, 1, 1], ..row("targets_undecided", "undecided", [2, 2], twin::undecided) };
/// Reads list, total, ends; changes centre, radius, faults.
pub static NARROW: Kernel = row("targets_narrow", "narrow", [4, 3], twin::narrow);
/// Reads rows, magnitudes; changes bounds.
pub static LESS: Kernel = row("targets_less", "less", [2, 1], twin::less);
/// Reads other bounds; changes bounds.
pub static MOST: Kernel = row("targets_most", "most", [1, 1], twin::most);
/// Reads classes; writes coefficients, rows.
pub static MARGINS: Kernel = row("targets_margins", "margins", [1, 2], twin::margins);

pub static KERNELS: &[&Kernel] =
    &[&ENDS, &COUNT, &OFFSETS, &LIST, &PLACE, &UNIT, &PUT, &UNDECIDED, &NARROW, &LESS, &MOST, &MARGINS];

/// Bits of a word of faults: a bound that is no finite number; a lower end above its upper end.
pub const NOT_FINITE: u32 = 1;
/// See [`NOT_FINITE`].
pub const CROSSED: u32 = 2;
/// All bits of an exponent: infinities and NaN.
pub(super) const INFINITE: u32 = 0x7f80_0000;

/// Neurons that are to have rows of their own.
pub struct List {
    /// `[2][capacity]`: image; neuron, with [`NEGATED`] where its upper end is asked for first.
    pub buffer: Buffer,
    /// How many there are, one word; those beyond the capacity are not in the list.
    pub total: Arc<Buffer>,
    pub capacity: usize,
}

impl List {
    /// Of these images and neurons, with [`NEGATED`].
    pub fn of(device: &Device, images: &[u32], neurons: &[u32]) -> Result<List> {
        let buffer = device.upload(&[images, neurons].concat())?;
        let total = Arc::new(device.upload(&[images.len() as u32])?);
        Ok(List { buffer, total, capacity: images.len() })
    }
}

/// Lower and upper ends of `centre ± radius` `[element][lane]`, rounded outward; zeros in lanes beyond `images`, and in those
/// with a mark `[SLICES][lane]`: nothing is asked of them.
pub fn ends(
    device: &Device,
    [centre, radius]: [&Buffer; 2],
    marks: &Buffer,
    [lower, upper]: [&Buffer; 2],
    images: usize,
) -> Result<()> {
    let lanes = marks.len() / SLICES;
    let params = Params { images: images as u32, ..Params::new(Shape::flat(lower.len() / lanes), lanes) };
    device.run(&ENDS, &params, &[centre, radius, marks], &[lower, upper], flat(lower.len()))
}

/// Finds the elements of a value whose sign is open, or `every` one that is no point: `offsets` `[lane][SLICES]` says how many
/// come before those of a lane and slice, `total` how many there are.
pub fn find(
    device: &Device,
    value: Shape,
    [lower, upper]: [&Buffer; 2],
    every: bool,
    [offsets, total]: [&Buffer; 2],
) -> Result<()> {
    let lanes = lower.len() / value.len();
    let params = Params { every: every.into(), ..Params::new(value, lanes) };
    device.run(&COUNT, &params, &[lower, upper], &[offsets], [lanes, SLICES, 1])?;
    device.run(&OFFSETS, &params, &[], &[offsets, total], [1, 1, 1])
}

/// Lists what [`find`] found, negated where the centre is below zero: the sign there is the likelier one, and a row that
/// proves it makes the other needless.
pub fn list(
    device: &Device,
    value: Shape,
    [lower, upper, centre]: [&Buffer; 3],
    every: bool,
    offsets: &Buffer,
    list: &List,
) -> Result<()> {
    let lanes = lower.len() / value.len();
    let params = Params { every: every.into(), capacity: list.capacity as u32, ..Params::new(value, lanes) };
    device.run(&LIST, &params, &[lower, upper, centre, offsets], &[&list.buffer], [lanes, SLICES, 1])
}

/// Rows for the targets of a list from `first` on, all of the other sign if `flip`. Lanes without one repeat the last place,
/// so that their block stays uniform.
pub fn place(device: &Device, value: Shape, list: &List, first: usize, flip: bool, rows: &Rows) -> Result<()> {
    let flip = if flip { NEGATED } else { 0 };
    let params = Params { capacity: list.capacity as u32, first: first as u32, flip, ..Params::new(value, 0) };
    device.run(&PLACE, &params.of_rows(rows), &[&list.buffer, &list.total], &[&rows.buffer], [rows.lanes, 1, 1])
}

/// Coefficients `[channel][row]`: one at the channel of each row, or minus one.
pub fn unit(device: &Device, channels: usize, rows: &Rows, a: &Buffer) -> Result<()> {
    let params = Params::new(Shape::flat(channels), 0).of_rows(rows);
    device.run(&UNIT, &params, &[&rows.buffer], &[a], flat(channels * rows.lanes))
}

/// Raises lower ends `[element][lane]` to the bounds of their rows and cuts upper ones; a bound that is no finite number is
/// a fault.
pub fn put(
    device: &Device,
    value: Shape,
    bounds: &Buffer,
    rows: &Rows,
    [lower, upper]: [&Buffer; 2],
    faults: &Buffer,
) -> Result<()> {
    let params = Params::new(value, lower.len() / value.len()).of_rows(rows);
    device.run(&PUT, &params, &[bounds, &rows.buffer], &[lower, upper, faults], [rows.lanes, 1, 1])
}

/// Which rows have no bound above zero, in order, and how many. The last one is repeated to fill its block of lanes.
pub fn undecided(device: &Device, bounds: &Buffer, rows: &Rows, [which, total]: [&Buffer; 2]) -> Result<()> {
    let params = Params::default().of_rows(rows);
    device.run(&UNDECIDED, &params, &[bounds, &rows.buffer], &[which, total], [1, 1, 1])
}

/// Moves intervals of the listed elements to their ends, or only where ends are `tighter`, radii inflated by a share of
/// |centre|. An interval that would be empty is a fault.
pub fn narrow(
    device: &Device,
    list: &List,
    [lower, upper]: [&Buffer; 2],
    [centre, radius]: [&Buffer; 2],
    faults: &Buffer,
    lanes: usize,
    (tighter, inflate): (bool, f32),
) -> Result<()> {
    let (capacity, every) = (list.capacity as u32, u32::from(!tighter));
    let params = Params { capacity, every, share: inflate, ..Params::new(Shape::flat(1), lanes) };
    let reads = [&list.buffer, &list.total, lower, upper];
    device.run(&NARROW, &params, &reads, &[centre, radius, faults], flat(list.capacity))
}

/// Takes `share` of the magnitude `[element][lane]` of its neuron off every row's bound.
pub fn less(device: &Device, value: Shape, rows: &Rows, magnitude: &Buffer, share: f32, bounds: &Buffer) -> Result<()> {
    let params = Params { share, ..Params::new(value, magnitude.len() / value.len()).of_rows(rows) };
    device.run(&LESS, &params, &[&rows.buffer, magnitude], &[bounds], [rows.lanes, 1, 1])
}

/// Raises bounds `[row]` to others where those are larger, or no numbers: a fault must not hide.
pub fn most(device: &Device, other: &Buffer, bounds: &Buffer) -> Result<()> {
    let params = Params { rows: bounds.len() as u32, ..Params::default() };
    device.run(&MOST, &params, &[other], &[bounds], [bounds.len(), 1, 1])
}

/// Rows from number `first` on of all margins of these classes, one per image, over every other output in order: their
/// coefficients `a` `[output][row]`, and their images in the first lanes of `rows`.
pub fn margins(device: &Device, outputs: usize, classes: &Buffer, first: usize, a: &Buffer, rows: &Rows) -> Result<()> {
    let params = Params { first: first as u32, ..Params::new(Shape::flat(outputs), 0).of_rows(rows) };
    device.run(&MARGINS, &params, &[classes], &[a, &rows.buffer], [rows.lanes, 1, 1])
}
