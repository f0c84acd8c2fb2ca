//! Changes of a model that must not change what it computes: every one goes through here and is tried.

use super::{Model, enclosure};
use crate::rng::Rng;

/// Changes are tried by forward passes of at most so many products.
const TRIAL: u64 = 1 << 25;

impl Model {
    /// `after`, which is to compute what this model does; `input` brings an input of this model into the order that
    /// `after` takes. It is validated, and unless the networks are large both are evaluated at a random input: what the
    /// real outputs can be, roundings and foldings included, must overlap.
    ///
    /// # Errors
    /// One line that says what does not hold.
    pub fn becomes(&self, after: Model, input: impl Fn(&[f32]) -> Vec<f32>) -> Result<Model, String> {
        after.validate()?;
        if self.products().max(after.products()) > TRIAL {
            return Ok(after);
        }
        let mut rng = Rng::new(0, 0);
        let x: Vec<f32> = (0..self.input.len()).map(|_| rng.range(-1.0, 1.0)).collect();
        let (old, new) = (enclosure::forward(self, &x), enclosure::forward(&after, &input(&x)));
        if old.0.len() != new.0.len() {
            return Err(format!("{} outputs became {}; this is a fault of the reader", old.0.len(), new.0.len()));
        }
        let ends = old.0.iter().zip(&old.1).zip(new.0.iter().zip(&new.1));
        for (k, ((a, e), (b, f))) in ends.enumerate() {
            if !(a.is_finite() && b.is_finite() && e.is_finite() && f.is_finite()) {
                return Err(format!("output {k} is no finite number at a random input; scale the network down"));
            }
            if (a - b).abs() > e + f {
                return Err(format!(
                    "output {k} at a random input became {b:e} after {a:e}; this is a fault of the reader, do not rely on it"
                ));
            }
        }
        Ok(after)
    }

    /// Whether it is small enough for changes to be tried.
    pub fn is_tried(&self) -> bool {
        self.products() <= TRIAL
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dense, Folding, Layer, Node};
    use super::*;
    use crate::tensor::Shape;

    fn model(weight: f32) -> Model {
        let dense = Layer::Dense(Dense { weight: vec![weight, 1.0], bias: vec![0.0, 1.0] });
        Model {
            input: Shape::flat(1),
            nodes: vec![Node { name: "d".into(), layer: dense, inputs: vec![0], shape: Shape::flat(2) }],
            classes: vec!["0".into(), "1".into()],
            folded: vec![],
        }
    }

    #[test]
    fn what_computes_something_else_is_no_change_of_form() {
        let same = |x: &[f32]| x.to_vec();
        assert_eq!(model(0.5).becomes(model(0.5), same), Ok(model(0.5)));
        let off = 0.5 * (1.0 + 1e-5);
        assert!(model(0.5).becomes(model(off), same).unwrap_err().contains("output 0"));
        let mut charged = model(off);
        charged.folded = vec![Folding { relative: 2e-5, ..Folding::default() }];
        assert!(model(0.5).becomes(charged, same).is_ok());
        assert!(model(0.5).becomes(model(f32::NAN), same).is_err());
        assert!(model(0.5).becomes(model(0.5), |x| vec![-x[0]]).is_err());
    }
}
