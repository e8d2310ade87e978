//! Carriers where several objects have labels, and findings on labels without an effect.

use headgate_model::{Severity, Subject, reason};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::objects::{Body, Object};
use crate::cluster::store::Store;
use headgate_kubernetes::kinds::Kind;
use headgate_model::Change;

/// A chart whose label helper is used for everything.
fn chart(version: &str, ips: &[u8]) -> Vec<Value> {
    let name = format!("hm-{version}");
    let all = deployment(&name, 1, ips);
    let mut all: Vec<Value> = all.into_iter().map(|o| model(o, version)).collect();
    let labels = json!({"app": name, "model-name": "llama", "model-version": version});
    for object in &mut all[..2] {
        object["spec"]["template"]["metadata"]["labels"] = labels.clone();
    }
    all.push(model(service(&name, json!({"app": name})), version));
    all
}

#[test]
fn a_weight_without_effect_is_reported_with_the_command_for_the_effective_object() {
    let mut all = chart("v2", &[1, 2]);
    let mut state = store(&all);
    assert_eq!(carriers(&state), ["service/hm-v2 1,2"]);
    assert_eq!(state.findings(), []);
    all[0] = labelled(all[0].clone(), &json!({"canary-weight": "30"}));
    all[0] = annotated(all[0].clone(), "headgate.dev/model-names", "it's");
    apply(&mut state, &all[0]);
    state.reconcile();
    let found = state.findings();
    assert_eq!(reasons(&found), [reason::LABEL_IGNORED; 2]);
    assert!(
        found
            .iter()
            .all(|f| f.object == Subject::Carrier(key("deployment/hm-v2")))
    );
    let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
    for command in [
        "kubectl label service/hm-v2 -n default canary-weight=30 --overwrite",
        "kubectl annotate service/hm-v2 -n default headgate.dev/model-names='it'\\''s' --overwrite",
        "kubectl annotate service/hm-v2 -n default headgate.dev/carrier=owner --overwrite",
    ] {
        assert!(
            messages.iter().any(|m| m.contains(command)),
            "{command}: {messages:#?}"
        );
    }
    // Each of the two commands ends the finding.
    let mut first = state.clone();
    let weighed = labelled(all[4].clone(), &json!({"canary-weight": "30"}));
    apply(
        &mut first,
        &annotated(weighed, "headgate.dev/model-names", "it's"),
    );
    first.reconcile();
    assert_eq!(first.findings(), []);
    let yields = annotated(all[4].clone(), "headgate.dev/carrier", "owner");
    apply(&mut state, &yields);
    assert_eq!(state.reconcile().change, Some(Change::Intent));
    assert_eq!(carriers(&state), ["deployment/hm-v2 1,2"]);
    assert_eq!(
        carrier(&state, "deployment/hm-v2").labels["canary-weight"],
        "30"
    );
    assert_eq!(state.findings(), []);
    // A policy attached to the Service still reaches the carrier.
    assert!(state.groups()[&key("service/hm-v2")].contains(&key("deployment/hm-v2")));
    // An unlabelled owner is not a carrier.
    let mut unlabelled = deployment("mute", 1, &[5]);
    unlabelled.push(annotated(
        model(service("mute", json!({"app": "mute"})), "v1"),
        "headgate.dev/carrier",
        "owner",
    ));
    assert_eq!(carriers(&store(&unlabelled)), ["service/mute 5"]);
}

