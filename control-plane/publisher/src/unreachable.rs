//! Which versions proxies cannot reach, as their load reports say: clusters → versions, summed over the proxies.
//!
//! Pure, and for reporting only: no plan depends on it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use headgate_model::{Plan, VariantKey};
use headgate_translate::variants;
use headgate_xds::loads::Reporter;

use crate::snapshots::SnapshotStore;

/// How many proxies cannot reach a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// Proxies that cannot reach it.
    pub proxies: usize,
    /// Proxies that send load reports and may have it.
    pub of: usize,
    /// Since when the first of them cannot.
    pub since: SystemTime,
}

/// The versions of the plan that at least one proxy cannot reach.
pub fn unreached(
    plan: &Plan,
    scopes: &SnapshotStore,
    reporters: &[Reporter],
) -> BTreeMap<VariantKey, Unreached> {
    let mut unreached: BTreeMap<VariantKey, Unreached> = BTreeMap::new();
    // Naming every cluster of a large plan takes time.
    if reporters.iter().all(|r| r.unreached.is_empty()) {
        return unreached;
    }
    let clusters = variants(plan);
    for (cluster, since) in reporters.iter().flat_map(|r| &r.unreached) {
        let Some(variant) = clusters.get(cluster) else {
            continue;
        };
        let entry = unreached.entry(variant.clone()).or_insert(Unreached {
            proxies: 0,
            of: 0,
            since: *since,
        });
        entry.proxies += 1;
        entry.since = entry.since.min(*since);
    }
    for reporter in reporters {
        let sees = scopes.namespaces(&reporter.scope).unwrap_or_default();
        let seen = unreached.iter_mut();
        for (_, entry) in seen.filter(|((namespace, _, _), _)| sees.contains(namespace)) {
            entry.of += 1;
        }
    }
    for entry in unreached.values_mut() {
        // Nothing is known of the namespaces of a scope that no proxy uses any more.
        entry.of = entry.of.max(entry.proxies);
    }
    unreached
}
