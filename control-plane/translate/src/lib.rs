//! Plan → xDS resources: pure, ordered, hashed. The last stage before bytes go to a proxy.
//!
//! ```text
//! plan ──▶ validate (each model alone) ──▶ clusters, endpoints, routes, listener, filters ──▶ Snapshot
//!                  └──── cache: unchanged resources are not encoded again ────┘
//! ```
//!
//! Invariant: equal plans give equal bytes, on every replica and in every process. A snapshot contains every cluster that it names,
//! except one that is meant not to exist (`actions::missing_cluster`). A model that cannot be served is left out and reported; the rest
//! goes out. `tests/resources/snapshots` has the resources of small plans in YAML.

mod actions;
mod cache;
mod clusters;
mod cors;
mod endpoints;
mod filters;
mod jwks;
mod jwt;
mod listener;
mod listener_filters;
mod listener_tls;
mod matching;
mod ordered;
mod proto;
pub mod provenance;
mod routes;
mod scope;
mod selection;
mod tls;
mod upstreams;
mod validate;
mod view;

use std::sync::Arc;

use headgate_contract::{AuthenticationPolicySpec, PolicySpec as _, TokenBucketPolicySpec};
use headgate_model::{Plan, PolicyId, PolicyRevision};
use headgate_xds::{Inconsistent, OriginObject, Resource, Snapshot};

pub use cache::Cache;
pub use filters::{FILTERS, Filter};
pub use listener_tls::{
    ClientCertificates, Http3, ListenerCertificateSource, ListenerSecrets, ListenerTls,
};
pub use provenance::variants;
pub use scope::{Code, Options, ScopeSpec};
pub use selection::{LeftOut, Rejected};

/// The resources of a scope, and the parts of the plan that were left out.
#[derive(Debug)]
pub struct Translated {
    /// The consistent set of resources.
    pub snapshot: Snapshot,
    /// Models, buckets and hosts left out, with the reasons.
    pub rejected: Vec<Rejected>,
}

/// The reason why no snapshot can be made. The caller keeps the last one.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// The filters would refuse their configuration.
    #[error("the filters would refuse their configuration: {0}")]
    FilterConfig(#[from] headgate_contract::ConfigError),
    /// Resources contradict each other.
    #[error("the snapshot is inconsistent: {0}")]
    Inconsistent(#[from] Inconsistent),
}

/// Builds the snapshot of one scope. It is encoded once and shared by all proxies of the scope.
///
/// # Errors
/// [`TranslateError`] if the filters refuse even the configuration of the valid part.
pub fn snapshot(
    plan: &Plan,
    scope: &ScopeSpec,
    options: &Options,
) -> Result<Translated, TranslateError> {
    snapshot_with(&mut Cache::default(), plan, scope, options)
}

/// As [`snapshot`], with the unchanged resources of earlier plans and other scopes from `cache`. The result is the same.
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
    let (accepted, rejected) = selection::select(plan, scope, cache);
    let models = cache.models(&accepted);
    let mut resources: Vec<Arc<Resource>> = models
        .flat_map(|model| model.resources.iter().cloned())
        .collect();
    let (table, clusters) = cache.table(&accepted, options);
    let (authentication, policies) = origins(plan, scope, &rejected);
    let models = cache.models(&accepted);
    let models = models.flat_map(|m| m.origins.filters.iter().cloned());
    let origin = provenance::sorted(policies.into_iter().chain(models));
    resources.push(table);
    resources.extend(listener::all(scope, options).into_iter().map(Arc::new));
    let jwks = jwks::clusters(&accepted, &authentication, options);
    let filter = jwt::filter(&accepted).requiring(jwks.iter().map(|cluster| cluster.key().clone()));
    let filter = filter.with_origin(provenance::sorted(authentication));
    resources.extend(jwks.into_iter().chain([filter]).map(Arc::new));
    for filter in filters::all(&accepted, scope, options)? {
        let filter = filter.requiring_all(clusters.clone());
        resources.push(Arc::new(filter.with_origin(origin.clone())));
    }
    Ok(Translated {
        snapshot: Snapshot::new(resources)?,
        rejected,
    })
}

/// The origins of the filter configurations: the policies in the configuration of `jwt_authn`, then the policies in the configurations of
/// Headgate's filters. If a part of a policy was left out, the policy is in neither list: a proxy that accepts the configuration does not
/// run the whole policy.
fn origins(
    plan: &Plan,
    scope: &ScopeSpec,
    rejected: &[Rejected],
) -> (Vec<Arc<OriginObject>>, Vec<Arc<OriginObject>>) {
    let is_left_out = |id: &PolicyId| {
        rejected.iter().any(|rejected| match &rejected.what {
            LeftOut::Bucket { policy, .. } => {
                id.kind == TokenBucketPolicySpec::KIND && id.in_rules() == *policy
            }
            LeftOut::Model(_) | LeftOut::Host(_) => false,
        })
    };
    let reach = scope.reach(plan);
    let is_in_scope = |id: &PolicyId| {
        let outcome = plan.policies.get(id);
        outcome.is_some_and(|o| reach.iter().any(|n| o.namespaces.contains(*n)))
    };
    let policies = plan.policy_revisions.iter();
    let policies = policies.filter(|(id, _)| is_in_scope(id) && !is_left_out(id));
    let (authentication, filters): (Vec<_>, Vec<_>) =
        policies.partition(|(id, _)| id.kind == AuthenticationPolicySpec::KIND);
    let objects = |policies: Vec<(&PolicyId, &PolicyRevision)>| {
        let policies = policies.into_iter();
        let objects = policies.map(|(id, revision)| Arc::new(provenance::policy(id, revision)));
        objects.collect()
    };
    (objects(authentication), objects(filters))
}
