//! The Kubernetes launcher: a real API that behaves like a cluster and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{
    EmptyRuntime, Kube, KubeError, KubeOptions, ModelServers, deployment,
};
use headgate_testkit::mock_model::MockOptions;
use headgate_testkit::ports::free_addr;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

async fn start() -> Kube {
    Kube::start(KubeOptions::default()).await.unwrap()
}

/// A Deployment of a model, all with the same version.
fn phi(name: &str, replicas: u32) -> Value {
    deployment("phi-3", name, "v1", replicas)
}

fn ip(pod: &Pod) -> Option<IpAddr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    conditions
        .filter(|condition| condition.type_ == "Ready")
        .any(|condition| condition.status == "True")
}

/// The pods, once there are `count` of them and `all` holds for each.
async fn pods(kube: &Kube, count: usize, what: &str, all: impl Fn(&Pod) -> bool) -> Vec<Pod> {
    let node = kube.node();
    eventually(SOON, &format!("{count} pods {what}"), async || {
        let pods = node.pods_in(Some("default")).await.unwrap();
        if pods.len() == count && pods.iter().all(&all) {
            return Ok(pods);
        }
        let as_wanted = pods.iter().filter(|pod| all(pod)).count();
        Err(format!("{as_wanted} of {} are", pods.len()))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_pods_of_a_deployment_serve_until_they_are_stopped() {
    let kube = start().await;
    let servers = Arc::new(
        ModelServers::new(|pod| Some(MockOptions::new("phi-3", &pod.labels()["app"])))
            .with_drain_delay(Duration::from_secs(2)),
    );
    let kubelet = kube.kubelet(Arc::clone(&servers));
    let kubectl = kube.kubectl();

    let output = kubectl.apply(&phi("phi-3", 2).to_string()).await.unwrap();
    assert_eq!(output.trim(), "deployment.apps/phi-3 created");
    kubectl.wait_for_rollout("phi-3").await.unwrap();
    let pods_now = pods(&kube, 2, "ready", ready).await;
    for pod in &pods_now {
        let owner = &pod.owner_references()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.controller),
            ("ReplicaSet", Some(true))
        );
        let server = format!("http://{}:8000", ip(pod).unwrap());
        let chat = OpenAiRequest::chat("phi-3");
        let reply = HttpClient::new().send(chat.to(&server)).await.unwrap();
        assert_eq!(reply.header("x-mock-served-by"), Some("phi-3/phi-3"));
    }

    let name = pods_now[0].name_any();
    let node = kubelet.node();
    node.set_ready("default", &name, false).await.unwrap();
    let table = kubectl
        .run(["get", "pod", &name, "--no-headers"])
        .await
        .unwrap();
    assert!(
        table.contains("0/1") && table.contains("Running"),
        "{table}"
    );

    // A crashed server refuses connections without Kubernetes knowing; it can be restarted.
    let pod = format!("default/{name}");
    let (address, _) = servers.running()[&pod];
    assert!(servers.crash(&pod).await && !servers.crash(&pod).await);
    let health = format!("http://{address}/healthz");
    let refused = HttpClient::new().send(HttpRequest::get(&health)).await;
    assert!(refused.is_err(), "{refused:?}");
    let table = kubectl.run(["get", "pod", &name, "--no-headers"]).await;
    assert!(table.unwrap().contains("Running"));
    servers.restart(&pod).await.unwrap();
    let again = HttpClient::new().send(HttpRequest::get(&health)).await;
    assert!(again.unwrap().is_success());

    kubectl
        .run(["scale", "deploy/phi-3", "--replicas=0"])
        .await
        .unwrap();
    let terminating = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    for pod in pods(&kube, 2, "terminating", terminating).await {
        let health = format!("http://{}:8000/healthz", ip(&pod).unwrap());
        let reply = HttpClient::new()
            .send(HttpRequest::get(health))
            .await
            .unwrap();
        assert!(reply.is_success());
    }
    pods(&kube, 0, "left", |_| true).await;
    assert!(servers.running().is_empty());
}

async fn remember(client: &Client, name: &str) -> ConfigMap {
    let object: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"it": name}})).unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    api.create(&PostParams::default(), &object).await.unwrap()
}

