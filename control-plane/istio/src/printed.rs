//! The output of `translate --istio`: the manifests of the desired objects, and the findings on them.

use std::collections::BTreeSet;

use headgate_model::Finding;
use serde_json::Value;

use crate::conflicts::{conflicts, planned_spec};
use crate::foreign_findings::{Names, all};
use crate::manifest::{IstioKind, host_patches, insertion_spec, manifest, patches_spec, selector};
use crate::object::Desired;
use crate::options::Options;
use crate::stored::Stored;

const RULES: IstioKind = IstioKind::DestinationRule;

impl Desired {
    /// The manifests of all objects, in the order in which to apply them: what later ones name comes first. `stored`: the rules of other
    /// people, whose `exportTo` they take over.
    #[must_use]
    pub fn manifests(&self, stored: &Stored, options: &Options) -> Vec<Value> {
        let rules = self.rules.iter().map(|(key, rule)| {
            let spec = planned_spec(key, rule, stored, options);
            manifest(RULES, key, &spec, options)
        });
        let envoy_filter = |key, spec: Value| manifest(IstioKind::EnvoyFilter, key, &spec, options);
        let insertions = self
            .insertions
            .iter()
            .map(|(key, insertion)| envoy_filter(key, insertion_spec(insertion, options)));
        let routes = self.routes.iter().map(|(key, routes)| {
            let hosts = routes.hosts.keys();
            let patches: Vec<Value> = hosts.flat_map(|host| host_patches(routes, host)).collect();
            envoy_filter(
                key,
                patches_spec(&patches, selector(options.labels_of(routes.context))),
            )
        });
        rules.chain(insertions).chain(routes).collect()
    }
}

/// The findings on the desired objects as they will be once somebody has applied [`Desired::manifests`].
#[must_use]
pub fn findings(desired: &Desired, stored: &Stored, options: &Options) -> BTreeSet<Finding> {
    let rules = desired.rules.keys().map(|key| (RULES, key));
    let filters = desired.routes.keys().chain(desired.insertions.keys());
    let names = rules.chain(filters.map(|key| (IstioKind::EnvoyFilter, key)));
    let names = names.map(|(kind, key)| (kind, key.clone()));
    let taken: Names = names
        .filter(|name| stored.is_taken(name, options))
        .collect();
    let applied = applied(desired, stored, options);
    let conflicts = conflicts(desired, &applied, options).all;
    all(desired, &applied, &taken, &conflicts, options)
}

/// The stored objects, with Headgate's rules as they are desired.
fn applied(desired: &Desired, stored: &Stored, options: &Options) -> Stored {
    let mut applied = stored.clone();
    for ((kind, key), object) in &mut applied.objects {
        if let (RULES, Some(rule)) = (*kind, desired.rules.get(key)) {
            object.spec = planned_spec(key, rule, stored, options);
        }
    }
    applied
}
