//! Light and lens: how far the brightness, the contrast, the gain, the white balance or the sharpness of a photo may change
//! before its class does.
//!
//! A [`Family`] is the set of images `clip(x0 + t_1 d_1 + ... + t_n d_n)` with one to three parameters t, clipped to
//! `[0,1]` over real numbers; the directions d are made from the photo x0. With so few parameters, bounds over small
//! boxes of t are nearly exact (`leaf.rs`), and a search that halves them closes brackets ([`bracket`]): the class is proved
//! for every t up to one end, and an image of another class stands at the other.

pub mod bracket;
mod fine;
mod leaf;
pub mod run;
pub mod table;
mod turn;

use std::fmt;

use crate::tensor::Shape;

/// How a photo is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The same is added to every pixel: `x0 + t`
    Brightness,
    /// Distances from middle grey grow: `x0 + t (x0 - 1/2)`
    Contrast,
    /// All light is dimmed: `x0 - t x0`
    Darken,
    /// Each colour has a gain of its own: `x0 + t_c x0`
    WhiteBalance,
    /// Blended with itself seen through a disc: `x0 + t (blurred - x0)`
    Defocus,
    /// Blended with itself moved sideways: `x0 + t (blurred - x0)`
    MotionBlur,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Less light.
    Darker,
    /// More light.
    Brighter,
    /// Towards middle grey.
    Less,
    /// Further from it; or more blurred.
    More,
    /// Every parameter either way.
    Any,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Direction {
    /// As in result files.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Darker => "darker",
            Direction::Brighter => "brighter",
            Direction::Less => "less",
            Direction::More => "more",
            Direction::Any => "any",
        }
    }
}

impl Kind {
    /// All, as they are listed.
    pub const ALL: [Kind; 6] =
        [Kind::Brightness, Kind::Contrast, Kind::Darken, Kind::WhiteBalance, Kind::Defocus, Kind::MotionBlur];

    /// As on the command line and in result files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Brightness => "brightness",
            Kind::Contrast => "contrast",
            Kind::Darken => "darken",
            Kind::WhiteBalance => "white-balance",
            Kind::Defocus => "defocus",
            Kind::MotionBlur => "motion-blur",
        }
    }

    /// The ways it goes, and the largest parameter that is looked at: beyond it hardly a photo is one.
    pub fn directions(self) -> &'static [(Direction, f64)] {
        match self {
            Kind::Brightness => &[(Direction::Darker, 1.0), (Direction::Brighter, 1.0)],
            Kind::Contrast => &[(Direction::Less, 1.0), (Direction::More, 3.0)],
            Kind::Darken => &[(Direction::Darker, 1.0), (Direction::Brighter, 3.0)],
            Kind::WhiteBalance => &[(Direction::Any, 1.0)],
            Kind::Defocus | Kind::MotionBlur => &[(Direction::More, 1.0)],
        }
    }

    /// What a pixel of an image may be away from that of the family, so that what is proved holds however the image is computed
    /// from the file in f32, or over real numbers. Light takes a few roundings of numbers up to 1, blur a sum over many pixels.
    pub fn slack(self) -> f64 {
        match self {
            Kind::Brightness | Kind::Contrast | Kind::Darken | Kind::WhiteBalance => 1.0 / (1u32 << 22) as f64,
            Kind::Defocus | Kind::MotionBlur => 1.0 / (1u32 << 20) as f64,
        }
    }

    /// Whether images of one channel have it.
    pub fn fits(self, shape: Shape) -> bool {
        self != Kind::WhiteBalance || shape.channels > 1
    }
}

/// Images that a photo turns into, by parameters of which zero is the photo.
#[derive(Clone, Debug)]
pub struct Family {
    /// How the photo is changed.
    pub kind: Kind,
    /// Which way.
    pub direction: Direction,
    /// Parameters reach up to this.
    pub end: f64,
    /// Whether they are negative as well.
    pub both: bool,
    /// `[channel][row][column]`, in `[0,1]`.
    photo: Vec<f32>,
    /// One per parameter, like the photo.
    directions: Vec<Vec<f64>>,
}

impl Family {
    /// All families of a kind for a photo `[channel][row][column]` in `[0,1]`.
    pub fn of(kind: Kind, shape: Shape, photo: &[f32]) -> Vec<Family> {
        let x: Vec<f64> = photo.iter().map(|&v| f64::from(v)).collect();
        let plane = shape.height * shape.width;
        let each = |f: &dyn Fn(f64) -> f64| vec![x.iter().map(|&v| f(v)).collect::<Vec<f64>>()];
        // Two pixels of an image of the usual 28.
        let radius = |side: usize| (side as f64 / 14.0).max(1.0);
        let blur = |offsets: &[[isize; 2]]| {
            let blurred = blurred(&x, shape, offsets);
            vec![blurred.iter().zip(&x).map(|(b, x)| b - x).collect::<Vec<f64>>()]
        };
        let family = |&(direction, end): &(Direction, f64)| {
            let sign = match direction {
                Direction::Darker | Direction::Less => -1.0,
                Direction::Brighter | Direction::More | Direction::Any => 1.0,
            };
            let directions = match kind {
                Kind::Brightness => each(&|_| sign),
                Kind::Contrast => each(&|v| sign * (v - 0.5)),
                Kind::Darken => each(&|v| sign * v),
                Kind::WhiteBalance => {
                    let of = |c: usize, k: usize, v: f64| if k / plane == c { v } else { 0.0 };
                    let one = |c: usize| x.iter().enumerate().map(|(k, v)| of(c, k, *v)).collect();
                    (0..shape.channels).map(one).collect()
                }
                Kind::Defocus => blur(&disc(radius(shape.height.min(shape.width)))),
                Kind::MotionBlur => blur(&line(radius(shape.width))),
            };
            Family { kind, direction, end, both: direction == Direction::Any, photo: photo.to_vec(), directions }
        };
        kind.directions().iter().map(family).collect()
    }

