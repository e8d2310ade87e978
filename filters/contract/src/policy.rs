//! Policies as people write them: the `spec` of `TokenBucketPolicy` and `TrafficTagPolicy`, in files and on the API server.

mod raw;
mod target;

use serde::{Deserialize, Serialize};

pub use self::target::{Selector, Target, TargetKind, TargetRef};
use crate::{Bucket, Tagging};

/// Buckets for some models. The buckets of all policies that match a model apply. For one bucket name the winner is, in
/// this order: an `override` of the root namespace; a policy that names the version, the model, its labels, or is for all
/// models of the namespace; a policy of the root namespace. Among equals it is the oldest, then the first by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "raw::TokenBucketPolicySpec",
    into = "raw::TokenBucketPolicySpec"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TokenBucketPolicySpec"))]
pub struct TokenBucketPolicySpec {
    /// Which models.
    pub target: Target,
    /// In the root namespace: no policy of another namespace replaces it.
    pub overrides: bool,
    /// Every bucket must have room; all of them are charged, or none. 1–32, each name once.
    pub buckets: Vec<Bucket>,
}

/// Tagging for some models. One tagging applies per model. Same precedence as for buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "raw::TrafficTagPolicySpec",
    into = "raw::TrafficTagPolicySpec"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TrafficTagPolicySpec"))]
pub struct TrafficTagPolicySpec {
    /// Which models. No part of it has a version: the tagging comes before the version is known.
    pub target: Target,
    /// In the root namespace: no policy of another namespace replaces it.
    pub overrides: bool,
    /// How they are tagged.
    pub tagging: Tagging,
}
