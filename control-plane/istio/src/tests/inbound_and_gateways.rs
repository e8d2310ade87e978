//! The filter in the sidecars of model servers, and on the hosts of gateways: plans → objects.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{AnyPolicySpec, TokenBucketPolicySpec};
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, HostRules, LabelKeys, Labels, MeshPort, MeshService, Objects,
    Pod, Policy, PortSource, Registry, Scales, plan, reason,
};
use serde_json::{Value, json};

use crate::desired::desired;
use crate::gateway_hosts::{GatewayRoute, GatewayRoutes, RouteKind};
use crate::object::{Context, Desired, ObjectKey, VirtualHost};
use crate::options::Options;

fn options() -> Options {
    Options {
        clients: [("clients".to_owned(), vec!["*".to_owned()])].into(),
        gateways: [("gateways".to_owned(), vec!["*".to_owned()])].into(),
        root_namespace: "istio-system".to_owned(),
        client_labels: Labels::new(),
        gateway_labels: Labels::new(),
        hosts: HostRules {
            cluster_domain: Some("cluster.local".to_owned()),
            domains: BTreeMap::new(),
        },
        xds: "headgate.headgate-system:18000".parse().unwrap(),
        module: Some("/etc/headgate/wasm/headgate-0123.wasm".to_owned()),
        max_body_bytes: 8 << 20,
        keys: LabelKeys::default(),
        controller: headgate_contract::names::DEFAULT_CONTROLLER_NAME.to_owned(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A Deployment of model `llama` in `models` with one pod at port 8000 behind Service `llama`, selected by these labels.
fn server(name: &str, selector: &[(&str, &str)]) -> Carrier {
    let address = format!("10.0.0.{}:8000", name.len());
    let address: std::net::SocketAddr = address.parse().unwrap();
    let service = MeshService {
        name: "llama".to_owned(),
        ports: vec![MeshPort {
            number: 80,
            target: 8000,
            http: true,
        }],
        headless: false,
        selects_all: true,
    };
    Carrier {
        key: CarrierKey {
            namespace: "models".to_owned(),
            kind: "deployment".to_owned(),
            name: name.to_owned(),
        },
        created: Some(1),
        labels: labels(&[("model-name", "llama"), ("model-version", name)]),
        annotations: BTreeMap::new(),
        desired: 1,
        owner_replicas: BTreeMap::new(),
        pods: vec![Pod {
            port_source: PortSource::Only,
            ..Pod::at(format!("{name}-0"), address)
        }],
        min_ready_seconds: 0,
        unready_reasons: Vec::new(),
        mesh: CarrierMesh {
            pods: BTreeSet::new(),
            selector: labels(selector),
            labels_model: false,
            services: vec![service],
        },
        origin: format!("Deployment models/{name}"),
    }
}

/// A policy in `models` that the sidecars of model servers charge.
fn charged_inbound() -> Policy {
    let spec = br#"{"models": ["llama"], "at": "inbound", "buckets": [
        {"name": "tenant", "key": ["tenant"], "profile": "tokens", "tokens": {"capacity": 100, "refillPerSecond": 1}}]}"#;
    let spec: TokenBucketPolicySpec = headgate_contract::parse_json(spec).unwrap();
    Policy {
        namespace: "models".to_owned(),
        name: "inbound".to_owned(),
        created: None,
        uid: String::new(),
        generation: 1,
        origin: String::new(),
        spec: AnyPolicySpec::new(spec),
    }
}

fn objects(carriers: impl IntoIterator<Item = Carrier>) -> Objects {
    let carriers = carriers.into_iter();
    Objects {
        carriers: carriers.map(|c| (c.key.clone(), c)).collect(),
        ..Objects::default()
    }
}

fn desired_of(objects: &Objects, options: &Options) -> Desired {
    with_gateways(objects, &GatewayRoutes::new(), options)
}

fn with_gateways(objects: &Objects, gateways: &GatewayRoutes, options: &Options) -> Desired {
    let registry = Registry::build(objects, &LabelKeys::default());
    let registry = registry.in_mesh(options.hosts.clone(), true);
    let plan = plan(&registry, objects, &Scales::default());
    desired(&plan, objects, gateways, options)
}

/// The manifests of the filter in sidecars of model servers, by name.
fn inbound(desired: &Desired, options: &Options) -> BTreeMap<String, Value> {
    let manifests = desired.manifests(options).into_iter();
    let named = manifests.map(|manifest| {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        (name, manifest)
    });
    named
        .filter(|(name, _)| name.starts_with("headgate-inbound"))
        .collect()
}

fn with_policy(carriers: impl IntoIterator<Item = Carrier>) -> Objects {
    let mut objects = objects(carriers);
    objects.insert_policy(charged_inbound());
    objects
}

#[test]
fn model_servers_have_the_filter_only_if_a_policy_is_charged_there() {
    let servers = || [server("v1", &[("app", "llama")])];
    let none = desired_of(&objects(servers()), &options());
    assert!(inbound(&none, &options()).is_empty());
    let one = desired_of(&with_policy(servers()), &options());
    let manifests = inbound(&one, &options());
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifests).unwrap());
}