#[test]
fn labels_only_on_the_template_make_one_carrier_with_a_hint() {
    let mut all = deployment("tmpl", 1, &[1, 2, 3]);
    for object in &mut all[1..] {
        *object = model(object.clone(), "v1");
    }
    for object in &mut all[..2] {
        object["spec"]["template"]["metadata"]["labels"] =
            json!({"app": "tmpl", "model-name": "llama", "model-version": "v1"});
    }
    let mut state = store(&all);
    assert_eq!(carriers(&state), ["deployment/tmpl 1,2,3"]);
    let found = state.findings();
    assert_eq!(reasons(&found), [reason::LABELS_ON_TEMPLATE]);
    assert_eq!(found[0].severity, Severity::Info);
    assert!(
        found[0]
            .message
            .contains("kubectl label deployment/tmpl -n default model-name=llama model-version=v1"),
        "{found:?}"
    );
    let it = carrier(&state, "deployment/tmpl");
    assert_eq!((it.labels["model-version"].as_str(), it.desired), ("v1", 3));

    // A weight on the object counts without a restart of pods.
    apply(
        &mut state,
        &labelled(all[0].clone(), &json!({"canary-weight": "20"})),
    );
    assert_eq!(state.reconcile().change, Some(Change::Intent));
    assert_eq!(
        carrier(&state, "deployment/tmpl").labels["canary-weight"],
        "20"
    );
    // The advice of the hint ends it.
    apply(&mut state, &model(all[0].clone(), "v1"));
    state.reconcile();
    assert_eq!(
        (carriers(&state), state.findings()),
        (vec!["deployment/tmpl 1,2,3".to_owned()], vec![])
    );

    // Scaled to zero it is declared once, without its ReplicaSets of earlier revisions.
    let mut old = all[1].clone();
    old["metadata"]["name"] = "tmpl-old".into();
    old["metadata"]["uid"] = "old".into();
    old["spec"]["template"]["metadata"]["labels"]["model-name"] = "other".into();
    assert_eq!(
        carriers(&store(&[all[0].clone(), all[1].clone(), old])),
        ["deployment/tmpl"]
    );
}

#[test]
fn pods_of_an_earlier_template_stay_with_the_model_that_they_name() {
    let mut all = deployment("tmpl", 1, &[1]);
    for object in &mut all[1..] {
        *object = model(object.clone(), "v1");
    }
    all[1]["spec"]["template"]["metadata"]["labels"]["model-name"] = "llama".into();
    all[0]["spec"]["template"]["metadata"]["labels"]["model-name"] = "phi".into();
    let state = store(&all);
    assert_eq!(
        carriers(&state),
        ["deployment/tmpl", "replicaset/tmpl-rs 1"]
    );
    assert_eq!(
        carrier(&state, "deployment/tmpl").labels["model-name"],
        "phi"
    );
}

#[test]
fn each_of_two_services_desires_the_replicas_of_a_workload_once() {
    let mut set = deployment("hm", 1, &[1, 2]);
    set[3] = ready(set[3].clone(), false);
    let front = model(service("hm", json!({"app": "hm"})), "v1");
    let mut headless = model(service("hm-headless", json!({"app": "hm"})), "v1");
    headless["spec"]["clusterIP"] = "None".into();
    let state = store(&[set, vec![front, headless]].concat());
    for identity in ["service/hm", "service/hm-headless"] {
        let it = carrier(&state, identity);
        assert_eq!((it.desired, it.pods.len()), (2, 2), "{identity}");
    }
    assert_eq!(state.findings(), []);
}

