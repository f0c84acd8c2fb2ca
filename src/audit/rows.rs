//! Coefficients of linear lower bounds over one value, several rows side by side, confined to the part of the value
//! that the rows see.

use std::ops::Range;

use crate::tensor::Shape;

/// Rows bounded together.
pub const LANES: usize = 16;

/// One number per row.
pub type Lanes = [f64; LANES];

/// Lane by lane.
pub fn lanes(f: impl FnMut(usize) -> f64) -> Lanes {
    std::array::from_fn(f)
}

/// Coefficients over the elements of a value inside a window of rows and columns; all others are zero.
#[derive(Clone, Debug)]
pub struct Coefficients {
    pub shape: Shape,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// `[channel][row][column]` within the window.
    pub a: Vec<Lanes>,
}

impl Coefficients {
    pub fn zeros(shape: Shape, rows: Range<usize>, columns: Range<usize>) -> Coefficients {
        let a = vec![[0.0; LANES]; shape.channels * rows.len() * columns.len()];
        Coefficients { shape, rows, columns, a }
    }

    pub fn full(shape: Shape) -> Coefficients {
        Coefficients::zeros(shape, 0..shape.height, 0..shape.width)
    }

    pub fn is_full(&self) -> bool {
        self.rows == (0..self.shape.height) && self.columns == (0..self.shape.width)
    }

    /// Position in `a` of an element inside the window.
    pub fn place(&self, channel: usize, row: usize, column: usize) -> usize {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        (channel * rows + row - self.rows.start) * columns + column - self.columns.start
    }

    /// Index in the value of position `at` of `a`.
    pub fn index(&self, at: usize) -> usize {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let (channel, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
        (channel * self.shape.height + self.rows.start + row) * self.shape.width + self.columns.start + column
    }

    /// Positions with a nonzero (or not finite) coefficient, their indices in the value, and the coefficients.
    pub fn live(&self) -> impl Iterator<Item = (usize, &Lanes)> {
        self.a.iter().enumerate().filter(|(_, a)| is_live(a)).map(|(at, a)| (self.index(at), a))
    }

    /// The same coefficients over the whole value, seen as this shape of equal length.
    pub fn spread(self, shape: Shape) -> Coefficients {
        if self.is_full() {
            return Coefficients { shape, rows: 0..shape.height, columns: 0..shape.width, a: self.a };
        }
        if self.shape == shape {
            return self;
        }
        let mut all = Coefficients::full(shape);
        self.live().for_each(|(k, a)| all.a[k] = *a);
        all
    }

    /// Widened to all of the value.
    pub fn spread_whole(self) -> Coefficients {
        let shape = self.shape;
        self.widened(&(0..shape.height), &(0..shape.width))
    }

    /// Widened to a window that also holds another.
    pub fn widened(self, rows: &Range<usize>, columns: &Range<usize>) -> Coefficients {
        let union = |a: &Range<usize>, b: &Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        let (rows, columns) = (union(&self.rows, rows), union(&self.columns, columns));
        if rows == self.rows && columns == self.columns {
            return self;
        }
        let mut wide = Coefficients::zeros(self.shape, rows, columns);
        for (k, a) in self.live() {
            let [channel, row, column] = split(self.shape, k);
            let place = wide.place(channel, row, column);
            wide.a[place] = *a;
        }
        wide
    }
}

/// Whether any row has something here.
pub fn is_live(a: &Lanes) -> bool {
    a.iter().any(|v| *v != 0.0)
}

/// Channel, row and column of element `k`.
pub fn split(shape: Shape, k: usize) -> [usize; 3] {
    let plane = shape.height * shape.width;
    [k / plane, k % plane / shape.width, k % shape.width]
}
