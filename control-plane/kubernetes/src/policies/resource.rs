//! The kinds of policies as the API server stores them.
//!
//! Invariant: people write `spec`, the control plane writes `status`.
// The printer columns have the same type on purpose.
#![allow(clippy::duplicated_attributes)]

use headgate_contract::{PolicyStatus, TokenBucketPolicySpec, TrafficTagPolicySpec};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Defines a kind of policies around a spec of the contract.
macro_rules! kind_of_policy {
    ($(#[$doc:meta])+ $wrapper:ident($spec:ty), $kind:tt, $plural:tt, $short:tt, $about:tt) => {
        $(#[$doc])+
        #[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[kube(
            group = "headgate.dev",
            version = "v1alpha1",
            kind = $kind,
            plural = $plural,
            shortname = $short,
            category = "headgate",
            namespaced,
            status = "PolicyStatus",
            derive = "PartialEq",
            doc = $about,
            printcolumn(
                name = "Accepted",
                type_ = "string",
                json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
            ),
            printcolumn(
                name = "Programmed",
                type_ = "string",
                json_path = r#".status.conditions[?(@.type=="Programmed")].status"#
            ),
            printcolumn(
                name = "Message",
                type_ = "string",
                priority = 1,
                json_path = r#".status.conditions[?(@.type=="Programmed")].message"#
            ),
            printcolumn(
                name = "Age",
                type_ = "date",
                json_path = ".metadata.creationTimestamp"
            )
        )]
        #[serde(transparent)]
        pub struct $wrapper(pub $spec);
    };
}

kind_of_policy!(
    /// Models and their token buckets.
    TokenBucket(TokenBucketPolicySpec),
    "TokenBucketPolicy",
    "tokenbucketpolicies",
    "tbp",
    "Semantic token buckets for models of its namespace or, from the root namespace, of all namespaces."
);

kind_of_policy!(
    /// Models and the tags of their requests.
    TrafficTag(TrafficTagPolicySpec),
    "TrafficTagPolicy",
    "traffictagpolicies",
    "ttp",
    "Tags of the requests for models, and the choice of their version."
);
