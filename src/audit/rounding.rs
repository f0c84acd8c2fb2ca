//! Error charges of f64 arithmetic, and the proof that they suffice.
//!
//! Let u = 2^-53 (round to nearest, IEEE 754) and gamma(n) = n u / (1 - n u).
//!
//! 1. A sum of n products of up to three f64 factors, the additions in any order, differs from the real sum by at most
//!    gamma(n + 3) times the sum S of the products' magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms",
//!    section 3.1: every product passes through at most n + 3 roundings), plus 2^-1074 times the remaining factors for
//!    every product that underflows. Conversion from f32 is exact.
//! 2. S itself is computed, as T: a sum of non-negative terms, of which the weights of one layer may be computed sums of
//!    their own. Hence T >= (1 - gamma(n + 3))^2 S up to underflow.
//! 3. [`Charge::new`] takes g = 4 (n + 8) u for an n no less than any number of terms in the network and refuses n
//!    beyond 2^32, so that n u <= 2^-21. Then gamma(n + 3) S <= 1.01 (n + 3) u T / (1 - 2^-20)^2 < g T / 2, and the other
//!    half of g T covers the rounding of the product g * T and of the sums to which charges are added.
//! 4. Underflow: the interval pass refuses a network with a value above [`LARGEST`] = 2^200. A product lost to
//!    underflow then changes a bound by at most 2^-1074 * 2^200, one step loses fewer than 2^64 of them, and the
//!    coefficients by which charges are multiplied do not exceed 2^200 unless the result is out of range anyway: all of
//!    it is below [`TINY`] = 2^-600, which every step is charged once.
//! 5. Overflow gives an infinity or a NaN, which reaches the error sum (every coefficient is charged) and makes every
//!    later comparison fail: never a proof.

use crate::error::{Error, Result};
use crate::model::{Layer, Model};

/// Charged once per step for products that underflow.
pub const TINY: f64 = f64::from_bits((1023 - 600) << 52);

/// No value of an audited network may exceed this.
pub const LARGEST: f64 = f64::from_bits((1023 + 200) << 52);

/// The relative charge for rounding in one network.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    g: f64,
}

impl Charge {
    /// # Errors
    /// If a sum of this network has more than 2^32 terms.
    pub fn new(model: &Model) -> Result<Charge> {
        let longest = model.nodes.iter().map(|n| {
            let terms = match &n.layer {
                Layer::Conv(c) => c.weight.len(),
                Layer::MaxPool(p) | Layer::AvgPool(p) => p.kernel[0] * p.kernel[1],
                Layer::Dense(_)
                | Layer::Relu
                | Layer::Activation(_)
                | Layer::Add
                | Layer::Scale { .. }
                | Layer::Gather(_) => 0,
            };
            terms.max(n.shape.len())
        });
        let n = longest.max().unwrap_or(0).max(model.input.len());
        if n > 1 << 32 {
            return Err(Error::usage("the network is too large to be audited: a sum has more than 2^32 terms"));
        }
        // Exact: an integer below 2^35 times a power of two.
        Ok(Charge { g: 4.0 * (n as f64 + 8.0) * (f64::EPSILON / 2.0) })
    }

    /// What to charge for sums whose computed sizes (sums of magnitudes) add up to `size`.
    pub fn of(self, size: f64) -> f64 {
        self.g * size + TINY
    }
}

/// At least the real number whose nearest f64 is `x`.
pub fn up(x: f64) -> f64 {
    x.next_up()
}

/// At most the real number whose nearest f64 is `x`.
pub fn down(x: f64) -> f64 {
    x.next_down()
}
