//! From the input box forward: bounds of every value, relaxations of every nonlinearity, and for `crown` the backward
//! refinement of every unstable neuron before the layer that rectifies it.

use std::sync::OnceLock;

use super::neurons::LowerSlopes;
use super::targets::Target;
use super::watch::Watch;
use super::{Bounder, Bounds, Boxes, Row};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::model::{Folding, ValueId};
use crate::network::{MOST_IN_LAYER, Placed};
use crate::ops::conv::{self, Charge};
use crate::ops::{activation, add, gather, linear, pool, range, relax, relu, scale, select};
use crate::rounding::{down, to_f32_up, up};

/// Unit of the table of folding charges: walks inflate a charge by twice its factor, which had better be small.
pub(super) const FOLDING_UNIT: f32 = 1.0 / 1024.0;

/// Bounds of one value for all lanes, `[element][lane]`.
pub(super) struct Interval {
    pub centre: Buffer,
    pub radius: Buffer,
}

/// Signs assumed for neurons before one ReLU, as in `ops::signs`; `[slot][lane]`.
pub(super) struct Signs {
    pub targets: Buffer,
    pub beta: Buffer,
}

/// Everything known about one batch of boxes.
pub(super) struct State<'a> {
    pub bounder: &'a Bounder,
    pub boxes: &'a Boxes,
    /// By value; 0 is the box itself and lives in `boxes`.
    pub intervals: Vec<Option<Interval>>,
    /// Relaxations of ReLUs, activations and max pooling by node, `[lane][element][RELAX]`.
    pub relaxations: Vec<Option<Buffer>>,
    /// Intercepts of the lines below activations by node, `[lane][element]`.
    pub feet: Vec<Option<Buffer>>,
    /// Which inputs of max pooling its lines are over, by node, `[lane][element]`.
    pub picks: Vec<Option<Buffer>>,
    /// `|W| |x| + |b|` by affine node, `[lane][element]`.
    pub magnitudes: Vec<Option<Buffer>>,
    /// How far folded layers may be from those of the file, in units of [`FOLDING_UNIT`], by node, `[lane][element]`.
    pub foldings: Vec<Option<Buffer>>,
    /// Slopes that the neurons of a node were bounded with, where they are not the standard ones, by node.
    pub inner: Vec<Vec<LowerSlopes>>,
    /// Signs assumed of neurons before ReLUs, by node.
    pub signs: Vec<Option<Signs>>,
    /// Nothing is proved about the boxes of lanes that it marked.
    watch: Watch,
    /// Centre and radius by value, `[lane][element]`, once they were asked for.
    tables: Vec<OnceLock<[Buffer; 2]>>,
}

impl<'a> State<'a> {
    /// Nothing known yet.
    pub fn blank(bounder: &'a Bounder, boxes: &'a Boxes) -> Self {
        let nodes = bounder.net.model.nodes.len();
        let none = || (0..nodes).map(|_| None).collect();
        State {
            bounder,
            boxes,
            intervals: (0..=nodes).map(|_| None).collect(),
            relaxations: none(),
            feet: none(),
            picks: none(),
            magnitudes: none(),
            foldings: none(),
            inner: vec![vec![]; nodes],
            signs: (0..nodes).map(|_| None).collect(),
            watch: Watch::default(),
            tables: (0..=nodes).map(|_| OnceLock::new()).collect(),
        }
    }

    pub fn new(bounder: &'a Bounder, boxes: &'a Boxes) -> Result<Self> {
        let nodes = bounder.net.model.nodes.len();
        let mut state = State::blank(bounder, boxes);
        state.watch = Watch::new(bounder, boxes.lanes)?;
        // Interval margins stop at the last nonlinearity; the layers above it are left to the backward walk.
        let frontier = if bounder.method.relaxes() { 0 } else { state.frontier() };
        for i in 0..nodes {
            bounder.check_deadline()?;
            let folding = state.folding(i)?;
            // The logits themselves are bounded only where no walk goes below them.
            if i + 1 < nodes || frontier == nodes {
                state.interval_step(i, folding.as_ref())?;
            }
            // Walks of a folded layer's own neurons start above it.
            if i >= frontier && (!state.charged_above(i) || state.foldings[i].is_some()) {
                state.magnitude(i)?;
            }
            if bounder.method.relaxes() {
                state.relaxation_step(i)?;
            }
        }
        Ok(state)
    }

