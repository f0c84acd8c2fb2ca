//! Images that stay on a device from probe to probe of a search.

use std::sync::{Arc, PoisonError};

use super::around::Seen;
use super::{Ball, Bounder};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::ops::linear::{self, NONE};
use crate::tensor;

/// The images of the last batch.
#[derive(Default)]
pub(super) struct Held {
    images: Vec<Vec<f32>>,
    /// `[element][lane]`.
    x: Option<Arc<Buffer>>,
}

impl Bounder {
    /// The same bounds for batches of its own beside those of others: what stays from probe to probe is not shared.
    pub(crate) fn apart(&self) -> Bounder {
        Bounder { held: Arc::default(), seen: Seen::default(), ..self.clone() }
    }

    /// The images of balls, `[element][lane]`. A GPU keeps those of the last batch; elsewhere batches are bounded side by side,
    /// and nothing is to be moved.
    pub(super) fn images(&self, balls: &[Ball<'_>]) -> Result<Arc<Buffer>> {
        let images: Vec<&[f32]> = balls.iter().map(|b| b.image).collect();
        let elements = self.net.model.input.len();
        if self.device().is_gpu() {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            return held.place(self.device(), &images, elements);
        }
        let x = tensor::interleave_in(&images, elements, tensor::lanes(images.len()));
        Ok(Arc::new(self.device().upload(&x)?))
    }
}

impl Held {
    /// These images, all of so many `elements`, as `[element][lane]`, zero in lanes beyond them. Those of the last batch are
    /// on the device already, as far as they stand in the same order.
    pub fn place(&mut self, d: &Device, images: &[&[f32]], elements: usize) -> Result<Arc<Buffer>> {
        let mut held = 0..self.images.len();
        let source: Vec<Option<usize>> = images.iter().map(|i| held.find(|&h| self.images[h] == *i)).collect();
        let moved = source.iter().enumerate().any(|(lane, from)| *from != Some(lane));
        let width = tensor::lanes(images.len());
        let x = match self.x.take() {
            Some(x) if !moved && x.len() == elements * width => x,
            old => {
                let x = d.zeros(elements * width)?;
                let pick = |from: &Buffer, source: &mut dyn Iterator<Item = Option<usize>>| {
                    let mut lanes: Vec<u32> = source.map(|s| s.map_or(NONE, |s| s as u32)).collect();
                    lanes.resize(width, NONE);
                    linear::pick(d, from, &d.upload(&lanes)?, &x, [from.len() / elements, width])
                };
                if let Some(old) = old {
                    pick(&old, &mut source.iter().copied())?;
                }
                let new: Vec<&[f32]> =
                    images.iter().zip(&source).filter(|(_, s)| s.is_none()).map(|(image, _)| *image).collect();
                if !new.is_empty() {
                    let mut numbers = 0..new.len();
                    let lanes = source.iter().map(|s| if s.is_none() { numbers.next() } else { None });
                    pick(&d.upload(&tensor::interleave_in(&new, elements, new.len()))?, &mut lanes.into_iter())?;
                }
                Arc::new(x)
            }
        };
        // Each of the old ones stands in one lane at most.
        let mut keep = |(image, from): (&&[f32], &Option<usize>)| match from {
            Some(from) => std::mem::take(&mut self.images[*from]),
            None => image.to_vec(),
        };
        self.images = images.iter().zip(&source).map(&mut keep).collect();
        self.x = Some(x.clone());
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_stands_in_its_lane_and_moves_once() {
        let (d, elements) = (Device::cpu(), 5);
        let image = |i: usize| -> Vec<f32> { (0..elements).map(|k| (10 * i + k + 1) as f32).collect() };
        let all: Vec<Vec<f32>> = (0..40).map(image).collect();
        let mut held = Held::default();
        let batches: [&[usize]; 6] =
            [&[0, 1, 2, 3], &[0, 1, 2, 3], &[1, 3, 4], &[3, 4, 1], &(0..20).collect::<Vec<_>>(), &[19, 19, 5]];
        let mut words = vec![];
        for batch in batches {
            let images: Vec<&[f32]> = batch.iter().map(|&i| &all[i][..]).collect();
            let before = d.traffic().uploaded;
            let x = held.place(&d, &images, elements).unwrap();
            words.push((d.traffic().uploaded - before) / 4);
            assert_eq!(d.read::<f32>(&x).unwrap(), tensor::interleave(images.into_iter(), elements), "{batch:?}");
        }
        // Pixels of new images, and for each lane where it comes from: among the old ones, among the new ones.
        assert_eq!(words[..4], [4 * 5 + 16, 0, 5 + 2 * 16, 5 + 2 * 16]);
    }
}
