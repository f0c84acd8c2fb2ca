//! Closer upper lines of the first ReLU, where that stands behind a dense layer and rows go on to boxes of inputs: a line for each
//! row ([`crate::ops::envelope`]).

use super::region::{Inputs, Region};
use super::rows::Coefficients;
use super::shelf;
use super::walk::Walk;
use super::{Bounder, graph};
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::envelope::{self, ENDS_WORDS, Layer};
use crate::ops::linear::Rows;

/// Upper lines of the first ReLU over boxes, a line for each lane's own row, as in `ops::envelope`.
pub(super) struct Envelope {
    /// `[lane][input]`.
    pub anchor: Buffer,
    /// `[lane][neuron][ENDS_WORDS]`.
    pub ends: Buffer,
    /// Whether anchors have moved before.
    pub moved: bool,
}

/// What closer lines of the first ReLU take from rows above it, and their coefficients over the input.
pub(super) struct Taken {
    /// The ReLU, and the layer behind it.
    relu: usize,
    below: usize,
    taken: Coefficients,
    own: Buffer,
}

impl Region {
    /// The dense layer behind the first ReLU over the boxes around the sets, if that stands behind one.
    pub fn first_layer<'b>(&'b self, bounder: &'b Bounder) -> Result<Option<Layer<'b>>> {
        let Some((.., affine)) = graph::enveloped(&bounder.net) else { return Ok(None) };
        let ([centre, radius], input) = (self.tables(bounder.device())?, bounder.net.model.input);
        let neurons = affine.geometry.output.len();
        Ok(Some(Layer { input, neurons, weight: &affine.weight, bias: &affine.bias_values, centre, radius }))
    }
}

impl Inputs {
    /// What the box makes of the neurons of the dense layer behind the first ReLU, as in `ops::envelope`; none where there is no such
    /// layer. Of the box of a tree, many ask.
    fn first_ends(&self, bounder: &Bounder) -> Result<Option<&[f32]>> {
        let make = || -> Result<Option<Vec<f32>>> {
            let (region, d) = (Region::place(bounder, &[self])?, bounder.device());
            let Some(layer) = region.first_layer(bounder)? else { return Ok(None) };
            let ends = d.alloc(region.lanes * layer.neurons * ENDS_WORDS)?;
            layer.ends(d, &ends)?;
            Ok(shelf::lanes(d, &ends, region.lanes, 1)?.pop())
        };
        Ok(shelf::once(&self.ends, make)?.as_deref())
    }

    /// Those of some boxes, by lane.
    pub fn all_ends(bounder: &Bounder, lanes: usize, inputs: &[&Inputs]) -> Result<Option<Buffer>> {
        let own: Vec<Option<&[f32]>> = inputs.iter().map(|inputs| inputs.first_ends(bounder)).collect::<Result<_>>()?;
        let there = own.iter().all(Option::is_some) && inputs.iter().all(|inputs| inputs.can_be_cut());
        there.then(|| bounder.device().upload(&shelf::by_lane(lanes, own.into_iter()))).transpose()
    }
}

impl Walk<'_> {
    /// Takes from rows above node `i` what has closer lines than those of the node, if there are any.
    pub fn envelop(&self, i: usize, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Option<Taken>> {
        let Some(envelope) = &self.relaxations.envelope else { return Ok(None) };
        let first = graph::enveloped(self.net()).filter(|(relu, ..)| *relu == i && c.window.is_dense());
        let Some(((_, below, _), layer)) = first.zip(self.known.region.first_layer(self.bounder())?) else {
            return Ok(None);
        };
        let (d, bounder, neurons) = (self.device(), self.bounder(), layer.neurons);
        let taken = d.alloc(envelope::TAKEN * neurons * rows.lanes)?;
        let lines = self.relaxations.relaxed(i);
        layer.take(d, &envelope.anchor, &envelope.ends, lines, rows, &c.a, &taken)?;
        let own = d.alloc(layer.input.len() * rows.lanes)?;
        layer.through(d, &taken, &envelope.anchor, rows, &own)?;
        bounder.count(layer.input.len() * neurons * rows.count);
        let taken = Coefficients { a: taken, window: c.window };
        self.charge_folding(below, &taken, rows, sums)?;
        Ok(Some(Taken { relu: i, below, taken, own }))
    }

    /// Rows down to the input, with what was taken from them above.
    pub fn join(&self, taken: Taken, end: Coefficients, rows: &Rows, sums: &Buffer) -> Result<Coefficients> {
        let Some(layer) = self.known.region.first_layer(self.bounder())? else { return Ok(end) };
        let (bounder, d) = (self.bounder(), self.device());
        let end = end.densify(d, rows)?;
        // Sums over the input are those of the largest value, of its centre and of twice the shares; over neurons there are two.
        let [inputs, neurons] = [layer.input.len(), layer.neurons].map(|n| bounder.sum_error(n));
        let charge = (6.0 * inputs + 3.0 * neurons + bounder.chain_error(16) + bounder.deployed(taken.below)) * 1.01;
        let lines = self.relaxations.relaxed(taken.relu);
        layer.join(d, &taken.taken.a, &taken.own, lines, rows, [&end.a, sums], charge)?;
        self.watch_rows(0, &end, rows, sums)?;
        Ok(end)
    }

    /// Moves the anchors of the rows, each the only one of its lane, towards where they are least, `end` being what they came to.
    pub fn move_anchors(&self, end: &Coefficients, rows: &Rows, rate: f32) -> Result<()> {
        let Some(envelope) = &self.relaxations.envelope else { return Ok(()) };
        let Some(layer) = self.known.region.first_layer(self.bounder())? else { return Ok(()) };
        layer.move_anchor(self.device(), &end.a, rows, &envelope.anchor, rate)
    }

    /// Where anchors of rows point to, if they have any.
    pub fn point(&self, rows: &Rows) -> Result<Option<Buffer>> {
        let layer = self.known.region.first_layer(self.bounder())?;
        let Some((envelope, layer)) = self.relaxations.envelope.as_ref().zip(layer) else { return Ok(None) };
        let x = self.device().alloc(layer.input.len() * rows.lanes)?;
        layer.point(self.device(), &envelope.anchor, rows, &x)?;
        Ok(Some(x))
    }
}
