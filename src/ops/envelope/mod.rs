//! Upper lines of ReLUs over boxes, a line for each row: the concave envelope of `relu(W x + b)` over a box of inputs says
//! more than the triangle over the interval of `W x + b` (Tjandraatmadja et al., "The Convex Relaxation Barrier,
//! Revisited", 2020; by batches on devices, De Palma et al., "Scaling the Convex Barrier with Active Sets", 2021).
//!
//! For any shares `theta` in `[0,1]` of the inputs, `c` and `r` centre and radius of the box, and `t = sum theta |W| r`,
//!
//! ```text
//! relu(W x + b) <= relu(u - 2 t) + t + sum theta W (x - c),    u the largest value of W x + b,
//! ```
//!
//! since `relu(s + v) <= relu(s) + v` for `v >= 0`. Equal shares `u / (2 sum |W| r)` are the triangle. The shares of a row are
//! `clamp(shift - sign(W) anchor, 0, 1)`: its anchor, a number for every input, grows towards the corner of the box where the
//! row is least, and what already stands there takes less of a share; the shift of each neuron is such that `2 t = u`, which is
//! best. The anchor moves as slopes do. Any anchor is sound, any shift too, so that neither has to be exact: what counts is
//! that all kernels here make the same shares of them.

pub(super) mod case;
mod twin;

pub(super) use case::cases;

use bytemuck::{Pod, Zeroable};

use super::linear::{RELAX, Rows, SLICES, Span, Window};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::rounding::{UNIT, sum_block};
use crate::tensor::Shape;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// Of the input.
    elements: u32,
    lanes: u32,
    neurons: u32,
    /// Always zero: makes the border between blocks of a sum opaque.
    zero: u32,
    /// Products summed before the partial sum is set aside: over inputs, and over neurons.
    block: u32,
    neuron_block: u32,
    unit: f32,
    /// How far anchors move.
    rate: f32,
    /// Relative error charged against the magnitudes of neurons.
    charge: f32,
    /// Rows that are there.
    count: u32,
}

impl Params {
    /// The input, for whoever looks up what rows see of it: all.
    fn span(&self) -> Span {
        Span::new(&Window::dense(Shape::flat(self.elements as usize)), self.lanes as usize)
    }
}

const fn kernel(name: &'static str, entry: &'static str, counts: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(shader!("envelope", "opaque", "rounding", "scalars", "slices"), name, entry, counts, twin)
}

/// Largest values of neurons over boxes. Reads weights, bias, centres, radii; writes the ends.
pub static ENDS: Kernel = kernel("envelope_ends", "box_ends", [4, 1], twin::ends);
/// Takes the neurons whose upper line is to be one of these, with their shifts. Reads weights, radii, anchors, ends, lines, rows;
/// changes A above the ReLU, writes what was taken.
pub static TAKE: Kernel = kernel("envelope_take", "take", [6, 2], twin::take);
/// Coefficients over the input. Reads what was taken, weights, anchors, rows; writes A.
pub static THROUGH: Kernel = kernel("envelope_through", "through", [4, 1], twin::through);
/// Adds those to the row. Reads what was taken, its A, centres, radii, lines, rows; changes A, sums.
pub static JOIN: Kernel = kernel("envelope_join", "join", [6, 2], twin::join);
/// Moves anchors. Reads A, radii, rows; changes anchors.
pub static MOVE: Kernel = kernel("envelope_move", "move_anchor", [3, 1], twin::move_anchor);
/// Where anchors point to. Reads anchors, centres, radii, rows; writes the points.
pub static POINT: Kernel = kernel("envelope_point", "point", [4, 1], twin::point);

pub static KERNELS: &[&Kernel] = &[&ENDS, &TAKE, &THROUGH, &JOIN, &MOVE, &POINT];

/// Words per neuron of what boxes make of it: its largest value, and how far that is from the one at the centre.
pub const ENDS_WORDS: usize = 2;
/// The word of a line that charges are taken against.
const MAGNITUDE: usize = RELAX - 1;
/// Planes of what was taken: coefficients above the ReLU, zero where the triangle stays; shifts; constants.
pub const TAKEN: usize = 3;

