//! Measures this device: f32 peak, every product kernel against it, and the methods against the work they must do.

mod against;
mod predicted;

use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::bounds::{Bounder, Method, Runtime};
use crate::close::{self, Bracket};
use crate::dataset::Dataset;
use crate::device::{Buffer, Device, Traffic};
use crate::error::Result;
use crate::network::Network;
use crate::ops::conv::{self, Charge, Geometry};
use crate::ops::noise::{self, Noise};
use crate::ops::optimizer::{self, Adam};
use crate::ops::{add, ball, conv_grad, linear, peak, relax, relu, scale};
use crate::rng::Rng;
use crate::search::{self, Subject};
use crate::tensor::Shape;
use crate::terminal::counted;
use crate::{attack, certify};

pub use against::{Against, read};
pub use predicted::{DISPATCH, GPUS, Gpu, Predicted};

/// Images there are to search.
pub const IMAGES: usize = 1000;

/// One measured kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelRate {
    pub kernel: String,
    pub work: String,
    /// Floating-point operations per second, in 10^9 (two per multiply-add).
    pub gflops: f64,
    /// Share of the peak measured in the same run.
    pub share: f64,
    /// Of one run.
    #[serde(default)]
    pub seconds: f64,
    /// Of one run.
    #[serde(default)]
    pub traffic: Traffic,
}

/// One measured elementwise kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamRate {
    pub kernel: String,
    /// Bytes read and written per second, in 10^9.
    pub gigabytes: f64,
    /// Of one run.
    #[serde(default)]
    pub seconds: f64,
    /// Of one run.
    #[serde(default)]
    pub traffic: Traffic,
}

/// One measured method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MethodRate {
    pub method: String,
    pub work: String,
    pub images_per_second: f64,
    pub probes_per_second: f64,
    pub probes_per_image: f64,
    pub median_radius: f64,
    /// Median over images of (radius with rounding charges / radius without): the price of soundness.
    pub price_of_soundness: f64,
    /// Median over images of (radius that holds for any f32 runtime / radius in real arithmetic).
    pub price_of_any_f32: f64,
    /// Operations of affine layers per image, in 10^6 (two per multiply-add).
    pub megaflop_per_image: f64,
    /// Measured time over the time these operations would take at the peak measured in the same run.
    pub over_floor: f64,
    pub images: usize,
    /// Of the fastest of several runs, if they are short.
    pub seconds: f64,
    /// What passed between host and device meanwhile.
    pub traffic: Traffic,
}

/// The attack, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttackRate {
    pub work: String,
    pub images_per_second: f64,
    /// Share of images broken, and the median distance of those.
    pub broken: f64,
    pub median_distance: f64,
    pub megaflop_per_image: f64,
    pub over_floor: f64,
    pub images: usize,
    pub seconds: f64,
    /// What passed between host and device meanwhile.
    pub traffic: Traffic,
}

/// Branch and bound, measured beyond radii by crown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BranchRate {
    pub work: String,
    pub images_per_second: f64,
    pub domains_per_second: f64,
    pub domains_per_image: f64,
    pub median_radius: f64,
    pub megaflop_per_image: f64,
    pub over_floor: f64,
    pub images: usize,
    pub seconds: f64,
    /// What passed between host and device meanwhile.
    pub traffic: Traffic,
}

/// Everything `deltamax bench` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub device: String,
    pub peak_gflops: f64,
    pub kernels: Vec<KernelRate>,
    pub streams: Vec<StreamRate>,
    pub methods: Vec<MethodRate>,
    pub branch: BranchRate,
    pub attack: AttackRate,
    /// All of it, beside what [`GPUS`] would take.
    #[serde(default)]
    pub predicted: Vec<Predicted>,
    /// Beside an earlier report, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// On a GPU a kernel runs so often between two looks at the clock that they are about this far apart, in seconds: to
/// start one and to hear that it is done takes as long as a fast one runs.
const STRETCH: f64 = 3e-3;

