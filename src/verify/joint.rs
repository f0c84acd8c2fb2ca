//! Constraints that have to hold together: what their linear bounds say of a box jointly. Where one of them bounds a value
//! from below and others cut the box, multipliers bring the cuts into the bound (Lagrange); each of them also narrows the box.

use crate::spec::{Halfspace, Relation};

/// Rounds over all cuts.
const ROUNDS: usize = 2;

/// Where a row of these slopes, with this lower bound over a box, can be zero or below.
pub(super) fn zero_or_below(bound: f32, slopes: &[f32], lower: &[f32], upper: &[f32]) -> Halfspace {
    // The row is at least its bound plus what it grows by on the way from the corner where it is least.
    let (mut constant, mut size) = (f64::from(bound), f64::from(bound.abs()));
    let mut terms = vec![];
    for (k, &a) in slopes.iter().enumerate().filter(|(_, a)| **a != 0.0) {
        // Products of two f32 are exact in f64.
        let at_corner = f64::from(a) * f64::from(if a > 0.0 { lower[k] } else { upper[k] });
        (constant, size) = (constant - at_corner, size + at_corner.abs());
        terms.push((k, f64::from(a)));
    }
    let slack = size * (terms.len() + 2) as f64 * f64::EPSILON;
    Halfspace { terms, constant: constant - slack }
}

/// What is left of a box where all cuts and relations hold; `None` if that is nothing.
pub(super) fn left(
    cuts: &[Halfspace],
    relations: &[Relation],
    lower: &[f32],
    upper: &[f32],
) -> Option<(Vec<f32>, Vec<f32>)> {
    let all: Vec<&Halfspace> = cuts.iter().chain(relations.iter().map(Relation::near)).collect();
    let (mut lower, mut upper) = (lower.to_vec(), upper.to_vec());
    if !all.iter().all(|h| h.narrow(&mut lower, &mut upper)) {
        return None;
    }
    // Only the cuts bound something from below.
    for (i, base) in all.iter().enumerate().take(cuts.len()) {
        let others: Vec<&Halfspace> = all.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, h)| *h).collect();
        if !others.is_empty() && least(base, &others, &lower, &upper) > 0.0 {
            return None;
        }
    }
    Some((lower, upper))
}

/// A lower bound of the left side of `base` over what the cuts leave of a box: infinite if they leave nothing.
pub(super) fn least(base: &Halfspace, cuts: &[&Halfspace], lower: &[f32], upper: &[f32]) -> f64 {
    let mut sum = Sum::new(lower, upper);
    sum.add(base, 1.0);
    for cut in cuts.iter().cycle().take(ROUNDS * cuts.len()) {
        let multiplier = sum.best(cut);
        if multiplier > 0.0 {
            sum.add(cut, multiplier);
        }
    }
    sum.least()
}

/// A sum of left sides over a box.
struct Sum<'a> {
    lower: &'a [f32],
    upper: &'a [f32],
    slopes: Vec<f64>,
    constant: f64,
    /// Sizes of what was added up, for roundings.
    sizes: Vec<f64>,
    size: f64,
    added: usize,
}

