//! An API server that is restored from a backup, at an older version than the one that was seen.

use std::time::{Duration, Instant};

use headgate_model::Carrier;
use headgate_source::cluster::Options;

use super::cluster::*;

/// From when the API server can be asked until all is read anew.
const NOTICED: Duration = Duration::from_secs(30);
/// Longer than a watch runs, so that each idle one has ended.
const IDLE: Duration = Duration::from_secs(25);
/// Writes of [`pass`] that the backup is behind, and, more, that come after it before anybody looks.
const BEHIND: u32 = 4;
const AHEAD: u32 = 6;

fn weight(wanted: &str) -> impl Fn(&Carrier) -> bool {
    move |c| c.labels.get("canary-weight").is_some_and(|w| w == wanted)
}

/// Writes that nobody watches, so that only versions pass: a hundred each time.
async fn pass(cluster: &Cluster, times: u32) {
    for _ in 0..times {
        let many: Vec<serde_json::Value> = (0..50)
            .map(|n| {
                let name = format!("serviceaccount-{n}");
                serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
            })
            .collect();
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": many});
        cluster.apply(list.clone()).await;
        let kubectl = cluster.kube.kubectl();
        let words = ["delete", "--wait=false", "-f", "-"];
        kubectl
            .run_with_input(words, &list.to_string())
            .await
            .unwrap();
    }
}

/// The newest version of the API server.
async fn version(cluster: &Cluster) -> u64 {
    let list = cluster
        .kubectl("get --raw /api/v1/namespaces?limit=1")
        .await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    version.parse().unwrap()
}

#[tokio::test]
async fn an_api_server_restored_from_a_backup_is_read_anew_and_followed() {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.apply(deployment("v2", "two", 1)).await;
    cluster.kubectl("label deploy/v2 canary-weight=10").await;
    cluster.rollout("v1").await;
    cluster.rollout("v2").await;
    cluster.apply(policy("fair", 1)).await;
    cluster.kube.backup().await.unwrap();

    let relay = cluster
        .kube
        .fault_proxy(cluster.kube.kubeconfig())
        .await
        .unwrap();
    let client = client_of(relay.kubeconfig()).await;
    let mut source = Source::start(&client, Options::default()).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    source.buckets("fair", 1).await;
    pass(&cluster, BEHIND).await;
    cluster
        .kubectl("label deploy/v2 canary-weight=30 --overwrite")
        .await;
    cluster.kubectl("delete deploy/v1 --wait=false").await;
    cluster.apply(policy("fair", 2)).await;
    source.carrier("deployment/v2", weight("30")).await;
    source.buckets("fair", 2).await;
    source
        .until("v1 to be gone", |seen| {
            (!seen.objects.carriers.contains_key(&key("deployment/v1"))).then_some(())
        })
        .await;

    // Nobody may look before the restored one has written more than the backup was behind: its versions do not give it away.
    let seen = version(&cluster).await;
    relay.disconnect(true);
    cluster.kube.restore().await.unwrap();
    assert!(version(&cluster).await + 200 < seen, "it goes back");
    pass(&cluster, AHEAD).await;
    assert!(version(&cluster).await > seen, "it overtakes");
    let before = relay.requests().len();
    relay.disconnect(false);
    let back = Instant::now();
    source.carrier("deployment/v2", weight("10")).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    source.buckets("fair", 1).await;
    println!(
        "read anew {:?} after the API server could be asked",
        back.elapsed()
    );
    assert!(back.elapsed() < NOTICED, "{:?}", back.elapsed());
    // Once each, and streamed: an absence costs the API server one list of a kind.
    let asked = relay.requests().split_off(before);
    let lists = asked
        .iter()
        .filter(|asked| asked.contains("/api/v1/pods?"))
        .filter(|asked| asked.contains("sendInitialEvents") || asked.contains("limit="));
    assert_eq!(lists.count(), 1, "{asked:#?}");
    cluster
        .kubectl("label deploy/v2 canary-weight=20 --overwrite")
        .await;
    source.carrier("deployment/v2", weight("20")).await;
    cluster.apply(policy("fair", 3)).await;
    source.buckets("fair", 3).await;
    cluster.equals_a_fresh_one(&source).await;

    // Idle watches list nothing anew; one that hears no bookmark either asks for one object.
    let calm = relay.requests().len();
    tokio::time::sleep(IDLE).await;
    let asked = relay.requests().split_off(calm);
    let count = |part: &str| {
        let ours = asked
            .iter()
            .filter(|asked| asked.contains("/tokenbucketpolicies?"));
        ours.filter(|asked| asked.contains(part)).count()
    };
    assert!((1..4).contains(&count("watch=true")), "{asked:?}");
    assert!(count("limit=1") <= count("watch=true"), "{asked:?}");
    let full = |asked: &&String| asked.contains("sendInitialEvents") || asked.contains("limit=500");
    assert_eq!(asked.iter().find(full), None);
}
