//! An API server that recovers: it is read at once, however long it was away, and is probed rarely meanwhile.

use std::time::{Duration, Instant};

use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::FaultProxy;

use super::cluster::*;

/// From when the API server is ready until a label is seen, on a busy machine: whether it is back is asked every 1.5 s at
/// most, and the watches try again within 0.2 s. They themselves would wait for 10 to 15 s by then.
const AT_ONCE: Duration = Duration::from_secs(5);
/// After so many tries in vain a watch waits for the longest time.
const TRIES: usize = 7;
/// As long as that takes.
const LONG: Duration = Duration::from_secs(90);

/// What was asked from the `from`-th request on, of those that contain all of these.
fn asked(relay: &FaultProxy, from: usize, parts: &[&str]) -> usize {
    let all = relay.requests();
    let ours = all[from..]
        .iter()
        .filter(|asked| parts.iter().all(|part| asked.contains(part)));
    ours.count()
}

/// A cluster, a source behind a relay, and a Deployment that it sees.
async fn watched() -> (Cluster, FaultProxy, Source) {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.rollout("v1").await;
    let relay = cluster
        .kube
        .fault_proxy(cluster.kube.kubeconfig())
        .await
        .unwrap();
    let client = client_of(relay.kubeconfig()).await;
    let mut source = Source::start(&client, Options::default()).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    (cluster, relay, source)
}

/// How long it takes from now until a label is seen, `kubectl` and all.
async fn label(cluster: &Cluster, source: &mut Source, weight: &str) -> Duration {
    let began = Instant::now();
    cluster
        .kubectl(&format!(
            "label deploy/v1 canary-weight={weight} --overwrite"
        ))
        .await;
    source
        .carrier("deployment/v1", |c| {
            c.labels.get("canary-weight").is_some_and(|w| w == weight)
        })
        .await;
    began.elapsed()
}

pub(crate) async fn all_well(source: &Source) {
    eventually(SOON, "all to be well", async || {
        let state = source.state();
        let well = state.lost().is_none();
        well.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_label_is_seen_at_once_after_the_api_server_was_away_for_long_and_it_was_not_asked_often()
{
    let (mut cluster, relay, mut source) = watched().await;
    let before = relay.requests().len();
    let killed = Instant::now();
    cluster.kube.kill_api().unwrap();
    let deployments = ["/deployments?", "watch=true"];
    eventually(LONG, "tries in vain", async || {
        let tries = asked(&relay, before, &deployments);
        (tries >= TRIES).then_some(()).ok_or(tries)
    })
    .await
    .unwrap();
    let away = killed.elapsed();
    let (all, questions) = (
        asked(&relay, before, &[]),
        asked(&relay, before, &["/readyz"]),
    );
    let watches = source.state().watches.len();
    println!("{all} requests in {away:?}, {questions} of them after its readiness");
    assert!(questions as f64 <= away.as_secs_f64() + 1.0, "{questions}");
    // Each watch tries eight times in the first 25 s, then every 10 s at least.
    let tries = watches * (8 + away.as_secs() as usize / 10);
    assert!(all - questions <= tries, "{all} - {questions} > {tries}");

    cluster.kube.start_api().await.unwrap();
    let seen = label(&cluster, &mut source, "7").await;
    println!("a label was seen {seen:?} after the API server was ready");
    assert!(seen < AT_ONCE, "{seen:?}");
    all_well(&source).await;
    let calm = relay.requests().len();
    label(&cluster, &mut source, "8").await;
    assert_eq!(
        asked(&relay, calm, &["/readyz"]),
        0,
        "no question while it answers"
    );
    cluster.equals_a_fresh_one(&source).await;
}

#[tokio::test]
async fn what_an_api_server_owes_from_before_it_was_ready_is_asked_for_anew() {
    let (mut cluster, relay, mut source) = watched().await;
    cluster.kube.kill_api().unwrap();
    eventually(SOON, "the loss", async || {
        source.state().lost().map(|_| ()).ok_or("not lost")
    })
    .await
    .unwrap();
    relay.leave_watches_unanswered(true);
    let there = source.state();
    let there = there.watches.values().filter(|watch| !watch.absent).count();
    // Every watch is owed an answer that never comes, so that only a timeout of 20 s would help it.
    eventually(SOON, "watches that wait for an answer", async || {
        let swallowed = relay.unanswered_watches();
        (swallowed >= there as u64).then_some(()).ok_or(swallowed)
    })
    .await
    .unwrap();
    cluster.kube.start_api().await.unwrap();
    relay.leave_watches_unanswered(false);
    let seen = label(&cluster, &mut source, "7").await;
    println!("a label was seen {seen:?} after the API server was ready");
    assert!(seen < AT_ONCE, "{seen:?}");
    all_well(&source).await;
    cluster.equals_a_fresh_one(&source).await;
}
