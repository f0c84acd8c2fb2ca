//! Made-up shoe photos: four classes as in the case study, side view, toe to the left, on white.
//!
//! Every picture is drawn from random shapes, materials and colours, so a data set of any size and resolution comes from
//! one seed. Classes overlap where real ones do: chukkas and high-tops, moccasins and loafers, mules and clogs.

mod boots;
mod canvas;
mod foot;
mod line;
mod lows;
mod material;
mod sandals;
mod slippers;
mod sneakers;
mod straps;
mod surface;
mod trim;

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use self::canvas::Canvas;
use super::Dataset;
use crate::error::{Error, Result};
use crate::output::{self, Folder};
use crate::rng::Rng;
use crate::tensor::Shape;

/// What is in a picture. The order is that of the case study's classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open, with straps.
    Sandals,
    /// Soft, for indoors.
    Slippers,
    /// Low and closed.
    Shoes,
    /// To the ankle or higher.
    Boots,
}

impl Kind {
    /// In the order of labels.
    pub const ALL: [Kind; 4] = [Kind::Sandals, Kind::Slippers, Kind::Shoes, Kind::Boots];

    /// Name of the class.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sandals => "Sandals",
            Kind::Slippers => "Slippers",
            Kind::Shoes => "Shoes",
            Kind::Boots => "Boots",
        }
    }

    /// Share of the data, in percent: close to the case study's.
    pub fn share(self) -> usize {
        match self {
            Kind::Sandals => 11,
            Kind::Slippers => 3,
            Kind::Shoes => 60,
            Kind::Boots => 26,
        }
    }
}

/// A shoe ready to be drawn.
struct Scene {
    /// Largest height in shoe units.
    height: f32,
    draw: Box<dyn Fn(&mut Canvas)>,
}

impl Scene {
    fn new(height: f32, draw: impl Fn(&mut Canvas) + 'static) -> Self {
        Scene { height, draw: Box::new(draw) }
    }
}

/// One picture.
#[derive(Clone, Debug)]
pub struct Photo {
    /// What is shown, finer than the class: `Oxfords`, `Knee High`, …
    pub subtype: &'static str,
    /// `side * side * 3` bytes, `[row][column][red, green, blue]`.
    pub rgb: Vec<u8>,
}

/// Sides in pixels that a picture can have.
pub const SIDES: std::ops::RangeInclusive<usize> = 8..=1024;

/// Pictures are drawn this much larger and averaged down.
const OVERSAMPLING: usize = 2;

/// Draws one shoe on a white square of `side` pixels, in a light of its own.
pub fn render(kind: Kind, rng: &mut Rng, side: usize) -> Photo {
    let Photo { subtype, rgb } = draw(kind, rng, side);
    let contrast = rng.range(FAINTEST, 1.0);
    let lit = |v: u8| 255 - (f32::from(255 - v) * contrast).round() as u8;
    Photo { subtype, rgb: rgb.into_iter().map(lit).collect() }
}

/// The shoe in full contrast.
fn draw(kind: Kind, rng: &mut Rng, side: usize) -> Photo {
    let (subtype, scene) = match kind {
        Kind::Sandals => sandals::scene(rng),
        Kind::Slippers => slippers::scene(rng),
        Kind::Shoes => lows::scene(rng),
        Kind::Boots => boots::scene(rng),
    };
    let pixels = side * OVERSAMPLING;
    // The shoe fills the frame as in a catalogue, give or take a little.
    let fill = rng.range(0.80, 0.93) * pixels as f32;
    let scale = (fill / 104.0).min(fill / scene.height.max(1.0));
    let (dx, dy) = (rng.range(-0.02, 0.02), rng.range(-0.02, 0.02));
    let middle = pixels as f32 / 2.0;
    let origin = (middle - 49.0 * scale + dx * pixels as f32, middle + 0.5 * scene.height * scale + dy * pixels as f32);
    let mut canvas = Canvas::new(pixels, scale, origin, rng.next_u32());
    (scene.draw)(&mut canvas);
    Photo { subtype, rgb: canvas.finish(OVERSAMPLING) }
}

/// Photos are lit differently: of the contrast to the white ground, the brightest keep this share. Pale shoes are those
/// that noise hides first.
const FAINTEST: f32 = 0.2;

/// Keeps the random numbers of pictures apart from other uses of a seed.
const STREAM: u64 = 0x5e0e_0000_0000;

