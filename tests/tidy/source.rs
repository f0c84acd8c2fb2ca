//! Sources as the checks read them: without comments, and without what is compiled for unit tests only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub struct Source {
    pub path: PathBuf,
    /// Below the folder that was searched, with `/`: `ops/conv.rs`.
    pub below: String,
    /// First component of that: `ops`, `error`.
    pub module: String,
    pub text: String,
    /// The text with blanks in place of comments and of the items that `#[cfg(test)]` stands before. Lines stay where they
    /// are. Of files in other languages than Rust, the text.
    pub code: String,
    /// Lines of those items.
    pub test_lines: usize,
    /// Files that are modules for unit tests as a whole, relative to this file's folder and without `.rs`.
    test_modules: Vec<String>,
    /// Whether this file is such a module, or lies below one.
    pub is_test: bool,
}

impl Source {
    fn new(root: &Path, path: PathBuf) -> Source {
        let below = path.strip_prefix(root).expect("below the root").components();
        let below = below.map(|c| c.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/");
        let module = below.split('/').next().expect("a name").trim_end_matches(".rs").to_string();
        let text = fs::read_to_string(&path).expect("a readable source");
        let (code, test_lines, test_modules) = match below.ends_with(".rs") {
            true => product(&path, &text),
            false => (text.clone(), 0, vec![]),
        };
        Source { path, below, module, text, code, test_lines, test_modules, is_test: false }
    }

    /// The lines of `code` that are not blank, with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(|(i, l)| (i + 1, l))
    }

    /// Path of the module below the crate: `ops::conv` is `["ops", "conv"]`, and the crate itself is empty.
    pub fn module_path(&self) -> Vec<String> {
        let mut path: Vec<String> = self.below.trim_end_matches(".rs").split('/').map(String::from).collect();
        if path.last().is_some_and(|l| l == "mod") || path == ["lib"] {
            path.pop();
        }
        path
    }
}

/// Every file below a folder of the repository that has this extension.
pub fn files(folder: &str, extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|e| e.expect("a readable folder").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(Source::new(&root, path));
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} file below {folder}");
    found.sort_by(|a, b| a.below.cmp(&b.below));
    let modules = |s: &Source| {
        let own = s.module_path();
        s.test_modules.iter().map(move |m| [&own[..], std::slice::from_ref(m)].concat()).collect::<Vec<_>>()
    };
    let tests: BTreeSet<Vec<String>> = found.iter().flat_map(modules).collect();
    for source in &mut found {
        let path = source.module_path();
        source.is_test = tests.iter().any(|t| path.starts_with(t));
    }
    found
}

/// The sources of the library and of the program.
pub fn rust() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| files("src", "rs"))
}

/// The code of a Rust file, how many lines of it are for unit tests, and the modules that are.
fn product(path: &Path, text: &str) -> (String, usize, Vec<String>) {
    let tokens = tokens(text);
    let mut code: Vec<u8> = text.bytes().map(|b| if b == b'\n' { b } else { b' ' }).collect();
    let (mut lines, mut modules, mut i) = (0, Vec::new(), 0);
    while let Some(token) = tokens.get(i) {
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        if tokens[i..].iter().map(|t| t.text).take(attribute.len()).eq(attribute) {
            let item = &tokens[i + attribute.len()..];
            let length = item_length(item)
                .unwrap_or_else(|| panic!("{}:{}: no item that tests/tidy knows", path.display(), token.line));
            if let [.., Token { text: "mod", .. }, name, Token { text: ";", .. }] = &item[..length] {
                modules.push(name.text.to_string());
            }
            i += attribute.len() + length;
            lines += 1 + tokens[i - 1].line - token.line;
        } else {
            code[token.at..token.at + token.text.len()].copy_from_slice(token.text.as_bytes());
            i += 1;
        }
    }
    (String::from_utf8(code).expect("whole tokens"), lines, modules)
}

