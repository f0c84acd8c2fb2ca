//! The page beside a result folder of certify, and `deltamax report`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::common::{SayArgs, say_notes};
use super::study;
use crate::certify::{again, table};
use crate::dataset::Dataset;
use crate::error::Error;
use crate::output::Folder;
use crate::report::certified;
use crate::results::Picture;

/// Write the page of a study, of certify or of merge again, from what they left.
#[derive(Args)]
#[command(after_help = "Example: deltamax report study\n         deltamax report proofs --data photos")]
pub struct ReportArgs {
    /// Folder with results.json of a study, or with delta_max.csv of certify or merge
    dir: PathBuf,
    /// The images of certify, for their pictures (default: where the manifest says)
    #[arg(long)]
    data: Option<PathBuf>,
    /// The model of certify, which says how its images are read (default: where the manifest says)
    #[arg(long)]
    model: Option<PathBuf>,
    #[command(flatten)]
    output: SayArgs,
}

pub fn run(args: ReportArgs) -> Result<()> {
    let page = if table::table_path(&args.dir).is_file() {
        again(&args.dir, args.model, args.data, &args.output)?
    } else if args.data.is_some() || args.model.is_some() {
        bail!(Error::usage("--data and --model are for folders of certify; a study keeps its pictures"));
    } else {
        study::rebuild(&args.dir)?
    };
    args.output.say(page.display());
    args.output.answer(&serde_json::json!({ "report": page }))
}

/// Opens a result folder for its page.
fn open(out: &Path) -> crate::error::Result<Folder> {
    Folder::open(out, "report", &["figures", "report.html"], false)
}

/// Refuses what a page could not be written for, before hours are spent on what stands on it.
pub fn check(out: &Path, variances: &[f64]) -> Result<()> {
    if !variances.contains(&0.0) {
        bail!(Error::usage("--report shows clean images; add 0 to --variance"));
    }
    Ok(open(out).map(drop)?)
}

/// Writes the page of a result folder that is whole, with pictures of these images.
pub fn write(out: &Path, data: &Dataset) -> Result<PathBuf> {
    draw(out, |i| Some(Picture::from_chw(data.shape, &data.image(i))))
}

/// The same later, when the images have to be read again. Without them the page has no pictures.
pub fn again(out: &Path, model: Option<PathBuf>, data: Option<PathBuf>, say: &SayArgs) -> Result<PathBuf> {
    let asked = model.is_some() || data.is_some();
    let manifest = table::read_manifest(out)?;
    match again::images(out, &manifest, model, data) {
        Ok(images) => write(out, &images),
        Err(e) if asked => bail!(e),
        Err(e) => {
            say_notes(out, &[format!("the page has no pictures ({e}); deltamax report --data adds them")], say);
            draw(out, |_| None)
        }
    }
}

fn draw(out: &Path, picture: impl Fn(usize) -> Option<Picture>) -> Result<PathBuf> {
    let (manifest, rows) = table::read_whole(out)?;
    let folder = open(out)?;
    let pictures = |shown: &[usize]| shown.iter().filter_map(|&i| Some((i, picture(i)?))).collect();
    certified::write(&manifest, rows, pictures, folder.path())?;
    folder.finish()?;
    Ok(out.join("report.html"))
}
