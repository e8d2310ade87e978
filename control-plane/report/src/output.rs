//! Output of commands: formats, standard output and standard error.
//!
//! Invariant: a closed pipe ends output silently, as `head` expects; any other failure, such as a full disk, is an error.

use std::io::{self, Write};

use serde::Serialize;

/// Format of the output of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Text,
    /// Text with additional columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// One `namespace/model` per line.
    Name,
}

impl Format {
    /// The value as a document; `None` for the text formats.
    ///
    /// # Errors
    /// The value cannot be serialized.
    pub fn document<T: Serialize>(self, value: &T) -> Result<Option<String>, String> {
        match self {
            Self::Json => serde_json::to_string_pretty(value)
                .map(|text| Some(format!("{text}\n")))
                .map_err(|error| error.to_string()),
            Self::Yaml => serde_saphyr::to_string(value)
                .map(Some)
                .map_err(|error| error.to_string()),
            Self::Text | Self::Wide | Self::Name => Ok(None),
        }
    }
}

/// Writes to standard output. If the reader closed the pipe, the rest is discarded.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The outcome of a write to standard output. A closed pipe is none of its errors.
///
/// # Errors
/// Standard output cannot be written.
pub fn printed(written: io::Result<()>) -> Result<(), String> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

/// The error message for standard output that cannot be written.
pub fn unwritable(error: &io::Error) -> String {
    format!("standard output cannot be written: {error}")
}

/// Writes a line to standard error. Errors are ignored, because there is no other place to report them.
pub fn print_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether the environment asks for output without colors and control sequences: `NO_COLOR` is not empty, or `TERM` is `dumb`.
pub fn is_plain() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("NO_COLOR") || is_dumb()
}

/// Whether the terminal cannot move the cursor: `TERM` is `dumb`.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
