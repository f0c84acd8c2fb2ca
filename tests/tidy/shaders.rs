//! Shaders, and the table of kernels that stands for them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::report;
use super::source::{Source, closing, files, rust, tokens};

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

/// Interval formulas that run over an adversary's arithmetic in their twins: shaders step outward as often, in the same
/// places. Where a twin rounds to nearest by `up`, its shader steps further, and the kernel's cases judge it.
#[test]
fn formulas_step_outward_as_their_shaders_do() {
    let mut faults = Vec::new();
    let mut compared = 0;
    for shader in files("shaders", "wgsl") {
        let stem = shader.path.file_stem().expect("a name").to_string_lossy().into_owned();
        let twins = [format!("ops/{stem}.rs"), format!("ops/{stem}_twin.rs"), format!("{stem}.rs")];
        let twins: Vec<&Source> = rust().iter().filter(|s| twins.contains(&s.below)).collect();
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
