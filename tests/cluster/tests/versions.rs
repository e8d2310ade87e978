//! The life of a version with `kubectl`: held, weighted, promoted, removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::deployment;
use headgate_testkit::measured;
use headgate_testkit::share::sessions_per_version;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use headgate_tests_cluster::sessions::{Sessions, summary};
use headgate_tests_cluster::test_cluster::{SOON, TestCluster, TestClusterOptions};

const MODEL: &str = "llama";
/// The value of `--linger`.
const LINGER: Duration = Duration::from_secs(5);
const GONE: &str = "model/default/llama/one";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_is_held_until_its_promotion_and_the_old_one_is_removed_without_a_failed_request()
 {
    let cluster = TestCluster::start(TestClusterOptions::default())
        .await
        .unwrap();
    cluster.serve(MODEL, "v1", "one", 2).await.unwrap();
    let sessions = Sessions {
        model: MODEL.into(),
        count: 300,
    };
    let load = sessions.load(&cluster.envoys);
    // Objects have their age in whole seconds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Applied while another version serves: reachable only by a pin, and status names the command.
    cluster.serve(MODEL, "v2", "two", 2).await.unwrap();
    let status = cluster.wait_until_acked(MODEL, "two", 0.0).await.unwrap();
    let held: Vec<_> = status.problems_of("VersionHeld").collect();
    assert_eq!(held.len(), 1, "{:?}", status.problems);
    assert!(held[0].message.contains("kubectl label"), "{held:?}");
    let pass = sessions.pass(&load, 1).await.unwrap();
    assert_eq!(
        sessions_per_version(&pass).into_keys().collect::<Vec<_>>(),
        ["one"]
    );
    let pinned = OpenAiRequest::chat(MODEL).header("x-model-version", "two");
    let client = HttpClient::new();
    let reply = client
        .send(pinned.to(cluster.envoys[0].url()))
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.header("x-model-version")),
        (200, Some("two"))
    );

    cluster
        .run("label deploy/v2 canary-weight=100")
        .await
        .unwrap();
    let status = cluster.wait_until_acked(MODEL, "two", 100.0).await.unwrap();
    assert_eq!(status.problems_of("VersionHeld").count(), 0);
    let pass = sessions.pass(&load, 1).await.unwrap();
    assert_eq!(
        sessions_per_version(&pass).into_keys().collect::<Vec<_>>(),
        ["two"]
    );

    // The old version is removed, and the label of the promotion too: the only version gets everything.
    cluster.run("delete deploy/v1").await.unwrap();
    cluster
        .wait_for_pods("v1", "no server of v1", |pods| pods.is_empty())
        .await
        .unwrap();
    cluster.run("label deploy/v2 canary-weight-").await.unwrap();
    cluster.wait_until_acked(MODEL, "two", 100.0).await.unwrap();
    sessions.pass(&load, 1).await.unwrap();
    eventually(
        SOON,
        "the old version's cluster to go",
        async || match cluster.envoys[0].hosts(GONE).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await
    .unwrap();
    let report = load.stop().await;
    assert!(report.other_than(&[200]).is_empty(), "{}", summary(&report));
}

