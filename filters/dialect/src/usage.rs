//! What an answer cost, as the upstream reported it or as it was seen flowing.
//!
//! Plain values, filled in by a dialect's [`UsageScanner`](crate::UsageScanner), read by the settlement.

/// Token counts as the upstream reported them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input: u64,
    /// Those of `input` that came from a cache; at most `input`.
    pub cached: u64,
    /// Tokens generated, reasoning included.
    pub output: u64,
    /// Those of `output` that were reasoning; at most `output`.
    pub reasoning: u64,
}

/// What was seen of an answer, whether or not usage was reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// Non-empty pieces of generated text: in a stream roughly one token each.
    pub deltas: u64,
    /// UTF-8 bytes of generated text after unescaping.
    pub text_bytes: u64,
    /// Bytes of the answer itself.
    pub bytes: u64,
}
