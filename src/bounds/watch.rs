//! Lanes whose values leave the range in which sums cannot overflow (`ops::range`).

use super::Bounder;
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::linear::SLICES;
use crate::ops::range;

/// Marks of lanes; none where products of norms exclude that a lane gets one.
#[derive(Default)]
pub(super) struct Watch(Option<Buffer>);

impl Watch {
    pub fn new(bounder: &Bounder, lanes: usize) -> Result<Watch> {
        let watched = bounder.range.watches_any();
        Ok(Watch(watched.then(|| bounder.device().zeros(SLICES * lanes)).transpose()?))
    }

    /// Clears the values `[element][lane]` beyond `most` and marks their lanes.
    pub fn clear(&self, bounder: &Bounder, values: &Buffer, lanes: usize, most: f32) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |marks| range::values(bounder.device(), values, marks, lanes, most))
    }

    /// Which of the first `count` lanes have no mark; nothing where none can have one.
    pub fn clean(&self, bounder: &Bounder, lanes: usize, count: usize) -> Result<Option<Vec<bool>>> {
        let Some(marks) = &self.0 else { return Ok(None) };
        let marks: Vec<u32> = bounder.device().read(marks)?;
        let clean = |lane| marks.iter().skip(lane).step_by(lanes).all(|mark| *mark == 0);
        Ok(Some((0..count).map(clean).collect()))
    }
}
