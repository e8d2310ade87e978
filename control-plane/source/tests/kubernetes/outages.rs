//! Outages: a bad network, a busy API server, a killed one, a lost history. Afterwards the observation equals that of a fresh source.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, KubeOptions};

use super::cluster::*;

/// Longer than the duration of a watch.
const ENDED: Duration = Duration::from_secs(22);

fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_killed_api_server_removes_no_object_and_after_a_lost_history_everything_is_listed_again()
{
    let mut cluster = Cluster::start().await;
    let fault_proxy = cluster.fault_proxy().await;
    let mut source = Source::behind(&fault_proxy).await;
    cluster.apply(deployment("v1", "one", 2)).await;
    cluster.apply(deployment("v2", "two", 1)).await;
    cluster.rollout("v1").await;
    cluster.rollout("v2").await;
    source.carrier("deployment/v2", |c| ready(c) == 1).await;
    source.carrier("deployment/v1", |c| ready(c) == 2).await;
    cluster.apply(policy("stays", 1)).await;
    cluster.apply(policy("goes", 1)).await;
    source.policy("stays", |_| true).await;
    source.policy("goes", |_| true).await;
    assert_eq!(source.state().lost(), None);
    let before = source.read();

    let killed = now();
    cluster.kube.kill_api().unwrap();
    let lost = eventually(SOON, "the loss", async || {
        let state = source.state();
        let lost = state
            .watches
            .values()
            .filter(|watch| watch.lost.is_some())
            .count();
        let there = state.watches.values().filter(|watch| !watch.absent).count();
        let whole = lost == there;
        whole
            .then(|| state.lost().unwrap().1.clone())
            .ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    assert!((killed..=now()).contains(&lost.since), "{lost:?}");
    assert!(!lost.message.is_empty());
    assert_eq!(source.read(), before, "the last state stays");

    cluster.kube.compact().await.unwrap();
    cluster.kube.start_api().await.unwrap();
    eventually(SOON, "the API to be found again", async || {
        let state = source.state();
        state
            .lost()
            .is_none()
            .then_some(())
            .ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    assert_eq!(source.read(), before);
    // Its history is compacted. After an outage the source does not resume watches but lists everything.
    assert_eq!(fault_proxy.expired_watches(), Vec::<String>::new());
    cluster.kubectl("delete tbp/goes").await;
    cluster.apply(policy("stays", 2)).await;
    source.buckets("stays", 2).await;
    cluster.kubectl("label deploy/v2 canary-weight=30").await;
    source
        .carrier("deployment/v2", |c| {
            c.labels.get("canary-weight").is_some_and(|w| w == "30")
        })
        .await;
    cluster.kubectl("delete deploy/v1 --wait=false").await;
    source
        .until("one gone", |observed| {
            (!observed
                .objects
                .carriers
                .contains_key(&key("deployment/v1")))
            .then_some(())
        })
        .await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn changes_during_an_outage_are_observed_afterwards() {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("goes", "one", 1)).await;
    cluster.apply(deployment("stays", "two", 1)).await;
    cluster.rollout("goes").await;
    cluster.rollout("stays").await;
    let fault_proxy = cluster.fault_proxy().await;
    let mut source = Source::behind(&fault_proxy).await;
    source.carrier("deployment/goes", |c| ready(c) == 1).await;

    cluster.kube.kill_api().unwrap();
    eventually(SOON, "the loss", async || {
        source.state().lost().map(|_| ()).ok_or("not lost")
    })
    .await
    .unwrap();
    fault_proxy.throttle_next(1_000_000);
    cluster.kube.start_api().await.unwrap();
    cluster.apply(policy("comes", 1)).await;
    cluster.kubectl("delete deploy/goes --wait=false").await;
    cluster.kubectl("label deploy/stays canary-weight=7").await;
    cluster.kube.compact().await.unwrap();
    assert!(
        source
            .now()
            .objects
            .carriers
            .contains_key(&key("deployment/goes"))
    );
    eventually(SOON, "the refusal to be reported", async || {
        let state = source.state();
        let message = state
            .lost()
            .is_some_and(|(_, lost)| lost.message.contains("429"));
        message.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    fault_proxy.throttle_next(0);
    source
        .until("one gone", |observed| {
            (!observed
                .objects
                .carriers
                .contains_key(&key("deployment/goes")))
            .then_some(())
        })
        .await;
    source.policy("comes", |_| true).await;
    source
        .carrier("deployment/stays", |c| {
            c.labels.get("canary-weight").is_some_and(|w| w == "7")
        })
        .await;
    cluster.wait_until_equal_to_a_new_source(&source).await;
    eventually(SOON, "all to be well", async || {
        source.state().lost().is_none().then_some(()).ok_or("lost")
    })
    .await
    .unwrap();
}

/// Changes labels, replicas and policies, and breaks watches in the middle of an event.
async fn churn(cluster: &Cluster, fault_proxy: &FaultProxy, rounds: u32) {
    for round in 0..rounds {
        fault_proxy.break_watches();
        let name = ["v1", "v2"][round as usize % 2];
        cluster
            .kubectl(&format!(
                "label deploy/{name} canary-weight={round} --overwrite"
            ))
            .await;
        cluster.apply(policy(name, 1 + round)).await;
        if round % 3 == 0 {
            fault_proxy.throttle_next(3);
        }
        cluster
            .kubectl(&format!("scale deploy/{name} --replicas={}", 1 + round % 4))
            .await;
    }
}

/// Checks that the API server answered 410 to watches of these kinds.
fn its_history_was_gone<const N: usize>(fault_proxy: &FaultProxy, plurals: [&str; N]) {
    let gone = fault_proxy.expired_watches();
    for plural in plurals {
        let part = format!("/{plural}?");
        assert!(
            gone.iter().any(|request| request.contains(&part)),
            "{plural}: {gone:?}"
        );
    }
}

fn watches(fault_proxy: &FaultProxy, plural: &str) -> usize {
    let requests = fault_proxy.requests();
    let requests = requests
        .iter()
        .filter(|request| request.contains(&format!("/{plural}?")));
    requests
        .filter(|request| request.contains("watch=true"))
        .count()
}

#[tokio::test]
async fn watches_that_break_in_the_middle_of_an_event_or_are_refused_lose_no_change() {
    let cluster = Cluster::start().await;
    let fault_proxy = cluster.fault_proxy().await;
    let client = client_of(fault_proxy.kubeconfig()).await;
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        cluster.apply(deployment(name, version, 1)).await;
    }
    fault_proxy.throttle_next(5);
    let mut source = Source::start(&client, Options::default()).await;
    assert_eq!(fault_proxy.throttles_remaining(), 0);
    let both = ["deployments", "tokenbucketpolicies"];
    let first = both.map(|plural| watches(&fault_proxy, plural));
    churn(&cluster, &fault_proxy, 12).await;
    let weight = |expected: &'static str| {
        move |c: &headgate_model::Carrier| {
            c.labels
                .get("canary-weight")
                .is_some_and(|weight| weight == expected)
                && ready(c) == c.desired as usize
                && c.pods.len() == ready(c)
        }
    };
    source.carrier("deployment/v1", weight("10")).await;
    source.carrier("deployment/v2", weight("11")).await;
    source.buckets("v1", 11).await;
    source.buckets("v2", 12).await;
    for (plural, first) in both.into_iter().zip(first) {
        let now = watches(&fault_proxy, plural);
        assert!(now >= first + 3, "{plural}: {:?}", fault_proxy.requests());
    }
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn without_streamed_lists_pages_are_read_also_during_changes() {
    let cluster = Cluster::with(KubeOptions {
        api_args: vec![
            "--feature-gates=WatchList=false".into(),
            "--watch-cache=false".into(),
        ],
        ..KubeOptions::default()
    })
    .await;
    let fault_proxy = cluster.fault_proxy().await;
    let client = client_of(fault_proxy.kubeconfig()).await;
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        cluster.apply(deployment(name, version, 1)).await;
    }
    let mut source = Source::start(&client, Options::default()).await;
    let lists = |plural: &str| {
        let requests = fault_proxy.requests();
        let requests = requests
            .iter()
            .filter(|request| request.contains(&format!("/{plural}?")));
        requests
            .filter(|request| request.contains("limit=500"))
            .count()
    };
    let both = ["deployments", "tokenbucketpolicies"];
    let first = both.map(lists);
    assert!(
        first.iter().all(|count| *count > 0),
        "{:?}",
        fault_proxy.requests()
    );
    for round in 0..4 {
        churn(&cluster, &fault_proxy, 3).await;
        // Without a watch cache a compaction makes every version too old, so the source lists again.
        fault_proxy.throttle_next(1_000_000);
        fault_proxy.break_watches();
        cluster.apply(policy("v1", 4 + round)).await;
        cluster
            .kubectl(&format!(
                "annotate deploy/v1 headgate.dev/model-names=round-{round} --overwrite"
            ))
            .await;
        cluster.kube.compact().await.unwrap();
        fault_proxy.throttle_next(0);
    }
    source
        .carrier("deployment/v1", |c| {
            c.annotations
                .get("headgate.dev/model-names")
                .is_some_and(|n| n == "round-3")
        })
        .await;
    source.buckets("v1", 7).await;
    // Watches that end while a busy API server refuses new ones have a version that is gone.
    fault_proxy.throttle_next(1_000_000);
    tokio::time::sleep(ENDED).await;
    cluster.apply(policy("v1", 8)).await;
    cluster
        .kubectl("label deploy/v1 canary-weight=77 --overwrite")
        .await;
    cluster.kube.compact().await.unwrap();
    fault_proxy.throttle_next(0);
    source
        .carrier("deployment/v1", |c| c.labels["canary-weight"] == "77")
        .await;
    source.buckets("v1", 8).await;
    for (plural, first) in both.into_iter().zip(first) {
        assert!(
            lists(plural) > first,
            "{plural}: {:?}",
            fault_proxy.requests()
        );
    }
    its_history_was_gone(&fault_proxy, both);
    cluster.wait_until_equal_to_a_new_source(&source).await;
}

#[tokio::test]
async fn nothing_is_published_before_every_kind_is_listed() {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 30)).await;
    cluster.apply(policy("fair", 1)).await;
    cluster.rollout("v1").await;
    cluster.kube.kill_api().unwrap();
    let watches = Watches::start(&cluster.client().await, Options::default());
    let early = tokio::time::timeout(Duration::from_secs(1), watches.observed()).await;
    assert!(early.is_err(), "{:?}", watches.state());
    assert!(!watches.state().synced());
    assert!(watches.state().lost().is_some());
    cluster.kube.start_api().await.unwrap();
    let source = Source::of(watches).await;
    let first = source.now();
    assert_eq!(first.generation, 1);
    assert_eq!(ready(&first.objects.carriers[&key("deployment/v1")]), 30);
    assert_eq!(first.objects.policies.len(), 1);
}
