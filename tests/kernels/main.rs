//! One loop over the table of kernels: every shader agrees with its row, and every dispatch of the test cases gives on
//! the GPU what the twin gives. Without an adapter the GPU half shows as ignored.

mod browser;
mod whole;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use deltamax::device::{Choice, Device};
use deltamax::kernel::Kernel;
use deltamax::ops::{self, case::Case};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wgpu::naga;

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
        trials.push(Trial::test(format!("layout::{}", kernel.name), move || layout(kernel).map_err(Failed::from)));
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
    trials.push(Trial::test("table::is_written_for_browsers", || Ok(browser::is_understood()?)));
    trials.push(on_gpu(&missing, "fault::a_broken_shader_is_an_error".into(), broken_shader));
    trials.push(on_gpu(&missing, "fault::too_large_a_buffer_is_an_error".into(), too_large_a_buffer));
    trials.push(on_gpu(&missing, "order::uploads_clears_and_dispatches".into(), order));
    trials.push(on_gpu(&missing, "whole::passes".into(), whole::passes));
    trials.push(on_gpu(&missing, "whole::training".into(), whole::training));
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

/// Compares the shader, as naga reads it, with the kernel's row.
fn layout(kernel: &Kernel) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(kernel.source).map_err(|e| e.emit_to_string(kernel.source))?;
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::default())
        .validate(&module)
        .map_err(|e| e.emit_to_string(kernel.source))?;
    let (index, entry) = (module.entry_points.iter().enumerate())
        .find(|(_, e)| e.name == kernel.entry)
        .ok_or_else(|| format!("no entry point {}", kernel.entry))?;
    if entry.workgroup_size != kernel.workgroup {
        return Err(format!("workgroup size {:?}, the table says {:?}", entry.workgroup_size, kernel.workgroup));
    }
    let used = info.get_entry_point(index);
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        if let (Some(b), false) = (variable.binding, used[handle].is_empty()) {
            bindings.push((b.group, b.binding, variable));
        }
    }
    bindings.sort_by_key(|&(group, binding, _)| (group, binding));
    let expected = 1 + kernel.reads + kernel.writes;
    if bindings.len() != expected {
        return Err(format!("uses {} bindings, the table says {expected}", bindings.len()));
    }
    for (i, &(group, binding, variable)) in bindings.iter().enumerate() {
        let name = variable.name.as_deref().unwrap_or("?");
        if (group, binding as usize) != (0, i) {
            return Err(format!("{name} is at group {group}, binding {binding}; expected group 0, binding {i}"));
        }
        let ty = &module.types[variable.ty].inner;
        match (i, variable.space) {
            (0, naga::AddressSpace::Uniform) => params(&module, ty, kernel)?,
            (1.., naga::AddressSpace::Storage { access }) => {
                let writes = access.contains(naga::StorageAccess::STORE);
                if writes != (i > kernel.reads) {
                    return Err(format!("{name}: {access:?}, but binding {i} of {} + {}", kernel.reads, kernel.writes));
                }
                words(&module, ty).map_err(|e| format!("{name}: {e}"))?;
            }
            (_, space) => return Err(format!("{name} is in {space:?}")),
        }
    }
    Ok(())
}

/// The uniform block is as long as the host's struct and all its members are 4-byte scalars.
fn params(module: &naga::Module, ty: &naga::TypeInner, kernel: &Kernel) -> Result<(), String> {
    let naga::TypeInner::Struct { members, span } = ty else {
        return Err("binding 0 is not a struct".into());
    };
    if *span as usize != kernel.params || kernel.params > 256 {
        return Err(format!("parameters: {span} bytes, the host's struct has {}, at most 256", kernel.params));
    }
    for (i, member) in members.iter().enumerate() {
        let scalar = matches!(module.types[member.ty].inner, naga::TypeInner::Scalar(s) if s.width == 4);
        if !scalar || member.offset as usize != 4 * i {
            return Err(format!("parameter {}: not a 4-byte scalar", member.name.as_deref().unwrap_or("?")));
        }
    }
    Ok(())
}

/// Storage is a run-time array of 4-byte scalars or of vectors of four (or two) of them.
fn words(module: &naga::Module, ty: &naga::TypeInner) -> Result<(), String> {
    let naga::TypeInner::Array { base, size: naga::ArraySize::Dynamic, .. } = ty else {
        return Err("not a run-time array".into());
    };
    let ok = match &module.types[*base].inner {
        naga::TypeInner::Scalar(s) | naga::TypeInner::Atomic(s) => s.width == 4,
        naga::TypeInner::Vector { size, scalar } => scalar.width == 4 && *size != naga::VectorSize::Tri,
        _ => false,
    };
    if ok { Ok(()) } else { Err("elements are not 4-byte words or vectors of them".into()) }
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
