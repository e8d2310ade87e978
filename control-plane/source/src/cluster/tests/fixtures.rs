//! Test fixture: objects as the API server writes them, and a store of them.

use headgate_model::{Carrier, CarrierKey, Finding, LabelKeys};
use serde_json::{Value, json};

use crate::cluster::identity::WatchId;
use crate::cluster::objects::Object;
use crate::cluster::shapes::{OwnerShape, PodShape, PoolShape, ServiceShape};
use crate::cluster::store::Store;
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::pruning::Pruned;
use headgate_kubernetes::update::Event;

/// The kinds of the tests: the default kinds, and a kind of several parts without an operator's labels.
pub(super) fn kinds() -> Vec<Kind> {
    let own = "my.org/v1/wholes/Whole".parse().unwrap();
    Kind::defaults_without_and(&[], &[own])
}

pub(super) fn what(object: &Value) -> WatchedKind {
    match object["kind"].as_str().unwrap() {
        "Pod" => WatchedKind::Pods,
        "Service" => WatchedKind::Services,
        "InferencePool" if object["apiVersion"] == "inference.networking.x-k8s.io/v1alpha2" => {
            WatchedKind::ExperimentalPools
        }
        "InferencePool" => WatchedKind::Pools,
        kind => WatchedKind::Owners(kinds().iter().position(|k| k.kind == kind).unwrap()),
    }
}

/// The object as a watch reads it.
pub(super) fn read(object: &Value) -> Object {
    let text = object.to_string();
    match what(object) {
        WatchedKind::Pods => Object::pod(
            &serde_json::from_str::<Pruned<PodShape>>(&text)
                .unwrap()
                .value,
        ),
        WatchedKind::Services => Object::service(
            &serde_json::from_str::<Pruned<ServiceShape>>(&text)
                .unwrap()
                .value,
        ),
        WatchedKind::Pools | WatchedKind::ExperimentalPools => Object::pool(
            &serde_json::from_str::<Pruned<PoolShape>>(&text)
                .unwrap()
                .value,
        ),
        WatchedKind::Owners(place) => Object::owner(
            &serde_json::from_str::<Pruned<OwnerShape>>(&text)
                .unwrap()
                .value,
            &kinds()[place],
        ),
    }
    .unwrap()
}

pub(super) fn watches() -> Vec<WatchId> {
    let owners = (0..kinds().len()).map(WatchedKind::Owners);
    let pools = [WatchedKind::Pools, WatchedKind::ExperimentalPools];
    let whats = [WatchedKind::Pods, WatchedKind::Services]
        .into_iter()
        .chain(pools)
        .collect::<Vec<_>>()
        .into_iter()
        .chain(owners);
    whats
        .map(|kind| WatchId {
            kind,
            namespace: None,
        })
        .collect()
}

pub(super) fn watch_of(object: &Value) -> WatchId {
    WatchId {
        kind: what(object),
        namespace: None,
    }
}

/// An object with a UID from its kind and name, created at second `age` of 2026.
pub(super) fn object(kind: &str, name: &str, age: u32, owner: Option<&Value>) -> Value {
    let mut object = json!({
        "kind": kind,
        "metadata": {
            "namespace": "default", "name": name, "uid": format!("{kind}-{name}"), "resourceVersion": "1",
            "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z"),
            "managedFields": [{"manager": "kubectl"}],
            "labels": {}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {}, "status": {},
    });
    if let Some(owner) = owner {
        let group = match owner["kind"].as_str().unwrap() {
            "Pod" => "v1",
            "InferenceService" => "serving.kserve.io/v1beta1",
            "LLMInferenceService" => "serving.kserve.io/v1alpha1",
            "LeaderWorkerSet" => "leaderworkerset.x-k8s.io/v1",
            "Rollout" => "argoproj.io/v1alpha1",
            "RayService" | "RayCluster" => "ray.io/v1",
            "Job" => "batch/v1",
            "Node" => "v1",
            "Mystery" | "Whole" => "my.org/v1",
            "Revision" | "Route" => "serving.knative.dev/v1",
            "ServerlessService" => "networking.internal.knative.dev/v1alpha1",
            _ => "apps/v1",
        };
        object["metadata"]["ownerReferences"] = json!([
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "not-this", "uid": "no"},
            {"apiVersion": group, "kind": owner["kind"], "name": owner["metadata"]["name"],
             "uid": owner["metadata"]["uid"], "controller": true},
        ]);
    }
    object
}

/// Sets labels; `null` removes one.
pub(super) fn labelled(mut object: Value, labels: &Value) -> Value {
    for (key, value) in labels.as_object().unwrap() {
        let all = object["metadata"]["labels"].as_object_mut().unwrap();
        if value.is_null() {
            all.remove(key);
        } else {
            all.insert(key.clone(), value.clone());
        }
    }
    object
}

pub(super) fn model(object: Value, version: &str) -> Value {
    labelled(
        object,
        &json!({"model-name": "llama", "model-version": version}),
    )
}

