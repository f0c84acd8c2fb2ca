//! What can be wrong with an ONNX file.

/// A problem of the file's content. `Display` is one line, whatever the file's names contain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    #[error("not an ONNX model ({0})")]
    Format(String),
    #[error("operator {operator} of node '{node}' is not supported; {remedy}")]
    Unsupported { node: String, operator: String, remedy: &'static str },
    #[error("node '{node}' ({operator}): {problem}")]
    Node { node: String, operator: String, problem: String },
    #[error("tensor '{name}': {problem}")]
    Tensor { name: String, problem: String },
    #[error("{0}")]
    Graph(String),
}

/// Result of reading ONNX content.
pub type OnnxResult<T> = std::result::Result<T, OnnxError>;

/// A name from the file, fit for one line of a terminal.
pub fn quote(name: &str) -> String {
    let mut short: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

impl OnnxError {
    pub fn tensor(name: &str, problem: impl Into<String>) -> Self {
        OnnxError::Tensor { name: quote(name), problem: problem.into() }
    }

    pub fn graph(problem: impl Into<String>) -> Self {
        OnnxError::Graph(problem.into())
    }
}
