//! A `DestinationRule`, as far as it decides which subsets and which traffic policy proxies have for a host.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::Labels;
use serde_json::Value;

use crate::fields::list;

/// A `DestinationRule`, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostRule {
    /// `spec.host` as written: a DNS name, the short name of a Service, or `*.suffix`.
    pub host: String,
    /// `spec.exportTo`
    pub export_to: BTreeSet<String>,
    /// Labels by name of a subset.
    pub subsets: BTreeMap<String, Labels>,
    /// `spec.workloadSelector.matchLabels`; `None` if the rule is for all proxies.
    pub selector: Option<Labels>,
    /// Whether it has a `trafficPolicy` of the host.
    pub has_policy: bool,
    /// `metadata.creationTimestamp`
    pub created: String,
}

impl HostRule {
    /// Reads an object.
    pub(crate) fn read(object: &Value) -> Self {
        let created = object.pointer("/metadata/creationTimestamp");
        let created = created.and_then(Value::as_str).unwrap_or_default();
        Self::of_spec(object.get("spec").unwrap_or(&Value::Null), created)
    }

    /// The rule with this `spec`.
    pub(crate) fn of_spec(spec: &Value, created: &str) -> Self {
        let host = spec.get("host").and_then(Value::as_str);
        let subsets = list(spec, "subsets").filter_map(|subset| {
            let name = subset.get("name")?.as_str()?.to_owned();
            Some((name, labels(subset.get("labels"))))
        });
        let selector = spec.get("workloadSelector");
        Self {
            host: host.unwrap_or_default().to_owned(),
            export_to: list(spec, "exportTo")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            subsets: subsets.collect(),
            selector: selector.map(|selector| labels(selector.get("matchLabels"))),
            has_policy: spec.get("trafficPolicy").is_some(),
            created: created.to_owned(),
        }
    }

    /// The host as a DNS name or a wildcard: a short name is a Service of the rule's namespace.
    pub(crate) fn full_host(&self, namespace: &str, cluster_domain: &str) -> String {
        full_name(&self.host, namespace, cluster_domain)
    }
}

/// A host as Istio completes it: a name without a dot is a Service of the object's namespace.
pub(crate) fn full_name(host: &str, namespace: &str, cluster_domain: &str) -> String {
    match host.contains('.') || host.starts_with('*') {
        true => host.to_owned(),
        false => format!("{host}.{namespace}.svc.{cluster_domain}"),
    }
}

fn labels(value: Option<&Value>) -> Labels {
    let all = value.and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
