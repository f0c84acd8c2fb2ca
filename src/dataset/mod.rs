//! Labelled images as plain data, no device.

use crate::tensor::Shape;

/// Labelled images of one shape. Pixels are f32 in [0,1].
#[derive(Clone, Debug)]
pub struct Dataset {
    pub shape: Shape,
    /// Class names; labels index into it.
    pub classes: Vec<String>,
    /// One per image: path below the data folder, or a made-up name.
    pub names: Vec<String>,
    pub labels: Vec<usize>,
    /// `[image][channel][row][column]`.
    pub pixels: Vec<f32>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of image `i`, `[channel][row][column]`.
    pub fn image(&self, i: usize) -> &[f32] {
        let n = self.shape.len();
        &self.pixels[i * n..(i + 1) * n]
    }

    /// Images per class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labels.iter().for_each(|&l| counts[l] += 1);
        counts
    }
}