    /// The value from which every layer up to the logits is affine with one input.
    pub fn frontier(&self) -> ValueId {
        let net = &self.bounder.net;
        let mut value = net.model.output();
        while value > 0 {
            let inputs = &net.model.nodes[value - 1].inputs;
            match net.layer(value - 1) {
                Placed::Affine(_) | Placed::AvgPool(_) | Placed::Scale { .. } => value = inputs[0],
                Placed::Gather(_) if inputs.len() == 1 => value = inputs[0],
                Placed::Gather(_) | Placed::Relu | Placed::Activation(_) | Placed::MaxPool(_) | Placed::Add => break,
            }
        }
        value
    }

    /// Bounds of a value.
    pub fn interval(&self, value: ValueId) -> [&Buffer; 2] {
        if value == 0 {
            return [&self.boxes.centre, &self.boxes.radius];
        }
        let known = self.intervals[value].as_ref().expect("bounded on the way forward");
        [&known.centre, &known.radius]
    }

    /// Centre and radius of a value as tables `[lane][element]`.
    pub fn tables(&self, value: ValueId) -> Result<&[Buffer; 2]> {
        let cell = &self.tables[value];
        if cell.get().is_none() {
            let [c, r] = self.interval(value);
            let _ = cell.set([self.table(c)?, self.table(r)?]);
        }
        Ok(cell.get().expect("set above"))
    }

    /// `[lane][element]` of `[element][lane]`.
    pub fn table(&self, values: &Buffer) -> Result<Buffer> {
        let d = self.bounder.device();
        let table = d.alloc(values.len())?;
        relax::transpose(d, values, &table, self.boxes.lanes)?;
        Ok(table)
    }

    fn interval_step(&mut self, i: usize, folding: Option<&Buffer>) -> Result<()> {
        let net = &self.bounder.net;
        let (d, lanes) = (self.bounder.device(), self.boxes.lanes);
        let node = &net.model.nodes[i];
        let wanted = self.bounder.inflation(i + 1);
        let inflate = if folding.is_some() { 0.0 } else { wanted };
        let deployed = self.bounder.deployed(i);
        let len = node.shape.len() * lanes;
        let out = Interval { centre: d.alloc(len)?, radius: d.alloc(len)? };
        let to = [&out.centre, &out.radius];
        let [c, r] = self.interval(node.inputs[0]);
        match net.layer(i) {
            Placed::Affine(a) => {
                let charge = if self.bounder.sound {
                    let largest = self.bounder.range.value(node.inputs[0]).max(net.gain(i));
                    Charge::new(a.geometry.fan_in(), largest).and(deployed)
                } else {
                    Charge::none()
                };
                self.bounder.count(2 * a.geometry.products() * self.boxes.count);
                conv::interval(d, &a.geometry, [c, r], &a.weight, &a.bias, to, lanes, charge, inflate)?;
            }
            Placed::Relu => relu::interval(d, c, r, to[0], to[1], inflate)?,
            Placed::Activation(f) => activation::interval(d, f, c, r, to[0], to[1], lanes, inflate)?,
            Placed::MaxPool(g) => pool::max_interval(d, g, c, r, to[0], to[1], lanes, inflate)?,
            Placed::AvgPool(g) => pool::average_interval(d, g, c, r, to[0], to[1], lanes, inflate, deployed)?,
            Placed::Add => {
                let [c2, r2] = self.interval(node.inputs[1]);
                add::interval(d, c, r, c2, r2, to[0], to[1], inflate, deployed)?;
            }
            Placed::Scale { scale, shift, .. } => {
                scale::interval(d, c, r, scale, shift, to[0], to[1], lanes, inflate, deployed)?;
            }
            Placed::Gather(moves) => {
                for (k, m) in moves.iter().enumerate() {
                    let from = self.interval(node.inputs[k]);
                    for side in 0..2 {
                        gather::forward(d, from[side], &m.forward, to[side], lanes, k > 0)?;
                    }
                }
            }
        }
        let out = match folding {
            None => out,
            Some(folding) => {
                let zero = d.zeros(len)?;
                let wide = Interval { centre: d.alloc(len)?, radius: d.alloc(len)? };
                add::interval(d, &out.centre, &out.radius, &zero, folding, &wide.centre, &wide.radius, wanted, 0.0)?;
                wide
            }
        };
        if self.bounder.range.watches_value(i + 1) {
            self.watch(&out.centre, range::MOST)?;
            self.watch(&out.radius, range::MOST)?;
        }
        self.intervals[i + 1] = Some(out);
        Ok(())
    }

