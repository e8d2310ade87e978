//! Plan → xDS resources: pure, ordered, hashed. The last stage before bytes leave for a proxy.
//!
//! ```text
//! plan ──▶ validate (each model alone) ──▶ clusters, endpoints, routes, listener, filters ──▶ Snapshot
//!               └──── cache: what did not change is not made again ────┘
//! ```
//!
//! Invariant: equal plans give equal bytes, on every replica and in every process; a snapshot names no cluster
//! that it does not hold, save the one that never is (`leaves::nowhere`). A model that cannot be served is left out and
//! reported, the rest goes out.

mod cache;
mod clusters;
mod cors;
mod endpoints;
mod filters;
mod leaves;
mod listener;
mod matching;
mod ordered;
mod origins;
mod routes;
mod scope;
mod tls;
mod upstreams;
mod validate;

use std::sync::Arc;

use headgate_model::Plan;
use headgate_xds::{Inconsistent, Resource, Snapshot};

pub use cache::Cache;
pub use filters::FilterModule;
pub use origins::{origins, variants};
pub use scope::{Code, Modules, Options, ScopeSpec};
pub use validate::{LeftOut, Rejected};

/// What a scope is to run, and what had to be left out of it.
#[derive(Debug)]
pub struct Translated {
    /// The consistent set of resources.
    pub snapshot: Snapshot,
    /// Models and buckets left out, with the reason.
    pub rejected: Vec<Rejected>,
}

/// Why no snapshot could be made at all. The caller keeps the last one.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// The configuration of the filters would be refused by the filters.
    #[error("the filter configuration would be refused by the filters: {0}")]
    FilterConfig(#[from] headgate_contract::ConfigError),
    /// Resources that contradict each other.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(#[from] Inconsistent),
}

/// Builds the snapshot of one scope. Encoded once, shared by all proxies of the scope.
///
/// # Errors
/// [`TranslateError`] if not even the valid part makes a configuration that the filters accept.
pub fn snapshot(
    plan: &Plan,
    scope: &ScopeSpec,
    options: &Options,
) -> Result<Translated, TranslateError> {
    snapshot_with(&mut Cache::default(), plan, scope, options)
}

/// As [`snapshot`], without making again what `cache` has from earlier plans and other scopes. The result is the same.
///
/// # Errors
/// As [`snapshot`].
pub fn snapshot_with(
    cache: &mut Cache,
    plan: &Plan,
    scope: &ScopeSpec,
    options: &Options,
) -> Result<Translated, TranslateError> {
    cache.refresh(plan, options);
    let (accepted, rejected) = validate::accepted(plan, scope, cache);
    let models = cache.models(&accepted);
    let mut resources: Vec<Arc<Resource>> = models
        .flat_map(|made| made.resources.iter().cloned())
        .collect();
    let (table, clusters) = cache.table(&accepted, options);
    resources.push(table);
    resources.push(Arc::new(listener::listener(scope, options)));
    for filter in filters::all(&accepted, scope, options)? {
        resources.push(Arc::new(filter.requiring_all(clusters.clone())));
    }
    Ok(Translated {
        snapshot: Snapshot::new(resources)?,
        rejected,
    })
}
