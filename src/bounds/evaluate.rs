//! Rows over the logits: how many go at a time, their walk down to the region, and all that there is to know of them read in
//! one go.

use std::ops::Range as Indices;

use super::linearised::Linearised;
use super::walk::Finished;
use super::{Bounder, Row, graph, not_finite};
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::{linear, range, targets};
use crate::tensor;

/// Rows of a chunk, whatever the memory, if the device has buffers for them.
const LEAST_ROWS: usize = 4 * tensor::LANE_BLOCK;

/// Bounds of rows, in order.
#[derive(Default)]
pub(super) struct Bounds {
    pub lower: Vec<f32>,
    /// For balls walked down to the input.
    pub reach: Option<Vec<f32>>,
    /// `[row][input]`, if asked for.
    pub slopes: Vec<f32>,
}

impl Bounds {
    /// For each of the regions the row with the smallest bound; the first row for those without any.
    pub fn worst_rows(&self, rows: &[Row], regions: usize) -> Vec<usize> {
        let mut worst: Vec<Option<usize>> = vec![None; regions];
        for (r, row) in rows.iter().enumerate() {
            let at = &mut worst[row.lane];
            if at.is_none_or(|w| self.lower[r] < self.lower[w]) {
                *at = Some(r);
            }
        }
        worst.into_iter().map(|w| w.unwrap_or(0)).collect()
    }

    /// Takes over the rows of every region whose smallest radius, or bound where there are no radii, has grown; says which.
    pub fn keep_better(&mut self, next: &Bounds, rows: &[Row], regions: usize) -> Vec<bool> {
        let measure = |bounds: &Bounds| {
            let values = bounds.reach.as_ref().unwrap_or(&bounds.lower);
            let mut least = vec![(f32::INFINITY, f32::INFINITY); regions];
            for (r, row) in rows.iter().enumerate() {
                let (value, lower) = &mut least[row.lane];
                (*value, *lower) = (value.min(values[r]), lower.min(bounds.lower[r]));
            }
            least
        };
        let (old, new) = (measure(self), measure(next));
        let better: Vec<bool> = new.iter().zip(&old).map(|(new, old)| new > old).collect();
        let inputs = next.slopes.len() / rows.len().max(1);
        for (r, _) in rows.iter().enumerate().filter(|(_, row)| better[row.lane]) {
            self.lower[r] = next.lower[r];
            if let (Some(mine), Some(theirs)) = (&mut self.reach, &next.reach) {
                mine[r] = theirs[r];
            }
            let at = r * inputs..(r + 1) * inputs;
            self.slopes[at.clone()].copy_from_slice(&next.slopes[at]);
        }
        better
    }
}

impl Bounder {
    /// The rows of all margins of these classes, one per lane, and the rival of each.
    pub(super) fn margins(&self, of: impl ExactSizeIterator<Item = usize>) -> (Vec<Row>, Vec<usize>) {
        let classes = self.net.model.outputs();
        let mut rows = Vec::with_capacity(of.len() * classes);
        let mut rivals = Vec::with_capacity(of.len() * classes);
        for (lane, class) in of.enumerate() {
            for j in (0..classes).filter(|&j| j != class) {
                let mut coefficients = vec![0.0; classes];
                coefficients[class] = 1.0;
                coefficients[j] = -1.0;
                rows.push(Row { lane, coefficients, constant: 0.0 });
                rivals.push(j);
            }
        }
        (rows, rivals)
    }

    /// Walks all rows down with the lines that `state` has now.
    pub(super) fn evaluate(&self, state: &Linearised<'_>, rows: &[Row], slopes: bool) -> Result<Bounds> {
        let start = |part: Indices<usize>| self.start(state, &rows[part]);
        self.walk_all(state, rows.iter().map(|row| row.lane), slopes, start)
    }

    /// Rows on a device, one per lane, with their coefficients over the logits and their sums.
    pub(super) fn start(&self, state: &Linearised<'_>, rows: &[Row]) -> Result<(linear::Rows, Buffer, Buffer)> {
        let (d, lanes) = (self.device(), tensor::lanes(rows.len()));
        let mut a = vec![0.0; self.net.model.outputs() * lanes];
        let mut sums = vec![0.0; 2 * linear::SLICES * lanes];
        let mut images = vec![0u32; lanes];
        for (i, row) in rows.iter().enumerate() {
            row.coefficients.iter().enumerate().for_each(|(k, c)| a[k * lanes + i] = *c);
            let constant = state.known.around().map_or(row.constant, |around| around.constant(row));
            // Less is sound, and so large a negative one proves nothing either way.
            sums[i] = constant.clamp(-range::LOST, range::LOST);
            images[i] = row.lane as u32;
        }
        Ok((linear::Rows::whole(d, rows.len(), images)?, d.upload(&a)?, d.upload(&sums)?))
    }

