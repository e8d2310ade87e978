//! Charges for a request that failed, or whose client left.

use serde::{Deserialize, Serialize};

/// The charge for a request that failed, by the kind of failure. A request that never reached an upstream is never charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OnFailure {
    /// The upstream answered 4xx, except 429. Default `nothing`.
    pub client_error: FailureCharge,
    /// The upstream answered 429. Default `nothing`.
    pub rate_limited: FailureCharge,
    /// The upstream answered 5xx, except 504, or 200 with nothing but an error. Default `nothing`.
    pub server_error: FailureCharge,
    /// The upstream connection was reset after the request was forwarded and before anything was generated. Default `prompt`.
    pub reset: FailureCharge,
    /// A timeout ended the request before anything was generated, or the upstream answered 504. Default `elapsed`.
    pub timeout: FailureCharge,
}

impl Default for OnFailure {
    fn default() -> Self {
        Self {
            client_error: FailureCharge::Nothing,
            rate_limited: FailureCharge::Nothing,
            server_error: FailureCharge::Nothing,
            reset: FailureCharge::Prompt,
            timeout: FailureCharge::Elapsed,
        }
    }
}

/// A charge for a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum FailureCharge {
    /// Nothing: the whole reservation is refunded.
    Nothing,
    /// The prompt, as estimated. In profile `semantic`, which has no price for a prompt, the reservation.
    Prompt,
    /// The reservation.
    Reservation,
    /// The prompt, and what the model generates in the elapsed time: seconds from forwarding to the end of the request,
    /// times `n`, times the tokens per second of this version's recent responses. At most the reservation, which is also
    /// charged before the first such response.
    Elapsed,
}

/// The charge for a request whose client left after it was forwarded and before anything was generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Abandoned {
    /// As `onFailure.timeout: elapsed`: the prompt, and what this version generates in the elapsed time. At most the reservation.
    #[default]
    Elapsed,
    /// The prompt, as estimated. In profile `semantic`, which has no price for a prompt, the reservation.
    Prompt,
    /// The reservation.
    Reservation,
}

impl From<Abandoned> for FailureCharge {
    fn from(abandoned: Abandoned) -> Self {
        match abandoned {
            Abandoned::Elapsed => Self::Elapsed,
            Abandoned::Prompt => Self::Prompt,
            Abandoned::Reservation => Self::Reservation,
        }
    }
}
