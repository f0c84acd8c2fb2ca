//! The invariants of `ARCHITECTURE.md` that can be checked by reading the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, its unit tests aside; beyond it a file has more than one subject.
const MOST_LINES: usize = 500;

/// Modules from the ground up; a module may use its own floor and those below.
const FLOORS: &[&[&str]] = &[
    &["error", "input", "tensor", "rounding", "rng", "simd", "progress", "terminal", "interrupt", "output"],
    &["model", "dataset", "spec", "results"],
    &["kernel"],
    &["device"],
    &["ops"],
    &["network"],
    &["bounds"],
    &["search", "attack", "relevance"],
    &["close"],
    &["certify", "sweep", "explain", "train", "verify"],
    &["study", "bench"],
    &["report"],
    &["cli", "main", "lib"],
];

/// Modules that know no device.
const PLAIN: &[&str] = &["model", "dataset", "spec", "report", "results", "audit"];

struct Source {
    path: PathBuf,
    /// First component below `src/`: `ops`, `error`.
    module: String,
    text: String,
}

fn files(folder: &str, extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.expect("a readable folder").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let below = path.strip_prefix(&root).expect("below the root");
                let first = below.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
                let module = first.trim_end_matches(".rs").to_string();
                let text = fs::read_to_string(&path).expect("a readable source");
                found.push(Source { path, module, text });
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file below {folder}");
    found
}

/// The lines that are neither comments nor below `#[cfg(test)]`, with their numbers.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).enumerate();
    lines.filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(i, l)| (i + 1, l))
}

/// Names after every `crate::` in a line.
fn uses(line: &str) -> impl Iterator<Item = String> + '_ {
    let after = line.split("crate::").skip(1);
    after.flat_map(|rest| {
        let list = rest.strip_prefix('{').map_or(rest, |l| l.split('}').next().unwrap_or(l));
        let braced = rest.starts_with('{');
        let names = if braced { list.split(',').collect() } else { vec![list] };
        names.into_iter().map(first_name).collect::<Vec<_>>()
    })
}

fn first_name(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn only_the_gpu_backend_names_wgpu() {
    let mut faults = Vec::new();
    for source in files("src", "rs").iter().filter(|s| !s.path.ends_with("device/gpu.rs")) {
        let hits = code(source).filter(|(_, l)| l.contains("wgpu::"));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} names wgpu", source.path.display())));
    }
    report(faults);
}

#[test]
fn imports_go_downward() {
    let floor = |name: &str| FLOORS.iter().position(|f| f.contains(&name));
    let mut faults = Vec::new();
    for source in files("src", "rs").iter().filter(|s| s.module != "audit") {
        let Some(own) = floor(&source.module) else {
            faults.push(format!("{}: give {} a floor in tests/tidy.rs", source.path.display(), source.module));
            continue;
        };
        for (i, line) in code(source) {
            for name in uses(line) {
                // Macros have no floor.
                if floor(&name).is_some_and(|used| used > own) {
                    faults.push(format!("{}:{i} {} uses {name} from above", source.path.display(), source.module));
                }
            }
        }
    }
    report(faults);
}

#[test]
fn plain_modules_know_no_device() {
    let device_side = ["device", "kernel", "ops", "network", "bounds", "search", "attack"];
    let mut faults = Vec::new();
    for source in files("src", "rs").iter().filter(|s| PLAIN.contains(&s.module.as_str())) {
        for (i, line) in code(source) {
            if uses(line).any(|name| device_side.contains(&name.as_str())) {
                faults.push(format!("{}:{i} {}", source.path.display(), line.trim()));
            }
        }
    }
    report(faults);
}

#[test]
fn shaders_and_ops_share_their_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rust: String = files("src/ops", "rs").into_iter().map(|s| s.text).collect();
    let mut faults = Vec::new();
    for shader in files("shaders", "wgsl") {
        let below = shader.path.strip_prefix(root.join("shaders")).expect("a shader").to_string_lossy().into_owned();
        let op = root.join("src/ops").join(Path::new(&below).with_extension("rs"));
        if !below.starts_with("lib") && !op.is_file() {
            faults.push(format!("shaders/{below} has no src/ops/*.rs of its name"));
        }
        if !rust.contains(&format!("shaders/{below}\")")) {
            faults.push(format!("shaders/{below} is used by no op"));
        }
    }
    for (op, source) in files("src/ops", "rs").iter().map(|s| (s.path.file_stem().expect("a name"), s)) {
        let shader = root.join("shaders").join(op).with_extension("wgsl");
        if source.text.contains(": Kernel = ") && !shader.is_file() {
            faults.push(format!("{} has kernels but no shader of its name", source.path.display()));
        }
    }
    report(faults);
}

#[test]
fn every_kernel_of_an_op_is_in_the_table() {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops/mod.rs")).expect("the table");
    let mut faults = Vec::new();
    for op in files("src/ops", "rs").iter().filter(|s| s.text.contains("pub static KERNELS")) {
        let name = op.path.file_stem().expect("a name").to_string_lossy();
        if !table.contains(&format!("{name}::KERNELS")) {
            faults.push(format!("ops::kernels() lacks {name}::KERNELS"));
        }
        let list = op.text.split("KERNELS: &[&Kernel] =").nth(1).and_then(|t| t.split(';').next()).unwrap_or_default();
        let listed: BTreeSet<&str> = list.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let rows = op.text.lines().filter_map(|l| l.strip_prefix("pub static ")?.split_once(": Kernel ="));
        faults.extend(
            rows.filter(|(row, _)| !listed.contains(row)).map(|(row, _)| format!("{name}::KERNELS lacks {row}")),
        );
    }
    report(faults);
}

