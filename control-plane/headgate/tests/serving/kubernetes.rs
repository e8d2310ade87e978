//! `serve --kube` is ready once every kind is listed, and changes by `kubectl` reach a proxy.

use std::path::Path;
use std::time::Duration;

use headgate_testkit::client::HttpRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{EmptyRuntime, Kube, KubeOptions, deployment};
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::{Value, json};

use crate::common::{Files, SOON, Server, headgate};

const TAGS: &str = "{apiVersion: headgate.dev/v1alpha1, kind: TrafficTagPolicy, metadata: {name: tags}, spec: {tenantFrom: ['header:x-team']}}\n";

/// Starts a control plane on a cluster with policies from files, without waiting until it is ready.
pub(crate) fn serve(files: &Files, kubeconfig: &Path, more: &[&str]) -> Server {
    let options = crate::common::serve()
        .args(["--kube", "--linger", "2", "--kubeconfig"])
        .arg(kubeconfig)
        .arg("--policies")
        .arg(files.path("policies"))
        .arg("--wasm")
        .arg(files.path("wasm"))
        .args(more);
    Server::spawn(options)
}

/// The planned weights of a model's versions.
fn weights(status: &Value) -> Vec<(String, f64)> {
    let versions = status["models"][0]["versions"].as_array();
    let versions = versions.into_iter().flatten();
    versions
        .map(|v| {
            (
                v["version"].as_str().unwrap().to_owned(),
                v["weightWanted"].as_f64().unwrap(),
            )
        })
        .collect()
}

fn reasons(status: &Value) -> Vec<&str> {
    status["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["reason"].as_str().unwrap())
        .collect()
}

/// Timestamps of objects have whole seconds.
pub(crate) async fn in_another_second() {
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn serve_kube_is_ready_once_every_kind_is_listed_and_kubectl_changes_reach_proxies() {
    let mut kube = Kube::start(KubeOptions::default()).await.unwrap();
    let _kubelet = kube.kubelet(EmptyRuntime::default());
    let kubectl = kube.kubectl();
    // No base is stored yet, and the second version is applied as soon as the first serves: it is still held.
    for (name, version, replicas) in [("v1", "one", 2), ("v2", "two", 1)] {
        let made = deployment("llama", name, version, replicas);
        kubectl.apply_and_wait(&made).await.unwrap();
        in_another_second().await;
    }

    let files = Files::new();
    files.policy("tags.yaml", TAGS);
    kube.kill_api().unwrap();
    let mut server = serve(&files, kube.kubeconfig(), &["-n", "default"]);
    let ready = format!("http://{}/readyz", server.admin);
    let status = server_answers(&mut server, &ready).await;
    assert_eq!(status, 503, "before everything is listed");
    let unsynced = server.until("a reason", |s| !reasons(s).is_empty()).await;
    // Failed writes are reported too, after it.
    assert_eq!(
        (reasons(&unsynced)[0], &unsynced["synced"]),
        ("KubernetesApi", &json!(false))
    );
    assert!(
        unsynced["problems"][0]["message"]
            .as_str()
            .unwrap()
            .contains("first read of the Kubernetes API is not complete"),
        "{unsynced}"
    );
    kube.start_api().await.unwrap();
    server.process.wait_for_http(&ready, SOON).await.unwrap();

    // The newer version is held, because it has no weight.
    let status = server
        .until("the base", |s| {
            weights(s) == [("one".into(), 100.0), ("two".into(), 0.0)]
        })
        .await;
    assert!(reasons(&status).contains(&"VersionHeld"), "{status}");
    let proxy = AutoAckProxy::connect("p", server.xds).unwrap();
    let split = async |percent: f64| {
        let expected = [
            ("one".to_owned(), 100.0 - percent),
            ("two".to_owned(), percent),
        ];
        let acked = |s: &Value| {
            let versions = s["models"][0]["versions"].as_array().unwrap();
            weights(s) == expected
                && versions
                    .iter()
                    .all(|v| v["weightAcked"]["p"] == v["weightWanted"])
        };
        server
            .until(&format!("{percent} % at the proxy"), acked)
            .await
    };
    split(0.0).await;
    for percent in [10.0, 50.0, 100.0, 0.0] {
        let label = format!("canary-weight={percent}");
        kubectl
            .run(["label", "deploy/v2", &label, "--overwrite"])
            .await
            .unwrap();
        split(percent).await;
    }
    let clusters = proxy.accepted()[type_url::CLUSTER].clone();
    assert!(
        clusters.contains_key("model/default/llama/two"),
        "{:?}",
        clusters.keys()
    );
    let filters = &proxy.accepted()[type_url::EXTENSION]["headgate"].1;
    assert!(
        String::from_utf8_lossy(filters).contains("x-team"),
        "the policies are the files'"
    );

    // While the API is away the last state is served and reported as old.
    kube.kill_api().unwrap();
    let away = server
        .until("the loss", |s| reasons(s).contains(&"KubernetesApi"))
        .await;
    assert!(
        away["problems"][0]["since"].as_f64().unwrap() > 1.7e9,
        "{away}"
    );
    assert!(
        away["problems"][0]["message"]
            .as_str()
            .unwrap()
            .contains("the last known objects stay in effect")
    );
    let one = AutoAckProxy::connect("q", server.xds).unwrap();
    eventually(SOON, "a proxy that comes meanwhile", async || {
        let taken = one.accepted();
        let clusters = taken
            .get(type_url::CLUSTER)
            .map_or(0, std::collections::BTreeMap::len);
        (clusters == 3).then_some(()).ok_or(clusters)
    })
    .await
    .unwrap();
    kube.start_api().await.unwrap();
    server
        .until("the API again", |s| !reasons(s).contains(&"KubernetesApi"))
        .await;

    let dry = headgate(&[
        "translate",
        "--kube",
        "--kubeconfig",
        kube.kubeconfig().to_str().unwrap(),
        "--wasm",
        files.path("wasm").to_str().unwrap(),
    ]);
    let output = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(
        output.contains("default/llama") && output.contains("model/default/llama/two"),
        "{output}"
    );
}

async fn server_answers(server: &mut Server, url: &str) -> u16 {
    let client = &server.client;
    eventually(Duration::from_secs(20), "an answer", async || {
        client
            .send(HttpRequest::get(url))
            .await
            .map(|reply| reply.status)
    })
    .await
    .unwrap()
}
