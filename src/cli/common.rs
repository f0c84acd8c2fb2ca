//! Flags that several commands share.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::dataset;
use crate::device::{Choice, Device};
use crate::error::Error;
use crate::norm::Norm;
use crate::output::{STANDARD, Target};
use crate::progress::Verbosity;
use crate::terminal;

/// How much to say.
#[derive(Args, Clone, Debug)]
pub struct SayArgs {
    /// No progress, no summary
    #[arg(long, short)]
    pub quiet: bool,
    /// The last line of standard output is the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl SayArgs {
    pub fn verbosity(&self) -> Verbosity {
        if self.quiet { Verbosity::Quiet } else { Verbosity::Normal }
    }

    /// Prints a summary for people, unless quiet.
    pub fn say(&self, line: impl std::fmt::Display) {
        if !self.quiet && !self.json {
            terminal::line(line);
        }
    }

    /// Prints the result for machines, if asked.
    pub fn answer(&self, value: &impl serde::Serialize) -> Result<()> {
        if self.json {
            terminal::line(serde_json::to_string(value)?);
        }
        Ok(())
    }
}

/// Where to run and how much to say.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Where to compute: auto (a real GPU, else the CPU), gpu, cpu, or an index of `deltamax devices`; several, as in 0,1,2,
    /// share the images of certify and sweep, the trainings of study and the list of verify
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    pub device: Vec<Choice>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub output: SayArgs,
}

/// A command that computes says things as any other does.
impl std::ops::Deref for RunArgs {
    type Target = SayArgs;
    fn deref(&self) -> &SayArgs {
        &self.output
    }
}

impl RunArgs {
    pub fn open(&self) -> Result<Device> {
        let [device] = &self.device[..] else {
            bail!(Error::usage(
                "this computes on one --device; certify, sweep, study and verify --batch share several"
            ));
        };
        let device = Device::open(device)?;
        tracing::info!(device = device.describe(), "opened");
        Ok(device)
    }
}

/// What `--data` takes.
pub const DATA: &str = "Folder with a folder of pictures per class (or such below train and test), with labels.csv (lines \
file,label), with IDX or CIFAR files; or an .npz file";

/// Refuses data that only has a test set.
pub fn check_train(data: &Path, splits: &dataset::Splits) -> Result<()> {
    if splits.train.is_empty() {
        bail!(Error::input(data, "has test images only; add those for training"));
    }
    Ok(())
}

/// Says on standard error what is to be known about a model or images, unless quiet.
pub fn say_notes(path: &Path, notes: &[String], say: &SayArgs) {
    if !say.quiet {
        notes.iter().for_each(|note| terminal::note(format_args!("{}: {note}", path.display())));
    }
}

/// The environment variable by which a command tells the processes that do its parts what it was called with.
pub const CALLED: &str = "DELTAMAX_CALLED";

/// The command line of this process, or of the command whose part it does, as one pastes it into a shell.
pub fn command_line() -> String {
    command_without(&[])
}

/// The same without these flags, which have values.
pub fn command_without(flags: &[&str]) -> String {
    if let Ok(called) = std::env::var(CALLED) {
        return called;
    }
    let words = without(std::env::args_os().skip(1), flags, &[]);
    let words = words.iter().map(|w| terminal::shell_word(&w.to_string_lossy()));
    std::iter::once("deltamax".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The words of a command line but for some flags: those of `valued` are followed by a value, in a word of its own or after `=`.
pub fn without(mut words: impl Iterator<Item = OsString>, valued: &[&str], switches: &[&str]) -> Vec<OsString> {
    let mut kept = vec![];
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        let with_value = |flag: &&str| text.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='));
        if valued.contains(&&*text) {
            words.next();
        } else if !switches.contains(&&*text) && !valued.iter().any(with_value) {
            kept.push(word);
        }
    }
    kept
}

/// Where the one file of a command goes, settled before hours are spent on what goes into it. Refuses one of the command's
/// own inputs; for `own` and `force` see `Target::choose`. Standard output then belongs to the file.
pub fn target(
    path: &Path,
    inputs: (&Path, Option<&Path>),
    own: impl Fn(&[u8]) -> bool,
    force: bool,
    output: &SayArgs,
) -> Result<Target> {
    let (data, model) = inputs;
    let is = |input: &Path| matches!((path.canonicalize(), input.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if dataset::reads(data, path) || model.is_some_and(is) {
        bail!(Error::input(path, "is read by this very command; give another --out"));
    }
    let target = Target::choose(path, own, force)?;
    if target.is_standard() {
        reserve(output)?;
    }
    Ok(target)
}

/// Gives standard output to the file of a command.
pub fn reserve(output: &SayArgs) -> Result<()> {
    if output.json {
        bail!(Error::usage("--json and --out both want standard output; name a file as --out"));
    }
    terminal::reserve();
    Ok(())
}

/// Refuses a folder for results that cannot be made or written into, before hours are spent on them. Leaves nothing behind.
pub fn check_folder(path: &Path) -> Result<()> {
    if path == Path::new(STANDARD) {
        bail!(Error::usage("--out -: standard output takes one file, this command writes a folder; name one"));
    }
    let above = path.ancestors().find(|p| p.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let probe = above.join(format!(".deltamax-{}.tmp", std::process::id()));
    let tried = std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe));
    Ok(tried.map_err(Error::io(path, "creating the folder"))?)
}

/// Makes the folder for results, if it is not there yet.
pub fn make_folder(path: &Path) -> Result<()> {
    Ok(std::fs::create_dir_all(path).map_err(Error::io(path, "creating the folder"))?)
}

/// More than any list of images, passes or draws is long.
pub const MANY: usize = 1_000_000_000;

/// A whole number from 1 to `MOST`.
pub fn whole<const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MOST).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
}

/// A share, or a half-width in units of `[0,1]`.
pub fn share(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|d| *d > 0.0 && *d <= 1.0);
    number.ok_or_else(|| "expected a number above 0, at most 1".into())
}

/// A number, or a fraction such as 2/255.
fn number(text: &str) -> Option<f64> {
    let number = |t: &str| t.trim().parse::<f64>().ok();
    match text.split_once('/') {
        Some((above, below)) => number(above).zip(number(below)).map(|(a, b)| a / b),
        None => number(text),
    }
}

/// A radius: above zero; see [`check_delta`].
pub fn length(text: &str) -> Result<f32, String> {
    let value = number(text).map(|v| v as f32).filter(|v| *v > 0.0 && v.is_finite());
    value.ok_or_else(|| "expected a number above 0, or a fraction such as 1/255".into())
}

/// Refuses a radius that no image has.
pub fn check_delta(delta: Option<f32>, norm: Norm) -> Result<()> {
    if delta.is_some_and(|d| !norm.allows(d.into())) {
        bail!(Error::usage("--delta: expected a number above 0, at most 1; a grey level is 1/255, about 0.004"));
    }
    Ok(())
}

/// A distance between pixels, above 0 and at most 1.
pub fn share_of_white(text: &str) -> Result<f32, String> {
    let value = number(text).filter(|v| *v > 0.0 && *v <= 1.0).map(|v| v as f32).filter(|v| *v > 0.0);
    value.ok_or_else(|| "expected a number above 0, at most 1, or a fraction such as 2/255".into())
}

/// Variance of noise to learn from.
pub fn variance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|v| *v > 0.0 && *v <= 1.0);
    number.ok_or_else(|| "expected a variance above 0, at most 1".into())
}