/// The first event of a watch from the version of an object.
async fn first_event_since(client: &Client, object: &ConfigMap) -> WatchEvent<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let version = object.resource_version().unwrap();
    let params = WatchParams::default().disable_bookmarks();
    let mut events = api.watch(&params, &version).await.unwrap().boxed();
    let first = tokio::time::timeout(SOON, events.next()).await;
    first.expect("an event").expect("no end").unwrap()
}

#[track_caller]
fn assert_gone(event: WatchEvent<ConfigMap>) {
    match event {
        WatchEvent::Error(status) => assert_eq!(status.code, 410, "{status:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_killed_api_server_restarts_with_its_data() {
    let mut kube = start().await;
    let client = kube.client();
    let kubelet = kube.kubelet(EmptyRuntime::default());
    let first = remember(&client, "first").await;
    remember(&client, "second").await;
    kube.kubectl()
        .apply(&phi("before", 1).to_string())
        .await
        .unwrap();
    let before = pods(&kube, 1, "ready", ready).await;

    let pids = kube.pids();
    kube.kill_api().unwrap();
    let refused = kube.kubectl().run(["get", "pods"]).await.unwrap_err();
    assert!(matches!(refused, KubeError::Refused { .. }), "{refused}");
    kube.compact().await.unwrap();
    kube.start_api().await.unwrap();
    assert_eq!(
        pids.iter()
            .zip(kube.pids())
            .filter(|(old, new)| **old == *new)
            .count(),
        2,
        "only the API server is another process"
    );

    assert_gone(first_event_since(&client, &first).await);
    let after = pods(&kube, 1, "ready", ready).await;
    assert_eq!(after[0].uid(), before[0].uid());
    // The controllers and the kubelet reconnected.
    kube.kubectl()
        .run(["scale", "deploy/before", "--replicas=2"])
        .await
        .unwrap();
    pods(&kube, 2, "ready", ready).await;
    drop(kubelet);
}

#[tokio::test]
async fn a_compacted_history_cannot_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let options = KubeOptions {
        dir: Some(dir.path().join("api")),
        address: Some(free_addr().unwrap()),
        api_args: vec!["--watch-cache=false".into()],
        ..KubeOptions::default()
    };
    let url = format!("https://{}", options.address.unwrap());
    let kube = Kube::start(options).await.unwrap();
    assert_eq!(kube.url(), url);
    assert!(kube.kubeconfig().starts_with(dir.path().join("api")));
    let client = kube.client();
    let first = remember(&client, "first").await;
    remember(&client, "second").await;
    match first_event_since(&client, &first).await {
        WatchEvent::Added(object) => assert_eq!(object.name_any(), "second"),
        other => panic!("{other:?}"),
    }

    let first_compaction = kube.compact().await.unwrap();
    assert!(kube.has_revision(first_compaction).await.unwrap());
    let second_compaction = kube.compact().await.unwrap();
    assert!(first_compaction < second_compaction);
    assert!(!kube.has_revision(first_compaction).await.unwrap());
    assert_gone(first_event_since(&client, &first).await);
}

#[tokio::test]
async fn a_service_account_has_only_the_permissions_of_rbac() {
    let kube = start().await;
    let kubectl = kube.kubectl();
    let kubeconfig = kube.service_account("default", "reader").await.unwrap();
    let reader = kube.kubectl_as(&kubeconfig);
    let output = reader.run(["auth", "whoami", "-o", "name"]).await;
    assert!(output.is_ok(), "{output:?}");

    let refused = reader.run(["get", "pods"]).await.unwrap_err().to_string();
    let message = r#"User "system:serviceaccount:default:reader" cannot list resource "pods""#;
    assert!(refused.contains(message), "{refused}");

    kubectl
        .run(["create", "role", "reader", "--verb=list", "--resource=pods"])
        .await
        .unwrap();
    let account = "--serviceaccount=default:reader";
    kubectl
        .run(["create", "rolebinding", "reader", "--role=reader", account])
        .await
        .unwrap();
    // The API server reads RBAC from a watch of its own.
    eventually(SOON, "the right", async || {
        reader.run(["get", "pods"]).await
    })
    .await
    .unwrap();
    let client = kube.client_as(&kubeconfig).await.unwrap();
    let api: Api<Pod> = Api::namespaced(client, "default");
    assert!(api.list(&Default::default()).await.is_ok());
    match api.get("some").await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 403),
        other => panic!("{other:?}"),
    }
    // A second call returns the same account.
    kube.service_account("default", "reader").await.unwrap();
}

