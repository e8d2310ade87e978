//! Pods with more containers than the server: proxies that meshes inject, and sidecars with their own ports.

use headgate_model::{PortSource, Protocol};
use serde_json::{Value, json};

use super::fixtures::*;
use super::operators::{addresses, engine, engine_service, leads, server};
use super::roles::{listens, part};
use crate::cluster::store::Store;

/// The proxy that Istio injects.
fn istio() -> Value {
    json!({"name": "istio-proxy", "ports": [{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}]})
}

/// A pod's spec with another container, as one of its containers and as a native sidecar.
fn beside(spec: &Value, sidecar: &Value) -> [Value; 2] {
    let (mut container, mut native) = (spec.clone(), spec.clone());
    container["containers"]
        .as_array_mut()
        .unwrap()
        .insert(0, sidecar.clone());
    let mut restarted = sidecar.clone();
    restarted["restartPolicy"] = "Always".into();
    native["initContainers"] = json!([restarted]);
    [container, native]
}

#[track_caller]
fn serves(objects: &[Value], identity: &str, port: u16) {
    let state = store(objects);
    assert_eq!(addresses(&state, identity), [format!("10.0.0.1:{port}")]);
    assert_eq!(state.findings(), []);
}

#[test]
fn ports_of_an_injected_proxy_are_not_ports_of_the_server() {
    let unnamed = listens(&json!([{"containerPort": 8000}]));
    let nim = listens(&json!([{"name": "api", "containerPort": 8000}]));
    let service_port =
        json!([{"name": "service-port", "port": 80, "targetPort": "container-port"}]);
    let vllm = leads("vllm-service", &service_port);
    for (spec, services) in [
        (&unnamed, vec![]),
        (&nim, vec![]),
        (&engine(), vec![]),
        (&engine(), vec![engine_service()]),
        (&engine(), vec![vllm]),
    ] {
        for spec in beside(spec, &istio()) {
            let all = [server(&spec), services.clone()].concat();
            serves(&all, "deployment/vllm", 8000);
        }
    }
    // Ports with uninformative names.
    for (name, ports) in [
        (
            "linkerd-proxy",
            json!([{"name": "linkerd-proxy", "containerPort": 4143}, {"name": "linkerd-admin", "containerPort": 4191}]),
        ),
        (
            "daprd",
            json!([{"name": "dapr-http", "containerPort": 3500}, {"name": "dapr-grpc", "containerPort": 50001}]),
        ),
        ("kuma-sidecar", json!([{"containerPort": 15001}])),
        ("consul-dataplane", json!([{"containerPort": 20000}])),
    ] {
        for spec in beside(&unnamed, &json!({"name": name, "ports": ports})) {
            serves(&server(&spec), "deployment/vllm", 8000);
        }
    }
}

#[test]
fn an_injected_proxy_does_not_change_the_port_of_the_kserve_predictor() {
    let owner = model(object("InferenceService", "llama", 1, None), "v1");
    let labels = json!({"app": "isvc.llama-predictor", "component": "predictor"});
    let mut front = service("llama-predictor", json!({"app": "isvc.llama-predictor"}));
    front["spec"]["ports"] = json!([{"name": "llama-predictor", "port": 80, "targetPort": 8080}]);
    for cluster_ip in [Value::Null, "None".into()] {
        front["spec"]["clusterIP"] = cluster_ip;
        for spec in beside(&listens(&json!([{"containerPort": 8080}])), &istio()) {
            let pods = part(&owner, "llama-predictor", &[1], &labels, &spec);
            let all = [vec![owner.clone(), front.clone()], pods].concat();
            serves(&all, "inferenceservice/llama", 8080);
        }
    }
}

#[test]
fn a_sidecar_port_named_http_does_not_precede_the_port_of_the_only_service() {
    let spec = json!({"containers": [
        {"name": "server", "ports": [{"name": "container-port", "containerPort": 8000}]},
        {"name": "logs", "ports": [{"name": "http", "containerPort": 2020}]},
    ]});
    let to = json!([{"name": "service-port", "port": 80, "targetPort": "container-port"}]);
    let mut front = leads("vllm", &to);
    front["spec"]["clusterIP"] = "10.96.0.7".into();
    let mut state = store(&[server(&spec), vec![front.clone()]].concat());
    let it = |state: &Store| {
        let pod = carrier(state, "deployment/vllm").pods.remove(0);
        (pod.address.to_string(), pod.port_source)
    };
    let by_service = (
        "10.0.0.1:8000".to_owned(),
        PortSource::Service("vllm".into()),
    );
    assert_eq!(it(&state), by_service);
    assert_eq!(state.findings(), []);
    // A headless Service may have any purpose.
    front["spec"]["clusterIP"] = "None".into();
    apply(&mut state, &front);
    state.reconcile();
    assert_eq!(
        it(&state),
        ("10.0.0.1:2020".to_owned(), PortSource::Name("http".into()))
    );
}

#[test]
fn a_port_named_h2c_by_kserve_does_not_make_grpc_http() {
    let spec = listens(
        &json!([{"name": "api", "containerPort": 8000}, {"name": "grpc", "containerPort": 50051}]),
    );
    let h2c = "kubernetes.io/h2c";
    let to = json!([
        {"name": "api", "port": 80, "targetPort": "api"}, {"name": "grpc", "port": 81, "targetPort": "grpc", "appProtocol": h2c},
    ]);
    let mut all = [server(&spec), vec![leads("nim", &to)]].concat();
    serves(&all, "deployment/vllm", 8000);
    // With the annotation the protocol follows.
    all[0] = annotated(all[0].clone(), "headgate.dev/port", "grpc");
    let pod = carrier(&store(&all), "deployment/vllm").pods.remove(0);
    assert_eq!((pod.address.port(), pod.protocol), (50051, Protocol::Http2));

    // An endpoint picker is still not an endpoint.
    let owner = model(object("LLMInferenceService", "qwen", 1, None), "v1");
    let of = |name: &str, ip: u8, port: Value| {
        part(
            &owner,
            name,
            &[ip],
            &json!({"app": name}),
            &listens(&json!([port])),
        )
    };
    let mut front = service("picker", json!({"app": "picker"}));
    front["spec"]["ports"] = json!([{"name": "grpc", "port": 9002, "appProtocol": h2c}]);
    let all = [
        vec![owner.clone(), front],
        of(
            "workload",
            1,
            json!({"name": "http", "containerPort": 8000}),
        ),
        of("picker", 2, json!({"name": "grpc", "containerPort": 9002})),
    ];
    serves(&all.concat(), "llminferenceservice/qwen", 8000);
}
