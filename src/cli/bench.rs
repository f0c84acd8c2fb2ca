//! `deltamax bench`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::common::{RunArgs, whole};
use crate::bench::{self, Report};
use crate::bounds::Method;
use crate::dataset::shoes;
use crate::network::Network;
use crate::progress::{Progress, Verbosity};
use crate::train;

/// Throughput of every kernel and method, share of the device's peak.
#[derive(Args)]
#[command(after_help = "Example: deltamax bench --device cpu --json > base.json
         deltamax bench --device cpu --against base.json")]
pub struct BenchArgs {
    /// Images each method searches, at most 1000 [default: 1000 by ibp, 250 by crown-ibp, 100 by crown, 50 by alpha]
    #[arg(long, value_parser = whole::<{ bench::IMAGES }>)]
    images: Option<usize>,
    /// Compare with what --json wrote into this file; ends with 1 if a rate is more than 5 % lower
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// Domains per image of branch and bound.
const DOMAINS: usize = 200;

pub fn run(args: BenchArgs) -> Result<()> {
    let earlier = args.against.as_deref().map(bench::read).transpose()?;
    let device = args.run.open()?;
    args.run.say(device.describe());
    let (peak, kernels) = bench::kernels(&device)?;
    args.run.say(format!("f32 multiply-add peak  {:.1} GF/s", peak / 1e9));
    args.run.say("\nproduct kernel      layer                        GF/s   share of peak");
    for k in &kernels {
        args.run.say(format!("{:18}  {:24}  {:8.1}   {:5.1} %", k.kernel, k.work, k.gflops, 100.0 * k.share));
    }
    let streams = bench::streams(&device)?;
    args.run.say("\nelementwise kernel                               GB/s");
    for s in &streams {
        args.run.say(format!("{:44}  {:8.1}", s.kernel, s.gigabytes));
    }
    let data = shoes::dataset(bench::IMAGES, 32, args.run.seed);
    let settings = train::Settings { epochs: 4, seed: args.run.seed, ..train::Settings::default() };
    let mut silent = Progress::start(Verbosity::Quiet, "", 0);
    let images = train::Images { train: &data, validation: None, test: &data.subset(&[]) };
    let (model, _) = train::train(&device, &images, &settings, None, &mut silent)?;
    let net = Network::new(&device, &model)?;
    args.run.say(format!(
        "\ndelta max, {} + FC{}, made-up shoes {}",
        settings.architecture,
        model.outputs(),
        data.shape
    ));
    args.run
        .say("method     images/s  probes/image  median radius  sound/unsound  any-f32/exact  Mflop/image  time/floor");
    let mut methods = Vec::new();
    for (method, count) in [(Method::Ibp, 1000), (Method::CrownIbp, 250), (Method::Crown, 100), (Method::Alpha, 50)] {
        let m = bench::method(&net, &data, method, args.images.unwrap_or(count), peak)?;
        args.run.say(format!(
            "{:9}  {:8.1}  {:12.1}  {:13.5}  {:13.4}  {:13.4}  {:11.1}  {:10.1}",
            m.method,
            m.images_per_second,
            m.probes_per_image,
            m.median_radius,
            m.price_of_soundness,
            m.price_of_any_f32,
            m.megaflop_per_image,
            m.over_floor
        ));
        methods.push(m);
    }
    let branch = bench::branch(&net, &data, args.images.unwrap_or(50).min(200), DOMAINS, peak)?;
    args.run.say(format!(
        "{:9}  {:8.1}  {:12.1}  {:13.5}  {:>13}  {:>13}  {:11.1}  {:10.1}",
        "+branch",
        branch.images_per_second,
        branch.domains_per_image,
        branch.median_radius,
        "",
        "",
        branch.megaflop_per_image,
        branch.over_floor
    ));
    let attack = bench::attack(&net, &data, args.images.unwrap_or(250), peak)?;
    args.run.say(format!(
        "{:9}  {:8.1}  {:>12}  {:13.5}  {:>13}  {:>13}  {:11.1}  {:10.1}",
        "attack",
        attack.images_per_second,
        "",
        attack.median_distance,
        "",
        "",
        attack.megaflop_per_image,
        attack.over_floor
    ));
    args.run.say("time/floor: measured time over that of the affine layers' operations at the peak above; +branch: after crown, domains in place\nof probes; attack: median distance.");
    let rows = methods.iter().map(|m| (m.method.as_str(), m.probes_per_image, m.images, &m.traffic, m.seconds));
    let rows = rows.chain([
        ("+branch", branch.domains_per_image, branch.images, &branch.traffic, branch.seconds),
        ("attack", 1.0, attack.images, &attack.traffic, attack.seconds),
    ]);
    args.run.say("\nmethod     kB to, from the device per image and probe   dispatches   submissions    waits   share of time waited");
    for (method, probes, images, t, seconds) in rows {
        let each = |bytes: u64| bytes as f64 / 1e3 / (probes * images as f64);
        args.run.say(format!(
            "{method:9}  {:22.2}  {:22.2}  {:11}  {:12}  {:7}  {:19.2} %",
            each(t.uploaded),
            each(t.downloaded),
            t.dispatches,
            t.submissions,
            t.waits,
            100.0 * t.waited_seconds / seconds
        ));
    }
    args.run.say("probe: for +branch a domain, for the attack all of its steps.");
    let mut report = Report {
        device: device.describe(),
        peak_gflops: peak / 1e9,
        kernels,
        streams,
        methods,
        branch,
        attack,
        predicted: vec![],
        against: None,
    };
    report.predicted = report.predictions();
    let milliseconds = |seconds: f64| format!("{:15.3}", 1e3 * seconds);
    let names = bench::GPUS.map(|gpu| format!("{:>15}", gpu.name)).join("  ");
    args.run.say(format!("\n{:44}  {:>15}  {names}", "milliseconds", "here"));
    for p in &report.predicted {
        let others: Vec<String> = p.predicted.iter().map(|s| milliseconds(*s)).collect();
        args.run.say(format!("{:44}  {}  {}", p.what, milliseconds(p.seconds), others.join("  ")));
    }
    args.run.say(format!(
        "of GPUs, predicted: the longer of operations at the peak and bytes at the bandwidth of the data sheet, and {:.0} us for every\n\
         dispatch of this run, whose batches a GPU may take larger.",
        1e6 * bench::DISPATCH
    ));
    report.against = earlier.map(|earlier| report.beside(&earlier));
    if let Some(against) = &report.against {
        args.run.say(format!("\nnow/then, then on {}", against.device));
        against.ratios.iter().for_each(|(name, ratio)| args.run.say(format!("{name:44}  {ratio:8.2}")));
        against.alone.iter().for_each(|name| args.run.say(format!("{name:44}  one time only")));
    }
    args.run.answer(&report)?;
    if let (Some(against), Some(path)) = (&report.against, &args.against) {
        against.check(path)?;
    }
    Ok(())
}
