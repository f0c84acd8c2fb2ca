//! The linearised network run forward: every row at the point of its region where it is least.
//!
//! A walk exchanges nonlinear layers for the lines its rows take. Run on that point, those lines tell what each value
//! contributes to the row's bound, and so how the bound changes with the slopes (Xu et al. 2021).

use super::rows::Coefficients;
use super::walk::{Keep, Walk, patch_geometry};
use super::watch::Watch;
use crate::device::Buffer;
use crate::error::Result;
use crate::model::ValueId;
use crate::network::Placed;
use crate::ops::linear::Rows;
use crate::ops::{activation, conv, range, select};

/// One ReLU on the way.
pub(super) struct Bend<'a> {
    pub node: usize,
    /// The rows' coefficients above it.
    pub above: &'a Coefficients,
    /// Before it, and after it: to be written.
    pub z: &'a Buffer,
    pub y: &'a Buffer,
    /// Its lines.
    pub lines: &'a Buffer,
}

impl Walk<'_> {
    /// Walks rows from the value `from` down to the region, and runs them forward again from where each is least: every
    /// value below `from` that they were walked through, in the windows that `keep` says, the first being those points.
    /// `bend` says what becomes of a value at a ReLU.
    pub fn replay(
        &self,
        from: ValueId,
        start: Coefficients,
        rows: &Rows,
        sums: &Buffer,
        keep: &mut Keep,
        bend: impl FnMut(&Bend<'_>) -> Result<()>,
    ) -> Result<Vec<Option<Buffer>>> {
        let end = self.walk(from, start, rows, sums, 0, Some(keep))?;
        let corner = self.known.region.corner(self.bounder(), &end, rows)?;
        self.follow(from, &end, corner, rows, keep, bend)
    }

    /// [`replay`](Self::replay) of rows that have been walked down, and `end` there.
    pub fn follow(
        &self,
        from: ValueId,
        end: &Coefficients,
        x: Buffer,
        rows: &Rows,
        keep: &mut Keep,
        mut bend: impl FnMut(&Bend<'_>) -> Result<()>,
    ) -> Result<Vec<Option<Buffer>>> {
        let (net, d) = (self.net(), self.device());
        let mut values = vec![Some(x)];
        keep.windows[0] = Some(end.window);
        // Values of the linearised network may lie outside the bounds of the network's own; slopes may be any, but numbers.
        let watch = Watch::new(self.bounder(), rows.lanes)?;
        for i in 0..from {
            let Some(window) = &keep.windows[i + 1] else {
                values.push(None);
                continue;
            };
            let y = d.alloc(window.elements() * rows.lanes)?;
            let inputs = &net.model.nodes[i].inputs;
            let read = |v: ValueId| values[v].as_ref().expect("walked through");
            match (net.layer(i), &keep.above[i]) {
                (Placed::Relu, Some(above)) => {
                    let (z, lines) = (read(inputs[0]), self.relaxations.relaxed(i));
                    bend(&Bend { node: i, above, z, y: &y, lines })?;
                }
                (Placed::Activation(_), Some(above)) => {
                    activation::follow(d, &above.a, read(inputs[0]), self.relaxations.activation(i), rows, &y)?;
                }
                (Placed::MaxPool(g), Some(above)) => {
                    select::forward(d, g, [read(inputs[0]), &above.a], self.relaxations.max_pool(i), rows, &y)?;
                }
                (Placed::Affine(affine), _) => {
                    let below = keep.windows[inputs[0]].as_ref().expect("walked through");
                    let geometry = patch_geometry(&affine.geometry, window, below);
                    self.bounder().count(geometry.products() * rows.count);
                    conv::forward(d, &geometry, read(inputs[0]), &affine.weight, &affine.bias, &y, rows.lanes)?;
                }
                (
                    Placed::Relu
                    | Placed::Activation(_)
                    | Placed::MaxPool(_)
                    | Placed::AvgPool(_)
                    | Placed::Add
                    | Placed::Scale { .. }
                    | Placed::Gather(_),
                    _,
                ) => {
                    let inputs: Vec<&Buffer> = inputs.iter().map(|&v| read(v)).collect();
                    net.forward_layer(i, &inputs, &y, rows.lanes)?;
                }
            }
            watch.clear(self.bounder(), &y, rows.lanes, range::MOST)?;
            values.push(Some(y));
        }
        Ok(values)
    }
}
