//! Backward walks: rows of linear lower bounds from some value down to the input box.

use super::Bounds;
use super::forward::{FOLDING_UNIT, State};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::model::{Model, ValueId};
use crate::network::{Affine, Placed};
use crate::ops::conv::{self, Geometry};
use crate::ops::linear::{self, Rows, Window};
use crate::ops::{add, gather, pool, range, scale, select, signs};
use crate::rounding::to_f32_up;
use crate::tensor::{self, Shape};

/// Coefficients over one value.
pub(super) struct Coefficients {
    pub a: Buffer,
    pub window: Window,
}

/// What a walk leaves behind.
pub(super) struct Keep {
    /// Coefficients above every ReLU, activation and max pooling, by node.
    pub above: Vec<Option<Coefficients>>,
    /// By value, for those that were walked through.
    pub windows: Vec<Option<Window>>,
}

impl Keep {
    pub fn new(model: &Model) -> Keep {
        let nodes = model.nodes.len();
        Keep { above: (0..nodes).map(|_| None).collect(), windows: vec![None; nodes + 1] }
    }
}

/// A patch this much of its layer is spread over the whole layer: denser arithmetic, one image per register.
const DENSE_SHARE: f64 = 0.5;

impl State<'_> {
    /// Margin rows (coefficients over the logits): lower bounds and, for balls walked down to the input, reaches;
    /// also the slopes over the input if asked for and known.
    pub fn finish(&self, a: Buffer, rows: &Rows, sums: &Buffer, slopes: bool) -> Result<Bounds> {
        let model = &self.bounder.net.model;
        let stop = if self.bounder.method.relaxes() { 0 } else { self.frontier() };
        let start = Coefficients { a, window: Window::dense(model.shape(model.output())) };
        let end = self.walk(model.output(), start, rows, sums, stop, None)?;
        let Some((images, delta)) = self.boxes.ball.as_ref().filter(|_| stop == 0) else {
            let lower = self.concretize(stop, &end, rows, sums)?;
            let slopes = if slopes && stop == 0 {
                let end = self.densify(end, rows)?;
                let a: Vec<f32> = self.bounder.device().read(&end.a)?;
                tensor::deinterleave(&a, end.window.elements(), rows.count)
            } else {
                vec![]
            };
            return Ok(Bounds { lower, reach: None, slopes });
        };
        let end = self.densify(end, rows)?;
        let d = self.bounder.device();
        let g = self.bounder.sum_error(end.window.elements());
        let result = d.alloc(2 * rows.lanes)?;
        let (layer, floor) = (end.window.layer, self.bounder.floor());
        linear::radius(d, layer, &end.a, images, delta, rows, sums, &result, g, floor)?;
        let mut lower: Vec<f32> = d.read(&result)?;
        let reach = lower.split_off(rows.lanes);
        Ok(Bounds { lower, reach: Some(reach), slopes: vec![] })
    }

    /// Walks rows over the logits down to the input; returns their coefficients above every nonlinear layer, by node, and
    /// over the input, all for whole layers.
    pub fn walk_and_keep(&self, a: Buffer, rows: &Rows, sums: &Buffer) -> Result<(Vec<Option<Buffer>>, Buffer)> {
        let model = &self.bounder.net.model;
        let start = Coefficients { a, window: Window::dense(model.shape(model.output())) };
        let mut keep = Keep::new(model);
        // Rows that start as whole layers stay so.
        let end = self.walk(model.output(), start, rows, sums, 0, Some(&mut keep))?;
        Ok((keep.above.into_iter().map(|c| c.map(|c| c.a)).collect(), end.a))
    }

    /// The window one affine layer further down.
    fn next_window(&self, affine: &Affine, window: &Window, input: ValueId) -> Window {
        let g = &affine.geometry;
        if window.is_dense() || is_dense_layer(g) {
            return Window::dense(self.bounder.net.model.shape(input));
        }
        let size = |d: usize| (window.size[d] - 1) * g.stride[d] + g.kernel[d];
        let offset = |d: usize| window.offset[d] * g.stride[d] as isize + g.pad[d] as isize;
        let step = |d: usize| window.step[d] * g.stride[d];
        Window { layer: g.input, size: [size(0), size(1)], step: [step(0), step(1)], offset: [offset(0), offset(1)] }
    }

    /// Most coefficients per row on the way from `value` to the input.
    pub fn widest(&self, value: ValueId) -> usize {
        (0..=value).map(|v| self.bounder.net.model.shape(v).len()).max().unwrap_or(1)
    }

    /// Walks rows from a value down to `stop`. What is kept of them has the windows that the layer below asks for.
    pub fn walk(
        &self,
        from: ValueId,
        start: Coefficients,
        rows: &Rows,
        sums: &Buffer,
        stop: ValueId,
        mut keep: Option<&mut Keep>,
    ) -> Result<Coefficients> {
        let (net, d) = (&self.bounder.net, self.bounder.device());
        let mut at: Vec<Option<Coefficients>> = (0..=from).map(|_| None).collect();
        at[from] = Some(start);
        for value in (stop + 1..=from).rev() {
            let Some(c) = at[value].take() else { continue };
            if c.window.layer != net.model.shape(value) {
                return Err(Error::device("coefficients have another shape than the value they are over"));
            }
            let i = value - 1;
            let inputs = &net.model.nodes[i].inputs;
            self.charge_folding(i, &c, rows, sums)?;
            let c = match &mut keep {
                Some(keep) => {
                    let c = self.spread_for(if by_itself(net.layer(i)) { inputs[0] } else { value }, c, rows)?;
                    keep.windows[value] = Some(c.window);
                    c
                }
                None => c,
            };
            let below = |k: usize| -> Result<Coefficients> {
                let window = Window::dense(net.model.shape(inputs[k]));
                Ok(Coefficients { a: d.alloc(window.elements() * rows.lanes)?, window })
            };
            match net.layer(i) {
                Placed::Relu => {
                    if let Some(keep) = &mut keep {
                        keep.above[i] = Some(self.copy(&c)?);
                    }
                    if let Some(s) = &self.signs[i] {
                        // Only rows over the logits are walked under assumptions, and those are whole layers.
                        signs::assume(d, rows, [&s.targets, &s.beta], self.boxes.lanes, &c.a)?;
                    }
                    let c = self.through_relu(i, c, rows, sums)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                }
                Placed::Activation(_) => {
                    if let Some(keep) = &mut keep {
                        keep.above[i] = Some(self.copy(&c)?);
                    }
                    linear::lift(
                        d,
                        &c.window,
                        self.feet(i),
                        rows,
                        &c.a,
                        sums,
                        self.bounder.sum_error(c.window.slice()),
                    )?;
                    let c = self.through_relu(i, c, rows, sums)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                }
                Placed::Affine(affine) => {
                    let charged = value != from && self.charged_above(i);
                    let c = self.through_affine(i, affine, c, rows, sums, charged)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                }
                Placed::Add => {
                    if self.bounder.deployed(i) > 0.0 {
                        self.charge_value(value, &c, rows, sums, self.bounder.deployed(i))?;
                    }
                    let copy = self.copy(&c)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                    self.deposit(&mut at, i, inputs[1], copy, rows, sums)?;
                }
                Placed::Scale { scale, shift, .. } => {
                    let c = self.densify(c, rows)?;
                    let g = self.bounder.sum_error(c.window.slice()) + self.bounder.deployed(i);
                    self.charge(i, &c, shift, rows, sums, g * 1.01)?;
                    let next = below(0)?;
                    scale::backward(d, &c.a, scale, &next.a, rows.lanes)?;
                    self.deposit(&mut at, i, inputs[0], next, rows, sums)?;
                }
                Placed::AvgPool(g) => {
                    let c = self.densify(c, rows)?;
                    let zero = d.zeros(c.window.elements())?;
                    let shares = if self.bounder.sound { to_f32_up(g.share_error()) } else { 0.0 };
                    let shares = shares + self.bounder.deployed(i);
                    self.charge(i, &c, &zero, rows, sums, (shares + self.bounder.sum_error(c.window.slice())) * 1.01)?;
                    let next = below(0)?;
                    pool::average_backward(d, g, &c.a, &next.a, rows.lanes)?;
                    self.deposit(&mut at, i, inputs[0], next, rows, sums)?;
                }
                Placed::Gather(moves) => {
                    let c = self.densify(c, rows)?;
                    for (k, m) in moves.iter().enumerate() {
                        let next = below(k)?;
                        gather::forward(d, &c.a, &m.backward, &next.a, rows.lanes, false)?;
                        self.deposit(&mut at, i, inputs[k], next, rows, sums)?;
                    }
                }
                Placed::MaxPool(g) => {
                    let c = self.densify(c, rows)?;
                    if let Some(keep) = &mut keep {
                        keep.above[i] = Some(self.copy(&c)?);
                    }
                    let [table, picks] = self.peaks(i);
                    let terms = self.bounder.sum_error(c.window.slice());
                    let zero = d.zeros(c.window.layer.len())?;
                    let charge = self.bounder.chain_error(select::roundings(g)) * 1.01;
                    linear::relu(d, &c.window, table, &zero, rows, &c.a, sums, terms, charge)?;
                    let next = below(0)?;
                    select::route(d, g, &c.a, picks, rows, &next.a)?;
                    self.deposit(&mut at, i, inputs[0], next, rows, sums)?;
                }
            }
        }
        match at[stop].take() {
            Some(c) => Ok(c),
            // No path reaches the input: the rows are constants.
            None => {
                let window = Window::dense(net.model.shape(stop));
                Ok(Coefficients { a: d.zeros(window.elements() * rows.lanes)?, window })
            }
        }
    }

    /// Whether constants and charges of affine node `i` are taken on the way through the ReLU above: where nothing else
    /// reads the node.
    pub fn charged_above(&self, i: usize) -> bool {
        let net = &self.bounder.net;
        let mut readers = net.model.nodes.iter().enumerate().filter(|(_, n)| n.inputs.contains(&(i + 1)));
        let relu = readers.next().is_some_and(|(r, _)| matches!(net.layer(r), Placed::Relu));
        relu && readers.next().is_none() && matches!(net.layer(i), Placed::Affine(_))
    }

    /// Through the lines of a ReLU or an activation, [`linear::lift`] apart.
    fn through_relu(&self, i: usize, c: Coefficients, rows: &Rows, sums: &Buffer) -> Result<Coefficients> {
        let (bounder, d) = (self.bounder, self.bounder.device());
        let table = self.relaxations[i].as_ref().expect("relaxed on the way forward");
        let g = bounder.sum_error(c.window.slice());
        let below = bounder.net.model.nodes[i].inputs[0];
        let zero;
        let (bias, charge) = match below.checked_sub(1).map(|b| (b, bounder.net.layer(b))) {
            Some((b, Placed::Affine(affine))) if self.charged_above(b) => {
                (&affine.bias_values, self.affine_charge(b, affine, &c))
            }
            // Products with slopes are charged here: where paths join below, coefficients may cancel, their errors not.
            _ => {
                zero = d.zeros(c.window.layer.len())?;
                (&zero, bounder.chain_error(1))
            }
        };
        linear::relu(d, &c.window, table, bias, rows, &c.a, sums, g, charge)?;
        Ok(c)
    }

    /// Relative error of a walk through an affine layer, against its magnitudes: the products of the walk, with room for
    /// the slopes multiplied in above, the sum of constants, and what runtimes may be off by.
    fn affine_charge(&self, i: usize, affine: &Affine, c: &Coefficients) -> f32 {
        let constants = self.bounder.sum_error(c.window.slice());
        (self.bounder.sum_error(affine.geometry.fan_out()) + constants + self.bounder.deployed(i)) * 1.01
    }

    fn through_affine(
        &self,
        i: usize,
        affine: &Affine,
        c: Coefficients,
        rows: &Rows,
        sums: &Buffer,
        charged: bool,
    ) -> Result<Coefficients> {
        let d = self.bounder.device();
        let input = self.bounder.net.model.nodes[i].inputs[0];
        let c = self.spread_for(i + 1, c, rows)?;
        let next = self.next_window(affine, &c.window, input);
        if !charged {
            self.charge(i, &c, &affine.bias_values, rows, sums, self.affine_charge(i, affine, &c))?;
        }
        let a = d.alloc(next.elements() * rows.lanes)?;
        let geometry = patch_geometry(&affine.geometry, &c.window, &next);
        self.bounder.count(geometry.products() * rows.count);
        conv::input_grad(d, &geometry, &c.a, &affine.weight, &a, rows.lanes)?;
        Ok(Coefficients { a, window: next })
    }

    /// Whole layers in place of patches, if the affine layer behind `value` makes them nearly that.
    fn spread_for(&self, value: ValueId, c: Coefficients, rows: &Rows) -> Result<Coefficients> {
        let Some(Placed::Affine(affine)) = value.checked_sub(1).map(|i| self.bounder.net.layer(i)) else {
            return Ok(c);
        };
        let next = self.next_window(affine, &c.window, self.bounder.net.model.nodes[value - 1].inputs[0]);
        let wide = || next.elements() as f64 >= DENSE_SHARE * next.layer.len() as f64;
        if !next.fits(rows.plane) || wide() { self.densify(c, rows) } else { Ok(c) }
    }

    /// Constants and rounding charges of node `i`, whose coefficients are `c`.
    fn charge(&self, i: usize, c: &Coefficients, bias: &Buffer, rows: &Rows, sums: &Buffer, g: f32) -> Result<()> {
        let table = self.magnitudes[i].as_ref().expect("computed on the way forward");
        let d = self.bounder.device();
        linear::affine(d, &c.window, bias, table, rows, &c.a, sums, g)
    }

    /// Charges coefficients over the output of node `i`, whatever its kind, for the distance of its layer from that of the
    /// file.
    fn charge_folding(&self, i: usize, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<()> {
        let Some(folding) = &self.foldings[i] else { return Ok(()) };
        let d = self.bounder.device();
        let zero = d.zeros(c.window.layer.len())?;
        linear::affine(d, &c.window, &zero, folding, rows, &c.a, sums, FOLDING_UNIT)
    }

    /// Charges coefficients over `value` for a relative error of theirs or of the value.
    fn charge_value(&self, value: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer, error: f32) -> Result<()> {
        let d = self.bounder.device();
        let table = self.table(&self.size(value)?)?;
        let zero = d.zeros(c.window.layer.len())?;
        linear::affine(d, &c.window, &zero, &table, rows, &c.a, sums, error)
    }

    /// Adds coefficients that come from node `from` to what is already known about `value`. A layer that goes by elements may read a value in another
    /// shape than it has, such as a flattened image: patches of the one mean nothing to the other.
    fn deposit(
        &self,
        at: &mut [Option<Coefficients>],
        from: usize,
        value: ValueId,
        c: Coefficients,
        rows: &Rows,
        sums: &Buffer,
    ) -> Result<()> {
        let shape = self.bounder.net.model.shape(value);
        let c = if c.window.layer == shape {
            c
        } else {
            Coefficients { window: Window::dense(shape), ..self.densify(c, rows)? }
        };
        if self.bounder.net.spread(from) > 1.0 {
            self.watch_rows(value, &c, rows, sums)?;
        }
        at[value] = Some(match at[value].take() {
            None => c,
            Some(other) => {
                let (sum, c) = (self.densify(other, rows)?, self.densify(c, rows)?);
                add::accumulate(self.bounder.device(), &c.a, &sum.a)?;
                self.charge_value(value, &sum, rows, sums, self.bounder.chain_error(1))?;
                self.watch_rows(value, &sum, rows, sums)?;
                sum
            }
        });
        Ok(())
    }

    /// Rows whose coefficients over `value` leave the range in which sums cannot overflow prove nothing.
    fn watch_rows(&self, value: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<()> {
        if self.bounder.range.watches_coefficients(value) {
            range::rows(self.bounder.device(), &c.a, sums, rows.lanes)?;
        }
        Ok(())
    }

    fn copy(&self, c: &Coefficients) -> Result<Coefficients> {
        let a = self.bounder.device().alloc(c.a.len())?;
        self.bounder.device().copy(&c.a, &a)?;
        Ok(Coefficients { a, window: c.window })
    }

    pub fn densify(&self, c: Coefficients, rows: &Rows) -> Result<Coefficients> {
        if c.window.is_dense() {
            return Ok(c);
        }
        let window = Window::dense(c.window.layer);
        let dense = self.bounder.device().alloc(window.elements() * rows.lanes)?;
        linear::densify(self.bounder.device(), &c.window, &c.a, rows, &dense)?;
        Ok(Coefficients { a: dense, window })
    }

    /// Lower bounds over the bounds of `value`.
    pub fn concretize(&self, value: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Vec<f32>> {
        let d = self.bounder.device();
        let [centre, radius] = self.tables(value)?;
        let lower = d.alloc(rows.lanes)?;
        let g = self.bounder.sum_error(c.window.elements());
        linear::concretize(d, &c.window, &c.a, [centre, radius], rows, sums, &lower, g, self.bounder.floor())?;
        d.read(&lower)
    }
}

/// Whether a layer treats every value by itself, so that a row's window stays.
fn by_itself(layer: &Placed) -> bool {
    match layer {
        Placed::Relu | Placed::Activation(_) => true,
        Placed::Affine(_)
        | Placed::MaxPool(_)
        | Placed::AvgPool(_)
        | Placed::Add
        | Placed::Scale { .. }
        | Placed::Gather(_) => false,
    }
}

/// An affine layer as rows see it whose window is `above` at its outputs and `below` at its inputs.
pub(super) fn patch_geometry(whole: &Geometry, above: &Window, below: &Window) -> Geometry {
    if above.is_dense() {
        return *whole;
    }
    let shape = |w: &Window| Shape::new(w.layer.channels, w.size[0], w.size[1]);
    Geometry { input: shape(below), output: shape(above), pad: [0, 0], ..*whole }
}

/// Whether a convolution's geometry is that of a dense layer, whose input may have any shape. One tap over one place may
/// still look at padding beside it.
pub(super) fn is_dense_layer(g: &Geometry) -> bool {
    g.kernel == [1, 1] && g.pad == [0, 0] && g.input.height * g.input.width * g.output.height * g.output.width == 1
}
