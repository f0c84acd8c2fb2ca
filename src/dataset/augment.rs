//! Augmentation: new views of training images (zoom, perspective, rotation), used to bring classes to equal counts.

use rayon::prelude::*;

use super::Dataset;
use crate::error::{Error, Result};
use crate::rng::Rng;
use crate::tensor::Shape;

/// A class never grows beyond this many times its own count: more copies of the same few photos teach nothing.
pub const MAX_GROWTH: usize = 40;

/// Keeps these random numbers apart from other uses of a seed.
const STREAM: u64 = 0xA119_0000_0000;

/// Which classes are augmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The data as it is.
    None,
    /// These classes (labels) are filled up with augmented copies to the count of the largest class. Half of the originals
    /// of a class that is already there are replaced by augmented copies of themselves, so that augmenting a class always
    /// shows it in new views, also where the classes are balanced.
    Classes(Vec<usize>),
    /// All classes: every one is seen in new views, all equally often.
    All,
}

impl Policy {
    /// `none`, `all`, or class names or numbers with commas between.
    pub fn parse(text: &str, classes: &[String]) -> Result<Policy> {
        match text.trim() {
            "" | "none" => return Ok(Policy::None),
            "all" => return Ok(Policy::All),
            _ => {}
        }
        let mut chosen = Vec::new();
        for word in text.split(',').map(str::trim) {
            let class = classes
                .iter()
                .position(|c| c == word)
                .or_else(|| classes.iter().position(|c| c.eq_ignore_ascii_case(word)))
                .or_else(|| word.parse().ok().filter(|&n: &usize| n < classes.len()));
            let Some(class) = class else {
                let problem =
                    format!("--augment {word:?}: not a class; use none, all, or some of {}", classes.join(", "));
                return Err(Error::usage(problem));
            };
            if !chosen.contains(&class) {
                chosen.push(class);
            }
        }
        Ok(Policy::Classes(chosen))
    }

    /// For people and file names: `none`, `all`, or the class names.
    pub fn describe(&self, classes: &[String]) -> String {
        match self {
            Policy::None => "none".into(),
            Policy::All => "all".into(),
            Policy::Classes(chosen) => chosen.iter().map(|&c| classes[c].as_str()).collect::<Vec<_>>().join(","),
        }
    }
}

/// One new view: shown from elsewhere, turned, nearer or farther.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Above 1 is nearer.
    pub zoom: f32,
    /// Degrees, anticlockwise.
    pub turn: f32,
    /// How far the corners of the image move, in shares of its sides: top left, top right, bottom right, bottom left.
    pub corners: [[f32; 2]; 4],
}

impl View {
    /// The image as it is.
    pub const SAME: View = View { zoom: 1.0, turn: 0.0, corners: [[0.0; 2]; 4] };

    /// A random view: zoom 0.7 to 1.2, up to 15 degrees to either side, corners by up to an eighth. Every view has a zoom
    /// and one or both of the others.
    pub fn random(rng: &mut Rng) -> View {
        let zoom = if rng.below(3) < 2 { rng.range(0.7, 0.98) } else { rng.range(1.02, 1.2) };
        let which = rng.below(3);
        let turn = if which != 0 { rng.range(-15.0, 15.0) } else { 0.0 };
        let mut view = View { zoom, turn, ..View::SAME };
        if which != 1 {
            view.corners.iter_mut().flatten().for_each(|v| *v = rng.range(-0.13, 0.13));
        }
        view
    }

    /// `zoom 0.83, turned 7°, perspective`
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        if self.zoom != 1.0 {
            parts.push(format!("zoom {:.2}", self.zoom));
        }
        if self.turn != 0.0 {
            parts.push(format!("turned {:.0}°", self.turn.round() + 0.0));
        }
        if self.corners != View::SAME.corners {
            parts.push("perspective".into());
        }
        if parts.is_empty() { "as it is".into() } else { parts.join(", ") }
    }

    /// The image in this view: bilinear sampling; what opens at the sides takes the colour of the border (the median of
    /// the outermost pixels, channel by channel).
    pub fn apply(&self, image: &[f32], shape: Shape) -> Vec<f32> {
        let Shape { channels, height, width } = shape;
        let (h, w) = (height as f32, width as f32);
        // Where the unit square of the result lies in the source: inverse zoom and turn, then the moved corners.
        let (sin, cos) = (-self.turn.to_radians()).sin_cos();
        let unit = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let quad: [[f32; 2]; 4] = std::array::from_fn(|k| {
            // Turned in pixels, so that an image that is not square is not sheared.
            let (x, y) = ((unit[k][0] + self.corners[k][0] - 0.5) * w, (unit[k][1] + self.corners[k][1] - 0.5) * h);
            let (u, v) = ((cos * x + sin * y) / self.zoom, (-sin * x + cos * y) / self.zoom);
            [u / w + 0.5, v / h + 0.5]
        });
        let map = square_to_quad(quad);
        let mut out = Vec::with_capacity(shape.len());
        for plane in image.chunks(height * width).take(channels) {
            let fill = border(plane, height, width);
            let pixel = |x: isize, y: isize| {
                let inside = (0..width as isize).contains(&x) && (0..height as isize).contains(&y);
                if inside { plane[y as usize * width + x as usize] } else { fill }
            };
            for y in 0..height {
                for x in 0..width {
                    let (u, v) = map((x as f32 + 0.5) / w, (y as f32 + 0.5) / h);
                    let (sx, sy) = (u * w - 0.5, v * h - 0.5);
                    let (fx, fy) = (sx.floor(), sy.floor());
                    let (tx, ty, ix, iy) = (sx - fx, sy - fy, fx as isize, fy as isize);
                    let top = pixel(ix, iy) * (1.0 - tx) + pixel(ix + 1, iy) * tx;
                    let bottom = pixel(ix, iy + 1) * (1.0 - tx) + pixel(ix + 1, iy + 1) * tx;
                    out.push((top * (1.0 - ty) + bottom * ty).clamp(0.0, 1.0));
                }
            }
        }
        out
    }
}

