//! No request fails while `kubectl` changes weights and pods; and the requests that fail when a pod crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use headgate_testkit::client::{Load, LoadReport};
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_testkit::share::{Assignments, SessionMoves, share_of};
use headgate_tests_cluster::sessions::{Sessions, summary};
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};

const MODEL: &str = "llama";
const BASE: &str = "one";
const CANARY: &str = "two";
/// From Kubernetes marking a pod unready until it gets no request: the batching of endpoint changes (1 s), and time for a busy
/// machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A test cluster under load.
struct Traffic {
    cluster: TestCluster,
    sessions: Sessions,
    load: Load,
}

impl Traffic {
    /// Three pods of the base, two of a dark version, two Envoys.
    async fn start() -> Self {
        let options = TestClusterOptions {
            envoys: vec!["envoy-0".into(), "envoy-1".into()],
            workers: 1,
            ..TestClusterOptions::default()
        };
        let cluster = TestCluster::start(options).await.unwrap();
        let base = deployment(MODEL, "v1", BASE, 3);
        let mut canary = deployment(MODEL, "v2", CANARY, 2);
        canary["metadata"]["labels"]["canary-weight"] = "0".into();
        cluster.roll_out(&base).await.unwrap();
        cluster.roll_out(&canary).await.unwrap();
        cluster.wait_until_served(MODEL, BASE, 3).await.unwrap();
        cluster.wait_until_served(MODEL, CANARY, 2).await.unwrap();
        cluster.wait_until_acked(MODEL, CANARY, 0.0).await.unwrap();
        let sessions = Sessions {
            model: MODEL.into(),
            count: 1000,
        };
        let load = sessions.load(&cluster.envoys);
        Self {
            cluster,
            sessions,
            load,
        }
    }

    async fn run(&self, words: &str) {
        self.cluster.run(words).await.unwrap();
    }

    /// The version of each session now; the canary's share must be this percentage.
    async fn pass(&self, percent: f64) -> Assignments {
        let envoys = self.cluster.envoys.len();
        let pass = self.sessions.pass(&self.load, envoys).await;
        let pass = pass.unwrap_or_else(|why| panic!("{why}; {}", summary(&self.load.since(0))));
        let share = share_of(&pass, CANARY, percent / 100.0);
        assert!(share.holds(), "{share:?}");
        measured!(
            "{CANARY} at {percent} %: {:.1} % of {} sessions, bound {:.1}",
            share.measured * 100.0,
            pass.len(),
            share.bound * 100.0
        );
        pass
    }

    /// Scales the canary to one pod and returns its name.
    async fn last_pod(&self) -> String {
        self.run("scale deploy/v2 --replicas=1").await;
        self.cluster
            .wait_until_served(MODEL, CANARY, 1)
            .await
            .unwrap();
        let ready = "get pods -l app=v2 --no-headers";
        let ready = self.cluster.run(ready).await.unwrap();
        let line = ready
            .lines()
            .find(|line| line.contains("1/1") && !line.contains("Terminating"));
        let name = line.and_then(|line| line.split_whitespace().next());
        name.unwrap_or_else(|| panic!("{ready}")).to_owned()
    }

    async fn label(&self, percent: u32) -> Assignments {
        self.run(&format!(
            "label deploy/v2 canary-weight={percent} --overwrite"
        ))
        .await;
        let percent = f64::from(percent);
        self.cluster
            .wait_until_acked(MODEL, CANARY, percent)
            .await
            .unwrap();
        self.pass(percent).await
    }

