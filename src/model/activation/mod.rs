//! Activations: functions of one number that a layer applies to every value, [`Layer::Relu`](super::Layer::Relu) apart.
//!
//! An activation is one file. It says its function and its derivative in f64, where it is a line, convex or concave, and
//! how ONNX names it. Everything else follows from that: kernels read a table of short lines made of it
//! (`ops::activation`), the enclosure and the auditor bound it by its own convexity.

mod abs;
mod clip;
mod hard_sigmoid;
pub(super) mod hard_swish;
mod leaky_relu;
mod sigmoid;
mod tanh;

pub use abs::Abs;
pub use clip::Clip;
pub use hard_sigmoid::HardSigmoid;
pub use hard_swish::HardSwish;
pub use leaky_relu::LeakyRelu;
pub use sigmoid::Sigmoid;
pub use tanh::Tanh;

/// Relative error of [`Function::value`] and [`Function::slope`] in f64, with much room.
pub const ROUNDING: f64 = 1.0 / (1u64 << 46) as f64;

/// Absolute error of the two where they underflow.
const UNDERFLOW: f64 = 1e-300;

/// Every activation. Closed: what is not listed is refused by the reader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Also PRelu: one per channel.
    LeakyRelu(LeakyRelu),
    /// Also ReLU6 and HardTanh.
    Clip(Clip),
    /// The absolute value.
    Abs(Abs),
    /// A sigmoid of three lines.
    HardSigmoid(HardSigmoid),
    /// `x` times a hard sigmoid.
    HardSwish(HardSwish),
    /// The logistic function.
    Sigmoid(Sigmoid),
    /// The hyperbolic tangent.
    Tanh(Tanh),
}

/// How a function bends between two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bend {
    /// A line, exactly, whose slope is an f32.
    Line,
    /// Chords lie above.
    Convex,
    /// Chords lie below.
    Concave,
}

/// From here to where the next piece begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Where it begins; -inf for the first.
    pub from: f64,
    /// How the function bends here.
    pub bend: Bend,
    /// The line `slope x + constant` that a curved piece without end comes ever closer to.
    pub far: Option<[f64; 2]>,
}

impl Piece {
    const fn new(from: f64, bend: Bend) -> Piece {
        Piece { from, bend, far: None }
    }

    const fn towards(from: f64, bend: Bend, far: [f64; 2]) -> Piece {
        Piece { from, bend, far: Some(far) }
    }
}

/// A continuous function of one number in pieces.
pub trait Function {
    /// The function at `x`, within `ROUNDING * size(x)`.
    fn value(&self, x: f64) -> f64;

    /// What the error of [`value`](Self::value) is in proportion to.
    fn size(&self, x: f64) -> f64 {
        self.value(x).abs()
    }

    /// The derivative at `x`, as piece number `piece` has it, within `ROUNDING * steepest`.
    fn slope(&self, piece: usize, x: f64) -> f64;

    /// The largest slope anywhere, up or down.
    fn steepest(&self) -> f64;

    /// Its pieces from left to right; the first begins at minus infinity.
    fn pieces(&self) -> Vec<Piece>;

    /// The constants that make it, in the order of the attributes of its ONNX operator.
    fn constants(&self) -> Vec<f32>;
}

impl Activation {
    /// What it does.
    pub fn function(&self) -> &dyn Function {
        match self {
            Activation::LeakyRelu(f) => f,
            Activation::Clip(f) => f,
            Activation::Abs(f) => f,
            Activation::HardSigmoid(f) => f,
            Activation::HardSwish(f) => f,
            Activation::Sigmoid(f) => f,
            Activation::Tanh(f) => f,
        }
    }

