//! The filter in the sidecars of model servers: plans → objects.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{AnyPolicySpec, TokenBucketPolicySpec};
use headgate_model::{
    Carrier, LabelKeys, Labels, Objects, Policy, PortSource, Registry, Scales, plan, reason,
};
use serde_json::{Value, json};

use super::deployment;
use crate::desired::desired;
use crate::gateway_hosts::GatewayRoutes;
use crate::object::{Context, Desired};
use crate::options::Options;
use crate::stored::Stored;

/// Clients and gateways in namespaces of their own, and no domains.
pub(super) fn options() -> Options {
    let mut options = Options {
        clients: [("clients".to_owned(), vec!["*".to_owned()])].into(),
        gateways: [("gateways".to_owned(), vec!["*".to_owned()])].into(),
        module: Some("/etc/headgate/wasm/headgate-0123.wasm".to_owned()),
        ..super::options()
    };
    options.hosts.domains.clear();
    options
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A Deployment of model `llama` in `models` with one pod at port 8000 behind Service `llama`, selected by these labels.
pub(super) fn server(name: &str, selector: &[(&str, &str)]) -> Carrier {
    let mut server = deployment(name, name, &["llama"]);
    server.mesh.selector = labels(selector);
    for pod in &mut server.pods {
        pod.port_source = PortSource::Only;
    }
    server
}

pub(super) fn objects(carriers: impl IntoIterator<Item = Carrier>) -> Objects {
    let carriers = carriers.into_iter();
    Objects {
        carriers: carriers.map(|c| (c.key.clone(), c)).collect(),
        ..Objects::default()
    }
}

fn desired_of(objects: &Objects, options: &Options) -> Desired {
    with_gateways(objects, &GatewayRoutes::new(), options)
}

pub(super) fn with_gateways(
    objects: &Objects,
    gateways: &GatewayRoutes,
    options: &Options,
) -> Desired {
    let registry = Registry::build(objects, &LabelKeys::default());
    let registry = registry.in_mesh(options.hosts.clone(), true);
    let plan = plan(&registry, objects, &Scales::default());
    desired(&plan, objects, gateways, options)
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

/// The manifests of the filter in sidecars of model servers, by name.
fn inbound(desired: &Desired, options: &Options) -> BTreeMap<String, Value> {
    let manifests = desired.manifests(&Stored::default(), options).into_iter();
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
