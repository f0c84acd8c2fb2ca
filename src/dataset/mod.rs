//! Labelled images as plain data, no device: readers ([`load`]), made-up shoe photos ([`shoes`]) and [`augment`].

pub mod augment;
mod cifar;
mod classes;
mod folder;
mod idx;
mod labels;
mod npz;
mod part;
mod picture;
mod pixels;
mod rest;
#[cfg(feature = "study")]
pub mod shoes;
mod source;
pub mod split;
#[cfg(test)]
mod testing;
mod tree;

use std::borrow::Cow;
use std::ops::Range;

use sha2::{Digest, Sha256};

pub use self::part::Split;
pub use self::picture::load_image;
pub use self::pixels::Pixels;
pub use self::source::{Fit, MAX_SIZE, Network, Source, Splits, class_count, load, natural_size, reads};
use crate::tensor::Shape;

/// Labelled images of one shape. Pixels are f32 in `[0,1]`.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Of one image.
    pub shape: Shape,
    /// Class names; labels index into it.
    pub classes: Vec<String>,
    /// One per image: path below the data folder, or a made-up name.
    pub names: Vec<String>,
    /// One per image, below the number of classes.
    pub labels: Vec<usize>,
    /// `[image][channel][row][column]`.
    pub pixels: Pixels,
}

impl Dataset {
    /// No images yet.
    pub fn empty(shape: Shape, classes: Vec<String>) -> Self {
        Dataset { shape, classes, names: Vec::new(), labels: Vec::new(), pixels: Pixels::new() }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of image `i`, `[channel][row][column]`.
    pub fn image(&self, i: usize) -> Cow<'_, [f32]> {
        self.images(i..i + 1)
    }

    /// Pixels of a range of images, one after another.
    pub fn images(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        let n = self.shape.len();
        self.pixels.range(range.start * n..range.end * n)
    }

    /// Appends one image; `pixels` has `shape.len()` values in `[0,1]`, `label` indexes into `classes`.
    pub fn push(&mut self, name: String, label: usize, pixels: &[f32]) {
        self.pixels.extend(pixels);
        self.entered(name, label);
    }

    /// Appends one image of bytes, as files of photos have them: 255 is 1.
    pub(crate) fn push_bytes(&mut self, name: String, label: usize, pixels: impl IntoIterator<Item = u8>) {
        self.pixels.extend_bytes(pixels);
        self.entered(name, label);
    }

    fn entered(&mut self, name: String, label: usize) {
        assert!(label < self.classes.len(), "label {label} of {} classes", self.classes.len());
        self.names.push(name);
        self.labels.push(label);
        assert_eq!(self.pixels.len(), self.len() * self.shape.len(), "images of shape {}", self.shape);
    }

    /// Images per class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labels.iter().for_each(|&l| counts[l] += 1);
        counts
    }

    /// Images per class for people: `Sandals 110, Slippers 30, Shoes 600, Boots 260`. Of many classes, between which numbers
    /// they lie.
    pub fn counts_line(&self) -> String {
        const SAID: usize = 20;
        let each: Vec<(usize, &String)> = self.counts().into_iter().zip(&self.classes).collect();
        if each.len() <= SAID {
            return each.iter().map(|(n, name)| format!("{name} {n}")).collect::<Vec<_>>().join(", ");
        }
        let (least, most) = (each.iter().min_by_key(|e| e.0), each.iter().max_by_key(|e| e.0));
        let said = least.zip(most).map(|((few, a), (many, b))| format!("from {a} ({few}) to {b} ({many})"));
        format!("{} images of {} classes, {}", self.len(), each.len(), said.unwrap_or_default())
    }

    /// The first `limit` images.
    pub fn take(&self, limit: usize) -> Dataset {
        let (n, mut pixels) = (limit.min(self.len()), Pixels::new());
        pixels.extend_from(&self.pixels, 0..n * self.shape.len());
        Dataset {
            shape: self.shape,
            classes: self.classes.clone(),
            names: self.names[..n].to_vec(),
            labels: self.labels[..n].to_vec(),
            pixels,
        }
    }

    /// The images at `indices`, in that order; an index may repeat.
    pub fn subset(&self, indices: &[usize]) -> Dataset {
        let (n, mut pixels) = (self.shape.len(), Pixels::new());
        pixels.reserve(indices.len() * n);
        indices.iter().for_each(|&i| pixels.extend_from(&self.pixels, i * n..(i + 1) * n));
        Dataset {
            shape: self.shape,
            classes: self.classes.clone(),
            names: indices.iter().map(|&i| self.names[i].clone()).collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            pixels,
        }
    }

    /// SHA-256 (hex) over shape, class names, labels, image names and pixel bits: names the data of a result.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        let mut text = |s: &str| {
            sha.update((s.len() as u64).to_le_bytes());
            sha.update(s.as_bytes());
        };
        text(&format!("{} {} {}", self.shape, self.classes.len(), self.len()));
        self.classes.iter().chain(&self.names).for_each(|s| text(s));
        self.labels.iter().for_each(|&l| sha.update((l as u64).to_le_bytes()));
        let mut bytes = Vec::with_capacity(4 * self.shape.len());
        for i in 0..self.len() {
            bytes.clear();
            self.image(i).iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
            sha.update(&bytes);
        }
        crate::input::hex(sha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Dataset {
        let mut data = Dataset::empty(Shape::new(1, 1, 2), vec!["a".into(), "b".into()]);
        data.push("x".into(), 0, &[0.0, 0.25]);
        data.push("y".into(), 1, &[0.5, 0.75]);
        data.push("z".into(), 1, &[1.0, 0.0]);
        data
    }

    #[test]
    fn subsets_counts_and_prefixes() {
        let data = three();
        assert_eq!(data.counts_line(), "a 1, b 2");
        let labels = (0..30).chain([7]).collect::<Vec<usize>>();
        let many = Dataset { classes: (0..30).map(|c| format!("c{c}")).collect(), labels, ..data.clone() };
        assert!(many.counts_line().ends_with("of 30 classes, from c0 (1) to c7 (2)"), "{}", many.counts_line());
        assert_eq!(data.take(2).names, ["x", "y"]);
        assert_eq!(data.take(9).len(), 3);
        let back = data.subset(&[2, 0]);
        assert_eq!((back.names[0].as_str(), back.image(0), back.labels[1]), ("z", Cow::from(vec![1.0, 0.0]), 0));
    }

    #[test]
    fn the_hash_sees_every_part() {
        let base = three();
        let mut others = vec![base.clone(); 5];
        others[0].pixels = vec![0.0, 0.25, 0.5, 0.76, 1.0, 0.0].into();
        others[1].labels[0] = 1;
        others[2].names[0] = "w".into();
        others[3].classes[0] = "c".into();
        others[4].shape = Shape::new(2, 1, 1);
        assert_eq!(base.hash().len(), 64);
        assert_eq!(base.hash(), three().hash());
        others.iter().for_each(|other| assert_ne!(base.hash(), other.hash()));
    }
}
