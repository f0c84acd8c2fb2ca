//! One loop over the table of kernels: every shader agrees with its row, and every dispatch of the test cases gives on
//! the GPU what the twin gives. Without an adapter the GPU half shows as ignored.

mod browser;
mod layout;
mod learn;
#[path = "../common/nets.rs"]
mod nets;
mod whole;
mod worst;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use deltamax::device::{Choice, Device};
use deltamax::kernel::Kernel;
use deltamax::ops::{self, case::Case};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() {
    // SAFETY: no other thread exists yet.
    unsafe { deltamax::device::quiet_driver() };
    let args = Arguments::from_args();
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    if let Some(folder) = folder("DELTAMAX_EXPORT") {
        return browser::export(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    }
    let returned = folder("DELTAMAX_IMPORT");
    let adapter = Device::open(&Choice::Gpu).map(|gpu| gpu.describe());
    if let (Ok(adapter), None) = (&adapter, &returned) {
        eprintln!("adapter: {adapter}");
    }
    let missing = adapter.err().map(|e| e.to_string());
    let mut cases = ops::cases();
    let mut trials = vec![Trial::test("table::names_are_unique", names_are_unique)];
    for kernel in ops::kernels() {
        let (own, rest) = cases.into_iter().partition::<Vec<Case>, _>(|c| c.kernel.name == kernel.name);
        cases = rest;
        let own = Arc::new(own);
        trials.push(Trial::test(format!("layout::{}", kernel.name), move || Ok(layout::agrees(kernel)?)));
        if let (Some(folder), judged) = (returned.clone(), own.clone()) {
            let outputs = move |i, case: &Case| browser::outputs(&folder, i, case);
            let trial = Trial::test(format!("browser::{}", kernel.name), move || Ok(agrees(kernel, &judged, outputs)?));
            trials.push(trial.with_kind(format!("{} cases", own.len())));
        }
        let judged = own.clone();
        let twin = |_, case: &Case| case.run(&Device::cpu()).map_err(|e| e.to_string());
        trials.push(Trial::test(format!("twin::{}", kernel.name), move || Ok(agrees(kernel, &judged, twin)?)));
        trials.push(on_gpu(&missing, format!("gpu::{}", kernel.name), move |gpu| {
            agrees(kernel, &own, |_, case| case.run(gpu).map_err(|e| e.to_string()))
        }));
    }
    if let Some(folder) = returned {
        trials.push(Trial::test("browser::was_given_this_table", move || Ok(browser::was_given_this_table(&folder)?)));
    }
    let strays: HashSet<&str> = cases.iter().map(|c| c.kernel.name).collect();
    trials.push(Trial::test("table::every_case_has_a_kernel", move || match strays.is_empty() {
        true => Ok(()),
        false => Err(format!("not in ops::kernels(): {strays:?}").into()),
    }));
    trials.push(Trial::test("layout::changes_are_seen", || Ok(layout::changes_are_seen()?)));
    trials.push(Trial::test("table::constants_are_used", || Ok(layout::constants_are_used()?)));
    trials.push(Trial::test("table::is_written_for_browsers", || Ok(browser::is_understood()?)));
    trials.push(on_gpu(&missing, "fault::a_broken_shader_is_an_error".into(), broken_shader));
    trials.push(on_gpu(&missing, "fault::too_large_a_buffer_is_an_error".into(), too_large_a_buffer));
    trials.push(on_gpu(&missing, "order::uploads_clears_and_dispatches".into(), order));
    trials.push(Trial::test("traffic::twin", || Ok(whole::traffic(&Device::cpu())?)));
    trials.push(on_gpu(&missing, "traffic::gpu".into(), whole::traffic));
    trials.push(on_gpu(&missing, "traffic::search".into(), whole::search_traffic));
    trials.push(Trial::test("traffic::attack_twin", || Ok(whole::attack_traffic(&Device::cpu())?)));
    trials.push(on_gpu(&missing, "traffic::attack".into(), whole::attack_traffic));
    trials.push(on_gpu(&missing, "traffic::growth".into(), whole::growth_traffic));
    trials.push(on_gpu(&missing, "whole::room".into(), whole::room));
    trials.push(on_gpu(&missing, "flight::in_flight".into(), whole::in_flight));
    trials.push(on_gpu(&missing, "flight::search".into(), whole::flights));
    trials.push(on_gpu(&missing, "whole::passes".into(), whole::passes));
    trials.push(on_gpu(&missing, "whole::training".into(), whole::training));
    trials.push(Trial::test("twin::worst_case_gradients", || Ok(worst::gradients(&Device::cpu())?)));
    trials.push(on_gpu(&missing, "gpu::worst_case_gradients".into(), worst::gradients));
    trials.push(Trial::test("twin::normalised_gradients", || Ok(learn::gradients(&Device::cpu())?)));
    trials.push(on_gpu(&missing, "gpu::normalised_gradients".into(), learn::gradients));
    trials.push(on_gpu(&missing, "whole::bounds".into(), whole::bounds));
    trials.push(on_gpu(&missing, "whole::branching".into(), whole::branching));
    libtest_mimic::run(&args, trials).exit();
}

/// A test with a device of its own, since a fault stays with the device. Ignored if there is none, with the reason.
fn on_gpu(
    missing: &Option<String>,
    name: String,
    test: impl FnOnce(&Device) -> Result<(), String> + Send + 'static,
) -> Trial {
    let missing = missing.clone();
    Trial::ignorable_test(name, move || match missing {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => Ok(test(&Device::open(&Choice::Gpu)?).map(|()| Completion::Completed)?),
    })
}

fn names_are_unique() -> Result<(), Failed> {
    let mut seen = HashSet::new();
    match ops::kernels().into_iter().find(|k| !seen.insert(k.name)) {
        None => Ok(()),
        Some(k) => Err(format!("two kernels are called {}", k.name).into()),
    }
}

/// Judges every case of one kernel, given what a device wrote for it, and the twin beside it.
fn agrees(
    kernel: &Kernel,
    cases: &[Case],
    outputs: impl Fn(usize, &Case) -> Result<Vec<Vec<f32>>, String>,
) -> Result<(), String> {
    if cases.is_empty() {
        return Err(format!("{} has no test case; add one to cases() of its op", kernel.name));
    }
    let cpu = Device::cpu();
    for (i, case) in cases.iter().enumerate() {
        let name = format!("{} ({})", kernel.name, case.label);
        let outputs = outputs(i, case).map_err(|e| format!("{name}: {e}"))?;
        let faults = case.faults(&outputs, &case.run(&cpu).map_err(|e| format!("{name}: {e}"))?);
        if !faults.is_empty() {
            return Err(format!("{name}\n  {}", faults.join("\n  ")));
        }
    }
    Ok(())
}

fn no_twin(_: deltamax::kernel::Call<'_>) {}

fn broken_shader(gpu: &Device) -> Result<(), String> {
    static BROKEN: Kernel = Kernel {
        name: "broken",
        source: "@compute @workgroup_size(64) fn main() { let x: f32 = 1u; }",
        entry: "main",
        workgroup: [64, 1, 1],
        params: 4,
        reads: 0,
        writes: 1,
        twin: no_twin,
    };
    let y = gpu.zeros(16).map_err(|e| e.to_string())?;
    let error = gpu.run(&BROKEN, &0u32, &[], &[&y], [16, 1, 1]).expect_err("a broken shader ran").to_string();
    let later = gpu.read::<f32>(&y).expect_err("a faulty device gave results");
    if !error.contains("broken") || error.lines().count() != 1 || !matches!(later, deltamax::error::Error::Device(_)) {
        return Err(format!("unhelpful: {error}"));
    }
    Ok(())
}

fn too_large_a_buffer(gpu: &Device) -> Result<(), String> {
    match gpu.alloc(gpu.max_buffer() + 1) {
        Ok(_) => Err("a buffer over the limit was allocated".into()),
        Err(e) if e.to_string().contains("--batch") => Ok(()),
        Err(e) => Err(format!("no remedy in: {e}")),
    }
}

/// Many small steps on few buffers: what is recorded, written and pooled must happen in the order of the calls.
fn order(gpu: &Device) -> Result<(), String> {
    let steps = |device: &Device| -> deltamax::error::Result<Vec<f32>> {
        let mut seen = Vec::new();
        for step in 0..100u32 {
            let x = device.upload(&[step as f32 - 40.0; 32])?;
            let y = device.zeros(32)?;
            if step % 3 != 0 {
                ops::relu::forward(device, &x, &y)?;
            }
            device.write(&x, &[-1.0f32; 32])?;
            let z = device.zeros(32)?;
            ops::relu::forward(device, &y, &z)?;
            if step % 7 == 0 {
                seen.extend(device.read::<f32>(&z)?);
            }
        }
        device.sync()?;
        Ok(seen)
    };
    let (a, b) = (steps(gpu).map_err(|e| e.to_string())?, steps(&Device::cpu()).map_err(|e| e.to_string())?);
    if a == b { Ok(()) } else { Err(format!("{a:?}\n{b:?}")) }
}
