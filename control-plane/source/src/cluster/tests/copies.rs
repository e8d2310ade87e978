//! Labels that an operator copied to other objects: they have no effect there.

use headgate_model::reason;
use serde_json::{Value, json};

use super::active_generations::ray;
use super::operators::addresses;
use super::roles::{listens, part};
use super::world::*;
use crate::cluster::store::Store;
use headgate_kubernetes::update::Event;

const ISVC: &str = "inferenceservice/llama";

fn isvc() -> Value {
    model(object("InferenceService", "llama", 1, None), "v1")
}

/// A Service that KServe makes of an InferenceService, with the labels that this one has.
fn front(owner: &Value, name: &str) -> Value {
    let made = object("Service", name, 1, Some(owner));
    let mut made = labelled(made, &owner["metadata"]["labels"]);
    made["spec"] = json!({
        "selector": {"app": format!("isvc.{name}")}, "ports": [{"name": name, "port": 80, "targetPort": 8080}],
    });
    made
}

/// What KServe makes in its raw mode of a predictor with two pods and a transformer with one.
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
    let mut seen = store(&all);
    let by_owner = ["inferenceservice/llama 3:8080"];
    assert_eq!(carriers(&seen), by_owner);
    assert_eq!(carrier(&seen, ISVC).desired, 1);
    assert_eq!(seen.findings(), []);
    // A weight counts at once, and the labels of an earlier day are nobody's word.
    let weight = json!({"canary-weight": "20"});
    apply(&mut seen, &labelled(all[0].clone(), &weight));
    seen.reconcile();
    assert_eq!(carriers(&seen), by_owner);
    assert_eq!(carrier(&seen, ISVC).labels["canary-weight"], "20");
    assert_eq!(seen.findings(), []);
}

#[test]
fn labels_of_a_service_count_as_its_inference_service_comes_goes_or_changes_its_own() {
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
    let mut seen = store(&all);
    let mut step = |event: &dyn Fn(&mut Store), wanted: &[&str]| {
        event(&mut seen);
        seen.reconcile();
        assert_eq!(carriers(&seen), wanted);
    };
    step(&|s| apply(s, &bare), &by_hand);
    step(&|s| apply(s, &all[0]), &by_owner);
    step(&|s| delete(s, &all[0]), &[]);
    step(&|s| apply(s, &bare), &by_hand);
    step(&|s| delete(s, &bare), &[]);
    step(&|s| apply(s, &all[0]), &by_owner);
    // Another one of its name is not what made them.
    step(&|s| apply(s, &reborn), &["inferenceservice/llama"]);
    step(&|s| apply(s, &all[0]), &by_owner);
    // Where there is no such kind, nobody else can say what they are.
    let of_owner = watch_of(&all[0]);
    step(&|s| s.reduce(&of_owner, Event::Absent), &by_hand);
    step(&|s| relist(s, &of_owner, &all[..1]), &by_owner);
}

#[test]
fn a_service_waits_for_the_inference_service_that_made_it() {
    let all = raw(&isvc());
    let of_owner = watch_of(&all[0]);
    for owner in [&all[0], &object("InferenceService", "llama", 1, None)] {
        let mut seen = Store::new(kinds(), Default::default(), watches());
        for id in watches().iter().filter(|id| **id != of_owner) {
            relist(&mut seen, id, &all);
        }
        seen.reconcile();
        assert_eq!(carriers(&seen), Vec::<String>::new());
        relist(&mut seen, &of_owner, [owner]);
        seen.reconcile();
        let mut objects = all.clone();
        objects[0] = owner.clone();
        let fresh = store(&objects);
        assert_eq!(seen.carriers(), fresh.carriers());
        assert_eq!(seen.groups(), fresh.groups());
    }
}

#[test]
fn a_service_of_ones_own_carries_and_a_copying_one_is_not_advised() {
    let mut all = raw(&isvc());
    let own = model(service("own", json!({"app": "isvc.llama-predictor"})), "v1");
    let mut own = labelled(own, &json!({"canary-weight": "10"}));
    own["spec"]["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    all.push(own);
    let seen = store(&all);
    assert_eq!(addresses(&seen, "service/own").len(), 2);

    // Unlike parts that nothing tells apart.
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
    let said = |all: &[Value]| {
        let findings = store(all).findings();
        assert_eq!(reasons(&findings), [reason::ROLES_UNCLEAR]);
        findings[0].message.clone()
    };
    let message = said(&all);
    assert!(message.contains("service/SERVICE"), "{message}");
    let mut own = service("own", json!({"app": "isvc.a"}));
    own["spec"]["ports"] = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    all.push(own);
    let message = said(&all);
    assert!(message.contains("kubectl label service/own "), "{message}");
}

#[test]
fn a_policy_for_a_service_with_copied_labels_stands_for_its_inference_service() {
    let all = raw(&isvc());
    let seen = store(&all);
    let groups = seen.groups();
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
    let seen = store(&all);
    assert_eq!(carriers(&seen), ["rayservice/ray 2"]);
    assert_eq!(seen.findings(), []);
    // Nor behind a Service that carries: the RayService's own is what somebody wrote.
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
    // A cluster of another owner is nobody's copy.
    let other = model(object("Whole", "ray", 1, None), "v1");
    let mut all = [vec![other.clone()], ray(&other, "ray-aaa", 1, 1)].concat();
    all[1] = labelled(all[1].clone(), &old);
    let seen = store(&all);
    assert!(reasons(&seen.findings()).contains(&reason::LABEL_IGNORED));
}
