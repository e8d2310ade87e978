//! Owners of pods that differ, as their operators create them: the pods that serve, and the desired replicas.

use headgate_model::{Protocol, reason};
use serde_json::{Value, json};

use super::active_generations::rollout;
use super::fixtures::*;
use crate::cluster::objects::{Body, Object};
use crate::cluster::roles::reads_in_full;
use crate::cluster::store::Store;
use headgate_kubernetes::kinds::Kind;

/// A part of an owner: a Deployment, its ReplicaSet and its pods, with these labels and containers.
pub(super) fn part(
    owner: &Value,
    name: &str,
    ips: &[u8],
    labels: &Value,
    spec: &Value,
) -> Vec<Value> {
    let count = u32::try_from(ips.len()).unwrap();
    let mut deployment = replicas(object("Deployment", name, 1, Some(owner)), count);
    deployment["spec"]["template"]["metadata"]["labels"] = labels.clone();
    let mut set = replicas(
        object("ReplicaSet", &format!("{name}-5d"), 1, Some(&deployment)),
        count,
    );
    set["spec"]["template"]["metadata"]["labels"] = labels.clone();
    let made = |ip: &u8| {
        let mut pod = labelled(pod(&format!("{name}-5d-{ip}"), *ip, Some(&set)), labels);
        pod["spec"] = spec.clone();
        pod
    };
    let pods: Vec<Value> = ips.iter().map(made).collect();
    [vec![deployment, set], pods].concat()
}

pub(super) fn listens(ports: &Value) -> Value {
    json!({"containers": [{"name": "main", "ports": ports}]})
}

/// The endpoint picker of an LLMInferenceService.
fn picker(owner: &Value, labels: &Value) -> Vec<Value> {
    let ports = json!([
        {"name": "grpc", "containerPort": 9002}, {"name": "grpc-health", "containerPort": 9003}, {"name": "metrics", "containerPort": 9090},
    ]);
    part(
        owner,
        "qwen-kserve-router-scheduler",
        &[9],
        labels,
        &listens(&ports),
    )
}

/// Its servers: a routing sidecar where clients connect, and the engine behind it, neither with a name.
fn servers(owner: &Value, labels: &Value) -> Vec<Value> {
    let spec = json!({
        "initContainers": [
            {"name": "storage-initializer", "ports": [{"name": "http", "containerPort": 7}]},
            {"name": "routing", "restartPolicy": "Always", "ports": [{"containerPort": 8000}]},
        ],
        "containers": [{"name": "main", "ports": [{"containerPort": 8001}]}],
    });
    part(owner, "qwen-kserve", &[1, 2], labels, &spec)
}

fn addresses(store: &Store, identity: &str) -> Vec<String> {
    let pods = carrier(store, identity).pods;
    pods.iter().map(|pod| pod.address.to_string()).collect()
}

#[test]
fn an_endpoint_picker_is_not_an_endpoint() {
    let owner = model(object("LLMInferenceService", "qwen", 1, None), "v1");
    let it = "llminferenceservice/qwen";
    // Without labels of the operator, as in a manual set-up, the port is ambiguous.
    let apart = (json!({"part": "workload"}), json!({"part": "scheduler"}));
    let all = [
        vec![owner.clone()],
        servers(&owner, &apart.0),
        picker(&owner, &apart.1),
    ]
    .concat();
    let state = store(&all);
    assert_eq!(addresses(&state, it), Vec::<String>::new());
    assert_eq!(reasons(&state.findings()), [reason::AMBIGUOUS_PORT]);

    // After the advice, only the pods that declare the port serve.
    for port in ["8000", "routed"] {
        let mut all = all.clone();
        all[0] = annotated(all[0].clone(), "headgate.dev/port", port);
        for pod in &mut all {
            let sidecar = pod.pointer_mut("/spec/initContainers/1/ports/0");
            if let Some(port) = sidecar {
                port["name"] = "routed".into();
            }
        }
        let state = store(&all);
        assert_eq!(
            addresses(&state, it),
            ["10.0.0.1:8000", "10.0.0.2:8000"],
            "{port}"
        );
        assert_eq!(carrier(&state, it).desired, 2);
        assert_eq!(state.findings(), []);
    }

    // With the labels and the Services of the operator.
    let workload = json!({
        "app.kubernetes.io/component": "llminferenceservice-workload", "kserve.io/component": "workload", "llm-d.ai/role": "decode",
    });
    let prefill = json!({
        "app.kubernetes.io/component": "llminferenceservice-workload-prefill", "kserve.io/component": "workload",
        "llm-d.ai/role": "prefill",
    });
    let scheduler = json!({"app.kubernetes.io/component": "llminferenceservice-router-scheduler"});
    let mut leads = service(
        "qwen-kserve-workload-svc",
        json!({"kserve.io/component": "workload"}),
    );
    leads["spec"]["ports"] =
        json!([{"name": "https", "port": 8000, "targetPort": 8000, "appProtocol": "https"}]);
    let mut epp = service("qwen-epp-service", scheduler.clone());
    epp["spec"]["ports"] = json!([{"name": "grpc-ext-proc", "port": 9002, "targetPort": 9002, "appProtocol": "http2"}]);
    let prefills = part(
        &owner,
        "qwen-kserve-prefill",
        &[5],
        &prefill,
        &listens(&json!([{"containerPort": 8000}])),
    );
    let all = [
        vec![owner.clone(), leads, epp],
        servers(&owner, &workload),
        prefills,
        picker(&owner, &scheduler),
    ]
    .concat();
    let state = store(&all);
    assert_eq!(addresses(&state, it), ["10.0.0.1:8000", "10.0.0.2:8000"]);
    assert_eq!(carrier(&state, it).desired, 2);
    assert_eq!(reasons(&state.findings()), [reason::TLS_PORT]);
    for written in ["true", "false"] {
        let mut all = all.clone();
        all[0] = annotated(all[0].clone(), "headgate.dev/tls", written);
        assert_eq!(store(&all).findings(), [], "{written}");
    }
}

