//! A test set under other light and through other lenses, image by image.

use rayon::prelude::*;

use super::bracket::{ENOUGH, Found, Question, Settings, brackets};
use super::table::{Row, Table};
use super::{Family, Kind};
use crate::bounds::Bounder;
use crate::certify::classify;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::progress::Progress;
use crate::search::Subject;

/// What to ask.
#[derive(Clone, Debug)]
pub struct Request {
    /// How images change.
    pub kinds: Vec<Kind>,
    /// Share of each other to which the ends of brackets are closed.
    pub gap: f64,
    /// Boxes bounded at once.
    pub batch: usize,
    /// Images `range` of the data, in order.
    pub range: std::ops::Range<usize>,
    /// The first so many images of the data get pictures.
    pub pictures: usize,
}

/// What was found of one image.
pub struct Answer<'a> {
    /// The image with its class.
    pub subject: &'a Subject,
    /// Each family, and what is known of it.
    pub families: Vec<(Family, Found)>,
}

/// Asks every image of the range, but those that the table knows. `draw` makes the picture of an image as PNG.
///
/// # Errors
/// A fault of the device, or of the table.
pub fn run(
    bounder: &Bounder,
    data: &Dataset,
    request: &Request,
    table: &mut Table,
    progress: &mut Progress,
    draw: impl Fn(&Answer<'_>) -> Vec<u8>,
) -> Result<()> {
    let settings = Settings { gap: request.gap, batch: request.batch, boxes: ENOUGH };
    let todo = progress.left(request.range.clone(), |i| table.knows(i));
    // Which boxes are bounded side by side may change last digits: each image goes by itself, so that its rows are the same
    // in every shard.
    for block in todo.chunks(bounder.net.device.side_by_side()) {
        let images: Vec<_> = block.iter().map(|&i| data.image(i)).collect();
        let subjects = classify(bounder, &images)?;
        let ask = |subject: &Subject| -> Result<Vec<(Family, Found)>> {
            let families = request.kinds.iter().flat_map(|kind| Family::of(*kind, data.shape, &subject.image));
            let questions: Vec<Question<'_>> = families.map(|family| Question { subject, family }).collect();
            let found = brackets(bounder, &questions, &settings)?;
            Ok(questions.into_iter().map(|q| q.family).zip(found).collect())
        };
        let found: Vec<_> = subjects.par_iter().map(ask).collect::<Result<_>>()?;
        for ((&index, subject), families) in block.iter().zip(&subjects).zip(found) {
            let answer = Answer { subject, families };
            if index < request.pictures {
                table.picture(index, &draw(&answer))?;
            }
            let row = |(family, found): &(Family, Found)| Row {
                index,
                file: data.names[index].clone(),
                label: data.labels[index],
                predicted: subject.class,
                kind: family.kind.to_string(),
                direction: family.direction.to_string(),
                proved: found.proved,
                broken: found.broken.as_ref().map_or(f64::INFINITY, |b| b.scale),
                clear: found.broken.as_ref().is_some_and(|b| b.clear),
                at: found.broken.iter().flat_map(|b| &b.t).map(f64::to_string).collect::<Vec<_>>().join(" "),
            };
            table.push(&answer.families.iter().map(row).collect::<Vec<_>>())?;
            progress.advance(1);
        }
    }
    Ok(())
}
