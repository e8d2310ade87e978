//! A version's life as `kubectl` tells it: held, weighted, promoted, gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_testkit::share::per_version;
use headgate_testkit::xds_client::{Taker, type_url};
use headgate_tests_cluster::sessions::{Sessions, told};
use headgate_tests_cluster::world::{SOON, World, WorldOptions};

const MODEL: &str = "llama";
/// As the world is told (`--linger`).
const LINGER: Duration = Duration::from_secs(5);
const GONE: &str = "model/default/llama/one";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_is_held_until_it_is_promoted_and_the_old_one_goes_without_a_failed_request()
{
    let world = World::start(WorldOptions::default()).await.unwrap();
    world
        .roll_out(&deployment(MODEL, "v1", "one", 2))
        .await
        .unwrap();
    world.serving(MODEL, "one", 2).await.unwrap();
    let sessions = Sessions {
        model: MODEL.into(),
        count: 300,
    };
    let load = sessions.load(&world.edges);
    // Objects tell their age in whole seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Applied beside one that serves, remembered or not: by pin only, and status names the command.
    world
        .roll_out(&deployment(MODEL, "v2", "two", 2))
        .await
        .unwrap();
    world.serving(MODEL, "two", 2).await.unwrap();
    let status = world.acked(MODEL, "two", 0.0).await.unwrap();
    let held: Vec<_> = status.problems_of("VersionHeld").collect();
    assert_eq!(held.len(), 1, "{:?}", status.problems);
    assert!(held[0].message.contains("kubectl label"), "{held:?}");
    let pass = sessions.pass(&load, 1).await.unwrap();
    assert_eq!(per_version(&pass).into_keys().collect::<Vec<_>>(), ["one"]);
    let pinned = OpenAiRequest::chat(MODEL).header("x-model-version", "two");
    let client = HttpClient::new();
    let reply = client.send(pinned.to(world.edges[0].url())).await.unwrap();
    assert_eq!(
        (reply.status, reply.header("x-model-version")),
        (200, Some("two"))
    );

    world
        .run("label deploy/v2 canary-weight=100")
        .await
        .unwrap();
    let status = world.acked(MODEL, "two", 100.0).await.unwrap();
    assert_eq!(status.problems_of("VersionHeld").count(), 0);
    let pass = sessions.pass(&load, 1).await.unwrap();
    assert_eq!(per_version(&pass).into_keys().collect::<Vec<_>>(), ["two"]);

    // The old one goes, and the promotion's label with it: the only version takes everything.
    world.run("delete deploy/v1").await.unwrap();
    world
        .until_pods("v1", "no server of v1", |pods| pods.is_empty())
        .await
        .unwrap();
    world.run("label deploy/v2 canary-weight-").await.unwrap();
    world.acked(MODEL, "two", 100.0).await.unwrap();
    sessions.pass(&load, 1).await.unwrap();
    eventually(
        SOON,
        "the old version's cluster to go",
        async || match world.edges[0].hosts(GONE).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    let report = load.stop().await;
    assert!(report.other_than(&[200]).is_empty(), "{}", told(&report));
}

/// Whether a proxy has the cluster of the version that is gone.
fn has_cluster(proxy: &Taker) -> bool {
    let taken = proxy.taken();
    taken
        .get(type_url::CLUSTER)
        .is_some_and(|all| all.contains_key(GONE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gone_versions_cluster_stays_until_routes_and_filters_without_it_are_acked_and_lingers() {
    let options = WorldOptions {
        edges: Vec::new(),
        ..WorldOptions::default()
    };
    let world = World::start(options).await.unwrap();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        world
            .roll_out(&deployment(MODEL, name, version, 1))
            .await
            .unwrap();
    }
    // One that takes everything at once, two that take their time over routes or filters.
    let [prompt, routes, filters] =
        ["prompt", "routes", "filters"].map(|id| Taker::connect(id, world.plane.xds()).unwrap());
    let all = [&prompt, &routes, &filters];
    let there = |status: &headgate_testkit::stage::Status| {
        status.proxies.len() == 3 && status.proxies.iter().all(|p| p.settled)
    };
    world
        .plane
        .until(SOON, "three proxies", there)
        .await
        .unwrap();
    assert!(all.iter().all(|proxy| has_cluster(proxy)));
    routes.hold(type_url::ROUTES);
    filters.hold(type_url::EXTENSION);

    world.run("delete deploy/v1").await.unwrap();
    for slow in [&routes, &filters] {
        eventually(SOON, "what is left unanswered", async || {
            if slow.held().is_empty() {
                Err("nothing")
            } else {
                Ok(())
            }
        })
        .await
        .unwrap();
    }
    eventually(SOON, "the cluster to go where all was acked", async || {
        if has_cluster(&prompt) {
            Err("it is there")
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    // It went there a linger ago; here nothing was acked that is without it.
    assert!(has_cluster(&routes) && has_cluster(&filters));

    for slow in [&routes, &filters] {
        slow.release();
    }
    let acked = Instant::now();
    for slow in [&routes, &filters] {
        eventually(SOON, "the cluster to go", async || {
            if has_cluster(slow) {
                Err("it is there")
            } else {
                Ok(())
            }
        })
        .await
        .unwrap();
    }
    let lingered = acked.elapsed();
    measured!("a cluster went {lingered:?} after routes and filters without it were acked");
    assert!(
        lingered >= LINGER - Duration::from_millis(100),
        "{lingered:?}"
    );
}

/// Loopback, where nothing listens.
const CLOSED: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 15, 255, 254));

/// Of these sessions of model `m`, those that failed; all others are answered by `v1`.
async fn failed(world: &World, sessions: std::ops::Range<u32>) -> usize {
    let mut failed = 0;
    for session in sessions {
        let chat = OpenAiRequest::chat("m")
            .max_tokens(1)
            .header("x-conversation-id", session.to_string());
        // A connection of its own, so that both workers see failures.
        let client = HttpClient::new();
        let reply = client.send(chat.to(world.edges[0].url())).await.unwrap();
        match reply.status {
            200 => assert_eq!(reply.header("x-model-version"), Some("v1")),
            503 => failed += 1,
            other => panic!("{other}: {}", reply.text()),
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_whose_ready_pod_refuses_connections_fails_its_first_requests_and_no_more() {
    let mut options = WorldOptions::default();
    let often = ["--load-report-interval", "2"].map(str::to_owned);
    options.serve.extend(often);
    let world = World::start(options).await.unwrap();
    world
        .roll_out(&deployment("m", "m-v1", "v1", 1))
        .await
        .unwrap();
    world.serving("m", "v1", 1).await.unwrap();
    world.servers.hold("m-v2");
    let canary = include_str!("inputs/ready-but-closed.yaml");
    world.kubectl().apply(canary).await.unwrap();
    eventually(SOON, "a bound pod of the canary", async || {
        let pods = world.node().pods_in(Some("default")).await;
        let pods = pods.map_err(|error| error.to_string())?;
        let name = |pod: &str| pod.starts_with("m-v2-");
        let pod = pods.iter().find(|pod| {
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            pod.metadata.name.as_deref().is_some_and(name) && bound.is_some()
        });
        let pod = pod.ok_or("none")?;
        let told = world.node().report(pod, CLOSED, true).await;
        told.map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    world.acked("m", "v2", 50.0).await.unwrap();

    // Each of the two workers passes it over after five failures in a row.
    let first = failed(&world, 0..80).await;
    measured!("{first} of 80 sessions failed before a closed canary was passed over");
    assert!((5..=10).contains(&first), "{first}");
    assert_eq!(failed(&world, 80..160).await, 0);

    // Each trial is reported, so operators see it where they look: in the status, and on the canary.
    let mut session = 160;
    let canary = "get events --field-selector reason=Unreachable -o jsonpath={.items[*].involvedObject.name}";
    eventually(SOON * 2, "an Event on the canary", async || {
        let tried = failed(&world, session..session + 10).await;
        session += 10;
        let told = world.run(canary).await.map_err(|error| error.to_string())?;
        if told.contains("m-v2") {
            Ok(())
        } else {
            Err(format!("{told}; {tried} failed"))
        }
    })
    .await
    .unwrap();
    let status = world.plane.status_of("m").await.unwrap();
    let versions = &status.models[0].versions;
    let unreachable: Vec<bool> = versions.iter().map(|v| v.unreachable.is_some()).collect();
    assert_eq!(unreachable, [false, true], "{versions:?}");
}
