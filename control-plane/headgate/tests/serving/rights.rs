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

/// The command that a message names.
fn command_of(message: &str) -> Vec<String> {
    let (_, command) = message.rsplit_once(": headgate ").unwrap();
    let (command, _) = command.split_once(" | ").unwrap();
    command.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_a_missing_right_names_grant_it_for_models_and_for_the_mesh() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let home = "headgate-system";
    for namespace in [home, "mesh", "istio-system"] {
        kubectl
            .run(["create", "namespace", namespace])
            .await
            .unwrap();
    }
    let kept = ["schema", "rbac", "--namespace", "default"];
    let kept = String::from_utf8(headgate(&kept).stdout).unwrap();
    // Everything but the Lease, and nothing of the mesh.
    let less = kept.replace("[\"create\", \"get\", \"update\"]", "[\"get\"]");
    assert_ne!(less, kept);
    grant(&kubectl, &less).await;
    let account = cluster.kube.service_account(home, "headgate").await;
    let more = ["--lease-namespace", home, "--istio", "--istio-clients=mesh"];
    let more = [&more[..], &["--wasm-proxy-path", "/etc/headgate"]].concat();
    let server = cluster.serve_as(&account.unwrap(), "one", &more).await;
    let named = eventually(LONG, "the missing rights of both roles", async || {
        let status = server.syncz().await;
        let problems = problems(&status, "MissingPermission");
        let has = |part: &str| problems.iter().any(|problem| problem.contains(part));
        let mesh = "may not patch envoyfilters.networking.istio.io in namespace mesh";
        let is_complete = has(mesh) && has("may not update leases.coordination.k8s.io");
        is_complete.then_some(problems).ok_or(status.to_string())
    });
    let named = named.await.unwrap();
    let commands = named.iter().map(|message| command_of(message));
    let commands: std::collections::BTreeSet<Vec<String>> = commands.collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let out = headgate(&words);
        assert!(out.status.success(), "{out:?}");
        let manifest = String::from_utf8(out.stdout).unwrap();
        grant(&kubectl, &manifest).await;
    }
    until(
        &server,
        "no missing right",
        "MissingPermission",
        <[String]>::is_empty,
    )
    .await;
}
