//! `deltamax devices`.

use anyhow::Result;
use clap::Args;

use crate::device::{self, Choice, Device};
use crate::terminal;

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
        terminal::line(serde_json::json!({ "adapters": adapters, "auto": auto }));
        return Ok(());
    }
    for a in &adapters {
        let kind = if a.software { "software" } else { "GPU" };
        let (index, name, backend, driver, room) = (a.index, &a.name, &a.backend, &a.driver, a.max_binding >> 20);
        terminal::line(format_args!("{index}  {name}  ({kind}, {backend}, {driver}, buffers up to {room} MiB)"));
    }
    if adapters.is_empty() {
        terminal::line("no GPU adapter found (a Vulkan, Metal or DX12 driver would show here)");
    }
    terminal::line(format_args!("cpu  {}", Device::cpu().describe()));
    terminal::line(format_args!("--device auto takes: {auto}"));
    Ok(())
}
