//! The error of an HTTP exchange.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;

/// An exchange that gave no complete response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The request is invalid and was not sent.
    #[error("invalid request: {0}")]
    Request(String),
    /// No response headers came: the connection was refused, reset or closed.
    #[error("no response: {0}")]
    Exchange(String),
    /// The connection broke while the body was read.
    #[error("the body broke off after {} bytes: {why}", so_far.len())]
    Body {
        /// The bytes that [`super::StreamedReply::whole`] had read; empty where chunks were read one by one.
        so_far: Bytes,
        /// The error of the connection.
        why: String,
    },
    /// The deadline passed.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// The body is not JSON.
    #[error("the body is not JSON ({why}): {text}")]
    Json {
        /// The parser's message.
        why: String,
        /// The body.
        text: String,
    },
}

/// An error with all its sources, outermost first: hyper keeps the useful part in the sources.
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
