//! The OpenAI dialect: `chat/completions` and `completions`, as OpenAI, vLLM and llama.cpp speak it.
//!
//! `request` reads facts from a request body, `answer` reads usage from an answer, whole or streamed.

pub(crate) mod answer;
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
    /// The endpoint a request path names. Query, repeated or trailing slashes and percent-encoding
    /// make no difference, as they make none to servers: a path spelt oddly must not go unmetered.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        [
            (
                Self::ChatCompletions,
                ["v1", "chat", "completions"].as_slice(),
            ),
            (Self::Completions, ["v1", "completions"].as_slice()),
        ]
        .into_iter()
        .find_map(|(endpoint, segments)| same_path(path, segments).then_some(endpoint))
    }
}

fn same_path(path: &str, segments: &[&str]) -> bool {
    let mut given = Decoded(path.as_bytes()).peekable();
    segments.iter().all(|segment| {
        let slash = given.next_if_eq(&b'/').is_some();
        while given.next_if_eq(&b'/').is_some() {}
        slash && segment.bytes().all(|byte| given.next() == Some(byte))
    }) && given.all(|byte| byte == b'/')
}

/// The bytes of a percent-encoded path.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.0
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = rest;
            return Some(high << 4 | low);
        }
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
