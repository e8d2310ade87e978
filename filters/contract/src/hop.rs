//! A hop that a request passes: its role, whether it reads bodies, and the buckets that it charges.

use serde::{Deserialize, Serialize};

/// The role of a hop: it decides, or it follows the previous hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Picks the version, strips tags that the client sent, and answers 404 for a model that is not served.
    #[default]
    Decide,
    /// Reads model, version and tags from the headers of the previous hop.
    Follow,
}

/// Whether the filter reads bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Bodies {
    /// Where they matter: for the model, for a session, for a cost.
    #[default]
    Read,
    /// Not at all. The filter never holds a request, and only tags: it decides by headers and charges nothing. A request whose model is
    /// named by its body alone passes without tags.
    Never,
}

impl Bodies {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn is_read(&self) -> bool {
        *self == Self::Read
    }
}

/// The hop that charges a bucket, so that a request that passes two hops is charged once.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ChargeAt {
    /// The hop that decides: the gateway, or the sidecar of the client.
    #[default]
    Decide,
    /// The hop that follows: the sidecar of the pod that serves the request.
    Inbound,
}

impl ChargeAt {
    /// The buckets that a hop with this role charges.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Decide => Self::Decide,
            Role::Follow => Self::Inbound,
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn is_decide(&self) -> bool {
        *self == Self::Decide
    }
}
