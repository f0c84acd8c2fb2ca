//! Margins over zonotopes: sets of inputs that a few numbers span, and a little around each of them.

use super::Bounder;
use super::region::{self, Region};
use super::rows::Coefficients;
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::linear::Rows;
use crate::rounding::to_f32_down;

/// The inputs `centre + sum s_k generators_k + e` with every `s_k` in [-1,1] and `|e_i| <= error_i` that lie in the box
/// from `lower` to `upper`; all `[channel][row][column]`.
#[derive(Clone, Debug)]
pub struct Zonotope {
    /// Where all `s_k` are zero.
    pub centre: Vec<f32>,
    /// As many for each zonotope that is bounded together with this one.
    pub generators: Vec<Vec<f32>>,
    /// Not negative.
    pub error: Vec<f32>,
    /// Of the box, in `[0,1]`.
    pub lower: Vec<f32>,
    /// See [`lower`](Self::lower).
    pub upper: Vec<f32>,
    /// Whose margins are bounded.
    pub class: usize,
}

/// What spans zonotopes: centre, error, and each generator with its negation.
pub(super) struct Frame<T>(Vec<T>);

impl Frame<Vec<f32>> {
    pub fn new(zonotope: &Zonotope) -> Self {
        let both = |g: &Vec<f32>| [g.clone(), g.iter().map(|v| -v).collect()];
        let generators = zonotope.generators.iter().flat_map(both);
        Frame([zonotope.centre.clone(), zonotope.error.clone()].into_iter().chain(generators).collect())
    }
}

impl<T> Frame<T> {
    /// The same parts, otherwise.
    pub fn each<U>(&self, make: impl Fn(usize, &T) -> Result<U>) -> Result<Frame<U>> {
        Ok(Frame(self.0.iter().enumerate().map(|(k, part)| make(k, part)).collect::<Result<_>>()?))
    }

    pub fn part(&self, k: usize) -> &T {
        &self.0[k]
    }
}

impl Frame<Buffer> {
    /// Least values of rows over zonotopes, the parts of which are tables `[lane][element]`.
    pub fn concretise(&self, bounder: &Bounder, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Vec<f32>> {
        let d = bounder.device();
        let [centre, error, generators @ ..] = &self.0[..] else { unreachable!("a frame has a centre and an error") };
        let around = region::concretise(bounder, [centre, error], c, rows, sums)?;
        let (point, nothing) = (d.zeros(centre.len())?, d.zeros(sums.len())?);
        // Products with a vector and with its negation, both from below, enclose either.
        let sides = generators.iter().map(|g| region::concretise(bounder, [g, &point], c, rows, &nothing));
        let sides: Vec<Buffer> = sides.collect::<Result<_>>()?;
        let mut sides: Vec<Vec<f32>> = d.read_all(&std::iter::once(&around).chain(&sides).collect::<Vec<_>>())?;
        let around = sides.remove(0);
        let least = |(r, &around): (usize, &f32)| {
            // A handful of f64 sums of f32 numbers: one part in 2^40 covers their rounding.
            let spans = sides.chunks(2).map(|s| f64::from(-s[0][r]).max(f64::from(-s[1][r])));
            let (span, faulty) = (spans.sum::<f64>(), sides.iter().any(|s| s[r].is_nan()));
            let slack = (span.abs() + f64::from(around).abs()) / (1u64 << 40) as f64;
            // A fault must not hide behind the larger of two.
            if faulty { f32::NAN } else { to_f32_down(f64::from(around) - span - slack) }
        };
        Ok(around.iter().enumerate().map(least).collect())
    }
}

impl Bounder {
    /// For each of some zonotopes lower bounds of the margins of its class over every class, in order; infinite over itself.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn zonotopes(&self, zonotopes: &[Zonotope]) -> Result<Vec<Vec<f32>>> {
        self.in_parts(zonotopes, |part| self.zonotopes_part(part))
    }

    fn zonotopes_part(&self, zonotopes: &[Zonotope]) -> Result<Vec<Vec<f32>>> {
        let (rows, rivals) = self.margins(zonotopes.iter().map(|z| z.class));
        let bounds = self.lower_bounds(&Region::zonotopes(self, zonotopes)?, &rows, false)?;
        let mut margins = vec![vec![f32::INFINITY; self.net.model.outputs()]; zonotopes.len()];
        for ((row, rival), lower) in rows.iter().zip(rivals).zip(&bounds.lower) {
            margins[row.lane][rival] = *lower;
        }
        Ok(margins)
    }
}
