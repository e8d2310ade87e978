//! The Service, the port and the subset by which requests reach a version.
//!
//! A Service in front of several versions needs a subset for each; a Service that is itself the carrier of a version needs none.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version, names};
use headgate_model::{
    CarrierKey, CarrierMesh, Labels, MeshService, ModelKey, NamespacePlan, Objects, PlannedVariant,
};

use crate::findings::Problem;
use crate::options::Options;

/// A Service in front of models, by name, in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Host {
    /// The numbers of its ports that lead to serving ports, with these.
    pub(crate) ports: BTreeMap<u16, u16>,
    /// The models with pods behind it.
    pub(crate) models: BTreeSet<ModelId>,
    /// The subset of each version that it selects as a whole: its name and labels; `None` if the Service is the version's carrier.
    pub(crate) versions: BTreeMap<(ModelId, Version), Option<(String, Labels)>>,
}

/// The Services of a namespace in front of models, and the versions that none reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hosts {
    pub(crate) services: BTreeMap<String, Host>,
    pub(crate) problems: Vec<(ModelId, Version, Problem)>,
}

/// The place to which a version's requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name of the Service.
    pub(crate) service: String,
    /// The number of its port.
    pub(crate) port: u16,
    /// The name of the subset.
    pub(crate) subset: Option<String>,
}

/// The Services of a namespace.
pub(crate) fn hosts(plan: &NamespacePlan, objects: &Objects, options: &Options) -> Hosts {
    let mut hosts = Hosts::default();
    for (id, model) in &plan.models {
        for (version, variant) in &model.variants {
            add_version(&mut hosts, id, version, variant, objects, options);
        }
    }
    name_subsets(&mut hosts.services);
    let unreached = plan.models.iter().flat_map(|(id, model)| {
        let versions = model.variants.keys();
        versions.map(move |version| (id.clone(), version.clone()))
    });
    let unreached: Vec<_> = unreached
        .filter(|key| {
            !hosts
                .services
                .values()
                .any(|host| host.versions.contains_key(key))
        })
        .filter(|(id, version)| {
            !hosts
                .problems
                .iter()
                .any(|(i, v, _)| (i, v) == (id, version))
        })
        .collect();
    let unreached = unreached
        .into_iter()
        .map(|(id, version)| (id, version, Problem::NoService));
    hosts.problems.extend(unreached);
    hosts
}

fn add_version(
    hosts: &mut Hosts,
    id: &ModelId,
    version: &Version,
    variant: &PlannedVariant,
    objects: &Objects,
    options: &Options,
) {
    let carriers: Vec<(&CarrierKey, &CarrierMesh)> = variant
        .carriers
        .iter()
        .filter_map(|key| Some((key, &objects.carriers.get(key)?.mesh)))
        .collect();
    let names: BTreeSet<&str> = carriers
        .iter()
        .flat_map(|(_, mesh)| &mesh.services)
        .map(|service| service.name.as_str())
        .collect();
    let labels = labels_of(version, &carriers, objects, options);
    let mut problem = None;
    for name in names {
        let of = |mesh: &'_ CarrierMesh| mesh.services.iter().find(|s| s.name == name).cloned();
        let all: Vec<Option<MeshService>> = carriers.iter().map(|(_, mesh)| of(mesh)).collect();
        let some: Vec<&MeshService> = all.iter().flatten().collect();
        if some.iter().any(|service| service.headless) {
            problem = problem.or(Some(Problem::Headless(name.to_owned())));
            continue;
        }
        let ports = some.iter().flat_map(|service| &service.ports);
        let (http, others): (Vec<_>, Vec<_>) = ports.partition(|port| port.http);
        if http.is_empty() {
            let not_http = others
                .first()
                .map(|port| Problem::NotHttp(name.to_owned(), port.number));
            problem = problem.or(not_http);
            continue;
        }
        let host = hosts.services.entry(name.to_owned()).or_default();
        host.models.insert(id.clone());
        host.ports
            .extend(http.iter().map(|port| (port.number, port.target)));
        let whole = all
            .iter()
            .all(|one| one.as_ref().is_some_and(|service| service.selects_all));
        if !whole {
            problem = problem.or(Some(Problem::Missed(name.to_owned())));
            continue;
        }
        let is_carrier = carriers
            .iter()
            .all(|(key, _)| key.kind == "service" && key.name == name);
        let key = (id.clone(), version.clone());
        match (&labels, is_carrier) {
            (_, true) => _ = host.versions.insert(key, None),
            (Some(labels), false) => {
                let subset = (names::subset(version.as_str()), labels.clone());
                host.versions.insert(key, Some(subset));
            }
            (None, false) => problem = problem.or(Some(Problem::NoLabels(name.to_owned()))),
        }
    }
    let key = (id.clone(), version.clone());
    let reached = hosts
        .services
        .values()
        .any(|host| host.versions.contains_key(&key));
    if let Some(problem) = problem.filter(|_| !reached) {
        hosts.problems.push((id.clone(), version.clone(), problem));
    }
}

