//! No request fails, whatever `kubectl` does to weights and pods; and which ones fail where a pod crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use headgate_testkit::client::{Load, LoadReport};
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_testkit::share::{Moves, Pass, share_of};
use headgate_tests_cluster::sessions::{Sessions, told};
use headgate_tests_cluster::world::{SOON, World, WorldOptions};

const MODEL: &str = "llama";
const BASE: &str = "one";
const CANARY: &str = "two";
/// From when Kubernetes knows that a pod is not ready until no request is sent to it: what changes of endpoints wait for
/// company (1 s), and what a busy machine adds.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A world under load.
struct Traffic {
    world: World,
    sessions: Sessions,
    load: Load,
}

impl Traffic {
    /// Three pods of the base, two of a dark version, two Envoys.
    async fn start() -> Self {
        let options = WorldOptions {
            edges: vec!["edge-0".into(), "edge-1".into()],
            workers: 1,
            ..WorldOptions::default()
        };
        let world = World::start(options).await.unwrap();
        let base = deployment(MODEL, "v1", BASE, 3);
        let mut canary = deployment(MODEL, "v2", CANARY, 2);
        canary["metadata"]["labels"]["canary-weight"] = "0".into();
        world.roll_out(&base).await.unwrap();
        world.roll_out(&canary).await.unwrap();
        world.serving(MODEL, BASE, 3).await.unwrap();
        world.serving(MODEL, CANARY, 2).await.unwrap();
        world.acked(MODEL, CANARY, 0.0).await.unwrap();
        let sessions = Sessions {
            model: MODEL.into(),
            count: 1000,
        };
        let load = sessions.load(&world.edges);
        Self {
            world,
            sessions,
            load,
        }
    }

    async fn run(&self, words: &str) {
        self.world.run(words).await.unwrap();
    }

    /// Who answers whom now, the canary's share being this percent.
    async fn pass(&self, percent: f64) -> Pass {
        let envoys = self.world.edges.len();
        let pass = self.sessions.pass(&self.load, envoys).await;
        let pass = pass.unwrap_or_else(|why| panic!("{why}; {}", told(&self.load.since(0))));
        let share = share_of(&pass, CANARY, percent / 100.0);
        assert!(share.holds(), "{share:?}");
        measured!(
            "{CANARY} at {percent} %: {:.1} % of {} sessions, bound {:.1}",
            share.seen * 100.0,
            pass.len(),
            share.bound * 100.0
        );
        pass
    }

    /// Scales the canary to one pod; its name.
    async fn last_pod(&self) -> String {
        self.run("scale deploy/v2 --replicas=1").await;
        self.world.serving(MODEL, CANARY, 1).await.unwrap();
        let ready = "get pods -l app=v2 --no-headers";
        let ready = self.world.run(ready).await.unwrap();
        let line = ready
            .lines()
            .find(|line| line.contains("1/1") && !line.contains("Terminating"));
        let name = line.and_then(|line| line.split_whitespace().next());
        name.unwrap_or_else(|| panic!("{ready}")).to_owned()
    }

    async fn label(&self, percent: u32) -> Pass {
        self.run(&format!(
            "label deploy/v2 canary-weight={percent} --overwrite"
        ))
        .await;
        let percent = f64::from(percent);
        self.world.acked(MODEL, CANARY, percent).await.unwrap();
        self.pass(percent).await
    }

