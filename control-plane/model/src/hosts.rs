//! The hosts of a namespace: the names of virtual hosts in a service mesh whose requests are for its models.
//!
//! Invariant: a host belongs to at most one namespace, and never to a namespace because of another namespace's Service.

use std::collections::{BTreeMap, BTreeSet};

use crate::host_rules::HostRules;
use crate::registry::Registry;
use crate::{CarrierKey, Finding, ModelRecord, Objects, Severity, reason};

/// The hosts of each namespace that declares a model, sorted.
pub(crate) fn of_namespaces(
    registry: &Registry,
    objects: &Objects,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, Vec<String>> {
    let rules = &registry.hosts;
    // Without a mesh, hosts have no effect.
    if rules.cluster_domain.is_none() {
        return BTreeMap::new();
    }
    let mut hosts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (namespace, models) in &registry.namespaces {
        let own = hosts.entry(namespace).or_default();
        let domains = rules.domains.get(namespace).into_iter().flatten();
        own.extend(
            domains
                .filter(|domain| !rules.names_service(domain))
                .map(|domain| normal(domain)),
        );
        let carriers = models.values().flat_map(|model| &model.carriers);
        own.extend(carriers.flat_map(|carrier| of_carrier(carrier, objects, rules)));
        for id in models.keys() {
            let key = (namespace.clone(), id.clone());
            let Some(record) = objects.served_models.get(&key) else {
                continue;
            };
            for host in &record.spec.hosts {
                let host = normal(host);
                match refusal(&host, namespace, rules) {
                    None => _ = own.insert(host),
                    Some((why, fix)) => {
                        findings.push(refused(&key.0, &key.1, record, &host, (why, &fix)));
                    }
                }
            }
        }
    }
    let hosts = hosts.into_iter();
    hosts
        .map(|(namespace, hosts)| (namespace.to_owned(), hosts.into_iter().collect()))
        .collect()
}

/// A host as filters compare it: in lower case, without a final dot.
fn normal(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

fn of_carrier<'a>(
    carrier: &CarrierKey,
    objects: &'a Objects,
    rules: &'a HostRules,
) -> impl Iterator<Item = String> + 'a {
    let namespace = carrier.namespace.clone();
    let carrier = objects.carriers.get(carrier);
    let services = carrier
        .into_iter()
        .flat_map(|carrier| &carrier.mesh.services);
    let serving = services.filter(|service| !service.headless && !service.ports.is_empty());
    serving.filter_map(move |service| rules.of_service(&namespace, &service.name))
}

/// Why a host in `spec.hosts` is ignored, and what changes that besides its removal; `None` if it counts.
fn refusal(host: &str, namespace: &str, rules: &HostRules) -> Option<(&'static str, String)> {
    if rules.names_service(host) {
        let why = "it names a Service, which belongs to the namespace of the pods that it selects";
        return Some((why, "Remove the host".to_owned()));
    }
    let owner = rules.owner(host);
    if owner == Some(namespace) {
        return None;
    }
    let is_its = |owner: &str| {
        let domains = rules.domains.get(owner);
        domains.is_some_and(|domains| domains.iter().any(|domain| domain == host))
    };
    Some(match owner {
        Some(owner) if is_its(owner) => (
            "another namespace has it as `--domain`",
            format!("Start Headgate without --domain {owner}={host}, or remove the host"),
        ),
        Some(_) => (
            "another namespace has a longer `--domain` that contains it",
            format!("Start Headgate with --domain {namespace}={host}, or remove the host"),
        ),
        None => (
            "no `--domain` contains it",
            format!("Start Headgate with --domain {namespace}={host}, or remove the host"),
        ),
    })
}

fn refused(
    namespace: &str,
    id: &headgate_contract::ModelId,
    record: &ModelRecord,
    host: &str,
    (why, fix): (&str, &str),
) -> Finding {
    let object = record.object.as_deref().unwrap_or(id.as_str());
    let message = format!(
        "`spec.hosts` of ServedModel {object} has {host:?}, which is ignored: {why}. {fix}: kubectl edit servedmodel {object} -n {namespace}"
    );
    Finding::on_model(
        namespace,
        id,
        Severity::Warning,
        reason::HOST_IGNORED,
        message,
    )
}
