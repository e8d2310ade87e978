//! Capacity follows the pods: ready replicas per desired replicas scale the buckets of the filters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::measured;
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};

const MODEL: &str = "llama";
const CAPACITY: u64 = 1000;
/// Delay before a changed capacity applies.
const HELD: Duration = Duration::from_secs(10);
/// Time for kubectl, the controllers and the push, on a busy machine.
const SECONDS: Duration = Duration::from_secs(15);

const POLICY: &str = "{apiVersion: headgate.dev/v1alpha1, kind: TokenBucketPolicy, metadata: {name: budget}, \
    spec: {models: [llama], buckets: [{name: tenants, key: [tenant], profile: tokens, \
    tokens: {capacity: 1000, refillPerSecond: 1}}]}}";

/// The limit in a response, read from both of its headers.
async fn limit(cluster: &TestCluster) -> Result<u64, String> {
    let request = OpenAiRequest::chat(MODEL)
        .max_tokens(1)
        .header("x-tenant-id", "acme");
    let reply = HttpClient::new()
        .send(request.to(cluster.envoys[0].url()))
        .await;
    let reply = reply.map_err(|error| error.to_string())?;
    let header = |name: &str| reply.header(name).unwrap_or_default().to_owned();
    let (limit, policy) = (
        header("x-ratelimit-limit-tokens"),
        header("ratelimit-policy"),
    );
    let headers = format!("{} {limit:?} {policy:?}", reply.status);
    let limit = limit.parse().map_err(|_| headers.clone())?;
    if policy.contains(&format!(";q={limit};")) {
        Ok(limit)
    } else {
        Err(headers)
    }
}

/// Waits for a limit. Returns the time it took.
async fn becomes(cluster: &TestCluster, wanted: u64) -> Duration {
    let began = Instant::now();
    eventually(
        SOON,
        &format!("a limit of {wanted}"),
        async || match limit(cluster).await {
            Ok(limit) if limit == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_follows_ready_per_desired_replicas_within_seconds_of_kubectl_scale() {
    let cluster = TestCluster::start(TestClusterOptions::default())
        .await
        .unwrap();
    cluster.kubectl().apply(POLICY).await.unwrap();
    cluster.serve(MODEL, "v1", "one", 3).await.unwrap();
    becomes(&cluster, CAPACITY).await;

    // Twice as many replicas are desired and the cluster is full: half of the desired replicas are ready.
    cluster.servers.hold("v1");
    cluster.run("scale deploy/v1 --replicas=6").await.unwrap();
    let fell = becomes(&cluster, CAPACITY / 2).await;
    let dump = cluster.control_plane.dump().await.unwrap();
    let scale = &dump["filterConfig"]["namespaces"]["default"]["models"][MODEL]["scale"];
    assert_eq!(scale["percent"], 50, "{dump}");

    // The other replicas start.
    cluster.servers.release("v1");
    cluster.wait_until_served(MODEL, "one", 6).await.unwrap();
    let rose = becomes(&cluster, CAPACITY).await;
    measured!(
        "the limit halved {fell:?} after kubectl scale, and was full again {rose:?} after the pods were ready"
    );
    for took in [fell, rose] {
        assert!(took < HELD + SECONDS, "{took:?}");
    }
    assert!(
        fell > HELD - Duration::from_secs(2),
        "{fell:?}: a smaller capacity must be delayed"
    );
}
