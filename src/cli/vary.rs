//! `deltamax certify --vary`: how far light and lens may change a photo before its class does.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;

use super::certify::CertifyArgs;
use super::noise::who;
use crate::certify::classify;
use crate::dataset::Dataset;
use crate::error::Error;
use crate::network::Network;
use crate::output::Folder;
use crate::progress::Progress;
use crate::report::sheet::contact_sheet;
use crate::results::{quantile, write_atomically, write_json};
use crate::search::{self, Subject};
use crate::vary::bracket::{ENOUGH, Found, Question, Settings, brackets};
use crate::vary::{Family, Kind};

const FILES: [&str; 3] = ["vary.csv", "vary.json", "pictures"];
const HEADER: &str = "index,file,label,predicted,kind,direction,proved,broken\n";

/// Images of which pictures are written.
const PICTURES: usize = 4;
/// Images worked on at once.
const BLOCK: usize = 16;

/// What was found of one kind and direction.
#[derive(Serialize)]
struct Way {
    kind: String,
    direction: String,
    /// Parameters were looked at up to this.
    end: f64,
    images: usize,
    /// Share of brackets with ends within the gap of each other, or proved up to the end.
    closed: f64,
    /// Median over images that are right when clean of what is proved.
    proved: f64,
    /// And of where the class is lost; the end where it never is.
    broken: f64,
    /// Share of those images whose class is proved up to the end.
    never: f64,
}

#[derive(Serialize)]
struct Summary {
    method: String,
    runtime: String,
    gap: f64,
    boxes: usize,
    ways: Vec<Way>,
}

/// One image, and what was found of each of its families.
struct Row {
    index: usize,
    families: Vec<(Family, Found)>,
}

pub fn run(args: CertifyArgs) -> Result<()> {
    if args.variance.iter().any(|v| *v > 0.0) {
        bail!(Error::usage("--vary changes clean images; leave out --variance"));
    }
    let gap = f64::from(args.gap.unwrap_or(0.01));
    if !(gap > 0.0 && gap < 1.0) {
        bail!(Error::usage("--gap lies between 0 and 1"));
    }
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| args.vary.contains(k)).collect();
    let folder = Folder::open(&args.out, "certify --vary", &FILES, false)?;
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    if let Some(kind) = kinds.iter().find(|k| !k.fits(data.shape)) {
        bail!(Error::usage(format!(
            "--vary {kind}: these images are grey, and one gain for all is what --vary darken is about"
        )));
    }
    let device = args.run.open()?;
    let net = Network::new(&device, &file.model)?;
    let bounder = args.bounder(&net)?;
    let batch = args.batch.unwrap_or(search::Settings::new(&bounder).batch);
    let settings = Settings { gap, batch, boxes: ENOUGH };
    let mut progress = Progress::start(args.run.verbosity(), "light and lens", data.len());
    let (mut rows, mut subjects) = (vec![], Vec::<Subject>::new());
    for first in (0..data.len()).step_by(BLOCK) {
        let block: Vec<usize> = (first..(first + BLOCK).min(data.len())).collect();
        let images: Vec<&[f32]> = block.iter().map(|&i| data.image(i)).collect();
        let here = classify(&bounder, &images)?;
        let mut questions = vec![];
        for subject in &here {
            let families = kinds.iter().flat_map(|kind| Family::of(*kind, data.shape, &subject.image));
            questions.extend(families.map(|family| Question { subject, family }));
        }
        let each = questions.len() / here.len().max(1);
        let mut found = brackets(&bounder, &questions, &settings)?.into_iter();
        let mut families = questions.into_iter().map(|q| q.family);
        for index in block {
            let own = families.by_ref().take(each).zip(found.by_ref());
            rows.push(Row { index, families: own.collect() });
        }
        drop(families);
        progress.advance(here.len());
        subjects.extend(here);
    }
    progress.finish(&format!("{} images on {}", data.len(), device.describe()));
    write_atomically(&folder.path().join("vary.csv"), csv(&rows, &data, &subjects).as_bytes())?;
    let pictures = folder.path().join("pictures");
    super::common::make_folder(&pictures)?;
    for row in rows.iter().take(PICTURES) {
        let sheet = sheet(row, &data, &subjects[row.index], gap);
        write_atomically(&pictures.join(format!("{}.png", row.index)), &sheet)?;
    }
    let right = |row: &&Row| subjects[row.index].class == data.labels[row.index];
    let right: Vec<&Row> = rows.iter().filter(right).collect();
    let ways = rows.first().map_or(0, |r| r.families.len());
    let summary = Summary {
        method: args.method.to_string(),
        runtime: args.runtime.to_string(),
        gap,
        boxes: rows.iter().flat_map(|r| &r.families).map(|(_, f)| f.boxes).sum(),
        ways: (0..ways).map(|k| way(k, &rows, &right, gap)).collect(),
    };
    write_json(&folder.path().join("vary.json"), &summary)?;
    folder.finish()?;
    for w in &summary.ways {
        args.run.say(format!(
            "{:24} {} images, {:.1} % closed; median of those right when clean: proved {:.4}, broken {:.4}; never lost up to {}: {:.1} %",
            format!("{}, {}", w.kind, w.direction),
            w.images,
            100.0 * w.closed,
            w.proved,
            w.broken,
            w.end,
            100.0 * w.never
        ));
    }
    args.run.answer(&summary)
}

