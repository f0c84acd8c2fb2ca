//! `deltamax merge`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::common::{self, SayArgs};
use super::{page, study, sweep};
use crate::certify::merge::merge;
use crate::certify::table::{self, Asked};
use crate::error::Error;
use crate::output::{Folder, Place, STANDARD, Target, is_standard_output, place};
use crate::study::part as study_part;
use crate::sweep::part;
use crate::terminal::counted;
use crate::verify::batch;
use crate::{noise, vary};

/// Join the shards of one run of certify, sweep, study or verify --batch; refuses gaps and duplicates.
#[derive(Args)]
#[command(after_help = "Examples:
  deltamax merge part0 part1 part2 --out whole
  deltamax merge part0.csv part1.csv --batch instances.csv --out results.csv")]
pub struct MergeArgs {
    /// What all shards wrote: folders of certify, sweep or study, files of verify
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    /// Folder for the joined results; of verify the file, `-` is standard output
    #[arg(long)]
    out: PathBuf,
    /// The list that the files of verify answer; they are joined in its order
    #[arg(long, value_name = "CSV", conflicts_with = "report")]
    batch: Option<PathBuf>,
    /// Also write a page on what certify found, report.html, with its figures; pictures are read where the manifest says
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    output: SayArgs,
}

pub fn run(args: MergeArgs) -> Result<()> {
    if let Some(list) = &args.batch {
        return answers(&args, list);
    }
    common::check_folder(&args.out)?;
    if args.parts.iter().any(|dir| dir.join(study_part::FILE).is_file()) {
        if args.report {
            bail!(Error::usage("a study has its page anyway; leave out --report"));
        }
        return study::join(&args.parts, &args.out, &args.output);
    }
    if args.parts.iter().any(|dir| dir.join(part::FILE).is_file()) {
        return levels(&args);
    }
    for (file, job) in [(sweep::RATES, "sweep"), ("results.json", "study")] {
        let is_whole = |dir: &&PathBuf| dir.join(file).is_file() && !table::table_path(dir).is_file();
        if let Some(dir) = args.parts.iter().find(is_whole) {
            bail!(Error::input(dir, format!("holds a {job} in one piece; merge joins those of {job} --shard")));
        }
    }
    if let Some(file) = args.parts.iter().find(|part| part.is_file()) {
        bail!(Error::input(file, "is a file; to join those of verify, give their list as --batch"));
    }
    let asked = args.parts.first().and_then(|dir| table::read_manifest(dir).ok()).map(|run| run.asked);
    match asked.unwrap_or_default() {
        Asked::Radii => radii(&args),
        Asked::Noise { .. } => others(&args, noise::table::merge),
        Asked::Vary { .. } => others(&args, vary::table::merge),
    }
}

/// Joins shards of certify that asked something else than radii.
fn others(args: &MergeArgs, merge: fn(&[PathBuf], &Path) -> crate::error::Result<usize>) -> Result<()> {
    if args.report {
        bail!(Error::usage("--report draws radii; leave it out for --noise and --vary"));
    }
    let rows = merge(&args.parts, &args.out)?;
    args.output.say(format!("{} in {}", counted(rows, "row"), args.out.display()));
    args.output.answer(&serde_json::json!({ "rows": rows, "table": args.out }))
}

/// Joins shards of certify.
fn radii(args: &MergeArgs) -> Result<()> {
    if args.report {
        page::check(&args.out, &[0.0])?;
    }
    let rows = merge(&args.parts, &args.out)?;
    let table = table::table_path(&args.out);
    args.output.say(format!("{} in {}", counted(rows, "row"), table.display()));
    if args.report {
        args.output.say(page::again(&args.out, None, None, &args.output)?.display());
    }
    args.output.answer(&serde_json::json!({ "rows": rows, "table": table }))
}

/// Joins shards of a sweep.
fn levels(args: &MergeArgs) -> Result<()> {
    if args.report {
        bail!(Error::usage("--report draws what certify found; leave it out for a sweep"));
    }
    let folder = Folder::open(&args.out, "merge", &sweep::FILES, false)?;
    if let Some(name) = sweep::FILES.iter().find(|name| args.out.join(name).exists()) {
        bail!(Error::input(args.out.join(name), "exists already; give another --out"));
    }
    let (levels, classes) = part::join(&args.parts)?;
    sweep::write(folder.path(), &levels, &classes)?;
    folder.finish_unlisted()?;
    sweep::say(&levels, &classes, &args.output);
    args.output.answer(&levels)
}

/// Joins answers of verify.
fn answers(args: &MergeArgs, list: &Path) -> Result<()> {
    let target = match args.out == Path::new(STANDARD) || is_standard_output(&args.out) {
        true => Target::Standard,
        false => match place(&args.out)? {
            Place::File(_) => bail!(Error::input(&args.out, "exists already; give another --out")),
            Place::Free(_) | Place::Folder(_) | Place::Stream => Target::choose(&args.out, |_| false, false)?,
        },
    };
    if target.is_standard() {
        common::reserve(&args.output)?;
    }
    let (rows, text) = batch::join(list, &args.parts)?;
    target.write(&text)?;
    args.output.say(format!("{} in {}", counted(rows, "answer"), args.out.display()));
    args.output.answer(&serde_json::json!({ "rows": rows, "table": args.out }))
}
