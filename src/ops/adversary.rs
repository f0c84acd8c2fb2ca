//! Arithmetic at its worst, and the exact result to hold it against: for tests of interval formulas.

use std::cell::RefCell;

use num_rational::BigRational;

use crate::rng::Rng;
use crate::rounding::{Real, is_subnormal};

/// An f32 whose every operation rounds to either neighbour and flushes subnormals (operands and results) at random: all
/// that the WGSL specification allows.
#[derive(Clone, Copy, Debug)]
pub struct Wild(pub f32);

thread_local! {
    static COIN: RefCell<Rng> = RefCell::new(Rng::new(2026, 11));
}

fn coin() -> bool {
    COIN.with(|c| c.borrow_mut().below(2) == 0)
}

fn flush(x: f32) -> f32 {
    if is_subnormal(x) && coin() { 0.0 } else { x }
}

/// One of the two f32 around `sum + rest`, where `|rest|` is below half a unit in the last place of `sum`.
fn either(sum: f64, rest: f64) -> Wild {
    let nearest = sum as f32;
    let above = f64::from(nearest) > sum || (f64::from(nearest) == sum && rest < 0.0);
    let exact = f64::from(nearest) == sum && rest == 0.0;
    let other = if above { nearest.next_down() } else { nearest.next_up() };
    Wild(flush(if exact || coin() { nearest } else { other }))
}

impl Real for Wild {
    fn of(x: f32) -> Self {
        Wild(x)
    }
    fn get(self) -> f32 {
        self.0
    }
}

impl std::ops::Add for Wild {
    type Output = Wild;
    fn add(self, other: Wild) -> Wild {
        let (a, b) = (f64::from(flush(self.0)), f64::from(flush(other.0)));
        // Knuth's exact sum.
        let sum = a + b;
        let b_part = sum - a;
        either(sum, (a - (sum - b_part)) + (b - b_part))
    }
}

impl std::ops::Sub for Wild {
    type Output = Wild;
    fn sub(self, other: Wild) -> Wild {
        self + Wild(-other.0)
    }
}

impl std::ops::Mul for Wild {
    type Output = Wild;
    fn mul(self, other: Wild) -> Wild {
        either(f64::from(flush(self.0)) * f64::from(flush(other.0)), 0.0)
    }
}

/// The f32 as a rational number.
pub fn exact(x: f32) -> BigRational {
    BigRational::from_float(x).expect("finite")
}

/// Panics unless `[centre, radius]` contains `[low, high]` with `share * |centre|` to spare, holds no subnormals, and is
/// looser than necessary by no more than a few units in the last place of `magnitude`.
pub fn holds(interval: [Wild; 2], [low, high]: [BigRational; 2], share: f32, magnitude: f32) {
    let [Wild(c), Wild(r)] = interval;
    assert!(r >= 0.0 && !is_subnormal(c) && !is_subnormal(r), "{c} ± {r}");
    let centre = exact(c);
    let needed = (&high - &centre).max(&centre - &low) + exact(share) * exact(c.abs());
    assert!(exact(r) >= needed, "{c:e} ± {r:e} must hold [{low}, {high}] and {share} of the centre");
    let slack = exact(magnitude) * exact(2f32.powi(-18)) + exact(2f32.powi(-95));
    assert!(exact(r) <= needed + slack, "{c:e} ± {r:e} is too loose for [{low}, {high}]");
}
