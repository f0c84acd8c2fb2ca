//! One box of parameters, and the zonotope that holds its images.

use super::Family;
use crate::bounds::Zonotope;
use crate::rounding::{to_f32_down, to_f32_up};

/// A product of intervals `[low, high]`, one per parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf(pub Vec<[f64; 2]>);

impl Leaf {
    /// The least over it of the largest parameter's magnitude.
    pub fn reach(&self) -> f64 {
        self.0.iter().map(|[low, high]| low.max(-high).max(0.0)).fold(0.0, f64::max)
    }

    /// Its longest side.
    pub fn width(&self) -> f64 {
        self.0.iter().map(|[low, high]| high - low).fold(0.0, f64::max)
    }

    /// The middle of every side.
    pub fn middle(&self) -> Vec<f64> {
        self.0.iter().map(|[low, high]| 0.5 * (low + high)).collect()
    }

    /// Half of every side, as seen from the middle.
    pub fn half(&self) -> Vec<f64> {
        self.0.iter().zip(self.middle()).map(|([low, high], m)| (m - low).max(high - m)).collect()
    }

    /// Cut in two across its longest side.
    pub fn halves(&self) -> [Leaf; 2] {
        let width = |[low, high]: &[f64; 2]| high - low;
        let longest = (0..self.0.len()).max_by(|&a, &b| width(&self.0[a]).total_cmp(&width(&self.0[b]))).unwrap_or(0);
        let middle = 0.5 * (self.0[longest][0] + self.0[longest][1]);
        let mut halves = [self.clone(), self.clone()];
        halves[0].0[longest][1] = middle;
        halves[1].0[longest][0] = middle;
        halves
    }

    /// The part of it where a parameter each is within a part of its side, given by ends in `[-1,1]`, rounded outward.
    pub fn part(&self, parts: &[[f64; 2]]) -> Leaf {
        let half = self.half();
        let side = |(k, m): (usize, f64)| {
            let ([low, high], [from, to], h) = (self.0[k], parts[k], half[k]);
            let room = 1e-12 * (m.abs() + h);
            let inner = [m + h * from - room, m + h * to + room];
            [if from > -1.0 { inner[0].max(low) } else { low }, if to < 1.0 { inner[1].min(high) } else { high }]
        };
        Leaf(self.middle().into_iter().enumerate().map(side).collect())
    }

    /// Where of it to look for another class: the middle, and the corner where a margin of these slopes is least.
    pub fn points(&self, slopes: &[[f64; 2]]) -> [Vec<f64>; 2] {
        let end = |(k, [low, high]): (usize, &[f64; 2])| match slopes.get(k) {
            Some(&[least, most]) if least + most > 0.0 => *low,
            Some(_) => *high,
            None => {
                if high.abs() > low.abs() {
                    *high
                } else {
                    *low
                }
            }
        };
        [self.middle(), self.0.iter().enumerate().map(end).collect()]
    }
}

/// Every image of the family within these parameters, and what is within its kind's slack of one.
pub(super) fn zonotope(family: &Family, leaf: &Leaf, class: usize) -> Zonotope {
    let (elements, slack) = (family.photo.len(), family.kind.slack());
    let (middle, half) = (leaf.middle(), leaf.half());
    let mut z = Zonotope {
        centre: Vec::with_capacity(elements),
        generators: vec![Vec::with_capacity(elements); half.len()],
        error: Vec::with_capacity(elements),
        lower: Vec::with_capacity(elements),
        upper: Vec::with_capacity(elements),
        class,
    };
    let mut spans = vec![0.0; half.len()];
    for k in 0..elements {
        spans.iter_mut().zip(&half).zip(family.directions_at(k)).for_each(|((s, h), d)| *s = h * d);
        let (m, r) = (family.value(k, &middle), spans.iter().map(|s| s.abs()).sum::<f64>());
        let (low, high) = (m - r, m + r);
        let [slope, shift, apart] = line(low, high);
        let centre = slope * m + shift;
        z.centre.push(centre as f32);
        // What f32 loses, and the roundings of f64 on numbers of a few units.
        let mut error = apart + slack + (centre - f64::from(centre as f32)).abs() + 1e-12;
        for (own, span) in z.generators.iter_mut().zip(&spans) {
            let span = slope * span;
            let kept = if (span as f32).is_subnormal() { 0.0 } else { span as f32 };
            own.push(kept);
            error += (span - f64::from(kept)).abs();
        }
        z.error.push(to_f32_up(error));
        z.lower.push(to_f32_down((low.clamp(0.0, 1.0) - slack).max(0.0)));
        z.upper.push(to_f32_up((high.clamp(0.0, 1.0) + slack).min(1.0)));
    }
    z
}

