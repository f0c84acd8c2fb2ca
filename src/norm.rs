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

    /// Whether a radius can be meant: no pixel moves by more than from black to white, lengths grow with the image.
    pub fn allows(self, radius: f64) -> bool {
        self == Norm::L2 || radius <= 1.0
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

/// How radii are spoken of, on pages and lines of text. What is written of a size is in `report/radius.rs`.
impl Norm {
    /// A radius on a line of text: `0.01415 (3.61/255)`, or `0.21700 (Euclidean)`.
    pub fn text(self, radius: f64) -> String {
        match self {
            Norm::Linf => format!("{radius:.5} ({:.2}/255)", 255.0 * radius),
            Norm::L2 => format!("{radius:.5} (Euclidean)"),
        }
    }

    /// By what radii are multiplied in columns of text, their decimals, and the unit behind them.
    pub fn unit(self) -> (f64, usize, &'static str) {
        match self {
            Norm::Linf => (255.0, 2, "/255"),
            Norm::L2 => (1.0, 4, ""),
        }
    }

    /// The images around one, in a word: *noise box*.
    pub fn ball(self) -> &'static str {
        match self {
            Norm::Linf => "box",
            Norm::L2 => "ball",
        }
    }

    /// Several of them.
    pub fn balls(self) -> &'static str {
        match self {
            Norm::Linf => "boxes",
            Norm::L2 => "balls",
        }
    }

    /// What they are, and in which unit delta is.
    pub fn meaning(self) -> &'static str {
        match self {
            Norm::Linf => {
                "All images whose every pixel differs from the image by at most delta, kept between black and white. Delta is given on the scale 0 to 1 and in grey levels of 255."
            }
            Norm::L2 => {
                "All images at a Euclidean distance of at most delta from the image, kept between black and white: the root of the summed squares of all changes, with pixels on the scale 0 to 1. It is no pixel unit: where each of n values changes by d the distance is d times the root of n, and so it is about, for Gaussian noise of deviation d."
            }
        }
    }

    /// Behind a size: a change of up to 2/255 *on every pixel*.
    pub fn on(self) -> &'static str {
        match self {
            Norm::Linf => "on every pixel",
            Norm::L2 => "in Euclidean length",
        }
    }

    /// The same behind a word for a size: this much *per pixel*.
    pub fn per(self) -> &'static str {
        match self {
            Norm::Linf => "per pixel",
            Norm::L2 => "in Euclidean length",
        }
    }

    /// What a radius is.
    pub fn moves(self) -> &'static str {
        match self {
            Norm::Linf => "how far every pixel may move",
            Norm::L2 => "how far all pixels together may move in Euclidean length",
        }
    }

    /// What is in a ball, as a clause: *any pixel moves by up to 2/255*.
    pub fn moved(self, size: &str) -> String {
        match self {
            Norm::Linf => format!("any pixel moves {}", self.by(size)),
            Norm::L2 => format!("all pixels together move {}", self.by(size)),
        }
    }

    /// Behind a word for moving: *by up to 2/255*.
    pub fn by(self, size: &str) -> String {
        match self {
            Norm::Linf => format!("by up to {size}"),
            Norm::L2 => format!("by a Euclidean length of up to {size}"),
        }
    }

    /// Behind the name of a quantity in a chart that has no room for more.
    pub fn label(self) -> &'static str {
        match self {
            Norm::Linf => "",
            Norm::L2 => " (Euclidean length)",
        }
    }

    /// What a page says first of its radii, where they are not those that readers expect.
    pub fn aside(self) -> &'static str {
        match self {
            Norm::Linf => "",
            Norm::L2 => {
                " Radii are Euclidean lengths: the root of the summed squares of all changes, with pixels from 0 to 1. They are no grey levels, and not on the scale of noise variances."
            }
        }
    }

    /// Behind a command that is to give radii of this norm.
    pub fn flag(self) -> &'static str {
        match self {
            Norm::Linf => "",
            Norm::L2 => " --norm l2",
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
