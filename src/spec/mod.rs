//! Properties of networks as plain data, in normal form, and the files they come in.

pub mod decimal;
mod formula;
mod sexpr;
pub mod vnnlib;

use std::cmp::Ordering;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::input;
use decimal::Decimal;

/// A property: it is violated (`sat`) iff some input of some case's box makes all constraints of one of the case's
/// disjuncts hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Number of input and output values of the network, in the flat order of its ONNX tensors.
    pub inputs: usize,
    /// Number of output values, likewise.
    pub outputs: usize,
    /// Boxes that hold at least one point; none if the property's inputs contradict each other (`unsat`).
    pub cases: Vec<Case>,
    /// Name of the network in a VNN-LIB 2.0 file.
    pub network: Option<String>,
}

/// One input box with what must not happen on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The box rounded outward: every allowed input lies in it.
    pub lower: Vec<f32>,
    /// Its upper ends.
    pub upper: Vec<f32>,
    /// The box as written.
    pub exact: Vec<Range>,
    /// Each is a conjunction; an empty one always holds.
    pub disjuncts: Vec<Vec<Linear>>,
}

/// Exact bounds of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The lower end.
    pub lower: Bound,
    /// The upper end.
    pub upper: Bound,
}

/// One end of a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// As written.
    pub value: Decimal,
    /// The value itself is excluded.
    pub strict: bool,
}

/// A linear constraint on the outputs: `sum a_j y_j + constant <= 0` (`< 0` if strict).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Output and coefficient, outputs ascending, no coefficient zero.
    pub terms: Vec<(usize, Decimal)>,
    /// Added to the sum.
    pub constant: Decimal,
    /// Zero itself does not count.
    pub strict: bool,
}

impl Spec {
    /// Whether outputs are only compared with each other: then a softmax after them changes nothing.
    pub fn only_compares(&self) -> bool {
        let compares = |l: &Linear| match &l.terms[..] {
            [(_, a), (_, b)] => l.constant.is_zero() && *a == b.neg(),
            _ => false,
        };
        self.cases.iter().flat_map(|c| &c.disjuncts).flatten().all(compares)
    }
}

impl Range {
    /// Is `x` inside, exactly?
    pub fn contains(&self, x: f64) -> bool {
        let inside =
            |order: Ordering, outside: Ordering, strict| order != outside && !(strict && order == Ordering::Equal);
        x.is_finite()
            && inside(self.lower.value.cmp_f64(x), Ordering::Greater, self.lower.strict)
            && inside(self.upper.value.cmp_f64(x), Ordering::Less, self.upper.strict)
    }

    fn is_empty(&self) -> bool {
        match self.lower.value.cmp(&self.upper.value) {
            Ordering::Less => false,
            Ordering::Equal => self.lower.strict || self.upper.strict,
            Ordering::Greater => true,
        }
    }

    /// Smallest and largest f32 inside, if there is any.
    pub fn inner(&self) -> Option<(f32, f32)> {
        let mut low = self.lower.value.to_f32_up();
        if self.lower.strict && self.lower.value.cmp_f64(f64::from(low)) == Ordering::Equal {
            low = low.next_up();
        }
        let mut high = self.upper.value.to_f32_down();
        if self.upper.strict && self.upper.value.cmp_f64(f64::from(high)) == Ordering::Equal {
            high = high.next_down();
        }
        (low <= high).then_some((low, high))
    }
}

impl Case {
    /// Does `x` lie in the box as written, exactly?
    pub fn contains(&self, x: &[f32]) -> bool {
        x.len() == self.exact.len() && self.exact.iter().zip(x).all(|(r, &v)| r.contains(f64::from(v)))
    }

    /// The largest box of f32 numbers that lies in the box as written: where counterexamples are looked for. `None` if
    /// some input's range is narrower than the grid of f32 numbers.
    pub fn inner(&self) -> Option<(Vec<f32>, Vec<f32>)> {
        self.exact.iter().map(Range::inner).collect()
    }
}

