//! Who may know whom: floors, the plain modules, and the auditor.

use std::collections::{BTreeSet, HashMap};

use super::source::{Source, Token, closing, rust, tokens};

/// Modules from the ground up; a module may use its own floor and those below.
const FLOORS: &[&[&str]] = &[
    &["error", "input", "tensor", "rounding", "rng", "simd", "progress", "terminal", "interrupt", "output", "shard"],
    &["norm"],
    &["model", "dataset", "spec", "results"],
    &["reading"],
    &["kernel"],
    &["device"],
    &["ops"],
    &["network"],
    &["bounds"],
    &["search", "attack", "relevance"],
    &["close"],
    &["certify", "sweep", "train", "verify"],
    &["noise", "vary"],
    &["explain"],
    &["study", "bench"],
    &["report"],
    &["cli", "main", "lib"],
];

/// Modules that know no device, kernel or bound, also not through others.
const PLAIN: &[&str] = &["model", "dataset", "spec", "report", "results", "reading", "audit"];

/// What those do not know. Whatever else is built on a device reaches one of these.
const DEVICE_SIDE: &[&str] = &["kernel", "device", "ops", "network", "bounds"];

/// All that the auditor, its unit tests included, has in common with what it judges. `rng` is the generator of samples.
const AUDIT_USES: &[&str] = &["audit", "model", "results", "tensor", "error", "rng", "norm"];

#[test]
fn imports_go_downward() {
    let floor = |name: &str| FLOORS.iter().position(|f| f.contains(&name));
    let mut faults = Vec::new();
    for source in rust().iter().filter(|s| s.module != "audit") {
        let Some(own) = floor(&source.module) else {
            faults.push(format!("{}: give {} a floor in tests/tidy", source.path.display(), source.module));
            continue;
        };
        for (line, path) in paths(source, &source.code) {
            // Macros have no floor.
            if path.first().and_then(|name| floor(name)).is_some_and(|used| used > own) {
                faults.push(format!("{}:{line} {} uses {} from above", source.path.display(), source.module, path[0]));
            }
        }
    }
    super::report(faults);
}

#[test]
fn the_auditor_stands_apart() {
    let mut faults = Vec::new();
    for source in rust().iter().filter(|s| s.module == "audit") {
        let paths = paths(source, &source.text);
        let others = paths.iter().filter(|(_, p)| p.first().is_some_and(|name| !AUDIT_USES.contains(&name.as_str())));
        faults.extend(others.map(|(line, p)| format!("{}:{line} audit uses {}", source.path.display(), p[0])));
    }
    super::report(faults);
}

#[test]
fn plain_modules_know_no_device() {
    let all = rust();
    let by_path: HashMap<Vec<String>, usize> = all.iter().enumerate().map(|(i, s)| (s.module_path(), i)).collect();
    let mut faults = Vec::new();
    let reached: Vec<BTreeSet<usize>> = all.iter().map(|s| reaches(s, &by_path, &mut faults)).collect();
    let plain = |i: usize| PLAIN.contains(&all[i].module.as_str());
    for start in (0..all.len()).filter(|&i| plain(i) && !all[i].is_test) {
        // Other plain files answer for themselves.
        let mut chains = vec![vec![start]];
        let mut seen = BTreeSet::from([start]);
        while let Some(chain) = chains.pop() {
            for &next in reached[chain[chain.len() - 1]].iter().filter(|&&n| !plain(n)) {
                let longer = [&chain[..], &[next]].concat();
                if DEVICE_SIDE.contains(&all[next].module.as_str()) {
                    let names: Vec<&str> = longer.iter().map(|&i| all[i].below.as_str()).collect();
                    faults.push(format!("{} knows a device: {}", all[start].module, names.join(" -> ")));
                } else if seen.insert(next) {
                    chains.push(longer);
                }
            }
        }
    }
    super::report(faults);
}

