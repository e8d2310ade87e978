//! The tokens that a request may generate.

/// Greatest `max_tokens`: above any context window.
pub const MAX_TOKENS: u32 = 10_000_000;

/// The `max_tokens` of a request that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultMaxTokens {
    /// A fixed number of tokens, 1–10 000 000.
    Tokens(u32),
    /// The model's context window in tokens (1–10 000 000), at most what the bucket holds.
    Context(u32),
}

impl Default for DefaultMaxTokens {
    fn default() -> Self {
        Self::Tokens(512)
    }
}

impl DefaultMaxTokens {
    /// The number of tokens, before any limit by a bucket.
    #[must_use]
    pub fn tokens(self) -> u32 {
        match self {
            Self::Tokens(tokens) | Self::Context(tokens) => tokens,
        }
    }
}