#[test]
fn indistinguishable_parts_are_not_endpoints_and_a_labelled_service_is_advised() {
    let owner = model(object("Whole", "qwen", 1, None), "v1");
    let it = "whole/qwen";
    let http = |name: &str, ip: u8, number: u16| {
        let ports = listens(&json!([{"name": "http", "containerPort": number}]));
        part(&owner, name, &[ip], &json!({"part": name}), &ports)
    };
    let unnamed = |name: &str, ip: u8, number: u16| {
        let ports = listens(&json!([{"containerPort": number}]));
        part(&owner, name, &[ip], &json!({"part": name}), &ports)
    };
    let grpc = picker(&owner, &json!({"part": "scheduler"}));
    let none: &[&str] = &[];
    let rows = [
        (
            "alike",
            [http("a", 1, 8000), http("b", 2, 8000)].concat(),
            &["10.0.0.1:8000", "10.0.0.2:8000"][..],
            false,
        ),
        (
            "alike, by the only port",
            [unnamed("a", 1, 8000), unnamed("b", 2, 8000)].concat(),
            &["10.0.0.1:8000", "10.0.0.2:8000"],
            false,
        ),
        (
            "a picker beside HTTP",
            [http("a", 1, 8000), grpc.clone()].concat(),
            &["10.0.0.1:8000"],
            true,
        ),
        (
            "a picker beside what has no name",
            [unnamed("a", 1, 8000), grpc.clone()].concat(),
            none,
            true,
        ),
        (
            "HTTP and HTTP elsewhere",
            [http("a", 1, 8000), http("b", 2, 3000)].concat(),
            none,
            true,
        ),
        ("gRPC alone", grpc, &["10.0.0.9:9002"], false),
    ];
    for (what, parts, expected, expected_reasons) in rows {
        let state = store(&[vec![owner.clone()], parts].concat());
        assert_eq!(addresses(&state, it), expected, "{what}");
        let found = state.findings();
        let of = if expected_reasons {
            vec![reason::ROLES_UNCLEAR]
        } else {
            Vec::new()
        };
        assert_eq!(reasons(&found), of, "{what}");
        assert!(
            found
                .iter()
                .all(|f| f.message.contains("label the Service")),
            "{found:?}"
        );
    }
    // The advice: the Service that leads to the servers.
    let front = model(service("front", json!({"part": "a"})), "v1");
    let picker = picker(&owner, &json!({"part": "scheduler"}));
    let state = store(&[vec![owner.clone(), front], unnamed("a", 1, 8000), picker].concat());
    assert_eq!(addresses(&state, "service/front"), ["10.0.0.1:8000"]);
    assert_eq!(carrier(&state, "service/front").desired, 1);
    assert_eq!(state.findings(), []);
}

