//! Margins where only finitely many linear forms of the input are known to stay near their value at a centre: what is
//! said of random inputs, each form of which strays with a small probability.

use super::Bounder;
use super::region::Region;
use crate::error::Result;

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
        self.in_parts(clouds, |part| self.clouds_part(part))
    }

    fn clouds_part(&self, clouds: &[Cloud<'_>]) -> Result<Vec<CloudBound>> {
        let (rows, _) = self.margins(clouds.iter().map(|c| c.class));
        let region = Region::clouds(self, clouds)?;
        let bounds = self.lower_bounds(&region, &rows, false)?;
        let none = |rows: usize| CloudBound { reaches: vec![], rows };
        let mut all: Vec<CloudBound> = region.rows().into_iter().map(none).collect();
        for (r, row) in rows.iter().enumerate() {
            // Interval bounds hold or do not.
            let held = if bounds.lower[r] > 0.0 { f32::INFINITY } else { 0.0 };
            all[row.lane].reaches.push(bounds.reach.as_ref().map_or(held, |reach| reach[r]));
        }
        Ok(all)
    }
}
