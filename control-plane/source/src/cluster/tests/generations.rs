//! Generations of an owner's pods where another object than the owner is the carrier.

use headgate_model::reason;
use serde_json::{Value, json};

use super::active_generations::{ray, rollout};
use super::fixtures::*;
use crate::cluster::store::Store;
use headgate_model::Change;

fn blue_green() -> Value {
    json!({"blueGreen": {"activeService": "active", "previewService": "preview"}})
}

/// A blue-green Rollout without labels of its own, whose pods name no version.
fn unlabelled(strategy: &Value) -> Vec<Value> {
    let none = json!({"model-name": null, "model-version": null});
    let mut all = rollout(strategy, true);
    for object in &mut all {
        *object = labelled(object.clone(), &none);
    }
    all
}

/// The same with the labels on the pod template of another object.
fn by_template() -> Vec<Value> {
    let mut all = unlabelled(&blue_green());
    for object in &mut all[1..] {
        *object = model(object.clone(), "v1");
        if object["kind"] == "ReplicaSet" {
            object["spec"]["template"]["metadata"]["labels"] =
                json!({"app": "ro", "model-name": "llama", "model-version": "v1"});
        }
    }
    all
}

fn front(name: &str, hash: &str, version: &str) -> Value {
    let selector = json!({"app": "ro", "rollouts-pod-template-hash": hash});
    model(service(name, selector), version)
}

fn active(mut rollout: Value, hash: &str) -> Value {
    rollout["status"] = json!({"blueGreen": {"activeSelector": hash}, "stableRS": hash});
    rollout
}

#[test]
fn a_replica_set_that_is_a_carrier_takes_no_traffic_while_it_is_the_preview() {
    let mut all = by_template();
    all[0] = active(all[0].clone(), "aaa");
    let mut state = store(&all);
    assert_eq!(
        carriers(&state),
        ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"]
    );
    let expected = |state: &Store| {
        ["aaa", "bbb"].map(|hash| carrier(state, &format!("replicaset/ro-{hash}")).desired)
    };
    assert_eq!(expected(&state), [2, 0]);
    assert_eq!(state.findings(), []);
    // By the status, and by the Service, which moves first.
    let second = ["replicaset/ro-aaa", "replicaset/ro-bbb 3,4"];
    apply(&mut state, &active(all[0].clone(), "bbb"));
    state.reconcile();
    assert_eq!(carriers(&state), second);
    assert_eq!(expected(&state), [0, 2]);
    apply(&mut state, &active(all[0].clone(), "aaa"));
    let selects = |hash: &str| {
        service(
            "active",
            json!({"app": "ro", "rollouts-pod-template-hash": hash}),
        )
    };
    apply(&mut state, &selects("aaa"));
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"]
    );
    apply(&mut state, &selects("bbb"));
    assert!(state.reconcile().change >= Some(Change::Loss));
    assert_eq!(carriers(&state), second);
    delete(&mut state, &selects("bbb"));
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"]
    );
}

#[test]
fn the_oldest_generation_serves_if_no_object_names_the_active_one() {
    let all = by_template();
    let mut state = store(&all);
    let first = ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"];
    assert_eq!(carriers(&state), first);
    let findings = state.findings();
    assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR; 2]);
    assert!(
        findings[0]
            .message
            .starts_with("neither the status of rollout/ro nor"),
        "{findings:?}"
    );
    for pod in &all[1..3] {
        delete(&mut state, pod);
    }
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["replicaset/ro-aaa", "replicaset/ro-bbb 3,4"]
    );
    assert_eq!(state.findings(), []);
    all[1..3].iter().for_each(|pod| apply(&mut state, pod));
    state.reconcile();
    assert_eq!(carriers(&state), first);
    // A generation without pods takes traffic: the finding names the object that chooses it.
    apply(&mut state, &active(all[0].clone(), "ccc"));
    state.reconcile();
    assert_eq!(carriers(&state), ["replicaset/ro-aaa", "replicaset/ro-bbb"]);
    let findings = state.findings();
    assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR; 2]);
    let message = &findings[0].message;
    assert!(
        message.starts_with("the status of rollout/ro names generation ccc"),
        "{message}"
    );
}