#[test]
fn an_annotated_port_that_no_part_declares_makes_no_part_an_endpoint() {
    let mut owner = model(object("Whole", "qwen", 1, None), "v1");
    owner = annotated(owner, "headgate.dev/port", "8000");
    let it = "whole/qwen";
    let unlabelled = |name: &str, ip: u8| {
        let spec = listens(&json!([]));
        part(&owner, name, &[ip], &json!({"part": name}), &spec)
    };
    let none: &[&str] = &[];
    let state = store(&[vec![owner.clone()], unlabelled("a", 1), unlabelled("b", 2)].concat());
    assert_eq!(addresses(&state, it), none);
    let found = state.findings();
    assert_eq!(reasons(&found), [reason::ROLES_UNCLEAR]);
    for text in ["port 8000", "its parts a, b", "label the Service"] {
        assert!(found[0].message.contains(text), "{found:?}");
    }
    // Also before a part has pods.
    let mut late = unlabelled("b", 2);
    late.truncate(2);
    let state = store(&[vec![owner.clone()], unlabelled("a", 1), late].concat());
    assert_eq!(addresses(&state, it), none);
    // One part, or equal pods, are unambiguous.
    let state = store(&[vec![owner.clone()], unlabelled("a", 1)].concat());
    assert_eq!(addresses(&state, it), ["10.0.0.1:8000"]);
    assert_eq!(state.findings(), []);
    let bare = |ip: u8| {
        let mut pod = pod(&format!("bare-{ip}"), ip, Some(&owner));
        pod["spec"] = listens(&json!([]));
        pod
    };
    let state = store(&[owner.clone(), bare(1), bare(2)]);
    assert_eq!(addresses(&state, it), ["10.0.0.1:8000", "10.0.0.2:8000"]);
    assert_eq!(state.findings(), []);
    // The advice.
    let front = model(service("front", json!({"part": "a"})), "v1");
    let front = annotated(front, "headgate.dev/port", "8000");
    let state = store(
        &[
            vec![owner.clone(), front],
            unlabelled("a", 1),
            unlabelled("b", 2),
        ]
        .concat(),
    );
    assert_eq!(addresses(&state, "service/front"), ["10.0.0.1:8000"]);
}

#[test]
fn the_labels_of_operators_count_also_for_kinds_given_by_a_flag() {
    for text in [
        "argoproj.io/v1alpha1/rollouts/Rollout",
        "argoproj.io/v1beta1/rollouts/Rollout=/spec/replicas",
    ] {
        let kind: Kind = text.parse().unwrap();
        assert!(reads_in_full(&kind), "{text}");
        let mut owner = rollout(&json!({"blueGreen": {"activeService": "a"}}), true).remove(0);
        owner["status"] = json!({"blueGreen": {"activeSelector": "aaa"}});
        let read = Object::owner(&owner, &kind).unwrap();
        let Body::Owner {
            replicas,
            generations,
            ..
        } = read.body
        else {
            panic!("{text}");
        };
        assert_eq!((replicas, generations.is_some()), (Some(2), true), "{text}");
    }
}

#[test]
fn a_transformer_serves_in_front_of_its_predictor_pods() {
    let owner = model(object("InferenceService", "isvc", 1, None), "v1");
    let ports = listens(&json!([{"name": "http1", "containerPort": 8080}]));
    let of = |name: &str, ip: u8| part(&owner, name, &[ip], &json!({"component": name}), &ports);
    let it = "inferenceservice/isvc";
    let state = store(&[vec![owner.clone()], of("predictor", 1), of("explainer", 3)].concat());
    assert_eq!(addresses(&state, it), ["10.0.0.1:8080"]);
    let mut all = [
        vec![owner.clone()],
        of("predictor", 1),
        of("transformer", 2),
    ]
    .concat();
    let state = store(&all);
    assert_eq!(addresses(&state, it), ["10.0.0.2:8080"]);
    assert_eq!((carrier(&state, it).desired, state.findings()), (1, vec![]));
    // Also while it has no pods.
    all.pop();
    assert_eq!(addresses(&store(&all), it), Vec::<String>::new());
}

#[test]
fn workers_of_a_leader_are_not_endpoints_even_if_they_declare_its_port() {
    let group = model(replicas(object("LeaderWorkerSet", "lws", 1, None), 1), "v1");
    let set = replicas(object("StatefulSet", "lws", 1, Some(&group)), 1);
    let index = |pod, index: &str| {
        labelled(
            pod,
            &json!({"leaderworkerset.sigs.k8s.io/worker-index": index}),
        )
    };
    let leader = index(pod("lws-0", 1, Some(&set)), "0");
    let workers = replicas(object("StatefulSet", "lws-0", 1, Some(&leader)), 1);
    let worker = index(pod("lws-0-1", 2, Some(&workers)), "1");
    let state = store(&[group, set, leader, workers, worker]);
    assert_eq!(carriers(&state), ["leaderworkerset/lws 1"]);
    assert_eq!(carrier(&state, "leaderworkerset/lws").desired, 1);
    assert_eq!(state.findings(), []);
}

