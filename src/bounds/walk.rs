//! Backward walks: rows of linear lower bounds from some value down to the region.

use super::Bounder;
use super::graph;
use super::known::{Constants, FOLDING_UNIT, Known};
use super::relaxation::Relaxations;
use super::rows::Coefficients;
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::{Model, ValueId};
use crate::network::{Affine, Network, Placed};
use crate::ops::conv::Geometry;
use crate::ops::linear::{self, Rows, Window};
use crate::ops::{add, conv_grad, gather, pool, range, scale, select, signs};
use crate::rounding::to_f32_up;
use crate::tensor::Shape;

/// What rows are walked by. It reads, and changes nothing but the rows.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub known: &'a Known<'a>,
    pub relaxations: &'a Relaxations,
    /// Where to add up what an upper bound by the same coefficients is above the lower one, if one is asked for: sums like
    /// those of rows, of which only errors count.
    pub slack: Option<&'a Buffer>,
}

/// What rows over the logits come to.
pub(super) struct Finished {
    /// `[row]`, and then the rows' reaches if there are any.
    pub lower: Buffer,
    /// `[input][row]`.
    pub slopes: Option<Buffer>,
    /// How many they are, and the lanes that they take.
    pub count: usize,
    pub lanes: usize,
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

impl<'a> Walk<'a> {
    pub fn bounder(&self) -> &'a Bounder {
        self.known.bounder
    }

