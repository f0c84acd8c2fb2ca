//! `deltamax certify --vary`: how far light and lens may change a photo before its class does.

use anyhow::{Context, Result, bail};

use super::certify::{CertifyArgs, kept};
use super::common;
use super::several;
use crate::certify::manifest::{Asked, Manifest};
use crate::certify::table::read_manifest;
use crate::dataset::Dataset;
use crate::error::Error;
use crate::interrupt;
use crate::network::Network;
use crate::progress::Progress;
use crate::report::sheet::contact_sheet;
use crate::search;
use crate::terminal::counted;
use crate::vary::Kind;
use crate::vary::run::{Answer, Request, run as ask};
use crate::vary::table::{Table, VARY, merge, sum_up};

/// Images of which pictures are written.
const PICTURES: usize = 4;

pub fn run(args: CertifyArgs) -> Result<()> {
    if args.variance.iter().any(|v| *v > 0.0) {
        bail!(Error::usage("--vary changes clean images; leave out --variance"));
    }
    // As it was written, not as f32 holds it.
    let gap: f64 = args.gap.map_or(Ok(0.01), |gap| gap.to_string().parse())?;
    if !(gap > 0.0 && gap < 1.0) {
        bail!(Error::usage("--gap lies between 0 and 1"));
    }
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| args.vary.contains(k)).collect();
    common::check_folder(&args.out)?;
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    if let Some(kind) = kinds.iter().find(|k| !k.fits(data.shape)) {
        bail!(Error::usage(format!(
            "--vary {kind}: these images are grey, and one gain for all is what --vary darken is about"
        )));
    }
    if let Some(job) = args.several(&data) {
        several::run(&job?, |parts| Ok(merge(parts, &args.out).map(drop)?))?;
        return say(&args, &read_manifest(&args.out)?);
    }
    let device = args.run.open()?;
    let net = Network::new(&device, &file.model)?;
    let bounder = args.bounder(&net)?;
    let asked = Asked::Vary { kinds: kinds.iter().map(Kind::to_string).collect(), gap };
    let manifest = Manifest { variances: vec![], ..args.manifest(&device, &file, &data, asked) };
    let mut table = Table::open(&args.out, &manifest, args.resume, |first| data.take(first).hash())?;
    let range = manifest.start..manifest.end;
    let kept = kept(&table.rows(), range.len() * table.each(), args.out.join(VARY.file));
    let _words = interrupt::say(kept.clone());
    let mut progress = Progress::start(args.run.verbosity(), "light and lens", range.len());
    let request = Request {
        kinds,
        gap,
        batch: args.batch.unwrap_or(search::Settings::new(&bounder).batch),
        range: range.clone(),
        pictures: PICTURES,
    };
    let draw = |answer: &Answer<'_>| sheet(answer, &data, gap);
    ask(&bounder, &data, &request, &mut table, &mut progress, draw).with_context(kept)?;
    progress.finish(&format!("{} on {}", counted(range.len(), "image"), device.describe()));
    drop(table);
    say(&args, &manifest)
}

/// Says what the rows of a whole run come to.
fn say(args: &CertifyArgs, manifest: &Manifest) -> Result<()> {
    let summary = sum_up(&args.out, manifest)?;
    for w in &summary.ways {
        args.run.say(format!(
            "{:24} {}, {:.1} % closed; median of those right when clean: proved {:.4}, broken {:.4}; never lost up to {}: {:.1} %{}",
            format!("{}, {}", w.kind, w.direction),
            counted(w.images, "image"),
            100.0 * w.closed,
            w.proved,
            w.broken,
            w.end,
            100.0 * w.never,
            match w.unclear {
                0 => String::new(),
                n => format!("; {} within the worst roundings of f32", counted(n, "broken end")),
            }
        ));
    }
    args.run.answer(&summary)
}

/// The images at the proved ends, and below each the nearest of another class.
fn sheet(answer: &Answer<'_>, data: &Dataset, gap: f64) -> Vec<u8> {
    /// Room for captions, in pixels.
    const WIDTH: usize = 176;
    let name = |class: usize| data.classes.get(class).cloned().unwrap_or_else(|| class.to_string());
    let (mut images, mut captions) = (vec![], vec![]);
    for (family, found) in &answer.families {
        images.push(family.image(&found.edge));
        captions.push(format!("{} {} {:.3}", family.kind, family.direction, found.proved));
    }
    for (family, found) in &answer.families {
        let (image, caption) = match &found.broken {
            Some(b) => (family.image(&b.t), format!("{:.3}: {}", b.scale, name(b.class))),
            None if found.is_closed(family.end, gap) => {
                (family.image(&found.edge), format!("never lost: {}", name(answer.subject.class)))
            }
            None => (family.image(&found.edge), "no other class found".to_string()),
        };
        images.push(image);
        captions.push(caption);
    }
    let images: Vec<(&[f32], _)> = images.iter().map(|i| (i.as_slice(), data.shape)).collect();
    contact_sheet(&images, answer.families.len(), WIDTH.div_ceil(data.shape.width), &captions)
}
