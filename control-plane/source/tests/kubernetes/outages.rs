//! Outages: a bad network, a busy API server, a killed one, a lost history. Afterwards the observation equals that of a fresh source.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headgate_source::cluster::Options;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{FaultProxy, KubeOptions};

use super::cluster::*;

/// Longer than a watch runs.
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
async fn an_api_server_that_is_killed_takes_nothing_away_and_its_lost_history_is_read_anew() {
    let mut cluster = Cluster::start().await;
    let relay = cluster
        .kube
        .fault_proxy(cluster.kube.kubeconfig())
        .await
        .unwrap();
    let client = client_of(relay.kubeconfig()).await;
    let mut source = Source::start(&client, Options::default()).await;
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
    // Its history was compacted, and nobody asks for it after an absence: all is listed.
    assert_eq!(relay.expired_watches(), Vec::<String>::new());
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
        .until("one gone", |seen| {
            (!seen.objects.carriers.contains_key(&key("deployment/v1"))).then_some(())
        })
        .await;
    cluster.equals_a_fresh_one(&source).await;
}

#[tokio::test]
async fn what_changes_while_the_api_is_out_of_reach_is_seen_afterwards() {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("goes", "one", 1)).await;
    cluster.apply(deployment("stays", "two", 1)).await;
    cluster.rollout("goes").await;
    cluster.rollout("stays").await;
    let relay = cluster
        .kube
        .fault_proxy(cluster.kube.kubeconfig())
        .await
        .unwrap();
    let client = client_of(relay.kubeconfig()).await;
    let mut source = Source::start(&client, Options::default()).await;
    source.carrier("deployment/goes", |c| ready(c) == 1).await;

    cluster.kube.kill_api().unwrap();
    eventually(SOON, "the loss", async || {
        source.state().lost().map(|_| ()).ok_or("not lost")
    })
    .await
    .unwrap();
    relay.throttle_next(1_000_000);
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
    eventually(SOON, "the refusal to be known", async || {
        let state = source.state();
        let said = state
            .lost()
            .is_some_and(|(_, lost)| lost.message.contains("429"));
        said.then_some(()).ok_or(format!("{state:?}"))
    })
    .await
    .unwrap();
    relay.throttle_next(0);
    source
        .until("one gone", |seen| {
            (!seen.objects.carriers.contains_key(&key("deployment/goes"))).then_some(())
        })
        .await;
    source.policy("comes", |_| true).await;
    source
        .carrier("deployment/stays", |c| {
            c.labels.get("canary-weight").is_some_and(|w| w == "7")
        })
        .await;
    cluster.equals_a_fresh_one(&source).await;
    eventually(SOON, "all to be well", async || {
        source.state().lost().is_none().then_some(()).ok_or("lost")
    })
    .await
    .unwrap();
}

/// Labels, replicas and policies change all the time, and watches break in the middle of an event.
async fn churn(cluster: &Cluster, relay: &FaultProxy, rounds: u32) {
    for round in 0..rounds {
        relay.break_watches();
        let name = ["v1", "v2"][round as usize % 2];
        cluster
            .kubectl(&format!(
                "label deploy/{name} canary-weight={round} --overwrite"
            ))
            .await;
        cluster.apply(policy(name, 1 + round)).await;
        if round % 3 == 0 {
            relay.throttle_next(3);
        }
        cluster
            .kubectl(&format!("scale deploy/{name} --replicas={}", 1 + round % 4))
            .await;
    }
}

/// The API server said 410 to watches of these kinds.
fn its_history_was_gone<const N: usize>(relay: &FaultProxy, plurals: [&str; N]) {
    let gone = relay.expired_watches();
    for plural in plurals {
        let part = format!("/{plural}?");
        assert!(
            gone.iter().any(|asked| asked.contains(&part)),
            "{plural}: {gone:?}"
        );
    }
}

fn watches(relay: &FaultProxy, plural: &str) -> usize {
    let asked = relay.requests();
    let asked = asked
        .iter()
        .filter(|asked| asked.contains(&format!("/{plural}?")));
    asked.filter(|asked| asked.contains("watch=true")).count()
}