    /// Stops the load; every request must have been answered with 200.
    async fn assert_no_failure(self) {
        let report = self.load.stop().await;
        measured!("{} requests: {}", report.samples.len(), summary(&report));
        let failed = report.other_than(&[200]);
        assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_weights_change_and_sessions_move_one_way() {
    let traffic = Traffic::start().await;
    let mut before = traffic.pass(0.0).await;
    for percent in [10, 50, 100, 0] {
        let after = traffic.label(percent).await;
        let moves = SessionMoves::between(&before, &after);
        let one_way = match percent {
            0 => moves.only_out_of(CANARY),
            _ => moves.only_into(CANARY),
        };
        assert!(one_way && moves.count() > 0, "{percent} %: {moves:?}");
        before = after;
    }
    traffic.assert_no_failure().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_pods_are_replaced_added_and_removed() {
    let traffic = Traffic::start().await;
    let before = traffic.label(30).await;
    let cluster = &traffic.cluster;

    let old = cluster.pods("v1");
    traffic.run("rollout restart deploy/v1").await;
    traffic.run("rollout status deploy/v1 --timeout=100s").await;
    let replaced = |pods: &std::collections::BTreeMap<String, _>| {
        pods.len() == 3 && pods.keys().all(|pod| !old.contains_key(pod))
    };
    cluster
        .wait_for_pods("v1", "three new servers", replaced)
        .await
        .unwrap();
    cluster.wait_until_served(MODEL, BASE, 3).await.unwrap();
    let restarted = traffic.pass(30.0).await;
    assert_eq!(SessionMoves::between(&before, &restarted).count(), 0);

    for replicas in [5, 2] {
        traffic
            .run(&format!("scale deploy/v1 --replicas={replicas}"))
            .await;
        let ready = |pods: &std::collections::BTreeMap<String, _>| pods.len() == replicas;
        cluster
            .wait_for_pods("v1", "the servers", ready)
            .await
            .unwrap();
        cluster
            .wait_until_served(MODEL, BASE, replicas)
            .await
            .unwrap();
    }
    let scaled = traffic.pass(30.0).await;
    assert_eq!(SessionMoves::between(&before, &scaled).count(), 0);
    traffic.assert_no_failure().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_canarys_last_pod_is_deleted_and_its_sessions_return_later() {
    let traffic = Traffic::start().await;
    let cluster = &traffic.cluster;
    let before = traffic.label(30).await;
    let last = traffic.last_pod().await;
    cluster.servers.hold("v2");
    traffic
        .run(&format!("delete pod {last} --wait=false"))
        .await;
    cluster.wait_until_acked(MODEL, CANARY, 0.0).await.unwrap();
    let alone = traffic.pass(0.0).await;
    let moves = SessionMoves::between(&before, &alone);
    assert!(moves.only_out_of(CANARY) && moves.count() > 0, "{moves:?}");
    cluster
        .wait_for_pods("v2", "no server of the canary", |pods| pods.is_empty())
        .await
        .unwrap();

    cluster.servers.release("v2");
    cluster.wait_until_acked(MODEL, CANARY, 30.0).await.unwrap();
    let back = traffic.pass(30.0).await;
    assert_eq!(SessionMoves::between(&before, &back).count(), 0);
    traffic.assert_no_failure().await;
}

/// The failed requests around a crash.
struct Crash {
    crashed: Duration,
    /// Time at which Kubernetes marked the pod unready.
    unready: Duration,
}

impl Crash {
    /// Ends the server of a pod as SIGKILL does. A real kubelet notices within about a second; here the pod is marked unready once
    /// `more` further requests have ended.
    async fn of(traffic: &Traffic, pod: &str, more: usize) -> Self {
        let crashed = traffic.load.now();
        assert!(traffic.cluster.servers.crash(pod).await);
        traffic.load.wait_for(more, SOON).await.unwrap();
        let unready = traffic.load.now();
        traffic.cluster.set_ready(pod, false).await.unwrap();
        Self { crashed, unready }
    }

    /// The guarantee: only sessions of the pod's version fail, and none once Kubernetes and the proxies know. Returns the number of
    /// failed requests.
    fn check_failures(&self, report: &LoadReport, before: &Assignments) -> usize {
        let failed = report.other_than(&[200]);
        let end = failed.iter().map(|sample| sample.sent).max();
        let end = end.unwrap_or(self.crashed);
        measured!(
            "{} of {} requests failed, the last sent {:?} after the crash, {:?} after the pod was unready; {}",
            failed.len(),
            report.samples.len(),
            end.saturating_sub(self.crashed),
            end.saturating_sub(self.unready),
            summary(report)
        );
        for sample in &failed {
            assert_eq!(before[&sample.session], CANARY, "{sample:?}");
            // A request that was in flight when the server ended was sent before the crash.
            let ended = sample.sent + sample.latency;
            assert!(ended >= self.crashed, "before the crash: {sample:?}");
        }
        assert!(
            end < self.unready + AT_ONCE,
            "{end:?}, unready at {:?}",
            self.unready
        );
        failed.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_canarys_last_pod_crashes_only_its_sessions_fail_and_only_until_it_is_unready() {
    let traffic = Traffic::start().await;
    let cluster = &traffic.cluster;
    let before = traffic.label(30).await;
    let last = traffic.last_pod().await;
    traffic.pass(30.0).await;
    let crash = Crash::of(&traffic, &last, 100).await;
    cluster.wait_until_acked(MODEL, CANARY, 0.0).await.unwrap();
    let alone = traffic.pass(0.0).await;
    let moves = SessionMoves::between(&before, &alone);
    assert!(moves.only_out_of(CANARY) && moves.count() > 0, "{moves:?}");

    // The container restarts in the same pod.
    cluster.servers.restart(&last).await.unwrap();
    cluster.set_ready(&last, true).await.unwrap();
    cluster.wait_until_acked(MODEL, CANARY, 30.0).await.unwrap();
    let back = traffic.pass(30.0).await;
    assert_eq!(SessionMoves::between(&before, &back).count(), 0);
    let report = traffic.load.stop().await;
    // A crash is first detected by a failing request.
    assert!(crash.check_failures(&report, &before) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_of_two_pods_crashes_the_other_gets_its_requests_at_once() {
    let traffic = Traffic::start().await;
    let before = traffic.label(30).await;
    let pods = traffic.cluster.pods("v2");
    let (pod, _) = pods.first_key_value().unwrap();
    let from = traffic.load.len();
    let crash = Crash::of(&traffic, pod, 1000).await;
    traffic
        .cluster
        .wait_until_served(MODEL, CANARY, 1)
        .await
        .unwrap();
    let after = traffic.pass(30.0).await;
    assert_eq!(SessionMoves::between(&before, &after).count(), 0);
    let report = traffic.load.stop().await;
    let failed = crash.check_failures(&report, &before);
    // Half of them go to the dead pod first and are retried at the other one; only requests in flight at the crash fail.
    let meant = report.samples[from..]
        .iter()
        .filter(|sample| before[&sample.session] == CANARY && sample.sent < crash.unready);
    let meant = meant.count();
    measured!("{failed} of {meant} requests failed with one of two pods dead");
    assert!(failed * 20 < meant, "{failed} of {meant}");
}