impl Linear {
    /// Value of the left side for exact outputs `y`.
    pub fn value(&self, y: &[f64]) -> Decimal {
        self.terms.iter().fold(self.constant.clone(), |sum, (k, a)| sum.add(&a.mul(&Decimal::from_f64(y[*k]))))
    }

    /// Does the constraint hold for exact outputs `y`?
    pub fn holds(&self, y: &[f64]) -> bool {
        let value = self.value(y);
        value.is_negative() || (value.is_zero() && !self.strict)
    }

    /// Coefficients of all outputs, and the constant rounded down: the constraint is refuted wherever the sum with
    /// these is positive. `None` if a coefficient is no f32.
    pub fn to_f32(&self, outputs: usize) -> Option<(Vec<f32>, f32)> {
        let mut row = vec![0.0; outputs];
        for (k, a) in &self.terms {
            row[*k] = a.exact_f32()?;
        }
        let constant = self.constant.to_f32_down();
        constant.is_finite().then_some((row, constant))
    }
}

/// The content of a file, unpacked if it is gzip (whatever its name says).
///
/// # Errors
/// [`Error::Io`], and [`Error::Input`] if the content is longer than `limit` bytes or the compression is damaged.
pub fn read_maybe_gz(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(Error::io(path, "opening"))?;
    let mut bytes = vec![];
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "reading"))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = vec![];
        let room = input::room(bytes.len() as u64).min(limit);
        let unpacked = flate2::read::MultiGzDecoder::new(&bytes[..]).take(room + 1).read_to_end(&mut plain);
        unpacked.map_err(|e| Error::input(path, format!("damaged gzip file ({e}); copy it again")))?;
        if room < limit && plain.len() as u64 > room {
            return Err(Error::input(path, "unpacks to 200 times its size and more; unpack it, if that is right"));
        }
        bytes = plain;
    }
    if bytes.len() as u64 > limit {
        return Err(Error::input(path, format!("is longer than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: &str, upper: &str, strict: bool) -> Range {
        let bound = |text| Bound { value: Decimal::parse(text).unwrap(), strict };
        Range { lower: bound(lower), upper: bound(upper) }
    }

    #[test]
    fn inner_bounds_are_inside_and_outer_ones_are_not() {
        let r = range("0.1", "0.3", false);
        let (low, high) = r.inner().unwrap();
        assert!(r.contains(low.into()) && r.contains(high.into()));
        assert!(!r.contains(low.next_down().into()) && !r.contains(high.next_up().into()));
        assert!(!r.contains(f64::NAN) && !r.contains(f64::INFINITY));
    }

    #[test]
    fn strict_ends_are_outside() {
        let r = range("0.5", "1", true);
        assert!(!r.contains(0.5) && !r.contains(1.0) && r.contains(0.75));
        assert_eq!(r.inner(), Some((0.5f32.next_up(), 1.0f32.next_down())));
        assert!(range("1", "1", true).is_empty() && !range("1", "1", false).is_empty());
    }

    #[test]
    fn a_range_between_two_floats_has_no_inner_point() {
        assert_eq!(range("0.10000000001", "0.10000000002", false).inner(), None);
    }

    #[test]
    fn constraints_are_evaluated_exactly() {
        let linear = |strict| Linear {
            terms: vec![(0, Decimal::one()), (2, Decimal::one().neg())],
            constant: Decimal::parse("-0.1").unwrap(),
            strict,
        };
        assert!(linear(true).holds(&[0.1, 7.0, 1e-17]));
        // The double nearest to 0.1 is above 0.1.
        assert!(!linear(false).holds(&[0.1, 7.0, 0.0]));
        assert!(linear(false).holds(&[1.5, 0.0, 1.5]));
        let (row, constant) = linear(false).to_f32(3).unwrap();
        assert_eq!(row, [1.0, 0.0, -1.0]);
        assert!(f64::from(constant) < -0.1);
    }
}
