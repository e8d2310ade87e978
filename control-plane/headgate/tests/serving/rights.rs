//! `serve --kube` under a ServiceAccount with exactly the rights that `headgate schema rbac` prints: all of it works, and a right
//! that is taken away is named while the rest goes on.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::Kubectl;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::common::{Server, headgate};
use crate::replicas::filters;
use crate::written::{World, policy};

/// A watch runs for 20 s before it is asked for again, on a machine that does other things.
const LONG: Duration = Duration::from_secs(60);

/// The ServiceAccount it runs as.
const ACCOUNT: &str = "keeper";

/// What `headgate schema rbac` prints for a control plane that watches `default`.
fn printed() -> String {
    let of = ["--namespace", "default", "--service-account", ACCOUNT];
    let out = headgate(&[["schema", "rbac"].as_slice(), &of].concat());
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Gives the account these rights in place of those that it had.
async fn grant(kubectl: &Kubectl, rights: &str) {
    kubectl.apply(rights).await.unwrap();
}

/// Problems of a reason: what they are about, and what they say.
fn told(status: &Value, reason: &str) -> Vec<String> {
    let problems = status["problems"].as_array().into_iter().flatten();
    problems
        .filter(|problem| problem["reason"] == reason)
        .map(|problem| {
            let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", text("object"), text("message"))
        })
        .collect()
}

async fn until(server: &Server, what: &str, reason: &str, wanted: impl Fn(&[String]) -> bool) {
    eventually(LONG, what, async || {
        let status = server.syncz().await;
        let told = told(&status, reason);
        wanted(&told).then_some(()).ok_or(status.to_string())
    })
    .await
    .unwrap();
}

async fn reaches(seen: &AutoAckProxy, part: &str) {
    eventually(LONG, part, async || {
        let filters = filters(&seen.accepted());
        filters.contains(part).then_some(()).ok_or(filters)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_printed_rights_are_enough_and_one_that_is_taken_away_is_named() {
    let world = World::start().await;
    let kubectl = world.kube.kubectl();
    let home = "headgate-system";
    kubectl.run(["create", "namespace", home]).await.unwrap();
    let all = printed();
    grant(&kubectl, &all).await;
    let account = world.kube.service_account(home, ACCOUNT).await.unwrap();
    let more = ["--lease-namespace", home];
    let server = world.serve_as(&account, "one", &more).await;
    let seen = AutoAckProxy::connect("proxy", server.xds).unwrap();
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    reaches(&seen, "default/fair").await;
    let programmed = [
        "wait",
        "tbp/fair",
        "--for=condition=Programmed",
        "--timeout=60s",
    ];
    kubectl.run(programmed).await.unwrap();
    // What is no object's doing is told where the control plane runs.
    let stubborn =
        AutoAckProxy::connect_nacking("stubborn", server.xds, [type_url::LISTENER]).unwrap();
    eventually(LONG, "the Event of the Lease", async || {
        let lease = ["describe", "lease/headgate", "-n", home];
        let said = kubectl.run(lease).await.unwrap();
        let words = "a proxy refuses the listener headgate";
        said.contains(words).then_some(()).ok_or(said)
    })
    .await
    .unwrap();
    drop(stubborn);
    let status = server.syncz().await;
    assert_eq!(told(&status, "MissingRight"), Vec::<String>::new());
    assert_eq!(told(&status, "KubernetesApi"), Vec::<String>::new());

    // A right to watch: what was seen last stays, and everything else goes on.
    grant(&kubectl, &all.replace("\"deployments\", ", "")).await;
    let refused = "cannot watch resource \"deployments\"";
    until(&server, "the refusal", "KindUnread", |told| {
        told.len() == 1 && told[0].contains(refused)
    })
    .await;
    kubectl.apply(&policy("fair", 4321, "")).await.unwrap();
    reaches(&seen, "4321").await;
    let status = server.syncz().await;
    assert_eq!(
        status["models"].as_array().map_or(0, Vec::len),
        1,
        "{status}"
    );

    // Rights to write are missed before they are used.
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
    let another = world.serve_as(&account, "two", &more).await;
    let expected = [
        "leases.coordination.k8s.io: may not create leases.coordination.k8s.io in namespace headgate-system",
        "leases.coordination.k8s.io: may not update leases.coordination.k8s.io in namespace headgate-system",
        "tokenbucketpolicies.headgate.dev/status: may not patch tokenbucketpolicies.headgate.dev/status in namespace default",
        "traffictagpolicies.headgate.dev/status: may not patch traffictagpolicies.headgate.dev/status in namespace default",
    ];
    let command = "headgate schema rbac --namespace default --service-account keeper --install-namespace headgate-system | kubectl apply -f -";
    until(&another, "the missing rights", "MissingRight", |told| {
        told.len() == expected.len()
            && told
                .iter()
                .zip(expected)
                .all(|(told, wanted)| told.starts_with(wanted) && told.ends_with(command))
    })
    .await;
    grant(&kubectl, &all).await;
    until(
        &another,
        "all to be well",
        "MissingRight",
        <[String]>::is_empty,
    )
    .await;
}
