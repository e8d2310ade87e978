//! The two kinds, as the API server stores them.
//!
//! Invariant: `spec` is a person's and `status` is ours; neither is written by the other side.
// Columns of one type are no repetition.
#![allow(clippy::duplicated_attributes)]

use headgate_contract::{TokenBucketPolicySpec, TrafficTagPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of policies around a spec of the contract.
macro_rules! kind_of_policy {
    ($(#[$says:meta])+ $wrapper:ident($spec:ty), $kind:tt, $plural:tt, $short:tt, $about:tt) => {
        $(#[$says])+
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
    /// Which models, and what may be spent on them.
    TokenBucket(TokenBucketPolicySpec),
    "TokenBucketPolicy",
    "tokenbucketpolicies",
    "tbp",
    "Semantic token buckets for some models: of its namespace, or from the root namespace of all."
);

kind_of_policy!(
    /// Which models, and how their requests are tagged.
    TrafficTag(TrafficTagPolicySpec),
    "TrafficTagPolicy",
    "traffictagpolicies",
    "ttp",
    "How requests for some models are tagged, and how their version is picked."
);

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `Accepted`: it says something that can be done. `ResolvedRefs`: what it names exists. `Programmed`: the proxies
    /// have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"],
    ))]
    pub conditions: Vec<Condition>,
    /// Conditions of other installations, by `--controller-name`. `conditions` above is of the installation with the default name.
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