    /// How many parameters it has.
    pub fn parameters(&self) -> usize {
        self.directions.len()
    }

    /// The image at some parameters, in f64 rounded to f32.
    pub fn image(&self, t: &[f64]) -> Vec<f32> {
        self.exact(t).into_iter().map(|v| v as f32).collect()
    }

    /// The same in f64.
    fn exact(&self, t: &[f64]) -> Vec<f64> {
        (0..self.photo.len()).map(|k| self.value(k, t).clamp(0.0, 1.0)).collect()
    }

    /// How fast one value changes with each parameter before it is clipped.
    fn directions_at(&self, k: usize) -> impl Iterator<Item = f64> {
        self.directions.iter().map(move |d| d[k])
    }

    /// One value before it is clipped.
    fn value(&self, k: usize, t: &[f64]) -> f64 {
        f64::from(self.photo[k]) + t.iter().zip(&self.directions).map(|(t, d)| t * d[k]).sum::<f64>()
    }
}

/// Offsets of pixels within a disc.
fn disc(radius: f64) -> Vec<[isize; 2]> {
    let most = radius as isize;
    let all = (-most..=most).flat_map(|dy| (-most..=most).map(move |dx| [dy, dx]));
    all.filter(|[dy, dx]| (dy * dy + dx * dx) as f64 <= radius * radius).collect()
}

/// Offsets along a row.
fn line(radius: f64) -> Vec<[isize; 2]> {
    let most = radius as isize;
    (-most..=most).map(|dx| [0, dx]).collect()
}

/// Means over some offsets; beyond the border the nearest pixel counts.
fn blurred(x: &[f64], shape: Shape, offsets: &[[isize; 2]]) -> Vec<f64> {
    let (height, width) = (shape.height as isize, shape.width as isize);
    let at = |c: usize, y: isize, column: isize| {
        let (y, column) = (y.clamp(0, height - 1), column.clamp(0, width - 1));
        x[(c * shape.height + y as usize) * shape.width + column as usize]
    };
    let mut means = Vec::with_capacity(x.len());
    for c in 0..shape.channels {
        for y in 0..height {
            for column in 0..width {
                let sum: f64 = offsets.iter().map(|[dy, dx]| at(c, y + dy, column + dx)).sum();
                means.push(sum / offsets.len() as f64);
            }
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_does_what_its_name_says() {
        let shape = Shape::new(3, 1, 4);
        let photo: Vec<f32> = (0..12).map(|k| k as f32 / 11.0).collect();
        let at = |kind: Kind, which: usize, t: &[f64]| Family::of(kind, shape, &photo)[which].image(t);
        let close = |a: Vec<f32>, f: &dyn Fn(usize) -> f32| {
            for (k, v) in a.iter().enumerate() {
                assert!((v - f(k).clamp(0.0, 1.0)).abs() < 1e-6, "{k}: {v}");
            }
        };
        close(at(Kind::Brightness, 0, &[0.25]), &|k| photo[k] - 0.25);
        close(at(Kind::Brightness, 1, &[0.25]), &|k| photo[k] + 0.25);
        close(at(Kind::Contrast, 0, &[1.0]), &|_| 0.5);
        close(at(Kind::Contrast, 1, &[1.0]), &|k| 2.0 * photo[k] - 0.5);
        close(at(Kind::Darken, 0, &[0.5]), &|k| 0.5 * photo[k]);
        close(at(Kind::Darken, 1, &[1.0]), &|k| 2.0 * photo[k]);
        close(at(Kind::WhiteBalance, 0, &[0.5, 0.0, -1.0]), &|k| [1.5, 1.0, 0.0][k / 4] * photo[k]);
        // A row of four: its first pixel stands for those beyond it.
        let mean = |k: usize| {
            let (row, column) = (k / 4 * 4, k % 4);
            (photo[row + column.saturating_sub(1)] + photo[k] + photo[row + (column + 1).min(3)]) / 3.0
        };
        close(at(Kind::MotionBlur, 0, &[1.0]), &mean);
        close(at(Kind::MotionBlur, 0, &[0.5]), &|k| 0.5 * (photo[k] + mean(k)));
        // Of the disc's five pixels three are the row's own.
        close(at(Kind::Defocus, 0, &[1.0]), &|k| (3.0 * mean(k) + 2.0 * photo[k]) / 5.0);
        for kind in Kind::ALL {
            let zero = vec![0.0; Family::of(kind, shape, &photo)[0].parameters()];
            assert_eq!(at(kind, 0, &zero), photo, "{kind}");
        }
        assert!(!Kind::WhiteBalance.fits(Shape::new(1, 2, 2)));
    }
}
