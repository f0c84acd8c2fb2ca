//! Rows of linear lower bounds on their way back through a network (CROWN; Zhang et al., "Efficient Neural Network
//! Robustness Certification with General Activation Functions", 2018).
//!
//! A row says `target >= sum_k A_k z_k + constant - error` over the values `z` of one layer. Rows are lanes: `A` is
//! `[channel][window row][window column][row]`. A row may see only a window of the layer (a patch): element
//! `(c, y, x)` of the window is element `(c, y + place_y * step_y - offset_y, ..)` of the layer; coefficients that fall
//! outside the layer multiply padding zeros and are dropped. Affine layers are walked by their `input_grad`.
//!
//! `sums` is `[2 * SLICES][lanes]`: constants and errors, one pair of rows per slice of the elements, so that few rows
//! still keep many threads busy. Errors bound every rounding of the walk (`ARCHITECTURE.md`, "Soundness",
//! linear bounds) and are always rounded up.

pub(super) mod case;
pub(super) mod places;
mod radius;
pub(super) mod twin;

pub(super) use case::cases;

use bytemuck::{Pod, Zeroable};

use super::flat;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::rounding::{UNIT, sum_block};
use crate::tensor::Shape;

/// Shares of the elements that accumulate separately.
pub const SLICES: usize = 8;
/// Rows of a workgroup that has a thread for each slice of them.
pub(super) const TOGETHER: usize = 64 / SLICES;

/// Words per neuron in the relaxation table: upper slope, upper intercept, lower slope, and the magnitude against which
/// a walk through the neuron is charged. Which inputs the lines of max pooling are over stands beside the table.
pub const RELAX: usize = 4;

/// The part of a layer that rows have coefficients for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub layer: Shape,
    pub size: [usize; 2],
    pub step: [usize; 2],
    pub offset: [isize; 2],
}

impl Window {
    /// Coefficients for the whole layer.
    pub fn dense(layer: Shape) -> Self {
        Window { layer, size: [layer.height, layer.width], step: [0, 0], offset: [0, 0] }
    }

    pub fn is_dense(&self) -> bool {
        *self == Window::dense(self.layer)
    }

    /// Coefficients per row.
    pub fn elements(&self) -> usize {
        self.layer.channels * self.size[0] * self.size[1]
    }

    /// Coefficients per slice of a row.
    pub fn slice(&self) -> usize {
        self.elements().div_ceil(SLICES)
    }

    /// The window one layer further down, which has so large a kernel.
    pub fn below(&self, layer: Shape, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Window {
        let size = [0, 1].map(|d| (self.size[d] - 1) * stride[d] + kernel[d]);
        let step = [0, 1].map(|d| self.step[d] * stride[d]);
        let offset = [0, 1].map(|d| self.offset[d] * stride[d] as isize + pad[d] as isize);
        Window { layer, size, step, offset }
    }

    /// The least window around two patches that move alike from neuron to neuron.
    pub fn around(&self, other: &Window) -> Option<Window> {
        if self.layer != other.layer || self.step != other.step || self.is_dense() || other.is_dense() {
            return None;
        }
        let offset = [0, 1].map(|d| self.offset[d].max(other.offset[d]));
        let end = |w: &Window, d: usize| w.size[d] as isize - w.offset[d];
        let size = [0, 1].map(|d| (offset[d] + end(self, d).max(end(other, d))) as usize);
        Some(Window { layer: self.layer, size, step: self.step, offset })
    }

    /// This patch as part of a patch around it, of which all rows see the same part.
    pub fn within(&self, around: &Window) -> Window {
        let layer = Shape::new(self.layer.channels, around.size[0], around.size[1]);
        let offset = [0, 1].map(|d| self.offset[d] - around.offset[d]);
        Window { layer, size: self.size, step: [0, 0], offset }
    }

    /// Whether every position and index that kernels derive from this window, for neurons anywhere in `plane`, fits their
    /// 32-bit words. Steps multiply from layer to layer, so that a few wide strides go beyond any word.
    pub fn fits(&self, plane: [usize; 2]) -> bool {
        const MOST: f64 = (1u32 << 30) as f64;
        let reach = |d: usize| {
            plane[d] as f64 * self.step[d] as f64 + self.size[d] as f64 + self.offset[d].unsigned_abs() as f64
        };
        let elements = self.layer.channels as f64 * self.size[0] as f64 * self.size[1] as f64;
        reach(0).max(reach(1)).max(elements) <= MOST
    }
}

/// Which neuron each row bounds.
pub struct Rows {
    pub count: usize,
    pub lanes: usize,
    /// Height and width of the plane that the neurons are in.
    pub plane: [usize; 2],
    /// `[3][lanes]`: image, then row and column of the neuron in its plane. Of rows that start at neurons a fourth: the
    /// channel, with [`NEGATED`] for a lower bound of the negated neuron, [`NONE`] for unused lanes.
    pub buffer: Buffer,
}

impl Rows {
    /// Rows that see whole layers of `images`, one per lane.
    pub fn whole(device: &Device, count: usize, mut images: Vec<u32>) -> Result<Rows> {
        let lanes = images.len();
        images.resize(3 * lanes, 0);
        Ok(Rows { count, lanes, plane: [1, 1], buffer: device.upload(&images)? })
    }
}

/// What kernels are told of a window, in this order; `shaders/lib/window.wgsl` reads it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Span {
    pub channels: u32,
    pub height: u32,
    pub width: u32,
    pub size_y: u32,
    pub size_x: u32,
    pub step_y: u32,
    pub step_x: u32,
    pub offset_y: i32,
    pub offset_x: i32,
    pub lanes: u32,
}

