//! What is known about the values of a batch of regions: bounds of each, the magnitudes that walks are charged against,
//! and the lanes of which nothing is known, since their numbers left the range in which sums cannot overflow.

mod lanes;

use std::sync::{Arc, OnceLock};

use super::around::{Around, Deviations};
use super::graph;
use super::region::{self, Region};
use super::rows::Coefficients;
use super::shelf;
use super::sizes::Ledger;
use super::watch::Watch;
use super::{Bounder, not_finite};
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::model::{Folding, ValueId};
use crate::network::{MOST_IN_LAYER, Placed};
use crate::ops::conv::{self, Charge};
use crate::ops::linear::{Rows, SLICES};
use crate::ops::targets::{self, List};
use crate::ops::{activation, add, gather, pool, range, relax, relu, scale};
use crate::rounding::{to_f32_up, up};

pub(super) use lanes::{KnownLane, KnownLanes};

/// Unit of the table of folding charges: walks inflate a charge by twice its factor, which had better be small.
pub(super) const FOLDING_UNIT: f32 = 1.0 / 1024.0;

/// Bounds of one value for all lanes, `[element][lane]`.
struct Interval {
    centre: Buffer,
    radius: Buffer,
}

/// Ends of one value, `[element][lane]`, as rows of neurons move them; zero in lanes of which nothing is known.
pub(super) struct Ends {
    pub lower: Buffer,
    pub upper: Buffer,
}

impl Ends {
    pub fn both(&self) -> [&Buffer; 2] {
        [&self.lower, &self.upper]
    }
}

/// Constants of a layer, or zeros in place of them.
pub(super) enum Constants<'a> {
    Own(&'a Buffer),
    Zero(Buffer),
}

impl std::ops::Deref for Constants<'_> {
    type Target = Buffer;
    fn deref(&self) -> &Buffer {
        match self {
            Constants::Own(own) => own,
            Constants::Zero(zero) => zero,
        }
    }
}

/// Bounds of every value of a batch. Written on the way forward ([`super::Linearised`]) and narrowed by bounds of neurons;
/// walks read it.
pub(super) struct Known<'a> {
    pub bounder: &'a Bounder,
    pub region: &'a Region,
    /// By value; 0 is the region itself.
    intervals: Vec<Option<Interval>>,
    /// `|W| |x| + |b|` by affine node, `[lane][element]`.
    magnitudes: Vec<Option<Buffer>>,
    /// How far folded layers may be from those of the file, in units of [`FOLDING_UNIT`], by node, `[lane][element]`.
    foldings: Vec<Option<Buffer>>,
    /// Nothing is proved about the regions of lanes that it marked.
    watch: Watch,
    /// How many neurons had rows of their own.
    ledger: Ledger,
    /// What went wrong so far, a word of bits of `ops::targets`.
    faults: Buffer,
    /// Centre and radius by value, `[lane][element]`, once they were asked for.
    tables: Vec<OnceLock<[Buffer; 2]>>,
    /// [`size`](Self::size) by value, `[lane][element]`, once it was asked for.
    sizes: Vec<OnceLock<Buffer>>,
}

impl<'a> Known<'a> {
    /// Nothing beyond the region.
    pub fn new(bounder: &'a Bounder, region: &'a Region) -> Result<Self> {
        let nodes = bounder.net.model.nodes.len();
        Ok(Known {
            bounder,
            region,
            intervals: (0..=nodes).map(|_| None).collect(),
            magnitudes: vec![],
            foldings: vec![],
            watch: Watch::new(bounder, region.lanes)?,
            ledger: Ledger::new(&bounder.sizes, region.count, region.size),
            faults: bounder.device().zeros(1)?,
            tables: (0..=nodes).map(|_| OnceLock::new()).collect(),
            sizes: (0..=nodes).map(|_| OnceLock::new()).collect(),
        })
    }