#[tokio::test]
async fn watches_that_are_cut_in_the_middle_of_an_event_and_refused_lose_nothing() {
    let cluster = Cluster::start().await;
    let relay = cluster
        .kube
        .fault_proxy(cluster.kube.kubeconfig())
        .await
        .unwrap();
    let client = client_of(relay.kubeconfig()).await;
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        cluster.apply(deployment(name, version, 1)).await;
    }
    relay.throttle_next(5);
    let mut source = Source::start(&client, Options::default()).await;
    assert_eq!(relay.throttles_remaining(), 0);
    let both = ["deployments", "tokenbucketpolicies"];
    let first = both.map(|plural| watches(&relay, plural));
    churn(&cluster, &relay, 12).await;
    let weight = |wanted: &'static str| {
        move |c: &headgate_model::Carrier| {
            c.labels
                .get("canary-weight")
                .is_some_and(|weight| weight == wanted)
                && ready(c) == c.desired as usize
                && c.pods.len() == ready(c)
        }
    };
    source.carrier("deployment/v1", weight("10")).await;
    source.carrier("deployment/v2", weight("11")).await;
    source.buckets("v1", 11).await;
    source.buckets("v2", 12).await;
    for (plural, first) in both.into_iter().zip(first) {
        let now = watches(&relay, plural);
        assert!(now >= first + 3, "{plural}: {:?}", relay.requests());
    }
    cluster.equals_a_fresh_one(&source).await;
}

#[tokio::test]
async fn lists_page_by_page_are_read_where_streamed_lists_are_refused_also_under_churn() {
    let cluster = Cluster::with(KubeOptions {
        api_args: vec![
            "--feature-gates=WatchList=false".into(),
            "--watch-cache=false".into(),
        ],
        ..KubeOptions::default()
    })
    .await;
    let relay = cluster
        .kube
        .fault_proxy(cluster.kube.kubeconfig())
        .await
        .unwrap();
    let client = client_of(relay.kubeconfig()).await;
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        cluster.apply(deployment(name, version, 1)).await;
    }
    let mut source = Source::start(&client, Options::default()).await;
    let lists = |plural: &str| {
        let asked = relay.requests();
        let asked = asked
            .iter()
            .filter(|asked| asked.contains(&format!("/{plural}?")));
        asked.filter(|asked| asked.contains("limit=500")).count()
    };
    let both = ["deployments", "tokenbucketpolicies"];
    let first = both.map(lists);
    assert!(
        first.iter().all(|count| *count > 0),
        "{:?}",
        relay.requests()
    );
    for round in 0..4 {
        churn(&cluster, &relay, 3).await;
        // Without a watch cache a compaction makes every version too old: who is kept out until then lists anew.
        relay.throttle_next(1_000_000);
        relay.break_watches();
        cluster.apply(policy("v1", 4 + round)).await;
        cluster
            .kubectl(&format!(
                "annotate deploy/v1 headgate.dev/model-names=round-{round} --overwrite"
            ))
            .await;
        cluster.kube.compact().await.unwrap();
        relay.throttle_next(0);
    }
    source
        .carrier("deployment/v1", |c| {
            c.annotations
                .get("headgate.dev/model-names")
                .is_some_and(|n| n == "round-3")
        })
        .await;
    source.buckets("v1", 7).await;
    // Watches that end in their time, and are kept out by an API server that is busy, know a version that is gone.
    relay.throttle_next(1_000_000);
    tokio::time::sleep(ENDED).await;
    cluster.apply(policy("v1", 8)).await;
    cluster
        .kubectl("label deploy/v1 canary-weight=77 --overwrite")
        .await;
    cluster.kube.compact().await.unwrap();
    relay.throttle_next(0);
    source
        .carrier("deployment/v1", |c| c.labels["canary-weight"] == "77")
        .await;
    source.buckets("v1", 8).await;
    for (plural, first) in both.into_iter().zip(first) {
        assert!(lists(plural) > first, "{plural}: {:?}", relay.requests());
    }
    its_history_was_gone(&relay, both);
    cluster.equals_a_fresh_one(&source).await;
}

#[tokio::test]
async fn nothing_is_published_before_the_whole_world_is_known() {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 30)).await;
    cluster.apply(policy("fair", 1)).await;
    cluster.rollout("v1").await;
    cluster.kube.kill_api().unwrap();
    let watches = Watches::start(&cluster.client().await, Options::default());
    let early = tokio::time::timeout(Duration::from_secs(1), watches.world()).await;
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