#[test]
fn of_two_services_of_one_version_http_precedes_grpc_and_a_pod_is_one_endpoint() {
    let ports = |mut service: Value, name: &str, port: u16| {
        service["spec"]["ports"] = json!([{"name": name, "port": 80, "targetPort": port}]);
        service
    };
    let of = |name: &str| model(service(name, json!({"app": "x"})), "v1");
    let store_with = |declared: Value, http: &str, grpc: &str| {
        let mut all = deployment("x", 1, &[1, 2]);
        for pod in &mut all[2..] {
            pod["spec"]["containers"] = json!([{"name": "server", "ports": declared}]);
        }
        all.push(ports(of("x"), http, 8000));
        all.push(ports(of("x-grpc"), grpc, 8001));
        store(&all)
    };
    let both = |store: &Store| {
        let of = |identity: &str| {
            let pods = carrier(store, identity).pods;
            let show = |pod: &headgate_model::Pod| format!("{} {}", pod.address, pod.protocol);
            pods.iter().map(show).collect::<Vec<_>>()
        };
        [of("service/x"), of("service/x-grpc")]
    };
    let http = vec![
        "10.0.0.1:8000 http1".to_owned(),
        "10.0.0.2:8000 http1".into(),
    ];
    let bare = json!([{"containerPort": 8000}, {"containerPort": 8001}]);
    let first = store_with(bare.clone(), "http", "grpc");
    assert_eq!(both(&first), [http.clone(), http.clone()]);
    assert_eq!(first.findings(), []);
    // If neither Service decides, the named port of the pod decides.
    let named = json!([{"name": "http", "containerPort": 8000}, {"containerPort": 8001}]);
    assert_eq!(
        both(&store_with(named, "a", "b")),
        [http.clone(), http.clone()]
    );
    let unclear = store_with(bare.clone(), "a", "b");
    assert_eq!(both(&unclear), [const { Vec::<String>::new() }; 2]);
    assert_eq!(reasons(&unclear.findings()), [reason::AMBIGUOUS_PORT; 2]);
    // The same if the workload is the carrier.
    let mut all = deployment("x", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "v1");
    for pod in &mut all[2..] {
        pod["spec"]["containers"] = json!([{"name": "server", "ports": bare}]);
    }
    for (name, port, number) in [("x", "http", 8000), ("x-grpc", "grpc", 8001)] {
        let it = ports(of(name), port, number);
        all.push(annotated(it, "headgate.dev/carrier", "owner"));
    }
    let owned = carrier(&store(&all), "deployment/x").pods;
    assert!(
        owned.iter().all(|pod| pod.address.port() == 8000),
        "{owned:?}"
    );
    // Services of other versions lead to their own ports.
    let mut all = deployment("x", 1, &[1]);
    all[2]["spec"]["containers"] = json!([{"name": "server", "ports": bare}]);
    all.push(ports(of("x"), "http", 8000));
    all.push(ports(model(of("y"), "v2"), "grpc", 8001));
    let apart = store(&all);
    for (identity, port) in [("service/x", 8000), ("service/y", 8001)] {
        assert_eq!(carrier(&apart, identity).pods[0].address.port(), port);
    }
}

#[test]
fn min_ready_seconds_come_from_the_workload_and_a_service_has_the_greatest() {
    let with = |name: &str, ip: u8, seconds: u32| {
        let mut all = deployment(name, 1, &[ip]);
        all[0]["spec"]["minReadySeconds"] = seconds.into();
        let last = all.last_mut().unwrap();
        *last = labelled(last.clone(), &json!({"group": "g"}));
        last["status"]["conditions"][1]["lastTransitionTime"] = "2026-01-01T00:01:00Z".into();
        all
    };
    let mut all = [with("a", 1, 10), with("b", 2, 30)].concat();
    all[0] = model(all[0].clone(), "v1");
    let it = carrier(&store(&all), "deployment/a");
    assert_eq!(
        (it.min_ready_seconds, it.pods[0].ready_since),
        (10, Some(1_767_225_660))
    );
    all.push(model(service("front", json!({"group": "g"})), "v1"));
    assert_eq!(carrier(&store(&all), "service/front").min_ready_seconds, 30);
    // Each kind has its own field or none.
    for (kind, expected) in [("Rollout", 20), ("StatefulSet", 20), ("LeaderWorkerSet", 0)] {
        let mut owner = model(replicas(object(kind, "it", 1, None), 1), "v1");
        owner["spec"]["minReadySeconds"] = 20.into();
        let identity = format!("{}/it", kind.to_ascii_lowercase());
        assert_eq!(
            carrier(&store(&[owner]), &identity).min_ready_seconds,
            expected,
            "{kind}"
        );
    }
    let own: Kind = "my.org/v1/gangs/Gang=/spec/n,/spec/wait".parse().unwrap();
    let mut gang = object("Gang", "it", 1, None);
    gang["spec"] = json!({"n": 1, "wait": 7, "minReadySeconds": 20});
    let Body::Owner {
        min_ready_seconds, ..
    } = Object::owner(&gang, &own).unwrap().body
    else {
        panic!("{gang}");
    };
    assert_eq!(min_ready_seconds, 7);
}

