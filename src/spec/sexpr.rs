//! Parenthesised text as a tree with positions: the surface of VNN-LIB.

/// Deeper nesting than any property needs; bounds the stack.
const MAX_DEPTH: usize = 128;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    /// A message about this place.
    pub fn fail<T>(self, problem: impl std::fmt::Display) -> Result<T, String> {
        Err(self.message(problem))
    }

    pub fn message(self, problem: impl std::fmt::Display) -> String {
        format!("line {}, column {}: {problem}", self.line, self.column)
    }
}

/// One piece of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    pub at: Position,
    pub kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'a> {
    /// A word, number or sign.
    Word(&'a str),
    /// `( ... )`
    List(Vec<Node<'a>>),
    /// `[1,2,3]`: a tensor's shape or an element's index.
    Index(Vec<usize>),
}

impl<'a> Node<'a> {
    pub fn word(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Word(w) => Some(w),
            Kind::List(_) | Kind::Index(_) => None,
        }
    }

    pub fn list(&self) -> Option<&[Node<'a>]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            Kind::Word(_) | Kind::Index(_) => None,
        }
    }
}

/// The top-level pieces of `text`. Comments run from `;` to the end of the line.
///
/// # Errors
/// One line with line and column.
pub fn parse(text: &str) -> Result<Vec<Node<'_>>, String> {
    let mut open: Vec<(Position, Vec<Node>)> = vec![];
    let mut top = vec![];
    let (mut line, mut i) = (1u32, 0usize);
    // Where columns were counted last, and the column there.
    let (mut counted, mut column) = (0usize, 1u32);
    let bytes = text.as_bytes();
    while i < bytes.len() {
        column += text.get(counted..i).map_or(0, |s| s.chars().count() as u32);
        counted = i;
        let at = Position { line, column };
        let node = match bytes[i] {
            b'\n' => {
                i += 1;
                (line, counted, column) = (line + 1, i, 1);
                continue;
            }
            b if b.is_ascii_whitespace() => {
                i += 1;
                continue;
            }
            b';' => {
                i += bytes[i..].iter().position(|b| b"\n\r".contains(b)).unwrap_or(bytes.len() - i);
                continue;
            }
            b'(' => {
                i += 1;
                if open.len() >= MAX_DEPTH {
                    return at.fail("nested too deeply");
                }
                open.push((at, vec![]));
                continue;
            }
            b')' => {
                i += 1;
                let Some((at, items)) = open.pop() else { return at.fail("')' without '('") };
                Node { at, kind: Kind::List(items) }
            }
            b'[' => {
                let Some(len) = text[i..].find([']', '\n']).filter(|&n| bytes[i + n] == b']') else {
                    return at.fail("'[' without ']'");
                };
                let inner = text[i + 1..i + len].trim();
                i += len + 1;
                let numbers: Result<Vec<usize>, _> =
                    if inner.is_empty() { Ok(vec![]) } else { inner.split(',').map(|n| n.trim().parse()).collect() };
                match numbers {
                    Ok(numbers) if numbers.len() <= 16 => Node { at, kind: Kind::Index(numbers) },
                    _ => return at.fail("an index is a list of whole numbers"),
                }
            }
            b']' => return at.fail("']' without '['"),
            _ => {
                let end = |b: &u8| b.is_ascii_whitespace() || b"()[];".contains(b);
                let len = bytes[i..].iter().position(end).unwrap_or(bytes.len() - i);
                let word = &text[i..i + len];
                i += len;
                Node { at, kind: Kind::Word(word) }
            }
        };
        match open.last_mut() {
            Some((_, items)) => items.push(node),
            None => top.push(node),
        }
    }
    match open.pop() {
        Some((at, _)) => at.fail("'(' is never closed; the file may be cut short"),
        None => Ok(top),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_lists_and_indices_with_positions() {
        let nodes = parse("; note (\n(a (b\t1) X[0, 2])").unwrap();
        let items = nodes[0].list().unwrap();
        assert_eq!(items[0].word(), Some("a"));
        assert_eq!(items[1].at, Position { line: 2, column: 4 });
        assert_eq!(items[3].kind, Kind::Index(vec![0, 2]));
    }

    #[test]
    fn errors_say_where() {
        for (text, at) in [("(a", "line 1, column 1"), ("\n a)", "line 2, column 3"), ("(X[1)", "line 1, column 3")] {
            assert!(parse(text).unwrap_err().starts_with(at), "{text}");
        }
        assert!(parse(&"(".repeat(100_000)).unwrap_err().contains("deeply"));
        assert!(parse("[99999999999999999999999]").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]();, a0-9é\n-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
