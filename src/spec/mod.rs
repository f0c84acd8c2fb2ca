//! Properties of networks as plain data, in normal form, and the files they come in.

mod case;
pub mod decimal;
mod formula;
mod relation;
mod sexpr;
pub mod vnnlib;

use decimal::Decimal;

pub use case::{Bound, Case, Range};
pub use relation::{Halfspace, Relation};

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

/// A linear constraint on the outputs (in a [`Relation`], on the inputs): `sum a_j y_j + constant <= 0` (`< 0` if strict).
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Position and coefficient, positions ascending, no coefficient zero.
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

impl Linear {
    /// Value of the left side, exactly.
    pub fn of(&self, variable: impl Fn(usize) -> Decimal) -> Decimal {
        self.terms.iter().fold(self.constant.clone(), |sum, (k, a)| sum.add(&a.mul(&variable(*k))))
    }

    /// [`of`](Self::of) exact outputs `y`.
    pub fn value(&self, y: &[f64]) -> Decimal {
        self.of(|k| Decimal::from_f64(y[k]))
    }

    /// Does the constraint hold where its left side has this value?
    pub fn allows(&self, value: &Decimal) -> bool {
        value.is_negative() || (value.is_zero() && !self.strict)
    }

    /// Does the constraint hold for exact outputs `y`?
    pub fn holds(&self, y: &[f64]) -> bool {
        self.allows(&self.value(y))
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

#[cfg(test)]
mod tests {
    use super::*;

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
