//! Reverse lookup: the carrier and the version that a cluster was made from.
//!
//! Invariant: names are made here by the functions that clusters are named by, and are never taken apart.

use std::collections::BTreeMap;

use headgate_contract::names;
use headgate_model::{CarrierKey, Plan, VariantKey};

/// The carrier of every cluster that is made of a plan, by the cluster's name, which is its endpoints' name too: of a variant
/// the one whose weight counts, of a model as a whole the oldest.
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

/// The version of each cluster that belongs to one version, by the cluster's name.
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
