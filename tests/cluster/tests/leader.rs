//! The replica that leads is killed: another one leads within the Lease's time, and no request notices, also none at the
//! Envoys of the one that died.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kubectl, deployment};
use headgate_testkit::measured;
use headgate_testkit::share::Moves;
use headgate_testkit::stage::Status;
use headgate_tests_cluster::edge::Edge;
use headgate_tests_cluster::plane::Plane;
use headgate_tests_cluster::sessions::{Sessions, told};
use headgate_tests_cluster::world::{SOON, World, WorldOptions};

const MODEL: &str = "llama";
/// `--lease-duration`, in seconds, and within which another one is to lead: that, and what a try and a busy machine add.
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

/// Waits until a control plane has these proxies, all settled, at this weight of the canary.
async fn has(plane: &Plane, ids: &[&str], percent: f64) -> Status {
    let what = format!("{ids:?} at {percent} %");
    let there = |status: &Status| {
        let mut here: Vec<&str> = status.proxies.iter().map(|p| p.id.as_str()).collect();
        here.sort_unstable();
        here == ids
            && status.proxies.iter().all(|p| p.settled)
            && status.all_acked(MODEL, "two", percent)
    };
    plane.until(SOON, &what, there).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_is_followed_within_the_leases_time_and_no_request_notices() {
    let options = WorldOptions {
        edges: Vec::new(),
        serve: flags("first"),
        ..WorldOptions::default()
    };
    let mut world = World::start(options).await.unwrap();
    let kubectl = world.kubectl();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        let made = deployment(MODEL, name, version, 1);
        world.roll_out(&made).await.unwrap();
    }
    world.run("label deploy/v2 canary-weight=10").await.unwrap();
    leads(&kubectl, "first", SOON).await;

    // Two at the leader, one of which knows the other replica too; it is not there yet. And one at that.
    let mut second = Plane::start(world.kube.kubeconfig(), &flags("second")).unwrap();
    second.process().kill().unwrap();
    let (one, two) = (world.plane.xds(), second.xds());
    let lone = Edge::start_among("lone", &[one], 1).await.unwrap();
    let moves = Edge::start_among("moves", &[one, two], 1).await.unwrap();
    has(&world.plane, &["lone", "moves"], 10.0).await;
    second.start_again().unwrap();
    second.ready(SOON).await.unwrap();
    let other = Edge::start_among("other", &[two], 1).await.unwrap();
    has(&second, &["other"], 10.0).await;
    let edges = [lone, moves, other];
    let sessions = Sessions {
        model: MODEL.into(),
        count: 300,
    };
    let load = sessions.load(&edges);
    let before = sessions.pass(&load, edges.len()).await.unwrap();

    world.plane.process().kill().unwrap();
    let killed = Instant::now();
    leads(&kubectl, "second", WITHIN).await;
    measured!(
        "another replica led {:?} after the leader was killed",
        killed.elapsed()
    );
    has(&second, &["moves", "other"], 10.0).await;
    measured!(
        "its Envoy was in step with the other replica {:?} after",
        killed.elapsed()
    );
    let after = sessions.pass(&load, edges.len()).await.unwrap();
    assert_eq!(Moves::between(&before, &after).count(), 0);

    // What knows the other replica follows it; what does not goes on with what it has until its own is there again.
    world
        .run("label deploy/v2 canary-weight=40 --overwrite")
        .await
        .unwrap();
    has(&second, &["moves", "other"], 40.0).await;
    world.plane.start_again().unwrap();
    world.plane.ready(SOON).await.unwrap();
    has(&world.plane, &["lone"], 40.0).await;
    let after = sessions.pass(&load, edges.len()).await.unwrap();
    let moves = Moves::between(&before, &after);
    assert!(moves.only_into("two") && moves.count() > 0, "{moves:?}");
    leads(&kubectl, "second", SOON).await;

    let report = load.stop().await;
    measured!(
        "{} requests meanwhile: {}",
        report.samples.len(),
        told(&report)
    );
    assert!(report.other_than(&[200]).is_empty(), "{}", told(&report));
}
