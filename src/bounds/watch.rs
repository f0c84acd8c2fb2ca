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

    /// The marks `[SLICES][lane]`, if lanes can have one.
    pub fn marks(&self) -> Option<&Buffer> {
        self.0.as_ref()
    }
}
