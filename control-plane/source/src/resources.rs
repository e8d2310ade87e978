//! The policies as Kubernetes resources: the contract's specs in an object with metadata.
//!
//! Invariant: the specs are the contract's own types, so a file, the API server and a filter agree on every field.

use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Spec of a [`TokenBucketPolicy`].
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "TokenBucketPolicy",
    plural = "tokenbucketpolicies",
    shortname = "tbp",
    category = "headgate",
    namespaced,
    derive = "PartialEq",
    doc = "Semantic token buckets for some models of its namespace."
)]
#[serde(transparent)]
pub struct TokenBucket(pub TokenBucketPolicySpec);

/// Spec of a [`TrafficTagPolicy`].
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "TrafficTagPolicy",
    plural = "traffictagpolicies",
    shortname = "ttp",
    category = "headgate",
    namespaced,
    derive = "PartialEq",
    doc = "How requests for some models of its namespace are tagged, and how their version is picked."
)]
#[serde(transparent)]
pub struct TrafficTag(pub TrafficTagPolicySpec);
