//! An API server that recovers: it is read at once, however long it was away, and is probed rarely meanwhile.

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::FaultProxy;

use super::cluster::*;

/// The longest time from a ready API server until a label is observed, on a busy machine: the probe runs at most every 1.5 s, and
/// the watches try again within 0.2 s. Without it they would wait for 10 to 15 s.
const AT_ONCE: Duration = Duration::from_secs(5);
/// After this number of failures a watch waits for the longest time.
const TRIES: usize = 7;
/// The time of these failures.
const LONG: Duration = Duration::from_secs(90);

/// The number of requests with all of these parts from the `from`-th request on.
fn count_requests(fault_proxy: &FaultProxy, from: usize, parts: &[&str]) -> usize {
    let all = fault_proxy.requests();
    let ours = all[from..]
        .iter()
        .filter(|request| parts.iter().all(|part| request.contains(part)));
    ours.count()
}

/// A cluster, a source behind a fault proxy, and a Deployment that it observes.
async fn watched() -> (Cluster, FaultProxy, Source) {
    let cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.rollout("v1").await;
    let fault_proxy = cluster.fault_proxy().await;
    let mut source = Source::behind(&fault_proxy).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    (cluster, fault_proxy, source)
}

/// The time until a new label is observed, including `kubectl`.
async fn label(cluster: &Cluster, source: &mut Source, weight: &str) -> Duration {
    let started = Instant::now();
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
    started.elapsed()
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
async fn a_label_is_observed_at_once_after_a_long_outage_with_few_requests_during_it() {
    let (mut cluster, fault_proxy, mut source) = watched().await;
    let before = fault_proxy.requests().len();
    let killed = Instant::now();
    cluster.kube.kill_api().unwrap();
    let deployments = ["/deployments?", "watch=true"];
    eventually(LONG, "tries in vain", async || {
        let tries = count_requests(&fault_proxy, before, &deployments);
        (tries >= TRIES).then_some(()).ok_or(tries)
    })
    .await
    .unwrap();
    let away = killed.elapsed();
    let (all, questions) = (
        count_requests(&fault_proxy, before, &[]),
        count_requests(&fault_proxy, before, &["/readyz"]),
    );
    let watches = source.state().watches.len();
    println!("{all} requests in {away:?}, {questions} of them after its readiness");
    assert!(questions as f64 <= away.as_secs_f64() + 1.0, "{questions}");
    // Each watch tries eight times in the first 25 s, then every 10 s at least.
    let tries = watches * (8 + away.as_secs() as usize / 10);
    assert!(all - questions <= tries, "{all} - {questions} > {tries}");

    cluster.kube.start_api().await.unwrap();
    let observed = label(&cluster, &mut source, "7").await;
    println!("a label was observed {observed:?} after the API server was ready");
    assert!(observed < AT_ONCE, "{observed:?}");
    all_well(&source).await;
    let calm = fault_proxy.requests().len();
    label(&cluster, &mut source, "8").await;
    assert_eq!(
        count_requests(&fault_proxy, calm, &["/readyz"]),
        0,
        "no question while it answers"
    );
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn watches_without_an_answer_from_before_the_api_server_was_ready_are_restarted() {
    let (mut cluster, fault_proxy, mut source) = watched().await;
    cluster.kube.kill_api().unwrap();
    eventually(SOON, "the loss", async || {
        source.state().lost().map(|_| ()).ok_or("not lost")
    })
    .await
    .unwrap();
    fault_proxy.leave_watches_unanswered(true);
    let there = source.state();
    let there = there.watches.values().filter(|watch| !watch.absent).count();
    // Every watch has a request without an answer, which only a timeout of 20 s would end.
    eventually(SOON, "watches that wait for an answer", async || {
        let swallowed = fault_proxy.unanswered_watches();
        (swallowed >= there as u64).then_some(()).ok_or(swallowed)
    })
    .await
    .unwrap();
    cluster.kube.start_api().await.unwrap();
    fault_proxy.leave_watches_unanswered(false);
    let observed = label(&cluster, &mut source, "7").await;
    println!("a label was observed {observed:?} after the API server was ready");
    assert!(observed < AT_ONCE, "{observed:?}");
    all_well(&source).await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
}