/// Seconds of the fastest of several runs of each, which take turns, so that all see the same machine.
fn fastest<const N: usize>(device: &Device, runs: [&dyn Fn() -> Result<()>; N]) -> Result<[f64; N]> {
    let timed = |run: &dyn Fn() -> Result<()>, times: usize| -> Result<f64> {
        let start = Instant::now();
        (0..times).try_for_each(|_| run())?;
        device.sync()?;
        Ok(start.elapsed().as_secs_f64() / times as f64)
    };
    let (mut best, mut times) = ([f64::INFINITY; N], [1; N]);
    for (run, times) in runs.iter().zip(&mut times) {
        timed(run, 1)?;
        let seconds = timed(run, 1)?;
        *times = if device.is_gpu() { (STRETCH / seconds).clamp(1.0, 100.0) as usize } else { 1 };
    }
    let started = Instant::now();
    let mut turns = 0;
    while turns < 3 || (started.elapsed().as_secs_f64() < 0.3 * N as f64 && turns < 200) {
        for ((run, best), times) in runs.iter().zip(&mut best).zip(times) {
            *best = best.min(timed(run, times)?);
        }
        turns += 1;
    }
    Ok(best)
}

/// The layers kernels are measured on: those of the network of the documentation, and a wide dense layer.
fn layers() -> Vec<(&'static str, Geometry)> {
    let conv = |ci, side, co| Geometry {
        input: Shape::new(ci, side, side),
        output: Shape::new(co, side / 2, side / 2),
        kernel: [4, 4],
        stride: [2, 2],
        pad: [1, 1],
        groups: 1,
    };
    vec![
        ("Conv16(4,s2) 1x28x28", conv(1, 28, 16)),
        ("Conv32(4,s2) 16x14x14", conv(16, 14, 32)),
        ("FC100 of 1568", Geometry::dense(1568, 100)),
        ("FC1024 of 1024", Geometry::dense(1024, 1024)),
    ]
}

/// A dispatch that is measured.
pub struct Run {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Of what layer, where that matters.
    pub work: &'static str,
    /// Floating-point operations, or bytes of a kernel that computes little per word.
    pub amount: f64,
    /// Dispatches once; the device may not be done when it returns.
    pub run: Box<dyn Fn() -> Result<()>>,
}

impl Run {
    /// What one run of it gives the device to do.
    fn traffic(&self, device: &Device) -> Result<Traffic> {
        let before = device.traffic();
        (self.run)()?;
        Ok(device.traffic().since(&before))
    }
}

/// The product kernels on layers of every kind.
pub fn products(device: &Device) -> Result<Vec<Run>> {
    let lanes = if device.is_gpu() { 1024 } else { 256 };
    let mut rng = Rng::new(0, 1);
    let mut random = |n: usize| -> Result<Rc<Buffer>> {
        Ok(Rc::new(device.upload(&(0..n).map(|_| rng.range(-1.0, 1.0)).collect::<Vec<f32>>())?))
    };
    let mut all = Vec::new();
    for (work, g) in layers() {
        let (x, x2) = (random(g.input.len() * lanes)?, random(g.input.len() * lanes)?);
        let (y, y2) = (random(g.output.len() * lanes)?, random(g.output.len() * lanes)?);
        let (w, b) = (random(g.weights())?, random(g.output.channels)?);
        let gw = device.alloc(w.len())?;
        let charge = Charge::new(g.fan_in(), 1.0);
        let mut add = |kernel, per_product: f64, run| {
            all.push(Run { kernel, work, amount: per_product * inner_products(&g) * lanes as f64, run });
        };
        let (d, i, k, bias, o) = (device.clone(), x.clone(), w.clone(), b.clone(), y.clone());
        add("conv_forward", 2.0, Box::new(move || conv::forward(&d, &g, &i, &k, &bias, &o, lanes)));
        let (d, i, i2, k, bias, o) = (device.clone(), x.clone(), x2.clone(), w.clone(), b, y.clone());
        let interval = move || conv::interval(&d, &g, [&i, &i2], &k, &bias, [&o, &y2], lanes, charge, 0.0);
        add("conv_interval", 4.0, Box::new(interval));
        let (d, k, o) = (device.clone(), w, y.clone());
        add("conv_input_grad", 2.0, Box::new(move || conv_grad::input_grad(&d, &g, &o, &k, &x2, lanes)));
        let d = device.clone();
        add("conv_weight_grad", 2.0, Box::new(move || conv_grad::weight_grad(&d, &g, &x, &y, &gw, lanes)));
    }
    Ok(all)
}

