//! Models: the planned weights, and the plan that the filters of each proxy run.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version, names};
use headgate_model::{Plan, PlannedModel, VariantKey};
use headgate_xds::fleet::{Progress, Proxy};
use headgate_xds::{Kind, Origin};

use super::carriers::Carriers;
use super::proxies::wait_reason;
use super::query::Query;
use super::{
    AgeTracker, BaseReport, Count, ModelReport, ProxyModelReport, UnreachableReport, VersionReport,
    percent, seconds,
};
use headgate_publisher::{
    ConfiguredModel, Published, SnapshotStore, UnreachableVersion, filter_configurations,
    plan_revision,
};

/// The filters of all connected proxies.
pub(super) struct ConnectedFilters<'a>(Vec<ProxyFilters<'a>>);

/// The filters of one proxy: one with both stages, or one for each stage.
struct ProxyFilters<'a> {
    proxy: &'a Proxy,
    progress: &'a Progress,
    /// Version of the configuration that the filter that picks versions ACKed; empty if none.
    acked: &'a str,
    acked_at: Option<f64>,
    /// The origin of that configuration; `None` if it is unknown.
    origin: Option<&'a Origin>,
    /// The origins of the configurations of its other filters. A proxy runs a plan only if all its filters do.
    other_origins: Vec<Option<&'a Origin>>,
    /// The namespaces of its scope.
    namespaces: BTreeSet<String>,
}

impl<'a> ConnectedFilters<'a> {
    pub(super) fn new(scopes: &SnapshotStore, proxies: &'a [Proxy]) -> Self {
        let filters = proxies.iter().filter_map(|proxy| {
            let progress = proxy.kinds.get(&Kind::Extension)?;
            let filters = || filter_configurations(&progress.status);
            let picks = |name: &str| [names::ECDS_FUSED, names::ECDS_TRAFFIC_TAG].contains(&name);
            let picking = filters().find(|(name, _)| picks(name));
            let (name, acked) = picking.or_else(|| filters().next()).unzip();
            let origin = acked.map(|acked| &acked.origin);
            let acked = acked.map_or("", |acked| &*acked.acked);
            let known = |origin: &&Origin| origin.is_known();
            let at = name.and_then(|name| progress.acked_at.get(name));
            let others = filters().filter(|(other, _)| Some(*other) != name);
            Some(ProxyFilters {
                proxy,
                progress,
                acked,
                acked_at: at.copied().map(seconds).filter(|_| !acked.is_empty()),
                origin: origin.filter(known),
                other_origins: others
                    .map(|(_, other)| Some(&other.origin).filter(known))
                    .collect(),
                namespaces: scopes.namespaces(&proxy.scope).unwrap_or_default(),
            })
        });
        Self(filters.collect())
    }
}

impl ProxyFilters<'_> {
    /// Whether all filters run the plan of a model that has this revision.
    fn run(&self, namespace: &str, id: &ModelId, plan: &str) -> bool {
        let runs = |origin: &Option<&Origin>| {
            let model = origin.and_then(|origin| ConfiguredModel::find(origin, namespace, id));
            model.is_some_and(|model| model.plan_revision() == plan)
        };
        runs(&self.origin) && self.other_origins.iter().all(runs)
    }
}

/// The models that the query selects.
pub(super) fn models(
    published: &Published,
    filters: &ConnectedFilters<'_>,
    carriers: &Carriers<'_>,
    ages: &AgeTracker,
    query: &Query,
) -> Vec<ModelReport> {
    all(&published.plan)
        .filter(|(namespace, id, planned)| {
            query.matches(namespace, id.as_str(), &planned.plan.names)
        })
        .map(|(namespace, id, planned)| {
            let proxies = proxy_rows(namespace, id, planned, filters);
            let mut report = ModelReport {
                namespace: namespace.clone(),
                model: id.to_string(),
                names: planned.plan.names.clone(),
                scale_percent: planned.plan.scale.map_or(100, |s| s.percent),
                default_max_tokens: planned.plan.default_max_tokens.tokens(),
                carriers: carriers.of(namespace, id, planned),
                versions: versions(namespace, id, planned, &proxies, ages),
                acked: Count {
                    current: proxies.iter().filter(|p| p.state == "acked").count(),
                    total: proxies.len(),
                },
                base: base(published, namespace, id, planned),
                converged: None,
                proxies,
            };
            report.converged = report.has_converged();
            report
        })
        .collect()
}

/// Sets the versions that proxies cannot reach.
pub(super) fn set_unreachable(
    models: &mut [ModelReport],
    unreachable: &BTreeMap<VariantKey, UnreachableVersion>,
) {
    for ((namespace, id, version), found) in unreachable {
        let same =
            |model: &&mut ModelReport| model.namespace == *namespace && model.model == id.as_str();
        let versions = models.iter_mut().filter(same).flat_map(|m| &mut m.versions);
        for report in versions.filter(|v| v.version == version.as_str()) {
            report.unreachable = Some(UnreachableReport {
                proxies: Count {
                    current: found.proxies,
                    total: found.reporting_proxies,
                },
                since: seconds(found.since),
            });
        }
    }
}

