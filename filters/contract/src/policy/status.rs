//! The `status` of a policy.
//!
//! Invariant: each installation owns a part of the status that no other one writes.

use serde::{Deserialize, Serialize};

/// State of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// `Accepted`: the policy is valid. `ResolvedRefs`: the objects that it references exist. `Programmed`: the proxies have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"],
    )))]
    pub conditions: Vec<Condition>,
    /// Conditions of other installations, by `--controller-name`. `conditions` belongs to the installation with the default name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["controllerName"],
    )))]
    pub controllers: Vec<ControllerStatus>,
}

/// Status of a policy at one installation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ControllerStatus {
    /// `--controller-name` of the installation: a domain and a path.
    pub controller_name: String,
    /// `Accepted` and `Programmed`, as in `status.conditions`. To wait for one:
    /// `kubectl wait --for=jsonpath='{.status.controllers[?(@.controllerName=="NAME")].conditions[?(@.type=="Programmed")].status}'=True`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"],
    )))]
    pub conditions: Vec<Condition>,
}

/// A condition: `meta/v1.Condition` of the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// When `status` changed last, in RFC 3339.
    #[cfg_attr(feature = "schema", schemars(extend("format" = "date-time")))]
    pub last_transition_time: String,
    /// The cause in words, with the field and the fix. May be empty.
    pub message: String,
    /// `metadata.generation` of the object to which the condition belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The cause as one word in CamelCase.
    pub reason: String,
    /// Whether the condition holds.
    pub status: ConditionStatus,
    /// Its type: `Accepted`, `ResolvedRefs`, `Programmed`.
    #[serde(rename = "type")]
    pub type_: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be determined yet.
    Unknown,
}