    /// [`evaluate`](Self::evaluate) of the rows of all margins of these classes, one per lane, in the order of
    /// [`margins`](Self::margins); they are made where they are walked.
    pub(super) fn evaluate_margins(&self, state: &Linearised<'_>, classes: &[u32]) -> Result<Bounds> {
        let (d, outputs) = (self.device(), self.net.model.outputs());
        let class = d.upload(classes)?;
        let start = |part: Indices<usize>| {
            let lanes = tensor::lanes(part.len());
            let rows = linear::Rows { count: part.len(), lanes, plane: [1, 1], buffer: d.alloc(3 * lanes)? };
            let a = d.alloc(outputs * lanes)?;
            targets::margins(d, outputs, &class, part.start, &a, &rows)?;
            Ok((rows, a, d.zeros(2 * linear::SLICES * lanes)?))
        };
        let rivals = outputs - 1;
        self.walk_all(state, (0..classes.len() * rivals).map(|r| r / rivals), false, start)
    }

    /// Walks as many rows down as there are `regions`, of which each speaks of one, and reads all that there is to know of
    /// them in one go. `start` gives some of them with their coefficients over the logits and their sums.
    fn walk_all(
        &self,
        state: &Linearised<'_>,
        regions: impl ExactSizeIterator<Item = usize>,
        slopes: bool,
        start: impl Fn(Indices<usize>) -> Result<(linear::Rows, Buffer, Buffer)>,
    ) -> Result<Bounds> {
        let count = regions.len();
        let per_chunk = self.rows_per_chunk(graph::widest(&self.net, self.net.model.output()));
        let mut parts = Vec::with_capacity(count.div_ceil(per_chunk));
        for first in (0..count).step_by(per_chunk) {
            self.check_deadline()?;
            let (rows, a, sums) = start(first..count.min(first + per_chunk))?;
            parts.push(state.walk().finish(a, &rows, &sums, slopes)?);
        }
        self.read(state, regions, &parts)
    }

    /// Reads all that there is to know of rows that were walked down, each of which speaks of one of `regions`.
    pub(super) fn read(
        &self,
        state: &Linearised<'_>,
        regions: impl Iterator<Item = usize>,
        parts: &[Finished],
    ) -> Result<Bounds> {
        let verdicts = state.known.verdicts();
        let ends = parts.iter().flat_map(|part| std::iter::once(&part.lower).chain(&part.slopes));
        let all = verdicts.iter().copied().chain(ends).collect::<Vec<_>>();
        let mut read = self.device().read_all::<u32>(&all)?.into_iter();
        let provable = state.known.provable_by(&read.by_ref().take(verdicts.len()).collect::<Vec<_>>())?;
        let mut all = Bounds::default();
        for part in parts {
            let mut read = || bytemuck::cast_vec::<u32, f32>(read.next().unwrap_or_default());
            let lower = read();
            all.lower.extend_from_slice(&lower[..part.count]);
            if let Some(reach) = lower.get(part.lanes..).filter(|reach| !reach.is_empty()) {
                all.reach.get_or_insert_default().extend_from_slice(&reach[..part.count]);
            }
            if part.slopes.is_some() {
                all.slopes.extend(tensor::deinterleave(&read(), self.net.model.input.len(), part.count));
            }
        }
        if all.lower.iter().chain(all.reach.iter().flatten()).any(|b| !b.is_finite()) {
            return Err(not_finite());
        }
        // What was said of rows over regions that were marked is taken back.
        for (r, _) in regions.enumerate().filter(|(_, region)| !provable[*region]) {
            all.lower[r] = -range::LOST;
            if let Some(reach) = &mut all.reach {
                reach[r] = 0.0;
            }
        }
        Ok(all)
    }

    /// Rows that fit the memory budget when the widest step of their walk has `elements` coefficients.
    pub(super) fn rows_per_chunk(&self, elements: usize) -> usize {
        let fit = self.memory / (2 * 4 * elements.max(1));
        let device = self.device().max_buffer() / elements.max(1);
        // Products over fewer rows read every weight for too little.
        (fit.max(LEAST_ROWS).min(device) / tensor::LANE_BLOCK).max(1) * tensor::LANE_BLOCK
    }
}
