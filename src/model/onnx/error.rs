//! What can be wrong with an ONNX file.

/// A problem of the file's content. `Display` is one line, whatever the file's names contain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// These bytes are no model.
    #[error("not an ONNX model ({0})")]
    Format(String),
    /// No layer does what this operator does.
    #[error("operator {operator} of node '{node}' is not supported; {remedy}")]
    Unsupported {
        /// Its name.
        node: String,
        /// Its kind.
        operator: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A node that makes no sense, or asks for what is not supported.
    #[error("node '{node}' ({operator}): {problem}")]
    Node {
        /// Its name.
        node: String,
        /// Its kind.
        operator: String,
        /// What is wrong.
        problem: String,
    },
    /// Constants that cannot be read.
    #[error("tensor '{name}': {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The model as a whole.
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
    /// A problem of the tensor of this name.
    pub fn tensor(name: &str, problem: impl Into<String>) -> Self {
        OnnxError::Tensor { name: quote(name), problem: problem.into() }
    }

    /// A problem of the whole.
    pub fn graph(problem: impl Into<String>) -> Self {
        OnnxError::Graph(problem.into())
    }
}
