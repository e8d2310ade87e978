//! The `ServedModel` kind as the API server stores it.
//!
//! Invariant: people write `spec`, the control plane writes `status`.
// The printer columns have the same type on purpose.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use headgate_contract::{Condition, ServedModelSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::conditions;

/// The spec of a `ServedModel`.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "ServedModel",
    plural = "servedmodels",
    shortname = "smdl",
    category = "headgate",
    namespaced,
    status = "ServedModelStatus",
    derive = "PartialEq",
    doc = "A served model: settings for the model as a whole, its base, its weights, and whether every proxy has them.",
    printcolumn(
        name = "Versions",
        type_ = "string",
        json_path = ".status.printerColumns.versions"
    ),
    printcolumn(
        name = "Base",
        type_ = "string",
        json_path = ".status.printerColumns.base"
    ),
    printcolumn(
        name = "Canary",
        type_ = "string",
        json_path = ".status.printerColumns.canary"
    ),
    printcolumn(
        name = "Acked",
        type_ = "string",
        json_path = ".status.printerColumns.acked"
    ),
    printcolumn(
        name = "Converged",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Converged")].status"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(transparent)]
pub struct Served(pub ServedModelSpec);

/// State of a model: its base, its weights, and whether proxies have them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServedModelStatus {
    /// `metadata.generation` that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The carriers of the base, stored until another carrier takes its full share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base: Vec<Base>,
    /// The carriers of the previous base, which stand by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Base>,
    /// Carriers, as `kind/name`, that had their full share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub full_share: Vec<String>,
    /// Names that clients use for the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// Since when a carrier that is not the oldest acts as the base while no base is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisional_since: Option<Time>,
    /// Since when no object declares the model. This object is deleted after an hour, unless a person wrote its `spec`, a label or an
    /// annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carriers_gone_since: Option<Time>,
    /// Versions whose routes exist in the mesh (`serve --istio`); proxies of the mesh send sessions to these only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Planned percent of new sessions, by version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub planned: BTreeMap<String, Percent>,
    /// Percent of new sessions, by version, that every connected proxy acknowledged last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub acked: BTreeMap<String, Percent>,
    /// Proxies that have the planned weights, and connected proxies, over all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies: Option<Proxies>,
    /// When the planned weights last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The last ten changes, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Columns of `kubectl get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printer_columns: Option<PrinterColumns>,
    /// `Accepted`: the `spec` is valid, and so is a base that a person wrote. `Ready`: a version that takes new sessions has a ready endpoint. `Programmed`: every proxy
    /// accepted the model's resources. `Converged`: every proxy acknowledged the planned weights.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "conditions::read"
    )]
    // The published schema is that of `meta/v1`.
    #[schemars(with = "Vec<v1::Condition>", extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"],
    ))]
    pub conditions: Vec<Condition>,
}

/// A carrier of the base.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// `kind/name`.
    pub carrier: String,
    /// Its versions.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Since when no object declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undeclared_since: Option<Time>,
}

/// A name that clients use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Name {
    /// The name.
    pub name: String,
    /// The carriers, as `kind/name`, that declare it; if none does, those that declared it last.
    #[serde(default)]
    pub carriers: Vec<String>,
    /// Since when none of these carriers exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_since: Option<Time>,
}

/// Proxies of the model's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Proxies {
    /// Proxies that have the planned weights.
    pub current: u32,
    /// Connected proxies.
    pub total: u32,
}

/// A change of the weights or of the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// When it happened.
    pub time: Time,
    /// The change, such as `weights: v1 90 % (before 100 %), v2 10 % (new)` or `base: deployment/llama-v1 (v1)`.
    pub message: String,
}

/// Columns of `kubectl get`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PrinterColumns {
    /// The declared versions.
    pub versions: String,
    /// The versions of the base.
    pub base: String,
    /// The canaries and their percent.
    pub canary: String,
    /// The weights that every proxy acknowledged.
    pub acked: String,
}

/// A percentage with at most four decimals. A JSON number, so that `--for=jsonpath='{.status.acked.v2}'=10` matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(
    /// Parts of 1 000 000.
    pub u32,
);

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(10_000) {
            to.serialize_u32(self.0 / 10_000)
        } else {
            to.serialize_f64(f64::from(self.0) / 1e4)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parts = (f64::deserialize(from)? * 1e4).round();
        // Clamp to 0 to 100 %.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Self(parts.clamp(0.0, 1e6) as u32))
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 100 })
    }
}

/// `10`, `33.3333`.
impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&(f64::from(self.0) / 1e4), f)
    }
}
