//! A replica that does not lead writes nothing but what its own proxies have: seen at a relay that all it asks goes through.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, Kubectl};
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::common::Server;
use crate::writing::{holder, leads};
use crate::written::{World, described, label, policy, told, wait};

/// Counts are published every five seconds at most, on a machine that does other things.
const PUBLISHED: Duration = Duration::from_secs(60);
/// What may be sent and changes nothing: the question which rights one has.
const QUESTION: &str = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// One's own counts.
const COUNTS: &str = "PATCH /api/v1/namespaces/default/configmaps/headgate-counts-follower?";

/// What was asked to be changed, apart from one's own counts.
fn writes(relay: &FaultProxy) -> Vec<String> {
    let mut asked = relay.requests();
    asked.retain(|asked| {
        !(asked.starts_with("GET ") || asked.starts_with(QUESTION) || asked.starts_with(COUNTS))
    });
    asked
}

fn counted(relay: &FaultProxy, part: &str) -> usize {
    let asked = relay.requests();
    asked.iter().filter(|asked| asked.starts_with(part)).count()
}

/// Whether a status has problems of all these reasons.
fn has(status: &Value, reasons: &[&str]) -> bool {
    let problems = status["problems"].as_array().into_iter().flatten();
    let said: Vec<&str> = problems.filter_map(|p| p["reason"].as_str()).collect();
    reasons.iter().all(|reason| said.contains(reason))
}

/// Everything that makes a leader write: refused and held labels, policies that match something or nothing, and one that a
/// proxy refuses.
async fn give_cause(kubectl: &Kubectl, proxy: &AutoAckProxy) {
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    wait(kubectl, "tbp/fair", "Programmed").await;
    kubectl
        .apply(&policy("typo", 2000, "models: [lama],"))
        .await
        .unwrap();
    label(kubectl, "lots").await;
    proxy.nack_type(type_url::EXTENSION);
    kubectl.apply(&policy("fair", 3000, "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_writes_nothing_but_its_own_counts_until_it_leads() {
    let world = World::start().await;
    let kubectl = world.kube.kubectl();
    let lease = ["--lease-duration", "6"];
    let mut leader = world.serve("leader", &lease).await;
    leads(&kubectl, "leader", PUBLISHED).await;
    let relay = world
        .kube
        .fault_proxy(world.kube.kubeconfig())
        .await
        .unwrap();
    let follower = world.serve_as(relay.kubeconfig(), "follower", &lease).await;
    let proxy = AutoAckProxy::connect("p", follower.xds).unwrap();
    follower.settled().await;
    give_cause(&kubectl, &proxy).await;

    // The follower knows of all of it, and the leader, which is told of its proxy by the counts alone, writes it.
    let known = ["InvalidWeight", "MatchesNothing"];
    knows(&follower, &known).await;
    wait(&kubectl, "tbp/typo", "ResolvedRefs=False").await;
    let message = ["Programmed", "message"];
    told(&kubectl, "tbp/fair", message, "0 of 1 proxies have it").await;
    for (object, reason) in [
        ("deploy/v2", "VersionHeld"),
        ("deploy/v2", "InvalidWeight"),
        ("tbp/typo", "MatchesNothing"),
        ("tbp/fair", "RefusedByProxy"),
    ] {
        described(&kubectl, object, reason, &[]).await;
    }
    // And it had time: a failed write would be tried again, a status be written within ten seconds.
    let before = counted(&relay, COUNTS);
    eventually(PUBLISHED, "two further beats", async || {
        let now = counted(&relay, COUNTS);
        (now >= before + 2).then_some(()).ok_or(now)
    })
    .await
    .unwrap();
    assert_eq!(holder(&kubectl).await, "leader");
    let tries = counted(
        &relay,
        "GET /apis/coordination.k8s.io/v1/namespaces/default/leases/headgate",
    );
    println!(
        "a follower: {} requests, {before} times its counts, {tries} looks at the Lease",
        relay.requests().len()
    );
    assert!(tries > 5, "it is a candidate: {tries}");
    assert_eq!(writes(&relay), [""; 0]);

    // It would be seen if it wrote: once it leads it does.
    leader.process.kill().unwrap();
    leads(&kubectl, "follower", Duration::from_secs(12)).await;
    label(&kubectl, "10").await;
    described(&kubectl, "deploy/v2", "CanaryStarted", &["10 %"]).await;
    kubectl
        .apply(&policy("late", 10, "models: [lamb],"))
        .await
        .unwrap();
    wait(&kubectl, "tbp/late", "ResolvedRefs=False").await;
    let written = writes(&relay);
    for part in [
        "PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/headgate",
        "POST /apis/events.k8s.io/v1/namespaces/default/events",
        "PATCH /apis/headgate.dev/v1alpha1/namespaces/default/tokenbucketpolicies/late/status",
    ] {
        assert!(
            written.iter().any(|asked| asked.starts_with(part)),
            "{part} in {written:?}"
        );
    }
}

async fn knows(server: &Server, reasons: &[&str]) {
    server
        .until("all to be known", |status| has(status, reasons))
        .await;
}
