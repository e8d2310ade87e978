//! Findings on versions that a mesh cannot route to, and on names that are taken.

use std::collections::BTreeSet;

use headgate_contract::{ModelId, Version};
use headgate_model::{CarrierKey, Finding, LabelKeys, Severity, Subject, reason};

use crate::manifest::IstioKind;
use crate::object::ObjectKey;

/// The reason why a mesh cannot route to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No Service selects its pods.
    NoService,
    /// This Service selects only a part of its pods.
    Missed(String),
    /// This Service is headless.
    Headless(String),
    /// This port of this Service is declared as another protocol than HTTP.
    NotHttp(String, u16),
    /// Its pods have no labels in common that other pods behind this Service lack.
    NoLabels(String),
    /// No port of this Service has the target port on which its pods serve.
    NoPort(String),
}

/// A way to a model's pods on which proxies of the mesh do not run the filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bypass {
    /// This Service is headless.
    Headless {
        /// Its name.
        service: String,
    },
    /// This port of this Service is declared as another protocol than HTTP.
    NotHttp {
        /// The name of the Service.
        service: String,
        /// The number of the port.
        port: u16,
    },
}

/// The finding on a way past the filter. `other` is the Service through which the filter runs.
///
/// For information: the governing Service of a `StatefulSet` is headless.
pub(crate) fn bypassed(namespace: &str, id: &ModelId, bypass: &Bypass, other: &str) -> Finding {
    let (what, more) = match bypass {
        Bypass::Headless { service } => (
            format!("Service {service} is headless, so requests to {service}.{namespace}"),
            String::new(),
        ),
        Bypass::NotHttp { service, port } => (
            format!(
                "port {port} of Service {service} is declared as another protocol than HTTP, so requests to {service}.{namespace}:{port}"
            ),
            format!(
                ", or name the port http if it is for HTTP: kubectl edit service {service} -n {namespace}"
            ),
        ),
    };
    Finding {
        object: Subject::Model {
            namespace: namespace.to_owned(),
            id: id.clone(),
        },
        reason: reason::SERVICE_BYPASSES_FILTER,
        severity: Severity::Info,
        origin: String::new(),
        message: format!(
            "{what} bypass the filter in proxies of clients: they have no tag, no version and no budget but those of policies with \
             `at: inbound`. Clients of the model must use Service {other}{more}"
        ),
    }
}

/// The finding on a version without a route.
pub(crate) fn without_route(
    namespace: &str,
    id: &ModelId,
    version: &Version,
    problem: &Problem,
    keys: &LabelKeys,
) -> Finding {
    let (why, fix) = match problem {
        Problem::NoService => (
            "no Service selects its pods".to_owned(),
            format!(
                "create a Service for them, or give the pods the labels of the model's Service: kubectl get services -n {namespace}"
            ),
        ),
        Problem::Missed(service) => (
            format!("Service {service} selects only a part of its pods"),
            format!(
                "make the selector match all of them: kubectl edit service {service} -n {namespace}"
            ),
        ),
        Problem::Headless(service) => (
            format!(
                "Service {service} is headless, so the client chooses the pod and not the proxy"
            ),
            format!(
                "keep it, create a second Service with the same selector and a cluster IP, and let clients use that one, because requests \
                 to the headless one have no tag and no budget: kubectl get service {service} -n {namespace} -o yaml"
            ),
        ),
        Problem::NotHttp(service, port) => (
            format!(
                "port {port} of Service {service} is declared as another protocol than HTTP, so a proxy does not read its requests"
            ),
            format!(
                "name the port http, or set its appProtocol to http: kubectl edit service {service} -n {namespace}"
            ),
        ),
        Problem::NoPort(service) => (
            format!("no port of Service {service} has the target port on which the pods serve"),
            format!("add one: kubectl edit service {service} -n {namespace}"),
        ),
        Problem::NoLabels(service) => (
            format!("no label distinguishes its pods from the other pods of Service {service}"),
            format!(
                "give them the labels {}={version} and {}={id} in the pod template, and the pods of the other versions theirs",
                keys.version, keys.model
            ),
        ),
    };
    Finding {
        object: Subject::Model {
            namespace: namespace.to_owned(),
            id: id.clone(),
        },
        reason: reason::NO_MESH_ROUTE,
        severity: Severity::Warning,
        origin: String::new(),
        message: format!(
            "proxies of the mesh have no route to version {version}: {why}. A canary gets no sessions from the mesh. Requests of a base \
             follow your own routes, without a version. Fix: {fix}"
        ),
    }
}

