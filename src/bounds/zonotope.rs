//! Margins over zonotopes: sets of inputs that a few numbers span, and a little around each of them.

use super::Bounder;
use super::region::{self, Region};
use super::rows::Coefficients;
use crate::device::Buffer;
use crate::error::Result;
use crate::ops::linear::Rows;
use crate::rounding::{ROOM, to_f32_down};

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

/// What is proved of a margin over a zonotope: at `s` it is at least `lower + sum_k (|c_k| + s_k c_k)` for some numbers `c_k`
/// within the slopes.
#[derive(Clone, Debug)]
pub struct Margin {
    /// Lower bound over all of it.
    pub lower: f32,
    /// By generator; empty where bounds are not linear in the input.
    pub slopes: Vec<[f64; 2]>,
}

impl Margin {
    /// Of a class over itself.
    const OWN: Margin = Margin { lower: f32::INFINITY, slopes: vec![] };

    /// From where to where `s_k` may lead to a margin that is not positive, others being anywhere.
    pub fn open(&self, k: usize) -> [f64; 2] {
        // All that another generator adds is not negative, so from the end where this one takes most, what is missing is
        // made up for after so far.
        let far = |slope: f64| -1.0 + f64::from(-self.lower).max(0.0) / slope * (1.0 + ROOM);
        match self.slopes.get(k) {
            Some(&[low, _]) if low > 0.0 => [-1.0, far(low).min(1.0)],
            Some(&[_, high]) if high < 0.0 => [-far(-high).min(1.0), 1.0],
            Some(_) | None => [-1.0, 1.0],
        }
    }
}

impl Bounder {
    /// For each of some zonotopes the margins of its class over every class, in order; infinite over itself.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn zonotopes(&self, zonotopes: &[Zonotope]) -> Result<Vec<Vec<Margin>>> {
        self.in_parts(zonotopes, |part| self.zonotopes_part(part))
    }

    fn zonotopes_part(&self, zonotopes: &[Zonotope]) -> Result<Vec<Vec<Margin>>> {
        let (rows, rivals) = self.margins(zonotopes.iter().map(|z| z.class));
        let bounds = self.lower_bounds(&Region::zonotopes(self, zonotopes)?, &rows, true)?;
        let elements = self.net.model.input.len();
        let mut margins = vec![vec![Margin::OWN; self.net.model.outputs()]; zonotopes.len()];
        for (r, (row, rival)) in rows.iter().zip(rivals).enumerate() {
            let form = bounds.slopes.get(r * elements..(r + 1) * elements);
            let along = |g: &Vec<f32>| form.map(|form| product(form, g));
            let slopes = zonotopes[row.lane].generators.iter().filter_map(along).collect();
            margins[row.lane][rival] = Margin { lower: bounds.lower[r], slopes };
        }
        Ok(margins)
    }
}

/// The product of two vectors, enclosed.
fn product(a: &[f32], b: &[f32]) -> [f64; 2] {
    let (mut sum, mut size) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        // Products of f32 numbers are exact.
        let term = f64::from(*a) * f64::from(*b);
        sum += term;
        size += term.abs();
    }
    [sum - ROOM * size, sum + ROOM * size]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_up_for_along_each_generator() {
        let margin = Margin { lower: -0.25, slopes: vec![[0.5, 0.75], [-0.5, -0.25], [0.125, 0.125], [-0.1, 0.1]] };
        let near = |k: usize, [from, to]: [f64; 2]| {
            let [a, b] = margin.open(k);
            assert!(a <= from && from < a + 1e-6 && to <= b && b < to + 1e-6, "{k}: {a} to {b}");
        };
        // From the end where the margin is least: 0.25 / 0.5 of it, 0.25 / 0.25, more than there is, either way.
        near(0, [-1.0, -0.5]);
        near(1, [0.0, 1.0]);
        near(2, [-1.0, 1.0]);
        near(3, [-1.0, 1.0]);
        assert_eq!(Margin::OWN.open(0), [-1.0, 1.0]);
        let [low, high] = product(&[1.0, 2.0, 0.1], &[0.5, -0.25, 0.0]);
        assert!(low < 0.0 && 0.0 < high && high - low < 1e-7);
    }
}
