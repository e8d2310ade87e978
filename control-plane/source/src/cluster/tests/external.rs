//! Services without pods: endpoints that an annotation lists, and findings where there are none.

use headgate_model::{LabelKeys, Protocol, reason};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;

fn allowing(objects: &[Value], allowed: &[&str]) -> Store {
    let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
    let mut store = Store::new(kinds(), LabelKeys::default(), watches()).allowing(allowed);
    for id in watches() {
        relist(&mut store, &id, objects);
    }
    store.reconcile();
    store
}

fn selectorless(name: &str) -> Value {
    let mut service = model(service(name, Value::Null), "v1");
    service["spec"]["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8000}]);
    service
}

fn addresses(store: &Store, identity: &str) -> Vec<String> {
    let pods = carrier(store, identity).pods;
    pods.iter().map(|pod| pod.address.to_string()).collect()
}

#[test]
fn a_finding_on_a_service_without_pods_shows_how_to_list_endpoints() {
    let mut external = selectorless("ext");
    external["spec"] = json!({"type": "ExternalName", "externalName": "api.provider.example"});
    let state = allowing(&[selectorless("gpu-box"), external], &[]);
    let found = state.findings();
    assert_eq!(reasons(&found), [reason::NO_SELECTOR; 2]);
    let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
    for part in [
        "kubectl annotate service/gpu-box -n default headgate.dev/endpoints=IP:PORT",
        "kubectl annotate service/ext -n default headgate.dev/endpoints=api.provider.example:443",
        "--allow-endpoint api.provider.example",
    ] {
        assert!(
            messages.iter().any(|m| m.contains(part)),
            "{part}: {messages:#?}"
        );
    }
}

#[test]
fn an_external_name_with_a_leftover_selector_selects_no_pods() {
    let mut all = deployment("a", 1, &[1]);
    all.push(model(service("front", json!({"app": "a"})), "v1"));
    let state = allowing(&all, &[]);
    assert_eq!(addresses(&state, "service/front"), ["10.0.0.1:8000"]);
    // `kubectl patch` keeps the selector.
    all[3]["spec"]["type"] = json!("ExternalName");
    all[3]["spec"]["externalName"] = json!("api.provider.example");
    let state = allowing(&all, &[]);
    assert_eq!(addresses(&state, "service/front"), [""; 0]);
    assert_eq!(reasons(&state.findings()), [reason::NO_SELECTOR]);

    // Its ports do not choose among the ports of another carrier's pods.
    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    let ports = json!([{"name": "a", "containerPort": 1}, {"name": "b", "containerPort": 2}]);
    all[2]["spec"]["containers"] = json!([{"name": "s", "ports": ports}]);
    let mut front = service("front", json!({"app": "a"}));
    front["spec"]["ports"] = json!([{"port": 2}]);
    all.push(front);
    assert_eq!(
        addresses(&allowing(&all, &[]), "deployment/a"),
        ["10.0.0.1:2"]
    );
    all[3]["spec"]["type"] = json!("ExternalName");
    all[3]["spec"]["externalName"] = json!("api.provider.example");
    let state = allowing(&all, &[]);
    assert_eq!(addresses(&state, "deployment/a"), [""; 0]);
    assert_eq!(reasons(&state.findings()), [reason::AMBIGUOUS_PORT]);
}

#[test]
fn endpoints_listed_on_a_service_serve_and_refused_ones_affect_no_others() {
    let written = |list: &str| annotated(selectorless("gpu-box"), "headgate.dev/endpoints", list);
    let it = "service/gpu-box";
    let state = allowing(
        &[written("10.9.8.7:8000, [fd00::7]:8000,,10.9.8.7:8000")],
        &[],
    );
    assert_eq!(addresses(&state, it), ["10.9.8.7:8000", "[fd00::7]:8000"]);
    assert_eq!((carrier(&state, it).desired, state.findings()), (2, vec![]));
    assert!(carrier(&state, it).pods.iter().all(|pod| pod.ready));

    let list = "10.9.8.7:8000,169.254.169.254:80,api.provider.example:443,nonsense";
    let state = allowing(&[written(list)], &[]);
    assert_eq!(addresses(&state, it), ["10.9.8.7:8000"]);
    let mut refused = [reason::ENDPOINT_REFUSED; 3];
    refused[2] = reason::INVALID_ENDPOINT;
    assert_eq!(reasons(&state.findings()), refused);
    let command = "kubectl annotate service/gpu-box -n default headgate.dev/endpoints=";
    let message = state.findings().pop().map(|finding| finding.message);
    assert!(message.is_some_and(|message| message.contains(command)));
    let state = allowing(
        &[written(list)],
        &["169.254.169.254/32", "provider.example"],
    );
    assert_eq!(
        addresses(&state, it),
        [
            "10.9.8.7:8000",
            "169.254.169.254:80",
            "api.provider.example:443"
        ]
    );
    assert_eq!(reasons(&state.findings()), [reason::INVALID_ENDPOINT]);

    let grpc = annotated(written("10.9.8.7:8001"), "headgate.dev/protocol", "grpc");
    let state = allowing(&[grpc], &[]);
    assert_eq!(carrier(&state, it).pods[0].protocol, Protocol::Http2);
}

#[test]
fn listed_endpoints_precede_the_pods_of_a_service_unless_none_is_valid() {
    let mut all = deployment("a", 1, &[1]);
    let front = model(service("front", json!({"app": "a"})), "v1");
    all.push(annotated(
        front.clone(),
        "headgate.dev/endpoints",
        "10.9.8.7:8000",
    ));
    assert_eq!(
        addresses(&allowing(&all, &[]), "service/front"),
        ["10.9.8.7:8000"]
    );
    all[3] = annotated(front, "headgate.dev/endpoints", "127.0.0.1:8000");
    let state = allowing(&all, &[]);
    assert_eq!(addresses(&state, "service/front"), ["10.0.0.1:8000"]);
    assert_eq!(reasons(&state.findings()), [reason::ENDPOINT_REFUSED]);
}
