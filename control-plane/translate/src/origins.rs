//! Reverse lookup of clusters: the carrier and the version from which a cluster was made.
//!
//! Invariant: cluster names are built by the same functions as in the clusters, and never parsed.

use std::collections::BTreeMap;

use headgate_contract::names;
use headgate_model::{CarrierKey, Plan, VariantKey};

/// The carrier of every cluster of a plan, by the name of the cluster, which is also the name of its endpoints. For a version it is the
/// carrier that owns the version, for a model as a whole the oldest carrier.
#[must_use]
pub fn origins(plan: &Plan) -> BTreeMap<String, &CarrierKey> {
    let mut origins = BTreeMap::new();
    for (namespace, view) in &plan.namespaces {
        for (id, model) in &view.models {
            let own = names::model_cluster(namespace, id.as_str());
            origins.extend(model.oldest_carrier().map(|key| (own, key)));
            for (version, variant) in &model.variants {
                let name = names::variant_cluster(namespace, id.as_str(), version.as_str());
                origins.extend(variant.carriers.first().map(|key| (name, key)));
            }
        }
    }
    origins
}

/// The version of every cluster that belongs to one version, by the name of the cluster.
#[must_use]
pub fn variants(plan: &Plan) -> BTreeMap<String, VariantKey> {
    let mut variants = BTreeMap::new();
    for (namespace, view) in &plan.namespaces {
        for (id, model) in &view.models {
            variants.extend(model.variants.keys().map(|version| {
                let name = names::variant_cluster(namespace, id.as_str(), version.as_str());
                (name, (namespace.clone(), id.clone(), version.clone()))
            }));
        }
    }
    variants
}
