//! The facts of a request body, and the errors that a body can have.
//!
//! Plain values, written by a [`BodyScanner`](crate::BodyScanner) and read by `core` for facts, sessions and
//! refusals. A [`Body`] exists only if every field that is read has a usable value.

use std::fmt;

use crate::json::JsonError;

/// Limits on what is read and kept of a body of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of objects and arrays, 1–128. Greater values act as 128.
    pub max_depth: u8,
    /// Greatest length of a kept string (model, session fields), in UTF-8 bytes.
    pub max_string: usize,
    /// Bytes of the first user message that go into its fingerprint, beside its length. Hashing is the slowest part of a
    /// scan, and conversations differ early. 0: no fingerprint.
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

/// What the headers of a request say about its body.
#[derive(Debug, Clone, Copy, Default)]
pub struct BodyHeaders<'a> {
    /// The header `content-type`; empty if absent.
    pub content_type: &'a [u8],
    /// The header `inference-header-content-length`, which tells where the JSON of the Open Inference Protocol ends; empty if absent.
    pub json_length: &'a [u8],
    /// The length of the body, if the headers tell it.
    pub content_length: Option<u64>,
    /// The path or a header names the model.
    pub model_known: bool,
}

/// The prompt in bytes that pass after the decision, which the facts do not include.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Bytes of prompt.
    pub bytes: u64,
    /// Tokens of prompt beside the bytes.
    pub tokens: u64,
    /// Further messages, each of which is a request of its own.
    pub messages: u64,
}

/// The facts of one request body. `None` means absent or `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// The model's name as the client wrote it.
    pub model: Option<String>,
    /// The model's version, if the body names one: a pin. (Open Inference Protocol over gRPC.)
    pub version: Option<String>,
    /// Most tokens of output for each sequence, 0–10 000 000. (OpenAI: `max_completion_tokens` or `max_tokens`. Both may be
    /// given if they are equal.)
    pub max_tokens: Option<u64>,
    /// The number of sequences to generate, if the body gives one. (OpenAI: the greater of `n` and `best_of`, each 1–1024.
    /// Completions: times the number of prompts, where `prompt` is a list of several.)
    pub n: Option<u64>,
    /// The number of prompts, where `prompt` is a list of several and each of them generates. `n` is a multiple of it.
    pub prompts: Option<u64>,
    /// The temperature in millionths, 0–10 000 000, rounded half up.
    pub temperature: Option<u64>,
    /// Whether the answer is streamed.
    pub stream: Option<bool>,
    /// Bytes of everything that the model reads as text: messages or prompts, tools, tool calls, and what else the dialect's
    /// module lists.
    pub prompt_bytes: u64,
    /// Tokens of the prompt beside `prompt_bytes`: token ids in place of text, and 765 for each picture, sound, film or
    /// file.
    pub prompt_tokens: u64,
    /// The request is worked on after its answer, so no answer reports its usage. (OpenAI's Responses: `background`.)
    pub background: bool,
    /// The response that the request continues. (OpenAI's Responses: `previous_response_id`.)
    pub previous_response_id: Option<String>,
    /// Fields that may identify the session.
    pub session: SessionFields,
    /// Fingerprint of the decoded text of the first user message that is not empty (of the first prompt, where there are no
    /// messages). SipHash-1-3 with a fixed key, so it is equal on every proxy and in every turn.
    pub first_user_message: Option<u64>,
}

/// Body fields that may be a session key.
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

/// The reason why a body is refused. `Display` names the JSON field and the fix, for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// Not JSON.
    Malformed {
        /// Offset of the first byte that is not valid JSON.
        offset: u64,
        /// The error there.
        what: &'static str,
    },
    /// JSON, but not an object.
    NotAnObject,
    /// Not `multipart/form-data`.
    NotMultipart {
        /// The error.
        what: &'static str,
    },
    /// Not a message of Protocol Buffers in gRPC's framing.
    NotProtobuf {
        /// The error.
        what: &'static str,
    },
    /// A field has another type than in the API.
    WrongType {
        /// The field.
        field: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
    /// A number outside of the accepted range.
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Least value that is accepted.
        min: u64,
        /// Greatest value that is accepted.
        max: u64,
    },
    /// One key given twice with different values. Servers differ in which one they take.
    Disagree {
        /// The field.
        field: &'static str,
    },
    /// Two names of the same field with different values.
    Conflict {
        /// The current name.
        field: &'static str,
        /// The other name.
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
    /// The error of a reader: that of JSON, or the one for which the reader refused a value.
    #[cold]
    pub(crate) fn of(error: JsonError, refused: &mut Option<Self>) -> Self {
        match error {
            JsonError::Malformed { offset, what } => Self::Malformed { offset, what },
            JsonError::TooDeep { max, .. } => Self::TooDeep { max },
            JsonError::Refused => refused.take().unwrap_or(Self::NotAnObject),
        }
    }

    /// The field at fault, for the `param` of an error answer; `None` if the whole body is.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::WrongType { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::Disagree { field }
            | Self::Conflict { field, .. }
            | Self::TooLong { field, .. } => Some(field),
            Self::Malformed { .. }
            | Self::NotAnObject
            | Self::NotMultipart { .. }
            | Self::NotProtobuf { .. }
            | Self::TooDeep { .. } => None,
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
            Self::NotMultipart { what } => {
                write!(
                    f,
                    "the request body is not valid multipart/form-data: {what}"
                )
            }
            Self::NotProtobuf { what } => {
                write!(f, "the request body is not a valid gRPC message: {what}")
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
