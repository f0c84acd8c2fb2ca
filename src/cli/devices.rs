//! `deltamax devices`.

use anyhow::Result;
use clap::Args;

use crate::device::{self, Choice, Device};

/// List adapters and what `--device auto` would take.
#[derive(Args)]
#[command(after_help = "Example: deltamax devices")]
pub struct DevicesArgs {
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

pub fn run(args: DevicesArgs) -> Result<()> {
    let adapters = device::adapters();
    let auto = Device::open(&Choice::Auto).map_or_else(|e| e.to_string(), |d| d.describe());
    if args.json {
        println!("{}", serde_json::json!({ "adapters": adapters, "auto": auto }));
        return Ok(());
    }
    for a in &adapters {
        let kind = if a.software { "software" } else { "GPU" };
        println!(
            "{}  {}  ({kind}, {}, {}, buffers up to {} MiB)",
            a.index,
            a.name,
            a.backend,
            a.driver,
            a.max_binding >> 20
        );
    }
    if adapters.is_empty() {
        println!("no GPU adapter found (a Vulkan, Metal or DX12 driver would show here)");
    }
    println!("cpu  {}", Device::cpu().describe());
    println!("--device auto takes: {auto}");
    Ok(())
}
