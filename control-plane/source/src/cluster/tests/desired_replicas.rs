//! Desired replicas of Services that select parts of one owner.

use headgate_model::{LabelKeys, OwnerShare, Registry};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;

fn desired<const N: usize>(store: &Store, services: [&str; N]) -> [u32; N] {
    services.map(|name| carrier(store, &format!("service/{name}")).desired)
}

/// The desired replicas of a carrier by owner: `rollout/ro 3 of 4`.
fn of_owners(store: &Store, carrier_of: &str) -> Vec<String> {
    let owner_replicas = carrier(store, carrier_of).owner_replicas;
    let say = |(owner, share): (&String, &OwnerShare)| {
        format!("{owner} {} of {}", share.desired, share.total)
    };
    owner_replicas.iter().map(say).collect()
}

/// A ReplicaSet of an owner, its pods, and the label that distinguishes them from the pods of another one.
fn set(owner: &Value, hash: &str, label: &str, wants: u32, ips: &[u8]) -> Vec<Value> {
    let name = format!("ro-{hash}");
    let labels = json!({"app": "ro", label: hash});
    let mut set = replicas(object("ReplicaSet", &name, 1, Some(owner)), wants);
    set["spec"]["template"]["metadata"]["labels"] = labels.clone();
    let made = |ip: &u8| labelled(pod(&format!("{name}-{ip}"), *ip, Some(&set)), &labels);
    let pods: Vec<Value> = ips.iter().map(made).collect();
    [vec![set.clone()], pods].concat()
}

const HASH: &str = "rollouts-pod-template-hash";

fn argo(name: &str, hash: &str, version: &str) -> Value {
    model(service(name, json!({"app": "ro", HASH: hash})), version)
}

fn rollout(wants: u32) -> Value {
    let mut owner = replicas(object("Rollout", "ro", 1, None), wants);
    owner["spec"]["template"]["metadata"]["labels"] = json!({"app": "ro"});
    owner
}

#[test]
fn the_services_of_a_canary_desire_the_replica_set_that_each_selects() {
    let owner = rollout(4);
    let services = [argo("stable", "aaa", "v1"), argo("canary", "bbb", "v2")];
    let with = |stable: &[Value], canary: &[Value]| {
        store(&[std::slice::from_ref(&owner), stable, canary, &services[..]].concat())
    };
    let names = ["stable", "canary"];
    let stable = |wants, ips: &[u8]| set(&owner, "aaa", HASH, wants, ips);
    let canary = |wants, ips: &[u8]| set(&owner, "bbb", HASH, wants, ips);
    // By pods: the sum is the desired number of the Rollout.
    let state = with(&stable(3, &[1, 2, 3]), &canary(1, &[4]));
    assert_eq!(desired(&state, names), [3, 1]);
    // A canary without a pod yet is desired, and does not reduce the other Service.
    let state = with(&stable(3, &[1, 2, 3]), &canary(1, &[]));
    assert_eq!(desired(&state, names), [3, 1]);
    // A Service that lost a pod still desires it.
    let state = with(&stable(3, &[1, 2]), &canary(1, &[4]));
    assert_eq!(desired(&state, names), [3, 1]);
    // Before and after the rollout one ReplicaSet has pods.
    let state = with(&stable(4, &[1, 2, 3, 5]), &canary(0, &[]));
    assert_eq!(desired(&state, names), [4, 0]);
    // The sum is at most the number of the Rollout, as while Argo scales down.
    let state = with(&stable(9, &[1, 2, 3, 5]), &canary(1, &[4]));
    assert_eq!(desired(&state, names), [4, 1]);
    // Both count the same owner, so the model counts its replicas once.
    assert_eq!(of_owners(&state, "service/stable"), ["rollout/ro 4 of 4"]);
    assert_eq!(of_owners(&state, "service/canary"), ["rollout/ro 1 of 4"]);
}

