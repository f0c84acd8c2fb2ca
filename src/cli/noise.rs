//! `deltamax certify --noise`: how likely random noise is to change the class of every image.

use anyhow::{Context, Result, bail};

use super::certify::{CertifyArgs, kept};
use super::common;
use super::several;
use crate::certify::manifest::{Asked, Manifest};
use crate::certify::table::read_manifest;
use crate::error::Error;
use crate::interrupt;
use crate::network::Network;
use crate::noise::measured;
use crate::noise::run::{Settings, run as ask};
use crate::noise::table::{Table, merge, sum_up, tables};
use crate::progress::Progress;
use crate::results::short;
use crate::terminal::counted;

pub fn run(args: CertifyArgs) -> Result<()> {
    if !(args.confidence > 0.0 && args.confidence < 1.0 && args.risk > 0.0 && args.risk < 1.0) {
        bail!(Error::usage("--confidence and --risk lie between 0 and 1"));
    }
    // Noise of no variance changes nothing.
    let variances: Vec<f64> = args.variance.iter().copied().filter(|v| *v > 0.0).collect();
    if variances.is_empty() && !args.search {
        bail!(Error::usage("--noise: give a --variance above 0, or --search"));
    }
    if args.certificates.is_some() && !args.method.relaxes() {
        bail!(Error::usage(
            "--certificates: interval bounds have no lines to keep; give --method crown-ibp, crown or alpha"
        ));
    }
    common::check_folder(&args.out)?;
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    if let Some(job) = args.several(&data) {
        several::run(&job?, |parts| Ok(merge(parts, &args.out).map(drop)?))?;
        return say(&args, &read_manifest(&args.out)?);
    }
    let device = args.run.open()?;
    let net = Network::new(&device, &file.model)?;
    let bounder = args.bounder(&net)?;
    let asked = Asked::Noise { draws: args.draws, confidence: args.confidence, risk: args.risk, search: args.search };
    let manifest = Manifest { variances: variances.clone(), ..args.manifest(&device, &file, &data, asked) };
    let hash = |first: usize| data.take(first).hash();
    let mut table = Table::open(&args.out, &manifest, args.resume, hash, args.certified(data.len()))?;
    let range = manifest.start..manifest.end;
    let of = range.len() * tables(&manifest).iter().map(|(_, each)| each).sum::<usize>();
    let kept = kept(&table.rows(), of, args.out.clone());
    let _words = interrupt::say(kept.clone());
    let mut progress = Progress::start(args.run.verbosity(), "noise", of);
    let settings = Settings {
        variances,
        search: args.search.then_some(args.risk),
        draws: measured::Settings { draws: args.draws, confidence: args.confidence, risk: None, seed: args.run.seed },
        images: range.clone().collect(),
        batch: args.batch.unwrap_or(crate::search::Settings::new(&bounder).batch),
    };
    ask(&bounder, &data, &settings, &mut table, &mut progress).with_context(kept)?;
    progress.finish(&format!("{} on {}", counted(range.len(), "image"), device.describe()));
    drop(table);
    say(&args, &manifest)
}

/// Says what the rows of a whole run come to.
fn say(args: &CertifyArgs, manifest: &Manifest) -> Result<()> {
    let summary = sum_up(&args.out, manifest)?;
    for l in &summary.levels {
        args.run.say(format!(
            "variance {:<6} {}, average accuracy under noise measured {:.2} %, proved at least {:.2} %; of those right when clean, the class changes with probability at most {} for {:.2} % (proved), {:.2} % (measured)",
            short(l.variance),
            counted(l.images, "image"),
            100.0 * l.accuracy_measured,
            100.0 * l.accuracy_proved,
            args.risk,
            100.0 * l.risk_proved,
            100.0 * l.risk_measured,
        ));
    }
    if let Some(t) = &summary.threshold {
        args.run.say(format!(
            "sigma max at risk {}, median of those right when clean: proved {:.4}, measured {:.4}",
            t.risk, t.sigma_proved, t.sigma_low
        ));
    }
    args.run.answer(&summary)
}
