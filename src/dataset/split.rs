//! The seeded, stratified split of data that comes without one.

use std::path::Path;

use super::{Dataset, Split, Splits};
use crate::error::{Error, Result};
use crate::rng::Rng;

/// Keeps the split's random numbers apart from other uses of the seed.
const STREAM: u64 = 0x5371;

/// Sends `share` of every class to the test set (at least one image, and never all). Both sets are ordered so that every
/// prefix has about the class balance of the whole: the first N images are a fair sample.
///
/// Which images of a class are for testing depends on its name and images alone: with other classes beside it, or in
/// another order, no training image turns into a test image.
pub fn stratified(path: &Path, data: &Dataset, share: f64, seed: u64) -> Result<Splits> {
    stratified_by(path, data, &data.classes, share, seed, None)
}

/// [`stratified`] by other names of the classes. Where one part alone is wanted, it gets the image of a class that has no
/// other.
pub fn stratified_by(
    path: &Path,
    data: &Dataset,
    names: &[String],
    share: f64,
    seed: u64,
    only: Option<Split>,
) -> Result<Splits> {
    let mut members = vec![Vec::new(); data.classes.len()];
    data.labels.iter().enumerate().for_each(|(i, &label)| members[label].push(i));
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (class, mut images) in members.into_iter().enumerate().filter(|(_, images)| !images.is_empty()) {
        Rng::new(seed, STREAM ^ hash(&names[class])).shuffle(&mut images);
        let count = (images.len() as f64 * share).round() as usize;
        let count = match (images.len(), only) {
            _ if share == 0.0 => 0,
            (1, Some(part)) => usize::from(part == Split::Test),
            (1, None) => {
                let problem = "has one image; a split into training and test needs two, or folders train and test";
                return Err(Error::input(path, format!("class {} {problem}", data.classes[class])));
            }
            (n, _) => count.clamp(1, n - 1),
        };
        test.push(images.split_off(images.len() - count));
        train.push(images);
    }
    let subset = |lists: &[Vec<usize>]| data.subset(&mixed(names, lists));
    Ok(Splits { train: subset(&train), test: subset(&test), notes: vec![], drawn_from: Some(data.len()) })
}

/// FNV-1a: names to numbers, for ever the same.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Merges one list per class so that each is spread evenly over the result, whatever the order of the classes.
fn mixed(classes: &[String], lists: &[Vec<usize>]) -> Vec<usize> {
    let mut placed: Vec<(f64, &str, usize)> = Vec::new();
    for (class, list) in classes.iter().zip(lists) {
        placed.extend(list.iter().enumerate().map(|(k, &i)| ((k as f64 + 0.5) / list.len() as f64, class.as_str(), i)));
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    placed.into_iter().map(|(_, _, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn data(counts: &[usize]) -> Dataset {
        let mut data = Dataset::empty(Shape::flat(1), (0..counts.len()).map(|c| c.to_string()).collect());
        for (class, &n) in counts.iter().enumerate() {
            (0..n).for_each(|i| data.push(format!("{class}/{i}"), class, &[0.5]));
        }
        data
    }

    #[test]
    fn every_class_is_in_both_parts_and_nothing_is_lost() {
        let all = data(&[100, 10, 2]);
        let splits = stratified(Path::new("d"), &all, 0.2, 7).unwrap();
        assert_eq!(splits.test.counts(), [20, 2, 1]);
        assert_eq!(splits.train.counts(), [80, 8, 1]);
        let mut names: Vec<_> = splits.train.names.iter().chain(&splits.test.names).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        let again = stratified(Path::new("d"), &all, 0.2, 7).unwrap();
        assert_eq!(again.test.names, splits.test.names);
        assert_ne!(stratified(Path::new("d"), &all, 0.2, 8).unwrap().test.names, splits.test.names);
    }

    #[test]
    fn other_classes_beside_it_do_not_change_a_class() {
        let names = |order: &[usize]| {
            let mut all = data(&[9, 12, 20]).subset(&[]);
            all.classes = order.iter().map(|c| c.to_string()).collect();
            for (label, &class) in order.iter().enumerate() {
                (0..[9, 12, 20][class]).for_each(|i| all.push(format!("{class}/{i}"), label, &[0.5]));
            }
            stratified(Path::new("d"), &all, 0.3, 4).unwrap().test.names
        };
        assert_eq!(names(&[0, 1, 2]), names(&[2, 0, 1]));
        let of =
            |class: &str, names: Vec<String>| names.into_iter().filter(|n| n.starts_with(class)).collect::<Vec<_>>();
        assert_eq!(of("2/", names(&[0, 1, 2])), of("2/", names(&[1, 2])));
    }

    #[test]
    fn a_prefix_is_a_fair_sample() {
        let splits = stratified(Path::new("d"), &data(&[60, 30, 10]), 0.5, 1).unwrap();
        assert_eq!(splits.test.take(10).counts(), [6, 3, 1]);
        assert!(stratified(Path::new("d"), &data(&[5, 1]), 0.2, 0).unwrap_err().to_string().contains("class 1"));
        assert!(stratified(Path::new("d"), &data(&[5, 1]), 0.0, 0).unwrap().test.is_empty());
        let one = data(&[5, 1]);
        for (part, counts) in [(Split::Train, [1, 0]), (Split::Test, [1, 1])] {
            let splits = stratified_by(Path::new("d"), &one, &one.classes, 0.2, 0, Some(part)).unwrap();
            assert_eq!(splits.test.counts(), counts);
        }
    }
}
