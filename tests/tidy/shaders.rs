//! Shaders, and the table of kernels that stands for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::report;
use super::source::{Source, closing, files, rust, tokens};

/// The sources of an operation: its file, or those of its folder.
fn files_of(op: &str) -> impl Iterator<Item = &'static Source> {
    let path = ["ops".to_string(), op.to_string()];
    rust().iter().filter(move |s| s.module_path().starts_with(&path))
}

#[test]
fn shaders_and_ops_share_their_names() {
    let ops: String = rust().iter().filter(|s| s.module == "ops").map(|s| s.code.as_str()).collect();
    let mut faults = Vec::new();
    for shader in files("shaders", "wgsl") {
        let name = shader.below.trim_end_matches(".wgsl");
        match name.strip_prefix("lib/") {
            Some(snippet) if ops.contains(&format!(", \"{snippet}\"")) => {}
            None if files_of(name).any(|s| s.code.contains(&format!("shader!(\"{name}\""))) => {}
            _ => faults.push(format!("shaders/{} is used by no op of its name", shader.below)),
        }
    }
    for source in rust().iter().filter(|s| s.code.contains(": Kernel = ")) {
        let op = source.module_path().get(1).cloned().unwrap_or_default();
        if !source.code.contains(&format!("shader!(\"{op}\"")) {
            faults.push(format!("{} has kernels but not the shader of its name", source.path.display()));
        }
    }
    report(faults);
}

/// What several shaders need is a snippet of `shaders/lib/`.
#[test]
fn functions_of_shaders_stand_once() {
    let mut faults = Vec::new();
    let mut seen = BTreeMap::new();
    for shader in files("shaders", "wgsl") {
        let tokens = tokens(&shader.text);
        for at in (0..tokens.len()).filter(|&i| tokens[i].text == "fn") {
            let body = (at..tokens.len()).find(|&i| tokens[i].text == "{").and_then(|open| closing(&tokens, open));
            let end = body.expect("a body that closes");
            let function: Vec<&str> = tokens[at + 2..=end].iter().map(|t| t.text).collect();
            if let Some(other) = seen.insert(function.join(" "), shader.below.clone()).filter(|o| *o != shader.below) {
                let name = tokens[at + 1].text;
                faults.push(format!("{name} of shaders/{} stands in shaders/{other} too", shader.below));
            }
        }
        if shader.text.contains("groups.x * 64u") && shader.below != "lib/flat.wgsl" {
            faults.push(format!("shaders/{} numbers its threads itself; use flat of lib/flat.wgsl", shader.below));
        }
    }
    assert!(seen.len() > 100, "only {} functions were found", seen.len());
    report(faults);
}

#[test]
fn every_kernel_of_an_op_is_in_the_table() {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops/mod.rs")).expect("the table");
    let mut faults = Vec::new();
    for op in rust().iter().filter(|s| s.text.contains("pub static KERNELS")) {
        let name = op.module_path().pop().expect("a name");
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

/// Interval formulas that run over an adversary's arithmetic in their twins: shaders step outward as often, in the same
/// places. Where a twin rounds to nearest by `up`, its shader steps further, and the kernel's cases judge it.
#[test]
fn formulas_step_outward_as_their_shaders_do() {
    let mut faults = Vec::new();
    let mut compared = 0;
    for shader in files("shaders", "wgsl") {
        let stem = shader.path.file_stem().expect("a name").to_string_lossy().into_owned();
        let twins = files_of(&stem).chain(rust().iter().filter(|s| s.below == format!("{stem}.rs")));
        let twins: Vec<&Source> = twins.filter(|s| !s.below.ends_with("/case.rs")).collect();
        if twins.iter().any(|s| s.code.contains(": Real>")) {
            let host: Vec<String> = twins.iter().flat_map(|s| steps(&s.code)).collect();
            let own: Vec<String> = steps(&shader.text).iter().map(|s| s.trim_end_matches('u').to_string()).collect();
            if own != host {
                faults.push(format!("{}: steps of {own:?}, in Rust of {host:?}", shader.below));
            }
            compared += 1;
        }
    }
    assert!(compared >= 5, "only {compared} formulas were found");
    report(faults);
}

/// How many units each `raise` and `lower` steps, where it is a number.
fn steps(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let calls =
        (1..tokens.len()).filter(|&i| tokens[i].text == "(" && ["raise", "lower"].contains(&tokens[i - 1].text));
    let last = calls.map(|open| tokens[closing(&tokens, open).expect("a bracket that closes") - 1].text);
    last.filter(|t| t.starts_with(|c: char| c.is_ascii_digit())).map(String::from).collect()
}

#[test]
fn no_shader_text_is_made_at_run_time() {
    let mut faults = Vec::new();
    for source in rust() {
        let hits = source.lines().filter(|(_, l)| l.contains("@compute") || l.contains("workgroup_size("));
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
