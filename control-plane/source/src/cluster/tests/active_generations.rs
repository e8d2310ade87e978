//! Generations of pods that an owner runs side by side: the one that takes traffic serves.

use headgate_model::{Change, reason};
use serde_json::{Value, json};

use super::fixtures::*;

/// A Ray cluster of a RayService: a head that does not serve, and a worker that serves.
pub(super) fn ray(service: &Value, name: &str, age: u32, ip: u8) -> Vec<Value> {
    let cluster = object("RayCluster", name, age, Some(service));
    let of = |kind: &str, serve: &str| json!({"ray.io/cluster": name, "ray.io/node-type": kind, "ray.io/serve": serve});
    let node = |kind: &str, serve: &str, ip: u8| {
        let mut pod = labelled(
            pod(&format!("{name}-{kind}"), ip, Some(&cluster)),
            &of(kind, serve),
        );
        pod["spec"]["containers"] = json!([{"name": "ray", "ports": [
            {"name": "gcs-server", "containerPort": 6379}, {"name": "dashboard", "containerPort": 8265}, {"name": "serve", "containerPort": 8000},
        ]}]);
        pod
    };
    vec![
        cluster.clone(),
        node("head", "false", ip),
        node("worker", "true", ip + 1),
    ]
}

#[test]
fn only_pods_that_kuberay_marks_in_the_active_cluster_serve() {
    let mut owner = model(object("RayService", "ray", 1, None), "v1");
    owner["status"] = json!({
        "activeServiceStatus": {"rayClusterName": "ray-aaa"}, "pendingServiceStatus": {"rayClusterName": "ray-bbb"},
    });
    let both = |owner: &Value| {
        [
            vec![owner.clone()],
            ray(owner, "ray-aaa", 1, 1),
            ray(owner, "ray-bbb", 2, 3),
        ]
        .concat()
    };
    let state = store(&both(&owner));
    assert_eq!(carriers(&state), ["rayservice/ray 2"]);
    assert_eq!(carrier(&state, "rayservice/ray").desired, 1);
    assert_eq!(state.findings(), []);

    // The Service decides.
    let mut objects = both(&owner);
    let selector = json!({"ray.io/cluster": "ray-bbb", "ray.io/serve": "true"});
    let mut serve = service("ray-serve-svc", selector);
    serve["spec"]["ports"] =
        json!([{"name": "serve", "port": 8000, "targetPort": 8000, "appProtocol": "tcp"}]);
    objects.push(serve.clone());
    let mut state = store(&objects);
    assert_eq!(carriers(&state), ["rayservice/ray 4"]);
    delete(&mut state, &serve);
    state.reconcile();
    assert_eq!(carriers(&state), ["rayservice/ray 2"]);

    // Before the first cluster is active, none is.
    owner["status"] = json!({"pendingServiceStatus": {"rayClusterName": "ray-aaa"}});
    let objects = [vec![owner.clone()], ray(&owner, "ray-aaa", 1, 1)].concat();
    assert_eq!(carriers(&store(&objects)), ["rayservice/ray"]);

    // A cluster without a RayService: the marked workers serve, and the head does not.
    let mut alone = ray(&owner, "alone", 1, 1);
    alone[0] = model(object("RayCluster", "alone", 1, None), "v1");
    assert_eq!(carriers(&store(&alone)), ["raycluster/alone 2"]);
}

/// A Rollout with two ReplicaSets of two pods each; the labels are Argo's where `labels`.
pub(super) fn rollout(strategy: &Value, labels: bool) -> Vec<Value> {
    let mut owner = model(replicas(object("Rollout", "ro", 1, None), 2), "v1");
    owner["spec"]["strategy"] = strategy.clone();
    let mut all = vec![owner.clone()];
    for (hash, version, ips) in [("aaa", "v1", [1, 2]), ("bbb", "v2", [3, 4])] {
        let set = replicas(
            object("ReplicaSet", &format!("ro-{hash}"), 1, Some(&owner)),
            2,
        );
        for ip in ips {
            let mut pod = labelled(
                pod(&format!("ro-{hash}-{ip}"), ip, Some(&set)),
                &json!({"model-version": version, "app": "ro"}),
            );
            if labels {
                pod["metadata"]["labels"]["rollouts-pod-template-hash"] = hash.into();
            }
            all.push(pod);
        }
        all.push(set);
    }
    all
}