/// The device's f32 rate in operations per second, and those of the product kernels, each measured by turns with chains of
/// multiply-adds that never leave the registers. The fastest that was seen is the peak: no share is above 1.
pub fn kernels(device: &Device) -> Result<(f64, Vec<KernelRate>)> {
    let (lanes, rounds) = if device.is_gpu() { (1 << 20, 512) } else { (1 << 14, 2048) };
    let out = device.alloc(lanes)?;
    let operations = peak::multiply_add(device, &out, rounds)?;
    let (mut peak, mut rates) = (0.0f64, Vec::new());
    for measured in products(device)? {
        let chains = || peak::multiply_add(device, &out, rounds).map(drop);
        let [seconds, beside] = fastest(device, [&measured.run, &chains])?;
        let (rate, traffic) = (measured.amount / seconds, measured.traffic(device)?);
        peak = peak.max(operations / beside).max(rate);
        let (kernel, work) = (measured.kernel.into(), measured.work.into());
        rates.push(KernelRate { kernel, work, gflops: rate / 1e9, share: rate, seconds, traffic });
    }
    rates.iter_mut().for_each(|rate| rate.share /= peak);
    Ok((peak, rates))
}

/// Multiply-adds of one forward pass, border taps that fall outside not counted.
fn inner_products(g: &Geometry) -> f64 {
    let along = |d: usize, input: usize, output: usize| -> usize {
        (0..output)
            .map(|o| (0..g.kernel[d]).filter(|k| (o * g.stride[d] + k).wrapping_sub(g.pad[d]) < input).count())
            .sum()
    };
    let taps = along(0, g.input.height, g.output.height) * along(1, g.input.width, g.output.width);
    (taps * g.input.channels * g.output.channels) as f64
}

/// The kernels that compute little per word, over a million words.
pub fn elementwise(device: &Device) -> Result<Vec<Run>> {
    let (n, lanes) = (1 << 20, 64);
    let elements = n / lanes;
    let mut rng = Rng::new(0, 2);
    let mut random = |n: usize| -> Result<Rc<Buffer>> {
        Ok(Rc::new(device.upload(&(0..n).map(|_| rng.uniform()).collect::<Vec<f32>>())?))
    };
    let [a, b, c, d] = [random(n)?, random(n)?, random(n)?, random(n)?];
    let (factor, delta) = (random(elements)?, random(lanes)?);
    let ids = device.upload(&(0..lanes as u32).collect::<Vec<u32>>())?;
    let table = device.alloc(n * linear::RELAX)?;
    let noise = Noise { seed: 0, draw: 0, sigma: 0.1, clip: true };
    let adam = Adam::default();
    let mut all = Vec::new();
    // Names every run's own handles on the device and the buffers.
    macro_rules! run {
        ($kernel:literal, $words:literal, $device:ident, [$($buffer:ident),*], $call:expr) => {{
            let $device = device.clone();
            $(let $buffer = $buffer.clone();)*
            let amount = (4 * $words * n) as f64;
            all.push(Run { kernel: $kernel, work: "", amount, run: Box::new(move || $call) });
        }};
    }
    let (ids, table) = (Rc::new(ids), Rc::new(table));
    run!("relu_forward", 2, on, [a, c], relu::forward(&on, &a, &c));
    run!("relu_backward", 3, on, [a, b, c], relu::backward(&on, &a, &b, &c));
    run!("relu_interval", 4, on, [a, b, c, d], relu::interval(&on, &a, &b, &c, &d, 0.0));
    run!("add_forward", 3, on, [a, b, c], add::forward(&on, &a, &b, &c));
    run!("scale_forward", 2, on, [a, factor, c], scale::forward(&on, &a, &factor, &factor, &c, lanes));
    run!("ball_clip", 3, on, [a, delta, c, d], ball::clip(&on, &a, &delta, [&c, &d], lanes, 0.0));
    run!("noise_gaussian", 2, on, [a, ids, c], noise::gaussian(&on, &a, &ids, &c, elements, lanes, &noise));
    run!("optimizer_adam", 7, on, [a, b, c, d], optimizer::adam(&on, &a, &b, &c, &d, &adam, 1));
    run!("relax_relu", 7, on, [a, b, c, table], relax::relu(&on, [&a, &b], &c, &table, lanes));
    run!("relax_transpose_lanes", 2, on, [a, c], relax::transpose(&on, &a, &c, lanes));
    run!("relax_magnitude", 3, on, [a, b, c], relax::magnitude(&on, &a, &b, &c));
    Ok(all)
}