pub(super) fn annotated(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][key] = value.into();
    object
}

pub(super) fn replicas(mut object: Value, replicas: u32) -> Value {
    object["spec"]["replicas"] = replicas.into();
    object
}

/// A ready pod on 10.0.0.`ip`, with port `http` 8000.
pub(super) fn pod(name: &str, ip: u8, owner: Option<&Value>) -> Value {
    let mut pod = object("Pod", name, ip.into(), owner);
    pod["spec"]["containers"] = json!([
        {"name": "sidecar", "ports": [{"name": "metrics", "containerPort": 9090}]},
        {"name": "server", "ports": [
            {"name": "http", "containerPort": 53, "protocol": "UDP"}, {"name": "http", "containerPort": 8000, "protocol": "TCP"},
        ]},
    ]);
    pod["status"] = json!({
        "phase": "Running", "podIP": format!("10.0.0.{ip}"),
        "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
    });
    pod
}

pub(super) fn ready(mut pod: Value, ready: bool) -> Value {
    pod["status"]["conditions"][1]["status"] = if ready { "True" } else { "False" }.into();
    pod
}

pub(super) fn terminating(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z".into();
    object
}

pub(super) fn service(name: &str, selector: Value) -> Value {
    let mut service = object("Service", name, 1, None);
    service["spec"]["selector"] = selector;
    service
}

pub(super) fn pool(name: &str, selector: Value) -> Value {
    let mut pool = object("InferencePool", name, 1, None);
    pool["spec"]["selector"]["matchLabels"] = selector;
    pool
}

/// A Deployment with its ReplicaSet and a ready pod for each of `ips`; its pods have label `app`.
pub(super) fn deployment(name: &str, age: u32, ips: &[u8]) -> Vec<Value> {
    let app = json!({"app": name});
    let count = u32::try_from(ips.len()).unwrap();
    let mut deployment = replicas(object("Deployment", name, age, None), count);
    deployment["spec"]["template"]["metadata"]["labels"] = app.clone();
    let mut set = replicas(
        object("ReplicaSet", &format!("{name}-rs"), age, Some(&deployment)),
        count,
    );
    set["spec"]["template"]["metadata"]["labels"] = app.clone();
    let pods = ips
        .iter()
        .map(|ip| labelled(pod(&format!("{name}-{ip}"), *ip, Some(&set)), &app));
    let pods: Vec<Value> = pods.collect();
    [vec![deployment, set], pods].concat()
}

/// A store that has these objects from every watch.
pub(super) fn store(objects: &[Value]) -> Store {
    fresh(objects, &watches())
}

/// A store that has all objects, listed in this order of watches.
pub(super) fn fresh<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    watches: &[WatchId],
) -> Store {
    let objects: Vec<&Value> = objects.into_iter().collect();
    let mut store = Store::new(kinds(), LabelKeys::default(), watches.to_vec());
    for id in watches {
        relist(&mut store, id, objects.iter().copied());
    }
    store.reconcile();
    store
}

/// Lists all objects of a watch again.
pub(super) fn relist<'a>(
    store: &mut Store,
    id: &WatchId,
    objects: impl IntoIterator<Item = &'a Value>,
) {
    store.reduce(id, Event::Init);
    for object in objects.into_iter().filter(|object| watch_of(object) == *id) {
        store.reduce(id, Event::InitApply(read(object)));
    }
    store.reduce(id, Event::InitDone);
}

pub(super) fn apply(store: &mut Store, object: &Value) {
    store.reduce(&watch_of(object), Event::Apply(read(object)));
}

pub(super) fn delete(store: &mut Store, object: &Value) {
    store.reduce(&watch_of(object), Event::Delete(read(object)));
}

pub(super) fn key(text: &str) -> CarrierKey {
    let (kind, name) = text.split_once('/').unwrap();
    CarrierKey {
        namespace: "default".into(),
        kind: kind.into(),
        name: name.into(),
    }
}

/// The carriers that name a model, with the last byte of each ready pod's address.
pub(super) fn carriers(store: &Store) -> Vec<String> {
    let last = |pod: &headgate_model::Pod| {
        pod.address
            .to_string()
            .trim_end_matches(":8000")
            .rsplit('.')
            .next()
            .unwrap()
            .to_owned()
    };
    let show = |carrier: &Carrier| {
        let pods: Vec<String> = carrier
            .pods
            .iter()
            .filter(|pod| pod.ready)
            .map(last)
            .collect();
        format!("{} {}", carrier.key.identity(), pods.join(","))
    };
    store
        .carriers()
        .values()
        .map(show)
        .map(|text| text.trim_end().to_owned())
        .collect()
}

pub(super) fn carrier(store: &Store, identity: &str) -> Carrier {
    store.carriers().remove(&key(identity)).unwrap()
}

pub(super) fn reasons(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.reason).collect()
}
