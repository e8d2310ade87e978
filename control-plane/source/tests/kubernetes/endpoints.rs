//! Endpoints of the objects that charts and operators create, on one API server: definitions with the operators' groups and kinds,
//! Deployments and StatefulSets of the real controllers.

use headgate_model::Observed;
use headgate_model::{PortSource, Protocol, reason};
use serde_json::{Value, json};

use super::cluster::*;

const KSERVE: &str = "serving.kserve.io";
const ARGO: &str = "argoproj.io";
const POOLS: &str = "inference.networking.k8s.io";
const OLDER_POOLS: &str = "inference.networking.x-k8s.io";

/// A kind of an operator with its version.
fn kind_of(group: &str, version: &str, plural: &str, kind: &str) -> Value {
    let mut made = crd(group, plural, kind);
    made["spec"]["versions"][0]["name"] = version.into();
    made
}

/// A Deployment whose pods have this label and these containers.
pub(crate) fn workload(name: &str, replicas: u32, part: (&str, &str), spec: Value) -> Value {
    let labels = json!({ part.0: part.1 });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

pub(crate) fn listens(ports: &Value) -> Value {
    json!({"containers": [{"name": "s", "image": "x", "ports": ports}]})
}

pub(crate) fn labelled(mut object: Value, model: &str, version: &str) -> Value {
    object["metadata"]["labels"]["model-name"] = model.into();
    object["metadata"]["labels"]["model-version"] = version.into();
    object
}

pub(crate) fn service(name: &str, selector: &Value, ports: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": selector, "ports": ports},
    })
}

/// The reasons of the findings on an object, sorted.
pub(crate) fn found(observed: &Observed, identity: &str) -> Vec<(&'static str, String)> {
    let object = key(identity).into();
    let about = observed.findings.iter().filter(|f| f.object == object);
    about.map(|f| (f.reason, f.message.clone())).collect()
}

/// The ports of the ready endpoints.
pub(crate) fn ports(observed: &Observed, identity: &str) -> Vec<u16> {
    let carrier = observed.objects.carriers.get(&key(identity));
    let pods = carrier.into_iter().flat_map(|carrier| &carrier.pods);
    pods.filter(|pod| pod.ready)
        .map(|pod| pod.address.port())
        .collect()
}

pub(crate) fn reasons(observed: &Observed, identity: &str) -> Vec<&'static str> {
    found(observed, identity)
        .into_iter()
        .map(|(reason, _)| reason)
        .collect()
}

/// Waits until these ports serve and the findings have these reasons.
pub(crate) async fn serves(source: &mut Source, identity: &str, expected: &[u16], saying: &[&str]) {
    let what = format!("{identity} on {expected:?} saying {saying:?}");
    let holds = |observed: &Observed| {
        (ports(observed, identity) == expected && reasons(observed, identity) == saying)
            .then_some(())
    };
    source.until(&what, holds).await;
}

