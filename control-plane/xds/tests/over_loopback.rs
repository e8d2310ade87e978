//! The server over real connections, with the client stubs of envoy-types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod loopback;

use std::sync::Arc;
use std::time::SystemTime;

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, UpstreamLocalityStats};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::envoy::service::route::v3::route_discovery_service_client::RouteDiscoveryServiceClient;
use headgate_xds::fleet::ProxyEvent;
use headgate_xds::session::Event;
use headgate_xds::{Kind, Resource, ResourceKey, Snapshot};
use loopback::{answer, ask, end, next, node, snapshot, start, within};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

#[tokio::test]
async fn rule_01_delta_over_ads_delivers_in_order_and_the_fleet_has_the_state_of_the_proxy() {
    let running = start(Some(snapshot(1))).await;
    let fleet = running.server.fleet();
    let mut events = fleet.events();
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Cluster, &[])).await.unwrap();
    let clusters = next(&mut stream).await;
    assert_eq!(clusters.type_url, Kind::Cluster.type_url());
    let resource = &clusters.resources[0];
    assert_eq!((resource.name.as_str(), &resource.ttl), ("c", &None));
    assert_eq!(resource.resource.as_ref().unwrap().value, b"cluster");
    send.send(ask(Kind::Endpoints, &["c"])).await.unwrap();
    let endpoints = next(&mut stream).await;
    assert_eq!(endpoints.type_url, Kind::Endpoints.type_url());
    send.send(ask(Kind::Route, &["r"])).await.unwrap();
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    let filter = next(&mut stream).await;
    assert_eq!(
        filter.type_url,
        Kind::Extension.type_url(),
        "the route waits, the filter does not"
    );
    send.send(answer(&endpoints, None)).await.unwrap();
    send.send(answer(&clusters, None)).await.unwrap();
    let route = next(&mut stream).await;
    assert_eq!(route.resources[0].name, "r");
    send.send(answer(&filter, None)).await.unwrap();
    send.send(answer(&route, Some("not this one")))
        .await
        .unwrap();

    let is_nack = |event: &ProxyEvent| {
        matches!(
            event,
            ProxyEvent::Delivery(Event::Nacked {
                kind: Kind::Route,
                ..
            })
        )
    };
    while !is_nack(&within(events.recv()).await.unwrap().event) {}
    let proxy = fleet.proxies().pop().unwrap();
    assert_eq!(
        (proxy.peer.id.as_str(), proxy.scope.0.as_str()),
        ("proxy-1", "ours")
    );
    let nacked = &proxy.kinds[&Kind::Route].status.nacked["r"];
    assert_eq!(nacked.message, "not this one");
    assert!(proxy.kinds[&Kind::Cluster].status.is_current());
    let running_filter = fleet
        .running(&ResourceKey::new(Kind::Extension, "f"))
        .pop()
        .unwrap();
    assert_eq!(running_filter.acked, running_filter.wanted);
    assert!(running_filter.at.is_some());

    let mut changes = fleet.changes();
    drop((send, stream));
    within(changes.wait_for(|_| fleet.is_empty()))
        .await
        .unwrap();
}

#[tokio::test]
async fn rule_02_a_rejection_is_remembered_from_one_connection_to_the_next() {
    let running = start(Some(snapshot(1))).await;
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    let first = next(&mut stream).await;
    send.send(answer(&first, None)).await.unwrap();
    running.set(snapshot(2));
    let second = next(&mut stream).await;
    let mut events = running.server.fleet().events();
    send.send(answer(&second, Some("no"))).await.unwrap();
    // On its next connection it lists what it has. The earlier stream is still open, as after a lost link.
    let mut again = ask(Kind::Extension, &["f"]);
    let has = (
        first.resources[0].name.clone(),
        first.resources[0].version.clone(),
    );
    again.initial_resource_versions = [has].into();
    let nacked = async {
        loop {
            let event = events.recv().await.unwrap().event;
            if matches!(event, ProxyEvent::Delivery(Event::Nacked { .. })) {
                return;
            }
        }
    };
    within(nacked).await;
    let (send, mut stream) = running.delta().await;
    send.send(again).await.unwrap();
    let fleet = running.server.fleet();
    let mut changes = fleet.changes();
    let both_connected = async {
        while fleet
            .proxies()
            .iter()
            .filter(|p| !p.kinds.is_empty())
            .count()
            < 2
        {
            changes.changed().await.unwrap();
        }
    };
    within(both_connected).await;
    running.set(snapshot(3));
    let third = next(&mut stream).await;
    assert_eq!(
        third.resources[0].resource.as_ref().unwrap().value,
        b"filter 3"
    );
}

