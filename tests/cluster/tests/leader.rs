//! The leading replica is killed: another one leads within the duration of the Lease, and no request fails, also at the Envoys of the
//! killed replica.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kubectl, deployment};
use headgate_testkit::measured;
use headgate_testkit::share::SessionMoves;
use headgate_testkit::testbed::Status;
use headgate_tests_cluster::control_plane::ControlPlane;
use headgate_tests_cluster::envoy::ClusterEnvoy;
use headgate_tests_cluster::sessions::{Sessions, summary};
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};

const MODEL: &str = "llama";
/// `--lease-duration` in seconds, and the deadline for the new leader: the lease, a retry interval, and time for a busy machine.
const LEASE: &str = "6";
const WITHIN: Duration = Duration::from_secs(10);

fn flags(replica: &str) -> Vec<String> {
    let flags = [
        "--linger",
        "5",
        "--replica-name",
        replica,
        "--lease-duration",
        LEASE,
    ];
    flags.map(str::to_owned).to_vec()
}

async fn leads(kubectl: &Kubectl, replica: &str, within: Duration) {
    let path = "jsonpath={.spec.holderIdentity}";
    eventually(within, &format!("{replica} to lead"), async || {
        let holder = kubectl.run(["get", "lease", "headgate", "-o", path]).await;
        let holder = holder.unwrap_or_default();
        let ours = holder.starts_with(&format!("{replica}_"));
        ours.then_some(()).ok_or(holder)
    })
    .await
    .unwrap();
}

/// Waits until a control plane has these proxies, all settled, with this weight of the canary.
async fn has(control_plane: &ControlPlane, ids: &[&str], percent: f64) -> Status {
    let what = format!("{ids:?} at {percent} %");
    let settled = |status: &Status| {
        let mut here: Vec<&str> = status.proxies.iter().map(|p| p.id.as_str()).collect();
        here.sort_unstable();
        here == ids
            && status.proxies.iter().all(|p| p.current)
            && status.all_acked(MODEL, "two", percent)
    };
    control_plane
        .wait_for_status(SOON, &what, settled)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_leader_is_killed_another_replica_leads_within_the_lease_and_no_request_fails() {
    let options = TestClusterOptions {
        envoys: Vec::new(),
        serve: flags("first"),
        ..TestClusterOptions::default()
    };
    let mut cluster = TestCluster::start(options).await.unwrap();
    let kubectl = cluster.kubectl();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        let made = deployment(MODEL, name, version, 1);
        cluster.roll_out(&made).await.unwrap();
    }
    cluster
        .run("label deploy/v2 canary-weight=10")
        .await
        .unwrap();
    leads(&kubectl, "first", SOON).await;

    // Two Envoys at the leader: one of them also knows the other replica, which does not serve yet; one Envoy at the other replica.
    let mut second = ControlPlane::start(cluster.kube.kubeconfig(), &flags("second")).unwrap();
    second.process().kill().unwrap();
    let (one, two) = (cluster.control_plane.xds(), second.xds());
    let lone = ClusterEnvoy::start_among("lone", &[one], 1).await.unwrap();
    let moves = ClusterEnvoy::start_among("moves", &[one, two], 1)
        .await
        .unwrap();
    has(&cluster.control_plane, &["lone", "moves"], 10.0).await;
    second.start_again().unwrap();
    second.ready(SOON).await.unwrap();
    let other = ClusterEnvoy::start_among("other", &[two], 1).await.unwrap();
    has(&second, &["other"], 10.0).await;
    let envoys = [lone, moves, other];
    let sessions = Sessions {
        model: MODEL.into(),
        count: 300,
    };
    let load = sessions.load(&envoys);
    let before = sessions.pass(&load, envoys.len()).await.unwrap();

    cluster.control_plane.process().kill().unwrap();
    let killed = Instant::now();
    leads(&kubectl, "second", WITHIN).await;
    measured!(
        "another replica led {:?} after the leader was killed",
        killed.elapsed()
    );
    has(&second, &["moves", "other"], 10.0).await;
    measured!(
        "its Envoy was settled at the other replica {:?} after the kill",
        killed.elapsed()
    );
    let after = sessions.pass(&load, envoys.len()).await.unwrap();
    assert_eq!(SessionMoves::between(&before, &after).count(), 0);

    // The Envoy that knows the other replica follows it; the other keeps its configuration until its own control plane is back.
    cluster
        .run("label deploy/v2 canary-weight=40 --overwrite")
        .await
        .unwrap();
    has(&second, &["moves", "other"], 40.0).await;
    cluster.control_plane.start_again().unwrap();
    cluster.control_plane.ready(SOON).await.unwrap();
    has(&cluster.control_plane, &["lone"], 40.0).await;
    let after = sessions.pass(&load, envoys.len()).await.unwrap();
    let moves = SessionMoves::between(&before, &after);
    assert!(moves.only_into("two") && moves.count() > 0, "{moves:?}");
    leads(&kubectl, "second", SOON).await;

    let report = load.stop().await;
    measured!("{} requests: {}", report.samples.len(), summary(&report));
    assert!(report.other_than(&[200]).is_empty(), "{}", summary(&report));
}
