//! VNN-LIB, the property format of the verification community: version 1.0 (`declare-const X_0 Real`) and the core of
//! version 2.0 (`declare-network` with one input and one output tensor). Numbers are read exactly.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::decimal::Decimal;
use super::formula::{self, Formula, InputBound};
use super::sexpr::{self, Kind, Node, Position};
use super::{Bound, Linear, Relation, Spec};
use crate::error::{Error, Result};

/// Largest property file that is read, unpacked.
const MAX_BYTES: u64 = 1 << 29;
/// Values of the largest tensor a property may speak of.
const MAX_VALUES: usize = 1 << 24;

/// Reads a property (`.vnnlib`, or `.gz` of one).
///
/// # Errors
/// [`Error::Io`], or [`Error::Input`] with line and column.
pub fn read(path: impl AsRef<Path>) -> Result<Spec> {
    let path = path.as_ref();
    let bytes = crate::input::read_maybe_gz(path, MAX_BYTES)?;
    let text = decode(bytes).ok_or_else(|| Error::input(path, "not a text file; a VNN-LIB property is needed"))?;
    parse(&text).map_err(|e| Error::input(path, e))
}

/// The text of a file: UTF-8, or UTF-16 that begins with its mark. Bytes of other encodings, which belong into comments,
/// become replacement characters. `None` for what is no text.
fn decode(bytes: Vec<u8>) -> Option<String> {
    match bytes[..] {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => crate::input::utf16(&bytes),
        _ if bytes.contains(&0) => None,
        _ => Some(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())),
    }
}

/// Parses the text of a property.
///
/// # Errors
/// One line, with line and column where there is one.
pub fn parse(text: &str) -> std::result::Result<Spec, String> {
    let mut parser = Parser::default();
    // Editors may put a byte order mark in front.
    for node in sexpr::parse(text.strip_prefix('\u{feff}').unwrap_or(text))? {
        parser.statement(&node)?;
    }
    let (inputs, outputs) = (parser.count(false)?, parser.count(true)?);
    let cases = formula::cases(parser.asserts, inputs)?;
    Ok(Spec { inputs, outputs, cases, network: parser.network })
}

/// A variable of the property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Variable {
    output: bool,
    index: usize,
}

/// A tensor of version 2.0.
struct Tensor {
    output: bool,
    dims: Vec<usize>,
}

#[derive(Default)]
struct Parser {
    /// Scalars of version 1.0: by role, which indices are declared.
    scalars: [BTreeMap<usize, Position>; 2],
    tensors: HashMap<String, Tensor>,
    network: Option<String>,
    asserts: Vec<Formula>,
}

/// A linear expression; terms by variable.
#[derive(Clone, Debug)]
struct Expression {
    terms: BTreeMap<Variable, Decimal>,
    constant: Decimal,
}

type Parse<T> = std::result::Result<T, String>;

impl Parser {
    fn statement(&mut self, node: &Node) -> Parse<()> {
        let Some([head, rest @ ..]) = node.list() else { return node.at.fail("a statement in parentheses is needed") };
        match (head.word().unwrap_or(""), rest) {
            ("declare-const", [name, kind]) => self.declare_scalar(name, kind),
            ("declare-fun", [name, args, kind]) if args.list().is_some_and(<[Node]>::is_empty) => {
                self.declare_scalar(name, kind)
            }
            ("declare-network", [name, parts @ ..]) => self.declare_network(name, parts),
            ("assert", [formula]) => {
                let formula = self.formula(formula)?;
                self.asserts.push(formula);
                Ok(())
            }
            ("vnnlib-version", [version]) => {
                let number = version.word().unwrap_or("").trim_matches(['<', '>']);
                if number.starts_with("1.") || number.starts_with("2.") {
                    return Ok(());
                }
                version.at.fail("this version of VNN-LIB is not supported; use 1.0 or 2.0")
            }
            // Statements of SMT-LIB that say nothing about the property.
            ("set-logic" | "set-info" | "set-option" | "check-sat" | "get-model" | "exit", _) => Ok(()),
            (word, _) => head.at.fail(format!("statement '{}' is not understood", short(word))),
        }
    }

    fn declare_scalar(&mut self, name: &Node, kind: &Node) -> Parse<()> {
        if !matches!(kind.word(), Some("Real" | "real")) {
            return kind.at.fail("only variables of type Real are supported");
        }
        let Some(v) = name.word().and_then(scalar) else {
            return name.at.fail("a variable X_0, X_1, ... or Y_0, Y_1, ... is needed");
        };
        match self.scalars[usize::from(v.output)].insert(v.index, name.at) {
            Some(first) => name.at.fail(format!("is declared already on line {}", first.line)),
            None => Ok(()),
        }
    }

