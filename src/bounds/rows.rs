//! Coefficients of rows over one value.

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::ops::linear::{self, Rows, Window};
use crate::tensor::Shape;

/// `a` `[element of the window][row]`.
pub(super) struct Coefficients {
    pub a: Buffer,
    pub window: Window,
}

impl Coefficients {
    /// Over a whole layer.
    pub fn whole(a: Buffer, layer: Shape) -> Coefficients {
        Coefficients { a, window: Window::dense(layer) }
    }

    /// Nothing over a whole layer.
    pub fn zero(d: &Device, layer: Shape, rows: &Rows) -> Result<Coefficients> {
        Ok(Coefficients::whole(d.zeros(layer.len() * rows.lanes)?, layer))
    }

    pub fn copy(&self, d: &Device) -> Result<Coefficients> {
        let a = d.alloc(self.a.len())?;
        d.copy(&self.a, &a)?;
        Ok(Coefficients { a, window: self.window })
    }

    /// Spread over the whole layer.
    pub fn densify(self, d: &Device, rows: &Rows) -> Result<Coefficients> {
        if self.window.is_dense() {
            return Ok(self);
        }
        let layer = self.window.layer;
        let dense = d.alloc(layer.len() * rows.lanes)?;
        linear::densify(d, &self.window, &self.a, rows, &dense)?;
        Ok(Coefficients::whole(dense, layer))
    }

    /// Over a larger patch, one that [`Window::around`] gives.
    pub fn widen(self, d: &Device, window: Window, rows: &Rows) -> Result<Coefficients> {
        if self.window == window {
            return Ok(self);
        }
        let a = d.alloc(window.elements() * rows.lanes)?;
        linear::densify(d, &self.window.within(&window), &self.a, rows, &a)?;
        Ok(Coefficients { a, window })
    }
}
