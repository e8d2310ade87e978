//! The Service, the port and the subset by which requests reach a version.
//!
//! A Service in front of several versions needs a subset for each; a Service that is itself the carrier of a version needs none.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{ModelId, Version, names};
use headgate_model::{
    Carrier, CarrierKey, Labels, MeshService, ModelKey, NamespacePlan, Objects, PlannedVariant,
};

use crate::findings::{Bypass, Problem};
use crate::options::Options;
use crate::subset_labels::{Member, behind, subset_labels};

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
    /// The ways past the filter to models with a route, each with the Service to use in its place.
    pub(crate) bypasses: BTreeMap<(ModelId, Bypass), String>,
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
pub(crate) fn hosts(
    namespace: &str,
    plan: &NamespacePlan,
    objects: &Objects,
    options: &Options,
) -> Hosts {
    let mut found = Found::default();
    for (id, model) in &plan.models {
        for (version, variant) in &model.variants {
            found.add_version(id, version, variant, objects);
        }
    }
    found.add_subsets(namespace, objects, options);
    let Found {
        mut hosts,
        mut problems,
        bypasses,
        ..
    } = found;
    // A version without a route has a finding that names its Service.
    for (key, bypass) in bypasses {
        if let Some(target) = hosts.target(&key, None) {
            hosts.bypasses.insert((key.0, bypass), target.service);
        }
    }
    for (id, model) in &plan.models {
        for version in model.variants.keys() {
            let key = (id.clone(), version.clone());
            let mut services = hosts.services.values();
            if services.any(|host| host.versions.contains_key(&key)) {
                continue;
            }
            let problem = problems.remove(&key);
            let problem = problem.unwrap_or(Problem::NoService);
            hosts.problems.push((key.0, key.1, problem));
        }
    }
    hosts
}

/// The Services as they are found.
#[derive(Default)]
struct Found<'a> {
    hosts: Hosts,
    /// Why a Service does not reach a version, of the first such Service.
    problems: BTreeMap<(ModelId, Version), Problem>,
    /// The ways to each version past the filter.
    bypasses: BTreeSet<((ModelId, Version), Bypass)>,
    /// The versions that need a subset of a Service.
    members: Vec<(String, Member<'a>)>,
}

impl<'a> Found<'a> {
    fn add_version(
        &mut self,
        id: &'a ModelId,
        version: &'a Version,
        variant: &'a PlannedVariant,
        objects: &'a Objects,
    ) {
        let carriers = carriers(variant, objects);
        let services = carriers.iter().flat_map(|carrier| &carrier.mesh.services);
        let names: BTreeSet<&str> = services.map(|service| service.name.as_str()).collect();
        let key = (id.clone(), version.clone());
        for name in names {
            let of = |carrier: &&'a Carrier| -> Option<&'a MeshService> {
                let mut services = carrier.mesh.services.iter();
                services.find(|service| service.name == name)
            };
            let all: Vec<Option<&MeshService>> = carriers.iter().map(of).collect();
            let problem = match self.add_service(&key, name, &all) {
                Some(problem) => problem,
                None if carriers.iter().all(|carrier| is_service(carrier, name)) => {
                    if let Some(host) = self.hosts.services.get_mut(name) {
                        host.versions.insert(key.clone(), None);
                    }
                    continue;
                }
                None => {
                    let carriers = carriers.clone();
                    let member = Member {
                        id,
                        version,
                        carriers,
                    };
                    self.members.push((name.to_owned(), member));
                    continue;
                }
            };
            self.add_problem(key.clone(), problem);
        }
    }

    /// The first problem counts. A Service for something else than requests says the least.
    fn add_problem(&mut self, key: (ModelId, Version), problem: Problem) {
        let known = self.problems.entry(key).or_insert_with(|| problem.clone());
        if matches!(known, Problem::NoPort(_)) {
            *known = problem;
        }
    }

    /// Adds a Service, as each carrier of a version has it; the result is why it does not reach the version.
    fn add_service(
        &mut self,
        key: &(ModelId, Version),
        name: &str,
        all: &[Option<&MeshService>],
    ) -> Option<Problem> {
        let service = name.to_owned();
        let some: Vec<&MeshService> = all.iter().copied().flatten().collect();
        if some.iter().any(|service| service.headless) {
            let bypass = Bypass::Headless { service };
            self.bypasses.insert((key.clone(), bypass));
            return Some(Problem::Headless(name.to_owned()));
        }
        let ports = some.iter().flat_map(|service| &service.ports);
        let (http, others): (Vec<_>, Vec<_>) = ports.partition(|port| port.http);
        self.bypasses.extend(others.iter().map(|port| {
            let (service, port) = (service.clone(), port.number);
            (key.clone(), Bypass::NotHttp { service, port })
        }));
        if http.is_empty() {
            return Some(match others.first() {
                Some(port) => Problem::NotHttp(name.to_owned(), port.number),
                None => Problem::NoPort(name.to_owned()),
            });
        }
        let host = self.hosts.services.entry(service).or_default();
        host.models.insert(key.0.clone());
        host.ports
            .extend(http.iter().map(|port| (port.number, port.target)));
        let whole = all
            .iter()
            .all(|one| one.is_some_and(|service| service.selects_all));
        (!whole).then(|| Problem::Missed(name.to_owned()))
    }

    /// Adds the subsets. Their labels depend on everything that is behind a Service.
    fn add_subsets(&mut self, namespace: &str, objects: &Objects, options: &Options) {
        let behind = behind(of_namespace(objects, namespace));
        for (service, member) in std::mem::take(&mut self.members) {
            let Some(host) = self.hosts.services.get_mut(&service) else {
                continue;
            };
            let several = host.models.len() > 1;
            let key = (member.id.clone(), member.version.clone());
            let behind = behind.get(service.as_str()).map_or(&[][..], Vec::as_slice);
            match subset_labels(&member, behind, several, options) {
                Some(labels) => {
                    let name = match several {
                        true => names::shared_subset(key.0.as_str(), key.1.as_str()),
                        false => names::subset(key.1.as_str()),
                    };
                    host.versions.insert(key, Some((name, labels)));
                }
                None => self.add_problem(key, Problem::NoLabels(service)),
            }
        }
    }
}

fn carriers<'a>(variant: &PlannedVariant, objects: &'a Objects) -> Vec<&'a Carrier> {
    let keys = variant.carriers.iter();
    keys.filter_map(|key| objects.carriers.get(key)).collect()
}

fn is_service(carrier: &Carrier, name: &str) -> bool {
    carrier.key.kind == "service" && carrier.key.name == name
}

fn of_namespace<'a>(
    objects: &'a Objects,
    namespace: &str,
) -> impl Iterator<Item = (&'a CarrierKey, &'a Carrier)> {
    let first = CarrierKey {
        namespace: namespace.to_owned(),
        kind: String::new(),
        name: String::new(),
    };
    let namespace = namespace.to_owned();
    let carriers = objects.carriers.range(first..);
    carriers.take_while(move |(key, _)| key.namespace == namespace)
}

impl Hosts {
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

/// The key of a model.
pub(crate) fn model_key(namespace: &str, id: &ModelId) -> ModelKey {
    (namespace.to_owned(), id.clone())
}