    fn declare_network(&mut self, name: &Node, parts: &[Node]) -> Parse<()> {
        let Some(word) = name.word() else { return name.at.fail("the network needs a name") };
        if self.network.replace(word.to_string()).is_some() {
            return name.at.fail("properties of several networks are not supported");
        }
        for part in parts {
            match part.list() {
                Some([head, name, kind, shape]) if matches!(head.word(), Some("declare-input" | "declare-output")) => {
                    let output = head.word() == Some("declare-output");
                    let float = ["real", "float16", "float32", "float64", "bfloat16"];
                    if !kind.word().is_some_and(|k| float.contains(&k.to_ascii_lowercase().as_str())) {
                        return kind.at.fail("only tensors of real or floating-point numbers are supported");
                    }
                    let (Some(name_word), Kind::Index(dims)) = (name.word(), &shape.kind) else {
                        return shape.at.fail("a name, a type and a shape like [1,3] are needed");
                    };
                    let len = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= MAX_VALUES));
                    if len.is_none_or(|n| n == 0) {
                        return shape.at.fail("the shape is empty or too large");
                    }
                    if self.tensors.values().any(|t| t.output == output) {
                        return part.at.fail("networks with several inputs or outputs are not supported");
                    }
                    let tensor = Tensor { output, dims: dims.clone() };
                    if self.tensors.insert(name_word.to_string(), tensor).is_some() {
                        return name.at.fail("is declared already");
                    }
                }
                _ => return part.at.fail("only one declare-input and one declare-output are supported here"),
            }
        }
        Ok(())
    }

    /// Number of inputs or outputs.
    fn count(&self, output: bool) -> Parse<usize> {
        let what = if output { "output" } else { "input" };
        let scalars = &self.scalars[usize::from(output)];
        match (self.tensors.values().find(|t| t.output == output), scalars.last_key_value()) {
            (Some(_), Some((_, at))) => at.fail("mixes variables of version 1.0 with tensors of version 2.0"),
            (Some(t), None) => Ok(t.dims.iter().product()),
            (None, Some((&last, at))) if scalars.len() != last + 1 => {
                let letter = if output { 'Y' } else { 'X' };
                at.fail(format!("{letter}_{last} is declared, but not all of {letter}_0 to {letter}_{last}"))
            }
            (None, Some(_)) => Ok(scalars.len()),
            (None, None) => Err(format!("no {what} is declared; a VNN-LIB property is needed")),
        }
    }

    fn formula(&self, node: &Node) -> Parse<Formula> {
        let Some([head, rest @ ..]) = node.list() else { return node.at.fail("a condition in parentheses is needed") };
        let parts = || rest.iter().map(|n| self.formula(n)).collect::<Parse<Vec<_>>>();
        match head.word().unwrap_or("") {
            "and" => Ok(Formula::And(parts()?)),
            "or" => Ok(Formula::Or(parts()?)),
            sign @ ("<=" | "<" | ">=" | ">" | "==" | "=") => {
                let sides = self.expressions(rest)?;
                if sides.len() < 2 {
                    return head.at.fail(format!("'{sign}' compares two sides, here are {}", sides.len()));
                }
                // `(<= a b c)` says `a <= b` and `b <= c`.
                let mut parts = vec![];
                for (left, right) in sides.iter().zip(&sides[1..]) {
                    let (below, above) = (left.minus(right), right.minus(left));
                    match sign {
                        "<=" | "<" => parts.push(atom(node.at, below, sign == "<")?),
                        ">=" | ">" => parts.push(atom(node.at, above, sign == ">")?),
                        _ => parts.extend([atom(node.at, below, false)?, atom(node.at, above, false)?]),
                    }
                }
                Ok(Formula::And(parts))
            }
            word => head.at.fail(format!("condition '{}' is not supported", short(word))),
        }
    }

    /// A row of expressions; `X [1]` is one.
    fn expressions(&self, mut nodes: &[Node]) -> Parse<Vec<Expression>> {
        let mut out = vec![];
        while let [first, rest @ ..] = nodes {
            nodes = rest;
            out.push(match (&first.kind, rest) {
                (Kind::Word(name), [Node { kind: Kind::Index(index), .. }, after @ ..]) => {
                    nodes = after;
                    self.element(first.at, name, index)?
                }
                (Kind::Word(word), _) => self.word(first.at, word)?,
                (Kind::List(items), _) => self.operation(first.at, items)?,
                (Kind::Index(_), _) => return first.at.fail("an index without a tensor before it"),
            });
        }
        Ok(out)
    }

    fn word(&self, at: Position, word: &str) -> Parse<Expression> {
        if let Some(v) = scalar(word)
            && self.scalars[usize::from(v.output)].contains_key(&v.index)
        {
            return Ok(Expression::variable(v));
        }
        if self.tensors.contains_key(word) {
            return self.element(at, word, &[]);
        }
        match Decimal::parse(word) {
            Some(constant) => Ok(Expression { terms: BTreeMap::new(), constant }),
            None => at.fail(format!("'{}' is neither a number nor declared", short(word))),
        }
    }

    fn element(&self, at: Position, name: &str, index: &[usize]) -> Parse<Expression> {
        let Some(t) = self.tensors.get(name) else {
            return at.fail(format!("tensor '{}' is not declared", short(name)));
        };
        if index.len() != t.dims.len() || index.iter().zip(&t.dims).any(|(i, d)| i >= d) {
            return at.fail(format!("index {index:?} is outside '{}' of shape {:?}", short(name), t.dims));
        }
        let index = index.iter().zip(&t.dims).fold(0, |flat, (i, d)| flat * d + i);
        Ok(Expression::variable(Variable { output: t.output, index }))
    }

    fn operation(&self, at: Position, items: &[Node]) -> Parse<Expression> {
        let [head, rest @ ..] = items else { return at.fail("an empty pair of parentheses") };
        let mut parts = self.expressions(rest)?.into_iter();
        let Some(first) = parts.next() else { return head.at.fail("an operation needs operands") };
        match head.word().unwrap_or("") {
            "+" => parts.fold(first, |sum, e| sum.plus(&e)).moderate(at),
            "-" if parts.len() == 0 => Ok(first.negated()),
            "-" => parts.fold(first, |sum, e| sum.plus(&e.negated())).moderate(at),
            "*" => parts.try_fold(first, |product, e| {
                let result = match (product.terms.is_empty(), e.terms.is_empty()) {
                    (_, true) => product.times(&e.constant),
                    (true, false) => e.times(&product.constant),
                    (false, false) => return at.fail("a product of two variables is not linear"),
                };
                result.moderate(at)
            }),
            word => head.at.fail(format!("operation '{}' is not supported", short(word))),
        }
    }
}