/// The projective map of the unit square onto a quadrilateral (Heckbert, "Fundamentals of texture mapping", 1989).
fn square_to_quad(q: [[f32; 2]; 4]) -> impl Fn(f32, f32) -> (f32, f32) {
    let d = |a: usize, b: usize| [q[a][0] - q[b][0], q[a][1] - q[b][1]];
    let (d1, d2) = (d(1, 2), d(3, 2));
    let s = [q[0][0] - q[1][0] + q[2][0] - q[3][0], q[0][1] - q[1][1] + q[2][1] - q[3][1]];
    let area = d1[0] * d2[1] - d2[0] * d1[1];
    let g = (s[0] * d2[1] - d2[0] * s[1]) / area;
    let h = (d1[0] * s[1] - s[0] * d1[1]) / area;
    let row = |c: usize| [q[1][c] - q[0][c] + g * q[1][c], q[3][c] - q[0][c] + h * q[3][c], q[0][c]];
    let (x, y) = (row(0), row(1));
    move |u, v| {
        let depth = g * u + h * v + 1.0;
        ((x[0] * u + x[1] * v + x[2]) / depth, (y[0] * u + y[1] * v + y[2]) / depth)
    }
}

/// Median of the outermost pixels.
fn border(plane: &[f32], height: usize, width: usize) -> f32 {
    let edge = (0..height * width).filter(|k| {
        let (x, y) = (k % width, k / width);
        x == 0 || y == 0 || x + 1 == width || y + 1 == height
    });
    let mut values: Vec<f32> = edge.map(|k| plane[k]).collect();
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}

/// The training set under a policy: the originals first, then the augmented copies. A copy's name is that of its original
/// and says how it was made. A class grows at most [`MAX_GROWTH`]-fold; an empty class stays empty.
pub fn augment(data: &Dataset, policy: &Policy, seed: u64) -> Dataset {
    let counts = data.counts();
    let largest = counts.iter().copied().max().unwrap_or(0);
    let mut members = vec![Vec::new(); data.classes.len()];
    data.labels.iter().enumerate().for_each(|(i, &label)| members[label].push(i));
    let mut kept = vec![true; data.len()];
    let mut plan: Vec<(usize, View)> = Vec::new();
    for (class, images) in members.iter().enumerate() {
        let chosen = match policy {
            Policy::None => false,
            Policy::Classes(classes) => classes.contains(&class),
            Policy::All => true,
        };
        if !chosen || images.is_empty() {
            continue;
        }
        let mut rng = Rng::new(seed, STREAM + class as u64);
        let mut order = images.clone();
        rng.shuffle(&mut order);
        let mut missing = largest.min(images.len().saturating_mul(MAX_GROWTH)) - images.len();
        let replaced = images.len().div_ceil(2).saturating_sub(missing);
        if replaced > 0 {
            order[..replaced].iter().for_each(|&i| kept[i] = false);
            missing += replaced;
        }
        plan.extend((0..missing).map(|k| (order[k % order.len()], View::random(&mut rng))));
    }
    let originals: Vec<usize> = (0..data.len()).filter(|&i| kept[i]).collect();
    let mut out = data.subset(&originals);
    let copies: Vec<Vec<f32>> = plan.par_iter().map(|&(i, view)| view.apply(&data.image(i), data.shape)).collect();
    for ((i, view), pixels) in plan.iter().zip(&copies) {
        out.push(format!("{} {}", data.names[*i], view.describe()), data.labels[*i], pixels);
    }
    out
}

