//! The OpenAI dialect: `chat/completions` and `completions`, as OpenAI and the servers and hosts that follow it speak it.
//!
//! `request` reads facts from a request body, `answer` reads usage and text from an answer, whole or streamed.

pub(crate) mod answer;
pub(crate) mod ask;
mod facts;
mod fields;
pub(crate) mod request;
mod slot;

/// An endpoint whose bodies this dialect reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/completions`
    Completions,
}

impl Endpoint {
    /// The endpoint a path names: one without query and trailing slash, decoded, each segment once.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<Self> {
        match path {
            b"/v1/chat/completions" => Some(Self::ChatCompletions),
            b"/v1/completions" => Some(Self::Completions),
            _ => None,
        }
    }
}