#[test]
fn pods_of_a_preview_are_neither_endpoints_nor_desired_until_it_is_active() {
    let blue_green = json!({"blueGreen": {"activeService": "ro-active", "previewService": "ro-preview", "autoPromotionEnabled": false}});
    for labels in [true, false] {
        // By the status.
        let mut all = rollout(&blue_green, labels);
        all[0]["status"] = json!({"blueGreen": {"activeSelector": "aaa", "previewSelector": "bbb"}, "stableRS": "aaa"});
        let mut state = store(&all);
        assert_eq!(carriers(&state), ["rollout/ro 1,2"]);
        assert_eq!(carrier(&state, "rollout/ro").desired, 2);
        assert_eq!(state.findings(), []);
        all[0]["status"]["blueGreen"]["activeSelector"] = "bbb".into();
        apply(&mut state, &all[0]);
        assert_eq!(state.reconcile().change, Some(Change::Loss));
        assert_eq!(carriers(&state), ["rollout/ro 3,4"]);

        // By the Service, which moves first.
        let active = |hash: &str| {
            service(
                "ro-active",
                json!({"app": "ro", "rollouts-pod-template-hash": hash}),
            )
        };
        apply(&mut state, &active("aaa"));
        state.reconcile();
        assert_eq!(carriers(&state), ["rollout/ro 1,2"]);
        apply(&mut state, &active("bbb"));
        state.reconcile();
        assert_eq!(carriers(&state), ["rollout/ro 3,4"]);
    }
    // Nothing names it: the oldest serves, and a finding asks for the active Service.
    let state = store(&rollout(&blue_green, false));
    assert_eq!(carriers(&state), ["rollout/ro 1,2"]);
    assert_eq!(reasons(&state.findings()), [reason::ROLES_UNCLEAR]);
    // The first revision is the only one.
    let first = &rollout(&blue_green, false)[..4];
    assert_eq!(carriers(&store(first)), ["rollout/ro 1,2"]);
    assert_eq!(store(first).findings(), []);
}

#[test]
fn a_canary_of_argo_gets_traffic_by_pods_unless_a_router_weights_it() {
    let by_pods = rollout(&json!({"canary": {"steps": [{"setWeight": 50}]}}), true);
    assert_eq!(carriers(&store(&by_pods)), ["rollout/ro 1,2,3,4"]);
    let mut routed = rollout(
        &json!({"canary": {"stableService": "ro-stable", "trafficRouting": {"istio": {}}}}),
        true,
    );
    routed[0]["status"]["stableRS"] = "aaa".into();
    assert_eq!(carriers(&store(&routed)), ["rollout/ro 1,2"]);
}

#[test]
fn an_active_generation_without_pods_is_reported_with_the_object_that_chooses_it() {
    let blue_green = json!({"blueGreen": {"activeService": "ro-active"}});
    let mut all = rollout(&blue_green, true);
    all[0]["status"] = json!({"blueGreen": {"activeSelector": "ccc"}});
    let message_of = |objects: &[Value], owner: &str| {
        let state = store(objects);
        assert_eq!(carriers(&state), [owner]);
        let findings = state.findings();
        assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR]);
        findings[0].message.clone()
    };
    let message = message_of(&all, "rollout/ro");
    for part in [
        "its status names generation ccc as the one that takes traffic",
        "ro-aaa, ro-bbb take no traffic",
        "kubectl get pods -n default -l rollouts-pod-template-hash -L rollouts-pod-template-hash",
        "kubectl get rollout/ro -n default -o yaml",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let active = service("ro-active", json!({"rollouts-pod-template-hash": "ddd"}));
    all.push(active);
    let message = message_of(&all, "rollout/ro");
    for part in [
        "the selector of service/ro-active names generation ddd as the one that takes",
        "kubectl get service/ro-active -n default -o yaml",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // Scaled to zero, or not yet active, it has no finding.
    let asleep = [all[0].clone(), all[all.len() - 1].clone()];
    assert_eq!(store(&asleep).findings(), []);

    let mut owner = model(object("RayService", "ray", 1, None), "v1");
    owner["status"] = json!({"activeServiceStatus": {"rayClusterName": "ray-bbb"}});
    let of = |owner: &Value| [vec![owner.clone()], ray(owner, "ray-aaa", 1, 1)].concat();
    let message = message_of(&of(&owner), "rayservice/ray");
    assert!(
        message.contains("its status names generation ray-bbb"),
        "{message}"
    );
    owner["status"] = json!({"pendingServiceStatus": {"rayClusterName": "ray-aaa"}});
    assert_eq!(store(&of(&owner)).findings(), []);
    // The active one; the operator has marked no pod of it.
    owner["status"] = json!({"activeServiceStatus": {"rayClusterName": "ray-aaa"}});
    let mut heads = of(&owner);
    heads.truncate(3);
    let message = message_of(&heads, "rayservice/ray");
    assert!(message.contains("none of its pods serves"), "{message}");
}