/// A model is made by training, by reading, by turning its channels round and by charging it for runtimes. Whatever else makes one out of another has to
/// go through `Model::becomes`, and is named here once it does.
#[test]
fn models_are_made_where_they_are_tried() {
    let makers = ["audit/deployed.rs", "model/cnn.rs", "model/layout.rs", "model/onnx/read.rs"];
    let mut faults = Vec::new();
    let sources = files("src", "rs");
    let tests = |s: &Source| s.path.to_string_lossy().contains("tests");
    for source in sources.iter().filter(|s| !tests(s) && !makers.iter().any(|m| s.path.ends_with(m))) {
        let made = |l: &str| {
            let before = l.split(" Model {").next().filter(|b| b.len() < l.len()).map(str::trim_end);
            let other = |b: &str| ["impl", "struct", "->", "let", "for"].iter().any(|w| b.ends_with(w));
            l.trim_start().starts_with("Model {") || before.is_some_and(|b| !other(b))
        };
        let hits = code(source).filter(|(_, l)| made(l));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} makes a model", source.path.display())));
    }
    report(faults);
}

/// A wildcard beside arms that name layers would let a new kind of layer slip through a walk.
#[test]
fn walks_over_layers_have_no_wildcard() {
    let mut faults = Vec::new();
    for source in files("src", "rs") {
        let lines: Vec<&str> = source.text.lines().collect();
        let indent = |l: &str| l.len() - l.trim_start().len();
        for (i, line) in lines.iter().enumerate().filter(|(_, l)| l.trim_start().starts_with("_ =>")) {
            let arms = lines[..i].iter().rev().take_while(|l| l.trim().is_empty() || indent(l) >= indent(line));
            let mut arms = arms.filter(|l| indent(l) == indent(line));
            if arms.any(|l| l.trim_start().starts_with("Layer::") || l.trim_start().starts_with("Placed::")) {
                faults.push(format!("{}:{} matches layers with a wildcard", source.path.display(), i + 1));
            }
        }
    }
    report(faults);
}

#[test]
fn files_have_one_subject() {
    let sources = [("src", "rs"), ("tests", "rs"), ("shaders", "wgsl")].map(|(folder, ext)| files(folder, ext));
    let long = sources
        .iter()
        .flatten()
        .map(|s| (s, s.text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).count()))
        .filter(|(_, n)| *n > MOST_LINES);
    report(long.map(|(s, n)| format!("{} has {n} lines", s.path.display())).collect());
}

/// `println!` panics where standard output is closed or full.
#[test]
fn lines_are_written_in_one_place() {
    let mut faults = Vec::new();
    for source in files("src", "rs").iter().filter(|s| s.module != "terminal") {
        let hits = code(source).filter(|(_, l)| l.contains("print!(") || l.contains("println!("));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} prints; use crate::terminal", source.path.display())));
    }
    report(faults);
}

/// What is written elsewhere may be half written, or replace what is not ours.
#[test]
fn files_are_written_in_one_place() {
    let ways = ["fs::write(", "File::create(", "fs::rename(", "fs::copy("];
    let mut faults = Vec::new();
    let inside = files("src", "rs");
    for source in inside.iter().filter(|s| s.module != "output" && !s.path.to_string_lossy().contains("tests")) {
        let hits = code(source).filter(|(_, l)| ways.iter().any(|way| l.contains(way)));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} writes a file; use crate::output", source.path.display())));
    }
    report(faults);
}

#[test]
fn no_shader_text_is_made_at_run_time() {
    let mut faults = Vec::new();
    for source in files("src", "rs") {
        let hits = code(&source).filter(|(_, l)| l.contains("@compute") || l.contains("workgroup_size("));
        faults.extend(hits.map(|(i, _)| format!("{}:{i} holds shader text", source.path.display())));
    }
    report(faults);
}

/// WGSL's grammar orders neither `|`, `&` and `^` nor shifts among other operators: it wants parentheses. naga takes
/// such expressions, browsers refuse them.
#[test]
fn shaders_have_the_parentheses_that_wgsl_asks_for() {
    let mut faults = Vec::new();
    for shader in files("shaders", "wgsl") {
        let mut open = vec![Vec::new()];
        for (i, line) in shader.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let marks = "()[]{},;".chars().fold(code.to_string(), |code, c| code.replace(c, &format!(" {c} ")));
            for token in marks.split_whitespace() {
                let assigns = token.ends_with('=') && !["==", "!=", "<=", ">="].contains(&token);
                if assigns || ")]{},;".contains(token) {
                    let operators = open.pop().unwrap_or_default();
                    if !is_ordered(&operators) {
                        faults.push(format!("{}:{}: {}", shader.path.display(), i + 1, line.trim()));
                    }
                }
                match token {
                    "(" | "[" => open.push(Vec::new()),
                    "{" => open.extend([Vec::new(), Vec::new()]),
                    ")" | "]" | "}" => {}
                    _ if assigns || ",;".contains(token) => open.push(Vec::new()),
                    _ if token.chars().all(|c| "+-*/%&|^<>=!".contains(c)) => {
                        open.last_mut().expect("a level").push(token.to_string());
                    }
                    _ => {}
                }
            }
        }
    }
    report(faults);
}

/// Whether WGSL gives these operators, which stand beside each other, an order.
fn is_ordered(operators: &[String]) -> bool {
    let has = |op: &str| operators.iter().any(|o| o == op);
    let alone = |op: &&str| !has(op) || operators.iter().all(|o| o == op);
    let mut sides = operators.split(|o| ["&&", "||", "==", "!=", "<", ">", "<=", ">="].contains(&o.as_str()));
    let lone_shift = |side: &[String]| side.len() == 1 || side.iter().all(|o| o != "<<" && o != ">>");
    ["|", "&", "^"].iter().all(alone) && !(has("&&") && has("||")) && sides.all(lone_shift)
}