#[test]
fn reasons_why_pods_are_not_ready_are_reported_once_without_their_names() {
    let mut all = deployment("m", 1, &[1, 2, 3, 4, 5]);
    all[0] = model(all[0].clone(), "v1");
    let waits = |reason: &str, message: &str| json!({"state": {"waiting": {"reason": reason, "message": message}}});
    for object in &mut all[2..] {
        *object = ready(object.clone(), false);
    }
    let pull = waits(
        "ImagePullBackOff",
        "Back-off pulling image \"does-not-exist\" for m-1",
    );
    all[2]["status"]["containerStatuses"] = json!([pull]);
    all[3]["status"]["containerStatuses"] = json!([waits(
        "ImagePullBackOff",
        "Back-off pulling image \"does-not-exist\" for m-2"
    )]);
    let mut crash = waits(
        "CrashLoopBackOff",
        "back-off 5m0s restarting failed container=s pod=m-3_default(uid)",
    );
    crash["lastState"]["terminated"] = json!({"reason": "OOMKilled", "exitCode": 137});
    all[4]["status"]["initContainerStatuses"] = json!([crash]);
    let long = format!(
        "0/5 nodes are available: {}",
        "insufficient nvidia.com/gpu, ".repeat(20)
    );
    all[5]["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": long}]);
    all[6]["status"]["conditions"][1]["reason"] = "ContainersNotReady".into();
    let mut state = store(&all);
    let unready = carrier(&state, "deployment/m").unready_reasons;
    assert_eq!(unready.len(), 3, "{unready:#?}");
    assert_eq!(unready[0], "ContainersNotReady");
    assert_eq!(unready[1], "CrashLoopBackOff: OOMKilled, exit code 137");
    assert_eq!(
        unready[2],
        "ImagePullBackOff: Back-off pulling image \"does-not-exist\" for POD"
    );

    // Reasons alone are churn, and a ready pod has no reason.
    all[6]["status"]["conditions"][1]["reason"] = "Other".into();
    apply(&mut state, &all[6]);
    assert_eq!(state.reconcile().change, Some(Change::Churn));
    for index in [2, 3, 4, 6] {
        apply(&mut state, &ready(all[index].clone(), true));
    }
    state.reconcile();
    let unready = carrier(&state, "deployment/m").unready_reasons;
    assert!(
        unready.len() == 1
            && unready[0].starts_with("Unschedulable: 0/5 nodes")
            && unready[0].ends_with('…'),
        "{unready:?}"
    );
    assert_eq!(unready[0].chars().count(), 200);
}

#[test]
fn a_labelled_pod_whose_owner_is_not_watched_gets_advice_on_the_label() {
    let carriers_and_reasons = |kind: &str, also: &[Value]| {
        let owner = object(kind, "o", 1, None);
        let mut all = vec![model(pod("o-1", 1, Some(&owner)), "v1")];
        all.extend_from_slice(also);
        let state = store(&all);
        let found = state.findings().into_iter();
        let found = found.filter(|f| f.reason == reason::OWNER_NOT_WATCHED);
        let found: Vec<String> = found.map(|f| f.message).collect();
        (carriers(&state), found)
    };
    for (kind, words) in [
        ("Job", "the pods of a Job end, so label the pod template"),
        ("Mystery", "--owner-kind my.org/VERSION/PLURAL/Mystery"),
    ] {
        let (carriers, found) = carriers_and_reasons(kind, &[]);
        assert_eq!(carriers, ["pod/o-1 1"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(words), "{found:?}");
        assert!(found[0].contains("kubectl describe pod/o-1 -n default"));
    }
    // A static pod is not owned by a workload.
    assert_eq!(carriers_and_reasons("Node", &[]).1, [""; 0]);
    let selects = model(service("s", json!({"model-name": "llama"})), "v1");
    let (carriers, found) = carriers_and_reasons("Job", &[selects]);
    assert_eq!(carriers, ["service/s 1"]);
    assert_eq!(found, [""; 0]);
}
