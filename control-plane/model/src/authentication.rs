//! The authentication of a namespace, as its policies give it.

use headgate_contract::JwtProvider;

/// The tokens that the requests of a namespace must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Whether a request without a token is refused.
    pub required: bool,
    /// The issuers, each once, those of the oldest policy first. A token of one of them is enough. Without an issuer, no token is accepted.
    pub providers: Vec<TokenProvider>,
}

/// An issuer of tokens, with the policy that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenProvider {
    /// The policy as rules name it: `namespace/name`.
    pub policy: String,
    /// The issuer.
    pub jwt: JwtProvider,
}