#[tokio::test]
async fn services_port_names_and_operator_roles_decide_which_pods_serve() {
    let cluster = Cluster::start().await;
    for made in [
        kind_of(
            KSERVE,
            "v1alpha1",
            "llminferenceservices",
            "LLMInferenceService",
        ),
        kind_of(ARGO, "v1alpha1", "rollouts", "Rollout"),
        kind_of(POOLS, "v1", "inferencepools", "InferencePool"),
        kind_of(OLDER_POOLS, "v1alpha2", "inferencepools", "InferencePool"),
    ] {
        cluster.apply(made).await;
    }
    for name in [
        "llminferenceservices.serving.kserve.io",
        "rollouts.argoproj.io",
        "inferencepools.inference.networking.k8s.io",
        "inferencepools.inference.networking.x-k8s.io",
    ] {
        cluster
            .kubectl(&format!(
                "wait --for=condition=Established --timeout=60s crd/{name}"
            ))
            .await;
    }
    let mut source = cluster.source().await;
    an_endpoint_picker(&cluster, &mut source).await;
    a_native_sidecar(&cluster, &mut source).await;
    a_preview(&cluster, &mut source).await;
    a_canary_of_two_services(&cluster, &mut source).await;
    common_servers(&cluster, &mut source).await;
    pools_of_both_groups(&cluster, &mut source).await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

async fn an_endpoint_picker(cluster: &Cluster, source: &mut Source) {
    let it = "llminferenceservice/qwen";
    let owner = json!({
        "apiVersion": format!("{KSERVE}/v1alpha1"), "kind": "LLMInferenceService",
        "metadata": {"name": "qwen"}, "spec": {"model": {"name": "qwen"}},
    });
    cluster.apply(labelled(owner, "qwen", "v1")).await;
    let kubectl = cluster.kube.kubectl();
    let servers = json!({
        "initContainers": [{"name": "routing", "image": "x", "restartPolicy": "Always", "ports": [{"containerPort": 8000}]}],
        "containers": [{"name": "main", "image": "x", "ports": [{"containerPort": 8001}]}],
    });
    let picker = listens(&json!([
        {"name": "grpc", "containerPort": 9002}, {"name": "grpc-health", "containerPort": 9003}, {"name": "metrics", "containerPort": 9090},
    ]));
    for part in [
        workload("qwen-workload", 2, ("part", "workload"), servers),
        workload("qwen-scheduler", 1, ("part", "scheduler"), picker),
    ] {
        kubectl.apply_owned(it, part).await.unwrap();
    }
    cluster.rollout("qwen-workload").await;
    cluster.rollout("qwen-scheduler").await;
    serves(source, it, &[], &[reason::AMBIGUOUS_PORT]).await;
    // The advice of the finding.
    cluster
        .kubectl(&format!("annotate {it} headgate.dev/port=8000"))
        .await;
    serves(source, it, &[8000, 8000], &[]).await;
    assert_eq!(source.carrier(it, |_| true).await.desired, 2);
}

async fn a_native_sidecar(cluster: &Cluster, source: &mut Source) {
    let spec = json!({
        "initContainers": [{"name": "proxy", "image": "x", "restartPolicy": "Always", "ports": [{"name": "http", "containerPort": 8000}]}],
        "containers": [{"name": "server", "image": "x", "ports": [{"name": "metrics", "containerPort": 8200}]}],
    });
    let made = workload("sidecar", 1, ("app", "sidecar"), spec);
    cluster.apply(labelled(made, "sidecar", "v1")).await;
    serves(source, "deployment/sidecar", &[8000], &[]).await;
    cluster
        .kubectl("annotate deploy/sidecar headgate.dev/port=http")
        .await;
    serves(source, "deployment/sidecar", &[8000], &[]).await;
}

async fn a_preview(cluster: &Cluster, source: &mut Source) {
    let it = "rollout/ro";
    let owner = |active: Option<&str>| {
        let mut made = json!({
            "apiVersion": format!("{ARGO}/v1alpha1"), "kind": "Rollout", "metadata": {"name": "ro"},
            "spec": {"replicas": 2, "strategy": {"blueGreen": {
                "activeService": "ro-active", "previewService": "ro-preview", "autoPromotionEnabled": false,
            }}},
        });
        if let Some(hash) = active {
            made["status"] = json!({"blueGreen": {"activeSelector": hash}});
        }
        labelled(made, "ro", "v1")
    };
    cluster.apply(owner(None)).await;
    let kubectl = cluster.kube.kubectl();
    for (hash, version) in [("aaa", "v1"), ("bbb", "v2")] {
        let ports = json!([{"name": "http", "containerPort": 8000}]);
        let mut set = workload(&format!("ro-{hash}"), 2, ("hash", hash), listens(&ports));
        set["kind"] = "ReplicaSet".into();
        set["spec"]["template"]["metadata"]["labels"]["model-version"] = version.into();
        kubectl.apply_owned("rollout/ro", set).await.unwrap();
    }
    // Four pods are ready and two serve: the oldest generation, because nothing names the active one.
    let versions = |expected: &'static str| {
        move |c: &headgate_model::Carrier| {
            ready(c) == 2
                && c.pods.len() == 2
                && c.pods
                    .iter()
                    .all(|p| p.version.as_deref() == Some(expected))
        }
    };
    let before = "wait --for=condition=Ready pod -l hash --timeout=60s";
    cluster.kubectl(before).await;
    assert_eq!(source.carrier(it, versions("v1")).await.desired, 2);
    source
        .until("the finding about the active Service", |observed| {
            (reasons(observed, it) == [reason::ROLES_UNCLEAR]).then_some(())
        })
        .await;
    for (hash, version) in [("aaa", "v1"), ("bbb", "v2")] {
        cluster.apply(owner(Some(hash))).await;
        assert_eq!(source.carrier(it, versions(version)).await.desired, 2);
    }
    source
        .until("no finding", |observed| {
            reasons(observed, it).is_empty().then_some(())
        })
        .await;
}

