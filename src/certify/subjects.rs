//! Images with the classes whose dominance is to be proved.

use rayon::prelude::*;

use crate::bounds::{Ball, Bounder, Method};
use crate::dataset::Dataset;
use crate::device::{Device, Fit};
use crate::error::{Error, Result};
use crate::model::enclosure;
use crate::rounding::to_f32_down;
use crate::search::Subject;
use crate::sweep;

/// The (noisy) images with their predicted classes. Noise is made on the CPU: a GPU's may differ in the last digits, and
/// a row is to speak of the same image wherever it was made.
pub(super) fn subjects(
    bounder: &Bounder,
    data: &Dataset,
    indices: &[usize],
    variance: f64,
    seed: u64,
) -> Result<Vec<Subject>> {
    let batch = if bounder.net.device.is_gpu() { 1024 } else { 256 };
    let mut subjects = Vec::with_capacity(indices.len());
    let (mut rest, cpu, mut fit) = (indices, Device::cpu(), Fit::new(batch));
    while let Some(&first) = rest.first() {
        let run = rest.iter().take(batch).enumerate().take_while(|(k, i)| **i == first + k).count();
        let images = sweep::noisy(&cpu, data, first, run, variance, seed, 0)?;
        let images: Vec<&[f32]> = images.chunks(data.shape.len()).collect();
        subjects.extend(fit.run(&images, |images| classify(bounder, images))?);
        rest = &rest[run..];
    }
    Ok(subjects)
}

/// The images with the classes that the file's network gives them over real numbers; with those of f32 where an enclosure
/// in f64 leaves that open.
pub(crate) fn classify(bounder: &Bounder, images: &[impl AsRef<[f32]> + Sync]) -> Result<Vec<Subject>> {
    let mut subjects = Subject::classify(&bounder.net, images)?;
    // Bounds at the image alone settle nearly all at the price of a pass or two.
    let mut points = bounder.clone();
    points.method = bounder.method.min(Method::CrownIbp);
    let balls = subjects.iter().map(|s| Ball { image: &s.image, class: s.class, delta: 0.0 });
    let settled: Vec<bool> = match points.probe(&balls.collect::<Vec<_>>()) {
        Ok(outcomes) => outcomes.iter().map(|o| o.worst().0 > 0.0).collect(),
        Err(full @ Error::Memory(_)) => return Err(full),
        // What is wrong with the device shows again where it matters.
        Err(_) => vec![false; subjects.len()],
    };
    subjects.par_iter_mut().zip(settled).filter(|(_, settled)| !settled).for_each(|(subject, _)| {
        let known = enclosure::forward(&bounder.net.model, &subject.image);
        if let Some((class, lead)) = enclosure::largest(&known).filter(|(class, _)| *class != subject.class) {
            (subject.class, subject.margin) = (class, to_f32_down(lead));
        }
    });
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cancelling;
    use crate::network::Network;

    #[test]
    fn the_class_is_that_over_real_numbers_where_f64_can_tell() {
        for (power, told) in [(30, 0), (60, 1)] {
            let net = Network::new(&Device::cpu(), &cancelling((1u64 << power) as f32)).unwrap();
            let image: &[f32] = &[0.8];
            assert_eq!(Subject::classify(&net, &[image]).unwrap()[0].class, 1, "f32 errs");
            for method in Method::ALL {
                let bounder = Bounder::new(&net, method).unwrap();
                let subject = classify(&bounder, &[image]).unwrap().remove(0);
                assert_eq!(subject.class, told, "{method}");
                assert!(told == 1 || (subject.margin > 0.49 && subject.margin <= 0.5));
                // The wrong class is proved nowhere.
                let wrong = Ball { image, class: 1, delta: 1e-6 };
                assert_eq!(bounder.probe(&[wrong]).unwrap()[0].radius, 0.0);
            }
        }
    }
}