    /// Marks lanes with a value beyond `most`.
    fn watch(&self, values: &Buffer, most: f32) -> Result<()> {
        self.watch.clear(self.bounder, values, self.boxes.lanes, most)
    }

    /// Whether anything can be proved about each box: nothing about one that was marked.
    pub fn provable(&self) -> Result<Vec<bool>> {
        let clean = self.watch.clean(self.bounder, self.boxes.lanes, self.boxes.count)?;
        Ok(clean.unwrap_or_else(|| vec![true; self.boxes.count]))
    }

    /// Takes back what was said of rows over boxes that were marked.
    pub fn withdraw(&self, rows: &[Row], bounds: &mut Bounds) -> Result<()> {
        let Some(provable) = self.watch.clean(self.bounder, self.boxes.lanes, self.boxes.count)? else { return Ok(()) };
        for (r, _) in rows.iter().enumerate().filter(|(_, row)| !provable[row.lane]) {
            bounds.lower[r] = -range::LOST;
            if let Some(reach) = &mut bounds.reach {
                reach[r] = 0.0;
            }
        }
        Ok(())
    }

    /// How far the outputs of node `i` may be from those of the layer its file defines, `[element][lane]`, if the
    /// stored weights are folded; keeps the table that walks charge.
    fn folding(&mut self, i: usize) -> Result<Option<Buffer>> {
        let net = &self.bounder.net;
        let records = net.model.folded.iter().filter(|f| f.node == i && self.bounder.sound);
        let deployed = f64::from(self.bounder.deployed(i));
        let absolute = |f: &Folding| f64::from(f.absolute) + deployed * f64::from(f.terms);
        let (relative, absolute) = records.fold((0.0, 0.0), |(r, a), f| (r + f64::from(f.relative), a + absolute(f)));
        if relative + absolute == 0.0 {
            return Ok(None);
        }
        let Some(magnitude) = self.magnitude_values(i)? else { return Ok(None) };
        let (d, lanes) = (self.bounder.device(), self.boxes.lanes);
        let elements = net.model.nodes[i].shape.len();
        // The magnitudes and the product below come rounded to nearest; one percent covers it.
        let charge = |unit: f32| -> Result<Buffer> {
            let constant = |v: f64| d.upload(&vec![up(to_f32_up(1.01 * v / f64::from(unit))); elements]);
            let out = d.alloc(magnitude.len())?;
            scale::forward(d, &magnitude, &constant(relative)?, &constant(absolute)?, &out, lanes)?;
            Ok(out)
        };
        self.foldings[i] = Some(self.table(&charge(FOLDING_UNIT)?)?);
        Ok(Some(charge(1.0)?))
    }

