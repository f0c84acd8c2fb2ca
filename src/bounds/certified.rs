//! Proofs in a form that an auditor can follow.

use super::evaluate::Bounds;
use super::linearised::Linearised;
use super::region::Region;
use super::relaxation::Line;
use super::{Ball, Bounder, Row, alpha, graph};
use crate::error::Result;
use crate::ops::linear::RELAX;
use crate::results::certificate::{Certificate, LowerSlopes, NeuronSlopes, NodeSlopes};
use crate::tensor;

/// A radius, and what proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// Dominance is proved up to this radius.
    pub radius: f32,
    /// The lines, and domains if the ball was halved, that prove it.
    pub certificate: Certificate,
}

impl Bounder {
    /// Bounds balls as [`probe`](Bounder::probe) does and hands over the lines used. Interval bounds have none.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn proofs(&self, balls: &[Ball<'_>]) -> Result<Vec<Proof>> {
        let region = self.region(balls)?;
        let (rows, _) = self.margins(balls.iter().map(|b| b.class));
        let (bounds, lines) = self.with_lines(&mut Linearised::new(self, &region)?, &rows)?;
        let mut radii: Vec<f32> = balls.iter().map(|b| b.delta).collect();
        for (r, row) in rows.iter().enumerate() {
            let proved =
                bounds.reach.as_ref().map_or(if bounds.lower[r] > 0.0 { f32::INFINITY } else { 0.0 }, |v| v[r]);
            radii[row.lane] = radii[row.lane].min(proved);
        }
        let proofs = lines.into_iter().zip(radii).zip(balls);
        let proof = |((lines, radius), ball): ((Certificate, f32), &Ball<'_>)| Proof {
            radius,
            certificate: Certificate { ball: Some(ball.delta), ..lines },
        };
        Ok(proofs.map(proof).collect())
    }

    /// Bounds of rows, and by lane the lines that gave them.
    pub(super) fn with_lines(&self, state: &mut Linearised<'_>, rows: &[Row]) -> Result<(Bounds, Vec<Certificate>)> {
        let count = state.region().count;
        let mut bounds = self.evaluate(state, rows, false)?;
        let mut lines = state.certificates(count)?;
        if self.method.optimises() {
            alpha::optimise(state, rows, &mut bounds, false, |state, better| {
                for (lane, new) in state.certificates(count)?.into_iter().enumerate().filter(|(l, _)| better[*l]) {
                    lines[lane] = new;
                }
                Ok(())
            })?;
        }
        Ok((bounds, lines))
    }

    /// For every ball the point `[channel][row][column]` where the linear bound of its worst margin is least: a place to
    /// start an attack from. Interval bounds have none to offer.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn corners(&self, balls: &[Ball<'_>]) -> Result<Vec<Vec<f32>>> {
        let region = Region::balls(self, balls)?;
        let (rows, _) = self.margins(balls.iter().map(|b| b.class));
        let state = Linearised::new(self, &region)?;
        let bounds = self.evaluate(&state, &rows, false)?;
        let x = state.corners(&rows, &bounds.worst_rows(&rows, balls.len()))?;
        let elements = self.net.model.input.len();
        let x = tensor::deinterleave(&self.net.device.read::<f32>(&x)?, elements, balls.len());
        Ok(x.chunks(elements).map(<[f32]>::to_vec).collect())
    }
}

impl Linearised<'_> {
    /// The lines of all ReLUs now, for the first `count` lanes.
    pub fn certificates(&self, count: usize) -> Result<Vec<Certificate>> {
        let (net, d) = (&self.bounder().net, self.bounder().device());
        let mut all = vec![Certificate::default(); count];
        for node in graph::relus(net) {
            let Some(table) = self.relaxations.lines(node) else { continue };
            let table: Vec<f32> = d.read(table)?;
            let elements = net.model.nodes[node].shape.len();
            for (own, table) in all.iter_mut().zip(table.chunks(elements * RELAX)) {
                let side = |of: fn(Line) -> f32| Line::all(table).map(of).collect();
                own.relu.push(NodeSlopes { node, lower: side(|line| line.lower), upper: side(|line| line.upper) });
            }
        }
        for (node, slopes) in self.inner.iter().enumerate().filter(|(_, slopes)| !slopes.is_empty()) {
            for (lane, own) in all.iter_mut().enumerate() {
                let lower = slopes.iter().map(|(relu, lower)| {
                    let elements = net.model.nodes[*relu].shape.len();
                    LowerSlopes { node: *relu, lower: lower[lane * elements..][..elements].to_vec() }
                });
                own.inner.push(NeuronSlopes { node, relu: lower.collect() });
            }
        }
        Ok(all)
    }
}
