//! The `spec` of `TokenBucketPolicy` and `TrafficTagPolicy`, in files and on the API server.

mod raw;
mod target;

use serde::{Deserialize, Serialize};

pub use self::target::{Selector, Target, TargetKind, TargetRef};
use crate::{Bucket, Tagging};

/// Buckets for some models. The buckets of all policies that match a model apply. If several policies have a bucket of one name,
/// the precedence is: an `override` of the root namespace; a policy for the version, for the model, for its labels, for all models
/// of the namespace; a policy of the root namespace. Among equals, the oldest policy wins, then the first by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "raw::TokenBucketPolicySpec",
    into = "raw::TokenBucketPolicySpec"
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TokenBucketPolicySpec"))]
pub struct TokenBucketPolicySpec {
    /// The models that it applies to.
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
    /// The models that it applies to. Never a version: tagging precedes the choice of the version.
    pub target: Target,
    /// In the root namespace: no policy of another namespace replaces it.
    pub overrides: bool,
    /// How they are tagged.
    pub tagging: Tagging,
}