/// Whether a proxy still has the cluster of the removed version.
fn has_cluster(proxy: &AutoAckProxy) -> bool {
    let taken = proxy.accepted();
    taken
        .get(type_url::CLUSTER)
        .is_some_and(|all| all.contains_key(GONE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_of_a_removed_version_lingers_after_the_acks_of_routes_and_filters_without_it()
{
    let options = TestClusterOptions {
        envoys: Vec::new(),
        ..TestClusterOptions::default()
    };
    let cluster = TestCluster::start(options).await.unwrap();
    for (name, version) in [("v1", "one"), ("v2", "two")] {
        cluster
            .roll_out(&deployment(MODEL, name, version, 1))
            .await
            .unwrap();
    }
    // One proxy acknowledges at once; two delay the ACKs of routes or filters.
    let [prompt, routes, filters] = ["prompt", "routes", "filters"]
        .map(|id| AutoAckProxy::connect(id, cluster.control_plane.xds()).unwrap());
    let all = [&prompt, &routes, &filters];
    let settled = |status: &headgate_testkit::testbed::Status| {
        status.proxies.len() == 3 && status.proxies.iter().all(|p| p.current)
    };
    cluster
        .control_plane
        .wait_for_status(SOON, "three proxies", settled)
        .await
        .unwrap();
    assert!(all.iter().all(|proxy| has_cluster(proxy)));
    routes.hold_acks(type_url::ROUTES);
    filters.hold_acks(type_url::EXTENSION);

    cluster.run("delete deploy/v1").await.unwrap();
    for slow in [&routes, &filters] {
        eventually(SOON, "the unanswered responses", async || {
            if slow.unanswered().is_empty() {
                Err("nothing")
            } else {
                Ok(())
            }
        })
        .await
        .unwrap();
    }
    eventually(
        SOON,
        "the cluster to go where everything is acknowledged",
        async || {
            if has_cluster(&prompt) {
                Err("the cluster still exists")
            } else {
                Ok(())
            }
        },
    )
    .await
    .unwrap();
    // That proxy lost it one linger period ago; these have not acknowledged a configuration without it.
    assert!(has_cluster(&routes) && has_cluster(&filters));

    for slow in [&routes, &filters] {
        slow.release_acks();
    }
    let acked = Instant::now();
    for slow in [&routes, &filters] {
        eventually(SOON, "the cluster to go", async || {
            if has_cluster(slow) {
                Err("the cluster still exists")
            } else {
                Ok(())
            }
        })
        .await
        .unwrap();
    }
    let lingered = acked.elapsed();
    measured!("a cluster was removed {lingered:?} after the ACKs of routes and filters without it");
    assert!(
        lingered >= LINGER - Duration::from_millis(100),
        "{lingered:?}"
    );
}

/// A loopback address without a listener.
const CLOSED: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 15, 255, 254));

/// The number of these sessions of model `m` that failed; `v1` must answer all others.
async fn failed(cluster: &TestCluster, sessions: std::ops::Range<u32>) -> usize {
    let mut failed = 0;
    for session in sessions {
        let chat = OpenAiRequest::chat("m")
            .max_tokens(1)
            .header("x-conversation-id", session.to_string());
        // A connection of its own, so that both workers see failures.
        let client = HttpClient::new();
        let reply = client.send(chat.to(cluster.envoys[0].url())).await.unwrap();
        match reply.status {
            200 => assert_eq!(reply.header("x-model-version"), Some("v1")),
            503 => failed += 1,
            other => panic!("{other}: {}", reply.text()),
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_whose_ready_pod_refuses_connections_fails_only_its_first_requests() {
    let mut options = TestClusterOptions::default();
    let often = ["--load-report-interval", "2"].map(str::to_owned);
    options.serve.extend(often);
    let cluster = TestCluster::start(options).await.unwrap();
    cluster.serve("m", "m-v1", "v1", 1).await.unwrap();
    cluster.servers.hold("m-v2");
    let canary = include_str!("inputs/ready-but-closed.yaml");
    cluster.kubectl().apply(canary).await.unwrap();
    eventually(SOON, "a bound pod of the canary", async || {
        let pods = cluster.node().pods_in(Some("default")).await;
        let pods = pods.map_err(|error| error.to_string())?;
        let name = |pod: &str| pod.starts_with("m-v2-");
        let pod = pods.iter().find(|pod| {
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            pod.metadata.name.as_deref().is_some_and(name) && bound.is_some()
        });
        let pod = pod.ok_or("no bound pod")?;
        let reported = cluster.node().report(pod, CLOSED, true).await;
        reported.map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    cluster.wait_until_acked("m", "v2", 50.0).await.unwrap();

    // Each of the two workers passes it over after five consecutive failures.
    let first = failed(&cluster, 0..80).await;
    measured!("{first} of 80 sessions failed before a closed canary was passed over");
    assert!((5..=10).contains(&first), "{first}");
    assert_eq!(failed(&cluster, 80..160).await, 0);

    // Each try is reported, so operators see it in the status and on the canary.
    let mut session = 160;
    let canary = "get events --field-selector reason=Unreachable -o jsonpath={.items[*].involvedObject.name}";
    eventually(SOON * 2, "an Event on the canary", async || {
        let tried = failed(&cluster, session..session + 10).await;
        session += 10;
        let events = cluster
            .run(canary)
            .await
            .map_err(|error| error.to_string())?;
        if events.contains("m-v2") {
            Ok(())
        } else {
            Err(format!("{events}; {tried} failed"))
        }
    })
    .await
    .unwrap();
    let status = cluster.control_plane.status_of("m").await.unwrap();
    let versions = &status.models[0].versions;
    let unreachable: Vec<bool> = versions.iter().map(|v| v.unreachable.is_some()).collect();
    assert_eq!(unreachable, [false, true], "{versions:?}");
}
