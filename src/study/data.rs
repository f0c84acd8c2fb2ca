//! The data of a study, for its page.

use super::Settings;
use crate::dataset::Splits;
use crate::dataset::augment;
use crate::results::{Augmented, DataSummary, Picture, Sample, Variant};

/// The data in pictures: a few of every class, and what augmentation does to one of each.
pub fn summary(splits: &Splits, settings: &Settings) -> DataSummary {
    // Models that are there already need no images to train on.
    let data = if splits.train.is_empty() { &splits.test } else { &splits.train };
    let picture = |pixels: &[f32]| Picture::from_chw(data.shape, pixels);
    let samples = (0..data.classes.len())
        .flat_map(|class| {
            let of_class = (0..data.len()).filter(move |&i| data.labels[i] == class).take(8);
            of_class.map(move |i| Sample { label: class, picture: picture(&data.image(i)) })
        })
        .collect();
    let examples = augment::examples(&splits.train, settings.seed);
    let per_class = examples.len() / data.classes.len().max(1);
    let augmentation = examples
        .chunks(per_class.max(1))
        .filter_map(|views| {
            let (first, rest) = views.split_first()?;
            let label = data.classes.iter().position(|c| *c == first.0)?;
            let variant =
                |(what, pixels): &(String, Vec<f32>)| Variant { what: what.clone(), picture: picture(pixels) };
            Some(Augmented { label, original: picture(&first.1), variants: rest.iter().map(variant).collect() })
        })
        .collect();
    DataSummary {
        name: settings.name.clone(),
        source: settings.source.clone(),
        shape: data.shape,
        classes: data.classes.clone(),
        train_counts: splits.train.counts(),
        test_counts: splits.test.counts(),
        test_hash: Some(splits.test.hash()),
        test_labels: splits.test.labels.clone(),
        samples,
        augmentation,
        ..DataSummary::default()
    }
}
