//! The cost of an answer, as the upstream reported it or as it was observed.
//!
//! Plain values, written by a [`UsageScanner`](crate::UsageScanner) and read by the settlement.

/// Token counts that the upstream reported, as far as they can be true.
///
/// `cached`, `cache_written`, `input_audio` and `input_image` are disjoint parts of `input`; `reasoning`, `output_audio` and
/// `output_image` are disjoint parts of `output`. Parts are never more than their whole. A token that the upstream counts in two
/// parts, such as one of cached audio, belongs to the first of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, including cached ones. `None` if the report has no credible count (absent, or zero beside
    /// output): the caller's estimate stands, and no part of it is known.
    pub input: Option<u64>,
    /// Tokens of `input` that came from a cache.
    pub cached: u64,
    /// Tokens of `input` that were written to a cache.
    pub cache_written: u64,
    /// Tokens of `input` that are audio.
    pub input_audio: u64,
    /// Tokens of `input` that are images.
    pub input_image: u64,
    /// Generated tokens, including reasoning, also where the upstream counts reasoning beside the completion.
    pub output: u64,
    /// Tokens of `output` that were reasoning.
    pub reasoning: u64,
    /// Tokens of `output` that are audio.
    pub output_audio: u64,
    /// Tokens of `output` that are images.
    pub output_image: u64,
    /// The total, if the report has one that is not below the sum of its parts.
    pub total: Option<u64>,
}

impl Usage {
    /// Whether it reports any output.
    #[must_use]
    pub fn reports_output(&self) -> bool {
        self.output > 0 || self.total.is_some_and(|total| Some(total) != self.input)
    }
}

/// The observations of an answer, whether or not usage was reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// UTF-8 bytes of generated text of every kind after unescaping, each text once. Tool arguments that are objects count by
    /// their bytes as sent. Audio counts one byte for 800 characters of base64: at 50 ms per token, pcm16 at 24 kHz is 3200
    /// characters per token, and 4 bytes of text are one token. Pictures in base64 count alike.
    pub text_bytes: u64,
    /// Bytes of documents and of event data that are not JSON. All bytes, if nothing was of this dialect. The bytes of a
    /// document that was cut, if there was neither text nor usage. Of an answer that is a sound, one byte for 600: as much as its
    /// base64 would count.
    pub unread_bytes: u64,
    /// Bytes of the answer itself.
    pub bytes: u64,
}

/// The form of an answer by its content type. Its first bytes win if they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    Events,
    /// Any other content type, or none.
    Other,
}

/// The output for the bytes that were pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The same bytes.
    Unchanged,
    /// These bytes instead: some were held back, released or removed.
    Replaced(Vec<u8>),
}
