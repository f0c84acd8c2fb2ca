//! How far apart two images are.

use crate::rounding::to_f32_up;

/// A norm of changes of an image, in pixel units of `[0,1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// The largest change of any pixel and channel.
    #[default]
    Linf,
    /// The Euclidean length: the root of the summed squares of all changes.
    L2,
}

impl Norm {
    /// The one that is taken where nothing is said first.
    pub const ALL: [Norm; 2] = [Norm::Linf, Norm::L2];

    /// As on the command line and in result files.
    pub fn name(self) -> &'static str {
        match self {
            Norm::Linf => "linf",
            Norm::L2 => "l2",
        }
    }

    /// How far images of this many values may be apart, at most.
    pub fn largest(self, elements: usize) -> f32 {
        match self {
            Norm::Linf => 1.0,
            Norm::L2 => to_f32_up((elements as f64).sqrt()),
        }
    }

    /// Distance of two images, rounded up.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        let changes = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        to_f32_up(match self {
            Norm::Linf => changes.fold(0.0, f64::max),
            // Sums of nonnegative f64 are off by far less than the last place of f32.
            Norm::L2 => changes.map(|c| c * c).sum::<f64>().sqrt() * (1.0 + 1e-9),
        })
    }

    /// How much farther images may be apart whose values are each off by `by`.
    pub fn spread(self, by: f32, elements: usize) -> f32 {
        to_f32_up(f64::from(by) * f64::from(self.largest(elements)))
    }

    /// Pulls a point into the ball of this radius around an image, and into `[0,1]`. Pulled along straight lines to the
    /// image: a point of the ball may be a rounding outside it.
    pub fn pull(self, point: &mut [f32], image: &[f32], radius: f32) {
        let share = match self {
            Norm::Linf => 1.0,
            Norm::L2 => (radius / self.distance(point, image).max(f32::MIN_POSITIVE)).min(1.0),
        };
        for (p, x) in point.iter_mut().zip(image) {
            *p = match self {
                Norm::Linf => p.clamp(x - radius, x + radius),
                Norm::L2 => x + share * (*p - x),
            }
            .clamp(0.0, 1.0);
        }
    }
}

impl std::fmt::Display for Norm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_pulled_into_the_ball_and_the_pixels() {
        let image = [0.1f32, 0.5, 0.95, 0.5];
        for norm in Norm::ALL {
            for radius in [0.01f32, 0.3, 10.0] {
                let mut point = [0.9f32, -3.0, 1.2, 0.5];
                norm.pull(&mut point, &image, radius);
                assert!(norm.distance(&point, &image) <= radius * 1.000_001 && point[3] == 0.5, "{norm} {radius}");
                assert!(point.iter().all(|p| (0.0..=1.0).contains(p)));
            }
            assert!(norm.distance(&[0.0; 9], &[1.0; 9]) <= norm.largest(9).next_up());
        }
        assert!((Norm::L2.distance(&[0.0, 0.0], &[0.3, 0.4]) - 0.5).abs() < 1e-6);
        assert_eq!(Norm::Linf.distance(&[0.0, 0.5], &[0.25, 0.25]), 0.25);
    }
}
