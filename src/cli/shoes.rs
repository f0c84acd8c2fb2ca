//! `deltamax shoes`: the made-up shoe photos as a folder tree.

use std::path::PathBuf;

use super::common::{self, SayArgs};
use crate::dataset::shoes;
use crate::terminal::counted;

/// Write made-up shoe photos as a folder tree: Class/Subtype/Maker/00000.png
///
/// Four classes in the shares of the case study (60 % Shoes, 26 % Boots, 11 % Sandals, 3 % Slippers), on white, toe to the
/// left. The same seed gives the same shoes at every size.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  deltamax shoes --out shoes --count 3000 --size 128\n  deltamax train --data shoes --size 32 --out model.onnx"
)]
pub struct ShoesArgs {
    /// Folder to write; must be new or empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Number of photos
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Side of a photo in pixels
    #[arg(long, value_name = "S", default_value_t = 128, value_parser = clap::value_parser!(u32).range(*shoes::SIDES.start() as i64..=*shoes::SIDES.end() as i64))]
    pub size: u32,
    /// Seed: other shoes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub output: SayArgs,
}

/// Writes the tree and says what is in it.
pub fn run(args: ShoesArgs) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    common::check_folder(&args.out)?;
    shoes::write_tree(&args.out, args.count as usize, args.size as usize, args.seed)?;
    args.output.say(format!(
        "{} of {}x{} pixels in {} ({}), {:.1} s",
        counted(args.count as usize, "photo"),
        args.size,
        args.size,
        args.out.display(),
        shoes::counts_line(args.count as usize),
        start.elapsed().as_secs_f32()
    ));
    args.output.answer(&serde_json::json!({ "photos": args.count, "folder": args.out }))
}
