//! Whether answers have anything to do with the images.

use crate::rng::Rng;

/// Chance of an accuracy, averaged over the classes, as high as this one where the answers were dealt to the images at
/// random: a permutation test (Pitman 1937). `None` for images of fewer than two classes, of which every answer says as much.
pub fn guessing(labels: &[usize], called: &[usize], seed: u64) -> Option<f64> {
    if labels.len() != called.len() || labels.iter().all(|l| *l == labels[0]) {
        return None;
    }
    let mut counts = vec![0usize; labels.iter().max()? + 1];
    labels.iter().for_each(|&l| counts[l] += 1);
    let right = |called: &[usize]| -> f64 {
        labels.iter().zip(called).filter(|(l, c)| l == c).map(|(&l, _)| 1.0 / counts[l] as f64).sum()
    };
    // Equal sums may differ by their rounding.
    let found = right(called) - 1e-9;
    // Fewer deals of large sets: a good model is beaten by none of them.
    let deals = (2_000_000 / labels.len()).clamp(200, 2000);
    let mut rng = Rng::new(seed, 0x6E55);
    let mut dealt = called.to_vec();
    let beaten = (0..deals).filter(|_| {
        rng.shuffle(&mut dealt);
        right(&dealt) >= found
    });
    Some((1 + beaten.count()) as f64 / (1 + deals) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_guesses_where_images_suffice() {
        let labels: Vec<usize> = (0..40).map(|i| i % 4).collect();
        let p = |called: Vec<usize>| guessing(&labels, &called, 1).unwrap();
        assert!(p(labels.clone()) < 0.001);
        assert!(p(labels.iter().map(|&l| if l == 0 { 0 } else { (l + 1) % 4 }).collect()) > 0.05, "one class of four");
        assert_eq!(p(vec![2; 40]), 1.0, "one answer to all");
        // All of three images right: one deal of six is as good.
        let few = guessing(&[0, 1, 2], &[0, 1, 2], 1).unwrap();
        assert!((few - 1.0 / 6.0).abs() < 0.03, "{few}");
        assert_eq!((guessing(&[1, 1], &[1, 0], 1), guessing(&[], &[], 1)), (None, None));
    }

    #[test]
    fn of_random_answers_few_pass() {
        let mut rng = Rng::new(3, 3);
        let labels: Vec<usize> = (0..60).map(|i| usize::from(i % 10 == 0)).collect();
        let passed = (0..200).filter(|&seed| {
            let called: Vec<usize> = labels.iter().map(|_| rng.below(2)).collect();
            guessing(&labels, &called, seed).unwrap() < 0.05
        });
        assert!(passed.count() <= 20);
    }
}