/// Slope, shift and distance of a line such that clipping to `[0,1]` stays within the distance of it from `low` to `high`.
fn line(low: f64, high: f64) -> [f64; 3] {
    let clip = |z: f64| z.clamp(0.0, 1.0);
    if low >= 0.0 && high <= 1.0 {
        return [1.0, 0.0, 0.0];
    }
    if high <= low || high <= 0.0 || low >= 1.0 {
        return [0.0, 0.5 * (clip(low) + clip(high)), 0.5 * (clip(high) - clip(low))];
    }
    let slope = (clip(high) - clip(low)) / (high - low);
    // Between kinks the difference is a line as well.
    let kinks = [low, high].into_iter().chain([0.0, 1.0].into_iter().filter(|z| low < *z && *z < high));
    let rest = kinks.map(|z| clip(z) - slope * z);
    let (least, most) = rest.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    [slope, 0.5 * (least + most), 0.5 * (most - least)]
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use crate::rng::Rng;
    use crate::tensor::Shape;

    #[test]
    fn lines_stay_within_their_distance_of_clipping() {
        let mut rng = Rng::new(5, 1);
        for _ in 0..2000 {
            let (a, b) = (f64::from(rng.range(-1.5, 2.5)), f64::from(rng.range(-1.5, 2.5)));
            let (low, high) = (a.min(b), a.max(b));
            let [slope, shift, apart] = line(low, high);
            for i in 0..=50 {
                let z = low + (high - low) * f64::from(i) / 50.0;
                let off = (z.clamp(0.0, 1.0) - slope * z - shift).abs();
                assert!(off <= apart + 1e-12, "[{low}, {high}] at {z}: {off} beyond {apart}");
            }
        }
        assert_eq!(line(0.2, 0.9), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn zonotopes_hold_the_images_of_their_leaf() {
        let (shape, mut rng) = (Shape::new(3, 3, 3), Rng::new(6, 2));
        let photo: Vec<f32> = (0..27).map(|_| rng.range(-0.3, 1.3).clamp(0.0, 1.0)).collect();
        for family in Kind::ALL.into_iter().flat_map(|kind| Family::of(kind, shape, &photo)) {
            for _ in 0..20 {
                let mut side = || {
                    let sign = if family.both { -1.0 } else { 0.0 };
                    let (a, b) = (f64::from(rng.range(sign, 1.0)), f64::from(rng.range(sign, 1.0)));
                    [a.min(b) * family.end, a.max(b) * family.end]
                };
                let leaf = Leaf((0..family.parameters()).map(|_| side()).collect());
                let z = zonotope(&family, &leaf, 0);
                for _ in 0..10 {
                    let s: Vec<f64> = leaf.0.iter().map(|_| f64::from(rng.range(-1.0, 1.0))).collect();
                    let t: Vec<f64> =
                        leaf.0.iter().zip(&s).map(|([l, h], s)| 0.5 * (l + h) + 0.5 * (h - l) * s).collect();
                    for (k, &v) in family.image(&t).iter().enumerate() {
                        let spans = z.generators.iter().zip(&s).map(|(g, s)| f64::from(g[k]) * s);
                        let linear = f64::from(z.centre[k]) + spans.sum::<f64>();
                        let off = (f64::from(v) - linear).abs();
                        assert!(off <= f64::from(z.error[k]), "{} at {t:?}: {off}", family.kind);
                        assert!(z.lower[k] <= v && v <= z.upper[k], "{} at {t:?}", family.kind);
                    }
                }
            }
        }
    }

    #[test]
    fn leaves_are_halved_and_know_how_near_they_come() {
        let leaf = Leaf(vec![[-0.5, 0.25], [0.125, 0.25]]);
        assert_eq!(leaf.reach(), 0.125);
        let [a, b] = leaf.halves();
        assert_eq!((a.0[0], b.0[0]), ([-0.5, -0.125], [-0.125, 0.25]));
        assert_eq!((a.reach(), leaf.width()), (0.125, 0.75));
        assert_eq!(leaf.points(&[[0.5, 1.0], [-1.0, -0.5]]), [vec![-0.125, 0.1875], vec![-0.5, 0.25]]);
        assert_eq!(leaf.points(&[])[1], [-0.5, 0.25]);
    }
}