    /// The ONNX operator, which also tells the kinds apart in hashes.
    pub fn operator(&self) -> &'static str {
        match self {
            Activation::LeakyRelu(_) => "LeakyRelu",
            Activation::Clip(_) => "Clip",
            Activation::Abs(_) => "Abs",
            Activation::HardSigmoid(_) => "HardSigmoid",
            Activation::HardSwish(_) => "HardSwish",
            Activation::Sigmoid(_) => "Sigmoid",
            Activation::Tanh(_) => "Tanh",
        }
    }

    /// Why its constants make no sense, if they do not.
    pub fn check(&self) -> Result<(), String> {
        let constants = self.function().constants();
        let senseless = |c: &&f32| c.is_nan() || c.is_finite() && **c != 0.0 && !(LEAST..=MOST).contains(&c.abs());
        let not_finite = constants.iter().find(|c| !c.is_finite());
        let problem = |c: &f32| Err(format!("{} with the constant {c} makes no sense", self.operator()));
        match (self, constants.iter().find(senseless), not_finite) {
            (_, Some(c), _) => problem(c),
            (Activation::Clip(c), None, _) => c.check(),
            (Activation::HardSigmoid(h), None, _) if h.alpha == 0.0 => problem(&h.alpha),
            (_, None, Some(c)) => problem(c),
            (_, None, None) => Ok(()),
        }
    }

    /// The function at `x`.
    pub fn value(&self, x: f64) -> f64 {
        self.function().value(x)
    }

    /// How far [`value`](Self::value) may be from the function at `x` over real numbers.
    pub fn error(&self, x: f64) -> f64 {
        ROUNDING * self.function().size(x) + UNDERFLOW
    }

    /// Bounds of its slope, in either direction at a kink, anywhere in `[low, high]`.
    pub fn slopes(&self, low: f64, high: f64) -> [f64; 2] {
        let f = self.function();
        let mut bounds = [f64::INFINITY, f64::NEG_INFINITY];
        for (i, [a, b], _) in overlap(&f.pieces(), low, high) {
            // The slope of a piece is monotone, so that its ends say all.
            for x in [a, b] {
                let slope = f.slope(i, x);
                bounds = [bounds[0].min(slope), bounds[1].max(slope)];
            }
        }
        let error = ROUNDING * f.steepest() + UNDERFLOW;
        [bounds[0] - error, bounds[1] + error]
    }

    /// How far the function at a place within `error` of `x` may be from [`value`](Self::value) at `x`.
    pub fn drift(&self, x: f64, error: f64) -> f64 {
        self.error(x) + self.steepest(x, error) * error
    }

    /// The largest slope within `room` of `x`, up or down.
    pub fn steepest(&self, x: f64, room: f64) -> f64 {
        // Ends of pieces are known to within a rounding.
        let room = room + 1e-12 * x.abs();
        let [low, high] = self.slopes(x - room, x + room);
        low.abs().max(high.abs())
    }

    /// Whether sums, products and choices make it.
    pub fn is_arithmetic(&self) -> bool {
        match self {
            Activation::LeakyRelu(_)
            | Activation::Clip(_)
            | Activation::Abs(_)
            | Activation::HardSigmoid(_)
            | Activation::HardSwish(_) => true,
            Activation::Sigmoid(_) | Activation::Tanh(_) => false,
        }
    }
}

/// The function of value `k` of `len`, of those of a layer.
pub fn function_of(functions: &[Activation], k: usize, len: usize) -> &Activation {
    &functions[k / (len / functions.len())]
}

/// Constants beyond these are refused: with them nothing could be told apart in f32, or a device might read zero.
const MOST: f32 = (1u64 << 40) as f32;
const LEAST: f32 = 1e-30;

/// The pieces that have a place in `[low, high]`: number, part of the range, bend.
pub fn overlap(pieces: &[Piece], low: f64, high: f64) -> impl Iterator<Item = (usize, [f64; 2], Bend)> {
    let end = |i: usize| pieces.get(i + 1).map_or(f64::INFINITY, |p| p.from);
    let parts = pieces.iter().enumerate().map(move |(i, p)| (i, [low.max(p.from), high.min(end(i))], p.bend));
    parts.filter(|(_, [a, b], _)| a <= b)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of every kind, and some with unusual constants.
    pub fn all() -> Vec<Activation> {
        vec![
            Activation::LeakyRelu(LeakyRelu { slope: 0.01 }),
            Activation::LeakyRelu(LeakyRelu { slope: -0.5 }),
            Activation::LeakyRelu(LeakyRelu { slope: 1.5 }),
            Activation::Clip(Clip { low: 0.0, high: 6.0 }),
            Activation::Clip(Clip { low: -1.0, high: 1.0 }),
            Activation::Clip(Clip { low: f32::NEG_INFINITY, high: 0.3 }),
            Activation::Abs(Abs),
            Activation::HardSigmoid(HardSigmoid { alpha: 0.2, beta: 0.5 }),
            Activation::HardSigmoid(HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }),
            Activation::HardSwish(HardSwish),
            Activation::Sigmoid(Sigmoid),
            Activation::Tanh(Tanh),
        ]
    }

    #[test]
    fn slopes_and_bends_are_those_of_the_function() {
        for activation in all() {
            activation.check().unwrap();
            let f = activation.function();
            let pieces = f.pieces();
            assert_eq!(pieces[0].from, f64::NEG_INFINITY);
            for (i, [a, b], bend) in overlap(&pieces, -30.0, 30.0) {
                let steps = 400;
                let at = |t: usize| a + (b - a) * t as f64 / steps as f64;
                let h = (b - a) / steps as f64;
                for t in 1..steps {
                    let (left, middle, right) = (f.value(at(t - 1)), f.value(at(t)), f.value(at(t + 1)));
                    let slope = (right - left) / (2.0 * h);
                    assert!((slope - f.slope(i, at(t))).abs() < 2e-3, "{activation:?} at {}", at(t));
                    let curve = left + right - 2.0 * middle;
                    let holds = match bend {
                        Bend::Line => curve.abs() < 1e-9,
                        Bend::Convex => curve > -1e-12,
                        Bend::Concave => curve < 1e-12,
                    };
                    assert!(holds, "{activation:?} at {}: {curve:e}", at(t));
                    assert!(f.slope(i, at(t)).abs() <= f.steepest() * (1.0 + 1e-12));
                }
            }
        }
    }

    #[test]
    fn a_drift_covers_what_lies_within_the_error() {
        for activation in all() {
            for t in -60..=60 {
                let x = f64::from(t) * 0.1;
                for error in [1e-9, 0.05, 3.0] {
                    let drift = activation.drift(x, error);
                    for k in -4..=4 {
                        let y = activation.value(x + error * f64::from(k) / 4.0);
                        assert!((y - activation.value(x)).abs() <= drift, "{activation:?} at {x} +- {error}");
                    }
                }
            }
        }
    }
}
