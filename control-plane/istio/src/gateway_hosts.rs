//! Hosts that ingress gateways route to Services: those of `VirtualService`s and `HTTPRoute`s of other people.
//!
//! An `EnvoyFilter` finds a virtual host by its exact domain, so a wildcard of `--domain` needs the hosts below it. Only hosts that a
//! route sends to a Service of models get the filter: another service below the same wildcard does not belong to Headgate.
//!
//! Invariant: a host is of the namespace whose domain contains it, never of one that is inferred from a route.

use std::collections::{BTreeMap, BTreeSet};

use headgate_model::Finding;
use serde_json::Value;

use crate::fields::list;
use crate::findings::uncovered;
use crate::host_rule::full_name;
use crate::object::ObjectKey;
use crate::options::Options;

/// The routes of gateways, by kind and name of the object.
pub type GatewayRoutes = BTreeMap<(RouteKind, ObjectKey), GatewayRoute>;

/// A kind of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// `VirtualService` of Istio.
    VirtualService,
    /// `HTTPRoute` of the Gateway API.
    HttpRoute,
}

impl RouteKind {
    /// The name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtualService => "VirtualService",
            Self::HttpRoute => "HTTPRoute",
        }
    }
}

/// The hosts of an object that is bound to a gateway, and the Services to which it leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayRoute {
    /// The hosts as written, but in lower case.
    pub hosts: BTreeSet<String>,
    /// The Services as the object names them, in full except for the cluster domain: `NAME.NAMESPACE.svc`.
    services: BTreeSet<String>,
}

impl GatewayRoute {
    /// Reads an object; `None` if no gateway has it, or it leads to no Service.
    pub(crate) fn read(kind: RouteKind, namespace: &str, object: &Value) -> Option<Self> {
        let spec = object.get("spec")?;
        let route = match kind {
            RouteKind::VirtualService => virtual_service(namespace, spec)?,
            RouteKind::HttpRoute => http_route(namespace, spec)?,
        };
        (!route.hosts.is_empty() && !route.services.is_empty()).then_some(route)
    }

    /// Its hosts as istiod completes them: a short name in a `VirtualService` is a Service of its namespace. Those of the Gateway API stay.
    fn full_hosts(
        &self,
        kind: RouteKind,
        namespace: &str,
        cluster_domain: &str,
    ) -> BTreeSet<String> {
        let hosts = self.hosts.iter().map(|host| match kind {
            RouteKind::VirtualService => full_name(host, namespace, cluster_domain),
            RouteKind::HttpRoute => host.clone(),
        });
        hosts.collect()
    }

    /// Whether it leads to one of these Services of a namespace.
    fn leads_to<'s>(
        &self,
        namespace: &str,
        services: impl IntoIterator<Item = &'s String>,
        cluster_domain: &str,
    ) -> bool {
        services.into_iter().any(|service| {
            let name = format!("{service}.{namespace}.svc");
            self.services.contains(&format!("{name}.{cluster_domain}"))
                || self.services.contains(&name)
        })
    }
}

fn texts(value: &Value, field: &str) -> BTreeSet<String> {
    let texts = list(value, field).filter_map(Value::as_str);
    texts.map(str::to_ascii_lowercase).collect()
}

fn virtual_service(namespace: &str, spec: &Value) -> Option<GatewayRoute> {
    // Without `gateways` it is for sidecars only.
    let mut gateways = list(spec, "gateways").filter_map(Value::as_str);
    gateways.find(|gateway| *gateway != "mesh")?;
    let routes = list(spec, "http").flat_map(|http| list(http, "route"));
    let hosts = routes.filter_map(|route| route.pointer("/destination/host")?.as_str());
    let services = hosts.map(|host| match host.contains('.') {
        true => host.to_ascii_lowercase(),
        // A short name is a Service of the namespace.
        false => format!("{}.{namespace}.svc", host.to_ascii_lowercase()),
    });
    Some(GatewayRoute {
        hosts: texts(spec, "hosts"),
        services: services.collect(),
    })
}

