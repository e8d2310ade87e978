//! The kinds of policies as the API server stores them.
//!
//! Invariant: people write `spec`, the control plane writes `status`.
// The printer columns have the same type on purpose.
#![allow(clippy::duplicated_attributes)]

use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
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

/// State of a policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `Accepted`: the policy is valid. `ResolvedRefs`: the objects that it references exist. `Programmed`: the proxies have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"],
    ))]
    pub conditions: Vec<Condition>,
    /// Conditions of other installations, by `--controller-name`. `conditions` belongs to the installation with the default name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["controllerName"],
    ))]
    pub controllers: Vec<ControllerStatus>,
}

/// Status of a policy at one installation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// `--controller-name` of the installation: a domain and a path.
    pub controller_name: String,
    /// `Accepted` and `Programmed`, as in `status.conditions`. To wait for one:
    /// `kubectl wait --for=jsonpath='{.status.controllers[?(@.controllerName=="NAME")].conditions[?(@.type=="Programmed")].status}'=True`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"],
    ))]
    pub conditions: Vec<Condition>,
}