/// The ready and desired replicas of a model's scale.
fn counted(store: &Store, model: &str) -> (u32, u32) {
    let objects = headgate_model::Objects {
        carriers: store.carriers(),
        ..Default::default()
    };
    let readiness = Registry::build(&objects, &LabelKeys::default()).readiness();
    let of_model = readiness.iter().find(|((_, id), _)| id.as_str() == model);
    let reading = of_model.unwrap().1;
    (reading.ready, reading.desired)
}

#[test]
fn the_scale_of_each_model_counts_the_replicas_of_an_owner_once_for_all_services() {
    let owner = rollout(4);
    let stable = set(&owner, "aaa", HASH, 4, &[1, 2, 3, 5]);
    let canary = set(&owner, "bbb", HASH, 1, &[4]);
    let weighed = labelled(argo("canary", "bbb", "v2"), &json!({"canary-weight": "20"}));
    let mut all = [
        vec![owner, argo("stable", "aaa", "v1"), weighed],
        stable,
        canary,
    ]
    .concat();
    assert_eq!(counted(&store(&all), "llama"), (4, 4));
    // Another model on all pods counts all of them.
    let tuned = model(service("tuned", json!({"app": "ro"})), "v1");
    all.push(labelled(tuned, &json!({"model-name": "tuned"})));
    let state = store(&all);
    assert_eq!(counted(&state, "llama"), (4, 4));
    assert_eq!(
        counted(&state, "tuned"),
        (5, 4),
        "as of a workload that surges"
    );

    // A headless Service and a ClusterIP Service of one Deployment.
    let mut all = deployment("d", 1, &[1, 2]);
    let front = || service("front", json!({"app": "d"}));
    let mut headless = service("headless", json!({"app": "d"}));
    headless["spec"]["clusterIP"] = "None".into();
    all.extend([model(front(), "v1"), model(headless, "v1")]);
    assert_eq!(counted(&store(&all), "llama"), (2, 2));
}

#[test]
fn carriers_below_one_owner_reference_it() {
    let owner = rollout(4);
    let part = |hash: &str, version: &str, wants, ips: &[u8]| {
        let mut set = set(&owner, hash, HASH, wants, ips);
        set[0] = model(set[0].clone(), version);
        set
    };
    let all = [
        vec![owner.clone()],
        part("aaa", "v1", 4, &[1, 2, 3, 5]),
        part("bbb", "v2", 1, &[4]),
    ];
    let state = store(&all.concat());
    let carriers: Vec<String> = ["replicaset/ro-aaa", "replicaset/ro-bbb"]
        .iter()
        .flat_map(|carrier| of_owners(&state, carrier))
        .collect();
    assert_eq!(carriers, ["rollout/ro 4 of 4", "rollout/ro 1 of 4"]);
    // A workload without an owner shares none.
    let alone = deployment("d", 1, &[1]);
    let alone = [vec![model(alone[0].clone(), "v1")], alone[1..].to_vec()].concat();
    assert!(of_owners(&store(&alone), "deployment/d").is_empty());
}

#[test]
fn the_service_of_all_pods_of_a_rolling_deployment_desires_its_replicas() {
    let mut owner = replicas(object("Deployment", "ro", 1, None), 4);
    owner["spec"]["template"]["metadata"]["labels"] = json!({"app": "ro"});
    let old = set(&owner, "old", "pod-template-hash", 3, &[1, 2, 3]);
    let new = set(&owner, "new", "pod-template-hash", 2, &[4, 5]);
    let front = model(service("front", json!({"app": "ro"})), "v1");
    let all = [vec![owner.clone(), front.clone()], old.clone(), new].concat();
    assert_eq!(desired(&store(&all), ["front"]), [4]);
    // A workload that is scaled down desires no replica, also while its pods end.
    let gone: Vec<Value> = old.into_iter().map(terminating).collect();
    let mut gone = gone;
    gone[0] = replicas(gone[0].clone(), 0);
    let new = set(&owner, "new", "pod-template-hash", 4, &[4, 5, 6, 7]);
    let narrow = model(
        service("front", json!({"app": "ro", "pod-template-hash": "new"})),
        "v1",
    );
    let all = [vec![owner, narrow], gone, new].concat();
    assert_eq!(desired(&store(&all), ["front"]), [4]);
}

