//! `--device 0,1,2`: one run on several devices of a machine. Its parts are those of `--shard`. Each device does one in a process
//! of its own, and then the next that nobody has begun; the command joins them as `merge` does.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};

use super::common::{CALLED, RunArgs, command_line, without};
use crate::device::{Choice, Device};
use crate::error::Error;
use crate::progress::Progress;
use crate::shard::Shard;
use crate::{interrupt, terminal};

/// Parts for each device: so many that none waits long for the others at the end.
const EACH: usize = 4;

/// How the line begins that says why a process failed.
const NAME: &str = "deltamax: ";

/// How often a process is looked after.
const PAUSE: Duration = Duration::from_millis(20);

/// What is cut into parts.
pub struct Job<'a> {
    pub run: &'a RunArgs,
    /// Where the whole goes; the parts lie beside it until they are joined.
    pub out: &'a Path,
    /// Ending of the parts' names, of those that are files.
    pub ending: &'a str,
    /// Images or properties, or as many parts as are to be made at most.
    pub items: usize,
    pub shard: Option<Shard>,
    /// Whether the command was told to go on with a run that was stopped, if it can.
    pub resume: Option<bool>,
    /// Whether a part that ended with an error may still have answered all: the others are done, and it is joined.
    pub goes_on: bool,
}

/// Does all parts, has them joined, and removes them.
pub fn run(job: &Job<'_>, join: impl FnOnce(&[PathBuf]) -> Result<()>) -> Result<()> {
    // Before anything is written.
    job.run.device.iter().try_for_each(|device| Device::open(device).map(drop))?;
    let folder = parts_beside(job)?;
    let of = (EACH * job.run.device.len()).min(job.items).max(1);
    let paths: Vec<PathBuf> = (0..of).map(|i| folder.join(format!("part{i}{}", job.ending))).collect();
    let kept = match job.resume {
        Some(_) => format!("parts are kept in {}; add --resume to continue", folder.display()),
        None => format!("parts are left in {}; delete it and start again", folder.display()),
    };
    let _words = interrupt::say(move || kept.clone());
    let work = Work {
        words: words_of(std::env::args_os().skip(1)),
        resume: job.resume.is_some(),
        paths: &paths,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        goes_on: job.goes_on,
        progress: Mutex::new(Progress::start(job.run.verbosity(), "parts", of)),
    };
    let done: Result<()> = std::thread::scope(|scope| {
        let each: Vec<_> = job.run.device.iter().map(|device| scope.spawn(|| work.on(device))).collect();
        let done = each.into_iter().map(|thread| thread.join().expect("a device's thread does not panic"));
        done.collect::<Vec<_>>().into_iter().collect()
    });
    let late = if job.goes_on { done } else { Ok(done?) };
    let progress = work.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    progress.finish(&format!("{of} parts on {} devices", job.run.device.len()));
    if let Err(lacking) = join(&paths) {
        // Why a part ended says more than what it lacks.
        return late.and(Err(lacking));
    }
    std::fs::remove_dir_all(&folder).map_err(Error::io(&folder, "removing"))?;
    late
}

/// The folder of the parts. One that is left of a run that was stopped is for `--resume`.
fn parts_beside(job: &Job<'_>) -> Result<PathBuf> {
    if job.shard.is_some() {
        bail!(Error::usage("--shard is done by one --device; leave it out, and several share the whole"));
    }
    let mut name = job.out.as_os_str().to_owned();
    name.push(".parts");
    let folder = PathBuf::from(name);
    match folder.symlink_metadata() {
        Ok(_) if job.resume != Some(true) => {
            let again = if job.resume.is_some() { "add --resume to go on with it, or " } else { "" };
            bail!(Error::input(&folder, format!("is left of a run that was stopped; {again}delete it")));
        }
        Ok(_) => {}
        Err(_) => std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "creating the folder"))?,
    }
    Ok(folder)
}

/// The command line of this process without what its parts are told otherwise: they say nothing, and draw no page.
fn words_of(all: impl Iterator<Item = OsString>) -> Vec<OsString> {
    without(all, &["--device", "--out"], &["--resume", "--force", "--report", "--json", "--quiet", "-q"])
}

/// The parts, and how far they are.
struct Work<'a> {
    words: Vec<OsString>,
    resume: bool,
    paths: &'a [PathBuf],
    next: AtomicUsize,
    failed: AtomicBool,
    goes_on: bool,
    progress: Mutex<Progress>,
}

impl Work<'_> {
    /// Does one part after another on a device, until none is left or one has failed somewhere. The first error that it met.
    fn on(&self, device: &Choice) -> Result<()> {
        let mut first = Ok(());
        while !self.failed.load(Ordering::Relaxed) {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = self.paths.get(i) else { break };
            let shard = Shard { index: i, of: self.paths.len() };
            if let Err(error) = self.part(device, shard, path) {
                first = first.and(Err(Error::failed(format!("part {shard} on --device {device}: {error:#}")).into()));
                if !self.goes_on {
                    self.failed.store(true, Ordering::Relaxed);
                    break;
                }
            }
            self.progress.lock().unwrap_or_else(PoisonError::into_inner).advance(1);
        }
        first
    }

    fn part(&self, device: &Choice, shard: Shard, path: &Path) -> Result<()> {
        let program = std::env::current_exe().map_err(Error::io(".", "finding this program"))?;
        let mut command = Command::new(&program);
        command.args(&self.words).arg("--device").arg(device.to_string()).arg("--shard").arg(shard.to_string());
        command.arg("--out").arg(path).arg("--quiet").env(CALLED, command_line());
        if self.resume {
            command.arg("--resume");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = Arc::new(Mutex::new(command.spawn().map_err(Error::io(&program, "starting"))?));
        let lock = |child: &Mutex<Child>, what: fn(&mut Child)| {
            what(&mut child.lock().unwrap_or_else(PoisonError::into_inner));
        };
        // It keeps what it has done, but must not outlive this process.
        let _end = interrupt::clean({
            let child = child.clone();
            move || lock(&child, |child| drop(child.kill()))
        });
        let status = loop {
            if self.failed.load(Ordering::Relaxed) {
                lock(&child, |child| drop(child.kill()));
            }
            let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(status) = child.try_wait().map_err(Error::io(&program, "waiting for"))? {
                break status;
            }
            drop(child);
            std::thread::sleep(PAUSE);
        };
        if status.success() || self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut said = String::new();
        let stderr = child.lock().unwrap_or_else(PoisonError::into_inner).stderr.take();
        if let Some(mut stderr) = stderr {
            drop(stderr.read_to_string(&mut said));
        }
        let (last, before): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with(NAME));
        before.iter().for_each(terminal::note);
        bail!(Error::failed(last.last().map_or("ended without a word", |line| &line[NAME.len()..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_all_but_where_and_how_loud() {
        let all = "certify --model a --device 0,1 --out=run --report -q --limit 5 --device=0,1 --out b --resume";
        let words = words_of(all.split(' ').map(Into::into));
        assert_eq!(words, ["certify", "--model", "a", "--limit", "5"]);
    }
}