#[tokio::test]
async fn rule_01_state_of_the_world_over_ads_follows_a_change() {
    let running = start(Some(snapshot(1))).await;
    let (send, mut stream) = running.sotw().await;
    let ask = |version: &str, nonce: &str| DiscoveryRequest {
        node: node("ours"),
        type_url: Kind::Extension.type_url().to_owned(),
        resource_names: vec!["f".to_owned()],
        version_info: version.to_owned(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    };
    send.send(ask("", "")).await.unwrap();
    let first = next(&mut stream).await;
    assert_eq!(first.resources[0].value, b"filter 1");
    send.send(ask(&first.version_info, &first.nonce))
        .await
        .unwrap();
    running.set(snapshot(2));
    let second = next(&mut stream).await;
    assert_eq!(second.resources[0].value, b"filter 2");
    assert_ne!(second.version_info, first.version_info);
}

#[tokio::test]
async fn rule_01_a_per_type_service_serves_its_type_and_no_other() {
    let running = start(Some(snapshot(1))).await;
    let (send, requests) = mpsc::channel(8);
    let mut client = RouteDiscoveryServiceClient::new(running.channel().await);
    let stream = client.delta_routes(ReceiverStream::new(requests)).await;
    let mut stream = stream.unwrap().into_inner();
    let mut request = ask(Kind::Route, &["r"]);
    request.type_url = String::new();
    send.send(request).await.unwrap();
    assert_eq!(next(&mut stream).await.resources[0].name, "r");
    send.send(ask(Kind::Cluster, &[])).await.unwrap();
    assert_eq!(end(&mut stream).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn rule_05_nothing_carries_a_ttl() {
    let subscribed = [
        (Kind::Cluster, "c"),
        (Kind::Listener, "l"),
        (Kind::Extension, "f"),
    ];
    let all = subscribed.map(|(kind, name)| Resource::new(kind, name, "some"));
    let running = start(Some(Arc::new(Snapshot::new(all).unwrap()))).await;
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Cluster, &["*"])).await.unwrap();
    send.send(ask(Kind::Listener, &["*"])).await.unwrap();
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    let mut names = Vec::new();
    for _ in subscribed {
        let response = next(&mut stream).await;
        let [resource] = response.resources.as_slice() else {
            panic!("{response:?}");
        };
        assert_eq!(resource.ttl, None, "{response:?}");
        names.push(resource.name.clone());
    }
    names.sort_unstable();
    assert_eq!(names, ["c", "f", "l"]);
}

#[tokio::test]
async fn rule_06_before_the_first_snapshot_streams_end_with_unavailable() {
    let running = start(None).await;
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Cluster, &[])).await.unwrap();
    assert_eq!(end(&mut stream).await.code(), Code::Unavailable);
    running.set(snapshot(1));
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Cluster, &[])).await.unwrap();
    assert_eq!(next(&mut stream).await.resources.len(), 1);
}

#[tokio::test]
async fn a_proxy_without_a_scope_is_denied_with_the_reason() {
    let running = start(Some(snapshot(1))).await;
    let (send, mut stream) = running.delta().await;
    send.send(DeltaDiscoveryRequest {
        node: node("nobody"),
        ..ask(Kind::Cluster, &[])
    })
    .await
    .unwrap();
    let status = end(&mut stream).await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "no scope for nobody")
    );
    assert!(running.server.fleet().is_empty());
}

#[tokio::test]
async fn rule_01_a_request_for_a_type_that_is_not_served_gets_no_answer() {
    let running = start(Some(snapshot(1))).await;
    let (send, mut stream) = running.delta().await;
    let unknown = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    send.send(DeltaDiscoveryRequest {
        type_url: unknown,
        ..ask(Kind::Cluster, &[])
    })
    .await
    .unwrap();
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    assert_eq!(next(&mut stream).await.type_url, Kind::Extension.type_url());
}

fn big(revision: usize) -> Arc<Snapshot> {
    let mut body = vec![b'x'; 1 << 20];
    body.extend(revision.to_string().bytes());
    Arc::new(Snapshot::new([Resource::new(Kind::Extension, "f", body)]).unwrap())
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        << 10
}

