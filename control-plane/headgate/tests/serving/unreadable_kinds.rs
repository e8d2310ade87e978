//! `serve --kube` with kinds that cannot be read: everything else is served, and `status`, `/readyz` and metrics name the kind.

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::cluster::{Cluster, policy};
use crate::common::{SOON, Server, headgate};
use crate::exposition::Exposition;
use crate::kubernetes_replicas::same;

const SETS: &str = "leaderworkersets.leaderworkerset.x-k8s.io";
/// Longer than the wait for a kind that fails, on a busy machine.
const USUAL: Duration = Duration::from_secs(10);

/// Reason and object of the problems with these reasons.
fn about<'a>(status: &'a Value, reasons: &[&str]) -> Vec<(&'a str, &'a str)> {
    let problems = status["problems"].as_array().into_iter().flatten();
    let text = |problem: &'a Value, field| problem[field].as_str().unwrap_or_default();
    let each = problems.map(|problem| (text(problem, "reason"), text(problem, "object")));
    each.filter(|(reason, _)| reasons.contains(reason))
        .collect()
}

/// A kind that is unreadable once it has an object, and that object in another namespace.
const UNREADABLE: &str = include_str!("inputs/unreadable-kind.yaml");

/// Creates the kind.
async fn define(cluster: &Cluster) {
    let (definition, _) = UNREADABLE.split_once("\n---\n").unwrap();
    cluster.kube.kubectl().apply_crds(definition).await.unwrap();
}

/// Creates the object.
async fn unrelated(cluster: &Cluster) {
    let kubectl = cluster.kube.kubectl();
    eventually(SOON, "an object of it", async || {
        kubectl.apply(UNREADABLE).await
    })
    .await
    .unwrap();
}