#[test]
fn a_port_of_a_native_sidecar_serves() {
    for annotation in [None, Some("http")] {
        let mut all = deployment("sidecar", 1, &[1]);
        all[0] = model(all[0].clone(), "v1");
        if let Some(text) = annotation {
            all[0] = annotated(all[0].clone(), "headgate.dev/port", text);
        }
        all[2]["spec"] = json!({
            "initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "http", "containerPort": 8000}]}],
            "containers": [{"name": "server", "ports": [{"name": "metrics", "containerPort": 8200}]}],
        });
        let state = store(&all);
        assert_eq!(addresses(&state, "deployment/sidecar"), ["10.0.0.1:8000"]);
        assert_eq!(state.findings(), []);
        // A plain init container no longer listens.
        all[2]["spec"]["initContainers"][0]["restartPolicy"] = Value::Null;
        let state = store(&all);
        assert_eq!(
            addresses(&state, "deployment/sidecar"),
            Vec::<String>::new()
        );
    }
}

#[test]
fn annotations_choose_the_protocol_and_the_service() {
    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    all[2]["spec"] = listens(&json!([{"containerPort": 8000}, {"containerPort": 8001}]));
    let leads = |name: &str, port: u16| {
        let mut service = service(name, json!({"app": "a"}));
        service["spec"]["ports"] = json!([{"name": "grpc", "port": 80, "targetPort": port}]);
        service
    };
    let with = |annotations: &[(&str, &str)]| {
        let mut all = [all.clone(), vec![leads("one", 8000), leads("two", 8001)]].concat();
        for (key, value) in annotations {
            all[0] = annotated(all[0].clone(), key, value);
        }
        store(&all)
    };
    let state = with(&[]);
    assert_eq!(reasons(&state.findings()), [reason::AMBIGUOUS_PORT]);
    let state = with(&[("headgate.dev/service", "two")]);
    let endpoint = &carrier(&state, "deployment/a").pods[0];
    assert_eq!(
        (endpoint.address.port(), endpoint.protocol),
        (8001, Protocol::Http2)
    );
    assert_eq!(state.findings(), []);
    let state = with(&[
        ("headgate.dev/service", "two"),
        ("headgate.dev/protocol", "client"),
    ]);
    assert_eq!(
        carrier(&state, "deployment/a").pods[0].protocol,
        Protocol::Client
    );
    let state = with(&[
        ("headgate.dev/service", "three"),
        ("headgate.dev/port", "8000"),
        ("headgate.dev/protocol", "spdy"),
    ]);
    let endpoint = &carrier(&state, "deployment/a").pods[0];
    assert_eq!(
        (endpoint.address.port(), endpoint.protocol),
        (8000, Protocol::Http2)
    );
    assert_eq!(
        reasons(&state.findings()),
        [reason::INVALID_PROTOCOL, reason::INVALID_SERVICE]
    );
}

#[test]
fn a_service_that_is_added_changed_or_removed_changes_the_port() {
    let mut all = deployment("a", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    all[2]["spec"] = listens(
        &json!([{"name": "main", "containerPort": 8000}, {"name": "other", "containerPort": 9000}]),
    );
    let mut state = store(&all);
    let mut step = |event: &dyn Fn(&mut Store)| {
        event(&mut state);
        state.reconcile();
        (
            addresses(&state, "deployment/a").join(" "),
            reasons(&state.findings()),
        )
    };
    let leads = |target: &str| {
        let mut service = service("engine", json!({"app": "a"}));
        service["spec"]["ports"] =
            json!([{"name": "service-port", "port": 80, "targetPort": target}]);
        service
    };
    let ambiguous = (String::new(), vec![reason::AMBIGUOUS_PORT]);
    assert_eq!(step(&|_| {}), ambiguous);
    assert_eq!(
        step(&|s| apply(s, &leads("main"))),
        ("10.0.0.1:8000".to_owned(), vec![])
    );
    assert_eq!(
        step(&|s| apply(s, &leads("other"))),
        ("10.0.0.1:9000".to_owned(), vec![])
    );
    assert_eq!(step(&|s| delete(s, &leads("other"))), ambiguous);
    let mut to = pool("pool", json!({"app": "a"}));
    to["spec"]["targetPorts"] = json!([{"number": 8000}]);
    assert_eq!(
        step(&|s| apply(s, &to)),
        ("10.0.0.1:8000".to_owned(), vec![])
    );
}