/// The finding on a carrier whose pods cannot be selected, in a namespace with a policy that is charged inbound.
pub(crate) fn not_charged(namespace: &str, id: &ModelId, carrier: &CarrierKey) -> Finding {
    let message = format!(
        "a policy of the namespace has `at: inbound`, but nothing selects the pods of {} {}, so their sidecars do not charge it: give the \
         workload a spec.selector.matchLabels, or its pods the model label",
        carrier.kind, carrier.name
    );
    Finding {
        object: Subject::Model {
            namespace: namespace.to_owned(),
            id: id.clone(),
        },
        reason: reason::NOT_CHARGED_INBOUND,
        severity: Severity::Warning,
        origin: String::new(),
        message,
    }
}

/// The finding on an object of another person whose name Headgate needs.
pub(crate) fn taken(kind: IstioKind, key: &ObjectKey) -> Finding {
    let kind = kind.as_str();
    let message = format!(
        "{kind} {key} exists and belongs to someone else, so Headgate does not change it. The versions that need it get no requests from \
         proxies of the mesh. Delete it: kubectl delete {} {} -n {}",
        kind.to_ascii_lowercase(),
        key.name,
        key.namespace
    );
    on(kind, key, Severity::Error, reason::MESH_NAME_TAKEN, message)
}

/// The finding on a host of a gateway that leads to models of these namespaces and that no domain contains. `names_service`: the host is in
/// the cluster domain, where a domain has no effect.
pub(crate) fn uncovered(
    kind: &str,
    key: &ObjectKey,
    host: &str,
    namespaces: &BTreeSet<&str>,
    names_service: bool,
) -> Finding {
    let all: Vec<&str> = namespaces.iter().copied().collect();
    let (owners, flags) = match &all[..] {
        [one] => (
            format!("a model of namespace {one}"),
            format!("--domain {one}=HOST"),
        ),
        // Two namespaces cannot have one domain.
        several => (
            format!("models of the namespaces {}", several.join(", ")),
            "--domain NAMESPACE=HOST for each".to_owned(),
        ),
    };
    let (why, fix) = match (names_service, &all[..]) {
        (true, _) => (
            "it is the name of a Service, for which a domain has no effect",
            format!(
                "route a host outside of the cluster domain to the models of each namespace, and start headgate with {flags}"
            ),
        ),
        (false, [one]) => (
            "no domain contains that host",
            format!("start headgate with --domain {one}={host}"),
        ),
        (false, _) => (
            "no domain contains that host",
            format!(
                "a host belongs to one namespace, so route a host of its own to the models of each, and start headgate with {flags}"
            ),
        ),
    };
    let message = format!(
        "{kind} {key} routes {host} of a gateway, which leads to {owners}, but {why}, so the gateway does not tag, limit or split its \
         requests: {fix}. To change the routes: kubectl edit {} {} -n {}",
        kind.to_ascii_lowercase(),
        key.name,
        key.namespace
    );
    on(
        kind,
        key,
        Severity::Warning,
        reason::GATEWAY_HOST_WITHOUT_DOMAIN,
        message,
    )
}

pub(crate) fn on(
    kind: &str,
    key: &ObjectKey,
    severity: Severity,
    reason: &'static str,
    message: String,
) -> Finding {
    Finding {
        object: Subject::Carrier(CarrierKey {
            namespace: key.namespace.clone(),
            kind: kind.to_ascii_lowercase(),
            name: key.name.clone(),
        }),
        reason,
        severity,
        origin: format!("{kind} {key}"),
        message,
    }
}
