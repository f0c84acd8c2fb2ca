//! Margins where only finitely many linear forms of the input are known to stay near their value at a centre: what is
//! said of random inputs, each form of which strays with a small probability.

use rayon::prelude::*;

use super::evaluate::Bounds;
use super::linearised::Linearised;
use super::region::{Form, Region};
use super::{Bounder, Row};
use crate::error::Result;
use crate::results::certificate::{Certificate, LowerSlopes, NeuronRows, NoiseCertificate};

/// Inputs in `[0,1]` of which every row that is bounded on the way is taken to fall below its value at `centre` by at most
/// `radius` times its norm in units of the axes.
#[derive(Clone, Copy, Debug)]
pub struct Cloud<'a> {
    /// `[channel][row][column]`.
    pub centre: &'a [f32],
    /// A pair for each value of the centre: units towards smaller and towards larger values.
    pub axes: &'a [f32],
    /// In those units.
    pub radius: f32,
    /// Whose margins are bounded.
    pub class: usize,
}

/// What is known about one [`Cloud`].
#[derive(Clone, Debug)]
pub struct CloudBound {
    /// For every other class: how far, in norms of the row in units of the axes, the margin over it at the centre is above
    /// zero; 0 where it is not. The margin itself is positive wherever its row falls by less.
    pub reaches: Vec<f32>,
    /// How many rows the bounds of neurons rest on.
    pub rows: usize,
}

impl Bounder {
    /// Bounds the margins of clouds, in order. The rows depend on nothing but the clouds.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn clouds(&self, clouds: &[Cloud<'_>]) -> Result<Vec<CloudBound>> {
        if !self.method.optimises() {
            return self.in_parts(clouds, |part| self.clouds_part(part));
        }
        // Gradients are summed in an order that depends on what stands beside: a cloud is to get the same bound everywhere.
        let alone = |cloud: &Cloud<'_>| self.clouds_part(std::slice::from_ref(cloud));
        let bounds: Vec<Vec<CloudBound>> = match self.device().is_gpu() {
            true => clouds.iter().map(alone).collect::<Result<_>>()?,
            false => clouds.par_iter().map(alone).collect::<Result<_>>()?,
        };
        Ok(bounds.concat())
    }

    fn clouds_part(&self, clouds: &[Cloud<'_>]) -> Result<Vec<CloudBound>> {
        let (rows, _) = self.margins(clouds.iter().map(|c| c.class));
        let region = Region::clouds(self, clouds)?;
        let bounds = self.lower_bounds(&region, &rows, false)?;
        Ok(cloud_bounds(&region, &rows, &bounds))
    }

    /// Bounds the margins of one cloud, and says what proves them, how far rows may stray apart.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn cloud_proof(&self, cloud: &Cloud<'_>) -> Result<(CloudBound, NoiseCertificate)> {
        let (rows, _) = self.margins(std::iter::once(cloud.class));
        let region = Region::clouds(self, std::slice::from_ref(cloud))?;
        let mut state = Linearised::new(self, &region)?;
        let forms = |region: &Region| region.forms().remove(0);
        let (standard, first) = (state.certificates(1)?.remove(0), forms(&region));
        let (bounds, mut lines) = self.with_lines(&mut state, &rows)?;
        let further = forms(&region).split_off(first.len());
        let certificate = NoiseCertificate {
            deviations: 0.0,
            rows: by_node(first),
            standard: standard.relu.into_iter().map(|s| LowerSlopes { node: s.node, lower: s.lower }).collect(),
            again: by_node(further),
            lines: Certificate { ball: None, ..lines.remove(0) },
        };
        Ok((cloud_bounds(&region, &rows, &bounds).remove(0), certificate))
    }
}

fn cloud_bounds(region: &Region, rows: &[Row], bounds: &Bounds) -> Vec<CloudBound> {
    let none = |forms: Vec<Form>| CloudBound { reaches: vec![], rows: forms.len() };
    let mut all: Vec<CloudBound> = region.forms().into_iter().map(none).collect();
    for (r, row) in rows.iter().enumerate() {
        // Interval bounds hold or do not.
        let held = if bounds.lower[r] > 0.0 { f32::INFINITY } else { 0.0 };
        all[row.lane].reaches.push(bounds.reach.as_ref().map_or(held, |reach| reach[r]));
    }
    all
}

/// Forms in the order of the nodes, whichever thread came first.
fn by_node(mut forms: Vec<Form>) -> Vec<NeuronRows> {
    forms.sort_unstable();
    let side = |part: &[Form], negated| part.iter().filter(|f| f.negated == negated).map(|f| f.neuron).collect();
    let parts = forms.chunk_by(|a, b| a.node == b.node);
    parts.map(|p| NeuronRows { node: p[0].node, below: side(p, false), above: side(p, true) }).collect()
}