    /// Relaxes a ReLU or max pooling, or tightens the bounds of what a nonlinearity will read.
    fn relaxation_step(&mut self, i: usize) -> Result<()> {
        let net = &self.bounder.net;
        let d = self.bounder.device();
        let [c, r] = self.interval(net.model.nodes[i].inputs[0]);
        match net.layer(i) {
            Placed::Relu => {
                let table = d.alloc(c.len() * linear::RELAX)?;
                relax::relu(d, [c, r], &self.relaxation_magnitude(i)?, &table, self.boxes.lanes)?;
                self.relaxations[i] = Some(table);
                // What it lets through is bounded no better than what it reads, which has been tightened already.
                return Ok(());
            }
            Placed::Activation(f) => {
                let table = d.alloc(c.len() * linear::RELAX)?;
                let feet = d.alloc(c.len())?;
                let size = self.relaxation_magnitude(i)?;
                activation::relax(d, f, [c, r], &size, [&table, &feet], self.boxes.lanes)?;
                (self.relaxations[i], self.feet[i]) = (Some(table), Some(feet));
                // As above: what it reads has been tightened already.
                return Ok(());
            }
            Placed::MaxPool(g) => {
                let table = d.alloc(g.output.len() * self.boxes.lanes * linear::RELAX)?;
                let picks = d.alloc(g.output.len() * self.boxes.lanes)?;
                select::relax(d, g, [c, r], [&table, &picks], self.boxes.lanes)?;
                (self.relaxations[i], self.picks[i]) = (Some(table), Some(picks));
            }
            Placed::Affine(_) | Placed::AvgPool(_) | Placed::Add | Placed::Scale { .. } | Placed::Gather(_) => {}
        }
        // Through a single layer over the box, interval bounds are as tight as any.
        let exact = net.model.nodes[i].inputs.iter().all(|&v| v == 0);
        if self.bounder.method.refines() && !exact && self.feeds_relaxation(i + 1) {
            self.refine(i)?;
        }
        Ok(())
    }

    /// What a walk through ReLU or activation node `i` is charged against, `[element][lane]`.
    pub fn relaxation_magnitude(&self, i: usize) -> Result<Buffer> {
        let net = &self.bounder.net;
        let input = net.model.nodes[i].inputs[0];
        let affine = input > 0 && matches!(net.layer(input - 1), Placed::Affine(_));
        let magnitude = if affine && self.charged_above(input - 1) { self.magnitude_values(input - 1)? } else { None };
        magnitude.map_or_else(|| self.size(input), Ok)
    }

    /// Stores the rounding magnitudes of an affine node.
    fn magnitude(&mut self, i: usize) -> Result<()> {
        if let Some(v) = self.magnitude_values(i)? {
            self.magnitudes[i] = Some(self.table(&v)?);
        }
        Ok(())
    }

    /// `|W| |x| + |b|` of an affine node, `[element][lane]`.
    pub fn magnitude_values(&self, i: usize) -> Result<Option<Buffer>> {
        let net = &self.bounder.net;
        let (d, lanes) = (self.bounder.device(), self.boxes.lanes);
        let node = &net.model.nodes[i];
        let v = d.alloc(node.shape.len() * lanes)?;
        match net.layer(i) {
            Placed::Affine(a) => {
                let [weight, bias] = &a.magnitude;
                self.bounder.count(a.geometry.products() * self.boxes.count);
                conv::forward(d, &a.geometry, &self.size(node.inputs[0])?, weight, bias, &v, lanes)?;
            }
            Placed::Scale { magnitude: [scale, shift], .. } => {
                scale::forward(d, &self.size(node.inputs[0])?, scale, shift, &v, lanes)?;
            }
            Placed::AvgPool(g) => pool::average_forward(d, g, &self.size(node.inputs[0])?, &v, lanes)?,
            Placed::Relu | Placed::Activation(_) | Placed::MaxPool(_) | Placed::Add | Placed::Gather(_) => {
                return Ok(None);
            }
        }
        if self.bounder.range.watches_layer(i) {
            self.watch(&v, MOST_IN_LAYER)?;
        }
        Ok(Some(v))
    }

    /// A bound on |x| of a value, `[element][lane]`.
    pub fn size(&self, value: ValueId) -> Result<Buffer> {
        let d = self.bounder.device();
        let [c, r] = self.interval(value);
        let m = d.alloc(c.len())?;
        relax::magnitude(d, c, r, &m)?;
        Ok(m)
    }

    /// Intercepts of the lines below activation node `i`.
    pub fn feet(&self, i: usize) -> &Buffer {
        self.feet[i].as_ref().expect("relaxed on the way forward")
    }

    /// Table and picks of max pooling node `i`.
    pub fn peaks(&self, i: usize) -> [&Buffer; 2] {
        let relaxed = self.relaxations[i].as_ref().zip(self.picks[i].as_ref());
        relaxed.expect("relaxed on the way forward").into()
    }

