//! Plan → xDS resources: pure, ordered, hashed. The last stage before bytes leave for a proxy.
//!
//! ```text
//! plan ──▶ vet (each model alone) ──▶ clusters, endpoints, routes, listener, filters ──▶ Snapshot
//! ```
//!
//! Invariant: equal plans give equal bytes, on every replica and in every process; a snapshot names no cluster
//! that it does not hold. A model that cannot be served is left out and reported, the rest goes out.

mod clusters;
mod endpoints;
mod filters;
mod listener;
mod ordered;
mod routes;
mod scope;
mod vet;

use headgate_model::Plan;
use headgate_xds::{Inconsistent, Snapshot};

pub use filters::FilterModule;
pub use scope::{Code, Modules, Options, ScopeSpec};
pub use vet::Rejected;

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
/// [`TranslateError`] when not even the vetted rest makes a configuration that the filters accept.
pub fn snapshot(
    plan: &Plan,
    scope: &ScopeSpec,
    options: &Options,
) -> Result<Translated, TranslateError> {
    let (accepted, rejected) = vet::accepted(plan, scope);
    let mut resources = Vec::new();
    let mut clusters = Vec::new();
    for (namespace, view) in &accepted {
        for (model, planned) in &view.models {
            for cluster in clusters::of_model(namespace, model.as_str(), planned, options) {
                clusters.push(cluster.key().clone());
                resources.push(cluster);
            }
            resources.extend(endpoints::of_model(namespace, model.as_str(), planned));
        }
    }
    resources.push(routes::table(&accepted, options).requiring(clusters.clone()));
    resources.push(listener::listener(scope, options));
    for filter in filters::all(&accepted, scope, options)? {
        resources.push(filter.requiring(clusters.clone()));
    }
    Ok(Translated {
        snapshot: Snapshot::new(resources)?,
        rejected,
    })
}