/// A replica that watches all namespaces.
async fn serve(cluster: &Cluster, replica: &str, more: &[&str]) -> Server {
    let options = cluster.command(replica);
    let options = options.args(["--kube", "--kubeconfig"]);
    let options = options.arg(cluster.kube.kubeconfig()).args(more);
    Server::spawn(options).ready().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_starts_despite_an_unreadable_kind_and_names_it() {
    let cluster = Cluster::start().await;
    define(&cluster).await;
    let one = serve(&cluster, "one", &[]).await;
    unrelated(&cluster).await;
    let began = Instant::now();
    let two = serve(&cluster, "two", &[]).await;
    println!("ready {:?} after its start", began.elapsed());
    assert!(began.elapsed() < USUAL, "{:?}", began.elapsed());
    let [old, new] = [&one, &two].map(|server| AutoAckProxy::connect("proxy", server.xds).unwrap());
    same("both replicas", &[&old, &new], &["llama"]).await;

    let status = two
        .until("its reason", |s| {
            s["api"]["unread"].to_string().contains("conversion")
        })
        .await;
    assert_eq!(status["api"]["unreachableSince"], Value::Null);
    let unread = &status["api"]["unread"][0];
    assert_eq!(
        (&unread["kind"], &unread["wasRead"]),
        (&json!(SETS), &json!(false))
    );
    let reasons = ["KubernetesApi", "KindUnread", "NoDefinition"];
    assert_eq!(about(&status, &reasons), [("KindUnread", SETS)]);
    let ready = two.get("/readyz").await;
    assert!(ready.is_success(), "{}", ready.text());
    let output = ready.text();
    assert!(
        output.starts_with("ok\n") && output.contains(&format!("{SETS} cannot be read: ")),
        "{output}"
    );
    let admin = two.admin.to_string();
    let shown = headgate(&["status", "--admin-address", &admin]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("NOT READ for ") && !shown.contains("API DOES NOT ANSWER"),
        "{shown}"
    );
    one.until("the other replica to miss it too", |s| {
        s["api"]["unread"][0]["kind"] == SETS
    })
    .await;
    for (server, says) in [
        (&one, "its objects count as last seen"),
        (&two, "pods that it may own are not served"),
    ] {
        // The API server answers 429 while it begins to store a kind, which is another line.
        let about = |line: &&str| {
            line.contains("ERROR") && line.contains(SETS) && line.contains("conversion")
        };
        // The log follows the status.
        let once = eventually(SOON, "one line in the log", async || {
            let log = server.process.log().text();
            let found: Vec<&str> = log.lines().filter(about).collect();
            let once = found.len() == 1 && found[0].contains(says);
            once.then_some(()).ok_or(format!("{found:?}"))
        });
        once.await.unwrap();
    }
    let scraped = Exposition::parse(&two.get("/metrics").await.text()).unwrap();
    assert_eq!(
        scraped.value("headgate_kubernetes_api_unreachable", &[]),
        Some(0.0)
    );
    let since = "headgate_kubernetes_kind_unread_since_timestamp_seconds";
    assert!(scraped.value(since, &[("kind", SETS)]) > Some(1.7e9));

    // `--no-owner-kind` removes the kind.
    let three = serve(&cluster, "three", &["--no-owner-kind", "LeaderWorkerSet"]).await;
    assert_eq!(about(&three.syncz().await, &reasons), []);

    its_base_is_not_forgotten(&cluster).await;
}

/// A base of an unread kind outlives its grace, which begins once the kind is read and the base is missing.
async fn its_base_is_not_forgotten(cluster: &Cluster) {
    let kubectl = cluster.kube.kubectl();
    let stored = json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "ServedModel",
        "metadata": {"name": "big", "annotations": {"headgate.dev/base": "leaderworkerset/big=zero"}},
        "spec": {"baseGrace": "1s"},
    });
    kubectl.apply(&stored.to_string()).await.unwrap();
    let other = deployment("big", "big-one", "one", 1);
    kubectl.apply_and_wait(&other).await.unwrap();
    let base = async || {
        let path = "jsonpath={.status.base[*].carrier} {.status.base[*].undeclaredSince} {.status.planned.one}";
        kubectl.run(["get", "smdl/big", "-o", path]).await.unwrap()
    };
    let stored = "leaderworkerset/big  100";
    for _ in 0..2 {
        eventually(SOON, "the base to be stored", async || {
            let now = base().await;
            (now == stored).then_some(()).ok_or(now)
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(base().await, stored);

    let readable = r#"{"spec": {"conversion": {"strategy": "None", "webhook": null}}}"#;
    kubectl
        .run(["patch", "crd", SETS, "--type=merge", "-p", readable])
        .await
        .unwrap();
    eventually(SOON * 2, "the base to be forgotten", async || {
        let now = base().await;
        (now == "deployment/big-one  100").then_some(()).ok_or(now)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_definition_is_not_reported_as_an_api_that_is_away() {
    let cluster = Cluster::start().await;
    let server = cluster.serve("one", &[]).await;
    let kubectl = cluster.kube.kubectl();
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    let has = |s: &Value| s["policies"].to_string().contains("fair");
    server.until("the policy", has).await;
    let kind = "tokenbucketpolicies.headgate.dev in default";
    kubectl
        .run(["delete", "crd", "tokenbucketpolicies.headgate.dev"])
        .await
        .unwrap();
    let reasons = ["KubernetesApi", "KindUnread", "NoDefinition"];
    let status = server
        .until("the missing definition", |s| !about(s, &reasons).is_empty())
        .await;
    assert_eq!(about(&status, &reasons), [("NoDefinition", kind)]);
    assert_eq!(status["api"]["unreachableSince"], Value::Null);
    let problems = status["problems"].as_array().unwrap();
    let problem = problems
        .iter()
        .find(|p| p["reason"] == "NoDefinition")
        .unwrap();
    assert!(problem["since"].as_f64() > Some(1.7e9), "{problem}");
    assert!(
        problem["message"]
            .to_string()
            .contains("headgate schema crds"),
        "{problem}"
    );
}
