//! The manifests of the desired objects.

use std::collections::BTreeSet;

use headgate_contract::names;
use headgate_model::Labels;
use serde_json::{Value, json};

use crate::envoy_filter::{insertion, switch, version_route};
use crate::fields::list;
use crate::object::{Context, Insertion, Module, ObjectKey, Routes, Rule, VirtualHost};
use crate::options::Options;

/// The label of every object, and its value: by it objects are found, whoever wrote them.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "headgate");
/// The annotation with the name of the installation that an object belongs to.
pub(crate) const CONTROLLER: &str = "headgate.dev/controller-name";

/// The annotation with the Services that a gateway must know although no route leads there
/// (`PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`).
const REFERENCED: &str = "envoyfilter.istio.io/referenced-services";

/// Whether an `EnvoyFilter` inserts a filter that has its configuration from the xDS server.
fn has_source(spec: &Value) -> bool {
    list(spec, "configPatches")
        .any(|patch| patch.pointer("/patch/value/config_discovery").is_some())
}

/// A kind of Istio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IstioKind {
    /// `DestinationRule`
    DestinationRule,
    /// `EnvoyFilter`
    EnvoyFilter,
}

impl IstioKind {
    /// The name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DestinationRule => "DestinationRule",
            Self::EnvoyFilter => "EnvoyFilter",
        }
    }

    /// Its plural, as in paths of the API.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::DestinationRule => "destinationrules",
            Self::EnvoyFilter => "envoyfilters",
        }
    }

    /// Its API version.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::DestinationRule => "networking.istio.io/v1",
            Self::EnvoyFilter => "networking.istio.io/v1alpha3",
        }
    }
}

/// The manifest of an object with this `spec`.
pub(crate) fn manifest(kind: IstioKind, key: &ObjectKey, spec: &Value, options: &Options) -> Value {
    let mut metadata = json!({
        "name": key.name,
        "namespace": key.namespace,
        "labels": { MANAGED_BY.0: MANAGED_BY.1 },
    });
    if options.controller != names::DEFAULT_CONTROLLER_NAME {
        metadata["annotations"][CONTROLLER] = json!(options.controller);
    }
    if kind == IstioKind::EnvoyFilter && has_source(spec) {
        metadata["annotations"][REFERENCED] = json!(options.xds.host(options.cluster_domain()));
    }
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": metadata,
        "spec": spec,
    })
}

/// The `spec` of a `DestinationRule`. Without `export_to` it is for all namespaces, unless the mesh has another default.
pub(crate) fn rule_spec(rule: &Rule, export_to: &BTreeSet<String>) -> Value {
    let subsets = rule.subsets.iter();
    let subsets = subsets.map(|(name, labels)| json!({ "name": name, "labels": labels }));
    let mut spec = json!({ "host": rule.host, "subsets": subsets.collect::<Vec<_>>() });
    if !export_to.is_empty() {
        spec["exportTo"] = json!(export_to);
    }
    spec
}

/// The patches of a virtual host: the switch, then the routes.
pub(crate) fn host_patches(routes: &Routes, host: &VirtualHost) -> Vec<Value> {
    let own = routes.hosts.get(host).into_iter().flatten();
    let patches = own.map(|(name, route)| version_route(routes.context, host, name, route));
    std::iter::once(switch(routes.context, host))
        .chain(patches)
        .collect()
}

/// The `spec` of an `EnvoyFilter` with these patches, for the proxies of pods that match a selector.
pub(crate) fn patches_spec(patches: &[Value], selector: Option<Value>) -> Value {
    let mut spec = json!({ "priority": PRIORITY, "configPatches": patches });
    if let Some(selector) = selector {
        spec[SELECTOR] = selector;
    }
    spec
}

/// The selector of pods with these labels; `None` for all pods of the namespace.
pub(crate) fn selector(labels: &Labels) -> Option<Value> {
    (!labels.is_empty()).then(|| json!({ "labels": labels }))
}

/// The `spec` of an `EnvoyFilter` that inserts the filter.
pub(crate) fn insertion_spec(of: &Insertion, options: &Options) -> Value {
    let pods = of.pods.as_ref();
    let pods = pods.unwrap_or_else(|| options.labels_of(of.context));
    let mut spec = patches_spec(&insertion(of, options), selector(pods));
    // It replaces the filter of a less specific object.
    if (of.context, of.module) == (Context::SidecarInbound, Module::InFile) {
        spec["priority"] = json!(PRIORITY + 1);
    }
    spec
}

/// The field of the selector.
pub(crate) const SELECTOR: &str = "workloadSelector";

/// Patches apply after those of other people, which have priority 0 unless they set one.
const PRIORITY: i32 = 10;
