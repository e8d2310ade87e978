//! An API server that is restored from a backup, at an older version than the source has.

use std::time::{Duration, Instant};

use headgate_model::Carrier;

use super::cluster::*;

/// The longest time from an API server that answers until everything is read again.
const NOTICED: Duration = Duration::from_secs(30);
/// Longer than the duration of a watch, so that each idle watch has ended.
const IDLE: Duration = Duration::from_secs(25);
/// Calls of [`pass`] after the backup and, a greater number, after the restore.
const BEHIND: u32 = 4;
const AHEAD: u32 = 6;

fn weight(expected: &str) -> impl Fn(&Carrier) -> bool {
    move |c| c.labels.get("canary-weight").is_some_and(|w| w == expected)
}

/// Makes a hundred writes to an unwatched kind, so that only the version advances.
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
async fn an_api_server_restored_from_a_backup_is_listed_again_and_watched() {
    let mut cluster = Cluster::start().await;
    cluster.apply(deployment("v1", "one", 1)).await;
    cluster.apply(deployment("v2", "two", 1)).await;
    cluster.kubectl("label deploy/v2 canary-weight=10").await;
    cluster.rollout("v1").await;
    cluster.rollout("v2").await;
    cluster.apply(policy("fair", 1)).await;
    cluster.kube.backup().await.unwrap();

    let fault_proxy = cluster.fault_proxy().await;
    let mut source = Source::behind(&fault_proxy).await;
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
        .until("v1 to be gone", |observed| {
            (!observed
                .objects
                .carriers
                .contains_key(&key("deployment/v1")))
            .then_some(())
        })
        .await;

    // The source connects only once the restored server is ahead of the old version, so that versions do not reveal the restore.
    let observed = version(&cluster).await;
    fault_proxy.disconnect(true);
    cluster.kube.restore().await.unwrap();
    assert!(version(&cluster).await + 200 < observed, "it goes back");
    pass(&cluster, AHEAD).await;
    assert!(version(&cluster).await > observed, "it overtakes");
    let before = fault_proxy.requests().len();
    fault_proxy.disconnect(false);
    let back = Instant::now();
    source.carrier("deployment/v2", weight("10")).await;
    source.carrier("deployment/v1", |c| ready(c) == 1).await;
    source.buckets("fair", 1).await;
    println!(
        "read again {:?} after the API server answered",
        back.elapsed()
    );
    assert!(back.elapsed() < NOTICED, "{:?}", back.elapsed());
    // Each kind is listed once, as a stream: an outage costs the API server one list of each kind.
    let requests = fault_proxy.requests().split_off(before);
    let lists = requests
        .iter()
        .filter(|request| request.contains("/api/v1/pods?"))
        .filter(|request| request.contains("sendInitialEvents") || request.contains("limit="));
    assert_eq!(lists.count(), 1, "{requests:#?}");
    cluster
        .kubectl("label deploy/v2 canary-weight=20 --overwrite")
        .await;
    source.carrier("deployment/v2", weight("20")).await;
    cluster.apply(policy("fair", 3)).await;
    source.buckets("fair", 3).await;
    cluster.wait_until_equal_to_a_new_source(&source).await;

    // Idle watches do not list again; a watch without a bookmark requests one object.
    let calm = fault_proxy.requests().len();
    tokio::time::sleep(IDLE).await;
    let requests = fault_proxy.requests().split_off(calm);
    let count = |part: &str| {
        let ours = requests
            .iter()
            .filter(|request| request.contains("/tokenbucketpolicies?"));
        ours.filter(|request| request.contains(part)).count()
    };
    assert!((1..4).contains(&count("watch=true")), "{requests:?}");
    assert!(count("limit=1") <= count("watch=true"), "{requests:?}");
    let full =
        |request: &&String| request.contains("sendInitialEvents") || request.contains("limit=500");
    assert_eq!(requests.iter().find(full), None);
}
