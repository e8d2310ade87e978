//! What was made before: a publication encodes what changed, and takes the rest from here.
//!
//! Invariant: the cache never shows. What comes out of it is what would be made anew, because everything a made
//! thing depends on is compared before it is used again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::{Cors, ModelId, Version};
use headgate_model::{Plan, PlannedModel};
use headgate_xds::{Kind, Resource, ResourceKey};

use crate::scope::Options;
use crate::validate::{Accepted, model_alone};
use crate::{clusters, cors, endpoints, routes};

/// What earlier snapshots were made of. One for all scopes of a process.
#[derive(Debug, Default)]
pub struct Cache {
    connect_timeout: Duration,
    upstream_ca: String,
    models: BTreeMap<String, BTreeMap<ModelId, Arc<Made>>>,
    table: Option<Table>,
}

/// A model, made.
#[derive(Debug)]
pub(crate) struct Made {
    planned: PlannedModel,
    /// Whether the filters would take it, or why not.
    pub(crate) verdict: Result<(), String>,
    /// Its clusters and their endpoints; none if it was refused.
    pub(crate) resources: Vec<Arc<Resource>>,
}

/// The newest route table, and what it was made from.
#[derive(Debug)]
struct Table {
    shape: Shape,
    resource: Arc<Resource>,
    clusters: Arc<[ResourceKey]>,
}

/// All that a route table depends on. Weights and endpoints are not there.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    domains: BTreeMap<String, Vec<String>>,
    idle_timeout: Duration,
    served: BTreeMap<String, Served>,
    cors: BTreeMap<String, Cors>,
}

/// The versions of each model, and whether any of their endpoints has a DNS name.
type Served = BTreeMap<ModelId, Vec<(Version, bool)>>;

impl Cache {
    /// Makes what changed since the last plan and forgets what is gone.
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
            let made = self.models.entry(name.clone()).or_default();
            made.retain(|id, _| view.models.contains_key(id));
            for (id, planned) in &view.models {
                if made.get(id).is_none_or(|made| made.planned != *planned) {
                    let new = Made::of(name, id, planned, options, made.get(id).map(|m| &**m));
                    made.insert(id.clone(), Arc::new(new));
                }
            }
        }
    }

    /// The model of the newest plan, made.
    pub(crate) fn model(&self, namespace: &str, id: &ModelId) -> Option<&Arc<Made>> {
        self.models.get(namespace)?.get(id)
    }

    /// The accepted models, made.
    pub(crate) fn models<'a>(
        &'a self,
        accepted: &'a Accepted<'_>,
    ) -> impl Iterator<Item = &'a Arc<Made>> {
        let views = accepted.iter();
        let ids = views.flat_map(|(name, view)| view.models.keys().map(move |id| (*name, *id)));
        ids.filter_map(|(name, id)| self.model(name, id))
    }

    /// The route table, and the clusters it and the filters send traffic to.
    pub(crate) fn table(
        &mut self,
        accepted: &Accepted<'_>,
        options: &Options,
    ) -> (Arc<Resource>, Arc<[ResourceKey]>) {
        let shape = shape(accepted, options);
        if let Some(table) = self.table.as_ref().filter(|table| table.shape == shape) {
            return (table.resource.clone(), table.clusters.clone());
        }
        let clusters: Arc<[ResourceKey]> =
            self.models(accepted).flat_map(|m| m.clusters()).collect();
        let resource = routes::table(accepted, options).requiring_all(clusters.clone());
        let resource = Arc::new(resource);
        self.table = Some(Table {
            shape,
            resource: resource.clone(),
            clusters: clusters.clone(),
        });
        (resource, clusters)
    }
}

impl Made {
    fn of(
        namespace: &str,
        id: &ModelId,
        planned: &PlannedModel,
        options: &Options,
        before: Option<&Self>,
    ) -> Self {
        let verdict = model_alone(id, planned);
        let mut resources = Vec::new();
        if verdict.is_ok() {
            resources = clusters::of_model(namespace, id.as_str(), planned, options);
            resources.extend(endpoints::of_model(namespace, id.as_str(), planned));
        }
        let old = |new: &Resource| {
            let mut all = before.into_iter().flat_map(|b| &b.resources);
            let same = all.find(|old| old.key() == new.key() && old.version() == new.version());
            same.cloned()
        };
        Self {
            planned: planned.clone(),
            verdict,
            resources: resources
                .into_iter()
                .map(|new| old(&new).unwrap_or_else(|| Arc::new(new)))
                .collect(),
        }
    }

    /// The keys of its clusters.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = ResourceKey> {
        let clusters = self.resources.iter().filter(|r| r.kind() == Kind::Cluster);
        clusters.map(|cluster| cluster.key().clone())
    }
}

fn shape(accepted: &Accepted<'_>, options: &Options) -> Shape {
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
    Shape {
        cors: cors.collect(),
        domains: options.domains.clone(),
        idle_timeout: options.idle_timeout,
        served: served.collect(),
    }
}
