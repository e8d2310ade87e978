//! Errors of a configuration: the JSON path, then the problem and its fix.

use std::fmt;

/// Why a configuration is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON path of the value at fault, such as `spec.buckets[0].tokens.capacity`; `.` is the whole document.
    pub path: String,
    /// The problem, and what to write instead.
    pub message: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// The same error, with the path from a document that contains this one at `parent`.
    #[must_use]
    pub fn under(self, parent: &str) -> Self {
        let path = match self.path.as_str() {
            "." => parent.to_owned(),
            inner => join(parent, inner),
        };
        Self { path, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for ConfigError {}

/// The path `inner`, which may be empty, from a value that contains it at `parent`.
pub(crate) fn join(parent: &str, inner: &str) -> String {
    let dot = if inner.is_empty() || inner.starts_with('[') {
        ""
    } else {
        "."
    };
    [parent, dot, inner].concat()
}
