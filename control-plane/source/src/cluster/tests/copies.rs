//! Labels that an operator copied to other objects: they have no effect there.

use headgate_model::reason;
use serde_json::{Value, json};

use super::active_generations::ray;
use super::fixtures::*;
use super::operators::addresses;
use super::roles::{listens, part};
use crate::cluster::store::Store;
use headgate_kubernetes::update::Event;

const ISVC: &str = "inferenceservice/llama";

fn isvc() -> Value {
    model(object("InferenceService", "llama", 1, None), "v1")
}

/// A Service that KServe creates for an InferenceService, with its labels.
fn front(owner: &Value, name: &str) -> Value {
    let made = object("Service", name, 1, Some(owner));
    let mut made = labelled(made, &owner["metadata"]["labels"]);
    made["spec"] = json!({
        "selector": {"app": format!("isvc.{name}")}, "ports": [{"name": name, "port": 80, "targetPort": 8080}],
    });
    made
}

/// The objects of KServe's raw mode for a predictor with two pods and a transformer with one.
fn raw(owner: &Value) -> Vec<Value> {
    let of = |component: &str, ips: &[u8]| {
        let name = format!("llama-{component}");
        let labels = json!({"app": format!("isvc.{name}"), "component": component});
        let unnamed = listens(&json!([{"containerPort": 8080}]));
        let mut made = part(owner, &name, ips, &labels, &unnamed);
        made.push(front(owner, &name));
        made
    };
    let mut workers = front(owner, "llama-predictor-workers");
    workers["spec"]["clusterIP"] = "None".into();
    [
        vec![owner.clone(), workers],
        of("predictor", &[1, 2]),
        of("transformer", &[3]),
    ]
    .concat()
}

#[test]
fn services_with_the_labels_of_their_inference_service_do_not_declare_them() {
    let all = raw(&isvc());
    let mut state = store(&all);
    let by_owner = ["inferenceservice/llama 3:8080"];
    assert_eq!(carriers(&state), by_owner);
    assert_eq!(carrier(&state, ISVC).desired, 1);
    assert_eq!(state.findings(), []);
    // A weight counts at once, and old copied labels have no effect.
    let weight = json!({"canary-weight": "20"});
    apply(&mut state, &labelled(all[0].clone(), &weight));
    state.reconcile();
    assert_eq!(carriers(&state), by_owner);
    assert_eq!(carrier(&state, ISVC).labels["canary-weight"], "20");
    assert_eq!(state.findings(), []);
}

#[test]
fn labels_of_a_service_count_only_if_its_inference_service_does_not_have_them() {
    let all = raw(&isvc());
    let bare = object("InferenceService", "llama", 1, None);
    let mut reborn = all[0].clone();
    reborn["metadata"]["uid"] = "another".into();
    let by_hand = [
        "service/llama-predictor 1:8080,2:8080",
        "service/llama-predictor-workers",
        "service/llama-transformer 3:8080",
    ];
    let by_owner = ["inferenceservice/llama 3:8080"];
    let mut state = store(&all);
    let mut step = |event: &dyn Fn(&mut Store), expected: &[&str]| {
        event(&mut state);
        state.reconcile();
        assert_eq!(carriers(&state), expected);
    };
    step(&|s| apply(s, &bare), &by_hand);
    step(&|s| apply(s, &all[0]), &by_owner);
    step(&|s| delete(s, &all[0]), &[]);
    step(&|s| apply(s, &bare), &by_hand);
    step(&|s| delete(s, &bare), &[]);
    step(&|s| apply(s, &all[0]), &by_owner);
    // A new InferenceService of the same name is not their owner.
    step(&|s| apply(s, &reborn), &["inferenceservice/llama"]);
    step(&|s| apply(s, &all[0]), &by_owner);
    // Without the kind, their own labels count.
    let of_owner = watch_of(&all[0]);
    step(&|s| s.reduce(&of_owner, Event::Absent), &by_hand);
    step(&|s| relist(s, &of_owner, &all[..1]), &by_owner);
}