impl Span {
    pub fn new(window: &Window, lanes: usize) -> Self {
        Span {
            channels: window.layer.channels as u32,
            height: window.layer.height as u32,
            width: window.layer.width as u32,
            size_y: window.size[0] as u32,
            size_x: window.size[1] as u32,
            step_y: window.step[0] as u32,
            step_x: window.step[1] as u32,
            offset_y: window.offset[0] as i32,
            offset_x: window.offset[1] as i32,
            lanes: lanes as u32,
        }
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Params {
    pub span: Span,
    /// Always zero: makes the border between blocks of a sum opaque.
    pub zero: u32,
    /// Products summed before the partial sum is set aside.
    pub block: u32,
    /// Relative error charged against the magnitudes of the sum.
    pub g: f32,
    /// Unit roundoff.
    pub unit: f32,
    /// Absolute error for flushed subnormals.
    pub floor: f32,
    /// Relative error charged against the magnitudes in a relaxation table. Of a ball: what of the image a row is over, all
    /// of it or, where it is over distances from the image, nothing. Of rows over cut sets: one if weights are wanted.
    pub charge: f32,
}

impl Params {
    /// For sums of `products`.
    pub fn new(window: &Window, products: usize, lanes: usize, g: f32) -> Self {
        Params {
            span: Span::new(window, lanes),
            zero: 0,
            block: sum_block(products) as u32,
            g,
            unit: UNIT as f32,
            floor: 0.0,
            charge: 0.0,
        }
    }
}

impl std::ops::Deref for Params {
    type Target = Span;
    fn deref(&self) -> &Span {
        &self.span
    }
}

const SOURCE: &str = shader!("linear", "flat", "opaque", "rounding", "scalars", "slices", "sums", "window");

const fn kernel(name: &'static str, entry: &'static str, reads: usize, writes: usize) -> Kernel {
    Kernel::of::<Params>(SOURCE, name, entry, [reads, writes], twin::seed)
}

/// Starts rows at the outputs of an affine layer: `A = ± weights of the neuron`. Reads w, b, rows; writes A, sums.
pub static SEED: Kernel = kernel("linear_seed", "seed", 3, 2);
/// Through a ReLU, with constants and charges of the layer below. Reads the relaxation table, bias, rows; changes A,
/// sums.
pub static RELU: Kernel = Kernel { twin: twin::relu, ..kernel("linear_relu", "relu", 3, 2) };
/// Intercepts of the lines below an activation. Reads feet, rows, A; changes sums.
pub static LIFT: Kernel = Kernel { twin: twin::lift, ..kernel("linear_lift", "lift", 3, 1) };
/// Constants and charges of an affine layer; clears coefficients outside the layer. Reads bias, magnitudes, rows;
/// changes A, sums.
pub static AFFINE: Kernel = Kernel { twin: twin::affine, ..kernel("linear_affine", "affine", 3, 2) };
/// Lower bounds over boxes. Reads A, centres, radii, rows, sums; writes lower.
pub static CONCRETIZE: Kernel = Kernel { twin: twin::concretize, ..kernel("linear_concretize", "concretize", 5, 1) };
/// Lower bound over a clipped ball, and the largest radius it proves. Reads A, x, deltas, rows, sums; writes result.
pub static RADIUS: Kernel = Kernel { twin: radius::radius, ..kernel("linear_radius", "radius", 5, 1) };
/// Patches to whole layers. Reads A, rows; writes A.
pub static DENSIFY: Kernel = Kernel { twin: twin::densify, ..kernel("linear_densify", "densify", 2, 1) };
/// Some lanes by themselves. Reads values by lane, sources; writes values by lane.
pub static PICK: Kernel = Kernel { twin: twin::pick, ..kernel("linear_pick", "pick", 2, 1) };

pub static KERNELS: &[&Kernel] = &[&SEED, &RELU, &LIFT, &AFFINE, &CONCRETIZE, &RADIUS, &DENSIFY, &PICK];

/// Bit of a row's channel that asks for a lower bound of the *negated* neuron.
pub const NEGATED: u32 = 1 << 31;
/// Channel of an unused lane, or no lane.
pub const NONE: u32 = u32::MAX;
/// Keeps candidates for the radius on the safe side of the root.
pub(super) const CAUTION: f32 = 0.99999;
/// Share of a sum's relative error that a candidate shrinks by where it fails: so much that one of the next is below it.
pub(super) const SHRINK: f32 = 0.7;

/// Starts rows for neurons of an affine layer with packed weights `w` `[in][taps][out]`, at the channels that the fourth part of
/// `rows` names. `a` gets `[inputs * taps][lanes]`.
#[allow(clippy::too_many_arguments)]
pub fn seed(
    device: &Device,
    window: &Window,
    outputs: usize,
    w: &Buffer,
    b: &Buffer,
    rows: &Rows,
    a: &Buffer,
    sums: &Buffer,
) -> Result<()> {
    // The output channels travel in `step_y`, which a seed has no other use for.
    let span = Span { step_y: outputs as u32, ..Span::new(window, rows.lanes) };
    let params = Params { span, ..Params::new(window, 0, rows.lanes, 0.0) };
    device.run(&SEED, &params, &[w, b, &rows.buffer], &[a, sums], [rows.lanes, SLICES, 1])
}

/// `A_k z_k >= A_k * slope_k * x_k + min(A_k, 0) * intercept_k` with the row's image's entry of `table`
/// `[image][element][RELAX]`; then, for the new coefficients, what [`affine`] does with `bias` and the table's
/// magnitudes. `g` bounds the relative error of the intercept sum, `charge` is the `g` of [`affine`].
#[allow(clippy::too_many_arguments)]
pub fn relu(
    device: &Device,
    window: &Window,
    table: &Buffer,
    bias: &Buffer,
    rows: &Rows,
    a: &Buffer,
    sums: &Buffer,
    g: f32,
    charge: f32,
) -> Result<()> {
    let params = Params { charge, ..Params::new(window, window.slice(), rows.lanes, g) };
    device.run(&RELU, &params, &[table, bias, &rows.buffer], &[a, sums], [rows.lanes, SLICES, 1])
}

/// Adds `sum max(A_k, 0) * foot_k` to the constant, with `feet` `[image][element]`: what the lines below an activation need
/// beside [`relu`], which comes after it. `g` bounds the relative error of the sum.
pub fn lift(
    device: &Device,
    window: &Window,
    feet: &Buffer,
    rows: &Rows,
    a: &Buffer,
    sums: &Buffer,
    g: f32,
) -> Result<()> {
    let params = Params::new(window, window.slice(), rows.lanes, g);
    device.run(&LIFT, &params, &[feet, &rows.buffer, a], &[sums], [rows.lanes, SLICES, 1])
}

/// Adds `sum A_k bias_k` to the constant and `g * sum |A_k| magnitude_k` to the error, where `magnitude`
/// `[image][element]` bounds `|W| |x| + |b|` and `bias` is `[element]`.
#[allow(clippy::too_many_arguments)]
pub fn affine(
    device: &Device,
    window: &Window,
    bias: &Buffer,
    magnitude: &Buffer,
    rows: &Rows,
    a: &Buffer,
    sums: &Buffer,
    g: f32,
) -> Result<()> {
    let params = Params::new(window, window.slice(), rows.lanes, g);
    device.run(&AFFINE, &params, &[bias, magnitude, &rows.buffer], &[a, sums], [rows.lanes, SLICES, 1])
}

/// Lower bound of every row over the boxes `centre ± radius` `[image][element]`; `g` bounds the relative error of a sum
/// over the window.
#[allow(clippy::too_many_arguments)]
pub fn concretize(
    device: &Device,
    window: &Window,
    a: &Buffer,
    [centre, radius]: [&Buffer; 2],
    rows: &Rows,
    sums: &Buffer,
    lower: &Buffer,
    g: f32,
    floor: f32,
) -> Result<()> {
    let params = Params { floor, ..Params::new(window, window.elements(), rows.lanes, g) };
    device.run(&CONCRETIZE, &params, &[a, centre, radius, &rows.buffer, sums], &[lower], flat(SLICES * rows.lanes))
}

/// Balls that rows are least over.
pub struct Ball<'a> {
    /// `[image][element]`.
    pub image: &'a Buffer,
    /// Radii `[image]`.
    pub delta: &'a Buffer,
    /// Whether rows are over distances from the image.
    pub is_origin: bool,
}

/// For dense rows over the input: `result` `[2][lanes]` gets the lower bound over the ball of its image clipped to `[0,1]`,
/// and the largest radius (possibly beyond delta, where the linear form itself no longer holds) at which the linear form
/// is proved positive.
#[allow(clippy::too_many_arguments)]
pub fn radius(
    device: &Device,
    layer: Shape,
    a: &Buffer,
    ball: &Ball<'_>,
    rows: &Rows,
    sums: &Buffer,
    result: &Buffer,
    g: f32,
    floor: f32,
) -> Result<()> {
    let charge = if ball.is_origin { 0.0 } else { 1.0 };
    let params = Params { floor, charge, ..Params::new(&Window::dense(layer), layer.len(), rows.lanes, g) };
    device.run(&RADIUS, &params, &[a, ball.image, ball.delta, &rows.buffer, sums], &[result], flat(SLICES * rows.lanes))
}

/// Spreads patches over whole layers: `dense` `[element][lanes]`.
pub fn densify(device: &Device, window: &Window, a: &Buffer, rows: &Rows, dense: &Buffer) -> Result<()> {
    let params = Params::new(window, 0, rows.lanes, 0.0);
    device.run(&DENSIFY, &params, &[a, &rows.buffer], &[dense], flat(rows.lanes * window.layer.len()))
}

/// `to[element][lane] = from[element][source[lane]]`, for so many lanes of both, old and new; [`NONE`] leaves what is there.
pub fn pick(device: &Device, from: &Buffer, source: &Buffer, to: &Buffer, [old, new]: [usize; 2]) -> Result<()> {
    // The lanes picked from travel in `width`, as no window is needed.
    let window = Window::dense(Shape::new(to.len() / new, 1, old));
    device.run(&PICK, &Params::new(&window, 0, new, 0.0), &[from, source], &[to], flat(to.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_side_by_side_keep_every_coefficient_at_its_place() {
        let (layer, step, lanes) = (Shape::new(2, 9, 9), [1, 1], 16);
        let patch = |size, offset| Window { layer, size, step, offset };
        // A skip connection beside two convolutions, and windows of which neither holds the other.
        for (a, b) in [(patch([1, 1], [0, 0]), patch([5, 5], [2, 2])), (patch([3, 2], [2, 0]), patch([2, 4], [0, 1]))] {
            let both = a.around(&b).unwrap();
            let d = Device::cpu();
            let place: Vec<u32> = (0..3 * lanes as u32).map(|i| if i < 16 { 0 } else { i % 9 }).collect();
            let rows = Rows { count: lanes, lanes, plane: [9, 9], buffer: d.upload(&place).unwrap() };
            for window in [a, b] {
                let values: Vec<f32> = (1..=window.elements() * lanes).map(|i| i as f32).collect();
                let values = d.upload(&values).unwrap();
                let spread = |window: &Window, values: &Buffer| -> Vec<f32> {
                    let dense = d.alloc(layer.len() * lanes).unwrap();
                    densify(&d, window, values, &rows, &dense).unwrap();
                    d.read(&dense).unwrap()
                };
                let wide = d.alloc(both.elements() * lanes).unwrap();
                densify(&d, &window.within(&both), &values, &rows, &wide).unwrap();
                assert_eq!(spread(&both, &wide), spread(&window, &values));
            }
        }
        let (small, strided) = (patch([1, 1], [0, 0]), Window { step: [2, 2], ..patch([1, 1], [0, 0]) });
        assert!(small.around(&strided).is_none() && small.around(&Window::dense(layer)).is_none());
    }
}