    fn feeds_relaxation(&self, value: ValueId) -> bool {
        self.is_read(value, |layer| matches!(layer, Placed::Relu)) || self.ends_matter(value)
    }

    /// Max pooling compares its inputs, and activations bend anywhere: both ends of all inputs matter, not their signs.
    fn ends_matter(&self, value: ValueId) -> bool {
        self.is_read(value, |layer| matches!(layer, Placed::MaxPool(_) | Placed::Activation(_)))
    }

    fn is_read(&self, value: ValueId, by: impl Fn(&Placed) -> bool) -> bool {
        let net = &self.bounder.net;
        net.model.nodes.iter().enumerate().any(|(i, n)| n.inputs.contains(&value) && by(net.layer(i)))
    }

    /// Lower and upper ends of a value, `[element][lane]`.
    pub fn ends(&self, value: ValueId) -> Result<[Vec<f32>; 2]> {
        let d = self.bounder.device();
        let [c, r] = self.interval(value);
        let (c, r): (Vec<f32>, Vec<f32>) = (d.read(c)?, d.read(r)?);
        let ends = |end: fn(f32, f32) -> f32| c.iter().zip(&r).map(|(c, r)| end(*c, *r)).collect();
        Ok([ends(|c, r| down(c - r)), ends(|c, r| up(c + r))])
    }

    /// Writes the ends `[element][lane]` of the targets back.
    pub fn narrow(&mut self, value: ValueId, targets: &[Target], lower: &[f32], upper: &[f32]) -> Result<()> {
        let d = self.bounder.device();
        let [centre, radius] = self.interval(value);
        let (mut c, mut r): (Vec<f32>, Vec<f32>) = (d.read(centre)?, d.read(radius)?);
        let inflate = self.bounder.inflation(value);
        for target in targets {
            let at = target.neuron as usize * self.boxes.lanes + target.image as usize;
            if lower[at] > upper[at] {
                return Err(Error::device("a lower bound came back above its upper bound"));
            }
            c[at] = 0.5 * (lower[at] + upper[at]);
            let radius = up((upper[at] - c[at]).max(c[at] - lower[at]));
            r[at] = up(radius + inflate * c[at].abs());
        }
        d.write(centre, &c)?;
        d.write(radius, &r)?;
        self.tables[value].take();
        Ok(())
    }

    /// Elements of a value, those of one place side by side: their rows look up the same entries.
    pub fn by_place(&self, value: ValueId) -> impl Iterator<Item = usize> + use<> {
        let shape = self.bounder.net.model.shape(value);
        let plane = shape.height * shape.width;
        (0..plane).flat_map(move |p| (0..shape.channels).map(move |channel| channel * plane + p))
    }

    /// Tightens the bounds of node `i`'s output by backward linear bounds of its unstable neurons.
    fn refine(&mut self, i: usize) -> Result<()> {
        let lanes = self.boxes.lanes;
        let [mut lower, mut upper] = self.ends(i + 1)?;
        let centre: Vec<f32> = self.bounder.device().read(self.interval(i + 1)[0])?;
        let all = self.ends_matter(i + 1);
        let provable = self.provable()?;
        let mut targets = Vec::new();
        for image in (0..self.boxes.count).filter(|image| provable[*image]) {
            for k in self.by_place(i + 1) {
                let at = k * lanes + image;
                if lower[at] < 0.0 && upper[at] > 0.0 || all && lower[at] < upper[at] {
                    // The sign at the centre is the likelier one: a row that proves it makes the other needless.
                    targets.push(Target { image: image as u32, neuron: k as u32, negated: centre[at] < 0.0 });
                }
            }
        }
        if targets.is_empty() {
            return Ok(());
        }
        self.refine_by(i, &targets, !all, &mut lower, &mut upper)?;
        let at = |t: &Target| t.neuron as usize * lanes + t.image as usize;
        let open = targets.iter().filter(|t| all || lower[at(t)] < 0.0 && upper[at(t)] > 0.0);
        let others: Vec<Target> = open.map(|t| Target { negated: !t.negated, ..*t }).collect();
        self.refine_by(i, &others, !all, &mut lower, &mut upper)?;
        self.narrow(i + 1, &targets, &lower, &upper)
    }
}