#[test]
fn carriers_wait_until_the_inference_services_are_listed() {
    let all = raw(&isvc());
    let of_owner = watch_of(&all[0]);
    for owner in [&all[0], &object("InferenceService", "llama", 1, None)] {
        let mut state = Store::new(kinds(), Default::default(), watches());
        for id in watches().iter().filter(|id| **id != of_owner) {
            relist(&mut state, id, &all);
        }
        state.reconcile();
        assert_eq!(carriers(&state), Vec::<String>::new());
        relist(&mut state, &of_owner, [owner]);
        state.reconcile();
        let mut objects = all.clone();
        objects[0] = owner.clone();
        let fresh = store(&objects);
        assert_eq!(state.carriers(), fresh.carriers());
        assert_eq!(state.groups(), fresh.groups());
    }
}

#[test]
fn a_service_of_a_person_is_a_carrier_and_one_with_copied_labels_is_not_advised() {
    let mut all = raw(&isvc());
    let own = model(service("own", json!({"app": "isvc.llama-predictor"})), "v1");
    let mut own = labelled(own, &json!({"canary-weight": "10"}));
    own["spec"]["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    all.push(own);
    let state = store(&all);
    assert_eq!(addresses(&state, "service/own").len(), 2);

    // Different parts that nothing distinguishes.
    let owner = isvc();
    let of = |name: &str, ip: u8, port: &str| {
        let port = json!([{"name": port, "containerPort": 8080}]);
        let mut made = part(
            &owner,
            name,
            &[ip],
            &json!({"app": format!("isvc.{name}")}),
            &listens(&port),
        );
        made.push(front(&owner, name));
        made
    };
    let mut all = [vec![owner.clone()], of("a", 1, "http"), of("b", 2, "grpc")].concat();
    let message_of = |all: &[Value]| {
        let findings = store(all).findings();
        assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR]);
        findings[0].message.clone()
    };
    let message = message_of(&all);
    assert!(message.contains("service/SERVICE"), "{message}");
    let mut own = service("own", json!({"app": "isvc.a"}));
    own["spec"]["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    all.push(own);
    let message = message_of(&all);
    assert!(message.contains("kubectl label service/own "), "{message}");
}

#[test]
fn a_policy_for_a_service_with_copied_labels_stands_for_its_inference_service() {
    let all = raw(&isvc());
    let state = store(&all);
    let groups = state.groups();
    let of = groups.get(&key("service/llama-transformer")).cloned();
    assert_eq!(of.unwrap_or_default(), [key(ISVC)].into());
}

#[test]
fn labels_that_kuberay_copied_to_a_cluster_are_not_reported() {
    let mut owner = model(object("RayService", "ray", 1, None), "v1");
    owner["status"] = json!({"activeServiceStatus": {"rayClusterName": "ray-aaa"}});
    let old = json!({"canary-weight": "10"});
    let mut all = [vec![owner.clone()], ray(&owner, "ray-aaa", 1, 1)].concat();
    assert_eq!(all[1]["kind"], "RayCluster");
    all[1] = annotated(
        labelled(model(all[1].clone(), "v1"), &old),
        "headgate.dev/join",
        "share",
    );
    all[0] = labelled(all[0].clone(), &json!({"canary-weight": "20"}));
    let state = store(&all);
    assert_eq!(carriers(&state), ["rayservice/ray 2"]);
    assert_eq!(state.findings(), []);
    // Also behind a carrier Service: a person wrote the labels of the RayService.
    let front = model(
        service(
            "front",
            json!({"ray.io/cluster": "ray-aaa", "ray.io/serve": "true"}),
        ),
        "v1",
    );
    let findings = store(&[all.clone(), vec![front]].concat()).findings();
    assert_eq!(reasons(&findings), [reason::LABEL_IGNORED]);
    assert!(findings[0].message.contains("\"20\""), "{findings:?}");
    // The labels of a cluster of another owner are not copies.
    let other = model(object("Whole", "ray", 1, None), "v1");
    let mut all = [vec![other.clone()], ray(&other, "ray-aaa", 1, 1)].concat();
    all[1] = labelled(all[1].clone(), &old);
    let state = store(&all);
    assert!(reasons(&state.findings()).contains(&reason::LABEL_IGNORED));
}
