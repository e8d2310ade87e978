//! Two replicas on a Kubernetes API are two processes that share nothing but what the API says now.

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kubectl, deployment};
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::common::SOON;
use crate::replicas::{difference, filters};
use crate::written::{World, policy};

pub(crate) async fn run(kubectl: &Kubectl, words: &str) {
    kubectl.run(words.split_whitespace()).await.unwrap();
}

fn told(status: &Value, words: &[&str]) -> bool {
    let problems = status["problems"].to_string();
    words.iter().all(|word| problems.contains(word))
}

/// Waits until all were sent the same, with these parts in the filters' configuration.
pub(crate) async fn same(what: &str, seen: &[&AutoAckProxy], parts: &[&str]) {
    let equal = eventually(SOON * 3, what, async || {
        let taken: Vec<_> = seen.iter().map(|seen| seen.accepted()).collect();
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
async fn replicas_on_a_kubernetes_api_serve_the_same_bytes_also_one_started_after_a_bad_edit() {
    let world = World::start().await;
    let kubectl = world.kube.kubectl();
    let first = world.serve("first", &[]).await;
    let seen_by_first = AutoAckProxy::connect("proxy", first.xds).unwrap();

    // A life: a canary, a weight that is none, a policy for nothing; a kind that is not there.
    run(&kubectl, "label deploy/v2 canary-weight=5").await;
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    same(
        "the canary",
        &[&seen_by_first],
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
        .until("the bad edits to be said", |s| {
            told(
                s,
                &[
                    "InvalidWeight",
                    "no carrier declares model lama",
                    "no InferencePool none",
                ],
            )
        })
        .await;

    let second = world.serve("second", &[]).await;
    let seen_by_second = AutoAckProxy::connect("proxy", second.xds).unwrap();
    second
        .until("the bad edits to be said", |s| {
            told(s, &["InvalidWeight", "lama"])
        })
        .await;
    let two = [&seen_by_first, &seen_by_second];
    same("the second to serve the same", &two, &["default/fair"]).await;

    // Mended; and a model comes and goes, one loses a replica, a Service without labels is what a policy is attached to.
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
    let node = world.kubelet.node();
    let pods = node.pods_in(Some("default")).await.unwrap();
    let phi = pods.iter().find_map(|pod| {
        let name = pod.metadata.name.as_deref()?;
        name.starts_with("phi-").then(|| name.to_owned())
    });
    node.set_ready("default", &phi.unwrap(), false)
        .await
        .unwrap();

    let third = world.serve("third", &[]).await;
    let seen_by_third = AutoAckProxy::connect("proxy", third.xds).unwrap();
    // A scale that fell is held back for 10 s by the older two.
    let parts = ["\"percent\":50", "\"weight\":30", "default/attached"];
    let three = [&seen_by_first, &seen_by_second, &seen_by_third];
    same("three replicas to serve the same bytes", &three, &parts).await;
}
