//! `deltamax compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::common::SayArgs;
use crate::norm::Norm;
use crate::output::Folder;
use crate::report::compare::{self, Comparison, Entry};
use crate::results::short;
use crate::terminal::counted;

/// Put runs of different models or dates side by side: accuracy, delta max, and whether a difference is more than chance.
///
/// A folder is a study (every model in it counts as a run) or the result of certify. All are compared with the first run.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax compare study-march study-april\n         deltamax compare proofs-old proofs-new --out march"
)]
pub struct CompareArgs {
    /// Folders of study or certify
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Folder for compare.html, compare.json and the figures
    #[arg(long, default_value = "comparison")]
    out: PathBuf,
    /// Replace what stands there, whoever wrote it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: SayArgs,
}

pub fn run(args: CompareArgs) -> Result<()> {
    let main = ["figures", "compare.json", "compare.html"];
    let folder = Folder::open(&args.out, "compare", &main, args.force)?;
    let runs = compare::read(&args.dirs)?;
    let comparison = compare::compare(&runs)?;
    compare::write(&runs, &comparison, folder.path())?;
    folder.finish()?;
    args.output.say(&comparison.sentence);
    table(&comparison).iter().for_each(|line| args.output.say(line));
    comparison.versions().into_iter().for_each(|line| args.output.say(line));
    for entry in &comparison.runs {
        entry.notes.iter().for_each(|note| args.output.say(format!("{}: {note}", entry.name)));
    }
    args.output.say(args.out.join("compare.html").display());
    args.output.answer(&comparison)
}

/// The comparison as columns of text.
fn table(c: &Comparison) -> Vec<String> {
    let noise = c.runs.first().and_then(|r| r.noise);
    let mut rows = vec![[
        "run".to_string(),
        "images".into(),
        "clean".into(),
        noise.map_or("noisy".into(), |v| format!("noise {}", short(v))),
        "median proved".into(),
        format!("against {}", c.reference),
    ]];
    rows.extend(c.runs.iter().map(|e| cells(c.norm, e)));
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |r: &[String; 6]| {
        let cells = r.iter().zip(&widths).map(|(cell, w)| format!("{cell:w$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

fn cells(norm: Norm, e: &Entry) -> [String; 6] {
    let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.1} %", 100.0 * v));
    let (scale, digits, unit) = norm.unit();
    let against = e.difference.map_or(e.apart.clone().unwrap_or("-".into()), |d| {
        if d.none() {
            return format!("no difference on {}", counted(d.images, "image"));
        }
        let [median, low, high] = [d.median, d.interval[0], d.interval[1]].map(|v| scale * v);
        let chance = if d.clear { "" } else { ", may be chance" };
        format!(
            "{median:+.digits$}{unit} (95 % {low:+.digits$} to {high:+.digits$}, {}{chance})",
            counted(d.images, "image")
        )
    });
    [
        e.name.clone(),
        e.certified.to_string(),
        percent(e.clean_accuracy),
        percent(e.noisy_accuracy),
        e.proved.map_or("-".into(), |p| format!("{:.digits$}{unit}", scale * p[2])),
        against,
    ]
}
