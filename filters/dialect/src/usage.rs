//! What an answer cost, as the upstream reported it or as it was seen flowing.
//!
//! Plain values, filled in by a dialect's [`UsageScanner`](crate::UsageScanner), read by the settlement.

/// Token counts as the upstream reported them, as far as they can be true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included. `None` if the report has no believable count (absent, or a
    /// zero beside output): the caller's estimate stands.
    pub input: Option<u64>,
    /// Those of `input` that came from a cache; at most `input`.
    pub cached: u64,
    /// Tokens generated, reasoning included, also where the upstream counts it beside the completion.
    pub output: u64,
    /// Those of `output` that were reasoning; at most `output`.
    pub reasoning: u64,
    /// The total, where the report has one that is not below what it is the total of.
    pub total: Option<u64>,
}

impl Usage {
    /// Whether it tells of any output.
    #[must_use]
    pub fn tells_output(&self) -> bool {
        self.output > 0 || self.total.is_some_and(|total| Some(total) != self.input)
    }
}

/// What was seen of an answer, whether or not usage was reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// UTF-8 bytes of generated text of every kind after unescaping, each text once. Tool arguments that are
    /// objects count as they were sent. Audio counts one byte for 800 characters of base64: at 50 ms a token,
    /// pcm16 of 24 kHz is 3200 characters a token, and 4 bytes of text are one.
    pub text_bytes: u64,
    /// Bytes of documents and of events' data that are not JSON; of everything, if nothing of it was of this
    /// dialect; of a document that is cut, if there was neither text nor usage.
    pub unread_bytes: u64,
    /// Bytes of the answer itself.
    pub bytes: u64,
}

/// What the content type says that an answer is. Its first bytes may say otherwise, and are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// `application/json` and its like.
    Json,
    /// `text/event-stream`.
    Events,
    /// Anything else, or nothing.
    Other,
}

/// What becomes of bytes that were pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// They pass unchanged.
    Unchanged,
    /// Forward these bytes instead: bytes were held back, released or removed.
    Replaced(Vec<u8>),
}