/// Rates of the kernels that compute little per word.
pub fn streams(device: &Device) -> Result<Vec<StreamRate>> {
    let rate = |measured: Run| -> Result<StreamRate> {
        let [seconds] = fastest(device, [&measured.run])?;
        let (gigabytes, traffic) = (measured.amount / seconds / 1e9, measured.traffic(device)?);
        Ok(StreamRate { kernel: measured.kernel.into(), gigabytes, seconds, traffic })
    };
    elementwise(device)?.into_iter().map(rate).collect()
}

/// The radii that the bounds prove of these images, and the probes spent.
pub fn radii(bounder: &Bounder, subjects: Vec<Subject>) -> Result<(Vec<f32>, u64)> {
    let (mut radii, mut probes) = (Vec::with_capacity(subjects.len()), 0);
    search::search(bounder, &search::Settings::new(bounder), subjects, |_, found| {
        radii.push(found.proved);
        probes += u64::from(found.probes);
        Ok(())
    })?;
    Ok((radii, probes))
}

/// As far as branch and bound is driven where it is measured.
pub fn closing(domains: usize) -> close::Settings {
    close::Settings { domains, seconds: None, tolerance: 0.01 }
}

/// Searches delta max for `count` images of `data` by one method, with and without rounding charges.
pub fn method(net: &Network, data: &Dataset, method: Method, count: usize, peak: f64) -> Result<MethodRate> {
    let bounder = Bounder::new(net, method)?;
    let images: Vec<_> = (0..count.min(data.len())).map(|i| data.image(i)).collect();
    let subjects = || -> Result<Vec<Subject>> {
        Ok(images.chunks(256).map(|c| Subject::classify(net, c)).collect::<Result<Vec<_>>>()?.concat())
    };
    let run = |bounder: &Bounder| -> Result<(f64, Vec<f32>, u64, Traffic)> {
        let subjects = subjects()?;
        let before = net.device.traffic();
        let start = Instant::now();
        let (radii, probes) = radii(bounder, subjects)?;
        Ok((start.elapsed().as_secs_f64(), radii, probes, net.device.traffic().since(&before)))
    };
    let (mut seconds, radii, probes, traffic) = run(&bounder)?;
    let operations = 2.0 * bounder.products() as f64;
    let mut all = seconds;
    for _ in 0..4 {
        if all > 1.0 {
            break;
        }
        let (again, ..) = run(&bounder)?;
        all += again;
        seconds = seconds.min(again);
    }
    let ratio = |of: &[f32], to: &[f32]| {
        let pairs = of.iter().zip(to).filter(|(_, to)| **to > 0.0);
        median(pairs.map(|(of, to)| f64::from(*of) / f64::from(*to)).collect())
    };
    let deployed = bounder.clone().for_runtime(Runtime::AnyF32)?;
    let (_, any, ..) = run(&deployed)?;
    let (_, free, ..) = run(&bounder.without_charges())?;
    Ok(MethodRate {
        method: method.to_string(),
        work: format!("{} of {}", counted(radii.len(), "image"), data.shape),
        images_per_second: radii.len() as f64 / seconds,
        probes_per_second: probes as f64 / seconds,
        probes_per_image: probes as f64 / radii.len() as f64,
        median_radius: median(radii.iter().map(|r| f64::from(*r)).collect()),
        price_of_soundness: ratio(&radii, &free),
        price_of_any_f32: ratio(&any, &radii),
        megaflop_per_image: operations / 1e6 / radii.len() as f64,
        over_floor: seconds / (operations / peak),
        images: radii.len(),
        seconds,
        traffic,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    crate::results::quantile(&values, 0.5)
}

/// Closes the brackets of `count` images of `data` with `domains` each, after crown, whose time does not count.
pub fn branch(net: &Network, data: &Dataset, count: usize, domains: usize, peak: f64) -> Result<BranchRate> {
    let bounder = Bounder::new(net, Method::Crown)?;
    let images: Vec<_> = (0..count.min(data.len())).map(|i| data.image(i)).collect();
    let subjects = Subject::classify(net, &images)?;
    let bracket = |proved| Bracket { proved, attacked: None };
    let brackets: Vec<Bracket> = radii(&bounder, subjects.clone())?.0.into_iter().map(bracket).collect();
    let (before, crossed) = (bounder.products(), net.device.traffic());
    let start = Instant::now();
    let closed = close::close(&bounder, &closing(domains), &subjects, &brackets, &vec![0.0; subjects.len()])?;
    let (seconds, traffic) = (start.elapsed().as_secs_f64(), net.device.traffic().since(&crossed));
    let operations = 2.0 * (bounder.products() - before) as f64;
    let (n, used) = (images.len() as f64, closed.iter().map(|c| c.domains).sum::<usize>() as f64);
    Ok(BranchRate {
        work: format!("{} of {}", counted(images.len(), "image"), data.shape),
        images_per_second: n / seconds,
        domains_per_second: used / seconds,
        domains_per_image: used / n,
        median_radius: median(closed.iter().map(|c| f64::from(c.bracket.proved)).collect()),
        megaflop_per_image: operations / 1e6 / n,
        over_floor: seconds / (operations / peak),
        images: images.len(),
        seconds,
        traffic,
    })
}

/// Attacks `count` images of `data` as `certify` does beside crown.
pub fn attack(net: &Network, data: &Dataset, count: usize, peak: f64) -> Result<AttackRate> {
    let bounder = Bounder::new(net, Method::CrownIbp)?;
    let settings = attack::Settings::default();
    let images: Vec<_> = (0..count.min(data.len())).map(|i| data.image(i)).collect();
    let subjects = Subject::classify(net, &images)?;
    let before = net.device.traffic();
    let start = Instant::now();
    let hits = certify::attacks(&bounder, &subjects, &settings, |hit| f64::from(hit.distance))?;
    let (seconds, traffic) = (start.elapsed().as_secs_f64(), net.device.traffic().since(&before));
    let mut distances: Vec<f64> = hits.into_iter().flatten().collect();
    distances.sort_by(f64::total_cmp);
    // A step is a forward and a backward pass; the last step of a round is forward only.
    let passes = settings.rounds * (2 * settings.steps + 1) * images.len();
    let operations = 2.0 * (bounder.products() as f64 + (passes * net.products()) as f64);
    Ok(AttackRate {
        work: format!("{} of {}", counted(images.len(), "image"), data.shape),
        images_per_second: images.len() as f64 / seconds,
        broken: distances.len() as f64 / images.len() as f64,
        median_distance: crate::results::quantile(&distances, 0.5),
        megaflop_per_image: operations / 1e6 / images.len() as f64,
        over_floor: seconds / (operations / peak),
        images: images.len(),
        seconds,
        traffic,
    })
}
