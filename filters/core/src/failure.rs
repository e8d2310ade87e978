//! The ways in which a forwarded request fails.

use headgate_contract::{FailureCharge, OnFailure};

/// The way in which a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// 4xx, except 429.
    ClientError,
    /// 429.
    RateLimited,
    /// 5xx, except 504, or 200 with only an error.
    ServerError,
    /// The upstream reset the stream after the request was forwarded.
    Reset,
    /// No answer in time, or 504.
    Timeout,
    /// The client disconnected.
    Abandoned,
}

impl Failure {
    /// The metric label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientError => "client_error",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Abandoned => "abandoned",
        }
    }

    /// The charge of a bucket.
    pub(crate) fn charge(self, on: &OnFailure, abandoned: FailureCharge) -> FailureCharge {
        match self {
            Self::ClientError => on.client_error,
            Self::RateLimited => on.rate_limited,
            Self::ServerError => on.server_error,
            Self::Reset => on.reset,
            Self::Timeout => on.timeout,
            Self::Abandoned => abandoned,
        }
    }
}
