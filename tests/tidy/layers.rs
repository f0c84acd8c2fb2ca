//! Invariant 6: a new kind of layer is a compile error wherever it needs an answer, so no pattern may let it slip through.

use super::source::{Token, closing, rust, tokens};

/// Enumerations of layers.
const LAYERS: &[&str] = &["Layer", "Placed"];

/// Patterns there are that see some layers and pass over the others, by file: how many, and why they are sound today. The
/// list may only shrink; an exhaustive match, or a question that the layer itself answers, takes the place of each.
const PASSED_OVER: &[(&str, usize, &str)] = &[
    ("model/layout.rs", 1, "a layer none of whose inputs is turned stays as it is, whatever its kind"),
    ("model/onnx/affine.rs", 1, "joins an affine layer with a permutation before it"),
    ("model/onnx/moves.rs", 1, "joins two permutations"),
    ("model/onnx/write.rs", 1, "whether the input is written as an image"),
];

#[test]
fn no_pattern_passes_over_layers() {
    let mut faults = Vec::new();
    let listed = |file: &str| PASSED_OVER.iter().find(|(f, ..)| *f == file).map_or(0, |(_, n, _)| *n);
    for source in rust().iter().filter(|s| !s.is_test) {
        let found = passed_over(&source.code);
        let (there, listed) = (found.len(), listed(&source.below));
        if there > listed {
            let lines = found.iter().map(|(line, what)| format!("{}:{line} {what}", source.path.display()));
            faults.extend(lines);
            faults.push(format!("{}: the list says {listed}, there are {there}; match every layer", source.below));
        }
        if there < listed {
            faults.push(format!("{}: the list says {listed}, there are {there}; lower it", source.below));
        }
    }
    let gone = PASSED_OVER.iter().filter(|(f, ..)| !rust().iter().any(|s| s.below == *f && !s.is_test));
    faults.extend(gone.map(|(f, ..)| format!("{f}: is listed and not there; take it off the list")));
    super::report(faults);
}

/// Lines of a source whose patterns name some layers and leave others to something that would take a new one too.
fn passed_over(code: &str) -> Vec<(usize, String)> {
    let tokens = own_names(tokens(code));
    let mut found = Vec::new();
    let mut fault = |token: &Token<'_>, what: &str| found.push((token.line, what.to_string()));
    for (i, token) in tokens.iter().enumerate() {
        let next = |n: usize| tokens.get(i + n).map_or("", |t| t.text);
        match token.text {
            "matches" if next(1) == "!" => {
                let inside = &tokens[i + 3..closing(&tokens, i + 2).expect("a bracket that closes")];
                let pattern = &inside[find(inside, &[","]).expect("a pattern")..];
                if names_layer(&pattern[..find(pattern, &["if"]).unwrap_or(pattern.len())]) {
                    fault(token, "asks whether a layer is one of some");
                }
            }
            "let" => {
                let rest = &tokens[i + 1..];
                if names_layer(&rest[..find(rest, &["=", ":", ";"]).expect("the end of a pattern")]) {
                    fault(token, "takes one layer out of all");
                }
            }
            "match" => {
                let open = i + 1 + find(&tokens[i + 1..], &["{"]).expect("arms");
                let arms = arms(&tokens[open + 1..closing(&tokens, open).expect("a brace that closes")]);
                if arms.iter().any(|a| names_layer(a)) {
                    let others = arms.iter().filter(|a| !names_layer(a) && takes_anything(a));
                    others.for_each(|a| fault(&a[0], "takes every other layer"));
                }
            }
            "==" | "!=" => {
                let right = &tokens[i + 1..];
                let right = &right[right.iter().take_while(|t| ["&", "*"].contains(&t.text)).count()..];
                if names_layer(&right[..right.len().min(2)]) || (i >= 3 && names_layer(&tokens[i - 3..i - 1])) {
                    fault(token, "compares with one layer");
                }
            }
            name if LAYERS.contains(&name) && (next(1) == "as" || next(1) == "::" && ["{", "*"].contains(&next(2))) => {
                fault(token, "hides the name of the layers from this check");
            }
            _ => {}
        }
    }
    found
}

/// `Self` inside `impl Layer` and `impl Trait for Layer` is the layer.
fn own_names(mut tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    for i in 0..tokens.len().saturating_sub(2) {
        let (first, name, brace) = (tokens[i].text, tokens[i + 1].text, tokens[i + 2].text);
        if ["impl", "for"].contains(&first) && LAYERS.contains(&name) && brace == "{" {
            let end = closing(&tokens, i + 2).expect("a brace that closes");
            tokens[i + 2..end].iter_mut().filter(|t| t.text == "Self").for_each(|t| t.text = name);
        }
    }
    tokens
}

