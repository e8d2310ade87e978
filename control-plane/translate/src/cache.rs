//! Cache of encoded resources: a publication encodes only what changed.
//!
//! Invariant: the cache does not change the result. A cached resource is used only if everything on which it depends is equal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::{Cors, ModelId, Version};
use headgate_model::{Plan, PlannedModel};
use headgate_xds::{Kind, Origin, Resource, ResourceKey};

use crate::provenance::ModelOrigins;
use crate::scope::Options;
use crate::view::Accepted;
use crate::{clusters, cors, endpoints, routes, validate};

/// The parts of earlier snapshots. One cache serves all scopes of a process.
#[derive(Debug, Default)]
pub struct Cache {
    connect_timeout: Duration,
    upstream_ca: String,
    models: BTreeMap<String, BTreeMap<ModelId, Arc<CachedModel>>>,
    table: Option<CachedTable>,
}

/// A model with its resources.
#[derive(Debug)]
pub(crate) struct CachedModel {
    planned: PlannedModel,
    /// Whether the filters accept it, or the reason why not.
    pub(crate) validity: Result<(), String>,
    /// Its clusters and their endpoints; empty if it is invalid.
    pub(crate) resources: Vec<Arc<Resource>>,
    /// The objects that resources are made from.
    pub(crate) origins: ModelOrigins,
}

/// The last route table, and its inputs.
#[derive(Debug)]
struct CachedTable {
    inputs: TableInputs,
    resource: Arc<Resource>,
    clusters: Arc<[ResourceKey]>,
}

/// The inputs of a route table. It does not depend on weights and endpoints.
#[derive(Debug, PartialEq, Eq)]
struct TableInputs {
    domains: BTreeMap<String, Vec<String>>,
    idle_timeout: Duration,
    served: BTreeMap<String, Served>,
    cors: BTreeMap<String, Cors>,
    /// The prefixes of the paths that are served.
    prefixes: BTreeMap<String, Vec<String>>,
}

/// The versions of each model, and whether any of their endpoints has a DNS name.
type Served = BTreeMap<ModelId, Vec<(Version, bool)>>;

impl Cache {
    /// Translates models that changed since the last plan, and forgets those that are gone.
    pub(crate) fn refresh(&mut self, plan: &Plan, options: &Options) {
        let (timeout, ca) = (options.connect_timeout, &options.upstream_ca);
        if self.connect_timeout != timeout || self.upstream_ca != *ca {
            self.models.clear();
            self.connect_timeout = timeout;
            self.upstream_ca.clone_from(ca);
        }
        self.models
            .retain(|name, _| plan.namespaces.contains_key(name));
        for (name, view) in &plan.namespaces {
            let cached = self.models.entry(name.clone()).or_default();
            cached.retain(|id, _| view.models.contains_key(id));
            for (id, planned) in &view.models {
                let before = cached.get(id).map(|model| &**model);
                if before.is_none_or(|before| before.planned != *planned) {
                    let model = CachedModel::of(name, id, planned, options, before);
                    cached.insert(id.clone(), Arc::new(model));
                }
            }
        }
    }

    /// A model of the last plan.
    pub(crate) fn model(&self, namespace: &str, id: &ModelId) -> Option<&Arc<CachedModel>> {
        self.models.get(namespace)?.get(id)
    }

    /// The accepted models.
    pub(crate) fn models<'a>(
        &'a self,
        accepted: &'a Accepted<'_>,
    ) -> impl Iterator<Item = &'a Arc<CachedModel>> {
        let views = accepted.iter();
        let ids = views.flat_map(|(name, view)| view.models.keys().map(move |id| (*name, *id)));
        ids.filter_map(|(name, id)| self.model(name, id))
    }

    /// The route table, and the clusters to which it and the filters send traffic.
    pub(crate) fn table(
        &mut self,
        accepted: &Accepted<'_>,
        options: &Options,
    ) -> (Arc<Resource>, Arc<[ResourceKey]>) {
        let inputs = table_inputs(accepted, options);
        let objects = self.models(accepted);
        let origin = Origin::new(objects.flat_map(|m| m.origins.routes.iter().cloned()));
        if let Some(table) = self.table.as_mut().filter(|table| table.inputs == inputs) {
            if *table.resource.origin() != origin {
                let resource = Resource::clone(&table.resource).with_origin(origin);
                table.resource = Arc::new(resource);
            }
            return (table.resource.clone(), table.clusters.clone());
        }
        let clusters: Arc<[ResourceKey]> =
            self.models(accepted).flat_map(|m| m.clusters()).collect();
        let resource = routes::table(accepted, options).requiring_all(clusters.clone());
        let resource = Arc::new(resource.with_origin(origin));
        self.table = Some(CachedTable {
            inputs,
            resource: resource.clone(),
            clusters: clusters.clone(),
        });
        (resource, clusters)
    }
}

impl CachedModel {
    fn of(
        namespace: &str,
        id: &ModelId,
        planned: &PlannedModel,
        options: &Options,
        before: Option<&Self>,
    ) -> Self {
        let validity = validate::model(id, planned);
        let mut resources = Vec::new();
        if validity.is_ok() {
            resources = clusters::of_model(namespace, id.as_str(), planned, options);
            resources.extend(endpoints::of_model(namespace, id.as_str(), planned));
        }
        let origins = ModelOrigins::of(namespace, id, planned);
        let unchanged = |new: &Resource| {
            let mut all = before.into_iter().flat_map(|b| &b.resources);
            let same = all.find(|old| {
                old.key() == new.key()
                    && old.version() == new.version()
                    && old.origin() == new.origin()
            });
            same.cloned()
        };
        let with_origin = |resource: Resource| {
            let origin = origins.clusters.get(resource.name()).cloned();
            resource.with_origin(origin.unwrap_or_default())
        };
        let resources = resources.into_iter().map(with_origin);
        Self {
            planned: planned.clone(),
            validity,
            resources: resources
                .map(|new| unchanged(&new).unwrap_or_else(|| Arc::new(new)))
                .collect(),
            origins,
        }
    }

    /// The keys of its clusters.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = ResourceKey> {
        let clusters = self.resources.iter().filter(|r| r.kind() == Kind::Cluster);
        clusters.map(|cluster| cluster.key().clone())
    }
}

fn table_inputs(accepted: &Accepted<'_>, options: &Options) -> TableInputs {
    let served = accepted.iter().map(|(name, view)| {
        let models = view.models.iter().map(|(id, planned)| {
            let versions = planned.variants.iter();
            let versions = versions.map(|(version, v)| (version.clone(), v.upstream.by_name));
            ((*id).clone(), versions.collect())
        });
        ((*name).to_owned(), models.collect())
    });
    let cors = accepted
        .iter()
        .filter_map(|(name, view)| Some(((*name).to_owned(), cors::of(view)?.clone())));
    let prefixes = accepted.iter();
    let prefixes = prefixes.map(|(name, view)| ((*name).to_owned(), routes::prefixes(view)));
    TableInputs {
        cors: cors.collect(),
        prefixes: prefixes.collect(),
        domains: options.domains.clone(),
        idle_timeout: options.idle_timeout,
        served: served.collect(),
    }
}