fn http_route(namespace: &str, spec: &Value) -> Option<GatewayRoute> {
    let is = |reference: &Value, kind: &str| {
        reference
            .get("kind")
            .is_none_or(|given| given.as_str() == Some(kind))
    };
    list(spec, "parentRefs").find(|parent| is(parent, "Gateway"))?;
    let backends = list(spec, "rules").flat_map(|rule| list(rule, "backendRefs"));
    // A reference without a kind is to a Service.
    let backends = backends.filter(|backend| is(backend, "Service"));
    let services = backends.filter_map(|backend| {
        let name = backend.get("name")?.as_str()?;
        let own = backend.get("namespace").and_then(Value::as_str);
        Some(format!("{name}.{}.svc", own.unwrap_or(namespace)))
    });
    Some(GatewayRoute {
        hosts: texts(spec, "hostnames"),
        services: services.collect(),
    })
}

/// The hosts of gateways, each with its namespace of models.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// By namespace of models, the hosts below its domains that lead to one of its Services.
    pub(crate) hosts: BTreeMap<String, BTreeSet<String>>,
    /// Hosts that lead to a Service of models and that no domain contains.
    pub(crate) findings: Vec<Finding>,
}

/// Compares the routes of gateways with the domains and the Services of each namespace.
pub(crate) fn coverage(
    routes: &GatewayRoutes,
    namespaces: &BTreeMap<&String, (&[String], BTreeSet<&String>)>,
    options: &Options,
) -> Coverage {
    let cluster_domain = options.cluster_domain();
    let mut domains: BTreeMap<&str, &str> = BTreeMap::new();
    for (namespace, (hosts, _)) in namespaces {
        domains.extend(hosts.iter().map(|host| (host.as_str(), namespace.as_str())));
    }
    let mut coverage = Coverage::default();
    let mut open: BTreeMap<String, Open<'_>> = BTreeMap::new();
    for ((kind, key), route) in routes {
        let hosts = route.full_hosts(*kind, &key.namespace, cluster_domain);
        for (namespace, (_, services)) in namespaces {
            if !route.leads_to(namespace, services.iter().copied(), cluster_domain) {
                continue;
            }
            for host in &hosts {
                match owner(&domains, host) {
                    Some(owner) if owner == namespace.as_str() => {
                        let hosts = coverage.hosts.entry(owner.to_owned()).or_default();
                        hosts.insert(host.clone());
                    }
                    // Its models are those of the other namespace.
                    Some(_) => {}
                    None => {
                        let open = open.entry(host.clone()).or_default();
                        open.routes.insert((*kind, key));
                        open.namespaces.insert(namespace);
                    }
                }
            }
        }
    }
    for (host, open) in &open {
        let names_service = options.hosts.names_service(host);
        let findings = open.routes.iter().map(|(kind, key)| {
            uncovered(kind.as_str(), key, host, &open.namespaces, names_service)
        });
        coverage.findings.extend(findings);
    }
    coverage
}

/// A host that no domain contains.
#[derive(Default)]
struct Open<'a> {
    /// The objects that route it to models.
    routes: BTreeSet<(RouteKind, &'a ObjectKey)>,
    /// The namespaces of these models.
    namespaces: BTreeSet<&'a str>,
}

/// The namespace of a host, as filters find it: by the host itself, else by the longest wildcard that contains it. `*` contains no other
/// host.
fn owner<'d>(domains: &BTreeMap<&str, &'d str>, host: &str) -> Option<&'d str> {
    let dots = host.match_indices('.').filter(|(at, _)| *at > 0);
    let wildcards = dots.map(|(at, _)| format!("*{}", &host[at..]));
    let mut candidates = std::iter::once(host.to_owned()).chain(wildcards);
    candidates.find_map(|candidate| domains.get(candidate.as_str()).copied())
}
