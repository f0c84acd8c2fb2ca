//! `deltamax verify --batch`: the lines of a list, those of one network together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::common;
use super::super::several::{self, Job};
use super::{VerifyArgs, blame, say_notes};
use crate::device::Device;
use crate::error::Error;
use crate::model::onnx;
use crate::output::{Place, STANDARD, Target, check_own, is_standard_output, place, write_atomically};
use crate::progress::Progress;
use crate::spec::{Spec, vnnlib};
use crate::terminal::counted;
use crate::verify::batch::{self, Instance, Results, locate, read_instances};
use crate::verify::{Loaded, Property, Verdict, verify_all};
use crate::{interrupt, terminal};

/// Properties are held, and go through the device, in groups of some so many input ranges.
const GROUP: usize = 1 << 20;

/// A line whose property has been read.
struct Asked<'a> {
    instance: &'a Instance,
    path: PathBuf,
    property: Spec,
    /// What it has used of its time so far.
    used: Duration,
}

/// The run of a list.
struct Batch<'a> {
    args: &'a VerifyArgs,
    folder: &'a Path,
    device: Device,
    results: Results,
    /// How many lines have an answer, those of earlier runs included.
    answers: Arc<AtomicUsize>,
    progress: Progress,
    failed: usize,
}

pub fn run(args: &VerifyArgs, list: &Path) -> Result<()> {
    let mut instances = read_instances(list)?;
    if let Some(shard) = args.shard {
        instances = instances.drain(shard.range(instances.len())).collect();
    }
    if args.run.device.len() > 1 {
        return on_several(args, list, instances.len());
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let out = args.out.clone().unwrap_or_else(|| folder.join("results.csv"));
    let device = args.run.open()?;
    if let Some(dir) = &args.witnesses {
        std::fs::create_dir_all(dir).map_err(Error::io(dir, "creating the folder"))?;
    }
    let results = open(args, list, &out)?;
    let answers = Arc::new(AtomicUsize::new(results.known()));
    let _words = {
        let (answers, of, kept) = (answers.clone(), instances.len(), kept_in(&out));
        interrupt::say(move || format!("{} of {of} answers {kept}", answers.load(Ordering::Relaxed)))
    };
    let progress = Progress::start(args.run.verbosity(), "verify", instances.len());
    let mut batch = Batch { args, folder, device, results, answers, progress, failed: 0 };
    // In the order in which the list first names the networks.
    let mut networks: Vec<(&str, Vec<&Instance>)> = vec![];
    for instance in &instances {
        if batch.results.has(instance) {
            batch.progress.advance(1);
            continue;
        }
        match networks.iter_mut().find(|(name, _)| *name == instance.onnx) {
            Some((_, own)) => own.push(instance),
            None => networks.push((&instance.onnx, vec![instance])),
        }
    }
    for (name, own) in networks {
        batch.network(&locate(folder, name), &own)?;
    }
    let Batch { progress, failed, .. } = batch;
    progress.finish(&format!("{} answers in {}", instances.len(), out.display()));
    if failed > 0 {
        bail!(Error::input(list, format!("{failed} of {} instances could not be read or run", instances.len())));
    }
    Ok(())
}

/// Shares the list between devices.
fn on_several(args: &VerifyArgs, list: &Path, items: usize) -> Result<()> {
    let Some(out) = args.out.as_deref().filter(|out| *out != Path::new(STANDARD) && !is_standard_output(out)) else {
        bail!(Error::usage("several devices put their answers into a file; give one as --out"));
    };
    if let Place::File(_) = place(out)?
        && !args.force
    {
        let problem = match args.resume {
            true => "holds answers of a run in one piece, which one --device goes on with",
            false => "exists already; give another --out, or --force",
        };
        bail!(Error::input(out, problem));
    }
    let target = Target::choose(out, |_| false, args.force)?;
    let job =
        Job { run: &args.run, out, ending: ".csv", items, shard: args.shard, resume: Some(args.resume), goes_on: true };
    several::run(&job, |parts| {
        let (rows, text) = batch::join(list, parts)?;
        target.write(&text)?;
        args.run.say(format!("{} in {}", counted(rows, "answer"), out.display()));
        Ok(())
    })
}

/// How the file of a counterexample begins.
const WITNESS: &str = "sat\n";

fn open(args: &VerifyArgs, list: &Path, out: &Path) -> Result<Results> {
    if matches!((list.canonicalize(), out.canonicalize()), (Ok(a), Ok(b)) if a == b) {
        bail!(Error::input(out, "is read by this very command; give another --out"));
    }
    if out != Path::new(STANDARD) && !is_standard_output(out) {
        return Ok(Results::open(out, args.resume, args.force)?);
    }
    if args.resume {
        bail!(Error::usage("--out -: standard output keeps nothing to continue; leave out --resume"));
    }
    common::reserve(&args.run)?;
    Ok(Results::standard()?)
}

fn kept_in(out: &Path) -> String {
    match place(out) {
        Ok(Place::File(_)) => format!("are kept in {}; add --resume to continue", out.display()),
        Ok(Place::Free(_) | Place::Folder(_) | Place::Stream) | Err(_) => "were written".into(),
    }
}

impl<'a> Batch<'a> {
    /// Answers all lines of one network.
    fn network(&mut self, path: &Path, instances: &[&'a Instance]) -> Result<()> {
        let mut loaded = None;
        let (mut group, mut ranges) = (vec![], 0);
        for (k, instance) in instances.iter().copied().enumerate() {
            let start = Instant::now();
            let spec = locate(self.folder, &instance.vnnlib);
            match vnnlib::read(&spec) {
                Ok(property) => {
                    ranges += property.inputs * property.cases.len();
                    group.push(Asked { instance, path: spec, property, used: start.elapsed() });
                }
                Err(error) => self.fail(instance, &error.into(), start.elapsed())?,
            }
            if ranges >= GROUP || k + 1 == instances.len() {
                self.group(path, std::mem::take(&mut group), &mut loaded)?;
                ranges = 0;
            }
        }
        Ok(())
    }

    /// Answers some lines of one network together; reads the network first, if it is not there yet.
    fn group(&mut self, path: &Path, mut group: Vec<Asked<'a>>, loaded: &mut Option<Loaded>) -> Result<()> {
        let start = Instant::now();
        if loaded.is_none() {
            match onnx::load(path).and_then(|file| Loaded::new(&self.device, file)) {
                Ok(read) => {
                    say_notes(path, &read.warnings, &self.args.run);
                    *loaded = Some(read);
                }
                Err(error) => {
                    let error = error.into();
                    return Ok(group.iter().try_for_each(|a| self.fail(a.instance, &error, a.used))?);
                }
            }
        }
        let Some(loaded) = loaded else { return Ok(()) };
        let share = start.elapsed() / group.len().max(1) as u32;
        let mut fit = vec![];
        for mut asked in group.drain(..) {
            asked.used += share;
            match loaded.check(&asked.property, path, &asked.path) {
                Ok(()) => fit.push(asked),
                Err(error) => self.fail(asked.instance, &error.into(), asked.used)?,
            }
        }
        let limit = |a: &Asked<'_>| {
            self.args.timeout.map_or(a.instance.timeout, |t| a.instance.timeout.min(Duration::from_secs_f64(t)))
        };
        let properties: Vec<Property<'_>> =
            fit.iter().map(|a| Property { spec: &a.property, limit: limit(a).saturating_sub(a.used) }).collect();
        let settings = self.args.settings();
        let mut told = vec![false; fit.len()];
        let mut written = true;
        let run = verify_all(&loaded.net, &properties, &settings, &mut |i, verdict, used| {
            told[i] = true;
            let answer = self.answer(path, &fit[i], verdict, fit[i].used + used);
            written = answer.is_ok();
            answer
        });
        let Err(error) = run else { return Ok(()) };
        if !written {
            bail!(error);
        }
        // A fault of the device: these rows fail as well.
        let error = anyhow::Error::from(error);
        let rest = fit.iter().zip(&told).filter(|(_, told)| !**told);
        Ok(rest.map(|(a, _)| a).try_for_each(|a| self.fail(a.instance, &error, a.used))?)
    }

    fn answer(
        &mut self,
        net: &Path,
        asked: &Asked<'_>,
        verdict: crate::error::Result<Verdict>,
        used: Duration,
    ) -> crate::error::Result<()> {
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(error) => return self.fail(asked.instance, &blame(net, error).into(), used),
        };
        if let (Verdict::Sat(witness), Some(dir)) = (&verdict, &self.args.witnesses) {
            let path = dir.join(format!("{}__{}.counterexample", stem(net), stem(&asked.path)));
            if !self.args.force && path.symlink_metadata().is_ok() {
                check_own(&path, |start| start.starts_with(WITNESS.as_bytes()))?;
            }
            write_atomically(&path, format!("{WITNESS}{}\n", witness.text()).as_bytes())?;
        }
        self.row(asked.instance, verdict.word(), used)
    }

    fn fail(&mut self, instance: &Instance, error: &anyhow::Error, used: Duration) -> crate::error::Result<()> {
        terminal::note(format_args!("{error:#}"));
        self.failed += 1;
        self.row(instance, "error", used)
    }

    fn row(&mut self, instance: &Instance, word: &str, used: Duration) -> crate::error::Result<()> {
        self.results.add(instance, word, used.as_secs_f64())?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.progress.advance(1);
        Ok(())
    }
}

/// The name of a file without folder and endings.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = name.trim_end_matches(".gz").to_string();
    plain.rsplit_once('.').map_or(plain.clone(), |(stem, _)| stem.to_string())
}
