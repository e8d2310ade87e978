//! Pods that serve, and a carrier's desired replicas, as tables of objects.

use headgate_model::reason;
use serde_json::{Value, json};

use super::fixtures::*;

/// A pod without a serving port, such as a Ray worker, a router or a batch job.
fn portless(name: &str, ip: u8, owner: &Value) -> Value {
    let mut pod = pod(name, ip, Some(owner));
    pod["spec"]["containers"] = json!([{"name": "worker"}]);
    pod
}

#[test]
fn pods_that_do_not_serve_are_neither_desired_nor_reported() {
    // As in a Ray cluster: a head that serves, and its workers.
    let whole = model(object("InferenceService", "whole", 1, None), "one");
    let head = pod("head", 1, Some(&whole));
    let worker = |n: u8| portless(&format!("worker-{n}"), n, &whole);
    let ray = vec![whole.clone(), head, worker(2), worker(3), worker(4)];
    // As in KServe: a predictor, and a router without a port of these names.
    let owned = |kind: &str, name: &str| object(kind, name, 1, Some(&whole));
    let predictor = replicas(owned("Deployment", "predictor"), 3);
    let router = replicas(owned("Deployment", "router"), 2);
    let made = |name: &str, owner: &Value| object("ReplicaSet", name, 1, Some(owner));
    let (predictors, routers) = (made("predictor", &predictor), made("router", &router));
    let pods = [
        pod("predictor", 1, Some(&predictors)),
        portless("router", 2, &routers),
    ];
    let kserve = [
        vec![whole.clone(), predictor, router, predictors, routers],
        pods.to_vec(),
    ]
    .concat();
    for (objects, expected) in [(ray, 1), (kserve, 3)] {
        let state = store(&objects);
        assert_eq!(carriers(&state), ["inferenceservice/whole 1"]);
        let it = carrier(&state, "inferenceservice/whole");
        assert_eq!(it.desired, expected, "{objects:#?}");
        assert_eq!(state.findings(), [], "all is well");
    }

    // As in a LeaderWorkerSet: the pod of the leader owns the set of its workers.
    let mut group = replicas(object("Deployment", "group", 1, None), 1);
    group = model(group, "one");
    let leader = pod("leader", 1, Some(&group));
    let set = object("ReplicaSet", "workers", 1, Some(&leader));
    let worker = portless("worker", 2, &set);
    assert_eq!(store(&[group, leader, set, worker]).findings(), []);

    // If no pod has such a port, all are desired and a finding reports it, also for half of a rollout.
    let none = vec![
        whole.clone(),
        portless("a", 1, &whole),
        portless("b", 2, &whole),
    ];
    let mut half = deployment("half", 1, &[1, 2]);
    half[0] = model(half[0].clone(), "one");
    half[3] = portless("new", 3, &half[1]);
    for (objects, identity) in [(none, "inferenceservice/whole"), (half, "deployment/half")] {
        let state = store(&objects);
        assert_eq!(carrier(&state, identity).desired, 2);
        assert_eq!(reasons(&state.findings()), [reason::NO_PORT]);
    }
}

#[test]
fn an_ended_pod_is_not_desired_and_does_not_declare_a_version() {
    for phase in ["Failed", "Succeeded"] {
        let ended = |mut pod: Value| {
            pod["status"]["phase"] = phase.into();
            ready(pod, false)
        };
        // An evicted pod, for example, keeps its address and may exist for days.
        let bare = ended(model(pod("bare", 1, None), "one"));
        assert_eq!(carriers(&store(&[bare])), Vec::<String>::new(), "{phase}");
        let whole = model(object("InferenceService", "whole", 1, None), "one");
        let old = labelled(
            pod("old", 1, Some(&whole)),
            &json!({"model-version": "old"}),
        );
        let state = store(&[whole.clone(), ended(old), pod("new", 2, Some(&whole))]);
        let it = carrier(&state, "inferenceservice/whole");
        let names: Vec<&str> = it.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!((names, it.desired), (vec!["new"], 1), "{phase}");
    }
}
