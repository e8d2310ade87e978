//! `serve --kube` under a ServiceAccount with exactly the rights that `headgate schema rbac` prints: everything works, and a missing
//! right is named while the rest continues.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kubectl;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::cluster::{Cluster, policy};
use crate::common::{Server, headgate};
use crate::replicas::filters;

/// A watch is requested again after 20 s; the rest is for a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// The ServiceAccount it runs as.
const ACCOUNT: &str = "keeper";

/// The output of `headgate schema rbac` for a control plane that watches `default`.
fn printed() -> String {
    let of = ["--namespace", "default", "--service-account", ACCOUNT];
    let out = headgate(&[["schema", "rbac"].as_slice(), &of].concat());
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Replaces the rights of the account by these.
async fn grant(kubectl: &Kubectl, rights: &str) {
    kubectl.apply(rights).await.unwrap();
}

/// The objects and messages of the problems with this reason.
fn problems(status: &Value, reason: &str) -> Vec<String> {
    let problems = status["problems"].as_array().into_iter().flatten();
    problems
        .filter(|problem| problem["reason"] == reason)
        .map(|problem| {
            let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("object"), text("message"))
        })
        .collect()
}

async fn until(server: &Server, what: &str, reason: &str, expected: impl Fn(&[String]) -> bool) {
    eventually(LONG, what, async || {
        let status = server.syncz().await;
        let problems = problems(&status, reason);
        expected(&problems).then_some(()).ok_or(status.to_string())
    })
    .await
    .unwrap();
}

async fn reaches(proxy: &AutoAckProxy, part: &str) {
    eventually(LONG, part, async || {
        let filters = filters(&proxy.accepted());
        filters.contains(part).then_some(()).ok_or(filters)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_printed_rights_are_sufficient_and_a_missing_one_is_named() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let home = "headgate-system";
    kubectl.run(["create", "namespace", home]).await.unwrap();
    let all = printed();
    grant(&kubectl, &all).await;
    let account = cluster.kube.service_account(home, ACCOUNT).await.unwrap();
    let more = ["--lease-namespace", home];
    let server = cluster.serve_as(&account, "one", &more).await;
    let proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    reaches(&proxy, "default/fair").await;
    let programmed = [
        "wait",
        "tbp/fair",
        "--for=condition=Programmed",
        "--timeout=60s",
    ];
    kubectl.run(programmed).await.unwrap();
    // A NACK that no object caused is an Event in the namespace of the control plane.
    let stubborn =
        AutoAckProxy::connect_nacking("stubborn", server.xds, [type_url::LISTENER]).unwrap();
    eventually(LONG, "the Event of the Lease", async || {
        let lease = ["describe", "lease/headgate", "-n", home];
        let events = kubectl.run(lease).await.unwrap();
        let words = "a proxy refuses the listener headgate";
        events.contains(words).then_some(()).ok_or(events)
    })
    .await
    .unwrap();
    drop(stubborn);
    let status = server.syncz().await;
    assert_eq!(problems(&status, "MissingPermission"), Vec::<String>::new());
    assert_eq!(problems(&status, "KubernetesApi"), Vec::<String>::new());

    // Without a right to watch, the last objects stay in effect and everything else continues.
    grant(&kubectl, &all.replace("\"deployments\", ", "")).await;
    let refused = "cannot watch resource \"deployments\"";
    until(&server, "the refusal", "KindUnread", |problems| {
        problems.len() == 1 && problems[0].contains(refused)
    })
    .await;
    kubectl.apply(&policy("fair", 4321, "")).await.unwrap();
    reaches(&proxy, "4321").await;
    let status = server.syncz().await;
    assert_eq!(
        status["models"].as_array().map_or(0, Vec::len),
        1,
        "{status}"
    );

    // Missing rights to write are reported before they are used.
    let less = all
        .replace("verbs: [\"patch\"]", "verbs: [\"get\"]")
        .replace("[\"create\", \"get\", \"update\"]", "[\"get\"]");
    grant(&kubectl, &less).await;
    until(
        &server,
        "the watch again",
        "KindUnread",
        <[String]>::is_empty,
    )
    .await;
    let another = cluster.serve_as(&account, "two", &more).await;
    let expected = [
        "authenticationpolicies.headgate.dev/status: may not patch authenticationpolicies.headgate.dev/status in namespace default",
        "leases.coordination.k8s.io: may not create leases.coordination.k8s.io in namespace headgate-system",
        "leases.coordination.k8s.io: may not update leases.coordination.k8s.io in namespace headgate-system",
        "tokenbucketpolicies.headgate.dev/status: may not patch tokenbucketpolicies.headgate.dev/status in namespace default",
        "traffictagpolicies.headgate.dev/status: may not patch traffictagpolicies.headgate.dev/status in namespace default",
    ];
    let command = "headgate schema rbac --namespace default --service-account keeper --install-namespace headgate-system | kubectl apply -f -";
    until(
        &another,
        "the missing rights",
        "MissingPermission",
        |problems| {
            problems.len() == expected.len()
                && problems.iter().zip(expected).all(|(problems, expected)| {
                    problems.starts_with(expected) && problems.ends_with(command)
                })
        },
    )
    .await;
    grant(&kubectl, &all).await;
    until(
        &another,
        "all to be well",
        "MissingPermission",
        <[String]>::is_empty,
    )
    .await;
}