#[test]
fn the_preview_service_of_a_chart_takes_no_traffic() {
    let selecting_services = |version: &str| {
        [
            front("active", "aaa", "v1"),
            front("preview", "bbb", version),
        ]
    };
    let mut all = unlabelled(&blue_green());
    all.extend(selecting_services("v1"));
    let mut state = store(&all);
    assert_eq!(carriers(&state), ["service/active 1,2", "service/preview"]);
    let expected = |state: &Store| {
        ["active", "preview"].map(|name| carrier(state, &format!("service/{name}")).desired)
    };
    assert_eq!(expected(&state), [2, 0]);
    assert_eq!(state.findings(), []);
    // Argo promotes: both Services are moved, one after the other.
    apply(&mut state, &front("active", "bbb", "v1"));
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["service/active 3,4", "service/preview 3,4"]
    );
    apply(&mut state, &front("preview", "aaa", "v1"));
    state.reconcile();
    assert_eq!(carriers(&state), ["service/active 3,4", "service/preview"]);
    // A third Service, which selects both.
    let both = model(service("both", json!({"app": "ro"})), "v1");
    apply(&mut state, &both);
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["service/active 3,4", "service/both 3,4", "service/preview"]
    );

    // Services with different versions are intended, and so is a preview next to an undeclared active Service.
    all.truncate(7);
    let apart = [all.clone(), selecting_services("v2").to_vec()].concat();
    let state = store(&apart);
    assert_eq!(
        carriers(&state),
        ["service/active 1,2", "service/preview 3,4"]
    );
    let mut unlabelled = [all, selecting_services("v1").to_vec()].concat();
    unlabelled[7] = labelled(unlabelled[7].clone(), &json!({"model-version": null}));
    let mut state = store(&unlabelled);
    assert_eq!(carriers(&state), ["service/preview 3,4"]);
    apply(&mut state, &front("active", "aaa", "v1"));
    state.reconcile();
    assert_eq!(carriers(&state), ["service/active 1,2", "service/preview"]);
    apply(&mut state, &front("active", "aaa", "v2"));
    state.reconcile();
    assert_eq!(
        carriers(&state),
        ["service/active 1,2", "service/preview 3,4"]
    );
}

#[test]
fn a_stable_and_a_canary_service_with_own_versions_share_by_their_weights() {
    let routed = json!({"canary": {
        "stableService": "stable", "canaryService": "canary", "trafficRouting": {"istio": {}},
    }});
    let of = |version: &str| {
        let selecting_services = vec![
            front("stable", "aaa", "v1"),
            front("canary", "bbb", version),
        ];
        carriers(&store(&[unlabelled(&routed), selecting_services].concat()))
    };
    assert_eq!(of("v2"), ["service/canary 3,4", "service/stable 1,2"]);
    assert_eq!(of("v1"), ["service/canary", "service/stable 1,2"]);
}

#[test]
fn carriers_above_and_below_an_owner_leave_out_pods_without_traffic() {
    // Above the Rollout.
    let whole = model(object("Whole", "whole", 1, None), "v1");
    let mut all = unlabelled(&blue_green());
    all[0] = active(all[0].clone(), "aaa");
    let owned = object("Rollout", "ro", 1, Some(&whole));
    all[0]["metadata"]["ownerReferences"] = owned["metadata"]["ownerReferences"].clone();
    all.push(whole);
    assert_eq!(carriers(&store(&all)), ["whole/whole 1,2"]);
    // Below a RayService.
    let mut owner = object("RayService", "ray", 1, None);
    owner["status"] = json!({
        "activeServiceStatus": {"rayClusterName": "ray-aaa"}, "pendingServiceStatus": {"rayClusterName": "ray-bbb"},
    });
    let of = |name: &str, age: u32, ip: u8| {
        let mut made = ray(&owner, name, age, ip);
        made[0] = model(made[0].clone(), "v1");
        made
    };
    let all = [
        vec![owner.clone()],
        of("ray-aaa", 1, 1),
        of("ray-bbb", 2, 3),
    ]
    .concat();
    let state = store(&all);
    assert_eq!(
        carriers(&state),
        ["raycluster/ray-aaa 2", "raycluster/ray-bbb"]
    );
    assert_eq!(state.findings(), []);
}