impl Expression {
    fn variable(v: Variable) -> Self {
        Expression { terms: BTreeMap::from([(v, Decimal::one())]), constant: Decimal::ZERO }
    }

    fn plus(mut self, other: &Self) -> Self {
        self.constant = self.constant.add(&other.constant);
        for (v, a) in &other.terms {
            let sum = self.terms.get(v).unwrap_or(&Decimal::ZERO).add(a);
            if sum.is_zero() {
                self.terms.remove(v);
            } else {
                self.terms.insert(*v, sum);
            }
        }
        self
    }

    fn minus(&self, other: &Self) -> Self {
        self.clone().plus(&other.negated())
    }

    fn negated(&self) -> Self {
        self.times(&Decimal::one().neg())
    }

    fn times(&self, factor: &Decimal) -> Self {
        let terms = self.terms.iter().map(|(v, a)| (*v, a.mul(factor))).filter(|(_, a)| !a.is_zero()).collect();
        Expression { terms, constant: self.constant.mul(factor) }
    }

    fn moderate(self, at: Position) -> Parse<Self> {
        if self.terms.values().chain([&self.constant]).all(Decimal::is_moderate) {
            Ok(self)
        } else {
            at.fail("a number has too many digits")
        }
    }
}

/// `expression <= 0` (`< 0`) as a bound on one input, a relation among inputs or a constraint on outputs.
fn atom(at: Position, e: Expression, strict: bool) -> Parse<Formula> {
    let outputs = e.terms.keys().filter(|v| v.output).count();
    if e.terms.is_empty() {
        let holds = e.constant.is_negative() || (e.constant.is_zero() && !strict);
        return Ok(if holds { Formula::And(vec![]) } else { Formula::Or(vec![]) });
    }
    if outputs == e.terms.len() {
        let terms = e.terms.into_iter().map(|(v, a)| (v.index, a)).collect();
        return Ok(Formula::Output(Linear { terms, constant: e.constant, strict }));
    }
    if outputs > 0 {
        return at.fail("a condition on inputs and outputs together is not supported; let the network give that input as a further output");
    }
    let terms: Vec<(usize, Decimal)> = e.terms.into_iter().map(|(v, a)| (v.index, a)).collect();
    if let [(input, a)] = &terms[..] {
        let value = e.constant.neg().quotient(a);
        if value.mul(a) == e.constant.neg() {
            let upper = !a.is_negative();
            return Ok(Formula::Input(InputBound { input: *input, upper, bound: Bound { value, strict } }));
        }
    }
    match Relation::new(Linear { terms, constant: e.constant, strict }) {
        Some(relation) => Ok(Formula::Relation(relation)),
        None => at.fail("a number here is too large or too small for a relation among inputs; scale the condition"),
    }
}

/// `X_3` or `Y_0` of version 1.0.
fn scalar(word: &str) -> Option<Variable> {
    let (letter, index) = word.split_once('_')?;
    let output = match letter {
        "X" => false,
        "Y" => true,
        _ => return None,
    };
    let canonical = index.bytes().all(|b| b.is_ascii_digit());
    let index = index.parse().ok().filter(|&i: &usize| canonical && i < MAX_VALUES)?;
    Some(Variable { output, index })
}

/// A word of the file, fit for one line.
fn short(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
