//! The same model name in two namespaces: two models, never merged; each proxy sees the namespaces of its scope.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use headgate_testkit::client::{HttpClient, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::testbed::Status;
use headgate_testkit::testbed::status::ModelStatus;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use headgate_tests_cluster::control_plane::ControlPlane;
use headgate_tests_cluster::envoy::ClusterEnvoy;
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};

const MODEL: &str = "llama";

/// Status, server and version of a response.
type Who<'a> = (u16, Option<&'a str>, Option<&'a str>);
const OURS: Who<'_> = (200, Some("model/ours"), Some("one"));
const THEIRS: Who<'_> = (200, Some("model/theirs"), Some("two"));

async fn ask(envoy: &ClusterEnvoy, domain: &str) -> Reply {
    let request = OpenAiRequest::chat(MODEL).header("host", domain);
    HttpClient::new()
        .send(request.to(envoy.url()))
        .await
        .unwrap()
}

fn who(reply: &Reply) -> Who<'_> {
    let header = |name| reply.header(name);
    (
        reply.status,
        header("x-mock-served-by"),
        header("x-model-version"),
    )
}

/// Waits for a status.
async fn answers(envoy: &ClusterEnvoy, domain: &str, status: u16) {
    let what = format!("{status} at {domain}");
    eventually(SOON, &what, async || {
        match ask(envoy, domain).await.status {
            seen if seen == status => Ok(()),
            seen => Err(seen),
        }
    })
    .await
    .unwrap();
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// The namespaces of the clusters that a proxy acknowledged.
async fn namespaces_of(id: &str, control_plane: &ControlPlane) -> BTreeSet<String> {
    let proxy = AutoAckProxy::connect(id, control_plane.xds()).unwrap();
    let settled = |status: &Status| status.proxy(id).is_some_and(|proxy| proxy.current);
    control_plane
        .wait_for_status(SOON, "the proxy to settle", settled)
        .await
        .unwrap();
    let taken = proxy.accepted();
    let names = taken[type_url::CLUSTER].keys();
    names
        .map(|name| name.split('/').nth(1).unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_model_name_in_two_namespaces_is_two_models_and_a_proxy_sees_the_namespaces_of_its_scope()
 {
    let flags = [
        "--domain",
        "team-a=a.test",
        "--node-namespaces",
        "envoy-*=default,team-a",
        "--node-namespaces",
        "a-*=team-a",
    ];
    let options = TestClusterOptions {
        envoys: vec!["envoy-0".into(), "a-0".into()],
        serve: flags.map(str::to_owned).to_vec(),
        ..TestClusterOptions::default()
    };
    let cluster = TestCluster::start(options).await.unwrap();
    cluster.run("create namespace team-a").await.unwrap();
    cluster
        .roll_out(&deployment(MODEL, "ours", "one", 1))
        .await
        .unwrap();
    let mut theirs = deployment(MODEL, "theirs", "two", 1);
    theirs["metadata"]["namespace"] = "team-a".into();
    cluster.kubectl().apply(&theirs.to_string()).await.unwrap();
    cluster
        .run("-n team-a rollout status deploy/theirs --timeout=100s")
        .await
        .unwrap();
    let complete = |status: &Status| {
        let ready = |model: &ModelStatus| model.versions.iter().all(|v| v.endpoints.current == 1);
        status.models.len() == 2
            && status.models.iter().all(ready)
            && status.proxies.len() == 2
            && status.proxies.iter().all(|proxy| proxy.current)
    };
    cluster
        .control_plane
        .wait_for_status(SOON, "both models at both Envoys", complete)
        .await
        .unwrap();

    // One virtual host per namespace; `*` belongs to the default namespace.
    let [both, only_a] = &cluster.envoys[..] else {
        panic!("two Envoys")
    };
    // An Envoy acknowledges before its workers apply the change.
    answers(both, "a.test", 200).await;
    answers(only_a, "a.test", 200).await;
    for (domain, wanted) in [
        ("a.test", THEIRS),
        ("anything.test", OURS),
        ("a.test", THEIRS),
    ] {
        assert_eq!(who(&ask(both, domain).await), wanted, "{domain}");
    }
    assert_eq!(who(&ask(only_a, "a.test").await), THEIRS);
    let elsewhere = ask(only_a, "anything.test").await;
    assert_eq!(elsewhere.status, 404, "{}", elsewhere.text());
    let wide = &cluster.control_plane;
    assert_eq!(
        namespaces_of("envoy-9", wide).await,
        set(["default", "team-a"])
    );
    assert_eq!(namespaces_of("a-9", wide).await, set(["team-a"]));
    let narrow = ["--namespace", "default"].map(str::to_owned);
    let mut narrow = ControlPlane::start(cluster.kube.kubeconfig(), &narrow).unwrap();
    narrow.ready(SOON).await.unwrap();
    assert_eq!(namespaces_of("envoy-9", &narrow).await, set(["default"]));

    // A model removed from one namespace stays in the other.
    cluster.run("delete deploy/ours").await.unwrap();
    answers(both, "anything.test", 404).await;
    assert_eq!(who(&ask(both, "a.test").await), THEIRS);
}
