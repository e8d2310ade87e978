//! Generations of pods that an owner runs side by side: the one that takes traffic serves.

use headgate_model::{Change, reason};
use serde_json::{Value, json};

use super::world::*;

/// A Ray cluster of a RayService: a head that serves nothing, and a worker that does.
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
fn of_ray_the_pods_serve_that_the_operator_marks_in_the_cluster_that_is_active() {
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
    let seen = store(&both(&owner));
    assert_eq!(carriers(&seen), ["rayservice/ray 2"]);
    assert_eq!(carrier(&seen, "rayservice/ray").desired, 1);
    assert_eq!(seen.findings(), []);

    // The Service is what routes.
    let mut objects = both(&owner);
    let selector = json!({"ray.io/cluster": "ray-bbb", "ray.io/serve": "true"});
    let mut serve = service("ray-serve-svc", selector);
    serve["spec"]["ports"] =
        json!([{"name": "serve", "port": 8000, "targetPort": 8000, "appProtocol": "tcp"}]);
    objects.push(serve.clone());
    let mut seen = store(&objects);
    assert_eq!(carriers(&seen), ["rayservice/ray 4"]);
    delete(&mut seen, &serve);
    seen.reconcile();
    assert_eq!(carriers(&seen), ["rayservice/ray 2"]);

    // Before the first one is active, nothing is.
    owner["status"] = json!({"pendingServiceStatus": {"rayClusterName": "ray-aaa"}});
    let objects = [vec![owner.clone()], ray(&owner, "ray-aaa", 1, 1)].concat();
    assert_eq!(carriers(&store(&objects)), ["rayservice/ray"]);

    // A cluster of its own: no head, and its workers where they are marked.
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
fn a_preview_is_neither_endpoint_nor_desired_until_it_is_active() {
    let blue_green = json!({"blueGreen": {"activeService": "ro-active", "previewService": "ro-preview", "autoPromotionEnabled": false}});
    for labels in [true, false] {
        // By the status.
        let mut all = rollout(&blue_green, labels);
        all[0]["status"] = json!({"blueGreen": {"activeSelector": "aaa", "previewSelector": "bbb"}, "stableRS": "aaa"});
        let mut seen = store(&all);
        assert_eq!(carriers(&seen), ["rollout/ro 1,2"]);
        assert_eq!(carrier(&seen, "rollout/ro").desired, 2);
        assert_eq!(seen.findings(), []);
        all[0]["status"]["blueGreen"]["activeSelector"] = "bbb".into();
        apply(&mut seen, &all[0]);
        assert_eq!(seen.reconcile().change, Some(Change::Loss));
        assert_eq!(carriers(&seen), ["rollout/ro 3,4"]);

        // By the Service, which moves first.
        let active = |hash: &str| {
            service(
                "ro-active",
                json!({"app": "ro", "rollouts-pod-template-hash": hash}),
            )
        };
        apply(&mut seen, &active("aaa"));
        seen.reconcile();
        assert_eq!(carriers(&seen), ["rollout/ro 1,2"]);
        apply(&mut seen, &active("bbb"));
        seen.reconcile();
        assert_eq!(carriers(&seen), ["rollout/ro 3,4"]);
    }
    // By nothing: the oldest, and the active Service is asked for.
    let seen = store(&rollout(&blue_green, false));
    assert_eq!(carriers(&seen), ["rollout/ro 1,2"]);
    assert_eq!(reasons(&seen.findings()), [reason::ROLES_UNCLEAR]);
    // The first revision is alone.
    let first = &rollout(&blue_green, false)[..4];
    assert_eq!(carriers(&store(first)), ["rollout/ro 1,2"]);
    assert_eq!(store(first).findings(), []);
}

#[test]
fn a_canary_of_argo_serves_by_its_pods_unless_a_router_weighs_it() {
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
fn an_active_generation_without_pods_is_reported_with_the_object_that_names_it() {
    let blue_green = json!({"blueGreen": {"activeService": "ro-active"}});
    let mut all = rollout(&blue_green, true);
    all[0]["status"] = json!({"blueGreen": {"activeSelector": "ccc"}});
    let said = |objects: &[Value], owner: &str| {
        let seen = store(objects);
        assert_eq!(carriers(&seen), [owner]);
        let findings = seen.findings();
        assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR]);
        findings[0].message.clone()
    };
    let message = said(&all, "rollout/ro");
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
    let message = said(&all, "rollout/ro");
    for part in [
        "the selector of service/ro-active names generation ddd as the one that takes",
        "kubectl get service/ro-active -n default -o yaml",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // Nothing is missing of what is scaled to zero, and of a cluster that is still to become active.
    let asleep = [all[0].clone(), all[all.len() - 1].clone()];
    assert_eq!(store(&asleep).findings(), []);

    let mut owner = model(object("RayService", "ray", 1, None), "v1");
    owner["status"] = json!({"activeServiceStatus": {"rayClusterName": "ray-bbb"}});
    let of = |owner: &Value| [vec![owner.clone()], ray(owner, "ray-aaa", 1, 1)].concat();
    let message = said(&of(&owner), "rayservice/ray");
    assert!(
        message.contains("its status names generation ray-bbb"),
        "{message}"
    );
    owner["status"] = json!({"pendingServiceStatus": {"rayClusterName": "ray-aaa"}});
    assert_eq!(store(&of(&owner)).findings(), []);
    // The active one, where the operator says of no pod that it serves.
    owner["status"] = json!({"activeServiceStatus": {"rayClusterName": "ray-aaa"}});
    let mut heads = of(&owner);
    heads.truncate(3);
    let message = said(&heads, "rayservice/ray");
    assert!(message.contains("none of its pods serves"), "{message}");
}