    /// Stops the load: every request that was ever sent was answered with 200.
    async fn ends(self) {
        let report = self.load.stop().await;
        measured!("{} requests: {}", report.samples.len(), told(&report));
        let failed = report.other_than(&[200]);
        assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_weights_go_up_and_down_and_sessions_move_one_way() {
    let traffic = Traffic::start().await;
    let mut before = traffic.pass(0.0).await;
    for percent in [10, 50, 100, 0] {
        let after = traffic.label(percent).await;
        let moves = Moves::between(&before, &after);
        let one_way = match percent {
            0 => moves.only_out_of(CANARY),
            _ => moves.only_into(CANARY),
        };
        assert!(one_way && moves.count() > 0, "{percent} %: {moves:?}");
        before = after;
    }
    traffic.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_pods_are_replaced_added_and_removed() {
    let traffic = Traffic::start().await;
    let before = traffic.label(30).await;
    let world = &traffic.world;

    let old = world.pods("v1");
    traffic.run("rollout restart deploy/v1").await;
    traffic.run("rollout status deploy/v1 --timeout=100s").await;
    let replaced = |pods: &std::collections::BTreeMap<String, _>| {
        pods.len() == 3 && pods.keys().all(|pod| !old.contains_key(pod))
    };
    world
        .until_pods("v1", "three new servers", replaced)
        .await
        .unwrap();
    world.serving(MODEL, BASE, 3).await.unwrap();
    let restarted = traffic.pass(30.0).await;
    assert_eq!(Moves::between(&before, &restarted).count(), 0);

    for replicas in [5, 2] {
        traffic
            .run(&format!("scale deploy/v1 --replicas={replicas}"))
            .await;
        let there = |pods: &std::collections::BTreeMap<String, _>| pods.len() == replicas;
        world.until_pods("v1", "the servers", there).await.unwrap();
        world.serving(MODEL, BASE, replicas).await.unwrap();
    }
    let scaled = traffic.pass(30.0).await;
    assert_eq!(Moves::between(&before, &scaled).count(), 0);
    traffic.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_canarys_last_pod_dies_and_its_sessions_come_back_to_it() {
    let traffic = Traffic::start().await;
    let world = &traffic.world;
    let before = traffic.label(30).await;
    let last = traffic.last_pod().await;
    world.servers.hold("v2");
    traffic
        .run(&format!("delete pod {last} --wait=false"))
        .await;
    world.acked(MODEL, CANARY, 0.0).await.unwrap();
    let alone = traffic.pass(0.0).await;
    let moves = Moves::between(&before, &alone);
    assert!(moves.only_out_of(CANARY) && moves.count() > 0, "{moves:?}");
    world
        .until_pods("v2", "no server of the canary", |pods| pods.is_empty())
        .await
        .unwrap();

    world.servers.release("v2");
    world.acked(MODEL, CANARY, 30.0).await.unwrap();
    let back = traffic.pass(30.0).await;
    assert_eq!(Moves::between(&before, &back).count(), 0);
    traffic.ends().await;
}

/// Which requests failed around a crash.
struct Crash {
    crashed: Duration,
    /// When Kubernetes was told.
    known: Duration,
}

impl Crash {
    /// The server of a pod ends as on SIGKILL. A kubelet sees that within a second or so; here it is told once `more` further
    /// requests were answered, one way or another.
    async fn of(traffic: &Traffic, pod: &str, more: usize) -> Self {
        let crashed = traffic.load.now();
        assert!(traffic.world.servers.crash(pod).await);
        traffic.load.wait_for(more, SOON).await.unwrap();
        let known = traffic.load.now();
        traffic.world.set_ready(pod, false).await.unwrap();
        Self { crashed, known }
    }

    /// What is promised: only sessions of its version are hit, and none once Kubernetes knows and the proxies do. How many
    /// requests failed.
    fn hit_no_others(&self, report: &LoadReport, before: &Pass) -> usize {
        let failed = report.other_than(&[200]);
        let end = failed.iter().map(|sample| sample.sent).max();
        let end = end.unwrap_or(self.crashed);
        measured!(
            "{} of {} requests failed, the last sent {:?} after the crash, {:?} after Kubernetes knew; {}",
            failed.len(),
            report.samples.len(),
            end.saturating_sub(self.crashed),
            end.saturating_sub(self.known),
            told(report)
        );
        for sample in &failed {
            assert_eq!(before[&sample.session], CANARY, "{sample:?}");
            // One that was being answered when the server ended was sent before.
            let ended = sample.sent + sample.latency;
            assert!(ended >= self.crashed, "before the crash: {sample:?}");
        }
        assert!(
            end < self.known + AT_ONCE,
            "{end:?}, known at {:?}",
            self.known
        );
        failed.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_canarys_last_pod_crashes_only_its_own_sessions_fail_and_only_until_it_is_known() {
    let traffic = Traffic::start().await;
    let world = &traffic.world;
    let before = traffic.label(30).await;
    let last = traffic.last_pod().await;
    traffic.pass(30.0).await;
    let crash = Crash::of(&traffic, &last, 100).await;
    world.acked(MODEL, CANARY, 0.0).await.unwrap();
    let alone = traffic.pass(0.0).await;
    let moves = Moves::between(&before, &alone);
    assert!(moves.only_out_of(CANARY) && moves.count() > 0, "{moves:?}");

    // The container is started again, in the same pod.
    world.servers.restart(&last).await.unwrap();
    world.set_ready(&last, true).await.unwrap();
    world.acked(MODEL, CANARY, 30.0).await.unwrap();
    let back = traffic.pass(30.0).await;
    assert_eq!(Moves::between(&before, &back).count(), 0);
    let report = traffic.load.stop().await;
    // Nobody can know of a crash before a request has met it.
    assert!(crash.hit_no_others(&report, &before) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_of_two_pods_crashes_the_other_takes_its_requests_at_once() {
    let traffic = Traffic::start().await;
    let before = traffic.label(30).await;
    let pods = traffic.world.pods("v2");
    let (pod, _) = pods.first_key_value().unwrap();
    let from = traffic.load.len();
    let crash = Crash::of(&traffic, pod, 1000).await;
    traffic.world.serving(MODEL, CANARY, 1).await.unwrap();
    let after = traffic.pass(30.0).await;
    assert_eq!(Moves::between(&before, &after).count(), 0);
    let report = traffic.load.stop().await;
    let failed = crash.hit_no_others(&report, &before);
    // Half of them are sent there first, and tried once more at the other: what fails was being answered.
    let meant = report.samples[from..]
        .iter()
        .filter(|sample| before[&sample.session] == CANARY && sample.sent < crash.known);
    let meant = meant.count();
    measured!("{failed} of {meant} requests for two pods, of which one is dead");
    assert!(failed * 20 < meant, "{failed} of {meant}");
}
