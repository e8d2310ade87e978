//! Findings on `DestinationRule`s and `VirtualService`s of other people.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::{Finding, Severity, reason};

use crate::conflicts::{ANY_OTHER, Conflict, ConflictKind};
use crate::findings::{on, taken};
use crate::host_rule::full_name;
use crate::manifest::IstioKind;
use crate::object::{Desired, ObjectKey, VirtualHost};
use crate::options::Options;
use crate::stored::Stored;
use crate::virtual_service::VirtualService;

const RULE: &str = IstioKind::DestinationRule.as_str();
const SERVICE: &str = "VirtualService";

/// Names of objects.
pub(crate) type Names = BTreeSet<(IstioKind, ObjectKey)>;

/// All findings on the desired objects: their own, and those on objects of other people.
pub(crate) fn all(
    desired: &Desired,
    stored: &Stored,
    names: &Names,
    conflicts: &BTreeSet<Conflict>,
    options: &Options,
) -> BTreeSet<Finding> {
    let own = desired.findings.iter().cloned();
    let names = names.iter().map(|(kind, key)| taken(*kind, key));
    let services = services(&stored.services, desired, options.cluster_domain());
    own.chain(names)
        .chain(conflicts.iter().map(conflict))
        .chain(services)
        .collect()
}

/// The finding on a conflict of rules.
pub(crate) fn conflict(conflict: &Conflict) -> Finding {
    let Conflict {
        rule, ours, host, ..
    } = conflict;
    let home = &ours.namespace;
    let (consequence, fix) = match &conflict.kind {
        ConflictKind::Hides { proxies } => (
            format!(
                "applies to {host} for proxies of {}, so these proxies do not get the subsets of {RULE} {ours}",
                namespace(proxies)
            ),
            format!(
                "Move it to namespace {home}, or to Istio's root namespace if it is for several hosts: {}",
                edit("destinationrule", rule)
            ),
        ),
        ConflictKind::Apart => (
            format!(
                "also has the host {host}, and istiod does not merge it with {RULE} {ours}, because exportTo or workloadSelector \
                 differ, so proxies do not get the subsets of {ours}"
            ),
            format!(
                "Give the DestinationRules of {host} in namespace {home} the same exportTo, and no workloadSelector: {}",
                edit("destinationrule", rule)
            ),
        ),
        ConflictKind::NotExported { proxies } => (
            format!(
                "has an exportTo that leaves out {}. {RULE} {ours} copies this exportTo, because istiod merges only rules with the \
                 same one, so proxies there do not get its subsets",
                namespace(proxies)
            ),
            format!(
                "Add the namespace, or remove exportTo: {}",
                edit("destinationrule", rule)
            ),
        ),
        ConflictKind::Subset { subset } => (
            format!(
                "has a subset {subset} with other labels than the one in {RULE} {ours}, and istiod keeps one of them for {host}"
            ),
            format!(
                "Rename the subset, or give it the labels of the other: {}",
                edit("destinationrule", rule)
            ),
        ),
        ConflictKind::Displaced => return displaced(conflict),
    };
    let message = format!(
        "{RULE} {rule} {consequence}. So proxies of the mesh do not use the routes to versions with these subsets. {fix}"
    );
    on(RULE, rule, Severity::Error, reason::SUBSETS_HIDDEN, message)
}

/// The namespace of proxies in a message.
fn namespace(proxies: &str) -> String {
    match proxies {
        ANY_OTHER => "most namespaces".to_owned(),
        name => format!("namespace {name}"),
    }
}

fn displaced(conflict: &Conflict) -> Finding {
    let Conflict {
        rule, ours, host, ..
    } = conflict;
    let message = format!(
        "the trafficPolicy of {RULE} {rule} does not apply to {host}, because {RULE} {ours} names the host exactly. Add a {RULE} for {host} \
         with this trafficPolicy in namespace {}, which istiod merges with it: kubectl get destinationrule {} -n {} -o yaml",
        ours.namespace, rule.name, rule.namespace
    );
    on(
        RULE,
        rule,
        Severity::Warning,
        reason::POLICY_DISPLACED,
        message,
    )
}

fn edit(kind: &str, key: &ObjectKey) -> String {
    format!("kubectl edit {kind} {} -n {}", key.name, key.namespace)
}

/// The findings on `VirtualService`s for the hosts of models.
pub(crate) fn services(
    services: &BTreeMap<ObjectKey, VirtualService>,
    desired: &Desired,
    cluster_domain: &str,
) -> Vec<Finding> {
    let hosts: BTreeSet<&str> = desired
        .routes
        .values()
        .flat_map(|routes| routes.hosts.keys())
        .map(|host| match host {
            VirtualHost::Name(name) => name
                .rsplit_once(':')
                .map_or(name.as_str(), |(host, _)| host),
            VirtualHost::Domain(domain) => domain,
        })
        .collect();
    let mut findings = Vec::new();
    for (key, service) in services {
        let own = service.hosts.iter();
        let own = own.map(|host| full_name(host, &key.namespace, cluster_domain));
        let own: Vec<String> = own.collect();
        let covers = |host: &&&str| own.iter().any(|pattern| overlap(pattern, host));
        // One finding for each `VirtualService`: its routes are for all its hosts.
        let Some(host) = hosts.iter().find(covers) else {
            continue;
        };
        if service.splits {
            findings.push(split(key, host));
        }
        if !service.settings.is_empty() {
            findings.push(bypassed(key, host, &service.settings));
        }
    }
    findings
}

/// Whether two hosts, each exact or `*` with a suffix, have a name in common.
fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (None, None) => one == other,
        (Some(suffix), None) => other.ends_with(suffix),
        (None, Some(suffix)) => one.ends_with(suffix),
        (Some(one), Some(other)) => one.ends_with(other) || other.ends_with(one),
    }
}

fn split(service: &ObjectKey, host: &str) -> Finding {
    let message = format!(
        "{SERVICE} {service} splits requests to {host} by weight. Headgate's version routes come first, so these weights apply only to requests \
         without a model. Set canary-weight labels instead, and remove the weights: {}",
        edit("virtualservice", service)
    );
    on(
        SERVICE,
        service,
        Severity::Info,
        reason::VIRTUAL_SERVICE_SPLITS,
        message,
    )
}

fn bypassed(service: &ObjectKey, host: &str, settings: &BTreeSet<&'static str>) -> Finding {
    let settings: Vec<&str> = settings.iter().copied().collect();
    let message = format!(
        "{SERVICE} {service} sets {} on routes of {host}. Headgate's version routes come first and do not have them, so they do not apply to \
         requests for a model. Set them at the model servers or by an EnvoyFilter on the virtual host, and remove them: {}",
        settings.join(", "),
        edit("virtualservice", service)
    );
    on(
        SERVICE,
        service,
        Severity::Warning,
        reason::ROUTE_SETTINGS_BYPASSED,
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn hosts_overlap_if_one_contains_the_other() {
        for (one, other, expected) in [
            ("ai.example.com", "ai.example.com", true),
            ("ai.example.com", "b.example.com", false),
            ("*.example.com", "ai.example.com", true),
            ("ai.example.com", "*.example.com", true),
            ("*.example.com", "*.ai.example.com", true),
            ("*", "ai.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.org", "*.example.com", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
        }
    }
}