/// How many tokens the item takes that begins here, attributes included.
fn item_length(tokens: &[Token<'_>]) -> Option<usize> {
    let mut start = 0;
    while tokens.get(start)?.text == "#" {
        start = closing(tokens, start + 1)? + 1;
    }
    if tokens.get(start)?.text == "pub" {
        start += 1;
        start = if tokens.get(start)?.text == "(" { closing(tokens, start)? + 1 } else { start };
    }
    let function = tokens[start..].iter().take(3).any(|t| t.text == "fn");
    let braces = match tokens.get(start)?.text {
        "mod" | "fn" | "impl" | "struct" | "enum" | "trait" | "unsafe" | "macro_rules" => true,
        "const" | "async" | "extern" if function => true,
        "use" | "const" | "static" | "type" | "let" | "extern" => false,
        _ => return None,
    };
    let mut i = start;
    loop {
        match tokens.get(i)?.text {
            ";" => return Some(i + 1),
            "{" if braces => return Some(closing(tokens, i)? + 1),
            "(" | "[" | "{" => i = closing(tokens, i)?,
            _ => {}
        }
        i += 1;
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
    at: usize,
}

/// Where the bracket closes that opens at token `open`.
pub fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}

/// Words, literals and marks of a Rust source. Comments are left out.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let piece = &text[at..at + length(&text[at..])];
        if !(piece.starts_with("//") || piece.starts_with("/*") || piece.trim().is_empty()) {
            found.push(Token { text: piece, line, at });
        }
        line += piece.matches('\n').count();
        at += piece.len();
    }
    found
}

/// Bytes of the token, the comment or the blanks at the start of `rest`.
fn length(rest: &str) -> usize {
    let until = |stop: &dyn Fn(char) -> bool| rest.find(stop).unwrap_or(rest.len());
    if rest.starts_with(char::is_whitespace) {
        return until(&|c| !c.is_whitespace());
    }
    if rest.starts_with("//") {
        return until(&|c| c == '\n');
    }
    if rest.starts_with("/*") {
        return comment(rest);
    }
    let word = until(&|c| !is_of_word(c));
    let (prefix, after) = rest.split_at(word);
    let hashes = after.len() - after.trim_start_matches('#').len();
    if ["r", "br", "cr"].contains(&prefix) && after[hashes..].starts_with('"') {
        let inside = word + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        return rest[inside..].find(&end).map_or(rest.len(), |i| inside + i + end.len());
    }
    if ["", "b", "c"].contains(&prefix) && after.starts_with('"') {
        return word + quoted(after, '"');
    }
    if ["", "b"].contains(&prefix) && after.starts_with('\'') {
        let mut inside = after.chars().skip(1);
        let (first, second) = (inside.next(), inside.next());
        let lifetime = first != Some('\\') && second != Some('\'');
        let name = || after[1..].find(|c| !is_of_word(c)).unwrap_or(after.len() - 1);
        return word + if lifetime { 1 + name() } else { quoted(after, '\'') };
    }
    if word > 0 {
        return word;
    }
    let marks = ["..=", "..", "=>", "->", "::", "==", "!=", "<=", ">=", "&&", "||"];
    marks
        .iter()
        .find(|m| rest.starts_with(**m))
        .map_or_else(|| rest.chars().next().map_or(0, char::len_utf8), |m| m.len())
}

pub fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Comments in comments close first.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [] => return at,
            _ => at += 1,
        }
    }
}

/// A literal up to its closing quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return i + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

#[test]
fn sources_are_read_to_their_end() {
    let text = r##"use a; // '"' is no literal
#[cfg(test)]
mod b { fn f() { "}" } }
fn kept<'a>(x: &'a str) -> char { '\'' /* /* */ } */ }
#[cfg(test)]
#[allow(unused)]
use c::{d, e};
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub const fn g() -> [u8; 2] { *b"}\"" }
const RAW: &str = r#"" // kept"#;
"##;
    let (code, lines, modules) = product(Path::new("sample"), text);
    let left: Vec<&str> = code.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let function = "fn kept<'a>(x: &'a str) -> char { '\\''";
    assert_eq!(left[..2], ["use a;", left[1]]);
    assert!(left[1].starts_with(function) && left[1].ends_with('}'), "{}", left[1]);
    assert_eq!(left[2..], [r##"const RAW: &str = r#"" // kept"#;"##]);
    assert_eq!((lines, &modules[..], code.len()), (9, &["tests".to_string()][..], text.len()));
}