    pub fn net(&self) -> &'a Network {
        &self.known.bounder.net
    }

    pub fn device(&self) -> &'a Device {
        self.known.bounder.device()
    }

    /// Rows over the logits where they end: least values and, for balls walked down to the input, reaches after those; also
    /// the coefficients over the input if asked for and known.
    pub fn finish(&self, a: Buffer, rows: &Rows, sums: &Buffer, slopes: bool) -> Result<Finished> {
        let model = &self.net().model;
        let stop = if self.bounder().method.relaxes() { 0 } else { graph::frontier(self.net()) };
        let start = Coefficients::whole(a, model.shape(model.output()));
        let end = self.walk(model.output(), start, rows, sums, stop, None)?;
        if stop > 0 {
            let lower = self.known.concretise(stop, &end, rows, sums)?;
            return Ok(Finished { lower, slopes: None, count: rows.count, lanes: rows.lanes });
        }
        let end = end.densify(self.device(), rows)?;
        let finished = self.least(&end, rows, sums)?;
        Ok(Finished { slopes: slopes.then_some(end.a), ..finished })
    }

    /// What rows come to that were walked down to the input, as whole layers.
    pub fn least(&self, end: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Finished> {
        let lower = match self.known.region.reach(self.bounder(), end, rows, sums)? {
            Some(lower) => lower,
            None => self.known.concretise(0, end, rows, sums)?,
        };
        Ok(Finished { lower, slopes: None, count: rows.count, lanes: rows.lanes })
    }

    /// Coefficients above a pooling layer, and room for those below it: whole layers, or patches where rows end after a few
    /// layers, unless it is to be `whole`.
    fn below_pool(
        &self,
        g: &pool::Geometry,
        c: Coefficients,
        rows: &Rows,
        whole: bool,
    ) -> Result<(Coefficients, Coefficients)> {
        let d = self.device();
        let patches = self.bounder().depth.is_some() && !whole;
        let (c, window) = match pooled_window(g, &c.window, rows.plane).filter(|_| patches) {
            Some(window) => (c, window),
            None => (c.densify(d, rows)?, Window::dense(g.input)),
        };
        Ok((c, Coefficients { a: d.alloc(window.elements() * rows.lanes)?, window }))
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
        let (net, d) = (self.net(), self.device());
        let mut at: Vec<Option<Coefficients>> = (0..=from).map(|_| None).collect();
        at[from] = Some(start);
        let mut own = None;
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
                Placed::Relu | Placed::Activation(_) => {
                    if let Some(keep) = &mut keep {
                        keep.above[i] = Some(c.copy(d)?);
                    }
                    if let Some(s) = self.relaxations.signs(i) {
                        // Only rows over the logits are walked under assumptions, and those are whole layers.
                        signs::assume(d, rows, [&s.targets, &s.beta], self.known.region.lanes, &c.a)?;
                    }
                    if stop == 0 {
                        own = self.envelop(i, &c, rows, sums)?.or(own);
                    }
                    self.lift(i, &c, rows, sums)?;
                    let c = self.through_relu(i, c, rows, sums)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                }
                Placed::Affine(affine) => {
                    let charged = value != from && graph::charged_above(self.net(), i);
                    let c = self.through_affine(i, affine, c, rows, sums, charged)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                }
                Placed::Add => {
                    if self.bounder().deployed(i) > 0.0 {
                        self.charge_value(value, &c, rows, sums, self.bounder().deployed(i))?;
                    }
                    let copy = c.copy(d)?;
                    self.deposit(&mut at, i, inputs[0], c, rows, sums)?;
                    self.deposit(&mut at, i, inputs[1], copy, rows, sums)?;
                }
                Placed::Scale { scale, shift, .. } => {
                    let c = c.densify(self.device(), rows)?;
                    let g = self.bounder().sum_error(c.window.slice()) + self.bounder().deployed(i);
                    let shift = self.known.constants(shift)?;
                    self.charge(i, &c, &shift, rows, sums, g * 1.01)?;
                    let next = below(0)?;
                    scale::backward(d, &c.a, scale, &next.a, rows.lanes)?;
                    self.deposit(&mut at, i, inputs[0], next, rows, sums)?;
                }
                Placed::AvgPool(g) => {
                    let (c, next) = self.below_pool(g, c, rows, keep.is_some() || !g.shares_are_alike())?;
                    let zero = d.zeros(c.window.layer.len())?;
                    let shares = if self.bounder().sound { to_f32_up(g.share_error()) } else { 0.0 };
                    let shares = shares + self.bounder().deployed(i);
                    self.charge(
                        i,
                        &c,
                        &zero,
                        rows,
                        sums,
                        (shares + self.bounder().sum_error(c.window.slice())) * 1.01,
                    )?;
                    pool::average_backward(d, &pooled_patch(g, &c.window, &next.window), &c.a, &next.a, rows.lanes)?;
                    self.deposit(&mut at, i, inputs[0], next, rows, sums)?;
                }
                Placed::Gather(moves) => {
                    let c = c.densify(self.device(), rows)?;
                    for (k, m) in moves.iter().enumerate() {
                        let next = below(k)?;
                        gather::forward(d, &c.a, &m.backward, &next.a, rows.lanes, false)?;
                        self.deposit(&mut at, i, inputs[k], next, rows, sums)?;
                    }
                }
                Placed::MaxPool(g) => {
                    let (c, next) = self.below_pool(g, c, rows, keep.is_some())?;
                    if let Some(keep) = &mut keep {
                        keep.above[i] = Some(c.copy(d)?);
                    }
                    self.lift(i, &c, rows, sums)?;
                    let [table, picks] = self.relaxations.max_pool(i);
                    let terms = self.bounder().sum_error(c.window.slice());
                    let zero = d.zeros(c.window.layer.len())?;
                    let charge = self.bounder().chain_error(select::roundings(g)) * 1.01;
                    linear::relu(d, &c.window, table, &zero, rows, &c.a, sums, terms, charge)?;
                    let patch = pooled_patch(g, &c.window, &next.window);
                    select::route(d, &patch, &c.window, &c.a, picks, rows, &next.a)?;
                    self.deposit(&mut at, i, inputs[0], next, rows, sums)?;
                }
            }
        }
        let end = match at[stop].take() {
            Some(c) => c,
            // No path reaches the input: the rows are constants.
            None => Coefficients::zero(d, net.model.shape(stop), rows)?,
        };
        match own {
            Some(own) => self.join(own, end, rows, sums),
            None => Ok(end),
        }
    }

    /// Intercepts of the lines below node `i`, and what it may be apart from them, where there are any.
    fn lift(&self, i: usize, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<()> {
        let d = self.device();
        if let (Some(slack), Some(gaps)) = (self.slack, self.relaxations.gaps(i)) {
            let zero = d.zeros(c.window.layer.len())?;
            linear::affine(d, &c.window, &zero, gaps, rows, &c.a, slack, FOLDING_UNIT)?;
        }
        let Some(feet) = self.relaxations.feet(i) else { return Ok(()) };
        let terms = self.bounder().sum_error(c.window.slice());
        linear::lift(d, &c.window, feet, rows, &c.a, sums, terms)
    }

    /// Through the lines of a ReLU or an activation, [`lift`](Self::lift) apart.
    fn through_relu(&self, i: usize, c: Coefficients, rows: &Rows, sums: &Buffer) -> Result<Coefficients> {
        let (bounder, d) = (self.bounder(), self.device());
        let table = self.relaxations.relaxed(i);
        let g = bounder.sum_error(c.window.slice());
        let below = bounder.net.model.nodes[i].inputs[0];
        let affine = graph::affine_behind(&bounder.net, below).filter(|(b, _)| graph::charged_above(&bounder.net, *b));
        let (bias, charge) = match affine {
            Some((b, affine)) => (self.known.constants(&affine.bias_values)?, self.affine_charge(b, affine, &c)),
            // Products with slopes are charged here: where paths join below, coefficients may cancel, their errors not.
            None => (Constants::Zero(d.zeros(c.window.layer.len())?), bounder.chain_error(1)),
        };
        linear::relu(d, &c.window, table, &bias, rows, &c.a, sums, g, charge)?;
        Ok(c)
    }

    /// Relative error of a walk through an affine layer, against its magnitudes: the products of the walk, with room for
    /// the slopes multiplied in above, the sum of constants, and what runtimes may be off by.
    fn affine_charge(&self, i: usize, affine: &Affine, c: &Coefficients) -> f32 {
        let constants = self.bounder().sum_error(c.window.slice());
        (self.bounder().sum_error(affine.geometry.fan_out()) + constants + self.bounder().deployed(i)) * 1.01
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
        let d = self.device();
        let input = self.net().model.nodes[i].inputs[0];
        let c = self.spread_for(i + 1, c, rows)?;
        let next = next_window(affine, &c.window, self.net().model.shape(input));
        if !charged {
            let bias = self.known.constants(&affine.bias_values)?;
            self.charge(i, &c, &bias, rows, sums, self.affine_charge(i, affine, &c))?;
        }
        let a = d.alloc(next.elements() * rows.lanes)?;
        let geometry = patch_geometry(&affine.geometry, &c.window, &next);
        self.bounder().count(geometry.products() * rows.count);
        conv_grad::input_grad(d, &geometry, &c.a, &affine.weight, &a, rows.lanes)?;
        Ok(Coefficients { a, window: next })
    }

    /// Whole layers in place of patches, if the affine layer behind `value` makes them nearly that.
    fn spread_for(&self, value: ValueId, c: Coefficients, rows: &Rows) -> Result<Coefficients> {
        let Some((i, affine)) = graph::affine_behind(self.net(), value) else { return Ok(c) };
        let next = next_window(affine, &c.window, self.net().model.shape(self.net().model.nodes[i].inputs[0]));
        if is_spread(&next, rows.plane) { c.densify(self.device(), rows) } else { Ok(c) }
    }

    /// Constants and rounding charges of node `i`, whose coefficients are `c`.
    fn charge(&self, i: usize, c: &Coefficients, bias: &Buffer, rows: &Rows, sums: &Buffer, g: f32) -> Result<()> {
        let table = self.known.magnitude(i);
        let d = self.device();
        linear::affine(d, &c.window, bias, table, rows, &c.a, sums, g)
    }

    /// Charges coefficients over the output of node `i`, whatever its kind, for the distance of its layer from that of the
    /// file.
    pub(super) fn charge_folding(&self, i: usize, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<()> {
        let Some(folding) = self.known.folding_table(i) else { return Ok(()) };
        let d = self.device();
        let zero = d.zeros(c.window.layer.len())?;
        linear::affine(d, &c.window, &zero, folding, rows, &c.a, sums, FOLDING_UNIT)
    }

    /// Charges coefficients over `value` for a relative error of theirs or of the value.
    fn charge_value(&self, value: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer, error: f32) -> Result<()> {
        let d = self.device();
        let table = self.known.size_table(value)?;
        let zero = d.zeros(c.window.layer.len())?;
        linear::affine(d, &c.window, &zero, table, rows, &c.a, sums, error)
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
        let shape = self.net().model.shape(value);
        let c = if c.window.layer == shape {
            c
        } else {
            Coefficients { window: Window::dense(shape), ..c.densify(self.device(), rows)? }
        };
        if self.net().spread(from) > 1.0 {
            self.watch_rows(value, &c, rows, sums)?;
        }
        at[value] = Some(match at[value].take() {
            None => c,
            Some(other) => {
                let (sum, c) = self.side_by_side(other, c, rows)?;
                add::accumulate(self.device(), &c.a, &sum.a)?;
                self.charge_value(value, &sum, rows, sums, self.bounder().chain_error(1))?;
                self.watch_rows(value, &sum, rows, sums)?;
                sum
            }
        });
        Ok(())
    }

    /// Coefficients over the same part of a layer: the least patch around both where rows end after a few layers, else all
    /// of it.
    fn side_by_side(&self, a: Coefficients, b: Coefficients, rows: &Rows) -> Result<(Coefficients, Coefficients)> {
        let d = self.device();
        let narrow = |both: &Window| self.bounder().depth.is_some() && both.fits(rows.plane);
        match a.window.around(&b.window).filter(narrow) {
            Some(both) => Ok((a.widen(d, both, rows)?, b.widen(d, both, rows)?)),
            None => Ok((a.densify(d, rows)?, b.densify(d, rows)?)),
        }
    }

    /// Rows whose coefficients over `value` leave the range in which sums cannot overflow prove nothing.
    pub(super) fn watch_rows(&self, value: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<()> {
        if self.bounder().range.watches_coefficients(value) {
            range::rows(self.device(), &c.a, sums, rows.lanes)?;
        }
        Ok(())
    }
}

/// The window one affine layer further down.
pub(super) fn next_window(affine: &Affine, window: &Window, input: Shape) -> Window {
    let g = &affine.geometry;
    if window.is_dense() || is_dense_layer(g) {
        return Window::dense(input);
    }
    window.below(g.input, g.kernel, g.stride, g.pad)
}

/// The patch one pooling layer further down, if rows with patches above it keep to one.
pub(super) fn pooled_window(g: &pool::Geometry, window: &Window, plane: [usize; 2]) -> Option<Window> {
    let next = window.below(g.input, g.kernel, g.stride, g.pad);
    (!window.is_dense() && !is_spread(&next, plane)).then_some(next)
}

/// Whether rows of neurons in `plane` see whole layers in place of these patches, which are nearly that, or beyond what
/// kernels can count.
pub(super) fn is_spread(window: &Window, plane: [usize; 2]) -> bool {
    !window.fits(plane) || window.elements() as f64 >= DENSE_SHARE * window.layer.len() as f64
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

/// A pooling layer as rows see it whose window is `above` at its outputs and `below` at its inputs. Where it is a patch of a
/// mean, all shares are those of full windows.
fn pooled_patch(whole: &pool::Geometry, above: &Window, below: &Window) -> pool::Geometry {
    if above.is_dense() {
        return *whole;
    }
    let shape = |w: &Window| Shape::new(w.layer.channels, w.size[0], w.size[1]);
    pool::Geometry { input: shape(below), output: shape(above), pad: [0, 0], count_include_pad: true, ..*whole }
}

/// Whether a convolution's geometry is that of a dense layer, whose input may have any shape. One tap over one place may
/// still look at padding beside it.
pub(super) fn is_dense_layer(g: &Geometry) -> bool {
    g.kernel == [1, 1] && g.pad == [0, 0] && g.input.height * g.input.width * g.output.height * g.output.width == 1
}

#[cfg(test)]
mod tests {
    use super::super::intermediate::Target;
    use super::super::linearised::Linearised;
    use super::super::region::Region;
    use super::super::{Ball, Method};
    use super::*;
    use crate::model::{Conv, Dense, Layer, Node, Pool};
    use crate::rng::Rng;

    /// Convolutions with a max pooling and an average pooling between them.
    fn pooled() -> Model {
        let mut rng = Rng::new(3, 31);
        let mut random = |n: usize| -> Vec<f32> { (0..n).map(|_| 0.4 * rng.normal()).collect() };
        let mut conv = |from: usize, to: usize| {
            let (weight, bias) = (random(9 * from * to), random(to));
            Layer::Conv(Conv { weight, bias, kernel: [3, 3], stride: [1, 1], pad: [1, 1] })
        };
        let pool = |size: usize, pad: usize| Pool {
            kernel: [size, size],
            stride: [2, 2],
            pad: [pad, pad],
            count_include_pad: false,
        };
        let layers = vec![
            (conv(1, 2), Shape::new(2, 20, 20)),
            (Layer::MaxPool(pool(3, 1)), Shape::new(2, 10, 10)),
            (conv(2, 3), Shape::new(3, 10, 10)),
            (Layer::Relu, Shape::new(3, 10, 10)),
            (Layer::AvgPool(pool(2, 0)), Shape::new(3, 5, 5)),
            (conv(3, 2), Shape::new(2, 5, 5)),
            (Layer::Relu, Shape::new(2, 5, 5)),
            (Layer::Dense(Dense { weight: random(100), bias: random(2) }), Shape::flat(2)),
        ];
        let node = |(i, (layer, shape))| Node { name: format!("n{i}"), layer, inputs: vec![i], shape };
        let nodes = layers.into_iter().enumerate().map(node).collect();
        let classes = vec!["a".into(), "b".into()];
        Model { input: Shape::new(1, 20, 20), nodes, classes, folded: vec![] }
    }

    #[test]
    fn patches_through_pooling_say_what_whole_layers_say() {
        let model = pooled();
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let mut bounder = Bounder::new(&net, Method::Crown).unwrap();
        bounder.depth = Some(model.nodes.len());
        let mut rng = Rng::new(4, 31);
        let images: Vec<Vec<f32>> = (0..2).map(|_| (0..400).map(|_| rng.uniform()).collect()).collect();
        let balls: Vec<Ball<'_>> = images.iter().map(|image| Ball { image, class: 0, delta: 0.02 }).collect();
        let region = Region::balls(&bounder, &balls).unwrap();
        let state = Linearised::new(&bounder, &region).unwrap();
        let (walk, d) = (state.walk(), bounder.device());
        for (node, coefficients) in [(2, 2 * 7 * 7), (5, 3 * 6 * 6)] {
            let neurons = 0..model.nodes[node].shape.len() as u32;
            let targets: Vec<Target> = neurons
                .flat_map(|neuron| [0, 1].map(|image| Target { image, neuron, negated: neuron % 3 == 0 }))
                .collect();
            let list = Target::list(d, &targets).unwrap();
            let rows = walk.place(node, &list, 0..targets.len(), false).unwrap();
            let bounds = |whole: bool, stop: ValueId| {
                let (from, c, sums) = walk.start(node, &rows).unwrap();
                let c = if whole { c.densify(d, &rows).unwrap() } else { c };
                let c = walk.walk(from, c, &rows, &sums, stop, None).unwrap();
                (c.window, d.read::<f32>(&state.known.concretise(stop, &c, &rows, &sums).unwrap()).unwrap())
            };
            // Down to the input of the pooling, and all the way.
            for stop in [node - 1, 0] {
                let (patch, narrow) = bounds(false, stop);
                let (_, wide) = bounds(true, stop);
                assert!(stop == 0 || patch.elements() == coefficients, "{node} {patch:?}");
                for (a, b) in narrow.iter().zip(&wide) {
                    assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "node {node} to {stop}: {a} and {b}");
                }
            }
        }
    }
}
