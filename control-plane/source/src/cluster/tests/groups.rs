//! Groups of carriers, as tables of objects.

use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;

/// `group: carriers` of each group with carriers.
fn groups(store: &Store) -> Vec<String> {
    let show = |key: &headgate_model::CarrierKey| key.identity();
    let groups = store.groups();
    let groups = groups.iter().map(|(group, carriers)| {
        let carriers: Vec<String> = carriers.iter().map(show).collect();
        format!("{}: {}", show(group), carriers.join(" "))
    });
    groups.collect()
}

/// A labelled Deployment, and an unlabelled Service and an InferencePool in front of it.
fn fronted() -> Vec<Value> {
    let mut all = deployment("llama", 1, &[1, 2]);
    all[0] = model(all[0].clone(), "v1");
    all.push(service("front", json!({"app": "llama"})));
    all.push(pool("pool", json!({"app": "llama"})));
    all.push(service("other", json!({"app": "other"})));
    all.push(pool("nothing", json!({})));
    all
}

const BOTH: [&str; 2] = [
    "inferencepool/pool: deployment/llama",
    "service/front: deployment/llama",
];

#[test]
fn a_service_without_labels_and_a_pool_group_the_carriers_they_select() {
    let mut store = fresh(&fronted(), &watches());
    assert_eq!(groups(&store), BOTH);
    // Another selector, then the first one again.
    apply(&mut store, &service("front", json!({"app": "other"})));
    store.reconcile();
    assert_eq!(groups(&store), BOTH[..1]);
    apply(&mut store, &service("front", json!({"app": "llama"})));
    apply(
        &mut store,
        &pool("pool", json!({"app": "llama", "tier": "x"})),
    );
    store.reconcile();
    assert_eq!(groups(&store), BOTH[1..]);
    delete(&mut store, &service("front", json!({"app": "llama"})));
    store.reconcile();
    assert!(groups(&store).is_empty());
}

/// An InferencePool of the older API group: a flat selector and one port.
fn experimental(name: &str, selector: Value, port: u16) -> Value {
    let mut pool = object("InferencePool", name, 1, None);
    pool["metadata"]["uid"] = format!("experimental-{name}").into();
    pool["apiVersion"] = "inference.networking.x-k8s.io/v1alpha2".into();
    pool["spec"] = json!({
        "selector": selector, "targetPortNumber": port,
        "extensionRef": {"name": "epp", "portNumber": 9002},
    });
    pool
}

#[test]
fn a_pool_of_either_group_decides_the_port_and_groups_the_carriers_it_selects() {
    let mut all = deployment("llama", 1, &[1]);
    all[0] = model(all[0].clone(), "v1");
    all[2]["spec"]["containers"] =
        json!([{"name": "s", "ports": [{"containerPort": 8000}, {"containerPort": 8001}]}]);
    let mut newer = pool("pool", json!({"app": "llama"}));
    newer["apiVersion"] = "inference.networking.k8s.io/v1".into();
    newer["spec"]["targetPorts"] = json!([{"number": 8001}]);
    let older = experimental("pool", json!({"app": "llama"}), 8001);
    let summary = |store: &Store| {
        let pods = carrier(store, "deployment/llama").pods;
        let ports: Vec<u16> = pods.iter().map(|pod| pod.address.port()).collect();
        (ports, reasons(&store.findings()), groups(store))
    };
    let stands = vec!["inferencepool/pool: deployment/llama".to_owned()];
    let expected = (vec![8001], vec![], stands.clone());
    for pools in [vec![&newer], vec![&older], vec![&newer, &older]] {
        let store = fresh(all.iter().chain(pools.clone()), &watches());
        assert_eq!(summary(&store), expected, "{pools:?}");
    }
    // A pool that moves from one API group to the other always exists, and so does its selection.
    let mut store = fresh(all.iter().chain([&older]), &watches());
    apply(&mut store, &newer);
    store.reconcile();
    delete(&mut store, &older);
    store.reconcile();
    assert_eq!(summary(&store), expected);
    delete(&mut store, &newer);
    store.reconcile();
    let ambiguous = (vec![], vec![headgate_model::reason::AMBIGUOUS_PORT], vec![]);
    assert_eq!(summary(&store), ambiguous);
    // Two pools with different ports disagree; a pool with another selector does not matter.
    let other = experimental("pool", json!({"app": "llama"}), 8000);
    let store = fresh(all.iter().chain([&newer, &other]), &watches());
    let (ports, reasons, _) = summary(&store);
    assert_eq!(
        (ports, reasons),
        (vec![], vec![headgate_model::reason::AMBIGUOUS_PORT])
    );
    let store = fresh(
        all.iter()
            .chain([&experimental("pool", json!({"app": "x"}), 8001)]),
        &watches(),
    );
    assert_eq!(summary(&store).0, Vec::<u16>::new());
}

#[test]
fn a_group_has_its_carriers_also_at_zero_replicas() {
    let all = fronted();
    let mut store = fresh(&all, &watches());
    for pod in all.iter().filter(|object| object["kind"] == "Pod") {
        delete(&mut store, pod);
    }
    store.reconcile();
    assert_eq!(groups(&store), BOTH);
}

#[test]
fn a_service_that_is_a_carrier_is_its_own_group_and_in_the_groups_of_others() {
    let mut all = fronted();
    all.push(model(service("labelled", json!({"app": "llama"})), "v1"));
    let mut store = fresh(&all, &watches());
    let through_it = [
        "deployment/llama: service/labelled",
        "inferencepool/pool: service/labelled",
        "service/front: service/labelled",
    ];
    assert_eq!(groups(&store), through_it);
    // Without a declaration it is a group like the other.
    apply(&mut store, &service("labelled", json!({"app": "llama"})));
    store.reconcile();
    let mut alike: Vec<String> = BOTH.map(str::to_owned).into();
    alike.push("service/labelled: deployment/llama".to_owned());
    assert_eq!(groups(&store), alike);
}

#[test]
fn a_deployment_is_the_group_of_its_pods_that_are_carriers() {
    let mut all = deployment("llama", 1, &[1, 2]);
    for pod in all.iter_mut().filter(|object| object["kind"] == "Pod") {
        *pod = model(pod.clone(), "v1");
    }
    let mut store = fresh(&all, &watches());
    assert_eq!(
        groups(&store),
        ["deployment/llama: pod/llama-1 pod/llama-2"]
    );
    // With the label it is a carrier.
    apply(&mut store, &model(all[0].clone(), "v1"));
    store.reconcile();
    assert!(groups(&store).is_empty());
}