/// The labels that all pods of a version have, and no pod of another: the version label, else the selector of its only carrier.
fn labels_of(
    version: &Version,
    carriers: &[(&CarrierKey, &CarrierMesh)],
    objects: &Objects,
    options: &Options,
) -> Option<Labels> {
    let pods = carriers.iter().flat_map(|(key, _)| {
        let carrier = objects.carriers.get(*key);
        carrier.into_iter().flat_map(|carrier| &carrier.pods)
    });
    let own = |pod: &headgate_model::Pod| pod.version.as_deref() == Some(version.as_str());
    let unlabelled = |pod: &headgate_model::Pod| pod.version.is_none();
    let pods: Vec<_> = pods.filter(|pod| own(pod) || unlabelled(pod)).collect();
    if !pods.is_empty() && pods.iter().all(|pod| own(pod)) {
        return Some([(options.keys.version.clone(), version.to_string())].into());
    }
    match carriers {
        [(_, mesh)] if !mesh.selector.is_empty() => Some(mesh.selector.clone()),
        _ => None,
    }
}

/// A Service in front of several models needs subsets that tell their versions apart: by the model label too.
fn name_subsets(services: &mut BTreeMap<String, Host>) {
    for host in services.values_mut().filter(|host| host.models.len() > 1) {
        for ((id, version), subset) in &mut host.versions {
            if let Some((name, _)) = subset {
                *name = names::shared_subset(id.as_str(), version.as_str());
            }
        }
    }
}

impl Hosts {
    /// Adds the model label to the subsets of Services in front of several models, where all pods have it.
    pub(crate) fn with_model_labels(mut self, labelled: &BTreeSet<ModelId>, key: &str) -> Self {
        for host in self
            .services
            .values_mut()
            .filter(|host| host.models.len() > 1)
        {
            for ((id, _), subset) in &mut host.versions {
                if let Some((_, labels)) = subset.as_mut().filter(|_| labelled.contains(id)) {
                    labels.insert(key.to_owned(), id.to_string());
                }
            }
        }
        self
    }

    /// Where requests for a version go that come to a port of a Service: through that Service if it selects the version, else through
    /// the version's own Service, else through the first that selects it.
    pub(crate) fn target(
        &self,
        key: &(ModelId, Version),
        on: Option<(&str, u16)>,
    ) -> Option<Target> {
        let of = |service: &str, host: &Host, port: u16| {
            let subset = host.versions.get(key)?;
            Some(Target {
                service: service.to_owned(),
                port,
                subset: subset.as_ref().map(|(name, _)| name.clone()),
            })
        };
        if let Some((service, port)) = on
            && let Some(target) = self
                .services
                .get(service)
                .and_then(|host| of(service, host, port))
        {
            return Some(target);
        }
        let others = self
            .services
            .iter()
            .filter(|(_, host)| host.versions.contains_key(key));
        // Its own Service first, then the one in front of the most versions.
        let best = others.min_by_key(|(name, host)| {
            let own = host.versions.get(key).is_some_and(Option::is_none);
            (
                !own,
                std::cmp::Reverse(host.versions.len()),
                (*name).clone(),
            )
        });
        let (service, host) = best?;
        let port = *host.ports.keys().next()?;
        of(service, host, port)
    }
}

/// The models all of whose pods have the model label.
pub(crate) fn labelled_models(plan: &NamespacePlan, objects: &Objects) -> BTreeSet<ModelId> {
    let models = plan.models.iter().filter(|(_, model)| {
        let mut carriers = model.carriers.iter();
        carriers.all(|carrier| {
            let carrier = objects.carriers.get(&carrier.key);
            carrier.is_some_and(|carrier| carrier.mesh.labels_model)
        })
    });
    models.map(|(id, _)| id.clone()).collect()
}

/// The key of a model.
pub(crate) fn model_key(namespace: &str, id: &ModelId) -> ModelKey {
    (namespace.to_owned(), id.clone())
}
