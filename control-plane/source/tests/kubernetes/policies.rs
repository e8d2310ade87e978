//! Policies on an API server: their definitions come and go, and an object that cannot be read delays nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headgate_kubernetes::health::ApiState;
use headgate_model::{Finding, reason};
use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::KubeOptions;
use serde_json::json;

use super::cluster::*;

const BUCKETS: &str = "tokenbucketpolicies.headgate.dev";

fn quick() -> Options {
    Options {
        absent_retry: Duration::from_millis(200),
        ..Options::default()
    }
}

/// The kinds without a definition.
fn missing_kinds(state: &ApiState) -> Vec<String> {
    let all = state.missing_kinds();
    all.map(|it| format!("{}: {}", it.kind, it.install.unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn a_missing_definition_is_reported_with_the_command_and_its_policies_appear_once_it_is_installed()
 {
    let cluster = Cluster::without_policies(KubeOptions::default()).await;
    let mut source = Source::start(&cluster.client().await, quick()).await;
    let command = "headgate schema crds | kubectl apply --server-side -f -";
    let all = [
        "authenticationpolicies.headgate.dev",
        BUCKETS,
        "traffictagpolicies.headgate.dev",
    ];
    let all = all.map(|kind| format!("{kind}: {command}"));
    assert_eq!(missing_kinds(&source.state()), all);

    cluster.define().await;
    cluster.apply(policy("fair", 1)).await;
    source.policy("fair", |_| true).await;
    let defined = async |source: &Source, expected: usize| {
        eventually(SOON, "the definitions", async || {
            let missing_kinds = missing_kinds(&source.state());
            let converged = missing_kinds.len() == expected && source.state().lost().is_none();
            converged
                .then_some(())
                .ok_or(format!("{:?}", source.state()))
        })
        .await
        .unwrap();
    };
    defined(&source, 0).await;

    // The definition is removed and created again, with other policies.
    cluster.kubectl(&format!("delete crd {BUCKETS}")).await;
    source
        .until("no policy", |observed| {
            observed.objects.policies.is_empty().then_some(())
        })
        .await;
    defined(&source, 1).await;
    cluster.define().await;
    cluster.apply(policy("fair", 2)).await;
    source.buckets("fair", 2).await;
    defined(&source, 0).await;
    source
        .wait_until_equal_to_a_new_source(&cluster.client().await, &quick())
        .await;
}

#[tokio::test]
async fn a_restarted_api_server_that_serves_its_kinds_later_removes_no_policy() {
    let mut cluster = Cluster::start().await;
    let fault_proxy = cluster.fault_proxy().await;
    let client = client_of(fault_proxy.kubeconfig()).await;
    cluster.apply(deployment("v1", "one", 1)).await;
    let mut source = Source::start(&client, Options::default()).await;
    cluster.apply(policy("fair", 1)).await;
    source.policy("fair", |_| true).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    let fewest = Arc::new(AtomicUsize::new(2));
    let (mut observed, lowest) = (source.follow(), fewest.clone());
    let watching = tokio::spawn(async move {
        while observed.changed().await.is_ok() {
            let objects = observed.borrow_and_update().objects.clone();
            let there = objects.policies.len() + objects.carriers.len();
            lowest.fetch_min(there, Ordering::Relaxed);
        }
    });
    // Its history is lost too, so everything is listed again. For a while it serves no kind, not even pods.
    cluster.kube.kill_api().unwrap();
    fault_proxy.not_found_next(60);
    cluster.kube.compact().await.unwrap();
    cluster.kube.start_api().await.unwrap();
    eventually(SOON, "the policy to be written", async || {
        let kubectl = cluster.kube.kubectl();
        kubectl.apply(&policy("fair", 2).to_string()).await
    })
    .await
    .unwrap();
    cluster.kubectl("label deploy/v1 canary-weight=3").await;
    source.buckets("fair", 2).await;
    let weighted = |c: &headgate_model::Carrier| c.labels.contains_key("canary-weight");
    source.carrier("deployment/v1", weighted).await;
    assert_eq!(fault_proxy.not_found_remaining(), 0);
    watching.abort();
    assert_eq!(fewest.load(Ordering::Relaxed), 2, "nothing was ever gone");
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn a_new_source_waits_for_the_kinds_of_a_starting_api_server() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.apply(policy("fair", 1)).await;
    let fault_proxy = cluster.fault_proxy().await;
    fault_proxy.not_found_next(60);
    let source = Source::start(
        &client_of(fault_proxy.kubeconfig()).await,
        Options::default(),
    )
    .await;
    let objects = &source.now().objects;
    assert_eq!(fault_proxy.not_found_remaining(), 0, "it waited");
    assert_eq!(objects.policies.len(), 1, "with the limits there are");
}

#[tokio::test]
async fn an_unreadable_policy_is_reported_and_blocks_nothing() {
    // As objects that were stored before the definition had a schema.
    let cluster = Cluster::without_policies(KubeOptions::default()).await;
    for (plural, kind) in [
        ("authenticationpolicies", "AuthenticationPolicy"),
        ("tokenbucketpolicies", "TokenBucketPolicy"),
        ("traffictagpolicies", "TrafficTagPolicy"),
    ] {
        let mut made = crd("headgate.dev", plural, kind);
        made["spec"]["versions"][0]["name"] = "v1alpha1".into();
        cluster.apply(made).await;
        cluster
            .kubectl(&format!(
                "wait --for=condition=Established --timeout=60s crd/{plural}.headgate.dev"
            ))
            .await;
    }
    let mut source = cluster.source().await;
    let mut deep = json!("bottom");
    for _ in 0..500 {
        deep = json!([{"deeper": deep}]);
    }
    let bad = [
        ("text", json!("no spec")),
        ("list", json!([[1], {"a": 2}])),
        ("deep", json!({"buckets": deep, "override": true})),
        ("typed", json!({"buckets": [{"name": 7}]})),
    ];
    let with = |name: &str, spec: &serde_json::Value| {
        let mut made = policy(name, 1);
        made["spec"] = spec.clone();
        made["status"] = json!({"conditions": "none"});
        made
    };
    for (name, spec) in &bad {
        cluster.apply(with(name, spec)).await;
    }
    let mut bare = policy("bare", 1);
    bare.as_object_mut().unwrap().remove("spec");
    cluster.apply(bare).await;
    cluster.apply(policy("good", 1)).await;
    source.policy("good", |_| true).await;
    let named = |name: &str| format!("TokenBucketPolicy default/{name}");
    let names = bad.iter().map(|(name, _)| *name).chain(["bare"]);
    let mut expected: Vec<String> = names.map(named).collect();
    expected.sort();
    let found = |observed: &headgate_model::Observed| {
        // The definition of ServedModel is missing too, which is another problem.
        let unread = |f: &&Finding| f.reason != reason::STATUS_NOT_STORED;
        let found = observed.findings.iter().filter(unread);
        assert!(
            found
                .clone()
                .all(|f| f.reason == reason::UNREADABLE && f.message.contains("spec"))
        );
        let objects: Vec<String> = found.map(|f| f.object.to_string()).collect();
        (objects == expected).then_some(())
    };
    source.until("every unreadable object", found).await;
    assert_eq!(source.now().objects.policies.len(), 1);
    // A list and a watch read them alike.
    cluster.wait_until_equal_to_a_new_source(&source).await;

    // One is fixed, the other one deleted.
    cluster.apply(policy("typed", 3)).await;
    source.buckets("typed", 3).await;
    cluster
        .kubectl("delete tokenbucketpolicy text list deep bare")
        .await;
    let rest = |observed: &headgate_model::Observed| {
        let mut findings = observed.findings.iter();
        let none = findings.all(|f| f.reason == reason::STATUS_NOT_STORED);
        none.then_some(())
    };
    source.until("no finding", rest).await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
}