impl Sum<'_> {
    fn new<'a>(lower: &'a [f32], upper: &'a [f32]) -> Sum<'a> {
        let zeros = vec![0.0; lower.len()];
        Sum { lower, upper, slopes: zeros.clone(), constant: 0.0, sizes: zeros, size: 0.0, added: 0 }
    }

    fn add(&mut self, half: &Halfspace, multiplier: f64) {
        for &(k, a) in &half.terms {
            self.slopes[k] += multiplier * a;
            self.sizes[k] += (multiplier * a).abs();
        }
        self.constant += multiplier * half.constant;
        self.size += (multiplier * half.constant).abs();
        self.added += 1;
    }

    /// The multiplier of `cut` at which the least value of the sum is largest.
    fn best(&self, cut: &Halfspace) -> f64 {
        // The least value is concave in the multiplier: its slope is the cut's value at the corner where the sum is least,
        // and falls where a coefficient changes its sign and the corner moves.
        let (mut slope, mut turns) = (cut.constant, vec![]);
        for &(k, c) in &cut.terms {
            let (l, u) = (f64::from(self.lower[k]), f64::from(self.upper[k]));
            let a = self.slopes[k];
            let at_lower = a > 0.0 || a == 0.0 && c > 0.0;
            slope += c * if at_lower { l } else { u };
            if a * c < 0.0 {
                turns.push((-a / c, c.abs() * (u - l)));
            }
        }
        if slope <= 0.0 {
            return 0.0;
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0));
        for &(multiplier, fall) in &turns {
            slope -= fall;
            if slope <= 0.0 {
                return multiplier;
            }
        }
        // It rises without end: the cut leaves nothing of the box. Far enough for any value.
        let last = turns.last().map_or(0.0, |t| t.0);
        (2.0 * last + (1.0 + self.least().abs()) / slope * 2.0).min(1e30)
    }

    /// The least value over the box, rounded down.
    fn least(&self) -> f64 {
        let (mut least, mut size) = (self.constant, self.size);
        for (k, a) in self.slopes.iter().enumerate() {
            let (l, u) = (f64::from(self.lower[k]), f64::from(self.upper[k]));
            least += if *a > 0.0 { a * l } else { a * u };
            size += self.sizes[k] * l.abs().max(u.abs());
        }
        // Sums here and in `add`, products, and coefficients that are themselves rounded.
        least - size * (self.slopes.len() + 3 * self.added + 8) as f64 * f64::EPSILON
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn half(terms: &[f64], constant: f64) -> Halfspace {
        Halfspace { terms: terms.iter().copied().enumerate().filter(|t| t.1 != 0.0).collect(), constant }
    }

    #[test]
    fn cuts_raise_a_bound() {
        let square = (&[0.0f32; 2][..], &[1.0f32; 2][..]);
        // -x0 - x1 + 1.5 where x0 + x1 <= 1: at least 0.5.
        let base = half(&[-1.0, -1.0], 1.5);
        let cut = half(&[1.0, 1.0], -1.0);
        let least_of = |cuts: &[&Halfspace]| least(&base, cuts, square.0, square.1);
        assert!((least_of(&[]) + 0.5).abs() < 1e-12 && least_of(&[]) <= -0.5);
        assert!((least_of(&[&cut]) - 0.5).abs() < 1e-12);
        // Two halves of it, which only help together.
        let (a, b) = (half(&[1.0, 0.0], -0.5), half(&[0.0, 1.0], -0.5));
        assert!((least_of(&[&a, &b]) - 0.5).abs() < 1e-12);
        // Nothing is left of the box.
        assert!(least_of(&[&half(&[1.0, 1.0], 0.1)]) > 0.0);
    }

    #[test]
    fn bounds_hold_at_points_that_no_cut_excludes() {
        let mut rng = Rng::new(3, 9);
        let mut raised = 0;
        for _ in 0..200 {
            let n = 1 + rng.below(5);
            let (lower, upper): (Vec<f32>, Vec<f32>) =
                (0..n).map(|_| (rng.range(-1.0, 0.0), rng.range(0.0, 1.0))).unzip();
            let mut random = || {
                let terms: Vec<f64> = (0..n).map(|_| f64::from(rng.range(-1.0, 1.0))).collect();
                half(&terms, f64::from(rng.range(-0.5, 0.5)))
            };
            let (base, cuts) = (random(), [random(), random()]);
            let bound = least(&base, &[&cuts[0], &cuts[1]], &lower, &upper);
            raised += usize::from(bound > least(&base, &[], &lower, &upper));
            for _ in 0..200 {
                let x: Vec<f32> = (0..n).map(|k| rng.range(lower[k], upper[k])).collect();
                let value = |h: &Halfspace| h.constant + h.terms.iter().map(|(k, a)| a * f64::from(x[*k])).sum::<f64>();
                assert!(
                    cuts.iter().any(|c| value(c) > 0.0) || value(&base) >= bound,
                    "{base:?} {cuts:?} {x:?} {bound}"
                );
            }
        }
        assert!(raised > 100, "{raised}");
    }

    #[test]
    fn a_row_is_kept_below_its_slopes() {
        let (lower, upper) = ([-1.0f32, 0.0], [1.0f32, 2.0]);
        // 2 x0 - x1 + 3 has its least value -1 at (-1, 2).
        let half = zero_or_below(-1.0, &[2.0, -1.0], &lower, &upper);
        assert!((half.constant - 3.0).abs() < 1e-12 && half.constant <= 3.0);
    }
}