/// The stored base of the model.
fn base(
    published: &Published,
    namespace: &str,
    id: &ModelId,
    planned: &PlannedModel,
) -> Vec<BaseReport> {
    let served = &published.observed.objects.served_models;
    let served = served.get(&(namespace.to_owned(), id.clone()));
    let refused = planned.memory_update.refused_base.is_some();
    let memory = served.map(|served| served.effective_memory(refused));
    let base = memory.into_iter().flat_map(|memory| memory.base);
    base.map(|(carrier, stored)| BaseReport {
        carrier: carrier.clone(),
        versions: stored.versions.iter().map(ToString::to_string).collect(),
        undeclared_since: stored.undeclared_since,
    })
    .collect()
}

fn all(plan: &Plan) -> impl Iterator<Item = (&String, &ModelId, &PlannedModel)> {
    let namespaces = plan.namespaces.iter();
    namespaces.flat_map(|(name, view)| view.models.iter().map(move |(id, model)| (name, id, model)))
}

fn versions(
    namespace: &str,
    id: &ModelId,
    planned: &PlannedModel,
    proxies: &[ProxyModelReport],
    ages: &AgeTracker,
) -> Vec<VersionReport> {
    let variants = planned.variants.iter();
    variants
        .map(|(version, variant)| {
            let acked = |held: &ProxyModelReport| {
                let percent = held.weights.as_ref()?.get(version.as_str())?;
                Some((held.proxy.clone(), *percent))
            };
            VersionReport {
                version: version.to_string(),
                weight_wanted: percent(variant.share),
                planned_since: ages.share(namespace, id, version),
                weight_acked: proxies.iter().filter_map(acked).collect(),
                endpoints: Count {
                    current: variant.endpoints.len(),
                    total: variant.total_endpoints as usize,
                },
                carriers: variant.carriers.iter().map(ToString::to_string).collect(),
                unreachable: None,
                waits_for_routes: planned
                    .waiting_for_routes()
                    .is_some_and(|waiting| waiting.contains(version)),
            }
        })
        .collect()
}

/// The state of a model at every proxy whose scope includes the namespace.
fn proxy_rows(
    namespace: &str,
    id: &ModelId,
    planned: &PlannedModel,
    filters: &ConnectedFilters<'_>,
) -> Vec<ProxyModelReport> {
    let plan = plan_revision(&planned.plan);
    let filters = filters.0.iter();
    filters
        .filter(|filters| filters.namespaces.contains(namespace))
        .map(|filters| {
            let find = |origin| ConfiguredModel::find(origin, namespace, id);
            let (state, message) = if filters.run(namespace, id, &plan) {
                ("acked", None)
            } else {
                pending_state(namespace, id, planned, filters)
            };
            ProxyModelReport {
                proxy: filters.proxy.peer.id.clone(),
                state: state.to_owned(),
                message,
                config: filters.acked.to_owned(),
                acked_at: filters.acked_at,
                weights: filters
                    .origin
                    .map(|origin| find(origin).map(weights).unwrap_or_default()),
            }
        })
        .collect()
}

fn weights(model: ConfiguredModel<'_>) -> BTreeMap<String, f64> {
    let weights = model.weights();
    weights
        .map(|(version, share)| (version.to_owned(), percent(share)))
        .collect()
}

/// Why a proxy does not run the plan of a model yet: it rejected the configuration of its filters or a cluster of the model, or
/// the update waits for another resource, or it is on its way.
fn pending_state(
    namespace: &str,
    id: &ModelId,
    planned: &PlannedModel,
    filters: &ProxyFilters<'_>,
) -> (&'static str, Option<String>) {
    let status = &filters.progress.status;
    if let Some((name, nack)) = status.nacked.iter().next() {
        return ("nacked", Some(format!("{name}: {}", nack.message)));
    }
    let variant =
        |version: &Version| names::variant_cluster(namespace, id.as_str(), version.as_str());
    let own = planned.variants.keys().map(variant);
    let mut own = own.chain([names::model_cluster(namespace, id.as_str())]);
    let kinds = filters.proxy.kinds.values();
    let nacked = || kinds.clone().map(|progress| &progress.status.nacked);
    let rejected = |name: String| nacked().find_map(|nacked| nacked.get_key_value(&*name));
    if let Some((name, nack)) = own.find_map(rejected) {
        return ("nacked", Some(format!("{name}: {}", nack.message)));
    }
    match status.waiting.values().next() {
        Some(wait) => ("waiting", Some(wait_reason(wait))),
        None => ("pending", None),
    }
}