/// Files that this one uses: by a path, or because it declares them and may hand on what they have.
fn reaches(source: &Source, by_path: &HashMap<Vec<String>, usize>, faults: &mut Vec<String>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (line, path) in paths(source, &source.code) {
        let file = (1..=path.len()).rev().find_map(|n| by_path.get(&path[..n]));
        let is_macro = |name: &str| rust().iter().any(|s| s.code.contains(&format!("macro_rules! {name} ")));
        match file {
            Some(&file) => drop(found.insert(file)),
            None if path.first().is_some_and(|name| is_macro(name)) => {}
            // What the crate hands on under another name could not be followed.
            None => faults.push(format!("{}:{line} {path:?} is in no file", source.path.display())),
        }
    }
    let own = source.module_path();
    let words: Vec<&str> = tokens(&source.code).iter().map(|t| t.text).collect();
    let declared = words.windows(3).filter(|w| w[0] == "mod" && w[2] == ";");
    // The crate itself hands on nothing.
    let declared = declared.filter(|_| !own.is_empty()).map(|w| [&own[..], &[w[1].to_string()]].concat());
    found.extend(declared.filter_map(|path| by_path.get(&path)));
    found
}

/// Paths from the root of the crate that a source names by `crate::`, `self::` or `super::`, with their lines.
fn paths(source: &Source, code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut module = source.module_path();
    // Where the modules end that are written out here.
    let mut ends = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let written_out = token.text == "mod" && tokens.get(i + 2).is_some_and(|t| t.text == "{");
        if written_out {
            module.push(tokens[i + 1].text.to_string());
            ends.push(closing(&tokens, i + 2).expect("a brace that closes"));
        }
        if ends.last() == Some(&i) {
            module.pop();
            ends.pop();
        }
        let inside = i > 0 && tokens[i - 1].text == "::";
        if inside || tokens.get(i + 1).is_none_or(|next| next.text != "::") {
            continue;
        }
        let start = match token.text {
            "crate" => vec![],
            "self" | "super" => module.clone(),
            _ => continue,
        };
        let mut named = Vec::new();
        expand(&tokens[i..], start, &mut named);
        found.extend(named.into_iter().map(|path| (token.line, path)));
    }
    found
}

/// The ends of a path that may branch in braces.
fn expand(mut tokens: &[Token<'_>], mut path: Vec<String>, found: &mut Vec<Vec<String>>) {
    loop {
        match tokens.first().map_or("", |t| t.text) {
            "super" => drop(path.pop()),
            "crate" | "self" | "*" => {}
            "{" => {
                let mut inside = &tokens[1..closing(tokens, 0).expect("a brace that closes")];
                while !inside.is_empty() {
                    expand(inside, path.clone(), found);
                    let mut depth = 0;
                    let comma = inside.iter().position(|t| {
                        depth += i32::from(t.text == "{") - i32::from(t.text == "}");
                        depth == 0 && t.text == ","
                    });
                    inside = comma.map_or(&[], |at| &inside[at + 1..]);
                }
                return;
            }
            name => path.push(name.to_string()),
        }
        match tokens.get(1) {
            // What follows `::<` are types.
            Some(next) if next.text == "::" && tokens.get(2).is_some_and(|t| t.text != "<") => tokens = &tokens[2..],
            _ => return found.push(path),
        }
    }
}

#[test]
fn paths_are_seen_however_they_are_written() {
    let source = &rust().iter().find(|s| s.below == "certify/table.rs").expect("certify/table.rs");
    let code = "use crate::{a::{self, b::C}, d}; use super::manifest::*; pub use self::e; mod g { use super::h; }
        crate::f::<T>(); pub(crate) fn i() { super::super::j() }";
    let found: Vec<String> = paths(source, code).iter().map(|(_, p)| p.join("::")).collect();
    assert_eq!(found, ["a", "a::b::C", "d", "certify::manifest", "certify::table::e", "certify::table::h", "f", "j"]);
}
