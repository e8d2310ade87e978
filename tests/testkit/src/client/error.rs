//! Why an exchange gave no answer.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;

/// Why an exchange gave no whole answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The request cannot be put on the wire.
    #[error("not a request: {0}")]
    Request(String),
    /// No response headers came: refused, reset or closed.
    #[error("no response: {0}")]
    Exchange(String),
    /// The body broke off.
    #[error("the body broke off after {} bytes: {why}", so_far.len())]
    Body {
        /// What [`super::Streamed::whole`] had read before; empty where chunks were read one by one.
        so_far: Bytes,
        /// How it broke off.
        why: String,
    },
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The body is not the JSON that was asked for.
    #[error("not JSON: {why}: {text}")]
    Json {
        /// The parser's complaint.
        why: String,
        /// The body.
        text: String,
    },
}

/// An error with all its sources, outermost first: hyper keeps the useful half in the sources.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