/// Kind of picture `i` of `count`: kinds are spread evenly, in their shares.
fn kinds(count: usize) -> Vec<Kind> {
    let mut placed = Vec::with_capacity(count);
    let mut upto = 0;
    let mut used = 0;
    for kind in Kind::ALL {
        used += kind.share();
        let n = count * used / 100 - upto;
        upto += n;
        placed.extend((0..n).map(|k| ((k as f64 + 0.5) / n as f64, kind)));
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().map(|(_, kind)| kind).collect()
}

/// Images per class of `count` pictures, for people.
pub fn counts_line(count: usize) -> String {
    let kinds = kinds(count);
    let parts = Kind::ALL.map(|kind| format!("{} {}", kind.name(), kinds.iter().filter(|&&k| k == kind).count()));
    parts.join(", ")
}

/// Picture `i` of the seed.
fn photo(kind: Kind, i: usize, side: usize, seed: u64) -> Photo {
    render(kind, &mut Rng::new(seed, STREAM + i as u64), side)
}

/// `count` pictures of `side` x `side` pixels in memory, RGB, classes in the order of [`Kind::ALL`] and in their shares,
/// spread evenly over the set. The same seed gives the same shoes at every size.
pub fn dataset(count: usize, side: usize, seed: u64) -> Dataset {
    drawn(&kinds(count), 0, side, seed)
}

/// Pictures of [`balanced`] are numbered from here on, apart from those of [`dataset`].
const APART: usize = 1 << 24;

/// `each` pictures of every kind, kinds by turns, none of them in a [`dataset`] of the same seed: to test on, where the
/// rare kinds count as much as the others.
pub fn balanced(each: usize, side: usize, seed: u64) -> Dataset {
    let kinds: Vec<Kind> = (0..each).flat_map(|_| Kind::ALL).collect();
    drawn(&kinds, APART, side, seed)
}

/// Pictures of these kinds, numbered from `first` on.
fn drawn(kinds: &[Kind], first: usize, side: usize, seed: u64) -> Dataset {
    let photo = |(i, &kind): (usize, &Kind)| photo(kind, first + i, side, seed);
    let photos: Vec<Photo> = kinds.par_iter().enumerate().map(photo).collect();
    let shape = Shape::new(3, side, side);
    let mut data = Dataset::empty(shape, Kind::ALL.map(|k| k.name().to_string()).to_vec());
    data.pixels.reserve(kinds.len() * shape.len());
    for (i, (photo, &kind)) in photos.iter().zip(kinds).enumerate() {
        let planes = (0..3).flat_map(|c| photo.rgb.iter().skip(c).step_by(3).copied());
        data.push_bytes(name(kind, photo.subtype, first + i), kind as usize, planes);
    }
    data
}

/// Makers that never were.
const BRANDS: [&str; 8] = ["Alder", "Birk & Moss", "Corvin", "Dune Lane", "Elmfoot", "Fenwick", "Gale", "Harrow"];

fn name(kind: Kind, subtype: &str, i: usize) -> String {
    format!("{}/{subtype}/{}/{i:05}.png", kind.name(), BRANDS[i * 7 % 8])
}

/// Writes `count` pictures as `Class/Subtype/Maker/00000.png` below the new folder `dir`; nothing is left behind on failure.
///
/// # Errors
/// `dir` exists and is not empty, or cannot be written.
pub fn write_tree(dir: &Path, count: usize, side: usize, seed: u64) -> Result<()> {
    if !output::is_empty(dir) {
        return Err(Error::input(dir, "not empty; choose a new folder"));
    }
    let folder = Folder::open(dir, "shoes", &[], false)?;
    write_pictures(folder.path(), dir, count, side, seed)?;
    folder.finish_unlisted()
}

/// Writes into `partial` what shall be in `dir`, which errors name.
fn write_pictures(partial: &Path, dir: &Path, count: usize, side: usize, seed: u64) -> Result<()> {
    kinds(count).par_iter().enumerate().try_for_each(|(i, &kind)| {
        let photo = photo(kind, i, side, seed);
        let name = name(kind, photo.subtype, i);
        let (path, shown) = (partial.join(&name), dir.join(&name));
        std::fs::create_dir_all(path.parent().unwrap_or(partial)).map_err(Error::io(&shown, "writing"))?;
        // By this encoder alone: asked for a format by name, those of all formats are compiled.
        let mut bytes = vec![];
        let encoded =
            PngEncoder::new(&mut bytes).write_image(&photo.rgb, side as u32, side as u32, ExtendedColorType::Rgb8);
        encoded.map_err(|e| Error::input(&shown, format!("cannot be encoded: {e}")))?;
        output::write_atomically(&path, &bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_names() {
        let data = dataset(200, 16, 3);
        assert_eq!(data.counts_line(), "Sandals 22, Slippers 6, Shoes 120, Boots 52");
        assert_eq!(data.shape, Shape::new(3, 16, 16));
        assert!(data.names.iter().zip(&data.labels).all(|(n, &l)| n.starts_with(Kind::ALL[l].name())));
        assert_eq!(data.take(100).counts(), [11, 3, 60, 26]);
    }

    #[test]
    fn a_seed_gives_the_same_shoes() {
        assert_eq!(dataset(12, 16, 3).hash(), dataset(12, 16, 3).hash());
        assert_ne!(dataset(12, 16, 3).hash(), dataset(12, 16, 4).hash());
    }

    #[test]
    fn every_shoe_stands_whole_on_white() {
        for (k, kind) in Kind::ALL.into_iter().enumerate() {
            for i in 0..25 {
                let side = 48;
                let photo = draw(kind, &mut Rng::new(k as u64, i), side);
                let ink = |x: usize, y: usize| photo.rgb[3 * (y * side + x)..][..3].iter().any(|&v| v < 200);
                let border = (0..side).any(|t| ink(t, 0) || ink(t, side - 1) || ink(0, t) || ink(side - 1, t));
                assert!(!border, "{kind:?} {} {i} is cut off", photo.subtype);
                let share = (0..side * side).filter(|&p| ink(p % side, p / side)).count() as f32 / (side * side) as f32;
                assert!((0.03..0.6).contains(&share), "{kind:?} {} {i} covers {share}", photo.subtype);
            }
        }
    }

    #[test]
    fn the_tree_reads_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("shoes");
        write_tree(&tree, 100, 16, 5).unwrap();
        assert!(write_tree(&tree, 100, 16, 5).unwrap_err().to_string().contains("not empty"));
        assert!(!tree.join(".deltamax-build").exists());
        let mut source = super::super::Source::new(&tree);
        source.classes = Kind::ALL.map(|k| k.name().to_string()).to_vec();
        source.test_share = 0.0;
        let (read, made) = (super::super::load(&source).unwrap().train, dataset(100, 16, 5));
        for (i, name) in read.names.iter().enumerate() {
            let j = made.names.iter().position(|n| n == name).unwrap();
            assert_eq!((read.image(i), read.labels[i]), (made.image(j), made.labels[j]), "{name}");
        }
    }
}