async fn a_canary_of_two_services(cluster: &Cluster, source: &mut Source) {
    let hash = "rollouts-pod-template-hash";
    let ports = json!([{"name": "http", "containerPort": 8000}]);
    cluster
        .apply(json!({
            "apiVersion": format!("{ARGO}/v1alpha1"), "kind": "Rollout", "metadata": {"name": "co"},
            "spec": {"replicas": 4, "strategy": {"canary": {"stableService": "co-stable", "canaryService": "co-canary"}}},
        }))
        .await;
    let kubectl = cluster.kube.kubectl();
    for (part, version, wants) in [("stable", "v1", 3), ("canary", "v2", 1)] {
        let mut set = workload(&format!("co-{part}"), wants, (hash, part), listens(&ports));
        set["kind"] = "ReplicaSet".into();
        kubectl.apply_owned("rollout/co", set).await.unwrap();
        let front = json!([{"name": "http", "port": 80, "targetPort": "http"}]);
        let front = service(&format!("co-{part}"), &json!({ hash: part }), &front);
        cluster.apply(labelled(front, "co", version)).await;
    }
    for (it, wants) in [("service/co-stable", 3), ("service/co-canary", 1)] {
        let whole = |c: &headgate_model::Carrier| ready(c) == wants;
        assert_eq!(
            source.carrier(it, whole).await.desired as usize,
            wants,
            "{it}"
        );
    }
}

/// A pool of one of the two API groups.
async fn pools_of_both_groups(cluster: &Cluster, source: &mut Source) {
    let two = json!([{"containerPort": 8000}, {"containerPort": 8001}]);
    for (name, pool) in [
        (
            "newer",
            json!({
                "apiVersion": format!("{POOLS}/v1"), "kind": "InferencePool",
                "spec": {
                    "selector": {"matchLabels": {"app": "newer"}}, "targetPorts": [{"number": 8000}],
                    "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
                },
            }),
        ),
        (
            "older",
            json!({
                "apiVersion": format!("{OLDER_POOLS}/v1alpha2"), "kind": "InferencePool",
                "spec": {"selector": {"app": "older"}, "targetPortNumber": 8000, "extensionRef": {"name": "epp"}},
            }),
        ),
    ] {
        let made = workload(name, 1, ("app", name), listens(&two));
        cluster.apply(labelled(made, name, "v1")).await;
        let it = format!("deployment/{name}");
        cluster.rollout(name).await;
        serves(source, &it, &[], &[reason::AMBIGUOUS_PORT]).await;
        let mut pool = pool;
        pool["metadata"]["name"] = name.into();
        cluster.apply(pool).await;
        serves(source, &it, &[8000], &[]).await;
    }
}

async fn common_servers(cluster: &Cluster, source: &mut Source) {
    let vllm = json!([
        {"name": "container-port", "containerPort": 8000}, {"name": "zmq-port", "containerPort": 55555}, {"name": "ucx-port", "containerPort": 9999},
    ]);
    let made = workload("vllm", 1, ("model", "llama3"), listens(&vllm));
    cluster.apply(labelled(made, "llama3", "v1")).await;
    cluster.rollout("vllm").await;
    serves(source, "deployment/vllm", &[8000], &[]).await;
    let engine = json!([
        {"name": "service-port", "port": 80, "targetPort": "container-port"}, {"name": "zmq-port", "port": 55555, "targetPort": "zmq-port"},
        {"name": "ucx-port", "port": 9999, "targetPort": "ucx-port"}, {"name": "pd-port-1", "port": 7100, "targetPort": "pd-port-1"},
    ]);
    cluster
        .apply(service("vllm-engine", &json!({"model": "llama3"}), &engine))
        .await;
    let by_service = |c: &headgate_model::Carrier| {
        let service = PortSource::Service("vllm-engine".into());
        c.pods.len() == 1 && c.pods[0].address.port() == 8000 && c.pods[0].port_source == service
    };
    source.carrier("deployment/vllm", by_service).await;

    let two = json!([{"containerPort": 8000}, {"containerPort": 8001}]);
    cluster
        .apply(workload("mp", 1, ("app", "mp"), listens(&two)))
        .await;
    let leads = json!([
        {"name": "http", "port": 80, "targetPort": 8000, "appProtocol": "http"}, {"name": "http-metrics", "port": 8001},
    ]);
    let front = service("mp", &json!({"app": "mp"}), &leads);
    cluster.apply(labelled(front, "mp", "v1")).await;
    serves(source, "service/mp", &[8000], &[]).await;

    let nim =
        json!([{"name": "api", "containerPort": 8000}, {"name": "grpc", "containerPort": 50051}]);
    let made = workload("nim", 1, ("app", "nim"), listens(&nim));
    cluster.apply(labelled(made, "nim", "v1")).await;
    serves(source, "deployment/nim", &[8000], &[]).await;

    let made = workload(
        "grpconly",
        1,
        ("app", "grpconly"),
        listens(&json!([{"name": "grpc", "containerPort": 8001}])),
    );
    cluster.apply(labelled(made, "grpconly", "v1")).await;
    let has_http2 =
        |c: &headgate_model::Carrier| c.pods.iter().any(|pod| pod.protocol == Protocol::Http2);
    source.carrier("deployment/grpconly", has_http2).await;
}
