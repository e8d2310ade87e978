//! The hosts of gateways that have version routes: routes of gateways and domains → objects and findings.

use std::collections::BTreeSet;

use headgate_model::reason;
use serde_json::{Value, json};

use super::inbound::{objects, options, server, with_gateways};
use crate::gateway_hosts::{GatewayRoute, GatewayRoutes, RouteKind};
use crate::object::{Context, ObjectKey, VirtualHost};
use crate::options::Options;

/// A route of gateways in namespace `team`, named `route`.
fn route(kind: RouteKind, spec: Value) -> GatewayRoutes {
    route_in("team", kind, &spec)
}

fn route_in(namespace: &str, kind: RouteKind, spec: &Value) -> GatewayRoutes {
    let object = json!({ "spec": spec });
    let read = GatewayRoute::read(kind, namespace, &object);
    let key = ObjectKey {
        namespace: namespace.to_owned(),
        name: "route".to_owned(),
    };
    read.map(|route| ((kind, key), route)).into_iter().collect()
}

fn virtual_service(host: &str, service: &str) -> GatewayRoutes {
    virtual_service_in("team", host, service)
}

fn virtual_service_in(namespace: &str, host: &str, service: &str) -> GatewayRoutes {
    let route_to = json!([{ "route": [{ "destination": { "host": service } }] }]);
    let spec = json!({ "hosts": [host], "gateways": ["gateways/ai"], "http": route_to });
    route_in(namespace, RouteKind::VirtualService, &spec)
}

fn http_route(host: &str, service: &str, namespace: &str) -> GatewayRoutes {
    let backend = json!({ "name": service, "namespace": namespace, "port": 80 });
    let spec = json!({
        "parentRefs": [{ "name": "ai", "namespace": "gateways" }],
        "hostnames": [host],
        "rules": [{ "backendRefs": [backend] }],
    });
    route(RouteKind::HttpRoute, spec)
}

/// Options with these domains of namespace `models`.
fn domains(domains: &[&str]) -> Options {
    let mut options = options();
    let domains = domains.iter().map(|domain| (*domain).to_owned());
    options
        .hosts
        .domains
        .insert("models".to_owned(), domains.collect());
    options
}

/// The domains of virtual hosts of gateways that have version routes, and the findings on hosts without a domain.
fn on_gateways(gateways: &GatewayRoutes, options: &Options) -> (BTreeSet<String>, Vec<String>) {
    let servers = objects([server("v1", &[("app", "llama")])]);
    let desired = with_gateways(&servers, gateways, options);
    let of_gateways = desired
        .routes
        .values()
        .filter(|routes| routes.context == Context::Gateway);
    let hosts = of_gateways.flat_map(|routes| routes.hosts.keys());
    let hosts = hosts.map(|host| match host {
        VirtualHost::Domain(domain) => domain.clone(),
        VirtualHost::Name(name) => name.clone(),
    });
    let uncovered = desired
        .findings
        .iter()
        .filter(|finding| finding.reason == reason::GATEWAY_HOST_WITHOUT_DOMAIN);
    (
        hosts.collect(),
        uncovered.map(|finding| finding.message.clone()).collect(),
    )
}

#[test]
fn a_wildcard_covers_the_hosts_below_it_that_lead_to_models_and_no_others() {
    let options = domains(&["*.example.com"]);
    let full = "llama.models.svc.cluster.local";
    for (gateways, expected) in [
        (GatewayRoutes::new(), vec!["*.example.com"]),
        (
            virtual_service("ai.example.com", full),
            vec!["*.example.com", "ai.example.com"],
        ),
        (
            virtual_service("AI.example.com", "llama.models.svc"),
            vec!["*.example.com", "ai.example.com"],
        ),
        (
            http_route("ai.example.com", "llama", "models"),
            vec!["*.example.com", "ai.example.com"],
        ),
        (
            virtual_service("*.ai.example.com", full),
            vec!["*.example.com", "*.ai.example.com"],
        ),
        // Another service, or a Service of this name in another namespace.
        (
            virtual_service("users.example.com", "users.models.svc.cluster.local"),
            vec!["*.example.com"],
        ),
        (
            virtual_service("users.example.com", "llama"),
            vec!["*.example.com"],
        ),
        (
            http_route("users.example.com", "llama", "team"),
            vec!["*.example.com"],
        ),
    ] {
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        let found = on_gateways(&gateways, &options);
        assert_eq!(found, (expected, Vec::new()), "{gateways:?}");
    }
}