/// Patterns of the arms of a match, guards left out, one by one where several share an arm.
fn arms<'t, 's>(mut rest: &'t [Token<'s>]) -> Vec<&'t [Token<'s>]> {
    let mut found = Vec::new();
    while let Some(arrow) = find(rest, &["=>"]) {
        let mut pattern = &rest[..arrow];
        while pattern[0].text == "#" {
            pattern = &pattern[closing(pattern, 1).expect("an attribute that closes") + 1..];
        }
        pattern = &pattern[..find(pattern, &["if"]).unwrap_or(pattern.len())];
        while let Some(bar) = find(pattern, &["|"]) {
            found.push(&pattern[..bar]);
            pattern = &pattern[bar + 1..];
        }
        found.push(pattern);
        rest = &rest[arrow + 1..];
        let body = match rest.first().is_some_and(|t| t.text == "{") {
            true => closing(rest, 0).expect("a block that closes") + 1,
            false => find(rest, &[","]).unwrap_or(rest.len()),
        };
        rest = &rest[body..];
        rest = &rest[usize::from(rest.first().is_some_and(|t| t.text == ","))..];
    }
    found.retain(|pattern| !pattern.is_empty());
    found
}

/// Where the first of `marks` stands outside brackets that open here.
fn find(tokens: &[Token<'_>], marks: &[&str]) -> Option<usize> {
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        if marks.contains(&token.text) {
            return Some(i);
        }
        i = if ["(", "[", "{"].contains(&token.text) { closing(tokens, i)? } else { i } + 1;
    }
    None
}

fn names_layer(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).any(|t| LAYERS.contains(&t[0].text) && t[1].text == "::")
}

/// Whether the pattern has a wildcard, a rest or a binding; without, it is a constant such as `None`.
fn takes_anything(pattern: &[Token<'_>]) -> bool {
    let words = ["true", "false", "ref", "mut", "const"];
    let binds = |t: &str| t.starts_with(|c: char| c.is_lowercase()) && !words.contains(&t);
    pattern.iter().enumerate().any(|(i, t)| {
        let path = pattern.get(i + 1).is_some_and(|next| next.text == "::");
        t.text == ".." || t.text.starts_with('_') || binds(t.text) && !path
    })
}

#[test]
fn every_way_past_a_layer_is_seen() {
    let faulty = [
        "matches!(n.layer, Layer::Relu)",
        "matches!(f(a, b), Some(Placed::Relu | Placed::Add) if c)",
        "let Placed::Affine(a) = layer else { continue };",
        "if let (true, Placed::Affine(a)) = (weights, layer) {}",
        "while a && let Some(Layer::Gather(m)) = next() {}",
        "match layer { Layer::Relu => 1, _ => 2 }",
        "match layer { Layer::Relu => { a => b } other => 2 }",
        "match (layer, a) { (Placed::Relu, Some(a)) => f(|x| x), (layer, ..) => {} }",
        "match layer { Layer::Add | _ if b => 1, Layer::Relu => match x { y => y }, }",
        "match layer { Some(Layer::Add) => 1, Some(_) | None => 2 }",
        "impl Layer { fn f(&self) -> bool { matches!(self, Self::Relu) } }",
        "if layer == &Layer::Relu {}",
        "if Layer::Relu != layer {}",
        "use crate::model::Layer as L;",
        "use Placed::*;",
    ];
    for code in faulty {
        assert_eq!(passed_over(code).len(), 1, "{code}");
    }
    let sound = [
        "match layer { Layer::Relu if a => 1, Layer::Relu | Layer::Add => 2, Layer::Scale { scale, .. } => 3 }",
        "match (a.layer, b) { (_, Placed::Affine(a)) => 1, (Layer::Conv(_), _) => unreachable!(), }",
        "match layer { Some(Layer::Add) => vec![match x { y => y }], Some(Layer::Relu) => 1, None => 2 }",
        "match x { Some(y) => Layer::Relu, other => Layer::Add }",
        "let layer = Layer::Relu; let f: fn() -> Layer = || Layer::Add;",
        "impl Other { fn f(&self) -> bool { matches!(self, Self::Relu) } }",
    ];
    for code in sound {
        assert_eq!(passed_over(code), [], "{code}");
    }
}
