//! Two replicas on a Kubernetes API are two processes that share only the state of the API.

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kubectl, deployment};
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::cluster::{Cluster, policy};
use crate::common::SOON;
use crate::replicas::{difference, filters};

pub(crate) async fn run(kubectl: &Kubectl, words: &str) {
    kubectl.run(words.split_whitespace()).await.unwrap();
}

fn reports(status: &Value, words: &[&str]) -> bool {
    let problems = status["problems"].to_string();
    words.iter().all(|word| problems.contains(word))
}

/// Waits until all proxies have the same resources, with these parts in the filter configuration.
pub(crate) async fn same(what: &str, proxies: &[&AutoAckProxy], parts: &[&str]) {
    let equal = eventually(SOON * 3, what, async || {
        let taken: Vec<_> = proxies.iter().map(|proxy| proxy.accepted()).collect();
        let filters = filters(&taken[0]);
        if let Some(part) = parts.iter().find(|part| !filters.contains(**part)) {
            return Err(format!("no {part} in {filters}"));
        }
        if taken[0].len() != 5 {
            return Err(format!("only {} types", taken[0].len()));
        }
        let different = taken[1..]
            .iter()
            .find_map(|other| difference(&taken[0], other));
        different.map_or(Ok(()), Err)
    });
    equal.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_on_a_kubernetes_api_serve_the_same_bytes_even_if_started_after_a_bad_edit() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let first = cluster.serve("first", &[]).await;
    let first_proxy = AutoAckProxy::connect("proxy", first.xds).unwrap();

    // A canary, an invalid weight, a policy without a target, and a kind without a definition.
    run(&kubectl, "label deploy/v2 canary-weight=5").await;
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    same(
        "the canary",
        &[&first_proxy],
        &["\"weight\":5", "default/fair"],
    )
    .await;
    run(&kubectl, "label deploy/v2 canary-weight=lots --overwrite").await;
    kubectl
        .apply(&policy("typo", 1000, "models: [lama],"))
        .await
        .unwrap();
    let pool = "targetRefs: [{kind: InferencePool, name: none}],";
    kubectl.apply(&policy("pool", 1000, pool)).await.unwrap();
    first
        .until("the bad edits to be reported", |s| {
            reports(
                s,
                &[
                    "InvalidWeight",
                    "no carrier declares model lama",
                    "no InferencePool none",
                ],
            )
        })
        .await;

    let second = cluster.serve("second", &[]).await;
    let second_proxy = AutoAckProxy::connect("proxy", second.xds).unwrap();
    second
        .until("the bad edits to be reported", |s| {
            reports(s, &["InvalidWeight", "lama"])
        })
        .await;
    let two = [&first_proxy, &second_proxy];
    same("the second to serve the same", &two, &["default/fair"]).await;

    // The edits are fixed; a model comes and goes, one loses a replica, and a policy is attached to a Service without labels.
    run(&kubectl, "label deploy/v2 canary-weight=30 --overwrite").await;
    run(&kubectl, "delete tbp typo pool").await;
    kubectl
        .apply_and_wait(&deployment("phi", "phi", "one", 2))
        .await
        .unwrap();
    kubectl
        .apply_and_wait(&deployment("gemma", "gemma", "one", 1))
        .await
        .unwrap();
    let front = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
        "spec": {"selector": {"app": "phi"}, "ports": [{"port": 80}]},
    });
    kubectl.apply(&front.to_string()).await.unwrap();
    let attached = "targetRefs: [{kind: Service, name: front}],";
    kubectl
        .apply(&policy("attached", 500, attached))
        .await
        .unwrap();
    run(&kubectl, "delete deploy/gemma").await;
    let node = cluster.kubelet.node();
    let pods = node.pods_in(Some("default")).await.unwrap();
    let phi = pods.iter().find_map(|pod| {
        let name = pod.metadata.name.as_deref()?;
        name.starts_with("phi-").then(|| name.to_owned())
    });
    node.set_ready("default", &phi.unwrap(), false)
        .await
        .unwrap();

    let third = cluster.serve("third", &[]).await;
    let third_proxy = AutoAckProxy::connect("proxy", third.xds).unwrap();
    // The older two replicas hold a lower scale back for 10 s.
    let parts = ["\"percent\":50", "\"weight\":30", "default/attached"];
    let three = [&first_proxy, &second_proxy, &third_proxy];
    same("three replicas to serve the same bytes", &three, &parts).await;
}
