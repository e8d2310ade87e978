//! Capacity follows the pods: what is ready of what is wanted scales the buckets of the filters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_tests_cluster::world::{SOON, World, WorldOptions};

const MODEL: &str = "llama";
const CAPACITY: u64 = 1000;
/// What a changed reading is held back.
const HELD: Duration = Duration::from_secs(10);
/// What is left for kubectl, the controllers and the push, on a machine that does other things.
const SECONDS: Duration = Duration::from_secs(15);

const POLICY: &str = "{apiVersion: headgate.dev/v1alpha1, kind: TokenBucketPolicy, metadata: {name: budget}, \
    spec: {models: [llama], buckets: [{name: tenants, key: [tenant], profile: tokens, \
    tokens: {capacity: 1000, refillPerSecond: 1}}]}}";

/// The limit that a client is told, in both of its forms.
async fn limit(world: &World) -> Result<u64, String> {
    let request = OpenAiRequest::chat(MODEL)
        .max_tokens(1)
        .header("x-tenant-id", "acme");
    let reply = HttpClient::new()
        .send(request.to(world.edges[0].url()))
        .await;
    let reply = reply.map_err(|error| error.to_string())?;
    let header = |name: &str| reply.header(name).unwrap_or_default().to_owned();
    let (limit, policy) = (
        header("x-ratelimit-limit-tokens"),
        header("ratelimit-policy"),
    );
    let told = format!("{} {limit:?} {policy:?}", reply.status);
    let limit = limit.parse().map_err(|_| told.clone())?;
    if policy.contains(&format!(";q={limit};")) {
        Ok(limit)
    } else {
        Err(told)
    }
}

/// Waits for a limit; how long it took.
async fn becomes(world: &World, wanted: u64) -> Duration {
    let began = Instant::now();
    eventually(
        SOON,
        &format!("a limit of {wanted}"),
        async || match limit(world).await {
            Ok(limit) if limit == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_follows_ready_by_desired_replicas_within_seconds_of_kubectl_scale() {
    let world = World::start(WorldOptions::default()).await.unwrap();
    world.kubectl().apply(POLICY).await.unwrap();
    world
        .roll_out(&deployment(MODEL, "v1", "one", 3))
        .await
        .unwrap();
    world.serving(MODEL, "one", 3).await.unwrap();
    becomes(&world, CAPACITY).await;

    // Twice as many are wanted, and the cluster is full: half of what is wanted is there.
    world.servers.hold("v1");
    world.run("scale deploy/v1 --replicas=6").await.unwrap();
    let fell = becomes(&world, CAPACITY / 2).await;
    let dump = world.plane.dump().await.unwrap();
    let scale = &dump["filterConfig"]["namespaces"]["default"]["models"][MODEL]["scale"];
    assert_eq!(scale["percent"], 50, "{dump}");

    // They come after all.
    world.servers.release("v1");
    world.serving(MODEL, "one", 6).await.unwrap();
    let rose = becomes(&world, CAPACITY).await;
    measured!(
        "the limit halved {fell:?} after kubectl scale, and was whole {rose:?} after the pods were"
    );
    for took in [fell, rose] {
        assert!(took < HELD + SECONDS, "{took:?}");
    }
    assert!(
        fell > HELD - Duration::from_secs(2),
        "{fell:?}: it is held back"
    );
}
