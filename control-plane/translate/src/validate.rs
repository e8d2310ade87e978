//! Validation of single models, buckets and hosts by the filters' own parser, so one invalid entry never rejects a whole resource.

use std::collections::BTreeMap;

use headgate_contract::{BucketRule, FilterConfig, ModelId, NamespaceConfig};
use headgate_model::PlannedModel;

/// Checks a model alone.
///
/// # Errors
/// The reason why the filters or Envoy would refuse it, and the fix.
pub(crate) fn model(id: &ModelId, model: &PlannedModel) -> Result<(), String> {
    for (version, variant) in &model.variants {
        if let Some(address) = variant.endpoints.iter().find(|a| a.port() == 0) {
            return Err(format!(
                "version {version} has the endpoint {address} without a port: give it a port"
            ));
        }
    }
    parses(NamespaceConfig {
        models: BTreeMap::from([(id.clone(), model.plan.clone())]),
        ..NamespaceConfig::default()
    })
}

/// Checks a bucket alone.
///
/// # Errors
/// The reason why the filters would refuse it, and the fix.
pub(crate) fn bucket(rule: &BucketRule) -> Result<(), String> {
    parses(NamespaceConfig {
        buckets: vec![rule.clone()],
        ..NamespaceConfig::default()
    })
}

/// Checks a host of a namespace. `owner`: the namespace that has it already.
///
/// # Errors
/// The reason why the filters would refuse it, and the fix.
pub(crate) fn host(host: &str, owner: Option<&String>) -> Result<(), String> {
    if let Some(owner) = owner {
        return Err(format!(
            "it is also a host of namespace {owner}: remove it from one"
        ));
    }
    parses(NamespaceConfig {
        hosts: vec![host.to_owned()],
        ..NamespaceConfig::default()
    })
}

/// Whether the filters' own parser accepts a configuration.
fn parses(config: NamespaceConfig) -> Result<(), String> {
    let config = FilterConfig {
        namespaces: BTreeMap::from([("n".to_owned(), config)]),
        ..FilterConfig::default()
    };
    config
        .emit()
        .and_then(|json| FilterConfig::parse(json.as_bytes()))
        .map(|_| ())
        .map_err(|e| e.to_string())
}
