//! The table of kernels on a WebGPU that this program cannot drive: each case is written to a folder as the calls a
//! device gets, a browser makes these calls (`tests/manual/webgpu.py`), and what it read back is judged like the outputs
//! of any other device.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use deltamax::device::{Device, Step};
use deltamax::ops::{self, case::Case};
use serde_json::{Value, json};

/// Writes `table.json`, which holds the shaders and each case's calls, and `words.bin`: what these calls upload.
pub fn export(folder: &Path) -> Result<(), String> {
    let (table, words) = encode()?;
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    fs::write(folder.join("table.json"), table).map_err(|e| e.to_string())?;
    fs::write(folder.join("words.bin"), words).map_err(|e| e.to_string())
}

/// Outputs are judged against inputs that are made again, so the browser must have had the same ones.
pub fn was_given_this_table(folder: &Path) -> Result<(), String> {
    let (table, words) = encode()?;
    let same = |name: &str, content: &[u8]| fs::read(folder.join(name)).is_ok_and(|given| given == content);
    match same("table.json", table.as_bytes()) && same("words.bin", &words) {
        true => Ok(()),
        false => Err("the folder holds another table than this program's; export it again".into()),
    }
}

/// The written buffers of a kernel's case number `index`, as the browser read them.
pub fn outputs(folder: &Path, index: usize, case: &Case) -> Result<Vec<Vec<f32>>, String> {
    let name = name(case, index);
    let file = folder.join(format!("{name}.out"));
    let bytes = fs::read(&file).map_err(|_| {
        fs::read_to_string(folder.join(format!("{name}.fault")))
            .unwrap_or_else(|_| "the browser did not get here".into())
    })?;
    let mut words = bytes.chunks_exact(4).map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]]));
    let (steps, twin) = record(case)?;
    let lengths = steps.iter().filter_map(|step| if let Step::Read(buffer) = step { Some(buffer.len) } else { None });
    let mut read: Vec<Vec<f32>> = lengths.map(|len| words.by_ref().take(len).collect()).collect();
    // A case may read while it sets up its inputs.
    let outputs = read.split_off(read.len() - twin.len());
    let whole = words.next().is_none() && outputs.iter().zip(&twin).all(|(o, t)| o.len() == t.len());
    if whole { Ok(outputs) } else { Err(format!("{name}.out has the wrong length")) }
}

/// A browser that gives what the twin gives is understood, one that gives nothing or too little is not.
pub fn is_understood() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    export(folder.path())?;
    was_given_this_table(folder.path())?;
    let case = &ops::relu::cases()[0];
    let (_, twin) = record(case)?;
    let bytes: Vec<u8> = twin.iter().flatten().flat_map(|w| w.to_le_bytes()).collect();
    let given = |bytes: &[u8]| {
        fs::write(folder.path().join(format!("{}.out", name(case, 0))), bytes).map_err(|e| e.to_string())?;
        outputs(folder.path(), 0, case)
    };
    let whole = given(&bytes)? == twin;
    match whole && given(&bytes[4..]).is_err() && outputs(folder.path(), 1, case).is_err() {
        true => Ok(()),
        false => Err("outputs were read back wrongly".into()),
    }
}

fn name(case: &Case, index: usize) -> String {
    format!("{}-{index}", case.kernel.name)
}

/// The calls of a case, and the twin's outputs.
fn record(case: &Case) -> Result<(Vec<Step>, Vec<Vec<f32>>), String> {
    let device = Device::taped();
    let twin = case.run(&device).map_err(|e| format!("{} ({}): {e}", case.kernel.name, case.label))?;
    Ok((device.steps(), twin))
}

fn encode() -> Result<(String, Vec<u8>), String> {
    let mut uploads: Vec<u8> = Vec::new();
    let (mut kernels, mut cases) = (BTreeMap::new(), Vec::new());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for case in ops::cases() {
        let index = seen.entry(case.kernel.name).or_default();
        let mut steps: Vec<Value> = Vec::new();
        for step in record(&case)?.0 {
            steps.push(match step {
                Step::Write { buffer, words } => {
                    let from = uploads.len();
                    uploads.extend(words.iter().flat_map(|w| w.to_le_bytes()));
                    json!({ "write": { "buffer": buffer, "from": from, "bytes": 4 * words.len() } })
                }
                Step::Dispatch { kernel: k, params, buffers, groups } => {
                    let row = json!({ "source": k.source, "entry": k.entry, "reads": k.reads, "writes": k.writes });
                    kernels.insert(k.name, row);
                    json!({ "dispatch": { "kernel": k.name, "params": params, "buffers": buffers, "groups": groups } })
                }
                Step::Read(buffer) => json!({ "read": buffer }),
            });
        }
        cases.push(json!({ "name": name(&case, *index), "label": case.label, "steps": steps }));
        *index += 1;
    }
    Ok((json!({ "kernels": kernels, "cases": cases }).to_string(), uploads))
}