/// Anchors are at most this in magnitude.
pub(super) const FARTHEST_ANCHOR: f32 = 2.0;
/// Where lines are compared: the corner that the anchor points to, reached at this share of one.
pub(super) const ARRIVED: f32 = 0.8;
/// Of what moves anchors: so many times the mean coefficient counts as one.
pub(super) const STEADY: f32 = 2.0;
/// The least share of a neuron's span that is taken for the slope of `t` by the shift.
pub(super) const FLATTEST: f32 = 1e-3;
/// Makes of the distance of a share from its ends whether it is between them.
pub(super) const BETWEEN: f32 = 1e4;

/// A dense layer behind a ReLU, over the input of a network, and boxes of that.
pub struct Layer<'a> {
    pub input: Shape,
    pub neurons: usize,
    /// `[input][neuron]`.
    pub weight: &'a Buffer,
    pub bias: &'a Buffer,
    /// `[image][input]`.
    pub centre: &'a Buffer,
    pub radius: &'a Buffer,
}

impl Layer<'_> {
    fn params(&self, lanes: usize) -> Params {
        let elements = self.input.len();
        Params {
            elements: elements as u32,
            lanes: lanes as u32,
            neurons: self.neurons as u32,
            zero: 0,
            block: sum_block(elements) as u32,
            neuron_block: sum_block(self.neurons) as u32,
            unit: UNIT as f32,
            rate: 0.0,
            charge: 0.0,
            count: 0,
        }
    }

    /// For every image `[image][neuron][ENDS_WORDS]`, as far as f32 can tell.
    pub fn ends(&self, device: &Device, ends: &Buffer) -> Result<()> {
        let images = ends.len() / (self.neurons * ENDS_WORDS);
        let reads = [self.weight, self.bias, self.centre, self.radius];
        device.run(&ENDS, &self.params(images), &reads, &[ends], [self.neurons, images, 1])
    }

    /// Of the coefficients `a` `[neuron][row]` above a ReLU of these lines `[image][neuron][RELAX]`, those of neurons on which a row
    /// of this anchor `[image][input]` has a better upper line go to `taken` `[TAKEN][neuron][row]`, and are zero in `a` then.
    #[allow(clippy::too_many_arguments)]
    pub fn take(
        &self,
        device: &Device,
        anchor: &Buffer,
        ends: &Buffer,
        lines: &Buffer,
        rows: &Rows,
        a: &Buffer,
        taken: &Buffer,
    ) -> Result<()> {
        let reads = [self.weight, self.radius, anchor, ends, lines, &rows.buffer];
        device.run(&TAKE, &self.params(rows.lanes), &reads, &[a, taken], [rows.lanes, self.neurons, 1])
    }

    /// Their coefficients over the input, `[input][row]`.
    pub fn through(&self, device: &Device, taken: &Buffer, anchor: &Buffer, rows: &Rows, own: &Buffer) -> Result<()> {
        let reads = [taken, self.weight, anchor, &rows.buffer];
        device.run(&THROUGH, &self.params(rows.lanes), &reads, &[own], [rows.lanes, self.input.len(), 1])
    }

    /// Adds these to those that a row has already, with their constants and errors: `charge` bounds what coefficients, constants
    /// and values are off by against the magnitudes of neurons in their lines.
    #[allow(clippy::too_many_arguments)]
    pub fn join(
        &self,
        device: &Device,
        taken: &Buffer,
        own: &Buffer,
        lines: &Buffer,
        rows: &Rows,
        [a, sums]: [&Buffer; 2],
        charge: f32,
    ) -> Result<()> {
        let params = Params { charge, ..self.params(rows.lanes) };
        let reads = [taken, own, self.centre, self.radius, lines, &rows.buffer];
        device.run(&JOIN, &params, &reads, &[a, sums], [rows.lanes, SLICES, 1])
    }

    /// The points `[input][row]` of the boxes that anchors point to: about where rows are least, between corners where these
    /// compete for it.
    pub fn point(&self, device: &Device, anchor: &Buffer, rows: &Rows, x: &Buffer) -> Result<()> {
        let reads = [anchor, self.centre, self.radius, &rows.buffer];
        device.run(&POINT, &self.params(rows.lanes), &reads, &[x], [rows.lanes, self.input.len(), 1])
    }

    /// Moves the anchor of every row's image towards the corner where the row is least. Each row has an image of its own.
    pub fn move_anchor(&self, device: &Device, a: &Buffer, rows: &Rows, anchor: &Buffer, rate: f32) -> Result<()> {
        let params = Params { rate, count: rows.count as u32, ..self.params(rows.lanes) };
        device.run(&MOVE, &params, &[a, self.radius, &rows.buffer], &[anchor], [rows.count, 1, 1])
    }
}