#[test]
fn a_host_of_a_gateway_that_leads_to_models_without_a_domain_is_a_finding_with_the_flag() {
    let service = "llama.models.svc.cluster.local";
    for options in [domains(&[]), domains(&["*.example.org"]), domains(&["*"])] {
        for gateways in [
            virtual_service("ai.example.com", service),
            http_route("ai.example.com", "llama", "models"),
        ] {
            let (hosts, findings) = on_gateways(&gateways, &options);
            assert!(!hosts.contains("ai.example.com"), "{hosts:?}");
            assert!(
                findings.len() == 1
                    && findings[0].contains("team/route")
                    && findings[0].contains("--domain models=ai.example.com"),
                "{findings:?}"
            );
        }
    }
    let (_, findings) = on_gateways(
        &virtual_service("ai.example.com", service),
        &domains(&["ai.example.com"]),
    );
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn routes_that_no_gateway_has_say_nothing_of_gateways() {
    let to_llama =
        json!([{ "route": [{ "destination": { "host": "llama.models.svc.cluster.local" } }] }]);
    for gateways in [json!(null), json!(["mesh"])] {
        let spec = json!({ "hosts": ["ai.example.com"], "gateways": gateways, "http": to_llama });
        assert!(route(RouteKind::VirtualService, spec).is_empty());
    }
    let spec = json!({
        "parentRefs": [{ "kind": "Service", "group": "", "name": "llama" }],
        "hostnames": ["ai.example.com"],
        "rules": [{ "backendRefs": [{ "name": "llama" }] }],
    });
    assert!(route(RouteKind::HttpRoute, spec).is_empty());
}

#[test]
fn a_host_in_a_domain_of_another_namespace_is_that_namespaces() {
    let mut options = domains(&["*.example.com"]);
    options
        .hosts
        .domains
        .insert("other".to_owned(), vec!["ai.example.com".to_owned()]);
    let mut other = server("v1", &[("app", "phi")]);
    other.key.namespace = "other".to_owned();
    let servers = objects([server("v1", &[("app", "llama")]), other]);
    let gateways = virtual_service("ai.example.com", "llama.models.svc.cluster.local");
    let desired = with_gateways(&servers, &gateways, &options);
    let host = VirtualHost::Domain("ai.example.com".to_owned());
    for (key, routes) in &desired.routes {
        let is_other = key.name.ends_with(".other");
        let has_it = routes.hosts.contains_key(&host);
        assert!(!has_it || is_other, "{key}");
    }
}

/// istiod completes a short name with the namespace of the `VirtualService` and the cluster domain.
#[test]
fn a_short_host_is_a_service_of_the_namespace_of_its_virtual_service() {
    let options = domains(&[]);
    let full = "llama.models.svc.cluster.local";
    // The name of a Service of models belongs to its namespace without a flag.
    let own = virtual_service_in("models", "llama", "llama");
    let (hosts, findings) = on_gateways(&own, &options);
    assert_eq!(hosts, [full.to_owned()].into());
    assert!(findings.is_empty(), "{findings:?}");
    // That of another Service belongs to nobody, and a domain would have no effect.
    for host in ["pool", "POOL", "pool.team.svc.cluster.local"] {
        let (hosts, findings) = on_gateways(&virtual_service(host, full), &options);
        assert!(hosts.is_empty(), "{hosts:?}");
        let [message] = &findings[..] else {
            panic!("{host}: {findings:?}");
        };
        assert!(
            message.contains("routes pool.team.svc.cluster.local of a gateway")
                && message.contains("the name of a Service")
                && message.contains("--domain models=HOST")
                && !message.contains("=pool"),
            "{message}"
        );
    }
    // istiod leaves the hosts of the Gateway API as they are.
    let (_, findings) = on_gateways(&http_route("pool", "llama", "models"), &options);
    assert!(
        findings.len() == 1 && findings[0].contains("--domain models=pool"),
        "{findings:?}"
    );
    let (hosts, findings) =
        on_gateways(&http_route("pool", "llama", "models"), &domains(&["pool"]));
    assert_eq!((hosts, findings), (["pool".to_owned()].into(), Vec::new()));
}

#[test]
fn a_host_that_leads_to_models_of_two_namespaces_is_not_suggested_as_a_domain_of_both() {
    let mut other = server("v1", &[("app", "phi")]);
    other.key.namespace = "other".to_owned();
    let servers = objects([server("v1", &[("app", "llama")]), other]);
    let to = |namespace: &str| format!("llama.{namespace}.svc.cluster.local");
    let destination =
        |namespace| json!({ "route": [{ "destination": { "host": to(namespace) } }] });
    let both = json!({
        "hosts": ["ai.example.com"],
        "gateways": ["gateways/ai"],
        "http": [destination("models"), destination("other")],
    });
    let one = route(RouteKind::VirtualService, both);
    let mut two = virtual_service_in("team", "ai.example.com", &to("models"));
    two.extend(virtual_service_in("apps", "ai.example.com", &to("other")));
    for (gateways, count) in [(one, 1), (two, 2)] {
        let desired = with_gateways(&servers, &gateways, &domains(&[]));
        let findings = desired.findings.iter();
        let findings: Vec<&str> = findings
            .filter(|finding| finding.reason == reason::GATEWAY_HOST_WITHOUT_DOMAIN)
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(findings.len(), count, "{findings:?}");
        for message in findings {
            assert!(
                message.contains("models of the namespaces models, other")
                    && message.contains("a host belongs to one namespace")
                    && message.contains("--domain NAMESPACE=HOST for each")
                    && !message.contains("=ai.example.com"),
                "{message}"
            );
        }
    }
}