/// Captioned views for a contact sheet, one row per class: the class's first image as it is, resized with fill, turned, in
/// perspective, and two views as training sees them.
pub fn examples(data: &Dataset, seed: u64) -> Vec<(String, Vec<f32>)> {
    let mut out = Vec::new();
    for (class, name) in data.classes.iter().enumerate() {
        let Some(i) = data.labels.iter().position(|&l| l == class) else { continue };
        let mut rng = Rng::new(seed, STREAM + (1 << 24) + class as u64);
        let mut corners = [[0.0; 2]; 4];
        corners.iter_mut().flatten().for_each(|v| *v = rng.range(-0.13, 0.13));
        let turn = if rng.below(2) == 0 { -1.0 } else { 1.0 } * rng.range(8.0, 15.0);
        let views = [
            View::SAME,
            View { zoom: rng.range(0.70, 0.80), ..View::SAME },
            View { turn, ..View::SAME },
            View { corners, ..View::SAME },
            View::random(&mut rng),
            View::random(&mut rng),
        ];
        for (k, view) in views.iter().enumerate() {
            let caption = if k == 0 { name.clone() } else { view.describe() };
            out.push((caption, view.apply(&data.image(i), data.shape)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(counts: &[usize]) -> Dataset {
        let mut data = Dataset::empty(Shape::new(1, 6, 8), (0..counts.len()).map(|c| format!("c{c}")).collect());
        let mut rng = Rng::new(1, 1);
        for (class, &n) in counts.iter().enumerate() {
            for i in 0..n {
                let pixels: Vec<f32> = (0..48).map(|_| rng.uniform()).collect();
                data.push(format!("c{class}/{i}"), class, &pixels);
            }
        }
        data
    }

    #[test]
    fn policies_are_read() {
        let classes: Vec<String> = ["Sandals", "Boots"].map(String::from).to_vec();
        let parse = |text: &str| Policy::parse(text, &classes);
        assert_eq!(parse("none").unwrap(), Policy::None);
        assert_eq!(parse("all").unwrap(), Policy::All);
        assert_eq!(parse("boots, 0,Boots").unwrap(), Policy::Classes(vec![1, 0]));
        assert_eq!(parse("Boots").unwrap().describe(&classes), "Boots");
        assert!(parse("Clogs").unwrap_err().to_string().contains("Sandals, Boots"));
    }

    #[test]
    fn classes_are_filled_up() {
        let base = data(&[3, 20, 8]);
        assert_eq!(augment(&base, &Policy::None, 1).hash(), base.hash());
        let one = augment(&base, &Policy::Classes(vec![0]), 1);
        assert_eq!(one.counts(), [20, 20, 8]);
        assert_eq!(one.take(base.len()).hash(), base.hash(), "originals stay");
        let all = augment(&base, &Policy::All, 1);
        assert_eq!(all.counts(), [20, 20, 20]);
        let copies = |class: usize| {
            all.labels.iter().zip(&all.names).filter(|(l, n)| **l == class && n.contains("zoom")).count()
        };
        assert_eq!([copies(0), copies(1), copies(2)], [17, 10, 12]);
        assert_eq!(augment(&base, &Policy::All, 1).hash(), all.hash());
        assert_ne!(augment(&base, &Policy::All, 2).hash(), all.hash());
        assert_eq!(augment(&data(&[1, 100]), &Policy::All, 1).counts(), [MAX_GROWTH, 100]);
        assert_eq!(augment(&data(&[0, 2]), &Policy::All, 1).counts(), [0, 2]);
        let balanced = data(&[5, 5]);
        let one = augment(&balanced, &Policy::Classes(vec![1]), 1);
        let copied = |class: usize| one.labels.iter().zip(&one.names).any(|(l, n)| *l == class && n.contains("zoom"));
        assert_eq!(
            (one.counts(), copied(0), copied(1)),
            (vec![5, 5], false, true),
            "balanced data is augmented all the same"
        );
        assert_ne!(augment(&data(&[1, 1]), &Policy::Classes(vec![0]), 1).hash(), data(&[1, 1]).hash());
    }

    #[test]
    fn views_move_pixels_where_they_should() {
        let shape = Shape::new(1, 9, 9);
        let mut image = vec![1.0; 81];
        image[4 * 9 + 4] = 0.0; // centre
        image[4 * 9 + 6] = 0.2; // two to the right
        assert!(View::SAME.apply(&image, shape).iter().zip(&image).all(|(a, b)| (a - b).abs() < 1e-5));
        let turned = View { turn: 90.0, ..View::SAME }.apply(&image, shape);
        assert!((turned[2 * 9 + 4] - 0.2).abs() < 1e-4, "anticlockwise: right goes up");
        let far = View { zoom: 0.5, ..View::SAME }.apply(&image, shape);
        assert!(far[4 * 9 + 5] < 0.95 && (far[0] - 1.0).abs() < 1e-6, "smaller, the border filled");
        let mut view = View::SAME;
        view.corners = [[-0.1, 0.0], [0.1, 0.0], [0.0, 0.0], [0.0, 0.0]];
        let tilted = view.apply(&image, shape);
        assert!(tilted.iter().all(|v| (0.0..=1.0).contains(v)) && tilted != image);
    }

    #[test]
    fn every_view_says_what_it_is() {
        let mut rng = Rng::new(3, 3);
        for _ in 0..50 {
            let text = View::random(&mut rng).describe();
            assert!(text.starts_with("zoom") && (text.contains("turned") || text.contains("perspective")), "{text}");
        }
        let examples = examples(&data(&[2, 2]), 1);
        assert_eq!((examples.len(), examples[0].0.as_str(), examples[7].0.starts_with("zoom")), (12, "c0", true));
    }
}