#[test]
fn services_of_single_pods_of_a_set_desire_those_pods() {
    let mut owner = replicas(object("StatefulSet", "set", 1, None), 3);
    owner["spec"]["template"]["metadata"]["labels"] = json!({"app": "set"});
    let name = "statefulset.kubernetes.io/pod-name";
    let made = |n: u8| {
        let pod = pod(&format!("set-{n}"), n + 1, Some(&owner));
        labelled(pod, &json!({"app": "set", name: format!("set-{n}")}))
    };
    let one = |n: u8| {
        model(
            service(&format!("front-{n}"), json!({name: format!("set-{n}")})),
            &format!("v{n}"),
        )
    };
    let mut all: Vec<Value> = vec![owner.clone()];
    all.extend((0..3).map(made));
    all.extend([one(0), one(1)]);
    let mut state = store(&all);
    assert_eq!(desired(&state, ["front-0", "front-1"]), [1, 1]);
    // A Service of all pods desires the set; a Service of one pod desires one, even if it is the last one.
    apply(
        &mut state,
        &model(service("all", json!({"app": "set"})), "v"),
    );
    state.reconcile();
    assert_eq!(desired(&state, ["all", "front-0"]), [3, 1]);
    delete(&mut state, &all[2]);
    delete(&mut state, &all[3]);
    state.reconcile();
    assert_eq!(desired(&state, ["all", "front-0", "front-1"]), [3, 1, 0]);
}

#[test]
fn a_group_desires_its_leaders_and_its_workers_only_if_they_serve() {
    let group = replicas(object("LeaderWorkerSet", "lws", 1, None), 2);
    let leaders = replicas(object("StatefulSet", "lws", 1, Some(&group)), 2);
    let index = |pod, index: &str| {
        let labels = json!({"app": "lws", "leaderworkerset.sigs.k8s.io/worker-index": index});
        labelled(pod, &labels)
    };
    let mut all = vec![group, leaders.clone()];
    for n in 0..2 {
        let leader = index(pod(&format!("lws-{n}"), n + 1, Some(&leaders)), "0");
        let mut workers = replicas(
            object("StatefulSet", &format!("lws-{n}"), 1, Some(&leader)),
            3,
        );
        workers["metadata"]["uid"] = format!("workers-{n}").into();
        workers["metadata"]["name"] = format!("workers-{n}").into();
        workers["spec"]["template"]["metadata"]["labels"] = json!({"app": "lws"});
        for w in 1..4 {
            let ip = 10 + n * 10 + w;
            all.push(index(
                pod(&format!("lws-{n}-{w}"), ip, Some(&workers)),
                &w.to_string(),
            ));
        }
        all.extend([leader, workers]);
    }
    let only = json!({"app": "lws", "leaderworkerset.sigs.k8s.io/worker-index": "0"});
    all.push(model(service("leaders", only), "v1"));
    let mut state = store(&all);
    assert_eq!(desired(&state, ["leaders"]), [2]);
    apply(
        &mut state,
        &model(service("all", json!({"app": "lws"})), "v2"),
    );
    state.reconcile();
    assert_eq!(desired(&state, ["leaders", "all"]), [2, 8]);
}

#[test]
fn a_service_desires_the_part_that_it_selects_of_an_owner_without_replicas() {
    let owner = object("InferenceService", "isvc", 1, None);
    let part = |name: &str, ips: &[u8]| {
        let mut all = deployment(name, 1, ips);
        let owned = object("Deployment", name, 1, Some(&owner));
        all[0]["metadata"]["ownerReferences"] = owned["metadata"]["ownerReferences"].clone();
        all
    };
    let mut all = vec![owner.clone()];
    all.extend(part("predictor", &[1, 2]));
    all.extend(part("transformer", &[3]));
    for name in ["predictor", "transformer"] {
        all.push(model(service(name, json!({"app": name})), name));
    }
    assert_eq!(desired(&store(&all), ["predictor", "transformer"]), [2, 1]);
}
