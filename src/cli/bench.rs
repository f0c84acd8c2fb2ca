//! `deltamax bench`.

use anyhow::Result;
use clap::Args;

use super::common::RunArgs;

/// Throughput of every kernel and method, share of the device's peak.
#[derive(Args)]
#[command(after_help = "Example: deltamax bench --device cpu --json")]
pub struct BenchArgs {
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: BenchArgs) -> Result<()> {
    let device = args.run.open()?;
    args.run.say(device.describe());
    Ok(())
}