#[test]
fn model_servers_are_selected_as_their_carriers_select_them() {
    let chosen = Options {
        client_labels: labels(&[("headgate.dev/proxy", "true")]),
        ..options()
    };
    let servers = [
        server("v1", &[("app", "llama"), ("track", "v1")]),
        server("v2", &[("app", "llama"), ("track", "v2")]),
    ];
    let desired = desired_of(&with_policy(servers), &chosen);
    let pods = inbound(&desired, &chosen).into_iter().map(|(name, spec)| {
        let selector = spec.pointer("/spec/workloadSelector/labels").cloned();
        (name, selector.unwrap())
    });
    let expected = ["v1", "v2"].into_iter().flat_map(|version| {
        let own = json!({ "app": "llama", "track": version });
        let mut with_file = own.clone();
        with_file["headgate.dev/proxy"] = json!("true");
        let server = headgate_contract::names::subset(&format!("deployment.{version}"));
        [
            (format!("headgate-inbound.8000.{server}"), own),
            (format!("headgate-inbound-file.8000.{server}"), with_file),
        ]
    });
    assert_eq!(
        pods.collect::<BTreeMap<_, _>>(),
        expected.collect::<BTreeMap<_, _>>()
    );
}

#[test]
fn only_pods_that_are_known_to_have_the_file_have_the_filter_before_the_control_plane_answers() {
    let chosen = Options {
        client_labels: labels(&[("headgate.dev/proxy", "true")]),
        ..options()
    };
    let desired = desired_of(&with_policy([server("v1", &[("app", "llama")])]), &chosen);
    let mut priorities = BTreeSet::new();
    for (name, manifest) in inbound(&desired, &chosen) {
        let default = manifest
            .pointer("/spec/configPatches/1/patch/value/config_discovery/default_config/@type");
        let is_wasm = default.unwrap().as_str().unwrap().ends_with(".Wasm");
        assert_eq!(
            is_wasm,
            name.starts_with("headgate-inbound-file."),
            "{name}"
        );
        priorities.insert((manifest["spec"]["priority"].as_u64().unwrap(), is_wasm));
    }
    // The object with the file comes last, so it replaces the other's filter.
    assert_eq!(priorities, [(10, false), (11, true)].into());
}

#[test]
fn an_inbound_object_removes_the_filter_of_another_one_before_it_inserts_its_own() {
    let desired = desired_of(
        &with_policy([server("v1", &[("app", "llama")])]),
        &options(),
    );
    for (name, manifest) in inbound(&desired, &options()) {
        let patch = |index: usize, field: &str| {
            let path = format!("/spec/configPatches/{index}/{field}");
            manifest.pointer(&path).cloned().unwrap_or_default()
        };
        let filter = "match/listener/filterChain/filter/subFilter/name";
        assert_eq!(patch(0, "patch/operation"), "REMOVE", "{name}");
        assert_eq!(patch(0, filter), Context::SidecarInbound.filter(), "{name}");
        assert_eq!(patch(1, "patch/operation"), "INSERT_BEFORE", "{name}");
        assert_eq!(
            patch(1, "patch/value/name"),
            Context::SidecarInbound.filter(),
            "{name}"
        );
    }
}

#[test]
fn the_buffers_of_inbound_listeners_hold_twice_the_largest_body() {
    let desired = desired_of(
        &with_policy([server("v1", &[("app", "llama")])]),
        &options(),
    );
    for (name, manifest) in inbound(&desired, &options()) {
        let buffers = &manifest["spec"]["configPatches"][2];
        assert_eq!(buffers["applyTo"], "LISTENER", "{name}");
        // A number of a port would not match the listener that all inbound ports share.
        assert_eq!(buffers["match"], json!({ "context": "SIDECAR_INBOUND" }));
        let limit = &buffers["patch"]["value"]["per_connection_buffer_limit_bytes"];
        assert_eq!(*limit, 2 * options().max_body_bytes, "{name}");
    }
}

#[test]
fn pods_without_a_selector_are_selected_by_the_model_label_and_reported_if_they_lack_it() {
    let mut labelled = server("v1", &[]);
    labelled.mesh.labels_model = true;
    let desired = desired_of(&with_policy([labelled]), &options());
    let manifests = inbound(&desired, &options());
    let selectors: Vec<&Value> = manifests
        .values()
        .filter_map(|manifest| manifest.pointer("/spec/workloadSelector/labels"))
        .collect();
    assert_eq!(selectors, [&json!({ "model-name": "llama" })]);

    let desired = desired_of(&with_policy([server("v1", &[])]), &options());
    assert!(inbound(&desired, &options()).is_empty());
    let found: Vec<_> = desired
        .findings
        .iter()
        .filter(|finding| finding.reason == reason::NOT_CHARGED_INBOUND)
        .collect();
    assert!(
        found.len() == 1 && found[0].message.contains("deployment v1"),
        "{:?}",
        desired.findings
    );
}

/// A route of gateways in namespace `team`, named `route`.
fn route(kind: RouteKind, spec: Value) -> GatewayRoutes {
    let object = json!({ "spec": spec });
    let read = GatewayRoute::read(kind, "team", &object);
    let key = ObjectKey {
        namespace: "team".to_owned(),
        name: "route".to_owned(),
    };
    read.map(|route| ((kind, key), route)).into_iter().collect()
}

fn virtual_service(host: &str, service: &str) -> GatewayRoutes {
    let route_to = json!([{ "route": [{ "destination": { "host": service } }] }]);
    let spec = json!({ "hosts": [host], "gateways": ["gateways/ai"], "http": route_to });
    route(RouteKind::VirtualService, spec)
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
