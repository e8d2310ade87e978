//! An API server, or a network in between, that keeps connections open and does not answer.

use std::time::{Duration, Instant};

use headgate_kubernetes::health::ApiState;
use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;

use super::cluster::*;

/// A watch runs for 20 s, and its loss is noticed some time later; twice that for a busy machine.
const NOTICED: Duration = Duration::from_secs(60);

/// Whether every watch of an existing kind is lost, because there is no answer.
fn silent(state: &ApiState) -> Result<(), String> {
    let there = state.watches.values().filter(|watch| !watch.absent);
    let says =
        |lost: &headgate_kubernetes::health::LostWatch| lost.message.contains("no answer within");
    let all = there
        .clone()
        .all(|watch| watch.lost.as_ref().is_some_and(says));
    all.then_some(()).ok_or(format!("{state:?}"))
}

#[tokio::test]
async fn a_network_that_drops_all_packets_is_reported_and_missed_changes_are_read_afterwards() {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.apply(policy("fair", 1)).await;
    let fault_proxy = cluster.fault_proxy().await;
    let mut source = Source::behind(&fault_proxy).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    source.policy("fair", |_| true).await;

    fault_proxy.freeze(true);
    let started = Instant::now();
    let before = source.read();
    cluster.kubectl("label deploy/v1 canary-weight=7").await;
    cluster.apply(policy("fair", 2)).await;
    let noticed = eventually(NOTICED, "the silence", async || silent(&source.state()));
    noticed.await.unwrap();
    println!(
        "silence noticed by all watches after {:?}",
        started.elapsed()
    );
    assert_eq!(source.read(), before, "the last state stays");

    fault_proxy.freeze(false);
    let weight = |c: &headgate_model::Carrier| {
        c.labels
            .get("canary-weight")
            .is_some_and(|weight| weight == "7")
    };
    source.carrier("deployment/v1", weight).await;
    source.buckets("fair", 2).await;
    eventually(NOTICED, "all to be well", async || {
        let state = source.state();
        let well = state.lost().is_none();
        well.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn an_api_server_that_accepts_connections_without_answering_is_reported_and_read_once_it_answers()
 {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.rollout("v1").await;
    cluster.kube.api().suspend().unwrap();
    let started = Instant::now();
    let watches = Watches::start(&cluster.client().await, Options::default());
    eventually(NOTICED, "the silence", async || {
        let state = watches.state();
        let lost = state.watches.values().all(|watch| watch.lost.is_some());
        lost.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    println!("reported after {:?}", started.elapsed());
    assert!(!watches.state().synced());
    cluster.kube.api().resume().unwrap();
    let source = Source::of(watches).await;
    assert_eq!(
        ready(&source.now().objects.carriers[&key("deployment/v1")]),
        1
    );
}