/// 300 snapshots of 1 MiB are published; a server that queued them all would hold 300 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_07_memory_is_bounded_for_a_client_that_stops_reading_and_its_requests_are_read() {
    let running = start(Some(big(0))).await;
    let fleet = running.server.fleet();
    let mut changes = fleet.changes();
    let (send, mut stream) = running.delta().await;
    send.send(ask(Kind::Extension, &["f"])).await.unwrap();
    within(changes.wait_for(|_| !fleet.is_empty()))
        .await
        .unwrap();
    let before = resident_bytes();
    for revision in 1..=300 {
        running.set(big(revision));
        let wanted = big(revision).version(Kind::Extension).to_owned();
        let names = |_: &u64| {
            let kinds = fleet
                .proxies()
                .pop()
                .map(|proxy| proxy.kinds)
                .unwrap_or_default();
            kinds
                .get(&Kind::Extension)
                .is_some_and(|p| *p.status.wanted == *wanted)
        };
        within(changes.wait_for(names)).await.unwrap();
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "{} MiB for a client that does not read",
        grown >> 20
    );
    // Its requests are read while its responses wait.
    send.send(ask(Kind::Secret, &["s"])).await.unwrap();
    let subscribed = |_: &u64| {
        fleet
            .proxies()
            .iter()
            .any(|p| p.kinds.contains_key(&Kind::Secret))
    };
    within(changes.wait_for(subscribed)).await.unwrap();
    // Once it reads again it gets the newest snapshot, without most of those in between.
    let mut responses = 0;
    loop {
        let response = next(&mut stream).await;
        responses += 1;
        let body = &response.resources[0].resource.as_ref().unwrap().value;
        if body.ends_with(b"x300") {
            break;
        }
        send.send(answer(&response, None)).await.unwrap();
    }
    assert!(responses < 20, "{responses} responses waited");
}

/// A stream of load reports.
async fn reports(
    running: &loopback::Running,
) -> (
    mpsc::Sender<LoadStatsRequest>,
    Result<tonic::Streaming<LoadStatsResponse>, tonic::Status>,
) {
    let (send, requests) = mpsc::channel(8);
    let mut client = LoadReportingServiceClient::new(running.channel().await);
    let stream = client
        .stream_load_stats(ReceiverStream::new(requests))
        .await;
    (send, stream.map(tonic::Response::into_inner))
}

#[tokio::test]
async fn a_proxy_reports_its_load_until_it_disconnects() {
    let running = start(Some(snapshot(1))).await;
    let loads = running.server.loads();
    let (send, stream) = reports(&running).await;
    let mut stream = stream.unwrap();
    let first = LoadStatsRequest {
        node: node("ours"),
        ..LoadStatsRequest::default()
    };
    send.send(first).await.unwrap();
    let wanted = within(stream.message()).await.unwrap().unwrap();
    assert!(wanted.send_all_clusters && !wanted.report_endpoint_granularity);
    assert_eq!(wanted.load_reporting_interval.unwrap().seconds, 10);
    let report = |failed, succeeded| LoadStatsRequest {
        cluster_stats: vec![ClusterStats {
            cluster_name: "c".to_owned(),
            upstream_locality_stats: vec![UpstreamLocalityStats {
                total_error_requests: failed,
                total_successful_requests: succeeded,
                total_issued_requests: succeeded,
                ..UpstreamLocalityStats::default()
            }],
            ..ClusterStats::default()
        }],
        ..LoadStatsRequest::default()
    };
    let unreached = || {
        let reporters = loads.reporters(SystemTime::now());
        let clusters = reporters.into_iter().map(|r| r.unreached.into_keys());
        clusters.map(Vec::from_iter).collect::<Vec<_>>()
    };
    let mut changes = loads.changes();
    for (report, expected) in [(report(2, 0), vec!["c".to_owned()]), (report(0, 1), vec![])] {
        changes.mark_unchanged();
        send.send(report).await.unwrap();
        within(changes.changed()).await.unwrap();
        assert_eq!(unreached(), [expected]);
    }
    changes.mark_unchanged();
    drop(send);
    within(changes.changed()).await.unwrap();
    assert!(unreached().is_empty());
}

#[tokio::test]
async fn a_proxy_without_a_scope_may_not_report_its_load() {
    let running = start(Some(snapshot(1))).await;
    let (send, stream) = reports(&running).await;
    let first = LoadStatsRequest {
        node: node("theirs"),
        ..LoadStatsRequest::default()
    };
    send.send(first).await.unwrap();
    let denied = within(stream.unwrap().message()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(
        running
            .server
            .loads()
            .reporters(SystemTime::now())
            .is_empty()
    );
}