fn way(k: usize, rows: &[Row], right: &[&Row], gap: f64) -> Way {
    let (family, _) = &rows[0].families[k];
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let median = |value: &dyn Fn(&Found) -> f64| {
        let mut values: Vec<f64> = right.iter().map(|r| value(&r.families[k].1)).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    Way {
        kind: family.kind.to_string(),
        direction: family.direction.to_string(),
        end: family.end,
        images: rows.len(),
        closed: share(rows.iter().filter(|r| r.families[k].1.is_closed(family.end, gap)).count(), rows.len()),
        proved: median(&|f| f.proved),
        broken: median(&|f| f.broken.as_ref().map_or(family.end, |b| b.scale)),
        never: share(right.iter().filter(|r| r.families[k].1.proved >= family.end).count(), right.len()),
    }
}

fn csv(rows: &[Row], data: &Dataset, subjects: &[Subject]) -> String {
    let mut text = HEADER.to_string();
    for row in rows {
        let who = who(row.index, data, subjects);
        for (family, found) in &row.families {
            let broken = found.broken.as_ref().map_or(f64::INFINITY, |b| b.scale);
            let _ = writeln!(text, "{who},{},{},{},{broken}", family.kind, family.direction, found.proved);
        }
    }
    text
}

/// The images at the proved ends, and below each the nearest of another class.
fn sheet(row: &Row, data: &Dataset, subject: &Subject, gap: f64) -> Vec<u8> {
    /// Room for captions, in pixels.
    const WIDTH: usize = 176;
    let name = |class: usize| data.classes.get(class).cloned().unwrap_or_else(|| class.to_string());
    let (mut images, mut captions) = (vec![], vec![]);
    for (family, found) in &row.families {
        images.push(family.image(&found.edge));
        captions.push(format!("{} {} {:.3}", family.kind, family.direction, found.proved));
    }
    for (family, found) in &row.families {
        let (image, caption) = match &found.broken {
            Some(b) => (family.image(&b.t), format!("{:.3}: {}", b.scale, name(b.class))),
            None if found.is_closed(family.end, gap) => {
                (family.image(&found.edge), format!("never lost: {}", name(subject.class)))
            }
            None => (family.image(&found.edge), "no other class found".to_string()),
        };
        images.push(image);
        captions.push(caption);
    }
    let images: Vec<(&[f32], _)> = images.iter().map(|i| (i.as_slice(), data.shape)).collect();
    contact_sheet(&images, row.families.len(), WIDTH.div_ceil(data.shape.width), &captions)
}
