//! A replica that does not lead writes only the counts of its own proxies; a fault proxy records all its requests.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, Kubectl};
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::cluster::{Cluster, described, label, policy, wait, wait_for_field};
use crate::common::Server;
use crate::writes::{holder, leads};

/// Counts are published at most every five seconds, on a busy machine.
const PUBLISHED: Duration = Duration::from_secs(60);
/// The review of its own rights, a POST that changes nothing.
const QUESTION: &str = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Its own counts.
const COUNTS: &str = "PATCH /api/v1/namespaces/default/configmaps/headgate-counts-follower?";

/// The requests that write, except its own counts.
fn writes(fault_proxy: &FaultProxy) -> Vec<String> {
    let mut requests = fault_proxy.requests();
    requests.retain(|request| {
        !(request.starts_with("GET ")
            || request.starts_with(QUESTION)
            || request.starts_with(COUNTS))
    });
    requests
}

fn counted(fault_proxy: &FaultProxy, part: &str) -> usize {
    let requests = fault_proxy.requests();
    requests
        .iter()
        .filter(|request| request.starts_with(part))
        .count()
}

/// Whether a status has problems of all these reasons.
fn has_problems(status: &Value, reasons: &[&str]) -> bool {
    let problems = status["problems"].as_array().into_iter().flatten();
    let found: Vec<&str> = problems.filter_map(|p| p["reason"].as_str()).collect();
    reasons.iter().all(|reason| found.contains(reason))
}

/// Causes every kind of write of a leader: refused and held labels, policies with and without a match, and one that a proxy
/// rejects.
async fn trigger_every_write(kubectl: &Kubectl, proxy: &AutoAckProxy) {
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
async fn a_follower_writes_only_its_own_counts_until_it_leads() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let lease = ["--lease-duration", "6"];
    let mut leader = cluster.serve("leader", &lease).await;
    leads(&kubectl, "leader", PUBLISHED).await;
    let fault_proxy = cluster.fault_proxy().await;
    let follower = cluster
        .serve_as(fault_proxy.kubeconfig(), "follower", &lease)
        .await;
    let proxy = AutoAckProxy::connect("p", follower.xds).unwrap();
    follower.all_current().await;
    trigger_every_write(&kubectl, &proxy).await;

    // The follower reports all of it. The leader, which knows that proxy only from the counts, writes it.
    let reasons = ["InvalidWeight", "MatchesNothing"];
    reports(&follower, &reasons).await;
    wait(&kubectl, "tbp/typo", "ResolvedRefs=False").await;
    let message = ["Programmed", "message"];
    wait_for_field(&kubectl, "tbp/fair", message, "0 of 1 proxies have it").await;
    for (object, reason) in [
        ("deploy/v2", "VersionHeld"),
        ("deploy/v2", "InvalidWeight"),
        ("tbp/typo", "MatchesNothing"),
        ("tbp/fair", "RefusedByProxy"),
    ] {
        described(&kubectl, object, reason, &[]).await;
    }
    // Two more heartbeats pass: within that time a write would have been tried again.
    let before = counted(&fault_proxy, COUNTS);
    eventually(PUBLISHED, "two more heartbeats", async || {
        let now = counted(&fault_proxy, COUNTS);
        (now >= before + 2).then_some(()).ok_or(now)
    })
    .await
    .unwrap();
    assert_eq!(holder(&kubectl).await, "leader");
    let tries = counted(
        &fault_proxy,
        "GET /apis/coordination.k8s.io/v1/namespaces/default/leases/headgate",
    );
    println!(
        "a follower: {} requests, {before} times its counts, {tries} looks at the Lease",
        fault_proxy.requests().len()
    );
    assert!(tries > 5, "it is a candidate: {tries}");
    assert_eq!(writes(&fault_proxy), [""; 0]);

    // Counter-check: once it leads, its writes are recorded.
    leader.process.kill().unwrap();
    leads(&kubectl, "follower", Duration::from_secs(12)).await;
    label(&kubectl, "10").await;
    described(&kubectl, "deploy/v2", "CanaryStarted", &["10 %"]).await;
    kubectl
        .apply(&policy("late", 10, "models: [lamb],"))
        .await
        .unwrap();
    wait(&kubectl, "tbp/late", "ResolvedRefs=False").await;
    let written = writes(&fault_proxy);
    for part in [
        "PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/headgate",
        "POST /apis/events.k8s.io/v1/namespaces/default/events",
        "PATCH /apis/headgate.dev/v1alpha1/namespaces/default/tokenbucketpolicies/late/status",
    ] {
        assert!(
            written.iter().any(|request| request.starts_with(part)),
            "{part} in {written:?}"
        );
    }
}

async fn reports(server: &Server, reasons: &[&str]) {
    server
        .until("the problems to be reported", |status| {
            has_problems(status, reasons)
        })
        .await;
}
