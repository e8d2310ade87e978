//! Versions that proxies cannot reach, from their load reports: clusters → versions, summed over the proxies.
//!
//! Pure, and for reporting only: no plan depends on it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use headgate_model::{Plan, VariantKey};
use headgate_translate::variants;
use headgate_xds::loads::Reporter;

use crate::snapshots::SnapshotStore;

/// A version that proxies cannot reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachableVersion {
    /// Proxies that cannot reach it.
    pub proxies: usize,
    /// Proxies that send load reports and may have it.
    pub reporting_proxies: usize,
    /// Since when the first of them cannot.
    pub since: SystemTime,
}

/// The versions of the plan that at least one proxy cannot reach.
pub fn unreachable_versions(
    plan: &Plan,
    scopes: &SnapshotStore,
    reporters: &[Reporter],
) -> BTreeMap<VariantKey, UnreachableVersion> {
    let mut unreachable: BTreeMap<VariantKey, UnreachableVersion> = BTreeMap::new();
    // Naming every cluster of a large plan takes time.
    if reporters.iter().all(|r| r.unreached.is_empty()) {
        return unreachable;
    }
    let clusters = variants(plan);
    for (cluster, since) in reporters.iter().flat_map(|r| &r.unreached) {
        let Some(variant) = clusters.get(cluster) else {
            continue;
        };
        let entry = unreachable
            .entry(variant.clone())
            .or_insert(UnreachableVersion {
                proxies: 0,
                reporting_proxies: 0,
                since: *since,
            });
        entry.proxies += 1;
        entry.since = entry.since.min(*since);
    }
    for reporter in reporters {
        let sees = scopes.namespaces(&reporter.scope).unwrap_or_default();
        let seen = unreachable.iter_mut();
        for (_, entry) in seen.filter(|((namespace, _, _), _)| sees.contains(namespace)) {
            entry.reporting_proxies += 1;
        }
    }
    for entry in unreachable.values_mut() {
        // Nothing is known of the namespaces of a scope that no proxy uses now.
        entry.reporting_proxies = entry.reporting_proxies.max(entry.proxies);
    }
    unreachable
}