#[tokio::test]
async fn a_fault_proxy_injects_faults_and_forwards_everything_else() {
    let kube = start().await;
    let proxy = kube.fault_proxy(kube.kubeconfig()).await.unwrap();
    let client = kube.client_as(proxy.kubeconfig()).await.unwrap();
    let first = remember(&client, "first").await;
    let kubectl = kube.kubectl_as(proxy.kubeconfig());
    let names = ["get", "configmap", "first", "-o", "name"];
    assert_eq!(kubectl.run(names).await.unwrap().trim(), "configmap/first");

    proxy.throttle_next(1);
    let url = format!("{}/version", proxy.url());
    let refused = HttpClient::new()
        .send(HttpRequest::get(&url))
        .await
        .unwrap();
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    let passed = HttpClient::new()
        .send(HttpRequest::get(&url))
        .await
        .unwrap();
    assert_eq!((passed.status, proxy.throttles_remaining()), (200, 0));

    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let version = first.resource_version().unwrap();
    let params = WatchParams::default().disable_bookmarks();
    let mut events = api.watch(&params, &version).await.unwrap().boxed();
    remember(&kube.client(), "whole").await;
    let whole = tokio::time::timeout(SOON, events.next()).await.unwrap();
    assert!(matches!(whole, Some(Ok(WatchEvent::Added(_)))), "{whole:?}");
    proxy.break_watches();
    remember(&kube.client(), "half").await;
    let half = tokio::time::timeout(SOON, events.next()).await.unwrap();
    assert!(matches!(half, Some(Err(_)) | None), "{half:?}");
    let again = first_event_since(&client, &first).await;
    assert!(matches!(again, WatchEvent::Added(_)), "{again:?}");
    let watches = proxy
        .requests()
        .iter()
        .filter(|request| request.contains("watch=true"))
        .count();
    assert_eq!(watches, 2, "{:?}", proxy.requests());

    // Only watches stay unanswered, and those made meanwhile stay so.
    proxy.leave_watches_unanswered(true);
    let mut swallowed = std::pin::pin!(api.watch(&params, &version));
    tokio::select! {
        _ = &mut swallowed => panic!("it was answered"),
        seen = eventually(SOON, "the watch", async || {
            (proxy.unanswered_watches() == 1).then_some(()).ok_or("not requested yet")
        }) => seen.unwrap(),
    }
    proxy.leave_watches_unanswered(false);
    assert_eq!(kubectl.run(names).await.unwrap().trim(), "configmap/first");
    let later = tokio::time::timeout(Duration::from_millis(300), swallowed).await;
    assert!(later.is_err(), "it was answered later");
    assert_eq!(proxy.expired_watches(), [""; 0]);
}

#[tokio::test]
async fn hundreds_of_pods_run_within_seconds_and_nothing_outlives_the_launcher() {
    let kube = start().await;
    kube.kubectl()
        .apply(&phi("many", 200).to_string())
        .await
        .unwrap();
    let made = pods(&kube, 200, "made", |_| true).await;
    let addresses = headgate_testkit::kube::PodAddresses::default();
    let running = made.into_iter().map(|pod| (pod, addresses.next().into()));
    kube.node().run_all(running).await.unwrap();
    let all = pods(&kube, 200, "ready", ready).await;
    let distinct: std::collections::BTreeSet<_> = all.iter().filter_map(ip).collect();
    assert_eq!(distinct.len(), 200);

    let (dir, pids) = (kube.dir().to_owned(), kube.pids());
    drop(kube);
    for pid in pids {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "{pid} runs"
        );
    }
    assert!(!dir.exists());
}
