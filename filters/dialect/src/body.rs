//! What a request body says, and what can be wrong with it.
//!
//! Plain values: filled in by a dialect's request scanner, read by `core` for facts, sessions and
//! refusals. A [`Body`] only exists when every field of interest had a usable value.

use std::fmt;

/// How much of a body may be looked at or kept, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of objects and arrays, 1–128 (greater values act as 128).
    pub max_depth: u8,
    /// Greatest length of a kept string (model, session fields), in UTF-8 bytes.
    pub max_string: usize,
    /// How many bytes of the first user message go into its fingerprint (its whole length does as
    /// well). Hashing is the slowest part of a scan, and conversations differ early. 0: no fingerprint.
    pub fingerprint_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: 128,
            max_string: 1024,
            fingerprint_bytes: 16 * 1024,
        }
    }
}

/// The facts of one request body. `None` means absent or `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// `model` as the client wrote it.
    pub model: Option<String>,
    /// `max_completion_tokens` or `max_tokens`, 1–10 000 000. Both may be given if they agree.
    pub max_tokens: Option<u64>,
    /// How many sequences are generated, if the body says: max(`n`, `best_of`), each 1–1024, times
    /// the number of prompts where `prompt` is a list of several.
    pub n: Option<u64>,
    /// `temperature` in millionths, 0–10 000 000, rounded half up.
    pub temperature: Option<u64>,
    /// `stream`.
    pub stream: Option<bool>,
    /// Bytes of what the model reads as text: `messages[].content` or `prompt`, tools, tool calls and
    /// what else the scanner's module lists.
    pub prompt_bytes: u64,
    /// Tokens of the prompt that no bytes tell, beside `prompt_bytes`: ids given in place of text, and
    /// 765 for each picture, sound, film or file.
    pub prompt_tokens: u64,
    /// What may name the session.
    pub session: SessionFields,
    /// Fingerprint of the decoded text of the first user message that has any (completions: of the
    /// first prompt). SipHash-1-3 under a fixed key, so equal on every proxy and in every turn.
    pub first_user_message: Option<u64>,
}

/// Body fields a session key may be taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFields {
    /// `prompt_cache_key`.
    pub prompt_cache_key: Option<String>,
    /// `conversation`: the string, or the `id` of the object.
    pub conversation: Option<String>,
    /// `user`.
    pub user: Option<String>,
    /// `safety_identifier`.
    pub safety_identifier: Option<String>,
    /// `metadata.user_id`.
    pub metadata_user_id: Option<String>,
}

/// Why a body is refused. `Display` names the JSON field and the fix, for the client to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// Not JSON.
    Malformed {
        /// Byte offset at which the body stopped being JSON.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// JSON, but not an object.
    NotAnObject,
    /// A field holds another type than the API has there.
    WrongType {
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A number outside what can be meant.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Smallest value accepted.
        min: u64,
        /// Greatest value accepted.
        max: u64,
    },
    /// One key given twice with different values: readers differ in which one they take.
    Disagree {
        /// The field.
        field: &'static str,
    },
    /// Two names of the same thing with different values.
    Conflict {
        /// The field that is current.
        field: &'static str,
        /// Its other name.
        other: &'static str,
    },
    /// Nested deeper than [`Limits::max_depth`].
    TooDeep {
        /// The limit.
        max: u8,
    },
    /// A string longer than [`Limits::max_string`].
    TooLong {
        /// The field.
        field: &'static str,
        /// The limit, in bytes.
        max: usize,
    },
}

impl BodyError {
    /// The offending field, for the `param` of an error answer; `None` where it is the whole body.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::WrongType { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::Disagree { field }
            | Self::Conflict { field, .. }
            | Self::TooLong { field, .. } => Some(field),
            Self::Malformed { .. } | Self::NotAnObject | Self::TooDeep { .. } => None,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { offset, what } => {
                write!(
                    f,
                    "the request body is not valid JSON at byte {offset}: {what}"
                )
            }
            Self::NotAnObject => {
                f.write_str("the request body must be a JSON object, such as {\"model\": \"…\"}")
            }
            Self::WrongType { field, expected } => write!(f, "`{field}` must be {expected}"),
            Self::OutOfRange { field, min, max } => {
                write!(f, "`{field}` must be between {min} and {max}")
            }
            Self::Disagree { field } => write!(
                f,
                "`{field}` is given more than once with different values; give it once"
            ),
            Self::Conflict { field, other } => write!(
                f,
                "`{field}` and `{other}` are both given and differ; give only `{field}`"
            ),
            Self::TooDeep { max } => write!(
                f,
                "the request body nests objects and arrays deeper than {max} levels; flatten it"
            ),
            Self::TooLong { field, max } => {
                write!(f, "`{field}` must be at most {max} bytes long")
            }
        }
    }
}

impl std::error::Error for BodyError {}
