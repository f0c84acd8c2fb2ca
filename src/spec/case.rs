//! Where the inputs of a property may lie: boxes with exact ends, and relations among inputs.

use std::cmp::Ordering;

use super::Linear;
use super::decimal::Decimal;
use super::relation::Relation;

/// One input box with what must not happen on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The box rounded outward, and narrowed by the relations: every allowed input lies in it.
    pub lower: Vec<f32>,
    /// Its upper ends.
    pub upper: Vec<f32>,
    /// The box as written.
    pub exact: Vec<Range>,
    /// What must hold among inputs besides.
    pub relations: Vec<Relation>,
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

impl Range {
    /// Is `x` inside, exactly?
    pub fn contains(&self, x: f64) -> bool {
        x.is_finite() && self.holds(&Decimal::from_f64(x))
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

    /// The number of this range that stands for `x`: the nearest f32 inside or, with `ends`, an end as written where `x`
    /// is at or beyond the last f32 before it; the middle where no f32 is inside.
    fn number(&self, x: f32, ends: bool) -> Decimal {
        let Some((low, high)) = self.inner() else {
            return self.lower.value.add(&self.upper.value).mul(&Decimal::half());
        };
        match (x <= low, x >= high) {
            (true, _) if ends && !self.lower.strict => self.lower.value.clone(),
            (_, true) if ends && !self.upper.strict => self.upper.value.clone(),
            _ => Decimal::from_f64(f64::from(x.clamp(low, high))),
        }
    }

    /// Is `x` inside, exactly?
    pub fn holds(&self, x: &Decimal) -> bool {
        let inside =
            |order: Ordering, outside: Ordering, strict| order != outside && !(strict && order == Ordering::Equal);
        inside(self.lower.value.cmp(x), Ordering::Greater, self.lower.strict)
            && inside(self.upper.value.cmp(x), Ordering::Less, self.upper.strict)
    }

    pub(super) fn is_empty(&self) -> bool {
        match self.lower.value.cmp(&self.upper.value) {
            Ordering::Less => false,
            Ordering::Equal => self.lower.strict || self.upper.strict,
            Ordering::Greater => true,
        }
    }
}

impl Case {
    /// Is `x` an input as written, exactly?
    pub fn contains(&self, x: &[Decimal]) -> bool {
        x.len() == self.exact.len()
            && self.exact.iter().zip(x).all(|(r, x)| r.holds(x))
            && self.relations.iter().all(|r| r.holds(x))
    }

    /// The box of f32 numbers in which counterexamples are looked for: those inside the box as written or, where an input
    /// has none, the nearest to the middle of its range. [`point`](Self::point) makes an input of what is found.
    pub fn inner(&self) -> (Vec<f32>, Vec<f32>) {
        let ends = self.exact.iter().zip(self.lower.iter().zip(&self.upper)).map(|(r, (l, u))| match r.inner() {
            // Relations may have narrowed the box to no f32 of its own.
            Some((low, high)) => (l.clamp(low, high), u.clamp(low, high)),
            None => {
                let middle = r.number(0.0, false).to_f64() as f32;
                (middle, middle)
            }
        });
        ends.unzip()
    }

    /// The input as written that `x` stands for, as exact numbers: f32 ones where they do, with `ends` the box's own ends
    /// where `x` is at an end, and moved so that relations hold. `None` if that is beyond this.
    pub fn point(&self, x: &[f32], ends: bool) -> Option<Vec<Decimal>> {
        let mut point: Vec<Decimal> = self.exact.iter().zip(x).map(|(r, x)| r.number(*x, ends)).collect();
        // One relation may upset another.
        for _ in 0..self.relations.len() + 4 {
            let broken: Vec<&Relation> = self.relations.iter().filter(|r| !r.holds(&point)).collect();
            if broken.is_empty() {
                return self.contains(&point).then_some(point);
            }
            broken.into_iter().for_each(|r| r.settle(&mut point, &self.exact));
        }
        None
    }

    /// Narrows a box to what the relations leave of it, outward; whether anything is left.
    pub fn narrow(&self, lower: &mut [f32], upper: &mut [f32]) -> bool {
        narrow(&self.relations, lower, upper)
    }

    /// Moves `x` within a box towards where all relations hold.
    pub fn pull(&self, x: &mut [f32], lower: &[f32], upper: &[f32]) {
        for _ in 0..if self.relations.len() > 1 { 10 } else { 1 } {
            self.relations.iter().for_each(|r| r.near().pull(x, lower, upper));
        }
    }
}

/// Narrows a box by relations until it stays as it is, or nearly.
pub(super) fn narrow(relations: &[Relation], lower: &mut [f32], upper: &mut [f32]) -> bool {
    for _ in 0..if relations.len() > 1 { 10 } else { 1 } {
        if !relations.iter().all(|r| r.near().narrow(lower, upper)) {
            return false;
        }
    }
    true
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
    fn points_have_exact_numbers_where_there_is_no_float() {
        let d = |t: &str| Decimal::parse(t).unwrap();
        let exact =
            vec![range("0.1", "0.1", false), range("0.10000000001", "0.10000000002", false), range("0", "0.3", false)];
        let case = Case {
            lower: vec![0.1, 0.1, 0.0],
            upper: vec![0.1, 0.1, 0.3],
            exact,
            relations: vec![],
            disjuncts: vec![],
        };
        let (low, high) = case.inner();
        assert_eq!((low[0], low[1], high[0]), (0.1, 0.1, 0.1));
        let high = high[2];
        assert_eq!(case.point(&[0.1, 0.1, high], true).unwrap(), [d("0.1"), d("0.100000000015"), d("0.3")]);
        assert_eq!(case.point(&[0.1, 0.1, 9.0], false).unwrap()[2], Decimal::from_f64(high.into()));
    }
}
