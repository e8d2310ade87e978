//! Generations of an owner's pods where another object than the owner is the carrier.

use headgate_model::reason;
use serde_json::{Value, json};

use super::active_generations::{ray, rollout};
use super::world::*;
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

/// The same, where the pod template, which is that of another object, has the labels.
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
fn a_replica_set_that_carries_takes_nothing_while_it_is_the_preview() {
    let mut all = by_template();
    all[0] = active(all[0].clone(), "aaa");
    let mut seen = store(&all);
    assert_eq!(
        carriers(&seen),
        ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"]
    );
    let wanted = |seen: &Store| {
        ["aaa", "bbb"].map(|hash| carrier(seen, &format!("replicaset/ro-{hash}")).desired)
    };
    assert_eq!(wanted(&seen), [2, 0]);
    assert_eq!(seen.findings(), []);
    // By the status, and by the Service, which moves first.
    let second = ["replicaset/ro-aaa", "replicaset/ro-bbb 3,4"];
    apply(&mut seen, &active(all[0].clone(), "bbb"));
    seen.reconcile();
    assert_eq!(carriers(&seen), second);
    assert_eq!(wanted(&seen), [0, 2]);
    apply(&mut seen, &active(all[0].clone(), "aaa"));
    let selects = |hash: &str| {
        service(
            "active",
            json!({"app": "ro", "rollouts-pod-template-hash": hash}),
        )
    };
    apply(&mut seen, &selects("aaa"));
    seen.reconcile();
    assert_eq!(
        carriers(&seen),
        ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"]
    );
    apply(&mut seen, &selects("bbb"));
    assert!(seen.reconcile().change >= Some(Change::Loss));
    assert_eq!(carriers(&seen), second);
    delete(&mut seen, &selects("bbb"));
    seen.reconcile();
    assert_eq!(
        carriers(&seen),
        ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"]
    );
}

#[test]
fn where_nothing_names_the_active_one_the_oldest_serves_as_its_siblings_come_and_go() {
    let all = by_template();
    let mut seen = store(&all);
    let first = ["replicaset/ro-aaa 1,2", "replicaset/ro-bbb"];
    assert_eq!(carriers(&seen), first);
    let findings = seen.findings();
    assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR; 2]);
    assert!(
        findings[0]
            .message
            .starts_with("neither the status of rollout/ro nor"),
        "{findings:?}"
    );
    for pod in &all[1..3] {
        delete(&mut seen, pod);
    }
    seen.reconcile();
    assert_eq!(
        carriers(&seen),
        ["replicaset/ro-aaa", "replicaset/ro-bbb 3,4"]
    );
    assert_eq!(seen.findings(), []);
    all[1..3].iter().for_each(|pod| apply(&mut seen, pod));
    seen.reconcile();
    assert_eq!(carriers(&seen), first);
    // A generation without pods takes traffic: it is said who names it.
    apply(&mut seen, &active(all[0].clone(), "ccc"));
    seen.reconcile();
    assert_eq!(carriers(&seen), ["replicaset/ro-aaa", "replicaset/ro-bbb"]);
    let findings = seen.findings();
    assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR; 2]);
    let message = &findings[0].message;
    assert!(
        message.starts_with("the status of rollout/ro names generation ccc"),
        "{message}"
    );
}

#[test]
fn the_preview_service_of_a_chart_takes_nothing() {
    let selecting_services = |version: &str| {
        [
            front("active", "aaa", "v1"),
            front("preview", "bbb", version),
        ]
    };
    let mut all = unlabelled(&blue_green());
    all.extend(selecting_services("v1"));
    let mut seen = store(&all);
    assert_eq!(carriers(&seen), ["service/active 1,2", "service/preview"]);
    let wanted = |seen: &Store| {
        ["active", "preview"].map(|name| carrier(seen, &format!("service/{name}")).desired)
    };
    assert_eq!(wanted(&seen), [2, 0]);
    assert_eq!(seen.findings(), []);
    // Argo promotes: both Services are moved, one after the other.
    apply(&mut seen, &front("active", "bbb", "v1"));
    seen.reconcile();
    assert_eq!(
        carriers(&seen),
        ["service/active 3,4", "service/preview 3,4"]
    );
    apply(&mut seen, &front("preview", "aaa", "v1"));
    seen.reconcile();
    assert_eq!(carriers(&seen), ["service/active 3,4", "service/preview"]);
    // A third one, which selects both.
    let both = model(service("both", json!({"app": "ro"})), "v1");
    apply(&mut seen, &both);
    seen.reconcile();
    assert_eq!(
        carriers(&seen),
        ["service/active 3,4", "service/both 3,4", "service/preview"]
    );

    // Versions of their own are meant, as is a preview beside an active one that declares nothing.
    all.truncate(7);
    let apart = [all.clone(), selecting_services("v2").to_vec()].concat();
    let seen = store(&apart);
    assert_eq!(
        carriers(&seen),
        ["service/active 1,2", "service/preview 3,4"]
    );
    let mut mute = [all, selecting_services("v1").to_vec()].concat();
    mute[7] = labelled(mute[7].clone(), &json!({"model-version": null}));
    let mut seen = store(&mute);
    assert_eq!(carriers(&seen), ["service/preview 3,4"]);
    apply(&mut seen, &front("active", "aaa", "v1"));
    seen.reconcile();
    assert_eq!(carriers(&seen), ["service/active 1,2", "service/preview"]);
    apply(&mut seen, &front("active", "aaa", "v2"));
    seen.reconcile();
    assert_eq!(
        carriers(&seen),
        ["service/active 1,2", "service/preview 3,4"]
    );
}

#[test]
fn a_stable_and_a_canary_service_with_versions_of_their_own_share_as_they_are_weighed() {
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
    let seen = store(&all);
    assert_eq!(
        carriers(&seen),
        ["raycluster/ray-aaa 2", "raycluster/ray-bbb"]
    );
    assert_eq!(seen.findings(), []);
}