    /// What all values are deviations from, if they are.
    pub fn around(&self) -> Option<&'a Around> {
        self.region.reference()
    }

    /// Where an element of a value is zero: at zero, or as a deviation at minus what it is at the image, to the nearest.
    pub fn zero(&self, value: ValueId, lane: usize, element: usize) -> f32 {
        self.around().map_or(0.0, |around| -around.value(value, lane, element) as f32)
    }

    /// Constants of a layer as they count here: deviations have none.
    pub fn constants<'b>(&self, own: &'b Buffer) -> Result<Constants<'b>> {
        Ok(if self.around().is_some() { Constants::Zero(self.device().zeros(own.len())?) } else { Constants::Own(own) })
    }

    /// The interval of a value on the host.
    pub fn deviations(&self, value: ValueId) -> Result<Deviations> {
        let [c, r] = self.interval(value);
        Deviations { centre: self.device().read(c)?, radius: self.device().read(r)? }.checked()
    }

    fn device(&self) -> &'a Device {
        self.bounder.device()
    }

    /// Bounds what node `i` gives, from the bounds of what it reads, and keeps what walks through it are charged against,
    /// unless they pass it by: where `walked` is false.
    pub fn step(&mut self, i: usize, bounded: bool, walked: bool) -> Result<()> {
        let folding = self.folding(i)?;
        if bounded {
            let interval = self.interval_after(i, folding.as_ref())?;
            self.intervals[i + 1] = Some(interval);
        }
        // Walks of a folded layer's own neurons start above it.
        let walked = walked && (!graph::charged_above(&self.bounder.net, i) || self.starts_above(i));
        let magnitude = if walked { self.magnitude_values(i)? } else { None };
        self.magnitudes.push(magnitude.map(|v| self.table(&v)).transpose()?);
        Ok(())
    }

    /// Bounds of a value.
    pub fn interval(&self, value: ValueId) -> [&Buffer; 2] {
        if value == 0 {
            return self.region.interval();
        }
        let known = self.intervals[value].as_ref().expect("bounded on the way forward");
        [&known.centre, &known.radius]
    }

    /// Centre and radius of a value as tables `[lane][element]`.
    fn tables(&self, value: ValueId) -> Result<&[Buffer; 2]> {
        shelf::transposed(self.device(), &self.tables[value], self.interval(value), self.region.lanes)
    }

    /// `[lane][element]` of `[element][lane]`.
    pub fn table(&self, values: &Buffer) -> Result<Buffer> {
        shelf::transpose(self.device(), values, self.region.lanes)
    }

    /// Magnitudes of node `i` as a table, where walks are charged at the node itself.
    pub fn magnitude(&self, i: usize) -> &Buffer {
        self.magnitudes[i].as_ref().expect("computed on the way forward")
    }

    /// Whether rows of node `i`'s outputs start above it, since the charge for folding is taken where a walk passes the
    /// layer. Around images every layer has such a charge, and rows that start below pay by themselves.
    pub fn starts_above(&self, i: usize) -> bool {
        self.foldings[i].is_some() && self.around().is_none()
    }

    /// Distances of a folded node's outputs from those of the file, as a table.
    pub fn folding_table(&self, i: usize) -> Option<&Buffer> {
        self.foldings[i].as_ref()
    }

    /// Least values of rows over the bounds of `value`.
    pub fn concretise(&self, value: ValueId, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Buffer> {
        match value {
            0 => self.region.concretise(self.bounder, c, rows, sums),
            _ => region::concretise(self.bounder, self.tables(value)?.each_ref(), c, rows, sums),
        }
    }

    fn interval_after(&self, i: usize, folding: Option<&Buffer>) -> Result<Interval> {
        let net = &self.bounder.net;
        let (d, lanes) = (self.device(), self.region.lanes);
        let node = &net.model.nodes[i];
        let wanted = self.bounder.inflation(i + 1);
        let inflate = if folding.is_some() { 0.0 } else { wanted };
        let deployed = self.bounder.deployed(i);
        let len = node.shape.len() * lanes;
        let out = Interval { centre: d.alloc(len)?, radius: d.alloc(len)? };
        let to = [&out.centre, &out.radius];
        let below = node.inputs[0];
        let [c, r] = self.interval(below);
        match net.layer(i) {
            Placed::Affine(a) => {
                let charge = if self.bounder.sound {
                    let largest = self.bounder.range.value(node.inputs[0]).max(net.gain(i));
                    Charge::new(a.geometry.fan_in(), largest).and(deployed)
                } else {
                    Charge::none()
                };
                self.bounder.count(2 * a.geometry.products() * self.region.count);
                let bias = self.constants(&a.bias)?;
                conv::interval(d, &a.geometry, [c, r], &a.weight, &bias, to, lanes, charge, inflate)?;
            }
            Placed::Relu => match self.around() {
                Some(around) => around.relu(below, &self.deviations(below)?, inflate).write(d, to)?,
                None => relu::interval(d, c, r, to[0], to[1], inflate)?,
            },
            Placed::Activation(f) => activation::interval(d, f, c, r, to[0], to[1], lanes, inflate)?,
            Placed::MaxPool(g) => match self.around() {
                Some(around) => around.max(g, below, &self.deviations(below)?, inflate).write(d, to)?,
                None => pool::max_interval(d, g, c, r, to[0], to[1], lanes, inflate)?,
            },
            Placed::AvgPool(g) => pool::average_interval(d, g, c, r, to[0], to[1], lanes, inflate, deployed)?,
            Placed::Add => {
                let [c2, r2] = self.interval(node.inputs[1]);
                add::interval(d, c, r, c2, r2, to[0], to[1], inflate, deployed)?;
            }
            Placed::Scale { scale, shift, .. } => {
                let shift = self.constants(shift)?;
                scale::interval(d, c, r, scale, &shift, to[0], to[1], lanes, inflate, deployed)?;
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
        Ok(out)
    }

    /// Marks lanes with a value beyond `most`.
    fn watch(&self, values: &Buffer, most: f32) -> Result<()> {
        self.watch.clear(self.bounder, values, self.region.lanes, most)
    }

    /// What has to be read, and handed to [`provable_by`](Self::provable_by), before anything that rests on these bounds is
    /// believed.
    pub fn verdicts(&self) -> Vec<&Buffer> {
        std::iter::once(&self.faults).chain(self.watch.marks()).chain(self.ledger.totals()).collect()
    }

    /// Whether anything can be proved about each region: nothing about one that was marked.
    pub fn provable(&self) -> Result<Vec<bool>> {
        self.provable_by(&self.device().read_all(&self.verdicts())?)
    }

    /// [`provable`](Self::provable) by what [`verdicts`](Self::verdicts) holds; an error where something went wrong.
    pub fn provable_by(&self, verdicts: &[Vec<u32>]) -> Result<Vec<bool>> {
        match verdicts[0][0] {
            0 => {}
            // Of a set of which nothing is left, whatever is said holds.
            targets::CROSSED if self.region.is_cut() => {}
            targets::CROSSED => return Err(Error::device("a lower bound came back above its upper bound")),
            _ => return Err(not_finite()),
        }
        let (marks, totals) = verdicts[1..].split_at(usize::from(self.watch.marks().is_some()));
        self.ledger.compare(totals);
        let marks = marks.first().map_or(&[][..], |marks| marks);
        let clean = |lane: usize| marks.iter().skip(lane).step_by(self.region.lanes).all(|mark| *mark == 0);
        let known = |lane: usize| self.around().is_none_or(|around| around.is_known(lane));
        Ok((0..self.region.count).map(|lane| clean(lane) && known(lane)).collect())
    }

    /// How far the outputs of node `i` may be from those of the layer its file defines, or from their reference,
    /// `[element][lane]`, if they may be; keeps the table that walks charge.
    fn folding(&mut self, i: usize) -> Result<Option<Buffer>> {
        self.foldings.push(None);
        let Some(distance) = self.folded(i, FOLDING_UNIT)? else { return Ok(None) };
        self.foldings[i] = Some(self.table(&distance)?);
        self.folded(i, 1.0)
    }

    /// [`folding`](Self::folding) in multiples of `unit`, a power of two. What is added comes rounded to nearest; one
    /// percent covers it.
    fn folded(&self, i: usize, unit: f32) -> Result<Option<Buffer>> {
        let (net, d) = (&self.bounder.net, self.device());
        let units = |v: f64| up(to_f32_up(1.01 * v / f64::from(unit)));
        let residual = self.around().and_then(|around| around.residual(i));
        let residual: Option<Vec<f32>> = residual.map(|r| r.into_iter().map(|e| units(f64::from(e))).collect());
        let records = net.model.folded.iter().filter(|f| f.node == i && self.bounder.sound);
        let deployed = f64::from(self.bounder.deployed(i));
        let absolute = |f: &Folding| f64::from(f.absolute) + deployed * f64::from(f.terms);
        let (relative, absolute) = records.fold((0.0, 0.0), |(r, a), f| (r + f64::from(f.relative), a + absolute(f)));
        // What constants are off by is in the reference.
        let absolute = if residual.is_some() { 0.0 } else { absolute };
        let magnitude = if relative + absolute == 0.0 { None } else { self.magnitude_values(i)? };
        let Some(magnitude) = magnitude else { return residual.map(|r| d.upload(&r)).transpose() };
        let elements = net.model.nodes[i].shape.len();
        let constant = |v: f64| d.upload(&vec![units(v); elements]);
        let out = d.alloc(magnitude.len())?;
        scale::forward(d, &magnitude, &constant(relative)?, &constant(absolute)?, &out, self.region.lanes)?;
        if let Some(residual) = residual {
            add::accumulate(d, &d.upload(&residual)?, &out)?;
        }
        Ok(Some(out))
    }

    /// Distances as of [`folding_table`](Self::folding_table) of one lane and element each, for rows that pass them by.
    pub fn folding_at(&self, i: usize, places: impl Iterator<Item = (usize, usize)>) -> Result<Option<Vec<f32>>> {
        let Some(table) = &self.foldings[i] else { return Ok(None) };
        let table: Vec<f32> = self.device().read(table)?;
        let elements = self.bounder.net.model.nodes[i].shape.len();
        Ok(Some(places.map(|(lane, element)| FOLDING_UNIT * table[lane * elements + element]).collect()))
    }

    /// What a walk through ReLU or activation node `i` is charged against, `[element][lane]`.
    pub fn relaxation_magnitude(&self, i: usize) -> Result<Buffer> {
        let net = &self.bounder.net;
        let input = net.model.nodes[i].inputs[0];
        match graph::affine_behind(net, input).filter(|(below, _)| graph::charged_above(net, *below)) {
            Some((below, _)) => Ok(self.magnitude_values(below)?.expect("an affine layer has magnitudes")),
            None => self.size(input),
        }
    }

    /// `|W| |x| + |b|` of an affine node, `[element][lane]`.
    pub fn magnitude_values(&self, i: usize) -> Result<Option<Buffer>> {
        let net = &self.bounder.net;
        let (d, lanes) = (self.device(), self.region.lanes);
        let node = &net.model.nodes[i];
        let v = d.alloc(node.shape.len() * lanes)?;
        match net.layer(i) {
            Placed::Affine(a) => {
                let [weight, bias] = &a.magnitude;
                let bias = self.constants(bias)?;
                self.bounder.count(a.geometry.products() * self.region.count);
                conv::forward(d, &a.geometry, &self.size(node.inputs[0])?, weight, &bias, &v, lanes)?;
            }
            Placed::Scale { magnitude: [scale, shift], .. } => {
                let shift = self.constants(shift)?;
                scale::forward(d, &self.size(node.inputs[0])?, scale, &shift, &v, lanes)?;
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
        let d = self.device();
        let [c, r] = self.interval(value);
        let m = d.alloc(c.len())?;
        relax::magnitude(d, c, r, &m)?;
        Ok(m)
    }

    /// [`size`](Self::size) as a table.
    pub fn size_table(&self, value: ValueId) -> Result<&Buffer> {
        shelf::once(&self.sizes[value], || self.table(&self.size(value)?))
    }

    /// Lower and upper ends of a value.
    pub fn ends(&self, value: ValueId) -> Result<Ends> {
        let d = self.device();
        let interval = self.interval(value);
        let none;
        let marks = match self.watch.marks() {
            Some(marks) => marks,
            None => {
                none = d.zeros(SLICES * self.region.lanes)?;
                &none
            }
        };
        let ends = Ends { lower: d.alloc(interval[0].len())?, upper: d.alloc(interval[0].len())? };
        targets::ends(d, interval, marks, ends.both(), self.region.count)?;
        Ok(ends)
    }

    /// Whether the host asks how much there is to do before it asks for it: where that costs nothing, and where it keeps
    /// account of what was done. Else there is room for about as much as the last time; whether that was enough is seen
    /// at the end ([`is_whole`](Self::is_whole)).
    pub fn asks(&self) -> bool {
        !self.device().is_gpu() || self.region.is_random()
    }

    /// Whether every neuron that was to have a row had one, known once verdicts were looked at.
    pub fn is_whole(&self) -> bool {
        self.ledger.had_room()
    }

    /// Neurons of a value whose ends leave their sign open, or `every` one that is no point; asked for a second time or the
    /// first.
    pub fn open(&mut self, value: ValueId, ends: &Ends, every: bool, again: bool) -> Result<List> {
        let (d, shape) = (self.device(), self.bounder.net.model.shape(value));
        let (offsets, total) = (d.alloc(SLICES * self.region.lanes)?, Arc::new(d.alloc(1)?));
        targets::find(d, shape, ends.both(), every, [&offsets, &total])?;
        let capacity = match self.asks() {
            true => d.read::<u32>(&total)?[0] as usize,
            false => self.ledger.guess((value, again), &total, shape.len()),
        };
        let list = List { buffer: d.alloc(2 * capacity)?, total, capacity };
        if capacity == 0 {
            return Ok(list);
        }
        let from = [&ends.lower, &ends.upper, self.interval(value)[0]];
        targets::list(d, shape, from, every, &offsets, &list)?;
        Ok(list)
    }

    /// Moves the ends of a value to what rows prove of its neurons.
    pub fn put(&self, value: ValueId, bounds: &Buffer, rows: &Rows, ends: &Ends) -> Result<()> {
        targets::put(self.device(), self.bounder.net.model.shape(value), bounds, rows, ends.both(), &self.faults)
    }

    /// Moves the intervals of listed neurons to their ends, or only where these are `tighter`.
    pub fn narrow(&mut self, value: ValueId, list: &List, ends: &Ends, tighter: bool) -> Result<()> {
        if list.capacity == 0 {
            return Ok(());
        }
        let (d, how) = (self.device(), (tighter, self.bounder.inflation(value)));
        targets::narrow(d, list, ends.both(), self.interval(value), &self.faults, self.region.lanes, how)?;
        self.tables[value].take();
        self.sizes[value].take();
        Ok(())
    }
}
